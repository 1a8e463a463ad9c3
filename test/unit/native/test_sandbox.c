// SPDX-License-Identifier: Apache-2.0
// Programs in sandboxes: what is refused, what works, what they see. As root and as nobody.
#include "box_rig.h"
#include "cm.h"
#include "harness/check.h"
#include "native/probe.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct box_run run;

static void go(struct box *box, enum viv_native_sandbox level, const char *const *words)
{
    box_prepare(box, &run, level, words);
    box_go(&run);
    CHECK(run.err == VIV_OK);
}

// Each word is answered by the same errno.
static void expect_each(const char *const *words, const char *answer)
{
    for (int i = 0; words[i] != NULL; i++) {
        char line[600];
        snprintf(line, sizeof line, "%s: %s", words[i], answer);
        box_expect(&run, line);
    }
}

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
    CHECK(chmod(path, 0666) == 0);
}

// Who the sandboxed are: nobody, as a test of root; else the one who tests.
static unsigned own_uid(void)
{
    return geteuid() == 0 ? BOX_NOBODY : geteuid();
}
static unsigned own_gid(void)
{
    return geteuid() == 0 ? BOX_NOBODY : getegid();
}
static const char *own_ids(const char *rest)
{
    static char line[128];
    (void)snprintf(line, sizeof line, "uid=%u gid=%u euid=%u%s", own_uid(), own_gid(), own_uid(),
                   rest);
    return line;
}
static const char *own_account(void)
{
    static char line[128];
    (void)snprintf(line, sizeof line, "viv:x:%u:%u::/tmp:/bin/sh", own_uid(), own_gid());
    return line;
}

// The path as a word: "read=" and it.
static const char *word(const char *head, const char *dir, const char *name)
{
    static char texts[16][256];
    static unsigned next;
    char *text = texts[next++ % VIV_COUNT_OF(texts)];
    snprintf(text, sizeof texts[0], "%s%s%s", head, dir, name);
    return text;
}

// ----------------------------------------------------------------------------------- system calls

static void default_refuses_calls(struct box *box)
{
    static const char *const refused[] = {
        "mount",        "umount",  "open_tree", "fsopen",        "pivot",        "chroot",
        "unshare_user", "setns",   "bpf",       "unshare_mount", "clone_user",   "ptrace_parent",
        "ptrace_child", "vm_read", "keyctl",    "userfaultfd",   "personality",  "mknod",
        "packet",       "vsock",   "tiocsti",   "set_host_name", "tiocsti_high", "swapoff",
        "handle",       NULL};
    static const char *const hidden[] = {"clone3", "io_uring", NULL};
    static const char *const works[] = {"netlink", "threads", "fork", "loopback", "set_name", NULL};
    go(box, VIV_NATIVE_SANDBOX_DEFAULT, refused);
    expect_each(refused, "EPERM");
    go(box, VIV_NATIVE_SANDBOX_DEFAULT, hidden);
    expect_each(hidden, "ENOSYS");
    go(box, VIV_NATIVE_SANDBOX_DEFAULT, works);
    expect_each(works, "ok");
    CHECK(run.has_exit && !run.exit.is_signaled && run.exit.code == 0);
}

static void strict_permits_a_list(struct box *box)
{
    static const char *const refused[] = {"mount",      "chroot",  "keyctl",     "ptrace_child",
                                          "netlink",    "packet",  "prctl_caps", "set_host_name",
                                          "clone_user", "tiocsti", "setuid",     NULL};
    static const char *const unknown[] = {"no_call", "clone3", "io_uring", NULL};
    static const char *const works[] = {"threads", "fork", "loopback", "set_name", NULL};
    const struct viv_sandbox_grant prog = {VIV_NATIVE_GRANT_EXEC, box->prog};
    const char *const *const lists[] = {refused, unknown, works};
    static const char *const answers[] = {"EPERM", "ENOSYS", "ok"};
    for (size_t i = 0; i < VIV_COUNT_OF(lists); i++) {
        box_prepare(box, &run, VIV_NATIVE_SANDBOX_STRICT, lists[i]);
        run.request.grants = &prog;
        run.request.grant_count = 1;
        box_go(&run);
        CHECK(run.err == VIV_OK);
        expect_each(lists[i], answers[i]);
    }
}

