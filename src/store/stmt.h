// SPDX-License-Identifier: Apache-2.0
// The statements that the core runs, in SQL that every back end understands once the words in
// braces are replaced: {lock} locks the rows that are read, {skip} skips locked ones. $1, $2, … are
// the arguments. The columns of proc are those of VIV_PROC_COLUMNS, in the order of enum
// viv_proc_column.
#ifndef VIV_STORE_STMT_H
#define VIV_STORE_STMT_H

#include "store/stmt_check.h"
#include "store/stmt_list.h"
#include "store/stmt_queue.h"

// One row of the work queue. X(column)
#define VIV_PROC_COLUMNS(X)                                                                        \
    X(birth)                                                                                       \
    X(id)                                                                                          \
    X(state)                                                                                       \
    X(disposition)                                                                                 \
    X(exec)                                                                                        \
    X(queue)                                                                                       \
    X(last_seq)                                                                                    \
    X(log_bytes)                                                                                   \
    X(updated_ms)                                                                                  \
    X(position)                                                                                    \
    X(attempt)                                                                                     \
    X(charged)                                                                                     \
    X(streak)                                                                                      \
    X(due_ms)                                                                                      \
    X(deadline_ms)                                                                                 \
    X(lease_owner)                                                                                 \
    X(lease_inc)                                                                                   \
    X(lease_live)                                                                                  \
    X(lease_token)                                                                                 \
    X(fence)                                                                                       \
    X(lease_claimed)                                                                               \
    X(lease_ttl)                                                                                   \
    X(lease_exp)                                                                                   \
    X(lease_dom)                                                                                   \
    X(open_attempt)                                                                                \
    X(guard)                                                                                       \
    X(cancel_seq)                                                                                  \
    X(abandon)                                                                                     \
    X(first_started)                                                                               \
    X(ext_ref)                                                                                     \
    X(wait)                                                                                        \
    X(wake_session)                                                                                \
    X(wake_frame)                                                                                  \
    X(terminal_seq)

#define VIV_PROC_ENUM(name) VIV_PROC_##name,
enum viv_proc_column { VIV_PROC_COLUMNS(VIV_PROC_ENUM) VIV_PROC_COLUMN_COUNT };

#define VIV_PROC_LIST                                                                              \
    "birth,id,state,disposition,exec,queue,last_seq,log_bytes,updated_ms,position,attempt,"        \
    "charged,streak,due_ms,deadline_ms,lease_owner,lease_inc,lease_live,lease_token,fence,"        \
    "lease_claimed,lease_ttl,lease_exp,lease_dom,open_attempt,guard,cancel_seq,abandon,"           \
    "first_started,ext_ref,wait,wake_session,wake_frame,terminal_seq"
#define VIV_EVENT_LIST "seq,type,key,hash,at_ms,payload,semantics,wake_id"

