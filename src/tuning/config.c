#include "tuning/config.h"

#include "base/address.h"
#include "crypto/stream.h"
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *const cr_method_names[] = {"lora", "full", "prefix_tuning", "spf", "lora+spf", NULL};
const char *const cr_spf_criteria[] = {"weight_l1", "gradient", "fisher", "random", NULL};
const char *const cr_spf_granularities[] = {"head", "row", "element", NULL};

// True for a finite number in [least, most).
static bool within(double number, double least, double most)
{
    return isfinite(number) && number >= least && number < most;
}

static enum cr_status check_lora(const struct cr_lora_config *lora)
{
    if (lora->r == 0) return cr_fail(CR_INVALID, "lora.r: 0: must be at least 1");
    if (!within(lora->lora_alpha, 0, INFINITY) || lora->lora_alpha == 0)
        return cr_fail(CR_INVALID, "lora.lora_alpha: %g: must be above 0", lora->lora_alpha);
    if (!within(lora->lora_dropout, 0, 1))
        return cr_fail(CR_INVALID, "lora.lora_dropout: %g: must be at least 0 and below 1",
                       lora->lora_dropout);
    return CR_OK;
}

static enum cr_status check_spf(const struct cr_tuning_config *config)
{
    const struct cr_spf_config *spf = &config->spf;
    if (!(spf->density >= 0 && spf->density <= 1))
        return cr_fail(CR_INVALID, "spf.density: %g: must be at least 0 and at most 1", spf->density);
    if (spf->density == 0 && config->method == CR_METHOD_SPF)
        return cr_fail(CR_INVALID, "spf.density: 0: nothing would be trained");
    if (spf->targets.modules.count == 0)
        return cr_fail(CR_INVALID, "spf.target_modules: empty: of which modules? (all-linear)");
    if (!cr_spf_calibrates(spf)) return CR_OK;
    if (spf->calibration_batches == 0)
        return cr_fail(CR_INVALID, "spf.calibration_batches: 0: must be at least 1");
    // A federation's server has no training data, and every silo must train the same places. A split model's
    // server has what its silos send.
    if (!cr_tuning_config_trains(config) && !cr_tuning_config_split(config))
        return cr_fail(CR_INVALID, "spf.criterion: gradient and fisher look at training data, which a "
                                   "federation's server has not when it begins (weight_l1 and random do "
                                   "without)");
    return CR_OK;
}

static enum cr_status check_training(const struct cr_training_config *training)
{
    double least_epsilon = training->optim == CR_OPTIMIZER_ADAMW ? CR_LEAST_ADAM_EPSILON : 0;
    const struct {
        const char *key;
        double value, least, most;
    } numbers[] = {
        {"learning_rate", training->learning_rate, 0, INFINITY},
        {"weight_decay", training->weight_decay, 0, INFINITY},
        {"adam_beta1", training->adam_beta1, 0, 1},
        {"adam_beta2", training->adam_beta2, 0, 1},
        {"adam_epsilon", training->adam_epsilon, least_epsilon, INFINITY},
        {"momentum", training->momentum, 0, 1},
        {"max_grad_norm", training->max_grad_norm, 0, INFINITY},
        {"num_train_epochs", training->num_train_epochs, 0, 1e9},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!within(numbers[i].value, numbers[i].least, numbers[i].most))
            return cr_fail(CR_INVALID, "training.%s: %g: must be at least %g and below %g", numbers[i].key,
                           numbers[i].value, numbers[i].least, numbers[i].most);
    if (training->per_device_train_batch_size == 0)
        return cr_fail(CR_INVALID, "training.per_device_train_batch_size: 0: must be at least 1");
    if (training->gradient_accumulation_steps == 0)
        return cr_fail(CR_INVALID, "training.gradient_accumulation_steps: 0: must be at least 1");
    if (training->max_steps == 0 && training->num_train_epochs == 0)
        return cr_fail(CR_INVALID,
                       "training.num_train_epochs: 0, and max_steps is 0 too: nothing would be trained");
    return CR_OK;
}

const char cr_peer_pads_warning[] =
    "slicing.pads: peer protects from no one who runs, or can look into, both the first accelerator and "
    "another: together they see everything that pads hide. It is for accelerators of operators who do not "
    "work together";

// Whether two addresses have the same owner, as far as addresses tell: the same place, or the same key.
static bool same_owner(const char *a, const char *b)
{
    const char *key = strchr(a, '#'), *other = strchr(b, '#');
    return strcmp(a, b) == 0 || (key && other && strcasecmp(key, other) == 0);
}

