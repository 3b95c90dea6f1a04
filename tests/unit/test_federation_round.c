// The state machine alone: every order of events that a federation can meet.
#include "support.h"

#include "federation/round.h"

#include <stdio.h>

static struct cr_round machine;
static struct cr_round_actions actions;
static double now;
static const unsigned char start0[32] = {1}, start1[32] = {2};
static char log_text[512];

// Actions as text: "begin 0, begin 1, collect".
static const char *shown(void)
{
    static const char *const names[] = {"begin", "collect", "resume", "drop", "fail"};
    size_t at = 0;
    log_text[0] = 0;
    for (size_t i = 0; i < actions.count; i++) {
        enum cr_round_action_kind kind = actions.items[i].kind;
        at += (size_t)snprintf(log_text + at, sizeof log_text - at, "%s%s", i > 0 ? ", " : "", names[kind]);
        if (kind != CR_ROUND_COLLECT && kind != CR_ROUND_FAIL)
            at += (size_t)snprintf(log_text + at, sizeof log_text - at, " %zu", actions.items[i].silo);
    }
    return log_text;
}

static const char *event(enum cr_round_event_kind kind, size_t silo)
{
    cr_round_handle(&machine, now, &(struct cr_round_event){.kind = kind, .silo = silo}, &actions);
    return shown();
}

static const char *answer_with(size_t silo, uint64_t round, const unsigned char start[32],
                               unsigned char digest)
{
    struct cr_answer answer = {.round = round, .digest = {digest}, .labelled = 10};
    memcpy(answer.start, start, 32);
    cr_round_handle(&machine, now, &(struct cr_round_event){CR_ROUND_ANSWERED, silo, &answer}, &actions);
    return shown();
}

static const char *answer(size_t silo)
{
    return answer_with(silo, machine.round, machine.start, 7);
}

static const char *next(void)
{
    cr_round_next(&machine, now, start1, &actions);
    return shown();
}

static void set_up(size_t min_clients, double deadline)
{
    struct cr_round_rules rules = {.min_clients = min_clients, .deadline = deadline, .absence = 100};
    now = 1000;
    cr_round_init(&machine, &rules, 0, start0);
}

static void all_ready(size_t silos)
{
    for (size_t i = 0; i < silos; i++) event(CR_ROUND_READY, i);
}

static void test_a_round(void **state)
{
    (void)state;
    set_up(3, 0);
    assert_string_equal(event(CR_ROUND_READY, 2), "");
    assert_string_equal(event(CR_ROUND_READY, 0), "");
    now += 1e6; // before the first round nothing is late
    assert_string_equal(event(CR_ROUND_TICK, 0), "");
    assert_string_equal(event(CR_ROUND_READY, 1), "begin 0, begin 1, begin 2");
    assert_string_equal(answer(1), "");
    assert_string_equal(answer(0), "");
    assert_string_equal(answer(2), "collect");
    assert_string_equal(next(), "begin 0, begin 1, begin 2");
    assert_int_equal(machine.round, 1);
    assert_int_equal(machine.phase, CR_ROUND_TRAINING);
}

static void test_every_order_of_answers_closes_once(void **state)
{
    (void)state;
    static const size_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t o = 0; o < 6; o++) {
        set_up(1, 0);
        event(CR_ROUND_READY, 0);
        assert_string_equal(event(CR_ROUND_READY, 1), "begin 1");
        assert_string_equal(event(CR_ROUND_READY, 2), "begin 2");
        for (size_t i = 0; i < 3; i++) {
            const char *got = answer(orders[o][i]);
            assert_string_equal(got, i == 2 ? "collect" : "");
        }
        for (size_t i = 0; i < 3; i++) assert_true(machine.silos[i].in_set);
    }
}

static void test_repeated_answers_count_once(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(2);
    assert_string_equal(answer(0), "");
    assert_string_equal(answer(0), "");
    assert_string_equal(answer(1), "collect");
    assert_string_equal(answer(1), "resume 1");
}

