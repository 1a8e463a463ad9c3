// SPDX-License-Identifier: Apache-2.0
// The registry by itself: life, relations, accounts. Numbers in names are those of the cases of the
// contract.
#include "base/alloc.h"
#include "harness/check.h"
#include "os/thread.h"
#include "res_rig.h"
#include "sched/drive.h"
#include <string.h>

static struct res_rig rig;

static int setup(void **state)
{
    (void)state;
    res_rig_prepare(&rig);
    res_rig_open(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    res_rig_close(&rig);
    return 0;
}

static const viv_rid NONE = {0};

static enum viv_err read_value(void *obj, void *ctx)
{
    *(int *)ctx = ((struct thing *)obj)->value;
    return VIV_OK;
}

static uint32_t list_owned(viv_rid owner, viv_rid *out, uint32_t n)
{
    struct viv_res_cursor cursor = {0};
    return viv_res_owned(rig.reg, owner, &cursor, out, n);
}

static uint32_t list_children(viv_rid parent, viv_rid *out, uint32_t n)
{
    struct viv_res_cursor cursor = {0};
    return viv_res_children(rig.reg, parent, &cursor, out, n);
}

static void remove_gives_the_object_case_2(void **state)
{
    (void)state;
    static struct thing ten = {.value = 10};
    const viv_rid rid = res_rig_add(&rig, KIND, NONE, NONE, &ten);
    void *obj = NULL;
    OK(viv_res_remove(rig.reg, rid, KIND, &obj));
    assert_ptr_equal(obj, &ten);
    res_rig_quiet(&rig);
    assert_int_equal(ten.closes, 0);
    assert_int_equal(ten.destroys, 0);
    ERR(viv_res_remove(rig.reg, rid, KIND, &obj), NOTFOUND);
    assert_false(res_rig_is_known(&rig, rid));
}

static void parent_and_children_case_4(void **state)
{
    (void)state;
    static struct thing p = {0}, c = {0}, d = {0};
    const viv_rid parent = res_rig_add(&rig, KIND, NONE, NONE, &p);
    const viv_rid child = res_rig_add(&rig, KIND, NONE, NONE, &c);
    const viv_rid other = res_rig_add(&rig, KIND, NONE, NONE, &d);
    OK(viv_res_set_parent(rig.reg, child, parent));
    OK(viv_res_set_parent(rig.reg, other, parent));
    assert_true(viv_rid_eq(viv_res_parent(rig.reg, child), parent));
    viv_rid list[4];
    assert_int_equal(list_children(parent, list, 4), 2);
    assert_true(viv_rid_eq(list[0], other)); // newest first
    assert_true(viv_rid_eq(list[1], child));
    res_rig_check(&rig);
    OK(viv_res_discard(rig.reg, child));
    assert_int_equal(list_children(parent, list, 4), 1);
    assert_true(viv_rid_eq(list[0], other));
    OK(viv_res_set_parent(rig.reg, other, NONE));
    assert_int_equal(list_children(parent, list, 4), 0);
    assert_int_equal(viv_res_parent(rig.reg, other).w, 0);
}

static void two_owned_case_5(void **state)
{
    (void)state;
    static struct thing p = {0}, a = {0}, b = {0};
    const viv_rid proc = res_rig_add(&rig, VIV_KIND_PROCESS, NONE, NONE, &p);
    const viv_rid first = res_rig_add(&rig, VIV_KIND_HOST, proc, NONE, &a);
    const viv_rid second = res_rig_add(&rig, VIV_KIND_FILE, proc, NONE, &b);
    viv_rid list[4];
    assert_int_equal(list_owned(proc, list, 4), 2);
    assert_true(viv_rid_eq(list[0], second)); // a file ends before a host object
    assert_true(viv_rid_eq(list[1], first));
    void *obj;
    OK(viv_res_remove(rig.reg, first, VIV_KIND_HOST, &obj));
    assert_int_equal(list_owned(proc, list, 4), 1);
    assert_true(viv_rid_eq(list[0], second));
    assert_true(viv_rid_eq(viv_res_owner(rig.reg, second), proc));
}

static void rids_of_one_slot_differ_case_9(void **state)
{
    (void)state;
    const uint64_t rounds = check_env_u64("VIV_TEST_ROUNDS", 100000);
    uint64_t last = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        struct thing thing = {0};
        const viv_rid rid = res_rig_add(&rig, KIND, NONE, NONE, &thing);
        assert_true(rid.w > last); // generation is the upper half, slot the same
        assert_int_equal((uint32_t)rid.w, 1);
        last = rid.w;
        OK(viv_res_discard(rig.reg, rid));
        res_rig_quiet(&rig);
        assert_int_equal(thing.destroys, 1);
    }
}

