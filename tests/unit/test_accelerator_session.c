// accelerator/session.h against trusted sides that do not keep to the protocol: each is told what was wrong
// and nothing more, and nothing is read or written outside what it gave.
#include "accelerator_support.h"

#include "base/socket.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { SHARED = 4096, QKV_COLUMNS = 16, QKV_ROWS = 32 };

static struct cr_compute *compute;
static struct cr_model *model;
static struct cr_frozen frozen;
static struct reference_engine engine = {.engine = {&reference_kind, "reference"}, .frozen = &frozen};
static struct cr_accelerator accelerator = {
    .frozen = &frozen, .engine = &engine.engine, .busy = PTHREAD_MUTEX_INITIALIZER};

static int open_all(void **state)
{
    (void)state;
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_model_open("tests/golden/llama-gqa", CR_MODEL_IN_8BIT, NULL, compute, CR_F32, &model));
    assert_ok(cr_frozen_open(model, &frozen));
    accelerator.model = model;
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    cr_frozen_release(&frozen);
    cr_model_free(model);
    cr_compute_free(compute);
    return 0;
}

// What a trusted side says before it ends.
struct speech {
    unsigned char bytes[8192];
    size_t size;
    size_t descriptor_at; // where in the bytes
    int descriptor;       // -1: none
    int pads;             // a second one; -1: none
    uint64_t pads_size;   // that HELLO tells of
    uint64_t request;
};

static struct speech silence(void)
{
    return (struct speech){.descriptor = -1, .pads = -1};
}

static void say(struct speech *speech, const void *bytes, size_t size)
{
    assert_true(size <= sizeof speech->bytes - speech->size);
    if (bytes) memcpy(speech->bytes + speech->size, bytes, size);
    speech->size += size;
}

static void say_head(struct speech *speech, enum cr_wire_type type, uint64_t size)
{
    unsigned char head[CR_WIRE_HEAD_SIZE];
    cr_wire_put_head(&(struct cr_wire_head){type, ++speech->request, size}, head);
    say(speech, head, sizeof head);
}

static void say_hello(struct speech *speech, unsigned digits, uint64_t shared, uint64_t matrices)
{
    unsigned char hello[CR_WIRE_HELLO_SIZE];
    cr_wire_put_hello(&(struct cr_wire_hello){digits, shared, matrices, speech->pads_size}, hello);
    say_head(speech, CR_WIRE_HELLO, sizeof hello);
    say(speech, hello, sizeof hello);
    speech->descriptor_at = speech->size;
}

// A question whose message has `size` bytes of words.
static void say_product(struct speech *speech, uint32_t linear, bool backward, uint32_t rows, uint32_t parts,
                        size_t size)
{
    unsigned char product[CR_WIRE_PRODUCT_SIZE];
    cr_wire_put_product(
        &(struct cr_wire_product){.linear = linear, .backward = backward, .rows = rows, .parts = parts},
        product);
    say_head(speech, CR_WIRE_PRODUCT, sizeof product + size);
    say(speech, product, sizeof product);
    if (size <= sizeof speech->bytes - speech->size) say(speech, NULL, size);
}

// A question for a front whose message has `count` numbers.
static void say_front(struct speech *speech, const struct cr_wire_front *front, const uint32_t *numbers,
                      size_t count)
{
    unsigned char bytes[CR_WIRE_FRONT_SIZE];
    cr_wire_put_front(front, bytes);
    say_head(speech, CR_WIRE_FRONT, sizeof bytes + count * sizeof *numbers);
    say(speech, bytes, sizeof bytes);
    say(speech, numbers, count * sizeof *numbers);
}

static struct speech greeting(uint64_t shared)
{
    struct speech speech = silence();
    say_hello(&speech, 4, shared, frozen.checksum);
    return speech;
}

