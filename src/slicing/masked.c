// The frozen linear whose products an accelerator computes. Each row of a question is rounded and masked;
// each row of the answer is unmasked and verified.
#include "slicing/parts.h"

#include "base/clock.h"
#include "field/mask.h"
#include "field/prime.h"
#include "tensor/ops.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct question {
    struct cr_slicing *slicing;
    const struct cr_masked_lane *lane;
    const struct cr_fact *fact;
    const struct cr_way *way;
    size_t linear;
    bool backward, accumulate;
    struct cr_matrix x, y;
    uint64_t first;           // number of the first row's pad, if this process makes pads
    struct cr_peer_pads peer; // otherwise: the pads
    volatile uint32_t *words, *answer;
    atomic_size_t bad; // first row that is not finite or has a wrong answer; SIZE_MAX: none
};

static void note_bad(struct question *question, size_t row)
{
    size_t seen = atomic_load(&question->bad);
    while (row < seen && !atomic_compare_exchange_weak(&question->bad, &seen, row)) {
    }
}

static void draw(const struct question *question, struct cr_pad *pad, size_t row, size_t first,
                 uint32_t *words, size_t count)
{
    uint64_t number = question->slicing->peer ? cr_peer_number(&question->peer, row) : question->first + row;
    cr_pad_words(pad, cr_pads_stream(question->linear, question->backward, number), first, words, count);
}

// Rounds a row, and writes it masked to where the accelerator will read it. It works in pieces, so that
// memory traffic overlaps with generating the pads.
static void blind_row(void *context, size_t row, size_t thread)
{
    struct question *question = context;
    struct cr_slicing *slicing = question->slicing;
    struct cr_masked_scratch *scratch = &slicing->scratch[thread];
    const struct cr_way *way = question->way;
    if (!cr_field_encode_row(slicing->field, way->bounds, way->parts, cr_row(&question->x, row),
                             question->x.dtype, question->backward ? question->fact->scale : NULL,
                             scratch->words, question->lane->t + row * way->parts)) {
        note_bad(question, row);
        return;
    }
    cr_way_expect(way, slicing->field, scratch->words, question->lane->expected[row]);
    uint32_t *place = slicing->peer ? cr_peer_place(slicing->peer, &question->peer, row) : NULL;
    uint32_t *hidden = (uint32_t *)(uintptr_t)question->words + row * way->depth; // only written
    for (size_t i = 0; i < way->depth; i += CR_PAD_PIECE) {
        size_t n = cr_least(CR_PAD_PIECE, way->depth - i);
        draw(question, scratch->pads.question, row, i, scratch->pad, n);
        if (place) memcpy(place + i, scratch->pad, n * sizeof *place);
        cr_mask_add(slicing->field, scratch->words + i, scratch->pad, n, hidden + i);
    }
}

// Copies a row of the answer, subtracts the pad's product, and writes the difference to scratch->words and
// its check sums to `total`. Each shared word is read only once. `product` is the pad's product: outside the
// process under a second pad, or a private copy, or NULL if the accelerator has subtracted it already.
// Returns false if a word is not below p.
static bool open_words(const struct question *question, size_t row, const volatile uint32_t *product,
                       struct cr_masked_scratch *scratch, uint32_t total[2])
{
    struct cr_slicing *slicing = question->slicing;
    const struct cr_way *way = question->way;
    const volatile uint32_t *answer = question->answer + row * way->width;
    struct cr_mask_sums sums = {0};
    for (size_t i = 0, n; i < way->width; i += n) {
        // At most one piece of the pad, and within one part.
        struct cr_way_span span = cr_way_answer(way, i);
        size_t at = i % CR_PAD_PIECE;
        n = cr_least(span.count, CR_PAD_PIECE - at);
        if (at == 0 && slicing->pads)
            draw(question, scratch->pads.product, row, i, scratch->pad,
                 cr_least(CR_PAD_PIECE, way->width - i));
        if (!cr_mask_open(slicing->field, answer + i, product ? product + i : NULL,
                          slicing->pads ? scratch->pad + at : NULL, span.vectors[0], span.vectors[1], n,
                          scratch->words + i, &sums))
            return false;
    }
    cr_mask_total(slicing->field, &sums, total);
    return true;
}

