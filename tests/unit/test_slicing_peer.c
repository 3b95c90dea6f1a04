// Pads whose products another accelerator makes: what comes of it is what the trusted process gets by itself,
// to the last bit; nobody is sent two questions under one pad; and two who lie are both named.
#include "deep_support.h"
#include "slicing_support.h"
#include "tuning_support.h"
#include "uniformity_support.h"

#include "field_support.h"
#include "slicing/facts.h"
#include "tuning/trainer_parts.h"

enum { MOST = 4, SERIES = 2 * 16, ROWS = 11, MOST_PARTS = 2 };

// One of the accelerators, and all that it was asked.
struct party {
    struct hired hired;
    struct series seen[SERIES];
    bool lies; // about every answer, by one bit, which is another one for each
};

static struct party parties[MOST];
static char *addresses[MOST];

static void look(void *context, const struct cr_wire_product *product, const uint32_t *words, size_t depth)
{
    struct party *party = context;
    series_add(&party->seen[product->linear * CR_WAYS + product->backward], words, product->rows, depth);
}

static void spoil(void *context, const struct cr_wire_product *product, uint32_t *words, size_t width)
{
    const struct party *party = context;
    if (party->lies) words[(product->rows - 1) * width] ^= 1u << (party - parties);
}

static void gather(size_t count, const char *model, bool tls)
{
    for (size_t i = 0; i < count; i++) {
        struct party *party = &parties[i];
        char name[32], address[300] = "tls:127.0.0.1:0";
        snprintf(name, sizeof name, "%zu.sock", i);
        if (!tls) snprintf(address, sizeof address, "unix:%s", in_directory(name));
        *party = (struct party){0};
        hire(&party->hired, model, address);
        party->hired.look = look;
        party->hired.spoil = spoil;
        party->hired.context = party;
        addresses[i] = party->hired.address;
    }
}

static void part(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        dismiss(&parties[i].hired);
        for (size_t s = 0; s < SERIES; s++) free(parties[i].seen[s].words);
    }
}

static struct cr_slicing *open_slicing(struct cr_model *model, size_t accelerators, unsigned digits)
{
    struct cr_slicing *slicing;
    const struct cr_slicing_options options = {.accelerators = addresses,
                                               .accelerator_count = accelerators,
                                               .digits = digits,
                                               .rows = ROWS,
                                               .threads = 1,
                                               .patience = 60};
    assert_ok(cr_slicing_open(&options, model, &slicing));
    return slicing;
}

static void ask(struct cr_model *model, size_t index, bool backward, const float *x, float *y)
{
    struct cr_linear *linear = cr_frozen_linear(model, index);
    size_t depth = backward ? linear->out : linear->in, width = backward ? linear->in : linear->out;
    static float numbers[ROWS * DEEP_MOST];
    memcpy(numbers, x, ROWS * depth * sizeof *x);
    struct cr_matrix from = cr_matrix_of(numbers, CR_F32, ROWS, depth),
                     to = cr_matrix_of(y, CR_F32, ROWS, width);
    if (backward)
        assert_ok(linear->provider->backward(linear, from, to, false));
    else
        assert_ok(linear->provider->forward(linear, from, to));
}

// The same with 64-bit sums of the rounded numbers, of each part by itself, in plain sight.
static void reference(struct cr_field *field, const struct cr_matrix *q, bool backward, float *x, float *y)
{
    size_t depth = backward ? q->rows : q->columns, width = backward ? q->columns : q->rows;
    size_t parts = cr_bound_parts(depth, backward);
    const int64_t p = cr_prime(cr_field_digits(field));
    struct cr_bound bounds[MOST_PARTS];
    double t[ROWS * MOST_PARTS];
    static uint32_t words[ROWS * DEEP_MOST], sums[ROWS * DEEP_MOST];
    const int8_t *numbers = q->data;
    assert_true(parts <= MOST_PARTS && parts * width <= DEEP_MOST);
    assert_ok(cr_bound_new(q, backward, cr_field_digits(field), bounds));
    assert_int_equal(encode_rows(field, bounds, parts, cr_matrix_of(x, CR_F32, ROWS, depth),
                                 backward ? q->scale : NULL, words, t),
                     ROWS);
    for (size_t row = 0; row < ROWS; row++)
        for (size_t j = 0; j < parts * width; j++) {
            int64_t sum = 0;
            size_t o = j % width, part = j / width;
            for (size_t i = depth * part / parts; i < depth * (part + 1) / parts; i++) {
                int64_t word = words[row * depth + i];
                int64_t number = backward ? numbers[i * q->columns + o] : numbers[o * q->columns + i];
                sum += (word > p / 2 ? word - p : word) * number;
            }
            assert_true(sum <= p / 2 && sum >= -(p / 2)); // nothing wraps
            sums[row * parts * width + j] = (uint32_t)(sum < 0 ? sum + p : sum);
        }
    decode_rows(field, sums, t, parts, backward ? NULL : q->scale, cr_matrix_of(y, CR_F32, ROWS, width));
}

