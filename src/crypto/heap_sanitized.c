// Replaces heap.c in builds with a sanitizer (CMakeLists.txt), so that the sanitizer can track OpenSSL's
// allocations.
#include "crypto/heap.h"

bool cr_openssl_heap_start(void)
{
    return true;
}
