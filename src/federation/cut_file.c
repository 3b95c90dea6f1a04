#include "federation/cut_file.h"

#include "base/file.h"
#include "crypto/aead.h"
#include "crypto/keystream.h"
#include "crypto/random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const unsigned char magic[8] = {'C', 'R', 'C', 'U', 'T', '0', '1', '\n'};

enum {
    SALT = 32,
    OFFER_SIZE = sizeof(struct cr_cut_offer),
    HEADER = sizeof magic + SALT + OFFER_SIZE + CR_AEAD_TAG_SIZE,
    RECORD_START = 8 // bytes before the sealed part
};
_Static_assert(OFFER_SIZE == CR_SHA256_SIZE + 16, "an offer has no gaps");

struct cr_cut_file {
    int fd;
    char *path;
    struct cr_aead *aead;
    uint64_t end, next; // offset and number of the next record
    struct bound {
        struct cr_cut_owner owner;
        struct cr_cut_offer offer; // zeros when the header itself is sealed
        uint64_t example, rows;
    } bound;
};

uint64_t cr_cut_file_size(uint64_t examples, uint64_t size)
{
    return HEADER + size + examples * (RECORD_START + CR_AEAD_TAG_SIZE);
}

size_t cr_cut_sealed_size(size_t size)
{
    return RECORD_START + size + CR_AEAD_TAG_SIZE;
}

static struct cr_slice bound_to(const struct bound *bound)
{
    return (struct cr_slice){(const unsigned char *)bound, sizeof *bound};
}

static enum cr_status derive(const unsigned char *secret, const unsigned char salt[SALT],
                             struct cr_aead **out)
{
    unsigned char key[CR_KEY_SIZE];
    char label[32 + 2 * SALT] = "carrel activations ";
    cr_hex_encode((struct cr_slice){salt, SALT}, label + strlen(label));
    CR_TRY(cr_key_derive(secret, label, key));
    enum cr_status status = cr_aead_new(key, out);
    cr_wipe(key, sizeof key);
    return status;
}

static enum cr_status new_file(const char *path, const struct cr_cut_owner *owner, struct cr_cut_file **out)
{
    struct cr_cut_file *file;
    CR_TRY(cr_allocate(1, sizeof *file, &file));
    *file = (struct cr_cut_file){.fd = -1, .end = HEADER, .next = 1, .bound.owner = *owner};
    enum cr_status status = cr_copy_string(path, &file->path);
    if (status != CR_OK)
        cr_cut_file_close(file);
    else
        *out = file;
    return status;
}

static enum cr_status create(struct cr_cut_file *file, const unsigned char *secret,
                             const struct cr_cut_offer *offer)
{
    unsigned char header[HEADER], *salt = header + sizeof magic, *sealed = salt + SALT;
    memcpy(header, magic, sizeof magic);
    CR_TRY(cr_random_bytes(salt, SALT));
    CR_TRY(derive(secret, salt, &file->aead));
    CR_TRY(cr_aead_seal(file->aead, 0, bound_to(&file->bound), offer, sizeof *offer, sealed));
    file->bound.offer = *offer;
    CR_TRY(cr_file_write(file->path, (struct cr_slice){header, sizeof header}, true));
    file->fd = open(file->path, O_RDWR | O_CLOEXEC);
    return file->fd < 0 ? cr_fail_errno(CR_IO, "%s", file->path) : CR_OK;
}

enum cr_status cr_cut_file_create(const char *path, const unsigned char *secret,
                                  const struct cr_cut_owner *owner, const struct cr_cut_offer *offer,
                                  struct cr_cut_file **out)
{
    struct cr_cut_file *file;
    CR_TRY(new_file(path, owner, &file));
    enum cr_status status = create(file, secret, offer);
    if (status != CR_OK)
        cr_cut_file_close(file);
    else
        *out = file;
    return status;
}

