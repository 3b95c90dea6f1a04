#include "report/tensorboard.h"

#include <string.h>

// Field numbers and wire types of protobuf, as tags: (number << 3) | type.
enum {
    EVENT_WALL_TIME = 1 << 3 | 1,
    EVENT_STEP = 2 << 3 | 0,
    EVENT_FILE_VERSION = 3 << 3 | 2,
    EVENT_SUMMARY = 5 << 3 | 2,
    EVENT_SESSION_LOG = 7 << 3 | 2,
    SESSION_LOG_STATUS = 1 << 3 | 0,
    SESSION_LOG_START = 1,
    SUMMARY_VALUE = 1 << 3 | 2,
    VALUE_TAG = 1 << 3 | 2,
    VALUE_SIMPLE = 2 << 3 | 5,
};

uint32_t cr_crc32c(struct cr_slice bytes)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < bytes.size; i++) {
        crc ^= bytes.data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

// TFRecord's mask: a CRC of data that contain CRCs would be weak.
static uint32_t masked_crc(const void *data, size_t size)
{
    uint32_t crc = cr_crc32c((struct cr_slice){data, size});
    return (crc >> 15 | crc << 17) + 0xa282ead8;
}

static enum cr_status append_record(struct cr_buffer *out, const struct cr_buffer *event)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer record = {0};
    CR_TRY(cr_append_u64(&record, event->size));
    CR_TRY(cr_append_u32(&record, masked_crc(record.data, record.size)));
    CR_TRY(cr_append(&record, event->data, event->size));
    CR_TRY(cr_append_u32(&record, masked_crc(event->data, event->size)));
    return cr_append(out, record.data, record.size);
}

static enum cr_status append_varint(struct cr_buffer *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) CR_TRY(cr_append_u8(out, (uint8_t)(value | 0x80)));
    return cr_append_u8(out, (uint8_t)value);
}

static enum cr_status append_bytes(struct cr_buffer *out, uint8_t tag, const void *bytes, size_t size)
{
    CR_TRY(cr_append_u8(out, tag));
    CR_TRY(append_varint(out, size));
    return cr_append(out, bytes, size);
}

static enum cr_status begin_event(struct cr_buffer *event, double time, int64_t step)
{
    uint64_t bits;
    memcpy(&bits, &time, sizeof bits);
    CR_TRY(cr_append_u8(event, EVENT_WALL_TIME));
    CR_TRY(cr_append_u64(event, bits));
    if (step == 0) return CR_OK; // proto3 omits default values
    CR_TRY(cr_append_u8(event, EVENT_STEP));
    return append_varint(event, (uint64_t)step);
}

enum cr_status cr_tensorboard_append_version(struct cr_buffer *out, double time)
{
    static const char version[] = "brain.Event:2";
    CR_CLEANUP(cr_buffer_release) struct cr_buffer event = {0};
    CR_TRY(begin_event(&event, time, 0));
    CR_TRY(append_bytes(&event, EVENT_FILE_VERSION, version, sizeof version - 1));
    return append_record(out, &event);
}

enum cr_status cr_tensorboard_append_start(struct cr_buffer *out, double time, int64_t step)
{
    static const unsigned char log[] = {SESSION_LOG_STATUS, SESSION_LOG_START};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer event = {0};
    CR_TRY(begin_event(&event, time, step));
    CR_TRY(append_bytes(&event, EVENT_SESSION_LOG, log, sizeof log));
    return append_record(out, &event);
}

enum cr_status cr_tensorboard_append_scalar(struct cr_buffer *out, double time, int64_t step, const char *tag,
                                            double value)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer item = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer summary = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer event = {0};
    float number = (float)value;
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    CR_TRY(append_bytes(&item, VALUE_TAG, tag, strlen(tag)));
    CR_TRY(cr_append_u8(&item, VALUE_SIMPLE));
    CR_TRY(cr_append_u32(&item, bits));
    CR_TRY(append_bytes(&summary, SUMMARY_VALUE, item.data, item.size));
    CR_TRY(begin_event(&event, time, step));
    CR_TRY(append_bytes(&event, EVENT_SUMMARY, summary.data, summary.size));
    return append_record(out, &event);
}
