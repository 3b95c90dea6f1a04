// base/secret.h: pages that nobody else gets, and what is at their ends.
#include "attack.h"

#include "base/secret.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>

static void blocks_are_zeroed_aligned_and_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4031, 4032, 4033, 4096, 100000, 3 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *block;
        assert_ok(cr_secret_allocate(sizes[i], 1, &block));
        assert_int_equal((uintptr_t)block % CR_ALIGNMENT, 0);
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(block[k], 0);
        memset(block, 0xa5, sizes[i]);
        cr_secret_free(&block);
        assert_null(block);
        cr_secret_free(&block);
    }
}

static void usage_is_counted_and_overflow_refused(void **state)
{
    (void)state;
    size_t before[CR_SECRET_KINDS], during[CR_SECRET_KINDS], after[CR_SECRET_KINDS];
    void *block, *none = NULL;
    cr_secret_usage(before);
    assert_ok(cr_secret_allocate(1000, 8, &block));
    cr_secret_usage(during);
    cr_secret_free(&block);
    cr_secret_usage(after);
    size_t more = 0;
    for (size_t i = 0; i < CR_SECRET_KINDS; i++) more += during[i] - before[i];
    assert_int_equal(more, 8192);
    assert_memory_equal(before, after, sizeof before);
    assert_fails(CR_NO_MEMORY, "out of memory", cr_secret_allocate(SIZE_MAX / 2, 4, &none));
    assert_fails(CR_NO_MEMORY, "out of memory", cr_secret_allocate(SIZE_MAX / 2, 1, &none));
    assert_null(none);
}

static void kept_pages_are_the_next_block_of_their_size(void **state)
{
    (void)state;
    enum { SIZE = 3 << 20 };
    unsigned char *first, *second, *other, *again;
    assert_ok(cr_secret_allocate(SIZE, 1, &first));
    assert_ok(cr_secret_allocate(SIZE, 1, &second));
    const unsigned char *const was[] = {first, second};
    size_t before[CR_SECRET_KINDS], after[CR_SECRET_KINDS];
    cr_secret_usage(before);
    memset(first, 0xa5, SIZE);
    cr_secret_keep(&first);
    assert_null(first);
    cr_secret_keep(&first); // nothing
    cr_secret_keep(&second);
    cr_secret_usage(after);
    assert_memory_equal(before, after, sizeof before);             // they are held still
    assert_ok(cr_secret_allocate(SIZE - CR_ALIGNMENT, 1, &other)); // as many pages, and another block
    assert_ptr_not_equal(other, was[0] + CR_ALIGNMENT);
    for (size_t i = 0; i < 2; i++) {
        assert_ok(cr_secret_allocate(SIZE, 1, &again));
        assert_ptr_equal(again, was[1 - i]);
        for (size_t k = 0; k < SIZE; k++) assert_int_equal(again[k], 0);
        cr_secret_free(&again);
    }
    cr_secret_free(&other);
}

static int write_at(ptrdiff_t offset)
{
    unsigned char *block;
    signal(SIGSEGV, SIG_DFL); // not a sanitizer's
    signal(SIGBUS, SIG_DFL);
    if (cr_secret_allocate(128, 1, &block) != CR_OK) return 1;
    *(volatile unsigned char *)(block + offset) = 1;
    return ATTACK_SUCCEEDED;
}

static int write_last(void)
{
    return write_at(127);
}

static int write_after(void)
{
    return write_at(128);
}

static int write_before(void)
{
    return write_at(-4096);
}

static void writing_past_an_end_kills(void **state)
{
    (void)state;
    assert_int_equal(attempt(NULL, write_last), ATTACK_SUCCEEDED);
    assert_int_equal(attempt(NULL, write_after), ATTACK_SIGNAL + SIGSEGV);
    assert_int_equal(attempt(NULL, write_before), ATTACK_SIGNAL + SIGSEGV);
}

// A process with a pattern in an ordinary page and in a secret one.
struct shared {
    void *plain, *secret;
    size_t usage[CR_SECRET_KINDS]; // of this secret alone
    bool locks_anything;           // mlock says yes to what is forbidden: a sanitizer's does
};
static struct shared *shared;
static size_t lockable;

