// text/: what the files beside a tokenizer.json change.
#include "folder_support.h"
#include "tokenizer_support.h"

#include "base/file.h"
#include "text/pieces.h"
#include "text/tokenizer.h"

#include <stdio.h>

static void write_file(const char *directory, const char *name, const char *text)
{
    CR_FREE char *path = NULL;
    assert_ok(cr_path_join(directory, name, &path));
    write_text(path, text);
}

static void assert_beside(const struct cr_tokenizer *tokenizer, const char *wanted)
{
    assert_true(cr_slice_equal(cr_tokenizer_beside(tokenizer), cr_slice_of_string(wanted)));
}

static void config_beside_names_bos_and_eos(void **state)
{
    (void)state;
    char directory[32];
    make_folder(directory);
    write_file(directory, "tokenizer.json",
               "{\"added_tokens\": [" ADDED(7, "<s>", "") "," ADDED(8, "<e>", "") "], \"model\": " MODEL "}");
    struct cr_tokenizer *tokenizer = NULL;
    uint32_t id;
    assert_ok(cr_tokenizer_open(directory, &tokenizer)); // by the usual name
    assert_true(cr_tokenizer_bos(tokenizer, &id) && id == 7);
    assert_false(cr_tokenizer_eos(tokenizer, &id));
    assert_beside(tokenizer, "");
    cr_tokenizer_free(tokenizer);
    write_file(directory, "tokenizer_config.json", "{\"bos_token\": \"<s>\"}");
    assert_ok(cr_tokenizer_open(directory, &tokenizer));
    assert_beside(tokenizer, "token 7 special normalized\n"); // it is the usual one
    cr_tokenizer_free(tokenizer);
    write_file(directory, "tokenizer_config.json",
               "{\"bos_token\": null, \"eos_token\": {\"content\": \"<e>\"}}");
    assert_ok(cr_tokenizer_open(directory, &tokenizer));
    assert_false(cr_tokenizer_bos(tokenizer, &id));
    assert_true(cr_tokenizer_eos(tokenizer, &id) && id == 8);
    assert_beside(tokenizer, "token 8 special normalized\nbos none\neos 8\n");
    cr_tokenizer_free(tokenizer);
    tokenizer = NULL;
    write_file(directory, "tokenizer_config.json", "{\"eos_token\": \"<absent>\"}");
    assert_fails(CR_INVALID, "\"<absent>\" is not in the vocabulary",
                 cr_tokenizer_open(directory, &tokenizer));
    // An older directory has them in special_tokens_map.json, which is above all but added_tokens_decoder.
    write_file(directory, "tokenizer_config.json", "{\"eos_token\": \"a\"}");
    write_file(directory, "special_tokens_map.json",
               "{\"bos_token\": null, \"eos_token\": {\"content\": \"<e>\"}}");
    assert_ok(cr_tokenizer_open(directory, &tokenizer));
    assert_false(cr_tokenizer_bos(tokenizer, &id));
    assert_true(cr_tokenizer_eos(tokenizer, &id) && id == 8);
    cr_tokenizer_free(tokenizer);
    write_file(directory, "tokenizer_config.json",
               "{\"eos_token\": \"a\", \"added_tokens_decoder\": {\"7\": {\"content\": \"<s>\"}}}");
    assert_ok(cr_tokenizer_open(directory, &tokenizer));
    assert_true(cr_tokenizer_bos(tokenizer, &id) && id == 7);
    assert_true(cr_tokenizer_eos(tokenizer, &id) && id == 0);
    cr_tokenizer_free(tokenizer);
    tokenizer = NULL;
    remove_folder(directory);
    assert_fails(CR_NOT_FOUND, "tokenizer", cr_tokenizer_open("/nonexistent/tokenizer.json", &tokenizer));
}

