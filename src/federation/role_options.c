#include "federation/role_options.h"

#include <stdio.h>
#include <string.h>

static enum cr_status parse(const struct cr_flags *flags, int argc, char **argv, const char **positional,
                            struct cr_buffer *help)
{
    bool wanted;
    CR_TRY(cr_flags_parse(flags, argc, argv, positional, NULL, &wanted));
    return wanted ? cr_flags_help(flags, help) : CR_OK;
}

#define JSON_FLAG(options)                                                                                   \
    ((struct cr_flag){"json", CR_FLAG_BOOL, &(options)->json, NULL, "progress as JSON lines on stdout"})

// tune and serve have a settings file and the same flags; the last two flags are only for tune.
static enum cr_status parse_config(const char *usage, const char *summary, bool tune, int argc, char **argv,
                                   struct cr_role_options *out, struct cr_buffer *help)
{
    out->overrides = (struct cr_flag_list){.items = out->items, .capacity = CR_ROLE_OVERRIDES};
    const struct cr_flag items[] = {
        {"set", CR_FLAG_STRINGS, &out->overrides, "KEY=VALUE",
         "override one setting; may be given several times"},
        JSON_FLAG(out),
        {"restart", CR_FLAG_BOOL, &out->restart, NULL, "begin at the first step, whatever state is kept"},
        {"preview", CR_FLAG_BOOL, &out->preview, NULL,
         "show the first examples as tokens, those to be learned marked, and train nothing"},
    };
    size_t count = sizeof items / sizeof *items - (tune ? 0 : 2);
    const struct cr_flags flags = {usage, summary, items, count, 1, 1};
    return parse(&flags, argc, argv, &out->config, help);
}

static enum cr_status parse_join(int argc, char **argv, struct cr_role_options *out, struct cr_buffer *help)
{
    struct cr_client_options *client = &out->client;
    client->accelerators = (struct cr_flag_list){.items = out->items, .capacity = CR_ROLE_OVERRIDES};
    const struct cr_flag items[] = {
        {"state", CR_FLAG_STRING, &client->state, "DIR",
         "the silo's identity and state (carrel-silo-NAME, by the token's name)"},
        {"sealing", CR_FLAG_STRING, &client->sealing, "SOURCE",
         "where the key comes from that the state is sealed under (auto; as attestation.sealing)"},
        {"model", CR_FLAG_REQUIRED, &client->model, "DIR",
         "the base model here: the job's, which is checked"},
        {"data", CR_FLAG_REQUIRED, &client->data, "FILE", "the silo's training data"},
        {"accelerator", CR_FLAG_STRINGS, &client->accelerators, "ADDRESS",
         "where the silo's accelerator listens, for a job with slicing (as slicing.accelerators); several "
         "for pads: peer"},
        {"own-accelerator", CR_FLAG_STRING, &client->own_accelerator, "unix:PATH",
         "an accelerator that belongs to this silo and may see its texts, for a job with "
         "slicing.clear_front: local"},
        {"attester", CR_FLAG_STRING, &client->attester, "NAME",
         "how this machine shows what runs on it, for a job with an appraisal policy (as "
         "attestation.attester)"},
        {"tpm", CR_FLAG_STRING, &client->tpm, "PATH",
         "the TPM's device, or a unix socket behind which one answers (/dev/tpmrm0; as attestation.tpm)"},
        {"endorsements", CR_FLAG_STRING, &client->endorsements, "DIR",
         "certificates, revocation lists and collateral for appraising the server (as "
         "attestation.endorsements)"},
        {"output", CR_FLAG_STRING, &client->output, "DIR", "where to write the federation's result here too"},
        {"threads", CR_FLAG_SIZE, &client->threads, "N", "threads that compute; 0, the default: all"},
        JSON_FLAG(out),
    };
    const struct cr_flags flags = {
        "carrel join TOKEN --model DIR --data FILE [options]",
        "Takes part in a federation with a join token (`carrel invite` makes one); - reads it from standard "
        "input.\nStopped or killed, it goes on when it is started again with the same token and --state.",
        items,
        sizeof items / sizeof *items,
        1,
        1};
    return parse(&flags, argc, argv, &client->token, help);
}

enum cr_status cr_role_options_parse(int argc, char **argv, struct cr_role_options *out,
                                     struct cr_buffer *help)
{
    *out = (struct cr_role_options){0};
    if (strcmp(argv[0], "join") == 0) return parse_join(argc, argv, out, help);
    if (strcmp(argv[0], "tune") == 0)
        return parse_config("carrel tune CONFIG [options]",
                            "Fine-tunes a model on this machine's data and writes the result to output_dir.\n"
                            "Stopped or killed, it goes on from the state in output_dir when it is started "
                            "again.",
                            true, argc, argv, out, help);
    return parse_config("carrel serve CONFIG [options]",
                        "Runs the server of a federation until its last round is done, or a split model's "
                        "tail is\n"
                        "trained (with split.inference until it is stopped), and writes the result to "
                        "output_dir.\n"
                        "Stopped or killed, it goes on from federation.state_dir when it is started again.",
                        false, argc, argv, out, help);
}

enum cr_status cr_role_options_token(int argc, char **argv, const char *argument, char token[CR_TOKEN_LIMIT])
{
    if (strcmp(argument, "-") == 0) {
        setvbuf(stdin, NULL, _IONBF, 0); // leaves no copy of the token in a buffer
        if (!fgets(token, CR_TOKEN_LIMIT, stdin)) return cr_fail(CR_IO, "standard input: no join token came");
        token[strcspn(token, "\r\n")] = 0;
        return CR_OK;
    }
    if (strlen(argument) >= CR_TOKEN_LIMIT) return cr_fail(CR_INVALID, "that is no join token: too long");
    strcpy(token, argument);
    for (int i = 0; i < argc; i++)
        if (argv[i] == argument) memset(argv[i], '-', strlen(argv[i]));
    return CR_OK;
}
