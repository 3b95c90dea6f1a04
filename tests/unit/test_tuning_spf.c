// tuning/: sparse fine-tuning. Its gradients are the dense ones' at the chosen places, and those of
// differences; all places are full fine-tuning, none is none; choosing is what its header says.
#include "tuning_support.h"

#include "crypto/random.h"
#include "tensor/matmul.h"
#include "tensor/ops.h"
#include "tuning/pair.h"
#include "tuning/spf.h"
#include "tuning/trainer_parts.h"

#include <math.h>

enum { ROWS = 600 }; // more than one block of rows, and of tokens

#define DATA "tests/golden/lora-gqa-tied/data.jsonl"

static struct cr_compute *compute;
static struct cr_model *model;
static char all_linear[] = "all-linear", down_proj[] = "down_proj", q_proj[] = "q_proj", v_proj[] = "v_proj";
static char *all_modules[] = {all_linear};

static int set_up(void **state)
{
    (void)state;
    assert_ok(cr_compute_new(2, &compute));
    assert_ok(cr_model_open(SMALL_MODEL, compute, CR_F32, &model));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cr_model_free(model);
    cr_compute_free(compute);
    return 0;
}

static struct cr_spf_config choice(int criterion, int granularity, double density)
{
    return (struct cr_spf_config){.criterion = criterion,
                                  .granularity = granularity,
                                  .density = density,
                                  .target_modules = {all_modules, 1},
                                  .calibration_batches = 2};
}

static void fill(const char *label, float *values, size_t count)
{
    struct cr_stream *stream;
    assert_ok(cr_stream_new(1, label, &stream));
    for (size_t i = 0; i < count; i++) values[i] = (float)cr_stream_normal(stream);
    cr_stream_free(stream);
}

// A matrix of the activation type with the values rounded to it, which `values` gets.
static struct cr_matrix rounded(enum cr_dtype act, float *values, size_t rows, size_t columns)
{
    void *data;
    assert_ok(cr_allocate(rows * columns, cr_dtype_size(act), &data));
    struct cr_matrix exact = cr_matrix_of(values, CR_F32, rows, columns);
    struct cr_matrix m = cr_matrix_of(data, act, rows, columns);
    cr_copy_matrix(compute, exact, m);
    cr_copy_matrix(compute, m, exact);
    return m;
}

// One tuned down_proj (in 56, out 24) of layer 1 and vectors to walk it with.
struct walk {
    struct cr_model *model;
    struct cr_structure *spf;
    struct cr_delta *delta;
    const struct cr_spf_selection *selection;
    size_t in, out;
    float *x, *dy;
    struct cr_matrix x_act, dy_act, y, dx;
};

static void make_walk(struct cr_model *of, int granularity, struct walk *walk)
{
    static char *modules[] = {down_proj};
    struct cr_spf_config config = choice(CR_SPF_RANDOM, granularity, 0.3);
    config.target_modules = (struct cr_string_list){modules, 1};
    config.layers_to_transform = (struct cr_size_list){(size_t[]){1}, 1};
    struct cr_spf_selection selection;
    *walk = (struct walk){.model = of};
    assert_ok(cr_spf_select(&config, of, 3, NULL, &selection));
    assert_int_equal(selection.count, 1);
    assert_ok(cr_spf_new(&config, &selection, of, true, &walk->spf));
    assert_int_equal(selection.count, 0); // taken
    assert_string_equal(walk->spf->parameters.items[0].name, "model.layers.1.mlp.down_proj.weight.values");
    walk->delta = walk->spf->tuned.layers[1].delta[CR_DOWN];
    assert_null(walk->spf->tuned.layers[0].delta[CR_DOWN]);
    cr_module_shape(&of->config, CR_DOWN, &walk->out, &walk->in);
    float *y, *dx;
    assert_ok(cr_allocate(ROWS * walk->in, sizeof(float), &walk->x));
    assert_ok(cr_allocate(ROWS * walk->out, sizeof(float), &walk->dy));
    assert_ok(cr_allocate(ROWS * walk->out, sizeof(float), &y));
    assert_ok(cr_allocate(ROWS * walk->in, sizeof(float), &dx));
    fill("x", walk->x, ROWS * walk->in);
    fill("dy", walk->dy, ROWS * walk->out);
    fill("values", walk->spf->parameters.values, walk->spf->parameters.count);
    walk->x_act = rounded(of->act, walk->x, ROWS, walk->in);
    walk->dy_act = rounded(of->act, walk->dy, ROWS, walk->out);
    walk->y = cr_matrix_of(y, CR_F32, ROWS, walk->out);
    walk->dx = cr_matrix_of(dx, CR_F32, ROWS, walk->in);
}

