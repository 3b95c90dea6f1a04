#include "text/byte_level.h"

#include "text/unicode.h"

static bool stands_for_itself(unsigned byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

// Bytes 0-32, 127-160 and 173 are mapped to other characters.
static uint32_t character_of(unsigned char byte)
{
    if (stands_for_itself(byte)) return byte;
    return 0x100u + (byte <= 32 ? byte : byte <= 160 ? 33u + byte - 127u : 67u);
}

int cr_byte_level_byte(uint32_t c)
{
    if (c < 0x100) return stands_for_itself(c) ? (int)c : -1;
    if (c < 0x100 + 33) return (int)(c - 0x100);
    if (c < 0x100 + 67) return (int)(c - 0x100 - 33 + 127);
    return c == 0x100 + 67 ? 173 : -1;
}

enum cr_status cr_byte_level_append(struct cr_buffer *out, struct cr_slice bytes)
{
    unsigned char chunk[256];
    size_t used = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        if (used > sizeof chunk - 4) {
            CR_TRY(cr_append(out, chunk, used));
            used = 0;
        }
        used += cr_utf8_put(character_of(bytes.data[i]), chunk + used);
    }
    return cr_append(out, chunk, used);
}
