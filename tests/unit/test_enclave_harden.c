// enclave/harden.h: what other processes get of one that is hardened. Each attack is tried on an unhardened
// process first, where it has to succeed.
#include "attack.h"

#include "enclave/harden.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

static const char secret[] = "what nobody else may read";

static void harden(void)
{
    if (cr_harden_process() != CR_OK) _exit(254);
}

static int trace(pid_t victim)
{
    if (ptrace(PTRACE_ATTACH, victim, 0, 0) != 0) return errno;
    waitpid(victim, NULL, 0);
    ptrace(PTRACE_DETACH, victim, 0, 0);
    return ATTACK_SUCCEEDED;
}

// The victim is forked from this process: what it holds lies at the same place.
static int read_through_proc(pid_t victim)
{
    char path[64], bytes[sizeof secret];
    snprintf(path, sizeof path, "/proc/%d/mem", victim);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    if (pread(fd, bytes, sizeof bytes, (off_t)(uintptr_t)secret) != (ssize_t)sizeof bytes) return errno;
    return strcmp(bytes, secret) == 0 ? ATTACK_SUCCEEDED : EILSEQ;
}

static int read_across(pid_t victim)
{
    char bytes[sizeof secret];
    struct iovec to = {bytes, sizeof bytes}, from = {(void *)(uintptr_t)secret, sizeof bytes};
    if (process_vm_readv(victim, &to, 1, &from, 1, 0) != (ssize_t)sizeof bytes) return errno;
    return strcmp(bytes, secret) == 0 ? ATTACK_SUCCEEDED : EILSEQ;
}

static int see_descriptors(pid_t victim)
{
    char path[64], to[64];
    snprintf(path, sizeof path, "/proc/%d/fd/3", victim);
    return readlink(path, to, sizeof to) > 0 ? ATTACK_SUCCEEDED : errno;
}

static void others_of_its_user_neither_trace_nor_read_it(void **state)
{
    (void)state;
    static const struct {
        int (*attack)(pid_t victim);
        int refusal;
    } attacks[] = {
        {trace, EPERM}, {read_through_proc, EACCES}, {read_across, EPERM}, {see_descriptors, EACCES}};
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        pid_t open_one = start_victim(NULL), hardened = start_victim(harden);
        int control = attack_on(open_one, attacks[i].attack), result = attack_on(hardened, attacks[i].attack);
        end_victim(open_one);
        end_victim(hardened);
        assert_int_equal(control, ATTACK_SUCCEEDED);
        assert_int_equal(result, attacks[i].refusal);
    }
}

// Whether a process that dies of SIGSEGV leaves a core; the kernel says so.
static bool leaves_core(void (*protect)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char folder[] = "/tmp/carrel-core-XXXXXX"; // where this user may write it
        const struct rlimit any = {RLIM_INFINITY, RLIM_INFINITY};
        become_ordinary();
        if (!mkdtemp(folder) || chdir(folder) != 0 || setrlimit(RLIMIT_CORE, &any) != 0) _exit(252);
        if (protect) protect();
        pid_t dying = fork();
        if (dying == 0) {
            if (protect) protect();
            signal(SIGSEGV, SIG_DFL);
            raise(SIGSEGV);
            _exit(1);
        }
        int status;
        waitpid(dying, &status, 0);
        char core[] = "core", numbered[32];
        snprintf(numbered, sizeof numbered, "core.%d", dying);
        unlink(core);
        unlink(numbered);
        rmdir(folder);
        _exit(!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV ? 253 : WCOREDUMP(status) ? 1 : 0);
    }
    int result = result_of(pid);
    assert_true(result == 0 || result == 1);
    return result == 1;
}

static void dying_leaves_no_core(void **state)
{
    (void)state;
    bool control = leaves_core(NULL);
    assert_false(leaves_core(harden));
    if (control) return;
    print_message("this machine dumps no cores at all\n");
    skip();
}

static int look_at_environment(void)
{
    return environ && *environ ? EEXIST : 0;
}

static void environment_is_forgotten(void **state)
{
    (void)state;
    assert_int_equal(setenv("OPENSSL_CONF", "/tmp/hostile", 1), 0);
    assert_int_equal(attempt(NULL, look_at_environment), EEXIST);
    assert_int_equal(attempt(harden, look_at_environment), 0);
    unsetenv("OPENSSL_CONF");
}

static int inherited;

static int use_inherited(void)
{
    return fcntl(inherited, F_GETFD) < 0 ? errno : ATTACK_SUCCEEDED;
}

static void inherited_descriptors_are_closed(void **state)
{
    (void)state;
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0);
    for (inherited = 0; inherited < 4; inherited++)
        if (use_inherited() == 0) assert_int_equal(attempt(harden, use_inherited), ATTACK_SUCCEEDED);
    int high = fcntl(file, F_DUPFD, 4), higher = fcntl(file, F_DUPFD, 200);
    for (int i = 0; i < 2; i++) {
        inherited = i == 0 ? high : higher;
        assert_true(inherited >= 4);
        assert_int_equal(attempt(NULL, use_inherited), ATTACK_SUCCEEDED);
        assert_int_equal(attempt(harden, use_inherited), EBADF);
        close(inherited);
    }
    close(file);
}

static void harden_without_errors(void)
{
    close(STDERR_FILENO);
    harden();
}

// A file opened next would have got the number of the closed one, and with it what is meant for a person.
static int next_descriptor(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC) > STDERR_FILENO ? 0 : 1;
}

static void no_file_takes_the_place_of_the_standard_ones(void **state)
{
    (void)state;
    assert_int_equal(attempt(harden_without_errors, next_descriptor), 0);
}

static int new_privileges_forbidden(void)
{
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
}

static void executing_gains_no_privileges(void **state)
{
    (void)state;
    assert_int_equal(attempt(harden, new_privileges_forbidden), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_of_its_user_neither_trace_nor_read_it),
        cmocka_unit_test(dying_leaves_no_core),
        cmocka_unit_test(environment_is_forgotten),
        cmocka_unit_test(inherited_descriptors_are_closed),
        cmocka_unit_test(no_file_takes_the_place_of_the_standard_ones),
        cmocka_unit_test(executing_gains_no_privileges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
