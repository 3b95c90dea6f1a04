// Checks what a federation needs: network, clocks and certificates.
#include "cli/preflight.h"

#include "base/clock.h"
#include "base/words.h"
#include "channel/connection.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const double patience = 10; // seconds

// CR_OK if this key's address resolves and, with `bind_it`, can be listened at.
static enum cr_status try_address(const char *key, const char *text, bool bind_it)
{
    struct cr_address address;
    struct addrinfo *found;
    CR_TRY(cr_address_parse(text, &address));
    int error = cr_address_resolve(&address, bind_it, &found);
    if (error != 0) return cr_fail(CR_NOT_FOUND, "%s: %s: %s", key, text, gai_strerror(error));
    int on = 1, fd = bind_it ? socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    bool bound = !bind_it || (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                              bind(fd, found->ai_addr, found->ai_addrlen) == 0);
    int why = errno;
    freeaddrinfo(found);
    if (fd >= 0) close(fd);
    errno = why;
    return bound ? CR_OK : cr_fail_errno(CR_IO, "%s: %s: cannot be listened at", key, text);
}

static enum cr_status say_idle(struct cr_checks *checks, const char *why)
{
    return why ? cr_check_say(checks, CR_CHECK_WARNING, "settings", "%s", why) : CR_OK;
}

static enum cr_status say_silos(struct cr_checks *checks, const struct cr_config *config)
{
    size_t least = cr_config_min_clients(config);
    char kept[CR_SIZE_TEXT];
    if (!cr_tuning_config_split(&config->tuning))
        return cr_check_say(checks, CR_CHECK_OK, "silos", "each of %zu round%s needs %zu silo%s",
                            config->federation.rounds, cr_plural(config->federation.rounds), least,
                            cr_plural(least));
    return cr_check_say(
        checks, CR_CHECK_OK, "silos",
        "training begins when all examples of %zu are here; at most %s of activations are kept", least,
        cr_size_text((double)config->tuning.split.storage, kept));
}

enum cr_status cr_preflight_server(struct cr_checks *checks, const struct cr_config *config)
{
    const struct cr_federation_config *federation = &config->federation;
    const char *advertised = federation->advertise ? federation->advertise : federation->address;
    struct cr_address address;
    CR_TRY(cr_address_parse(advertised, &address));
    CR_TRY(say_idle(checks, cr_config_idle_max_steps(config)));
    CR_TRY(say_idle(checks, cr_config_idle_epochs(config)));
    if (try_address("federation.address", federation->address, true) != CR_OK)
        CR_TRY(cr_check_failure(checks, "address"));
    else
        CR_TRY(cr_check_say(checks, CR_CHECK_OK, "address", "%s can be listened at", federation->address));
    if (try_address(federation->advertise ? "federation.advertise" : "federation.address", advertised,
                    false) != CR_OK)
        CR_TRY(cr_check_failure(checks, "address"));
    else if (cr_address_is_wildcard(&address))
        CR_TRY(cr_check_say(
            checks, CR_CHECK_FAILED, "address",
            "federation.advertise: not given, and silos cannot reach %s (set it to host:port)", advertised));
    else
        CR_TRY(cr_check_say(checks, CR_CHECK_OK, "address", "join tokens will say %s", advertised));
    CR_TRY(say_silos(checks, config));
    CR_TRY(cr_preflight_place(checks, "state", federation->state_dir, 1e6));
    return cr_preflight_sealing(checks, cr_config_sealing(config), config->attestation.tpm,
                                federation->state_dir);
}

struct meeting {
    bool ended, open;
    char why[1024];
};

static enum cr_status on_opened(void *context, struct cr_connection *connection)
{
    struct meeting *meeting = context;
    meeting->open = true;
    cr_connection_close(connection); // without sending the token's secret
    return CR_OK;
}

static enum cr_status on_received(void *context, struct cr_connection *connection,
                                  const struct cr_message *message)
{
    (void)context, (void)connection, (void)message;
    return CR_OK;
}

static void on_closed(void *context, struct cr_connection *connection, enum cr_status status, const char *why)
{
    struct meeting *meeting = context;
    const char *address = cr_connection_address(connection);
    bool named = strncmp(why, address, strlen(address)) == 0;
    meeting->ended = true;
    if (status != CR_OK)
        snprintf(meeting->why, sizeof meeting->why, "%s%s%s", named ? "" : address, named ? "" : ": ", why);
}

// A handshake as of a new silo: the server's chain must contain the CA that the token names.
static enum cr_status meet(const struct cr_token *token, struct meeting *meeting)
{
    static const struct cr_connection_handler handler = {on_opened, on_received, on_closed};
    struct cr_loop *loop;
    struct cr_tls *tls = NULL;
    struct cr_connection *connection = NULL;
    CR_TRY(cr_loop_new(&loop));
    enum cr_status status = cr_tls_new_enrol(token->fingerprint, &tls);
    if (status == CR_OK)
        status = cr_connection_open(loop, tls, token->address, patience, &handler, meeting, &connection);
    double until = cr_clock_monotonic() + patience;
    while (status == CR_OK && !meeting->ended && !meeting->open && cr_clock_monotonic() < until)
        status = cr_loop_step(loop, 0.2);
    cr_connection_free(connection);
    cr_tls_free(tls);
    cr_loop_free(loop);
    return status;
}

static enum cr_status say_token(struct cr_checks *checks, const struct cr_token *token, const char *enrolled,
                                bool run_out)
{
    char now[CR_CLOCK_TEXT_SIZE], expires[CR_CLOCK_TEXT_SIZE];
    cr_clock_format(cr_clock_unix(), now);
    cr_clock_format(token->expires, expires);
    if (enrolled)
        return cr_check_say(
            checks, CR_CHECK_OK, "token", "for %s, whose identity is in %s: %s; this machine's clock says %s",
            token->name, enrolled,
            run_out ? "its certificate has run out, so it enrols once more, by the token that it "
                      "has used or by another"
                    : "it is enrolled, and no token is used any more",
            now);
    bool expired = token->expires <= cr_clock_unix();
    return cr_check_say(checks, expired ? CR_CHECK_FAILED : CR_CHECK_OK, "token",
                        "for %s, %s %s; this machine's clock says %s", token->name,
                        expired ? "expired at" : "good until", expires, now);
}

enum cr_status cr_preflight_silo(struct cr_checks *checks, const struct cr_token *token, const char *enrolled,
                                 bool expired)
{
    CR_TRY(say_token(checks, token, enrolled, expired));
    struct meeting meeting = {0};
    if (meet(token, &meeting) != CR_OK) return cr_check_failure(checks, "server");
    if (!meeting.open && meeting.why[0])
        return cr_check_say(checks, CR_CHECK_FAILED, "server", "%s", meeting.why);
    if (!meeting.open)
        return cr_check_say(checks, CR_CHECK_FAILED, "server", "%s: no answer", token->address);
    return cr_check_say(checks, CR_CHECK_OK, "server", "%s answers, and is the one that the token names",
                        token->address);
}
