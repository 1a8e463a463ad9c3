// SPDX-License-Identifier: Apache-2.0
// Every operation that changes a store, once each, on a store that has something of everything;
// and what can be seen of such a store, as one text. For tests that disturb them.
#ifndef VIV_TEST_STORE_STORE_OPS_H
#define VIV_TEST_STORE_STORE_OPS_H

#include "store_rig.h"

struct store_op {
    const char *name;
    enum viv_err (*call)(struct rig *rig);
    enum viv_err again; // what the same call answers once it has been done
    bool is_vital;      // it is tried when there is no space left
};
extern const struct store_op store_ops[];
extern const size_t store_op_count;

// Processes that wait, that run, that have ended; grants, a wake, a promise, a blob. What
// operations need of it (fences, tokens) is kept until the next furnishing, over closing and forks.
void store_furnish(struct rig *rig);
// The same, without leases: what a store looks like on whatever host it is opened.
void store_furnish_free(struct rig *rig);
// The same text for the same state; in the rig's memory. A view is a part of it, by one kind of
// read.
const char *store_dump(struct rig *rig);
size_t store_view_count(void);
enum viv_err store_view(struct rig *rig, size_t index, const char **out_text);
// No rule of viv_store_check is broken.
void store_expect_sound(struct rig *rig);

// The folder "store" is put aside as "template", without its reserve; each copy is its state.
void store_keep_template(void);
void store_copy_template(void);

void store_open(struct rig *rig);

// Furnishes the rig's store, closes it and keeps it as the template; how it looks.
const char *store_make_template(struct rig *rig);
// After a disturbed call that answered err: the store looks as before or as after it (dumps[0],
// [1]), as the answer says; no rule is broken; and the same call makes it look as after it, in any
// case.
void store_expect_whole(struct rig *rig, const struct store_op *op, const char *const dumps[2],
                        enum viv_err err);
// Calls the function for every operation on the template, and n from 1 until it says that there was
// no nth call to disturb. Without VIV_TEST_ROUNDS for one n in five. How often it was disturbed.
uint64_t store_for_each_call(struct rig *rig,
                             bool (*try_one)(struct rig *rig, const struct store_op *op,
                                             const char *const dumps[2], uint64_t nth));

// VIV_TEST_ROUNDS, or what there is without.
int store_rounds(int usual);

#endif
