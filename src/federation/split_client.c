#include "federation/split_client.h"

#include "base/clock.h"
#include "federation/cut_frames.h"
#include "federation/job.h"
#include "tuning/cutter.h"

#include <stdlib.h>
#include <string.h>

static const double progress_seconds = 1;

// The activations from one pass over some examples, ready to be sent.
struct parcel {
    size_t first, end; // examples [first, end)
    struct cr_cut_bodies *bodies;
};

struct cr_split_client {
    struct cr_job *job;
    const struct cr_config *config;
    const struct cr_event_sink *sink;
    struct cr_compute *compute;
    struct cr_cutter *cutter;
    struct cr_base_digest front;
    unsigned char data[CR_SHA256_SIZE];
    size_t examples, rows; // of this silo's data
    bool opened;

    size_t connection;     // number of the offer
    size_t walked_for;     // the value of `connection` when the current pass began
    struct parcel *parcel; // what that pass computed
    bool offered;          // the offer was sent and the server has answered
    size_t held, sent;     // examples that the server holds, and that were sent, on this connection
    size_t parcel_end;     // end of the last parcel but one that was sent
    double told_at;

    size_t walks, walked, walked_rows; // totals of this process
    uint64_t bytes;                    // bytes of frames
    double seconds;                    // seconds spent in passes
};

static void free_parcel(struct parcel *parcel)
{
    if (!parcel) return;
    cr_cut_bodies_release(parcel->bodies);
    free(parcel);
}

// Runs on the job's thread, like walk below.
static enum cr_status open_front(void *context)
{
    struct cr_split_client *split = context;
    CR_TRY(cr_compute_new(split->config->tuning.threads, &split->compute));
    CR_TRY(cr_cutter_new(&split->config->tuning, split->compute, split->sink, &split->cutter));
    const struct cr_dataset *data = cr_cutter_data(split->cutter);
    split->examples = cr_dataset_count(data);
    for (size_t i = 0; i < split->examples; i++) split->rows += cr_dataset_at(data, i).count;
    return cr_cutter_digest(split->cutter, &split->front, split->data);
}

// Packs the activations of the parcel's examples into bodies of frames, each with some rows and then their
// labels.
static enum cr_status pack(const struct cr_split_client *split, const unsigned char *activations,
                           struct parcel *parcel)
{
    size_t row_size = cr_cutter_row_size(split->cutter), rows = 0;
    const struct cr_dataset *data = cr_cutter_data(split->cutter);
    for (size_t i = parcel->first; i < parcel->end; i++) rows += cr_dataset_at(data, i).count;
    CR_TRY(cr_cut_bodies_new(rows * (row_size + sizeof(int32_t)), &parcel->bodies));
    unsigned char *to = parcel->bodies->bytes;
    for (size_t i = parcel->first; i < parcel->end; i++) {
        const struct cr_example example = cr_dataset_at(data, i);
        cr_cut_pack(activations, row_size, example.labels, example.count, to);
        activations += example.count * row_size;
        to += example.count * (row_size + sizeof(int32_t));
    }
    return CR_OK;
}

static enum cr_status walk(void *context)
{
    struct cr_split_client *split = context;
    struct parcel *parcel = split->parcel;
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer activations = {0};
    double began = cr_clock_monotonic();
    CR_TRY(cr_cutter_walk(split->cutter, parcel->first, &activations, &parcel->end));
    CR_TRY(pack(split, activations.data, parcel));
    split->walks++;
    split->walked += parcel->end - parcel->first;
    split->walked_rows += parcel->bodies->size / (cr_cutter_row_size(split->cutter) + sizeof(int32_t));
    split->seconds += cr_clock_monotonic() - began;
    return CR_OK;
}

void cr_split_client_warn(const struct cr_client *client)
{
    if (client->state->manifest.policy) return; // then the server has shown evidence
    cr_emit(
        client->sink, CR_EVENT_WARNING, "split.warning",
        "THE SERVER CAN READ THIS SILO'S TEXTS: what a split model's silo sends is as good as they are, and "
        "the job has no appraisal policy that makes the server prove what it runs",
        CR_FIELD_TEXT("silo", client->token.name));
}

enum cr_status cr_split_client_open(struct cr_client *client)
{
    if (client->options->output)
        return cr_fail(CR_INVALID, "--output: the result of a split model stays with its server");
    bool own = client->options->own_accelerator;
    if (own || client->options->accelerators.count > 0)
        return cr_fail(CR_INVALID, "%s: a split model's silos ask none",
                       own ? "--own-accelerator" : "--accelerator");
    CR_TRY(cr_allocate(1, sizeof *client->split, &client->split));
    struct cr_split_client *split = client->split;
    split->config = &client->config;
    split->sink = client->sink;
    cr_split_client_warn(client);
    CR_TRY(cr_job_new(client->loop, &split->job));
    cr_job_start(split->job, open_front, split);
    return CR_OK;
}

void cr_split_client_close(struct cr_client *client)
{
    struct cr_split_client *split = client->split;
    if (!split) return;
    cr_job_free(split->job); // before what the job works on
    free_parcel(split->parcel);
    cr_cutter_free(split->cutter);
    cr_compute_free(split->compute);
    free(split);
    client->split = NULL;
}

