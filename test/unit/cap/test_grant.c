// SPDX-License-Identifier: Apache-2.0
// Shares, grants, revocation, handles in messages. Numbers in names are those of the cases of the
// contract.
#include "base/alloc.h"
#include "base/rng.h"
#include "cap/share.h"
#include "cap/transit.h"
#include "res_rig.h"
#include "sched/drive.h"
#include <string.h>

enum { HOLDERS = 5 }; // processes: 0 to 3 in one environment, 4 in another

static struct res_rig rig;
static viv_rid envs[2], procs[HOLDERS];
static struct viv_htab *tabs[HOLDERS];
static struct viv_account *accounts[HOLDERS];
static struct thing things[16];
static const viv_rid NONE = {0};
static const viv_rights ALL = VIV_RIGHTS_COMMON;

// What the hooks saw.
static uint32_t guesses, fails;
static struct {
    struct viv_htab *tab;
    uint32_t hdl;
    enum viv_err err;
} failed[64];

static void note_guess(void *arg, const struct viv_htab *tab)
{
    (void)arg;
    assert_ptr_equal(tab, tabs[1]); // who guesses
    guesses++;
}

static void note_fail(void *arg, struct viv_htab *tab, viv_handle hdl, enum viv_err err)
{
    (void)arg;
    if (fails < VIV_COUNT_OF(failed)) {
        failed[fails].tab = tab;
        failed[fails].hdl = hdl.w;
        failed[fails].err = err;
    }
    fails++;
}

static bool has_failed(const struct viv_htab *tab, viv_handle hdl)
{
    for (uint32_t i = 0; i < fails && i < VIV_COUNT_OF(failed); i++)
        if (failed[i].tab == tab && failed[i].hdl == hdl.w && failed[i].err == VIV_E_REVOKED)
            return true;
    return false;
}

