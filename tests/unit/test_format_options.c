// format/options.h: one table reads, writes and documents settings, and refuses all else by line and key.
#include "options_document.h"
#include "support.h"

#include "format/options.h"

#include <stdio.h>

struct silo {
    char *name;
    size_t weight;
    struct cr_string_list tags;
};

struct settings {
    char *path;
    char *note;
    bool on;
    int mode;
    uint64_t seed;
    size_t r;
    double rate;
    struct cr_string_list modules;
    struct cr_size_list layers;
    struct cr_record_list silos;
    size_t deep, width;
    char *place;
};

static const char *const modes[] = {"lora", "full", NULL};

static bool is_full(const void *config)
{
    return ((const struct settings *)config)->mode == 1;
}

static const struct cr_option silo_options[] = {
    {.key = "name", .type = CR_OPTION_STRING, .offset = offsetof(struct silo, name), .required = true},
    {.key = "weight", .type = CR_OPTION_SIZE, .offset = offsetof(struct silo, weight), .fallback = "1"},
    {.key = "tags", .type = CR_OPTION_STRINGS, .offset = offsetof(struct silo, tags)},
};
static const struct cr_option_table silo_table = {silo_options, 3, sizeof(struct silo)};

#define AT(member) .offset = offsetof(struct settings, member)
static const struct cr_option options[] = {
    {.key = "path", .type = CR_OPTION_STRING, AT(path), .required = true, .help = "Where | what."},
    {.key = "note", .type = CR_OPTION_STRING, AT(note)},
    {.key = "on", .type = CR_OPTION_BOOL, AT(on), .fallback = "true"},
    {.key = "lora.r", .type = CR_OPTION_SIZE, AT(r), .fallback = "8", .least = 1, .most = 64},
    {.key = "lora.target_modules", .type = CR_OPTION_STRINGS, AT(modules), .fallback = "[q_proj, v_proj]"},
    {.key = "lora.layers", .type = CR_OPTION_SIZES, AT(layers), .fallback = "[]", .most = 99},
    {.key = "training.learning_rate", .type = CR_OPTION_NUMBER, AT(rate), .fallback = "1e-8", .most = 10},
    {.key = "training.seed", .type = CR_OPTION_SEED, AT(seed), .fallback = "42"},
    {.key = "training.inner.deep", .type = CR_OPTION_SIZE, AT(deep)},
    {.key = "full.width", .type = CR_OPTION_SIZE, AT(width), .useful = is_full, .with = "mode: full"},
    {.key = "mode", .type = CR_OPTION_CHOICE, AT(mode), .fallback = "lora", .choices = modes},
    {.key = "place", .type = CR_OPTION_STRING, AT(place), .fallback = "here"},
    {.key = "silos", .type = CR_OPTION_RECORDS, AT(silos), .records = &silo_table},
};
static const struct cr_option_table table = {options, sizeof options / sizeof *options,
                                             sizeof(struct settings)};

static void release(struct settings *settings)
{
    cr_options_release(&table, settings);
}

#define SETTINGS CR_CLEANUP(release) struct settings

static enum cr_status parse(const char *text, struct settings *out)
{
    return cr_options_parse(&table, cr_slice_of_string(text), "x.yaml", out, NULL);
}

static void defaults_hold(void **state)
{
    (void)state;
    SETTINGS settings;
    assert_ok(parse("path: a # a comment\n", &settings));
    assert_string_equal(settings.path, "a");
    assert_null(settings.note);
    assert_true(settings.on);
    assert_int_equal(settings.mode, 0);
    assert_int_equal(settings.seed, 42);
    assert_int_equal(settings.r, 8);
    assert_true(settings.rate == 1e-8);
    assert_int_equal(settings.modules.count, 2);
    assert_string_equal(settings.modules.items[1], "v_proj");
    assert_int_equal(settings.layers.count, 0);
    assert_int_equal(settings.silos.count, 0);
    assert_int_equal(settings.deep, 0);
}