static void config_beside_adds_no_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part; // part NULL: taken
        enum cr_status code;
    } cases[] = {
        {"{\"added_tokens_decoder\": {\"7\": {\"content\": \"<s>\"}, \"8\": {\"content\": \"<e>\"}}}", NULL,
         CR_OK},
        {"{\"extra_special_tokens\": [\"<e>\"], \"additional_special_tokens\": [{\"content\": \"<s>\"}]}",
         NULL, CR_OK},
        {"{\"extra_special_tokens\": {\"image_token\": \"<e>\"}, \"split_special_tokens\": false}", NULL,
         CR_OK},
        {"{\"added_tokens_decoder\": {\"9\": {\"content\": \"<n>\"}}}",
         "added_tokens_decoder: \"<n>\" is not one", CR_UNSUPPORTED},
        {"{\"added_tokens_decoder\": {\"9\": 9}}", "added_tokens_decoder\" must hold strings", CR_INVALID},
        {"{\"additional_special_tokens\": [\"<s>\", \"a\"]}", "\"a\" is not one", CR_UNSUPPORTED},
        {"{\"extra_special_tokens\": [\"<n>\"]}", "extra_special_tokens: \"<n>\" is not one", CR_UNSUPPORTED},
        {"{\"extra_special_tokens\": {\"image_token\": \"<n>\"}}", "\"<n>\" is not one", CR_UNSUPPORTED},
        {"{\"split_special_tokens\": true}", "split_special_tokens: true", CR_UNSUPPORTED},
        {"[]", "not a JSON object", CR_INVALID},
    };
    char directory[32];
    make_folder(directory);
    write_file(directory, "tokenizer.json",
               "{\"added_tokens\": [" ADDED(7, "<s>", "") "," ADDED(8, "<e>", "") "], \"model\": " MODEL "}");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_tokenizer *tokenizer = NULL;
        write_file(directory, "tokenizer_config.json", cases[i].text);
        enum cr_status status = cr_tokenizer_open(directory, &tokenizer);
        assert_int_equal(status, cases[i].code);
        assert_true(!cases[i].part || strstr(cr_error_message(), cases[i].part));
        assert_true(!cases[i].part || strstr(cr_error_message(), "/tokenizer_config.json: "));
        cr_tokenizer_free(tokenizer);
    }
    // An older file, which counts where the newer one lists no added_tokens_decoder.
    struct cr_tokenizer *tokenizer = NULL;
    write_file(directory, "tokenizer_config.json", "{}");
    write_file(directory, "added_tokens.json", "{\"<e>\": 8}");
    assert_ok(cr_tokenizer_open(directory, &tokenizer));
    cr_tokenizer_release(&tokenizer);
    write_file(directory, "added_tokens.json", "{\"<e>\": 8, \"<n>\": 9}");
    assert_fails(CR_UNSUPPORTED, "/added_tokens.json: token: \"<n>\" is not one",
                 cr_tokenizer_open(directory, &tokenizer));
    write_file(directory, "tokenizer_config.json", cases[0].text);
    assert_ok(cr_tokenizer_open(directory, &tokenizer));
    cr_tokenizer_release(&tokenizer);
    remove_folder(directory);
}

