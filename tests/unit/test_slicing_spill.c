// slicing/spill.h, attacked as whoever owns the machine would: through the memory that lies outside.
#include "model_support.h"

#include "slicing/spill.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

// The memory outside as /proc shows it.
struct outside {
    unsigned char *bytes;
    size_t size;
};

static struct outside find_outside(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    struct outside found = {0};
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        size_t first, last;
        if (!strstr(line, "/memfd:carrel-spill")) continue;
        assert_null(found.bytes);
        assert_int_equal(sscanf(line, "%zx-%zx", &first, &last), 2);
        found = (struct outside){(unsigned char *)first, last - first};
    }
    fclose(maps);
    assert_non_null(found.bytes);
    return found;
}

enum { SLOTS = 4, PARTS = 4 };
static const size_t part_sizes[PARTS] = {300, 1, 140000, 77}; // the third is of two pieces

// A store with something in every slot, and what that is.
struct fixture {
    struct cr_pool *pool;
    struct cr_spill *spill;
    struct cr_keep *keep;
    struct outside outside;
    size_t slot_size; // outside
    unsigned char *content[SLOTS], *read;
    size_t size;
    uint64_t random;
};

static void parts_of(unsigned char *bytes, struct cr_keep_part parts[PARTS])
{
    for (size_t i = 0, at = 0; i < PARTS; at += part_sizes[i++])
        parts[i] = (struct cr_keep_part){bytes + at, part_sizes[i]};
}

static void put(struct fixture *f, size_t slot)
{
    struct cr_keep_part parts[PARTS];
    for (size_t i = 0; i < f->size; i++) f->content[slot][i] = (unsigned char)next_random(&f->random);
    parts_of(f->content[slot], parts);
    assert_ok(f->keep->put(f->keep, slot, parts, PARTS));
}

static enum cr_status get(struct fixture *f, size_t slot)
{
    struct cr_keep_part parts[PARTS];
    parts_of(f->read, parts);
    memset(f->read, 0xa5, f->size);
    return f->keep->get(f->keep, slot, parts, PARTS);
}

static void assert_gets(struct fixture *f, size_t slot)
{
    assert_ok(get(f, slot));
    assert_memory_equal(f->read, f->content[slot], f->size);
}

static struct fixture fixture_new(void)
{
    struct fixture f = {.random = 17};
    assert_ok(cr_pool_new(2, &f.pool));
    assert_ok(cr_spill_new(f.pool, &f.spill));
    f.keep = cr_spill_keep(f.spill);
    for (size_t i = 0; i < PARTS; i++) f.size += part_sizes[i];
    assert_ok(f.keep->reserve(f.keep, SLOTS, f.size));
    assert_ok(cr_allocate(f.size, 1, &f.read));
    for (size_t i = 0; i < SLOTS; i++) {
        assert_ok(cr_allocate(f.size, 1, &f.content[i]));
        put(&f, i);
    }
    f.outside = find_outside();
    f.slot_size = cr_spill_tally(f.spill).outside / SLOTS;
    return f;
}

static void fixture_free(struct fixture *f)
{
    cr_spill_free(f->spill);
    cr_pool_free(f->pool);
    for (size_t i = 0; i < SLOTS; i++) free(f->content[i]);
    free(f->read);
}

// Bytes of a slot that hold something: the pieces and their tags.
static size_t used(const struct fixture *f)
{
    enum { TAG = 16, PIECES = 5 };
    return f->size + PIECES * TAG;
}

static unsigned char *slot_outside(const struct fixture *f, size_t slot)
{
    return f->outside.bytes + slot * f->slot_size;
}

