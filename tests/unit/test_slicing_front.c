// slicing/front.h: the clear front is what masked layers make, within rounding; some of it is computed again,
// and who lies about it is found.
#include "deep_support.h"
#include "slicing_support.h"

#include "slicing/front.h"

#include <fcntl.h>
#include <unistd.h>

enum { ROWS = 48, LONGEST = 30 };

static const char *const models[] = {
    "tests/golden/llama-gqa",        "tests/golden/qwen2-untied",     "tests/golden/qwen3",
    "tests/golden/gpt2-untied",      "tests/golden/gpt2-bare-shards", "tests/golden/mistral-window",
    "tests/golden/llama-bf16-shards"};
enum { MODELS = sizeof models / sizeof *models };

// A trusted side, and an accelerator of its own.
struct fixture {
    struct hired hired;
    struct cr_compute *compute;
    struct cr_model *model;
    struct cr_slicing *slicing;
    struct cr_front *front;
    struct cr_matrix stream;
};

static struct cr_matrix matrix_new(size_t rows, size_t columns)
{
    float *values;
    assert_ok(cr_allocate(rows * columns, sizeof *values, &values));
    return cr_matrix_of(values, CR_F32, rows, columns);
}

// The front is of `layers`, or of all that the model has.
static void start(struct fixture *f, const char *base, enum cr_isa isa, enum cr_dtype act, size_t layers)
{
    char address[300];
    snprintf(address, sizeof address, "unix:%s", in_directory("front.sock"));
    hire(&f->hired, base, address);
    assert_ok(cr_compute_new_with(1, isa, &f->compute));
    assert_ok(cr_model_open(base, CR_MODEL_OUTSIDE, NULL, f->compute, act, &f->model));
    const struct cr_slicing_options slicing = {.accelerators = &(char *){address},
                                               .accelerator_count = 1,
                                               .digits = 4,
                                               .rows = ROWS,
                                               .threads = 1,
                                               .patience = 60};
    assert_ok(cr_slicing_open(&slicing, f->model, &f->slicing));
    const struct cr_front_options front = {.address = address,
                                           .slicing = f->slicing,
                                           .layers = cr_least(layers, f->model->config.layers),
                                           .rows = ROWS,
                                           .longest = LONGEST,
                                           .patience = 60};
    assert_ok(cr_front_open(&front, &f->front));
    f->stream = matrix_new(ROWS, f->model->config.hidden);
}

static void finish(struct fixture *f)
{
    cr_front_close(f->front);
    cr_slicing_close(f->slicing);
    cr_model_free(f->model);
    cr_compute_free(f->compute);
    free(f->stream.data);
    dismiss(&f->hired);
}

// The largest distance of a row from the wanted one, over the latter's norm.
static double distance(struct cr_matrix got, struct cr_matrix wanted)
{
    double worst = 0;
    for (size_t i = 0; i < wanted.rows; i++) {
        const float *g = (const float *)got.data + i * got.stride;
        const float *w = (const float *)wanted.data + i * wanted.stride;
        double off = 0, size = 0;
        for (size_t j = 0; j < wanted.columns; j++) {
            off += pow((double)g[j] - (double)w[j], 2);
            size += pow((double)w[j], 2);
        }
        worst = fmax(worst, sqrt(off / size));
    }
    return worst;
}

// How far the front of a question is from what the same model's own layers make of it.
static double off_by(struct fixture *f, const struct cr_model *own, uint64_t seed)
{
    const size_t lengths[] = {13, 1, LONGEST};
    struct sample sample = random_sample(lengths, 3, own->config.vocabulary, seed);
    const struct cr_pass_size size = {.rows = ROWS, .sequences = 3};
    size_t layers = cr_front_layers(f->front);
    struct cr_pass *pass;
    assert_ok(cr_pass_new(own, &size, NULL, &pass));
    assert_ok(cr_front_ask(f->front, &sample.rows, f->stream));
    assert_ok(cr_pass_forward(pass, NULL, &sample.rows, 0, layers));
    double off = distance(f->stream, cr_matrix_rows(cr_pass_stream(pass), 0, sample.rows.rows));
    cr_pass_free(pass);
    sample_free(&sample);
    return off;
}

