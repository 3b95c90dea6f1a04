// format/safetensors.h: what is written reads back; what breaks the format's rules is refused by name.
#include "temporary.h"

#include "base/file.h"
#include "format/safetensors.h"

#include <stdio.h>
#include <sys/stat.h>

#define FILE_OF CR_CLEANUP(cr_safetensors_release) struct cr_safetensors *

// A file in memory: the header's length, the header, `data_size` bytes.
static void build(struct cr_buffer *out, const char *header, size_t data_size)
{
    cr_buffer_clear(out);
    assert_ok(cr_append_u64(out, strlen(header)));
    assert_ok(cr_append(out, header, strlen(header)));
    for (size_t i = 0; i < data_size; i++) assert_ok(cr_append_u8(out, (uint8_t)i));
}

static void save(const char *name, const char *header, size_t data_size)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    build(&bytes, header, data_size);
    write_bytes(in_directory(name), cr_buffer_slice(&bytes));
}

static struct cr_slice bytes_of(const void *data, size_t size)
{
    return (struct cr_slice){data, size};
}

static void written_reads_back(void **state)
{
    (void)state;
    const float floats[6] = {1, 2, 3, 4, 5, 6};
    const int64_t wide[1] = {-1};
    const uint16_t halves[3] = {0x3f80, 0x4000, 0x4040};
    const int8_t small[3] = {1, -2, 3};
    const struct cr_tensor_entry entries[] = {
        {"small \"quoted\"", CR_I8, 1, {3}, bytes_of(small, sizeof small)},
        {"m.weight", CR_F32, 2, {2, 3}, bytes_of(floats, sizeof floats)},
        {"half", CR_BF16, 3, {1, 3, 1}, bytes_of(halves, sizeof halves)},
        {"scalar", CR_I64, 0, {0}, bytes_of(wide, sizeof wide)},
        {"empty", CR_F16, 2, {4, 0}, {NULL, 0}},
        {"ids", CR_I32, 1, {1}, bytes_of(small, 0)},
    };
    struct cr_tensor_entry all[6];
    memcpy(all, entries, sizeof all);
    const int32_t id = 77;
    all[5].bytes = bytes_of(&id, sizeof id);
    const char *path = in_directory("written.safetensors");
    assert_ok(cr_safetensors_write(path, all, 6, true));
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);

    FILE_OF file = NULL;
    assert_ok(cr_safetensors_open(path, &file));
    assert_string_equal(cr_safetensors_name(file), path);
    assert_int_equal(cr_safetensors_count(file), 6);
    for (size_t i = 0; i < 6; i++) {
        const struct cr_tensor_entry *entry = cr_safetensors_find(file, all[i].name);
        assert_non_null(entry);
        assert_int_equal(entry->dtype, all[i].dtype);
        assert_int_equal(entry->rank, all[i].rank);
        assert_memory_equal(entry->shape, all[i].shape, entry->rank * sizeof(size_t));
        assert_true(cr_slice_equal(entry->bytes, all[i].bytes));
        assert_int_equal((uintptr_t)entry->bytes.data % cr_dtype_size(entry->dtype), 0);
        if (i > 0)
            assert_true(strcmp(cr_safetensors_at(file, i - 1)->name, cr_safetensors_at(file, i)->name) < 0);
    }
    assert_null(cr_safetensors_find(file, "absent"));
    assert_null(cr_safetensors_at(file, 6));

    // The same entries give the same bytes, and no tensors at all are a file too.
    CR_CLEANUP(cr_buffer_release) struct cr_buffer first = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer second = {0};
    assert_ok(cr_file_read(path, 4096, &first));
    assert_ok(cr_safetensors_write(path, all, 6, true));
    assert_ok(cr_file_read(path, 4096, &second));
    assert_true(cr_slice_equal(cr_buffer_slice(&first), cr_buffer_slice(&second)));
    assert_ok(cr_safetensors_write(path, NULL, 0, false));
    FILE_OF none = NULL;
    assert_ok(cr_safetensors_open(path, &none));
    assert_int_equal(cr_safetensors_count(none), 0);
    assert_null(cr_safetensors_find(none, "a"));
}