static int setup(void **state)
{
    (void)state;
    memset(things, 0, sizeof(things));
    guesses = fails = 0;
    res_rig_prepare(&rig);
    res_rig_open(&rig);
    viv_res_set_hooks(rig.reg, &(struct viv_res_hooks){.guess = note_guess, .fail_ops = note_fail});
    struct viv_account *account;
    for (int i = 0; i < 2; i++) {
        envs[i] = res_rig_add(&rig, VIV_KIND_ENVIRONMENT, NONE, NONE, NULL);
        OK(viv_res_open_account(rig.reg, envs[i], NULL, &account));
    }
    for (int i = 0; i < HOLDERS; i++) {
        procs[i] = res_rig_add(&rig, VIV_KIND_PROCESS, envs[i / 4], NONE, NULL);
        OK(viv_res_open_account(rig.reg, procs[i], NULL, &accounts[i]));
        OK(viv_res_instance(rig.reg, &tabs[i]));
        OK(viv_res_set_process_id(tabs[i], procs[i]));
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    res_rig_check(&rig);
    res_rig_close(&rig);
    return 0;
}

static viv_handle make(int holder, viv_kind kind, viv_rights rights, struct thing *thing)
{
    const struct viv_res_spec spec = {.kind = kind};
    viv_handle hdl;
    OK(viv_res_insert(tabs[holder], &spec, thing, rights, &hdl));
    return hdl;
}

static viv_shared share(int holder, viv_handle hdl, viv_rights rights)
{
    const struct viv_share_opts opts = {.rights = rights};
    viv_shared shared = {0};
    OK(viv_res_share(tabs[holder], hdl, &opts, &shared));
    return shared;
}

static viv_handle attach(int holder, viv_shared shared)
{
    viv_handle hdl = {0};
    OK(viv_res_attach(tabs[holder], shared, &hdl));
    return hdl;
}

static enum viv_err use(int holder, viv_handle hdl, viv_kind kind)
{
    void *obj;
    return viv_res_use(tabs[holder], hdl, kind, 0, &obj);
}

static viv_rid rid_of(int holder, viv_handle hdl)
{
    viv_rid rid;
    OK(viv_res_entry(tabs[holder], hdl, &rid));
    return rid;
}

static struct viv_transit *export(int holder, viv_handle hdl, viv_rights rights)
{
    struct viv_transit *transit = NULL;
    OK(viv_res_export(tabs[holder], hdl, rights, 0, &transit));
    return transit;
}

static void pass_ns(uint64_t ns)
{
    rig.now_ns += ns;
    while (viv_drive_turn(rig.sched, 0) != VIV_TURN_IDLE)
        continue;
    res_rig_quiet(&rig);
}

// ---- shares ----

static void share_twice_case_2(void **state)
{
    (void)state;
    const viv_rid rid = res_rig_add(&rig, KIND, procs[0], NONE, &things[0]);
    viv_shared a, b;
    viv_rid found = {0};
    assert_int_equal(viv_res_shared_handle(rig.reg, rid).w, 0); // makes none
    OK(viv_res_share_handle(rig.reg, rid, &a));
    OK(viv_res_share_handle(rig.reg, rid, &b));
    assert_int_equal(a.w, b.w);
    assert_int_equal(viv_res_shared_handle(rig.reg, rid).w, a.w);
    OK(viv_res_resolve_shared(rig.reg, envs[0], a, &found));
    assert_true(viv_rid_eq(found, rid));
    res_rig_check(&rig);
    void *obj;
    OK(viv_res_remove(rig.reg, rid, KIND, &obj));
    assert_ptr_equal(obj, &things[0]);
    ERR(viv_res_resolve_shared(rig.reg, envs[0], a, &found), NOTFOUND);
    assert_int_equal(viv_res_shared_handle(rig.reg, rid).w, 0);
    // By a handle: the same handle and rights, unlimited.
    const viv_handle hdl = make(0, KIND, ALL, &things[1]);
    a = share(0, hdl, VIV_RIGHT_READ);
    b = share(0, hdl, VIV_RIGHT_READ | VIV_RIGHT_WRITE);
    assert_int_not_equal(a.w, b.w);
    assert_int_equal(share(0, hdl, VIV_RIGHT_READ).w, a.w);
    assert_int_equal(share(0, hdl, VIV_RIGHT_READ | VIV_RIGHT_WRITE).w, b.w);
    const struct viv_share_opts once = {.rights = VIV_RIGHT_READ, .uses = 1};
    viv_shared c;
    OK(viv_res_share(tabs[0], hdl, &once, &c));
    assert_int_not_equal(c.w, a.w);
    assert_int_equal(viv_account_used(accounts[0], VIV_COUNTER_SHARES), 3);
}

static void unknown_or_dying_case_15(void **state)
{
    (void)state;
    const viv_rid rid = res_rig_add(&rig, KIND, procs[0], NONE, &things[0]);
    struct viv_res *pinned;
    OK(viv_res_pin(rig.reg, rid, KIND, &pinned));
    OK(viv_res_discard(rig.reg, rid)); // dying: pinned
    viv_shared shared = {5};
    viv_handle hdl = {5};
    const viv_rid unknown[] = {rid, {rid.w + 1}, {0}, {UINT64_MAX}};
    for (uint32_t i = 0; i < VIV_COUNT_OF(unknown); i++) {
        ERR(viv_res_share_handle(rig.reg, unknown[i], &shared), NOTFOUND);
        ERR(viv_res_insert_id(tabs[0], unknown[i], 0, &hdl), NOTFOUND);
        ERR(viv_res_register_singleton(rig.reg, envs[0], (viv_dep){"x"}, unknown[i]), NOTFOUND);
    }
    assert_int_equal(shared.w, 5);
    assert_int_equal(hdl.w, 5);
    viv_res_unpin(pinned);
}

static void shared_values_case_23(void **state)
{
    (void)state;
    enum { MANY = 1000000 };
    static uint64_t values[MANY];
    const viv_handle hdl = make(0, KIND, ALL, &things[0]);
    const struct viv_share_opts opts = {.rights = VIV_RIGHT_READ, .uses = 1};
    uint32_t rising = 0;
    uint64_t all_bits = 0, no_bits = 0;
    viv_rid found;
    for (uint32_t i = 0; i < MANY; i++) {
        viv_shared shared;
        OK(viv_res_share(tabs[0], hdl, &opts, &shared));
        values[i] = shared.w;
        assert_true(shared.w >> 32 != 0);
        if (i > 0) rising += values[i] > values[i - 1];
        all_bits |= shared.w;
        no_bits |= ~shared.w;
        if (i % 1000 == 0) {
            ERR(viv_res_resolve_shared(rig.reg, envs[1], shared, &found), NOTFOUND);
            ERR(viv_res_resolve_shared(rig.reg, NONE, shared, &found), NOTFOUND);
            OK(viv_res_resolve_shared(rig.reg, envs[0], shared, &found));
        }
    }
    assert_int_equal(all_bits, UINT64_MAX);
    assert_int_equal(no_bits, UINT64_MAX);
    // Half of the steps go up; 5,000 is ten standard deviations of an unordered sequence and more.
    assert_in_range(rising, MANY / 2 - 5000, MANY / 2 + 5000);
    viv_handle out;
    ERR(viv_res_attach(tabs[4], (viv_shared){values[7]}, &out), NOTFOUND);
    assert_int_equal(viv_account_used(accounts[0], VIV_COUNTER_SHARES), MANY);
}

static void dead_share_case_24(void **state)
{
    (void)state;
    viv_handle hdl = make(0, KIND, ALL, &things[0]);
    const viv_rid first = rid_of(0, hdl);
    const viv_shared shared = share(0, hdl, VIV_RIGHT_READ);
    viv_shared canonical;
    OK(viv_res_share_handle(rig.reg, first, &canonical));
    OK(viv_res_discard(rig.reg, first));
    OK(viv_res_close(tabs[0], hdl));
    for (int i = 0; i < 100; i++) { // the record is used again at once
        res_rig_quiet(&rig);
        hdl = make(0, KIND, ALL, &things[1]);
        if (i == 0) assert_int_equal((uint32_t)rid_of(0, hdl).w, (uint32_t)first.w);
        viv_rid found;
        ERR(viv_res_resolve_shared(rig.reg, envs[0], shared, &found), NOTFOUND);
        ERR(viv_res_resolve_shared(rig.reg, envs[0], canonical, &found), NOTFOUND);
        OK(viv_res_discard(rig.reg, rid_of(0, hdl)));
        OK(viv_res_close(tabs[0], hdl));
    }
    assert_int_equal(viv_account_used(accounts[0], VIV_COUNTER_SHARES), 0);
    assert_int_equal(viv_account_used(accounts[0], VIV_COUNTER_GRANTS), 0);
}

static void uses_and_ttl_case_25(void **state)
{
    (void)state;
    const viv_handle hdl = make(0, KIND, ALL, &things[0]);
    struct viv_share_opts opts = {.rights = VIV_RIGHT_READ, .uses = 2};
    viv_shared shared;
    viv_handle out;
    OK(viv_res_share(tabs[0], hdl, &opts, &shared));
    const viv_handle first = attach(1, shared);
    // A failed attach spends nothing.
    ERR(viv_res_attach(tabs[4], shared, &out), NOTFOUND);
    viv_account_set_max(accounts[2], VIV_COUNTER_HANDLES, 0);
    ERR(viv_res_attach(tabs[2], shared, &out), QUOTA);
    viv_account_set_max(accounts[2], VIV_COUNTER_HANDLES, VIV_UNLIMITED);
    attach(2, shared);
    ERR(viv_res_attach(tabs[1], shared, &out), NOTFOUND);
    OK(use(1, first, KIND)); // what came through it stays
    assert_int_equal(viv_account_used(accounts[0], VIV_COUNTER_SHARES), 0);
    res_rig_check(&rig);
    // ttl: revokes what came through the share as well.
    opts = (struct viv_share_opts){.rights = VIV_RIGHT_READ, .ttl_ns = 10 * VIV_NS_PER_MS};
    OK(viv_res_share(tabs[0], hdl, &opts, &shared));
    const viv_handle timed = attach(1, shared);
    pass_ns(9 * VIV_NS_PER_MS);
    OK(use(1, timed, KIND));
    attach(1, shared);
    rig.now_ns += VIV_NS_PER_MS; // to the nanosecond, whenever the timer comes
    ERR(viv_res_attach(tabs[1], shared, &out), NOTFOUND);
    pass_ns(2 * VIV_NS_PER_MS);
    ERR(use(1, timed, KIND), REVOKED);
    assert_true(has_failed(tabs[1], timed));
    OK(use(1, first, KIND));
    OK(viv_res_close(tabs[1], timed));
    assert_int_equal(viv_account_used(accounts[0], VIV_COUNTER_SHARES), 0);
    // One that ends before its time.
    OK(viv_res_share(tabs[0], hdl, &opts, &shared));
    OK(viv_res_unshare(tabs[0], hdl, shared));
    ERR(viv_res_attach(tabs[1], shared, &out), NOTFOUND);
    pass_ns(20 * VIV_NS_PER_MS);
}

static void guesses_case_26(void **state)
{
    (void)state;
    const viv_handle hdl = make(0, KIND, ALL, &things[0]);
    const viv_shared shared = share(0, hdl, VIV_RIGHT_READ);
    viv_handle out;
    for (uint64_t i = 0; i < VIV_ATTACH_GUESSES; i++) {
        attach(1, shared); // a good one costs nothing
        ERR(viv_res_attach(tabs[1], (viv_shared){(i + 1) << 33}, &out), NOTFOUND);
    }
    assert_int_equal(guesses, 0);
    ERR(viv_res_attach(tabs[1], (viv_shared){UINT64_C(77) << 33}, &out), QUOTA);
    assert_int_equal(guesses, 1);
    ERR(viv_res_attach(tabs[1], shared, &out), QUOTA); // without looking
    attach(2, shared);                                 // another process's bucket
    rig.now_ns += VIV_NS_PER_SEC - 1;
    ERR(viv_res_attach(tabs[1], shared, &out), QUOTA);
    rig.now_ns += 1;
    attach(1, shared);
    ERR(viv_res_attach(tabs[1], (viv_shared){UINT64_C(77) << 33}, &out), NOTFOUND);
    ERR(viv_res_attach(tabs[1], shared, &out), QUOTA);
    assert_int_equal(guesses, 4);
    rig.now_ns += 100 * VIV_NS_PER_SEC; // no more than 16 come back
    for (uint64_t i = 0; i < VIV_ATTACH_GUESSES; i++)
        ERR(viv_res_attach(tabs[1], (viv_shared){(i + 1) << 33}, &out), NOTFOUND);
    ERR(viv_res_attach(tabs[1], shared, &out), QUOTA);
}

static void limit_of_shares_case_46(void **state)
{
    (void)state;
    const viv_handle hdl = make(0, KIND, ALL, &things[0]);
    const struct viv_share_opts opts = {.rights = VIV_RIGHT_READ, .uses = 5};
    viv_shared first, second, third = {0};
    viv_handle out;
    viv_account_set_max(accounts[0], VIV_COUNTER_SHARES, 2);
    OK(viv_res_share(tabs[0], hdl, &opts, &first));
    OK(viv_res_share(tabs[0], hdl, &opts, &second));
    ERR(viv_res_share(tabs[0], hdl, &opts, &third), QUOTA);
    assert_int_equal(third.w, 0);
    OK(viv_res_unshare(tabs[0], hdl, first));
    OK(viv_res_share(tabs[0], hdl, &opts, &third));
    viv_account_set_max(accounts[1], VIV_COUNTER_GRANTS, 1);
    const viv_handle got = attach(1, third);
    ERR(viv_res_attach(tabs[1], third, &out), QUOTA);
    OK(viv_res_close(tabs[1], got));
    attach(1, third);
}

// ---- rights ----

static void more_rights_case_28(void **state)
{
    (void)state;
    const viv_rights lent = VIV_RIGHT_READ | VIV_RIGHT_SHARE | VIV_RIGHT_TRANSFER | VIV_RIGHT_GRANT;
    const viv_handle hdl =
        make(0, VIV_KIND_CHANNEL, ALL & ~(viv_rights)VIV_RIGHT_WRITE, &things[0]);
    struct viv_share_opts opts = {.rights = VIV_RIGHT_WRITE};
    viv_shared shared = {1};
    viv_handle out = {1};
    struct viv_transit *transit = NULL;
    ERR(viv_res_dup(tabs[0], hdl, VIV_RIGHT_WRITE, &out), RIGHTS);
    ERR(viv_res_share(tabs[0], hdl, &opts, &shared), RIGHTS);
    ERR(viv_res_export(tabs[0], hdl, VIV_RIGHT_WRITE, 0, &transit), RIGHTS);
    assert_true(shared.w == 1 && out.w == 1 && transit == NULL);
    assert_int_equal(viv_account_used(accounts[0], VIV_COUNTER_GRANTS), 0);
    // With GRANT the three go along, and on.
    const viv_handle second = attach(1, share(0, hdl, lent));
    const viv_handle third = attach(2, share(1, second, lent & ~(viv_rights)VIV_RIGHT_GRANT));
    // Without it there is no onward share.
    const viv_handle fourth = attach(3, share(2, third, VIV_RIGHT_READ | VIV_RIGHT_SHARE));
    opts.rights = VIV_RIGHT_READ;
    ERR(viv_res_share(tabs[3], fourth, &opts, &shared), RIGHTS);
    ERR(viv_res_export(tabs[3], fourth, VIV_RIGHT_READ, 0, &transit), RIGHTS);
    transit = export(2, third, VIV_RIGHT_READ | VIV_RIGHT_TRANSFER);
    OK(viv_res_import(tabs[3], transit, &out));
    ERR(viv_res_export(tabs[3], out, VIV_RIGHT_READ, 0, &transit), RIGHTS);
    assert_int_equal(viv_res_grant_depth(tabs[3], fourth), 6); // three shares, three handles
    opts.rights = VIV_RIGHT_READ | VIV_RIGHT_WRITE;
    ERR(viv_res_share(tabs[1], second, &opts, &shared), RIGHTS);
    // A kind that is not sent.
    const viv_handle host = make(0, VIV_KIND_HOST, ALL, &things[1]);
    ERR(viv_res_export(tabs[0], host, VIV_RIGHT_READ, 0, &transit), INVAL);
    const viv_handle stream = make(0, VIV_KIND_STREAM, ALL, &things[2]);
    ERR(viv_res_export(tabs[0], stream, VIV_RIGHT_READ, VIV_EXPORT_KEEP, &transit), INVAL);
}

static void attacher_cannot_delete_case_31(void **state)
{
    (void)state;
    const viv_handle hdl = make(0, KIND, ALL, &things[0]);
    const viv_handle other = attach(1, share(0, hdl, ALL & ~(viv_rights)VIV_RIGHT_DESTROY));
    void *obj;
    ERR(viv_res_remove_handle(tabs[1], other, KIND, &obj), RIGHTS);
    OK(viv_res_close(tabs[1], other));
    OK(use(0, hdl, KIND));
    assert_int_equal(things[0].closes, 0);
}

static void depth_has_a_limit(void **state)
{
    (void)state;
    viv_handle hdl = make(0, KIND, ALL, &things[0]), next;
    for (int i = 1; i < VIV_GRANT_DEPTH_MAX; i++) {
        OK(viv_res_dup(tabs[0], hdl, ALL, &next));
        hdl = next;
    }
    ERR(viv_res_dup(tabs[0], hdl, ALL, &next), INVAL);
    assert_int_equal(viv_account_used(accounts[0], VIV_COUNTER_GRANTS), VIV_GRANT_DEPTH_MAX);
    // What is handed on and closed, again and again, does not grow deep.
    for (int i = 0; i < 1000; i++) {
        OK(viv_res_close(tabs[0], hdl));
        hdl = make(0, KIND, ALL, &things[1]);
        for (int k = 0; k < 3; k++) {
            OK(viv_res_dup(tabs[0], hdl, ALL, &next));
            OK(viv_res_close(tabs[0], hdl));
            hdl = next;
        }
        assert_true(viv_res_grant_depth(tabs[0], hdl) <= 1);
    }
}

// ---- revocation ----

static void revoke_three_levels_case_29(void **state)
{
    (void)state;
    const viv_kind channel = VIV_KIND_CHANNEL;
    const viv_handle root = make(0, channel, ALL, &things[0]);
    viv_handle middle, sibling, reader, late;
    OK(viv_res_dup(tabs[0], root, ALL, &middle));
    OK(viv_res_dup(tabs[0], root, ALL, &sibling));
    const viv_handle first = attach(1, share(0, middle, ALL));
    const viv_shared shared = share(1, first, ALL);
    const viv_handle leaf = attach(2, shared);
    struct viv_transit *transit = export(2, leaf, VIV_RIGHT_READ);
    const struct viv_res_spec spec = {.kind = VIV_KIND_READER};
    OK(viv_res_insert_below(tabs[2], &(struct viv_res_via){leaf, channel, VIV_RIGHT_READ}, &spec,
                            &things[1], VIV_RIGHT_READ, &reader));
    assert_int_equal(viv_res_parent(rig.reg, rid_of(2, reader)).w, rid_of(0, root).w);
    // One that is made through the creator's own handle is nobody's grant.
    viv_handle own;
    OK(viv_res_insert_below(tabs[0], &(struct viv_res_via){root, channel, VIV_RIGHT_READ}, &spec,
                            &things[2], VIV_RIGHT_READ, &own));
    res_rig_check(&rig);
    OK(viv_res_revoke(tabs[0], middle));
    ERR(use(1, first, channel), REVOKED);
    ERR(use(2, leaf, channel), REVOKED);
    ERR(use(2, reader, VIV_KIND_READER), REVOKED);
    ERR(viv_res_import(tabs[3], transit, &late), REVOKED);
    ERR(viv_res_attach(tabs[3], shared, &late), NOTFOUND);
    // Parked operations were told, each through its handle; the reader by its close.
    assert_true(has_failed(tabs[1], first) && has_failed(tabs[2], leaf));
    assert_false(has_failed(tabs[0], sibling) || has_failed(tabs[0], middle));
    assert_int_equal(things[1].closes, 1);
    assert_int_equal(things[1].why, VIV_WHY_REVOKED);
    assert_int_equal(things[0].closes + things[2].closes, 0);
    OK(use(0, root, channel));
    OK(use(0, middle, channel)); // it ends what is below
    OK(use(0, sibling, channel));
    OK(use(0, own, VIV_KIND_READER));
    // Nothing can be made from what was revoked; it can only be closed.
    ERR(viv_res_dup(tabs[2], leaf, 0, &late), REVOKED);
    ERR(viv_res_export(tabs[2], leaf, 0, 0, &transit), REVOKED);
    ERR(viv_res_insert_below(tabs[2], &(struct viv_res_via){leaf, channel, 0}, &spec, &things[3], 0,
                             &late),
        REVOKED);
    assert_int_equal(things[3].destroys, 1);
    ERR(viv_res_revoke(tabs[2], leaf), REVOKED);
    res_rig_check(&rig);
    viv_res_transit_drop(transit);
    OK(viv_res_close(tabs[1], first));
    OK(viv_res_close(tabs[2], leaf));
    OK(viv_res_close(tabs[2], reader));
    res_rig_quiet(&rig);
    assert_int_equal(things[1].destroys, 1);
    // And from the handle itself, anew.
    OK(use(1, attach(1, share(0, middle, ALL)), channel));
}

static void middle_ends_case_30(void **state)
{
    (void)state;
    const viv_handle root = make(0, KIND, ALL, &things[0]);
    const viv_handle middle = attach(1, share(0, root, ALL));
    const viv_handle leaf = attach(2, share(1, middle, ALL));
    const viv_shared shared = share(1, middle, VIV_RIGHT_READ);
    const viv_handle other = attach(3, shared);
    OK(viv_res_discard(rig.reg, procs[1]));
    tabs[1] = NULL;
    res_rig_quiet(&rig);
    res_rig_check(&rig);
    OK(use(2, leaf, KIND));
    OK(use(3, other, KIND));
    attach(3, shared); // and it pays for its shares no more: viv_res_check has seen that
    OK(viv_res_revoke(tabs[0], root));
    ERR(use(2, leaf, KIND), REVOKED);
    ERR(use(3, other, KIND), REVOKED);
    viv_handle out;
    ERR(viv_res_attach(tabs[3], shared, &out), NOTFOUND);
}

static void revoke_needs_the_right(void **state)
{
    (void)state;
    const viv_handle root = make(0, KIND, ALL, &things[0]);
    const viv_shared shared = share(0, root, ALL);
    const viv_handle weak = attach(1, share(0, root, ALL & ~(viv_rights)VIV_RIGHT_REVOKE));
    const viv_handle strong = attach(2, shared);
    ERR(viv_res_revoke(tabs[1], weak), RIGHTS);
    ERR(viv_res_unshare(tabs[1], weak, shared), RIGHTS);
    // Not its own: it stands beside, or below.
    ERR(viv_res_unshare(tabs[2], strong, shared), NOTFOUND);
    ERR(viv_res_unshare(tabs[2], strong, share(0, root, VIV_RIGHT_READ)), NOTFOUND);
    ERR(viv_res_unshare(tabs[0], root, (viv_shared){UINT64_MAX}), NOTFOUND);
    ERR(viv_res_revoke(tabs[0], (viv_handle){77}), BADHANDLE);
    const viv_handle below = attach(3, share(2, strong, ALL));
    OK(viv_res_unshare(tabs[0], root, shared));
    ERR(use(2, strong, KIND), REVOKED);
    ERR(use(3, below, KIND), REVOKED);
    OK(use(1, weak, KIND));
    ERR(viv_res_unshare(tabs[0], root, shared), NOTFOUND);
}

static void revoke_in_steps(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    static viv_handle many[MANY];
    const viv_handle root = make(0, KIND, ALL, &things[0]);
    viv_handle middle, out;
    OK(viv_res_dup(tabs[0], root, ALL, &middle));
    for (int i = 0; i < MANY; i++)
        OK(viv_res_dup(tabs[0], i % 2 == 0 ? middle : many[i / 2], ALL, &many[i]));
    ERR(viv_res_revoke(tabs[0], middle), AGAIN);
    // Nothing new from the first step on, wherever below.
    uint32_t live = 0;
    for (int i = 0; i < MANY; i++) {
        ERR(viv_res_dup(tabs[0], many[i], 0, &out), REVOKED);
        live += use(0, many[i], KIND) == VIV_OK;
    }
    assert_in_range(live, 1, MANY - 1);
    ERR(viv_res_dup(tabs[0], middle, 0, &out), REVOKED);
    uint32_t calls = 1;
    while (viv_res_revoke(tabs[0], middle) == VIV_E_AGAIN)
        calls++;
    assert_in_range(calls, 3, MANY / 1000);
    for (int i = 0; i < MANY; i++)
        ERR(use(0, many[i], KIND), REVOKED);
    OK(viv_res_dup(tabs[0], middle, ALL, &out));
    // One that is closed half-way is finished first.
    for (int i = 0; i < MANY; i++)
        OK(viv_res_dup(tabs[0], out, ALL, &many[i]));
    ERR(viv_res_revoke(tabs[0], out), AGAIN);
    OK(viv_res_close(tabs[0], out));
    for (int i = 0; i < MANY; i++)
        ERR(use(0, many[i], KIND), REVOKED);
    OK(use(0, middle, KIND));
}

// ---- messages ----

static void move_case_32(void **state)
{
    (void)state;
    viv_handle hdl = make(0, VIV_KIND_STREAM, ALL, &things[0]), out;
    const viv_rid rid = rid_of(0, hdl);
    struct viv_transit *transit = export(0, hdl, ALL);
    OK(use(0, hdl, VIV_KIND_STREAM)); // not accepted yet
    OK(viv_res_sent(tabs[0], hdl));
    ERR(use(0, hdl, VIV_KIND_STREAM), BADHANDLE);
    assert_true(viv_rid_eq(viv_res_owner(rig.reg, rid), envs[0]));
    res_rig_check(&rig);
    OK(viv_res_import(tabs[1], transit, &out));
    OK(use(1, out, VIV_KIND_STREAM));
    assert_true(viv_rid_eq(viv_res_owner(rig.reg, rid), procs[1]));
    assert_int_equal(viv_account_used(accounts[0], VIV_COUNTER_RESOURCES), 1); // its instance
    assert_int_equal(viv_account_used(accounts[1], VIV_COUNTER_RESOURCES), 2);
    // Imported before the sender knows.
    transit = export(1, out, ALL);
    viv_handle third;
    OK(viv_res_import(tabs[2], transit, &third));
    OK(viv_res_sent(tabs[1], out));
    assert_true(viv_rid_eq(viv_res_owner(rig.reg, rid), procs[2]));
    OK(use(2, third, VIV_KIND_STREAM));
    // Dropped unread.
    transit = export(2, third, ALL);
    OK(viv_res_sent(tabs[2], third));
    assert_int_equal(things[0].closes, 0);
    viv_res_transit_drop(transit);
    assert_int_equal(things[0].closes, 1);
    assert_int_equal(things[0].why, VIV_WHY_LAST_CLOSE);
    // Never sent: the sender has it still.
    hdl = make(0, VIV_KIND_STREAM, ALL, &things[1]);
    viv_res_transit_drop(export(0, hdl, ALL));
    OK(use(0, hdl, VIV_KIND_STREAM));
    // Its sender ends while it is under way.
    const viv_rid last = rid_of(0, hdl);
    transit = export(0, hdl, ALL);
    OK(viv_res_sent(tabs[0], hdl));
    OK(viv_res_discard(rig.reg, procs[0]));
    OK(viv_res_import(tabs[3], transit, &out));
    OK(use(3, out, VIV_KIND_STREAM));
    assert_true(viv_rid_eq(viv_res_owner(rig.reg, last), procs[3]));
}

static void copy_stays(void **state)
{
    (void)state;
    const viv_handle hdl = make(0, VIV_KIND_CHANNEL, ALL, &things[0]);
    struct viv_transit *transit = NULL;
    viv_handle out;
    OK(viv_res_export(tabs[0], hdl, VIV_RIGHT_READ, VIV_EXPORT_KEEP, &transit));
    OK(viv_res_import(tabs[1], transit, &out));
    OK(use(0, hdl, VIV_KIND_CHANNEL));
    OK(use(1, out, VIV_KIND_CHANNEL));
    assert_true(viv_rid_eq(viv_res_owner(rig.reg, rid_of(1, out)), procs[0]));
    // A message to another environment is as one to nobody.
    OK(viv_res_export(tabs[0], hdl, VIV_RIGHT_READ, VIV_EXPORT_KEEP, &transit));
    ERR(viv_res_import(tabs[4], transit, &out), NOTFOUND);
    // It goes with its resource.
    OK(viv_res_discard(rig.reg, rid_of(0, hdl)));
    ERR(viv_res_import(tabs[1], transit, &out), GONE);
    viv_res_transit_drop(transit);
}

static void refused_import_case_33(void **state)
{
    (void)state;
    const viv_kind kinds[] = {VIV_KIND_CHANNEL, VIV_KIND_STREAM};
    for (int i = 0; i < 2; i++) {
        const viv_handle hdl = make(0, kinds[i], ALL, &things[i]);
        const viv_rid rid = rid_of(0, hdl);
        struct viv_transit *transit = export(0, hdl, VIV_RIGHT_READ);
        OK(viv_res_sent(tabs[0], hdl));
        viv_handle out = {5};
        // The last is refused late: resources move under the lock, after the entry was taken.
        const enum viv_counter counters[] = {VIV_COUNTER_HANDLES, VIV_COUNTER_GRANTS,
                                             VIV_COUNTER_RESOURCES};
        for (int k = 0; k < 2 + i; k++) {
            const uint64_t used = viv_account_used(accounts[1], counters[k]);
            viv_account_set_max(accounts[1], counters[k], used);
            ERR(viv_res_import(tabs[1], transit, &out), QUOTA);
            assert_int_equal(viv_account_used(accounts[1], counters[k]), used);
            viv_account_set_max(accounts[1], counters[k], VIV_UNLIMITED);
            assert_true(viv_rid_eq(viv_res_owner(rig.reg, rid), i == 0 ? procs[0] : envs[0]));
            res_rig_check(&rig);
        }
        assert_int_equal(out.w, 5);
        OK(viv_res_import(tabs[1], transit, &out));
        OK(use(1, out, kinds[i]));
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(share_twice_case_2),
        TEST(unknown_or_dying_case_15),
        TEST(shared_values_case_23),
        TEST(dead_share_case_24),
        TEST(uses_and_ttl_case_25),
        TEST(guesses_case_26),
        TEST(limit_of_shares_case_46),
        TEST(more_rights_case_28),
        TEST(attacher_cannot_delete_case_31),
        TEST(depth_has_a_limit),
        TEST(revoke_three_levels_case_29),
        TEST(middle_ends_case_30),
        TEST(revoke_needs_the_right),
        TEST(revoke_in_steps),
        TEST(move_case_32),
        TEST(copy_stays),
        TEST(refused_import_case_33),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
