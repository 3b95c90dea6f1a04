// What a split model's server keeps: sealed, bounded, whole after any end; and a tail that is trained on it
// learns what one machine learns from everybody's data together.
#include "temporary.h"
#include "tuning_support.h"

#include "federation/cut_store.h"
#include "tuning/cutter.h"
#include "tuning/trainer_parts.h"

#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <sys/stat.h>

enum { SILOS = 3, LONGEST = 48, STEPS = THOROUGH ? 9 : 3 };
static const char *const names[SILOS] = {"anne", "ben", "cleo"};
static const size_t sizes[SILOS] = {7, 5, 9};
static char data[SILOS][300], pooled[300], store_path[300];
static char small_model[] = SMALL_MODEL, demo_model[] = "examples/demo/model", all_linear[] = "all-linear";
static char *modules[] = {all_linear};
static unsigned char secret[CR_KEY_SIZE] = {1}, run_id[CR_SHA256_SIZE] = {2};
static struct cr_compute *compute;

static int set_up(void **state)
{
    char all[8192] = "";
    if (make_directory(state) != 0 || cr_compute_new(1, &compute) != CR_OK) return -1;
    snprintf(store_path, sizeof store_path, "%s", in_directory("store"));
    for (size_t s = 0; s < SILOS; s++) {
        char rows[4096] = "";
        for (size_t i = 0; i < sizes[s]; i++)
            snprintf(rows + strlen(rows), sizeof rows - strlen(rows), "{\"text\": \"%s has row %zu %.*s\"}\n",
                     names[s], i * i, (int)(3 * i), "of a ward that is very quiet");
        snprintf(data[s], sizeof data[s], "%s", in_directory(names[s]));
        write_text(data[s], rows);
        strcat(all, rows);
    }
    snprintf(pooled, sizeof pooled, "%s", in_directory("pooled"));
    write_text(pooled, all);
    return 0;
}

static int tear_down(void **state)
{
    cr_compute_free(compute);
    return remove_directory(state);
}

static void empty_store(void)
{
    char command[400];
    snprintf(command, sizeof command, "rm -rf %s", store_path);
    assert_int_equal(system(command), 0);
}

static struct cr_tuning_config config_of(char *model, char *train, size_t layers, int activations)
{
    struct cr_tuning_config config = small_run(train, modules, 1);
    config.model_name_or_path = model;
    config.training.max_steps = STEPS;
    config.split = (struct cr_split_config){.activations = activations, .layers = layers};
    return config;
}

static struct cr_cut_store *store_of(const struct cr_tuning_config *config, uint64_t limit)
{
    struct cr_model_config model;
    struct cr_cut_store *store;
    assert_ok(cr_model_config_read(config->model_name_or_path, &model));
    const struct cr_cut_store_options options = {.directory = store_path,
                                                 .secret = secret,
                                                 .run = run_id,
                                                 .activations = config->split.activations,
                                                 .layer = config->split.layers,
                                                 .hidden = model.hidden,
                                                 .vocabulary = model.vocabulary,
                                                 .longest = LONGEST,
                                                 .limit = limit};
    assert_ok(cr_cut_store_open(&options, &store));
    return store;
}

// What a silo made, as a server gets it: activations of an example's rows, then its labels.
struct sent {
    struct cr_cutter *cutter;
    struct cr_cut_offer offer;
    struct cr_buffer made, *examples; // of all rows, and of each example
};

