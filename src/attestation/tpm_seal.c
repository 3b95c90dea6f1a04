#include "attestation/tpm_seal.h"
#include "attestation/tpm_device.h"
#include "crypto/hash.h"

#include <string.h>
#include <tss2/tss2_mu.h>

static const char magic[] = "carrel-tpm-seal1"; // stored without its terminating zero

// A primary key of the owner hierarchy, the parent of the sealed secret.
static const TPM2B_PUBLIC storage_template = {
    .publicArea = {.type = TPM2_ALG_ECC,
                   .nameAlg = TPM2_ALG_SHA256,
                   .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                       TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                       TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
                   .parameters.eccDetail = {
                       .symmetric = {.algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB},
                       .scheme.scheme = TPM2_ALG_NULL,
                       .curveID = TPM2_ECC_NIST_P256,
                       .kdf.scheme = TPM2_ALG_NULL}}};

// What is stored: magic, the selection (u32), a value for each selected PCR, and what the TPM returned. The
// values only serve to report which PCR changed; the TPM itself enforces them.
struct sealed {
    uint32_t selected;
    unsigned char values[CR_TPM_PCRS][CR_TPM_PCR_SIZE];
    TPM2B_PUBLIC public;
    TPM2B_PRIVATE private;
};

// A TPM, its storage key, and a session that encrypts secrets on their way to or from it.
struct work {
    struct cr_tpm_device device;
    struct cr_tpm_object storage, session;
};

static void work_release(struct work *work)
{
    cr_tpm_flush(&work->session);
    cr_tpm_flush(&work->storage);
    cr_tpm_release(&work->device);
}

static enum cr_status work_begin(struct work *work, const char *path, TPM2_SE kind, TPMA_SESSION encrypted)
{
    static const TPMT_SYM_DEF cipher = {
        .algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};
    const TPMA_SESSION attributes = encrypted | TPMA_SESSION_CONTINUESESSION;
    ESYS_TR handle;
    CR_TRY(cr_tpm_open(path, &work->device));
    CR_TRY(cr_tpm_primary(&work->device, ESYS_TR_RH_OWNER, &storage_template, &work->storage, NULL));
    ESYS_CONTEXT *esys = work->device.esys;
    TSS2_RC code = Esys_StartAuthSession(esys, work->storage.handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                         ESYS_TR_NONE, NULL, kind, &cipher, TPM2_ALG_SHA256, &handle);
    CR_TRY(cr_tpm_check(&work->device, code, "no session can be begun"));
    work->session = (struct cr_tpm_object){&work->device, handle};
    code = Esys_TRSess_SetAttributes(esys, handle, attributes, attributes);
    return cr_tpm_check(&work->device, code, "no session can be begun");
}

static enum cr_status digest_of(uint32_t selected, const unsigned char values[CR_TPM_PCRS][CR_TPM_PCR_SIZE],
                                TPM2B_DIGEST *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer all = {0};
    for (size_t i = 0; i < CR_TPM_PCRS; i++)
        if (selected >> i & 1) CR_TRY(cr_append(&all, values[i], CR_TPM_PCR_SIZE));
    CR_TRY(cr_sha256(cr_buffer_slice(&all), out->buffer));
    out->size = CR_SHA256_SIZE;
    return CR_OK;
}

// The policy digest for these PCR values, computed by the TPM without reading its own PCRs.
static enum cr_status find_policy(const struct work *work, const struct sealed *sealed, TPM2B_DIGEST *out)
{
    static const TPMT_SYM_DEF none = {.algorithm = TPM2_ALG_NULL};
    CR_CLEANUP(cr_tpm_flush) struct cr_tpm_object trial = {.handle = ESYS_TR_NONE};
    TPML_PCR_SELECTION pcrs = cr_tpm_selection(sealed->selected);
    TPM2B_DIGEST wanted = {0}, *policy = NULL;
    ESYS_CONTEXT *esys = work->device.esys;
    ESYS_TR handle;
    CR_TRY(digest_of(sealed->selected, sealed->values, &wanted));
    TSS2_RC code = Esys_StartAuthSession(esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                         ESYS_TR_NONE, NULL, TPM2_SE_TRIAL, &none, TPM2_ALG_SHA256, &handle);
    CR_TRY(cr_tpm_check(&work->device, code, "no session can be begun"));
    trial = (struct cr_tpm_object){&work->device, handle};
    code = Esys_PolicyPCR(esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &wanted, &pcrs);
    CR_TRY(cr_tpm_check(&work->device, code, "no policy can be made"));
    code = Esys_PolicyGetDigest(esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &policy);
    CR_TRY(cr_tpm_check(&work->device, code, "no policy can be made"));
    *out = *policy;
    Esys_Free(policy);
    return CR_OK;
}