static void everything_is_read(void **state)
{
    (void)state;
    SETTINGS settings;
    assert_ok(parse("\xef\xbb\xbf---\n" // a byte order mark
                    "path: 'no'\n"
                    "note: \"K\\u00f6ln: \\\"1\\\"\"\n"
                    "on: false\n"
                    "mode: full\n"
                    "lora: {r: 64, target_modules: all-linear, layers: [3, 0]}\n"
                    "training:\n"
                    "  learning_rate: 2E-4\n"
                    "  seed: 18446744073709551615\n"
                    "  inner: {deep: 7}\n"
                    "silos:\n"
                    "  - name: a\n"
                    "  - {name: b, weight: 3, tags: [x, 'null']}\n"
                    "...\n",
                    &settings));
    assert_string_equal(settings.path, "no");
    assert_string_equal(settings.note, "K\xc3\xb6ln: \"1\"");
    assert_false(settings.on);
    assert_int_equal(settings.mode, 1);
    assert_true(settings.seed == UINT64_MAX);
    assert_int_equal(settings.r, 64);
    assert_true(settings.rate == 2e-4);
    assert_int_equal(settings.modules.count, 1);
    assert_string_equal(settings.modules.items[0], "all-linear");
    assert_int_equal(settings.layers.count, 2);
    assert_int_equal(settings.layers.items[0], 3);
    assert_int_equal(settings.deep, 7);
    const struct silo *silos = settings.silos.items;
    assert_int_equal(settings.silos.count, 2);
    assert_string_equal(silos[0].name, "a");
    assert_int_equal(silos[0].weight, 1);
    assert_int_equal(silos[1].weight, 3);
    assert_string_equal(silos[1].tags.items[1], "null");
}

static void plain_words_are_what_the_type_says(void **state)
{
    (void)state;
    SETTINGS settings;
    // Each of these is something else to YAML 1.1.
    assert_ok(
        parse("path: no\nnote: 1:30\nlora: {target_modules: [yes, 0x1f, 1_000]}\ntraining:\n", &settings));
    assert_string_equal(settings.path, "no");
    assert_string_equal(settings.note, "1:30");
    assert_string_equal(settings.modules.items[0], "yes");
    assert_string_equal(settings.modules.items[2], "1_000");
    // As PyYAML writes them.
    static const char *const words[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char text[32];
        SETTINGS of_word;
        snprintf(text, sizeof text, "path: a\non: %s\n", words[i]);
        assert_ok(parse(text, &of_word));
        assert_int_equal(of_word.on, i < 3);
    }
    static const char *const nulls[] = {"null", "Null", "NULL", "~"};
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++) {
        char text[32];
        SETTINGS none;
        snprintf(text, sizeof text, "path: '%s'\nnote: %s\n", nulls[i], nulls[i]);
        assert_ok(parse(text, &none));
        assert_string_equal(none.path, nulls[i]);
        assert_null(none.note);
    }
}

