// A sealing key for a file that only the holder of a certain P-256 key is to open; the writer knows only the
// public key.
//
// The writer makes an ephemeral key pair for the file. The sealing key is HKDF-SHA-256 of the ECDH shared
// secret of the file's pair and the recipient's (SP 800-56A section 5.7.1.2), without salt; its info is
// "carrel sealed for a recipient", a zero byte, the x coordinate of the file's point, that of the
// recipient's, and the context. The file's x coordinate is its share, which is stored with the file. It
// suffices without y: the shared secret is an x coordinate, which is the same for either y.
//
// This does not authenticate the writer: anybody who knows the public key can write such a file.
#ifndef CARREL_CRYPTO_RECIPIENT_H
#define CARREL_CRYPTO_RECIPIENT_H

#include "crypto/identity.h"

enum { CR_RECIPIENT_SHARE_SIZE = 32 };

// Makes a key for the holder of the key with the point x ‖ y, and the share from which the holder derives it
// again. The key's source is "owner"; free it with cr_secret_free. CR_DENIED if the point is not on the
// curve.
enum cr_status cr_recipient_seal(const unsigned char point[CR_IDENTITY_POINT_SIZE], struct cr_slice context,
                                 unsigned char share[CR_RECIPIENT_SHARE_SIZE], struct cr_sealing_key **out);

// Derives the same key for its holder. With another key pair or context the result is another key, which
// opens nothing. CR_DENIED if no point has the share as its x.
enum cr_status cr_recipient_open(const struct cr_identity *holder, struct cr_slice context,
                                 const unsigned char share[CR_RECIPIENT_SHARE_SIZE],
                                 struct cr_sealing_key **out);

#endif
