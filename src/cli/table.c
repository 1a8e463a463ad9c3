// SPDX-License-Identifier: Apache-2.0
// Tables: rows of cells of a fixed size, printed at the end, when the widths are known.
#include "cli/table.h"

#include "cli/ctl.h"
#include <stdio.h>
#include <string.h>

enum { CELL_BYTES = 160 };

void viv_cli_table_init(struct viv_cli_table *table, int columns)
{
    *table = (struct viv_cli_table){.columns = columns};
    viv_buf_init(&table->cells, VIV_TAG_CLI);
}

void viv_cli_table_deinit(struct viv_cli_table *table)
{
    viv_buf_deinit(&table->cells);
}

enum viv_err viv_cli_table_add(struct viv_cli_table *table, const char *const *cells)
{
    for (int i = 0; i < table->columns; i++) {
        char cell[CELL_BYTES] = "";
        (void)snprintf(cell, sizeof cell, "%s", cells[i] != NULL ? cells[i] : "-");
        const int len = (int)strlen(cell);
        if (len > table->widths[i]) table->widths[i] = len;
        VIV_TRY(viv_buf_append(&table->cells, cell, sizeof cell));
    }
    table->rows++;
    return VIV_OK;
}

void viv_cli_table_print(const struct viv_cli_table *table)
{
    const char *cell = (const char *)table->cells.data;
    for (size_t row = 0; row < table->rows; row++) {
        for (int i = 0; i < table->columns; i++, cell += CELL_BYTES) {
            const bool is_last = i == table->columns - 1;
            viv_cli_print_escaped(cell, is_last ? 0 : table->widths[i]);
            (void)printf("%s", is_last ? "\n" : "  ");
        }
    }
}
