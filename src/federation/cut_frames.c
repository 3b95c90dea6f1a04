#include "federation/cut_frames.h"

#include <stdlib.h>
#include <string.h>

enum cr_status cr_cut_check_row(size_t activation_size)
{
    if (activation_size + sizeof(int32_t) <= CR_FRAME_BODY_LIMIT) return CR_OK;
    return cr_fail(CR_UNSUPPORTED, "a token's activations take more than %d bytes", CR_FRAME_BODY_LIMIT);
}

size_t cr_cut_frame_rows(size_t row_size)
{
    return CR_FRAME_BODY_LIMIT / row_size;
}

void cr_cut_pack(const unsigned char *activations, size_t activation_size, const int32_t *labels, size_t rows,
                 unsigned char *out)
{
    size_t label_size = labels ? sizeof *labels : 0, most = cr_cut_frame_rows(activation_size + label_size);
    for (size_t row = 0; row < rows; row += most) {
        size_t count = cr_least(most, rows - row);
        memcpy(out, activations + row * activation_size, count * activation_size);
        out += count * activation_size;
        if (labels) memcpy(out, labels + row, count * label_size);
        out += count * label_size;
    }
}

enum cr_status cr_cut_bodies_new(size_t size, struct cr_cut_bodies **out)
{
    struct cr_cut_bodies *bodies;
    CR_TRY(cr_allocate(1, sizeof *bodies, &bodies));
    enum cr_status status = cr_allocate(size, 1, &bodies->bytes);
    if (status != CR_OK) {
        free(bodies);
        return status;
    }
    bodies->size = size;
    bodies->references = 1;
    *out = bodies;
    return CR_OK;
}

void cr_cut_bodies_release(void *held)
{
    struct cr_cut_bodies *bodies = held;
    if (!bodies || --bodies->references > 0) return;
    cr_wipe(bodies->bytes, bodies->size);
    free(bodies->bytes);
    free(bodies);
}

enum cr_status cr_cut_bodies_send(struct cr_cut_bodies *bodies, size_t at, size_t size,
                                  const struct cr_message *header, struct cr_connection *connection)
{
    struct cr_message cut = *header;
    cut.body = (struct cr_slice){bodies->bytes + at, size};
    bodies->references++;
    return cr_connection_send(connection, &cut, cr_cut_bodies_release, bodies);
}

enum cr_status cr_cut_upload_init(struct cr_cut_upload *upload, size_t activation_size, size_t label_size,
                                  size_t longest)
{
    *upload = (struct cr_cut_upload){
        .activation_size = activation_size, .label_size = label_size, .longest = longest};
    return cr_allocate(longest, activation_size + label_size, &upload->bytes);
}

void cr_cut_upload_release(struct cr_cut_upload *upload)
{
    if (upload->bytes)
        cr_wipe(upload->bytes, upload->longest * (upload->activation_size + upload->label_size));
    cr_free(&upload->bytes);
}

void cr_cut_upload_begin(struct cr_cut_upload *upload, uint64_t example)
{
    upload->example = example;
    upload->rows = upload->have = 0;
}

enum cr_status cr_cut_upload_take(struct cr_cut_upload *upload, const struct cr_message *message,
                                  const char *name, bool *whole)
{
    size_t row_size = upload->activation_size + upload->label_size, rows = message->body.size / row_size;
    if (upload->have == 0 && message->cut.rows <= upload->longest) upload->rows = (size_t)message->cut.rows;
    if (message->cut.example != upload->example || message->cut.first != upload->have ||
        message->cut.rows != upload->rows || rows == 0 || message->body.size % row_size != 0 ||
        rows > upload->rows - upload->have)
        return cr_fail(CR_PROTOCOL, "%s sent rows that do not follow those before, or are not whole", name);
    const unsigned char *labels = message->body.data + rows * upload->activation_size;
    memcpy(upload->bytes + upload->have * upload->activation_size, message->body.data,
           rows * upload->activation_size);
    memcpy(upload->bytes + upload->rows * upload->activation_size + upload->have * upload->label_size, labels,
           rows * upload->label_size);
    upload->have += rows;
    *whole = upload->have == upload->rows;
    return CR_OK;
}
