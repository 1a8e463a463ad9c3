// SPDX-License-Identifier: Apache-2.0
// What a process does about durable processes that it has started or was granted, on a thread that
// may block. A handle carries the rights of the grant that it was opened by.
#include "base/cjson.h"
#include "ctl/durable_int.h"
#include "store/list.h"
#include "store/objects.h"
#include <string.h>

enum { EVENTS_BYTES = 1 << 20, NAME_BYTES = 128, SCOPE_BYTES = 512 };

// Bits of grant's rights, and what they are in a handle and in a descriptor.
static const struct {
    const char *name;
    viv_rights rights;
} grant_rights[] = {{"read", VIV_RIGHT_READ | VIV_RIGHT_STAT},
                    {"await", VIV_RIGHT_WAIT},
                    {"signal", VIV_RIGHT_DURABLE_SIGNAL},
                    {"cancel", VIV_RIGHT_DURABLE_CANCEL},
                    {"grant", VIV_RIGHT_GRANT | VIV_RIGHT_SHARE | VIV_RIGHT_TRANSFER}};

static struct viv_store *store_of(const struct viv_durable__op *op)
{
    return op->durable->config.store;
}

// ---- start, open ----

enum viv_err viv_durable__start(struct viv_durable__op *op)
{
    static const char all[] = "{\"rights\":[\"read\",\"await\",\"signal\",\"cancel\",\"grant\"]}";
    struct viv_started started;
    const struct viv_start_grant grant = {.scope = {.session = op->scope},
                                          .descriptor = {all, sizeof all - 1}};
    const struct viv_start start = {
        .registration = op->text[0], .grants = &grant, .grant_count = 1};
    VIV_TRY(viv_store_start(store_of(op), &start, &op->mem, &started, &op->diag));
    op->out = started.record.id;
    op->rights = viv_res_builtin_kinds[VIV_KIND_DURABLE].rights_all;
    return VIV_OK;
}

static enum viv_err read_rights(struct viv_str text, viv_rights *out_rights)
{
    json_t *list = NULL, *item;
    size_t i;
    *out_rights = 0;
    VIV_TRY(viv_cjson_parse(text.p, text.n, &list, NULL));
    json_array_foreach(list, i, item)
    {
        for (size_t k = 0; k < VIV_COUNT_OF(grant_rights); k++)
            if (json_is_string(item) && strcmp(json_string_value(item), grant_rights[k].name) == 0)
                *out_rights |= grant_rights[k].rights;
    }
    json_decref(list);
    return VIV_OK;
}

enum viv_err viv_durable__open(struct viv_durable__op *op)
{
    bool has;
    struct viv_str rights;
    const struct viv_scope scope = {.session = op->scope};
    VIV_TRY(
        viv_store_has_grant(store_of(op), &scope, op->text[0], &op->mem, &has, &rights, &op->diag));
    if (!has) return VIV_E_NOTFOUND;
    op->out = op->text[0];
    return read_rights(rights, &op->rights);
}

// ---- reading ----

enum viv_err viv_durable__await(struct viv_durable__op *op)
{
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_END, .id = op->id};
    return viv_durable__wait(op, &spec, op->number[0]);
}

static json_t *event_of(const struct viv_event *event)
{
    json_t *payload = NULL, *out = NULL;
    if (viv_cjson_parse(event->payload.p, event->payload.n, &payload, NULL) != VIV_OK) return NULL;
    out = json_pack("{sIss%sIso}", "at_ms", (json_int_t)event->at_ms, "type", event->type.p,
                    event->type.n, "sequence", (json_int_t)event->seq, "payload", payload);
    if (out != NULL && event->key.n > 0)
        viv_json_put(&out, "key", json_stringn(event->key.p, event->key.n));
    return out;
}

enum viv_err viv_durable__events(struct viv_durable__op *op)
{
    struct viv_events events;
    struct viv_buf text;
    const struct viv_events_query query = {
        .after = (uint64_t)op->number[0], .limit = (uint64_t)op->number[1], .bytes = EVENTS_BYTES};
    VIV_TRY(viv_store_events_after(store_of(op), op->id, &query, &op->mem, &events, &op->diag));
    json_t *list = json_array();
    for (size_t i = 0; i < events.count; i++)
        viv_json_add(&list, event_of(&events.items[i]));
    if (list == NULL) return VIV_E_EXHAUSTED;
    viv_buf_init(&text, VIV_TAG_CTL);
    enum viv_err err = viv_cjson_write(list, &text);
    json_decref(list);
    if (err == VIV_OK) {
        op->out =
            (struct viv_str){viv_mem_try_copy(&op->mem, text.data, text.len_bytes), text.len_bytes};
        if (op->out.p == NULL) err = VIV_E_EXHAUSTED;
    }
    viv_buf_deinit(&text);
    return err;
}

