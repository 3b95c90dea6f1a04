#include "base/signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};

static atomic_bool stop_asked; // lock-free, as needed in a handler

enum { NUMBERS = sizeof numbers / sizeof *numbers };

static bool is_left_alone(int number)
{
    struct sigaction inherited;
    return number == SIGHUP && sigaction(number, NULL, &inherited) == 0 && inherited.sa_handler == SIG_IGN;
}

enum cr_status cr_signals_catch(void (*handler)(int number), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < NUMBERS; i++) sigaddset(&action.sa_mask, numbers[i]);
    for (size_t i = 0; i < NUMBERS; i++)
        if (!is_left_alone(numbers[i]) && sigaction(numbers[i], &action, NULL) != 0)
            return cr_fail_errno(CR_INTERNAL, "signals cannot be caught");
    return CR_OK;
}

void cr_signals_end(int number)
{
    if (getpid() == 1) _exit(128 + number);
    signal(number, SIG_DFL);
    raise(number);
}

void cr_stop_ask(void)
{
    atomic_store(&stop_asked, true);
}

bool cr_stop_asked(void)
{
    return atomic_load(&stop_asked);
}
