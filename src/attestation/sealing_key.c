#include "attestation/sealing_key.h"
#include "attestation/attester.h"
#include "attestation/sealing_development.h"
#include "attestation/sealing_snp.h"
#include "attestation/tpm_seal.h"
#include "base/file.h"
#include "base/secret.h"
#include "crypto/random.h"

#include <string.h>

// By the enclave's measurement rather than its signer: only the program that the other side has appraised can
// open the files, not another one that the signer makes later. After an update, the new program cannot open
// them.
static enum cr_status get_gramine(const struct cr_sealing_places *places, const char *directory,
                                  unsigned char out[CR_KEY_SIZE])
{
    enum { SGX_KEY_SIZE = 16 };
    (void)directory;
    CR_CLEANUP(cr_buffer_wipe) struct cr_buffer key = {0};
    enum cr_status status = cr_file_read(places->gramine, CR_KEY_SIZE, &key);
    if (status == CR_NOT_FOUND)
        return cr_fail(CR_NOT_FOUND, "%s: not there: this program does not run in Gramine with SGX",
                       places->gramine);
    CR_TRY(status);
    if (key.size != SGX_KEY_SIZE)
        return cr_fail(CR_INVALID, "%s: %zu bytes, where a key of SGX has %d", places->gramine, key.size,
                       SGX_KEY_SIZE);
    memset(out, 0, CR_KEY_SIZE);
    memcpy(out, key.data, SGX_KEY_SIZE);
    return CR_OK;
}

static enum cr_status get_snp(const struct cr_sealing_places *places, const char *directory,
                              unsigned char out[CR_KEY_SIZE])
{
    (void)directory;
    return cr_sealing_snp(places->snp, out);
}

static enum cr_status make_tpm(const char *tpm, const char *path, unsigned char out[CR_KEY_SIZE])
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer sealed = {0};
    CR_TRY(cr_random_bytes(out, CR_KEY_SIZE));
    CR_TRY(cr_tpm_seal(tpm, (struct cr_slice){out, CR_KEY_SIZE}, &sealed));
    return cr_file_write_first(path, cr_buffer_slice(&sealed));
}

// A random key made here, which the TPM has sealed.
static enum cr_status get_tpm(const struct cr_sealing_places *places, const char *directory,
                              unsigned char out[CR_KEY_SIZE])
{
    enum { SEALED_LIMIT = 4096 };
    CR_CLEANUP(cr_buffer_release) struct cr_buffer sealed = {0};
    CR_FREE char *path = NULL;
    CR_TRY(cr_path_join(directory, "sealing.tpm", &path));
    if (!cr_file_exists(path)) CR_TRY(make_tpm(places->tpm, path, out));
    CR_TRY(cr_file_read(path, SEALED_LIMIT, &sealed)); // perhaps of another process, which was first
    enum cr_status status = cr_tpm_unseal(places->tpm, cr_buffer_slice(&sealed), out, CR_KEY_SIZE);
    return status == CR_OK ? CR_OK : cr_fail_within(status, "%s", path);
}

static enum cr_status get_development(const struct cr_sealing_places *places, const char *directory,
                                      unsigned char out[CR_KEY_SIZE])
{
    (void)places;
    return cr_sealing_development(directory, out);
}

enum { GRAMINE, SNP, TPM, DEVELOPMENT, SOURCES };

static const struct {
    const char *name;
    enum cr_status (*get)(const struct cr_sealing_places *places, const char *directory,
                          unsigned char out[CR_KEY_SIZE]);
} sources[SOURCES] = {[GRAMINE] = {"gramine", get_gramine},
                      [SNP] = {"snp", get_snp},
                      [TPM] = {"tpm", get_tpm},
                      [DEVELOPMENT] = {"development", get_development}};

// SOURCES if the machine has none.
static size_t own_source(const struct cr_sealing_places *places)
{
    if (cr_file_exists(places->gramine)) return GRAMINE;
    return cr_file_exists(places->snp) ? SNP : SOURCES;
}

static enum cr_status choose(const char *name, const struct cr_sealing_places *places, size_t *out)
{
    size_t own = own_source(places), named = 0;
    bool any = strcmp(name, "auto") == 0;
    if (any && own == SOURCES && cr_file_exists(places->tdx))
        return cr_fail(CR_UNSUPPORTED,
                       "sealing: %s is there, and a guest under TDX has no sealing key of its own (give it a "
                       "virtual TPM that you trust and name tpm; or, where nothing needs protection, name "
                       "development)",
                       places->tdx);
    if (any) {
        *out = own == SOURCES ? DEVELOPMENT : own;
        return CR_OK;
    }
    while (named < SOURCES && strcmp(sources[named].name, name) != 0) named++;
    if (named == SOURCES)
        return cr_fail(CR_INVALID, "sealing: \"%s\" is not known (auto, gramine, snp, tpm, development)",
                       name);
    if (own != SOURCES && named != own)
        return cr_fail(CR_INVALID, "sealing: %s is refused where the machine has a key of its own (%s)", name,
                       sources[own].name);
    *out = named;
    return CR_OK;
}

enum cr_status cr_sealing_key_get(const char *name, const struct cr_sealing_places *places,
                                  const char *directory, struct cr_sealing_key **out)
{
    size_t source = SOURCES;
    struct cr_sealing_key *key;
    CR_TRY(choose(name, places, &source));
    CR_TRY(cr_secret_allocate(1, sizeof *key, &key));
    strcpy(key->source, sources[source].name);
    enum cr_status status = sources[source].get(places, directory, key->key);
    if (status != CR_OK)
        cr_secret_free(&key);
    else
        *out = key;
    return status;
}

static struct cr_sealing_places places_here(const char *tpm)
{
    return (struct cr_sealing_places){.gramine = "/dev/attestation/keys/_sgx_mrenclave",
                                      .snp = "/dev/sev-guest",
                                      .tdx = "/dev/tdx_guest",
                                      .tpm = tpm ? tpm : cr_attester_places.tpm};
}

enum cr_status cr_sealing_key_here(const char *name, const char *tpm, const char *directory,
                                   struct cr_sealing_key **out)
{
    const struct cr_sealing_places places = places_here(tpm);
    return cr_sealing_key_get(name ? name : "auto", &places, directory, out);
}

// Whether the source would first have to create its file in the directory.
static bool is_new(size_t source, const char *directory)
{
    if (source != TPM && source != DEVELOPMENT) return false;
    return !cr_directory_has(directory, source == TPM ? "sealing.tpm" : "sealing.key");
}

enum cr_status cr_sealing_key_check(const char *name, const char *tpm, const char *directory,
                                    const char **source_name)
{
    static const unsigned char trial[CR_KEY_SIZE];
    const struct cr_sealing_places places = places_here(tpm);
    CR_CLEANUP(cr_secret_free) struct cr_sealing_key *key = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer sealed = {0};
    size_t source = SOURCES;
    CR_TRY(choose(name ? name : "auto", &places, &source));
    if (!is_new(source, directory))
        CR_TRY(cr_sealing_key_get(sources[source].name, &places, directory, &key));
    else if (source == TPM)
        CR_TRY(cr_tpm_seal(places.tpm, (struct cr_slice){trial, sizeof trial}, &sealed));
    *source_name = sources[source].name;
    return CR_OK;
}

bool cr_sealing_key_is_development(const struct cr_sealing_key *key)
{
    return strcmp(key->source, sources[DEVELOPMENT].name) == 0;
}
