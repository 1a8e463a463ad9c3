// SPDX-License-Identifier: Apache-2.0
// The table of the import module. Parameters are those of the C functions in their order, a letter
// each: a request, buffer or text is a pointer and a length, a reference or cursor a pointer;
// times, pids, tags and values are 64 bits wide.
#include "native/guest.h"

#include "native/guest_int.h"
#include "native/native_int.h"

#define NOW(name_, params_) {#name_, params_, false, false, viv_native__guest_##name_, NULL}
#define PARKS(name_, params_)                                                                      \
    {#name_, params_, true, false, viv_native__guest_##name_, viv_native__guest_drop}

static const struct viv_guest_func guest_funcs[] = {
    PARKS(spawn, "iii"),          // block, len, spawned
    PARKS(run, "iiIi"),           // block, len, timeout ms, spawned
    PARKS(start, "i"),            // ref
    NOW(attach, "iii"),           // ref, rights, handle
    NOW(find, "iii"),             // key, len, handle
    NOW(give_away, "iI"),         // ref, pid
    NOW(status, "iii"),           // ref, status, size
    NOW(info, "iiii"),            // ref, flags, info, size
    NOW(status_many, "iiiii"),    // refs, count, statuses, size of one, found
    NOW(list, "iiIiiii"),         // filter, len, after, statuses, size of one, count, found
    NOW(set, "iiI"),              // ref, key, value
    NOW(read_logs, "iiiii"),      // ref, stream, buf, max, logs
    PARKS(read_since, "iiiiiIi"), // ref, stream, cursor, buf, max, wait ms, chunk
    NOW(read_lines, "iiiiiii"),   // ref, stream, cursor, count, buf, max, lines
    PARKS(read_merged, "iiiiIi"), // ref, cursor, buf, max, wait ms, merged
    NOW(tail, "iiii"),            // ref, stream, lines, cursor
    NOW(since, "iiIi"),           // ref, stream, wall ns, cursor
    PARKS(write, "iiiiIi"),       // ref, buf, len, mode, timeout ms, taken
    NOW(close_stdin, "ii"),       // ref, mode
    NOW(signal, "iii"),           // ref, number, target
    NOW(resize, "iii"),           // ref, rows, columns
    PARKS(wait, "iIi"),           // ref, timeout ms, exit
    PARKS(stop, "iIii"),          // ref, grace ms, flags, exit
    PARKS(kill, "ii"),            // ref, exit
    NOW(release, "i"),            // ref
    NOW(watch, "iiI"),            // ref, kinds, tag
    PARKS(unwatch, "iI"),         // ref, tag
    NOW(follow, "iiiii"),         // ref, stream, cursor, form, credit (below 0: it comes back)
    NOW(credit, "iii"),           // ref, stream, count
};

const struct viv_guest_module *viv_native_guest_module(struct viv_native *native)
{
    native->guest_module = (struct viv_guest_module){.name = "viv_native",
                                                     .ctx = native,
                                                     .funcs = guest_funcs,
                                                     .count = VIV_COUNT_OF(guest_funcs)};
    return &native->guest_module;
}
