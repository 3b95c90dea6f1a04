// Where a split model is cut: how activations are coded, what a silo opens, and what can be read out of what
// it made.
#include "model_support.h"
#include "temporary.h"
#include "tuning_support.h"

#include "tuning/cutter.h"

static const int codings[] = {CR_SPLIT_ACTIVATIONS_FLOAT32, CR_SPLIT_ACTIVATIONS_BFLOAT16,
                              CR_SPLIT_ACTIVATIONS_INT8};
enum { CODINGS = 3, ROWS = 64, WIDTH = 256 };

static struct cr_compute *compute;

static int set_up(void **state)
{
    if (cr_compute_new(1, &compute) != CR_OK) return -1;
    return make_directory(state);
}

static int tear_down(void **state)
{
    cr_compute_free(compute);
    return remove_directory(state);
}

// Roughly normal with variance 1, from twelve uniform draws.
static float normal(uint64_t *random)
{
    float sum = 0;
    for (int i = 0; i < 12; i++) sum += next_float(random);
    return sum / 2;
}

static void a_row_has_the_documented_size(void **state)
{
    (void)state;
    assert_int_equal(cr_cut_row_size(CR_SPLIT_ACTIVATIONS_FLOAT32, 128), 4 * 128);
    assert_int_equal(cr_cut_row_size(CR_SPLIT_ACTIVATIONS_BFLOAT16, 128), 2 * 128);
    assert_int_equal(cr_cut_row_size(CR_SPLIT_ACTIVATIONS_INT8, 128), 128 + 128 / 32);
    assert_int_equal(cr_cut_row_size(CR_SPLIT_ACTIVATIONS_INT8, 24), 24 + 2);
    assert_int_equal(cr_cut_row_size(CR_SPLIT_ACTIVATIONS_INT8, 65), 65 + 4);
}

// The root of the mean squared error over all channels but every `but`-th (0: over all); rows are spaced, as
// a pass's are.
static double error_of(int activations, const float *values, size_t width, size_t but)
{
    static float stream[ROWS * (WIDTH + 16)], back[ROWS * (WIDTH + 16)];
    static unsigned char bytes[ROWS * WIDTH * 4];
    struct cr_matrix from = {
        .data = stream, .dtype = CR_F32, .rows = ROWS, .columns = width, .stride = width + 16};
    struct cr_matrix to = from;
    double sum = 0;
    size_t count = 0;
    to.data = back;
    for (size_t i = 0; i < ROWS; i++)
        memcpy(stream + i * (width + 16), values + i * width, width * sizeof(float));
    assert_ok(cr_cut_encode(compute, activations, from, bytes));
    assert_ok(cr_cut_decode(compute, activations, bytes, to));
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < width; j++) {
            if (but && j % but == 5) continue;
            double difference = (double)(back[i * (width + 16) + j] - values[i * width + j]);
            sum += difference * difference;
            count++;
        }
    return sqrt(sum / (double)count);
}

static void float32_is_exact_and_the_others_nearly(void **state)
{
    (void)state;
    static float values[ROWS * WIDTH];
    static const size_t widths[] = {WIDTH, 128, 24, 65, 1};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        uint64_t random = 3;
        for (size_t i = 0; i < ROWS * widths[w]; i++) values[i] = normal(&random);
        assert_true(error_of(CR_SPLIT_ACTIVATIONS_FLOAT32, values, widths[w], 0) == 0);
        double half = error_of(CR_SPLIT_ACTIVATIONS_BFLOAT16, values, widths[w], 0);
        double eight = error_of(CR_SPLIT_ACTIVATIONS_INT8, values, widths[w], 0);
        if (half > 0.002 || eight > 0.009 || (half == 0 && widths[w] > 1))
            fail_msg("width %zu: errors %g and %g", widths[w], half, eight);
    }
}

// One channel a hundred times the others. In a plain scale those of its group would have an error of 0.23 (a
// step of 100/127 over √12); rotated, all share one that falls with the root of the width.
static void an_outlier_leaves_the_other_channels_their_digits(void **state)
{
    (void)state;
    static float values[ROWS * WIDTH];
    static const struct {
        size_t width;
        double most;
    } cases[] = {{64, 0.04}, {128, 0.03}, {WIDTH, 0.024}};
    for (size_t c = 0; c < 3; c++) {
        size_t width = cases[c].width;
        uint64_t random = 4;
        for (size_t i = 0; i < ROWS * width; i++) values[i] = normal(&random) * (i % width == 5 ? 100 : 1);
        double error = error_of(CR_SPLIT_ACTIVATIONS_INT8, values, width, width);
        print_message("width %zu: an error of %.4f\n", width, error);
        assert_true(error < cases[c].most);
        assert_true(error_of(CR_SPLIT_ACTIVATIONS_BFLOAT16, values, width, width) < 0.002);
    }
}