// In float32, on processors of one kind: bit for bit.
static void a_front_is_what_masked_layers_make(void **state)
{
    (void)state;
    struct cr_compute *best;
    assert_ok(cr_compute_new(1, &best));
    for (size_t i = 0; i <= MODELS; i++) {
        struct fixture f;
        const char *base = i < MODELS ? models[i] : deep_model();
        start(&f, base, cr_compute_isa(best), CR_F32, 2);
        uint64_t products = cr_slicing_tally(f.slicing).products;
        double off = off_by(&f, f.model, 5);
        if (off != 0) fail_msg("%s: off by %g", base, off);
        const struct cr_front_tally tally = cr_front_tally(f.front);
        assert_true(tally.examples == 3 && tally.rows == 44 && tally.checked >= 1);
        assert_int_equal(cr_slicing_tally(f.slicing).products - products,
                         4 * cr_front_layers(f.front)); // the masked walk's alone
        finish(&f);
    }
    cr_compute_free(best);
}

// What honest ones differ by on other instruction sets, whatever type the trusted side computes in, is a
// fiftieth of what is let pass.
static void honest_fronts_are_far_within_the_tolerance(void **state)
{
    (void)state;
    double worst = 0;
    for (size_t i = 0; i < MODELS; i++)
        for (int isa = CR_ISA_SCALAR; isa <= CR_ISA_AMX; isa++) {
            struct fixture f;
            struct cr_compute *compute;
            struct cr_model *own;
            struct cr_front_model layers;
            enum cr_status status = cr_compute_new_with(1, (enum cr_isa)isa, &compute);
            if (status == CR_UNSUPPORTED) continue;
            assert_ok(status);
            assert_ok(cr_model_open(models[i], CR_MODEL_IN_8BIT, NULL, compute, CR_F32, &own));
            assert_ok(cr_front_model_open(own, &layers));
            start(&f, models[i], (enum cr_isa)isa, cr_compute_has_bf16(compute) ? CR_BF16 : CR_F32, 2);
            for (uint64_t seed = 0; seed < 20; seed++) worst = fmax(worst, off_by(&f, &layers.model, seed));
            assert_true(cr_front_tally(f.front).checked >= 1);
            finish(&f);
            cr_front_model_release(&layers);
            cr_model_free(own);
            cr_compute_free(compute);
        }
    print_message("%.2g at most\n", worst);
    assert_true(worst < CR_FRONT_TOLERANCE / 50);
}

// A model of the same shape whose layers are others: for the questions that are larger than those before.
static struct cr_model *other_model(struct fixture *f)
{
    struct cr_model *other = random_model(f->hired.compute, f->hired.model->config, CR_F32);
    f->hired.accelerator.model = other;
    return other;
}

static enum cr_status ask_one(struct fixture *f, size_t length, uint64_t seed)
{
    struct sample sample = random_sample(&length, 1, f->model->config.vocabulary, seed);
    enum cr_status status = cr_front_ask(f->front, &sample.rows, f->stream);
    sample_free(&sample);
    return status;
}

static void a_lie_about_everything_is_found_at_once(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, models[0], CR_ISA_SCALAR, CR_F32, 1);
    struct cr_model *other = other_model(&f);
    assert_fails(CR_DENIED, "front.sock: a clear front of 1 layers is not what this process computes",
                 ask_one(&f, LONGEST, 1));
    assert_int_equal(cr_front_tally(f.front).examples, 0);
    finish(&f);
    cr_model_free(other);
}

