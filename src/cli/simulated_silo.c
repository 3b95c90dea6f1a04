#include "cli/simulated_silo.h"

#include "base/file.h"
#include "federation/invitation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOG_LIMIT = 1 << 24, INVITATION_SECONDS = 3600, WAIT_MILLISECONDS = 1000 };

static enum cr_status open_log(const char *path, int *out)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return cr_fail_errno(CR_IO, "%s", path);
    *out = fd;
    return CR_OK;
}

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
    CR_TRY(open_log(out->log, &log));
    out->said.out = fdopen(log, "w");
    if (!out->said.out) return cr_fail_errno(CR_NO_MEMORY, "%s", out->log);
    log = -1;
    return CR_OK;
}

void cr_simulated_silo_release(struct cr_simulated_silo *silo)
{
    cr_child_release(&silo->trusted);
    for (size_t i = 0; i < CR_SIMULATED_ACCELERATORS; i++) {
        cr_child_release(&silo->accelerators[i].child);
        free(silo->accelerators[i].log);
        free(silo->accelerators[i].address);
    }
    if (silo->said.out) fclose(silo->said.out);
    free(silo->state);
    free(silo->log);
    *silo = (struct cr_simulated_silo)CR_SIMULATED_SILO_NONE;
}

static enum cr_status hire(const struct cr_simulated_silo *silo, size_t number,
                           struct cr_simulated_accelerator *out)
{
    static const char *const names[CR_SIMULATED_ACCELERATORS][2] = {
        {"accelerator.sock", "accelerator.log"}, {"accelerator-2.sock", "accelerator-2.log"}};
    CR_FREE char *path = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer address = {0};
    CR_TRY(cr_path_join(silo->state, names[number][0], &path));
    CR_TRY(cr_append_format(&address, "unix:%s", path));
    CR_TRY(cr_copy_string(cr_buffer_text(&address), &out->address));
    CR_TRY(cr_path_join(silo->state, names[number][1], &out->log));
    CR_CLEANUP(cr_file_close) int log = -1;
    CR_TRY(open_log(out->log, &log));
    char threads[24];
    snprintf(threads, sizeof threads, "%zu", silo->threads);
    const char *const arguments[] = {
        "--model", silo->config->tuning.model_name_or_path, "--listen", out->address, "--threads", threads,
        NULL};
    return cr_child_start("carrel-accelerator", arguments, (const int[]){-1, log, log}, silo->lock,
                          &out->child);
}

enum cr_status cr_simulated_silo_hire(struct cr_simulated_silo *silo)
{
    static const size_t counts[] = {
        [CR_PADS_MODE_NONE] = 0, [CR_PADS_MODE_ENCLAVE] = 1, [CR_PADS_MODE_PEER] = 2};
    for (size_t i = 0; i < counts[silo->config->tuning.slicing.pads]; i++) {
        CR_TRY(hire(silo, i, &silo->accelerators[i]));
        silo->accelerator_count++;
    }
    return CR_OK;
}

static enum cr_status forget(const struct cr_simulated_silo *silo, const char *name)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(silo->state, name, &path));
    if (unlink(path) != 0 && errno != ENOENT) return cr_fail_errno(CR_IO, "%s: cannot be removed", path);
    return CR_OK;
}

// Whoever simulates is the owner of the job: what the silo agreed to before, with other settings perhaps, is
// no bar, and what it kept of that goes.
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

static enum cr_status pipe_token(const struct cr_simulated_silo *silo, int *out)
{
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer text = {0};
    CR_CLEANUP(cr_token_release) struct cr_token token = {0};
    CR_TRY(cr_invite(silo->config, silo->settings->name, "silo", INVITATION_SECONDS, &text));
    CR_TRY(cr_token_parse(cr_buffer_text(&text), &token));
    CR_TRY(agree_anew(silo, &token));
    return cr_child_pipe_line(cr_buffer_text(&text), out);
}

enum cr_status cr_simulated_silo_join(struct cr_simulated_silo *silo)
{
    CR_CLEANUP(cr_file_close) int token = -1;
    CR_TRY(pipe_token(silo, &token));
    char threads[24];
    snprintf(threads, sizeof threads, "%zu", silo->threads);
    const char *arguments[22 + 2 * CR_SIMULATED_ACCELERATORS] = {"join",
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
    for (size_t i = 0; i < silo->accelerator_count; i++) {
        arguments[count++] = "--accelerator";
        arguments[count++] = silo->accelerators[i].address;
    }
    if (!cr_tuning_config_split(&silo->config->tuning)) { // whose silos show nothing
        arguments[count++] = "--attester";
        arguments[count++] = cr_config_attester(silo->config);
    }
    if (silo->config->attestation.tpm) {
        arguments[count++] = "--tpm";
        arguments[count++] = silo->config->attestation.tpm;
    }
    if (silo->config->attestation.sealing) {
        arguments[count++] = "--sealing";
        arguments[count++] = silo->config->attestation.sealing;
    }
    if (silo->config->attestation.endorsements) {
        arguments[count++] = "--endorsements";
        arguments[count++] = silo->config->attestation.endorsements;
    }
    if (silo->config->tuning.slicing.clear_front == CR_CLEAR_FRONT_LOCAL) {
        arguments[count++] = "--own-accelerator"; // whose it is
        arguments[count++] = silo->accelerators[0].address;
    }
    return cr_child_start("carrel-enclave", arguments, (const int[]){token, -1, -1}, silo->lock,
                          &silo->trusted);
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

static enum cr_status name_failure(const struct cr_simulated_silo *silo, enum cr_status status,
                                   const char *what, const char *log)
{
    char why[1024];
    snprintf(why, sizeof why, "%s", cr_error_message());
    return cr_fail(status, "silo %s: %s%s (its log: %s)", silo->settings->name, what, why, log);
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
    return status == CR_OK ? CR_OK : name_failure(silo, status, "", silo->log);
}

// The last line of a log, which is where a program says why it ended.
static enum cr_status last_line(const char *path, struct cr_buffer *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_file_read(path, LOG_LIMIT, &text));
    if (text.size == 0) return CR_OK;
    text.data[text.size - 1] = 0;
    const char *line = strrchr(cr_buffer_text(&text), '\n');
    return cr_append_format(out, "%s", line ? line + 1 : cr_buffer_text(&text));
}

static enum cr_status check_accelerator(const struct cr_simulated_silo *silo,
                                        struct cr_simulated_accelerator *accelerator)
{
    cr_child_reap(&accelerator->child, false);
    if (accelerator->child.exit_code == 0) return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer word = {0};
    // One that was killed had no time for a word.
    if (accelerator->child.exit_code < 128) CR_TRY(last_line(accelerator->log, &word));
    enum cr_status status = cr_child_failure(&accelerator->child, cr_buffer_text(&word));
    return name_failure(silo, status, "its accelerator has ended: ", accelerator->log);
}

enum cr_status cr_simulated_silo_check_accelerators(struct cr_simulated_silo *silo)
{
    for (size_t i = 0; i < silo->accelerator_count; i++)
        CR_TRY(check_accelerator(silo, &silo->accelerators[i]));
    return CR_OK;
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
    for (size_t i = 0; i < silo->accelerator_count; i++) {
        cr_child_stop(&silo->accelerators[i].child);
        unlink(silo->accelerators[i].address + strlen("unix:"));
    }
}
