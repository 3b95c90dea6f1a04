// One connection from a trusted process: answers its questions, one after the other, until it ends.
#ifndef CARREL_ACCELERATOR_SESSION_H
#define CARREL_ACCELERATOR_SESSION_H

#include "accelerator/engine.h"
#include "crypto/stream.h"

#include <pthread.h>

// Shared by all connections.
struct cr_accelerator {
    const struct cr_frozen *frozen;
    const struct cr_model *model; // the model of `frozen`; its layers are used for the clear front
    struct cr_engine *engine;
    pthread_mutex_t busy; // held while engine or model work on a question
};

// Answers questions until the peer ends the connection; CR_OK if it ends between two questions. An error in
// the protocol is sent to the peer and returned, and nothing more is sent. The socket stays open.
enum cr_status cr_accelerator_serve(struct cr_accelerator *accelerator, struct cr_stream *stream,
                                    const char *peer);

#endif
