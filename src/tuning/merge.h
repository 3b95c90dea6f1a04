// Merges an adapter into its base: W + scale · B A, W + ΔW or both, written as a model of its own and
// compared with base and adapter.
#ifndef CARREL_TUNING_MERGE_H
#define CARREL_TUNING_MERGE_H

#include "model/model.h"
#include "tuning/targets.h"

struct cr_merge_report {
    size_t modules; // weights that the adapter changed
    size_t tokens;  // of the sequence that was compared
    // Largest differences from the logits of base and adapter, as a fraction of the root mean square of
    // those; all computed in float32.
    double exact;   // of the merged weights before rounding: the effect of another order of sums
    double written; // of the directory as written: in addition the rounding to the checkpoint's type
    bool unusual;   // `exact` is larger than for most models: the base amplifies small differences
};

// Checks that a module's weight [out,in] `before` and `after` merging differ by what the module's delta in
// `tuned` (of a model in F32) adds to its output, for a random input: CR_INTERNAL if the two are further
// apart than rounding explains.
enum cr_status cr_merge_check(const struct cr_tuned *tuned, struct cr_module_place place,
                              const struct cr_model_parameter *parameter, const float *before,
                              const float *after);

// Makes the directory `output` from a Hugging Face directory and an adapter (tuning/adapter.h) of LoRA, a
// sparse change, or both; a prefix returns CR_UNSUPPORTED. Each adapted weight is computed in fp32 from the
// checkpoint's own value and rounded once to its type in the checkpoint; every other tensor is copied bit for
// bit, and so are config.json and the tokenizer's files. At most one linear is in memory at a time. `output`
// must not exist, or be an empty directory. It appears complete, after three checks: each module
// (cr_merge_check); every tensor of the file against the checkpoint's bytes or, if merged, against the value
// before rounding (CR_INVALID if it is off by more than half a unit, as when float16 overflows); and the
// logits before and after rounding, for the report. A model that was written but then refused stays in a
// directory beside `output`, which the error names.
//
// `keep_going` (may be NULL) is called between steps; if it returns false, merging ends with CR_CANCELLED and
// leaves nothing.
enum cr_status cr_merge(const char *model, const char *adapter, const char *output,
                        struct cr_compute *compute, bool (*keep_going)(void), struct cr_merge_report *report);

#endif
