// carrel tune --preview: shows the first examples as the model will see them.
#ifndef CARREL_CLI_PREVIEW_H
#define CARREL_CLI_PREVIEW_H

#include "federation/role_options.h"

// Prints the first examples of the training data token by token, with tokens to be learned in brackets (and
// coloured on a terminal); with --json one object per line: example, and tokens with id, token and label.
// Dropped rows are reported on stderr.
enum cr_status cr_preview(const struct cr_role_options *options);

#endif
