#include "crypto/chain.h"
#include "crypto/identity.h"
#include "crypto/openssl.h"
#include "crypto/pool.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>

enum { POOLS = 2 };

void cr_chain_sources_release(struct cr_chain_sources *sources)
{
    free(sources->roots);
    *sources = (struct cr_chain_sources){0};
}

static bool is_root(const struct cr_chain_sources *sources, X509 *certificate)
{
    unsigned char digest[CR_SHA256_SIZE];
    if (X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) != 0 ||
        cr_certificate_key_digest(certificate, digest) != CR_OK)
        return false;
    for (size_t i = 0; i < sources->root_count; i++)
        if (memcmp(sources->roots[i], digest, sizeof digest) == 0) return true;
    return false;
}

// Sorts the pools' certificates: trusted roots go into the store, all others onto the stack. Borrowed.
static bool gather(const struct cr_chain_sources *sources, X509_STORE *store, STACK_OF(X509) * others)
{
    for (size_t p = 0; p < POOLS; p++) {
        const STACK_OF(X509) *all = sources->pools[p] ? sources->pools[p]->certificates : NULL;
        for (int i = 0; i < sk_X509_num(all); i++) {
            X509 *one = sk_X509_value(all, i);
            bool taken =
                is_root(sources, one) ? X509_STORE_add_cert(store, one) : sk_X509_push(others, one) > 0;
            if (!taken) return false;
        }
    }
    return true;
}

static enum cr_status take_chain(X509_STORE_CTX *context, struct cr_chain *out)
{
    STACK_OF(X509) *found = X509_STORE_CTX_get0_chain(context);
    int count = sk_X509_num(found);
    if (count < 1 || count > CR_CHAIN_MOST)
        return cr_fail(CR_DENIED, "a chain of %d certificates is too long", count);
    for (int i = 0; i < count; i++) out->links[i] = (const struct cr_x509 *)sk_X509_value(found, i);
    out->count = (size_t)count;
    return CR_OK;
}

enum cr_status cr_chain_find(const struct cr_chain_sources *sources, const struct cr_x509 *certificate,
                             struct cr_chain *out)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    STACK_OF(X509) *others = sk_X509_new_null();
    struct cr_chain chain;
    enum cr_status status;
    if (!store || !context || !others || !gather(sources, store, others) ||
        !X509_STORE_CTX_init(context, store, cr_x509_of(certificate), others)) {
        status = cr_openssl_fail(CR_NO_MEMORY, "certificates cannot be checked");
    } else {
        X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
        // Also checks a root's signature of itself: anybody can make a certificate that contains a root's
        // public key.
        X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_CHECK_SS_SIGNATURE | X509_V_FLAG_NO_CHECK_TIME);
        X509_VERIFY_PARAM_set_auth_level(parameters, 2); // 112 bits: no SHA-1, no short keys
        if (X509_verify_cert(context) == 1)
            status = take_chain(context, &chain);
        else
            status =
                cr_fail(CR_DENIED, "%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
    }
    sk_X509_free(others);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    ERR_clear_error(); // a leftover error would be reported as the next failure's reason
    if (status == CR_OK) *out = chain;
    return status;
}

// A critical extension may change the meaning or scope of a CRL. Such a CRL can revoke a link, but cannot
// show that a link is not revoked.
static bool has_critical_extension(const X509_CRL *list)
{
    for (int i = 0; i < X509_CRL_get_ext_count(list); i++)
        if (X509_EXTENSION_get_critical(X509_CRL_get_ext(list, i))) return true;
    return false;
}

// What the CRLs read so far say about one link.
struct said {
    bool good, revoked, expired, old;
    int64_t revoked_at, ended, issued;
};

static void ask(X509_CRL *list, X509 *link, X509 *issuer, int64_t time, int64_t floor, struct said *said)
{
    int64_t begins, ends;
    if (X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_subject_name(issuer)) != 0 ||
        X509_CRL_verify(list, X509_get0_pubkey(issuer)) != 1)
        return;
    X509_REVOKED *entry = NULL;
    if (X509_CRL_get0_by_cert(list, &entry, link) == 1) {
        int64_t at = time; // if the CRL's date is malformed
        (void)cr_x509_time(X509_REVOKED_get0_revocationDate(entry), &at);
        if (at <= time) {
            said->revoked = true;
            said->revoked_at = at;
        }
    }
    if (has_critical_extension(list) || !cr_x509_time(X509_CRL_get0_lastUpdate(list), &begins) ||
        !cr_x509_time(X509_CRL_get0_nextUpdate(list), &ends) || begins > time)
        return;
    if (begins < floor) {
        if (!said->old || begins > said->issued) said->issued = begins;
        said->old = true;
    } else if (time <= ends) {
        said->good = true;
    } else if (!said->expired || ends > said->ended) {
        said->expired = true;
        said->ended = ends;
    }
}

enum cr_status cr_chain_revocation(const struct cr_chain_sources *sources, const struct cr_chain *chain,
                                   int64_t time, int64_t floor, struct cr_revocation_answer *out)
{
    struct cr_revocation_answer answer = {.what = CR_NOT_REVOKED};
    for (size_t i = 0; i + 1 < chain->count; i++) {
        struct said said = {0};
        for (size_t p = 0; p < POOLS; p++) {
            const STACK_OF(X509_CRL) *lists = sources->pools[p] ? sources->pools[p]->lists : NULL;
            for (int k = 0; k < sk_X509_CRL_num(lists); k++)
                ask(sk_X509_CRL_value(lists, k), cr_x509_of(chain->links[i]), cr_x509_of(chain->links[i + 1]),
                    time, floor, &said);
        }
        if (said.revoked) {
            *out = (struct cr_revocation_answer){CR_REVOKED, chain->links[i], said.revoked_at};
            ERR_clear_error();
            return CR_OK;
        }
        if (said.good || answer.what == CR_LIST_OLD) continue;
        if (said.old && !said.expired)
            answer = (struct cr_revocation_answer){CR_LIST_OLD, chain->links[i], said.issued};
        else if (answer.what == CR_LIST_EXPIRED)
            continue;
        else if (said.expired)
            answer = (struct cr_revocation_answer){CR_LIST_EXPIRED, chain->links[i], said.ended};
        else if (answer.what == CR_NOT_REVOKED)
            answer = (struct cr_revocation_answer){CR_LIST_MISSING, chain->links[i], 0};
    }
    ERR_clear_error();
    *out = answer;
    return CR_OK;
}
