// Any bytes as CBOR: what can be passed over as a whole is read item by item to the same end.
#include "fuzz_support.h"

#include "format/cbor.h"

static void walk(struct cr_cursor *cursor)
{
    struct cr_cbor_item item;
    check(cr_cbor_next(cursor, &item));
    uint64_t parts = item.kind == CR_CBOR_ARRAY ? item.number
                     : item.kind == CR_CBOR_MAP ? 2 * item.number
                                                : 0;
    if (item.kind == CR_CBOR_TAG) parts = 1;
    for (uint64_t i = 0; i < parts; i++) walk(cursor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cr_cursor whole = cr_cursor_over((struct cr_slice){data, size}), parts = whole;
    if (!cr_cbor_skip(&whole)) return 0;
    walk(&parts);
    check(!parts.failed && parts.at == whole.at);
    return 0;
}
