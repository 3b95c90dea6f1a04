#include "tuning/spf_select.h"

#include "base/secret.h"
#include "crypto/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Scores are compared as integers: the bits of floats that are not negative have the floats' order. The
// scores are never sorted. Two counts, of the upper halves of all keys and of the lower halves of those at
// the border, find the key at which the room ends.
enum { HALF = 1 << 16 };

// A module's groups: `groups` of them with `size` weights each, one after the other.
struct grouping {
    size_t groups, size;
};

struct selecting {
    const struct cr_spf_config *config;
    const struct cr_model *model;
    uint64_t seed;
    struct cr_spf_source source;
    struct cr_module_place *places; // [count]
    size_t count;
    float *score;   // [largest out·in]; secret if it comes from gradients
    uint32_t *keys; // [most groups of a module] the groups' scores
    size_t *counts; // [HALF]
};

static void selecting_release(struct selecting *s)
{
    cr_free(&s->places);
    cr_secret_free(&s->score);
    cr_free(&s->keys);
    cr_free(&s->counts);
}

void cr_spf_selection_release(struct cr_spf_selection *selection)
{
    for (size_t i = 0; i < selection->count; i++) {
        struct cr_spf_part *part = &selection->parts[i];
        free(part->rows);
        free(part->elements.start);
        free(part->elements.index);
        free(part->elements.column_start);
        free(part->elements.row);
        free(part->elements.place);
    }
    free(selection->parts);
    *selection = (struct cr_spf_selection){0};
}

enum cr_status cr_spf_places(const struct cr_spf_config *config, const struct cr_model_config *model,
                             struct cr_module_place **out, size_t *count)
{
    return cr_module_places("spf.", (const char *const *)config->targets.modules.items,
                            config->targets.modules.count, &config->targets.layers, model, out, count);
}

static size_t weights_of(const struct cr_model_config *model, const struct cr_module_place *places,
                         size_t count)
{
    size_t sum = 0, out, in;
    for (size_t i = 0; i < count; i++) {
        cr_module_shape(model, places[i].module, &out, &in);
        sum += out * in;
    }
    return sum;
}

static size_t room_of(const struct cr_spf_config *config, size_t weights)
{
    return cr_least(weights, (size_t)(config->density * (double)weights + 0.5));
}

enum cr_status cr_spf_budget(const struct cr_spf_config *config, const struct cr_model_config *model,
                             size_t *named, size_t *most)
{
    CR_FREE struct cr_module_place *places = NULL;
    size_t count;
    CR_TRY(cr_spf_places(config, model, &places, &count));
    *named = weights_of(model, places, count);
    *most = room_of(config, *named);
    return CR_OK;
}

// Only q, k and v have a head's rows: in o_proj a head is columns, and the MLP has none.
static struct grouping grouping_of(const struct cr_spf_config *config, const struct cr_model_config *model,
                                   enum cr_module module)
{
    size_t out, in;
    cr_module_shape(model, module, &out, &in);
    if (config->granularity == CR_SPF_ELEMENT) return (struct grouping){out * in, 1};
    bool heads = module == CR_QKV || module == CR_Q || module == CR_K || module == CR_V;
    if (config->granularity == CR_SPF_ROW || !heads) return (struct grouping){out, in};
    size_t rows = model->head_dim;
    return (struct grouping){out / rows, rows * in};
}

static struct grouping grouping_at(const struct selecting *s, size_t i)
{
    return grouping_of(s->config, &s->model->config, s->places[i].module);
}

// |w| of the checkpoint's values.
static enum cr_status weights_l1(const struct selecting *s, struct cr_module_place place, float *score)
{
    const struct cr_model_parameter *parameter =
        &s->model->parameters[cr_module_place_parameter(s->model, place)];
    if (!s->model->weights)
        return cr_fail(CR_INTERNAL, "%s: the model has no checkpoint to choose from", parameter->name);
    const struct cr_tensor_entry *entry = cr_parameter_entry(parameter, s->model->weights);
    CR_TRY(cr_parameter_decode(s->model->compute, parameter, entry->bytes, entry->dtype, score));
    for (size_t k = 0; k < parameter->rows * parameter->columns; k++) score[k] = fabsf(score[k]);
    return CR_OK;
}

static enum cr_status fail_score(const struct selecting *s, size_t i)
{
    char name[CR_PLACE_NAME_SIZE];
    (void)cr_module_place_name(&s->model->config, s->places[i], name);
    return cr_fail(CR_INVALID, "spf.criterion: %s: a weight's score is NaN or infinite", name);
}

