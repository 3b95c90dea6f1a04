// One connection of a trusted process: its questions, one after the other, until it ends.
#ifndef CARREL_ACCELERATOR_SESSION_H
#define CARREL_ACCELERATOR_SESSION_H

#include "accelerator/engine.h"
#include "crypto/stream.h"

#include <pthread.h>

// What all connections share.
struct cr_accelerator {
    const struct cr_frozen *frozen;
    const struct cr_model *model; // that they are of, whose layers a clear front walks
    struct cr_engine *engine;
    pthread_mutex_t busy; // engine and model take one question at a time
};

// Answers until the peer ends the connection, which is CR_OK between two questions. What breaks the protocol
// is told to the peer and returned, and nothing is said after it. The socket stays open.
enum cr_status cr_accelerator_serve(struct cr_accelerator *accelerator, struct cr_stream *stream,
                                    const char *peer);

#endif
