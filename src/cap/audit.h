// SPDX-License-Identifier: Apache-2.0
// The audit ring of a runtime: what was denied, granted and changed.
//
//   denied ──> window: equal denials of a second, counted ──> ring of events <── all others
//                                                              └── any number of readers
//
// Equal denials (process, class, operation, object, outcome) of one second are one event, which
// enters the ring when the second is over; the sum of its counts is exact. At most
// VIV_AUDIT_WINDOWS seconds are open: one more closes an older one early. A reader that the ring
// has overtaken is told how many events it lost. Thread: any. Writing does not allocate; the lock
// is held for a copy.
#ifndef VIV_CAP_AUDIT_H
#define VIV_CAP_AUDIT_H

#include "cap/scope.h"
#include "proc/pid.h"

#define VIV_AUDIT_EVENTS 65536u   // events of a ring
#define VIV_AUDIT_WINDOWS 256u    // seconds open at the same time
#define VIV_AUDIT_OBJECT_MAX 256u // bytes of an object; longer ones are cut
#define VIV_AUDIT_JSON_MAX 2560u  // bytes of a line, with its end and the terminator

enum viv_audit_kind {
    VIV_AUDIT_LOST, // made for a reader; `count` events are missing
    VIV_AUDIT_DENIED,
    VIV_AUDIT_ATTACH_GUESS,
    VIV_AUDIT_GRANT,
    VIV_AUDIT_DELEGATE,
    VIV_AUDIT_REVOKE,
    VIV_AUDIT_SESSION_CREATE,
    VIV_AUDIT_SESSION_CHANGE,
    VIV_AUDIT_SESSION_REMOVE,
    VIV_AUDIT_POLICY_LOAD,
    VIV_AUDIT_UNENFORCED,
    VIV_AUDIT_ACCOUNT_LEAK,
    VIV_AUDIT_ORPHAN,
    VIV_AUDIT_CONTROL_KILL,
    VIV_AUDIT_KINDS
};

struct viv_ses_id {
    uint8_t b[16]; // all zero: none
};

#define VIV_AUDIT_NO_CLASS UINT8_MAX

struct viv_audit_event {
    uint64_t seq, time_ns; // set by the writing; of a window: its begin
    uint64_t count;        // set by the writing
    viv_pid pid;           // none: not of a process
    struct viv_ses_id session;
    uint32_t environment;
    uint8_t kind; // enum viv_audit_kind
    uint8_t cap;  // enum viv_cap, or VIV_AUDIT_NO_CLASS
    uint16_t object_len;
    enum viv_err outcome;
    const char *operation;             // a name that lives as long as the program; NULL: none
    char object[VIV_AUDIT_OBJECT_MAX]; // not terminated
};

struct viv_audit;
struct viv_audit_config {
    uint32_t event_count; // 0: VIV_AUDIT_EVENTS
    uint64_t (*now_ns)(void *arg);
    void *arg;
};
enum viv_err viv_audit_new(const struct viv_audit_config *config,
                           struct viv_audit **out_audit) VIV_MUST_CHECK; // Errors: EXHAUSTED
void viv_audit_free(VIV_OWN struct viv_audit *audit);                    // NULL is allowed

void viv_audit_init_event(struct viv_audit_event *event, enum viv_audit_kind kind);
void viv_audit_set_object(struct viv_audit_event *event, const void *text, size_t len_bytes);
// The object of a question, as the asker named it: "tcp:10.0.0.1:80", "/etc/passwd", "#1.2.3".
void viv_audit_set_query(struct viv_audit_event *event, enum viv_cap cap,
                         const struct viv_cap_query *query);
// Writes the event, or counts it with its equals. audit NULL: nothing happens.
void viv_audit_write(struct viv_audit *audit, const struct viv_audit_event *event);
// Closes every open second, so that a reader sees all there is.
void viv_audit_flush(struct viv_audit *audit);

// The event at *cursor (0 at first: the oldest there is), which moves on. False: nothing new.
// Closes seconds that are over.
bool viv_audit_read(struct viv_audit *audit, uint64_t *cursor, struct viv_audit_event *out_event);
const char *viv_audit_kind_name(enum viv_audit_kind kind);
// One line of JSON with its newline, terminated; the length without the terminator. Bytes that are
// not UTF-8 become U+FFFD. Errors: TOOSMALL (VIV_AUDIT_JSON_MAX is always enough).
enum viv_err viv_audit_json(const struct viv_audit_event *event, char *buf, size_t cap_bytes,
                            size_t *out_len) VIV_MUST_CHECK;

#endif
