#include "federation/config_check.h"

#include "base/thread.h"
#include "text/dataset.h"

static const char *const dtypes[] = {"bfloat16", "float32", NULL};
static const char *const methods[] = {"lora", "full", "prefix_tuning", "spf", "lora+spf", NULL};
static const char *const optimizers[] = {"adamw", "sgd", NULL};
static const char *const schedules[] = {"linear", "cosine", "constant", NULL};
static const char *const spill_modes[] = {"none", "sealed", NULL};
static const char *const clear_fronts[] = {"none", "local", NULL};
static const char *const pads_modes[] = {"none", "enclave", "peer", NULL};
static const char *const split_activations[] = {"none", "float32", "bfloat16", "int8", NULL};
static const char *const optimizer_states[] = {"reset", "keep", NULL};
static const char *const releases[] = {"all", "server", "silos", NULL};
static const char *const attesters[] = {"auto", "gramine", "tsm", "tpm", "development", NULL};
static const char *const weightings[] = {"labelled_tokens", "uniform", NULL};

static const struct cr_option silo_options[] = {
    {.key = "name",
     .type = CR_OPTION_STRING,
     .offset = offsetof(struct cr_silo_config, name),
     .required = true,
     .help = "The silo's name: 1 to 63 lower-case letters, digits and hyphens."},
    {.key = "data",
     .type = CR_OPTION_STRING,
     .offset = offsetof(struct cr_silo_config, data),
     .required = true,
     .help = "The silo's training data (JSONL)."},
    {.key = "eval",
     .type = CR_OPTION_STRING,
     .offset = offsetof(struct cr_silo_config, eval),
     .help = "The silo's held-out data (JSONL), on which the simulation ends with an evaluation."},
};

static const struct cr_option_table silo_table = {
    .options = silo_options,
    .count = sizeof silo_options / sizeof *silo_options,
    .struct_size = sizeof(struct cr_silo_config),
};

static bool uses_lora(const void *config)
{
    return cr_method_has_lora(((const struct cr_config *)config)->tuning.method);
}

static bool uses_prefix(const void *config)
{
    return ((const struct cr_config *)config)->tuning.method == CR_METHOD_PREFIX_TUNING;
}

static bool uses_spf(const void *config)
{
    return cr_method_has_spf(((const struct cr_config *)config)->tuning.method);
}

static bool calibrates(const void *config)
{
    return uses_spf(config) && cr_spf_calibrates(&((const struct cr_config *)config)->tuning.spf);
}

static bool uses_split(const void *config)
{
    return cr_tuning_config_split(&((const struct cr_config *)config)->tuning);
}

static bool uses_rounds(const void *config)
{
    return !uses_split(config);
}

#define AT(member) .offset = offsetof(struct cr_config, member)
#define WITH_LORA .useful = uses_lora, .with = "method: lora or lora+spf"
#define WITH_SPF .useful = uses_spf, .with = "method: spf or lora+spf"
#define WITH_PREFIX .useful = uses_prefix, .with = "method: prefix_tuning"
#define WITH_SPLIT .useful = uses_split, .with = "split.activations"
#define WITH_ROUNDS .useful = uses_rounds, .with = "split.activations: none (a split model has no rounds)"

