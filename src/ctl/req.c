// SPDX-License-Identifier: Apache-2.0
// Requests of a connection, by number.
#include "ctl/conn_int.h"

#include <string.h>

// ---- for verbs ----

void *viv_ctl_service(const struct viv_ctl_req *req)
{
    return req->conn->server->config.service;
}

struct viv_proc *viv_ctl_proc(const struct viv_ctl_req *req)
{
    return req->conn->proc;
}

const json_t *viv_ctl_args(const struct viv_ctl_req *req)
{
    return req->args;
}

uint64_t viv_ctl_now_ns(const struct viv_ctl_req *req)
{
    return viv_sched_now_ns(req->conn->server->sched);
}

void viv_ctl_wake_at(struct viv_ctl_req *req, uint64_t deadline_ns)
{
    req->wake_ns = deadline_ns;
}

const struct viv_buf *viv_ctl_input(const struct viv_ctl_req *req)
{
    return &req->input;
}

void viv_ctl_take(struct viv_ctl_req *req, size_t len)
{
    if (len == 0) return;
    struct viv_buf *input = &req->input;
    memmove(input->data, input->data + len, input->len_bytes - len);
    input->len_bytes -= len;
    const uint8_t taken[4] = {(uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16),
                              (uint8_t)(len >> 24)};
    viv_ctl__send(req->conn, &(struct viv_frame){.type = VIV_FRAME_TAKEN,
                                                 .request = req->number,
                                                 .payload = taken,
                                                 .len = sizeof taken});
}

bool viv_ctl_input_has_ended(const struct viv_ctl_req *req)
{
    return req->input_ended;
}

bool viv_ctl_has_room(struct viv_ctl_req *req)
{
    struct viv_ctl_conn *conn = req->conn;
    const bool has_room = conn->out.len_bytes - conn->out_at < VIV_CTL_OUT_BYTES_MAX;
    conn->wants_room |= !has_room;
    return has_room;
}

void viv_ctl_send_data(struct viv_ctl_req *req, uint32_t stream, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        const uint32_t piece = (uint32_t)viv_min_u64(len, VIV_CTL_DATA_BYTES_MAX);
        viv_ctl__send(req->conn, &(struct viv_frame){.type = VIV_FRAME_DATA,
                                                     .stream = (uint8_t)stream,
                                                     .request = req->number,
                                                     .payload = at,
                                                     .len = piece});
        at += piece;
        len -= piece;
    }
}

static enum viv_err send_json(struct viv_ctl_req *req, enum viv_frame_type type,
                              VIV_OWN json_t *value)
{
    const enum viv_err err = value == NULL
                                 ? VIV_E_EXHAUSTED
                                 : viv_frame_put_json(&req->conn->out, type, req->number, value);
    json_decref(value);
    return err;
}

void viv_ctl_send_event(struct viv_ctl_req *req, VIV_OWN json_t *value)
{
    const enum viv_err err = send_json(req, VIV_FRAME_EVENT, value);
    if (err != VIV_OK) viv_ctl_fail(req, err, NULL);
}

void viv_ctl_finish(struct viv_ctl_req *req, VIV_OWN json_t *value)
{
    const enum viv_err err = send_json(req, VIV_FRAME_RESULT, value);
    if (err != VIV_OK) viv_ctl_fail(req, err, NULL);
    req->is_over = true;
}

void viv_ctl_fail(struct viv_ctl_req *req, enum viv_err err, const char *detail)
{
    if (!req->is_over) viv_ctl__send_error(req->conn, req->number, err, detail);
    req->is_over = true;
}

// ---- their life ----

static void drop(VIV_OWN struct viv_ctl_req *req)
{
    if (req->verb->end != NULL) req->verb->end(req, req->state);
    json_decref(req->args);
    viv_buf_deinit(&req->input);
    if (req->verb->state_bytes > 0) viv_free(req->state, req->verb->state_bytes, VIV_TAG_CTL);
    viv_free(req, sizeof *req, VIV_TAG_CTL);
}

static const struct viv_ctl_verb *find_verb(const struct viv_ctl_server *server, const char *name)
{
    for (size_t i = 0; name != NULL && i < server->config.verb_count; i++)
        if (strcmp(server->config.verbs[i].name, name) == 0) return &server->config.verbs[i];
    return NULL;
}

static struct viv_ctl_req *find(const struct viv_ctl_conn *conn, uint32_t number)
{
    for (uint32_t i = 0; i < conn->req_count; i++)
        if (conn->reqs[i]->number == number) return conn->reqs[i];
    return NULL;
}

