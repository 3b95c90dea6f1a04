// enclave/landlock.h and seccomp.h: what a role that was taken over can still do. Each act is tried without
// confinement first, where it has to succeed.
#include "attack.h"
#include "temporary.h"

#include "base/file.h"
#include "enclave/confine.h"
#include "enclave/harden.h"
#include "enclave/landlock.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

// What is in force in the child that was confined last.
static struct cr_confined *in_force;

static char model[256], result[256], elsewhere[256];

static struct cr_policy policy_of(bool network)
{
    struct cr_policy policy = {.network = network};
    cr_policy_read(&policy, model);
    cr_policy_write(&policy, result);
    cr_policy_read(&policy, NULL);
    return policy;
}

static void confine(bool network)
{
    struct cr_policy policy = policy_of(network);
    if (cr_harden_process() != CR_OK || cr_confine(&policy, in_force) != CR_OK) _exit(254);
}

static void offline(void)
{
    confine(false);
}

static void online(void)
{
    confine(true);
}

static void only_landlock(void)
{
    struct cr_policy policy = policy_of(false);
    if (cr_harden_process() != CR_OK || cr_landlock_restrict(&policy, &in_force->landlock) != CR_OK)
        _exit(254);
}

static int opens(const char *folder, const char *name, int flags)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (open(path, flags | O_CLOEXEC, 0600) < 0) return errno;
    if (flags & O_EXCL) unlink(path); // so that the next one makes it again
    return ATTACK_SUCCEEDED;
}

static int read_model(void)
{
    return opens(model, "config.json", O_RDONLY);
}

static int read_linked(void)
{
    return opens(model, "model.safetensors", O_RDONLY);
}

static int read_linked_folder(void)
{
    return opens(model, "folder/other", O_RDONLY);
}

static int write_model(void)
{
    return opens(model, "config.json", O_WRONLY);
}

static int add_to_model(void)
{
    return opens(model, "new", O_WRONLY | O_CREAT | O_EXCL);
}

static int read_elsewhere(void)
{
    return opens(elsewhere, "other", O_RDONLY);
}

static int list_elsewhere(void)
{
    return opens(elsewhere, "", O_RDONLY | O_DIRECTORY);
}

static int create_elsewhere(void)
{
    return opens(elsewhere, "new", O_WRONLY | O_CREAT | O_EXCL);
}

static int truncate_elsewhere(void)
{
    return opens(elsewhere, "other", O_WRONLY | O_TRUNC);
}

static int move_elsewhere(void)
{
    char from[512], to[512];
    snprintf(from, sizeof from, "%s/mine", result);
    snprintf(to, sizeof to, "%s/moved", elsewhere);
    if (opens(result, "mine", O_WRONLY | O_CREAT) != 0) return 1;
    return rename(from, to) == 0 ? ATTACK_SUCCEEDED : errno;
}

static int write_result(void)
{
    char path[512], folder[512];
    snprintf(folder, sizeof folder, "%s/below", result);
    snprintf(path, sizeof path, "%s/below/adapter", result);
    if (cr_directory_make(folder, true) != CR_OK) return 1;
    for (int i = 0; i < 2; i++)
        if (cr_file_write(path, cr_slice_of_string("twice, to replace it"), true) != CR_OK) return 2;
    return unlink(path) == 0 ? ATTACK_SUCCEEDED : errno;
}

static const char *const program[] = {"/bin/true", NULL};

static int execute(void)
{
    execve(program[0], (char *const *)(uintptr_t)program, (char *const *)(uintptr_t)(program + 1));
    return errno;
}

static int start_process(void)
{
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) _exit(0);
    return pid > 0 ? ATTACK_SUCCEEDED : errno;
}

static int let_itself_be_traced(void)
{
    return ptrace(PTRACE_TRACEME, 0, 0, 0) == 0 ? ATTACK_SUCCEEDED : errno;
}

static int read_a_process(void)
{
    char from[] = "bytes", to[sizeof from];
    struct iovec there = {from, sizeof from}, here = {to, sizeof to};
    return process_vm_readv(getpid(), &here, 1, &there, 1, 0) > 0 ? ATTACK_SUCCEEDED : errno;
}

static int enter_namespace(void)
{
    return unshare(CLONE_NEWUSER) == 0 ? ATTACK_SUCCEEDED : errno;
}

static int make_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page != MAP_FAILED ? ATTACK_SUCCEEDED : errno;
}

static int make_code_of_data(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0 ? ATTACK_SUCCEEDED : errno;
}

static int make_dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0 ? ATTACK_SUCCEEDED : errno;
}

static int make_tcp_socket(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 ? ATTACK_SUCCEEDED : errno;
}

