// carrel inspect: tells what a file or directory is, with the readers that the other commands use.
#include "cli/admitted.h"
#include "cli/command.h"
#include "cli/model_flags.h"
#include "cli/say_manifest.h"
#include "cli/say_model.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mapping.h"
#include "base/parse.h"
#include "channel/token.h"
#include "crypto/seal.h"
#include "federation/config.h"
#include "format/json.h"
#include "text/dataset.h"
#include "text/rows.h"
#include "tuning/adapter.h"
#include "tuning/place.h"
#include "tuning/spf_file.h"
#include "tuning/state.h"

#include <string.h>
#include <sys/stat.h>

// How to count data; without a tokenizer, tokens are not counted.
struct reading {
    const char *tokenizer;
    enum cr_chat_template chat_template;
};

enum { TOKEN_LIMIT = 4096, PREFIX = 64 };

// Its content is shown by `carrel status`.
static enum cr_status say_run(struct cr_said *said, const char *path)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer command = {0};
    CR_TRY(cr_append_format(&command, "carrel status %s", path));
    CR_TRY(cr_say_text(said, "kind", "run"));
    return cr_say_text(said, "told_by", cr_buffer_text(&command));
}

// A checkpoint of an unfinished run, by its header; only the run itself checks the rest.
static enum cr_status say_state(struct cr_said *said, const char *path)
{
    CR_CLEANUP(cr_file_unmap) struct cr_slice bytes = {0};
    struct cr_state state;
    CR_TRY(cr_file_map(path, &bytes));
    const struct cr_slice header = {bytes.data, cr_least(bytes.size, CR_STATE_HEADER_SIZE)};
    CR_TRY(cr_state_parse_header(header, bytes.size, path, &state));
    CR_TRY(cr_say_text(said, "kind", "trainer state"));
    CR_TRY(cr_say_count(said, "step", (size_t)state.steps));
    return cr_say_count(said, "values", state.count);
}

static enum cr_status say_directory(struct cr_said *said, const char *path)
{
    CR_FREE char *adapter = NULL;
    CR_FREE char *model = NULL;
    CR_FREE char *state = NULL;
    CR_TRY(cr_path_join(path, "adapter_config.json", &adapter));
    CR_TRY(cr_file_look(adapter));
    if (cr_directory_has(path, "events.jsonl")) return say_run(said, path);
    CR_TRY(cr_path_join(path, "config.json", &model));
    const struct cr_adapter_kinds kinds = cr_adapter_look(path);
    if (kinds.peft) CR_TRY(cr_say_adapter(said, path, adapter));
    if (kinds.spf && !kinds.peft) CR_TRY(cr_say_text(said, "kind", "sparse change"));
    if (kinds.spf) return cr_say_change(said, path);
    if (kinds.peft) return CR_OK;
    if (cr_file_exists(model)) return cr_say_model(said, path, model);
    CR_TRY(cr_path_join(path, cr_place_state, &state));
    if (cr_file_exists(state)) return say_state(said, state); // a run without a result yet
    return cr_fail(CR_INVALID,
                   "%s: neither a model (config.json) nor an adapter (adapter_config.json), a sparse change "
                   "(%s), a run directory (events.jsonl) or an unfinished run's output_dir (%s)",
                   path, cr_spf_config_name, cr_place_state);
}

static enum cr_status say_special(struct cr_said *said, const char *key, const struct cr_tokenizer *tokenizer,
                                  bool there, uint32_t id)
{
    if (!there) return CR_OK;
    struct cr_slice token = cr_tokenizer_token(tokenizer, id);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_append(&text, token.data, token.size));
    return cr_say_text(said, key, cr_buffer_text(&text));
}

static enum cr_status say_tokenizer(struct cr_said *said, const char *path, const struct cr_json *root)
{
    CR_CLEANUP(cr_tokenizer_release) struct cr_tokenizer *tokenizer = NULL;
    const char *model;
    CR_TRY(cr_tokenizer_open(path, &tokenizer));
    uint32_t bos = 0, eos = 0;
    bool has_bos = cr_tokenizer_bos(tokenizer, &bos), has_eos = cr_tokenizer_eos(tokenizer, &eos);
    CR_TRY(cr_say_text(said, "kind", "tokenizer"));
    CR_TRY(cr_json_get_string(cr_json_member(root, "model"), path, "type", "BPE", &model));
    CR_TRY(cr_say_text(said, "model", model));
    CR_TRY(cr_say_count(said, "vocabulary", cr_tokenizer_vocabulary(tokenizer)));
    CR_TRY(cr_say_count(said, "added_tokens", cr_json_count(cr_json_member(root, "added_tokens"))));
    CR_TRY(say_special(said, "bos", tokenizer, has_bos, bos));
    return say_special(said, "eos", tokenizer, has_eos, eos);
}

