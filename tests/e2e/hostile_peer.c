// An attacker from inside: it holds a certificate of the federation, or all that lies on the server's disk,
// and says what it likes. test_attackers.py sets it on the real programs.
//
//   hostile_peer enrol TOKEN DIR                 becomes a silo; key, certificate and job go to DIR
//   hostile_peer silo ATTACK ADDRESS DIR         at a server, with the identity in DIR
//   hostile_peer server ATTACK STATE             at the silo that connects, with a server's state_dir
//   hostile_peer relay ATTACK STATE ADDRESS DIR  between a silo that connects, as that server, and the
//                                                server at ADDRESS, with the identity in DIR
//
// ATTACK says what is wrong; with a word that is none of the attacks nothing is. Prints the port where it
// listens; then, of the connection that is attacked, "got TYPE" for each message that comes, "refused" with
// the peer's reason, "admitted", and "over" at the end.
#include "hostile_line.h"

#include "attestation/attester.h"
#include "attestation/manifest.h"
#include "attestation/sealing_key.h"
#include "base/file.h"
#include "base/secret.h"
#include "channel/token.h"
#include "federation/state.h"

#include <poll.h>
#include <signal.h>

enum { TIME_FOR_ALL = 300, PATIENCE = 31 }; // seconds; the second is longer than a peer has for its evidence

static const char *attack;
static unsigned char job[CR_SHA256_SIZE];
static struct cr_buffer manifest;                   // its signed form
static struct cr_state_dir *state;                  // of the server that this one pretends to be
static struct line earlier;                         // an honest connection before the attacked one
static struct cr_buffer shown_binding, shown_bytes; // the evidence that was shown last

static bool is(const char *name)
{
    return strcmp(attack, name) == 0;
}

static void make_evidence(const struct cr_binding *binding)
{
    unsigned char report_data[CR_REPORT_DATA_SIZE];
    enum cr_evidence_type type;
    cr_buffer_clear(&shown_binding);
    cr_buffer_clear(&shown_bytes);
    must(cr_binding_write(binding, &shown_binding));
    must(cr_binding_report_data(cr_buffer_slice(&shown_binding), false, report_data));
    must(cr_attester_attest(CR_ATTESTER_DEVELOPMENT, &cr_attester_places, report_data, &type, &shown_bytes));
}

// On an honest connection, and but for one thing on the one that is attacked, the evidence is right.
static void show(struct line *line)
{
    struct cr_binding binding = line->bound;
    if (line->told && is("role"))
        snprintf(binding.role, CR_NAME_SIZE, "%s", strcmp(binding.role, "silo") == 0 ? "server" : "silo");
    if (line->told && is("job")) binding.job[0] ^= 1;
    if (line->told && is("connection"))
        memcpy(binding.exporter, earlier.bound.exporter, CR_TLS_EXPORTER_SIZE);
    if (!line->told || !is("replay")) make_evidence(&binding);
    line_say(line, &(struct cr_message){.type = CR_FRAME_EVIDENCE,
                                        .evidence.binding = cr_buffer_slice(&shown_binding),
                                        .body = cr_buffer_slice(&shown_bytes)});
}

static void ask(struct line *line)
{
    struct cr_message message = {.type = CR_FRAME_CHALLENGE, .challenge.version = CR_PROTOCOL_VERSION};
    memcpy(message.challenge.nonce, line->bound.nonce, CR_NONCE_SIZE);
    line_say(line, &message);
}

// The same with a nonce of another length, which no message of ours can have.
static void ask_with_nonce_of(struct line *line, unsigned char size)
{
    enum { MOST = 127 };
    unsigned char frame[CR_FRAME_START_SIZE + 4 + MOST];
    const unsigned char header[] = {0x08, CR_PROTOCOL_VERSION, 0x12, size}; // version, nonce
    must_be(size <= MOST, "that takes a longer header");
    must(cr_frame_start(CR_FRAME_CHALLENGE, sizeof header + size, 0, frame));
    memcpy(frame + CR_FRAME_START_SIZE, header, sizeof header);
    memset(frame + CR_FRAME_START_SIZE + sizeof header, NONCE, size);
    line_write(line, frame, CR_FRAME_START_SIZE + sizeof header + size);
}

