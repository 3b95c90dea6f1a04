// tuning/: LoRA beside one linear: its sum against the definition, its gradients against finite differences.
#include "small_model.h"

#include "tuning/lora.h"

enum { ROWS = 700 }; // more than one block of rows

// One adapted down_proj (in 56, out 24) of layer 1 and vectors to walk it with.
struct walk {
    struct cr_structure *lora;
    struct cr_delta *delta;
    size_t in, out;
    float *x, *y, *dy, *dx;
};

static void make_walk(double dropout, struct walk *walk)
{
    static char down_proj[] = "down_proj";
    static char *modules[] = {down_proj};
    struct cr_lora_config config = {
        .r = 4,
        .lora_alpha = 6,
        .lora_dropout = dropout,
        .targets.modules = {modules, 1},
        .targets.layers = {(size_t[]){1}, 1},
    };
    *walk = (struct walk){0};
    assert_ok(cr_lora_new(&config, model, 3, ROWS, NULL, &walk->lora));
    assert_int_equal(walk->lora->parameters.item_count, 2);
    assert_string_equal(walk->lora->parameters.items[1].name,
                        "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight");
    assert_null(walk->lora->tuned.layers[0].delta[CR_DOWN]);
    walk->delta = walk->lora->tuned.layers[1].delta[CR_DOWN];
    cr_module_shape(&model->config, CR_DOWN, &walk->out, &walk->in);
    assert_ok(cr_allocate(ROWS * walk->in, sizeof(float), &walk->x));
    assert_ok(cr_allocate(ROWS * walk->out, sizeof(float), &walk->y));
    assert_ok(cr_allocate(ROWS * walk->out, sizeof(float), &walk->dy));
    assert_ok(cr_allocate(ROWS * walk->in, sizeof(float), &walk->dx));
    fill_normal("x", walk->x, ROWS * walk->in);
    fill_normal("dy", walk->dy, ROWS * walk->out);
    fill_normal("values", walk->lora->parameters.values, walk->lora->parameters.count);
}

static void end_walk(struct walk *walk)
{
    cr_structure_free(walk->lora);
    free(walk->x);
    free(walk->y);
    free(walk->dy);
    free(walk->dx);
}

static void go_on(struct walk *walk)
{
    struct cr_delta_part y = {walk->delta, cr_matrix_of(walk->y, CR_F32, ROWS, walk->out)};
    assert_ok(cr_deltas_forward(&y, 1, cr_matrix_of(walk->x, CR_F32, ROWS, walk->in)));
}

static void forward(struct walk *walk)
{
    memset(walk->y, 0, ROWS * walk->out * sizeof(float));
    assert_ok(walk->lora->kind->refresh(walk->lora));
    walk->lora->kind->begin_training(walk->lora, 11);
    go_on(walk);
}

static void back(struct walk *walk, float *dx)
{
    struct cr_delta_part dy = {walk->delta, cr_matrix_of(walk->dy, CR_F32, ROWS, walk->out)};
    assert_ok(cr_deltas_backward(&dy, 1, cr_matrix_of(walk->x, CR_F32, ROWS, walk->in),
                                 cr_matrix_of(dx, CR_F32, ROWS, walk->in)));
}

// Σ dy · y: its gradient by any input is what the way back gives.
static double objective(void *context)
{
    struct walk *walk = context;
    forward(walk);
    double sum = 0;
    for (size_t i = 0; i < ROWS * walk->out; i++) sum += (double)walk->dy[i] * (double)walk->y[i];
    return sum;
}

static void check_gradients(double dropout)
{
    struct walk walk;
    make_walk(dropout, &walk);
    struct cr_parameters *parameters = &walk.lora->parameters;
    forward(&walk);
    back(&walk, walk.dx);
    for (size_t i = 0; i < parameters->count; i += 7)
        check_gradient(objective, &walk, &parameters->values[i], parameters->gradients[i]);
    for (size_t i = 0; i < ROWS * walk.in; i += 331) check_gradient(objective, &walk, &walk.x[i], walk.dx[i]);

    // A second way back adds to the gradients, and one without dx leaves it alone.
    float first = parameters->gradients[5], dx = walk.dx[9];
    forward(&walk);
    back(&walk, NULL);
    assert_true(fabsf(parameters->gradients[5] - 2 * first) <= 1e-4f * fabsf(first));
    assert_true(walk.dx[9] == dx);
    end_walk(&walk);
}

static void gradients_are_those_of_differences(void **state)
{
    (void)state;
    check_gradients(0);
}

static void gradients_hold_under_dropout(void **state)
{
    (void)state;
    check_gradients(0.3);
}

static void the_sum_is_its_definition(void **state)
{
    (void)state;
    struct walk walk;
    make_walk(0.5, &walk);
    walk.lora->kind->begin_evaluation(walk.lora); // no dropout, whatever the setting
    go_on(&walk);
    const float *a = walk.lora->parameters.values, *b = a + 4 * walk.in;
    for (size_t row = 0; row < ROWS; row += 37) {
        for (size_t o = 0; o < walk.out; o++) {
            double sum = 0;
            for (size_t k = 0; k < 4; k++) {
                double low = 0;
                for (size_t i = 0; i < walk.in; i++)
                    low += (double)walk.x[row * walk.in + i] * (double)a[k * walk.in + i];
                sum += low * (double)b[o * 4 + k];
            }
            assert_true(fabs(1.5 * sum - (double)walk.y[row * walk.out + o]) < 1e-3);
        }
    }
    end_walk(&walk);
}

