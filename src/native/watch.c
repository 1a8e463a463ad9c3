// SPDX-License-Identifier: Apache-2.0
// Events of a program, for processes that watch it. Each kind has a value; an event is due when the
// value is not the one that was told last. It is sent or, while one of that kind waits in the
// mailbox, written into that one. So what happens often coalesces, and nothing is missed.
//
//   exited: 1 when it has    log, dropped: bytes so far, both streams    phase: its number + 1
//   ready: 1 when it is      stdin_drained: bytes delivered + 1, while none wait
//
// A watch is on its program's list, under the program's lock, and is counted by that and by its
// messages, which are part of it: telling never allocates. It stays on the list while it is dead
// and one of them waits in a mailbox. Threads: any in a read section; events are sent under the
// lock.
#include "native/follow.h"

enum { KINDS = 6, WATCHES_MAX = 64 };

struct event_msg {
    struct viv_msg msg;
    struct viv_watch *watch;
    uint32_t bit;
    bool is_out, was_taken; // under the program's lock
    struct viv_native_layout_event event;
};

struct viv_watch {
    struct viv_program *program; // counted
    viv_pid to;
    int64_t tag;
    _Atomic uint32_t refs;
    // Under the program's lock:
    struct viv_list link;
    uint32_t kinds, pending;
    bool is_dead;
    uint64_t told[KINDS];            // by the place of the bit
    struct event_msg msgs[KINDS][2]; // a receiver may keep one while the next is on its way
};

static void drop_watch(struct viv_watch *watch)
{
    // Acq_rel: whoever frees sees what all others did.
    if (atomic_fetch_sub_explicit(&watch->refs, 1, memory_order_acq_rel) != 1) return;
    viv_program__drop(watch->program);
    viv_free(watch, sizeof *watch, VIV_TAG_NATIVE);
}

// ---- messages ----

static struct event_msg *event_of(struct viv_msg *msg)
{
    return VIV_CONTAINER_OF(msg, struct event_msg, msg);
}

static uint64_t size_of_event(const struct viv_msg *msg)
{
    (void)msg;
    return sizeof(struct viv_native_layout_event);
}

static void copy_event(const struct viv_msg *msg, uint64_t offset, void *out, uint64_t len)
{
    const struct event_msg *event = (const struct event_msg *)(const void *)msg;
    memcpy(out, (const uint8_t *)&event->event + offset, len);
}

static void tell_locked(struct viv_watch *watch);

// One is no longer waiting. True: the watch has left the list, which counted it.
static bool note_locked(struct viv_watch *watch, uint32_t bit)
{
    watch->pending &= ~bit;
    bool leaves = false;
    if (watch->is_dead && watch->pending == 0 && !viv_list_is_empty(&watch->link)) {
        viv_list_remove(&watch->link);
        leaves = true;
    } else if (!watch->is_dead) {
        tell_locked(watch); // what there was no message for
    }
    return leaves;
}

static void note_taken(struct viv_msg *msg)
{
    struct event_msg *event = event_of(msg);
    struct viv_watch *watch = event->watch;
    viv_spin_lock(&watch->program->care.lock);
    event->was_taken = true;
    const bool leaves = note_locked(watch, event->bit);
    viv_spin_unlock(&watch->program->care.lock);
    if (leaves) drop_watch(watch); // the message counts it still
}

static void drop_event(struct viv_msg *msg)
{
    struct event_msg *event = event_of(msg);
    struct viv_watch *watch = event->watch;
    viv_spin_lock(&watch->program->care.lock);
    event->is_out = false;
    const bool leaves = note_locked(watch, event->was_taken ? 0 : event->bit);
    viv_spin_unlock(&watch->program->care.lock);
    if (leaves) drop_watch(watch);
    drop_watch(watch);
}

static const struct viv_msg_ops event_ops = {
    .size_bytes = size_of_event, .copy = copy_event, .drop = drop_event, .taken = note_taken};

// ---- telling ----

static uint64_t value_locked(struct viv_program *program, uint32_t bit, uint64_t told)
{
    struct viv_log_view views[2];
    for (uint32_t i = 0; i < 2; i++)
        viv_log_ring_look(&program->care.streams[i].ring, &views[i]);
    switch (bit) {
    case VIV_NATIVE_EVENT_EXITED:
        return program->is_over;
    case VIV_NATIVE_EVENT_LOG:
        return views[0].end + views[1].end;
    case VIV_NATIVE_EVENT_DROPPED:
        return views[0].evicted + views[1].evicted;
    case VIV_NATIVE_EVENT_STDIN_DRAINED:
        return program->care.in.state == VIV_STDIN_NONE || viv_stdin_queued(&program->care.in) > 0
                   ? told
                   : program->care.in.delivered + 1;
    case VIV_NATIVE_EVENT_PHASE:
        return (uint64_t)program->care.phase + 1;
    default:
        return program->care.ready_flag;
    }
}