static void extremes_come_back(void **state)
{
    (void)state;
    static float values[ROWS * WIDTH];
    for (size_t c = 0; c < CODINGS; c++) assert_true(error_of(codings[c], values, WIDTH, 0) == 0); // zeros
    for (size_t i = 0; i < ROWS * WIDTH; i++) values[i] = i % 2 ? 1e-38f : -1e-30f;
    for (size_t c = 0; c < CODINGS; c++) assert_true(error_of(codings[c], values, WIDTH, 0) < 1e-32);
    for (size_t i = 0; i < ROWS * WIDTH; i++) values[i] = i % 2 ? 1e12f : -1e12f;
    for (size_t c = 0; c < CODINGS; c++) assert_true(error_of(codings[c], values, WIDTH, 0) < 1e10);
}

static void what_is_no_number_is_refused(void **state)
{
    (void)state;
    static const float wrong[] = {NAN, INFINITY, -INFINITY, 2 * CR_CUT_LARGEST, -1e30f};
    float row[WIDTH] = {0}, back[WIDTH];
    unsigned char bytes[WIDTH * 4];
    for (size_t c = 0; c < CODINGS; c++)
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            row[77] = wrong[i];
            assert_fails(CR_INVALID, "NaN or infinite",
                         cr_cut_encode(compute, codings[c], cr_matrix_of(row, CR_F32, 1, WIDTH), bytes));
            // From a peer: no number, no scale.
            memset(bytes, 0xff, sizeof bytes);
            assert_fails(CR_INVALID, "NaN or infinite",
                         cr_cut_decode(compute, codings[c], bytes, cr_matrix_of(back, CR_F32, 1, WIDTH)));
        }
    memset(bytes, 127, sizeof bytes); // a number that is too large for its sum
    memset(bytes + WIDTH, 0x7f, 8);
    assert_fails(
        CR_INVALID, "NaN or infinite",
        cr_cut_decode(compute, CR_SPLIT_ACTIVATIONS_INT8, bytes, cr_matrix_of(back, CR_F32, 1, WIDTH)));
}

static struct cr_tuning_config silo_of(char *model, char *data, size_t layers, int activations)
{
    struct cr_tuning_config config = small_run(data, NULL, 0);
    config.model_name_or_path = model;
    config.split = (struct cr_split_config){.activations = activations, .layers = layers};
    return config;
}

static char data_path[300], front_path[300];
static char small_model[] = SMALL_MODEL;

static void write_data(void)
{
    snprintf(data_path, sizeof data_path, "%s", in_directory("data.jsonl"));
    write_text(data_path, "{\"text\": \"the ward is quiet at night\"}\n{\"text\": \"so are we\"}\n"
                          "{\"text\": \"a third row, which is longer than the others are\"}\n");
}

// All that a silo needs of the small model's checkpoint: without its last layer.
static void write_front(void)
{
    struct cr_safetensors *whole;
    struct cr_tensor_entry entries[64];
    size_t count = 0;
    snprintf(front_path, sizeof front_path, "%s", in_directory("front"));
    assert_ok(cr_directory_make(front_path, true));
    assert_ok(cr_safetensors_open(SMALL_MODEL, &whole));
    for (size_t i = 0; i < cr_safetensors_count(whole); i++) {
        const struct cr_tensor_entry *entry = cr_safetensors_at(whole, i);
        if (!strstr(entry->name, "layers.1.") && strcmp(entry->name, "model.norm.weight") != 0)
            entries[count++] = *entry;
    }
    assert_true(count < cr_safetensors_count(whole));
    assert_ok(cr_safetensors_write(in_directory("front/model.safetensors"), entries, count, false));
    cr_safetensors_free(whole);
    static const char *const files[] = {"config.json", "tokenizer.json", "tokenizer_config.json"};
    for (size_t i = 0; i < 3; i++) {
        char command[700];
        snprintf(command, sizeof command, "cp %s/%s %s", SMALL_MODEL, files[i], front_path);
        assert_int_equal(system(command), 0);
    }
}

