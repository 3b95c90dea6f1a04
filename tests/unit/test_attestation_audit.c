// attestation/audit.h: a log is gone on with after a kill, and tells what was done to it.
#include "temporary.h"

#include "attestation/audit.h"
#include "base/file.h"

#include <signal.h>
#include <sys/resource.h>

enum { LINES = 5, LIMIT = 1 << 20 };

static struct cr_audit_entry entry_of(unsigned char number)
{
    struct cr_audit_entry entry = {.time = 1700000000 + number,
                                   .peer = "st-anne",
                                   .role = "silo",
                                   .address = "127.0.0.1:7",
                                   .round = number,
                                   .type = "sgx",
                                   .verdict = number % 2 ? "affirmed" : "refused",
                                   .grounds = "a \"reason\"\nof two lines"};
    memset(entry.key, number, sizeof entry.key);
    memset(entry.evidence, number + 1, sizeof entry.evidence);
    memset(entry.job, number + 2, sizeof entry.job);
    return entry;
}

static enum cr_status check_entry(void *context, const struct cr_audit_entry *entry)
{
    size_t *seen = context;
    struct cr_audit_entry wanted = entry_of((unsigned char)++*seen);
    assert_int_equal(entry->time, wanted.time);
    assert_int_equal(entry->round, wanted.round);
    assert_string_equal(entry->peer, wanted.peer);
    assert_string_equal(entry->role, wanted.role);
    assert_string_equal(entry->address, wanted.address);
    assert_string_equal(entry->type, wanted.type);
    assert_string_equal(entry->verdict, wanted.verdict);
    assert_string_equal(entry->grounds, wanted.grounds);
    assert_memory_equal(entry->key, wanted.key, sizeof wanted.key);
    assert_memory_equal(entry->evidence, wanted.evidence, sizeof wanted.evidence);
    assert_memory_equal(entry->job, wanted.job, sizeof wanted.job);
    return CR_OK;
}

// A log of LINES appraisals, over two processes' time, as text.
static void write_log(const char *name, struct cr_buffer *text)
{
    CR_FREE char *path = NULL;
    assert_ok(cr_copy_string(in_directory(name), &path));
    unlink(path);
    struct cr_audit *audit;
    for (unsigned char i = 1; i <= LINES; i++) {
        if (i == 1 || i == 3) assert_ok(cr_audit_open(path, 1700000000, &audit));
        struct cr_audit_entry entry = entry_of(i);
        assert_ok(cr_audit_append(audit, &entry));
        if (i == 2 || i == LINES) cr_audit_close(audit);
    }
    cr_buffer_clear(text);
    assert_ok(cr_file_read(path, LIMIT, text));
}

static enum cr_status read_text(const struct cr_buffer *text, struct cr_audit_end *end)
{
    return cr_audit_read(cr_buffer_slice(text), "log", NULL, NULL, end);
}

static void test_what_was_written_is_read(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    struct cr_audit_end end;
    size_t seen = 0;
    write_log("log", &text);
    assert_ok(cr_audit_read(cr_buffer_slice(&text), "log", check_entry, &seen, &end));
    assert_int_equal(seen, LINES);
    assert_int_equal(end.count, LINES);
    assert_int_equal(end.torn, 0);
    assert_int_equal(end.good, text.size);
    assert_ok(cr_audit_read((struct cr_slice){NULL, 0}, "log", NULL, NULL, &end));
    assert_int_equal(end.count, 0);
}

static enum cr_status check_grounds(void *context, const struct cr_audit_entry *entry)
{
    assert_string_equal(entry->grounds, context);
    return CR_OK;
}

// A refusal quotes paths, and those may have any byte.
static void test_grounds_may_be_no_utf8(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    CR_FREE char *path = NULL;
    struct cr_audit_entry entry = entry_of(1);
    struct cr_audit_end end;
    struct cr_audit *audit;
    char wanted[] = "/lists/K?ln.crl: no such file";
    assert_ok(cr_copy_string(in_directory("bytes"), &path));
    assert_ok(cr_audit_open(path, 1700000000, &audit));
    entry.grounds = "/lists/K\xf6ln.crl: no such file";
    assert_ok(cr_audit_append(audit, &entry));
    cr_audit_close(audit);
    assert_ok(cr_file_read(path, LIMIT, &text));
    assert_ok(cr_audit_read(cr_buffer_slice(&text), "log", check_grounds, wanted, &end));
    assert_int_equal(end.count, 1);
}

