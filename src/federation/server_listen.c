// Accepts the server's connections, and limits their number.
#include "federation/server_parts.h"

#include <stdlib.h>
#include <string.h>

enum { STRANGERS = 64 }; // most connections at a time that are not a member's

// Whether a newer connection has shown the same certificate. A silo needs only one connection.
static bool is_outdated(const struct cr_server *server, const struct cr_server_session *session)
{
    const struct cr_peer *peer = cr_connection_peer(session->connection);
    if (peer->name[0] == 0 || session->silo != SIZE_MAX) return false;
    for (const struct cr_server_session *s = server->sessions; s != session; s = s->next)
        if (memcmp(cr_connection_peer(s->connection)->key, peer->key, CR_SHA256_SIZE) == 0) return true;
    return false;
}

// Makes room for one more stranger; false if there is none. If all places are taken, closes the oldest
// connection that its silo no longer uses, or else the one that has been here longest without a certificate.
// A silo that wants to enrol does so at once, and no silo can take all places.
static bool make_room(struct cr_server *server)
{
    size_t strangers = 0;
    struct cr_server_session **unknown = NULL, **outdated = NULL;
    for (struct cr_server_session *s = server->sessions; s; s = s->next) strangers += s->silo == SIZE_MAX;
    if (strangers < STRANGERS) return true;
    for (struct cr_server_session **s = &server->sessions; *s; s = &(*s)->next) { // the newest come first
        if (cr_connection_peer((*s)->connection)->name[0] == 0) unknown = s;
        if (is_outdated(server, *s)) outdated = s;
    }
    struct cr_server_session **place = outdated ? outdated : unknown, *session;
    if (!place) return false;
    session = *place;
    *place = session->next;
    cr_connection_free(session->connection);
    free(session);
    return true;
}

static void *on_accepted(void *context, struct cr_connection *connection)
{
    struct cr_server *server = context;
    struct cr_server_session *session;
    if (!make_room(server) || cr_allocate(1, sizeof *session, &session) != CR_OK) return NULL;
    *session = (struct cr_server_session){
        .server = server, .connection = connection, .silo = SIZE_MAX, .next = server->sessions};
    server->sessions = session;
    return session;
}

static enum cr_status listen_at(struct cr_server *server, const struct cr_address *address)
{
    char text[CR_ADDRESS_SIZE];
    cr_address_format(address, text);
    return cr_listener_new(server->loop, server->tls, text, server->config->federation.progress_timeout,
                           on_accepted, &cr_server_handler, server, &server->listener);
}

static void tell_listening(const struct cr_server *server, const struct cr_address *address)
{
    char text[CR_ADDRESS_SIZE];
    cr_address_format(address, text);
    size_t rounds = server->config->federation.rounds;
    const struct cr_event_field fields[] = {
        CR_FIELD_TEXT("address", text),
        CR_FIELD("min_clients", cr_config_min_clients(server->config)),
        CR_FIELD("members", server->state->member_count),
        CR_FIELD("round", cr_least(server->state->round + 1, rounds)),
        CR_FIELD("rounds", rounds),
    };
    size_t count = sizeof fields / sizeof *fields;
    cr_event_send(server->sink, CR_EVENT_INFO, "server.listening", NULL, fields,
                  server->split ? count - 2 : count); // a split model has no rounds
}

enum cr_status cr_server_listen(struct cr_server *server)
{
    struct cr_address address;
    CR_TRY(cr_address_parse(server->config->federation.address, &address));
    bool any_port = address.port == 0;
    if (any_port) CR_TRY(cr_state_read_port(server->state->path, &address.port));
    enum cr_status status = listen_at(server, &address);
    if (status != CR_OK && any_port && address.port != 0) {
        // Another process has taken the earlier server's port. Silos that know it will not find this server,
        // but new tokens can carry another port.
        address.port = 0;
        status = listen_at(server, &address);
    }
    CR_TRY(status);
    address.port = cr_listener_port(server->listener);
    CR_TRY(cr_state_write_port(server->state, address.port));
    tell_listening(server, &address);
    return CR_OK;
}
