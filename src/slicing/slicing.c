#include "slicing/parts.h"

#include "base/address.h"
#include "base/secret.h"
#include "crypto/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum cr_status make_scratch(struct cr_slicing *slicing, const unsigned char key[CR_KEY_SIZE])
{
    size_t threads = cr_pool_threads(cr_compute_pool(slicing->compute)), longest = slicing->facts.longest;
    CR_TRY(cr_allocate(threads, sizeof *slicing->scratch, &slicing->scratch));
    for (size_t i = 0; i < threads; i++) {
        struct cr_masked_scratch *scratch = &slicing->scratch[i];
        CR_TRY(cr_pad_pair_new(key, slicing->field, &scratch->pads));
        CR_TRY(cr_secret_allocate(longest, sizeof *scratch->words, &scratch->words));
        CR_TRY(cr_secret_allocate(longest, sizeof *scratch->pad, &scratch->pad));
        CR_TRY(cr_secret_allocate(longest, sizeof *scratch->values, &scratch->values));
    }
    return CR_OK;
}

// The most words, for walks of `most_rows` rows: of a question; of its answer; of the larger of the two; of
// both in shared memory.
static size_t question_words(const struct cr_way *way, size_t most_rows)
{
    return cr_least(most_rows, cr_masked_rows(way)) * way->depth;
}

static size_t answer_words(const struct cr_way *way, size_t most_rows)
{
    return cr_least(most_rows, cr_masked_rows(way)) * way->width;
}

static size_t larger_words(const struct cr_way *way, size_t most_rows)
{
    return cr_most(question_words(way, most_rows), answer_words(way, most_rows));
}

static size_t shared_words(const struct cr_way *way, size_t most_rows)
{
    return cr_wire_answer_at(question_words(way, most_rows)) + answer_words(way, most_rows);
}

static size_t most_words(const struct cr_slicing *slicing, size_t most_rows,
                         size_t (*words_of)(const struct cr_way *, size_t))
{
    size_t words = 1;
    for (size_t i = 0; i < slicing->facts.count * CR_WAYS; i++)
        words = cr_most(words, words_of(&slicing->facts.matrices[i / CR_WAYS].way[i % CR_WAYS], most_rows));
    return words;
}

static struct cr_link_options link_to(const struct cr_slicing *slicing,
                                      const struct cr_slicing_options *options, size_t accelerator)
{
    const char *address = options->accelerators[accelerator];
    struct cr_link_options link = {
        .address = address,
        .digits = options->digits,
        .words =
            most_words(slicing, options->rows, cr_address_is_unix(address) ? shared_words : larger_words),
        .patience = options->patience,
        .matrices = slicing->facts.checksum};
    if (slicing->pads) link.pads = cr_pads_shared(slicing->pads, &link.pads_size);
    return link;
}

static void add_name(char *names, size_t size, const char *name)
{
    size_t length = strlen(names);
    snprintf(names + length, size - length, "%s%s", length > 0 ? ", " : "", name);
}

// Adds one accelerator to the tally's names.
static void add_names(struct cr_slicing *slicing, const char *peer, const char *engine)
{
    add_name(slicing->tally.addresses, sizeof slicing->tally.addresses, strchr(peer, ' ') + 1);
    add_name(slicing->tally.engines, sizeof slicing->tally.engines, engine);
}

// If there are several accelerators, the first one is for pads (slicing/peer.h) and the lanes use the others.
static enum cr_status make_lanes(struct cr_slicing *slicing, const struct cr_slicing_options *options)
{
    size_t count = cr_lanes_count(slicing->lanes), first = options->accelerator_count > 1,
           others = options->accelerator_count - first;
    CR_TRY(cr_allocate(count, sizeof *slicing->lane, &slicing->lane));
    for (size_t i = 0; i < count; i++) {
        struct cr_masked_lane *lane = &slicing->lane[i];
        const struct cr_link_options link = link_to(slicing, options, first + i % others);
        CR_TRY(cr_secret_allocate(CR_MOST_ROWS * slicing->facts.parts, sizeof *lane->t, &lane->t));
        CR_TRY(cr_secret_allocate(CR_MOST_ROWS, sizeof *lane->expected, &lane->expected));
        CR_TRY(cr_allocate(CR_MOST_ROWS, sizeof *lane->wrong, &lane->wrong));
        CR_TRY(cr_link_open(&link, &lane->link));
        if (i < others) add_names(slicing, cr_link_peer(lane->link), cr_link_engine(lane->link));
    }
    return CR_OK;
}

