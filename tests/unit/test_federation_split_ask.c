// A split model's server that its silos may ask, against one that asks as it likes: each lie ends that silo's
// connection with its reason, and the next question has the answer that it had before.
#include "split_support.h"

enum { VALUES = 2 * WIDTH }; // of a row without its label

static int set_up(void **state)
{
    return start_server(state, ", inference: true",
                        ", min_clients: 1}, training: {max_steps: 2, per_device_train_batch_size: 1}");
}

static int tear_down(void **state)
{
    return stop_server(state, CR_OK); // it was done, and went on for its silos alone
}

static struct cr_message ask_of(uint64_t examples, uint64_t choices)
{
    struct cr_message ask = {.type = CR_FRAME_ASK, .ask = {.examples = examples, .choices = choices}};
    memcpy(ask.ask.front, front.model, CR_SHA256_SIZE);
    return ask;
}

// Whether so many answers came, and not the end.
static bool are_answered(size_t count)
{
    while (silo.answers < count && !silo.closed) assert_ok(cr_loop_step(loop, 0.05));
    return silo.answers >= count;
}

static bool is_answered(void)
{
    return are_answered(silo.answers + 1);
}

// Where it is answered, what is asked may come.
static bool asked(const struct cr_message *message)
{
    say(message);
    if (!is_answered()) return false;
    assert_int_equal(silo.answer.type, CR_FRAME_HELD);
    assert_int_equal(silo.answer.held.examples, 0);
    return true;
}

static bool ask(uint64_t examples, uint64_t choices)
{
    const struct cr_message message = ask_of(examples, choices);
    connect_silo();
    return asked(&message);
}

static uint32_t wanted;

// One question, on a connection of its own.
static uint32_t token_of_three(void)
{
    fill(3);
    if (!ask(0, 0)) fail_msg("%s", silo.why);
    cut(0, 0, 3, 3 * VALUES);
    if (!is_answered()) fail_msg("%s", silo.why);
    assert_int_equal(silo.answer.type, CR_FRAME_NEXT);
    return silo.answer.next.token;
}

static void an_untuned_model_has_no_answers(void **state)
{
    (void)state;
    ask(0, 0);
    refused(CR_DENIED, "the model is not tuned yet");
    offer(2, 6);
    fill(3);
    cut(0, 0, 3, 3 * ROW);
    cut(1, 0, 3, 3 * ROW);
    while (silo.held < 2 && !silo.closed) assert_ok(cr_loop_step(loop, 0.05));
    assert_int_equal(silo.held, 2);
    double since = cr_clock_monotonic();
    while (!ask(0, 0)) assert_true(cr_clock_monotonic() - since < PATIENCE);
    wanted = token_of_three();
    offer(2, 6); // who sent all hears so again
    assert_int_equal(silo.held, 2);
    cut(0, 0, 3, 3 * ROW);
    refused(CR_PROTOCOL, "Cut came before Ask");
}

static void what_has_no_answer_is_refused(void **state)
{
    (void)state;
    struct cr_message message = ask_of(0, 0);
    message.ask.front[3] ^= 1;
    connect_silo();
    say(&message);
    refused(CR_DENIED, "anne has another tokenizer, embedding or layers below split.layers");
    message = ask_of(0, 0);
    message.ask.temperature = -1;
    connect_silo();
    say(&message);
    refused(CR_PROTOCOL, "anne asks what has no answer");
    ask(3, 2);
    refused(CR_PROTOCOL, "anne asks what has no answer");
    ask(3, 0);
    refused(CR_PROTOCOL, "anne asks what has no answer");
    message = (struct cr_message){.type = CR_FRAME_READY};
    ask(0, 0);
    say(&message);
    refused(CR_PROTOCOL, "Ready is nothing that a silo of a split model says");
    // One that has shown no certificate is let say nothing of the kind.
    silo.enrolled = false;
    ask(0, 0);
    refused(CR_PROTOCOL, "a Ask frame is not accepted here");
    silo.enrolled = true;
    assert_int_equal(token_of_three(), wanted);
}

static void rows_come_whole_in_order_and_one_question_at_a_time(void **state)
{
    (void)state;
    fill(3);
    connect_silo();
    cut(0, 0, 3, 3 * VALUES);
    refused(CR_PROTOCOL, "Cut came before Ask");
    static const struct {
        uint64_t example, first, rows;
        size_t size;
    } wrong[] = {
        {1, 0, 3, 3 * VALUES},                 // not the next
        {0, 1, 3, 2 * VALUES},                 // not from the start
        {0, 0, 0, VALUES},                     // of no rows
        {0, 0, LONGEST + 1, 3 * VALUES},       // longer than any
        {0, 0, UINT64_MAX, 3 * VALUES},        // likewise
        {0, 0, 3, 0},                          // nothing
        {0, 0, 3, 3 * VALUES - 1},             // not whole
        {0, 0, 3, 3 * ROW},                    // with labels
        {0, 0, LONGEST, 2 * LONGEST * VALUES}, // more than fits
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ask(0, 0);
        cut(wrong[i].example, wrong[i].first, wrong[i].rows, wrong[i].size);
        refused(CR_PROTOCOL, "do not follow");
    }
    // Before the answer comes nothing else may, if it is not too late for that.
    const struct cr_message again = ask_of(0, 0);
    double since = cr_clock_monotonic();
    size_t before;
    do {
        assert_true(cr_clock_monotonic() - since < PATIENCE);
        assert_true(ask(0, 0));
        before = silo.answers;
        cut(0, 0, 3, 3 * VALUES);
        cut(1, 0, 3, 3 * VALUES);
    } while (are_answered(before + 2));
    refused(CR_PROTOCOL, "do not follow");
    do {
        assert_true(cr_clock_monotonic() - since < PATIENCE);
        assert_true(ask(0, 0));
        before = silo.answers;
        cut(0, 0, 3, 3 * VALUES);
        say(&again);
    } while (are_answered(before + 2));
    refused(CR_PROTOCOL, "anne asks before it was answered");
    ask(1, 1);
    cut(0, 0, 3, 3 * ROW);
    assert_true(is_answered());
    assert_int_equal(silo.answer.type, CR_FRAME_SCORE);
    cut(1, 0, 3, 3 * ROW);
    refused(CR_PROTOCOL, "anne sent more examples than it asked of");
    assert_int_equal(token_of_three(), wanted);
}

