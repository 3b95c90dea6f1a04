// Both sides of an accelerator's wire: bytes of a trusted process through a session, or bytes of an
// accelerator through a link. The first byte says which, whether there is shared memory, whether with
// products of pads, and what is asked.
#include "fuzz_support.h"

#include "accelerator/session.h"
#include "base/socket.h"
#include "slicing/link.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINK = 1, SHARED = 2, FRONT = 4, PADS = 8, MOST = 4096, WORDS = 48, MEMORY = WORDS * 4 };

// An engine with two small matrices that reads and writes all the words that it may.
static enum cr_status complement(struct cr_engine *self, const struct cr_wire_product *product,
                                 unsigned digits, const uint32_t *question, const uint32_t *pads,
                                 uint32_t *answer)
{
    (void)self;
    const size_t depth[2] = {5, 2}, width[2] = {3, 4};
    bool backward = product->backward;
    size_t linear = product->linear;
    check(linear < 2 && product->rows > 0 && (digits == 3 || digits == 4));
    check(product->parts > 0 && product->parts <= (backward ? width : depth)[linear]);
    uint32_t sum = 0;
    for (size_t i = 0; i < product->rows * (backward ? width : depth)[linear]; i++) sum += question[i];
    size_t row = product->parts * (backward ? depth : width)[linear];
    for (size_t i = 0; i < product->around * row; i++) sum += pads[product->place + i];
    for (size_t i = 0; i < product->rows * row; i++) answer[i] = ~sum;
    return CR_OK;
}

// Two layers, of which a front is asked.
static const struct cr_model *small_model(void)
{
    static struct cr_model *model;
    static struct cr_compute *compute;
    const struct cr_model_config config = {.layers = 2,
                                           .hidden = 4,
                                           .heads = 2,
                                           .kv_heads = 1,
                                           .head_dim = 2,
                                           .intermediate = 6,
                                           .vocabulary = 9,
                                           .context = 5,
                                           .norm_epsilon = 1e-5f,
                                           .rope = {.theta = 10000, .factor = 1, .amplitude = 1}};
    if (!compute) check(cr_compute_new(1, &compute) == CR_OK);
    if (!model) check(cr_model_create(&config, compute, CR_F32, &model) == CR_OK);
    return model;
}

static int memory(void)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    check(fd >= 0 && ftruncate(fd, MEMORY) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    return fd;
}

static void hear_trusted_side(const uint8_t *data, size_t size, bool shared, bool pads)
{
    static int8_t numbers[15];
    static const struct cr_engine_kind kind = {.multiply = complement};
    struct cr_engine engine = {&kind, "fuzz"};
    struct cr_matrix matrices[2] = {cr_matrix_of(numbers, CR_I8, 3, 5), cr_matrix_of(numbers, CR_I8, 4, 2)};
    const struct cr_frozen frozen = {.matrices = matrices, .count = 2, .checksum = 7};
    struct cr_accelerator accelerator = {
        .frozen = &frozen, .model = small_model(), .engine = &engine, .busy = PTHREAD_MUTEX_INITIALIZER};
    int pair[2];
    check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    size_t hello = CR_WIRE_HEAD_SIZE + CR_WIRE_HELLO_SIZE;
    if (shared && size >= hello) {
        check(cr_socket_send(pair[0], data, hello, "session") == CR_OK);
        for (int i = 0; i < 1 + pads; i++) {
            int fd = memory();
            check(cr_socket_send_descriptor(pair[0], fd, "session") == CR_OK);
            close(fd);
        }
        data += hello;
        size -= hello;
    }
    check(cr_socket_send(pair[0], data, size, "session") == CR_OK);
    check(shutdown(pair[0], SHUT_WR) == 0);
    if (cr_accelerator_serve(&accelerator, &(struct cr_stream){.socket = pair[1]}, "fuzz") != CR_OK)
        check(cr_error_message()[0] != 0);
    close(pair[0]);
    close(pair[1]);
}

// An accelerator that says what it is told to, whatever it is asked.
struct speaker {
    int listener;
    const uint8_t *data;
    size_t size;
};

static void *speak(void *argument)
{
    const struct speaker *speaker = argument;
    int socket;
    check(cr_socket_accept(speaker->listener, 5, &socket) == CR_OK);
    // A link that has heard enough ends before all is said.
    if (cr_socket_send(socket, speaker->data, speaker->size, "link") == CR_OK) cr_socket_finish(socket);
    cr_socket_close(&socket);
    return NULL;
}

static char path[64] = "unix:"; // of the listener with shared memory

static void remove_path(void)
{
    unlink(path + 5);
}

static int listener_at(bool shared, char address[CR_SOCKET_NAME_SIZE])
{
    static int listeners[2] = {-1, -1};
    if (listeners[shared] < 0) {
        snprintf(path, sizeof path, "unix:/tmp/carrel-fuzz-%d", (int)getpid());
        check(cr_socket_listen(shared ? path : "127.0.0.1:0", &listeners[shared]) == CR_OK);
        if (shared) atexit(remove_path);
    }
    check(cr_socket_name(listeners[shared], address) == CR_OK);
    return listeners[shared];
}

static enum cr_status ask(struct cr_link *link, bool front)
{
    const struct cr_wire_product product = {.rows = 4, .parts = 2};
    const struct cr_wire_front question = {.layers = 1, .sequences = 2, .rows = 3};
    if (front)
        return cr_link_ask_front(link, &question, (const uint32_t[]){4, 5, 6}, (const uint32_t[]){1, 2});
    return cr_link_send(link, &product, 20);
}

static void hear_accelerator(const uint8_t *data, size_t size, bool shared, bool front, bool pads)
{
    char address[CR_SOCKET_NAME_SIZE];
    struct speaker speaker = {.listener = listener_at(shared, address), .data = data, .size = size};
    CR_CLEANUP(cr_socket_close) int fd = pads ? memory() : -1;
    const struct cr_link_options options = {.address = address,
                                            .digits = 4,
                                            .words = WORDS,
                                            .patience = 5,
                                            .matrices = 7,
                                            .pads = fd,
                                            .pads_size = pads ? MEMORY : 0};
    struct cr_link *link = NULL;
    pthread_t thread;
    check(pthread_create(&thread, NULL, speak, &speaker) == 0);
    enum cr_status status = cr_link_open(&options, &link);
    while (status == CR_OK) {
        status = ask(link, front && shared);
        if (status == CR_OK) status = cr_link_receive(link, 12);
    }
    // Nothing of what an accelerator says reaches a terminal as it is.
    for (const char *c = cr_error_message(); *c; c++) check(*c >= 0x20 && *c < 0x7f);
    cr_link_close(link);
    pthread_join(thread, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > MOST) return 0;
    bool shared = data[0] & SHARED;
    if (data[0] & LINK)
        hear_accelerator(data + 1, size - 1, shared, data[0] & FRONT, data[0] & PADS);
    else
        hear_trusted_side(data + 1, size - 1, shared, data[0] & PADS);
    return 0;
}
