#include "crypto/seal.h"

#include "base/file.h"
#include "base/secret.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/random.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = {'c', 'a', 'r', 'r', 'e', 'l', 's', 'e'};
static const char label[] = "carrel sealed file";
enum {
    VERSION = 1,
    SALT_SIZE = 32,
    CHECK_SIZE = 16,
    FIXED_SIZE = sizeof magic + 8 + 2 * CR_SEAL_NAME_SIZE + CR_SHA256_SIZE + SALT_SIZE, // before the check
    HEADER_SIZE = FIXED_SIZE + CHECK_SIZE,
    SEALED_CHUNK = CR_SEAL_CHUNK + CR_AEAD_TAG_SIZE,
};

struct parsed {
    struct cr_seal_header about;
    struct cr_slice fixed, salt, check; // within the header's bytes
    uint64_t chunks;
};

// Buffers for one chunk. The plain one is secret memory, and no larger than the file needs, since such pages
// are slow to get.
struct buffers {
    unsigned char *plain, *sealed;
};

struct cr_seal_writer {
    struct cr_file_writer file;
    struct cr_aead *aead;
    struct buffers buffers;
    size_t room, held; // bytes of plain
    uint64_t chunk;
};

struct cr_seal_reader {
    char *path;
    int fd;
    struct cr_aead *aead;
    struct buffers buffers;
    struct parsed parsed;
    size_t at, held; // of plain
    uint64_t chunk;  // the next chunk
};

static enum cr_status make_buffers(size_t content, size_t *room, struct buffers *out)
{
    *room = cr_least(content, CR_SEAL_CHUNK);
    CR_TRY(cr_secret_allocate(*room, 1, &out->plain));
    return cr_allocate(*room + CR_AEAD_TAG_SIZE, 1, &out->sealed);
}

static void free_buffers(struct buffers *buffers)
{
    cr_secret_free(&buffers->plain);
    free(buffers->sealed);
}

// The number for a chunk's nonce: its position, and whether it is the last.
static uint64_t number_of(uint64_t chunk, bool last)
{
    return chunk << 1 | last;
}

static enum cr_status check_sealing(const struct cr_sealing *sealing)
{
    if (strlen(sealing->purpose) >= CR_SEAL_NAME_SIZE)
        return cr_fail(CR_INTERNAL, "a sealed file's purpose is too long: %s", sealing->purpose);
    return CR_OK;
}

// Derives the file's own key and its check bytes.
static enum cr_status derive(const struct cr_sealing_key *key, struct cr_slice fixed, struct cr_slice salt,
                             struct cr_aead **aead, unsigned char check[CHECK_SIZE])
{
    unsigned char made[CR_KEY_SIZE + CHECK_SIZE];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer info = {0};
    CR_TRY(cr_append(&info, label, sizeof label));
    CR_TRY(cr_append(&info, fixed.data, fixed.size));
    CR_TRY(cr_hkdf_salted((struct cr_slice){key->key, CR_KEY_SIZE}, salt, cr_buffer_slice(&info), made,
                          sizeof made));
    enum cr_status status = cr_aead_new(made, aead);
    memcpy(check, made + CR_KEY_SIZE, CHECK_SIZE);
    cr_wipe(made, sizeof made);
    return status;
}

static enum cr_status write_header(struct cr_seal_writer *writer, const struct cr_sealing *sealing)
{
    char source[CR_SEAL_NAME_SIZE] = {0}, purpose[CR_SEAL_NAME_SIZE] = {0};
    unsigned char salt[SALT_SIZE], check[CHECK_SIZE];
    memcpy(source, sealing->key->source, strlen(sealing->key->source));
    memcpy(purpose, sealing->purpose, strlen(sealing->purpose));
    CR_TRY(cr_random_bytes(salt, sizeof salt));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer header = {0};
    CR_TRY(cr_append(&header, magic, sizeof magic));
    CR_TRY(cr_append_u32(&header, VERSION));
    CR_TRY(cr_append_u32(&header, CR_SEAL_CHUNK));
    CR_TRY(cr_append(&header, source, sizeof source));
    CR_TRY(cr_append(&header, purpose, sizeof purpose));
    CR_TRY(cr_append(&header, sealing->bound, CR_SHA256_SIZE));
    CR_TRY(cr_append(&header, salt, sizeof salt));
    CR_TRY(derive(sealing->key, cr_buffer_slice(&header), (struct cr_slice){salt, sizeof salt}, &writer->aead,
                  check));
    CR_TRY(cr_append(&header, check, sizeof check));
    return cr_file_append(&writer->file, cr_buffer_slice(&header));
}

