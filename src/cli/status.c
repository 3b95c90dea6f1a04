// carrel status: shows what a run is doing, or how it ended.
#include "cli/command.h"
#include "cli/run_path.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/words.h"
#include "format/json.h"
#include "report/run_lock.h"
#include "report/story.h"

#include <math.h>

static enum cr_status append_text_member(struct cr_buffer *out, const char *key, const char *text)
{
    if (text[0] == 0) return CR_OK;
    CR_TRY(cr_append_format(out, ", \"%s\": ", key));
    return cr_json_append_told(out, text);
}

// Unknown numbers are omitted.
static enum cr_status append_member(struct cr_buffer *out, const char *key, double number)
{
    if (!isfinite(number)) return CR_OK;
    CR_TRY(cr_append_format(out, ", \"%s\": ", key));
    return cr_json_append_number(out, number);
}

static enum cr_status append_silo_json(struct cr_buffer *out, const struct cr_story *story,
                                       const struct cr_story_silo *silo)
{
    CR_TRY(cr_append_format(out, "{\"silo\": "));
    CR_TRY(cr_json_append_string(out, cr_slice_of_string(silo->name)));
    CR_TRY(append_text_member(out, "state", cr_story_silo_state(story, silo)));
    CR_TRY(append_member(out, "last_seen", silo->seen));
    CR_TRY(append_member(out, "round", silo->round));
    CR_TRY(append_member(out, "trained_round", silo->trained));
    CR_TRY(append_member(out, "step", silo->step));
    CR_TRY(append_member(out, "steps", silo->steps));
    CR_TRY(append_member(out, "loss", silo->loss));
    CR_TRY(append_member(out, "tokens_per_second", silo->tokens_per_second));
    CR_TRY(append_member(out, "rows_verified", silo->rows_verified));
    CR_TRY(append_member(out, "examples_sent", silo->examples));
    CR_TRY(append_member(out, "eval_loss", silo->eval_loss));
    CR_TRY(append_member(out, "eval_accuracy", silo->eval_accuracy));
    return cr_append_u8(out, '}');
}

