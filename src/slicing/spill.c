#include "slicing/spill.h"

#include "base/clock.h"
#include "base/outside.h"
#include "crypto/aead.h"
#include "crypto/random.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// Most bytes under one tag: few enough to stay in a processor's own cache while they are copied and sealed,
// and enough to make the set-up of a piece cheap.
enum { PIECE = 1 << 17, SEALED_PIECE = PIECE + CR_AEAD_TAG_SIZE };

// One for each thread.
struct worker {
    struct cr_aead *aead;
    unsigned char *sealed; // [SEALED_PIECE]
};

struct cr_spill {
    struct cr_keep keep; // must be the first member: the pass holds a pointer to it
    struct cr_pool *pool;
    struct worker *workers; // [threads of the pool]
    unsigned char *outside; // [slots][slot_size], others may read and write it
    size_t slots, slot_size;
    uint64_t *first; // [slots], number of the first piece in the slot; 0: it holds nothing
    uint64_t next;   // next number; each is used for one piece only
    struct cr_spill_tally tally;
};

// The parts of a slot that are being sealed or opened, cut into pieces.
struct job {
    struct cr_spill *spill;
    size_t slot;
    uint64_t first;
    const struct cr_keep_part *parts;
    atomic_int failed; // enum cr_status of a piece that failed
};

// Piece i of a slot: `size` bytes in the process, and the sealed bytes outside.
struct piece {
    unsigned char *bytes, *outside;
    size_t size;
};

static size_t pieces_of(size_t size)
{
    return size / PIECE + (size % PIECE > 0);
}

static struct piece piece_of(const struct job *job, size_t i)
{
    unsigned char *outside = job->spill->outside + job->slot * job->spill->slot_size;
    const struct cr_keep_part *part = job->parts;
    for (; i >= pieces_of(part->size); part++) {
        i -= pieces_of(part->size);
        outside += part->size + pieces_of(part->size) * CR_AEAD_TAG_SIZE;
    }
    return (struct piece){.bytes = (unsigned char *)part->bytes + i * PIECE,
                          .outside = outside + i * SEALED_PIECE,
                          .size = cr_least(part->size - i * PIECE, PIECE)};
}

// Additional data of a piece's seal: which slot it is in, and where.
struct place {
    uint64_t slot, piece;
};

static struct cr_slice bound_to(const struct place *place)
{
    return (struct cr_slice){(const unsigned char *)place, sizeof *place};
}

// While it computes the tag GCM may read its own output, and it reads its input twice when it opens. So both
// happen in a private buffer, and memory outside is written or read only once. Otherwise somebody could
// change it in between and the tag would still pass.
static void seal_piece(void *context, size_t i, size_t thread)
{
    struct job *job = context;
    const struct worker *worker = &job->spill->workers[thread];
    const struct piece piece = piece_of(job, i);
    const struct place place = {job->slot, i};
    enum cr_status status =
        cr_aead_seal(worker->aead, job->first + i, bound_to(&place), piece.bytes, piece.size, worker->sealed);
    if (status == CR_OK)
        memcpy(piece.outside, worker->sealed, piece.size + CR_AEAD_TAG_SIZE);
    else
        atomic_store(&job->failed, (int)status);
}

static void open_piece(void *context, size_t i, size_t thread)
{
    struct job *job = context;
    const struct worker *worker = &job->spill->workers[thread];
    const struct piece piece = piece_of(job, i);
    const struct place place = {job->slot, i};
    memcpy(worker->sealed, piece.outside, piece.size + CR_AEAD_TAG_SIZE);
    enum cr_status status =
        cr_aead_open(worker->aead, job->first + i, bound_to(&place), worker->sealed, piece.size, piece.bytes);
    if (status != CR_OK) atomic_store(&job->failed, (int)status);
}

// Sets *pieces and *size to the number of pieces and bytes of all parts. Parts that do not fit a slot are the
// caller's bug.
static enum cr_status measure(const struct cr_spill *spill, size_t slot, const struct cr_keep_part *parts,
                              size_t count, size_t *pieces, size_t *size)
{
    *pieces = *size = 0;
    for (size_t i = 0; i < count; i++) {
        *pieces += pieces_of(parts[i].size);
        *size += parts[i].size;
    }
    if (slot >= spill->slots || *size + *pieces * CR_AEAD_TAG_SIZE > spill->slot_size)
        return cr_fail(CR_INTERNAL, "memory outside: slot %zu has no room for %zu bytes", slot, *size);
    return CR_OK;
}

