// The signals by which a person, a terminal or a system ends a program.
#ifndef CARREL_BASE_SIGNALS_H
#define CARREL_BASE_SIGNALS_H

#include "base/status.h"

#include <stdbool.h>

// Has `handler` called for SIGINT, SIGTERM and SIGHUP, each of which keeps the others out of its thread. A
// SIGHUP that the program was started to ignore (nohup) stays ignored. `flags`: as in struct sigaction.
enum cr_status cr_signals_catch(void (*handler)(int number), int flags);

// For a handler: ends the process as the signal does where nothing catches it. Linux keeps such a signal from
// process 1, which a container's program is: that one exits with 128 + number.
void cr_signals_end(int number);

// That this process is to end soon, and with an orderly CR_CANCELLED: said once, in a handler, and asked by
// whatever takes long. In a process that nobody told it is false.
void cr_stop_ask(void);
bool cr_stop_asked(void);

#endif
