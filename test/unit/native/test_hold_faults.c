// SPDX-License-Identifier: Apache-2.0
// "Fail the Nth" for `viv-holder hold`: each system call and each allocation of its life once. The
// start is refused, or the connection ends, and then nothing is left: no process, no file, no
// program half started; or the program is held, and whoever attaches learns how it ended.
#include "cm.h"
#include "harness/check.h"
#include "hold_rig.h"
#include "os/file.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static struct hold_rig rig;
static struct hold_kernel one;
static char fault_path[64];

enum outcome { REFUSED, CLOSED, HELD, OUTCOMES };

static void open_rig(void)
{
    char path[512];
    const char *dir = getenv("VIV_BUILD_DIR");
    hold_rig_open(&rig);
    snprintf(path, sizeof path, "%s/tests/viv-holder-faulty", dir != NULL ? dir : "build/dev");
    rig.holder_fd = viv_os_open(path, O_RDONLY, 0);
    CHECK(rig.holder_fd >= 0);
    snprintf(fault_path, sizeof fault_path, "/tmp/viv-fault-%d", getpid());
    rig.may_fail = rig.has_stdin = true;
    rig.birth.texts[VIV_HOLD_TEXT_PRELUDE] = (struct viv_hold_text){"hello", 5};
    rig.birth.texts[VIV_HOLD_TEXT_READY_LINE] = (struct viv_hold_text){"uid=", 4};
}

static void close_rig(void)
{
    viv_os_close(rig.holder_fd);
    hold_rig_close(&rig);
    CHECK(unlink(fault_path) == 0);
}

static void arm(const char *name, uint64_t nth, int err)
{
    FILE *file = fopen(fault_path, "w");
    CHECK(file != NULL && fprintf(file, "%s %llu %d\n", name, (unsigned long long)nth, err) > 0);
    CHECK(fclose(file) == 0);
}

static bool was_hit(void)
{
    char text[128] = "";
    FILE *file = fopen(fault_path, "r");
    CHECK(file != NULL && fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    return strstr(text, "\nh") != NULL; // behind the line that was written
}

// Again and again, since one of the connections may meet the fault. False: nobody listens.
static bool attach(void)
{
    for (uint64_t i = 0; i < 4; i++) {
        hold_detach(&one);
        if (hold_attach(&rig, &one, one.epoch + 1)) return true;
        if (one.fd < 0) return false;
    }
    CHECK(false);
    return false;
}

static void await_end(void)
{
    struct viv_hold_frame frame;
    while (one.state.phase != VIV_NATIVE_EXITED) {
        if (one.is_closed) CHECK(attach());
        CHECK_WAIT(one.is_closed || one.state.phase == VIV_NATIVE_EXITED ||
                       hold_next(&one, 100, &frame),
                   20, fprintf(stderr, "phase %u\n", one.state.phase));
    }
}

// RELEASE may have been carried out though its answer did not come.
static void release(void)
{
    enum viv_err err = VIV_E_LOST;
    for (int i = 0; i < 4 && err == VIV_E_LOST; i++) {
        err = hold_order(&one, VIV_HOLD_RELEASE, NULL);
        if (err == VIV_E_LOST && !attach()) break;
    }
    CHECK(err == VIV_OK || err == VIV_E_LOST);
    hold_detach(&one);
}

static void check_end(bool hit)
{
    const struct viv_hold_exit *exit = &one.state.exit;
    const bool is_true = exit->kind == VIV_NATIVE_EXITED_BY_ITSELF && exit->code == 7 &&
                         exit->received[0] > 0 && exit->stdin_delivered == 5 &&
                         (one.state.flags & VIV_HOLD_STATE_READY) != 0;
    CHECK(is_true || hit);
    CHECK(one.state.eof == 3 && (one.state.flags & VIV_HOLD_STATE_EXIT) != 0);
}

static enum outcome hold_one(void)
{
    static const char *const words[] = {"ids", "echo", "exit=7", NULL};
    const struct viv_hold_frame answer = hold_open(&rig, &one);
    if (answer.head.type != VIV_HOLD_ATTACHED) {
        CHECK(answer.head.type == VIV_HOLD_OK ? answer.body.answer.err != VIV_OK : one.is_closed);
        return answer.head.type == VIV_HOLD_OK ? REFUSED : CLOSED;
    }
    const enum viv_err err = hold_hand(&rig, &one, words);
    CHECK(err == VIV_OK || err == VIV_E_LOST);
    if (err == VIV_OK || attach()) return HELD;
    return CLOSED; // it got nothing, and init saw the end of its socket
}

static uint32_t count_files(void)
{
    static const char *const endings[] = {"sock", "rec", "new"};
    uint32_t count = 0;
    for (size_t i = 0; i < VIV_COUNT_OF(endings); i++)
        count += hold_has_file(&rig, endings[i]);
    return count;
}

// One life; what became of it.
static enum outcome live(const char *name, uint64_t nth, int err, bool *out_hit)
{
    arm(name, nth, err);
    const enum outcome outcome = hold_one();
    struct viv_hold_state end = {.sequence = 0};
    if (outcome == HELD) {
        await_end();
        end = one.state;
        release();
    }
    hold_detach(&one);
    hold_await_nobody();
    *out_hit = was_hit();
    one.state = end;
    if (outcome == HELD) check_end(*out_hit);
    CHECK(outcome == HELD || *out_hit);
    // A file that could not be removed is for who finds it.
    const bool may_stay = *out_hit && (name[0] == '*' || strcmp(name, "unlinkat") == 0);
    const uint32_t files = count_files();
    if (files > (may_stay ? 1 : 0)) fprintf(stderr, "%s %d: %u\n", name, (int)nth, files);
    CHECK(files <= (may_stay ? 1 : 0));
    hold_remove_files(&rig);
    return outcome;
}

// Each call of the name fails once; how many there were.
static uint64_t sweep(const char *name, int err, uint32_t counts[OUTCOMES])
{
    bool hit = true;
    uint64_t nth = 0;
    while (hit) {
        if (nth == 300) fprintf(stderr, "%s is called for ever\n", name);
        CHECK(nth < 300);
        const enum outcome outcome = live(name, ++nth, err, &hit);
        if (hit) counts[outcome]++;
    }
    return nth - 1;
}

static void n23_each_call_of_a_holder_fails(void **state)
{
    (void)state;
    uint32_t counts[OUTCOMES] = {0};
    open_rig();
    const uint64_t calls = sweep("*", EPERM, counts);
    print_message("  %llu calls: %u refused, %u closed, %u held\n", (unsigned long long)calls,
                  counts[REFUSED], counts[CLOSED], counts[HELD]);
    CHECK(counts[REFUSED] >= 10 && counts[CLOSED] >= 5 && counts[HELD] >= 20);
    close_rig();
}

// Names and what the start says of them.
static void n23_each_step_of_the_start_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int err;
        uint32_t least; // of them refused
    } rows[] = {{"memfd_create", EMFILE, 1}, {"ftruncate", ENOMEM, 1}, {"mmap", ENOMEM, 2},
                {"fstatat", EIO, 1},         {"openat", ENOSPC, 1},    {"write", ENOSPC, 1},
                {"fsync", EIO, 2},           {"renameat", EIO, 1},     {"socket", EMFILE, 1},
                {"fchmod", EPERM, 1},        {"bind", EADDRINUSE, 1},  {"listen", EADDRINUSE, 1}};
    open_rig();
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        uint32_t counts[OUTCOMES] = {0};
        (void)sweep(rows[i].name, rows[i].err, counts);
        if (counts[REFUSED] < rows[i].least) fprintf(stderr, "%s\n", rows[i].name);
        CHECK(counts[REFUSED] >= rows[i].least && counts[CLOSED] == 0);
    }
    close_rig();
}

