// Which weights of a frozen base sparse fine-tuning trains; chosen once, before training.
//
// The named modules' weights are divided into groups (enum cr_spf_granularity). A group's score is the mean
// of the criterion over its weights. Groups of all modules together are taken in the order of their scores,
// and among equal scores in their own order, until the next group would exceed density times the number of
// the named modules' weights. With `random` the order is drawn from the seed. The choice is the same for
// equal model, configuration, seed and scores, whatever the number of threads.
#ifndef CARREL_TUNING_SPF_SELECT_H
#define CARREL_TUNING_SPF_SELECT_H

#include "tensor/sparse.h"
#include "tuning/config.h"
#include "tuning/targets.h"

// What is trained of one module's weight [out,in]: whole rows, or elements.
struct cr_spf_part {
    struct cr_module_place place;
    size_t out, in;
    uint32_t *rows; // [row_count] ascending; NULL with elements
    size_t row_count;
    struct cr_sparse elements; // with granularity element: by rows and by columns
};

// Zero-initialise it; release it with cr_spf_selection_release (usable with CR_CLEANUP).
struct cr_spf_selection {
    bool elements;
    struct cr_spf_part *parts; // in the order of layers and modules; none is empty
    size_t count;
    size_t values; // trained, in all
};
void cr_spf_selection_release(struct cr_spf_selection *selection);

static inline size_t cr_spf_part_values(const struct cr_spf_part *part)
{
    return part->rows ? part->row_count * part->in : part->elements.count;
}

// The modules that the configuration names in this model (cr_module_places).
enum cr_status cr_spf_places(const struct cr_spf_config *config, const struct cr_model_config *model,
                             struct cr_module_place **out, size_t *count);

// The number of weights of the named modules, and how many of them may be trained.
enum cr_status cr_spf_budget(const struct cr_spf_config *config, const struct cr_model_config *model,
                             size_t *named, size_t *most);

// Bytes that calibration and selection take, until the places are chosen.
enum cr_status cr_spf_choosing_memory(const struct cr_spf_config *config, const struct cr_model_config *model,
                                      size_t *out);

// Where scores come from. `scores` fills score [out,in], one at least 0 for each weight of place i of
// cr_spf_places. It is called more than once for each place.
struct cr_spf_source {
    enum cr_status (*scores)(void *context, size_t i, float *score);
    void *context;
};

// `source` is used for the gradient criteria only; weight_l1 reads the model's checkpoint, one matrix at a
// time. CR_INVALID if a positive density has no room for a single group, or a score is NaN or infinite.
enum cr_status cr_spf_select(const struct cr_spf_config *config, const struct cr_model *model, uint64_t seed,
                             const struct cr_spf_source *source, struct cr_spf_selection *out);

// Allocates a part of `count` rows, or elements (by rows and by columns), zeroed.
enum cr_status cr_spf_part_allocate(struct cr_spf_part *part, bool elements, size_t count);

#endif