// `most`: the content's size, if known.
static enum cr_status begin(const char *path, const struct cr_sealing *sealing, size_t most,
                            struct cr_seal_writer **out)
{
    CR_TRY(check_sealing(sealing));
    CR_CLEANUP(cr_seal_writer_release) struct cr_seal_writer *writer = NULL;
    CR_TRY(cr_allocate(1, sizeof *writer, &writer));
    writer->file.fd = -1;
    CR_TRY(make_buffers(most, &writer->room, &writer->buffers));
    CR_TRY(cr_file_begin(path, true, &writer->file));
    CR_TRY(write_header(writer, sealing));
    *out = writer;
    writer = NULL;
    return CR_OK;
}

enum cr_status cr_seal_begin(const char *path, const struct cr_sealing *sealing, struct cr_seal_writer **out)
{
    return begin(path, sealing, SIZE_MAX, out);
}

static enum cr_status put_chunk(struct cr_seal_writer *writer, bool last)
{
    CR_TRY(cr_aead_seal(writer->aead, number_of(writer->chunk, last), (struct cr_slice){0},
                        writer->buffers.plain, writer->held, writer->buffers.sealed));
    size_t size = writer->held + CR_AEAD_TAG_SIZE;
    writer->held = 0;
    writer->chunk++;
    return cr_file_append(&writer->file, (struct cr_slice){writer->buffers.sealed, size});
}

enum cr_status cr_seal_append(struct cr_seal_writer *writer, struct cr_slice bytes)
{
    while (bytes.size > 0) {
        // A full chunk is held back until it is known not to be the last one.
        if (writer->held == writer->room) CR_TRY(put_chunk(writer, false));
        size_t size = cr_least(bytes.size, writer->room - writer->held);
        memcpy(writer->buffers.plain + writer->held, bytes.data, size);
        writer->held += size;
        bytes = (struct cr_slice){bytes.data + size, bytes.size - size};
    }
    return CR_OK;
}

enum cr_status cr_seal_commit(struct cr_seal_writer *writer)
{
    CR_TRY(put_chunk(writer, true));
    return cr_file_commit(&writer->file);
}

void cr_seal_writer_free(struct cr_seal_writer *writer)
{
    if (!writer) return;
    cr_file_abandon(&writer->file);
    cr_aead_free(writer->aead);
    free_buffers(&writer->buffers);
    free(writer);
}

void cr_seal_writer_release(struct cr_seal_writer **writer)
{
    cr_seal_writer_free(*writer);
    *writer = NULL;
}

bool cr_seal_is_one(struct cr_slice start)
{
    return start.size >= sizeof magic && memcmp(start.data, magic, sizeof magic) == 0;
}

// Reads a word of printable ASCII, padded with zeros.
static bool take_name(struct cr_cursor *cursor, char out[CR_SEAL_NAME_SIZE])
{
    struct cr_slice name = cr_read_slice(cursor, CR_SEAL_NAME_SIZE);
    if (cursor->failed) return false;
    size_t length = strnlen((const char *)name.data, name.size);
    for (size_t i = 0; i < name.size; i++)
        if (i < length ? name.data[i] < ' ' || name.data[i] > '~' : name.data[i] != 0) return false;
    if (length == 0 || length == name.size) return false;
    memcpy(out, name.data, name.size);
    return true;
}

