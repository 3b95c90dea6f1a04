// Hashes of the SHA-2 family, and base64url.
#ifndef CARREL_CRYPTO_HASH_H
#define CARREL_CRYPTO_HASH_H

#include "base/bytes.h"

enum { CR_SHA256_SIZE = 32 };

enum cr_status cr_sha256(struct cr_slice bytes, unsigned char out[CR_SHA256_SIZE]);

enum { CR_SHA256_HEX_SIZE = 2 * CR_SHA256_SIZE + 1 }; // with its zero
void cr_sha256_hex(const unsigned char digest[CR_SHA256_SIZE], char out[CR_SHA256_HEX_SIZE]);

// For formats of others.
enum { CR_SHA384_SIZE = 48, CR_SHA512_SIZE = 64 };
enum cr_status cr_sha384(struct cr_slice bytes, unsigned char out[CR_SHA384_SIZE]);
enum cr_status cr_sha512(struct cr_slice bytes, unsigned char out[CR_SHA512_SIZE]);

// SHA-256 in pieces.
struct cr_hasher;
enum cr_status cr_hasher_new(struct cr_hasher **out);
enum cr_status cr_hasher_add(struct cr_hasher *hasher, struct cr_slice bytes);
enum cr_status cr_hasher_finish(struct cr_hasher *hasher, unsigned char out[CR_SHA256_SIZE]);
void cr_hasher_free(struct cr_hasher *hasher);     // NULL is allowed
void cr_hasher_release(struct cr_hasher **hasher); // frees *hasher and sets it to NULL; for CR_CLEANUP

// base64url without padding (RFC 4648 section 5).
enum cr_status cr_base64url_append(struct cr_buffer *out, struct cr_slice bytes);
enum cr_status cr_base64url_decode(struct cr_slice text, struct cr_buffer *out);

#endif
