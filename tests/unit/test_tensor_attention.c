// tensor/attention: against softmax attention and its gradients written out in double.
#include "tensor_support.h"

#include "tensor/attention.h"

struct example {
    struct cr_attention_shape shape;
    struct cr_attention_layout layout;
    struct cr_matrix q, k, v, out, dout, dq, dk, dv;
    float *log_sum;
};

static size_t keys_of(const struct cr_attention_layout *layout, size_t s)
{
    return layout->past[s] + layout->offset[s + 1] - layout->offset[s];
}

// Forward and backward.
static void run(struct cr_compute *compute, struct example *e)
{
    size_t longest = 0;
    for (size_t s = 0; s < e->layout.sequences; s++) {
        if (keys_of(&e->layout, s) > longest) longest = keys_of(&e->layout, s);
    }
    CR_FREE void *scratch = NULL;
    assert_ok(cr_allocate(1, cr_attention_scratch(compute, &e->shape, e->q.dtype, longest), &scratch));
    assert_ok(cr_attention(compute, &e->shape, &e->layout, e->q, e->k, e->v, e->out, e->log_sum, scratch));
    assert_ok(cr_attention_backward(compute, &e->shape, &e->layout, e->q, e->k, e->v, e->out, e->log_sum,
                                    e->dout, e->dq, e->dk, e->dv, scratch));
}

static struct example make(size_t heads, size_t kv_heads, size_t head_dim, struct cr_attention_layout layout,
                           size_t key_rows, enum cr_dtype act)
{
    uint64_t state = heads * 100 + head_dim;
    size_t rows = layout.offset[layout.sequences];
    struct example e = {.shape = {heads, kv_heads, head_dim, 1 / sqrtf((float)head_dim)}, .layout = layout};
    e.q = random_matrix(&state, rows, heads * head_dim, act, 3);
    e.k = random_matrix(&state, key_rows, kv_heads * head_dim, act, 5);
    e.v = random_matrix(&state, key_rows, kv_heads * head_dim, act, 5);
    e.dout = random_matrix(&state, rows, heads * head_dim, act, 0);
    e.out = matrix(rows, heads * head_dim, act, 1);
    e.dq = matrix(rows, heads * head_dim, act, 0);
    e.dk = matrix(key_rows, kv_heads * head_dim, act, 2);
    e.dv = matrix(key_rows, kv_heads * head_dim, act, 0);
    e.log_sum = room(rows * heads, CR_F32);
    // Some large scores, so that the running maximum moves.
    for (size_t i = 0; i < key_rows; i += 7)
        for (size_t j = 0; j < e.k.columns; j++) put(&e.k, i, j, 4 * at(&e.k, i, j));
    return e;
}

