// Directories of results: which ones a result must not go to.
#ifndef CARREL_TUNING_PLACE_H
#define CARREL_TUNING_PLACE_H

#include "tuning/config.h"

// Whether the two are one, under whatever names. Of what is not there: no.
bool cr_place_is_same(const char *one, const char *other);

// CR_INVALID where the two are one directory, which a result would overwrite.
enum cr_status cr_place_is_not_model(const char *directory, const char *model);

// CR_INVALID also where the directory holds a result of the other kind: an adapter beside a model's files is
// taken for that model's by whoever loads the directory, and a sparse change beside an adapter for the other
// half of one result. `method`: enum cr_method of what is to come. A directory that is not there is fine.
enum cr_status cr_place_check(const char *directory, const char *model, int method);

// Whether a finished run has left there what another one of that method will replace, and the sentence that
// says so. False where there is nothing, or the state of a run that goes on.
bool cr_place_is_replaced(const char *directory, int method, char *sentence, size_t size);

extern const char cr_place_state[]; // the file that keeps the state of a run, beside its result to be

// Takes the directory, which is there, for the result of one run, as long as *fd is open: CR_INVALID where
// another process has it. Removes what one left there that was killed while it wrote a result, or the state
// of its run.
enum cr_status cr_place_take(const char *directory, int *fd);

#endif
