#include "channel/frame.h"

#include <string.h>

struct bounds {
    const char *name;
    size_t header, body;
};

static const struct bounds types[CR_FRAME_TYPES] = {
    [CR_FRAME_ENROL] = {"Enrol", 4096, 0},
    [CR_FRAME_ENROLLED] = {"Enrolled", 16384, 0},
    [CR_FRAME_REFUSED] = {"Refused", 4096, 0},
    [CR_FRAME_HELLO] = {"Hello", 1024, 0},
    [CR_FRAME_JOB] = {"Job", 1024, 0},
    [CR_FRAME_READY] = {"Ready", 1024, 0},
    [CR_FRAME_BEGIN] = {"Begin", 1024, 0},
    [CR_FRAME_PULL] = {"Pull", 1024, 0},
    [CR_FRAME_VALUES] = {"Values", 1024, CR_FRAME_BODY_LIMIT},
    [CR_FRAME_PROGRESS] = {"Progress", 1024, 0},
    [CR_FRAME_TRAINED] = {"Trained", 1024, 0},
    [CR_FRAME_CLOSED] = {"Closed", 1024, 0},
    [CR_FRAME_FINISHED] = {"Finished", 1024, 0},
    [CR_FRAME_OFFER] = {"Offer", 1024, 0},
    [CR_FRAME_CUT] = {"Cut", 1024, CR_FRAME_BODY_LIMIT},
    [CR_FRAME_HELD] = {"Held", 1024, 0},
    [CR_FRAME_ASK] = {"Ask", 1024, 0},
    [CR_FRAME_NEXT] = {"Next", 1024, 0},
    [CR_FRAME_SCORE] = {"Score", 1024, 0},
    [CR_FRAME_BEAT] = {"Beat", 0, 0},
    [CR_FRAME_CLOSE] = {"Close", 0, 0},
    [CR_FRAME_CHALLENGE] = {"Challenge", 1024, 0},
    [CR_FRAME_EVIDENCE] = {"Evidence", 1024, CR_FRAME_EVIDENCE_LIMIT},
    [CR_FRAME_ADMITTED] = {"Admitted", 0, 0},
    [CR_FRAME_MANIFEST] = {"Manifest", 0, CR_FRAME_BODY_LIMIT},
};

static const unsigned char magic[4] = {'C', 'R', 'L', '1'};

const char *cr_frame_name(unsigned type)
{
    return type > 0 && type < CR_FRAME_TYPES ? types[type].name : "?";
}

static void put_u16(unsigned char *out, size_t value)
{
    out[0] = (unsigned char)value;
    out[1] = (unsigned char)(value >> 8);
}

static void put_u32(unsigned char *out, size_t value)
{
    put_u16(out, value & 0xffff);
    put_u16(out + 2, value >> 16);
}

enum cr_status cr_frame_start(enum cr_frame_type type, size_t header_size, size_t body_size,
                              unsigned char out[CR_FRAME_START_SIZE])
{
    const struct bounds *bounds = &types[type];
    if (header_size > bounds->header || body_size > bounds->body)
        return cr_fail(CR_INTERNAL, "a %s frame of %zu + %zu bytes is over its bound", bounds->name,
                       header_size, body_size);
    memcpy(out, magic, sizeof magic);
    put_u16(out + 4, type);
    put_u16(out + 6, 0);
    put_u32(out + 8, header_size);
    put_u32(out + 12, body_size);
    return CR_OK;
}

// Wiped, since headers may hold token secrets, and bodies values and activations.
static void forget(unsigned char **bytes, size_t *capacity)
{
    if (*bytes) cr_wipe(*bytes, *capacity);
    cr_free(bytes);
    *capacity = 0;
}

// Does not keep the old content. cr_allocate aligns the memory.
static enum cr_status make_room(size_t size, unsigned char **bytes, size_t *capacity)
{
    if (size <= *capacity) return CR_OK;
    forget(bytes, capacity);
    CR_TRY(cr_allocate(size, 1, bytes));
    *capacity = size;
    return CR_OK;
}

static enum cr_status read_start(struct cr_frame_reader *reader)
{
    struct cr_cursor cursor = cr_cursor_over((struct cr_slice){reader->start, CR_FRAME_START_SIZE});
    if (memcmp(cr_read_slice(&cursor, sizeof magic).data, magic, sizeof magic) != 0)
        return cr_fail(CR_PROTOCOL, "the peer does not speak this version of the protocol (wrong magic)");
    unsigned type = cr_read_u16(&cursor);
    unsigned zero = cr_read_u16(&cursor);
    size_t header_size = cr_read_u32(&cursor);
    size_t body_size = cr_read_u32(&cursor);
    if (type == 0 || type >= CR_FRAME_TYPES || zero != 0)
        return cr_fail(CR_PROTOCOL, "the peer sent a frame of unknown type %u", type);
    const struct bounds *bounds = &types[type];
    if (reader->accepted != 0 && !(reader->accepted >> type & 1))
        return cr_fail(CR_PROTOCOL, "a %s frame is not accepted here", bounds->name);
    if (header_size > bounds->header)
        return cr_fail(CR_PROTOCOL, "oversized frame: a %s header of %zu bytes, at most %zu allowed",
                       bounds->name, header_size, bounds->header);
    if (body_size > bounds->body)
        return cr_fail(CR_PROTOCOL, "oversized frame: a %s body of %zu bytes, at most %zu allowed",
                       bounds->name, body_size, bounds->body);
    CR_TRY(make_room(header_size, &reader->header, &reader->header_capacity));
    CR_TRY(make_room(body_size, &reader->body, &reader->body_capacity));
    reader->type = type;
    reader->header_size = header_size;
    reader->body_size = body_size;
    return CR_OK;
}

void cr_frame_reader_release(struct cr_frame_reader *reader)
{
    forget(&reader->header, &reader->header_capacity);
    forget(&reader->body, &reader->body_capacity);
    *reader = (struct cr_frame_reader){0};
}

void cr_frame_reader_space(struct cr_frame_reader *reader, unsigned char **space, size_t *size)
{
    size_t at = reader->have;
    if (at < CR_FRAME_START_SIZE) {
        *space = reader->start + at;
        *size = CR_FRAME_START_SIZE - at;
        return;
    }
    at -= CR_FRAME_START_SIZE;
    if (at < reader->header_size) {
        *space = reader->header + at;
        *size = reader->header_size - at;
        return;
    }
    at -= reader->header_size;
    *size = reader->body_size - at;
    *space = *size > 0 ? reader->body + at : reader->start;
}

enum cr_status cr_frame_reader_advance(struct cr_frame_reader *reader, size_t got, bool *complete,
                                       struct cr_frame *frame)
{
    bool in_start = reader->have < CR_FRAME_START_SIZE;
    reader->have += got;
    if (in_start && reader->have == CR_FRAME_START_SIZE) CR_TRY(read_start(reader));
    *complete = reader->have >= CR_FRAME_START_SIZE &&
                reader->have == CR_FRAME_START_SIZE + reader->header_size + reader->body_size;
    if (*complete)
        *frame = (struct cr_frame){.type = (enum cr_frame_type)reader->type,
                                   .header = {reader->header, reader->header_size},
                                   .body = {reader->body, reader->body_size}};
    return CR_OK;
}

void cr_frame_reader_next(struct cr_frame_reader *reader)
{
    reader->have = 0;
    reader->header_size = reader->body_size = 0;
}
