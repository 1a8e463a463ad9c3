// SPDX-License-Identifier: Apache-2.0
// What a run keeps (2.8): steps, checkpoints, blobs, on every back end; stale runs keep nothing
// (case 70).
#include "store_rig.h"

#include <stdio.h>

static enum viv_err end_step(struct rig *rig, const char *key, const char *value,
                             const struct viv_fence *fence)
{
    return viv_store_step_end(rig->store, str("a"), str(key), str(value), fence, &rig->diag);
}

static void steps_are_recorded_once(struct rig *rig)
{
    struct viv_lease stale, live;
    struct viv_str value;
    rig_register(rig, "a", "rerunnable", "");
    RIG_ERR(viv_store_step_get(rig->store, str("a"), str("s"), &rig->mem, &value, &rig->diag),
            VIV_E_NOTFOUND);
    RIG_OK(rig_claim(rig, "a", "me", NULL, 1000, &stale));
    RIG_ERR(end_step(rig, "s", "1", NULL), VIV_STORE_FENCED);
    RIG_OK(end_step(rig, "s", "{\"b\":1.0,\"a\":[]}", &stale.f));
    RIG_OK(viv_store_step_get(rig->store, str("a"), str("s"), &rig->mem, &value, &rig->diag));
    rig_expect_text(value, "{\"a\":[],\"b\":1}");
    atomic_fetch_add(&rig->lease_ms, 1000);
    RIG_OK(rig_claim(rig, "a", "you", NULL, 1000, &live));
    RIG_OK(end_step(rig, "s", "{\"a\":[],\"b\":1}", &stale.f)); // a replay
    RIG_ERR(end_step(rig, "s", "2", &live.f), VIV_STORE_KEY_CONFLICT);
    RIG_ERR(end_step(rig, "t", "2", &stale.f), VIV_STORE_FENCED);
    RIG_ERR(end_step(rig, "", "2", &live.f), VIV_E_INVAL);
    RIG_ERR(end_step(rig, "\xff", "2", &live.f), VIV_STORE_UTF8);
    RIG_OK(end_step(rig, "t", "2", &live.f));
    assert_int_equal(rig_get(rig, "a").last_seq, 2);
}

static enum viv_err put(struct rig *rig, uint64_t ordinal, const char *bytes,
                        const struct viv_fence *fence)
{
    return viv_store_checkpoint_put(rig->store, str("a"), ordinal, str(bytes), fence, &rig->diag);
}

static enum viv_err get(struct rig *rig, uint64_t ordinal, const char *wanted)
{
    struct viv_checkpoint found;
    const enum viv_err err =
        viv_store_checkpoint_get(rig->store, str("a"), ordinal, &rig->mem, &found, &rig->diag);
    if (err == VIV_OK) rig_expect_text(found.bytes, wanted);
    return err;
}

static void the_newest_two_checkpoints_stay(struct rig *rig)
{
    struct viv_lease lease;
    rig_register(rig, "a", "rerunnable", "");
    RIG_OK(rig_claim(rig, "a", "me", NULL, 1000, &lease));
    RIG_ERR(get(rig, VIV_CHECKPOINT_NEWEST, ""), VIV_E_NOTFOUND);
    RIG_ERR(put(rig, 1, "one", NULL), VIV_STORE_FENCED);
    RIG_OK(put(rig, 1, "one", &lease.f));
    RIG_OK(put(rig, 1, "one", &lease.f)); // the same again
    RIG_ERR(put(rig, 1, "other", &lease.f), VIV_STORE_KEY_CONFLICT);
    RIG_OK(put(rig, 5, "", &lease.f));
    RIG_OK(get(rig, VIV_CHECKPOINT_NEWEST, ""));
    RIG_ERR(put(rig, 3, "three", &lease.f), VIV_E_INVAL);
    RIG_OK(get(rig, 1, "one"));
    RIG_OK(put(rig, 7, "seven", &lease.f));
    RIG_ERR(get(rig, 1, ""), VIV_E_NOTFOUND);
    RIG_OK(get(rig, 5, ""));
    RIG_OK(get(rig, 7, "seven"));
    RIG_OK(get(rig, VIV_CHECKPOINT_NEWEST, "seven"));
    struct viv_events events;
    RIG_OK(viv_store_events_recent(rig->store, str("a"), 1, &rig->mem, &events, &rig->diag));
    rig_expect_text(events.items[0].key, "viv:ckpt:7");
    // printf seven | sha256sum
    rig_expect_text(events.items[0].payload,
                    "{\"bytes\":5,\"ordinal\":7,\"sha256\":"
                    "\"3ba8d02b16fd2a01c1a8ba1a1f036d7ce386ed953696fa57331c2ac48a80b255\"}");
    atomic_fetch_add(&rig->lease_ms, 1000);
    RIG_ERR(put(rig, 8, "eight", &lease.f), VIV_STORE_FENCED);
    RIG_ERR(put(rig, UINT64_MAX, "x", &lease.f), VIV_E_INVAL);
    assert_int_equal(rig_get(rig, "a").last_seq, 3);
}

static void blobs_go_by_their_hash(struct rig *rig)
{
    struct viv_str hash, bytes;
    static const char data[] = "a\0b\xff";
    const struct viv_str blob = {data, 4};
    for (int i = 0; i < 2; i++) {
        RIG_OK(viv_store_blob_put(rig->store, blob, &rig->mem, &hash, &rig->diag));
        rig_expect_text(
            hash,
            "a37cc3026aae4d519e0b19c298fa913b4dccfdf0658cbccbb7deaa0226d5acdb"); // printf
                                                                                 // 'a\0b\377' |
                                                                                 // sha256sum
    }
    RIG_OK(viv_store_blob_get(rig->store, hash, &rig->mem, &bytes, &rig->diag));
    assert_int_equal(bytes.n, 4);
    assert_memory_equal(bytes.p, data, 4);
    RIG_ERR(viv_store_blob_get(rig->store, str("x"), &rig->mem, &bytes, &rig->diag),
            VIV_E_NOTFOUND);
    char other[65];
    memcpy(other, hash.p, sizeof other);
    other[0] = other[0] == '0' ? '1' : '0';
    RIG_ERR(viv_store_blob_get(rig->store, str(other), &rig->mem, &bytes, &rig->diag),
            VIV_E_NOTFOUND);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(steps_are_recorded_once),
        RIG_CASE(the_newest_two_checkpoints_stay),
        RIG_CASE(blobs_go_by_their_hash),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
