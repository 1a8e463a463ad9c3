// SPDX-License-Identifier: Apache-2.0
// The environment of a program, built from nothing. Thread: any.
#ifndef VIV_NATIVE_ENVIRON_H
#define VIV_NATIVE_ENVIRON_H

#include "native/request.h"
#include "proc/pid.h"

#define VIV_NATIVE_PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"

// What does not come from the request.
struct viv_native_env_source {
    const char *const *environ; // the kernel's own, NULL at the end
    const char *const *allowed; // names that may be passed on, NULL at the end (native.env_pass)
    const char *digest;         // of the program's id
    viv_pid pid;
};
struct viv_native_env {
    char **envp; // NULL at the end; in `mem`, as what it points to
    uint32_t count;
    void *mem;
    size_t mem_bytes;
};

// PATH, what is passed on, the request's own, then what the kernel tells the program; each name
// once, a later one in the place of an earlier. Errors: DENIED (a name that may not be passed on,
// which reserved ones never are), TOOBIG (with argv), EXHAUSTED.
enum viv_err viv_native_env_build(const struct viv_native_req *req,
                                  const struct viv_native_env_source *source,
                                  struct viv_native_env *out_env,
                                  struct viv_diag *diag) VIV_MUST_CHECK;
void viv_native_env_free(struct viv_native_env *env);
// Where a command without `/` is searched.
const char *viv_native_search_path(const struct viv_native_req *req);

// For the decoder. Scan: whether `data` is KEY=VALUE; sets key_len and is_reserved.
bool viv_native_env_scan(const uint8_t *data, struct viv_native_text *text);
bool viv_native_env_is_unique(const struct viv_native_list *env);

#endif
