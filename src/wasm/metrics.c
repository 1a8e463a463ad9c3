// SPDX-License-Identifier: Apache-2.0
// lunatic::metrics and where the values are kept: a trie by environment and name under one lock.
// Threads: any.
#include "wasm/metrics.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/spin.h"
#include "base/trie.h"
#include "gen/wasm_imports.h"
#include "wasm/inst.h"
#include "wasm/may.h"
#include "wasm/runtime.h"
#include <string.h>

struct entry {
    struct viv_trie_node node;
    struct viv_metric metric;
    char name[];
};

struct env_count {
    uint32_t env, names;
};

struct viv_metrics {
    struct viv_spin lock; // guards the rest
    struct viv_trie trie;
    struct env_count *envs;
    size_t env_count;
    _Atomic uint64_t dropped;
};

struct key {
    uint32_t env;
    const char *name;
    size_t len;
};

enum viv_err viv_metrics_new(struct viv_metrics **out_metrics)
{
    struct viv_metrics *metrics = viv_try_calloc(1, sizeof(*metrics), VIV_TAG_METRIC);
    if (metrics == NULL) return VIV_E_EXHAUSTED;
    viv_spin_init(&metrics->lock, VIV_LOCK_METRIC);
    *out_metrics = metrics;
    return VIV_OK;
}

static struct entry *entry_of(struct viv_trie_node *node)
{
    return VIV_CONTAINER_OF(node, struct entry, node);
}

void viv_metrics_free(struct viv_metrics *metrics)
{
    for (struct viv_trie_node *node; (node = viv_trie_pop(&metrics->trie)) != NULL;) {
        struct entry *entry = entry_of(node);
        viv_free(entry, sizeof(*entry) + entry->metric.name_len + 1, VIV_TAG_METRIC);
    }
    viv_free(metrics->envs, metrics->env_count * sizeof(struct env_count), VIV_TAG_METRIC);
    viv_free(metrics, sizeof(*metrics), VIV_TAG_METRIC);
}

static bool is_metric(const struct viv_trie_node *node, const void *arg)
{
    const struct entry *entry = (const struct entry *)(const void *)node;
    const struct key *key = arg;
    return entry->metric.env == key->env && entry->metric.name_len == key->len &&
           memcmp(entry->name, key->name, key->len) == 0;
}
_Static_assert(offsetof(struct entry, node) == 0, "is_metric");

// Counts a name of the environment; false when it has too many or there is no memory.
static bool count_name_locked(struct viv_metrics *metrics, uint32_t env)
{
    for (size_t i = 0; i < metrics->env_count; i++) {
        if (metrics->envs[i].env != env) continue;
        if (metrics->envs[i].names >= VIV_METRICS_MAX) return false;
        metrics->envs[i].names++;
        return true;
    }
    struct env_count *grown =
        viv_try_realloc(metrics->envs, metrics->env_count * sizeof(struct env_count),
                        (metrics->env_count + 1) * sizeof(struct env_count), VIV_TAG_METRIC);
    if (grown == NULL) return false;
    metrics->envs = grown;
    metrics->envs[metrics->env_count++] = (struct env_count){env, 1};
    return true;
}

// NULL: no room, or another kind.
static struct viv_metric *get_locked(struct viv_metrics *metrics, const struct key *key,
                                     enum viv_metric_kind kind)
{
    uint64_t hash = viv_hash_bytes(key->name, key->len, key->env);
    struct viv_trie_node *node = viv_trie_find_equal(&metrics->trie, hash, is_metric, key);
    if (node != NULL) {
        struct viv_metric *metric = &entry_of(node)->metric;
        return metric->kind == kind ? metric : NULL;
    }
    struct entry *entry = viv_try_calloc(1, sizeof(*entry) + key->len + 1, VIV_TAG_METRIC);
    if (entry == NULL || !count_name_locked(metrics, key->env)) {
        viv_free(entry, sizeof(*entry) + key->len + 1, VIV_TAG_METRIC);
        return NULL;
    }
    if (key->len > 0) memcpy(entry->name, key->name, key->len);
    entry->metric = (struct viv_metric){
        .env = key->env, .kind = kind, .name = entry->name, .name_len = key->len};
    viv_trie_insert(&metrics->trie, hash, &entry->node);
    return &entry->metric;
}

static void count_dropped(struct viv_metrics *metrics)
{
    atomic_fetch_add_explicit(&metrics->dropped, 1, memory_order_relaxed); // a statistic
}

void viv_metrics_count(struct viv_metrics *metrics, uint32_t env, const char *name, size_t len,
                       bool add, uint64_t value)
{
    struct key key = {env, name, len};
    viv_spin_lock(&metrics->lock);
    struct viv_metric *metric = get_locked(metrics, &key, VIV_METRIC_COUNTER);
    if (metric != NULL) metric->counter = add ? metric->counter + value : value;
    viv_spin_unlock(&metrics->lock);
    if (metric == NULL) count_dropped(metrics);
}

