// Sealed files: they come back, in whatever pieces they are written and read, and every kind of tampering is
// found.
#include "sealing_support.h"
#include "temporary.h"

#include "base/file.h"
#include "crypto/seal.h"

#include <sys/stat.h>

enum { HEADER = 144, TAG = 16, CHUNK = CR_SEAL_CHUNK, SEALED_CHUNK = CHUNK + TAG };

static const struct cr_sealing sealing = {&test_key, "some values", {4, 5, 6}};

// Content of that size, which differs from chunk to chunk.
static void fill(struct cr_buffer *out, size_t size)
{
    for (size_t i = 0; i < size; i++) assert_ok(cr_append_u8(out, (unsigned char)(i * 7 + i / 251)));
}

static enum cr_status load(const char *path, struct cr_buffer *out)
{
    return cr_seal_load(path, &sealing, SIZE_MAX, out);
}

static void seal(const char *path, size_t size)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer content = {0};
    fill(&content, size);
    assert_ok(cr_seal_write(path, &sealing, cr_buffer_slice(&content)));
}

static void test_round_trips(void **unused)
{
    (void)unused;
    static const size_t sizes[] = {0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 77};
    static const size_t pieces[] = {1, 1000, CHUNK, 4 * CHUNK};
    const char *path = in_directory("file");
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
            CR_CLEANUP(cr_buffer_release) struct cr_buffer content = {0};
            CR_CLEANUP(cr_buffer_release) struct cr_buffer found = {0};
            CR_CLEANUP(cr_seal_writer_release) struct cr_seal_writer *writer = NULL;
            CR_CLEANUP(cr_seal_reader_release) struct cr_seal_reader *reader = NULL;
            fill(&content, sizes[s]);
            assert_ok(cr_seal_begin(path, &sealing, &writer));
            for (size_t at = 0; at < content.size; at += pieces[p])
                assert_ok(cr_seal_append(
                    writer, (struct cr_slice){content.data + at, cr_least(pieces[p], content.size - at)}));
            assert_ok(cr_seal_commit(writer));
            struct stat about;
            assert_int_equal(stat(path, &about), 0);
            assert_int_equal(about.st_mode & 0777, 0600);
            size_t chunks = sizes[s] == 0 ? 1 : (sizes[s] + CHUNK - 1) / CHUNK;
            assert_int_equal(about.st_size, HEADER + sizes[s] + chunks * TAG);

            assert_ok(cr_seal_open(path, &sealing, &reader));
            assert_int_equal(cr_seal_size(reader), sizes[s]);
            for (size_t at = 0; at < sizes[s]; at += pieces[p]) {
                static unsigned char piece[4 * CHUNK];
                size_t count = cr_least(pieces[p], sizes[s] - at);
                assert_ok(cr_seal_read(reader, piece, count));
                assert_ok(cr_append(&found, piece, count));
            }
            assert_true(cr_slice_equal(cr_buffer_slice(&content), cr_buffer_slice(&found)));
            unsigned char more;
            assert_fails(CR_INVALID, "shorter than what is wanted", cr_seal_read(reader, &more, 1));
        }
    }
}

static void test_nothing_is_there_before_the_commit(void **unused)
{
    (void)unused;
    const char *path = in_directory("late");
    struct cr_seal_writer *writer;
    assert_ok(cr_seal_begin(path, &sealing, &writer));
    assert_ok(cr_seal_append(writer, cr_slice_of_string("some")));
    assert_false(cr_file_exists(path));
    cr_seal_writer_free(writer);
    assert_false(cr_file_exists(path));
    assert_fails(CR_NOT_FOUND, "late", load(path, &(struct cr_buffer){0}));
}

// Equal contents are sealed differently each time, and what is on disk tells nothing of them.
static void test_two_files_have_nothing_in_common(void **unused)
{
    (void)unused;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer content = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer first = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer second = {0};
    for (size_t i = 0; i < 3000; i++) assert_ok(cr_append(&content, "secret!!", 8));
    assert_ok(cr_seal_write(in_directory("a"), &sealing, cr_buffer_slice(&content)));
    assert_ok(cr_seal_write(in_directory("b"), &sealing, cr_buffer_slice(&content)));
    assert_ok(cr_file_read(in_directory("a"), SIZE_MAX, &first));
    assert_ok(cr_file_read(in_directory("b"), SIZE_MAX, &second));
    assert_null(memmem(first.data, first.size, "secret", 6));
    size_t equal = 0;
    for (size_t i = HEADER; i < first.size; i++) equal += first.data[i] == second.data[i];
    assert_true(equal < first.size / 100); // 1 of 256 by chance
}

