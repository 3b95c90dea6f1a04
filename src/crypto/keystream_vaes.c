// Source: FIPS 197; Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, AESENC and
// VAESENC.
#include "crypto/keystream_vaes.h"

#include <cpuid.h>
#include <immintrin.h>

// The number of vectors in flight, enough that no instruction waits for the previous one: six, which hold
// eight vectors' worth of three-byte words, or eight.
enum { VECTORS = 8, NARROW = 6, VECTOR_WORDS = 16 };

bool cr_vaes_is_here(void)
{
    enum { VAES = 1 << 9 }; // leaf 7, ecx; not every compiler knows a name for it
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ecx & VAES) &&
           __builtin_cpu_supports("avx512bw"); // this also checks the operating system's support
}

// XORs each word into all words after it, and `t` into all words.
static inline __m128i next_key(__m128i key, __m128i t)
{
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, t);
}

void cr_vaes_expand(const unsigned char key[CR_KEY_SIZE], unsigned char keys[CR_VAES_KEYS_SIZE])
{
    // AESENCLAST does SubBytes, then ShiftRows, which changes nothing here since all four words are equal,
    // and XORs the round constant.
    const __m128i turned = _mm_set1_epi32(0x0c0f0e0d);
    __m128i *to = (__m128i *)(void *)keys, even = _mm_loadu_si128((const __m128i *)(const void *)key),
            odd = _mm_loadu_si128((const __m128i *)(const void *)(key + 16));
    _mm_storeu_si128(&to[0], even);
    for (int i = 1; i < CR_VAES_KEYS; i += 2) {
        __m128i constant = _mm_set1_epi32(1 << (i / 2));
        _mm_storeu_si128(&to[i], odd);
        even = next_key(even, _mm_aesenclast_si128(_mm_shuffle_epi8(odd, turned), constant));
        _mm_storeu_si128(&to[i + 1], even);
        odd = next_key(odd, _mm_aesenclast_si128(_mm_shuffle_epi32(even, 0xff), _mm_setzero_si128()));
    }
}

// In place: expands six vectors of three-byte words to eight vectors of four-byte words. The bytes of an
// output vector come from one or two input vectors: first three 4-byte groups go to each 128-bit lane, then
// each lane is spread to four words.
static inline __attribute__((always_inline)) void spread(__m512i blocks[VECTORS])
{
    const __m512i apart = _mm512_broadcast_i32x4(
        _mm_set_epi8(-1, 11, 10, 9, -1, 8, 7, 6, -1, 5, 4, 3, -1, 2, 1, 0)); // -1: zero
    const __m512i group = _mm512_set_epi32(0, 11, 10, 9, 0, 8, 7, 6, 0, 5, 4, 3, 0, 2, 1, 0);
    __m512i from[NARROW];
#pragma GCC unroll 6
    for (size_t j = 0; j < NARROW; j++) from[j] = blocks[j];
#pragma GCC unroll 8
    for (size_t j = 0; j < VECTORS; j++) {
        // Output vector j begins at 4-byte group 12·j; an input vector has 16 groups.
        size_t first = 12 * j / 16, offset = 12 * j % 16;
        __m512i next = from[first + 1 < NARROW ? first + 1 : first];
        __m512i where = _mm512_add_epi32(group, _mm512_set1_epi32((int)offset));
        blocks[j] = _mm512_shuffle_epi8(_mm512_permutex2var_epi32(from[first], where, next), apart);
    }
}

static inline __attribute__((always_inline)) bool words_of(const unsigned char keys[CR_VAES_KEYS_SIZE],
                                                           uint64_t stream, uint64_t block, unsigned bits,
                                                           const size_t vectors, uint32_t limit,
                                                           uint32_t *words, size_t count)
{
    const __m512i mask = _mm512_set1_epi32((int)((1u << bits) - 1));
    __m512i most = _mm512_setzero_si512();
    const __m512i big_endian =
        _mm512_broadcast_i32x4(_mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    const __m512i four = _mm512_set_epi64(4, 0, 4, 0, 4, 0, 4, 0);
    const long long high = (long long)stream, low = (long long)block;
    __m512i counter = _mm512_set_epi64(low + 3, high, low + 2, high, low + 1, high, low, high),
            key[CR_VAES_KEYS];
#pragma GCC unroll 15 // so that they lie in registers alone
    for (size_t i = 0; i < CR_VAES_KEYS; i++)
        key[i] = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)(keys + 16 * i)));
    while (count > 0) {
        __m512i blocks[VECTORS];
#pragma GCC unroll 8
        for (size_t j = 0; j < vectors; j++) {
            blocks[j] = _mm512_xor_si512(_mm512_shuffle_epi8(counter, big_endian), key[0]);
            counter = _mm512_add_epi64(counter, four);
        }
#pragma GCC unroll 14
        for (size_t i = 1; i < CR_VAES_KEYS - 1; i++)
#pragma GCC unroll 8
            for (size_t j = 0; j < vectors; j++) blocks[j] = _mm512_aesenc_epi128(blocks[j], key[i]);
#pragma GCC unroll 8
        for (size_t j = 0; j < vectors; j++)
            blocks[j] = _mm512_aesenclast_epi128(blocks[j], key[CR_VAES_KEYS - 1]);
        // This work overlaps with the rounds of AES, which run on a single unit of the processor; the less of
        // it there is, the less it slows that unit.
        if (vectors == NARROW) spread(blocks);
#pragma GCC unroll 8
        for (size_t j = 0; j < VECTORS; j++) blocks[j] = _mm512_and_si512(blocks[j], mask);
        if (count < VECTORS * VECTOR_WORDS) {
#pragma GCC unroll 8
            for (size_t j = 0; j < VECTORS; j++) {
                size_t left = count < VECTOR_WORDS ? count : VECTOR_WORDS;
                __mmask16 here = (__mmask16)((1u << left) - 1);
                most = _mm512_mask_max_epu32(most, here, most, blocks[j]);
                _mm512_mask_storeu_epi32(words, here, blocks[j]);
                words += left;
                count -= left;
            }
            break;
        }
#pragma GCC unroll 8
        for (size_t j = 0; j < VECTORS; j++) {
            most = _mm512_max_epu32(most, blocks[j]);
            _mm512_storeu_si512(words, blocks[j]);
            words += VECTOR_WORDS;
        }
        count -= VECTORS * VECTOR_WORDS;
    }
    return _mm512_cmpge_epu32_mask(most, _mm512_set1_epi32((int)limit)) == 0;
}

bool cr_vaes_words(const unsigned char keys[CR_VAES_KEYS_SIZE], uint64_t stream, uint64_t block,
                   unsigned bits, uint32_t limit, uint32_t *words, size_t count)
{
    return cr_keystream_word_size(bits) == 4
               ? words_of(keys, stream, block, bits, VECTORS, limit, words, count)
               : words_of(keys, stream, block, bits, NARROW, limit, words, count);
}
