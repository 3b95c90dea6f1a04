// A tuning run that outlives its process: its state is kept in output_dir while it runs, and the same
// command, started again, goes on from it to the same bits.
#ifndef CARREL_ENCLAVE_RESUME_H
#define CARREL_ENCLAVE_RESUME_H

#include "tuning/trainer.h"

struct cr_resume {
    // The caller's, all else zero:
    struct cr_trainer *trainer;
    const struct cr_event_sink *sink;
    const struct cr_tuning_config *config;
    bool (*keep_going)(void *context); // asked after each step
    void *context;

    // Its own:
    char *path;            // output_dir/trainer.state, of mode 0600
    bool kept;             // a state of this run is there
    size_t kept_step;      // of it
    enum cr_status status; // of keeping it during the run
    char why[1024];
};

// Begins at the first step ("train.fresh") or, where the directory holds a state of this run, at its step
// ("train.resumed"). A state of another run, or a damaged one, is CR_INVALID with a sentence that says what
// to do; with `restart` any state is removed unread. Release with cr_resume_release (usable with CR_CLEANUP),
// also after a failure.
enum cr_status cr_resume_begin(struct cr_resume *resume, bool restart);

// Trains to the last step, keeping the state every training.save_steps steps ("train.saved"). Where
// keep_going says false the state is kept too, and CR_CANCELLED says how to go on. A state that cannot be
// written ends the run with CR_IO; the one before it stays. A failure of anything but the numbers is one of
// cr_resume_rescue.
enum cr_status cr_resume_run(struct cr_resume *resume, struct cr_tally *tally);

// After a failure (with its sentence) that says nothing against the steps: keeps the last one if that can be,
// and adds to the sentence where the same command goes on from. Returns the failure.
enum cr_status cr_resume_rescue(struct cr_resume *resume, enum cr_status failure);

// Removes the state: the result is written, and nothing is left to do.
enum cr_status cr_resume_end(struct cr_resume *resume);

void cr_resume_release(struct cr_resume *resume);

#endif
