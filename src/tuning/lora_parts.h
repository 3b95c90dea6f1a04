// The inside of LoRA, shared by lora.c (the structure) and lora_delta.c (its arithmetic).
#ifndef CARREL_TUNING_LORA_PARTS_H
#define CARREL_TUNING_LORA_PARTS_H

#include "base/lanes.h"
#include "crypto/random.h"
#include "tuning/lora.h"

// Products with A and B use blocks of this many rows, so that scratch does not grow with the batch. The size
// of the blocks affects the order of summation.
enum { CR_LORA_ROWS = 512 };

// The state of a lane's passes.
struct cr_lora_walk {
    bool training;  // passes are for training: with dropout, and `low` is kept
    uint32_t micro; // the micro-batch
};

// What a lane's last forward pass in training kept for its backward pass, for modules that share their input.
struct cr_lora_low {
    struct cr_matrix values; // [rows, modules·r] act: scale·dropout(x) Aᵀ
    size_t rows;             // how many of its rows are set
};

// LoRA on one module of one layer.
struct cr_lora_delta {
    struct cr_delta delta; // first: the model holds a pointer to it
    struct cr_lora *lora;
    const struct cr_parameter *a, *b; // [r,in], [out,r]
    size_t in, out;
    struct cr_lora_low *low;  // [lanes]
    size_t column;            // where its own columns of `low` begin
    struct cr_draws *dropout; // NULL without dropout
};

struct cr_lora {
    struct cr_structure base; // first
    struct cr_lora_config config;
    struct cr_compute *compute;
    enum cr_dtype act;
    float scale;
    float drop;    // probability
    size_t rows;   // of a training pass, at most; 0: not for training
    void *working; // [count] act: the values as products read them; NULL if act is F32
    struct cr_lora_delta *deltas;
    size_t delta_count, most; // most: of modules that share an input
    struct cr_lora_low *lows; // [delta_count, lanes]: modules that share an input use the first one's

    const struct cr_lanes *lanes; // borrowed
    struct cr_lora_walk *walks;   // [lanes]

    // Nothing from here on is kept between two passes that take turns.
    struct cr_arena scratch;
    void *wide;             // [CR_LORA_ROWS, max in] act: dropped inputs, and their gradient
    uint16_t *bits;         // [CR_LORA_ROWS, max in]
    float *exact;           // [CR_LORA_ROWS, most·r]: `low` before rounding
    void *narrow;           // [CR_LORA_ROWS, most·r] act: `low` if it is not kept
    float *low_gradient;    // [rows, most·r]
    void *low_gradient_act; // [rows, most·r] act; NULL if act is F32
};

// The present lane's.
static inline struct cr_lora_walk *cr_lora_walk_of(const struct cr_lora *lora)
{
    return &lora->walks[cr_lanes_current(lora->lanes)];
}

extern const struct cr_delta_kind cr_lora_delta_kind;

#endif
