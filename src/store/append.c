// SPDX-License-Identifier: Apache-2.0
// Appending one event. The steps of 2.3, by their numbers: 2 replay, 3 type, 4 key, 5 schema, 6
// selectors, 7 the end, 8 authority, 9 fence, 10 wake target, 11 quota; then the writes.
#include "store/append.h"

#include "base/text.h"
#include "store/lease.h"
#include "store/output.h"
#include "store/schema.h"
#include "store/select.h"
#include <string.h>

enum { KEY_BYTES = 512, TYPE_BYTES = 128, WAKE_INPUT_BYTES = 65536, OUTPUT_BYTES = 1048576 };
enum { CORE_EVENTS = 1000, HASH_CHARS = VIV_CJSON_HASH_CHARS };

// Columns of VIV_EVENT_LIST.
enum { SEQ, TYPE, KEY, HASH, AT_MS, PAYLOAD, SEMANTICS, WAKE_ID };

// What an event is worth besides itself; owned.
struct meaning {
    const struct viv_store__type *type, *narrowed; // narrowed: the core's, declared again
    char hash[HASH_CHARS];
    enum viv_dstate state; // RUNNING: it ends nothing
    json_t *output;        // of the end
    json_t *wake_input;    // NULL: it wakes nobody
    struct viv_str dedupe_key;
    struct viv_scope target;
    bool has_target;
};

static enum viv_err refuse(struct viv_diag *diag, enum viv_err err, const char *what)
{
    return viv_diag_set(diag, err, "%s", what);
}

// ---- before the transaction ----

enum viv_err viv_store__event_check(const struct viv_store__event *event, struct viv_diag *diag)
{
    static const char reserved[] = "viv:";
    enum viv_authority_kind kind;
    if (event->type.n > TYPE_BYTES) return refuse(diag, VIV_E_TOOBIG, "type: more than 128 bytes");
    VIV_TRY(viv_store__check_id(event->type, "type", diag));
    VIV_TRY(viv_store__authority_read(event->authority, &kind, diag));
    if (event->key.p == NULL || event->is_core_call) return VIV_OK;
    if (event->key.n > KEY_BYTES) return refuse(diag, VIV_E_TOOBIG, "key: more than 512 bytes");
    if (event->key.n == 0) return refuse(diag, VIV_E_INVAL, "key: empty");
    if (event->key.n >= sizeof reserved - 1 &&
        memcmp(event->key.p, reserved, sizeof reserved - 1) == 0)
        return refuse(diag, VIV_E_INVAL, "key: begins with viv:");
    if (memchr(event->key.p, '\0', event->key.n) != NULL)
        return refuse(diag, VIV_E_INVAL, "key: holds U+0000");
    return viv_utf8_is_valid(event->key.p, event->key.n)
               ? VIV_OK
               : refuse(diag, VIV_STORE_UTF8, "key: not UTF-8");
}

static const struct viv_shape_field no_fields[] = {{0}};
static const struct viv_shape_field engine_fields[] = {{"key", &viv_store__id_shape, true, NULL},
                                                       {0}};
static const struct viv_shape_field owner_fields[] = {
    {"granted_to", &viv_store__id_shape, true, NULL}, {0}};
static const struct viv_shape_field host_fields[] = {{"reason", &viv_store__id_shape, true, NULL},
                                                     {0}};
static const struct viv_shape_variant authorities[] = {{"lease", no_fields},
                                                       {"engine_key", engine_fields},
                                                       {"external_owner", owner_fields},
                                                       {"reconciled_abandon", no_fields},
                                                       {"host", host_fields},
                                                       {0}};
static const struct viv_shape authority_shape = {.kind = VIV_SHAPE_UNION, .variants = authorities};

enum viv_err viv_store__authority_read(json_t *authority, enum viv_authority_kind *out_kind,
                                       struct viv_diag *diag)
{
    *out_kind = VIV_AUTH_NONE;
    if (authority == NULL) return VIV_OK;
    VIV_TRY(viv_store__shape_check(&authority_shape, authority, "authority", diag));
    const char *type = json_string_value(json_object_get(authority, "type"));
    for (size_t i = 0; authorities[i].tag != NULL; i++)
        if (strcmp(authorities[i].tag, type) == 0) *out_kind = (enum viv_authority_kind)(i + 1);
    return VIV_OK;
}

