// The table of settings: defaults, what is refused, the job that silos are given, and its documentation.
#include "options_document.h"
#include "temporary.h"

#include "federation/config.h"
#include "text/chat.h"
#include "text/dataset.h"

#include <stdio.h>

static char path[256]; // of a file of settings

static int set_up(void **state)
{
    if (make_directory(state) != 0) return -1;
    snprintf(path, sizeof path, "%s", in_directory("settings.yaml"));
    return 0;
}

static enum cr_status parse(const char *yaml, struct cr_config *config)
{
    return cr_config_parse(cr_slice_of_string(yaml), "test.yaml", config);
}

static void test_defaults(void **state)
{
    (void)state;
    struct cr_config config;
    assert_ok(parse("model_name_or_path: m", &config));
    assert_string_equal(config.tuning.output_dir, "output");
    assert_int_equal(config.tuning.seed, 42);
    assert_int_equal(config.tuning.lora.targets.modules.count, 0);
    assert_int_equal(config.federation.rounds, 10);
    assert_int_equal(config.federation.optimizer_state, CR_OPTIMIZER_STATE_KEEP);
    assert_int_equal(config.federation.weighting, CR_WEIGHTING_LABELLED_TOKENS);
    assert_int_equal(cr_config_min_clients(&config), 1);
    assert_null(config.tuning.data.train);
    assert_string_equal(config.tuning.data.label_prompt, CR_LABEL_PROMPT); // what `carrel eval` has too
    cr_config_release(&config);
}

static void test_min_clients_follow_silos(void **state)
{
    (void)state;
    struct cr_config config;
    assert_ok(parse("model_name_or_path: m\nsilos: [{name: a, data: x}, {name: b, data: y}]", &config));
    assert_int_equal(cr_config_min_clients(&config), 2);
    cr_config_release(&config);
}

static void test_wrong_settings(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *part;
    } wrong[] = {
        {"model_name_or_path: m\nlora: {rank: 8}", "rank"},
        {"model_name_or_path: m\nfederation: {rounds: 8.5}", "federation.rounds"},
        {"model_name_or_path: m\nfederation: {optimizer_state: yes}", "federation.optimizer_state"},
        {"model_name_or_path: m\ntraining: {learning_rate: fast}", "training.learning_rate"},
        {"federation: {rounds: 3}", "model_name_or_path"},
        {"model_name_or_path: m\nrandom_init: true", "only method full"},
        {"model_name_or_path: m\nsilos: [{name: a, data: x}, {name: a, data: y}]", "a is listed twice"},
        {"model_name_or_path: m\nsilos: [{name: a b, data: x}]", "is no name"},
        {"model_name_or_path: m\nsilos: [{name: a}]", "data"},
        {"model_name_or_path: m\nfederation: {min_clients: 2}\nsilos: [{name: a, data: x}]",
         "test.yaml:2: federation.min_clients: 2, but silos lists 1"},
        {"model_name_or_path: m\nfederation: {local_epochs: 0}",
         "test.yaml:2: federation.local_epochs: 0, and local_steps is 0 too"},
        {"model_name_or_path: m\nmethod: full\nlora:\n  r: 8", "test.yaml:4: lora.r: only with method: lora"},
        {"model_name_or_path: m\nprefix_tuning:\n  num_virtual_tokens: 8",
         "test.yaml:3: prefix_tuning.num_virtual_tokens: only with method: prefix_tuning"},
        {"model_name_or_path: m\nlora: {num_virtual_tokens: 8}", "unknown key \"lora.num_virtual_tokens\""},
        {"model_name_or_path: m\nlora: {layers_to_transform: [1, 0, 1]}",
         "test.yaml:2: lora.layers_to_transform: 1 is listed twice"},
        {"model_name_or_path: m\nlora: {target_modules: [q_proj, q_proj]}",
         "test.yaml:2: lora.target_modules: q_proj is listed twice"},
        {"model_name_or_path: m\nlora: {target_modules: [q_proj, all-linear]}",
         "test.yaml:2: lora.target_modules: all-linear stands alone"},
        {"model_name_or_path: m\nmethod: spf\nspf: {target_modules: [all-linear, q_proj]}",
         "test.yaml:3: spf.target_modules: all-linear stands alone"},
        {"model_name_or_path: m\ntraining: {adam_epsilon: 0}",
         "training.adam_epsilon: 0 is out of range (1e-20 to 1)"},
        {"model_name_or_path: m\nlora: {lora_alpha: 0}",
         "test.yaml:2: lora.lora_alpha: 0 is out of range (above 0 to 1000000)"},
        {"model_name_or_path: m\ntraining: {adam_beta2: 1}",
         "training.adam_beta2: 1 is out of range (0 to below 1)"},
        {"model_name_or_path: m\ntraining: {max_steps: -1}",
         "test.yaml:2: training.max_steps: -1 is out of range (0 to 1000000000; 0: as many as "
         "num_train_epochs "
         "gives)"},
        {"model_name_or_path: m\ntraining: {eval_steps: 9}",
         "test.yaml:2: training.eval_steps: only with data.eval"},
        {"model_name_or_path: m\ntraining: {momentum: 0.9}",
         "test.yaml:2: training.momentum: only with training.optim: sgd"},
        {"model_name_or_path: m\ntraining:\n  optim: sgd\n  adam_beta1: 0.8",
         "test.yaml:4: training.adam_beta1: only with training.optim: adamw"},
        {"model_name_or_path: m\ntraining:\n  optim: sgd\n  adam_beta2: 0.8",
         "training.adam_beta2: only with training.optim: adamw"},
        {"model_name_or_path: m\ntraining:\n  optim: sgd\n  adam_epsilon: 0.1",
         "training.adam_epsilon: only with training.optim: adamw"},
        {"model_name_or_path: m\nslicing: {digits: 3}",
         "test.yaml:2: slicing.digits: only with slicing.pads: enclave or peer"},
        {"model_name_or_path: m\nmethod: prefix_tuning\nprefix_tuning: {encoder_hidden_size: 3}",
         "test.yaml:3: prefix_tuning.encoder_hidden_size: only with prefix_tuning.prefix_projection: true"},
        {"model_name_or_path: m\nprefix_tuning: {encoder_hidden_size: 3, prefix_projection: true}",
         "prefix_tuning.prefix_projection: only with method: prefix_tuning"},
        {"model_name_or_path: m\nattestation: {sealing: sgx}",
         "test.yaml:2: attestation.sealing: \"sgx\" is none of auto, gramine, snp, tpm, development"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct cr_config config;
        assert_fails(CR_INVALID, wrong[i].part, parse(wrong[i].yaml, &config));
        assert_non_null(strstr(cr_error_message(), "test.yaml"));
    }
}

