#include "report/story.h"

#include "base/words.h"
#include "report/events.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double progress_seconds = 10; // between two progress events of a silo that are written

static void forget_numbers(struct cr_story *story)
{
    double *numbers[] = {&story->step,
                         &story->steps,
                         &story->epoch,
                         &story->loss,
                         &story->grad_norm,
                         &story->learning_rate,
                         &story->round,
                         &story->rounds,
                         &story->eval_loss,
                         &story->eval_accuracy,
                         &story->round_began,
                         &story->eta,
                         &story->min_clients,
                         &story->round_seconds,
                         &story->rows_verified,
                         &story->pads_ready,
                         &story->sent,
                         &story->to_send,
                         &story->tokens_per_second};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) *numbers[i] = NAN;
}

void cr_story_init(struct cr_story *story)
{
    *story = (struct cr_story){.began = NAN, .updated = NAN};
    forget_numbers(story);
}

// Forgets silos of which nothing came since that time, in Unix seconds.
static void forget_silos(struct cr_story *story, double since)
{
    size_t kept = 0;
    for (size_t i = 0; i < story->silo_count; i++) {
        if (story->silos[i].seen >= since)
            story->silos[kept++] = story->silos[i];
        else
            cr_series_release(&story->silos[i].losses);
    }
    story->silo_count = kept;
}

void cr_story_release(struct cr_story *story)
{
    cr_series_release(&story->train);
    cr_series_release(&story->eval);
    cr_series_release(&story->federation);
    forget_silos(story, INFINITY);
    cr_free(&story->silos);
}

// Copies as much of the text as fits, without control characters. Allocates nothing, so that running out of
// memory never leaves a text out.
static void put_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
    size_t cut; // the text may have been cut within a character
    if (!cr_utf8_valid(cr_slice_of_string(out), &cut)) out[cut] = 0;
    cr_make_plain(out);
}

// The index of a silo by its name, or the index at which it belongs.
static size_t place_of(const struct cr_story *story, const char *name, bool *found)
{
    size_t at = 0;
    while (at < story->silo_count && strcmp(story->silos[at].name, name) < 0) at++;
    *found = at < story->silo_count && strcmp(story->silos[at].name, name) == 0;
    return at;
}

// Finds or adds the silo; *out is NULL if there are too many.
static enum cr_status silo_of(struct cr_story *story, const char *name, struct cr_story_silo **out)
{
    char short_name[CR_STORY_NAME];
    put_text(short_name, sizeof short_name, name);
    bool found;
    size_t at = place_of(story, short_name, &found);
    *out = found ? &story->silos[at] : NULL;
    if (found) return CR_OK;
    if (story->silo_count == CR_STORY_SILOS) return CR_OK;
    CR_TRY(cr_reallocate(story->silo_count + 1, sizeof *story->silos, &story->silos));
    struct cr_story_silo *silo = &story->silos[at];
    memmove(silo + 1, silo, (story->silo_count - at) * sizeof *silo);
    story->silo_count++;
    *silo = (struct cr_story_silo){.seen = NAN,
                                   .kept = NAN,
                                   .round = NAN,
                                   .trained = NAN,
                                   .step = NAN,
                                   .steps = NAN,
                                   .loss = NAN,
                                   .tokens_per_second = NAN,
                                   .rows_verified = NAN,
                                   .examples = NAN,
                                   .eval_loss = NAN,
                                   .eval_accuracy = NAN,
                                   .told = NAN};
    put_text(silo->name, sizeof silo->name, short_name);
    *out = silo;
    return CR_OK;
}

// Sets *number if the event has the field.
static void put_number(double *number, const struct cr_event *event, const char *field)
{
    if (cr_event_field(event, field)) *number = cr_event_number(event, field);
}

static void begin_run(struct cr_story *story, const struct cr_event *event, double time)
{
    put_text(story->role, sizeof story->role, cr_event_text(event, "command"));
    story->began = time;
    story->starts++;
    story->ended = story->serving = false;
    story->starting = true;
    story->why[0] = story->waiting[0] = story->warning[0] = 0;
    if (strcmp(story->role, story->kind) != 0) story->self[0] = story->address[0] = 0;
    story->eta = story->round_began = NAN;
    for (size_t i = 0; i < story->silo_count; i++) {
        story->silos[i].connected = false;
        story->silos[i].round = story->silos[i].told = NAN;
    }
}

