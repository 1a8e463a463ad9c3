// SPDX-License-Identifier: Apache-2.0
// What is in the directory of holders and is not this kernel's (native.md 9, Life 2 and 3): holders
// of another protocol, records of environments that do not run, records that are none.
#include "held_kit.h"

#include "base/alloc.h"
#include "harness/check.h"
#include "native/holder/hold_rec.h"
#include "native/outside.h"
#include "os/clock.h"
#include "os/local.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct native_rig rig;

enum { LIST = 8, NTH_MAX = 400, OTHER_ENV = 7, LATE_NUMBER = 5000 };

static const char digest[] = "0123456789abcdef";

static char *path_of(const char *ending)
{
    static char path[5000];
    (void)snprintf(path, sizeof path, "%s/%s.%s", held_dir, digest, ending);
    return path;
}

static void write_file(const char *path, const void *data, size_t len)
{
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fwrite(data, 1, len, file) == len);
    CHECK(fclose(file) == 0);
}

// A record that this kernel can read, of a program that does not exist.
static void write_record(const char *env)
{
    struct viv_buf bytes;
    struct viv_hold_rec rec = {.numbers = {.number = LATE_NUMBER,
                                           .generation = 1,
                                           .ring_bytes = 4096,
                                           .stdin_queue_bytes = 4096,
                                           .stop_signal = SIGTERM,
                                           .stream_count = 1}};
    memcpy(rec.numbers.digest, digest, sizeof digest);
    for (int i = 0; i < VIV_HOLD_TEXTS; i++)
        rec.texts[i] = (struct viv_hold_text){"", 0};
    rec.texts[VIV_HOLD_TEXT_ENV] = (struct viv_hold_text){env, (uint32_t)strlen(env)};
    rec.texts[VIV_HOLD_TEXT_LABEL] = (struct viv_hold_text){"a label", 7};
    viv_buf_init(&bytes, VIV_TAG_TEST);
    CHECK(viv_hold_rec_encode(&rec, &bytes) == VIV_OK);
    write_file(path_of("rec"), bytes.data, bytes.len_bytes);
    viv_buf_deinit(&bytes);
}

// Greets everybody with these bytes, for ever.
static void greet_all(int listen_fd, const void *greeting, size_t len)
{
    for (;;) {
        struct pollfd wait = {.fd = listen_fd, .events = POLLIN};
        (void)poll(&wait, 1, -1);
        const int fd = viv_os_local_accept(listen_fd);
        if (fd < 0) continue;
        (void)viv_os_local_send(fd, greeting, len);
    } // what was greeted stays open
}

