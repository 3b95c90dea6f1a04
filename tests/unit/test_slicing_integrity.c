// 10,000 seeded tries of an accelerator, and of who can write to the memory outside, to pass off a product
// that is not the right one: each is refused by name before anything of it is used. The accelerator is the
// only one, or one of two: that which makes the products of pads, or that which is sent what they hide. Some
// sums are answered in parts.
#include "deep_support.h"
#include "slicing_support.h"

#include "base/address.h"
#include "field/prime.h"
#include "slicing/facts.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { TRIES = THOROUGH ? 10000 : 1500, MOST_ROWS = 6, QUEUE = 16, ROOM = MOST_ROWS * DEEP_MOST };

// What is done to an answer, or to memory outside.
enum lie {
    HONEST,
    FLIP,         // one bit of one word
    BEYOND,       // a word and p: the same number, but not below p
    REPLAY,       // the answer to the same product's question before
    SWAP,         // two rows change places
    OTHER_LINEAR, // the product of another matrix
    OTHER_WAY,    // of the same matrix in the other direction
    ZERO,         // nothing but zeros
    DIFFERENCE,   // what sets two right rows apart added to one: the sum of right answers, but to no question
    PART_SWAP,    // two parts of a row change places
    PART_MOVE,    // some of a word of one part to the other: their sum stays
    OUTSIDE,      // a bit of a pad's product
    OUTSIDE_BEYOND, // the product of a pad, not below p
    OUTSIDE_OTHER,  // another pad's product
    RACE,           // a word of the answer keeps changing after the answer was announced
    RACE_OUTSIDE,   // a word of a pad's product does
    LIES,
};
static const char *const lies[LIES] = {
    "honest",
    "a flipped bit",
    "a word beyond p",
    "a replay",
    "swapped rows",
    "another linear",
    "another way",
    "zeros",
    "a difference of rows",
    "swapped parts",
    "a part's word in another",
    "a flipped bit outside",
    "a word beyond p outside",
    "another pad's product outside",
    "a race",
    "a race outside",
};

enum { PAGE = 4096 };

// Writes right and wrong words in turn to memory that the trusted side reads.
struct writer {
    pthread_t thread;
    atomic_bool running, stop;
    void *page; // of its own, which an accelerator that hangs up leaves alone; NULL: it does not run
    volatile uint32_t *place;
    uint32_t right, wrong;
    uint64_t random;
};

// Linears whose sums are cut, of the deep model: backward the one, forward the other.
enum { GATE_UP = 2, DOWN = 3 };

// Where the one that lies stands.
enum place { ALONE, OF_PADS, OF_ANSWERS, PLACES };

struct plan {
    struct hired *hired, *honest; // the second for a place beside another
    enum place place;
    uint64_t random;
    enum lie lie; // about the next product
    unsigned digits;
    size_t first;               // number of the question's first pad
    volatile uint32_t *outside; // the products of pads
    uint32_t question[ROOM], earlier[ROOM], right[ROOM];
    size_t row; // the first that is wrong
    struct writer writer;
};

static size_t below(struct plan *plan, size_t count)
{
    return (size_t)(next_random(&plan->random) % count);
}

static void *write_on(void *argument)
{
    struct writer *writer = argument;
    while (!atomic_load(&writer->stop)) {
        uint64_t pause = next_random(&writer->random) % 200;
        *writer->place = next_random(&writer->random) % 2 ? writer->wrong : writer->right;
        atomic_store(&writer->running, true);
        for (volatile uint64_t i = 0; i < pause; i++) {
        }
    }
    return NULL;
}