static int memory(size_t size, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    if (seals) assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static struct speech shared_greeting(void)
{
    struct speech speech = greeting(SHARED);
    speech.descriptor = memory(SHARED, F_SEAL_SHRINK);
    return speech;
}

// The speech's first `size` bytes through a session; what was answered goes to `answers`.
static enum cr_status listen_to(const struct speech *speech, size_t size, unsigned char *answers, size_t room,
                                size_t *answered)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    bool gives = speech->descriptor >= 0 && speech->descriptor_at <= size;
    size_t before = gives ? speech->descriptor_at : size;
    assert_ok(cr_socket_send(pair[0], speech->bytes, before, "session"));
    if (gives) assert_ok(cr_socket_send_descriptor(pair[0], speech->descriptor, "session"));
    if (gives && speech->pads >= 0) assert_ok(cr_socket_send_descriptor(pair[0], speech->pads, "session"));
    assert_ok(cr_socket_send(pair[0], speech->bytes + before, size - before, "session"));
    assert_int_equal(shutdown(pair[0], SHUT_WR), 0);
    enum cr_status status =
        cr_accelerator_serve(&accelerator, &(struct cr_stream){.socket = pair[1]}, "the guest");
    close(pair[1]);
    *answered = 0;
    for (ssize_t got = 1; got > 0; *answered += (size_t)got) {
        got = recv(pair[0], answers + *answered, room - *answered, 0);
        if (got < 0) got = 0;
    }
    close(pair[0]);
    return status;
}

// The session ends with this failure, and its last answer is FAILED with the sentence. Closes the descriptor.
static void refused(const char *what, struct speech *speech, enum cr_status code, const char *sentence)
{
    static unsigned char answers[1 << 16];
    size_t size, at = 0;
    struct cr_wire_head head = {0};
    enum cr_status status = listen_to(speech, speech->size, answers, sizeof answers, &size);
    if (status != code || !strstr(cr_error_message(), sentence))
        fail_msg("%s: %s, \"%s\"", what, cr_status_name(status), cr_error_message());
    for (; at < size; at += CR_WIRE_HEAD_SIZE + head.size)
        assert_ok(cr_wire_get_head(answers + at, "session", &head));
    assert_int_equal(at, size);
    assert_int_equal(head.type, CR_WIRE_FAILED);
    assert_memory_equal(answers + size - head.size, cr_error_message(), head.size);
    cr_socket_close(&speech->descriptor);
    cr_socket_close(&speech->pads);
}

static void a_session_begins_with_hello(void **state)
{
    (void)state;
    struct speech speech = silence();
    say(&speech, "GET / HTTP/1.1\r\nHost: accelerator\r\n\r\n", 37);
    refused("another protocol", &speech, CR_PROTOCOL, "the guest: that is not the protocol");

    speech = silence();
    say_product(&speech, 0, false, 1, 1, 64);
    refused("a product first", &speech, CR_PROTOCOL, "it begins with another message than HELLO");

    speech = silence();
    say_head(&speech, CR_WIRE_HELLO, CR_WIRE_HELLO_SIZE + 1);
    say(&speech, NULL, CR_WIRE_HELLO_SIZE + 1);
    refused("a long HELLO", &speech, CR_PROTOCOL, "another message than HELLO");

    speech = silence();
    speech.request = 1;
    say_hello(&speech, 4, 0, frozen.checksum);
    refused("a wrong number", &speech, CR_PROTOCOL, "request 2 follows 0");

    speech = silence();
    say_hello(&speech, 5, 0, frozen.checksum);
    refused("five digits", &speech, CR_PROTOCOL, "5 digits");

    speech = silence();
    say_hello(&speech, 4, 0, frozen.checksum + 1);
    refused("another model", &speech, CR_INVALID, "the accelerator holds another model");
}

