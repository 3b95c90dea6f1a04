// A run with a clear front: it learns what a run without learns, asks for each example once, and notices when
// what was kept of it is changed.
#include "slicing_support.h"
#include "tuning_support.h"

#include "base/scratch.h"
#include "tuning/trainer_parts.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

enum { EXAMPLES = 12, STEPS = 12, EPOCH = 3 }; // a step takes four

static char all_linear[] = "all-linear";
static char *all_modules[] = {all_linear};
static size_t last_layer[] = {1}, both_layers[] = {0, 1};
static char data[300], address[300], *accelerators[] = {address};
static struct hired hired;

static int set_up(void **state)
{
    char rows[4096] = "";
    if (make_directory(state) != 0) return -1;
    for (size_t i = 0; i < EXAMPLES; i++)
        snprintf(rows + strlen(rows), sizeof rows - strlen(rows), "{\"text\": \"text %zu of a ward %.*s\"}\n",
                 i * i, (int)i, "that is very quiet");
    snprintf(data, sizeof data, "%s", in_directory("data.jsonl"));
    write_text(data, rows);
    snprintf(address, sizeof address, "unix:%s", in_directory("own.sock"));
    hire(&hired, SMALL_MODEL, address);
    return 0;
}

static int tear_down(void **state)
{
    dismiss(&hired);
    return remove_directory(state);
}

// The last of two layers, or both, adapted; the front where `own` is the accelerator's address.
static struct cr_tuning_config run_of(size_t *layers, size_t count, char *own)
{
    struct cr_tuning_config config = small_run(data, all_modules, 1);
    config.output_dir = directory;
    config.data.eval = data;
    config.lora.targets.layers = (struct cr_size_list){layers, count};
    config.training.max_steps = STEPS;
    config.slicing =
        (struct cr_slicing_config){.pads = CR_PADS_MODE_ENCLAVE,
                                   .accelerators = {accelerators, 1},
                                   .digits = 4,
                                   .clear_front = own ? CR_CLEAR_FRONT_LOCAL : CR_CLEAR_FRONT_NONE,
                                   .own_accelerator = own};
    return config;
}

struct outcome {
    double loss, held_out;
    float *values;
    size_t count, memory;
    struct cr_slicing_tally slicing;
    struct cr_front_tally front, front_of_epoch;
};

static struct outcome run(const struct cr_tuning_config *config)
{
    struct outcome out = {0};
    struct cr_compute *compute;
    struct cr_trainer *trainer;
    struct cr_tally tally = {0}, held_out = {0};
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_trainer_new(config, compute, NULL, &trainer));
    assert_ok(cr_trainer_run(trainer, EPOCH, &tally, NULL, NULL));
    if (trainer->front) out.front_of_epoch = cr_front_tally(trainer->front);
    assert_ok(cr_trainer_run(trainer, STEPS - EPOCH, &tally, NULL, NULL));
    out.slicing = cr_slicing_tally(trainer->slicing);
    if (trainer->front) out.front = cr_front_tally(trainer->front);
    for (int i = 0; i < 2; i++) assert_ok(cr_trainer_evaluate(trainer, &held_out, NULL, NULL));
    if (trainer->front) assert_int_equal(cr_front_tally(trainer->front).examples, 2 * EXAMPLES);
    out.loss = tally.loss_sum / (double)tally.labelled;
    out.held_out = held_out.loss_sum / (double)held_out.labelled;
    out.count = trainer->structure->parameters.count;
    out.memory = cr_pass_memory(trainer->walks[0].pass);
    assert_ok(cr_allocate(out.count, sizeof *out.values, &out.values));
    memcpy(out.values, trainer->structure->parameters.values, out.count * sizeof *out.values);
    cr_trainer_free(trainer);
    cr_compute_free(compute);
    return out;
}

static void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_true(a->loss == b->loss && a->held_out == b->held_out);
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->values, b->values, a->count * sizeof *a->values);
}

// In float32, on processors of one kind, a front is what masked layers make, bit for bit.
static void check_same(struct cr_tuning_config with, struct cr_tuning_config without)
{
    struct outcome a = run(&with), b = run(&without);
    assert_same(&a, &b);
    // Forward, one of two layers and the head; back, likewise but for the first product's gradient.
    assert_int_equal(b.slicing.products - a.slicing.products, 4 * b.slicing.products / (8 + 1 + 1 + 3));
    assert_true(a.memory < b.memory && a.slicing.rows < b.slicing.rows);
    assert_int_equal(a.front_of_epoch.examples, EXAMPLES);
    assert_int_equal(a.front.examples, EXAMPLES);
    assert_true(a.front.checked >= 1 && a.front.rows > 0);
    assert_int_equal(b.front.examples, 0);
    free(a.values);
    free(b.values);
}

