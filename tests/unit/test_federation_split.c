// A split model's server against a silo that speaks the protocol as it likes: each lie ends that silo's
// connection with its reason, and the next connection goes on where the truth ended.
#include "split_support.h"

// Of two silos, so that the training never begins.
static int set_up(void **state)
{
    return start_server(state, "", ", min_clients: 2}");
}

static int tear_down(void **state)
{
    return stop_server(state, CR_CANCELLED);
}

static void an_offer_that_cannot_be_is_refused(void **state)
{
    (void)state;
    struct cr_message message = offer_of(5, 20);
    connect_silo();
    message.offer.front[0] ^= 1;
    say(&message);
    refused(CR_DENIED, "anne has another tokenizer, embedding or layers below split.layers");
    static const uint64_t sizes[][2] = {{0, 0}, {5, 4}, {5, 5 * 33 + 4}, {UINT64_MAX, UINT64_MAX}};
    for (size_t i = 0; i < 4; i++) {
        connect_silo();
        message = offer_of(sizes[i][0], sizes[i][1]);
        say(&message);
        refused(CR_DENIED, "which cannot be");
    }
    connect_silo();
    message = offer_of(UINT32_MAX, UINT32_MAX * (uint64_t)LONGEST);
    say(&message);
    refused(CR_DENIED, "(split.storage)");
    offer(5, 20);
    message = offer_of(5, 20);
    say(&message);
    refused(CR_PROTOCOL, "two offers");
}

static void rows_come_whole_and_in_order(void **state)
{
    (void)state;
    fill(3);
    connect_silo();
    cut(0, 0, 3, 3 * ROW);
    refused(CR_PROTOCOL, "Cut came before Offer");
    static const struct {
        uint64_t example, first, rows;
        size_t size;
    } wrong[] = {
        {1, 0, 3, 3 * ROW},                 // not the next
        {0, 1, 3, 2 * ROW},                 // not from the start
        {0, 0, 0, ROW},                     // of no rows
        {0, 0, LONGEST + 1, 3 * ROW},       // longer than any
        {0, 0, UINT64_MAX, 3 * ROW},        // likewise
        {0, 0, 3, 0},                       // nothing
        {0, 0, 3, 3 * ROW - 1},             // not whole
        {0, 0, 3, 4 * ROW},                 // more than it has
        {0, UINT64_MAX, 3, ROW},            // before the start
        {UINT64_MAX, 0, 3, 3 * ROW},        // no number
        {0, 0, LONGEST, 2 * LONGEST * ROW}, // more than fits
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        offer(5, 20);
        cut(wrong[i].example, wrong[i].first, wrong[i].rows, wrong[i].size);
        refused(CR_PROTOCOL, "do not follow");
    }
    offer(5, 20); // half an example, and then another length
    cut(0, 0, 6, 3 * ROW);
    cut(0, 3, 7, 3 * ROW);
    refused(CR_PROTOCOL, "do not follow");
    offer(5, 20); // half an example, and the next
    cut(0, 0, 6, 3 * ROW);
    cut(1, 0, 3, 3 * ROW);
    refused(CR_PROTOCOL, "do not follow");
    assert_int_equal(silo.held, 0);
}

static void what_no_model_makes_is_refused_and_the_rest_kept(void **state)
{
    (void)state;
    offer(5, 20);
    fill(3);
    cut(0, 0, 3, 3 * ROW);
    cut(1, 0, 6, 3 * ROW); // in two frames
    cut(1, 3, 6, 3 * ROW);
    memset(body, 0xff, 2);
    cut(2, 0, 3, 3 * ROW);
    refused(CR_DENIED, "example 3 of anne: an activation is NaN or infinite");
    offer(5, 20);
    assert_int_equal(silo.held, 2);
    fill(3);
    memcpy(body + 3 * 2 * WIDTH, &(int32_t){1 << 20}, 4);
    cut(2, 0, 3, 3 * ROW);
    refused(CR_DENIED, "label 1048576 is outside");
    offer(5, 20);
    assert_int_equal(silo.held, 2);
    fill(20);
    cut(2, 0, 20, 20 * ROW);
    refused(CR_DENIED, "more than it offered");
    // Other data begin anew; all of them are acknowledged, and more than all is refused.
    struct cr_message message = {.type = CR_FRAME_READY};
    offer(1, 3);
    assert_int_equal(silo.held, 0);
    fill(3);
    cut(0, 0, 3, 3 * ROW);
    while (silo.held < 1 && !silo.closed) assert_ok(cr_loop_step(loop, 0.05));
    assert_int_equal(silo.held, 1);
    cut(1, 0, 3, 3 * ROW);
    refused(CR_DENIED, "more than it offered");
    offer(1, 3);
    assert_int_equal(silo.held, 1);
    say(&message);
    refused(CR_PROTOCOL, "Ready is nothing that a silo of a split model says");
    connect_silo();
    message.type = CR_FRAME_ASK;
    say(&message);
    refused(CR_DENIED, "nobody may ask the tuned model: the job has no split.inference");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_offer_that_cannot_be_is_refused),
        cmocka_unit_test(rows_come_whole_and_in_order),
        cmocka_unit_test(what_no_model_makes_is_refused_and_the_rest_kept),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
