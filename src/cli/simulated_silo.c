#include "cli/simulated_silo.h"

#include "base/file.h"
#include "federation/invitation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INVITATION_SECONDS = 3600, WAIT_MILLISECONDS = 1000 };

enum cr_status cr_simulated_silo_open(const struct cr_config *config, size_t number, size_t threads, int lock,
                                      struct cr_simulated_silo *out)
{
    out->config = config;
    out->settings = (const struct cr_silo_config *)config->silos.items + number;
    out->threads = threads;
    out->lock = lock;
    CR_FREE char *folder = NULL;
    CR_TRY(cr_path_join(config->federation.state_dir, "silos", &folder));
    CR_TRY(cr_path_join(folder, out->settings->name, &out->state));
    CR_TRY(cr_directory_make(out->state, true));
    CR_TRY(cr_path_join(out->state, "log", &out->log));
    CR_CLEANUP(cr_file_close) int log = -1;
    CR_TRY(cr_child_log(out->log, &log));
    out->said.out = fdopen(log, "w");
    if (!out->said.out) return cr_fail_errno(CR_NO_MEMORY, "%s", out->log);
    log = -1;
    return CR_OK;
}

void cr_simulated_silo_release(struct cr_simulated_silo *silo)
{
    cr_child_release(&silo->trusted);
    cr_file_close(&silo->token);
    cr_local_accelerators_release(&silo->accelerators);
    cr_buffer_release(&silo->said.waiting);
    if (silo->said.out) fclose(silo->said.out);
    free(silo->state);
    free(silo->log);
    *silo = CR_SIMULATED_SILO_NONE;
}

enum cr_status cr_simulated_silo_hire(struct cr_simulated_silo *silo)
{
    const struct cr_tuning_config *tuning = &silo->config->tuning;
    if (cr_tuning_config_split(tuning)) return CR_OK; // only its server uses accelerators
    return cr_local_accelerators_hire(tuning, silo->state, silo->threads, silo->lock, &silo->accelerators);
}

static enum cr_status forget(const struct cr_simulated_silo *silo, const char *name)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(silo->state, name, &path));
    if (unlink(path) != 0 && errno != ENOENT) return cr_fail_errno(CR_IO, "%s: cannot be removed", path);
    return CR_OK;
}

// The user of a simulation owns the job: an agreement of the silo to earlier settings is no obstacle, and
// what it stored for that job is removed.
static enum cr_status agree_anew(const struct cr_simulated_silo *silo, const struct cr_token *token)
{
    CR_FREE char *path = NULL;
    CR_CLEANUP(cr_manifest_release) struct cr_manifest kept = {0};
    CR_TRY(cr_path_join(silo->state, "job.cbor", &path));
    if (cr_file_exists(path) && cr_manifest_read(path, &kept, NULL) == CR_OK &&
        memcmp(kept.digest, token->job, CR_SHA256_SIZE) == 0)
        return CR_OK;
    CR_TRY(forget(silo, "update.sealed"));
    CR_TRY(forget(silo, "seen.sealed"));
    return forget(silo, "job.cbor");
}

enum cr_status cr_simulated_silo_invite(struct cr_simulated_silo *silo)
{
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer text = {0};
    CR_CLEANUP(cr_token_release) struct cr_token token = {0};
    CR_TRY(cr_invite(silo->config, silo->settings->name, "silo", INVITATION_SECONDS, &text));
    CR_TRY(cr_token_parse(cr_buffer_text(&text), &token));
    CR_TRY(agree_anew(silo, &token));
    return cr_child_pipe_line(cr_buffer_text(&text), &silo->token);
}