// By docs/PROTOCOL.md's words, not by our own reader.
static void test_the_chain_is_as_documented(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    write_log("log", &text);
    char previous[65];
    memset(previous, '0', 64);
    previous[64] = 0;
    for (char *line = (char *)text.data, *next; *line; line = next) {
        next = strchr(line, '\n') + 1;
        assert_memory_equal(strstr(line, "\"previous\": \"") + 13, previous, 64);
        char *tail = strstr(line, ", \"digest\": \"");
        unsigned char digest[32];
        assert_ok(cr_sha256((struct cr_slice){(unsigned char *)line, (size_t)(tail - line)}, digest));
        cr_hex_encode((struct cr_slice){digest, sizeof digest}, previous);
        assert_memory_equal(tail + 13, previous, 64);
    }
}

static void test_every_changed_byte_is_named(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    struct cr_audit_end end;
    write_log("log", &text);
    size_t line = 1;
    for (size_t at = 0; at < text.size; at++) {
        unsigned char was = text.data[at];
        char place[32];
        snprintf(place, sizeof place, "log: line %zu: ", line);
        text.data[at] = was ^ 1;
        if (at == text.size - 1) { // the last line's end: torn
            assert_ok(read_text(&text, &end));
            assert_int_equal(end.count, LINES - 1);
            assert_true(end.torn > 0);
        } else {
            enum cr_status status = read_text(&text, &end);
            assert_true(status == CR_DENIED || status == CR_INVALID);
            if (!strstr(cr_error_message(), place)) fail_msg("byte %zu: %s", at, cr_error_message());
        }
        text.data[at] = was;
        if (was == '\n') line++;
    }
}

// The lines of the log in another order; 0 ends it.
static void rearrange(const struct cr_buffer *text, const size_t *order, struct cr_buffer *out)
{
    cr_buffer_clear(out);
    for (; *order > 0; order++) {
        const char *line = (const char *)text->data;
        for (size_t i = 1; i < *order; i++) line = strchr(line, '\n') + 1;
        assert_ok(cr_append(out, line, (size_t)(strchr(line, '\n') + 1 - line)));
    }
}

static void test_removed_and_moved_lines_are_named(void **state)
{
    (void)state;
    static const struct {
        size_t order[LINES + 2];
        const char *part;
    } cases[] = {
        {{2, 3, 4, 5}, "log: line 1: is number 2: number 1 was removed"},
        {{1, 2, 4, 5}, "log: line 3: is number 4: number 3 was removed"},
        {{1, 3, 2, 4, 5}, "log: line 2: is number 3: number 2 was removed, or put elsewhere"},
        {{1, 2, 2, 3}, "log: line 3: is number 2 again, or out of its place"},
    };
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0}, changed = {0}, other = {0};
    struct cr_audit_end end;
    write_log("log", &text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rearrange(&text, cases[i].order, &changed);
        assert_fails(CR_DENIED, cases[i].part, read_text(&changed, &end));
    }
    // A line of the right number out of a log that began otherwise.
    CR_FREE char *path = NULL;
    struct cr_audit *audit;
    assert_ok(cr_copy_string(in_directory("other"), &path));
    assert_ok(cr_audit_open(path, 1700000000, &audit));
    for (unsigned char i = 2; i <= 4; i++) {
        struct cr_audit_entry entry = entry_of(i);
        assert_ok(cr_audit_append(audit, &entry));
    }
    cr_audit_close(audit);
    assert_ok(cr_file_read(path, LIMIT, &other));
    rearrange(&text, (const size_t[]){1, 0}, &changed);
    const char *second = strchr((const char *)other.data, '\n') + 1;
    assert_ok(cr_append(&changed, second, strlen(second)));
    assert_fails(CR_DENIED, "log: line 2: does not follow the line before it", read_text(&changed, &end));
}

