// SPDX-License-Identifier: Apache-2.0
// Standard streams: pipes, sockets and files in the place of descriptors 0 and 1 of this program
// while a kernel is made; then what comes out, in which order, and what waiting does to others.
#include "rig.h"

#include "guest_run.h"
#include "harness/check.h"
#include "os/fault.h"
#include "wasm/wasi_int.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum plug { PLUG_PIPE, PLUG_SOCKET };

static struct guest_kernel *kernel;
static struct viv_module *module;
static int saved[2];
static int ours[2]; // our ends: [0] writes to standard input, [1] reads standard output

// Puts `fd` in the place of descriptor `number`.
static void place(int number, int fd)
{
    saved[number] = dup(number);
    CHECK(saved[number] >= 0 && dup2(fd, number) == number);
    (void)close(fd);
}

static void unplace(int number)
{
    if (saved[number] < 0) return;
    CHECK(dup2(saved[number], number) == number);
    (void)close(saved[number]);
    saved[number] = -1;
}

static void make_ends(enum plug plug, int *out_reader, int *out_writer)
{
    int fds[2];
    if (plug == PLUG_PIPE)
        CHECK(pipe2(fds, O_CLOEXEC) == 0);
    else
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    *out_reader = fds[0];
    *out_writer = fds[1];
}

// A kernel whose standard input and output are such; descriptor 1 is put back at once, so that
// this program's own messages go where they belong.
static void plug_in(enum plug plug)
{
    int in, out;
    make_ends(plug, &in, &ours[0]);
    make_ends(plug, &ours[1], &out);
    fflush(stdout);
    place(0, in);
    place(1, out);
    kernel = guest_open(2);
    // The kernel may use 0 and 1 themselves (sockets), so they stay until unplug.
    module = guest_load(kernel, "wasi_stdio");
}

static void unplug(void)
{
    viv_module_drop(module);
    guest_close(kernel);
    unplace(0);
    unplace(1);
    for (int i = 0; i < 2; i++) {
        if (ours[i] >= 0) (void)close(ours[i]);
        ours[i] = -1;
    }
}

static struct guest_run *start(const char *what, const char *more)
{
    const char *args[] = {"stdio", what, more, NULL};
    struct viv_config *config = guest_config(args);
    struct guest_run *run = guest_start(kernel, module, config);
    viv_config_drop(config);
    return run;
}

// Reads exactly `len` bytes of the output; checks that they come within a time.
static void read_output(char *buf, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = read(ours[1], buf + at, len - at);
        CHECK(n > 0);
        at += (size_t)n;
    }
}

static void write_input(const char *text)
{
    CHECK(write(ours[0], text, strlen(text)) == (ssize_t)strlen(text));
}

// Processes that have or await the turn at a stream.
static int in_line(uint32_t fd)
{
    struct viv_turn *turn = viv_stdio__file(viv_runtime_stdio(kernel->runtime), fd)->turn;
    viv_spin_lock(&turn->lock);
    int count = turn->owner != NULL;
    for (struct viv_list *n = turn->waiting.next; n != &turn->waiting; n = n->next)
        count++;
    viv_spin_unlock(&turn->lock);
    return count;
}

static void wait_in_line(uint32_t fd, int count)
{
    CHECK_WAIT(in_line(fd) == count, 20, fprintf(stderr, "%d in line\n", in_line(fd)));
}

static void check_ended(struct guest_run *run)
{
    guest_wait(run, 30);
    if (run->kind != VIV_REASON_NORMAL) fprintf(stderr, "ended with %s\n", run->text);
    CHECK(run->kind == VIV_REASON_NORMAL);
}