static void end_walk(struct walk *walk)
{
    cr_structure_free(walk->spf);
    free(walk->x);
    free(walk->dy);
    free(walk->x_act.data);
    free(walk->dy_act.data);
    free(walk->y.data);
    free(walk->dx.data);
}

static void forward(struct walk *walk)
{
    memset(walk->y.data, 0, ROWS * walk->out * sizeof(float));
    assert_ok(walk->spf->kind->refresh(walk->spf));
    assert_ok(walk->delta->kind->forward(walk->delta, walk->x_act, walk->y));
}

static void backward(struct walk *walk)
{
    assert_ok(walk->delta->kind->backward(walk->delta, walk->x_act, walk->dy_act, walk->dx));
}

// What the change is as a dense matrix [out,in]; and the same of its places alone.
static void spread(const struct walk *walk, const float *values, float *dense)
{
    struct cr_structure *spf = walk->spf;
    float *kept = spf->parameters.values;
    spf->parameters.values = (float *)(uintptr_t)values; // only read
    memset(dense, 0, walk->out * walk->in * sizeof(float));
    assert_ok(spf->kind->merge(spf, (struct cr_module_place){1, CR_DOWN},
                               cr_matrix_of(dense, CR_F32, walk->out, walk->in)));
    spf->parameters.values = kept;
}

static void check_against_dense(struct cr_model *of, int granularity)
{
    struct walk walk;
    make_walk(of, granularity, &walk);
    size_t count = walk.out * walk.in;
    CR_FREE float *dense = NULL, *sizes = NULL, *change = NULL, *mine = NULL, *places = NULL, *ones = NULL;
    assert_ok(cr_allocate(count, sizeof(float), &dense));
    assert_ok(cr_allocate(count, sizeof(float), &sizes));
    assert_ok(cr_allocate(count, sizeof(float), &change));
    assert_ok(cr_allocate(count, sizeof(float), &mine));
    assert_ok(cr_allocate(count, sizeof(float), &places));
    assert_ok(cr_allocate(walk.spf->parameters.count, sizeof(float), &ones));
    for (size_t i = 0; i < walk.spf->parameters.count; i++) ones[i] = 1;
    // Twice, since gradients are added to.
    struct cr_matrix all = cr_matrix_of(dense, CR_F32, walk.out, walk.in);
    for (size_t i = 0; i < 2; i++) {
        forward(&walk);
        backward(&walk);
        assert_ok(cr_matmul(compute, CR_TN, walk.dy_act, walk.x_act, all, i > 0));
    }
    spread(&walk, ones, places);
    spread(&walk, walk.spf->parameters.gradients, mine);
    size_t chosen = 0, equal = 0;
    for (size_t o = 0; o < walk.out; o++)
        for (size_t k = 0; k < walk.in; k++) {
            size_t at = o * walk.in + k;
            double size = 0;
            if (places[at] == 0) continue;
            chosen++;
            equal += mine[at] == dense[at];
            for (size_t t = 0; t < ROWS; t++)
                size += 2 * fabs((double)walk.dy[t * walk.out + o] * (double)walk.x[t * walk.in + k]);
            // Two sums of the same products, in whatever order, of 2·ROWS terms each.
            assert_true(fabs((double)mine[at] - (double)dense[at]) <= 2 * 2 * ROWS * 0x1p-24 * size);
        }
    assert_int_equal(chosen, walk.spf->parameters.count);
    print_message("granularity %d, type %d: %zu of %zu gradients have the dense one's bits\n", granularity,
                  of->act, equal, chosen);
    if (granularity != CR_SPF_ELEMENT) assert_int_equal(equal, chosen);

    // y is x ΔWᵀ, and dx what two ways back add of dy ΔW. Rows are rounded to the type, elements are not.
    spread(&walk, walk.spf->parameters.values, change);
    double tolerance = of->act == CR_BF16 && granularity != CR_SPF_ELEMENT ? 0.1 : 2e-4;
    for (size_t t = 0; t < ROWS; t += 41) {
        for (size_t o = 0; o < walk.out; o++) {
            double sum = 0;
            for (size_t k = 0; k < walk.in; k++)
                sum += (double)walk.x[t * walk.in + k] * (double)change[o * walk.in + k];
            assert_true(fabs(sum - (double)((float *)walk.y.data)[t * walk.out + o]) < tolerance);
        }
        for (size_t k = 0; k < walk.in; k++) {
            double sum = 0;
            for (size_t o = 0; o < walk.out; o++)
                sum += 2 * (double)walk.dy[t * walk.out + o] * (double)change[o * walk.in + k];
            assert_true(fabs(sum - (double)((float *)walk.dx.data)[t * walk.in + k]) < tolerance);
        }
    }
    end_walk(&walk);
}

