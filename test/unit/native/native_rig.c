// SPDX-License-Identifier: Apache-2.0
#include "native_rig.h"

#include "base/alloc.h"
#include "harness/check.h"
#include "native/anchor.h"
#include "os/cgroup.h"
#include "os/clock.h"
#include "os/thread.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int rig_count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    int count = 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static struct viv_policy *read_policy(const char *text)
{
    static const struct viv_scope_hooks hooks = {.open = viv_native_open_anchor};
    const struct viv_policy_source source = {
        .text = text, .len_bytes = strlen(text), .hooks = &hooks};
    struct viv_policy_error error;
    struct viv_policy *policy;
    assert_int_equal(viv_policy_new(&policy), VIV_OK);
    const enum viv_err err = viv_policy_parse(policy, &source, &error);
    if (err != VIV_OK) fail_msg("policy: %s", error.diag.text);
    return policy;
}

void rig_open_with(struct native_rig *rig, void (*change)(struct viv_native_config *config))
{
    rig_open_policy(rig, NULL, change);
}

void rig_open_policy(struct native_rig *rig, const char *policy,
                     void (*change)(struct viv_native_config *config))
{
    memset(rig, 0, sizeof *rig);
    rig->fds = rig_count_fds();
    rig->bytes = viv_alloc_live_bytes_all();
    if (policy != NULL) rig->policy = read_policy(policy);
    const struct viv_kernel_config kernel = {.worker_count = 2};
    assert_int_equal(viv_kernel_new(&kernel, &rig->kernel), VIV_OK);
    assert_int_equal(viv_room_open(rig->kernel, &rig->cap), VIV_OK);
    static char holder[512];
    const char *build_dir = getenv("VIV_BUILD_DIR");
    snprintf(holder, sizeof holder, "%s/viv-holder", build_dir != NULL ? build_dir : "build/dev");
    struct viv_native_config config = {
        .kernel = rig->kernel, .cap = rig->cap, .direct = true, .holder = holder};
    if (change != NULL) change(&config);
    assert_int_equal(viv_native_open(&config, &rig->native), VIV_OK);
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    assert_int_equal(viv_env_new(rig->kernel, 1, &limits, &rig->env), VIV_OK);
    assert_int_equal(viv_room_add_env(rig->cap, rig->env, rig->policy), VIV_OK);
    assert_int_equal(viv_native_add_env(rig->native, rig->env, "."), VIV_OK);
    assert_int_equal(viv_kernel_start(rig->kernel), VIV_OK);
    assert_int_equal(viv_sched_enter(viv_kernel_sched(rig->kernel), &rig->member), VIV_OK);
    rig->ctx = (struct viv_native_ctx){
        .native = rig->native, .env = rig->env, .unit = "", .is_operator = policy == NULL};
}

bool rig_has_groups(void)
{
    char path[PATH_MAX + 32];
    if (viv_cgroup_own(path, PATH_MAX) != VIV_OK) return false;
    (void)snprintf(path + strlen(path), 32, "/viv-test-%d", (int)getpid());
    if (mkdir(path, 0700) != 0) return false;
    CHECK(rmdir(path) == 0);
    return true;
}

void rig_contain(struct native_rig *rig)
{
    if (!rig_has_groups()) rig->level = VIV_NATIVE_SANDBOX_DEFAULT;
}

void rig_open(struct native_rig *rig)
{
    rig_open_with(rig, NULL);
}

void rig_close(struct native_rig *rig)
{
    viv_buf_deinit(&rig->block);
    viv_sched_leave(rig->member);
    viv_native_stop(rig->native);
    assert_int_equal(viv_kernel_stop(rig->kernel, RIG_TIMEOUT_NS), VIV_OK);
    viv_room_close(rig->cap);
    viv_native_close(rig->native);
    viv_kernel_free(rig->kernel);
    viv_policy_free(rig->policy);
    if (rig->has_neighbour) return;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(rig_count_fds(), rig->fds);
    assert_int_equal(viv_alloc_live_bytes_all(), rig->bytes);
}

