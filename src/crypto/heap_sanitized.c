// In place of heap.c where the build has a sanitizer (CMakeLists.txt), which can then follow what OpenSSL
// allocates.
#include "crypto/heap.h"

void cr_openssl_heap_start(void)
{
}
