#include "cli/bench_row.h"

#include "cli/command.h"
#include "format/json.h"

enum cr_status cr_bench_print_json(size_t threads, const struct cr_bench_row *rows, size_t count)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    CR_TRY(cr_append_format(&out, "{\"threads\": %zu, \"rows\": [", threads));
    for (size_t i = 0; i < count; i++) {
        const struct cr_bench_row *row = &rows[i];
        CR_TRY(cr_append_format(&out, "%s\n  {\"name\": \"%s\", \"figure\": %.6g, \"unit\": \"%s\"",
                                i ? "," : "", row->name, row->figure, row->unit));
        if (row->limit > 0)
            CR_TRY(cr_append_format(&out, ", \"limit\": %.6g, \"ratio\": %.4f", row->limit,
                                    row->figure / row->limit));
        if (row->peak_memory > 0)
            CR_TRY(cr_append_format(&out, ", \"peak_memory_bytes\": %.0f", row->peak_memory));
        CR_TRY(cr_append_format(&out, ", \"note\": "));
        CR_TRY(cr_json_append_string(&out, cr_slice_of_string(row->note)));
        CR_TRY(cr_append_format(&out, "}"));
    }
    CR_TRY(cr_append_format(&out, "\n]}\n"));
    return cr_command_print(cr_buffer_slice(&out));
}

enum cr_status cr_bench_print_row(const struct cr_bench_row *row)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer out = {0};
    CR_TRY(cr_append_format(&out, "%-24s %9.1f %-9s", row->name, row->figure, row->unit));
    if (row->limit > 0)
        CR_TRY(cr_append_format(&out, "  limit %8.1f  ratio %.2f", row->limit, row->figure / row->limit));
    else
        CR_TRY(cr_append_format(&out, "  %-28s", ""));
    if (row->peak_memory > 0) CR_TRY(cr_append_format(&out, "  peak %.2f GB", row->peak_memory / 1e9));
    CR_TRY(cr_append_format(&out, "  (%s)\n", row->note));
    return cr_command_print(cr_buffer_slice(&out));
}
