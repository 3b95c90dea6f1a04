// What the tests of slicing/ share: an accelerator in this process that serves one connection after the
// other, and may be told to look at what it is asked and to spoil what it answers.
#ifndef CARREL_TESTS_SLICING_SUPPORT_H
#define CARREL_TESTS_SLICING_SUPPORT_H

#include "accelerator_support.h"
#include "model_support.h"
#include "temporary.h"

#include "accelerator/front.h"
#include "slicing/slicing.h"

#include <sys/socket.h>

enum { HIRED_AT_ONCE = 3 }; // connections: those of three lanes, or of two and a clear front

struct hired {
    struct cr_engine engine; // first: its kind is the one that looks and spoils
    struct cr_engine *honest;
    // Before the product and after it: `words` [rows, width] are what was asked, or what will be answered,
    // all parts of a row one after the other. Both may be NULL.
    void (*look)(void *context, const struct cr_wire_product *product, const uint32_t *words, size_t width);
    void (*spoil)(void *context, const struct cr_wire_product *product, uint32_t *words, size_t width);
    // A row of products of pads that it is shown, before the product. May be NULL.
    void (*show)(void *context, const struct cr_wire_product *product, const uint32_t *words, size_t width);
    void *context;

    struct cr_compute *compute;
    struct cr_model *model;
    struct cr_frozen frozen;
    struct cr_front_model front;
    struct cr_accelerator accelerator;
    struct cr_stream_host *host; // NULL: without TLS
    int listener;
    char address[CR_SOCKET_NAME_SIZE + CR_STREAM_KEY_SIZE];
    pthread_t threads[HIRED_AT_ONCE];
};

static inline enum cr_status hired_multiply(struct cr_engine *self, const struct cr_wire_product *product,
                                            unsigned digits, const uint32_t *question, const uint32_t *pads,
                                            uint32_t *answer)
{
    struct hired *hired = (struct hired *)self;
    struct cr_matrix q = hired->frozen.matrices[product->linear];
    size_t depth = product->backward ? q.rows : q.columns;
    size_t width = product->parts * (product->backward ? q.columns : q.rows);
    if (hired->look) hired->look(hired->context, product, question, depth);
    for (size_t i = 0; hired->show && product->around > 0 && i < product->rows; i++)
        hired->show(hired->context, product,
                    pads + product->place + (product->turn + i) % product->around * width, width);
    CR_TRY(hired->honest->kind->multiply(hired->honest, product, digits, question, pads, answer));
    if (hired->spoil) hired->spoil(hired->context, product, answer, width);
    return CR_OK;
}

static const struct cr_engine_kind hired_kind = {.multiply = hired_multiply};

static inline void *hired_serve(void *argument)
{
    struct hired *hired = argument;
    int socket;
    while (cr_socket_accept(hired->listener, 30, &socket) == CR_OK) {
        struct cr_stream stream = {.socket = socket};
        if (!hired->host || cr_stream_accept(hired->host, socket, "the trusted side", &stream) == CR_OK)
            (void)!cr_accelerator_serve(&hired->accelerator, &stream, "the trusted side");
        cr_stream_release(&stream);
        cr_socket_close(&socket);
    }
    return NULL;
}

// `address` as of cr_socket_listen, or "tls:" and such a one. The caller sets `look` and `spoil` before a
// connection is made.
static inline void hire(struct hired *hired, const char *model, const char *address)
{
    *hired =
        (struct hired){.engine = {&hired_kind, "hired"}, .accelerator = {.busy = PTHREAD_MUTEX_INITIALIZER}};
    assert_ok(cr_compute_new(1, &hired->compute));
    assert_ok(cr_model_open(model, CR_MODEL_IN_8BIT, NULL, hired->compute, CR_F32, &hired->model));
    assert_ok(cr_frozen_open(hired->model, &hired->frozen));
    assert_ok(cr_engine_cpu.open(&hired->frozen, hired->compute, &hired->honest));
    hired->accelerator.frozen = &hired->frozen;
    assert_ok(cr_front_model_open(hired->model, &hired->front));
    hired->accelerator.model = &hired->front.model;
    hired->accelerator.engine = &hired->engine;
    char name[CR_SOCKET_NAME_SIZE];
    bool tls = strncmp(address, "tls:", 4) == 0;
    if (tls) assert_ok(cr_stream_host_new(in_directory("identity"), &hired->host));
    assert_ok(cr_socket_listen(tls ? address + 4 : address, &hired->listener));
    assert_ok(cr_socket_name(hired->listener, name));
    snprintf(hired->address, sizeof hired->address, tls ? "tls:%s#%s" : "%s", name,
             tls ? cr_stream_host_key(hired->host) : "");
    for (size_t i = 0; i < HIRED_AT_ONCE; i++)
        assert_int_equal(pthread_create(&hired->threads[i], NULL, hired_serve, hired), 0);
}

// After the last connection was closed.
static inline void dismiss(struct hired *hired)
{
    shutdown(hired->listener, SHUT_RDWR); // ends its wait
    for (size_t i = 0; i < HIRED_AT_ONCE; i++) pthread_join(hired->threads[i], NULL);
    cr_socket_close(&hired->listener);
    cr_stream_host_free(hired->host);
    hired->honest->kind->free(hired->honest);
    cr_front_model_release(&hired->front);
    cr_frozen_release(&hired->frozen);
    cr_model_free(hired->model);
    cr_compute_free(hired->compute);
}

#endif
