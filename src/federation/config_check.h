// What is wrong with settings although each is within its range; for the files behind federation/config.h.
#ifndef CARREL_FEDERATION_CONFIG_CHECK_H
#define CARREL_FEDERATION_CONFIG_CHECK_H

#include "federation/config.h"

// `name` is the settings' file, `lines` as cr_options_read and cr_options_override have filled it. CR_INVALID
// names the place of the setting.
enum cr_status cr_config_check(const struct cr_config *config, const char *name, const size_t *lines);

// The same of settings that name this machine's files, as a job does not: paths that are empty or begin with
// a shell's ~, what is no address, label words that no data is for, an output_dir that does not end in a name
// (slashes behind a name go), a state_dir that is the same directory.
enum cr_status cr_config_check_files(struct cr_config *config, const char *name, const size_t *lines);

#endif
