// What the files of crypto/ share about OpenSSL; not for other layers.
#ifndef CARREL_CRYPTO_OPENSSL_H
#define CARREL_CRYPTO_OPENSSL_H

#include "base/status.h"

// cr_fail with ": " and the reason of OpenSSL's oldest queued error, where there is one, appended; empties
// the queue. Reasons are fixed texts, never data.
enum cr_status cr_openssl_fail(enum cr_status code, const char *format, ...) CR_PRINTF(2, 3);

#endif
