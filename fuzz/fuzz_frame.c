// Bytes of a peer, in pieces whose sizes the first byte decides, through the frame reader.
#include "channel/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    size_t piece = (size_t)data[0] + 1;
    struct cr_frame_reader reader = {.accepted =
                                         data[0] & 1 ? 0 : 1u << CR_FRAME_ENROL | 1u << CR_FRAME_BEAT};
    enum cr_status status = CR_OK;
    for (size_t at = 1; status == CR_OK && at < size;) {
        unsigned char *space;
        size_t fits;
        cr_frame_reader_space(&reader, &space, &fits);
        if (fits > piece) fits = piece;
        if (fits > size - at) fits = size - at;
        memcpy(space, data + at, fits);
        at += fits;
        bool complete = false;
        struct cr_frame frame;
        status = cr_frame_reader_advance(&reader, fits, &complete, &frame);
        if (status != CR_OK || !complete) continue;
        // A complete frame is of a known type, and all of it may be read.
        if (frame.type == 0 || frame.type >= CR_FRAME_TYPES || frame.body.size > CR_FRAME_BODY_LIMIT) abort();
        unsigned sum = 0;
        for (size_t i = 0; i < frame.header.size; i++) sum += frame.header.data[i];
        for (size_t i = 0; i < frame.body.size; i++) sum += frame.body.data[i];
        if (sum == UINT32_MAX) abort(); // so that the sum is taken
        cr_frame_reader_next(&reader);
    }
    cr_frame_reader_release(&reader);
    return 0;
}
