// Settings of fine-tuning, under the names that PEFT and Transformers use. Filled from YAML by
// federation/config.c's table; docs/CONFIG.md lists every key with its meaning.
#ifndef CARREL_TUNING_CONFIG_H
#define CARREL_TUNING_CONFIG_H

#include "format/options.h"

#include <stdint.h>

enum cr_method {
    CR_METHOD_LORA,
    CR_METHOD_FULL,
    CR_METHOD_PREFIX_TUNING,
    CR_METHOD_SPF,
    CR_METHOD_LORA_SPF, // both
};
// Which of the named weights sparse fine-tuning trains: the groups with the largest mean of |weight|, or of
// the loss's |gradient| or squared gradient over calibration batches, or random ones.
enum cr_spf_criterion {
    CR_SPF_WEIGHT_L1,
    CR_SPF_GRADIENT,
    CR_SPF_FISHER,
    CR_SPF_RANDOM,
};
// What a group is: the rows of a head in q, k and v and single rows elsewhere; single rows; single elements.
enum cr_spf_granularity { CR_SPF_HEAD, CR_SPF_ROW, CR_SPF_ELEMENT };
// Their names, NULL at the end.
extern const char *const cr_method_names[];
extern const char *const cr_spf_criteria[];
extern const char *const cr_spf_granularities[];
// bfloat16 falls back to float32 where the processor has no BF16 products; an event says so.
enum cr_compute_dtype { CR_COMPUTE_BFLOAT16, CR_COMPUTE_FLOAT32 };
enum cr_optimizer { CR_OPTIMIZER_ADAMW, CR_OPTIMIZER_SGD };
// Where layers keep what their backward pass needs: in this process, or sealed outside it.
enum cr_spill_mode { CR_SPILL_MODE_NONE, CR_SPILL_MODE_SEALED };
// Who computes the frozen products: this process (none), or accelerators, on masked data. The pads' products
// are then computed by this process (enclave) or by another accelerator (peer).
enum cr_pads_mode { CR_PADS_MODE_NONE, CR_PADS_MODE_ENCLAVE, CR_PADS_MODE_PEER };
// Who computes the layers below the first adapted one: they are computed like the others (none), or, in the
// clear, by an accelerator that the silo owns (local).
enum cr_clear_front { CR_CLEAR_FRONT_NONE, CR_CLEAR_FRONT_LOCAL };
// In which form a split model's silos send their layers' output; none: the model is not split.
enum cr_split_activations {
    CR_SPLIT_ACTIVATIONS_NONE,
    CR_SPLIT_ACTIVATIONS_FLOAT32,
    CR_SPLIT_ACTIVATIONS_BFLOAT16,
    CR_SPLIT_ACTIVATIONS_INT8,
};
// constant has no warm-up, as in Transformers. Saved states contain these numbers: append new ones at the
// end.
enum cr_schedule {
    CR_SCHEDULE_LINEAR,
    CR_SCHEDULE_COSINE,
    CR_SCHEDULE_CONSTANT,
    CR_SCHEDULE_CONSTANT_WITH_WARMUP,
};

// Which linear modules are adapted (tuning/targets.h): PEFT's target_modules and layers_to_transform.
struct cr_targets {
    struct cr_string_list modules; // "q_proj", ..., or "all-linear"
    struct cr_size_list layers;    // empty: all
};

struct cr_lora_config {
    size_t r;
    double lora_alpha;
    double lora_dropout;
    struct cr_targets targets;
    bool use_rslora; // scale lora_alpha/sqrt(r) instead of lora_alpha/r
};

struct cr_spf_config {
    int criterion;   // enum cr_spf_criterion
    int granularity; // enum cr_spf_granularity
    double density;  // trained fraction of the named modules' weights
    struct cr_targets targets;
    size_t calibration_batches; // for gradient and fisher
};

struct cr_prefix_config {
    size_t num_virtual_tokens;
    bool prefix_projection;
    size_t encoder_hidden_size; // of the projection; 0: the model's kv_heads·head_dim
};

// A smaller epsilon would divide by nearly nothing where a gradient's square is too small for float32.
#define CR_LEAST_ADAM_EPSILON 1e-20

struct cr_training_config {
    int optim; // enum cr_optimizer
    double learning_rate;
    double weight_decay;
    double adam_beta1, adam_beta2, adam_epsilon;
    double momentum;       // SGD
    double max_grad_norm;  // 0: no clipping
    int lr_scheduler_type; // enum cr_schedule
    size_t warmup_steps;
    size_t max_steps; // 0: num_train_epochs decides
    double num_train_epochs;
    size_t per_device_train_batch_size;
    size_t gradient_accumulation_steps;
    size_t logging_steps;
    size_t save_steps; // `carrel tune` saves its state this often; 0: only when it is stopped
    size_t eval_steps; // `carrel tune` evaluates on data.eval this often; 0: only at the end
    // Micro-batches of a step that take turns, each with a pass of its own (base/lanes.h); 0 and 1: one after
    // the other. Not a key of the settings: more than one helps only if products are computed elsewhere and
    // waited for.
    size_t lanes;
};

