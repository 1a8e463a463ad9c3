// SPDX-License-Identifier: Apache-2.0
// Handle tables and registrars. Numbers in names are those of the cases of the contract.
#include "base/alloc.h"
#include "harness/check.h"
#include "res_rig.h"
#include <string.h>

static struct res_rig rig;
static struct viv_htab *tab;
static viv_rid proc;
static struct thing proc_thing;
static const viv_rid NONE = {0};
static const viv_rights ALL = VIV_RIGHTS_COMMON;

static int setup(void **state)
{
    (void)state;
    memset(&proc_thing, 0, sizeof(proc_thing));
    res_rig_prepare(&rig);
    res_rig_open(&rig);
    proc = res_rig_add(&rig, VIV_KIND_PROCESS, NONE, NONE, &proc_thing);
    OK(viv_res_instance(rig.reg, &tab));
    OK(viv_res_set_process_id(tab, proc));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    res_rig_close(&rig);
    return 0;
}

static viv_handle insert(viv_kind kind, viv_rights rights, struct thing *thing)
{
    const struct viv_res_spec spec = {.kind = kind};
    viv_handle hdl;
    OK(viv_res_insert(tab, &spec, thing, rights, &hdl));
    return hdl;
}

static enum viv_err read_value(void *obj, void *ctx)
{
    *(int *)ctx = ((struct thing *)obj)->value;
    return VIV_OK;
}

static void detach_keeps_case_1(void **state)
{
    (void)state;
    static struct thing five = {.value = 5}, file = {.value = 6};
    const viv_rid rid = res_rig_add(&rig, KIND, NONE, NONE, &five);
    viv_handle hdl;
    OK(viv_res_insert_id(tab, rid, ALL, &hdl));
    viv_rid out;
    OK(viv_res_detach_slot(tab, hdl, &out));
    assert_true(viv_rid_eq(out, rid));
    int value = 0;
    OK(viv_res_with(rig.reg, rid, KIND, read_value, &value));
    assert_int_equal(value, 5);
    ERR(viv_res_detach_slot(tab, hdl, &out), BADHANDLE);
    // Also one that its last hold would have taken with it.
    hdl = insert(VIV_KIND_FILE, ALL, &file);
    OK(viv_res_detach_slot(tab, hdl, &out));
    assert_int_equal(file.closes, 0);
    assert_true(viv_rid_eq(viv_res_owner(rig.reg, out), proc));
    OK(viv_res_insert_id(tab, out, ALL, &hdl));
    OK(viv_res_close(tab, hdl));
    assert_int_equal(file.closes, 0);
    res_rig_check(&rig);
}

static void instance_and_process_case_3(void **state)
{
    (void)state;
    const viv_rid inst = viv_res_instance_id(tab);
    assert_true(viv_rid_eq(viv_res_instance_process(rig.reg, inst), proc));
    assert_true(viv_rid_eq(viv_res_process_instance(rig.reg, proc), inst));
    assert_true(viv_rid_eq(viv_res_owner(rig.reg, inst), proc));
    assert_true(viv_rid_eq(viv_res_process_id(tab), proc));
    OK(viv_res_set_process_id(tab, proc));
    static struct thing thing = {0};
    const viv_rid other = res_rig_add(&rig, VIV_KIND_PROCESS, NONE, NONE, &thing);
    ERR(viv_res_set_process_id(tab, other), STATE);
    ERR(viv_res_set_owner(rig.reg, inst, other), INVAL);
    res_rig_check(&rig);
}

static void futures_case_6(void **state)
{
    (void)state;
    static struct thing thing = {0};
    struct viv_fut *fut = (struct viv_fut *)&thing, *found = NULL;
    viv_handle hdl;
    OK(viv_res_insert_future(tab, fut, &hdl));
    OK(viv_res_future_state(tab, hdl, &found));
    assert_ptr_equal(found, fut);
    viv_rid list[2];
    struct viv_res_cursor cursor = {0};
    assert_int_equal(viv_res_owned(rig.reg, proc, &cursor, list, 1),
                     1); // rank 0: before the instance
    struct viv_res_meta meta;
    OK(viv_res_metadata(rig.reg, list[0], &meta));
    assert_int_equal(meta.kind, VIV_KIND_FUTURE);
    found = NULL;
    OK(viv_res_remove_future(tab, hdl, &found));
    assert_ptr_equal(found, fut);
    ERR(viv_res_remove_future(tab, hdl, &found), BADHANDLE);
    ERR(viv_res_future_state(tab, hdl, &found), BADHANDLE);
    res_rig_quiet(&rig);
    assert_int_equal(thing.closes, 0);
    assert_int_equal(thing.destroys, 0);
}