static void fill_locked(struct event_msg *event, struct viv_program *program, uint64_t value)
{
    const bool has_exit = event->bit == VIV_NATIVE_EVENT_EXITED;
    const bool is_amount =
        event->bit == VIV_NATIVE_EVENT_LOG || event->bit == VIV_NATIVE_EVENT_DROPPED;
    event->event = (struct viv_native_layout_event){
        .size = sizeof event->event,
        .kind = event->bit,
        .pid = program->pid.w,
        .number = program->number,
        .phase = (uint32_t)program->care.phase,
        .amount = is_amount ? value : 0,
        .exit_kind = has_exit ? (uint32_t)program->care.exit.kind : 0,
        .exit_code = has_exit ? program->care.exit.leader.code : 0,
        .exit_cause = has_exit ? (uint32_t)program->care.exit.cause : 0,
    };
}

// The message of a kind that waits in a mailbox, or one that is free; NULL: neither.
static struct event_msg *message_locked(struct viv_watch *watch, uint32_t place)
{
    struct event_msg *found = NULL;
    for (uint32_t i = 0; i < 2; i++) {
        struct event_msg *event = &watch->msgs[place][i];
        if (event->is_out && !event->was_taken) return event;
        if (!event->is_out) found = event;
    }
    return found;
}

// One that waits tells what is so now; what there is no message for is told later.
static void tell_kind_locked(struct viv_watch *watch, uint32_t place)
{
    struct viv_program *program = watch->program;
    struct event_msg *event = message_locked(watch, place);
    const uint32_t bit = 1u << place;
    if ((watch->kinds & bit) == 0 || watch->is_dead || event == NULL) return;
    const uint64_t value = value_locked(program, bit, watch->told[place]);
    if (value == watch->told[place]) return;
    if ((watch->pending & bit) != 0) {
        fill_locked(event, program, value);
        watch->told[place] = value;
        return;
    }
    event->watch = watch;
    event->bit = bit;
    event->msg =
        (struct viv_msg){.sig = {.kind = VIV_SIG_MESSAGE, .tag = watch->tag}, .ops = &event_ops};
    fill_locked(event, program, value);
    // Relaxed: this thread knows it through a count. Before it is sent, since it may be dropped.
    atomic_fetch_add_explicit(&watch->refs, 1, memory_order_relaxed);
    watch->pending |= bit;
    event->is_out = true;
    event->was_taken = false;
    const enum viv_send sent =
        viv_env_offer(program->scope->tenant->env, program->pid, watch->to, &event->msg);
    if (sent == VIV_SEND_OK) {
        watch->told[place] = value;
        return;
    }
    atomic_fetch_sub_explicit(&watch->refs, 1, memory_order_relaxed); // never the last
    watch->pending &= ~bit;
    event->is_out = false;
    watch->is_dead = sent == VIV_SEND_ABSENT;
}

static void tell_locked(struct viv_watch *watch)
{
    static const uint32_t order[KINDS] = {1, 5, 2, 4, 3, 0}; // the end comes last
    for (uint32_t i = 0; i < KINDS; i++)
        tell_kind_locked(watch, order[i]);
}

void viv_program__tell_watches(struct viv_program *program)
{
    if (!atomic_load_explicit(&program->has_listeners, memory_order_relaxed)) return; // a hint
    struct viv_list gone;
    viv_list_init(&gone);
    viv_spin_lock(&program->care.lock);
    for (struct viv_list *at = program->watches.next, *next; at != &program->watches; at = next) {
        struct viv_watch *watch = VIV_CONTAINER_OF(at, struct viv_watch, link);
        next = at->next;
        tell_locked(watch);
        if (!watch->is_dead || watch->pending != 0) continue;
        viv_list_remove(at);
        viv_list_append(&gone, at);
    }
    viv_spin_unlock(&program->care.lock);
    while (!viv_list_is_empty(&gone)) {
        struct viv_list *at = gone.next;
        viv_list_remove(at);
        drop_watch(VIV_CONTAINER_OF(at, struct viv_watch, link));
    }
}

