// A hostile config.json: refused, or a shape whose every product fits and whose parts agree.
#include "model/config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cr_model_config config;
    if (cr_model_config_parse((struct cr_slice){data, size}, "config.json", &config) != CR_OK) return 0;
    size_t weights;
    bool sound =
        config.layers > 0 && config.kv_heads > 0 && config.heads % config.kv_heads == 0 &&
        (config.learned_positions || config.head_dim % 2 == 0) && config.context > 0 &&
        config.norm_epsilon > 0 && config.rope_theta >= 1 && config.rope_factor >= 1 &&
        !__builtin_mul_overflow(config.vocabulary * config.hidden, sizeof(float), &weights) &&
        !__builtin_mul_overflow(2 * config.intermediate * config.hidden, sizeof(float), &weights) &&
        !__builtin_mul_overflow(config.heads * config.head_dim * config.hidden, 3 * sizeof(float), &weights);
    if (!sound) abort();
    return 0;
}
