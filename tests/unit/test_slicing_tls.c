// Connections to accelerators over TLS: the key in the address is the one thing that counts, and what goes
// wrong is one sentence that names the accelerator.
#include "slicing_support.h"

#include "slicing/link.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { WORDS = 20000 }; // more than one record

// What the other end does with its one connection.
enum play {
    ANSWERS, // greets, and answers products with each word's complement, twice
    DIES,    // ends in the middle of its answer
    SPOILS,  // goes on in the clear in the middle of it
    SHUTS,   // ends before the handshake
    BABBLES, // speaks the protocol without TLS
    HALF,    // begins a handshake, and ends
    SILENT,  // says nothing
};

static struct {
    struct cr_stream_host *host;
    int listener;
    enum play play;
    char name[CR_SOCKET_NAME_SIZE], address[400];
    pthread_t thread;
} fake;

// The tests' own thread alone may fail a test.
static void must(bool right)
{
    if (!right) abort();
}

static void answer(struct cr_stream *stream, enum cr_wire_type type, uint64_t request, const void *body,
                   size_t size, size_t said)
{
    unsigned char head[CR_WIRE_HEAD_SIZE];
    cr_wire_put_head(&(struct cr_wire_head){type, request, size}, head);
    must(cr_stream_send(stream, head, sizeof head, "link") == CR_OK);
    must(cr_stream_send(stream, body, said, "link") == CR_OK);
}

static void ask_and_answer(struct cr_stream *stream)
{
    static uint32_t words[WORDS];
    unsigned char head[CR_WIRE_HEAD_SIZE], hello[CR_WIRE_HELLO_SIZE], product[CR_WIRE_PRODUCT_SIZE],
        ready[CR_WIRE_READY_SIZE];
    bool ended = false;
    must(cr_stream_receive(stream, head, sizeof head, "link") == CR_OK);
    must(cr_stream_receive(stream, hello, sizeof hello, "link") == CR_OK);
    cr_wire_put_ready("fake", ready);
    answer(stream, CR_WIRE_READY, 1, ready, sizeof ready, sizeof ready);
    for (uint64_t request = 2;; request++) {
        must(cr_stream_wait(stream, "link", &ended) == CR_OK);
        if (ended) return;
        must(cr_stream_receive(stream, head, sizeof head, "link") == CR_OK);
        must(cr_stream_receive(stream, product, sizeof product, "link") == CR_OK);
        must(cr_stream_receive(stream, words, sizeof words, "link") == CR_OK);
        for (size_t i = 0; i < WORDS; i++) words[i] = ~words[i];
        bool whole = fake.play == ANSWERS;
        answer(stream, CR_WIRE_RESULT, request, words, sizeof words, whole ? sizeof words : sizeof words / 2);
        if (fake.play == SPOILS) must(cr_socket_send(stream->socket, words, 40000, "link") == CR_OK);
        if (!whole) return;
    }
}

static void *play(void *unused)
{
    // The beginning of a ServerHello's record.
    static const char half[] = {0x16, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3};
    int socket;
    char byte;
    must(cr_socket_accept(fake.listener, 30, &socket) == CR_OK);
    struct cr_stream stream = {.socket = socket};
    if (fake.play == SILENT) {
        while (cr_socket_receive(socket, &byte, 1, "link") == CR_OK) {
        }
    } else if (fake.play == BABBLES || fake.play == HALF) {
        const char *said = fake.play == HALF ? half : "CRAC\2\0\0\0";
        must(cr_socket_send(socket, said, fake.play == HALF ? sizeof half : 8, "link") == CR_OK);
        cr_socket_finish(socket);
    } else if (fake.play != SHUTS && cr_stream_accept(fake.host, socket, "link", &stream) == CR_OK) {
        ask_and_answer(&stream);
    }
    cr_stream_release(&stream);
    cr_socket_close(&socket);
    return unused;
}

