// SPDX-License-Identifier: Apache-2.0
// Plans and frames: what is encoded comes back; what was damaged is refused; the holder refuses
// what is not of its build; the kernel's end takes any bytes.
#include "base/alloc.h"
#include "base/rng.h"
#include "box_rig.h"
#include "cm.h"
#include "harness/check.h"
#include "os/child.h"
#include "os/file.h"
#include "os/packet.h"
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static const char *argv[] = {"name", "", "with\nnewline", NULL};
static const char *envp[] = {"A=1", "B=", NULL};
static const struct sock_filter filter[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
                                            {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS}};

static struct viv_plan plan, back;

static void fill(void)
{
    memset(&plan, 0, sizeof plan);
    plan.rung = VIV_RUNG_CGROUP;
    plan.namespaces = 0x10000000;
    plan.has_user = plan.is_gated = plan.lingers = plan.pty_is_raw = plan.drops_caps = true;
    plan.uid = 1000;
    plan.gid = UINT32_MAX;
    plan.group_count = 2;
    plan.groups[0] = 4;
    plan.groups[1] = 5;
    plan.host_name = "viv";
    plan.step_count = 2;
    plan.steps[0] =
        (struct viv_view_step){.op = VIV_VIEW_EMPTY, .number = 7, .source = "", .target = ""};
    plan.steps[1] = (struct viv_view_step){.op = VIV_VIEW_BIND,
                                           .may_miss = true,
                                           .attrs = 15,
                                           .device = UINT64_MAX,
                                           .inode = 9,
                                           .mode = 01777,
                                           .source = "/a",
                                           .target = "/b"};
    plan.landlock = (struct viv_landlock){1, 2, 3};
    plan.rule_count = 1;
    plan.rules[0] = (struct viv_plan_rule){"/usr", 13};
    plan.port_count = 1;
    plan.ports[0] = (struct viv_plan_port){443, 2};
    plan.filter = filter;
    plan.filter_length = VIV_COUNT_OF(filter);
    plan.rows = 24;
    plan.cols = UINT16_MAX;
    plan.deadman_ns = UINT64_MAX;
    plan.umask = 0777;
    plan.nice = 19;
    plan.limit_count = 1;
    plan.limits[0] = (struct viv_plan_limit){7, 8, UINT64_MAX};
    plan.path = "/bin/true";
    plan.cwd = "/tmp";
    plan.argv = argv;
    plan.envp = envp;
    plan.arg_count = 3;
    plan.env_count = 2;
}

static void encode(struct viv_buf *bytes)
{
    viv_buf_init(bytes, VIV_TAG_TEST);
    fill();
    CHECK(viv_plan_encode(&plan, bytes) == VIV_OK);
}

static void check_same(void)
{
    assert_int_equal(back.rung, plan.rung);
    assert_int_equal(back.namespaces, plan.namespaces);
    assert_true(back.has_user && back.is_gated && back.lingers && back.pty_is_raw);
    assert_true(back.drops_caps && !back.is_probe && !back.raises_loopback && !back.gains);
    assert_true(!back.has_ready_fd && !back.has_pty && !back.controls_tty);
    assert_int_equal(back.uid, 1000);
    assert_int_equal(back.gid, UINT32_MAX);
    assert_int_equal(back.group_count, 2);
    assert_int_equal(back.groups[1], 5);
    assert_string_equal(back.host_name, "viv");
    assert_int_equal(back.step_count, 2);
    assert_int_equal(back.steps[0].number, 7);
    assert_true(back.steps[1].may_miss && back.steps[1].op == VIV_VIEW_BIND);
    assert_int_equal(back.steps[1].device, UINT64_MAX);
    assert_int_equal(back.steps[1].mode, 01777);
    assert_string_equal(back.steps[1].source, "/a");
    assert_string_equal(back.steps[1].target, "/b");
    assert_memory_equal(&back.landlock, &plan.landlock, sizeof plan.landlock);
    assert_string_equal(back.rules[0].path, "/usr");
    assert_int_equal(back.ports[0].port, 443);
    assert_int_equal(back.filter_length, 2);
    assert_memory_equal(back.filter, filter, sizeof filter);
    assert_int_equal(back.cols, UINT16_MAX);
    assert_int_equal(back.umask, 0777);
    assert_int_equal(back.nice, 19);
    assert_int_equal(back.limits[0].hard, UINT64_MAX);
    assert_string_equal(back.path, "/bin/true");
    assert_string_equal(back.argv[2], "with\nnewline");
    assert_null(back.argv[3]);
    assert_string_equal(back.envp[1], "B=");
    assert_null(back.envp[2]);
}