static enum cr_status draw(const struct selecting *s, size_t i, size_t groups)
{
    char name[CR_PLACE_NAME_SIZE], label[CR_PLACE_NAME_SIZE + 16];
    struct cr_draws *stream;
    (void)cr_module_place_name(&s->model->config, s->places[i], name);
    snprintf(label, sizeof label, "spf order %s", name);
    CR_TRY(cr_draws_new(s->seed, label, &stream));
    cr_draws_bytes(stream, s->keys, groups * sizeof *s->keys);
    cr_draws_free(stream);
    return CR_OK;
}

// Fills s->keys with the scores of the groups of place i.
static enum cr_status find_keys(struct selecting *s, size_t i, struct grouping grouping)
{
    if (s->config->criterion == CR_SPF_RANDOM) return draw(s, i, grouping.groups);
    if (s->config->criterion == CR_SPF_WEIGHT_L1)
        CR_TRY(weights_l1(s, s->places[i], s->score));
    else
        CR_TRY(s->source.scores(s->source.context, i, s->score));
    const float *score = s->score;
    for (size_t g = 0; g < grouping.groups; g++, score += grouping.size) {
        double sum = 0;
        for (size_t k = 0; k < grouping.size; k++) sum += (double)score[k];
        float mean = (float)(sum / (double)grouping.size);
        if (!isfinite(mean)) return fail_score(s, i);
        memcpy(&s->keys[g], &mean, sizeof mean);
    }
    return CR_OK;
}

// Counts weights by the upper half of their group's key, or, with `lower`, those with this upper half by
// their lower.
static enum cr_status count_keys(struct selecting *s, bool lower, uint32_t upper)
{
    memset(s->counts, 0, HALF * sizeof *s->counts);
    for (size_t i = 0; i < s->count; i++) {
        struct grouping grouping = grouping_at(s, i);
        CR_TRY(find_keys(s, i, grouping));
        for (size_t g = 0; g < grouping.groups; g++) {
            if (lower && s->keys[g] / HALF != upper) continue;
            s->counts[lower ? s->keys[g] % HALF : s->keys[g] / HALF] += grouping.size;
        }
    }
    return CR_OK;
}

// The half at which the room ends: the weights above it fit into *room, which is reduced by them, but those
// at it do not all fit. There is such a half.
static uint32_t border_of_halves(const struct selecting *s, size_t *room)
{
    uint32_t half = HALF - 1;
    while (s->counts[half] <= *room) *room -= s->counts[half--];
    return half;
}

enum cr_status cr_spf_part_allocate(struct cr_spf_part *part, bool elements, size_t count)
{
    if (!elements) {
        part->row_count = count;
        return cr_allocate(count, sizeof *part->rows, &part->rows);
    }
    struct cr_sparse *sparse = &part->elements;
    sparse->rows = part->out;
    sparse->columns = part->in;
    sparse->count = count;
    CR_TRY(cr_allocate(part->out + 1, sizeof *sparse->start, &sparse->start));
    CR_TRY(cr_allocate(count, sizeof *sparse->index, &sparse->index));
    CR_TRY(cr_allocate(part->in + 1, sizeof *sparse->column_start, &sparse->column_start));
    CR_TRY(cr_allocate(count, sizeof *sparse->row, &sparse->row));
    return cr_allocate(count, sizeof *sparse->place, &sparse->place);
}

// Takes groups with keys above the border, and those at it while there is room.
struct border {
    bool all;
    uint32_t key;
    size_t room; // for groups at the border
};

static bool takes(struct border *border, uint32_t key, size_t size)
{
    if (border->all || key > border->key) return true;
    if (key < border->key) return false;
    if (border->room < size) {
        border->room = 0; // no later group takes the place of this one
        return false;
    }
    border->room -= size;
    return true;
}

static void fill_rows(struct cr_spf_part *part, const bool *taken, struct grouping grouping)
{
    size_t rows = grouping.size / part->in, at = 0;
    for (size_t g = 0; g < grouping.groups; g++)
        for (size_t r = 0; taken[g] && r < rows; r++) part->rows[at++] = (uint32_t)(g * rows + r);
}

static void fill_elements(struct cr_spf_part *part, const bool *taken)
{
    struct cr_sparse *sparse = &part->elements;
    uint32_t at = 0;
    for (size_t r = 0; r < part->out; r++) {
        for (uint32_t c = 0; c < part->in; c++)
            if (taken[r * part->in + c]) sparse->index[at++] = c;
        sparse->start[r + 1] = at;
    }
    cr_sparse_by_columns(sparse);
}

