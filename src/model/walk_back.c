// The backward pass through a layer.
#include "model/walk.h"

#include "model/norm.h"
#include "tensor/ops.h"

#include <string.h>

static const struct cr_modules of_o = {CR_O, 1}, of_down = {CR_DOWN, 1};

// Whether a delta of these modules is trained.
static bool trains(const struct cr_layer_tuning *tuning, struct cr_modules modules)
{
    for (size_t i = 0; tuning && i < modules.count; i++) {
        const struct cr_delta *delta = tuning->delta[modules.first + i];
        if (delta && delta->kind->backward) return true;
    }
    return false;
}

// Whether a delta or a bias of these modules is trained.
static bool trains_any(const struct cr_layer_tuning *tuning, struct cr_modules modules)
{
    for (size_t i = 0; i < modules.count; i++)
        if (tuning->bias_gradient[modules.first + i]) return true;
    return trains(tuning, modules);
}

static size_t lowest_of_layer(const struct cr_model_config *config, const struct cr_layer_tuning *tuning,
                              size_t layer)
{
    if (tuning->norm1_gradient || tuning->norm1_bias_gradient) return cr_place_of(layer, CR_AT_NORM1);
    if (trains_any(tuning, cr_qkv_modules(config)) || tuning->q_norm_gradient || tuning->k_norm_gradient ||
        tuning->prefix.gradient.data)
        return cr_place_of(layer, CR_AT_QKV);
    if (trains_any(tuning, of_o)) return cr_place_of(layer, CR_AT_O);
    if (tuning->norm2_gradient || tuning->norm2_bias_gradient) return cr_place_of(layer, CR_AT_NORM2);
    if (trains_any(tuning, cr_gate_up_modules(config))) return cr_place_of(layer, CR_AT_GATE_UP);
    if (trains_any(tuning, of_down)) return cr_place_of(layer, CR_AT_DOWN);
    return SIZE_MAX;
}

size_t cr_walk_lowest(const struct cr_walk *walk, const struct cr_tuned *tuned)
{
    size_t layers = walk->model->config.layers;
    if (!tuned) return SIZE_MAX;
    if (tuned->embedding_gradient || tuned->position_gradient) return 0;
    for (size_t i = 0; tuned->layers && i < layers; i++) {
        size_t lowest = lowest_of_layer(&walk->model->config, &tuned->layers[i], i);
        if (lowest != SIZE_MAX) return lowest;
    }
    // After all layers: the final norm, then the head.
    if (tuned->norm_gradient || tuned->norm_bias_gradient) return cr_place_of(layers, 0);
    return tuned->head_gradient ? cr_place_of(layers, 0) + 1 : SIZE_MAX;
}

// Adds to the gradients of the modules' biases and deltas, and, if `below`, sets dx = dy W plus the deltas'
// contribution. dx may be x: if there are deltas, the sum is taken in F32 elsewhere.
static enum cr_status project_back(struct cr_walk *walk, const struct cr_linear *linear,
                                   const struct cr_layer_tuning *tuning, struct cr_modules modules,
                                   struct cr_matrix x, struct cr_matrix dy, struct cr_matrix dx, bool below)
{
    bool deltas = trains(tuning, modules);
    struct cr_matrix sum = dx;
    if (deltas) {
        sum = cr_matrix_of(below ? walk->sum : NULL, CR_F32, x.rows, x.columns);
        sum.stride = cr_spaced_stride(CR_F32, x.columns);
    }
    if (below) CR_TRY(linear->provider->backward(linear, dy, sum, false));
    struct cr_delta_part parts[CR_MODULES];
    CR_TRY(cr_deltas_backward(parts, cr_walk_deltas(walk, tuning, modules, dy, parts), x, sum));
    for (size_t i = 0, at = 0; tuning && i < modules.count; i++) {
        enum cr_module module = modules.first + (enum cr_module)i;
        size_t out, in;
        cr_module_shape(&walk->model->config, module, &out, &in);
        if (tuning->bias_gradient[module])
            cr_add_column_sums(walk->model->compute, cr_matrix_columns(dy, at, out),
                               tuning->bias_gradient[module]);
        at += out;
    }
    if (below && deltas) cr_copy_matrix(walk->model->compute, sum, dx);
    return CR_OK;
}

