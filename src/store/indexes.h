// SPDX-License-Identifier: Apache-2.0
// The indexes of a store (durable.md 3.2), in SQL that every back end understands.
#ifndef VIV_STORE_INDEXES_H
#define VIV_STORE_INDEXES_H

#define VIV_STORE_INDEXES                                                                          \
    "CREATE INDEX blob_ref_birth ON blob_ref(birth);"                                              \
    "CREATE INDEX tomb_age ON tomb(pruned_ms);"                                                    \
    "CREATE INDEX proc_due ON proc(queue,due_ms,birth)"                                            \
    " WHERE state=0 AND exec=1 AND lease_token IS NULL;"                                           \
    "CREATE INDEX proc_next ON proc(due_ms,birth)"                                                 \
    " WHERE state=0 AND exec=1 AND lease_token IS NULL;"                                           \
    "CREATE INDEX proc_cancel ON proc(cancel_seq,birth)"                                           \
    " WHERE state=0 AND exec=1 AND lease_token IS NULL AND cancel_seq IS NOT NULL;"                \
    "CREATE INDEX proc_lease ON proc(lease_dom,exec,lease_exp) WHERE lease_token IS NOT NULL;"     \
    "CREATE INDEX proc_live ON proc(lease_live,birth)"                                             \
    " WHERE lease_token IS NOT NULL AND lease_live IS NOT NULL;"                                   \
    "CREATE INDEX proc_running ON proc(id) WHERE state=0;"                                         \
    "CREATE INDEX proc_deadline ON proc(deadline_ms) WHERE state=0 AND deadline_ms IS NOT NULL;"   \
    "CREATE INDEX proc_ended ON proc(updated_ms) WHERE state<>0;"                                  \
    "CREATE INDEX proc_position ON proc(position,birth);"                                          \
    "CREATE INDEX proc_target ON proc(wake_session) WHERE wake_session IS NOT NULL;"               \
    "CREATE UNIQUE INDEX event_key ON event(birth,key) WHERE key IS NOT NULL;"                     \
    "CREATE INDEX event_wake ON event(wake_id) WHERE wake_id IS NOT NULL;"                         \
    "CREATE INDEX wake_due ON wake(created_ms,birth,seq) WHERE state<>2;"                          \
    "CREATE INDEX wake_birth ON wake(birth);"                                                      \
    "CREATE INDEX wake_session ON wake(session);"                                                  \
    "CREATE INDEX grants_birth ON grants(birth);"                                                  \
    "CREATE INDEX grants_session ON grants(session);"                                              \
    "CREATE INDEX promise_due ON promise(due_ms) WHERE state=0 AND due_ms IS NOT NULL;"

// Only where a feed of events is wanted: it costs every append.
#define VIV_STORE_FEED_INDEX "CREATE INDEX IF NOT EXISTS event_feed ON event(position,birth,seq);"

#endif
