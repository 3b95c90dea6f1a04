// carrel tokenizer: trains a tokenizer, and applies one to texts.
#include "cli/command.h"

#include "base/file.h"
#include "base/parse.h"
#include "base/words.h"
#include "format/json.h"
#include "text/rows.h"
#include "text/tokenizer.h"
#include "text/trainer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INPUT_LIMIT = 1 << 30, LIST_LIMIT = 64, FILE_LIMIT = 256 };

// Reads a whole file, or standard input if `path` is "-".
static enum cr_status read_input(const char *path, struct cr_buffer *out)
{
    if (strcmp(path, "-") != 0) return cr_file_read(path, INPUT_LIMIT, out);
    unsigned char chunk[1 << 16];
    for (;;) {
        ssize_t got = read(STDIN_FILENO, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return cr_fail_errno(CR_IO, "standard input");
        if (got == 0) return CR_OK;
        CR_TRY(cr_append(out, chunk, (size_t)got));
        if (out->size > INPUT_LIMIT) return cr_fail(CR_INVALID, "standard input: over %d bytes", INPUT_LIMIT);
    }
}

// The texts to train on, one after the other in one buffer.
struct corpus {
    struct cr_buffer bytes;
    size_t *ends;
    size_t count, capacity;
};

static void corpus_release(struct corpus *corpus)
{
    cr_buffer_release(&corpus->bytes);
    free(corpus->ends);
}

static enum cr_status end_text(struct corpus *corpus)
{
    if (corpus->count == corpus->capacity) {
        size_t capacity = 2 * corpus->capacity + 256;
        CR_TRY(cr_reallocate(capacity, sizeof *corpus->ends, &corpus->ends));
        corpus->capacity = capacity;
    }
    corpus->ends[corpus->count++] = corpus->bytes.size;
    return CR_OK;
}

static enum cr_status add_field(struct corpus *corpus, struct cr_slice text)
{
    CR_TRY(cr_append(&corpus->bytes, text.data, text.size));
    return end_text(corpus);
}

// Adds the strings of a dataset's rows, each as a text of its own. Of an Alpaca row's or completion's
// messages, the last two repeat its fields; the others come from "system" and "history".
static enum cr_status add_rows(struct corpus *corpus, const char *path)
{
    CR_CLEANUP(cr_row_reader_close) struct cr_row_reader rows = {0};
    CR_TRY(cr_row_reader_open(path, &rows));
    for (;;) {
        bool found;
        struct cr_row row;
        CR_TRY(cr_row_reader_next(&rows, &found, &row));
        if (!found) return CR_OK;
        const struct cr_slice fields[] = {row.text, row.instruction, row.input, row.output};
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
            if (fields[i].size > 0) CR_TRY(add_field(corpus, fields[i]));
        size_t messages = row.message_count;
        if (row.kind == CR_ROW_ALPACA || row.kind == CR_ROW_COMPLETION) messages -= 2;
        for (size_t i = 0; i < messages; i++) CR_TRY(add_field(corpus, row.messages[i].content));
    }
}

// Adds a whole file as one text.
static enum cr_status add_text(struct corpus *corpus, const char *path)
{
    size_t start = corpus->bytes.size, bad_at;
    CR_TRY(read_input(path, &corpus->bytes));
    if (!cr_utf8_valid((struct cr_slice){corpus->bytes.data + start, corpus->bytes.size - start}, &bad_at))
        return cr_fail(CR_INVALID, "%s: not UTF-8 at byte %zu", path, bad_at);
    return end_text(corpus);
}

static enum cr_status add_file(struct corpus *corpus, const char *path)
{
    size_t start = corpus->bytes.size;
    bool rows = cr_ends_with(path, ".jsonl") || cr_ends_with(path, ".json");
    CR_TRY(rows ? add_rows(corpus, path) : add_text(corpus, path));
    if (corpus->bytes.size == start) return cr_fail(CR_INVALID, "%s: there is no text in it", path);
    return CR_OK;
}

// Writes tokenizer_config.json beside a tokenizer.json, which cannot name BOS and EOS itself.
static enum cr_status write_config(const char *directory, const struct cr_bpe_options *options)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    const char *const names[] = {"bos_token", "eos_token"}, *const tokens[] = {options->bos, options->eos};
    CR_TRY(cr_append_format(&text, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\""));
    for (size_t i = 0; i < 2; i++) {
        CR_TRY(cr_append_format(&text, ",\n  \"%s\": ", names[i]));
        CR_TRY(tokens[i] ? cr_json_append_string(&text, cr_slice_of_string(tokens[i]))
                         : cr_append(&text, "null", 4));
    }
    CR_TRY(cr_append_format(&text, "\n}\n"));
    return cr_directory_write(directory, "tokenizer_config.json", cr_buffer_slice(&text), false);
}

