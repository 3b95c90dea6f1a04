// Attacks on a process, each in a child so that it may die, and as another user than root, for whom there are
// no limits. Say first what the victim does for its protection, then what is tried.
#ifndef CARREL_TESTS_ATTACK_H
#define CARREL_TESTS_ATTACK_H

#include "support.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum {
    ATTACK_SUCCEEDED = 0, // other results are errno
    ATTACK_SIGNAL = 1000, // and the number of the signal that ended it
    NOBODY = 65534,
};

// Root's children become nobody; a change of user makes a process undumpable, which is not what is tested.
static inline void become_ordinary(void)
{
    if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0)) _exit(250);
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) _exit(251);
}

static inline int result_of(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFSIGNALED(status) ? ATTACK_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

// Starts a process that protects itself (`protect` may be NULL) and then waits to be killed.
static inline pid_t start_victim(void (*protect)(void))
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        become_ordinary();
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); // Yama, where it is, is not what is tested
        if (dup2(ready[1], 3) < 0) _exit(252);              // which protection leaves open
        if (protect) protect();
        if (write(3, "", 1) != 1) _exit(253);
        for (;;) pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static inline void end_victim(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(result_of(pid), ATTACK_SIGNAL + SIGKILL);
}

// What comes of an attack by another process of the same user on the victim.
static inline int attack_on(pid_t victim, int (*attack)(pid_t victim))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        become_ordinary();
        _exit(attack(victim));
    }
    return result_of(pid);
}

// What comes of something that a process tries once it has protected itself.
static inline int attempt(void (*protect)(void), int (*act)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        become_ordinary();
        if (protect) protect();
        _exit(act());
    }
    return result_of(pid);
}

#endif
