// A split model's silo, and one that asks, with a server that says what it likes: what no honest server says
// ends the silo with its reason, and never as if all were well.
#include "script_support.h"
#include "tuning_support.h"

#include "attestation/sealing_key.h"
#include "base/secret.h"
#include "federation/split_ask.h"
#include "model/pass.h"
#include "tuning/asked.h"
#include "tuning/base_digest.h"

enum { EXAMPLES = 9, WIDTH = 24, VOCABULARY = 258 }; // of the small model and its data

static struct cr_compute *compute;
static struct cr_sealing_key *own_key;

static int set_up_split(void **state)
{
    if (set_up(state) != 0) return -1;
    say(&(struct cr_message){.type = CR_FRAME_PULL, .pull = {.count = VALUES}});
    until_ended(CR_PROTOCOL, "not there"); // the job that set_up begins
    struct cr_base_digest front;
    struct cr_model *shape;
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_model_open(SMALL_MODEL, CR_MODEL_SHAPE, NULL, compute, CR_F32, &shape));
    assert_int_equal(shape->config.vocabulary, VOCABULARY);
    assert_ok(cr_base_digest_front(shape, SMALL_MODEL, false, 1, &front));
    cr_model_free(shape);
    memcpy(manifest.tokenizer, front.tokenizer, CR_SHA256_SIZE);
    cr_buffer_clear(&settings);
    assert_ok(cr_append_format(
        &settings, "{model_name_or_path: base, output_dir: out, dtype: float32, threads: 1, data: "
                   "{max_length: 48}, split: {activations: float32, layers: 1, inference: true}, "
                   "federation: {progress_timeout: 20}}"));
    sign(owner);
    invite();
    model_path = SMALL_MODEL;
    data_path = "tests/golden/lora-gqa-tied/data.jsonl";
    assert_ok(cr_directory_make(state_path, true));
    assert_ok(cr_sealing_key_here("development", NULL, state_path, &own_key));
    silo_key = own_key;
    return 0;
}

static int tear_down_split(void **state)
{
    model_path = "base";
    data_path = "data";
    silo_key = &test_key;
    cr_secret_free(&own_key);
    cr_compute_free(compute);
    return tear_down(state);
}

static void say_held(uint64_t count)
{
    say(&(struct cr_message){.type = CR_FRAME_HELD, .held.examples = count});
}

static void offer(void)
{
    start_silo();
    until_came(CR_FRAME_OFFER, 1);
}

static void send_all(void)
{
    offer();
    say_held(0);
    until_came(CR_FRAME_CUT, EXAMPLES);
}

static void a_silo_leaves_when_all_is_held(void **state)
{
    (void)state;
    send_all();
    assert_int_equal(came[CR_FRAME_CUT], EXAMPLES);
    say_held(EXAMPLES - 1);
    say_held(EXAMPLES);
    until_ended(CR_OK, "");
}