// Opens a row whose pad this process made; whether the answer is correct. The result is in scratch->words.
static bool open_own(const struct question *question, size_t row, struct cr_masked_scratch *scratch)
{
    uint32_t total[2];
    const volatile uint32_t *product = NULL;
    if (!cr_link_shows_pads(question->lane->link))
        product = cr_pads_products(question->slicing->pads, question->linear, question->backward,
                                   question->first + row);
    return open_words(question, row, product, scratch, total) &&
           cr_mask_agree(total, question->lane->expected[row]);
}

// Which accelerators were wrong about a row that failed its check (bits of enum cr_wrong): each one's answer
// is checked against its own question. `product` is a private copy of the pad's product. If `opened`,
// scratch->words is the answer minus that product. So later changes to shared words have no effect here.
static uint8_t judge(const struct question *question, size_t row, const uint32_t *product, bool opened,
                     struct cr_masked_scratch *scratch)
{
    const struct cr_field *field = question->slicing->field;
    const struct cr_way *way = question->way;
    uint32_t pad[2], of_pad[2], rest[2], p = cr_prime(cr_field_digits(field));
    const uint32_t *expected = question->lane->expected[row];
    cr_way_sums(way, field, product, of_pad);
    // `product` may be in scratch->pad, which this overwrites.
    draw(question, scratch->pads.question, row, 0, scratch->pad, way->depth);
    cr_way_expect(way, field, scratch->pad, pad);
    uint8_t wrong = pad[0] != of_pad[0] || pad[1] != of_pad[1] ? CR_WRONG_PAD : 0;
    if (!opened) return wrong | CR_WRONG_ANSWER;
    cr_way_sums(way, field, scratch->words, rest);
    for (size_t i = 0; i < 2; i++)
        if (cr_prime_add(rest[i], of_pad[i], p) != cr_prime_add(expected[i], pad[i], p))
            wrong |= CR_WRONG_ANSWER;
    return wrong;
}

// Like open_own, with a pad's product that another accelerator computed. Sets lane->wrong[row] on failure.
static bool open_peers(const struct question *question, size_t row, struct cr_masked_scratch *scratch)
{
    struct cr_slicing *slicing = question->slicing;
    uint8_t *wrong = &question->lane->wrong[row];
    uint32_t total[2];
    const uint32_t *product = cr_peer_product(slicing->peer, &question->peer, row, scratch->pad);
    *wrong = CR_WRONG_PAD;
    if (!product) return false;
    bool opened = open_words(question, row, product, scratch, total);
    if (opened && cr_mask_agree(total, question->lane->expected[row])) return true;
    *wrong = judge(question, row, product, opened, scratch);
    return false;
}

// Verifies a row of the answer and, if it is correct, converts it to numbers in y.
static void open_row(void *context, size_t row, size_t thread)
{
    struct question *question = context;
    struct cr_slicing *slicing = question->slicing;
    struct cr_masked_scratch *scratch = &slicing->scratch[thread];
    const struct cr_way *way = question->way;
    if (!(slicing->peer ? open_peers : open_own)(question, row, scratch)) {
        note_bad(question, row);
        return;
    }
    const float *scale = question->backward ? NULL : question->fact->scale;
    const double *t = question->lane->t + row * way->parts;
    void *y = cr_row(&question->y, row);
    if (!question->accumulate) {
        cr_field_decode_row(slicing->field, scratch->words, t, way->parts, scale, way->columns, y,
                            question->y.dtype);
        return;
    }
    cr_field_decode_row(slicing->field, scratch->words, t, way->parts, scale, way->columns, scratch->values,
                        CR_F32);
    float *sum = y;
    for (size_t i = 0; i < way->columns; i++) sum[i] += scratch->values[i];
}

