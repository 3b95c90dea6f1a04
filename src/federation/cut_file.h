// A file in which a split model's server stores one silo's examples, each sealed separately.
//
//   header   "CRCUT01\n", 32 bytes of salt, and sealed (number 0): what the silo offered
//   record   u32 number of the example, u32 rows, and sealed (numbers from 1): its coded activations, row by
//            row, then its labels (int32)
//
// Integers are little-endian. Sealed means AES-256-GCM under a key for this file, derived from the server's
// secret and the salt. The silo's name, the run, the offer, the example and its rows are bound to it, so a
// part that was changed, swapped, or taken from another run does not open. Only the process that made a file
// appends to it, so no number is used twice; the next process makes the next file.
#ifndef CARREL_FEDERATION_CUT_FILE_H
#define CARREL_FEDERATION_CUT_FILE_H

#include "crypto/hash.h"
#include "crypto/identity.h"

// What a silo says that it will send.
struct cr_cut_offer {
    unsigned char data[CR_SHA256_SIZE]; // digest of tokens and labels
    uint64_t examples, rows;
};

// Whose examples they are. Authenticated as plain bytes: without gaps, and with zeros after the name.
struct cr_cut_owner {
    char silo[CR_NAME_SIZE];
    unsigned char run[CR_SHA256_SIZE];
};

struct cr_cut_file;

// Makes a new file, replacing any older one. `secret` (CR_KEY_SIZE bytes) is not stored.
enum cr_status cr_cut_file_create(const char *path, const unsigned char *secret,
                                  const struct cr_cut_owner *owner, const struct cr_cut_offer *offer,
                                  struct cr_cut_file **out);

// Opens an existing file for reading and sets *offer. Fails with CR_NOT_FOUND if there is none, and with
// CR_DENIED if it is damaged or another owner's.
enum cr_status cr_cut_file_open(const char *path, const unsigned char *secret,
                                const struct cr_cut_owner *owner, struct cr_cut_offer *offer,
                                struct cr_cut_file **out);
void cr_cut_file_close(struct cr_cut_file *file); // NULL is allowed

// Size in bytes of a file with `examples` examples that have `size` bytes together.
uint64_t cr_cut_file_size(uint64_t examples, uint64_t size);

// A record.
struct cr_cut_record {
    uint32_t example, rows;
    uint64_t at;     // offset in the file
    uint64_t number; // number with which it is sealed
};

// Appends an example of `size` bytes; it is safely on disk after the next cr_cut_file_sync. `scratch` has
// room for cr_cut_sealed_size(size) bytes.
enum cr_status cr_cut_file_append(struct cr_cut_file *file, uint32_t example, uint32_t rows,
                                  const void *bytes, size_t size, unsigned char *scratch,
                                  struct cr_cut_record *out);
enum cr_status cr_cut_file_sync(struct cr_cut_file *file);
size_t cr_cut_sealed_size(size_t size);

// Reads the start of the record after `before` (NULL: the first), which only cr_cut_file_read authenticates.
// `size` is the number of bytes of `before`'s example. *found: whether there is one.
enum cr_status cr_cut_file_next(const struct cr_cut_file *file, const struct cr_cut_record *before,
                                size_t size, struct cr_cut_record *out, bool *found);

// Reads an example of `size` bytes into `bytes`. Fails with CR_DENIED if it was changed or is incomplete.
enum cr_status cr_cut_file_read(struct cr_cut_file *file, const struct cr_cut_record *record, size_t size,
                                unsigned char *scratch, void *bytes);

#endif
