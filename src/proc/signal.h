// SPDX-License-Identifier: Apache-2.0
// Signals: everything one process does to another, and the mailbox that keeps what the receiver
// shall see. A signal is one allocation made by the sender and owned by whoever holds it: sender,
// inbox, mailbox, receiver. Exit and down signals exist from the moment the link or monitor does,
// so telling of an end never allocates.
#ifndef VIV_PROC_SIGNAL_H
#define VIV_PROC_SIGNAL_H

#include "base/trie.h"
#include "proc/pid.h"
#include "proc/reason.h"

enum viv_signal_kind {
    VIV_SIG_MESSAGE,   // struct viv_msg
    VIV_SIG_EXIT,      // struct viv_link
    VIV_SIG_DOWN,      // struct viv_monitor
    VIV_SIG_LINK,      // struct viv_link
    VIV_SIG_UNLINK,    // struct viv_link
    VIV_SIG_MONITOR,   // struct viv_monitor
    VIV_SIG_DEMONITOR, // struct viv_monitor
    VIV_SIG_KILL,      // struct viv_signal, embedded in the process
    VIV_SIG_SUSPEND,   // struct viv_msg
    VIV_SIG_RESUME,    // struct viv_msg
    VIV_SIG_FLAGS,     // struct viv_msg: tag = flags to set | flags to clear << 32, to oneself
};

struct viv_signal {
    struct viv_signal *next;
    uint8_t kind;   // enum viv_signal_kind
    uint8_t linked; // EXIT: of a link, so it needs the entry; else of viv_exit
    uint16_t body;  // free for the body (what ABI made it)
    uint32_t
        seq; // LINK: sender's counter; UNLINK: receiver's counter as far as the sender has seen
    viv_pid from;
    int64_t tag; // 0: untagged, matches no tag list
};

// A message's payload: bytes as far as other bodies are concerned. All three run on any thread.
struct viv_msg;
struct viv_msg_ops {
    uint64_t (*size_bytes)(const struct viv_msg *msg);
    // Copies [offset, offset + len) of the payload; the range is inside it.
    void (*copy)(const struct viv_msg *msg, uint64_t offset, void *out, uint64_t len);
    void (*drop)(struct viv_msg *msg); // releases all of it, the signal included
    // Optional: its receiver has taken it out of the mailbox. On that thread, in a read section.
    void (*taken)(struct viv_msg *msg);
};

struct viv_msg {
    struct viv_signal sig;
    const struct viv_msg_ops *ops;
};

// One side of a link. As an entry of process A for B it is the exit signal that B gets when A ends.
struct viv_link {
    struct viv_signal sig;
    const struct viv_reason *reason;
    struct viv_trie_node node; // key: the peer's pid
    uint32_t mine, theirs;     // counters of the last LINK sent and received; 0: none (see link.c)
};

// A's record of its monitor on B (key: ref), or B's record of its watcher A, which is the down
// signal.
struct viv_monitor {
    struct viv_signal sig;
    const struct viv_reason *reason;
    struct viv_trie_node node;
    viv_pid peer;
    uint64_t ref;
};

// A plain message of bytes, for host bodies and tests. NULL without memory.
struct viv_msg *viv_bytes_msg_new(int64_t tag, const void *data, size_t len_bytes) VIV_MUST_CHECK;
extern const struct viv_msg_ops viv_bytes_msg_ops;
const void *viv_bytes_msg_data(const struct viv_msg *msg, size_t *out_len_bytes);

// Frees a signal of any kind with what it holds.
void viv_signal_drop(VIV_OWN struct viv_signal *sig);
// Of a MESSAGE, 64 for the others: what the mailbox limit counts.
uint64_t viv_signal_size_bytes(const struct viv_signal *sig);
static inline const struct viv_reason *viv_signal_reason(const struct viv_signal *sig)
{
    return ((const struct viv_link *)(const void *)sig)->reason; // EXIT and DOWN share the place
}

// Mailbox: a list in order of arrival with a save point. Owner's thread only.
struct viv_mbox {
    struct viv_signal *first;
    struct viv_signal **end;  // the link after the last
    struct viv_signal **save; // first link not yet compared with save_tags
    uint64_t save_tags;       // which tag list the save point is for; 0: none
    uint64_t count, bytes;
};

void viv_mbox_init(struct viv_mbox *mbox);
void viv_mbox_push(struct viv_mbox *mbox, VIV_OWN struct viv_signal *sig);
// Takes the oldest signal (count 0) or the oldest whose tag is not 0 and in tags; NULL: none. A
// repeated search for the same list looks only at what came since. Cost: O(new signals x tags).
struct viv_signal *viv_mbox_take(struct viv_mbox *mbox, const int64_t *tags, size_t count);
// As above, but only among signals pushed after the mark was taken.
struct viv_signal **viv_mbox_mark(const struct viv_mbox *mbox);
// A miss moves the mark to the end.
struct viv_signal *viv_mbox_take_after(struct viv_mbox *mbox, struct viv_signal ***mark,
                                       int64_t tag);
// Removes the DOWN signals of one monitor.
void viv_mbox_remove_down(struct viv_mbox *mbox, uint64_t ref);
// Drops those that match.
void viv_mbox_remove(struct viv_mbox *mbox,
                     bool (*matches)(const struct viv_signal *sig, const void *arg),
                     const void *arg);
// Drops at most `budget` signals; true when empty.
bool viv_mbox_clear(struct viv_mbox *mbox, uint32_t budget);

#endif