static enum cr_status create(const struct work *work, const TPM2B_DIGEST *policy, struct cr_slice secret,
                             struct sealed *sealed)
{
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION creation = {0};
    const TPM2B_PUBLIC template = {
        .publicArea = {.type = TPM2_ALG_KEYEDHASH,
                       .nameAlg = TPM2_ALG_SHA256,
                       .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA,
                       .authPolicy = *policy,
                       .parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL}};
    TPM2B_SENSITIVE_CREATE sensitive = {.sensitive.data.size = (UINT16)secret.size};
    TPM2B_PUBLIC *public = NULL;
    TPM2B_PRIVATE *private = NULL;
    memcpy(sensitive.sensitive.data.buffer, secret.data, secret.size);
    TSS2_RC code =
        Esys_Create(work->device.esys, work->storage.handle, work->session.handle, ESYS_TR_NONE, ESYS_TR_NONE,
                    &sensitive, &template, &outside, &creation, &private, &public, NULL, NULL, NULL);
    cr_wipe(&sensitive, sizeof sensitive);
    CR_TRY(cr_tpm_check(&work->device, code, "it does not seal"));
    sealed->public = *public;
    sealed->private = *private;
    Esys_Free(public);
    Esys_Free(private);
    return CR_OK;
}

static enum cr_status append(const struct sealed *sealed, struct cr_buffer *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer all = {0};
    unsigned char bytes[sizeof sealed->public + sizeof sealed->private];
    size_t size = 0;
    CR_TRY(cr_append(&all, magic, strlen(magic)));
    CR_TRY(cr_append_u32(&all, sealed->selected));
    for (size_t i = 0; i < CR_TPM_PCRS; i++)
        if (sealed->selected >> i & 1) CR_TRY(cr_append(&all, sealed->values[i], CR_TPM_PCR_SIZE));
    if (Tss2_MU_TPM2B_PUBLIC_Marshal(&sealed->public, bytes, sizeof bytes, &size) != TSS2_RC_SUCCESS ||
        Tss2_MU_TPM2B_PRIVATE_Marshal(&sealed->private, bytes, sizeof bytes, &size) != TSS2_RC_SUCCESS)
        return cr_fail(CR_INTERNAL, "what the TPM has sealed cannot be written");
    CR_TRY(cr_append(&all, bytes, size));
    return cr_append(out, all.data, all.size);
}

enum cr_status cr_tpm_seal(const char *path, struct cr_slice secret, struct cr_buffer *out)
{
    if (secret.size == 0 || secret.size > CR_TPM_SEAL_MOST)
        return cr_fail(CR_INVALID, "a TPM seals 1 to %d bytes, not %zu", CR_TPM_SEAL_MOST, secret.size);
    CR_CLEANUP(work_release)
    struct work work = {.storage.handle = ESYS_TR_NONE, .session.handle = ESYS_TR_NONE};
    struct sealed sealed = {.selected = CR_TPM_SEAL_PCRS};
    TPM2B_DIGEST policy;
    CR_TRY(work_begin(&work, path, TPM2_SE_HMAC, TPMA_SESSION_DECRYPT)); // the TPM decrypts what it receives
    CR_TRY(cr_tpm_read_pcrs(&work.device, sealed.values));
    CR_TRY(find_policy(&work, &sealed, &policy));
    CR_TRY(create(&work, &policy, secret, &sealed));
    return append(&sealed, out);
}

static enum cr_status parse(struct cr_slice bytes, struct sealed *out)
{
    struct cr_cursor cursor = cr_cursor_over(bytes);
    struct cr_slice begin = cr_read_slice(&cursor, strlen(magic));
    if (!cr_slice_equal(begin, cr_slice_of_string(magic)))
        return cr_fail(CR_INVALID, "no secret that a TPM has sealed for carrel");
    *out = (struct sealed){.selected = cr_read_u32(&cursor)};
    for (size_t i = 0; i < CR_TPM_PCRS; i++) {
        struct cr_slice value = {NULL, 0};
        if (out->selected >> i & 1) value = cr_read_slice(&cursor, CR_TPM_PCR_SIZE);
        if (value.data) memcpy(out->values[i], value.data, value.size);
    }
    size_t at = cursor.at;
    if (cursor.failed || out->selected >> CR_TPM_PCRS != 0 ||
        Tss2_MU_TPM2B_PUBLIC_Unmarshal(bytes.data, bytes.size, &at, &out->public) != TSS2_RC_SUCCESS ||
        Tss2_MU_TPM2B_PRIVATE_Unmarshal(bytes.data, bytes.size, &at, &out->private) != TSS2_RC_SUCCESS ||
        at != bytes.size)
        return cr_fail(CR_INVALID, "a secret that a TPM has sealed: malformed");
    return CR_OK;
}

