#include "accelerator/session.h"

#include "accelerator/front.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct session {
    struct cr_accelerator *accelerator;
    struct cr_stream *stream;
    const char *peer;
    struct cr_wire_hello hello;
    uint32_t *words; // shared memory, or memory of our own that grows
    size_t size;     // bytes of `words`
    uint32_t *pads;  // products of pads, read-only; NULL if there are none
    uint64_t request;
    struct cr_front_room front;
};

static enum cr_status answer(const struct session *session, enum cr_wire_type type, const void *body,
                             size_t size)
{
    unsigned char head[CR_WIRE_HEAD_SIZE];
    cr_wire_put_head(&(struct cr_wire_head){.type = type, .request = session->request, .size = size}, head);
    CR_TRY(cr_stream_send(session->stream, head, sizeof head, session->peer));
    return cr_stream_send(session->stream, body, size, session->peer);
}

// Sends the peer the message of a failure, and returns the failure.
static enum cr_status refuse(const struct session *session, enum cr_status status)
{
    char why[CR_WIRE_FAILED_LIMIT + 1];
    size_t length = strnlen(cr_error_message(), CR_WIRE_FAILED_LIMIT);
    memcpy(why, cr_error_message(), length);
    why[length] = 0;
    cr_wire_clean_text(why, length);
    if (answer(session, CR_WIRE_FAILED, why, length) == CR_OK) cr_socket_finish(session->stream->socket);
    return cr_fail(status, "%s", why); // even if the peer is gone, the first failure is reported
}

static enum cr_status receive_head(struct session *session, struct cr_wire_head *head)
{
    unsigned char bytes[CR_WIRE_HEAD_SIZE];
    CR_TRY(cr_stream_receive(session->stream, bytes, sizeof bytes, session->peer));
    CR_TRY(cr_wire_get_head(bytes, session->peer, head));
    if (head->request != session->request + 1)
        return cr_fail(CR_PROTOCOL, "%s: request %llu follows %llu", session->peer,
                       (unsigned long long)head->request, (unsigned long long)session->request);
    session->request = head->request;
    return CR_OK;
}

// Maps the peer's memory. It must be sealed against shrinking, since reading beyond the end of a file kills a
// process.
static enum cr_status map_shared(struct session *session, uint64_t size, int protection, uint32_t **out)
{
    CR_CLEANUP(cr_socket_close) int fd = -1;
    if (session->stream->tls)
        return cr_fail(CR_PROTOCOL, "%s: shared memory, which cannot come over TLS", session->peer);
    CR_TRY(cr_socket_receive_descriptor(session->stream->socket, session->peer, &fd));
    struct stat file;
    int seals = fcntl(fd, F_GET_SEALS);
    if (fstat(fd, &file) != 0 || seals < 0 || !(seals & F_SEAL_SHRINK) || file.st_size < 0 ||
        (uint64_t)file.st_size < size)
        return cr_fail(CR_PROTOCOL, "%s: its shared memory is too small, or not sealed against shrinking",
                       session->peer);
    void *place = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
    if (place == MAP_FAILED)
        return cr_fail_errno(CR_PROTOCOL, "%s: its shared memory cannot be mapped", session->peer);
    *out = place;
    return CR_OK;
}

static enum cr_status greet(struct session *session)
{
    struct cr_wire_head head;
    unsigned char bytes[CR_WIRE_HELLO_SIZE], ready[CR_WIRE_READY_SIZE];
    CR_TRY(receive_head(session, &head));
    if (head.type != CR_WIRE_HELLO || head.size != sizeof bytes)
        return cr_fail(CR_PROTOCOL, "%s: it begins with another message than HELLO", session->peer);
    CR_TRY(cr_stream_receive(session->stream, bytes, sizeof bytes, session->peer));
    CR_TRY(cr_wire_get_hello(bytes, session->peer, &session->hello));
    if (session->hello.shared > 0)
        CR_TRY(map_shared(session, session->hello.shared, PROT_READ | PROT_WRITE, &session->words));
    session->size = session->hello.shared;
    if (session->hello.pads > 0) CR_TRY(map_shared(session, session->hello.pads, PROT_READ, &session->pads));
    if (session->hello.matrices != session->accelerator->frozen->checksum)
        return cr_fail(CR_INVALID, "%s: the accelerator holds another model, or another quantisation of it",
                       session->peer);
    cr_wire_put_ready(session->accelerator->engine->name, ready);
    return answer(session, CR_WIRE_READY, ready, sizeof ready);
}

