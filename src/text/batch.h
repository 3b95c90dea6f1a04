// A batch: examples one after the other in one array of rows, without padding.
#ifndef CARREL_TEXT_BATCH_H
#define CARREL_TEXT_BATCH_H

#include "text/dataset.h"

struct cr_batch {
    size_t sequences;
    size_t rows;        // tokens of all sequences
    size_t labelled;    // rows whose label is not ignored
    size_t *offset;     // [sequences + 1]: sequence s is rows [offset[s], offset[s+1])
    size_t *example;    // [sequences]: its index in its dataset
    uint32_t *tokens;   // [rows]
    int32_t *labels;    // [rows], already shifted (struct cr_example)
    uint32_t *position; // [rows], from 0 in each sequence
    size_t sequence_capacity, row_capacity;
};

// Allocates room for `sequences` sequences with at most `rows` tokens in total; no allocation happens later.
enum cr_status cr_batch_new(size_t sequences, size_t rows, struct cr_batch **out);
void cr_batch_free(struct cr_batch *batch); // NULL is allowed
void cr_batch_clear(struct cr_batch *batch);

// CR_INVALID if it does not fit.
enum cr_status cr_batch_add(struct cr_batch *batch, struct cr_example example);

#endif
