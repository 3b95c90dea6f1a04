// The clear front of a run: where it ends, and how it is opened.
#include "tuning/trainer_parts.h"

#include <stdio.h>

// Seconds without a sign of life of the accelerator: more than it takes to compute a batch's front.
static const double patience = 120;

// Reports where the front ends, for whoever wants to know what leaves the process in the clear.
static void announce(const struct cr_trainer *trainer, const char *address, size_t front)
{
    char message[512];
    size_t layers = trainer->model->config.layers;
    if (front == 0)
        snprintf(message, sizeof message,
                 "the clear front is empty: layer 0 is adapted, so the products of all %zu layers are masked",
                 layers);
    else
        snprintf(
            message, sizeof message,
            "the clear front ends before layer %zu of %zu: %s, this silo's own, computes what lies below "
            "it once for each example, unmasked",
            front, layers, address);
    cr_emit(&trainer->sink, CR_EVENT_INFO, "train.front", message, CR_FIELD("front_layers", front),
            CR_FIELD("layers", layers));
}

enum cr_status cr_trainer_open_front(struct cr_trainer *trainer, const struct cr_tuning_config *config,
                                     size_t rows, size_t sequences)
{
    const char *address = config->slicing.own_accelerator;
    const char *directory = config->scratch_dir ? config->scratch_dir : config->output_dir;
    size_t hidden = trainer->model->config.hidden, layers;
    if (trainer->cut) return cr_front_cache_of_cut(trainer->cut, &trainer->front_of_data);
    if (!trainer->slicing || config->slicing.clear_front == CR_CLEAR_FRONT_NONE) return CR_OK;
    CR_TRY(cr_front_end(config, &trainer->model->config, &layers));
    announce(trainer, address, layers);
    if (layers == 0) return CR_OK;
    const struct cr_front_options options = {.address = address,
                                             .slicing = trainer->slicing,
                                             .layers = layers,
                                             .rows = rows,
                                             .longest = trainer->data_options.max_length,
                                             .patience = patience};
    CR_TRY(cr_front_open(&options, &trainer->front));
    if (trainer->held_out)
        CR_TRY(cr_front_cache_new(trainer->front, trainer->held_out, hidden, rows, sequences, directory,
                                  &trainer->front_of_held_out));
    return cr_front_cache_new(trainer->front, trainer->data, hidden, rows, sequences, directory,
                              &trainer->front_of_data);
}
