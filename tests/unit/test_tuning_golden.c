// tuning/: LoRA, prefix tuning, sparse and full training against Transformers, PEFT and PyTorch
// (tests/golden/make_lora.py, make_prefix.py, make_spf.py), step by step.
//
// The variants in tests/golden, and any others under $CARREL_GOLDEN_LORA.
#include "tuning_support.h"

#include "format/json.h"
#include "format/safetensors.h"
#include "model/model.h"
#include "tuning/session.h"

#include <glob.h>
#include <math.h>

enum { STEPS_AT_MOST = 64 };

static double number(const struct cr_json *expected, const char *key)
{
    const struct cr_json *value = cr_json_member(expected, key);
    assert_int_equal(cr_json_kind(value), CR_JSON_NUMBER);
    return cr_json_number(value, 0);
}

static struct cr_training_config training_of(const struct cr_json *expected)
{
    static const char *const schedules[] = {[CR_SCHEDULE_LINEAR] = "linear",
                                            [CR_SCHEDULE_COSINE] = "cosine",
                                            [CR_SCHEDULE_CONSTANT] = "constant",
                                            [CR_SCHEDULE_CONSTANT_WITH_WARMUP] = "constant_with_warmup"};
    int schedule = 0;
    while (!cr_json_is_string(cr_json_member(expected, "lr_scheduler_type"), schedules[schedule])) schedule++;
    return (struct cr_training_config){
        .optim = CR_OPTIMIZER_ADAMW,
        .learning_rate = number(expected, "learning_rate"),
        .weight_decay = number(expected, "weight_decay"),
        .adam_beta1 = number(expected, "adam_beta1"),
        .adam_beta2 = number(expected, "adam_beta2"),
        .adam_epsilon = number(expected, "adam_epsilon"),
        .max_grad_norm = number(expected, "max_grad_norm"),
        .lr_scheduler_type = schedule,
        .warmup_steps = (size_t)number(expected, "warmup_steps"),
        .max_steps = (size_t)number(expected, "max_steps"),
        .per_device_train_batch_size = (size_t)number(expected, "per_device_train_batch_size"),
        .gradient_accumulation_steps = (size_t)number(expected, "gradient_accumulation_steps"),
        .logging_steps = 1,
    };
}

// What "train.step" said.
struct said {
    double loss[STEPS_AT_MOST], norm[STEPS_AT_MOST], rate[STEPS_AT_MOST];
    size_t count;
};

static void hear(void *context, const struct cr_event *event)
{
    struct said *said = context;
    if (strcmp(event->name, "train.step") != 0) return;
    assert_true(said->count < STEPS_AT_MOST);
    for (size_t i = 0; i < event->field_count; i++) {
        if (!strcmp(event->fields[i].name, "loss")) said->loss[said->count] = event->fields[i].number;
        if (!strcmp(event->fields[i].name, "grad_norm")) said->norm[said->count] = event->fields[i].number;
        if (!strcmp(event->fields[i].name, "learning_rate"))
            said->rate[said->count] = event->fields[i].number;
    }
    said->count++;
}

static struct cr_safetensors *open_tensors(const char *directory, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    struct cr_safetensors *file;
    assert_ok(cr_safetensors_open(path, &file));
    return file;
}

static void take_values(struct cr_parameters *parameters, const struct cr_safetensors *file)
{
    assert_int_equal(cr_safetensors_count(file), parameters->item_count);
    for (size_t i = 0; i < parameters->item_count; i++) {
        const struct cr_tensor_entry *entry = cr_safetensors_find(file, parameters->items[i].name);
        assert_non_null(entry);
        assert_int_equal(entry->bytes.size, parameters->items[i].count * sizeof(float));
        memcpy(parameters->values + parameters->items[i].offset, entry->bytes.data, entry->bytes.size);
    }
}

// The largest over the tensors of |values − expected| / |expected| in the Euclidean norm.
static double worst_error(const struct cr_parameters *parameters, const float *values,
                          const struct cr_safetensors *file)
{
    double worst = 0;
    for (size_t i = 0; i < parameters->item_count; i++) {
        const struct cr_tensor_entry *entry = cr_safetensors_find(file, parameters->items[i].name);
        assert_non_null(entry);
        double difference = 0, size = 0;
        for (size_t k = 0; k < parameters->items[i].count; k++) {
            float wanted;
            memcpy(&wanted, entry->bytes.data + k * sizeof wanted, sizeof wanted);
            double got = values[parameters->items[i].offset + k];
            difference += (got - (double)wanted) * (got - (double)wanted);
            size += (double)wanted * (double)wanted;
        }
        worst = fmax(worst, sqrt(difference / size));
    }
    return worst;
}

