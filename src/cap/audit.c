// SPDX-License-Identifier: Apache-2.0
// The audit ring.
//
// Events have numbers from 1; number n lies at n % event_count, and the ring holds the last
// event_count of them. A window is found by the hash of what makes denials equal, in a few places
// from there on. Everything is under one lock, held for the copy of an event: a denial that is
// counted only costs a hash and a comparison.
#include "cap/audit.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/spin.h"
#include <string.h>

enum { PROBES = 8 }; // places of a window

struct window {
    uint64_t hash;
    struct viv_audit_event event; // count 0: free
};

struct viv_audit {
    struct viv_audit_config config; // immutable
    struct viv_spin lock;           // all below
    uint64_t next_seq;
    uint32_t open_count; // windows
    struct window windows[VIV_AUDIT_WINDOWS];
    struct viv_audit_event ring[];
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
    audit->next_seq = 1;
    viv_spin_init(&audit->lock, VIV_LOCK_AUDIT);
    *out_audit = audit;
    return VIV_OK;
}

void viv_audit_free(VIV_OWN struct viv_audit *audit)
{
    if (audit != NULL) viv_free(audit, audit_bytes(audit->config.event_count), VIV_TAG_CAP);
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

static void append_locked(struct viv_audit *audit, const struct viv_audit_event *event)
{
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
    if (audit == NULL) return;
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

bool viv_audit_read(struct viv_audit *audit, uint64_t *cursor, struct viv_audit_event *out_event)
{
    const uint64_t now_ns = audit->config.now_ns(audit->config.arg);
    viv_spin_lock(&audit->lock);
    if (audit->open_count > 0) flush_locked(audit, false, now_ns);
    const uint64_t end = audit->next_seq, room = audit->config.event_count;
    const uint64_t first = end > room ? end - room : 1, at = *cursor != 0 ? *cursor : 1;
    const bool is_there = at < end;
    if (is_there && at < first) {
        viv_audit_init_event(out_event, VIV_AUDIT_LOST);
        out_event->seq = at;
        out_event->time_ns = now_ns;
        out_event->count = first - at;
        *cursor = first;
    } else if (is_there) {
        copy_event(out_event, &audit->ring[at % room]);
        *cursor = at + 1;
    }
    viv_spin_unlock(&audit->lock);
    return is_there;
}