// Sizes of a question and its answer, and where the answer begins, in bytes.
struct layout {
    size_t question, answer_at, answer;
};

// Whether the pads' products that are subtracted from this answer, of `width` words a row, lie within the
// memory that was given for them.
static bool pads_fit(const struct session *session, const struct cr_wire_product *product, size_t width)
{
    size_t words = session->hello.pads / sizeof(uint32_t);
    return product->around == 0 ||
           (product->place <= words && product->around <= (words - product->place) / width);
}

static enum cr_status lay_out(const struct session *session, const struct cr_wire_product *product,
                              struct layout *out)
{
    const struct cr_frozen *frozen = session->accelerator->frozen;
    if (product->linear >= frozen->count)
        return cr_fail(CR_PROTOCOL, "%s: linear %u of a model that has %zu", session->peer, product->linear,
                       frozen->count);
    const struct cr_matrix *q = &frozen->matrices[product->linear];
    size_t depth = product->backward ? q->rows : q->columns;
    size_t width = product->parts * (product->backward ? q->columns : q->rows);
    if (product->parts > depth)
        return cr_fail(CR_PROTOCOL, "%s: %u parts of sums of linear %u, which have %zu terms", session->peer,
                       product->parts, product->linear, depth);
    size_t most =
        session->hello.shared > 0 ? session->size : (size_t)CR_WIRE_BODY_LIMIT - CR_WIRE_PRODUCT_SIZE;
    bool fits = product->rows <= most / ((depth + width) * sizeof(uint32_t));
    if (fits) {
        out->question = product->rows * depth * sizeof(uint32_t);
        out->answer_at = cr_wire_answer_at(product->rows * depth) * sizeof(uint32_t);
        out->answer = product->rows * width * sizeof(uint32_t);
        fits = out->answer_at <= most - out->answer;
    }
    if (!fits)
        return cr_fail(CR_PROTOCOL, "%s: %u rows of linear %u do not fit %zu bytes", session->peer,
                       product->rows, product->linear, most);
    if (!pads_fit(session, product, width))
        return cr_fail(CR_PROTOCOL,
                       "%s: %u rows of products of pads of linear %u from word %llu on do not fit %llu bytes",
                       session->peer, product->around, product->linear, (unsigned long long)product->place,
                       (unsigned long long)session->hello.pads);
    return CR_OK;
}

static enum cr_status receive_words(struct session *session, const struct layout *layout)
{
    size_t needed = layout->answer_at + layout->answer;
    if (needed > session->size) {
        CR_TRY(cr_reallocate(needed, 1, &session->words));
        session->size = needed;
    }
    return cr_stream_receive(session->stream, session->words, layout->question, session->peer);
}

static enum cr_status multiply(struct session *session, const struct cr_wire_head *head)
{
    unsigned char bytes[CR_WIRE_PRODUCT_SIZE];
    struct cr_wire_product product;
    struct cr_accelerator *accelerator = session->accelerator;
    struct layout layout = {0};
    const bool shared = session->hello.shared > 0;
    CR_TRY(cr_stream_receive(session->stream, bytes, sizeof bytes, session->peer));
    CR_TRY(cr_wire_get_product(bytes, session->peer, &product));
    CR_TRY(lay_out(session, &product, &layout));
    if (head->size != sizeof bytes + (shared ? 0 : layout.question))
        return cr_fail(CR_PROTOCOL, "%s: a product of %llu bytes, %zu were expected", session->peer,
                       (unsigned long long)head->size, sizeof bytes + (shared ? 0 : layout.question));
    if (!shared) CR_TRY(receive_words(session, &layout));
    uint32_t *result = session->words + layout.answer_at / sizeof *result;
    pthread_mutex_lock(&accelerator->busy);
    enum cr_status status = accelerator->engine->kind->multiply(
        accelerator->engine, &product, session->hello.digits, session->words, session->pads, result);
    pthread_mutex_unlock(&accelerator->busy);
    CR_TRY(status);
    return answer(session, CR_WIRE_RESULT, result, shared ? 0 : layout.answer);
}