static struct sent silo_new(const struct cr_tuning_config *settings, size_t silo)
{
    struct cr_tuning_config config = *settings;
    struct sent sent = {0};
    struct cr_base_digest front;
    config.data.train = data[silo];
    assert_ok(cr_cutter_new(&config, compute, NULL, &sent.cutter));
    assert_ok(cr_cutter_digest(sent.cutter, &front, sent.offer.data));
    const struct cr_dataset *rows = cr_cutter_data(sent.cutter);
    sent.offer.examples = cr_dataset_count(rows);
    assert_ok(cr_allocate(sent.offer.examples, sizeof *sent.examples, &sent.examples));
    for (size_t next = 0; next < sent.offer.examples;)
        assert_ok(cr_cutter_walk(sent.cutter, next, &sent.made, &next));
    size_t row_size = cr_cutter_row_size(sent.cutter);
    for (size_t i = 0; i < sent.offer.examples; i++) {
        const struct cr_example example = cr_dataset_at(rows, i);
        assert_ok(cr_append(&sent.examples[i], sent.made.data + sent.offer.rows * row_size,
                            example.count * row_size));
        assert_ok(cr_append(&sent.examples[i], example.labels, example.count * sizeof *example.labels));
        sent.offer.rows += example.count;
    }
    return sent;
}

static void silo_free(struct sent *sent)
{
    for (size_t i = 0; i < sent->offer.examples; i++) cr_buffer_release(&sent->examples[i]);
    free(sent->examples);
    cr_buffer_release(&sent->made);
    cr_cutter_free(sent->cutter);
}

static size_t rows_of(const struct sent *sent, size_t i)
{
    return cr_dataset_at(cr_cutter_data(sent->cutter), i).count;
}

static void put(struct cr_cut_store *store, const char *name, const struct sent *sent, size_t first,
                size_t last)
{
    bool news;
    for (size_t i = first; i < last; i++)
        assert_ok(cr_cut_store_put(store, name, sent->examples[i].data, rows_of(sent, i)));
    assert_ok(cr_cut_store_sync(store, name, &news));
    assert_int_equal(cr_cut_store_held(store, name).examples, last);
    assert_true(news == (last > first));
}

static void send_all(struct cr_cut_store *store, const struct cr_tuning_config *config)
{
    static const size_t order[SILOS] = {2, 0, 1}; // not that of names
    for (size_t s = 0; s < SILOS; s++) {
        struct sent sent = silo_new(config, order[s]);
        assert_ok(cr_cut_store_offer(store, names[order[s]], &sent.offer));
        put(store, names[order[s]], &sent, 0, sent.offer.examples);
        silo_free(&sent);
    }
    assert_int_equal(cr_cut_store_complete(store), SILOS);
}

struct outcome {
    double loss[STEPS];
    float *values;
    size_t count;
};

static struct outcome train(const struct cr_tuning_config *config)
{
    struct outcome out = {0};
    struct cr_trainer *trainer;
    assert_ok(cr_trainer_new(config, compute, NULL, &trainer));
    assert_int_equal(cr_trainer_total_steps(trainer), STEPS);
    for (size_t i = 0; i < STEPS; i++) {
        struct cr_tally tally = {0};
        assert_ok(cr_trainer_run(trainer, 1, &tally, NULL, NULL));
        out.loss[i] = tally.loss_sum / (double)tally.labelled;
    }
    out.count = cr_trainer_parameters(trainer)->count;
    assert_ok(cr_allocate(out.count, sizeof *out.values, &out.values));
    memcpy(out.values, cr_trainer_parameters(trainer)->values, out.count * sizeof *out.values);
    cr_trainer_free(trainer);
    return out;
}

