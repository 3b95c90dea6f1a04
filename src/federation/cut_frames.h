// Rows of a split model's example as bodies of Cut frames, at both ends: coded activations (tuning/cut.h) of
// some rows, then their labels, where those cross too. An example has as many frames as its size asks for.
#ifndef CARREL_FEDERATION_CUT_FRAMES_H
#define CARREL_FEDERATION_CUT_FRAMES_H

#include "channel/connection.h"

// Whether a frame has room for a row of so many bytes and its label: CR_UNSUPPORTED otherwise.
enum cr_status cr_cut_check_row(size_t activation_size);

// Rows that one frame has room for, of so many bytes each.
size_t cr_cut_frame_rows(size_t row_size);

// Writes the bodies of all frames of an example one after the other: rows × (activation_size, and the label's
// 4) bytes. labels NULL: none cross.
void cr_cut_pack(const unsigned char *activations, size_t activation_size, const int32_t *labels, size_t rows,
                 unsigned char *out);

// Packed bodies on their way out. One reference is the maker's; each frame that was sent has one until the
// connection is done with it, whatever the peer says meanwhile.
struct cr_cut_bodies {
    unsigned char *bytes; // [size]
    size_t size, references;
};

enum cr_status cr_cut_bodies_new(size_t size, struct cr_cut_bodies **out);
void cr_cut_bodies_release(void *bodies); // wiped with the last reference; NULL is allowed

// Sends a Cut whose body is `size` bytes from `at` on.
enum cr_status cr_cut_bodies_send(struct cr_cut_bodies *bodies, size_t at, size_t size,
                                  const struct cr_message *header, struct cr_connection *connection);

// An example on its way in.
struct cr_cut_upload {
    size_t activation_size, label_size, longest; // bytes of a row; rows of an example at most
    unsigned char *bytes;                        // [longest rows]: activations of the example, then labels
    uint64_t example;                            // that comes next
    size_t rows, have;                           // of it; have 0: none of it came
};

// label_size: 4, or 0 where none cross.
enum cr_status cr_cut_upload_init(struct cr_cut_upload *upload, size_t activation_size, size_t label_size,
                                  size_t longest);
void cr_cut_upload_release(struct cr_cut_upload *upload); // wipes

// Takes a Cut that `name` sent. *whole: all rows of the example are there, until the next one is begun. What
// does not follow the rows before is CR_PROTOCOL.
enum cr_status cr_cut_upload_take(struct cr_cut_upload *upload, const struct cr_message *message,
                                  const char *name, bool *whole);
void cr_cut_upload_begin(struct cr_cut_upload *upload, uint64_t example);

#endif
