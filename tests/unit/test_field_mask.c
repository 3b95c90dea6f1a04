// field/mask.h: every path against plain arithmetic of 128 bits.
#include "field_support.h"

#include "field/mask.h"

enum { MOST = 1000, PATHS = 4 };

static struct cr_compute *compute;
static struct cr_field *fields[PATHS];
static size_t field_count;

static void open_fields(unsigned digits)
{
    field_count = 0;
    for (int path = CR_FIELD_SCALAR; path <= CR_FIELD_AMX; path++) {
        enum cr_status status =
            cr_field_new_with(compute, digits, (enum cr_field_path)path, &fields[field_count]);
        if (status != CR_UNSUPPORTED) assert_ok(status);
        field_count += status == CR_OK;
    }
    assert_true(field_count >= 1);
    assert_int_equal(cr_field_digits(fields[0]), digits);
}

static void close_fields(void)
{
    for (size_t i = 0; i < field_count; i++) cr_field_free(fields[i]);
}

// Mostly random words, some at the ends of the range; or nothing but those.
static void fill(uint32_t *words, size_t count, uint32_t p, bool ends)
{
    const uint32_t at[] = {0, 1, p - 1, p - 2, p / 2, p / 2 + 1};
    for (size_t i = 0; i < count; i++)
        words[i] = ends ? p - 1 : draw() % 8 == 0 ? at[draw() % (sizeof at / sizeof *at)] : draw() % p;
}

// Every length up to 100, then longer ones; `at` is where rows begin, in words.
struct row {
    size_t count, at;
};

static bool next_row(struct row *row)
{
    static const size_t longer[] = {101, 127, 128, 129, 255, 511, 700, MOST - 17};
    size_t step = row->count <= 100 ? row->count + 1 : 0;
    for (size_t i = 0; step == 0 && i < sizeof longer / sizeof *longer; i++)
        if (longer[i] > row->count) step = longer[i];
    row->count = step;
    row->at = (row->at + 5) % 17;
    return step != 0;
}

// What lies around a row must stay as it was.
static void expect_row(const uint32_t *whole, const uint32_t *wanted, struct row row, const char *what,
                       size_t field)
{
    for (size_t i = 0; i < MOST; i++)
        if (whole[i] != (i < row.at || i >= row.at + row.count ? 0xabcdef01 : wanted[i - row.at]))
            fail_msg("%s, path %d, %u digits: word %zd of %zu", what, cr_field_path(fields[field]),
                     cr_field_digits(fields[field]), (ssize_t)i - (ssize_t)row.at, row.count);
}

static void clear_row(uint32_t *whole)
{
    for (size_t i = 0; i < MOST; i++) whole[i] = 0xabcdef01;
}

static uint32_t dot(const uint32_t *s, const uint32_t *w, size_t count, uint32_t p)
{
    unsigned __int128 sum = 0;
    for (size_t i = 0; i < count; i++) sum += (uint64_t)s[i] * w[i];
    return (uint32_t)(sum % p);
}

static void expect_sums(size_t field, const struct cr_mask_sums *sums, const uint32_t *s0, const uint32_t *s1,
                        const uint32_t *w, size_t count)
{
    uint32_t p = cr_prime(cr_field_digits(fields[field])), total[2] = {UINT32_MAX, UINT32_MAX};
    uint32_t wanted[2] = {dot(s0, w, count, p), dot(s1, w, count, p)};
    cr_mask_total(fields[field], sums, total);
    if (total[0] != wanted[0] || total[1] != wanted[1] || !cr_mask_agree(total, wanted))
        fail_msg("path %d, p = %u, %zu words: %u and %u, not %u and %u", cr_field_path(fields[field]), p,
                 count, total[0], total[1], wanted[0], wanted[1]);
}

static void pads_are_added(void **unused)
{
    (void)unused;
    draw_state = 2;
    for (unsigned digits = 3; digits <= 4; digits++) {
        open_fields(digits);
        const uint32_t p = cr_prime(digits);
        for (struct row row = {0}; next_row(&row);)
            for (int ends = 0; ends < 2; ends++) {
                uint32_t x[MOST], r[MOST], wanted[MOST], whole[MOST];
                size_t from = (row.at + 3) % 17;
                fill(x, MOST, p, ends);
                fill(r, MOST, p, ends);
                for (size_t i = 0; i < row.count; i++)
                    wanted[i] = (uint32_t)(((uint64_t)x[from + i] + r[i + 1]) % p);
                for (size_t f = 0; f < field_count; f++) {
                    clear_row(whole);
                    cr_mask_add(fields[f], x + from, r + 1, row.count, whole + row.at);
                    expect_row(whole, wanted, row, "add", f);
                    memcpy(whole + row.at, x + from, row.count * sizeof *x);
                    cr_mask_add(fields[f], whole + row.at, r + 1, row.count, whole + row.at);
                    expect_row(whole, wanted, row, "add in place", f);
                }
            }
        close_fields();
    }
}

