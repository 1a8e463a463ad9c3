// SPDX-License-Identifier: Apache-2.0
// A program in the foreground: its output is ours, byte for byte, our input is its own, and our
// signals are passed on. Threads: the main thread, which waits on `events`; one that reads our
// standard input, which blocks, and that nobody waits for.
#include "cli/exec.h"

#include "base/text.h"
#include "cli/cli.h"
#include "cli/run_audit.h"
#include "cli/run_policy.h"
#include "ctl/place.h"
#include "gen/holder_build.h"
#include "native/anchor.h"
#include "os/child.h"
#include "os/file.h"
#include "os/pty.h"
#include "os/signal.h"
#include "os/thread.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STOP_TIMEOUT_NS (5 * VIV_NS_PER_SEC)
enum { CHUNK_BYTES = 256 << 10, STATUS_NOT_EXECUTABLE = 126, STATUS_NOT_FOUND = 127 };

// Signal handlers need static storage; one program a `viv run`.
static _Atomic uint32_t events;
static _Atomic uint32_t last_signal;

struct exec {
    const struct viv_exec_options *options;
    struct viv_kernel *kernel;
    struct viv_room *room;
    struct viv_native *native;
    struct viv_env *env;
    struct viv_policy *policy;
    struct viv_run_audit audit;
    struct viv_native_ctx ctx;
    struct viv_native_ref ref;
    struct viv_tty_state tty_state;
    bool is_tty_raw, is_stopping;
    uint8_t *chunk;
    char holder[PATH_MAX];
    struct viv_ctl_place place;
    const char *state_dir; // in `place`; NULL: nothing is spilled
    const char *hides[3];  // in `place`: from sandboxed programs
};

// ---- our standard input ----

static void relay_input(void *arg)
{
    struct exec *exec = arg;
    struct viv_qsbr_member *member;
    uint8_t *buf = viv_try_alloc(CHUNK_BYTES, VIV_TAG_CLI);
    if (buf == NULL || viv_sched_enter(viv_kernel_sched(exec->kernel), &member) != VIV_OK) return;
    for (bool more = true; more;) {
        viv_qsbr_offline(member);
        const ssize_t n = viv_os_read(STDIN_FILENO, buf, CHUNK_BYTES);
        viv_qsbr_online(member);
        struct viv_native_call call;
        viv_native_call_init(&call, &exec->ctx);
        enum viv_err err = VIV_E_CLOSED;
        size_t taken;
        const struct viv_native_bytes bytes = {
            .data = buf, .len = (size_t)n, .all = true, .timeout_ns = VIV_FOREVER_NS};
        if (n > 0) err = viv_native_write(&call, &exec->ref, &bytes, &taken);
        if (err == VIV_E_AGAIN) err = viv_native_await(&call);
        more = err == VIV_OK;
    }
    VIV_IGNORE(viv_native_close_stdin(&exec->ctx, &exec->ref, false), "it has ended");
    viv_sched_leave(member);
    viv_free(buf, CHUNK_BYTES, VIV_TAG_CLI);
}

static void start_input(struct exec *exec)
{
    struct viv_thread *thread; // it ends with this program
    if (viv_thread_start("viv-stdin", 0, relay_input, exec, &thread) != VIV_OK)
        VIV_IGNORE(viv_native_close_stdin(&exec->ctx, &exec->ref, false), "without a reader");
}

// ---- its output ----

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        const ssize_t n = viv_os_write(fd, data, len);
        if (n == -EAGAIN) {
            (void)viv_os_poll_fd(fd, 4 /* POLLOUT */, -1);
            continue;
        }
        if (n < 0) return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

