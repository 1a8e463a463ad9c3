// SPDX-License-Identifier: Apache-2.0
// Answers as gen/native_layouts.tab says.
#include "native/guest_int.h"

#include <string.h>

void viv_native__layout_exit(const struct viv_native_exit *exit, struct viv_native_layout_exit *out)
{
    const struct viv_child_end *leader = &exit->leader;
    const struct viv_native_stream_end *streams = exit->streams;
    *out = (struct viv_native_layout_exit){
        .size = sizeof *out,
        .kind = (uint32_t)exit->kind,
        .cause = (uint32_t)exit->cause,
        .code = leader->code,
        .core = leader->core,
        .we_killed = exit->we_killed,
        .incarnation = exit->incarnation,
        .group_known = exit->group_known,
        .started_ns = exit->started_wall_ns,
        .ended_ns = exit->ended_wall_ns,
        .duration_ns = exit->duration_ns,
        .user_us = leader->user_us,
        .system_us = leader->system_us,
        .peak_bytes = leader->peak_bytes,
        .minor_faults = leader->minor_faults,
        .major_faults = leader->major_faults,
        .blocks_in = leader->blocks_in,
        .blocks_out = leader->blocks_out,
        .voluntary_switches = leader->voluntary_switches,
        .involuntary_switches = leader->involuntary_switches,
        .group_cpu_us = exit->group_cpu_us,
        .group_memory_peak_bytes = exit->group_memory_peak_bytes,
        .group_pids_peak = exit->group_pids_peak,
        .group_oom_kills = exit->group_oom_kills,
        .stdin_accepted = exit->stdin_accepted,
        .stdin_delivered = exit->stdin_delivered,
        .stdout_received = streams[0].received,
        .stdout_evicted = streams[0].evicted,
        .stdout_drained = streams[0].drained,
        .stderr_received = streams[1].received,
        .stderr_evicted = streams[1].evicted,
        .stderr_drained = streams[1].drained,
        .stdout_truncated = streams[0].truncated,
        .stderr_truncated = streams[1].truncated,
    };
}

static uint32_t put_text(char *out, size_t cap, const char *text)
{
    const size_t len = strlen(text);
    memcpy(out, text, viv_min_u64(len, cap));
    return (uint32_t)len;
}

void viv_native__layout_status(const struct viv_native_status *status,
                               struct viv_native_layout_status *out)
{
    const bool has_exit = status->has_exit;
    *out = (struct viv_native_layout_status){
        .size = sizeof *out,
        .phase = (uint32_t)status->phase,
        .pid = status->pid.w,
        .number = status->number,
        .ready = status->ready,
        .has_exit = has_exit,
        .exit_kind = has_exit ? (uint32_t)status->exit.kind : 0,
        .exit_code = has_exit ? status->exit.leader.code : 0,
        .exit_cause = has_exit ? (uint32_t)status->exit.cause : 0,
        .os_pid = status->os_pid,
        .suspended = status->is_suspended,
        .unkillable = status->unkillable,
        .stdin_state = status->stdin_state,
        .incarnation = status->incarnation,
        .stdin_queued = status->stdin_queued,
        .age_ns = status->age_ns,
        .idle_ns = status->idle_ns,
        .expires_ns = status->expires_ns,
        .wall_offset_ns = status->wall_offset_ns,
        .stdout_buffered = status->buffered[0],
        .stdout_evicted = status->evicted[0],
        .stdout_drained = status->drained[0],
        .stderr_buffered = status->buffered[1],
        .stderr_evicted = status->evicted[1],
        .stderr_drained = status->drained[1],
    };
    out->label_len = put_text(out->label, sizeof out->label, status->label);
    if (status->command != NULL)
        out->command_len = put_text(out->command, sizeof out->command, status->command);
}
