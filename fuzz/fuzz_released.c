// A hostile result for the owner of a job: the file itself, which never opens, since nobody who made it knows
// this process's key; and, since whoever knows an owner's public key can encrypt to it, the content.
#include "crypto/recipient.h"
#include "federation/released.h"

#include "base/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct cr_manifest job = {.has_owner = true, .digest = {1, 2, 3}};
static struct cr_identity *owner;

static void must(enum cr_status status)
{
    if (status != CR_OK) abort();
}

static bool opens(const char *path, struct cr_slice content)
{
    CR_CLEANUP(cr_released_release) struct cr_released released = {0};
    if (cr_released_open(path, &job, owner, &released) != CR_OK) return false;
    float *values = malloc(released.count * sizeof *values + 1);
    must(cr_released_values(&released, values));
    bool same = content.size == 40 + released.count * sizeof *values &&
                memcmp(values, content.data + 40, released.count * sizeof *values) == 0;
    free(values);
    if (!same) abort();
    return true;
}

static void try_file(struct cr_slice bytes)
{
    char path[40];
    int fd = memfd_create("released", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || write(fd, bytes.data, bytes.size) != (ssize_t)bytes.size) abort();
    if (opens(path, bytes)) abort();
    close(fd);
}

static void try_content(struct cr_slice content)
{
    static char path[64];
    CR_CLEANUP(cr_secret_free) struct cr_sealing_key *key = NULL;
    struct cr_sealing sealing = {.purpose = "result"};
    snprintf(path, sizeof path, "/dev/shm/carrel-fuzz-released-%d", (int)getpid());
    must(cr_recipient_seal(job.owner, (struct cr_slice){job.digest, sizeof job.digest}, sealing.bound, &key));
    sealing.key = key;
    must(cr_seal_write(path, &sealing, content));
    if (opens(path, content) != (content.size >= 40 && content.size % 4 == 0)) abort();
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!owner) {
        must(cr_identity_new(&owner));
        must(cr_identity_point(owner, job.owner));
    }
    const struct cr_slice bytes = {data, size};
    try_file(bytes);
    try_content(bytes);
    return 0;
}