// Where the place's page cannot be mapped again (it is not shared, or valgrind lacks the call) the word is
// wrong from now on.
static void start_writing(struct writer *writer)
{
    size_t within = (uintptr_t)writer->place % PAGE;
    void *page = mremap((char *)(uintptr_t)writer->place - within, 0, PAGE, MREMAP_MAYMOVE);
    writer->page = page == MAP_FAILED ? NULL : page;
    if (!writer->page) {
        *writer->place = writer->wrong;
        return;
    }
    writer->place = (volatile uint32_t *)(void *)((char *)page + within);
    atomic_store(&writer->stop, false);
    atomic_store(&writer->running, false);
    if (pthread_create(&writer->thread, NULL, write_on, writer) != 0) abort();
    while (!atomic_load(&writer->running)) sched_yield();
}

static void stop_writing(struct writer *writer)
{
    if (!writer->page) return;
    atomic_store(&writer->stop, true);
    pthread_join(writer->thread, NULL);
    munmap(writer->page, PAGE);
    writer->page = NULL;
}

// The products of pads, found as whoever reads this process's maps finds them. The accelerator, in this
// process as well, has them for reading alone.
static volatile uint32_t *find_outside(void)
{
    char line[512];
    uintptr_t begin = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (!maps) abort();
    while (!begin && fgets(line, sizeof line, maps))
        if (strstr(line, "/memfd:carrel-pads") && strstr(line, " rw-s ") &&
            sscanf(line, "%" SCNxPTR, &begin) != 1)
            abort();
    fclose(maps);
    if (!begin) abort();
    return (volatile uint32_t *)(void *)begin;
}

// Words of an answer's row.
static size_t width_of(const struct cr_matrix *q, bool backward)
{
    return cr_way_of(q->rows, q->columns, backward).width;
}

// Where that of the pad of this row of the question lies.
static volatile uint32_t *product_of_pad(const struct plan *plan, const struct cr_wire_product *product,
                                         size_t row)
{
    size_t words = 0;
    const struct cr_matrix *q = plan->hired->frozen.matrices;
    size_t queue = product->linear * CR_WAYS + product->backward;
    for (size_t i = 0; i < queue; i++) words += width_of(&q[i / CR_WAYS], i % CR_WAYS) * QUEUE;
    return plan->outside + words +
           (plan->first + row) % QUEUE * width_of(&q[product->linear], product->backward);
}

static void spoil_outside(struct plan *plan, const struct cr_wire_product *product, size_t width)
{
    struct writer *writer = &plan->writer;
    plan->outside = find_outside();
    plan->row = below(plan, product->rows);
    writer->place = product_of_pad(plan, product, plan->row) + below(plan, width);
    writer->right = *writer->place;
    writer->wrong = writer->right ^ 1u << below(plan, 32);
    if (plan->lie == OUTSIDE) *writer->place = writer->wrong;
    if (plan->lie == OUTSIDE_BEYOND) *writer->place = writer->right + cr_prime(plan->digits);
    if (plan->lie == RACE_OUTSIDE) start_writing(writer);
    if (plan->lie != OUTSIDE_OTHER) return;
    volatile uint32_t *mine = product_of_pad(plan, product, plan->row);
    volatile uint32_t *other = product_of_pad(plan, product, plan->row > 0 ? plan->row - 1 : 1);
    for (size_t i = 0; i < width; i++) mine[i] = other[i];
}

static bool about_outside(enum lie lie)
{
    return lie == OUTSIDE || lie == OUTSIDE_BEYOND || lie == OUTSIDE_OTHER || lie == RACE_OUTSIDE;
}

static void look(void *context, const struct cr_wire_product *product, const uint32_t *words, size_t depth)
{
    struct plan *plan = context;
    const struct cr_matrix *q = &plan->hired->frozen.matrices[product->linear];
    memcpy(plan->question, words, product->rows * depth * sizeof *words);
    if (about_outside(plan->lie)) spoil_outside(plan, product, width_of(q, product->backward));
}

