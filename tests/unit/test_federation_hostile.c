// A server against silos that say what is not so, or what they have no right to.
#include "hostile_support.h"

#include <float.h>
#include <math.h>

static void test_an_update_that_changes(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 2, progress_timeout: 20");
    both_begin();
    ben.mute = true;
    say_trained(&anne, 0, 10, 10);
    say_trained(&ben, 0, 10, 10);
    until_came(&ben, CR_FRAME_PULL, 1);
    ben.values[0] = 1;
    say_trained(&ben, 0, 10, 10); // once: its disk may have been lost
    until_came(&ben, CR_FRAME_PULL, 2);
    say_trained(&ben, 0, 11, 10);
    until_closed(&ben, CR_DENIED, "changed again and again");
    until_closed(&anne, CR_DENIED, "cannot close");
    double since = cr_clock_monotonic();
    while (!atomic_load(&ended) && cr_clock_monotonic() - since < PATIENCE)
        assert_ok(cr_loop_step(loop, 0.05));
    assert_int_equal(server_status, CR_DENIED);
    server_status = CR_OK; // as it should be
    tear_down_run(false);
}

static void test_weights_at_the_bounds(void **state)
{
    (void)state;
    set_up_run("rounds: 2, min_clients: 1, progress_timeout: 20");
    both_begin();
    // None: refused, and the round, with the next, goes on without waiting for it.
    double since = cr_clock_monotonic();
    say_trained(&ben, 0, 0, 0);
    until_closed(&ben, CR_DENIED, "no labelled token");
    anne.values[0] = FLT_MAX;
    say_trained(&anne, 0, UINT64_MAX, DBL_MAX);
    until_came(&anne, CR_FRAME_BEGIN, 2);
    assert_true(isfinite(anne.closed_loss));
    connect_silo(&ben);
    say_ready(&ben);
    until_came(&ben, CR_FRAME_BEGIN, 2);
    // The largest of all: the sums hold them, the losses' sum is shown as nothing.
    ben.values[0] = FLT_MAX;
    say_trained(&anne, 1, UINT64_MAX, DBL_MAX);
    say_trained(&ben, 1, UINT64_MAX, DBL_MAX);
    until_came(&anne, CR_FRAME_FINISHED, 1);
    assert_true(cr_clock_monotonic() - since < 15);
    assert_true(anne.closed_loss == 0);
    until_came(&ben, CR_FRAME_FINISHED, 1);
    tear_down_run(false);
    assert_true(learned[0] == FLT_MAX);
}

// A silo's word for its tokens weighs, unless the job gives all of them one weight.
static void test_weighting_is_the_jobs(void **state)
{
    (void)state;
    for (int uniform = 0; uniform < 2; uniform++) {
        set_up_run(uniform ? "rounds: 1, min_clients: 2, weighting: uniform" : "rounds: 1, min_clients: 2");
        both_begin();
        anne.values[0] = 1;
        ben.values[0] = 5;
        say_trained(&anne, 0, 10, 10);
        say_trained(&ben, 0, 30, 30);
        until_came(&anne, CR_FRAME_FINISHED, 1);
        until_came(&ben, CR_FRAME_FINISHED, 1);
        tear_down_run(false);
        assert_true(learned[0] == (uniform ? 3 : 4));
    }
}

static void test_a_refused_silo_is_not_waited_for(void **state)
{
    (void)state;
    set_up_run("rounds: 2, min_clients: 1, progress_timeout: 30");
    both_begin();
    ben.values[3] = NAN;
    double since = cr_clock_monotonic();
    say_trained(&anne, 0, 10, 10);
    say_trained(&ben, 0, 10, 10);
    until_came(&anne, CR_FRAME_BEGIN, 2);
    say_trained(&anne, 1, 10, 10);
    until_came(&anne, CR_FRAME_FINISHED, 1);
    assert_true(cr_clock_monotonic() - since < 15);
    until_closed(&ben, CR_DENIED, "value 3 of 8 is not finite");
    tear_down_run(false);
}

