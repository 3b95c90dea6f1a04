#include "channel/queue.h"

#include <stdlib.h>

struct cr_queued {
    struct cr_queued *next;
    struct cr_buffer head; // the frame's start and header
    struct cr_slice body;
    size_t sent; // bytes sent, of head and body together
    void (*release)(void *owner);
    void *owner;
};

static void free_item(struct cr_queued *item)
{
    if (item->release) item->release(item->owner);
    cr_buffer_wipe(&item->head); // an Enrol message has a secret
    free(item);
}

static enum cr_status fill(struct cr_queued *item, const struct cr_message *message)
{
    unsigned char start[CR_FRAME_START_SIZE] = {0};
    CR_TRY(cr_append(&item->head, start, sizeof start));
    CR_TRY(cr_message_encode(message, &item->head));
    return cr_frame_start(message->type, item->head.size - sizeof start, item->body.size, item->head.data);
}

enum cr_status cr_queue_push(struct cr_queue *queue, const struct cr_message *message,
                             void (*release)(void *owner), void *owner)
{
    struct cr_queued *item;
    enum cr_status status = cr_allocate(1, sizeof *item, &item);
    if (status != CR_OK) {
        if (release) release(owner);
        return status;
    }
    *item = (struct cr_queued){.body = message->body, .release = release, .owner = owner};
    status = fill(item, message);
    if (status != CR_OK) {
        free_item(item);
        return status;
    }
    if (queue->last)
        queue->last->next = item;
    else
        queue->first = item;
    queue->last = item;
    queue->bytes += item->head.size + item->body.size;
    return CR_OK;
}

bool cr_queue_piece(const struct cr_queue *queue, struct cr_slice *piece)
{
    const struct cr_queued *item = queue->first;
    if (!item) return false;
    if (item->sent < item->head.size) {
        *piece = (struct cr_slice){item->head.data + item->sent, item->head.size - item->sent};
        return true;
    }
    size_t at = item->sent - item->head.size;
    *piece = (struct cr_slice){item->body.data + at, item->body.size - at};
    return true;
}

void cr_queue_sent(struct cr_queue *queue, size_t size)
{
    struct cr_queued *item = queue->first;
    item->sent += size;
    queue->bytes -= size;
    if (item->sent < item->head.size + item->body.size) return;
    queue->first = item->next;
    if (!queue->first) queue->last = NULL;
    free_item(item);
}

void cr_queue_drop(struct cr_queue *queue)
{
    while (queue->first) {
        struct cr_queued *item = queue->first;
        queue->first = item->next;
        free_item(item);
    }
    *queue = (struct cr_queue){0};
}