// The beginning of a connection, until the peer admits this end (true) or ends.
static bool be_admitted(struct line *line)
{
    bool reflects = line->told && is("reflection"), late = line->told && is("late");
    int nonce_size = 0;
    if (sscanf(attack, "nonce-%d", &nonce_size) == 1)
        ask_with_nonce_of(line, (unsigned char)nonce_size);
    else
        ask(line);
    while (line_next(line)) {
        if (line->message.type == CR_FRAME_CHALLENGE) {
            memcpy(line->bound.challenge, line->message.challenge.nonce, CR_NONCE_SIZE);
            if (!reflects && !late) show(line);
        } else if (line->message.type == CR_FRAME_EVIDENCE) {
            if (reflects) line_say(line, &line->message);
            if (late) sleep(PATIENCE);
            if (late) show(line);
            line_say_only(line, CR_FRAME_ADMITTED);
        } else if (line->message.type == CR_FRAME_ADMITTED) {
            if (line->told) printf("admitted\n");
            return true;
        }
    }
    return false;
}

static void say_manifest(struct line *line)
{
    line_say(line, &(struct cr_message){.type = CR_FRAME_MANIFEST, .body = cr_buffer_slice(&manifest)});
}

// What a silo, or a server, says first of the job.
static void begin(struct line *line)
{
    struct cr_message hello = {.type = CR_FRAME_HELLO, .hello.version = CR_PROTOCOL_VERSION};
    state ? say_manifest(line) : line_say(line, &hello);
}

// A server's part up to a Begin or Finished, by its state as it is, or with one thing changed.
static void serve(struct line *line)
{
    struct cr_seen seen;
    must(cr_state_seen(state, &seen));
    if (is("run")) seen.run[0] ^= 1;
    if (is("values")) seen.start[0] ^= 1;
    struct cr_message message = {.type = CR_FRAME_JOB};
    memcpy(message.job.run, seen.run, CR_SHA256_SIZE);
    say_manifest(line);
    line_say(line, &message);
    if (!line_until(line, CR_FRAME_READY)) return;
    if (state->finished) {
        message = (struct cr_message){.type = CR_FRAME_FINISHED, .finished.rounds = seen.round};
        memcpy(message.finished.digest, seen.start, CR_SHA256_SIZE);
        memcpy(message.finished.receipt, seen.receipt, CR_RECEIPT_SIZE);
    } else {
        message = (struct cr_message){.type = CR_FRAME_BEGIN,
                                      .begin = {.round = seen.round, .count = state->count}};
        memcpy(message.begin.start, seen.start, CR_SHA256_SIZE);
        memcpy(message.begin.receipt, seen.receipt, CR_RECEIPT_SIZE);
    }
    line_say(line, &message);
}

static void go_on(struct line *line)
{
    if (!state) {
        begin(line);
        if (line_until(line, CR_FRAME_JOB)) line_say_only(line, CR_FRAME_CLOSE);
    } else if (is("state") || is("run") || is("values")) {
        if (line_until(line, CR_FRAME_HELLO)) serve(line);
    } else if (line_until(line, CR_FRAME_HELLO)) {
        line_say(line, &(struct cr_message){.type = CR_FRAME_REFUSED,
                                            .refused = {.status = CR_DENIED, .reason = "that was all"}});
        line_say_only(line, CR_FRAME_CLOSE);
    }
}

static void attack_line(struct line *line)
{
    if (is("resumption") || is("early-data")) {
        printf(SSL_session_reused(line->ssl) ? "resumed\n" : "not resumed\n");
        begin(line);
    } else if (be_admitted(line)) {
        go_on(line);
    }
    line_wait_end(line);
}

static void open_line(struct line *line, struct cr_tls *tls, int door, const char *address, bool told)
{
    line_start(line, tls, door >= 0 ? accept(door, NULL, NULL) : connect_to(address));
    line->told = told;
}

// Asks the server to go on with the honest connection's session or, where that cannot be resumed, with one of
// a ticket that this server never gave.
static void offer_session(struct line *line, struct cr_tls *tls, const struct cr_identity *identity)
{
    SSL_SESSION *session = earlier.ssl ? SSL_get1_session(earlier.ssl) : NULL;
    if (!session || !SSL_SESSION_is_resumable(session)) {
        SSL_SESSION_free(session);
        session = own_ticket(tls, identity);
    }
    must_be(SSL_set_session(line->ssl, session) == 1, "no session to go on with");
    SSL_SESSION_free(session);
}