static void test_what_cannot_be_tuned(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *part;
    } wrong[] = {
        {"method: full\nload_in_8bit: true", "load_in_8bit: not with method: full"},
        {"method: full\nslicing: {pads: enclave}", "slicing.pads: not with method: full"},
        {"slicing: {accelerators: [\"127.0.0.1:1\"]}", "slicing.accelerators: not with slicing.pads: none"},
        {"slicing: {spill: sealed}", "slicing.spill: not with slicing.pads: none"},
        {"method: spf\nspf: {density: 0}", "spf.density: 0: nothing would be trained"},
        {"method: lora+spf\nspf: {target_modules: []}", "spf.target_modules: empty: of which modules?"},
        {"spf: {density: 0}\nmethod: lora+spf\nlora: {r: 1}", NULL},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CR_CLEANUP(cr_config_release) struct cr_config config = {0};
        CR_CLEANUP(cr_buffer_release) struct cr_buffer yaml = {0};
        assert_ok(cr_append_format(&yaml, "model_name_or_path: m\n%s\n", wrong[i].yaml));
        assert_ok(parse(cr_buffer_text(&yaml), &config));
        if (wrong[i].part)
            assert_fails(CR_INVALID, wrong[i].part, cr_tuning_config_check(&config.tuning));
        else
            assert_ok(cr_tuning_config_check(&config.tuning));
    }
}

