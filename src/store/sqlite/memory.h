// SPDX-License-Identifier: Apache-2.0
// SQLite's allocator: that of the runtime.
#ifndef VIV_STORE_SQLITE_MEMORY_H
#define VIV_STORE_SQLITE_MEMORY_H

#include <sqlite3.h>

extern const sqlite3_mem_methods viv_sqlite_memory;

#endif