// Three silos' activations, against one machine with all their data and adapters in the same layers.
static void check_pooled(char *model, size_t layers, size_t all, bool packing, int method, int criterion)
{
    size_t tail[16];
    for (size_t i = layers; i < all; i++) tail[i - layers] = i;
    struct cr_tuning_config split = config_of(model, NULL, layers, CR_SPLIT_ACTIVATIONS_FLOAT32);
    split.lora.targets.layers = (struct cr_size_list){tail, all - layers};
    split.lora.lora_dropout = 0.1;
    split.method = method;
    split.spf = (struct cr_spf_config){.criterion = criterion,
                                       .granularity = criterion % 3,
                                       .density = 0.1,
                                       .targets.modules = {modules, 1},
                                       .targets.layers = split.lora.targets.layers,
                                       .calibration_batches = 3};
    split.data.packing = packing;
    if (packing) split.training.per_device_train_batch_size = 1;
    struct cr_tuning_config whole = split;
    whole.split = (struct cr_split_config){0};
    whole.data.train = pooled;
    empty_store();
    struct cr_cut_store *store = store_of(&split, UINT64_MAX);
    send_all(store, &split);
    split.cut = cr_cut_store_cut(store);
    struct outcome a = train(&split), b = train(&whole);
    for (size_t i = 0; i < STEPS; i++)
        if (!(fabs(a.loss[i] - b.loss[i]) <= 1e-5 * b.loss[i]))
            fail_msg("%zu layers, step %zu: %.9g, and pooled %.9g", layers, i + 1, a.loss[i], b.loss[i]);
    // Every value is trained, so none of a change stays zero.
    if (method == CR_METHOD_LORA) assert_true(b.loss[STEPS - 1] < b.loss[0]);
    for (size_t i = 0; i < b.count; i++) assert_true(b.values[i] != 0);
    // And more: the same bits.
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.values, b.values, a.count * sizeof *a.values);
    free(a.values);
    free(b.values);
    cr_cut_store_close(store);
}

static void a_tail_learns_what_pooled_data_teach(void **state)
{
    (void)state;
    for (size_t layers = 0; layers < 2; layers++)
        check_pooled(small_model, layers, 2, layers == 1, CR_METHOD_LORA, 0);
    for (size_t layers = 0; layers < 6; layers += THOROUGH ? 1 : 5)
        check_pooled(demo_model, layers, 6, false, CR_METHOD_LORA, 0);
}

// By gradients as well: activations are what to calibrate on.
static void a_tail_chooses_what_pooled_data_choose(void **state)
{
    (void)state;
    for (int criterion = CR_SPF_WEIGHT_L1; criterion <= CR_SPF_RANDOM; criterion++) {
        check_pooled(small_model, 1, 2, false, CR_METHOD_SPF, criterion);
        if (THOROUGH) check_pooled(demo_model, 4, 6, false, CR_METHOD_LORA_SPF, criterion);
    }
    // Before there is any.
    struct cr_trainer *trainer;
    struct cr_tuning_config config = config_of(small_model, NULL, 1, CR_SPLIT_ACTIVATIONS_BFLOAT16);
    config.method = CR_METHOD_SPF;
    config.spf = (struct cr_spf_config){.criterion = CR_SPF_FISHER,
                                        .density = 0.5,
                                        .targets.modules = {modules, 1},
                                        .calibration_batches = 1};
    assert_fails(CR_INVALID, "nothing yet", cr_trainer_new(&config, compute, NULL, &trainer));
}

static void a_trainer_refuses_what_is_not_the_tails(void **state)
{
    (void)state;
    static size_t both[] = {0, 1};
    struct cr_trainer *trainer;
    struct cr_tuning_config config = config_of(small_model, NULL, 1, CR_SPLIT_ACTIVATIONS_BFLOAT16);
    config.lora.targets.layers = (struct cr_size_list){both, 2};
    assert_fails(CR_INVALID, "layer 0 is the silos'", cr_trainer_new(&config, compute, NULL, &trainer));
    config.split.layers = 2;
    assert_fails(CR_INVALID, "split.layers: 2", cr_trainer_new(&config, compute, NULL, &trainer));
    config.data.train = pooled;
    assert_fails(CR_INVALID, "one process alone", cr_trainer_new(&config, compute, NULL, &trainer));
    config.data.train = NULL;
    config.slicing.pads = CR_PADS_MODE_ENCLAVE;
    config.slicing.clear_front = CR_CLEAR_FRONT_LOCAL;
    assert_fails(CR_INVALID, "clear_front: not with split", cr_trainer_new(&config, compute, NULL, &trainer));
    config.slicing.clear_front = CR_CLEAR_FRONT_NONE;
    struct cr_cut cut = {0};
    config.cut = &cut;
    assert_fails(CR_INVALID, "slicing.accelerators: 0", cr_trainer_new(&config, compute, NULL, &trainer));
    config.cut = NULL;
    config.slicing.pads = CR_PADS_MODE_NONE;
    config.method = CR_METHOD_FULL;
    assert_fails(CR_INVALID, "method: lora, spf", cr_trainer_new(&config, compute, NULL, &trainer));
}

