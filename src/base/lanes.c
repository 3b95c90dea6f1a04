#include "base/lanes.h"

#include "base/memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct lane {
    struct cr_lanes *lanes;
    size_t index;
    pthread_t thread;    // unused for lane 0
    pthread_cond_t turn; // signalled when it is this lane's turn, or it must stop
    bool returned;       // from this run's work
};

// The turn is passed on under the mutex, which makes everything that a lane wrote visible to the next one. So
// the members after `turn` are accessed without the mutex, by the lane whose turn it is. Between runs it is
// lane 0's turn.
struct cr_lanes {
    struct lane *lane; // [count]
    size_t count;
    pthread_mutex_t mutex;
    bool stopping; // under the mutex
    size_t turn;   // written under the mutex

    size_t left; // lanes that have not returned; 0: nothing runs
    enum cr_status (*work)(void *context, size_t lane);
    void *context;
    enum cr_status status; // of the first lane that failed
    char why[1024];        // its message, copied from that lane's thread
};

// The next unfinished lane after `index`; 0, which ends the run, if there is none.
static size_t next_after(const struct cr_lanes *lanes, size_t index)
{
    for (size_t i = 1; i <= lanes->count; i++) {
        size_t other = (index + i) % lanes->count;
        if (!lanes->lane[other].returned) return other;
    }
    return 0;
}

// Waits until it is this lane's turn; false if it must stop. The mutex is held.
static bool wait_for_turn(struct lane *self)
{
    struct cr_lanes *lanes = self->lanes;
    while (lanes->turn != self->index && !lanes->stopping) pthread_cond_wait(&self->turn, &lanes->mutex);
    return !lanes->stopping;
}

// The mutex is held.
static void give_turn(struct cr_lanes *lanes, size_t index)
{
    lanes->turn = index;
    pthread_cond_signal(&lanes->lane[index].turn);
}

// One lane's part of a run.
static void perform(struct lane *self)
{
    struct cr_lanes *lanes = self->lanes;
    enum cr_status status = lanes->status == CR_OK ? lanes->work(lanes->context, self->index) : CR_OK;
    if (status != CR_OK && lanes->status == CR_OK) {
        lanes->status = status;
        snprintf(lanes->why, sizeof lanes->why, "%s", cr_error_message());
    }
    self->returned = true;
    lanes->left--;
}

static void *lane_main(void *argument)
{
    struct lane *self = argument;
    struct cr_lanes *lanes = self->lanes;
    pthread_mutex_lock(&lanes->mutex);
    while (wait_for_turn(self)) {
        pthread_mutex_unlock(&lanes->mutex);
        perform(self);
        pthread_mutex_lock(&lanes->mutex);
        give_turn(lanes, next_after(lanes, self->index));
    }
    pthread_mutex_unlock(&lanes->mutex);
    return NULL;
}

enum cr_status cr_lanes_new(size_t count, struct cr_lanes **out)
{
    if (count == 0) return cr_fail(CR_INVALID, "lanes: 0: must be at least 1");
    struct cr_lanes *lanes;
    CR_TRY(cr_allocate(1, sizeof *lanes, &lanes));
    enum cr_status status = cr_allocate(count, sizeof *lanes->lane, &lanes->lane);
    if (status != CR_OK) {
        free(lanes);
        return status;
    }
    pthread_mutex_init(&lanes->mutex, NULL);
    for (size_t i = 0; i < count; i++) {
        struct lane *lane = &lanes->lane[i];
        *lane = (struct lane){.lanes = lanes, .index = i};
        pthread_cond_init(&lane->turn, NULL);
        int error = i > 0 ? pthread_create(&lane->thread, NULL, lane_main, lane) : 0;
        if (error != 0) {
            pthread_cond_destroy(&lane->turn);
            cr_lanes_free(lanes);
            return cr_fail(CR_NO_MEMORY, "lane %zu of %zu: its thread could not be started (error %d)", i + 1,
                           count, error);
        }
        lanes->count++;
    }
    *out = lanes;
    return CR_OK;
}

void cr_lanes_free(struct cr_lanes *lanes)
{
    if (!lanes) return;
    pthread_mutex_lock(&lanes->mutex);
    lanes->stopping = true;
    for (size_t i = 1; i < lanes->count; i++) pthread_cond_signal(&lanes->lane[i].turn);
    pthread_mutex_unlock(&lanes->mutex);
    for (size_t i = 0; i < lanes->count; i++) {
        if (i > 0) pthread_join(lanes->lane[i].thread, NULL);
        pthread_cond_destroy(&lanes->lane[i].turn);
    }
    pthread_mutex_destroy(&lanes->mutex);
    free(lanes->lane);
    free(lanes);
}

size_t cr_lanes_count(const struct cr_lanes *lanes)
{
    return lanes ? lanes->count : 1;
}

size_t cr_lanes_current(const struct cr_lanes *lanes)
{
    return lanes ? lanes->turn : 0;
}

enum cr_status cr_lanes_run(struct cr_lanes *lanes, enum cr_status (*work)(void *context, size_t lane),
                            void *context)
{
    if (!lanes) return work(context, 0);
    for (size_t i = 0; i < lanes->count; i++) lanes->lane[i].returned = false;
    lanes->left = lanes->count;
    lanes->work = work;
    lanes->context = context;
    lanes->status = CR_OK;
    perform(&lanes->lane[0]);
    pthread_mutex_lock(&lanes->mutex);
    give_turn(lanes, next_after(lanes, 0));
    wait_for_turn(&lanes->lane[0]);
    pthread_mutex_unlock(&lanes->mutex);
    return lanes->status == CR_OK ? CR_OK : cr_fail(lanes->status, "%s", lanes->why);
}

enum cr_status cr_lanes_pass_on(struct cr_lanes *lanes)
{
    if (!lanes || lanes->left == 0) return CR_OK;
    struct lane *self = &lanes->lane[lanes->turn];
    size_t next = next_after(lanes, self->index);
    if (lanes->status == CR_OK && next != self->index) {
        pthread_mutex_lock(&lanes->mutex);
        give_turn(lanes, next);
        wait_for_turn(self);
        pthread_mutex_unlock(&lanes->mutex);
    }
    if (lanes->status == CR_OK) return CR_OK;
    return cr_fail(CR_CANCELLED, "given up: another lane has failed");
}