static void test_job_says_nothing_of_the_servers_machine(void **state)
{
    (void)state;
    struct cr_config config, job;
    assert_ok(parse(
        "model_name_or_path: /secret/model\noutput_dir: /secret/out\nthreads: 7\n"
        "data: {train: /secret/train, eval: /secret/eval, chat_template: vicuna, label_words: [no, yes], "
        "label_prompt: '{text}?', max_bad_rows: 3}\ntraining: {save_steps: 77777, eval_steps: 77777}\n"
        "federation: {address: '10.9.8.7:1', advertise: '10.9.8.7:2', state_dir: /secret/state}\n"
        "silos: [{name: secret-silo, data: /secret/data}]",
        &config));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer first = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer second = {0};
    assert_ok(cr_config_job(&config, &first));
    assert_null(strstr(cr_buffer_text(&first), "secret"));
    assert_null(strstr(cr_buffer_text(&first), "10.9.8.7"));
    assert_null(strstr(cr_buffer_text(&first), "77777"));
    // A silo reads it, and its own canonical form is the same.
    assert_ok(cr_config_parse(cr_buffer_slice(&first), "job", &job));
    assert_null(job.tuning.data.train);
    assert_int_equal(job.federation.min_clients, 1);
    // What decides the labels is the job's, not the silo's.
    assert_int_equal(job.tuning.data.chat_template, CR_CHAT_VICUNA);
    assert_int_equal(job.tuning.data.label_words.count, 2);
    assert_string_equal(job.tuning.data.label_prompt, "{text}?");
    assert_int_equal(job.tuning.data.max_bad_rows, 3);
    assert_ok(cr_config_job(&job, &second));
    assert_string_equal(cr_buffer_text(&first), cr_buffer_text(&second));
    cr_config_release(&job);
    cr_config_release(&config);
}

static void test_rounds_decide_the_schedule(void **state)
{
    (void)state;
    struct cr_config config;
    assert_ok(parse(
        "model_name_or_path: m\nfederation: {rounds: 6, local_steps: 5}\ntraining: {max_steps: 9}", &config));
    cr_config_apply_rounds(&config);
    assert_int_equal(config.tuning.training.max_steps, 30);
    cr_config_release(&config);
    assert_ok(
        parse("model_name_or_path: m\nfederation: {rounds: 6, local_epochs: 0.5}\ntraining: {max_steps: 9}",
              &config));
    cr_config_apply_rounds(&config);
    assert_int_equal(config.tuning.training.max_steps, 0);
    assert_true(config.tuning.training.num_train_epochs == 3);
    cr_config_release(&config);
}

static void test_settings_of_a_command_line(void **state)
{
    (void)state;
    write_text(path, "model_name_or_path: m\nlora: {lora_alpha: 16}\n");
    struct cr_config config;
    static const char *const right[] = {"lora.r=3", "federation.rounds=2"};
    static const char *const wrong[][1] = {
        {"lora.r"},      {"lora.q=3"},    {"lora.r=0"},      {"random_init=true"}, {"data=1"},   {"=1"},
        {"method=full"}, {"lora.rank=3"}, {"training.lr=1"}, {"lora.alpha=1"},     {"bf16=true"}};
    static const char *const parts[] = {
        "KEY=VALUE",
        "lora.q",
        "lora.r",
        "only method full",
        "data: a group of settings: a key within it is wanted (data.train, say)",
        "\"=1\" is not KEY=VALUE",
        ":2: lora.lora_alpha: only with method: lora",
        "--set: unknown key \"lora.rank\" (did you mean \"lora.r\"?)",
        "--set: unknown key \"training.lr\" (did you mean \"training.learning_rate\"?)",
        "--set: unknown key \"lora.alpha\" (did you mean \"lora.lora_alpha\"?)",
        "--set: unknown key \"bf16\" (did you mean \"dtype\"?)"};
    assert_ok(cr_config_read_with(path, right, 2, &config));
    assert_int_equal(config.tuning.lora.r, 3);
    assert_int_equal(config.federation.rounds, 2);
    cr_config_release(&config);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_fails(CR_INVALID, parts[i], cr_config_read_with(path, wrong[i], 1, &config));
}

static void test_a_result_has_a_name(void **state)
{
    (void)state;
    write_text(path, "model_name_or_path: m\n");
    struct cr_config config;
    static const char *const nameless[] = {"/", "//", ".", "..", "./", "a/..", "a/.", "../", "/."};
    for (size_t i = 0; i < sizeof nameless / sizeof *nameless; i++) {
        char setting[32];
        const char *const settings[] = {setting};
        snprintf(setting, sizeof setting, "output_dir=%s", nameless[i]);
        assert_fails(CR_INVALID, "does not end in a name", cr_config_read_with(path, settings, 1, &config));
        assert_non_null(strstr(cr_error_message(), "output_dir"));
    }
    static const char *const named[][2] = {{"out/", "out"}, {"/out//", "/out"}, {"../out", "../out"},
                                           {"...", "..."},  {".o", ".o"},       {"a.", "a."}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        char setting[32];
        const char *const settings[] = {setting};
        snprintf(setting, sizeof setting, "output_dir=%s", named[i][0]);
        assert_ok(cr_config_read_with(path, settings, 1, &config));
        assert_string_equal(config.tuning.output_dir, named[i][1]);
        cr_config_release(&config);
    }
    static const char *const same[] = {"output_dir=out/", "federation.state_dir=out//"};
    assert_fails(CR_INVALID, "--set: federation.state_dir: out is output_dir too",
                 cr_config_read_with(path, same, 2, &config));
}

