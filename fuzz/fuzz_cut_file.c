// A hostile file of a server's activations. Nobody without the key makes another record that opens: what
// opens is one of the seed's, byte i of which is 7·i.
#include "federation/cut_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROW = 12, ROWS = 9 };

static void read_all(struct cr_cut_file *file)
{
    static unsigned char sealed[ROWS * ROW + 64], plain[ROWS * ROW];
    struct cr_cut_record record;
    const struct cr_cut_record *before = NULL;
    size_t bytes = 0;
    bool found;
    while (cr_cut_file_next(file, before, bytes, &record, &found) == CR_OK && found) {
        if (record.rows == 0 || record.rows > ROWS) return;
        bytes = record.rows * ROW;
        if (cr_cut_file_read(file, &record, bytes, sealed, plain) != CR_OK) return;
        for (size_t i = 0; i < bytes; i++)
            if (plain[i] != (unsigned char)(7 * i)) abort();
        before = &record;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char secret[CR_KEY_SIZE] = {1, 2, 3};
    static const struct cr_cut_owner owner = {"anne", {4, 5, 6}};
    int fd = memfd_create("cut", MFD_CLOEXEC);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    struct cr_cut_offer offer;
    struct cr_cut_file *file;
    if (cr_cut_file_open(path, secret, &owner, &offer, &file) == CR_OK) {
        if (offer.examples != 3) abort();
        read_all(file);
        cr_cut_file_close(file);
    }
    close(fd);
    return 0;
}
