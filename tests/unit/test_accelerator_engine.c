// The CPU's engine, by itself and through link and session, against products as they are defined: every word.
#include "accelerator_support.h"
#include "model_support.h"
#include "temporary.h"

#include "base/address.h"
#include "base/outside.h"
#include "base/socket.h"
#include "slicing/link.h"

#include <sys/mman.h>

// Words below p: the first row the largest, the second zeros, others random.
static void draw(uint64_t seed, unsigned digits, size_t rows, size_t depth, uint32_t *x)
{
    for (size_t i = 0; i < rows * depth; i++) {
        uint32_t random = (uint32_t)(next_random(&seed) % cr_prime(digits));
        x[i] = i < depth ? cr_prime(digits) - 1 : i < 2 * depth ? 0 : random;
    }
}

static void compare(const uint32_t *got, const uint32_t *wanted, size_t rows, size_t width, const char *what)
{
    for (size_t i = 0; i < rows * width; i++)
        if (got[i] != wanted[i])
            fail_msg("%s: row %zu, column %zu: %u, not %u", what, i / width, i % width, got[i], wanted[i]);
}

static void check_engine(struct cr_engine *engine, const struct cr_frozen *frozen, uint32_t linear,
                         bool backward, unsigned digits, uint32_t rows, uint32_t parts)
{
    struct cr_matrix q = frozen->matrices[linear];
    size_t depth = backward ? q.rows : q.columns, width = parts * (backward ? q.columns : q.rows);
    if (parts > depth) return; // which a session refuses
    CR_FREE uint32_t *x = NULL, *pads = NULL, *got = NULL, *wanted = NULL;
    struct cr_wire_product product = {.linear = linear, .backward = backward, .rows = rows, .parts = parts};
    uint32_t around = rows + rows / 2, place = 5;
    assert_ok(cr_allocate(rows * depth, sizeof *x, &x));
    assert_ok(cr_allocate(place + around * width, sizeof *pads, &pads));
    assert_ok(cr_allocate(rows * width, sizeof *got, &got));
    assert_ok(cr_allocate(rows * width, sizeof *wanted, &wanted));
    draw(linear + rows, digits, rows, depth, x);
    draw(linear, digits, 1, place + around * width, pads);
    reference_product(q, backward, digits, rows, parts, x, wanted);
    for (int less = 0; less <= (parts > 1); less++) { // of every sum: tests/unit/test_field_product.c
        if (less) {
            product.place = place;
            product.turn = around - 1;
            product.around = around;
        }
        reference_less(&product, width, digits, pads, wanted);
        assert_ok(engine->kind->multiply(engine, &product, digits, x, pads, got));
        compare(got, wanted, rows, width, backward ? "backward" : "forward");
    }
}

// Sums of every length there is, of the largest numbers there are, and more terms than one exact sum takes.
static void sums_are_exact(enum cr_isa isa, size_t threads)
{
    enum { SHAPES = 6 };
    const size_t shapes[SHAPES][2] = {{1, 1}, {5, 7}, {33, 70}, {3, 16384}, {66000, 3}, {131, 257}};
    struct cr_matrix matrices[SHAPES];
    struct cr_compute *compute;
    struct cr_engine *engine;
    uint64_t random = 3;
    enum cr_status status = cr_compute_new_with(threads, isa, &compute);
    if (status == CR_UNSUPPORTED) return;
    assert_ok(status);
    for (size_t i = 0; i < SHAPES; i++) {
        int8_t *q;
        size_t count = shapes[i][0] * shapes[i][1];
        assert_ok(cr_allocate(count, 1, &q));
        for (size_t j = 0; j < count; j++)
            q[j] = i == 3 || i == 4 ? (j < shapes[i][1] || j % 3 == 0 ? 127 : -127)
                                    : (int8_t)(next_random(&random) % 255 - 127);
        matrices[i] = cr_matrix_of(q, CR_I8, shapes[i][0], shapes[i][1]);
    }
    const struct cr_frozen frozen = {.matrices = matrices, .count = SHAPES};
    assert_ok(cr_engine_cpu.open(&frozen, compute, &engine));
    for (uint32_t linear = 0; linear < SHAPES; linear++)
        for (unsigned digits = 3; digits <= 4; digits++)
            for (int backward = 0; backward < 2; backward++) {
                check_engine(engine, &frozen, linear, backward, digits, 1, 1);
                uint32_t rows = linear == 3 || linear == 4 ? 19 : 67; // fewer of the large ones
                check_engine(engine, &frozen, linear, backward, digits, rows, 1);
                check_engine(engine, &frozen, linear, backward, digits, rows, 3);
                // Many rows, of small matrices that are wider and that are not, and of answers that parts
                // make wider, up to a part for each term.
                if (linear >= 3) continue;
                check_engine(engine, &frozen, linear, backward, digits, 1200, 1);
                check_engine(engine, &frozen, linear, backward, digits, 600, 2);
                for (uint32_t parts = 5; parts <= 70; parts += 13)
                    check_engine(engine, &frozen, linear, backward, digits, 2, parts);
            }
    engine->kind->free(engine);
    for (size_t i = 0; i < SHAPES; i++) free(matrices[i].data);
    cr_compute_free(compute);
}

