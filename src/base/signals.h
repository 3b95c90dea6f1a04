// Signals by which a user, a terminal or the system asks a program to end.
#ifndef CARREL_BASE_SIGNALS_H
#define CARREL_BASE_SIGNALS_H

#include "base/status.h"

#include <stdbool.h>

// Installs `handler` for SIGINT, SIGTERM and SIGHUP; while it runs, all three are blocked in its thread. A
// SIGHUP that the program inherited as ignored (nohup) stays ignored. `flags`: as in struct sigaction.
enum cr_status cr_signals_catch(void (*handler)(int number), int flags);

// For use in a handler: ends the process by the signal's default action. Linux does not apply it to process
// 1, such as a container's program, which exits with 128 + number instead.
void cr_signals_end(int number);

// A request that this process end soon, in an orderly way and with CR_CANCELLED. A handler makes it; whatever
// takes long polls it. False unless cr_stop_ask was called.
void cr_stop_ask(void);
bool cr_stop_asked(void);

#endif
