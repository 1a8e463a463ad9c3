// SPDX-License-Identifier: Apache-2.0
// Runs programs through `viv-holder init`. Checks abort, since bodies of tests run in children too.
#include "box_rig.h"
#include "harness/check.h"
#include "native/probe.h"
#include "os/child.h"
#include "os/file.h"
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *build_dir(void)
{
    const char *dir = getenv("VIV_BUILD_DIR");
    return dir != NULL ? dir : "build/dev";
}

size_t box_count_fds(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static int open_holder(void)
{
    char path[512];
    const char *other = getenv("VIV_TEST_HOLDER");
    snprintf(path, sizeof path, "%s/viv-holder", build_dir());
    const int fd = viv_os_open(other != NULL ? other : path, O_RDONLY, 0);
    CHECK(fd >= 0);
    return fd;
}

void box_open(struct box *box)
{
    memset(box, 0, sizeof *box);
    CHECK(viv_launch_room_new(&box->room) == VIV_OK);
    box->holder_fd = open_holder();
    box->kernel_uid = geteuid();
    box->kernel_gid = getegid();
    snprintf(box->prog, sizeof box->prog, "%s/tests/viv-box-prog", build_dir());
    char *resolved = realpath(box->prog, NULL);
    CHECK(resolved != NULL);
    snprintf(box->prog, sizeof box->prog, "%s", resolved);
    free(resolved);
    snprintf(box->dir, sizeof box->dir, "/tmp/viv-box-XXXXXX");
    CHECK(mkdtemp(box->dir) != NULL);
    CHECK(chmod(box->dir, 0755) == 0);
    if (box->kernel_uid == 0) CHECK(chown(box->dir, BOX_NOBODY, BOX_NOBODY) == 0);
    const struct viv_probe probe = {.holder_fd = box->holder_fd,
                                    .cgroup_fd = -1,
                                    .has_user = box->kernel_uid == 0,
                                    .uid = BOX_NOBODY,
                                    .gid = BOX_NOBODY};
    viv_probe_host(box->room, &probe, &box->features);
}

void box_close(struct box *box)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", box->dir);
    CHECK(system(command) == 0);
    viv_os_close(box->holder_fd);
    viv_launch_room_free(box->room);
}

static void run_alone(void (*fn)(struct box *box))
{
    struct box box;
    box_open(&box);
    fn(&box);
    box_close(&box);
}