static void x32_kills(struct box *box)
{
#ifdef __x86_64__
    static const char *const words[] = {"x32", NULL};
    go(box, VIV_NATIVE_SANDBOX_DEFAULT, words);
    CHECK(run.exit.is_signaled && run.exit.code == 31); // SIGSYS
#else
    (void)box;
#endif
}

// Ways out through /proc and what the host tells or takes there.
static void proc_is_no_way_out(struct box *box)
{
    static const char *const words[] = {"list=/proc/1/root",
                                        "list=/proc/1/cwd",
                                        "read=/proc/1/environ",
                                        "read=/proc/1/mem",
                                        "exec=/proc/1/exe",
                                        "list=/proc/1/fd",
                                        "write=/proc/1/oom_score_adj",
                                        "write=/proc/sys/kernel/core_pattern",
                                        "write=/proc/sys/kernel/hostname",
                                        "write=/proc/sysrq-trigger",
                                        "write=/proc/self/uid_map",
                                        "write=/proc/self/setgroups",
                                        "write=/sys/kernel/mm/transparent_hugepage/enabled",
                                        "read=/proc/kcore",
                                        NULL};
    const struct viv_sandbox_grant prog = {VIV_NATIVE_GRANT_EXEC, box->prog};
    for (int level = VIV_NATIVE_SANDBOX_DEFAULT; level <= VIV_NATIVE_SANDBOX_STRICT; level++) {
        box_prepare(box, &run, (enum viv_native_sandbox)level, words);
        run.request.grants = &prog;
        run.request.grant_count = 1;
        box_go(&run);
        CHECK(run.err == VIV_OK && run.has_exit && run.exit.code == 0);
        for (int i = 0; words[i] != NULL; i++) {
            char line[128];
            snprintf(line, sizeof line, "%s: ok", words[i]);
            if (box_has(&run, line)) print_message("level %d: %s\n", level, line);
            CHECK(!box_has(&run, line) && strstr(run.output, words[i]) != NULL);
        }
    }
}

// ------------------------------------------------------------------------------------------ files

static void default_confines_files(struct box *box)
{
    char secret[] = "/tmp/viv-secret-XXXXXX";
    CHECK(mkdtemp(secret) != NULL && chmod(secret, 0777) == 0);
    put_file(secret, "/file", "secret");
    put_file(box->dir, "/own", "own");
    char link[256];
    snprintf(link, sizeof link, "%s/link", box->dir);
    CHECK(symlink(word(secret, "/file", ""), link) == 0);
    const char *const words[] = {word("write=", box->dir, "/new"),
                                 word("read=", box->dir, "/own"),
                                 "write=/tmp/private",
                                 "write=/var/tmp/private",
                                 "write=/dev/shm/private",
                                 "write=/dev/null",
                                 "read=/dev/urandom",
                                 "read=/etc/passwd",
                                 "read=/usr/bin/env",
                                 word("read=", secret, "/file"),
                                 word("write=", secret, "/file"),
                                 word("read=", link, ""),
                                 "write=/etc/new",
                                 "write=/usr/bin/env",
                                 "write=/new",
                                 "truncate=/etc/passwd",
                                 "symlink=/etc/link",
                                 NULL};
    go(box, VIV_NATIVE_SANDBOX_DEFAULT, words);
    const char *const *at = words;
    const char *const fine[] = {at[0], at[1], at[2], at[3], at[4],
                                at[5], at[6], at[7], at[8], NULL};
    const char *const absent[] = {at[9], at[10], at[11], NULL};
    expect_each(fine, "ok");
    expect_each(absent, "ENOENT");
    // Landlock or the mount refuses: either will do.
    for (int i = 12; words[i] != NULL; i++) {
        char line[300];
        snprintf(line, sizeof line, "%s: ok", words[i]);
        CHECK(!box_has(&run, line) && strstr(run.output, words[i]) != NULL);
    }
    CHECK(access(word(box->dir, "/new", ""), F_OK) == 0);
    CHECK(access("/tmp/private", F_OK) != 0);
    CHECK(unlink(word(secret, "/file", "")) == 0 && rmdir(secret) == 0);
    CHECK(unlink(link) == 0);
}

