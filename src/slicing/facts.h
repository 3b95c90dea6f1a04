// What the trusted process keeps of the frozen matrices, which themselves stay outside: shapes, scales,
// bounds, and for each direction two secret vectors s with v = Qᵀ s (backward v = Q s). A product y of a
// question x is right if s·y = v·x for both; a wrong one passes with probability p⁻² (Freivalds).
//
// A deep sum is answered in parts (field/bound.h): y is the product with the matrix that has the parts of Q
// along its diagonal, s is a vector over all of y, and v = Qᵀ s is that of each part one after the other.
#ifndef CARREL_SLICING_FACTS_H
#define CARREL_SLICING_FACTS_H

#include "crypto/keystream.h"
#include "field/mask.h"
#include "model/frozen.h"

enum { CR_WAYS = 2 }; // forward 0, backward 1

struct cr_way {
    size_t depth, columns;   // of a row and of its product
    size_t parts;            // of the sums
    size_t width;            // words of an answer's row: [parts, columns]
    struct cr_bound *bounds; // [parts]
    uint32_t *s;             // [parts][2, columns], secret
    uint32_t *v;             // of each part [2, its depth], secret
};

// Shapes alone.
struct cr_way cr_way_of(size_t out, size_t in, bool backward);

struct cr_fact {
    size_t out, in;
    float *scale; // [out]
    struct cr_way way[CR_WAYS];
};

struct cr_facts {
    size_t count;
    struct cr_fact *matrices; // [count], in the order of model/frozen.h
    uint64_t checksum;        // as an accelerator's (struct cr_frozen)
    size_t largest;           // elements of the largest matrix
    size_t longest;           // the longest row of a question or an answer
    size_t parts;             // the most of a sum
    struct cr_arena memory;   // of scales and bounds
    struct cr_arena secrets;  // of vectors, in secret memory
};

// Reads every matrix of the checkpoint of `model` (of CR_MODEL_OUTSIDE, or a part of one) once, one at a
// time, with words of field's digits; the secrets are drawn under `key`. Of matrices that are not the part's
// there are no bounds and vectors: they are in the checksum alone.
enum cr_status cr_facts_open(struct cr_compute *compute, struct cr_field *field, struct cr_model *model,
                             const unsigned char key[CR_KEY_SIZE], struct cr_facts *out);
void cr_facts_forget(struct cr_facts *facts);  // wipes the secrets, which a wrong answer was tried on
void cr_facts_release(struct cr_facts *facts); // wipes; zeros are allowed

// Makes v [2·depth] of a matrix by the way's s.
void cr_way_vectors(const struct cr_way *way, struct cr_field *field, struct cr_matrix q, bool backward,
                    uint32_t *v);

// The words of a row from one on that lie in one part, and the words of the two vectors that they meet.
struct cr_way_span {
    size_t count;
    const uint32_t *vectors[2];
};

struct cr_way_span cr_way_answer(const struct cr_way *way, size_t begin); // begin < width

// Whether `answer` [width] is the product of `question` [depth]. Takes the same time whatever they are.
bool cr_way_checks(const struct cr_way *way, const struct cr_field *field, const uint32_t *question,
                   const uint32_t *answer);

// The same in steps: what the answer's sums must be, and what they are (cr_mask_agree).
void cr_way_expect(const struct cr_way *way, const struct cr_field *field, const uint32_t *question,
                   uint32_t expected[2]);
void cr_way_sums(const struct cr_way *way, const struct cr_field *field, const uint32_t *answer,
                 uint32_t sums[2]);

#endif
