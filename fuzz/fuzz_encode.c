// Hostile text through two fixed tokenizers: byte-level gives back what it was given, byte for byte; with
// byte fallback too, less the spaces that SentencePiece's steps turn into others.
#include "text/tokenizer.h"
#include "text/trainer.h"

#include <stdlib.h>

static struct cr_tokenizer *make_byte_level(void)
{
    const char *const special[] = {"<s>", "<|end|>"};
    struct cr_bpe_options options = {.vocabulary = 300, .special = special, .special_count = 2, .bos = "<s>"};
    struct cr_slice text =
        cr_slice_of_string("the then there other 12 123 1234 don't can't  \n\n  \t caf\xc3\xa9 na\xc3\xafve "
                           "\xe4\xbd\xa0\xe5\xa5\xbd \xe4\xbd\xa0\xe5\xa5\xbd the other then");
    CR_CLEANUP(cr_buffer_release) struct cr_buffer json = {0};
    struct cr_tokenizer *tokenizer = NULL;
    if (cr_bpe_train(&text, 1, &options, &json) != CR_OK ||
        cr_tokenizer_parse(cr_buffer_slice(&json), "byte-level", &tokenizer) != CR_OK)
        abort();
    return tokenizer;
}

static struct cr_tokenizer *make_byte_fallback(void)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer json = {0};
    enum cr_status status = cr_append_format(
        &json, "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"},"
               "{\"type\": \"Prepend\", \"prepend\": \"\xe2\x96\x81\"},"
               "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xe2\x96\x81\"}]},"
               "\"added_tokens\": [{\"id\": 0, \"content\": \"<s>\", \"special\": true, \"lstrip\": true, "
               "\"rstrip\": true}],"
               "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"ByteFallback\"}, "
               "{\"type\": \"Fuse\"}]},"
               "\"model\": {\"byte_fallback\": true, \"vocab\": {\"<s>\": 0");
    for (unsigned byte = 0; byte < 256 && status == CR_OK; byte++)
        status = cr_append_format(&json, ", \"<0x%02X>\": %u", byte, byte + 1);
    if (status == CR_OK)
        status = cr_append_format(
            &json, ", \"a\": 257, \"b\": 258, \"ab\": 259, \"\xe2\x96\x81\": 260, \"\xe2\x96\x81"
                   "ab\": 261}, \"merges\": [\"a b\", \"\xe2\x96\x81 ab\"]}}");
    struct cr_tokenizer *tokenizer = NULL;
    if (status != CR_OK || cr_tokenizer_parse(cr_buffer_slice(&json), "byte-fallback", &tokenizer) != CR_OK)
        abort();
    return tokenizer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cr_tokenizer *byte_level, *byte_fallback;
    if (!byte_level) byte_level = make_byte_level();
    if (!byte_fallback) byte_fallback = make_byte_fallback();
    struct cr_slice text = {data, size};
    bool valid = cr_utf8_valid(text, NULL);
    CR_CLEANUP(cr_ids_release) struct cr_ids ids = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer back = {0};
    if ((cr_tokenizer_encode(byte_level, text, false, &ids) == CR_OK) != valid) abort();
    if (!valid) return 0;
    if (cr_tokenizer_decode(byte_level, ids.items, ids.count, false, &back) != CR_OK) abort();
    if (!cr_slice_equal(text, cr_buffer_slice(&back))) abort();

    ids.count = 0;
    cr_buffer_clear(&back);
    if (cr_tokenizer_encode(byte_fallback, text, true, &ids) != CR_OK) abort();
    if (cr_tokenizer_decode(byte_fallback, ids.items, ids.count, true, &back) != CR_OK) abort();
    if (!cr_utf8_valid(cr_buffer_slice(&back), NULL)) abort();
    return 0;
}