static void shared_memory_must_hold(void **state)
{
    (void)state;
    struct speech speech = greeting(SHARED);
    say(&speech, "x", 1);
    refused("no descriptor", &speech, CR_PROTOCOL, "a descriptor was expected and none came");

    const struct {
        const char *what;
        int descriptor;
    } bad[] = {
        {"too small", memory(SHARED - 1, F_SEAL_SHRINK)},
        {"not sealed", memory(SHARED, 0)},
        {"sealed against growing alone", memory(SHARED, F_SEAL_GROW)},
        {"a file", open("tests/golden/llama-gqa/model.safetensors", O_RDONLY)},
        {"a device", open("/dev/zero", O_RDWR)},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(bad[i].descriptor >= 0);
        speech = greeting(SHARED);
        speech.descriptor = bad[i].descriptor;
        refused(bad[i].what, &speech, CR_PROTOCOL, "too small, or not sealed against shrinking");
    }
    speech = greeting(SHARED);
    speech.descriptor = memory(SHARED, F_SEAL_SHRINK | F_SEAL_WRITE);
    refused("sealed against writing", &speech, CR_PROTOCOL, "the guest: its shared memory cannot be mapped");
}

// The same greeting, and PADS bytes for products of pads.
enum { PADS = 4096 };
static struct speech greeting_with_pads(int pads)
{
    struct speech speech = silence();
    speech.pads_size = PADS;
    speech.descriptor = memory(SHARED, F_SEAL_SHRINK);
    speech.pads = pads;
    say_hello(&speech, 4, SHARED, frozen.checksum);
    return speech;
}

static void products_of_pads_must_hold(void **state)
{
    (void)state;
    static const char fault[] = "the guest: its shared memory is too small, or not sealed against shrinking";
    struct speech speech = greeting_with_pads(-1);
    say(&speech, "x", 1);
    refused("no second descriptor", &speech, CR_PROTOCOL, "a descriptor was expected and none came");
    speech = greeting_with_pads(memory(PADS - 1, F_SEAL_SHRINK));
    refused("too small", &speech, CR_PROTOCOL, fault);
    speech = greeting_with_pads(memory(PADS, 0));
    refused("not sealed", &speech, CR_PROTOCOL, fault);
    const struct {
        const char *what;
        uint64_t place;
        uint32_t around;
    } bad[] = {
        {"a row too many", 0, PADS / 4 / QKV_ROWS + 1},
        {"a word too late", 1, PADS / 4 / QKV_ROWS},
        {"behind the end", PADS / 4 + 1, 1},
        {"the last word there is", UINT64_MAX, UINT32_MAX},
        {"every row there is", 0, UINT32_MAX},
    };
    for (size_t i = 0; i < 1 + sizeof bad / sizeof *bad; i++) {
        bool none = i == sizeof bad / sizeof *bad; // of which something is taken away all the same
        struct cr_wire_product product = {.rows = 1, .parts = 1, .around = 1};
        unsigned char bytes[CR_WIRE_PRODUCT_SIZE];
        if (!none) product.place = bad[i].place;
        if (!none) product.around = bad[i].around;
        speech = none ? shared_greeting() : greeting_with_pads(memory(PADS, F_SEAL_SHRINK));
        cr_wire_put_product(&product, bytes);
        say_head(&speech, CR_WIRE_PRODUCT, sizeof bytes);
        say(&speech, bytes, sizeof bytes);
        refused(none ? "no memory" : bad[i].what, &speech, CR_PROTOCOL,
                "rows of products of pads of linear 0 from word");
    }
}

