// Checks of settings beyond each one's range; for the files behind federation/config.h.
#ifndef CARREL_FEDERATION_CONFIG_CHECK_H
#define CARREL_FEDERATION_CONFIG_CHECK_H

#include "federation/config.h"

// `name` is the name of the settings' file, `lines` is as cr_options_read and cr_options_override have filled
// it. Fails with CR_INVALID and the place of the wrong setting.
enum cr_status cr_config_check(const struct cr_config *config, const char *name, const size_t *lines);

// The same for settings that name this machine's files, which a job does not. Refuses: paths that are empty
// or begin with ~, malformed addresses, label words without data that need them, an output_dir that does not
// end in a name (trailing slashes are removed), and a state_dir that is the same directory.
enum cr_status cr_config_check_files(struct cr_config *config, const char *name, const size_t *lines);

#endif