// What it would take gradients of is not there: of another walk, of one that kept nothing, or of none.
static void a_way_back_needs_its_forward_walk(void **state)
{
    (void)state;
    struct walk walk;
    make_walk(0, &walk);
    struct cr_matrix x = cr_matrix_of(walk.x, CR_F32, ROWS, walk.in), none = {0};
    struct cr_matrix y = cr_matrix_of(walk.y, CR_F32, ROWS, walk.out);
    const struct cr_delta_part whole = {walk.delta, y}, less = {walk.delta, cr_matrix_rows(y, 0, ROWS - 1)};
    const char *why = "a backward pass without its forward pass";
    forward(&walk);
    assert_fails(CR_INTERNAL, why, cr_deltas_backward(&less, 1, cr_matrix_rows(x, 0, ROWS - 1), none));
    walk.lora->kind->begin_evaluation(walk.lora);
    assert_fails(CR_INTERNAL, why, cr_deltas_backward(&whole, 1, x, none));
    go_on(&walk);
    walk.lora->kind->begin_training(walk.lora, 12);
    assert_fails(CR_INTERNAL, why, cr_deltas_backward(&whole, 1, x, none));
    x.rows = y.rows = ROWS + 1;
    const struct cr_delta_part more = {walk.delta, y};
    assert_fails(CR_INTERNAL, "has room for 700", cr_deltas_forward(&more, 1, x));
    end_walk(&walk);
}

static void dropout_keeps_the_mean(void **state)
{
    (void)state;
    struct walk walk;
    make_walk(0.25, &walk);
    // With A and B all one and x all one, y counts what is kept: in · r · scale on average.
    for (size_t i = 0; i < walk.lora->parameters.count; i++) walk.lora->parameters.values[i] = 1;
    for (size_t i = 0; i < ROWS * walk.in; i++) walk.x[i] = 1;
    forward(&walk);
    double mean = 0, square = 0, expected = 1.5 * 4 * (double)walk.in;
    for (size_t row = 0; row < ROWS; row++) {
        mean += (double)walk.y[row * walk.out] / ROWS;
        square += pow((double)walk.y[row * walk.out] - expected, 2) / ROWS;
    }
    assert_true(fabs(mean / expected - 1) < 0.02);
    double deviation = 1.5 * 4 * sqrt((double)walk.in * 0.25 / 0.75);
    assert_true(fabs(sqrt(square) / deviation - 1) < 0.2);
    end_walk(&walk);
}

static void a_new_adapter_changes_nothing(void **state)
{
    (void)state;
    struct walk walk;
    make_walk(0, &walk);
    assert_ok(cr_lora_initialise(walk.lora, 5));
    float most = 0;
    for (size_t i = 0; i < 4 * walk.in; i++) most = fmaxf(most, fabsf(walk.lora->parameters.values[i]));
    float bound = 1 / sqrtf((float)walk.in);
    assert_true(most <= bound && most > 0.9f * bound);
    forward(&walk);
    for (size_t i = 0; i < ROWS * walk.out; i++) assert_true(walk.y[i] == 0);
    end_walk(&walk);
}

// With one seed, modules of one shape begin apart, and drop apart.
static void modules_have_streams_of_their_own(void **state)
{
    (void)state;
    enum { TRIED = 40 };
    static char q_proj[] = "q_proj", o_proj[] = "o_proj"; // both [24, 24]
    static char *modules[] = {q_proj, o_proj};
    struct cr_lora_config config = {
        .r = 4, .lora_alpha = 4, .lora_dropout = 0.5, .targets.modules = {modules, 2}};
    struct cr_structure *lora;
    assert_ok(cr_lora_new(&config, model, 3, TRIED, NULL, &lora));
    assert_ok(cr_lora_initialise(lora, 5));
    const struct cr_parameters *parameters = &lora->parameters;
    const struct cr_parameter *first = parameters->items;
    size_t d = first->shape[1], pairs = parameters->item_count / 2, all = 4 * d;
    CR_FREE float *x = NULL;
    CR_FREE float *y = NULL;
    assert_int_equal(pairs, 2 * model->config.layers);
    for (size_t i = 1; i < pairs; i++)
        assert_memory_not_equal(parameters->values + parameters->items[2 * i].offset, parameters->values,
                                all * sizeof(float));
    // The same values in all of them: what they give differs by what is dropped alone.
    for (size_t i = 0; i < parameters->count; i++) parameters->values[i] = (float)(i % (2 * all)) / 100;
    assert_ok(cr_allocate(TRIED * d, sizeof *x, &x));
    assert_ok(cr_allocate(pairs * TRIED * d, sizeof *y, &y));
    fill_normal("x", x, TRIED * d);
    for (int training = 0; training < 2; training++) {
        memset(y, 0, pairs * TRIED * d * sizeof *y);
        if (training) lora->kind->begin_training(lora, 0);
        for (size_t i = 0; i < pairs; i++) {
            struct cr_delta_part part = {lora->tuned.layers[i / 2].delta[i % 2 ? CR_O : CR_Q],
                                         cr_matrix_of(y + i * TRIED * d, CR_F32, TRIED, d)};
            assert_ok(cr_deltas_forward(&part, 1, cr_matrix_of(x, CR_F32, TRIED, d)));
            bool same = memcmp(y + i * TRIED * d, y, TRIED * d * sizeof *y) == 0;
            assert_int_equal(same, !training || i == 0);
        }
    }
    cr_structure_free(lora);
}