// The right answer to another question: by `linear` and the other direction if `turned`.
static void answer_other(struct plan *plan, const struct cr_wire_product *product, size_t linear, bool turned,
                         uint32_t *words, size_t count)
{
    struct hired *hired = plan->hired;
    bool backward = product->backward ^ turned;
    const struct cr_matrix *q = &hired->frozen.matrices[linear];
    const struct cr_wire_product other = {.linear = (uint32_t)linear,
                                          .backward = backward,
                                          .rows = product->rows,
                                          .parts = (uint32_t)cr_way_of(q->rows, q->columns, backward).parts};
    static uint32_t question[ROOM], room[ROOM];
    for (size_t i = 0; i < ROOM; i++) question[i] = plan->question[i % count];
    if (hired->honest->kind->multiply(hired->honest, &other, plan->digits, question, NULL, room) != CR_OK)
        abort();
    size_t had = other.rows * width_of(q, backward);
    for (size_t i = 0; i < count; i++) words[i] = room[i % had];
}

static void spoil_words(struct plan *plan, const struct cr_wire_product *product, uint32_t *words,
                        size_t width)
{
    uint32_t p = cr_prime(plan->digits);
    size_t rows = product->rows, count = rows * width, at = below(plan, count);
    size_t row = below(plan, rows), other = (row + 1 + below(plan, rows - 1)) % rows;
    size_t linears = plan->hired->frozen.count, columns = width / product->parts;
    uint32_t *first = words + row * width, moved = 1 + (uint32_t)below(plan, p - 1);
    switch (plan->lie) {
    case FLIP:
        words[at] ^= 1u << below(plan, 32);
        break;
    case BEYOND:
        words[at] += p;
        break;
    case REPLAY:
        memcpy(words, plan->earlier, count * sizeof *words);
        break;
    case SWAP:
        for (size_t i = 0; i < width; i++) {
            words[row * width + i] = plan->right[other * width + i];
            words[other * width + i] = plan->right[row * width + i];
        }
        break;
    case OTHER_LINEAR:
        answer_other(plan, product, (product->linear + 1 + below(plan, linears - 1)) % linears, false, words,
                     count);
        break;
    case OTHER_WAY:
        answer_other(plan, product, product->linear, true, words, count);
        break;
    case ZERO:
        memset(words, 0, count * sizeof *words);
        break;
    case DIFFERENCE:
        for (size_t i = 0; i < width; i++) {
            uint32_t apart = cr_prime_sub(plan->right[row * width + i], plan->right[other * width + i], p);
            words[row * width + i] = cr_prime_add(words[row * width + i], apart, p);
        }
        break;
    case PART_SWAP:
        for (size_t i = 0; i < columns; i++) {
            first[i] = plan->right[row * width + columns + i];
            first[columns + i] = plan->right[row * width + i];
        }
        break;
    case PART_MOVE:
        first += below(plan, columns);
        first[0] = cr_prime_add(first[0], moved, p);
        first[columns] = cr_prime_sub(first[columns], moved, p);
        break;
    case RACE:
        plan->row = at / width;
        plan->writer.place = words + at;
        plan->writer.right = words[at];
        plan->writer.wrong = words[at] ^ 1u << below(plan, 31);
        start_writing(&plan->writer);
        return;
    default:
        return;
    }
    plan->row = SIZE_MAX;
    for (size_t i = 0; i < count && plan->row == SIZE_MAX; i++)
        if (words[i] != plan->right[i]) plan->row = i / width;
}

static void spoil(void *context, const struct cr_wire_product *product, uint32_t *words, size_t width)
{
    struct plan *plan = context;
    memcpy(plan->right, words, product->rows * width * sizeof *words);
    if (plan->lie == HONEST)
        memcpy(plan->earlier, words, product->rows * width * sizeof *words);
    else
        spoil_words(plan, product, words, width);
}

static struct cr_matrix random_rows(struct plan *plan, float *values, size_t rows, size_t columns)
{
    for (size_t i = 0; i < rows * columns; i++) values[i] = next_float(&plan->random);
    return cr_matrix_of(values, CR_F32, rows, columns);
}

