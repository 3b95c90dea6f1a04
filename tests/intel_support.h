// A platform such as Intel makes, of a test's own keys: its certificates and collateral, and quotes by it. A
// test sets what it wants to be different and builds.
#ifndef CARREL_TESTS_INTEL_SUPPORT_H
#define CARREL_TESTS_INTEL_SUPPORT_H

#include "pki_support.h"

#include "attestation/endorsements.h"

#include <openssl/sha.h>

enum {
    NOW = 1750000000, // 2025-06-15T15:06:40Z
    REPORT_SIZE = 384,
    TD_SIZE = 584,
    TD_15_SIZE = 648,
    HEADER = 48,
};

// Everything but the keys is filled in by platform_make with what passes every check.
struct platform {
    struct party root, pck_ca, pck, signer;
    EVP_PKEY *attestation_key;
    // Collateral.
    const char *platform_status, *module_status, *qe_status;
    int64_t info_begins, info_ends, identity_begins, identity_ends, crl_begins, crl_ends;
    const struct party *revoked_by_ca, *revoked_by_root;
    bool no_crls;
    unsigned char level_svn; // that the first level asks of every component
    unsigned pce_svn;        // and of the PCE
    unsigned td_svn;         // that all levels ask of a TD's first component
    unsigned evaluation;     // tcbEvaluationDataNumber
    size_t components;       // of each level
    bool no_td_components;
    // The quote.
    uint16_t version, body_type; // body_type: of version 5
    bool is_td;
    unsigned char report[TD_15_SIZE]; // the body
    unsigned char qe_report[REPORT_SIZE];
    uint16_t certification;
};

static const unsigned char fmspc[6] = {0x00, 0x90, 0x6e, 0xa1, 0x00, 0x00};

static inline void put_oid(struct cr_buffer *out, unsigned first, unsigned second)
{
    unsigned char oid[11] = {
        0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01, (unsigned char)first, (unsigned char)second};
    put_der(out, 0x06, oid, second ? 11 : 10);
}

// Appends SEQUENCE { OID, value }.
static inline void put_pair(struct cr_buffer *out, unsigned first, unsigned second, uint8_t tag,
                            const void *value, size_t size)
{
    struct cr_buffer pair = {0};
    put_oid(&pair, first, second);
    put_der(&pair, tag, value, size);
    put_der(out, 0x30, pair.data, pair.size);
    cr_buffer_release(&pair);
}

// The extension of a PCK certificate: every component and the PCE have this SVN.
static inline void put_sgx_extension(struct cr_buffer *out, unsigned char svn)
{
    struct cr_buffer tcb = {0}, all = {0};
    unsigned char ppid[16] = {1}, pce_id[2] = {0}, type = 0;
    for (unsigned i = 1; i <= 17; i++) put_pair(&tcb, 2, i, 0x02, &svn, 1);
    put_pair(&tcb, 2, 18, 0x04, ppid, sizeof ppid);
    put_pair(&all, 1, 0, 0x04, ppid, sizeof ppid);
    put_pair(&all, 2, 0, 0x30, tcb.data, tcb.size);
    put_pair(&all, 3, 0, 0x04, pce_id, sizeof pce_id);
    put_pair(&all, 4, 0, 0x04, fmspc, sizeof fmspc);
    put_pair(&all, 5, 0, 0x0a, &type, 1);
    put_der(out, 0x30, all.data, all.size);
    cr_buffer_release(&tcb);
    cr_buffer_release(&all);
}

