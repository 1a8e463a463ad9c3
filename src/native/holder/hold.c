// SPDX-License-Identifier: Apache-2.0
// The loop of hold. One thread; a turn is:
//
//   1. connections: who calls is greeted, frames are obeyed
//   2. care: bytes, limits, end, as the kernel's step does it (native/care/care.h)
//   3. clocks: nobody attached for too long, retention, a record that could not be written
//   4. news: the bell of a reader that sleeps, the state to the controller
//   5. waiting, for what any of them wants
//
// Invariants: from HAND on nothing that a connection does or fails to do ends the program but an
// order of the controller. The holder ends only when the program has: as long as it lives, init has
// somebody, and dies with it.
#include "native/holder/hold.h"

#include "native/holder/hold_int.h"
#include "os/clock.h"
#include "os/detach.h"
#include "os/file.h"
#include "os/ns.h"
#include "os/share.h"
#include "os/signal.h"
#include "os/tree.h"
#include <signal.h>

enum { TOKEN_LISTEN = 8, TOKEN_CONNS = 16, EVENTS = 16, READY_BITS = 6 };
#define RECORD_PAUSE_NS VIV_NS_PER_SEC
#define ARM_PAUSE_NS VIV_NS_PER_MS

// ------------------------------------------------------------------------------------------- care

static void forget(struct viv_care *care, int fd, uint32_t ready_bit)
{
    (void)ready_bit;
    viv_poller_forget(VIV_CONTAINER_OF(care, struct viv_hold, care)->poller, fd);
}

static const struct viv_care_host host = {.forget = forget, .is_idle = viv_hold__is_idle};

static void note_leader(struct viv_hold *hold)
{
    const pid_t number = hold->care.leader_fd >= 0 ? viv_os_pidfd_number(hold->care.leader_fd) : -1;
    hold->leader = number > 0 ? number : 0;
}

// Its record is latched, and written down as soon as that can be.
static void finish(struct viv_hold *hold, uint64_t now_ns)
{
    struct viv_native_exit exit;
    viv_care_count(&hold->care, &exit);
    hold->care.exit = exit;
    hold->care.phase = VIV_NATIVE_EXITED;
    viv_care_close_all(&hold->care);
    hold->leader = 0;
    hold->stage = VIV_HOLD_ENDED;
    hold->files = VIV_HOLD_FILE_SOCKET;
    hold->ended_ns = hold->record_ns = now_ns;
}

// When to come again; 0: at once.
static uint64_t take_care(struct viv_hold *hold, uint64_t now_ns)
{
    struct viv_care *care = &hold->care;
    viv_care_feed_starved(care);
    const bool more = viv_care_move(care, now_ns);
    const uint64_t limit_ns = viv_care_check(care, now_ns);
    const bool is_over = viv_care_look(care, now_ns);
    if (hold->leader == 0 && !care->has_exit && care->leader_fd >= 0) note_leader(hold);
    if (is_over) finish(hold, now_ns);
    if (is_over || more || (care->hot & (VIV_READY_OUT | VIV_READY_ERR)) != 0) return 0;
    const uint64_t rings_ns = viv_care_tend_rings(care, now_ns);
    return viv_min_u64(viv_min_u64(limit_ns, rings_ns), viv_care_next(care));
}

// A reader says that it sleeps by an exchange, and looks once more. Of the two exchanges the later
// one sees what was done before the other: the bytes, or the sleep.
static void ring_bell(struct viv_hold *hold)
{
    struct viv_care *care = &hold->care;
    const uint32_t out = VIV_NEWS_OUT | VIV_NEWS_ERR;
    if ((care->news & out) != 0 &&
        atomic_exchange_explicit(&hold->memory->reader_sleeps, 0, memory_order_acq_rel) != 0)
        VIV_IGNORE(viv_os_bell_ring(hold->bell_fd), "it has been rung, and not emptied");
    care->news = 0;
    care->fresh_bytes[VIV_OUT] = care->fresh_bytes[VIV_ERR] = 0;
}

