// Checks what a silo with a join token needs. Most of it depends on the job. If the silo has agreed to the
// job, its state contains it; before that, the token only has the job's digest.
#include "cli/preflight.h"

#include "base/words.h"
#include "federation/client.h"
#include "federation/client_base.h"
#include "federation/client_state.h"
#include "model/config.h"
#include "text/rows.h"
#include "text/tokenizer.h"

static enum cr_status check_model(struct cr_checks *checks, const char *directory)
{
    struct cr_model_config shape;
    struct cr_safetensors *weights;
    struct cr_tokenizer *tokenizer;
    if (cr_model_config_read(directory, &shape) != CR_OK || cr_tokenizer_open(directory, &tokenizer) != CR_OK)
        return cr_check_failure(checks, "model");
    cr_tokenizer_free(tokenizer);
    if (cr_safetensors_open(directory, &weights) != CR_OK) return cr_check_failure(checks, "model");
    cr_safetensors_free(weights);
    return cr_check_say(checks, CR_CHECK_OK, "model", "%s: %zu layer%s of width %zu, context %zu", directory,
                        shape.layers, cr_plural(shape.layers), shape.hidden, shape.context);
}

// Reads the file's rows. The job decides how many may be bad.
static enum cr_status check_rows(struct cr_checks *checks, const char *path)
{
    CR_CLEANUP(cr_row_reader_close) struct cr_row_reader rows = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer first = {0};
    size_t bad = 0;
    struct cr_row row;
    if (cr_row_reader_open(path, &rows) != CR_OK) return cr_check_failure(checks, "data");
    for (bool found = true; found;) {
        enum cr_status status = cr_row_reader_next(&rows, &found, &row);
        if (status == CR_OK) continue;
        if (status != CR_INVALID || rows.broken) return cr_check_failure(checks, "data");
        if (bad++ == 0) CR_TRY(cr_append_format(&first, "%s", cr_error_message()));
        found = true;
    }
    if (rows.count == bad)
        return cr_check_say(checks, CR_CHECK_FAILED, "data", "%s: no row can be read%s%s", path,
                            bad > 0 ? "; the first: " : "", cr_buffer_text(&first));
    char good[CR_COUNT_SIZE];
    CR_TRY(cr_check_say(checks, CR_CHECK_OK, "data", "%s: %s row%s can be read", path,
                        cr_count_text(rows.count - bad, good), cr_plural(rows.count - bad)));
    if (bad == 0) return CR_OK;
    return cr_check_say(checks, CR_CHECK_WARNING, "data",
                        "%s: %zu row%s cannot be read, and what may be passed over is the job's to "
                        "say; the first: %s",
                        path, bad, cr_plural(bad), cr_buffer_text(&first));
}

static enum cr_status say_unknown(struct cr_checks *checks)
{
    static const char *const rows[][2] = {
        {"model", "whether it is the job's"},
        {"data", "the job decides its chat template, length and label words"},
        {"memory", "the job decides what is trained, and as which numbers"},
        {"forward", "the job decides what a row becomes"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CR_TRY(cr_check_say(checks, CR_CHECK_UNKNOWN, rows[i][0], "%s; known once this silo is enrolled",
                            rows[i][1]));
    return CR_OK;
}

static enum cr_status before_job(struct cr_checks *checks, const struct cr_client_options *silo,
                                 const char *state)
{
    CR_TRY(check_model(checks, silo->model));
    CR_TRY(cr_preflight_place(checks, "output", state, 0));
    CR_TRY(cr_preflight_run(checks, state));
    CR_TRY(check_rows(checks, silo->data));
    return say_unknown(checks);
}

// Checks the base as joining does. A split model's silos only need the first layers, which the server
// compares.
static enum cr_status check_base(const struct cr_tuning_config *tuning, const struct cr_manifest *manifest)
{
    struct cr_base_digest base;
    if (cr_tuning_config_split(tuning)) return CR_OK;
    CR_TRY(cr_base_digest_read(tuning->model_name_or_path, tuning->random_init, &base));
    return cr_client_check_base(manifest, tuning->model_name_or_path, &base);
}

static enum cr_status of_job(struct cr_checks *checks, const struct cr_client_options *silo,
                             const char *state, const struct cr_manifest *manifest)
{
    CR_CLEANUP(cr_config_release) struct cr_config config = {0};
    char digest[CR_SHA256_HEX_SIZE];
    if (cr_config_parse_job(manifest->settings, &config) != CR_OK) return cr_check_failure(checks, "job");
    cr_sha256_hex(manifest->digest, digest);
    CR_TRY(cr_check_say(checks, CR_CHECK_OK, "job", "%s/job.cbor: job %s, which this silo agreed to", state,
                        digest));
    CR_TRY(cr_options_set(&cr_config_table, &config, "model_name_or_path", silo->model));
    CR_TRY(cr_options_set(&cr_config_table, &config, "data.train", silo->data));
    CR_TRY(cr_options_set(&cr_config_table, &config, "output_dir", state));
    if (!cr_tuning_config_split(&config.tuning)) cr_config_apply_rounds(&config);
    const struct cr_tuning_config *tuning = &config.tuning;
    if (check_base(tuning, manifest) != CR_OK) return cr_check_failure(checks, "model");
    if (cr_tuning_config_split(tuning)) return cr_preflight_cutter(checks, tuning);
    if (cr_tuning_config_sliced(tuning))
        CR_TRY(
            cr_check_say(checks, CR_CHECK_WARNING, "accelerator",
                         "not looked at: the job's slicing.pads asks for one, which `carrel join` is given "
                         "with --accelerator ADDRESS"));
    return cr_preflight_training(checks, tuning);
}

enum cr_status cr_preflight_token(struct cr_checks *checks, const char *text,
                                  const struct cr_client_options *silo)
{
    CR_CLEANUP(cr_token_release) struct cr_token token = {0};
    CR_CLEANUP(cr_client_look_release) struct cr_client_look look = {0};
    CR_FREE char *state = NULL;
    if (cr_token_parse(text, &token) != CR_OK) return cr_check_failure(checks, "token");
    CR_TRY(cr_client_state_path(silo, &token, &state));
    enum cr_status status = cr_client_state_look(state, &token, &look);
    if (status != CR_OK) CR_TRY(cr_check_failure(checks, "state"));
    CR_TRY(
        cr_preflight_silo(checks, &token, look.enrolled && look.has_manifest ? state : NULL, look.expired));
    CR_TRY(cr_preflight_sealing(checks, silo->sealing, silo->tpm, state));
    if (status != CR_OK) return CR_OK; // it is unknown whose job it would be
    if (!silo->model || !silo->data)
        return cr_check_say(
            checks, CR_CHECK_WARNING, "model",
            "not looked at: --model DIR and --data FILE are what `carrel join` will be given");
    return look.has_manifest ? of_job(checks, silo, state, &look.manifest) : before_job(checks, silo, state);
}