static void a_run_with_a_front_learns_the_same(void **state)
{
    (void)state;
    check_same(run_of(last_layer, 1, address), run_of(last_layer, 1, NULL));
}

static void packed_examples_do_not_see_each_other(void **state)
{
    (void)state;
    struct cr_tuning_config with = run_of(last_layer, 1, address), without = run_of(last_layer, 1, NULL);
    with.data.packing = without.data.packing = true;
    with.training.per_device_train_batch_size = without.training.per_device_train_batch_size = 1;
    struct outcome a = run(&with), b = run(&without);
    assert_same(&a, &b);
    assert_int_equal(a.front.examples, EXAMPLES);
    free(a.values);
    free(b.values);
}

static void listen_for_front(void *context, const struct cr_event *event)
{
    if (strcmp(event->name, "train.front") == 0) snprintf(context, 512, "%s", event->message);
}

static struct cr_trainer *trainer_of(const struct cr_tuning_config *config, struct cr_compute *compute,
                                     char *said)
{
    struct cr_trainer *trainer;
    const struct cr_event_sink sink = {listen_for_front, said};
    said[0] = 0;
    assert_ok(cr_trainer_new(config, compute, &sink, &trainer));
    return trainer;
}

static void where_the_front_ends_is_told(void **state)
{
    (void)state;
    char said[512], right[600];
    struct cr_compute *compute;
    struct cr_tuning_config config = run_of(last_layer, 1, address);
    assert_ok(cr_compute_new(1, &compute));
    cr_trainer_free(trainer_of(&config, compute, said));
    snprintf(right, sizeof right,
             "the clear front ends before layer 1 of 2: %s, this silo's own, computes what lies below it "
             "once for each example, unmasked",
             address);
    assert_string_equal(said, right);

    config = run_of(both_layers, 2, address);
    struct cr_trainer *trainer = trainer_of(&config, compute, said);
    assert_null(trainer->front);
    assert_string_equal(said, "the clear front is empty: layer 0 is adapted, so the products of all 2 layers "
                              "are masked");
    cr_trainer_free(trainer);

    config.method = CR_METHOD_PREFIX_TUNING;
    config.prefix_tuning.num_virtual_tokens = 3;
    trainer = trainer_of(&config, compute, said);
    assert_null(trainer->front);
    assert_non_null(strstr(said, "is empty"));
    cr_trainer_free(trainer);

    config = run_of(last_layer, 1, NULL);
    cr_trainer_free(trainer_of(&config, compute, said));
    assert_string_equal(said, "");
    cr_compute_free(compute);
}

// Stopped in the second epoch, taken up by another process: it asks again, and ends with the same bits.
static void a_run_that_goes_on_ends_with_the_same_bits(void **state)
{
    (void)state;
    char said[512], path[300];
    struct cr_tally tally = {0};
    struct cr_compute *compute;
    struct cr_tuning_config config = run_of(last_layer, 1, address), other = run_of(last_layer, 1, NULL);
    snprintf(path, sizeof path, "%s", in_directory("trainer.state"));
    struct outcome whole = run(&config);
    assert_ok(cr_compute_new(1, &compute));
    struct cr_trainer *trainer = trainer_of(&config, compute, said);
    assert_ok(cr_trainer_run(trainer, EPOCH + 1, &tally, NULL, NULL));
    assert_ok(cr_trainer_save_state(trainer, NULL, path));
    cr_trainer_free(trainer);
    trainer = trainer_of(&config, compute, said);
    assert_ok(cr_trainer_load_state(trainer, NULL, path));
    assert_ok(cr_trainer_run(trainer, STEPS - EPOCH - 1, &tally, NULL, NULL));
    assert_memory_equal(trainer->structure->parameters.values, whole.values,
                        whole.count * sizeof *whole.values);
    cr_trainer_free(trainer);
    trainer = trainer_of(&other, compute, said);
    assert_fails(CR_INVALID, "the state of another run", cr_trainer_load_state(trainer, NULL, path));
    cr_trainer_free(trainer);
    cr_compute_free(compute);
    free(whole.values);
}

