// SPDX-License-Identifier: Apache-2.0
// poll_oneoff. All subscriptions are looked at; when none has anything to tell, every descriptor is
// armed, an alarm is set for the earliest clock, and the process parks. After a wake all are looked
// at again, so the events are those of one moment, in the order of the subscriptions.
// Threads: the process's own; on_ready any.
#include "gen/wasm_imports.h"
#include "os/clock.h"
#include "sched/io.h"
#include "wasm/may.h"
#include "wasm/wasi_int.h"
#include <poll.h>
#include <string.h>

enum { SUB_BYTES = 48, EVENT_BYTES = 32 };
enum { TAG_CLOCK = 0, TAG_READ = 1, TAG_WRITE = 2 };
enum { CLOCK_REAL = 0, CLOCK_MONO = 1, CLOCK_ABSOLUTE = 1, FLAG_HANGUP = 1 };

struct sub {
    struct viv_io_wait wait;
    struct poll *poll;
    uint64_t userdata;
    uint64_t deadline_ns; // of its clock
    struct viv_wasi_file *file;
    uint32_t fd;
    uint32_t error; // known from the start: the event says so at once
    uint8_t tag, clock;
    bool is_armed;
};

struct poll {
    struct viv_inst *inst;
    uint32_t in_ptr, out_ptr, count, count_ptr;
    _Atomic uint32_t woken;
    struct sub sub[];
};

static size_t poll_bytes(uint32_t count)
{
    return sizeof(struct poll) + count * sizeof(struct sub);
}

static void on_ready(struct viv_io_wait *wait, uint32_t events)
{
    (void)events;
    struct sub *sub = VIV_CONTAINER_OF(wait, struct sub, wait);
    atomic_exchange_explicit(&sub->poll->woken, 1, memory_order_seq_cst); // before the wake
    viv_proc_wake(sub->poll->inst->proc);
}

static uint64_t now_of(const struct viv_inst *inst, uint8_t clock)
{
    if (clock == CLOCK_REAL) return viv_os_wall_ns();
    return viv_sched_now_ns(viv_kernel_sched(viv_proc_kernel(inst->proc)));
}

// ---- reading the subscriptions ----

static void read_clock(struct viv_inst *inst, const uint8_t *at, struct sub *sub)
{
    uint32_t clock = viv_get_u32(at + 16);
    uint64_t timeout_ns = viv_get_u64(at + 24);
    bool is_absolute = (at[40] & CLOCK_ABSOLUTE) != 0;
    if (clock > CLOCK_MONO) {
        sub->error = VIV_WASI_NOTSUP;
        return;
    }
    if (viv_may_word(inst, VIV_CAP_TIME_TIMER,
                     clock == CLOCK_REAL ? VIV_TIME_WALL : VIV_TIME_MONO) != VIV_OK)
        sub->error = VIV_WASI_NOTCAPABLE;
    // A span is measured by the monotonic clock, whatever clock it names: none may jump over it.
    sub->clock = is_absolute ? (uint8_t)clock : CLOCK_MONO;
    sub->deadline_ns =
        is_absolute ? timeout_ns : viv_add_sat_u64(now_of(inst, CLOCK_MONO), timeout_ns);
}

static void read_fd(struct viv_inst *inst, const uint8_t *at, struct sub *sub)
{
    struct viv_wasi_fd *entry;
    uint32_t right = sub->tag == TAG_READ ? VIV_RIGHT_FD_READ : VIV_RIGHT_FD_WRITE;
    sub->fd = viv_get_u32(at + 16);
    sub->error = viv_wasi__find(inst, sub->fd, 0, &entry);
    if (sub->error != VIV_WASI_SUCCESS) return;
    sub->file = entry->file;
    if (entry->file->kind == VIV_WASI_CAPTURE && entry->file->through != NULL)
        sub->file = entry->file->through;
    if ((entry->rights & VIV_RIGHT_POLL_FD_READWRITE) == 0) sub->error = VIV_WASI_NOTCAPABLE;
    if (entry->file->kind != VIV_WASI_DIR && (entry->rights & right) == 0)
        sub->error = VIV_WASI_NOTCAPABLE;
}

