// SPDX-License-Identifier: Apache-2.0
//
// viv_durable.h: durable processes, for guests in C11 or C++ compiled to 32-bit WebAssembly; beside
// viv_guest.h, whose conventions hold: functions return 0 (or a number that is not negative) or
// -VIV_E_...; nothing traps; viv_info(VIV_INFO_ERROR) has the detail of the last error. Times are
// milliseconds since the epoch, by the store's clock; VIV_FOREVER is no limit.
//
// A durable process is run again after a crash, from the beginning. What it has done it asks for,
// by a key, before it does it again:
//
//     int32_t got = viv_durable_step_get("paid", 4, buf, sizeof buf, &len);
//     if (got == -VIV_E_NOTFOUND) { pay(); viv_durable_step_end("paid", 4, "true", 4); }
//
// or it keeps checkpoints. All it writes is refused once another worker runs it (FENCED), and it is
// ended then. Texts are UTF-8, not terminated: pointer and length. Values are JSON.
//
// Bytes that come back: where, how much room there is, and where the length goes. Too little room:
// TOOSMALL, the length is written, and nothing was consumed: call again with more.
#ifndef VIV_VIV_DURABLE_H
#define VIV_VIV_DURABLE_H

#include <viv/viv_guest.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIV_DURABLE_IMPORT(name) __attribute__((import_module("viv_durable"), import_name(name)))

enum { // further errors of this interface (viv_guest.h has the others)
    VIV_E_DURABLE_TOOSMALL = 16,
    VIV_E_DURABLE_CANCELLED = 21, // it was asked to end
    VIV_E_UTF8 = 128,
    VIV_E_JSON = 129,
    VIV_E_REGISTRATION = 130, // the id is registered with other content
    VIV_E_UNDECLARED = 131,   // the registration declares no such event type
    VIV_E_KEY_REQUIRED = 132,
    VIV_E_KEY_CONFLICT = 133, // the key holds other content
    VIV_E_SCHEMA = 134,
    VIV_E_SELECTOR = 135,
    VIV_E_OUTPUT = 136,
    VIV_E_TERMINAL = 137, // that process has ended
    VIV_E_AUTHORITY = 139,
    VIV_E_FENCED = 140,
    VIV_E_ENDED = 146, // the event cannot come any more
    VIV_E_NO_SPACE = 147,
    VIV_E_UNAVAILABLE = 149,    // no connection to the store; it may come back
    VIV_E_OUTCOME_UNKNOWN = 150 // lost while committing: with a key, do it again
};

// ---- itself: NOTFOUND when this is no durable run ----

VIV_DURABLE_IMPORT("self") int32_t viv_durable_self(char *buf, size_t cap, uint32_t *out_len);
VIV_DURABLE_IMPORT("attempt") int32_t viv_durable_attempt(void); // from 1
// The arguments of its registration: a JSON list.
VIV_DURABLE_IMPORT("input") int32_t viv_durable_input(char *buf, size_t cap, uint32_t *out_len);
VIV_DURABLE_IMPORT("now") int64_t viv_durable_now(void);
// Why it was asked to end; NOTFOUND: it was not. It may end in its own way within its grace.
VIV_DURABLE_IMPORT("cancelled")
int32_t viv_durable_cancelled(char *buf, size_t cap, uint32_t *out_len);
VIV_DURABLE_IMPORT("draining") int32_t viv_durable_draining(void); // 1: its worker is to end
// What comes of it if it ends normally: {"type":"success","value":…}, {"type":"failure","class":…,
// "code":…,"message":…}. The last one counts; without one it is success with null. Errors: JSON,
// INVAL, TOOBIG (over 1 MiB).
VIV_DURABLE_IMPORT("finish") int32_t viv_durable_finish(const char *output, size_t len);

// ---- its log ----

// key_len 0: no key. With one, the same event again is the same event. Errors: UNDECLARED, SCHEMA,
// KEY_CONFLICT, JSON, QUOTA, TOOBIG.
VIV_DURABLE_IMPORT("append")
int32_t viv_durable_append(const char *type, size_t type_len, const char *payload,
                           size_t payload_len, const char *key, size_t key_len,
                           uint64_t *out_sequence);
// The value of a step that was done. NOTFOUND: do it, then say so.
VIV_DURABLE_IMPORT("step_get")
int32_t viv_durable_step_get(const char *key, size_t key_len, char *buf, size_t cap,
                             uint32_t *out_len);
VIV_DURABLE_IMPORT("step_end")
int32_t viv_durable_step_end(const char *key, size_t key_len, const char *value, size_t value_len);
// Any bytes (4 MiB), under numbers that grow; the newest two are kept. Errors: INVAL (a number
// below the newest), KEY_CONFLICT (other bytes), TOOBIG.
VIV_DURABLE_IMPORT("checkpoint_put")
int32_t viv_durable_checkpoint_put(uint64_t ordinal, const void *bytes, size_t len);
// The newest. Errors: NOTFOUND.
VIV_DURABLE_IMPORT("checkpoint_get")
int32_t viv_durable_checkpoint_get(uint64_t *out_ordinal, void *buf, size_t cap, uint32_t *out_len);

