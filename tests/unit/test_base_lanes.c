// base/lanes: the order in which lanes take turns, and that a failure ends them all.
#include "support.h"

#include "base/lanes.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

enum { MOST_LANES = 4 };

// What lanes do: lane i passes on turns[i] times, writing its number before each time and at its end. Lane
// `fails` fails once it has passed on `at` times; none does where it is MOST_LANES.
struct course {
    struct cr_lanes *lanes;
    size_t turns[MOST_LANES];
    size_t fails, at;
    bool stubborn; // a lane that is given up goes on regardless
    char order[512];
    size_t length;
    pthread_t thread[MOST_LANES];
    size_t cancelled; // how often passing on gave up
};

static enum cr_status walk(void *context, size_t lane)
{
    struct course *course = context;
    course->thread[lane] = pthread_self();
    for (size_t i = 0;; i++) {
        assert_int_equal(cr_lanes_current(course->lanes), lane);
        course->order[course->length++] = (char)('0' + lane);
        if (course->fails == lane && course->at == i)
            return cr_fail(CR_PROTOCOL, "lane %zu: a wrong answer after %zu", lane, i);
        if (i == course->turns[lane]) return CR_OK;
        enum cr_status status = cr_lanes_pass_on(course->lanes);
        if (status == CR_OK) continue;
        assert_int_equal(status, CR_CANCELLED);
        assert_non_null(strstr(cr_error_message(), "another lane has failed"));
        course->cancelled++;
        if (!course->stubborn) return status;
    }
}

static void expect_order(size_t count, const size_t *turns, const char *order)
{
    struct course course = {.fails = MOST_LANES};
    memcpy(course.turns, turns, count * sizeof *turns);
    assert_ok(cr_lanes_new(count, &course.lanes));
    assert_int_equal(cr_lanes_count(course.lanes), count);
    for (int again = 0; again < 3; again++) {
        course.length = 0;
        memset(course.order, 0, sizeof course.order);
        assert_ok(cr_lanes_run(course.lanes, walk, &course));
        assert_string_equal(course.order, order);
        assert_int_equal(cr_lanes_current(course.lanes), 0);
        assert_true(pthread_equal(course.thread[0], pthread_self()));
        for (size_t i = 1; i < count; i++) assert_false(pthread_equal(course.thread[i], pthread_self()));
    }
    assert_int_equal(course.cancelled, 0);
    cr_lanes_free(course.lanes);
}

static void lanes_take_turns(void **state)
{
    (void)state;
    expect_order(2, (size_t[]){3, 3}, "01010101");
    expect_order(2, (size_t[]){0, 0}, "01");
    expect_order(2, (size_t[]){0, 3}, "01111");
    expect_order(2, (size_t[]){4, 1}, "0101000");
    expect_order(2, (size_t[]){1, 4}, "0101111");
    expect_order(1, (size_t[]){3}, "0000");
    expect_order(3, (size_t[]){1, 3, 2}, "012012121");
    expect_order(4, (size_t[]){2, 0, 3, 1}, "0123023022");
}

// Without lanes, or between two runs, there is nobody to pass on to.
static void passing_on_outside_of_a_run_does_nothing(void **state)
{
    (void)state;
    struct course course = {.fails = MOST_LANES, .turns = {2}};
    assert_ok(cr_lanes_pass_on(NULL));
    assert_int_equal(cr_lanes_current(NULL), 0);
    assert_int_equal(cr_lanes_count(NULL), 1);
    assert_ok(cr_lanes_run(NULL, walk, &course));
    assert_string_equal(course.order, "000");
    cr_lanes_free(NULL);
    assert_fails(CR_INVALID, "at least 1", cr_lanes_new(0, &course.lanes));

    assert_ok(cr_lanes_new(2, &course.lanes));
    assert_ok(cr_lanes_pass_on(course.lanes));
    course.fails = 1;
    assert_fails(CR_PROTOCOL, "lane 1", cr_lanes_run(course.lanes, walk, &course));
    assert_ok(cr_lanes_pass_on(course.lanes));
    cr_lanes_free(course.lanes);
}