static void check_products(const char *base, size_t accelerators, bool tls, unsigned digits)
{
    struct cr_compute *compute;
    struct cr_model *own, *peers;
    struct cr_field *field;
    uint64_t random = 3;
    gather(accelerators, base, tls);
    assert_ok(cr_compute_new(2, &compute));
    assert_ok(cr_field_new(compute, digits, &field));
    assert_ok(cr_model_open(base, CR_MODEL_OUTSIDE, NULL, compute, CR_F32, &own));
    assert_ok(cr_model_open(base, CR_MODEL_OUTSIDE, NULL, compute, CR_F32, &peers));
    struct cr_slicing *slicing = open_slicing(own, 1, digits),
                      *by_peers = open_slicing(peers, accelerators, digits);
    size_t count = cr_frozen_count(own);
    for (size_t i = 0; i < count * CR_WAYS; i++) {
        static float x[ROWS * DEEP_MOST], y[3][ROWS * DEEP_MOST];
        const struct cr_matrix *q = &parties[0].hired.frozen.matrices[i / CR_WAYS];
        bool backward = i % CR_WAYS;
        size_t width = backward ? q->columns : q->rows;
        assert_true(q->rows <= DEEP_MOST && q->columns <= DEEP_MOST);
        for (size_t j = 0; j < ROWS * DEEP_MOST; j++) x[j] = next_float(&random);
        ask(own, i / CR_WAYS, backward, x, y[0]);
        ask(peers, i / CR_WAYS, backward, x, y[1]);
        assert_memory_equal(y[0], y[1], ROWS * width * sizeof(float));
        if (cr_frozen_linear(own, i / CR_WAYS)->bias) continue;
        reference(field, q, backward, x, y[2]);
        assert_memory_equal(y[1], y[2], ROWS * width * sizeof(float));
    }
    struct cr_slicing_tally tally = cr_slicing_tally(by_peers);
    assert_int_equal(tally.products, count * CR_WAYS);
    assert_int_equal(tally.rows, count * CR_WAYS * ROWS);
    assert_int_equal(tally.pads, tally.rows);
    assert_true(!tally.ahead && tally.outside == 0 && tally.offline == 0 && tally.blinded > 0);
    assert_null(strchr(tally.addresses, '#'));
    cr_slicing_close(slicing);
    cr_slicing_close(by_peers);
    cr_model_free(own);
    cr_model_free(peers);
    cr_field_free(field);
    cr_compute_free(compute);
    part(accelerators);
}

static void products_are_the_same(void **state)
{
    (void)state;
    check_products("tests/golden/llama-gqa", 2, false, 4);
    check_products("tests/golden/llama-gqa", 2, true, 3);
    check_products("tests/golden/gpt2-untied", 2, false, 4);
    check_products("tests/golden/llama-gqa", 3, false, 4);
    check_products(deep_model(), 2, false, 4);
    check_products(deep_model(), 2, false, 3);
}

struct outcome {
    size_t count;
    float *values;
    double loss;
    struct cr_slicing_tally tally;
};

static struct outcome run(struct cr_tuning_config config, size_t accelerators)
{
    struct cr_compute *compute;
    struct cr_trainer *trainer;
    struct cr_tally tally = {0};
    config.slicing.pads = accelerators > 1 ? CR_PADS_MODE_PEER : CR_PADS_MODE_ENCLAVE;
    config.slicing.accelerators = (struct cr_string_list){addresses, accelerators};
    assert_ok(cr_compute_new(2, &compute));
    assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
    assert_ok(cr_trainer_run(trainer, 3, &tally, NULL, NULL));
    assert_ok(cr_trainer_evaluate(trainer, &tally, NULL, NULL));
    assert_ok(cr_trainer_run(trainer, 3, &tally, NULL, NULL));
    const struct cr_parameters *parameters = cr_trainer_parameters(trainer);
    struct outcome out = {.count = parameters->count,
                          .loss = tally.loss_sum,
                          .tally = cr_slicing_tally(cr_trainer_slicing(trainer))};
    assert_ok(cr_allocate(out.count, sizeof *out.values, &out.values));
    memcpy(out.values, parameters->values, out.count * sizeof *out.values);
    cr_trainer_free(trainer);
    cr_compute_free(compute);
    return out;
}

// Whether one row may be the other hidden under it: what is hidden is small.
static bool belongs(const uint32_t *row, const uint32_t *pad, size_t depth)
{
    const uint32_t p = cr_prime(4);
    for (size_t i = 0; i < depth; i++) {
        uint32_t off = cr_prime_sub(row[i], pad[i], p);
        if (off > p / 16 && off < p - p / 16) return false;
    }
    return true;
}

