// Join tokens: one line of text with all that a new silo needs to find the server, verify it and be admitted.
//
// "carrel2." and then base64url of: u8 2, u8 role, u64 expiry, CA fingerprint (32 bytes), digest of the job
// (32 bytes), secret (32 bytes), u8 size and name, u16 size and address, and the first 4 bytes of the SHA-256
// of all these. A token is a secret until it is used. The server stores only the SHA-256 of the secret in it.
#ifndef CARREL_CHANNEL_TOKEN_H
#define CARREL_CHANNEL_TOKEN_H

#include "base/address.h"
#include "channel/message.h"
#include "crypto/identity.h"

struct cr_token {
    char address[CR_ADDRESS_SIZE];
    unsigned char fingerprint[CR_SHA256_SIZE]; // cr_identity_fingerprint of the CA
    unsigned char job[CR_SHA256_SIZE];         // digest of the job's manifest
    unsigned char secret[CR_SECRET_SIZE];
    char name[CR_NAME_SIZE];
    char role[CR_NAME_SIZE]; // "silo"
    int64_t expires;         // Unix seconds
};

enum { CR_TOKEN_LIMIT = 1024 }; // bytes of the text, with its terminating zero

void cr_token_release(struct cr_token *token); // wipes

enum cr_status cr_token_write(const struct cr_token *token, struct cr_buffer *text);

// Reads what cr_token_write writes; anything else is CR_INVALID, with a message that does not repeat the
// text. Does not check the expiry.
enum cr_status cr_token_parse(const char *text, struct cr_token *out);

#endif
