// A model whose products are computed by an accelerator under pads, against the same model in this process.
#include "deep_support.h"
#include "slicing_support.h"

#include "base/file.h"

static double distance(const float *got, const float *wanted, size_t count)
{
    double off = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        off += pow((double)got[i] - (double)wanted[i], 2);
        size += pow((double)wanted[i], 2);
    }
    return sqrt(off / fmax(size, 1e-60));
}

struct outcome {
    struct collectors *gradients;
    float *logits;
    size_t logit_count;
    double loss;
};

// A walk forward and back over a batch that follows from the vocabulary.
static struct outcome walk(struct cr_model *model)
{
    const size_t lengths[] = {13, 1, 30};
    struct sample sample = random_sample(lengths, 3, model->config.vocabulary, 9);
    struct cr_pass *pass;
    size_t rows = sample.rows.rows;
    struct outcome out = {.gradients = collectors_new(model)};
    assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = rows, .sequences = 3, .backward = true}, NULL,
                          &pass));
    assert_ok(cr_pass_forward(pass, &out.gradients->tuned, &sample.rows, 0, model->config.layers));
    CR_FREE uint32_t *all = NULL;
    assert_ok(cr_allocate(rows, sizeof *all, &all));
    for (size_t i = 0; i < rows; i++) all[i] = (uint32_t)i;
    out.logit_count = rows * model->config.vocabulary;
    assert_ok(cr_allocate(out.logit_count, sizeof *out.logits, &out.logits));
    assert_ok(cr_pass_logits(pass, all, rows, out.logits));
    assert_ok(cr_pass_loss(pass, &out.gradients->tuned, &sample.rows, 1, &out.loss, NULL));
    assert_ok(cr_pass_backward(pass, &out.gradients->tuned, &sample.rows, 0, model->config.layers));
    cr_pass_free(pass);
    sample_free(&sample);
    return out;
}

static void release(struct outcome *outcome)
{
    collectors_free(outcome->gradients);
    free(outcome->logits);
}

static void compare(const char *what, const struct outcome *got, const struct outcome *wanted, double bound)
{
    double off = distance(got->logits, wanted->logits, got->logit_count);
    if (!(off < bound)) fail_msg("%s: logits are off by %g", what, off);
    for (size_t i = 0; i < got->gradients->parameters; i++) {
        off = distance(got->gradients->gradient[i], wanted->gradients->gradient[i], got->gradients->count[i]);
        if (!(off < bound)) fail_msg("%s: gradient %zu is off by %g", what, i, off);
    }
}

static void check(const char *base, const char *address, unsigned digits, double bound)
{
    struct hired hired;
    struct cr_compute *compute;
    struct cr_model *local, *outside;
    struct cr_slicing *slicing;
    hire(&hired, base, address);
    assert_ok(cr_compute_new(2, &compute));
    assert_ok(cr_model_open(base, CR_MODEL_IN_8BIT, NULL, compute, CR_F32, &local));
    assert_ok(cr_model_open(base, CR_MODEL_OUTSIDE, NULL, compute, CR_F32, &outside));
    const struct cr_slicing_options options = {.accelerators = (char *[]){hired.address},
                                               .accelerator_count = 1,
                                               .digits = digits,
                                               .rows = 44,
                                               .threads = 1,
                                               .patience = 60};
    assert_ok(cr_slicing_open(&options, outside, &slicing));
    struct outcome wanted = walk(local), got = walk(outside), again = walk(outside);
    compare(base, &got, &wanted, bound);
    assert_memory_equal(got.logits, again.logits, got.logit_count * sizeof *got.logits);
    struct cr_slicing_tally tally = cr_slicing_tally(slicing);
    // Forward, the head twice (logits, loss), and back but for what lies below the lowest gradient's.
    size_t linears = 4 * local->config.layers;
    assert_int_equal(tally.products, 2 * (linears + 2 + 1 + linears));
    assert_true(tally.rows == tally.pads && tally.blinded > 0);
    // All that was estimated, since every product was asked for.
    assert_int_equal(tally.outside, cr_slicing_memory_of(outside, 44, 1, 1, 0).outside);
    release(&wanted);
    release(&got);
    release(&again);
    cr_slicing_close(slicing);
    cr_model_free(outside);
    cr_model_free(local);
    cr_compute_free(compute);
    dismiss(&hired);
}

