// Join tokens: all that a new silo needs to find the server, know it, and be let in, in one line of text.
//
// "carrel2." and base64url of: u8 2, u8 role, u64 expiry, 32 bytes CA fingerprint, 32 bytes digest of the
// job, 32 bytes secret, u8 size and name, u16 size and address, and the first 4 bytes of SHA-256 over all
// that. The token is a secret until it is used; the server keeps only the SHA-256 of the secret inside.
#ifndef CARREL_CHANNEL_TOKEN_H
#define CARREL_CHANNEL_TOKEN_H

#include "base/address.h"
#include "channel/message.h"
#include "crypto/identity.h"

struct cr_token {
    char address[CR_ADDRESS_SIZE];
    unsigned char fingerprint[CR_SHA256_SIZE]; // cr_identity_fingerprint of the CA
    unsigned char job[CR_SHA256_SIZE];         // the digest of its manifest
    unsigned char secret[CR_SECRET_SIZE];
    char name[CR_NAME_SIZE];
    char role[CR_NAME_SIZE]; // "silo"
    int64_t expires;         // Unix seconds
};

enum { CR_TOKEN_LIMIT = 1024 }; // bytes of its text, with a zero

void cr_token_release(struct cr_token *token); // wipes

enum cr_status cr_token_write(const struct cr_token *token, struct cr_buffer *text);

// Takes exactly what cr_token_write writes; anything else is CR_INVALID, with a sentence that does not repeat
// the text. The expiry is not judged here.
enum cr_status cr_token_parse(const char *text, struct cr_token *out);

#endif
