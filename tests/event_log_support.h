// Event logs of a test's own, and what extending a register is.
#ifndef CARREL_TESTS_EVENT_LOG_SUPPORT_H
#define CARREL_TESTS_EVENT_LOG_SUPPORT_H

#include "support.h"

#include "attestation/tpm.h"
#include "base/bytes.h"

#include <openssl/evp.h>

static inline void put_log_header(struct cr_buffer *out)
{
    unsigned char zeros[20] = {0};
    struct cr_buffer event = {0};
    assert_ok(cr_append(&event, "Spec ID Event03", 16));
    assert_ok(cr_append_u32(&event, 0));
    assert_ok(cr_append(&event, "\x00\x02\x00\x02", 4));
    assert_ok(cr_append_u32(&event, 2));
    assert_ok(cr_append_u16(&event, CR_TPM_SHA256));
    assert_ok(cr_append_u16(&event, 32));
    assert_ok(cr_append_u16(&event, CR_TPM_SHA384));
    assert_ok(cr_append_u16(&event, 48));
    assert_ok(cr_append_u8(&event, 0));
    assert_ok(cr_append_u32(out, 0));
    assert_ok(cr_append_u32(out, 3));
    assert_ok(cr_append(out, zeros, sizeof zeros));
    assert_ok(cr_append_u32(out, (uint32_t)event.size));
    assert_ok(cr_append(out, event.data, event.size));
    cr_buffer_release(&event);
}

// An event with digests of both banks, all bytes `fill`.
static inline void put_event(struct cr_buffer *out, uint32_t number, uint32_t type, int fill,
                             const char *data, size_t size)
{
    unsigned char digest[48];
    memset(digest, fill, sizeof digest);
    assert_ok(cr_append_u32(out, number));
    assert_ok(cr_append_u32(out, type));
    assert_ok(cr_append_u32(out, 2));
    assert_ok(cr_append_u16(out, CR_TPM_SHA256));
    assert_ok(cr_append(out, digest, 32));
    assert_ok(cr_append_u16(out, CR_TPM_SHA384));
    assert_ok(cr_append(out, digest, 48));
    assert_ok(cr_append_u32(out, (uint32_t)size));
    assert_ok(cr_append(out, data, size));
}

// value = H(value ‖ digest), by OpenSSL's own words.
static inline void extend(unsigned char *value, const unsigned char *digest, size_t size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_DigestInit_ex(context, size == 32 ? EVP_sha256() : EVP_sha384(), NULL);
    EVP_DigestUpdate(context, value, size);
    EVP_DigestUpdate(context, digest, size);
    EVP_DigestFinal_ex(context, value, NULL);
    EVP_MD_CTX_free(context);
}

#endif