static int make_unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 ? ATTACK_SUCCEEDED : errno;
}

static int make_odd_socket(void)
{
    return socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 || errno != EPERM ? ATTACK_SUCCEEDED : errno;
}

static int connect_to_nobody(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int status = connect(fd, (struct sockaddr *)&address, sizeof address);
    return status == 0 || errno == ECONNREFUSED ? ATTACK_SUCCEEDED : errno;
}

static int type_on_terminal(void)
{
    return ioctl(STDERR_FILENO, TIOCSTI, "x") == 0 || errno != EPERM ? ATTACK_SUCCEEDED : errno;
}

static int unknown_call(void)
{
    return syscall(9999) == 0 ? ATTACK_SUCCEEDED : errno;
}

// getpid, by the number and the gate of 32-bit programs.
static int call_as_32_bit(void)
{
    int pid = 20;
    signal(SIGSEGV, SIG_DFL);
    __asm__ volatile("int $0x80" : "+a"(pid) : : "memory", "r8", "r9", "r10", "r11");
    return pid == getpid() ? ATTACK_SUCCEEDED : 1;
}

static int call_as_x32(void)
{
    return syscall(__X32_SYSCALL_BIT | SYS_getpid) == getpid() ? ATTACK_SUCCEEDED : errno;
}

static pid_t another;

static int signal_another(void)
{
    return kill(another, 0) == 0 ? ATTACK_SUCCEEDED : errno;
}

// The kernel sends SIGIO, or any other signal, to whom a descriptor's events are to be told.
static int signal_another_by_a_pipe(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return 1;
    if (fcntl(ends[0], F_SETOWN, another) != 0) return errno;
    if (fcntl(ends[0], F_SETFL, O_ASYNC) != 0 || write(ends[1], "x", 1) != 1) return 2;
    return ATTACK_SUCCEEDED;
}

static void *in_thread(void *act)
{
    int (*call)(void);
    memcpy(&call, act, sizeof call);
    return (void *)(intptr_t)call();
}

static int run_in_thread(int (*act)(void))
{
    pthread_t thread;
    void *result_of_act;
    if (pthread_create(&thread, NULL, in_thread, &act) != 0) return 249;
    pthread_join(thread, &result_of_act);
    return (int)(intptr_t)result_of_act;
}

static int read_elsewhere_in_thread(void)
{
    return run_in_thread(read_elsewhere);
}

static int execute_in_thread(void)
{
    return run_in_thread(execute);
}

static int read_model_in_thread(void)
{
    return run_in_thread(read_model);
}

static int die_of_abort(void)
{
    signal(SIGABRT, SIG_DFL);
    abort();
}

struct trial {
    const char *what;
    int (*act)(void);
    int confined; // what comes of it
};

static void check(const char *how, void (*protect)(void), const struct trial *trials, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int without = attempt(NULL, trials[i].act), with = attempt(protect, trials[i].act);
        if (trials[i].confined != ATTACK_SIGNAL + SIGABRT && without != ATTACK_SUCCEEDED)
            fail_msg("%s: without confinement: %d", trials[i].what, without);
        if (with != trials[i].confined)
            fail_msg("%s, %s: %d, not %d", trials[i].what, how, with, trials[i].confined);
    }
}
#define CHECK(how, protect, trials) check(how, protect, trials, sizeof(trials) / sizeof *(trials))

static void need(bool there, const char *what)
{
    if (there) return;
    print_message("no %s here\n", what);
    skip();
}

static void files_outside_the_policy_are_out_of_reach(void **state)
{
    (void)state;
    static const struct trial trials[] = {
        {"read the model", read_model, 0},
        {"read the model in a thread", read_model_in_thread, 0},
        {"read a file that the model links to", read_linked, 0},
        {"read below a folder that the model links to", read_linked_folder, EACCES},
        {"write into the model", write_model, EACCES},
        {"add to the model", add_to_model, EACCES},
        {"read a file outside", read_elsewhere, EACCES},
        {"read a file outside in a thread", read_elsewhere_in_thread, EACCES},
        {"list a folder outside", list_elsewhere, EACCES},
        {"create a file outside", create_elsewhere, EACCES},
        {"empty a file outside", truncate_elsewhere, EACCES},
        {"move a file outside", move_elsewhere, EACCES},
        {"write the result", write_result, 0},
    };
    assert_int_equal(attempt(only_landlock, read_model), 0);
    need(in_force->landlock >= 2, "Landlock");
    CHECK("Landlock alone", only_landlock, trials);
    assert_int_equal(attempt(offline, read_model), 0);
    need(in_force->landlock >= 2, "confinement in this build");
    CHECK("offline", offline, trials);
    CHECK("online", online, trials);
}