// A lie that begins after an honest start meets one check in so many, of which nobody knows before which.
static void a_lie_that_begins_later_is_found_soon(void **state)
{
    (void)state;
    enum { LIES = 20 * CR_FRONT_ONE_IN }; // all passed with a probability of e^-20
    struct fixture f;
    start(&f, models[0], CR_ISA_SCALAR, CR_F32, 1);
    enum cr_status status = ask_one(&f, 1, 0);
    assert_ok(status);
    struct cr_model *other = other_model(&f);
    uint64_t lies = 0;
    while (status == CR_OK && lies < LIES) status = ask_one(&f, LONGEST, ++lies);
    assert_int_equal(status, CR_DENIED);
    assert_non_null(strstr(cr_error_message(), "is not what this process computes"));
    finish(&f);
    cr_model_free(other);
}

static void values_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, models[0], CR_ISA_SCALAR, CR_F32, 1);
    assert_ok(ask_one(&f, 1, 0));
    struct cr_model *other = other_model(&f);
    *(float *)other->embedding.data = NAN;
    for (size_t i = 1; i < other->embedding.rows; i++) ((float *)other->embedding.data)[i * 16] = INFINITY;
    assert_fails(CR_DENIED, "of a clear front holds NaN or infinity", ask_one(&f, LONGEST, 1));
    finish(&f);
    cr_model_free(other);
}

static void copy_file(const char *from, const char *to)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    assert_ok(cr_file_read(from, 1 << 24, &bytes));
    write_bytes(to, cr_buffer_slice(&bytes));
}

// Whoever changes the checkpoint so that what is computed again agrees with a lie is found by what is known
// of its matrices from the start.
static void a_checkpoint_that_changed_is_found(void **state)
{
    (void)state;
    static const char *const files[] = {"config.json", "model.safetensors"};
    char base[300], path[400];
    snprintf(base, sizeof base, "%s", in_directory("base"));
    assert_ok(cr_directory_make(base, true));
    for (size_t i = 0; i < 2; i++) {
        char from[300];
        snprintf(from, sizeof from, "%s/%s", models[0], files[i]);
        snprintf(path, sizeof path, "%s/%s", base, files[i]);
        copy_file(from, path);
    }
    struct fixture f;
    start(&f, base, CR_ISA_SCALAR, CR_F32, 1);
    assert_ok(ask_one(&f, 1, 0));
    const struct cr_tensor_entry *entry =
        cr_safetensors_find(f.model->weights, "model.layers.0.mlp.down_proj.weight");
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    const float larger = 3;
    assert_ok(cr_file_read(path, 1 << 24, &bytes));
    unsigned char *place = memmem(bytes.data, bytes.size, entry->bytes.data, entry->bytes.size);
    assert_non_null(place);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &larger, sizeof larger, place - bytes.data), sizeof larger);
    close(fd);
    enum cr_status status = CR_OK;
    for (uint64_t i = 1; status == CR_OK && i < 20 * CR_FRONT_ONE_IN; i++) status = ask_one(&f, LONGEST, i);
    assert_int_equal(status, CR_DENIED);
    assert_non_null(
        strstr(cr_error_message(), "down of layer 0 is no longer what it was when the run began"));
    finish(&f);
}

static void only_a_unix_socket_is_asked(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, models[0], CR_ISA_SCALAR, CR_F32, 1);
    struct cr_front_options options = {.address = "127.0.0.1:7424",
                                       .slicing = f.slicing,
                                       .layers = 1,
                                       .rows = ROWS,
                                       .longest = LONGEST,
                                       .patience = 0.2};
    struct cr_front *none;
    assert_fails(CR_INVALID, "127.0.0.1:7424: texts go in the clear to a unix socket of this machine alone",
                 cr_front_open(&options, &none));
    options.address = "unix:/nowhere/at-all";
    assert_fails(CR_IO, "/nowhere/at-all", cr_front_open(&options, &none));
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_front_is_what_masked_layers_make),
        cmocka_unit_test(honest_fronts_are_far_within_the_tolerance),
        cmocka_unit_test(a_lie_about_everything_is_found_at_once),
        cmocka_unit_test(a_lie_that_begins_later_is_found_soon),
        cmocka_unit_test(values_that_are_not_finite_are_refused),
        cmocka_unit_test(a_checkpoint_that_changed_is_found),
        cmocka_unit_test(only_a_unix_socket_is_asked),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