static enum cr_status put(struct cr_keep *keep, size_t slot, const struct cr_keep_part *parts, size_t count)
{
    struct cr_spill *spill = (struct cr_spill *)keep;
    double begin = cr_clock_monotonic();
    size_t pieces, size;
    CR_TRY(measure(spill, slot, parts, count, &pieces, &size));
    struct job job = {.spill = spill, .slot = slot, .first = spill->next, .parts = parts};
    spill->first[slot] = 0;
    spill->next += pieces;
    cr_pool_run(spill->pool, pieces, seal_piece, &job);
    if (atomic_load(&job.failed))
        return cr_fail((enum cr_status)atomic_load(&job.failed), "memory outside: sealing failed");
    spill->first[slot] = job.first;
    spill->tally.sealed += size;
    spill->tally.sealing += cr_clock_monotonic() - begin;
    return CR_OK;
}

static enum cr_status get(struct cr_keep *keep, size_t slot, const struct cr_keep_part *parts, size_t count)
{
    struct cr_spill *spill = (struct cr_spill *)keep;
    double begin = cr_clock_monotonic();
    size_t pieces, size;
    CR_TRY(measure(spill, slot, parts, count, &pieces, &size));
    if (spill->first[slot] == 0) return cr_fail(CR_INTERNAL, "memory outside: slot %zu holds nothing", slot);
    struct job job = {.spill = spill, .slot = slot, .first = spill->first[slot], .parts = parts};
    cr_pool_run(spill->pool, pieces, open_piece, &job);
    enum cr_status failed = (enum cr_status)atomic_load(&job.failed);
    if (failed == CR_DENIED)
        return cr_fail(CR_DENIED, "memory outside was changed: what is read there is not what was sealed");
    if (failed != CR_OK) return cr_fail(failed, "memory outside: opening failed");
    spill->tally.opened += size;
    spill->tally.opening += cr_clock_monotonic() - begin;
    return CR_OK;
}

static enum cr_status reserve(struct cr_keep *keep, size_t slots, size_t size)
{
    struct cr_spill *spill = (struct cr_spill *)keep;
    size_t tags = (size / PIECE + CR_KEEP_PARTS) * CR_AEAD_TAG_SIZE, slot_size, all;
    if (spill->outside) return cr_fail(CR_INTERNAL, "memory outside: one store for two passes");
    if (__builtin_add_overflow(size, tags, &slot_size) || __builtin_mul_overflow(slot_size, slots, &all))
        return cr_fail(CR_NO_MEMORY, "memory outside: %zu slots of %zu bytes", slots, size);
    CR_FREE uint64_t *first = NULL;
    CR_TRY(cr_allocate(slots, sizeof *first, &first));
    // All pages are allocated here, so that a training step causes no page fault.
    CR_TRY(cr_outside_map("carrel-spill", all, true, &spill->outside));
    spill->first = first;
    first = NULL;
    spill->slots = slots;
    spill->slot_size = slot_size;
    spill->tally.outside = all;
    return CR_OK;
}

static enum cr_status make_workers(struct cr_spill *spill)
{
    unsigned char key[CR_KEY_SIZE];
    size_t threads = cr_pool_threads(spill->pool);
    CR_TRY(cr_allocate(threads, sizeof *spill->workers, &spill->workers));
    CR_TRY(cr_random_bytes(key, sizeof key));
    enum cr_status status = CR_OK;
    for (size_t i = 0; i < threads && status == CR_OK; i++) {
        status = cr_aead_new(key, &spill->workers[i].aead);
        if (status == CR_OK) status = cr_allocate(SEALED_PIECE, 1, &spill->workers[i].sealed);
    }
    cr_wipe(key, sizeof key);
    return status;
}

enum cr_status cr_spill_new(struct cr_pool *pool, struct cr_spill **out)
{
    struct cr_spill *spill;
    CR_TRY(cr_allocate(1, sizeof *spill, &spill));
    *spill = (struct cr_spill){.keep = {.reserve = reserve, .put = put, .get = get}, .pool = pool, .next = 1};
    enum cr_status status = make_workers(spill);
    if (status != CR_OK) {
        cr_spill_free(spill);
        return status;
    }
    *out = spill;
    return CR_OK;
}

void cr_spill_free(struct cr_spill *spill)
{
    if (!spill) return;
    for (size_t i = 0; spill->workers && i < cr_pool_threads(spill->pool); i++) {
        cr_aead_free(spill->workers[i].aead);
        free(spill->workers[i].sealed);
    }
    free(spill->workers);
    if (spill->outside) munmap(spill->outside, spill->tally.outside);
    free(spill->first);
    free(spill);
}

struct cr_keep *cr_spill_keep(struct cr_spill *spill)
{
    return &spill->keep;
}

struct cr_spill_tally cr_spill_tally(const struct cr_spill *spill)
{
    return spill->tally;
}
