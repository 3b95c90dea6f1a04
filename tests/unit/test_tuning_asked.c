// A split model's two parts, with nothing but coded activations between them: the front of a session, and the
// tuned tail that answers. They write and score what one process does that has all of it.
#include "model_support.h"
#include "temporary.h"
#include "tuning_support.h"

#include "model/generate.h"
#include "model/pass.h"
#include "text/unicode.h"
#include "tuning/asked.h"
#include "tuning/cut.h"
#include "tuning/evaluate.h"
#include "tuning/tail.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { LONGEST = 48, WRITTEN = 20, PROMPT = 9 };
static const int codings[] = {CR_SPLIT_ACTIVATIONS_FLOAT32, CR_SPLIT_ACTIVATIONS_BFLOAT16,
                              CR_SPLIT_ACTIVATIONS_INT8};
static char gqa[] = SMALL_MODEL, gpt2[] = "tests/golden/lora-gpt2/model";
static char *const models[] = {gqa, gpt2}; // of two layers each

static struct cr_compute *compute;

// Who has the tail, without a network.
struct near {
    struct cr_asked asked; // first
    struct cr_tuning_config config;
    struct cr_tail *tail;
    struct cr_tail_text *text;
    struct cr_tail_score score;
    struct cr_buffer rows, labels;
    size_t row_size, left; // examples
};

static struct near *of(struct cr_asked *asked)
{
    return (struct near *)asked;
}

static enum cr_status begin_text(struct cr_asked *asked, double temperature, uint64_t seed)
{
    cr_tail_text_free(of(asked)->text);
    of(asked)->text = NULL;
    return cr_tail_text_new(of(asked)->tail, temperature, seed, &of(asked)->text);
}

static enum cr_status begin_examples(struct cr_asked *asked, size_t examples, size_t choices)
{
    of(asked)->score = (struct cr_tail_score){.choices = choices};
    of(asked)->left = examples;
    return CR_OK;
}

static enum cr_status put(struct cr_asked *asked, struct cr_matrix stream, const int32_t *labels)
{
    struct near *near = of(asked);
    CR_FREE unsigned char *coded = NULL;
    CR_TRY(cr_allocate(stream.rows, near->row_size, &coded));
    CR_TRY(cr_cut_encode(compute, near->config.split.activations, stream, coded));
    CR_TRY(cr_append(&near->rows, coded, stream.rows * near->row_size));
    return labels ? cr_append(&near->labels, labels, stream.rows * sizeof *labels) : CR_OK;
}

static enum cr_status next(struct cr_asked *asked, uint32_t *token)
{
    struct near *near = of(asked);
    size_t rows = near->rows.size / near->row_size;
    CR_TRY(cr_tail_next(near->tail, near->text, near->rows.data, rows, token));
    cr_buffer_clear(&near->rows);
    return CR_OK;
}

static enum cr_status example(struct cr_asked *asked, struct cr_tally *tally)
{
    struct near *near = of(asked);
    size_t rows = near->rows.size / near->row_size;
    CR_TRY(cr_append(&near->rows, near->labels.data, near->labels.size));
    CR_TRY(cr_tail_score(near->tail, near->rows.data, rows, &near->score));
    cr_buffer_clear(&near->rows);
    cr_buffer_clear(&near->labels);
    if (--near->left > 0) return CR_OK;
    tally->loss_sum += near->score.loss_sum;
    tally->correct += near->score.correct;
    tally->exact += near->score.exact;
    tally->chosen += near->score.chosen;
    return CR_OK;
}

// Both parties, and one that is neither.
struct fixture {
    struct near near;
    struct cr_session front, whole;
};

static void open_parties_for(char *model, int activations, size_t layers, size_t longest, struct fixture *f)
{
    *f = (struct fixture){.near = {.asked = {longest, begin_text, begin_examples, put, next, example}}};
    struct cr_tuning_config *config = &f->near.config;
    *config = small_run(NULL, NULL, 0);
    config->model_name_or_path = model;
    config->split = (struct cr_split_config){.activations = activations, .layers = layers};
    config->data.max_length = longest;
    const char *adapter = in_directory(model == gpt2 ? "gpt2" : "gqa");
    assert_ok(cr_tail_open(config, adapter, compute, &f->near.tail));
    assert_ok(cr_session_open_front(model, config, compute, NULL, &f->near.asked, &f->front));
    assert_ok(cr_session_open(model, adapter, CR_COMPUTE_FLOAT32, false, compute, NULL, &f->whole));
    f->near.row_size = cr_cut_row_size(activations, f->whole.model->config.hidden);
    assert_int_equal(cr_session_context(&f->front), longest);
}

