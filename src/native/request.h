// SPDX-License-Identifier: Apache-2.0
// A spawn request: the block decoded, checked and brought to bounds, as far as that needs no system
// call. The numbers in it are the values in force.
//
// An error's text in struct viv_diag is its detail: the name of the field, `block` for the shape.
#ifndef VIV_NATIVE_REQUEST_H
#define VIV_NATIVE_REQUEST_H

#include "base/err.h"
#include "gen/native.h"
#include "native/field.h"
#include "native/label.h"

#define VIV_NATIVE_VECTOR_BYTES_MAX (1u << 20) // argv and environment, with their pointers
#define VIV_NATIVE_ENV_KEY_BYTES_MAX 256
#define VIV_NATIVE_ENV_VALUE_BYTES_MAX 65536

// What the caller's session must have: classes and words (2.3, step 1), as far as the request alone
// tells. Word `path` depends on where cwd lies.
enum viv_native_need {
    VIV_NATIVE_NEED_TTY = 1,
    VIV_NATIVE_NEED_NET = 2, // the host's network from inside a sandbox
    VIV_NATIVE_NEED_PERSIST = 4,
    VIV_NATIVE_NEED_HOLD = 8,
    VIV_NATIVE_NEED_SCOPE = 16,
    VIV_NATIVE_NEED_UNSANDBOXED = 32,
    VIV_NATIVE_NEED_ENV = 64, // variables with is_reserved
    VIV_NATIVE_NEED_USER = 128,
    VIV_NATIVE_NEED_OPERATOR = 256
};
const char *viv_native_need_name(enum viv_native_need need); // the class or word: "native.tty"

// Bounds above which a number is brought down; by key. Those of an environment are set by its
// owner; a row's hard bounds hold whatever they say.
struct viv_native_ceilings {
    uint64_t max[VIV_NATIVE_KEYS_END];
};
void viv_native_ceilings_guest(struct viv_native_ceilings *ceilings); // as the table says
void viv_native_ceilings_hard(struct viv_native_ceilings *ceilings);  // word `unbounded`, operators

struct viv_native_req {
    struct viv_native_fields fields;
    uint64_t given[(VIV_NATIVE_KEYS_END + 63) / 64]; // bits: keys that the block has
    uint32_t needs;                                  // enum viv_native_need
    char **argv;                                     // for exec: NULL at the end
    char label[VIV_LABEL_SIZE];
    struct viv_native_req *probe; // what health=exec runs, or NULL; only fields of 2.1
    void *mem;                    // what fields and argv point into
    size_t mem_bytes;
};

// Copies what it needs of the block. Errors: INVAL, TOOBIG, EXHAUSTED; nothing is to be freed then.
enum viv_err viv_native_req_decode(struct viv_native_req *req, const void *block, size_t len_bytes,
                                   const struct viv_native_ceilings *ceilings,
                                   struct viv_diag *diag) VIV_MUST_CHECK;
void viv_native_req_deinit(struct viv_native_req *req);
bool viv_native_is_given(const struct viv_native_req *req, enum viv_native_key key);
// The value of a field that is a number, a bool, a word or a set.
uint64_t viv_native_number(const struct viv_native_fields *fields, enum viv_native_key key);
// For knobs that change later (set): the value as it would be in force. Errors: INVAL.
enum viv_err viv_native_bring(enum viv_native_key key, const struct viv_native_ceilings *ceilings,
                              uint64_t *value) VIV_MUST_CHECK;

#endif
