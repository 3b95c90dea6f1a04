// carrel attest: produces evidence about this machine.
#include "cli/command.h"

#include "attestation/attester.h"
#include "base/file.h"
#include "format/json.h"

#include <stdio.h>
#include <string.h>

// The command line's options.
struct asked {
    const char *attester, *tpm, *nonce, *output;
    bool json;
};

// The report data: the given bytes padded with zeros, as for an appraisal policy's report_data.
static enum cr_status read_nonce(const char *text, unsigned char out[CR_REPORT_DATA_SIZE])
{
    memset(out, 0, CR_REPORT_DATA_SIZE);
    if (!text) return CR_OK;
    size_t size = strlen(text) / 2;
    if (size == 0 || size > CR_REPORT_DATA_SIZE || cr_hex_decode(text, out, size) != CR_OK)
        return cr_fail(CR_INVALID, "--nonce: \"%s\" is not 1 to %d bytes in hexadecimal", text,
                       CR_REPORT_DATA_SIZE);
    return CR_OK;
}

static enum cr_status append_hex_line(struct cr_buffer *out, struct cr_slice bytes)
{
    CR_TRY(cr_append_hex(out, bytes));
    return cr_append_u8(out, '\n');
}

static enum cr_status append_json(struct cr_buffer *out, enum cr_attester attester,
                                  enum cr_evidence_type type, struct cr_slice report_data,
                                  struct cr_slice evidence)
{
    CR_TRY(cr_append_format(out, "{\"attester\": \"%s\", \"type\": \"%s\", ", cr_attester_name(attester),
                            cr_evidence_type_name(type)));
    CR_TRY(cr_json_append_hex(out, "report_data", report_data));
    CR_TRY(cr_append(out, ", ", 2));
    CR_TRY(cr_json_append_hex(out, "evidence", evidence));
    return cr_append(out, "}\n", 2);
}

static enum cr_status attest(const struct asked *asked)
{
    unsigned char report_data[CR_REPORT_DATA_SIZE];
    enum cr_attester attester;
    enum cr_evidence_type type;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer evidence = {0}, text = {0};
    CR_TRY(read_nonce(asked->nonce, report_data));
    struct cr_attester_places places = cr_attester_places;
    if (asked->tpm) places.tpm = asked->tpm;
    CR_TRY(cr_attester_choose(asked->attester, &places, &attester));
    CR_TRY(cr_attester_attest(attester, &places, report_data, &type, &evidence));
    if (attester == CR_ATTESTER_DEVELOPMENT)
        fprintf(stderr,
                "carrel: warning: THIS PROVES NOTHING: a key that anybody could have made signed it, not "
                "a TEE\n");
    struct cr_slice bytes = cr_buffer_slice(&evidence);
    if (asked->json)
        CR_TRY(append_json(&text, attester, type, (struct cr_slice){report_data, sizeof report_data}, bytes));
    else if (!asked->output)
        CR_TRY(append_hex_line(&text, bytes));
    if (text.size > 0) bytes = cr_buffer_slice(&text);
    return asked->output ? cr_file_write(asked->output, bytes, false) : cr_command_print(bytes);
}

enum cr_status cr_command_attest(int argc, char **argv)
{
    struct asked asked = {.attester = "auto"};
    bool done;
    const struct cr_flag items[] = {
        {"attester", CR_FLAG_STRING, &asked.attester, "NAME",
         "gramine (SGX), tsm (TDX and SEV-SNP, from the kernel), tpm (what was booted), development (proves "
         "nothing), or auto, the default: the first of gramine and tsm that is there"},
        {"tpm", CR_FLAG_STRING, &asked.tpm, "PATH",
         "the TPM's device, or a unix socket behind which one answers (/dev/tpmrm0)"},
        {"nonce", CR_FLAG_STRING, &asked.nonce, "HEX",
         "the report data: up to 64 bytes (32 of a TPM), zeros behind (all zeros)"},
        {"output", CR_FLAG_STRING, &asked.output, "FILE",
         "write the evidence there as it is, instead of printing it as hexadecimal"},
        {"json", CR_FLAG_BOOL, &asked.json, NULL, "one JSON object, printed or written"},
    };
    const struct cr_flags flags = {
        "carrel attest [options]",
        "Gets evidence of the machine that it runs on, which carrel verify appraises. It speaks of this "
        "program,\ncarrel, or of the whole guest that it runs in.",
        items,
        sizeof items / sizeof *items,
        0,
        0};
    CR_TRY(cr_command_flags(&flags, argc, argv, NULL, NULL, &done));
    return done ? CR_OK : attest(&asked);
}
