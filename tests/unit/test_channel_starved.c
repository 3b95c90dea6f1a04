// A connection whose events find no memory, or that finds no descriptor: it opens all the same, or ends with
// a word. It never waits in vain.
#include "channel_support.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static size_t left; // of libevent's allocations, until one is refused; 0: none is

static bool refused(void)
{
    if (left == 0 || --left > 0) return false;
    errno = ENOMEM;
    return true;
}

static void *take(size_t size)
{
    return refused() ? NULL : malloc(size);
}

static void *take_again(void *block, size_t size)
{
    return refused() ? NULL : realloc(block, size);
}

// Whether it opened; *met: there was an allocation of that number.
static bool open_without(size_t number, bool *met)
{
    char address[64];
    assert_int_equal(set_up(NULL), 0);
    assert_ok(cr_tls_new_member(silo_identity, &client_tls));
    listen_with(60);
    snprintf(address, sizeof address, "127.0.0.1:%u", cr_listener_port(listener));
    left = number;
    enum cr_status status =
        cr_connection_open(loop, client_tls, address, 60, &handler, &client, &client.connection);
    double start = cr_clock_monotonic();
    while (status == CR_OK && !client.closed && !(client.open && server.open)) {
        assert_ok(cr_loop_step(loop, 0.05));
        assert_true(cr_clock_monotonic() - start < PATIENCE);
    }
    if (client.closed) assert_int_not_equal(client.status, CR_TIMEOUT); // which ends what stands still
    if (status != CR_OK) assert_int_equal(status, CR_NO_MEMORY);
    *met = left == 0;
    left = 0;
    bool open = client.open && server.open;
    assert_int_equal(tear_down(NULL), 0);
    return open;
}

static void an_event_is_asked_for_again(void **state)
{
    (void)state;
    bool met = true;
    size_t opened = 0, number;
    for (number = 1; met; number++) opened += open_without(number, &met);
    assert_true(number > 6 && opened > 2);
}

static void limit_descriptors(rlim_t count)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = count;
    setrlimit(RLIMIT_NOFILE, &limit);
}

// The listener pauses, instead of asking without end, and the one that waits is served when there is room.
static void descriptors_run_out(void **state)
{
    (void)state;
    struct rlimit was;
    char address[64];
    getrlimit(RLIMIT_NOFILE, &was);
    limit_descriptors(3);
    int pair[2], made = socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    limit_descriptors(was.rlim_cur);
    if (made == 0) { // valgrind's limit leaves this call out, and accept
        close(pair[0]);
        close(pair[1]);
        skip();
    }
    assert_int_equal(set_up(NULL), 0);
    assert_ok(cr_tls_new_member(silo_identity, &client_tls));
    listen_with(60);
    snprintf(address, sizeof address, "127.0.0.1:%u", cr_listener_port(listener));
    assert_ok(cr_connection_open(loop, client_tls, address, 60, &handler, &client, &client.connection));
    limit_descriptors(3);
    double start = cr_clock_monotonic();
    clock_t worked = clock();
    while (cr_clock_monotonic() - start < 0.5) assert_ok(cr_loop_step(loop, 0.5));
    assert_true(clock() - worked < CLOCKS_PER_SEC / 4);
    assert_false(client.open || client.closed);
    limit_descriptors(was.rlim_cur);
    until(&client.open);
    assert_true(cr_clock_monotonic() - start > 0.9);
    assert_int_equal(tear_down(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_event_is_asked_for_again),
                                       cmocka_unit_test(descriptors_run_out)};
    event_set_mem_functions(take, take_again, free);
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