// Errors: inval (unknown tag).
static uint32_t read_subs(struct viv_guest_mem mem, struct poll *poll)
{
    for (uint32_t i = 0; i < poll->count; i++) {
        const uint8_t *at = mem.base + poll->in_ptr + (size_t)i * SUB_BYTES;
        struct sub *sub = &poll->sub[i];
        *sub = (struct sub){.poll = poll, .userdata = viv_get_u64(at), .tag = at[8]};
        viv_io_init(&sub->wait, on_ready);
        if (sub->tag > TAG_WRITE) return VIV_WASI_INVAL;
        if (sub->tag == TAG_CLOCK)
            read_clock(poll->inst, at, sub);
        else
            read_fd(poll->inst, at, sub);
    }
    return VIV_WASI_SUCCESS;
}

// ---- looking ----

struct event {
    uint64_t nbytes;
    uint16_t flags;
};

static bool is_stream_ready(const struct sub *sub, struct event *out)
{
    bool reads = sub->tag == TAG_READ;
    int found = viv_os_poll_fd(sub->file->fd, reads ? POLLIN : POLLOUT, 0);
    // Relaxed: set by some reader earlier or later, either is right.
    if (reads && atomic_load_explicit(&sub->file->is_at_end, memory_order_relaxed)) {
        out->flags = FLAG_HANGUP;
        return true;
    }
    if (found == 0) return false;
    if (found < 0) return true; // the call itself will tell
    if ((found & POLLHUP) != 0) out->flags = FLAG_HANGUP;
    if (reads) {
        int count = viv_os_fionread(sub->file->fd);
        out->nbytes = count < 0 ? 0 : (uint64_t)count;
    }
    return true;
}

static bool is_file_ready(const struct sub *sub, struct event *out)
{
    if (sub->file->kind == VIV_WASI_STREAM) return is_stream_ready(sub, out);
    struct stat st;
    if (sub->file->kind != VIV_WASI_REGULAR || sub->tag != TAG_READ) return true;
    off_t at = viv_os_lseek(sub->file->fd, 0, SEEK_CUR);
    if (at >= 0 && viv_os_fstat(sub->file->fd, &st) == 0 && st.st_size > at)
        out->nbytes = (uint64_t)(st.st_size - at);
    return true;
}

static bool has_event(const struct sub *sub, struct event *out)
{
    *out = (struct event){0};
    if (sub->error != VIV_WASI_SUCCESS) return true;
    if (sub->tag == TAG_CLOCK) return now_of(sub->poll->inst, sub->clock) >= sub->deadline_ns;
    return is_file_ready(sub, out);
}

// Writes the events of this moment; returns their number.
static uint32_t look(struct viv_guest_mem mem, struct poll *poll)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < poll->count; i++) {
        const struct sub *sub = &poll->sub[i];
        struct event event;
        if (!has_event(sub, &event)) continue;
        uint8_t *at = mem.base + poll->out_ptr + (size_t)count++ * EVENT_BYTES;
        memset(at, 0, EVENT_BYTES);
        viv_put_u64(at, sub->userdata);
        viv_put_u16(at + 8, (uint16_t)sub->error);
        at[10] = sub->tag;
        viv_put_u64(at + 16, event.nbytes);
        viv_put_u16(at + 24, event.flags);
    }
    if (count > 0) viv_put_u32(mem.base + poll->count_ptr, count);
    viv_host_charge(poll->inst, poll->count);
    return count;
}

// ---- waiting ----

static void disarm(struct poll *poll)
{
    for (uint32_t i = 0; i < poll->count; i++) {
        struct sub *sub = &poll->sub[i];
        if (sub->is_armed) (void)viv_io_disarm(sub->file->sched, &sub->wait);
        sub->is_armed = false;
    }
}

// Arms all descriptors. A descriptor that cannot be armed counts as ready: its error is the event.
static bool arm(struct poll *poll)
{
    atomic_store_explicit(&poll->woken, 0, memory_order_relaxed); // nothing is armed
    for (uint32_t i = 0; i < poll->count; i++) {
        struct sub *sub = &poll->sub[i];
        if (sub->tag == TAG_CLOCK) continue;
        enum viv_err err = viv_io_arm(sub->file->sched, &sub->wait, sub->file->fd,
                                      sub->tag == TAG_READ ? VIV_POLL_IN : VIV_POLL_OUT);
        if (err != VIV_OK) {
            sub->error = VIV_WASI_NOMEM;
            return false;
        }
        sub->is_armed = true;
        if (!sub->file->is_kernels) sub->file->was_armed = true;
    }
    return true;
}

