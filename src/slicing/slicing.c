#include "slicing/slicing.h"

#include "base/clock.h"
#include "crypto/random.h"
#include "field/prime.h"
#include "slicing/link.h"
#include "slicing/pad.h"
#include "slicing/pads.h"
#include "tensor/ops.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A question has at most so many rows, and words: what is shared with an accelerator does not grow with a
// vocabulary.
enum { MOST_ROWS = 1024, MOST_WORDS = 1 << 24, BUCKETS = 256 };

// A frozen linear whose products are asked for.
struct masked {
    struct cr_slicing *slicing;
    size_t index; // of model/frozen.h
};

// A thread's own.
struct scratch {
    struct cr_pad_pair pads;
    uint32_t *words, *pad; // [longest row]
    float *values;         // [longest row]
};

// Of the question of one lane on its way.
struct lane {
    struct cr_link *link;
    double *t;               // [MOST_ROWS]
    uint32_t (*expected)[2]; // [MOST_ROWS], secret
};

struct cr_slicing {
    struct cr_model *model;
    struct cr_compute *compute; // the model's
    struct cr_field *field;
    struct cr_facts facts;
    struct cr_pads *pads;
    struct cr_lanes *lanes;  // borrowed
    struct lane *lane;       // [lanes]
    struct masked *linears;  // [facts.count]
    struct scratch *scratch; // [threads]
    bool failed;
    struct cr_slicing_tally tally;
    uint64_t buckets[BUCKETS];
};

struct question {
    struct cr_slicing *slicing;
    const struct lane *lane;
    const struct cr_fact *fact;
    const struct cr_way *way;
    size_t linear;
    bool backward, accumulate;
    struct cr_matrix x, y;
    uint64_t first; // number of the first row's pad
    volatile uint32_t *words;
    atomic_size_t bad; // the first row that is not finite, or whose answer is wrong; SIZE_MAX: none
};

static void *row_of(const struct cr_matrix *m, size_t row)
{
    return (unsigned char *)m->data + row * m->stride * cr_dtype_size(m->dtype);
}

static void note_bad(struct question *question, size_t row)
{
    size_t seen = atomic_load(&question->bad);
    while (row < seen && !atomic_compare_exchange_weak(&question->bad, &seen, row)) {
    }
}

static void draw(const struct question *question, struct cr_pad *pad, size_t row, uint32_t *words,
                 size_t count)
{
    cr_pad_words(pad, cr_pads_stream(question->linear, question->backward, question->first + row), words,
                 count);
}

// Rounds a row, and hides it where the accelerator will read it.
static void blind_row(void *context, size_t row, size_t thread)
{
    struct question *question = context;
    struct cr_slicing *slicing = question->slicing;
    struct scratch *scratch = &slicing->scratch[thread];
    const struct cr_way *way = question->way;
    if (!cr_field_encode_row(slicing->field, &way->bound, row_of(&question->x, row), question->x.dtype,
                             question->backward ? question->fact->scale : NULL, scratch->words,
                             &question->lane->t[row])) {
        note_bad(question, row);
        return;
    }
    cr_way_expect(way, slicing->field, scratch->words, question->lane->expected[row]);
    draw(question, scratch->pads.question, row, scratch->pad, way->depth);
    cr_mask_add(slicing->field, scratch->words, scratch->pad, way->depth, scratch->pad);
    memcpy((uint32_t *)(uintptr_t)question->words + row * way->depth, scratch->pad,
           way->depth * sizeof *scratch->pad);
}

// Copies an answer's row once, takes the pad's product away, and uses it if it passes its check.
static void open_row(void *context, size_t row, size_t thread)
{
    struct question *question = context;
    struct cr_slicing *slicing = question->slicing;
    struct scratch *scratch = &slicing->scratch[thread];
    const struct cr_way *way = question->way;
    draw(question, scratch->pads.product, row, scratch->pad, way->width);
    bool in_field = cr_mask_open(
        slicing->field, question->words + row * way->width,
        cr_pads_products(slicing->pads, question->linear, question->backward, question->first + row),
        scratch->pad, way->width, scratch->words);
    if (!in_field || !cr_way_holds(way, slicing->field, question->lane->expected[row], scratch->words)) {
        note_bad(question, row);
        return;
    }
    const float *scale = question->backward ? NULL : question->fact->scale;
    void *y = row_of(&question->y, row);
    if (!question->accumulate) {
        cr_field_decode_row(slicing->field, scratch->words, question->lane->t[row], scale, way->width, y,
                            question->y.dtype);
        return;
    }
    cr_field_decode_row(slicing->field, scratch->words, question->lane->t[row], scale, way->width,
                        scratch->values, CR_F32);
    float *sum = y;
    for (size_t i = 0; i < way->width; i++) sum[i] += scratch->values[i];
}

