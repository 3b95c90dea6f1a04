// model/ against Transformers: logits, loss and every weight's gradient of small random models, in float32.
// The directories are tests/golden/llama-* and qwen*, and those that $CARREL_GOLDEN names with colons between
// them; tests/golden/make_llama.py writes them.
#include "folder_support.h"
#include "model_support.h"

#include <glob.h>
#include <math.h>

#define TOLERANCE 1e-4

// ‖got − wanted‖ / ‖wanted‖ over a whole tensor.
static double relative_error(const float *got, const float *wanted, size_t count)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)got[i] - (double)wanted[i];
        difference += d * d;
        size += (double)wanted[i] * (double)wanted[i];
    }
    return sqrt(difference / size);
}

static struct cr_tensor_entry entry(const struct cr_safetensors *file, const char *name, enum cr_dtype dtype)
{
    const struct cr_tensor_entry *found = cr_safetensors_find(file, name);
    if (!found) fail_msg("%s: no %s", cr_safetensors_name(file), name);
    assert_int_equal(found->dtype, dtype);
    return *found;
}

static float *floats(const struct cr_safetensors *file, const char *name, size_t *count)
{
    struct cr_tensor_entry e = entry(file, name, CR_F32);
    float *values;
    assert_ok(cr_allocate(e.bytes.size, 1, &values));
    memcpy(values, e.bytes.data, e.bytes.size);
    *count = e.bytes.size / sizeof *values;
    return values;
}

static int64_t *integers(const struct cr_safetensors *file, const char *name, size_t *count)
{
    struct cr_tensor_entry e = entry(file, name, CR_I64);
    int64_t *values;
    assert_ok(cr_allocate(e.bytes.size, 1, &values));
    memcpy(values, e.bytes.data, e.bytes.size);
    *count = e.bytes.size / sizeof *values;
    return values;
}

static struct sample expected_sample(const struct cr_safetensors *file)
{
    size_t rows, sequences;
    CR_FREE int64_t *tokens = integers(file, "tokens", &rows);
    CR_FREE int64_t *labels = integers(file, "labels", &rows);
    CR_FREE int64_t *offset = integers(file, "offset", &sequences);
    size_t lengths[16];
    assert_true(--sequences <= 16);
    for (size_t i = 0; i < sequences; i++) lengths[i] = (size_t)(offset[i + 1] - offset[i]);
    struct sample sample = sample_new(lengths, sequences);
    assert_int_equal(sample.rows.rows, rows);
    for (size_t i = 0; i < rows; i++) {
        sample.tokens[i] = (uint32_t)tokens[i];
        sample.labels[i] = (int32_t)labels[i];
    }
    return sample;
}

static void compare(const char *directory, const char *what, const float *got, const float *wanted,
                    size_t count)
{
    double error = relative_error(got, wanted, count);
    if (!(error < TOLERANCE)) fail_msg("%s: %s: relative error %g", directory, what, error);
}

