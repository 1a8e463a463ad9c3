// SPDX-License-Identifier: Apache-2.0
// The statements of leases and of the work queue; rules: store/stmt.h, which includes this.
//
// A sweep asks by one statement for each way in which a process can be waiting for it, each served
// by an index of its own; the core puts the answers together.
#ifndef VIV_STORE_STMT_QUEUE_H
#define VIV_STORE_STMT_QUEUE_H

// Whether a text is one of a list of lines, "\nA\nB\n"; an empty list: any text is. No id holds a
// line feed.
#define VIV_IS_LISTED(list, text)                                                                  \
    " AND (" list "='' OR replace(" list ",'\n'||" text "||'\n','')<>" list ")"
// $1: at most so many rows, $2: kinds, $3: queues.
#define VIV_IS_OF_KIND VIV_IS_LISTED("$2", "(SELECT kind FROM spec s WHERE s.birth=proc.birth)")
#define VIV_IS_WANTED VIV_IS_OF_KIND VIV_IS_LISTED("$3", "queue")
#define VIV_QUEUE_FROM "SELECT " VIV_PROC_LIST " FROM proc WHERE state=0 AND "
#define VIV_IS_FREE "exec=1 AND lease_token IS NULL"

// X(name, sql)
#define VIV_QUEUE_STMTS(X)                                                                         \
    X(LEASE_LOOK, "SELECT birth,state,lease_token,fence,lease_dom,lease_exp,lease_ttl,cancel_seq " \
                  "FROM proc WHERE id=$1 {lock}")                                                  \
    X(LEASE_READ, "SELECT birth,state,lease_token,fence,lease_dom,lease_exp,lease_ttl,cancel_seq " \
                  "FROM proc WHERE id=$1")                                                         \
    X(GUARD_PUT, "UPDATE proc SET guard=$2 WHERE birth=$1")                                        \
    X(QUEUE_DUE, VIV_QUEUE_FROM VIV_IS_FREE " AND due_ms<=$3" VIV_IS_OF_KIND                       \
                                            " ORDER BY due_ms,birth LIMIT $1 {skip}")              \
    X(QUEUE_DUE_IN, VIV_QUEUE_FROM VIV_IS_FREE " AND queue=$4 AND due_ms<=$3" VIV_IS_OF_KIND       \
                                               " ORDER BY due_ms,birth LIMIT $1 {skip}")           \
    X(QUEUE_CANCELLED, VIV_QUEUE_FROM VIV_IS_FREE " AND cancel_seq>0" VIV_IS_WANTED                \
                                                  " ORDER BY cancel_seq,birth LIMIT $1 {skip}")    \
    X(QUEUE_DEADLINE,                                                                              \
      VIV_QUEUE_FROM "deadline_ms IS NOT NULL AND deadline_ms<=$4 AND "                            \
                     "(lease_token IS NULL OR lease_dom<>$5 OR lease_exp<=$6)" VIV_IS_WANTED       \
                     " ORDER BY deadline_ms LIMIT $1 {skip}")                                      \
    X(QUEUE_LAPSED,                                                                                \
      VIV_QUEUE_FROM "lease_token IS NOT NULL AND lease_dom=$4 AND exec=1 AND "                    \
                     "lease_exp<=$5" VIV_IS_WANTED " ORDER BY lease_exp LIMIT $1 {skip}")          \
    X(QUEUE_BEFORE, VIV_QUEUE_FROM "lease_token IS NOT NULL AND lease_dom<$4" VIV_IS_WANTED        \
                                   " ORDER BY lease_dom,exec,lease_exp LIMIT $1 {skip}")           \
    X(QUEUE_BEYOND, VIV_QUEUE_FROM "lease_token IS NOT NULL AND lease_dom>$4" VIV_IS_WANTED        \
                                   " ORDER BY lease_dom,exec,lease_exp LIMIT $1 {skip}")           \
    X(QUEUE_HELD, VIV_QUEUE_FROM "lease_token IS NOT NULL AND lease_live=$4" VIV_IS_WANTED         \
                                 " ORDER BY birth LIMIT $1 {skip}")                                \
    X(QUEUE_HOLDERS,                                                                               \
      "WITH RECURSIVE held(live) AS (SELECT min(lease_live) FROM proc WHERE lease_token IS NOT "   \
      "NULL AND lease_live IS NOT NULL UNION ALL SELECT (SELECT min(lease_live) FROM proc WHERE "  \
      "lease_token IS NOT NULL AND lease_live IS NOT NULL AND lease_live>held.live) FROM held "    \
      "WHERE held.live IS NOT NULL) SELECT live FROM held WHERE live IS NOT NULL")                 \
    X(LEASES_AHEAD,                                                                                \
      "UPDATE proc SET lease_exp=$1+lease_ttl WHERE lease_token IS NOT NULL AND lease_dom=$2 AND " \
      "lease_exp-lease_ttl>$1")                                                                    \
    X(QUEUE_NEXT,                                                                                  \
      "SELECT (SELECT min(due_ms) FROM proc WHERE state=0 AND " VIV_IS_FREE " AND due_ms>$1),"     \
      "(SELECT min(deadline_ms) FROM proc WHERE state=0 AND deadline_ms IS NOT NULL AND "          \
      "deadline_ms>$1),(SELECT min(lease_exp) FROM proc WHERE lease_token IS NOT NULL AND "        \
      "lease_dom=$2 AND exec=1 AND lease_exp>$3)")

#endif