static void swap(unsigned char *a, unsigned char *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

static void what_is_put_is_got(void **state)
{
    (void)state;
    struct fixture f = fixture_new();
    for (int i = 0; i < 40; i++) {
        assert_gets(&f, next_random(&f.random) % SLOTS);
        put(&f, next_random(&f.random) % SLOTS);
    }
    struct cr_spill_tally tally = cr_spill_tally(f.spill);
    assert_int_equal(tally.sealed, (SLOTS + 40) * f.size);
    assert_int_equal(tally.opened, 40 * f.size);
    assert_true(tally.outside >= SLOTS * f.size && tally.outside <= f.outside.size);
    assert_true(tally.sealing > 0 && tally.opening > 0);

    struct cr_keep_part part = {f.read, 1};
    assert_fails(CR_INTERNAL, "no room", f.keep->put(f.keep, SLOTS, &part, 1));
    part.size = f.slot_size;
    assert_fails(CR_INTERNAL, "no room", f.keep->put(f.keep, 0, &part, 1));
    fixture_free(&f);

    struct cr_spill *spill;
    assert_ok(cr_spill_new(NULL, &spill));
    struct cr_keep *keep = cr_spill_keep(spill);
    assert_fails(CR_NO_MEMORY, "slots", keep->reserve(keep, SIZE_MAX / 2, 100));
    assert_ok(keep->reserve(keep, 1, 100));
    unsigned char byte;
    part = (struct cr_keep_part){&byte, 1};
    assert_fails(CR_INTERNAL, "holds nothing", keep->get(keep, 0, &part, 1));
    cr_spill_free(spill);
}

// One bit is turned; two slots' contents for each other, whole or from some byte on; an older content of the
// same slot, likewise; another slot's over them.
enum attack { FLIP, SWAP, SWAP_PART, REPLAY, REPLAY_PART, COPY, ATTACKS };

static void every_change_is_found(void **state)
{
    (void)state;
    enum { TRIES = THOROUGH ? 10000 : 500, TAG = 16 };
    struct fixture f = fixture_new();
    size_t size = used(&f);
    CR_FREE unsigned char *older = NULL, *untouched = NULL;
    assert_ok(cr_allocate(size, 1, &older));
    assert_ok(cr_allocate(f.outside.size, 1, &untouched));
    for (size_t i = 0; i < TRIES; i++) {
        enum attack attack = next_random(&f.random) % ATTACKS;
        size_t slot = next_random(&f.random) % SLOTS;
        size_t other = (slot + 1 + next_random(&f.random) % (SLOTS - 1)) % SLOTS;
        size_t at =
            next_random(&f.random) % (size - TAG); // so many bytes at least are not the same by chance
        bool whole = attack == SWAP || attack == REPLAY || attack == COPY;
        unsigned char *bytes = slot_outside(&f, slot), *others = slot_outside(&f, other);
        memcpy(older, bytes, size);
        if (attack == REPLAY || attack == REPLAY_PART) put(&f, slot);
        memcpy(untouched, f.outside.bytes, f.outside.size);
        if (whole) at = 0;
        if (attack == FLIP) bytes[at] ^= (unsigned char)(1 << next_random(&f.random) % 8);
        if (attack == SWAP || attack == SWAP_PART) swap(bytes + at, others + at, size - at);
        if (attack == REPLAY || attack == REPLAY_PART) memcpy(bytes + at, older + at, size - at);
        if (attack == COPY) memcpy(bytes, others, size);
        if (get(&f, slot) != CR_DENIED || !strstr(cr_error_message(), "memory outside was changed"))
            fail_msg("try %zu, attack %d, slot %zu, byte %zu: not found", i, attack, slot, at);
        memcpy(f.outside.bytes, untouched, f.outside.size);
        assert_gets(&f, slot);
    }
    fixture_free(&f);
}

// Another process turns bits of the shared pages all the time, and turns them back: a read finds what was put
// or fails, whenever in a piece's way the change comes.
static void changes_at_any_time_are_found(void **state)
{
    (void)state;
    struct fixture f = fixture_new();
    int parent[2];
    char begun;
    assert_int_equal(pipe(parent), 0);
    pid_t attacker = fork();
    assert_true(attacker >= 0);
    if (attacker == 0) {
        volatile unsigned char *bytes = slot_outside(&f, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        uint64_t random = 23;
        if (write(parent[1], "x", 1) != 1) _exit(1);
        for (;;) {
            size_t at = 400 + next_random(&random) % 130000;
            for (int turn = 0; turn < 2; turn++) {
                bytes[at] ^= 1;
                for (volatile int wait = 0; wait < 500; wait++) continue;
            }
        }
    }
    assert_int_equal(read(parent[0], &begun, 1), 1);
    size_t found = 0, passed = 0;
    for (int i = 0; i < (THOROUGH ? 3000 : 300); i++) {
        if (i % 2) put(&f, 0);
        if (get(&f, 0) == CR_OK) {
            passed++;
            assert_memory_equal(f.read, f.content[0], f.size);
        } else {
            found++;
            assert_non_null(strstr(cr_error_message(), "memory outside was changed"));
        }
    }
    kill(attacker, SIGKILL);
    assert_int_equal(waitpid(attacker, NULL, 0), attacker);
    close(parent[0]);
    close(parent[1]);
    print_message("%zu changed, %zu unchanged\n", found, passed);
    assert_true(found > 0);
    fixture_free(&f);
}

// Keeps in plain what a pass puts, and hands it to the real store.
struct witness {
    struct cr_keep keep; // first
    struct cr_keep *real;
    struct cr_buffer seen;
};

static enum cr_status witness_reserve(struct cr_keep *keep, size_t slots, size_t size)
{
    struct cr_keep *real = ((struct witness *)keep)->real;
    return real->reserve(real, slots, size);
}

static enum cr_status witness_put(struct cr_keep *keep, size_t slot, const struct cr_keep_part *parts,
                                  size_t count)
{
    struct witness *witness = (struct witness *)keep;
    for (size_t i = 0; i < count; i++) CR_TRY(cr_append(&witness->seen, parts[i].bytes, parts[i].size));
    return witness->real->put(witness->real, slot, parts, count);
}

static enum cr_status witness_get(struct cr_keep *keep, size_t slot, const struct cr_keep_part *parts,
                                  size_t count)
{
    struct cr_keep *real = ((struct witness *)keep)->real;
    return real->get(real, slot, parts, count);
}

static int compare_words(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

// How many places of `memory` hold eight bytes that `secret` has at a multiple of eight; zeros do not count.
static size_t count_common(const unsigned char *memory, size_t size, const void *secret, size_t secret_size)
{
    size_t count = secret_size / sizeof(uint64_t), common = 0;
    CR_FREE uint64_t *words = NULL;
    assert_ok(cr_allocate(count, sizeof *words, &words));
    memcpy(words, secret, count * sizeof *words);
    qsort(words, count, sizeof *words, compare_words);
    for (size_t i = 0; i + sizeof(uint64_t) <= size; i++) {
        uint64_t word;
        memcpy(&word, memory + i, sizeof word);
        common += word != 0 && bsearch(&word, words, count, sizeof word, compare_words) != NULL;
    }
    return common;
}

// Chi-square of the bytes against uniform ones, 255 degrees of freedom: 255 ± 22.6.
static double chi_square(const unsigned char *bytes, size_t size)
{
    size_t count[256] = {0};
    double expected = (double)size / 256, sum = 0;
    for (size_t i = 0; i < size; i++) count[bytes[i]]++;
    for (size_t i = 0; i < 256; i++) sum += pow((double)count[i] - expected, 2) / expected;
    return sum;
}

enum { UNIFORM = 400 }; // a uniform sample exceeds it with probability 10⁻⁸

// A pass over three layers: what it leaves outside has no word of the two that leave, and looks like noise;
// no walk's is like that of an equal walk before it.
static void what_lies_outside_tells_nothing(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(2, &compute));
    struct cr_model_config config = small_config();
    config.hidden = 200;
    config.intermediate = 280;
    struct cr_model *model = random_model(compute, config, CR_F32);
    const size_t lengths[] = {30, 20};
    struct sample sample = random_sample(lengths, 2, config.vocabulary, 5);
    struct collectors *collectors = collectors_new(model);
    struct cr_spill *spill;
    assert_ok(cr_spill_new(cr_compute_pool(compute), &spill));
    struct witness witness = {.keep = {.reserve = witness_reserve, .put = witness_put, .get = witness_get},
                              .real = cr_spill_keep(spill)};
    struct cr_pass *pass;
    assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = 50, .sequences = 2, .backward = true},
                          &witness.keep, &pass));
    struct outside outside = find_outside();
    size_t slot_size = cr_spill_tally(spill).outside / config.layers;
    CR_FREE unsigned char *before = NULL;
    assert_ok(cr_allocate(outside.size, 1, &before));
    for (int walk = 0; walk < 2; walk++) {
        memcpy(before, outside.bytes, outside.size);
        cr_buffer_clear(&witness.seen);
        assert_ok(cr_pass_forward(pass, &collectors->tuned, &sample.rows, 0, 3));
        size_t plain = witness.seen.size / 2;
        assert_int_equal(count_common(outside.bytes, outside.size, witness.seen.data, witness.seen.size), 0);
        // Were it not sealed, these would have found it.
        assert_true(count_common(witness.seen.data, plain, witness.seen.data, witness.seen.size) >
                    plain / 10);
        assert_true(chi_square(witness.seen.data, plain) > 100 * UNIFORM);
        for (size_t slot = 0; slot < 2; slot++) {
            unsigned char *bytes = outside.bytes + slot * slot_size, *older = before + slot * slot_size;
            if (!(chi_square(bytes, plain) < UNIFORM)) fail_msg("walk %d, slot %zu", walk, slot);
            for (size_t i = 0; i < plain; i++) older[i] ^= bytes[i];
            if (!(chi_square(older, plain) < UNIFORM))
                fail_msg("walk %d against the one before, slot %zu", walk, slot);
        }
    }
    cr_pass_free(pass);
    cr_spill_free(spill);
    cr_buffer_release(&witness.seen);
    collectors_free(collectors);
    sample_free(&sample);
    cr_model_free(model);
    cr_compute_free(compute);
}

