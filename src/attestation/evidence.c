#include "attestation/evidence.h"
#include "attestation/amd.h"
#include "attestation/der.h"
#include "attestation/development.h"
#include "attestation/encoding.h"
#include "attestation/hcl.h"
#include "attestation/pck.h"
#include "attestation/quote.h"
#include "attestation/report.h"
#include "attestation/tpm.h"
#include "crypto/x509.h"
#include "format/cbor.h"
#include "format/json.h"

#include <string.h>

enum {
    DEPTH = 4, // levels of nesting
    TEE_AT = 4,
    TEE_TDX = 0x81,
};

#define OID_WRAPPER "2.23.133.5.4.9"        // conceptual message wrapper (TCG DICE), of interoperable RA-TLS
#define OID_GRAMINE "1.2.840.113741.1337.6" // a quote by itself, of Gramine's older RA-TLS

static const char *const type_names[] = {[CR_EVIDENCE_SGX] = "sgx",
                                         [CR_EVIDENCE_TDX] = "tdx",
                                         [CR_EVIDENCE_SNP] = "snp",
                                         [CR_EVIDENCE_TPM] = "tpm",
                                         [CR_EVIDENCE_CERTIFICATE] = "certificate",
                                         [CR_EVIDENCE_DEVELOPMENT] = "development"};

const char *cr_evidence_type_name(enum cr_evidence_type type)
{
    return type_names[type];
}

bool cr_evidence_type_parse(const char *name, enum cr_evidence_type *out)
{
    for (size_t i = 0; i < CR_EVIDENCE_TYPES; i++) {
        if (strcmp(type_names[i], name) != 0) continue;
        *out = (enum cr_evidence_type)i;
        return true;
    }
    return false;
}

// The state of a search: what is wanted, and what was found.
struct search {
    const enum cr_evidence_type *wanted;
    struct cr_evidence *out;
    size_t found; // number of different ones
    // The current place of the search.
    const struct cr_x509 *certificate; // within this one's extension, or NULL
    struct cr_slice claims;            // beside the evidence, or {NULL, 0}
};

void cr_evidence_release(struct cr_evidence *evidence)
{
    cr_buffer_release(&evidence->bytes);
    cr_buffer_release(&evidence->certificate);
    cr_buffer_release(&evidence->claims);
}

enum cr_status cr_evidence_pad(struct cr_slice bytes, unsigned char out[CR_REPORT_DATA_SIZE])
{
    if (bytes.size > CR_REPORT_DATA_SIZE)
        return cr_fail(CR_INVALID, "%zu bytes of report data, not up to %d", bytes.size, CR_REPORT_DATA_SIZE);
    memset(out, 0, CR_REPORT_DATA_SIZE);
    memcpy(out, bytes.data, bytes.size);
    return CR_OK;
}

static enum cr_status read_tpm(struct cr_slice text, unsigned char out[CR_REPORT_DATA_SIZE])
{
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer message = {0};
    struct cr_tpm_quote quote;
    CR_TRY(cr_json_parse(text, "TPM quote", &root));
    CR_TRY(cr_encoding_value(cr_json_member(root, "message"), &message));
    CR_TRY(cr_tpm_quote_parse(cr_buffer_slice(&message), &quote));
    return cr_evidence_pad(quote.extra_data, out);
}

enum cr_status cr_evidence_report_data(const struct cr_evidence *evidence,
                                       unsigned char out[CR_REPORT_DATA_SIZE])
{
    struct cr_slice bytes = cr_buffer_slice(&evidence->bytes);
    struct cr_quote quote;
    struct cr_snp_report report;
    struct cr_development development;
    switch (evidence->type) {
    case CR_EVIDENCE_SGX:
    case CR_EVIDENCE_TDX:
        CR_TRY(cr_quote_parse(bytes, &quote));
        return cr_evidence_pad(quote.is_td ? quote.td.report_data : quote.sgx.report_data, out);
    case CR_EVIDENCE_SNP:
        CR_TRY(cr_snp_report_parse(bytes, &report));
        return cr_evidence_pad(report.report_data, out);
    case CR_EVIDENCE_DEVELOPMENT:
        CR_TRY(cr_development_parse(bytes, &development));
        return cr_evidence_pad(development.report_data, out);
    case CR_EVIDENCE_TPM:
        return read_tpm(bytes, out);
    case CR_EVIDENCE_CERTIFICATE:
    case CR_EVIDENCE_TYPES:
        break;
    }
    return cr_fail(CR_UNSUPPORTED, "evidence of this type has no report data");
}

static bool recognize(struct cr_slice bytes, enum cr_evidence_type *type)
{
    struct cr_hcl hcl;
    if (cr_quote_is_one(bytes))
        *type = bytes.data[TEE_AT] == TEE_TDX ? CR_EVIDENCE_TDX : CR_EVIDENCE_SGX;
    else if (cr_snp_report_is_one(bytes) ||
             (cr_hcl_is_one(bytes) && cr_hcl_parse(bytes, &hcl) == CR_OK && hcl.kind == CR_HCL_SNP))
        *type = CR_EVIDENCE_SNP;
    else if (cr_development_is_one(bytes))
        *type = CR_EVIDENCE_DEVELOPMENT;
    else
        return false;
    return true;
}

