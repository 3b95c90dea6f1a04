// Sealed files: encrypted storage of a trusted process on an untrusted disk.
//
// A file is encrypted in chunks of 64 KiB with AES-256-GCM, so that bounded memory suffices to write and read
// it, and written atomically, as in base/file.h. Each file has its own key: HKDF-SHA-256 of a sealing key,
// with a random salt and the file's header. A chunk's nonce consists of its number and whether it is the last
// one (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption
// and its Nonce-Reuse Misuse-Resistance", 2015). So changed bits, chunks that are missing, repeated, moved or
// from another file, and an end that is truncated or extended are all detected. Replacement of the whole file
// by an older one of the same name is not: to detect that, remember its digest elsewhere.
//
// Format, little-endian: "carrelse", u32 version 1, u32 bytes of a chunk, 24 bytes source of the key, 24
// bytes purpose, 32 bytes to which the file is bound, 32 bytes salt, 16 check bytes, which distinguish a
// wrong key from a changed file; then the chunks, each followed by its tag of 16 bytes. All chunks but the
// last are full, and the last is empty only in an empty file. HKDF's info is "carrel sealed file", a zero
// byte and the header up to the end of the salt; of its 48 bytes the first 32 are the key, the others the
// check bytes. A chunk's nonce (crypto/aead.h) is twice its number, from 0, plus 1 for the last chunk.
#ifndef CARREL_CRYPTO_SEAL_H
#define CARREL_CRYPTO_SEAL_H

#include "crypto/hash.h"
#include "crypto/keystream.h"

#include <stdbool.h>

enum { CR_SEAL_NAME_SIZE = 24, CR_SEAL_CHUNK = 1 << 16 }; // a name with its terminating zero

// A key from which files' keys are derived. Allocate it in secret memory (base/secret.h).
struct cr_sealing_key {
    char source[CR_SEAL_NAME_SIZE]; // a word that names where it comes from
    unsigned char key[CR_KEY_SIZE]; // secret
};

// The key, purpose and binding under which a file is sealed. It opens only with the same three.
struct cr_sealing {
    const struct cr_sealing_key *key;
    const char *purpose; // shorter than CR_SEAL_NAME_SIZE
    unsigned char bound[CR_SHA256_SIZE];
};

// Writing, with mode 0600. Nothing is visible under `path` before commit; freeing the writer abandons a file
// that was not committed.
struct cr_seal_writer;
enum cr_status cr_seal_begin(const char *path, const struct cr_sealing *sealing, struct cr_seal_writer **out);
enum cr_status cr_seal_append(struct cr_seal_writer *writer, struct cr_slice bytes);
enum cr_status cr_seal_commit(struct cr_seal_writer *writer);
void cr_seal_writer_free(struct cr_seal_writer *writer);     // NULL is allowed
void cr_seal_writer_release(struct cr_seal_writer **writer); // for CR_CLEANUP

// Reading. CR_INVALID, naming the file, if it is not sealed, has another source, purpose or binding, or is
// sealed under another key; and, naming the chunk, if it was changed. CR_UNSUPPORTED: another version.
struct cr_seal_reader;
enum cr_status cr_seal_open(const char *path, const struct cr_sealing *sealing, struct cr_seal_reader **out);
void cr_seal_reader_free(struct cr_seal_reader *reader);     // NULL is allowed
void cr_seal_reader_release(struct cr_seal_reader **reader); // for CR_CLEANUP

// The content's size in bytes. Once that many have been read, the whole file has been verified.
size_t cr_seal_size(const struct cr_seal_reader *reader);

// Reads the next `size` bytes. Bytes copied to `out` before a failure are verified.
enum cr_status cr_seal_read(struct cr_seal_reader *reader, void *out, size_t size);

// Small files in one piece. Loading appends to `out`; content over `limit` bytes is CR_INVALID.
enum cr_status cr_seal_write(const char *path, const struct cr_sealing *sealing, struct cr_slice bytes);
enum cr_status cr_seal_load(const char *path, const struct cr_sealing *sealing, size_t limit,
                            struct cr_buffer *out);

// The header's content, which is not secret and, without the key, not authenticated.
struct cr_seal_header {
    char source[CR_SEAL_NAME_SIZE], purpose[CR_SEAL_NAME_SIZE]; // printable ASCII
    unsigned char bound[CR_SHA256_SIZE];
    uint64_t size; // of the content
};
bool cr_seal_is_one(struct cr_slice start); // whether a file starts like a sealed one
enum cr_status cr_seal_describe(const char *path, struct cr_seal_header *out);

#endif