static void gradients_are_the_dense_ones(void **state)
{
    (void)state;
    for (int granularity = CR_SPF_HEAD; granularity <= CR_SPF_ELEMENT; granularity++)
        check_against_dense(model, granularity);
    if (!cr_compute_has_bf16(compute)) return;
    struct cr_model *half;
    assert_ok(cr_model_open(SMALL_MODEL, compute, CR_BF16, &half));
    for (int granularity = CR_SPF_ROW; granularity <= CR_SPF_ELEMENT; granularity++)
        check_against_dense(half, granularity);
    cr_model_free(half);
}

// Σ dy · y: its gradient by any input is what the way back gives.
static double objective(struct walk *walk)
{
    forward(walk);
    double sum = 0;
    for (size_t i = 0; i < ROWS * walk->out; i++)
        sum += (double)walk->dy[i] * (double)((float *)walk->y.data)[i];
    return sum;
}

// The sum is linear in each value, so a wide step has no error but rounding.
static void check_gradient(struct walk *walk, float *value, float gradient)
{
    float kept = *value, step = 0.25f;
    *value = kept + step;
    double above = objective(walk);
    *value = kept - step;
    double below = objective(walk);
    *value = kept;
    double numeric = (above - below) / (2 * (double)step);
    if (fabs(numeric - (double)gradient) > 1e-3 * (10 + fabs(numeric)))
        fail_msg("gradient %g where differences give %g", (double)gradient, numeric);
}

static void gradients_are_those_of_differences(void **state)
{
    (void)state;
    for (int granularity = CR_SPF_ROW; granularity <= CR_SPF_ELEMENT; granularity++) {
        struct walk walk;
        make_walk(model, granularity, &walk);
        struct cr_parameters *parameters = &walk.spf->parameters;
        forward(&walk);
        backward(&walk);
        for (size_t i = 0; i < parameters->count; i += 13)
            check_gradient(&walk, &parameters->values[i], parameters->gradients[i]);
        float *x = walk.x_act.data, *dx = walk.dx.data; // F32
        for (size_t i = 0; i < ROWS * walk.in; i += 2331) check_gradient(&walk, &x[i], dx[i]);
        // One without dx leaves it alone.
        float before = dx[9];
        assert_ok(walk.delta->kind->backward(walk.delta, walk.x_act, walk.dy_act,
                                             cr_matrix_of(NULL, CR_F32, ROWS, walk.in)));
        assert_true(dx[9] == before);
        end_walk(&walk);
    }
}

static struct cr_tuning_config run_of(int method)
{
    static char data[] = DATA;
    static char *modules[] = {q_proj, v_proj};
    struct cr_tuning_config config = small_run(data, modules, 2);
    config.method = method;
    config.spf = choice(CR_SPF_WEIGHT_L1, CR_SPF_ELEMENT, 1);
    config.training.logging_steps = 1;
    return config;
}

