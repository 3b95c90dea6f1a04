// base/socket.h: both kinds of address, what may lie at a unix socket's path, ends, silence, descriptors.
#include "temporary.h"

#include "base/clock.h"
#include "base/signals.h"
#include "base/socket.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static const double patience = 0.2; // where it is waited out

static char *unix_address(char out[300], const char *name)
{
    snprintf(out, 300, "unix:%s", in_directory(name));
    return out;
}

// Two sockets that are connected through a listener at `address`.
static void connect_at(const char *address, int *client, int *server)
{
    int listener;
    char name[CR_SOCKET_NAME_SIZE];
    assert_ok(cr_socket_listen(address, &listener));
    assert_ok(cr_socket_name(listener, name));
    assert_ok(cr_socket_connect(name, patience, client));
    assert_ok(cr_socket_accept(listener, patience, server));
    cr_socket_close(&listener);
    assert_int_equal(listener, -1);
}

static void bytes_cross_both_ways(void **state)
{
    (void)state;
    char path[300], got[6];
    const char *const addresses[] = {unix_address(path, "both"), "127.0.0.1:0"};
    for (size_t i = 0; i < 2; i++) {
        int client, server;
        connect_at(addresses[i], &client, &server);
        assert_ok(cr_socket_send(client, "ask", 3, "server"));
        assert_ok(cr_socket_send(client, "ing", 3, "server"));
        assert_ok(cr_socket_receive(server, got, 6, "client"));
        assert_memory_equal(got, "asking", 6);
        assert_ok(cr_socket_send(server, "answer", 6, "client"));
        assert_ok(cr_socket_receive(client, got, 6, "server"));
        assert_memory_equal(got, "answer", 6);
        cr_socket_close(&client);
        cr_socket_close(&server);
    }
}

static void ends_and_silence_are_told_apart(void **state)
{
    (void)state;
    char path[300], byte;
    const char *const addresses[] = {unix_address(path, "ends"), "127.0.0.1:0"};
    for (size_t i = 0; i < 2; i++) {
        int client, server;
        bool ended = true;
        connect_at(addresses[i], &client, &server);
        assert_fails(CR_TIMEOUT, "the client: no sign of life",
                     cr_socket_receive(server, &byte, 1, "the client"));
        assert_ok(cr_socket_send(client, "x", 1, "the server"));
        assert_ok(cr_socket_wait(server, "the client", &ended));
        assert_false(ended);
        cr_socket_finish(server); // takes the byte in until its patience ends
        assert_fails(CR_IO, "the server: the connection has ended",
                     cr_socket_receive(client, &byte, 1, "the server"));
        cr_socket_close(&client);
        assert_ok(cr_socket_wait(server, "the client", &ended));
        assert_true(ended);
        cr_socket_close(&server);
    }
}

static void what_was_said_last_arrives(void **state)
{
    (void)state;
    // The server leaves a question unread, answers, and closes: without cr_socket_finish the answer may be
    // lost.
    int client, server;
    char got[4];
    connect_at("127.0.0.1:0", &client, &server);
    assert_ok(cr_socket_send(client, "a long question", 15, "server"));
    assert_ok(cr_socket_send(server, "no!", 4, "client"));
    cr_socket_finish(server);
    cr_socket_close(&server);
    assert_ok(cr_socket_receive(client, got, 4, "server"));
    assert_string_equal(got, "no!");
    cr_socket_close(&client);
}