static void test_a_result_that_silos_do_not_get(void **state)
{
    (void)state;
    static const char *const rules[] = {"server", "sealed", "all"};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        char settings[64];
        snprintf(settings, sizeof settings, "rounds: 1, min_clients: 1, release: %s", rules[i]);
        set_up_run(settings);
        enrol(&anne, "anne");
        anne.greedy = true;
        say_ready(&anne);
        until_came(&anne, CR_FRAME_BEGIN, 1);
        say_trained(&anne, 0, 10, 10);
        if (i < 2)
            until_closed(&anne, CR_DENIED, "the job's federation.release gives silos no result");
        else
            until_came(&anne, CR_FRAME_VALUES, 1);
        tear_down_run(true);
    }
}

// A silo that was killed before it had kept the answer asks again with its key; a thief has another.
static void test_a_token_is_good_for_one_key(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 3, progress_timeout: 20");
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_invite(&config, "anne", "silo", 60, &text));
    assert_ok(cr_token_parse(cr_buffer_text(&text), &anne.token));
    ben.token = anne.token;
    assert_ok(cr_identity_new(&anne.identity));
    assert_ok(cr_identity_new(&ben.identity));
    anne.deaf = true;
    send_enrol(&anne);
    until_came(&anne, CR_FRAME_ENROLLED, 1);
    cr_connection_free(anne.connection);
    send_enrol(&ben);
    until_closed(&ben, CR_DENIED, "used already");
    anne.deaf = false;
    send_enrol(&anne);
    until_came(&anne, CR_FRAME_ENROLLED, 2);
    send_enrol(&ben);
    until_closed(&ben, CR_DENIED, "used already");
    tear_down_run(true);
}

static void test_a_replaced_key_is_cut_off(void **state)
{
    (void)state;
    for (int is_ready = 0; is_ready < 2; is_ready++) {
        set_up_run("rounds: 1, min_clients: 3, progress_timeout: 20");
        enrol(&anne, "anne");
        if (is_ready) say_ready(&anne);
        struct cr_message hello = {.type = CR_FRAME_HELLO, .hello.version = CR_PROTOCOL_VERSION};
        say(&anne, &hello);
        until_came(&anne, CR_FRAME_JOB, 1);
        enrol(&ben, "anne"); // the name, with another key
        until_closed(&anne, CR_DENIED, "enrolled anew");
        assert_false(ben.closed);
        tear_down_run(true);
    }
}

static void test_a_member_has_one_connection(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 3, progress_timeout: 20");
    enrol(&anne, "anne");
    struct silo first = anne;
    cr_connection_set_context(first.connection, &first);
    anne.tls = NULL;
    connect_silo(&anne);
    until_closed(&first, CR_DENIED, "took over"); // though neither had said anything
    assert_false(anne.closed);
    cr_tls_free(first.tls);
    tear_down_run(true);
}

static void test_messages_out_of_order(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 2, progress_timeout: 20");
    enrol(&anne, "anne");
    say_trained(&anne, 0, 10, 10);
    until_closed(&anne, CR_PROTOCOL, "Trained came before Ready");
    connect_silo(&anne);
    say_ready(&anne);
    say_ready(&anne);
    until_closed(&anne, CR_PROTOCOL, "anne said Ready twice");
    connect_silo(&anne);
    struct cr_message wrong = {.type = CR_FRAME_HELLO, .hello.version = CR_PROTOCOL_VERSION + 1};
    say(&anne, &wrong);
    char sentence[64];
    snprintf(sentence, sizeof sentence, "protocol version %d, where the server speaks %d",
             CR_PROTOCOL_VERSION + 1, CR_PROTOCOL_VERSION);
    until_closed(&anne, CR_PROTOCOL, sentence);
    connect_silo(&anne);
    say_ready(&anne);
    wrong = (struct cr_message){.type = CR_FRAME_OFFER};
    say(&anne, &wrong);
    until_closed(&anne, CR_PROTOCOL, "Offer is nothing that a silo says");
    connect_silo(&anne);
    wrong = (struct cr_message){.type = CR_FRAME_BEGIN};
    say(&anne, &wrong);
    until_closed(&anne, CR_PROTOCOL, "Begin frame is not accepted");
    // Nobody asked: of no use, and no fault. Then values that are not there.
    connect_silo(&anne);
    say_ready(&anne);
    say_trained(&anne, UINT64_MAX, UINT64_MAX, -DBL_MAX);
    wrong = (struct cr_message){.type = CR_FRAME_VALUES, .values = {.first = UINT64_MAX}};
    say(&anne, &wrong);
    wrong = (struct cr_message){.type = CR_FRAME_PULL, .pull = {.first = 1, .count = UINT64_MAX}};
    say(&anne, &wrong);
    until_closed(&anne, CR_PROTOCOL, "were asked for, where there are 8");
    tear_down_run(true);
}

