// Headers of every type; what is accepted comes back the same after another round trip. The first byte is the
// type.
#include "channel/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    enum cr_frame_type type = (enum cr_frame_type)(1 + data[0] % (CR_FRAME_TYPES - 1));
    struct cr_frame frame = {.type = type, .header = {data + 1, size - 1}};
    struct cr_message message, again;
    if (cr_message_decode(&frame, &message) != CR_OK) return 0;
    struct cr_buffer first = {0}, second = {0};
    if (cr_message_encode(&message, &first) != CR_OK) abort();
    frame.header = cr_buffer_slice(&first);
    if (cr_message_decode(&frame, &again) != CR_OK || cr_message_encode(&again, &second) != CR_OK) abort();
    if (!cr_slice_equal(cr_buffer_slice(&first), cr_buffer_slice(&second))) abort();
    cr_buffer_release(&first);
    cr_buffer_release(&second);
    cr_message_release(&message);
    cr_message_release(&again);
    return 0;
}