static void wrong_kind_case_10(void **state)
{
    (void)state;
    static struct thing thing = {.value = 5};
    const viv_rid rid = res_rig_add(&rig, KIND, NONE, NONE, &thing);
    int value = 0;
    void *obj = NULL;
    struct viv_res *pinned = NULL;
    ERR(viv_res_with(rig.reg, rid, VIV_KIND_HOST, read_value, &value), KIND);
    ERR(viv_res_remove(rig.reg, rid, VIV_KIND_HOST, &obj), KIND);
    ERR(viv_res_pin(rig.reg, rid, VIV_KIND_HOST, &pinned), KIND);
    assert_null(obj);
    assert_null(pinned);
    OK(viv_res_with(rig.reg, rid, KIND, read_value, &value));
    assert_int_equal(value, 5);
    assert_int_equal(thing.closes, 0);
    // Other sync: the object is not the registry's to lock.
    static struct thing file = {0};
    const viv_rid other = res_rig_add(&rig, VIV_KIND_FILE, NONE, NONE, &file);
    ERR(viv_res_with(rig.reg, other, VIV_KIND_FILE, read_value, &value), INVAL);
    ERR(viv_res_remove(rig.reg, other, VIV_KIND_FILE, &obj), INVAL);
}

static enum viv_err remove_inside(void *obj, void *ctx)
{
    void *out = NULL;
    (void)obj;
    ERR(viv_res_remove(rig.reg, *(viv_rid *)ctx, KIND, &out), BUSY);
    assert_null(out);
    return VIV_OK;
}

static void busy_and_gone_case_11(void **state)
{
    (void)state;
    static struct thing thing = {.value = 1};
    viv_rid rid = res_rig_add(&rig, KIND, NONE, NONE, &thing);
    OK(viv_res_with(rig.reg, rid, KIND, remove_inside, &rid));
    struct viv_res *pinned;
    OK(viv_res_pin(rig.reg, rid, KIND, &pinned));
    void *obj;
    ERR(viv_res_remove(rig.reg, rid, KIND, &obj), BUSY);
    res_rig_check(&rig);
    OK(viv_res_discard(rig.reg, rid));
    res_rig_quiet(&rig);
    assert_int_equal(thing.closes, 1);
    assert_int_equal(thing.destroys, 0); // the pin keeps it
    assert_ptr_equal(viv_res_obj(pinned), &thing);
    int value;
    struct viv_res *again;
    ERR(viv_res_with(rig.reg, rid, KIND, read_value, &value), GONE);
    ERR(viv_res_pin(rig.reg, rid, KIND, &again), GONE);
    res_rig_check(&rig);
    viv_res_unpin(pinned);
    assert_int_equal(thing.destroys, 0); // not before the grace period
    ERR(viv_res_with(rig.reg, rid, KIND, read_value, &value), NOTFOUND);
    res_rig_quiet(&rig);
    assert_int_equal(thing.destroys, 1);
}

static void reservations_case_12(void **state)
{
    (void)state;
    static struct thing thing = {.value = 3}, other = {0}, third = {0};
    const struct viv_res_spec spec = {.kind = KIND, .label = "reserved"};
    viv_rid rid;
    OK(viv_res_reserve(rig.reg, &spec, &rid));
    int value = 0;
    struct viv_res *pinned;
    void *obj;
    ERR(viv_res_with(rig.reg, rid, KIND, read_value, &value), STATE);
    ERR(viv_res_pin(rig.reg, rid, KIND, &pinned), STATE);
    ERR(viv_res_remove(rig.reg, rid, KIND, &obj), STATE);
    struct viv_res_meta meta;
    OK(viv_res_metadata(rig.reg, rid, &meta));
    assert_int_equal(meta.phase, VIV_RES_RESERVED);
    assert_int_equal(meta.kind, KIND);
    char label[VIV_RES_LABEL_MAX + 1];
    OK(viv_res_label(rig.reg, rid, label, sizeof(label)));
    assert_string_equal(label, "reserved");
    ERR(viv_res_initialise(rig.reg, rid, VIV_KIND_HOST, &other), KIND);
    assert_int_equal(other.destroys, 1);
    OK(viv_res_initialise(rig.reg, rid, KIND, &thing));
    OK(viv_res_with(rig.reg, rid, KIND, read_value, &value));
    assert_int_equal(value, 3);
    ERR(viv_res_initialise(rig.reg, rid, KIND, &other), STATE); // twice, and on a live one
    assert_int_equal(other.destroys, 2);
    ERR(viv_res_initialise(rig.reg, (viv_rid){77}, KIND, &third), STATE);
    assert_int_equal(third.destroys, 1);
    assert_int_equal(thing.destroys, 0);
}