// ----------------------------------------------------------------------------------------- clocks

static uint64_t check_orphan(struct viv_hold *hold, uint64_t now_ns)
{
    if (hold->stage != VIV_HOLD_HELD || viv_hold__controller(hold) != NULL) return VIV_FOREVER_NS;
    if (hold->orphan_end_ns == 0) // it is one from now on
        hold->orphan_end_ns = viv_add_sat_u64(now_ns, hold->rec.numbers.orphan_ns);
    if (now_ns < hold->orphan_end_ns) return hold->orphan_end_ns;
    const struct viv_care_stop stop = {.cause = VIV_CAUSE_ORPHAN,
                                       .grace_ns = viv_care_knob(&hold->care, VIV_KNOB_GRACE)};
    hold->orphan_end_ns = VIV_FOREVER_NS;
    viv_care_stop(&hold->care, &stop, now_ns);
    return now_ns;
}

static uint64_t check_record(struct viv_hold *hold, uint64_t now_ns)
{
    if (now_ns >= hold->record_ns) {
        const bool is_written = viv_hold__write_record(hold) == VIV_OK;
        hold->record_ns = is_written ? VIV_FOREVER_NS : now_ns + RECORD_PAUSE_NS;
    }
    return hold->record_ns;
}

static uint64_t check_end(struct viv_hold *hold, uint64_t now_ns)
{
    if (hold->stage != VIV_HOLD_ENDED) return check_record(hold, now_ns);
    if (hold->forgets) {
        viv_hold__forget(hold);
        return now_ns;
    }
    (void)check_record(hold, now_ns);
    const uint64_t end_ns =
        viv_add_sat_u64(hold->ended_ns, viv_care_knob(&hold->care, VIV_KNOB_RETENTION));
    // One that cannot be written, and was not seen, is waited for: it would be lost.
    const bool is_kept = hold->record_ns == VIV_FOREVER_NS || hold->was_seen;
    if (now_ns < end_ns) return viv_min_u64(hold->record_ns, end_ns);
    hold->is_over = is_kept;
    return hold->record_ns;
}

// ---------------------------------------------------------------------------------------- waiting

static bool arm_care(struct viv_hold *hold)
{
    struct viv_care *care = &hold->care;
    for (uint32_t i = 0; i < READY_BITS; i++) {
        int fd;
        bool is_writing;
        if (!viv_care_wants(care, 1u << i, &fd, &is_writing)) continue;
        if (viv_poller_arm(hold->poller, fd, is_writing ? VIV_POLL_OUT : VIV_POLL_IN, i) != VIV_OK)
            return false;
        care->armed |= 1u << i;
    }
    return true;
}

static bool arm_conns(struct viv_hold *hold)
{
    for (uint32_t i = 0; i < VIV_HOLD_CONNS; i++) {
        struct viv_hold_conn *conn = &hold->conns[i];
        if (conn->fd < 0 || conn->is_armed || conn->is_ready) continue;
        const uint32_t events =
            (conn->is_full ? VIV_POLL_OUT : 0u) | (conn->has_answer ? 0u : VIV_POLL_IN);
        if (viv_poller_arm(hold->poller, conn->fd, events, TOKEN_CONNS + i) != VIV_OK) return false;
        conn->is_armed = true;
    }
    return true;
}

static bool arm(struct viv_hold *hold, uint64_t now_ns)
{
    // Nobody is let in before there is a program.
    const bool listens = hold->stage >= VIV_HOLD_HELD && !hold->is_listening && !hold->has_caller &&
                         now_ns >= hold->listen_ns;
    if (listens) {
        if (viv_poller_arm(hold->poller, hold->listen_fd, VIV_POLL_IN, TOKEN_LISTEN) != VIV_OK)
            return false;
        hold->is_listening = true;
    }
    return arm_care(hold) && arm_conns(hold);
}