static void a_silo_needs_no_tensor_of_the_tail(void **state)
{
    (void)state;
    struct cr_base_digest digest[2], changed;
    unsigned char data[CR_SHA256_SIZE];
    struct cr_buffer made[2] = {0};
    write_data();
    write_front();
    char *const models[] = {small_model, front_path};
    for (size_t i = 0; i < 2; i++) {
        struct cr_tuning_config config = silo_of(models[i], data_path, 1, CR_SPLIT_ACTIVATIONS_FLOAT32);
        struct cr_cutter *cutter;
        size_t end;
        assert_ok(cr_cutter_new(&config, compute, NULL, &cutter));
        assert_ok(cr_cutter_digest(cutter, &digest[i], data));
        assert_ok(cr_cutter_walk(cutter, 0, &made[i], &end));
        assert_int_equal(end, 3);
        cr_cutter_free(cutter);
    }
    assert_memory_equal(&digest[0], &digest[1], sizeof *digest);
    assert_true(cr_slice_equal(cr_buffer_slice(&made[0]), cr_buffer_slice(&made[1])));
    for (size_t i = 0; i < 2; i++) cr_buffer_release(&made[i]);
    // The whole checkpoint, as a server has it, has that front; one layer more has another.
    struct cr_model *shape;
    assert_ok(cr_model_open(SMALL_MODEL, CR_MODEL_SHAPE, NULL, compute, CR_F32, &shape));
    assert_ok(cr_base_digest_front(shape, SMALL_MODEL, false, 1, &changed));
    assert_memory_equal(&digest[0], &changed, sizeof changed);
    assert_ok(cr_base_digest_front(shape, SMALL_MODEL, false, 0, &changed));
    assert_memory_not_equal(digest[0].model, changed.model, CR_SHA256_SIZE);
    cr_model_free(shape);
    // A tensor of its own a silo cannot do without, nor walk what it lacks.
    struct cr_tuning_config config = silo_of(front_path, data_path, 2, CR_SPLIT_ACTIVATIONS_FLOAT32);
    struct cr_cutter *cutter;
    assert_fails(CR_INVALID, "layers.1.", cr_cutter_new(&config, compute, NULL, &cutter));
    config = silo_of(small_model, data_path, 2, CR_SPLIT_ACTIVATIONS_FLOAT32);
    assert_fails(CR_INVALID, "split.layers: 2: the model has 2",
                 cr_cutter_new(&config, compute, NULL, &cutter));
}