static void discard_twice_case_13(void **state)
{
    (void)state;
    static struct thing thing = {0};
    const viv_rid rid = res_rig_add(&rig, KIND, NONE, NONE, &thing);
    OK(viv_res_discard(rig.reg, rid));
    ERR(viv_res_discard(rig.reg, rid), NOTFOUND);
    assert_int_equal(thing.why, VIV_WHY_DISCARD);
    const struct viv_res_spec spec = {.kind = KIND};
    viv_rid reserved;
    OK(viv_res_reserve(rig.reg, &spec, &reserved));
    OK(viv_res_discard(rig.reg, reserved));
    ERR(viv_res_discard(rig.reg, reserved), NOTFOUND);
    res_rig_quiet(&rig);
    ERR(viv_res_discard(rig.reg, reserved), NOTFOUND);
    assert_int_equal(thing.closes, 1);
    assert_int_equal(thing.destroys, 1);
}

static void dead_owner_or_parent_case_14(void **state)
{
    (void)state;
    static struct thing gone = {0}, thing = {0};
    const viv_rid dead = res_rig_add(&rig, KIND, NONE, NONE, &gone);
    const struct viv_res_spec reserved_spec = {.kind = KIND};
    viv_rid reserved, out = {0};
    OK(viv_res_reserve(rig.reg, &reserved_spec, &reserved));
    OK(viv_res_discard(rig.reg, dead));
    const viv_rid bad[] = {dead, {12345}, {UINT64_MAX}, reserved};
    for (uint32_t i = 0; i < VIV_COUNT_OF(bad); i++) {
        struct viv_res_spec spec = {.kind = KIND, .owner = bad[i]};
        ERR(viv_res_add(rig.reg, &spec, &thing, &out), NOTFOUND);
        spec = (struct viv_res_spec){.kind = KIND, .parent = bad[i]};
        ERR(viv_res_add(rig.reg, &spec, &thing, &out), NOTFOUND);
        assert_int_equal(out.w, 0);
        assert_int_equal(thing.destroys, 2 * (i + 1)); // once each
    }
    // A parent of a kind that does not suit.
    static struct thing p = {0};
    const viv_rid parent = res_rig_add(&rig, KIND, NONE, NONE, &p);
    const struct viv_res_spec spec = {.kind = VIV_KIND_READER, .parent = parent};
    ERR(viv_res_add(rig.reg, &spec, &thing, &out), KIND);
    viv_rid list[8];
    assert_int_equal(list_owned(NONE, list, 8), 2);
    assert_int_equal(thing.closes, 0);
}

static void unknown_rids_case_15(void **state)
{
    (void)state;
    static struct thing thing = {0};
    const viv_rid rid = res_rig_add(&rig, KIND, NONE, NONE, &thing);
    struct viv_res *pinned;
    OK(viv_res_pin(rig.reg, rid, KIND, &pinned));
    OK(viv_res_discard(rig.reg, rid)); // dying: pinned
    const viv_dep dep = {"0123456789abcde"};
    ERR(viv_res_register_singleton(rig.reg, NONE, dep, rid), NOTFOUND);
    ERR(viv_res_register_singleton(rig.reg, NONE, dep, (viv_rid){99}), NOTFOUND);
    ERR(viv_res_set_owner(rig.reg, rid, NONE), NOTFOUND);
    ERR(viv_res_set_parent(rig.reg, rid, NONE), NOTFOUND);
    assert_false(res_rig_is_known(&rig, rid));
    viv_res_unpin(pinned);
}

enum { RACERS = 8, RACER_RIDS = 50 };
static viv_rid racer_rids[RACERS][RACER_RIDS];
static struct thing racer_things[RACERS][RACER_RIDS];

