// SPDX-License-Identifier: Apache-2.0
// Statements of operations on many processes: see store/stmt.h. {settled} is " AND …" where a back
// end commits changes in another order than that of their positions: it leaves out those that
// changes before them may still come to.
#ifndef VIV_STORE_STMT_LIST_H
#define VIV_STORE_STMT_LIST_H

// A filter: $1 to $5 states; then what a row must have, 0, '' or below 0 where it does not matter:
// $6 disposition, $7 queue, $8 waiting, $9 cancel requested; $10: whether the rest matters, of the
// registration: $11 kind, $12 label, $13 session, $14 scope, $15 module, $16 cause, $17 and $18
// when it was made.
#define VIV_FILTER_SQL                                                                             \
    "state IN($1,$2,$3,$4,$5) AND (CAST($6 AS bigint)=0 OR disposition=$6) "                       \
    "AND (CAST($7 AS text)='' OR queue=$7) "                                                       \
    "AND (CAST($8 AS bigint)<0 OR (CASE WHEN wait IS NULL THEN 0 ELSE 1 END)=$8) "                 \
    "AND (CAST($9 AS bigint)<0 OR (CASE WHEN cancel_seq IS NULL THEN 0 ELSE 1 END)=$9) "           \
    "AND (CAST($10 AS bigint)=0 OR EXISTS(SELECT 1 FROM spec s WHERE s.birth=proc.birth "          \
    "AND (CAST($11 AS text)='' OR s.kind=$11) AND (CAST($12 AS text)='' OR s.label=$12) "          \
    "AND (CAST($13 AS text)='' OR s.session=$13) AND (CAST($14 AS text)='' OR s.scope_id=$14) "    \
    "AND (CAST($15 AS text)='' OR s.module=$15) AND (CAST($16 AS text)='' OR s.caused=$16) "       \
    "AND s.created_ms>=$17 AND s.created_ms<$18)) "
#define VIV_PRUNE_SQL                                                                              \
    "FROM proc WHERE state<>0 AND updated_ms<$19 AND (position,birth)<=($20,$21) "                 \
    "AND " VIV_FILTER_SQL
#define VIV_GC_SQL                                                                                 \
    "FROM blob WHERE created_ms<$1 AND "                                                           \
    "NOT EXISTS(SELECT 1 FROM blob_ref r WHERE r.hash=blob.hash)"
#define VIV_SUM_OF(table)                                                                          \
    "CAST(coalesce(sum((SELECT count(*) FROM " table " t WHERE t.birth=proc.birth)),0) AS bigint)"

#define VIV_SUMS_SQL VIV_SUM_OF("grants") "," VIV_SUM_OF("wake_ack") "," VIV_SUM_OF("promise")
#define VIV_PRUNE_COUNT_SQL                                                                        \
    "SELECT count(*),CAST(coalesce(sum(last_seq),0) AS bigint)," VIV_SUMS_SQL                      \
    "," VIV_SUM_OF("checkpoint") " " VIV_PRUNE_SQL

