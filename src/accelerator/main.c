// carrel-accelerator: computes products with a frozen model for trusted processes, on numbers that reveal
// nothing to it. It is not trusted: the trusted process verifies each answer.
#include "accelerator/front.h"
#include "accelerator/session.h"

#include "base/file.h"
#include "base/flags.h"
#include "base/mapping.h"

#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double patience = 120; // seconds without a sign of life in the middle of a question
enum { MOST_CONNECTIONS = 64 };     // further connections wait until one ends

struct visit {
    int socket;
    char peer[32];
};

// Used by all connections until the process ends.
static struct cr_model *model;
static struct cr_frozen frozen;
static struct cr_front_model front;
static struct cr_accelerator accelerator = {.frozen = &frozen, .busy = PTHREAD_MUTEX_INITIALIZER};
static struct cr_stream_host *host; // NULL: no TLS
static sem_t places;
static atomic_int listener = -1;
static atomic_bool ending;

// A thread that waits for the signals that end the process. It removes the socket file, which would otherwise
// stay.
static void *wait_for_end(void *signals)
{
    int number;
    while (sigwait(signals, &number) != 0) {
    }
    int open = atomic_load(&listener);
    atomic_store(&ending, true);
    if (open >= 0) cr_socket_withdraw(&open);
    _exit(cr_exit_code(CR_CANCELLED));
}

// Call it before any other thread starts, so that all threads leave these signals to the waiting one.
static enum cr_status catch_signals(void)
{
    static sigset_t signals;
    pthread_t thread;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    if (pthread_sigmask(SIG_BLOCK, &signals, NULL) != 0 ||
        pthread_create(&thread, NULL, wait_for_end, &signals) != 0)
        return cr_fail(CR_NO_MEMORY, "no thread can be started to wait for signals");
    pthread_detach(thread);
    return CR_OK;
}

static void *serve(void *argument)
{
    struct visit *visit = argument;
    struct cr_stream stream = {.socket = visit->socket};
    enum cr_status status = host ? cr_stream_accept(host, visit->socket, visit->peer, &stream) : CR_OK;
    if (status == CR_OK) status = cr_accelerator_serve(&accelerator, &stream, visit->peer);
    if (status != CR_OK) fprintf(stderr, "carrel-accelerator: %s\n", cr_error_message());
    cr_stream_release(&stream);
    cr_socket_close(&visit->socket);
    free(visit);
    sem_post(&places);
    return NULL;
}

static enum cr_status next_visit(size_t number)
{
    struct visit *visit;
    pthread_t thread;
    CR_TRY(cr_allocate(1, sizeof *visit, &visit));
    visit->socket = -1;
    snprintf(visit->peer, sizeof visit->peer, "connection %zu", number);
    enum cr_status status = cr_socket_accept(atomic_load(&listener), patience, &visit->socket);
    if (status == CR_OK && pthread_create(&thread, NULL, serve, visit) == 0) {
        pthread_detach(thread);
        return CR_OK;
    }
    if (status == CR_OK)
        fprintf(stderr, "carrel-accelerator: no thread can be started for %s\n", visit->peer);
    cr_socket_close(&visit->socket);
    free(visit);
    sem_post(&places);
    return status;
}

static enum cr_status listen_at(const char *address)
{
    int open;
    char name[CR_SOCKET_NAME_SIZE];
    CR_TRY(cr_socket_listen(address, &open));
    atomic_store(&listener, open);
    CR_TRY(cr_socket_name(open, name));
    printf("carrel-accelerator: engine %s, listening on %s%s%s%s\n", accelerator.engine->name,
           host ? "tls:" : "", name, host ? "#" : "", host ? cr_stream_host_key(host) : "");
    fflush(stdout);
    sem_init(&places, 0, MOST_CONNECTIONS);
    for (size_t number = 1;; number++) {
        while (sem_wait(&places) != 0) { // interrupted by a signal
        }
        enum cr_status status = next_visit(number);
        while (atomic_load(&ending)) pause(); // wait_for_end ends the process
        CR_TRY(status);
    }
}

// What follows "tls:" in the address; NULL if it does not begin so.
static const char *without_tls(const char *address)
{
    static const char prefix[] = "tls:";
    return strncmp(address, prefix, sizeof prefix - 1) == 0 ? address + sizeof prefix - 1 : NULL;
}

static enum cr_status run(const char *directory, const char *address, const char *identity, size_t threads)
{
    static struct cr_compute *compute;
    const char *name = without_tls(address);
    if (name) CR_TRY(cr_stream_host_new(identity, &host));
    CR_TRY(cr_compute_new(threads, &compute));
    CR_TRY(cr_model_open(directory, CR_MODEL_IN_8BIT, NULL, compute, CR_F32, &model));
    CR_TRY(cr_frozen_open(model, &frozen));
    CR_TRY(cr_front_model_open(model, &front));
    accelerator.model = &front.model;
    CR_TRY(cr_engine_cpu.open(&frozen, compute, &accelerator.engine));
    return listen_at(name ? name : address);
}

static enum cr_status print(const struct cr_buffer *text)
{
    if (fwrite(text->data, 1, text->size, stdout) != text->size || fflush(stdout) != 0)
        return cr_fail_errno(CR_IO, "standard output");
    return CR_OK;
}

static enum cr_status start(int argc, char **argv)
{
    const char *directory = NULL, *address = NULL, *identity = NULL;
    size_t threads = 0;
    bool version = false, help;
    const struct cr_flag items[] = {
        {"model", CR_FLAG_STRING, &directory, "DIR", "the frozen model: a Hugging Face directory"},
        {"listen", CR_FLAG_STRING, &address, "ADDRESS", "unix:PATH, host:port, or tls:HOST:PORT"},
        {"identity", CR_FLAG_STRING, &identity, "DIR", "for tls: where its key is; made if there is none"},
        {"threads", CR_FLAG_SIZE, &threads, "N",
         "threads that compute; 0, the default: one per processor it may use"},
        {"version", CR_FLAG_BOOL, &version, NULL, "print which carrel-accelerator this is"},
    };
    const struct cr_flags flags = {
        "carrel-accelerator --model DIR --listen ADDRESS [options]",
        "Computes products with the model's frozen matrices for trusted processes that hide "
        "their numbers under\none-time pads and verify what comes back. It keeps nothing.",
        items,
        sizeof items / sizeof *items,
        0,
        0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_TRY(cr_file_fill_standard());
    CR_TRY(cr_file_watch_mappings("carrel-accelerator"));
    CR_TRY(cr_flags_parse(&flags, argc, argv, NULL, NULL, &help));
    if (help) CR_TRY(cr_flags_help(&flags, &text));
    if (version) CR_TRY(cr_append_format(&text, "carrel-accelerator " CARREL_VERSION "\n"));
    if (text.size > 0) return print(&text);
    if (!directory) return cr_fail(CR_INVALID, "--model DIR is missing");
    if (!address) return cr_fail(CR_INVALID, "--listen ADDRESS is missing");
    if (without_tls(address) && !identity) return cr_fail(CR_INVALID, "--identity DIR is missing, for tls:");
    if (!without_tls(address) && identity)
        return cr_fail(CR_INVALID, "--identity: only with --listen tls:HOST:PORT");
    CR_TRY(catch_signals());
    return run(directory, address, identity, threads);
}

int main(int argc, char **argv)
{
    enum cr_status status = start(argc, argv);
    if (status != CR_OK) fprintf(stderr, "carrel-accelerator: %s\n", cr_error_message());
    return cr_exit_code(status);
}
