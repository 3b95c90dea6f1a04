// Logs of the measurements in a TPM's PCRs or a TD's RTMRs, in TCG's crypto-agile form, as firmware writes
// them (for a TD, the ACPI table CCEL).
//
// Source: TCG, "PC Client Platform Firmware Profile", section "Event Logging"; UEFI, "Confidential
// Computing".
#ifndef CARREL_ATTESTATION_EVENT_LOG_H
#define CARREL_ATTESTATION_EVENT_LOG_H

#include "attestation/appraisal.h"
#include "attestation/tpm.h"

enum { CR_EVENT_REGISTERS = 24, CR_EVENT_MOST_SIZE = 48 };

// Register values computed from a log, by the log's register numbers (a TD's RTMR n has number n + 1).
struct cr_event_replay {
    bool extended[CR_EVENT_REGISTERS]; // whether the log mentions the register
    unsigned char values[CR_EVENT_REGISTERS][CR_EVENT_MOST_SIZE];
    size_t events;
};

// Replays the log: starts with zeros and extends registers by every event's digest in this bank, SHA-256 or
// SHA-384. The log ends with its bytes, or where they are all ones. CR_INVALID if it is malformed or an event
// lacks the bank, CR_UNSUPPORTED for SHA-1.
enum cr_status cr_event_log_replay(struct cr_slice log, enum cr_tpm_hash bank, struct cr_event_replay *out);

// Adds the finding "event_log": whether the replayed log equals the quoted registers [count], of which the
// first has number `first` in the log. Registers that the log does not mention, and empty slices, are
// skipped.
enum cr_status cr_event_log_judge(struct cr_appraisal *appraisal, struct cr_slice log, enum cr_tpm_hash bank,
                                  const struct cr_slice *registers, size_t count, size_t first);

#endif