struct losses {
    double loss[64];
    size_t count;
};

static void hear(void *context, const struct cr_event *event)
{
    struct losses *losses = context;
    if (strcmp(event->name, "train.step") != 0) return;
    for (size_t i = 0; i < event->field_count; i++)
        if (!strcmp(event->fields[i].name, "loss")) losses->loss[losses->count++] = event->fields[i].number;
}

static struct cr_trainer *start(const struct cr_tuning_config *config, struct losses *losses)
{
    struct cr_event_sink sink = {hear, losses};
    struct cr_trainer *trainer;
    *losses = (struct losses){.count = 0};
    assert_ok(cr_trainer_new(config, compute, &sink, &trainer));
    return trainer;
}

static void run(struct cr_trainer *trainer, size_t steps)
{
    struct cr_tally tally = {0};
    assert_ok(cr_trainer_run(trainer, steps, &tally, NULL, NULL));
}

// Full fine-tuning of the linears alone: what else there is gets no gradient, and without weight decay none
// is no change.
static void keep_linears_alone(struct cr_trainer *trainer)
{
    struct cr_tuned *tuned = &trainer->structure->tuned;
    for (size_t i = 0; i < trainer->model->config.layers; i++)
        tuned->layers[i].norm1_gradient = tuned->layers[i].norm2_gradient = NULL;
    tuned->norm_gradient = tuned->embedding_gradient = tuned->head_gradient = NULL;
}

static void all_places_are_full_tuning(void **state)
{
    (void)state;
    struct losses full_losses, losses;
    struct cr_tuning_config config = run_of(CR_METHOD_FULL);
    struct cr_trainer *full = start(&config, &full_losses);
    keep_linears_alone(full);
    run(full, config.training.max_steps);
    for (int granularity = CR_SPF_HEAD; granularity <= CR_SPF_ELEMENT; granularity++) {
        config = run_of(CR_METHOD_SPF);
        config.spf.granularity = granularity;
        struct cr_trainer *spf = start(&config, &losses);
        struct cr_parameters *changes = cr_trainer_parameters(spf);
        assert_int_equal(changes->count, 2 * (24 * 24 + 2 * 8 * 24 + 24 * 24 + 3 * 56 * 24));
        run(spf, config.training.max_steps);
        double most = 0, apart = 0;
        assert_int_equal(losses.count, full_losses.count);
        for (size_t i = 0; i < losses.count; i++)
            most = fmax(most, fabs(losses.loss[i] - full_losses.loss[i]));
        assert_true(losses.loss[0] == full_losses.loss[0]);
        assert_true(losses.loss[11] < losses.loss[0] - 0.5);
        // Names and order of the linears are the same, and all places of one are its weight, row by row.
        const struct cr_safetensors *base = spf->model->weights;
        for (size_t i = 0; i < changes->item_count; i++) {
            const struct cr_parameter *item = &changes->items[i];
            char name[128];
            snprintf(name, sizeof name, "%.*s", (int)(strlen(item->name) - strlen(".values")), item->name);
            const struct cr_parameter *weight = cr_parameters_find(cr_trainer_parameters(full), name);
            const struct cr_tensor_entry *entry = cr_safetensors_find(base, name);
            for (size_t k = 0; k < item->count; k++) {
                float w;
                memcpy(&w, entry->bytes.data + k * sizeof w, sizeof w);
                double whole = (double)cr_trainer_parameters(full)->values[weight->offset + k];
                apart = fmax(apart, fabs((double)w + (double)changes->values[item->offset + k] - whole));
            }
        }
        print_message("all places, granularity %d: losses within %.1e, weights within %.1e\n", granularity,
                      most, apart);
        assert_true(most < 1e-5);
        assert_true(apart < 1e-3);
        cr_trainer_free(spf);
    }
    cr_trainer_free(full);
}

