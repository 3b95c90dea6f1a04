// A sealing key for one file that somebody else is to open: the holder of a P-256 key, of which the writer
// knows the public half alone.
//
// The writer draws a key pair for the file. The sealing key is HKDF-SHA-256 of the secret that both halves of
// the two pairs share (ECDH, SP 800-56A section 5.7.1.2), without salt, with "carrel sealed for a recipient",
// a zero byte, the x of the file's point, the x of the recipient's and a context as info. The file's x is its
// share, which travels with the file: the shared secret is the x of a point, and is the same for either y.
//
// It proves nothing of who wrote the file: whoever knows the public key can write one.
#ifndef CARREL_CRYPTO_RECIPIENT_H
#define CARREL_CRYPTO_RECIPIENT_H

#include "crypto/identity.h"

enum { CR_RECIPIENT_SHARE_SIZE = 32 };

// A key for the holder of the key whose point x ‖ y that is, and the share that he gets it again from. Its
// source is "owner". Free with cr_secret_free. CR_DENIED where the point is not on the curve.
enum cr_status cr_recipient_seal(const unsigned char point[CR_IDENTITY_POINT_SIZE], struct cr_slice context,
                                 unsigned char share[CR_RECIPIENT_SHARE_SIZE], struct cr_sealing_key **out);

// The same key for its holder. Of a key pair that is another, or of another context, it is another key, which
// opens nothing. CR_DENIED where no point has that share.
enum cr_status cr_recipient_open(const struct cr_identity *holder, struct cr_slice context,
                                 const unsigned char share[CR_RECIPIENT_SHARE_SIZE],
                                 struct cr_sealing_key **out);

#endif
