// SPDX-License-Identifier: Apache-2.0
// Cases 96, 99, 100, 101: sleeping, nothing to read, ends, pointers; and the table of cases 95 to
// 102. Guest: guest/conform_wasi.c.
#include "wasi_cases.h"

#include "proc/proc.h"
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- what the cases share ----

void folder_open(struct folder *folder)
{
    CHECK(getcwd(folder->path, sizeof(folder->path) - 16) != NULL);
    strcat(folder->path, "/wasi-XXXXXX");
    CHECK(mkdtemp(folder->path) != NULL);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void folder_close(struct folder *folder)
{
    CHECK(nftw(folder->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

void folder_path(const struct folder *folder, const char *name, char out[PATH_MAX])
{
    const int len = snprintf(out, PATH_MAX, "%s/%s", folder->path, name);
    CHECK(len > 0 && len < PATH_MAX);
}

void folder_write(const struct folder *folder, const char *name, char byte, size_t len)
{
    char path[PATH_MAX];
    folder_path(folder, name, path);
    FILE *file = fopen(path, "we");
    CHECK(file != NULL);
    for (size_t i = 0; i < len; i++)
        CHECK(fputc(byte, file) == byte);
    CHECK(fclose(file) == 0);
}

void give_dir(struct world *world, const char *path)
{
    TRY(viv_config_add_dir(world->config, path, strlen(path), ".", 1));
}

int plug_pipe(int number)
{
    int fds[2];
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    const int theirs = number == 0 ? fds[0] : fds[1];
    CHECK(dup2(theirs, number) == number);
    CHECK(close(theirs) == 0);
    return number == 0 ? fds[1] : fds[0];
}

size_t bytes_in_pipe(int fd)
{
    int count = -1;
    CHECK(ioctl(fd, FIONREAD, &count) == 0 && count >= 0);
    return (size_t)count;
}

void kill_at_once(struct world *world, viv_pid pid)
{
    struct viv_qsbr_member *member;
    CHECK(!world_has_ended(world, pid));
    const uint64_t began_ns = viv_os_now_ns();
    TRY(viv_sched_enter(viv_kernel_sched(world->kernel), &member));
    CHECK(viv_proc_kill(world->env, pid));
    viv_sched_leave(member);
    const struct ended *ended = world_await(world, pid);
    check_reason(ended, VIV_REASON_KILLED, 0);
    const uint64_t took_ns = ended->time_ns - began_ns;
    if (took_ns >= check_limit_ns(1)) fprintf(stderr, "killed in %" PRIu64 " ns\n", took_ns);
    CHECK(took_ns < check_limit_ns(1));
}

// A process that looked again and again would have one of this machine's processors.
void check_idle(void)
{
    const uint64_t cpu_ns = conform_cpu_ns();
    viv_os_sleep_ns(300 * VIV_NS_PER_MS);
    const uint64_t used_ns = conform_cpu_ns() - cpu_ns;
    fprintf(stderr, "in 300 ms of waiting: %" PRIu64 " us of CPU time\n", used_ns / 1000);
    CHECK(used_ns < 100 * VIV_NS_PER_MS);
}

static viv_pid start(struct world *world, const char *entry)
{
    return world_start(world, world_module(world, GUEST), entry, NULL, 0);
}

// ---- 96 ----

static void case_096(struct world *world)
{
    enum { SLEEPERS_MAX = 16 };
    viv_pid sleepers[SLEEPERS_MAX];
    const uint32_t count = 4 * world->workers;
    CHECK(count <= SLEEPERS_MAX);
    const uint64_t began_ns = viv_os_now_ns();
    for (uint32_t i = 0; i < count; i++)
        sleepers[i] = start(world, "case_096_sleeper");
    (void)world_note(world, 1, count - 1); // each is about to sleep
    check_idle();
    world_run(world, GUEST, "computes");
    fprintf(stderr, "computed after %" PRIu64 " ms\n", (viv_os_now_ns() - began_ns) / 1000000);
    CHECK(viv_os_now_ns() - began_ns < 10 * VIV_NS_PER_SEC);
    for (uint32_t i = 0; i < count; i++)
        kill_at_once(world, sleepers[i]);
    CHECK(world_note_count(world, 2) == 0); // none woke
}

// ---- 99 ----

// The entry reads from where `source` writes: it parks and can be killed; others run; and what is
// written then comes to the next reader, whole.
static void check_parked_reader(struct world *world, const char *entry, int source)
{
    const size_t started = world_note_count(world, 1), read = world_note_count(world, 2);
    const viv_pid first = start(world, entry);
    (void)world_note(world, 1, started);
    check_idle();
    world_run(world, GUEST, "computes");
    kill_at_once(world, first);
    const viv_pid second = start(world, entry), third = start(world, entry);
    (void)world_note(world, 1, started + 2);
    viv_os_sleep_ns(50 * VIV_NS_PER_MS); // until both wait; if they do not yet, less is tested
    kill_at_once(world, second);
    CHECK(!world_has_ended(world, third));
    CHECK(world_note_count(world, 2) == read);
    CHECK(write(source, "hello", 5) == 5);
    check_reason(world_await(world, third), VIV_REASON_NORMAL, 0);
    const struct note *note = world_note(world, 2, read);
    CHECK(note->from == third.w);
    CHECK(strcmp((const char *)note->data, "hello") == 0);
}

static void case_099_stdin(struct world *world)
{
    const int source = plug_pipe(0);
    world_open(world);
    check_parked_reader(world, "case_099_stdin", source);
    check_parked_reader(world, "case_099_poll_stdin", source);
    world_check_no_failures(world);
    world_close(world);
}

static void case_099_fifo(struct world *world)
{
    struct folder folder;
    char path[PATH_MAX];
    folder_open(&folder);
    folder_path(&folder, "fifo", path);
    CHECK(mkfifo(path, 0666) == 0);
    world_open(world);
    give_dir(world, folder.path);
    world_run(world, GUEST, "case_099_open");
    const int source = open(path, O_RDWR | O_CLOEXEC); // so that the other side is always open
    CHECK(source >= 0);
    check_parked_reader(world, "case_099_fifo", source);
    check_parked_reader(world, "case_099_poll_fifo", source);
    world_check_no_failures(world);
    world_close(world);
    CHECK(close(source) == 0);
    folder_close(&folder);
}

// ---- 100 ----

struct main_start {
    _Atomic uint32_t done;
    enum viv_err err;
    viv_pid pid;
};

static void on_settled(void *arg, enum viv_err err, viv_pid pid, const char *text)
{
    struct main_start *main_start = arg;
    (void)text;
    main_start->err = err;
    main_start->pid = pid;
    atomic_store(&main_start->done, 1);
}

// Starts the entry as the first process of a program.
static const struct ended *run_as_main(struct world *world, const char *entry)
{
    struct main_start main_start = {.err = VIV_OK};
    const struct viv_program program = {.env = world->env,
                                        .module = world_module(world, GUEST),
                                        .config = world->config,
                                        .entry = entry,
                                        .settled = on_settled,
                                        .arg = &main_start};
    TRY(viv_runtime_start(world->runtime, &program, NULL));
    CHECK_WAIT(atomic_load(&main_start.done) != 0, 60, fprintf(stderr, "%s\n", entry));
    TRY(main_start.err);
    return world_await(world, main_start.pid);
}

// Exit statuses of the command are integ's; here the reasons they are made of.
static void case_100(struct world *world)
{
    check_reason(run_as_main(world, "case_100_exits_0"), VIV_REASON_NORMAL, 0);
    check_reason(run_as_main(world, "case_100_exits_3"), VIV_REASON_EXITED, 3);
    check_reason(run_as_main(world, "case_100_exits_300"), VIV_REASON_EXITED, 300);
    const struct ended *ended = run_as_main(world, "case_100_traps");
    CHECK(ended->kind == VIV_REASON_TRAP);
    check_text(ended, "unreachable");
}

// ---- 101 ----

static void case_101(struct world *world)
{
    struct folder folder;
    char path[PATH_MAX];
    folder_open(&folder);
    folder_path(&folder, "file", path);
    FILE *file = fopen(path, "we");
    CHECK(file != NULL && fputs("0123456789", file) >= 0 && fclose(file) == 0);
    folder_path(&folder, "dir", path);
    CHECK(mkdir(path, 0777) == 0);
    give_dir(world, folder.path);
    TRY(viv_config_add_arg(world->config, "main", 4));
    TRY(viv_config_add_env(world->config, "KEY", 3, "value", 5));
    world_run(world, GUEST, "case_101");
    folder_close(&folder);
}

static const struct conform_case cases[] = {
    {"case_095_slow_pipe", case_095, NULL, NULL, false, 0},
    {"case_096_sleepers", case_096, GUEST, NULL, false, 0},
    {"case_096_short_sleep", NULL, GUEST, "case_096_short", false, 0},
    {"case_097_dots", case_097_dots, FILES_GUEST, NULL, false, 0},
    {"case_097_absolute", case_097_absolute, FILES_GUEST, NULL, false, 0},
    {"case_097_symlink", case_097_symlink, FILES_GUEST, NULL, false, 0},
    {"case_097_swapped", case_097_swapped, FILES_GUEST, NULL, false, 0},
    {"case_098_thousand_files", case_098, FILES_GUEST, NULL, false, 0},
    {"case_098_changed_while_listed", case_098_changed, FILES_GUEST, NULL, false, 0},
    {"case_098_cut_entries", case_098_cut, FILES_GUEST, NULL, false, 0},
    {"case_099_stdin", case_099_stdin, NULL, NULL, false, 0},
    {"case_099_fifo", case_099_fifo, NULL, NULL, false, 0},
    {"case_100_exits", case_100, GUEST, NULL, true, 0},
    {"case_101_pointers", case_101, GUEST, NULL, true, 0},
    {"case_102_captured", case_102_captured, NULL, NULL, false, 0},
    {"case_102_unmixed_pipe", case_102_unmixed_pipe, NULL, NULL, false, 0},
    {"case_102_unmixed_socket", case_102_unmixed_socket, NULL, NULL, false, 0},
};

const struct conform_area conform_wasi = {"wasi", cases, VIV_COUNT_OF(cases)};
