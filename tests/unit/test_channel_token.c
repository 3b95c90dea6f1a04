// What peers send before they trust one another: tokens, frames, messages, and what evidence is bound to.
#include "support.h"

#include "channel/binding.h"
#include "channel/frame.h"
#include "channel/message.h"
#include "channel/token.h"

#include <math.h>
#include <string.h>

static struct cr_token sample(void)
{
    struct cr_token token = {
        .address = "carrel.example:7423", .name = "st-anne", .role = "silo", .expires = 1767225600};
    for (size_t i = 0; i < 32; i++) {
        token.fingerprint[i] = (unsigned char)i;
        token.job[i] = (unsigned char)(100 + i);
        token.secret[i] = (unsigned char)(200 + i);
    }
    return token;
}

static void test_token_comes_back(void **state)
{
    (void)state;
    struct cr_token token = sample(), back;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_token_write(&token, &text));
    assert_ok(cr_token_parse(cr_buffer_text(&text), &back));
    assert_string_equal(back.address, token.address);
    assert_string_equal(back.name, token.name);
    assert_string_equal(back.role, "silo");
    assert_int_equal(back.expires, token.expires);
    assert_memory_equal(back.secret, token.secret, 32);
    assert_memory_equal(back.job, token.job, 32);
    assert_memory_equal(back.fingerprint, token.fingerprint, 32);
}

static void test_any_other_character_is_refused(void **state)
{
    (void)state;
    struct cr_token token = sample(), back;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_ok(cr_token_write(&token, &text));
    for (size_t i = 0; i < text.size; i++) {
        unsigned char kept = text.data[i];
        text.data[i] = kept == 'A' ? 'B' : 'A';
        assert_int_equal(cr_token_parse(cr_buffer_text(&text), &back), CR_INVALID);
        text.data[i] = kept;
    }
    for (size_t size = text.size; size-- > 0;) {
        text.data[size] = 0;
        assert_int_equal(cr_token_parse(cr_buffer_text(&text), &back), CR_INVALID);
    }
}

// Whole, and by another program than this one.
static void test_tokens_of_other_programs(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        unsigned char value;
    } cases[] = {{0, 3}, {1, 0}, {1, 2}, {9, 0x80}}; // version, role, expires
    struct cr_token token = sample(), back;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0}, bytes = {0};
    assert_ok(cr_token_write(&token, &text));
    assert_ok(cr_base64url_decode(cr_slice_of_string(strchr(cr_buffer_text(&text), '.') + 1), &bytes));
    for (size_t i = 0; i <= sizeof cases / sizeof *cases; i++) {
        bool changed = i < sizeof cases / sizeof *cases; // the last is as it was
        unsigned char digest[32], *at = &bytes.data[changed ? cases[i].at : 0], kept = *at;
        if (changed) *at = cases[i].value;
        assert_ok(cr_sha256((struct cr_slice){bytes.data, bytes.size - 4}, digest));
        memcpy(bytes.data + bytes.size - 4, digest, 4);
        cr_buffer_clear(&text);
        assert_ok(cr_append_format(&text, "carrel2."));
        assert_ok(cr_base64url_append(&text, cr_buffer_slice(&bytes)));
        if (changed)
            assert_fails(CR_INVALID, "damaged", cr_token_parse(cr_buffer_text(&text), &back));
        else
            assert_ok(cr_token_parse(cr_buffer_text(&text), &back));
        *at = kept;
    }
}

