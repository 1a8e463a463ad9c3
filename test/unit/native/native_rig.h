// SPDX-License-Identifier: Apache-2.0
// A kernel with the room of programs, used by a thread that is an operator; real programs.
#ifndef VIV_TEST_UNIT_NATIVE_NATIVE_RIG_H
#define VIV_TEST_UNIT_NATIVE_NATIVE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cap/policy.h"
#include "native/block.h"
#include "native/native.h"

#define RIG_TIMEOUT_NS (30 * VIV_NS_PER_SEC) // a test that waits longer has failed

struct native_rig {
    struct viv_kernel *kernel;
    struct viv_room *cap;
    struct viv_native *native;
    struct viv_env *env;
    struct viv_qsbr_member *member;
    struct viv_native_ctx ctx;
    struct viv_buf block;          // the request being made
    struct viv_diag diag;          // of the last spawn that failed
    viv_pid named;                 // likewise
    enum viv_native_sandbox level; // of requests
    bool has_neighbour;            // another kernel of the process works when it is closed
    int fds;                       // descriptors before
    int64_t bytes;                 // memory before
    struct viv_policy *policy;     // of the environment; NULL: the thread is an operator
    uint64_t audit_at;             // where the audit ring was read up to
};

void rig_open(struct native_rig *rig);
// Stops everything; checks that no child, no descriptor and no memory is left.
void rig_close(struct native_rig *rig);
// With a change of the configuration before the room opens.
void rig_open_with(struct native_rig *rig, void (*change)(struct viv_native_config *config));

// With an environment that is held to a policy; the thread is no operator then.
void rig_open_policy(struct native_rig *rig, const char *policy,
                     void (*change)(struct viv_native_config *config));
// The next audit event of a program as a line of JSON; false: there is none.
bool rig_next_audit(struct native_rig *rig, char *out, size_t cap);
// Waits for the next one, which must be of this operation and outcome ("OK"), and is left in `out`.
void rig_expect_audit(struct native_rig *rig, const char *operation, const char *outcome, char *out,
                      size_t cap);

// Begins a request: cmd and arguments up to NULL, at the rig's level.
void rig_request(struct native_rig *rig, const char *cmd, ...);
void rig_shell(struct native_rig *rig, const char *script); // /bin/sh -c script
void rig_as_nobody(struct native_rig *rig);                 // when the test is root
void rig_sandbox(struct native_rig *rig, enum viv_native_sandbox level);
void rig_put_u64(struct native_rig *rig, enum viv_native_key key, uint64_t value);
void rig_put_text(struct native_rig *rig, enum viv_native_key key, const char *text);
// Spawns it.
enum viv_err rig_spawn(struct native_rig *rig, struct viv_native_spawned *out);
struct viv_native_ref rig_start(struct native_rig *rig); // it must succeed

enum viv_err rig_wait(struct native_rig *rig, const struct viv_native_ref *ref,
                      struct viv_native_exit *out);
enum viv_err rig_stop(struct native_rig *rig, const struct viv_native_ref *ref, uint64_t grace_ns,
                      struct viv_native_exit *out);
enum viv_err rig_kill(struct native_rig *rig, const struct viv_native_ref *ref,
                      struct viv_native_exit *out);
enum viv_err rig_write(struct native_rig *rig, const struct viv_native_ref *ref, const char *text);
void rig_status(struct native_rig *rig, const struct viv_native_ref *ref,
                struct viv_native_status *out);
// Takes all there is of a stream, terminated; the length.
size_t rig_logs(struct native_rig *rig, const struct viv_native_ref *ref, uint32_t stream,
                char *out, size_t cap);
// Runs it to its end and takes its output.
void rig_run(struct native_rig *rig, struct viv_native_exit *out_exit, char *out, size_t cap);
// Waits until the stream has said so much in all.
void rig_await_output(struct native_rig *rig, const struct viv_native_ref *ref, uint64_t bytes);
// The call of the room, waited for.
enum viv_err rig_read_since(struct native_rig *rig, const struct viv_native_ref *ref,
                            const struct viv_native_read *read, struct viv_log_chunk *out_chunk);
void rig_sleep(struct native_rig *rig, uint64_t ns);
// Whether control groups can be made here; an ordinary user often may not.
bool rig_has_groups(void);
// For requests of what can be ended from outside: where there are no groups, a namespace.
void rig_contain(struct native_rig *rig);
int rig_count_fds(void);

#endif