// What is written before the failure is what an undisturbed run would have written, then each other lane that
// has begun, and goes on, hears of it once; those that have not begun never do.
static void a_failure_ends_every_lane(void **state)
{
    (void)state;
    enum { TURNS = 5 };
    for (size_t count = 1; count <= MOST_LANES; count++) {
        struct cr_lanes *lanes;
        assert_ok(cr_lanes_new(count, &lanes));
        for (size_t fails = 0; fails < count; fails++) {
            for (size_t at = 0; at <= TURNS; at++) {
                struct course course = {
                    .lanes = lanes, .turns = {TURNS, TURNS, TURNS, TURNS}, .fails = fails, .at = at};
                char sentence[64];
                snprintf(sentence, sizeof sentence, "lane %zu: a wrong answer after %zu", fails, at);
                assert_int_equal(cr_lanes_run(lanes, walk, &course), CR_PROTOCOL);
                assert_string_equal(cr_error_message(), sentence);
                assert_int_equal(course.length, at * count + fails + 1);
                for (size_t i = 0; i < course.length; i++)
                    assert_int_equal(course.order[i], '0' + (char)(i % count));
                size_t begun = at == 0 ? fails + 1 : count, done = at == TURNS ? fails : 0;
                assert_int_equal(course.cancelled, begun - 1 - done);

                course = (struct course){.lanes = lanes, .turns = {1, 1, 1, 1}, .fails = MOST_LANES};
                assert_ok(cr_lanes_run(lanes, walk, &course));
                assert_int_equal(course.length, 2 * count);
            }
        }
        cr_lanes_free(lanes);
    }
}

// A lane that does not heed a failure runs to its end alone, and the first failure stays the answer.
static void the_first_failure_is_the_answer(void **state)
{
    (void)state;
    struct course course = {.turns = {6, 2}, .fails = 1, .at = 1, .stubborn = true};
    assert_ok(cr_lanes_new(2, &course.lanes));
    assert_fails(CR_PROTOCOL, "lane 1: a wrong answer after 1", cr_lanes_run(course.lanes, walk, &course));
    assert_string_equal(course.order, "010100000");
    assert_int_equal(course.cancelled, 5);
    cr_lanes_free(course.lanes);
}

// Numbers that depend on the order of every single turn: an unguarded sum that each lane folds itself into.
struct fold {
    struct cr_lanes *lanes;
    uint64_t sum;
    size_t turns[MOST_LANES];
};

static enum cr_status fold_in(void *context, size_t lane)
{
    struct fold *fold = context;
    for (size_t i = 0; i < fold->turns[lane]; i++) {
        fold->sum = fold->sum * 6364136223846793005u + lane + 1;
        CR_TRY(cr_lanes_pass_on(fold->lanes));
    }
    return CR_OK;
}

static void the_order_is_the_same_every_time(void **state)
{
    (void)state;
    for (size_t count = 2; count <= 3; count++) {
        struct fold fold = {.turns = {40, 57, 31}};
        uint64_t expected = 0;
        for (size_t i = 0; i < 57; i++)
            for (size_t lane = 0; lane < count; lane++)
                if (i < fold.turns[lane]) expected = expected * 6364136223846793005u + lane + 1;
        assert_ok(cr_lanes_new(count, &fold.lanes));
        for (int again = 0; again < 300; again++) {
            fold.sum = 0;
            assert_ok(cr_lanes_run(fold.lanes, fold_in, &fold));
            assert_true(fold.sum == expected);
        }
        cr_lanes_free(fold.lanes);
    }
    for (int again = 0; again < 300; again++) { // threads that never had a turn end as well
        struct cr_lanes *lanes;
        assert_ok(cr_lanes_new(MOST_LANES, &lanes));
        cr_lanes_free(lanes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_take_turns),
        cmocka_unit_test(passing_on_outside_of_a_run_does_nothing),
        cmocka_unit_test(a_failure_ends_every_lane),
        cmocka_unit_test(the_first_failure_is_the_answer),
        cmocka_unit_test(the_order_is_the_same_every_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