// By the format's own list: the length of 8 elements of each type.
static void every_type_of_the_format_is_listed(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t size;
    } types[] = {
        {"BOOL", 8},    {"F4", 4},          {"F6_E2M3", 6},     {"F6_E3M2", 6}, {"U8", 8},   {"I8", 8},
        {"F8_E5M2", 8}, {"F8_E4M3", 8},     {"F8_E8M0", 8},     {"I16", 16},    {"U16", 16}, {"F16", 16},
        {"BF16", 16},   {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I32", 32},    {"U32", 32}, {"F32", 32},
        {"C64", 64},    {"F64", 64},        {"I64", 64},        {"U64", 64},
    };
    assert_int_equal(sizeof types / sizeof types[0], CR_DTYPES);
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    const char *path = in_directory("typed.safetensors");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char header[128];
        snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"%s\",\"shape\":[2,4],\"data_offsets\":[0,%zu]}}",
                 types[i].name, types[i].size);
        build(&bytes, header, types[i].size);
        FILE_OF file = NULL;
        assert_ok(cr_safetensors_parse(cr_buffer_slice(&bytes), "name", &file));
        const struct cr_tensor_entry *entry = cr_safetensors_at(file, 0);
        assert_string_equal(cr_dtype_name(entry->dtype), types[i].name);
        assert_int_equal(entry->bytes.size, types[i].size);
        assert_ok(cr_safetensors_write(path, entry, 1, false));
        FILE_OF written = NULL;
        assert_ok(cr_safetensors_open(path, &written));
        assert_int_equal(cr_safetensors_at(written, 0)->dtype, entry->dtype);
        assert_true(cr_slice_equal(cr_safetensors_at(written, 0)->bytes, entry->bytes));
    }
}

// One that is empty covers nothing, whichever of those at its byte is named first.
static void an_empty_tensor_lies_beside_another(void **state)
{
    (void)state;
#define FULL "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"
#define EMPTY "\"b\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}"
    static const char *const headers[] = {"{" FULL "," EMPTY "}", "{" EMPTY "," FULL "}"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
        FILE_OF file = NULL;
        build(&bytes, headers[i], 4);
        assert_ok(cr_safetensors_parse(cr_buffer_slice(&bytes), "name", &file));
        assert_int_equal(cr_safetensors_find(file, "b")->bytes.size, 0);
    }
}

static void wrong_entries_are_not_written(void **state)
{
    (void)state;
    const float floats[2] = {1, 2};
    struct cr_tensor_entry entries[2] = {{"a", CR_F32, 1, {2}, bytes_of(floats, sizeof floats)},
                                         {"a", CR_F32, 1, {2}, bytes_of(floats, sizeof floats)}};
    const char *path = in_directory("never.safetensors");
    assert_fails(CR_INTERNAL, "\"a\" would be written twice", cr_safetensors_write(path, entries, 2, false));
    entries[1].shape[0] = 3;
    assert_fails(CR_INTERNAL, "shape or size", cr_safetensors_write(path, entries, 2, false));
    entries[1] = entries[0];
    entries[1].name = "\xff";
    assert_fails(CR_INVALID, "UTF-8", cr_safetensors_write(path, entries, 2, false));
    assert_false(cr_file_exists(path));
}

