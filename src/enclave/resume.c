#include "enclave/resume.h"

#include "base/file.h"
#include "base/words.h"
#include "tuning/place.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static enum cr_status remove_state(struct cr_resume *resume)
{
    if (unlink(resume->path) != 0 && errno != ENOENT)
        return cr_fail_errno(CR_IO, "%s: cannot be removed", resume->path);
    resume->kept = false;
    return CR_OK;
}

static enum cr_status load(struct cr_resume *resume)
{
    enum cr_status status = cr_trainer_load_state(resume->trainer, NULL, resume->path);
    if (status == CR_OK || status == CR_IO) return status;
    return cr_fail(status, "%s; remove it or give --restart to begin anew, or choose another output_dir",
                   cr_error_message());
}

enum cr_status cr_resume_begin(struct cr_resume *resume, bool restart)
{
    CR_TRY(cr_path_join(resume->config->output_dir, cr_place_state, &resume->path));
    if (restart) CR_TRY(remove_state(resume));
    if (!cr_file_exists(resume->path)) {
        CR_TRY(cr_trainer_identify(resume->trainer)); // now: the base's files may be replaced later
        cr_emit(resume->sink, CR_EVENT_DEBUG, "train.fresh", NULL,
                CR_FIELD("steps", cr_trainer_total_steps(resume->trainer)));
        return CR_OK;
    }
    CR_TRY(load(resume));
    resume->kept = true;
    resume->kept_step = cr_trainer_step(resume->trainer);
    cr_emit(resume->sink, CR_EVENT_INFO, "train.resumed", NULL, CR_FIELD("step", resume->kept_step),
            CR_FIELD("steps", cr_trainer_total_steps(resume->trainer)), CR_FIELD_TEXT("state", resume->path));
    return CR_OK;
}

// Whether the state of an earlier step still exists. (A user may have removed it.)
static bool is_kept(const struct cr_resume *resume)
{
    return resume->kept && cr_file_exists(resume->path);
}

// Writes the state. On failure the message says from which step the run can still continue.
static enum cr_status keep(struct cr_resume *resume)
{
    size_t step = cr_trainer_step(resume->trainer);
    enum cr_status status = cr_trainer_save_state(resume->trainer, NULL, resume->path);
    if (status == CR_OK) {
        resume->kept = true;
        resume->kept_step = step;
        cr_emit(resume->sink, CR_EVENT_DEBUG, "train.saved", NULL, CR_FIELD("step", step),
                CR_FIELD_TEXT("state", resume->path));
        return CR_OK;
    }
    char at[CR_COUNT_SIZE], from[CR_COUNT_SIZE];
    if (!is_kept(resume))
        return cr_fail(status, "%s (at step %s; no step is kept)", cr_error_message(),
                       cr_count_text(step, at));
    return cr_fail(status, "%s (at step %s; the same command goes on from step %s)", cr_error_message(),
                   cr_count_text(step, at), cr_count_text(resume->kept_step, from));
}

static bool after_step(void *context)
{
    struct cr_resume *resume = context;
    size_t step = cr_trainer_step(resume->trainer), every = resume->config->training.save_steps;
    bool going = resume->keep_going(resume->context);
    // After the last step the result is written instead.
    bool due = every > 0 && step % every == 0 && step < cr_trainer_total_steps(resume->trainer);
    if (going && !due) return true;
    resume->status = keep(resume);
    if (resume->status == CR_OK) return going;
    snprintf(resume->why, sizeof resume->why, "%s", cr_error_message());
    return false;
}

// Trains to the last step, and evaluates every training.eval_steps steps: before the next step, not after the
// last one, so that a run that continues from a state has the evaluation at its step, too.
static enum cr_status go(struct cr_resume *resume, struct cr_tally *tally)
{
    struct cr_trainer *trainer = resume->trainer;
    size_t every = resume->config->training.eval_steps, steps = cr_trainer_total_steps(trainer);
    for (size_t step; (step = cr_trainer_step(trainer)) < steps;) {
        struct cr_tally held_out = {0};
        if (every > 0 && step > 0 && step % every == 0)
            CR_TRY(cr_trainer_evaluate(trainer, &held_out, resume->keep_going, resume->context));
        size_t left = steps - step, until_next = every > 0 ? every - step % every : left;
        CR_TRY(cr_trainer_run(trainer, cr_least(left, until_next), tally, after_step, resume));
    }
    return CR_OK;
}

enum cr_status cr_resume_run(struct cr_resume *resume, struct cr_tally *tally)
{
    struct cr_trainer *trainer = resume->trainer;
    char step[CR_COUNT_SIZE], steps[CR_COUNT_SIZE];
    if (!resume->keep_going(resume->context))
        return cr_fail(CR_CANCELLED, "stopped before step %s of %s: the same command begins there",
                       cr_count_text(cr_trainer_step(trainer) + 1, step),
                       cr_count_text(cr_trainer_total_steps(trainer), steps));
    enum cr_status status = go(resume, tally);
    if (resume->status != CR_OK) return cr_fail(resume->status, "%s", resume->why);
    if (status == CR_OK || status == CR_INVALID) return status; // the same NaN or infinity would come again
    bool kept = resume->kept && resume->kept_step == cr_trainer_step(trainer);
    if (status != CR_CANCELLED || !kept) return cr_resume_rescue(resume, status); // stopped within a step
    return cr_fail(CR_CANCELLED, "stopped after step %s of %s: the same command goes on from there (%s)",
                   cr_count_text(cr_trainer_step(trainer), step),
                   cr_count_text(cr_trainer_total_steps(trainer), steps), resume->path);
}

enum cr_status cr_resume_rescue(struct cr_resume *resume, enum cr_status failure)
{
    char why[1024], from[CR_COUNT_SIZE];
    snprintf(why, sizeof why, "%s", cr_error_message());
    size_t step = cr_trainer_step(resume->trainer);
    if (step == 0) return failure;
    bool there = resume->kept && resume->kept_step == step;
    if (!there) (void)!keep(resume);
    if (!is_kept(resume)) return cr_fail(failure, "%s (no step is kept)", why);
    return cr_fail(failure, "%s (the same command goes on from step %s)", why,
                   cr_count_text(resume->kept_step, from));
}

enum cr_status cr_resume_end(struct cr_resume *resume)
{
    return remove_state(resume);
}

void cr_resume_release(struct cr_resume *resume)
{
    cr_free(&resume->path);
}