static void open_parties(char *model, int activations, size_t layers, struct fixture *f)
{
    open_parties_for(model, activations, layers, LONGEST, f);
}

static void close_parties(struct fixture *f)
{
    cr_session_release(&f->front);
    cr_session_release(&f->whole);
    cr_tail_text_free(f->near.text);
    cr_tail_free(f->near.tail);
    cr_buffer_release(&f->near.rows);
    cr_buffer_release(&f->near.labels);
}

static struct cr_ids prompt(uint32_t seed)
{
    struct cr_ids ids = {0};
    for (uint32_t i = 0; i < PROMPT; i++) assert_ok(cr_ids_append(&ids, 'a' + (seed + i * i) % 20));
    return ids;
}

static struct cr_ids write_on(const struct cr_session *session, uint32_t seed, double temperature)
{
    struct cr_ids ids = prompt(seed);
    const struct cr_writer writer = {.most = WRITTEN, .temperature = temperature, .seed = seed};
    bool ended;
    assert_ok(cr_session_write(session, &writer, &ids, &ended));
    return ids;
}

static void assert_same_ids(struct cr_ids *a, struct cr_ids *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->items, b->items, a->count * sizeof *a->items);
    cr_ids_release(a);
    cr_ids_release(b);
}

static void check_text(const struct fixture *f, uint32_t seed, double temperature)
{
    struct cr_ids asked = write_on(&f->front, seed, temperature);
    struct cr_ids own = write_on(&f->whole, seed, temperature);
    assert_same_ids(&asked, &own);
}

// One process with all of it, whose stream at the cut is coded and decoded as if it had crossed.
struct rounded {
    const struct fixture *f;
    struct cr_pass *pass;
    struct cr_batch *batch;
};

static struct rounded open_rounded(const struct fixture *f)
{
    struct rounded rounded = {.f = f};
    assert_ok(cr_pass_new(f->whole.model, &(struct cr_pass_size){.rows = LONGEST, .sequences = 1}, NULL,
                          &rounded.pass));
    assert_ok(cr_batch_new(1, LONGEST, &rounded.batch));
    return rounded;
}

static void walk_rounded(const struct rounded *rounded, struct cr_example example)
{
    const struct fixture *f = rounded->f;
    const struct cr_tuned *tuned = cr_session_tuned(&f->whole);
    size_t layer = f->near.config.split.layers;
    cr_batch_clear(rounded->batch);
    assert_ok(cr_batch_add(rounded->batch, example));
    struct cr_rows rows = cr_rows_of(rounded->batch);
    assert_ok(cr_pass_forward(rounded->pass, tuned, &rows, 0, layer));
    struct cr_matrix stream = cr_matrix_rows(cr_pass_stream(rounded->pass), 0, rows.rows);
    CR_FREE unsigned char *coded = NULL;
    assert_ok(cr_allocate(rows.rows, f->near.row_size, &coded));
    assert_ok(cr_cut_encode(compute, f->near.config.split.activations, stream, coded));
    assert_ok(cr_cut_decode(compute, f->near.config.split.activations, coded, stream));
    rows.tokens = NULL;
    assert_ok(cr_pass_forward(rounded->pass, tuned, &rows, layer, f->whole.model->config.layers));
}

// Each token by a walk over all of the text.
static void check_rounded_text(const struct rounded *rounded, uint32_t seed)
{
    const struct fixture *f = rounded->f;
    size_t vocabulary = f->whole.model->config.vocabulary;
    struct cr_ids asked = write_on(&f->front, seed, 0), own = prompt(seed);
    CR_FREE float *logits = NULL;
    CR_FREE int32_t *labels = NULL;
    assert_ok(cr_allocate(vocabulary, sizeof *logits, &logits));
    assert_ok(cr_allocate(LONGEST, sizeof *labels, &labels));
    while (own.count < asked.count) {
        uint32_t last = (uint32_t)own.count - 1;
        walk_rounded(rounded, (struct cr_example){.tokens = own.items, .labels = labels, .count = own.count});
        assert_ok(cr_pass_logits(rounded->pass, &last, 1, logits));
        assert_ok(cr_ids_append(&own, cr_choose_token(logits, vocabulary, 0, 0)));
    }
    assert_true(asked.count > PROMPT);
    assert_same_ids(&asked, &own);
}