// One row of each question, in 256 equal parts of [0, p).
static void sample(struct cr_slicing *slicing, const struct question *question)
{
    uint64_t p = cr_prime(cr_field_digits(slicing->field));
    for (size_t i = 0; i < question->way->depth; i++)
        slicing->buckets[question->words[i] * (uint64_t)BUCKETS / p % BUCKETS]++;
}

// Whether it is the product of the pad that is wrong, which lies where others may change it.
static bool products_changed(const struct question *question, size_t row)
{
    struct cr_slicing *slicing = question->slicing;
    struct scratch *scratch = &slicing->scratch[0];
    const struct cr_way *way = question->way;
    uint32_t expected[2], p = cr_prime(cr_field_digits(slicing->field));
    const volatile uint32_t *outside =
        cr_pads_products(slicing->pads, question->linear, question->backward, question->first + row);
    draw(question, scratch->pads.question, row, scratch->pad, way->depth);
    cr_way_expect(way, slicing->field, scratch->pad, expected);
    draw(question, scratch->pads.product, row, scratch->pad, way->width);
    for (size_t i = 0; i < way->width; i++) {
        uint32_t word = outside[i];
        if (word >= p) return true;
        scratch->words[i] = cr_prime_sub(word, scratch->pad[i], p);
    }
    return !cr_way_holds(way, slicing->field, expected, scratch->words);
}

static enum cr_status refuse(struct question *question, size_t row)
{
    struct cr_slicing *slicing = question->slicing;
    char name[CR_FROZEN_NAME_SIZE];
    cr_frozen_name(slicing->facts.count, question->linear, name);
    bool changed = products_changed(question, row);
    for (size_t i = 0; i < question->y.rows; i++)
        cr_wipe(row_of(&question->y, i), question->y.columns * cr_dtype_size(question->y.dtype));
    slicing->tally = cr_slicing_tally(slicing);
    slicing->failed = true;
    cr_pads_free(slicing->pads);
    slicing->pads = NULL;
    cr_facts_forget(&slicing->facts);
    return cr_fail(CR_DENIED,
                   "%s: %s, %s, row %zu of %zu (%s; nothing of it was used, and the run ends here)",
                   changed ? "memory outside" : cr_link_peer(slicing->lane->link), name,
                   question->backward ? "backward" : "forward", row, question->x.rows,
                   changed ? "the product of a pad was changed" : "a wrong product");
}

// At most MOST_ROWS rows.
static enum cr_status ask(struct question *question)
{
    struct cr_slicing *slicing = question->slicing;
    struct cr_slicing_tally *tally = &slicing->tally;
    struct cr_pool *pool = cr_compute_pool(slicing->compute);
    const struct cr_way *way = question->way;
    size_t rows = question->x.rows;
    double began = cr_clock_monotonic();
    CR_TRY(cr_pads_take(slicing->pads, question->linear, question->backward, rows, &question->first));
    double taken = cr_clock_monotonic();
    question->words = cr_link_words(question->lane->link);
    atomic_init(&question->bad, SIZE_MAX);
    cr_pool_run(pool, rows, blind_row, question);
    size_t bad = atomic_load(&question->bad);
    if (bad != SIZE_MAX) {
        cr_pads_give_back(slicing->pads, question->linear, question->backward,
                          rows); // unused, and never again
        return cr_fail(CR_INVALID, "row %zu holds NaN or infinity", bad);
    }
    sample(slicing, question);
    double blinded = cr_clock_monotonic();
    const struct cr_wire_product product = {
        .linear = (uint32_t)question->linear, .backward = question->backward, .rows = (uint32_t)rows};
    CR_TRY(cr_link_send(question->lane->link, &product, rows * way->depth));
    CR_TRY(cr_lanes_pass_on(slicing->lanes));
    double back = cr_clock_monotonic();
    CR_TRY(cr_link_receive(question->lane->link, rows * way->width));
    double answered = cr_clock_monotonic();
    cr_pool_run(pool, rows, open_row, question);
    bad = atomic_load(&question->bad);
    if (bad != SIZE_MAX) return refuse(question, bad);
    cr_pads_give_back(slicing->pads, question->linear, question->backward, rows);
    tally->products++;
    tally->rows += rows;
    tally->pads += rows;
    tally->blinded += rows * way->depth * sizeof(uint32_t);
    tally->waiting += taken - began;
    tally->blinding += blinded - taken;
    tally->accelerator += answered - back;
    tally->opening += cr_clock_monotonic() - answered;
    return CR_OK;
}

