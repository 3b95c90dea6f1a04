// base/file.h: whole files or none, parts of them, locks, and what is not there.
#include "temporary.h"

#include "base/file.h"
#include "base/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void files_are_whole_or_absent(void **state)
{
    (void)state;
    assert_ok(cr_directory_make(in_directory("a/b"), true));
    assert_ok(cr_directory_make(in_directory("a/b"), true));
    const char *path = in_directory("a/b/file");
    struct cr_file_writer writer;
    assert_ok(cr_file_begin(path, true, &writer));
    assert_ok(cr_file_append(&writer, cr_slice_of_string("half")));
    assert_false(cr_file_exists(path));
    cr_file_abandon(&writer);
    assert_false(cr_file_exists(path));
    assert_ok(cr_file_write(path, cr_slice_of_string("whole"), true));
    struct stat stat_buffer;
    assert_int_equal(stat(path, &stat_buffer), 0);
    assert_int_equal(stat_buffer.st_mode & 0777, 0600);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer content = {0};
    assert_ok(cr_file_read(path, 5, &content));
    assert_string_equal(cr_buffer_text(&content), "whole");
    cr_buffer_clear(&content);
    assert_ok(cr_file_write_first(path, cr_slice_of_string("later")));
    assert_ok(cr_file_read(path, 5, &content));
    assert_string_equal(cr_buffer_text(&content), "whole");
    unlink(path);
    cr_buffer_clear(&content);
    assert_ok(cr_file_write_first(path, cr_slice_of_string("first")));
    assert_fails(CR_INVALID, "is there already", cr_file_write_new(path, cr_slice_of_string("later")));
    assert_ok(cr_file_read(path, 5, &content));
    assert_string_equal(cr_buffer_text(&content), "first");
    assert_int_equal(stat(path, &stat_buffer), 0);
    assert_true((stat_buffer.st_mode & 0777) == 0600 && stat_buffer.st_nlink == 1);
    assert_ok(cr_file_write(path, cr_slice_of_string("whole"), true));
    assert_fails(CR_INVALID, "more than the 4 allowed", cr_file_read(path, 4, &content));
    assert_fails(CR_NOT_FOUND, "missing", cr_file_read("/nonexistent/missing", 4, &content));
    assert_fails(CR_INVALID, "a directory, not a file", cr_file_read(directory, 4, &content));
    struct cr_slice mapping;
    assert_ok(cr_file_map(path, &mapping));
    assert_memory_equal(mapping.data, "whole", 5);
    cr_file_unmap(&mapping);
}

static void a_part_of_a_file_is_read_and_written(void **state)
{
    (void)state;
    const char *path = in_directory("parts");
    char read[5] = "";
    size_t got;
    assert_ok(cr_file_write(path, cr_slice_of_string("0123456789"), true));
    CR_CLEANUP(cr_file_close) int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_ok(cr_file_write_at(fd, path, 8, cr_slice_of_string("abc")));
    assert_ok(cr_file_read_at(fd, path, 5, read, 4, &got));
    assert_int_equal(got, 4);
    assert_string_equal(read, "567a");
    assert_ok(cr_file_read_at(fd, path, 9, read, 4, &got));
    assert_int_equal(got, 2);
    assert_memory_equal(read, "bc", 2);
    CR_CLEANUP(cr_file_close) int reader = open(path, O_RDONLY | O_CLOEXEC);
    assert_fails(CR_IO, "cannot be written", cr_file_write_at(reader, path, 0, cr_slice_of_string("x")));
    assert_fails(CR_IO, "cannot be read", cr_file_read_at(-1, path, 0, read, 4, &got));
}

