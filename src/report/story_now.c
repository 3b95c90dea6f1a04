// What a story says of the present: who is awaited, how long the run still takes, and its state.
#include "report/story.h"

#include <math.h>

// The expected duration of the current round: that of the last round, or what its slowest silo needs.
static double round_length(const struct cr_story *story)
{
    double longest = story->round_seconds;
    if (!isnan(longest)) return longest;
    for (size_t i = 0; i < story->silo_count; i++) {
        const struct cr_story_silo *silo = &story->silos[i];
        double length = (silo->seen - story->round_began) * silo->steps / silo->step;
        if (silo->round == story->round && silo->step > 0 && !(length <= longest)) longest = length;
    }
    return longest;
}

static bool is_missing(const struct cr_story *story, const struct cr_story_silo *silo)
{
    return silo->awaited && !silo->connected && !silo->dropped && !silo->sent &&
           !(silo->trained >= story->round);
}

// The number of silos that are connected, or no longer need to be.
static size_t count_here(const struct cr_story *story)
{
    size_t here = 0;
    for (size_t i = 0; i < story->silo_count; i++) here += story->silos[i].connected || story->silos[i].sent;
    return here;
}

enum cr_status cr_story_append_missing(const struct cr_story *story, struct cr_buffer *out)
{
    const struct cr_series *closed = &story->federation;
    size_t start = out->size;
    if (closed->count > 0 && closed->points[closed->count - 1].x >= story->rounds) return CR_OK;
    for (size_t i = 0; i < story->silo_count; i++)
        if (is_missing(story, &story->silos[i]))
            CR_TRY(cr_append_format(
                out, "%s%s", out->size > start ? ", " : "silos that are away: ", story->silos[i].name));
    if (out->size > start || !((double)count_here(story) < story->min_clients)) return CR_OK;
    return cr_append_format(out, "silos: %zu of at least %.0f are here", count_here(story),
                            story->min_clients);
}

static bool waits(const struct cr_story *story)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer missing = {0};
    return story->waiting[0] || cr_story_append_missing(story, &missing) != CR_OK || missing.size > 0;
}

double cr_story_eta(const struct cr_story *story, double now)
{
    if (waits(story)) return NAN;
    double left = story->eta, since = story->updated, length = round_length(story);
    if (story->rounds > 0 && !isnan(length)) {
        left = (story->rounds - story->round + 1) * length;
        since = story->round_began;
    }
    left -= now > since ? now - since : 0;
    return left < 0 ? 0 : left; // NaN stays NaN
}

const char *cr_story_silo_state(const struct cr_story *story, const struct cr_story_silo *silo)
{
    if (silo->dropped) return "left out";
    if (silo->sent) return "has sent all";
    if (!silo->connected) return "away";
    if (silo->sending) return "sending";
    if (silo->trained >= story->round) return "has answered";
    return silo->round >= story->round ? "training" : "connected";
}

bool cr_story_silo_is_here(const struct cr_story_silo *silo)
{
    return silo->connected && !silo->sent;
}

const char *cr_story_state(const struct cr_story *story, bool alive)
{
    if (alive) return "running";
    if (!story->ended) return "killed";
    if (story->exit_code == 0) return "finished";
    return story->exit_code == cr_exit_code(CR_CANCELLED) ? "stopped" : "failed";
}