// The ids are those of Transformers 5.24's AutoTokenizer.
static void tokens_named_beside_are_special(void **state)
{
    (void)state;
    static const struct {
        const char *config, *map;
        const char *ids, *decoded; // of "abc<s> ba", without special tokens
        const char *beside;
    } cases[] = {
        {"{}", "{}", "4 7 6 1 0", "abc<s> ba", ""},
        {"{\"pad_token\": \"c\", \"eos_token\": \"<s>\", \"mask_token\": {\"content\": \"b\", \"lstrip\": "
         "true, \"normalized\": false}}",
         "{}", "0 1 2 7 1 0", "aca", "token 1 special lstrip\ntoken 2\ntoken 7 special normalized\neos 7\n"},
        {"{\"sep_token\": \"c\"}", "{\"sep_token\": \"b\"}", "0 1 2 7 6 1 0", "ac<s> a", "token 1 special\n"},
        {"{\"odd_token\": \"b\", \"tokens\": \"a\", \"unk_token\": \"<u>\", \"sep_token\": null, "
         "\"add_bos_token\": true}",
         "{}", "0 1 2 7 6 1 0", "ac<s> a", "token 1 special\n"},
    };
    char directory[32];
    make_folder(directory);
    write_file(directory, "tokenizer.json",
               "{\"added_tokens\": [" ADDED(7, "<s>", "") "], \"model\": " MODEL
                                                          ", \"decoder\": {\"type\": \"Fuse\"}}");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_tokenizer *tokenizer = NULL;
        CR_CLEANUP(cr_buffer_release) struct cr_buffer decoded = {0};
        write_file(directory, "tokenizer_config.json", cases[i].config);
        write_file(directory, "special_tokens_map.json", cases[i].map);
        assert_ok(cr_tokenizer_open(directory, &tokenizer));
        assert_ids(tokenizer, "abc<s> ba", false, cases[i].ids);
        assert_beside(tokenizer, cases[i].beside);
        CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
        assert_ok(cr_tokenizer_encode(tokenizer, cr_slice_of_string("abc<s> ba"), false, &ids));
        assert_ok(cr_tokenizer_decode(tokenizer, ids.items, ids.count, true, &decoded));
        assert_string_equal(cr_buffer_text(&decoded), cases[i].decoded);
        cr_tokenizer_free(tokenizer);
    }
    remove_folder(directory);
}

// Where "!" or the like pads, messages and written texts have it all the same, with the number that it has in
// Transformers. A name that says more than padding bars it, in whatever order the two come.
static void padding_of_one_character_is_text(void **state)
{
    (void)state;
    static const struct {
        const char *config, *added;
        uint32_t ids[2]; // of "abc" as a text that holds no special tokens; {0}: it is refused
        const char *beside;
    } cases[] = {
        {"{}", "", {4}, ""},
        {"{\"pad_token\": \"c\"}", "", {3, 2}, "token 2\n"},
        {"{\"pad_token\": {\"content\": \"c\"}}", ADDED(2, "c", ", \"special\": true"), {3, 2}, "token 2\n"},
        {"{\"pad_token\": \"abc\"}", "", {3, 2}, "token 4 special\n"},
        {"{\"pad_token\": \"c\", \"eos_token\": \"c\"}", "", {0}, "token 2 special\neos 2\n"},
        {"{\"eos_token\": \"c\", \"pad_token\": \"c\"}", "", {0}, "token 2 special\neos 2\n"},
    };
    char directory[32], text[512];
    make_folder(directory);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_tokenizer *tokenizer = NULL;
        CR_CLEANUP(cr_buffer_release) struct cr_buffer decoded = {0};
        CR_CLEANUP(cr_pieces_release) struct cr_pieces pieces = {0};
        CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0}, marked = {0};
        snprintf(text, sizeof text,
                 "{\"added_tokens\": [%s], \"model\": " MODEL ", \"decoder\": {\"type\": \"Fuse\"}}",
                 cases[i].added);
        write_file(directory, "tokenizer.json", text);
        write_file(directory, "tokenizer_config.json", cases[i].config);
        assert_ok(cr_tokenizer_open(directory, &tokenizer));
        assert_beside(tokenizer, cases[i].beside);
        assert_ok(cr_pieces_append(&pieces, cr_slice_of_string("abc")));
        enum cr_status status = cr_tokenizer_encode_pieces(tokenizer, &pieces, &ids, &marked);
        assert_int_equal(status, cases[i].ids[0] == 0 ? CR_INVALID : CR_OK);
        if (status == CR_OK) {
            assert_memory_equal(ids.items, cases[i].ids, ids.count * sizeof *ids.items);
            assert_ok(cr_tokenizer_decode(tokenizer, ids.items, ids.count, true, &decoded));
            assert_string_equal(cr_buffer_text(&decoded), "abc");
        }
        cr_tokenizer_free(tokenizer);
    }
    remove_folder(directory);
}

