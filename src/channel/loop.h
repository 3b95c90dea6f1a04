// The event loop of a process that serves or joins: one thread waits here for connections, time and wake-ups.
//
// Everything of channel/ that belongs to a loop is used on the thread that steps it, except cr_loop_wake.
#ifndef CARREL_CHANNEL_LOOP_H
#define CARREL_CHANNEL_LOOP_H

#include "base/status.h"

struct cr_loop;

// Makes the process ignore SIGPIPE: libssl writes to sockets that a peer may have closed.
enum cr_status cr_loop_new(struct cr_loop **out);

// After every connection and listener of it. NULL is allowed.
void cr_loop_free(struct cr_loop *loop);

// Handles what happens, and returns after `seconds` at the latest, or once something was handled.
enum cr_status cr_loop_step(struct cr_loop *loop, double seconds);

// Makes the present or the next step return at once. May be called on any thread and in a signal handler.
void cr_loop_wake(struct cr_loop *loop);

// For channel/ itself: struct event_base *.
void *cr_loop_base(struct cr_loop *loop);

#endif