static void questions_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    const size_t row = QKV_COLUMNS * 4;
    const struct {
        const char *what, *sentence;
        bool shared;
        uint32_t linear;
        bool backward;
        uint32_t rows, parts;
        size_t size;
    } bad[] = {
        {"an unknown linear", "linear 9 of a model that has 9", false, 9, false, 1, 1, row},
        {"the largest linear", "linear 4294967295 of", true, UINT32_MAX, true, 1, 1, 0},
        {"too many rows", "22 rows of linear 0 do not fit 4096 bytes", true, 0, false, 22, 1, 0},
        {"too many rows of words", "22 rows of linear 0 do not fit", true, 0, true, 22, 1, 0},
        {"every row there is", "4294967295 rows of linear 0 do not fit", true, 0, false, UINT32_MAX, 1, 0},
        {"more than a message holds", "4294967295 rows of linear 0 do not fit 42949", false, 0, false,
         UINT32_MAX, 1, 9},
        {"no rows", "0 rows", false, 0, false, 0, 1, 0},
        {"words in the message", "a product of 96 bytes, 32 were expected", true, 0, false, 1, 1, row},
        {"a word too few", "a product of 92 bytes, 96 were expected", false, 0, false, 1, 1, row - 4},
        {"a word too many", "a product of 100 bytes, 96 were expected", false, 0, false, 1, 1, row + 4},
        {"words of the other direction", "of 96 bytes, 160 were expected", false, 0, true, 1, 1, row},
        {"no parts", "a product of unknown form (direction 0, 1 rows, 0 parts)", false, 0, false, 1, 0, row},
        {"a part too many", "17 parts of sums of linear 0, which have 16 terms", false, 0, false, 1, 17, row},
        {"parts of the other direction", "33 parts of sums of linear 0, which have 32 terms", true, 0, true,
         1, 33, 0},
        {"every part there is", "4294967295 parts of sums", true, 0, false, 1, UINT32_MAX, 0},
        {"more parts than memory has", "13 rows of linear 0 do not fit 4096 bytes", true, 0, false, 13, 2, 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct speech speech = bad[i].shared ? shared_greeting() : greeting(0);
        say_product(&speech, bad[i].linear, bad[i].backward, bad[i].rows, bad[i].parts, bad[i].size);
        refused(bad[i].what, &speech, CR_PROTOCOL, bad[i].sentence);
    }
    // 24 words and 16 are all that there is room for, but an answer begins at the 32nd.
    struct speech speech = greeting(160);
    speech.descriptor = memory(160, F_SEAL_SHRINK);
    say_product(&speech, 3, false, 1, 1, 0);
    refused("an answer behind the end", &speech, CR_PROTOCOL, "1 rows of linear 3 do not fit 160 bytes");
}

static void fronts_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    enum { ROW = QKV_COLUMNS * 4 }; // its input is the stream
    const struct {
        const char *what, *sentence;
        enum cr_status code;
        bool shared;
        struct cr_wire_front front;
        uint32_t numbers[8];
        size_t count;
    } bad[] = {
        {"over a message", "a front without shared memory", CR_PROTOCOL, false, {1, 1, 2}, {3, 4, 2}, 3},
        {"too many layers", "3 layers of a model that has 2", CR_PROTOCOL, true, {3, 1, 2}, {3, 4, 2}, 3},
        {"too many rows", "65 rows does not fit 4096", CR_PROTOCOL, true, {1, 1, SHARED / ROW + 1}, {0}, 0},
        {"every row there is", "4294967295 rows does not", CR_PROTOCOL, true, {1, 1, UINT32_MAX}, {0}, 0},
        {"a number too few", "24 bytes, 28 were expected", CR_PROTOCOL, true, {1, 1, 2}, {3, 4}, 2},
        {"a number too many", "32 bytes, 28 were", CR_PROTOCOL, true, {1, 1, 2}, {3, 4, 2, 0}, 4},
        {"an unknown token", "token 4096 is outside", CR_INVALID, true, {1, 1, 2}, {3, 4096, 2}, 3},
        {"an empty sequence", "sequence 1 of a front has 0", CR_INVALID, true, {1, 2, 2}, {3, 4, 2, 0}, 4},
        {"a long one", "0 of a front has 3 of its 2", CR_INVALID, true, {1, 1, 2}, {3, 4, 3}, 3},
        {"a longer one", "has 4294967295", CR_INVALID, true, {1, 2, 2}, {3, 4, 1, UINT32_MAX}, 4},
        {"a row of none", "have 1 of its 2 rows", CR_INVALID, true, {1, 1, 2}, {3, 4, 1}, 3},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct speech speech = bad[i].shared ? shared_greeting() : greeting(0);
        say_front(&speech, &bad[i].front, bad[i].numbers, bad[i].count);
        refused(bad[i].what, &speech, bad[i].code, bad[i].sentence);
    }
    struct speech speech = shared_greeting();
    say_head(&speech, CR_WIRE_FRONT, 15);
    say(&speech, NULL, 15);
    refused("a short front", &speech, CR_PROTOCOL, "a message of type 6 and 15 bytes where");
}

