#include "slicing/peer.h"

#include "base/secret.h"
#include "slicing/pads.h"

#include <stdlib.h>

// The pads that a lane sent last. Other lanes may use them too.
struct share {
    struct cr_link *link;
    size_t linear;
    bool backward;
    uint64_t first;     // number of the first pad
    size_t rows;        // 0: nothing yet
    uint64_t askers;    // bit i: accelerator i was, or is about to be, sent words masked with these pads
    uint64_t held;      // cr_pads_stream of the first pad whose product is in `products`
    uint32_t *products; // NULL if no other lane can use them
};

struct cr_peer {
    struct cr_peer_options options;
    struct share *shares; // [lanes]
    uint64_t *next;       // [facts->count · CR_WAYS]: number of the next pad
};

static const struct cr_way *way_of(const struct cr_peer *peer, const struct cr_peer_pads *pads)
{
    return &peer->options.facts->matrices[pads->linear].way[pads->backward];
}

static size_t current(const struct cr_peer *peer)
{
    return cr_lanes_current(peer->options.lanes);
}

static uint64_t asker(const struct cr_peer *peer, size_t lane)
{
    return UINT64_C(1) << lane % peer->options.others;
}

static enum cr_status prepare(struct cr_peer *peer)
{
    const struct cr_peer_options *options = &peer->options;
    size_t lanes = cr_lanes_count(options->lanes);
    CR_TRY(cr_allocate(lanes, sizeof *peer->shares, &peer->shares));
    CR_TRY(cr_allocate(options->facts->count * CR_WAYS, sizeof *peer->next, &peer->next));
    for (size_t i = 0; i < lanes; i++) {
        struct share *share = &peer->shares[i];
        CR_TRY(cr_link_open(&options->link, &share->link));
        if (options->others > 1 && lanes > 1)
            CR_TRY(cr_secret_allocate(options->answer, sizeof *share->products, &share->products));
    }
    return CR_OK;
}

enum cr_status cr_peer_new(const struct cr_peer_options *options, struct cr_peer **out)
{
    struct cr_peer *peer;
    CR_TRY(cr_allocate(1, sizeof *peer, &peer));
    peer->options = *options;
    peer->options.link.secret = true;
    enum cr_status status = prepare(peer);
    if (status == CR_OK)
        *out = peer;
    else
        cr_peer_free(peer);
    return status;
}

void cr_peer_free(struct cr_peer *peer)
{
    if (!peer) return;
    for (size_t i = 0; peer->shares && i < cr_lanes_count(peer->options.lanes); i++) {
        cr_link_close(peer->shares[i].link);
        cr_secret_free(&peer->shares[i].products);
    }
    free(peer->shares);
    free(peer->next);
    free(peer);
}

struct cr_peer_pads cr_peer_take(struct cr_peer *peer, size_t linear, bool backward, size_t rows)
{
    struct cr_peer_pads pads = {.linear = linear, .backward = backward};
    const uint64_t me = asker(peer, current(peer));
    for (size_t i = 0; i < cr_lanes_count(peer->options.lanes); i++) {
        const struct share *share = &peer->shares[i];
        if (share->linear != linear || share->backward != backward || share->askers & me) continue;
        if (cr_least(rows, share->rows) <= pads.shared) continue;
        pads.host = i;
        pads.host_first = share->first;
        pads.shared = cr_least(rows, share->rows);
    }
    if (pads.shared > 0) peer->shares[pads.host].askers |= me;
    pads.rows = rows - pads.shared;
    uint64_t *next = &peer->next[linear * CR_WAYS + backward];
    pads.first = *next;
    *next += pads.rows;
    return pads;
}

uint64_t cr_peer_number(const struct cr_peer_pads *pads, size_t row)
{
    return row < pads->shared ? pads->host_first + row : pads->first + (row - pads->shared);
}

uint32_t *cr_peer_place(const struct cr_peer *peer, const struct cr_peer_pads *pads, size_t row)
{
    if (row < pads->shared) return NULL;
    uint32_t *words =
        (uint32_t *)(uintptr_t)cr_link_question(peer->shares[current(peer)].link); // only written
    return words + (row - pads->shared) * way_of(peer, pads)->depth;
}

enum cr_status cr_peer_send(struct cr_peer *peer, const struct cr_peer_pads *pads)
{
    struct share *share = &peer->shares[current(peer)];
    const struct cr_way *way = way_of(peer, pads);
    const struct cr_wire_product product = {.linear = (uint32_t)pads->linear,
                                            .backward = pads->backward,
                                            .rows = (uint32_t)pads->rows,
                                            .parts = (uint32_t)way->parts};
    if (pads->rows == 0) return CR_OK;
    CR_TRY(cr_link_send(share->link, &product, pads->rows * way->depth));
    share->linear = pads->linear;
    share->backward = pads->backward;
    share->first = pads->first;
    share->rows = pads->rows;
    share->askers = asker(peer, current(peer));
    return CR_OK;
}

enum cr_status cr_peer_receive(struct cr_peer *peer, const struct cr_peer_pads *pads)
{
    if (pads->rows > 0) {
        struct share *share = &peer->shares[current(peer)];
        CR_TRY(cr_link_receive(share->link, pads->rows * way_of(peer, pads)->width));
        share->held = cr_pads_stream(pads->linear, pads->backward, pads->first);
    }
    if (pads->shared > 0 &&
        peer->shares[pads->host].held != cr_pads_stream(pads->linear, pads->backward, pads->host_first))
        return cr_fail(CR_INTERNAL, "%s: lane %zu no longer has the products that lane %zu goes by",
                       cr_peer_name(peer), pads->host, current(peer));
    return CR_OK;
}

const uint32_t *cr_peer_product(struct cr_peer *peer, const struct cr_peer_pads *pads, size_t row,
                                uint32_t *room)
{
    size_t width = way_of(peer, pads)->width;
    if (row < pads->shared) return peer->shares[pads->host].products + row * width;
    const struct share *share = &peer->shares[current(peer)];
    size_t own = row - pads->shared;
    uint32_t *to = share->products ? share->products + own * width : room;
    bool in_field = cr_mask_open(peer->options.field, cr_link_answer(share->link) + own * width, NULL, NULL,
                                 NULL, NULL, width, to, NULL);
    return in_field ? to : NULL;
}

const char *cr_peer_name(const struct cr_peer *peer)
{
    return cr_link_peer(peer->shares[0].link);
}

const char *cr_peer_engine(const struct cr_peer *peer)
{
    return cr_link_engine(peer->shares[0].link);
}