// The first step's gradients beside those of full fine-tuning, in a whole model: its weights are the base's.
static void first_gradients_are_full_tunings(void **state)
{
    (void)state;
    struct losses losses;
    struct cr_tuning_config config = run_of(CR_METHOD_FULL);
    config.training.max_grad_norm = 0;
    struct cr_trainer *full = start(&config, &losses);
    run(full, 1);
    config.method = CR_METHOD_SPF;
    config.spf = choice(CR_SPF_FISHER, CR_SPF_ROW, 0.2);
    struct cr_trainer *spf = start(&config, &losses);
    run(spf, 1);
    const struct cr_parameters *mine = cr_trainer_parameters(spf), *whole = cr_trainer_parameters(full);
    for (size_t i = 0; i < mine->item_count; i++) {
        const struct cr_parameter *item = &mine->items[i];
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)(strlen(item->name) - strlen(".values")), item->name);
        const struct cr_parameter *weight = cr_parameters_find(whole, name);
        size_t rows = 0, in = item->shape[1];
        for (size_t r = 0; r < weight->shape[0] && rows < item->shape[0]; r++)
            rows += memcmp(mine->gradients + item->offset + rows * in,
                           whole->gradients + weight->offset + r * in, in * sizeof(float)) == 0;
        assert_int_equal(rows, item->shape[0]); // each is there, in order, to the bit
    }
    cr_trainer_free(spf);
    cr_trainer_free(full);
}

static void no_place_is_none(void **state)
{
    (void)state;
    struct losses lora_losses, losses;
    struct cr_tuning_config config = run_of(CR_METHOD_LORA);
    struct cr_trainer *lora = start(&config, &lora_losses);
    run(lora, 12);
    config.method = CR_METHOD_LORA_SPF;
    config.spf.density = 0;
    struct cr_trainer *both = start(&config, &losses);
    run(both, 12);
    assert_memory_equal(losses.loss, lora_losses.loss, 12 * sizeof *losses.loss);
    assert_int_equal(cr_trainer_parameters(both)->count, cr_trainer_parameters(lora)->count);
    assert_memory_equal(cr_trainer_parameters(both)->values, cr_trainer_parameters(lora)->values,
                        cr_trainer_parameters(lora)->count * sizeof(float));
    cr_trainer_free(both);
    cr_trainer_free(lora);
    config.method = CR_METHOD_SPF;
    assert_fails(CR_INVALID, "nothing would be trained", cr_trainer_new(&config, compute, NULL, &both));
    config.spf.density = 1e-6;
    assert_fails(CR_INVALID, "no room for one element", cr_trainer_new(&config, compute, NULL, &both));
}

// With LoRA on q and v, and all linears' rows: both act, and a state goes on to the same bits.
static void a_run_goes_on_where_it_was(void **state)
{
    (void)state;
    char folder[32], path[64];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/state", folder);
    for (int criterion = CR_SPF_WEIGHT_L1; criterion <= CR_SPF_RANDOM; criterion++) {
        struct cr_tuning_config config = run_of(CR_METHOD_LORA_SPF);
        struct losses losses;
        config.lora.lora_dropout = 0.1;
        config.spf = choice(criterion, criterion % 2 ? CR_SPF_ELEMENT : CR_SPF_HEAD, 0.15);
        struct cr_trainer *whole = start(&config, &losses), *first = start(&config, &losses);
        run(whole, 12);
        run(first, 5);
        assert_ok(cr_trainer_save_state(first, NULL, path));
        cr_trainer_free(first);
        struct cr_trainer *second = start(&config, &losses);
        assert_ok(cr_trainer_load_state(second, NULL, path));
        run(second, 7);
        const struct cr_parameters *values = cr_trainer_parameters(whole);
        assert_memory_equal(cr_trainer_parameters(second)->values, values->values,
                            values->count * sizeof(float));
        // LoRA's come first, and all of them moved.
        assert_non_null(strstr(values->items[0].name, "lora_A"));
        assert_non_null(strstr(values->items[values->item_count - 1].name, ".values"));
        for (size_t i = 0; i < values->item_count; i++) {
            double size = 0;
            for (size_t k = 0; k < values->items[i].count; k++)
                size += fabs((double)values->values[values->items[i].offset + k]);
            assert_true(size > 0);
        }
        cr_trainer_free(second);
        // Another seed chooses others where it is the seed that chooses.
        config.seed++;
        second = start(&config, &losses);
        assert_fails(CR_INVALID, "another run", cr_trainer_load_state(second, NULL, path));
        cr_trainer_free(second);
        cr_trainer_free(whole);
    }
    remove_folder(folder);
}