// One value where all eight were asked for.
static void test_values_of_another_number(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 1, progress_timeout: 20");
    both_begin();
    anne.mute = true;
    say_trained(&anne, 0, 10, 10);
    say_trained(&ben, 0, 10, 10);
    until_came(&anne, CR_FRAME_PULL, 1);
    say(&anne, &(struct cr_message){.type = CR_FRAME_VALUES,
                                    .body = {(const unsigned char *)anne.values, sizeof *anne.values}});
    until_closed(&anne, CR_PROTOCOL, "a chunk of 4 bytes where 32 were asked for");
    tear_down_run(true);
}

// A silo that claims to remember more than was ever said costs itself its connection, and the run nothing.
static void test_a_memory_that_is_a_lie(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 2, progress_timeout: 20");
    enrol(&anne, "anne");
    struct cr_message lie = {.type = CR_FRAME_READY,
                             .ready = {.count = VALUES, .has_seen = true, .seen = 1000}};
    memset(lie.ready.structure, 7, 32);
    say(&anne, &lie);
    until_closed(&anne, CR_DENIED, "anne shows a receipt that this server never gave");
    connect_silo(&anne);
    say_ready(&anne);
    enrol(&ben, "ben");
    say_ready(&ben);
    until_came(&anne, CR_FRAME_BEGIN, 1);
    tear_down_run(true);
}

// Who has shown no certificate is told nothing of rounds and silos, not even when the run fails.
static void test_a_stranger_hears_nothing_of_the_run(void **state)
{
    (void)state;
    struct silo stranger = {0};
    set_up_run("rounds: 2, min_clients: 2, progress_timeout: 30");
    both_begin();
    stranger.token = anne.token;
    assert_ok(cr_identity_new(&stranger.identity));
    connect_silo(&stranger);
    ben.values[3] = NAN;
    say_trained(&anne, 0, 10, 10);
    say_trained(&ben, 0, 10, 10);
    until_closed(&anne, CR_DENIED, "round 1 cannot close: 1 of at least 2 silos are left");
    until_closed(&stranger, CR_DENIED, "the server refused: the server ends");
    assert_null(strstr(stranger.why, "round"));
    release(&stranger);
    while (!atomic_load(&ended)) assert_ok(cr_loop_step(loop, 0.05));
    assert_int_equal(server_status, CR_DENIED);
    server_status = CR_OK;
    tear_down_run(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_memory_that_is_a_lie),
        cmocka_unit_test(test_an_update_that_changes),
        cmocka_unit_test(test_weights_at_the_bounds),
        cmocka_unit_test(test_weighting_is_the_jobs),
        cmocka_unit_test(test_a_refused_silo_is_not_waited_for),
        cmocka_unit_test(test_a_result_that_silos_do_not_get),
        cmocka_unit_test(test_a_token_is_good_for_one_key),
        cmocka_unit_test(test_a_replaced_key_is_cut_off),
        cmocka_unit_test(test_a_member_has_one_connection),
        cmocka_unit_test(test_messages_out_of_order),
        cmocka_unit_test(test_values_of_another_number),
        cmocka_unit_test(test_a_stranger_hears_nothing_of_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