enum cr_status cr_simulated_silo_join(struct cr_simulated_silo *silo)
{
    char threads[24];
    snprintf(threads, sizeof threads, "%zu", silo->threads);
    const char *arguments[22 + 2 * CR_LOCAL_ACCELERATORS] = {"join",
                                                             "-",
                                                             "--json",
                                                             "--state",
                                                             silo->state,
                                                             "--data",
                                                             silo->settings->data,
                                                             "--model",
                                                             silo->config->tuning.model_name_or_path,
                                                             "--threads",
                                                             threads};
    size_t count = 11;
    for (size_t i = 0; i < silo->accelerators.count; i++) {
        arguments[count++] = "--accelerator";
        arguments[count++] = silo->accelerators.items[i].address;
    }
    if (!cr_tuning_config_split(&silo->config->tuning)) { // whose silos present no evidence
        arguments[count++] = "--attester";
        arguments[count++] = cr_config_attester(silo->config);
    }
    if (silo->config->attestation.tpm) {
        arguments[count++] = "--tpm";
        arguments[count++] = silo->config->attestation.tpm;
    }
    arguments[count++] = "--sealing";
    arguments[count++] = cr_config_sealing(silo->config);
    if (silo->config->attestation.endorsements) {
        arguments[count++] = "--endorsements";
        arguments[count++] = silo->config->attestation.endorsements;
    }
    if (silo->config->tuning.slicing.clear_front == CR_CLEAR_FRONT_LOCAL) {
        arguments[count++] = "--own-accelerator"; // the silo's own accelerator
        arguments[count++] = silo->accelerators.items[0].address;
    }
    enum cr_status status = cr_child_start("carrel-enclave", arguments, (const int[]){silo->token, -1, -1},
                                           silo->lock, &silo->trusted);
    cr_file_close(&silo->token);
    return status;
}

static void keep_slicing(struct cr_simulated_silo *silo, const struct cr_event *event)
{
    silo->number_count = 0;
    for (size_t i = 0; i < event->field_count; i++) {
        const struct cr_event_field *field = &event->fields[i];
        if (field->text) continue;
        snprintf(silo->slicing[silo->number_count], sizeof *silo->slicing, "%s", field->name);
        silo->numbers[silo->number_count++] = field->number;
    }
}

static enum cr_status receive(void *context, const struct cr_event *event)
{
    struct cr_simulated_silo *silo = context;
    struct cr_event_sink log = cr_progress_sink(&silo->said);
    log.receive(log.context, event);
    if (strcmp(event->name, "train.slicing") == 0) keep_slicing(silo, event);
    return CR_OK;
}

enum cr_status cr_simulated_silo_follow(struct cr_simulated_silo *silo, bool wait)
{
    if (silo->trusted.pid == 0) return CR_OK;
    enum cr_child_news news = CR_CHILD_SPOKE;
    while (news == CR_CHILD_SPOKE || (wait && news == CR_CHILD_QUIET))
        CR_TRY(cr_child_read(&silo->trusted, wait ? WAIT_MILLISECONDS : 0, receive, silo, &news));
    if (news != CR_CHILD_ENDED) return CR_OK;
    cr_child_reap(&silo->trusted, true);
    fprintf(silo->said.out, "%s", cr_buffer_text(&silo->trusted.word));
    fflush(silo->said.out);
    return CR_OK;
}

enum cr_status cr_simulated_silo_check(const struct cr_simulated_silo *silo)
{
    enum cr_status status = cr_child_result(&silo->trusted);
    if (status == CR_OK) return CR_OK;
    return cr_fail(status, "silo %s: %s (its log: %s)", silo->settings->name, cr_error_message(), silo->log);
}

enum cr_status cr_simulated_silo_check_accelerators(struct cr_simulated_silo *silo)
{
    char whose[80];
    snprintf(whose, sizeof whose, "silo %s", silo->settings->name);
    return cr_local_accelerators_check(&silo->accelerators, whose);
}

void cr_simulated_silo_tell(const struct cr_simulated_silo *silo, const struct cr_event_sink *sink)
{
    struct cr_event_field fields[CR_EVENT_LINE_FIELDS + 1] = {CR_FIELD_TEXT("silo", silo->settings->name)};
    if (silo->number_count == 0) return;
    for (size_t i = 0; i < silo->number_count; i++)
        fields[i + 1] = CR_FIELD(silo->slicing[i], silo->numbers[i]);
    cr_event_send(sink, CR_EVENT_INFO, "simulate.slicing", NULL, fields, silo->number_count + 1);
}

void cr_simulated_silo_end(struct cr_simulated_silo *silo)
{
    cr_child_leave(&silo->trusted);
    cr_local_accelerators_end(&silo->accelerators);
}
