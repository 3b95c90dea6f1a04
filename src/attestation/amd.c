#include "attestation/amd.h"
#include "attestation/der.h"

#include <string.h>

#define AMD "1.3.6.1.4.1.3704.1."

const unsigned char cr_amd_roots[CR_AMD_ROOTS][CR_SHA256_SIZE] = {
    {0x9f, 0x05, 0x6b, 0xee, 0x44, 0x37, 0x7e, 0x29, 0x30, 0x8c, 0xb5, 0xff, 0xa8, 0x95, 0xbd, 0xfb,
     0x62, 0xd1, 0x88, 0x81, 0xfa, 0x6b, 0xed, 0x8d, 0x6f, 0x07, 0x5b, 0x02, 0x04, 0x08, 0x9c, 0xb9},
    {0x42, 0x9a, 0x69, 0xc9, 0x42, 0x2a, 0xa2, 0x58, 0xee, 0x4d, 0x8d, 0xb5, 0xfc, 0xda, 0x9c, 0x64,
     0x70, 0xef, 0x15, 0xf8, 0xcd, 0x5a, 0x9c, 0xeb, 0xd6, 0xcb, 0xc7, 0xd9, 0x0b, 0x86, 0x38, 0x31},
    {0x4f, 0x12, 0x54, 0x10, 0x56, 0x3a, 0x2a, 0xb9, 0xa5, 0x03, 0x56, 0xf9, 0x24, 0x3f, 0x6f, 0xe0,
     0xb6, 0xf7, 0x3d, 0xe9, 0x86, 0x03, 0xf5, 0x3f, 0x90, 0x33, 0x9c, 0x70, 0xe9, 0xd7, 0xad, 0x08},
};

bool cr_amd_key_is_one(const struct cr_x509 *certificate)
{
    struct cr_slice value;
    return cr_x509_extension(certificate, AMD "3.1", &value);
}

// Reads a security version; false if there is none or it does not fit.
static bool read_version(const struct cr_x509 *certificate, const char *oid, uint8_t *out)
{
    struct cr_slice value;
    if (!cr_x509_extension(certificate, oid, &value)) return false;
    struct cr_cursor cursor = cr_cursor_over(value);
    uint32_t number = cr_der_read_number(&cursor);
    if (cursor.failed || cr_cursor_left(&cursor) > 0 || number > UINT8_MAX) return false;
    *out = (uint8_t)number;
    return true;
}

// Reads an ASCII word; "" if there is none or it does not fit.
static void read_word(const struct cr_x509 *certificate, const char *oid, char *out, size_t room)
{
    struct cr_slice value;
    out[0] = 0;
    if (!cr_x509_extension(certificate, oid, &value)) return;
    struct cr_cursor cursor = cr_cursor_over(value);
    struct cr_slice word = cr_der_read(&cursor, CR_DER_IA5);
    if (word.size == 0 || word.size >= room) return;
    for (size_t i = 0; i < word.size; i++)
        if (word.data[i] <= ' ' || word.data[i] > '~') return;
    memcpy(out, word.data, word.size);
    out[word.size] = 0;
}

// The chip's id is stored directly or, in some certificates, as an OCTET STRING.
static struct cr_slice chip_id_of(struct cr_slice value)
{
    struct cr_cursor cursor = cr_cursor_over(value);
    struct cr_slice inner = cr_der_read(&cursor, CR_DER_OCTETS);
    bool wrapped = !cursor.failed && cr_cursor_left(&cursor) == 0 && (inner.size == 8 || inner.size == 64);
    return wrapped && value.size != 64 && value.size != 8 ? inner : value;
}

enum cr_status cr_amd_key_parse(const struct cr_x509 *certificate, struct cr_amd_key *out)
{
    struct cr_amd_key key = {0};
    struct cr_slice value;
    if (!read_version(certificate, AMD "3.1", &key.tcb.bootloader) ||
        !read_version(certificate, AMD "3.2", &key.tcb.tee) ||
        !read_version(certificate, AMD "3.3", &key.tcb.snp) ||
        !read_version(certificate, AMD "3.8", &key.tcb.microcode))
        return cr_fail(CR_INVALID, "AMD's certificate: the versions of its TCB lack or are malformed");
    key.is_turin = read_version(certificate, AMD "3.9", &key.tcb.fmc);
    if (cr_x509_extension(certificate, AMD "4", &value)) {
        key.chip_id = chip_id_of(value);
        if (key.chip_id.size != 8 && key.chip_id.size != CR_SNP_CHIP_ID_SIZE)
            return cr_fail(CR_INVALID, "AMD's certificate: a chip id of %zu bytes", key.chip_id.size);
    } else {
        key.is_vlek = cr_x509_extension(certificate, AMD "5", &value);
        if (!key.is_vlek) return cr_fail(CR_INVALID, "AMD's certificate: neither a chip's id nor a fleet's");
    }
    read_word(certificate, key.is_vlek ? AMD "5" : AMD "2", key.product, sizeof key.product);
    *out = key;
    return CR_OK;
}

bool cr_amd_key_is_of_chip(const struct cr_amd_key *key, struct cr_slice chip_id)
{
    size_t size = key->chip_id.size;
    return !key->is_vlek && size <= chip_id.size && memcmp(key->chip_id.data, chip_id.data, size) == 0 &&
           cr_slice_is_zero((struct cr_slice){chip_id.data + size, chip_id.size - size});
}