static inline void platform_make(struct platform *p, uint16_t version, bool is_td)
{
    struct cr_buffer extension = {0};
    int64_t begins = NOW - YEAR, ends = NOW + YEAR;
    *p = (struct platform){.platform_status = "UpToDate",
                           .module_status = "UpToDate",
                           .qe_status = "UpToDate",
                           .info_begins = NOW - DAY,
                           .info_ends = NOW + 30 * DAY,
                           .identity_begins = NOW - DAY,
                           .identity_ends = NOW + 30 * DAY,
                           .crl_begins = NOW - DAY,
                           .crl_ends = NOW + 30 * DAY,
                           .level_svn = 5,
                           .pce_svn = 5,
                           .evaluation = 17,
                           .components = 16,
                           .version = version,
                           .body_type = is_td ? 3 : 1,
                           .is_td = is_td,
                           .certification = 5};
    p->root = signed_party("P-256", "Intel SGX Root CA", NULL, true, begins, ends);
    p->pck_ca = signed_party("P-256", "Intel SGX PCK Platform CA", &p->root, true, begins, ends);
    p->signer = signed_party("P-256", "Intel SGX TCB Signing", &p->root, false, begins, ends);
    p->pck = new_party("P-256", "Intel SGX PCK Certificate", &p->pck_ca, false, begins, ends);
    put_sgx_extension(&extension, 5);
    add_raw_extension(p->pck.certificate, "1.2.840.113741.1.13.1", cr_buffer_slice(&extension));
    sign_certificate(p->pck.certificate, &p->pck_ca);
    cr_buffer_release(&extension);
    p->attestation_key = new_key("P-256");
    p->qe_report[48] = 0x11; // attributes: initialised, provisioning key
    memset(p->qe_report + 128, 0x51, 32);
    p->qe_report[256] = is_td ? 2 : 1; // isvprodid
    p->qe_report[258] = 7;             // isvsvn
    if (is_td) {
        p->report[0] = 4; // tee_tcb_svn: the module's SVN and its version
        p->report[1] = 3;
        p->report[2] = 9;
        memset(p->report + 136, 0xa1, 48); // mrtd
        for (size_t i = 0; i < 4; i++) memset(p->report + 328 + 48 * i, (int)(0xb0 + i), 48);
        memset(p->report + 520, 0xdd, 64); // report data
    } else {
        p->report[48] = 0x05;              // attributes: initialised, 64 bits
        memset(p->report + 64, 0xa1, 32);  // mrenclave
        memset(p->report + 128, 0xa2, 32); // mrsigner
        p->report[256] = 17;               // isvprodid
        p->report[258] = 3;                // isvsvn
        memset(p->report + 320, 0xdd, 64);
    }
}

static inline void platform_free(struct platform *p)
{
    party_free(&p->root);
    party_free(&p->pck_ca);
    party_free(&p->pck);
    party_free(&p->signer);
    EVP_PKEY_free(p->attestation_key);
}

static inline void put_time(struct cr_buffer *out, const char *key, int64_t when)
{
    char text[32];
    time_t seconds = (time_t)when;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime(&seconds));
    assert_ok(cr_append_format(out, "\"%s\":\"%s\",", key, text));
}

// {"NAME":body,"signature":"..."}
static inline void put_signed(struct cr_buffer *out, const struct platform *p, const char *name,
                              const struct cr_buffer *body)
{
    unsigned char signature[64];
    char hex[129];
    sign_raw(p->signer.key, body->data, body->size, 32, signature);
    cr_hex_encode((struct cr_slice){signature, sizeof signature}, hex);
    assert_ok(cr_append_format(out, "{\"%s\":%s,\"signature\":\"%s\"}", name, cr_buffer_text(body), hex));
}

static inline void put_components(struct cr_buffer *out, const char *key, size_t count, unsigned first,
                                  unsigned svn)
{
    assert_ok(cr_append_format(out, "\"%s\":[", key));
    for (size_t i = 0; i < count; i++)
        assert_ok(cr_append_format(out, "%s{\"svn\":%u}", i ? "," : "", i ? svn : first));
    assert_ok(cr_append_format(out, "]"));
}

