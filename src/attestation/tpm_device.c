#include "attestation/tpm_device.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    HEADER = 10, // tag (2 bytes), size (4), code (4)
    SIZE_AT = 2,
    PATIENCE = 60 * 1000, // milliseconds; a slow TPM needs seconds to make a key
    OWN_MAGIC = 0x6372746d,
    LAYER = 0xff0000, // the code's source: a TPM, or a resource manager with a TPM's codes
    KERNEL = TSS2_RESMGR_RC_LAYER,
    RESOURCE_MANAGER = TSS2_RESMGR_TPM_RC_LAYER,
};

static enum cr_status open_socket(struct cr_tpm_link *link)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(link->path) >= sizeof address.sun_path)
        return cr_fail(CR_INVALID, "%s: too long for a unix socket's path", link->path);
    strcpy(address.sun_path, link->path);
    link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link->fd < 0) return cr_fail_errno(CR_IO, "%s", link->path);
    if (connect(link->fd, (const struct sockaddr *)&address, sizeof address) == 0) return CR_OK;
    enum cr_status status = cr_fail_errno(CR_IO, "%s: no TPM answers there", link->path);
    close(link->fd);
    return status;
}

static enum cr_status open_device(struct cr_tpm_link *link)
{
    link->fd = open(link->path, O_RDWR | O_CLOEXEC);
    if (link->fd >= 0) return CR_OK;
    if (errno == EBUSY)
        return cr_fail(CR_IO,
                       "%s: busy: another program has it open (/dev/tpmrm0 can be shared, /dev/tpm0 not)",
                       link->path);
    if (errno == ENXIO || errno == ENODEV)
        return cr_fail(CR_NOT_FOUND, "%s: no TPM is behind it", link->path);
    return cr_fail_errno(CR_IO, "%s", link->path);
}

static enum cr_status open_link(struct cr_tpm_link *link)
{
    struct stat about;
    if (stat(link->path, &about) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return cr_fail(CR_NOT_FOUND,
                           "%s: not there: this machine has no TPM 2.0, or its driver is not loaded",
                           link->path);
        return cr_fail_errno(CR_IO, "%s", link->path);
    }
    link->is_socket = S_ISSOCK(about.st_mode);
    if (link->is_socket) return open_socket(link);
    if (S_ISCHR(about.st_mode)) return open_device(link);
    return cr_fail(CR_INVALID, "%s: neither a device nor a unix socket", link->path);
}

static TSS2_RC fail_link(struct cr_tpm_link *link, enum cr_status failure)
{
    link->failure = failure;
    return TSS2_TCTI_RC_IO_ERROR;
}

static TSS2_RC transmit(TSS2_TCTI_CONTEXT *context, size_t size, const uint8_t *command)
{
    struct cr_tpm_link *link = (struct cr_tpm_link *)context;
    // A device takes a command in one write. A peer that has closed must not end the process by SIGPIPE.
    ssize_t put =
        link->is_socket ? send(link->fd, command, size, MSG_NOSIGNAL) : write(link->fd, command, size);
    if (put == (ssize_t)size) return TSS2_RC_SUCCESS;
    if (put < 0 && errno == EBUSY)
        return fail_link(link,
                         cr_fail(CR_IO, "%s: busy: it has not answered an earlier command yet", link->path));
    return fail_link(link, cr_fail_errno(CR_IO, "%s: the TPM takes no command", link->path));
}

static size_t whole_size(const struct cr_tpm_link *link)
{
    const unsigned char *size = link->answer + SIZE_AT;
    return (size_t)size[0] << 24 | (size_t)size[1] << 16 | (size_t)size[2] << 8 | size[3];
}

// A device gives an answer in one read; a socket may need several.
static TSS2_RC read_answer(struct cr_tpm_link *link)
{
    while (link->have < HEADER || link->have < whole_size(link)) {
        struct pollfd wait = {.fd = link->fd, .events = POLLIN};
        int ready = poll(&wait, 1, PATIENCE);
        if (ready < 0 && errno == EINTR) continue;
        if (ready == 0)
            return fail_link(link, cr_fail(CR_TIMEOUT,
                                           "%s: the TPM has not answered for %d seconds (does another "
                                           "program have it?)",
                                           link->path, PATIENCE / 1000));
        ssize_t got = read(link->fd, link->answer + link->have, sizeof link->answer - link->have);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_link(link, cr_fail_errno(CR_IO, "%s: no answer", link->path));
        link->have += (size_t)got;
        if (got == 0 || (link->have >= HEADER && whole_size(link) > sizeof link->answer))
            return fail_link(link, cr_fail(CR_IO, "%s: the TPM's answer is cut off", link->path));
    }
    if (link->have > whole_size(link))
        return fail_link(link, cr_fail(CR_IO, "%s: bytes behind the TPM's answer", link->path));
    return TSS2_RC_SUCCESS;
}

