// slicing/link.h against accelerators that answer, lie, refuse, fall silent and end, over both kinds of
// connection: each fault is one sentence that names the accelerator.
#include "temporary.h"

#include "base/signals.h"
#include "base/socket.h"
#include "slicing/link.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>

enum { WORDS = 64 };

// What is said in answer to the question that it is about.
enum stage { AT_HELLO, AT_PRODUCT };
struct answer {
    const char *what;
    const char *body; // NULL: as many zeros
    size_t size;
    enum cr_wire_type type;
    int later;       // added to the request's number
    bool cut;        // the connection ends after the head
    bool silent;     // nothing is said
    bool slow;       // it takes longer than a stop is looked for
    const char *raw; // said instead of all that
};

static const char escape[] = "no\x1b[2J\nroom";

// The fake: it greets, and answers products with each word's complement, but for the one answer.
static struct {
    char address[CR_SOCKET_NAME_SIZE];
    int listener;
    bool shared;
    enum stage stage;
    const struct answer *answer; // NULL: none is wrong
    pthread_t thread;
} fake;

// The tests' own thread alone may fail a test.
static void must(bool right)
{
    if (!right) abort();
}

static void send_message(int socket, enum cr_wire_type type, uint64_t request, const void *body, size_t size)
{
    unsigned char head[CR_WIRE_HEAD_SIZE];
    cr_wire_put_head(&(struct cr_wire_head){type, request, size}, head);
    // The link may have ended: that is its test's affair.
    if (cr_socket_send(socket, head, sizeof head, "link") != CR_OK) return;
    if (body && cr_socket_send(socket, body, size, "link") != CR_OK) return;
}

static void send_answer(int socket, const struct answer *answer, uint64_t request)
{
    static const char zeros[4096];
    char byte;
    if (answer->slow) (void)poll(NULL, 0, 300);
    if (answer->silent) {
        must(cr_socket_receive(socket, &byte, 1, "link") != CR_OK); // until the link gives up
    } else if (answer->raw) {
        must(cr_socket_send(socket, answer->raw, strlen(answer->raw), "link") == CR_OK);
    } else {
        const char *body = answer->cut ? NULL : answer->body ? answer->body : zeros;
        send_message(socket, answer->type, request + (uint64_t)answer->later, body, answer->size);
    }
}

static void *play(void *unused)
{
    int socket, fd = -1;
    unsigned char head_bytes[CR_WIRE_HEAD_SIZE], body[CR_WIRE_HELLO_SIZE], ready[CR_WIRE_READY_SIZE];
    uint32_t own[2 * WORDS], *words = own, *answer = own + WORDS;
    struct cr_wire_head head;
    must(cr_socket_accept(fake.listener, 30, &socket) == CR_OK);
    must(cr_socket_receive(socket, head_bytes, sizeof head_bytes, "link") == CR_OK);
    must(cr_wire_get_head(head_bytes, "link", &head) == CR_OK && head.type == CR_WIRE_HELLO &&
         head.request == 1);
    must(cr_socket_receive(socket, body, sizeof body, "link") == CR_OK);
    if (fake.shared) {
        must(cr_socket_receive_descriptor(socket, "link", &fd) == CR_OK);
        words = mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        must(words != MAP_FAILED);
        answer = words + WORDS;
        cr_socket_close(&fd);
    }
    bool lies = fake.answer && fake.stage == AT_HELLO;
    if (lies) send_answer(socket, fake.answer, 1);
    cr_wire_put_ready("fake", ready);
    if (!lies) send_message(socket, CR_WIRE_READY, 1, ready, sizeof ready);
    while (!lies && cr_socket_receive(socket, head_bytes, sizeof head_bytes, "link") == CR_OK) {
        must(cr_wire_get_head(head_bytes, "link", &head) == CR_OK && head.type == CR_WIRE_PRODUCT);
        must(cr_socket_receive(socket, body, CR_WIRE_PRODUCT_SIZE, "link") == CR_OK);
        size_t size = head.size - CR_WIRE_PRODUCT_SIZE;
        must(size <= sizeof own / 2 && !(fake.shared && size));
        must(cr_socket_receive(socket, words, size, "link") == CR_OK);
        lies = fake.answer != NULL;
        if (lies) send_answer(socket, fake.answer, head.request);
        for (size_t i = 0; i < WORDS; i++) answer[i] = ~words[i];
        if (!lies) send_message(socket, CR_WIRE_RESULT, head.request, answer, fake.shared ? 0 : size);
    }
    if (fake.shared) munmap(words, sizeof own);
    cr_socket_finish(socket);
    cr_socket_close(&socket);
    return unused;
}

