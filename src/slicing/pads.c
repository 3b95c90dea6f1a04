#include "slicing/pads.h"

#include "base/clock.h"
#include "base/outside.h"
#include "base/secret.h"
#include "base/socket.h"
#include "slicing/pad.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

// Words of pads and their products that the producing thread handles at once. Many rows make reading a matrix
// worth its time, but these words take the trusted process's own memory.
enum { WORDS_AT_ONCE = 3 << 20, NUMBER_BITS = 44 };

struct queue {
    size_t linear;
    bool backward;
    bool used;                   // at least once; nothing is made before the first use
    size_t waiting;              // pads that callers of cr_pads_take wait for
    uint64_t made, taken, freed; // number of the next pad to make, to take and to give back
    uint64_t turn;               // value of cr_pads.turns at the last cr_pads_take
    volatile uint32_t *products; // [rows, width], outside
};

struct cr_pads {
    struct cr_pads_options options;
    struct queue *queues; // [count · CR_WAYS]
    size_t queue_count;
    void *outside; // shared or mapped memory: all products, then one matrix
    size_t outside_size;
    int descriptor; // of `outside`; -1 if it is not shared

    pthread_t thread;
    bool started;
    pthread_mutex_t lock; // protects the queues, `stop`, `failure` and the tally
    pthread_cond_t made, room;
    bool stop;
    bool filling, held; // cr_pads_hold is filling the queues; nothing is made ahead
    enum cr_status failure;
    char sentence[512];
    uint64_t turns;
    struct cr_pads_tally tally;

    // For the producing thread only.
    struct cr_compute *compute;
    struct cr_field *field;
    struct cr_pad_pair *pairs; // [threads]
    int8_t *numbers;           // the matrix last read, outside
    float *scales;
    size_t linear;       // whose matrix is in `numbers`; SIZE_MAX: none
    uint32_t *questions; // the pads r, followed by their products
    uint32_t **hidden;   // [threads][longest row]: k
    atomic_bool wrong;   // a product failed its check
};

uint64_t cr_pads_stream(size_t linear, bool backward, uint64_t number)
{
    return ((uint64_t)(linear * CR_WAYS + backward) << NUMBER_BITS) | number;
}

static const struct cr_way *way_of(const struct cr_pads *pads, const struct queue *queue)
{
    return &pads->options.facts->matrices[queue->linear].way[queue->backward];
}

static struct queue *queue_of(const struct cr_pads *pads, size_t linear, bool backward)
{
    return &pads->queues[linear * CR_WAYS + backward];
}

const volatile uint32_t *cr_pads_products(const struct cr_pads *pads, size_t linear, bool backward,
                                          uint64_t number)
{
    const struct queue *queue = queue_of(pads, linear, backward);
    return queue->products + number % pads->options.rows * way_of(pads, queue)->width;
}

int cr_pads_shared(const struct cr_pads *pads, size_t *size)
{
    *size = pads->options.shared ? pads->outside_size - pads->options.facts->largest : 0;
    return pads->descriptor;
}

void cr_pads_point(const struct cr_pads *pads, uint64_t number, struct cr_wire_product *product)
{
    const struct queue *queue = queue_of(pads, product->linear, product->backward);
    const volatile uint32_t *all = pads->outside;
    product->place = (uint64_t)(queue->products - all);
    product->turn = (uint32_t)(number % pads->options.rows);
    product->around = (uint32_t)pads->options.rows;
}

static size_t rows_at_once(const struct cr_way *way)
{
    return cr_most(1, WORDS_AT_ONCE / (way->depth + way->width));
}

size_t cr_pads_words_at_once(size_t ends, size_t rows)
{
    return ends * cr_least(rows, cr_most(1, WORDS_AT_ONCE / ends));
}

// How many pads of the queue to make now: 0, or as many as are made at once; fewer if somebody waits.
static size_t due(const struct cr_pads *pads, const struct queue *queue)
{
    size_t room = pads->options.rows - (size_t)(queue->made - queue->freed);
    size_t most = cr_least(rows_at_once(way_of(pads, queue)), cr_most(1, pads->options.rows / 2));
    if (pads->filling) most = 1;
    if (!queue->used || ((room < most || pads->held) && !queue->waiting)) return 0;
    return cr_least(room, rows_at_once(way_of(pads, queue)));
}