enum viv_err viv_store__event_ask(struct viv_store__txn *txn, struct viv_str id, struct viv_str key)
{
    return viv_store__send(txn, VIV_STMT_EVENT_BY_ID_KEY, "ss", id, key);
}

// ---- 2: replay ----

// Of [type, payload]; what a terminal event says of its authority does not count.
static enum viv_err hash_event(const struct viv_store__event *event, bool is_terminal,
                               char out_hash[HASH_CHARS])
{
    json_t *payload = event->payload;
    if (is_terminal && json_object_get(payload, "completion_authority") != NULL) {
        payload = json_copy(payload);
        if (payload == NULL) return VIV_E_EXHAUSTED;
        (void)json_object_del(payload, "completion_authority");
    } else {
        json_incref(payload);
    }
    json_t *pair = json_pack("[so]", "", payload);
    enum viv_err err = pair == NULL ? VIV_E_EXHAUSTED : VIV_OK;
    if (err == VIV_OK &&
        json_array_set_new(pair, 0, json_stringn(event->type.p, event->type.n)) != 0)
        err = VIV_E_EXHAUSTED;
    if (err == VIV_OK) err = viv_cjson_hash(pair, out_hash);
    json_decref(pair);
    return err;
}

enum viv_err viv_store__event_read(const struct viv_db_value *col, struct viv_str id,
                                   struct viv_mem *mem, struct viv_event *out_event)
{
    struct viv_event event = {.seq = (uint64_t)col[SEQ].number, .at_ms = col[AT_MS].number};
    VIV_TRY(viv_store__copy(mem, id, &event.id));
    VIV_TRY(viv_store__copy(mem, col[TYPE].text, &event.type));
    VIV_TRY(viv_store__copy(mem, col[KEY].text, &event.key));
    VIV_TRY(viv_store__copy(mem, col[PAYLOAD].text, &event.payload));
    VIV_TRY(viv_store__copy(mem, col[SEMANTICS].text, &event.semantics));
    VIV_TRY(viv_store__copy(mem, col[WAKE_ID].text, &event.wake_id));
    *out_event = event;
    return VIV_OK;
}

static enum viv_err put_wake(struct viv_store__txn *txn, const struct viv_store__row *row,
                             const struct viv_wake *wake, struct viv_str session)
{
    return viv_store__put(txn, VIV_STMT_WAKE_PUT, "sssiisi", wake->wake_id, wake->scope_id, session,
                          viv_row_int(row, VIV_PROC_birth), (int64_t)wake->seq, wake->body,
                          wake->created_ms);
}

// The wake that an event left, from its semantics.
static enum viv_err read_wake(const struct viv_event *event, struct viv_mem *mem,
                              struct viv_wake *out_wake, struct viv_str *out_session)
{
    json_t *semantics;
    if (event->wake_id.n == 0) return VIV_OK;
    if (viv_cjson_parse(event->semantics.p, event->semantics.n, &semantics, NULL) != VIV_OK)
        return VIV_STORE_CORRUPT;
    json_t *kept = json_object_get(semantics, "wake");
    struct viv_wake wake = {.wake_id = event->wake_id,
                            .id = event->id,
                            .type = event->type,
                            .seq = event->seq,
                            .created_ms = event->at_ms};
    struct viv_str text = viv_str_of(json_string_value(json_object_get(kept, "scope_id")));
    enum viv_err err = viv_store__copy(mem, text, &wake.scope_id);
    text = viv_str_of(json_string_value(json_object_get(kept, "session")));
    if (err == VIV_OK) err = viv_store__copy(mem, text, out_session);
    text = viv_str_of(json_string_value(json_object_get(kept, "dedupe_key")));
    if (err == VIV_OK) err = viv_store__copy(mem, text, &wake.dedupe_key);
    if (err == VIV_OK) err = viv_store__text(mem, json_object_get(kept, "input"), &wake.input);
    if (err == VIV_OK) err = viv_store__text(mem, kept, &wake.body);
    json_decref(semantics);
    if (err == VIV_OK) *out_wake = wake;
    return err;
}