static void test_stale_answers_begin_anew(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(2);
    assert_string_equal(answer_with(0, 5, start0, 7), "begin 0");
    assert_string_equal(answer_with(0, 0, start1, 7), "begin 0");
    assert_false(machine.silos[0].answered);
    answer(0);
    answer(1);
    next();
    assert_string_equal(answer_with(0, 0, start0, 7), "begin 0");
    assert_string_equal(answer_with(1, 1, start1, 7), "");
}

static void test_lost_and_back_while_training(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(2);
    answer(0);
    assert_string_equal(event(CR_ROUND_LOST, 1), "");
    now += 99;
    assert_string_equal(event(CR_ROUND_TICK, 0), "");
    assert_string_equal(event(CR_ROUND_READY, 1), "begin 1");
    now += 99;
    assert_string_equal(event(CR_ROUND_TICK, 0), "");
    assert_string_equal(answer(1), "collect");
}

static void test_lost_after_the_answer_is_in_the_set(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(2);
    answer(0);
    event(CR_ROUND_LOST, 0);
    assert_string_equal(answer(1), "collect");
    assert_string_equal(event(CR_ROUND_READY, 0), "begin 0");
    assert_string_equal(answer(0), "resume 0");
}

static void test_away_too_long_is_dropped(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(3);
    answer(0);
    answer(1);
    event(CR_ROUND_LOST, 2);
    now += 100;
    assert_string_equal(event(CR_ROUND_TICK, 0), "drop 2, collect");
    assert_false(machine.silos[2].in_set);
    // It comes back during the collection: from the next round on.
    assert_string_equal(event(CR_ROUND_READY, 2), "");
    assert_string_equal(next(), "begin 0, begin 1, begin 2");
}

static void test_lost_in_the_collection_is_dropped_and_it_begins_again(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(3);
    for (size_t i = 0; i < 3; i++) answer(i);
    event(CR_ROUND_LOST, 1);
    now += 100;
    assert_string_equal(event(CR_ROUND_TICK, 0), "drop 1, collect");
    assert_true(machine.silos[0].in_set && !machine.silos[1].in_set && machine.silos[2].in_set);
}

static void test_too_few_left_fails(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(2);
    event(CR_ROUND_LOST, 1);
    now += 99;
    assert_string_equal(event(CR_ROUND_TICK, 0), "");
    now += 1;
    assert_string_equal(event(CR_ROUND_TICK, 0), "drop 1, fail");
}

static void test_refused_update(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(3);
    for (size_t i = 0; i < 3; i++) answer(i);
    assert_string_equal(event(CR_ROUND_REFUSED, 1), "collect");
    assert_string_equal(answer(1), ""); // not again in this round
    assert_string_equal(event(CR_ROUND_REFUSED, 2), "fail");
}

// A silo whose piece did not come is not refused: where it is needed, it may come back, once.
static void test_a_piece_that_does_not_come(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(2);
    answer(0);
    assert_string_equal(answer(1), "collect");
    assert_string_equal(event(CR_ROUND_LATE, 1), "");
    now += 60;
    assert_string_equal(event(CR_ROUND_READY, 1), "begin 1");
    assert_string_equal(answer(1), "collect");
    assert_string_equal(event(CR_ROUND_LATE, 1), "");
    now += 60;
    assert_string_equal(event(CR_ROUND_READY, 1), "");
    now += 40;
    assert_string_equal(event(CR_ROUND_TICK, 0), "fail");
    assert_false(machine.silos[1].refused);
}

static void test_without_a_piece_the_others_go_on(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(3);
    for (size_t i = 0; i < 3; i++) answer(i);
    assert_string_equal(event(CR_ROUND_LATE, 1), "collect");
    assert_string_equal(event(CR_ROUND_READY, 1), "");
    assert_string_equal(answer(1), "");
    assert_false(machine.silos[1].in_set);
    next();
    assert_true(machine.silos[1].taking_part);
}

