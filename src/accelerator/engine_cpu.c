// The engine for the processor: uses field/product.h on the matrices where they are in memory.
#include "accelerator/engine.h"

#include "field/product.h"

#include <stdlib.h>

struct engine {
    struct cr_engine base;
    const struct cr_frozen *frozen;
    struct cr_field *fields[2]; // for 3 and for 4 digits
};

static void free_engine(struct cr_engine *self)
{
    struct engine *engine = (struct engine *)self;
    cr_field_free(engine->fields[0]);
    cr_field_free(engine->fields[1]);
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

static enum cr_status multiply(struct cr_engine *self, const struct cr_wire_product *product, unsigned digits,
                               const uint32_t *question, const uint32_t *pads, uint32_t *answer)
{
    struct engine *engine = (struct engine *)self;
    struct cr_field_circle less = {.turn = product->turn, .around = product->around};
    if (less.around > 0) less.words = pads + product->place;
    cr_field_multiply_less(engine->fields[digits - 3], question, product->rows,
                           engine->frozen->matrices[product->linear], product->backward, product->parts,
                           less.around > 0 ? &less : NULL, answer);
    return CR_OK;
}

const struct cr_engine_kind cr_engine_cpu = {open_engine, multiply, free_engine};