static void wrong_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"", "x.yaml:1: path is missing"},
        {"# nothing\n", "path is missing"},
        {"---\n", "path is missing"},
        {"path: null\n", "x.yaml:1: path: a value is required"},
        {"path:\n", "x.yaml:1: path: no value"},
        {"path: a\nplace: null\n", "x.yaml:2: place: a value is required, not null"},
        {"path: a\nnote:\n", "x.yaml:2: note: no value (write null for none)"},
        {"- path\n", "x.yaml:1: a map of settings is wanted"},
        {"path\n", "a map of settings is wanted"},
        {"path: a\n\npaths: b\n", "x.yaml:3: unknown key \"paths\" (did you mean \"path\"?)"},
        {"path: a\nlore: {r: 1}\n", "x.yaml:2: unknown key \"lore\" (did you mean \"lora\"?)"},
        {"path: a\nlora: {rr: 1}\n", "x.yaml:2: unknown key \"lora.rr\" (did you mean \"lora.r\"?)"},
        {"path: a\nlora:\n  target_module: x\n",
         "x.yaml:3: unknown key \"lora.target_module\" (did you mean \"lora.target_modules\"?)"},
        {"path: a\nlearning_rate: 1\n",
         "x.yaml:2: unknown key \"learning_rate\" (did you mean \"training.learning_rate\"?)"},
        {"path: a\nzzzzzzzzzz: 1\n", "x.yaml:2: unknown key \"zzzzzzzzzz\""},
        {"path: a\n<<: {on: true}\n", "unknown key \"<<\""},
        {"path: a\n'': 1\n", "unknown key \"\""},
        {"path: a\nlora.r: 9\n", "lora.r: keys with dots are written as maps within maps"},
        {"path: a\npath: b\n", "x.yaml:2: path: given twice"},
        {"path: a\nlora: {r: 1}\nlora: {layers: 1}\n", "x.yaml:3: lora: given twice"},
        {"path: a\nlora: {r: 1, r: 1}\n", "lora.r: given twice"},
        {"path: a\n? [x]\n: 1\n", "a key is wanted, not a list or map"},
        {"path: a\nlora: 8\n", "x.yaml:2: lora: a map of settings is wanted"},
        {"path: a\nlora: [r]\n", "x.yaml:2: lora: a map of settings is wanted"},
        {"path: [a]\n", "x.yaml:1: path: one value is wanted, not a list"},
        {"path: {a: b}\n", "x.yaml:1: path: one value is wanted, not a map"},
        {"path: a\nlora: {r: 8.5}\n", "x.yaml:2: lora.r: \"8.5\" is not an integer"},
        {"path: a\nlora: {r: 8.0}\n", "\"8.0\" is not an integer"},
        {"path: a\nlora: {r: \"8\"}\n", "\"8\" is not an integer but a string"},
        {"path: a\nlora: {r: 010}\n", "\"010\" is not an integer"},
        {"path: a\nlora: {r: 0x8}\n", "not an integer"},
        {"path: a\nlora: {r: +8}\n", "not an integer"},
        {"path: a\nlora: {r: -8}\n", "lora.r: -8 is out of range (1 to 64)"},
        {"path: a\nlora: {r: 1_0}\n", "not an integer"},
        {"path: a\nlora: {r: yes}\n", "\"yes\" is not an integer"},
        {"path: a\nlora: {r: }\n", "\"\" is not an integer"},
        {"path: a\nlora: {r: 0}\n", "lora.r: 0 is out of range (1 to 64)"},
        {"path: a\nlora: {r: 65}\n", "lora.r: 65 is out of range (1 to 64)"},
        {"path: a\nlora: {layers: [1, 100]}\n", "lora.layers: 100 is out of range"},
        {"path: a\nlora: {layers: [1, [2]]}\n", "lora.layers: a list of single values is wanted"},
        {"path: a\nlora: {layers: {a: 1}}\n", "lora.layers: a list of single values is wanted"},
        {"path: a\nlora: {target_modules: [a, null]}\n", "lora.target_modules: null is not a string"},
        {"path: a\ntraining: {seed: 18446744073709551616}\n",
         "training.seed: 18446744073709551616 does not fit"},
        {"path: a\ntraining: {seed: -1}\n", "training.seed: -1 is below 0"},
        {"path: a\ntraining: {inner: {deep: -1}}\n", "training.inner.deep: -1 is below 0"},
        {"path: a\ntraining: {learning_rate: yes}\n", "\"yes\" is not a number"},
        {"path: a\ntraining: {learning_rate: .nan}\n", "\".nan\" is not a number"},
        {"path: a\ntraining: {learning_rate: .5}\n", "\".5\" is not a number"},
        {"path: a\ntraining: {learning_rate: 1.}\n", "not a number"},
        {"path: a\ntraining: {learning_rate: 1e}\n", "not a number"},
        {"path: a\ntraining: {learning_rate: 01}\n", "not a number"},
        {"path: a\ntraining: {learning_rate: 1e999}\n", "larger than any double"},
        {"path: a\ntraining: {learning_rate: -1}\n", "-1 is out of range"},
        {"path: a\non: yes\n", "x.yaml:2: on: \"yes\" is neither true nor false"},
        {"path: a\non: tRUE\n", "neither true nor false"},
        {"path: a\non: 'true'\n", "neither true nor false but a string"},
        {"path: a\nmode: none\n", "x.yaml:2: mode: \"none\" is none of lora, full"},
        {"path: &a b\n", "x.yaml:1: a: anchors are not supported"},
        {"path: &a b\nnote: *a\n", "anchors are not supported"},
        {"path: *a\n", "aliases are not supported"},
        {"path: !!str a\n", "tags are not supported"},
        {"path: a\nsilos: {name: b}\n", "x.yaml:2: silos: a list of maps is wanted"},
        {"path: a\nsilos: b\n", "silos: a list of maps is wanted"},
        {"path: a\nsilos:\n- name: b\n- c\n", "x.yaml:4: silos[1]: a map is wanted"},
        {"path: a\nsilos:\n- name: b\n- weight: 2\n", "x.yaml:4: silos[1].name is missing"},
        {"path: a\nsilos:\n- {name: b, wieght: 2}\n",
         "x.yaml:3: unknown key \"wieght\" (did you mean \"weight\"?)"},
        {"path: a\nsilos:\n- {name: b, weight: x}\n", "x.yaml:3: silos[0].weight: \"x\" is not an integer"},
        {"path: a\n---\npath: b\n", "x.yaml:2: a second document"},
        {"path: \"a\\0b\"\n", "path: a text with a zero byte"},
        {"path: \xff\n", "x.yaml:1: invalid UTF-8"},
        {"path: a\r\n# \xe9t\xe9\n", "x.yaml:2: invalid UTF-8"},
        {"path: \x01\n", "x.yaml:1: control characters"},
        {"\xef\xbb\xbfpath: a\n\nnote: \x01\n", "x.yaml:3: control characters"},
        {"lora: {layers: [1\n", "x.yaml:2:1: did not find"},
        {"path: a\n\tnote: b\n", "x.yaml:2:1: found a tab"},
        {"path: a\nlora:\n  r: 8\n layers: [1]\n", "x.yaml:4:2: did not find expected key"},
        {"path: 'a\n", "x.yaml:2:1: found unexpected end"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings settings, before;
        memset(&settings, 0x5a, sizeof settings);
        memset(&before, 0x5a, sizeof before);
        assert_fails(CR_INVALID, cases[i].reason, parse(cases[i].text, &settings));
        assert_memory_equal(&settings, &before, sizeof settings);
    }
    // Depth is the table's: what could nest is never entered.
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bomb = {0};
    assert_ok(cr_append_format(&bomb, "path: "));
    for (size_t i = 0; i < 100000; i++) assert_ok(cr_append_u8(&bomb, '['));
    struct settings settings;
    assert_fails(CR_INVALID, "path: one value is wanted",
                 cr_options_parse(&table, cr_buffer_slice(&bomb), "x.yaml", &settings, NULL));
    for (size_t i = 0; i < 1 << 20; i++) assert_ok(cr_append_u8(&bomb, '#'));
    assert_fails(CR_INVALID, "more than the 1048576 allowed",
                 cr_options_parse(&table, cr_buffer_slice(&bomb), "x.yaml", &settings, NULL));
    assert_fails(CR_NOT_FOUND, "/nowhere.yaml", cr_options_read(&table, "/nowhere.yaml", &settings, NULL));
}