// A tail's state is of these activations: of others, though their labels are the same, it is not.
static void a_state_goes_on_with_its_own_activations_alone(void **state)
{
    (void)state;
    static size_t last[] = {1};
    struct cr_tally tally = {0};
    const char *path = in_directory("trainer.state");
    for (int activations = CR_SPLIT_ACTIVATIONS_FLOAT32; activations <= CR_SPLIT_ACTIVATIONS_INT8;
         activations++) {
        struct cr_tuning_config config = config_of(small_model, NULL, 1, activations);
        struct cr_trainer *trainer;
        config.lora.targets.layers = (struct cr_size_list){last, 1};
        empty_store();
        struct cr_cut_store *store = store_of(&config, UINT64_MAX);
        send_all(store, &config);
        config.cut = cr_cut_store_cut(store);
        assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
        if (activations == CR_SPLIT_ACTIVATIONS_FLOAT32) {
            assert_ok(cr_trainer_run(trainer, 2, &tally, NULL, NULL));
            assert_ok(cr_trainer_save_state(trainer, NULL, path));
            assert_ok(cr_trainer_load_state(trainer, NULL, path));
        } else {
            assert_fails(CR_INVALID, "of another run", cr_trainer_load_state(trainer, NULL, path));
        }
        cr_trainer_free(trainer);
        cr_cut_store_close(store);
    }
}

static char *file_of(const char *name, size_t number)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s.%zu", store_path, name, number);
    return path;
}

static void change(const char *path, off_t at)
{
    unsigned char byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void cut_off(const char *path, off_t bytes)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size - bytes), 0);
}

static const struct cr_tuning_config *kept_config(void)
{
    static struct cr_tuning_config config;
    config = config_of(small_model, NULL, 1, CR_SPLIT_ACTIVATIONS_BFLOAT16);
    return &config;
}

// Another process takes up what is there.
static uint64_t restored(struct cr_cut_store **store, const char *name)
{
    cr_cut_store_close(*store);
    *store = store_of(kept_config(), UINT64_MAX);
    assert_ok(cr_cut_store_restore(*store, name));
    return cr_cut_store_held(*store, name).examples;
}

static void what_was_acknowledged_is_there_after_any_end(void **state)
{
    (void)state;
    empty_store();
    struct cr_cut_store *store = store_of(kept_config(), UINT64_MAX);
    struct sent sent = silo_new(kept_config(), 0);
    assert_ok(cr_cut_store_offer(store, "anne", &sent.offer));
    put(store, "anne", &sent, 0, 3);
    assert_int_equal(restored(&store, "anne"), 3);
    assert_true(cr_cut_store_offered(store, "anne", &sent.offer));
    // On from there, in a file of this process; the last example was being written when it ended.
    put(store, "anne", &sent, 3, 5);
    cut_off(file_of("anne", 1), 1);
    assert_int_equal(restored(&store, "anne"), 4);
    put(store, "anne", &sent, 4, 5);
    put(store, "anne", &sent, 5, 6);
    assert_int_equal(restored(&store, "anne"), 6);
    assert_false(cr_cut_store_held(store, "anne").complete);
    put(store, "anne", &sent, 6, 7);
    assert_true(cr_cut_store_held(store, "anne").complete);
    assert_int_equal(restored(&store, "anne"), 7);
    assert_int_equal(cr_cut_store_complete(store), 1);
    // What was put together from three files is what was sent.
    struct cr_cut *cut = cr_cut_store_cut(store);
    assert_ok(cut->open(cut));
    assert_int_equal(cr_dataset_count(cut->data), 7);
    size_t d = 24, row_size = cr_cutter_row_size(sent.cutter);
    for (size_t i = 0; i < 7; i++) {
        size_t rows = rows_of(&sent, i);
        CR_FREE float *got = NULL;
        CR_FREE float *want = NULL;
        assert_ok(cr_allocate(rows * d, sizeof *got, &got));
        assert_ok(cr_allocate(rows * d, sizeof *want, &want));
        assert_ok(cut->load(cut, i, cr_matrix_of(got, CR_F32, rows, d)));
        assert_ok(cr_cut_decode(compute, CR_SPLIT_ACTIVATIONS_BFLOAT16, sent.examples[i].data,
                                cr_matrix_of(want, CR_F32, rows, d)));
        assert_memory_equal(got, want, rows * d * sizeof *got);
        assert_int_equal(cr_dataset_at(cut->data, i).count, rows);
        assert_memory_equal(cr_dataset_at(cut->data, i).labels, sent.examples[i].data + rows * row_size,
                            rows * sizeof(int32_t));
    }
    cr_cut_store_clear(store_path);
    assert_false(cr_file_exists(file_of("anne", 0)) || cr_file_exists(file_of("anne", 2)));
    cr_cut_store_close(store);
    silo_free(&sent);
}

