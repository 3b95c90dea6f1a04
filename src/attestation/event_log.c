#include "attestation/event_log.h"
#include "crypto/hash.h"

#include <string.h>

enum {
    EV_NO_ACTION = 3, // informative; extends no register
    SHA1_SIZE = 20,
    MOST_BANKS = 8,
    LAST_EVENT = UINT32_MAX,
};

static const char specification[16] = "Spec ID Event03";
static const char startup_locality[16] = "StartupLocality";

// The banks for which every event has a digest.
struct banks {
    uint16_t ids[MOST_BANKS], sizes[MOST_BANKS];
    size_t count;
};

static bool begins_with(struct cr_slice bytes, const char name[16])
{
    return bytes.size >= 16 && memcmp(bytes.data, name, 16) == 0;
}

static enum cr_status malformed(const char *why)
{
    return cr_fail(CR_INVALID, "event log: %s", why);
}

// Reads the first event, in the form of TPM 1.2, which lists the banks of the others.
static enum cr_status read_header(struct cr_cursor *cursor, struct banks *banks)
{
    cr_read_u32(cursor); // register
    uint32_t type = cr_read_u32(cursor);
    cr_read_slice(cursor, SHA1_SIZE);
    struct cr_slice event = cr_read_slice(cursor, cr_read_u32(cursor));
    if (cursor->failed || type != EV_NO_ACTION || !begins_with(event, specification))
        return malformed("it does not begin as a crypto-agile one");
    struct cr_cursor in = cr_cursor_over(event);
    cr_read_slice(&in, sizeof specification + 8); // class, version and word size
    uint32_t count = cr_read_u32(&in);
    if (in.failed || count == 0 || count > MOST_BANKS) return malformed("a number of banks out of range");
    for (size_t i = 0; i < count; i++) {
        banks->ids[i] = cr_read_u16(&in);
        banks->sizes[i] = cr_read_u16(&in);
    }
    banks->count = count;
    return in.failed ? malformed("its list of banks is cut off") : CR_OK;
}

// Reads an event's digests; *wanted is that of the bank, or {NULL, 0}.
static enum cr_status read_digests(struct cr_cursor *cursor, const struct banks *banks, enum cr_tpm_hash bank,
                                   struct cr_slice *wanted)
{
    uint32_t count = cr_read_u32(cursor);
    if (cursor->failed || count > banks->count)
        return malformed("an event with more digests than there are banks");
    *wanted = (struct cr_slice){NULL, 0};
    for (size_t i = 0; i < count; i++) {
        uint16_t id = cr_read_u16(cursor);
        size_t at = 0;
        while (at < banks->count && banks->ids[at] != id) at++;
        if (cursor->failed || at == banks->count)
            return malformed("a digest of a bank that the log does not have");
        struct cr_slice digest = cr_read_slice(cursor, banks->sizes[at]);
        if (id == bank && digest.size == cr_tpm_hash_size(bank)) *wanted = digest;
    }
    return cursor->failed ? malformed("it ends within an event's digests") : CR_OK;
}

static enum cr_status extend(unsigned char *value, struct cr_slice digest)
{
    unsigned char both[2 * CR_EVENT_MOST_SIZE];
    memcpy(both, value, digest.size);
    memcpy(both + digest.size, digest.data, digest.size);
    struct cr_slice bytes = {both, 2 * digest.size};
    return digest.size == CR_SHA256_SIZE ? cr_sha256(bytes, value) : cr_sha384(bytes, value);
}

enum cr_status cr_event_log_replay(struct cr_slice log, enum cr_tpm_hash bank, struct cr_event_replay *out)
{
    struct cr_event_replay replay = {0};
    struct banks banks = {0};
    struct cr_cursor cursor = cr_cursor_over(log);
    if (bank != CR_TPM_SHA256 && bank != CR_TPM_SHA384)
        return cr_fail(CR_UNSUPPORTED, "event log: only banks of SHA-256 and SHA-384 are replayed");
    CR_TRY(read_header(&cursor, &banks));
    while (cr_cursor_left(&cursor) > 0) {
        uint32_t number = cr_read_u32(&cursor);
        if (number == LAST_EVENT) break;
        uint32_t type = cr_read_u32(&cursor);
        struct cr_slice digest, event;
        CR_TRY(read_digests(&cursor, &banks, bank, &digest));
        event = cr_read_slice(&cursor, cr_read_u32(&cursor));
        if (cursor.failed) return malformed("it ends within an event");
        replay.events++;
        if (number == 0 && type == EV_NO_ACTION && begins_with(event, startup_locality) && event.size > 16)
            replay.values[0][cr_tpm_hash_size(bank) - 1] = event.data[16]; // initial value of register 0
        if (type == EV_NO_ACTION) continue;
        if (number >= CR_EVENT_REGISTERS) return malformed("an event of a register above 23");
        if (!digest.data) return malformed("an event without a digest of the bank that was quoted");
        CR_TRY(extend(replay.values[number], digest));
        replay.extended[number] = true;
    }
    *out = replay;
    return CR_OK;
}

static enum cr_status compare(const struct cr_event_replay *replay, const struct cr_slice *registers,
                              size_t count, size_t first)
{
    for (size_t i = 0; i < count; i++) {
        size_t number = i + first;
        if (registers[i].size == 0 || number >= CR_EVENT_REGISTERS || !replay->extended[number]) continue;
        if (memcmp(replay->values[number], registers[i].data, registers[i].size) != 0)
            return cr_fail(CR_DENIED, "event log: it comes to another value of register %zu than was quoted",
                           number);
    }
    return CR_OK;
}

enum cr_status cr_event_log_judge(struct cr_appraisal *appraisal, struct cr_slice log, enum cr_tpm_hash bank,
                                  const struct cr_slice *registers, size_t count, size_t first)
{
    struct cr_event_replay replay;
    enum cr_status status = cr_event_log_replay(log, bank, &replay);
    if (status == CR_OK) {
        CR_TRY(cr_claim_number(appraisal, "event_log_events", replay.events));
        status = compare(&replay, registers, count, first);
    }
    return cr_found(appraisal, "event_log", status, NULL);
}
