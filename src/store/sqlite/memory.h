// SPDX-License-Identifier: Apache-2.0
// SQLite's memory.
#ifndef VIV_STORE_SQLITE_MEMORY_H
#define VIV_STORE_SQLITE_MEMORY_H

// Does nothing; who calls it has memory.c linked, and so SQLite's memory is ours.
void viv_store__sqlite_link_memory(void);

#endif