// ---- control ----

enum viv_err viv_durable__signal(struct viv_durable__op *op)
{
    char type[NAME_BYTES] = "signal.";
    const size_t head = strlen(type);
    if (op->text[0].n > sizeof type - head) return VIV_E_TOOBIG;
    memcpy(type + head, op->text[0].p, op->text[0].n);
    const struct viv_append append = {.type = {type, head + op->text[0].n},
                                      .payload = op->text[1],
                                      .key = viv_durable__key(op->text[2])};
    return viv_store_append(store_of(op), op->id, &append, &op->mem, NULL, NULL, NULL, &op->diag);
}

enum viv_err viv_durable__cancel(struct viv_durable__op *op)
{
    const struct viv_cancel cancel = {
        .reason = {op->text[0].n > 0 ? op->text[0].p : NULL, op->text[0].n}, .by = op->scope};
    return viv_store_request_cancel(store_of(op), op->id, &cancel, &op->mem, NULL, NULL, &op->diag);
}

enum viv_err viv_durable__promise_settle(struct viv_durable__op *op)
{
    const struct viv_promise_ref ref = {.token = op->text[0]};
    return viv_store_promise_settle(store_of(op), &ref, op->text[1], &op->mem, NULL, NULL,
                                    &op->diag);
}

enum viv_err viv_durable__wake_ack(struct viv_durable__op *op)
{
    return viv_store_wakes_ack(store_of(op), op->text[0], (struct viv_str){NULL, 0}, &op->diag);
}

// One part of SESSION[/FRAME], in which %25 is a % and %2F a slash.
static enum viv_err read_part(struct viv_mem *mem, struct viv_str part, struct viv_str *out)
{
    char *text = viv_mem_try_copy(mem, part.p, part.n);
    size_t len = 0;
    if (text == NULL) return VIV_E_EXHAUSTED;
    for (size_t i = 0; i < part.n; i++) {
        if (part.p[i] != '%') {
            text[len++] = part.p[i];
            continue;
        }
        const bool is_slash = part.n - i >= 3 && memcmp(part.p + i, "%2F", 3) == 0;
        if (!is_slash && (part.n - i < 3 || memcmp(part.p + i, "%25", 3) != 0)) return VIV_E_INVAL;
        text[len++] = is_slash ? '/' : '%';
        i += 2;
    }
    *out = (struct viv_str){text, len};
    return VIV_OK;
}

enum viv_err viv_durable__grant(struct viv_durable__op *op)
{
    struct viv_scope scope = {.frame = {NULL, 0}};
    struct viv_str text = op->text[0];
    const char *slash = text.n > 0 ? memchr(text.p, '/', text.n) : NULL;
    const size_t head = slash != NULL ? (size_t)(slash - text.p) : text.n;
    VIV_TRY(read_part(&op->mem, (struct viv_str){text.p, head}, &scope.session));
    if (slash != NULL)
        VIV_TRY(read_part(&op->mem, (struct viv_str){slash + 1, text.n - head - 1}, &scope.frame));
    json_t *rights = json_array();
    for (size_t i = 0; i < VIV_COUNT_OF(grant_rights); i++)
        if ((op->number[0] >> i & 1) != 0) viv_json_add(&rights, json_string(grant_rights[i].name));
    if ((uint64_t)op->number[0] >> VIV_COUNT_OF(grant_rights) != 0) {
        json_decref(rights);
        return VIV_E_INVAL;
    }
    struct viv_buf descriptor;
    json_t *value = json_pack("{so}", "rights", rights);
    viv_buf_init(&descriptor, VIV_TAG_CTL);
    enum viv_err err = value != NULL ? viv_cjson_write(value, &descriptor) : VIV_E_EXHAUSTED;
    json_decref(value);
    if (err == VIV_OK)
        err = viv_store_grant(store_of(op), &scope, op->id,
                              (struct viv_str){(const char *)descriptor.data, descriptor.len_bytes},
                              &op->diag);
    viv_buf_deinit(&descriptor);
    return err;
}