static void masked_products_are_those_of_the_base_in_8_bits(void **state)
{
    (void)state;
    const char *const models[] = {"tests/golden/llama-gqa",     "tests/golden/llama-mha-tied",
                                  "tests/golden/qwen2-untied",  "tests/golden/qwen3",
                                  "tests/golden/gpt2",          "tests/golden/gpt2-untied",
                                  "tests/golden/mistral-window"};
    char path[300];
    snprintf(path, sizeof path, "unix:%s", in_directory("a.sock"));
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) check(models[i], path, 4, 2e-5);
    check(models[0], "127.0.0.1:0", 4, 2e-5);
    check(models[0], "tls:127.0.0.1:0", 4, 2e-5);
    check(models[0], path, 3, 5e-3);
    check(deep_model(), path, 4, 3e-4);
    check(deep_model(), path, 3, 1e-1);
    check("examples/demo/model", path, 4, 1e-4);
}

static void those_of_a_real_model(void **state)
{
    (void)state;
    CR_FREE char *model = NULL;
    char path[300];
    snprintf(path, sizeof path, "unix:%s", in_directory("real.sock"));
    assert_ok(cr_path_join(shared_data(), "models/stories260K", &model));
    check(model, path, 4, 1e-4);
}

enum { LINE_ROWS = 5 };

// One linear of a small model, for questions of LINE_ROWS rows.
struct line {
    struct hired hired;
    struct cr_compute *compute;
    struct cr_model *model;
    struct cr_slicing *slicing;
    float x[LINE_ROWS * 16], y[LINE_ROWS * 32];
};

static void open_line(struct line *line)
{
    const char *base = "tests/golden/llama-gqa";
    *line = (struct line){.x = {1}};
    hire(&line->hired, base, "127.0.0.1:0");
    assert_ok(cr_compute_new(1, &line->compute));
    assert_ok(cr_model_open(base, CR_MODEL_OUTSIDE, NULL, line->compute, CR_F32, &line->model));
    const struct cr_slicing_options options = {.accelerators = (char *[]){line->hired.address},
                                               .accelerator_count = 1,
                                               .digits = 4,
                                               .rows = LINE_ROWS,
                                               .threads = 1,
                                               .patience = 60};
    assert_ok(cr_slicing_open(&options, line->model, &line->slicing));
}

static enum cr_status ask_line(struct line *line)
{
    struct cr_linear *linear = cr_frozen_linear(line->model, 0);
    assert_true(linear->in == 16 && linear->out == 32);
    return linear->provider->forward(linear, cr_matrix_of(line->x, CR_F32, LINE_ROWS, 16),
                                     cr_matrix_of(line->y, CR_F32, LINE_ROWS, 32));
}

static void close_line(struct line *line)
{
    cr_slicing_close(line->slicing);
    cr_model_free(line->model);
    cr_compute_free(line->compute);
    dismiss(&line->hired);
}

// Again and again: what it took is given back.
static void a_row_that_is_not_finite_is_refused(void **state)
{
    (void)state;
    struct line line;
    open_line(&line);
    line.x[2 * 16 + 5] = NAN;
    for (size_t i = 0; i < 3; i++) assert_fails(CR_INVALID, "row 2 holds NaN", ask_line(&line));
    line.x[2 * 16 + 5] = 0;
    assert_ok(ask_line(&line));
    close_line(&line);
}

// As many as the queue has lie ready, and none are made meanwhile; one question more is still answered.
static void held_pads_are_made_before_alone(void **state)
{
    (void)state;
    struct line line;
    open_line(&line);
    assert_ok(ask_line(&line));
    for (size_t i = 0; i < 3; i++) {
        assert_ok(cr_slicing_hold_pads(line.slicing, true));
        struct cr_slicing_tally held = cr_slicing_tally(line.slicing);
        assert_int_equal(held.ready, LINE_ROWS);
        assert_ok(ask_line(&line));
        struct cr_slicing_tally used = cr_slicing_tally(line.slicing);
        assert_int_equal(used.ready, 0);
        assert_true(used.offline == held.offline && used.processors > held.processors);
        assert_ok(ask_line(&line));
        assert_true(cr_slicing_tally(line.slicing).offline > held.offline);
        assert_ok(cr_slicing_hold_pads(line.slicing, false));
    }
    close_line(&line);
}