static void start(enum play what)
{
    fake.play = what;
    assert_ok(cr_stream_host_new(in_directory("identity"), &fake.host));
    assert_ok(cr_socket_listen("127.0.0.1:0", &fake.listener));
    assert_ok(cr_socket_name(fake.listener, fake.name));
    snprintf(fake.address, sizeof fake.address, "tls:%s#%s", fake.name, cr_stream_host_key(fake.host));
    assert_int_equal(pthread_create(&fake.thread, NULL, play, NULL), 0);
}

static void finish(struct cr_link *link)
{
    cr_link_close(link);
    pthread_join(fake.thread, NULL);
    cr_socket_close(&fake.listener);
    cr_stream_host_free(fake.host);
}

static enum cr_status open_link(const char *address, double patience, struct cr_link **link)
{
    const struct cr_link_options options = {
        .address = address, .digits = 4, .words = 2 * WORDS, .patience = patience, .matrices = 7};
    return cr_link_open(&options, link);
}

static enum cr_status ask(struct cr_link *link)
{
    const struct cr_wire_product product = {.linear = 3, .rows = 2, .parts = 1};
    CR_TRY(cr_link_send(link, &product, WORDS));
    return cr_link_receive(link, WORDS);
}

static void words_come_back(void **state)
{
    (void)state;
    struct cr_link *link;
    char name[400];
    start(ANSWERS);
    assert_ok(open_link(fake.address, 20, &link));
    snprintf(name, sizeof name, "accelerator tls:%s", fake.name);
    assert_string_equal(cr_link_peer(link), name); // without the key
    volatile uint32_t *words = cr_link_question(link);
    // More than goes under one key of TLS.
    for (uint32_t round = 0; round < 2000; round++) {
        for (uint32_t i = 0; i < WORDS; i++) words[i] = round << 20 | i;
        assert_ok(ask(link));
        for (uint32_t i = 0; i < WORDS; i++) assert_int_equal(cr_link_answer(link)[i], ~(round << 20 | i));
    }
    finish(link);
}

static void another_key_is_refused(void **state)
{
    (void)state;
    struct cr_link *link = NULL;
    start(ANSWERS);
    char *digit = fake.address + strlen(fake.address) - 1;
    *digit = *digit == '0' ? '1' : '0';
    assert_fails(CR_DENIED, "it has another key than its address names", open_link(fake.address, 20, &link));
    assert_non_null(strstr(cr_error_message(), "accelerator: tls:127.0.0.1:"));
    finish(link);
}

static void fails_with(enum play what, bool at_product, enum cr_status code, const char *sentence)
{
    struct cr_link *link = NULL;
    char name[400];
    start(what);
    enum cr_status status = open_link(fake.address, what == SILENT ? 0.3 : 20, &link);
    if (at_product) {
        assert_int_equal(status, CR_OK);
        status = ask(link);
    }
    snprintf(name, sizeof name, at_product ? "accelerator tls:%s: " : "accelerator: tls:%s: ", fake.name);
    if (status != code || !strstr(cr_error_message(), sentence) ||
        strncmp(cr_error_message(), name, strlen(name)) != 0)
        fail_msg("%d: %s, \"%s\"", what, cr_status_name(status), cr_error_message());
    finish(link);
}

static void faults_are_named(void **state)
{
    (void)state;
    fails_with(DIES, true, CR_IO, "the connection has ended");
    fails_with(SPOILS, true, CR_PROTOCOL, "TLS: ");
    fails_with(SHUTS, false, CR_IO, "the connection has ended");
    fails_with(HALF, false, CR_IO, "the connection has ended");
    fails_with(BABBLES, false, CR_PROTOCOL, "TLS: wrong version number");
    fails_with(SILENT, false, CR_TIMEOUT, "no sign of life");
}

// A link without TLS at a listener with it.
static void both_ends_need_it(void **state)
{
    (void)state;
    struct cr_link *link = NULL;
    start(ANSWERS);
    assert_fails(CR_IO, "accelerator 127.0.0.1:", open_link(fake.name, 20, &link));
    finish(link);
}