enum cr_status cr_split_client_offer(struct cr_client *client)
{
    struct cr_split_client *split = client->split;
    if (!split->opened || client->ready_sent) return CR_OK;
    split->connection++;
    split->offered = false;
    struct cr_message offer = {.type = CR_FRAME_OFFER,
                               .offer = {.examples = split->examples, .rows = split->rows}};
    memcpy(offer.offer.front, split->front.model, CR_SHA256_SIZE);
    memcpy(offer.offer.data, split->data, CR_SHA256_SIZE);
    CR_TRY(cr_client_say(client, &offer));
    client->ready_sent = true;
    return CR_OK;
}

// Starts the next pass, unless more than one parcel is not yet wholly at the server.
static enum cr_status walk_on(struct cr_client *client)
{
    struct cr_split_client *split = client->split;
    if (!split->offered || cr_job_busy(split->job) || split->sent == split->examples ||
        split->held < split->parcel_end)
        return CR_OK;
    CR_TRY(cr_allocate(1, sizeof *split->parcel, &split->parcel));
    split->parcel->first = split->sent;
    split->walked_for = split->connection;
    cr_job_start(split->job, walk, split);
    return CR_OK;
}

static enum cr_status leave(struct cr_client *client)
{
    const struct cr_split_client *split = client->split;
    cr_job_drop(split->job); // a pass that was for a lost connection
    cr_emit(client->sink, CR_EVENT_INFO, "split.sent", NULL, CR_FIELD("examples", split->examples),
            CR_FIELD("rows", split->rows), CR_FIELD("walks", split->walks), CR_FIELD("walked", split->walked),
            CR_FIELD("walked_rows", split->walked_rows), CR_FIELD("bytes", split->bytes),
            CR_FIELD("seconds", split->seconds));
    client->status = CR_OK;
    client->ended = true;
    cr_connection_close(client->connection);
    return CR_OK;
}

enum cr_status cr_split_client_held(struct cr_client *client, const struct cr_message *message)
{
    struct cr_split_client *split = client->split;
    uint64_t examples = message->held.examples;
    if (!client->ready_sent || examples > (split->offered ? split->sent : split->examples) ||
        (split->offered && examples < split->held))
        return cr_fail(CR_PROTOCOL, "the server says that it holds what was not sent");
    split->held = (size_t)examples;
    if (!split->offered) split->sent = split->parcel_end = split->held;
    split->offered = true;
    cr_client_gets_on(client);
    double now = cr_clock_monotonic();
    if (now - split->told_at >= progress_seconds) {
        split->told_at = now;
        cr_emit(client->sink, CR_EVENT_INFO, "split.sending", NULL, CR_FIELD("examples", split->held),
                CR_FIELD("all", split->examples), CR_FIELD("bytes", split->bytes));
    }
    return split->held == split->examples ? leave(client) : walk_on(client);
}

static enum cr_status send_piece(struct cr_client *client, struct parcel *parcel, size_t at, size_t size,
                                 const struct cr_message *header)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer head = {0};
    CR_TRY(cr_message_encode(header, &head));
    client->split->bytes += CR_FRAME_START_SIZE + head.size + size;
    return cr_cut_bodies_send(parcel->bodies, at, size, header, client->connection);
}

static enum cr_status send_parcel(struct cr_client *client, struct parcel *parcel)
{
    struct cr_split_client *split = client->split;
    size_t row_size = cr_cutter_row_size(split->cutter) + sizeof(int32_t), at = 0;
    size_t most = cr_cut_frame_rows(row_size);
    for (size_t i = parcel->first; i < parcel->end; i++) {
        size_t rows = cr_dataset_at(cr_cutter_data(split->cutter), i).count;
        for (size_t row = 0; row < rows; row += most) {
            size_t size = cr_least(most, rows - row) * row_size;
            const struct cr_message header = {.type = CR_FRAME_CUT,
                                              .cut = {.example = i, .first = row, .rows = rows}};
            CR_TRY(send_piece(client, parcel, at, size, &header));
            at += size;
        }
    }
    split->parcel_end = split->sent;
    split->sent = parcel->end;
    return CR_OK;
}

enum cr_status cr_split_client_step(struct cr_client *client)
{
    struct cr_split_client *split = client->split;
    enum cr_status status;
    if (!cr_job_take(split->job, &status)) return CR_OK;
    CR_TRY(status);
    if (!split->opened) {
        split->opened = true;
        // The server checks the front's layers.
        CR_TRY(cr_client_check_tokenizer(&client->state->manifest, client->config.tuning.model_name_or_path,
                                         &split->front));
        CR_TRY(cr_cut_check_row(cr_cutter_row_size(split->cutter)));
        return client->job_came ? cr_split_client_offer(client) : CR_OK;
    }
    // A parcel for a connection that was lost may be at the server already; the server says so in its next
    // answer.
    struct parcel *parcel = split->parcel;
    split->parcel = NULL;
    if (client->ready_sent && split->walked_for == split->connection) status = send_parcel(client, parcel);
    free_parcel(parcel);
    CR_TRY(status);
    return walk_on(client);
}