// The queue to make pads for next: first one that somebody waits for, then the one with the fewest pads left,
// then the one unused for longest. NULL if no queue needs any.
static struct queue *most_wanted(const struct cr_pads *pads)
{
    struct queue *best = NULL;
    for (size_t i = 0; i < pads->queue_count; i++) {
        struct queue *queue = &pads->queues[i];
        if (due(pads, queue) == 0) continue;
        if (!best || (queue->waiting > 0) > (best->waiting > 0)) {
            best = queue;
        } else if ((queue->waiting > 0) == (best->waiting > 0)) {
            uint64_t left = queue->made - queue->taken, least = best->made - best->taken;
            if (left < least || (left == least && queue->turn < best->turn)) best = queue;
        }
    }
    return best;
}

struct batch {
    struct cr_pads *pads;
    const struct queue *queue;
    uint64_t first;
    uint32_t *questions, *results;
};

static void draw_row(void *context, size_t row, size_t thread)
{
    const struct batch *batch = context;
    const struct queue *queue = batch->queue;
    size_t depth = way_of(batch->pads, queue)->depth;
    cr_pad_words(batch->pads->pairs[thread].question,
                 cr_pads_stream(queue->linear, queue->backward, batch->first + row), 0,
                 batch->questions + row * depth, depth);
}

// Checks a pad's product and stores it outside, masked by a second pad.
static void hide_row(void *context, size_t row, size_t thread)
{
    const struct batch *batch = context;
    const struct queue *queue = batch->queue;
    struct cr_pads *pads = batch->pads;
    const struct cr_way *way = way_of(pads, queue);
    uint64_t number = batch->first + row;
    const uint32_t *result = batch->results + row * way->width;
    uint32_t *hidden = pads->hidden[thread];
    if (!cr_way_checks(way, pads->field, batch->questions + row * way->depth, result))
        atomic_store(&pads->wrong, true);
    cr_pad_words(pads->pairs[thread].product, cr_pads_stream(queue->linear, queue->backward, number), 0,
                 hidden, way->width);
    cr_mask_add(pads->field, result, hidden, way->width,
                (uint32_t *)(uintptr_t)cr_pads_products(pads, queue->linear, queue->backward, number));
}

static enum cr_status make(struct cr_pads *pads, const struct queue *queue, uint64_t first, size_t rows)
{
    const struct cr_fact *fact = &pads->options.facts->matrices[queue->linear];
    const struct cr_way *way = way_of(pads, queue);
    struct cr_matrix q = cr_matrix_of(pads->numbers, CR_I8, fact->out, fact->in);
    if (pads->linear != queue->linear) {
        q.scale = pads->scales;
        pads->linear = SIZE_MAX;
        CR_TRY(cr_frozen_read(pads->compute, pads->options.model, queue->linear, q));
        pads->linear = queue->linear;
    }
    struct batch batch = {pads, queue, first, pads->questions, pads->questions + rows * way->depth};
    struct cr_pool *pool = cr_compute_pool(pads->compute);
    cr_pool_run(pool, rows, draw_row, &batch);
    cr_field_multiply(pads->field, batch.questions, rows, q, queue->backward, way->parts, batch.results);
    cr_pool_run(pool, rows, hide_row, &batch);
    if (!atomic_load(&pads->wrong)) return CR_OK;
    char name[CR_FROZEN_NAME_SIZE];
    cr_frozen_name(pads->options.facts->count, queue->linear, name);
    return cr_fail(CR_DENIED,
                   "%s: %s is no longer what it was when the run began, there or in memory outside",
                   cr_safetensors_name(pads->options.model->weights), name);
}