static void results_are_opened(void **unused)
{
    (void)unused;
    draw_state = 3;
    for (unsigned digits = 3; digits <= 4; digits++) {
        open_fields(digits);
        const uint32_t p = cr_prime(digits);
        for (struct row row = {0}; next_row(&row);)
            for (int ends = 0; ends < 8; ends++) {
                uint32_t y[MOST], c[MOST], k[MOST], s[MOST], wanted[MOST], whole[MOST];
                fill(y, MOST, p, ends & 1);
                fill(c, MOST, p, ends & 2);
                fill(k, MOST, p, ends & 4);
                fill(s, MOST, p, ends == 7);
                for (size_t f = 0; f < 4 * field_count; f++) {
                    bool less = f / field_count & 1, more = f / field_count & 2;
                    for (size_t i = 0; i < row.count; i++)
                        wanted[i] = (uint32_t)(((uint64_t)y[i + 1] + (less ? p - c[i + 2] : 0) +
                                                (more ? k[i + 3] : 0)) %
                                               p);
                    clear_row(whole);
                    struct cr_mask_sums sums = {0};
                    assert_true(cr_mask_open(fields[f % field_count], y + 1, less ? c + 2 : NULL,
                                             more ? k + 3 : NULL, s, s + 4, row.count, whole + row.at,
                                             &sums));
                    expect_row(whole, wanted, row, "open", f % field_count);
                    expect_sums(f % field_count, &sums, s, s + 4, wanted, row.count);
                }
                for (size_t f = 0; f < field_count; f++) {
                    clear_row(whole);
                    memcpy(whole + row.at, k + 3, row.count * sizeof *k);
                    assert_true(cr_mask_open(fields[f], y + 1, c + 2, whole + row.at, NULL, NULL, row.count,
                                             whole + row.at, NULL));
                    expect_row(whole, wanted, row, "open in place", f);
                }
            }
        close_fields();
    }
}

static void words_that_are_not_below_p_are_found(void **unused)
{
    (void)unused;
    draw_state = 4;
    for (unsigned digits = 3; digits <= 4; digits++) {
        open_fields(digits);
        const uint32_t p = cr_prime(digits), beyond[] = {p, p + 1, 0x80000000, UINT32_MAX, 2 * p - 1};
        for (struct row row = {0}; next_row(&row);) {
            uint32_t y[MOST], c[MOST], k[MOST], out[MOST];
            fill(y, MOST, p, false);
            fill(c, MOST, p, false);
            fill(k, MOST, p, false);
            y[row.at + row.count] = c[row.at + row.count] = UINT32_MAX; // beside the row
            if (row.at > 0) y[row.at - 1] = c[row.at - 1] = UINT32_MAX;
            for (size_t f = 0; f < field_count; f++) {
                struct cr_mask_sums sums = {0};
                assert_true(cr_mask_open(fields[f], y + row.at, c + row.at, k, k, k, row.count, out, &sums));
                for (size_t i = 0; i < 2 * row.count; i++) {
                    uint32_t *word = (i & 1 ? c : y) + row.at + i / 2, old = *word;
                    *word = beyond[draw() % (sizeof beyond / sizeof *beyond)];
                    assert_false(cr_mask_open(fields[f], y + row.at, c + row.at, k, k, k, row.count, out,
                                              i % 3 ? &sums : NULL));
                    if (!(i & 1))
                        assert_false(
                            cr_mask_open(fields[f], y + row.at, NULL, k, k, k, row.count, out, &sums));
                    *word = old;
                }
            }
        }
        close_fields();
    }
}

static void expect_dots(const uint32_t *s0, const uint32_t *s1, const uint32_t *w, size_t count)
{
    for (size_t f = 0; f < field_count; f++) {
        struct cr_mask_sums sums = {0};
        cr_mask_dots(fields[f], s0, s1, w, count, &sums);
        expect_sums(f, &sums, s0, s1, w, count);
    }
}

// The same whatever the pieces are.
static void expect_pieces(const uint32_t *s0, const uint32_t *s1, const uint32_t *w, size_t count)
{
    for (size_t f = 0; f < field_count; f++) {
        struct cr_mask_sums sums = {0};
        for (size_t i = 0, n; i < count; i += n) {
            n = cr_least(draw() % 300, count - i);
            cr_mask_dots(fields[f], s0 + i, s1 + i, w + i, n, &sums);
        }
        expect_sums(f, &sums, s0, s1, w, count);
    }
}