static inline void put_tcb_info(struct cr_buffer *out, const struct platform *p)
{
    struct cr_buffer body = {0};
    char hex[13];
    cr_hex_encode((struct cr_slice){fmspc, sizeof fmspc}, hex);
    assert_ok(cr_append_format(&body, "{\"id\":\"%s\",\"version\":3,", p->is_td ? "TDX" : "SGX"));
    put_time(&body, "issueDate", p->info_begins);
    put_time(&body, "nextUpdate", p->info_ends);
    assert_ok(cr_append_format(
        &body, "\"fmspc\":\"%s\",\"pceId\":\"0000\",\"tcbType\":0,\"tcbEvaluationDataNumber\":%u,", hex,
        p->evaluation));
    if (p->is_td)
        assert_ok(cr_append_format(&body,
                                   "\"tdxModule\":{\"mrsigner\":\"%096d\",\"attributes\":"
                                   "\"0000000000000000\",\"attributesMask\":\"FFFFFFFFFFFFFFFF\"},"
                                   "\"tdxModuleIdentities\":[{\"id\":\"TDX_03\",\"mrsigner\":\"%096d\","
                                   "\"attributes\":\"0000000000000000\","
                                   "\"attributesMask\":\"FFFFFFFFFFFFFFFF\",\"tcbLevels\":[{\"tcb\":{"
                                   "\"isvsvn\":4},\"tcbStatus\":\"%s\"}]}],",
                                   0, 0, p->module_status));
    assert_ok(cr_append_format(&body, "\"tcbLevels\":["));
    // The second level asks for less and is worse.
    for (unsigned level = 0; level < 2; level++) {
        unsigned svn = level == 0 ? p->level_svn : 1;
        assert_ok(cr_append_format(&body, "%s{\"tcb\":{", level ? "," : ""));
        put_components(&body, "sgxtcbcomponents", p->components, svn, svn);
        assert_ok(cr_append_format(&body, ",\"pcesvn\":%u", level == 0 ? p->pce_svn : 1));
        if (p->is_td && !p->no_td_components) {
            assert_ok(cr_append_format(&body, ","));
            put_components(&body, "tdxtcbcomponents", p->components, p->td_svn, 0);
        }
        assert_ok(cr_append_format(
            &body,
            "},\"tcbDate\":\"2025-01-01T00:00:00Z\",\"tcbStatus\":\"%s\",\"advisoryIDs\":[\"INTEL-SA-1\"]}",
            level == 0 ? p->platform_status : "OutOfDate"));
    }
    assert_ok(cr_append_format(&body, "]}"));
    put_signed(out, p, "tcbInfo", &body);
    cr_buffer_release(&body);
}

static inline void put_qe_identity(struct cr_buffer *out, const struct platform *p)
{
    struct cr_buffer body = {0};
    assert_ok(cr_append_format(&body, "{\"id\":\"%s\",\"version\":2,", p->is_td ? "TD_QE" : "QE"));
    put_time(&body, "issueDate", p->identity_begins);
    put_time(&body, "nextUpdate", p->identity_ends);
    assert_ok(cr_append_format(
        &body, "\"tcbEvaluationDataNumber\":17,\"miscselect\":\"00000000\",\"miscselectMask\":\"FFFFFFFF\","
               "\"attributes\":\"11000000000000000000000000000000\","
               "\"attributesMask\":\"FBFFFFFFFFFFFFFF0000000000000000\",\"mrsigner\":\""));
    for (size_t i = 0; i < 32; i++) assert_ok(cr_append_format(&body, "51"));
    assert_ok(cr_append_format(
        &body, "\",\"isvprodid\":%d,\"tcbLevels\":[{\"tcb\":{\"isvsvn\":7},\"tcbStatus\":\"%s\"}]}",
        p->is_td ? 2 : 1, p->qe_status));
    put_signed(out, p, "enclaveIdentity", &body);
    cr_buffer_release(&body);
}

// All of the platform's collateral.
static inline struct cr_endorsements *platform_endorsements(const struct platform *p)
{
    struct cr_endorsements *all = NULL;
    struct cr_buffer pem = {0}, ca_crl = {0}, root_crl = {0}, info = {0}, identity = {0};
    assert_ok(cr_endorsements_new(&all));
    put_pem(&pem, &p->signer);
    put_pem(&pem, &p->root);
    put_crl(&ca_crl, &p->pck_ca, p->revoked_by_ca, p->crl_begins, p->crl_ends);
    put_crl(&root_crl, &p->root, p->revoked_by_root, p->crl_begins, p->crl_ends);
    put_tcb_info(&info, p);
    put_qe_identity(&identity, p);
    if (p->certification < 4) put_pem(&pem, &p->pck);
    if (p->certification < 5) put_pem(&pem, &p->pck_ca);
    assert_ok(cr_endorsements_add(all, cr_buffer_slice(&pem)));
    if (!p->no_crls) {
        assert_ok(cr_endorsements_add(all, cr_buffer_slice(&ca_crl)));
        assert_ok(cr_endorsements_add(all, cr_buffer_slice(&root_crl)));
    }
    assert_ok(cr_endorsements_add(all, cr_buffer_slice(&info)));
    assert_ok(cr_endorsements_add(all, cr_buffer_slice(&identity)));
    cr_buffer_release(&pem);
    cr_buffer_release(&ca_crl);
    cr_buffer_release(&root_crl);
    cr_buffer_release(&info);
    cr_buffer_release(&identity);
    return all;
}