static void sums_are_exact_on_every_instruction_set(void **state)
{
    (void)state;
    if (THOROUGH) sums_are_exact(CR_ISA_SCALAR, 1); // tests/unit/test_field_product.c has it
    sums_are_exact(CR_ISA_AVX2, 2);
    sums_are_exact(CR_ISA_AVX512_BF16, 3);
    sums_are_exact(CR_ISA_AMX, 2);
}

// A golden model's accelerator, that serves as many connections as it is told and ends with them.
struct server {
    struct cr_compute *compute;
    struct cr_model *model;
    struct cr_frozen frozen;
    struct cr_accelerator accelerator;
    int listener;
    char address[CR_SOCKET_NAME_SIZE];
};

static void *serve(void *argument)
{
    struct server *server = argument;
    int socket;
    if (cr_socket_accept(server->listener, 30, &socket) != CR_OK) abort();
    enum cr_status status =
        cr_accelerator_serve(&server->accelerator, &(struct cr_stream){.socket = socket}, "a guest");
    cr_socket_close(&socket);
    return status == CR_OK ? argument : NULL;
}

static void open_server(struct server *server, const char *model, const char *address)
{
    *server = (struct server){.accelerator = {.busy = PTHREAD_MUTEX_INITIALIZER}};
    assert_ok(cr_compute_new(2, &server->compute));
    assert_ok(cr_model_open(model, CR_MODEL_IN_8BIT, NULL, server->compute, CR_F32, &server->model));
    assert_ok(cr_frozen_open(server->model, &server->frozen));
    assert_ok(cr_engine_cpu.open(&server->frozen, server->compute, &server->accelerator.engine));
    server->accelerator.frozen = &server->frozen;
    assert_ok(cr_socket_listen(address, &server->listener));
    assert_ok(cr_socket_name(server->listener, server->address));
}

static void close_server(struct server *server)
{
    cr_socket_close(&server->listener);
    server->accelerator.engine->kind->free(server->accelerator.engine);
    cr_frozen_release(&server->frozen);
    cr_model_free(server->model);
    cr_compute_free(server->compute);
}

// A trusted side with a link of its own.
struct visitor {
    const struct server *server;
    unsigned digits;
    uint32_t *pads;  // what is taken away from its answers; NULL: nothing
    char fault[500]; // empty where all was right
};

static enum cr_status ask_one(struct cr_link *link, const struct visitor *visitor, uint32_t linear,
                              bool backward, uint32_t rows, uint32_t parts)
{
    struct cr_matrix q = visitor->server->frozen.matrices[linear];
    size_t depth = backward ? q.rows : q.columns, width = parts * (backward ? q.columns : q.rows);
    CR_FREE uint32_t *x = NULL, *wanted = NULL;
    CR_TRY(cr_allocate(rows * depth, sizeof *x, &x));
    CR_TRY(cr_allocate(rows * width, sizeof *wanted, &wanted));
    draw(linear + rows, visitor->digits, rows, depth, x);
    reference_product(q, backward, visitor->digits, rows, parts, x, wanted);
    volatile uint32_t *question = cr_link_question(link);
    for (size_t i = 0; i < rows * depth; i++) question[i] = x[i];
    struct cr_wire_product product = {.linear = linear, .backward = backward, .rows = rows, .parts = parts};
    if (visitor->pads) {
        product.place = parts;
        product.around = rows + 1;
        product.turn = rows;
    }
    reference_less(&product, width, visitor->digits, visitor->pads, wanted);
    CR_TRY(cr_link_send(link, &product, rows * depth));
    CR_TRY(cr_link_receive(link, rows * width));
    for (size_t i = 0; i < rows * width; i++)
        if (cr_link_answer(link)[i] != wanted[i])
            return cr_fail(CR_INTERNAL, "linear %u: word %zu is wrong", linear, i);
    return CR_OK;
}