// A holder of another time, as nobody's child; its number.
static pid_t start_foreign(const void *greeting, size_t len)
{
    int fds[2], status;
    pid_t pid;
    CHECK(mkdir(held_dir, 0700) == 0 && pipe(fds) == 0);
    const pid_t child = fork();
    if (child == 0) {
        pid = fork();
        if (pid != 0) _exit(0);
        pid = getpid();
        char own[64]; // by a short path: it is the one that a holder would take
        CHECK(chdir(held_dir) == 0);
        (void)snprintf(own, sizeof own, "%s.sock", digest);
        const int fd = viv_os_local_listen_packets(own);
        CHECK(fd >= 0 && write(fds[1], &pid, sizeof pid) == (ssize_t)sizeof pid);
        (void)alarm(120); // should the test not end it
        greet_all(fd, greeting, len);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(read(fds[0], &pid, sizeof pid) == (ssize_t)sizeof pid);
    CHECK(close(fds[0]) == 0 && close(fds[1]) == 0);
    return pid;
}

static pid_t start_of_protocol(uint32_t min, uint32_t max)
{
    struct {
        struct viv_frame_head head;
        struct viv_hold_hello hello;
    } frame = {.head = {.type = VIV_HOLD_HELLO, .length = sizeof frame.hello},
               .hello = {.protocol_min = min, .protocol_max = max}};
    memcpy(frame.hello.digest, digest, sizeof digest);
    return start_foreign(&frame, sizeof frame);
}

static void end_foreign(pid_t pid)
{
    CHECK(kill(pid, SIGKILL) == 0);
    while (kill(pid, 0) == 0) { // until who takes orphans has waited, or all of it is a zombie
        char path[64], text[512] = "";
        long threads = 0;
        (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "r");
        if (file == NULL) break;
        (void)fgets(text, sizeof text, file);
        (void)fclose(file);
        const char *state = strstr(text, ") Z ");
        if (state != NULL &&
            sscanf(state, ") Z %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld",
                   &threads) == 1 &&
            threads <= 1) // a sanitizer's is slower to end than the first
            break;
        viv_os_sleep_ns(VIV_NS_PER_MS);
    }
}

static size_t list(struct viv_native_outsider *out)
{
    return viv_native_list_outside(&rig.ctx, 0, LIST, out);
}

// Nothing that is done to it does anything.
static void check_untouched(uint64_t number)
{
    const struct viv_native_ref ref = {.kind = VIV_NATIVE_NUMBER, .u.number = number};
    struct viv_native_status status;
    struct viv_native_call call;
    viv_native_call_init(&call, &rig.ctx);
    assert_int_equal(viv_native_status(&rig.ctx, &ref, &status), VIV_E_UNSUPPORTED);
    assert_int_equal(viv_native_stop_program(&call, &ref, 0, false), VIV_E_UNSUPPORTED);
    assert_int_equal(viv_native_kill(&call, &ref), VIV_E_UNSUPPORTED);
    assert_int_equal(viv_native_release(&rig.ctx, &ref), VIV_E_UNSUPPORTED);
    assert_int_equal(viv_native_signal(&rig.ctx, &ref, SIGTERM, false), VIV_E_UNSUPPORTED);
    struct viv_native_ctx guest = rig.ctx;
    struct viv_native_outsider out;
    guest.is_operator = false; // who sees nothing of it
    assert_int_equal(viv_native_status(&guest, &ref, &status), VIV_E_NOTFOUND);
    assert_int_equal(viv_native_list_outside(&guest, 0, 1, &out), 0);
    assert_int_equal(viv_native_find_outside(&guest, number, &out), VIV_E_NOTFOUND);
}

static void a_holder_of_another_protocol_is_listed(void **state)
{
    (void)state;
    struct viv_native_outsider all[LIST];
    struct viv_native_item item;
    struct viv_native_spawned spawned;
    char line[4096];
    const pid_t pid = start_of_protocol(VIV_HOLD_PROTOCOL + 1, VIV_HOLD_PROTOCOL + 2);
    write_record("1");
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 0);
    rig_expect_audit(&rig, "native.holder.foreign", "UNSUPPORTED", line, sizeof line);
    assert_non_null(strstr(line, digest));
    assert_int_equal(list(all), 1);
    assert_int_equal(all[0].kind, VIV_NATIVE_FOREIGN);
    assert_int_equal(all[0].number, LATE_NUMBER);
    assert_int_equal(all[0].environment, 1);
    assert_string_equal(all[0].digest, digest);
    assert_string_equal(all[0].label, "a label");
    assert_string_equal(all[0].why, "it is of another version");
    assert_string_equal(viv_native_outside_name(all[0].kind), "foreign holder");
    check_untouched(LATE_NUMBER);
    // It is no program of this kernel, lost or not, and its number is no other's.
    assert_int_equal(
        viv_native_list(&rig.ctx, &(struct viv_native_page){.max = 1, .out_items = &item}), 0);
    rig_request(&rig, "true", NULL);
    assert_int_equal(rig_spawn(&rig, &spawned), VIV_OK);
    assert_int_equal(spawned.number, LATE_NUMBER + 1);
    assert_int_equal(held_count_files(), 2);
    assert_int_equal(list(all), 1); // still
    end_foreign(pid);
    assert_int_equal(list(all), 0);
    assert_int_equal(viv_native_find_outside(&rig.ctx, LATE_NUMBER, all), VIV_E_NOTFOUND);
    assert_int_equal(held_count_files(), 2); // the next kernel looks at its record
    rig_close(&rig);
}

