// text/pack.h: every example is in one pack, no pack is too long, and few places stay free. text/batch.h:
// rows lie one after the other.
#include "dataset_support.h"

#include "text/batch.h"
#include "text/pack.h"

#include <stdbool.h>

static void check(const size_t *length, size_t examples, size_t capacity, const struct cr_packs *packs)
{
    CR_FREE bool *seen = NULL;
    assert_ok(cr_allocate(examples, sizeof *seen, &seen));
    assert_int_equal(packs->start[0], 0);
    assert_int_equal(packs->start[packs->count], examples);
    for (size_t p = 0; p < packs->count; p++) {
        size_t tokens = 0;
        assert_true(packs->start[p + 1] > packs->start[p]);
        for (size_t i = packs->start[p]; i < packs->start[p + 1]; i++) {
            assert_false(seen[packs->items[i]]);
            seen[packs->items[i]] = true;
            tokens += length[packs->items[i]];
        }
        assert_true(tokens <= capacity);
    }
}

static void examples_fit_as_well_as_they_can(void **state)
{
    (void)state;
    const size_t length[] = {3, 7, 5, 5, 10, 2, 8, 1};
    // Longest first: 10 | 8 2 | 7 3 | 5 5 | 1
    static const uint32_t wanted[] = {4, 6, 5, 1, 0, 2, 3, 7};
    static const size_t start[] = {0, 1, 3, 5, 7, 8};
    CR_CLEANUP(cr_packs_release) struct cr_packs packs = {0};
    assert_ok(cr_packs_fit(length, 8, 10, &packs));
    assert_int_equal(packs.count, 5);
    assert_memory_equal(packs.items, wanted, sizeof wanted);
    assert_memory_equal(packs.start, start, sizeof start);
}

static void many_examples_leave_little_room(void **state)
{
    (void)state;
    enum { EXAMPLES = 20000, CAPACITY = 700 };
    CR_FREE size_t *length = NULL;
    size_t tokens = 0;
    uint64_t random = 3;
    assert_ok(cr_allocate(EXAMPLES, sizeof *length, &length));
    for (size_t i = 0; i < EXAMPLES; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        length[i] = 1 + (random >> 33) % (i % 5 ? 200 : CAPACITY);
        tokens += length[i];
    }
    CR_CLEANUP(cr_packs_release) struct cr_packs packs = {0};
    assert_ok(cr_packs_fit(length, EXAMPLES, CAPACITY, &packs));
    check(length, EXAMPLES, CAPACITY, &packs);
    assert_true(packs.count <= tokens / CAPACITY + tokens / CAPACITY / 50 + 1); // within 2 % of none free
}

static void edges(void **state)
{
    (void)state;
    static const size_t whole[] = {64, 64, 64}, one[] = {1}, wrong[] = {3, 0}, longer[] = {65};
    struct cr_packs packs;
    assert_ok(cr_packs_fit(whole, 3, 64, &packs));
    assert_int_equal(packs.count, 3);
    cr_packs_release(&packs);
    assert_ok(cr_packs_fit(one, 1, 1, &packs));
    check(one, 1, 1, &packs);
    cr_packs_release(&packs);
    assert_ok(cr_packs_fit(one, 0, 8, &packs));
    assert_int_equal(packs.count, 0);
    cr_packs_release(&packs);
    assert_fails(CR_INTERNAL, "0 tokens", cr_packs_fit(wrong, 2, 8, &packs));
    assert_fails(CR_INTERNAL, "65 tokens", cr_packs_fit(longer, 1, 64, &packs));
}

// Of 3, 3 and 4 tokens.
static void a_dataset_is_packed_by_its_tokens(void **state)
{
    (void)state;
    struct cr_tokenizer *tokenizer = byte_tokenizer("<s>");
    struct cr_dataset *dataset = NULL;
    assert_ok(open_text("{\"text\": \"ab\"}\n{\"text\": \"cd\"}\n{\"text\": \"efg\"}\n", tokenizer,
                        (struct cr_dataset_options){0}, &dataset));
    static const size_t length[] = {3, 3, 4};
    static const struct {
        bool packing;
        size_t capacity, count;
    } cases[] = {{false, 10, 3}, {true, 10, 1}, {true, 9, 2}, {true, 7, 2}, {true, 5, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CR_CLEANUP(cr_packs_release) struct cr_packs packs = {0};
        assert_ok(cr_dataset_pack(dataset, cases[i].packing, cases[i].capacity, &packs));
        assert_int_equal(packs.count, cases[i].count);
        check(length, 3, cases[i].capacity, &packs);
    }
    cr_dataset_free(dataset);
    cr_tokenizer_free(tokenizer);
}

static void batches_hold_rows_without_padding(void **state)
{
    (void)state;
    struct cr_batch *batch;
    assert_ok(cr_batch_new(2, 5, &batch));
    const uint32_t tokens[] = {4, 5, 6, 7};
    const int32_t labels[] = {5, CR_LABEL_IGNORE, 7, CR_LABEL_IGNORE};
    const struct cr_example two = {.tokens = tokens,
                                   .labels = labels,
                                   .count = 2,
                                   .labelled = 1,
                                   .number = 7},
                            four = {.tokens = tokens, .labels = labels, .count = 4, .labelled = 2};
    assert_ok(cr_batch_add(batch, two));
    assert_fails(CR_INVALID, "does not fit", cr_batch_add(batch, four));
    assert_int_equal(batch->rows, 2);
    assert_ok(cr_batch_add(batch, two));
    assert_fails(CR_INVALID, "full", cr_batch_add(batch, two));
    assert_int_equal(batch->sequences, 2);
    assert_int_equal(batch->labelled, 2);
    assert_int_equal(batch->offset[0], 0);
    assert_int_equal(batch->offset[1], 2);
    assert_int_equal(batch->offset[2], 4);
    assert_int_equal(batch->position[2], 0);
    assert_int_equal(batch->position[3], 1);
    assert_int_equal(batch->tokens[3], 5);
    assert_int_equal(batch->labels[2], 5);
    cr_batch_clear(batch);
    assert_ok(cr_batch_add(batch, four));
    assert_int_equal(batch->offset[1], 4);
    cr_batch_free(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_fit_as_well_as_they_can),
        cmocka_unit_test(many_examples_leave_little_room),
        cmocka_unit_test(edges),
        cmocka_unit_test(a_dataset_is_packed_by_its_tokens),
        cmocka_unit_test(batches_hold_rows_without_padding),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
