#include "attestation/tpm.h"

enum {
    MAGIC = 0xff544347,
    TYPE_QUOTE = 0x8018,
    RSASSA = 0x0014,
    ECDSA = 0x0018,
    DIGEST_SIZE = 32,
    P256_SIZE = 32,
    MOST_SELECTION = 4, // bytes of a selection
};

// Reads a two-byte length and that many bytes.
static struct cr_slice read_sized(struct cr_cursor *cursor)
{
    return cr_read_slice(cursor, (size_t)cr_read_big_endian(cursor, 2));
}

bool cr_tpm_quote_is_one(struct cr_slice message)
{
    struct cr_cursor cursor = cr_cursor_over(message);
    return cr_read_big_endian(&cursor, 4) == MAGIC && cr_read_big_endian(&cursor, 2) == TYPE_QUOTE &&
           !cursor.failed;
}

size_t cr_tpm_hash_size(enum cr_tpm_hash hash)
{
    return hash == CR_TPM_SHA1 ? 20 : hash == CR_TPM_SHA256 ? 32 : 48;
}

static enum cr_status read_selection(struct cr_cursor *cursor, struct cr_tpm_quote *quote)
{
    uint64_t count = cr_read_big_endian(cursor, 4), bank = cr_read_big_endian(cursor, 2);
    size_t size = cr_read_u8(cursor);
    struct cr_slice bits = cr_read_slice(cursor, size);
    if (cursor->failed) return cr_fail(CR_INVALID, "TPM quote: it ends within its selection of PCRs");
    if (count != 1)
        return cr_fail(CR_UNSUPPORTED, "TPM quote: PCRs of %zu banks (one is known)", (size_t)count);
    if (bank != CR_TPM_SHA1 && bank != CR_TPM_SHA256 && bank != CR_TPM_SHA384)
        return cr_fail(CR_UNSUPPORTED,
                       "TPM quote: PCRs of bank 0x%04x (SHA-1, SHA-256 and SHA-384 are known)",
                       (unsigned)bank);
    if (size > MOST_SELECTION) return cr_fail(CR_INVALID, "TPM quote: a selection of %zu bytes", size);
    for (size_t i = 0; i < size; i++) quote->selected |= (uint32_t)bits.data[i] << (8 * i);
    if (quote->selected >> CR_TPM_PCRS) return cr_fail(CR_UNSUPPORTED, "TPM quote: PCRs above 23");
    quote->bank = (enum cr_tpm_hash)bank;
    return CR_OK;
}

enum cr_status cr_tpm_quote_parse(struct cr_slice message, struct cr_tpm_quote *out)
{
    struct cr_tpm_quote quote = {0};
    struct cr_cursor cursor = cr_cursor_over(message);
    if (!cr_tpm_quote_is_one(message)) return cr_fail(CR_INVALID, "TPM quote: it does not begin as one");
    cr_read_slice(&cursor, 6);
    read_sized(&cursor); // the key's qualified name; unused
    quote.extra_data = read_sized(&cursor);
    quote.clock = cr_read_big_endian(&cursor, 8);
    quote.reset_count = (uint32_t)cr_read_big_endian(&cursor, 4);
    quote.restart_count = (uint32_t)cr_read_big_endian(&cursor, 4);
    quote.safe = cr_read_u8(&cursor) == 1;
    quote.firmware_version = cr_read_big_endian(&cursor, 8);
    if (cursor.failed) return cr_fail(CR_INVALID, "TPM quote: it ends within what comes before its PCRs");
    CR_TRY(read_selection(&cursor, &quote));
    quote.digest = read_sized(&cursor);
    if (cursor.failed) return cr_fail(CR_INVALID, "TPM quote: it ends within its digest");
    if (quote.digest.size != DIGEST_SIZE)
        return cr_fail(CR_UNSUPPORTED, "TPM quote: a digest of %zu bytes (SHA-256 is known)",
                       quote.digest.size);
    if (cr_cursor_left(&cursor) > 0) return cr_fail(CR_INVALID, "TPM quote: bytes behind its end");
    *out = quote;
    return CR_OK;
}

// Appends a number of an ECDSA signature, which a TPM may write without leading zeros.
static enum cr_status append_number(struct cr_buffer *out, struct cr_slice number)
{
    while (number.size > P256_SIZE && number.data[0] == 0) {
        number.data++;
        number.size--;
    }
    if (number.size > P256_SIZE) return cr_fail(CR_INVALID, "TPM signature: a number longer than P-256's");
    for (size_t i = number.size; i < P256_SIZE; i++) CR_TRY(cr_append_u8(out, 0));
    return cr_append(out, number.data, number.size);
}

enum cr_status cr_tpm_signature_bytes(struct cr_slice signature, struct cr_buffer *out)
{
    struct cr_cursor cursor = cr_cursor_over(signature);
    uint64_t scheme = cr_read_big_endian(&cursor, 2), hash = cr_read_big_endian(&cursor, 2);
    struct cr_slice first = read_sized(&cursor);
    bool rsa = scheme == RSASSA && cr_cursor_left(&cursor) == 0;
    struct cr_slice second = rsa ? first : read_sized(&cursor);
    bool ecdsa = scheme == ECDSA && cr_cursor_left(&cursor) == 0;
    if (cursor.failed || hash != CR_TPM_SHA256 || (!rsa && !ecdsa))
        return cr_append(out, signature.data, signature.size);
    if (rsa) return cr_append(out, first.data, first.size);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer pair = {0};
    CR_TRY(append_number(&pair, first));
    CR_TRY(append_number(&pair, second));
    return cr_append(out, pair.data, pair.size);
}
