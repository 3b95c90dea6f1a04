#include "slicing/link.h"

#include "base/address.h"
#include "base/outside.h"
#include "base/secret.h"
#include "crypto/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct cr_link {
    struct cr_stream stream;
    bool shared; // `words` is memory shared with the accelerator
    bool shows_pads;
    bool secret;
    uint32_t *words; // [count]
    size_t count;
    size_t answer_at; // index of the first word of the last question's answer
    uint64_t request; // number of the last request
    double patience;
    char peer[300];
    char engine[CR_WIRE_READY_SIZE + 1];
};

// Passes the accelerator two memories: the words, which both sides read and write, and the products of pads,
// which it may only read.
static enum cr_status share(struct cr_link *link, const struct cr_link_options *options)
{
    CR_CLEANUP(cr_socket_close) int fd = -1;
    enum cr_status status =
        cr_outside_share("carrel-shared", link->count * sizeof *link->words, true, &link->words, &fd);
    if (status != CR_OK) return cr_fail_within(status, "%s", link->peer);
    CR_TRY(cr_socket_send_descriptor(link->stream.socket, fd, link->peer));
    if (!link->shows_pads) return CR_OK;
    return cr_socket_send_descriptor(link->stream.socket, options->pads, link->peer);
}

static enum cr_status send_head(struct cr_link *link, enum cr_wire_type type, uint64_t size)
{
    unsigned char bytes[CR_WIRE_HEAD_SIZE];
    const struct cr_wire_head head = {.type = type, .request = ++link->request, .size = size};
    cr_wire_put_head(&head, bytes);
    return cr_stream_send(&link->stream, bytes, sizeof bytes, link->peer);
}

// Reads the head of the answer to the last question. It must have this type and a body of `size` bytes.
static enum cr_status receive_answer(struct cr_link *link, enum cr_wire_type type, uint64_t size)
{
    unsigned char bytes[CR_WIRE_HEAD_SIZE];
    struct cr_wire_head head;
    CR_TRY(cr_stream_await(&link->stream, link->patience, link->peer));
    CR_TRY(cr_stream_receive(&link->stream, bytes, sizeof bytes, link->peer));
    CR_TRY(cr_wire_get_head(bytes, link->peer, &head));
    if (head.request != link->request)
        return cr_fail(CR_PROTOCOL, "%s: it answers request %llu, asked was %llu", link->peer,
                       (unsigned long long)head.request, (unsigned long long)link->request);
    if (head.type == CR_WIRE_FAILED && head.size <= CR_WIRE_FAILED_LIMIT) {
        char why[CR_WIRE_FAILED_LIMIT + 1] = {0};
        CR_TRY(cr_stream_receive(&link->stream, why, head.size, link->peer));
        cr_wire_clean_text(why, head.size);
        return cr_fail(CR_DENIED, "%s: %s", link->peer, why);
    }
    if (head.type != type || head.size != size)
        return cr_fail(CR_PROTOCOL, "%s: an answer of type %u and %llu bytes, expected were type %u and %llu",
                       link->peer, head.type, (unsigned long long)head.size, type, (unsigned long long)size);
    return CR_OK;
}

static enum cr_status greet(struct cr_link *link, const struct cr_link_options *options)
{
    struct cr_wire_hello hello = {.digits = options->digits,
                                  .shared = link->shared ? link->count * sizeof *link->words : 0,
                                  .matrices = options->matrices,
                                  .pads = link->shows_pads ? options->pads_size : 0};
    unsigned char bytes[CR_WIRE_HELLO_SIZE], ready[CR_WIRE_READY_SIZE];
    cr_wire_put_hello(&hello, bytes);
    CR_TRY(send_head(link, CR_WIRE_HELLO, sizeof bytes));
    CR_TRY(cr_stream_send(&link->stream, bytes, sizeof bytes, link->peer));
    if (link->shared) CR_TRY(share(link, options));
    CR_TRY(receive_answer(link, CR_WIRE_READY, sizeof ready));
    CR_TRY(cr_stream_receive(&link->stream, ready, sizeof ready, link->peer));
    return cr_wire_get_ready(ready, link->peer, link->engine);
}

