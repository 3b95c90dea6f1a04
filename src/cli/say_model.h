// The output of `carrel inspect` for a model, for what tunes one, and for their files.
#ifndef CARREL_CLI_SAY_MODEL_H
#define CARREL_CLI_SAY_MODEL_H

#include "cli/said.h"
#include "format/json.h"
#include "tuning/config.h"

enum { CR_SAY_JSON_LIMIT = 64 << 20 }; // the largest JSON file that is described, in bytes

// For a directory; `config_path` is the file in it that showed its kind.
enum cr_status cr_say_model(struct cr_said *said, const char *directory, const char *config_path);
enum cr_status cr_say_adapter(struct cr_said *said, const char *directory, const char *config_path);

// For a directory's sparse change, alone or beside an adapter; does not print the kind.
enum cr_status cr_say_change(struct cr_said *said, const char *directory);

// Lists all tensors of a file.
enum cr_status cr_say_safetensors(struct cr_said *said, const char *path);

// For a model.safetensors.index.json: its content; does not check whether the shards exist.
enum cr_status cr_say_index(struct cr_said *said, const struct cr_json *index, const char *path);

// For a config.json, adapter_config.json or spf_config.json with this text; does not print the kind.
enum cr_status cr_say_model_config(struct cr_said *said, struct cr_slice text, const char *path);
enum cr_status cr_say_adapter_config(struct cr_said *said, struct cr_slice text, const char *path);
enum cr_status cr_say_sparse_config(struct cr_said *said, struct cr_slice text, const char *path);

// Describes how a sparse change is chosen.
enum cr_status cr_say_sparse(struct cr_said *said, const struct cr_spf_config *config);

#endif
