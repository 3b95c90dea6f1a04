// The event loop of a server or silo: one thread waits here for connections, timers and wake-ups.
//
// Everything in channel/ that belongs to a loop must be used on the thread that runs cr_loop_step, except
// cr_loop_wake.
#ifndef CARREL_CHANNEL_LOOP_H
#define CARREL_CHANNEL_LOOP_H

#include "base/status.h"

struct cr_loop;

// Makes the process ignore SIGPIPE: libssl writes to sockets that a peer may have closed.
enum cr_status cr_loop_new(struct cr_loop **out);

// Free all its connections and listeners first. NULL is allowed.
void cr_loop_free(struct cr_loop *loop);

// Waits at most `seconds`, and returns once events were handled.
enum cr_status cr_loop_step(struct cr_loop *loop, double seconds);

// Makes the current or the next step return at once. May be called on any thread and in a signal handler.
void cr_loop_wake(struct cr_loop *loop);

// For channel/ itself: struct event_base *.
void *cr_loop_base(struct cr_loop *loop);

#endif