static void a_plan_comes_back(void **state)
{
    (void)state;
    struct viv_buf bytes;
    const int64_t live = viv_alloc_live_bytes_all();
    encode(&bytes);
    assert_int_equal(viv_plan_decode(bytes.data, bytes.len_bytes, &back), VIV_OK);
    check_same();
    viv_plan_deinit(&back);
    viv_buf_deinit(&bytes);
    assert_int_equal(viv_alloc_live_bytes_all(), live);
}

static void a_plan_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct viv_buf bytes;
    encode(&bytes);
    for (size_t len = 0; len < bytes.len_bytes; len++) {
        uint8_t *exact = malloc(len + 1); // a sanitizer sees reads behind
        CHECK(exact != NULL);
        memcpy(exact, bytes.data, len);
        assert_int_equal(viv_plan_decode(exact, len, &back), VIV_E_INVAL);
        free(exact);
    }
    CHECK(viv_buf_append(&bytes, "x", 1) == VIV_OK);
    assert_int_equal(viv_plan_decode(bytes.data, bytes.len_bytes, &back), VIV_E_INVAL);
    viv_buf_deinit(&bytes);
}

// Every byte changed: refused, or a plan within its bounds.
static void a_plan_changed_anywhere_is_bounded(void **state)
{
    (void)state;
    struct viv_buf bytes;
    const uint64_t seed = check_seed();
    struct viv_rng rng = {seed};
    encode(&bytes);
    for (size_t at = 0; at < bytes.len_bytes; at++) {
        const uint8_t before = bytes.data[at];
        bytes.data[at] ^= (uint8_t)(1 + viv_rng_below(&rng, 255));
        if (viv_plan_decode(bytes.data, bytes.len_bytes, &back) == VIV_OK) {
            assert_true(back.step_count <= VIV_PLAN_STEPS_MAX);
            assert_true(back.rung <= VIV_RUNG_TREE && back.steps[0].op < VIV_VIEW_OPS);
            assert_true(memchr(back.path, '\0', bytes.len_bytes) != NULL);
            viv_plan_deinit(&back);
        }
        bytes.data[at] = before;
    }
    viv_buf_deinit(&bytes);
}

// Killing all there is must not mean all of the host.
static void a_pid_namespace_and_its_rung_go_together(void **state)
{
    (void)state;
    for (int has_namespace = 0; has_namespace < 2; has_namespace++) {
        for (enum viv_rung rung = VIV_RUNG_PIDNS; rung <= VIV_RUNG_TREE; rung++) {
            struct viv_buf bytes;
            viv_buf_init(&bytes, VIV_TAG_TEST);
            fill();
            plan.rung = rung;
            plan.namespaces = has_namespace ? 0x20000000 : 0;
            assert_int_equal(viv_plan_encode(&plan, &bytes), VIV_OK);
            const bool fits = (rung == VIV_RUNG_PIDNS) == (has_namespace == 1);
            assert_int_equal(viv_plan_decode(bytes.data, bytes.len_bytes, &back),
                             fits ? VIV_OK : VIV_E_INVAL);
            if (fits) viv_plan_deinit(&back);
            viv_buf_deinit(&bytes);
        }
    }
}

// ---------------------------------------------------------------------------------------- frames

