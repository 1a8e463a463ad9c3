// SPDX-License-Identifier: Apache-2.0
// The launcher of C functions: a thread for each run (launch_host.h). One that has returned is
// joined by the next that starts, or at the end.
#include "ctl/launch_host.h"

#include "base/cjson.h"
#include "base/list.h"
#include "os/thread.h"
#include <string.h>

enum { CLASS_BYTES = 64, TEXT_BYTES = 512 };

struct viv_host_call {
    struct viv_list node; // among running or over; the launcher's mutex
    struct viv_launch_host *launch;
    const struct viv_launch_func *func;
    struct viv_run *run;
    struct viv_thread *thread;
    struct viv_buf args, output;
    char class[CLASS_BYTES], code[CLASS_BYTES], message[TEXT_BYTES];
    _Atomic bool is_killed, is_cancelled;
};

struct viv_launch_host {
    const struct viv_launch_func *funcs;
    size_t count;
    struct viv_mutex mutex;
    struct viv_list running, over; // under the mutex
};

// ---- the end of a run ----

static void free_call(VIV_OWN struct viv_host_call *call)
{
    viv_buf_deinit(&call->args);
    viv_buf_deinit(&call->output);
    viv_free(call, sizeof *call, VIV_TAG_CTL);
}

// The output is one JSON value, or none.
static enum viv_err pack_success(struct viv_host_call *call, struct viv_buf *out)
{
    json_t *value = NULL;
    struct viv_cjson_error error = {0, ""};
    const struct viv_buf *text = &call->output;
    enum viv_err err =
        text->len_bytes > 0 ? viv_cjson_parse(text->data, text->len_bytes, &value, &error) : VIV_OK;
    if (err != VIV_OK && err != VIV_E_EXHAUSTED)
        viv_host_call_fail(call, "execution", "bad_output", error.what);
    if (err != VIV_OK) return err;
    if (value == NULL) value = json_null();
    json_t *output = json_pack("{ssso}", "type", "success", "value", value);
    err = output != NULL ? viv_cjson_write(output, out) : VIV_E_EXHAUSTED;
    json_decref(output);
    return err;
}

static void end(struct viv_host_call *call, bool has_succeeded)
{
    struct viv_buf output;
    viv_buf_init(&output, VIV_TAG_CTL);
    enum viv_err err = VIV_E_STATE;
    if (has_succeeded) err = pack_success(call, &output);
    if (err == VIV_OK || err == VIV_E_EXHAUSTED) // without memory its end is not known
        viv_run_ended(call->run, (struct viv_str){(const char *)output.data,
                                                  err == VIV_OK ? output.len_bytes : 0});
    else
        viv_run_failed(call->run, call->class, call->code, call->message);
    viv_buf_deinit(&output);
}

static void move_to(struct viv_list *list, struct viv_host_call *call)
{
    viv_mutex_lock(&call->launch->mutex);
    viv_list_remove(&call->node);
    viv_list_append(list, &call->node);
    viv_mutex_unlock(&call->launch->mutex);
}

static void run_call(void *arg)
{
    struct viv_host_call *call = arg;
    struct viv_run *run = call->run;
    const bool has_succeeded = call->func->call(call->func->arg, call);
    viv_run_set_data(run, NULL);
    move_to(&call->launch->over, call); // no order reaches it from here on
    end(call, has_succeeded);
}

static void join_over(struct viv_launch_host *launch)
{
    viv_mutex_lock(&launch->mutex);
    while (!viv_list_is_empty(&launch->over)) {
        struct viv_host_call *call =
            VIV_CONTAINER_OF(launch->over.next, struct viv_host_call, node);
        viv_list_remove(&call->node);
        viv_mutex_unlock(&launch->mutex);
        viv_thread_join(call->thread);
        free_call(call);
        viv_mutex_lock(&launch->mutex);
    }
    viv_mutex_unlock(&launch->mutex);
}

// ---- what the worker calls ----

static bool prepare(void *arg, struct viv_run *run)
{
    (void)arg;
    (void)run;
    return true; // all of it is spawn's: of a run that is killed in between nobody would be told
}

static const struct viv_launch_func *find_func(const struct viv_launch_host *launch,
                                               const char *name)
{
    for (size_t i = 0; name != NULL && i < launch->count; i++)
        if (strcmp(launch->funcs[i].name, name) == 0) return &launch->funcs[i];
    return NULL;
}

static enum viv_err read_input(const struct viv_launch_host *launch, struct viv_host_call *call)
{
    json_t *registration = NULL;
    const struct viv_str text = viv_run_registration(call->run);
    VIV_TRY(viv_cjson_parse(text.p, text.n, &registration, NULL));
    const json_t *input = json_object_get(registration, "input");
    json_t *args = json_object_get(input, "args");
    call->func = find_func(launch, viv_json_get_text(input, "name"));
    const enum viv_err err =
        args != NULL ? viv_cjson_write(args, &call->args) : viv_buf_append(&call->args, "null", 4);
    json_decref(registration);
    if (err != VIV_OK) return err;
    return call->func != NULL ? VIV_OK : VIV_E_NOTFOUND;
}

