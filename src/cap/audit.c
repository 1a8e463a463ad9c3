// SPDX-License-Identifier: Apache-2.0
// The audit ring.
//
// Events have numbers from 1; number n lies at n % event_count, and the ring holds those from
// first_seq on: the last event_count of them, or fewer when their details need the room. A window
// is found by the hash of what makes denials equal, in a few places from there on. Everything is
// under one lock, held for the copy of an event: a denial that is counted only costs a hash and a
// comparison.
#include "cap/audit.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/spin.h"
#include <stdatomic.h>
#include <string.h>

enum { PROBES = 8 }; // places of a window

struct window {
    uint64_t hash;
    struct viv_audit_event event; // count 0: free
};

struct viv_audit {
    struct viv_audit_config config; // immutable
    struct viv_spin lock;           // all below
    uint64_t first_seq, next_seq;
    uint64_t detail_bytes; // of the events from first_seq on
    uint32_t open_count;   // windows
    struct window windows[VIV_AUDIT_WINDOWS];
    struct viv_audit_event ring[];
};

struct viv_audit_detail {
    _Atomic uint32_t refs;
    uint32_t len;
    char text[];
};

static size_t audit_bytes(uint32_t event_count)
{
    return sizeof(struct viv_audit) + event_count * sizeof(struct viv_audit_event);
}

enum viv_err viv_audit_new(const struct viv_audit_config *config, struct viv_audit **out_audit)
{
    const uint32_t count = config->event_count != 0 ? config->event_count : VIV_AUDIT_EVENTS;
    // The ring is not touched before it is written, so that it takes memory only then.
    struct viv_audit *audit = viv_try_alloc(audit_bytes(count), VIV_TAG_CAP);
    if (audit == NULL) return VIV_E_EXHAUSTED;
    memset(audit, 0, sizeof *audit);
    audit->config = *config;
    audit->config.event_count = count;
    audit->first_seq = audit->next_seq = 1;
    viv_spin_init(&audit->lock, VIV_LOCK_AUDIT);
    *out_audit = audit;
    return VIV_OK;
}

void viv_audit_free(VIV_OWN struct viv_audit *audit)
{
    if (audit == NULL) return;
    for (uint64_t seq = audit->first_seq; seq < audit->next_seq; seq++)
        viv_audit_detail_drop(audit->ring[seq % audit->config.event_count].detail);
    viv_free(audit, audit_bytes(audit->config.event_count), VIV_TAG_CAP);
}

// ---- details ----

enum viv_err viv_audit_detail_new(const char *text, size_t len_bytes,
                                  struct viv_audit_detail **out_detail)
{
    if (len_bytes > VIV_AUDIT_DETAIL_MAX) return VIV_E_TOOBIG;
    struct viv_audit_detail *detail = viv_try_alloc(sizeof *detail + len_bytes, VIV_TAG_CAP);
    if (detail == NULL) return VIV_E_EXHAUSTED;
    atomic_init(&detail->refs, 1);
    detail->len = (uint32_t)len_bytes;
    memcpy(detail->text, text, len_bytes);
    *out_detail = detail;
    return VIV_OK;
}

static struct viv_audit_detail *take_detail(struct viv_audit_detail *detail)
{
    // Relaxed: who takes one has one.
    if (detail != NULL) atomic_fetch_add_explicit(&detail->refs, 1, memory_order_relaxed);
    return detail;
}

void viv_audit_detail_drop(VIV_OWN struct viv_audit_detail *detail)
{
    // Acq_rel: whoever frees it comes after every reader.
    if (detail == NULL || atomic_fetch_sub_explicit(&detail->refs, 1, memory_order_acq_rel) != 1)
        return;
    viv_free(detail, sizeof *detail + detail->len, VIV_TAG_CAP);
}

const char *viv_audit_detail_text(const struct viv_audit_detail *detail, size_t *out_len)
{
    *out_len = detail->len;
    return detail->text;
}

// ---- writing ----

void viv_audit_init_event(struct viv_audit_event *event, enum viv_audit_kind kind)
{
    // The object is left as it is: object_len says what counts of it.
    memset(event, 0, offsetof(struct viv_audit_event, object));
    event->kind = (uint8_t)kind;
    event->cap = VIV_AUDIT_NO_CLASS;
}

void viv_audit_set_object(struct viv_audit_event *event, const void *text, size_t len_bytes)
{
    const size_t len = len_bytes < VIV_AUDIT_OBJECT_MAX ? len_bytes : VIV_AUDIT_OBJECT_MAX;
    if (len > 0) memcpy(event->object, text, len);
    event->object_len = (uint16_t)len;
}

// An event without the rest of its room.
static void copy_event(struct viv_audit_event *to, const struct viv_audit_event *from)
{
    memcpy(to, from, offsetof(struct viv_audit_event, object) + from->object_len);
}

static uint32_t detail_len(const struct viv_audit_event *event)
{
    return event->detail != NULL ? event->detail->len : 0;
}

static void forget_first_locked(struct viv_audit *audit)
{
    struct viv_audit_event *first = &audit->ring[audit->first_seq % audit->config.event_count];
    audit->detail_bytes -= detail_len(first);
    viv_audit_detail_drop(first->detail);
    audit->first_seq++;
}

static void append_locked(struct viv_audit *audit, const struct viv_audit_event *event)
{
    while (audit->next_seq - audit->first_seq == audit->config.event_count ||
           (audit->first_seq < audit->next_seq &&
            audit->detail_bytes + detail_len(event) > VIV_AUDIT_DETAILS_BYTES))
        forget_first_locked(audit);
    audit->detail_bytes += detail_len(event);
    struct viv_audit_event *to = &audit->ring[audit->next_seq % audit->config.event_count];
    copy_event(to, event);
    to->seq = audit->next_seq++;
}

