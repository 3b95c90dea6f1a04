// Rotary position embedding: how far each pair of a head's columns turns from one position to the next, with
// the scalings by which models are stretched to longer contexts.
#ifndef CARREL_MODEL_ROPE_H
#define CARREL_MODEL_ROPE_H

#include "format/json.h"

#include <stddef.h>

enum cr_rope_scaling {
    CR_ROPE_PLAIN,
    CR_ROPE_LINEAR, // all frequencies are divided by the factor
    CR_ROPE_LLAMA3, // low ones are, with a ramp between two frequencies
    CR_ROPE_YARN,   // low ones are, with a ramp between two pairs (Peng et al., arXiv 2309.00071)
};

struct cr_rope {
    enum cr_rope_scaling scaling;
    double theta;                         // rope_theta
    double factor;                        // by which frequencies are divided
    double low_frequency, high_frequency; // llama3: low_freq_factor, high_freq_factor
    size_t original_context;              // llama3, yarn: original_max_position_embeddings
    double first_pair, last_pair; // yarn: from where the ramp begins to where all of the factor counts
    double amplitude;             // cosines and sines are multiplied by it; 1 but with yarn
};

// Reads the rotation of a model from the object of its config.json. `head_dim` is even and `context` the
// model's max_position_embeddings, beyond which carrel computes nothing. What Transformers would compute
// otherwise returns CR_UNSUPPORTED, an impossible number CR_INVALID; messages begin with `name`.
enum cr_status cr_rope_read(const struct cr_json *root, const char *name, size_t head_dim, size_t context,
                            struct cr_rope *out);

// The angle of pair j, from 0 to head_dim/2 - 1, in radians for each position.
float cr_rope_frequency(const struct cr_rope *rope, size_t head_dim, size_t j);

#endif
