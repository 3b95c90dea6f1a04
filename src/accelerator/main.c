// carrel-accelerator: computes products with a frozen model for trusted processes, on numbers that tell it
// nothing. It is not trusted: whoever asks verifies each answer.
#include "accelerator/session.h"

#include "base/flags.h"
#include "base/socket.h"

#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const double patience = 120; // seconds without a sign of life in the middle of a question
enum { MOST_CONNECTIONS = 64 };     // more wait until one has ended

struct visit {
    int socket;
    char peer[32];
};

// What connections use, to the end of the process.
static struct cr_model *model;
static struct cr_frozen frozen;
static struct cr_accelerator accelerator = {.frozen = &frozen, .busy = PTHREAD_MUTEX_INITIALIZER};
static sem_t places;

static void *serve(void *argument)
{
    struct visit *visit = argument;
    if (cr_accelerator_serve(&accelerator, visit->socket, visit->peer) != CR_OK)
        fprintf(stderr, "carrel-accelerator: %s\n", cr_error_message());
    cr_socket_close(&visit->socket);
    free(visit);
    sem_post(&places);
    return NULL;
}

static enum cr_status next_visit(int listener, size_t number)
{
    struct visit *visit;
    pthread_t thread;
    CR_TRY(cr_allocate(1, sizeof *visit, &visit));
    snprintf(visit->peer, sizeof visit->peer, "connection %zu", number);
    enum cr_status status = cr_socket_accept(listener, patience, &visit->socket);
    if (status == CR_OK && pthread_create(&thread, NULL, serve, visit) != 0) {
        cr_socket_close(&visit->socket);
        status = cr_fail(CR_NO_MEMORY, "no thread can be started for %s", visit->peer);
    }
    if (status == CR_OK)
        pthread_detach(thread);
    else
        free(visit);
    return status;
}

static enum cr_status listen_at(const char *address)
{
    CR_CLEANUP(cr_socket_close) int listener = -1;
    char name[CR_SOCKET_NAME_SIZE];
    CR_TRY(cr_socket_listen(address, &listener));
    CR_TRY(cr_socket_name(listener, name));
    printf("carrel-accelerator: engine %s, listening on %s\n", accelerator.engine->name, name);
    fflush(stdout);
    sem_init(&places, 0, MOST_CONNECTIONS);
    for (size_t number = 1;; number++) {
        while (sem_wait(&places) != 0) { // a signal
        }
        CR_TRY(next_visit(listener, number));
    }
}

static enum cr_status run(const char *directory, const char *address, size_t threads)
{
    static struct cr_compute *compute;
    CR_TRY(cr_compute_new(threads, &compute));
    CR_TRY(cr_model_open_8bit(directory, compute, CR_F32, &model));
    CR_TRY(cr_frozen_open(model, &frozen));
    CR_TRY(cr_engine_cpu.open(&frozen, compute, &accelerator.engine));
    return listen_at(address);
}

int main(int argc, char **argv)
{
    const char *directory = NULL, *address = NULL;
    size_t threads = 0;
    const struct cr_flag items[] = {
        {"model", CR_FLAG_STRING, &directory, "DIR", "the frozen model: a Hugging Face directory"},
        {"listen", CR_FLAG_STRING, &address, "ADDRESS", "unix:PATH, or host:port"},
        {"threads", CR_FLAG_SIZE, &threads, "N", "threads that compute; 0, the default: one per processor"},
    };
    const struct cr_flags flags = {
        "carrel-accelerator --model DIR --listen ADDRESS [options]",
        "Computes products with the model's frozen matrices for trusted processes that hide "
        "their numbers under\none-time pads and verify what comes back. It keeps nothing.",
        items,
        sizeof items / sizeof *items,
        0,
        0};
    size_t none;
    bool help = false;
    enum cr_status status = cr_flags_parse(&flags, argc, argv, NULL, &none, &help);
    if (status == CR_OK && help) {
        struct cr_buffer text = {0};
        status = cr_flags_help(&flags, &text);
        if (status == CR_OK) fwrite(text.data, 1, text.size, stdout);
        cr_buffer_release(&text);
        if (status == CR_OK) return 0;
    }
    if (status == CR_OK && !directory) status = cr_fail(CR_INVALID, "--model DIR is missing");
    if (status == CR_OK && !address) status = cr_fail(CR_INVALID, "--listen ADDRESS is missing");
    signal(SIGPIPE, SIG_IGN);
    if (status == CR_OK) status = run(directory, address, threads);
    if (status != CR_OK) fprintf(stderr, "carrel-accelerator: %s\n", cr_error_message());
    return cr_exit_code(status);
}