// One is refused while another is away: whether enough are left is known when that one is back, or does not
// come.
static void test_who_is_only_lost_is_waited_for(void **state)
{
    (void)state;
    for (int returns = 0; returns < 2; returns++) {
        set_up(2, 0);
        all_ready(3);
        for (size_t i = 0; i < 3; i++) answer(i);
        assert_string_equal(event(CR_ROUND_LOST, 2), "");
        assert_string_equal(event(CR_ROUND_REFUSED, 1), "collect");
        now += 60;
        assert_string_equal(event(CR_ROUND_TICK, 0), "");
        if (returns) {
            assert_string_equal(event(CR_ROUND_READY, 2), "begin 2");
            assert_string_equal(answer(2), "resume 2");
            now += 60;
            assert_string_equal(event(CR_ROUND_TICK, 0), "");
        } else {
            now += 60;
            assert_string_equal(event(CR_ROUND_TICK, 0), "drop 2, fail");
        }
    }
}

static void test_a_newcomer_replaces_a_refused_one(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(2);
    answer(0);
    answer(1);
    assert_string_equal(event(CR_ROUND_READY, 2), "");
    assert_string_equal(event(CR_ROUND_REFUSED, 1), "begin 2");
    assert_string_equal(answer(2), "collect");
}

static void test_deadline(void **state)
{
    (void)state;
    set_up(2, 30);
    all_ready(3);
    answer(0);
    now += 30;
    assert_string_equal(event(CR_ROUND_TICK, 0), "");
    assert_string_equal(answer(1), "collect");
    assert_string_equal(answer(2), ""); // too late
    assert_false(machine.silos[2].in_set);
    next();
    answer(0);
    answer(1);
    now += 29;
    assert_string_equal(event(CR_ROUND_TICK, 0), "");
    now += 1;
    assert_string_equal(event(CR_ROUND_TICK, 0), "collect");
}

// The deadline passes when the first two of three have answered.
static void collect_from_two(void)
{
    set_up(2, 30);
    all_ready(3);
    answer(0);
    answer(1);
    now += 30;
    assert_string_equal(event(CR_ROUND_TICK, 0), "collect");
}

// Who is too late for a set stands in for one of it that is refused, or stays away.
static void test_a_late_answer_stands_in(void **state)
{
    (void)state;
    for (int stays_away = 0; stays_away < 2; stays_away++) {
        collect_from_two();
        assert_string_equal(answer(2), "");
        if (!stays_away) {
            assert_string_equal(event(CR_ROUND_REFUSED, 1), "collect");
        } else {
            event(CR_ROUND_LOST, 1);
            now += 100;
            assert_string_equal(event(CR_ROUND_TICK, 0), "drop 1, collect");
        }
        assert_true(machine.silos[0].in_set && !machine.silos[1].in_set && machine.silos[2].in_set);
    }
}

// So does one that came back during the collection, whatever it had answered before.
static void test_one_that_came_back_stands_in(void **state)
{
    (void)state;
    for (int had_answered = 0; had_answered < 2; had_answered++) {
        collect_from_two();
        if (had_answered) assert_string_equal(answer(2), "");
        event(CR_ROUND_LOST, 2);
        assert_string_equal(event(CR_ROUND_READY, 2), "");
        assert_string_equal(event(CR_ROUND_REFUSED, 1), "begin 2");
        assert_string_equal(answer(2), "collect");
        assert_true(machine.silos[2].in_set);
    }
}

static void test_another_answer_in_the_collection_begins_it_again(void **state)
{
    (void)state;
    set_up(1, 0);
    all_ready(1);
    answer(0);
    assert_string_equal(answer_with(0, 0, start0, 8), "collect");
}

// Its disk may have been lost with its answer.
static void test_whoever_comes_back_answers_again(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(2);
    answer(0);
    event(CR_ROUND_LOST, 0);
    assert_string_equal(event(CR_ROUND_READY, 0), "begin 0");
    assert_string_equal(answer(1), "");
    assert_string_equal(answer(0), "collect");
}