static void index_again_case_7(void **state)
{
    (void)state;
    static struct thing a = {0}, b = {0}, c = {0};
    const viv_handle first = insert(KIND, ALL, &a);
    const viv_handle second = insert(KIND, ALL, &b);
    assert_int_equal(first.w, 1);
    assert_int_equal(second.w, 2);
    void *obj;
    OK(viv_res_remove_handle(tab, second, KIND, &obj));
    assert_ptr_equal(obj, &b);
    const viv_handle third = insert(KIND, ALL, &c);
    assert_int_equal(third.w, 2 | 1 << 20); // the same index, the next generation
    viv_rid rid;
    ERR(viv_res_entry(tab, second, &rid), BADHANDLE);
    ERR(viv_res_use(tab, second, KIND, 0, &obj), BADHANDLE);
    OK(viv_res_use(tab, third, KIND, 0, &obj));
    assert_ptr_equal(obj, &c);
}

static void registrar_case_8(void **state)
{
    (void)state;
    struct viv_registrar *registrar;
    static struct thing thing = {.value = 8};
    const struct viv_res_spec spec = {.kind = KIND, .label = "from elsewhere"};
    OK(viv_res_registrar(tab, 0, &registrar));
    viv_handle hdl;
    OK(viv_res_registrar_insert(registrar, &spec, &thing, ALL, &hdl));
    void *obj;
    OK(viv_res_use(tab, hdl, KIND, ALL, &obj));
    assert_ptr_equal(obj, &thing);
    viv_rid rid, same;
    OK(viv_res_entry(tab, hdl, &rid));
    OK(viv_res_registrar_entry(registrar, hdl, &same));
    assert_true(viv_rid_eq(rid, same));
    assert_true(viv_rid_eq(viv_res_owner(rig.reg, rid), proc));
    viv_handle more;
    OK(viv_res_registrar_insert_id(registrar, rid, VIV_RIGHT_READ, &more));
    OK(viv_res_use(tab, more, KIND, VIV_RIGHT_READ, &obj));
    viv_res_registrar_free(registrar);
}

static void wrong_kind_case_10(void **state)
{
    (void)state;
    static struct thing thing = {0};
    const viv_handle hdl = insert(KIND, ALL, &thing);
    void *obj = NULL;
    int value;
    ERR(viv_res_use(tab, hdl, VIV_KIND_HOST, 0, &obj), KIND);
    ERR(viv_res_remove_handle(tab, hdl, VIV_KIND_HOST, &obj), KIND);
    ERR(viv_res_with_handle(tab, hdl, VIV_KIND_HOST, 0, read_value, &value), KIND);
    assert_null(obj);
    res_rig_check(&rig);
    OK(viv_res_use(tab, hdl, KIND, ALL, &obj));
}

static void bad_process_case_17(void **state)
{
    (void)state;
    struct viv_htab *other;
    OK(viv_res_instance(rig.reg, &other));
    static struct thing thing = {0}, gone = {0}, mine = {0};
    const viv_rid no_process = res_rig_add(&rig, KIND, NONE, NONE, &thing);
    const viv_rid dead = res_rig_add(&rig, VIV_KIND_PROCESS, NONE, NONE, &gone);
    OK(viv_res_discard(rig.reg, dead));
    ERR(viv_res_set_process_id(other, no_process), KIND);
    ERR(viv_res_set_process_id(other, dead), NOTFOUND);
    assert_int_equal(viv_res_process_id(other).w, 0);
    const struct viv_res_spec spec = {.kind = KIND, .owner = no_process};
    viv_handle hdl;
    OK(viv_res_insert(other, &spec, &mine, ALL, &hdl));
    viv_rid rid;
    OK(viv_res_entry(other, hdl, &rid));
    assert_true(viv_rid_eq(viv_res_owner(rig.reg, rid), no_process));
    ERR(viv_res_set_process_id(other, proc), STATE); // after the first insert
    viv_res_instance_drop(other);
}