static void check_rounded_loss(const struct rounded *rounded)
{
    const struct fixture *f = rounded->f;
    const struct cr_dataset_options options = {.max_length = LONGEST};
    struct cr_dataset *data;
    struct cr_tally tally = {0};
    double loss = 0;
    assert_ok(cr_session_evaluate(&f->front, in_directory("rows.jsonl"), &options, NULL, &tally));
    assert_ok(cr_dataset_open(in_directory("rows.jsonl"), f->whole.tokenizer, &options, &data));
    for (size_t i = 0; i < cr_dataset_count(data); i++) {
        double one = 0;
        walk_rounded(rounded, cr_dataset_at(data, i));
        const struct cr_rows rows = cr_rows_of(rounded->batch);
        assert_ok(cr_pass_loss(rounded->pass, cr_session_tuned(&f->whole), &rows, 0, &one, NULL));
        loss += one;
    }
    assert_true(tally.loss_sum == loss);
    cr_dataset_free(data);
}

static void check_tally(const struct fixture *f, const char *file, const struct cr_dataset_options *options,
                        size_t chosen)
{
    struct cr_tally asked = {0}, own = {0};
    assert_ok(cr_session_evaluate(&f->front, in_directory(file), options, NULL, &asked));
    assert_ok(cr_session_evaluate(&f->whole, in_directory(file), options, NULL, &own));
    // One sum of all rows, and sums of each example's: the same numbers in another order.
    assert_true(fabs(asked.loss_sum - own.loss_sum) <= 1e-13 * own.loss_sum);
    asked.loss_sum = own.loss_sum;
    assert_memory_equal(&asked, &own, sizeof own);
    assert_true(own.labelled > 0 && own.examples > 1);
    assert_int_equal(own.chosen, chosen);
}

static void both_parties_say_what_one_says(void **state)
{
    (void)state;
    static const char *const words[] = {" apple", " pear", " it"};
    const struct cr_dataset_options rows = {.max_length = LONGEST},
                                    choices = {.max_length = LONGEST,
                                               .label_prompt = CR_LABEL_PROMPT,
                                               .label_words = words,
                                               .label_count = 3,
                                               .all_choices = true};
    for (size_t m = 0; m < 2; m++)
        for (size_t layers = 0; layers < 2; layers++) {
            struct fixture f;
            open_parties(models[m], CR_SPLIT_ACTIVATIONS_FLOAT32, layers, &f);
            check_text(&f, 1, 0);
            check_text(&f, 2, 0.9);
            check_tally(&f, "rows.jsonl", &rows, 0);
            check_tally(&f, "labels.tsv", &choices, 3); // one of each sentence's labels
            close_parties(&f);
        }
}

static size_t head_calls;
static enum cr_status (*head_forward)(const struct cr_linear *, struct cr_matrix, struct cr_matrix);

static enum cr_status counted_forward(const struct cr_linear *self, struct cr_matrix x, struct cr_matrix y)
{
    head_calls++;
    return head_forward(self, x, y);
}

// A head is read from memory as a whole for each of its products.
static void sequences_of_a_walk_share_the_heads_product(void **state)
{
    (void)state;
    static const char *const words[] = {" apple", " pear", " it"};
    const struct cr_dataset_options choices = {.max_length = LONGEST,
                                               .label_prompt = CR_LABEL_PROMPT,
                                               .label_words = words,
                                               .label_count = 3,
                                               .all_choices = true};
    struct fixture f;
    struct cr_tally tally = {0};
    open_parties(gqa, CR_SPLIT_ACTIVATIONS_FLOAT32, 1, &f);
    struct cr_linear *head = &f.whole.model->head;
    struct cr_linear_provider counted = *head->provider;
    head_forward = counted.forward;
    counted.forward = counted_forward;
    head->provider = &counted;
    head_calls = 0;
    assert_ok(cr_session_evaluate(&f.whole, in_directory("labels.tsv"), &choices, NULL, &tally));
    assert_true(tally.examples > 1 && tally.chosen > 0);
    assert_int_equal(head_calls, 1);
    close_parties(&f);
}

