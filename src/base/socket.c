#include "base/socket.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/signals.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

void cr_socket_close(int *socket)
{
    if (*socket >= 0) close(*socket);
    *socket = -1;
}

// The path of a "unix:" address, else NULL.
static const char *unix_path(const char *address)
{
    return cr_address_is_unix(address) ? address + strlen("unix:") : NULL;
}

static enum cr_status unix_address(const char *path, struct sockaddr_un *out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path[0] == 0 || strlen(path) >= sizeof address.sun_path)
        return cr_fail(CR_INVALID, "unix:%.300s: the path of a socket has 1 to %zu characters", path,
                       sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    *out = address;
    return CR_OK;
}

static enum cr_status parse(const char *address, bool listens, struct cr_address *out)
{
    if (cr_address_parse(address, out) == CR_OK) return CR_OK;
    return cr_fail(CR_INVALID, "\"%.300s\" is no address: unix:PATH, host:port or tls:HOST:PORT%s is wanted",
                   address, listens ? "" : "#KEY");
}

enum cr_status cr_socket_check(const char *address)
{
    struct sockaddr_un name;
    struct cr_address parts;
    const char *path = unix_path(address);
    return path ? unix_address(path, &name) : parse(address, false, &parts);
}

static enum cr_status resolve(const char *address, bool listens, struct addrinfo **out)
{
    struct cr_address parts;
    CR_TRY(parse(address, listens, &parts));
    int error = cr_address_resolve(&parts, listens, out);
    if (error != 0) return cr_fail(CR_NOT_FOUND, "%s: %s", address, gai_strerror(error));
    return CR_OK;
}