struct cr_data_config {
    char *train; // path
    char *eval;  // path or NULL
    size_t max_length;
    bool train_on_prompt;
    int chat_template; // enum cr_chat_template
    struct cr_string_list label_words;
    char *label_prompt;
    bool packing; // examples share rows of max_length tokens
    size_t max_bad_rows;
};

struct cr_slicing_config {
    int pads;                           // enum cr_pads_mode
    struct cr_string_list accelerators; // addresses
    size_t digits;                      // of a word: 4 or 3
    int spill;                          // enum cr_spill_mode
    int clear_front;                    // enum cr_clear_front
    char *own_accelerator;              // address of the one that the silo owns, or NULL
};

struct cr_split_config {
    int activations; // enum cr_split_activations
    size_t layers;   // layers of the front: the embedding and layers [0, layers)
    size_t storage;  // bytes of activations and labels that a server stores, for all silos together
    bool inference;  // whether silos may use the tuned tail afterwards
};

struct cr_tuning_config {
    char *model_name_or_path;
    int dtype;         // enum cr_compute_dtype
    bool load_in_8bit; // the frozen linears as int8 with a scale for each row
    char *output_dir;
    const char *scratch_dir; // for files that end with a trainer; NULL: output_dir. Not a key
    uint64_t seed;
    size_t threads;   // 0: cr_processors()
    int method;       // enum cr_method
    bool random_init; // full only: start from random weights of config.json's shape
    struct cr_data_config data;
    struct cr_lora_config lora;
    struct cr_prefix_config prefix_tuning;
    struct cr_spf_config spf;
    struct cr_training_config training;
    struct cr_slicing_config slicing;
    struct cr_split_config split;
    struct cr_cut *cut; // examples of a split model's tail (tuning/cut.h), instead of data.train. Not a key
};

static inline bool cr_method_has_lora(int method)
{
    return method == CR_METHOD_LORA || method == CR_METHOD_LORA_SPF;
}

static inline bool cr_method_has_spf(int method)
{
    return method == CR_METHOD_SPF || method == CR_METHOD_LORA_SPF;
}

// Whether the criterion needs gradients, for which passes over training data are made before training.
static inline bool cr_spf_calibrates(const struct cr_spf_config *config)
{
    return config->criterion == CR_SPF_GRADIENT || config->criterion == CR_SPF_FISHER;
}

// Whether the model is split: silos run the first layers, and a server trains the others on the output.
static inline bool cr_tuning_config_split(const struct cr_tuning_config *config)
{
    return config->split.activations != CR_SPLIT_ACTIVATIONS_NONE;
}

// Whether there are examples to train on: a federation's server has none, a split model's server has
// activations.
static inline bool cr_tuning_config_trains(const struct cr_tuning_config *config)
{
    return config->data.train || config->cut;
}

// Whether frozen products are computed by accelerators on masked data.
static inline bool cr_tuning_config_sliced(const struct cr_tuning_config *config)
{
    return config->slicing.pads != CR_PADS_MODE_NONE;
}

// Whether the frozen matrices are in int8, wherever their products are computed.
static inline bool cr_tuning_config_in_8bit(const struct cr_tuning_config *config)
{
    return config->load_in_8bit || cr_tuning_config_sliced(config);
}

// How many micro-batches of a step take turns: training.lanes, or if that is 0, two in a sliced run, so that
// one pass goes on while the accelerator works for the other. With more than three accelerators (pads: peer)
// it is one for each that is sent masked data.
static inline size_t cr_tuning_config_lanes(const struct cr_tuning_config *config)
{
    size_t accelerators = config->slicing.accelerators.count;
    if (config->training.lanes > 0) return config->training.lanes;
    if (!cr_tuning_config_sliced(config)) return 1;
    return accelerators > 3 ? accelerators - 1 : 2;
}

enum { CR_MOST_ACCELERATORS = 16 };

// The warning for users of slicing.pads: peer.
extern const char cr_peer_pads_warning[];

// Checks what no range of a single key catches (and the ranges, for callers without an option table):
// CR_INVALID with the key's name.
enum cr_status cr_tuning_config_check(const struct cr_tuning_config *config);

// Checks that the number of accelerators is what slicing.pads needs, for whoever connects to them: CR_INVALID
// otherwise.
enum cr_status cr_tuning_config_check_accelerators(const struct cr_tuning_config *config);

// Tokens of the model's context that are in use before a text begins: those of prefix tuning.
size_t cr_tuning_config_prefix(const struct cr_tuning_config *config);

// Checks that a split leaves the server at least one of the model's `layers`: CR_INVALID otherwise.
enum cr_status cr_tuning_config_check_split(const struct cr_tuning_config *config, size_t layers);

// The settings of what is tuned, for a model of `layers` layers. In a split model that is in the tail: in all
// of its layers if the settings name none. Otherwise the settings are returned as they are. *out is a shallow
// copy of `config`, whose list of layers may be in *tail; free that with cr_free. CR_INVALID as above, and if
// a layer is named that is a silo's, or a module in one.
enum cr_status cr_tuning_config_tail(const struct cr_tuning_config *config, size_t layers,
                                     struct cr_tuning_config *out, size_t **tail);

// Checks that data.max_length and these virtual tokens fit the model's context: CR_INVALID otherwise.
enum cr_status cr_tuning_config_check_context(const struct cr_tuning_config *config, size_t context);

#endif