static void refused(const char *part, const struct cr_buffer *bytes)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    const char *path = in_directory("altered");
    write_bytes(path, cr_buffer_slice(bytes));
    assert_fails(CR_INVALID, part, load(path, &out));
    assert_non_null(strstr(cr_error_message(), "altered"));
    assert_int_equal(out.size, 0);
}

// The header of `from` and these chunks of `of`, counted from 0.
static void assemble(struct cr_buffer *out, const struct cr_buffer *from, const struct cr_buffer *of,
                     const size_t *chunks, size_t count)
{
    cr_buffer_clear(out);
    assert_ok(cr_append(out, from->data, HEADER));
    for (size_t i = 0; i < count; i++) {
        size_t at = HEADER + chunks[i] * SEALED_CHUNK;
        assert_ok(cr_append(out, of->data + at, cr_least(SEALED_CHUNK, of->size - at)));
    }
}

static void test_every_bit_matters(void **unused)
{
    (void)unused;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    seal(in_directory("whole"), 50);
    assert_ok(cr_file_read(in_directory("whole"), SIZE_MAX, &bytes));
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
        bytes.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        write_bytes(in_directory("altered"), cr_buffer_slice(&bytes));
        enum cr_status status = load(in_directory("altered"), &out);
        bool version = bit / 32 == 2;
        assert_int_equal(status, version ? CR_UNSUPPORTED : CR_INVALID);
        assert_non_null(strstr(cr_error_message(), "altered: "));
        bytes.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    for (size_t size = 0; size < bytes.size; size++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
        write_bytes(in_directory("altered"), (struct cr_slice){bytes.data, size});
        assert_fails(CR_INVALID, "altered: ", load(in_directory("altered"), &out));
    }
}

static void test_chunks_stay_where_they_are(void **unused)
{
    (void)unused;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer whole = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer other = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer made = {0};
    seal(in_directory("whole"), 3 * CHUNK + 10); // chunks 0, 1, 2 and a short one
    seal(in_directory("other"), 3 * CHUNK + 10);
    assert_ok(cr_file_read(in_directory("whole"), SIZE_MAX, &whole));
    assert_ok(cr_file_read(in_directory("other"), SIZE_MAX, &other));

    assemble(&made, &whole, &whole, (const size_t[]){0, 1, 2, 3}, 4);
    assert_true(cr_slice_equal(cr_buffer_slice(&made), cr_buffer_slice(&whole))); // what is taken apart below
    assemble(&made, &whole, &whole, (const size_t[]){0, 2, 1, 3}, 4);             // reordered
    refused("chunk 2 of 4", &made);
    assemble(&made, &whole, &whole, (const size_t[]){0, 1, 1, 2, 3}, 5); // doubled
    refused("chunk 3 of 5", &made);
    assemble(&made, &whole, &whole, (const size_t[]){0, 2, 3}, 3); // left out
    refused("chunk 2 of 3", &made);
    assemble(&made, &whole, &whole, (const size_t[]){0, 1, 2}, 3); // cut between chunks
    refused("chunk 3 of 3", &made);
    assemble(&made, &whole, &whole, (const size_t[]){0}, 1);
    refused("chunk 1 of 1", &made);
    assemble(&made, &whole, &whole, (const size_t[]){0, 1, 2, 3}, 4); // cut within one
    made.size -= 3;
    refused("chunk 4 of 4", &made);
    made.size -= 20;
    refused("cut off in chunk 4", &made);
    assemble(&made, &whole, &whole, (const size_t[]){0, 1, 2, 3}, 4); // added to
    assert_ok(cr_append(&made, "x", 1));
    refused("chunk 4 of 4", &made);
    assemble(&made, &whole, &other, (const size_t[]){0, 1, 2, 3}, 4); // another's chunks
    refused("chunk 1 of 4", &made);
    assemble(&made, &whole, &whole, (const size_t[]){0, 1, 2, 3}, 4);
    memcpy(made.data + HEADER + SEALED_CHUNK, other.data + HEADER + SEALED_CHUNK, SEALED_CHUNK);
    refused("chunk 2 of 4", &made);
    cr_buffer_clear(&made);
    assert_ok(cr_append(&made, whole.data, HEADER)); // no chunk at all
    refused("cut off", &made);

    // An end at a full chunk is one too.
    seal(in_directory("whole"), 2 * CHUNK);
    cr_buffer_clear(&whole);
    assert_ok(cr_file_read(in_directory("whole"), SIZE_MAX, &whole));
    assemble(&made, &whole, &whole, (const size_t[]){0, 1, 1}, 3);
    refused("chunk 2 of 3", &made);
}