static enum cr_status make_pads(struct cr_slicing *slicing, const struct cr_slicing_options *options,
                                const unsigned char key[CR_KEY_SIZE])
{
    struct cr_pads_options pads = {.model = slicing->model,
                                   .facts = &slicing->facts,
                                   .digits = options->digits,
                                   .rows =
                                       cr_lanes_count(slicing->lanes) * cr_least(options->rows, CR_MOST_ROWS),
                                   .threads = options->threads,
                                   .shared = cr_address_is_unix(options->accelerators[0])};
    memcpy(pads.key, key, sizeof pads.key);
    enum cr_status status = cr_pads_new(&pads, &slicing->pads);
    cr_wipe(pads.key, sizeof pads.key);
    return status;
}

static enum cr_status open_peer(struct cr_slicing *slicing, const struct cr_slicing_options *options)
{
    const struct cr_peer_options peer = {.link = link_to(slicing, options, 0),
                                         .answer = most_words(slicing, options->rows, answer_words),
                                         .field = slicing->field,
                                         .facts = &slicing->facts,
                                         .lanes = slicing->lanes,
                                         .others = options->accelerator_count - 1};
    CR_TRY(cr_peer_new(&peer, &slicing->peer));
    add_names(slicing, cr_peer_name(slicing->peer), cr_peer_engine(slicing->peer));
    return CR_OK;
}

static void release_lanes(struct cr_slicing *slicing)
{
    for (size_t i = 0; slicing->lane && i < cr_lanes_count(slicing->lanes); i++) {
        struct cr_masked_lane *lane = &slicing->lane[i];
        cr_link_close(lane->link);
        cr_secret_free(&lane->t);
        cr_secret_free(&lane->expected);
        free(lane->wrong);
    }
    free(slicing->lane);
}

static enum cr_status open_all(struct cr_slicing *slicing, const struct cr_slicing_options *options,
                               const unsigned char root[CR_KEY_SIZE], unsigned char key[CR_KEY_SIZE])
{
    CR_TRY(cr_field_new(slicing->compute, options->digits, &slicing->field));
    CR_TRY(cr_key_derive(root, "carrel verification", key));
    CR_TRY(cr_facts_open(slicing->compute, slicing->field, slicing->model, key, &slicing->facts));
    CR_TRY(cr_key_derive(root, "carrel pads", key));
    CR_TRY(make_scratch(slicing, key));
    CR_TRY(options->accelerator_count > 1 ? open_peer(slicing, options) : make_pads(slicing, options, key));
    CR_TRY(make_lanes(slicing, options));
    CR_TRY(cr_allocate(slicing->facts.count, sizeof *slicing->linears, &slicing->linears));
    for (size_t i = 0; i < slicing->facts.count; i++) {
        struct cr_linear *linear = cr_frozen_linear(slicing->model, i);
        if (!cr_frozen_held(slicing->model, i)) continue;
        slicing->linears[i] = (struct cr_masked){slicing, i};
        linear->provider = &cr_masked_provider;
        linear->state = &slicing->linears[i];
    }
    return CR_OK;
}

