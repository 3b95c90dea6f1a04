// Frames that wait to be sent, first in, first out. Bodies are not copied. Used by connection.c only.
#ifndef CARREL_CHANNEL_QUEUE_H
#define CARREL_CHANNEL_QUEUE_H

#include "channel/message.h"

// Zero-initialise it.
struct cr_queue {
    struct cr_queued *first, *last;
    size_t bytes; // bytes still to be sent
};

// `release` (may be NULL) is called with `owner` once the body is no longer needed, also if this fails.
enum cr_status cr_queue_push(struct cr_queue *queue, const struct cr_message *message,
                             void (*release)(void *owner), void *owner);

// Sets *piece to the next bytes to send, which are part of one frame. False if the queue is empty.
bool cr_queue_piece(const struct cr_queue *queue, struct cr_slice *piece);
void cr_queue_sent(struct cr_queue *queue, size_t size); // of that piece

void cr_queue_drop(struct cr_queue *queue); // everything

#endif
