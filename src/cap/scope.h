// SPDX-License-Identifier: Apache-2.0
// Scopes: patterns that tell which objects a capability class admits, and the objects asked about.
// A pattern is one block without pointers but its anchor, so that a list of patterns is a run of
// blocks and a copy of it is a copy of bytes.
//
//   list:  | pattern | pattern | pattern |        pattern:  | head 48 bytes | text, ports, tokens |
//
// Patterns of a list are alternatives, also those of different types: a list admits what one of
// them admits.
#ifndef VIV_CAP_SCOPE_H
#define VIV_CAP_SCOPE_H

#include "base/buf.h"
#include "gen/caps.h"
#include <stdatomic.h>

#define VIV_PATTERN_BYTES_MAX 4096 // text of one pattern: a path and some arguments

// What a directory or command pattern names, opened when it was granted. Made by the hook, counted
// by the lists that hold it. Fields are immutable but for the count.
struct viv_anchor {
    _Atomic uint32_t ref_count;
    uint64_t dev, ino;
    const char *path; // absolute, symbolic links resolved
    size_t path_len;
    void (*close)(struct viv_anchor *anchor); // after the last drop
};
struct viv_anchor *viv_anchor_take(struct viv_anchor *anchor); // Thread: any
void viv_anchor_drop(VIV_OWN struct viv_anchor *anchor);       // Thread: any; NULL is allowed

// How room cap reaches the file system, which it must not do itself. Without hooks directory
// patterns are judged by their text and command patterns admit nothing.
struct viv_scope_hooks {
    void *arg;
    // Opens the directory or the file to execute. On failure it says why in diag.
    enum viv_err (*open)(void *arg, enum viv_scope_type type, const char *path, size_t path_len,
                         struct viv_anchor **out_anchor, struct viv_diag *diag);
};

enum { VIV_PATTERN_GRANTABLE = 1, VIV_PATTERN_UNENFORCED = 2 }; // flags of a pattern
// Rights of a directory pattern.
enum {
    VIV_DIR_READ = 1,
    VIV_DIR_WRITE = 2,
    VIV_DIR_CREATE = 4,
    VIV_DIR_DELETE = 8,
    VIV_DIR_EXEC = 16
};
enum { VIV_NET_TCP = 1, VIV_NET_UDP = 2, VIV_NET_UNIX = 4, VIV_NET_HTTP = 8, VIV_NET_QUIC = 16 };
enum { VIV_BODY_WASM, VIV_BODY_BEAM, VIV_BODY_NATIVE, VIV_BODY_HOST }; // elements of type bodies
enum { VIV_PROC_EXIT = 1, VIV_PROC_KILL, VIV_PROC_SUSPEND, VIV_PROC_RESUME }; // signals(proc)
// How another process stands to the asking one; all that hold are set.
enum {
    VIV_REL_SELF = 1,
    VIV_REL_CHILD = 2,
    VIV_REL_DESCENDANT = 4,
    VIV_REL_ENV = 8,
    VIV_REL_SESSION = 16, // in the subtree of the asking session, and in its environment
};

struct viv_pattern {
    uint16_t size_words; // of 8 bytes, head included
    uint8_t type;        // enum viv_scope_type
    uint8_t flags;
    uint8_t form;   // by type
    uint8_t bits;   // address: prefix length, of 128; directory: rights
    uint16_t count; // address: port ranges; command: tokens
    uint16_t text_at, text_len, more_at, more_len; // in data
    uint64_t
        value; // sets: mask (signal n: bit n - 1); max, rid; address: protocols; relation: mask
    struct viv_anchor *anchor;
    uint8_t addr[16];
    // the data follows
};
_Static_assert(sizeof(struct viv_pattern) == 48, "the head of a pattern is six words");

// A run of patterns that somebody else owns; first == end when it is empty.
struct viv_patterns {
    const struct viv_pattern *first, *end;
};
static inline const char *viv_pattern_data(const struct viv_pattern *pattern)
{
    return (const char *)(pattern + 1);
}
static inline const struct viv_pattern *viv_pattern_next(const struct viv_pattern *pattern)
{
    return (const struct viv_pattern *)(const void *)((const uint64_t *)(const void *)pattern +
                                                      pattern->size_words);
}
#define VIV_PATTERNS_EACH(name, list)                                                              \
    for (const struct viv_pattern *(name) = (list).first; (name) != (list).end;                    \
         (name) = viv_pattern_next(name))

