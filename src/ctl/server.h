// SPDX-License-Identifier: Apache-2.0
// The control socket of a kernel: a process that accepts, and one for each connection.
//
//   client ══ socket ══> connection's process ── verb.h ──> what the verbs are about
//
// Clients are the kernel's own user or root (SO_PEERCRED); others are closed upon. A slow client
// waits for itself only: its queue is bounded, and what would exceed it is not produced.
#ifndef VIV_CTL_SERVER_H
#define VIV_CTL_SERVER_H

#include "ctl/verb.h"

struct viv_ctl_server;
struct viv_ctl_server_config {
    struct viv_kernel *kernel;
    struct viv_env *env; // of the processes
    int fd;              // listens; the server's from a success on
    const struct viv_ctl_verb *verbs;
    size_t verb_count;
    void *service;     // of the verbs
    uid_t uid;         // who may connect, besides root
    uint32_t conn_max; // 0: VIV_CTL_CONNS_MAX
    // NULL, or grows when the last connection has gone; futex waiters are woken.
    _Atomic uint32_t *word;
};
#define VIV_CTL_CONNS_MAX 4096 // connections at a time: some KiB each

// Thread: a member. Errors: EXHAUSTED, those of viv_host_spawn.
enum viv_err viv_ctl_server_open(const struct viv_ctl_server_config *config,
                                 struct viv_ctl_server **out_server) VIV_MUST_CHECK;
// No connection is accepted any more; requests under way end with CANCELLED; waits until all have
// been told, at most timeout_ns. Thread: a member that is no worker. Blocks.
void viv_ctl_server_stop(struct viv_ctl_server *server, uint64_t timeout_ns);
// After viv_kernel_stop.
void viv_ctl_server_close(VIV_OWN struct viv_ctl_server *server);

uint32_t viv_ctl_server_conns(const struct viv_ctl_server *server);    // any thread
uint64_t viv_ctl_server_quiet_ns(const struct viv_ctl_server *server); // when the last one went

#endif