// The stream's gradient in the type that products take.
static struct cr_matrix upstream(struct cr_walk *walk, size_t rows)
{
    struct cr_matrix gradient = cr_matrix_rows(walk->gradient, 0, rows);
    if (walk->model->act == CR_F32) return gradient;
    struct cr_matrix rounded = cr_matrix_rows(walk->upstream, 0, rows);
    cr_copy_matrix(walk->model->compute, gradient, rounded);
    return rounded;
}

// The inverse of cr_walk_join for walk->djoined: sets `own`, and adds to the prefix's gradient, sequence by
// sequence.
static void split(struct cr_walk *walk, const struct cr_view *view, const struct cr_layer_prefix *prefix,
                  struct cr_matrix own)
{
    const struct cr_attention_layout *layout = &view->layout;
    for (size_t s = 0; s < layout->sequences; s++) {
        size_t first = layout->offset[s], count = layout->offset[s + 1] - first;
        size_t at = layout->key_offset[s], past = layout->past[s];
        cr_copy_matrix(walk->model->compute, cr_matrix_rows(walk->djoined, at + past, count),
                       cr_matrix_rows(own, first, count));
        if (prefix->gradient.data)
            cr_add_scaled(walk->model->compute, prefix->gradient, 1, cr_matrix_rows(walk->djoined, at, past));
    }
}

// Computes the gradient of qkv before rotation, and of the prefix, from that of attention's output.
static enum cr_status attend_back(struct cr_walk *walk, const struct cr_view *view, size_t layer,
                                  const struct cr_layer_tuning *tuning, struct cr_matrix dqkv)
{
    struct cr_compute *compute = walk->model->compute;
    size_t rows = view->rows, head_dim = walk->shape.head_dim, q_columns = walk->shape.heads * head_dim,
           kv_columns = walk->shape.kv_heads * head_dim;
    const struct cr_trace *trace = cr_walk_trace(walk, layer);
    struct cr_attention_shape shape = cr_walk_shape(walk, layer);
    struct cr_matrix qkv = cr_matrix_rows(trace->qkv, 0, rows);
    struct cr_matrix kv = cr_matrix_columns(qkv, q_columns, 2 * kv_columns);
    struct cr_matrix own = cr_matrix_columns(dqkv, q_columns, 2 * kv_columns), dkv = own;
    if (walk->size.prefix > 0) {
        cr_walk_join(walk, view, &tuning->prefix, kv);
        kv = walk->joined;
        dkv = walk->djoined;
    }
    CR_TRY(cr_attention_backward(
        compute, &shape, &view->layout, cr_matrix_columns(qkv, 0, q_columns),
        cr_matrix_columns(kv, 0, kv_columns), cr_matrix_columns(kv, kv_columns, kv_columns),
        cr_matrix_rows(trace->attended, 0, rows), trace->log_sum, cr_matrix_rows(walk->dattended, 0, rows),
        cr_matrix_columns(dqkv, 0, q_columns), cr_matrix_columns(dkv, 0, kv_columns),
        cr_matrix_columns(dkv, kv_columns, kv_columns), walk->attention_scratch));
    if (walk->size.prefix > 0) split(walk, view, &tuning->prefix, own);
    if (walk->model->config.learned_positions) return CR_OK;
    cr_rope(compute, cr_matrix_columns(dqkv, 0, q_columns + kv_columns),
            walk->shape.heads + walk->shape.kv_heads, head_dim, walk->cosine, walk->sine, view->position,
            true);
    return CR_OK;
}

// Turns the gradient of the normalised heads into that of the heads themselves, in place.
static void norm_heads_back(struct cr_walk *walk, size_t layer, const struct cr_layer_tuning *tuning,
                            struct cr_matrix dqkv)
{
    const struct cr_layer *weights = &walk->model->layers[layer];
    struct cr_compute *compute = walk->model->compute;
    struct cr_trace *trace = cr_walk_trace(walk, layer);
    size_t heads = walk->shape.heads + walk->shape.kv_heads, head_dim = walk->shape.head_dim;
    struct cr_matrix x = cr_walk_unnormed(walk, trace, dqkv.rows);
    struct cr_matrix dx = cr_matrix_rows(walk->dexact, 0, dqkv.rows);
    memset(dx.data, 0, dx.rows * dx.stride * sizeof(float));
    for (size_t i = 0; i < heads; i++) {
        bool of_q = i < walk->shape.heads;
        float *gradient = NULL;
        if (tuning) gradient = of_q ? tuning->q_norm_gradient : tuning->k_norm_gradient;
        cr_rms_norm_backward(
            compute, cr_matrix_columns(x, i * head_dim, head_dim), of_q ? weights->q_norm : weights->k_norm,
            trace->head_inverse + i * walk->size.rows, cr_matrix_columns(dqkv, i * head_dim, head_dim),
            cr_matrix_columns(dx, i * head_dim, head_dim), gradient);
    }
    cr_copy_matrix(compute, dx, cr_matrix_columns(dqkv, 0, heads * head_dim));
}