// Neither its record nor its words can be read.
static void a_holder_of_another_time_keeps_its_record(void **state)
{
    (void)state;
    struct viv_native_outsider all[LIST];
    const pid_t pid = start_foreign("HELLO, in other words", 21);
    write_file(path_of("rec"), "a record, in another form", 25);
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 0);
    assert_int_equal(list(all), 1);
    assert_int_equal(all[0].kind, VIV_NATIVE_FOREIGN);
    assert_int_equal(all[0].number, 1); // the first that is free
    assert_int_equal(all[0].environment, 0);
    assert_string_equal(all[0].label, "");
    assert_int_equal(access(path_of("rec"), F_OK), 0);
    check_untouched(1);
    end_foreign(pid);
    assert_int_equal(list(all), 0);
    assert_int_equal(held_rejoin(&rig), 0); // now it is nothing but a bad record
    assert_int_equal(access(path_of("rec"), F_OK), -1);
    assert_int_equal(access(path_of("bad"), F_OK), 0);
    rig_close(&rig);
}

static void a_bad_record_is_put_aside(void **state)
{
    (void)state;
    struct viv_native_outsider all[LIST];
    char line[4096];
    CHECK(mkdir(held_dir, 0700) == 0);
    write_file(path_of("rec"), "no record", 9);
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 0);
    rig_expect_audit(&rig, "native.holder.bad_record", "UNSUPPORTED", line, sizeof line);
    assert_non_null(strstr(line, digest));
    assert_int_equal(list(all), 0);
    assert_int_equal(access(path_of("bad"), F_OK), 0);
    rig_close(&rig);
}

static void each_allocation_with_a_foreign_holder_fails_once(void **state)
{
    (void)state;
    struct viv_native_outsider all[LIST];
    uint32_t count;
    int missed = 0;
    bool was_hit = true;
    const pid_t pid = start_of_protocol(VIV_HOLD_PROTOCOL + 1, VIV_HOLD_PROTOCOL + 1);
    write_record("1");
    for (uint64_t n = 1; was_hit; n++) {
        assert_true(n < NTH_MAX);
        held_open(&rig);
        viv_sched_leave(rig.member);
        viv_alloc_fail_nth(n);
        const enum viv_err err = viv_native_rejoin(rig.native, rig.env, &count);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        CHECK(viv_sched_enter(viv_kernel_sched(rig.kernel), &rig.member) == VIV_OK);
        assert_true(err == VIV_OK || err == VIV_E_EXHAUSTED);
        assert_int_equal(count, 0);
        missed += list(all) == 0;
        assert_int_equal(held_count_files(), 2);
        rig_close(&rig);
    }
    assert_true(missed > 1);
    end_foreign(pid);
}

// ---- of an environment that does not run ----

static void sleep_long(struct told *told)
{
    held_request(&rig, "echo here; sleep 1000");
    rig_put_text(&rig, VIV_NATIVE_KEY_LABEL, "of another");
    held_begin(&rig, told);
}