// Between the ways of a training walk: the way back ends where it would use what was changed.
static void a_walk_over_changed_memory_ends(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(2, &compute));
    struct cr_model *model = random_model(compute, small_config(), CR_F32);
    const size_t lengths[] = {9, 14};
    struct sample sample = random_sample(lengths, 2, model->config.vocabulary, 5);
    struct collectors *collectors = collectors_new(model);
    struct cr_spill *spill;
    struct cr_pass *pass;
    double loss = 0;
    assert_ok(cr_spill_new(cr_compute_pool(compute), &spill));
    assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = 23, .sequences = 2, .backward = true},
                          cr_spill_keep(spill), &pass));
    struct outside outside = find_outside();
    size_t slot_size = cr_spill_tally(spill).outside / 3;
    for (size_t layer = 0; layer < 2; layer++) {
        assert_ok(cr_pass_forward(pass, &collectors->tuned, &sample.rows, 0, 3));
        assert_ok(cr_pass_loss(pass, &collectors->tuned, &sample.rows, 1, &loss, NULL));
        outside.bytes[layer * slot_size + 1000] ^= 4;
        assert_fails(CR_DENIED,
                     layer == 0 ? "layer 0: memory outside was changed"
                                : "layer 1: memory outside was changed",
                     cr_pass_backward(pass, &collectors->tuned, &sample.rows, 0, 3));
        assert_fails(CR_INTERNAL, "without their forward",
                     cr_pass_backward(pass, &collectors->tuned, &sample.rows, 0, 3));
    }
    // The memory of the last layer stayed inside.
    assert_ok(cr_pass_forward(pass, &collectors->tuned, &sample.rows, 0, 3));
    assert_ok(cr_pass_loss(pass, &collectors->tuned, &sample.rows, 1, &loss, NULL));
    memset(outside.bytes + 2 * slot_size, 0xff, slot_size);
    assert_ok(cr_pass_backward(pass, &collectors->tuned, &sample.rows, 0, 3));
    cr_pass_free(pass);
    cr_spill_free(spill);
    collectors_free(collectors);
    sample_free(&sample);
    cr_model_free(model);
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_got),
        cmocka_unit_test(every_change_is_found),
        cmocka_unit_test(changes_at_any_time_are_found),
        cmocka_unit_test(what_lies_outside_tells_nothing),
        cmocka_unit_test(a_walk_over_changed_memory_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