static void frames_have_one_length_each(void **state)
{
    (void)state;
    for (uint32_t type = 0; type < 100; type++) {
        uint8_t bytes[256] = {0};
        struct viv_frame frame;
        const int length = viv_frame_length((uint16_t)type);
        const bool exists = (type >= VIV_FRAME_PLAN && type < VIV_FRAME_ORDERS_END) ||
                            (type >= VIV_FRAME_INIT && type < VIV_FRAME_REPORTS_END);
        assert_int_equal(length >= 0, exists);
        for (uint32_t len = 0; len < 200; len++) {
            struct viv_frame_head head = {.type = (uint16_t)type, .length = len};
            memcpy(bytes, &head, sizeof head);
            memset(bytes + sizeof head, 1, sizeof bytes - sizeof head);
            const bool is_frame = viv_frame_decode(bytes, sizeof head + len, &frame);
            if (is_frame) assert_int_equal(length, len);
            assert_false(viv_frame_decode(bytes, sizeof head + len + 1, &frame));
            head.flags = 1;
            memcpy(bytes, &head, sizeof head);
            assert_false(viv_frame_decode(bytes, sizeof head + len, &frame));
        }
    }
}

static void fields_out_of_range_are_no_frame(void **state)
{
    (void)state;
    static const struct {
        uint32_t signo, target;
        bool is_good;
    } rows[] = {{1, 0, true}, {64, 2, true}, {0, 0, false}, {65, 0, false}, {9, 3, false}};
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        struct {
            struct viv_frame_head head;
            struct viv_frame_signal body;
        } bytes = {{.type = VIV_FRAME_SIGNAL, .length = 8}, {rows[i].signo, rows[i].target}};
        struct viv_frame frame;
        assert_int_equal(viv_frame_decode(&bytes, sizeof bytes, &frame), rows[i].is_good);
    }
}

// The link never blocks, and what is no report closes it for its owner.
static void the_link_takes_any_bytes(void **state)
{
    (void)state;
    const size_t fds = box_count_fds();
    struct viv_rng rng = {check_seed()};
    for (int round = 0; round < 2000; round++) {
        struct viv_init_link link;
        struct viv_init_event event;
        int far;
        uint8_t bytes[160];
        assert_int_equal(viv_init_link_open(&link, &far), VIV_OK);
        viv_init_link_next(&link, &event);
        assert_int_equal(event.type, VIV_INIT_EVENT_NONE);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)viv_rng_next(&rng);
        struct viv_packet packet = {.data = bytes, .len = 1 + viv_rng_below(&rng, sizeof bytes)};
        const struct viv_frame_head head = {
            .type = (uint16_t)viv_rng_below(&rng, VIV_FRAME_REPORTS_END + 2),
            .length = (uint32_t)(packet.len > sizeof head ? packet.len - sizeof head : 0)};
        if (packet.len >= sizeof head) memcpy(bytes, &head, sizeof head);
        packet.fd_count = viv_rng_below(&rng, 3);
        for (size_t i = 0; i < packet.fd_count; i++)
            packet.fds[i] = far;
        assert_int_equal(viv_os_packet_send(far, &packet), 0);
        viv_init_link_next(&link, &event);
        assert_int_not_equal(event.type, VIV_INIT_EVENT_NONE);
        if (event.fd >= 0) viv_os_close(event.fd);
        viv_init_link_close(&link);
        assert_int_equal(viv_init_link_kill(&link), VIV_E_LOST);
        viv_os_close(far);
    }
    assert_int_equal(box_count_fds(), fds);
}

static void orders_to_one_that_hangs_are_refused(void **state)
{
    (void)state;
    struct viv_init_link link;
    int far;
    enum viv_err err = VIV_OK;
    assert_int_equal(viv_init_link_open(&link, &far), VIV_OK);
    for (int i = 0; i < 100000 && err == VIV_OK; i++)
        err = viv_init_link_signal(&link, 15, VIV_TARGET_GROUP);
    assert_int_equal(err, VIV_E_AGAIN);
    viv_os_close(far);
    assert_int_equal(viv_init_link_kill(&link), VIV_E_LOST);
    viv_init_link_close(&link);
}

