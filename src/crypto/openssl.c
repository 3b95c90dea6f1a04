#include "crypto/openssl.h"

#include "crypto/heap.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

// Runs before anything else initialises OpenSSL. openssl.cnf and $OPENSSL_CONF are controlled by the
// machine's operator, who could load a provider through them; later initialisations, such as libssl's, do not
// read them either.
__attribute__((constructor)) static void start(void)
{
    // OpenSSL 3.5 waits for itself, and for ever, where the first allocations of its start fail.
    bool ready = cr_openssl_heap_start();
    if (ready) OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    // The default library context: OpenSSL 3.0 uses it everywhere without checking that it could be created.
    if (ready && OSSL_LIB_CTX_get0_global_default()) return;
    static const char word[] = "carrel: out of memory: OpenSSL cannot be started\n";
    ssize_t put = write(STDERR_FILENO, word, sizeof word - 1);
    (void)put; // the process exits in any case
    _exit(1);
}

enum cr_status cr_openssl_fail(enum cr_status code, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    unsigned long error = ERR_get_error();
    const char *reason = error ? ERR_reason_error_string(error) : NULL;
    ERR_clear_error();
    return reason ? cr_fail(code, "%s: %s", text, reason) : cr_fail(code, "%s", text);
}
