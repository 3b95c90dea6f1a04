// Writes TensorBoard event files of scalars: records in TFRecord's framing (size, masked CRC-32C of the size,
// bytes, masked CRC-32C of the bytes), each an Event message of TensorFlow's event.proto. These functions
// only append to a buffer.
#ifndef CARREL_REPORT_TENSORBOARD_H
#define CARREL_REPORT_TENSORBOARD_H

#include "base/bytes.h"

// The first record of a file, its version. `time`: Unix seconds.
enum cr_status cr_tensorboard_append_version(struct cr_buffer *out, double time);

// Marks the start or continuation of a run at this step: values of earlier files from this step on are void.
enum cr_status cr_tensorboard_append_start(struct cr_buffer *out, double time, int64_t step);

enum cr_status cr_tensorboard_append_scalar(struct cr_buffer *out, double time, int64_t step, const char *tag,
                                            double value);

uint32_t cr_crc32c(struct cr_slice bytes); // Castagnoli's polynomial, as in RFC 3720

#endif
