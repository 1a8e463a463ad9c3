// SPDX-License-Identifier: Apache-2.0
// What a Wasm process is given: limits, rights, arguments, environment, directories.
// Reference-counted; changed only while one process alone holds it under an id, copied (and cut to
// the spawner's own) at spawn.
#ifndef VIV_WASM_CONFIG_H
#define VIV_WASM_CONFIG_H

#include "base/alloc.h"
#include "base/err.h"
#include "proc/proc.h"

// Rights; the numbers are those of the guest ABI.
enum {
    VIV_RIGHT_SPAWN = 1,
    VIV_RIGHT_COMPILE = 2,
    VIV_RIGHT_CONFIG = 4,
    VIV_RIGHT_CONNECT = 8,
    VIV_RIGHT_LISTEN = 16,
    VIV_RIGHT_FILES = 32,
    VIV_RIGHT_NAMES = 64,
    VIV_RIGHT_KILL = 128,
    VIV_RIGHT_ALL = 255
};

enum viv_stdio { VIV_STDIO_INHERITED, VIV_STDIO_CAPTURED, VIV_STDIO_NULL };

// One string or pair of strings; both terminated, without NUL inside.
struct viv_pair {
    char *first, *second; // second may be NULL
    size_t first_len, second_len;
    uint32_t dir_rights; // of a directory: VIV_DIR_READ … (cap/scope.h); 0: all
};
struct viv_pairs {
    struct viv_pair *item;
    uint32_t count, cap;
};

struct viv_capture;

struct viv_config {
    _Atomic uint32_t refs;
    uint32_t rights; // VIV_RIGHT_...
    uint64_t max_memory_bytes;
    uint64_t max_fuel_units; // 0: none; one unit is 100 000 fuel
    struct viv_pairs args;   // first: argument
    struct viv_pairs env;    // first: key, second: value
    struct viv_pairs dirs;   // first: host path, second: guest name
    uint64_t text_bytes;     // of all strings, limited by VIV_CONFIG_TEXT_MAX
    enum viv_stdio stdio;
    struct viv_capture *capture; // counted; where captured output goes (wasi_stdio.h)
    // Limits beyond lunatic's; 0: none.
    uint64_t cpu_ns, life_ns, mailbox_count, mailbox_bytes, output_bytes;
    uint32_t cpu_percent; // of one core, in windows of 100 ms
    bool drops_output;    // at output_bytes; else the process ends
    bool has_mailbox;     // else the environment's defaults
    enum viv_mailbox_policy mailbox_policy;
};

// A fresh lunatic config: no rights of the three, no strings, 4 294 967 295 bytes, no fuel limit.
// NULL without memory.
struct viv_config *viv_config_new(void);
struct viv_config *viv_config_take(struct viv_config *config);
void viv_config_drop(struct viv_config *config); // NULL is allowed
// Errors: QUOTA (strings, directories), EXHAUSTED, INVAL (NUL inside).
enum viv_err viv_config_add_arg(struct viv_config *config, const char *arg,
                                size_t len) VIV_MUST_CHECK;
enum viv_err viv_config_add_env(struct viv_config *config, const char *key, size_t key_len,
                                const char *value, size_t value_len) VIV_MUST_CHECK;
enum viv_err viv_config_add_dir(struct viv_config *config, const char *host, size_t host_len,
                                const char *guest, size_t guest_len) VIV_MUST_CHECK;
// Limits of a policy, where they are lower, and the directories of its class fs. Errors: QUOTA,
// EXHAUSTED.
struct viv_policy;
enum viv_err viv_config_apply_policy(const struct viv_policy *policy,
                                     struct viv_config *config) VIV_MUST_CHECK;
// What may be done below the directory that was added last.
void viv_config_limit_dir(struct viv_config *config, uint32_t dir_rights);
// The config a child gets: `config` with rights and limits cut to the parent's. Errors: EXHAUSTED.
enum viv_err viv_config_for_child(const struct viv_config *config, const struct viv_config *parent,
                                  struct viv_config **out_child) VIV_MUST_CHECK;

#endif
