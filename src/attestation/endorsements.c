#include "attestation/endorsements.h"
#include "attestation/encoding.h"
#include "attestation/hcl.h"
#include "attestation/quote.h"
#include "base/clock.h"
#include "base/file.h"
#include "format/json.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    FILE_LIMIT = 1 << 20,
    MOST_FILES = 10000,
    MOST_STATEMENTS = 4096,
    MOST_BROUGHT = 256,
    DIRECTORY_DEPTH = 8,
    TEXT_DEPTH = 4, // levels of JSON within strings of JSON
};

enum cr_status cr_endorsements_new(struct cr_endorsements **out)
{
    struct cr_endorsements *endorsements;
    CR_TRY(cr_allocate(1, sizeof *endorsements, &endorsements));
    enum cr_status status = cr_x509_pool_new(&endorsements->pool);
    if (status != CR_OK) {
        free(endorsements);
        return status;
    }
    *out = endorsements;
    return CR_OK;
}

static void release_statement(struct cr_statement *statement)
{
    cr_buffer_release(&statement->text);
    cr_json_release(&statement->body);
}

void cr_endorsements_free(struct cr_endorsements *endorsements)
{
    if (!endorsements) return;
    for (size_t i = 0; i < endorsements->count; i++) release_statement(&endorsements->statements[i]);
    for (size_t i = 0; i < endorsements->brought_count; i++) cr_buffer_release(&endorsements->brought[i]);
    free(endorsements->statements);
    free(endorsements->brought);
    cr_x509_pool_free(endorsements->pool);
    free(endorsements);
}

void cr_endorsements_release(struct cr_endorsements **endorsements)
{
    cr_endorsements_free(*endorsements);
    *endorsements = NULL;
}

static bool parse_time(const struct cr_json *body, const char *key, int64_t *out)
{
    struct cr_slice text = cr_json_string(cr_json_member(body, key));
    return text.data && cr_clock_parse((const char *)text.data, out);
}

static bool parse_kind(const struct cr_json *body, enum cr_statement_kind *out)
{
    static const char *const ids[] = {[CR_TCB_INFO_SGX] = "SGX",
                                      [CR_TCB_INFO_TDX] = "TDX",
                                      [CR_QE_IDENTITY] = "QE",
                                      [CR_TD_QE_IDENTITY] = "TD_QE"};
    const struct cr_json *id = cr_json_member(body, "id");
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        if (!cr_json_is_string(id, ids[i])) continue;
        *out = (enum cr_statement_kind)i;
        return true;
    }
    *out = CR_TCB_INFO_SGX;
    return !id && cr_json_member(body, "fmspc"); // version 2 has no id
}

// A statement without the members that all have is skipped, like any other useless file.
static enum cr_status add_statement(struct cr_endorsements *endorsements, struct cr_slice text,
                                    struct cr_slice signature)
{
    CR_CLEANUP(release_statement) struct cr_statement statement = {0};
    if (!signature.data || signature.size != 2 * sizeof statement.signature ||
        cr_hex_decode((const char *)signature.data, statement.signature, sizeof statement.signature) != CR_OK)
        return CR_OK;
    CR_TRY(cr_append(&statement.text, text.data, text.size));
    enum cr_status status = cr_json_parse(text, "a signed statement", &statement.body);
    if (status == CR_NO_MEMORY) return status;
    if (status != CR_OK || !parse_kind(statement.body, &statement.kind) ||
        !parse_time(statement.body, "issueDate", &statement.issued) ||
        !parse_time(statement.body, "nextUpdate", &statement.next) ||
        cr_json_get_size(statement.body, "a signed statement", "tcbEvaluationDataNumber", 0, UINT32_MAX, 0,
                         &statement.evaluation) != CR_OK)
        return CR_OK;
    if (endorsements->count == MOST_STATEMENTS)
        return cr_fail(CR_INVALID, "more than %d TCB infos and QE identities", MOST_STATEMENTS);
    CR_TRY(cr_reallocate(endorsements->count + 1, sizeof statement, &endorsements->statements));
    endorsements->statements[endorsements->count++] = statement;
    statement = (struct cr_statement){0}; // theirs now
    return CR_OK;
}

static enum cr_status add(struct cr_endorsements *endorsements, struct cr_slice bytes, size_t depth);

// Keeps a copy, up to a limit beyond which more would be of no use.
static enum cr_status add_brought(struct cr_endorsements *endorsements, struct cr_slice bytes)
{
    if (endorsements->brought_count == MOST_BROUGHT) return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer copy = {0};
    CR_TRY(cr_append(&copy, bytes.data, bytes.size));
    CR_TRY(cr_reallocate(endorsements->brought_count + 1, sizeof copy, &endorsements->brought));
    endorsements->brought[endorsements->brought_count++] = copy;
    copy = (struct cr_buffer){0}; // theirs now
    return CR_OK;
}

// Adds a JSON string: the value of a member, or an item of a list.
static enum cr_status add_string(struct cr_endorsements *endorsements, const struct cr_json *value,
                                 size_t depth)
{
    struct cr_slice text = cr_json_string(value);
    return text.size > 0 ? add(endorsements, text, depth) : CR_OK;
}

