// A server against silos that take their time: no one holds a round or its end for ever, or keeps others out.
#include "hostile_support.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static void test_an_update_that_never_comes(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 1, progress_timeout: 3");
    enrol(&ben, "ben");
    ben.mute = true;
    say_ready(&ben); // alone it is enough; anne joins while it trains
    until_came(&ben, CR_FRAME_BEGIN, 1);
    enrol(&anne, "anne");
    say_ready(&anne);
    until_came(&anne, CR_FRAME_BEGIN, 1);
    say_trained(&anne, 0, 10, 10);
    say_trained(&ben, 0, 10, 10);
    until_came(&ben, CR_FRAME_PULL, 1);
    // Neither saying it again nor a new connection gives it more time.
    for (int i = 0; i < 8 && !ben.closed; i++) {
        if (i == 3) {
            cr_connection_free(ben.connection);
            connect_silo(&ben);
            say_ready(&ben);
        }
        say_trained(&ben, 0, 10, 10);
        double since = cr_clock_monotonic();
        while (cr_clock_monotonic() - since < 1 && !ben.closed) assert_ok(cr_loop_step(loop, 0.05));
    }
    until_closed(&ben, CR_TIMEOUT, "a piece of its update did not come for 6 seconds");
    until_came(&anne, CR_FRAME_FINISHED, 1);
    tear_down_run(false);
}

static void spend(double seconds)
{
    double since = cr_clock_monotonic();
    while (cr_clock_monotonic() - since < seconds) assert_ok(cr_loop_step(loop, 0.05));
}

// It was away when the collection began, and does not say again what it has.
static void test_a_silo_that_comes_back_and_says_nothing(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 1, progress_timeout: 4");
    enrol(&ben, "ben");
    say_ready(&ben);
    until_came(&ben, CR_FRAME_BEGIN, 1);
    enrol(&anne, "anne");
    say_ready(&anne);
    until_came(&anne, CR_FRAME_BEGIN, 1);
    say_trained(&ben, 0, 10, 10);
    spend(0.5);
    cr_connection_free(ben.connection);
    ben.connection = NULL;
    spend(0.5);
    say_trained(&anne, 0, 10, 10);
    until_came(&anne, CR_FRAME_PULL, 1);
    connect_silo(&ben);
    say_ready(&ben);
    until_came(&ben, CR_FRAME_BEGIN, 2);
    until_closed(&ben, CR_TIMEOUT, "a piece of its update did not come for 8 seconds");
    until_came(&anne, CR_FRAME_FINISHED, 1);
    tear_down_run(false);
}

// Its work is in no round, and its owner wants to know all the same.
static void test_a_silo_that_was_away_hears_the_end(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 1, deadline: 1, progress_timeout: 20");
    enrol(&ben, "ben");
    enrol(&anne, "anne");
    say_ready(&anne);
    say_ready(&ben);
    until_came(&anne, CR_FRAME_BEGIN, 1);
    cr_connection_free(ben.connection);
    ben.connection = NULL;
    spend(1.5);
    say_trained(&anne, 0, 10, 10);
    until_came(&anne, CR_FRAME_FINISHED, 1);
    assert_int_equal(late_told, 1);
    until_closed(&anne, CR_OK, "");
    spend(1);
    connect_silo(&ben);
    say_ready(&ben);
    until_came(&ben, CR_FRAME_FINISHED, 1);
    tear_down_run(false);
}

// It asks for ever, for what there is not and for the result again, when the run is done.
static void test_a_silo_that_does_not_let_the_server_end(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 2, progress_timeout: 3");
    both_begin();
    ben.greedy = true; // it does not close
    say_trained(&anne, 0, 10, 10);
    say_trained(&ben, 0, 10, 10);
    until_came(&ben, CR_FRAME_FINISHED, 1);
    double since = cr_clock_monotonic();
    while (!atomic_load(&ended)) {
        assert_true(cr_clock_monotonic() - since < PATIENCE);
        if (!ben.closed)
            say(&ben, &(struct cr_message){.type = CR_FRAME_PULL, .pull = {.round = 1, .count = VALUES}});
        if (!ben.closed)
            say(&ben, &(struct cr_message){.type = CR_FRAME_PULL, .pull = {.round = 7, .count = 1}});
        spend(0.5);
    }
    tear_down_run(false);
}