static enum cr_status say_examples(struct cr_said *said, const char *path, const struct reading *reading)
{
    struct cr_tokenizer *tokenizer;
    CR_TRY(cr_tokenizer_open(reading->tokenizer, &tokenizer));
    const struct cr_dataset_options options = {.max_length = SIZE_MAX, // whole texts, as in `tune`
                                               .append_eos = true,
                                               .chat_template = reading->chat_template};
    struct cr_dataset *data = NULL;
    enum cr_status status = cr_dataset_open(path, tokenizer, &options, &data);
    cr_tokenizer_free(tokenizer);
    if (status != CR_OK) return cr_fail_by_options(status);
    size_t count = cr_dataset_count(data), skipped = cr_dataset_skipped(data);
    size_t tokens = 0, labels = 0, longest = 0;
    for (size_t i = 0; i < count; i++) {
        struct cr_example example = cr_dataset_at(data, i);
        tokens += example.count;
        labels += example.labelled;
        longest = cr_most(longest, example.count);
    }
    cr_dataset_free(data);
    CR_TRY(cr_say_count(said, "skipped", skipped));
    CR_TRY(cr_say_count(said, "tokens", tokens));
    CR_TRY(cr_say_count(said, "labels", labels));
    return cr_say_count(said, "longest", longest);
}

static enum cr_status say_data(struct cr_said *said, const char *path, const struct reading *reading)
{
    CR_CLEANUP(cr_row_reader_close) struct cr_row_reader rows = {0};
    struct cr_row row;
    CR_TRY(cr_row_reader_open(path, &rows));
    for (bool found = true; found;) CR_TRY(cr_row_reader_next(&rows, &found, &row));
    if (rows.count == 0) return cr_fail(CR_INVALID, "%s: data without a row", path);
    CR_TRY(cr_say_text(said, "kind", "data"));
    static const char *const kinds[] = {[CR_ROW_TEXT] = "text",
                                        [CR_ROW_ALPACA] = "alpaca",
                                        [CR_ROW_CHAT] = "messages",
                                        [CR_ROW_COMPLETION] = "completion",
                                        [CR_ROW_LABELLED] = "labelled"};
    CR_TRY(cr_say_text(said, "format",
                       rows.parser.form.lines_of_tabs ? "tsv"
                       : rows.parser.form.array       ? "json"
                                                      : "jsonl"));
    CR_TRY(cr_say_text(said, "rows_are", kinds[rows.parser.form.kind]));
    CR_TRY(cr_say_count(said, "rows", rows.count));
    if (!reading->tokenizer) return CR_OK;
    if (rows.parser.form.kind == CR_ROW_LABELLED)
        return cr_fail(
            CR_UNSUPPORTED,
            "%s: what is learned of rows with labels is told by label words: carrel preflight counts "
            "them by data.label_words (without --tokenizer this tells of the rows)",
            path);
    return say_examples(said, path, reading);
}

static enum cr_status say_targets(struct cr_said *said, const struct cr_string_list *targets)
{
    if (targets->count == 0 && !said->json)
        return cr_say_text(said, "target_modules", "as PEFT chooses for the family");
    return cr_say_list(said, "target_modules", targets);
}

static enum cr_status say_settings(struct cr_said *said, const char *path)
{
    CR_CLEANUP(cr_config_release) struct cr_config config = {0};
    CR_TRY(cr_config_read(path, &config));
    const struct cr_tuning_config *tuning = &config.tuning;
    CR_TRY(cr_say_text(said, "kind", "settings"));
    if (tuning->model_name_or_path) CR_TRY(cr_say_text(said, "model", tuning->model_name_or_path));
    if (tuning->output_dir) CR_TRY(cr_say_text(said, "output", tuning->output_dir));
    if (tuning->data.train) CR_TRY(cr_say_text(said, "data", tuning->data.train));
    CR_TRY(cr_say_text(said, "method", cr_method_names[tuning->method]));
    if (cr_method_has_spf(tuning->method)) CR_TRY(cr_say_sparse(said, &tuning->spf));
    if (cr_method_has_lora(tuning->method)) {
        CR_TRY(cr_say_count(said, "r", tuning->lora.r));
        CR_TRY(say_targets(said, &tuning->lora.targets.modules));
    }
    if (tuning->method == CR_METHOD_PREFIX_TUNING)
        CR_TRY(cr_say_count(said, "num_virtual_tokens", tuning->prefix_tuning.num_virtual_tokens));
    bool alone = tuning->data.train && config.federation.min_clients == 0 && config.silos.count == 0;
    if (alone) return CR_OK; // probably of `carrel tune`: a server has no data
    CR_TRY(cr_say_count(said, "rounds", config.federation.rounds));
    CR_TRY(cr_say_count(said, "min_clients", cr_config_min_clients(&config)));
    return cr_say_count(said, "silos", config.silos.count);
}

