#include "channel/loop.h"

#include "base/memory.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct cr_loop {
    struct event_base *base;
    struct event *woken;
    struct event *pause;
    int wake_fd;
};

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    (void)context;
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof count);
    (void)got; // may be empty, if an earlier read took the wake-up
}

static void on_pause(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)context;
}

void cr_loop_free(struct cr_loop *loop)
{
    if (!loop) return;
    if (loop->woken) event_free(loop->woken);
    if (loop->pause) event_free(loop->pause);
    if (loop->base) event_base_free(loop->base);
    if (loop->wake_fd >= 0) close(loop->wake_fd);
    free(loop);
}

enum cr_status cr_loop_new(struct cr_loop **out)
{
    struct cr_loop *loop;
    CR_TRY(cr_allocate(1, sizeof *loop, &loop));
    signal(SIGPIPE, SIG_IGN);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct event_config *config = event_config_new();
    // The host controls the environment: libevent must not choose its back end by it.
    if (config) event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
    loop->base = config && loop->wake_fd >= 0 ? event_base_new_with_config(config) : NULL;
    if (config) event_config_free(config);
    if (loop->base) {
        loop->woken = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, NULL);
        loop->pause = evtimer_new(loop->base, on_pause, NULL);
    }
    if (!loop->woken || !loop->pause || event_add(loop->woken, NULL) != 0) {
        enum cr_status status = cr_fail_errno(CR_IO, "the event loop cannot be set up");
        cr_loop_free(loop);
        return status;
    }
    *out = loop;
    return CR_OK;
}

enum cr_status cr_loop_step(struct cr_loop *loop, double seconds)
{
    struct timeval wait = {.tv_sec = (time_t)seconds,
                           .tv_usec = (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};
    if (event_add(loop->pause, &wait) != 0 || event_base_loop(loop->base, EVLOOP_ONCE) < 0)
        return cr_fail_errno(CR_IO, "the event loop failed");
    return CR_OK;
}

void cr_loop_wake(struct cr_loop *loop)
{
    uint64_t one = 1;
    ssize_t put = write(loop->wake_fd, &one, sizeof one);
    (void)put; // if it is full, a wake-up is pending already
}

void *cr_loop_base(struct cr_loop *loop)
{
    return loop->base;
}