// As if another environment had started it: its record says so.
static void move_records(const char *env)
{
    char command[5000], name[300], path[6000];
    static uint8_t data[1 << 16];
    struct viv_hold_rec rec;
    struct viv_buf bytes;
    (void)snprintf(command, sizeof command, "cd %s && ls *.rec", held_dir);
    FILE *file = popen(command, "r");
    CHECK(file != NULL && fscanf(file, "%299s", name) == 1);
    (void)pclose(file);
    (void)snprintf(path, sizeof path, "%s/%s", held_dir, name);
    file = fopen(path, "r");
    CHECK(file != NULL);
    const size_t len = fread(data, 1, sizeof data, file);
    (void)fclose(file);
    CHECK(viv_hold_rec_decode(data, len, &rec) == VIV_OK);
    rec.texts[VIV_HOLD_TEXT_ENV] = (struct viv_hold_text){env, (uint32_t)strlen(env)};
    viv_buf_init(&bytes, VIV_TAG_TEST);
    CHECK(viv_hold_rec_encode(&rec, &bytes) == VIV_OK);
    write_file(path, bytes.data, bytes.len_bytes);
    viv_buf_deinit(&bytes);
}

static uint32_t rejoin_other(struct viv_env **out_env)
{
    struct viv_env_limits limits;
    uint32_t count;
    viv_env_limits_default(&limits);
    viv_sched_leave(rig.member);
    CHECK(viv_env_new(rig.kernel, OTHER_ENV, &limits, out_env) == VIV_OK);
    CHECK(viv_room_add_env(rig.cap, *out_env, NULL) == VIV_OK);
    CHECK(viv_native_add_env(rig.native, *out_env, ".") == VIV_OK);
    CHECK(viv_native_rejoin(rig.native, *out_env, &count) == VIV_OK);
    CHECK(viv_sched_enter(viv_kernel_sched(rig.kernel), &rig.member) == VIV_OK);
    return count;
}

static void case_098_one_of_another_environment_waits_for_it(void **state)
{
    (void)state;
    struct told told;
    struct viv_native_outsider all[LIST];
    struct viv_native_exit exit;
    struct viv_env *env;
    char text[16], line[4096];
    held_in_a_kernel(&rig, sleep_long, &told);
    move_records("7");
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 0);
    assert_int_equal(list(all), 1);
    assert_int_equal(all[0].kind, VIV_NATIVE_ABSENT);
    assert_int_equal(all[0].number, told.number);
    assert_int_equal(all[0].environment, OTHER_ENV);
    assert_string_equal(all[0].label, "of another");
    assert_string_equal(viv_native_outside_name(all[0].kind), "no environment");
    check_untouched(told.number);
    assert_int_equal(held_rejoin(&rig), 0);
    assert_int_equal(list(all), 1); // once
    assert_int_equal(rejoin_other(&env), 1);
    rig_expect_audit(&rig, "native.rejoin", "OK", line, sizeof line);
    assert_int_equal(list(all), 0);
    rig.ctx.env = env;
    const struct viv_native_ref ref = held_by_id(&told);
    rig_await_output(&rig, &ref, 5);
    assert_int_equal(rig_kill(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.cause, VIV_CAUSE_KILL);
    assert_int_equal(rig_logs(&rig, &ref, 1, text, sizeof text), 5);
    held_close(&rig, &ref);
}

// It ends while nobody looks.
static void one_of_another_environment_that_has_gone(void **state)
{
    (void)state;
    struct viv_native_outsider all[LIST];
    CHECK(mkdir(held_dir, 0700) == 0);
    write_record("7");
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 0);
    assert_int_equal(list(all), 1);
    CHECK(unlink(path_of("rec")) == 0);
    assert_int_equal(list(all), 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_holder_of_another_protocol_is_listed, held_set_up),
        cmocka_unit_test_setup(a_holder_of_another_time_keeps_its_record, held_set_up),
        cmocka_unit_test_setup(a_bad_record_is_put_aside, held_set_up),
        cmocka_unit_test_setup(each_allocation_with_a_foreign_holder_fails_once, held_set_up),
        cmocka_unit_test_setup(case_098_one_of_another_environment_waits_for_it, held_set_up),
        cmocka_unit_test_setup(one_of_another_environment_that_has_gone, held_set_up),
    };
    return cmocka_run_group_tests_name("native.program_outside", tests, NULL, NULL);
}
