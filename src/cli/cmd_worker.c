// SPDX-License-Identifier: Apache-2.0
// `viv worker`: a durable worker, and a kernel for its programs, in this process. Threads: the main
// thread, which waits for signals and, with --once, for nothing to be left; others write lines.
#include "cli/cmd_worker.h"

#include "cli/job.h"
#include "cli/worker_door.h"
#include "cli/worker_kernel.h"
#include "ctl/durable.h"
#include "ctl/launch_native.h"
#include "ctl/launch_wasm.h"
#include "os/file.h"
#include "os/local.h"
#include "os/signal.h"
#include "os/thread.h"
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_NS (50 * VIV_NS_PER_MS)
#define RETRY_NS (50 * VIV_NS_PER_MS)
#define RETRY_NS_MAX (5 * VIV_NS_PER_SEC)
enum { SLOTS = 64, TTL_MS_MIN = 3000, NODE_BYTES = 256 };

// Signal handlers need static storage; one worker a program.
static _Atomic uint32_t events;
static _Atomic uint32_t last_signal;

struct worker {
    struct viv_job job;
    uint64_t slots, ttl_ns, drain_ns; // UINT64_MAX: not given
    struct viv_cli_list queues, kinds;
    const char *node, *tier;
    bool once, shows_lines;
    enum viv_tier least;
    _Atomic bool has_store_failed;
    struct viv_worker_kernel kernel;
    struct viv_worker_door *door;
    struct viv_launch_native *launch;
    struct viv_launch_wasm *modules;
    struct viv_worker *worker;
    char host[NODE_BYTES];
};

// ---- lines ----

// With one write each, since several threads have lines.
static void print_json(const struct viv_launch_event *event)
{
    struct viv_buf line;
    json_t *value = json_object();
    viv_json_put(&value, "event", json_string(event->is_end ? "ended" : "started"));
    viv_json_put(&value, "id", viv_job_text(event->id));
    viv_json_put(&value, "attempt", json_integer(event->attempt));
    if (event->os_pid > 0) viv_json_put(&value, "os_pid", json_integer(event->os_pid));
    if (event->is_end) viv_json_put(&value, "reason", json_string(event->reason));
    viv_buf_init(&line, VIV_TAG_CLI);
    if (value != NULL && viv_json_write(value, &line) == VIV_OK &&
        viv_buf_append(&line, "\n", 1) == VIV_OK) {
        (void)fwrite(line.data, 1, line.len_bytes, stdout);
        (void)fflush(stdout);
    }
    viv_buf_deinit(&line);
    json_decref(value);
}

static void note_run(void *arg, const struct viv_launch_event *event)
{
    const struct worker *self = arg;
    if (self->job.json) print_json(event);
    if (!self->shows_lines) return;
    (void)viv_cli_error(0, "%.*s attempt %" PRIu32 " %s%.300s", (int)event->id.n, event->id.p,
                        event->attempt, event->is_end ? "ended: " : "started",
                        event->is_end ? event->reason : "");
}

// What a service manager waits for; without one nobody is told.
static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    if (path != NULL && (path[0] == '/' || path[0] == '@'))
        VIV_IGNORE(viv_os_local_tell(path, text), "it is late then, not wrong");
}

static void note_change(void *arg)
{
    const struct worker *self = arg;
    viv_durable_poke(self->kernel.durable);
}

// ---- the worker ----

static size_t list_of(const struct viv_cli_list *from, struct viv_str *to)
{
    for (size_t i = 0; i < from->count; i++)
        to[i] = viv_job_str(from->items[i]);
    return from->count;
}

static void note_failure(void *arg)
{
    struct worker *self = arg;
    // Seq_cst: as where signals are counted.
    atomic_store_explicit(&self->has_store_failed, true, memory_order_seq_cst);
    atomic_fetch_add_explicit(&events, 1, memory_order_seq_cst);
    viv_futex_wake(&events, UINT32_MAX);
}

// Waits for signals: the first drains, a second one does not wait for it. Or for the store to fail.
static void wait_for_end(struct worker *self)
{
    bool is_draining = false;
    for (;;) {
        // Seq_cst: read first, so that the wait below notices what comes after.
        const uint32_t seen = atomic_load_explicit(&events, memory_order_seq_cst);
        if (atomic_exchange_explicit(&last_signal, 0, memory_order_seq_cst) != 0) {
            viv_worker_drain(self->worker,
                             is_draining ? 0 : (int64_t)(self->drain_ns / VIV_NS_PER_MS));
            if (!is_draining) notify("STOPPING=1");
            is_draining = true;
        }
        if (atomic_load_explicit(&self->has_store_failed, memory_order_seq_cst)) return;
        if (is_draining && viv_launch_native_count(self->launch) == 0 &&
            viv_launch_wasm_count(self->modules) == 0)
            return;
        if (self->once && viv_worker_is_idle(self->worker)) return;
        viv_futex_wait(&events, seen, is_draining || self->once ? LOOK_NS : VIV_FOREVER_NS);
    }
}