static void check_steps(const struct cr_json *expected, const struct said *said, const char *name)
{
    double loss = 0, norm = 0;
    assert_int_equal(said->count, cr_json_count(cr_json_member(expected, "losses")));
    for (size_t i = 0; i < said->count; i++) {
        double wanted_loss = cr_json_number(cr_json_at(cr_json_member(expected, "losses"), i), NAN);
        double wanted_norm = cr_json_number(cr_json_at(cr_json_member(expected, "grad_norms"), i), NAN);
        double wanted_rate = cr_json_number(cr_json_at(cr_json_member(expected, "learning_rates"), i), NAN);
        loss = fmax(loss, fabs(said->loss[i] - wanted_loss));
        norm = fmax(norm, fabs(said->norm[i] / wanted_norm - 1));
        assert_true(fabs(said->loss[i] - wanted_loss) < 1e-3);
        assert_true(fabs(said->norm[i] / wanted_norm - 1) < 1e-3);
        assert_true(fabs(said->rate[i] - wanted_rate) < 1e-12);
    }
    print_message("%s: %zu steps: loss within %.1e, gradient norm within %.1e\n", name, said->count, loss,
                  norm);
}

// Trains from what `initial` holds and compares with `gradients.safetensors` and `final`, files of the
// directory.
static struct cr_trainer *check_training(const char *directory, const struct cr_tuning_config *config,
                                         const struct cr_json *expected, const char *initial_name,
                                         const char *final_name, struct cr_compute *compute)
{
    struct said said = {.count = 0};
    struct cr_event_sink sink = {hear, &said};
    struct cr_trainer *trainer;
    assert_ok(cr_trainer_new(config, compute, &sink, &trainer));
    struct cr_parameters *parameters = cr_trainer_parameters(trainer);
    struct cr_safetensors *initial = open_tensors(directory, initial_name);
    struct cr_safetensors *gradients = open_tensors(directory, "gradients.safetensors");
    struct cr_safetensors *final = open_tensors(directory, final_name);
    take_values(parameters, initial);

    struct cr_tally tally = {0};
    assert_ok(cr_trainer_run(trainer, 1, &tally, NULL, NULL));
    double gradient_error = worst_error(parameters, parameters->gradients, gradients);
    assert_ok(cr_trainer_run(trainer, config->training.max_steps - 1, &tally, NULL, NULL));
    double value_error = worst_error(parameters, parameters->values, final);
    double moved = worst_error(parameters, parameters->values, initial);
    print_message("%s: gradients within %.1e, parameters within %.1e (moved by %.1e)\n", directory,
                  gradient_error, value_error, moved);
    check_steps(expected, &said, directory);
    assert_true(gradient_error < 1e-4);
    assert_true(value_error < 1e-3);
    assert_true(moved > 1e-2);

    cr_safetensors_free(initial);
    cr_safetensors_free(gradients);
    cr_safetensors_free(final);
    return trainer;
}

static void check_variant(const char *directory, struct cr_compute *compute)
{
    char path[512], model[512], data[512];
    snprintf(path, sizeof path, "%s/expected.json", directory);
    snprintf(model, sizeof model, "%s/model", directory);
    snprintf(data, sizeof data, "%s/data.jsonl", directory);
    struct cr_json *expected;
    assert_ok(cr_json_read(path, 1 << 20, &expected));

    char *modules[CR_MODULES];
    size_t layers[8];
    const struct cr_json *names = cr_json_member(expected, "target_modules");
    for (size_t i = 0; i < cr_json_count(names); i++)
        assert_ok(cr_copy_string((const char *)cr_json_string(cr_json_at(names, i)).data, &modules[i]));
    const struct cr_json *chosen = cr_json_member(expected, "layers_to_transform");
    for (size_t i = 0; i < cr_json_count(chosen); i++)
        layers[i] = (size_t)cr_json_number(cr_json_at(chosen, i), 0);
    struct cr_tuning_config config = {
        .model_name_or_path = model,
        .dtype = CR_COMPUTE_FLOAT32,
        .seed = (uint64_t)number(expected, "seed"),
        .method = CR_METHOD_LORA,
        .data = {.train = data, .max_length = (size_t)number(expected, "max_length")},
        .lora = {.r = (size_t)number(expected, "r"),
                 .lora_alpha = number(expected, "lora_alpha"),
                 .targets.modules = {modules, cr_json_count(names)},
                 .targets.layers = {layers, cr_json_count(chosen)},
                 .use_rslora = cr_json_bool(cr_json_member(expected, "use_rslora"), false)},
        .training = training_of(expected),
    };
    cr_trainer_free(check_training(directory, &config, expected, "initial/adapter_model.safetensors",
                                   "final/adapter_model.safetensors", compute));
    for (size_t i = 0; i < cr_json_count(names); i++) free(modules[i]);
    cr_json_free(expected);
}

