// SPDX-License-Identifier: Apache-2.0
#include "native/ports.h"

static enum viv_err add_port(struct viv_native_ports *ports, uint16_t port, uint64_t right)
{
    for (uint32_t i = 0; i < ports->count; i++) {
        if (ports->ports[i].port != port) continue;
        ports->ports[i].rights |= right;
        return VIV_OK;
    }
    if (ports->count == VIV_PLAN_PORTS_MAX) return VIV_E_TOOBIG;
    ports->ports[ports->count++] = (struct viv_plan_port){port, right};
    return VIV_OK;
}

static enum viv_err add_pattern(struct viv_native_ports *ports, const struct viv_pattern *pattern,
                                uint64_t right)
{
    struct viv_port_range range;
    for (size_t i = 0; viv_address_port_range(pattern, i, &range); i++)
        for (uint32_t port = range.low; port <= range.high; port++)
            VIV_TRY(add_port(ports, (uint16_t)port, right));
    return VIV_OK;
}

static bool is_every_port(const struct viv_pattern *pattern)
{
    struct viv_port_range range;
    return viv_address_port_range(pattern, 0, &range) && range.low <= 1 && range.high == UINT16_MAX;
}

enum viv_err viv_native_ports_add(struct viv_native_ports *ports, struct viv_patterns patterns,
                                  uint64_t right)
{
    VIV_PATTERNS_EACH(pattern, patterns)
    {
        if (is_every_port(pattern)) return VIV_OK; // no port of this class is withheld
    }
    VIV_PATTERNS_EACH(pattern, patterns)
    {
        VIV_TRY(add_pattern(ports, pattern, right));
    }
    ports->rights |= right;
    return VIV_OK;
}