static struct viv_host_call *new_call(struct viv_launch_host *launch, struct viv_run *run)
{
    struct viv_host_call *call = viv_try_calloc(1, sizeof *call, VIV_TAG_CTL);
    if (call == NULL) return NULL;
    call->launch = launch;
    call->run = run;
    viv_list_init(&call->node);
    viv_buf_init(&call->args, VIV_TAG_CTL);
    viv_buf_init(&call->output, VIV_TAG_CTL);
    viv_host_call_fail(call, "execution", "failed", "the function says no more");
    return call;
}

static void spawn(void *arg, struct viv_run *run)
{
    struct viv_launch_host *launch = arg;
    join_over(launch);
    struct viv_host_call *call = new_call(launch, run);
    enum viv_err err = call != NULL ? read_input(launch, call) : VIV_E_EXHAUSTED;
    if (err == VIV_OK) {
        viv_run_set_data(run, call);
        move_to(&launch->running, call);
        viv_mutex_lock(&launch->mutex); // it is joined once this is there
        err = viv_thread_start("viv-host", 0, run_call, call, &call->thread);
        if (err != VIV_OK) viv_list_remove(&call->node);
        viv_mutex_unlock(&launch->mutex);
    }
    if (err == VIV_OK) return;
    if (call != NULL) free_call(call);
    if (err == VIV_E_NOTFOUND)
        viv_run_failed(run, "invalid_request", "no_function", "no such function of the host");
    else
        viv_run_failed(run, "unavailable", "no_memory", viv_err_text(err));
}

// Sets a flag of the call of a run, unless that has returned.
static void order(struct viv_launch_host *launch, const struct viv_run *run, bool is_kill)
{
    viv_mutex_lock(&launch->mutex);
    for (struct viv_list *at = launch->running.next; at != &launch->running; at = at->next) {
        struct viv_host_call *call = VIV_CONTAINER_OF(at, struct viv_host_call, node);
        if (call->run != run) continue;
        // Relaxed: a flag by itself, looked at now and then.
        atomic_store_explicit(is_kill ? &call->is_killed : &call->is_cancelled, true,
                              memory_order_relaxed);
    }
    viv_mutex_unlock(&launch->mutex);
}

static void cancel(void *arg, struct viv_run *run, struct viv_str reason)
{
    (void)reason;
    order(arg, run, false);
}

static void kill_run(void *arg, struct viv_run *run)
{
    order(arg, run, true);
}

void viv_launch_host_describe(struct viv_launch_host *launch, struct viv_launcher *out_launcher)
{
    *out_launcher = (struct viv_launcher){.kind = "host",
                                          .arg = launch,
                                          .prepare = prepare,
                                          .spawn = spawn,
                                          .cancel = cancel,
                                          .kill = kill_run};
}

// ---- making and ending ----

enum viv_err viv_launch_host_open(const struct viv_launch_func *funcs, size_t count,
                                  struct viv_launch_host **out_launch)
{
    struct viv_launch_host *launch = viv_try_calloc(1, sizeof *launch, VIV_TAG_CTL);
    if (launch == NULL) return VIV_E_EXHAUSTED;
    launch->funcs = funcs;
    launch->count = count;
    viv_mutex_init(&launch->mutex);
    viv_list_init(&launch->running);
    viv_list_init(&launch->over);
    *out_launch = launch;
    return VIV_OK;
}

void viv_launch_host_close(VIV_OWN struct viv_launch_host *launch)
{
    if (launch == NULL) return;
    join_over(launch);
    viv_free(launch, sizeof *launch, VIV_TAG_CTL);
}

// ---- for functions ----

struct viv_str viv_host_call_args(const struct viv_host_call *call)
{
    return (struct viv_str){(const char *)call->args.data, call->args.len_bytes};
}

struct viv_buf *viv_host_call_output(struct viv_host_call *call)
{
    return &call->output;
}

const struct viv_lease *viv_host_call_lease(const struct viv_host_call *call)
{
    return viv_run_lease(call->run);
}

bool viv_host_call_is_live(const struct viv_host_call *call)
{
    // Relaxed: as in order.
    return !atomic_load_explicit(&call->is_killed, memory_order_relaxed) &&
           viv_run_is_live(call->run);
}

bool viv_host_call_is_cancelled(const struct viv_host_call *call)
{
    // Relaxed: as in order.
    return atomic_load_explicit(&call->is_cancelled, memory_order_relaxed);
}

bool viv_host_call_is_draining(const struct viv_host_call *call)
{
    return viv_run_is_draining(call->run);
}

static void set(char *to, size_t cap, const char *text)
{
    const size_t len = viv_min_u64(strlen(text), cap - 1);
    memcpy(to, text, len);
    to[len] = '\0';
}

void viv_host_call_fail(struct viv_host_call *call, const char *class, const char *code,
                        const char *message)
{
    set(call->class, sizeof call->class, class);
    set(call->code, sizeof call->code, code);
    set(call->message, sizeof call->message, message);
}
