// A file in which a split model's server keeps what one silo sent it: examples, each sealed for itself.
//
//   header   "CRCUT01\n", 32 bytes of salt, and sealed (number 0): what the silo offered
//   record   u32 number of the example, u32 rows, and sealed (numbers from 1): its coded activations, row by
//            row, then its labels (int32)
//
// Integers are little-endian. Sealed is AES-256-GCM under a key of the file's own, derived from the server's
// secret and the salt, with the silo's name, the run, the offer, the example and its rows bound to it: what
// was changed, swapped or is of another run does not open. A file is appended to by the process that made it
// alone, so that a number is never used twice; the next process makes the next file.
#ifndef CARREL_FEDERATION_CUT_FILE_H
#define CARREL_FEDERATION_CUT_FILE_H

#include "crypto/hash.h"
#include "crypto/identity.h"

// What a silo says that it will send.
struct cr_cut_offer {
    unsigned char data[CR_SHA256_SIZE]; // of tokens and labels
    uint64_t examples, rows;
};

// Whose examples they are; plain bytes without gaps, zeros behind the name.
struct cr_cut_owner {
    char silo[CR_NAME_SIZE];
    unsigned char run[CR_SHA256_SIZE];
};

struct cr_cut_file;

// A new file in place of any older one. `secret` (CR_KEY_SIZE bytes) is not kept.
enum cr_status cr_cut_file_create(const char *path, const unsigned char *secret,
                                  const struct cr_cut_owner *owner, const struct cr_cut_offer *offer,
                                  struct cr_cut_file **out);

// One that is there, to read. CR_DENIED where it is damaged, or another owner's.
enum cr_status cr_cut_file_open(const char *path, const unsigned char *secret,
                                const struct cr_cut_owner *owner, struct cr_cut_offer *offer,
                                struct cr_cut_file **out);
void cr_cut_file_close(struct cr_cut_file *file); // NULL is allowed

// Bytes of a file with so many examples of `size` bytes together.
uint64_t cr_cut_file_size(uint64_t examples, uint64_t size);

// A record.
struct cr_cut_record {
    uint32_t example, rows;
    uint64_t at;     // in the file
    uint64_t number; // of its sealing
};

// Appends an example, `size` bytes; it is on the disk after the next sync. `scratch` has room for
// cr_cut_sealed_size(size) bytes.
enum cr_status cr_cut_file_append(struct cr_cut_file *file, uint32_t example, uint32_t rows,
                                  const void *bytes, size_t size, unsigned char *scratch,
                                  struct cr_cut_record *out);
enum cr_status cr_cut_file_sync(struct cr_cut_file *file);
size_t cr_cut_sealed_size(size_t size);

// What the record behind `before` (NULL: the first) says of itself, which only cr_cut_file_read proves;
// `size`: the bytes of `before`'s example. *found: there is one.
enum cr_status cr_cut_file_next(const struct cr_cut_file *file, const struct cr_cut_record *before,
                                size_t size, struct cr_cut_record *out, bool *found);

// The example's bytes. CR_DENIED where they are not what was sealed, or not all there.
enum cr_status cr_cut_file_read(struct cr_cut_file *file, const struct cr_cut_record *record, size_t size,
                                unsigned char *scratch, void *bytes);

#endif