static void grants_and_hidden_paths(struct box *box)
{
    char dirs[4][128];
    static const char *const names[] = {"/ro", "/rw", "/rw/hidden", "/cwd"};
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++) {
        snprintf(dirs[i], sizeof dirs[i], "%s%s", box->dir, names[i]);
        CHECK(mkdir(dirs[i], 0777) == 0 && chmod(dirs[i], 0777) == 0);
        put_file(dirs[i], "/file", "x");
    }
    put_file(dirs[1], "/token", "secret");
    const char *const words[] = {word("read=", dirs[0], "/file"),
                                 word("read=", dirs[1], "/file"),
                                 word("write=", dirs[1], "/new"),
                                 word("write=", dirs[3], "/new"),
                                 word("list=", dirs[2], ""),
                                 "cwd",
                                 word("read=", dirs[2], "/file"),
                                 word("write=", dirs[0], "/file"),
                                 word("write=", dirs[2], "/file"),
                                 word("cat=", dirs[1], "/token"),
                                 NULL};
    const struct viv_sandbox_grant grants[] = {{VIV_NATIVE_GRANT_RW, dirs[1]},
                                               {VIV_NATIVE_GRANT_RO, dirs[0]},
                                               {VIV_NATIVE_GRANT_EXEC, box->prog}};
    const char *const hides[] = {dirs[2], word(dirs[1], "/token", ""), "/nonexistent/path"};
    for (int level = VIV_NATIVE_SANDBOX_DEFAULT; level <= VIV_NATIVE_SANDBOX_STRICT; level++) {
        box_prepare(box, &run, (enum viv_native_sandbox)level, words);
        close(run.request.cwd_fd);
        run.request.cwd_fd = open(dirs[3], O_PATH | O_DIRECTORY | O_CLOEXEC);
        run.request.grants = grants;
        run.request.grant_count = 3;
        run.request.hides = hides;
        run.request.hide_count = 3;
        box_go(&run);
        CHECK(run.err == VIV_OK);
        const char *const fine[] = {words[0], words[1], words[2], words[3], words[4], NULL};
        expect_each(fine, "ok");
        box_expect(&run, word("cwd: ", dirs[3], ""));
        box_expect(&run, word(words[6], ": ENOENT", ""));
        for (int i = 7; i < 9; i++)
            CHECK(!box_has(&run, word(words[i], ": ok", "")));
        CHECK(strstr(run.output, "secret") == NULL);
        CHECK(unlink(word(dirs[1], "/new", "")) == 0 && unlink(word(dirs[3], "/new", "")) == 0);
    }
}

static enum viv_err refusal(struct box *box, const struct viv_sandbox_grant *grant,
                            const char *hide)
{
    static const char *const nothing[] = {NULL};
    box_prepare(box, &run, VIV_NATIVE_SANDBOX_DEFAULT, nothing);
    run.request.grants = grant;
    run.request.grant_count = grant != NULL;
    run.request.hides = &hide;
    run.request.hide_count = hide != NULL;
    box_go(&run);
    return run.err;
}

static void bad_grants_are_refused(struct box *box)
{
    char inner[128];
    snprintf(inner, sizeof inner, "%s/inner", box->dir);
    CHECK(mkdir(inner, 0755) == 0);
    const struct viv_sandbox_grant missing = {VIV_NATIVE_GRANT_RO, "/nonexistent"};
    const struct viv_sandbox_grant relative = {VIV_NATIVE_GRANT_RO, "etc"};
    const struct viv_sandbox_grant root = {VIV_NATIVE_GRANT_RO, "/"};
    const struct viv_sandbox_grant proc = {VIV_NATIVE_GRANT_RO, "/proc/self"};
    const struct viv_sandbox_grant within = {VIV_NATIVE_GRANT_RO, inner};
    CHECK(refusal(box, &missing, NULL) == VIV_E_INVAL && strncmp(run.diag.text, "path", 4) == 0);
    CHECK(refusal(box, &relative, NULL) == VIV_E_INVAL);
    CHECK(refusal(box, &root, NULL) == VIV_E_INVAL);
    CHECK(refusal(box, &proc, NULL) == VIV_E_DENIED);
    CHECK(refusal(box, &within, inner) == VIV_E_DENIED && strncmp(run.diag.text, "path", 4) == 0);
    CHECK(refusal(box, NULL, box->dir) == VIV_E_DENIED && strncmp(run.diag.text, "cwd", 3) == 0);
    CHECK(refusal(box, &within, NULL) == VIV_OK);
}

