// SPDX-License-Identifier: Apache-2.0
// Configs of Wasm processes: counted, with lists of strings. Threads: the count is atomic; the rest
// is the holder's.
#include "wasm/config.h"

#include "base/limits.h"
#include "wasm/wasi_stdio.h"
#include <stdatomic.h>
#include <string.h>

enum { FRESH_MEMORY_BYTES = UINT32_MAX };

struct viv_config *viv_config_new(void)
{
    struct viv_config *config = viv_try_calloc(1, sizeof(*config), VIV_TAG_WASM);
    if (config == NULL) return NULL;
    atomic_init(&config->refs, 1);
    config->rights =
        VIV_RIGHT_ALL & ~(uint32_t)(VIV_RIGHT_SPAWN | VIV_RIGHT_COMPILE | VIV_RIGHT_CONFIG);
    config->max_memory_bytes = FRESH_MEMORY_BYTES;
    return config;
}

struct viv_config *viv_config_take(struct viv_config *config)
{
    atomic_fetch_add_explicit(&config->refs, 1,
                              memory_order_relaxed); // the taker holds one already
    return config;
}

static void free_pairs(struct viv_pairs *pairs)
{
    for (uint32_t i = 0; i < pairs->count; i++) {
        viv_free(pairs->item[i].first, pairs->item[i].first_len + 1, VIV_TAG_WASM);
        if (pairs->item[i].second != NULL)
            viv_free(pairs->item[i].second, pairs->item[i].second_len + 1, VIV_TAG_WASM);
    }
    viv_free(pairs->item, pairs->cap * sizeof(struct viv_pair), VIV_TAG_WASM);
}

void viv_config_drop(struct viv_config *config)
{
    if (config == NULL) return;
    // Acq_rel: uses of other holders come before the free.
    if (atomic_fetch_sub_explicit(&config->refs, 1, memory_order_acq_rel) != 1) return;
    free_pairs(&config->args);
    free_pairs(&config->env);
    free_pairs(&config->dirs);
    viv_capture_drop(config->capture);
    viv_free(config, sizeof(*config), VIV_TAG_WASM);
}

static enum viv_err reserve(struct viv_pairs *pairs)
{
    if (pairs->count < pairs->cap) return VIV_OK;
    uint32_t cap = pairs->cap == 0 ? 4 : pairs->cap * 2;
    struct viv_pair *grown = viv_try_realloc(pairs->item, pairs->cap * sizeof(struct viv_pair),
                                             cap * sizeof(struct viv_pair), VIV_TAG_WASM);
    if (grown == NULL) return VIV_E_EXHAUSTED;
    pairs->item = grown;
    pairs->cap = cap;
    return VIV_OK;
}

static enum viv_err add(struct viv_config *config, struct viv_pairs *pairs, const char *first,
                        size_t first_len, const char *second, size_t second_len)
{
    if (memchr(first, '\0', first_len) != NULL) return VIV_E_INVAL;
    if (second != NULL && memchr(second, '\0', second_len) != NULL) return VIV_E_INVAL;
    uint64_t text_bytes = config->text_bytes + first_len + second_len + 2;
    if (text_bytes > VIV_CONFIG_TEXT_MAX) return VIV_E_QUOTA;
    VIV_TRY(reserve(pairs));
    struct viv_pair pair = {.first_len = first_len, .second_len = second_len};
    pair.first = viv_try_strndup(first, first_len, VIV_TAG_WASM);
    if (pair.first == NULL) return VIV_E_EXHAUSTED;
    if (second != NULL) {
        pair.second = viv_try_strndup(second, second_len, VIV_TAG_WASM);
        if (pair.second == NULL) {
            viv_free(pair.first, first_len + 1, VIV_TAG_WASM);
            return VIV_E_EXHAUSTED;
        }
    }
    pairs->item[pairs->count++] = pair;
    config->text_bytes = text_bytes;
    return VIV_OK;
}

