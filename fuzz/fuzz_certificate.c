// The first byte chooses: a hostile request to issue over; a certificate and a CA to install (a length of two
// bytes says where the first ends); or base64url text. Nothing may fault, and what is issued can be decoded.
#include "fuzz_support.h"

#include "crypto/identity.h"

enum { NOW = 1790000000 };

static void issue(struct cr_slice request)
{
    static struct cr_identity *authority;
    if (!authority) check(cr_identity_new_authority("fuzz", NOW, &authority) == CR_OK);
    struct cr_buffer certificate = {0};
    enum cr_status status = cr_identity_issue(authority, request, "name", "silo", NOW, &certificate);
    check(status == CR_OK || (status == CR_INVALID && certificate.size == 0));
    cr_buffer_release(&certificate);
}

static void install(struct cr_slice bytes)
{
    static struct cr_identity *member;
    if (!member) check(cr_identity_new(&member) == CR_OK);
    struct cr_cursor cursor = cr_cursor_over(bytes);
    struct cr_slice certificate = cr_read_slice(&cursor, cr_read_u16(&cursor));
    struct cr_slice authority = cr_read_slice(&cursor, cr_cursor_left(&cursor));
    // Nobody has the key that a certificate would have to be for.
    check(cr_identity_install(member, certificate, authority) != CR_OK);
}

static void decode(struct cr_slice text)
{
    struct cr_buffer bytes = {0}, again = {0};
    if (cr_base64url_decode(text, &bytes) == CR_OK) {
        check(cr_base64url_append(&again, cr_buffer_slice(&bytes)) == CR_OK);
        check(cr_slice_equal(cr_buffer_slice(&again), text));
    }
    cr_buffer_release(&bytes);
    cr_buffer_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct cr_slice rest = {data + 1, size - 1};
    switch (data[0] % 3) {
    case 0:
        issue(rest);
        break;
    case 1:
        install(rest);
        break;
    default:
        decode(rest);
        break;
    }
    return 0;
}