// What was resolved must still be there when it is mounted.
static void swap_source(struct viv_plan *plan)
{
    for (uint32_t i = 0; i < plan->step_count; i++)
        if (plan->steps[i].inode != 0) plan->steps[i].inode++;
}

static void a_source_exchanged_is_refused(struct box *box)
{
    static const char *const nothing[] = {NULL};
    box_prepare(box, &run, VIV_NATIVE_SANDBOX_DEFAULT, nothing);
    run.change = swap_source;
    box_go(&run);
    CHECK(run.err == VIV_E_INVAL && strncmp(run.diag.text, "path", 4) == 0);
    CHECK(!run.is_started);
}

static void cwd_below_tmp(struct box *box)
{
    const char *const words[] = {"cwd", "write=here", "list=/tmp", "cat=/proc/self/mounts", NULL};
    char other[] = "/tmp/viv-other-XXXXXX";
    CHECK(mkdtemp(other) != NULL && chmod(other, 0777) == 0);
    const char *const all[] = {words[0], words[1], words[2], word("list=", other, ""), NULL};
    go(box, VIV_NATIVE_SANDBOX_DEFAULT, all);
    box_expect(&run, word("cwd: ", box->dir, ""));
    box_expect(&run, "write=here: ok");
    box_expect(&run, word(all[3], ": ENOENT", ""));
    CHECK(access(word(box->dir, "/here", ""), F_OK) == 0);
    CHECK(rmdir(other) == 0);

    box_prepare(box, &run, VIV_NATIVE_SANDBOX_DEFAULT, words);
    run.request.cwd_ro = true;
    box_go(&run);
    CHECK(run.err == VIV_OK && !box_has(&run, "write=here: ok"));
}

static void strict_shows_little(struct box *box)
{
    char kernel[64]; // no number in the sandbox
    snprintf(kernel, sizeof kernel, "read=/proc/%d/status", getpid());
    const char *const words[] = {"list=/home",
                                 "list=/root",
                                 "list=/sys",
                                 "list=/var/lib",
                                 "read=/etc/shadow",
                                 "read=/etc/hostname",
                                 kernel,
                                 "read=/proc/meminfo",
                                 "read=/etc/passwd",
                                 "read=/etc/group",
                                 "read=/proc/self/status",
                                 "list=/usr/lib",
                                 "exec=/bin/true",
                                 "write=/tmp/file",
                                 "write=/dev/null",
                                 "list=/",
                                 "cat=/etc/passwd",
                                 NULL};
    const struct viv_sandbox_grant prog = {VIV_NATIVE_GRANT_EXEC, box->prog};
    box_prepare(box, &run, VIV_NATIVE_SANDBOX_STRICT, words);
    run.request.grants = &prog;
    run.request.grant_count = 1;
    box_go(&run);
    CHECK(run.err == VIV_OK);
    for (int i = 0; words[i] != NULL && i < 16; i++)
        box_expect(&run, word(words[i], i < 8 ? ": ENOENT" : ": ok", ""));
    box_expect(&run, own_account());

    run.argv[1] = NULL;
    box_prepare(box, &run, VIV_NATIVE_SANDBOX_STRICT, words + 15);
    run.request.grants = &prog;
    run.request.grant_count = 1;
    run.request.runtime = false;
    box_go(&run);
    CHECK(run.err == VIV_OK && box_has(&run, "list=/: ok"));
    CHECK(strstr(run.output, "viv:x") == NULL);
}

