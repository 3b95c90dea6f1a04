#include "attestation/ra_tls.h"
#include "attestation/judge.h"
#include "format/cbor.h"

#include <string.h>

enum { SHA256_ID = 1, SHA384_ID = 7, SHA512_ID = 8 }; // IANA, named information

// CR_DENIED unless the report data are the SHA-256 of the bytes, padded with zeros.
static enum cr_status check_hash(struct cr_slice bytes, struct cr_slice report_data, const char *what)
{
    unsigned char wanted[CR_REPORT_DATA_SIZE] = {0};
    CR_TRY(cr_sha256(bytes, wanted));
    if (report_data.size != sizeof wanted || memcmp(wanted, report_data.data, sizeof wanted) != 0)
        return cr_fail(CR_DENIED, "the evidence is not bound to %s", what);
    return CR_OK;
}

// Finds the values of the known claims; {NULL, 0} for absent ones.
static enum cr_status parse_claims(struct cr_slice claims, struct cr_slice *key_hash, struct cr_slice *nonce)
{
    struct cr_cursor cursor = cr_cursor_over(claims);
    struct cr_cbor_item map, key, value;
    bool good = cr_cbor_next(&cursor, &map) && map.kind == CR_CBOR_MAP;
    for (uint64_t i = 0; good && i < map.number; i++) {
        struct cr_cursor ahead = cursor;
        good = cr_cbor_next(&ahead, &key) && cr_cbor_next(&ahead, &value) && cr_cbor_skip(&cursor) &&
               cr_cbor_skip(&cursor);
        if (!good || key.kind != CR_CBOR_TEXT || value.kind != CR_CBOR_BYTES) continue;
        struct cr_slice *place = cr_slice_equal(key.bytes, cr_slice_of_string("pubkey-hash")) ? key_hash
                                 : cr_slice_equal(key.bytes, cr_slice_of_string("nonce"))     ? nonce
                                                                                              : NULL;
        if (place && place->data) good = false; // a duplicate
        if (place) *place = value.bytes;
    }
    if (!good || cr_cursor_left(&cursor) > 0)
        return cr_fail(CR_INVALID, "the claims beside the evidence are malformed");
    if (!key_hash->data) return cr_fail(CR_DENIED, "the claims beside the evidence lack pubkey-hash");
    return CR_OK;
}

// pubkey-hash is [hash algorithm, hash of the key].
static enum cr_status check_key_hash(struct cr_slice key_hash, struct cr_slice key)
{
    unsigned char wanted[CR_SHA512_SIZE];
    struct cr_cursor cursor = cr_cursor_over(key_hash);
    struct cr_cbor_item pair, algorithm, hash;
    if (!cr_cbor_next(&cursor, &pair) || pair.kind != CR_CBOR_ARRAY || pair.number != 2 ||
        !cr_cbor_next(&cursor, &algorithm) || algorithm.kind != CR_CBOR_UNSIGNED ||
        !cr_cbor_next(&cursor, &hash) || hash.kind != CR_CBOR_BYTES || cr_cursor_left(&cursor) > 0)
        return cr_fail(CR_INVALID, "the claim pubkey-hash is malformed");
    size_t size;
    switch (algorithm.number) {
    case SHA256_ID:
        size = CR_SHA256_SIZE;
        CR_TRY(cr_sha256(key, wanted));
        break;
    case SHA384_ID:
        size = CR_SHA384_SIZE;
        CR_TRY(cr_sha384(key, wanted));
        break;
    case SHA512_ID:
        size = CR_SHA512_SIZE;
        CR_TRY(cr_sha512(key, wanted));
        break;
    default:
        return cr_fail(CR_UNSUPPORTED, "the claim pubkey-hash is by an algorithm that is not known");
    }
    if (!cr_slice_equal(hash.bytes, (struct cr_slice){wanted, size}))
        return cr_fail(CR_DENIED, "the evidence speaks of another key than the certificate's");
    return CR_OK;
}

static enum cr_status judge_claims(struct cr_slice claims, struct cr_slice report_data,
                                   struct cr_slice *key_hash, struct cr_appraisal *appraisal)
{
    struct cr_slice nonce = {NULL, 0};
    bool bound;
    CR_TRY(cr_found(appraisal, "claims", check_hash(claims, report_data, "the claims beside it"), &bound));
    enum cr_status status = parse_claims(claims, key_hash, &nonce);
    if (status != CR_OK) return cr_found(appraisal, "claims_form", status, NULL);
    CR_TRY(cr_claim_hex(appraisal, "pubkey_hash", *key_hash));
    return nonce.data ? cr_claim_hex(appraisal, "nonce", nonce) : CR_OK;
}

static enum cr_status judge_certificate(const struct cr_x509 *certificate, const struct cr_grounds *grounds,
                                        struct cr_appraisal *appraisal)
{
    const struct cr_chain alone = {.links = {certificate}, .count = 1};
    CR_TRY(cr_found(appraisal, "certificate", cr_x509_check_own_signature(certificate), NULL));
    return cr_judge_validity(appraisal, "certificate_validity", &alone, grounds);
}

enum cr_status cr_ra_tls_judge(const struct cr_evidence *evidence, struct cr_slice report_data,
                               const struct cr_grounds *grounds, struct cr_appraisal *appraisal)
{
    struct cr_slice key_hash = {NULL, 0}, claims = cr_buffer_slice(&evidence->claims);
    if (claims.size > 0) CR_TRY(judge_claims(claims, report_data, &key_hash, appraisal));
    if (evidence->certificate.size == 0) return CR_OK;
    size_t found = 0;
    CR_CLEANUP(cr_x509_pool_release) struct cr_x509_pool *pool = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer key = {0};
    CR_TRY(cr_x509_pool_new(&pool));
    CR_TRY(cr_x509_pool_add(pool, cr_buffer_slice(&evidence->certificate), &found));
    if (cr_x509_pool_count(pool) == 0)
        return cr_found_wrong(appraisal, "certificate", NULL, false,
                              "the certificate around the evidence cannot be read");
    const struct cr_x509 *certificate = cr_x509_pool_at(pool, 0);
    enum cr_status status = cr_x509_append_key(certificate, &key);
    if (status != CR_OK) return cr_found(appraisal, "certificate_key", status, NULL);
    if (key_hash.data)
        CR_TRY(cr_found(appraisal, "certificate_key", check_key_hash(key_hash, cr_buffer_slice(&key)), NULL));
    else if (claims.size == 0)
        CR_TRY(cr_found(
            appraisal, "certificate_key",
            check_hash(cr_buffer_slice(&key), report_data, "the key of the certificate that carries it"),
            NULL));
    return judge_certificate(certificate, grounds, appraisal);
}