// The same: it has bytes for what the vocabulary lacks, no unknown token, and merges every piece.
static void llama_tokenizers_have_their_own_model(void **state)
{
    (void)state;
    char directory[32];
    make_folder(directory);
    write_file(directory, "tokenizer.json",
               "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"abc\": 4, \"\u2581\": 5, "
               "\"u\": 6,"
               "\"<0xC3>\": 7, \"<0xA9>\": 8, \"\u2581bc\": 9}, \"merges\": [\"a b\", \"ab c\"],"
               "\"unk_token\": \"u\", \"ignore_merges\": true}}");
    struct cr_tokenizer *tokenizer = NULL;
    assert_ok(cr_tokenizer_open(directory, &tokenizer));
    assert_ids(tokenizer, "bc\u00e9?c", false, "1 2 6 6 2");
    assert_beside(tokenizer, "");
    cr_tokenizer_free(tokenizer);
    write_file(directory, "tokenizer_config.json", "{\"tokenizer_class\": \"LlamaTokenizer\"}");
    assert_ok(cr_tokenizer_open(directory, &tokenizer));
    assert_ids(tokenizer, "bc\u00e9?c", false, "5 1 2 7 8 2");
    assert_ids(tokenizer, "bc", false, "5 1 2");
    assert_beside(tokenizer, "model llama\nmetaspace first\n");
    cr_tokenizer_free(tokenizer);

    // What the class changes of a file counts in the base's digest; what it leaves as it is does not.
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    for (unsigned byte = 0; byte < 256; byte++)
        assert_ok(cr_append_format(&bytes, ", \"<0x%02X>\": %u", byte, byte + 1));
    const struct {
        const char *vocabulary, *more;
        bool changed;
    } models[] = {
        {"", "", false},
        {"", ", \"byte_fallback\": true", false},
        {"", ", \"unk_token\": \"a\"", true},
        {"", ", \"ignore_merges\": true", true},
        {", \"<0x41>\": 1", ", \"byte_fallback\": true", true},
        {cr_buffer_text(&bytes), ", \"byte_fallback\": true, \"unk_token\": \"a\"", false},
        {cr_buffer_text(&bytes), "", true},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        assert_ok(cr_append_format(&text, "{\"model\": {\"vocab\": {\"a\": 0%s}, \"merges\": []%s}}",
                                   models[i].vocabulary, models[i].more));
        write_file(directory, "tokenizer.json", cr_buffer_text(&text));
        assert_ok(cr_tokenizer_open(directory, &tokenizer));
        assert_beside(tokenizer, models[i].changed ? "model llama\nmetaspace first\n" : "metaspace first\n");
        cr_tokenizer_free(tokenizer);
    }
    remove_folder(directory);
}

// The ids are those of Transformers 5.24's AutoTokenizer.
static void config_beside_says_how_tokens_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *own, *config; // more of token 7, in tokenizer.json and beside it
        const char *ids;          // of "a <s> b<s>c"
        const char *beside;
    } cases[] = {
        {"", "", "0 6 7 6 1 7 2", ""},
        {"", ", \"rstrip\": true", "0 6 7 1 7 2", "token 7 rstrip normalized\n"},
        {", \"rstrip\": true", "", "0 6 7 6 1 7 2", "token 7 normalized\n"},
        {", \"rstrip\": true", ", \"lstrip\": true, \"special\": true", "0 7 6 1 7 2",
         "token 7 special lstrip\n"},
        {"", ", \"single_word\": true", "0 6 7 6 1 2", "token 7 single_word normalized\n"},
        {", \"special\": true", "", "0 6 7 6 1 7 2", "token 7 special normalized\n"},
        {", \"special\": true, \"lstrip\": true", ", \"normalized\": false, \"rstrip\": true", "0 6 7 1 7 2",
         "token 7 special rstrip\n"},
    };
    char directory[32], text[512];
    struct cr_tokenizer *tokenizer = NULL;
    make_folder(directory);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "{\"added_tokens\": [" ADDED(7, "<s>", "%s") "], \"model\": " MODEL "}",
                 cases[i].own);
        write_file(directory, "tokenizer.json", text);
        snprintf(text, sizeof text, "{\"added_tokens_decoder\": {\"7\": {\"content\": \"<s>\"%s}}}",
                 cases[i].config);
        write_file(directory, "tokenizer_config.json", text);
        assert_ok(cr_tokenizer_open(directory, &tokenizer));
        assert_ids(tokenizer, "a <s> b<s>c", false, cases[i].ids);
        assert_beside(tokenizer, cases[i].beside);
        cr_tokenizer_free(tokenizer);
    }
    write_file(directory, "tokenizer_config.json",
               "{\"added_tokens_decoder\": {\"7\": {\"content\": \"<s>\", \"lstrip\": 1}}}");
    assert_fails(CR_INVALID, "/tokenizer_config.json: \"lstrip\"", cr_tokenizer_open(directory, &tokenizer));
    remove_folder(directory);
}