// Called without a buffer, it returns the answer's size and keeps the answer for the next call.
static TSS2_RC receive(TSS2_TCTI_CONTEXT *context, size_t *size, uint8_t *answer, int32_t timeout)
{
    (void)timeout; // tpm2-tss asks for no timeout; PATIENCE is used instead
    struct cr_tpm_link *link = (struct cr_tpm_link *)context;
    if (link->have == 0) {
        TSS2_RC code = read_answer(link);
        if (code != TSS2_RC_SUCCESS) return code;
    }
    if (answer && *size < link->have) return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
    *size = link->have;
    if (!answer) return TSS2_RC_SUCCESS;
    memcpy(answer, link->answer, link->have);
    link->have = 0;
    return TSS2_RC_SUCCESS;
}

static void finalize(TSS2_TCTI_CONTEXT *context)
{
    (void)context; // cr_tpm_release closes
}

static void silence(void)
{
    // tpm2-tss would print errors to standard error; they are reported by our own messages.
    setenv("TSS2_LOG", "all+none", 1);
}

enum cr_status cr_tpm_open(const char *path, struct cr_tpm_device *out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, silence);
    struct cr_tpm_device device = {.link = {.common = {.magic = OWN_MAGIC,
                                                       .version = 1,
                                                       .transmit = transmit,
                                                       .receive = receive,
                                                       .finalize = finalize},
                                            .path = path}};
    CR_TRY(open_link(&device.link));
    *out = device;
    TSS2_RC code = Esys_Initialize(&out->esys, (TSS2_TCTI_CONTEXT *)&out->link, NULL);
    if (code == TSS2_RC_SUCCESS) return CR_OK;
    close(out->link.fd);
    *out = (struct cr_tpm_device){0};
    return cr_tpm_check(&device, code, "it cannot be spoken to");
}

void cr_tpm_release(struct cr_tpm_device *device)
{
    if (!device->esys) return;
    Esys_Finalize(&device->esys);
    close(device->link.fd);
}

TSS2_RC cr_tpm_error(TSS2_RC code)
{
    TSS2_RC layer = code & LAYER;
    if (layer != TSS2_TPM_RC_LAYER && layer != KERNEL && layer != RESOURCE_MANAGER) return code;
    code &= ~layer;
    return code & TPM2_RC_FMT1 ? code & 0x0bf : code;
}

static const struct {
    TSS2_RC code;
    enum cr_status status;
    const char *why;
} known[] = {
    {TPM2_RC_LOCKOUT, CR_DENIED,
     "the TPM is locked out after too many wrong passwords (wait, or clear it: tpm2_dictionarylockout)"},
    {TPM2_RC_RETRY, CR_IO, "the TPM is busy (try again)"},
    {TPM2_RC_YIELDED, CR_IO, "the TPM is busy (try again)"},
    {TPM2_RC_TESTING, CR_IO, "the TPM is busy testing itself (try again)"},
    {TPM2_RC_OBJECT_MEMORY, CR_IO,
     "the TPM has no room left: other programs left keys in it (use /dev/tpmrm0, or tpm2_flushcontext)"},
    {TPM2_RC_SESSION_MEMORY, CR_IO,
     "the TPM has no room left: other programs left sessions in it (use /dev/tpmrm0, or tpm2_flushcontext)"},
    {TPM2_RC_SESSION_HANDLES, CR_IO,
     "the TPM has no room left: other programs left sessions in it (use /dev/tpmrm0, or tpm2_flushcontext)"},
    {TPM2_RC_INITIALIZE, CR_IO, "nobody has started the TPM up, which firmware does (tpm2_startup -c)"},
    {TPM2_RC_FAILURE, CR_IO, "the TPM has failed its own tests"},
    {TPM2_RC_HIERARCHY, CR_IO, "the hierarchy of keys that it takes is switched off in this TPM"},
    {TPM2_RC_BAD_AUTH, CR_DENIED, "the TPM wants a password for this, which carrel has none of"},
    {TPM2_RC_AUTH_FAIL, CR_DENIED, "the TPM wants a password for this, which carrel has none of"},
    {TPM2_RC_CURVE, CR_UNSUPPORTED, "the TPM has no keys of the curve P-256"},
    {TPM2_RC_COMMAND_CODE, CR_UNSUPPORTED, "the TPM does not know the command"},
};

