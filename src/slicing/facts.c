#include "slicing/facts.h"

#include "base/secret.h"
#include "field/quantize.h"
#include "slicing/pad.h"

#include <stdlib.h>

struct cr_way cr_way_of(size_t out, size_t in, bool backward)
{
    size_t depth = backward ? out : in, columns = backward ? in : out,
           parts = cr_bound_parts(depth, backward);
    return (struct cr_way){.depth = depth, .columns = columns, .parts = parts, .width = parts * columns};
}

// Called twice: before the arenas are committed it counts what they need, afterwards it assigns the memory.
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
            *way = cr_way_of(fact->out, fact->in, backward);
            facts->longest = cr_most(facts->longest, cr_most(way->depth, way->width));
            facts->parts = cr_most(facts->parts, way->parts);
            if (!cr_frozen_held(model, i)) continue; // not in this part of the model: never multiplied
            way->bounds = cr_arena_take(&facts->memory, way->parts, sizeof *way->bounds);
            way->s = cr_arena_take(&facts->secrets, 2 * way->width, sizeof *way->s);
            way->v = cr_arena_take(&facts->secrets, 2 * way->depth, sizeof *way->v);
        }
        facts->largest = cr_most(facts->largest, fact->out * fact->in);
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
    for (size_t backward = 0; backward < CR_WAYS && cr_frozen_held(model, i); backward++) {
        struct cr_way *way = &fact->way[backward];
        CR_TRY(cr_bound_new(&q, backward, cr_field_digits(field), way->bounds));
        cr_pad_words(pad, i * CR_WAYS + backward, 0, way->s, 2 * way->width);
        cr_way_vectors(way, field, q, backward, way->v);
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

void cr_way_vectors(const struct cr_way *way, struct cr_field *field, struct cr_matrix q, bool backward,
                    uint32_t *v)
{
    const uint32_t *s = way->s;
    for (size_t i = 0; i < way->parts; i++) {
        // v = Qᵀ s is the product in the opposite direction, hence !backward.
        struct cr_matrix part = cr_bound_part(q, backward, way->parts, i);
        cr_field_multiply(field, s, 2, part, !backward, 1, v);
        s += 2 * way->columns;
        v += 2 * way->bounds[i].depth;
    }
}

// begin < depth
static struct cr_way_span question_span(const struct cr_way *way, size_t begin)
{
    size_t part = 0, first = 0;
    while (begin - first >= way->bounds[part].depth) first += way->bounds[part++].depth;
    size_t depth = way->bounds[part].depth;
    const uint32_t *v = way->v + 2 * first + (begin - first);
    return (struct cr_way_span){first + depth - begin, {v, v + depth}};
}

struct cr_way_span cr_way_answer(const struct cr_way *way, size_t begin)
{
    size_t at = begin % way->columns;
    const uint32_t *s = way->s + 2 * (begin - at) + at;
    return (struct cr_way_span){way->columns - at, {s, s + way->columns}};
}

static void add_up(const struct cr_field *field, struct cr_way_span (*span_of)(const struct cr_way *, size_t),
                   const struct cr_way *way, const uint32_t *words, size_t count, uint32_t total[2])
{
    struct cr_mask_sums sums = {0};
    for (size_t i = 0; i < count;) {
        struct cr_way_span span = span_of(way, i);
        cr_mask_dots(field, span.vectors[0], span.vectors[1], words + i, span.count, &sums);
        i += span.count;
    }
    cr_mask_total(field, &sums, total);
}

void cr_way_expect(const struct cr_way *way, const struct cr_field *field, const uint32_t *question,
                   uint32_t expected[2])
{
    add_up(field, question_span, way, question, way->depth, expected);
}

void cr_way_sums(const struct cr_way *way, const struct cr_field *field, const uint32_t *answer,
                 uint32_t sums[2])
{
    add_up(field, cr_way_answer, way, answer, way->width, sums);
}

bool cr_way_checks(const struct cr_way *way, const struct cr_field *field, const uint32_t *question,
                   const uint32_t *answer)
{
    uint32_t expected[2], sums[2];
    cr_way_expect(way, field, question, expected);
    cr_way_sums(way, field, answer, sums);
    return cr_mask_agree(expected, sums);
}
