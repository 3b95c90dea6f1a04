// The table of certificates that a host may hand to its SNP guest with a report.
//
// Source: AMD, "SEV-ES Guest-Hypervisor Communication Block Standardization" (56421), section 4.1.8.1.
#ifndef CARREL_ATTESTATION_SNP_TABLE_H
#define CARREL_ATTESTATION_SNP_TABLE_H

#include "base/bytes.h"

enum { CR_SNP_TABLE_MOST = 16 };

// What the table's entries name, in the table's bytes, in their order and whatever their kind: whether
// anything is a certificate is for endorsements.h to find out. CR_INVALID where the table has no end, more
// entries than CR_SNP_TABLE_MOST, or one that is not within the bytes.
enum cr_status cr_snp_table_parse(struct cr_slice table, struct cr_slice certificates[CR_SNP_TABLE_MOST],
                                  size_t *count);

#endif
