// SPDX-License-Identifier: Apache-2.0
// `viv-holder hold` with a real program: kernels come, are killed and come again.
#include "cm.h"
#include "harness/check.h"
#include "hold_rig.h"
#include "os/file.h"
#include "os/tree.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct hold_rig rig;
static struct hold_kernel one, two;

static int set_up(void **state)
{
    (void)state;
    hold_rig_open(&rig);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hold_rig_close(&rig);
    return 0;
}

static void n98_a_program_is_held(void **state)
{
    (void)state;
    static const char *const words[] = {"ids", "exit=3", NULL};
    hold_start(&rig, &one, words);
    hold_await_phase(&one, VIV_NATIVE_EXITED);
    const struct viv_hold_exit *exit = &one.state.exit;
    CHECK(exit->kind == VIV_NATIVE_EXITED_BY_ITSELF);
    CHECK(exit->cause == VIV_CAUSE_SELF);
    CHECK(exit->code == 3);
    CHECK(one.state.eof == 3);
    char text[256];
    uint64_t offset = 0;
    const size_t len = hold_read(&one, 0, &offset, text, (size_t)exit->received[0], 5);
    CHECK(len == exit->received[0]);
    CHECK(memcmp(text, "uid=", 4) == 0);
    hold_release(&rig, &one);
}

// ------------------------------------------------------------------------------------------ alone

static void expect_link(const char *of, const char *target)
{
    char path[64], text[128] = "";
    snprintf(path, sizeof path, "/proc/%d/%s", rig.holder, of);
    const ssize_t n = readlink(path, text, sizeof text - 1);
    if (geteuid() != 0) { // it lets nobody look but the superuser
        CHECK(n < 0 && errno == EACCES);
        return;
    }
    CHECK(n > 0);
    if (strcmp(text, target) != 0) fprintf(stderr, "%s: %s\n", path, text);
    CHECK(strcmp(text, target) == 0);
}

static void n98_the_holder_belongs_to_nobody(void **state)
{
    (void)state;
    static const char *const words[] = {"count=1000", NULL};
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE};
    struct viv_proc_stat stat;
    hold_start(&rig, &one, words);
    CHECK(viv_os_proc_stat(rig.holder, &stat) >= 0);
    CHECK(stat.parent == getpid()); // who takes orphans; rig.c has seen its parent end
    CHECK(stat.session == rig.holder && getpgid(rig.holder) == rig.holder);
    expect_link("cwd", "/");
    expect_link("fd/0", "/dev/null");
    expect_link("fd/1", "/dev/null");
    expect_link("fd/2", "/dev/null");
    for (size_t i = 0; i < VIV_COUNT_OF(numbers); i++)
        CHECK(kill(rig.holder, numbers[i]) == 0);
    CHECK(hold_says(&one, "\n20\n"));
    CHECK(viv_os_proc_stat(rig.holder, &stat) >= 0 && stat.state != 'Z');
    hold_finish(&rig, &one);
}

// The sum of the numbers that these fields of /proc/PID/status have.
static uint64_t status_of(pid_t pid, const char *const fields[2])
{
    char path[64], line[128];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        for (int i = 0; i < 2; i++)
            if (strncmp(line, fields[i], strlen(fields[i])) == 0)
                sum += strtoull(line + strlen(fields[i]), NULL, 10);
    fclose(file);
    return sum;
}

// Of its own: what it has written to. The file's pages are shared by all holders and inits.
static uint64_t private_kib(pid_t pid)
{
    static const char *const fields[] = {"RssAnon:", "RssShmem:"};
    const uint64_t kib = status_of(pid, fields);
    CHECK(kib > 0);
    return kib;
}

static uint64_t wake_ups(pid_t pid)
{
    static const char *const fields[] = {"voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"};
    return status_of(pid, fields);
}

static void n98_it_costs_little(void **state)
{
    (void)state;
    static const char *const words[] = {"deaf", NULL};
    hold_start(&rig, &one, words);
    CHECK(hold_says(&one, "deaf"));
    CHECK(private_kib(rig.holder) <= 256);
    CHECK(private_kib(rig.init) <= 256);
    hold_finish(&rig, &one);
}