static void other_messages_are_refused(void **state)
{
    (void)state;
    struct speech speech = greeting(0);
    say_hello(&speech, 4, 0, frozen.checksum);
    refused("a second HELLO", &speech, CR_PROTOCOL,
            "a message of type 1 and 32 bytes where a question was expected");
    speech = greeting(0);
    say_head(&speech, CR_WIRE_RESULT, 64);
    say(&speech, NULL, 64);
    refused("a result", &speech, CR_PROTOCOL, "a message of type 4 and 64 bytes where");
    speech = greeting(0);
    say_head(&speech, CR_WIRE_PRODUCT, 31);
    say(&speech, NULL, 31);
    refused("a short product", &speech, CR_PROTOCOL, "a message of type 3 and 31 bytes where");
    speech = greeting(0);
    say_product(&speech, 0, false, 1, 1, 64);
    speech.request--;
    say_product(&speech, 0, false, 1, 1, 64);
    refused("a number twice", &speech, CR_PROTOCOL, "request 2 follows 2");
}

static void an_engines_failure_is_told(void **state)
{
    (void)state;
    struct speech speech = greeting(0);
    say_product(&speech, 0, false, 1, 1, 64);
    engine.fails = true;
    refused("no memory", &speech, CR_NO_MEMORY, "the engine? is out of memory");
    engine.fails = false;
}

static void an_end_may_come_anywhere(void **state)
{
    (void)state;
    static unsigned char answers[1 << 16];
    for (int shared = 0; shared < 2; shared++) {
        struct speech speech = shared ? shared_greeting() : greeting(0);
        size_t ends[4] = {0, speech.size}, row = shared ? 0 : QKV_COLUMNS * 4;
        say_product(&speech, 0, false, 2, 1, 2 * row);
        ends[2] = speech.size;
        say_product(&speech, 0, true, 1, 1, 2 * row); // of QKV_ROWS words
        ends[3] = speech.size;
        for (size_t size = 0; size <= speech.size; size++) {
            size_t answered, questions = 0;
            bool between = false; // two questions
            enum cr_status status = listen_to(&speech, size, answers, sizeof answers, &answered);
            for (size_t i = 1; i < 4; i++) {
                between = between || size == ends[i];
                questions += size >= ends[i];
            }
            size_t right = questions * CR_WIRE_HEAD_SIZE + (questions > 0 ? CR_WIRE_READY_SIZE : 0);
            if (!shared && questions > 1) right += 2 * QKV_ROWS * 4;
            if (!shared && questions > 2) right += QKV_COLUMNS * 4;
            assert_int_equal(status, between ? CR_OK : CR_IO);
            assert_true(between ? answered == right : answered > right); // what is more is FAILED
        }
        cr_socket_close(&speech.descriptor);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_begins_with_hello),
        cmocka_unit_test(shared_memory_must_hold),
        cmocka_unit_test(products_of_pads_must_hold),
        cmocka_unit_test(questions_that_do_not_fit_are_refused),
        cmocka_unit_test(fronts_that_do_not_fit_are_refused),
        cmocka_unit_test(other_messages_are_refused),
        cmocka_unit_test(an_engines_failure_is_told),
        cmocka_unit_test(an_end_may_come_anywhere),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
