// SPDX-License-Identifier: Apache-2.0
// Accepting, counting, and the end. The listener is a process like any other; without descriptors
// or memory it tries again a little later.
#include "ctl/conn_int.h"

#include "base/log.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/local.h"
#include "os/thread.h"
#include "proc/host.h"
#include <errno.h>
#include <string.h>

#define RETRY_NS (100 * VIV_NS_PER_MS)
enum { ACCEPTS_A_TURN = 16 };

struct listener {
    struct viv_ctl_server *server;
    struct viv_proc *proc;
    struct viv_io_wait wait;
};

// ---- who is there ----

void viv_ctl__server_enter(struct viv_ctl_server *server, bool is_conn)
{
    // Relaxed: counts; who waits for none of them does so by the release below.
    atomic_fetch_add_explicit(&server->procs, 1, memory_order_relaxed);
    if (is_conn) atomic_fetch_add_explicit(&server->conns, 1, memory_order_relaxed);
}

void viv_ctl__server_leave(struct viv_ctl_server *server, bool is_conn)
{
    _Atomic uint32_t *word = server->config.word;
    if (is_conn) {
        // Relaxed: a clock as of about now.
        atomic_store_explicit(&server->quiet_ns, viv_sched_now_ns(server->sched),
                              memory_order_relaxed);
        // Release: who sees none sees when that was.
        const bool is_last =
            atomic_fetch_sub_explicit(&server->conns, 1, memory_order_release) == 1;
        if (is_last && word != NULL) {
            atomic_fetch_add_explicit(word, 1, memory_order_seq_cst); // pairs with who waits
            viv_futex_wake(word, UINT32_MAX);
        }
    }
    // Release pairs with the acquire of the stop: the server may be freed after the last. Nothing
    // of it is touched but the address, which waiters compare.
    atomic_fetch_sub_explicit(&server->procs, 1, memory_order_release);
    viv_futex_wake(&server->procs, UINT32_MAX);
}

uint32_t viv_ctl_server_conns(const struct viv_ctl_server *server)
{
    // Acquire pairs with the release of the last one's leave.
    return atomic_load_explicit(&server->conns, memory_order_acquire);
}

uint64_t viv_ctl_server_quiet_ns(const struct viv_ctl_server *server)
{
    return atomic_load_explicit(&server->quiet_ns, memory_order_relaxed); // as it was stored
}

// ---- accepting ----

static bool is_welcome(const struct viv_ctl_server *server, int fd)
{
    struct viv_peer peer;
    const uint32_t max = server->config.conn_max != 0 ? server->config.conn_max : VIV_CTL_CONNS_MAX;
    if (viv_os_local_peer(fd, &peer) < 0) return false;
    if (peer.uid != 0 && peer.uid != server->config.uid) {
        VIV_LOG(VIV_LOG_WARN, "control socket: user %u was refused", (unsigned)peer.uid);
        return false;
    }
    return viv_ctl_server_conns(server) < max;
}

enum outcome { ACCEPT_MORE, ACCEPT_DRY, ACCEPT_LATER };

static enum outcome accept_one(struct viv_ctl_server *server)
{
    const int fd = viv_os_local_accept(server->config.fd);
    if (fd == -EAGAIN) return ACCEPT_DRY;
    if (fd == -ECONNABORTED) return ACCEPT_MORE;
    if (fd < 0) return ACCEPT_LATER; // no descriptors
    if (is_welcome(server, fd) && viv_ctl__conn_spawn(server, fd) == VIV_OK) return ACCEPT_MORE;
    VIV_IGNORE(viv_os_close(fd), "a socket");
    return ACCEPT_MORE;
}

static void on_ready(struct viv_io_wait *wait, uint32_t events)
{
    (void)events;
    viv_proc_wake(VIV_CONTAINER_OF(wait, struct listener, wait)->proc); // its step always looks
}

