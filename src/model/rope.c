#include "model/config.h"

#include <math.h>
#include <string.h>

static enum cr_status positive_number(const struct cr_json *object, const char *name, const char *key,
                                      double fallback, double *out)
{
    double number;
    CR_TRY(cr_json_get_number(object, name, key, fallback, &number));
    if (!isfinite(number) || number <= 0)
        return cr_fail(CR_INVALID, "%s: %s: %g is not a positive number", name, key, number);
    *out = number;
    return CR_OK;
}

static enum cr_status require_positive(const struct cr_json *object, const char *name, const char *key,
                                       double *out)
{
    if (!cr_json_given(object, key))
        return cr_fail(CR_INVALID, "%s: rotary scaling: %s is missing", name, key);
    return positive_number(object, name, key, 0, out);
}

static enum cr_status check_factor(const char *name, double factor)
{
    if (factor >= 1) return CR_OK;
    return cr_fail(CR_INVALID, "%s: rotary scaling: factor: %g is below 1", name, factor);
}

static enum cr_status read_factor(const struct cr_json *scaling, const char *name, struct cr_rope *out)
{
    CR_TRY(require_positive(scaling, name, "factor", &out->factor));
    return check_factor(name, out->factor);
}

// It counts beside the scaling, else within it, else it is the context, as in Transformers.
static enum cr_status read_original_context(const struct cr_json *root, const struct cr_json *scaling,
                                            const char *name, size_t context, size_t *out)
{
    const char *key = "original_max_position_embeddings";
    return cr_json_get_size(cr_json_given(root, key) ? root : scaling, name, key, 1, CR_MOST_CONTEXT, context,
                            out);
}

static enum cr_status read_llama3(const struct cr_json *root, const struct cr_json *scaling, const char *name,
                                  size_t context, struct cr_rope *out)
{
    CR_TRY(read_factor(scaling, name, out));
    CR_TRY(require_positive(scaling, name, "low_freq_factor", &out->low_frequency));
    CR_TRY(require_positive(scaling, name, "high_freq_factor", &out->high_frequency));
    CR_TRY(read_original_context(root, scaling, name, context, &out->original_context));
    if (out->high_frequency <= out->low_frequency)
        return cr_fail(CR_INVALID, "%s: rotary scaling: high_freq_factor %g is not above low_freq_factor %g",
                       name, out->high_frequency, out->low_frequency);
    return CR_OK;
}

// 0.1·ln(factor) + 1, or what the file says: as such, or as the quotient of two such with factors of their
// own.
static enum cr_status read_amplitude(const struct cr_json *scaling, const char *name, struct cr_rope *out)
{
    double grown = 0.1 * log(out->factor), own, all;
    if (cr_json_given(scaling, "attention_factor"))
        return positive_number(scaling, name, "attention_factor", 1, &out->amplitude);
    CR_TRY(cr_json_get_number(scaling, name, "mscale", 0, &own));
    CR_TRY(cr_json_get_number(scaling, name, "mscale_all_dim", 0, &all));
    double amplitude = own != 0 && all != 0 ? (own * grown + 1) / (all * grown + 1) : grown + 1;
    if (!isfinite(amplitude) || amplitude <= 0)
        return cr_fail(CR_INVALID, "%s: rotary scaling: mscale %g and mscale_all_dim %g make no factor", name,
                       own, all);
    out->amplitude = amplitude;
    return CR_OK;
}

// 0 counts as absent, as in Transformers.
static enum cr_status read_turns(const struct cr_json *scaling, const char *name, const char *key,
                                 double fallback, double *out)
{
    double turns;
    CR_TRY(cr_json_get_number(scaling, name, key, 0, &turns));
    if (turns != 0) return positive_number(scaling, name, key, 0, out);
    *out = fallback;
    return CR_OK;
}

// The pair, with a fraction, that turns so often within the original context.
static double pair_of(const struct cr_rope *rope, size_t head_dim, double turns)
{
    return (double)head_dim * log((double)rope->original_context / (turns * 2 * M_PI)) /
           (2 * log(rope->theta));
}

// As _compute_yarn_parameters of modeling_rope_utils.py. Its bounds are columns, though what lies between
// them are pairs.
static enum cr_status read_yarn(const struct cr_json *root, const struct cr_json *scaling, const char *name,
                                size_t head_dim, size_t context, struct cr_rope *out)
{
    double fast, slow;
    bool truncate;
    CR_TRY(read_original_context(root, scaling, name, context, &out->original_context));
    if (cr_json_member(scaling, "factor") && !cr_json_given(scaling, "factor")) {
        out->factor = (double)context / (double)out->original_context;
        CR_TRY(check_factor(name, out->factor));
    } else {
        CR_TRY(read_factor(scaling, name, out));
    }
    CR_TRY(read_amplitude(scaling, name, out));
    CR_TRY(read_turns(scaling, name, "beta_fast", 32, &fast));
    CR_TRY(read_turns(scaling, name, "beta_slow", 1, &slow));
    CR_TRY(cr_json_get_bool(scaling, name, "truncate", true, &truncate));
    if (out->theta == 1)
        return cr_fail(CR_INVALID, "%s: rope_theta: 1 leaves yarn nothing to choose from", name);
    double first = pair_of(out, head_dim, fast), last = pair_of(out, head_dim, slow);
    out->first_pair = fmax(truncate ? floor(first) : first, 0);
    out->last_pair = fmin(truncate ? ceil(last) : last, (double)head_dim - 1);
    if (out->first_pair == out->last_pair) out->last_pair += 0.001;
    return CR_OK;
}

