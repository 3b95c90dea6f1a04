#include "federation/progress.h"

#include "base/clock.h"
#include "base/words.h"
#include "format/event_line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

// The totals of slicing. The chi-square has 255 degrees of freedom: evenly distributed words give about 255,
// and 99 times of 100 a value within the bounds that the text names.
#define SLICING                                                                                              \
    "{rows_verified} row<s> verified, {bytes_blinded:M} blinded, {pads_used} pad<s> used; "                  \
    "{online_seconds:1} s of asking, {offline_seconds:1} s of making pads meanwhile; the accelerator saw "   \
    "words with a chi-square of {chi_square:1} (evenly spread: 255; 99 times of 100 between 201 and 317)"    \
    "[; the clear front ends before layer {front_layers}: {front_examples} example<s> asked for once, "      \
    "{front_checked} of them computed again]"

// When a sentence is shown. PLAIN: always. LIVE: on a terminal, in a line that the next sentence overwrites;
// on other streams every plain_pause seconds. STEP: on a terminal like LIVE; on other streams always, since
// the user chose how often it comes.
enum form { PLAIN, LIVE, STEP };

// The sentence of each event. {name} is a field: a text as it is, a number with separated thousands. After a
// colon: a digit for that many decimals, % for per cent, l for a loss, s for a duration, M for an amount of
// bytes. {message} is the event's own message. <s> is left out if the number before it is 1. A part in
// brackets is left out if the event lacks one of its fields, or has an empty one, such as the name of a silo
// that is not yet known.
static const struct {
    const char *event;
    enum form form;
    const char *text;
} sentences[] = {
    {"enclave.hardened", PLAIN, "{message}"},
    {"server.job", PLAIN, "the job is {job}, signed by {message}"},
    {"server.listening", PLAIN,
     "listening on {address} for at least {min_clients} silo<s>[: round {round} of {rounds}]"},
    {"attestation.admitted", PLAIN, "{peer} is admitted on {type} evidence ({verdict}): {message}"},
    {"attestation.refused", PLAIN, "{peer} is refused: {message}"},
    {"server.enrolled", PLAIN, "{silo} enrolled from {address}"},
    {"server.joined", PLAIN, "{silo} joined from {address}[ (and came and went {others} time<s> before)]"},
    {"server.left", PLAIN, "[{silo} ]{address} left: {message}[ (and {others} more before)]"},
    {"server.done", PLAIN,
     "the federation is done[: the result is in {output}][, for the job's owner {owner} alone]"},
    {"round.begin", PLAIN, "round {round} of {rounds} begins with {silos} silo<s>"},
    {"round.progress", LIVE,
     "round {round}: {silo} is at step {step} of {steps}[, loss {loss:l}][, {tokens_per_second} tokens/s]"},
    {"round.trained", PLAIN, "round {round}: {silo} trained on {labelled} labelled token<s>, loss {loss:l}"},
    {"round.dropped", PLAIN, "round {round}: {silo} is left out: {message}"},
    {"round.late", PLAIN, "round {round}: {silo} was too late for it"},
    {"round.done", PLAIN, "round {round} of {rounds} is done: {silos} silo<s>, loss {loss:l}, {seconds:s}"},
    {"client.connected", PLAIN, "{silo} is connected to {address}"},
    {"client.waiting", PLAIN, "waiting: {message}"},
    {"client.enrolled", PLAIN, "{silo} is enrolled; its identity is in {state}"},
    {"client.known", PLAIN,
     "{silo} is enrolled already: its identity in {state} is used, and the token is not"},
    {"client.manifest", PLAIN,
     "the job is {job}, signed by {owner}, with {policy}; silos: {silos} (carrel job show {file} tells all "
     "of it)"},
    {"client.round", PLAIN, "round {round} of {rounds} begins"},
    {"client.trained", PLAIN, "round {round}: trained on {labelled} labelled token<s>, loss {loss:l}"},
    {"client.closed", PLAIN, "round {round} is closed: {silos} silo<s>, loss {loss:l}"},
    {"client.late", PLAIN, "round {round} was closed before this silo had trained"},
    {"client.done", PLAIN, "the federation is done: the result is in {output}"},
    {"split.receiving", LIVE, "{silo}: {examples} example<s> came, {bytes:M}"},
    {"split.held", PLAIN, "{silo}: all {examples} example<s> came: {rows} token<s>, {bytes:M}"},
    {"split.begin", PLAIN,
     "the tail is trained on {examples} example<s> of {silos} silo<s>: {rows} token<s>, {bytes:M}, without "
     "them"},
    {"split.sending", LIVE, "{examples} of {all} examples are with the server, {bytes:M} were sent"},
    {"split.sent", PLAIN,
     "all {examples} examples are with the server: {walked} went through the silo's layers in {seconds:1} s, "
     "{bytes:M} sent"},
    {"split.serving", PLAIN, "the tuned model answers its silos, on texts of at most {tokens} tokens"},
    {"split.asked", PLAIN,
     "{silo} has asked the tuned model: {texts} text<s>, {tokens} token<s> of them written, "
     "{examples} example<s> scored"},
    {"train.reading", LIVE, "reading {file}: {part:%}, {rows} row<s>"},
    {"train.connecting", PLAIN, "connecting to {accelerators}"},
    {"train.begin", PLAIN,
     "training {trainable} values on a model of {parameters}: {examples} example<s>, {steps} step<s>"},
    {"train.front", PLAIN, "{message}"},
    {"train.resumed", PLAIN, "going on at step {step} of {steps}"},
    {"train.step", STEP,
     "step {step} of {steps}[: loss {loss:l}], {tokens_per_second} tokens/s[, {rows_verified} row<s> "
     "verified][, {pads_ready} pad<s> ready], {eta:s} left"},
    {"train.slicing", PLAIN, "slicing: " SLICING},
    {"train.eval", PLAIN,
     "evaluation after step {step}: loss {loss:l}, accuracy {accuracy:%} of {labelled} token<s>"},
    {"tune.done", PLAIN, "the result is in {output} ({seconds:s})"},
    {"simulate.admitted", PLAIN,
     "{by} looked at the {type} evidence of {peer} {looks} time<s>: {verdict}: {message}"},
    {"simulate.slicing", PLAIN, "{silo}: " SLICING},
    {"simulate.eval", PLAIN, "{silo}: loss {loss:l}, accuracy {accuracy:%} of {labelled} held-out token<s>"},
};