// What the loop needs every day: that it fails once changes nothing for the program.
static void n23_a_hiccup_is_survived(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int err;
    } rows[] = {{"epoll_ctl", ENOMEM}, {"epoll_wait", EINTR}, {"accept4", EMFILE},
                {"recvmsg", ENOMEM},   {"recvmsg", EINTR},    {"sendmsg", ENOBUFS},
                {"readv", EAGAIN},     {"writev", EAGAIN},    {"getrandom", EINTR},
                {"poll", ENOMEM},      {"close", EIO},        {"getsockopt", ENOBUFS}};
    open_rig();
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        bool hit = true;
        for (uint64_t nth = 1; hit; nth++) {
            const enum outcome outcome = live(rows[i].name, nth, rows[i].err, &hit);
            // The poller cannot be made, or the answer to OPEN not be sent.
            const bool is_start =
                outcome == CLOSED && nth == 1 &&
                (strcmp(rows[i].name, "epoll_ctl") == 0 || strcmp(rows[i].name, "sendmsg") == 0);
            const bool is_whole = one.state.exit.kind == VIV_NATIVE_EXITED_BY_ITSELF;
            if (!is_start && (outcome != HELD || !is_whole))
                fprintf(stderr, "%s %d: %d\n", rows[i].name, (int)nth, (int)outcome);
            CHECK(is_start || (outcome == HELD && is_whole));
            CHECK(is_start || one.state.exit.code == 7);
        }
    }
    close_rig();
}

static void n23_each_allocation_of_a_holder_fails(void **state)
{
    (void)state;
    uint32_t counts[OUTCOMES] = {0};
    open_rig();
    const uint64_t calls = sweep("alloc", 0, counts);
    print_message("  %llu allocations: %u refused, %u closed, %u held\n", (unsigned long long)calls,
                  counts[REFUSED], counts[CLOSED], counts[HELD]);
    CHECK(counts[REFUSED] >= 2 && counts[CLOSED] >= 3);
    close_rig();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n23_each_call_of_a_holder_fails),
        cmocka_unit_test(n23_each_step_of_the_start_is_refused),
        cmocka_unit_test(n23_a_hiccup_is_survived),
        cmocka_unit_test(n23_each_allocation_of_a_holder_fails),
    };
    return cmocka_run_group_tests_name("native.hold_faults", tests, NULL, NULL);
}
