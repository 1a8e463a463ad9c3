// SPDX-License-Identifier: Apache-2.0
// The daemon's life: lock, socket, kernel, and the wait for its end. The words of the signal
// handlers are global, since a handler has no argument; one daemon a program.
#include "ctl/daemon.h"

#include "base/log.h"
#include "ctl/programs.h"
#include "ctl/server.h"
#include "native/audit_file.h"
#include "os/child.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/signal.h"
#include "os/thread.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LAST_WORDS_NS (2 * VIV_NS_PER_SEC) // to clients, at the end
#define KERNEL_STOP_NS (5 * VIV_NS_PER_SEC)

static _Atomic uint32_t events;
static _Atomic uint32_t last_signal;

struct daemon {
    const struct viv_ctl_daemon_config *config;
    int lock_fd, socket_fd;
    struct viv_kernel *kernel;
    struct viv_room *cap;
    struct viv_native *native;
    struct viv_env *env;
    struct viv_qsbr_member *member;
    struct viv_ctl_programs programs;
    struct viv_ctl_server *server;
    struct viv_audit_file audit;
    bool has_audit;     // it was opened
    bool is_audit_good; // all that came could be written; the main thread's
    uint64_t began_ns;
    const char *hides[3]; // from sandboxed programs
};

// ---- the beginning ----

