// SPDX-License-Identifier: Apache-2.0
// How handles on one database tell each other of commits (durable.md 3.6): NOTIFY on the channel
// viv_SCHEMA, with the ids that have changed, over a connection of its own that listens as well.
// Not within the transactions: NOTIFY takes a lock of the whole database until the commit. One
// thread.
#ifndef VIV_STORE_POSTGRES_NOTICE_H
#define VIV_STORE_POSTGRES_NOTICE_H

#include "store/postgres/pg_int.h"

struct viv_pg__notice {
    const struct viv_pg__target *target;
    PGconn *handle; // NULL: not connected
    bool is_listening;
    uint64_t again_ns, pause_ms; // when to connect again
};

typedef void viv_pg__told(void *arg, struct viv_str id); // an empty id: it may be anything

void viv_pg__notice_deinit(struct viv_pg__notice *notice);
// The socket of a connection that listens; -1: there is none now. A new one may have missed
// something, which is told.
int viv_pg__notice_bell(struct viv_pg__notice *notice, viv_pg__told *told, void *arg);
void viv_pg__notice_hear(struct viv_pg__notice *notice, viv_pg__told *told, void *arg);
// ids, each with a final 0. What cannot be told is found by who looks.
void viv_pg__notice_tell(struct viv_pg__notice *notice, const char *ids, size_t bytes);

#endif