static void ro_grants_do_not_execute(struct box *box)
{
    const char *const words[] = {word("exec=", box->dir, "/tool"), NULL};
    char command[1200];
    snprintf(command, sizeof command, "cp '%s' '%s/tool'", box->prog, box->dir);
    CHECK(system(command) == 0);
    static const char *const answers[] = {": EACCES", ": ok", ": ok"};
    static const enum viv_native_grant modes[] = {VIV_NATIVE_GRANT_RO, VIV_NATIVE_GRANT_RW,
                                                  VIV_NATIVE_GRANT_EXEC};
    char elsewhere[] = "/tmp/viv-cwd-XXXXXX";
    CHECK(mkdtemp(elsewhere) != NULL);
    if (box->kernel_uid == 0) CHECK(chmod(elsewhere, 0755) == 0);
    for (int i = 0; i < 3; i++) {
        const struct viv_sandbox_grant grants[] = {{VIV_NATIVE_GRANT_EXEC, box->prog},
                                                   {modes[i], box->dir}};
        box_prepare(box, &run, VIV_NATIVE_SANDBOX_STRICT, words);
        close(run.request.cwd_fd);
        run.request.cwd_fd = open(elsewhere, O_PATH | O_DIRECTORY | O_CLOEXEC);
        run.request.grants = grants;
        run.request.grant_count = 2;
        box_go(&run);
        CHECK(run.err == VIV_OK);
        box_expect(&run, word(words[0], answers[i], ""));
    }
    CHECK(rmdir(elsewhere) == 0);
}

// -------------------------------------------------------------------------------- network, others

static int listen_on_host(uint16_t *out_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 8) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    *out_port = ntohs(at.sin_port);
    return fd;
}

static int listen_abstract(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "%s", name);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    CHECK(bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, 8) == 0);
    return fd;
}

static void network_stays_out(struct box *box)
{
    uint16_t port, other_port;
    const int server = listen_on_host(&port), other = listen_on_host(&other_port);
    const int abstract = listen_abstract("viv-test-box");
    char to_port[64], to_other[64], refused[128];
    snprintf(to_port, sizeof to_port, "connect=127.0.0.1:%u", port);
    snprintf(to_other, sizeof to_other, "connect=127.0.0.1:%u", other_port);
    const char *const words[] = {to_port, to_other, "connect=192.0.2.1:80", "abstract=viv-test-box",
                                 NULL};
    go(box, VIV_NATIVE_SANDBOX_DEFAULT, words);
    snprintf(refused, sizeof refused, "%s: ECONNREFUSED", to_port); // its own loopback
    box_expect(&run, refused);
    box_expect(&run, "connect=192.0.2.1:80: ENETUNREACH");
    box_expect(&run, "abstract=viv-test-box: ECONNREFUSED");

    static const char *const short_words[] = {NULL, NULL, "abstract=viv-test-box", NULL};
    const char *const host_words[] = {to_port, to_other, short_words[2], NULL};
    box_prepare(box, &run, VIV_NATIVE_SANDBOX_DEFAULT, host_words);
    run.request.net = VIV_NATIVE_NET_HOST;
    run.request.net_is_all = true;
    box_go(&run);
    CHECK(run.err == VIV_OK);
    box_expect(&run, word(to_port, ": ok", ""));
    // The scope of Landlock (ABI 6) holds where the namespace does not.
    if (box->features.landlock_abi >= 6) box_expect(&run, "abstract=viv-test-box: EPERM");

    if (box->features.landlock_abi >= 4) {
        const struct viv_native_ports allowed = {VIV_LANDLOCK_BIND_TCP | VIV_LANDLOCK_CONNECT_TCP,
                                                 1,
                                                 {{port, VIV_LANDLOCK_CONNECT_TCP}}};
        box_prepare(box, &run, VIV_NATIVE_SANDBOX_DEFAULT, host_words);
        run.request.net = VIV_NATIVE_NET_HOST;
        run.request.ports = &allowed;
        box_go(&run);
        CHECK(run.err == VIV_OK);
        box_expect(&run, word(to_port, ": ok", ""));
        box_expect(&run, word(to_other, ": EACCES", ""));
    }
    box_prepare(box, &run, VIV_NATIVE_SANDBOX_DEFAULT, host_words);
    run.request.net = VIV_NATIVE_NET_HOST;
    box_go(&run);
    CHECK(run.err == VIV_E_UNSUPPORTED && strncmp(run.diag.text, "net", 3) == 0);
    box_prepare(box, &run, VIV_NATIVE_SANDBOX_STRICT, host_words);
    run.request.net = VIV_NATIVE_NET_HOST;
    run.request.net_is_all = true;
    box_go(&run);
    CHECK(run.err == VIV_E_UNSUPPORTED && strncmp(run.diag.text, "net", 3) == 0);
    close(server);
    close(other);
    close(abstract);
}

