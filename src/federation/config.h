// The settings file of all commands, and the table of its keys.
//
// `tune`, `serve` and `simulate` read it from disk. `join` receives it from the server: the server's settings
// in canonical form are the job, and a silo inserts its own paths of model and data.
#ifndef CARREL_FEDERATION_CONFIG_H
#define CARREL_FEDERATION_CONFIG_H

#include "tuning/config.h"

enum cr_optimizer_state {
    CR_OPTIMIZER_STATE_RESET, // moments start at zero in every round
    CR_OPTIMIZER_STATE_KEEP   // each silo keeps its own moments from round to round
};

enum cr_weighting {
    CR_WEIGHTING_LABELLED_TOKENS, // a silo's weight is its number of labelled tokens in the round
    CR_WEIGHTING_UNIFORM          // all silos have the same weight
};

// Who receives the result.
enum cr_release {
    CR_RELEASE_ALL,    // the server, in output_dir, and silos that ask
    CR_RELEASE_SERVER, // only the server
    CR_RELEASE_SILOS,  // silos that ask; the server writes none
    CR_RELEASE_OWNER,  // the job's owner, to whom the server encrypts it (federation/released.h)
    CR_RELEASE_SEALED  // nobody: it stays in the server's sealed state
};

// Whether silos that ask receive the result.
bool cr_release_gives_silos(int release);

struct cr_federation_config {
    char *address;          // host:port that the server listens on; port 0: any free one
    char *advertise;        // host:port that join tokens carry; NULL: address
    char *state_dir;        // directory from which a restarted server continues
    char *job;              // path of the signed job; NULL: the server signs its own
    char *appraisal_policy; // path of the policy for jobs that are made here; NULL: none
    int release;            // enum cr_release
    size_t rounds;
    size_t local_steps;      // optimiser steps of one round; 0: local_epochs decides
    double local_epochs;     // passes over the silo's own data in one round; used if local_steps is 0
    size_t min_clients;      // 0: as many as `silos` lists, or 1 if it lists none
    double deadline;         // seconds after which a round closes with min_clients answers; 0: none
    int optimizer_state;     // enum cr_optimizer_state
    int weighting;           // enum cr_weighting
    double progress_timeout; // seconds without a sign of life after which a peer counts as gone
};

// The host's settings of attestation (federation/attested.h); all else is in the job.
struct cr_attestation_config {
    int attester; // cr_config_attester
    char *tpm;    // device or socket; NULL: the usual one
    int sealing;  // cr_config_sealing
    char *endorsements;
};

// One silo of `carrel simulate`.
struct cr_silo_config {
    char *name; // 1 to 63 of [a-z0-9-]
    char *data; // path
    char *eval; // path or NULL
};

struct cr_config {
    struct cr_tuning_config tuning;
    struct cr_federation_config federation;
    struct cr_attestation_config attestation;
    struct cr_record_list silos; // of struct cr_silo_config
    bool epochs_given;           // whether training.num_train_epochs was given
};

extern const struct cr_option_table cr_config_table;

// Reads a file, and checks rules that concern several keys at once and that output_dir ends in a name.
// Relative paths stay as they are, relative to the working directory. On failure nothing needs releasing.
enum cr_status cr_config_read(const char *path, struct cr_config *out);

// The same, with settings of a command line ("KEY=VALUE") overriding those of the file.
enum cr_status cr_config_read_with(const char *path, const char *const *settings, size_t count,
                                   struct cr_config *out);

// The same for text in memory, such as a job from a server, which has no output_dir. `name` stands for the
// file in messages.
enum cr_status cr_config_parse(struct cr_slice yaml, const char *name, struct cr_config *out);
void cr_config_release(struct cr_config *config);

// The same for the settings in a job manifest.
enum cr_status cr_config_parse_job(const char *settings, struct cr_config *out);

// The name of the attester: "auto", "gramine", ...
const char *cr_config_attester(const struct cr_config *config);

// The source of the key that seals state: "auto", "gramine", ...
const char *cr_config_sealing(const struct cr_config *config);

// The number of silos that a round needs.
size_t cr_config_min_clients(const struct cr_config *config);

// Appends the job: the settings in canonical form, without what concerns only the server's machine (its
// paths, addresses, threads and the list of silos) or only `tune` (save_steps, eval_steps). Equal jobs have
// equal bytes.
enum cr_status cr_config_job(const struct cr_config *config, struct cr_buffer *yaml);

// Checks that a name has 1 to 63 characters of [a-z0-9-], as certificates, tokens and file names need.
enum cr_status cr_config_check_name(const char *name);

// Warnings about settings that have no effect in a federation, since its rounds determine how long each silo
// trains, and since its server reads no data; NULL: none. They are no errors, since the same file may be
// meant for `tune` as well.
const char *cr_config_idle_max_steps(const struct cr_config *config);
const char *cr_config_idle_epochs(const struct cr_config *config);
const char *cr_config_idle_data(const struct cr_config *config);

// Sets training.max_steps or num_train_epochs to what all rounds together train on one silo.
void cr_config_apply_rounds(struct cr_config *config);

#endif