// Bounds are there to catch slips of the pen and to keep sums of products within size_t, not to set a policy.
static const struct cr_option options[] = {
    {.key = "model_name_or_path",
     .type = CR_OPTION_STRING,
     AT(tuning.model_name_or_path),
     .required = true,
     .help = "The base model: a Hugging Face directory (config.json, safetensors, tokenizer.json)."},
    {.key = "output_dir",
     .type = CR_OPTION_STRING,
     AT(tuning.output_dir),
     .fallback = "output",
     .help = "Where the result is written: a PEFT directory, a sparse change, both, or (full) a model."},
    {.key = "method",
     .type = CR_OPTION_CHOICE,
     AT(tuning.method),
     .fallback = "lora",
     .choices = methods,
     .help = "What is trained: LoRA adapters beside a frozen base; every parameter; keys and values that "
             "every layer of a frozen base sees before the text (P-tuning v2); a sparse change of the base, "
             "kept beside it (spf); or the first and the last together."},
    {.key = "random_init",
     .type = CR_OPTION_BOOL,
     AT(tuning.random_init),
     .fallback = "false",
     .help = "With method full: start from random weights of config.json's shape instead of a checkpoint's."},
    {.key = "dtype",
     .type = CR_OPTION_CHOICE,
     AT(tuning.dtype),
     .fallback = "bfloat16",
     .choices = dtypes,
     .help = "Type of the frozen weights and of the operands of matrix products; sums are float32. bfloat16 "
             "falls back to float32 on processors without it."},
    {.key = "load_in_8bit",
     .type = CR_OPTION_BOOL,
     AT(tuning.load_in_8bit),
     .fallback = "false",
     .help = "Keep the frozen linears as int8, symmetric, with one scale for each output row and no outlier "
             "columns: "
             "about a byte of memory for each weight. Products are computed in dtype."},
    {.key = "seed",
     .type = CR_OPTION_SEED,
     AT(tuning.seed),
     .fallback = "42",
     .help = "Decides initial values, the order of data and dropout. With slicing, a server mixes a secret "
             "of its own "
             "into it: docs/PROTOCOL.md."},
    {.key = "threads",
     .type = CR_OPTION_SIZE,
     AT(tuning.threads),
     .fallback = "0",
     .least = 0,
     .most = CR_MOST_THREADS,
     .help = "Threads that compute; 0: one per processor. Results do not depend on it."},

    {.key = "data.train",
     .type = CR_OPTION_STRING,
     AT(tuning.data.train),
     .help =
         "Training data: JSONL or a JSON array of rows with text, instruction and output (Alpaca), question "
         "and answer, messages, or conversations (ShareGPT); or a .tsv of sentences and labels. A server "
         "needs none."},
    {.key = "data.eval",
     .type = CR_OPTION_STRING,
     AT(tuning.data.eval),
     .help = "Held-out data, on which `carrel tune` ends with an evaluation."},
    {.key = "data.max_length",
     .type = CR_OPTION_SIZE,
     AT(tuning.data.max_length),
     .fallback = "512",
     .least = 2,
     .most = 1 << 20,
     .help = "Rows are cut to this many tokens."},
    {.key = "data.train_on_prompt",
     .type = CR_OPTION_BOOL,
     AT(tuning.data.train_on_prompt),
     .fallback = "false",
     .help =
         "Whether the tokens of instructions, and of the system's and the user's messages, are labels too."},
    {.key = "data.chat_template",
     .type = CR_OPTION_CHOICE,
     AT(tuning.data.chat_template),
     .fallback = "default",
     .choices = cr_chat_names,
     .help =
         "How messages become text. default: chatml or llama3 by the tokenizer's own tokens, and Stanford's "
         "prompt for Alpaca rows; with any other, an Alpaca row is a user's message and an assistant's."},
    {.key = "data.label_words",
     .type = CR_OPTION_STRINGS,
     AT(tuning.data.label_words),
     .fallback = "[]",
     .help = "For a .tsv: the word that stands for each label, in the order of labels 0, 1, ..., or written "
             "LABEL=WORD. The word's tokens are the labels to learn."},
    {.key = "data.label_prompt",
     .type = CR_OPTION_STRING,
     AT(tuning.data.label_prompt),
     .fallback = CR_LABEL_PROMPT,
     .help = "For a .tsv: what stands before the label word, with {text} where the sentence goes."},
    {.key = "data.packing",
     .type = CR_OPTION_BOOL,
     AT(tuning.data.packing),
     .fallback = "false",
     .help = "Short examples share a row of max_length tokens, apart from each other in attention, and "
             "per_device_train_batch_size counts such rows: every batch is about as large."},
    {.key = "data.max_bad_rows",
     .type = CR_OPTION_SIZE,
     AT(tuning.data.max_bad_rows),
     .fallback = "0",
     .least = 0,
     .most = 1e9,
     .help = "Rows of a file that may be passed over because they cannot be read; one more is an error."},

    {.key = "lora.r",
     WITH_LORA,
     .type = CR_OPTION_SIZE,
     AT(tuning.lora.r),
     .fallback = "8",
     .least = 1,
     .most = 65536,
     .help = "Rank of the adapters."},
    {.key = "lora.lora_alpha",
     WITH_LORA,
     .type = CR_OPTION_NUMBER,
     AT(tuning.lora.lora_alpha),
     .fallback = "16",
     .least = 0,
     .most = 1e6,
     .help = "The adapter's product is scaled by lora_alpha / r."},
    {.key = "lora.lora_dropout",
     WITH_LORA,
     .type = CR_OPTION_NUMBER,
     AT(tuning.lora.lora_dropout),
     .fallback = "0",
     .least = 0,
     .most = 0.99,
     .help = "Probability with which an adapter's input is dropped."},
    {.key = "lora.target_modules",
     WITH_LORA,
     .type = CR_OPTION_STRINGS,
     AT(tuning.lora.target_modules),
     .fallback = "[]",
     .help =
         "Names of the linears that get an adapter, or all-linear; empty: as PEFT chooses for the family, "
         "q_proj and v_proj, or c_attn for gpt2."},
    {.key = "lora.layers_to_transform",
     WITH_LORA,
     .type = CR_OPTION_SIZES,
     AT(tuning.lora.layers_to_transform),
     .fallback = "[]",
     .least = 0,
     .most = 65535,
     .help = "Layers that get adapters, counted from 0; empty: all."},
    {.key = "lora.use_rslora",
     WITH_LORA,
     .type = CR_OPTION_BOOL,
     AT(tuning.lora.use_rslora),
     .fallback = "false",
     .help = "Scale by lora_alpha / sqrt(r) instead."},

    {.key = "spf.criterion",
     WITH_SPF,
     .type = CR_OPTION_CHOICE,
     AT(tuning.spf.criterion),
     .fallback = "weight_l1",
     .choices = cr_spf_criteria,
     .help =
         "Which of the named weights are trained: those with the largest mean of the weight's size; of the "
         "size of the loss' gradient, or of its square, over the first batches; or any, drawn from the seed. "
         "A federation's server has none when it begins, so there it is weight_l1 or random, unless the "
         "model is split."},
    {.key = "spf.granularity",
     WITH_SPF,
     .type = CR_OPTION_CHOICE,
     AT(tuning.spf.granularity),
     .fallback = "row",
     .choices = cr_spf_granularities,
     .help = "What is chosen together. head: the rows of a head in q, k and v, single rows in the other "
             "modules. row: an output feature. element: a single weight."},
    {.key = "spf.density",
     WITH_SPF,
     .type = CR_OPTION_NUMBER,
     AT(tuning.spf.density),
     .fallback = "0.01",
     .least = 0,
     .most = 1,
     .help = "How much is trained, as a part of the weights of the named modules; what scores highest of all "
             "of them together."},
    {.key = "spf.target_modules",
     WITH_SPF,
     .type = CR_OPTION_STRINGS,
     AT(tuning.spf.target_modules),
     .fallback = "[all-linear]",
     .help = "Names of the linears that may be trained, or all-linear, as for LoRA."},
    {.key = "spf.layers_to_transform",
     WITH_SPF,
     .type = CR_OPTION_SIZES,
     AT(tuning.spf.layers_to_transform),
     .fallback = "[]",
     .least = 0,
     .most = 65535,
     .help = "Layers of which, counted from 0; empty: all."},
    {.key = "spf.calibration_batches",
     .useful = calibrates,
     .with = "spf.criterion: gradient or fisher",
     .type = CR_OPTION_SIZE,
     AT(tuning.spf.calibration_batches),
     .fallback = "8",
     .least = 1,
     .most = 1e6,
     .help = "Batches of the first epoch that gradients are looked at of, before training. That takes four "
             "bytes for each weight of the named modules while it lasts."},

    {.key = "prefix_tuning.num_virtual_tokens",
     WITH_PREFIX,
     .type = CR_OPTION_SIZE,
     AT(tuning.prefix_tuning.num_virtual_tokens),
     .fallback = "20",
     .least = 1,
     .most = 65536,
     .help = "Trained keys and values of each layer. They take as many places of the model's context."},
    {.key = "prefix_tuning.prefix_projection",
     WITH_PREFIX,
     .type = CR_OPTION_BOOL,
     AT(tuning.prefix_tuning.prefix_projection),
     .fallback = "false",
     .help = "Train an embedding and two linears that make the keys and values, instead of these themselves. "
             "What is saved is what they make."},
    {.key = "prefix_tuning.encoder_hidden_size",
     WITH_PREFIX,
     .type = CR_OPTION_SIZE,
     AT(tuning.prefix_tuning.encoder_hidden_size),
     .fallback = "0",
     .least = 0,
     .most = 1 << 20,
     .help = "Width between these two linears; 0: the model's key heads times head_dim, as in PEFT."},

    {.key = "training.optim",
     .type = CR_OPTION_CHOICE,
     AT(tuning.training.optim),
     .fallback = "adamw",
     .choices = optimizers,
     .help = "The optimiser."},
    {.key = "training.learning_rate",
     .type = CR_OPTION_NUMBER,
     AT(tuning.training.learning_rate),
     .fallback = "0.0002",
     .least = 0,
     .most = 1000,
     .help = "The highest learning rate of the schedule."},
    {.key = "training.weight_decay",
     .type = CR_OPTION_NUMBER,
     AT(tuning.training.weight_decay),
     .fallback = "0",
     .least = 0,
     .most = 1000,
     .help = "Weight decay: decoupled in adamw, added to the gradient in sgd, as PyTorch has it."},
    {.key = "training.adam_beta1",
     .type = CR_OPTION_NUMBER,
     AT(tuning.training.adam_beta1),
     .fallback = "0.9",
     .least = 0,
     .most = 1,
     .help = "AdamW: decay of the mean of gradients."},
    {.key = "training.adam_beta2",
     .type = CR_OPTION_NUMBER,
     AT(tuning.training.adam_beta2),
     .fallback = "0.999",
     .least = 0,
     .most = 1,
     .help = "AdamW: decay of the mean of squared gradients."},
    {.key = "training.adam_epsilon",
     .type = CR_OPTION_NUMBER,
     AT(tuning.training.adam_epsilon),
     .fallback = "1e-8",
     .least = CR_LEAST_ADAM_EPSILON,
     .most = 1,
     .help = "AdamW: added to the root of the mean of squared gradients."},
    {.key = "training.momentum",
     .type = CR_OPTION_NUMBER,
     AT(tuning.training.momentum),
     .fallback = "0",
     .least = 0,
     .most = 1,
     .help = "SGD: momentum."},
    {.key = "training.max_grad_norm",
     .type = CR_OPTION_NUMBER,
     AT(tuning.training.max_grad_norm),
     .fallback = "1.0",
     .least = 0,
     .most = 1e9,
     .help = "Gradients are scaled down to this norm; 0: never."},
    {.key = "training.lr_scheduler_type",
     .type = CR_OPTION_CHOICE,
     AT(tuning.training.lr_scheduler_type),
     .fallback = "linear",
     .choices = schedules,
     .help = "How the learning rate falls after warm-up."},
    {.key = "training.warmup_steps",
     .type = CR_OPTION_SIZE,
     AT(tuning.training.warmup_steps),
     .fallback = "0",
     .least = 0,
     .most = 1e9,
     .help = "Steps over which the learning rate rises from zero."},
    {.key = "training.max_steps",
     .type = CR_OPTION_SIZE,
     AT(tuning.training.max_steps),
     .fallback = "0",
     .least = 0,
     .most = 1e9,
     .help = "Optimiser steps in all; 0: num_train_epochs decides. A federation sets it from rounds and "
             "local_steps."},
    {.key = "training.num_train_epochs",
     .type = CR_OPTION_NUMBER,
     AT(tuning.training.num_train_epochs),
     .fallback = "3.0",
     .least = 0,
     .most = 1e6,
     .help = "Passes over the data. A federation sets it from rounds and local_epochs."},
    {.key = "training.per_device_train_batch_size",
     .type = CR_OPTION_SIZE,
     AT(tuning.training.per_device_train_batch_size),
     .fallback = "8",
     .least = 1,
     .most = 65536,
     .help = "Rows of one forward and backward pass."},
    {.key = "training.gradient_accumulation_steps",
     .type = CR_OPTION_SIZE,
     AT(tuning.training.gradient_accumulation_steps),
     .fallback = "1",
     .least = 1,
     .most = 65536,
     .help = "Passes whose gradients make one optimiser step."},
    {.key = "training.logging_steps",
     .type = CR_OPTION_SIZE,
     AT(tuning.training.logging_steps),
     .fallback = "10",
     .least = 1,
     .most = 1e9,
     .help =
         "Loss and speed are reported after this many steps, and every two seconds where steps are slow."},
    {.key = "training.save_steps",
     .type = CR_OPTION_SIZE,
     AT(tuning.training.save_steps),
     .fallback = "500",
     .least = 0,
     .most = 1e9,
     .help = "`carrel tune` keeps its state in output_dir after this many steps, and when SIGINT or SIGTERM "
             "stops it; started again, it goes on from there. 0: only when it is stopped. Silos keep theirs "
             "after every round."},

    {.key = "slicing.pads",
     .type = CR_OPTION_CHOICE,
     AT(tuning.slicing.pads),
     .fallback = "none",
     .choices = pads_modes,
     .help =
         "Who computes the products with the frozen matrices. none: this process. enclave: an accelerator "
         "that nobody trusts, on numbers that this process hides under one-time pads and whose products it "
         "verifies; the pads' own products it computes itself, in the background. peer: the same, with those "
         "computed by another accelerator, the first of the list; for accelerators of different operators "
         "who do not work together, since who sees the questions of the first and of another sees what "
         "they hide."},
    {.key = "slicing.accelerators",
     .type = CR_OPTION_STRINGS,
     AT(tuning.slicing.accelerators),
     .fallback = "[]",
     .help =
         "Where the accelerator listens: unix:PATH, host:port, or tls:HOST:PORT#KEY as it prints it. A silo "
         "that joins gives its own with --accelerator."},
    {.key = "slicing.digits",
     .type = CR_OPTION_SIZE,
     AT(tuning.slicing.digits),
     .fallback = "4",
     .least = 3,
     .most = 4,
     .help =
         "Base-256 digits of a hidden number. 3: a quarter less work and traffic, with some 256 times the "
         "error of rounding, about 1%."},
    {.key = "slicing.spill",
     .type = CR_OPTION_CHOICE,
     AT(tuning.slicing.spill),
     .fallback = "none",
     .choices = spill_modes,
     .help =
         "Where what layers keep for their way back lies. none: in this process. sealed: encrypted outside "
         "of it, so that it holds one layer's alone."},

    {.key = "slicing.clear_front",
     .type = CR_OPTION_CHOICE,
     AT(tuning.slicing.clear_front),
     .fallback = "none",
     .choices = clear_fronts,
     .help =
         "Whether layers below the first that is adapted (lora.layers_to_transform) are masked too. none: "
         "all are. local: an accelerator of the silo's own computes those below, once for each example, on "
         "its texts in the clear; masking, pads and the way back begin at the first adapted one."},
    {.key = "slicing.own_accelerator",
     .type = CR_OPTION_STRING,
     AT(tuning.slicing.own_accelerator),
     .help = "unix:PATH of an accelerator that belongs to the silo itself and may see its texts; may be one "
             "of slicing.accelerators. A silo that joins gives it with --own-accelerator."},

    {.key = "split.activations",
     .type = CR_OPTION_CHOICE,
     AT(tuning.split.activations),
     .fallback = "none",
     .choices = split_activations,
     .help =
         "Whether the model is split: silos walk the embedding and the first layers over their data once, "
         "and the server trains adapters in the others on what these make of each token, sent as float32, "
         "as bfloat16, or as int8 with a scale for each 64 channels. none: it is not split."},
    {.key = "split.layers",
     WITH_SPLIT,
     .type = CR_OPTION_SIZE,
     AT(tuning.split.layers),
     .fallback = "1",
     .least = 0,
     .most = 65535,
     .help = "Layers that the silos have; 0: the embedding alone. The server has those from there on, and "
             "adapters can be in these only."},
    {.key = "split.storage",
     WITH_SPLIT,
     .type = CR_OPTION_SIZE,
     AT(tuning.split.storage),
     .fallback = "68719476736",
     .least = 1,
     .most = 1e15,
     .help = "Bytes that the server keeps, sealed, in federation.state_dir, of what all silos send. A silo "
             "whose data do not fit is refused before it sends any."},

    {.key = "federation.address",
     .type = CR_OPTION_STRING,
     AT(federation.address),
     .fallback = "0.0.0.0:7423",
     .help = "host:port on which the server listens; port 0: any free one, the same again after a restart."},
    {.key = "federation.advertise",
     .type = CR_OPTION_STRING,
     AT(federation.advertise),
     .help = "host:port that join tokens carry; without it, federation.address, which then must name a host "
             "that silos reach."},
    {.key = "federation.state_dir",
     .type = CR_OPTION_STRING,
     AT(federation.state_dir),
     .fallback = "carrel-server",
     .help =
         "The server's own directory: its CA, the silos it enrolled, and the state from which a restarted "
         "server goes on. Keep it secret."},
    {.key = "federation.job",
     .type = CR_OPTION_STRING,
     AT(federation.job),
     .help = "The job that the model's owner signed (`carrel job`), made of these settings. Without it the "
             "server signs one of its own: whoever runs the server is the job's owner then."},
    {.key = "federation.appraisal_policy",
     .type = CR_OPTION_STRING,
     AT(federation.appraisal_policy),
     .help = "An appraisal policy (docs/POLICY.md) for the job to hold: what evidence of a server and of "
             "silos has to say."},
    {.key = "federation.release",
     WITH_ROUNDS,
     .type = CR_OPTION_CHOICE,
     AT(federation.release),
     .fallback = "all",
     .choices = releases,
     .help = "Who gets the result. all: the server writes it to output_dir, and a silo that asks (carrel "
             "join --output) has it too. server: the server alone. silos: those that ask alone."},
    {.key = "federation.rounds",
     WITH_ROUNDS,
     .type = CR_OPTION_SIZE,
     AT(federation.rounds),
     .fallback = "10",
     .least = 1,
     .most = 1e6,
     .help = "Rounds of the federation."},
    {.key = "federation.local_steps",
     WITH_ROUNDS,
     .type = CR_OPTION_SIZE,
     AT(federation.local_steps),
     .fallback = "0",
     .least = 0,
     .most = 1e6,
     .help = "Optimiser steps that each silo trains in a round; 0: local_epochs decides."},
    {.key = "federation.local_epochs",
     WITH_ROUNDS,
     .type = CR_OPTION_NUMBER,
     AT(federation.local_epochs),
     .fallback = "1.0",
     .least = 0,
     .most = 1000,
     .help = "Passes of each silo over its own data in a round, where local_steps is 0."},
    {.key = "federation.min_clients",
     .type = CR_OPTION_SIZE,
     AT(federation.min_clients),
     .fallback = "0",
     .least = 0,
     .most = 1024,
     .help =
         "Silos that a round needs to begin and to close; 0: as many as `silos` lists, or 1 where it lists "
         "none."},
    {.key = "federation.deadline",
     WITH_ROUNDS,
     .type = CR_OPTION_NUMBER,
     AT(federation.deadline),
     .fallback = "0",
     .least = 0,
     .most = 1e7,
     .help = "Seconds after which a round closes as soon as min_clients have answered; 0: it waits for every "
             "silo that takes part."},
    {.key = "federation.optimizer_state",
     WITH_ROUNDS,
     .type = CR_OPTION_CHOICE,
     AT(federation.optimizer_state),
     .fallback = "keep",
     .choices = optimizer_states,
     .help = "Whether a silo keeps its optimiser's moments from round to round."},
    {.key = "federation.weighting",
     WITH_ROUNDS,
     .type = CR_OPTION_CHOICE,
     AT(federation.weighting),
     .fallback = "labelled_tokens",
     .choices = weightings,
     .help = "What a silo counts for in the average: the labelled tokens that it trained on in the round, or "
             "the same as every other."},
    {.key = "federation.progress_timeout",
     .type = CR_OPTION_NUMBER,
     AT(federation.progress_timeout),
     .fallback = "120",
     .least = 3,
     .most = 1e6,
     .help = "Seconds without any sign of life after which a peer counts as gone. Long work shows signs of "
             "life all the time."},

    {.key = "attestation.attester",
     .type = CR_OPTION_CHOICE,
     AT(attestation.attester),
     .fallback = "auto",
     .choices = attesters,
     .help = "How this machine shows what runs on it, where the job has an appraisal policy. auto: gramine "
             "(SGX) or "
             "tsm (TDX, SEV-SNP), whichever is there. tpm: what was booted, which keeps no owner of the "
             "machine out. "
             "development: evidence that proves nothing; not in a program that is built for TEEs. A silo "
             "that joins "
             "gives it with --attester."},
    {.key = "attestation.tpm",
     .type = CR_OPTION_STRING,
     AT(attestation.tpm),
     .help =
         "The TPM's device, or a unix socket behind which one answers, where it is not /dev/tpmrm0. A silo "
         "that joins gives it with --tpm."},
    {.key = "attestation.sealing",
     .type = CR_OPTION_STRING,
     AT(attestation.sealing),
     .help =
         "Where the key comes from under which this machine seals what it keeps: gramine, snp, tpm, or "
         "development, a file beside it, which protects nothing from who holds the disk. auto, as without "
         "it: the machine's own where it has one, else development. A silo that joins gives it with "
         "--sealing."},
    {.key = "attestation.endorsements",
     .type = CR_OPTION_STRING,
     AT(attestation.endorsements),
     .help =
         "Directory of certificates, revocation lists and collateral for appraising the other ends' evidence "
         "(docs/ATTESTATION.md); read anew each time, so it may be refreshed while a run goes on. A silo "
         "that "
         "joins gives it with --endorsements."},

    {.key = "silos",
     .type = CR_OPTION_RECORDS,
     AT(silos),
     .records = &silo_table,
     .help = "The silos that `carrel simulate` starts."},
};