static void release(struct example *e)
{
    struct cr_matrix *all[] = {&e->q, &e->k, &e->v, &e->out, &e->dout, &e->dq, &e->dk, &e->dv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free_matrix(all[i]);
    free(e->log_sum);
}

// One head of one sequence in double: out and log_sum of each query, dq, and its share of dk and dv.
struct reference {
    double *out, *log_sum, *dq, *dk, *dv;
};

static void attend_in_double(const struct example *e, size_t s, size_t head, struct reference *r)
{
    size_t d = e->shape.head_dim, column = head * d, kv = head / (e->shape.heads / e->shape.kv_heads) * d;
    size_t start = e->layout.offset[s], queries = e->layout.offset[s + 1] - start,
           base = e->layout.key_offset[s];
    CR_FREE double *p = NULL, *dp = NULL;
    assert_ok(cr_allocate(keys_of(&e->layout, s), sizeof *p, &p));
    assert_ok(cr_allocate(keys_of(&e->layout, s), sizeof *dp, &dp));
    for (size_t i = 0; i < queries; i++) {
        size_t seen = e->layout.past[s] + i + 1, row = start + i, window = e->shape.window;
        size_t first = window > 0 && seen > window ? seen - window : 0;
        double sum = 0, dot = 0;
        for (size_t j = first; j < seen; j++) {
            double score = 0;
            for (size_t c = 0; c < d; c++) score += at(&e->q, row, column + c) * at(&e->k, base + j, kv + c);
            sum += p[j] = exp(score * (double)e->shape.scale);
        }
        r->log_sum[i] = log(sum);
        for (size_t c = 0; c < d; c++) r->out[i * d + c] = r->dq[i * d + c] = 0;
        for (size_t j = first; j < seen; j++) {
            p[j] /= sum;
            dp[j] = 0;
            for (size_t c = 0; c < d; c++) {
                r->out[i * d + c] += p[j] * at(&e->v, base + j, kv + c);
                dp[j] += at(&e->dout, row, column + c) * at(&e->v, base + j, kv + c);
                r->dv[j * d + c] += p[j] * at(&e->dout, row, column + c);
            }
            dot += p[j] * dp[j];
        }
        for (size_t j = first; j < seen; j++) {
            double ds = p[j] * (dp[j] - dot) * (double)e->shape.scale;
            for (size_t c = 0; c < d; c++) {
                r->dq[i * d + c] += ds * at(&e->k, base + j, kv + c);
                r->dk[j * d + c] += ds * at(&e->q, row, column + c);
            }
        }
    }
}

static void expect(const struct cr_matrix *m, size_t row, size_t column, size_t rows, size_t d,
                   const double *want, double tolerance, const char *name)
{
    // Relative to the largest element; gradients are differences that may nearly vanish, hence the constant.
    double largest = 0.1;
    for (size_t i = 0; i < rows * d; i++) largest = fmax(largest, fabs(want[i]));
    for (size_t i = 0; i < rows; i++)
        for (size_t c = 0; c < d; c++)
            if (!(fabs(at(m, row + i, column + c) - want[i * d + c]) <= tolerance * largest))
                fail_msg("%s (%zu, %zu) is %.9g, not %.9g", name, row + i, column + c,
                         at(m, row + i, column + c), want[i * d + c]);
}

static void check(const struct example *e)
{
    double tolerance = e->q.dtype == CR_BF16 ? 0.02 : 1e-5;
    size_t d = e->shape.head_dim, group = e->shape.heads / e->shape.kv_heads;
    for (size_t s = 0; s < e->layout.sequences; s++) {
        size_t start = e->layout.offset[s], queries = e->layout.offset[s + 1] - start,
               keys = keys_of(&e->layout, s);
        CR_FREE double *block = NULL;
        assert_ok(cr_allocate(2 * queries * d + 2 * keys * d + queries, sizeof *block, &block));
        struct reference r = {.out = block, .dq = block + queries * d, .dk = block + 2 * queries * d};
        r.dv = r.dk + keys * d;
        r.log_sum = r.dv + keys * d;
        for (size_t head = 0; head < e->shape.heads; head++) {
            if (head % group == 0) memset(r.dk, 0, 2 * keys * d * sizeof *block);
            attend_in_double(e, s, head, &r);
            expect(&e->out, start, head * d, queries, d, r.out, tolerance, "out");
            expect(&e->dq, start, head * d, queries, d, r.dq, tolerance, "dq");
            for (size_t i = 0; i < queries; i++)
                assert_true(
                    is_near((double)e->log_sum[(start + i) * e->shape.heads + head], r.log_sum[i], 1e-5));
            if ((head + 1) % group != 0) continue;
            expect(&e->dk, e->layout.key_offset[s], head / group * d, keys, d, r.dk, tolerance, "dk");
            expect(&e->dv, e->layout.key_offset[s], head / group * d, keys, d, r.dv, tolerance, "dv");
        }
    }
}

static const struct cr_attention_layout training = {
    .sequences = 4,
    .offset = (const size_t[]){0, 1, 65, 195, 200},
    .key_offset = (const size_t[]){0, 1, 65, 195},
    .past = (const size_t[]){0, 0, 0, 0},
};

// Windows that end within a tile of keys, at its end and beyond every sequence.
static void training_agrees_with_double(void **state)
{
    (void)state;
    static const size_t shapes[][3] = {{4, 2, 16}, {3, 3, 7}, {2, 1, 80}};
    static const size_t windows[] = {0, 1, 5, 64, 70, 1000};
    for (enum cr_isa isa = CR_ISA_SCALAR; isa <= best_isa(); isa++)
        for (size_t i = 0; i < 36; i++) {
            struct cr_compute *compute;
            assert_ok(cr_compute_new_with(2, isa, &compute));
            size_t shape = i / 2 % 3;
            struct example e = make(shapes[shape][0], shapes[shape][1], shapes[shape][2], training, 200,
                                    i % 2 ? CR_BF16 : CR_F32);
            e.shape.window = windows[i / 6];
            run(compute, &e);
            check(&e);
            release(&e);
            cr_compute_free(compute);
        }
}

// Queries with a past: one that decodes with 150 keys before it, a chunk of 300 after 30, and a start.
static void decoding_agrees_with_double(void **state)
{
    (void)state;
    const struct cr_attention_layout layout = {
        .sequences = 3,
        .offset = (const size_t[]){0, 1, 301, 303},
        .key_offset = (const size_t[]){10, 200, 540},
        .past = (const size_t[]){150, 30, 0},
    };
    for (enum cr_isa isa = CR_ISA_SCALAR; isa <= best_isa(); isa++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            struct cr_compute *compute;
            assert_ok(cr_compute_new_with(2, isa, &compute));
            for (size_t window = 0; window <= 100; window += 50) {
                struct example e = make(4, 2, 24, layout, 550, bf16 ? CR_BF16 : CR_F32);
                e.shape.window = window;
                run(compute, &e);
                check(&e);
                release(&e);
            }
            cr_compute_free(compute);
        }
}

// The last row of a sequence, computed alone, has the bits that it has among the others.
static void check_decoding(enum cr_isa isa)
{
    struct cr_compute *compute;
    assert_ok(cr_compute_new_with(1, isa, &compute));
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct example e = make(4, 2, 32, training, 200, bf16 ? CR_BF16 : CR_F32);
        run(compute, &e);
        const struct cr_attention_layout one = {
            .sequences = 1,
            .offset = (const size_t[]){0, 1},
            .key_offset = (const size_t[]){65},
            .past = (const size_t[]){129},
        };
        struct cr_matrix out = matrix(1, e.out.columns, e.out.dtype, 0), want = cr_matrix_rows(e.out, 194, 1);
        CR_FREE void *scratch = NULL;
        assert_ok(cr_allocate(1, cr_attention_scratch(compute, &e.shape, e.q.dtype, 0), &scratch));
        assert_ok(
            cr_attention(compute, &e.shape, &one, cr_matrix_rows(e.q, 194, 1), e.k, e.v, out, NULL, scratch));
        assert_true(same_bits(&out, &want));
        free_matrix(&out);
        release(&e);
    }
    cr_compute_free(compute);
}

