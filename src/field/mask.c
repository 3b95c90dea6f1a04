#include "field/mask.h"

#include "field/kernels.h"

void cr_mask_add(const struct cr_field *field, const uint32_t *x, const uint32_t *r, size_t count,
                 uint32_t *out)
{
    cr_field_kernels(field)->add(x, r, count, cr_prime(cr_field_digits(field)), out);
}

bool cr_mask_open(const struct cr_field *field, const volatile uint32_t *y, const volatile uint32_t *c,
                  const uint32_t *k, size_t count, uint32_t *out)
{
    uint32_t p = cr_prime(cr_field_digits(field));
    return cr_field_kernels(field)->open(y, c, k, count, p, out) < p;
}

void cr_mask_dots(const struct cr_field *field, const uint32_t *s0, const uint32_t *s1, const uint32_t *w,
                  size_t count, uint32_t sums[2])
{
    unsigned digits = cr_field_digits(field);
    const uint32_t p = cr_prime(digits);
    sums[0] = sums[1] = 0;
    for (size_t i = 0; i < count; i += CR_MOST_PRODUCTS) {
        uint64_t part[2];
        cr_field_kernels(field)->dots(s0 + i, s1 + i, w + i, cr_least(CR_MOST_PRODUCTS, count - i), digits,
                                      part);
        for (size_t j = 0; j < 2; j++)
            sums[j] = cr_prime_add(sums[j], cr_prime_reduce_wide(part[j], digits), p);
    }
}