// Being short of silos once does not shorten the time of the next.
static void test_each_absence_has_its_own_time(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(2);
    event(CR_ROUND_LOST, 1);
    now += 60;
    event(CR_ROUND_READY, 1);
    now += 60;
    assert_string_equal(event(CR_ROUND_LOST, 1), "");
    now += 99;
    assert_string_equal(event(CR_ROUND_TICK, 0), "");
    now += 1;
    assert_string_equal(event(CR_ROUND_TICK, 0), "drop 1, fail");
}

// One that was dropped and is there again counts from the next round on: until then it is not enough with it.
static void test_a_dropped_silo_that_is_back_does_not_count(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(3);
    event(CR_ROUND_LOST, 2);
    now += 100;
    assert_string_equal(event(CR_ROUND_TICK, 0), "drop 2");
    assert_string_equal(event(CR_ROUND_READY, 2), "");
    event(CR_ROUND_LOST, 1);
    now += 100;
    assert_string_equal(event(CR_ROUND_TICK, 0), "drop 1, fail");
}

static void test_a_dropped_silo_does_not_stand_in(void **state)
{
    (void)state;
    set_up(1, 0);
    all_ready(3);
    answer(0);
    answer(1);
    event(CR_ROUND_LOST, 2);
    now += 100;
    assert_string_equal(event(CR_ROUND_TICK, 0), "drop 2, collect");
    event(CR_ROUND_READY, 2);
    assert_string_equal(event(CR_ROUND_REFUSED, 1), "collect");
}

static void test_the_next_round_begins_with_who_is_there(void **state)
{
    (void)state;
    set_up(2, 0);
    all_ready(3);
    for (size_t i = 0; i < 3; i++) answer(i);
    event(CR_ROUND_LOST, 1);
    assert_string_equal(next(), "begin 0, begin 2");
    answer(0);
    assert_string_equal(answer(2), "collect"); // nobody else is waited for
}

static void test_joining_late(void **state)
{
    (void)state;
    set_up(1, 0);
    assert_string_equal(event(CR_ROUND_READY, 0), "begin 0");
    assert_string_equal(event(CR_ROUND_READY, 1), "begin 1");
    assert_string_equal(answer(0), "");
    assert_string_equal(answer(1), "collect");
}

static void test_answers_of_strangers_are_ignored(void **state)
{
    (void)state;
    set_up(2, 0);
    assert_string_equal(answer(0), "");
    all_ready(2);
    assert_string_equal(answer(5), "");
    assert_false(machine.silos[5].answered);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_round),
        cmocka_unit_test(test_every_order_of_answers_closes_once),
        cmocka_unit_test(test_repeated_answers_count_once),
        cmocka_unit_test(test_stale_answers_begin_anew),
        cmocka_unit_test(test_lost_and_back_while_training),
        cmocka_unit_test(test_lost_after_the_answer_is_in_the_set),
        cmocka_unit_test(test_away_too_long_is_dropped),
        cmocka_unit_test(test_lost_in_the_collection_is_dropped_and_it_begins_again),
        cmocka_unit_test(test_too_few_left_fails),
        cmocka_unit_test(test_refused_update),
        cmocka_unit_test(test_a_piece_that_does_not_come),
        cmocka_unit_test(test_without_a_piece_the_others_go_on),
        cmocka_unit_test(test_who_is_only_lost_is_waited_for),
        cmocka_unit_test(test_a_newcomer_replaces_a_refused_one),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_a_late_answer_stands_in),
        cmocka_unit_test(test_one_that_came_back_stands_in),
        cmocka_unit_test(test_another_answer_in_the_collection_begins_it_again),
        cmocka_unit_test(test_whoever_comes_back_answers_again),
        cmocka_unit_test(test_each_absence_has_its_own_time),
        cmocka_unit_test(test_a_dropped_silo_that_is_back_does_not_count),
        cmocka_unit_test(test_a_dropped_silo_does_not_stand_in),
        cmocka_unit_test(test_the_next_round_begins_with_who_is_there),
        cmocka_unit_test(test_joining_late),
        cmocka_unit_test(test_answers_of_strangers_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