// X(name, sql)
#define VIV_STMTS(X)                                                                               \
    X(POSITION_NEXT, "UPDATE meta SET value=value+1 WHERE key='position' RETURNING value")         \
    X(PROC_BY_ID, "SELECT " VIV_PROC_LIST " FROM proc WHERE id=$1 {lock}")                         \
    X(PROC_READ, "SELECT " VIV_PROC_LIST " FROM proc WHERE id=$1")                                 \
    X(PROC_INSERT,                                                                                 \
      "INSERT INTO proc(id,state,disposition,exec,queue,updated_ms,position,due_ms,deadline_ms,"   \
      "wake_session,wake_frame) VALUES($1,0,$2,$3,$4,$5,$6,$7,$8,$9,$10) "                         \
      "ON CONFLICT(id) DO NOTHING RETURNING birth")                                                \
    X(PROC_GROW, "UPDATE proc SET last_seq=$2,log_bytes=$3,updated_ms=$4,position=$5 "             \
                 "WHERE birth=$1")                                                                 \
    X(PROC_PUT,                                                                                    \
      "UPDATE proc SET state=$2,exec=$3,last_seq=$4,log_bytes=$5,updated_ms=$6,position=$7,"       \
      "attempt=$8,charged=$9,streak=$10,due_ms=$11,lease_owner=$12,lease_inc=$13,lease_live=$14,"  \
      "lease_token=$15,fence=$16,lease_claimed=$17,lease_ttl=$18,lease_exp=$19,lease_dom=$20,"     \
      "open_attempt=$21,guard=$22,cancel_seq=$23,abandon=$24,first_started=$25,ext_ref=$26,"       \
      "wait=$27,wake_session=$28,wake_frame=$29,terminal_seq=$30 WHERE birth=$1")                  \
    X(LEASE_PUT, "UPDATE proc SET lease_ttl=$2,lease_exp=$3 WHERE birth=$1")                       \
    X(SPEC_PUT,                                                                                    \
      "INSERT INTO spec(birth,hash,json,kind,label,session,scope_id,module,caused,created_ms) "    \
      "VALUES($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)")                                                    \
    X(SPEC_GET, "SELECT json,created_ms FROM spec WHERE birth=$1")                                 \
    X(EVENT_PUT,                                                                                   \
      "INSERT INTO event(birth,seq,type,key,hash,at_ms,position,payload,semantics,wake_id) "       \
      "VALUES($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)")                                                    \
    X(EVENT_BY_KEY, "SELECT " VIV_EVENT_LIST " FROM event WHERE birth=$1 AND key=$2")              \
    X(EVENT_BY_ID_KEY, "SELECT " VIV_EVENT_LIST " FROM event WHERE key=$2 AND "                    \
                       "birth=(SELECT birth FROM proc WHERE id=$1)")                               \
    X(EVENT_BY_SEQ, "SELECT " VIV_EVENT_LIST " FROM event WHERE birth=$1 AND seq=$2")              \
    X(EVENTS_AFTER, "SELECT " VIV_EVENT_LIST " FROM event WHERE birth=$1 AND seq>$2 "              \
                    "ORDER BY seq LIMIT $3")                                                       \
    X(EVENTS_OF_TYPE, "SELECT " VIV_EVENT_LIST " FROM event WHERE birth=$1 AND seq>$2 "            \
                      "AND type=$4 ORDER BY seq LIMIT $3")                                         \
    X(EVENT_COUNT, "SELECT count(*) FROM event WHERE birth=$1 AND type=$2 AND seq<=$3")            \
    X(CHECKPOINT_PUT, "INSERT INTO checkpoint(birth,ordinal,hash,data) VALUES($1,$2,$3,$4)")       \
    X(CHECKPOINT_NEWEST, "SELECT ordinal,hash FROM checkpoint WHERE birth=$1 "                     \
                         "ORDER BY ordinal DESC LIMIT 2")                                          \
    X(CHECKPOINT_GET, "SELECT ordinal,data,hash FROM checkpoint WHERE birth=$1 AND ordinal=$2")    \
    X(CHECKPOINT_DROP, "DELETE FROM checkpoint WHERE birth=$1 AND ordinal<$2")                     \
    X(BLOB_PUT, "INSERT INTO blob(hash,data,created_ms) VALUES($1,$2,$3) "                         \
                "ON CONFLICT(hash) DO UPDATE SET created_ms=excluded.created_ms")                  \
    X(BLOB_GET, "SELECT data FROM blob WHERE hash=$1")                                             \
    X(PROMISE_PUT, "INSERT INTO promise(birth,key,token,due_ms,state) VALUES($1,$2,$3,$4,0)")      \
    X(PROMISE_GET, "SELECT token,due_ms,state,outcome FROM promise WHERE birth=$1 AND key=$2")     \
    X(PROMISE_BY_TOKEN, "SELECT p.id,m.key FROM promise m JOIN proc p ON p.birth=m.birth "         \
                        "WHERE m.token=$1")                                                        \
    X(PROMISE_COUNT, "SELECT count(*) FROM promise WHERE birth=$1")                                \
    X(PROMISE_SETTLE, "UPDATE promise SET state=1,outcome=$3 WHERE birth=$1 AND key=$2")           \
    X(PROMISE_END, "UPDATE promise SET state=1,outcome=$2 WHERE birth=$1 AND state=0")             \
    X(GRANT_PUT,                                                                                   \
      "INSERT INTO grants(scope_id,birth,session,frame,descriptor) VALUES($1,$2,$3,$4,$5) "        \
      "ON CONFLICT(scope_id,birth) DO UPDATE SET descriptor=excluded.descriptor")                  \
    X(GRANT_DROP, "DELETE FROM grants WHERE scope_id=$1 AND birth=$2")                             \
    X(GRANT_TAKE, "SELECT descriptor,birth FROM grants WHERE scope_id=$1 AND "                     \
                  "birth=(SELECT birth FROM proc WHERE id=$2) {lock}")                             \
    X(GRANT_GET, "SELECT descriptor,birth FROM grants WHERE scope_id=$1 AND "                      \
                 "birth=(SELECT birth FROM proc WHERE id=$2)")                                     \
    X(GRANTS_OF_SCOPE,                                                                             \
      "SELECT p.id,g.descriptor FROM grants g JOIN proc p ON p.birth=g.birth "                     \
      "WHERE g.scope_id=$1 AND p.id>$2 AND ($3=0 OR p.state=0) ORDER BY p.id LIMIT $4")            \
    X(GRANTS_OF_PROCESS, "SELECT session,frame,scope_id,descriptor FROM grants WHERE birth=$1 "    \
                         "ORDER BY session,scope_id")                                              \
    X(WAKE_EVENTS, "SELECT " VIV_EVENT_LIST " FROM event e WHERE birth=$1 AND seq>$2 "             \
                   "AND wake_id IS NOT NULL AND NOT EXISTS(SELECT 1 FROM wake_ack a WHERE "        \
                   "a.birth=e.birth AND a.seq=e.seq) ORDER BY seq LIMIT $3")                       \
    X(WAKE_ACK_ONE, "INSERT INTO wake_ack(birth,seq) VALUES($1,$2) ON CONFLICT DO NOTHING")        \
    X(WAKE_ACK_ALL, "INSERT INTO wake_ack(birth,seq) SELECT birth,seq FROM event "                 \
                    "WHERE wake_id=$1 ON CONFLICT DO NOTHING")                                     \
    X(WAKE_GET, "SELECT state,take_token FROM wake WHERE wake_id=$1 {lock}")                       \
    X(WAKE_DONE, "UPDATE wake SET state=2,take_token=NULL WHERE wake_id=$1")                       \
    X(WAKE_TAKEN, "UPDATE wake SET state=1,take_token=$2,visible_ms=$3,deliveries=$4 "             \
                  "WHERE wake_id=$1")                                                              \
    X(WAKE_BACK, "UPDATE wake SET state=0,take_token=NULL,visible_ms=$2 WHERE wake_id=$1")         \
    X(WAKES_DUE,                                                                                   \
      "SELECT created_ms,birth,seq,wake_id,body,deliveries FROM wake WHERE state<>2 AND "          \
      "visible_ms<=$1 AND ($2='' OR scope_id=$2) AND (created_ms,birth,seq)>($4,$5,$6) "           \
      "ORDER BY created_ms,birth,seq LIMIT $3 {skip}")                                             \
    X(WAKE_PUT,                                                                                    \
      "INSERT INTO wake(wake_id,scope_id,session,birth,seq,body,state,visible_ms,deliveries,"      \
      "created_ms) VALUES($1,$2,$3,$4,$5,$6,0,0,0,$7) ON CONFLICT(wake_id) DO NOTHING")            \
    VIV_QUEUE_STMTS(X) VIV_LIST_STMTS(X) VIV_CHECK_STMTS(X)

#define VIV_STMT_ENUM(name, sql) VIV_STMT_##name,
enum viv_stmt { VIV_STMTS(VIV_STMT_ENUM) VIV_STMT_COUNT };

#endif
