// Sealed files: what a trusted process keeps on a disk that is not its own.
//
// A file is encrypted in chunks of 64 KiB by AES-256-GCM, so that it is written and read in bounded memory,
// and written atomically, by base/file.h's rules. Its key is its own: HKDF-SHA-256 of a sealing key, with a
// salt that is drawn for the file and with the file's header. A chunk's nonce is its number and whether it is
// the last one (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, "Online
// Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015): a bit that was changed, a chunk
// that was left out, doubled, moved or taken from another file, an end that was cut off or added to are all
// found. That a whole file was replaced by an older one of the same name is not: whoever must know remembers
// its digest elsewhere.
//
// Little-endian: "carrelse", u32 version 1, u32 bytes of a chunk, 24 bytes source of the key, 24 bytes
// purpose, 32 bytes that the file is bound to, 32 bytes salt, 16 bytes by which a wrong key is told from a
// changed file; then the chunks, each with its tag of 16 bytes. All are full but the last, which is empty
// only in an empty file. HKDF's info is "carrel sealed file", a zero byte and the header up to the salt's
// end; of its 48 bytes the first 32 are the key, the others those 16. A chunk's nonce (crypto/aead.h) is
// twice its number, from 0, and 1 more for the last.
#ifndef CARREL_CRYPTO_SEAL_H
#define CARREL_CRYPTO_SEAL_H

#include "crypto/hash.h"
#include "crypto/keystream.h"

#include <stdbool.h>

enum { CR_SEAL_NAME_SIZE = 24, CR_SEAL_CHUNK = 1 << 16 }; // a name and its zero

// A key that other keys are made from. It belongs into memory of base/secret.h.
struct cr_sealing_key {
    char source[CR_SEAL_NAME_SIZE]; // a word: where it comes from
    unsigned char key[CR_KEY_SIZE]; // secret
};

// What a file is sealed under, what it holds and what it belongs to. A file opens as the same only.
struct cr_sealing {
    const struct cr_sealing_key *key;
    const char *purpose; // less than CR_SEAL_NAME_SIZE bytes
    unsigned char bound[CR_SHA256_SIZE];
};

// Writing, with mode 0600. Nothing is visible under `path` before the commit; free abandons what was not
// committed.
struct cr_seal_writer;
enum cr_status cr_seal_begin(const char *path, const struct cr_sealing *sealing, struct cr_seal_writer **out);
enum cr_status cr_seal_append(struct cr_seal_writer *writer, struct cr_slice bytes);
enum cr_status cr_seal_commit(struct cr_seal_writer *writer);
void cr_seal_writer_free(struct cr_seal_writer *writer);     // NULL is allowed
void cr_seal_writer_release(struct cr_seal_writer **writer); // for CR_CLEANUP

// Reading. CR_INVALID, with the file's name, for what is not sealed, of another source, purpose or binding,
// or sealed under another key; and, with the chunk's number, for what was changed. CR_UNSUPPORTED: another
// version.
struct cr_seal_reader;
enum cr_status cr_seal_open(const char *path, const struct cr_sealing *sealing, struct cr_seal_reader **out);
void cr_seal_reader_free(struct cr_seal_reader *reader);     // NULL is allowed
void cr_seal_reader_release(struct cr_seal_reader **reader); // for CR_CLEANUP

// Bytes of the content. A file of which so many were read was right to its end.
size_t cr_seal_size(const struct cr_seal_reader *reader);

// The next `size` bytes of it. What was copied before a failure was right.
enum cr_status cr_seal_read(struct cr_seal_reader *reader, void *out, size_t size);

// Small files in one piece. Reading appends; one over `limit` bytes is CR_INVALID.
enum cr_status cr_seal_write(const char *path, const struct cr_sealing *sealing, struct cr_slice bytes);
enum cr_status cr_seal_load(const char *path, const struct cr_sealing *sealing, size_t limit,
                            struct cr_buffer *out);

// What the header says, which is no secret and, without the key, not known to be true.
struct cr_seal_header {
    char source[CR_SEAL_NAME_SIZE], purpose[CR_SEAL_NAME_SIZE]; // printable ASCII
    unsigned char bound[CR_SHA256_SIZE];
    uint64_t size; // of the content
};
bool cr_seal_is_one(struct cr_slice start); // whether a file begins as a sealed one does
enum cr_status cr_seal_describe(const char *path, struct cr_seal_header *out);

#endif
