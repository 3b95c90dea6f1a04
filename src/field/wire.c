#include "field/wire.h"

#include <string.h>

static const char magic[4] = {'C', 'R', 'A', 'C'};

static void put(unsigned char *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) at[i] = (unsigned char)(value >> (8 * i));
}

void cr_wire_put_head(const struct cr_wire_head *head, unsigned char out[CR_WIRE_HEAD_SIZE])
{
    memcpy(out, magic, sizeof magic);
    put(out + 4, head->type, 4);
    put(out + 8, head->request, 8);
    put(out + 16, head->size, 8);
    put(out + 24, 0, 8);
}

void cr_wire_put_hello(const struct cr_wire_hello *hello, unsigned char out[CR_WIRE_HELLO_SIZE])
{
    put(out, CR_WIRE_VERSION, 4);
    put(out + 4, hello->digits, 4);
    put(out + 8, hello->shared, 8);
    put(out + 16, hello->matrices, 8);
    put(out + 24, hello->pads, 8);
}

void cr_wire_put_ready(const char *engine, unsigned char out[CR_WIRE_READY_SIZE])
{
    size_t length = strnlen(engine, CR_WIRE_READY_SIZE);
    memset(out, 0, CR_WIRE_READY_SIZE);
    memcpy(out, engine, length);
}

void cr_wire_put_product(const struct cr_wire_product *product, unsigned char out[CR_WIRE_PRODUCT_SIZE])
{
    put(out, product->linear, 4);
    put(out + 4, product->backward, 4);
    put(out + 8, product->rows, 4);
    put(out + 12, product->parts, 4);
    put(out + 16, product->place, 8);
    put(out + 24, product->turn, 4);
    put(out + 28, product->around, 4);
}

void cr_wire_put_front(const struct cr_wire_front *front, unsigned char out[CR_WIRE_FRONT_SIZE])
{
    put(out, front->layers, 4);
    put(out + 4, front->sequences, 4);
    put(out + 8, front->rows, 4);
    put(out + 12, 0, 4);
}

static struct cr_cursor cursor(const unsigned char *bytes, size_t size)
{
    return cr_cursor_over((struct cr_slice){bytes, size});
}

enum cr_status cr_wire_get_head(const unsigned char bytes[CR_WIRE_HEAD_SIZE], const char *peer,
                                struct cr_wire_head *out)
{
    struct cr_cursor at = cursor(bytes, CR_WIRE_HEAD_SIZE);
    struct cr_slice start = cr_read_slice(&at, sizeof magic);
    uint32_t type = cr_read_u32(&at);
    uint64_t request = cr_read_u64(&at), size = cr_read_u64(&at), zero = cr_read_u64(&at);
    if (memcmp(start.data, magic, sizeof magic) != 0)
        return cr_fail(CR_PROTOCOL, "%s: that is not the protocol of a carrel accelerator", peer);
    if (type == 0 || type >= CR_WIRE_TYPES || zero != 0)
        return cr_fail(CR_PROTOCOL, "%s: a message of unknown form (type %u)", peer, type);
    if (size > CR_WIRE_BODY_LIMIT)
        return cr_fail(CR_PROTOCOL, "%s: a message of %llu bytes", peer, (unsigned long long)size);
    *out = (struct cr_wire_head){.type = (enum cr_wire_type)type, .request = request, .size = size};
    return CR_OK;
}