static void what_was_changed_is_not_taken(void **state)
{
    (void)state;
    empty_store();
    struct cr_cut_store *store = store_of(kept_config(), UINT64_MAX);
    struct sent sent = silo_new(kept_config(), 0);
    assert_ok(cr_cut_store_offer(store, "anne", &sent.offer));
    put(store, "anne", &sent, 0, 4);
    size_t row = cr_cutter_row_size(sent.cutter) + sizeof(int32_t);
    off_t second = (off_t)cr_cut_file_size(1, rows_of(&sent, 0) * row);
    // What every such file begins with; of the offer, how many examples; of the second example, its rows, and
    // what was sealed.
    const off_t changes[] = {0, 8 + 32 + 33, second + 4, second + 20};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        change(file_of("anne", 0), changes[i]);
        assert_int_equal(restored(&store, "anne"), changes[i] >= second);
        change(file_of("anne", 0), changes[i]);
        assert_int_equal(restored(&store, "anne"), 4);
    }
    // As another silo's, or another run's, it does not open; nor after training began is a change used.
    char command[900];
    snprintf(command, sizeof command, "cp %s/anne.0 %s/ben.0", store_path, store_path);
    assert_int_equal(system(command), 0);
    assert_int_equal(restored(&store, "ben"), 0);
    run_id[0]++;
    assert_int_equal(restored(&store, "anne"), 0);
    run_id[0]--;
    secret[5]++;
    assert_int_equal(restored(&store, "anne"), 0);
    secret[5]--;
    assert_int_equal(restored(&store, "anne"), 4);
    put(store, "anne", &sent, 4, 7);
    float stream[LONGEST * 24];
    struct cr_cut *cut = cr_cut_store_cut(store);
    assert_ok(cut->open(cut));
    change(file_of("anne", 0), second + 20);
    struct cr_matrix rows = cr_matrix_of(stream, CR_F32, rows_of(&sent, 1), 24);
    assert_fails(CR_DENIED, "anne.0: example 2 is not what was sealed", cut->load(cut, 1, rows));
    rows.rows = rows_of(&sent, 2);
    assert_ok(cut->load(cut, 2, rows));
    cr_cut_store_close(store);
    silo_free(&sent);
}