static void relinking_an_instance_case_18(void **state)
{
    (void)state;
    struct viv_htab *second;
    OK(viv_res_instance(rig.reg, &second));
    const viv_rid one = viv_res_instance_id(tab), two = viv_res_instance_id(second);
    OK(viv_res_set_instance_process(rig.reg, two, proc));
    assert_true(viv_rid_eq(viv_res_process_instance(rig.reg, proc), two));
    assert_int_equal(viv_res_instance_process(rig.reg, one).w, 0);
    static struct thing thing = {0};
    const viv_rid other = res_rig_add(&rig, VIV_KIND_PROCESS, NONE, NONE, &thing);
    OK(viv_res_set_instance_process(rig.reg, two, other));
    assert_int_equal(viv_res_process_instance(rig.reg, proc).w, 0);
    assert_true(viv_rid_eq(viv_res_owner(rig.reg, two), other));
    ERR(viv_res_set_instance_process(rig.reg, other, two), KIND);
    res_rig_check(&rig);
}

static void registrar_after_the_end_case_19(void **state)
{
    (void)state;
    struct viv_registrar *reserved, *bare;
    OK(viv_res_registrar(tab, 3, &reserved));
    OK(viv_res_registrar(tab, 0, &bare));
    static struct thing thing = {0}, other = {0};
    const viv_rid alive = res_rig_add(&rig, KIND, NONE, NONE, &other);
    OK(viv_res_discard(rig.reg, proc));
    res_rig_quiet(&rig);
    const struct viv_res_spec spec = {.kind = KIND};
    viv_handle hdl = {0};
    viv_rid rid;
    ERR(viv_res_registrar_insert(reserved, &spec, &thing, ALL, &hdl), NOINSTANCE);
    ERR(viv_res_registrar_insert(bare, &spec, &thing, ALL, &hdl), NOINSTANCE);
    assert_int_equal(thing.destroys, 2);
    ERR(viv_res_registrar_insert_id(reserved, alive, ALL, &hdl), NOINSTANCE);
    ERR(viv_res_registrar_insert_id(bare, alive, ALL, &hdl), NOINSTANCE);
    ERR(viv_res_registrar_entry(bare, (viv_handle){1}, &rid), NOINSTANCE);
    assert_int_equal(hdl.w, 0);
    struct viv_account *account = viv_res_account(rig.reg);
    assert_int_equal(viv_account_used(account, VIV_COUNTER_HANDLES), 0);
    assert_int_equal(viv_account_used(account, VIV_COUNTER_RESOURCES), 1); // `alive`
    viv_res_registrar_free(reserved);
    viv_res_registrar_free(bare);
}

static void indices_retire_case_22(void **state)
{
    (void)state;
    struct res_rig small;
    res_rig_prepare(&small);
    small.config.handle_max = 4; // indices 1, 2, 3
    small.config.handle_gen_count = 2;
    res_rig_open(&small);
    struct viv_htab *few;
    OK(viv_res_instance(small.reg, &few));
    static struct thing thing = {0};
    const viv_rid rid = res_rig_add(&small, KIND, NONE, NONE, &thing);
    viv_handle hdl, kept;
    // Each index twice, then it waits behind the others.
    const uint32_t expected[] = {1, 1 | 1 << 20, 2, 2 | 1 << 20, 3, 3 | 1 << 20, 1, 1 | 1 << 20, 2};
    for (uint32_t i = 0; i < VIV_COUNT_OF(expected); i++) {
        OK(viv_res_insert_id(few, rid, ALL, &hdl));
        assert_int_equal(hdl.w, expected[i]);
        OK(viv_res_close(few, hdl));
    }
    // 2 is free with one generation left; 3 and 1 are spent, in this order.
    OK(viv_res_insert_id(few, rid, ALL, &kept));
    assert_int_equal(kept.w, 2 | 1 << 20);
    OK(viv_res_insert_id(few, rid, ALL, &hdl));
    assert_int_equal(hdl.w, 3);
    OK(viv_res_insert_id(few, rid, ALL, &hdl));
    assert_int_equal(hdl.w, 1);
    ERR(viv_res_insert_id(few, rid, ALL, &hdl), EXHAUSTED);
    OK(viv_res_close(few, kept));
    OK(viv_res_insert_id(few, rid, ALL, &hdl));
    assert_int_equal(hdl.w, 2); // spent, and the only one left
    res_rig_check(&small);
    res_rig_close(&small);
}

