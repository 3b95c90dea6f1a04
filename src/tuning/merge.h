// What was tuned merged into its base: W + scale · B A, W + ΔW or both, written as a model of its own, and
// compared with the two.
#ifndef CARREL_TUNING_MERGE_H
#define CARREL_TUNING_MERGE_H

#include "model/model.h"
#include "tuning/targets.h"

struct cr_merge_report {
    size_t modules; // weights that the adapter changed
    size_t tokens;  // of the sequence that was compared
    // Largest differences from the logits of base and adapter, as a part of the root mean square of those;
    // all computed in float32.
    double exact;   // of the merged weights before they are rounded: what the order of sums makes
    double written; // of the directory as it was written: the rounding to the checkpoint's type, besides
    bool unusual;   // `exact` is more than sums make of most models: the base makes much of small differences
};

// Whether a module's weight [out,in] `before` and `after` it was merged differ by what the module's delta in
// `tuned` (of a model in F32) adds to its output, told by a random input: CR_INTERNAL where rounding does not
// explain how far the two are apart.
enum cr_status cr_merge_check(const struct cr_tuned *tuned, struct cr_module_place place,
                              const struct cr_model_parameter *parameter, const float *before,
                              const float *after);

// Makes the directory `output` out of a Hugging Face directory and an adapter (tuning/adapter.h) of LoRA, a
// sparse change, or both; a prefix is CR_UNSUPPORTED. Each adapted weight is computed in fp32 from the
// checkpoint's own value and rounded once to the checkpoint's type of it; every other tensor is copied bit
// for bit, config.json and the tokenizer's files are copied. Of its linears no more than one is in memory.
// `output` must not exist, or be an empty directory; it appears whole, after three comparisons: each module
// (cr_merge_check), every tensor of the file with the checkpoint's bytes or, merged, with the value before
// rounding (CR_INVALID where it is off by more than half a unit, as where float16 overflows), and the logits
// before and after rounding, for the report. A model that was written and then
// refused stays in a directory beside `output`, which the error names.
//
// Between its parts `keep_going` (may be NULL) is asked; false ends it with CR_CANCELLED, and nothing is
// left.
enum cr_status cr_merge(const char *model, const char *adapter, const char *output,
                        struct cr_compute *compute, bool (*keep_going)(void), struct cr_merge_report *report);

#endif
