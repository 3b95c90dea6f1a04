// Sparse fine-tuning of a base whose products are an accelerator's, on masked data: the change is the trusted
// process's alone, and what is trained is what a run on the same whole numbers without masks trains.
#include "slicing_support.h"
#include "tuning_support.h"

#include "tuning/trainer_parts.h"

#include <math.h>

#define DATA "tests/golden/lora-gqa-tied/data.jsonl"

enum { STEPS = 12 };

static char q_proj[] = "q_proj";
static char *one_module[] = {q_proj};
static size_t last_layer[] = {1};
static char address[300], *accelerators[] = {address};
static struct hired hired;

static int set_up(void **state)
{
    if (make_directory(state) != 0) return -1;
    snprintf(address, sizeof address, "unix:%s", in_directory("own.sock"));
    hire(&hired, SMALL_MODEL, address);
    return 0;
}

static int tear_down(void **state)
{
    dismiss(&hired);
    return remove_directory(state);
}

static struct cr_tuning_config run_of(int method, int criterion, int granularity, bool sliced)
{
    static char data[] = DATA;
    struct cr_tuning_config config = small_run(data, one_module, 1);
    config.output_dir = directory;
    config.method = method;
    config.spf = spf_choice(criterion, granularity, 0.2);
    config.training.max_steps = STEPS;
    config.training.lanes = 2;
    if (sliced)
        config.slicing = (struct cr_slicing_config){
            .pads = CR_PADS_MODE_ENCLAVE, .accelerators = {accelerators, 1}, .digits = 4};
    else
        config.load_in_8bit = true;
    return config;
}

struct outcome {
    unsigned char digest[CR_SHA256_SIZE];
    double loss;
    size_t products;
    size_t first_layer;
};

static struct outcome run(const struct cr_tuning_config *config)
{
    struct outcome out;
    struct cr_compute *compute;
    struct cr_trainer *trainer;
    struct cr_tally tally = {0};
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_trainer_new(config, compute, NULL, &trainer));
    assert_ok(cr_trainer_digest(trainer, out.digest));
    assert_ok(cr_trainer_run(trainer, STEPS, &tally, NULL, NULL));
    out.loss = tally.loss_sum / (double)tally.labelled;
    out.products = trainer->slicing ? cr_slicing_tally(trainer->slicing).products : 0;
    out.first_layer = cr_front_cache_layer(trainer->front_of_data);
    cr_trainer_free(trainer);
    cr_compute_free(compute);
    return out;
}

// The checkpoint's own weights are looked at in both, so the same places are chosen; gradients are rounded
// otherwise, and choose their own.
static void masks_change_nothing_but_rounding(void **state)
{
    (void)state;
    for (int method = CR_METHOD_SPF; method <= CR_METHOD_LORA_SPF; method++)
        for (int granularity = CR_SPF_HEAD; granularity <= CR_SPF_ELEMENT; granularity++) {
            struct cr_tuning_config masked = run_of(method, CR_SPF_WEIGHT_L1, granularity, true);
            struct cr_tuning_config plain = run_of(method, CR_SPF_WEIGHT_L1, granularity, false);
            struct outcome a = run(&masked), b = run(&plain), again = run(&masked);
            assert_memory_equal(a.digest, b.digest, sizeof a.digest);
            assert_true(a.products > 0);
            print_message("method %d, granularity %d: loss %.6f, without masks %.6f\n", method, granularity,
                          a.loss, b.loss);
            assert_true(fabs(a.loss - b.loss) < 1e-3);
            assert_true(a.loss == again.loss); // pads leave nothing behind
        }
}

static void calibration_goes_through_masks(void **state)
{
    (void)state;
    for (int criterion = CR_SPF_GRADIENT; criterion <= CR_SPF_FISHER; criterion++) {
        struct cr_tuning_config config = run_of(CR_METHOD_SPF, criterion, CR_SPF_ELEMENT, true);
        struct outcome a = run(&config), again = run(&config);
        assert_memory_equal(a.digest, again.digest, sizeof a.digest);
        assert_true(a.loss == again.loss);
        config.spf.criterion = CR_SPF_WEIGHT_L1;
        struct outcome other = run(&config);
        assert_memory_not_equal(a.digest, other.digest, sizeof a.digest);
        assert_true(a.products > other.products); // forward and back over two batches more
    }
}

// The front ends before the first layer that may be trained, whatever is chosen in it.
static void the_clear_front_follows_the_settings(void **state)
{
    (void)state;
    for (int criterion = CR_SPF_WEIGHT_L1; criterion <= CR_SPF_RANDOM; criterion++) {
        struct cr_tuning_config config = run_of(CR_METHOD_SPF, criterion, CR_SPF_ROW, true);
        config.spf.targets.layers = (struct cr_size_list){last_layer, 1};
        struct outcome without = run(&config);
        config.slicing.clear_front = CR_CLEAR_FRONT_LOCAL;
        config.slicing.own_accelerator = address;
        struct outcome with = run(&config);
        assert_int_equal(without.first_layer, 0);
        assert_int_equal(with.first_layer, 1);
        assert_true(with.products < without.products && with.loss == without.loss);
        // LoRA in all layers as well: nothing lies below.
        config.method = CR_METHOD_LORA_SPF;
        assert_int_equal(run(&config).first_layer, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_change_nothing_but_rounding),
        cmocka_unit_test(calibration_goes_through_masks),
        cmocka_unit_test(the_clear_front_follows_the_settings),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