// A service of the host, which everybody may connect to.
static void services_are_out_of_reach(struct box *box)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (box->kernel_uid != 0) return; // only root has services in /run
    snprintf(at.sun_path, sizeof at.sun_path, "/run/viv-test-%d", getpid());
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 8) == 0);
    CHECK(chmod(at.sun_path, 0666) == 0);
    const char *const words[] = {word("unix=", at.sun_path, ""), "write=/run/file", NULL};
    go(box, VIV_NATIVE_SANDBOX_NONE, words);
    box_expect(&run, word(words[0], ": ok", ""));
    for (int level = VIV_NATIVE_SANDBOX_DEFAULT; level <= VIV_NATIVE_SANDBOX_STRICT; level++) {
        const struct viv_sandbox_grant prog = {VIV_NATIVE_GRANT_EXEC, box->prog};
        box_prepare(box, &run, (enum viv_native_sandbox)level, words);
        run.request.grants = &prog;
        run.request.grant_count = 1;
        box_go(&run);
        CHECK(run.err == VIV_OK);
        box_expect(&run, word(words[0], ": ENOENT", ""));
        CHECK(access("/run/file", F_OK) != 0);
    }
    close(fd);
    CHECK(unlink(at.sun_path) == 0);
}

static void others_are_out_of_sight(struct box *box)
{
    char kernel[32];
    snprintf(kernel, sizeof kernel, "signal=%d", getpid());
    const char *const words[] = {"ids", "host", kernel, NULL};
    go(box, VIV_NATIVE_SANDBOX_DEFAULT, words);
    box_expect(&run, own_ids(" pid=2 ppid=1 sid=2 pgid=2"));
    box_expect(&run, "host: viv");
    box_expect(&run, word(kernel, ": ESRCH", ""));
}

// -------------------------------------------------------------------------------------- features

static void missing_features_refuse(struct box *box)
{
    static const char *const words[] = {"ids", NULL};
    const struct viv_features all = box->features;
    for (int i = 0; i < VIV_FEATURES_OF_LEVELS; i++) {
        struct viv_features less = all;
        const char *name = viv_feature_name((enum viv_feature)i);
        less.have &= ~VIV_FEATURE_BIT(i);
        less.why[i].stage = "test";
        for (int level = VIV_NATIVE_SANDBOX_DEFAULT; level <= VIV_NATIVE_SANDBOX_STRICT; level++) {
            box_prepare(box, &run, (enum viv_native_sandbox)level, words);
            run.request.features = &less;
            box_go(&run);
            CHECK(run.err == VIV_E_UNSUPPORTED);
            CHECK(strncmp(run.diag.text, name, strlen(name)) == 0);
        }
        box_prepare(box, &run, VIV_NATIVE_SANDBOX_NONE, words);
        run.request.features = &less;
        box_go(&run);
        CHECK(run.err == VIV_OK && run.has_exit); // level none needs none of them
    }
}