static void a_socket_of_the_dead_is_replaced(void **state)
{
    (void)state;
    char path[300];
    int listener, other;
    struct stat file;
    unix_address(path, "dead");
    assert_ok(cr_socket_listen(path, &listener));
    assert_int_equal(stat(path + 5, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    assert_fails(CR_IO, "somebody listens there already", cr_socket_listen(path, &other));
    cr_socket_close(&listener); // its file stays, as after a kill
    assert_fails(CR_IO, "cannot be connected to", cr_socket_connect(path, 0, &other));
    assert_ok(cr_socket_listen(path, &listener));
    assert_ok(cr_socket_connect(path, patience, &other));
    cr_socket_close(&other);
    cr_socket_close(&listener);
}

static void a_file_is_left_alone(void **state)
{
    (void)state;
    char path[300];
    int listener;
    struct stat file;
    unix_address(path, "file");
    int fd = open(path + 5, O_CREAT | O_WRONLY, 0644);
    assert_int_equal(write(fd, "precious", 8), 8);
    close(fd);
    assert_fails(CR_IO, "a file that is no socket", cr_socket_listen(path, &listener));
    assert_int_equal(stat(path + 5, &file), 0);
    assert_int_equal(file.st_size, 8);
    assert_int_equal(symlink(path + 5, in_directory("link")), 0);
    assert_fails(CR_IO, "a file that is no socket", cr_socket_listen(unix_address(path, "link"), &listener));
}

static void addresses_are_refused_by_name(void **state)
{
    (void)state;
    int fd;
    char longest[400] = "unix:/";
    memset(longest + 6, 'x', 200);
    assert_fails(CR_INVALID, "the path of a socket has 1 to 107 characters", cr_socket_listen(longest, &fd));
    assert_fails(CR_INVALID, "the path of a socket", cr_socket_connect("unix:", patience, &fd));
    assert_fails(CR_INVALID, "unix:PATH, host:port or tls:HOST:PORT is wanted",
                 cr_socket_listen("7423", &fd));
    assert_fails(CR_IO, "unix:/nowhere/at/all", cr_socket_listen("unix:/nowhere/at/all", &fd));
    double start = cr_clock_monotonic();
    assert_fails(CR_IO, "unix:/nowhere/at/all", cr_socket_connect("unix:/nowhere/at/all", patience, &fd));
    assert_true(cr_clock_monotonic() - start >= patience);
}

static void *connect_late(void *address)
{
    static int fd = -1;
    if (cr_socket_connect(address, 20, &fd) != CR_OK) return NULL;
    return &fd;
}

static void who_starts_later_is_waited_for(void **state)
{
    (void)state;
    char path[300];
    pthread_t thread;
    void *connected;
    int listener, server;
    unix_address(path, "late");
    assert_int_equal(pthread_create(&thread, NULL, connect_late, path), 0);
    assert_ok(cr_socket_listen(path, &listener));
    assert_ok(cr_socket_accept(listener, patience, &server));
    pthread_join(thread, &connected);
    assert_non_null(connected);
    cr_socket_close(connected);
    cr_socket_close(&server);
    cr_socket_close(&listener);
}

static size_t open_descriptors(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 100; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void send_two_descriptors(int socket, int fd)
{
    char byte = 0;
    const int both[2] = {fd, fd};
    struct iovec data = {&byte, 1};
    _Alignas(struct cmsghdr) char space[CMSG_SPACE(sizeof both)] = {0};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof both)};
    memcpy(CMSG_DATA(head), both, sizeof both);
    assert_int_equal(sendmsg(socket, &message, 0), 1);
}

static void a_descriptor_crosses_alone(void **state)
{
    (void)state;
    char path[300], got[8];
    int client, server, fd, received = -1;
    connect_at(unix_address(path, "descriptor"), &client, &server);
    fd = open(path + 5, O_PATH);
    size_t before = open_descriptors();
    assert_ok(cr_socket_send_descriptor(client, fd, "server"));
    assert_ok(cr_socket_receive_descriptor(server, "client", &received));
    struct stat sent, came;
    assert_int_equal(fstat(fd, &sent) | fstat(received, &came), 0);
    assert_int_equal(sent.st_ino, came.st_ino);
    close(received);

    assert_ok(cr_socket_send(client, "x", 1, "server"));
    assert_fails(CR_PROTOCOL, "client: a descriptor was expected and none came",
                 cr_socket_receive_descriptor(server, "client", &received));
    send_two_descriptors(client, fd);
    assert_fails(CR_PROTOCOL, "client: more than one descriptor",
                 cr_socket_receive_descriptor(server, "client", &received));
    // One where none is expected is closed.
    assert_ok(cr_socket_send_descriptor(client, fd, "server"));
    assert_ok(cr_socket_receive(server, got, 1, "client"));
    assert_int_equal(open_descriptors(), before);
    close(fd);
    cr_socket_close(&client);
    cr_socket_close(&server);

    connect_at("127.0.0.1:0", &client, &server);
    assert_ok(cr_socket_send(client, "x", 1, "server"));
    assert_fails(CR_PROTOCOL, "none came", cr_socket_receive_descriptor(server, "client", &received));
    cr_socket_close(&client);
    cr_socket_close(&server);
}

struct allowance {
    struct rlimit limit;
    char name[CR_SOCKET_NAME_SIZE];
    int client;
};

// Sets the limit of descriptors back once the accept has met it, and connects: under valgrind, an accept that
// meets the limit takes a connection all the same.
static void *allow_late(void *context)
{
    struct allowance *allowance = context;
    usleep(100000);
    if (setrlimit(RLIMIT_NOFILE, &allowance->limit) != 0 ||
        cr_socket_connect(allowance->name, patience, &allowance->client) != CR_OK)
        abort();
    return NULL;
}

static void a_want_of_descriptors_is_waited_out(void **state)
{
    (void)state;
    int listener, client, server;
    struct allowance allowance;
    pthread_t thread;
    assert_ok(cr_socket_listen("127.0.0.1:0", &listener));
    assert_ok(cr_socket_name(listener, allowance.name));
    assert_ok(cr_socket_connect(allowance.name, patience, &client));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &allowance.limit), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = allowance.limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(pthread_create(&thread, NULL, allow_late, &allowance), 0);
    enum cr_status status = cr_socket_accept(listener, patience, &server);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_ok(status);
    cr_socket_close(&server);
    cr_socket_close(&client);
    cr_socket_close(&allowance.client);
    cr_socket_close(&listener);
}