// Shorter forms, for a terminal that is too narrow.
static const char brief_step[] = "step {step} of {steps}[: loss {loss:l}], {eta:s} left";
static const char brief_progress[] = "round {round}: {silo} {step}/{steps}[, loss {loss:l}]";

enum { SENTENCES = sizeof sentences / sizeof *sentences };
enum { MOST_WAITING = 1 << 20 };     // bytes that could not be written yet
static const double plain_pause = 2; // seconds between LIVE sentences on other streams than terminals

static size_t sentence_of(const struct cr_event *event)
{
    size_t i = 0;
    while (i < SENTENCES && strcmp(sentences[i].event, event->name) != 0) i++;
    return i;
}

static enum cr_status append_number(struct cr_buffer *out, double number, char form)
{
    if (form >= '1' && form <= '9') return cr_append_format(out, "%.*f", form - '0', number);
    if (form == '%') return cr_append_format(out, "%.1f %%", 100 * number);
    if (form == 'M')
        return number < 1e9 ? cr_append_format(out, "%.1f MB", number / 1e6)
                            : cr_append_format(out, "%.1f GB", number / 1e9);
    if (form == 'l') return cr_append_loss(out, number);
    return form == 's' ? cr_append_duration(out, number) : cr_append_count(out, number);
}

static const struct cr_event_field *field_of(const struct cr_event *event, const char *name, size_t length)
{
    for (size_t i = 0; i < event->field_count; i++)
        if (strlen(event->fields[i].name) == length && memcmp(event->fields[i].name, name, length) == 0)
            return &event->fields[i];
    return NULL;
}

