// tuning/: answers that are written together are those of one at a time, whatever is tuned.
#include "small_model.h"
#include "texts_support.h"

#include "tuning/trainer_parts.h"
#include "tuning/write.h"

enum { MOST = 12, PROMPT_MOST = 30 };
#define DATA "tests/golden/lora-gqa-tied/data.jsonl"

static struct cr_tuning_config run_of(int method, int granularity, int dtype, bool in_8bit)
{
    static char data[] = DATA, all[] = "all-linear";
    static char *modules[] = {all};
    struct cr_tuning_config config = small_run(data, modules, 1);
    config.method = method;
    config.dtype = dtype;
    config.load_in_8bit = in_8bit;
    config.spf = spf_choice(CR_SPF_WEIGHT_L1, granularity, 0.3);
    config.prefix_tuning = (struct cr_prefix_config){.num_virtual_tokens = 3};
    return config;
}

static void check_method(int method, int granularity)
{
    for (int dtype = CR_COMPUTE_BFLOAT16; dtype <= CR_COMPUTE_FLOAT32; dtype++)
        for (int in_8bit = 0; in_8bit < 2; in_8bit++) {
            struct cr_tuning_config config = run_of(method, granularity, dtype, in_8bit != 0);
            struct cr_trainer *trainer;
            struct cr_tally tally = {0};
            assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
            assert_ok(cr_trainer_run(trainer, 3, &tally, NULL, NULL));
            check_short_texts(trainer->model, &trainer->structure->tuned);
            cr_trainer_free(trainer);
        }
}

static void what_is_tuned_keeps_texts_apart(void **state)
{
    (void)state;
    check_method(CR_METHOD_LORA, CR_SPF_HEAD);
    check_method(CR_METHOD_PREFIX_TUNING, CR_SPF_HEAD);
    for (int granularity = CR_SPF_HEAD; granularity <= CR_SPF_ELEMENT; granularity++)
        check_method(CR_METHOD_SPF, granularity);
    check_method(CR_METHOD_LORA_SPF, CR_SPF_ELEMENT);
}

// Prompts of 1 to PROMPT_MOST bytes, and one that leaves room for few tokens, in another order than that of
// their lengths.
static void write_rows(const char *path, size_t rows)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    for (size_t i = 0; i < rows; i++) {
        assert_ok(cr_append_format(&out, "{\"prompt\": \""));
        for (size_t j = 0; j < (i == 7 ? 61 : 1 + i * 11 % PROMPT_MOST); j++)
            assert_ok(cr_append_format(&out, "%c", (int)('a' + (i * i + j * j) % 26)));
        assert_ok(cr_append_format(&out, "\", \"completion\": \"%c%c\"}\n", (int)('a' + i % 3),
                                   (int)('a' + i % 5)));
    }
    write_bytes(path, cr_buffer_slice(&out));
}

static void none_are_written(void **state)
{
    (void)state;
    struct cr_session session;
    struct cr_ids ids = {0};
    bool ended = true;
    assert_ok(cr_session_open(SMALL_MODEL, NULL, CR_COMPUTE_FLOAT32, false, compute, NULL, &session));
    assert_ok(cr_ids_append(&ids, 'a'));
    assert_ok(cr_session_write(&session, &(struct cr_writer){.most = 0}, &ids, &ended));
    assert_int_equal(ids.count, 1);
    assert_false(ended);
    cr_ids_release(&ids);
    cr_session_release(&session);
}

// One row of the data: what a session that writes nothing else answers.
static void add_alone(const struct cr_session *session, struct cr_example example, struct cr_score *score,
                      size_t *ended)
{
    size_t prompt = 0, count = 0;
    while (example.labels[prompt++] == CR_LABEL_IGNORE) {
    }
    struct cr_ids ids = {0}, labels = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer answer = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer reference = {0};
    size_t room = cr_session_context(session) - prompt;
    const struct cr_writer writer = {.most = MOST < room ? MOST : room};
    bool end;
    for (size_t i = 0; i < prompt; i++) assert_ok(cr_ids_append(&ids, example.tokens[i]));
    for (size_t i = prompt - 1; i < example.count && example.labels[i] != CR_LABEL_IGNORE; i++, count++)
        assert_ok(cr_ids_append(&labels, (uint32_t)example.labels[i]));
    assert_ok(cr_session_write(session, &writer, &ids, &end));
    *ended += end;
    assert_ok(cr_tokenizer_decode(session->tokenizer, ids.items + prompt, ids.count - prompt, true, &answer));
    assert_ok(cr_tokenizer_decode(session->tokenizer, labels.items, count, true, &reference));
    assert_ok(cr_score_add(score, cr_buffer_slice(&answer), cr_buffer_slice(&reference)));
    cr_ids_release(&ids);
    cr_ids_release(&labels);
}

static void answers_are_those_of_one_at_a_time(void **state)
{
    (void)state;
    const char *path = path_in("rows.jsonl");
    write_rows(path, 300); // more than are gathered
    struct cr_session session;
    assert_ok(cr_session_open(SMALL_MODEL, NULL, CR_COMPUTE_FLOAT32, false, compute, NULL, &session));
    for (uint32_t id = 'a'; id < 'a' + 8; id++) // so that some end soon, and some never
        assert_ok(cr_ids_append(&session.ends, id));
    struct cr_dataset_options options = {.max_length = cr_session_context(&session)};
    struct cr_score together = {.words = CR_SCORE_ZH}, alone = {.words = CR_SCORE_ZH};
    struct cr_dataset *data;
    size_t ended = 0;
    assert_ok(cr_session_answer(&session, path, &options, MOST, &together));
    assert_ok(cr_dataset_open(path, session.tokenizer, &options, &data));
    for (size_t i = 0; i < cr_dataset_count(data); i++)
        add_alone(&session, cr_dataset_at(data, i), &alone, &ended);
    assert_true(ended > 20 && ended < cr_dataset_count(data) - 20);
    assert_int_equal(together.answers, 300);
    assert_memory_equal(&together, &alone, sizeof alone);
    cr_dataset_free(data);
    cr_session_release(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_tuned_keeps_texts_apart),
        cmocka_unit_test(none_are_written),
        cmocka_unit_test(answers_are_those_of_one_at_a_time),
    };
    return cmocka_run_group_tests(tests, open_small_model, close_small_model);
}