// As PROTOCOL.md has it: a list of nine, the first a label, the second a version.
static void test_bindings(void **state)
{
    (void)state;
    const struct cr_binding binding = {.role = "silo", .nonce = {2}, .job = {8}};
    struct cr_binding back;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    assert_ok(cr_binding_write(&binding, &bytes));
    assert_memory_equal(bytes.data,
                        "\x89\x77"
                        "carrel attested channel\x01\x64silo\x58\x20",
                        34);
    assert_int_equal(bytes.size, 1 + 24 + 1 + 5 + 6 * 34);
    assert_ok(cr_binding_parse(cr_buffer_slice(&bytes), &back));
    assert_string_equal(back.role, "silo");
    assert_memory_equal(back.nonce, binding.nonce, 32);
    assert_memory_equal(back.job, binding.job, 32);
    static const struct {
        size_t at;
        unsigned char value;
        const char *why;
    } cases[] = {
        {0, 0x88, "nothing of an attested channel's"},
        {2, 'C', "nothing of an attested channel's"},
        {25, 2, "of version 2 of the attested channel, not 1"},
        {25, 0x20, "nothing of an attested channel's"},
        {27, 'S', "malformed"},
        {27, 0, "malformed"},
        {32, 0x57, "malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char kept = bytes.data[cases[i].at];
        bytes.data[cases[i].at] = cases[i].value;
        assert_fails(CR_PROTOCOL, cases[i].why, cr_binding_parse(cr_buffer_slice(&bytes), &back));
        bytes.data[cases[i].at] = kept;
    }
    for (size_t size = 0; size < bytes.size; size++)
        assert_int_equal(cr_binding_parse((struct cr_slice){bytes.data, size}, &back), CR_PROTOCOL);
    assert_ok(cr_append_u8(&bytes, 0));
    assert_fails(CR_PROTOCOL, "malformed", cr_binding_parse(cr_buffer_slice(&bytes), &back));
}

static void test_errors_do_not_repeat_the_token(void **state)
{
    (void)state;
    struct cr_token back;
    assert_fails(CR_INVALID, "no join token", cr_token_parse("hunter2", &back));
    assert_null(strstr(cr_error_message(), "hunter2"));
    assert_fails(CR_INVALID, "damaged", cr_token_parse("carrel2.AAAA", &back));
}

static void test_unknown_role_is_not_written(void **state)
{
    (void)state;
    struct cr_token token = sample();
    strcpy(token.role, "owner");
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    assert_fails(CR_INVALID, "owner", cr_token_write(&token, &text));
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const right[] = {"a:1", "127.0.0.1:0", "[::1]:7423", "silo-1.example:65535"};
    static const char *const wrong[] = {"",      "a",      ":1",    "a:",   "a:65536", "a:1x",
                                        "a b:1", "::1:70", "[]:70", "a:-1", "a:123456"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        struct cr_address address;
        char text[CR_ADDRESS_SIZE];
        assert_ok(cr_address_parse(right[i], &address));
        cr_address_format(&address, text);
        assert_string_equal(text, right[i]);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct cr_address address;
        assert_fails(CR_INVALID, "no address", cr_address_parse(wrong[i], &address));
    }
}

// Feeds bytes to a reader in pieces of `piece`; returns the status of the first failure.
static enum cr_status feed(struct cr_frame_reader *reader, const unsigned char *bytes, size_t size,
                           size_t piece, size_t *frames, struct cr_frame *last)
{
    while (size > 0) {
        unsigned char *space;
        size_t fits;
        cr_frame_reader_space(reader, &space, &fits);
        size_t take = fits < size ? fits : size;
        if (take > piece) take = piece;
        memcpy(space, bytes, take);
        bytes += take;
        size -= take;
        bool complete;
        CR_TRY(cr_frame_reader_advance(reader, take, &complete, last));
        if (!complete) continue;
        ++*frames;
        cr_frame_reader_next(reader);
    }
    return CR_OK;
}

static void test_frames_in_any_pieces(void **state)
{
    (void)state;
    unsigned char bytes[2 * (CR_FRAME_START_SIZE + 7 + 5)];
    for (size_t i = 0; i < 2; i++) {
        unsigned char *at = bytes + i * sizeof bytes / 2;
        assert_ok(cr_frame_start(CR_FRAME_VALUES, 7, 5, at));
        memcpy(at + CR_FRAME_START_SIZE, "header!body!", 12);
    }
    for (size_t piece = 1; piece <= sizeof bytes; piece++) {
        CR_CLEANUP(cr_frame_reader_release) struct cr_frame_reader reader = {0};
        size_t frames = 0;
        struct cr_frame last;
        assert_ok(feed(&reader, bytes, sizeof bytes, piece, &frames, &last));
        assert_int_equal(frames, 2);
        assert_int_equal(last.type, CR_FRAME_VALUES);
        assert_memory_equal(last.header.data, "header!", 7);
        assert_memory_equal(last.body.data, "body!", 5);
        assert_int_equal(reader.have, 0);
    }
}

static enum cr_status read_start(uint32_t accepted, const unsigned char start[CR_FRAME_START_SIZE])
{
    CR_CLEANUP(cr_frame_reader_release) struct cr_frame_reader reader = {.accepted = accepted};
    size_t frames = 0;
    struct cr_frame last;
    return feed(&reader, start, CR_FRAME_START_SIZE, CR_FRAME_START_SIZE, &frames, &last);
}

static void test_wrong_starts(void **state)
{
    (void)state;
    unsigned char start[CR_FRAME_START_SIZE];
    assert_ok(cr_frame_start(CR_FRAME_VALUES, 0, CR_FRAME_BODY_LIMIT, start));
    assert_ok(read_start(0, start));
    assert_fails(CR_PROTOCOL, "not accepted", read_start(1u << CR_FRAME_HELLO, start));
    start[12] = 1; // one byte over 1 MiB
    assert_fails(CR_PROTOCOL, "oversized", read_start(0, start));
    memset(start + 8, 0xff, 8);
    assert_fails(CR_PROTOCOL, "oversized", read_start(0, start));
    assert_ok(cr_frame_start(CR_FRAME_BEAT, 0, 0, start));
    start[4] = CR_FRAME_TYPES;
    assert_fails(CR_PROTOCOL, "unknown type", read_start(0, start));
    start[4] = 0;
    assert_fails(CR_PROTOCOL, "unknown type", read_start(0, start));
    assert_ok(cr_frame_start(CR_FRAME_BEAT, 0, 0, start));
    start[6] = 1;
    assert_fails(CR_PROTOCOL, "unknown type", read_start(0, start));
    start[0] = 'X';
    assert_fails(CR_PROTOCOL, "magic", read_start(0, start));
    assert_fails(CR_INTERNAL, "over its bound", cr_frame_start(CR_FRAME_BEAT, 0, 1, start));
}

static struct cr_message round_trip(const struct cr_message *in)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer header = {0};
    assert_ok(cr_message_encode(in, &header));
    struct cr_frame frame = {.type = in->type, .header = cr_buffer_slice(&header)};
    struct cr_message out;
    assert_ok(cr_message_decode(&frame, &out));
    return out;
}