static void what_is_no_address_is_told(void **state)
{
    (void)state;
    static const char key[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const struct {
        const char *before;
        int digits;
        const char *after;
    } wrong[] = {{"tls:", 0, ""},          {"tls:host:1", 0, ""},    {"tls:host:1#", 0, ""},
                 {"tls:host:1#", 63, ""},  {"tls:host:1#", 64, "0"}, {"tls:host#", 64, ""},
                 {"tls:unix:/a#", 64, ""}, {"tls:#", 64, ""},        {"tls:host:1#g", 63, ""},
                 {"tls:host:1", 64, ""},   {"tls:host:1#", 63, "g"}};
    struct cr_link *link;
    char address[400];
    bool tls;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(address, sizeof address, "%s%.*s%s", wrong[i].before, wrong[i].digits, key, wrong[i].after);
        assert_fails(CR_INVALID, "tls:HOST:PORT#KEY is wanted", cr_stream_is_tls(address, &tls));
        assert_fails(CR_INVALID, "tls:HOST:PORT#KEY is wanted", open_link(address, 1, &link));
    }
    snprintf(address, sizeof address, "tls:[::1]:7#%s", key);
    assert_ok(cr_stream_is_tls(address, &tls));
    assert_true(tls);
    assert_ok(cr_stream_is_tls("unix:/tls:", &tls));
    assert_false(tls);
}

static void a_key_stays_and_is_nobody_elses(void **state)
{
    (void)state;
    struct cr_stream_host *first, *again, *other;
    struct stat file;
    char path[300];
    assert_ok(cr_stream_host_new(in_directory("one"), &first));
    assert_ok(cr_stream_host_new(in_directory("one"), &again));
    assert_ok(cr_stream_host_new(in_directory("two"), &other));
    assert_string_equal(cr_stream_host_key(first), cr_stream_host_key(again));
    assert_string_not_equal(cr_stream_host_key(first), cr_stream_host_key(other));
    snprintf(path, sizeof path, "%s/key.pem", in_directory("one"));
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    cr_stream_host_free(first);
    assert_int_equal(chmod(path, 0644), 0);
    assert_fails(CR_DENIED, "a private key that others may open",
                 cr_stream_host_new(in_directory("one"), &first));
    cr_stream_host_free(again);
    cr_stream_host_free(other);
}

// What only a unix socket can carry is refused, whoever asks for it.
static void shared_memory_does_not_come_over_tls(void **state)
{
    (void)state;
    struct hired hired;
    struct cr_stream stream;
    struct cr_wire_head got;
    unsigned char head[CR_WIRE_HEAD_SIZE], hello[CR_WIRE_HELLO_SIZE];
    char why[CR_WIRE_FAILED_LIMIT + 1] = {0};
    hire(&hired, "tests/golden/llama-gqa", "tls:127.0.0.1:0");
    assert_ok(cr_stream_connect(hired.address, 20, &stream));
    cr_wire_put_head(&(struct cr_wire_head){CR_WIRE_HELLO, 1, sizeof hello}, head);
    cr_wire_put_hello(&(struct cr_wire_hello){.digits = 4, .shared = 4096, .matrices = hired.frozen.checksum},
                      hello);
    assert_ok(cr_stream_send(&stream, head, sizeof head, "it"));
    assert_ok(cr_stream_send(&stream, hello, sizeof hello, "it"));
    assert_ok(cr_stream_receive(&stream, head, sizeof head, "it"));
    assert_ok(cr_wire_get_head(head, "it", &got));
    assert_true(got.type == CR_WIRE_FAILED && got.size <= CR_WIRE_FAILED_LIMIT);
    assert_ok(cr_stream_receive(&stream, why, got.size, "it"));
    assert_non_null(strstr(why, "shared memory, which cannot come over TLS"));
    cr_stream_release(&stream);
    cr_socket_close(&stream.socket);
    dismiss(&hired);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_come_back),
        cmocka_unit_test(another_key_is_refused),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(both_ends_need_it),
        cmocka_unit_test(shared_memory_does_not_come_over_tls),
        cmocka_unit_test(what_is_no_address_is_told),
        cmocka_unit_test(a_key_stays_and_is_nobody_elses),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