static void broken_rules_are_refused(void **state)
{
    (void)state;
#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"
    static const struct {
        enum cr_status status;
        const char *header;
        size_t data_size;
        const char *reason;
    } cases[] = {
        {CR_INVALID, "{" A "}", 7, "tensor \"a\": its data end at byte 8 of 7 (is the file truncated?)"},
        {CR_INVALID, "{" A "}", 9, "1 bytes after the last tensor"},
        {CR_INVALID, "{}", 1, "1 bytes after"},
        {CR_INVALID, "{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[6,10]}}", 10,
         "tensor \"b\": its data overlap those of \"a\""},
        {CR_INVALID, "{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 8, "overlap"},
        {CR_INVALID, "{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "overlap"},
        {CR_INVALID, "{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[4,4]}}", 8, "overlap"},
        {CR_INVALID, "{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[9,13]}}", 13,
         "tensor \"b\": 1 bytes before its data"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[1,9]}}", 9, "1 bytes before"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8,
         "8 bytes of data, but type and shape want 12"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "not a range"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "not a range"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2.5],\"data_offsets\":[0,8]}}", 8, "dimension 0"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "dimension 0"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]}}",
         8, "larger than any memory"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]}}", 4,
         "larger than any memory"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", 8, "exactly"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "exactly"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8,
         "exactly"},
        {CR_INVALID, "{\"a\":[]}", 0, "tensor \"a\": its entry"},
        {CR_INVALID, "{" A "," A "}", 8, "duplicate"},
        {CR_INVALID, "{" A ",}", 8, "name:1:"},
        {CR_INVALID, "{\"__metadata__\":{\"a\":1}}", 0, "__metadata__"},
        {CR_INVALID, "{\"__metadata__\":[]}", 0, "__metadata__"},
        {CR_INVALID, "[]", 0, "does not begin with {"},
        {CR_INVALID, " {}", 0, "does not begin with {"},
        {CR_INVALID, "", 0, "does not begin with {"},
        {CR_UNSUPPORTED, "{\"a\":{\"dtype\":\"F128\",\"shape\":[1],\"data_offsets\":[0,16]}}", 16,
         "tensor \"a\": type F128 is none that safetensors has"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
         "8 bytes of data, but type and shape want 16"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2,
         "no whole bytes of its type"},
        {CR_INVALID, "{\"a\":{\"dtype\":\"F6_E2M3\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
         "no whole bytes of its type"},
        {CR_UNSUPPORTED, "{\"a\":{\"dtype\":\"I8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1,
         "9 dimensions"},
    };
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        build(&bytes, cases[i].header, cases[i].data_size);
        struct cr_safetensors *file = NULL;
        assert_fails(cases[i].status, cases[i].reason,
                     cr_safetensors_parse(cr_buffer_slice(&bytes), "name", &file));
        assert_memory_equal(cr_error_message(), "name", 4);
        assert_null(file);
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    build(&bytes, "{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[2,2],\"data_offsets\":[8,12]}}   ", 12);
    FILE_OF whole = NULL;
    assert_ok(cr_safetensors_parse(cr_buffer_slice(&bytes), "name", &whole));
    for (size_t size = 0; size < bytes.size; size++) {
        // A block of its own, so that AddressSanitizer sees the first byte past the end.
        unsigned char *exact = malloc(size + 1);
        memcpy(exact, bytes.data, size);
        struct cr_safetensors *file = NULL;
        assert_fails(CR_INVALID, "name", cr_safetensors_parse((struct cr_slice){exact, size}, "name", &file));
        free(exact);
    }
    // A length that passes the bound, or wraps.
    struct cr_safetensors *file = NULL;
    memset(bytes.data, 0xff, 8);
    assert_fails(CR_INVALID, "more than the 100000000",
                 cr_safetensors_parse(cr_buffer_slice(&bytes), "name", &file));
}