// Reports which PCRs have changed. The TPM would refuse too, but without naming them.
static enum cr_status compare(const struct work *work, const struct sealed *sealed)
{
    unsigned char now[CR_TPM_PCRS][CR_TPM_PCR_SIZE];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer changed = {0};
    CR_TRY(cr_tpm_read_pcrs(&work->device, now));
    for (size_t i = 0; i < CR_TPM_PCRS; i++)
        if (sealed->selected >> i & 1 && memcmp(now[i], sealed->values[i], CR_TPM_PCR_SIZE) != 0)
            CR_TRY(cr_append_format(&changed, "%s%zu", changed.size > 0 ? ", " : "", i));
    if (changed.size == 0) return CR_OK;
    return cr_fail(CR_DENIED,
                   "%s: the secret was sealed to other values of PCR %s: this machine was started otherwise "
                   "than then",
                   work->device.link.path, cr_buffer_text(&changed));
}

static enum cr_status load(const struct work *work, const struct sealed *sealed, struct cr_tpm_object *out)
{
    ESYS_TR handle;
    TSS2_RC code = Esys_Load(work->device.esys, work->storage.handle, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                             ESYS_TR_NONE, &sealed->private, &sealed->public, &handle);
    switch (cr_tpm_error(code)) {
    case TPM2_RC_INTEGRITY:
    case TPM2_RC_BINDING:
    case TPM2_RC_SENSITIVE:
    case TPM2_RC_SIZE:
    case TPM2_RC_ATTRIBUTES:
        return cr_fail(CR_DENIED,
                       "%s: the secret was sealed by another TPM, or by this one before it was cleared, or "
                       "was changed since",
                       work->device.link.path);
    default:
        CR_TRY(cr_tpm_check(&work->device, code, "it does not take the sealed secret"));
    }
    *out = (struct cr_tpm_object){&work->device, handle};
    return CR_OK;
}

static enum cr_status open_sealed(const struct work *work, const struct sealed *sealed, unsigned char *out,
                                  size_t size)
{
    CR_CLEANUP(cr_tpm_flush) struct cr_tpm_object object = {.handle = ESYS_TR_NONE};
    TPML_PCR_SELECTION pcrs = cr_tpm_selection(sealed->selected);
    const TPM2B_DIGEST present = {0};
    TPM2B_SENSITIVE_DATA *data = NULL;
    ESYS_CONTEXT *esys = work->device.esys;
    CR_TRY(load(work, sealed, &object));
    TSS2_RC code =
        Esys_PolicyPCR(esys, work->session.handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &present, &pcrs);
    CR_TRY(cr_tpm_check(&work->device, code, "it does not take the policy"));
    code = Esys_Unseal(esys, object.handle, work->session.handle, ESYS_TR_NONE, ESYS_TR_NONE, &data);
    if (cr_tpm_error(code) == TPM2_RC_POLICY_FAIL)
        return cr_fail(CR_DENIED, "%s: the secret was sealed to other values of PCRs than there are now",
                       work->device.link.path);
    CR_TRY(cr_tpm_check(&work->device, code, "it does not unseal"));
    enum cr_status status = CR_OK;
    if (data->size == size)
        memcpy(out, data->buffer, size);
    else
        status = cr_fail(CR_INVALID, "the sealed secret has %u bytes, not %zu", data->size, size);
    cr_wipe(data, sizeof *data);
    Esys_Free(data);
    return status;
}

enum cr_status cr_tpm_unseal(const char *path, struct cr_slice bytes, unsigned char *out, size_t size)
{
    struct sealed sealed;
    CR_TRY(parse(bytes, &sealed));
    CR_CLEANUP(work_release)
    struct work work = {.storage.handle = ESYS_TR_NONE, .session.handle = ESYS_TR_NONE};
    CR_TRY(work_begin(&work, path, TPM2_SE_POLICY, TPMA_SESSION_ENCRYPT)); // the TPM encrypts what it sends
    CR_TRY(compare(&work, &sealed));
    return open_sealed(&work, &sealed, out, size);
}
