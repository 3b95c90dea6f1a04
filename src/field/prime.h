// The fields that masked products are computed in: whole numbers modulo p = 2³¹ − 1, whose words have four
// base-256 digits, or p = 2²³ − 15, three. A word is in [0, p); it stands for a signed number once centred.
// Nothing here branches on a value.
#ifndef CARREL_FIELD_PRIME_H
#define CARREL_FIELD_PRIME_H

#include <stdint.h>

static inline uint32_t cr_prime(unsigned digits)
{
    return digits == 4 ? 0x7fffffff : (1u << 23) - 15;
}

static inline uint32_t cr_smaller_word(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

// a + b and a − b mod p. Of the two candidates, which differ by p, the one out of range wraps to a larger
// number.
static inline uint32_t cr_prime_add(uint32_t a, uint32_t b, uint32_t p)
{
    return cr_smaller_word(a + b, a + b - p);
}

static inline uint32_t cr_prime_sub(uint32_t a, uint32_t b, uint32_t p)
{
    return cr_smaller_word(a - b, a - b + p);
}

// The signed number with |v| <= (p−1)/2 that a word stands for, and the word of such a number.
static inline int32_t cr_prime_centre(uint32_t word, uint32_t p)
{
    return (int32_t)word - (int32_t)(word > p / 2 ? p : 0);
}

static inline uint32_t cr_prime_word(int32_t value, uint32_t p)
{
    return cr_smaller_word((uint32_t)value, (uint32_t)value + p);
}

// 2^8·x mod p: x shifted up by one digit.
static inline uint32_t cr_prime_up(uint32_t x, unsigned digits)
{
    const unsigned bits = digits == 4 ? 31 : 23;
    const uint32_t p = cr_prime(digits), low = (1u << bits) - 1, fold = low + 1 - p; // 2^bits mod p
    uint32_t u = (x << 8 & low) + fold * (x >> (bits - 8)); // below 2^31 − 1, or 2^23 + 15·2^8
    return digits == 4 ? u : cr_smaller_word(u, u - p);
}

// The sum of at most 2^11 products of a digit with an int8, mod p.
static inline uint32_t cr_prime_of_sum(int32_t sum, unsigned digits)
{
    const uint32_t p = cr_prime(digits);
    if (digits == 4) return cr_prime_word(sum, p);
    uint32_t u = (uint32_t)sum + 8 * p;  // at least 0: a sum is less than 2^11·255·128 from it
    u = (u & 0x7fffff) + 15 * (u >> 23); // below 2^23 + 15·2^4
    return cr_smaller_word(u, u - p);
}

// v mod p, for any v.
static inline uint32_t cr_prime_reduce_wide(uint64_t v, unsigned digits)
{
    const unsigned bits = digits == 4 ? 31 : 23;
    const uint64_t p = cr_prime(digits), low = ((uint64_t)1 << bits) - 1, fold = low + 1 - p; // 2^bits mod p
    v = (v & low) + fold * (v >> bits); // below 2^34, or 2^45
    v = (v & low) + fold * (v >> bits); // at most 2^31 + 7, or below 2^27
    v = (v & low) + fold * (v >> bits); // at most 2^31 − 1, or 2^23 − 1 + 15·2^4
    v = (v & low) + fold * (v >> bits); // at most 2^bits − 1
    return cr_smaller_word((uint32_t)v, (uint32_t)v - (uint32_t)p);
}

#endif
