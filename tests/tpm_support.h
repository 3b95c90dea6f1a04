// TPMs of a test's own: swtpm, each with its state and its socket in the test's directory; and one that says
// whatever it is told to.
#ifndef CARREL_TESTS_TPM_SUPPORT_H
#define CARREL_TESTS_TPM_SUPPORT_H

#include "temporary.h"

#include "base/bytes.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

struct swtpm {
    char path[100]; // its socket
    pid_t process;  // 0: it does not run
};

static pid_t swtpm_running[4];

static inline void swtpm_stop(struct swtpm *tpm)
{
    if (tpm->process == 0) return;
    kill(tpm->process, SIGTERM);
    waitpid(tpm->process, NULL, 0);
    for (size_t i = 0; i < sizeof swtpm_running / sizeof *swtpm_running; i++)
        if (swtpm_running[i] == tpm->process) swtpm_running[i] = 0;
    tpm->process = 0;
}

// The program's tear-down; what a test that failed left running ends too.
static int remove_tpms(void **state)
{
    for (size_t i = 0; i < sizeof swtpm_running / sizeof *swtpm_running; i++)
        swtpm_stop(&(struct swtpm){.process = swtpm_running[i]});
    return remove_directory(state);
}

static inline struct sockaddr_un tpm_address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return address;
}

// A connection, once somebody listens there.
static inline int tpm_connect(const char *path)
{
    const struct sockaddr_un address = tpm_address(path);
    for (size_t i = 0; i < 2000; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) return fd;
        close(fd);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    fail_msg("%s: nobody listens", path);
    return -1;
}

// Switches it on, as a machine does: the state is that of the last time, PCRs are zeros. Skips the test where
// there is no swtpm. `flags`: "not-need-init", and "startup-clear" for what firmware does first.
static inline void swtpm_start(struct swtpm *tpm, const char *name, const char *flags)
{
    char state[160], server[160];
    const char *folder = in_directory(name);
    mkdir(folder, 0700);
    snprintf(tpm->path, sizeof tpm->path, "%.80s.socket", folder);
    snprintf(state, sizeof state, "dir=%.100s", folder);
    snprintf(server, sizeof server, "type=unixio,path=%s", tpm->path);
    unlink(tpm->path);
    const char *const arguments[] = {"swtpm",      "socket", "--tpm2",
                                     "--tpmstate", state,    "--server",
                                     server,       "--log",  "level=0,file=/dev/null",
                                     "--flags",    flags,    NULL};
    if (posix_spawnp(&tpm->process, "swtpm", NULL, NULL, (char *const *)(uintptr_t)arguments, environ) != 0) {
        tpm->process = 0;
        print_message("swtpm is not installed\n");
        skip();
    }
    size_t place = 0;
    while (swtpm_running[place] != 0) place++;
    swtpm_running[place] = tpm->process;
    close(tpm_connect(tpm->path));
}

// What somebody who may use the TPM does: extends a PCR of SHA-256 by 32 bytes of this value.
static inline void swtpm_extend(const struct swtpm *tpm, uint8_t pcr, uint8_t value)
{
    unsigned char command[65] = {0x80, 0x02, 0, 0, 0,    65,  0, 0, 0x01, 0x82, 0, 0, 0,
                                 pcr,                                                    // TPM2_PCR_Extend
                                 0,    0,    0, 9, 0x40, 0,   0, 9, 0,    0,    0, 0, 0, // no password
                                 0,    0,    0, 1, 0,    0x0b};
    unsigned char answer[64];
    memset(command + 33, value, 32);
    int fd = tpm_connect(tpm->path);
    assert_int_equal(send(fd, command, sizeof command, 0), sizeof command);
    assert_true(recv(fd, answer, sizeof answer, 0) >= 10);
    assert_memory_equal(answer + 6, ((const unsigned char[]){0, 0, 0, 0}), 4);
    close(fd);
}

// One that answers every command of one connection with the same bytes.
struct false_tpm {
    char path[100];
    int listener;
    struct cr_slice answer;
    pthread_t thread;
};

static inline void *false_tpm_run(void *argument)
{
    const struct false_tpm *tpm = argument;
    unsigned char command[4096];
    int fd = accept(tpm->listener, NULL, NULL);
    while (recv(fd, command, sizeof command, 0) > 0) {
        if (tpm->answer.size == 0) break;
        if (send(fd, tpm->answer.data, tpm->answer.size, MSG_NOSIGNAL) < 0) break;
    }
    close(fd);
    return NULL;
}

static inline void false_tpm_start(struct false_tpm *tpm, struct cr_slice answer)
{
    snprintf(tpm->path, sizeof tpm->path, "%.80s", in_directory("false.socket"));
    unlink(tpm->path);
    const struct sockaddr_un address = tpm_address(tpm->path);
    tpm->answer = answer;
    tpm->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(tpm->listener, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(tpm->listener, 1), 0);
    assert_int_equal(pthread_create(&tpm->thread, NULL, false_tpm_run, tpm), 0);
}

static inline void false_tpm_stop(struct false_tpm *tpm)
{
    pthread_join(tpm->thread, NULL);
    close(tpm->listener);
}

#endif