static int run_worker(struct worker *self)
{
    struct viv_str queues[VIV_CLI_LIST_MAX], kinds[VIV_CLI_LIST_MAX];
    struct viv_launcher launchers[2];
    struct viv_diag diag = {""};
    viv_launch_native_describe(self->launch, &launchers[0]);
    viv_launch_wasm_describe(self->modules, &launchers[1]);
    const struct viv_worker_opts opts = {
        .owner_id = viv_job_str(self->node != NULL ? self->node : self->host),
        .slots = (uint32_t)self->slots,
        .ttl_ms = self->ttl_ns == UINT64_MAX ? 0 : (int64_t)(self->ttl_ns / VIV_NS_PER_MS),
        .queues = queues,
        .queue_count = list_of(&self->queues, queues),
        .kinds = kinds,
        .kind_count = list_of(&self->kinds, kinds),
        .changed = note_change,
        .changed_arg = self,
        .launchers = launchers,
        .launcher_count = VIV_COUNT_OF(launchers),
        .store_failed = note_failure,
        .failed_arg = self};
    enum viv_err err = viv_worker_new(self->job.store, &opts, &self->worker, &diag);
    if (err != VIV_OK)
        return viv_job_refuse(&self->job, VIV_STATUS_USAGE, err, "%s",
                              diag.text[0] != '\0' ? diag.text : viv_err_text(err));
    err = viv_worker_start(self->worker);
    if (err == VIV_OK) {
        notify("READY=1");
        wait_for_end(self);
    }
    viv_worker_free(self->worker); // what is left is given back
    return err == VIV_OK ? VIV_STATUS_OK : viv_job_failed(&self->job, err);
}

// After the device or the file of the store failed: opened again, later and later, until it works
// or somebody wants the end.
static bool open_again(struct worker *self)
{
    uint64_t wait_ns = RETRY_NS;
    (void)viv_cli_error(0, "the store failed; it is opened again");
    for (;;) {
        const uint32_t seen = atomic_load_explicit(&events, memory_order_seq_cst);
        if (atomic_load_explicit(&last_signal, memory_order_seq_cst) != 0) return false;
        viv_futex_wait(&events, seen, wait_ns);
        wait_ns = viv_min_u64(2 * wait_ns, RETRY_NS_MAX);
        viv_store_close(self->job.store);
        self->job.store = NULL;
        const struct viv_store_opts opts = {.create = false};
        if (viv_store_open(viv_job_str(self->job.found_url), &opts, &self->job.store, NULL) ==
                VIV_OK &&
            viv_store_tier(self->job.store) >= self->least)
            break;
    }
    atomic_store_explicit(&self->has_store_failed, false, memory_order_seq_cst);
    return true;
}

// With a kernel of its own: what it has of the store ends before that is closed.
static int run_on_store(struct worker *self)
{
    struct viv_diag diag = {""};
    enum viv_err err = viv_worker_kernel_open(&self->kernel, self->job.store);
    if (err == VIV_OK) err = viv_worker_door_open(self->job.store, &self->door, &diag);
    struct viv_launch_config config = {
        .kernel = self->kernel.kernel,
        .native = self->kernel.native,
        .env = self->kernel.env,
        .ttl_ms = self->ttl_ns == UINT64_MAX ? 0 : (int64_t)(self->ttl_ns / VIV_NS_PER_MS),
        .told = note_run,
        .arg = self};
    const struct viv_launch_wasm_config modules = {.kernel = self->kernel.kernel,
                                                   .cap = self->kernel.cap,
                                                   .env = self->kernel.env,
                                                   .runtime = self->kernel.runtime,
                                                   .store = self->job.store,
                                                   .is_quiet = self->job.json,
                                                   .told = note_run,
                                                   .arg = self};
    if (err == VIV_OK) viv_worker_door_describe(self->door, &config.door);
    if (err == VIV_OK) err = viv_launch_native_open(&config, &self->launch);
    if (err == VIV_OK) err = viv_launch_wasm_open(&modules, &self->modules);
    const int status = err == VIV_OK
                           ? run_worker(self)
                           : viv_job_refuse(&self->job, VIV_STATUS_FAILED, err, "cannot start: %s",
                                            diag.text[0] != '\0' ? diag.text : viv_err_text(err));
    viv_launch_wasm_close(self->modules);
    viv_launch_native_close(self->launch);
    viv_worker_door_close(self->door);
    viv_worker_kernel_close(&self->kernel);
    self->modules = NULL;
    self->launch = NULL;
    self->door = NULL;
    return status;
}