// `output` is a file if its name ends in ".json", otherwise a directory, which also gets a
// tokenizer_config.json.
static enum cr_status write_trained(const char *output, const struct cr_bpe_options *options,
                                    struct cr_slice json)
{
    if (cr_ends_with(output, ".json")) return cr_file_write(output, json, false);
    CR_TRY(cr_directory_make(output, false));
    CR_TRY(cr_directory_write(output, "tokenizer.json", json, false));
    return write_config(output, options);
}

// Refuses a model's directory: its weights need the tokenizer in it.
static enum cr_status check_place(const char *output)
{
    CR_FREE char *directory = NULL;
    CR_FREE char *weights = NULL;
    bool file = cr_ends_with(output, ".json");
    if (file && !cr_ends_with(output, "tokenizer.json")) return CR_OK;
    CR_TRY(file ? cr_path_directory(output, &directory) : cr_copy_string(output, &directory));
    CR_TRY(cr_path_join(directory, "model.safetensors", &weights));
    CR_TRY(cr_file_look(weights));
    if (!cr_file_exists(weights) && !cr_directory_has(directory, "model.safetensors.index.json"))
        return CR_OK;
    return cr_fail(CR_INVALID, "%s: holds a model, whose tokenizer stays as it is; name another", directory);
}

static enum cr_status train(const struct corpus *corpus, const struct cr_bpe_options *options,
                            const char *output)
{
    CR_FREE struct cr_slice *texts = NULL;
    CR_TRY(cr_allocate(corpus->count, sizeof *texts, &texts));
    for (size_t i = 0, start = 0; i < corpus->count; start = corpus->ends[i++])
        texts[i] = (struct cr_slice){corpus->bytes.data + start, corpus->ends[i] - start};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer json = {0};
    CR_TRY(cr_bpe_train(texts, corpus->count, options, &json));
    CR_TRY(write_trained(output, options, cr_buffer_slice(&json)));

    struct cr_tokenizer *tokenizer;
    CR_TRY(cr_tokenizer_parse(cr_buffer_slice(&json), output, &tokenizer));
    size_t got = cr_tokenizer_vocabulary(tokenizer);
    cr_tokenizer_free(tokenizer);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer said = {0};
    CR_TRY(cr_append_format(&said, "%s: %zu tokens from %zu text%s of %zu bytes%s\n", output, got,
                            corpus->count, cr_plural(corpus->count), corpus->bytes.size,
                            got < options->vocabulary ? " (no pair was left to merge)" : ""));
    return cr_command_print(cr_buffer_slice(&said));
}

