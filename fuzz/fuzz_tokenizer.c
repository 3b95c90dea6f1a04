// A hostile tokenizer.json, then a text and ids through what it makes. The input is the file; behind its
// first zero byte, where there is one, stands the text.
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char usual[] = "Hello <s> w\xc3\xb6rld\n 123 \xf0\x9f\xa6\x99 e\xcc\x81";
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    struct cr_slice json = {data, zero ? (size_t)(zero - data) : size};
    struct cr_slice text = {usual, sizeof usual - 1};
    if (zero) text = (struct cr_slice){zero + 1, size - json.size - 1};
    struct cr_tokenizer *tokenizer = NULL;
    if (cr_tokenizer_parse(json, "fuzz", &tokenizer) != CR_OK) return 0;
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer back = {0};
    if (cr_tokenizer_encode(tokenizer, text, true, &ids) == CR_OK) {
        for (size_t i = 0; i < ids.count; i++)
            if (ids.items[i] >= cr_tokenizer_vocabulary(tokenizer)) abort();
        for (int skip = 0; skip < 2; skip++) {
            cr_buffer_clear(&back);
            if (cr_tokenizer_decode(tokenizer, ids.items, ids.count, skip, &back) == CR_OK &&
                !cr_utf8_valid(cr_buffer_slice(&back), NULL))
                abort();
        }
    }
    uint32_t few[16];
    for (uint32_t i = 0; i < 16; i++) few[i] = i;
    size_t vocabulary = cr_tokenizer_vocabulary(tokenizer);
    cr_buffer_clear(&back);
    if (cr_tokenizer_decode(tokenizer, few, vocabulary < 16 ? vocabulary : 16, false, &back) == CR_OK &&
        !cr_utf8_valid(cr_buffer_slice(&back), NULL))
        abort();
    cr_tokenizer_free(tokenizer);
    return 0;
}
