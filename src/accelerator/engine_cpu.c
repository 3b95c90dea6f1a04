// The engine of the processor: field/product.h, on the matrices where they lie.
#include "accelerator/engine.h"

#include "field/product.h"

#include <stdlib.h>
#include <string.h>

// Rows at a time: enough that packing a matrix costs nothing, and a bound on the memory of a question.
enum { ROWS = 512 };

struct engine {
    struct cr_engine base;
    const struct cr_frozen *frozen;
    struct cr_field *fields[2]; // of 3 and of 4 digits
    uint32_t *narrow;           // [room], rows of a question or its answer, whichever has less
    size_t room;
};

static void free_engine(struct cr_engine *self)
{
    struct engine *engine = (struct engine *)self;
    cr_field_free(engine->fields[0]);
    cr_field_free(engine->fields[1]);
    free(engine->narrow);
    free(engine);
}

static enum cr_status prepare(struct engine *engine, struct cr_compute *compute)
{
    static const char *const names[] = {[CR_FIELD_SCALAR] = "cpu scalar",
                                        [CR_FIELD_AVX2] = "cpu avx2",
                                        [CR_FIELD_VNNI] = "cpu vnni",
                                        [CR_FIELD_AMX] = "cpu amx"};
    CR_TRY(cr_field_new(compute, 3, &engine->fields[0]));
    CR_TRY(cr_field_new(compute, 4, &engine->fields[1]));
    engine->base.name = names[cr_field_path(engine->fields[1])];
    return CR_OK;
}

static enum cr_status open_engine(const struct cr_frozen *frozen, struct cr_compute *compute,
                                  struct cr_engine **out)
{
    struct engine *engine;
    CR_TRY(cr_allocate(1, sizeof *engine, &engine));
    *engine = (struct engine){.base = {&cr_engine_cpu, NULL}, .frozen = frozen};
    enum cr_status status = prepare(engine, compute);
    if (status == CR_OK)
        *out = &engine->base;
    else
        free_engine(&engine->base);
    return status;
}

// Answers take the place of questions: narrower ones are made aside first, and for wider ones the question is
// put aside.
static enum cr_status multiply(struct cr_engine *self, const struct cr_wire_product *product, unsigned digits,
                               uint32_t *words)
{
    struct engine *engine = (struct engine *)self;
    struct cr_field *field = engine->fields[digits - 3];
    struct cr_matrix q = engine->frozen->matrices[product->linear];
    size_t depth = product->backward ? q.rows : q.columns;
    size_t width = product->parts * (product->backward ? q.columns : q.rows);
    size_t needed = cr_least(ROWS, product->rows) * cr_least(depth, width);
    if (needed > engine->room) {
        CR_TRY(cr_reallocate(needed, sizeof *engine->narrow, &engine->narrow));
        engine->room = needed;
    }
    size_t blocks = (product->rows + (size_t)ROWS - 1) / ROWS;
    for (size_t i = 0; i < blocks; i++) {
        // Wider ones from the end, so that no question is overwritten that waits.
        size_t row = (width > depth ? blocks - 1 - i : i) * ROWS, rows = cr_least(ROWS, product->rows - row);
        uint32_t *question = words + row * depth, *answer = words + row * width;
        if (width > depth) {
            memcpy(engine->narrow, question, rows * depth * sizeof *words);
            cr_field_multiply(field, engine->narrow, rows, q, product->backward, product->parts, answer);
        } else {
            cr_field_multiply(field, question, rows, q, product->backward, product->parts, engine->narrow);
            memcpy(answer, engine->narrow, rows * width * sizeof *words);
        }
    }
    return CR_OK;
}

const struct cr_engine_kind cr_engine_cpu = {open_engine, multiply, free_engine};