static void decoding_has_the_bits_of_training(void **state)
{
    (void)state;
    for (enum cr_isa isa = CR_ISA_SCALAR; isa <= best_isa(); isa++) check_decoding(isa);
}

static void check_threads(enum cr_isa isa)
{
    struct example first = make(4, 2, 32, training, 200, CR_BF16);
    for (size_t threads = 1; threads <= 3; threads++) {
        struct cr_compute *compute;
        assert_ok(cr_compute_new_with(threads, isa, &compute));
        struct example e = make(4, 2, 32, training, 200, CR_BF16);
        run(compute, threads == 1 ? &first : &e);
        if (threads > 1)
            assert_true(same_bits(&e.out, &first.out) && same_bits(&e.dq, &first.dq) &&
                        same_bits(&e.dk, &first.dk) && same_bits(&e.dv, &first.dv));
        release(&e);
        cr_compute_free(compute);
    }
    release(&first);
}

static void threads_do_not_change_bits(void **state)
{
    (void)state;
    for (enum cr_isa isa = CR_ISA_SCALAR; isa <= best_isa(); isa++) check_threads(isa);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    struct example e = make(4, 2, 8, training, 200, CR_F32);
    e.shape.kv_heads = 3;
    assert_fails(CR_INTERNAL, "share 3",
                 cr_attention(compute, &e.shape, &e.layout, e.q, e.k, e.v, e.out, NULL, NULL));
    e.shape.kv_heads = 2;
    struct cr_matrix other = e.k;
    other.dtype = CR_BF16;
    assert_fails(CR_INTERNAL, "one for all",
                 cr_attention(compute, &e.shape, &e.layout, e.q, other, e.v, e.out, NULL, NULL));
    release(&e);
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_agrees_with_double),       cmocka_unit_test(decoding_agrees_with_double),
        cmocka_unit_test(decoding_has_the_bits_of_training), cmocka_unit_test(threads_do_not_change_bits),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