static enum cr_status parse_header(struct cr_slice bytes, size_t file_size, const char *path,
                                   struct parsed *out)
{
    struct parsed parsed = {0};
    struct cr_cursor cursor = cr_cursor_over(bytes);
    if (!cr_seal_is_one(bytes)) return cr_fail(CR_INVALID, "%s: not a sealed file of carrel", path);
    cr_read_slice(&cursor, sizeof magic);
    uint32_t version = cr_read_u32(&cursor);
    if (!cursor.failed && version != VERSION)
        return cr_fail(CR_UNSUPPORTED, "%s: version %u of sealed files, not %d", path, version, VERSION);
    uint32_t chunk = cr_read_u32(&cursor);
    bool named = take_name(&cursor, parsed.about.source) && take_name(&cursor, parsed.about.purpose);
    struct cr_slice bound = cr_read_slice(&cursor, CR_SHA256_SIZE);
    parsed.salt = cr_read_slice(&cursor, SALT_SIZE);
    parsed.fixed = (struct cr_slice){bytes.data, cursor.at};
    parsed.check = cr_read_slice(&cursor, CHECK_SIZE);
    if (cursor.failed || file_size < HEADER_SIZE + CR_AEAD_TAG_SIZE)
        return cr_fail(CR_INVALID, "%s: cut off in its header", path);
    if (chunk != CR_SEAL_CHUNK || !named) return cr_fail(CR_INVALID, "%s: its header was changed", path);
    size_t body = file_size - HEADER_SIZE;
    parsed.chunks = body / SEALED_CHUNK + (body % SEALED_CHUNK > 0);
    if (body - (parsed.chunks - 1) * SEALED_CHUNK < CR_AEAD_TAG_SIZE)
        return cr_fail(CR_INVALID, "%s: cut off in chunk %llu", path, (unsigned long long)parsed.chunks);
    parsed.about.size = body - parsed.chunks * CR_AEAD_TAG_SIZE;
    memcpy(parsed.about.bound, bound.data, CR_SHA256_SIZE);
    *out = parsed;
    return CR_OK;
}

// Opens the file and reads its header into `bytes`, into which slices of *out point.
static enum cr_status open_file(const char *path, unsigned char bytes[HEADER_SIZE], int *out_fd,
                                struct parsed *out)
{
    CR_CLEANUP(cr_file_close) int fd = -1;
    size_t size;
    CR_TRY(cr_file_open(path, &fd, &size));
    size_t there = cr_least(size, HEADER_SIZE);
    CR_TRY(cr_file_take(fd, path, bytes, there));
    CR_TRY(parse_header((struct cr_slice){bytes, there}, size, path, out));
    *out_fd = fd;
    fd = -1;
    return CR_OK;
}

static enum cr_status check_header(const char *path, const struct cr_seal_header *about,
                                   const struct cr_sealing *sealing)
{
    CR_TRY(check_sealing(sealing));
    if (strcmp(about->source, sealing->key->source) != 0)
        return cr_fail(CR_INVALID, "%s: sealed under a key of %s, where this program has one of %s", path,
                       about->source, sealing->key->source);
    if (strcmp(about->purpose, sealing->purpose) != 0)
        return cr_fail(CR_INVALID, "%s: sealed as \"%s\", not as \"%s\"", path, about->purpose,
                       sealing->purpose);
    if (memcmp(about->bound, sealing->bound, CR_SHA256_SIZE) != 0)
        return cr_fail(CR_INVALID, "%s: sealed for another job or federation", path);
    return CR_OK;
}

static enum cr_status next_chunk(struct cr_seal_reader *reader)
{
    const struct parsed *parsed = &reader->parsed;
    bool last = reader->chunk + 1 == parsed->chunks;
    size_t size = last ? (size_t)(parsed->about.size - reader->chunk * CR_SEAL_CHUNK) : CR_SEAL_CHUNK;
    // Read only once, so that what is verified is what is used, even if the file is changed meanwhile.
    CR_TRY(cr_file_take(reader->fd, reader->path, reader->buffers.sealed, size + CR_AEAD_TAG_SIZE));
    enum cr_status status = cr_aead_open(reader->aead, number_of(reader->chunk, last), (struct cr_slice){0},
                                         reader->buffers.sealed, size, reader->buffers.plain);
    if (status == CR_DENIED)
        return cr_fail(CR_INVALID, "%s: chunk %llu of %llu was changed, or chunks lack or were added",
                       reader->path, (unsigned long long)reader->chunk + 1,
                       (unsigned long long)parsed->chunks);
    CR_TRY(status);
    reader->chunk++;
    reader->at = 0;
    reader->held = size;
    return CR_OK;
}