static enum viv_err replay(struct viv_store__txn *txn, struct viv_store__row *row,
                           struct viv_store__event *event, struct viv_mem *mem)
{
    struct viv_str session = {NULL, 0};
    event->is_replayed = true;
    VIV_TRY(viv_store__event_read(event->keyed.values, viv_row_text(row, VIV_PROC_id), mem,
                                  &event->event));
    VIV_TRY(read_wake(&event->event, mem, &event->wake, &session));
    // What should be there already, and is put back where it is not.
    return event->wake.wake_id.n == 0 ? VIV_OK : put_wake(txn, row, &event->wake, session);
}

// ---- 3 to 6: what the event means ----

static enum viv_err fit(json_t *schema, json_t *payload, struct viv_diag *diag)
{
    return schema == NULL ? VIV_OK : viv_store__schema_match(schema, payload, diag);
}

static enum viv_err find_output(const struct viv_store__event *event, struct meaning *meaning,
                                struct viv_diag *diag)
{
    json_t *selected;
    if (meaning->state == VIV_RUNNING) return VIV_OK;
    if (meaning->type->output == NULL)
        selected = json_incref(event->payload);
    else
        VIV_TRY(viv_store__select(meaning->type->output, event->payload, &selected, diag));
    enum viv_err err;
    if (meaning->type->output == NULL) { // success, whatever it looks like
        meaning->output = json_pack("{sssO}", "type", "success", "value", selected);
        err = meaning->output == NULL ? VIV_E_EXHAUSTED : VIV_OK;
    } else {
        err = viv_store__output_of(meaning->state, selected, &meaning->output, diag);
    }
    json_decref(selected);
    return err;
}

static enum viv_err read_dedupe(const struct viv_store__event *event, struct viv_store__row *row,
                                struct meaning *meaning, struct viv_mem *mem, struct viv_diag *diag)
{
    json_t *constant = json_object_get(meaning->type->dedupe, "const");
    if (meaning->type->dedupe == NULL) { // the event's own
        const struct viv_str id = viv_row_text(row, VIV_PROC_id);
        meaning->dedupe_key.p =
            viv_mem_try_printf(mem, &meaning->dedupe_key.n, "%.*s:%lld", (int)id.n, id.p,
                               (long long)viv_row_int(row, VIV_PROC_last_seq) + 1);
        return meaning->dedupe_key.p == NULL ? VIV_E_EXHAUSTED : VIV_OK;
    }
    if (constant != NULL)
        return viv_store__copy(
            mem, (struct viv_str){json_string_value(constant), json_string_length(constant)},
            &meaning->dedupe_key);
    json_t *value;
    struct viv_buf form;
    VIV_TRY(viv_store__select(json_object_get(meaning->type->dedupe, "selector"), event->payload,
                              &value, diag));
    viv_buf_init(&form, VIV_TAG_STORE);
    enum viv_err err = viv_store__string_form(value, &form);
    json_decref(value);
    if (err == VIV_OK && form.len_bytes > KEY_BYTES)
        err = refuse(diag, VIV_E_TOOBIG, "dedupe key: more than 512 bytes");
    if (err == VIV_OK)
        err = viv_store__copy(mem, (struct viv_str){(const char *)form.data, form.len_bytes},
                              &meaning->dedupe_key);
    viv_buf_deinit(&form);
    return err;
}

static enum viv_err find_wake(const struct viv_store__event *event, struct viv_store__row *row,
                              struct meaning *meaning, struct viv_mem *mem, struct viv_diag *diag)
{
    const struct viv_store__type *type = meaning->type;
    if (type->input == NULL) return VIV_OK;
    if (type->when != NULL) {
        json_t *when;
        VIV_TRY(viv_store__select(type->when, event->payload, &when, diag));
        const bool is_meant = viv_store__is_true(when);
        json_decref(when);
        if (!is_meant) return VIV_OK;
    }
    VIV_TRY(viv_store__select(type->input, event->payload, &meaning->wake_input, diag));
    struct viv_str text;
    VIV_TRY(viv_store__text(mem, meaning->wake_input, &text));
    if (text.n > WAKE_INPUT_BYTES)
        return refuse(diag, VIV_E_TOOBIG, "wake input: more than 64 KiB");
    return read_dedupe(event, row, meaning, mem, diag);
}