static void landlock_alone_forbids_programs_networks_and_signals(void **state)
{
    (void)state;
    static const struct trial programs[] = {{"execute a program", execute, EACCES}},
                              networks[] = {{"connect to a port", connect_to_nobody, EACCES}},
                              signals[] = {{"signal another process", signal_another, EPERM}};
    assert_int_equal(attempt(only_landlock, read_model), 0);
    int abi = in_force->landlock;
    need(abi >= 1, "Landlock");
    CHECK("Landlock", only_landlock, programs);
    if (abi >= 4) CHECK("Landlock", only_landlock, networks);
    another = start_victim(NULL);
    if (abi >= 6) CHECK("Landlock", only_landlock, signals);
    end_victim(another);
}

static void calls_outside_the_list_are_refused_or_deadly(void **state)
{
    (void)state;
    static const struct trial trials[] = {
        {"execute a program", execute, ATTACK_SIGNAL + SIGSYS},
        {"execute a program in a thread", execute_in_thread, ATTACK_SIGNAL + SIGSYS},
        {"start a process", start_process, ATTACK_SIGNAL + SIGSYS},
        {"let itself be traced", let_itself_be_traced, ATTACK_SIGNAL + SIGSYS},
        {"read a process", read_a_process, ATTACK_SIGNAL + SIGSYS},
        {"make a page of code", make_code, EPERM},
        {"make code of data", make_code_of_data, EPERM},
        {"make itself dumpable", make_dumpable, ENOSYS},
        {"type on the terminal", type_on_terminal, EPERM},
        {"die of abort", die_of_abort, ATTACK_SIGNAL + SIGABRT},
    };
    static const struct trial networks[] = {{"a TCP socket", make_tcp_socket, ENOSYS},
                                            {"a unix socket", make_unix_socket, ENOSYS}},
                              with_network[] = {{"a TCP socket", make_tcp_socket, 0},
                                                {"a unix socket", make_unix_socket, 0},
                                                {"a connection", connect_to_nobody, 0},
                                                {"an odd socket", make_odd_socket, EPERM}};
    assert_int_equal(attempt(offline, read_model), 0);
    need(in_force->seccomp, "confinement in this build");
    CHECK("offline", offline, trials);
    CHECK("online", online, trials);
    CHECK("offline", offline, networks);
    CHECK("online", online, with_network);
    another = start_victim(NULL);
    assert_int_equal(attempt(NULL, signal_another), ATTACK_SUCCEEDED);
    assert_int_equal(attempt(online, signal_another), ENOSYS);
    assert_int_equal(attempt(online, signal_another_by_a_pipe), EPERM);
    assert_int_equal(attempt(NULL, signal_another_by_a_pipe), ATTACK_SUCCEEDED);
    assert_int_equal(result_of(another), ATTACK_SIGNAL + SIGIO);
    assert_int_equal(attempt(online, enter_namespace), ATTACK_SIGNAL + SIGSYS);
    assert_int_equal(attempt(online, unknown_call), ENOSYS);
    assert_int_equal(attempt(online, call_as_x32), ATTACK_SIGNAL + SIGSYS);
    if (attempt(NULL, call_as_32_bit) == ATTACK_SUCCEEDED)
        assert_int_equal(attempt(online, call_as_32_bit), ATTACK_SIGNAL + SIGSYS);
    else
        print_message("this kernel runs no 32-bit programs\n");
}

static void make_file(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    write_text(path, "{}");
    assert_int_equal(chmod(path, 0666), 0);
}

// Of folders that everyone may read and write, so that it is the confinement that refuses.
static int make_folders(void **state)
{
    char link[512];
    in_force = mmap(NULL, sizeof *in_force, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (make_directory(state) != 0 || in_force == MAP_FAILED || chmod(directory, 0755) != 0) return -1;
    char *const folders[] = {model, result, elsewhere};
    static const char *const names[] = {"model", "result", "elsewhere"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(folders[i], sizeof model, "%s", in_directory(names[i]));
        if (mkdir(folders[i], 0777) != 0 || chmod(folders[i], 0777) != 0) return -1;
    }
    make_file(model, "config.json");
    make_file(elsewhere, "blob");
    make_file(elsewhere, "other");
    snprintf(link, sizeof link, "%s/model.safetensors", model);
    if (symlink("../elsewhere/blob", link) != 0) return -1;
    snprintf(link, sizeof link, "%s/folder", model);
    return symlink("../elsewhere", link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_outside_the_policy_are_out_of_reach),
        cmocka_unit_test(landlock_alone_forbids_programs_networks_and_signals),
        cmocka_unit_test(calls_outside_the_list_are_refused_or_deadly),
    };
    return cmocka_run_group_tests(tests, make_folders, remove_directory);
}
