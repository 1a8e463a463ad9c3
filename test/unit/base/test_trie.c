// SPDX-License-Identifier: Apache-2.0
// The trie against a plain array, with keys that spread, keys that share almost all of their hash,
// and keys that are equal.
#include "base/hash.h"
#include "base/rng.h"
#include "base/trie.h"
#include "cm.h"
#include "harness/check.h"
#include <string.h>

enum { ENTRIES = 400, ROUNDS = 20000 };

struct entry {
    uint64_t key;
    uint32_t name; // tells entries with one key apart
    bool is_in;
    bool is_seen;
    struct viv_trie_node node;
};

struct model {
    struct viv_trie trie;
    struct entry entry[ENTRIES];
    size_t count;
};

static struct entry *entry_of(struct viv_trie_node *node)
{
    return VIV_CONTAINER_OF(node, struct entry, node);
}

static bool has_name(const struct viv_trie_node *node, const void *arg)
{
    const struct entry *entry = (const void *)((const char *)node - offsetof(struct entry, node));
    return entry->name == *(const uint32_t *)arg;
}

static void mark_seen(struct viv_trie_node *node, void *arg)
{
    size_t *count = arg;
    struct entry *entry = entry_of(node);
    assert_true(entry->is_in);
    assert_false(entry->is_seen);
    assert_true(node->key == entry->key);
    entry->is_seen = true;
    (*count)++;
}

static void assert_matches(struct model *model)
{
    assert_int_equal(model->trie.count, model->count);
    for (size_t i = 0; i < ENTRIES; i++) {
        struct entry *entry = &model->entry[i];
        struct viv_trie_node *found =
            viv_trie_find_equal(&model->trie, entry->key, has_name, &entry->name);
        assert_ptr_equal(found, entry->is_in ? &entry->node : NULL);
        struct viv_trie_node *any = viv_trie_find(&model->trie, entry->key);
        if (entry->is_in) assert_non_null(any);
        if (any != NULL) assert_true(any->key == entry->key && entry_of(any)->is_in);
        entry->is_seen = false;
    }
    size_t count = 0;
    viv_trie_each(&model->trie, mark_seen, &count);
    assert_int_equal(count, model->count);
}

static void toggle(struct model *model, struct entry *entry)
{
    if (entry->is_in) {
        viv_trie_remove(&model->trie, &entry->node);
        // What has left the trie must not be needed by it any more.
        memset(&entry->node, 0xEE, sizeof entry->node);
        model->count--;
    } else {
        viv_trie_insert(&model->trie, entry->key, &entry->node);
        model->count++;
    }
    entry->is_in = !entry->is_in;
}

static void pop_all(struct model *model)
{
    struct viv_trie_node *node;
    while ((node = viv_trie_pop(&model->trie)) != NULL) {
        assert_true(entry_of(node)->is_in);
        entry_of(node)->is_in = false;
        memset(node, 0xEE, sizeof *node);
        model->count--;
        assert_int_equal(model->trie.count, model->count);
    }
    assert_int_equal(model->count, 0);
    assert_null(model->trie.root);
}

static void run_model(uint64_t (*key_of)(struct viv_rng *, size_t))
{
    static struct model model;
    struct viv_rng rng = {check_seed()};
    memset(&model, 0, sizeof model);
    for (size_t i = 0; i < ENTRIES; i++) {
        model.entry[i].key = key_of(&rng, i);
        model.entry[i].name = (uint32_t)i;
    }
    for (int round = 0; round < ROUNDS; round++) {
        toggle(&model, &model.entry[viv_rng_below(&rng, ENTRIES)]);
        if (round % 200 == 0) assert_matches(&model);
        if (round % 5000 == 4999) pop_all(&model);
    }
    assert_matches(&model);
    for (size_t i = 0; i < ENTRIES; i++)
        if (!model.entry[i].is_in) toggle(&model, &model.entry[i]);
    assert_matches(&model);
    for (size_t i = 0; i < ENTRIES; i++)
        toggle(&model, &model.entry[i]);
    assert_matches(&model);
    assert_null(viv_trie_pop(&model.trie));
}

static uint64_t spread_key(struct viv_rng *rng, size_t i)
{
    // Pids: a slot and a serial. Distinct by the slot.
    return (viv_rng_next(rng) << 28) | i;
}

static uint64_t few_keys(struct viv_rng *rng, size_t i)
{
    (void)i;
    return viv_rng_below(rng, 20); // about 20 entries a key
}

// The inverse of x ^= x >> shift.
static uint64_t unshift(uint64_t x, unsigned shift)
{
    uint64_t result = x;
    for (unsigned done = shift; done < 64; done += shift)
        result = x ^ (result >> shift);
    return result;
}

// The multiplicative inverse modulo 2^64 of an odd number, by Newton's iteration.
static uint64_t inverse(uint64_t odd)
{
    uint64_t x = odd;
    for (int i = 0; i < 6; i++)
        x *= 2 - odd * x;
    return x;
}

static uint64_t unmix(uint64_t hash)
{
    hash = unshift(hash, 31) * inverse(UINT64_C(0x94d049bb133111eb));
    hash = unshift(hash, 27) * inverse(UINT64_C(0xbf58476d1ce4e5b9));
    return unshift(hash, 30);
}

// Hashes that differ in their last eight bits at most: 28 levels in common, branches at the deepest
// four, and chains of equal keys below them.
static uint64_t crowded_key(struct viv_rng *rng, size_t i)
{
    uint64_t hash = UINT64_C(0xfedcba9876543200) | viv_rng_below(rng, 256);
    (void)i;
    uint64_t key = unmix(hash);
    CHECK(viv_mix_u64(key) == hash);
    return key;
}

static uint64_t one_key(struct viv_rng *rng, size_t i)
{
    (void)rng;
    (void)i;
    return 42;
}

static void spread_keys(void **state)
{
    (void)state;
    run_model(spread_key);
}

static void repeated_keys(void **state)
{
    (void)state;
    run_model(few_keys);
}

static void crowded_keys(void **state)
{
    (void)state;
    run_model(crowded_key);
}

static void equal_keys(void **state)
{
    (void)state;
    run_model(one_key);
}

static void empty(void **state)
{
    (void)state;
    struct viv_trie trie = {0};
    size_t count = 0;
    assert_null(viv_trie_find(&trie, 0));
    assert_null(viv_trie_pop(&trie));
    viv_trie_each(&trie, mark_seen, &count);
    assert_int_equal(count, 0);
}

static size_t depth_of(const struct viv_trie_node *node)
{
    size_t deepest = 0;
    if (node == NULL) return 0;
    for (int i = 0; i < 4; i++) {
        size_t depth = depth_of(node->child[i]);
        if (depth > deepest) deepest = depth;
    }
    return deepest + 1;
}

static void depth_is_logarithmic(void **state)
{
    (void)state;
    static struct viv_trie_node nodes[65536];
    struct viv_trie trie = {0};
    for (size_t i = 0; i < VIV_COUNT_OF(nodes); i++)
        viv_trie_insert(&trie, i, &nodes[i]);
    // log4 of 65 536 is 8; dense ids must not do worse than random ones.
    assert_in_range(depth_of(trie.root), 9, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),         cmocka_unit_test(spread_keys),
        cmocka_unit_test(repeated_keys), cmocka_unit_test(crowded_keys),
        cmocka_unit_test(equal_keys),    cmocka_unit_test(depth_is_logarithmic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
