// Sends and receives a split model's examples in Cut frames. A body has the coded activations (tuning/cut.h)
// of some rows and then their labels, if labels are sent at all. An example takes as many frames as its size
// needs.
#ifndef CARREL_FEDERATION_CUT_FRAMES_H
#define CARREL_FEDERATION_CUT_FRAMES_H

#include "channel/connection.h"

// Fails with CR_UNSUPPORTED if a frame has no room for a row of `activation_size` bytes and its label.
enum cr_status cr_cut_check_row(size_t activation_size);

// How many rows of `row_size` bytes fit in one frame.
size_t cr_cut_frame_rows(size_t row_size);

// Writes the bodies of all frames of an example one after the other: rows × (activation_size + 4 for the
// label) bytes. If `labels` is NULL, none are sent, and a row has activation_size bytes.
void cr_cut_pack(const unsigned char *activations, size_t activation_size, const int32_t *labels, size_t rows,
                 unsigned char *out);

// Packed bodies that are being sent. The maker holds one reference, and each frame one until the connection
// no longer needs it.
struct cr_cut_bodies {
    unsigned char *bytes; // [size]
    size_t size, references;
};

enum cr_status cr_cut_bodies_new(size_t size, struct cr_cut_bodies **out);
void cr_cut_bodies_release(void *bodies); // wipes with the last reference; NULL is allowed

// Sends a Cut message whose body is the `size` bytes from `at` on.
enum cr_status cr_cut_bodies_send(struct cr_cut_bodies *bodies, size_t at, size_t size,
                                  const struct cr_message *header, struct cr_connection *connection);

// An example that is being received.
struct cr_cut_upload {
    size_t activation_size, label_size, longest; // bytes in a row; most rows of an example
    unsigned char *bytes; // [longest]: activations of all the example's rows, then labels
    uint64_t example;     // number of the next example
    size_t rows, have;    // its rows, and how many have arrived; 0 before the first frame
};

// label_size: 4, or 0 if no labels are sent.
enum cr_status cr_cut_upload_init(struct cr_cut_upload *upload, size_t activation_size, size_t label_size,
                                  size_t longest);
void cr_cut_upload_release(struct cr_cut_upload *upload); // wipes

// Takes a Cut message from `name`. *whole: all rows of the example have arrived; they stay until the next
// example begins. A frame out of order is CR_PROTOCOL.
enum cr_status cr_cut_upload_take(struct cr_cut_upload *upload, const struct cr_message *message,
                                  const char *name, bool *whole);
void cr_cut_upload_begin(struct cr_cut_upload *upload, uint64_t example);

#endif
