// SPDX-License-Identifier: Apache-2.0
// The classes of channels and sleep: what is denied without them, and what their scopes admit.
#include "cap/chan.h"
#include "cap/ring.h"
#include "ses_rig.h"
#include <stdio.h>
#include <string.h>

static struct ses_rig rig;

static int set_up(void **state)
{
    (void)state;
    ses_rig_prepare(&rig);
    ses_rig_open(&rig, "use all\n");
    OK(viv_chan_bind(rig.reg));
    OK(viv_fut_bind(rig.reg));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ses_rig_close(&rig);
    return 0;
}

static struct actor under(const char *policy)
{
    struct viv_session *session = ses_rig_child(&rig, rig.root, policy);
    const struct actor actor = ses_rig_spawn(&rig, session);
    viv_ses_drop(session); // the process keeps it
    return actor;
}

static enum viv_err make(const struct actor *actor, uint32_t capacity, viv_handle *out_hdl)
{
    const struct viv_chan_opts opts = {.capacity_bytes = capacity};
    return viv_chan_create(actor->tab, &opts, out_hdl);
}

static void create_needs_its_class_and_size(void **state)
{
    (void)state;
    const struct actor none = under("allow chan.read\n"), some = under("allow chan.create=1K\n");
    viv_handle hdl;
    ERR(make(&none, 64, &hdl), DENIED);
    ERR(make(&none, 0, &hdl), DENIED); // the class comes before the arguments
    ERR(make(&some, 1025, &hdl), DENIED);
    ERR(make(&some, 0, &hdl), INVAL);
    OK(make(&some, 1024, &hdl));
}

static void ends_need_their_class(void **state)
{
    (void)state;
    const struct actor reads = under("allow chan.create\nallow chan.read\n");
    const struct actor writes = under("allow chan.create\nallow chan.write\n");
    viv_handle chan, hdl;
    OK(make(&reads, 64, &chan));
    OK(viv_chan_reader(reads.tab, chan, VIV_CHAN_STRONG, VIV_CHAN_DEFAULT, &hdl));
    ERR(viv_chan_writer(reads.tab, chan, VIV_CHAN_STRONG, &hdl), DENIED);
    OK(make(&writes, 64, &chan));
    OK(viv_chan_writer(writes.tab, chan, VIV_CHAN_STRONG, &hdl));
    ERR(viv_chan_reader(writes.tab, chan, VIV_CHAN_STRONG, VIV_CHAN_DEFAULT, &hdl), DENIED);
    viv_handle less;
    OK(viv_res_dup(writes.tab, chan, VIV_RIGHT_STAT, &less)); // rights come before the class
    ERR(viv_chan_reader(writes.tab, less, VIV_CHAN_STRONG, VIV_CHAN_DEFAULT, &hdl), RIGHTS);
}

static void a_scope_names_channels(void **state)
{
    (void)state;
    const struct actor owner = under("allow chan.create\n");
    viv_handle first, second, there, other, hdl;
    viv_rid rids[2];
    OK(make(&owner, 64, &first));
    OK(make(&owner, 64, &second));
    OK(viv_res_entry(owner.tab, first, &rids[0]));
    OK(viv_res_entry(owner.tab, second, &rids[1]));
    char policy[64];
    const uint32_t slot = (uint32_t)rids[0].w;
    (void)snprintf(policy, sizeof(policy), "allow chan.read=\"#%u.%u.%u\"\n", slot >> 24,
                   slot & 0xFFFFFF, (unsigned)(rids[0].w >> 32));
    const struct actor reads = under(policy);
    const viv_rights rights = VIV_RIGHT_DERIVE | VIV_RIGHT_CHANNEL_WEAK_READER;
    OK(viv_res_insert_id(reads.tab, rids[0], rights, &there));
    OK(viv_res_insert_id(reads.tab, rids[1], rights, &other));
    OK(viv_chan_reader(reads.tab, there, VIV_CHAN_WEAK, VIV_CHAN_DEFAULT, &hdl));
    ERR(viv_chan_reader(reads.tab, other, VIV_CHAN_WEAK, VIV_CHAN_DEFAULT, &hdl), DENIED);
}

static void sleep_needs_time(void **state)
{
    (void)state;
    uint64_t memory[2] = {5};
    const struct viv_guest_mem mem = {(uint8_t *)memory, sizeof(memory)};
    static const struct {
        const char *policy;
        uint32_t status;
    } cases[] = {{"allow chan.create\n", VIV_FUT_FAILED},
                 {"allow time.timer=wall\n", VIV_FUT_FAILED},
                 {"allow time.timer=mono\n", VIV_FUT_PENDING},
                 {"allow time.timer\n", VIV_FUT_PENDING}};
    for (uint32_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        const struct actor actor = under(cases[i].policy);
        OK(viv_futs_open(actor.tab, NULL));
        const struct viv_fut_result made = viv_fut_create(actor.tab, mem, VIV_GUESTOP_SLEEP, 0, 8);
        assert_int_equal(made.status, VIV_FUT_READY);
        const struct viv_fut_result got =
            viv_fut_poll(actor.tab, mem, (viv_handle){made.value}, 0, 8, 8);
        assert_int_equal(got.status, cases[i].status);
        if (got.status == VIV_FUT_FAILED) assert_int_equal(got.value, VIV_E_DENIED);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(create_needs_its_class_and_size),
        TEST(ends_need_their_class),
        TEST(a_scope_names_channels),
        TEST(sleep_needs_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