// Shows everything but the secret.
static enum cr_status say_token(struct cr_said *said, const char *text)
{
    CR_CLEANUP(cr_token_release) struct cr_token token = {0};
    CR_TRY(cr_token_parse(text, &token));
    char expires[CR_CLOCK_TEXT_SIZE], job[CR_SHA256_HEX_SIZE];
    cr_clock_format(token.expires, expires);
    cr_sha256_hex(token.job, job);
    CR_TRY(cr_say_text(said, "kind", "join token"));
    CR_TRY(cr_say_text(said, "name", token.name));
    CR_TRY(cr_say_text(said, "role", token.role));
    CR_TRY(cr_say_text(said, "address", token.address));
    CR_TRY(cr_say_text(said, "job", job));
    CR_TRY(cr_say_text(said, "expires", expires));
    return cr_say_bool(said, "expired", token.expires <= cr_clock_unix());
}

static enum cr_status say_token_file(struct cr_said *said, const char *path)
{
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer text = {0};
    CR_TRY(cr_file_read(path, TOKEN_LIMIT, &text));
    while (text.size > 0 && memchr(" \r\n", text.data[text.size - 1], 3)) text.data[--text.size] = 0;
    enum cr_status status = say_token(said, cr_buffer_text(&text));
    return status == CR_OK ? CR_OK : cr_fail_within(status, "%s", path);
}

// A JSON value that is not a row: its kind is recognised by the members that it must have.
static enum cr_status say_json(struct cr_said *said, const char *path, const struct reading *reading)
{
    struct stat about;
    CR_CLEANUP(cr_json_release) struct cr_json *root = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    if (stat(path, &about) == 0 && about.st_size <= CR_SAY_JSON_LIMIT) {
        CR_TRY(cr_file_read(path, CR_SAY_JSON_LIMIT, &text));
        if (cr_json_parse_file(cr_buffer_slice(&text), path, &root) != CR_OK)
            root = NULL; // perhaps several rows
    }
    if (cr_json_kind(cr_json_member(root, "model")) == CR_JSON_OBJECT) return say_tokenizer(said, path, root);
    if (cr_json_member(root, "peft_type")) {
        CR_TRY(cr_say_text(said, "kind", "adapter_config"));
        return cr_say_adapter_config(said, cr_buffer_slice(&text), path);
    }
    if (cr_json_is_string(cr_json_member(root, "format"), "carrel-spf")) {
        CR_TRY(cr_say_text(said, "kind", "spf_config"));
        return cr_say_sparse_config(said, cr_buffer_slice(&text), path);
    }
    if (cr_json_member(root, "model_type")) {
        CR_TRY(cr_say_text(said, "kind", "model_config"));
        return cr_say_model_config(said, cr_buffer_slice(&text), path);
    }
    if (cr_json_member(root, "weight_map")) return cr_say_index(said, root, path);
    if (cr_json_kind(root) == CR_JSON_OBJECT && cr_row_kind_of(root) == CR_ROW_UNKNOWN &&
        !cr_ends_with(path, ".jsonl"))
        return cr_fail(
            CR_INVALID,
            "%s: a JSON object of no kind that carrel inspects: no row of data, tokenizer, index of "
            "safetensors, or configuration of a model or adapter",
            path);
    return say_data(said, path, reading);
}

// What its header says; more cannot be known without the key.
static enum cr_status say_sealed(struct cr_said *said, const char *path)
{
    struct cr_seal_header header;
    char bound[CR_SHA256_HEX_SIZE];
    CR_TRY(cr_seal_describe(path, &header));
    struct cr_slice bytes = {header.bound, sizeof header.bound};
    cr_sha256_hex(header.bound, bound);
    CR_TRY(cr_say_text(said, "kind", "sealed file"));
    CR_TRY(cr_say_text(said, "holds", header.purpose));
    CR_TRY(cr_say_text(said, "key_source", header.source));
    CR_TRY(cr_say_text(said, "bound_to", cr_slice_is_zero(bytes) ? "nothing" : bound));
    return cr_say_count(said, "bytes", (size_t)header.size);
}

// Reads the start of a file; *size is less than PREFIX if the file is shorter.
static enum cr_status read_prefix(const char *path, unsigned char prefix[PREFIX], size_t *size)
{
    CR_CLEANUP(cr_file_close) int fd = -1;
    CR_TRY(cr_file_open(path, &fd, size));
    *size = cr_least(*size, PREFIX);
    return cr_file_take(fd, path, prefix, *size);
}