static void test_paths_are_written_out(void **state)
{
    (void)state;
    static const char *const keys[] = {"model_name_or_path",
                                       "output_dir",
                                       "data.train",
                                       "data.eval",
                                       "federation.state_dir",
                                       "federation.job",
                                       "federation.appraisal_policy",
                                       "attestation.tpm",
                                       "attestation.endorsements"};
    static const char silos[] =
        "model_name_or_path: m\nsilos:\n- {name: a, data: x}\n- {name: b, data: ~/y}\n";
    struct cr_config config;
    write_text(path, "model_name_or_path: m\n");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char setting[64], sentence[128];
        const char *const settings[] = {setting};
        snprintf(setting, sizeof setting, "%s=~/x", keys[i]);
        snprintf(sentence, sizeof sentence, "--set: %s: the shell's ~ is not expanded here", keys[i]);
        assert_fails(CR_INVALID, sentence, cr_config_read_with(path, settings, 1, &config));
        snprintf(setting, sizeof setting, "%s=./~x", keys[i]);
        assert_ok(cr_config_read_with(path, settings, 1, &config));
        cr_config_release(&config);
    }
    write_text(path, silos);
    assert_fails(CR_INVALID, ":2: silos[1].data: the shell's ~", cr_config_read(path, &config));
    write_text(path, "model_name_or_path: ''\n");
    assert_fails(CR_INVALID, ":1: model_name_or_path: empty", cr_config_read(path, &config));
    write_text(path, "model_name_or_path: m\ndata: {train: ''}\n");
    assert_fails(CR_INVALID, ":2: data.train: empty", cr_config_read(path, &config));
    write_text(path, "model_name_or_path: m\noutput_dir: \"\"\n");
    assert_fails(CR_INVALID, ":2: output_dir: empty", cr_config_read(path, &config));
}

static void test_what_rounds_leave_without_effect_is_known(void **state)
{
    (void)state;
    static const char rounds[] = "federation.rounds=2", steps[] = "federation.local_steps=5",
                      split[] = "split.activations=int8";
    static const struct {
        const char *settings[3];
        size_t count;
        bool idle_steps, idle_epochs;
        const char *idle_data; // NULL: none
    } cases[] = {
        {{rounds}, 1, false, false, NULL},
        {{rounds, steps}, 2, false, false, NULL},
        {{rounds, "training.num_train_epochs=2"}, 2, false, false, NULL}, // as the rounds have it
        {{rounds, "training.num_train_epochs=3"}, 2, false, true, NULL},  // the default, but given
        {{rounds, steps, "training.num_train_epochs=2"}, 3, false, true, NULL},
        {{rounds, "training.max_steps=10"}, 2, true, false, NULL},
        {{rounds, steps, "training.max_steps=10"}, 3, false, false, NULL},
        {{rounds, steps, "training.max_steps=9"}, 3, true, false, NULL},
        {{split, "training.max_steps=9", "training.num_train_epochs=2"}, 3, false, false, NULL},
        {{"data.train=a.jsonl"}, 1, false, false, "data.train has no effect"},
        {{split, "data.eval=a.jsonl"}, 2, false, false, "data.eval has no effect"},
        {{"data.train=a.jsonl", "data.eval=a.jsonl"},
         2,
         false,
         false,
         "data.train and data.eval have no effect"},
    };
    write_text(path, "model_name_or_path: m\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cr_config config;
        assert_ok(cr_config_read_with(path, cases[i].settings, cases[i].count, &config));
        assert_int_equal(cr_config_idle_max_steps(&config) != NULL, cases[i].idle_steps);
        assert_int_equal(cr_config_idle_epochs(&config) != NULL, cases[i].idle_epochs);
        const char *data = cr_config_idle_data(&config);
        assert_int_equal(data != NULL, cases[i].idle_data != NULL);
        if (data) assert_non_null(strstr(data, cases[i].idle_data));
        cr_config_release(&config);
    }
}