static void hold_patterns(void)
{
    struct rlimit limit = {lockable, lockable};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) _exit(2);
    unsigned char *secret, *plain = malloc(64);
    size_t before[CR_SECRET_KINDS];
    cr_secret_usage(before);
    if (!plain || cr_secret_allocate(64, 1, &secret) != CR_OK) _exit(3);
    memset(plain, 0x5a, 64);
    memset(secret, 0x5a, 64);
    shared->plain = plain;
    shared->secret = secret;
    cr_secret_usage(shared->usage);
    for (size_t i = 0; i < CR_SECRET_KINDS; i++) shared->usage[i] -= before[i];
    shared->locks_anything = lockable == 0 && mlock(plain, 64) == 0;
}

static int read_memory(pid_t victim, const void *at)
{
    char path[64], bytes[64];
    snprintf(path, sizeof path, "/proc/%d/mem", victim);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    if (pread(fd, bytes, sizeof bytes, (off_t)(uintptr_t)at) != (ssize_t)sizeof bytes) return errno;
    for (size_t i = 0; i < sizeof bytes; i++)
        if (bytes[i] != 0x5a) return EILSEQ;
    return ATTACK_SUCCEEDED;
}

static int read_plain(pid_t victim)
{
    return read_memory(victim, shared->plain);
}

static int read_secret(pid_t victim)
{
    return read_memory(victim, shared->secret);
}

// Whoever may read all other memory of a process, root among them, may not read these pages.
static void another_process_reads_no_hidden_page(void **state)
{
    (void)state;
    lockable = 1 << 20;
    pid_t victim = start_victim(hold_patterns);
    int plain = attack_on(victim, read_plain), secret = attack_on(victim, read_secret);
    int by_us = read_secret(victim), plain_by_us = read_plain(victim);
    end_victim(victim);
    assert_int_equal(plain, ATTACK_SUCCEEDED);
    assert_int_equal(plain_by_us, ATTACK_SUCCEEDED);
    if (shared->usage[CR_SECRET_HIDDEN] == 0) {
        print_message("no memfd_secret here\n");
        skip();
    }
    assert_int_equal(secret, EIO);
    assert_int_equal(by_us, EIO);
}

static void what_cannot_be_locked_is_plain_and_told(void **state)
{
    (void)state;
    lockable = 0;
    pid_t victim = start_victim(hold_patterns);
    int secret = attack_on(victim, read_secret);
    end_victim(victim);
    assert_int_equal(secret, ATTACK_SUCCEEDED); // so that the test above can fail
    if (shared->locks_anything) skip();
    assert_int_equal(shared->usage[CR_SECRET_HIDDEN] + shared->usage[CR_SECRET_LOCKED], 0);
    assert_int_equal(shared->usage[CR_SECRET_PLAIN], 4096);
}

static int allocate_where_files_are_small(void)
{
    const struct rlimit small = {4096, 4096};
    void *block;
    size_t usage[CR_SECRET_KINDS];
    if (setrlimit(RLIMIT_FSIZE, &small) != 0 || cr_secret_allocate(8192, 1, &block) != CR_OK) return 1;
    cr_secret_usage(usage);
    return usage[CR_SECRET_LOCKED] + usage[CR_SECRET_PLAIN] > 0 ? 0 : 2;
}

static void a_limit_on_files_is_no_end(void **state)
{
    (void)state;
    assert_int_equal(attempt(NULL, allocate_where_files_are_small), 0);
}

static unsigned char *inherited;

static int read_inherited(void)
{
    signal(SIGSEGV, SIG_DFL);
    return *(volatile unsigned char *)inherited == 0x5a ? ATTACK_SUCCEEDED : EILSEQ;
}

static void forked_child_has_no_secret(void **state)
{
    (void)state;
    unsigned char *plain = malloc(64), *secret;
    assert_ok(cr_secret_allocate(64, 1, &secret));
    memset(plain, 0x5a, 64);
    memset(secret, 0x5a, 64);
    inherited = plain;
    assert_int_equal(attempt(NULL, read_inherited), ATTACK_SUCCEEDED);
    inherited = secret;
    assert_int_equal(attempt(NULL, read_inherited), ATTACK_SIGNAL + SIGSEGV);
    cr_secret_free(&secret);
    free(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_zeroed_aligned_and_whole),
        cmocka_unit_test(usage_is_counted_and_overflow_refused),
        cmocka_unit_test(kept_pages_are_the_next_block_of_their_size),
        cmocka_unit_test(writing_past_an_end_kills),
        cmocka_unit_test(another_process_reads_no_hidden_page),
        cmocka_unit_test(what_cannot_be_locked_is_plain_and_told),
        cmocka_unit_test(a_limit_on_files_is_no_end),
        cmocka_unit_test(forked_child_has_no_secret),
    };
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
