#include "federation/round.h"

#include <string.h>

static void act(struct cr_round_actions *actions, enum cr_round_action_kind kind, size_t silo)
{
    actions->items[actions->count++] = (struct cr_round_action){kind, silo};
}

void cr_round_init(struct cr_round *machine, const struct cr_round_rules *rules, uint64_t round,
                   const unsigned char start[CR_SHA256_SIZE])
{
    *machine = (struct cr_round){.rules = *rules, .round = round, .short_since = -1};
    memcpy(machine->start, start, CR_SHA256_SIZE);
}

static size_t present(const struct cr_round *machine)
{
    size_t count = 0;
    for (size_t i = 0; i < machine->silo_count; i++)
        count += machine->silos[i].present && !machine->silos[i].dropped;
    return count;
}

// Present silos, and those that were only lost and may come back in time.
static size_t hoped_for(const struct cr_round *machine)
{
    size_t count = 0;
    for (size_t i = 0; i < machine->silo_count; i++) {
        const struct cr_round_silo *silo = &machine->silos[i];
        count += (silo->present || silo->taking_part) && !silo->dropped;
    }
    return count;
}

static void tell_to_begin(struct cr_round *machine, size_t silo, struct cr_round_actions *actions)
{
    machine->silos[silo].taking_part = true;
    act(actions, CR_ROUND_BEGIN, silo);
}

static void begin(struct cr_round *machine, double now, struct cr_round_actions *actions)
{
    machine->phase = CR_ROUND_TRAINING;
    machine->began = now;
    for (size_t i = 0; i < machine->silo_count; i++)
        if (machine->silos[i].present) tell_to_begin(machine, i, actions);
}

static void collect(struct cr_round *machine, struct cr_round_actions *actions)
{
    machine->phase = CR_ROUND_COLLECTING;
    for (size_t i = 0; i < machine->silo_count; i++)
        machine->silos[i].in_set = machine->silos[i].answered && !machine->silos[i].dropped;
    act(actions, CR_ROUND_COLLECT, 0);
}

// Closes the round if the rules allow it.
static void consider_closing(struct cr_round *machine, double now, struct cr_round_actions *actions)
{
    size_t answered = 0, awaited = 0;
    for (size_t i = 0; i < machine->silo_count; i++) {
        const struct cr_round_silo *silo = &machine->silos[i];
        if (!silo->taking_part || silo->dropped) continue;
        answered += silo->answered;
        awaited += !silo->answered;
    }
    bool late = machine->rules.deadline > 0 && now - machine->began >= machine->rules.deadline;
    if (answered >= machine->rules.min_clients && (awaited == 0 || late)) collect(machine, actions);
}

// After a silo of the set was dropped: collects again from the others, or waits for more answers.
static void reconsider_set(struct cr_round *machine, double now, struct cr_round_actions *actions)
{
    machine->phase = CR_ROUND_TRAINING;
    for (size_t i = 0; i < machine->silo_count; i++) {
        struct cr_round_silo *silo = &machine->silos[i];
        silo->in_set = false;
        // Silos that came during the collection may take part now.
        if (silo->present && !silo->taking_part && !silo->dropped) tell_to_begin(machine, i, actions);
    }
    consider_closing(machine, now, actions);
}

static void on_ready(struct cr_round *machine, double now, size_t number, struct cr_round_actions *actions)
{
    struct cr_round_silo *silo = &machine->silos[number];
    if (number >= machine->silo_count) machine->silo_count = number + 1;
    silo->present = true;
    if (silo->late && !silo->readmitted && present(machine) < machine->rules.min_clients) {
        silo->readmitted = true;
        silo->dropped = false;
    }
    if (machine->phase == CR_ROUND_WAITING) {
        if (present(machine) >= machine->rules.min_clients) begin(machine, now, actions);
    } else if (machine->phase == CR_ROUND_TRAINING) {
        // A silo that reconnects must announce its answer again: its disk may have been lost.
        silo->answered = false;
        if (!silo->dropped) tell_to_begin(machine, number, actions);
    } else if (silo->in_set) {
        // It has its answer on disk and sends it at once.
        tell_to_begin(machine, number, actions);
    } else { // if the set becomes too small, it is told to begin, like others that came meanwhile
        silo->taking_part = silo->answered = false;
    }
}