bool rig_next_audit(struct native_rig *rig, char *out, size_t cap)
{
    static char line[VIV_AUDIT_JSON_MAX];
    struct viv_audit_event event;
    size_t len;
    while (viv_audit_read_line(viv_room_audit(rig->cap), &rig->audit_at, &event, line, &len)) {
        if (event.kind != VIV_AUDIT_PROGRAM) continue;
        assert_true(len < cap);
        memcpy(out, line, len + 1);
        return true;
    }
    return false;
}

void rig_expect_audit(struct native_rig *rig, const char *operation, const char *outcome, char *out,
                      size_t cap)
{
    char wanted[2][100];
    (void)snprintf(wanted[0], sizeof wanted[0], "\"operation\":\"%s\"", operation);
    (void)snprintf(wanted[1], sizeof wanted[1], "\"outcome\":\"%s\"", outcome);
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    while (!rig_next_audit(rig, out, cap)) { // what it is of may be seen before it
        if (viv_os_now_ns() > end_ns) fail_msg("no audit event; wanted %s", operation);
        rig_sleep(rig, VIV_NS_PER_MS);
    }
    if (strstr(out, wanted[0]) == NULL || strstr(out, wanted[1]) == NULL)
        fail_msg("wanted %s, %s, got: %s", operation, outcome, out);
}

static void begin(struct native_rig *rig, const char *cmd)
{
    viv_buf_deinit(&rig->block);
    viv_buf_init(&rig->block, VIV_TAG_TEST);
    assert_int_equal(viv_block_init(&rig->block), VIV_OK);
    rig_put_text(rig, VIV_NATIVE_KEY_CMD, cmd);
}

void rig_request(struct native_rig *rig, const char *cmd, ...)
{
    va_list args;
    va_start(args, cmd);
    begin(rig, cmd);
    if (rig->level == VIV_NATIVE_SANDBOX_NONE)
        rig_sandbox(rig, VIV_NATIVE_SANDBOX_NONE);
    else
        rig_as_nobody(rig);
    if (rig->level == VIV_NATIVE_SANDBOX_STRICT) rig_sandbox(rig, VIV_NATIVE_SANDBOX_STRICT);
    for (const char *arg; (arg = va_arg(args, const char *)) != NULL;)
        rig_put_text(rig, VIV_NATIVE_KEY_ARG, arg);
    va_end(args);
}

void rig_shell(struct native_rig *rig, const char *script)
{
    rig_request(rig, "/bin/sh", "-c", script, NULL);
}

void rig_put_u64(struct native_rig *rig, enum viv_native_key key, uint64_t value)
{
    const enum viv_err err = viv_native_rows[key].type == VIV_NATIVE_TYPE_U64
                                 ? viv_block_put_u64(&rig->block, (uint16_t)key, value)
                                 : viv_block_put_u32(&rig->block, (uint16_t)key, (uint32_t)value);
    assert_int_equal(err, VIV_OK);
}

void rig_put_text(struct native_rig *rig, enum viv_native_key key, const char *text)
{
    assert_int_equal(viv_block_put_text(&rig->block, (uint16_t)key, text), VIV_OK);
}

void rig_sandbox(struct native_rig *rig, enum viv_native_sandbox level)
{
    rig_put_u64(rig, VIV_NATIVE_KEY_SANDBOX, level);
}

void rig_as_nobody(struct native_rig *rig)
{
    const uint32_t ids[2] = {65534, 65534};
    if (geteuid() != 0) return;
    assert_int_equal(viv_block_put(&rig->block, VIV_NATIVE_KEY_USER, ids, sizeof ids), VIV_OK);
}

enum viv_err rig_spawn(struct native_rig *rig, struct viv_native_spawned *out)
{
    struct viv_native_call call;
    viv_block_finish(&rig->block);
    viv_native_call_init(&call, &rig->ctx);
    enum viv_err err = viv_native_spawn(&call, rig->block.data, rig->block.len_bytes);
    if (err == VIV_E_AGAIN) err = viv_native_await(&call);
    rig->diag = call.diag;
    rig->named = call.named;
    if (err == VIV_OK && out != NULL) *out = call.spawned;
    return err;
}

struct viv_native_ref rig_start(struct native_rig *rig)
{
    struct viv_native_spawned spawned;
    const enum viv_err err = rig_spawn(rig, &spawned);
    if (err != VIV_OK) fail_msg("spawn: %s (%s)", viv_err_text(err), rig->diag.text);
    return (struct viv_native_ref){.kind = VIV_NATIVE_PID, .u.pid = spawned.pid};
}

