// carrel tune --preview: the first examples as the model will see them.
#ifndef CARREL_CLI_PREVIEW_H
#define CARREL_CLI_PREVIEW_H

#include "federation/role_options.h"

// Prints the first examples of the training data token by token, those that are to be learned in brackets
// (and in colour on a terminal), or with --json one object a line: example, tokens of id, token and label.
// Rows left out on the way are told on stderr.
enum cr_status cr_preview(const struct cr_role_options *options);

#endif