// Faults of a handle, worst first: each pair answers with the first.
static void check_order_case_27(void **state)
{
    (void)state;
    static struct thing thing = {0}, gone_thing = {0};
    const viv_handle live = insert(KIND, VIV_RIGHT_READ, &thing);
    const viv_handle gone = insert(KIND, VIV_RIGHT_READ, &gone_thing);
    viv_rid gone_rid;
    OK(viv_res_entry(tab, gone, &gone_rid));
    OK(viv_res_discard(rig.reg, gone_rid));
    const struct viv_res_spec spec = {.kind = KIND};
    viv_rid reserved_rid;
    OK(viv_res_reserve(rig.reg, &spec, &reserved_rid));
    viv_handle reserved;
    OK(viv_res_insert_id(tab, reserved_rid, VIV_RIGHT_READ, &reserved));
    const viv_handle bad = {live.w | 1 << 20};
    void *obj = NULL;
    const viv_kind other = VIV_KIND_HOST;
    const viv_rights too_much = VIV_RIGHT_WRITE;
    ERR(viv_res_use(tab, bad, other, too_much, &obj), BADHANDLE);
    ERR(viv_res_use(tab, (viv_handle){0}, KIND, 0, &obj), BADHANDLE);
    ERR(viv_res_use(tab, (viv_handle){live.w | 1u << 31}, KIND, 0, &obj), BADHANDLE);
    ERR(viv_res_use(tab, (viv_handle){0xFFFFF}, KIND, 0, &obj), BADHANDLE);
    ERR(viv_res_use(tab, (viv_handle){4}, KIND, 0, &obj), BADHANDLE);
    ERR(viv_res_use(tab, live, other, too_much, &obj), KIND);
    ERR(viv_res_use(tab, gone, other, too_much, &obj), KIND);
    ERR(viv_res_use(tab, gone, other, 0, &obj), KIND);
    ERR(viv_res_use(tab, gone, KIND, too_much, &obj), RIGHTS);
    ERR(viv_res_use(tab, live, KIND, too_much, &obj), RIGHTS);
    ERR(viv_res_use(tab, reserved, KIND, too_much, &obj), RIGHTS);
    ERR(viv_res_use(tab, reserved, KIND, VIV_RIGHT_READ, &obj), STATE);
    ERR(viv_res_use(tab, gone, KIND, VIV_RIGHT_READ, &obj), GONE);
    // A revoked entry, as a revoker will leave it behind.
    struct viv_htab_entry *entry = viv_htab_entry_at(&tab->handles, gone.w);
    atomic_fetch_or(&entry->word, VIV_ENTRY_REVOKED);
    ERR(viv_res_use(tab, gone, other, too_much, &obj), REVOKED);
    ERR(viv_res_use(tab, (viv_handle){gone.w | 1 << 20}, KIND, 0, &obj), BADHANDLE);
    viv_handle copy;
    ERR(viv_res_dup(tab, gone, VIV_RIGHT_WRITE, &copy), REVOKED);
    int value;
    ERR(viv_res_with_handle(tab, live, KIND, VIV_RIGHT_WRITE, read_value, &value), RIGHTS);
    ERR(viv_res_remove_handle(tab, live, KIND, &obj), RIGHTS); // no DESTROY
    assert_null(obj);
    OK(viv_res_close(tab, gone)); // whatever it is
    OK(viv_res_discard(rig.reg, reserved_rid));
    OK(viv_res_close(tab, reserved));
    OK(viv_res_use(tab, live, KIND, VIV_RIGHT_READ, &obj));
}

static void more_rights_case_28(void **state)
{
    (void)state;
    static struct thing thing = {0};
    const viv_handle hdl = insert(VIV_KIND_FILE, VIV_RIGHT_READ | VIV_RIGHT_FILE_SEEK, &thing);
    viv_handle copy;
    ERR(viv_res_dup(tab, hdl, VIV_RIGHT_READ | VIV_RIGHT_WRITE, &copy), RIGHTS);
    OK(viv_res_dup(tab, hdl, VIV_RIGHT_FILE_SEEK, &copy));
    void *obj;
    ERR(viv_res_use(tab, copy, VIV_KIND_FILE, VIV_RIGHT_READ, &obj), RIGHTS);
    OK(viv_res_use(tab, copy, VIV_KIND_FILE, VIV_RIGHT_FILE_SEEK, &obj));
    ERR(viv_res_insert_id(tab, NONE, 0, &copy), NOTFOUND);
    viv_rid rid;
    OK(viv_res_entry(tab, hdl, &rid));
    ERR(viv_res_insert_id(tab, rid, 1u << 30, &copy), INVAL);
    OK(viv_res_close(tab, hdl));
    assert_int_equal(thing.closes, 0);
    OK(viv_res_close(tab, copy)); // the last hold of a file
    assert_int_equal(thing.closes, 1);
    assert_int_equal(thing.why, VIV_WHY_LAST_CLOSE);
    assert_false(res_rig_is_known(&rig, rid));
}