static enum cr_status train_command(int argc, char **argv)
{
    const char *output = NULL, *bos = NULL, *eos = NULL, *specials[LIST_LIMIT], *files[FILE_LIMIT];
    struct cr_flag_list special = {.items = specials, .capacity = LIST_LIMIT - 2};
    size_t vocabulary = 0, file_count;
    const struct cr_flag items[] = {
        {"output", CR_FLAG_STRING, &output, "PATH", "where to: a name in .json, or a directory"},
        {"vocab-size", CR_FLAG_SIZE, &vocabulary, "N",
         "tokens wanted, special ones and the 256 bytes included"},
        {"special", CR_FLAG_STRINGS, &special, "TOKEN",
         "a token that is never merged nor cut; several are allowed"},
        {"bos", CR_FLAG_STRING, &bos, "TOKEN", "the special token put before every text"},
        {"eos", CR_FLAG_STRING, &eos, "TOKEN", "the special token that ends an answer"},
    };
    const struct cr_flags flags = {
        .usage = "carrel tokenizer train --output PATH --vocab-size N [options] FILE...",
        .summary = "Trains a byte-level BPE tokenizer. A FILE in .jsonl or .json is a dataset; any other is "
                   "one text.",
        .items = items,
        .count = sizeof items / sizeof *items,
        .least_positional = 1,
        .most_positional = FILE_LIMIT,
    };
    bool done = false;
    CR_TRY(cr_command_flags(&flags, argc, argv, files, &file_count, &done));
    if (done) return CR_OK;
    if (!output) return cr_fail(CR_INVALID, "--output PATH is missing");
    if (vocabulary == 0) return cr_fail(CR_INVALID, "--vocab-size N is missing");
    CR_TRY(check_place(output));
    // BOS and EOS are special tokens whether or not --special names them.
    const char *const more[] = {bos, eos};
    for (size_t i = 0; i < 2; i++) {
        bool known = !more[i];
        for (size_t k = 0; k < special.count && !known; k++) known = strcmp(specials[k], more[i]) == 0;
        if (!known) specials[special.count++] = more[i];
    }
    CR_CLEANUP(corpus_release) struct corpus corpus = {0};
    for (size_t i = 0; i < file_count; i++) CR_TRY(add_file(&corpus, files[i]));
    struct cr_bpe_options options = {.vocabulary = vocabulary,
                                     .special = specials,
                                     .special_count = special.count,
                                     .bos = bos,
                                     .eos = eos};
    return train(&corpus, &options, output);
}

// Appends the ids of one text: "1 2 3", or {"ids": [1, 2, 3], "tokens": ["a", ...]}.
static enum cr_status encode_text(const struct cr_tokenizer *tokenizer, struct cr_slice text,
                                  bool add_special, bool json, struct cr_buffer *out)
{
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    CR_TRY(cr_tokenizer_encode(tokenizer, text, add_special, &ids));
    if (json) CR_TRY(cr_append_format(out, "{\"ids\": ["));
    for (size_t i = 0; i < ids.count; i++)
        CR_TRY(cr_append_format(out, "%s%u", i == 0 ? "" : json ? ", " : " ", ids.items[i]));
    if (!json) return cr_append(out, "\n", 1);
    CR_TRY(cr_append_format(out, "], \"tokens\": ["));
    for (size_t i = 0; i < ids.count; i++) {
        if (i > 0) CR_TRY(cr_append(out, ", ", 2));
        CR_TRY(cr_json_append_string(out, cr_tokenizer_token(tokenizer, ids.items[i])));
    }
    return cr_append_format(out, "]}\n");
}

static enum cr_status encode_lines(const struct cr_tokenizer *tokenizer, struct cr_slice text,
                                   bool add_special, bool json, struct cr_buffer *out)
{
    for (size_t at = 0; at < text.size;) {
        const unsigned char *end = memchr(text.data + at, '\n', text.size - at);
        size_t size = end ? (size_t)(end - text.data) - at : text.size - at;
        CR_TRY(encode_text(tokenizer, (struct cr_slice){text.data + at, size}, add_special, json, out));
        at += size + 1;
    }
    return CR_OK;
}

static enum cr_status encode_command(int argc, char **argv)
{
    const char *path = NULL, *file = "-";
    bool no_special = false, json = false, lines = false;
    const struct cr_flag items[] = {
        {"tokenizer", CR_FLAG_STRING, &path, "PATH", "a tokenizer.json, or a directory that holds one"},
        {"no-special", CR_FLAG_BOOL, &no_special, NULL, "leave out the tokens that stand around a text"},
        {"lines", CR_FLAG_BOOL, &lines, NULL, "each line is a text of its own"},
        {"json", CR_FLAG_BOOL, &json, NULL, "write {\"ids\": [...], \"tokens\": [...]}"},
    };
    const struct cr_flags flags = {
        .usage = "carrel tokenizer encode --tokenizer PATH [options] [FILE]",
        .summary = "Writes the token ids of a text, which comes from FILE or standard input.",
        .items = items,
        .count = sizeof items / sizeof *items,
        .most_positional = 1,
    };
    bool done = false;
    CR_TRY(cr_command_flags(&flags, argc, argv, &file, NULL, &done));
    if (done) return CR_OK;
    if (!path) return cr_fail(CR_INVALID, "--tokenizer PATH is missing");
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    CR_TRY(read_input(file, &text));
    struct cr_tokenizer *tokenizer;
    CR_TRY(cr_tokenizer_open(path, &tokenizer));
    struct cr_slice all = {(const unsigned char *)cr_buffer_text(&text), text.size};
    enum cr_status status = lines ? encode_lines(tokenizer, all, !no_special, json, &out)
                                  : encode_text(tokenizer, all, !no_special, json, &out);
    cr_tokenizer_free(tokenizer);
    if (status != CR_OK)
        return cr_fail_within(status, "%s", strcmp(file, "-") == 0 ? "standard input" : file);
    return cr_command_print(cr_buffer_slice(&out));
}

