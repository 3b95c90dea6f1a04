// model/frozen.h: the same whole numbers whatever the types and threads of a run, a tied head among them.
#include "support.h"

#include "field/quantize.h"
#include "model/frozen.h"

static struct cr_model *open_model(const char *directory, size_t threads, enum cr_dtype act,
                                   struct cr_compute **compute)
{
    struct cr_model *model;
    assert_ok(cr_compute_new(threads, compute));
    assert_ok(cr_model_open(directory, CR_MODEL_IN_8BIT, NULL, *compute, act, &model));
    return model;
}

static void close_model(struct cr_model *model, struct cr_compute *compute)
{
    cr_model_free(model);
    cr_compute_free(compute);
}

static void linears_are_in_the_order_of_a_walk(void **state)
{
    (void)state;
    struct cr_compute *compute;
    struct cr_frozen frozen;
    struct cr_model *model = open_model("tests/golden/llama-gqa", 1, CR_F32, &compute);
    assert_ok(cr_frozen_open(model, &frozen));
    assert_int_equal(frozen.count, 9);
    const size_t shapes[5][2] = {{32, 16}, {16, 16}, {48, 16}, {16, 24}, {48, 16}};
    for (size_t i = 0; i < 9; i++) {
        const size_t *shape = shapes[i == 8 ? 4 : i % 4];
        assert_int_equal(frozen.matrices[i].dtype, CR_I8);
        assert_int_equal(frozen.matrices[i].rows, shape[0]);
        assert_int_equal(frozen.matrices[i].columns, shape[1]);
    }
    assert_ptr_equal(frozen.matrices[4].data, model->layers[1].qkv.weight.data);
    assert_ptr_equal(frozen.matrices[8].data, model->head.weight.data);
    cr_frozen_release(&frozen);
    assert_null(frozen.matrices);
    close_model(model, compute);
}

static void a_tied_head_is_quantized(const char *directory)
{
    struct cr_compute *compute;
    struct cr_frozen frozen;
    struct cr_model *model = open_model(directory, 2, CR_F32, &compute);
    assert_ok(cr_frozen_open(model, &frozen));
    const struct cr_matrix embedding = model->embedding, head = frozen.matrices[frozen.count - 1];
    assert_int_equal(embedding.dtype, CR_F32);
    size_t count = embedding.rows * embedding.columns;
    CR_FREE int8_t *q = NULL;
    CR_FREE float *scale = NULL;
    assert_ok(cr_allocate(count, 1, &q));
    assert_ok(cr_allocate(embedding.rows, sizeof *scale, &scale));
    assert_ok(cr_quantize_rows(compute, embedding.data, embedding.rows, embedding.columns, q, scale, NULL));
    assert_int_equal(head.rows, embedding.rows);
    assert_int_equal(head.columns, embedding.columns);
    assert_memory_equal(head.data, q, count);
    assert_memory_equal(head.scale, scale, embedding.rows * sizeof *scale);
    cr_frozen_release(&frozen);
    close_model(model, compute);
}

static void tied_heads_are_quantized(void **state)
{
    (void)state;
    a_tied_head_is_quantized("tests/golden/llama-mha-tied");
    a_tied_head_is_quantized("tests/golden/gpt2");
}

static uint64_t checksum_of(const char *directory, size_t threads, enum cr_dtype act)
{
    struct cr_compute *compute;
    struct cr_frozen frozen;
    struct cr_model *model = open_model(directory, threads, act, &compute);
    assert_ok(cr_frozen_open(model, &frozen));
    uint64_t checksum = frozen.checksum;
    cr_frozen_release(&frozen);
    close_model(model, compute);
    return checksum;
}

static void the_checksum_is_the_checkpoints(void **state)
{
    (void)state;
    const char *const directories[] = {"tests/golden/llama-gqa", "tests/golden/llama-mha-tied",
                                       "tests/golden/gpt2", "tests/golden/qwen2-tied"};
    uint64_t seen[4];
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    bool bf16 = cr_compute_has_bf16(compute);
    cr_compute_free(compute);
    for (size_t i = 0; i < 4; i++) {
        seen[i] = checksum_of(directories[i], 1, CR_F32);
        assert_true(checksum_of(directories[i], 3, CR_F32) == seen[i]);
        // Float32 checkpoints: an embedding that the run keeps in bf16 is quantised from the file.
        if (bf16) assert_true(checksum_of(directories[i], 1, CR_BF16) == seen[i]);
        for (size_t j = 0; j < i; j++) assert_true(seen[i] != seen[j]);
    }
}

static void every_number_is_in_the_checksum(void **state)
{
    (void)state;
    int8_t numbers[5 * 13] = {0};
    struct cr_matrix q = cr_matrix_of(numbers, CR_I8, 5, 13);
    uint64_t zeros = cr_quantized_checksum(0, q);
    for (size_t i = 0; i < sizeof numbers; i++) {
        numbers[i] = 1;
        assert_true(cr_quantized_checksum(0, q) != zeros);
        numbers[i] = 0;
    }
    assert_true(cr_quantized_checksum(0, cr_matrix_of(numbers, CR_I8, 13, 5)) != zeros);
    assert_true(cr_quantized_checksum(1, q) != zeros);
    // Rows apart from each other are the same numbers.
    int8_t spread[5 * 20];
    memset(spread, 77, sizeof spread);
    for (size_t r = 0; r < 5; r++) memset(spread + r * 20, 0, 13);
    struct cr_matrix strided = q;
    strided.data = spread;
    strided.stride = 20;
    assert_true(cr_quantized_checksum(0, strided) == zeros);
}

static void another_model_is_refused(void **state)
{
    (void)state;
    struct cr_compute *compute;
    struct cr_model *model;
    struct cr_frozen frozen;
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_model_open("tests/golden/llama-gqa", CR_MODEL_AS_FILED, NULL, compute, CR_F32, &model));
    assert_fails(CR_INTERNAL, "not opened in 8 bits", cr_frozen_open(model, &frozen));
    close_model(model, compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linears_are_in_the_order_of_a_walk),
        cmocka_unit_test(tied_heads_are_quantized),
        cmocka_unit_test(the_checksum_is_the_checkpoints),
        cmocka_unit_test(every_number_is_in_the_checksum),
        cmocka_unit_test(another_model_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
