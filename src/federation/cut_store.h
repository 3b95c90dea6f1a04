// What a split model's server keeps of its silos' examples: sealed files (federation/cut_file.h) of at most
// so many bytes in its state directory, from which a tail is trained on everybody's examples, silo by silo in
// the order of names. What is in memory is where each example lies, and, once training begins, its labels.
#ifndef CARREL_FEDERATION_CUT_STORE_H
#define CARREL_FEDERATION_CUT_STORE_H

#include "federation/cut_file.h"
#include "tuning/cut.h"

struct cr_cut_store;

struct cr_cut_store_options {
    const char *directory;              // made where it is missing; files are SILO.0, SILO.1, ...
    const unsigned char *secret;        // [CR_KEY_SIZE]
    const unsigned char *run;           // [CR_SHA256_SIZE]
    int activations;                    // enum cr_split_activations
    size_t layer;                       // before which the model is cut
    size_t hidden, vocabulary, longest; // of the model; rows of an example at most
    uint64_t limit;                     // bytes on the disk
};

enum cr_status cr_cut_store_open(const struct cr_cut_store_options *options, struct cr_cut_store **out);
void cr_cut_store_close(struct cr_cut_store *store); // NULL is allowed; wipes

// Takes up what an earlier process left of this silo. What was changed, and what follows it, is forgotten.
enum cr_status cr_cut_store_restore(struct cr_cut_store *store, const char *silo);

// The silo is going to send this. Another offer than before makes what it sent be forgotten. More than fits
// beside what the others offered is CR_DENIED, as is an offer that cannot be.
enum cr_status cr_cut_store_offer(struct cr_cut_store *store, const char *silo,
                                  const struct cr_cut_offer *offer);
bool cr_cut_store_offered(const struct cr_cut_store *store, const char *silo,
                          const struct cr_cut_offer *offer); // and this is what it offered

// The silo's next example: coded activations of all rows, then labels. Values that no model makes (NaN, an
// unknown token, no label at all) are CR_DENIED, as is more than it offered.
enum cr_status cr_cut_store_put(struct cr_cut_store *store, const char *silo, const unsigned char *bytes,
                                size_t rows);

// Brings what was put onto the disk. *news: there was some.
enum cr_status cr_cut_store_sync(struct cr_cut_store *store, const char *silo, bool *news);

// What is there since.
struct cr_cut_held {
    uint64_t examples, rows, bytes; // bytes on the disk
    bool complete;                  // all that was offered is there
};
struct cr_cut_held cr_cut_store_held(const struct cr_cut_store *store, const char *silo);
size_t cr_cut_store_complete(const struct cr_cut_store *store); // silos

// The examples of all complete silos. Nothing may be offered or put once it is open; it may then be used on
// another thread. Lives as long as the store.
struct cr_cut *cr_cut_store_cut(struct cr_cut_store *store);

// Removes the files that a store has made there. What an open one knows of them stays.
void cr_cut_store_clear(const char *directory);

#endif
