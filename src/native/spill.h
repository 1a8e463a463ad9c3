// SPDX-License-Identifier: Apache-2.0
// A program's output on disk: what its rings will forget. Files of records, both streams in one
// sequence, rotated by size, deleted by count and age.
//
//   <digest>.<number>      record: struct viv_spill_record, then its bytes
//   <digest>.<number>.zst  the same, compressed, once it is full
//
// A range that was evicted before it could be written is a record without bytes (GAP). A torn last
// record, of a kernel that was killed while it wrote, is cut. All functions block; one thread at a
// time. Functions that answer int: 0 or more, or a negated errno.
#ifndef VIV_NATIVE_SPILL_H
#define VIV_NATIVE_SPILL_H

#include "base/err.h"
#include <sys/types.h>

#define VIV_SPILL_MAGIC UINT32_C(0x52505356) // "VSPR"
#define VIV_SPILL_NAME_BYTES 48
enum { VIV_SPILL_GAP = 1 }; // flags

// Before the bytes of each record, little-endian.
struct viv_spill_record {
    uint32_t magic;
    uint8_t stream, flags;
    uint16_t zero;
    uint32_t length;  // of the bytes behind it
    uint32_t check;   // of all of the record with this field 0, and its bytes
    uint64_t offset;  // of the first byte in the stream
    uint64_t missing; // GAP: how many bytes
    uint64_t monotonic_ns, wall_ns;
};
_Static_assert(sizeof(struct viv_spill_record) == 48, "written as it is");

struct viv_spill_config {
    int dir_fd;         // kept open by the caller
    const char *digest; // of the program; borrowed
    uint64_t file_bytes, age_ns;
    uint32_t files;
    bool compresses;
};
struct viv_spill {
    struct viv_spill_config config;
    int fd; // of the newest file; -1: none yet
    uint64_t size_bytes;
    uint32_t oldest, newest; // numbers; from 1
};
// No file is made yet.
void viv_spill_init(struct viv_spill *spill, const struct viv_spill_config *config);
// Takes up the files that are there, after what the last one has whole; what is torn behind it is
// cut. out_offsets: of both streams, up to which there are records.
int viv_spill_resume(struct viv_spill *spill, uint64_t out_offsets[2]);
// Writes a record whole or not at all; rotates before it when the file is full. The record's magic,
// length and check are filled in.
int viv_spill_append(struct viv_spill *spill, const struct viv_spill_record *record,
                     const void *data, uint32_t len_bytes);
int viv_spill_close(struct viv_spill *spill);   // what was written is on disk
void viv_spill_remove(struct viv_spill *spill); // the files; after the close

// ---- for readers, also of another thread; the files may be deleted meanwhile ----
struct viv_spill_place {
    uint32_t oldest, newest; // files; newest 0: what is there
    uint32_t stream;
    uint64_t offset;
};
struct viv_spill_piece {
    size_t len;      // bytes copied
    uint64_t offset; // of the first; later than asked for when what was asked for is missing
};
// Up to max_bytes of a stream from an offset on, from one record; len 0: there is none. Errors:
// negated errno.
int viv_spill_read(const struct viv_spill_config *config, const struct viv_spill_place *place,
                   void *out, size_t max_bytes, struct viv_spill_piece *out_piece);
// Bytes of whole records at the beginning of a file's content.
size_t viv_spill_whole(const void *data, size_t len_bytes);

#endif