static void slow_reader(enum plug plug)
{
    enum { LINES = 1 << 14 };
    char line[64], want[64];
    plug_in(plug);
    struct guest_run *writer = start("flood", "L");
    (void)usleep(100000); // until the pipe is full and the writer is parked
    CHECK(atomic_load(&writer->ended) == 0);
    struct guest_run *other[2] = {start("compute", ""), start("compute", "")};
    check_ended(other[0]); // nobody reads yet: they run all the same
    check_ended(other[1]);
    CHECK(atomic_load(&writer->ended) == 0);
    for (int i = 0; i < LINES; i++) {
        read_output(line, 64);
        (void)snprintf(want, sizeof(want), "L%07d", i);
        CHECK(memcmp(line, want, 8) == 0 && line[63] == '\n');
        if (i % 4096 == 0) (void)usleep(1000);
    }
    check_ended(writer);
    unplug();
}

static void a_slow_pipe_parks_its_writer(void **state)
{
    (void)state;
    slow_reader(PLUG_PIPE);
}

static void a_slow_socket_parks_its_writer(void **state)
{
    (void)state;
    slow_reader(PLUG_SOCKET);
}

static void bulk_through(enum plug plug)
{
    static char data[1 << 20];
    plug_in(plug);
    struct guest_run *run = start("bulk", "");
    read_output(data, sizeof(data));
    for (size_t i = 0; i < sizeof(data); i++)
        CHECK(data[i] == (char)('a' + i / 1000 % 26));
    check_ended(run);
    unplug();
}

static void a_large_write_is_whole_and_in_order(void **state)
{
    (void)state;
    bulk_through(PLUG_PIPE);
    bulk_through(PLUG_SOCKET);
}

// Blocks of equal bytes from four writers, none torn by another's.
static void check_unmixed(enum plug plug, const char *what, size_t len, size_t count)
{
    static char block[4096];
    static const char *const names[] = {"a", "b", "c", "d"};
    struct guest_run *runs[4];
    size_t seen[4] = {0};
    plug_in(plug);
    for (int i = 0; i < 4; i++)
        runs[i] = start(what, names[i]);
    for (size_t i = 0; i < 4 * count; i++) {
        read_output(block, len);
        CHECK(block[0] >= 'a' && block[0] <= 'd' && block[len - 1] == '\n');
        for (size_t k = 1; k < len - 1; k++)
            CHECK(block[k] == block[0]);
        seen[block[0] - 'a']++;
    }
    for (int i = 0; i < 4; i++) {
        check_ended(runs[i]);
        CHECK(seen[i] == count);
    }
    unplug();
}

static void small_writes_are_not_torn(void **state)
{
    (void)state;
    check_unmixed(PLUG_PIPE, "blocks", 4096, 100);
    check_unmixed(PLUG_SOCKET, "blocks", 4096, 100);
    check_unmixed(PLUG_PIPE, "short", 100, 1000);
    check_unmixed(PLUG_SOCKET, "short", 100, 1000);
}

static void killed_writers_leave_their_turn(void **state)
{
    (void)state;
    static char rest[1 << 20];
    plug_in(PLUG_PIPE);
    struct guest_run *first = start("blocks", "a");
    wait_in_line(1, 1);
    (void)usleep(50000); // until the pipe is full; if it is not yet, less is tested
    struct guest_run *second = start("blocks", "b");
    wait_in_line(1, 2);
    struct guest_run *third = start("blocks", "c");
    wait_in_line(1, 3);
    CHECK(guest_kill(first));  // has the turn, waits for the reader
    CHECK(guest_kill(second)); // waits for the turn
    guest_wait(first, 5);
    guest_wait(second, 5);
    size_t blocks_of_third = 0;
    for (; blocks_of_third < 100;) {
        read_output(rest, 4096);
        for (size_t k = 1; k < 4095; k++)
            CHECK(rest[k] == rest[0]);
        blocks_of_third += rest[0] == 'c';
    }
    check_ended(third);
    unplug();
}

