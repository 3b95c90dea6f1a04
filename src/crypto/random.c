#include "crypto/random.h"
#include "crypto/kdf.h"
#include "crypto/keystream.h"
#include "crypto/openssl.h"

#include <limits.h>
#include <math.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_SIZE = 16,
    BUFFERED = 4096, // keystream made at a time: with less, the calls into OpenSSL would dominate
};

struct cr_draws {
    EVP_CIPHER_CTX *cipher;
    unsigned char buffer[BUFFERED];
    size_t used; // bytes of the buffer used so far
    double spare_normal;
    bool has_spare_normal;
};

enum cr_status cr_random_bytes(void *out, size_t size)
{
    unsigned char *at = out;
    while (size > 0) {
        int part = size < INT_MAX ? (int)size : INT_MAX;
        if (RAND_bytes(at, part) != 1) return cr_openssl_fail(CR_INTERNAL, "no randomness");
        at += part;
        size -= (size_t)part;
    }
    return CR_OK;
}

static enum cr_status derive_key(uint64_t seed, const char *label, unsigned char key[CR_KEY_SIZE])
{
    unsigned char material[sizeof seed];
    for (size_t i = 0; i < sizeof seed; i++) material[i] = (unsigned char)(seed >> (8 * i));
    enum cr_status status = cr_hkdf((struct cr_slice){material, sizeof material}, label, key, CR_KEY_SIZE);
    cr_wipe(material, sizeof material);
    return status;
}

enum cr_status cr_draws_new(uint64_t seed, const char *label, struct cr_draws **out)
{
    unsigned char key[CR_KEY_SIZE];
    struct cr_draws *stream;
    CR_TRY(cr_allocate(1, sizeof *stream, &stream));
    stream->cipher = EVP_CIPHER_CTX_new();
    enum cr_status status = derive_key(seed, label, key);
    if (status == CR_OK &&
        (!stream->cipher || !EVP_EncryptInit_ex(stream->cipher, EVP_aes_256_ctr(), NULL, key, NULL)))
        status = cr_openssl_fail(CR_INTERNAL, "AES-256-CTR failed");
    cr_wipe(key, sizeof key);
    if (status != CR_OK) {
        cr_draws_free(stream);
        return status;
    }
    cr_draws_seek(stream, 0);
    *out = stream;
    return CR_OK;
}

void cr_draws_free(struct cr_draws *stream)
{
    if (!stream) return;
    EVP_CIPHER_CTX_free(stream->cipher);
    cr_wipe(stream, sizeof *stream);
    free(stream);
}

void cr_draws_seek(struct cr_draws *stream, uint32_t index)
{
    // The counter is a big-endian 128-bit number: the upper 32 bits are the substream, whose 2^96 blocks
    // never reach the next one.
    unsigned char counter[BLOCK_SIZE] = {(unsigned char)(index >> 24), (unsigned char)(index >> 16),
                                         (unsigned char)(index >> 8), (unsigned char)index};
    // With a cipher and key in place this only copies the counter.
    if (!EVP_EncryptInit_ex(stream->cipher, NULL, NULL, NULL, counter)) abort();
    stream->used = BUFFERED;
    stream->has_spare_normal = false;
}

static void refill(struct cr_draws *stream)
{
    memset(stream->buffer, 0, BUFFERED);
    int made = 0;
    if (!EVP_EncryptUpdate(stream->cipher, stream->buffer, &made, stream->buffer, BUFFERED) ||
        made != BUFFERED)
        abort();
    stream->used = 0;
}

void cr_draws_bytes(struct cr_draws *stream, void *out, size_t size)
{
    unsigned char *at = out;
    while (size > 0) {
        if (stream->used == BUFFERED) refill(stream);
        size_t left = BUFFERED - stream->used, part = size < left ? size : left;
        memcpy(at, stream->buffer + stream->used, part);
        stream->used += part;
        at += part;
        size -= part;
    }
}

static uint64_t next_u64(struct cr_draws *stream)
{
    unsigned char bytes[8];
    cr_draws_bytes(stream, bytes, sizeof bytes);
    uint64_t value = 0;
    for (size_t i = sizeof bytes; i-- > 0;) value = value << 8 | bytes[i];
    return value;
}

uint64_t cr_draws_below(struct cr_draws *stream, uint64_t bound)
{
    // The lowest 2^64 mod bound values would make small results more likely, so they are drawn again.
    uint64_t unfair = (0 - bound) % bound;
    uint64_t value;
    do value = next_u64(stream);
    while (value < unfair);
    return value % bound;
}

double cr_draws_uniform(struct cr_draws *stream)
{
    return (double)(next_u64(stream) >> 11) * 0x1p-53;
}

double cr_draws_normal(struct cr_draws *stream)
{
    // The Box-Muller transform: two uniform values give two independent normal ones.
    if (stream->has_spare_normal) {
        stream->has_spare_normal = false;
        return stream->spare_normal;
    }
    double radius = sqrt(-2.0 * log(1.0 - cr_draws_uniform(stream))); // argument in (0, 1]: finite
    double angle = 2.0 * M_PI * cr_draws_uniform(stream);
    stream->spare_normal = radius * sin(angle);
    stream->has_spare_normal = true;
    return radius * cos(angle);
}

void cr_draws_shuffle(struct cr_draws *stream, uint32_t *items, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)cr_draws_below(stream, i);
        uint32_t kept = items[i - 1];
        items[i - 1] = items[j];
        items[j] = kept;
    }
}
