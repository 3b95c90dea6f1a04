#include "federation/config_check.h"

#include "base/address.h"
#include "base/parse.h"
#include "base/socket.h"
#include "crypto/identity.h"
#include "crypto/stream.h"
#include "text/dataset.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum cr_status cr_config_check_name(const char *name)
{
    if (cr_certificate_is_name(name)) return CR_OK;
    return cr_fail(CR_INVALID, "\"%.80s\" is no name: 1 to 63 lower-case letters, digits and hyphens", name);
}

// Settings, with the lines where they were given.
struct source {
    const struct cr_config *config;
    const char *name;
    const size_t *lines;
};

CR_PRINTF(3, 4)
static enum cr_status fail_at(const struct source *source, const char *key, const char *format, ...)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer place = {0};
    char why[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    CR_TRY(cr_options_append_place(&cr_config_table, source->name, source->lines, key, &place));
    return cr_fail(CR_INVALID, "%s: %s", cr_buffer_text(&place), why);
}

static enum cr_status check_silos(const struct source *source)
{
    const struct cr_silo_config *silos = source->config->silos.items;
    size_t count = source->config->silos.count;
    for (size_t i = 0; i < count; i++) {
        enum cr_status status = cr_config_check_name(silos[i].name);
        if (status != CR_OK) return cr_fail_within(status, "%s: silos", source->name);
        for (size_t j = 0; j < i; j++)
            if (strcmp(silos[i].name, silos[j].name) == 0)
                return fail_at(source, "silos", "%s is listed twice", silos[i].name);
    }
    if (count > 0 && source->config->federation.min_clients > count)
        return fail_at(source, "federation.min_clients", "%zu, but silos lists %zu",
                       source->config->federation.min_clients, count);
    return CR_OK;
}

// Refuses duplicates: they would count once, which the author cannot have meant.
static enum cr_status check_places(const struct source *source, const struct cr_targets *targets,
                                   const char *layers_key, const char *modules_key)
{
    const struct cr_size_list *layers = &targets->layers;
    const struct cr_string_list *modules = &targets->modules;
    for (size_t i = 0; i < layers->count; i++)
        for (size_t j = 0; j < i; j++)
            if (layers->items[i] == layers->items[j])
                return fail_at(source, layers_key, "%zu is listed twice", layers->items[i]);
    for (size_t i = 0; i < modules->count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(modules->items[i], modules->items[j]) == 0)
                return fail_at(source, modules_key, "%s is listed twice", modules->items[i]);
    // PEFT accepts all-linear only by itself; beside other names it takes it for a module's name.
    for (size_t i = 0; i < modules->count && modules->count > 1; i++)
        if (strcmp(modules->items[i], "all-linear") == 0)
            return fail_at(source, modules_key, "all-linear stands alone, not beside names");
    return CR_OK;
}

static bool is_tabbed(const char *path)
{
    return path && cr_ends_with(path, ".tsv");
}

// Whether there may be rows of sentence and label: a file of that kind is named, or no file is and a silo
// brings its own.
static bool may_be_labelled(const struct cr_config *config)
{
    const struct cr_data_config *data = &config->tuning.data;
    const struct cr_silo_config *silos = config->silos.items;
    bool labelled = is_tabbed(data->train) || is_tabbed(data->eval);
    for (size_t i = 0; i < config->silos.count; i++)
        labelled = labelled || is_tabbed(silos[i].data) || is_tabbed(silos[i].eval);
    return labelled || (!data->train && config->silos.count == 0);
}

static enum cr_status check_labels(const struct source *source)
{
    static const char why[] = "for a .tsv, and no data here is one";
    const struct cr_data_config *data = &source->config->tuning.data;
    if (may_be_labelled(source->config)) return CR_OK;
    if (data->label_words.count > 0) return fail_at(source, "data.label_words", why);
    if (strcmp(data->label_prompt, CR_LABEL_PROMPT) != 0) return fail_at(source, "data.label_prompt", why);
    return CR_OK;
}

enum cr_status cr_config_check(const struct cr_config *config, const char *name, const size_t *lines)
{
    const struct source source = {config, name, lines};
    CR_TRY(cr_options_check(&cr_config_table, config, name, lines));
    if (config->tuning.random_init && config->tuning.method != CR_METHOD_FULL)
        return fail_at(&source, "random_init", "only method full can start from random weights");
    if (config->federation.local_steps == 0 && !(config->federation.local_epochs > 0))
        return fail_at(&source, "federation.local_epochs", "0, and local_steps is 0 too");
    const struct cr_tuning_config *tuning = &config->tuning;
    CR_TRY(check_places(&source, &tuning->lora.targets, "lora.layers_to_transform", "lora.target_modules"));
    CR_TRY(check_places(&source, &tuning->spf.targets, "spf.layers_to_transform", "spf.target_modules"));
    return check_silos(&source);
}

static enum cr_status name_output(const struct source *source)
{
    char *directory = source->config->tuning.output_dir;
    size_t size = strlen(directory);
    while (size > 0 && directory[size - 1] == '/') size--;
    size_t start = size;
    while (start > 0 && directory[start - 1] != '/') start--;
    size_t length = size - start, dots = strspn(directory + start, ".");
    if (length == 0 || (length <= 2 && dots >= length))
        return fail_at(source, "output_dir",
                       "\"%.200s\" does not end in a name (the run directory is that name with .run behind)",
                       directory);
    directory[size] = 0;
    return CR_OK;
}

// A result is given to others; the server's keys must not be.
static enum cr_status check_state(const struct source *source)
{
    const char *state = source->config->federation.state_dir, *output = source->config->tuning.output_dir;
    size_t size = strlen(state);
    while (size > 0 && state[size - 1] == '/') size--;
    if (size == strlen(output) && strncmp(state, output, size) == 0)
        return fail_at(source, "federation.state_dir",
                       "%.200s is output_dir too, and holds the server's secrets", output);
    return CR_OK;
}

static enum cr_status check_addresses(const struct source *source)
{
    const struct cr_federation_config *federation = &source->config->federation;
    const struct cr_slicing_config *slicing = &source->config->tuning.slicing;
    struct cr_address address;
    bool tls;
    if (cr_address_parse(federation->address, &address) != CR_OK)
        return fail_at(source, "federation.address", "%s", cr_error_message());
    if (federation->advertise && cr_address_parse(federation->advertise, &address) != CR_OK)
        return fail_at(source, "federation.advertise", "%s", cr_error_message());
    for (size_t i = 0; i < slicing->accelerators.count; i++) {
        const char *text = slicing->accelerators.items[i];
        if (cr_stream_is_tls(text, &tls) != CR_OK)
            return fail_at(source, "slicing.accelerators", "%s", cr_error_message());
        if (!tls && cr_socket_check(text) != CR_OK)
            return fail_at(source, "slicing.accelerators", "%s", cr_error_message());
    }
    const char *own = slicing->own_accelerator;
    if (own && cr_address_is_unix(own) && cr_socket_check(own) != CR_OK)
        return fail_at(source, "slicing.own_accelerator", "%s", cr_error_message());
    return CR_OK;
}

enum cr_status cr_config_check_files(struct cr_config *config, const char *name, const size_t *lines)
{
    const struct source source = {config, name, lines};
    CR_TRY(cr_options_check_paths(&cr_config_table, config, name, lines));
    CR_TRY(check_addresses(&source));
    CR_TRY(check_labels(&source));
    CR_TRY(name_output(&source));
    return check_state(&source);
}
