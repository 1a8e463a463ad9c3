// SPDX-License-Identifier: Apache-2.0
// A store for each case, on each back end, with clocks that the case moves. A case is a function of
// the rig; rig_run makes a test of every case and back end.
#ifndef VIV_TEST_STORE_RIG_H
#define VIV_TEST_STORE_RIG_H

#include "cm.h"

#include "base/mem.h"
#include "store/objects.h"
#include "store/queue.h"
#include <stdatomic.h>

enum { RIG_URL_BYTES = 512 };
enum rig_backend { RIG_MEMORY, RIG_SQLITE, RIG_POSTGRES, RIG_BACKENDS };

struct rig {
    enum rig_backend backend;
    struct viv_store *store;
    struct viv_store_opts opts;
    struct viv_store_clock clock;
    _Atomic int64_t wall_ms, lease_ms;
    struct viv_mem mem;
    struct viv_store_diag diag;
    char url[RIG_URL_BYTES], schema[32]; // schema: on a server
};

typedef void (*rig_case)(struct rig *rig);
struct rig_named {
    const char *name;
    rig_case run;
    unsigned backends; // bits, by enum rig_backend
};
#define RIG_CASE(function) {#function, function, 7}
#define RIG_KEPT_CASE(function) {#function, function, 6}  // not where closing loses the store
#define RIG_LOCAL_CASE(function) {#function, function, 3} // not on a server
#define RIG_ONLY_CASE(function, backend) {#function, function, 1u << (backend)}

int rig_run(const struct rig_named *cases, size_t count);
// The url of the server that tests use, made by tools/private-postgres. Fails the test where there
// is none.
const char *rig_server_url(void);
// A store's url as libpq understands it.
void rig_plain_url(const char *url, char out_url[RIG_URL_BYTES]);
// Statements of a case by itself, on the server that a url names.
void rig_server_run(const char *url, const char *sql);
void rig_reopen(struct rig *rig);

// Registers {"id":ID, external input or command, more}; more: further members, or "".
#define RIG_TYPES "\"event_types\":[{\"name\":\"e\"},{\"name\":\"f\"}]"
void rig_register(struct rig *rig, const char *id, const char *disposition, const char *more);
// The registration's text, in the rig's memory.
struct viv_str rig_registration(struct rig *rig, const char *id, const char *disposition,
                                const char *more);
// Appends with a key (NULL: none); the event is the last argument's, may be NULL.
enum viv_err rig_append(struct rig *rig, const char *id, const char *type, const char *payload,
                        const char *key, struct viv_event *out_event);
struct viv_record rig_get(struct rig *rig, const char *id);
enum viv_err rig_complete(struct rig *rig, const char *id, const char *output,
                          const char *authority, const struct viv_fence *fence);
enum viv_err rig_claim(struct rig *rig, const char *id, const char *owner, const char *incarnation,
                       int64_t ttl_ms, struct viv_lease *out_lease);

void rig_expect_text(struct viv_str found, const char *wanted);
#define RIG_OK(expr)                                                                               \
    do {                                                                                           \
        const enum viv_err rig_err_ = (expr);                                                      \
        if (rig_err_ != VIV_OK)                                                                    \
            fail_msg("%s: %s (%s)", #expr, viv_err_name(rig_err_), rig->diag.d.text);              \
    } while (0)
#define RIG_ERR(expr, wanted)                                                                      \
    do {                                                                                           \
        const enum viv_err rig_err_ = (expr);                                                      \
        if (rig_err_ != (wanted))                                                                  \
            fail_msg("%s: %s, not %s (%s)", #expr, viv_err_name(rig_err_), viv_err_name(wanted),   \
                     rig->diag.d.text);                                                            \
    } while (0)

#endif
