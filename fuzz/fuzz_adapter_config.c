// A hostile adapter_config.json: read, and, where it is accepted, resolved against a model's shape.
#include "tuning/peft.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CR_CLEANUP(cr_peft_config_release) struct cr_peft_config config = {0};
    if (cr_peft_config_parse((struct cr_slice){data, size}, "adapter_config.json", &config) != CR_OK)
        return 0;
    struct cr_model_config model = {.layers = 3,
                                    .hidden = 16,
                                    .heads = 2,
                                    .kv_heads = 1,
                                    .head_dim = 8,
                                    .intermediate = 24,
                                    .vocabulary = 9,
                                    .context = 64};
    CR_CLEANUP(cr_parameters_release) struct cr_parameters parameters = {0};
    if (cr_peft_parameters(&config, &model, &parameters) == CR_OK) {
        // What was accepted can be written, and reads back as accepted.
        CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
        CR_CLEANUP(cr_peft_config_release) struct cr_peft_config again = {0};
        if (cr_peft_config_write(&config, "base", &model, &text) != CR_OK) abort();
        if (cr_peft_config_parse(cr_buffer_slice(&text), "again", &again) != CR_OK) abort();
        if (again.method != config.method) abort();
    }
    return 0;
}