static void check_model(const char *directory, struct cr_compute *compute)
{
    CR_FREE char *path = NULL;
    assert_ok(cr_path_join(directory, "expected.safetensors", &path));
    struct cr_safetensors *file;
    assert_ok(cr_safetensors_open(path, &file));
    struct cr_model *model;
    assert_ok(cr_model_open(directory, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &model));
    struct sample sample = expected_sample(file);
    struct cr_pass *pass;
    assert_ok(cr_pass_new(model,
                          &(struct cr_pass_size){
                              .rows = sample.rows.rows, .sequences = sample.rows.sequences, .backward = true},
                          NULL, &pass));
    struct collectors *collectors = collectors_new(model);

    size_t rows = sample.rows.rows, vocabulary = model->config.vocabulary, labelled = 0, count;
    assert_ok(cr_pass_forward(pass, &collectors->tuned, &sample.rows, 0, model->config.layers));
    CR_FREE uint32_t *all = NULL;
    CR_FREE float *logits = NULL;
    assert_ok(cr_allocate(rows, sizeof *all, &all));
    assert_ok(cr_allocate(rows * vocabulary, sizeof *logits, &logits));
    for (size_t i = 0; i < rows; i++) {
        all[i] = (uint32_t)i;
        labelled += sample.labels[i] != CR_UNLABELLED;
    }
    assert_ok(cr_pass_logits(pass, all, rows, logits));
    CR_FREE float *wanted = floats(file, "logits", &count);
    assert_int_equal(count, rows * vocabulary);
    compare(directory, "logits", logits, wanted, count);

    double loss = 0;
    assert_ok(cr_pass_loss(pass, &collectors->tuned, &sample.rows, 1.f / (float)labelled, &loss, NULL));
    CR_FREE float *wanted_loss = floats(file, "loss", &count);
    assert_true(fabs(loss / (double)labelled / (double)wanted_loss[0] - 1) < 1e-5);
    assert_ok(cr_pass_backward(pass, &collectors->tuned, &sample.rows, 0, model->config.layers));
    for (size_t i = 0; i < model->parameter_count; i++) {
        char name[128];
        snprintf(name, sizeof name, "gradient.%s", model->parameters[i].name);
        struct cr_tensor_entry wanted_gradient = entry(file, name, CR_F32);
        CR_FREE float *gradient = NULL;
        assert_int_equal(wanted_gradient.bytes.size, collectors->count[i] * sizeof *gradient);
        assert_ok(cr_allocate(collectors->count[i], sizeof *gradient, &gradient));
        assert_ok(
            cr_parameter_decode(compute, &model->parameters[i], wanted_gradient.bytes, CR_F32, gradient));
        compare(directory, name, collectors->gradient[i], gradient, collectors->count[i]);
    }
    collectors_free(collectors);
    cr_pass_free(pass);
    sample_free(&sample);
    cr_model_free(model);
    cr_safetensors_free(file);
}

// On every instruction set that this processor has: a model must not be right on the newest alone.
static void check_directory(const char *directory)
{
    for (int isa = CR_ISA_SCALAR; isa <= CR_ISA_AMX; isa++) {
        struct cr_compute *compute;
        enum cr_status status = cr_compute_new_with(1, (enum cr_isa)isa, &compute);
        if (status == CR_UNSUPPORTED) continue;
        assert_ok(status);
        check_model(directory, compute);
        cr_compute_free(compute);
    }
}

static void committed_models_agree(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob("tests/golden/llama-*", GLOB_ERR, NULL, &found), 0);
    assert_int_equal(glob("tests/golden/qwen*", GLOB_ERR | GLOB_APPEND, NULL, &found), 0);
    assert_int_equal(glob("tests/golden/mistral*", GLOB_ERR | GLOB_APPEND, NULL, &found), 0);
    assert_int_equal(glob("tests/golden/gpt2*", GLOB_ERR | GLOB_APPEND, NULL, &found), 0);
    assert_true(found.gl_pathc >= 14);
    for (size_t i = 0; i < found.gl_pathc; i++) check_directory(found.gl_pathv[i]);
    globfree(&found);
}

static void logits_of(struct cr_model *model, const struct cr_rows *rows, float *logits)
{
    struct cr_pass *pass;
    assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = rows->rows, .sequences = rows->sequences},
                          NULL, &pass));
    struct collectors *collectors = collectors_new(model);
    CR_FREE uint32_t *all = NULL;
    assert_ok(cr_allocate(rows->rows, sizeof *all, &all));
    for (size_t i = 0; i < rows->rows; i++) all[i] = (uint32_t)i;
    assert_ok(cr_pass_forward(pass, &collectors->tuned, rows, 0, model->config.layers));
    assert_ok(cr_pass_logits(pass, all, rows->rows, logits));
    collectors_free(collectors);
    cr_pass_free(pass);
}

