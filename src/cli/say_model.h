// What `carrel inspect` says of a model, what tunes one, and the files that these are made of.
#ifndef CARREL_CLI_SAY_MODEL_H
#define CARREL_CLI_SAY_MODEL_H

#include "cli/said.h"
#include "format/json.h"
#include "tuning/config.h"

enum { CR_SAY_JSON_LIMIT = 64 << 20 }; // bytes of a JSON file that is told of

// Of a directory; `config_path` is the file in it by which its kind was told.
enum cr_status cr_say_model(struct cr_said *said, const char *directory, const char *config_path);
enum cr_status cr_say_adapter(struct cr_said *said, const char *directory, const char *config_path);

// Of a directory's sparse change, alone or beside an adapter: without the kind.
enum cr_status cr_say_change(struct cr_said *said, const char *directory);

// All tensors of a file.
enum cr_status cr_say_safetensors(struct cr_said *said, const char *path);

// Of a model.safetensors.index.json: what it lists, not whether the shards are there.
enum cr_status cr_say_index(struct cr_said *said, const struct cr_json *index, const char *path);

// Of a config.json, adapter_config.json or spf_config.json, whose text is given: without the kind.
enum cr_status cr_say_model_config(struct cr_said *said, struct cr_slice text, const char *path);
enum cr_status cr_say_adapter_config(struct cr_said *said, struct cr_slice text, const char *path);
enum cr_status cr_say_sparse_config(struct cr_said *said, struct cr_slice text, const char *path);

// How a sparse change is chosen.
enum cr_status cr_say_sparse(struct cr_said *said, const struct cr_spf_config *config);

#endif