// An object. `facets` says which types of patterns it can be held against; a pattern of another
// type does not admit it.
struct viv_cap_query {
    uint32_t facets;   // bits 1 << enum viv_scope_type
    uint32_t relation; // VIV_REL_ bits
    uint64_t number;   // rid, size, or the number of a kind, class, signal (from 1), body or word
    const char *name;  // name, node, host, verb; address: the host name used, or NULL
    size_t name_len;
    const char *path; // directory: as the guest names it; command: of the file; unix: the socket
    size_t path_len;
    uint32_t rights;         // directory: all of these
    uint16_t proto, port;    // address: one VIV_NET_ bit
    bool has_addr;           // false: only the name is known yet
    uint8_t addr[16];        // IPv6, or IPv4 mapped into it
    uint64_t dev, ino;       // command: the file that would run
    const char *const *argv; // command: arguments behind the name of the program
    size_t argc;
    const char *operation; // for the audit: a name that lives as long as the program; NULL: none
};

struct viv_cap_scope { // a list that grows
    struct viv_buf buf;
    uint32_t count;
    uint32_t set_at[4]; // by flags: where its one set begins, + 1; 0: there is none
};
void viv_scope_init(struct viv_cap_scope *scope);
void viv_scope_deinit(struct viv_cap_scope *scope);
struct viv_patterns viv_scope_patterns(const struct viv_cap_scope *scope);

struct viv_pattern_text {
    enum viv_cap cap;
    const char *text;
    size_t len_bytes;
    uint8_t flags;
    const struct viv_scope_hooks *hooks; // may be NULL
};
// Reads one pattern and appends it; elements of a set join the set that is there. Errors: INVAL
// (diag tells, *out_at is where in the text; also when the hook finds nothing), UNENFORCEABLE (the
// hook's), EXHAUSTED.
enum viv_err viv_scope_parse(struct viv_cap_scope *scope, const struct viv_pattern_text *source,
                             struct viv_diag *diag, size_t *out_at) VIV_MUST_CHECK;
// Appends a copy under other flags. Errors: EXHAUSTED.
enum viv_err viv_scope_add(struct viv_cap_scope *scope, const struct viv_pattern *pattern,
                           uint8_t flags) VIV_MUST_CHECK;
// Removes what was appended since the list had this length.
void viv_scope_truncate(struct viv_cap_scope *scope, size_t len_bytes);
// Removes the patterns whose flags are all among `flags`.
void viv_scope_prune(struct viv_cap_scope *scope, uint8_t flags);

// As text that viv_scope_parse reads back. Errors: EXHAUSTED.
enum viv_err viv_pattern_print(const struct viv_pattern *pattern, enum viv_cap cap,
                               struct viv_buf *out) VIV_MUST_CHECK;
bool viv_pattern_admits(const struct viv_pattern *pattern, const struct viv_cap_query *query);
// Whether `parent` admits all that `child` admits; exact for a pair.
bool viv_pattern_contains(const struct viv_pattern *parent, const struct viv_pattern *child);
// Whether `other` adds nothing beside `pattern`: contained, and a directory under the same name.
bool viv_pattern_covers(const struct viv_pattern *pattern, const struct viv_pattern *other);
// The pattern that admits the object, or NULL.
const struct viv_pattern *viv_patterns_find(struct viv_patterns list,
                                            const struct viv_cap_query *query);
// The first pattern of `child` that no pattern of `parent` with all of `flags` contains, or NULL.
const struct viv_pattern *viv_patterns_gap(struct viv_patterns parent, struct viv_patterns child,
                                           uint8_t flags);

// What a kernel can be told of a pattern: TCP ports with any address; a file with any arguments.
bool viv_address_is_tcp_ports(const struct viv_pattern *pattern);
// The i-th of its ranges, ascending and apart from each other; false: there are no more.
struct viv_port_range {
    uint16_t low, high; // both within
};
bool viv_address_port_range(const struct viv_pattern *pattern, size_t i,
                            struct viv_port_range *out);
bool viv_command_is_file(const struct viv_pattern *pattern);
// Types whose pattern is a set: its text is words with commas between them.
bool viv_scope_type_is_set(uint32_t type);
// 0..53, or -1 for a name that no class has.
int viv_cap_find(const char *name, size_t len_bytes);

#endif