static enum viv_err find_meaning(struct viv_store__event *event, struct viv_store__row *row,
                                 struct meaning *meaning, struct viv_mem *mem,
                                 struct viv_diag *diag)
{
    const struct viv_store__type *type = meaning->type;
    if (type == NULL)
        return viv_diag_set(diag, VIV_STORE_UNDECLARED, "event type %.*s is not declared",
                            (int)event->type.n, event->type.p);
    if (type->needs_key && event->key.p == NULL)
        return refuse(diag, VIV_STORE_KEY_REQUIRED, "key: this type needs one");
    if (meaning->narrowed != NULL) VIV_TRY(fit(meaning->narrowed->schema, event->payload, diag));
    VIV_TRY(fit(type->schema, event->payload, diag));
    meaning->state = type->state;
    VIV_TRY(find_output(event, meaning, diag));
    return find_wake(event, row, meaning, mem, diag);
}

// ---- 7 to 11: whether it may be ----

enum viv_err viv_store__fence_check(struct viv_store__txn *txn, const struct viv_store__row *row,
                                    const struct viv_fence *fence, struct viv_diag *diag)
{
    VIV_TRY(viv_store__know_now(txn));
    const bool is_leased = viv_row_is_leased(txn, row);
    if (fence == NULL) {
        if (is_leased && row->reg->is_strict)
            return refuse(diag, VIV_STORE_FENCE_REQUIRED,
                          "a lease is live, and no fence was given");
        return VIV_OK;
    }
    const struct viv_str token = viv_row_text(row, VIV_PROC_lease_token);
    if (is_leased && fence->fence == (uint64_t)viv_row_int(row, VIV_PROC_fence) &&
        viv_str_is_equal(token, viv_str_of(fence->token)))
        return VIV_OK;
    return refuse(diag, VIV_STORE_FENCED, "the fence is not the live lease");
}

// Rows: authority; columns: rerunnable, owner_bound, external (2.5).
static bool may_end(enum viv_authority_kind kind, enum viv_disposition disposition,
                    enum viv_dstate state)
{
    switch (kind) {
    case VIV_AUTH_LEASE:
    case VIV_AUTH_HOST:
        return true;
    case VIV_AUTH_ENGINE_KEY:
        return disposition != VIV_EXTERNAL;
    case VIV_AUTH_EXTERNAL_OWNER:
        return disposition == VIV_EXTERNAL;
    case VIV_AUTH_RECONCILED_ABANDON:
        return disposition == VIV_EXTERNAL && state == VIV_ABANDONED;
    case VIV_AUTH_NONE:
        return false;
    }
    return false;
}

// Who says that a process was abandoned must be in a position to.
static bool is_evidence_fit(enum viv_authority_kind kind, const struct viv_store__row *row,
                            const json_t *output)
{
    const char *writer =
        json_string_value(json_object_get(json_object_get(output, "evidence"), "writer"));
    if (writer == NULL) return true; // not abandoned
    if (strcmp(writer, "reconciled_request") != 0)
        return kind == VIV_AUTH_LEASE || kind == VIV_AUTH_ENGINE_KEY;
    if (kind != VIV_AUTH_LEASE && kind != VIV_AUTH_RECONCILED_ABANDON) return false;
    return row->reg->disposition == VIV_EXTERNAL || viv_row_has(row, VIV_PROC_abandon);
}

static enum viv_err check_authority(struct viv_store__txn *txn, const struct viv_store__row *row,
                                    const struct viv_store__event *event,
                                    const struct meaning *meaning, struct viv_diag *diag)
{
    enum viv_authority_kind kind;
    VIV_TRY(viv_store__authority_read(event->authority, &kind, diag));
    if (!may_end(kind, row->reg->disposition, meaning->state) ||
        (kind == VIV_AUTH_LEASE && event->fence == NULL) ||
        !is_evidence_fit(kind, row, meaning->output))
        return refuse(diag, VIV_STORE_AUTHORITY, "authority: it may not end this process so");
    VIV_TRY(viv_store__know_now(txn));
    if (kind == VIV_AUTH_HOST && !event->is_forced && viv_row_is_leased(txn, row)) {
        viv_store__tell_holder(txn->op, row);
        return refuse(diag, VIV_STORE_LEASED, "a lease is live");
    }
    return VIV_OK;
}