static enum cr_status append_json(struct cr_buffer *out, const struct cr_story *story, const char *path,
                                  bool alive, double now)
{
    CR_TRY(cr_append_format(out, "{\"run\": "));
    CR_TRY(cr_json_append_told(out, path));
    CR_TRY(append_text_member(out, "command", story->role));
    CR_TRY(append_text_member(out, "state", cr_story_state(story, alive)));
    if (story->ended) CR_TRY(append_member(out, "exit_code", story->exit_code));
    CR_TRY(append_text_member(out, "message", story->ended ? story->why : story->waiting));
    CR_TRY(append_text_member(out, "warning", story->warning));
    CR_TRY(append_text_member(out, "address", story->address));
    CR_TRY(append_text_member(out, "output", story->output));
    const struct {
        const char *key;
        double number;
    } members[] = {
        {"began", story->began},
        {"last_event", story->updated},
        {"round", story->round},
        {"rounds", story->rounds},
        {"min_clients", story->min_clients},
        {"examples_sent", story->sent},
        {"examples", story->to_send},
        {"step", story->step},
        {"steps", story->steps},
        {"epoch", story->epoch},
        {"loss", story->loss},
        {"learning_rate", story->learning_rate},
        {"grad_norm", story->grad_norm},
        {"tokens_per_second", story->tokens_per_second},
        {"rows_verified", story->rows_verified},
        {"pads_ready", story->pads_ready},
        {"eval_loss", story->eval_loss},
        {"eval_accuracy", story->eval_accuracy},
        {"eta", alive ? cr_story_eta(story, now) : NAN},
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        CR_TRY(append_member(out, members[i].key, members[i].number));
    CR_TRY(cr_append_format(out, ", \"silos\": ["));
    for (size_t i = 0; i < story->silo_count; i++) {
        if (i > 0) CR_TRY(cr_append_format(out, ", "));
        CR_TRY(append_silo_json(out, story, &story->silos[i]));
    }
    return cr_append_format(out, "]}\n");
}

static enum cr_status append_head(struct cr_buffer *out, const struct cr_story *story, const char *path,
                                  bool alive, double now)
{
    char since[CR_CLOCK_TEXT_SIZE] = "?";
    if (!isnan(story->began)) cr_clock_format((int64_t)story->began, since);
    const char *state = cr_story_state(story, alive);
    CR_TRY(cr_append_plain(out, path));
    CR_TRY(cr_append_format(out, ": carrel %s, %s %s ", story->role[0] ? story->role : "?", state,
                            alive ? "for" : "after"));
    CR_TRY(cr_append_duration(out, (alive ? now : story->updated) - story->began));
    // The time of earlier starts is not included.
    if (story->starts > 1)
        CR_TRY(cr_append_format(out, " (start %zu, at %s)\n", story->starts, since));
    else
        CR_TRY(cr_append_format(out, " (started at %s)\n", since));
    if (!alive && !story->ended)
        return cr_append_format(out, "its end is not on record: it was killed, or the disk was full\n");
    const char *why = story->ended ? story->why : story->waiting;
    if (why[0]) CR_TRY(cr_append_format(out, "%s%s\n", story->ended ? "" : "waiting: ", why));
    return story->warning[0] ? cr_append_format(out, "warning: %s\n", story->warning) : CR_OK;
}

static enum cr_status append_of(struct cr_buffer *out, const char *name, double done, double all)
{
    if (isnan(done)) return CR_OK;
    CR_TRY(cr_append_format(out, "%s ", name));
    CR_TRY(cr_append_count(out, done));
    if (isnan(all)) return CR_OK;
    CR_TRY(cr_append_format(out, " of "));
    return cr_append_count(out, all);
}

static enum cr_status append_progress(struct cr_buffer *out, const struct cr_story *story, bool alive)
{
    bool older = story->starting && !(isnan(story->round) && isnan(story->step));
    if (older) CR_TRY(cr_append_format(out, "before this start: "));
    size_t before = out->size;
    CR_TRY(append_of(out, "round", story->round, story->rounds));
    if (out->size > before && !isnan(story->step)) CR_TRY(cr_append_format(out, ", "));
    CR_TRY(append_of(out, "step", story->step, story->steps));
    if (!isnan(story->sent)) {
        CR_TRY(append_of(out, "examples with the server:", story->sent, story->to_send));
        return cr_append_format(out, "\n");
    }
    if (out->size == before) return cr_append_format(out, "nothing is trained yet\n");
    if (!isnan(story->loss)) {
        CR_TRY(cr_append_format(out, ", loss "));
        CR_TRY(cr_append_loss(out, story->loss));
    }
    if (story->tokens_per_second > 0) {
        CR_TRY(cr_append_format(out, ", "));
        CR_TRY(cr_append_count(out, story->tokens_per_second));
        CR_TRY(cr_append_format(out, " tokens/s"));
    }
    CR_TRY(cr_append_format(out, "\n"));
    if (!isnan(story->rows_verified)) {
        CR_TRY(append_of(out, "slicing: rows verified", story->rows_verified, NAN));
        CR_TRY(append_of(out, ", pads ready", alive ? story->pads_ready : NAN, NAN));
        CR_TRY(cr_append_format(out, "\n"));
    }
    const struct cr_series *eval = &story->eval;
    if (isnan(story->eval_loss) || eval->count == 0) return CR_OK;
    CR_TRY(cr_append_format(out, "evaluation after step "));
    CR_TRY(cr_append_count(out, eval->points[eval->count - 1].x));
    return cr_append_format(out, ": loss %.4f, accuracy %.1f %%\n", story->eval_loss,
                            100 * story->eval_accuracy);
}

static enum cr_status append_silos(struct cr_buffer *out, const struct cr_story *story, double now)
{
    CR_TRY(cr_append_format(out, "\n%-16s %-12s %6s %15s %8s  %s\n", "silo", "state", "round", "step", "loss",
                            "last sign of life")); // 80 columns if names are short
    for (size_t i = 0; i < story->silo_count; i++) {
        const struct cr_story_silo *silo = &story->silos[i];
        CR_CLEANUP(cr_buffer_release) struct cr_buffer round = {0};
        CR_CLEANUP(cr_buffer_release) struct cr_buffer step = {0};
        CR_CLEANUP(cr_buffer_release) struct cr_buffer loss = {0};
        CR_CLEANUP(cr_buffer_release) struct cr_buffer ago = {0};
        CR_TRY(append_of(&round, "", silo->round, NAN));
        CR_TRY(append_of(&step, "", silo->step, silo->steps));
        if (cr_story_silo_is_here(silo)) {
            CR_TRY(cr_append_format(&ago, "connected"));
        } else if (!isnan(silo->seen)) {
            CR_TRY(cr_append_duration(&ago, now > silo->seen ? now - silo->seen : 0));
            CR_TRY(cr_append_format(&ago, " ago"));
        }
        CR_TRY(cr_append_format(out, "%-16s %-12s %6s %15s ", silo->name, cr_story_silo_state(story, silo),
                                cr_buffer_text(&round), cr_buffer_text(&step)));
        if (!isnan(silo->loss)) CR_TRY(cr_append_loss(&loss, silo->loss));
        CR_TRY(cr_append_format(out, "%8s  %s\n", cr_buffer_text(&loss), cr_buffer_text(&ago)));
    }
    return CR_OK;
}

// What the run waits for, or else how long it will take.
static enum cr_status append_left(struct cr_buffer *out, const struct cr_story *story, double now)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer missing = {0};
    CR_TRY(cr_story_append_missing(story, &missing));
    if (missing.size > 0) return cr_append_format(out, "waiting for %s\n", cr_buffer_text(&missing));
    double left = cr_story_eta(story, now);
    if (isnan(left)) return CR_OK;
    CR_TRY(cr_append_format(out, "about "));
    CR_TRY(cr_append_duration(out, left));
    return cr_append_format(out, " left\n");
}