static enum cr_status mlp_back(struct cr_walk *walk, const struct cr_view *view, size_t layer,
                               const struct cr_layer_tuning *tuning, size_t lowest)
{
    const struct cr_model *model = walk->model;
    const struct cr_layer *weights = &model->layers[layer];
    struct cr_trace *trace = cr_walk_trace(walk, layer);
    struct cr_modules modules = cr_gate_up_modules(&model->config);
    size_t rows = view->rows;
    struct cr_matrix middle = cr_walk_residual(walk, 2 * layer + 1, rows);
    struct cr_matrix gate_up = cr_matrix_rows(trace->gate_up, 0, rows);
    struct cr_matrix hidden = cr_matrix_rows(walk->hidden, 0, rows);
    struct cr_matrix normed = cr_matrix_rows(walk->normed, 0, rows);
    bool below = lowest < cr_place_of(layer, CR_AT_DOWN);
    if (trains(tuning, of_down)) cr_walk_activate(walk, gate_up, hidden);
    CR_TRY(project_back(walk, &weights->down, tuning, of_down, hidden, upstream(walk, rows), hidden, below));
    if (!below) return CR_OK;

    if (model->config.gelu)
        cr_gelu_backward(model->compute, gate_up, hidden, gate_up, model->config.gelu_erf);
    else
        cr_swiglu_backward(model->compute, gate_up, hidden, gate_up);
    below = lowest < cr_place_of(layer, CR_AT_GATE_UP);
    if (trains(tuning, modules)) cr_norm_forward(model, &weights->norm2, middle, normed, trace->norm2);
    CR_TRY(project_back(walk, &weights->gate_up, tuning, modules, normed, gate_up, normed, below));
    if (!below) return CR_OK;
    cr_norm_backward(model, &weights->norm2, middle, trace->norm2, normed,
                     cr_matrix_rows(walk->gradient, 0, rows), tuning ? tuning->norm2_gradient : NULL,
                     tuning ? tuning->norm2_bias_gradient : NULL);
    return CR_OK;
}

enum cr_status cr_walk_layer_back(struct cr_walk *walk, const struct cr_view *view, size_t layer,
                                  const struct cr_layer_tuning *tuning, size_t lowest)
{
    const struct cr_model *model = walk->model;
    const struct cr_layer *weights = &model->layers[layer];
    struct cr_trace *trace = cr_walk_trace(walk, layer);
    struct cr_modules modules = cr_qkv_modules(&model->config);
    size_t rows = view->rows;
    CR_TRY(mlp_back(walk, view, layer, tuning, lowest));
    if (lowest >= cr_place_of(layer, CR_AT_NORM2)) return CR_OK;

    bool below = lowest < cr_place_of(layer, CR_AT_O);
    CR_TRY(project_back(walk, &weights->o, tuning, of_o, cr_matrix_rows(trace->attended, 0, rows),
                        upstream(walk, rows), cr_matrix_rows(walk->dattended, 0, rows), below));
    if (!below) return CR_OK;

    struct cr_matrix input = cr_walk_residual(walk, 2 * layer, rows);
    struct cr_matrix normed = cr_matrix_rows(walk->normed, 0, rows);
    struct cr_matrix dqkv = cr_matrix_rows(walk->dqkv, 0, rows);
    CR_TRY(attend_back(walk, view, layer, tuning, dqkv));
    if (model->config.head_norms) norm_heads_back(walk, layer, tuning, dqkv);
    below = lowest < cr_place_of(layer, CR_AT_QKV);
    if (trains(tuning, modules)) cr_norm_forward(model, &weights->norm1, input, normed, trace->norm1);
    CR_TRY(project_back(walk, &weights->qkv, tuning, modules, normed, dqkv, normed, below));
    if (!below) return CR_OK;
    cr_norm_backward(model, &weights->norm1, input, trace->norm1, normed,
                     cr_matrix_rows(walk->gradient, 0, rows), tuning ? tuning->norm1_gradient : NULL,
                     tuning ? tuning->norm1_bias_gradient : NULL);
    return CR_OK;
}