// Counts the first eight bits of each masked word of the first row, for the chi-square statistic. Skips
// questions that reuse another lane's pads, since those words are not independent. (The bias because p is not
// a power of two is too small to show. The accelerator may have changed shared words by now; that only
// affects the statistic.)
static void sample(struct cr_slicing *slicing, const struct question *question)
{
    if (question->peer.shared > 0) return;
    _Static_assert(CR_BUCKETS == 1 << 8, "first eight bits");
    const unsigned rest = cr_field_digits(slicing->field) == 4 ? 31 - 8 : 23 - 8;
    for (size_t i = 0; i < question->way->depth; i++)
        slicing->buckets[(question->words[i] >> rest) % CR_BUCKETS]++;
}

// Whether the pad's product, which others can overwrite, is what was wrong.
static bool products_changed(const struct question *question, size_t row)
{
    struct cr_slicing *slicing = question->slicing;
    struct cr_masked_scratch *scratch = &slicing->scratch[0];
    const struct cr_way *way = question->way;
    uint32_t expected[2], sums[2], p = cr_prime(cr_field_digits(slicing->field));
    const volatile uint32_t *outside =
        cr_pads_products(slicing->pads, question->linear, question->backward, question->first + row);
    draw(question, scratch->pads.question, row, 0, scratch->pad, way->depth);
    cr_way_expect(way, slicing->field, scratch->pad, expected);
    draw(question, scratch->pads.product, row, 0, scratch->pad, way->width);
    for (size_t i = 0; i < way->width; i++) {
        uint32_t word = outside[i];
        if (word >= p) return true;
        scratch->words[i] = cr_prime_sub(word, scratch->pad[i], p);
    }
    cr_way_sums(way, slicing->field, scratch->words, sums);
    return !cr_mask_agree(sums, expected);
}

static void name_culprit(struct cr_slicing *slicing, const struct cr_masked_lane *lane, uint8_t wrong)
{
    snprintf(slicing->culprit, sizeof slicing->culprit, "%s%s%s",
             wrong & CR_WRONG_PAD ? cr_peer_name(slicing->peer) : "",
             wrong == (CR_WRONG_PAD | CR_WRONG_ANSWER) ? " and " : "",
             wrong & CR_WRONG_ANSWER ? cr_link_peer(lane->link) : "");
}

static enum cr_status refuse(struct question *question, size_t row)
{
    struct cr_slicing *slicing = question->slicing;
    char name[CR_FROZEN_NAME_SIZE];
    cr_frozen_name(slicing->facts.count, question->linear, name);
    bool changed = slicing->pads && products_changed(question, row);
    name_culprit(slicing, question->lane, slicing->peer ? question->lane->wrong[row] : CR_WRONG_ANSWER);
    for (size_t i = 0; i < question->y.rows; i++)
        cr_wipe(cr_row(&question->y, i), question->y.columns * cr_dtype_size(question->y.dtype));
    slicing->tally = cr_slicing_tally(slicing);
    slicing->failed = true;
    cr_pads_free(slicing->pads);
    slicing->pads = NULL;
    cr_facts_forget(&slicing->facts);
    return cr_fail(
        CR_DENIED, "%s: %s, %s, row %zu of %zu (%s; nothing of it was used, and the run ends here)",
        changed ? "memory outside" : slicing->culprit, name, question->backward ? "backward" : "forward", row,
        question->x.rows, changed ? "the product of a pad was changed" : "a wrong product");
}

