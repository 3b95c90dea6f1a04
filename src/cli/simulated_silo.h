// One silo of `carrel simulate`: the process that joins and, where the job has slicing, its own accelerators.
// They leave a log each in federation.state_dir/silos/NAME.
#ifndef CARREL_CLI_SIMULATED_SILO_H
#define CARREL_CLI_SIMULATED_SILO_H

#include "cli/local_accelerators.h"
#include "federation/config.h"
#include "federation/progress.h"

struct cr_simulated_silo {
    const struct cr_config *config;
    const struct cr_silo_config *settings; // of this silo
    size_t threads;                        // of each process: one mostly waits while the other computes
    int lock;                              // that both inherit (cli/child.h)
    struct cr_child trusted;
    int token;   // what a pipe holds its join token by; -1: none
    char *state; // directory
    char *log;   // path
    struct cr_local_accelerators accelerators;
    struct cr_progress said;                // what the silo says, into its log
    char slicing[CR_EVENT_LINE_FIELDS][32]; // the numbers of its last "train.slicing": their names,
    double numbers[CR_EVENT_LINE_FIELDS];   // and themselves
    size_t number_count;                    // 0: it has not told any
};

#define CR_SIMULATED_SILO_NONE                                                                               \
    ((struct cr_simulated_silo){                                                                             \
        .trusted = CR_CHILD_NONE, .token = -1, .accelerators = CR_LOCAL_ACCELERATORS_NONE})

// Makes the directory and the logs. *out is CR_SIMULATED_SILO_NONE before. Release with
// cr_simulated_silo_release, whatever came of it. Config, settings and lock outlive the silo.
enum cr_status cr_simulated_silo_open(const struct cr_config *config, size_t number, size_t threads, int lock,
                                      struct cr_simulated_silo *out);
void cr_simulated_silo_release(struct cr_simulated_silo *silo);

// Starts the accelerators that the settings want of a silo.
enum cr_status cr_simulated_silo_hire(struct cr_simulated_silo *silo);

// Invites the silo. Before any is started: an enrolment does not wait for who writes an invitation.
enum cr_status cr_simulated_silo_invite(struct cr_simulated_silo *silo);

// Starts the silo that was invited.
enum cr_status cr_simulated_silo_join(struct cr_simulated_silo *silo);

// Takes in what the silo has said; `wait`: until it has ended.
enum cr_status cr_simulated_silo_follow(struct cr_simulated_silo *silo, bool wait);

// A silo that ended badly, and an accelerator that ended at all, are failures that name the silo and the log.
enum cr_status cr_simulated_silo_check(const struct cr_simulated_silo *silo);
enum cr_status cr_simulated_silo_check_accelerators(struct cr_simulated_silo *silo);

// Tells what slicing came to: one "simulate.slicing", where the silo had accelerators.
void cr_simulated_silo_tell(const struct cr_simulated_silo *silo, const struct cr_event_sink *sink);

// Ends all processes, where they still run: the silo as the signal does that came, which was passed on to it
// before.
void cr_simulated_silo_end(struct cr_simulated_silo *silo);

#endif
