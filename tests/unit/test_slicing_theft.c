// The theft of an adapter by whoever runs the accelerator. A silo trains one step, on its own data, from an
// adapter that was tuned on data of others. The thief has the base, the silo's data and settings, the
// reported loss and every message; he tunes an adapter of his own until what his copy of the model would ask
// is what he saw. His score is how much of the secret adapter's gain on held-out data of the others his own
// one has: nearly all where nothing is hidden, nothing under pads.
#include "recording_support.h"
#include "tuning_support.h"

#include "tuning/lora.h"
#include "tuning/trainer_parts.h"

enum { SECRET_STEPS = 200, FIT_STEPS = 400, FIT_REPORT = 50, OWN = 24, THEIRS = 40, HELD_OUT = 12 };

// Before each linear of the thief's copy: how far its input is from what was seen, and the gradient of that.
struct bug {
    struct cr_linear inner;
    struct thief *thief;
    const struct series *seen;
    size_t row;  // of the series, for the next input
    float *pull; // [rows of the last input, depth]: the gradient
    size_t capacity;
};

struct thief {
    struct cr_trainer *trainer;
    struct bug bugs[MOST_SERIES / 2];
    uint32_t p;
    bool fitting;
    double reported, loss; // of the silo's data: the silo's, and the thief's own last one
};

// The gradient of (1 − cos²)/2 of the angle between an input and what was seen, whose scale the thief does
// not know.
static void pull_row(const float *x, const uint32_t *seen, size_t depth, uint32_t p, float *pull)
{
    double xo = 0, xx = 1e-30, oo = 1e-30;
    for (size_t i = 0; i < depth; i++) {
        double o = seen[i] > p / 2 ? (double)seen[i] - p : seen[i];
        xo += (double)x[i] * o;
        xx += (double)x[i] * (double)x[i];
        oo += o * o;
    }
    for (size_t i = 0; i < depth; i++) {
        double o = seen[i] > p / 2 ? (double)seen[i] - p : seen[i];
        pull[i] = (float)((xo * xo / (xx * oo) * (double)x[i] - xo / oo * o) / xx);
    }
}

static enum cr_status bug_forward(const struct cr_linear *self, struct cr_matrix x, struct cr_matrix y)
{
    struct bug *bug = self->state;
    if (bug->thief->fitting) {
        size_t count = x.rows * x.columns;
        assert_true(bug->row + x.rows <= bug->seen->rows && x.dtype == CR_F32);
        if (count > bug->capacity)
            assert_ok(cr_reallocate(bug->capacity = count, sizeof *bug->pull, &bug->pull));
        for (size_t i = 0; i < x.rows; i++)
            pull_row((const float *)x.data + i * x.stride, bug->seen->words + (bug->row + i) * x.columns,
                     x.columns, bug->thief->p, bug->pull + i * x.columns);
        bug->row += x.rows;
    }
    return bug->inner.provider->forward(&bug->inner, x, y);
}

static enum cr_status bug_backward(const struct cr_linear *self, struct cr_matrix dy, struct cr_matrix dx,
                                   bool accumulate)
{
    struct bug *bug = self->state;
    struct thief *thief = bug->thief;
    CR_TRY(bug->inner.provider->backward(&bug->inner, dy, dx, accumulate));
    // What comes from the labels pulls the thief's loss to the reported one.
    bool head = bug->inner.out == thief->trainer->model->config.vocabulary;
    float labels = head ? (float)(thief->loss - thief->reported) : 1;
    assert_true(!(head && accumulate) && dx.dtype == CR_F32);
    for (size_t i = 0; i < dx.rows; i++)
        for (size_t j = 0; j < dx.columns; j++) {
            float *at = (float *)dx.data + i * dx.stride + j;
            *at = labels * *at + bug->pull[i * dx.columns + j] / (float)bug->seen->rows;
        }
    return CR_OK;
}

static void bug_release(struct cr_linear *self)
{
    *self = (struct cr_linear){0};
}

static const struct cr_linear_provider bug_provider = {bug_forward, bug_backward, bug_release};

static double held_out_loss(struct cr_trainer *trainer)
{
    struct cr_tally tally = {0};
    assert_ok(cr_trainer_evaluate(trainer, &tally, NULL, NULL));
    return tally.loss_sum / (double)tally.labelled;
}

static void plant(struct thief *thief)
{
    struct cr_model *model = thief->trainer->model;
    for (size_t i = 0; i < cr_frozen_count(model); i++) {
        struct cr_linear *linear = cr_frozen_linear(model, i);
        thief->bugs[i] = (struct bug){.inner = *linear, .thief = thief};
        linear->provider = &bug_provider;
        linear->state = &thief->bugs[i];
    }
}

// The share of the gain that is stolen: at the end, and *best of all that the thief passed on the way.
static double steal(struct thief *thief, const struct series *seen, double base, double secret, double *best)
{
    struct cr_trainer *trainer = thief->trainer;
    double share = 0;
    *best = 0;
    assert_ok(cr_lora_initialise(trainer->structure, 1));
    cr_trainer_reset_optimizer(trainer);
    thief->loss = thief->reported;
    for (size_t i = 0; i < cr_frozen_count(trainer->model); i++) thief->bugs[i].seen = &seen[i * CR_WAYS];
    for (size_t step = 1; step <= FIT_STEPS; step++) {
        struct cr_tally tally = {0};
        for (size_t i = 0; i < cr_frozen_count(trainer->model); i++) thief->bugs[i].row = 0;
        assert_ok(cr_trainer_seek(trainer, 0)); // the order that the silo's examples came in
        thief->fitting = true;
        assert_ok(cr_trainer_run(trainer, 1, &tally, NULL, NULL));
        thief->fitting = false;
        thief->loss = tally.loss_sum / (double)tally.labelled;
        if (step % FIT_REPORT > 0) continue;
        share = (base - held_out_loss(trainer)) / (base - secret);
        *best = fmax(*best, share);
    }
    return share;
}