static void on_signal(int number)
{
    (void)number;
    cr_stop_ask();
}

static void assert_stops(pid_t child)
{
    int how = 0;
    assert_true(child > 0);
    do {
        usleep(50000);
        kill(child, SIGINT);
    } while (waitpid(child, &how, WNOHANG) == 0);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), CR_CANCELLED);
}

// Ctrl-C while a listener takes nobody in, as a host that does not answer, and while one has no descriptor.
static void a_signal_ends_what_waits(void **state)
{
    (void)state;
    char address[300];
    int full, first, second, listener;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%.100s", unix_address(address, "full") + strlen("unix:"));
    assert_true((full = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
    assert_int_equal(bind(full, (const struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(full, 0), 0);
    assert_ok(cr_socket_connect(address, patience, &first));
    assert_ok(cr_signals_catch(on_signal, SA_RESTART));
    pid_t child = fork(); // which alone is asked to stop
    if (child == 0) _exit((int)cr_socket_connect(address, 20, &second));
    assert_stops(child);
    cr_socket_close(&first);
    cr_socket_close(&full);
    assert_ok(cr_socket_listen(unix_address(address, "starved"), &listener));
    assert_ok(cr_socket_connect(address, patience, &first));
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 0;
    assert_ok(cr_signals_catch(on_signal, 0));
    child = fork();
    if (child == 0)
        _exit(setrlimit(RLIMIT_NOFILE, &limit) == 0 ? (int)cr_socket_accept(listener, patience, &second)
                                                    : 99);
    assert_stops(child);
    cr_socket_close(&first);
    cr_socket_close(&listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_cross_both_ways),
        cmocka_unit_test(ends_and_silence_are_told_apart),
        cmocka_unit_test(what_was_said_last_arrives),
        cmocka_unit_test(a_socket_of_the_dead_is_replaced),
        cmocka_unit_test(a_file_is_left_alone),
        cmocka_unit_test(addresses_are_refused_by_name),
        cmocka_unit_test(who_starts_later_is_waited_for),
        cmocka_unit_test(a_descriptor_crosses_alone),
        cmocka_unit_test(a_want_of_descriptors_is_waited_out),
        cmocka_unit_test(a_signal_ends_what_waits),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
