// Directories for results, and which ones a result must not be written to.
#ifndef CARREL_TUNING_PLACE_H
#define CARREL_TUNING_PLACE_H

#include "tuning/config.h"

// Whether the two are one directory, whatever the names. False if either does not exist.
bool cr_place_is_same(const char *one, const char *other);

// CR_INVALID if the two are one directory, because a result would overwrite the model.
enum cr_status cr_place_is_not_model(const char *directory, const char *model);

// The same, and CR_INVALID if the directory holds a result of another kind: whoever loads the directory would
// take an adapter beside a model's files for that model's, and a sparse change beside an adapter for the
// other half of one result. `method`: enum cr_method of the result to come. A directory that does not exist
// is allowed.
enum cr_status cr_place_check(const char *directory, const char *model, int method);

// Whether a finished run left a result in the directory that another run of this method will replace;
// `sentence` then says so. False if there is nothing, or the state of an unfinished run.
bool cr_place_is_replaced(const char *directory, int method, char *sentence, size_t size);

extern const char cr_place_state[]; // file with the state of a run, beside the result to come

// Reserves the directory, which must exist, for the result of one run as long as *fd is open: CR_INVALID if
// another process has it. Removes files that a killed run left half-written: of a result, or of its state.
enum cr_status cr_place_take(const char *directory, int *fd);

// CR_INVALID unless a result can get that name as a new directory: nothing has it, or an empty directory that
// is not the model's.
enum cr_status cr_place_is_free(const char *output, const char *model);

// Makes a directory beside `output`, to be renamed to it once it is whole; `path` gets its name.
enum cr_status cr_place_make_beside(const char *output, struct cr_buffer *path);

// Removes a directory that has only files.
void cr_place_remove(const char *directory);

#endif
