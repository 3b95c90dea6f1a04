#include "attestation/sealing_development.h"
#include "base/file.h"
#include "crypto/random.h"

#include <string.h>

static enum cr_status read_key(const char *path, unsigned char out[CR_KEY_SIZE])
{
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer bytes = {0};
    CR_TRY(cr_file_read(path, CR_KEY_SIZE, &bytes));
    if (bytes.size != CR_KEY_SIZE)
        return cr_fail(CR_INVALID, "%s: %zu bytes, where a key has %d", path, bytes.size, CR_KEY_SIZE);
    memcpy(out, bytes.data, CR_KEY_SIZE);
    return CR_OK;
}

static enum cr_status make_key(const char *path)
{
    unsigned char key[CR_KEY_SIZE];
    CR_TRY(cr_random_bytes(key, sizeof key));
    enum cr_status status = cr_file_write_first(path, (struct cr_slice){key, sizeof key});
    cr_wipe(key, sizeof key);
    return status;
}

enum cr_status cr_sealing_development(const char *directory, unsigned char out[CR_KEY_SIZE])
{
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, "sealing.key", &path));
    if (!cr_file_exists(path)) CR_TRY(make_key(path));
    return read_key(path, out);
}
