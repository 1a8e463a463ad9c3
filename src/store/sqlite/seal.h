// SPDX-License-Identifier: Apache-2.0
// A seal on each page of a database: what the disk gives back is what was written, or an error.
// SQLite itself notices a changed byte only where its own structures stop making sense.
#ifndef VIV_STORE_SQLITE_SEAL_H
#define VIV_STORE_SQLITE_SEAL_H

#include "base/err.h"

// The files of connections that are to seal; SQLite opens by this name once it is registered. Any
// thread. Errors: EXHAUSTED.
#define VIV_SEAL_VFS "viv-seal"
enum viv_err viv_seal_register(void) VIV_MUST_CHECK;

// A new database has room for seals if it is made with these.
enum { VIV_SEAL_BYTES = 8, VIV_SEAL_PAGE_BYTES = 4096 };
enum { VIV_SQLITE_APPLICATION = 0x56697653 }; // "VivS", in a store's header

#endif