// Leaves out the address at the start of the message, since the sentence has it from the event.
static enum cr_status append_message(struct cr_buffer *out, const struct cr_event *event)
{
    const char *message = event->message ? event->message : "no reason given";
    const char *address = cr_event_text(event, "address");
    size_t length = address ? strlen(address) : 0;
    if (length > 0 && strncmp(message, address, length) == 0 && strncmp(message + length, ": ", 2) == 0)
        message += length + 2;
    return cr_append_plain(out, message);
}

static enum cr_status append_field(struct cr_buffer *out, const struct cr_event *event, const char *name,
                                   size_t length, char form)
{
    if (length == 7 && memcmp(name, "message", 7) == 0) return append_message(out, event);
    const struct cr_event_field *field = field_of(event, name, length);
    if (!field) return cr_append_u8(out, '?');
    return field->text ? cr_append_plain(out, field->text) : append_number(out, field->number, form);
}

// Whether the event has all fields of the part in brackets at `text`, none of them empty.
static bool has_fields(const struct cr_event *event, const char *text)
{
    for (const char *at = text; *at != ']'; at++) {
        if (*at != '{') continue;
        const struct cr_event_field *field = field_of(event, at + 1, strcspn(at + 1, ":}"));
        if (!field || (field->text && field->text[0] == 0)) return false;
    }
    return true;
}

static enum cr_status append_sentence(const struct cr_event *event, const char *text, struct cr_buffer *out)
{
    bool one = false;
    for (const char *at = text; *at; at++) {
        if (*at == '[' && !has_fields(event, at)) at = strchr(at, ']');
        if (*at == '<' && one) at = strchr(at, '>');
        if (strchr("[]<>", *at)) continue;
        if (*at != '{') {
            CR_TRY(cr_append_u8(out, (uint8_t)*at));
            continue;
        }
        const char *end = strchr(at, '}');
        size_t length = strcspn(at + 1, ":}");
        CR_TRY(append_field(out, event, at + 1, length, at[1 + length] == ':' ? at[2 + length] : 0));
        const struct cr_event_field *field = field_of(event, at + 1, length);
        one = field && !field->text && field->number == 1;
        at = end;
    }
    return CR_OK;
}

enum cr_status cr_event_sentence(const struct cr_event *event, size_t most, struct cr_buffer *out)
{
    size_t number = sentence_of(event), start = out->size;
    if (number == SENTENCES) {
        if (event->level != CR_EVENT_WARNING || !event->message) return CR_OK;
        CR_TRY(cr_append_format(out, "warning: "));
        return cr_append_plain(out, event->message);
    }
    CR_TRY(append_sentence(event, sentences[number].text, out));
    if (out->size - start <= most) return CR_OK;
    const char *brief = strcmp(event->name, "train.step") == 0       ? brief_step
                        : strcmp(event->name, "round.progress") == 0 ? brief_progress
                                                                     : sentences[number].text;
    out->size = start;
    return append_sentence(event, brief, out);
}

void cr_progress_init(struct cr_progress *progress, bool json)
{
    *progress = (struct cr_progress){.out = json ? stdout : stderr, .json = json};
    progress->live = !json && isatty(STDERR_FILENO);
}

// The most columns of a live line. A line that wraps could not be overwritten.
static size_t columns_of(FILE *terminal)
{
    struct winsize window;
    if (ioctl(fileno(terminal), TIOCGWINSZ, &window) != 0 || window.ws_col == 0) return SIZE_MAX;
    return window.ws_col - 1u;
}

