// SPDX-License-Identifier: Apache-2.0
// SQLite's files, watched: calls are counted, one of them fails or kills the process, and what was
// written is recorded, so that a loss of power can be played at any moment. All files go through to
// the system; the index of the log (-shm) is neither counted nor recorded, but for its growth.
#ifndef VIV_TEST_STORE_SHIM_VFS_H
#define VIV_TEST_STORE_SHIM_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum shim_call {
    SHIM_OPEN,
    SHIM_READ,
    SHIM_WRITE,
    SHIM_TRUNCATE,
    SHIM_SYNC,
    SHIM_DELETE,
    SHIM_GROW, // of the index of the log
    SHIM_CALLS
};
#define SHIM_BIT(call) (1u << (call))
#define SHIM_CHANGES                                                                               \
    (SHIM_BIT(SHIM_WRITE) | SHIM_BIT(SHIM_TRUNCATE) | SHIM_BIT(SHIM_SYNC) | SHIM_BIT(SHIM_DELETE))

enum shim_how {
    SHIM_EIO,
    SHIM_FULL,
    SHIM_SHORT, // a write: one half of it, then an error; others: EIO
    SHIM_KILL   // SIGKILL to this process, before the call; a write: after one half of it
};

// For all connections of this process that are opened after it; once.
void shim_install(void);
// The nth call of those kinds from now (from 1) goes wrong, and with `lasts` all that follow.
// nth 0: none does.
void shim_fail(unsigned calls, uint64_t nth, enum shim_how how, bool lasts);
bool shim_was_hit(void);
uint64_t shim_count(enum shim_call call); // since shim_install
// The last file whose call went wrong ends with this ("" for a database).
const char *shim_hit_suffix(void);

// ---- loss of power ----

// Begins to record, with what the files of a folder hold, which is taken to be on the disk.
void shim_record(const char *folder);
size_t shim_recorded(void); // how many calls so far
// The folder itself is on the disk, by a call that is not SQLite's: which files there are.
void shim_record_folder(void);
void shim_record_stop(void);
void shim_record_forget(void);
// The disk says that it has synced, and has not: as if SQLite never asked it to.
void shim_lie(bool lies);
// A moment: how many calls had ended. The folder `to`, which is there and empty, becomes what the
// disk may hold: of each file what was synced last, and of every later write, by chance, nothing,
// all, or some sectors.
void shim_play_loss(size_t moment, uint64_t seed, const char *to);

#endif
