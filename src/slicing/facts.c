#include "slicing/facts.h"

#include "base/secret.h"
#include "field/quantize.h"
#include "slicing/pad.h"

#include <stdlib.h>

// Run twice: the arena counts, then hands out.
static void place(struct cr_facts *facts, struct cr_model *model)
{
    for (size_t i = 0; i < facts->count; i++) {
        struct cr_fact *fact = &facts->matrices[i];
        const struct cr_linear *linear = cr_frozen_linear(model, i);
        fact->out = linear->out;
        fact->in = linear->in;
        fact->scale = cr_arena_take(&facts->memory, fact->out, sizeof *fact->scale);
        for (size_t backward = 0; backward < CR_WAYS; backward++) {
            struct cr_way *way = &fact->way[backward];
            way->depth = backward ? fact->out : fact->in;
            way->width = backward ? fact->in : fact->out;
            way->s = cr_arena_take(&facts->secrets, 2 * way->width, sizeof *way->s);
            way->v = cr_arena_take(&facts->secrets, 2 * way->depth, sizeof *way->v);
        }
        facts->largest = cr_most(facts->largest, fact->out * fact->in);
        facts->longest = cr_most(facts->longest, cr_most(fact->out, fact->in));
    }
}

static enum cr_status learn(struct cr_facts *facts, struct cr_compute *compute, struct cr_field *field,
                            struct cr_model *model, struct cr_pad *pad, int8_t *numbers, size_t i)
{
    struct cr_fact *fact = &facts->matrices[i];
    struct cr_matrix q = cr_matrix_of(numbers, CR_I8, fact->out, fact->in);
    q.scale = fact->scale;
    CR_TRY(cr_frozen_read(compute, model, i, q));
    facts->checksum = cr_quantized_checksum(facts->checksum, q);
    for (size_t backward = 0; backward < CR_WAYS; backward++) {
        struct cr_way *way = &fact->way[backward];
        enum cr_status status = cr_bound_new(&q, backward, cr_field_digits(field), &way->bound);
        if (status != CR_OK) {
            char name[CR_FROZEN_NAME_SIZE];
            cr_frozen_name(facts->count, i, name);
            return cr_fail_within(status, "%s", name);
        }
        for (size_t j = 0; j < 2; j++)
            cr_pad_words(pad, (i * CR_WAYS + backward) * 2 + j, 0, way->s + j * way->width, way->width);
        // A question's row and the secret lie on the two sides of the matrix.
        cr_field_multiply(field, way->s, 2, q, !backward, way->v);
    }
    return CR_OK;
}

static enum cr_status learn_all(struct cr_facts *facts, struct cr_compute *compute, struct cr_field *field,
                                struct cr_model *model, struct cr_pad *pad)
{
    facts->count = cr_frozen_count(model);
    CR_TRY(cr_allocate(facts->count, sizeof *facts->matrices, &facts->matrices));
    place(facts, model);
    CR_TRY(cr_arena_commit(&facts->memory));
    CR_TRY(cr_secret_arena_commit(&facts->secrets));
    place(facts, model);
    CR_FREE int8_t *numbers = NULL;
    CR_TRY(cr_allocate(facts->largest, 1, &numbers));
    for (size_t i = 0; i < facts->count; i++) CR_TRY(learn(facts, compute, field, model, pad, numbers, i));
    return CR_OK;
}

enum cr_status cr_facts_open(struct cr_compute *compute, struct cr_field *field, struct cr_model *model,
                             const unsigned char key[CR_KEY_SIZE], struct cr_facts *out)
{
    struct cr_facts facts = {0};
    struct cr_pad *pad;
    CR_TRY(cr_pad_new(key, field, &pad));
    enum cr_status status = learn_all(&facts, compute, field, model, pad);
    cr_pad_free(pad);
    if (status == CR_OK)
        *out = facts;
    else
        cr_facts_release(&facts);
    return status;
}

void cr_facts_forget(struct cr_facts *facts)
{
    if (facts->secrets.base) cr_wipe(facts->secrets.base, facts->secrets.size);
}

void cr_facts_release(struct cr_facts *facts)
{
    cr_secret_free(&facts->secrets.base);
    cr_arena_release(&facts->memory);
    free(facts->matrices);
    *facts = (struct cr_facts){0};
}

void cr_way_expect(const struct cr_way *way, const struct cr_field *field, const uint32_t *question,
                   uint32_t expected[2])
{
    cr_mask_dots(field, way->v, way->v + way->depth, question, way->depth, expected);
}

void cr_way_sums(const struct cr_way *way, const struct cr_field *field, const uint32_t *answer,
                 uint32_t sums[2])
{
    cr_mask_dots(field, way->s, way->s + way->width, answer, way->width, sums);
}

bool cr_way_holds(const struct cr_way *way, const struct cr_field *field, const uint32_t expected[2],
                  const uint32_t *answer)
{
    uint32_t sums[2];
    cr_way_sums(way, field, answer, sums);
    return ((sums[0] ^ expected[0]) | (sums[1] ^ expected[1])) == 0;
}

bool cr_way_checks(const struct cr_way *way, const struct cr_field *field, const uint32_t *question,
                   const uint32_t *answer)
{
    uint32_t expected[2];
    cr_way_expect(way, field, question, expected);
    return cr_way_holds(way, field, expected, answer);
}
