#include "attestation/snp_table.h"

#include <string.h>

enum { GUID_SIZE = 16 };

enum cr_status cr_snp_table_parse(struct cr_slice table, struct cr_slice certificates[CR_SNP_TABLE_MOST],
                                  size_t *count)
{
    static const unsigned char end[GUID_SIZE] = {0};
    struct cr_slice found[CR_SNP_TABLE_MOST];
    struct cr_cursor cursor = cr_cursor_over(table);
    for (size_t i = 0;; i++) {
        struct cr_slice guid = cr_read_slice(&cursor, GUID_SIZE);
        size_t offset = cr_read_u32(&cursor), size = cr_read_u32(&cursor);
        if (cursor.failed) return cr_fail(CR_INVALID, "the host's table of certificates has no end");
        if (memcmp(guid.data, end, GUID_SIZE) == 0) {
            memcpy(certificates, found, i * sizeof *found);
            *count = i;
            return CR_OK;
        }
        if (i == CR_SNP_TABLE_MOST)
            return cr_fail(CR_INVALID, "the host's table of certificates has more than %d entries",
                           CR_SNP_TABLE_MOST);
        if (offset > table.size || size > table.size - offset)
            return cr_fail(CR_INVALID,
                           "the host's table of certificates: entry %zu is not within its %zu bytes", i,
                           table.size);
        found[i] = (struct cr_slice){table.data + offset, size};
    }
}