static enum viv_step step_listener(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct listener *listener = arg;
    struct viv_ctl_server *server = listener->server;
    listener->proc = self;
    slice->left = 0;
    // Acquire pairs with the release of the stop.
    if (atomic_load_explicit(&server->is_stopping, memory_order_acquire)) return VIV_STEP_DONE;
    (void)viv_io_disarm(server->sched, &listener->wait);
    enum outcome outcome = ACCEPT_MORE;
    for (int i = 0; i < ACCEPTS_A_TURN && outcome == ACCEPT_MORE; i++)
        outcome = accept_one(server);
    if (outcome == ACCEPT_MORE) return VIV_STEP_YIELD;
    if (outcome == ACCEPT_DRY &&
        viv_io_arm(server->sched, &listener->wait, server->config.fd, VIV_POLL_IN) == VIV_OK)
        return VIV_STEP_WAIT;
    viv_proc_set_alarm(self, viv_sched_now_ns(server->sched) + RETRY_NS);
    return VIV_STEP_WAIT;
}

static void free_listener(void *arg)
{
    struct listener *listener = arg;
    struct viv_ctl_server *server = listener->server;
    (void)viv_io_disarm(server->sched, &listener->wait);
    viv_io_forget(server->sched, server->config.fd);
    VIV_IGNORE(viv_os_close(server->config.fd), "a socket");
    viv_free(listener, sizeof *listener, VIV_TAG_CTL);
    viv_ctl__server_leave(server, false);
}

// ---- the server ----

enum viv_err viv_ctl_server_open(const struct viv_ctl_server_config *config,
                                 struct viv_ctl_server **out_server)
{
    struct viv_ctl_server *server = viv_try_calloc(1, sizeof *server, VIV_TAG_CTL);
    if (server == NULL) return VIV_E_EXHAUSTED;
    struct listener *listener = viv_try_calloc(1, sizeof *listener, VIV_TAG_CTL);
    enum viv_err err = listener == NULL ? VIV_E_EXHAUSTED : VIV_OK;
    if (err == VIV_OK) {
        server->config = *config;
        server->sched = viv_kernel_sched(config->kernel);
        atomic_init(&server->quiet_ns, viv_sched_now_ns(server->sched));
        listener->server = server;
        viv_io_init(&listener->wait, on_ready);
        const struct viv_host_spec spec = {
            .env = config->env, .fn = step_listener, .arg = listener, .free_arg = free_listener};
        viv_pid pid;
        viv_ctl__server_enter(server, false);
        err = viv_host_spawn(&spec, &pid);
    }
    if (err == VIV_OK) {
        *out_server = server;
        return VIV_OK;
    }
    viv_free(listener, sizeof *listener, VIV_TAG_CTL);
    viv_free(server, sizeof *server, VIV_TAG_CTL);
    return err;
}

static void wake(void *arg, struct viv_proc *proc)
{
    (void)arg;
    viv_proc_wake(proc); // others than ours find nothing to do
}

void viv_ctl_server_stop(struct viv_ctl_server *server, uint64_t timeout_ns)
{
    const uint64_t end_ns = viv_os_now_ns() + timeout_ns;
    // Seq_cst: published before the wakes (sched.h).
    atomic_store_explicit(&server->is_stopping, true, memory_order_seq_cst);
    viv_kernel_each_proc(server->config.kernel, wake, NULL);
    struct viv_qsbr_member *member = viv_sched_member();
    for (;;) {
        // Acquire pairs with the release of the last one's leave.
        const uint32_t procs = atomic_load_explicit(&server->procs, memory_order_acquire);
        const uint64_t now_ns = viv_os_now_ns();
        if (procs == 0 || now_ns >= end_ns) return;
        viv_qsbr_offline(member);
        viv_futex_wait(&server->procs, procs, end_ns - now_ns);
        viv_qsbr_online(member);
    }
}

void viv_ctl_server_close(struct viv_ctl_server *server)
{
    viv_free(server, sizeof *server, VIV_TAG_CTL);
}