// Messages that surely tell nothing, to measure chance by: what the silo's own data and its loss give the
// thief.
static void replace_by_noise(struct record *record)
{
    uint64_t random = 5;
    for (size_t s = 0; s < record->count; s++)
        for (size_t i = 0; i < record->seen[s].rows * record->seen[s].depth; i++)
            record->seen[s].words[i] = (uint32_t)(next_random(&random) % cr_prime(4));
}

// Texts of the others: sentences of a few words; those of the silo have no letter in common with them.
static void write_texts(const char *path, size_t count, uint64_t random, bool own)
{
    static const char *const words[] = {"the",   "ward", "is",    "quiet", "fever",
                                        "falls", "by",   "night", "rest",  "now"};
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < count; i++) {
        fprintf(file, "{\"text\": \"");
        for (size_t j = 0; own && j < 30; j++)
            fputc("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-*/=<>"[next_random(&random) % 43], file);
        for (size_t j = 0; !own && j < 6; j++) fprintf(file, "%s ", words[next_random(&random) % 10]);
        fprintf(file, "\"}\n");
    }
    fclose(file);
}

static void pads_keep_an_adapter_from_who_computes(void **state)
{
    (void)state;
    char own[300], theirs[300], held_out[300], path[300], address[400], *accelerators[] = {address};
    snprintf(own, sizeof own, "%s", in_directory("own.jsonl"));
    snprintf(theirs, sizeof theirs, "%s", in_directory("theirs.jsonl"));
    snprintf(held_out, sizeof held_out, "%s", in_directory("held-out.jsonl"));
    snprintf(path, sizeof path, "unix:%s", in_directory("t.sock"));
    write_texts(own, OWN, 1, true);
    write_texts(theirs, THEIRS, 2, false);
    write_texts(held_out, HELD_OUT, 3, false);
    static char q_proj[] = "q_proj", v_proj[] = "v_proj";
    char *modules[] = {q_proj, v_proj};
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));

    // The others' adapter.
    struct cr_tuning_config config = small_run(theirs, modules, 2);
    config.load_in_8bit = true;
    config.training.lr_scheduler_type = CR_SCHEDULE_CONSTANT;
    config.training.warmup_steps = 0;
    config.training.max_steps = SECRET_STEPS;
    config.training.gradient_accumulation_steps = 1;
    config.training.per_device_train_batch_size = OWN;
    struct cr_trainer *others;
    struct cr_tally tally = {0};
    assert_ok(cr_trainer_new(&config, compute, NULL, &others));
    assert_ok(cr_trainer_run(others, SECRET_STEPS, &tally, NULL, NULL));
    const struct cr_parameters *secret = cr_trainer_parameters(others);

    // The silo's step, recorded.
    struct record record;
    struct cr_trainer *silo;
    start_record(&record, SMALL_MODEL, path, 4, compute);
    snprintf(address, sizeof address, "%s", record.hired.address);
    config.data.train = own;
    config.training.max_steps = FIT_STEPS;
    config.slicing.pads = CR_PADS_MODE_ENCLAVE;
    config.slicing.accelerators = (struct cr_string_list){accelerators, 1};
    config.slicing.digits = 4;
    assert_ok(cr_trainer_new(&config, compute, NULL, &silo));
    watch(&record, silo->model);
    memcpy(cr_trainer_parameters(silo)->values, secret->values, secret->count * sizeof *secret->values);
    tally = (struct cr_tally){0};
    assert_ok(cr_trainer_run(silo, 1, &tally, NULL, NULL));
    cr_trainer_free(silo);

    struct thief thief = {.p = cr_prime(4), .reported = tally.loss_sum / (double)tally.labelled};
    config.slicing = (struct cr_slicing_config){0};
    config.data.eval = held_out;
    assert_ok(cr_trainer_new(&config, compute, NULL, &thief.trainer));
    plant(&thief);
    double base = held_out_loss(thief.trainer);
    memcpy(cr_trainer_parameters(thief.trainer)->values, secret->values,
           secret->count * sizeof *secret->values);
    double tuned = held_out_loss(thief.trainer);
    print_message("held-out loss: base %.3f, with the others' adapter %.3f\n", base, tuned);
    assert_true(base - tuned > 0.5);
    double best, share = steal(&thief, record.hidden, base, tuned, &best);
    print_message("without pads the accelerator's owner has %.1f%% of the gain\n", 100 * share);
    assert_true(share > 0.9);
    double noise_best, hidden = steal(&thief, record.seen, base, tuned, &best);
    replace_by_noise(&record);
    double noise = steal(&thief, record.seen, base, tuned, &noise_best);
    print_message("with pads %.1f%%, at the best of moments %.1f%%; from random numbers %.1f%% and %.1f%%\n",
                  100 * hidden, 100 * best, 100 * noise, 100 * noise_best);
    // Chance spreads by some 5% around a small loss.
    assert_true(best < 0.2 && noise_best < 0.2);

    for (size_t i = 0; i < MOST_SERIES / 2; i++) free(thief.bugs[i].pull);
    cr_trainer_free(thief.trainer);
    cr_trainer_free(others);
    free_record(&record);
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pads_keep_an_adapter_from_who_computes),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