static void set_patience(int socket, double patience)
{
    struct timeval time = {.tv_sec = (time_t)patience};
    time.tv_usec = (suseconds_t)((patience - (double)time.tv_sec) * 1e6) + 1; // zero would mean no timeout
    if (time.tv_usec > 999999) time.tv_usec = 999999;
    (void)setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    (void)setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
    // The options below fail on unix sockets, which do not need them. Keepalive detects a host that vanished.
    int on = 1, idle = 60;
    (void)setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// Returns the socket, or -1 and sets errno.
static int connect_once(const struct sockaddr *address, socklen_t size, double patience)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    set_patience(fd, patience);
    if (connect(fd, address, size) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

// On failure, *later tells whether to retry: the peer may still be starting.
static enum cr_status connect_any(const char *address, double patience, bool *later, int *out)
{
    *later = false;
    const char *path = unix_path(address);
    int fd = -1;
    if (path) {
        struct sockaddr_un name;
        CR_TRY(unix_address(path, &name));
        fd = connect_once((const struct sockaddr *)&name, sizeof name, patience);
    } else {
        struct addrinfo *names;
        CR_TRY(resolve(address, false, &names));
        for (struct addrinfo *name = names; name && fd < 0; name = name->ai_next)
            fd = connect_once(name->ai_addr, name->ai_addrlen, patience);
        int error = errno;
        freeaddrinfo(names);
        errno = error;
    }
    if (fd < 0 && errno == EINPROGRESS)
        return cr_fail(CR_TIMEOUT, "%s: no answer for as long as was allowed", address);
    *later = fd < 0 && (errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN);
    if (fd < 0) return cr_fail_errno(CR_IO, "%s: cannot be connected to", address);
    *out = fd;
    return CR_OK;
}

enum { PAUSE_MILLISECONDS = 50 }; // between two attempts

enum cr_status cr_socket_connect(const char *address, double patience, int *out)
{
    double until = cr_clock_monotonic() + patience;
    for (;;) {
        int fd = -1;
        bool later;
        enum cr_status status = connect_any(address, patience, &later, &fd);
        if (status == CR_OK) {
            *out = fd;
            return CR_OK;
        }
        // The attempt may have failed because of the signal that asks to stop.
        if (status == CR_IO && cr_stop_asked())
            return cr_fail(CR_CANCELLED, "%s: stopped while it was waited for", address);
        if (!later || cr_clock_monotonic() >= until) return status;
        (void)poll(NULL, 0, PAUSE_MILLISECONDS);
    }
}

static enum cr_status listen_unix(const char *path, int *out)
{
    struct sockaddr_un name;
    CR_TRY(unix_address(path, &name));
    const struct sockaddr *address = (const struct sockaddr *)&name;
    CR_CLEANUP(cr_socket_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return cr_fail_errno(CR_IO, "unix:%s", path);
    int bound = bind(fd, address, sizeof name);
    if (bound != 0 && errno == EADDRINUSE) {
        struct stat there;
        if (lstat(path, &there) != 0 || !S_ISSOCK(there.st_mode))
            return cr_fail(CR_IO, "unix:%s: a file that is no socket is there", path);
        CR_CLEANUP(cr_socket_close) int other = connect_once(address, sizeof name, 1);
        if (other >= 0 || errno != ECONNREFUSED)
            return cr_fail(CR_IO, "unix:%s: somebody listens there already", path);
        (void)unlink(path);
        bound = bind(fd, address, sizeof name);
    }
    if (bound != 0) return cr_fail_errno(CR_IO, "unix:%s: cannot be listened at", path);
    if (chmod(path, 0600) != 0 || listen(fd, SOMAXCONN) != 0)
        return cr_fail_errno(CR_IO, "unix:%s: cannot be listened at", path);
    *out = fd;
    fd = -1;
    return CR_OK;
}

enum cr_status cr_socket_listen(const char *address, int *out)
{
    const char *path = unix_path(address);
    if (path) return listen_unix(path, out);
    struct addrinfo *names;
    CR_TRY(resolve(address, true, &names));
    CR_CLEANUP(cr_socket_close) int fd = socket(names->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    bool listening = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                     bind(fd, names->ai_addr, names->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0;
    int error = errno;
    freeaddrinfo(names);
    errno = error;
    if (!listening) return cr_fail_errno(CR_IO, "%s: cannot be listened at", address);
    *out = fd;
    fd = -1;
    return CR_OK;
}

void cr_socket_withdraw(int *listener)
{
    struct sockaddr_un name = {0};
    socklen_t size = sizeof name;
    bool named = getsockname(*listener, (struct sockaddr *)&name, &size) == 0 && name.sun_family == AF_UNIX;
    (void)shutdown(*listener, SHUT_RDWR); // wakes an accept in another thread, which would keep it open
    cr_socket_close(listener);
    if (!named) return;
    CR_CLEANUP(cr_socket_close) int other = connect_once((const struct sockaddr *)&name, sizeof name, 1);
    if (other < 0 && errno == ECONNREFUSED) (void)unlink(name.sun_path);
}

// Waits a moment if accept failed for lack of descriptors or memory; true if it is to be tried again.
static bool may_come(int error)
{
    if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM) return false;
    return poll(NULL, 0, PAUSE_MILLISECONDS) == 0; // false if a signal interrupts it
}

enum cr_status cr_socket_accept(int listener, double patience, int *out)
{
    int fd;
    do fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    while (fd < 0 && (errno == ECONNABORTED || may_come(errno)));
    if (fd < 0) return cr_fail_errno(errno == EINTR ? CR_CANCELLED : CR_IO, "accept");
    set_patience(fd, patience);
    *out = fd;
    return CR_OK;
}

enum cr_status cr_socket_name(int listener, char out[CR_SOCKET_NAME_SIZE])
{
    struct sockaddr_storage name = {0};
    socklen_t size = sizeof name;
    if (getsockname(listener, (struct sockaddr *)&name, &size) != 0)
        return cr_fail_errno(CR_IO, "getsockname");
    if (name.ss_family == AF_UNIX) {
        struct sockaddr_un path;
        memcpy(&path, &name, sizeof path);
        snprintf(out, CR_SOCKET_NAME_SIZE, "unix:%s", path.sun_path);
        return CR_OK;
    }
    char host[NI_MAXHOST], port[NI_MAXSERV];
    int error = getnameinfo((struct sockaddr *)&name, size, host, sizeof host, port, sizeof port,
                            NI_NUMERICHOST | NI_NUMERICSERV);
    if (error != 0) return cr_fail(CR_IO, "getnameinfo: %s", gai_strerror(error));
    snprintf(out, CR_SOCKET_NAME_SIZE, strchr(host, ':') ? "[%.240s]:%.8s" : "%.240s:%.8s", host, port);
    return CR_OK;
}

// The status of a send or receive that moved no bytes; CR_OK: try again.
static enum cr_status no_bytes(ssize_t moved, const char *peer)
{
    if (moved == 0) return cr_fail(CR_IO, "%s: the connection has ended", peer);
    if (errno == EINTR) return CR_OK;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return cr_fail(CR_TIMEOUT, "%s: no sign of life for as long as was allowed", peer);
    return cr_fail_errno(CR_IO, "%s", peer);
}

enum cr_status cr_socket_send(int socket, const void *bytes, size_t size, const char *peer)
{
    const unsigned char *at = bytes;
    while (size > 0) {
        ssize_t put = send(socket, at, size, MSG_NOSIGNAL);
        if (put <= 0) {
            CR_TRY(no_bytes(put, peer));
            continue;
        }
        at += put;
        size -= (size_t)put;
    }
    return CR_OK;
}

enum cr_status cr_socket_receive(int socket, void *bytes, size_t size, const char *peer)
{
    unsigned char *at = bytes;
    while (size > 0) {
        ssize_t got = recv(socket, at, size, 0);
        if (got <= 0) {
            CR_TRY(no_bytes(got, peer));
            continue;
        }
        at += got;
        size -= (size_t)got;
    }
    return CR_OK;
}

enum cr_status cr_socket_wait(int socket, const char *peer, bool *ended)
{
    for (;;) {
        unsigned char byte;
        ssize_t got = recv(socket, &byte, 1, MSG_PEEK);
        if (got >= 0) {
            *ended = got == 0;
            return CR_OK;
        }
        if (errno == ECONNRESET) {
            *ended = true;
            return CR_OK;
        }
        if (errno != EAGAIN && errno != EWOULDBLOCK) CR_TRY(no_bytes(got, peer));
    }
}

union control {
    struct cmsghdr head; // for alignment
    char space[CMSG_SPACE(sizeof(int))];
};

enum cr_status cr_socket_send_descriptor(int socket, int descriptor, const char *peer)
{
    char byte = 0;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    union control control = {0};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof control.space};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof descriptor);
    memcpy(CMSG_DATA(head), &descriptor, sizeof descriptor);
    for (;;) {
        ssize_t put = sendmsg(socket, &message, MSG_NOSIGNAL);
        if (put == 1) return CR_OK;
        CR_TRY(no_bytes(put, peer));
    }
}

enum cr_status cr_socket_receive_descriptor(int socket, const char *peer, int *out)
{
    char byte;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    union control control = {0};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen =
                                 CMSG_LEN(sizeof(int))}; // without padding, into which a second one would fit
    for (;;) {
        ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        if (got == 1) break;
        CR_TRY(no_bytes(got, peer));
    }
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS ||
        head->cmsg_len != CMSG_LEN(sizeof(int)))
        return cr_fail(CR_PROTOCOL, "%s: a descriptor was expected and none came", peer);
    CR_CLEANUP(cr_socket_close) int fd;
    memcpy(&fd, CMSG_DATA(head), sizeof fd);
    if (message.msg_flags & MSG_CTRUNC) // the kernel has closed those that did not fit
        return cr_fail(CR_PROTOCOL, "%s: more than one descriptor came", peer);
    *out = fd;
    fd = -1;
    return CR_OK;
}

void cr_socket_finish(int socket)
{
    unsigned char bytes[4096];
    if (shutdown(socket, SHUT_WR) != 0) return;
    while (recv(socket, bytes, sizeof bytes, 0) > 0) {
    }
}