static void *produce(void *context)
{
    struct cr_pads *pads = context;
    pthread_mutex_lock(&pads->lock);
    while (!pads->stop && pads->failure == CR_OK) {
        struct queue *queue = most_wanted(pads);
        if (!queue) {
            pthread_cond_wait(&pads->room, &pads->lock);
            continue;
        }
        size_t rows = due(pads, queue);
        uint64_t first = queue->made;
        pthread_mutex_unlock(&pads->lock);
        double began = cr_clock_monotonic();
        enum cr_status status = make(pads, queue, first, rows);
        double seconds = cr_clock_monotonic() - began;
        pthread_mutex_lock(&pads->lock);
        pads->tally.seconds += seconds;
        pads->tally.made += rows;
        if (status == CR_OK) {
            queue->made += rows;
        } else {
            pads->failure = status;
            snprintf(pads->sentence, sizeof pads->sentence, "%s", cr_error_message());
        }
        pthread_cond_broadcast(&pads->made);
    }
    pthread_mutex_unlock(&pads->lock);
    return NULL;
}

enum cr_status cr_pads_take(struct cr_pads *pads, size_t linear, bool backward, size_t rows, uint64_t *first)
{
    struct queue *queue = queue_of(pads, linear, backward);
    if (rows > pads->options.rows)
        return cr_fail(CR_INTERNAL, "%zu pads of a queue of %zu", rows, pads->options.rows);
    pthread_mutex_lock(&pads->lock);
    uint64_t number = queue->taken;
    queue->taken += rows; // first of all: after a failure too, no number is reused
    queue->used = true;
    queue->turn = ++pads->turns;
    queue->waiting += rows;
    while (queue->made < number + rows && pads->failure == CR_OK) {
        pthread_cond_signal(&pads->room);
        pthread_cond_wait(&pads->made, &pads->lock);
    }
    queue->waiting -= rows;
    enum cr_status status = CR_OK;
    if (queue->made < number + rows) status = cr_fail(pads->failure, "%s", pads->sentence);
    pthread_mutex_unlock(&pads->lock);
    if (status == CR_OK) *first = number;
    return status;
}

void cr_pads_give_back(struct cr_pads *pads, size_t linear, bool backward, size_t rows)
{
    pthread_mutex_lock(&pads->lock);
    queue_of(pads, linear, backward)->freed += rows;
    pthread_cond_signal(&pads->room);
    pthread_mutex_unlock(&pads->lock);
}

enum cr_status cr_pads_hold(struct cr_pads *pads, bool hold)
{
    enum cr_status status = CR_OK;
    pthread_mutex_lock(&pads->lock);
    pads->held = false;
    pads->filling = hold;
    pthread_cond_signal(&pads->room);
    while (hold && most_wanted(pads) && pads->failure == CR_OK) pthread_cond_wait(&pads->made, &pads->lock);
    pads->filling = false;
    pads->held = hold;
    if (pads->failure != CR_OK) status = cr_fail(pads->failure, "%s", pads->sentence);
    pthread_mutex_unlock(&pads->lock);
    return status;
}

// Maps memory outside the process for all products and one matrix. (The matrix is no secret, and its products
// are checked.) Pages exist only once they are used.
static enum cr_status place_outside(struct cr_pads *pads)
{
    size_t size = pads->options.facts->largest;
    for (size_t i = 0; i < pads->queue_count; i++) {
        size_t words;
        if (__builtin_mul_overflow(way_of(pads, &pads->queues[i])->width, pads->options.rows, &words) ||
            __builtin_add_overflow(size, words * sizeof(uint32_t), &size))
            return cr_fail(CR_NO_MEMORY, "products of pads of %zu rows", pads->options.rows);
    }
    void *place;
    CR_TRY(pads->options.shared ? cr_outside_share("carrel-pads", size, false, &place, &pads->descriptor)
                                : cr_outside_map("carrel-pads", size, false, &place));
    pads->outside = place;
    pads->outside_size = size;
    volatile uint32_t *next = place;
    for (size_t i = 0; i < pads->queue_count; i++) {
        pads->queues[i].products = next;
        next += way_of(pads, &pads->queues[i])->width * pads->options.rows;
    }
    pads->numbers = (int8_t *)(uintptr_t)next;
    return CR_OK;
}