static void start(bool shared, enum stage stage, const struct answer *answer)
{
    char address[300] = "127.0.0.1:0";
    if (shared) snprintf(address, sizeof address, "unix:%s", in_directory("link"));
    fake.shared = shared;
    fake.stage = stage;
    fake.answer = answer;
    assert_ok(cr_socket_listen(address, &fake.listener));
    assert_ok(cr_socket_name(fake.listener, fake.address));
    assert_int_equal(pthread_create(&fake.thread, NULL, play, NULL), 0);
}

static enum cr_status ask(struct cr_link *link, const struct cr_wire_product *product, size_t question,
                          size_t answer)
{
    CR_TRY(cr_link_send(link, product, question));
    return cr_link_receive(link, answer);
}

static void finish(struct cr_link *link)
{
    cr_link_close(link);
    pthread_join(fake.thread, NULL);
    cr_socket_close(&fake.listener);
}

static enum cr_status open_link(double patience, struct cr_link **link)
{
    const struct cr_link_options options = {
        .address = fake.address, .digits = 4, .words = 2 * WORDS, .patience = patience, .matrices = 7};
    return cr_link_open(&options, link);
}

static void words_come_back(void **state)
{
    (void)state;
    const struct cr_wire_product product = {.linear = 3, .rows = 2, .parts = 1};
    for (int shared = 0; shared < 2; shared++) {
        struct cr_link *link;
        char name[300];
        start(shared, AT_HELLO, NULL);
        assert_ok(open_link(20, &link));
        assert_string_equal(cr_link_engine(link), "fake");
        snprintf(name, sizeof name, "accelerator %s", fake.address);
        assert_string_equal(cr_link_peer(link), name);
        volatile uint32_t *words = cr_link_question(link);
        for (uint32_t round = 0; round < 3; round++) {
            for (uint32_t i = 0; i < WORDS; i++) words[i] = round << 20 | i;
            assert_ok(ask(link, &product, WORDS, WORDS));
            for (uint32_t i = 0; i < WORDS; i++)
                assert_int_equal(cr_link_answer(link)[i], ~(round << 20 | i));
        }
        assert_fails(CR_INTERNAL, "129 words from word 0 on do not fit its 128",
                     ask(link, &product, 2 * WORDS + 1, 1));
        assert_fails(CR_INTERNAL,
                     shared ? "65 words from word 64 on do not" : "129 words from word 0 on do not",
                     ask(link, &product, WORDS, shared ? WORDS + 1 : 2 * WORDS + 1));
        finish(link);
    }
}

// At `stage`, the answer makes this failure, by the accelerator's name.
static void fails_with(bool shared, enum stage stage, const struct answer *answer, enum cr_status code,
                       const char *sentence)
{
    const struct cr_wire_product product = {.linear = 3, .rows = 2, .parts = 1};
    struct cr_link *link = NULL;
    char name[300];
    start(shared, stage, answer);
    enum cr_status status = open_link(answer->silent ? 0.2 : 20, &link);
    if (stage == AT_PRODUCT) {
        assert_int_equal(status, CR_OK);
        status = ask(link, &product, WORDS, WORDS);
    }
    snprintf(name, sizeof name, "accelerator %s: ", fake.address);
    if (status != code || !strstr(cr_error_message(), sentence) ||
        strncmp(cr_error_message(), name, strlen(name)) != 0)
        fail_msg("%s: %s, \"%s\"", answer->what, cr_status_name(status), cr_error_message());
    finish(link);
}

