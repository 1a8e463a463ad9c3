// SPDX-License-Identifier: Apache-2.0
// The tables of a store in SQLite (durable.md 3.2), version 1.
#ifndef VIV_STORE_SQLITE_SCHEMA_H
#define VIV_STORE_SQLITE_SCHEMA_H

#include "store/indexes.h"

#define VIV_SQLITE_SCHEMA                                                                          \
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;"                    \
    "CREATE TABLE proc(birth INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"          \
    " state INTEGER NOT NULL, disposition INTEGER NOT NULL, exec INTEGER NOT NULL,"                \
    " queue TEXT NOT NULL, last_seq INTEGER NOT NULL DEFAULT 0,"                                   \
    " log_bytes INTEGER NOT NULL DEFAULT 0, updated_ms INTEGER NOT NULL,"                          \
    " position INTEGER NOT NULL, attempt INTEGER NOT NULL DEFAULT 0,"                              \
    " charged INTEGER NOT NULL DEFAULT 0, streak INTEGER NOT NULL DEFAULT 0,"                      \
    " due_ms INTEGER NOT NULL, deadline_ms INTEGER, lease_owner TEXT, lease_inc TEXT,"             \
    " lease_live TEXT, lease_token TEXT, fence INTEGER NOT NULL DEFAULT 0,"                        \
    " lease_claimed INTEGER, lease_ttl INTEGER, lease_exp INTEGER, lease_dom TEXT,"                \
    " open_attempt INTEGER NOT NULL DEFAULT 0, guard TEXT, cancel_seq INTEGER, abandon TEXT,"      \
    " first_started TEXT, ext_ref TEXT, wait TEXT, wake_session TEXT, wake_frame TEXT,"            \
    " terminal_seq INTEGER) STRICT;"                                                               \
    "CREATE TABLE spec(birth INTEGER PRIMARY KEY, hash TEXT NOT NULL, json TEXT NOT NULL,"         \
    " kind TEXT, label TEXT, session TEXT NOT NULL, scope_id TEXT NOT NULL, module TEXT,"          \
    " caused TEXT, created_ms INTEGER NOT NULL) STRICT;"                                           \
    "CREATE TABLE event(birth INTEGER NOT NULL, seq INTEGER NOT NULL, type TEXT NOT NULL,"         \
    " key TEXT, hash TEXT NOT NULL, at_ms INTEGER NOT NULL, position INTEGER NOT NULL,"            \
    " payload TEXT NOT NULL, semantics TEXT, wake_id TEXT, PRIMARY KEY(birth,seq))"                \
    " STRICT, WITHOUT ROWID;"                                                                      \
    "CREATE TABLE wake_ack(birth INTEGER NOT NULL, seq INTEGER NOT NULL,"                          \
    " PRIMARY KEY(birth,seq)) STRICT, WITHOUT ROWID;"                                              \
    "CREATE TABLE wake(wake_id TEXT PRIMARY KEY, scope_id TEXT NOT NULL, session TEXT NOT NULL,"   \
    " birth INTEGER NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL, state INTEGER NOT NULL,"   \
    " visible_ms INTEGER NOT NULL, take_token TEXT, deliveries INTEGER NOT NULL,"                  \
    " created_ms INTEGER NOT NULL) STRICT;"                                                        \
    "CREATE TABLE grants(scope_id TEXT NOT NULL, birth INTEGER NOT NULL, session TEXT NOT NULL,"   \
    " frame TEXT, descriptor TEXT NOT NULL, PRIMARY KEY(scope_id,birth))"                          \
    " STRICT, WITHOUT ROWID;"                                                                      \
    "CREATE TABLE promise(birth INTEGER NOT NULL, key TEXT NOT NULL, token TEXT NOT NULL UNIQUE,"  \
    " due_ms INTEGER, state INTEGER NOT NULL, outcome TEXT, PRIMARY KEY(birth,key)) STRICT;"       \
    "CREATE TABLE checkpoint(birth INTEGER NOT NULL, ordinal INTEGER NOT NULL,"                    \
    " hash TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY(birth,ordinal)) STRICT;"                 \
    "CREATE TABLE blob(hash TEXT PRIMARY KEY, data BLOB NOT NULL, created_ms INTEGER NOT NULL)"    \
    " STRICT;"                                                                                     \
    "CREATE TABLE tomb(position INTEGER NOT NULL, id TEXT NOT NULL, birth INTEGER NOT NULL,"       \
    " pruned_ms INTEGER NOT NULL, PRIMARY KEY(position,birth)) STRICT, WITHOUT ROWID;"             \
    "CREATE TABLE blob_ref(hash TEXT NOT NULL, birth INTEGER NOT NULL, PRIMARY KEY(hash,birth))"   \
    " STRICT, WITHOUT ROWID;" VIV_STORE_INDEXES

#define VIV_SQLITE_VERSION 1

#endif
