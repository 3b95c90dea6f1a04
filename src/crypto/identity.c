#include "crypto/identity.h"
#include "base/file.h"
#include "base/mapping.h"
#include "crypto/certificate.h"
#include "crypto/openssl.h"
#include "crypto/x509.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_PEM = 16384 };

struct cr_identity {
    EVP_PKEY *key;     // secret; OpenSSL wipes it when freed
    X509 *certificate; // NULL until installed; a CA's certificate is also its authority
    X509 *authority;
};

static void free_bio(BIO **bio)
{
    BIO_free(*bio);
}

enum cr_status cr_identity_new(struct cr_identity **out)
{
    CR_CLEANUP(cr_identity_release) struct cr_identity *identity = NULL;
    CR_TRY(cr_allocate(1, sizeof *identity, &identity));
    identity->key = EVP_EC_gen("P-256");
    if (!identity->key) return cr_openssl_fail(CR_INTERNAL, "no key could be made");
    *out = identity;
    identity = NULL;
    return CR_OK;
}

void cr_identity_free(struct cr_identity *identity)
{
    if (!identity) return;
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
    X509_free(identity->authority);
    free(identity);
}

void cr_identity_release(struct cr_identity **identity)
{
    cr_identity_free(*identity);
    *identity = NULL;
}

enum cr_status cr_identity_new_authority(const char *name, int64_t now, struct cr_identity **out)
{
    CR_CLEANUP(cr_identity_release) struct cr_identity *identity = NULL;
    CR_TRY(cr_identity_new(&identity));
    CR_TRY(cr_certificate_make_authority(identity->key, name, now, &identity->certificate));
    X509_up_ref(identity->certificate);
    identity->authority = identity->certificate;
    *out = identity;
    identity = NULL;
    return CR_OK;
}

enum cr_status cr_identity_request(const struct cr_identity *identity, struct cr_buffer *der)
{
    unsigned char *bytes = NULL;
    X509_REQ *request = X509_REQ_new();
    int size = -1;
    // The subject stays empty: the issuer decides on the name.
    if (request && X509_REQ_set_pubkey(request, identity->key) &&
        X509_REQ_sign(request, identity->key, EVP_sha256()))
        size = i2d_X509_REQ(request, &bytes);
    X509_REQ_free(request);
    if (size < 0) return cr_openssl_fail(CR_INTERNAL, "no certificate request could be made");
    enum cr_status status = cr_append(der, bytes, (size_t)size);
    OPENSSL_free(bytes);
    return status;
}

enum cr_status cr_identity_point(const struct cr_identity *identity,
                                 unsigned char out[CR_IDENTITY_POINT_SIZE])
{
    unsigned char encoded[1 + CR_IDENTITY_POINT_SIZE]; // the first byte is the format: uncompressed
    size_t size;
    if (!EVP_PKEY_get_octet_string_param(identity->key, OSSL_PKEY_PARAM_PUB_KEY, encoded, sizeof encoded,
                                         &size) ||
        size != sizeof encoded)
        return cr_openssl_fail(CR_INTERNAL, "a public key cannot be encoded");
    memcpy(out, encoded + 1, CR_IDENTITY_POINT_SIZE);
    return CR_OK;
}

enum cr_status cr_identity_point_digest(const unsigned char point[CR_IDENTITY_POINT_SIZE],
                                        unsigned char out[CR_SHA256_SIZE])
{
    // A SubjectPublicKeyInfo on P-256 (RFC 5480) up to the point.
    static const unsigned char start[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                          0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                          0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};
    unsigned char der[sizeof start + CR_IDENTITY_POINT_SIZE];
    memcpy(der, start, sizeof start);
    memcpy(der + sizeof start, point, CR_IDENTITY_POINT_SIZE);
    return cr_sha256((struct cr_slice){der, sizeof der}, out);
}

enum cr_status cr_identity_key_digest(const struct cr_identity *identity, unsigned char out[CR_SHA256_SIZE])
{
    unsigned char point[CR_IDENTITY_POINT_SIZE];
    CR_TRY(cr_identity_point(identity, point));
    return cr_identity_point_digest(point, out);
}

