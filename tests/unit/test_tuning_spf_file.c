// tuning/: a sparse change as files: read as it was written, beside an adapter too, and what is refused.
#include "small_model.h"

#include "format/safetensors.h"
#include "tuning/adapter.h"
#include "tuning/merge.h"
#include "tuning/place.h"
#include "tuning/session.h"
#include "tuning/spf_file.h"
#include "tuning/trainer_parts.h"

#define DATA "tests/golden/lora-gqa-tied/data.jsonl"

static struct cr_tuning_config run_of(int method, int granularity)
{
    static char data[] = DATA, q_proj[] = "q_proj", all_linear[] = "all-linear";
    static char *modules[] = {q_proj}, *all[] = {all_linear};
    static size_t layers[] = {0, 1};
    struct cr_tuning_config config = small_run(data, modules, 1);
    static char eval[] = DATA;
    config.data.eval = eval;
    config.method = method;
    config.spf = (struct cr_spf_config){.criterion = CR_SPF_RANDOM,
                                        .granularity = granularity,
                                        .density = 0.125,
                                        .targets.modules = {all, 1},
                                        .targets.layers = {layers, 2}};
    return config;
}

// What was trained and saved has the values and the loss of what was trained.
static void a_change_is_read_as_it_was_written(void **state)
{
    (void)state;
    for (int method = CR_METHOD_SPF; method <= CR_METHOD_LORA_SPF; method++)
        for (int granularity = CR_SPF_HEAD; granularity <= CR_SPF_ELEMENT; granularity++) {
            char name[32];
            snprintf(name, sizeof name, "change-%d-%d", method, granularity);
            const char *directory = path_in(name);
            struct cr_tuning_config config = run_of(method, granularity);
            struct cr_trainer *trainer;
            struct cr_tally tally = {0}, before = {0}, after = {0};
            assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
            assert_ok(cr_trainer_run(trainer, 12, &tally, NULL, NULL));
            assert_ok(cr_trainer_evaluate(trainer, &before, NULL, NULL));
            assert_ok(cr_trainer_save(trainer, directory));

            struct cr_session session;
            assert_ok(
                cr_session_open(SMALL_MODEL, directory, CR_COMPUTE_FLOAT32, false, compute, NULL, &session));
            const struct cr_parameters *read = &session.adapter->parameters,
                                       *written = cr_trainer_parameters(trainer);
            assert_int_equal(read->item_count, written->item_count);
            for (size_t i = 0; i < read->item_count; i++) {
                const struct cr_parameter *one = &read->items[i],
                                          *other = cr_parameters_find(written, one->name);
                assert_non_null(other);
                assert_int_equal(one->count, other->count);
                assert_memory_equal(read->values + one->offset, written->values + other->offset,
                                    one->count * sizeof(float));
            }
            assert_null(read->gradients);
            struct cr_dataset_options options = {.max_length = 48};
            assert_ok(cr_session_evaluate(&session, DATA, &options, NULL, &after));
            assert_true(fabs(before.loss_sum / after.loss_sum - 1) < 1e-6);
            assert_int_equal(before.labelled, after.labelled);
            cr_session_release(&session);
            cr_trainer_free(trainer);

            // All of it goes into the weights, too: merging holds each module against what is added to it.
            char path[160];
            struct cr_merge_report merged;
            snprintf(path, sizeof path, "%s.merged", directory);
            assert_ok(cr_merge(SMALL_MODEL, directory, path, compute, NULL, &merged));
            assert_true(merged.modules > 0 && !merged.unusual);

            struct stat status;
            snprintf(path, sizeof path, "%s/%s", directory, cr_spf_model_name);
            assert_int_equal(stat(path, &status), 0);
            assert_int_equal(status.st_mode & 0777, 0600);
        }
}

// A directory holds one result: half of another one would be taken for its part.
static void results_of_other_kinds_are_left_alone(void **state)
{
    (void)state;
    assert_ok(cr_place_check(path_in("new"), SMALL_MODEL, CR_METHOD_SPF));
    const char *change = path_in("change-3-1");
    assert_ok(cr_place_check(change, SMALL_MODEL, CR_METHOD_SPF));
    assert_ok(cr_place_check(change, SMALL_MODEL, CR_METHOD_LORA_SPF));
    assert_fails(CR_INVALID, "holds a sparse change already, and an adapter beside it",
                 cr_place_check(change, SMALL_MODEL, CR_METHOD_LORA));
    const char *both = path_in("change-4-1");
    assert_ok(cr_place_check(both, SMALL_MODEL, CR_METHOD_LORA_SPF));
    assert_fails(CR_INVALID, "holds an adapter already", cr_place_check(both, SMALL_MODEL, CR_METHOD_SPF));
    assert_fails(CR_INVALID, "already, and a model beside it",
                 cr_place_check(both, SMALL_MODEL, CR_METHOD_FULL));
}

