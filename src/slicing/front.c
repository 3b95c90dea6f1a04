#include "slicing/front.h"

#include "base/address.h"
#include "base/clock.h"
#include "crypto/random.h"
#include "slicing/parts.h"
#include "slicing/streamed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct cr_front {
    struct cr_slicing *slicing;
    struct cr_link *link;
    struct cr_streamed *streamed;
    size_t layers, rows;
    uint32_t *lengths; // [rows]
    struct cr_front_tally tally;
};

static enum cr_status open_front(struct cr_front *front, const struct cr_front_options *options)
{
    struct cr_slicing *slicing = options->slicing;
    const struct cr_link_options link = {.address = options->address,
                                         .digits = cr_field_digits(slicing->field),
                                         .words = options->rows * slicing->model->config.hidden,
                                         .patience = options->patience,
                                         .matrices = slicing->facts.checksum};
    CR_TRY(cr_allocate(options->rows, sizeof *front->lengths, &front->lengths));
    CR_TRY(cr_streamed_new(slicing->model, &slicing->facts, slicing->field, options->layers, options->longest,
                           &front->streamed));
    return cr_link_open(&link, &front->link);
}

enum cr_status cr_front_open(const struct cr_front_options *options, struct cr_front **out)
{
    struct cr_front *front;
    if (!cr_address_is_unix(options->address))
        return cr_fail(CR_INVALID, "%s: texts go in the clear to a unix socket of this machine alone",
                       options->address);
    CR_TRY(cr_allocate(1, sizeof *front, &front));
    front->slicing = options->slicing;
    front->layers = options->layers;
    front->rows = options->rows;
    enum cr_status status = open_front(front, options);
    if (status == CR_OK)
        *out = front;
    else
        cr_front_close(front);
    return status;
}

void cr_front_close(struct cr_front *front)
{
    if (!front) return;
    cr_link_close(front->link);
    cr_streamed_free(front->streamed);
    free(front->lengths);
    free(front);
}

size_t cr_front_memory_of(const struct cr_model *model, size_t layers, size_t longest)
{
    return cr_streamed_memory_of(model, layers, longest);
}

size_t cr_front_layers(const struct cr_front *front)
{
    return front->layers;
}

// Copies the answer out of shared memory, each word once.
static enum cr_status take_answer(struct cr_front *front, struct cr_matrix stream)
{
    const volatile uint32_t *words = cr_link_answer(front->link);
    for (size_t i = 0; i < stream.rows; i++) {
        float *row = cr_row(&stream, i);
        for (size_t j = 0; j < stream.columns; j++) {
            uint32_t bits = words[i * stream.columns + j];
            memcpy(row + j, &bits, sizeof bits);
            if (!isfinite(row[j]))
                return cr_fail(CR_DENIED, "%s: row %zu of a clear front holds NaN or infinity",
                               cr_link_peer(front->link), i);
        }
    }
    return CR_OK;
}

static enum cr_status compare(const struct cr_front *front, struct cr_matrix got, struct cr_matrix wanted)
{
    for (size_t i = 0; i < got.rows; i++) {
        const float *wanted_row = cr_row(&wanted, i), *row = cr_row(&got, i);
        double off = 0, size = 0;
        for (size_t j = 0; j < got.columns; j++) {
            double w = (double)wanted_row[j], d = (double)row[j] - w;
            off += d * d;
            size += w * w;
        }
        if (!(off <= CR_FRONT_TOLERANCE * CR_FRONT_TOLERANCE * size))
            return cr_fail(CR_DENIED,
                           "%s: a clear front of %zu layers is not what this process computes of the same "
                           "tokens (row %zu of %zu; the run ends here)",
                           cr_link_peer(front->link), front->layers, i, got.rows);
    }
    return CR_OK;
}

// Draws in secret which sequences of a question are recomputed.
static enum cr_status draw(const struct cr_front *front, size_t sequences, bool *chosen)
{
    CR_FREE uint64_t *numbers = NULL;
    CR_TRY(cr_allocate(sequences + 1, sizeof *numbers, &numbers));
    CR_TRY(cr_random_bytes(numbers, (sequences + 1) * sizeof *numbers));
    for (size_t s = 0; s < sequences; s++) chosen[s] = numbers[s] % CR_FRONT_ONE_IN == 0;
    if (front->tally.examples == 0) chosen[numbers[sequences] % sequences] = true;
    return CR_OK;
}

static enum cr_status check_some(struct cr_front *front, const struct cr_rows *rows, struct cr_matrix stream)
{
    CR_FREE bool *chosen = NULL;
    CR_TRY(cr_allocate(rows->sequences, sizeof *chosen, &chosen));
    CR_TRY(draw(front, rows->sequences, chosen));
    for (size_t s = 0; s < rows->sequences; s++) {
        size_t first = rows->offset[s], count = rows->offset[s + 1] - first;
        struct cr_matrix wanted;
        if (!chosen[s]) continue;
        CR_TRY(cr_streamed_walk(front->streamed, rows->tokens + first, count, &wanted));
        CR_TRY(compare(front, cr_matrix_rows(stream, first, count), wanted));
        front->tally.checked++;
    }
    return CR_OK;
}

enum cr_status cr_front_ask(struct cr_front *front, const struct cr_rows *rows, struct cr_matrix stream)
{
    double began = cr_clock_monotonic();
    if (front->slicing->failed)
        return cr_fail(CR_DENIED, "%s: a product was wrong before", cr_link_peer(front->link));
    if (rows->rows > front->rows)
        return cr_fail(CR_INTERNAL, "a clear front of %zu rows where there is room for %zu", rows->rows,
                       front->rows);
    for (size_t s = 0; s < rows->sequences; s++)
        front->lengths[s] = (uint32_t)(rows->offset[s + 1] - rows->offset[s]);
    const struct cr_wire_front question = {.layers = (uint32_t)front->layers,
                                           .sequences = (uint32_t)rows->sequences,
                                           .rows = (uint32_t)rows->rows};
    CR_TRY(cr_link_ask_front(front->link, &question, rows->tokens, front->lengths));
    CR_TRY(cr_link_receive(front->link, rows->rows * stream.columns));
    CR_TRY(take_answer(front, cr_matrix_rows(stream, 0, rows->rows)));
    double answered = cr_clock_monotonic();
    CR_TRY(check_some(front, rows, stream));
    front->tally.examples += rows->sequences;
    front->tally.rows += rows->rows;
    front->tally.asking += answered - began;
    front->tally.checking += cr_clock_monotonic() - answered;
    return CR_OK;
}

struct cr_front_tally cr_front_tally(const struct cr_front *front)
{
    return front->tally;
}
