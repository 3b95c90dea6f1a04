// Logs of what was measured into a TPM's PCRs or a TD's RTMRs: TCG's crypto-agile form, in which firmware
// leaves them (the ACPI table CCEL for a TD).
//
// Source: TCG, "PC Client Platform Firmware Profile", section "Event Logging"; UEFI, "Confidential
// Computing".
#ifndef CARREL_ATTESTATION_EVENT_LOG_H
#define CARREL_ATTESTATION_EVENT_LOG_H

#include "attestation/appraisal.h"
#include "attestation/tpm.h"

enum { CR_EVENT_REGISTERS = 24, CR_EVENT_MOST_SIZE = 48 };

// What a log comes to: registers by the log's own numbers (of a TD, RTMR n has the number n + 1).
struct cr_event_replay {
    bool extended[CR_EVENT_REGISTERS]; // whether the log says anything of it
    unsigned char values[CR_EVENT_REGISTERS][CR_EVENT_MOST_SIZE];
    size_t events;
};

// Extends registers of zeros by every event's digest in this bank, SHA-256 or SHA-384. The log ends where its
// bytes do or are all ones. CR_INVALID where it is malformed or an event lacks the bank, CR_UNSUPPORTED for
// SHA-1.
enum cr_status cr_event_log_replay(struct cr_slice log, enum cr_tpm_hash bank, struct cr_event_replay *out);

// The finding "event_log": that the log comes to the registers [count] that were quoted, of which number
// `first` in the log is the first. Those of which it says nothing, and empty slices, are passed over.
enum cr_status cr_event_log_judge(struct cr_appraisal *appraisal, struct cr_slice log, enum cr_tpm_hash bank,
                                  const struct cr_slice *registers, size_t count, size_t first);

#endif