// Asks for a product. The pads have been taken.
static enum cr_status ask(struct question *question)
{
    struct cr_slicing *slicing = question->slicing;
    struct cr_slicing_tally *tally = &slicing->tally;
    struct cr_pool *pool = cr_compute_pool(slicing->compute);
    const struct cr_way *way = question->way;
    size_t rows = question->x.rows;
    double taken = cr_clock_monotonic(), used = cr_clock_process();
    question->words = cr_link_question(question->lane->link);
    atomic_init(&question->bad, SIZE_MAX);
    cr_pool_run(pool, rows, blind_row, question);
    size_t bad = atomic_load(&question->bad);
    if (bad != SIZE_MAX) return cr_fail(CR_INVALID, "row %zu holds NaN or infinity", bad);
    sample(slicing, question);
    double blinded = cr_clock_monotonic();
    used = cr_clock_process() - used;
    struct cr_wire_product product = {.linear = (uint32_t)question->linear,
                                      .backward = question->backward,
                                      .rows = (uint32_t)rows,
                                      .parts = (uint32_t)way->parts};
    if (cr_link_shows_pads(question->lane->link)) cr_pads_point(slicing->pads, question->first, &product);
    if (slicing->peer) CR_TRY(cr_peer_send(slicing->peer, &question->peer));
    CR_TRY(cr_link_send(question->lane->link, &product, rows * way->depth));
    CR_TRY(cr_lanes_pass_on(slicing->lanes));
    double back = cr_clock_monotonic();
    CR_TRY(cr_link_receive(question->lane->link, rows * way->width));
    if (slicing->peer) CR_TRY(cr_peer_receive(slicing->peer, &question->peer));
    question->answer = cr_link_answer(question->lane->link);
    double answered = cr_clock_monotonic();
    used -= cr_clock_process();
    cr_pool_run(pool, rows, open_row, question);
    bad = atomic_load(&question->bad);
    if (bad != SIZE_MAX) return refuse(question, bad);
    tally->products++;
    tally->rows += rows;
    tally->pads += slicing->peer ? question->peer.rows : rows;
    tally->blinded += rows * way->depth * sizeof(uint32_t);
    tally->blinding += blinded - taken;
    tally->accelerator += answered - back;
    tally->opening += cr_clock_monotonic() - answered;
    tally->processors += used + cr_clock_process();
    return CR_OK;
}

// For at most CR_MOST_ROWS rows. The memory of their pads is free again afterwards, even on failure; the
// numbers of these pads are never reused.
static enum cr_status take_and_ask(struct question *question)
{
    struct cr_slicing *slicing = question->slicing;
    size_t rows = question->x.rows;
    double began = cr_clock_monotonic();
    if (slicing->peer) {
        question->peer = cr_peer_take(slicing->peer, question->linear, question->backward, rows);
        return ask(question);
    }
    CR_TRY(cr_pads_take(slicing->pads, question->linear, question->backward, rows, &question->first));
    slicing->tally.waiting += cr_clock_monotonic() - began;
    enum cr_status status = ask(question);
    if (slicing->pads) cr_pads_give_back(slicing->pads, question->linear, question->backward, rows);
    return status;
}

size_t cr_masked_rows(const struct cr_way *way)
{
    return cr_most(1, cr_least(CR_MOST_ROWS, CR_MOST_WORDS / cr_most(way->depth, way->width)));
}

static enum cr_status multiply(const struct cr_linear *self, bool backward, struct cr_matrix x,
                               struct cr_matrix y, bool accumulate)
{
    const struct cr_masked *masked = self->state;
    struct cr_slicing *slicing = masked->slicing;
    const struct cr_fact *fact = &slicing->facts.matrices[masked->index];
    if (slicing->failed) return cr_fail(CR_DENIED, "%s: it gave a wrong product before", slicing->culprit);
    const struct cr_way *way = &fact->way[backward];
    size_t most = cr_masked_rows(way);
    for (size_t row = 0; row < x.rows; row += most) {
        size_t rows = cr_least(most, x.rows - row);
        struct question question = {.slicing = slicing,
                                    .lane = &slicing->lane[cr_lanes_current(slicing->lanes)],
                                    .fact = fact,
                                    .way = way,
                                    .linear = masked->index,
                                    .backward = backward,
                                    .accumulate = accumulate,
                                    .x = cr_matrix_rows(x, row, rows),
                                    .y = cr_matrix_rows(y, row, rows)};
        CR_TRY(take_and_ask(&question));
    }
    return CR_OK;
}

static enum cr_status masked_forward(const struct cr_linear *self, struct cr_matrix x, struct cr_matrix y)
{
    CR_TRY(multiply(self, false, x, y, false));
    if (self->bias) cr_add_row(self->compute, y, self->bias);
    return CR_OK;
}

static enum cr_status masked_backward(const struct cr_linear *self, struct cr_matrix dy, struct cr_matrix dx,
                                      bool accumulate)
{
    return multiply(self, true, dy, dx, accumulate);
}

static void masked_release(struct cr_linear *self)
{
    *self = (struct cr_linear){0};
}

const struct cr_linear_provider cr_masked_provider = {masked_forward, masked_backward, masked_release};