// Checks a question for the clear front: it needs shared memory, with room for the answer.
static enum cr_status check_front(const struct session *session, const struct cr_wire_front *front,
                                  uint64_t size)
{
    const struct cr_model_config *config = &session->accelerator->model->config;
    uint64_t expected = CR_WIRE_FRONT_SIZE + ((uint64_t)front->rows + front->sequences) * sizeof(uint32_t);
    if (session->hello.shared == 0)
        return cr_fail(CR_PROTOCOL, "%s: a front without shared memory", session->peer);
    if (front->layers > config->layers)
        return cr_fail(CR_PROTOCOL, "%s: a front of %u layers of a model that has %zu", session->peer,
                       front->layers, config->layers);
    if (front->rows > session->size / (config->hidden * sizeof(float)))
        return cr_fail(CR_PROTOCOL, "%s: a front of %u rows does not fit %zu bytes", session->peer,
                       front->rows, session->size);
    if (size != expected)
        return cr_fail(CR_PROTOCOL, "%s: a front of %llu bytes, %llu were expected", session->peer,
                       (unsigned long long)size, (unsigned long long)expected);
    return CR_OK;
}

static enum cr_status walk_front(struct session *session, const struct cr_wire_head *head)
{
    unsigned char bytes[CR_WIRE_FRONT_SIZE];
    struct cr_wire_front front;
    struct cr_accelerator *accelerator = session->accelerator;
    CR_TRY(cr_stream_receive(session->stream, bytes, sizeof bytes, session->peer));
    CR_TRY(cr_wire_get_front(bytes, session->peer, &front));
    CR_TRY(check_front(session, &front, head->size));
    CR_TRY(cr_front_room_make(&session->front, accelerator->model, &front));
    CR_TRY(
        cr_stream_receive(session->stream, session->front.numbers, head->size - sizeof bytes, session->peer));
    pthread_mutex_lock(&accelerator->busy);
    enum cr_status status =
        cr_front_walk(&session->front, accelerator->model, &front, (float *)(void *)session->words);
    pthread_mutex_unlock(&accelerator->busy);
    if (status != CR_OK) return cr_fail_within(status, "%s", session->peer);
    return answer(session, CR_WIRE_RESULT, NULL, 0);
}

static enum cr_status answer_question(struct session *session, const struct cr_wire_head *head)
{
    if (head->type == CR_WIRE_PRODUCT && head->size >= CR_WIRE_PRODUCT_SIZE) return multiply(session, head);
    if (head->type == CR_WIRE_FRONT && head->size >= CR_WIRE_FRONT_SIZE) return walk_front(session, head);
    return cr_fail(CR_PROTOCOL, "%s: a message of type %u and %llu bytes where a question was expected",
                   session->peer, head->type, (unsigned long long)head->size);
}

static enum cr_status serve(struct session *session)
{
    CR_TRY(greet(session));
    for (;;) {
        bool ended;
        struct cr_wire_head head;
        CR_TRY(cr_stream_wait(session->stream, session->peer, &ended));
        if (ended) return CR_OK;
        CR_TRY(receive_head(session, &head));
        CR_TRY(answer_question(session, &head));
    }
}

enum cr_status cr_accelerator_serve(struct cr_accelerator *accelerator, struct cr_stream *stream,
                                    const char *peer)
{
    struct session session = {.accelerator = accelerator, .stream = stream, .peer = peer};
    enum cr_status status = serve(&session);
    if (status != CR_OK) status = refuse(&session, status);
    cr_front_room_release(&session.front);
    if (session.pads) munmap(session.pads, session.hello.pads);
    if (session.hello.shared > 0 && session.words)
        munmap(session.words, session.size);
    else
        free(session.words);
    return status;
}