static enum viv_err finish(struct viv_native_call *call, enum viv_err err,
                           struct viv_native_exit *out)
{
    if (err == VIV_E_AGAIN) err = viv_native_await(call);
    if (err == VIV_OK && out != NULL) *out = call->exit;
    return err;
}

enum viv_err rig_wait(struct native_rig *rig, const struct viv_native_ref *ref,
                      struct viv_native_exit *out)
{
    struct viv_native_call call;
    viv_native_call_init(&call, &rig->ctx);
    return finish(&call, viv_native_wait(&call, ref, RIG_TIMEOUT_NS), out);
}

enum viv_err rig_stop(struct native_rig *rig, const struct viv_native_ref *ref, uint64_t grace_ns,
                      struct viv_native_exit *out)
{
    struct viv_native_call call;
    viv_native_call_init(&call, &rig->ctx);
    return finish(&call, viv_native_stop_program(&call, ref, grace_ns, false), out);
}

enum viv_err rig_kill(struct native_rig *rig, const struct viv_native_ref *ref,
                      struct viv_native_exit *out)
{
    struct viv_native_call call;
    viv_native_call_init(&call, &rig->ctx);
    return finish(&call, viv_native_kill(&call, ref), out);
}

enum viv_err rig_write(struct native_rig *rig, const struct viv_native_ref *ref, const char *text)
{
    struct viv_native_call call;
    viv_native_call_init(&call, &rig->ctx);
    const struct viv_native_bytes bytes = {
        .data = text, .len = strlen(text), .all = true, .timeout_ns = RIG_TIMEOUT_NS};
    size_t taken;
    const enum viv_err err = viv_native_write(&call, ref, &bytes, &taken);
    return err == VIV_E_AGAIN ? viv_native_await(&call) : err;
}

void rig_status(struct native_rig *rig, const struct viv_native_ref *ref,
                struct viv_native_status *out)
{
    assert_int_equal(viv_native_status(&rig->ctx, ref, out), VIV_OK);
}

size_t rig_logs(struct native_rig *rig, const struct viv_native_ref *ref, uint32_t stream,
                char *out, size_t cap)
{
    struct viv_native_logs logs;
    assert_int_equal(viv_native_read_logs(&rig->ctx, ref, stream, out, cap - 1, &logs), VIV_OK);
    out[logs.len] = '\0';
    return logs.len;
}

void rig_run(struct native_rig *rig, struct viv_native_exit *out_exit, char *out, size_t cap)
{
    const struct viv_native_ref ref = rig_start(rig);
    assert_int_equal(rig_wait(rig, &ref, out_exit), VIV_OK);
    (void)rig_logs(rig, &ref, 1, out, cap);
    assert_int_equal(viv_native_release(&rig->ctx, &ref), VIV_OK);
}

enum viv_err rig_read_since(struct native_rig *rig, const struct viv_native_ref *ref,
                            const struct viv_native_read *read, struct viv_log_chunk *chunk)
{
    struct viv_native_call call;
    viv_native_call_init(&call, &rig->ctx);
    for (;;) {
        const uint32_t seen = atomic_load_explicit(call.word, memory_order_seq_cst);
        const enum viv_err err = viv_native_read_since(&call, ref, read, chunk);
        if (err != VIV_E_AGAIN) return err;
        viv_qsbr_offline(rig->member);
        viv_futex_wait(call.word, seen, 10 * VIV_NS_PER_MS);
        viv_qsbr_online(rig->member);
    }
}

void rig_sleep(struct native_rig *rig, uint64_t ns)
{
    viv_qsbr_offline(rig->member);
    viv_os_sleep_ns(ns);
    viv_qsbr_online(rig->member);
}

void rig_await_output(struct native_rig *rig, const struct viv_native_ref *ref, uint64_t bytes)
{
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    struct viv_native_status status;
    for (;;) {
        rig_status(rig, ref, &status);
        if (status.buffered[0] + status.evicted[0] + status.drained[0] >= bytes) return;
        if (viv_os_now_ns() > end_ns) fail_msg("no %llu bytes came", (unsigned long long)bytes);
        rig_sleep(rig, VIV_NS_PER_MS);
    }
}