static enum cr_status ask_all(const struct visitor *visitor, struct cr_link *link)
{
    for (uint32_t linear = 0; linear < visitor->server->frozen.count; linear++)
        for (int backward = 0; backward < 2; backward++) {
            CR_TRY(ask_one(link, visitor, linear, backward, 1, 1));
            CR_TRY(ask_one(link, visitor, linear, backward, 70, 1));
            CR_TRY(ask_one(link, visitor, linear, backward, 3, 5));
        }
    return CR_OK;
}

static void *visit(void *argument)
{
    struct visitor *visitor = argument;
    enum { PADS = 71 * 128 }; // words
    struct cr_link *link = NULL;
    CR_CLEANUP(cr_socket_close) int fd = -1;
    enum cr_status status = CR_OK;
    if (cr_address_is_unix(visitor->server->address) && visitor->digits == 4) {
        status = cr_outside_share("test", PADS * sizeof *visitor->pads, false, &visitor->pads, &fd);
        if (status == CR_OK) draw(9, visitor->digits, 1, PADS, visitor->pads);
    }
    const struct cr_link_options options = {.address = visitor->server->address,
                                            .digits = visitor->digits,
                                            .words = 70 * 2 * 128,
                                            .patience = 60,
                                            .matrices = visitor->server->frozen.checksum,
                                            .pads = fd,
                                            .pads_size = visitor->pads ? PADS * sizeof *visitor->pads : 0};
    if (status == CR_OK) status = cr_link_open(&options, &link);
    if (status == CR_OK) status = ask_all(visitor, link);
    if (status != CR_OK) snprintf(visitor->fault, sizeof visitor->fault, "%s", cr_error_message());
    cr_link_close(link);
    if (visitor->pads) munmap(visitor->pads, PADS * sizeof *visitor->pads);
    return NULL;
}

// Two connections at once, each with digits of its own; where memory is shared one of them has products of
// pads taken away.
static void products_cross_the_wire(void **state)
{
    (void)state;
    const char *const models[] = {"tests/golden/llama-gqa", "tests/golden/llama-mha-tied",
                                  "tests/golden/gpt2"};
    for (size_t i = 0; i < 6; i++) {
        char path[300] = "127.0.0.1:0";
        if (i < 3) snprintf(path, sizeof path, "unix:%s", in_directory("accelerator"));
        struct server server;
        open_server(&server, models[i % 3], path);
        struct visitor visitors[2] = {{.server = &server, .digits = 4}, {.server = &server, .digits = 3}};
        pthread_t threads[4];
        for (size_t j = 0; j < 2; j++) {
            assert_int_equal(pthread_create(&threads[j], NULL, serve, &server), 0);
            assert_int_equal(pthread_create(&threads[2 + j], NULL, visit, &visitors[j]), 0);
        }
        for (size_t j = 0; j < 4; j++) {
            void *served;
            pthread_join(threads[j], &served);
            assert_true(j >= 2 || served);
        }
        assert_string_equal(visitors[0].fault, "");
        assert_string_equal(visitors[1].fault, "");
        close_server(&server);
    }
}

// What a link says of an accelerator that refuses it: the accelerator's name, then its reason.
static void another_model_is_refused(void **state)
{
    (void)state;
    struct server server;
    struct cr_link *link;
    pthread_t thread;
    char name[400];
    open_server(&server, "tests/golden/llama-gqa", "127.0.0.1:0");
    assert_int_equal(pthread_create(&thread, NULL, serve, &server), 0);
    const struct cr_link_options options = {.address = server.address,
                                            .digits = 4,
                                            .words = 64,
                                            .patience = 20,
                                            .matrices = server.frozen.checksum ^ 1};
    snprintf(name, sizeof name, "accelerator %s: a guest: the accelerator holds another model",
             server.address);
    assert_fails(CR_DENIED, name, cr_link_open(&options, &link));
    pthread_join(thread, NULL);
    close_server(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_exact_on_every_instruction_set),
        cmocka_unit_test(products_cross_the_wire),
        cmocka_unit_test(another_model_is_refused),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