static void test_it_opens_as_the_same_only(void **unused)
{
    (void)unused;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    const char *path = in_directory("one");
    seal(path, 10);
    struct cr_sealing_key other_key = test_key;
    struct cr_sealing other = sealing;
    other.key = &other_key;
    assert_ok(cr_seal_load(path, &other, 10, &out));
    other_key.key[31] ^= 1;
    assert_fails(CR_INVALID, "sealed under another key of test", cr_seal_load(path, &other, 10, &out));
    strcpy(other_key.source, "gramine");
    assert_fails(CR_INVALID, "a key of test, where this program has one of gramine",
                 cr_seal_load(path, &other, 10, &out));
    other = sealing;
    other.purpose = "other values";
    assert_fails(CR_INVALID, "sealed as \"some values\", not as \"other values\"",
                 cr_seal_load(path, &other, 10, &out));
    other = sealing;
    other.bound[31] ^= 1;
    assert_fails(CR_INVALID, "another job", cr_seal_load(path, &other, 10, &out));
    assert_fails(CR_INVALID, "10 bytes, more than the 9 allowed", cr_seal_load(path, &sealing, 9, &out));
    assert_int_equal(out.size, 10);
}

static void test_what_its_header_says(void **unused)
{
    (void)unused;
    const char *path = in_directory("one");
    struct cr_seal_header about;
    seal(path, 3 * CHUNK + 5);
    assert_ok(cr_seal_describe(path, &about));
    assert_string_equal(about.source, "test");
    assert_string_equal(about.purpose, "some values");
    assert_memory_equal(about.bound, sealing.bound, 32);
    assert_int_equal(about.size, 3 * CHUNK + 5);
    write_text(path, "no such thing");
    assert_fails(CR_INVALID, "not a sealed file", cr_seal_describe(path, &about));
}

// The fuzzer's seeds: CARREL_WRITE_CORPUS names the folder that they are to be written to.
static void test_seeds_of_the_fuzzer(void **unused)
{
    (void)unused;
    static const struct cr_sealing_key seed = {"seed", {1, 2, 3}};
    const struct cr_sealing of_seed = {&seed, "a seed", {4, 5, 6}};
    const char *folder = getenv("CARREL_WRITE_CORPUS");
    static const struct {
        const char *name;
        size_t size;
    } seeds[] = {{"empty", 0}, {"short", 40}, {"two-chunks", CHUNK + 10}};
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer content = {0};
        CR_CLEANUP(cr_buffer_release) struct cr_buffer found = {0};
        char path[256];
        for (size_t at = 0; at < seeds[i].size; at++)
            assert_ok(cr_append_u8(&content, (unsigned char)(at * 7)));
        snprintf(path, sizeof path, "%s/%s", folder ? folder : "fuzz/corpus/seal", seeds[i].name);
        if (folder) assert_ok(cr_seal_write(path, &of_seed, cr_buffer_slice(&content)));
        // The format is what it was when they were written.
        assert_ok(cr_seal_load(path, &of_seed, SIZE_MAX, &found));
        assert_true(cr_slice_equal(cr_buffer_slice(&content), cr_buffer_slice(&found)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_nothing_is_there_before_the_commit),
        cmocka_unit_test(test_two_files_have_nothing_in_common),
        cmocka_unit_test(test_every_bit_matters),
        cmocka_unit_test(test_chunks_stay_where_they_are),
        cmocka_unit_test(test_it_opens_as_the_same_only),
        cmocka_unit_test(test_what_its_header_says),
        cmocka_unit_test(test_seeds_of_the_fuzzer),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
