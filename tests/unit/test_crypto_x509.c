// Pools of certificates and revocation lists, and the chains in them.
#include "pki_support.h"

#include "crypto/chain.h"
#include "crypto/identity.h"
#include "crypto/x509.h"

enum { MOST = 4096 };

// In DER; variants differ in their signature.
static struct cr_buffer certificate, list;

static struct cr_slice variant(struct cr_buffer *der, unsigned number)
{
    memcpy(der->data + der->size - sizeof number, &number, sizeof number);
    return cr_buffer_slice(der);
}

static int set_up(void **state)
{
    (void)state;
    struct party party = signed_party("P-256", "anne", NULL, true, 0, YEAR);
    assert_ok(cr_x509_append_der((const struct cr_x509 *)party.certificate, &certificate));
    put_crl(&list, &party, NULL, 0, YEAR);
    party_free(&party);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cr_buffer_release(&certificate);
    cr_buffer_release(&list);
    return 0;
}

static void a_pool_has_an_end(void **state)
{
    (void)state;
    static const struct {
        struct cr_buffer *der;
        const char *why;
    } kinds[] = {{&certificate, "more than 4096 certificates"}, {&list, "more than 4096 revocation lists"}};
    CR_CLEANUP(cr_x509_pool_release) struct cr_x509_pool *pool = NULL;
    assert_ok(cr_x509_pool_new(&pool));
    for (size_t k = 0; k < 2; k++) {
        size_t found = 0;
        for (unsigned i = 0; i < MOST; i++)
            assert_ok(cr_x509_pool_add(pool, variant(kinds[k].der, i), &found));
        assert_int_equal(found, MOST);
        assert_fails(CR_INVALID, kinds[k].why, cr_x509_pool_add(pool, variant(kinds[k].der, MOST), &found));
        // One that it has needs no room.
        assert_ok(cr_x509_pool_add(pool, variant(kinds[k].der, MOST - 1), &found));
        assert_int_equal(found, MOST + 1);
        assert_int_equal(cr_x509_pool_count(pool), MOST);
    }
}

static void what_is_neither_is_passed_over(void **state)
{
    (void)state;
    CR_CLEANUP(cr_x509_pool_release) struct cr_x509_pool *pool = NULL;
    assert_ok(cr_x509_pool_new(&pool));
    size_t found = 0;
    for (size_t size = 0; size < certificate.size; size++)
        assert_ok(cr_x509_pool_add(pool, (struct cr_slice){certificate.data, size}, &found));
    for (size_t size = 0; size < list.size; size++)
        assert_ok(cr_x509_pool_add(pool, (struct cr_slice){list.data, size}, &found));
    assert_ok(cr_append_u8(&certificate, 0));
    assert_ok(cr_x509_pool_add(pool, cr_buffer_slice(&certificate), &found));
    assert_int_equal(found, 0);
    assert_int_equal(cr_x509_pool_count(pool), 0);
}

static void add(struct cr_x509_pool *pool, const struct party *party)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer der = {0};
    size_t found = 0;
    assert_ok(cr_x509_append_der((const struct cr_x509 *)party->certificate, &der));
    assert_ok(cr_x509_pool_add(pool, cr_buffer_slice(&der), &found));
    assert_int_equal(found, 1);
}

// Anybody can make a certificate of a root's name and public key, and say in it what he likes.
static void a_root_signed_by_another_key_is_none(void **state)
{
    (void)state;
    struct party root = signed_party("P-256", "root", NULL, true, 0, YEAR);
    struct party leaf = signed_party("P-256", "leaf", &root, false, 0, YEAR);
    struct party forged = new_party("P-256", "root", NULL, true, 0, YEAR);
    X509_set_pubkey(forged.certificate, root.key);
    sign_certificate(forged.certificate, &forged);
    for (int i = 0; i < 2; i++) {
        CR_CLEANUP(cr_chain_sources_release) struct cr_chain_sources sources = {.root_count = 1};
        CR_CLEANUP(cr_x509_pool_release) struct cr_x509_pool *pool = NULL;
        struct cr_chain chain;
        assert_ok(cr_x509_pool_new(&pool));
        add(pool, i == 0 ? &root : &forged);
        sources.pools[0] = pool;
        assert_ok(cr_allocate(1, sizeof *sources.roots, &sources.roots));
        assert_ok(cr_certificate_key_digest(root.certificate, sources.roots[0]));
        enum cr_status status = cr_chain_find(&sources, (const struct cr_x509 *)leaf.certificate, &chain);
        if (i == 0)
            assert_int_equal(chain.count, 2);
        else
            assert_fails(CR_DENIED, "signature", status);
    }
    party_free(&forged);
    party_free(&leaf);
    party_free(&root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pool_has_an_end),
        cmocka_unit_test(what_is_neither_is_passed_over),
        cmocka_unit_test(a_root_signed_by_another_key_is_none),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