static void other_data_begin_anew_and_more_than_fits_is_refused(void **state)
{
    (void)state;
    empty_store();
    struct sent anne = silo_new(kept_config(), 0), ben = silo_new(kept_config(), 1);
    size_t row = cr_cutter_row_size(anne.cutter) + 4;
    uint64_t of_anne = cr_cut_file_size(anne.offer.examples, anne.offer.rows * row),
             of_ben = cr_cut_file_size(ben.offer.examples, ben.offer.rows * row);
    struct cr_cut_store *store = store_of(kept_config(), of_anne + of_ben - 1);
    assert_ok(cr_cut_store_offer(store, "anne", &anne.offer));
    put(store, "anne", &anne, 0, 3);
    assert_fails(CR_DENIED, "(split.storage)", cr_cut_store_offer(store, "ben", &ben.offer));
    assert_ok(cr_cut_store_offer(store, "anne", &anne.offer)); // the same
    assert_int_equal(cr_cut_store_held(store, "anne").examples, 3);
    assert_ok(cr_cut_store_offer(store, "anne", &ben.offer)); // other data
    assert_int_equal(cr_cut_store_held(store, "anne").examples, 0);
    assert_false(cr_file_exists(file_of("anne", 0)));
    // The file is as large as was promised.
    put(store, "anne", &ben, 0, ben.offer.examples);
    struct stat status;
    assert_int_equal(stat(file_of("anne", 0), &status), 0);
    assert_int_equal(status.st_size, of_ben);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(cr_cut_store_held(store, "anne").bytes, of_ben);
    assert_fails(CR_DENIED, "more than it offered", cr_cut_store_put(store, "anne", ben.examples[0].data, 3));
    cr_cut_store_close(store);
    silo_free(&anne);
    silo_free(&ben);
}

static void what_no_model_makes_is_refused(void **state)
{
    (void)state;
    empty_store();
    struct cr_cut_store *store = store_of(kept_config(), UINT64_MAX);
    struct sent sent = silo_new(kept_config(), 0);
    size_t rows = rows_of(&sent, 0), labels = rows * cr_cutter_row_size(sent.cutter);
    unsigned char *bytes = sent.examples[0].data;
    struct cr_buffer kept = {0};
    assert_ok(cr_append(&kept, bytes, sent.examples[0].size));
    assert_ok(cr_cut_store_offer(store, "anne", &sent.offer));
    static const int32_t wrong[] = {300, -1, -101, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(bytes + labels, &wrong[i], sizeof *wrong);
        assert_fails(CR_DENIED, "example 1 of anne: label", cr_cut_store_put(store, "anne", bytes, rows));
    }
    for (size_t i = 0; i < rows; i++) memcpy(bytes + labels + 4 * i, &(int32_t){CR_LABEL_IGNORE}, 4);
    assert_fails(CR_DENIED, "nothing of it is labelled", cr_cut_store_put(store, "anne", bytes, rows));
    memcpy(bytes, kept.data, kept.size);
    memset(bytes + 2, 0xff, 2);
    assert_fails(CR_DENIED, "NaN or infinite", cr_cut_store_put(store, "anne", bytes, rows));
    memcpy(bytes, kept.data, kept.size);
    put(store, "anne", &sent, 0, 1);
    struct cr_cut_offer offers[] = {sent.offer, sent.offer, sent.offer, sent.offer, sent.offer};
    offers[0].examples = 0;
    offers[1].rows = offers[1].examples - 1;
    offers[2].rows = offers[2].examples * (LONGEST + 1);
    offers[3].examples = UINT64_MAX;
    offers[4].examples = offers[4].rows = UINT32_MAX;
    offers[4].rows = UINT64_MAX;
    for (size_t i = 0; i < 5; i++)
        assert_fails(CR_DENIED, "cannot be", cr_cut_store_offer(store, "ben", &offers[i]));
    cr_buffer_release(&kept);
    cr_cut_store_close(store);
    silo_free(&sent);
}

// All activations of a silo's examples are `size`, or of one channel alone. Whether they are taken.
static bool takes(struct cr_cut_store *store, const struct cr_tuning_config *config, float size, bool all)
{
    struct sent sent = silo_new(config, 0);
    enum cr_status status = CR_OK;
    size_t width = cr_cutter_row_size(sent.cutter) / sizeof size;
    assert_ok(cr_cut_store_offer(store, "anne", &sent.offer));
    for (size_t i = 0; i < sent.offer.examples && status == CR_OK; i++) {
        for (size_t j = 0; j < rows_of(&sent, i) * width; j++)
            if (all || j % width == 3) memcpy(sent.examples[i].data + j * sizeof size, &size, sizeof size);
        status = cr_cut_store_put(store, "anne", sent.examples[i].data, rows_of(&sent, i));
    }
    bool news;
    assert_ok(cr_cut_store_sync(store, "anne", &news));
    silo_free(&sent);
    return status == CR_OK;
}