// A program that does nothing wakes nobody, whether somebody is attached or not.
static void n98_it_sleeps_when_nothing_happens(void **state)
{
    (void)state;
    static const char *const words[] = {"deaf", NULL};
    hold_start(&rig, &one, words);
    CHECK(hold_says(&one, "deaf"));
    for (int is_attached = 1; is_attached >= 0; is_attached--) {
        if (!is_attached) hold_detach(&one);
        usleep(200000); // it has settled, however slow the machine is
        const uint64_t before = wake_ups(rig.holder);
        CHECK(before > 0);
        usleep(500000);
        CHECK(wake_ups(rig.holder) - before <= 2);
    }
    CHECK(hold_attach(&rig, &one, 2));
    hold_finish(&rig, &one);
}

// -------------------------------------------------------------------------------------- unbroken

enum { KILLS = 20 };

struct told {
    uint64_t offset; // a kernel has read up to here
    pid_t leader;
    uint64_t generation;
};

// One of twenty: attaches, reads on, says so, and waits for its end.
static void be_kernel(uint64_t epoch, uint64_t offset, int out_fd)
{
    char bytes[16];
    CHECK(hold_attach(&rig, &two, epoch));
    CHECK(hold_read(&two, 0, &offset, bytes, sizeof bytes, 20) == sizeof bytes);
    const struct told told = {offset, two.state.leader, two.hello.generation};
    CHECK(viv_os_write(out_fd, &told, sizeof told) == sizeof told);
    for (;;)
        pause();
}

// Odd ones are killed wherever they are, the others when they have read something.
static void live_and_die(uint64_t epoch, struct told *told)
{
    int fds[2];
    CHECK(viv_os_pipe(fds) == 0);
    const pid_t pid = hold_fork();
    if (pid == 0) be_kernel(epoch, told->offset, fds[1]);
    viv_os_close(fds[1]);
    if (epoch % 2 != 0)
        usleep((unsigned)(epoch * 137 % 3000));
    else
        CHECK(viv_os_read(fds[0], told, sizeof *told) == sizeof *told);
    hold_kill(pid);
    viv_os_close(fds[0]);
}

static void check_count(const uint8_t *bytes, size_t len)
{
    char line[32];
    size_t at = 0;
    for (unsigned long i = 0; at < len; i++) {
        const size_t n = (size_t)snprintf(line, sizeof line, "%lu\n", i);
        const size_t here = n < len - at ? n : len - at;
        CHECK(memcmp(bytes + at, line, here) == 0);
        at += here;
    }
}

static void n98_twenty_kernels_are_killed(void **state)
{
    (void)state;
    static const char *const words[] = {"count=500", NULL};
    static uint8_t bytes[1 << 16];
    struct told told = {0, 0, 0};
    hold_kill(hold_start_elsewhere(&rig, words));
    for (uint64_t i = 0; i < KILLS; i++) {
        const uint64_t before = told.offset;
        live_and_die(2 + i, &told);
        if (i % 2 != 0) continue;
        CHECK(told.offset > before);
        CHECK(told.leader == rig.leader && told.generation == rig.birth.numbers.generation);
    }
    CHECK(hold_attach(&rig, &one, 2 + KILLS));
    CHECK(one.state.phase == VIV_NATIVE_RUNNING && one.state.leader == rig.leader);
    CHECK(viv_os_pidfd_number(one.leader_fd) == rig.leader);
    uint64_t offset = 0;
    const size_t len = hold_read(&one, 0, &offset, bytes, (size_t)told.offset + 100, 20);
    CHECK(len == told.offset + 100 && offset == len);
    check_count(bytes, len);
    hold_finish(&rig, &one);
}

// ---------------------------------------------------------------------------------- nobody there

static void touch_file(const char *path)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1);
    close(fd);
}