enum cr_status cr_link_open(const struct cr_link_options *options, struct cr_link **out)
{
    struct cr_link *link;
    CR_TRY(cr_allocate(1, sizeof *link, &link));
    link->stream = CR_STREAM_NONE;
    link->count = cr_most(options->words, 1);
    link->patience = options->patience;
    link->secret = options->secret;
    link->shared = cr_address_is_unix(options->address);
    link->shows_pads = link->shared && options->pads_size > 0;
    // Leaves out the key in a tls: address.
    snprintf(link->peer, sizeof link->peer, "accelerator %.*s", (int)strcspn(options->address, "#"),
             options->address);
    enum cr_status status = cr_stream_connect(options->address, options->patience, &link->stream);
    if (status != CR_OK) status = cr_fail_within(status, "accelerator");
    if (status == CR_OK && !link->shared)
        status = link->secret ? cr_secret_allocate(link->count, sizeof *link->words, &link->words)
                              : cr_allocate(link->count, sizeof *link->words, &link->words);
    if (status == CR_OK) status = greet(link, options);
    if (status == CR_OK)
        *out = link;
    else
        cr_link_close(link);
    return status;
}

void cr_link_close(struct cr_link *link)
{
    if (!link) return;
    size_t size = link->count * sizeof *link->words;
    if (link->secret && link->words) cr_wipe(link->words, size);
    if (link->shared && link->words)
        munmap(link->words, size);
    else if (link->secret)
        cr_secret_free(&link->words);
    else
        free(link->words);
    cr_stream_release(&link->stream);
    cr_socket_close(&link->stream.socket);
    free(link);
}

volatile uint32_t *cr_link_question(struct cr_link *link)
{
    return link->words;
}

volatile uint32_t *cr_link_answer(struct cr_link *link)
{
    return link->words + link->answer_at;
}

static enum cr_status check_room(const struct cr_link *link, size_t at, size_t words)
{
    if (at <= link->count && words <= link->count - at) return CR_OK;
    return cr_fail(CR_INTERNAL, "%s: %zu words from word %zu on do not fit its %zu", link->peer, words, at,
                   link->count);
}

enum cr_status cr_link_send(struct cr_link *link, const struct cr_wire_product *product, size_t words)
{
    unsigned char bytes[CR_WIRE_PRODUCT_SIZE];
    size_t size = link->shared ? 0 : words * sizeof *link->words;
    CR_TRY(check_room(link, 0, words));
    link->answer_at = link->shared ? cr_wire_answer_at(words) : 0;
    cr_wire_put_product(product, bytes);
    CR_TRY(send_head(link, CR_WIRE_PRODUCT, sizeof bytes + size));
    CR_TRY(cr_stream_send(&link->stream, bytes, sizeof bytes, link->peer));
    return cr_stream_send(&link->stream, link->words, size, link->peer);
}

enum cr_status cr_link_ask_front(struct cr_link *link, const struct cr_wire_front *front,
                                 const uint32_t *tokens, const uint32_t *lengths)
{
    unsigned char bytes[CR_WIRE_FRONT_SIZE];
    size_t rows = front->rows * sizeof *tokens, sequences = front->sequences * sizeof *lengths;
    if (!link->shared) return cr_fail(CR_INTERNAL, "%s: a front without shared memory", link->peer);
    link->answer_at = 0;
    cr_wire_put_front(front, bytes);
    CR_TRY(send_head(link, CR_WIRE_FRONT, sizeof bytes + rows + sequences));
    CR_TRY(cr_stream_send(&link->stream, bytes, sizeof bytes, link->peer));
    CR_TRY(cr_stream_send(&link->stream, tokens, rows, link->peer));
    return cr_stream_send(&link->stream, lengths, sequences, link->peer);
}

enum cr_status cr_link_receive(struct cr_link *link, size_t words)
{
    size_t size = link->shared ? 0 : words * sizeof *link->words;
    CR_TRY(check_room(link, link->answer_at, words));
    CR_TRY(receive_answer(link, CR_WIRE_RESULT, size));
    return cr_stream_receive(&link->stream, link->words + link->answer_at, size, link->peer);
}

bool cr_link_shows_pads(const struct cr_link *link)
{
    return link->shows_pads;
}

const char *cr_link_peer(const struct cr_link *link)
{
    return link->peer;
}

const char *cr_link_engine(const struct cr_link *link)
{
    return link->engine;
}