// What preflight says is enough, and not much more.
static void memory_is_told_before(void **state)
{
    (void)state;
    for (int granularity = CR_SPF_HEAD; granularity <= CR_SPF_ELEMENT; granularity++) {
        struct cr_tuning_config config = run_of(CR_METHOD_SPF);
        size_t beside, calibration, named, most;
        struct cr_trainer *trainer;
        config.spf = choice(CR_SPF_FISHER, granularity, 0.2);
        assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
        assert_ok(cr_spf_memory_of(&config.spf, &model->config, CR_F32, &beside, &calibration));
        assert_ok(cr_spf_budget(&config.spf, &model->config, &named, &most));
        const struct cr_structure *spf = trainer->structure;
        assert_true(spf->parameters.count <= most && spf->parameters.count > most - most / 8);
        size_t taken = spf->kind->memory(spf);
        print_message("granularity %d: %zu bytes beside the values, %zu told\n", granularity, taken, beside);
        assert_true(taken <= beside + 64);
        assert_true(granularity != CR_SPF_ELEMENT || beside < taken + taken / 8);
        assert_int_equal(calibration, (named + 56 * 24) * sizeof(float));
        cr_trainer_free(trainer);
        config.spf.criterion = CR_SPF_RANDOM;
        assert_ok(cr_spf_memory_of(&config.spf, &model->config, CR_F32, &beside, &calibration));
        assert_int_equal(calibration, 0);
    }
}

// The digest covers every place: it is the same for any number of threads, and for no two choices.
static void choices_are_repeatable(void **state)
{
    (void)state;
    unsigned char seen[12][CR_SHA256_SIZE];
    size_t count = 0;
    for (int criterion = CR_SPF_WEIGHT_L1; criterion <= CR_SPF_RANDOM; criterion++)
        for (int granularity = CR_SPF_HEAD; granularity <= CR_SPF_ELEMENT; granularity++) {
            struct cr_tuning_config config = run_of(CR_METHOD_SPF);
            config.spf = choice(criterion, granularity, 0.2);
            for (size_t threads = 1; threads <= 3; threads += 2) {
                struct cr_compute *own;
                struct cr_trainer *trainer;
                unsigned char digest[CR_SHA256_SIZE];
                assert_ok(cr_compute_new(threads, &own));
                assert_ok(cr_trainer_new(&config, own, NULL, &trainer));
                assert_ok(cr_trainer_digest(trainer, digest));
                if (threads == 1)
                    memcpy(seen[count], digest, sizeof digest);
                else
                    assert_memory_equal(seen[count], digest, sizeof digest);
                cr_trainer_free(trainer);
                cr_compute_free(own);
            }
            for (size_t i = 0; i < count; i++) assert_memory_not_equal(seen[i], seen[count], CR_SHA256_SIZE);
            count++;
        }
}

// Scores that are the same in threes, so that many are equal.
static enum cr_status made_scores(void *context, size_t i, float *score)
{
    const size_t *counts = context;
    for (size_t k = 0; k < counts[i]; k++) score[k] = (float)((k * 7919 + i * 31) % 97 / 3);
    return CR_OK;
}

