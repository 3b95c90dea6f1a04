// slicing/pads.h: the memory that pads are made from is not trusted.
#include "temporary.h"
#include "tuning_support.h"

#include "base/file.h"
#include "slicing/pads.h"

// A checkpoint that somebody writes to during a run: no pad is made from what it has become, and none more.
static void a_changed_checkpoint_makes_no_pads(void **state)
{
    (void)state;
    enum { ROWS = 4, HEADER = 8 };
    static const char *const names[] = {"config.json", "model.safetensors"};
    CR_FREE char *model_path = NULL;
    char from[512];
    struct cr_compute *compute;
    struct cr_model *model;
    struct cr_field *field;
    struct cr_facts facts;
    struct cr_pads *pads;
    uint64_t first = 0, header;
    assert_ok(cr_copy_string(in_directory("changed"), &model_path));
    assert_ok(cr_directory_make(model_path, false));
    CR_CLEANUP(cr_buffer_release) struct cr_buffer bytes = {0};
    for (size_t i = 0; i < 2; i++) {
        cr_buffer_clear(&bytes);
        snprintf(from, sizeof from, "%s/%s", SMALL_MODEL, names[i]);
        assert_ok(cr_file_read(from, 1 << 26, &bytes));
        snprintf(from, sizeof from, "%s/%s", model_path, names[i]);
        write_bytes(from, cr_buffer_slice(&bytes));
    }
    assert_ok(cr_compute_new(1, &compute));
    assert_ok(cr_model_open(model_path, CR_MODEL_OUTSIDE, NULL, compute, CR_F32, &model));
    assert_ok(cr_field_new(compute, 4, &field));
    const struct cr_pads_options options = {
        .model = model, .facts = &facts, .digits = 4, .rows = ROWS, .threads = 1};
    assert_ok(cr_facts_open(compute, field, model, options.key, &facts));
    assert_ok(cr_pads_new(&options, &pads));
    assert_ok(cr_pads_take(pads, 0, false, ROWS, &first));
    assert_ok(cr_pads_hold(pads, true)); // so that nobody reads the file while it changes
    memcpy(&header, bytes.data, HEADER);
    FILE *file = fopen(from, "r+b");
    assert_non_null(file);
    fseek(file, (long)(HEADER + header), SEEK_SET);
    for (size_t i = HEADER + header; i < bytes.size; i++) fputc(bytes.data[i] ^ 0x11, file);
    fclose(file);
    assert_ok(cr_pads_take(pads, 0, false, 0, &first)); // what was made before is there
    static const char sentence[] = "is no longer what it was when the run began";
    assert_fails(CR_DENIED, sentence, cr_pads_take(pads, 1, true, ROWS, &first));
    assert_fails(CR_DENIED, sentence, cr_pads_take(pads, 0, false, ROWS, &first));
    assert_fails(CR_DENIED, sentence, cr_pads_hold(pads, true));
    cr_pads_free(pads);
    cr_facts_release(&facts);
    cr_field_free(field);
    cr_model_free(model);
    cr_compute_free(compute);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_changed_checkpoint_makes_no_pads)};
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