static void on_answered(struct cr_round *machine, double now, size_t number, const struct cr_answer *answer,
                        struct cr_round_actions *actions)
{
    struct cr_round_silo *silo = &machine->silos[number];
    if (machine->phase == CR_ROUND_WAITING || !silo->taking_part || silo->dropped) return;
    if (answer->round != machine->round || memcmp(answer->start, machine->start, CR_SHA256_SIZE) != 0) {
        act(actions, CR_ROUND_BEGIN, number);
        return;
    }
    bool repeated = silo->answered && memcmp(answer->digest, silo->answer.digest, CR_SHA256_SIZE) == 0 &&
                    answer->labelled == silo->answer.labelled;
    silo->answered = true;
    silo->answer = *answer;
    // Too late for this round, unless the set becomes too small.
    if (machine->phase == CR_ROUND_COLLECTING && !silo->in_set) return;
    if (machine->phase == CR_ROUND_TRAINING)
        consider_closing(machine, now, actions);
    else if (repeated)
        act(actions, CR_ROUND_RESUME, number);
    else
        collect(machine, actions);
}

static void on_tick(struct cr_round *machine, double now, struct cr_round_actions *actions)
{
    bool set_changed = false;
    for (size_t i = 0; i < machine->silo_count; i++) {
        struct cr_round_silo *silo = &machine->silos[i];
        if (!silo->taking_part || silo->dropped || silo->present) continue;
        if (now - silo->gone_since < machine->rules.absence) continue;
        silo->dropped = true;
        set_changed |= silo->in_set;
        act(actions, CR_ROUND_DROP, i);
    }
    if (machine->phase == CR_ROUND_TRAINING)
        consider_closing(machine, now, actions);
    else if (set_changed)
        reconsider_set(machine, now, actions);
}

void cr_round_handle(struct cr_round *machine, double now, const struct cr_round_event *event,
                     struct cr_round_actions *actions)
{
    actions->count = 0;
    struct cr_round_silo *silo = &machine->silos[event->silo];
    switch (event->kind) {
    case CR_ROUND_READY:
        on_ready(machine, now, event->silo, actions);
        break;
    case CR_ROUND_LOST:
        silo->present = false;
        silo->gone_since = now;
        break;
    case CR_ROUND_ANSWERED:
        on_answered(machine, now, event->silo, event->answer, actions);
        break;
    case CR_ROUND_REFUSED:
    case CR_ROUND_LATE:
        silo->dropped = true;
        silo->refused |= event->kind == CR_ROUND_REFUSED;
        silo->late |= event->kind == CR_ROUND_LATE;
        silo->present = false; // its connection is ended too: the next round must not wait for it
        if (machine->phase == CR_ROUND_COLLECTING) reconsider_set(machine, now, actions);
        break;
    case CR_ROUND_TICK:
        if (machine->phase != CR_ROUND_WAITING) on_tick(machine, now, actions);
        break;
    }
    if (machine->phase == CR_ROUND_WAITING) return;
    // Fails the run if too few silos are present for `absence`, or at once if a refused silo leaves too few
    // even with those that may come back: it would only be refused again.
    if (present(machine) >= machine->rules.min_clients) {
        machine->short_since = -1;
        return;
    }
    if (machine->short_since < 0) machine->short_since = now;
    bool hopeless = event->kind == CR_ROUND_REFUSED && hoped_for(machine) < machine->rules.min_clients;
    if (hopeless || now - machine->short_since >= machine->rules.absence) act(actions, CR_ROUND_FAIL, 0);
}

void cr_round_next(struct cr_round *machine, double now, const unsigned char start[CR_SHA256_SIZE],
                   struct cr_round_actions *actions)
{
    actions->count = 0;
    machine->round++;
    memcpy(machine->start, start, CR_SHA256_SIZE);
    for (size_t i = 0; i < machine->silo_count; i++)
        machine->silos[i] = (struct cr_round_silo){.present = machine->silos[i].present};
    begin(machine, now, actions);
}