static enum cr_status check_addresses(const struct cr_slicing_config *slicing)
{
    char *const *addresses = slicing->accelerators.items;
    for (size_t i = 0; i < slicing->accelerators.count; i++) {
        bool tls;
        enum cr_status status = cr_stream_is_tls(addresses[i], &tls);
        if (status != CR_OK) return cr_fail_within(status, "slicing.accelerators");
        if (slicing->pads != CR_PADS_MODE_PEER) continue;
        if (!tls && !cr_address_is_unix(addresses[i]))
            return cr_fail(
                CR_INVALID,
                "slicing.accelerators: %s: not in the clear with slicing.pads: peer, where who sees "
                "the pads and what they hide sees everything (tls:HOST:PORT#KEY, or unix:PATH)",
                addresses[i]);
        for (size_t j = 0; j < i; j++)
            if (same_owner(addresses[i], addresses[j]))
                return cr_fail(CR_INVALID,
                               "slicing.accelerators: %s: the same accelerator as number %zu, where "
                               "slicing.pads: peer needs others",
                               addresses[i], j + 1);
    }
    return CR_OK;
}

// Only an accelerator that the silo declares its own gets texts in the clear, and they never leave the
// machine.
static enum cr_status check_front(const struct cr_tuning_config *config)
{
    const struct cr_slicing_config *slicing = &config->slicing;
    if (slicing->clear_front == CR_CLEAR_FRONT_NONE) {
        if (slicing->own_accelerator)
            return cr_fail(CR_INVALID, "slicing.own_accelerator: only with slicing.clear_front: local, which "
                                       "asks it");
        return CR_OK;
    }
    if (!cr_tuning_config_sliced(config))
        return cr_fail(CR_INVALID, "slicing.clear_front: not with slicing.pads: none, where all layers are "
                                   "computed here");
    // A server has no texts.
    if (config->data.train && !slicing->own_accelerator)
        return cr_fail(CR_INVALID, "slicing.clear_front: local sends texts to an accelerator in the clear: "
                                   "name one that is your own in slicing.own_accelerator");
    if (slicing->own_accelerator && !cr_address_is_unix(slicing->own_accelerator))
        return cr_fail(CR_INVALID,
                       "slicing.own_accelerator: %s: texts go in the clear to a unix socket of "
                       "this machine alone (unix:PATH)",
                       slicing->own_accelerator);
    return CR_OK;
}

enum cr_status cr_tuning_config_check_accelerators(const struct cr_tuning_config *config)
{
    size_t count = config->slicing.accelerators.count;
    int pads = config->slicing.pads;
    if (pads == CR_PADS_MODE_ENCLAVE && count != 1)
        return cr_fail(CR_INVALID, "slicing.accelerators: %zu where slicing.pads: enclave takes one address",
                       count);
    if (pads == CR_PADS_MODE_PEER && (count < 2 || count > CR_MOST_ACCELERATORS))
        return cr_fail(CR_INVALID,
                       "slicing.accelerators: %zu where slicing.pads: peer takes 2 to %d addresses", count,
                       CR_MOST_ACCELERATORS);
    return CR_OK;
}

static enum cr_status check_slicing(const struct cr_tuning_config *config)
{
    const struct cr_slicing_config *slicing = &config->slicing;
    if (!cr_tuning_config_sliced(config)) {
        if (slicing->accelerators.count > 0)
            return cr_fail(CR_INVALID, "slicing.accelerators: not with slicing.pads: none, which asks none");
        if (slicing->spill != CR_SPILL_MODE_NONE)
            return cr_fail(CR_INVALID, "slicing.spill: not with slicing.pads: none, where the whole model is "
                                       "in memory");
        return CR_OK;
    }
    if (config->method == CR_METHOD_FULL)
        return cr_fail(CR_INVALID, "slicing.pads: not with method: full, which changes the frozen matrices");
    CR_TRY(check_addresses(slicing));
    // A federation's server trains nothing, and asks no accelerators.
    return cr_tuning_config_trains(config) ? cr_tuning_config_check_accelerators(config) : CR_OK;
}

static enum cr_status check_split(const struct cr_tuning_config *config)
{
    if (!cr_tuning_config_split(config)) return CR_OK;
    if (!cr_method_has_lora(config->method) && !cr_method_has_spf(config->method))
        return cr_fail(CR_INVALID,
                       "split.activations: only with method: lora, spf or lora+spf, which can tune "
                       "the server's layers alone");
    if (config->slicing.clear_front != CR_CLEAR_FRONT_NONE)
        return cr_fail(CR_INVALID, "slicing.clear_front: not with split.activations, where the layers below "
                                   "split.layers are the silos'");
    if (config->data.train)
        return cr_fail(CR_INVALID,
                       "split.activations: one process alone tunes a whole model (carrel simulate "
                       "runs a server and its silos)");
    return CR_OK;
}

