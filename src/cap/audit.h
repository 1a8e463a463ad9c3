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
//
// What does not fit an event is its detail: text made before the writing, bounded, and shown in the
// line of JSON. Details together have a bound as well: the oldest events go when it is reached.
#ifndef VIV_CAP_AUDIT_H
#define VIV_CAP_AUDIT_H

#include "cap/scope.h"
#include "proc/pid.h"

#define VIV_AUDIT_EVENTS 65536u                           // events of a ring
#define VIV_AUDIT_WINDOWS 256u                            // seconds open at the same time
#define VIV_AUDIT_OBJECT_MAX 256u                         // bytes of an object; longer ones are cut
#define VIV_AUDIT_DETAIL_MAX 24576u                       // bytes of a detail
#define VIV_AUDIT_DETAILS_BYTES (UINT64_C(16) << 20)      // of all details of a ring
#define VIV_AUDIT_JSON_MAX (2560u + VIV_AUDIT_DETAIL_MAX) // a line, its end and the terminator

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
    VIV_AUDIT_PROGRAM, // of room native: a spawn, a stop, an end …
    VIV_AUDIT_KINDS
};

struct viv_ses_id {
    uint8_t b[16]; // all zero: none
};

#define VIV_AUDIT_NO_CLASS UINT8_MAX

// Members of a JSON object, without its braces; immutable and counted.
struct viv_audit_detail;
// Errors: EXHAUSTED, TOOBIG.
enum viv_err viv_audit_detail_new(const char *text, size_t len_bytes,
                                  struct viv_audit_detail **out_detail) VIV_MUST_CHECK;
void viv_audit_detail_drop(VIV_OWN struct viv_audit_detail *detail); // NULL is allowed

struct viv_audit_event {
    uint64_t seq, time_ns; // set by the writing; of a window: its begin
    uint64_t count;        // set by the writing
    viv_pid pid;           // none: not of a process
    struct viv_ses_id session;
    uint32_t environment;
    uint8_t kind;     // enum viv_audit_kind
    uint8_t cap;      // enum viv_cap, or VIV_AUDIT_NO_CLASS
    bool is_reserved; // room for its line was set aside where it will be kept (native/audit_file.h)
    uint16_t object_len;
    enum viv_err outcome;
    const char *operation;             // a name that lives as long as the program; NULL: none
    struct viv_audit_detail *detail;   // NULL: none, and always of an event that was read
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
// Writes the event, or counts it with its equals (denials have no detail). audit NULL: nothing is
// written. Owns event->detail.
void viv_audit_write(struct viv_audit *audit, const struct viv_audit_event *event);
// Closes every open second, so that a reader sees all there is.
void viv_audit_flush(struct viv_audit *audit);

// The event at *cursor (0 at first: the oldest there is), which moves on. False: nothing new.
// Closes seconds that are over.
bool viv_audit_read(struct viv_audit *audit, uint64_t *cursor, struct viv_audit_event *out_event);
// The same, and as a line of JSON with its newline and a terminator, with its detail; *out_len is
// without the terminator.
bool viv_audit_read_line(struct viv_audit *audit, uint64_t *cursor,
                         struct viv_audit_event *out_event, char buf[VIV_AUDIT_JSON_MAX],
                         size_t *out_len);
const char *viv_audit_kind_name(enum viv_audit_kind kind);
// One line of JSON with its newline, terminated; the length without the terminator. Bytes that are
// not UTF-8 become U+FFFD. Errors: TOOSMALL (VIV_AUDIT_JSON_MAX is always enough).
enum viv_err viv_audit_json(const struct viv_audit_event *event, char *buf, size_t cap_bytes,
                            size_t *out_len) VIV_MUST_CHECK;
// As a string of JSON, not terminated; the bytes written, 0: there is no room.
size_t viv_audit_escape(char *out, size_t cap_bytes, const char *bytes, size_t len_bytes);
const char *viv_audit_detail_text(const struct viv_audit_detail *detail, size_t *out_len);

#endif