static int sign_der(EVP_PKEY *key, struct cr_slice message, unsigned char *der, size_t *size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int good = context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
               EVP_DigestSign(context, der, size, message.data, message.size) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

enum cr_status cr_identity_sign(const struct cr_identity *identity, struct cr_slice message,
                                unsigned char out[CR_IDENTITY_SIGNATURE_SIZE])
{
    enum { WIDTH = CR_IDENTITY_SIGNATURE_SIZE / 2, MOST_DER = 80 };
    unsigned char der[MOST_DER], numbers[CR_IDENTITY_SIGNATURE_SIZE];
    const unsigned char *at = der;
    size_t size = sizeof der;
    ECDSA_SIG *pair = NULL;
    if (sign_der(identity->key, message, der, &size)) pair = d2i_ECDSA_SIG(NULL, &at, (long)size);
    bool good = pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), numbers, WIDTH) == WIDTH &&
                BN_bn2binpad(ECDSA_SIG_get0_s(pair), numbers + WIDTH, WIDTH) == WIDTH;
    ECDSA_SIG_free(pair);
    if (!good) return cr_openssl_fail(CR_INTERNAL, "nothing could be signed");
    memcpy(out, numbers, sizeof numbers);
    return CR_OK;
}

enum cr_status cr_identity_issue(const struct cr_identity *authority, struct cr_slice request_der,
                                 const char *name, const char *role, int64_t now,
                                 struct cr_buffer *certificate_der)
{
    if (!authority->certificate || X509_check_ca(authority->certificate) != 1)
        return cr_fail(CR_INTERNAL, "an identity that is no CA cannot issue certificates");
    CR_CLEANUP(cr_certificate_release) X509 *certificate = NULL;
    CR_TRY(cr_certificate_make_member(authority->key, authority->certificate, request_der, name, role, now,
                                      &certificate));
    return cr_x509_append_der((const struct cr_x509 *)certificate, certificate_der);
}

// Moves both certificates into the identity; on failure the caller keeps them.
static enum cr_status adopt(struct cr_identity *identity, X509 **certificate, X509 **authority)
{
    CR_TRY(cr_certificate_check(identity->key, *certificate, *authority));
    X509_free(identity->certificate);
    X509_free(identity->authority);
    identity->certificate = *certificate;
    identity->authority = *authority;
    *certificate = NULL;
    *authority = NULL;
    return CR_OK;
}

enum cr_status cr_identity_install(struct cr_identity *identity, struct cr_slice certificate_der,
                                   struct cr_slice authority_der)
{
    CR_CLEANUP(cr_certificate_release) X509 *certificate = NULL;
    CR_CLEANUP(cr_certificate_release) X509 *authority = NULL;
    CR_TRY(cr_certificate_decode(certificate_der, "the certificate", &certificate));
    CR_TRY(cr_certificate_decode(authority_der, "the CA's certificate", &authority));
    return adopt(identity, &certificate, &authority);
}

bool cr_identity_expired(const struct cr_identity *identity, int64_t time)
{
    time_t when = (time_t)time;
    return !identity->certificate || X509_cmp_time(X509_get0_notAfter(identity->certificate), &when) <= 0;
}

static struct cr_slice bytes_of(BIO *bio)
{
    char *bytes = NULL;
    long size = BIO_get_mem_data(bio, &bytes);
    return (struct cr_slice){(unsigned char *)bytes, (size_t)size};
}

static enum cr_status save_certificate(X509 *certificate, const char *directory, const char *name)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, name, &path));
    CR_CLEANUP(free_bio) BIO *bio = BIO_new(BIO_s_mem());
    if (!bio || !PEM_write_bio_X509(bio, certificate))
        return cr_openssl_fail(CR_INTERNAL, "%s: the certificate cannot be encoded", path);
    return cr_file_write(path, bytes_of(bio), false);
}

static const char *key_name(const struct cr_sealing *sealing)
{
    return sealing ? "key.sealed" : "key.pem";
}

static enum cr_status encode_key(const struct cr_identity *identity, const char *path, BIO **out)
{
    // A secure-memory BIO wipes its contents.
    CR_CLEANUP(free_bio) BIO *bio = BIO_new(BIO_s_secmem());
    if (!bio || !PEM_write_bio_PKCS8PrivateKey(bio, identity->key, NULL, NULL, 0, NULL, NULL))
        return cr_openssl_fail(CR_INTERNAL, "%s: the key cannot be encoded", path);
    *out = bio;
    bio = NULL;
    return CR_OK;
}