static void add_some(void *arg)
{
    const uintptr_t me = (uintptr_t)arg;
    struct viv_qsbr_member *member;
    CHECK(viv_sched_enter(rig.sched, &member) == VIV_OK);
    for (uint32_t i = 0; i < RACER_RIDS; i++) {
        const struct viv_res_spec spec = {.kind = KIND};
        CHECK(viv_res_add(rig.reg, &spec, &racer_things[me][i], &racer_rids[me][i]) == VIV_OK);
        viv_qsbr_quiet(member, UINT32_MAX);
    }
    viv_sched_leave(member);
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void first_rids_of_threads_case_16(void **state)
{
    (void)state;
    struct viv_thread *threads[RACERS];
    for (uintptr_t i = 0; i < RACERS; i++)
        OK(viv_thread_start("racer", 0, add_some, (void *)i, &threads[i]));
    for (uint32_t i = 0; i < RACERS; i++)
        viv_thread_join(threads[i]);
    uint64_t all[RACERS * RACER_RIDS];
    for (uint32_t i = 0; i < RACERS * RACER_RIDS; i++)
        all[i] = racer_rids[i / RACER_RIDS][i % RACER_RIDS].w;
    qsort(all, VIV_COUNT_OF(all), sizeof(all[0]), compare_u64);
    assert_int_not_equal(all[0], 0);
    for (uint32_t i = 1; i < VIV_COUNT_OF(all); i++)
        assert_int_not_equal(all[i], all[i - 1]);
}

static void relinking_a_log_channel_case_18(void **state)
{
    (void)state;
    static struct thing things[4] = {0};
    const viv_rid p = res_rig_add(&rig, VIV_KIND_PROCESS, NONE, NONE, &things[0]);
    const viv_rid q = res_rig_add(&rig, VIV_KIND_PROCESS, NONE, NONE, &things[1]);
    const viv_rid c = res_rig_add(&rig, VIV_KIND_CHANNEL, NONE, NONE, &things[2]);
    const viv_rid d = res_rig_add(&rig, VIV_KIND_CHANNEL, NONE, NONE, &things[3]);
    viv_rid found = {0};
    ERR(viv_res_log_channel(rig.reg, p, &found), NOTFOUND);
    ERR(viv_res_set_log_channel(rig.reg, c, p), KIND);
    OK(viv_res_set_log_channel(rig.reg, p, c));
    OK(viv_res_log_channel(rig.reg, p, &found));
    assert_true(viv_rid_eq(found, c));
    OK(viv_res_set_log_channel(rig.reg, p, d)); // c is free
    OK(viv_res_set_log_channel(rig.reg, q, d)); // p has none now
    ERR(viv_res_log_channel(rig.reg, p, &found), NOTFOUND);
    OK(viv_res_log_channel(rig.reg, q, &found));
    assert_true(viv_rid_eq(found, d));
    ERR(viv_res_log_channel(rig.reg, c, &found), KIND);
    res_rig_check(&rig);
    OK(viv_res_discard(rig.reg, d));
    ERR(viv_res_log_channel(rig.reg, q, &found), NOTFOUND);
}

static enum viv_err enter_again(void *obj, void *ctx)
{
    int value;
    (void)obj;
    ERR(viv_res_with(rig.reg, *(viv_rid *)ctx, KIND, read_value, &value), BUSY);
    return VIV_E_IO;
}

static void reentry_and_failing_callback_case_21(void **state)
{
    (void)state;
    static struct thing thing = {.value = 9};
    viv_rid rid = res_rig_add(&rig, KIND, NONE, NONE, &thing);
    ERR(viv_res_with(rig.reg, rid, KIND, enter_again, &rid), IO);
    int value = 0;
    OK(viv_res_with(rig.reg, rid, KIND, read_value, &value));
    assert_int_equal(value, 9);
}

static enum viv_err discard_inside(void *obj, void *ctx)
{
    OK(viv_res_discard(rig.reg, *(viv_rid *)ctx));
    assert_int_equal(((struct thing *)obj)->closes, 1);
    return VIV_OK;
}

static void discard_from_inside(void **state)
{
    (void)state;
    static struct thing thing = {0};
    viv_rid rid = res_rig_add(&rig, KIND, NONE, NONE, &thing);
    OK(viv_res_with(rig.reg, rid, KIND, discard_inside, &rid));
}

static void slots_retire_case_22(void **state)
{
    (void)state;
    struct res_rig small;
    res_rig_prepare(&small);
    small.config.slot_max = 4;
    small.config.gen_max = 3;
    viv_rid seen[12];
    static struct thing thing = {0};
    res_rig_open(&small);
    for (uint32_t i = 0; i < 12; i++) {
        seen[i] = res_rig_add(&small, KIND, NONE, NONE, &thing);
        for (uint32_t k = 0; k < i; k++)
            assert_false(viv_rid_eq(seen[i], seen[k]));
        OK(viv_res_discard(small.reg, seen[i]));
        res_rig_quiet(&small);
    }
    const struct viv_res_spec spec = {.kind = KIND};
    viv_rid rid;
    ERR(viv_res_add(small.reg, &spec, &thing, &rid), EXHAUSTED);
    assert_int_equal(thing.destroys, 13);
    for (uint32_t i = 0; i < 12; i++)
        assert_false(res_rig_is_known(&small, seen[i]));
    res_rig_close(&small);
}

static void set_owner_and_quota_case_44(void **state)
{
    (void)state;
    static struct thing things[6] = {0};
    const viv_rid env = res_rig_add(&rig, VIV_KIND_ENVIRONMENT, NONE, NONE, &things[0]);
    const viv_rid p = res_rig_add(&rig, VIV_KIND_PROCESS, env, NONE, &things[1]);
    const viv_rid q = res_rig_add(&rig, VIV_KIND_PROCESS, env, NONE, &things[2]);
    struct viv_account_limits limits;
    viv_account_limits_none(&limits);
    limits.max[VIV_COUNTER_RESOURCES] = 2;
    struct viv_account *of_p, *of_q;
    OK(viv_res_open_account(rig.reg, p, NULL, &of_p));
    OK(viv_res_open_account(rig.reg, q, &limits, &of_q));
    ERR(viv_res_open_account(rig.reg, q, &limits, &of_q), STATE);
    const viv_rid tree = res_rig_add(&rig, KIND, p, NONE, &things[3]);
    const viv_rid below = res_rig_add(&rig, KIND, tree, NONE, &things[4]);
    const struct viv_res_spec big = {.kind = KIND, .owner = below, .charge_bytes = 100};
    viv_rid leaf;
    OK(viv_res_add(rig.reg, &big, &things[5], &leaf));
    assert_int_equal(viv_account_used(of_p, VIV_COUNTER_RESOURCES), 3);
    assert_int_equal(viv_account_used(of_p, VIV_COUNTER_RESOURCE_BYTES), 3 * 80 + 128);
    ERR(viv_res_set_owner(rig.reg, tree, q), QUOTA); // three would come
    assert_true(viv_rid_eq(viv_res_owner(rig.reg, tree), p));
    assert_int_equal(viv_account_used(of_q, VIV_COUNTER_RESOURCES), 0);
    res_rig_check(&rig);
    OK(viv_res_set_owner(rig.reg, below, q)); // two
    assert_int_equal(viv_account_used(of_p, VIV_COUNTER_RESOURCES), 1);
    assert_int_equal(viv_account_used(of_q, VIV_COUNTER_RESOURCES), 2);
    res_rig_check(&rig);
    ERR(viv_res_set_owner(rig.reg, below, leaf), LOOP);
    ERR(viv_res_set_owner(rig.reg, below, below), LOOP);
    OK(viv_res_discard(rig.reg, q));
    assert_int_equal(things[5].closes, 1);
    assert_int_equal(things[5].why, VIV_WHY_OWNER_END);
    res_rig_check(&rig);
}

static void limits_case_46(void **state)
{
    (void)state;
    static struct thing thing = {0}, p_thing = {0};
    const viv_rid p = res_rig_add(&rig, VIV_KIND_PROCESS, NONE, NONE, &p_thing);
    struct viv_account_limits limits;
    viv_account_limits_none(&limits);
    limits.max[VIV_COUNTER_RESOURCE_BYTES] = 2 * (80 + 64);
    struct viv_account *account;
    OK(viv_res_open_account(rig.reg, p, &limits, &account));
    const struct viv_res_spec spec = {.kind = KIND, .owner = p, .charge_bytes = 1};
    viv_rid a, b, c;
    OK(viv_res_add(rig.reg, &spec, &thing, &a));
    OK(viv_res_add(rig.reg, &spec, &thing, &b));
    ERR(viv_res_add(rig.reg, &spec, &thing, &c), QUOTA);
    assert_int_equal(thing.destroys, 1);
    assert_int_equal(viv_account_used(account, VIV_COUNTER_RESOURCES), 2);
    OK(viv_res_discard(rig.reg, a));
    OK(viv_res_add(rig.reg, &spec, &thing, &c));
    assert_int_equal(viv_account_peak(account, VIV_COUNTER_RESOURCE_BYTES), 2 * (80 + 64));
}

static void order_of_release(void **state)
{
    (void)state;
    static struct thing proc = {0}, host = {0}, old_file = {0}, new_file = {0}, channel = {0},
                        reader = {0}, writer = {0};
    const viv_rid p = res_rig_add(&rig, VIV_KIND_PROCESS, NONE, NONE, &proc);
    res_rig_add(&rig, VIV_KIND_HOST, p, NONE, &host);
    res_rig_add(&rig, VIV_KIND_FILE, p, NONE, &old_file);
    const viv_rid c = res_rig_add(&rig, VIV_KIND_CHANNEL, p, NONE, &channel);
    res_rig_add(&rig, VIV_KIND_READER, p, c, &reader);
    res_rig_add(&rig, VIV_KIND_FILE, p, NONE, &new_file);
    res_rig_add(&rig, VIV_KIND_WRITER, p, c, &writer);
    struct thing *const order[] = {&writer, &reader, &channel, &new_file, &old_file, &host, &proc};
    viv_rid list[8];
    assert_int_equal(list_owned(p, list, 8), 6);
    OK(viv_res_discard(rig.reg, p));
    for (uint32_t i = 1; i < VIV_COUNT_OF(order); i++)
        assert_int_equal(order[i]->order, order[i - 1]->order + 1);
    assert_int_equal(writer.why, VIV_WHY_OWNER_END);
    // The channel's last hold went with its reader, which was the one that came later.
    assert_int_equal(channel.why, VIV_WHY_LAST_CLOSE);
    assert_int_equal(viv_account_used(viv_res_account(rig.reg), VIV_COUNTER_RESOURCES), 0);
}

static void children_end_before_their_parent(void **state)
{
    (void)state;
    static struct thing things[5] = {0};
    const viv_rid top = res_rig_add(&rig, KIND, NONE, NONE, &things[0]);
    const viv_rid a = res_rig_add(&rig, KIND, NONE, top, &things[1]);
    res_rig_add(&rig, KIND, NONE, top, &things[2]);
    res_rig_add(&rig, KIND, NONE, a, &things[3]);
    res_rig_add(&rig, KIND, a, NONE, &things[4]);
    OK(viv_res_discard(rig.reg, top));
    // Newest child first; below a: its child, then what it owns.
    assert_int_equal(things[3].order, things[2].order + 1);
    assert_int_equal(things[4].order, things[3].order + 1);
    assert_int_equal(things[1].order, things[4].order + 1);
    assert_int_equal(things[0].order, things[1].order + 1);
    assert_int_equal(things[3].why, VIV_WHY_PARENT_END);
    assert_int_equal(things[4].why, VIV_WHY_OWNER_END);
}

static void mixed_circle_ends(void **state)
{
    (void)state;
    static struct thing a_thing = {0}, b_thing = {0};
    const viv_rid a = res_rig_add(&rig, KIND, NONE, NONE, &a_thing);
    const viv_rid b = res_rig_add(&rig, KIND, a, NONE, &b_thing);
    OK(viv_res_set_parent(rig.reg, a, b)); // owned by its own child
    res_rig_check(&rig);
    OK(viv_res_discard(rig.reg, a));
    assert_int_equal(a_thing.closes, 1);
    assert_int_equal(b_thing.closes, 1);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    static struct thing things[80];
    viv_rid at = {0}, out;
    for (uint32_t i = 0; i < VIV_RES_DEPTH_MAX; i++)
        at = res_rig_add(&rig, KIND, at, at, &things[i]);
    static struct thing thing = {0};
    const struct viv_res_spec spec = {.kind = KIND, .owner = at};
    ERR(viv_res_add(rig.reg, &spec, &thing, &out), LOOP);
    const struct viv_res_spec child = {.kind = KIND, .parent = at};
    ERR(viv_res_add(rig.reg, &child, &thing, &out), LOOP);
    // A tree of two levels does not fit below level 31.
    const viv_rid top = res_rig_add(&rig, KIND, NONE, NONE, &things[40]);
    const viv_rid low = res_rig_add(&rig, KIND, top, top, &things[41]);
    const viv_rid level_31 = viv_res_owner(rig.reg, at);
    ERR(viv_res_set_owner(rig.reg, top, level_31), LOOP);
    ERR(viv_res_set_parent(rig.reg, top, level_31), LOOP);
    OK(viv_res_set_owner(rig.reg, top, viv_res_owner(rig.reg, level_31)));
    OK(viv_res_set_parent(rig.reg, top, viv_res_parent(rig.reg, level_31)));
    assert_true(viv_rid_eq(viv_res_owner(rig.reg, low), top));
}

static void singletons(void **state)
{
    (void)state;
    static struct thing things[4] = {0};
    const viv_rid env = res_rig_add(&rig, VIV_KIND_ENVIRONMENT, NONE, NONE, &things[0]);
    const viv_rid a = res_rig_add(&rig, KIND, env, NONE, &things[1]);
    const viv_rid b = res_rig_add(&rig, KIND, NONE, NONE, &things[2]);
    const viv_dep x = {"x"}, y = {"y"};
    viv_rid found = {0};
    OK(viv_res_register_singleton(rig.reg, env, x, a));
    ERR(viv_res_register_singleton(rig.reg, env, x, b), EXISTS);
    ERR(viv_res_register_singleton(rig.reg, env, y, a), EXISTS);
    ERR(viv_res_register_singleton(rig.reg, b, y, b), NOTFOUND); // no environment
    OK(viv_res_register_singleton(rig.reg, NONE, x, a));         // another environment
    OK(viv_res_register_singleton(rig.reg, env, y, b));
    OK(viv_res_singleton(rig.reg, env, x, &found));
    assert_true(viv_rid_eq(found, a));
    ERR(viv_res_singleton(rig.reg, NONE, y, &found), NOTFOUND);
    res_rig_check(&rig);
    OK(viv_res_discard(rig.reg, a));
    ERR(viv_res_singleton(rig.reg, env, x, &found), NOTFOUND);
    ERR(viv_res_unregister_singleton(rig.reg, env, x), NOTFOUND);
    const viv_rid c = res_rig_add(&rig, KIND, NONE, NONE, &things[3]);
    OK(viv_res_register_singleton(rig.reg, env, x, c)); // free again
    OK(viv_res_unregister_singleton(rig.reg, env, y));
    ERR(viv_res_unregister_singleton(rig.reg, env, y), NOTFOUND);
    OK(viv_res_discard(rig.reg, env));
    ERR(viv_res_singleton(rig.reg, env, x, &found), NOTFOUND);
    res_rig_check(&rig);
}

static void kinds(void **state)
{
    (void)state;
    struct viv_res_kind row = {.name = "gadget",
                               .sync = VIV_SYNC_LOCK,
                               .end_rank = 3,
                               .rights_all = VIV_RIGHTS_COMMON,
                               .parents = UINT64_C(1) << VIV_KIND_CHANNEL};
    viv_kind kind = 0;
    OK(viv_res_kind_register(rig.reg, &row, &kind));
    assert_int_equal(kind, 64);
    ERR(viv_res_kind_register(rig.reg, &row, &kind), EXISTS);
    row.name = "widget";
    row.end_rank = 4; // a channel would end before it
    ERR(viv_res_kind_register(rig.reg, &row, &kind), INVAL);
    row.end_rank = 0;
    row.rights_all |= 1u << 13;
    ERR(viv_res_kind_register(rig.reg, &row, &kind), INVAL);
    ERR(viv_res_kind_bind(rig.reg, VIV_KIND_FILE, &row), EXISTS);
    ERR(viv_res_kind_bind(rig.reg, 64, &row), INVAL);
    assert_int_equal(viv_res_kind(rig.reg, 64)->end_rank, 3);
    assert_null(viv_res_kind(rig.reg, 65));
    assert_null(viv_res_kind(rig.reg, 0));
    assert_null(viv_res_kind(rig.reg, 50));
    assert_int_equal(viv_res_kind(rig.reg, VIV_KIND_DIR)->rights_all, 0x7F0FFF);
    viv_res_freeze_kinds(rig.reg);
    row.rights_all = 0;
    ERR(viv_res_kind_register(rig.reg, &row, &kind), STATE);
    const struct viv_res_spec spec = {.kind = 65};
    viv_rid rid;
    ERR(viv_res_reserve(rig.reg, &spec, &rid), INVAL);
    const struct viv_res_spec gadget = {.kind = 64};
    OK(viv_res_reserve(rig.reg, &gadget, &rid));
}

static void metadata_and_age(void **state)
{
    (void)state;
    static struct thing a_thing = {0}, b_thing = {0};
    rig.now_ns += 7 * VIV_NS_PER_SEC;
    (void)viv_drive_turn(rig.sched, 0); // within a turn the clock is looked at once
    const viv_rid a = res_rig_add(&rig, KIND, NONE, NONE, &a_thing);
    const struct viv_res_spec spec = {
        .kind = VIV_KIND_HOST, .owner = a, .parent = a, .charge_bytes = 65, .label = "b"};
    viv_rid b;
    OK(viv_res_add(rig.reg, &spec, &b_thing, &b));
    struct viv_res_meta meta;
    OK(viv_res_metadata(rig.reg, b, &meta));
    assert_true(viv_rid_eq(meta.id, b));
    assert_true(viv_rid_eq(meta.owner, a));
    assert_true(viv_rid_eq(meta.parent, a));
    assert_int_equal(meta.kind, VIV_KIND_HOST);
    assert_int_equal(meta.phase, VIV_RES_LIVE);
    assert_int_equal(meta.born_s, 7);
    assert_int_equal(meta.charge_bytes, 128);
    assert_int_equal(meta.pins, 0);
    assert_int_equal(meta.holds, 0);
    struct viv_res *pinned;
    OK(viv_res_pin(rig.reg, b, VIV_KIND_HOST, &pinned));
    assert_true(viv_rid_eq(viv_res_id(pinned), b));
    OK(viv_res_metadata(rig.reg, b, &meta));
    assert_int_equal(meta.pins, 1);
    viv_res_unpin(pinned);
    char text[4];
    OK(viv_res_label(rig.reg, a, text, sizeof(text)));
    assert_string_equal(text, "");
    char long_label[VIV_RES_LABEL_MAX + 2];
    memset(long_label, 'x', sizeof(long_label));
    long_label[VIV_RES_LABEL_MAX + 1] = '\0';
    const struct viv_res_spec bad = {.kind = KIND, .label = long_label};
    viv_rid rid;
    ERR(viv_res_reserve(rig.reg, &bad, &rid), INVAL);
}

static void lists_in_pieces(void **state)
{
    (void)state;
    static struct thing things[1000];
    for (uint32_t i = 0; i < 1000; i++)
        res_rig_add(&rig, i % 2 == 0 ? KIND : VIV_KIND_FILE, NONE, NONE, &things[i]);
    struct viv_res_cursor cursor = {0};
    viv_rid list[7];
    uint32_t count = 0, n;
    uint64_t last = UINT64_MAX;
    while ((n = viv_res_owned(rig.reg, NONE, &cursor, list, 7)) > 0)
        for (uint32_t i = 0; i < n; i++, count++) {
            if (count == 500) last = UINT64_MAX; // files first
            assert_true(list[i].w < last);       // slots were given in order: newest first
            last = list[i].w;
            OK(viv_res_discard(rig.reg, list[i])); // the next one is still there
        }
    assert_int_equal(count, 1000);
    assert_int_equal(viv_res_owned(rig.reg, NONE, &cursor, list, 7), 0);
}

static void wide_and_deep_end_without_recursion(void **state)
{
    (void)state;
    enum { WIDE = 20000 };
    struct thing *things = calloc(WIDE + 1, sizeof(*things));
    const viv_rid top = res_rig_add(&rig, KIND, NONE, NONE, &things[WIDE]);
    viv_rid at = top;
    for (uint32_t i = 0; i < WIDE; i++) {
        const viv_rid rid = res_rig_add(&rig, KIND, i % 3 == 0 ? top : NONE, at, &things[i]);
        if (i % 1000 < 20) at = rid;
        if (i % 1000 == 20) at = top;
    }
    res_rig_check(&rig);
    OK(viv_res_discard(rig.reg, top));
    res_rig_quiet(&rig);
    for (uint32_t i = 0; i <= WIDE; i++) {
        assert_int_equal(things[i].closes, 1);
        assert_int_equal(things[i].destroys, 1);
    }
    assert_int_equal(viv_res_record_count(rig.reg), 0);
    free(things);
}

static void configuration(void **state)
{
    (void)state;
    struct viv_reg *reg;
    struct viv_res_config config = rig.config;
    config.depth_max = 33;
    ERR(viv_res_new(&config, &reg), INVAL);
    config = rig.config;
    config.handle_gen_count = 2049;
    ERR(viv_res_new(&config, &reg), INVAL);
    config.handle_gen_count = 0;
    config.sched = NULL;
    ERR(viv_res_new(&config, &reg), INVAL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(remove_gives_the_object_case_2),
        CASE(parent_and_children_case_4),
        CASE(two_owned_case_5),
        CASE(rids_of_one_slot_differ_case_9),
        CASE(wrong_kind_case_10),
        CASE(busy_and_gone_case_11),
        CASE(reservations_case_12),
        CASE(discard_twice_case_13),
        CASE(dead_owner_or_parent_case_14),
        CASE(unknown_rids_case_15),
        CASE(first_rids_of_threads_case_16),
        CASE(relinking_a_log_channel_case_18),
        CASE(reentry_and_failing_callback_case_21),
        CASE(discard_from_inside),
        CASE(set_owner_and_quota_case_44),
        CASE(limits_case_46),
        CASE(order_of_release),
        CASE(children_end_before_their_parent),
        CASE(mixed_circle_ends),
        CASE(depth_is_bounded),
        CASE(singletons),
        CASE(kinds),
        CASE(metadata_and_age),
        CASE(lists_in_pieces),
        CASE(wide_and_deep_end_without_recursion),
        CASE(configuration),
        cmocka_unit_test(slots_retire_case_22),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
