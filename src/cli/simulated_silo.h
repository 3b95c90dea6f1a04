// One silo of `carrel simulate`: the process that joins and, if the job has slicing, its own accelerators.
// Each writes a log in federation.state_dir/silos/NAME.
#ifndef CARREL_CLI_SIMULATED_SILO_H
#define CARREL_CLI_SIMULATED_SILO_H

#include "cli/local_accelerators.h"
#include "federation/config.h"
#include "federation/progress.h"

struct cr_simulated_silo {
    const struct cr_config *config;
    const struct cr_silo_config *settings; // of this silo
    size_t threads;                        // for each process: one mostly waits while the other computes
    int lock;                              // inherited by both (cli/child.h)
    struct cr_child trusted;
    int token;   // descriptor of a pipe with its join token; -1: none
    char *state; // directory
    char *log;   // path
    struct cr_local_accelerators accelerators;
    struct cr_progress said;                // writes the silo's events into its log
    char slicing[CR_EVENT_LINE_FIELDS][32]; // names of the numbers in its last "train.slicing",
    double numbers[CR_EVENT_LINE_FIELDS];   // and their values
    size_t number_count;                    // 0: there was none yet
};

#define CR_SIMULATED_SILO_NONE                                                                               \
    ((struct cr_simulated_silo){                                                                             \
        .trusted = CR_CHILD_NONE, .token = -1, .accelerators = CR_LOCAL_ACCELERATORS_NONE})

// Makes the directory and the logs. *out must be CR_SIMULATED_SILO_NONE; release it with
// cr_simulated_silo_release, even after a failure. Config, settings and lock must outlive the silo.
enum cr_status cr_simulated_silo_open(const struct cr_config *config, size_t number, size_t threads, int lock,
                                      struct cr_simulated_silo *out);
void cr_simulated_silo_release(struct cr_simulated_silo *silo);

// Starts the accelerators that the settings require for a silo.
enum cr_status cr_simulated_silo_hire(struct cr_simulated_silo *silo);

// Invites the silo. Invite all silos before starting any: an enrolment does not wait for a process that
// writes an invitation.
enum cr_status cr_simulated_silo_invite(struct cr_simulated_silo *silo);

// Starts the invited silo.
enum cr_status cr_simulated_silo_join(struct cr_simulated_silo *silo);

// Reads the silo's output; with `wait`, until it has ended.
enum cr_status cr_simulated_silo_follow(struct cr_simulated_silo *silo, bool wait);

// Fail if the silo has ended with a failure, or if an accelerator has ended for whatever reason; the message
// names the silo and the log.
enum cr_status cr_simulated_silo_check(const struct cr_simulated_silo *silo);
enum cr_status cr_simulated_silo_check_accelerators(struct cr_simulated_silo *silo);

// Sends one event "simulate.slicing" with the silo's last figures, if it had accelerators.
void cr_simulated_silo_tell(const struct cr_simulated_silo *silo, const struct cr_event_sink *sink);

// Waits for the silo, which must have been asked to stop before (cr_child_pass_on), and stops its
// accelerators.
void cr_simulated_silo_end(struct cr_simulated_silo *silo);

#endif
