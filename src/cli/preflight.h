// The parts of `carrel preflight`.
#ifndef CARREL_CLI_PREFLIGHT_H
#define CARREL_CLI_PREFLIGHT_H

#include "cli/checks.h"
#include "federation/config.h"
#include "federation/role_options.h"

// Processor, model, data, memory and one forward pass, as these settings have them.
enum cr_status cr_preflight_training(struct cr_checks *checks, const struct cr_tuning_config *config);

// The same of a silo of a split model, which opens the first layers alone, and its data.
enum cr_status cr_preflight_cutter(struct cr_checks *checks, const struct cr_tuning_config *config);

// What a silo with that token needs: the job's where its state has the job already, and otherwise what no job
// can change, with the rest told as unknown.
enum cr_status cr_preflight_token(struct cr_checks *checks, const char *token,
                                  const struct cr_client_options *silo);

// That a directory can be made or written, and that `bytes` fit; 0: how many nobody knows.
enum cr_status cr_preflight_place(struct cr_checks *checks, const char *name, const char *directory,
                                  double bytes);

// That the run directory beside it can be, too; says nothing where it can.
enum cr_status cr_preflight_run(struct cr_checks *checks, const char *directory);

// What a server needs beside a model.
enum cr_status cr_preflight_server(struct cr_checks *checks, const struct cr_config *config);

// The same of its job, appraisal policy and evidence.
enum cr_status cr_preflight_job(struct cr_checks *checks, const struct cr_config *config);

// That the key can be had under which state in the directory is sealed; `sealing` NULL: auto.
enum cr_status cr_preflight_sealing(struct cr_checks *checks, const char *sealing, const char *tpm,
                                    const char *directory);

// What a silo needs of the network: the token (not spent by this), the clock, and a server that is the
// token's. `enrolled`: the state that is enrolled already; NULL where the token is still to be used.
// `expired`: with a certificate that has run out.
enum cr_status cr_preflight_silo(struct cr_checks *checks, const struct cr_token *token, const char *enrolled,
                                 bool expired);

#endif