// Time until the first clock is due; VIV_FOREVER_NS: there is none.
static uint64_t time_left(const struct poll *poll)
{
    uint64_t left_ns = VIV_FOREVER_NS;
    for (uint32_t i = 0; i < poll->count; i++) {
        const struct sub *sub = &poll->sub[i];
        if (sub->tag != TAG_CLOCK || sub->error != VIV_WASI_SUCCESS) continue;
        uint64_t now_ns = now_of(poll->inst, sub->clock);
        left_ns = viv_min_u64(left_ns, sub->deadline_ns > now_ns ? sub->deadline_ns - now_ns : 0);
    }
    return left_ns;
}

static enum viv_host resume(struct viv_wait *op)
{
    struct poll *poll = op->ptr;
    // Seq_cst pairs with on_ready.
    bool woken = atomic_load_explicit(&poll->woken, memory_order_seq_cst) != 0;
    if (!woken && !viv_wait_is_due(op)) return VIV_HOST_WAIT;
    struct viv_guest_mem mem = viv_guest_mem(op->inst);
    disarm(poll);
    if (!viv_guest_in(mem, poll->out_ptr, (uint64_t)poll->count * EVENT_BYTES) ||
        !viv_guest_in(mem, poll->count_ptr, 4))
        return viv_wasi__done(op->result, VIV_WASI_FAULT);
    while (look(mem, poll) == 0) {
        if (!arm(poll)) {
            disarm(poll);
            continue;
        }
        viv_wait_set_timeout(op, time_left(poll));
        return VIV_HOST_WAIT;
    }
    return viv_wasi__done(op->result, VIV_WASI_SUCCESS);
}

static void free_poll(struct poll *poll)
{
    disarm(poll);
    viv_free(poll, poll_bytes(poll->count), VIV_TAG_WASI);
}

static void cleanup(struct viv_wait *op)
{
    free_poll(op->ptr);
}

static enum viv_host wait_for(struct poll *poll)
{
    struct viv_wait *op = viv_wait_new(poll->inst, resume, cleanup);
    if (op == NULL) {
        free_poll(poll);
        return VIV_HOST_TRAP;
    }
    op->ptr = poll;
    viv_wait_set_timeout(op, time_left(poll));
    return VIV_HOST_WAIT;
}

enum viv_host viv_wasm__wasi_poll_oneoff(struct viv_inst *inst, const wasmtime_val_t *args,
                                         wasmtime_val_t *result)
{
    struct viv_guest_mem mem;
    uint32_t in_ptr = viv_wasi__u32(args, 0), out_ptr = viv_wasi__u32(args, 1);
    uint32_t count = viv_wasi__u32(args, 2), count_ptr = viv_wasi__u32(args, 3);
    if (!viv_wasi__mem(inst, &mem)) return VIV_HOST_TRAP;
    if (!viv_guest_in(mem, in_ptr, (uint64_t)count * SUB_BYTES) ||
        !viv_guest_in(mem, out_ptr, (uint64_t)count * EVENT_BYTES) ||
        !viv_guest_in(mem, count_ptr, 4))
        return viv_wasi__done(result, VIV_WASI_FAULT);
    if (count == 0 || count > VIV_WASI_POLL_MAX) return viv_wasi__done(result, VIV_WASI_INVAL);
    struct poll *poll = viv_try_calloc(1, poll_bytes(count), VIV_TAG_WASI);
    if (poll == NULL) return viv_wasi__done(result, VIV_WASI_NOMEM);
    poll->inst = inst;
    poll->in_ptr = in_ptr;
    poll->out_ptr = out_ptr;
    poll->count = count;
    poll->count_ptr = count_ptr;
    uint32_t error = read_subs(mem, poll);
    if (error == VIV_WASI_SUCCESS && look(mem, poll) == 0) {
        if (arm(poll)) return wait_for(poll);
        (void)look(mem, poll); // what could not be armed is an event
    }
    free_poll(poll);
    return viv_wasi__done(result, error);
}
