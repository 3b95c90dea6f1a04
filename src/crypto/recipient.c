#include "crypto/recipient.h"

#include "base/secret.h"
#include "crypto/kdf.h"
#include "crypto/openssl.h"
#include "crypto/verify.h"

#include <openssl/evp.h>
#include <string.h>

static const char label[] = "carrel sealed for a recipient";
enum { EVEN = 2, SECRET_SIZE = 32 }; // the first byte of a compressed point in SEC 1 whose y is even

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

// The public key of one of the two points with this x.
static enum cr_status key_of_share(const unsigned char share[CR_RECIPIENT_SHARE_SIZE], EVP_PKEY **out)
{
    unsigned char encoded[1 + CR_RECIPIENT_SHARE_SIZE] = {EVEN};
    memcpy(encoded + 1, share, CR_RECIPIENT_SHARE_SIZE);
    enum cr_status status = cr_ecdsa_key((struct cr_slice){encoded, sizeof encoded}, out);
    return status == CR_DENIED ? cr_fail(CR_DENIED, "a public key is not on its curve") : status;
}

static enum cr_status agree(EVP_PKEY *own, EVP_PKEY *peer, unsigned char secret[SECRET_SIZE])
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL);
    size_t size = SECRET_SIZE;
    bool agreed = context && EVP_PKEY_derive_init(context) == 1 &&
                  EVP_PKEY_derive_set_peer(context, peer) == 1 &&
                  EVP_PKEY_derive(context, secret, &size) == 1 && size == SECRET_SIZE;
    EVP_PKEY_CTX_free(context);
    return agreed ? CR_OK : cr_openssl_fail(CR_INTERNAL, "no key could be agreed on");
}

static enum cr_status derive(EVP_PKEY *own, EVP_PKEY *peer, const unsigned char *share,
                             const unsigned char *recipient, struct cr_slice context,
                             struct cr_sealing_key **out)
{
    unsigned char secret[SECRET_SIZE];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer info = {0};
    CR_CLEANUP(cr_secret_free) struct cr_sealing_key *key = NULL;
    CR_TRY(cr_append(&info, label, sizeof label));
    CR_TRY(cr_append(&info, share, CR_RECIPIENT_SHARE_SIZE));
    CR_TRY(cr_append(&info, recipient, CR_RECIPIENT_SHARE_SIZE));
    CR_TRY(cr_append(&info, context.data, context.size));
    CR_TRY(cr_secret_allocate(1, sizeof *key, &key));
    strcpy(key->source, "owner");
    enum cr_status status = agree(own, peer, secret);
    if (status == CR_OK)
        status = cr_hkdf_salted((struct cr_slice){secret, sizeof secret}, (struct cr_slice){0},
                                cr_buffer_slice(&info), key->key, sizeof key->key);
    cr_wipe(secret, sizeof secret);
    CR_TRY(status);
    *out = key;
    key = NULL;
    return CR_OK;
}

enum cr_status cr_recipient_seal(const unsigned char point[CR_IDENTITY_POINT_SIZE], struct cr_slice context,
                                 unsigned char share[CR_RECIPIENT_SHARE_SIZE], struct cr_sealing_key **out)
{
    CR_CLEANUP(cr_identity_release) struct cr_identity *own = NULL;
    CR_CLEANUP(free_key) EVP_PKEY *peer = NULL;
    unsigned char made[CR_IDENTITY_POINT_SIZE];
    CR_TRY(key_of_share(point, &peer)); // its first 32 bytes are its x
    CR_TRY(cr_identity_new(&own));
    CR_TRY(cr_identity_point(own, made));
    CR_TRY(derive(cr_identity_key(own), peer, made, point, context, out));
    memcpy(share, made, CR_RECIPIENT_SHARE_SIZE);
    return CR_OK;
}

enum cr_status cr_recipient_open(const struct cr_identity *holder, struct cr_slice context,
                                 const unsigned char share[CR_RECIPIENT_SHARE_SIZE],
                                 struct cr_sealing_key **out)
{
    CR_CLEANUP(free_key) EVP_PKEY *peer = NULL;
    unsigned char point[CR_IDENTITY_POINT_SIZE];
    CR_TRY(cr_identity_point(holder, point));
    CR_TRY(key_of_share(share, &peer));
    return derive(cr_identity_key(holder), peer, share, point, context, out);
}