enum cr_status cr_tpm_check(const struct cr_tpm_device *device, TSS2_RC code, const char *what)
{
    if (code == TSS2_RC_SUCCESS) return CR_OK;
    if (device->link.failure != CR_OK) return device->link.failure;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (cr_tpm_error(code) == known[i].code)
            return cr_fail(known[i].status, "%s: %s: %s", device->link.path, what, known[i].why);
    return cr_fail(CR_IO, "%s: %s: the TPM or tpm2-tss answers 0x%x", device->link.path, what,
                   (unsigned)code);
}

void cr_tpm_flush(struct cr_tpm_object *object)
{
    // If flushing fails, a resource manager frees the object when the connection ends.
    if (object->handle != ESYS_TR_NONE && object->device->link.failure == CR_OK)
        (void)Esys_FlushContext(object->device->esys, object->handle);
    object->handle = ESYS_TR_NONE;
}

enum cr_status cr_tpm_primary(const struct cr_tpm_device *device, ESYS_TR hierarchy,
                              const TPM2B_PUBLIC *template, struct cr_tpm_object *out, TPM2B_PUBLIC **public)
{
    const TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION creation = {0};
    ESYS_TR handle;
    TSS2_RC code =
        Esys_CreatePrimary(device->esys, hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                           template, &outside, &creation, &handle, public, NULL, NULL, NULL);
    CR_TRY(cr_tpm_check(device, code, "no key can be made"));
    *out = (struct cr_tpm_object){device, handle};
    return CR_OK;
}

TPML_PCR_SELECTION cr_tpm_selection(uint32_t selected)
{
    TPML_PCR_SELECTION list = {.count = 1,
                               .pcrSelections = {{.hash = TPM2_ALG_SHA256, .sizeofSelect = CR_TPM_PCRS / 8}}};
    for (size_t i = 0; i < CR_TPM_PCRS / 8; i++)
        list.pcrSelections[0].pcrSelect[i] = (BYTE)(selected >> (8 * i));
    return list;
}

// Reads as many of the wanted PCRs as one answer holds, and removes them from *wanted.
static enum cr_status read_some(const struct cr_tpm_device *device, uint32_t *wanted,
                                unsigned char out[CR_TPM_PCRS][CR_TPM_PCR_SIZE])
{
    TPML_PCR_SELECTION asked = cr_tpm_selection(*wanted), *told = NULL;
    TPML_DIGEST *values = NULL;
    TSS2_RC code =
        Esys_PCR_Read(device->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &asked, NULL, &told, &values);
    CR_TRY(cr_tpm_check(device, code, "its PCRs cannot be read"));
    uint32_t before = *wanted, got = 0;
    if (told->count == 1)
        for (size_t i = 0; i < CR_TPM_PCRS / 8; i++)
            got |= (uint32_t)told->pcrSelections[0].pcrSelect[i] << (8 * i);
    got &= before;
    size_t next = 0;
    for (size_t i = 0; i < CR_TPM_PCRS && next < values->count; i++) {
        if (!(got >> i & 1)) continue;
        const TPM2B_DIGEST *value = &values->digests[next++];
        if (value->size != CR_TPM_PCR_SIZE) break;
        memcpy(out[i], value->buffer, CR_TPM_PCR_SIZE);
        *wanted &= ~((uint32_t)1 << i);
    }
    Esys_Free(told);
    Esys_Free(values);
    if (*wanted == before)
        return cr_fail(CR_UNSUPPORTED, "%s: the TPM has no PCRs of SHA-256 switched on", device->link.path);
    return CR_OK;
}

enum cr_status cr_tpm_read_pcrs(const struct cr_tpm_device *device,
                                unsigned char out[CR_TPM_PCRS][CR_TPM_PCR_SIZE])
{
    for (uint32_t wanted = (1U << CR_TPM_PCRS) - 1; wanted != 0;) CR_TRY(read_some(device, &wanted, out));
    return CR_OK;
}
