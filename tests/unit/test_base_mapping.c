// A mapped file that is cut off while it is read.
#include "base/file.h"
#include "base/mapping.h"

#include "temporary.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path; // of the file that is cut off

// In a process of its own: reads behind the new end of one of five mapped files. Three of them are mapped no
// more, the newest but one and the oldest among them.
static void read_lost_page(int errors)
{
    struct cr_slice first, second, third, fourth, fifth;
    assert_true(dup2(errors, STDERR_FILENO) >= 0);
    assert_ok(cr_file_watch_mappings("program"));
    assert_ok(cr_file_map("/proc/self/exe", &first));
    assert_ok(cr_file_map("/proc/self/exe", &second));
    assert_ok(cr_file_map(path, &third));
    assert_ok(cr_file_map("/proc/self/exe", &fourth));
    assert_ok(cr_file_map("/proc/self/exe", &fifth));
    cr_file_unmap(&fourth);
    cr_file_unmap(&first);
    cr_file_unmap(&second);
    assert_int_equal(truncate(path, 0), 0);
    volatile unsigned char byte = third.data[third.size - 1];
    _exit(byte); // which is not reached
}

static int ended_with(void (*what)(int errors), char *said, size_t size)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        what(ends[1]);
        _exit(99);
    }
    close(ends[1]);
    size_t got = 0;
    for (ssize_t more; (more = read(ends[0], said + got, size - 1 - got)) > 0;) got += (size_t)more;
    said[got] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void the_file_is_named(void **state)
{
    (void)state;
    char said[512], expected[512];
    static const unsigned char bytes[20000];
    CR_FREE char *name = NULL;
    assert_ok(cr_copy_string(in_directory("cut"), &name));
    path = name;
    write_bytes(path, (struct cr_slice){bytes, sizeof bytes});
    int status = ended_with(read_lost_page, said, sizeof said);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), cr_exit_code(CR_IO));
    snprintf(expected, sizeof expected,
             "program: %s: cannot be read to its end any more: it was cut off meanwhile, or its disk fails\n",
             path);
    assert_string_equal(said, expected);
}

static void sent_by_hand(int errors)
{
    (void)errors;
    assert_ok(cr_file_watch_mappings("program"));
    raise(SIGBUS);
}

static void any_other_ends_the_process_as_ever(void **state)
{
    (void)state;
    char said[256];
    int status = ended_with(sent_by_hand, said, sizeof said);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    assert_string_equal(said, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_file_is_named),
                                       cmocka_unit_test(any_other_ends_the_process_as_ever)};
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