static void find_target(const struct viv_store__event *event, const struct viv_store__row *row,
                        struct meaning *meaning)
{
    if (event->wake_target != NULL) {
        meaning->target = *event->wake_target;
        meaning->has_target = true;
    } else if (viv_row_has(row, VIV_PROC_wake_session)) {
        meaning->target.session = viv_row_text(row, VIV_PROC_wake_session);
        meaning->target.frame = viv_row_text(row, VIV_PROC_wake_frame);
        meaning->has_target = true;
    }
}

static enum viv_err check_quota(struct viv_store__txn *txn, const struct viv_store__row *row,
                                const struct meaning *meaning, struct viv_diag *diag)
{
    const struct viv_store_opts *opts = viv_store__opts_of(txn->store);
    const uint64_t reserve = meaning->type->is_core ? CORE_EVENTS : 0;
    if ((uint64_t)viv_row_int(row, VIV_PROC_last_seq) >= opts->max_events + reserve)
        return refuse(diag, VIV_E_QUOTA, "the process has as many events as it may");
    if (reserve == 0 && (uint64_t)viv_row_int(row, VIV_PROC_log_bytes) >= opts->max_log_bytes)
        return refuse(diag, VIV_E_QUOTA, "the process's log is as large as it may be");
    return VIV_OK;
}

static enum viv_err check(struct viv_store__txn *txn, struct viv_store__row *row,
                          struct viv_store__event *event, struct meaning *meaning,
                          struct viv_diag *diag)
{
    if (viv_row_state(row) != VIV_RUNNING)
        return refuse(diag, VIV_STORE_TERMINAL, "the process has ended");
    if (meaning->state != VIV_RUNNING) VIV_TRY(check_authority(txn, row, event, meaning, diag));
    if (event->needs_fence && event->fence == NULL)
        return refuse(diag, VIV_STORE_FENCED, "a fence is needed");
    const bool is_open = event->is_forced || meaning->type->is_anybodys;
    if (event->fence != NULL || !is_open)
        VIV_TRY(viv_store__fence_check(txn, row, event->fence, diag));
    find_target(event, row, meaning);
    if (meaning->wake_input != NULL && !meaning->has_target) {
        if (meaning->type->refuses_no_target)
            return refuse(diag, VIV_STORE_NO_TARGET, "a wake, and nobody to wake");
        json_decref(meaning->wake_input); // the event is recorded, and wakes nobody
        meaning->wake_input = NULL;
    }
    return check_quota(txn, row, meaning, diag);
}

// ---- the writes ----

enum viv_err viv_store__row_touch(struct viv_store__txn *txn, struct viv_store__row *row)
{
    VIV_TRY(viv_store__know_now(txn));
    if (viv_row_has(row, VIV_PROC_id))
        VIV_TRY(viv_store__note_changed(txn, viv_row_text(row, VIV_PROC_id)));
    if (txn->position == 0) {
        const enum viv_err err = txn->db->ops->position(txn->db, &txn->position);
        if (err != VIV_OK) {
            txn->db_err = err;
            return err;
        }
    }
    const int64_t updated = viv_row_int(row, VIV_PROC_updated_ms);
    viv_row_set_int(row, VIV_PROC_updated_ms, updated > txn->wall_ms ? updated : txn->wall_ms);
    // On a server an older transaction can be the later one to change the row.
    if (viv_row_int(row, VIV_PROC_position) < txn->position)
        viv_row_set_int(row, VIV_PROC_position, txn->position);
    return VIV_OK;
}

void viv_store__lease_clear(struct viv_store__row *row)
{
    static const enum viv_proc_column columns[] = {
        VIV_PROC_lease_owner, VIV_PROC_lease_inc,     VIV_PROC_lease_live,
        VIV_PROC_lease_token, VIV_PROC_lease_claimed, VIV_PROC_lease_ttl,
        VIV_PROC_lease_exp,   VIV_PROC_lease_dom,     VIV_PROC_guard};
    for (size_t i = 0; i < VIV_COUNT_OF(columns); i++)
        viv_row_clear(row, columns[i]);
}