static void what_crosses_rounded_is_all_that_differs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof codings / sizeof *codings; i++)
        for (size_t m = 0; m < 2; m++)
            for (size_t layers = 0; layers < 2; layers++) {
                struct fixture f;
                open_parties(models[m], codings[i], layers, &f);
                struct rounded rounded = open_rounded(&f);
                check_rounded_text(&rounded, 3);
                check_rounded_loss(&rounded);
                cr_pass_free(rounded.pass);
                cr_batch_free(rounded.batch);
                close_parties(&f);
            }
}

// A front's coded stream of `count` tokens, the last of a text that has so many.
static void code(const struct fixture *f, const uint32_t *tokens, size_t count, unsigned char *coded)
{
    struct cr_decoder *decoder;
    struct cr_matrix stream;
    assert_ok(cr_decoder_new(f->front.model, NULL, LONGEST, 1, &decoder));
    assert_ok(cr_decoder_front(decoder, tokens, count, &stream));
    assert_ok(cr_cut_encode(compute, f->near.config.split.activations, stream, coded));
    cr_decoder_free(decoder);
}

static void texts_do_not_meet_and_what_is_wrong_changes_nothing(void **state)
{
    (void)state;
    struct fixture f;
    open_parties(gqa, CR_SPLIT_ACTIVATIONS_FLOAT32, 1, &f);
    struct cr_ids first = prompt(4), second = prompt(5);
    size_t row = f.near.row_size;
    CR_FREE unsigned char *a = NULL, *b = NULL, *bad = NULL;
    assert_ok(cr_allocate(LONGEST + 1, row, &bad));
    assert_ok(cr_allocate(PROMPT, row, &a));
    assert_ok(cr_allocate(PROMPT, row, &b));
    code(&f, first.items, PROMPT, a);
    code(&f, second.items, PROMPT, b);
    struct cr_tail_text *alone[2], *mixed[2];
    for (size_t i = 0; i < 2; i++) {
        assert_ok(cr_tail_text_new(f.near.tail, 0.9, i, &alone[i]));
        assert_ok(cr_tail_text_new(f.near.tail, 0.9, i, &mixed[i]));
    }
    uint32_t wanted[2][PROMPT], found;
    for (size_t i = 0; i < PROMPT; i++)
        assert_ok(cr_tail_next(f.near.tail, alone[0], a + i * row, 1, &wanted[0][i]));
    for (size_t i = 0; i < PROMPT; i++)
        assert_ok(cr_tail_next(f.near.tail, alone[1], b + i * row, 1, &wanted[1][i]));
    for (size_t i = 0; i < row; i++) bad[i] = 0xff;
    for (size_t i = 0; i < PROMPT; i++) {
        assert_ok(cr_tail_next(f.near.tail, mixed[0], a + i * row, 1, &found));
        assert_int_equal(found, wanted[0][i]);
        assert_fails(CR_INVALID, "NaN", cr_tail_next(f.near.tail, mixed[1], bad, 1, &found));
        assert_fails(CR_INVALID, "1 to 48", cr_tail_next(f.near.tail, mixed[1], a, LONGEST + 1, &found));
        assert_fails(CR_INVALID, "1 to 48", cr_tail_next(f.near.tail, mixed[1], a, 0, &found));
        assert_ok(cr_tail_next(f.near.tail, mixed[1], b + i * row, 1, &found));
        assert_int_equal(found, wanted[1][i]);
    }
    memset(bad, 0, LONGEST * row);
    assert_fails(CR_INVALID, "do not fit the context",
                 cr_tail_next(f.near.tail, mixed[0], bad, LONGEST - PROMPT + 1, &found));
    assert_ok(cr_tail_next(f.near.tail, mixed[0], bad, LONGEST - PROMPT, &found));
    for (size_t i = 0; i < 2; i++) {
        cr_tail_text_free(alone[i]);
        cr_tail_text_free(mixed[i]);
    }
    struct cr_tail_score score = {.choices = 1}, before = score;
    memcpy(bad + row, &(int32_t){1 << 20}, sizeof(int32_t));
    assert_fails(CR_INVALID, "label 1048576", cr_tail_score(f.near.tail, bad, 1, &score));
    assert_memory_equal(&score, &before, sizeof score);
    cr_ids_release(&first);
    cr_ids_release(&second);
    close_parties(&f);
}

