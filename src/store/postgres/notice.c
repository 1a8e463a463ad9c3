// SPDX-License-Identifier: Apache-2.0
// The connection that notifies and listens. One that is lost is made again after a pause that
// doubles; whoever waits looks now and then meanwhile.
#include "store/postgres/notice.h"

#include "base/cjson.h"
#include "os/clock.h"
#include <stdio.h>
#include <string.h>

enum { PAYLOAD_BYTES_MAX = 7900, PAUSE_MS = 50, PAUSE_MS_MAX = 5000 };
#define ASK_NS (5 * VIV_NS_PER_SEC)

static const struct viv_str anything = {NULL, 0};

void viv_pg__notice_deinit(struct viv_pg__notice *notice)
{
    PQfinish(notice->handle);
    notice->handle = NULL;
    notice->is_listening = false;
}

static void lose(struct viv_pg__notice *notice)
{
    viv_pg__notice_deinit(notice);
    notice->pause_ms = viv_min_u64(viv_max_u64(2 * notice->pause_ms, PAUSE_MS), PAUSE_MS_MAX);
    notice->again_ns = viv_os_now_ns() + notice->pause_ms * VIV_NS_PER_MS;
}

static bool connect_if_due(struct viv_pg__notice *notice)
{
    struct viv_pg__server server;
    if (notice->handle != NULL) return true;
    const uint64_t now_ns = viv_os_now_ns();
    if (now_ns < notice->again_ns) return false;
    if (viv_pg__connect(notice->target, now_ns + ASK_NS, &notice->handle, &server, NULL) != VIV_OK)
        lose(notice);
    return notice->handle != NULL;
}

static bool ask(struct viv_pg__notice *notice, const struct viv_pg__question *question)
{
    PGresult *result;
    const enum viv_err err =
        viv_pg__ask(notice->handle, question, viv_os_now_ns() + ASK_NS, &result, NULL);
    PQclear(result);
    if (err != VIV_OK) lose(notice);
    return err == VIV_OK;
}

// ---- hearing ----

int viv_pg__notice_bell(struct viv_pg__notice *notice, viv_pg__told *told, void *arg)
{
    char listen[VIV_PG_SCHEMA_BYTES + 32]; // the name has letters, digits and _ only
    if (!connect_if_due(notice)) return -1;
    if (!notice->is_listening) {
        const struct viv_pg__question question = {.sql = listen};
        (void)snprintf(listen, sizeof listen, "LISTEN \"viv_%s\"", notice->target->schema);
        if (!ask(notice, &question)) return -1;
        notice->is_listening = true;
        notice->pause_ms = 0;
        told(arg, anything);
    }
    return PQsocket(notice->handle);
}

// Some form that is not ours counts as anything.
static void tell_all(const char *payload, viv_pg__told *told, void *arg)
{
    size_t index;
    json_t *ids = json_loads(payload, 0, NULL), *id;
    bool is_known = json_is_array(ids);
    json_array_foreach(ids, index, id)
    {
        const struct viv_str text = {json_string_value(id), json_string_length(id)};
        is_known = is_known && text.n > 0 && strcmp(text.p, "*") != 0;
        if (is_known) told(arg, text);
    }
    json_decref(ids);
    if (!is_known) told(arg, anything);
}

void viv_pg__notice_hear(struct viv_pg__notice *notice, viv_pg__told *told, void *arg)
{
    PGnotify *heard;
    if (notice->handle == NULL) return;
    const bool is_lost = !PQconsumeInput(notice->handle);
    while ((heard = PQnotifies(notice->handle)) != NULL) {
        if (heard->be_pid != PQbackendPID(notice->handle)) tell_all(heard->extra, told, arg);
        PQfreemem(heard);
    }
    if (!is_lost) return;
    lose(notice);
    told(arg, anything);
}

// ---- telling ----

// A list of JSON; of very many ids: of anything.
static enum viv_err write_payload(const char *ids, size_t bytes, struct viv_buf *out)
{
    json_t *list = json_array();
    for (size_t at = 0; at < bytes && bytes <= PAYLOAD_BYTES_MAX; at += strlen(ids + at) + 1)
        viv_json_add(&list, json_string(ids + at));
    if (bytes > PAYLOAD_BYTES_MAX) viv_json_add(&list, json_string("*"));
    enum viv_err err = list == NULL ? VIV_E_EXHAUSTED : viv_cjson_write(list, out);
    json_decref(list);
    if (err == VIV_OK) err = viv_buf_append(out, "", 1);
    return err;
}

void viv_pg__notice_tell(struct viv_pg__notice *notice, const char *ids, size_t bytes)
{
    char channel[VIV_PG_SCHEMA_BYTES + 8];
    struct viv_buf payload;
    if (!connect_if_due(notice)) return;
    viv_buf_init(&payload, VIV_TAG_STORE);
    const bool is_written = write_payload(ids, bytes, &payload) == VIV_OK &&
                            payload.len_bytes <= PAYLOAD_BYTES_MAX; // escapes make it longer
    (void)snprintf(channel, sizeof channel, "viv_%s", notice->target->schema);
    const struct viv_pg__question question = {
        .sql = "SELECT pg_notify($1,$2)",
        .args = {channel, is_written ? (const char *)payload.data : "[\"*\"]"},
        .count = 2};
    (void)ask(notice, &question); // a connection that is lost is made again
    viv_buf_deinit(&payload);
}
