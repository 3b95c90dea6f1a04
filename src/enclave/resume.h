// A tuning run that survives its process: its state is saved in output_dir during the run. The same command,
// started again, continues from it and gives the same bits.
#ifndef CARREL_ENCLAVE_RESUME_H
#define CARREL_ENCLAVE_RESUME_H

#include "tuning/trainer.h"

struct cr_resume {
    // Set by the caller, who zeroes the rest:
    struct cr_trainer *trainer;
    const struct cr_event_sink *sink;
    const struct cr_tuning_config *config;
    bool (*keep_going)(void *context); // called after each step and before each batch of an evaluation; false
                                       // stops the run
    void *context;

    // Internal:
    char *path;            // output_dir/trainer.state, of mode 0600
    bool kept;             // this run's state was saved or loaded
    size_t kept_step;      // step of that state
    enum cr_status status; // of saving it during the run
    char why[1024];
};

// Begins at the first step (event "train.fresh") or, if output_dir has a state of this run, at that state's
// step ("train.resumed"). With `restart` any state is removed without reading it. Otherwise a damaged state,
// or one of another run, is CR_INVALID, and the message says what to do. Release with cr_resume_release
// (usable with CR_CLEANUP), also after a failure.
enum cr_status cr_resume_begin(struct cr_resume *resume, bool restart);

// Trains to the last step, saves the state every training.save_steps steps ("train.saved"), and evaluates
// every training.eval_steps steps, but not after the last step ("train.eval"). If keep_going returns false,
// the state is saved too, and this fails with CR_CANCELLED and a message that says how to continue. If a
// state cannot be written, the run ends with CR_IO, and the previous state stays. Other failures, except NaN
// or infinity in the numbers, go through cr_resume_rescue.
enum cr_status cr_resume_run(struct cr_resume *resume, struct cr_tally *tally);

// Call it after a failure that does not concern the training steps themselves, while its message is set.
// Saves the last step if possible, and adds to the message from where the same command continues. Returns
// `failure`.
enum cr_status cr_resume_rescue(struct cr_resume *resume, enum cr_status failure);

// Removes the state, once the result is written.
enum cr_status cr_resume_end(struct cr_resume *resume);

void cr_resume_release(struct cr_resume *resume);

#endif
