// The flags that every command with a model shares: --model, --adapter, --split, --endorsements, --dtype,
// --load-in-8bit, --threads.
#ifndef CARREL_CLI_MODEL_FLAGS_H
#define CARREL_CLI_MODEL_FLAGS_H

#include "base/flags.h"
#include "federation/split_ask.h"
#include "tuning/session.h"

struct cr_model_flags {
    const char *model;   // directory; required
    const char *adapter; // directory or NULL
    const char *split;   // a silo's state directory, whose server has the tuned layers; or NULL
    const char *endorsements;
    const char *dtype; // "float32", "bfloat16"
    bool in_8bit;
    size_t threads;
};

// Seven entries for a command's table, where `at` points to a struct cr_model_flags; the parentheses keep
// clang-format from taking the last one for a block.
#define CR_MODEL_FLAGS(at)                                                                                   \
    {"model", CR_FLAG_STRING, &(at)->model, "DIR", "the model: a Hugging Face directory"},                   \
        {"adapter", CR_FLAG_STRING, &(at)->adapter, "DIR",                                                   \
         "what was tuned: a PEFT directory, a sparse change"},                                               \
        {"split", CR_FLAG_STRING, &(at)->split, "DIR",                                                       \
         "ask the tuned layers of a split model at its server, as the silo whose --state this is; --model "  \
         "has the others"},                                                                                  \
        {"endorsements", CR_FLAG_STRING, &(at)->endorsements, "DIR",                                         \
         "with --split: for appraising the server, as those of carrel join"},                                \
        {"dtype", CR_FLAG_STRING, &(at)->dtype, "TYPE", "float32, or bfloat16 (default if the CPU has it)"}, \
        {"load-in-8bit", CR_FLAG_BOOL, &(at)->in_8bit, NULL, "keep the linears as int8"},                    \
        ((struct cr_flag){"threads", CR_FLAG_SIZE, &(at)->threads, "N",                                      \
                          "threads that compute; 0, the default: one per processor it may use"})

// Parses "default", "chatml", ... as an enum cr_chat_template; NULL means default.
enum cr_status cr_chat_template_named(const char *name, enum cr_chat_template *out);

// Rewrites the current failure's message: keys of settings become this command's options. Returns `status`.
enum cr_status cr_fail_by_options(enum cr_status status);

// A session and what it uses to compute. Zero-initialise; release with cr_open_model_release (usable with
// CR_CLEANUP).
struct cr_open_model {
    struct cr_compute *compute;
    struct cr_session session;
    struct cr_split_ask *ask; // the connection that the session uses, or NULL
};

extern const struct cr_event_sink cr_model_warnings; // to stderr

// Opens the model; warnings go to cr_model_warnings.
enum cr_status cr_open_model(const struct cr_model_flags *flags, struct cr_open_model *out);
void cr_open_model_release(struct cr_open_model *open);

#endif