static void one_key_can_be_overridden(void **state)
{
    (void)state;
    SETTINGS settings;
    assert_ok(parse("path: a\nlora: {layers: [5]}\n", &settings));
    assert_ok(cr_options_set(&table, &settings, "lora.r", "16"));
    assert_int_equal(settings.r, 16);
    assert_ok(cr_options_set(&table, &settings, "path", "b: # [c"));
    assert_string_equal(settings.path, "b: # [c");
    assert_ok(cr_options_set(&table, &settings, "note", "n"));
    assert_ok(cr_options_set(&table, &settings, "note", "null"));
    assert_null(settings.note);
    assert_ok(cr_options_set(&table, &settings, "lora.target_modules", "[k_proj, o_proj, up_proj]"));
    assert_int_equal(settings.modules.count, 3);
    assert_ok(cr_options_set(&table, &settings, "lora.layers", "7"));
    assert_int_equal(settings.layers.items[0], 7);
    static const struct {
        const char *key, *value, *reason;
    } cases[] = {
        {"lora.q", "1", "unknown key \"lora.q\" (did you mean \"lora.r\"?)"},
        {"lora", "1", "lora: a group of settings: a key within it is wanted (lora.r, say)"},
        {"training.inner", "1", "training.inner: a group of settings"},
        {"", "1", "unknown key"},
        {"lora.r", "x", "lora.r: \"x\" is not an integer"},
        {"lora.r", "1 ", "not an integer"},
        {"lora.layers", "[1] 2", "lora.layers:1:5: "},
        {"lora.layers", "[1", "lora.layers:2:1: "},
        {"lora.layers", "", "lora.layers: no value"},
        {"lora.layers", "x", "\"x\" is not an integer"},
        {"lora.target_modules", "\xff", "invalid UTF-8"},
        {"path", "\xff", "path: invalid UTF-8"},
        {"path", "null", "path: a value is required"},
        {"place", "~", "place: a value is required"},
        {"place", "", "place: no value"},
        {"silos", "[]", "only be given in a file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_fails(CR_INVALID, cases[i].reason,
                     cr_options_set(&table, &settings, cases[i].key, cases[i].value));
    assert_int_equal(settings.r, 16);
    assert_int_equal(settings.layers.count, 1);
    assert_int_equal(settings.modules.count, 3);
    assert_string_equal(settings.path, "b: # [c");
}

static void what_has_no_use_is_refused(void **state)
{
    (void)state;
    SETTINGS settings;
    static const char text[] = "path: a\nfull:\n  width: 3\n";
    size_t lines[sizeof options / sizeof *options];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer written = {0};
    assert_ok(cr_options_parse(&table, cr_slice_of_string(text), "x.yaml", &settings, lines));
    assert_int_equal(lines[0], 1);
    assert_int_equal(lines[1], 0);
    assert_fails(CR_INVALID, "x.yaml:3: full.width: only with mode: full",
                 cr_options_check(&table, &settings, "x.yaml", lines));
    assert_ok(cr_options_write(&table, &settings, &written));
    assert_null(strstr(cr_buffer_text(&written), "full"));
    assert_ok(cr_options_override(&table, &settings, "mode=full", lines));
    assert_ok(cr_options_check(&table, &settings, "x.yaml", lines));
    assert_ok(cr_options_write(&table, &settings, &written));
    assert_non_null(strstr(cr_buffer_text(&written), "full:\n  width: 3\n"));
    assert_ok(cr_options_override(&table, &settings, "mode=lora", lines));
    assert_ok(cr_options_override(&table, &settings, "full.width=4", lines));
    assert_fails(CR_INVALID, "--set: full.width: only with mode: full",
                 cr_options_check(&table, &settings, "x.yaml", lines));
    static const char *const wrong[][2] = {{"=1", "--set: \"=1\" is not KEY=VALUE"},
                                           {"", "--set: \"\" is not KEY=VALUE"},
                                           {"lora.r", "--set: \"lora.r\" is not KEY=VALUE"},
                                           {"lora=8", "--set: lora: a group of settings"},
                                           {"lora.q=8", "--set: unknown key \"lora.q\""}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_fails(CR_INVALID, wrong[i][1], cr_options_override(&table, &settings, wrong[i][0], lines));
}

static void written_reads_back(void **state)
{
    (void)state;
    SETTINGS settings;
    assert_ok(parse("silos: [{name: a, tags: [x]}, {name: 'b c'}]\npath: k\xc3\xb6\n"
                    "note: \"a\\\"\\\\\\n\\t\\e\\u00a0\\u2028\\ufeff\\U0001f600 # \"\n"
                    "training: {learning_rate: 0.1, inner: {deep: 3}}\nlora: {layers: [1, 2]}\n",
                    &settings));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_options_write(&table, &settings, &text));
    assert_string_equal(cr_buffer_text(&text),
                        "path: \"k\xc3\xb6\"\n"
                        "note: \"a\\\"\\\\\\u000a\\u0009\\u001b\\u00a0\\u2028\\ufeff\xf0\x9f\x98\x80 # \"\n"
                        "on: true\n"
                        "lora:\n"
                        "  r: 8\n"
                        "  target_modules: [\"q_proj\", \"v_proj\"]\n"
                        "  layers: [1, 2]\n"
                        "training:\n"
                        "  learning_rate: 0.1\n"
                        "  seed: 42\n"
                        "  inner:\n"
                        "    deep: 3\n"
                        "mode: lora\n"
                        "place: \"here\"\n"
                        "silos:\n"
                        "  - name: \"a\"\n"
                        "    weight: 1\n"
                        "    tags: [\"x\"]\n"
                        "  - name: \"b c\"\n"
                        "    weight: 1\n"
                        "    tags: []\n");
    SETTINGS again;
    assert_ok(cr_options_parse(&table, cr_buffer_slice(&text), "written", &again, NULL));
    assert_string_equal(again.note, settings.note);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer second = {0};
    assert_ok(cr_options_write(&table, &again, &second));
    assert_string_equal(cr_buffer_text(&second), cr_buffer_text(&text));

    SETTINGS plain;
    assert_ok(parse("path: a", &plain));
    cr_buffer_clear(&text);
    assert_ok(cr_options_write(&table, &plain, &text));
    assert_non_null(strstr(cr_buffer_text(&text), "note: null\n"));
    assert_non_null(strstr(cr_buffer_text(&text), "silos: []\n"));
    assert_non_null(strstr(cr_buffer_text(&text), "learning_rate: 1.0e-08\n"));
    SETTINGS plain_again;
    assert_ok(cr_options_parse(&table, cr_buffer_slice(&text), "written", &plain_again, NULL));
    assert_null(plain_again.note);
    assert_true(plain_again.rate == 1e-8);
    assert_ok(cr_options_set(&table, &plain_again, "training.learning_rate", "2.5e-5"));
    assert_ok(cr_options_write(&table, &plain_again, &text));
    assert_non_null(strstr(cr_buffer_text(&text), "learning_rate: 2.5e-05\n"));
}

static void the_table_documents_itself(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(options_document(&table, &text));
    static const char *const parts[] = {
        "## Top level\n\n| key | type | default | range | meaning |\n",
        "| `path` | text | required |  | Where \\| what. |\n",
        "| `mode` | choice | `lora` | `lora`, `full` |  |\n",
        "\n## `lora`\n\n",
        "| `lora.r` | integer | `8` | 1 to 64 |  |\n",
        "| `training.inner.deep` | integer |  |  |  |\n",
        "\n## Each map of `silos`\n\n",
        "| `weight` | integer | `1` |  |  |\n",
    };
    const char *at = cr_buffer_text(&text);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *found = strstr(at, parts[i]);
        if (!found) fail_msg("\"%s\" is not in the rest of:\n%s", parts[i], cr_buffer_text(&text));
        at = found;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold),
        cmocka_unit_test(everything_is_read),
        cmocka_unit_test(plain_words_are_what_the_type_says),
        cmocka_unit_test(wrong_files_are_refused),
        cmocka_unit_test(one_key_can_be_overridden),
        cmocka_unit_test(what_has_no_use_is_refused),
        cmocka_unit_test(written_reads_back),
        cmocka_unit_test(the_table_documents_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