static bool stop_at_once(void *context)
{
    (void)context;
    return false;
}

// It writes the result again, which is no round.
static void test_a_finished_server_that_is_stopped(void **state)
{
    (void)state;
    set_up_run("rounds: 1, min_clients: 1, progress_timeout: 20");
    enrol(&anne, "anne");
    say_ready(&anne);
    until_came(&anne, CR_FRAME_BEGIN, 1);
    say_trained(&anne, 0, 10, 10);
    until_closed(&anne, CR_OK, "");
    double since = cr_clock_monotonic();
    while (!atomic_load(&ended)) assert_true(cr_clock_monotonic() - since < PATIENCE);
    assert_fails(CR_CANCELLED, "stopped before the result was written",
                 cr_server_run(&config, &test_key, &few, &told_counter, stop_at_once, NULL));
    tear_down_run(false);
}

static void test_silent_strangers_keep_nobody_out(void **state)
{
    (void)state;
    enum { STRANGERS = 80 }; // more than are let in
    set_up_run("rounds: 1, min_clients: 1, progress_timeout: 20");
    enrol(&anne, "anne");
    cr_connection_close(anne.connection);
    until_closed(&anne, CR_OK, "");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)atoi(strrchr(anne.token.address, ':') + 1));
    int fds[STRANGERS];
    for (size_t i = 0; i < STRANGERS; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fds[i], (const struct sockaddr *)&address, sizeof address), 0);
    }
    connect_silo(&anne);
    say_ready(&anne);
    until_came(&anne, CR_FRAME_BEGIN, 1);
    for (size_t i = 0; i < STRANGERS; i++) close(fds[i]);
    tear_down_run(true);
}

// As many as there are places for strangers; a newcomer finds one all the same.
static void test_members_take_no_strangers_places(void **state)
{
    (void)state;
    enum { MEMBERS = 64 };
    static struct silo members[MEMBERS];
    set_up_run("rounds: 1, min_clients: 1, progress_timeout: 20");
    for (size_t i = 0; i < MEMBERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "silo-%zu", i);
        members[i] = (struct silo){0};
        enrol(&members[i], name);
    }
    enrol(&anne, "anne");
    say_ready(&anne);
    until_came(&anne, CR_FRAME_BEGIN, 1);
    for (size_t i = 0; i < MEMBERS; i++) {
        assert_false(members[i].closed);
        release(&members[i]);
    }
    tear_down_run(true);
}

// Whether it says Ready each time or not, few of its connections are told of; and in the end that it stays.
static void test_a_silo_that_comes_and_goes(void **state)
{
    (void)state;
    enum { VISITS = 80, MOST_TOLD = 40 };
    for (int ready = 0; ready < 2; ready++) {
        set_up_run("rounds: 1, min_clients: 2, progress_timeout: 20");
        joined_told = left_told = others_told = 0;
        enrol(&anne, "anne");
        for (size_t i = 0; i < VISITS; i++) {
            if (ready) say_ready(&anne);
            cr_connection_close(anne.connection);
            until_closed(&anne, CR_OK, "");
            connect_silo(&anne);
        }
        say_ready(&anne);
        double since = cr_clock_monotonic();
        while (left_told + others_told < VISITS || joined_told != (ready ? left_told + 1 : 1)) {
            assert_ok(cr_loop_step(loop, 0.05));
            assert_true(cr_clock_monotonic() - since < PATIENCE);
        }
        print_message("%zu visits: %zu came, %zu left, and %zu others\n", (size_t)VISITS, joined_told,
                      left_told, others_told);
        assert_true(joined_told <= MOST_TOLD && left_told <= MOST_TOLD);
        tear_down_run(true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_update_that_never_comes),
        cmocka_unit_test(test_a_silo_that_comes_back_and_says_nothing),
        cmocka_unit_test(test_a_silo_that_was_away_hears_the_end),
        cmocka_unit_test(test_a_silo_that_does_not_let_the_server_end),
        cmocka_unit_test(test_a_finished_server_that_is_stopped),
        cmocka_unit_test(test_silent_strangers_keep_nobody_out),
        cmocka_unit_test(test_members_take_no_strangers_places),
        cmocka_unit_test(test_a_silo_that_comes_and_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