static void dots_are_sums_modulo_p(void **unused)
{
    (void)unused;
    draw_state = 5;
    enum { LONG = 400000 };
    CR_FREE uint32_t *s0 = NULL, *s1 = NULL, *w = NULL;
    assert_ok(cr_allocate(LONG, sizeof *w, &s0));
    assert_ok(cr_allocate(LONG, sizeof *w, &s1));
    assert_ok(cr_allocate(LONG, sizeof *w, &w));
    for (unsigned digits = 3; digits <= 4; digits++) {
        open_fields(digits);
        const uint32_t p = cr_prime(digits);
        for (int ends = 0; ends < 8; ends++) {
            fill(s0, LONG, p, ends & 1);
            fill(s1, LONG, p, ends & 2);
            fill(w, LONG, p, ends & 4);
            for (struct row row = {0}; next_row(&row);) expect_dots(s0 + row.at, s1 + 1, w + 2, row.count);
            // About where longer sums are cut, and an odd one beyond.
            for (size_t n = 131070; n < 131075; n++) expect_dots(s0, s1, w, n);
            expect_dots(s0 + 1, s1 + 2, w + 3, LONG - 5);
            expect_pieces(s0 + 1, s1 + 2, w + 3, 5000);
        }
        close_fields();
    }
}

// s·(Q x) is (Qᵀ s)·x: the way in which products are verified, with vectors made by cr_field_multiply; and
// one changed word is seen.
static void products_are_verified(void **unused)
{
    (void)unused;
    draw_state = 6;
    enum { ROWS = 67, COLUMNS = 45 };
    int8_t q[ROWS * COLUMNS];
    for (size_t i = 0; i < sizeof q; i++) q[i] = (int8_t)((int)(draw() % 255) - 127);
    struct cr_matrix matrix = cr_matrix_of(q, CR_I8, ROWS, COLUMNS);
    for (unsigned digits = 3; digits <= 4; digits++) {
        open_fields(digits);
        const uint32_t p = cr_prime(digits);
        for (size_t f = 0; f < field_count; f++)
            for (int backward = 0; backward < 2; backward++) {
                size_t in = backward ? ROWS : COLUMNS, out = backward ? COLUMNS : ROWS;
                uint32_t s[2 * ROWS], v[2 * ROWS], x[ROWS], y[ROWS], of_x[2], of_y[2];
                for (size_t i = 0; i < 2 * out; i++) s[i] = 1 + draw() % (p - 1);
                fill(x, in, p, false);
                cr_field_multiply(fields[f], s, 2, matrix, !backward, 1, v);
                cr_field_multiply(fields[f], x, 1, matrix, backward, 1, y);
                struct cr_mask_sums x_sums = {0}, y_sums = {0}, wrong_sums = {0};
                cr_mask_dots(fields[f], v, v + in, x, in, &x_sums);
                cr_mask_dots(fields[f], s, s + out, y, out, &y_sums);
                cr_mask_total(fields[f], &x_sums, of_x);
                cr_mask_total(fields[f], &y_sums, of_y);
                assert_true(cr_mask_agree(of_x, of_y));
                size_t wrong = draw() % out;
                y[wrong] = cr_prime_add(y[wrong], 1, p);
                cr_mask_dots(fields[f], s, s + out, y, out, &wrong_sums);
                cr_mask_total(fields[f], &wrong_sums, of_y);
                assert_true(of_x[0] != of_y[0] && of_x[1] != of_y[1]);
                of_y[f % 2] = of_x[f % 2];
                assert_false(cr_mask_agree(of_x, of_y));
            }
        close_fields();
    }
}

static void wide_sums_are_reduced(void **unused)
{
    (void)unused;
    draw_state = 7;
    for (unsigned digits = 3; digits <= 4; digits++) {
        const uint32_t p = cr_prime(digits);
        for (size_t i = 0; i < 100000; i++) {
            uint64_t wide = (uint64_t)draw() << 32 | draw(), top = UINT64_MAX / p;
            if (i < 5000)
                wide = i < 1000 ? UINT64_MAX - i : i < 2000 ? i - 1000 : (top - draw() % 7) * p + i % 3 - 1;
            assert_int_equal(cr_prime_reduce_wide(wide, digits), wide % p);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pads_are_added),
        cmocka_unit_test(results_are_opened),
        cmocka_unit_test(words_that_are_not_below_p_are_found),
        cmocka_unit_test(dots_are_sums_modulo_p),
        cmocka_unit_test(products_are_verified),
        cmocka_unit_test(wide_sums_are_reduced),
    };
    if (cr_compute_new(1, &compute) != CR_OK) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cr_compute_free(compute);
    return failed;
}
