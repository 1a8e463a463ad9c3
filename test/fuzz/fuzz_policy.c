// SPDX-License-Identifier: Apache-2.0
// Any bytes as a policy. What is taken prints, reads back as the same policy, is packed, contains
// itself and its intersection with itself; what is refused says where, and changes nothing.
#include "fuzz.h"

#include "cap/policy.h"
#include <stdio.h>
#include <stdlib.h>

static void close_anchor(struct viv_anchor *anchor)
{
    viv_free(anchor, sizeof *anchor, VIV_TAG_TEST);
}

// Everything is there, and is one file.
static enum viv_err open_anchor(void *arg, enum viv_scope_type type, const char *path,
                                size_t path_len, struct viv_anchor **out_anchor,
                                struct viv_diag *diag)
{
    (void)arg;
    (void)type;
    (void)path;
    (void)path_len;
    (void)diag;
    struct viv_anchor *anchor = viv_try_calloc(1, sizeof *anchor, VIV_TAG_TEST);
    FUZZ_CHECK(anchor != NULL);
    atomic_init(&anchor->ref_count, 1);
    anchor->path = "/";
    anchor->path_len = 1;
    anchor->close = close_anchor;
    *out_anchor = anchor;
    return VIV_OK;
}

static void check_sets(const struct viv_policy *policy)
{
    struct viv_capset *set, *same;
    FUZZ_CHECK(viv_capset_new(policy->caps, &set) == VIV_OK);
    FUZZ_CHECK(viv_capset_contains(set, set, NULL));
    FUZZ_CHECK(viv_capset_intersect(set, set, &same) == VIV_OK);
    FUZZ_CHECK(viv_capset_contains(set, same, NULL) && viv_capset_contains(same, set, NULL));
    const struct viv_cap_query query = {.facets = UINT32_MAX, // an object of every type at once
                                        .relation = VIV_REL_ENV,
                                        .number = 1,
                                        .name = "a.b",
                                        .name_len = 3,
                                        .path = "/a/b",
                                        .path_len = 4,
                                        .rights = VIV_DIR_READ,
                                        .proto = VIV_NET_TCP,
                                        .port = 80,
                                        .has_addr = true};
    for (int cap = 0; cap < VIV_CAP_COUNT; cap++)
        FUZZ_CHECK(viv_capset_check(set, (enum viv_cap)cap, &query) ==
                   viv_capset_check(same, (enum viv_cap)cap, &query));
    viv_capset_drop(set);
    viv_capset_drop(same);
}

static void check_round(const struct viv_policy *policy, const struct viv_scope_hooks *hooks)
{
    struct viv_policy *again;
    struct viv_buf once, twice;
    viv_buf_init(&once, VIV_TAG_TEST);
    viv_buf_init(&twice, VIV_TAG_TEST);
    FUZZ_CHECK(viv_policy_print(policy, &once) == VIV_OK);
    FUZZ_CHECK(viv_policy_new(&again) == VIV_OK);
    struct viv_policy_error error = {0};
    struct viv_policy_source source = {
        .text = (const char *)once.data, .len_bytes = once.len_bytes, .hooks = hooks};
    if (viv_policy_parse(again, &source, &error) != VIV_OK) {
        fprintf(stderr, "%.*s%s\n", (int)once.len_bytes, (const char *)once.data, error.diag.text);
        abort();
    }
    FUZZ_CHECK(viv_policy_print(again, &twice) == VIV_OK);
    FUZZ_CHECK(once.len_bytes == twice.len_bytes);
    for (size_t i = 0; i < once.len_bytes; i++)
        FUZZ_CHECK(once.data[i] == twice.data[i]);
    viv_policy_free(again);
    viv_buf_deinit(&once);
    viv_buf_deinit(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct viv_scope_hooks hooks = {.open = open_anchor};
    const int64_t before = viv_alloc_live_bytes_all();
    struct viv_policy *policy;
    struct viv_policy_error error = {0};
    const struct viv_policy_source source = {
        .text = (const char *)data, .len_bytes = size, .hooks = &hooks};
    FUZZ_CHECK(viv_policy_new(&policy) == VIV_OK);
    if (viv_policy_parse(policy, &source, &error) == VIV_OK) {
        check_sets(policy);
        check_round(policy, &hooks);
    } else {
        FUZZ_CHECK(error.line >= 1 && error.column >= 1 && error.diag.text[0] != '\0');
        FUZZ_CHECK(policy->caps->held == 0 && policy->limits_set == 0);
    }
    viv_policy_free(policy);
    FUZZ_CHECK(viv_alloc_live_bytes_all() == before);
    return 0;
}