// Each row belongs to one pad, and to a pad no two of one accelerator. Gives the rows.
static size_t check_pads(const struct series *pads, const struct series *rows)
{
    CR_FREE size_t *used = NULL;
    size_t depth = pads->depth;
    assert_ok(cr_allocate(pads->rows, sizeof *used, &used));
    for (size_t i = 0; i < rows->rows; i++) {
        size_t found = 0;
        for (size_t j = 0; j < pads->rows; j++)
            if (belongs(rows->words + i * depth, pads->words + j * depth, depth)) {
                found++;
                used[j]++;
            }
        assert_int_equal(found, 1);
    }
    for (size_t j = 0; j < pads->rows; j++) assert_true(used[j] <= 1);
    return rows->rows;
}

static void check_questions(size_t accelerators, const struct cr_slicing_tally *tally)
{
    size_t rows = 0, pads = 0;
    for (size_t s = 0; s < SERIES; s++) {
        const struct series *sent = &parties[0].seen[s];
        pads += sent->rows;
        for (size_t i = 0; i < sent->rows; i++)
            for (size_t j = 0; j < i; j++)
                assert_memory_not_equal(sent->words + i * sent->depth, sent->words + j * sent->depth,
                                        sent->depth * sizeof *sent->words);
        for (size_t a = 1; a < accelerators; a++) rows += check_pads(sent, &parties[a].seen[s]);
    }
    assert_int_equal(tally->rows, rows);
    assert_int_equal(tally->pads, pads);
}

static void runs_are_the_same_and_no_pad_comes_twice(void **state)
{
    (void)state;
    static char q_proj[] = "q_proj", v_proj[] = "v_proj";
    char *modules[] = {q_proj, v_proj}, data[300];
    snprintf(data, sizeof data, "%s", in_directory("data"));
    write_text(data, "{\"text\": \"the ward is quiet\"}\n{\"text\": \"a fever falls by morning, slowly\"}\n"
                     "{\"text\": \"he asked for water\"}\n{\"text\": \"rest\"}\n"
                     "{\"text\": \"two tablets, then sleep\"}\n{\"text\": \"no pain\"}\n");
    struct cr_tuning_config config = small_run(data, modules, 2);
    config.data.eval = data;
    config.slicing.digits = 4;
    for (size_t accelerators = 2; accelerators <= MOST; accelerators++) {
        config.training.lanes = cr_most(2, accelerators - 1);
        config.training.gradient_accumulation_steps = config.training.lanes; // a micro-batch for each
        gather(accelerators, SMALL_MODEL, false);
        struct outcome peers = run(config, accelerators);
        check_questions(accelerators, &peers.tally);
        struct outcome own = run(config, 1);
        assert_int_equal(own.count, peers.count);
        assert_memory_equal(own.values, peers.values, own.count * sizeof *own.values);
        assert_true(own.loss == peers.loss);
        assert_int_equal(own.tally.rows, peers.tally.rows);
        print_message("%zu accelerators: %llu pads for %llu rows\n", accelerators,
                      (unsigned long long)peers.tally.pads, (unsigned long long)peers.tally.rows);
        if (accelerators == 2)
            assert_int_equal(peers.tally.pads, peers.tally.rows);
        else // but for evaluations, and what one micro-batch has more than another
            assert_true(peers.tally.pads < peers.tally.rows * 4 / 5);
        free(own.values);
        free(peers.values);
        part(accelerators);
    }
}

static void who_lies_is_named(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(1, &compute));
    for (unsigned who = 1; who < 4; who++) {
        struct cr_model *model;
        float x[ROWS * 512], y[ROWS * 512];
        uint64_t random = who;
        char wanted[1200], first[400], second[400];
        gather(2, "tests/golden/llama-gqa", false);
        assert_ok(cr_model_open("tests/golden/llama-gqa", CR_MODEL_OUTSIDE, NULL, compute, CR_F32, &model));
        struct cr_slicing *slicing = open_slicing(model, 2, 4);
        struct cr_linear *linear = cr_frozen_linear(model, 1);
        for (size_t j = 0; j < ROWS * 512; j++) x[j] = next_float(&random);
        ask(model, 1, false, x, y);
        parties[0].lies = who & 1;
        parties[1].lies = who & 2;
        snprintf(first, sizeof first, "accelerator %s", addresses[0]);
        snprintf(second, sizeof second, "accelerator %s", addresses[1]);
        snprintf(wanted, sizeof wanted, "%s%s%s: o of layer 0, forward, row %d of %d (a wrong product",
                 who & 1 ? first : "", who == 3 ? " and " : "", who & 2 ? second : "", ROWS - 1, ROWS);
        assert_fails(CR_DENIED, wanted,
                     linear->provider->forward(linear, cr_matrix_of(x, CR_F32, ROWS, linear->in),
                                               cr_matrix_of(y, CR_F32, ROWS, linear->out)));
        assert_memory_equal(cr_error_message(), wanted, strlen(wanted));
        cr_slicing_close(slicing);
        cr_model_free(model);
        part(2);
    }
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_the_same),
        cmocka_unit_test(runs_are_the_same_and_no_pad_comes_twice),
        cmocka_unit_test(who_lies_is_named),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