void box_for_each_user(void (*fn)(struct box *box))
{
    int status = -1;
    if (geteuid() != 0) {
        run_alone(fn);
        return;
    }
    run_alone(fn);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(setresgid(BOX_NOBODY, BOX_NOBODY, BOX_NOBODY) == 0);
        CHECK(setresuid(BOX_NOBODY, BOX_NOBODY, BOX_NOBODY) == 0);
        CHECK(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
        run_alone(fn);
        fflush(NULL);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// ------------------------------------------------------------------------------------ one program

void box_prepare(struct box *box, struct box_run *run, enum viv_native_sandbox level,
                 const char *const *words)
{
    memset(run, 0, sizeof *run);
    run->box = box;
    run->cgroup_fd = run->ready_fd = run->terminal_fd = run->stdin_fd = -1;
    run->outer_fd = run->init_fd = run->leader_fd = run->master_fd = run->output_fd = -1;
    run->link.fd = -1;
    run->path = box->prog;
    run->argv[0] = "box";
    for (int i = 0; words[i] != NULL; i++) {
        CHECK(i + 2 < BOX_ARGS);
        run->argv[i + 1] = words[i];
    }
    run->envp[0] = "PATH=/usr/bin:/bin";
    const int cwd_fd = viv_os_open(box->dir, O_PATH | O_DIRECTORY, 0);
    CHECK(cwd_fd >= 0);
    run->request = (struct viv_sandbox_request){
        .level = level,
        .cwd_fd = cwd_fd,
        .runtime = true,
        .tmp_bytes = 1 << 20,
        .has_user = box->kernel_uid == 0,
        .uid = BOX_NOBODY,
        .gid = BOX_NOBODY,
        .kernel_uid = box->kernel_uid,
        .kernel_gid = box->kernel_gid,
        .features = &box->features,
    };
}

static uint32_t count_of(const char *const *list)
{
    uint32_t count = 0;
    while (list[count] != NULL)
        count++;
    return count;
}

static void complete_plan(struct box_run *run)
{
    struct viv_plan *plan = &run->sandbox->plan;
    plan->path = run->path;
    plan->argv = run->argv;
    plan->envp = run->envp;
    plan->arg_count = count_of(run->argv);
    plan->env_count = count_of(run->envp);
    plan->umask = 022;
    plan->has_ready_fd = run->ready_fd >= 0;
    plan->controls_tty = run->terminal_fd >= 0;
    if (run->cgroup_fd >= 0) plan->rung = VIV_RUNG_CGROUP;
    if (run->change != NULL) run->change(plan);
}

static void note_event(struct box_run *run, const struct viv_init_event *event)
{
    switch (event->type) {
    case VIV_INIT_EVENT_NONE:
        break;
    case VIV_INIT_EVENT_INIT:
        run->init_fd = event->fd;
        run->is_init_known = true;
        break;
    case VIV_INIT_EVENT_TERMINAL:
        run->master_fd = event->fd;
        break;
    case VIV_INIT_EVENT_READY:
        run->is_ready = true;
        break;
    case VIV_INIT_EVENT_STARTED:
        run->is_started = true;
        run->leader_fd = event->fd;
        break;
    case VIV_INIT_EVENT_FAILED:
        run->is_failed = true;
        run->failed = event->failed;
        run->err = viv_init_failure(&run->sandbox->plan, &event->failed, &run->diag);
        break;
    case VIV_INIT_EVENT_EXIT:
        CHECK(!run->has_exit); // once
        run->has_exit = true;
        run->exit = event->exit;
        break;
    case VIV_INIT_EVENT_UNKILLABLE:
        run->is_unkillable = true;
        break;
    case VIV_INIT_EVENT_GONE:
        run->is_gone = true;
        run->cause = event->cause;
        break;
    case VIV_INIT_EVENT_CLOSED:
        run->is_closed = true;
        viv_init_link_close(&run->link);
        break;
    }
}

static void read_output(struct box_run *run, int *fd)
{
    const size_t room = sizeof run->output - 1 - run->output_len;
    const ssize_t n = viv_os_read(*fd, run->output + run->output_len, room);
    if (n == -EAGAIN) return;
    if (n <= 0) {
        viv_os_close(*fd);
        *fd = -1;
        return;
    }
    run->output_len += (size_t)n;
    run->output[run->output_len] = '\0';
}

static void look(struct box_run *run, int timeout_ms)
{
    struct pollfd fds[3] = {{.fd = run->link.fd, .events = POLLIN},
                            {.fd = run->leaves_output ? -1 : run->output_fd, .events = POLLIN},
                            {.fd = run->master_fd, .events = POLLIN}};
    CHECK(poll(fds, 3, timeout_ms) >= 0 || errno == EINTR);
    if (fds[1].revents != 0) read_output(run, &run->output_fd);
    if (fds[2].revents != 0) read_output(run, &run->master_fd);
    if (fds[0].revents != 0) {
        struct viv_init_event event;
        viv_init_link_next(&run->link, &event);
        note_event(run, &event);
    }
}

static void print_state(const struct box_run *run)
{
    fprintf(stderr, "ready %d started %d failed %d exit %d gone %d closed %d err %s: %s\n%s\n",
            run->is_ready, run->is_started, run->is_failed, run->has_exit, run->is_gone,
            run->is_closed, viv_err_name(run->err), run->diag.text, run->output);
}

void box_await(struct box_run *run, const bool *flag)
{
    CHECK_WAIT((look(run, 10), *flag || run->is_closed), 20, print_state(run));
    if (!*flag) print_state(run);
    CHECK(*flag);
}

void box_await_output(struct box_run *run, const char *text)
{
    CHECK_WAIT((look(run, 10), strstr(run->output, text) != NULL), 20, print_state(run));
}

static void await_start(struct box_run *run)
{
    const bool is_gated = run->sandbox->plan.is_gated;
    CHECK_WAIT((look(run, 10), run->is_started || run->is_closed || (is_gated && run->is_ready)),
               20, print_state(run));
}

void box_start(struct box_run *run)
{
    int holder_end, pipe_fds[2];
    run->err = viv_sandbox_new(&run->request, &run->sandbox, &run->diag);
    if (run->err != VIV_OK) return;
    complete_plan(run);
    CHECK(viv_init_link_open(&run->link, &holder_end) == VIV_OK);
    CHECK(viv_os_pipe(pipe_fds) == 0);
    const int null_fd = viv_os_open("/dev/null", O_RDWR, 0);
    struct viv_init_fds fds = {.stdio = {null_fd, pipe_fds[1], pipe_fds[1]},
                               .ready_fd = run->ready_fd,
                               .cgroup_fd = run->cgroup_fd};
    if (run->stdin_fd >= 0) fds.stdio[0] = run->stdin_fd;
    for (int i = 0; i < 3 && run->terminal_fd >= 0; i++)
        fds.stdio[i] = run->terminal_fd;
    run->err = viv_init_link_send_plan(&run->link, &run->sandbox->plan, &fds);
    viv_os_close(null_fd);
    viv_os_close(pipe_fds[1]);
    run->output_fd = pipe_fds[0];
    CHECK(viv_os_set_nonblocking(run->output_fd) == 0);
    if (run->err != VIV_OK) {
        viv_os_close(holder_end);
        viv_init_link_close(&run->link);
        return;
    }
    const struct viv_init_start start = {.holder_fd = run->box->holder_fd,
                                         .socket_fd = holder_end,
                                         .cgroup_fd = run->is_inside ? run->cgroup_fd : -1,
                                         .cwd_fd = run->request.cwd_fd,
                                         .cpus = run->cpus};
    struct viv_launch_result result;
    viv_init_launch(run->box->room, &start, &result);
    viv_os_close(holder_end);
    CHECK(result.stage == VIV_STAGE_NONE);
    run->outer_fd = result.pidfd;
    await_start(run);
}

static void reap(int *pidfd)
{
    struct viv_child_end end;
    if (*pidfd < 0) return;
    CHECK(viv_os_poll_fd(*pidfd, POLLIN, 20000) > 0);
    CHECK(viv_os_child_reap(*pidfd, &end) == 0);
    viv_os_close(*pidfd);
    *pidfd = -1;
}

void box_finish(struct box_run *run)
{
    if (run->outer_fd >= 0) {
        CHECK_WAIT((look(run, 10), run->is_gone || run->is_failed || run->is_closed), 20,
                   print_state(run));
        if (run->link.fd >= 0 && run->is_gone) CHECK(viv_init_link_ack(&run->link) == VIV_OK);
        if (!run->is_closed) box_await(run, &run->is_closed);
    }
    while (run->output_fd >= 0)
        look(run, 100);
    viv_init_link_close(&run->link);
    reap(&run->init_fd);
    reap(&run->outer_fd);
    if (run->leader_fd >= 0) viv_os_close(run->leader_fd);
    if (run->master_fd >= 0) viv_os_close(run->master_fd);
    run->leader_fd = run->master_fd = -1;
    if (run->sandbox != NULL) viv_sandbox_free(run->sandbox);
    run->sandbox = NULL;
    viv_os_close(run->request.cwd_fd);
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD); // nobody is left
}

void box_go(struct box_run *run)
{
    box_start(run);
    box_finish(run);
}

bool box_has(const struct box_run *run, const char *line)
{
    const size_t len = strlen(line);
    for (const char *at = run->output; (at = strstr(at, line)) != NULL; at++)
        if ((at == run->output || at[-1] == '\n') && (at[len] == '\n' || at[len] == '\0'))
            return true;
    return false;
}

void box_expect(const struct box_run *run, const char *line)
{
    if (box_has(run, line)) return;
    fprintf(stderr, "no line `%s`\n", line);
    print_state(run);
    CHECK(false);
}
