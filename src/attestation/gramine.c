#include "attestation/gramine.h"
#include "base/file.h"

#include <string.h>

enum { TYPE_LIMIT = 64, QUOTE_LIMIT = 1 << 20 };

static enum cr_status check_type(const char *path)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    enum cr_status status = cr_file_read(path, TYPE_LIMIT, &text);
    if (status == CR_NOT_FOUND)
        return cr_fail(CR_NOT_FOUND, "%s: not there: this program does not run in Gramine with SGX", path);
    CR_TRY(status);
    if (text.size > 0 && text.data[text.size - 1] == '\n') text.data[--text.size] = 0;
    if (strcmp(cr_buffer_text(&text), "dcap") == 0) return CR_OK;
    if (strcmp(cr_buffer_text(&text), "none") == 0)
        return cr_fail(CR_NOT_FOUND, "%s: \"none\": the manifest lacks sgx.remote_attestation = \"dcap\"",
                       path);
    return cr_fail(CR_UNSUPPORTED, "%s: \"%s\" is not known (dcap)", path, cr_buffer_text(&text));
}

enum cr_status cr_gramine_attest(const char *root, const unsigned char report_data[CR_REPORT_DATA_SIZE],
                                 enum cr_evidence_type *type, struct cr_buffer *out)
{
    CR_FREE char *kind = NULL, *data = NULL, *quote = NULL;
    CR_TRY(cr_path_join(root, "attestation_type", &kind));
    CR_TRY(cr_path_join(root, "user_report_data", &data));
    CR_TRY(cr_path_join(root, "quote", &quote));
    CR_TRY(check_type(kind));
    CR_TRY(cr_file_put(data, (struct cr_slice){report_data, CR_REPORT_DATA_SIZE}));
    CR_TRY(cr_file_read(quote, QUOTE_LIMIT, out));
    *type = CR_EVIDENCE_SGX;
    return CR_OK;
}
