// SPDX-License-Identifier: Apache-2.0
// The TCP ports to which a session holds programs that share the host's network, as Landlock wants
// them: port by port, with the rights of the classes net.bind and net.connect.
#ifndef VIV_NATIVE_PORTS_H
#define VIV_NATIVE_PORTS_H

#include "cap/scope.h"
#include "native/holder/plan.h"

struct viv_native_ports {
    uint64_t rights; // VIV_LANDLOCK_BIND_TCP, CONNECT_TCP: those given port by port
    uint32_t count;
    struct viv_plan_port ports[VIV_PLAN_PORTS_MAX];
};

// Adds the ports of one class: those of all its patterns, each of which is of TCP ports. right: the
// class's. Errors: TOOBIG (more than VIV_PLAN_PORTS_MAX ports in all).
enum viv_err viv_native_ports_add(struct viv_native_ports *ports, struct viv_patterns patterns,
                                  uint64_t right) VIV_MUST_CHECK;

#endif