// A plan made with a feature that the host then refuses: the error names it all the same.
static void accepted_features_are_left_out(struct box *box)
{
    static const char *const words[] = {"ids", "write=/etc/new", "keyctl", NULL};
    for (int i = 0; i < VIV_FEATURES_OF_LEVELS; i++) {
        struct viv_features less = box->features;
        less.have &= ~VIV_FEATURE_BIT(i);
        less.why[i].stage = "test";
        // Without a pid namespace nothing can be mounted at /proc.
        if (i == VIV_FEATURE_PIDNS) less.have &= ~VIV_FEATURE_BIT(VIV_FEATURE_PROC);
        if (i == VIV_FEATURE_USERNS) continue; // the others go with it: below
        box_prepare(box, &run, VIV_NATIVE_SANDBOX_DEFAULT, words);
        run.request.features = &less;
        run.request.accepts = VIV_FEATURE_BIT(i) | VIV_FEATURE_BIT(VIV_FEATURE_PROC);
        box_start(&run);
        CHECK(run.err == VIV_OK);
        const uint32_t left_out = run.sandbox->left_out;
        box_finish(&run);
        CHECK((left_out & VIV_FEATURE_BIT(i)) != 0);
        CHECK(run.has_exit && run.exit.code == 0 && !run.exit.is_signaled);
        CHECK(!box_has(&run, "write=/etc/new: ok"));
        CHECK(box_has(&run, "keyctl: EPERM") == (i != VIV_FEATURE_SECCOMP));
    }
    struct viv_features none = box->features;
    none.have = 0;
    for (int i = 0; i < VIV_FEATURES; i++)
        none.why[i].stage = "test";
    box_prepare(box, &run, VIV_NATIVE_SANDBOX_DEFAULT, words);
    run.request.features = &none;
    run.request.accepts = UINT32_MAX;
    box_go(&run);
    CHECK(run.err == VIV_OK && run.has_exit && run.exit.code == 0);
    box_prepare(box, &run, VIV_NATIVE_SANDBOX_STRICT, words);
    run.request.features = &none;
    run.request.accepts = UINT32_MAX;
    box_go(&run);
    CHECK(run.err == VIV_E_UNSUPPORTED && strncmp(run.diag.text, "mountns", 7) == 0);
}

static void the_probes_found_all(struct box *box)
{
    struct viv_buf text;
    viv_buf_init(&text, VIV_TAG_TEST);
    CHECK(viv_features_print(&box->features, &text) == VIV_OK);
    CHECK(viv_buf_append(&text, "", 1) == VIV_OK);
    print_message("%s", (const char *)text.data);
    const uint32_t of_levels = VIV_FEATURE_BIT(VIV_FEATURES_OF_LEVELS) - 1;
    CHECK((box->features.have & of_levels) == of_levels); // of the machines that run the tests
    CHECK(strstr((const char *)text.data, "landlock ") != NULL);
    CHECK(strstr((const char *)text.data, "cgroup.core - ") != NULL); // no directory was given
    viv_buf_deinit(&text);
}

// ------------------------------------------------------------------------------------------ users

static void root_needs_a_user(struct box *box)
{
    static const char *const words[] = {"ids", "cat=/proc/self/status", NULL};
    if (box->kernel_uid == 0) {
        for (int level = VIV_NATIVE_SANDBOX_DEFAULT; level <= VIV_NATIVE_SANDBOX_STRICT; level++) {
            box_prepare(box, &run, (enum viv_native_sandbox)level, words);
            run.request.has_user = false;
            box_go(&run);
            CHECK(run.err == VIV_E_INVAL && strncmp(run.diag.text, "user", 4) == 0);
        }
        const uint32_t groups[] = {1234};
        box_prepare(box, &run, VIV_NATIVE_SANDBOX_NONE, words);
        run.request.groups = groups;
        run.request.group_count = 1;
        box_go(&run);
        CHECK(run.err == VIV_OK && strstr(run.output, "Groups:\t1234 \n") != NULL);
        CHECK(strstr(run.output, "uid=65534 gid=65534 euid=65534") != NULL);
    } else {
        box_prepare(box, &run, VIV_NATIVE_SANDBOX_DEFAULT, words);
        run.request.has_user = true;
        box_go(&run);
        CHECK(run.err == VIV_E_INVAL && strncmp(run.diag.text, "user", 4) == 0);
    }
    go(box, VIV_NATIVE_SANDBOX_DEFAULT, words);
    CHECK(strstr(run.output, own_ids("")) != NULL);
    static const char *const empty[] = {"CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"};
    for (size_t i = 0; i < VIV_COUNT_OF(empty); i++) {
        char line[64];
        snprintf(line, sizeof line, "%s\t0000000000000000", empty[i]);
        box_expect(&run, line);
    }
    box_expect(&run, "NoNewPrivs:\t1");
    box_expect(&run, "Seccomp:\t2");
}

static void let_gain(struct viv_plan *plan)
{
    plan->gains = true;
}

