// carrel key: prints the fingerprint of a key, which is created if there is none.
#include "cli/command.h"

#include "crypto/identity.h"

static enum cr_status print_fingerprint(const char *directory)
{
    CR_CLEANUP(cr_identity_release) struct cr_identity *identity = NULL;
    unsigned char digest[CR_SHA256_SIZE];
    char hex[CR_SHA256_HEX_SIZE + 1];
    CR_TRY(cr_identity_load_or_make(directory, &identity));
    CR_TRY(cr_identity_key_digest(identity, digest));
    cr_sha256_hex(digest, hex);
    hex[sizeof hex - 2] = '\n';
    return cr_command_print((struct cr_slice){(const unsigned char *)hex, sizeof hex - 1});
}

enum cr_status cr_command_key(int argc, char **argv)
{
    const char *directory;
    bool done;
    const struct cr_flags flags = {
        "carrel key DIR",
        "Prints the fingerprint of the key in DIR, and makes the key where there "
        "is none: that of a silo, in the\n"
        "directory that `carrel join --state` will use, for the owner of the "
        "model to list in a job; and that of\n"
        "the owner, for `carrel job sign`. DIR is as secret as the key in it.\n"
        "Of a silo that has joined the key is sealed: another job takes another DIR.",
        NULL,
        0,
        1,
        1};
    CR_TRY(cr_command_flags(&flags, argc, argv, &directory, NULL, &done));
    return done ? CR_OK : print_fingerprint(directory);
}