// Passes on what there is; false: the program has said its last.
static bool relay_output(struct exec *exec, uint32_t stream)
{
    struct viv_native_logs logs;
    do {
        if (viv_native_read_logs(&exec->ctx, &exec->ref, stream, exec->chunk, CHUNK_BYTES, &logs) !=
            VIV_OK)
            return false;
        struct viv_qsbr_member *member = viv_sched_member();
        viv_qsbr_offline(member); // a pager may keep us waiting
        const bool is_good =
            write_all(stream == 1 ? STDOUT_FILENO : STDERR_FILENO, exec->chunk, logs.len);
        viv_qsbr_online(member);
        if (!is_good) // nobody reads: the program is to feel it as in a pipeline
            VIV_IGNORE(viv_native_close_output(&exec->ctx, &exec->ref, stream), "it has ended");
    } while (logs.len > 0);
    return !logs.eof;
}

// ---- our signals ----

static void pass_signal(struct exec *exec, int signo)
{
    uint16_t rows, columns;
    const uint32_t seen_stop = exec->is_stopping;
    switch (signo) {
    case SIGWINCH:
        if (viv_os_pty_size(STDIN_FILENO, &rows, &columns) >= 0)
            VIV_IGNORE(viv_native_resize(&exec->ctx, &exec->ref, rows, columns), "no terminal");
        return;
    case SIGTSTP:
        VIV_IGNORE(viv_native_signal(&exec->ctx, &exec->ref, SIGTSTP, false), "it has ended");
        viv_os_stop_self();
        VIV_IGNORE(viv_native_signal(&exec->ctx, &exec->ref, SIGCONT, false), "it has ended");
        return;
    default:
        break;
    }
    exec->is_stopping = true;
    VIV_IGNORE(
        viv_native_order_stop(&exec->ctx, &exec->ref, signo, seen_stop ? 0 : VIV_NATIVE_OWN_GRACE),
        "it has ended");
}

// ---- the program ----

int viv_cli_spawn_failed(const struct viv_exec_options *options, enum viv_err err,
                         const struct viv_diag *diag)
{
    const int status = err == VIV_E_NOPROGRAM ? STATUS_NOT_FOUND
                       : err == VIV_E_NOEXEC  ? STATUS_NOT_EXECUTABLE
                                              : VIV_STATUS_FAILED;
    const bool has_detail = diag->text[0] != '\0';
    return viv_cli_error(status, "%.500s: %s%s%s%s", options->command, viv_err_text(err),
                         has_detail ? " (" : "", diag->text, has_detail ? ")" : "");
}

static int report(const struct exec *exec, const struct viv_native_exit *exit)
{
    const enum viv_native_cause cause = exit->cause;
    const int status = viv_native_exit_status(exit);
    char text[200];
    const struct viv_reason *reason = viv_native_reason(exit, NULL);
    (void)viv_reason_format(reason, text, sizeof text);
    viv_reason_drop(reason);
    if (cause != VIV_CAUSE_SELF && cause != VIV_CAUSE_STOP && cause != VIV_CAUSE_KERNEL_END)
        (void)viv_cli_error(status, "%.500s: %s", exec->options->command, text);
    return status;
}

// Waits for output, the end, and signals; relays until the end.
static int relay(struct exec *exec)
{
    struct viv_native_call data[2], end;
    bool is_open[2] = {true, true}, has_ended = false;
    for (int i = 0; i < 2; i++) {
        viv_native_call_init(&data[i], &exec->ctx);
        data[i].word = &events;
    }
    viv_native_call_init(&end, &exec->ctx);
    end.word = &events;
    has_ended = viv_native_wait(&end, &exec->ref, VIV_FOREVER_NS) != VIV_E_AGAIN;
    for (;;) {
        // Seq_cst throughout: `events` is read first, so that the wait below notices what comes
        // after.
        const uint32_t seen = atomic_load_explicit(&events, memory_order_seq_cst);
        for (uint32_t i = 0; i < 2; i++) {
            if (!is_open[i] || viv_native_poll(&data[i]) == VIV_E_AGAIN) continue;
            is_open[i] = relay_output(exec, i + 1);
            if (is_open[i] && viv_native_wait_output(&data[i], &exec->ref, i + 1) != VIV_E_AGAIN)
                atomic_fetch_add_explicit(&events, 1, memory_order_seq_cst); // there is more
        }
        has_ended = has_ended || viv_native_poll(&end) != VIV_E_AGAIN;
        if (has_ended && !is_open[0] && !is_open[1]) break;
        const uint32_t signals = atomic_exchange_explicit(&last_signal, 0, memory_order_seq_cst);
        if (signals != 0) pass_signal(exec, (int)signals);
        viv_run_audit_write(&exec->audit, viv_room_audit(exec->room), false);
        struct viv_qsbr_member *member = viv_sched_member();
        viv_qsbr_offline(member);
        viv_futex_wait(&events, seen, VIV_FOREVER_NS);
        viv_qsbr_online(member);
    }
    return report(exec, &end.exit);
}