static enum cr_status read_scaling(const struct cr_json *root, const struct cr_json *scaling,
                                   const char *name, const char *key, size_t head_dim, size_t context,
                                   struct cr_rope *out)
{
    const char *type;
    CR_TRY(cr_json_get_string(scaling, name, "type", "default", &type));
    CR_TRY(cr_json_get_string(scaling, name, "rope_type", type, &type));
    if (strcmp(type, "default") == 0) return CR_OK;
    if (strcmp(type, "dynamic") == 0) { // begins to scale beyond the context
        double factor;
        return require_positive(scaling, name, "factor", &factor);
    }
    if (strcmp(type, "linear") == 0) {
        out->scaling = CR_ROPE_LINEAR;
        return read_factor(scaling, name, out);
    }
    if (strcmp(type, "llama3") == 0) {
        out->scaling = CR_ROPE_LLAMA3;
        return read_llama3(root, scaling, name, context, out);
    }
    if (strcmp(type, "yarn") == 0) {
        out->scaling = CR_ROPE_YARN;
        return read_yarn(root, scaling, name, head_dim, context, out);
    }
    return cr_fail(
        CR_UNSUPPORTED,
        "%s: %s: rope_type \"%s\" is not supported (default, linear, dynamic, llama3 and yarn are)", name,
        key, type);
}

static bool holds_object(const struct cr_json *value)
{
    void *position = NULL;
    const char *key;
    const struct cr_json *member;
    while (cr_json_next(value, &position, &key, &member))
        if (cr_json_kind(member) == CR_JSON_OBJECT) return true;
    return false;
}

// The base and the scaling are rope_theta and rope_scaling at the top level, or both in rope_parameters, as
// newer versions of Transformers write them. If both are there, Transformers uses rope_scaling unless it is
// empty. "rope_type" was once "type".
enum cr_status cr_rope_read(const struct cr_json *root, const char *name, size_t head_dim, size_t context,
                            struct cr_rope *out)
{
    struct cr_rope read = {.factor = 1, .amplitude = 1};
    const struct cr_json *scaling = cr_json_member(root, "rope_scaling");
    bool empty = cr_json_kind(scaling) == CR_JSON_OBJECT && cr_json_count(scaling) == 0;
    const char *key = cr_json_given(root, "rope_scaling") && !empty ? "rope_scaling" : "rope_parameters";
    const struct cr_json *rope = cr_json_member(root, key);
    bool present = cr_json_given(root, key);
    if (present && cr_json_kind(rope) != CR_JSON_OBJECT)
        return cr_fail(CR_INVALID, "%s: %s is not an object", name, key);
    if (holds_object(rope))
        return cr_fail(CR_UNSUPPORTED, "%s: %s: rotations that differ by kind of layer are not supported",
                       name, key);
    const struct cr_json *holder = present && cr_json_given(rope, "rope_theta") ? rope : root;
    CR_TRY(positive_number(holder, name, "rope_theta", 10000, &read.theta));
    if (read.theta < 1) return cr_fail(CR_INVALID, "%s: rope_theta: %g is below 1", name, read.theta);
    double rotated;
    holder = present && cr_json_given(rope, "partial_rotary_factor") ? rope : root;
    CR_TRY(positive_number(holder, name, "partial_rotary_factor", 1, &rotated));
    if (rotated != 1)
        return cr_fail(CR_UNSUPPORTED, "%s: partial_rotary_factor: %g is not supported (1 is)", name,
                       rotated);
    if (present) CR_TRY(read_scaling(root, rope, name, key, head_dim, context, &read));
    *out = read;
    return CR_OK;
}

static float llama3(const struct cr_rope *rope, float plain)
{
    double original = (double)rope->original_context, wavelength = 2 * M_PI / (double)plain;
    if (wavelength < original / rope->high_frequency) return plain;
    double scaled = (double)(plain / (float)rope->factor);
    if (wavelength > original / rope->low_frequency) return (float)scaled;
    double ramp =
        (original / wavelength - rope->low_frequency) / (rope->high_frequency - rope->low_frequency);
    return (float)((1 - ramp) * scaled + ramp * (double)plain);
}

static float yarn(const struct cr_rope *rope, size_t j, float plain)
{
    float ramp = ((float)j - (float)rope->first_pair) / (float)(rope->last_pair - rope->first_pair);
    float kept = 1 - fminf(fmaxf(ramp, 0), 1);
    return plain / (float)rope->factor * (1 - kept) + plain * kept;
}

// In fp32, as Transformers computes it: models were trained with its rounding. Source of the scalings:
// modeling_rope_utils.py, _compute_*_parameters.
float cr_rope_frequency(const struct cr_rope *rope, size_t head_dim, size_t j)
{
    float plain = (float)(1 / pow(rope->theta, 2 * (double)j / (double)head_dim));
    switch (rope->scaling) {
    case CR_ROPE_PLAIN:
        return plain;
    case CR_ROPE_LINEAR:
        return plain / (float)rope->factor;
    case CR_ROPE_LLAMA3:
        return llama3(rope, plain);
    case CR_ROPE_YARN:
        return yarn(rope, j, plain);
    }
    return plain;
}
