// SPDX-License-Identifier: Apache-2.0
// What wakes the step of a program's process, and whom the step wakes: descriptors through the
// scheduler on one side, calls that are parked on the program on the other. The kernel's half of
// care/care.h.
#include "native/follow.h"
#include "native/held.h"

// ------------------------------------------------------------------------------------- the step

static void on_ready(struct viv_io_wait *io, uint32_t events)
{
    (void)events;
    const struct viv_program_wait *wait = VIV_CONTAINER_OF(io, struct viv_program_wait, io);
    struct viv_program *program = wait->program;
    // Seq_cst: published before the wake (sched.h).
    atomic_fetch_or_explicit(&program->ready, wait->bit, memory_order_seq_cst);
    viv_proc_wake(program->proc); // it disarms before it ends
}

static struct viv_program_wait *wait_of(struct viv_program *program, uint32_t ready_bit)
{
    return &program->waits[__builtin_ctz(ready_bit)];
}

static void forget(struct viv_care *care, int fd, uint32_t ready_bit)
{
    struct viv_program *program = VIV_CONTAINER_OF(care, struct viv_program, care);
    struct viv_sched *sched = program->native->sched;
    (void)viv_io_disarm(sched, &wait_of(program, ready_bit)->io);
    viv_io_forget(sched, fd);
}

enum viv_err viv_program__arm(struct viv_program *program)
{
    struct viv_care *care = &program->care;
    for (uint32_t bit = 1; bit < VIV_READY_ALL; bit <<= 1) {
        int fd;
        bool writes = false;
        const bool wants = program->is_handed ? viv_held__wants(program, bit, &fd)
                                              : viv_care_wants(care, bit, &fd, &writes);
        if (!wants) continue;
        VIV_TRY(viv_io_arm(program->native->sched, &wait_of(program, bit)->io, fd,
                           writes ? VIV_POLL_OUT : VIV_POLL_IN));
        care->armed |= bit;
    }
    return VIV_OK;
}

// ------------------------------------------------------------------------------------- idle time

bool viv_program__is_watched(struct viv_program *program)
{
    const uint32_t on = program->req.fields.idle_on;
    const bool is_held = (on & VIV_NATIVE_IDLE_ON_HELD) != 0 && viv_proc_is_watched(program->proc);
    if (is_held || (on & VIV_NATIVE_IDLE_ON_WAIT) == 0) return is_held;
    const struct viv_list *const lists[] = {&program->waiters,    &program->watches,
                                            &program->follows,    &program->both_readers,
                                            &program->readers[0], &program->readers[1]};
    bool is_empty = true;
    viv_spin_lock(&program->care.lock);
    for (size_t i = 0; i < VIV_COUNT_OF(lists); i++)
        is_empty = is_empty && viv_list_is_empty(lists[i]);
    viv_spin_unlock(&program->care.lock);
    return !is_empty;
}

bool viv_program__has_listeners(struct viv_program *program)
{
    viv_spin_lock(&program->care.lock);
    const bool has = !viv_list_is_empty(&program->readers[0]) ||
                     !viv_list_is_empty(&program->readers[1]) ||
                     !viv_list_is_empty(&program->both_readers) ||
                     !viv_list_is_empty(&program->watches) || !viv_list_is_empty(&program->follows);
    viv_spin_unlock(&program->care.lock);
    return has;
}

// A holder rings only when it was asked to, which the step does.
void viv_program__listen(struct viv_program *program)
{
    if (program->held != NULL) viv_program__wake(program);
}

static bool is_idle(struct viv_care *care, uint64_t now_ns)
{
    struct viv_program *program = VIV_CONTAINER_OF(care, struct viv_program, care);
    if (!viv_program__is_watched(program)) return true;
    atomic_store_explicit(&care->touched_ns, now_ns, memory_order_relaxed); // a clock
    return false;
}

static const struct viv_care_host host = {.forget = forget, .is_idle = is_idle};

void viv_program__init_care(struct viv_program *program)
{
    viv_care_init(&program->care, &host);
    for (uint32_t i = 0; i < VIV_COUNT_OF(program->waits); i++) {
        program->waits[i].program = program;
        program->waits[i].bit = 1u << i;
        viv_io_init(&program->waits[i].io, on_ready);
    }
}

// ----------------------------------------------------------------------------------- who waits

// Calls that wait for room, in order, as far as there is some.
static void admit_writers(struct viv_program *program)
{
    for (bool more = true; more;) {
        struct viv_wake_list wakes = {0};
        more = false;
        viv_spin_lock(&program->care.lock);
        while (!viv_list_is_empty(&program->writers) && !(more = viv_wakes_are_full(&wakes))) {
            struct viv_op *op = VIV_CONTAINER_OF(program->writers.next, struct viv_op, queue);
            size_t taken;
            const enum viv_err err = viv_stdin_push(&program->care.in, op->buf.data,
                                                    op->buf.len_bytes, VIV_STDIN_ALL, &taken);
            if (err == VIV_E_FULL) break;
            program->care.hot |= VIV_READY_IN;
            viv_native_call_complete_locked(op, err, &wakes);
        }
        viv_spin_unlock(&program->care.lock);
        viv_wakes_flush(&wakes);
    }
}

void viv_program__tell(struct viv_program *program)
{
    struct viv_care *care = &program->care;
    const uint32_t news = care->news;
    care->news = 0;
    for (uint32_t i = 0; i < 2; i++) {
        if ((news & VIV_NEWS_STREAM(i)) == 0) continue;
        viv_native__count(&program->native->counts.log_bytes[i], care->fresh_bytes[i]);
        care->fresh_bytes[i] = 0;
        viv_program__complete_all(program, &program->readers[i], VIV_OK);
    }
    if ((news & (VIV_NEWS_OUT | VIV_NEWS_ERR)) != 0)
        viv_program__complete_all(program, &program->both_readers, VIV_OK);
    if ((news & VIV_NEWS_ROOM) != 0) admit_writers(program);
    if ((news & VIV_NEWS_CLOSED) != 0)
        viv_program__complete_all(program, &program->writers, VIV_E_CLOSED);
    if (care->unkillable && !care->has_exit) // also those that came later
        viv_program__complete_all(program, &program->stoppers, VIV_E_TIMEOUT);
    if ((news & VIV_NEWS_STARTED) != 0) viv_program__note_started(program);
}