#define Q "model.layers.0.self_attn.q_proj.weight."
#define UP "model.layers.1.mlp.up_proj.weight."

static const char good_config[] =
    "{\"format\": \"carrel-spf\", \"version\": 1, \"criterion\": \"random\", \"granularity\": \"row\", "
    "\"density\": 0.5, \"target_modules\": [\"q_proj\"]}";

static struct cr_tensor_entry integers(const char *name, const int32_t *values, size_t count)
{
    return (struct cr_tensor_entry){.name = name,
                                    .dtype = CR_I32,
                                    .rank = 1,
                                    .shape = {count},
                                    .bytes = {(const unsigned char *)values, count * sizeof *values}};
}

static struct cr_tensor_entry floats(const char *name, const float *values, size_t rows, size_t columns)
{
    size_t count = rows * cr_most(columns, 1);
    return (struct cr_tensor_entry){.name = name,
                                    .dtype = CR_F32,
                                    .rank = columns > 0 ? 2 : 1,
                                    .shape = {rows, columns},
                                    .bytes = {(const unsigned char *)values, count * sizeof *values}};
}

static enum cr_status open_with(const struct cr_tensor_entry *entries, size_t count, const char *config)
{
    const char *directory = path_in("made");
    struct cr_structure *read;
    char path[160];
    assert_ok(cr_directory_make(directory, false));
    snprintf(path, sizeof path, "%s/%s", directory, cr_spf_model_name);
    assert_ok(cr_safetensors_write(path, entries, count, false));
    snprintf(path, sizeof path, "%s/%s", directory, cr_spf_config_name);
    write_text(path, config);
    enum cr_status status = cr_adapter_open(directory, model, &read);
    if (status == CR_OK) cr_structure_free(read);
    return status;
}

static const float numbers[24 * 4] = {1, -2, 3};

static enum cr_status open_rows(const int32_t *rows, size_t count)
{
    const struct cr_tensor_entry entries[] = {integers(Q "rows", rows, count),
                                              floats(Q "values", numbers, count, 24)};
    return open_with(entries, 2, good_config);
}

static void wrong_rows_are_refused(void **state)
{
    (void)state;
    assert_ok(open_rows((int32_t[]){0, 7, 23}, 3));
    assert_fails(CR_INVALID, Q "rows: number 2 is 24: the module has 0 to 23",
                 open_rows((int32_t[]){0, 7, 24}, 3));
    assert_fails(CR_INVALID, "spf_model.safetensors: " Q "rows: number 0 is -1: the module has",
                 open_rows((int32_t[]){-1, 7}, 2));
    assert_fails(CR_INVALID, "number 1, 7, comes after 7: must ascend", open_rows((int32_t[]){7, 7}, 2));
    assert_fails(CR_INVALID, "number 2, 3, comes after 8", open_rows((int32_t[]){7, 8, 3}, 3));
    assert_fails(CR_INVALID, "must be I32 of one dimension that is not empty", open_rows((int32_t[]){0}, 0));

    const int32_t rows[] = {1, 2};
    struct cr_tensor_entry entries[] = {integers(Q "rows", rows, 2), floats(Q "values", numbers, 2, 24),
                                        floats(Q "bias", numbers, 2, 0)};
    assert_fails(CR_INVALID, Q "bias: no tensor of a change", open_with(entries, 3, good_config));
    assert_fails(CR_INVALID, Q "values: missing", open_with(entries, 1, good_config));
    assert_fails(CR_INVALID, Q "rows: missing", open_with(entries + 1, 1, good_config));
    entries[1] = floats(Q "values", numbers, 3, 24);
    assert_fails(CR_INVALID, Q "values: its shape must be [2, 24]", open_with(entries, 2, good_config));
    entries[1] = floats(Q "values", numbers, 48, 0);
    assert_fails(CR_INVALID, Q "values: its shape must be [2, 24]", open_with(entries, 2, good_config));
    entries[1] = integers(Q "values", rows, 2);
    assert_fails(CR_UNSUPPORTED, Q "values: only F32", open_with(entries, 2, good_config));
    float hostile[48] = {[5] = INFINITY};
    entries[1] = floats(Q "values", hostile, 2, 24);
    assert_fails(CR_INVALID, Q "values: holds NaN or infinity", open_with(entries, 2, good_config));
    entries[0] = floats(Q "rows", numbers, 2, 0);
    entries[1] = floats(Q "values", numbers, 2, 24);
    assert_fails(CR_INVALID, Q "rows: must be I32", open_with(entries, 2, good_config));
}

static enum cr_status open_elements(const int32_t *starts, const int32_t *columns, size_t count)
{
    const struct cr_tensor_entry entries[] = {integers(UP "crow_indices", starts, 57),
                                              integers(UP "col_indices", columns, count),
                                              floats(UP "values", numbers, count, 0)};
    return open_with(entries, 3, good_config);
}

