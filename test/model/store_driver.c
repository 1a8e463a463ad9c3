// SPDX-License-Identifier: Apache-2.0
// Runs operations on a store and tells what each answers: a line of JSON each way. Whoever compares
// stores with each other and with a model (test_store_model.py) runs one of these for each.
//
//   store_driver URL [events-feed]     {"op":NAME,…} -> {"code":C,"result":{…},"text":…}
#include "store_driver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAYLOAD_MAX = 4096, EVENTS_MAX = 60 }; // small, so that calls meet them

void driver_die(const char *what, const char *why)
{
    fprintf(stderr, "store_driver: %s: %s\n", what, why);
    exit(1);
}

void *driver_take(struct driver *d, size_t count, size_t size_bytes)
{
    const size_t size = count * size_bytes + 1;
    void *block = viv_mem_try_take(&d->mem, size);
    if (block == NULL) driver_die("memory", "none");
    memset(block, 0, size);
    return block;
}

// ---- arguments ----

struct viv_str driver_text_of(struct driver *d, const json_t *value)
{
    const char *hex = json_string_value(json_object_get(value, "hex"));
    if (json_is_string(value))
        return (struct viv_str){json_string_value(value), json_string_length(value)};
    if (hex == NULL) return (struct viv_str){NULL, 0};
    const size_t len = strlen(hex) / 2;
    char *bytes = driver_take(d, len, 1);
    for (size_t i = 0; i < len; i++) {
        const char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        bytes[i] = (char)strtoul(digits, NULL, 16);
    }
    return (struct viv_str){bytes, len};
}

struct viv_str driver_text(struct driver *d, const json_t *call, const char *name)
{
    return driver_text_of(d, json_object_get(call, name));
}

int64_t driver_i64(const json_t *call, const char *name)
{
    return json_integer_value(json_object_get(call, name));
}

uint64_t driver_u64(const json_t *call, const char *name)
{
    const char *text = json_string_value(json_object_get(call, name));
    return text != NULL ? strtoull(text, NULL, 10) : (uint64_t)driver_i64(call, name);
}

struct viv_scope driver_scope(struct driver *d, const json_t *value)
{
    return (struct viv_scope){driver_text(d, value, "session"), driver_text(d, value, "frame")};
}

static struct viv_fence fence_of(const json_t *value)
{
    struct viv_fence fence = {.fence = driver_u64(value, "fence")};
    const char *token = json_string_value(json_object_get(value, "token"));
    (void)snprintf(fence.token, sizeof fence.token, "%s", token == NULL ? "" : token);
    return fence;
}

const struct viv_fence *driver_fence(struct driver *d, const json_t *call)
{
    const json_t *value = json_object_get(call, "fence");
    if (!json_is_object(value)) return NULL;
    struct viv_fence *fence = driver_take(d, 1, sizeof *fence);
    *fence = fence_of(value);
    return fence;
}

struct viv_owner driver_owner(struct driver *d, const json_t *call)
{
    const json_t *value = json_object_get(call, "owner");
    const char *liveness = json_string_value(json_object_get(value, "liveness"));
    struct viv_owner owner = {.owner_id = driver_text(d, value, "owner_id"),
                              .incarnation = driver_text(d, value, "incarnation")};
    if (liveness == NULL) return owner;
    if (viv_liveness_self(&owner.liveness) != VIV_OK) driver_die("liveness", "not known");
    // As of an earlier holder of this number: that one has ended.
    if (strcmp(liveness, "dead") == 0) owner.liveness.start--;
    return owner;
}

struct viv_lease driver_lease(struct driver *d, const json_t *value)
{
    return (struct viv_lease){
        .id = driver_text(d, value, "id"),
        .owner = {.owner_id = driver_text(d, value, "owner_id"),
                  .incarnation = driver_text(d, value, "incarnation")},
        .f = fence_of(value),
    };
}

struct viv_append driver_append(struct driver *d, const json_t *value)
{
    struct viv_append append = {.type = driver_text(d, value, "type"),
                                .payload = driver_text(d, value, "payload"),
                                .key = driver_text(d, value, "key"),
                                .authority = driver_text(d, value, "authority"),
                                .fence = driver_fence(d, value)};
    const json_t *target = json_object_get(value, "wake_target");
    if (json_is_object(target)) {
        struct viv_scope *scope = driver_take(d, 1, sizeof *scope);
        *scope = driver_scope(d, target);
        append.wake_target = scope;
    }
    return append;
}