// What Transformers 5.24's AutoTokenizer makes of such files. (With templates: test_text_chat.)
static void llama_tokenizers_cut_their_own_way(void **state)
{
    (void)state;
#define OLD                                                                                                  \
    "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": "       \
    "\"\u2581\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\u2581\"}]}"
#define BYTES ", \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"ByteLevel\"}]}"
    static const struct {
        const char *config, *model, *more;
        const char *ids;    // of "a<s> b<s>b"
        const char *beside; // what the files beside changed
    } cases[] = {
        {"{}", NULL, "", "5 0 7 5 5 1 7 5 1", ""},
        {"{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}", NULL, "", "5 0 7 5 5 1 7 5 1", ""},
        {"{\"tokenizer_class\": \"LlamaTokenizer\"}", NULL, "", "5 0 7 5 1 7 1", "metaspace first\n"},
        {"{\"tokenizer_class\": \"LlamaTokenizerFast\", \"legacy\": false}", NULL, "", "5 0 7 5 1 7 1",
         "metaspace first\n"},
        {"{\"tokenizer_class\": \"LlamaTokenizer\", \"legacy\": true}", NULL, "", "5 0 7 5 1 7 5 1",
         "metaspace always\n"},
        {"{\"tokenizer_class\": \"LlamaTokenizer\", \"add_prefix_space\": false}", NULL, "", "0 7 5 1 7 1",
         "metaspace never\n"},
        {"{\"tokenizer_class\": \"LlamaTokenizer\"}", "{\"model_type\": \"llama\"}", "", "5 0 7 5 1 7 1",
         "metaspace first\n"},
        {"{\"tokenizer_class\": \"LlamaTokenizer\"}", "{\"model_type\": \"mistral\"}", "",
         "5 0 7 5 5 1 7 5 1", ""},
        {"{\"tokenizer_class\": null}", "{\"tokenizer_class\": \"LlamaTokenizer\"}", "", "5 0 7 5 1 7 1",
         "metaspace first\n"},
        {"{\"tokenizer_class\": \"LlamaTokenizer\"}", NULL, BYTES, "5 0 7 5 5 1 7 5 1", ""},
        {"{\"tokenizer_class\": \"LlamaTokenizer\"}", NULL, ", \"post_processor\": {\"type\": \"ByteLevel\"}",
         "5 0 7 5 5 1 7 5 1", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char directory[32], text[1024];
        make_folder(directory);
        snprintf(text, sizeof text, "{\"added_tokens\": [%s], %s, \"model\": %s%s}",
                 ADDED(7, "<s>", ", \"special\": true"), OLD, MODEL, cases[i].more);
        write_file(directory, "tokenizer.json", text);
        write_file(directory, "tokenizer_config.json", cases[i].config);
        if (cases[i].model) write_file(directory, "config.json", cases[i].model);
        struct cr_tokenizer *tokenizer = NULL;
        assert_ok(cr_tokenizer_open(directory, &tokenizer));
        assert_ids(tokenizer, "a<s> b<s>b", false, cases[i].ids);
        assert_beside(tokenizer, cases[i].beside);
        if (cases[i].beside[0] != 0) {
            CR_CLEANUP(cr_buffer_release) struct cr_buffer decoded = {0};
            assert_ok(cr_tokenizer_decode(tokenizer, (const uint32_t[]){5, 0, 5, 1}, 4, true, &decoded));
            bool marks = strcmp(cases[i].beside, "metaspace never\n") != 0;
            assert_string_equal(cr_buffer_text(&decoded), marks ? "a b" : " a b");
        }
        cr_tokenizer_free(tokenizer);
        remove_folder(directory);
    }
}

// Where Transformers 5.24's AutoTokenizer puts a space before a text that the file's own ByteLevel puts
// there, too, or not at all.
static void a_space_before_a_text_is_asked_for_in_vain(void **state)
{
    (void)state;
#define ASKED ", \"add_prefix_space\": true}"
#define OWN "{\"type\": \"ByteLevel\", \"add_prefix_space\": true}"
#define NONE "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}"
    static const struct {
        const char *config, *model, *splitter, *class; // class: that of the refusal, or NULL
    } cases[] = {
        {"{\"tokenizer_class\": \"GPT2Tokenizer\"" ASKED, "{}", NONE, "GPT2Tokenizer"},
        {"{\"tokenizer_class\": \"GPT2TokenizerFast\"" ASKED, "{\"model_type\": \"llama\"}", NONE,
         "GPT2Tokenizer"},
        {"{\"tokenizer_class\": null" ASKED, "{\"model_type\": \"gpt2\"}", NONE, "GPT2Tokenizer"},
        {"{\"tokenizer_class\": null" ASKED, "{\"tokenizer_class\": \"Qwen2Tokenizer\"}", NONE,
         "Qwen2Tokenizer"},
        {"{\"tokenizer_class\": null" ASKED, "{\"model_type\": \"qwen3\"}", NONE, "Qwen2Tokenizer"},
        {"{\"tokenizer_class\": \"GPT2Tokenizer\"" ASKED, "{}", "null", "GPT2Tokenizer"},
        {"{\"tokenizer_class\": \"GPT2Tokenizer\"" ASKED, "{}", OWN, NULL},
        {"{\"tokenizer_class\": \"GPT2Tokenizer\"" ASKED, "{}",
         "{\"type\": \"Sequence\", \"pretokenizers\": [" OWN "]}", NULL},
        {"{\"tokenizer_class\": \"GPT2Tokenizer\"}", "{}", NONE, NULL},
        {"{\"tokenizer_class\": \"GPT2Tokenizer\"" ASKED, "{\"model_type\": \"mistral\"}", NONE, NULL},
        {"{\"tokenizer_class\": \"PreTrainedTokenizerFast\"" ASKED, "{\"model_type\": \"gpt2\"}", NONE, NULL},
        {"{\"tokenizer_class\": null" ASKED, "{\"model_type\": \"llama\"}", NONE, NULL},
    };
    char directory[32], text[512];
    make_folder(directory);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_tokenizer *tokenizer = NULL;
        snprintf(text, sizeof text, "{\"pre_tokenizer\": %s, \"model\": %s}", cases[i].splitter, MODEL);
        write_file(directory, "tokenizer.json", text);
        write_file(directory, "tokenizer_config.json", cases[i].config);
        write_file(directory, "config.json", cases[i].model);
        enum cr_status status = cr_tokenizer_open(directory, &tokenizer);
        if (!cases[i].class) {
            assert_ok(status);
        } else {
            assert_fails(CR_UNSUPPORTED, "/tokenizer_config.json: add_prefix_space: true", status);
            assert_non_null(strstr(cr_error_message(), cases[i].class));
        }
        cr_tokenizer_free(tokenizer);
    }
    remove_folder(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_beside_names_bos_and_eos),
        cmocka_unit_test(config_beside_adds_no_tokens),
        cmocka_unit_test(tokens_named_beside_are_special),
        cmocka_unit_test(padding_of_one_character_is_text),
        cmocka_unit_test(llama_tokenizers_have_their_own_model),
        cmocka_unit_test(config_beside_says_how_tokens_are_found),
        cmocka_unit_test(llama_tokenizers_cut_their_own_way),
        cmocka_unit_test(a_space_before_a_text_is_asked_for_in_vain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