static enum cr_status multiply(struct cr_model *model, size_t i, float *y)
{
    const struct cr_linear *linear = cr_frozen_linear(model, i);
    float x[2 * 64];
    assert_true(linear->in <= 64);
    for (size_t k = 0; k < 2 * linear->in; k++) x[k] = sinf((float)(i + k));
    return linear->provider->forward(linear, cr_matrix_of(x, CR_F32, 2, linear->in),
                                     cr_matrix_of(y, CR_F32, 2, linear->out));
}

// The checkpoint of `base` without the embedding's and layer 0's tensors, in `folder`.
static void write_rest(const char *base, const char *folder)
{
    CR_FREE char *path = NULL, *copy = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer config = {0};
    CR_CLEANUP(cr_safetensors_release) struct cr_safetensors *file = NULL;
    struct cr_tensor_entry rest[64];
    size_t count = 0;
    assert_ok(cr_directory_make(folder, true));
    assert_ok(cr_path_join(base, "config.json", &path));
    assert_ok(cr_path_join(folder, "config.json", &copy));
    assert_ok(cr_file_read(path, 1 << 20, &config));
    write_bytes(copy, cr_buffer_slice(&config));
    free(copy);
    copy = NULL;
    assert_ok(cr_path_join(folder, "model.safetensors", &copy));
    assert_ok(cr_safetensors_open(base, &file));
    for (size_t i = 0; i < cr_safetensors_count(file); i++) {
        const struct cr_tensor_entry *entry = cr_safetensors_at(file, i);
        if (strstr(entry->name, "layers.0.") || strstr(entry->name, "embed_tokens")) continue;
        assert_true(count < sizeof rest / sizeof *rest);
        rest[count++] = *entry;
    }
    assert_ok(cr_safetensors_write(copy, rest, count, false));
}

// A part of a model has its own products computed, whoever has the rest.
static void a_part_asks_for_its_own_alone(void **state)
{
    (void)state;
    const char *base = "tests/golden/llama-mha-tied";
    const struct cr_model_part tail = cr_model_tail(1);
    struct hired hired;
    struct cr_compute *compute;
    struct cr_model *local, *part, *rest;
    struct cr_slicing *slicing;
    hire(&hired, base, "127.0.0.1:0");
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_model_open(base, CR_MODEL_IN_8BIT, NULL, compute, CR_F32, &local));
    assert_ok(cr_model_open(base, CR_MODEL_OUTSIDE, &tail, compute, CR_F32, &part));
    assert_null(part->embedding.data); // the head is tied, but another's
    const struct cr_slicing_options options = {.accelerators = (char *[]){hired.address},
                                               .accelerator_count = 1,
                                               .digits = 4,
                                               .rows = 2,
                                               .threads = 1,
                                               .patience = 60};
    assert_ok(cr_slicing_open(&options, part, &slicing));
    assert_true(cr_frozen_count(part) > 2 * CR_FROZEN_PER_LAYER);
    for (size_t i = 0; i < cr_frozen_count(part); i++) {
        float got[1024], wanted[1024];
        size_t count = 2 * cr_frozen_linear(part, i)->out;
        assert_true(count <= 1024);
        if (i < CR_FROZEN_PER_LAYER) {
            assert_fails(CR_INTERNAL, "", multiply(part, i, got));
            continue;
        }
        assert_ok(multiply(part, i, got));
        assert_ok(multiply(local, i, wanted));
        double off = distance(got, wanted, count);
        if (!(off < 2e-5)) fail_msg("linear %zu is off by %g", i, off);
    }
    cr_slicing_close(slicing);
    // What the accelerator has must be here too, to know that it is the same.
    const char *folder = in_directory("rest");
    write_rest("tests/golden/llama-gqa", folder);
    assert_ok(cr_model_open(folder, CR_MODEL_OUTSIDE, &tail, compute, CR_F32, &rest));
    assert_fails(CR_INVALID, "it has no tensor model.layers.0.self_attn.q_proj.weight",
                 cr_slicing_open(&options, rest, &slicing));
    cr_model_free(rest);
    cr_model_free(part);
    cr_model_free(local);
    cr_compute_free(compute);
    dismiss(&hired);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masked_products_are_those_of_the_base_in_8_bits),
        cmocka_unit_test(those_of_a_real_model),
        cmocka_unit_test(a_row_that_is_not_finite_is_refused),
        cmocka_unit_test(held_pads_are_made_before_alone),
        cmocka_unit_test(a_part_asks_for_its_own_alone),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