// Whether the event shows that the start was accepted, so that the run now has its settings.
static bool accepts(const char *name)
{
    static const char *const names[] = {"train.fresh",   "train.resumed", "train.step",    "server.listening",
                                        "server.done",   "client.round",  "client.closed", "client.done",
                                        "split.sending", "split.sent"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

// A run of another kind in the same directory leaves nothing of the earlier one but the number of starts.
static void accept_start(struct cr_story *story)
{
    story->starting = false;
    story->output[0] = 0;
    story->step = story->steps = story->rows_verified = story->pads_ready = NAN;
    if (strcmp(story->role, story->kind) == 0) return;
    if (story->kind[0]) {
        cr_series_clear(&story->train);
        cr_series_clear(&story->eval);
        cr_series_clear(&story->federation);
        forget_silos(story, story->began); // a `join` has heard of itself already
        forget_numbers(story);
    }
    snprintf(story->kind, sizeof story->kind, "%s", story->role);
}

static void end_run(struct cr_story *story, const struct cr_event *event)
{
    story->ended = true;
    double code = cr_event_number(event, "exit_code");
    story->exit_code = code >= 0 && code < 256 ? (int)code : 1;
    if (event->message) put_text(story->why, sizeof story->why, event->message);
    for (size_t i = 0; i < story->silo_count; i++) story->silos[i].connected = false;
}

static enum cr_status take_step(struct cr_story *story, const struct cr_event *event)
{
    put_number(&story->epoch, event, "epoch");
    put_number(&story->loss, event, "loss");
    put_number(&story->learning_rate, event, "learning_rate");
    put_number(&story->grad_norm, event, "grad_norm");
    put_number(&story->tokens_per_second, event, "tokens_per_second");
    put_number(&story->eta, event, "eta");
    return cr_series_add(&story->train, story->step, story->loss);
}

static enum cr_status take_eval(struct cr_story *story, const struct cr_event *event)
{
    put_number(&story->eval_loss, event, "loss");
    put_number(&story->eval_accuracy, event, "accuracy");
    return cr_series_add(&story->eval, story->step, story->eval_loss);
}

// For a `join`: what the silo waits for while it neither trains nor has answered.
static void await_server(struct cr_story *story)
{
    bool found;
    size_t at = place_of(story, story->self, &found);
    bool idle = found && strcmp(cr_story_silo_state(story, &story->silos[at]), "connected") == 0;
    put_text(story->waiting, sizeof story->waiting, idle ? "for the server to begin" : "");
}

static void lose_server(struct cr_story *story, const char *why)
{
    bool found;
    size_t at = place_of(story, story->self, &found);
    if (found) story->silos[at].connected = false;
    put_text(story->waiting, sizeof story->waiting, why);
}

static enum cr_status take_train(struct cr_story *story, const struct cr_event *event, const char *name)
{
    if (strcmp(name, "reading") == 0) {
        snprintf(story->waiting, sizeof story->waiting, "%.0f%% of the data are read",
                 100 * cr_event_number(event, "part"));
    } else if (strcmp(name, "begin") == 0) {
        await_server(story);
        story->fresh = strcmp(story->role, "tune") == 0; // a silo's rounds continue in any case
    } else if (strcmp(name, "resumed") == 0) {
        story->fresh = false;
    }
    if (story->starting) return CR_OK;
    put_number(&story->step, event, "step");
    put_number(&story->steps, event, "steps");
    put_number(&story->rows_verified, event, "rows_verified");
    put_number(&story->pads_ready, event, "pads_ready");
    if (strcmp(name, "step") != 0 && strcmp(name, "eval") != 0) return CR_OK;
    if (story->fresh) { // a new run in the same directory
        cr_series_clear(&story->train);
        cr_series_clear(&story->eval);
        story->eval_loss = story->eval_accuracy = NAN;
        story->fresh = false;
    }
    return strcmp(name, "step") == 0 ? take_step(story, event) : take_eval(story, event);
}

static void begin_federation(struct cr_story *story, const struct cr_event *event)
{
    put_text(story->address, sizeof story->address, cr_event_text(event, "address"));
    put_number(&story->min_clients, event, "min_clients");
    // The first round may belong to a new run, whose silos may differ, as may those of a split model, which
    // send all and leave: they are added as they come.
    if (story->round > 1) return;
    cr_series_clear(&story->federation);
    story->loss = story->round_seconds = NAN;
    forget_silos(story, INFINITY);
}

static enum cr_status close_round(struct cr_story *story, const struct cr_event *event, double time)
{
    if (!isnan(story->round_began)) story->round_seconds = time - story->round_began;
    put_number(&story->round_seconds, event, "seconds");
    // (A silo's own loss is a different one.)
    if (strcmp(event->name, "round.done") == 0) put_number(&story->loss, event, "loss");
    return cr_series_add(&story->federation, story->round, cr_event_number(event, "loss"));
}

static void begin_round(struct cr_story *story, double time)
{
    story->round_began = time;
    for (size_t i = 0; i < story->silo_count; i++) {
        story->silos[i].dropped = false;
        story->silos[i].awaited = story->silos[i].connected && !story->self[0]; // a silo awaits no other
        story->silos[i].step = story->silos[i].steps = NAN;
    }
}

// Takes events of the whole federation: "server.", "round." and "client.".
static enum cr_status take_federation(struct cr_story *story, const struct cr_event *event, double time)
{
    const char *name = event->name;
    put_number(&story->rounds, event, "rounds");
    if (strcmp(name, "client.trained") != 0) put_number(&story->round, event, "round");
    if (strcmp(name, "server.listening") == 0) begin_federation(story, event);
    if (strcmp(name, "server.untold") == 0) put_text(story->why, sizeof story->why, event->message);
    if (strcmp(name, "round.begin") == 0 || strcmp(name, "client.round") == 0) begin_round(story, time);
    if (strcmp(name, "round.done") == 0 || strcmp(name, "client.closed") == 0)
        return close_round(story, event, time);
    if (strcmp(name, "client.round") == 0) story->waiting[0] = 0;
    if (strcmp(name, "client.waiting") == 0) lose_server(story, event->message);
    if (strcmp(name, "client.connected") == 0) {
        put_text(story->self, sizeof story->self, cr_event_text(event, "silo"));
        put_text(story->address, sizeof story->address, cr_event_text(event, "address"));
        await_server(story);
    }
    return CR_OK;
}

static enum cr_status take_silo(struct cr_story *story, const char *silo_name, const struct cr_event *event,
                                double time)
{
    struct cr_story_silo *silo;
    const char *name = event->name;
    CR_TRY(silo_of(story, silo_name, &silo));
    if (!silo) return CR_OK;
    if (strcmp(name, "server.left") == 0) silo->connected = false;
    if (strcmp(name, "round.dropped") == 0) silo->dropped = true;
    put_number(&silo->rows_verified, event, "rows_verified");
    if (strcmp(name, "simulate.eval") == 0) {
        put_number(&silo->eval_loss, event, "loss");
        put_number(&silo->eval_accuracy, event, "accuracy");
    }
    if (strcmp(name, "split.asked") == 0) { // it has disconnected
        silo->connected = false;
        silo->seen = time;
        return CR_OK;
    }
    bool held = strcmp(name, "split.held") == 0, sends = held || strcmp(name, "split.receiving") == 0;
    if (sends) silo->sending = true;
    if (sends) silo->sent = held;
    if (sends) put_number(&silo->examples, event, "examples");
    bool trains = strcmp(name, "round.progress") == 0 || strcmp(name, "round.trained") == 0 ||
                  strcmp(name, "client.trained") == 0;
    bool comes = strcmp(name, "server.joined") == 0 || strcmp(name, "client.connected") == 0;
    if (!trains && !sends && !comes) return CR_OK;
    silo->connected |= strcmp(name, "client.trained") != 0; // a silo that is disconnected reports this too
    silo->seen = time;
    if (!trains) return CR_OK;
    put_number(&silo->round, event, "round");
    put_number(&silo->step, event, "step");
    put_number(&silo->steps, event, "steps");
    if (strcmp(name, "round.progress") == 0 && silo->step == 0) return CR_OK; // it has no numbers yet
    put_number(&silo->loss, event, "loss");
    put_number(&silo->tokens_per_second, event, "tokens_per_second");
    if (strcmp(name, "round.progress") == 0) return CR_OK;
    silo->trained = silo->told = silo->round;
    silo->step = silo->steps;
    return cr_series_add(&silo->losses, silo->round, silo->loss);
}

// The entry of the silo itself, for a `join`.
static enum cr_status take_self(struct cr_story *story, const struct cr_event *event, double time)
{
    struct cr_story_silo *silo;
    CR_TRY(silo_of(story, story->self, &silo));
    if (!silo) return CR_OK;
    silo->seen = time;
    silo->round = story->round;
    put_number(&silo->loss, event, "loss");
    put_number(&silo->tokens_per_second, event, "tokens_per_second");
    return CR_OK;
}

bool cr_story_keeps(struct cr_story *story, const struct cr_event *event, double time)
{
    const char *name = cr_event_text(event, "silo");
    bool known, answer = strcmp(event->name, "round.trained") == 0;
    if ((strcmp(event->name, "round.progress") != 0 && !answer) || !name) return true;
    size_t at = place_of(story, name, &known);
    if (!known) return true;
    struct cr_story_silo *silo = &story->silos[at];
    if (answer)
        return silo->told != cr_event_number(event, "round") || silo->loss != cr_event_number(event, "loss");
    // fabs: a clock that was set back must not suppress events.
    if (silo->round == cr_event_number(event, "round") && fabs(time - silo->kept) < progress_seconds)
        return false;
    silo->kept = time;
    return true;
}

enum cr_status cr_story_take(struct cr_story *story, const struct cr_event *event, double time)
{
    const char *name = event->name;
    const char *silo = cr_event_text(event, "silo");
    story->updated = time;
    if (strcmp(name, "client.trained") == 0) silo = story->self;
    if (strcmp(name, "run.begin") == 0) begin_run(story, event, time);
    if (story->starting && accepts(name)) accept_start(story);
    if (strcmp(name, "run.end") == 0) end_run(story, event);
    if (strcmp(name, "attestation.warning") == 0 && story->warning[0] == 0) // the first matters most
        put_text(story->warning, sizeof story->warning, event->message);
    if (cr_event_text(event, "output"))
        put_text(story->output, sizeof story->output, cr_event_text(event, "output"));
    if (strcmp(name, "split.sending") == 0 || strcmp(name, "split.sent") == 0) {
        story->waiting[0] = 0;
        put_number(&story->sent, event, "examples");
        put_number(&story->to_send, event, strcmp(name, "split.sent") == 0 ? "examples" : "all");
    }
    if (strcmp(name, "split.serving") == 0) {
        story->serving = true;
        story->eta = NAN;
    }
    if (strncmp(name, "train.", 6) == 0) {
        CR_TRY(take_train(story, event, name + 6));
        return strcmp(name, "train.step") == 0 && story->self[0] ? take_self(story, event, time) : CR_OK;
    }
    if (silo && silo[0]) CR_TRY(take_silo(story, silo, event, time));
    if (strncmp(name, "server.", 7) == 0 || strncmp(name, "round.", 6) == 0 ||
        strncmp(name, "client.", 7) == 0)
        CR_TRY(take_federation(story, event, time));
    return strcmp(name, "client.round") == 0 && story->self[0] ? take_self(story, event, time) : CR_OK;
}

static enum cr_status take(void *context, const struct cr_event *event, double time)
{
    return cr_story_take(context, event, time);
}

enum cr_status cr_story_read(struct cr_story *story, const char *path)
{
    size_t offset = 0;
    return cr_events_read(path, &offset, take, story);
}
