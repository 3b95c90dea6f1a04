// A silo in its rounds, against a server that says what it likes.
#include "script_support.h"

// As a server does whose silo reconnects while it still is in a long step of the round before.
static void test_told_twice_to_begin_another_round(void **state)
{
    (void)state;
    begin(0, 0);
    until_came(CR_FRAME_PROGRESS, 1);
    say(&(struct cr_message){.type = CR_FRAME_CLOSED, .closed = {.round = 0, .silos = 1, .loss = 1}});
    begin(1, 0);
    begin(1, 0);
    until_came(CR_FRAME_TRAINED, 1);
    assert_int_equal(trained_round, 1);
    assert_int_equal(late_told, 1);
    say(&(struct cr_message){.type = CR_FRAME_FINISHED, .finished.rounds = 2});
    until_ended(CR_OK, "");
}

// With rounds of two steps. What was gathered in a round that closed without it is gone, as it would be if
// the silo had been killed: what comes after depends on nothing that was on time by chance.
static void test_rounds_that_closed_without_it(void **state)
{
    (void)state;
    say(&(struct cr_message){.type = CR_FRAME_PULL, .pull = {.count = VALUES}});
    until_ended(CR_PROTOCOL, "not there");
    char *rounds = strstr((char *)settings.data, "rounds: 2");
    assert_non_null(rounds);
    rounds[strlen("rounds: ")] = '3';
    for (int answered = 0; answered < 2; answered++) {
        sign(owner);
        invite();
        start_silo();
        until_came(CR_FRAME_READY, 1);
        size_t round = 0, told = 0;
        if (answered) {
            begin(round++, 0);
            until_came(CR_FRAME_TRAINED, ++told);
            assert_int_equal(gathered, 2);
        }
        size_t signs = came[CR_FRAME_PROGRESS];
        begin(round++, 0);
        until_came(CR_FRAME_PROGRESS, signs + 1); // it trains
        begin(round, 0);
        until_came(CR_FRAME_TRAINED, ++told);
        assert_int_equal(trained_round, round);
        assert_int_equal(gathered, answered ? 4 : 2);
        say(&(struct cr_message){.type = CR_FRAME_PULL, .pull = {.count = VALUES}});
        until_ended(CR_PROTOCOL, "not there");
    }
}

static void test_a_server_that_goes_back(void **state)
{
    (void)state;
    begin(0, 0);
    until_came(CR_FRAME_TRAINED, 1);
    begin(0, 0); // the same: answered from memory
    until_came(CR_FRAME_TRAINED, 2);
    begin(0, 1);
    until_ended(CR_PROTOCOL, "the server went back");
    // And so after a restart, from disk.
    start_silo();
    until_came(CR_FRAME_READY, 1);
    begin(0, 0);
    until_came(CR_FRAME_TRAINED, 1);
    begin(0, 1);
    until_ended(CR_PROTOCOL, "the server went back");
}

// What the server said is kept before it is acted on: a silo that was killed in the middle of a round knows
// it.
static void test_a_server_that_goes_back_behind_what_it_said(void **state)
{
    (void)state;
    assert_false(ready.ready.has_seen);
    begin(1, 0);
    until_came(CR_FRAME_PROGRESS, 1); // it trains
    cr_connection_free(silo);         // the server is gone, and the silo with it
    silo = NULL;
    atomic_store(&stopping, true);
    until_ended(CR_CANCELLED, "");
    start_silo();
    until_came(CR_FRAME_READY, 1);
    assert_true(ready.ready.has_seen);
    assert_int_equal(ready.ready.seen, 1);
    begin(0, 0);
    until_ended(CR_PROTOCOL,
                "went back to an older state: it tells of round 1, and round 2 had been told of");
    start_silo();
    until_came(CR_FRAME_READY, 1);
    begin(1, 5);
    until_ended(CR_PROTOCOL, "begins round 2 with other values");
    // Forgetting the run is no way around it.
    run_id[0] ^= 1;
    start_silo();
    until_ended(CR_PROTOCOL, "begins this job anew, and round 2 of it had been told of");
    assert_int_equal(came[CR_FRAME_READY], 0);
    run_id[0] ^= 1;
}

static void test_a_result_that_is_not_the_one(void **state)
{
    (void)state;
    struct cr_message finished = {.type = CR_FRAME_FINISHED, .finished.rounds = 2};
    say(&finished);
    until_ended(CR_OK, "");
    start_silo();
    until_came(CR_FRAME_READY, 1);
    assert_int_equal(ready.ready.seen, 2);
    finished.finished.digest[0] = 1;
    say(&finished);
    until_ended(CR_PROTOCOL, "begins round 3 with other values");
}

static void test_other_values_than_announced(void **state)
{
    (void)state;
    begin(0, 1);
    until_ended(CR_PROTOCOL, "not those that the server announced");
}

static void test_a_round_that_is_not_of_the_job(void **state)
{
    (void)state;
    begin(2, 0);
    until_ended(CR_PROTOCOL, "not of this job");
}

static void test_values_that_are_not_there(void **state)
{
    (void)state;
    say(&(struct cr_message){.type = CR_FRAME_PULL, .pull = {.count = VALUES}});
    until_ended(CR_PROTOCOL, "values of round 1 that are not there");
}

static void end_silo(void)
{
    say(&(struct cr_message){.type = CR_FRAME_HELD});
    until_ended(CR_PROTOCOL, "");
}