// ------------------------------------------------------------------------------------ the holder

static void send_bad_plan(struct viv_init_link *link, const struct viv_frame_plan *body,
                          const char *bytes, size_t fd_count)
{
    int fds[4] = {viv_os_sealed_file("x", bytes, strlen(bytes)), 0, 0, 0};
    CHECK(fds[0] >= 0);
    CHECK(viv_frame_send(link->fd, VIV_FRAME_PLAN, body, fds, fd_count) == 0);
    viv_os_close(fds[0]);
}

static void the_holder_refuses_other_builds(void **state)
{
    (void)state;
    static const struct {
        struct viv_frame_plan body;
        size_t fd_count;
        enum viv_holder_stage stage;
    } rows[] = {
        {{VIV_HOLDER_PROTOCOL + 1, 4, VIV_HOLDER_BUILD}, 4, VIV_HOLDER_PROTOCOL_CHECK},
        {{VIV_HOLDER_PROTOCOL, 4, VIV_HOLDER_BUILD ^ 1}, 4, VIV_HOLDER_PROTOCOL_CHECK},
        {{VIV_HOLDER_PROTOCOL, 4, VIV_HOLDER_BUILD}, 0, VIV_HOLDER_PROTOCOL_CHECK},
        {{VIV_HOLDER_PROTOCOL, 4, VIV_HOLDER_BUILD}, 4, VIV_HOLDER_PLAN},
        {{VIV_HOLDER_PROTOCOL, 400, VIV_HOLDER_BUILD}, 4, VIV_HOLDER_PLAN},
        {{VIV_HOLDER_PROTOCOL, UINT32_MAX, VIV_HOLDER_BUILD}, 4, VIV_HOLDER_PLAN},
    };
    struct box box;
    box_open(&box);
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        struct viv_init_link link;
        struct viv_init_event event;
        struct viv_launch_result result;
        struct viv_child_end end;
        int far;
        assert_int_equal(viv_init_link_open(&link, &far), VIV_OK);
        send_bad_plan(&link, &rows[i].body, "plan", rows[i].fd_count);
        const struct viv_init_start start = {
            .holder_fd = box.holder_fd, .socket_fd = far, .cgroup_fd = -1, .cwd_fd = -1};
        viv_init_launch(box.room, &start, &result);
        viv_os_close(far);
        assert_int_equal(result.stage, VIV_STAGE_NONE);
        assert_true(viv_os_poll_fd(link.fd, POLLIN, 10000) > 0);
        viv_init_link_next(&link, &event);
        assert_int_equal(event.type, VIV_INIT_EVENT_FAILED);
        assert_int_equal(event.failed.stage, rows[i].stage);
        assert_true(viv_os_poll_fd(result.pidfd, POLLIN, 10000) > 0);
        assert_int_equal(viv_os_child_reap(result.pidfd, &end), 0);
        assert_int_equal(end.code, 1);
        viv_os_close(result.pidfd);
        viv_init_link_close(&link);
    }
    box_close(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_comes_back),
        cmocka_unit_test(a_plan_cut_anywhere_is_refused),
        cmocka_unit_test(a_plan_changed_anywhere_is_bounded),
        cmocka_unit_test(a_pid_namespace_and_its_rung_go_together),
        cmocka_unit_test(frames_have_one_length_each),
        cmocka_unit_test(fields_out_of_range_are_no_frame),
        cmocka_unit_test(the_link_takes_any_bytes),
        cmocka_unit_test(orders_to_one_that_hangs_are_refused),
        cmocka_unit_test(the_holder_refuses_other_builds),
    };
    return cmocka_run_group_tests_name("native.plan", tests, NULL, NULL);
}