static void check_record(const struct viv_hold_rec *rec)
{
    const struct viv_hold_exit *exit = &rec->end.exit;
    CHECK(exit->kind == VIV_NATIVE_EXITED_BY_ITSELF && exit->cause == VIV_CAUSE_SELF);
    CHECK(exit->code == 7 && exit->flags == 0 && exit->incarnation == 1);
    CHECK(exit->user_us + exit->system_us >= 50000 && exit->peak_bytes > 0);
    CHECK(exit->duration_ns >= 50 * VIV_NS_PER_MS);
    CHECK(exit->ended_wall_ns >= exit->started_wall_ns + 50 * VIV_NS_PER_MS);
    CHECK(exit->received[0] == 300000 && exit->evicted[0] == 0 && exit->drained[0] == 0);
    CHECK(exit->received[1] == 0);
    CHECK(exit->stdin_accepted == 5 && exit->stdin_delivered == 5);
    CHECK(rec->end.eof == 3 && rec->end.flags == (VIV_HOLD_STATE_READY | VIV_HOLD_STATE_EXIT));
    CHECK(rec->end.output_bytes == 300000 && rec->end.leader == 0);
    CHECK(rec->numbers.number == 7 && rec->texts[VIV_HOLD_TEXT_LABEL].len == 5);
    CHECK(rec->texts[VIV_HOLD_TEXT_PRELUDE].len == 0); // what it was told is not kept
}

static void n99_it_ends_while_nobody_is_there(void **state)
{
    (void)state;
    char until[128];
    const char *const words[] = {until, "burn=50", "spew=300000", "exit=7", NULL};
    static uint8_t bytes[300000];
    struct viv_hold_rec rec = {.has_end = false};
    void *data = NULL;
    snprintf(until, sizeof until, "until=%s/go", rig.box.dir);
    rig.has_stdin = true;
    rig.birth.texts[VIV_HOLD_TEXT_PRELUDE] = (struct viv_hold_text){"12345", 5};
    const pid_t kernel = hold_start_elsewhere(&rig, words);
    CHECK(hold_read_record(&rig, &rec, &data) && !rec.has_end);
    hold_kill(kernel);
    touch_file(until + strlen("until="));
    CHECK_WAIT((free(data), data = NULL, hold_read_record(&rig, &rec, &data)) && rec.has_end, 20,
               fprintf(stderr, "no end\n"));
    check_record(&rec);
    CHECK(hold_attach(&rig, &one, 2));
    CHECK(one.state.phase == VIV_NATIVE_EXITED && one.leader_fd == -1);
    CHECK(memcmp(&one.state.exit, &rec.end.exit, sizeof rec.end.exit) == 0);
    CHECK(one.state.sequence == rec.end.sequence);
    uint64_t offset = 0;
    CHECK(hold_read(&one, 0, &offset, bytes, sizeof bytes, 20) == sizeof bytes);
    hold_check_bytes(bytes, 0, sizeof bytes);
    free(data);
    hold_release(&rig, &one);
}

static void n99_it_has_gone_before_it_was_handed_over(void **state)
{
    (void)state;
    static const char *const words[] = {"exit=9", NULL};
    rig.ends_early = true;
    hold_start(&rig, &one, words);
    hold_await_phase(&one, VIV_NATIVE_EXITED);
    CHECK(one.state.exit.kind == VIV_NATIVE_EXITED_BY_ITSELF && one.state.exit.code == 9);
    hold_release(&rig, &one);
}

// ------------------------------------------------------------------------------------------ stdin

enum { ROUNDS = 12, LINE_BYTES = 16 };

static void send_lines(uint32_t round, _Atomic uint32_t *acked)
{
    char line[LINE_BYTES + 1];
    const struct viv_hold_stdin how = {.mode = VIV_STDIN_ALL};
    CHECK(hold_attach(&rig, &two, 2 + round));
    for (uint32_t i = 0;; i++) {
        snprintf(line, sizeof line, "%04u %010u\n", round, i);
        enum viv_err err = VIV_E_FULL;
        while (err == VIV_E_FULL)
            err = (enum viv_err)hold_ask(&two, VIV_HOLD_STDIN, &how, line, LINE_BYTES).err;
        CHECK(err == VIV_OK);
        atomic_store(acked, i + 1);
    }
}

// Lines of a round are those that were acknowledged, and at most the one under way.
static void check_lines(const char *bytes, size_t len, _Atomic uint32_t *acked)
{
    uint32_t counts[ROUNDS] = {0}, last_round = 0;
    CHECK(len % LINE_BYTES == 0);
    for (size_t at = 0; at < len; at += LINE_BYTES) {
        unsigned round, number;
        CHECK(sscanf(bytes + at, "%4u %10u", &round, &number) == 2);
        CHECK(round < ROUNDS && round >= last_round && number == counts[round]);
        counts[round]++;
        last_round = round;
    }
    for (uint32_t i = 0; i < ROUNDS; i++) {
        const uint32_t sure = atomic_load(&acked[i]);
        CHECK(counts[i] == sure || counts[i] == sure + 1);
    }
}

