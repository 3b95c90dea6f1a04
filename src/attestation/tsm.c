#include "attestation/tsm.h"
#include "attestation/snp_table.h"
#include "base/file.h"
#include "base/parse.h"
#include "crypto/random.h"
#include "format/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ATTEMPTS = 4,
    ANSWER_LIMIT = 1 << 20, // the kernel's limit is 32 KiB; its text files report the size of a page
};

static void remove_entry(char **path)
{
    // A leftover entry does no harm: each call makes its own.
    if (*path) rmdir(*path);
    free(*path);
}

// A unique name, which neither another program nor a killed one can have used.
static enum cr_status make_entry(const char *root, char **out)
{
    unsigned char number[8];
    char name[2 * sizeof number + 1];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer path = {0};
    CR_FREE char *copy = NULL;
    CR_TRY(cr_random_bytes(number, sizeof number));
    cr_hex_encode((struct cr_slice){number, sizeof number}, name);
    CR_TRY(cr_append_format(&path, "%s/carrel-%s", root, name));
    CR_TRY(cr_copy_string(cr_buffer_text(&path), &copy));
    if (mkdir(copy, 0700) == 0) {
        *out = copy;
        copy = NULL;
        return CR_OK;
    }
    switch (errno) {
    case ENOENT:
        return cr_fail(CR_NOT_FOUND,
                       "%s: not there: the kernel has no configfs-tsm (Linux 6.7 and later, module "
                       "tsm_report), or configfs is not mounted",
                       root);
    case ENXIO:
        return cr_fail(CR_NOT_FOUND,
                       "%s: no provider: this is no guest under TDX or SEV-SNP, or its driver (tdx_guest, "
                       "sev_guest) is not loaded",
                       root);
    case EACCES:
    case EPERM:
        return cr_fail_errno(CR_IO, "%s: no entry can be made, which takes root", root);
    default:
        return cr_fail_errno(CR_IO, "%s: no entry can be made", root);
    }
}

// Reads one file of the entry.
static enum cr_status read_file(const char *entry, const char *name, struct cr_buffer *out)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(entry, name, &path));
    errno = 0;
    enum cr_status status = cr_file_read(path, ANSWER_LIMIT, out);
    if (status == CR_IO && errno == EBUSY)
        status =
            cr_fail(CR_IO, "%s: busy: an earlier request has not been answered yet (try again later)", path);
    return status;
}

// Reads a line of text, without its line break.
static enum cr_status read_line(const char *entry, const char *name, char *out, size_t size)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(read_file(entry, name, &text));
    size_t length = strcspn(cr_buffer_text(&text), "\n");
    if (length >= size) return cr_fail(CR_IO, "%s/%s: longer than expected", entry, name);
    memcpy(out, cr_buffer_text(&text), length);
    out[length] = 0;
    return CR_OK;
}

static enum cr_status read_number(const char *entry, const char *name, uint64_t *out)
{
    char text[24];
    CR_TRY(read_line(entry, name, text, sizeof text));
    if (!cr_parse_unsigned(text, out)) return cr_fail(CR_IO, "%s/%s: \"%s\" is no number", entry, name, text);
    return CR_OK;
}

static enum cr_status write_file(const char *entry, const char *name, struct cr_slice bytes)
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(entry, name, &path));
    return cr_file_put(path, bytes);
}

static enum cr_status read_provider(const char *entry, enum cr_evidence_type *type)
{
    char provider[64];
    CR_TRY(read_line(entry, "provider", provider, sizeof provider));
    if (strcmp(provider, "tdx_guest") == 0)
        *type = CR_EVIDENCE_TDX;
    else if (strcmp(provider, "sev_guest") == 0)
        *type = CR_EVIDENCE_SNP;
    else
        return cr_fail(CR_UNSUPPORTED, "%s/provider: \"%s\" is not known (tdx_guest, sev_guest)", entry,
                       provider);
    return CR_OK;
}

// The kernel refuses levels more privileged than its own; its floor is the most privileged one allowed.
static enum cr_status choose_level(const char *entry, uint64_t *writes)
{
    char floor[24];
    if (!cr_directory_has(entry, "privlevel_floor")) return CR_OK;
    CR_TRY(read_line(entry, "privlevel_floor", floor, sizeof floor));
    CR_TRY(write_file(entry, "privlevel", cr_slice_of_string(floor)));
    ++*writes;
    return CR_OK;
}

// Requests once. *undisturbed: whether only this call wrote to the entry, and every write took effect.
// (configfs processes a binary file's bytes when it is closed, and reports no error then.)
static enum cr_status ask(const char *entry, const unsigned char *report_data, struct cr_buffer *answer,
                          struct cr_buffer *table, bool *undisturbed)
{
    uint64_t before, after, writes = 0;
    CR_TRY(read_number(entry, "generation", &before));
    CR_TRY(choose_level(entry, &writes));
    CR_TRY(write_file(entry, "inblob", (struct cr_slice){report_data, CR_REPORT_DATA_SIZE}));
    writes++;
    CR_TRY(read_file(entry, "outblob", answer));
    if (cr_directory_has(entry, "auxblob")) CR_TRY(read_file(entry, "auxblob", table));
    CR_TRY(read_number(entry, "generation", &after));
    *undisturbed = after == before + writes;
    return CR_OK;
}

// Appends the report, with the certificates of the table if there are any.
static enum cr_status append_report(struct cr_slice report, struct cr_slice table, struct cr_buffer *out)
{
    struct cr_slice certificates[CR_SNP_TABLE_MOST];
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    size_t count = 0;
    if (table.size > 0) CR_TRY(cr_snp_table_parse(table, certificates, &count));
    if (count == 0) return cr_append(out, report.data, report.size);
    CR_TRY(cr_append_format(&text, "{"));
    CR_TRY(cr_json_append_hex(&text, "report", report));
    CR_TRY(cr_append_format(&text, ", \"certificates\": ["));
    for (size_t i = 0; i < count; i++) CR_TRY(cr_json_append_hex_item(&text, i, certificates[i]));
    CR_TRY(cr_append_format(&text, "]}\n"));
    return cr_append(out, text.data, text.size);
}

enum cr_status cr_tsm_attest(const char *root, const unsigned char report_data[CR_REPORT_DATA_SIZE],
                             enum cr_evidence_type *type, struct cr_buffer *out)
{
    CR_CLEANUP(remove_entry) char *entry = NULL;
    enum cr_evidence_type kind = CR_EVIDENCE_TYPES;
    CR_TRY(make_entry(root, &entry));
    CR_TRY(read_provider(entry, &kind));
    for (size_t i = 0; i < ATTEMPTS; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer answer = {0}, table = {0};
        bool undisturbed;
        CR_TRY(ask(entry, report_data, &answer, &table, &undisturbed));
        if (!undisturbed) continue;
        CR_TRY(append_report(cr_buffer_slice(&answer), cr_buffer_slice(&table), out));
        *type = kind;
        return CR_OK;
    }
    return cr_fail(CR_IO,
                   "%s: others wrote to it, or the kernel did not take what was written, %d times in a row",
                   entry, ATTEMPTS);
}