static void a_silo_believes_no_lie(void **state)
{
    (void)state;
    static const struct {
        struct cr_message lie;
        const char *part;
    } cases[] = {
        {{.type = CR_FRAME_HELD, .held.examples = EXAMPLES + 1}, "holds what was not sent"},
        {{.type = CR_FRAME_BEGIN}, "Begin is nothing that a server says"},
        {{.type = CR_FRAME_PULL, .pull.count = 1}, "Pull is nothing that a server says"},
        {{.type = CR_FRAME_VALUES}, "Values is nothing that a server says"},
        {{.type = CR_FRAME_CLOSED}, "Closed is nothing that a server says"},
        {{.type = CR_FRAME_FINISHED, .finished.rounds = 1}, "Finished is nothing that a server says"},
        {{.type = CR_FRAME_NEXT}, "Next is nothing that a server says"},
        {{.type = CR_FRAME_SCORE}, "Score is nothing that a server says"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        offer();
        say(&cases[i].lie);
        until_ended(CR_PROTOCOL, cases[i].part);
        send_all();
        say(&cases[i].lie);
        until_ended(CR_PROTOCOL, cases[i].part);
    }
    send_all();
    say_held(3);
    say_held(2);
    until_ended(CR_PROTOCOL, "holds what was not sent");
}

// What is asked: a token after two of a text, or the losses of two examples.
static bool scores;
static uint32_t chosen;
static struct cr_tally tally;

static enum cr_status ask_for(struct cr_asked *asked)
{
    static float stream[2 * WIDTH];
    static const int32_t labels[2][2] = {{1, 2}, {CR_UNLABELLED, 3}};
    const struct cr_matrix rows = cr_matrix_of(stream, CR_F32, 2, WIDTH);
    if (!scores) {
        CR_TRY(asked->begin_text(asked, 0, 1));
        CR_TRY(asked->put(asked, rows, NULL));
        return asked->next(asked, &chosen);
    }
    CR_TRY(asked->begin_examples(asked, 2, 0));
    for (int i = 0; i < 2; i++) {
        CR_TRY(asked->put(asked, rows, labels[i]));
        CR_TRY(asked->example(asked, &tally));
    }
    return CR_OK;
}

static void *run_asker(void *context)
{
    (void)context;
    const struct cr_split_ask_options options = {.state = state_path, .model = SMALL_MODEL};
    CR_CLEANUP(cr_session_release) struct cr_session session = {0};
    struct cr_split_ask *ask = NULL;
    silo_status = cr_split_ask_open(&options, compute, &told_counter, &session, &ask);
    if (silo_status == CR_OK) silo_status = ask_for(session.asked);
    snprintf(silo_why, sizeof silo_why, "%s", silo_status == CR_OK ? "" : cr_error_message());
    cr_session_release(&session);
    cr_split_ask_close(ask);
    atomic_store(&ended, true);
    return NULL;
}

// What is right up to then is answered: so many questions, among them Ask.
static void ask(bool for_scores, size_t answered)
{
    scores = for_scores;
    tally = (struct cr_tally){0};
    memset(came, 0, sizeof came);
    atomic_store(&ended, false);
    assert_int_equal(pthread_create(&thread, NULL, run_asker, NULL), 0);
    until_came(CR_FRAME_ASK, 1);
    for (size_t i = 0; i < answered; i++) {
        say_held(i);
        until_came(CR_FRAME_CUT, i + 1);
    }
}

static void an_asker_believes_no_lie(void **state)
{
    (void)state;
    static const struct {
        bool scores;
        size_t answered;
        struct cr_message lie;
        const char *part;
    } cases[] = {
        {false, 0, {.type = CR_FRAME_HELD, .held.examples = 1}, "Held is no answer to what was asked"},
        {false, 0, {.type = CR_FRAME_NEXT}, "Next is no answer to what was asked"},
        {false, 0, {.type = CR_FRAME_BEGIN}, "Begin to nothing that was asked"},
        {false, 1, {.type = CR_FRAME_NEXT, .next.token = VOCABULARY}, "Next is no answer to what was asked"},
        {false, 1, {.type = CR_FRAME_SCORE}, "Score is no answer to what was asked"},
        {false, 1, {.type = CR_FRAME_HELD, .held.examples = 1}, "Held is no answer to what was asked"},
        {true, 1, {.type = CR_FRAME_SCORE}, "Score is no answer to what was asked"},
        {true, 1, {.type = CR_FRAME_HELD, .held.examples = 2}, "Held is no answer to what was asked"},
        {true, 2, {.type = CR_FRAME_HELD, .held.examples = 2}, "Held is no answer to what was asked"},
        {true, 2, {.type = CR_FRAME_NEXT}, "Next is no answer to what was asked"},
        {true, 2, {.type = CR_FRAME_SCORE, .score.correct = 4}, "Score is no answer to what was asked"},
        {true, 2, {.type = CR_FRAME_SCORE, .score.exact = 3}, "Score is no answer to what was asked"},
        {true, 2, {.type = CR_FRAME_SCORE, .score.chosen = 3}, "Score is no answer to what was asked"},
        {true, 2, {.type = CR_FRAME_SCORE, .score.loss_sum = -1}, "Score is no answer to what was asked"},
    };
    send_all();
    say_held(EXAMPLES);
    until_ended(CR_OK, "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ask(cases[i].scores, cases[i].answered);
        say(&cases[i].lie);
        until_ended(CR_PROTOCOL, cases[i].part);
        assert_int_equal(tally.correct, 0);
    }
    ask(false, 1);
    say(&(struct cr_message){.type = CR_FRAME_NEXT, .next.token = VOCABULARY - 1});
    until_ended(CR_OK, "");
    assert_int_equal(chosen, VOCABULARY - 1);
    ask(true, 2);
    say(&(struct cr_message){.type = CR_FRAME_SCORE,
                             .score = {.loss_sum = 1.5, .correct = 3, .exact = 2, .chosen = 2}});
    until_ended(CR_OK, "");
    assert_true(tally.loss_sum == 1.5 && tally.correct == 3 && tally.exact == 2 && tally.chosen == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_silo_leaves_when_all_is_held, set_up_split, tear_down_split),
        cmocka_unit_test_setup_teardown(a_silo_believes_no_lie, set_up_split, tear_down_split),
        cmocka_unit_test_setup_teardown(an_asker_believes_no_lie, set_up_split, tear_down_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
