// A split model's server stores its silos' examples: sealed files (federation/cut_file.h) in its state
// directory, with a limit on their size. The tail is trained on the examples of all silos, in the order of
// the silos' names. Memory holds only where each example is and, once training begins, its labels.
#ifndef CARREL_FEDERATION_CUT_STORE_H
#define CARREL_FEDERATION_CUT_STORE_H

#include "federation/cut_file.h"
#include "tuning/cut.h"

struct cr_cut_store;

struct cr_cut_store_options {
    const char *directory;              // made if missing; files are SILO.0, SILO.1, ...
    const unsigned char *secret;        // [CR_KEY_SIZE]
    const unsigned char *run;           // [CR_SHA256_SIZE]
    int activations;                    // enum cr_split_activations
    size_t layer;                       // the model is cut before this layer
    size_t hidden, vocabulary, longest; // the model's sizes; most rows of an example
    uint64_t limit;                     // most bytes on disk
};

enum cr_status cr_cut_store_open(const struct cr_cut_store_options *options, struct cr_cut_store **out);
void cr_cut_store_close(struct cr_cut_store *store); // NULL is allowed; wipes

// Reads what earlier processes stored for this silo. A changed example and everything after it is dropped.
enum cr_status cr_cut_store_restore(struct cr_cut_store *store, const char *silo);

// Registers what the silo is going to send. If the offer differs from its earlier one, what it sent is
// deleted. Fails with CR_DENIED if the offer does not fit beside the others' or is impossible.
enum cr_status cr_cut_store_offer(struct cr_cut_store *store, const char *silo,
                                  const struct cr_cut_offer *offer);
bool cr_cut_store_offered(const struct cr_cut_store *store, const char *silo,
                          const struct cr_cut_offer *offer); // whether this is the silo's present offer

// Stores the silo's next example: coded activations of all rows, then labels. Fails with CR_DENIED if it has
// values that no model computes (NaN, an unknown token) or no label at all, or if it is more than was
// offered.
enum cr_status cr_cut_store_put(struct cr_cut_store *store, const char *silo, const unsigned char *bytes,
                                size_t rows);

// Syncs the examples to disk. *news: there were unsynced ones.
enum cr_status cr_cut_store_sync(struct cr_cut_store *store, const char *silo, bool *news);

// What is stored.
struct cr_cut_held {
    uint64_t examples, rows, bytes; // bytes: on disk
    bool complete;                  // everything that was offered is stored
};
struct cr_cut_held cr_cut_store_held(const struct cr_cut_store *store, const char *silo);
size_t cr_cut_store_complete(const struct cr_cut_store *store); // number of complete silos

// The examples of all complete silos. After this call nothing may be offered or put; the cut may then be used
// on another thread. It is valid as long as the store.
struct cr_cut *cr_cut_store_cut(struct cr_cut_store *store);

// Removes a store's files in this directory. An open store does not notice.
void cr_cut_store_clear(const char *directory);

#endif