static void what_no_model_makes_has_no_answer(void **state)
{
    (void)state;
    fill(3);
    memset(body, 0xff, 2);
    ask(0, 0);
    cut(0, 0, 3, 3 * VALUES);
    refused(CR_DENIED, "an activation is NaN or infinite");
    fill(3);
    memcpy(body + 3 * VALUES, &(int32_t){1 << 20}, 4);
    ask(2, 1);
    cut(0, 0, 3, 3 * ROW);
    refused(CR_DENIED, "label 1048576 is outside");
    fill(LONGEST);
    ask(0, 0); // a text that grows over what it may have
    cut(0, 0, LONGEST, LONGEST * VALUES);
    assert_true(is_answered());
    cut(1, 0, 1, VALUES);
    refused(CR_DENIED, "do not fit the context of 32");
    assert_int_equal(token_of_three(), wanted);
}

static void a_connection_asks_on(void **state)
{
    (void)state;
    const struct cr_message text = ask_of(0, 0), file = ask_of(2, 2);
    assert_int_equal(token_of_three(), wanted);
    assert_true(asked(&file));
    cut(0, 0, 3, 3 * ROW);
    assert_true(is_answered());
    assert_int_equal(silo.answer.type, CR_FRAME_HELD);
    assert_int_equal(silo.answer.held.examples, 1);
    cut(1, 0, 3, 3 * ROW); // the same row again: as likely as the right one
    assert_true(is_answered());
    assert_int_equal(silo.answer.type, CR_FRAME_SCORE);
    assert_int_equal(silo.answer.score.chosen, 1);
    assert_true(silo.answer.score.loss_sum > 0);
    assert_true(asked(&text));
    cut(0, 0, 3, 3 * VALUES);
    assert_true(is_answered());
    assert_int_equal(silo.answer.next.token, wanted);
    cr_connection_close(silo.connection);
    until(&silo.closed);
    assert_int_equal(silo.status, CR_OK);
}

static void sixteen_ask_at_once(void **state)
{
    (void)state;
    enum { ASKERS = 16 };
    static struct test_silo others[ASKERS + 1];
    const struct test_silo anne = silo;
    for (size_t i = 0; i <= ASKERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "silo-%zu", i);
        silo = (struct test_silo){0};
        enrol(name);
        assert_true(ask(0, 0) == (i < ASKERS));
        if (i == ASKERS) refused(CR_DENIED, "16 silos ask the tuned model already");
        others[i] = silo;
    }
    silo = others[0];
    release_silo();
    silo = others[ASKERS]; // in whose place another may come, once the server has heard
    double since = cr_clock_monotonic();
    while (!ask(0, 0)) assert_true(cr_clock_monotonic() - since < PATIENCE);
    release_silo();
    for (size_t i = 1; i < ASKERS; i++) {
        silo = others[i];
        release_silo();
    }
    silo = anne;
}

static int set_up_for_idle(void **state)
{
    return start_server(
        state, ", inference: true",
        ", min_clients: 1, progress_timeout: 3}, training: {max_steps: 1, per_device_train_batch_size: 1}");
}

// Who has a place among those that ask, and asks nothing, gives it to another.
static void who_asks_nothing_loses_its_place(void **state)
{
    (void)state;
    const struct test_silo anne = silo;
    silo = (struct test_silo){0};
    enrol("carl"); // who never gets further than half of his data
    offer(2, 6);
    fill(3);
    cut(0, 0, 3, 3 * ROW);
    struct test_silo carl = silo;
    silo = anne;
    offer(1, 3);
    fill(3);
    cut(0, 0, 3, 3 * ROW);
    while (silo.held < 1 && !silo.closed) assert_ok(cr_loop_step(loop, 0.05));
    double since = cr_clock_monotonic();
    while (!ask(0, 0)) assert_true(cr_clock_monotonic() - since < PATIENCE);
    refused(CR_DENIED, "nothing was asked for federation.progress_timeout");
    // Nor is a silo that comes too late taken for one that was there.
    release_silo();
    silo = (struct test_silo){0};
    enrol("ben");
    const struct cr_message late = offer_of(1, 3);
    connect_silo();
    say(&late);
    refused(CR_DENIED, "the training has begun without these data of ben");
    release_silo();
    silo = carl;
    const struct cr_message rest = offer_of(2, 6);
    connect_silo();
    say(&rest);
    refused(CR_DENIED, "the training has begun before carl had sent all of its data");
}

int main(void)
{
    const struct CMUnitTest idle[] = {cmocka_unit_test(who_asks_nothing_loses_its_place)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_untuned_model_has_no_answers),
        cmocka_unit_test(what_has_no_answer_is_refused),
        cmocka_unit_test(rows_come_whole_in_order_and_one_question_at_a_time),
        cmocka_unit_test(what_no_model_makes_has_no_answer),
        cmocka_unit_test(a_connection_asks_on),
        cmocka_unit_test(sixteen_ask_at_once),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    atomic_store(&stop, false);
    silo = (struct test_silo){0};
    return failed + cmocka_run_group_tests(idle, set_up_for_idle, tear_down);
}
