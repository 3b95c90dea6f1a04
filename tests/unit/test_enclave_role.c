// enclave/role.h: what signals do to a role.
#include "support.h"

#include "enclave/role.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

// A process that catches signals, sends itself `second` some time after `first`, and ends well if it can: how
// it ended.
static int end_of(int first, int second, unsigned pause_ms)
{
    pid_t child = fork();
    if (child == 0) {
        if (cr_role_catch_signals() != CR_OK) _exit(1);
        raise(first);
        usleep(pause_ms * 1000);
        raise(second);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

// Some send a signal to a process and, at once, again to its group; some press Ctrl-C twice.
static void test_a_second_signal(void **state)
{
    (void)state;
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(end_of(numbers[i], numbers[i], 0), 0);
        assert_int_equal(end_of(numbers[i], numbers[i], 1100), numbers[i]);
        assert_int_equal(end_of(numbers[i], numbers[(i + 1) % 3], 1100), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_second_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
