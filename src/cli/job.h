// SPDX-License-Identifier: Apache-2.0
// What the commands on durable processes share: the store that they open, its errors as exit
// statuses, and JSON of what it answers. Threads: the main thread.
#ifndef VIV_CLI_JOB_H
#define VIV_CLI_JOB_H

#include "base/cjson.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "os/thread.h"
#include "store/list.h"
#include <stdio.h>

enum {
    VIV_JOB_FAILED = 3, // of the process
    VIV_JOB_CANCELLED = 4,
    VIV_JOB_ABANDONED = 5,
    VIV_JOB_NOT_FOUND = 6,
    VIV_JOB_REFUSED = 7,
    VIV_JOB_UNAVAILABLE = 8, // the store
    VIV_JOB_TIMEOUT = 124,
};

struct viv_job {
    const char *command; // "job start", for messages
    const char *url;     // --store; NULL: VIV_STORE, else the default
    bool json;
    bool migrates;               // an older store is brought to this program's version
    const char *id;              // of the process that it is about, for messages; NULL: of none
    bool may_ask;                // works within a run, too, through its worker
    struct viv_ctl_client *door; // of the run; then there is no store
    const char *token;
    struct viv_store *store;
    struct viv_mem mem;
    struct viv_store_diag diag;
    char found_url[4200];
    // Of viv_job_pause:
    struct viv_mutex mutex;
    struct viv_cond changed;
    bool is_watching, has_changed;
};
#define VIV_JOB_OPTIONS(job)                                                                       \
    {"store", 0, VIV_CLI_TEXT, &(job).url},                                                        \
    {                                                                                              \
        "json", 0, VIV_CLI_FLAG, &(job).json                                                       \
    }

// `viv job SUB …`, args behind SUB; the exit status.
int viv_job_start(int count, char **args);
int viv_job_list(int count, char **args);
int viv_job_show(int count, char **args);
int viv_job_events(int count, char **args);
int viv_job_await(int count, char **args);
int viv_job_changes(int count, char **args);
int viv_job_signal(int count, char **args);
int viv_job_cancel(int count, char **args);
int viv_job_complete(int count, char **args);
int viv_job_abandon(int count, char **args);
int viv_job_grant(int count, char **args);
int viv_job_scope_delete(int count, char **args);
int viv_job_prune(int count, char **args);

json_t *viv_job_holder(const struct viv_lease *lease); // as a member "holder"

// `viv job step KEY -- COMMAND`.
int viv_job_step(int count, char **args);

// Within a run: connects to where VIV_JOB_SOCKET says. OK, or an exit status after a line.
int viv_job_enter(struct viv_job *job, const char *address);
// Asks there; job->diag says what was wrong. Errors: those of the store; STORE_UNAVAILABLE (the
// worker has ended), STORE_FENCED (the run has).
enum viv_err viv_job_ask(struct viv_job *job, const char *verb, VIV_OWN json_t *args,
                         json_t **out_value) VIV_MUST_CHECK;
// Adds a text to what is asked, if there is one.
void viv_job_put(json_t **args, const char *name, struct viv_str text);

// Which store it is: job->found_url. Otherwise an exit status, after a line.
int viv_job_find_url(struct viv_job *job, bool may_create);
// Opens the store; OK, or an exit status after a line. To be closed in any case.
int viv_job_open(struct viv_job *job, bool may_create);
void viv_job_close(struct viv_job *job);
// A line, or with --json an object, for what the store answered; returns the exit status.
int viv_job_failed(const struct viv_job *job, enum viv_err err);
// The same for what this program found by itself.
int viv_job_refuse(const struct viv_job *job, int status, enum viv_err err, const char *fmt, ...)
    VIV_PRINTF(4, 5);

struct viv_str viv_job_str(const char *text); // NULL: none
// A new text of a member; NULL: out of memory.
json_t *viv_job_text(struct viv_str text);
json_t *viv_job_json(struct viv_str text); // what it says; null when it is empty
json_t *viv_job_record(const struct viv_record *record);
json_t *viv_job_event(const struct viv_event *event);
// What `viv job show` says of a process. Errors: NOTFOUND, those of reading.
enum viv_err viv_job_describe(struct viv_store *store, struct viv_str id, struct viv_mem *mem,
                              struct viv_store_diag *diag, json_t **out_value) VIV_MUST_CHECK;
// Prints an object, which it owns, as one line; the exit status.
int viv_job_print(const struct viv_job *job, VIV_OWN json_t *value);
bool viv_job_write(FILE *to, json_t *value);  // a line; borrowed
void viv_job_print_text(struct viv_str text); // without what steers a terminal

int viv_job_status_of(enum viv_dstate state); // of a process that has ended
// "session/frame", escaped as in 1.7, in job->mem. False after a line.
bool viv_job_scope(struct viv_job *job, const char *text, struct viv_scope *out_scope);
// Milliseconds since the epoch, "2026-01-31T12:00:00Z", or +2h and -2h from now. False after a
// line.
bool viv_job_time(struct viv_job *job, const char *name, const char *text, int64_t *out_ms);

// Waits until something may have changed in the store since the last call, or the end. The first
// call returns at once: what changed before it is not known. OK, or an exit status after a line.
int viv_job_pause(struct viv_job *job, uint64_t end_ns);
// Waits for the end of these processes, or of one of them, and prints outputs as they come.
int viv_job_wait(struct viv_job *job, int count, char **ids, bool is_any, uint64_t timeout_ns);

#endif
