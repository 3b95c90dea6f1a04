// enclave/role.h: what signals do to a role.
#include "support.h"

#include "enclave/role.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

// A process that catches signals, sends itself `second` some time after `first`, and ends well if it can.
static pid_t send_itself(int first, int second, unsigned pause_ms)
{
    pid_t child = fork();
    if (child == 0) {
        if (cr_role_catch_signals() != CR_OK) _exit(1);
        raise(first);
        usleep(pause_ms * 1000);
        raise(second);
        _exit(0);
    }
    return child;
}

static int end_of(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

// Some send a signal to a process and, at once, again to its group; some press Ctrl-C twice.
static void test_a_second_signal(void **state)
{
    (void)state;
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    pid_t at_once[3], again[3], another[3];
    for (size_t i = 0; i < 3; i++) {
        at_once[i] = send_itself(numbers[i], numbers[i], 0);
        again[i] = send_itself(numbers[i], numbers[i], 1100);
        another[i] = send_itself(numbers[i], numbers[(i + 1) % 3], 1100);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(end_of(at_once[i]), 0);
        assert_int_equal(end_of(again[i]), numbers[i]);
        assert_int_equal(end_of(another[i]), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_second_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