static enum cr_status add_object(struct cr_endorsements *endorsements, struct cr_slice text,
                                 const struct cr_json *object, size_t depth)
{
    static const struct {
        const char *body, *signature;
    } pairs[] = {
        {"tcbInfo", "signature"},
        {"enclaveIdentity", "signature"},
        {"tcb_info", "tcb_info_signature"},
        {"qe_identity", "qe_identity_signature"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const struct cr_json *body = cr_json_member(object, pairs[i].body);
        struct cr_slice signature = cr_json_string(cr_json_member(object, pairs[i].signature));
        struct cr_slice signed_text = cr_json_string(body);
        if (cr_json_kind(body) == CR_JSON_OBJECT && !cr_json_member_text(text, pairs[i].body, &signed_text))
            continue;
        if (signed_text.size > 0) CR_TRY(add_statement(endorsements, signed_text, signature));
    }
    void *position = NULL;
    const char *key;
    const struct cr_json *value;
    while (cr_json_next(object, &position, &key, &value)) {
        CR_TRY(add_string(endorsements, value, depth));
        CR_CLEANUP(cr_buffer_release) struct cr_buffer listed = {0};
        bool is_one;
        CR_TRY(cr_encoding_list(value, &listed, &is_one));
        if (is_one) CR_TRY(add(endorsements, cr_buffer_slice(&listed), depth));
        for (size_t i = 0; i < cr_json_count(value) && !is_one && cr_json_kind(value) == CR_JSON_ARRAY; i++)
            CR_TRY(add_string(endorsements, cr_json_at(value, i), depth));
    }
    struct cr_slice name, inner;
    for (size_t at = 0; cr_json_next_text(text, &at, &name, &inner);)
        if (inner.size > 0 && inner.data[0] == '{') CR_TRY(add(endorsements, inner, depth));
    return CR_OK;
}

static enum cr_status add(struct cr_endorsements *endorsements, struct cr_slice bytes, size_t depth)
{
    size_t found = 0, at = 0;
    if (depth > TEXT_DEPTH) return CR_OK;
    if (cr_hcl_is_one(bytes) || cr_quote_is_one(bytes)) return add_brought(endorsements, bytes);
    while (at < bytes.size && memchr(" \t\r\n", bytes.data[at], 4)) at++;
    if (at < bytes.size && bytes.data[at] == '{') {
        CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
        enum cr_status status = cr_json_parse(bytes, "endorsements", &root);
        if (status == CR_OK) return add_object(endorsements, bytes, root, depth + 1);
        return status == CR_INVALID ? CR_OK : status;
    }
    CR_TRY(cr_x509_pool_add(endorsements->pool, bytes, &found));
    if (found > 0) return CR_OK;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer decoded = {0};
    enum cr_status status = cr_encoding_decode(bytes, &decoded);
    if (status == CR_OK) return add(endorsements, cr_buffer_slice(&decoded), depth + 1);
    return status == CR_INVALID ? CR_OK : status;
}

enum cr_status cr_endorsements_add(struct cr_endorsements *endorsements, struct cr_slice bytes)
{
    return add(endorsements, bytes, 0);
}

static enum cr_status read_directory(struct cr_endorsements *endorsements, const char *path, size_t depth,
                                     size_t *files);

static enum cr_status read_entry(struct cr_endorsements *endorsements, const char *path, size_t depth,
                                 size_t *files)
{
    struct stat about;
    if (stat(path, &about) != 0) return cr_fail_errno(CR_NOT_FOUND, "%s", path);
    if (S_ISDIR(about.st_mode)) return read_directory(endorsements, path, depth + 1, files);
    if (!S_ISREG(about.st_mode) || about.st_size > FILE_LIMIT) return CR_OK;
    if (++*files > MOST_FILES) return cr_fail(CR_INVALID, "more than %d files", MOST_FILES);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    CR_TRY(cr_file_read(path, FILE_LIMIT, &bytes));
    enum cr_status status = cr_endorsements_add(endorsements, cr_buffer_slice(&bytes));
    return status == CR_OK ? CR_OK : cr_fail_within(status, "%s", path);
}

static void close_directory(DIR **directory)
{
    closedir(*directory);
}

static enum cr_status read_directory(struct cr_endorsements *endorsements, const char *path, size_t depth,
                                     size_t *files)
{
    if (depth > DIRECTORY_DEPTH) return cr_fail(CR_INVALID, "%s: directories within too many others", path);
    DIR *opened = opendir(path);
    if (!opened) return cr_fail_errno(CR_NOT_FOUND, "%s", path);
    CR_CLEANUP(close_directory) DIR *directory = opened;
    struct dirent *entry;
    for (errno = 0; (entry = readdir(directory)); errno = 0) {
        if (entry->d_name[0] == '.') continue;
        CR_FREE char *inner = NULL;
        CR_TRY(cr_path_join(path, entry->d_name, &inner));
        CR_TRY(read_entry(endorsements, inner, depth, files));
    }
    return errno == 0 ? CR_OK : cr_fail_errno(CR_IO, "%s: cannot be read", path);
}

enum cr_status cr_endorsements_read(struct cr_endorsements *endorsements, const char *path)
{
    size_t files = 0;
    return read_entry(endorsements, path, 0, &files);
}
