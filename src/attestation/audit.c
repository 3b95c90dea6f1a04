#include "attestation/audit.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mapping.h"
#include "format/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The last member of every line: the digest of the line up to here.
#define DIGEST_MEMBER ", \"digest\": \""
enum {
    HEX_SIZE = CR_SHA256_HEX_SIZE - 1,
    MEMBER_SIZE = sizeof DIGEST_MEMBER - 1,
    TAIL_SIZE = MEMBER_SIZE + HEX_SIZE + 2, // and "}
};

static const char appraisal_event[] = "appraisal", cut_event[] = "cut_off";

// Checks that the line ends with its own digest, and sets *digest to it.
static enum cr_status check_digest(struct cr_slice line, const char *place,
                                   unsigned char digest[CR_SHA256_SIZE])
{
    char hex[CR_SHA256_HEX_SIZE];
    if (line.size <= TAIL_SIZE || memcmp(line.data + line.size - TAIL_SIZE, DIGEST_MEMBER, MEMBER_SIZE) != 0)
        return cr_fail(CR_DENIED, "%s: was changed: it does not end with its digest", place);
    CR_TRY(cr_sha256((struct cr_slice){line.data, line.size - TAIL_SIZE}, digest));
    cr_sha256_hex(digest, hex);
    const unsigned char *tail = line.data + line.size - TAIL_SIZE + MEMBER_SIZE;
    if (memcmp(tail, hex, HEX_SIZE) != 0 || memcmp(tail + HEX_SIZE, "\"}", 2) != 0)
        return cr_fail(CR_DENIED, "%s: was changed after it was written", place);
    return CR_OK;
}

// Checks that the line is the next one after `end`.
static enum cr_status check_place(const struct cr_json *line, const char *place,
                                  const struct cr_audit_end *end)
{
    unsigned char previous[CR_SHA256_SIZE];
    size_t number;
    CR_TRY(cr_json_require_size(line, place, "audit", 1, SIZE_MAX >> 12, &number));
    CR_TRY(cr_json_get_hex(line, place, "previous", previous, sizeof previous));
    if (number > end->count + 1)
        return cr_fail(CR_DENIED, "%s: is number %zu: number %llu was removed, or put elsewhere", place,
                       number, (unsigned long long)end->count + 1);
    if (number <= end->count)
        return cr_fail(CR_DENIED, "%s: is number %zu again, or out of its place", place, number);
    if (memcmp(previous, end->digest, sizeof previous) != 0)
        return cr_fail(CR_DENIED, "%s: does not follow the line before it: one of them is of another log",
                       place);
    return CR_OK;
}

static enum cr_status read_entry(const struct cr_json *line, const char *place, struct cr_audit_entry *out)
{
    const char *time;
    size_t round;
    CR_TRY(cr_json_get_string(line, place, "time", "", &time));
    CR_TRY(cr_json_get_string(line, place, "peer", "", &out->peer));
    CR_TRY(cr_json_get_string(line, place, "role", "", &out->role));
    CR_TRY(cr_json_get_string(line, place, "address", "", &out->address));
    CR_TRY(cr_json_get_string(line, place, "type", "", &out->type));
    CR_TRY(cr_json_get_string(line, place, "verdict", "", &out->verdict));
    CR_TRY(cr_json_get_string(line, place, "grounds", "", &out->grounds));
    CR_TRY(cr_json_get_hex(line, place, "key", out->key, sizeof out->key));
    CR_TRY(cr_json_get_hex(line, place, "evidence", out->evidence, sizeof out->evidence));
    CR_TRY(cr_json_get_hex(line, place, "job", out->job, sizeof out->job));
    CR_TRY(cr_json_require_size(line, place, "round", 0, SIZE_MAX >> 12, &round));
    if (!cr_clock_parse(time, &out->time)) return cr_fail(CR_INVALID, "%s: its time is none", place);
    out->round = round;
    return CR_OK;
}

static enum cr_status read_line(struct cr_slice text, const char *place,
                                enum cr_status (*take)(void *context, const struct cr_audit_entry *entry),
                                void *context, struct cr_audit_end *end)
{
    CR_CLEANUP(cr_json_release) struct cr_json *line = NULL;
    unsigned char digest[CR_SHA256_SIZE];
    const char *event;
    CR_TRY(check_digest(text, place, digest));
    CR_TRY(cr_json_parse(text, place, &line));
    CR_TRY(check_place(line, place, end));
    CR_TRY(cr_json_get_string(line, place, "event", "", &event));
    if (strcmp(event, appraisal_event) == 0) {
        struct cr_audit_entry entry = {.number = end->count + 1};
        CR_TRY(read_entry(line, place, &entry));
        if (take) CR_TRY(take(context, &entry));
    } else if (strcmp(event, cut_event) == 0) {
        end->cuts++;
    } else {
        return cr_fail(CR_INVALID, "%s: an event that this program does not know", place);
    }
    end->count++;
    memcpy(end->digest, digest, sizeof digest);
    return CR_OK;
}