static void readers_take_turns(enum plug plug)
{
    char text[64];
    plug_in(plug);
    struct guest_run *first = start("echo", "1:");
    wait_in_line(0, 1);
    struct guest_run *second = start("echo", "2:");
    wait_in_line(0, 2);
    write_input("one\n");
    read_output(text, 6);
    CHECK(memcmp(text, "1:one\n", 6) == 0);
    wait_in_line(0, 2); // the first has queued again behind the second
    write_input("two\n");
    read_output(text, 6);
    CHECK(memcmp(text, "2:two\n", 6) == 0);
    wait_in_line(0, 2);
    struct guest_run *third = start("echo", "3:");
    wait_in_line(0, 3);
    CHECK(guest_kill(first)); // has the turn
    guest_wait(first, 5);
    CHECK(first->kind == VIV_REASON_KILLED);
    write_input("three\n");
    read_output(text, 8);
    CHECK(memcmp(text, "2:three\n", 8) == 0);
    (void)close(ours[0]); // the end, for all
    ours[0] = -1;
    check_ended(second);
    check_ended(third);
    read_output(text, 8);
    CHECK(memcmp(text, "end\nend\n", 8) == 0);
    unplug();
}

static void readers_wait_in_line_and_all_see_the_end(void **state)
{
    (void)state;
    readers_take_turns(PLUG_PIPE);
    readers_take_turns(PLUG_SOCKET);
}

static void waiting_for_input_is_told(enum plug plug)
{
    char text[16];
    plug_in(plug);
    struct guest_run *run = start("wait", "");
    read_output(text, 6);
    (void)usleep(20000);
    write_input("abc");
    read_output(text, 3);
    CHECK(memcmp(text, "abc", 3) == 0);
    (void)usleep(20000);
    (void)close(ours[0]);
    ours[0] = -1;
    check_ended(run);
    unplug();
}

// The same where the system knows no RWF_NOWAIT for sockets: pool threads move the bytes.
static void pool_threads_do_the_same(void **state)
{
    (void)state;
    viv_fault_set("pwritev2", 1, EOPNOTSUPP);
    bulk_through(PLUG_SOCKET);
    viv_fault_set("pwritev2", 1, EOPNOTSUPP);
    check_unmixed(PLUG_SOCKET, "blocks", 4096, 100);
    viv_fault_set("pwritev2", 1, EOPNOTSUPP);
    slow_reader(PLUG_SOCKET);
    viv_fault_set("preadv2", 1, EOPNOTSUPP);
    readers_take_turns(PLUG_SOCKET);
    viv_fault_set("preadv2", 0, 0);
}

static void poll_waits_for_input(void **state)
{
    (void)state;
    waiting_for_input_is_told(PLUG_PIPE);
    waiting_for_input_is_told(PLUG_SOCKET);
}

static void nonblocking_reads_do_not_wait(void **state)
{
    (void)state;
    plug_in(PLUG_PIPE);
    check_ended(start("nonblocking", ""));
    unplug();
}

static void without_a_reader_the_writer_is_told(void **state)
{
    (void)state;
    plug_in(PLUG_PIPE);
    (void)close(ours[1]);
    ours[1] = -1;
    check_ended(start("broken", ""));
    unplug();
}

static void flags_of_inherited_streams_stay(void **state)
{
    (void)state;
    plug_in(PLUG_PIPE);
    check_ended(start("nonblocking", ""));
    CHECK((fcntl(0, F_GETFL) & O_NONBLOCK) == 0);
    CHECK((fcntl(1, F_GETFL) & O_NONBLOCK) == 0);
    unplug();
}

static void a_file_gets_all_bytes_at_its_offset(void **state)
{
    (void)state;
    enum { LINES = 1 << 14 };
    static char data[LINES * 64 + 16];
    char path[] = "out-XXXXXX";
    int out = mkstemp(path);
    CHECK(out >= 0 && write(out, "head", 4) == 4);
    fflush(stdout);
    saved[0] = -1;
    place(1, dup(out));
    kernel = guest_open(2);
    module = guest_load(kernel, "wasi_stdio");
    check_ended(start("flood", "F"));
    ours[0] = ours[1] = -1;
    unplug();
    CHECK(lseek(out, 0, SEEK_CUR) == LINES * 64 + 4); // shared with who started us
    CHECK(pread(out, data, sizeof(data), 0) == LINES * 64 + 4);
    CHECK(memcmp(data, "headF0000000", 12) == 0);
    CHECK(memcmp(data + 4 + 64 * (LINES - 1), "F0016383", 8) == 0);
    (void)close(out);
    (void)unlink(path);
}