#define VIV_LIST_STMTS(X)                                                                          \
    X(LIST, "SELECT " VIV_PROC_LIST " FROM proc WHERE id>$19 AND " VIV_FILTER_SQL                  \
            "ORDER BY id LIMIT $20")                                                               \
    X(LIST_RUNNING, "SELECT " VIV_PROC_LIST " FROM proc WHERE state=0 AND id>$1 "                  \
                    "ORDER BY id LIMIT $2")                                                        \
    X(PROC_KNOWN, "SELECT birth FROM proc WHERE id=$1")                                            \
    X(REF_PUT, "INSERT INTO blob_ref(hash,birth) VALUES($1,$2) ON CONFLICT DO NOTHING")            \
    X(REFS, "SELECT r.hash,count(*) FROM blob_ref r JOIN proc p ON p.birth=r.birth "               \
            "WHERE p.state=0 AND r.hash>$1 GROUP BY r.hash ORDER BY r.hash LIMIT $2")              \
    X(META, "SELECT key,CAST(value AS text) FROM meta")                                            \
    X(META_PUT, "UPDATE meta SET value=$2 WHERE key=$1")                                           \
    X(STATS_STATES, "SELECT state,count(*) FROM proc GROUP BY state")                              \
    X(STATS_DUE, "SELECT min(due_ms) FROM proc WHERE state=0 AND exec=1 AND lease_token IS NULL")  \
    X(STATS_SIZES, "SELECT (SELECT count(*) FROM wake WHERE state<>2),"                            \
                   "(SELECT CAST(coalesce(sum(log_bytes),0) AS bigint) FROM proc),"                \
                   "(SELECT count(*) FROM blob),"                                                  \
                   "(SELECT CAST(coalesce(sum(length(data)),0) AS bigint) FROM blob),"             \
                   "(SELECT count(*) FROM tomb)")                                                  \
    X(CHANGES,                                                                                     \
      "SELECT position,birth,id,CAST(0 AS bigint) FROM proc WHERE (position,birth)>($1,$2)"        \
      "{settled} UNION ALL "                                                                       \
      "SELECT position,birth,id,CAST(1 AS bigint) FROM tomb WHERE (position,birth)>($1,$2)"        \
      "{settled} ORDER BY 1,2 LIMIT $3")                                                           \
    X(CHANGE_LAST, "SELECT position,birth FROM proc WHERE position>=0{settled} "                   \
                   "ORDER BY position DESC,birth DESC LIMIT 1")                                    \
    X(CHANGES_BEHIND, "SELECT birth FROM proc WHERE (position,birth)>($1,$2) UNION ALL "           \
                      "SELECT birth FROM tomb WHERE (position,birth)>($1,$2) LIMIT 1")             \
    X(FEED, "SELECT " VIV_EVENT_LIST ",position,birth,"                                            \
            "(SELECT id FROM proc p WHERE p.birth=event.birth) FROM event "                        \
            "WHERE (position,birth,seq)>($1,$2,$3){settled} "                                      \
            "ORDER BY position,birth,seq LIMIT $4")                                                \
    X(FEED_BEHIND, "SELECT birth FROM event WHERE (position,birth,seq)>($1,$2,$3) LIMIT 1")        \
    X(PRUNE_FIND,                                                                                  \
      "SELECT " VIV_PROC_LIST " " VIV_PRUNE_SQL "ORDER BY updated_ms,birth LIMIT $22 {skip}")      \
    X(PRUNE_COUNT, VIV_PRUNE_COUNT_SQL)                                                            \
    X(HANGING, "SELECT (SELECT count(*) FROM grants WHERE birth=$1),"                              \
               "(SELECT count(*) FROM wake_ack WHERE birth=$1),"                                   \
               "(SELECT count(*) FROM promise WHERE birth=$1),"                                    \
               "(SELECT count(*) FROM checkpoint WHERE birth=$1)")                                 \
    X(DROP_EVENTS, "DELETE FROM event WHERE birth=$1")                                             \
    X(DROP_ACKS, "DELETE FROM wake_ack WHERE birth=$1")                                            \
    X(DROP_GRANTS, "DELETE FROM grants WHERE birth=$1")                                            \
    X(DROP_PROMISES, "DELETE FROM promise WHERE birth=$1")                                         \
    X(DROP_CHECKPOINTS, "DELETE FROM checkpoint WHERE birth=$1")                                   \
    X(DROP_WAKES, "DELETE FROM wake WHERE birth=$1 AND state=2")                                   \
    X(DROP_REFS, "DELETE FROM blob_ref WHERE birth=$1")                                            \
    X(DROP_SPEC, "DELETE FROM spec WHERE birth=$1")                                                \
    X(DROP_PROC, "DELETE FROM proc WHERE birth=$1")                                                \
    X(TOMB_PUT, "INSERT INTO tomb(position,id,birth,pruned_ms) VALUES($1,$2,$3,$4)")               \
    X(TOMB_OLD, "SELECT position,birth FROM tomb WHERE pruned_ms<$1 "                              \
                "ORDER BY position DESC,birth DESC LIMIT 1")                                       \
    X(TOMB_WAKES, "DELETE FROM wake WHERE state=2 AND birth IN "                                   \
                  "(SELECT birth FROM tomb WHERE pruned_ms<$1)")                                   \
    X(TOMB_DROP, "DELETE FROM tomb WHERE pruned_ms<$1")                                            \
    X(SCOPE_PROCS,                                                                                 \
      "SELECT DISTINCT p.id,p.state,CAST(CASE WHEN EXISTS(SELECT 1 FROM grants o WHERE "           \
      "o.birth=p.birth AND o.session<>$1) THEN 1 ELSE 0 END AS bigint) "                           \
      "FROM grants g JOIN proc p ON p.birth=g.birth WHERE g.session=$1 ORDER BY p.id")             \
    X(SCOPE_GRANTS, "SELECT count(*) FROM grants WHERE session=$1")                                \
    X(SCOPE_REVOKE, "DELETE FROM grants WHERE session=$1")                                         \
    X(SCOPE_TARGETS, "UPDATE proc SET wake_session=NULL,wake_frame=NULL,"                          \
                     "updated_ms=CASE WHEN updated_ms>$2 THEN updated_ms ELSE $2 END,"             \
                     "position=CASE WHEN position>$3 THEN position ELSE $3 END "                   \
                     "WHERE wake_session=$1 RETURNING id")                                         \
    X(SCOPE_WAKES, "SELECT count(*) FROM wake WHERE session=$1 AND state<>2")                      \
    X(SCOPE_WAKES_DROP, "DELETE FROM wake WHERE session=$1 AND state<>2")                          \
    X(GC_COUNT, "SELECT count(*),CAST(coalesce(sum(length(data)),0) AS bigint) " VIV_GC_SQL)       \
    X(GC_DROP, "DELETE " VIV_GC_SQL)                                                               \
    X(GRANT_COUNT, "SELECT count(*) FROM (SELECT 1 AS one FROM grants WHERE birth=$1 "             \
                   "AND scope_id<>$2 LIMIT $3) q")

#endif
