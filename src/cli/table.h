// SPDX-License-Identifier: Apache-2.0
// A table of texts with columns as wide as they need. Threads: the main thread.
#ifndef VIV_CLI_TABLE_H
#define VIV_CLI_TABLE_H

#include "base/buf.h"

#define VIV_CLI_COLUMNS_MAX 12

struct viv_cli_table {
    struct viv_buf cells;
    int columns;
    int widths[VIV_CLI_COLUMNS_MAX];
    size_t rows;
};

void viv_cli_table_init(struct viv_cli_table *table, int columns);
void viv_cli_table_deinit(struct viv_cli_table *table);
// One cell a column, cut where it is very long; NULL: "-". Errors: EXHAUSTED.
enum viv_err viv_cli_table_add(struct viv_cli_table *table,
                               const char *const *cells) VIV_MUST_CHECK;
// On stdout, without what steers a terminal.
void viv_cli_table_print(const struct viv_cli_table *table);

#endif