enum cr_status cr_tuning_config_check(const struct cr_tuning_config *config)
{
    if (!config->model_name_or_path)
        return cr_fail(CR_INVALID, "model_name_or_path: not given: which model is to be tuned?");
    if (config->data.max_length < 2)
        return cr_fail(CR_INVALID, "data.max_length: %zu: must be at least 2", config->data.max_length);
    if (config->method == CR_METHOD_FULL && config->load_in_8bit)
        return cr_fail(CR_INVALID, "load_in_8bit: not with method: full, which changes the weights");
    if (config->method != CR_METHOD_FULL && config->random_init)
        return cr_fail(CR_INVALID, "random_init: only with method: full (an adapter on a random model "
                                   "learns nothing useful)");
    if (cr_method_has_lora(config->method)) CR_TRY(check_lora(&config->lora));
    if (cr_method_has_spf(config->method)) CR_TRY(check_spf(config));
    if (config->method == CR_METHOD_PREFIX_TUNING && config->prefix_tuning.num_virtual_tokens == 0)
        return cr_fail(CR_INVALID, "prefix_tuning.num_virtual_tokens: 0: must be at least 1");
    CR_TRY(check_slicing(config));
    CR_TRY(check_front(config));
    CR_TRY(check_split(config));
    return check_training(&config->training);
}

enum cr_status cr_tuning_config_check_split(const struct cr_tuning_config *config, size_t layers)
{
    if (config->split.layers < layers) return CR_OK;
    return cr_fail(CR_INVALID, "split.layers: %zu: the model has %zu, and the last is the server's",
                   config->split.layers, layers);
}

// Whether a target is the whole name of a module in this layer of a model of some layout: such names are
// adapted whatever the list of layers says.
static bool is_in_layer(const char *target, size_t layer)
{
    static const enum cr_layout layouts[] = {CR_LAYOUT_LLAMA, CR_LAYOUT_GPT2};
    bool is = false;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        char start[48];
        snprintf(start, sizeof start, "%s.%zu.", cr_layers_path(layouts[i]), layer);
        is = is || strncmp(target, start, strlen(start)) == 0;
    }
    return is;
}

static enum cr_status keep_to_tail(const char *section, const struct cr_size_list *tail,
                                   struct cr_targets *targets)
{
    for (size_t i = 0; i < targets->modules.count; i++)
        for (size_t layer = 0; layer < tail->items[0]; layer++)
            if (is_in_layer(targets->modules.items[i], layer))
                return cr_fail(CR_INVALID,
                               "%s.target_modules: %.100s lies in a layer of the silos, who have those below "
                               "split.layers: %zu and know nothing of what is tuned",
                               section, targets->modules.items[i], tail->items[0]);
    for (size_t i = 0; i < targets->layers.count; i++)
        if (targets->layers.items[i] < tail->items[0])
            return cr_fail(CR_INVALID,
                           "%s.layers_to_transform: layer %zu is the silos', who have those below "
                           "split.layers: %zu and know nothing of what is tuned",
                           section, targets->layers.items[i], tail->items[0]);
    if (targets->layers.count == 0) targets->layers = *tail;
    return CR_OK;
}

enum cr_status cr_tuning_config_tail(const struct cr_tuning_config *config, size_t layers,
                                     struct cr_tuning_config *out, size_t **tail)
{
    struct cr_tuning_config own = *config;
    size_t first = config->split.layers;
    CR_FREE size_t *numbers = NULL;
    if (cr_tuning_config_split(config)) {
        CR_TRY(cr_tuning_config_check_split(config, layers));
        CR_TRY(cr_allocate(layers - first, sizeof *numbers, &numbers));
        for (size_t i = first; i < layers; i++) numbers[i - first] = i;
        const struct cr_size_list list = {numbers, layers - first};
        CR_TRY(keep_to_tail("lora", &list, &own.lora.targets));
        CR_TRY(keep_to_tail("spf", &list, &own.spf.targets));
    }
    *out = own;
    *tail = numbers;
    numbers = NULL;
    return CR_OK;
}

size_t cr_tuning_config_prefix(const struct cr_tuning_config *config)
{
    return config->method == CR_METHOD_PREFIX_TUNING ? config->prefix_tuning.num_virtual_tokens : 0;
}

enum cr_status cr_tuning_config_check_context(const struct cr_tuning_config *config, size_t context)
{
    size_t length = config->data.max_length, prefix = cr_tuning_config_prefix(config);
    if (length > context)
        return cr_fail(CR_INVALID, "data.max_length: %zu: the model's context is %zu tokens", length,
                       context);
    if (prefix > context - length)
        return cr_fail(
            CR_INVALID,
            "data.max_length: %zu: with prefix_tuning.num_virtual_tokens %zu more than the model's "
            "context of %zu",
            length, prefix, context);
    return CR_OK;
}
