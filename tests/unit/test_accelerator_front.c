// The clear front over a link: what an accelerator's layers make of sequences is what the same layers make
// here, bit for bit, whatever it was asked before.
#include "slicing_support.h"

#include "slicing/link.h"

enum { MOST = 48 };

static struct cr_link *open_link(const struct hired *hired)
{
    const struct cr_link_options options = {.address = hired->address,
                                            .digits = 4,
                                            .words = MOST * hired->model->config.hidden,
                                            .patience = 60,
                                            .matrices = hired->frozen.checksum};
    struct cr_link *link;
    assert_ok(cr_link_open(&options, &link));
    return link;
}

static void compare(const struct hired *hired, struct cr_link *link, const size_t *lengths, size_t sequences,
                    size_t layers)
{
    struct cr_model *model;
    struct cr_front_model own;
    struct cr_pass *pass;
    struct sample sample = random_sample(lengths, sequences, hired->model->config.vocabulary, layers);
    const struct cr_rows *rows = &sample.rows;
    uint32_t counts[8];
    size_t hidden = hired->model->config.hidden;
    for (size_t i = 0; i < sequences; i++) counts[i] = (uint32_t)lengths[i];
    const struct cr_wire_front front = {(uint32_t)layers, (uint32_t)sequences, (uint32_t)rows->rows};
    assert_ok(cr_link_ask_front(link, &front, rows->tokens, counts));
    assert_ok(cr_link_receive(link, rows->rows * hidden));

    assert_ok(cr_model_open(cr_safetensors_name(hired->model->weights), CR_MODEL_IN_8BIT, NULL,
                            hired->compute, CR_F32, &model));
    const struct cr_pass_size size = {.rows = rows->rows, .sequences = sequences, .last = layers};
    assert_ok(cr_front_model_open(model, &own));
    assert_ok(cr_pass_new(&own.model, &size, NULL, &pass));
    assert_ok(cr_pass_forward(pass, NULL, rows, 0, layers));
    struct cr_matrix wanted = cr_pass_stream(pass);
    const volatile uint32_t *words = cr_link_answer(link);
    for (size_t i = 0; i < rows->rows; i++)
        for (size_t j = 0; j < hidden; j++) {
            uint32_t bits;
            memcpy(&bits, (const float *)wanted.data + i * wanted.stride + j, sizeof bits);
            assert_int_equal(words[i * hidden + j], bits);
        }
    cr_pass_free(pass);
    cr_front_model_release(&own);
    cr_model_free(model);
    sample_free(&sample);
}

static void an_answer_is_what_the_layers_make(void **state)
{
    (void)state;
    static const char *const models[] = {"tests/golden/llama-gqa", "tests/golden/qwen3", "tests/golden/gpt2",
                                         "tests/golden/mistral-window"};
    char address[300];
    snprintf(address, sizeof address, "unix:%s", in_directory("front.sock"));
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct hired hired;
        hire(&hired, models[i], address);
        struct cr_link *link = open_link(&hired);
        for (size_t layers = 1; layers <= hired.model->config.layers; layers++) {
            compare(&hired, link, (const size_t[]){7, 1, 12}, 3, layers);
            compare(&hired, link, (const size_t[]){3}, 1, layers);
            compare(&hired, link, (const size_t[]){1, 1, 1, 1, 40}, 5, layers);
        }
        cr_link_close(link);
        dismiss(&hired);
    }
}

// Products and fronts take turns on one connection, and share its memory.
static void a_refusal_is_told(void **state)
{
    (void)state;
    struct hired hired;
    char address[300];
    const uint32_t tokens[] = {1, 1000000}, lengths[] = {2};
    const struct cr_wire_front front = {1, 1, 2};
    snprintf(address, sizeof address, "unix:%s", in_directory("front.sock"));
    hire(&hired, "tests/golden/llama-gqa", address);
    struct cr_link *link = open_link(&hired);
    compare(&hired, link, (const size_t[]){7, 1, 12}, 3, 1);
    assert_ok(cr_link_send(link, &(struct cr_wire_product){.rows = 1, .parts = 1}, 16));
    assert_ok(cr_link_receive(link, 32));
    compare(&hired, link, (const size_t[]){7, 1, 12}, 3, 1);
    assert_ok(cr_link_ask_front(link, &front, tokens, lengths));
    assert_fails(CR_DENIED, "token 1000000 is outside the model's vocabulary", cr_link_receive(link, 32));
    cr_link_close(link);
    dismiss(&hired);

    hire(&hired, "tests/golden/llama-gqa", "127.0.0.1:0");
    link = open_link(&hired);
    assert_fails(CR_INTERNAL, "a front without shared memory",
                 cr_link_ask_front(link, &front, tokens, lengths));
    cr_link_close(link);
    dismiss(&hired);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_what_the_layers_make),
        cmocka_unit_test(a_refusal_is_told),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