static void faults_are_named(void **state)
{
    (void)state;
    const struct {
        struct answer answer;
        enum cr_status code;
        const char *at_hello, *at_product; // NULL: no fault there
    } faults[] = {
        {{.what = "another's answer", .type = CR_WIRE_RESULT, .later = 1},
         CR_PROTOCOL,
         "it answers request 2, asked was 1",
         "it answers request 3, asked was 2"},
        {{.what = "an answer of before", .type = CR_WIRE_RESULT, .later = -1},
         CR_PROTOCOL,
         "it answers request 0, asked was 1",
         "it answers request 1, asked was 2"},
        {{.what = "another type", .type = CR_WIRE_PRODUCT},
         CR_PROTOCOL,
         "an answer of type 3",
         "an answer of type 3"},
        {{.what = "the other answer", .type = CR_WIRE_RESULT}, CR_PROTOCOL, "type 4 and 0 bytes", NULL},
        {{.what = "a short answer", .type = CR_WIRE_READY, .size = 31},
         CR_PROTOCOL,
         "an answer of type 2 and 31 bytes, expected were type 2 and 32",
         "an answer of type 2"},
        {{.what = "a long answer", .type = CR_WIRE_RESULT, .size = 260},
         CR_PROTOCOL,
         "type 4 and 260",
         "an answer of type 4 and 260 bytes, expected were"},
        {{.what = "no name", .type = CR_WIRE_READY, .size = 32}, CR_PROTOCOL, "name of its engine", "type 2"},
        {{.what = "a refusal", .type = CR_WIRE_FAILED, .body = escape, .size = sizeof escape - 1},
         CR_DENIED,
         "no?[2J?room",
         "no?[2J?room"},
        {{.what = "a refusal that is too long", .type = CR_WIRE_FAILED, .size = CR_WIRE_FAILED_LIMIT + 1},
         CR_PROTOCOL,
         "type 5 and 501 bytes",
         "type 5 and 501 bytes"},
        {{.what = "a cut refusal", .type = CR_WIRE_FAILED, .size = 9, .cut = true},
         CR_IO,
         "has ended",
         "has ended"},
        {{.what = "a cut greeting", .type = CR_WIRE_READY, .size = 32, .cut = true},
         CR_IO,
         "has ended",
         NULL},
        {{.what = "an end", .raw = ""}, CR_IO, "the connection has ended", "the connection has ended"},
        {{.what = "half a head", .raw = "CRAC"}, CR_IO, "has ended", "has ended"},
        {{.what = "another protocol", .raw = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"},
         CR_PROTOCOL,
         "not the protocol of a carrel accelerator",
         "not the protocol"},
        {{.what = "silence", .silent = true}, CR_TIMEOUT, "no sign of life", "no sign of life"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        for (int shared = 0; shared < 2; shared++) {
            if (faults[i].at_hello)
                fails_with(shared, AT_HELLO, &faults[i].answer, faults[i].code, faults[i].at_hello);
            if (faults[i].at_product)
                fails_with(shared, AT_PRODUCT, &faults[i].answer, faults[i].code, faults[i].at_product);
        }
}

static void words_that_belong_elsewhere_are_refused(void **state)
{
    (void)state;
    // With shared memory a result has no words in the message, and without it has all.
    const struct answer with = {.what = "words", .type = CR_WIRE_RESULT, .size = WORDS * 4};
    const struct answer without = {.what = "no words", .type = CR_WIRE_RESULT};
    const struct answer cut = {.what = "cut words", .type = CR_WIRE_RESULT, .size = WORDS * 4, .cut = true};
    fails_with(true, AT_PRODUCT, &with, CR_PROTOCOL, "expected were type 4 and 0");
    fails_with(false, AT_PRODUCT, &without, CR_PROTOCOL, "expected were type 4 and 256");
    fails_with(false, AT_PRODUCT, &cut, CR_IO, "the connection has ended");
}

static void nobody_there_is_told(void **state)
{
    (void)state;
    struct cr_link *link;
    snprintf(fake.address, sizeof fake.address, "unix:%s", in_directory("nobody"));
    assert_fails(CR_IO, "accelerator: unix:/", open_link(0.2, &link));
    assert_fails(CR_IO, "cannot be connected to", open_link(0.2, &link));
}

static void a_slow_answer_is_waited_for(void **state)
{
    (void)state;
    const struct answer slow = {.what = "an answer", .type = CR_WIRE_RESULT, .size = WORDS * 4, .slow = true};
    const struct cr_wire_product product = {.linear = 3, .rows = 2, .parts = 1};
    struct cr_link *link;
    start(false, AT_PRODUCT, &slow);
    assert_ok(open_link(20, &link));
    assert_ok(ask(link, &product, WORDS, WORDS));
    finish(link);
}

// The last test: this process is asked to stop for good.
static void who_is_to_stop_waits_for_no_answer(void **state)
{
    (void)state;
    const struct answer silence = {.what = "silence", .silent = true};
    const struct cr_wire_product product = {.linear = 3, .rows = 2, .parts = 1};
    struct cr_link *link;
    start(false, AT_PRODUCT, &silence);
    assert_ok(open_link(20, &link));
    cr_stop_ask();
    assert_fails(CR_CANCELLED, "stopped while it was waited for", ask(link, &product, WORDS, WORDS));
    finish(link);
    for (int shared = 0; shared < 2; shared++)
        fails_with(shared, AT_HELLO, &silence, CR_CANCELLED, "stopped while it was waited for");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_come_back),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(words_that_belong_elsewhere_are_refused),
        cmocka_unit_test(nobody_there_is_told),
        cmocka_unit_test(a_slow_answer_is_waited_for),
        cmocka_unit_test(who_is_to_stop_waits_for_no_answer),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
