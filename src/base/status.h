// The one error type of the whole program.
//
// A function that can fail returns enum cr_status, which the compiler obliges every caller to use, and leaves
// its outputs untouched unless it returns CR_OK. The sentence for the person ("what happened: why (hint)")
// lies in a buffer of the calling thread until the next failure there; secrets never go into it. What it
// quotes may come from anywhere: control characters in it, but the ends of lines, become question marks.
//
// Peers send each other these numbers (docs/PROTOCOL.md, Refused): a new one goes to the end.
#ifndef CARREL_BASE_STATUS_H
#define CARREL_BASE_STATUS_H

#define CR_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))

#define CR_MUST_USE [[nodiscard]]

enum CR_MUST_USE cr_status {
    CR_OK = 0,
    CR_INVALID,     // input from outside is wrong: a file, an option, a message
    CR_NOT_FOUND,   // a named thing does not exist
    CR_IO,          // the operating system refused a read, write, connection, ...
    CR_NO_MEMORY,   // an allocation failed or a stated bound would be passed
    CR_UNSUPPORTED, // right in itself, but this program does not do it
    CR_DENIED,      // a peer's identity, token or evidence was refused
    CR_PROTOCOL,    // a peer broke the protocol
    CR_TIMEOUT,     // no progress for longer than allowed
    CR_CANCELLED,   // the person or a signal asked to stop
    CR_INTERNAL,    // a broken promise of our own code
};

// Records the sentence and returns `code`, so that failing is one line: return cr_fail(CR_INVALID, "...",
// ...). An argument may be the sentence before.
enum cr_status cr_fail(enum cr_status code, const char *format, ...) CR_PRINTF(2, 3);

// The same with ": " and the text of errno appended; errno is read first, and ENOMEM makes it CR_NO_MEMORY.
enum cr_status cr_fail_errno(enum cr_status code, const char *format, ...) CR_PRINTF(2, 3);

// Puts "prefix: " before the sentence of a failure that is being passed on; returns `code`.
enum cr_status cr_fail_within(enum cr_status code, const char *format, ...) CR_PRINTF(2, 3);

// The calling thread's last sentence; valid until its next failure.
const char *cr_error_message(void);

// A few words for each code ("its input is wrong", ...): what a peer is told of a failure whose sentence is
// not for it.
const char *cr_status_name(enum cr_status code);

// What a program of ours exits with: 0 ok; 2 invalid or unsupported input; 3 not found or input/output;
// 4 denied or protocol; 5 no progress in time; 130 cancelled; 1 anything else.
int cr_exit_code(enum cr_status code);

// Passes a failure on to the caller.
#define CR_TRY(call)                                                                                         \
    do {                                                                                                     \
        enum cr_status cr_try_status_ = (call);                                                              \
        if (cr_try_status_ != CR_OK) return cr_try_status_;                                                  \
    } while (0)

#endif