static void directory_is_locked_once(void **state)
{
    (void)state;
    int first = -1, second = -1;
    assert_ok(cr_directory_make(in_directory("locked"), true));
    assert_ok(cr_directory_lock(in_directory("locked"), "lock", "taken", &first));
    assert_fails(CR_INVALID, "locked: taken",
                 cr_directory_lock(in_directory("locked"), "lock", "taken", &second));
    assert_int_equal(second, -1);
    cr_file_close(&first);
    assert_ok(cr_directory_lock(in_directory("locked"), "lock", NULL, &second));
    cr_file_close(&second);
    assert_fails(CR_IO, "missing", cr_directory_lock(in_directory("missing"), "lock", NULL, &second));
}

static void what_is_swept_is_what_was_left(void **state)
{
    (void)state;
    assert_true(cr_file_is_any_unfinished("a.tmp.7") && cr_file_is_any_unfinished("a.tmp.b.tmp.7"));
    assert_false(cr_file_is_any_unfinished("a.tmp.") || cr_file_is_any_unfinished("a.tmp.b"));
    static const char *const kept[] = {"swept/n5.x", "swept/n3.y", "swept/n03.x"};
    assert_ok(cr_directory_make(in_directory("swept"), true));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_ok(cr_file_write(in_directory(kept[i]), cr_slice_of_string(""), true));
    assert_ok(cr_file_write(in_directory("swept/n4.x"), cr_slice_of_string(""), true));
    cr_directory_sweep_below(in_directory("swept"), "n", ".x", 5);
    assert_false(cr_file_exists(in_directory("swept/n4.x")));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_true(cr_file_exists(in_directory(kept[i])));
}

static void a_failed_read_leaves_the_buffer(void **state)
{
    (void)state;
    char path[] = "/tmp/carrel-base-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "0123456789", 10) == 10 && close(fd) == 0);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer buffer = {0};
    assert_ok(cr_append(&buffer, "old", 3));
    assert_fails(CR_INVALID, path, cr_file_read(path, 9, &buffer));
    assert_string_equal(cr_buffer_text(&buffer), "old");
    // What grows while it is read (here: says it is empty) is bounded too.
    assert_fails(CR_INVALID, "/proc/self/status", cr_file_read("/proc/self/status", 20, &buffer));
    assert_string_equal(cr_buffer_text(&buffer), "old");
    assert_ok(cr_file_read(path, 10, &buffer));
    assert_string_equal(cr_buffer_text(&buffer), "old0123456789");
    unlink(path);
}

// A link to what is not there, or to itself, is something that went wrong, and not nothing.
static void a_link_that_leads_nowhere_is_not_missing(void **state)
{
    (void)state;
    const char *path = in_directory("link");
    static const char *const leads_to[] = {"nowhere", "link"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(symlink(leads_to[i], path), 0);
        assert_true(cr_file_exists(path));
        struct cr_slice mapped;
        assert_int_equal(cr_file_map(path, &mapped), i == 0 ? CR_NOT_FOUND : CR_IO);
        assert_non_null(
            strstr(cr_error_message(), i == 0 ? "link: a link to what is not there" : "symbolic links"));
        unlink(path);
    }
    assert_false(cr_file_exists(path));
    assert_false(cr_file_exists(in_directory("nothing/at/all")));
}

// What a folder that may not be looked into holds is not taken for missing: who opens it is told why he
// cannot.
static void what_may_not_be_seen_is_not_missing(void **state)
{
    (void)state;
    const char *path = in_directory("nothing");
    assert_false(cr_file_exists(path));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (getuid() == 0 ? setresuid(65534, 65534, 65534) != 0 : chmod(directory, 0) != 0) _exit(2);
        _exit(cr_file_exists(path) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(chmod(directory, 0700), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_whole_or_absent),
        cmocka_unit_test(a_part_of_a_file_is_read_and_written),
        cmocka_unit_test(directory_is_locked_once),
        cmocka_unit_test(what_is_swept_is_what_was_left),
        cmocka_unit_test(a_failed_read_leaves_the_buffer),
        cmocka_unit_test(a_link_that_leads_nowhere_is_not_missing),
        cmocka_unit_test(what_may_not_be_seen_is_not_missing),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
