// What the trusted process keeps about the frozen matrices, which stay outside of it: shapes, scales,
// rounding bounds and, for each direction, two secret vectors s with v = Qᵀ s (backward: v = Q s). The
// product y of a question x is accepted if s·y = v·x holds for both vectors. A wrong product passes with
// probability p⁻² (Freivalds' check).
//
// A deep sum is answered in parts (field/bound.h). y is then the product with the block-diagonal matrix made
// of the parts of Q, s is a vector over all of y, and v holds Qᵀ s of each part, one after the other.
#ifndef CARREL_SLICING_FACTS_H
#define CARREL_SLICING_FACTS_H

#include "crypto/keystream.h"
#include "field/mask.h"
#include "model/frozen.h"

enum { CR_WAYS = 2 }; // forward 0, backward 1

struct cr_way {
    size_t depth, columns;   // words of a question's row, and columns of its product
    size_t parts;            // that each sum is split into
    size_t width;            // words of an answer's row, [parts, columns]
    struct cr_bound *bounds; // [parts]
    uint32_t *s;             // [parts][2, columns], secret
    uint32_t *v;             // for each part [2, depth of the part], secret
};

// Fills in the shapes only; the pointers are NULL.
struct cr_way cr_way_of(size_t out, size_t in, bool backward);

struct cr_fact {
    size_t out, in;
    float *scale; // [out]
    struct cr_way way[CR_WAYS];
};

struct cr_facts {
    size_t count;
    struct cr_fact *matrices; // [count], in the order of model/frozen.h
    uint64_t checksum;        // of all matrices, as the accelerator computes it (struct cr_frozen)
    size_t largest;           // elements of the largest matrix
    size_t longest;           // words of the longest row of a question or an answer
    size_t parts;             // the largest number of parts of any sum
    struct cr_arena memory;   // holds scales and bounds
    struct cr_arena secrets;  // holds s and v, in secret memory
};

// Reads every matrix of the checkpoint of `model` (opened with CR_MODEL_OUTSIDE, possibly only a part of the
// model) once, one at a time. Words have the digits of `field`. The secret vectors are derived from `key`.
// Matrices outside of this part of the model only count towards the checksum and get no bounds or vectors.
enum cr_status cr_facts_open(struct cr_compute *compute, struct cr_field *field, struct cr_model *model,
                             const unsigned char key[CR_KEY_SIZE], struct cr_facts *out);
void cr_facts_forget(struct cr_facts *facts);  // wipes s and v once a wrong answer was seen
void cr_facts_release(struct cr_facts *facts); // wipes; a zeroed struct is allowed

// Computes v [2 · depth] from the matrix q and way->s.
void cr_way_vectors(const struct cr_way *way, struct cr_field *field, struct cr_matrix q, bool backward,
                    uint32_t *v);

// A run of words of one row that lies within a single part, and the words of the two secret vectors that
// these are multiplied with.
struct cr_way_span {
    size_t count;
    const uint32_t *vectors[2];
};

struct cr_way_span cr_way_answer(const struct cr_way *way, size_t begin); // of an answer; begin < width

// Whether `answer` [width] is the product of `question` [depth]. Runs in constant time.
bool cr_way_checks(const struct cr_way *way, const struct cr_field *field, const uint32_t *question,
                   const uint32_t *answer);

// The same check in two steps: the two sums that a correct answer has, and those that it does have. Compare
// them with cr_mask_agree.
void cr_way_expect(const struct cr_way *way, const struct cr_field *field, const uint32_t *question,
                   uint32_t expected[2]);
void cr_way_sums(const struct cr_way *way, const struct cr_field *field, const uint32_t *answer,
                 uint32_t sums[2]);

#endif