static void reserved_under_exhausted_quota_case_35(void **state)
{
    (void)state;
    static struct thing p_thing = {0}, things[5] = {0};
    const viv_rid p = res_rig_add(&rig, VIV_KIND_PROCESS, NONE, NONE, &p_thing);
    struct viv_account_limits limits;
    viv_account_limits_none(&limits);
    struct viv_account *account;
    OK(viv_res_open_account(rig.reg, p, &limits, &account));
    struct viv_htab *mine;
    OK(viv_res_instance(rig.reg, &mine));
    OK(viv_res_set_process_id(mine, p));
    struct viv_registrar *registrar;
    OK(viv_res_registrar(mine, 2, &registrar));
    for (int i = 0; i < VIV_COUNTERS; i++) // exactly full
        viv_account_set_max(account, (enum viv_counter)i,
                            viv_account_used(account, (enum viv_counter)i));
    const struct viv_res_spec spec = {.kind = KIND, .charge_bytes = 1000, .label = "socket"};
    viv_handle hdl;
    ERR(viv_res_insert(mine, &spec, &things[0], ALL, &hdl), QUOTA);
    ERR(viv_res_insert_id(mine, p, 0, &hdl), QUOTA);
    OK(viv_res_registrar_insert(registrar, &spec, &things[1], ALL, &hdl));
    OK(viv_res_registrar_insert(registrar, &spec, &things[2], ALL, &hdl));
    assert_int_equal(viv_res_registrar_left(registrar), 0);
    ERR(viv_res_registrar_insert(registrar, &spec, &things[3], ALL, &hdl), QUOTA);
    for (int i = 0; i < VIV_COUNTERS; i++)
        assert_true(viv_account_used(account, (enum viv_counter)i) <=
                    viv_account_max(account, (enum viv_counter)i));
    res_rig_check(&rig);
    viv_res_registrar_free(registrar);
    assert_int_equal(things[0].destroys, 1);
    assert_int_equal(things[3].destroys, 1);
    // What was not used goes back.
    for (int i = 0; i < VIV_COUNTERS; i++)
        viv_account_set_max(account, (enum viv_counter)i, VIV_UNLIMITED);
    const uint64_t handles = viv_account_used(account, VIV_COUNTER_HANDLES);
    OK(viv_res_registrar(mine, 100, &registrar));
    assert_int_equal(viv_account_used(account, VIV_COUNTER_HANDLES), handles + 100);
    res_rig_check(&rig);
    viv_res_registrar_free(registrar);
    assert_int_equal(viv_account_used(account, VIV_COUNTER_HANDLES), handles);
}

static void tables_are_apart_case_36(void **state)
{
    (void)state;
    static struct thing a = {0}, f = {0}, kept = {0};
    struct viv_htab *other;
    OK(viv_res_instance(rig.reg, &other));
    const viv_handle hdl = insert(VIV_KIND_FILE, ALL, &a);
    viv_handle future, elsewhere;
    OK(viv_res_insert_future(tab, (struct viv_fut *)&f, &future));
    assert_int_equal(hdl.w, 1);
    assert_int_equal(future.w, 1);
    const struct viv_res_spec spec = {.kind = VIV_KIND_FILE};
    OK(viv_res_insert(other, &spec, &kept, ALL, &elsewhere));
    viv_res_instance_drop(tab);
    assert_int_equal(a.closes, 1);
    assert_int_equal(f.closes, 1);
    assert_int_equal(kept.closes, 0);
    void *obj;
    ERR(viv_res_use(tab, hdl, VIV_KIND_FILE, 0, &obj), BADHANDLE);
    OK(viv_res_use(other, elsewhere, VIV_KIND_FILE, 0, &obj));
    static struct thing late = {0};
    viv_handle out;
    ERR(viv_res_insert(tab, &spec, &late, ALL, &out), NOINSTANCE);
    ERR(viv_res_insert_future(tab, (struct viv_fut *)&late, &out), NOINSTANCE);
    assert_int_equal(late.destroys, 2);
    assert_int_equal(viv_account_used(viv_res_account(rig.reg), VIV_COUNTER_HANDLES), 1);
    res_rig_check(&rig);
    viv_res_instance_drop(other);
}

