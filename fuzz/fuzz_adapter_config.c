// A hostile adapter_config.json: read, and, where it is accepted, resolved against a model's shape.
#include "tuning/peft.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cr_lora_config config;
    if (cr_peft_config_parse((struct cr_slice){data, size}, "adapter_config.json", &config) != CR_OK)
        return 0;
    struct cr_model_config model = {.layers = 3,
                                    .hidden = 16,
                                    .heads = 2,
                                    .kv_heads = 1,
                                    .head_dim = 8,
                                    .intermediate = 24,
                                    .vocabulary = 9};
    struct cr_lora_place *places;
    size_t count;
    if (cr_lora_places(&config, &model, &places, &count) == CR_OK) {
        struct cr_parameters parameters = {0};
        if (cr_lora_parameters(&config, &model, places, count, &parameters) != CR_OK) abort();
        // What was accepted can be written, and reads back as accepted.
        struct cr_buffer text = {0};
        struct cr_lora_config again;
        if (cr_peft_config_write(&config, "base", &text) != CR_OK) abort();
        if (cr_peft_config_parse(cr_buffer_slice(&text), "again", &again) != CR_OK) abort();
        cr_lora_config_release(&again);
        cr_buffer_release(&text);
        cr_parameters_release(&parameters);
        cr_free(&places);
    }
    cr_lora_config_release(&config);
    return 0;
}