static enum cr_status multiply(struct cr_linear *linear, bool backward, struct cr_matrix x,
                               struct cr_matrix y, bool accumulate)
{
    return backward ? linear->provider->backward(linear, x, y, accumulate)
                    : linear->provider->forward(linear, x, y);
}

static void check_refused(const struct plan *plan, size_t linear, bool backward, size_t rows,
                          enum cr_status status)
{
    char name[CR_FROZEN_NAME_SIZE], wanted[512];
    bool outside = about_outside(plan->lie);
    if (status != CR_DENIED)
        fail_msg("%s: %s (%s)", lies[plan->lie], cr_status_name(status), cr_error_message());
    if (plan->row == SIZE_MAX) fail_msg("%s: refused, but nothing was changed", lies[plan->lie]);
    cr_frozen_name(plan->hired->frozen.count, linear, name);
    snprintf(wanted, sizeof wanted, "%s, %s, row %zu of %zu (", name, backward ? "backward" : "forward",
             plan->row, rows);
    if (!strstr(cr_error_message(), wanted))
        fail_msg("%s: \"%s\" lacks \"%s\"", lies[plan->lie], cr_error_message(), wanted);
    // While a word outside keeps changing it may look right again when it is looked for.
    if (plan->lie == RACE_OUTSIDE && strncmp(cr_error_message(), "memory outside: ", 16) == 0) return;
    if (plan->lie == RACE_OUTSIDE) outside = false;
    snprintf(wanted, sizeof wanted, "accelerator %s: ", plan->hired->address);
    const char *begins = outside ? "memory outside: " : wanted;
    if (strncmp(cr_error_message(), begins, strlen(begins)) != 0)
        fail_msg("%s: \"%s\" does not begin with \"%s\"", lies[plan->lie], cr_error_message(), begins);
}

// One session that is honest for a while, and then not. True where the answer was used.
static bool try_once(struct plan *plan, struct cr_model *model, enum lie lie)
{
    struct cr_slicing *slicing;
    static float x_values[ROOM], y_values[ROOM], expected[ROOM];
    plan->digits = below(plan, 4) == 0 ? 3 : 4;
    plan->lie = HONEST;
    char *const addresses[PLACES][2] = {[ALONE] = {plan->hired->address},
                                        [OF_PADS] = {plan->hired->address, plan->honest->address},
                                        [OF_ANSWERS] = {plan->honest->address, plan->hired->address}};
    const struct cr_slicing_options options = {.accelerators = addresses[plan->place],
                                               .accelerator_count = plan->place == ALONE ? 1 : 2,
                                               .digits = plan->digits,
                                               .rows = QUEUE,
                                               .threads = 1,
                                               .patience = 60};
    assert_ok(cr_slicing_open(&options, model, &slicing));
    size_t index = below(plan, cr_frozen_count(model)), rows = 2 + below(plan, MOST_ROWS - 1);
    bool backward = below(plan, 2);
    if (lie == PART_SWAP || lie == PART_MOVE) index = backward ? GATE_UP : DOWN;
    struct cr_linear *linear = cr_frozen_linear(model, index);
    bool accumulate = backward && below(plan, 2);
    size_t depth = backward ? linear->out : linear->in, width = backward ? linear->in : linear->out;
    struct cr_matrix x = random_rows(plan, x_values, rows, depth),
                     y = cr_matrix_of(y_values, CR_F32, rows, width);
    size_t before = 1 + below(plan, 3);
    memset(y_values, 0, rows * width * sizeof *y_values);
    for (size_t i = 0; i < before; i++) assert_ok(multiply(linear, backward, x, y, false));
    memcpy(expected, y_values, rows * width * sizeof *y_values);
    if (accumulate) memset(y_values, 0, rows * width * sizeof *y_values);

    plan->lie = lie;
    plan->first = before * rows;
    enum cr_status status = multiply(linear, backward, x, y, accumulate);
    bool race = lie == RACE || lie == RACE_OUTSIDE,
         same = lie == OUTSIDE_BEYOND && cr_address_is_unix(plan->hired->address);
    if (race) stop_writing(&plan->writer);
    // Of a word of a pad's product that is beyond p the accelerator may make the right one.
    bool used = status == CR_OK && (race || same);
    if (used) {
        assert_memory_equal(y_values, expected, rows * width * sizeof *y_values);
    } else {
        check_refused(plan, index, backward, rows, status);
        for (size_t i = 0; i < rows * width; i++)
            if (y_values[i] != 0) fail_msg("%s: %g is left of it", lies[lie], (double)y_values[i]);
        plan->lie = HONEST;
        struct cr_linear *another = cr_frozen_linear(model, below(plan, cr_frozen_count(model)));
        assert_fails(CR_DENIED, "it gave a wrong product before",
                     multiply(another, false, random_rows(plan, x_values, 1, another->in),
                              cr_matrix_of(y_values, CR_F32, 1, another->out), false));
    }
    cr_slicing_close(slicing);
    return used;
}