enum cr_status cr_audit_read(struct cr_slice text, const char *name,
                             enum cr_status (*take)(void *context, const struct cr_audit_entry *entry),
                             void *context, struct cr_audit_end *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer place = {0};
    struct cr_audit_end end = {0};
    while (end.good < text.size) {
        const unsigned char *line = text.data + end.good;
        const unsigned char *last = memchr(line, '\n', text.size - end.good);
        if (!last) break;
        cr_buffer_clear(&place);
        CR_TRY(cr_append_format(&place, "%s: line %llu", name, (unsigned long long)end.count + 1));
        CR_TRY(read_line((struct cr_slice){line, (size_t)(last - line)}, cr_buffer_text(&place), take,
                         context, &end));
        end.good += (size_t)(last - line) + 1;
    }
    end.torn = text.size - end.good;
    *out = end;
    return CR_OK;
}

struct cr_audit {
    char *path;
    int fd;
    struct cr_audit_end end;
};

static enum cr_status append_hex(struct cr_buffer *line, const char *key, const unsigned char *digest)
{
    CR_TRY(cr_append(line, ", ", 2));
    return cr_json_append_hex(line, key, (struct cr_slice){digest, CR_SHA256_SIZE});
}

static enum cr_status begin_line(const struct cr_audit *audit, int64_t time, const char *event,
                                 struct cr_buffer *line)
{
    char when[CR_CLOCK_TEXT_SIZE];
    cr_clock_format(time, when);
    CR_TRY(cr_append_format(line, "{\"audit\": %llu", (unsigned long long)audit->end.count + 1));
    CR_TRY(append_hex(line, "previous", audit->end.digest));
    CR_TRY(cr_json_append_text(line, "time", when));
    return cr_json_append_text(line, "event", event);
}

// Writes the whole line or nothing, as far as a disk allows.
static enum cr_status put(struct cr_audit *audit, struct cr_slice line)
{
    ssize_t written = write(audit->fd, line.data, line.size);
    if (written == (ssize_t)line.size && fsync(audit->fd) == 0) return CR_OK;
    if (written >= 0 && written < (ssize_t)line.size) errno = ENOSPC;
    enum cr_status status = cr_fail_errno(CR_IO, "%s", audit->path);
    // If even this fails, the rest is a torn line to the next cr_audit_open.
    (void)!ftruncate(audit->fd, (off_t)audit->end.good);
    return status;
}

static enum cr_status finish_line(struct cr_audit *audit, struct cr_buffer *line)
{
    unsigned char digest[CR_SHA256_SIZE];
    CR_TRY(cr_sha256(cr_buffer_slice(line), digest));
    CR_TRY(append_hex(line, "digest", digest));
    CR_TRY(cr_append(line, "}\n", 2));
    CR_TRY(put(audit, cr_buffer_slice(line)));
    audit->end.count++;
    audit->end.good += line->size;
    memcpy(audit->end.digest, digest, sizeof digest);
    return CR_OK;
}

enum cr_status cr_audit_append(struct cr_audit *audit, const struct cr_audit_entry *entry)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer line = {0};
    CR_TRY(begin_line(audit, entry->time, appraisal_event, &line));
    CR_TRY(cr_json_append_text(&line, "peer", entry->peer));
    CR_TRY(cr_json_append_text(&line, "role", entry->role));
    CR_TRY(append_hex(&line, "key", entry->key));
    CR_TRY(cr_json_append_text(&line, "address", entry->address));
    CR_TRY(cr_append_format(&line, ", \"round\": %llu", (unsigned long long)entry->round));
    CR_TRY(cr_json_append_text(&line, "type", entry->type));
    CR_TRY(append_hex(&line, "evidence", entry->evidence));
    CR_TRY(append_hex(&line, "job", entry->job));
    CR_TRY(cr_json_append_text(&line, "verdict", entry->verdict));
    CR_TRY(cr_append_format(&line, ", \"grounds\": "));
    CR_TRY(cr_json_append_told(&line, entry->grounds)); // may quote a path, or be cut within a character
    return finish_line(audit, &line);
}

static enum cr_status cut_off(struct cr_audit *audit, int64_t now)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer line = {0};
    if (ftruncate(audit->fd, (off_t)audit->end.good) != 0) return cr_fail_errno(CR_IO, "%s", audit->path);
    CR_TRY(begin_line(audit, now, cut_event, &line));
    CR_TRY(cr_append_format(&line, ", \"bytes\": %zu", audit->end.torn));
    return finish_line(audit, &line);
}

static enum cr_status read_file(struct cr_audit *audit)
{
    CR_CLEANUP(cr_file_unmap) struct cr_slice text = {0};
    CR_TRY(cr_file_map(audit->path, &text));
    return cr_audit_read(text, audit->path, NULL, NULL, &audit->end);
}

enum cr_status cr_audit_open(const char *path, int64_t now, struct cr_audit **out)
{
    struct cr_audit *audit;
    CR_TRY(cr_allocate(1, sizeof *audit, &audit));
    audit->fd = -1;
    enum cr_status status = cr_copy_string(path, &audit->path);
    if (status == CR_OK) audit->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (status == CR_OK && audit->fd < 0) status = cr_fail_errno(CR_IO, "%s", path);
    if (status == CR_OK) status = cr_path_sync(path); // so that a new file survives a power cut
    if (status == CR_OK) status = read_file(audit);
    if (status == CR_OK && audit->end.torn > 0) status = cut_off(audit, now);
    if (status != CR_OK) {
        cr_audit_close(audit);
        return status;
    }
    *out = audit;
    return CR_OK;
}

void cr_audit_close(struct cr_audit *audit)
{
    if (!audit) return;
    if (audit->fd >= 0) close(audit->fd);
    free(audit->path);
    free(audit);
}