static enum cr_status prepare(struct cr_pads *pads)
{
    const struct cr_facts *facts = pads->options.facts;
    size_t words = 1, widest = 1;
    pads->queue_count = facts->count * CR_WAYS;
    CR_TRY(cr_allocate(pads->queue_count, sizeof *pads->queues, &pads->queues));
    for (size_t i = 0; i < pads->queue_count; i++) {
        pads->queues[i] = (struct queue){.linear = i / CR_WAYS, .backward = i % CR_WAYS};
        const struct cr_way *way = way_of(pads, &pads->queues[i]);
        words = cr_most(words, cr_pads_words_at_once(way->depth + way->width, pads->options.rows));
        widest = cr_most(widest, facts->matrices[i / CR_WAYS].out);
    }
    CR_TRY(place_outside(pads));
    CR_TRY(cr_compute_new(pads->options.threads, &pads->compute));
    CR_TRY(cr_field_new(pads->compute, pads->options.digits, &pads->field));
    size_t threads = cr_pool_threads(cr_compute_pool(pads->compute));
    CR_TRY(cr_allocate(threads, sizeof *pads->pairs, &pads->pairs));
    CR_TRY(cr_allocate(threads, sizeof *pads->hidden, &pads->hidden));
    for (size_t i = 0; i < threads; i++) {
        CR_TRY(cr_pad_pair_new(pads->options.key, pads->field, &pads->pairs[i]));
        CR_TRY(cr_secret_allocate(facts->longest, sizeof(uint32_t), &pads->hidden[i]));
    }
    CR_TRY(cr_allocate(widest, sizeof *pads->scales, &pads->scales));
    CR_TRY(cr_secret_allocate(words, sizeof *pads->questions, &pads->questions));
    if (pthread_create(&pads->thread, NULL, produce, pads) != 0)
        return cr_fail(CR_NO_MEMORY, "no thread can be started that makes pads");
    pads->started = true;
    return CR_OK;
}

enum cr_status cr_pads_new(const struct cr_pads_options *options, struct cr_pads **out)
{
    struct cr_pads *pads;
    CR_TRY(cr_allocate(1, sizeof *pads, &pads));
    pads->options = *options;
    pads->linear = SIZE_MAX;
    pads->descriptor = -1;
    pthread_mutex_init(&pads->lock, NULL);
    pthread_cond_init(&pads->made, NULL);
    pthread_cond_init(&pads->room, NULL);
    enum cr_status status = prepare(pads);
    cr_wipe(pads->options.key, sizeof pads->options.key); // the pairs have derived their keys from it
    if (status == CR_OK)
        *out = pads;
    else
        cr_pads_free(pads);
    return status;
}

void cr_pads_free(struct cr_pads *pads)
{
    if (!pads) return;
    if (pads->started) {
        pthread_mutex_lock(&pads->lock);
        pads->stop = true;
        pthread_cond_signal(&pads->room);
        pthread_mutex_unlock(&pads->lock);
        pthread_join(pads->thread, NULL);
    }
    for (size_t i = 0; pads->hidden && i < cr_pool_threads(cr_compute_pool(pads->compute)); i++) {
        cr_pad_pair_release(&pads->pairs[i]);
        cr_secret_free(&pads->hidden[i]);
    }
    free(pads->hidden);
    free(pads->pairs);
    cr_secret_free(&pads->questions);
    free(pads->scales);
    cr_field_free(pads->field);
    cr_compute_free(pads->compute);
    if (pads->outside) munmap(pads->outside, pads->outside_size);
    cr_socket_close(&pads->descriptor);
    pthread_cond_destroy(&pads->room);
    pthread_cond_destroy(&pads->made);
    pthread_mutex_destroy(&pads->lock);
    free(pads->queues);
    cr_wipe(pads, sizeof *pads);
    free(pads);
}

struct cr_pads_tally cr_pads_tally(struct cr_pads *pads)
{
    pthread_mutex_lock(&pads->lock);
    struct cr_pads_tally tally = pads->tally;
    tally.outside = pads->options.facts->largest;
    for (size_t i = 0; i < pads->queue_count; i++) {
        const struct queue *queue = &pads->queues[i];
        if (queue->used) tally.outside += way_of(pads, queue)->width * pads->options.rows * sizeof(uint32_t);
        if (queue->made > queue->taken) tally.ready += queue->made - queue->taken;
    }
    pthread_mutex_unlock(&pads->lock);
    return tally;
}
