// Encodings that others published: llama.cpp's vectors for four tokenizers, and the text of stories260K.
// Two vocabularies come as other files, so tests/golden/make_tokenizers.py first writes their tokenizer.json.
#include "support.h"

#include "base/file.h"
#include "text/tokenizer.h"

#include <stdio.h>

static char folder[] = "/tmp/carrel-vectors-XXXXXX"; // of the files made here
static bool made;

static int make(void **state)
{
    (void)state;
    const char *data = getenv("CARREL_DATA");
    if (!data) data = "../shared/data";
    if (access(data, R_OK) != 0) return 0; // each test says that it skips
    if (!mkdtemp(folder)) return -1;
    made = true;
    char command[1024];
    snprintf(command, sizeof command, "python3 -B tests/golden/make_tokenizers.py '%s' '%s'", data, folder);
    return system(command) == 0 ? 0 : -1;
}

static int discard(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return !made || system(command) == 0 ? 0 : -1;
}

// The ids on one line of a vectors file; moves *line behind it. The last line has no end.
static void read_ids(const char **line, struct cr_ids *out)
{
    const char *end = strchrnul(*line, '\n');
    for (const char *at = *line; at < end;) {
        if (*at == ' ') {
            at++;
            continue;
        }
        char *next;
        assert_ok(cr_ids_append(out, (uint32_t)strtoul(at, &next, 10)));
        assert_true(next > at);
        at = next;
    }
    *line = *end ? end + 1 : end;
}

static void check_ids(const struct cr_ids *got, const struct cr_ids *wanted, size_t item)
{
    bool same = got->count == wanted->count;
    for (size_t i = 0; same && i < got->count; i++) same = got->items[i] == wanted->items[i];
    if (same) return;
    for (size_t i = 0; i < got->count; i++) print_message("%u ", got->items[i]);
    print_message("instead of ");
    for (size_t i = 0; i < wanted->count; i++) print_message("%u ", wanted->items[i]);
    fail_msg("item %zu differs", item);
}

static void check_item(const struct cr_tokenizer *tokenizer, struct cr_slice text, const char **line,
                       size_t item)
{
    CR_CLEANUP(cr_ids_release) struct cr_ids wanted = {0};
    CR_CLEANUP(cr_ids_release) struct cr_ids got = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer back = {0};
    read_ids(line, &wanted);
    assert_ok(cr_tokenizer_encode(tokenizer, text, false, &got));
    check_ids(&got, &wanted, item);
    assert_ok(cr_tokenizer_decode(tokenizer, got.items, got.count, false, &back));
    assert_int_equal(back.size, text.size);
    if (text.size > 0) assert_memory_equal(back.data, text.data, text.size);
}

static void check_vectors(const char *tokenizer_path, const char *vectors)
{
    char path[1024];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer inputs = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer outputs = {0};
    snprintf(path, sizeof path, "%s/tokenizers/llama.cpp/ggml-vocab-%s.gguf.inp", shared_data(), vectors);
    assert_ok(cr_file_read(path, 1 << 20, &inputs));
    snprintf(path, sizeof path, "%s/tokenizers/llama.cpp/ggml-vocab-%s.gguf.out", shared_data(), vectors);
    assert_ok(cr_file_read(path, 1 << 20, &outputs));

    struct cr_tokenizer *tokenizer;
    assert_ok(cr_tokenizer_open(tokenizer_path, &tokenizer));
    static const char mark[] = "\n__ggml_vocab_test__\n";
    const char *at = cr_buffer_text(&inputs), *line = cr_buffer_text(&outputs);
    size_t items = 0;
    for (bool last = false; !last; items++) {
        const char *end = strstr(at, mark);
        last = !end;
        if (last) end = at + strlen(at);
        check_item(tokenizer, (struct cr_slice){(const unsigned char *)at, (size_t)(end - at)}, &line, items);
        at = last ? end : end + strlen(mark);
    }
    assert_int_equal(items, 47);
    assert_string_equal(line, "");
    cr_tokenizer_free(tokenizer);
}

static void gpt2_vectors(void **state)
{
    (void)state;
    char path[1024];
    snprintf(path, sizeof path, "%s/tokenizers/gpt2-hf/tokenizer.json", shared_data());
    check_vectors(path, "gpt-2");
}

static void check_made(const char *name, const char *vectors)
{
    (void)shared_data();
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.json", folder, name);
    check_vectors(path, vectors);
}

static void llama2_vectors(void **state)
{
    (void)state;
    check_made("llama2", "llama-spm");
}

static void llama3_vectors(void **state)
{
    (void)state;
    check_made("llama3", "llama-bpe");
}

static void qwen2_vectors(void **state)
{
    (void)state;
    check_made("qwen2", "qwen2");
}

// The text that stories260K writes: it encodes to the BOS that the template says, and decodes to itself.
static void stories260K_text(void **state)
{
    (void)state;
    char path[1024];
    snprintf(path, sizeof path, "%s/models/stories260K", shared_data());
    struct cr_tokenizer *tokenizer;
    assert_ok(cr_tokenizer_open(path, &tokenizer));
    assert_int_equal(cr_tokenizer_vocabulary(tokenizer), 512);
    uint32_t bos = 0, eos = 0;
    assert_true(cr_tokenizer_bos(tokenizer, &bos) && cr_tokenizer_eos(tokenizer, &eos));
    assert_int_equal(bos, 1);
    assert_int_equal(eos, 2);

    snprintf(path, sizeof path, "%s/models/stories260K/expected-greedy-200.txt", shared_data());
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer back = {0};
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    assert_ok(cr_file_read(path, 1 << 20, &text));
    assert_ok(cr_tokenizer_encode(tokenizer, cr_buffer_slice(&text), true, &ids));
    assert_int_equal(ids.items[0], 1);
    assert_ok(cr_tokenizer_decode(tokenizer, ids.items, ids.count, true, &back));
    assert_string_equal(cr_buffer_text(&back), cr_buffer_text(&text));
    cr_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2_vectors),  cmocka_unit_test(llama2_vectors),   cmocka_unit_test(llama3_vectors),
        cmocka_unit_test(qwen2_vectors), cmocka_unit_test(stories260K_text),
    };
    return cmocka_run_group_tests(tests, make, discard);
}