// Makes the part of place i, if it has one.
static enum cr_status add_part(struct selecting *s, size_t i, struct border *border,
                               struct cr_spf_selection *out)
{
    struct grouping grouping = grouping_at(s, i);
    size_t groups = 0;
    CR_FREE bool *taken = NULL;
    CR_TRY(find_keys(s, i, grouping));
    CR_TRY(cr_allocate(grouping.groups, sizeof *taken, &taken));
    for (size_t g = 0; g < grouping.groups; g++)
        groups += taken[g] = takes(border, s->keys[g], grouping.size);
    if (groups == 0) return CR_OK;
    struct cr_spf_part *part = &out->parts[out->count++];
    part->place = s->places[i];
    cr_module_shape(&s->model->config, part->place.module, &part->out, &part->in);
    size_t values = groups * grouping.size;
    if (values > INT32_MAX)
        return cr_fail(CR_UNSUPPORTED, "spf.density: more than 2^31 values of one module");
    CR_TRY(cr_spf_part_allocate(part, out->elements, out->elements ? values : values / part->in));
    if (out->elements)
        fill_elements(part, taken);
    else
        fill_rows(part, taken, grouping);
    out->values += values;
    return CR_OK;
}

static enum cr_status choose(struct selecting *s, struct cr_spf_selection *out)
{
    size_t weights = weights_of(&s->model->config, s->places, s->count);
    struct border border = {.room = room_of(s->config, weights)};
    border.all = border.room == weights;
    CR_TRY(cr_allocate(s->count, sizeof *out->parts, &out->parts));
    if (border.room == 0 && s->config->density == 0) return CR_OK;
    if (!border.all) {
        CR_TRY(count_keys(s, false, 0));
        uint32_t upper = border_of_halves(s, &border.room);
        CR_TRY(count_keys(s, true, upper));
        border.key = upper * HALF + border_of_halves(s, &border.room);
    }
    for (size_t i = 0; i < s->count; i++) CR_TRY(add_part(s, i, &border, out));
    if (out->count == 0)
        return cr_fail(CR_INVALID,
                       "spf.density: %g of the %zu weights of the named modules: no room for one %s",
                       s->config->density, weights,
                       (const char *const[]){"head or row", "row", "element"}[s->config->granularity]);
    return CR_OK;
}

// The number of weights of the largest of these modules, and the largest number of groups of a module.
static void measure(const struct cr_spf_config *config, const struct cr_model_config *model,
                    const struct cr_module_place *places, size_t count, size_t *largest, size_t *most)
{
    *largest = *most = 0;
    for (size_t i = 0; i < count; i++) {
        struct grouping grouping = grouping_of(config, model, places[i].module);
        *largest = cr_most(*largest, grouping.groups * grouping.size);
        *most = cr_most(*most, grouping.groups);
    }
}

enum cr_status cr_spf_choosing_memory(const struct cr_spf_config *config, const struct cr_model_config *model,
                                      size_t *out)
{
    CR_FREE struct cr_module_place *places = NULL;
    size_t count, largest, most;
    CR_TRY(cr_spf_places(config, model, &places, &count));
    measure(config, model, places, count, &largest, &most);
    *out = HALF * sizeof(size_t) + most * sizeof(uint32_t);
    if (config->criterion != CR_SPF_RANDOM) *out += largest * sizeof(float);
    // The sums of calibration, and with fisher the gradient of one batch for one module.
    if (cr_spf_calibrates(config)) *out += weights_of(model, places, count) * sizeof(float);
    if (config->criterion == CR_SPF_FISHER) *out += largest * sizeof(float);
    return CR_OK;
}

static enum cr_status prepare(struct selecting *s)
{
    size_t largest, most;
    CR_TRY(cr_spf_places(s->config, &s->model->config, &s->places, &s->count));
    measure(s->config, &s->model->config, s->places, s->count, &largest, &most);
    if (s->config->criterion != CR_SPF_RANDOM)
        CR_TRY(cr_secret_allocate(largest, sizeof *s->score, &s->score));
    CR_TRY(cr_allocate(most, sizeof *s->keys, &s->keys));
    return cr_allocate(HALF, sizeof *s->counts, &s->counts);
}

enum cr_status cr_spf_select(const struct cr_spf_config *config, const struct cr_model *model, uint64_t seed,
                             const struct cr_spf_source *source, struct cr_spf_selection *out)
{
    CR_CLEANUP(selecting_release) struct selecting s = {.config = config, .model = model, .seed = seed};
    if (source) s.source = *source;
    CR_CLEANUP(cr_spf_selection_release)
    struct cr_spf_selection made = {.elements = config->granularity == CR_SPF_ELEMENT};
    CR_TRY(prepare(&s));
    CR_TRY(choose(&s, &made));
    *out = made;
    made = (struct cr_spf_selection){0};
    return CR_OK;
}