// By sorting, the first of equal ones first.
static void equal_scores_go_by_place(void **state)
{
    (void)state;
    struct cr_spf_config config = choice(CR_SPF_GRADIENT, CR_SPF_ELEMENT, 0.37);
    struct cr_module_place *places;
    size_t count, counts[2 * CR_MODULES], all = 0;
    assert_ok(cr_spf_places(&config, &model->config, &places, &count));
    for (size_t i = 0; i < count; i++) {
        size_t out, in;
        cr_module_shape(&model->config, places[i].module, &out, &in);
        all += counts[i] = out * in;
    }
    size_t room = (size_t)(0.37 * (double)all + 0.5), taken = 0;
    bool *wanted;
    assert_ok(cr_allocate(all, sizeof *wanted, &wanted));
    float score[4096];
    for (int level = 32; level >= 0; level--)
        for (size_t i = 0, at = 0; i < count; at += counts[i++]) {
            assert_true(counts[i] <= 4096);
            assert_ok(made_scores(counts, i, score));
            for (size_t k = 0; k < counts[i]; k++)
                if (score[k] == (float)level && taken < room) {
                    wanted[at + k] = true;
                    taken++;
                }
        }
    struct cr_spf_selection selection;
    const struct cr_spf_source source = {made_scores, counts};
    assert_ok(cr_spf_select(&config, model, 0, &source, &selection));
    assert_int_equal(selection.values, room);
    for (size_t i = 0, at = 0, part = 0; i < count; at += counts[i++]) {
        assert_true(part < selection.count);
        const struct cr_spf_part *of = &selection.parts[part++];
        assert_true(of->place.layer == places[i].layer && of->place.module == places[i].module);
        for (size_t r = 0, j = 0; r < of->out; r++)
            for (size_t c = 0; c < of->in; c++) {
                bool chosen = j < of->elements.start[r + 1] && of->elements.index[j] == c;
                j += chosen;
                assert_int_equal(chosen, wanted[at + r * of->in + c]);
            }
    }
    cr_spf_selection_release(&selection);
    cr_free(&places);
    free(wanted);
}

// Heads of q, k and v are whole; other modules go by rows.
static void heads_stay_together(void **state)
{
    (void)state;
    struct cr_spf_config config = choice(CR_SPF_WEIGHT_L1, CR_SPF_HEAD, 0.5);
    struct cr_spf_selection selection;
    assert_ok(cr_spf_select(&config, model, 0, NULL, &selection));
    size_t heads = 0, rows = 0;
    for (size_t i = 0; i < selection.count; i++) {
        const struct cr_spf_part *part = &selection.parts[i];
        bool of_heads = part->place.module >= CR_Q && part->place.module <= CR_V;
        size_t size = of_heads ? model->config.head_dim : 1;
        assert_int_equal(part->row_count % size, 0);
        for (size_t r = 0; r < part->row_count; r++) assert_int_equal(part->rows[r] % size, r % size);
        *(of_heads ? &heads : &rows) += part->row_count;
    }
    assert_true(heads > 0 && rows > 0);
    cr_spf_selection_release(&selection);
}

static void a_server_cannot_calibrate(void **state)
{
    (void)state;
    struct cr_tuning_config config = run_of(CR_METHOD_SPF);
    struct cr_trainer *trainer;
    config.data.train = NULL;
    config.spf.density = 0.1;
    config.spf.criterion = CR_SPF_FISHER;
    assert_fails(CR_INVALID, "server has not when it begins",
                 cr_trainer_new(&config, compute, NULL, &trainer));
    // By the checkpoint or the seed it chooses what a silo does.
    for (int criterion = CR_SPF_WEIGHT_L1; criterion <= CR_SPF_RANDOM; criterion += CR_SPF_RANDOM) {
        static char data[] = DATA;
        unsigned char digest[2][CR_SHA256_SIZE];
        config.spf.criterion = criterion;
        for (size_t i = 0; i < 2; i++) {
            config.data.train = i ? data : NULL;
            assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
            assert_ok(cr_trainer_digest(trainer, digest[i]));
            cr_trainer_free(trainer);
        }
        assert_memory_equal(digest[0], digest[1], CR_SHA256_SIZE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_the_dense_ones),
        cmocka_unit_test(gradients_are_those_of_differences),
        cmocka_unit_test(all_places_are_full_tuning),
        cmocka_unit_test(first_gradients_are_full_tunings),
        cmocka_unit_test(no_place_is_none),
        cmocka_unit_test(a_run_goes_on_where_it_was),
        cmocka_unit_test(memory_is_told_before),
        cmocka_unit_test(choices_are_repeatable),
        cmocka_unit_test(equal_scores_go_by_place),
        cmocka_unit_test(heads_stay_together),
        cmocka_unit_test(a_server_cannot_calibrate),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