enum cr_status cr_wire_get_hello(const unsigned char bytes[CR_WIRE_HELLO_SIZE], const char *peer,
                                 struct cr_wire_hello *out)
{
    struct cr_cursor at = cursor(bytes, CR_WIRE_HELLO_SIZE);
    uint32_t version = cr_read_u32(&at), digits = cr_read_u32(&at);
    uint64_t shared = cr_read_u64(&at), matrices = cr_read_u64(&at), pads = cr_read_u64(&at);
    if (version != CR_WIRE_VERSION)
        return cr_fail(CR_PROTOCOL, "%s: it speaks version %u of the accelerator's protocol, this program %d",
                       peer, version, CR_WIRE_VERSION);
    if (digits != 3 && digits != 4) return cr_fail(CR_PROTOCOL, "%s: %u digits, not 3 or 4", peer, digits);
    if (shared > CR_WIRE_BODY_LIMIT)
        return cr_fail(CR_PROTOCOL, "%s: %llu bytes of shared memory", peer, (unsigned long long)shared);
    if (pads > CR_WIRE_PADS_LIMIT)
        return cr_fail(CR_PROTOCOL, "%s: %llu bytes of products of pads", peer, (unsigned long long)pads);
    *out = (struct cr_wire_hello){.digits = digits, .shared = shared, .matrices = matrices, .pads = pads};
    return CR_OK;
}

static bool printable(unsigned char c)
{
    return c >= 0x20 && c < 0x7f;
}

enum cr_status cr_wire_get_ready(const unsigned char bytes[CR_WIRE_READY_SIZE], const char *peer,
                                 char engine[CR_WIRE_READY_SIZE + 1])
{
    size_t length = 0;
    while (length < CR_WIRE_READY_SIZE && printable(bytes[length])) length++;
    bool right = length > 0;
    for (size_t i = length; i < CR_WIRE_READY_SIZE; i++) right = right && bytes[i] == 0;
    if (!right) return cr_fail(CR_PROTOCOL, "%s: the name of its engine is no name", peer);
    memcpy(engine, bytes, length);
    engine[length] = 0;
    return CR_OK;
}

enum cr_status cr_wire_get_product(const unsigned char bytes[CR_WIRE_PRODUCT_SIZE], const char *peer,
                                   struct cr_wire_product *out)
{
    struct cr_cursor at = cursor(bytes, CR_WIRE_PRODUCT_SIZE);
    uint32_t linear = cr_read_u32(&at), direction = cr_read_u32(&at), rows = cr_read_u32(&at);
    uint32_t parts = cr_read_u32(&at);
    uint64_t place = cr_read_u64(&at);
    uint32_t turn = cr_read_u32(&at), around = cr_read_u32(&at);
    if (direction > 1 || rows == 0 || parts == 0)
        return cr_fail(CR_PROTOCOL, "%s: a product of unknown form (direction %u, %u rows, %u parts)", peer,
                       direction, rows, parts);
    if (around == 0 ? place > 0 || turn > 0 : turn >= around || rows > around)
        return cr_fail(
            CR_PROTOCOL,
            "%s: a product of unknown form (%u rows, products of pads from row %u of %u behind word %llu)",
            peer, rows, turn, around, (unsigned long long)place);
    *out = (struct cr_wire_product){.linear = linear,
                                    .backward = direction == 1,
                                    .rows = rows,
                                    .parts = parts,
                                    .place = place,
                                    .turn = turn,
                                    .around = around};
    return CR_OK;
}

enum cr_status cr_wire_get_front(const unsigned char bytes[CR_WIRE_FRONT_SIZE], const char *peer,
                                 struct cr_wire_front *out)
{
    struct cr_cursor at = cursor(bytes, CR_WIRE_FRONT_SIZE);
    uint32_t layers = cr_read_u32(&at), sequences = cr_read_u32(&at), rows = cr_read_u32(&at);
    uint32_t zero = cr_read_u32(&at);
    if (layers == 0 || sequences == 0 || sequences > rows || zero != 0)
        return cr_fail(CR_PROTOCOL, "%s: a front of unknown form (%u layers, %u sequences, %u rows)", peer,
                       layers, sequences, rows);
    *out = (struct cr_wire_front){.layers = layers, .sequences = sequences, .rows = rows};
    return CR_OK;
}

void cr_wire_clean_text(char *text, size_t size)
{
    for (size_t i = 0; i < size && text[i]; i++)
        if (!printable((unsigned char)text[i])) text[i] = '?';
}