static void note_event(struct viv_hold *hold, const struct viv_poll_event *event)
{
    if (event->token < READY_BITS) {
        hold->care.armed &= ~(1u << event->token);
        hold->care.hot |= 1u << event->token;
    } else if (event->token == TOKEN_LISTEN) {
        hold->is_listening = false;
        hold->has_caller = true;
    } else {
        struct viv_hold_conn *conn = &hold->conns[event->token - TOKEN_CONNS];
        conn->is_armed = false;
        conn->is_ready = true;
        if (event->events != VIV_POLL_IN) conn->is_full = false; // or its end, which sending tells
    }
}

static void wait_for_events(struct viv_hold *hold, uint64_t next_ns)
{
    struct viv_poll_event events[EVENTS];
    const uint64_t now_ns = viv_os_now_ns();
    uint64_t timeout_ns = next_ns == VIV_FOREVER_NS ? VIV_FOREVER_NS
                          : next_ns > now_ns        ? next_ns - now_ns
                                                    : 0;
    if (!arm(hold, now_ns)) { // no memory to wait with: everything is tried
        timeout_ns = viv_min_u64(timeout_ns, ARM_PAUSE_NS);
        hold->care.hot |= VIV_HOLD_TRIED & ~hold->care.full;
    }
    const uint32_t n = viv_poller_wait(hold->poller, timeout_ns, events, EVENTS);
    for (uint32_t i = 0; i < n; i++)
        note_event(hold, &events[i]);
}

// ------------------------------------------------------------------------------------------- life

// When to come again, unless something happens before, or it is over.
static uint64_t turn(struct viv_hold *hold, uint64_t now_ns)
{
    bool more = false;
    uint64_t next_ns = VIV_FOREVER_NS;
    if (hold->has_caller) viv_hold__greet(hold, now_ns);
    more = viv_hold__converse(hold, now_ns) || hold->has_caller;
    if (hold->is_over) return 0;
    if (hold->stage == VIV_HOLD_HELD) {
        next_ns = take_care(hold, now_ns);
        ring_bell(hold);
    }
    next_ns = viv_min_u64(next_ns, check_orphan(hold, now_ns));
    viv_hold__look_at_state(hold); // before the record, which has it
    next_ns = viv_min_u64(next_ns, check_end(hold, now_ns));
    viv_hold__tell(hold);
    next_ns = viv_min_u64(next_ns, viv_hold__expire(hold, now_ns));
    return more ? 0 : next_ns;
}

// What must not end it, or be seen of it. False: it cannot be had.
static bool protect_self(void)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE};
    viv_os_ignore_signals(numbers, VIV_COUNT_OF(numbers));
    return viv_os_set_dumpable(false) >= 0;
}

static bool set_up(struct viv_hold *hold, int socket_fd)
{
    viv_care_init(&hold->care, &host);
    hold->dir_fd = hold->listen_fd = hold->memory_fd = hold->bell_fd = -1;
    hold->record_ns = hold->orphan_end_ns = VIV_FOREVER_NS;
    for (uint32_t i = 0; i < VIV_HOLD_CONNS; i++)
        hold->conns[i].fd = -1;
    hold->frame = viv_try_alloc(VIV_HOLD_FRAME_BYTES_MAX, VIV_TAG_NATIVE);
    if (hold->frame == NULL || !protect_self()) return false;
    if (viv_os_set_nonblocking(socket_fd) < 0) return false;
    if (viv_poller_new(&hold->poller) != VIV_OK) return false;
    viv_hold__adopt_pair(hold, socket_fd);
    return true;
}

int viv_holder_hold(int socket_fd)
{
    // First of all: who started it waits for that process, and its end must not be ours.
    if (viv_os_become_orphan() < 0) return 1;
    struct viv_hold *hold = viv_try_calloc(1, sizeof *hold, VIV_TAG_NATIVE);
    if (hold == NULL || !set_up(hold, socket_fd)) return 1; // the pair tells it by its end
    for (;;) {
        const uint64_t next_ns = turn(hold, viv_os_now_ns());
        if (hold->is_over) break;
        wait_for_events(hold, next_ns);
    }
    viv_hold__leave(hold);
    return 0; // what is left open or allocated goes with the process
}