// Changes a byte of each of this process's files that has lost its name, as root could. Returns how many.
static size_t change_scratches(void)
{
    size_t changed = 0;
    DIR *files = opendir("/proc/self/fd");
    assert_non_null(files);
    for (struct dirent *entry; (entry = readdir(files));) {
        char link[300], target[300] = "", byte;
        snprintf(link, sizeof link, "/proc/self/fd/%.200s", entry->d_name);
        if (readlink(link, target, sizeof target - 1) < 0 || !strstr(target, "/clear-front (deleted)"))
            continue;
        int fd = open(link, O_RDWR);
        assert_true(fd >= 0 && pread(fd, &byte, 1, 1000) == 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, 1000), 1);
        close(fd);
        changed++;
    }
    closedir(files);
    return changed;
}

static void what_was_kept_and_changed_is_refused(void **state)
{
    (void)state;
    char said[512];
    struct cr_tally tally = {0};
    struct cr_compute *compute;
    const struct cr_tuning_config config = run_of(last_layer, 1, address);
    assert_ok(cr_compute_new(1, &compute));
    struct cr_trainer *trainer = trainer_of(&config, compute, said);
    assert_ok(cr_trainer_run(trainer, EPOCH, &tally, NULL, NULL));
    assert_ok(cr_trainer_evaluate(trainer, &tally, NULL, NULL));
    assert_int_equal(change_scratches(), 2);
    assert_fails(CR_DENIED, "what was kept of the clear front of example 1 was changed",
                 cr_trainer_run(trainer, EPOCH, &tally, NULL, NULL));
    assert_fails(CR_DENIED, "of the clear front of example 1 was changed",
                 cr_trainer_evaluate(trainer, &tally, NULL, NULL));
    cr_trainer_free(trainer);
    assert_false(cr_file_exists(in_directory("clear-front")));
    cr_compute_free(compute);
}

static void room_that_is_not_there_is_told_before_the_first_step(void **state)
{
    (void)state;
    struct cr_compute *compute;
    struct cr_trainer *none;
    struct cr_scratch *scratch;
    struct cr_tuning_config config = run_of(last_layer, 1, address);
    config.scratch_dir = "/nowhere/at/all";
    assert_ok(cr_compute_new(1, &compute));
    assert_fails(CR_IO, "the clear front: /nowhere/at/all/clear-front",
                 cr_trainer_new(&config, compute, NULL, &none));
    cr_compute_free(compute);
    assert_fails(CR_IO, "clear-front: 9000000000000000000 bytes of room",
                 cr_scratch_open(in_directory("clear-front"), 9000000000000000000u, &scratch));
    assert_false(cr_file_exists(in_directory("clear-front")));
}

static void whose_accelerator_it_is_must_be_said(void **state)
{
    (void)state;
    static char tcp[] = "127.0.0.1:7424";
    struct cr_tuning_config config = run_of(last_layer, 1, address);
    assert_ok(cr_tuning_config_check(&config));
    config.slicing.own_accelerator = NULL;
    assert_fails(CR_INVALID, "name one that is your own in slicing.own_accelerator",
                 cr_tuning_config_check(&config));
    config.data.train = NULL; // a server
    assert_ok(cr_tuning_config_check(&config));
    config = run_of(last_layer, 1, tcp);
    assert_fails(CR_INVALID,
                 "slicing.own_accelerator: 127.0.0.1:7424: texts go in the clear to a unix socket",
                 cr_tuning_config_check(&config));
    config.slicing.own_accelerator = address;
    config.slicing.clear_front = CR_CLEAR_FRONT_NONE;
    assert_fails(CR_INVALID, "slicing.own_accelerator: only with slicing.clear_front: local",
                 cr_tuning_config_check(&config));
    config = run_of(last_layer, 1, address);
    config.slicing.pads = CR_PADS_MODE_NONE;
    config.slicing.accelerators.count = 0;
    assert_fails(CR_INVALID, "slicing.clear_front: not with slicing.pads: none",
                 cr_tuning_config_check(&config));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_with_a_front_learns_the_same),
        cmocka_unit_test(packed_examples_do_not_see_each_other),
        cmocka_unit_test(where_the_front_ends_is_told),
        cmocka_unit_test(a_run_that_goes_on_ends_with_the_same_bits),
        cmocka_unit_test(what_was_kept_and_changed_is_refused),
        cmocka_unit_test(room_that_is_not_there_is_told_before_the_first_step),
        cmocka_unit_test(whose_accelerator_it_is_must_be_said),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