// Another silo, for a job with another setting of the same length.
static void start_with(const char *from, const char *to)
{
    end_silo();
    char *at = strstr((char *)settings.data, from);
    assert_non_null(at);
    memcpy(at, to, strlen(to));
    sign(owner);
    invite();
    start_silo();
}

// What no server says, or not then.
static void test_messages_that_do_not_belong(void **state)
{
    (void)state;
    static const struct {
        struct cr_message message;
        const char *why;
    } cases[] = {
        {{.type = CR_FRAME_FINISHED, .finished.rounds = 3}, "ends a run that is not of this job"},
        {{.type = CR_FRAME_JOB, .job.run = {1}}, "the server began another run"},
        {{.type = CR_FRAME_JOB, .job.seed = 1}, "the server began another run"},
        {{.type = CR_FRAME_HELD}, "Held is nothing that a server says"},
        {{.type = CR_FRAME_BEGIN, .begin = {.round = 0, .count = VALUES + 1}}, "not of this job"},
        {{.type = CR_FRAME_ENROLLED,
          .enrolled = {.certificate = {(const unsigned char *)"c", 1},
                       .authority = {(const unsigned char *)"a", 1}}},
         "the server enrols who is enrolled"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (i > 0) {
            start_silo();
            until_came(CR_FRAME_READY, 1);
        }
        say(&cases[i].message);
        until_ended(CR_PROTOCOL, cases[i].why);
    }
    start_silo();
    until_came(CR_FRAME_READY, 1);
    values_size = sizeof(float);
    begin(0, 0);
    until_ended(CR_PROTOCOL, "a chunk of 4 bytes that was not asked for");
    values_size = VALUES * sizeof(float);
}

static void test_what_comes_before_it_is_enrolled(void **state)
{
    (void)state;
    end_silo();
    invite();
    job_first = true;
    start_silo();
    until_ended(CR_PROTOCOL, "Job came while this silo enrols");
    job_first = false;
    struct cr_identity *other;
    assert_ok(cr_identity_new_authority("federation", cr_clock_unix(), &other));
    shown_authority = other;
    start_silo();
    until_ended(CR_DENIED, "another CA than the join token names");
    shown_authority = NULL;
    cr_identity_free(other);
}

// Who was told that all rounds are done, and is to fetch nothing, needs the server no more.
static void test_a_server_that_is_gone_after_the_end(void **state)
{
    (void)state;
    start_with("progress_timeout: 20", "progress_timeout: 3 ");
    until_came(CR_FRAME_READY, 1);
    say(&(struct cr_message){.type = CR_FRAME_FINISHED, .finished.rounds = 2});
    until_ended(CR_OK, "");
    cr_listener_free(listener);
    listener = NULL;
    start_silo();
    until_ended(CR_OK, "");
    assert_int_equal(came[CR_FRAME_HELLO], 0);
}

// Its disk is not trusted with what it had learned either.
static void test_an_older_state_of_the_learner(void **state)
{
    (void)state;
    char command[1024], name[400];
    start_with("rounds: 2", "rounds: 4"); // of one step, and of two
    until_came(CR_FRAME_READY, 1);
    begin(0, 0);
    until_came(CR_FRAME_TRAINED, 1);
    snprintf(command, sizeof command, "cp %s/trainer-0.sealed %s/older", state_path, state_path);
    assert_int_equal(system(command), 0);
    begin(1, 0);
    until_came(CR_FRAME_TRAINED, 2);
    end_silo();
    snprintf(name, sizeof name, "%s/trainer-1.sealed", state_path);
    assert_true(cr_file_exists(name));
    snprintf(command, sizeof command, "mv %s/older %s", state_path, name);
    assert_int_equal(system(command), 0);
    start_silo();
    until_ended(CR_INVALID, "trainer-1.sealed: does not hold the update that update.sealed names");
}

static void test_more_rounds_than_steps(void **state)
{
    (void)state;
    start_with("rounds: 2", "rounds: 7");
    until_ended(CR_INVALID, "the data give 6 steps, fewer than the 7 rounds");
    assert_int_equal(came[CR_FRAME_READY], 0);
}

// "Stopped" is what its own person does to a silo.
static void test_a_server_cannot_stop_it(void **state)
{
    (void)state;
    say(&(struct cr_message){.type = CR_FRAME_REFUSED, .refused = {.status = CR_CANCELLED, .reason = "bye"}});
    until_ended(CR_PROTOCOL, "a Refused message with a wrong status");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SILO(test_told_twice_to_begin_another_round),
        WITH_SILO(test_rounds_that_closed_without_it),
        WITH_SILO(test_a_server_that_goes_back),
        WITH_SILO(test_a_server_that_goes_back_behind_what_it_said),
        WITH_SILO(test_a_result_that_is_not_the_one),
        WITH_SILO(test_other_values_than_announced),
        WITH_SILO(test_a_round_that_is_not_of_the_job),
        WITH_SILO(test_values_that_are_not_there),
        WITH_SILO(test_messages_that_do_not_belong),
        WITH_SILO(test_what_comes_before_it_is_enrolled),
        WITH_SILO(test_a_server_that_is_gone_after_the_end),
        WITH_SILO(test_an_older_state_of_the_learner),
        WITH_SILO(test_more_rounds_than_steps),
        WITH_SILO(test_a_server_cannot_stop_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