static void shards_agree_with_their_index(void **state)
{
    (void)state;
    const char *none = in_directory("empty");
    assert_ok(cr_directory_make(none, false));
    struct cr_safetensors *refused = NULL;
    assert_fails(CR_NOT_FOUND, "neither model.safetensors nor", cr_safetensors_open(none, &refused));
    write_text(in_directory("empty/pytorch_model.bin.index.json"), "{}");
    assert_fails(CR_UNSUPPORTED, "empty: pytorch_model.bin: only safetensors are read",
                 cr_safetensors_open(in_directory("empty"), &refused));
    write_text(in_directory("empty/model.safetensors"),
               "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n");
    assert_fails(CR_INVALID, "model.safetensors: a Git LFS pointer, not the file itself",
                 cr_safetensors_open(in_directory("empty"), &refused));

#define B "\"b\":{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":[0,3]}"
    save("one.safetensors", "{" A "}", 8);
    save("two.safetensors", "{" B "}", 3);
    const char *index = "model.safetensors.index.json";
    write_text(in_directory(index),
               "{\"metadata\":{},\"weight_map\":{\"b\":\"two.safetensors\",\"a\":\"one.safetensors\"}}");
    FILE_OF file = NULL;
    assert_ok(cr_safetensors_open(directory, &file));
    assert_string_equal(cr_safetensors_name(file), directory);
    assert_int_equal(cr_safetensors_count(file), 2);
    assert_int_equal(cr_safetensors_find(file, "a")->bytes.size, 8);
    assert_memory_equal(cr_safetensors_find(file, "b")->bytes.data, "\0\1\2", 3);

    static const struct {
        enum cr_status status;
        const char *index, *reason;
    } cases[] = {
        {CR_INVALID, "{\"weight_map\":{\"a\":\"../one.safetensors\"}}",
         "not the name of a file beside the index"},
        {CR_INVALID, "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "not the name of a file"},
        {CR_INVALID, "{\"weight_map\":{\"a\":\"..\"}}", "not the name of a file"},
        {CR_INVALID, "{\"weight_map\":{\"a\":\"\"}}", "not the name of a file"},
        {CR_INVALID, "{\"weight_map\":{\"a\":7}}", "not the name of a file"},
        {CR_INVALID, "{\"weight_map\":{\"a\":\"one.safetensors\\u0000\"}}", "not the name of a file"},
        {CR_INVALID, "{\"weight_map\":{}}", "names no tensors"},
        {CR_INVALID, "{\"weight_map\":[\"one.safetensors\"]}", "names no tensors"},
        {CR_INVALID, "{}", "names no tensors"},
        {CR_NOT_FOUND, "{\"weight_map\":{\"a\":\"three.safetensors\"}}", "three.safetensors"},
        {CR_INVALID, "{\"weight_map\":{\"a\":\"one.safetensors\",\"c\":\"one.safetensors\"}}",
         "tensor \"c\" is not in one.safetensors"},
        {CR_INVALID, "{\"weight_map\":{\"a\":\"two.safetensors\",\"b\":\"one.safetensors\"}}",
         "tensor \"a\" is not in two.safetensors"},
        {CR_INVALID, "{\"weight_map\":{\"a\":\"both.safetensors\"}}",
         "tensor \"b\" of both.safetensors is not listed"},
        {CR_INVALID, "{\"weight_map\":{\"a\":\"both.safetensors\",\"b\":\"two.safetensors\"}}",
         "tensor \"b\" stands in"},
    };
    save("both.safetensors", "{" A ",\"b\":{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":[8,11]}}", 11);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_text(in_directory(index), cases[i].index);
        assert_fails(cases[i].status, cases[i].reason, cr_safetensors_open(directory, &refused));
        assert_null(refused);
    }
    CR_CLEANUP(cr_buffer_release) struct cr_buffer many = {0};
    for (size_t i = 0; i <= 4096; i++)
        assert_ok(cr_append_format(&many, "%s\"%zu\":\"%zu.safetensors\"", i == 0 ? "{\"weight_map\":{" : ",",
                                   i, i));
    assert_ok(cr_append_format(&many, "}}"));
    write_text(in_directory(index), cr_buffer_text(&many));
    assert_fails(CR_INVALID, "4097 files, more than the 4096 allowed",
                 cr_safetensors_open(directory, &refused));
    // A single file goes before an index.
    save("model.safetensors", "{" B "}", 3);
    FILE_OF single = NULL;
    assert_ok(cr_safetensors_open(directory, &single));
    assert_int_equal(cr_safetensors_count(single), 1);
    assert_string_equal(cr_safetensors_name(single), directory);
}

static void a_real_checkpoint_opens(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/models/stories260K", shared_data());
    FILE_OF file = NULL;
    assert_ok(cr_safetensors_open(path, &file));
    const struct cr_tensor_entry *entry = cr_safetensors_find(file, "model.embed_tokens.weight");
    assert_non_null(entry);
    assert_int_equal(entry->dtype, CR_F32);
    assert_int_equal(entry->rank, 2);
    assert_int_equal(entry->shape[0], 512);
    assert_int_equal(entry->shape[1], 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_reads_back),
        cmocka_unit_test(every_type_of_the_format_is_listed),
        cmocka_unit_test(an_empty_tensor_lies_beside_another),
        cmocka_unit_test(wrong_entries_are_not_written),
        cmocka_unit_test(broken_rules_are_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(shards_agree_with_their_index),
        cmocka_unit_test(a_real_checkpoint_opens),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