// Well chained, as a later program might write them.
static void test_other_events_are_refused(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    unsigned char digest[32];
    struct cr_audit_end end;
    assert_ok(cr_append_format(&text, "{\"audit\": 1, \"previous\": \"%064d\", \"event\": \"pause\"", 0));
    assert_ok(cr_sha256(cr_buffer_slice(&text), digest));
    assert_ok(cr_append_format(&text, ", \"digest\": \""));
    assert_ok(cr_append_hex(&text, (struct cr_slice){digest, sizeof digest}));
    assert_ok(cr_append_format(&text, "\"}\n"));
    assert_fails(CR_INVALID, "log: line 1: an event that this program does not know", read_text(&text, &end));
}

static void test_a_torn_line_is_cut_off_and_told(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0}, after = {0};
    struct cr_audit_end end;
    struct cr_audit *audit;
    write_log("log", &text);
    CR_FREE char *path = NULL;
    assert_ok(cr_copy_string(in_directory("torn"), &path));
    size_t last = text.size - 1;
    while (text.data[last - 1] != '\n') last--;
    for (size_t size = last + 1; size < text.size; size += 50) {
        cr_buffer_clear(&after);
        write_bytes(path, (struct cr_slice){text.data, size});
        assert_ok(cr_audit_read((struct cr_slice){text.data, size}, "log", NULL, NULL, &end));
        assert_int_equal(end.torn, size - last);
        assert_ok(cr_audit_open(path, 1700000000, &audit));
        struct cr_audit_entry entry = entry_of(9);
        assert_ok(cr_audit_append(audit, &entry));
        cr_audit_close(audit);
        assert_ok(cr_file_read(path, LIMIT, &after));
        assert_ok(read_text(&after, &end));
        assert_int_equal(end.count, LINES - 1 + 2);
        assert_int_equal(end.cuts, 1);
        char bytes[32];
        snprintf(bytes, sizeof bytes, "\"bytes\": %zu", size - last);
        assert_non_null(strstr(cr_buffer_text(&after), bytes));
    }
}

static void test_a_log_that_was_changed_is_not_gone_on_with(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0};
    struct cr_audit *audit;
    write_log("log", &text);
    text.data[200] ^= 1;
    write_bytes(in_directory("log"), cr_buffer_slice(&text));
    assert_fails(CR_DENIED, "line 1: was changed", cr_audit_open(in_directory("log"), 0, &audit));
    assert_fails(CR_IO, "Is a directory", cr_audit_open(directory, 0, &audit));
}

static void test_a_full_disk_leaves_the_log_as_it_was(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer text = {0}, after = {0};
    struct cr_audit *audit;
    struct cr_audit_entry entry = entry_of(6);
    struct rlimit was, limit;
    CR_FREE char *path = NULL;
    write_log("log", &text);
    assert_ok(cr_copy_string(in_directory("log"), &path));
    assert_ok(cr_audit_open(path, 0, &audit));
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    limit = was;
    limit.rlim_cur = text.size + 100; // some of the line fits
    setrlimit(RLIMIT_FSIZE, &limit);
    enum cr_status status = cr_audit_append(audit, &entry);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_int_equal(status, CR_IO);
    assert_ok(cr_file_read(path, LIMIT, &after));
    assert_true(cr_slice_equal(cr_buffer_slice(&text), cr_buffer_slice(&after)));
    assert_ok(cr_audit_append(audit, &entry)); // and goes on once there is room
    cr_audit_close(audit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_written_is_read),
        cmocka_unit_test(test_grounds_may_be_no_utf8),
        cmocka_unit_test(test_the_chain_is_as_documented),
        cmocka_unit_test(test_every_changed_byte_is_named),
        cmocka_unit_test(test_removed_and_moved_lines_are_named),
        cmocka_unit_test(test_other_events_are_refused),
        cmocka_unit_test(test_a_torn_line_is_cut_off_and_told),
        cmocka_unit_test(test_a_log_that_was_changed_is_not_gone_on_with),
        cmocka_unit_test(test_a_full_disk_leaves_the_log_as_it_was),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