// What a checkpoint has in BF16 gives a model of F32 the bits of the same values in F32, which trained
// weights are.
static void check_bits(const char *path, struct cr_model *frozen, struct cr_compute *compute)
{
    enum { ROWS = 9 };
    struct cr_model *trained;
    assert_ok(cr_model_open(path, CR_MODEL_TRAINABLE, NULL, compute, CR_F32, &trained));
    assert_int_equal(trained->layers[0].down.weight.dtype, CR_F32);
    struct sample sample = random_sample((const size_t[]){ROWS}, 1, frozen->config.vocabulary, 3);
    size_t count = ROWS * frozen->config.vocabulary;
    CR_FREE float *logits = NULL;
    CR_FREE float *wanted = NULL;
    assert_ok(cr_allocate(count, sizeof *logits, &logits));
    assert_ok(cr_allocate(count, sizeof *wanted, &wanted));
    logits_of(frozen, &sample.rows, logits);
    logits_of(trained, &sample.rows, wanted);
    assert_memory_equal(logits, wanted, count * sizeof *logits);
    sample_free(&sample);
    cr_model_free(trained);
}

static void a_checkpoint_in_bf16_stays_so_in_float32(void **state)
{
    (void)state;
    const char *path = "tests/golden/llama-bf16-shards";
    struct cr_compute *compute;
    struct cr_model *frozen;
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_model_open(path, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &frozen));
    assert_int_equal(frozen->embedding.dtype, CR_BF16);
    assert_int_equal(frozen->layers[0].down.weight.dtype, CR_BF16);
    check_bits(path, frozen, compute);
    cr_model_free(frozen);
    cr_compute_free(compute);
}

// A checkpoint whose q, up and down are in BF16, and which has the others of their stacks in F32.
static void write_mixed(const char *path, struct cr_compute *compute)
{
    enum { MOST = 64 };
    struct cr_safetensors *file;
    struct cr_tensor_entry entries[MOST];
    void *narrow[MOST] = {0};
    assert_ok(cr_safetensors_open("tests/golden/llama-gqa", &file));
    size_t count = cr_safetensors_count(file);
    assert_true(count <= MOST);
    for (size_t i = 0; i < count; i++) {
        struct cr_tensor_entry *e = &entries[i];
        *e = *cr_safetensors_at(file, i);
        if (!strstr(e->name, ".q_proj") && !strstr(e->name, ".up_proj") && !strstr(e->name, ".down_proj"))
            continue;
        size_t values;
        CR_FREE float *exact = floats(file, e->name, &values);
        assert_ok(cr_allocate(values, sizeof(uint16_t), &narrow[i]));
        cr_convert(compute, exact, CR_F32, narrow[i], CR_BF16, values);
        e->dtype = CR_BF16;
        e->bytes = (struct cr_slice){narrow[i], values * sizeof(uint16_t)};
    }
    CR_FREE char *weights = NULL;
    CR_FREE char *config = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_path_join(path, "model.safetensors", &weights));
    assert_ok(cr_path_join(path, "config.json", &config));
    assert_ok(cr_safetensors_write(weights, entries, count, false));
    assert_ok(cr_file_read("tests/golden/llama-gqa/config.json", 1 << 16, &text));
    write_bytes(config, cr_buffer_slice(&text));
    for (size_t i = 0; i < count; i++) free(narrow[i]);
    cr_safetensors_free(file);
}

static void what_lies_together_has_one_type(void **state)
{
    (void)state;
    char folder[32];
    struct cr_compute *compute;
    struct cr_model *frozen;
    make_folder(folder);
    assert_ok(cr_compute_new(1, &compute));
    write_mixed(folder, compute);
    assert_ok(cr_model_open(folder, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &frozen));
    assert_int_equal(frozen->layers[0].qkv.weight.dtype, CR_F32);
    assert_int_equal(frozen->layers[0].gate_up.weight.dtype, CR_F32);
    assert_int_equal(frozen->layers[0].down.weight.dtype, CR_BF16);
    check_bits(folder, frozen, compute);
    cr_model_free(frozen);
    cr_compute_free(compute);
    remove_folder(folder);
}

static void models_of_the_environment_agree(void **state)
{
    (void)state;
    const char *list = getenv("CARREL_GOLDEN");
    if (!list) skip();
    CR_FREE char *copy = NULL;
    assert_ok(cr_copy_string(list, &copy));
    char *rest = copy;
    for (char *directory; (directory = strsep(&rest, ":"));) check_directory(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(committed_models_agree),
        cmocka_unit_test(a_checkpoint_in_bf16_stays_so_in_float32),
        cmocka_unit_test(what_lies_together_has_one_type),
        cmocka_unit_test(models_of_the_environment_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