// Reads ids separated by spaces and line breaks.
static enum cr_status read_ids(const char *text, struct cr_ids *out)
{
    for (const char *at = text; *at != 0;) {
        size_t size = strcspn(at, " \t\r\n");
        if (size > 0) {
            char word[16] = {0};
            uint64_t id;
            if (size < sizeof word) memcpy(word, at, size);
            if (!cr_parse_unsigned(word, &id) || id > UINT32_MAX)
                return cr_fail(CR_INVALID, "\"%.*s\" is no token id", size < 40 ? (int)size : 40, at);
            CR_TRY(cr_ids_append(out, (uint32_t)id));
        }
        at += size + strspn(at + size, " \t\r\n");
    }
    return CR_OK;
}

static enum cr_status check_ids(const struct cr_tokenizer *tokenizer, const struct cr_ids *ids)
{
    size_t vocabulary = cr_tokenizer_vocabulary(tokenizer);
    for (size_t i = 0; i < ids->count; i++)
        if (ids->items[i] >= vocabulary)
            return cr_fail(CR_INVALID, "id %u is outside the vocabulary of %zu", ids->items[i], vocabulary);
    return CR_OK;
}

static enum cr_status decode_command(int argc, char **argv)
{
    enum { IDS_LIMIT = 4096 };
    const char *path = NULL, *words[IDS_LIMIT];
    bool skip_special = false, done = false;
    size_t count;
    const struct cr_flag items[] = {
        {"tokenizer", CR_FLAG_STRING, &path, "PATH", "a tokenizer.json, or a directory that holds one"},
        {"skip-special", CR_FLAG_BOOL, &skip_special, NULL, "leave out special tokens"},
    };
    const struct cr_flags flags = {
        .usage = "carrel tokenizer decode --tokenizer PATH [options] [ID...]",
        .summary = "Writes the text of token ids, which are given here or come from standard input.",
        .items = items,
        .count = sizeof items / sizeof *items,
        .most_positional = IDS_LIMIT,
    };
    CR_TRY(cr_command_flags(&flags, argc, argv, words, &count, &done));
    if (done) return CR_OK;
    if (!path) return cr_fail(CR_INVALID, "--tokenizer PATH is missing");
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    if (count == 0 || (count == 1 && strcmp(words[0], "-") == 0)) {
        CR_TRY(read_input("-", &text));
        CR_TRY(read_ids(cr_buffer_text(&text), &ids));
    } else {
        for (size_t i = 0; i < count; i++) CR_TRY(read_ids(words[i], &ids));
    }
    struct cr_tokenizer *tokenizer;
    CR_TRY(cr_tokenizer_open(path, &tokenizer));
    cr_buffer_clear(&text);
    enum cr_status status = check_ids(tokenizer, &ids);
    if (status == CR_OK) status = cr_tokenizer_decode(tokenizer, ids.items, ids.count, skip_special, &text);
    cr_tokenizer_free(tokenizer);
    return status == CR_OK ? cr_command_print(cr_buffer_slice(&text)) : status;
}

enum cr_status cr_command_tokenizer(int argc, char **argv)
{
    static const struct cr_command commands[] = {
        {"train", train_command, "train a byte-level BPE tokenizer"},
        {"encode", encode_command, "write the token ids of a text"},
        {"decode", decode_command, "write the text of token ids"},
    };
    enum { COMMANDS = sizeof commands / sizeof *commands };
    return cr_command_of("tokenizer", commands, COMMANDS, argc, argv);
}
