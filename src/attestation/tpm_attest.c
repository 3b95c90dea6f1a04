#include "attestation/tpm_attest.h"
#include "attestation/tpm_device.h"
#include "crypto/hash.h"
#include "crypto/signature.h"
#include "format/json.h"

#include <string.h>
#include <tss2/tss2_mu.h>

enum { ATTEMPTS = 4, BOUND_SIZE = 32, P256_SIZE = 32 };

// With the same parameters anybody can make the same key on this TPM (tpm2_createprimary -C e -G
// ecc256:ecdsa-sha256:null with these attributes), for a certificate by credential activation.
static const TPM2B_PUBLIC key_template = {
    .publicArea = {.type = TPM2_ALG_ECC,
                   .nameAlg = TPM2_ALG_SHA256,
                   .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                       TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                       TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT,
                   .parameters.eccDetail = {
                       .symmetric.algorithm = TPM2_ALG_NULL,
                       .scheme = {.scheme = TPM2_ALG_ECDSA, .details.ecdsa.hashAlg = TPM2_ALG_SHA256},
                       .curveID = TPM2_ECC_NIST_P256,
                       .kdf.scheme = TPM2_ALG_NULL}}};

// The parts of a quote; free them with quote_release.
struct quote {
    TPM2B_ATTEST *message;
    TPMT_SIGNATURE *signature;
};

static void quote_release(struct quote *quote)
{
    Esys_Free(quote->message);
    Esys_Free(quote->signature);
    *quote = (struct quote){0};
}

static struct cr_slice message_of(const struct quote *quote)
{
    return (struct cr_slice){quote->message->attestationData, quote->message->size};
}

static enum cr_status ask(const struct cr_tpm_object *key, const unsigned char *bound, struct quote *out)
{
    TPM2B_DATA data = {.size = BOUND_SIZE};
    memcpy(data.buffer, bound, BOUND_SIZE);
    const TPMT_SIG_SCHEME of_key = {.scheme = TPM2_ALG_NULL};
    const TPML_PCR_SELECTION all = cr_tpm_selection((1U << CR_TPM_PCRS) - 1);
    TSS2_RC code = Esys_Quote(key->device->esys, key->handle, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                              &data, &of_key, &all, &out->message, &out->signature);
    return cr_tpm_check(key->device, code, "no quote can be had");
}

// Whether the quote is over these values: PCRs may be extended between reading and quoting.
static enum cr_status is_over(const struct quote *quote,
                              const unsigned char pcrs[CR_TPM_PCRS][CR_TPM_PCR_SIZE], bool *out)
{
    struct cr_tpm_quote parsed;
    unsigned char digest[CR_SHA256_SIZE];
    CR_TRY(cr_tpm_quote_parse(message_of(quote), &parsed));
    CR_TRY(cr_sha256((struct cr_slice){pcrs[0], CR_TPM_PCRS * CR_TPM_PCR_SIZE}, digest));
    *out = cr_slice_equal(parsed.digest, (struct cr_slice){digest, sizeof digest});
    return CR_OK;
}

static enum cr_status append_signature(const TPMT_SIGNATURE *signature, struct cr_buffer *out)
{
    unsigned char bytes[sizeof *signature];
    size_t size = 0;
    if (Tss2_MU_TPMT_SIGNATURE_Marshal(signature, bytes, sizeof bytes, &size) != TSS2_RC_SUCCESS)
        return cr_fail(CR_INTERNAL, "the TPM's signature cannot be written");
    return cr_json_append_hex(out, "signature", (struct cr_slice){bytes, size});
}

static void put_coordinate(const TPM2B_ECC_PARAMETER *number, unsigned char *out)
{
    size_t size = cr_least(number->size, P256_SIZE);
    memset(out, 0, P256_SIZE);
    memcpy(out + P256_SIZE - size, number->buffer, size);
}

static enum cr_status append_key(const TPM2B_PUBLIC *public, struct cr_buffer *out)
{
    unsigned char point[2 * P256_SIZE];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer pem = {0};
    put_coordinate(&public->publicArea.unique.ecc.x, point);
    put_coordinate(&public->publicArea.unique.ecc.y, point + P256_SIZE);
    CR_TRY(cr_ecdsa_key_pem((struct cr_slice){point, sizeof point}, &pem));
    CR_TRY(cr_append_format(out, "\"public_key\": "));
    return cr_json_append_string(out, cr_buffer_slice(&pem));
}

static enum cr_status append_evidence(const struct quote *quote, const TPM2B_PUBLIC *public,
                                      const unsigned char pcrs[CR_TPM_PCRS][CR_TPM_PCR_SIZE],
                                      struct cr_buffer *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append_format(&text, "{"));
    CR_TRY(cr_json_append_hex(&text, "message", message_of(quote)));
    CR_TRY(cr_append_format(&text, ", "));
    CR_TRY(append_signature(quote->signature, &text));
    CR_TRY(cr_append_format(&text, ", "));
    CR_TRY(append_key(public, &text));
    CR_TRY(cr_append_format(&text, ", \"pcrs\": ["));
    for (size_t i = 0; i < CR_TPM_PCRS; i++)
        CR_TRY(cr_json_append_hex_item(&text, i, (struct cr_slice){pcrs[i], CR_TPM_PCR_SIZE}));
    CR_TRY(cr_append_format(&text, "]}\n"));
    return cr_append(out, text.data, text.size);
}

// Repeats reading and quoting until the values agree.
static enum cr_status quote_pcrs(const struct cr_tpm_object *key, const unsigned char *bound,
                                 const TPM2B_PUBLIC *public, struct cr_buffer *out)
{
    for (size_t i = 0; i < ATTEMPTS; i++) {
        unsigned char pcrs[CR_TPM_PCRS][CR_TPM_PCR_SIZE];
        CR_CLEANUP(quote_release) struct quote quote = {0};
        bool same = false;
        CR_TRY(cr_tpm_read_pcrs(key->device, pcrs));
        CR_TRY(ask(key, bound, &quote));
        CR_TRY(is_over(&quote, pcrs, &same));
        if (same) return append_evidence(&quote, public, pcrs, out);
    }
    return cr_fail(CR_IO, "%s: PCRs changed while they were quoted, %d times in a row",
                   key->device->link.path, ATTEMPTS);
}

enum cr_status cr_tpm_attest(const char *path, const unsigned char report_data[CR_REPORT_DATA_SIZE],
                             enum cr_evidence_type *type, struct cr_buffer *out)
{
    if (!cr_slice_is_zero((struct cr_slice){report_data + BOUND_SIZE, CR_REPORT_DATA_SIZE - BOUND_SIZE}))
        return cr_fail(CR_INVALID, "a TPM's quote is bound to %d bytes of report data, not to more",
                       BOUND_SIZE);
    CR_CLEANUP(cr_tpm_release) struct cr_tpm_device device = {0};
    CR_CLEANUP(cr_tpm_flush) struct cr_tpm_object key = {.handle = ESYS_TR_NONE};
    TPM2B_PUBLIC *public = NULL;
    CR_TRY(cr_tpm_open(path, &device));
    CR_TRY(cr_tpm_primary(&device, ESYS_TR_RH_ENDORSEMENT, &key_template, &key, &public));
    enum cr_status status = quote_pcrs(&key, report_data, public, out);
    Esys_Free(public);
    CR_TRY(status);
    *type = CR_EVIDENCE_TPM;
    return CR_OK;
}
