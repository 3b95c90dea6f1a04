#include "attestation/evidence.h"
#include "attestation/encoding.h"
#include "attestation/hcl.h"
#include "attestation/quote.h"
#include "attestation/report.h"
#include "attestation/tpm.h"
#include "format/json.h"

#include <string.h>

enum {
    DEPTH = 4, // text within text
    TEE_AT = 4,
    TEE_TDX = 0x81,
};

static const char *const type_names[] = {[CR_EVIDENCE_SGX] = "sgx",
                                         [CR_EVIDENCE_TDX] = "tdx",
                                         [CR_EVIDENCE_SNP] = "snp",
                                         [CR_EVIDENCE_TPM] = "tpm"};

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

// What is looked for, and what was found.
struct search {
    const enum cr_evidence_type *wanted;
    struct cr_evidence *out;
    size_t found; // different ones
};

static bool recognize(struct cr_slice bytes, enum cr_evidence_type *type)
{
    struct cr_hcl hcl;
    if (cr_quote_is_one(bytes))
        *type = bytes.data[TEE_AT] == TEE_TDX ? CR_EVIDENCE_TDX : CR_EVIDENCE_SGX;
    else if (cr_snp_report_is_one(bytes) ||
             (cr_hcl_is_one(bytes) && cr_hcl_parse(bytes, &hcl) == CR_OK && hcl.kind == CR_HCL_SNP))
        *type = CR_EVIDENCE_SNP;
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
    return cr_append(&search->out->bytes, bytes.data, bytes.size);
}

static enum cr_status append_hex(struct cr_buffer *out, const char *key, const struct cr_buffer *bytes)
{
    if (key) return cr_json_append_hex(out, key, cr_buffer_slice(bytes));
    CR_FREE char *hex = NULL;
    CR_TRY(cr_allocate(2 * bytes->size + 1, 1, &hex));
    cr_hex_encode(cr_buffer_slice(bytes), hex);
    return cr_append_format(out, "\"%s\"", hex);
}

// A TPM's quote, where the object is one, with its bytes as hexadecimal, whichever way they were written.
static enum cr_status take_tpm(struct search *search, const struct cr_json *object)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer message = {0}, signature = {0}, text = {0};
    const struct cr_json *pcrs = cr_json_member(object, "pcrs");
    if (cr_encoding_value(cr_json_member(object, "message"), &message) != CR_OK ||
        cr_encoding_value(cr_json_member(object, "signature"), &signature) != CR_OK ||
        !cr_tpm_quote_is_one(cr_buffer_slice(&message)))
        return CR_OK;
    CR_TRY(cr_append(&text, "{", 1));
    CR_TRY(append_hex(&text, "message", &message));
    CR_TRY(cr_append(&text, ", ", 2));
    CR_TRY(append_hex(&text, "signature", &signature));
    CR_TRY(cr_append_format(&text, ", \"pcrs\": ["));
    for (size_t i = 0; i < cr_json_count(pcrs); i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer value = {0};
        if (cr_encoding_value(cr_json_at(pcrs, i), &value) != CR_OK) return CR_OK;
        if (i > 0) CR_TRY(cr_append(&text, ", ", 2));
        CR_TRY(append_hex(&text, NULL, &value));
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

static enum cr_status look(struct search *search, struct cr_slice bytes, size_t depth)
{
    enum cr_evidence_type type;
    if (recognize(bytes, &type)) return take(search, bytes, type);
    if (depth > DEPTH) return CR_OK;
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
    static const enum cr_evidence_type tpm = CR_EVIDENCE_TPM;
    if (status == CR_OK && search.found == 0 && !wanted) {
        search.wanted = &tpm;
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
        cr_buffer_release(&evidence.bytes);
    return status;
}