static enum cr_status append_words(struct cr_buffer *out, const struct cr_story *story, const char *path,
                                   bool alive, double now)
{
    CR_TRY(append_head(out, story, path, alive, now));
    CR_TRY(append_progress(out, story, alive));
    if (alive) CR_TRY(append_left(out, story, now));
    if (story->serving && alive) CR_TRY(cr_append_format(out, "the tuned model answers its silos\n"));
    if (story->output[0] && !alive) CR_TRY(cr_append_format(out, "the result is in %s\n", story->output));
    return alive && story->silo_count > 0 ? append_silos(out, story, now) : CR_OK;
}

static enum cr_status print_status(const char *path, bool json)
{
    CR_FREE char *events = NULL;
    CR_TRY(cr_path_join(path, "events.jsonl", &events));
    CR_CLEANUP(cr_story_release) struct cr_story story;
    cr_story_init(&story);
    bool alive; // checked first: a run that ends now has then recorded how
    CR_TRY(cr_run_lock_is_held(path, &alive));
    CR_TRY(cr_story_read(&story, events));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    double now = cr_clock_wall();
    CR_TRY(json ? append_json(&out, &story, path, alive, now) : append_words(&out, &story, path, alive, now));
    return cr_command_print(cr_buffer_slice(&out));
}

enum cr_status cr_command_status(int argc, char **argv)
{
    const char *argument = NULL;
    bool json = false, done;
    const struct cr_flag items[] = {
        {"json", CR_FLAG_BOOL, &json, NULL, "one JSON object; what is not known is left out"},
    };
    const struct cr_flags flags = {
        "carrel status [RUN] [options]",
        "Says what a tune, serve, join or simulate is doing, or how it ended. RUN is its run directory, its\n"
        "output_dir (of a silo: its --state) or its settings; without it, the one run directory of the "
        "working\ndirectory.",
        items,
        sizeof items / sizeof *items,
        0,
        1};
    CR_TRY(cr_command_flags(&flags, argc, argv, &argument, NULL, &done));
    if (done) return CR_OK;
    CR_FREE char *path = NULL;
    CR_TRY(cr_run_path_find(argument, &path));
    return print_status(path, json);
}