const struct viv_str *driver_texts(struct driver *d, const json_t *call, const char *name,
                                   size_t *out_count)
{
    const json_t *list = json_object_get(call, name);
    const size_t count = json_array_size(list);
    struct viv_str *texts = driver_take(d, count, sizeof *texts);
    for (size_t i = 0; i < count; i++)
        texts[i] = driver_text_of(d, json_array_get(list, i));
    *out_count = count;
    return texts;
}

struct viv_cursor driver_cursor(struct driver *d, const json_t *call, const char *name)
{
    struct viv_cursor cursor = {{0}};
    const struct viv_str text = driver_text(d, call, name);
    if (text.n > 0 && viv_cursor_parse(text, &cursor) != VIV_OK) driver_die("cursor", text.p);
    return cursor;
}

// ---- results ----

void driver_put(json_t *out, const char *name, json_t *value)
{
    if (value == NULL || json_object_set_new(out, name, value) != 0) driver_die(name, "no value");
}

json_t *driver_show_text(struct viv_str text)
{
    return text.n == 0 ? json_string("") : json_stringn(text.p, text.n);
}

static void put_text(json_t *out, const char *name, struct viv_str text)
{
    driver_put(out, name, driver_show_text(text));
}

static void put_number(json_t *out, const char *name, int64_t value)
{
    driver_put(out, name, json_integer(value));
}

void driver_put_cursor(json_t *out, const struct viv_cursor *cursor)
{
    static const struct viv_cursor zero;
    char text[VIV_CURSOR_CHARS];
    viv_cursor_format(cursor, text);
    const bool is_zero = memcmp(cursor, &zero, sizeof zero) == 0;
    driver_put(out, "next", json_string(is_zero ? "" : text));
}

json_t *driver_show_record(const struct viv_record *record)
{
    json_t *out = json_object(), *target = json_array();
    put_text(out, "id", record->id);
    put_text(out, "registration", record->registration);
    put_text(out, "hash", record->hash);
    put_text(out, "kind", record->kind);
    put_text(out, "label", record->label);
    put_number(out, "birth", (int64_t)record->birth);
    put_number(out, "last_seq", (int64_t)record->last_seq);
    driver_put(out, "disposition", json_string(viv_disposition_name(record->disposition)));
    driver_put(out, "state", json_string(viv_dstate_name(record->state)));
    driver_put(out, "phase", json_string(viv_phase_name(record->phase)));
    put_number(out, "created_ms", record->created_ms);
    put_number(out, "updated_ms", record->updated_ms);
    put_number(out, "due_ms", record->due_ms);
    put_number(out, "attempt", record->attempt);
    put_number(out, "charged", record->charged);
    (void)json_array_append_new(target, driver_show_text(record->wake_target.session));
    (void)json_array_append_new(target, driver_show_text(record->wake_target.frame));
    driver_put(out, "wake_target", target);
    put_text(out, "await_output", record->await_output);
    put_text(out, "external_ref", record->external_ref);
    put_text(out, "first_started", record->first_started);
    put_text(out, "abandon_request", record->abandon_request);
    put_text(out, "cancel_request", record->cancel_request);
    put_text(out, "wait", record->wait);
    return out;
}

json_t *driver_show_event(const struct viv_event *event)
{
    json_t *out = json_object();
    put_text(out, "id", event->id);
    put_number(out, "seq", (int64_t)event->seq);
    put_text(out, "type", event->type);
    put_text(out, "payload", event->payload);
    put_text(out, "key", event->key);
    put_text(out, "semantics", event->semantics);
    put_text(out, "wake_id", event->wake_id);
    put_number(out, "at_ms", event->at_ms);
    return out;
}

