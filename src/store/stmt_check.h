// SPDX-License-Identifier: Apache-2.0
// The invariants of a store (durable.md 1.11) as statements that answer nothing when all is well:
// else the ids that are wrong, some of them. What is not there cannot be seen in one snapshot: I4
// is looked at as far as what has ended holds nothing, I6 to I8 and I12 not at all.
#ifndef VIV_STORE_STMT_CHECK_H
#define VIV_STORE_STMT_CHECK_H

#define VIV_TERMINAL_SQL "substr(semantics,2,10)='\"terminal\"'" // its first name

// X(name, sql)
#define VIV_CHECK_STMTS(X)                                                                         \
    X(CHECK_LOG,                                                                                   \
      "SELECT id FROM proc WHERE last_seq<>(SELECT count(*) FROM event e WHERE "                   \
      "e.birth=proc.birth) OR last_seq<>(SELECT coalesce(max(seq),0) FROM event e WHERE "          \
      "e.birth=proc.birth) OR EXISTS(SELECT 1 FROM event e WHERE e.birth=proc.birth AND seq<1) "   \
      "LIMIT 20")                                                                                  \
    X(CHECK_STRAY,                                                                                 \
      "SELECT DISTINCT CAST(birth AS text) FROM event WHERE NOT EXISTS(SELECT 1 FROM proc p "      \
      "WHERE p.birth=event.birth) LIMIT 20")                                                       \
    X(CHECK_TWO_ENDS,                                                                              \
      "SELECT p.id FROM proc p JOIN event e ON e.birth=p.birth WHERE " VIV_TERMINAL_SQL            \
      " AND (p.terminal_seq IS NULL OR e.seq<>p.terminal_seq) LIMIT 20")                           \
    X(CHECK_AFTER_END,                                                                             \
      "SELECT id FROM proc WHERE terminal_seq IS NOT NULL AND terminal_seq<>last_seq LIMIT 20")    \
    X(CHECK_STATE,                                                                                 \
      "SELECT id FROM proc WHERE (state<>0 AND terminal_seq IS NULL) OR "                          \
      "(state=0 AND terminal_seq IS NOT NULL) OR (state<>0 AND NOT EXISTS(SELECT 1 FROM event e "  \
      "WHERE e.birth=proc.birth AND e.seq=proc.terminal_seq AND " VIV_TERMINAL_SQL                 \
      " AND e.semantics LIKE CASE state WHEN 1 THEN '%\"state\":\"completed\"%' "                  \
      "WHEN 2 THEN '%\"state\":\"failed\"%' WHEN 3 THEN '%\"state\":\"cancelled\"%' "              \
      "ELSE '%\"state\":\"abandoned\"%' END)) LIMIT 20")                                           \
    X(CHECK_ENDED,                                                                                 \
      "SELECT id FROM proc WHERE state<>0 AND (lease_token IS NOT NULL OR wait IS NOT NULL OR "    \
      "exec<>0 OR open_attempt<>0) LIMIT 20")                                                      \
    X(CHECK_KEYS,                                                                                  \
      "SELECT key FROM event WHERE key IS NOT NULL GROUP BY birth,key HAVING count(*)>1 LIMIT 20") \
    X(CHECK_FENCE,                                                                                 \
      "SELECT id FROM proc WHERE birth<1 OR fence<0 OR (lease_token IS NOT NULL AND fence<1) "     \
      "LIMIT 20")                                                                                  \
    X(CHECK_LIVES,                                                                                 \
      "SELECT t.id FROM tomb t JOIN proc p ON p.id=t.id WHERE p.birth<=t.birth LIMIT 20")          \
    X(CHECK_IDS, "SELECT id FROM proc GROUP BY id HAVING count(*)>1 LIMIT 20")                     \
    X(CHECK_LEASES,                                                                                \
      "SELECT id FROM proc WHERE lease_token IS NOT NULL AND (lease_owner IS NULL OR "             \
      "lease_exp IS NULL OR lease_dom IS NULL OR lease_token IN(SELECT lease_token FROM proc "     \
      "WHERE lease_token IS NOT NULL GROUP BY lease_token HAVING count(*)>1)) LIMIT 20")           \
    X(CHECK_FEED, "SELECT id FROM proc WHERE position<1 OR EXISTS(SELECT 1 FROM event e WHERE "    \
                  "e.birth=proc.birth AND e.position>proc.position) LIMIT 20")                     \
    X(CHECK_SPEC,                                                                                  \
      "SELECT id FROM proc WHERE NOT EXISTS(SELECT 1 FROM spec s WHERE s.birth=proc.birth) "       \
      "LIMIT 20")

#endif
