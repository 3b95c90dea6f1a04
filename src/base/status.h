// The only error type of the program.
//
// A function that can fail returns enum cr_status, which callers must use, and leaves its outputs untouched
// unless it returns CR_OK. The message for the user ("what happened: why (hint)") lies in a buffer of the
// calling thread until the next failure in that thread; secrets never go into it. It may quote text from
// anywhere: control characters, line breaks included, are replaced by question marks.
//
// These numbers are also sent to peers (docs/PROTOCOL.md, Refused): add new ones at the end.
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
    CR_UNSUPPORTED, // valid, but not supported by this program
    CR_DENIED,      // a peer's identity, token or evidence was refused
    CR_PROTOCOL,    // a peer broke the protocol
    CR_TIMEOUT,     // no progress for longer than allowed
    CR_CANCELLED,   // a user or a signal asked to stop
    CR_INTERNAL,    // a bug in our own code
};

// Records the message and returns `code`, so that failing takes one line: return cr_fail(CR_INVALID, "...",
// ...). An argument may be the previous message.
enum cr_status cr_fail(enum cr_status code, const char *format, ...) CR_PRINTF(2, 3);

// The same with ": " and errno's text appended; if errno is ENOMEM, `code` becomes CR_NO_MEMORY. errno is
// read before anything is formatted.
enum cr_status cr_fail_errno(enum cr_status code, const char *format, ...) CR_PRINTF(2, 3);

// Puts the formatted prefix and ": " before the message of a failure that is being passed on; returns `code`.
enum cr_status cr_fail_within(enum cr_status code, const char *format, ...) CR_PRINTF(2, 3);

// The calling thread's last message; valid until its next failure.
const char *cr_error_message(void);

// A few words for each code ("its input is wrong", ...), for a peer that must not see the message itself.
const char *cr_status_name(enum cr_status code);

// The exit code of carrel's programs: 0 ok; 2 invalid or unsupported input; 3 not found or input/output; 4
// denied or protocol; 5 timed out; 130 cancelled; 1 anything else.
int cr_exit_code(enum cr_status code);

// Passes a failure on to the caller.
#define CR_TRY(call)                                                                                         \
    do {                                                                                                     \
        enum cr_status cr_try_status_ = (call);                                                              \
        if (cr_try_status_ != CR_OK) return cr_try_status_;                                                  \
    } while (0)

#endif
