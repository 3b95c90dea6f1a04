#include "cli/local_accelerators.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOG_LIMIT = 1 << 24 };

static enum cr_status hire(const struct cr_tuning_config *config, const char *directory, size_t number,
                           size_t threads, int lock, struct cr_local_accelerator *out)
{
    static const char *const names[CR_LOCAL_ACCELERATORS][2] = {{"accelerator.sock", "accelerator.log"},
                                                                {"accelerator-2.sock", "accelerator-2.log"}};
    CR_FREE char *path = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer address = {0};
    CR_TRY(cr_path_join(directory, names[number][0], &path));
    CR_TRY(cr_append_format(&address, "unix:%s", path));
    CR_TRY(cr_copy_string(cr_buffer_text(&address), &out->address));
    CR_TRY(cr_path_join(directory, names[number][1], &out->log));
    CR_CLEANUP(cr_file_close) int log = -1;
    CR_TRY(cr_child_log(out->log, &log));
    char text[24];
    snprintf(text, sizeof text, "%zu", threads);
    const char *const arguments[] = {
        "--model", config->model_name_or_path, "--listen", out->address, "--threads", text, NULL};
    return cr_child_start("carrel-accelerator", arguments, (const int[]){-1, log, log}, lock, &out->child);
}

enum cr_status cr_local_accelerators_hire(const struct cr_tuning_config *config, const char *directory,
                                          size_t threads, int lock, struct cr_local_accelerators *out)
{
    static const size_t counts[] = {
        [CR_PADS_MODE_NONE] = 0, [CR_PADS_MODE_ENCLAVE] = 1, [CR_PADS_MODE_PEER] = 2};
    for (size_t i = 0; i < counts[config->slicing.pads]; i++) {
        CR_TRY(hire(config, directory, i, threads, lock, &out->items[i]));
        out->count++;
    }
    return CR_OK;
}

// The last line of a log, where a program says why it ended.
static enum cr_status last_line(const char *path, struct cr_buffer *out)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_file_read(path, LOG_LIMIT, &text));
    if (text.size == 0) return CR_OK;
    text.data[text.size - 1] = 0;
    const char *line = strrchr(cr_buffer_text(&text), '\n');
    return cr_append_format(out, "%s", line ? line + 1 : cr_buffer_text(&text));
}

static enum cr_status check(struct cr_local_accelerator *accelerator, const char *whose)
{
    cr_child_reap(&accelerator->child, false);
    if (accelerator->child.exit_code == 0) return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer word = {0};
    // A killed program had no time to write one.
    if (accelerator->child.exit_code < 128) CR_TRY(last_line(accelerator->log, &word));
    enum cr_status status = cr_child_failure(&accelerator->child, cr_buffer_text(&word));
    return cr_fail(status, "%s: its accelerator has ended: %s (its log: %s)", whose, cr_error_message(),
                   accelerator->log);
}

enum cr_status cr_local_accelerators_check(struct cr_local_accelerators *accelerators, const char *whose)
{
    for (size_t i = 0; i < accelerators->count; i++) CR_TRY(check(&accelerators->items[i], whose));
    return CR_OK;
}

void cr_local_accelerators_end(struct cr_local_accelerators *accelerators)
{
    for (size_t i = 0; i < accelerators->count; i++) {
        cr_child_stop(&accelerators->items[i].child);
        unlink(accelerators->items[i].address + strlen("unix:"));
    }
}

void cr_local_accelerators_release(struct cr_local_accelerators *accelerators)
{
    for (size_t i = 0; i < CR_LOCAL_ACCELERATORS; i++) {
        cr_child_release(&accelerators->items[i].child);
        free(accelerators->items[i].log);
        free(accelerators->items[i].address);
    }
    *accelerators = (struct cr_local_accelerators)CR_LOCAL_ACCELERATORS_NONE;
}