json_t *driver_show_wake(const struct viv_wake *wake)
{
    if (wake->wake_id.n == 0) return json_null();
    json_t *out = json_object();
    put_text(out, "wake_id", wake->wake_id);
    put_text(out, "scope_id", wake->scope_id);
    put_text(out, "id", wake->id);
    put_text(out, "type", wake->type);
    put_text(out, "dedupe_key", wake->dedupe_key);
    put_text(out, "input", wake->input);
    put_text(out, "take_token", wake->take_token);
    put_text(out, "body", wake->body);
    put_number(out, "seq", (int64_t)wake->seq);
    put_number(out, "created_ms", wake->created_ms);
    put_number(out, "deliveries", wake->deliveries);
    return out;
}

json_t *driver_show_lease(const struct viv_lease *lease)
{
    json_t *out = json_object();
    put_text(out, "id", lease->id);
    put_number(out, "birth", (int64_t)lease->birth);
    put_text(out, "owner_id", lease->owner.owner_id);
    put_text(out, "incarnation", lease->owner.incarnation);
    driver_put(out, "token", json_string(lease->f.token));
    put_number(out, "fence", (int64_t)lease->f.fence);
    put_number(out, "attempt", lease->attempt);
    put_number(out, "claimed_ms", lease->claimed_ms);
    put_number(out, "expires_ms", lease->expires_ms);
    put_number(out, "ttl_ms", lease->ttl_ms);
    put_text(out, "guard", lease->guard);
    return out;
}

// ---- the loop ----

static enum viv_err move_clock(struct driver *d, const json_t *call, json_t *out)
{
    (void)out;
    d->wall_ms = driver_i64(call, "wall");
    d->lease_ms = driver_i64(call, "lease");
    return VIV_OK;
}

static int64_t wall_ms(void *arg)
{
    return ((struct driver *)arg)->wall_ms;
}

static int64_t lease_ms(void *arg)
{
    return ((struct driver *)arg)->lease_ms;
}

static driver_fn find_op(const char *name)
{
    static const struct driver_op *const tables[] = {driver_process_ops, driver_lease_ops,
                                                     driver_object_ops};
    if (strcmp(name, "clock") == 0) return move_clock;
    for (size_t t = 0; t < VIV_COUNT_OF(tables); t++)
        for (const struct driver_op *op = tables[t]; op->name != NULL; op++)
            if (strcmp(op->name, name) == 0) return op->run;
    driver_die("no such operation", name);
}

static void answer(struct driver *d, const char *line, size_t len)
{
    json_t *call = NULL;
    struct viv_buf text;
    if (viv_json_parse(line, len, &call) != VIV_OK) driver_die("not JSON", line);
    json_t *out = json_object(), *result = json_object();
    const char *name = viv_json_get_text(call, "op");
    d->diag.d.text[0] = '\0';
    const enum viv_err err = find_op(name == NULL ? "" : name)(d, call, result);
    if (err != VIV_OK) (void)json_object_clear(result);
    driver_put(out, "code", json_string(viv_err_name(err)));
    if (err != VIV_OK) driver_put(out, "text", json_string(d->diag.d.text));
    driver_put(out, "result", result);
    viv_buf_init(&text, VIV_TAG_TEST);
    if (viv_json_write(out, &text) != VIV_OK) driver_die("memory", "none");
    (void)fwrite(text.data, 1, text.len_bytes, stdout);
    (void)putchar('\n');
    (void)fflush(stdout);
    viv_buf_deinit(&text);
    json_decref(out);
    json_decref(call);
    viv_mem_reset(&d->mem);
}

int main(int argc, char **argv)
{
    static struct driver d;
    const struct viv_store_clock clock = {wall_ms, lease_ms, &d};
    const struct viv_store_opts opts = {.create = true,
                                        .event_feed = argc > 2,
                                        .max_payload = PAYLOAD_MAX,
                                        .max_events = EVENTS_MAX,
                                        .clock = &clock};
    char *line = NULL;
    size_t cap = 0;
    if (argc < 2) driver_die("URL", "is missing");
    const struct viv_str url = {argv[1], strlen(argv[1])};
    if (viv_store_open(url, &opts, &d.store, &d.diag) != VIV_OK) driver_die(url.p, d.diag.d.text);
    viv_mem_init(&d.mem, VIV_TAG_TEST);
    for (ssize_t len; (len = getline(&line, &cap, stdin)) > 0;)
        answer(&d, line, (size_t)len - 1);
    free(line);
    viv_mem_deinit(&d.mem);
    viv_store_close(d.store);
    return 0;
}
