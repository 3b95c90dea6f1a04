#include "field/mask.h"

#include "field/kernels.h"

void cr_mask_add(const struct cr_field *field, const uint32_t *x, const uint32_t *r, size_t count,
                 uint32_t *out)
{
    cr_field_kernels(field)->add(x, r, count, cr_prime(cr_field_digits(field)), out);
}

bool cr_mask_open(const struct cr_field *field, const volatile uint32_t *y, const volatile uint32_t *c,
                  const uint32_t *k, const uint32_t *s0, const uint32_t *s1, size_t count, uint32_t *out,
                  struct cr_mask_sums *sums)
{
    return cr_field_kernels(field)->open(y, c, k, s0, s1, count, cr_field_digits(field), out, sums);
}

void cr_mask_dots(const struct cr_field *field, const uint32_t *s0, const uint32_t *s1, const uint32_t *w,
                  size_t count, struct cr_mask_sums *sums)
{
    for (size_t i = 0; i < count; i += CR_MASK_MOST)
        cr_field_kernels(field)->dots(s0 + i, s1 + i, w + i, cr_least(CR_MASK_MOST, count - i),
                                      cr_field_digits(field), sums);
}

void cr_mask_total(const struct cr_field *field, const struct cr_mask_sums *sums, uint32_t total[2])
{
    for (size_t j = 0; j < 2; j++) {
        uint64_t all = 0; // of lanes below 2^45
        for (size_t i = 0; i < CR_MASK_LANES; i++) all += sums->lanes[j][i];
        total[j] = cr_prime_reduce_wide(all, cr_field_digits(field));
    }
}

bool cr_mask_agree(const uint32_t a[2], const uint32_t b[2])
{
    return ((a[0] ^ b[0]) | (a[1] ^ b[1])) == 0;
}
