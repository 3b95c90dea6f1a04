// model/filed.h: linears that read their matrices at each product give what those of an opened model give.
#include "model_support.h"

#include "model/filed.h"

enum { ROWS = 7 };

struct reading {
    const struct cr_model_parameter *last; // that was read
    bool spoil;                            // the last weight of the model's first down
};

static enum cr_status on_read(void *context, const struct cr_model_parameter *parameter, float *values)
{
    struct reading *reading = context;
    reading->last = parameter;
    if (reading->spoil && parameter->kind == CR_PARAMETER_MODULE && parameter->module == CR_DOWN)
        values[parameter->rows * parameter->columns - 1] = NAN;
    return CR_OK;
}

static enum cr_status walk(struct cr_model *model, float *logits)
{
    struct cr_pass *pass;
    struct sample sample = random_sample((const size_t[]){ROWS}, 1, model->config.vocabulary, 5);
    uint32_t all[ROWS];
    for (uint32_t i = 0; i < ROWS; i++) all[i] = i;
    assert_ok(cr_pass_new(model, &(struct cr_pass_size){.rows = ROWS, .sequences = 1}, NULL, &pass));
    enum cr_status status = cr_pass_forward(pass, NULL, &sample.rows, 0, model->config.layers);
    if (status == CR_OK) status = cr_pass_logits(pass, all, ROWS, logits);
    cr_pass_free(pass);
    sample_free(&sample);
    return status;
}

static void check_model(const char *path, struct cr_compute *compute)
{
    struct cr_model *plain, *filed;
    struct reading reading = {0};
    struct cr_filed_change change = {.change = on_read, .context = &reading};
    assert_ok(cr_model_open(path, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &plain));
    assert_fails(CR_INTERNAL, "without its matrices", cr_filed_attach(plain, &change));
    assert_ok(cr_model_open(path, CR_MODEL_OUTSIDE, NULL, compute, CR_F32, &filed));
    assert_ok(cr_filed_attach(filed, &change));
    size_t count = ROWS * plain->config.vocabulary;
    CR_FREE float *wanted = NULL;
    CR_FREE float *logits = NULL;
    assert_ok(cr_allocate(count, sizeof *wanted, &wanted));
    assert_ok(cr_allocate(count, sizeof *logits, &logits));
    assert_ok(walk(plain, wanted));
    assert_ok(walk(filed, logits));
    if (memcmp(logits, wanted, count * sizeof *logits) != 0) fail_msg("%s: other logits", path);
    const float *room = change.room; // the head's, which is the largest: a second walk makes none anew
    assert_ok(walk(filed, logits));
    assert_ptr_equal(change.room, room);
    cr_filed_forget(&change);
    assert_null(change.room);
    assert_ok(walk(filed, logits));
    assert_memory_equal(logits, wanted, count * sizeof *logits);
    assert_true(reading.last->kind == (plain->config.tied_head ? CR_PARAMETER_EMBEDDING : CR_PARAMETER_HEAD));
    reading.spoil = true;
    assert_fails(CR_INVALID, "holds NaN or infinity", walk(filed, logits));
    assert_true(reading.last->module == CR_DOWN && reading.last->layer == 0);
    cr_filed_forget(&change);
    cr_model_free(plain);
    cr_model_free(filed);
}

static void matrices_that_stay_in_files_give_the_same_bits(void **state)
{
    (void)state;
    static const char *const models[] = {
        "llama-f16-shards", "llama-bf16-shards", "qwen2-tied", "qwen3", "gpt2",
        "gpt2-untied",      "gpt2-bare-shards"};
    struct cr_compute *compute;
    assert_ok(cr_compute_new(2, &compute));
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char path[64];
        snprintf(path, sizeof path, "tests/golden/%s", models[i]);
        check_model(path, compute);
    }
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_that_stay_in_files_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