static int run(struct worker *self)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    viv_os_ignore_sigpipe();
    const enum viv_err err =
        viv_os_on_signals(numbers, VIV_COUNT_OF(numbers), &last_signal, &events);
    if (err != VIV_OK)
        return viv_job_refuse(&self->job, VIV_STATUS_FAILED, err, "cannot start: %s",
                              viv_err_text(err));
    for (;;) {
        const int status = run_on_store(self);
        // Seq_cst: as it is set.
        if (!atomic_load_explicit(&self->has_store_failed, memory_order_seq_cst)) return status;
        if (!open_again(self)) return VIV_JOB_UNAVAILABLE;
    }
}

// ---- the command ----

static int check(struct worker *self, enum viv_tier *out_tier)
{
    static const char *const tiers[] = {"inline", "process", "durable"};
    const struct viv_job *job = &self->job;
    *out_tier = VIV_TIER_DURABLE;
    if (self->slots > 10000)
        return viv_job_refuse(job, VIV_STATUS_USAGE, VIV_E_INVAL, "--slots: 10000 at most");
    if (self->ttl_ns / VIV_NS_PER_MS < TTL_MS_MIN)
        return viv_job_refuse(job, VIV_STATUS_USAGE, VIV_E_INVAL, "--ttl: 3s at least");
    if (gethostname(self->host, sizeof self->host - 1) != 0 || self->host[0] == '\0')
        (void)snprintf(self->host, sizeof self->host, "localhost");
    if (self->tier == NULL) return VIV_STATUS_OK;
    for (size_t i = 0; i < VIV_COUNT_OF(tiers); i++) {
        if (strcmp(self->tier, tiers[i]) != 0) continue;
        *out_tier = (enum viv_tier)i;
        return VIV_STATUS_OK;
    }
    return viv_job_refuse(job, VIV_STATUS_USAGE, VIV_E_INVAL,
                          "--tier: want durable, process or inline");
}

int viv_cli_worker(int count, char **args)
{
    static struct worker self; // too large for a stack
    self = (struct worker){.job = {.command = "worker"},
                           .slots = SLOTS,
                           .ttl_ns = UINT64_MAX,
                           .drain_ns = 30 * VIV_NS_PER_SEC};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(self.job),
                                           {"slots", 0, VIV_CLI_COUNT, &self.slots},
                                           {"ttl", 0, VIV_CLI_DURATION, &self.ttl_ns},
                                           {"queue", 0, VIV_CLI_LIST, &self.queues},
                                           {"kind", 0, VIV_CLI_LIST, &self.kinds},
                                           {"drain", 0, VIV_CLI_DURATION, &self.drain_ns},
                                           {"node", 0, VIV_CLI_TEXT, &self.node},
                                           {"tier", 0, VIV_CLI_TEXT, &self.tier},
                                           {"once", 0, VIV_CLI_FLAG, &self.once}};
    const struct viv_cli_command command = {"worker", table, VIV_COUNT_OF(table), 0, 0, "no words"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    self.shows_lines = !self.job.json && viv_os_isatty(STDERR_FILENO);
    int status = check(&self, &self.least);
    if (status != VIV_STATUS_OK) return status;
    // Only the default is made: another that is not there was mistyped.
    const char *other = getenv("VIV_STORE");
    status = viv_job_open(&self.job, self.job.url == NULL && (other == NULL || other[0] == '\0'));
    if (status == VIV_STATUS_OK && viv_store_tier(self.job.store) < self.least)
        status = viv_job_refuse(&self.job, VIV_STATUS_FAILED, VIV_STORE_TIER,
                                "the store keeps less than a disk does (--tier allows it)");
    if (status == VIV_STATUS_OK && viv_store_refusal(self.job.store) != VIV_OK)
        status = viv_job_refuse(&self.job, VIV_JOB_UNAVAILABLE, viv_store_refusal(self.job.store),
                                "%.300s: the store is of a newer version", self.job.found_url);
    if (status == VIV_STATUS_OK) status = run(&self);
    viv_job_close(&self.job);
    return status;
}