enum cr_status cr_slicing_open(const struct cr_slicing_options *options, struct cr_model *model,
                               struct cr_slicing **out)
{
    if (!model->outside) return cr_fail(CR_INTERNAL, "the model was opened with its matrices");
    struct cr_slicing *slicing;
    unsigned char root[CR_KEY_SIZE], key[CR_KEY_SIZE];
    CR_TRY(cr_allocate(1, sizeof *slicing, &slicing));
    slicing->model = model;
    slicing->compute = model->compute;
    slicing->lanes = options->lanes;
    enum cr_status status = cr_random_bytes(root, sizeof root);
    if (status == CR_OK) status = open_all(slicing, options, root, key);
    cr_wipe(root, sizeof root);
    cr_wipe(key, sizeof key);
    if (status == CR_OK)
        *out = slicing;
    else
        cr_slicing_close(slicing);
    return status;
}

void cr_slicing_close(struct cr_slicing *slicing)
{
    if (!slicing) return;
    cr_pads_free(slicing->pads);
    cr_peer_free(slicing->peer);
    release_lanes(slicing);
    for (size_t i = 0; slicing->scratch && i < cr_pool_threads(cr_compute_pool(slicing->compute)); i++) {
        struct cr_masked_scratch *scratch = &slicing->scratch[i];
        cr_pad_pair_release(&scratch->pads);
        cr_secret_free(&scratch->words);
        cr_secret_free(&scratch->pad);
        cr_secret_free(&scratch->values);
    }
    free(slicing->scratch);
    cr_facts_release(&slicing->facts);
    cr_field_free(slicing->field);
    free(slicing->linears);
    free(slicing);
}

struct cr_slicing_memory cr_slicing_memory_of(struct cr_model *model, size_t rows, size_t lanes,
                                              size_t accelerators, size_t first)
{
    struct cr_slicing_memory memory = {0};
    size_t largest = 0, at_once = 0, answer = 0, queue = lanes * cr_least(rows, CR_MOST_ROWS);
    for (size_t i = 0; i < cr_frozen_count(model); i++) {
        const struct cr_linear *linear = cr_frozen_linear(model, i);
        largest = cr_most(largest, linear->out * linear->in);
        if (!cr_frozen_held(model, i)) continue;
        memory.inside += linear->out * sizeof(float); // scales
        for (size_t backward = 0; backward < CR_WAYS; backward++) {
            const struct cr_way way = cr_way_of(linear->out, linear->in, backward);
            size_t ends = way.depth + way.width;
            at_once = cr_most(at_once, cr_pads_words_at_once(ends, queue));
            answer = cr_most(answer, answer_words(&way, rows));
            memory.inside += 2 * ends * sizeof(uint32_t); // s and v
            // Layers below the first one used have no pads.
            if (i >= first * CR_FROZEN_PER_LAYER) memory.outside += queue * way.width * sizeof(uint32_t);
        }
    }
    if (accelerators == 1) {
        memory.inside += at_once * sizeof(uint32_t);
        memory.outside += largest;
        return memory;
    }
    // An accelerator computes the pads' products. If several others are used, each lane keeps its last
    // products.
    memory.outside = 0;
    if (accelerators > 2 && lanes > 1) memory.inside += lanes * answer * sizeof(uint32_t);
    return memory;
}

struct cr_slicing_tally cr_slicing_tally(struct cr_slicing *slicing)
{
    struct cr_slicing_tally tally = slicing->tally;
    if (slicing->failed) return tally; // as it was at the failure
    struct cr_pads_tally pads = {0};
    if (slicing->pads) pads = cr_pads_tally(slicing->pads);
    tally.ahead = slicing->pads != NULL;
    tally.offline = pads.seconds;
    tally.ready = pads.ready;
    tally.outside = pads.outside;
    double all = 0;
    for (size_t i = 0; i < CR_BUCKETS; i++) all += (double)slicing->buckets[i];
    for (size_t i = 0; i < CR_BUCKETS && all > 0; i++) {
        double expected = all / CR_BUCKETS, off = (double)slicing->buckets[i] - expected;
        tally.chi_square += off * off / expected;
    }
    return tally;
}

enum cr_status cr_slicing_hold_pads(struct cr_slicing *slicing, bool hold)
{
    if (slicing->failed) return cr_fail(CR_DENIED, "no pads are made after a wrong product");
    return slicing->pads ? cr_pads_hold(slicing->pads, hold) : CR_OK;
}