// Numbers that are finite, and whose sums are not, would end the training of all, again and again.
static void what_is_taken_can_be_trained_on(void **state)
{
    (void)state;
    static size_t last[] = {1};
    static char gpt2[] = "tests/golden/lora-gpt2/model";
    static const float values[] = {0x1p40f, -0x1p40f, 0x1.000002p40f, FLT_MAX};
    for (size_t i = 0; i < 8; i++) {
        struct cr_tuning_config config = config_of(gpt2, NULL, 1, CR_SPLIT_ACTIVATIONS_FLOAT32);
        struct cr_trainer *trainer;
        struct cr_tally tally = {0};
        config.lora.targets.layers = (struct cr_size_list){last, 1};
        empty_store();
        struct cr_cut_store *store = store_of(&config, UINT64_MAX);
        assert_int_equal(takes(store, &config, values[i / 2], i % 2), i < 4);
        if (i < 4) {
            config.cut = cr_cut_store_cut(store);
            assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
            assert_ok(cr_trainer_run(trainer, STEPS, &tally, NULL, NULL));
            cr_trainer_free(trainer);
        }
        cr_cut_store_close(store);
    }
}

// Labels and activations are nowhere on the disk, in whatever piece of four bytes and more.
static void files_hold_nothing_in_the_clear(void **state)
{
    (void)state;
    empty_store();
    struct cr_cut_store *store = store_of(kept_config(), UINT64_MAX);
    struct sent sent = silo_new(kept_config(), 2);
    struct cr_buffer file = {0};
    assert_ok(cr_cut_store_offer(store, "cleo", &sent.offer));
    put(store, "cleo", &sent, 0, sent.offer.examples);
    assert_ok(cr_file_read(file_of("cleo", 0), 1 << 24, &file));
    size_t pieces = 0, same = 0;
    for (size_t i = 0; i < sent.offer.examples; i++)
        for (size_t at = 0; at + 8 <= sent.examples[i].size; at += 8) {
            pieces++;
            same += memmem(file.data, file.size, sent.examples[i].data + at, 8) != NULL;
        }
    assert_true(pieces > 1000);
    assert_int_equal(same, 0);
    // The same search finds what is there.
    assert_non_null(memmem(file.data, file.size, file.data + file.size / 2, 8));
    cr_buffer_release(&file);
    cr_cut_store_close(store);
    silo_free(&sent);
}

static void a_part_of_a_silos_data_is_none(void **state)
{
    (void)state;
    empty_store();
    struct cr_cut_store *store = store_of(kept_config(), UINT64_MAX);
    struct cr_cut *cut = cr_cut_store_cut(store);
    for (size_t s = 0; s < 2; s++) {
        struct sent sent = silo_new(kept_config(), s);
        assert_ok(cr_cut_store_offer(store, names[s], &sent.offer));
        put(store, names[s], &sent, 0, sent.offer.examples - s);
        silo_free(&sent);
    }
    assert_ok(cut->open(cut));
    assert_int_equal(cr_dataset_count(cut->data), sizes[0]);
    cr_cut_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_of_a_silos_data_is_none),
        cmocka_unit_test(a_tail_learns_what_pooled_data_teach),
        cmocka_unit_test(a_tail_chooses_what_pooled_data_choose),
        cmocka_unit_test(a_trainer_refuses_what_is_not_the_tails),
        cmocka_unit_test(a_state_goes_on_with_its_own_activations_alone),
        cmocka_unit_test(what_was_acknowledged_is_there_after_any_end),
        cmocka_unit_test(what_was_changed_is_not_taken),
        cmocka_unit_test(other_data_begin_anew_and_more_than_fits_is_refused),
        cmocka_unit_test(what_no_model_makes_is_refused),
        cmocka_unit_test(what_is_taken_can_be_trained_on),
        cmocka_unit_test(files_hold_nothing_in_the_clear),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