// ---- waiting: CANCELLED once it was asked to end; a timeout of 0 only looks ----

// Until a time; again after a crash: until the same time. The key says which sleep it is.
VIV_DURABLE_IMPORT("sleep")
int32_t viv_durable_sleep(const char *key, size_t key_len, int64_t until_ms);
// A promise is settled once, by whoever has its token (32 characters), or at due_ms (-1: never).
// Errors: KEY_CONFLICT (another due), QUOTA.
VIV_DURABLE_IMPORT("promise_create")
int32_t viv_durable_promise_create(const char *key, size_t key_len, int64_t due_ms, char *buf,
                                   size_t cap, uint32_t *out_len);
// {"type":"value","value":…}; type: value, error, timeout, cancelled or process_ended. Errors:
// NOTFOUND, TIMEOUT, CANCELLED.
VIV_DURABLE_IMPORT("promise_await")
int32_t viv_durable_promise_await(const char *key, size_t key_len, int64_t timeout_ms, char *buf,
                                  size_t cap, uint32_t *out_len);
// Its first signal of that name behind a sequence (0: from the start): the payload, and its
// sequence. Errors: TIMEOUT, CANCELLED.
VIV_DURABLE_IMPORT("wait_signal")
int32_t viv_durable_wait_signal(const char *name, size_t name_len, uint64_t after,
                                int64_t timeout_ms, uint64_t *out_sequence, char *buf, size_t cap,
                                uint32_t *out_len);

// ---- others: needs class durable.start, durable.read or durable.control (DENIED) ----

enum { // rights of a grant
    VIV_DURABLE_MAY_READ = 1,
    VIV_DURABLE_MAY_AWAIT = 2,
    VIV_DURABLE_MAY_SIGNAL = 4,
    VIV_DURABLE_MAY_CANCEL = 8,
    VIV_DURABLE_MAY_GRANT = 16
};
// Registers a process, which is granted to the caller's scope (job:ID of a run), and gives a handle
// with all rights; the same registration again is the same process. viv_close of viv_guest.h drops
// a handle. Errors: REGISTRATION, JSON, INVAL, TOOBIG, DENIED.
VIV_DURABLE_IMPORT("start")
int32_t viv_durable_start(const char *registration, size_t len, uint64_t *out_handle);
// A process that is granted to the caller's scope, with the rights of the grant. Errors: NOTFOUND
// (also what others see), DENIED.
VIV_DURABLE_IMPORT("open")
int32_t viv_durable_open(const char *id, size_t len, uint64_t *out_handle);
// Its output, once it has ended. Errors: BADHANDLE, RIGHTS, DENIED, TIMEOUT, CANCELLED.
VIV_DURABLE_IMPORT("await")
int32_t viv_durable_await(uint64_t handle, int64_t timeout_ms, char *buf, size_t cap,
                          uint32_t *out_len);
// Events behind a sequence: a JSON list of {"sequence","type","payload","at_ms","key"}, at most 1
// MiB of them.
VIV_DURABLE_IMPORT("events")
int32_t viv_durable_events(uint64_t handle, uint64_t after, uint64_t limit, char *buf, size_t cap,
                           uint32_t *out_len);
// key_len 0: no key.
VIV_DURABLE_IMPORT("signal")
int32_t viv_durable_signal(uint64_t handle, const char *name, size_t name_len, const char *payload,
                           size_t payload_len, const char *key, size_t key_len);
// Asks it to end.
VIV_DURABLE_IMPORT("cancel")
int32_t viv_durable_cancel(uint64_t handle, const char *reason, size_t reason_len);
// Lets a scope, SESSION[/FRAME] with %2F for a slash and %25 for a percent sign in either, see it.
VIV_DURABLE_IMPORT("grant")
int32_t viv_durable_grant(uint64_t handle, const char *scope, size_t scope_len, int64_t rights);
// outcome: {"type":"value","value":…} or {"type":"error","value":…}. The first one stays. Errors:
// NOTFOUND (no such token), INVAL, DENIED.
VIV_DURABLE_IMPORT("promise_settle")
int32_t viv_durable_promise_settle(const char *token, size_t token_len, const char *outcome,
                                   size_t outcome_len);
// A wake was dealt with: it is not delivered again. Errors: NOTFOUND, DENIED.
VIV_DURABLE_IMPORT("wake_ack")
int32_t viv_durable_wake_ack(const char *wake_id, size_t wake_id_len);

#ifdef __cplusplus
}
#endif

#endif