// Rows of data, or lines of a run directory, which are not rows.
static enum cr_status say_lines(struct cr_said *said, const char *path, const struct reading *reading)
{
    CR_FREE char *directory = NULL;
    enum cr_status status = say_json(said, path, reading);
    bool of_run = cr_ends_with(path, "events.jsonl") || cr_ends_with(path, "metrics.jsonl");
    if (status != CR_INVALID || !of_run) return status;
    CR_TRY(cr_path_directory(path, &directory));
    return cr_directory_has(directory, "metrics.prom") ? say_run(said, directory) : status;
}

static enum cr_status say_file(struct cr_said *said, const char *path, const struct reading *reading)
{
    unsigned char prefix[PREFIX] = {0};
    size_t size = 0;
    CR_TRY(read_prefix(path, prefix, &size));
    CR_TRY(cr_file_refuse_pointer(path, (struct cr_slice){prefix, size}));
    if (cr_seal_is_one((struct cr_slice){prefix, size})) return say_sealed(said, path);
    if (cr_state_is_one((struct cr_slice){prefix, size})) return say_state(said, path);
    if (cr_ends_with(path, ".yaml") || cr_ends_with(path, ".yml")) return say_settings(said, path);
    if (cr_ends_with(path, ".safetensors") || (size > 8 && prefix[8] == '{' && prefix[7] == 0))
        return cr_say_safetensors(said, path);
    if (size >= 10 && memcmp(prefix, "{\"audit\": ", 10) == 0) return cr_admissions_say(said, path);
    if (size >= 8 && memcmp(prefix, "carrel2.", 8) == 0) return say_token_file(said, path);
    // COSE_Sign1, or a map that begins with key 1.
    if (size >= 2 && ((prefix[0] == 0xd2 && prefix[1] == 0x84) || (prefix[0] >> 5 == 5 && prefix[1] == 1))) {
        CR_TRY(cr_say_text(said, "kind", "job"));
        return cr_say_manifest(said, path);
    }
    size_t at = size >= 3 && memcmp(prefix, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; // skips a byte order mark
    while (at < size && memchr(" \t\r\n", prefix[at], 4)) at++;
    if (cr_ends_with(path, ".jsonl") || cr_ends_with(path, ".tsv") ||
        (at < size && (prefix[at] == '{' || prefix[at] == '[')))
        return say_lines(said, path, reading);
    if (size == 0) return cr_fail(CR_INVALID, "%s: the file is empty", path);
    return cr_fail(CR_INVALID,
                   "%s: no model, adapter, safetensors, tokenizer.json, data (JSONL, JSON, .tsv), settings "
                   "(.yaml), trainer.state, job, audit log, join token or sealed file",
                   path);
}

enum cr_status cr_command_inspect(int argc, char **argv)
{
    CR_CLEANUP(cr_said_release) struct cr_said said = {0};
    struct reading reading = {0};
    const char *path, *template = NULL;
    bool done;
    const struct cr_flag items[] = {
        {"tokenizer", CR_FLAG_STRING, &reading.tokenizer, "PATH",
         "of data: count its tokens and labels with this"},
        {"chat-template", CR_FLAG_STRING, &template, "NAME", "with --tokenizer: as data.chat_template"},
        {"json", CR_FLAG_BOOL, &said.json, NULL, "one JSON object; \"kind\" says what the rest is about"},
    };
    const struct cr_flags flags = {
        "carrel inspect PATH [options]",
        "Says what a file or directory is: a model, adapter, sparse change or run directory, a safetensors "
        "file or index, a "
        "tokenizer.json, data,\n"
        "settings, the state of an unfinished tune, a job, an audit log, whose chain is verified, a join "
        "token (in a file, or itself; its "
        "secret is\nnot shown), or a sealed file of a state directory (what its header says).",
        items,
        sizeof items / sizeof *items,
        1,
        1};
    CR_TRY(cr_command_flags(&flags, argc, argv, &path, NULL, &done));
    if (done) return CR_OK;
    CR_TRY(cr_chat_template_named(template, &reading.chat_template));
    struct stat about;
    if (strncmp(path, "carrel2.", 8) == 0)
        CR_TRY(say_token(&said, path));
    else if (stat(path, &about) != 0)
        return cr_fail_errno(CR_NOT_FOUND, "%s", path);
    else if (S_ISDIR(about.st_mode))
        CR_TRY(say_directory(&said, path));
    else if (!S_ISREG(about.st_mode))
        return cr_fail(CR_INVALID, "%s: neither a file nor a directory", path);
    else
        CR_TRY(say_file(&said, path, &reading));
    if (said.json) CR_TRY(cr_append(&said.out, "}\n", 2));
    return cr_command_print(cr_buffer_slice(&said.out));
}
