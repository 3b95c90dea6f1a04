// Any bytes as an audit log: what is whole stays whole, and is the same on a second reading.
#include "attestation/audit.h"

#include <stdlib.h>
#include <string.h>

static enum cr_status take(void *context, const struct cr_audit_entry *entry)
{
    size_t *length = context;
    *length += strlen(entry->peer) + strlen(entry->role) + strlen(entry->address) + strlen(entry->type) +
               strlen(entry->verdict) + strlen(entry->grounds);
    return CR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cr_audit_end end, again;
    size_t length = 0, second = 0;
    if (cr_audit_read((struct cr_slice){data, size}, "log", take, &length, &end) != CR_OK) return 0;
    if (end.good + end.torn != size) abort();
    if (cr_audit_read((struct cr_slice){data, end.good}, "log", take, &second, &again) != CR_OK) abort();
    if (again.torn != 0 || again.count != end.count || second != length) abort();
    return 0;
}
