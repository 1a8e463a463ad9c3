// SPDX-License-Identifier: Apache-2.0
// Intrusive hash trie: a map from a 64-bit hash to nodes that live inside the caller's structs.
// Each level consumes two bits of the (mixed) hash, so depth is about log4(n); insertion and
// removal allocate nothing and cannot fail, which is what links, monitors and names need.
//
//   node at depth d ──[2 bits of hash at d]──> child …   Any node may sit anywhere on its hash's
//   path.
//
// Keys whose hash is the key itself (pids, ids) use viv_trie_find; keys with possible collisions
// (names) give a compare function. Thread: the owner's, or under the owner's lock.
#ifndef VIV_BASE_TRIE_H
#define VIV_BASE_TRIE_H

#include "base/defs.h"

struct viv_trie_node {
    uint64_t key; // set by insert
    struct viv_trie_node *child[4];
};

struct viv_trie {
    struct viv_trie_node *root;
    size_t count;
};

// Same key and same value? `arg` is what was passed to the find.
typedef bool (*viv_trie_equal_fn)(const struct viv_trie_node *node, const void *arg);

struct viv_trie_node *viv_trie_find(const struct viv_trie *trie, uint64_t key); // NULL: absent
struct viv_trie_node *viv_trie_find_equal(const struct viv_trie *trie, uint64_t key,
                                          viv_trie_equal_fn equal, const void *arg);
// The caller has checked that no equal node is present. Fills node->key and its children.
void viv_trie_insert(struct viv_trie *trie, uint64_t key, struct viv_trie_node *node);
// The node must be in the trie.
void viv_trie_remove(struct viv_trie *trie, struct viv_trie_node *node);
// Any node, removed; NULL when empty. For tearing down in steps: O(depth).
struct viv_trie_node *viv_trie_pop(struct viv_trie *trie);
// Calls visit for every node; visit must not change the trie. No recursion, O(n).
void viv_trie_each(const struct viv_trie *trie, void (*visit)(struct viv_trie_node *, void *),
                   void *arg);

#endif
