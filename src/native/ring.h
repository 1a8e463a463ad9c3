// SPDX-License-Identifier: Apache-2.0
// An output ring: the last bytes of one stream of a program, addressed by absolute offsets.
//
//        0 ....... front ................ end
//        gone      retained, <= cap       where the next byte goes
//
// One writer, the program's step, which reads from a pipe straight into free space: room, readv,
// commit. Readers copy without a lock and then look whether `front` passed. A drainer raises
// `front`; who raises it counts the bytes, so received = retained + evicted + drained always.
//
// Threads: all in a reading section (a member of the kernel's QSBR domain that is online), since
// storage is retired; functions of the writer by one thread at a time, the others by any.
#ifndef VIV_NATIVE_RING_H
#define VIV_NATIVE_RING_H

#include "base/qsbr.h"
#include "base/spin.h"
#include <sys/uio.h>

#define VIV_LOG_IDLE_NS VIV_NS_PER_SEC // storage of a drained ring is kept for so long
#define VIV_LOG_RUN_NS VIV_NS_PER_MS   // an index entry covers less than that
#define VIV_LOG_RUN_BYTES 16384        // and at most that, or one append
#define VIV_LOG_DRAINS 16              // ranges of drained bytes that are kept apart

enum { VIV_LOG_STARVED = 1 }; // flags: storage could not grow

// Newlines before an end.
struct viv_log_lines_at {
    _Atomic uint64_t end, newlines;
};
struct viv_log_range {
    uint64_t from, to;
    uint64_t drained; // of these bytes; less than all where ranges had to be merged
};

// What readers look at; nothing in it but numbers, so that it may lie in memory of two programs.
struct viv_log_head {
    // Writer. at[version % 2] holds what belongs together; the other one is written next. `end`
    // follows, so that it is never beyond that one's.
    _Atomic uint64_t version;
    struct viv_log_lines_at at[2];
    _Atomic uint64_t end, evicted;
    _Atomic uint64_t index_front, index_end; // entries, counted like bytes
    _Atomic uint32_t flags;
    // Writer and drainers.
    _Atomic uint64_t front, drained;
    // Who saves: bytes from here on are still to be saved; UINT64_MAX: none are.
    _Atomic uint64_t saved;
    // Drainers, under the ring's lock.
    uint64_t drain_count;
    struct viv_log_range drains[VIV_LOG_DRAINS]; // ascending
};

// A run of bytes that came without a pause and without the other stream between them.
struct viv_log_entry {
    uint64_t offset;   // of its first byte
    uint64_t sequence; // of the append that began it
    uint64_t time_ns;  // monotonic
    uint64_t newlines; // before it
};
// Bytes at offset o lie at o % size. Retired when a larger one has taken its place; readers that
// still have it find every byte that was there when they looked at `end`.
struct viv_log_store {
    struct viv_qsbr_item item;
    uint64_t size;
    uint8_t *bytes; // behind this, or given
};

struct viv_log_slot {
    _Atomic uint64_t offset, sequence, time_ns, newlines;
};
// Entry i lies in slot i % count; count is a power of two.
struct viv_log_index {
    struct viv_qsbr_item item;
    uint64_t count;
    struct viv_log_slot *slots; // behind this, or given
};

// retire: frees the item with `free` once no reader can have it.
typedef void viv_log_free(struct viv_qsbr_item *item);
typedef void viv_log_retire(struct viv_qsbr_item *item, viv_log_free *free);
struct viv_log_ring {
    struct viv_log_head *head;             // `own`, or shared
    _Atomic(struct viv_log_store *) store; // NULL before the first byte and when idle
    _Atomic(struct viv_log_index *) index;
    // Writer.
    uint64_t cap; // bytes retained at most
    uint64_t newlines;
    uint64_t last_ns, sequence;  // of the last append
    uint64_t run_ns, run_offset; // of the last entry
    bool has_index, is_backpressure;
    bool is_run_broken; // the next append begins a run
    bool keeps_unsaved; // what lies behind `saved` is not evicted either
    // Lock.
    struct viv_spin lock;
    struct viv_log_head own;
    viv_log_retire *retire; // NULL: storage is given (ring_memory.h), and stays
};