static void captured_and_null_streams(void **state)
{
    (void)state;
    plug_in(PLUG_PIPE);
    const char *args[] = {"stdio", "types", NULL};
    struct viv_config *config = guest_config(args);
    guest_capture(config);
    struct guest_run *run = guest_start(kernel, module, config);
    check_ended(run);
    char *text = guest_output(run, 0);
    CHECK(strcmp(text, "0:0r 1:0w 2:0w ") == 0);
    guest_free_text(text);
    viv_config_drop(config);

    const char *flood[] = {"stdio", "flood", "", NULL};
    config = guest_config(flood);
    config->stdio = VIV_STDIO_CAPTURED;
    config->capture = viv_capture_new(1000, false);
    run = guest_start(kernel, module, config);
    check_ended(run);
    text = guest_output(run, 0);
    CHECK(strlen(text) == 1000 + 1 + strlen("\xe2\x80\xa6 output cut\n"));
    CHECK(strstr(text, "\n\xe2\x80\xa6 output cut\n") != NULL);
    guest_free_text(text);
    viv_config_drop(config);

    const char *silent[] = {"stdio", "silent", NULL};
    config = guest_config(silent);
    config->stdio = VIV_STDIO_NULL;
    check_ended(guest_start(kernel, module, config));
    viv_config_drop(config);
    unplug();
}

static void captured_bytes_can_pass_through(void **state)
{
    (void)state;
    static char data[100 * 4096];
    plug_in(PLUG_PIPE);
    const char *args[] = {"stdio", "blocks", "q", NULL};
    struct viv_config *config = guest_config(args);
    config->stdio = VIV_STDIO_CAPTURED;
    config->capture = viv_capture_new(1 << 20, true);
    struct guest_run *run = guest_start(kernel, module, config);
    viv_config_drop(config);
    read_output(data, sizeof(data));
    check_ended(run);
    char *text = guest_output(run, 0);
    CHECK(strlen(text) == sizeof(data) && memcmp(text, data, sizeof(data)) == 0);
    guest_free_text(text);
    unplug();
}

static void output_is_limited(void **state)
{
    (void)state;
    plug_in(PLUG_PIPE);
    const char *args[] = {"stdio", "flood", "", NULL};
    struct viv_config *config = guest_config(args);
    guest_capture(config);
    config->output_bytes = 6400;
    struct guest_run *run = guest_start(kernel, module, config);
    viv_config_drop(config);
    guest_wait(run, 20);
    CHECK(run->kind == VIV_REASON_LIMIT && run->code == VIV_LIMIT_OUTPUT);
    unplug();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_pipe_parks_its_writer),
        cmocka_unit_test(a_slow_socket_parks_its_writer),
        cmocka_unit_test(a_large_write_is_whole_and_in_order),
        cmocka_unit_test(small_writes_are_not_torn),
        cmocka_unit_test(killed_writers_leave_their_turn),
        cmocka_unit_test(readers_wait_in_line_and_all_see_the_end),
        cmocka_unit_test(pool_threads_do_the_same),
        cmocka_unit_test(poll_waits_for_input),
        cmocka_unit_test(nonblocking_reads_do_not_wait),
        cmocka_unit_test(without_a_reader_the_writer_is_told),
        cmocka_unit_test(flags_of_inherited_streams_stay),
        cmocka_unit_test(a_file_gets_all_bytes_at_its_offset),
        cmocka_unit_test(captured_and_null_streams),
        cmocka_unit_test(captured_bytes_can_pass_through),
        cmocka_unit_test(output_is_limited),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    rig_engine_signals();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