// The socket of a daemon that is dead is removed; of one that lives, the lock is held.
static enum viv_err take_place(struct daemon *daemon, struct viv_diag *diag)
{
    const struct viv_ctl_place *place = daemon->config->place;
    VIV_TRY(viv_ctl_place_make(place, diag));
    daemon->lock_fd = viv_os_open(place->lock, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (daemon->lock_fd < 0)
        return viv_diag_set(diag, VIV_E_IO, "%.300s: %s", place->lock, strerror(-daemon->lock_fd));
    const int r = viv_os_lock_file(daemon->lock_fd);
    if (r == -EWOULDBLOCK)
        return viv_diag_set(diag, VIV_E_BUSY, "another daemon runs already (%.300s)",
                            place->socket);
    if (r < 0) return viv_diag_set(diag, VIV_E_IO, "%.300s: %s", place->lock, strerror(-r));
    VIV_IGNORE(viv_os_unlinkat(AT_FDCWD, place->socket, 0), "there may be none");
    daemon->socket_fd = viv_os_local_listen(place->socket);
    if (daemon->socket_fd < 0)
        return viv_diag_set(diag, VIV_E_IO, "%.300s: %s", place->socket,
                            strerror(-daemon->socket_fd));
    return VIV_OK;
}

// ---- the audit file: spawner threads set room aside, the main thread writes ----

static enum viv_err reserve_record(void *arg)
{
    struct daemon *daemon = arg;
    return daemon->has_audit ? viv_audit_file_reserve(&daemon->audit) : VIV_OK;
}

static void wake(void *arg)
{
    (void)arg;
    atomic_fetch_add_explicit(&events, 1, memory_order_seq_cst); // read before the wait for it
    viv_futex_wake(&events, UINT32_MAX);
}

static enum viv_err open_audit(struct daemon *daemon, struct viv_diag *diag)
{
    const char *path = daemon->config->audit;
    if (path == NULL) return VIV_OK;
    const int r = viv_audit_file_open(&daemon->audit, path, false);
    if (r < 0) return viv_diag_set(diag, VIV_E_IO, "%.300s: %s", path, strerror(-r));
    daemon->has_audit = daemon->is_audit_good = true;
    return VIV_OK;
}

static void write_audit(struct daemon *daemon, bool last)
{
    if (!daemon->is_audit_good) return;
    if (last) viv_audit_flush(viv_room_audit(daemon->cap));
    const int r = viv_audit_file_drain(&daemon->audit, viv_room_audit(daemon->cap));
    if (r == 0) return;
    VIV_LOG(VIV_LOG_ERROR, "daemon: the audit file %s is not written any more: %s",
            daemon->config->audit, strerror(-r));
    daemon->is_audit_good = false;
}

// What outlived the last daemon is there before anybody can ask.
static enum viv_err rejoin(struct daemon *daemon)
{
    uint32_t count;
    VIV_TRY(viv_native_rejoin(daemon->native, daemon->env, &count));
    if (count > 0)
        VIV_LOG(VIV_LOG_INFO, "daemon: took back %u programs that outlived the last one", count);
    return VIV_OK;
}

// One environment, of the user: its programs share what a kernel may have.
static enum viv_err make_kernel(struct daemon *daemon)
{
    static const struct viv_native_quota all = {16384, 131072, UINT64_C(8) << 30, 4096};
    const struct viv_ctl_place *place = daemon->config->place;
    const struct viv_kernel_config kernel = {.worker_count = 0};
    struct viv_diag diag = {""};
    char hold_dir[VIV_CTL_DIR_MAX + 16];
    (void)snprintf(hold_dir, sizeof hold_dir, "%s/hold", place->dir);
    if (viv_ctl_place_make_state(place, &diag) != VIV_OK)
        VIV_LOG(VIV_LOG_WARN, "daemon: nothing can be spilled: %s", diag.text);
    viv_ctl_place_hides(place, daemon->hides);
    VIV_TRY(viv_kernel_new(&kernel, &daemon->kernel));
    VIV_TRY(viv_room_open(daemon->kernel, &daemon->cap));
    const struct viv_native_config config = {
        .kernel = daemon->kernel,
        .cap = daemon->cap,
        .direct = true,
        .holder = daemon->config->holder,
        .state_dir = place->state_dir,
        .hold_dir = hold_dir,
        .hides = daemon->hides,
        .held_ok = daemon->config->held_ok,
        .audit = {.is_required = daemon->config->audit_is_required,
                  .reserve = reserve_record,
                  .written = daemon->has_audit ? wake : NULL,
                  .arg = daemon},
        .scope = all,
        .environment = all,
        .total = all};
    VIV_TRY(viv_native_open(&config, &daemon->native));
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    VIV_TRY(viv_env_new(daemon->kernel, 1, &limits, &daemon->env));
    VIV_TRY(viv_room_add_env(daemon->cap, daemon->env, NULL));
    VIV_TRY(viv_native_add_env(daemon->native, daemon->env, daemon->config->root));
    VIV_TRY(viv_kernel_start(daemon->kernel));
    VIV_TRY(rejoin(daemon));
    return viv_sched_enter(viv_kernel_sched(daemon->kernel), &daemon->member);
}

static enum viv_err serve(struct daemon *daemon)
{
    daemon->programs.cap = daemon->cap;
    daemon->programs.native = daemon->native;
    daemon->programs.env = daemon->env;
    daemon->programs.word = &events;
    const struct viv_ctl_server_config config = {.kernel = daemon->kernel,
                                                 .env = daemon->env,
                                                 .fd = daemon->socket_fd,
                                                 .verbs = viv_ctl_program_verbs,
                                                 .verb_count = viv_ctl_program_verb_count,
                                                 .service = &daemon->programs,
                                                 .uid = geteuid()};
    VIV_TRY(viv_ctl_server_open(&config, &daemon->server));
    daemon->socket_fd = -1; // the server's
    return VIV_OK;
}

// ---- until it ends ----

static bool has_programs(const struct daemon *daemon)
{
    struct viv_native_item item;
    const struct viv_native_ctx ctx = {
        .native = daemon->native, .env = daemon->env, .unit = "", .is_operator = true};
    return viv_native_list(&ctx, &(struct viv_native_page){.max = 1, .out_items = &item}) > 0;
}

// Looked at once in an idle time, so it ends between one and two of them after the last use.
static bool is_idle(const struct daemon *daemon)
{
    const uint64_t quiet_ns =
        viv_max_u64(daemon->began_ns, viv_ctl_server_quiet_ns(daemon->server));
    return viv_ctl_server_conns(daemon->server) == 0 && !has_programs(daemon) &&
           viv_os_now_ns() - quiet_ns >= daemon->config->idle_ns;
}

static const char *wait_for_end(struct daemon *daemon)
{
    for (;;) {
        // Seq_cst: read first, so that the wait below notices what comes after.
        const uint32_t seen = atomic_load_explicit(&events, memory_order_seq_cst);
        if (atomic_load_explicit(&last_signal, memory_order_seq_cst) != 0) return "a signal";
        if (atomic_load_explicit(&daemon->programs.wants_end, memory_order_seq_cst))
            return "a request";
        const uint64_t from_ns = viv_os_now_ns();
        viv_qsbr_offline(daemon->member);
        write_audit(daemon, false);
        viv_futex_wait(&events, seen, daemon->config->idle_ns);
        viv_qsbr_online(daemon->member);
        const bool is_time = viv_os_now_ns() - from_ns >= daemon->config->idle_ns;
        if (is_time && is_idle(daemon)) return "idleness";
    }
}

static void say_last_words(struct daemon *daemon)
{
    struct viv_qsbr_member *member;
    if (daemon->server == NULL ||
        viv_sched_enter(viv_kernel_sched(daemon->kernel), &member) != VIV_OK)
        return;
    viv_ctl_server_stop(daemon->server, LAST_WORDS_NS);
    viv_sched_leave(member);
}

// In an order in which clients that wait for a program are told of its end.
static void end(struct daemon *daemon)
{
    if (daemon->lock_fd >= 0 && daemon->kernel != NULL)
        VIV_IGNORE(viv_os_unlinkat(AT_FDCWD, daemon->config->place->socket, 0), "it may be gone");
    if (daemon->member != NULL) {
        viv_sched_leave(daemon->member); // the stop of the programs waits as a stranger
        viv_native_stop(daemon->native);
        say_last_words(daemon);
    }
    if (daemon->kernel != NULL)
        VIV_IGNORE(viv_kernel_stop(daemon->kernel, KERNEL_STOP_NS), "the program ends");
    if (daemon->cap != NULL) write_audit(daemon, true);
    if (daemon->has_audit) viv_audit_file_close(&daemon->audit);
    if (daemon->cap != NULL) viv_room_close(daemon->cap);
    if (daemon->native != NULL) viv_native_close(daemon->native);
    if (daemon->server != NULL) viv_ctl_server_close(daemon->server);
    if (daemon->kernel != NULL) viv_kernel_free(daemon->kernel);
    if (daemon->socket_fd >= 0) VIV_IGNORE(viv_os_close(daemon->socket_fd), "a socket");
    if (daemon->lock_fd >= 0) VIV_IGNORE(viv_os_close(daemon->lock_fd), "the lock goes with it");
}

enum viv_err viv_ctl_daemon_run(const struct viv_ctl_daemon_config *config, struct viv_diag *diag)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    struct daemon daemon = {.config = config, .lock_fd = -1, .socket_fd = -1};
    viv_os_ignore_sigpipe();
    VIV_IGNORE(viv_os_become_subreaper(), "orphans go to the system then");
    diag->text[0] = '\0';
    enum viv_err err = viv_os_on_signals(numbers, VIV_COUNT_OF(numbers), &last_signal, &events);
    if (err == VIV_OK) err = take_place(&daemon, diag);
    if (err == VIV_OK) err = open_audit(&daemon, diag);
    if (err == VIV_OK) err = make_kernel(&daemon);
    if (err == VIV_OK) err = serve(&daemon);
    if (err == VIV_OK) {
        daemon.began_ns = viv_os_now_ns();
        VIV_LOG(VIV_LOG_INFO, "daemon: ready at %s", config->place->socket);
        config->ready(config->arg);
        const char *by = wait_for_end(&daemon);
        VIV_LOG(VIV_LOG_INFO, "daemon: ended by %s", by);
    }
    end(&daemon);
    return err;
}
