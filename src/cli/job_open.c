// carrel job open: turns what a job released to its owner back into an adapter.
#include "cli/command.h"

#include "federation/learner.h"
#include "federation/released.h"
#include "tuning/place.h"

#include <string.h>

struct asked {
    const char *file, *job, *key, *model, *output;
};

// The job's settings, completed with this machine's.
static enum cr_status read_settings(const struct asked *asked, const struct cr_manifest *job, uint64_t seed,
                                    struct cr_config *config)
{
    CR_TRY(cr_config_parse_job(job->settings, config));
    struct cr_tuning_config *tuning = &config->tuning;
    CR_TRY(cr_replace_string(asked->model, &tuning->model_name_or_path));
    enum cr_status status = cr_place_check(asked->output, asked->model, tuning->method);
    if (status != CR_OK) return cr_fail_within(status, "--output");
    cr_config_apply_rounds(config);
    tuning->seed = seed;
    return CR_OK;
}

static enum cr_status save_with(const struct asked *asked, struct cr_released *released, void *learner)
{
    const struct cr_learner_kind *kind = &cr_learner_tuning;
    unsigned char structure[CR_SHA256_SIZE];
    size_t count;
    float *values = kind->values(learner, &count);
    CR_TRY(kind->digest(learner, structure));
    if (count != released->count || memcmp(structure, released->header.structure, sizeof structure) != 0)
        return cr_fail(CR_INVALID, "%s: was not tuned on %s (give the job's model with --model DIR)",
                       asked->file, asked->model);
    CR_TRY(cr_released_values(released, values));
    return kind->save(learner, asked->output);
}

static enum cr_status save(const struct asked *asked, const struct cr_manifest *job,
                           struct cr_released *released)
{
    CR_CLEANUP(cr_config_release) struct cr_config config = {0};
    void *learner;
    CR_TRY(read_settings(asked, job, released->header.seed, &config));
    CR_TRY(cr_learner_tuning.open(&config, NULL, &learner));
    enum cr_status status = save_with(asked, released, learner);
    cr_learner_tuning.free(learner);
    return status;
}

static enum cr_status open_result(const struct asked *asked)
{
    CR_CLEANUP(cr_manifest_release) struct cr_manifest job = {0};
    CR_CLEANUP(cr_released_release) struct cr_released released = {0};
    CR_CLEANUP(cr_identity_release) struct cr_identity *owner = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    CR_TRY(cr_manifest_read(asked->job, &job, NULL));
    CR_TRY(cr_identity_load(asked->key, NULL, &owner));
    CR_TRY(cr_released_open(asked->file, &job, owner, &released));
    CR_TRY(save(asked, &job, &released));
    CR_TRY(cr_append_format(&out, "%s holds the result of %s\n", asked->output, asked->file));
    return cr_command_print(cr_buffer_slice(&out));
}

enum cr_status cr_command_job_open(int argc, char **argv)
{
    struct asked asked = {0};
    bool done;
    const struct cr_flag items[] = {
        {"job", CR_FLAG_REQUIRED, &asked.job, "FILE", "the signed job that it is the result of"},
        {"key", CR_FLAG_REQUIRED, &asked.key, "DIR", "where the owner's key is, which signed that job"},
        {"model", CR_FLAG_REQUIRED, &asked.model, "DIR", "the model that was tuned"},
        {"output", CR_FLAG_REQUIRED, &asked.output, "DIR", "where the adapter is written, in the clear"},
    };
    const struct cr_flags flags = {
        "carrel job open FILE --job FILE --key DIR --model DIR --output DIR",
        "Opens result.sealed, which a server whose job has federation.release: owner leaves in its "
        "output_dir, "
        "and\nwrites what was tuned as a server would have that may: a PEFT adapter, a sparse change, or a "
        "model.",
        items,
        sizeof items / sizeof *items,
        1,
        1};
    CR_TRY(cr_command_flags(&flags, argc, argv, &asked.file, NULL, &done));
    return done ? CR_OK : open_result(&asked);
}