static inline void put_certification(struct cr_buffer *out, const struct platform *p)
{
    struct cr_buffer data = {0};
    unsigned char id[36] = {0};
    if (p->certification < 4) assert_ok(cr_append(&data, id, sizeof id));
    if (p->certification >= 4) put_pem(&data, &p->pck);
    if (p->certification >= 5) {
        put_pem(&data, &p->pck_ca);
        put_pem(&data, &p->root);
    }
    assert_ok(cr_append_u16(out, p->certification));
    assert_ok(cr_append_u32(out, (uint32_t)data.size));
    assert_ok(cr_append(out, data.data, data.size));
    cr_buffer_release(&data);
}

// The quote, signed as the platform would. The QE's report data is set here.
static inline void platform_quote(struct platform *p, struct cr_buffer *out)
{
    static const unsigned char vendor[16] = {0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
                                             0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07};
    static const unsigned char auth[32] = "what the quoting enclave says";
    struct cr_buffer bytes = {0}, data = {0}, qe = {0};
    unsigned char zeros[20] = {0}, signature[64], point[64], hashed[64 + sizeof auth];
    assert_ok(cr_append_u16(&bytes, p->version));
    assert_ok(cr_append_u16(&bytes, 2));
    assert_ok(cr_append_u32(&bytes, p->is_td ? 0x81 : 0));
    assert_ok(cr_append_u32(&bytes, 0));
    assert_ok(cr_append(&bytes, vendor, sizeof vendor));
    assert_ok(cr_append(&bytes, zeros, sizeof zeros));
    size_t size = !p->is_td ? REPORT_SIZE : p->version == 5 && p->body_type == 3 ? TD_15_SIZE : TD_SIZE;
    if (p->version == 5) {
        assert_ok(cr_append_u16(&bytes, p->body_type));
        assert_ok(cr_append_u32(&bytes, (uint32_t)size));
    }
    assert_ok(cr_append(&bytes, p->report, size));

    sign_raw(p->attestation_key, bytes.data, bytes.size, 32, signature);
    key_point(p->attestation_key, 32, point);
    assert_ok(cr_append(&data, signature, sizeof signature));
    assert_ok(cr_append(&data, point, sizeof point));
    memcpy(hashed, point, sizeof point);
    memcpy(hashed + sizeof point, auth, sizeof auth);
    SHA256(hashed, sizeof hashed, p->qe_report + 320);
    assert_ok(cr_append(&qe, p->qe_report, sizeof p->qe_report));
    sign_raw(p->pck.key, p->qe_report, sizeof p->qe_report, 32, signature);
    assert_ok(cr_append(&qe, signature, sizeof signature));
    assert_ok(cr_append_u16(&qe, sizeof auth));
    assert_ok(cr_append(&qe, auth, sizeof auth));
    put_certification(&qe, p);
    if (p->version >= 4) {
        assert_ok(cr_append_u16(&data, 6));
        assert_ok(cr_append_u32(&data, (uint32_t)qe.size));
    }
    assert_ok(cr_append(&data, qe.data, qe.size));
    assert_ok(cr_append_u32(&bytes, (uint32_t)data.size));
    assert_ok(cr_append(&bytes, data.data, data.size));
    assert_ok(cr_append(out, bytes.data, bytes.size));
    cr_buffer_release(&bytes);
    cr_buffer_release(&data);
    cr_buffer_release(&qe);
}

#endif
