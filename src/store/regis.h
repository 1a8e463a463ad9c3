// SPDX-License-Identifier: Apache-2.0
// Registrations (durable.md 1.1): the check of one, its normal form and hash, and what the core
// asks of it. A registration is read once, when it comes or when a row is loaded for the first
// time, and then shared: it never changes.
#ifndef VIV_STORE_REGIS_H
#define VIV_STORE_REGIS_H

#include "base/cjson.h"
#include "base/mem.h"
#include "store/retry.h"
#include "store/store.h"

#define VIV_REG_BYTES_MAX (256u << 10)
#define VIV_REG_TYPES_MAX 64
#define VIV_REG_HASH_CHARS (VIV_CJSON_HASH_CHARS + 2) // "1:" and the hash

// An event type: declared by the registration, or of the core.
struct viv_store__type {
    const char *name;
    json_t *schema;        // NULL: any payload
    json_t *output;        // selector of a terminal type; NULL: the payload
    enum viv_dstate state; // RUNNING: not terminal
    json_t *when, *input;  // of its wake; input NULL: it wakes nobody
    json_t *dedupe;        // NULL: the event's own
    bool refuses_no_target;
    bool needs_key, is_core;
    bool is_anybodys; // a live lease asks for no fence (1.9)
};

// The types that every registration has. Immutable after it is made.
struct viv_store__core;
enum viv_err viv_store__core_new(struct viv_store__core **out_core) VIV_MUST_CHECK;
void viv_store__core_free(VIV_OWN struct viv_store__core *core);

struct viv_store__reg {
    _Atomic uint32_t refs;
    json_t *normal; // not counted up or down by its users: it belongs to this struct

    char *text; // canonical, of normal
    size_t text_len;
    char hash[VIV_REG_HASH_CHARS];
    const char *id, *kind, *label, *queue, *session, *frame, *module; // NULL: absent
    const char *wake_session, *wake_frame;
    const char *caused_type, *caused_id;
    const char *input_type;
    enum viv_disposition disposition;
    int64_t start_at_ms, deadline_ms, timeout_ms, attempt_timeout_ms; // -1: none
    int64_t cancel_grace_ms;
    struct viv_store__retry retry;
    bool is_strict;
    bool is_ours;         // someone of ours may run it: neither disposition nor input is external
    bool abandons_lapsed; // on_lapse
    size_t type_count;
    struct viv_store__type types[]; // declared, by name
};

// Reads what a caller gives. Errors: TOOBIG, STORE_UTF8, STORE_JSON, INVAL, EXHAUSTED.
enum viv_err viv_store__reg_new(const struct viv_store__core *core, struct viv_str text,
                                struct viv_store__reg **out_reg,
                                struct viv_diag *diag) VIV_MUST_CHECK;
// Reads what a store kept: its normal form. Errors: STORE_CORRUPT, EXHAUSTED.
enum viv_err viv_store__reg_load(const struct viv_store__core *core, struct viv_str text,
                                 struct viv_store__reg **out_reg) VIV_MUST_CHECK;
struct viv_store__reg *viv_store__reg_take(struct viv_store__reg *reg); // one reference more
void viv_store__reg_drop(VIV_OWN struct viv_store__reg *reg);           // NULL is allowed

// NULL: not declared. A declared core type narrows the core's, which is in *out_core then (else
// NULL): a payload must fit both schemas.
const struct viv_store__type *viv_store__find_type(const struct viv_store__core *core,
                                                   const struct viv_store__reg *reg,
                                                   struct viv_str name,
                                                   const struct viv_store__type **out_core);

// "session:a%2Fb/frame:c" (1.7); frame may be NULL or empty. NULL: out of memory.
char *viv_store__scope_id(struct viv_mem *mem, struct viv_str session,
                          struct viv_str frame) VIV_MUST_CHECK;

#endif