static int spawn_and_relay(struct exec *exec)
{
    struct viv_native_call call;
    viv_native_call_init(&call, &exec->ctx);
    enum viv_err err =
        viv_native_spawn(&call, exec->options->block.data, exec->options->block.len_bytes);
    if (err == VIV_E_AGAIN) err = viv_native_await(&call);
    if (err != VIV_OK) return viv_cli_spawn_failed(exec->options, err, &call.diag);
    exec->ref = (struct viv_native_ref){.kind = VIV_NATIVE_PID, .u.pid = call.spawned.pid};
    if (exec->options->has_tty && viv_os_tty_save(STDIN_FILENO, &exec->tty_state) >= 0)
        exec->is_tty_raw = viv_os_pty_make_raw(STDIN_FILENO) >= 0;
    start_input(exec);
    const int status = relay(exec);
    if (exec->is_tty_raw)
        VIV_IGNORE(viv_os_tty_restore(STDIN_FILENO, &exec->tty_state), "the terminal is gone");
    return status;
}

// ---- the kernel under it ----

// Beside this program when it is not installed, else where `make install` puts it.
const char *viv_cli_holder(char buf[PATH_MAX])
{
    static const char *const places[] = {"viv-holder", "../libexec/viv/viv-holder"};
    char self[PATH_MAX];
    const ssize_t len = viv_os_readlinkat(AT_FDCWD, "/proc/self/exe", self, sizeof self - 1);
    self[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash == NULL) return VIV_HOLDER_PATH;
    *slash = '\0';
    for (size_t i = 0; i < VIV_COUNT_OF(places); i++) {
        const int n = snprintf(buf, PATH_MAX, "%s/%s", self, places[i]);
        struct stat stat;
        if (n > 0 && n < PATH_MAX && viv_os_fstatat(AT_FDCWD, buf, &stat, 0) == 0) return buf;
    }
    return VIV_HOLDER_PATH;
}

static enum viv_err reserve_record(void *arg)
{
    struct exec *exec = arg;
    return exec->options->audit != NULL ? viv_audit_file_reserve(&exec->audit.file) : VIV_OK;
}

// Where the daemon has its files, which stay out of sight, and where it may spill, if it does.
static bool find_state(struct exec *exec)
{
    struct viv_diag diag = {""};
    const bool is_found = viv_ctl_place_find(&exec->place, &diag) == VIV_OK;
    if (is_found) viv_ctl_place_hides(&exec->place, exec->hides);
    if (!viv_exec_options_spill(exec->options)) return true;
    if (is_found && viv_ctl_place_make_state(&exec->place, &diag) == VIV_OK) {
        exec->state_dir = exec->place.state_dir;
        return true;
    }
    (void)viv_cli_error(VIV_STATUS_FAILED, "run: --spill: %s", diag.text);
    return false;
}