static enum cr_status take(struct search *search, struct cr_slice bytes, enum cr_evidence_type type)
{
    if (search->wanted && *search->wanted != type) return CR_OK;
    if (search->found > 0 && cr_slice_equal(cr_buffer_slice(&search->out->bytes), bytes)) return CR_OK;
    if (search->found++ > 0) return CR_OK;
    search->out->type = type;
    if (search->certificate) CR_TRY(cr_x509_append_der(search->certificate, &search->out->certificate));
    CR_TRY(cr_append(&search->out->claims, search->claims.data, search->claims.size));
    return cr_append(&search->out->bytes, bytes.data, bytes.size);
}

// Takes the object if it is a TPM's quote, with its bytes rewritten as hexadecimal.
static enum cr_status take_tpm(struct search *search, const struct cr_json *object)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer message = {0}, signature = {0}, text = {0};
    const struct cr_json *pcrs = cr_json_member(object, "pcrs");
    if (cr_encoding_value(cr_json_member(object, "message"), &message) != CR_OK ||
        cr_encoding_value(cr_json_member(object, "signature"), &signature) != CR_OK ||
        !cr_tpm_quote_is_one(cr_buffer_slice(&message)))
        return CR_OK;
    CR_TRY(cr_append(&text, "{", 1));
    CR_TRY(cr_json_append_hex(&text, "message", cr_buffer_slice(&message)));
    CR_TRY(cr_append(&text, ", ", 2));
    CR_TRY(cr_json_append_hex(&text, "signature", cr_buffer_slice(&signature)));
    CR_TRY(cr_append_format(&text, ", \"pcrs\": ["));
    for (size_t i = 0; i < cr_json_count(pcrs); i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer value = {0};
        if (cr_encoding_value(cr_json_at(pcrs, i), &value) != CR_OK) return CR_OK;
        CR_TRY(cr_json_append_hex_item(&text, i, cr_buffer_slice(&value)));
    }
    CR_TRY(cr_append(&text, "]}", 2));
    return take(search, cr_buffer_slice(&text), CR_EVIDENCE_TPM);
}

static enum cr_status look(struct search *search, struct cr_slice bytes, size_t depth);

static enum cr_status look_at_value(struct search *search, const struct cr_json *value, size_t depth)
{
    struct cr_slice text = cr_json_string(value);
    if (text.size > 0) return look(search, text, depth + 1);
    if (cr_json_kind(value) == CR_JSON_ARRAY) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
        bool is_one;
        CR_TRY(cr_encoding_list(value, &bytes, &is_one));
        if (is_one) return look(search, cr_buffer_slice(&bytes), depth + 1);
        for (size_t i = 0; i < cr_json_count(value); i++)
            CR_TRY(look_at_value(search, cr_json_at(value, i), depth));
    }
    if (cr_json_kind(value) == CR_JSON_OBJECT) {
        if (search->wanted && *search->wanted == CR_EVIDENCE_TPM) CR_TRY(take_tpm(search, value));
        void *position = NULL;
        const char *key;
        const struct cr_json *member;
        while (cr_json_next(value, &position, &key, &member)) CR_TRY(look_at_value(search, member, depth));
    }
    return CR_OK;
}

static bool is_cbor(struct cr_slice bytes)
{
    // Only a tag, a list or a map can contain evidence.
    struct cr_cursor cursor = cr_cursor_over(bytes);
    struct cr_cbor_item item;
    if (!cr_cbor_next(&cursor, &item) ||
        (item.kind != CR_CBOR_TAG && item.kind != CR_CBOR_ARRAY && item.kind != CR_CBOR_MAP))
        return false;
    cursor = cr_cursor_over(bytes);
    return cr_cbor_skip(&cursor) && cr_cursor_left(&cursor) == 0;
}

// Searches one item, which is known to be complete. A list of two byte strings is evidence with the claims to
// which it is bound.
static enum cr_status look_at_cbor(struct search *search, struct cr_cursor *cursor, size_t depth)
{
    struct cr_cbor_item item, second;
    enum cr_evidence_type type;
    cr_cbor_next(cursor, &item);
    if (item.kind == CR_CBOR_BYTES) return look(search, item.bytes, depth + 1);
    uint64_t parts = item.kind == CR_CBOR_MAP     ? 2 * item.number
                     : item.kind == CR_CBOR_ARRAY ? item.number
                                                  : 0;
    if (item.kind == CR_CBOR_TAG) parts = 1;
    if (item.kind == CR_CBOR_ARRAY && item.number == 2) {
        struct cr_cursor ahead = *cursor;
        cr_cbor_next(&ahead, &item);
        if (item.kind == CR_CBOR_BYTES && recognize(item.bytes, &type) && cr_cbor_next(&ahead, &second) &&
            second.kind == CR_CBOR_BYTES) {
            *cursor = ahead;
            search->claims = second.bytes;
            enum cr_status status = take(search, item.bytes, type);
            search->claims = (struct cr_slice){NULL, 0};
            return status;
        }
    }
    for (uint64_t i = 0; i < parts; i++) CR_TRY(look_at_cbor(search, cursor, depth));
    return CR_OK;
}