static void test_messages_come_back(void **state)
{
    (void)state;
    struct cr_message in = {.type = CR_FRAME_TRAINED};
    in.trained.round = 7;
    in.trained.labelled = UINT64_MAX;
    in.trained.loss_sum = 1.25;
    memset(in.trained.digest, 0xab, 32);
    struct cr_message out = round_trip(&in);
    assert_int_equal(out.trained.round, 7);
    assert_true(out.trained.labelled == UINT64_MAX);
    assert_true(out.trained.loss_sum == 1.25);
    assert_memory_equal(out.trained.digest, in.trained.digest, 32);
    cr_message_release(&out);
}

static void test_wrong_messages(void **state)
{
    (void)state;
    struct cr_message out;
    struct cr_frame frame = {.type = CR_FRAME_READY, .header = {(const unsigned char *)"\x0a\x01z", 3}};
    assert_fails(CR_PROTOCOL, "wrong structure", cr_message_decode(&frame, &out));
    frame.header = (struct cr_slice){(const unsigned char *)"\x0a\x7f", 2};
    assert_fails(CR_PROTOCOL, "malformed", cr_message_decode(&frame, &out));
    frame = (struct cr_frame){.type = CR_FRAME_REFUSED,
                              .header = {(const unsigned char *)"\x08\x01\x12\x02\xc3\x28", 6}};
    assert_fails(CR_PROTOCOL, "wrong reason", cr_message_decode(&frame, &out));
    frame.header = (struct cr_slice){(const unsigned char *)"\x08\x01\x12\x03\x1b[m", 7};
    assert_fails(CR_PROTOCOL, "wrong reason", cr_message_decode(&frame, &out));
    frame.header = (struct cr_slice){(const unsigned char *)"\x08\x01\x12\x02\xc2\x9b", 6}; // CSI
    assert_fails(CR_PROTOCOL, "wrong reason", cr_message_decode(&frame, &out));
    frame.header = (struct cr_slice){(const unsigned char *)"\x08\x01\x12\x02\xc2\xa0", 6};
    assert_ok(cr_message_decode(&frame, &out));
    cr_message_release(&out);
    struct cr_message in = {.type = CR_FRAME_PROGRESS, .progress = {.loss = NAN}};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer header = {0};
    assert_ok(cr_message_encode(&in, &header));
    frame = (struct cr_frame){.type = CR_FRAME_PROGRESS, .header = cr_buffer_slice(&header)};
    assert_fails(CR_PROTOCOL, "wrong loss", cr_message_decode(&frame, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_comes_back),
        cmocka_unit_test(test_any_other_character_is_refused),
        cmocka_unit_test(test_tokens_of_other_programs),
        cmocka_unit_test(test_bindings),
        cmocka_unit_test(test_errors_do_not_repeat_the_token),
        cmocka_unit_test(test_unknown_role_is_not_written),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_frames_in_any_pieces),
        cmocka_unit_test(test_wrong_starts),
        cmocka_unit_test(test_messages_come_back),
        cmocka_unit_test(test_wrong_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