static enum cr_status save_key(const struct cr_identity *identity, const char *path,
                               const struct cr_sealing *sealing)
{
    CR_CLEANUP(free_bio) BIO *bio = NULL;
    CR_TRY(encode_key(identity, path, &bio));
    return sealing ? cr_seal_write(path, sealing, bytes_of(bio)) : cr_file_write(path, bytes_of(bio), true);
}

bool cr_identity_is_kept(const char *directory, const struct cr_sealing *sealing)
{
    return cr_directory_has(directory, key_name(sealing));
}

enum cr_status cr_identity_save(const struct cr_identity *identity, const char *directory,
                                const struct cr_sealing *sealing)
{
    CR_TRY(cr_directory_make(directory, true));
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, key_name(sealing), &path));
    CR_TRY(save_key(identity, path, sealing));
    if (!identity->certificate) return CR_OK;
    CR_TRY(save_certificate(identity->authority, directory, "authority.pem"));
    return save_certificate(identity->certificate, directory, "certificate.pem");
}

// Without this OpenSSL would ask the terminal for the password of an encrypted file.
static int no_password(char *buffer, int size, int writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

static enum cr_status map_pem(const char *path, struct cr_slice *mapping, BIO **bio)
{
    CR_TRY(cr_file_map(path, mapping));
    if (mapping->size == 0 || mapping->size > MAX_PEM)
        return cr_fail(CR_INVALID, "%s: not a PEM file: %zu bytes", path, mapping->size);
    *bio = BIO_new_mem_buf(mapping->data, (int)mapping->size);
    if (!*bio) return cr_openssl_fail(CR_NO_MEMORY, "%s", path);
    return CR_OK;
}

static enum cr_status read_key(BIO *bio, const char *path, EVP_PKEY **out)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    if (!key) return cr_openssl_fail(CR_INVALID, "%s: not a private key", path);
    if (!cr_certificate_is_p256(key)) {
        EVP_PKEY_free(key);
        return cr_fail(CR_INVALID, "%s: not a P-256 key", path);
    }
    *out = key;
    return CR_OK;
}

static enum cr_status load_key(const char *path, EVP_PKEY **out)
{
    struct stat about;
    if (stat(path, &about) == 0 && (about.st_mode & 077) != 0)
        return cr_fail(CR_DENIED, "%s: a private key that others may open (chmod 600 it)", path);
    // Mapped rather than read, so that no copy of the key needs wiping.
    CR_CLEANUP(cr_file_unmap) struct cr_slice mapping = {0};
    CR_CLEANUP(free_bio) BIO *bio = NULL;
    CR_TRY(map_pem(path, &mapping, &bio));
    return read_key(bio, path, out);
}

static enum cr_status load_sealed_key(const char *path, const struct cr_sealing *sealing, EVP_PKEY **out)
{
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer pem = {0};
    CR_TRY(cr_seal_load(path, sealing, MAX_PEM, &pem));
    CR_CLEANUP(free_bio) BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
    if (!bio) return cr_openssl_fail(CR_NO_MEMORY, "%s", path);
    return read_key(bio, path, out);
}

static enum cr_status load_certificate(const char *directory, const char *name, X509 **out)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, name, &path));
    CR_CLEANUP(cr_file_unmap) struct cr_slice mapping = {0};
    CR_CLEANUP(free_bio) BIO *bio = NULL;
    CR_TRY(map_pem(path, &mapping, &bio));
    X509 *certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL);
    if (!certificate) return cr_openssl_fail(CR_INVALID, "%s: not a certificate", path);
    *out = certificate;
    return CR_OK;
}