static void wrong_elements_are_refused(void **state)
{
    (void)state;
    int32_t starts[57] = {0}, columns[] = {3, 23, 0, 5};
    for (size_t i = 1; i < 57; i++) starts[i] = i < 9 ? 2 : 4; // two in row 0, two in row 8
    assert_ok(open_elements(starts, columns, 4));
    columns[1] = 24;
    assert_fails(CR_INVALID, UP "col_indices: number 1 is 24: the module has 0 to 23",
                 open_elements(starts, columns, 4));
    columns[1] = 3;
    assert_fails(CR_INVALID, UP "col_indices: number 1, 3, comes after 3", open_elements(starts, columns, 4));
    columns[1] = 1;
    assert_fails(CR_INVALID, "number 1, 1, comes after 3", open_elements(starts, columns, 4));
    columns[1] = 4;
    starts[3] = 5;
    assert_fails(CR_INVALID, UP "crow_indices: number 3 is 5: must go from 0 to 4",
                 open_elements(starts, columns, 4));
    starts[3] = 1;
    assert_fails(CR_INVALID, "number 3 is 1: must", open_elements(starts, columns, 4));
    starts[3] = -1;
    assert_fails(CR_INVALID, "number 3 is -1: must", open_elements(starts, columns, 4));
    starts[3] = 2;
    starts[0] = 1;
    assert_fails(CR_INVALID, "number 0 is 1: must", open_elements(starts, columns, 4));
    starts[0] = 0;
    assert_fails(CR_INVALID, "number 9 is 4: must go from 0 to 3", open_elements(starts, columns, 3));
    starts[56] = 3;
    assert_fails(CR_INVALID, "number 56 is 3", open_elements(starts, columns, 4));
    starts[56] = 4;
    struct cr_tensor_entry entries[] = {integers(UP "crow_indices", starts, 57),
                                        integers(UP "col_indices", columns, 4),
                                        floats(UP "values", numbers, 4, 0), integers(Q "rows", columns, 1),
                                        floats(Q "values", numbers, 1, 24)};
    assert_fails(CR_INVALID, UP "crow_indices: missing", open_with(entries + 1, 2, good_config));
    assert_fails(CR_INVALID, "elements where modules before it have rows",
                 open_with(entries, 5, good_config));
    entries[3].name = UP "rows";
    assert_fails(CR_INVALID, "has both rows and elements", open_with(entries, 4, good_config));
    entries[2] = floats(UP "values", numbers, 3, 0);
    assert_fails(CR_INVALID, UP "values: its shape must be [4]", open_with(entries, 3, good_config));
    entries[0].shape[0] = 56;
    entries[0].bytes.size -= sizeof *starts;
    entries[2] = floats(UP "values", numbers, 4, 0);
    assert_fails(CR_INVALID, UP "crow_indices: its shape must be [57]", open_with(entries, 3, good_config));
}

static void other_configurations_are_refused(void **state)
{
    (void)state;
    const int32_t rows[] = {1, 2};
    const struct cr_tensor_entry entries[] = {integers(Q "rows", rows, 2),
                                              floats(Q "values", numbers, 2, 24)};
    assert_fails(CR_INVALID, "spf_config.json: format", open_with(entries, 2, "{\"version\": 1}"));
    assert_fails(CR_UNSUPPORTED, "version: 2",
                 open_with(entries, 2, "{\"format\": \"carrel-spf\", \"version\": 2}"));
    assert_fails(CR_UNSUPPORTED, "criterion: missing, or none that this version knows",
                 open_with(entries, 2, "{\"format\": \"carrel-spf\", \"version\": 1}"));
    assert_fails(CR_INVALID, "density: 2",
                 open_with(entries, 2,
                           "{\"format\": \"carrel-spf\", \"version\": 1, \"criterion\": \"fisher\", "
                           "\"granularity\": \"head\", \"density\": 2}"));
    assert_fails(CR_INVALID, "spf_config.json", open_with(entries, 2, "not JSON"));
}

static void a_prefix_stands_alone(void **state)
{
    (void)state;
    struct cr_structure *read;
    char command[300];
    assert_ok(open_rows((const int32_t[]){0, 2}, 2));
    snprintf(command, sizeof command, "cp tests/golden/prefix-gqa/adapter/adapter_* %s", path_in("made"));
    assert_int_equal(system(command), 0);
    assert_fails(CR_UNSUPPORTED, "a prefix beside spf_config.json is not supported",
                 cr_adapter_open(path_in("made"), model, &read));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_is_read_as_it_was_written),
        cmocka_unit_test(results_of_other_kinds_are_left_alone),
        cmocka_unit_test(wrong_rows_are_refused),
        cmocka_unit_test(wrong_elements_are_refused),
        cmocka_unit_test(other_configurations_are_refused),
        cmocka_unit_test(a_prefix_stands_alone),
    };
    return cmocka_run_group_tests(tests, open_small_model, close_small_model);
}