// Those attacks that take something of an earlier connection have an honest one first, which goes as far as
// the job. A silo does not come again before that one has ended; at a server there are two at once.
static void attack_over(struct cr_tls *tls, const struct cr_identity *identity, int door, const char *address)
{
    struct line line;
    size_t written = 0;
    bool again = is("replay") || is("connection") || is("resumption"), silo = door < 0;
    if (again) {
        open_line(&earlier, tls, door, address, false);
        line_handshake(&earlier);
        line_bind(&earlier, job);
        must_be(be_admitted(&earlier), "an honest connection was refused");
        if (silo) begin(&earlier);
        must_be(line_until(&earlier, silo ? CR_FRAME_JOB : CR_FRAME_HELLO), "nothing of the job");
        if (!silo) line_end(&earlier);
    }
    open_line(&line, tls, door, address, true);
    if (silo && (is("resumption") || is("early-data"))) offer_session(&line, tls, identity);
    if (silo && is("early-data"))
        must_be(SSL_write_early_data(line.ssl, "early", 5, &written) == 1, "no early data");
    line_handshake(&line);
    line_bind(&line, job);
    attack_line(&line);
    printf("over\n");
    line_close(&line);
    if (again && silo) line_close(&earlier);
}

// What one end said, to the other. A forger has it say that the evidence is bound to what that one expects.
static void forward(struct line *from, struct line *to)
{
    struct cr_message message = from->message;
    struct cr_binding binding;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer forged = {0};
    if (message.type == CR_FRAME_EVIDENCE && is("forgery")) {
        must(cr_binding_parse(message.evidence.binding, &binding));
        memcpy(binding.exporter, to->bound.exporter, CR_TLS_EXPORTER_SIZE);
        memcpy(binding.attester_key, to->bound.attester_key, CR_SHA256_SIZE);
        memcpy(binding.verifier_key, to->bound.verifier_key, CR_SHA256_SIZE);
        must(cr_binding_write(&binding, &forged));
        message.evidence.binding = cr_buffer_slice(&forged);
    }
    line_say(to, &message);
}

// Whatever one end says is the other's to hear, challenges and evidence too, until both have ended.
static void relay(struct line *silo, struct line *server)
{
    struct line *ends[2] = {silo, server};
    struct pollfd readable[2] = {{.fd = silo->fd, .events = POLLIN}, {.fd = server->fd, .events = POLLIN}};
    while (readable[0].fd >= 0 || readable[1].fd >= 0) {
        bool pending[2];
        for (int i = 0; i < 2; i++) pending[i] = readable[i].fd >= 0 && SSL_has_pending(ends[i]->ssl);
        must_be(poll(readable, 2, pending[0] || pending[1] ? 0 : -1) >= 0, "no news");
        for (int i = 0; i < 2; i++) {
            if (readable[i].fd < 0 || (!pending[i] && readable[i].revents == 0)) continue;
            if (line_next(ends[i])) {
                forward(ends[i], ends[1 - i]);
            } else {
                readable[i].fd = -1;
                SSL_shutdown(ends[1 - i]->ssl);
                shutdown(ends[1 - i]->fd, SHUT_WR);
            }
        }
    }
}

static void relay_between(struct cr_tls *as_server, struct cr_tls *as_silo, int door, const char *address)
{
    struct line silo, server;
    open_line(&silo, as_server, door, NULL, true);
    line_handshake(&silo);
    line_bind(&silo, job);
    open_line(&server, as_silo, -1, address, true);
    line_handshake(&server);
    line_bind(&server, job);
    relay(&silo, &server);
    printf("over\n");
    line_close(&silo);
    line_close(&server);
}

static void read_job(const char *directory)
{
    CR_FREE char *path = NULL;
    CR_CLEANUP(cr_manifest_release) struct cr_manifest read = {0};
    must(cr_path_join(directory, "job.cbor", &path));
    must(cr_manifest_read(path, &read, &manifest));
    memcpy(job, read.digest, CR_SHA256_SIZE);
}