static void no_lie_is_used(void **state)
{
    (void)state;
    struct hired hired[2][3];
    struct cr_compute *compute;
    struct cr_model *models[2];
    size_t tries[LIES] = {0}, used[LIES] = {0}, tried[PLACES] = {0};
    static struct plan plan = {.random = 20240414};
    assert_ok(cr_compute_new(1, &compute));
    for (size_t deep = 0; deep < 2; deep++) {
        const char *base = deep ? deep_model() : "tests/golden/llama-gqa";
        char path[300];
        snprintf(path, sizeof path, "unix:%s", in_directory(deep ? "deep.sock" : "a.sock"));
        hire(&hired[deep][0], base, path);
        hire(&hired[deep][1], base, "127.0.0.1:0");
        snprintf(path, sizeof path, "unix:%s", in_directory(deep ? "deep-honest.sock" : "honest.sock"));
        hire(&hired[deep][2], base, path);
        assert_ok(cr_model_open(base, CR_MODEL_OUTSIDE, NULL, compute, CR_F32, &models[deep]));
    }
    for (size_t i = 0; i < TRIES; i++) {
        enum lie lie = (enum lie)(1 + i % (LIES - 1));
        // Shared memory is what can change after it was announced; a socket's words are the trusted side's.
        size_t deep = lie == PART_SWAP || lie == PART_MOVE || i / (LIES - 1) % 20 == 5;
        plan.hired = &hired[deep][lie != RACE && i / (LIES - 1) % 4 == 0];
        plan.honest = &hired[deep][2];
        plan.place = about_outside(lie) ? ALONE : (enum place)(i / (LIES - 1) % PLACES);
        tried[plan.place]++;
        plan.hired->look = look;
        plan.hired->spoil = spoil;
        plan.hired->context = &plan;
        tries[lie]++;
        used[lie] += try_once(&plan, models[deep], lie);
    }
    for (size_t deep = 0; deep < 2; deep++) {
        cr_model_free(models[deep]);
        for (size_t i = 0; i < 3; i++) dismiss(&hired[deep][i]);
    }
    cr_compute_free(compute);
    for (size_t i = 0; i < PLACES; i++) assert_true(tried[i] > TRIES / 5);
    for (size_t i = 1; i < LIES; i++) {
        bool may = i >= RACE || i == OUTSIDE_BEYOND; // be right
        if (!may)
            print_message("%s: %zu of %zu tries refused\n", lies[i], tries[i] - used[i], tries[i]);
        else
            print_message("%s: %zu of %zu tries refused, in the others the right product was used\n", lies[i],
                          tries[i] - used[i], tries[i]);
        assert_true(used[i] < tries[i] && (may || used[i] == 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_lie_is_used),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