// The walk of q, k and v of layer 1 there and back, in calls of `together` parts: y of each, dx, gradients.
static void walk_shared(double dropout, size_t together, float *out, size_t *count)
{
    enum { PARTS = 3 };
    static char q_proj[] = "q_proj", k_proj[] = "k_proj", v_proj[] = "v_proj";
    static char *modules[] = {v_proj, q_proj, k_proj};
    struct cr_lora_config config = {
        .r = 4, .lora_alpha = 6, .lora_dropout = dropout, .targets.modules = {modules, PARTS}};
    size_t d = model->config.hidden, all = 0;
    struct cr_structure *lora;
    assert_ok(cr_lora_new(&config, model, 3, ROWS, NULL, &lora));
    fill_normal("values", lora->parameters.values, lora->parameters.count);
    CR_FREE float *x = NULL;
    CR_FREE float *dy = NULL;
    assert_ok(cr_allocate(ROWS * d, sizeof *x, &x));
    assert_ok(cr_allocate(ROWS * PARTS * d, sizeof *dy, &dy));
    fill_normal("x", x, ROWS * d);
    fill_normal("dy", dy, ROWS * PARTS * d);
    struct cr_delta_part there[PARTS], back[PARTS];
    for (size_t i = 0; i < PARTS; i++) {
        size_t rows, in;
        cr_module_shape(&model->config, CR_Q + (enum cr_module)i, &rows, &in);
        struct cr_delta *delta = lora->tuned.layers[1].delta[CR_Q + (enum cr_module)i];
        there[i] = (struct cr_delta_part){delta, cr_matrix_of(out + all, CR_F32, ROWS, rows)};
        back[i] = (struct cr_delta_part){delta, cr_matrix_of(dy + i * ROWS * d, CR_F32, ROWS, rows)};
        all += ROWS * rows;
    }
    assert_ok(lora->kind->refresh(lora));
    lora->kind->begin_training(lora, 2);
    memset(out, 0, (all + ROWS * d) * sizeof *out);
    struct cr_matrix input = cr_matrix_of(x, CR_F32, ROWS, d), dx = cr_matrix_of(out + all, CR_F32, ROWS, d);
    for (size_t i = 0; i < PARTS; i += together) assert_ok(cr_deltas_forward(there + i, together, input));
    for (size_t i = 0; i < PARTS; i += together) assert_ok(cr_deltas_backward(back + i, together, input, dx));
    all += ROWS * d;
    memcpy(out + all, lora->parameters.gradients, lora->parameters.count * sizeof *out);
    *count = all + lora->parameters.count;
    cr_structure_free(lora);
}

static void modules_that_share_their_input_are_walked_as_each_by_itself(void **state)
{
    (void)state;
    enum { MOST = 1 << 20 };
    CR_FREE float *together = NULL;
    CR_FREE float *alone = NULL;
    assert_ok(cr_allocate(MOST, sizeof *together, &together));
    assert_ok(cr_allocate(MOST, sizeof *alone, &alone));
    for (int dropped = 0; dropped < 2; dropped++) {
        size_t count, same;
        walk_shared(dropped * 0.3, 3, together, &count);
        walk_shared(dropped * 0.3, 1, alone, &same);
        assert_true(count == same && count <= MOST);
        assert_memory_equal(together, alone, count * sizeof *alone);
    }
}

static void scales_are_those_of_peft(void **state)
{
    (void)state;
    struct cr_lora_config config = {.r = 16, .lora_alpha = 8};
    assert_true(cr_lora_scale(&config) == 0.5);
    config.use_rslora = true;
    assert_true(cr_lora_scale(&config) == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_differences),
        cmocka_unit_test(gradients_hold_under_dropout),
        cmocka_unit_test(the_sum_is_its_definition),
        cmocka_unit_test(a_way_back_needs_its_forward_walk),
        cmocka_unit_test(dropout_keeps_the_mean),
        cmocka_unit_test(a_new_adapter_changes_nothing),
        cmocka_unit_test(scales_are_those_of_peft),
        cmocka_unit_test(modules_have_streams_of_their_own),
        cmocka_unit_test(modules_that_share_their_input_are_walked_as_each_by_itself),
    };
    return cmocka_run_group_tests(tests, open_small_model, close_small_model);
}
