// A join token as someone pasted it: what is accepted is written back the same.
#include "channel/token.h"

#include <stdlib.h>
#include <string.h>

static void round_trip(const char *text)
{
    struct cr_token token;
    if (cr_token_parse(text, &token) != CR_OK) return;
    struct cr_buffer again = {0};
    if (cr_token_write(&token, &again) != CR_OK || strcmp(cr_buffer_text(&again), text) != 0) abort();
    cr_buffer_release(&again);
}

// The bytes as a token's content, with the checksum and text form that they need to get further.
static void parse_content(const uint8_t *data, size_t size)
{
    unsigned char digest[CR_SHA256_SIZE];
    struct cr_buffer bytes = {0}, text = {0};
    if (cr_sha256((struct cr_slice){data, size}, digest) != CR_OK || cr_append(&bytes, data, size) != CR_OK ||
        cr_append(&bytes, digest, 4) != CR_OK || cr_append(&text, "carrel2.", 8) != CR_OK ||
        cr_base64url_append(&text, cr_buffer_slice(&bytes)) != CR_OK)
        abort();
    round_trip(cr_buffer_text(&text));
    cr_buffer_release(&bytes);
    cr_buffer_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text) return 0;
    if (size > 0) memcpy(text, data, size);
    text[size] = 0;
    round_trip(text);
    free(text);
    parse_content(data, size);
    struct cr_address address;
    char out[CR_ADDRESS_SIZE], formed[300] = {0};
    if (size < sizeof formed) {
        memcpy(formed, data, size);
        if (cr_address_parse(formed, &address) == CR_OK) cr_address_format(&address, out);
    }
    return 0;
}