void viv_metrics_gauge(struct viv_metrics *metrics, uint32_t env, const char *name, size_t len,
                       bool add, double value)
{
    struct key key = {env, name, len};
    viv_spin_lock(&metrics->lock);
    struct viv_metric *metric = get_locked(metrics, &key, VIV_METRIC_GAUGE);
    if (metric != NULL) metric->value = add ? metric->value + value : value;
    viv_spin_unlock(&metrics->lock);
    if (metric == NULL) count_dropped(metrics);
}

void viv_metrics_record(struct viv_metrics *metrics, uint32_t env, const char *name, size_t len,
                        double value)
{
    struct key key = {env, name, len};
    viv_spin_lock(&metrics->lock);
    struct viv_metric *metric = get_locked(metrics, &key, VIV_METRIC_HISTOGRAM);
    if (metric != NULL) {
        metric->minimum = metric->count == 0 || value < metric->minimum ? value : metric->minimum;
        metric->maximum = metric->count == 0 || value > metric->maximum ? value : metric->maximum;
        metric->value += value;
        metric->count++;
    }
    viv_spin_unlock(&metrics->lock);
    if (metric == NULL) count_dropped(metrics);
}

uint64_t viv_metrics_dropped(const struct viv_metrics *metrics)
{
    return atomic_load_explicit(&metrics->dropped, memory_order_relaxed); // a statistic
}

struct visitor {
    void (*visit)(void *arg, const struct viv_metric *metric);
    void *arg;
};

static void visit_node(struct viv_trie_node *node, void *arg)
{
    const struct visitor *visitor = arg;
    visitor->visit(visitor->arg, &entry_of(node)->metric);
}

void viv_metrics_each(struct viv_metrics *metrics,
                      void (*visit)(void *arg, const struct viv_metric *metric), void *arg)
{
    struct visitor visitor = {visit, arg};
    viv_spin_lock(&metrics->lock);
    viv_trie_each(&metrics->trie, visit_node, &visitor);
    viv_spin_unlock(&metrics->lock);
}

// ---- the guest's functions ----

// A name that the process may not write to is NULL: what it says is dropped.
static bool read_name(struct viv_inst *inst, const wasmtime_val_raw_t *v, struct key *out)
{
    out->env = viv_env_number(viv_proc_env(inst->proc));
    out->len = (uint32_t)v[1].i32;
    if (!viv_guest_text(inst, (uint32_t)v[0].i32, out->len, &out->name)) return false;
    if (out->len <= VIV_NAME_BYTES_MAX) {
        bool is_allowed = viv_may_name(inst, VIV_CAP_METRICS_WRITE, out->name, out->len) == VIV_OK;
        if (!is_allowed) out->name = NULL;
        return true;
    }
    (void)viv_host_trap(inst, "the name is longer than %d bytes", VIV_NAME_BYTES_MAX);
    return false;
}

static double raw_f64(const wasmtime_val_raw_t *v)
{
    return v->f64;
}

enum viv_host viv_wasm__metrics_counter(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct key key;
    if (!read_name(inst, v, &key)) return VIV_HOST_TRAP;
    if (key.name == NULL) return VIV_HOST_OK;
    viv_metrics_count(viv_runtime_metrics(inst->runtime), key.env, key.name, key.len, false,
                      (uint64_t)v[2].i64);
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__metrics_increment_counter(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct key key;
    if (!read_name(inst, v, &key)) return VIV_HOST_TRAP;
    if (key.name == NULL) return VIV_HOST_OK;
    viv_metrics_count(viv_runtime_metrics(inst->runtime), key.env, key.name, key.len, true, 1);
    return VIV_HOST_OK;
}

static enum viv_host gauge(struct viv_inst *inst, const wasmtime_val_raw_t *v, bool add,
                           double value)
{
    struct key key;
    if (!read_name(inst, v, &key)) return VIV_HOST_TRAP;
    if (key.name == NULL) return VIV_HOST_OK;
    viv_metrics_gauge(viv_runtime_metrics(inst->runtime), key.env, key.name, key.len, add, value);
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__metrics_gauge(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    return gauge(inst, v, false, raw_f64(&v[2]));
}

enum viv_host viv_wasm__metrics_increment_gauge(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    return gauge(inst, v, true, raw_f64(&v[2]));
}

enum viv_host viv_wasm__metrics_decrement_gauge(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    return gauge(inst, v, true, -raw_f64(&v[2]));
}

enum viv_host viv_wasm__metrics_histogram(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    struct key key;
    if (!read_name(inst, v, &key)) return VIV_HOST_TRAP;
    if (key.name == NULL) return VIV_HOST_OK;
    viv_metrics_record(viv_runtime_metrics(inst->runtime), key.env, key.name, key.len,
                       raw_f64(&v[2]));
    return VIV_HOST_OK;
}