enum { OPTIONS = sizeof options / sizeof *options };

const struct cr_option_table cr_config_table = {
    .options = options,
    .count = OPTIONS,
    .struct_size = sizeof(struct cr_config),
};

// What was read is `config`'s own until it is found right.
static enum cr_status take(enum cr_status status, struct cr_config *config, struct cr_config *out)
{
    if (status == CR_OK)
        *out = *config;
    else
        cr_config_release(config);
    return status;
}

enum cr_status cr_config_read(const char *path, struct cr_config *out)
{
    return cr_config_read_with(path, NULL, 0, out);
}

enum cr_status cr_config_read_with(const char *path, const char *const *settings, size_t count,
                                   struct cr_config *out)
{
    struct cr_config config;
    size_t lines[OPTIONS];
    CR_TRY(cr_options_read(&cr_config_table, path, &config, lines));
    enum cr_status status = CR_OK;
    for (size_t i = 0; status == CR_OK && i < count; i++)
        status = cr_options_override(&cr_config_table, &config, settings[i], lines);
    if (status == CR_OK) status = cr_config_check(&config, path, lines);
    if (status == CR_OK) status = cr_config_check_files(&config, path, lines);
    return take(status, &config, out);
}

enum cr_status cr_config_parse(struct cr_slice yaml, const char *name, struct cr_config *out)
{
    struct cr_config config;
    size_t lines[OPTIONS];
    CR_TRY(cr_options_parse(&cr_config_table, yaml, name, &config, lines));
    return take(cr_config_check(&config, name, lines), &config, out);
}