static size_t rows_at_once(const struct cr_way *way)
{
    return cr_most(1, cr_least(MOST_ROWS, MOST_WORDS / cr_most(way->depth, way->width)));
}

static enum cr_status multiply(const struct cr_linear *self, bool backward, struct cr_matrix x,
                               struct cr_matrix y, bool accumulate)
{
    const struct masked *masked = self->state;
    struct cr_slicing *slicing = masked->slicing;
    const struct cr_fact *fact = &slicing->facts.matrices[masked->index];
    if (slicing->failed)
        return cr_fail(CR_DENIED, "%s: it gave a wrong product before", cr_link_peer(slicing->lane->link));
    const struct cr_way *way = &fact->way[backward];
    size_t most = rows_at_once(way);
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
        CR_TRY(ask(&question));
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

static const struct cr_linear_provider provider = {masked_forward, masked_backward, masked_release};

static enum cr_status make_scratch(struct cr_slicing *slicing, const unsigned char key[CR_KEY_SIZE])
{
    size_t threads = cr_pool_threads(cr_compute_pool(slicing->compute)), longest = slicing->facts.longest;
    CR_TRY(cr_allocate(threads, sizeof *slicing->scratch, &slicing->scratch));
    for (size_t i = 0; i < threads; i++) {
        struct scratch *scratch = &slicing->scratch[i];
        CR_TRY(cr_pad_pair_new(key, slicing->field, &scratch->pads));
        CR_TRY(cr_allocate(longest, sizeof *scratch->words, &scratch->words));
        CR_TRY(cr_allocate(longest, sizeof *scratch->pad, &scratch->pad));
        CR_TRY(cr_allocate(longest, sizeof *scratch->values, &scratch->values));
    }
    return CR_OK;
}

static enum cr_status make_lanes(struct cr_slicing *slicing, const struct cr_slicing_options *options)
{
    size_t words = 1;
    for (size_t i = 0; i < slicing->facts.count; i++) {
        const struct cr_way *way = &slicing->facts.matrices[i].way[0];
        size_t rows = cr_least(options->rows, rows_at_once(way));
        words = cr_most(words, rows * cr_most(way->depth, way->width));
    }
    const struct cr_link_options link = {.address = options->accelerator,
                                         .digits = options->digits,
                                         .words = words,
                                         .patience = options->patience,
                                         .matrices = slicing->facts.checksum};
    size_t count = cr_lanes_count(slicing->lanes);
    CR_TRY(cr_allocate(count, sizeof *slicing->lane, &slicing->lane));
    for (size_t i = 0; i < count; i++) {
        struct lane *lane = &slicing->lane[i];
        CR_TRY(cr_allocate(MOST_ROWS, sizeof *lane->t, &lane->t));
        CR_TRY(cr_allocate(MOST_ROWS, sizeof *lane->expected, &lane->expected));
        CR_TRY(cr_link_open(&link, &lane->link));
    }
    snprintf(slicing->tally.engine, sizeof slicing->tally.engine, "%s", cr_link_engine(slicing->lane->link));
    snprintf(slicing->tally.address, sizeof slicing->tally.address, "%s", options->accelerator);
    return CR_OK;
}

static void release_lanes(struct cr_slicing *slicing)
{
    for (size_t i = 0; slicing->lane && i < cr_lanes_count(slicing->lanes); i++) {
        struct lane *lane = &slicing->lane[i];
        cr_link_close(lane->link);
        if (lane->t) cr_wipe(lane->t, MOST_ROWS * sizeof *lane->t);
        if (lane->expected) cr_wipe(lane->expected, MOST_ROWS * sizeof *lane->expected);
        free(lane->t);
        free(lane->expected);
    }
    free(slicing->lane);
}

static enum cr_status open_all(struct cr_slicing *slicing, const struct cr_slicing_options *options,
                               const unsigned char root[CR_KEY_SIZE], unsigned char key[CR_KEY_SIZE])
{
    CR_TRY(cr_field_new(slicing->compute, options->digits, &slicing->field));
    CR_TRY(cr_key_derive(root, "carrel verification", key));
    CR_TRY(cr_facts_open(slicing->compute, slicing->field, slicing->model, key, &slicing->facts));
    CR_TRY(cr_key_derive(root, "carrel pads", key));
    CR_TRY(make_scratch(slicing, key));
    CR_TRY(make_lanes(slicing, options));
    struct cr_pads_options pads = {.model = slicing->model,
                                   .facts = &slicing->facts,
                                   .digits = options->digits,
                                   .rows =
                                       cr_lanes_count(slicing->lanes) * cr_least(options->rows, MOST_ROWS),
                                   .threads = options->threads};
    memcpy(pads.key, key, sizeof pads.key);
    enum cr_status status = cr_pads_new(&pads, &slicing->pads);
    cr_wipe(pads.key, sizeof pads.key);
    CR_TRY(status);
    CR_TRY(cr_allocate(slicing->facts.count, sizeof *slicing->linears, &slicing->linears));
    for (size_t i = 0; i < slicing->facts.count; i++) {
        struct cr_linear *linear = cr_frozen_linear(slicing->model, i);
        slicing->linears[i] = (struct masked){slicing, i};
        linear->provider = &provider;
        linear->state = &slicing->linears[i];
    }
    return CR_OK;
}

enum cr_status cr_slicing_open(const struct cr_slicing_options *options, struct cr_model *model,
                               struct cr_slicing **out)
{
    if (!model->outside) return cr_fail(CR_INTERNAL, "the model was opened with its matrices");
    struct cr_slicing *slicing;
    unsigned char root[CR_KEY_SIZE], key[CR_KEY_SIZE];
    CR_TRY(cr_allocate(1, sizeof *slicing, &slicing));
    slicing->model = model;
    slicing->compute = model->compute;
    slicing->lanes = options->lanes;
    enum cr_status status = cr_random_bytes(root, sizeof root);
    if (status == CR_OK) status = open_all(slicing, options, root, key);
    cr_wipe(root, sizeof root);
    cr_wipe(key, sizeof key);
    if (status == CR_OK)
        *out = slicing;
    else
        cr_slicing_close(slicing);
    return status;
}

void cr_slicing_close(struct cr_slicing *slicing)
{
    if (!slicing) return;
    size_t longest = slicing->facts.longest;
    cr_pads_free(slicing->pads);
    release_lanes(slicing);
    for (size_t i = 0; slicing->scratch && i < cr_pool_threads(cr_compute_pool(slicing->compute)); i++) {
        struct scratch *scratch = &slicing->scratch[i];
        cr_pad_pair_release(&scratch->pads);
        if (scratch->words) cr_wipe(scratch->words, longest * sizeof *scratch->words);
        if (scratch->pad) cr_wipe(scratch->pad, longest * sizeof *scratch->pad);
        if (scratch->values) cr_wipe(scratch->values, longest * sizeof *scratch->values);
        free(scratch->words);
        free(scratch->pad);
        free(scratch->values);
    }
    free(slicing->scratch);
    cr_facts_release(&slicing->facts);
    cr_field_free(slicing->field);
    free(slicing->linears);
    free(slicing);
}

struct cr_slicing_memory cr_slicing_memory_of(struct cr_model *model, size_t rows)
{
    struct cr_slicing_memory memory = {0};
    size_t largest = 0, words = 0, queue = cr_least(rows, MOST_ROWS);
    for (size_t i = 0; i < cr_frozen_count(model); i++) {
        const struct cr_linear *linear = cr_frozen_linear(model, i);
        size_t ends = linear->out + linear->in;
        largest = cr_most(largest, linear->out * linear->in);
        words = cr_most(words, cr_pads_words_at_once(ends, queue));
        // Scales; s and v of both directions.
        memory.inside += linear->out * sizeof(float) + 2 * CR_WAYS * ends * sizeof(uint32_t);
        memory.outside += queue * ends * sizeof(uint32_t); // one direction's width is the other's depth
    }
    memory.inside += largest + words * sizeof(uint32_t);
    return memory;
}

struct cr_slicing_tally cr_slicing_tally(struct cr_slicing *slicing)
{
    struct cr_slicing_tally tally = slicing->tally;
    if (slicing->failed) return tally; // as it was then
    struct cr_pads_tally pads = cr_pads_tally(slicing->pads);
    tally.offline = pads.seconds;
    tally.ready = pads.ready;
    tally.outside = pads.outside;
    double all = 0;
    for (size_t i = 0; i < BUCKETS; i++) all += (double)slicing->buckets[i];
    for (size_t i = 0; i < BUCKETS && all > 0; i++) {
        double expected = all / BUCKETS, off = (double)slicing->buckets[i] - expected;
        tally.chi_square += off * off / expected;
    }
    return tally;
}
