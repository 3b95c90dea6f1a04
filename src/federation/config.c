#include "federation/config_check.h"

#include "base/thread.h"
#include "text/dataset.h"

static const char *const dtypes[] = {"bfloat16", "float32", NULL};
static const char *const optimizers[] = {"adamw", "sgd", NULL};
static const char *const schedules[] = {"linear", "cosine", "constant", "constant_with_warmup", NULL};
static const char *const spill_modes[] = {"none", "sealed", NULL};
static const char *const clear_fronts[] = {"none", "local", NULL};
static const char *const pads_modes[] = {"none", "enclave", "peer", NULL};
static const char *const split_activations[] = {"none", "float32", "bfloat16", "int8", NULL};
static const char *const optimizer_states[] = {"reset", "keep", NULL};
static const char *const releases[] = {"all", "server", "silos", "owner", "sealed", NULL};
static const char *const attesters[] = {"auto", "gramine", "tsm", "tpm", "development", NULL};
static const char *const sealings[] = {"auto", "gramine", "snp", "tpm", "development", NULL};
static const char *const weightings[] = {"labelled_tokens", "uniform", NULL};

static const struct cr_option silo_options[] = {
    {.key = "name",
     .type = CR_OPTION_STRING,
     .offset = offsetof(struct cr_silo_config, name),
     .required = true,
     .help = "The silo's name: 1 to 63 lower-case letters, digits and hyphens."},
    {.key = "data",
     .type = CR_OPTION_STRING,
     .path = true,
     .offset = offsetof(struct cr_silo_config, data),
     .required = true,
     .help = "The silo's training data (JSONL)."},
    {.key = "eval",
     .type = CR_OPTION_STRING,
     .path = true,
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

static bool projects(const void *config)
{
    return uses_prefix(config) && ((const struct cr_config *)config)->tuning.prefix_tuning.prefix_projection;
}

static bool uses_adamw(const void *config)
{
    return ((const struct cr_config *)config)->tuning.training.optim == CR_OPTIMIZER_ADAMW;
}

static bool uses_sgd(const void *config)
{
    return ((const struct cr_config *)config)->tuning.training.optim == CR_OPTIMIZER_SGD;
}

static bool evaluates(const void *config)
{
    return ((const struct cr_config *)config)->tuning.data.eval != NULL;
}

static bool uses_pads(const void *config)
{
    return cr_tuning_config_sliced(&((const struct cr_config *)config)->tuning);
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
#define WITH_ADAMW .useful = uses_adamw, .with = "training.optim: adamw"
#define WITH_SGD .useful = uses_sgd, .with = "training.optim: sgd"
#define WITH_EVAL .useful = evaluates, .with = "data.eval"
#define WITH_PADS .useful = uses_pads, .with = "slicing.pads: enclave or peer"
#define WITH_SPLIT .useful = uses_split, .with = "split.activations"
#define WITH_ROUNDS .useful = uses_rounds, .with = "split.activations: none (a split model has no rounds)"

// Bounds are meant to catch typing mistakes and to keep products within size_t, not to set a policy. The
// order decides the bytes of jobs and is that of docs/CONFIG.md. The empty lines keep clang-format from
// sorting the includes.
static const struct cr_option options[] = {
#include "federation/config_model.inc"

#include "federation/config_method.inc"

#include "federation/config_training.inc"

#include "federation/config_slicing.inc"

#include "federation/config_federation.inc"
};

enum { OPTIONS = sizeof options / sizeof *options };

const struct cr_option_table cr_config_table = {
    .options = options,
    .count = OPTIONS,
    .struct_size = sizeof(struct cr_config),
};

// Moves `config` to *out if `status` is CR_OK, and releases it otherwise.
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
    config.epochs_given = cr_options_given(&cr_config_table, lines, "training.num_train_epochs");
    return take(status, &config, out);
}

enum cr_status cr_config_parse(struct cr_slice yaml, const char *name, struct cr_config *out)
{
    struct cr_config config;
    size_t lines[OPTIONS];
    CR_TRY(cr_options_parse(&cr_config_table, yaml, name, &config, lines));
    return take(cr_config_check(&config, name, lines), &config, out);
}

enum cr_status cr_config_parse_job(const char *settings, struct cr_config *out)
{
    return cr_config_parse(cr_slice_of_string(settings), "the job's settings", out);
}

void cr_config_release(struct cr_config *config)
{
    cr_options_release(&cr_config_table, config);
}

const char *cr_config_attester(const struct cr_config *config)
{
    return attesters[config->attestation.attester];
}

const char *cr_config_sealing(const struct cr_config *config)
{
    return sealings[config->attestation.sealing];
}

bool cr_release_gives_silos(int release)
{
    return release == CR_RELEASE_ALL || release == CR_RELEASE_SILOS;
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
    job.tuning.training.save_steps = job.tuning.training.eval_steps = 0;
    job.tuning.slicing.accelerators = (struct cr_string_list){0};
    job.tuning.slicing.own_accelerator = NULL;
    job.tuning.split.storage = 1; // concerns only the server
    job.tuning.data.train = job.tuning.data.eval = NULL;
    job.federation.address = empty;
    job.federation.advertise = NULL;
    job.federation.state_dir = empty;
    job.federation.job = job.federation.appraisal_policy = NULL; // the manifest contains the policy itself
    job.federation.min_clients = cr_config_min_clients(config);
    job.attestation = (struct cr_attestation_config){0};
    job.silos = (struct cr_record_list){0};
    return cr_options_write(&cr_config_table, &job, yaml);
}

#define IDLE                                                                                                 \
    " has no effect in a federation: federation.rounds and local_steps (or local_epochs) say how long each " \
    "silo trains"

const char *cr_config_idle_max_steps(const struct cr_config *config)
{
    const struct cr_federation_config *federation = &config->federation;
    size_t asked = config->tuning.training.max_steps;
    if (asked == 0 || asked == federation->rounds * federation->local_steps || uses_split(config))
        return NULL;
    return "training.max_steps" IDLE;
}

const char *cr_config_idle_epochs(const struct cr_config *config)
{
    const struct cr_federation_config *federation = &config->federation;
    double epochs = federation->local_steps > 0 ? 0 : (double)federation->rounds * federation->local_epochs;
    if (!config->epochs_given || config->tuning.training.num_train_epochs == epochs || uses_split(config))
        return NULL;
    return "training.num_train_epochs" IDLE;
}

#define UNREAD " no effect at a federation's server, which reads no data: the silos bring theirs"

const char *cr_config_idle_data(const struct cr_config *config)
{
    const struct cr_data_config *data = &config->tuning.data;
    if (data->train && data->eval) return "data.train and data.eval have" UNREAD;
    if (data->train) return "data.train has" UNREAD;
    return data->eval ? "data.eval has" UNREAD : NULL;
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