// On a full disk the log loses lines, and the work goes on. Any other failure means that nobody reads the
// events any more.
static void note_failure(struct cr_progress *progress, int error)
{
    if (error != ENOSPC && error != EDQUOT && error != EFBIG) progress->broken = error ? error : EIO;
}

// Writes what is waiting. If the stream cannot take it at once, waits only if `patient`.
static void put_out(struct cr_progress *progress, bool patient)
{
    int fd = progress->quick ? progress->quick : fileno(progress->out);
    struct cr_buffer *waiting = &progress->waiting;
    size_t done = 0;
    if (waiting->size == 0) return;
    while (done < waiting->size) {
        ssize_t put = write(fd, waiting->data + done, waiting->size - done);
        if (put >= 0) {
            done += (size_t)put;
        } else if (errno == EAGAIN) {
            if (!patient) break;
            (void)poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        } else if (errno != EINTR) {
            note_failure(progress, errno);
            done = waiting->size;
        }
    }
    memmove(waiting->data, waiting->data + done, waiting->size - done);
    waiting->size -= done;
}

static void receive(void *context, const struct cr_event *event)
{
    struct cr_progress *progress = context;
    size_t number = sentence_of(event);
    enum form form = number < SENTENCES ? sentences[number].form : PLAIN;
    double now = cr_clock_monotonic();
    if (form == LIVE && !progress->live && !progress->json && now - progress->last_line < plain_pause) return;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    bool overwrite = form != PLAIN && progress->live;
    size_t most = overwrite ? columns_of(progress->out) : SIZE_MAX;
    enum cr_status status =
        progress->json ? cr_event_line_append(event, &text) : cr_event_sentence(event, most, &text);
    if (status == CR_OK && text.size == 0) return;
    if (text.size > most) text.data[most] = 0;
    bool room = progress->waiting.size <= MOST_WAITING;
    if (status == CR_OK && room)
        status = cr_append_format(&progress->waiting, "%s%s%s", progress->live_shown ? "\r\033[K" : "",
                                  cr_buffer_text(&text), overwrite ? "" : "\n");
    if (status != CR_OK && progress->json) progress->broken = ENOMEM; // a program may wait for this event
    if (status != CR_OK || !room) {
        progress->lost++;
        return;
    }
    progress->live_shown = overwrite;
    progress->last_line = now;
    cr_progress_tick(progress);
}

void cr_progress_tick(struct cr_progress *progress)
{
    put_out(progress, false);
    if (progress->waiting.size > 0 || progress->lost == 0) return;
    struct cr_event_sink sink = cr_progress_sink(progress);
    size_t lost = progress->lost;
    progress->lost = 0;
    cr_emit(&sink, CR_EVENT_WARNING, "output.lost",
            "these events are not shown, for nobody took them in time: they are in the run directory alone",
            CR_FIELD("events", lost));
}

void cr_progress_never_wait(struct cr_progress *progress)
{
    struct stat about;
    char path[32];
    int fd = fileno(progress->out);
    if (!isatty(fd) && (fstat(fd, &about) != 0 || !S_ISFIFO(about.st_mode))) return;
    // Opened again, so that O_NONBLOCK does not affect other programs that share the descriptor.
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int quick = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (quick > 0) progress->quick = quick;
}

struct cr_event_sink cr_progress_sink(struct cr_progress *progress)
{
    return (struct cr_event_sink){receive, progress};
}

enum cr_status cr_progress_end(struct cr_progress *progress, enum cr_status status)
{
    if (progress->live_shown) (void)!cr_append_format(&progress->waiting, "\r\033[K");
    progress->live_shown = false;
    put_out(progress, true);
    cr_buffer_release(&progress->waiting);
    if (progress->quick) close(progress->quick);
    progress->quick = 0;
    if (!progress->broken) return status;
    errno = progress->broken;
    return cr_fail_errno(CR_IO, progress->json ? "standard output" : "standard error");
}