// How far the loss with what was saved in `adapter` is from the one that is expected of it.
static double loss_apart(const char *model, const char *adapter, const char *data,
                         const struct cr_json *expected, struct cr_compute *compute)
{
    CR_CLEANUP(cr_session_release) struct cr_session session = {0};
    assert_ok(cr_session_open(model, adapter, CR_COMPUTE_FLOAT32, false, compute, NULL, &session));
    struct cr_dataset_options options = {.max_length = 48};
    struct cr_tally tally = {0};
    assert_ok(cr_session_evaluate(&session, data, &options, NULL, &tally));
    return tally.loss_sum / (double)tally.labelled - number(expected, "eval_loss");
}

// What carrel saves is what PEFT saved, and what PEFT saved has the loss that PEFT gives it.
static void check_prefix_adapter(struct cr_trainer *trainer, const char *directory, const char *model,
                                 const char *data, const struct cr_json *expected, struct cr_compute *compute)
{
    char folder[32], adapter[512];
    make_folder(folder);
    assert_ok(cr_trainer_save(trainer, folder));
    snprintf(adapter, sizeof adapter, "%s/adapter", directory);
    struct cr_safetensors *wanted = open_tensors(adapter, "adapter_model.safetensors");
    CR_CLEANUP(cr_session_release) struct cr_session session = {0};
    assert_ok(cr_session_open(model, folder, CR_COMPUTE_FLOAT32, false, compute, NULL, &session));
    double error = worst_error(&session.adapter->parameters, session.adapter->parameters.values, wanted);
    assert_int_equal(session.adapter->parameters.item_count, cr_safetensors_count(wanted));
    double apart = loss_apart(model, adapter, data, expected, compute);
    print_message("%s: saved embeddings within %.1e, loss of PEFT's within %.1e\n", directory, error, apart);
    assert_true(error < 1e-3);
    assert_true(fabs(apart) < 1e-5);
    cr_safetensors_free(wanted);
    remove_folder(folder);
}

static void check_prefix(const char *directory, struct cr_compute *compute)
{
    char path[512], model[512], data[512];
    snprintf(path, sizeof path, "%s/expected.json", directory);
    struct cr_json *expected;
    assert_ok(cr_json_read(path, 1 << 20, &expected));
    const char *base = (const char *)cr_json_string(cr_json_member(expected, "model")).data;
    snprintf(model, sizeof model, "tests/golden/%s/model", base);
    snprintf(data, sizeof data, "tests/golden/%s/data.jsonl", base);
    struct cr_tuning_config config = {
        .model_name_or_path = model,
        .dtype = CR_COMPUTE_FLOAT32,
        .seed = (uint64_t)number(expected, "seed"),
        .method = CR_METHOD_PREFIX_TUNING,
        .data = {.train = data, .max_length = (size_t)number(expected, "max_length")},
        .prefix_tuning = {.num_virtual_tokens = (size_t)number(expected, "num_virtual_tokens"),
                          .prefix_projection =
                              cr_json_bool(cr_json_member(expected, "prefix_projection"), false),
                          .encoder_hidden_size = (size_t)number(expected, "encoder_hidden_size")},
        .training = training_of(expected),
    };
    struct cr_trainer *trainer =
        check_training(directory, &config, expected, "initial.safetensors", "final.safetensors", compute);
    check_prefix_adapter(trainer, directory, model, data, expected, compute);
    cr_trainer_free(trainer);
    cr_json_free(expected);
}

// The places are those that the script chose, and what it trained there has the loss that it gives it.
static void check_change(struct cr_trainer *trainer, const char *directory, const char *model,
                         const char *data, const struct cr_json *expected, struct cr_compute *compute)
{
    char folder[32], final[512];
    make_folder(folder);
    assert_ok(cr_trainer_save(trainer, folder));
    snprintf(final, sizeof final, "%s/final", directory);
    struct cr_safetensors *wanted = open_tensors(final, "spf_model.safetensors");
    struct cr_safetensors *found = open_tensors(folder, "spf_model.safetensors");
    assert_int_equal(cr_safetensors_count(found), cr_safetensors_count(wanted));
    for (size_t i = 0; i < cr_safetensors_count(wanted); i++) {
        const struct cr_tensor_entry *one = cr_safetensors_at(wanted, i),
                                     *other = cr_safetensors_find(found, one->name);
        assert_non_null(other);
        assert_int_equal(other->dtype, one->dtype);
        assert_int_equal(other->bytes.size, one->bytes.size);
        if (one->dtype == CR_I32) assert_memory_equal(other->bytes.data, one->bytes.data, one->bytes.size);
    }
    double apart = loss_apart(model, final, data, expected, compute);
    print_message("%s: loss of the script's within %.1e\n", directory, apart);
    assert_true(fabs(apart) < 1e-5);
    cr_safetensors_free(wanted);
    cr_safetensors_free(found);
    remove_folder(folder);
}