static enum viv_err make_wake(const struct viv_store__event *event,
                              const struct viv_store__row *row, const struct meaning *meaning,
                              struct viv_mem *mem, json_t **out_body, struct viv_wake *out_wake)
{
    struct viv_wake wake = {.dedupe_key = meaning->dedupe_key};
    wake.scope_id =
        viv_str_of(viv_store__scope_id(mem, meaning->target.session, meaning->target.frame));
    if (wake.scope_id.p == NULL) return VIV_E_EXHAUSTED;
    json_t *pair = json_pack("[ss%]", wake.scope_id.p, wake.dedupe_key.p, wake.dedupe_key.n);
    char hash[HASH_CHARS];
    enum viv_err err = pair == NULL ? VIV_E_EXHAUSTED : viv_cjson_hash(pair, hash);
    json_decref(pair);
    VIV_TRY(err);
    wake.wake_id.p = viv_mem_try_printf(mem, &wake.wake_id.n, "wake:%s", hash);
    if (wake.wake_id.p == NULL) return VIV_E_EXHAUSTED;
    json_t *body = json_pack(
        "{sssOss%ss%sIss%ss%}", "scope_id", wake.scope_id.p, "input", meaning->wake_input,
        "dedupe_key", wake.dedupe_key.p, wake.dedupe_key.n, "session", meaning->target.session.p,
        meaning->target.session.n, "sequence", (json_int_t)viv_row_int(row, VIV_PROC_last_seq) + 1,
        "process_id", viv_row_text(row, VIV_PROC_id).p, viv_row_text(row, VIV_PROC_id).n, "type",
        event->type.p, event->type.n);
    if (body == NULL) return VIV_E_EXHAUSTED;
    err = meaning->target.frame.n == 0 ||
                  json_object_set_new(
                      body, "frame",
                      json_stringn(meaning->target.frame.p, meaning->target.frame.n)) == 0
              ? VIV_OK
              : VIV_E_EXHAUSTED;
    if (err == VIV_OK) err = viv_store__text(mem, body, &wake.body);
    if (err == VIV_OK) err = viv_store__text(mem, meaning->wake_input, &wake.input);
    if (err != VIV_OK) {
        json_decref(body);
        return err;
    }
    *out_body = body;
    *out_wake = wake;
    return VIV_OK;
}

static enum viv_err make_semantics(const struct meaning *meaning, json_t *wake_body,
                                   struct viv_mem *mem, struct viv_str *out_text)
{
    json_t *semantics = json_object();
    if (meaning->state != VIV_RUNNING)
        viv_json_put(&semantics, "terminal",
                     json_pack("{sssO}", "state", viv_store__state_name(meaning->state),
                               "await_output", meaning->output));
    if (wake_body != NULL) viv_json_put(&semantics, "wake", json_incref(wake_body));
    if (semantics == NULL) return VIV_E_EXHAUSTED;
    const enum viv_err err =
        json_object_size(semantics) == 0 ? VIV_OK : viv_store__text(mem, semantics, out_text);
    json_decref(semantics);
    return err;
}

static void end_process(struct viv_store__row *row, enum viv_dstate state)
{
    viv_row_set_int(row, VIV_PROC_state, (int64_t)state);
    viv_row_set_int(row, VIV_PROC_terminal_seq, viv_row_int(row, VIV_PROC_last_seq));
    viv_row_set_int(row, VIV_PROC_open_attempt, 0);
    viv_row_clear(row, VIV_PROC_wait);
    viv_store__lease_clear(row);
}

// The row's counters, and the event itself.
static enum viv_err put_event(struct viv_store__txn *txn, struct viv_store__row *row,
                              struct viv_event *event, const char *hash)
{
    VIV_TRY(viv_store__row_touch(txn, row));
    event->seq = (uint64_t)viv_row_int(row, VIV_PROC_last_seq) + 1;
    event->at_ms = viv_row_int(row, VIV_PROC_updated_ms);
    viv_row_set_int(row, VIV_PROC_last_seq, (int64_t)event->seq);
    viv_row_set_int(row, VIV_PROC_log_bytes,
                    viv_row_int(row, VIV_PROC_log_bytes) + (int64_t)event->payload.n);
    return viv_store__put(txn, VIV_STMT_EVENT_PUT, "iissziisss", viv_row_int(row, VIV_PROC_birth),
                          (int64_t)event->seq, event->type, event->key, hash, event->at_ms,
                          viv_row_int(row, VIV_PROC_position), event->payload, event->semantics,
                          event->wake_id);
}