void cr_config_release(struct cr_config *config)
{
    cr_options_release(&cr_config_table, config);
}

const char *cr_config_attester(const struct cr_config *config)
{
    return attesters[config->attestation.attester];
}

size_t cr_config_min_clients(const struct cr_config *config)
{
    if (config->federation.min_clients > 0) return config->federation.min_clients;
    return config->silos.count > 0 ? config->silos.count : 1;
}

enum cr_status cr_config_job(const struct cr_config *config, struct cr_buffer *yaml)
{
    // A shallow copy: strings are only read, and only the original is released.
    static char empty[] = "";
    struct cr_config job = *config;
    job.tuning.model_name_or_path = job.tuning.output_dir = empty;
    job.tuning.threads = 0;
    job.tuning.training.save_steps = 0;
    job.tuning.slicing.accelerators = (struct cr_string_list){0};
    job.tuning.slicing.own_accelerator = NULL;
    job.tuning.split.storage = 1; // the server's own affair
    job.tuning.data.train = job.tuning.data.eval = NULL;
    job.federation.address = empty;
    job.federation.advertise = NULL;
    job.federation.state_dir = empty;
    job.federation.job = job.federation.appraisal_policy = NULL; // the manifest has the policy itself
    job.federation.min_clients = cr_config_min_clients(config);
    job.attestation = (struct cr_attestation_config){0};
    job.silos = (struct cr_record_list){0};
    return cr_options_write(&cr_config_table, &job, yaml);
}

void cr_config_apply_rounds(struct cr_config *config)
{
    const struct cr_federation_config *federation = &config->federation;
    struct cr_training_config *training = &config->tuning.training;
    // Both factors are bounded by the table, so the product fits.
    training->max_steps = federation->rounds * federation->local_steps;
    if (federation->local_steps == 0)
        training->num_train_epochs = (double)federation->rounds * federation->local_epochs;
}
