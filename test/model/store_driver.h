// SPDX-License-Identifier: Apache-2.0
// What the parts of the store's driver share (store_driver.c): arguments out of a call, results
// into an answer.
#ifndef VIV_TEST_MODEL_STORE_DRIVER_H
#define VIV_TEST_MODEL_STORE_DRIVER_H

#include "base/json.h"
#include "store/admin.h"
#include "store/list.h"
#include "store/objects.h"
#include "store/queue.h"
#include "store/wait.h"

struct driver {
    struct viv_store *store;
    struct viv_mem mem; // of one call
    struct viv_store_diag diag;
    int64_t wall_ms, lease_ms; // of the clocks; one thread moves them, no other is there
};

typedef enum viv_err (*driver_fn)(struct driver *d, const json_t *call, json_t *out);
struct driver_op {
    const char *name;
    driver_fn run;
};
// Each ends with name NULL.
extern const struct driver_op driver_process_ops[], driver_lease_ops[], driver_object_ops[];

void *driver_take(struct driver *d, size_t count, size_t size_bytes); // of the call, zeroed
_Noreturn void driver_die(const char *what, const char *why);

// ---- arguments ----

// A text, {"hex":…} for what is none; absent or null: p is NULL.
struct viv_str driver_text(struct driver *d, const json_t *call, const char *name);
struct viv_str driver_text_of(struct driver *d, const json_t *value);
int64_t driver_i64(const json_t *call, const char *name);  // absent: 0
uint64_t driver_u64(const json_t *call, const char *name); // beyond int64: a text
struct viv_scope driver_scope(struct driver *d, const json_t *value);
const struct viv_fence *driver_fence(struct driver *d, const json_t *call);
struct viv_owner driver_owner(struct driver *d, const json_t *call);
struct viv_lease driver_lease(struct driver *d, const json_t *value);
struct viv_append driver_append(struct driver *d, const json_t *value);
// A list of texts.
const struct viv_str *driver_texts(struct driver *d, const json_t *call, const char *name,
                                   size_t *out_count);

// ---- results ----

json_t *driver_show_text(struct viv_str text);
json_t *driver_show_record(const struct viv_record *record);
json_t *driver_show_event(const struct viv_event *event);
json_t *driver_show_wake(const struct viv_wake *wake); // null where there is none
json_t *driver_show_lease(const struct viv_lease *lease);
void driver_put(json_t *out, const char *name, VIV_OWN json_t *value);
void driver_put_cursor(json_t *out, const struct viv_cursor *cursor);
struct viv_cursor driver_cursor(struct driver *d, const json_t *call, const char *name);

#endif
