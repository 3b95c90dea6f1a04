// The table of certificates that a host may pass to its SNP guest along with a report.
//
// Source: AMD, "SEV-ES Guest-Hypervisor Communication Block Standardization" (56421), section 4.1.8.1.
#ifndef CARREL_ATTESTATION_SNP_TABLE_H
#define CARREL_ATTESTATION_SNP_TABLE_H

#include "base/bytes.h"

enum { CR_SNP_TABLE_MOST = 16 };

// The contents of the table's entries, in their order and of any kind, borrowed from `table`; endorsements.h
// finds out which are certificates. CR_INVALID if the table has no end, has more entries than
// CR_SNP_TABLE_MOST, or an entry is not within the bytes.
enum cr_status cr_snp_table_parse(struct cr_slice table, struct cr_slice certificates[CR_SNP_TABLE_MOST],
                                  size_t *count);

#endif
