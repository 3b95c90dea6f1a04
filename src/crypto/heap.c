#include "crypto/heap.h"

#include "base/secret.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdalign.h>
#include <string.h>

enum {
    SMALLEST = 32, // bytes of a piece with its header; each class is twice the previous one
    CLASSES = 11,  // up to 32 KiB, enough for a TLS record; anything larger is a block of its own
    CHUNK = 1 << 18,
};

// The header in front of the caller's memory.
struct piece {
    alignas(16) struct piece *next; // next in the list of free pieces
    size_t size;                    // as requested by the caller
};

static struct {
    pthread_mutex_t lock;
    struct piece *free[CLASSES];
    unsigned char *chunk; // from which new pieces are cut
    size_t left;
} heap = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t piece_size(unsigned class)
{
    return (size_t)SMALLEST << class;
}

// Returns CLASSES if it is too large for any class.
static unsigned class_of(size_t size)
{
    unsigned class = 0;
    while (class < CLASSES && piece_size(class) - sizeof(struct piece) < size) class ++;
    return class;
}

static bool take_chunk(void)
{
    unsigned char *chunk;
    if (cr_secret_allocate(CHUNK, 1, &chunk) != CR_OK) return false;
    heap.chunk = chunk; // the rest of the old chunk stays unused
    heap.left = CHUNK;
    return true;
}

// The lock is held. Returns NULL if there is no memory.
static struct piece *cut(unsigned class)
{
    if (heap.left < piece_size(class) && !take_chunk()) return NULL;
    void *piece = heap.chunk;
    heap.chunk += piece_size(class);
    heap.left -= piece_size(class);
    return piece;
}

static struct piece *take_of(unsigned class)
{
    pthread_mutex_lock(&heap.lock);
    struct piece *piece = heap.free[class];
    if (piece)
        heap.free[class] = piece->next;
    else
        piece = cut(class);
    pthread_mutex_unlock(&heap.lock);
    return piece;
}

static void *take(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    if (size == 0 || size > SIZE_MAX / 4) return NULL;
    unsigned class = class_of(size);
    struct piece *piece = NULL;
    if (class < CLASSES)
        piece = take_of(class);
    else if (cr_secret_allocate(sizeof *piece + size, 1, &piece) != CR_OK)
        return NULL;
    if (!piece) return NULL;
    piece->size = size;
    return piece + 1;
}

static void give(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    if (!block) return;
    struct piece *piece = (struct piece *)block - 1;
    unsigned class = class_of(piece->size);
    if (class == CLASSES) {
        cr_secret_free(&piece);
        return;
    }
    cr_wipe(block, piece->size);
    pthread_mutex_lock(&heap.lock);
    piece->next = heap.free[class];
    heap.free[class] = piece;
    pthread_mutex_unlock(&heap.lock);
}

static void *resize(void *block, size_t size, const char *file, int line)
{
    if (!block) return take(size, file, line);
    struct piece *piece = (struct piece *)block - 1;
    unsigned class = class_of(piece->size);
    if (size > 0 && class < CLASSES && class == class_of(size)) {
        if (size < piece->size) cr_wipe((unsigned char *)block + size, piece->size - size);
        piece->size = size;
        return block;
    }
    void *moved = take(size, file, line);
    if (!moved && size > 0) return NULL;
    if (moved) memcpy(moved, block, cr_least(size, piece->size));
    give(block, file, line);
    return moved;
}

bool cr_openssl_heap_start(void)
{
    if (!take_chunk()) return false;
    (void)CRYPTO_set_mem_functions(take, resize, give);
    return true;
}