static enum cr_status open_file(struct cr_cut_file *file, const unsigned char *secret)
{
    unsigned char header[HEADER], *salt = header + sizeof magic, *sealed = salt + SALT;
    size_t got;
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (file->fd < 0) return cr_fail_errno(errno == ENOENT ? CR_NOT_FOUND : CR_IO, "%s", file->path);
    CR_TRY(cr_file_read_at(file->fd, file->path, 0, header, sizeof header, &got));
    if (got != sizeof header || memcmp(header, magic, sizeof magic) != 0)
        return cr_fail(CR_DENIED, "%s: no file of activations", file->path);
    CR_TRY(derive(secret, salt, &file->aead));
    struct cr_cut_offer offer;
    enum cr_status status = cr_aead_open(file->aead, 0, bound_to(&file->bound), sealed, sizeof offer, &offer);
    if (status != CR_OK) return cr_fail(status, "%s: not of this run, or changed", file->path);
    file->bound.offer = offer;
    return CR_OK;
}

enum cr_status cr_cut_file_open(const char *path, const unsigned char *secret,
                                const struct cr_cut_owner *owner, struct cr_cut_offer *offer,
                                struct cr_cut_file **out)
{
    struct cr_cut_file *file;
    CR_TRY(new_file(path, owner, &file));
    enum cr_status status = open_file(file, secret);
    if (status != CR_OK) {
        cr_cut_file_close(file);
        return status;
    }
    *offer = file->bound.offer;
    *out = file;
    return CR_OK;
}

void cr_cut_file_close(struct cr_cut_file *file)
{
    if (!file) return;
    cr_file_close(&file->fd);
    cr_aead_free(file->aead);
    free(file->path);
    free(file);
}

enum cr_status cr_cut_file_append(struct cr_cut_file *file, uint32_t example, uint32_t rows,
                                  const void *bytes, size_t size, unsigned char *scratch,
                                  struct cr_cut_record *out)
{
    struct bound bound = file->bound;
    bound.example = example;
    bound.rows = rows;
    memcpy(scratch, &example, sizeof example);
    memcpy(scratch + sizeof example, &rows, sizeof rows);
    CR_TRY(cr_aead_seal(file->aead, file->next, bound_to(&bound), bytes, size, scratch + RECORD_START));
    const struct cr_cut_record record = {example, rows, file->end, file->next++};
    const struct cr_slice sealed = {scratch, cr_cut_sealed_size(size)};
    CR_TRY(cr_file_write_at(file->fd, file->path, file->end, sealed));
    file->end += cr_cut_sealed_size(size);
    *out = record;
    return CR_OK;
}

enum cr_status cr_cut_file_sync(struct cr_cut_file *file)
{
    return fdatasync(file->fd) == 0 ? CR_OK : cr_fail_errno(CR_IO, "%s: cannot be written", file->path);
}

enum cr_status cr_cut_file_next(const struct cr_cut_file *file, const struct cr_cut_record *before,
                                size_t size, struct cr_cut_record *out, bool *found)
{
    unsigned char start[RECORD_START] = {0};
    size_t got;
    struct cr_cut_record record = {.at = HEADER, .number = 1};
    if (before) record.at = before->at + cr_cut_sealed_size(size);
    if (before) record.number = before->number + 1;
    CR_TRY(cr_file_read_at(file->fd, file->path, record.at, start, sizeof start, &got));
    memcpy(&record.example, start, sizeof record.example);
    memcpy(&record.rows, start + sizeof record.example, sizeof record.rows);
    *found = got == sizeof start;
    if (*found) *out = record;
    return CR_OK;
}

enum cr_status cr_cut_file_read(struct cr_cut_file *file, const struct cr_cut_record *record, size_t size,
                                unsigned char *scratch, void *bytes)
{
    struct bound bound = file->bound;
    size_t got;
    bound.example = record->example;
    bound.rows = record->rows;
    // A private copy is opened, which nobody can change meanwhile.
    CR_TRY(cr_file_read_at(file->fd, file->path, record->at, scratch, cr_cut_sealed_size(size), &got));
    if (got != cr_cut_sealed_size(size))
        return cr_fail(CR_DENIED, "%s: it ends before example %u does", file->path, record->example + 1);
    enum cr_status status =
        cr_aead_open(file->aead, record->number, bound_to(&bound), scratch + RECORD_START, size, bytes);
    if (status == CR_DENIED)
        return cr_fail(CR_DENIED, "%s: example %u is not what was sealed", file->path, record->example + 1);
    return status;
}
