// SPDX-License-Identifier: Apache-2.0
// The verbs of programs, as thin as they can be: arguments in, a call of native.h, an answer out.
// Their clients are operators, whom the server has looked at.
#include "ctl/resources.h"

#include "base/text.h"
#include "native/block.h"
#include "native/feature.h"
#include "os/thread.h"
#include <string.h>

enum { BLOCK_BYTES_MAX = 8 << 20, PAGE = 32, WRITE_BYTES_MAX = 64 << 10 };

// ---- what they share ----

struct viv_native_ctx viv_ctl__ctx(const struct viv_ctl_req *req)
{
    const struct viv_ctl_programs *programs = viv_ctl_service(req);
    return (struct viv_native_ctx){.native = programs->native,
                                   .env = programs->env,
                                   .proc = viv_ctl_proc(req),
                                   .unit = "",
                                   .is_operator = true};
}

void viv_ctl__init_call(struct viv_ctl_req *req, struct viv_ctl_wait *wait)
{
    const struct viv_native_ctx ctx = viv_ctl__ctx(req);
    viv_native_call_init(&wait->call, &ctx);
    wait->has_begun = true;
}

static bool find(struct viv_ctl_req *req, struct viv_native_ref *out_ref)
{
    const struct viv_native_ctx ctx = viv_ctl__ctx(req);
    const char *text = viv_json_get_text(viv_ctl_args(req), "ref");
    const enum viv_err err = text == NULL ? VIV_E_INVAL : viv_ctl_ref_find(&ctx, text, out_ref);
    const char *detail = err == VIV_E_NOTFOUND ? NULL : err == VIV_E_UNSUPPORTED ? "holder" : "ref";
    if (err != VIV_OK) viv_ctl_fail(req, err, detail);
    return err == VIV_OK;
}

bool viv_ctl__begin(struct viv_ctl_req *req, struct viv_ctl_wait *wait)
{
    viv_ctl__init_call(req, wait);
    return find(req, &wait->ref);
}

void viv_ctl__end(struct viv_ctl_req *req, void *state)
{
    struct viv_ctl_wait *wait = state;
    (void)req;
    if (wait->has_begun) viv_native_cancel(&wait->call);
}

static void answer(struct viv_ctl_req *req, enum viv_err err)
{
    if (err == VIV_OK)
        viv_ctl_finish(req, json_object());
    else
        viv_ctl_fail(req, err, NULL);
}

// ---- run: the spawn block comes as bytes ----

struct run {
    struct viv_ctl_wait wait;
    struct viv_buf block;
    bool is_spawning;
};

static void answer_spawned(struct viv_ctl_req *req, struct viv_native_call *call, enum viv_err err)
{
    char pid[VIV_PID_TEXT_BYTES];
    if (err == VIV_E_EXISTS) { // who has the key
        viv_ctl_fail(req, err, viv_pid_format(call->named, pid));
        return;
    }
    if (err != VIV_OK) {
        viv_ctl_fail(req, err, call->diag.text);
        return;
    }
    json_t *value = json_object();
    viv_json_put(&value, "pid", json_string(viv_pid_format(call->spawned.pid, pid)));
    viv_json_put(&value, "number", viv_json_u64(call->spawned.number));
    viv_ctl_finish(req, value);
}

static bool step_run(struct viv_ctl_req *req, void *state)
{
    struct run *run = state;
    const struct viv_buf *input = viv_ctl_input(req);
    if (!run->wait.has_begun) {
        viv_ctl__init_call(req, &run->wait);
        viv_buf_init(&run->block, VIV_TAG_CTL);
    }
    enum viv_err err = VIV_E_AGAIN;
    if (!run->is_spawning) {
        err = run->block.len_bytes + input->len_bytes > BLOCK_BYTES_MAX
                  ? VIV_E_TOOBIG
                  : viv_buf_append(&run->block, input->data, input->len_bytes);
        viv_ctl_take(req, input->len_bytes);
        if (err != VIV_OK) viv_ctl_fail(req, err, "block");
        if (err != VIV_OK || !viv_ctl_input_has_ended(req)) return false;
        run->is_spawning = true;
        err = viv_native_spawn(&run->wait.call, run->block.data, run->block.len_bytes);
        viv_buf_deinit(&run->block);
    } else {
        err = viv_native_poll(&run->wait.call);
    }
    if (err != VIV_E_AGAIN) answer_spawned(req, &run->wait.call, err);
    return false;
}

