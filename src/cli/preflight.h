// The parts of `carrel preflight`.
#ifndef CARREL_CLI_PREFLIGHT_H
#define CARREL_CLI_PREFLIGHT_H

#include "cli/checks.h"
#include "federation/config.h"
#include "federation/role_options.h"

// Checks processor, model, data, memory and one forward pass, with these settings.
enum cr_status cr_preflight_training(struct cr_checks *checks, const struct cr_tuning_config *config);

// The same for a silo of a split model, which opens only the first layers, and for its data.
enum cr_status cr_preflight_cutter(struct cr_checks *checks, const struct cr_tuning_config *config);

// Checks what a silo with this token needs: by the job, if the silo's state already has it; otherwise what
// does not depend on a job, and the rest is reported as unknown.
enum cr_status cr_preflight_token(struct cr_checks *checks, const char *token,
                                  const struct cr_client_options *silo);

// Checks that a directory can be made or written, and that `bytes` fit (0: unknown).
enum cr_status cr_preflight_place(struct cr_checks *checks, const char *name, const char *directory,
                                  double bytes);

// Checks the same for the run directory beside it; prints nothing if that is so.
enum cr_status cr_preflight_run(struct cr_checks *checks, const char *directory);

// Checks what a server needs besides a model.
enum cr_status cr_preflight_server(struct cr_checks *checks, const struct cr_config *config);

// The same for its job, appraisal policy and evidence.
enum cr_status cr_preflight_job(struct cr_checks *checks, const struct cr_config *config);

// Checks that the key that seals state in the directory is available; `sealing` NULL: auto.
enum cr_status cr_preflight_sealing(struct cr_checks *checks, const char *sealing, const char *tpm,
                                    const char *directory);

// Checks what a silo needs from the network: the token (which is not used up), the clock, and a server that
// matches the token. `enrolled`: the state directory of a silo already enrolled; NULL if the token is still
// to be used. `expired`: its certificate has expired.
enum cr_status cr_preflight_silo(struct cr_checks *checks, const struct cr_token *token, const char *enrolled,
                                 bool expired);

#endif
