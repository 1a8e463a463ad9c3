// SPDX-License-Identifier: Apache-2.0
// The hash trie. A node may sit anywhere on the path of its hash; a path is the bits of the hash,
// two a level from the top.
//
// Invariants
// 1. The node at the end of a path of d steps has a hash that begins with the 2·d bits of those
// steps.
// 2. After 32 steps all 64 bits are used up and the rest of every path is child[0]. The mixer is a
// bijection,
//    so the nodes below that depth all have one key: each has at most one child, and they form a
//    chain.
//
//        root                 a descendant of a node may always take that node's place (1), so
//       / |  \                removal moves any leaf of the subtree up and never rebalances
//      n  n   n
//     /|      |\  . . .
//             chain of equal keys below depth 32 (2)
#include "base/trie.h"
#include "base/assert.h"
#include "base/hash.h"

enum {
    DEPTH_MAX = 32, // levels that branch
    // A walk in depth-first order leaves at most three siblings waiting at each level that
    // branches.
    WALK_STACK = 3 * DEPTH_MAX + 1,
};

static unsigned step_of(uint64_t hash)
{
    return (unsigned)(hash >> 62);
}

struct viv_trie_node *viv_trie_find(const struct viv_trie *trie, uint64_t key)
{
    uint64_t hash = viv_mix_u64(key);
    struct viv_trie_node *node = trie->root;
    while (node != NULL && node->key != key) {
        node = node->child[step_of(hash)];
        hash <<= 2;
    }
    return node;
}

struct viv_trie_node *viv_trie_find_equal(const struct viv_trie *trie, uint64_t key,
                                          viv_trie_equal_fn equal, const void *arg)
{
    uint64_t hash = viv_mix_u64(key);
    struct viv_trie_node *node = trie->root;
    while (node != NULL && !(node->key == key && equal(node, arg))) {
        node = node->child[step_of(hash)];
        hash <<= 2;
    }
    return node;
}

void viv_trie_insert(struct viv_trie *trie, uint64_t key, struct viv_trie_node *node)
{
    uint64_t hash = viv_mix_u64(key);
    struct viv_trie_node **link = &trie->root;
    while (*link != NULL) {
        VIV_DEBUG_ASSERT(*link != node);
        link = &(*link)->child[step_of(hash)];
        hash <<= 2;
    }
    *node = (struct viv_trie_node){.key = key};
    *link = node;
    trie->count++;
}

static struct viv_trie_node **first_child_link(struct viv_trie_node *node)
{
    for (size_t i = 0; i < VIV_COUNT_OF(node->child); i++)
        if (node->child[i] != NULL) return &node->child[i];
    return NULL;
}

// Takes some leaf out of the subtree that hangs on link, which is not empty.
static struct viv_trie_node *cut_leaf(struct viv_trie_node **link)
{
    struct viv_trie_node **below;
    while ((below = first_child_link(*link)) != NULL)
        link = below;
    struct viv_trie_node *leaf = *link;
    *link = NULL;
    return leaf;
}

void viv_trie_remove(struct viv_trie *trie, struct viv_trie_node *node)
{
    uint64_t hash = viv_mix_u64(node->key);
    struct viv_trie_node **link = &trie->root;
    while (*link != node) {
        VIV_ASSERT(*link != NULL);
        link = &(*link)->child[step_of(hash)];
        hash <<= 2;
    }
    struct viv_trie_node *leaf = cut_leaf(link);
    if (leaf != node) {
        for (size_t i = 0; i < VIV_COUNT_OF(node->child); i++)
            leaf->child[i] = node->child[i];
        *link = leaf;
    }
    trie->count--;
}

struct viv_trie_node *viv_trie_pop(struct viv_trie *trie)
{
    if (trie->root == NULL) return NULL;
    trie->count--;
    return cut_leaf(&trie->root);
}

void viv_trie_each(const struct viv_trie *trie, void (*visit)(struct viv_trie_node *, void *),
                   void *arg)
{
    struct {
        struct viv_trie_node *node;
        unsigned depth; // DEPTH_MAX stands for itself and everything deeper
    } stack[WALK_STACK];
    size_t top = 0;

    if (trie->root != NULL) {
        stack[top].node = trie->root;
        stack[top++].depth = 0;
    }
    while (top > 0) {
        struct viv_trie_node *node = stack[--top].node;
        unsigned depth = stack[top].depth;
        // By invariant 2 there is one child at most from DEPTH_MAX on, so the stack no longer grows
        // there.
        size_t fanout = depth < DEPTH_MAX ? VIV_COUNT_OF(node->child) : 1;
        for (size_t i = fanout; i-- > 0;) {
            if (node->child[i] == NULL) continue;
            VIV_DEBUG_ASSERT(top < WALK_STACK);
            stack[top].node = node->child[i];
            stack[top++].depth = depth < DEPTH_MAX ? depth + 1 : DEPTH_MAX;
        }
        visit(node, arg);
    }
}
