// A hostile sealed file. Nobody without the key makes another file that opens: what opens to its end is one
// of the seeds, and holds what that was made with (fuzz/corpus/seal; tests/unit/test_crypto_seal.c makes it).
#include "crypto/seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void read_all(struct cr_seal_reader *reader)
{
    static unsigned char piece[1000];
    for (size_t at = 0, size = cr_seal_size(reader); at < size;) {
        size_t count = cr_least(size - at, sizeof piece);
        if (cr_seal_read(reader, piece, count) != CR_OK) return;
        for (size_t i = 0; i < count; i++)
            if (piece[i] != (unsigned char)((at + i) * 7)) abort();
        at += count;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cr_sealing_key key = {"seed", {1, 2, 3}};
    const struct cr_sealing sealing = {&key, "a seed", {4, 5, 6}};
    int fd = memfd_create("sealed", MFD_CLOEXEC);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    struct cr_seal_header about;
    struct cr_seal_reader *reader;
    if (cr_seal_describe(path, &about) == CR_OK &&
        (strlen(about.source) >= CR_SEAL_NAME_SIZE || strlen(about.purpose) >= CR_SEAL_NAME_SIZE ||
         about.size > size))
        abort();
    if (cr_seal_open(path, &sealing, &reader) == CR_OK) {
        read_all(reader);
        cr_seal_reader_free(reader);
    }
    close(fd);
    return 0;
}