static struct cr_sealing_key *stolen_key(const char *directory)
{
    struct cr_sealing_key *key;
    must(cr_sealing_key_here("development", NULL, directory, &key));
    return key;
}

// Its own, in the clear, or one that another silo keeps.
static struct cr_identity *load_identity(const char *directory)
{
    struct cr_identity *identity;
    if (cr_identity_is_kept(directory, NULL)) {
        must(cr_identity_load(directory, NULL, &identity));
        return identity;
    }
    struct cr_sealing_key *key = stolen_key(directory);
    must(cr_identity_load(directory, &(struct cr_sealing){.key = key, .purpose = "silo key"}, &identity));
    cr_secret_free(&key);
    return identity;
}

static void enrol(const char *text, const char *directory)
{
    struct cr_token token;
    struct cr_identity *identity;
    struct cr_tls *tls;
    struct line line;
    CR_FREE char *path = NULL;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer request = {0};
    must(cr_token_parse(text, &token));
    must(cr_identity_new(&identity));
    must(cr_identity_request(identity, &request));
    must(cr_tls_new_enrol(token.fingerprint, &tls));
    open_line(&line, tls, -1, token.address, false);
    line_handshake(&line);
    struct cr_message ask_for = {
        .type = CR_FRAME_ENROL,
        .enrol = {.version = CR_PROTOCOL_VERSION, .request = cr_buffer_slice(&request)}};
    memcpy(ask_for.enrol.secret, token.secret, CR_SECRET_SIZE);
    line_say(&line, &ask_for);
    must_be(line_until(&line, CR_FRAME_MANIFEST), "no job");
    must(cr_path_join(directory, "job.cbor", &path));
    must(cr_file_write(path, line.message.body, false));
    must_be(line_until(&line, CR_FRAME_ENROLLED), "no certificate");
    must(cr_identity_install(identity, line.message.enrolled.certificate, line.message.enrolled.authority));
    must(cr_identity_save(identity, directory, NULL));
    line_end(&line);
    cr_tls_free(tls);
    cr_identity_free(identity);
    cr_token_release(&token);
}

static void be_a_silo(const char *address, const char *directory)
{
    struct cr_tls *tls;
    struct cr_identity *identity = load_identity(directory);
    read_job(directory);
    must(cr_tls_new_member(identity, &tls));
    attack_over(tls, identity, -1, address);
    cr_tls_free(tls);
    cr_identity_free(identity);
}

static void be_a_server(const char *directory, const char *address, const char *identity_directory)
{
    struct cr_tls *tls, *as_silo;
    struct cr_sealing_key *key = stolen_key(directory);
    must(cr_state_open(directory, key, &state));
    read_job(directory);
    must(cr_tls_new_server(state->server, &tls));
    if (is("resumption")) be_generous(cr_tls_context(tls));
    int door = listen_here();
    if (address) {
        struct cr_identity *identity = load_identity(identity_directory);
        must(cr_tls_new_member(identity, &as_silo));
        relay_between(tls, as_silo, door, address);
        cr_tls_free(as_silo);
        cr_identity_free(identity);
    } else {
        attack_over(tls, NULL, door, NULL);
    }
    close(door);
    cr_tls_free(tls);
    cr_state_close(state);
    cr_secret_free(&key);
}

int main(int argc, char **argv)
{
    const char *part = argc > 3 ? argv[1] : "";
    attack = argc > 3 ? argv[2] : "";
    alarm(TIME_FOR_ALL);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(part, "enrol") == 0 && argc == 4)
        enrol(argv[2], argv[3]);
    else if (strcmp(part, "silo") == 0 && argc == 5)
        be_a_silo(argv[3], argv[4]);
    else if (strcmp(part, "server") == 0 && argc == 4)
        be_a_server(argv[3], NULL, NULL);
    else if (strcmp(part, "relay") == 0 && argc == 6)
        be_a_server(argv[3], argv[4], argv[5]);
    else
        must(cr_fail(CR_INVALID, "usage: enrol, silo, server or relay, as the source says"));
    cr_buffer_release(&manifest);
    cr_buffer_release(&shown_binding);
    cr_buffer_release(&shown_bytes);
    return 0;
}