static void a_front_that_makes_no_numbers_is_named(void **state)
{
    (void)state;
    static unsigned char nan[64];
    memset(nan, 0xff, sizeof nan);
    write_data();
    write_front();
    FILE *file = fopen(in_directory("front/model.safetensors"), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -(long)sizeof nan, SEEK_END), 0);
    assert_int_equal(fwrite(nan, sizeof nan, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    struct cr_tuning_config config = silo_of(front_path, data_path, 1, CR_SPLIT_ACTIVATIONS_INT8);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer made = {0};
    struct cr_cutter *cutter;
    size_t end;
    assert_ok(cr_cutter_new(&config, compute, NULL, &cutter));
    assert_fails(CR_INVALID, "layers below split.layers, of examples 1 to 3: an activation is NaN",
                 cr_cutter_walk(cutter, 0, &made, &end));
    assert_int_equal(made.size, 0);
    cr_cutter_free(cutter);
}

static void what_a_part_lacks_takes_no_memory_and_computes_nothing(void **state)
{
    (void)state;
    struct cr_model *whole, *part;
    const struct cr_model_part tail = cr_model_tail(1);
    assert_ok(cr_model_open(SMALL_MODEL, CR_MODEL_IN_8BIT, NULL, compute, CR_F32, &whole));
    assert_ok(cr_model_open(SMALL_MODEL, CR_MODEL_IN_8BIT, &tail, compute, CR_F32, &part));
    assert_true(part->memory.size < whole->memory.size * 3 / 4);
    assert_int_equal(part->layers[0].qkv.in, whole->layers[0].qkv.in);
    struct cr_matrix nothing = {0};
    assert_fails(CR_INTERNAL, "",
                 part->layers[0].qkv.provider->forward(&part->layers[0].qkv, nothing, nothing));
    cr_model_free(whole);
    cr_model_free(part);
}

// What an attacker makes of the front, which is no secret: the mean of what it makes of each token, [V,d],
// over random texts.
static float *dictionary(const struct cr_model *model, size_t layers)
{
    enum { SEQUENCES = 64, LENGTH = 64, BATCHES = THOROUGH ? 8 : 2 };
    size_t d = model->config.hidden, vocabulary = model->config.vocabulary, lengths[SEQUENCES];
    const struct cr_pass_size size = {
        .rows = SEQUENCES * LENGTH, .sequences = SEQUENCES, .last = cr_most(layers, 1)};
    struct cr_pass *pass;
    float *mean;
    CR_FREE size_t *seen = NULL;
    assert_ok(cr_pass_new(model, &size, NULL, &pass));
    assert_ok(cr_allocate(vocabulary * d, sizeof *mean, &mean));
    assert_ok(cr_allocate(vocabulary, sizeof *seen, &seen));
    for (size_t i = 0; i < SEQUENCES; i++) lengths[i] = LENGTH;
    for (size_t b = 0; b < BATCHES; b++) {
        struct sample sample = random_sample(lengths, SEQUENCES, vocabulary, b);
        assert_ok(cr_pass_forward(pass, NULL, &sample.rows, 0, layers));
        struct cr_matrix stream = cr_pass_stream(pass);
        for (size_t i = 0; i < sample.rows.rows; i++) {
            seen[sample.tokens[i]]++;
            for (size_t j = 0; j < d; j++)
                mean[sample.tokens[i] * d + j] += ((const float *)stream.data)[i * stream.stride + j];
        }
        sample_free(&sample);
    }
    for (size_t v = 0; v < vocabulary; v++)
        for (size_t j = 0; j < d; j++) mean[v * d + j] /= (float)cr_most(seen[v], 1);
    cr_pass_free(pass);
    return mean;
}

// The token whose mean is nearest to each activation: how many an attacker reads.
static double inverted(const float *mean, size_t vocabulary, size_t d, const float *stream,
                       const uint32_t *tokens, size_t rows)
{
    size_t right = 0;
    for (size_t i = 0; i < rows; i++) {
        size_t best = 0;
        double nearest = INFINITY;
        for (size_t v = 0; v < vocabulary; v++) {
            double distance = 0;
            for (size_t j = 0; j < d; j++) {
                double x = (double)(stream[i * d + j] - mean[v * d + j]);
                distance += x * x;
            }
            if (distance < nearest) {
                nearest = distance;
                best = v;
            }
        }
        right += best == tokens[i];
    }
    return (double)right / (double)rows;
}

// Activations are as readable as the texts: this is why they leave a silo for its server alone, under TLS,
// and why that one seals them. (e2e/test_split.py makes the same attack on what others see.)
static void activations_in_the_clear_are_the_prompt(void **state)
{
    (void)state;
    static char demo[] = "examples/demo/model";
    struct cr_model *model;
    write_data();
    assert_ok(cr_model_open(demo, CR_MODEL_AS_FILED, NULL, compute, CR_F32, &model));
    size_t d = model->config.hidden;
    for (size_t layers = 0; layers < 2; layers++) {
        CR_FREE float *mean = dictionary(model, layers);
        for (size_t c = 0; c < CODINGS; c++) {
            struct cr_tuning_config config = silo_of(demo, data_path, layers, codings[c]);
            struct cr_cutter *cutter;
            struct cr_buffer made = {0};
            size_t end;
            assert_ok(cr_cutter_new(&config, compute, NULL, &cutter));
            assert_ok(cr_cutter_walk(cutter, 0, &made, &end));
            const struct cr_dataset *data = cr_cutter_data(cutter);
            size_t rows = made.size / cr_cutter_row_size(cutter);
            CR_FREE float *stream = NULL;
            assert_ok(cr_allocate(rows * d, sizeof *stream, &stream));
            assert_ok(cr_cut_decode(compute, codings[c], made.data, cr_matrix_of(stream, CR_F32, rows, d)));
            double read =
                inverted(mean, model->config.vocabulary, d, stream, cr_dataset_at(data, 0).tokens, rows);
            print_message("%zu layers, coding %d: %.2f of the tokens\n", layers, codings[c], read);
            assert_true(read > (layers == 0 ? 0.99 : 0.6)); // of 1024, one by chance
            cr_buffer_release(&made);
            cr_cutter_free(cutter);
        }
    }
    cr_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_has_the_documented_size),
        cmocka_unit_test(float32_is_exact_and_the_others_nearly),
        cmocka_unit_test(an_outlier_leaves_the_other_channels_their_digits),
        cmocka_unit_test(extremes_come_back),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(a_silo_needs_no_tensor_of_the_tail),
        cmocka_unit_test(a_front_that_makes_no_numbers_is_named),
        cmocka_unit_test(what_a_part_lacks_takes_no_memory_and_computes_nothing),
        cmocka_unit_test(activations_in_the_clear_are_the_prompt),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
