// base/outside.h: what another process is given of memory outside, and what it can do with it.
#include "support.h"

#include "base/outside.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 3 * 4096 };

static void *map(int fd, int protection)
{
    return mmap(NULL, SIZE, protection, MAP_SHARED, fd, 0);
}

static void others_see_what_is_written(void **state)
{
    (void)state;
    for (int writable = 0; writable < 2; writable++) {
        unsigned char *own;
        int fd;
        assert_ok(cr_outside_share("test", SIZE, writable, &own, &fd));
        const unsigned char *others = map(fd, PROT_READ);
        assert_ptr_not_equal(others, MAP_FAILED);
        for (size_t i = 0; i < SIZE; i++) assert_int_equal(others[i], 0);
        memset(own, 0x5a, SIZE);
        for (size_t i = 0; i < SIZE; i++) assert_int_equal(others[i], 0x5a);
        munmap((void *)(uintptr_t)others, SIZE);
        munmap(own, SIZE);
        close(fd);
    }
}

static void others_write_only_where_they_may(void **state)
{
    (void)state;
    unsigned char *own;
    int fd;
    assert_ok(cr_outside_share("test", SIZE, true, &own, &fd));
    unsigned char *others = map(fd, PROT_READ | PROT_WRITE);
    assert_ptr_not_equal(others, MAP_FAILED);
    others[SIZE - 1] = 7;
    assert_int_equal(own[SIZE - 1], 7);
    munmap(others, SIZE);
    munmap(own, SIZE);
    close(fd);

    assert_ok(cr_outside_share("test", SIZE, false, &own, &fd));
    assert_ptr_equal(map(fd, PROT_READ | PROT_WRITE), MAP_FAILED);
    assert_int_equal(errno, EPERM);
    others = map(fd, PROT_READ);
    assert_ptr_not_equal(others, MAP_FAILED);
    assert_int_equal(mprotect(others, SIZE, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    own[0] = 9;
    assert_int_equal(others[0], 9);
    munmap(others, SIZE);
    munmap(own, SIZE);
    close(fd);
}

static void nobody_changes_its_size(void **state)
{
    (void)state;
    for (int writable = 0; writable < 2; writable++) {
        unsigned char *own;
        int fd;
        assert_ok(cr_outside_share("test", SIZE, writable, &own, &fd));
        assert_int_equal(ftruncate(fd, SIZE - 1), -1);
        assert_int_equal(ftruncate(fd, SIZE + 1), -1);
        munmap(own, SIZE);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_see_what_is_written),
        cmocka_unit_test(others_write_only_where_they_may),
        cmocka_unit_test(nobody_changes_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