static void end_run(struct viv_ctl_req *req, void *state)
{
    struct run *run = state;
    if (run->wait.has_begun) viv_buf_deinit(&run->block);
    viv_ctl__end(req, state);
}

// ---- list: an event a program; argument `all`: those that have exited, too. Then what is there
// and is not this kernel's ----

struct list {
    uint64_t after;
    bool is_outside; // the programs are told
};

static void send_status(struct viv_ctl_req *req, const struct viv_native_item *item, bool all)
{
    struct viv_native_status status;
    const struct viv_native_ctx ctx = viv_ctl__ctx(req);
    const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = item->pid};
    if (viv_native_status(&ctx, &ref, &status) != VIV_OK) return; // released meanwhile
    if (all || status.phase != VIV_NATIVE_EXITED)
        viv_ctl_send_event(req, viv_ctl__program(&ctx, &status));
}

// One a turn: they are few.
static bool list_outside(struct viv_ctl_req *req, struct list *list)
{
    struct viv_native_outsider outsider;
    const struct viv_native_ctx ctx = viv_ctl__ctx(req);
    const bool is_one = viv_native_list_outside(&ctx, list->after, 1, &outsider) > 0;
    if (!is_one) {
        viv_ctl_finish(req, json_object());
        return false;
    }
    list->after = outsider.number;
    viv_ctl_send_event(req, viv_ctl__outsider(&outsider));
    return true;
}

static bool step_list(struct viv_ctl_req *req, void *state)
{
    struct list *list = state;
    struct viv_native_item items[PAGE];
    const struct viv_native_ctx ctx = viv_ctl__ctx(req);
    const bool all = viv_json_get_bool(viv_ctl_args(req), "all");
    if (!viv_ctl_has_room(req)) return false;
    if (list->is_outside) return list_outside(req, list);
    const size_t count = viv_native_list(
        &ctx, &(struct viv_native_page){.after = list->after, .max = PAGE, .out_items = items});
    for (size_t i = 0; i < count && viv_ctl_has_room(req); i++) {
        send_status(req, &items[i], all);
        list->after = items[i].number;
    }
    list->is_outside = count == 0;
    if (count == 0) list->after = 0;
    return true;
}

// ---- those that answer at once ----

// Of what is not this kernel's there is nothing more to tell. False: it is no such thing.
static bool tell_outsider(struct viv_ctl_req *req)
{
    struct viv_native_outsider outsider;
    uint64_t number;
    const struct viv_native_ctx ctx = viv_ctl__ctx(req);
    const char *text = viv_json_get_text(viv_ctl_args(req), "ref");
    if (text == NULL || viv_parse_u64(text + (text[0] == '#'), &number) != VIV_OK ||
        viv_native_find_outside(&ctx, number, &outsider) != VIV_OK)
        return false;
    viv_ctl_finish(req, viv_ctl__outsider(&outsider));
    return true;
}

// Of any process: what it holds; of a program all that is known besides.
static bool step_info(struct viv_ctl_req *req, void *state)
{
    struct viv_ctl_holds *holds = state;
    const struct viv_native_ctx ctx = viv_ctl__ctx(req);
    if (!holds->has_begun && tell_outsider(req)) return false;
    const char *text = viv_json_get_text(viv_ctl_args(req), "ref");
    json_t *held, *value = NULL;
    if (!holds->has_begun) {
        const enum viv_err err =
            text != NULL ? viv_ctl__find_process(req, text, &holds->pid) : VIV_E_INVAL;
        if (err != VIV_OK) viv_ctl_fail(req, err, err == VIV_E_NOTFOUND ? NULL : "ref");
        if (err != VIV_OK) return false;
    }
    if (!viv_ctl__holds(req, holds, &held)) return true;
    struct viv_native_status status;
    struct viv_native_info info;
    const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = holds->pid};
    enum viv_err err = viv_native_status(&ctx, &ref, &status);
    if (err == VIV_OK) err = viv_native_info(&ctx, &ref, &info);
    if (err == VIV_OK) {
        value = viv_ctl__program(&ctx, &status);
        viv_ctl__add_info(&info, &value);
    } else if (held != NULL) {
        char pid[VIV_PID_TEXT_BYTES];
        value = json_object();
        viv_json_put(&value, "pid", json_string(viv_pid_format(holds->pid, pid)));
    } else {
        viv_ctl_fail(req, err, NULL);
        return false;
    }
    viv_json_put(&value, "holds", held != NULL ? held : json_null());
    viv_ctl_finish(req, value);
    return false;
}