static void check_spf(const char *directory, struct cr_compute *compute)
{
    char path[512], model[512], data[512];
    snprintf(path, sizeof path, "%s/expected.json", directory);
    struct cr_json *expected;
    assert_ok(cr_json_read(path, 1 << 20, &expected));
    const char *base = (const char *)cr_json_string(cr_json_member(expected, "model")).data;
    snprintf(model, sizeof model, "tests/golden/%s/model", base);
    snprintf(data, sizeof data, "tests/golden/%s/data.jsonl", base);
    static char all_linear[] = "all-linear";
    static char *modules[] = {all_linear};
    int granularity = 0;
    while (!cr_json_is_string(cr_json_member(expected, "granularity"), cr_spf_granularities[granularity]))
        granularity++;
    struct cr_tuning_config config = {
        .model_name_or_path = model,
        .dtype = CR_COMPUTE_FLOAT32,
        .seed = (uint64_t)number(expected, "seed"),
        .method = CR_METHOD_SPF,
        .data = {.train = data, .max_length = (size_t)number(expected, "max_length")},
        .spf = {.criterion = CR_SPF_WEIGHT_L1,
                .granularity = granularity,
                .density = number(expected, "density"),
                .targets.modules = {modules, 1}},
        .training = training_of(expected),
    };
    struct cr_trainer *trainer = check_training(directory, &config, expected, "initial.safetensors",
                                                "final/spf_model.safetensors", compute);
    check_change(trainer, directory, model, data, expected, compute);
    cr_trainer_free(trainer);
    cr_json_free(expected);
}

// Full-parameter training of the model of the lora variant beside it.
static void check_full(const char *directory, struct cr_compute *compute)
{
    char path[512], model[512], data[512];
    snprintf(path, sizeof path, "%s/expected.json", directory);
    snprintf(model, sizeof model, "%s/model", directory);
    snprintf(data, sizeof data, "%s/data.jsonl", directory);
    memcpy(strstr(model, "full-"), "lora", 4);
    memcpy(strstr(data, "full-"), "lora", 4);
    struct cr_json *expected;
    assert_ok(cr_json_read(path, 1 << 20, &expected));
    struct cr_tuning_config config = {
        .model_name_or_path = model,
        .dtype = CR_COMPUTE_FLOAT32,
        .seed = (uint64_t)number(expected, "seed"),
        .method = CR_METHOD_FULL,
        .data = {.train = data, .max_length = (size_t)number(expected, "max_length")},
        .training = training_of(expected),
    };
    struct said said = {.count = 0};
    struct cr_event_sink sink = {hear, &said};
    struct cr_trainer *trainer;
    struct cr_tally tally = {0};
    assert_ok(cr_trainer_new(&config, compute, &sink, &trainer));
    assert_ok(cr_trainer_run(trainer, config.training.max_steps, &tally, NULL, NULL));
    check_steps(expected, &said, directory);
    cr_trainer_free(trainer);
    cr_json_free(expected);
}

static void check_found(const char *kind, void (*check)(const char *, struct cr_compute *))
{
    struct cr_compute *compute;
    assert_ok(cr_compute_new(2, &compute));
    glob_t found = {0};
    char pattern[512];
    snprintf(pattern, sizeof pattern, "tests/golden/%s-*/expected.json", kind);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 2);
    const char *more = getenv("CARREL_GOLDEN_LORA");
    snprintf(pattern, sizeof pattern, "%s/%s-*/expected.json", more ? more : "", kind);
    // There may be none of this kind among them.
    int status = more ? glob(pattern, GLOB_APPEND, NULL, &found) : 0;
    assert_true(status == 0 || status == GLOB_NOMATCH);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        *strrchr(found.gl_pathv[i], '/') = 0;
        check(found.gl_pathv[i], compute);
    }
    globfree(&found);
    cr_compute_free(compute);
}

static void lora_matches_transformers_and_peft(void **state)
{
    (void)state;
    check_found("lora", check_variant);
}

static void prefix_tuning_matches_peft(void **state)
{
    (void)state;
    check_found("prefix", check_prefix);
}

static void sparse_training_is_masked_dense_training(void **state)
{
    (void)state;
    check_found("spf", check_spf);
}

static void full_training_matches_transformers(void **state)
{
    (void)state;
    check_found("full", check_full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lora_matches_transformers_and_peft),
        cmocka_unit_test(prefix_tuning_matches_peft),
        cmocka_unit_test(sparse_training_is_masked_dense_training),
        cmocka_unit_test(full_training_matches_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
