// crypto/heap.h: a key that OpenSSL works with is nowhere in memory that another process can read.
#include "attack.h"

#include "base/secret.h"
#include "crypto/aead.h"
#include "crypto/identity.h"
#include "crypto/keystream.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>

static const char victim_argument[] = "work";

enum { KEY_IN_USE = 1, PLAIN_COPY = 2 };

// Made where it is needed, and wiped; the compiler is not to have it among its constants.
static void make_pattern(unsigned which, unsigned char out[CR_KEY_SIZE])
{
    static volatile const unsigned char step = 37;
    for (unsigned i = 0; i < CR_KEY_SIZE; i++) out[i] = (unsigned char)(i * step + which * 101);
}

// A program of its own, since no child that is only forked has OpenSSL's memory. By that name it is found in
// a folder into which an ordinary user cannot look, too.
static void become_victim(void)
{
    execl("/proc/self/exe", "test_crypto_heap", victim_argument, NULL);
    _exit(2);
}

static int work_with_keys(void)
{
    unsigned char key[CR_KEY_SIZE], *plain = malloc(CR_KEY_SIZE);
    uint32_t words[25];
    struct cr_keystream *keystream;
    struct cr_aead *aead;
    if (!plain) return 1;
    make_pattern(PLAIN_COPY, plain);
    make_pattern(KEY_IN_USE, key);
    if (cr_keystream_new(key, &keystream) != CR_OK || cr_aead_new(key, &aead) != CR_OK) return 1;
    cr_wipe(key, sizeof key);
    cr_keystream_words(keystream, 7, 0, 31, 0x7fffffff, words, sizeof words / sizeof *words);
    if (write(3, "", 1) != 1) return 1; // start_victim waits for it
    for (;;) pause();
}

// How often the pattern lies in the victim's readable memory.
static size_t occurrences(pid_t victim, unsigned which)
{
    static unsigned char page[4096 + CR_KEY_SIZE];
    unsigned char wanted[CR_KEY_SIZE];
    char path[64], line[512];
    size_t count = 0;
    make_pattern(which, wanted);
    snprintf(path, sizeof path, "/proc/%d/mem", victim);
    int memory = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "/proc/%d/maps", victim);
    FILE *maps = fopen(path, "re");
    assert_true(memory >= 0 && maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long first, last;
        if (sscanf(line, "%lx-%lx r", &first, &last) != 2 || strstr(line, "[v")) continue;
        for (unsigned long at = first; at < last; at += 4096) {
            ssize_t got = pread(memory, page, sizeof page, (off_t)at);
            for (ssize_t i = 0; i + CR_KEY_SIZE <= got && i < 4096; i++)
                count += memcmp(page + i, wanted, CR_KEY_SIZE) == 0;
        }
    }
    fclose(maps);
    close(memory);
    return count;
}

static void keys_in_use_are_in_no_readable_page(void **state)
{
    (void)state;
    size_t usage[CR_SECRET_KINDS];
    cr_secret_usage(usage); // of OpenSSL, which has started
    if (usage[CR_SECRET_HIDDEN] == 0) {
        print_message("OpenSSL's memory is not hidden here\n");
        skip();
    }
    pid_t victim = start_victim(become_victim);
    size_t plain = occurrences(victim, PLAIN_COPY), key = occurrences(victim, KEY_IN_USE);
    end_victim(victim);
    assert_true(plain >= 1); // so that a key would be found
    assert_int_equal(key, 0);
}

// The next block of that size is the one freed last, as it is.
static void check_wiped(size_t size)
{
    unsigned char *block = OPENSSL_malloc(size);
    assert_non_null(block);
    memset(block, 0x5a, size);
    uintptr_t at = (uintptr_t)block;
    OPENSSL_free(block);
    block = OPENSSL_malloc(size);
    assert_int_equal((uintptr_t)block, at);
    for (size_t i = 0; i < size; i++) assert_int_equal(block[i], 0);
    OPENSSL_free(block);
}

static void what_is_freed_is_wiped_and_used_again(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 16, 17, 48, 49, 1000, 32752, 32753, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *block = OPENSSL_malloc(sizes[i]);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 16, 0);
        memset(block, 0x5a, sizes[i]);
        unsigned char *grown = OPENSSL_realloc(block, sizes[i] * 3);
        assert_non_null(grown);
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(grown[k], 0x5a);
        memset(grown, 0x5a, sizes[i] * 3);
        unsigned char *shrunk = OPENSSL_realloc(grown, sizes[i]);
        assert_non_null(shrunk);
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(shrunk[k], 0x5a);
        OPENSSL_free(shrunk);
    }
    size_t before[CR_SECRET_KINDS], after[CR_SECRET_KINDS];
    for (int i = 0; i < 1000; i++) {
        struct cr_identity *identity;
        if (i == 100) cr_secret_usage(before); // by then it has all that it needs
        assert_ok(cr_identity_new(&identity));
        cr_identity_free(identity);
    }
    cr_secret_usage(after);
    assert_memory_equal(before, after, sizeof before);
    if (before[CR_SECRET_HIDDEN] == 0) return; // a sanitizer has a heap of its own
    check_wiped(32);
    check_wiped(1000);
    assert_null(OPENSSL_malloc(SIZE_MAX / 2));
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], victim_argument) == 0) return work_with_keys();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_in_use_are_in_no_readable_page),
        cmocka_unit_test(what_is_freed_is_wiped_and_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
