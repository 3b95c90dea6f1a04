#include "channel/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct cr_listener {
    struct cr_loop *loop;
    struct cr_tls *tls;
    double timeout;
    void *(*accepted)(void *context, struct cr_connection *connection);
    const struct cr_connection_handler *handler;
    void *context;
    int fd;
    unsigned port;
    struct event *readable;
    struct event *resume; // ends a pause for lack of descriptors or memory
};

static void on_resume(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct cr_listener *listener = context;
    event_add(listener->readable, NULL);
}

static void on_readable(evutil_socket_t unused, short what, void *context)
{
    (void)unused;
    (void)what;
    struct cr_listener *listener = context;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) return;
        // The connection that is still pending would make the socket readable at once: pause until others
        // have ended.
        struct timeval pause = {.tv_sec = 1};
        event_del(listener->readable);
        event_add(listener->resume, &pause);
        return;
    }
    struct cr_connection *connection;
    if (cr_connection_accept(listener->loop, listener->tls, fd, listener->timeout, listener->handler,
                             &connection) != CR_OK)
        return; // out of memory: the peer sees the connection end and tries again
    void *owner = listener->accepted(listener->context, connection);
    if (owner)
        cr_connection_set_context(connection, owner);
    else
        cr_connection_free(connection);
}

void cr_listener_free(struct cr_listener *listener)
{
    if (!listener) return;
    if (listener->readable) event_free(listener->readable);
    if (listener->resume) event_free(listener->resume);
    if (listener->fd >= 0) close(listener->fd);
    free(listener);
}

static enum cr_status bind_to(const char *text, const struct addrinfo *to, int *out)
{
    int fd = socket(to->ai_family, to->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol);
    int on = 1;
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, to->ai_addr, to->ai_addrlen) == 0 && listen(fd, 128) == 0) {
        *out = fd;
        return CR_OK;
    }
    enum cr_status status = cr_fail_errno(CR_IO, "%s: cannot listen", text);
    if (fd >= 0) close(fd);
    return status;
}

static enum cr_status listen_on(struct cr_listener *listener, const char *text)
{
    struct cr_address address;
    CR_TRY(cr_address_parse(text, &address));
    struct addrinfo *found;
    int error = cr_address_resolve(&address, true, &found);
    if (error != 0) return cr_fail(CR_IO, "%s: cannot listen: %s", text, gai_strerror(error));
    enum cr_status status = bind_to(text, found, &listener->fd);
    freeaddrinfo(found);
    CR_TRY(status);
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    char bound_port[8] = "0";
    if (getsockname(listener->fd, (struct sockaddr *)&bound, &size) != 0 ||
        getnameinfo((struct sockaddr *)&bound, size, NULL, 0, bound_port, sizeof bound_port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return cr_fail(CR_IO, "%s: its port cannot be told", text);
    listener->port = (unsigned)strtoul(bound_port, NULL, 10);
    return CR_OK;
}

enum cr_status cr_listener_new(struct cr_loop *loop, struct cr_tls *tls, const char *address, double timeout,
                               void *(*accepted)(void *context, struct cr_connection *connection),
                               const struct cr_connection_handler *handler, void *context,
                               struct cr_listener **out)
{
    struct cr_listener *listener;
    CR_TRY(cr_allocate(1, sizeof *listener, &listener));
    *listener = (struct cr_listener){.loop = loop,
                                     .tls = tls,
                                     .timeout = timeout,
                                     .accepted = accepted,
                                     .handler = handler,
                                     .context = context,
                                     .fd = -1};
    enum cr_status status = listen_on(listener, address);
    if (status == CR_OK) {
        struct event_base *base = cr_loop_base(loop);
        listener->readable = event_new(base, listener->fd, EV_READ | EV_PERSIST, on_readable, listener);
        listener->resume = evtimer_new(base, on_resume, listener);
        if (!listener->readable || !listener->resume || event_add(listener->readable, NULL) != 0)
            status = cr_fail(CR_NO_MEMORY, "%s: cannot listen", address);
    }
    if (status != CR_OK) {
        cr_listener_free(listener);
        return status;
    }
    *out = listener;
    return CR_OK;
}

unsigned cr_listener_port(const struct cr_listener *listener)
{
    return listener->port;
}
