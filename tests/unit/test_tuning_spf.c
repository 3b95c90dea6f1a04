// tuning/: sparse fine-tuning of one linear. Its gradients are the dense ones' at the chosen places, and
// those of differences; choosing is what its header says.
#include "small_model.h"

#include "tensor/matmul.h"
#include "tensor/ops.h"
#include "tuning/spf.h"

enum { ROWS = 600 }; // more than one block of rows, and of tokens

static char down_proj[] = "down_proj";

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
    struct cr_spf_config config = spf_choice(CR_SPF_RANDOM, granularity, 0.3);
    config.targets.modules = (struct cr_string_list){modules, 1};
    config.targets.layers = (struct cr_size_list){(size_t[]){1}, 1};
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
    fill_normal("x", walk->x, ROWS * walk->in);
    fill_normal("dy", walk->dy, ROWS * walk->out);
    fill_normal("values", walk->spf->parameters.values, walk->spf->parameters.count);
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
    assert_ok(cr_deltas_forward(&(struct cr_delta_part){walk->delta, walk->y}, 1, walk->x_act));
}

static void backward(struct walk *walk, struct cr_matrix dx)
{
    assert_ok(cr_deltas_backward(&(struct cr_delta_part){walk->delta, walk->dy_act}, 1, walk->x_act, dx));
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
        backward(&walk, walk.dx);
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
    assert_ok(cr_model_open(SMALL_MODEL, CR_MODEL_AS_FILED, NULL, compute, CR_BF16, &half));
    for (int granularity = CR_SPF_ROW; granularity <= CR_SPF_ELEMENT; granularity++)
        check_against_dense(half, granularity);
    cr_model_free(half);
}

// Σ dy · y: its gradient by any input is what the way back gives.
static double objective(void *context)
{
    struct walk *walk = context;
    forward(walk);
    double sum = 0;
    for (size_t i = 0; i < ROWS * walk->out; i++)
        sum += (double)walk->dy[i] * (double)((float *)walk->y.data)[i];
    return sum;
}

static void gradients_are_those_of_differences(void **state)
{
    (void)state;
    for (int granularity = CR_SPF_ROW; granularity <= CR_SPF_ELEMENT; granularity++) {
        struct walk walk;
        make_walk(model, granularity, &walk);
        struct cr_parameters *parameters = &walk.spf->parameters;
        forward(&walk);
        backward(&walk, walk.dx);
        for (size_t i = 0; i < parameters->count; i += 13)
            check_gradient(objective, &walk, &parameters->values[i], parameters->gradients[i]);
        float *x = walk.x_act.data, *dx = walk.dx.data; // F32
        for (size_t i = 0; i < ROWS * walk.in; i += 2331) check_gradient(objective, &walk, &x[i], dx[i]);
        // One without dx leaves it alone.
        float before = dx[9];
        backward(&walk, cr_matrix_of(NULL, CR_F32, ROWS, walk.in));
        assert_true(dx[9] == before);
        end_walk(&walk);
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
    struct cr_spf_config config = spf_choice(CR_SPF_GRADIENT, CR_SPF_ELEMENT, 0.37);
    struct cr_module_place *places;
    size_t count, counts[2 * CR_MODULES], all = 0;
    config.targets.layers = (struct cr_size_list){(size_t[]){99}, 1};
    assert_fails(CR_INVALID, "spf.layers_to_transform: 99",
                 cr_spf_places(&config, &model->config, &places, &count));
    config.targets.layers.count = 0;
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
    struct cr_spf_config config = spf_choice(CR_SPF_WEIGHT_L1, CR_SPF_HEAD, 0.5);
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

// By seed, and in each module by itself.
static void a_random_choice_is_drawn(void **state)
{
    (void)state;
    struct cr_spf_config config = spf_choice(CR_SPF_RANDOM, CR_SPF_ROW, 0.5);
    config.targets.modules = (struct cr_string_list){(char *[]){down_proj}, 1}; // of two layers
    struct cr_spf_selection choices[3];
    for (uint64_t i = 0; i < 3; i++) {
        assert_ok(cr_spf_select(&config, model, i / 2, NULL, &choices[i]));
        assert_int_equal(choices[i].count, 2);
    }
    for (size_t i = 1; i < 3; i++) {
        const struct cr_spf_part *a = &choices[0].parts[0], *b = &choices[i].parts[0];
        bool same =
            a->row_count == b->row_count && memcmp(a->rows, b->rows, a->row_count * sizeof *a->rows) == 0;
        assert_int_equal(same, i == 1);
    }
    const struct cr_spf_part *a = &choices[0].parts[0], *b = &choices[0].parts[1];
    assert_true(a->row_count != b->row_count ||
                memcmp(a->rows, b->rows, a->row_count * sizeof *a->rows) != 0);
    for (size_t i = 0; i < 3; i++) cr_spf_selection_release(&choices[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_the_dense_ones), cmocka_unit_test(gradients_are_those_of_differences),
        cmocka_unit_test(equal_scores_go_by_place),     cmocka_unit_test(heads_stay_together),
        cmocka_unit_test(a_random_choice_is_drawn),
    };
    return cmocka_run_group_tests(tests, open_small_model, close_small_model);
}
