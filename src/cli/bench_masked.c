#include "cli/bench_masked.h"

#include "base/clock.h"
#include "crypto/random.h"
#include "field/product.h"
#include "tensor/matmul.h"

enum { M = CR_BENCH_MASKED_ROWS, K = CR_BENCH_MASKED_DEPTH, N = CR_BENCH_MASKED_COLUMNS, TURNS = 8 };

struct operands {
    uint32_t *words, *products;
    int8_t *q;
    float *x, *w, *y;
};

static enum cr_status make(struct cr_arena *arena, struct operands *out)
{
    struct operands made = {0};
    for (int pass = 0; pass < 2; pass++) {
        made.words = cr_arena_take(arena, (size_t)M * K, sizeof *made.words);
        made.products = cr_arena_take(arena, (size_t)M * N, sizeof *made.products);
        made.q = cr_arena_take(arena, (size_t)N * K, sizeof *made.q);
        made.x = cr_arena_take(arena, (size_t)M * K, sizeof *made.x);
        made.w = cr_arena_take(arena, (size_t)N * K, sizeof *made.w);
        made.y = cr_arena_take(arena, (size_t)M * N, sizeof *made.y);
        if (pass == 0) CR_TRY(cr_arena_commit(arena));
    }
    struct cr_draws *stream;
    CR_TRY(cr_draws_new(5, "bench masked", &stream));
    cr_draws_bytes(stream, made.words, (size_t)M * K * sizeof *made.words);
    cr_draws_bytes(stream, made.q, (size_t)N * K);
    cr_draws_free(stream);
    for (size_t i = 0; i < (size_t)M * K; i++) {
        made.words[i] %= cr_prime(4);
        made.x[i] = (float)cr_prime_centre(made.words[i], cr_prime(4)) * 0x1p-30f;
    }
    for (size_t i = 0; i < (size_t)N * K; i++) made.w[i] = (float)made.q[i] * 0.01f;
    *out = made;
    return CR_OK;
}

static enum cr_status measure(struct cr_compute *compute, struct cr_field *field,
                              const struct operands *operands, double *masked, double *plain)
{
    struct cr_matrix q = cr_matrix_of(operands->q, CR_I8, N, K), x = cr_matrix_of(operands->x, CR_F32, M, K),
                     w = cr_matrix_of(operands->w, CR_F32, N, K), y = cr_matrix_of(operands->y, CR_F32, M, N);
    double seconds[2] = {0};
    for (int turn = -1; turn < TURNS; turn++) { // the first turn only touches every page
        double begin = cr_clock_monotonic();
        cr_field_multiply(field, operands->words, M, q, false, 1, operands->products);
        double middle = cr_clock_monotonic();
        CR_TRY(cr_matmul(compute, CR_NT, x, w, y, false));
        if (turn < 0) continue;
        seconds[0] += middle - begin;
        seconds[1] += cr_clock_monotonic() - middle;
    }
    *masked = 2.0 * M * N * K * TURNS / seconds[0];
    *plain = 2.0 * M * N * K * TURNS / seconds[1];
    return CR_OK;
}

enum cr_status cr_bench_masked(size_t threads, double *masked, double *plain)
{
    struct cr_compute *compute;
    struct cr_field *field = NULL;
    struct operands operands;
    CR_CLEANUP(cr_arena_release) struct cr_arena arena = {0};
    CR_TRY(make(&arena, &operands));
    CR_TRY(cr_compute_new(threads, &compute));
    enum cr_status status = cr_field_new(compute, 4, &field);
    if (status == CR_OK) status = measure(compute, field, &operands, masked, plain);
    cr_field_free(field);
    cr_compute_free(compute);
    return status;
}