struct viv_log_ring_config {
    uint64_t cap_bytes; // > 0
    bool has_index;
    bool is_backpressure;   // else the oldest bytes make room
    viv_log_retire *retire; // how storage is freed that readers may still look at
};
void viv_log_ring_init(struct viv_log_ring *ring, const struct viv_log_ring_config *config);
void viv_log_ring_deinit(struct viv_log_ring *ring); // no reader is left

// ---- writer ----

// Free space for at most `want` bytes, in up to two pieces (the second may be empty); they stay
// free until the next call. Evicts if growing fails. 0: full (backpressure; any rise of `front`
// makes room), or no memory for a first piece of storage (flag starved; try again later).
size_t viv_log_ring_room(struct viv_log_ring *ring, size_t want_bytes, struct iovec out_space[2]);
// The first `len_bytes` of that space are filled. sequence: counts, from 1, appends of both streams
// of the program, or turns of one stream; a number that is left out was the other stream's.
void viv_log_ring_commit(struct viv_log_ring *ring, size_t len_bytes, uint64_t now_ns,
                         uint64_t sequence);
// So much came, and went before anybody could read it; so much was drained. Before the first
// append.
void viv_log_ring_lose(struct viv_log_ring *ring, uint64_t received_bytes, uint64_t drained_bytes);
// Another incarnation: the next append begins a new entry.
void viv_log_ring_break_run(struct viv_log_ring *ring);
// Bytes from `saved` on are kept from drainers (UINT64_MAX: none are) and, with keeps_unsaved, from
// eviction: there is no room then. Thread: who saves; of a shared ring that is the reader, and what
// it keeps is the writer's to know from the start.
void viv_log_ring_set_saved(struct viv_log_ring *ring, uint64_t saved, bool keeps_unsaved);
void viv_log_ring_set_backpressure(struct viv_log_ring *ring, bool is_backpressure);
// The program's tree is dead: what is left in the pipe, at most `more_bytes`, is kept beyond cap.
void viv_log_ring_add_cap(struct viv_log_ring *ring, uint64_t more_bytes);
// Returns the storage when everything is drained and nothing came for VIV_LOG_IDLE_NS. The time at
// which to ask again, VIV_FOREVER_NS when there is nothing to return.
uint64_t viv_log_ring_trim(struct viv_log_ring *ring, uint64_t now_ns);

// ---- readers ----

struct viv_log_view {
    uint64_t front, end, newlines; // newlines: before end
    uint64_t evicted, drained;
    uint32_t flags;
};
// end and newlines belong together; front <= end.
void viv_log_ring_look(struct viv_log_ring *ring, struct viv_log_view *out_view);
// Whether its writer may have to wait for others.
bool viv_log_ring_can_be_full(const struct viv_log_ring *ring);
// Up to where it may be drained now.
uint64_t viv_log_ring_drain_end(struct viv_log_ring *ring);
// Copies up to `max_bytes` from *offset, or from `front` if that is later; *offset is then where
// the copy begins. 0 bytes: at the end, or overtaken again and again.
size_t viv_log_ring_copy(struct viv_log_ring *ring, uint64_t *offset, void *out, size_t max_bytes);
// Takes up to `max_bytes` from the front; nobody else gets them. *out_from: where they begin.
size_t viv_log_ring_drain(struct viv_log_ring *ring, void *out, size_t max_bytes,
                          uint64_t *out_from);
// Raises `front` to at most `to`; the bytes count as drained. How many they were.
uint64_t viv_log_ring_consume(struct viv_log_ring *ring, uint64_t to);
// How many of the bytes from `from` to `to` (at most `front`) were drained; the others were
// evicted. Exact unless they begin within ranges that had to be merged.
uint64_t viv_log_ring_count_drained(struct viv_log_ring *ring, uint64_t from, uint64_t to);

// The entry whose run has the byte at `offset`: the last that begins there or before, else the
// first one (what is before it counts to it). False: no index, or it is empty.
bool viv_log_ring_find_run(struct viv_log_ring *ring, uint64_t offset,
                           struct viv_log_entry *out_entry);
// The first entry that begins behind `offset`.
bool viv_log_ring_next_run(struct viv_log_ring *ring, uint64_t offset,
                           struct viv_log_entry *out_entry);
// The first entry that is not older.
bool viv_log_ring_find_time(struct viv_log_ring *ring, uint64_t time_ns,
                            struct viv_log_entry *out_entry);

#endif