enum viv_err viv_config_add_arg(struct viv_config *config, const char *arg, size_t len)
{
    return add(config, &config->args, arg, len, NULL, 0);
}

enum viv_err viv_config_add_env(struct viv_config *config, const char *key, size_t key_len,
                                const char *value, size_t value_len)
{
    return add(config, &config->env, key, key_len, value, value_len);
}

enum viv_err viv_config_add_dir(struct viv_config *config, const char *host, size_t host_len,
                                const char *guest, size_t guest_len)
{
    if (config->dirs.count >= VIV_CONFIG_DIRS_MAX) return VIV_E_QUOTA;
    return add(config, &config->dirs, host, host_len, guest, guest_len);
}

void viv_config_limit_dir(struct viv_config *config, uint32_t dir_rights)
{
    config->dirs.item[config->dirs.count - 1].dir_rights = dir_rights;
}

static enum viv_err copy_pairs(struct viv_config *to, struct viv_pairs *pairs,
                               const struct viv_pairs *from)
{
    for (uint32_t i = 0; i < from->count; i++) {
        const struct viv_pair *pair = &from->item[i];
        VIV_TRY(add(to, pairs, pair->first, pair->first_len, pair->second, pair->second_len));
    }
    return VIV_OK;
}

// The smaller of two limits of which 0 means none.
static uint64_t tighter(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0) return a + b;
    return viv_min_u64(a, b);
}

static void cut(struct viv_config *child, const struct viv_config *parent)
{
    child->rights &= parent->rights;
    child->max_memory_bytes = viv_min_u64(child->max_memory_bytes, parent->max_memory_bytes);
    child->max_fuel_units = tighter(child->max_fuel_units, parent->max_fuel_units);
    child->cpu_ns = tighter(child->cpu_ns, parent->cpu_ns);
    child->life_ns = tighter(child->life_ns, parent->life_ns);
    child->cpu_percent = (uint32_t)tighter(child->cpu_percent, parent->cpu_percent);
    if (parent->output_bytes != 0) child->drops_output = parent->drops_output;
    child->mailbox_count = tighter(child->mailbox_count, parent->mailbox_count);
    child->mailbox_bytes = tighter(child->mailbox_bytes, parent->mailbox_bytes);
    child->output_bytes = tighter(child->output_bytes, parent->output_bytes);
    child->stdio = parent->stdio;
    if (parent->capture != NULL) child->capture = viv_capture_take(parent->capture);
    child->has_mailbox = child->has_mailbox || parent->has_mailbox;
    if (parent->has_mailbox) child->mailbox_policy = parent->mailbox_policy;
}

enum viv_err viv_config_for_child(const struct viv_config *config, const struct viv_config *parent,
                                  struct viv_config **out_child)
{
    struct viv_config *child = viv_config_new();
    if (child == NULL) return VIV_E_EXHAUSTED;
    child->rights = config->rights;
    child->max_memory_bytes = config->max_memory_bytes;
    child->max_fuel_units = config->max_fuel_units;
    child->cpu_ns = config->cpu_ns;
    child->life_ns = config->life_ns;
    child->cpu_percent = config->cpu_percent;
    child->drops_output = config->drops_output;
    child->mailbox_count = config->mailbox_count;
    child->mailbox_bytes = config->mailbox_bytes;
    child->output_bytes = config->output_bytes;
    child->has_mailbox = config->has_mailbox;
    child->mailbox_policy = config->mailbox_policy;
    enum viv_err err = copy_pairs(child, &child->args, &config->args);
    if (err == VIV_OK) err = copy_pairs(child, &child->env, &config->env);
    if (err == VIV_OK) err = copy_pairs(child, &child->dirs, &config->dirs);
    if (err != VIV_OK) {
        viv_config_drop(child);
        return err;
    }
    cut(child, parent);
    *out_child = child;
    return VIV_OK;
}
