// A hostile config.json: refused, or a shape whose every product fits and whose parts agree.
#include "model/config.h"

#include <math.h>
#include <stdlib.h>

// Whether every pair has an angle.
static bool turns(const struct cr_model_config *config)
{
    if (config->learned_positions) return true;
    for (size_t j = 0; j < config->head_dim / 2; j++) {
        float angle = cr_rope_frequency(&config->rope, config->head_dim, j);
        if (!(isfinite(angle) && angle >= 0)) return false;
    }
    return config->rope.amplitude > 0 && isfinite(config->rope.amplitude);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cr_model_config config;
    if (cr_model_config_parse((struct cr_slice){data, size}, "config.json", &config) != CR_OK) return 0;
    size_t weights;
    bool sound =
        config.layers > 0 && config.kv_heads > 0 && config.heads % config.kv_heads == 0 &&
        (config.learned_positions || config.head_dim % 2 == 0) && config.context > 0 &&
        config.norm_epsilon > 0 && turns(&config) &&
        !__builtin_mul_overflow(config.vocabulary * config.hidden, sizeof(float), &weights) &&
        !__builtin_mul_overflow(2 * config.intermediate * config.hidden, sizeof(float), &weights) &&
        !__builtin_mul_overflow(config.heads * config.head_dim * config.hidden, 3 * sizeof(float), &weights);
    if (!sound) abort();
    return 0;
}