static void set_uid_gains_nothing(struct box *box)
{
    char tool[128], command[1200];
    if (box->kernel_uid != 0) return; // only root can make one
    snprintf(tool, sizeof tool, "%s/suid", box->dir);
    snprintf(command, sizeof command, "cp '%s' '%s' && chmod 4755 '%s'", box->prog, tool, tool);
    CHECK(system(command) == 0);
    static const char *const words[] = {"ids", NULL};
    for (int level = VIV_NATIVE_SANDBOX_NONE; level <= VIV_NATIVE_SANDBOX_STRICT; level++) {
        box_prepare(box, &run, (enum viv_native_sandbox)level, words);
        run.path = tool;
        box_go(&run);
        CHECK(run.err == VIV_OK && run.has_exit && run.exit.code == 0);
        CHECK(strstr(run.output, "euid=65534 ") != NULL);
    }
    // Only where an operator lifted it, at level none: the test can tell the difference.
    box_prepare(box, &run, VIV_NATIVE_SANDBOX_NONE, words);
    run.path = tool;
    run.change = let_gain;
    box_go(&run);
    CHECK(run.err == VIV_OK && strstr(run.output, "euid=0 ") != NULL);
}

#define PAIR(name, fn)                                                                             \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        box_for_each_user(fn);                                                                     \
    }
PAIR(n91_default_refuses_system_calls, default_refuses_calls)
PAIR(n91_x32_kills_the_process, x32_kills)
PAIR(n91_files_outside_of_grants_are_refused, default_confines_files)
PAIR(n91_grants_work_and_hidden_paths_are_empty, grants_and_hidden_paths)
PAIR(n91_bad_grants_are_refused, bad_grants_are_refused)
PAIR(n91_a_source_exchanged_is_refused, a_source_exchanged_is_refused)
PAIR(n91_connections_out_are_refused, network_stays_out)
PAIR(n91_services_of_the_host_are_out_of_reach, services_are_out_of_reach)
PAIR(n91_proc_is_no_way_out, proc_is_no_way_out)
PAIR(n91_other_processes_are_out_of_sight, others_are_out_of_sight)
PAIR(n92_cwd_below_tmp_is_there_and_the_rest_private, cwd_below_tmp)
PAIR(n93_strict_shows_little, strict_shows_little)
PAIR(n93_strict_permits_a_list_of_calls, strict_permits_a_list)
PAIR(n93_ro_does_not_execute, ro_grants_do_not_execute)
PAIR(n94_missing_features_refuse, missing_features_refuse)
PAIR(n94_the_probes_find_what_works, the_probes_found_all)
PAIR(n95_accepted_features_are_left_out, accepted_features_are_left_out)
PAIR(n96_root_needs_a_user, root_needs_a_user)
PAIR(n97_set_uid_programs_gain_nothing, set_uid_gains_nothing)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n91_default_refuses_system_calls),
        cmocka_unit_test(n91_x32_kills_the_process),
        cmocka_unit_test(n91_files_outside_of_grants_are_refused),
        cmocka_unit_test(n91_grants_work_and_hidden_paths_are_empty),
        cmocka_unit_test(n91_bad_grants_are_refused),
        cmocka_unit_test(n91_a_source_exchanged_is_refused),
        cmocka_unit_test(n91_connections_out_are_refused),
        cmocka_unit_test(n91_services_of_the_host_are_out_of_reach),
        cmocka_unit_test(n91_proc_is_no_way_out),
        cmocka_unit_test(n91_other_processes_are_out_of_sight),
        cmocka_unit_test(n92_cwd_below_tmp_is_there_and_the_rest_private),
        cmocka_unit_test(n93_strict_shows_little),
        cmocka_unit_test(n93_strict_permits_a_list_of_calls),
        cmocka_unit_test(n93_ro_does_not_execute),
        cmocka_unit_test(n94_missing_features_refuse),
        cmocka_unit_test(n94_the_probes_find_what_works),
        cmocka_unit_test(n95_accepted_features_are_left_out),
        cmocka_unit_test(n96_root_needs_a_user),
        cmocka_unit_test(n97_set_uid_programs_gain_nothing),
    };
    return cmocka_run_group_tests_name("native.sandbox", tests, NULL, NULL);
}