static bool step_signal(struct viv_ctl_req *req, void *state)
{
    struct viv_native_ref ref;
    const struct viv_native_ctx ctx = viv_ctl__ctx(req);
    const uint64_t number = viv_json_get_u64(viv_ctl_args(req), "signal", 0);
    (void)state;
    if (!find(req, &ref)) return false;
    const enum viv_err err =
        number > INT32_MAX ? VIV_E_INVAL
                           : viv_native_signal(&ctx, &ref, (int)number,
                                               viv_json_get_bool(viv_ctl_args(req), "leader"));
    answer(req, err);
    return false;
}

static bool step_resize(struct viv_ctl_req *req, void *state)
{
    struct viv_native_ref ref;
    const struct viv_native_ctx ctx = viv_ctl__ctx(req);
    const uint64_t rows = viv_json_get_u64(viv_ctl_args(req), "rows", 0);
    const uint64_t columns = viv_json_get_u64(viv_ctl_args(req), "columns", 0);
    (void)state;
    if (!find(req, &ref)) return false;
    const bool is_size = rows > 0 && columns > 0 && rows <= UINT16_MAX && columns <= UINT16_MAX;
    answer(req, is_size ? viv_native_resize(&ctx, &ref, (uint16_t)rows, (uint16_t)columns)
                        : VIV_E_INVAL);
    return false;
}

// Argument `all`: every program that has exited; the answer counts them.
static bool release_all(struct viv_ctl_req *req, struct list *list)
{
    struct viv_native_item items[PAGE];
    const struct viv_native_ctx ctx = viv_ctl__ctx(req);
    const size_t count = viv_native_list(
        &ctx, &(struct viv_native_page){.after = list->after, .max = PAGE, .out_items = items});
    for (size_t i = 0; i < count; i++) {
        const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = items[i].pid};
        VIV_IGNORE(viv_native_release(&ctx, &ref), "it runs, or is gone");
        list->after = items[i].number;
    }
    if (count == 0) viv_ctl_finish(req, json_object());
    return count != 0;
}

static bool step_release(struct viv_ctl_req *req, void *state)
{
    struct viv_native_ref ref;
    const struct viv_native_ctx ctx = viv_ctl__ctx(req);
    if (viv_json_get_bool(viv_ctl_args(req), "all")) return release_all(req, state);
    if (find(req, &ref)) answer(req, viv_native_release(&ctx, &ref));
    return false;
}

// ---- those that wait for the end: they answer the record ----

static bool finish_end(struct viv_ctl_req *req, struct viv_ctl_wait *wait, enum viv_err err)
{
    if (err == VIV_E_AGAIN)
        viv_ctl_wake_at(req, wait->call.op.deadline_ns);
    else if (err == VIV_OK)
        viv_ctl_finish(req, viv_ctl__exit(&wait->call.exit));
    else
        viv_ctl_fail(req, err, NULL);
    return false;
}

static uint64_t duration_of(const struct viv_ctl_req *req, const char *name, uint64_t by_default)
{
    const uint64_t ms = viv_json_get_u64(viv_ctl_args(req), name, UINT64_MAX);
    if (ms == UINT64_MAX) return by_default;
    return ms > VIV_FOREVER_NS / VIV_NS_PER_MS ? VIV_FOREVER_NS : ms * VIV_NS_PER_MS;
}

static bool step_wait(struct viv_ctl_req *req, void *state)
{
    struct viv_ctl_wait *wait = state;
    if (wait->has_begun) return finish_end(req, wait, viv_native_poll(&wait->call));
    if (!viv_ctl__begin(req, wait)) return false;
    return finish_end(
        req, wait,
        viv_native_wait(&wait->call, &wait->ref, duration_of(req, "timeout_ms", VIV_FOREVER_NS)));
}

static bool step_stop(struct viv_ctl_req *req, void *state)
{
    struct viv_ctl_wait *wait = state;
    if (wait->has_begun) return finish_end(req, wait, viv_native_poll(&wait->call));
    if (!viv_ctl__begin(req, wait)) return false;
    return finish_end(req, wait,
                      viv_native_stop_program(&wait->call, &wait->ref,
                                              duration_of(req, "grace_ms", VIV_NATIVE_OWN_GRACE),
                                              viv_json_get_bool(viv_ctl_args(req), "release")));
}

static bool step_kill(struct viv_ctl_req *req, void *state)
{
    struct viv_ctl_wait *wait = state;
    if (wait->has_begun) return finish_end(req, wait, viv_native_poll(&wait->call));
    if (!viv_ctl__begin(req, wait)) return false;
    return finish_end(req, wait, viv_native_kill(&wait->call, &wait->ref));
}