static enum viv_err make(struct viv_ctl_conn *conn, uint32_t number,
                         const struct viv_ctl_verb *verb, const json_t *call)
{
    struct viv_ctl_req *req = viv_try_calloc(1, sizeof *req, VIV_TAG_CTL);
    if (req == NULL) return VIV_E_EXHAUSTED;
    json_t *args = json_object_get(call, "args");
    *req = (struct viv_ctl_req){
        .conn = conn, .number = number, .verb = verb, .wake_ns = VIV_FOREVER_NS};
    viv_buf_init(&req->input, VIV_TAG_CTL);
    req->args = json_is_object(args) ? json_incref(args) : json_object();
    if (verb->state_bytes > 0) req->state = viv_try_calloc(1, verb->state_bytes, VIV_TAG_CTL);
    if (req->args == NULL || (verb->state_bytes > 0 && req->state == NULL)) {
        json_decref(req->args);
        if (req->state != NULL) viv_free(req->state, verb->state_bytes, VIV_TAG_CTL);
        viv_free(req, sizeof *req, VIV_TAG_CTL);
        return VIV_E_EXHAUSTED;
    }
    conn->reqs[conn->req_count++] = req;
    return VIV_OK;
}

// A call that cannot be served is an error of the request; one that is none, of the connection.
static enum viv_err begin(struct viv_ctl_conn *conn, const struct viv_frame *frame)
{
    json_t *call;
    if (frame->request == 0 || find(conn, frame->request) != NULL) return VIV_E_INVAL;
    VIV_TRY(viv_json_parse(frame->payload, frame->len, &call));
    const char *name = viv_json_get_text(call, "verb");
    const struct viv_ctl_verb *verb = find_verb(conn->server, name);
    enum viv_err err = VIV_E_UNSUPPORTED;
    if (conn->req_count == VIV_CTL_REQS_MAX)
        err = VIV_E_FULL;
    else if (verb != NULL)
        err = make(conn, frame->request, verb, call);
    if (err != VIV_OK) viv_ctl__send_error(conn, frame->request, err, "verb");
    json_decref(call);
    return VIV_OK;
}

enum viv_err viv_ctl__req_frame(struct viv_ctl_conn *conn, const struct viv_frame *frame)
{
    if (frame->type == VIV_FRAME_CALL) return begin(conn, frame);
    struct viv_ctl_req *req = find(conn, frame->request);
    switch ((uint32_t)frame->type) {
    case VIV_FRAME_DATA:
        if (frame->stream != 0) return VIV_E_INVAL;
        if (req == NULL) return VIV_OK; // it is over, which the client did not know
        if (req->input_ended) return VIV_E_INVAL;
        if (frame->len > VIV_CTL_WINDOW_BYTES - req->input.len_bytes) return VIV_E_TOOBIG;
        return viv_buf_append(&req->input, frame->payload, frame->len);
    case VIV_FRAME_END:
        if (req != NULL) req->input_ended = true;
        return VIV_OK;
    case VIV_FRAME_CANCEL:
        if (req != NULL) viv_ctl_fail(req, VIV_E_CANCELLED, NULL);
        return VIV_OK;
    default:
        return VIV_E_INVAL; // only we send those
    }
}

bool viv_ctl__req_step_all(struct viv_ctl_conn *conn)
{
    bool has_more = false;
    for (uint32_t i = 0; i < conn->req_count;) {
        struct viv_ctl_req *req = conn->reqs[i];
        if (!req->is_over) {
            req->wake_ns = VIV_FOREVER_NS;
            has_more |= req->verb->step(req, req->state);
        }
        if (req->is_over) {
            conn->reqs[i] = conn->reqs[--conn->req_count];
            drop(req);
        } else {
            i++;
        }
    }
    return has_more;
}

uint64_t viv_ctl__req_wake_ns(const struct viv_ctl_conn *conn)
{
    uint64_t wake_ns = VIV_FOREVER_NS;
    for (uint32_t i = 0; i < conn->req_count; i++)
        wake_ns = viv_min_u64(wake_ns, conn->reqs[i]->wake_ns);
    return wake_ns;
}

void viv_ctl__req_fail_all(struct viv_ctl_conn *conn, enum viv_err err, const char *detail)
{
    for (uint32_t i = 0; i < conn->req_count; i++)
        viv_ctl_fail(conn->reqs[i], err, detail);
}

void viv_ctl__req_drop_all(struct viv_ctl_conn *conn)
{
    while (conn->req_count > 0)
        drop(conn->reqs[--conn->req_count]);
}
