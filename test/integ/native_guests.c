// SPDX-License-Identifier: Apache-2.0
// See native_guests.h.
#include "native_guests.h"

#include "base/alloc.h"
#include "cap/policy.h"
#include "harness/check.h"
#include "native/anchor.h"
#include "os/file.h"
#include "wasm/compile.h"
#include "wasm/spawn.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void on_ended(void *arg, viv_pid pid, const struct viv_reason *reason)
{
    struct guests *guests = arg;
    for (uint32_t i = 0; i < GUESTS_MAX; i++) {
        struct guest *guest = &guests->all[i];
        if (atomic_load(&guest->pid) != pid.w) continue;
        guest->kind = viv_reason_kind(reason);
        guest->code = viv_reason_code(reason);
        (void)viv_reason_format(reason, guest->text, sizeof guest->text);
        atomic_store(&guest->ended, 1);
    }
}

static void on_settled(void *arg, enum viv_err err, viv_pid pid, const char *text)
{
    struct guest *guest = arg;
    guest->birth_err = err;
    if (err == VIV_OK) {
        atomic_store(&guest->pid, pid.w);
        return;
    }
    (void)snprintf(guest->text, sizeof guest->text, "%s", text);
    atomic_store(&guest->ended, 1);
}

static enum viv_err open_pattern(void *arg, enum viv_scope_type type, const char *path, size_t len,
                                 struct viv_anchor **out_anchor, struct viv_diag *diag)
{
    (void)arg;
    if (type != VIV_SCOPE_COMMAND) return VIV_OK;
    return viv_native_open_anchor(arg, type, path, len, out_anchor, diag);
}

static struct viv_policy *make_policy(const char *text)
{
    static const struct viv_scope_hooks hooks = {.open = open_pattern};
    struct viv_policy *policy;
    struct viv_policy_error error;
    CHECK(viv_policy_new(&policy) == VIV_OK);
    const struct viv_policy_source source = {
        .text = text, .len_bytes = strlen(text), .hooks = &hooks};
    if (viv_policy_parse(policy, &source, &error) != VIV_OK) fail_msg("%s", error.diag.text);
    return policy;
}

static void open_rooms(struct guests *guests, const struct viv_policy *policy)
{
    static char holder[512];
    struct viv_env_limits limits;
    const char *build_dir = getenv("VIV_BUILD_DIR");
    (void)snprintf(holder, sizeof holder, "%s/viv-holder",
                   build_dir != NULL ? build_dir : "build/dev");
    CHECK(viv_room_open(guests->kernel, &guests->room) == VIV_OK);
    const struct viv_native_config native = {
        .kernel = guests->kernel, .cap = guests->room, .direct = true, .holder = holder};
    CHECK(viv_native_open(&native, &guests->native) == VIV_OK);
    viv_env_limits_default(&limits);
    struct viv_env **const envs[] = {&guests->env, &guests->other_env};
    for (uint32_t i = 0; i < VIV_COUNT_OF(envs); i++) {
        CHECK(viv_env_new(guests->kernel, i + 1, &limits, envs[i]) == VIV_OK);
        CHECK(viv_room_add_env(guests->room, *envs[i], policy) == VIV_OK);
        CHECK(viv_native_add_env(guests->native, *envs[i], ".") == VIV_OK);
    }
}

struct guests *guests_open(uint32_t workers, const char *policy_text)
{
    struct guests *guests = calloc(1, sizeof *guests);
    CHECK(guests != NULL);
    guests->fds = count_fds();
    guests->bytes = viv_alloc_live_bytes_all();
    const struct viv_kernel_config config = {.worker_count = workers};
    CHECK(viv_kernel_new(&config, &guests->kernel) == VIV_OK);
    struct viv_policy *policy = policy_text != NULL ? make_policy(policy_text) : NULL;
    open_rooms(guests, policy);
    viv_policy_free(policy);
    const struct viv_guest_module *const modules[] = {viv_native_guest_module(guests->native)};
    const struct viv_runtime_config runtime = {.kernel = guests->kernel,
                                               .room = guests->room,
                                               .guest_modules = modules,
                                               .guest_module_count = 1};
    CHECK(viv_runtime_new(&runtime, &guests->runtime) == VIV_OK);
    viv_kernel_on_ended(guests->kernel, on_ended, guests);
    CHECK(viv_kernel_start(guests->kernel) == VIV_OK);
    return guests;
}