// The small model with a longer context, which rotation needs no tensor for.
static char *long_model(void)
{
    static char path[300];
    static const char *const names[] = {"model.safetensors", "tokenizer.json", "tokenizer_config.json"};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer changed = {0};
    snprintf(path, sizeof path, "%s", in_directory("long"));
    assert_ok(cr_directory_make(path, false));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char from[PATH_MAX], to[400];
        assert_non_null(realpath(SMALL_MODEL, from));
        strcat(strcat(from, "/"), names[i]);
        snprintf(to, sizeof to, "%s/%s", path, names[i]);
        assert_int_equal(symlink(from, to), 0);
    }
    assert_ok(cr_file_read(SMALL_MODEL "/config.json", 1 << 16, &text));
    assert_ok(cr_text_replace(cr_buffer_slice(&text), cr_slice_of_string("_embeddings\": 64"),
                              cr_slice_of_string("_embeddings\": 1024"), SIZE_MAX, &changed));
    write_bytes(in_directory("long/config.json"), cr_buffer_slice(&changed));
    return path;
}

static void a_long_prompt_crosses_in_parts(void **state)
{
    (void)state;
    enum { LONG = CR_DECODER_ROWS + 40 };
    struct fixture f;
    struct cr_ids asked = {0}, own = {0};
    const struct cr_writer writer = {.most = WRITTEN};
    bool ended;
    open_parties_for(long_model(), CR_SPLIT_ACTIVATIONS_FLOAT32, 1, LONG + WRITTEN, &f);
    for (uint32_t i = 0; i < LONG; i++) assert_ok(cr_ids_append(&asked, 'a' + i * i % 20));
    assert_ok(cr_ids_append_all(&own, &asked));
    assert_ok(cr_session_write(&f.front, &writer, &asked, &ended));
    assert_ok(cr_session_write(&f.whole, &writer, &own, &ended));
    assert_true(asked.count > LONG);
    assert_same_ids(&asked, &own);
    close_parties(&f);
}

// An adapter in the last layer of each model, that says something.
static int set_up(void **state)
{
    static char query[] = "all-linear";
    static char *modules[] = {query};
    if (make_directory(state) != 0) return -1;
    assert_ok(cr_compute_new(1, &compute));
    write_text(in_directory("rows.jsonl"), "{\"text\": \"an apple a day\"}\n{\"text\": \"or a pear, then\"}\n"
                                           "{\"text\": \"it is what it is\"}\n");
    char labels[300] = ""; // each sentence with every label
    static const char *const sentences[] = {"so red and round", "so green and long", "whatever"};
    for (size_t i = 0; i < 9; i++)
        snprintf(labels + strlen(labels), sizeof labels - strlen(labels), "%s\t%zu\n", sentences[i % 3],
                 i / 3);
    write_text(in_directory("labels.tsv"), labels);
    for (size_t i = 0; i < 2; i++) {
        struct cr_trainer *trainer;
        size_t last = 1;
        struct cr_tally tally = {0};
        char *train;
        assert_ok(cr_copy_string(in_directory("rows.jsonl"), &train));
        struct cr_tuning_config config = small_run(train, modules, 1);
        config.model_name_or_path = models[i];
        config.lora.targets.layers = (struct cr_size_list){&last, 1};
        assert_ok(cr_trainer_new(&config, compute, NULL, &trainer));
        assert_ok(cr_trainer_run(trainer, 12, &tally, NULL, NULL));
        assert_ok(cr_trainer_save(trainer, in_directory(i == 0 ? "gqa" : "gpt2")));
        cr_trainer_free(trainer);
        free(train);
    }
    return 0;
}

static int tear_down(void **state)
{
    cr_compute_free(compute);
    return remove_directory(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_parties_say_what_one_says),
        cmocka_unit_test(sequences_of_a_walk_share_the_heads_product),
        cmocka_unit_test(what_crosses_rounded_is_all_that_differs),
        cmocka_unit_test(a_long_prompt_crosses_in_parts),
        cmocka_unit_test(texts_do_not_meet_and_what_is_wrong_changes_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
