// The sealing key of unit tests.
#ifndef CARREL_TESTS_SEALING_SUPPORT_H
#define CARREL_TESTS_SEALING_SUPPORT_H

#include "crypto/seal.h"
#include "support.h"

static const struct cr_sealing_key test_key = {"test", {1, 2, 3}};

#endif