static void gone_until_closed(void **state)
{
    (void)state;
    static struct thing thing = {0};
    const viv_handle hdl = insert(VIV_KIND_HOST, ALL, &thing);
    viv_rid rid;
    OK(viv_res_entry(tab, hdl, &rid));
    OK(viv_res_discard(rig.reg, rid));
    res_rig_quiet(&rig);
    assert_int_equal(thing.destroys, 1);
    void *obj;
    viv_handle copy;
    ERR(viv_res_use(tab, hdl, VIV_KIND_HOST, 0, &obj), GONE);
    ERR(viv_res_dup(tab, hdl, ALL, &copy), GONE);
    ERR(viv_res_remove_handle(tab, hdl, VIV_KIND_HOST, &obj), GONE);
    assert_false(res_rig_is_known(&rig, rid));
    // The record is not used again while the handle names it.
    static struct thing next = {0};
    const viv_rid other = res_rig_add(&rig, KIND, NONE, NONE, &next);
    assert_int_not_equal((uint32_t)other.w, (uint32_t)rid.w);
    res_rig_check(&rig);
    OK(viv_res_close(tab, hdl));
    ERR(viv_res_close(tab, hdl), BADHANDLE);
    static struct thing last = {0};
    const viv_rid again = res_rig_add(&rig, KIND, NONE, NONE, &last);
    assert_int_equal((uint32_t)again.w, (uint32_t)rid.w);
}

static void drop_counter(void *value)
{
    ++*(int *)value;
}

static void extensions(void **state)
{
    (void)state;
    int a = 0, b = 0;
    assert_null(viv_res_extension(tab, VIV_EXT_PROCESS));
    OK(viv_res_insert_extension(tab, VIV_EXT_PROCESS, &a, drop_counter));
    assert_ptr_equal(viv_res_extension(tab, VIV_EXT_PROCESS), &a);
    OK(viv_res_insert_extension(tab, VIV_EXT_PROCESS, &b, drop_counter));
    assert_int_equal(a, 1);
    ERR(viv_res_insert_extension(tab, VIV_EXT_MAX, &a, drop_counter), INVAL);
    assert_int_equal(a, 2);
    assert_null(viv_res_extension(tab, VIV_EXT_MAX));
    viv_res_instance_drop(tab);
    assert_int_equal(b, 1);
    ERR(viv_res_insert_extension(tab, VIV_EXT_PROCESS, &a, drop_counter), NOINSTANCE);
    assert_int_equal(a, 3);
}

static void many_handles(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    static struct thing things[MANY];
    static viv_handle handles[MANY];
    for (uint32_t i = 0; i < MANY; i++)
        handles[i] = insert(KIND, ALL, &things[i]);
    for (uint32_t i = 0; i < MANY; i++) {
        void *obj;
        assert_int_equal(handles[i].w, i + 1);
        OK(viv_res_use(tab, handles[i], KIND, ALL, &obj));
        assert_ptr_equal(obj, &things[i]);
    }
    res_rig_check(&rig);
    OK(viv_res_discard(rig.reg, proc));
    res_rig_quiet(&rig);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(things[i].destroys, 1);
    assert_int_equal(viv_res_record_count(rig.reg), 0);
    tab = NULL;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(detach_keeps_case_1),
        CASE(instance_and_process_case_3),
        CASE(futures_case_6),
        CASE(index_again_case_7),
        CASE(registrar_case_8),
        CASE(wrong_kind_case_10),
        CASE(bad_process_case_17),
        CASE(relinking_an_instance_case_18),
        CASE(registrar_after_the_end_case_19),
        CASE(check_order_case_27),
        CASE(more_rights_case_28),
        CASE(reserved_under_exhausted_quota_case_35),
        CASE(tables_are_apart_case_36),
        CASE(gone_until_closed),
        CASE(extensions),
        CASE(many_handles),
        cmocka_unit_test(indices_retire_case_22),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