static void test_addresses_are_read_at_once(void **state)
{
    (void)state;
    static const char pads[] = "slicing.pads=enclave";
#define EIGHT "01234567"
    static const char *const right[][2] = {
        {pads, "slicing.accelerators=['tls:[::1]:99#" EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT "']"},
        {"federation.address=[::1]:7423", "federation.advertise=silo-1.example:0"},
        {pads, "slicing.accelerators=['unix:/a b', '[fe80::1%eth0]:1', 10.0.0.1:65535]"},
    };
    static const char *const wrong[][2] = {
        {pads, "slicing.accelerators=['unix:/a', nowhere]"},
        {pads, "federation.address=unix:/a"},
        {pads, "federation.advertise=::1:7423"},
        {pads, "slicing.accelerators=[10.0.0.1:65536]"},
    };
    struct cr_config config;
    write_text(path, "model_name_or_path: m\n");
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        assert_ok(cr_config_read_with(path, right[i], 2, &config));
        cr_config_release(&config);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_fails(CR_INVALID, "is no address: ", cr_config_read_with(path, wrong[i], 2, &config));
    static const char *const keys[] = {"accelerators: ['unix:']", "own_accelerator: 'unix:'"};
    for (size_t i = 0; i < 2; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        assert_ok(
            cr_append_format(&text, "model_name_or_path: m\nslicing:\n  pads: enclave\n  %s\n", keys[i]));
        write_text(path, cr_buffer_text(&text));
        assert_fails(CR_INVALID, "accelerator", cr_config_read(path, &config));
        assert_non_null(strstr(cr_error_message(), ":4: slicing."));
        assert_non_null(strstr(cr_error_message(), ": the path of a socket has 1 to "));
    }
}

static void test_label_words_are_for_a_tsv(void **state)
{
    (void)state;
    static const struct {
        const char *data, *why; // NULL: all is well
    } cases[] = {
        {"data: {train: a.jsonl, label_words: [no, yes]}", ":2: data.label_words: for a .tsv"},
        {"data: {train: a.jsonl, label_prompt: '{text}?'}", ":2: data.label_prompt: for a .tsv"},
        {"data: {label_words: [no, yes]}\nsilos: [{name: a, data: a.jsonl}]",
         ":2: data.label_words: for a .tsv"},
        {"data: {train: a.tsv, label_words: [no, yes], label_prompt: '{text}?'}", NULL},
        {"data: {train: a.jsonl, eval: a.tsv, label_words: [no, yes]}", NULL},
        {"data: {train: a.jsonl, label_words: [no, yes]}\nsilos: [{name: a, data: a.tsv}]", NULL},
        {"data: {label_words: [no, yes]}", NULL}, // a server: the silos' files are their own
        {"data: {train: a.jsonl, label_words: [], label_prompt: '{text} Label:'}", NULL}, // as it is written
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        struct cr_config config;
        snprintf(text, sizeof text, "model_name_or_path: m\n%s\n", cases[i].data);
        write_text(path, text);
        if (cases[i].why) {
            assert_fails(CR_INVALID, cases[i].why, cr_config_read(path, &config));
        } else {
            assert_ok(cr_config_read(path, &config));
            cr_config_release(&config);
        }
    }
}

static void test_documentation_is_of_this_table(void **state)
{
    (void)state;
    assert_page_is_of(
        &cr_config_table,
        "# Settings\n\nOne YAML file drives every command. Relative paths in it count from the directory in "
        "which the command runs. Unknown keys, and "
        "values that are not wholly of their type, are refused, and so are keys that the others "
        "leave without a use: those of `lora`, `spf` and `prefix_tuning` with another `method`, "
        "`training.momentum` with adamw, and the like. `--set "
        "KEY=VALUE` overrides one key.\n\nThis page is made from the table in "
        "`src/federation/config.c` (`CARREL_WRITE_DOCS=1 "
        "build/release/tests/test_federation_config`).\n\n",
        "docs/CONFIG.md");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_min_clients_follow_silos),
        cmocka_unit_test(test_wrong_settings),
        cmocka_unit_test(test_what_cannot_be_tuned),
        cmocka_unit_test(test_job_says_nothing_of_the_servers_machine),
        cmocka_unit_test(test_rounds_decide_the_schedule),
        cmocka_unit_test(test_settings_of_a_command_line),
        cmocka_unit_test(test_what_rounds_leave_without_effect_is_known),
        cmocka_unit_test(test_addresses_are_read_at_once),
        cmocka_unit_test(test_label_words_are_for_a_tsv),
        cmocka_unit_test(test_a_result_has_a_name),
        cmocka_unit_test(test_paths_are_written_out),
        cmocka_unit_test(test_documentation_is_of_this_table),
    };
    return cmocka_run_group_tests(tests, set_up, remove_directory);
}