void viv_program__end_watches(struct viv_program *program)
{
    for (bool more = true; more;) {
        struct viv_watch *watch = NULL;
        viv_spin_lock(&program->care.lock);
        more = !viv_list_is_empty(&program->watches);
        if (more) {
            watch = VIV_CONTAINER_OF(program->watches.next, struct viv_watch, link);
            watch->is_dead = true;
            viv_list_remove(&watch->link);
        }
        viv_spin_unlock(&program->care.lock);
        if (more) drop_watch(watch);
    }
}

// ---- operations ----

static struct viv_watch *find_locked(struct viv_program *program, viv_pid to, int64_t tag)
{
    for (struct viv_list *at = program->watches.next; at != &program->watches; at = at->next) {
        struct viv_watch *watch = VIV_CONTAINER_OF(at, struct viv_watch, link);
        if (watch->to.w == to.w && watch->tag == tag) return watch;
    }
    return NULL;
}

static enum viv_err add_locked(struct viv_program *program, struct viv_watch *fresh)
{
    uint32_t count = 0;
    for (struct viv_list *at = program->watches.next; at != &program->watches; at = at->next)
        count++;
    if (find_locked(program, fresh->to, fresh->tag) != NULL) return VIV_E_EXISTS;
    if (count >= WATCHES_MAX) return VIV_E_QUOTA;
    // Relaxed: a hint for the step, which the lock makes it see in time.
    atomic_store_explicit(&program->has_listeners, true, memory_order_relaxed);
    viv_list_append(&program->watches, &fresh->link);
    return VIV_OK;
}

enum viv_err viv_native_watch(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                              uint32_t kinds, int64_t tag)
{
    struct viv_program *program;
    if (ctx->proc == NULL || kinds == 0 || kinds >> KINDS != 0) return VIV_E_INVAL;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_READ, &program));
    struct viv_watch *watch = viv_try_calloc(1, sizeof *watch, VIV_TAG_NATIVE);
    if (watch == NULL) {
        viv_program__drop(program);
        return VIV_E_EXHAUSTED;
    }
    watch->program = program;
    watch->to = viv_proc_pid(ctx->proc);
    watch->tag = tag;
    watch->kinds = kinds;
    atomic_init(&watch->refs, 1); // the list's
    viv_list_init(&watch->link);
    viv_spin_lock(&program->care.lock);
    const enum viv_err err = add_locked(program, watch);
    if (err == VIV_OK) tell_locked(watch); // what is so already
    viv_spin_unlock(&program->care.lock);
    if (err == VIV_OK)
        viv_program__wake(program); // it sees the hint from now on
    else
        drop_watch(watch);
    return err;
}

// Its own messages to whom this is the mailbox of.
static bool is_of_watch(const struct viv_signal *sig, const void *arg)
{
    const struct viv_msg *msg = (const struct viv_msg *)(const void *)sig;
    if (sig->kind != VIV_SIG_MESSAGE || msg->ops != &event_ops) return false;
    return ((const struct event_msg *)(const void *)msg)->watch == arg;
}

enum viv_err viv_native_unwatch(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                                int64_t tag)
{
    struct viv_program *program;
    if (ctx->proc == NULL) return VIV_E_INVAL;
    VIV_TRY(viv_native__find(ctx, ref, 0, &program));
    const viv_pid to = viv_proc_pid(ctx->proc);
    viv_spin_lock(&program->care.lock);
    struct viv_watch *watch = find_locked(program, to, tag);
    bool leaves = false;
    if (watch != NULL) {
        watch->is_dead = true;
        leaves = watch->pending == 0;
        if (leaves) viv_list_remove(&watch->link);
        // Relaxed: it is on the list, which counts.
        atomic_fetch_add_explicit(&watch->refs, 1, memory_order_relaxed);
    }
    viv_spin_unlock(&program->care.lock);
    if (watch != NULL) {
        if (leaves) drop_watch(watch);
        viv_mbox_remove(viv_proc_mbox(ctx->proc), is_of_watch, watch);
        drop_watch(watch);
    }
    viv_spin_lock(&program->care.lock);
    const bool is_on_its_way = find_locked(program, to, tag) != NULL;
    viv_spin_unlock(&program->care.lock);
    viv_program__drop(program);
    return is_on_its_way ? VIV_E_AGAIN : VIV_OK;
}
