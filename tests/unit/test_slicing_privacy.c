// What an accelerator sees of a whole training run, evaluations and a second process included, is uniform,
// and no pad is used twice. The same tests fail with pads off, with one pad used twice, and with a key that
// is known; and with the pads that a second accelerator makes, once both put together what they see.
#include "deep_support.h"
#include "recording_support.h"
#include "tuning_support.h"

#include "field/product.h"
#include "slicing/pad.h"
#include "slicing/pads.h"
#include "tensor/ops.h"
#include "tuning/trainer_parts.h"

#include <fcntl.h>
#include <unistd.h>

enum { STEPS = 4 };

// Of all tests of one set of words together.
static const double level = 1e-6;

// Needles of 16 bytes, and a search for any of them in memory.
struct needles {
    size_t count, capacity;
    unsigned char (*bytes)[16];
};

static int compare_needles(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static void add_needle(struct needles *needles, const void *bytes)
{
    if (needles->count == needles->capacity) {
        needles->capacity = 2 * needles->capacity + 64;
        assert_ok(cr_reallocate(needles->capacity, sizeof *needles->bytes, &needles->bytes));
    }
    memcpy(needles->bytes[needles->count++], bytes, 16);
}

// How often one of them lies in this process's memory that has a name like this: read as somebody outside
// reads it, while those who make pads write to it.
static size_t found_in(struct needles *needles, const char *name)
{
    char line[512];
    size_t found = 0, size = 0;
    qsort(needles->bytes, needles->count, 16, compare_needles);
    FILE *maps = fopen("/proc/self/maps", "r");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    assert_non_null(maps);
    assert_true(memory >= 0);
    while (fgets(line, sizeof line, maps)) {
        unsigned long begin, end;
        if (!strstr(line, name) || sscanf(line, "%lx-%lx", &begin, &end) != 2) continue;
        CR_FREE unsigned char *copy = NULL;
        assert_ok(cr_allocate(end - begin, 1, &copy));
        assert_int_equal(pread(memory, copy, end - begin, (off_t)begin), end - begin);
        size += end - begin;
        for (size_t at = 0; at + 16 <= end - begin; at += 2)
            found += bsearch(copy + at, needles->bytes, needles->count, 16, compare_needles) != NULL;
    }
    close(memory);
    fclose(maps);
    assert_true(size > 0);
    return found;
}

static void free_needles(struct needles *needles)
{
    free(needles->bytes);
    *needles = (struct needles){0};
}

// Rows of `series`, but for those in whose place zeros were hidden: what was sent there is the pad itself.
static void add_rows(struct needles *needles, const struct series *series, const struct record *record)
{
    static const unsigned char zeros[16];
    for (size_t s = 0; s < record->count; s++)
        for (size_t i = 0; i < series[s].rows; i++)
            if (memcmp(record->hidden[s].words + i * series[s].depth, zeros, 16) != 0)
                add_needle(needles, series[s].words + i * series[s].depth);
}

// Values of an adapter, as they are and rounded.
static void add_adapter(struct needles *needles, struct cr_compute *compute,
                        const struct cr_parameters *parameters)
{
    for (size_t i = 0; i + 8 <= parameters->count; i += 8) {
        uint16_t rounded[8];
        cr_convert(compute, parameters->values + i, CR_F32, rounded, CR_BF16, 8);
        if (parameters->values[i] == 0) continue;
        add_needle(needles, parameters->values + i);
        add_needle(needles, rounded);
    }
}

static void subtract(const struct series *from, const struct series *what, size_t count, uint32_t p,
                     struct series *out)
{
    for (size_t s = 0; s < count; s++) {
        assert_int_equal(from[s].rows, what[s].rows);
        out[s] = (struct series){0};
        if (from[s].rows > 0) series_add(&out[s], from[s].words, from[s].rows, from[s].depth);
        for (size_t i = 0; i < out[s].rows * out[s].depth; i++)
            out[s].words[i] = cr_prime_sub(out[s].words[i], what[s].words[i], p);
    }
}

// Nothing that has to stay inside lies where others see it; what was sent is found there.
static void check_memory(struct record *record, struct cr_trainer *trainer)
{
    static const char *const places[] = {"/memfd:carrel-shared", "/memfd:carrel-pads"};
    struct needles needles = {0};
    struct series pads[MOST_SERIES];
    subtract(record->seen, record->hidden, record->count, cr_prime(record->digits), pads);
    add_rows(&needles, pads, record);
    add_rows(&needles, record->hidden, record);
    add_adapter(&needles, trainer->compute, cr_trainer_parameters(trainer));
    for (size_t i = 0; i < 2; i++) assert_int_equal(found_in(&needles, places[i]), 0);
    print_message("%zu rows of pads, of hidden words and of the adapter: none in memory outside\n",
                  needles.count);
    free_needles(&needles);
    add_rows(&needles, record->seen, record);
    assert_true(found_in(&needles, places[0]) > 0);
    free_needles(&needles);
    free_series(pads, record->count);
}

// A process's part of a run: from the state that another one left, to that step; then an evaluation.
static void train_to(struct record *record, const struct cr_tuning_config *config, struct cr_compute *compute,
                     size_t step, const char *state)
{
    struct cr_trainer *trainer;
    struct cr_tally tally = {0};
    assert_ok(cr_trainer_new(config, compute, NULL, &trainer));
    watch(record, trainer->model);
    if (access(state, R_OK) == 0) assert_ok(cr_trainer_load_state(trainer, NULL, state));
    while (cr_trainer_step(trainer) < step) {
        assert_ok(cr_trainer_run(trainer, 1, &tally, NULL, NULL));
        assert_ok(cr_trainer_evaluate(trainer, &tally, NULL, NULL));
    }
    assert_ok(cr_trainer_save_state(trainer, NULL, state));
    // One step more, of which nothing is kept.
    assert_ok(cr_trainer_run(trainer, 1, &tally, NULL, NULL));
    check_memory(record, trainer);
    cr_trainer_free(trainer);
}

// With a clear front the last of two layers is adapted; what is asked of it is no product, and not recorded.
static void record_run(struct record *record, unsigned digits, bool front, struct cr_compute *compute)
{
    char data[300], path[300], address[400], state[300];
    snprintf(data, sizeof data, "%s", in_directory("d"));
    snprintf(path, sizeof path, "unix:%s", in_directory("p.sock"));
    snprintf(state, sizeof state, "%s", in_directory("state"));
    (void)unlink(state);
    write_text(data, "{\"text\": \"the ward is quiet\"}\n{\"text\": \"a fever falls\"}\n"
                     "{\"text\": \"he asked for water\"}\n{\"text\": \"rest, then walk\"}\n");
    start_record(record, SMALL_MODEL, path, digits, compute);
    static char q_proj[] = "q_proj", v_proj[] = "v_proj";
    char *modules[] = {q_proj, v_proj}, *accelerators[] = {address};
    snprintf(address, sizeof address, "%s", record->hired.address);
    struct cr_tuning_config config = small_run(data, modules, 2);
    config.data.eval = data;
    config.training.max_steps = 2 * STEPS;
    config.slicing.pads = CR_PADS_MODE_ENCLAVE;
    config.slicing.accelerators = (struct cr_string_list){accelerators, 1};
    config.slicing.digits = digits;
    size_t last_layer[] = {1};
    if (front) {
        config.output_dir = directory;
        config.lora.targets.layers = (struct cr_size_list){last_layer, 1};
        config.slicing.clear_front = CR_CLEAR_FRONT_LOCAL;
        config.slicing.own_accelerator = address;
    }
    train_to(record, &config, compute, STEPS / 2, state);
    train_to(record, &config, compute, STEPS, state);
}

static void add_words(struct needles *needles, const uint32_t *words, size_t count)
{
    for (size_t i = 0; i + 4 <= count; i += 4) add_needle(needles, words + i);
}

// The products of pads lie outside: neither they nor what made them, nor what verifies them, is found there.
static void check_secrets_of_pads(const char *base, struct cr_compute *compute)
{
    enum { ROWS = 8 };
    static const unsigned char key[CR_KEY_SIZE] = "the key of a process";
    struct cr_model *model;
    struct cr_field *field;
    struct cr_facts facts;
    struct cr_pads *pads;
    struct cr_pad_pair pair;
    struct needles needles = {0}, outside = {0};
    uint32_t asked[4];
    assert_ok(cr_model_open(base, CR_MODEL_OUTSIDE, NULL, compute, CR_F32, &model));
    assert_ok(cr_field_new(compute, 4, &field));
    assert_ok(cr_facts_open(compute, field, model, key, &facts));
    struct cr_pads_options options = {
        .model = model, .facts = &facts, .digits = 4, .rows = ROWS, .threads = 1};
    memcpy(options.key, key, sizeof key);
    assert_ok(cr_pads_new(&options, &pads));
    assert_ok(cr_pad_pair_new(key, field, &pair));
    CR_FREE uint32_t *words = NULL, *product = NULL;
    assert_ok(cr_allocate(facts.longest, sizeof *words, &words));
    assert_ok(cr_allocate(facts.longest, sizeof *product, &product));
    for (size_t i = 0; i < facts.count * CR_WAYS; i++) {
        const struct cr_way *way = &facts.matrices[i / CR_WAYS].way[i % CR_WAYS];
        uint64_t first;
        assert_ok(cr_pads_take(pads, i / CR_WAYS, i % CR_WAYS, ROWS, &first));
        add_words(&needles, way->s, 2 * way->width);
        add_words(&needles, way->v, 2 * way->depth);
        for (size_t row = 0; row < ROWS; row++) {
            const volatile uint32_t *hidden = cr_pads_products(pads, i / CR_WAYS, i % CR_WAYS, first + row);
            uint64_t number = cr_pads_stream(i / CR_WAYS, i % CR_WAYS, first + row);
            cr_pad_words(pair.question, number, 0, words, way->depth);
            add_words(&needles, words, way->depth);
            memcpy(asked, words, sizeof asked);
            cr_pad_words(pair.product, number, 0, words, way->width);
            assert_memory_not_equal(words, asked, sizeof asked); // who sees k must not know r
            add_words(&needles, words, way->width);
            for (size_t j = 0; j < way->width; j++)
                product[j] = cr_prime_sub(hidden[j], words[j], cr_prime(4));
            add_words(&needles, product, way->width);
            for (size_t j = 0; j < way->width; j++) product[j] = hidden[j];
            add_words(&outside, product, way->width);
        }
    }
    assert_int_equal(found_in(&needles, "/memfd:carrel-pads"), 0);
    assert_true(found_in(&outside, "/memfd:carrel-pads") >= outside.count);
    print_message("%zu pieces of r, k, Q r, s and v: none in memory outside\n", needles.count);
    free_needles(&needles);
    free_needles(&outside);
    cr_pad_pair_release(&pair);
    cr_pads_free(pads);
    cr_facts_release(&facts);
    cr_field_free(field);
    cr_model_free(model);
}

static struct uniformity say(const char *what, const struct series *series, size_t count, unsigned digits)
{
    struct uniformity got = uniformity_of(series, count, digits);
    print_message("%s, %u digits, %zu words, %zu pairs of rows: bytes %.2g, serial %.2g, related %.2g\n",
                  what, digits, got.words, got.pairs, got.bytes, got.serial, got.related);
    return got;
}

static void check_uniform(const char *what, const struct series *series, size_t count, unsigned digits)
{
    struct uniformity got = say(what, series, count, digits);
    assert_true(got.bytes > level / 3 && got.serial > level / 3 && got.related > level / 3);
}

// The words of a run under the pads of this key, numbered from 0 in each series; those of row `twice` of the
// first series that has any once more for the row after it.
static void hide(const struct record *record, const unsigned char key[CR_KEY_SIZE], size_t twice, bool away,
                 struct series *out)
{
    struct cr_pad_pair pads;
    const uint32_t p = cr_prime(record->digits);
    const struct series *from = away ? record->seen : record->hidden;
    size_t first = 0;
    while (from[first].rows == 0) first++;
    assert_ok(cr_pad_pair_new(key, record->field, &pads));
    for (size_t s = 0; s < record->count; s++) {
        CR_FREE uint32_t *pad = NULL;
        size_t depth = from[s].depth;
        out[s] = (struct series){0};
        if (from[s].rows == 0) continue;
        series_add(&out[s], from[s].words, from[s].rows, depth);
        assert_ok(cr_allocate(depth, sizeof *pad, &pad));
        for (size_t row = 0; row < from[s].rows; row++) {
            size_t number = row - (s == first && row == twice + 1);
            cr_pad_words(pads.question, cr_pads_stream(s / CR_WAYS, s % CR_WAYS, number), 0, pad, depth);
            uint32_t *words = out[s].words + row * depth;
            for (size_t i = 0; i < depth; i++)
                words[i] = away ? cr_prime_sub(words[i], pad[i], p) : cr_prime_add(words[i], pad[i], p);
        }
    }
    cr_pad_pair_release(&pads);
}

// Takes the pads of a key off words that were hidden under it.
static void strip(struct series *series, const struct record *record, const unsigned char key[CR_KEY_SIZE])
{
    struct record copy = *record;
    struct series out[MOST_SERIES];
    memcpy(copy.seen, series, record->count * sizeof *series);
    hide(&copy, key, SIZE_MAX - 1, true, out);
    free_series(series, record->count);
    memcpy(series, out, record->count * sizeof *series);
}

// Of every layer there is something to see, but for those of a clear front.
static void check_layers_seen(const struct record *record, bool front)
{
    const size_t per_layer = 4 * CR_WAYS;
    for (size_t s = 0; s < record->count; s += CR_WAYS)
        assert_int_equal(record->seen[s].rows > 0, !front || s >= per_layer);
}

static void check(unsigned digits, bool front, struct cr_compute *compute)
{
    struct record record;
    struct series words[MOST_SERIES];
    static const unsigned char known[CR_KEY_SIZE] = "a key that everybody knows";
    record_run(&record, digits, front, compute);
    check_layers_seen(&record, front);
    size_t count = record.count;
    check_uniform("as sent", record.seen, count, digits);
    check_uniform("products of pads, as shown", record.shown, count, digits);
    check_uniform("as answered", record.answered, count, digits);

    // What is left without what was hidden: the pads of both processes. None has to do with another.
    subtract(record.seen, record.hidden, count, cr_prime(digits), words);
    check_uniform("pads", words, count, digits);
    free_series(words, count);

    struct uniformity got = say("pads off", record.hidden, count, digits);
    assert_true(got.bytes < level / 3 && got.related < level / 3);

    hide(&record, known, SIZE_MAX - 1, false, words);
    check_uniform("known key, pads on", words, count, digits);
    strip(words, &record, known);
    for (size_t s = 0; s < count; s++)
        if (words[s].rows > 0)
            assert_memory_equal(words[s].words, record.hidden[s].words, words[s].rows * words[s].depth * 4);
    got = say("known key, pads off", words, count, digits);
    assert_true(got.bytes < level / 3);
    free_series(words, count);

    hide(&record, known, 5, false, words);
    got = say("one pad twice", words, count, digits);
    assert_true(got.bytes > level / 3 && got.related < level / 3);
    free_series(words, count);

    hide(&record, known, SIZE_MAX - 1, true, words);
    check_uniform("as sent, a key tried", words, count, digits);
    free_series(words, count);
    free_record(&record);
}

// Pads that another accelerator is sent: what each of the two sees is uniform, and what both see together is
// all that was hidden.
static void check_peers(unsigned digits, struct cr_compute *compute)
{
    struct record record, other;
    struct series words[MOST_SERIES];
    struct cr_trainer *trainer;
    struct cr_tally tally = {0};
    char data[300], path[300], addresses[2][400];
    static char q_proj[] = "q_proj", v_proj[] = "v_proj";
    char *modules[] = {q_proj, v_proj}, *accelerators[] = {addresses[0], addresses[1]};
    snprintf(data, sizeof data, "%s", in_directory("d"));
    snprintf(path, sizeof path, "unix:%s", in_directory("p.sock"));
    start_record(&record, SMALL_MODEL, path, digits, compute);
    snprintf(path, sizeof path, "unix:%s", in_directory("q.sock"));
    start_record(&other, SMALL_MODEL, path, digits, compute);
    snprintf(addresses[0], sizeof addresses[0], "%s", other.hired.address);
    snprintf(addresses[1], sizeof addresses[1], "%s", record.hired.address);
    struct cr_tuning_config config = small_run(data, modules, 2);
    config.data.eval = data;
    config.training.lanes = 1; // so that both accelerators see the same order
    config.slicing.pads = CR_PADS_MODE_PEER;
    config.slicing.accelerators = (struct cr_string_list){accelerators, 2};
    config.slicing.digits = digits;
    assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
    watch(&record, trainer->model);
    assert_ok(cr_trainer_run(trainer, STEPS, &tally, NULL, NULL));
    assert_ok(cr_trainer_evaluate(trainer, &tally, NULL, NULL));
    cr_trainer_free(trainer);

    check_uniform("pads, as sent to one", other.seen, other.count, digits);
    check_uniform("hidden under them, as sent to another", record.seen, record.count, digits);
    subtract(record.seen, other.seen, record.count, cr_prime(digits), words);
    for (size_t s = 0; s < record.count; s++)
        if (words[s].rows > 0)
            assert_memory_equal(words[s].words, record.hidden[s].words, words[s].rows * words[s].depth * 4);
    struct uniformity got = say("both together", words, record.count, digits);
    assert_true(got.bytes < level / 3 && got.related < level / 3);
    free_series(words, record.count);
    free_record(&record);
    free_record(&other);
}

static void what_is_seen_tells_nothing(void **state)
{
    (void)state;
    struct cr_compute *compute;
    assert_ok(cr_compute_new(2, &compute));
    check(4, false, compute);
    check(3, false, compute);
    check(4, true, compute);
    check_peers(4, compute);
    check_peers(3, compute);
    check_secrets_of_pads(SMALL_MODEL, compute);
    check_secrets_of_pads(deep_model(), compute);
    cr_compute_free(compute);
}

// With three digits a word in half a million is not below p. What takes its place is of the side stream, at
// the piece's own place there: a word of the pad itself would mask two numbers.
static void words_drawn_anew_are_no_others_of_the_pad(void **state)
{
    (void)state;
    enum { DIGITS = 3, BITS = 23, FOUND = 3, BLOCK = CR_PAD_PIECE * 3 / 16 };
    static const unsigned char key[CR_KEY_SIZE] = "the key of a pad";
    unsigned char side_key[CR_KEY_SIZE];
    const uint32_t p = cr_prime(DIGITS);
    struct cr_compute *compute;
    struct cr_field *field;
    struct cr_pad *pad;
    struct cr_keystream *whole, *side;
    uint32_t raw[CR_PAD_PIECE], anew[CR_PAD_PIECE], words[CR_PAD_PIECE];
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_field_new(compute, DIGITS, &field));
    assert_ok(cr_pad_new(key, field, &pad));
    assert_ok(cr_key_derive(key, "carrel pad words drawn anew", side_key));
    assert_ok(cr_keystream_new(key, &whole));
    assert_ok(cr_keystream_new(side_key, &side));
    size_t found = 0;
    for (uint64_t number = 0; found < FOUND; number++) {
        if (cr_keystream_words(whole, number, BLOCK, BITS, p, raw, CR_PAD_PIECE)) continue;
        size_t used = 0;
        cr_keystream_words(side, number, BLOCK, BITS, p, anew, CR_PAD_PIECE);
        cr_pad_words(pad, number, CR_PAD_PIECE, words, CR_PAD_PIECE);
        for (size_t i = 0; i < CR_PAD_PIECE; i++)
            assert_int_equal(words[i], raw[i] < p ? raw[i] : anew[used++]);
        assert_true(used > 0);
        found++;
    }
    cr_keystream_free(side);
    cr_keystream_free(whole);
    cr_pad_free(pad);
    cr_field_free(field);
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_seen_tells_nothing),
        cmocka_unit_test(words_drawn_anew_are_no_others_of_the_pad),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