void guests_close(struct guests *guests)
{
    for (size_t i = 0; i < guests->module_count; i++)
        viv_module_drop(guests->modules[i]);
    viv_native_stop(guests->native);
    CHECK(viv_kernel_stop(guests->kernel, GUEST_SECONDS * VIV_NS_PER_SEC) == VIV_OK);
    viv_room_close(guests->room);
    viv_runtime_free(guests->runtime);
    viv_native_close(guests->native);
    viv_kernel_free(guests->kernel);
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    assert_int_equal(count_fds(), guests->fds);
    assert_int_equal(viv_alloc_live_bytes_all(), guests->bytes);
    free(guests);
}

struct viv_module *guests_load(struct guests *guests, const char *file, const char *unit)
{
    char path[512];
    uint8_t *bytes;
    size_t len;
    struct viv_diag diag = {{0}};
    check_guest_path(file, path, sizeof path);
    CHECK(viv_os_read_file(path, 64u << 20, VIV_TAG_MODULE, &bytes, &len, &diag) == VIV_OK);
    const struct viv_module_source source = {
        .name = unit, .bytes = bytes, .len_bytes = len, .mode = VIV_WASM_MANY};
    struct viv_module *module;
    if (viv_compile_source(viv_runtime_wasm(guests->runtime), &source, false, &module, &diag) !=
        VIV_OK)
        fail_msg("%s: %s", file, diag.text);
    CHECK(guests->module_count < VIV_COUNT_OF(guests->modules));
    guests->modules[guests->module_count++] = module;
    return module;
}

static struct viv_qsbr_member *enter(struct guests *guests)
{
    struct viv_qsbr_member *member;
    CHECK(viv_sched_enter(viv_kernel_sched(guests->kernel), &member) == VIV_OK);
    return member;
}

struct guest *guests_start(struct guests *guests, struct viv_env *env, struct viv_module *module,
                           const char *arg)
{
    CHECK(guests->count < GUESTS_MAX);
    struct guest *guest = &guests->all[guests->count++];
    struct viv_config *config = viv_config_new();
    CHECK(config != NULL);
    config->rights = VIV_RIGHT_ALL;
    CHECK(viv_config_add_arg(config, "guest", 5) == VIV_OK);
    CHECK(viv_config_add_arg(config, arg, strlen(arg)) == VIV_OK);
    struct viv_qsbr_member *member = enter(guests);
    if (guests->fail_alloc_nth > 0) viv_alloc_fail_nth_global(guests->fail_alloc_nth);
    guests->fail_alloc_nth = 0;
    const struct viv_program program = {.env = env,
                                        .module = module,
                                        .config = config,
                                        .entry = "_start",
                                        .settled = on_settled,
                                        .arg = guest};
    const enum viv_err err = viv_runtime_start(guests->runtime, &program, NULL);
    if (err != VIV_OK) on_settled(guest, err, VIV_PID_NONE, "not started");
    viv_sched_leave(member);
    viv_config_drop(config);
    return guest;
}

void guests_wait(struct guest *guest)
{
    CHECK_WAIT(atomic_load(&guest->ended) != 0, GUEST_SECONDS, {});
}

void guests_expect(struct guest *guest)
{
    guests_wait(guest);
    if (guest->birth_err != VIV_OK || guest->kind != VIV_REASON_NORMAL)
        fail_msg("the guest ended with %s (an exit status is the line of its check)", guest->text);
}

void guests_kill(struct guests *guests, struct guest *guest)
{
    struct viv_qsbr_member *member = enter(guests);
    CHECK(viv_proc_kill(guests->env, (viv_pid){atomic_load(&guest->pid)}));
    viv_sched_leave(member);
}

size_t guests_programs(struct guests *guests)
{
    enum { MANY = 64 };
    struct viv_native_item items[MANY];
    const struct viv_native_ctx ctx = {
        .native = guests->native, .env = guests->env, .unit = "", .is_operator = true};
    const struct viv_native_page page = {.max = MANY, .out_items = items};
    struct viv_qsbr_member *member = enter(guests);
    const size_t count = viv_native_list(&ctx, &page);
    viv_sched_leave(member);
    return count;
}
