// What the tests of accelerator/ share: products mod p as they are defined, and an engine that computes so.
#ifndef CARREL_TESTS_ACCELERATOR_SUPPORT_H
#define CARREL_TESTS_ACCELERATOR_SUPPORT_H

#include "support.h"

#include "accelerator/session.h"
#include "field/prime.h"

// y [rows,parts,N] of x [rows,K], all below p.
static inline void reference_product(struct cr_matrix q, bool backward, unsigned digits, size_t rows,
                                     size_t parts, const uint32_t *x, uint32_t *y)
{
    const int64_t p = cr_prime(digits);
    const int8_t *numbers = q.data;
    size_t depth = backward ? q.rows : q.columns, width = backward ? q.columns : q.rows;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < parts * width; i++) {
            size_t j = i % width, part = i / width, end = depth * (part + 1) / parts;
            int64_t sum = 0; // of at most 2^31·127 a term: far from 2^63 for every K there is
            for (size_t k = depth * part / parts; k < end; k++)
                sum += (int64_t)x[r * depth + k] *
                       (backward ? numbers[k * q.stride + j] : numbers[j * q.stride + k]);
            y[r * parts * width + i] = (uint32_t)((sum % p + p) % p);
        }
}

// Takes from rows of `width` words what a product says.
static inline void reference_less(const struct cr_wire_product *product, size_t width, unsigned digits,
                                  const uint32_t *pads, uint32_t *answer)
{
    for (size_t i = 0; product->around > 0 && i < product->rows * width; i++) {
        size_t row = (product->turn + i / width) % product->around;
        answer[i] = cr_prime_sub(answer[i], pads[product->place + row * width + i % width], cr_prime(digits));
    }
}

struct reference_engine {
    struct cr_engine engine;
    const struct cr_frozen *frozen;
    bool fails;
};

static inline enum cr_status reference_multiply(struct cr_engine *self, const struct cr_wire_product *product,
                                                unsigned digits, const uint32_t *question,
                                                const uint32_t *pads, uint32_t *answer)
{
    const struct reference_engine *engine = (struct reference_engine *)self;
    if (engine->fails) return cr_fail(CR_NO_MEMORY, "the engine\x1b is out of memory");
    struct cr_matrix q = engine->frozen->matrices[product->linear];
    reference_product(q, product->backward, digits, product->rows, product->parts, question, answer);
    reference_less(product, product->parts * (product->backward ? q.columns : q.rows), digits, pads, answer);
    return CR_OK;
}

static const struct cr_engine_kind reference_kind = {.multiply = reference_multiply};

#endif