static enum viv_err make_kernel(struct exec *exec)
{
    char cwd[PATH_MAX];
    const struct viv_kernel_config kernel = {.worker_count = 1};
    VIV_TRY(viv_kernel_new(&kernel, &exec->kernel));
    VIV_TRY(viv_room_open(exec->kernel, &exec->room));
    const struct viv_native_config config = {
        .kernel = exec->kernel,
        .cap = exec->room,
        .direct = true,
        .holder = viv_cli_holder(exec->holder),
        .state_dir = exec->state_dir,
        .hides = exec->hides,
        .audit = {.is_required = exec->options->audit_is_required,
                  .reserve = reserve_record,
                  .arg = exec}};
    VIV_TRY(viv_native_open(&config, &exec->native));
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    VIV_TRY(viv_env_new(exec->kernel, 1, &limits, &exec->env));
    VIV_TRY(viv_room_add_env(exec->room, exec->env, exec->policy));
    if (viv_os_getcwd(cwd, sizeof cwd) < 0) return VIV_E_NOTFOUND;
    VIV_TRY(viv_native_add_env(exec->native, exec->env, cwd));
    exec->ctx = (struct viv_native_ctx){
        .native = exec->native, .env = exec->env, .unit = "", .is_operator = exec->policy == NULL};
    return viv_kernel_start(exec->kernel);
}

static void free_kernel(struct exec *exec)
{
    if (exec->native != NULL) viv_native_stop(exec->native);
    if (exec->kernel != NULL)
        VIV_IGNORE(viv_kernel_stop(exec->kernel, STOP_TIMEOUT_NS), "nothing is left to lose");
    viv_run_audit_write(&exec->audit, exec->room != NULL ? viv_room_audit(exec->room) : NULL, true);
    viv_run_audit_close(&exec->audit);
}

static int run(struct exec *exec)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP};
    struct viv_qsbr_member *member;
    viv_os_ignore_sigpipe();
    VIV_IGNORE(viv_os_become_subreaper(), "orphans go to the system then");
    enum viv_err err = viv_os_on_signals(numbers, VIV_COUNT_OF(numbers), &last_signal, &events);
    if (err == VIV_OK) err = make_kernel(exec);
    if (err == VIV_OK) err = viv_sched_enter(viv_kernel_sched(exec->kernel), &member);
    if (err != VIV_OK)
        return viv_cli_error(VIV_STATUS_FAILED, "cannot start: %s", viv_err_text(err));
    const int status = spawn_and_relay(exec);
    viv_sched_leave(member);
    return status;
}

static bool make_policy(struct exec *exec)
{
    static const struct viv_scope_hooks hooks = {.open = viv_native_open_anchor};
    if (exec->options->policy_count == 0) return true;
    static struct viv_run_options options; // too large for a stack
    memcpy(options.policy, exec->options->policy, sizeof options.policy);
    options.policy_count = exec->options->policy_count;
    exec->policy = viv_run_policy_make(&options, &hooks);
    return exec->policy != NULL;
}

int viv_cli_exec(struct viv_exec_options *options)
{
    if (options->detach) return viv_cli_exec_detached(options);
    struct exec exec = {.options = options};
    if (!make_policy(&exec)) return VIV_STATUS_USAGE;
    if (!find_state(&exec)) return VIV_STATUS_FAILED;
    if (!viv_run_audit_open(&exec.audit, options->audit)) return VIV_STATUS_USAGE;
    enum viv_err err = viv_exec_options_add_caller(options);
    exec.chunk = viv_try_alloc(CHUNK_BYTES, VIV_TAG_CLI);
    if (err == VIV_OK && exec.chunk == NULL) err = VIV_E_EXHAUSTED;
    const int status =
        err == VIV_OK ? run(&exec)
                      : viv_cli_error(VIV_STATUS_FAILED, "cannot start: %s", viv_err_text(err));
    free_kernel(&exec);
    // The thread that reads our input may be at work still; the system takes the memory back.
    (void)fflush(NULL);
    _Exit(status);
}
