// Any bytes as an event log: refused, or replayed in both banks to as many events, where every event has
// both.
#include "fuzz_support.h"

#include "attestation/event_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cr_slice log = {data, size};
    struct cr_event_replay first, second;
    enum cr_status one = cr_event_log_replay(log, CR_TPM_SHA384, &first);
    enum cr_status two = cr_event_log_replay(log, CR_TPM_SHA256, &second);
    check((one == CR_OK || one == CR_INVALID) && (two == CR_OK || two == CR_INVALID));
    if (one == CR_OK && two == CR_OK) check(first.events == second.events);
    return 0;
}
