// What silos remember of a server, and what a server believes of it.
#include "sealing_support.h"

#include "federation/rollback.h"

static const struct cr_seen now = {.run = {1}, .round = 5, .start = {2}};

static struct cr_seen signed_by(const struct cr_sealing_key *key, uint64_t round, unsigned char start)
{
    struct cr_seen seen = now;
    seen.round = round;
    seen.start[0] = start;
    assert_ok(cr_seen_sign(key, &seen));
    return seen;
}

static void test_a_silo_follows_no_older_word(void **unused)
{
    (void)unused;
    struct cr_seen told = now;
    assert_ok(cr_seen_follow(&now, &told)); // again
    told.start[31] ^= 1;
    assert_fails(CR_PROTOCOL, "begins round 6 with other values", cr_seen_follow(&now, &told));
    told.round = 6;
    assert_ok(cr_seen_follow(&now, &told));
    told = now;
    told.round = 4;
    assert_fails(CR_PROTOCOL, "it tells of round 5, and round 6 had been told of",
                 cr_seen_follow(&now, &told));
}

static void test_a_server_believes_its_own_word(void **unused)
{
    (void)unused;
    struct cr_seen kept = signed_by(&test_key, 5, 2);
    assert_ok(cr_seen_judge(&test_key, &now, &kept, "anne"));
    kept = signed_by(&test_key, 4, 9); // a silo that was away
    assert_ok(cr_seen_judge(&test_key, &now, &kept, "anne"));
    kept = signed_by(&test_key, 6, 9);
    assert_fails(CR_INVALID, "older one, before round 6: anne was told of round 7",
                 cr_seen_judge(&test_key, &now, &kept, "anne"));
    kept = signed_by(&test_key, 5, 9);
    assert_fails(CR_INVALID, "anne was told of other values for round 6",
                 cr_seen_judge(&test_key, &now, &kept, "anne"));
}

static void test_a_lie_stops_no_server(void **unused)
{
    (void)unused;
    const struct cr_sealing_key other = {"test", {9}};
    struct cr_seen kept = signed_by(&other, 1000, 2);
    assert_fails(CR_DENIED, "anne shows a receipt that this server never gave",
                 cr_seen_judge(&test_key, &now, &kept, "anne"));
    // A receipt is good for what it was given for, and for nothing else.
    const struct cr_seen genuine = signed_by(&test_key, 4, 2);
    for (int change = 0; change < 4; change++) {
        kept = genuine;
        if (change == 0) kept.round = 1000;
        if (change == 1) kept.start[31] ^= 1;
        if (change == 2) kept.run[31] ^= 1;
        if (change == 3) kept.receipt[31] ^= 1;
        assert_fails(CR_DENIED, "never gave", cr_seen_judge(&test_key, &now, &kept, "anne"));
    }
    assert_ok(cr_seen_judge(&test_key, &now, &genuine, "anne"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_silo_follows_no_older_word),
        cmocka_unit_test(test_a_server_believes_its_own_word),
        cmocka_unit_test(test_a_lie_stops_no_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