enum cr_status cr_seal_open(const char *path, const struct cr_sealing *sealing, struct cr_seal_reader **out)
{
    CR_CLEANUP(cr_seal_reader_release) struct cr_seal_reader *reader = NULL;
    CR_TRY(cr_allocate(1, sizeof *reader, &reader));
    reader->fd = -1;
    unsigned char header[HEADER_SIZE], check[CHECK_SIZE];
    CR_TRY(cr_copy_string(path, &reader->path));
    CR_TRY(open_file(path, header, &reader->fd, &reader->parsed));
    struct parsed *parsed = &reader->parsed;
    size_t room;
    CR_TRY(make_buffers(cr_seal_size(reader), &room, &reader->buffers));
    CR_TRY(check_header(path, &parsed->about, sealing));
    CR_TRY(derive(sealing->key, parsed->fixed, parsed->salt, &reader->aead, check));
    if (CRYPTO_memcmp(check, parsed->check.data, CHECK_SIZE) != 0)
        return cr_fail(CR_INVALID,
                       "%s: sealed under another key of %s than is here (another machine, or another program "
                       "or version of it), or its header was changed",
                       path, parsed->about.source);
    parsed->fixed = parsed->salt = parsed->check = (struct cr_slice){0}; // they point into `header`
    CR_TRY(next_chunk(reader));                                          // even an empty file has a chunk
    *out = reader;
    reader = NULL;
    return CR_OK;
}

void cr_seal_reader_free(struct cr_seal_reader *reader)
{
    if (!reader) return;
    cr_file_close(&reader->fd);
    cr_aead_free(reader->aead);
    free_buffers(&reader->buffers);
    free(reader->path);
    free(reader);
}

void cr_seal_reader_release(struct cr_seal_reader **reader)
{
    cr_seal_reader_free(*reader);
    *reader = NULL;
}

size_t cr_seal_size(const struct cr_seal_reader *reader)
{
    return (size_t)reader->parsed.about.size;
}

enum cr_status cr_seal_read(struct cr_seal_reader *reader, void *out, size_t size)
{
    unsigned char *to = out;
    while (size > 0) {
        if (reader->at == reader->held) {
            if (reader->chunk == reader->parsed.chunks)
                return cr_fail(CR_INVALID, "%s: shorter than what is wanted of it", reader->path);
            CR_TRY(next_chunk(reader));
        }
        size_t piece = cr_least(size, reader->held - reader->at);
        memcpy(to, reader->buffers.plain + reader->at, piece);
        reader->at += piece;
        to += piece;
        size -= piece;
    }
    return CR_OK;
}

enum cr_status cr_seal_write(const char *path, const struct cr_sealing *sealing, struct cr_slice bytes)
{
    CR_CLEANUP(cr_seal_writer_release) struct cr_seal_writer *writer = NULL;
    CR_TRY(begin(path, sealing, bytes.size, &writer));
    CR_TRY(cr_seal_append(writer, bytes));
    return cr_seal_commit(writer);
}

enum cr_status cr_seal_load(const char *path, const struct cr_sealing *sealing, size_t limit,
                            struct cr_buffer *out)
{
    CR_CLEANUP(cr_seal_reader_release) struct cr_seal_reader *reader = NULL;
    CR_TRY(cr_seal_open(path, sealing, &reader));
    size_t size = cr_seal_size(reader);
    if (size > limit)
        return cr_fail(CR_INVALID, "%s: %zu bytes, more than the %zu allowed", path, size, limit);
    size_t before = out->size;
    enum cr_status status = cr_append(out, reader->buffers.plain, reader->held);
    while (status == CR_OK && reader->chunk < reader->parsed.chunks) {
        status = next_chunk(reader);
        if (status == CR_OK) status = cr_append(out, reader->buffers.plain, reader->held);
    }
    if (status != CR_OK && out->size > before) { // all or nothing
        cr_wipe(out->data + before, out->size - before);
        out->size = before;
    }
    return status;
}

enum cr_status cr_seal_describe(const char *path, struct cr_seal_header *out)
{
    unsigned char header[HEADER_SIZE];
    CR_CLEANUP(cr_file_close) int fd = -1;
    struct parsed parsed;
    CR_TRY(open_file(path, header, &fd, &parsed));
    *out = parsed.about;
    return CR_OK;
}