// The first request to cancel is a fact of the row.
static void note_cancel(struct viv_store__row *row, struct viv_store__event *event)
{
    if (!viv_str_is_equal(event->type, viv_str_of("process.cancel_requested"))) return;
    if (viv_row_has(row, VIV_PROC_cancel_seq)) return;
    viv_row_set_int(row, VIV_PROC_cancel_seq, (int64_t)event->event.seq);
    event->has_new_state = true;
}

static enum viv_err write_all(struct viv_store__txn *txn, struct viv_store__row *row,
                              struct viv_store__event *event, struct meaning *meaning,
                              struct viv_mem *mem)
{
    struct viv_event *out = &event->event;
    json_t *wake_body = NULL;
    *out = (struct viv_event){.seq = 0};
    VIV_TRY(viv_store__copy(mem, viv_row_text(row, VIV_PROC_id), &out->id));
    VIV_TRY(viv_store__copy(mem, event->type, &out->type));
    if (event->key.p != NULL) VIV_TRY(viv_store__copy(mem, event->key, &out->key));
    VIV_TRY(viv_store__text(mem, event->payload, &out->payload));
    if (meaning->wake_input != NULL)
        VIV_TRY(make_wake(event, row, meaning, mem, &wake_body, &event->wake));
    const enum viv_err err = make_semantics(meaning, wake_body, mem, &out->semantics);
    json_decref(wake_body);
    VIV_TRY(err);
    out->wake_id = event->wake.wake_id;
    VIV_TRY(put_event(txn, row, out, meaning->hash));
    event->wake.id = out->id;
    event->wake.type = out->type;
    event->wake.seq = out->seq;
    event->wake.created_ms = out->at_ms;
    if (out->wake_id.n > 0) VIV_TRY(put_wake(txn, row, &event->wake, meaning->target.session));
    if (meaning->state == VIV_RUNNING) {
        note_cancel(row, event);
        return VIV_OK;
    }
    event->has_new_state = true;
    end_process(row, meaning->state);
    return viv_store__put(txn, VIV_STMT_PROMISE_END, "iz", viv_row_int(row, VIV_PROC_birth),
                          "{\"type\":\"process_ended\"}");
}

static enum viv_err append(struct viv_store__txn *txn, struct viv_store__row *row,
                           struct viv_store__event *event, struct meaning *meaning,
                           struct viv_mem *mem, struct viv_diag *diag)
{
    meaning->type = viv_store__find_type(viv_store__core_of(txn->store), row->reg, event->type,
                                         &meaning->narrowed);
    VIV_TRY(hash_event(event, meaning->type != NULL && meaning->type->state != VIV_RUNNING,
                       meaning->hash));
    if (event->keyed.count > 0) {
        if (!viv_str_is_equal(event->keyed.values[HASH].text, viv_str_of(meaning->hash))) {
            viv_store__tell_recorded(txn->op, event->keyed.values[PAYLOAD].text);
            return refuse(diag, VIV_STORE_KEY_CONFLICT, "the key holds another event");
        }
        return replay(txn, row, event, mem);
    }
    VIV_TRY(find_meaning(event, row, meaning, mem, diag));
    VIV_TRY(check(txn, row, event, meaning, diag));
    return write_all(txn, row, event, meaning, mem);
}

enum viv_err viv_store__event_append(struct viv_store__txn *txn, struct viv_store__row *row,
                                     struct viv_store__event *event, struct viv_mem *mem,
                                     struct viv_diag *diag)
{
    struct meaning meaning = {.state = VIV_RUNNING};
    event->is_replayed = event->has_new_state = false;
    event->wake = (struct viv_wake){.seq = 0};
    VIV_TRY(viv_store__row_know(txn, row));
    const enum viv_err err = append(txn, row, event, &meaning, mem, diag);
    json_decref(meaning.output);
    json_decref(meaning.wake_input);
    return err;
}

enum viv_err viv_store__event_note(struct viv_store__txn *txn, struct viv_store__row *row,
                                   const char *type, const char *key, json_t *payload,
                                   struct viv_mem *mem)
{
    struct viv_store__event noted = {.type = viv_str_of(type), .payload = payload};
    struct viv_event event = {.type = noted.type, .key = viv_str_of(key)};
    char hash[HASH_CHARS];
    VIV_TRY(hash_event(&noted, false, hash));
    VIV_TRY(viv_store__text(mem, payload, &event.payload));
    return put_event(txn, row, &event, hash);
}