static void close_window_locked(struct viv_audit *audit, struct window *window)
{
    append_locked(audit, &window->event);
    window->event.count = 0;
    audit->open_count--;
}

static uint64_t hash_event(const struct viv_audit_event *event)
{
    const uint64_t what = (uint64_t)event->cap << 32 | (uint32_t)event->outcome;
    return viv_hash_bytes(event->object, event->object_len, event->pid.w ^ viv_mix_u64(what));
}

static bool is_equal(const struct viv_audit_event *a, const struct viv_audit_event *b)
{
    return viv_pid_eq(a->pid, b->pid) && a->cap == b->cap && a->outcome == b->outcome &&
           a->operation == b->operation && a->environment == b->environment &&
           memcmp(&a->session, &b->session, sizeof a->session) == 0 &&
           a->object_len == b->object_len && memcmp(a->object, b->object, a->object_len) == 0;
}

static bool is_over(const struct window *window, uint64_t now_ns)
{
    // Another thread may have read a later clock.
    return now_ns > window->event.time_ns && now_ns - window->event.time_ns >= VIV_NS_PER_SEC;
}

// The window that counts this denial, or where one may open: a free place, else the oldest.
static struct window *find_window(struct viv_audit *audit, const struct viv_audit_event *event,
                                  uint64_t hash)
{
    struct window *place = NULL;
    for (uint32_t i = 0; i < PROBES; i++) {
        struct window *window = &audit->windows[(hash + i) % VIV_AUDIT_WINDOWS];
        const bool is_free = window->event.count == 0;
        if (!is_free && window->hash == hash && is_equal(&window->event, event)) return window;
        if (place != NULL && place->event.count == 0) continue;
        if (place == NULL || is_free || window->event.time_ns < place->event.time_ns)
            place = window;
    }
    return place;
}

static void count_locked(struct viv_audit *audit, const struct viv_audit_event *event,
                         uint64_t now_ns)
{
    VIV_ASSERT(event->detail == NULL);
    const uint64_t hash = hash_event(event);
    struct window *window = find_window(audit, event, hash);
    if (window->event.count != 0 && window->hash == hash && !is_over(window, now_ns) &&
        is_equal(&window->event, event)) {
        window->event.count++;
        return;
    }
    if (window->event.count != 0) close_window_locked(audit, window);
    window->hash = hash;
    copy_event(&window->event, event);
    window->event.time_ns = now_ns;
    window->event.count = 1;
    audit->open_count++;
}

void viv_audit_write(struct viv_audit *audit, const struct viv_audit_event *event)
{
    if (audit == NULL) {
        viv_audit_detail_drop(event->detail);
        return;
    }
    const uint64_t now_ns = audit->config.now_ns(audit->config.arg);
    viv_spin_lock(&audit->lock);
    if (event->kind == VIV_AUDIT_DENIED) {
        count_locked(audit, event, now_ns);
    } else {
        append_locked(audit, event);
        struct viv_audit_event *there =
            &audit->ring[(audit->next_seq - 1) % audit->config.event_count];
        there->time_ns = now_ns;
        there->count = 1;
    }
    viv_spin_unlock(&audit->lock);
}

static void flush_locked(struct viv_audit *audit, bool all, uint64_t now_ns)
{
    for (uint32_t i = 0; i < VIV_AUDIT_WINDOWS && audit->open_count > 0; i++) {
        struct window *window = &audit->windows[i];
        if (window->event.count != 0 && (all || is_over(window, now_ns)))
            close_window_locked(audit, window);
    }
}

void viv_audit_flush(struct viv_audit *audit)
{
    viv_spin_lock(&audit->lock);
    flush_locked(audit, true, 0);
    viv_spin_unlock(&audit->lock);
}

// ---- reading ----

// The event with a count of its detail.
static bool read_event(struct viv_audit *audit, uint64_t *cursor, struct viv_audit_event *out_event)
{
    const uint64_t now_ns = audit->config.now_ns(audit->config.arg);
    viv_spin_lock(&audit->lock);
    if (audit->open_count > 0) flush_locked(audit, false, now_ns);
    const uint64_t first = audit->first_seq, at = *cursor != 0 ? *cursor : 1;
    const bool is_there = at < audit->next_seq;
    if (is_there && at < first) {
        viv_audit_init_event(out_event, VIV_AUDIT_LOST);
        out_event->seq = at;
        out_event->time_ns = now_ns;
        out_event->count = first - at;
        *cursor = first;
    } else if (is_there) {
        copy_event(out_event, &audit->ring[at % audit->config.event_count]);
        (void)take_detail(out_event->detail);
        *cursor = at + 1;
    }
    viv_spin_unlock(&audit->lock);
    return is_there;
}

bool viv_audit_read(struct viv_audit *audit, uint64_t *cursor, struct viv_audit_event *out_event)
{
    if (!read_event(audit, cursor, out_event)) return false;
    viv_audit_detail_drop(out_event->detail);
    out_event->detail = NULL;
    return true;
}

bool viv_audit_read_line(struct viv_audit *audit, uint64_t *cursor,
                         struct viv_audit_event *out_event, char buf[VIV_AUDIT_JSON_MAX],
                         size_t *out_len)
{
    if (!read_event(audit, cursor, out_event)) return false;
    const enum viv_err err = viv_audit_json(out_event, buf, VIV_AUDIT_JSON_MAX, out_len);
    VIV_ASSERT(err == VIV_OK); // its bound holds any event
    viv_audit_detail_drop(out_event->detail);
    out_event->detail = NULL;
    return true;
}