static enum cr_status look_at_extension(struct search *search, const struct cr_x509 *certificate,
                                        const char *oid)
{
    struct cr_slice content;
    if (!cr_x509_extension(certificate, oid, &content)) return CR_OK;
    struct cr_cursor cursor = cr_cursor_over(content);
    struct cr_slice inner = cr_der_read(&cursor, CR_DER_OCTETS); // some have a second wrapping
    if (!cursor.failed && cr_cursor_left(&cursor) == 0) content = inner;
    search->certificate = certificate;
    enum cr_status status = look(search, content, 1);
    search->certificate = NULL;
    return status;
}

static enum cr_status take_certificate(struct search *search, const struct cr_x509 *certificate)
{
    struct cr_slice extension;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer der = {0};
    if (!cr_amd_key_is_one(certificate) && !cr_x509_extension(certificate, CR_PCK_OID, &extension))
        return CR_OK;
    CR_TRY(cr_x509_append_der(certificate, &der));
    return take(search, cr_buffer_slice(&der), CR_EVIDENCE_CERTIFICATE);
}

// Searches the extensions of certificates, if the bytes are certificates; *are tells whether they are.
static enum cr_status look_at_certificates(struct search *search, struct cr_slice bytes, bool *are)
{
    size_t found = 0;
    CR_CLEANUP(cr_x509_pool_release) struct cr_x509_pool *pool = NULL;
    CR_TRY(cr_x509_pool_new(&pool));
    CR_TRY(cr_x509_pool_add(pool, bytes, &found));
    *are = cr_x509_pool_count(pool) > 0;
    for (size_t i = 0; i < cr_x509_pool_count(pool); i++) {
        if (search->wanted && *search->wanted == CR_EVIDENCE_CERTIFICATE)
            CR_TRY(take_certificate(search, cr_x509_pool_at(pool, i)));
        CR_TRY(look_at_extension(search, cr_x509_pool_at(pool, i), OID_WRAPPER));
        CR_TRY(look_at_extension(search, cr_x509_pool_at(pool, i), OID_GRAMINE));
    }
    return CR_OK;
}

static enum cr_status look(struct search *search, struct cr_slice bytes, size_t depth)
{
    enum cr_evidence_type type;
    if (recognize(bytes, &type)) return take(search, bytes, type);
    if (depth > DEPTH) return CR_OK;
    if (is_cbor(bytes)) {
        struct cr_cursor cursor = cr_cursor_over(bytes);
        return look_at_cbor(search, &cursor, depth);
    }
    bool are_certificates;
    if (!search->certificate) {
        CR_TRY(look_at_certificates(search, bytes, &are_certificates));
        if (are_certificates) return CR_OK;
    }
    size_t at = 0;
    while (at < bytes.size && memchr(" \t\r\n", bytes.data[at], 4)) at++;
    if (at < bytes.size && (bytes.data[at] == '{' || bytes.data[at] == '[')) {
        CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
        enum cr_status status = cr_json_parse(bytes, "evidence", &root);
        if (status == CR_OK) return look_at_value(search, root, depth);
        if (depth == 0 || status != CR_INVALID) return status;
        return CR_OK;
    }
    CR_CLEANUP(cr_buffer_release) struct cr_buffer decoded = {0};
    enum cr_status status = cr_encoding_decode(bytes, &decoded);
    if (status == CR_OK) return look(search, cr_buffer_slice(&decoded), depth + 1);
    return status == CR_INVALID ? CR_OK : status;
}

static bool is_text(struct cr_slice bytes)
{
    size_t bad_at;
    return cr_utf8_valid(bytes, &bad_at) && !memchr(bytes.data, 0, bytes.size);
}

enum cr_status cr_evidence_find(struct cr_slice file, const enum cr_evidence_type *wanted,
                                struct cr_evidence *out)
{
    struct cr_evidence evidence = {0};
    struct search search = {.wanted = wanted, .out = &evidence};
    enum cr_status status = look(&search, file, 0);
    static const enum cr_evidence_type last[] = {CR_EVIDENCE_TPM, CR_EVIDENCE_CERTIFICATE};
    for (size_t i = 0; i < sizeof last / sizeof *last && status == CR_OK && search.found == 0 && !wanted;
         i++) {
        search.wanted = &last[i];
        status = look(&search, file, 0);
    }
    if (status == CR_OK && search.found == 0 && wanted && file.size > 0 && !is_text(file))
        status = take(&search, file, *wanted);
    if (status == CR_OK && search.found == 0)
        status = cr_fail(CR_INVALID, wanted ? "no evidence of type %s" : "no evidence that is known%s",
                         wanted ? type_names[*wanted] : "");
    if (status == CR_OK && search.found > 1)
        status = cr_fail(CR_INVALID, "%zu pieces of evidence, of which one can be appraised%s", search.found,
                         wanted ? "" : " (--type chooses a type)");
    if (status == CR_OK)
        *out = evidence;
    else
        cr_evidence_release(&evidence);
    return status;
}