enum cr_status cr_identity_load(const char *directory, const struct cr_sealing *sealing,
                                struct cr_identity **out)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, key_name(sealing), &path));
    CR_CLEANUP(cr_identity_release) struct cr_identity *identity = NULL;
    CR_TRY(cr_allocate(1, sizeof *identity, &identity));
    CR_TRY(sealing ? load_sealed_key(path, sealing, &identity->key) : load_key(path, &identity->key));
    // A directory with only a key is an identity whose certificate is still to be issued.
    if (cr_directory_has(directory, "certificate.pem")) {
        CR_CLEANUP(cr_certificate_release) X509 *certificate = NULL;
        CR_CLEANUP(cr_certificate_release) X509 *authority = NULL;
        CR_TRY(load_certificate(directory, "certificate.pem", &certificate));
        CR_TRY(load_certificate(directory, "authority.pem", &authority));
        enum cr_status status = adopt(identity, &certificate, &authority);
        if (status != CR_OK) return cr_fail_within(status, "%s", directory);
    }
    *out = identity;
    identity = NULL;
    return CR_OK;
}

enum cr_status cr_identity_seal(const char *directory, const struct cr_sealing *sealing)
{
    CR_FREE char *clear = NULL;
    CR_TRY(cr_path_join(directory, key_name(NULL), &clear));
    if (!cr_file_exists(clear)) return CR_OK;
    // If the process is killed between saving and removing, both files exist, and the next call removes the
    // unencrypted one.
    if (!cr_identity_is_kept(directory, sealing)) {
        CR_CLEANUP(cr_identity_release) struct cr_identity *identity = NULL;
        CR_TRY(cr_identity_load(directory, NULL, &identity));
        CR_TRY(cr_identity_save(identity, directory, sealing));
    }
    if (unlink(clear) != 0) return cr_fail_errno(CR_IO, "%s: cannot be removed", clear);
    return CR_OK;
}

// Stores a new unencrypted key, unless another process was first.
static enum cr_status make_key(const char *directory)
{
    CR_CLEANUP(cr_identity_release) struct cr_identity *identity = NULL;
    CR_CLEANUP(free_bio) BIO *bio = NULL;
    CR_FREE char *path = NULL;
    CR_TRY(cr_directory_make(directory, true));
    CR_TRY(cr_path_join(directory, key_name(NULL), &path));
    CR_TRY(cr_identity_new(&identity));
    CR_TRY(encode_key(identity, path, &bio));
    return cr_file_write_first(path, bytes_of(bio));
}

enum cr_status cr_identity_load_or_make(const char *directory, struct cr_identity **out)
{
    if (cr_identity_is_kept(directory, NULL)) return cr_identity_load(directory, NULL, out);
    static const struct cr_sealing any;
    if (cr_identity_is_kept(directory, &any))
        return cr_fail(CR_INVALID, "%s: the key there is sealed", directory);
    CR_TRY(make_key(directory));
    return cr_identity_load(directory, NULL, out);
}

enum cr_status cr_identity_fingerprint(const struct cr_identity *identity, unsigned char out[CR_SHA256_SIZE])
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer der = {0};
    CR_TRY(cr_identity_authority_der(identity, &der));
    return cr_sha256(cr_buffer_slice(&der), out);
}

enum cr_status cr_identity_read_fingerprint(const char *directory, unsigned char out[CR_SHA256_SIZE])
{
    CR_CLEANUP(cr_certificate_release) X509 *authority = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer der = {0};
    CR_TRY(load_certificate(directory, "authority.pem", &authority));
    CR_TRY(cr_x509_append_der((const struct cr_x509 *)authority, &der));
    return cr_sha256(cr_buffer_slice(&der), out);
}

enum cr_status cr_identity_read_expired(const char *directory, int64_t time, bool *out)
{
    struct cr_identity identity = {0};
    CR_TRY(load_certificate(directory, "certificate.pem", &identity.certificate));
    *out = cr_identity_expired(&identity, time);
    X509_free(identity.certificate);
    return CR_OK;
}

enum cr_status cr_identity_authority_der(const struct cr_identity *identity, struct cr_buffer *out)
{
    if (!identity->authority) return cr_fail(CR_INTERNAL, "an identity without a certificate has no CA yet");
    return cr_x509_append_der((const struct cr_x509 *)identity->authority, out);
}

void *cr_identity_key(const struct cr_identity *identity)
{
    return identity->key;
}

void *cr_identity_certificate(const struct cr_identity *identity)
{
    return identity->certificate;
}

void *cr_identity_authority(const struct cr_identity *identity)
{
    return identity->authority;
}