// ---- input: bytes for stdin; its end is the end of stdin only when `close` says so ----

struct input {
    struct viv_ctl_wait wait;
    size_t writing; // bytes of the write that is parked
};

static void end_input(struct viv_ctl_req *req, const struct input *input)
{
    const struct viv_native_ctx ctx = viv_ctl__ctx(req);
    enum viv_err err = VIV_OK;
    if (viv_json_get_bool(viv_ctl_args(req), "close"))
        err = viv_native_close_stdin(&ctx, &input->wait.ref, false);
    answer(req, err);
}

static bool step_input(struct viv_ctl_req *req, void *state)
{
    struct input *input = state;
    const struct viv_buf *from = viv_ctl_input(req);
    enum viv_err err;
    if (!input->wait.has_begun && !viv_ctl__begin(req, &input->wait)) return false;
    if (input->writing > 0) {
        err = viv_native_poll(&input->wait.call);
    } else if (from->len_bytes == 0) {
        if (viv_ctl_input_has_ended(req)) end_input(req, input);
        return false;
    } else {
        size_t taken;
        const struct viv_native_bytes bytes = {
            .data = from->data,
            .len = (size_t)viv_min_u64(from->len_bytes, WRITE_BYTES_MAX),
            .all = true,
            .timeout_ns = VIV_FOREVER_NS};
        input->writing = bytes.len;
        err = viv_native_write(&input->wait.call, &input->wait.ref, &bytes, &taken);
    }
    if (err == VIV_E_AGAIN) return false;
    if (err == VIV_OK) {
        viv_ctl_take(req, input->writing);
        input->writing = 0;
    } else {
        viv_ctl_fail(req, err, NULL);
    }
    return err == VIV_OK;
}

// ---- native: what this host can do ----

static bool step_native(struct viv_ctl_req *req, void *state)
{
    const struct viv_ctl_programs *programs = viv_ctl_service(req);
    struct viv_features features;
    const bool is_known = viv_native_features(programs->native, &features);
    json_t *value = json_object();
    (void)state;
    viv_json_put(&value, "known", json_boolean(is_known));
    for (int i = 0; i < VIV_FEATURES; i++) {
        const char *name = viv_feature_name((enum viv_feature)i);
        const bool has_it = is_known && (features.have >> i & 1) != 0;
        viv_json_put(&value, name,
                     !is_known ? json_string("not tried yet") // by the first sandboxed program
                     : has_it  ? json_true()
                               : json_string(features.why[i].stage));
    }
    if (is_known) viv_json_put(&value, "landlock_abi", json_integer(features.landlock_abi));
    viv_ctl_finish(req, value);
    return false;
}

// ---- the daemon ----

static bool step_shutdown(struct viv_ctl_req *req, void *state)
{
    struct viv_ctl_programs *programs = viv_ctl_service(req);
    (void)state;
    viv_ctl_finish(req, json_object());
    // Seq_cst: published before the word, which is looked at before a wait.
    atomic_store_explicit(&programs->wants_end, true, memory_order_seq_cst);
    if (programs->word != NULL) {
        atomic_fetch_add_explicit(programs->word, 1, memory_order_seq_cst);
        viv_futex_wake(programs->word, UINT32_MAX);
    }
    return false;
}

const struct viv_ctl_verb viv_ctl_program_verbs[] = {
    {"run", sizeof(struct run), step_run, end_run},
    {"list", sizeof(struct list), step_list, NULL},
    {"info", sizeof(struct viv_ctl_holds), step_info, NULL},
    {"res", sizeof(struct viv_ctl_res), viv_ctl__res, NULL},
    {"audit", sizeof(struct viv_ctl_audit), viv_ctl__audit, NULL},
    {"logs", sizeof(struct viv_ctl_logs), viv_ctl__logs, viv_ctl__end},
    {"input", sizeof(struct input), step_input, viv_ctl__end},
    {"resize", 0, step_resize, NULL},
    {"signal", 0, step_signal, NULL},
    {"stop", sizeof(struct viv_ctl_wait), step_stop, viv_ctl__end},
    {"kill", sizeof(struct viv_ctl_wait), step_kill, viv_ctl__end},
    {"release", sizeof(struct list), step_release, NULL},
    {"wait", sizeof(struct viv_ctl_wait), step_wait, viv_ctl__end},
    {"native", 0, step_native, NULL},
    {"shutdown", 0, step_shutdown, NULL},
};
const size_t viv_ctl_program_verb_count = VIV_COUNT_OF(viv_ctl_program_verbs);