static void n100_acknowledged_input_arrives_once(void **state)
{
    (void)state;
    static const char *const words[] = {"echo", NULL};
    const struct viv_hold_number drains = {1};
    uint32_t sum = 0;
    _Atomic uint32_t *acked =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(acked != MAP_FAILED);
    rig.has_stdin = true;
    rig.birth.numbers.flags |= VIV_HOLD_KEEPS_STDIN;
    rig.birth.numbers.ring_bytes = 16 << 20;
    hold_kill(hold_start_elsewhere(&rig, words));
    for (uint32_t round = 0; round < ROUNDS; round++) {
        const pid_t pid = hold_fork();
        if (pid == 0) send_lines(round, &acked[round]);
        CHECK_WAIT(atomic_load(&acked[round]) > round * 7, 20, fprintf(stderr, "%u\n", round));
        hold_kill(pid);
        sum += atomic_load(&acked[round]);
    }
    CHECK(hold_attach(&rig, &one, 2 + ROUNDS));
    CHECK(one.state.stdin_accepted >= sum * LINE_BYTES);
    CHECK(hold_order(&one, VIV_HOLD_CLOSE_STDIN, &drains) == VIV_OK);
    hold_await_phase(&one, VIV_NATIVE_EXITED);
    const struct viv_hold_exit *exit = &one.state.exit;
    CHECK(exit->stdin_delivered == exit->stdin_accepted && exit->evicted[0] == 0);
    CHECK(exit->received[0] == exit->stdin_delivered);
    char *bytes = malloc(exit->received[0] + 1);
    uint64_t offset = 0;
    CHECK(bytes != NULL);
    CHECK(hold_read(&one, 0, &offset, bytes, exit->received[0], 20) == exit->received[0]);
    bytes[exit->received[0]] = '\0';
    check_lines(bytes, exit->received[0], acked);
    free(bytes);
    munmap((void *)acked, 4096);
    hold_release(&rig, &one);
}

// -------------------------------------------------------------------------------- end of the
// holder

// The tree: a leader, and somebody who has left its group.
static void kill_holder(bool is_attached)
{
    char file[128], daemon[160];
    const char *const words[] = {daemon, "count=1000", NULL};
    struct stat stat;
    struct viv_hold_rec rec;
    void *data;
    snprintf(file, sizeof file, "%s/daemon%d", rig.box.dir, is_attached);
    snprintf(daemon, sizeof daemon, "daemon=%s", file);
    const pid_t kernel = hold_start_elsewhere(&rig, words);
    if (!is_attached) hold_kill(kernel);
    CHECK_WAIT(lstat(file, &stat) == 0 && stat.st_size > 1, 20, fprintf(stderr, "no daemon\n"));
    CHECK(kill(rig.holder, SIGKILL) == 0);
    if (is_attached) {
        CHECK_WAIT(kill(rig.leader, 0) != 0 && errno == ESRCH, 20, fprintf(stderr, "lives\n"));
        hold_kill(kernel);
    }
    hold_await_nobody(); // the daemon, too
    CHECK(hold_read_record(&rig, &rec, &data) && !rec.has_end);
    CHECK(rec.numbers.number == 7);
    free(data);
    CHECK(hold_has_file(&rig, "sock") && !hold_connect(&rig, &one));
    hold_remove_files(&rig);
}

static void n103_the_holder_is_killed_attached(void **state)
{
    (void)state;
    kill_holder(true);
}

static void n103_the_holder_is_killed_detached(void **state)
{
    (void)state;
    kill_holder(false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(n98_a_program_is_held),
        TEST(n98_the_holder_belongs_to_nobody),
        TEST(n98_it_costs_little),
        TEST(n98_it_sleeps_when_nothing_happens),
        TEST(n98_twenty_kernels_are_killed),
        TEST(n99_it_ends_while_nobody_is_there),
        TEST(n99_it_has_gone_before_it_was_handed_over),
        TEST(n100_acknowledged_input_arrives_once),
        TEST(n103_the_holder_is_killed_attached),
        TEST(n103_the_holder_is_killed_detached),
    };
    return cmocka_run_group_tests_name("native.hold", tests, NULL, NULL);
}
