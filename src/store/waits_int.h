// SPDX-License-Identifier: Apache-2.0
// The waits of a handle: what their table (waits.c) and their thread (waits_thread.c) share.
#ifndef VIV_STORE_WAITS_INT_H
#define VIV_STORE_WAITS_INT_H

#include "base/list.h"
#include "base/trie.h"
#include "os/poll.h"
#include "os/thread.h"
#include "store/store_int.h"
#include "store/waits.h"

#define VIV_WAIT_NOWHERE (-1)

// A process that somebody waits for.
struct viv_waits__entry {
    struct viv_trie_node node;    // by hash of the id
    struct viv_list dirty;        // on the list of those to look at
    struct viv_list waits, fresh; // fresh: not looked at in this round
    bool is_looked_at;
    size_t id_len;
    char id[];
};

struct viv_store_wait {
    struct viv_store__waits *waits; // one reference
    struct viv_waits__entry *entry; // NULL: told
    struct viv_list in_entry;
    viv_wait_fn *fn;
    void *arg;
    uint64_t after;
    uint64_t end_ns, at_ns; // at_ns: when it is to be looked at, or over
    int64_t heap_at;        // NOWHERE, until it has been looked at
    enum viv_wait_kind kind;
    bool is_busy;  // the thread tells it, or finds out whether to
    bool is_owned; // somebody will free it
    bool is_freed; // by its own function
    size_t name_len;
    char name[];
};

struct viv_store__waits {
    struct viv_store *store;
    struct viv_backend *backend;
    struct viv_poller *poller;
    struct viv_thread *thread;
    struct viv_mutex mutex; // of all below
    struct viv_cond idle;   // the thread is busy with another wait, or with none
    uint64_t thread_id;     // 0: it does not run
    struct viv_trie by_id;
    struct viv_list dirty;
    struct viv_store_wait **heap; // by at_ns
    size_t heap_count, heap_room; // room for all waits
    size_t count, refs;
    void (*watch)(void *arg);
    void *watch_arg;
    bool is_watch_busy;
    struct viv_buf outgoing;     // ids that others are to be told of, each with a final 0
    bool is_changed;             // the watch is to be told
    uint64_t looked_ns;          // when others were last looked for without a sign of them
    bool is_heard;               // others may have committed
    uint64_t scan_ns;            // not before: a look for that has failed
    bool has_mark;               // since it is set, what others commit is found
    struct viv_store__mark mark; // the thread's
    bool is_closing;
    _Atomic bool is_used; // somebody waits or watches
};

void viv_waits__run(void *waits); // the thread

// _locked: under the mutex. When a wait is to be looked at, or over; that it is not.
void viv_waits__clock_locked(struct viv_store__waits *waits, struct viv_store_wait *wait,
                             uint64_t at_ns);
void viv_waits__unclock_locked(struct viv_store__waits *waits, struct viv_store_wait *wait);
struct viv_waits__entry *viv_waits__find_locked(struct viv_store__waits *waits,
                                                struct viv_str id); // or NULL
void viv_waits__note_locked(struct viv_store__waits *waits,
                            struct viv_waits__entry *entry); // to be looked at
void viv_waits__drop_entry_locked(struct viv_store__waits *waits,
                                  struct viv_waits__entry *entry); // if unused
// It is over. Unlocks while its function runs.
void viv_waits__tell_locked(struct viv_store__waits *waits, struct viv_store_wait *wait,
                            const struct viv_wait_result *result);

#endif
