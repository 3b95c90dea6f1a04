#include "cli/admitted.h"

#include "attestation/audit.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mapping.h"
#include "base/words.h"
#include "format/json.h"

#include <stdlib.h>
#include <string.h>

// All appraisals of one peer's key with the same result.
struct admitted {
    char *peer, *role, *type, *verdict, *grounds;
    unsigned char key[CR_SHA256_SIZE];
    int64_t first, last; // seconds since 1970
    uint64_t looks;      // number of appraisals, at connecting and before rounds
};

struct admissions {
    struct admitted *items; // in the order of their first appraisals
    size_t count;
    struct cr_audit_end end;
};

static void release_item(struct admitted *item)
{
    free(item->peer);
    free(item->role);
    free(item->type);
    free(item->verdict);
    free(item->grounds);
}

static void release_all(struct admissions *admissions)
{
    for (size_t i = 0; i < admissions->count; i++) release_item(&admissions->items[i]);
    free(admissions->items);
}

static bool alike(const struct admitted *item, const struct cr_audit_entry *entry)
{
    return memcmp(item->key, entry->key, CR_SHA256_SIZE) == 0 && strcmp(item->peer, entry->peer) == 0 &&
           strcmp(item->role, entry->role) == 0 && strcmp(item->type, entry->type) == 0 &&
           strcmp(item->verdict, entry->verdict) == 0 && strcmp(item->grounds, entry->grounds) == 0;
}

static enum cr_status fill_item(const struct cr_audit_entry *entry, struct admitted *item)
{
    CR_TRY(cr_copy_string(entry->peer, &item->peer));
    CR_TRY(cr_copy_string(entry->role, &item->role));
    CR_TRY(cr_copy_string(entry->type, &item->type));
    CR_TRY(cr_copy_string(entry->verdict, &item->verdict));
    CR_TRY(cr_copy_string(entry->grounds, &item->grounds));
    memcpy(item->key, entry->key, CR_SHA256_SIZE);
    item->first = item->last = entry->time;
    item->looks = 1;
    return CR_OK;
}

static enum cr_status take(void *context, const struct cr_audit_entry *entry)
{
    struct admissions *all = context;
    for (size_t i = 0; i < all->count; i++) {
        if (!alike(&all->items[i], entry)) continue;
        all->items[i].last = entry->time;
        all->items[i].looks++;
        return CR_OK;
    }
    CR_TRY(cr_reallocate(all->count + 1, sizeof *all->items, &all->items));
    all->items[all->count] = (struct admitted){0};
    return fill_item(entry, &all->items[all->count++]);
}

// On failure, *all contains what was read before it.
static enum cr_status read_log(const char *path, struct admissions *all)
{
    CR_CLEANUP(cr_file_unmap) struct cr_slice text = {0};
    CR_TRY(cr_file_map(path, &text));
    return cr_audit_read(text, path, take, all, &all->end);
}

enum cr_status cr_admissions_tell(const char *directory, const char *by, const struct cr_event_sink *sink)
{
    CR_FREE char *path = NULL;
    CR_CLEANUP(release_all) struct admissions all = {0};
    CR_TRY(cr_path_join(directory, "audit.jsonl", &path));
    CR_TRY(read_log(path, &all));
    for (size_t i = 0; i < all.count; i++)
        cr_emit(sink, CR_EVENT_INFO, "simulate.admitted", all.items[i].grounds, CR_FIELD_TEXT("by", by),
                CR_FIELD_TEXT("peer", all.items[i].peer), CR_FIELD_TEXT("verdict", all.items[i].verdict),
                CR_FIELD_TEXT("type", all.items[i].type), CR_FIELD("looks", all.items[i].looks));
    return CR_OK;
}

// Grounds quote names from certificates, which may contain anything.
static enum cr_status say_line(struct cr_buffer *out, const struct admitted *item, const char *first,
                               const char *last)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer line = {0};
    CR_TRY(cr_append_format(&line, "  %s %s (%s), %s evidence, looked at %llu time%s from %s to %s: %s",
                            item->verdict, item->peer, item->role, item->type,
                            (unsigned long long)item->looks, cr_plural(item->looks), first, last,
                            item->grounds));
    CR_TRY(cr_append_plain(out, cr_buffer_text(&line)));
    return cr_append(out, "\n", 1);
}

static enum cr_status say_item(struct cr_said *said, const struct admitted *item, bool is_first)
{
    char first[CR_CLOCK_TEXT_SIZE], last[CR_CLOCK_TEXT_SIZE];
    struct cr_buffer *out = &said->out;
    cr_clock_format(item->first, first);
    cr_clock_format(item->last, last);
    if (!said->json) return say_line(out, item, first, last);
    CR_TRY(cr_append_format(out, "%s{", is_first ? "" : ", "));
    CR_TRY(cr_json_append_hex(out, "key", (struct cr_slice){item->key, CR_SHA256_SIZE}));
    CR_TRY(cr_json_append_text(out, "verdict", item->verdict));
    CR_TRY(cr_json_append_text(out, "peer", item->peer));
    CR_TRY(cr_json_append_text(out, "role", item->role));
    CR_TRY(cr_json_append_text(out, "type", item->type));
    CR_TRY(cr_json_append_text(out, "first", first));
    CR_TRY(cr_json_append_text(out, "last", last));
    CR_TRY(cr_append_format(out, ", \"looks\": %llu", (unsigned long long)item->looks));
    CR_TRY(cr_json_append_text(out, "grounds", item->grounds));
    return cr_append(out, "}", 1);
}

static enum cr_status say(struct cr_said *said, const struct admissions *all)
{
    char digest[2 * CR_SHA256_SIZE + 1];
    cr_hex_encode((struct cr_slice){all->end.digest, CR_SHA256_SIZE}, digest);
    CR_TRY(cr_say_text(said, "kind", "audit log"));
    CR_TRY(cr_say_text(said, "chain", "whole: no line was changed, removed or moved"));
    CR_TRY(cr_say_count(said, "lines", all->end.count));
    CR_TRY(cr_say_text(said, "last_digest", digest)); // to be compared with a digest noted earlier
    if (all->end.cuts > 0) CR_TRY(cr_say_count(said, "cut_off", all->end.cuts));
    if (all->end.torn > 0) CR_TRY(cr_say_count(said, "torn_bytes", all->end.torn));
    if (said->json) CR_TRY(cr_append_format(&said->out, ", \"appraisals\": ["));
    for (size_t i = 0; i < all->count; i++) CR_TRY(say_item(said, &all->items[i], i == 0));
    return said->json ? cr_append(&said->out, "]", 1) : CR_OK;
}

enum cr_status cr_admissions_say(struct cr_said *said, const char *path)
{
    CR_CLEANUP(release_all) struct admissions all = {0};
    CR_TRY(read_log(path, &all));
    return say(said, &all);
}
