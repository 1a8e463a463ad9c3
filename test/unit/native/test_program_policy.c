// SPDX-License-Identifier: Apache-2.0
// What a policy lets the processes of an environment do with programs: which commands, directories,
// words and limits, and who sees which program (N5, N7, N9, N10, N17, N19; cases 47, 57 and 60 of
// the contract on resources).
#include "native_rig.h"

#include "harness/check.h"
#include "native/metrics.h"
#include "os/confine.h"
#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MS VIV_NS_PER_MS
enum { TEXT = 8192 };

static struct native_rig rig;
static char own[2048]; // directory of the test, resolved

static void open_policy(const char *policy)
{
    assert_non_null(getcwd(own, sizeof own));
    rig_open_policy(&rig, policy, NULL);
}

static void put_file(const char *path, const char *text, mode_t mode)
{
    (void)unlink(path);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    (void)fputs(text, file);
    (void)fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static void expect_spawn(enum viv_err err, const char *detail)
{
    struct viv_native_spawned spawned;
    const enum viv_err got = rig_spawn(&rig, &spawned);
    if (got != err || (detail != NULL && strcmp(rig.diag.text, detail) != 0))
        fail_msg("wanted %s (%s), got %s (%s)", viv_err_text(err), detail != NULL ? detail : "",
                 viv_err_text(got), rig.diag.text);
    if (got != VIV_OK) return;
    const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = spawned.pid};
    assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
    assert_int_equal(viv_native_release(&rig.ctx, &ref), VIV_OK);
}

#define MODES "allow native.mode=unsandboxed,user\n"

static void case_019_only_the_resolved_path_runs(void **state)
{
    (void)state;
    char policy[TEXT], path[4096];
    assert_non_null(getcwd(own, sizeof own));
    put_file("allowed", "#!/bin/sh\nexit 0\n", 0755);
    put_file("allowedx", "#!/bin/sh\nexit 0\n", 0755);
    put_file("copy", "#!/bin/sh\nexit 0\n", 0755);
    (void)unlink("link");
    (void)unlink("outward");
    assert_int_equal(symlink("allowed", "link"), 0);
    assert_int_equal(symlink("/bin/sh", "outward"), 0);
    (void)snprintf(policy, sizeof policy, "use none\n" MODES "allow native.spawn=\"%s/allowed\"\n",
                   own);
    open_policy(policy);
    const struct {
        const char *cmd, *arg;
        enum viv_err err;
    } cases[] = {
        {"allowed", NULL, VIV_OK},            // in the directory, by its whole path
        {"link", NULL, VIV_OK},               // what it leads to counts
        {"allowed", "--evil", VIV_E_DENIED},  // no arguments were allowed
        {"allowedx", NULL, VIV_E_DENIED},     // begins the same
        {"copy", NULL, VIV_E_DENIED},         // the same bytes elsewhere
        {"outward", NULL, VIV_E_DENIED},      // another binary
        {"no-such-file", NULL, VIV_E_DENIED}, // whether or not it exists
        {"../no-such-file", NULL, VIV_E_DENIED},
        {"allowed;true", NULL, VIV_E_DENIED}, // no shell reads it
    };
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        (void)snprintf(path, sizeof path, "./%s", cases[i].cmd);
        rig_request(&rig, path, cases[i].arg, NULL);
        expect_spawn(cases[i].err, cases[i].err == VIV_OK ? NULL : "native.spawn");
        (void)snprintf(path, sizeof path, "%s/%s", own, cases[i].cmd);
        rig_request(&rig, path, cases[i].arg, NULL);
        expect_spawn(cases[i].err, cases[i].err == VIV_OK ? NULL : "native.spawn");
    }
    // A file put in its place is another one.
    put_file("fresh", "#!/bin/sh\nexit 0\n", 0755);
    assert_int_equal(rename("fresh", "allowed"), 0);
    rig_request(&rig, "./allowed", NULL);
    expect_spawn(VIV_E_DENIED, "native.spawn");
    rig_close(&rig);
}

static void case_060_arguments_are_matched_one_by_one(void **state)
{
    (void)state;
    open_policy("use none\n" MODES "allow native.spawn=\"/usr/bin/printf one * **\"\n");
    const struct {
        const char *a, *b, *c;
        enum viv_err err;
    } cases[] = {
        {"one", "two", NULL, VIV_OK},          {"one", "two", "three", VIV_OK},
        {"one", "two three", NULL, VIV_OK},    {"one", NULL, NULL, VIV_E_DENIED},
        {"one two", NULL, NULL, VIV_E_DENIED}, {"two", "one", NULL, VIV_E_DENIED},
        {"one;", "two", NULL, VIV_E_DENIED},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        rig_request(&rig, "/usr/bin/printf", cases[i].a, cases[i].b, cases[i].c, NULL);
        expect_spawn(cases[i].err, cases[i].err == VIV_OK ? NULL : "native.spawn");
    }
    rig_close(&rig);
}

static enum viv_err spawn_with_network(struct viv_native_spawned *out)
{
    rig_request(&rig, "/bin/true", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_NET, VIV_NATIVE_NET_HOST);
    return rig_spawn(&rig, out);
}

// Case 57 of the contract on resources.
static void case_057_hosts_cannot_be_enforced(void **state)
{
    (void)state;
    struct viv_native_spawned spawned;
    rig.level = VIV_NATIVE_SANDBOX_DEFAULT;
    open_policy("use none\nallow native.spawn\nallow native.mode=user\nallow net.bind\n"
                "allow net.connect=tcp:*.example.com:443\n");
    rig.level = VIV_NATIVE_SANDBOX_DEFAULT;
    assert_int_equal(spawn_with_network(&spawned), VIV_E_UNENFORCEABLE);
    assert_non_null(strstr(rig.diag.text, "net.connect"));
    rig_close(&rig);
    // Nobody may have what is not there, however it is marked.
    open_policy("use none\nallow native.spawn\nallow native.mode=user\nallow "
                "net.connect=tcp:any:443 unenforced\n");
    rig.level = VIV_NATIVE_SANDBOX_DEFAULT;
    assert_int_equal(spawn_with_network(&spawned), VIV_E_DENIED);
    rig_close(&rig);
}

static int listen_on(uint16_t *out_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 8) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    *out_port = ntohs(at.sin_port);
    return fd;
}

// A line a try: what was tried, and how it ended.
#define TRIES                                                                                      \
    "import errno, socket, sys\n"                                                                  \
    "ours, other = int(sys.argv[1]), int(sys.argv[2])\n"                                           \
    "def tried(what, act):\n"                                                                      \
    "    try:\n"                                                                                   \
    "        act(); print(what, 'ok')\n"                                                           \
    "    except OSError as error:\n"                                                               \
    "        print(what, errno.errorcode[error.errno])\n"                                          \
    "def tcp(proto=0): return socket.socket(socket.AF_INET, socket.SOCK_STREAM, proto)\n"          \
    "def udp(): return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"                         \
    "at = lambda port: ('127.0.0.1', port)\n"                                                      \
    "tried('connect', lambda: tcp().connect(at(ours)))\n"                                          \
    "tried('other', lambda: tcp().connect(at(other)))\n"                                           \
    "tried('udp', lambda: udp().sendto(b'x', at(ours)))\n"                                         \
    "tried('mptcp', lambda: tcp(262).connect(at(other)))\n"                                        \
    "tried('fastopen', lambda: tcp().sendto(b'x', socket.MSG_FASTOPEN, at(other)))\n"              \
    "tried('bind', lambda: tcp().bind(at(ours)))\n"                                                \
    "tried('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))\n"

// Case 57: TCP ports are what a program can be held to.
static void case_057_tcp_ports_are_enforced(void **state)
{
    (void)state;
    uint16_t port, other_port;
    const int server = listen_on(&port), other = listen_on(&other_port);
    char policy[TEXT], words[2][16], out[TEXT];
    struct viv_native_exit exit;
    assert_true(snprintf(policy, sizeof policy,
                         "use none\nallow native.spawn\nallow native.mode=user\n"
                         "allow net.bind=tcp:any:1\nallow net.connect=tcp:any:%u+1\n",
                         port) < (int)sizeof policy);
    open_policy(policy);
    rig.level = VIV_NATIVE_SANDBOX_DEFAULT;
    assert_true(snprintf(words[0], sizeof words[0], "%u", port) > 0 &&
                snprintf(words[1], sizeof words[1], "%u", other_port) > 0);
    rig_request(&rig, "/usr/bin/python3", "-c", TRIES, words[0], words[1], NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_NET, VIV_NATIVE_NET_HOST);
    if (viv_os_landlock_abi() < 4) { // it says so
        expect_spawn(VIV_E_UNSUPPORTED, "net: this host cannot enforce those addresses");
    } else {
        rig_run(&rig, &exit, out, sizeof out);
        assert_string_equal(out, "connect ok\nother EACCES\nudp EPERM\nmptcp EPERM\n"
                                 "fastopen EPERM\nbind EACCES\nraw EPERM\n");
    }
    rig_close(&rig);
    // Every port, but of TCP only; and more ports than can be told.
    open_policy("use none\nallow native.spawn\nallow native.mode=user\n"
                "allow net.bind=tcp:any:1\nallow net.connect=tcp:any:*\n");
    rig.level = VIV_NATIVE_SANDBOX_DEFAULT;
    rig_request(&rig, "/usr/bin/python3", "-c", TRIES, words[0], words[1], NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_NET, VIV_NATIVE_NET_HOST);
    if (viv_os_landlock_abi() >= 4) {
        rig_run(&rig, &exit, out, sizeof out);
        assert_string_equal(out, "connect ok\nother ok\nudp EPERM\nmptcp EPERM\n"
                                 "fastopen EPERM\nbind EACCES\nraw EPERM\n");
    }
    rig_close(&rig);
    open_policy("use none\nallow native.spawn\nallow native.mode=user\n"
                "allow net.bind=tcp:any:1\nallow net.connect=tcp:any:1-64\n");
    rig.level = VIV_NATIVE_SANDBOX_DEFAULT;
    struct viv_native_spawned spawned;
    assert_int_equal(spawn_with_network(&spawned), VIV_OK);
    const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = spawned.pid};
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(viv_native_release(&rig.ctx, &ref), VIV_OK);
    rig_close(&rig);
    open_policy("use none\nallow native.spawn\nallow native.mode=user\n"
                "allow net.bind=tcp:any:1\nallow net.connect=tcp:any:2-65\n");
    rig.level = VIV_NATIVE_SANDBOX_DEFAULT;
    assert_int_equal(spawn_with_network(&spawned), VIV_E_UNENFORCEABLE);
    assert_non_null(strstr(rig.diag.text, "net.connect has more"));
    rig_close(&rig);
    close(server);
    close(other);
}

static void case_057_unenforced_runs_and_is_shown(void **state)
{
    (void)state;
    struct viv_native_spawned spawned;
    struct viv_native_status status;
    struct viv_audit_event event;
    uint64_t cursor = 0;
    bool is_told = false;
    open_policy("use none\nallow native.spawn\nallow native.mode=user\nallow net.bind\n"
                "allow net.connect=tcp:*.example.com:443 unenforced\n");
    rig.level = VIV_NATIVE_SANDBOX_DEFAULT;
    const enum viv_err spawn_err = spawn_with_network(&spawned);
    if (spawn_err != VIV_OK) fail_msg("%s", rig.diag.text);
    const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = spawned.pid};
    rig_status(&rig, &ref, &status);
    assert_int_equal(status.unenforced, VIV_CAP_BIT(VIV_CAP_NET_CONNECT));
    while (viv_audit_read(viv_room_audit(rig.cap), &cursor, &event))
        is_told |= event.kind == VIV_AUDIT_UNENFORCED && event.operation != NULL &&
                   event.cap == VIV_CAP_NET_CONNECT &&
                   event.object_len == strlen("tcp:*.example.com:443") &&
                   memcmp(event.object, "tcp:*.example.com:443", event.object_len) == 0;
    assert_true(is_told);
    struct viv_native_exit exit;
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.leader.code, 0);
    assert_int_equal(viv_native_release(&rig.ctx, &ref), VIV_OK);
    rig_close(&rig);
}

static void case_017_absolute_directories_need_a_right(void **state)
{
    (void)state;
    char policy[TEXT], path[4096];
    assert_non_null(getcwd(own, sizeof own));
    (void)mkdir("given", 0755);
    (void)mkdir("given/below", 0755);
    (void)mkdir("given2", 0755);
    (void)unlink("given/out");
    assert_int_equal(symlink("/usr", "given/out"), 0);
    (void)snprintf(policy, sizeof policy,
                   "use none\n" MODES "allow native.spawn\nallow fs=\"%s/given:r\"\n", own);
    open_policy(policy);
    const struct {
        const char *cwd;
        enum viv_err err;
    } cases[] = {{"given", VIV_OK},
                 {"given/below", VIV_OK},
                 {"given/", VIV_OK},
                 {"given2", VIV_E_DENIED},
                 {"given/..", VIV_E_ESCAPE},
                 {"given/out", VIV_E_ESCAPE},
                 {"given/missing", VIV_E_INVAL}};
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        rig_request(&rig, "/bin/true", NULL);
        (void)snprintf(path, sizeof path, "%s/%s", own, cases[i].cwd);
        rig_put_text(&rig, VIV_NATIVE_KEY_CWD, path);
        expect_spawn(cases[i].err, cases[i].err == VIV_OK ? NULL : "cwd");
    }
    rig_request(&rig, "/bin/true", NULL);
    rig_put_text(&rig, VIV_NATIVE_KEY_CWD, "/usr");
    expect_spawn(VIV_E_DENIED, "cwd");
    rig_close(&rig);
    // With word path, anywhere.
    open_policy("use none\nallow native.mode=unsandboxed,path\nallow native.spawn\n");
    rig_request(&rig, "/bin/true", NULL);
    rig_put_text(&rig, VIV_NATIVE_KEY_CWD, "/usr");
    expect_spawn(VIV_OK, NULL);
    rig_close(&rig);
}

// ---- classes and words ----

static void plain(void)
{
    rig_request(&rig, "/bin/true", NULL);
}
static void persist(void)
{
    plain();
    rig_put_u64(&rig, VIV_NATIVE_KEY_SURVIVE, VIV_NATIVE_SURVIVE_ENV);
}
static void hold(void)
{
    plain();
    rig_put_u64(&rig, VIV_NATIVE_KEY_SURVIVE, VIV_NATIVE_SURVIVE_KERNEL);
}
static void scope(void)
{
    plain();
    rig_put_text(&rig, VIV_NATIVE_KEY_SCOPE, "other");
}
static void env(void)
{
    plain();
    rig_put_text(&rig, VIV_NATIVE_KEY_ENV, "LD_PRELOAD=x");
}
static void path(void)
{
    plain();
    rig_put_text(&rig, VIV_NATIVE_KEY_CWD, "/");
}
static void user(void)
{
    plain();
    const uint32_t ids[2] = {65534, 65534};
    assert_int_equal(viv_block_put(&rig.block, VIV_NATIVE_KEY_USER, ids, sizeof ids), VIV_OK);
}
static void terminal(void)
{
    plain();
    const uint32_t size[2] = {24, 80};
    assert_int_equal(viv_block_put(&rig.block, VIV_NATIVE_KEY_PTY, size, sizeof size), VIV_OK);
}

static void words_of_native_mode_one_by_one(void **state)
{
    (void)state;
    const struct {
        const char *line; // what is needed besides native.spawn
        void (*request)(void);
        const char *detail;
        enum viv_err err; // with it
    } cases[] = {
        {"native.mode=unsandboxed", plain, "unsandboxed", VIV_OK},
        {"native.mode=persist", persist, "persist", VIV_OK},
        {"native.mode=hold", hold, "hold", VIV_E_UNSUPPORTED},
        {"native.mode=scope", scope, "scope", VIV_OK},
        {"native.mode=env", env, "env", VIV_OK},
        {"native.mode=path", path, "cwd", VIV_OK},
        {"native.mode=user", user, "user", geteuid() == 0 ? VIV_OK : VIV_E_INVAL},
        {"native.tty", terminal, "native.tty", VIV_OK},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        char policy[TEXT];
        const char *base = i == 0 ? "" : "allow native.mode=unsandboxed\n";
        (void)snprintf(policy, sizeof policy, "use none\nallow native.spawn\n%s", base);
        open_policy(policy);
        cases[i].request();
        expect_spawn(VIV_E_DENIED, cases[i].detail);
        rig_close(&rig);
        (void)snprintf(policy, sizeof policy, "use none\nallow native.spawn\n%sallow %s\n", base,
                       cases[i].line);
        open_policy(policy);
        cases[i].request();
        rig.ctx.unit = i == 3 ? "other" : ""; // to find what it started
        expect_spawn(cases[i].err, NULL);
        rig_close(&rig);
    }
    open_policy("use none\nallow native.mode\n"); // every word, but not the class itself
    plain();
    expect_spawn(VIV_E_DENIED, "native.spawn");
    rig_close(&rig);
}

static void ceilings_of_guests_and_word_unbounded(void **state)
{
    (void)state;
    struct viv_native_status status;
    for (int unbounded = 0; unbounded < 2; unbounded++) {
        open_policy(unbounded != 0
                        ? "use none\nallow native.spawn\nallow native.mode=unsandboxed,unbounded\n"
                        : "use none\nallow native.spawn\nallow native.mode=unsandboxed\n");
        rig_request(&rig, "/bin/sleep", "1000", NULL);
        rig_put_u64(&rig, VIV_NATIVE_KEY_RING_BYTES, 16 << 20);
        const struct viv_native_ref ref = rig_start(&rig);
        struct viv_native_metrics metrics;
        viv_native_metrics(rig.native, &metrics);
        assert_int_equal(metrics.ring_bytes, 2 * (unbounded != 0 ? 16 << 20 : 8 << 20));
        rig_status(&rig, &ref, &status);
        assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
        rig_close(&rig);
    }
}

static void signals_need_their_class(void **state)
{
    (void)state;
    open_policy("use none\nallow native.spawn\nallow native.mode=unsandboxed\n"
                "allow native.signal=usr1\n");
    rig_request(&rig, "/bin/sleep", "1000", NULL);
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(viv_native_signal(&rig.ctx, &ref, SIGUSR2, false), VIV_E_DENIED);
    assert_int_equal(viv_native_signal(&rig.ctx, &ref, SIGSEGV, false), VIV_E_DENIED);
    assert_int_equal(viv_native_signal(&rig.ctx, &ref, SIGUSR1, false), VIV_OK);
    struct viv_native_exit exit;
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.leader.code, SIGUSR1);
    rig_close(&rig);
}

static void limit_native_of_a_session(void **state)
{
    (void)state;
    open_policy("use none\nallow native.spawn\nallow native.mode=unsandboxed\nlimit native=2\n");
    struct viv_native_ref refs[2];
    for (int i = 0; i < 2; i++) {
        rig_request(&rig, "/bin/sleep", "1000", NULL);
        refs[i] = rig_start(&rig);
    }
    rig_request(&rig, "/bin/sleep", "1000", NULL);
    expect_spawn(VIV_E_QUOTA, NULL);
    assert_int_equal(rig_kill(&rig, &refs[0], NULL), VIV_OK);
    rig_request(&rig, "/bin/sleep", "1000", NULL);
    (void)rig_start(&rig);
    rig_close(&rig);
}

// ---- every class ----

// How a program meets a class that its environment does not have. Those of the runtime it does not
// meet: it holds no descriptor but its streams, and no handle.
enum meets { UNTOLD, RUNTIME, AT_SPAWN, INSIDE, NOT_WITHHELD };
static const uint8_t meetings[VIV_CAP_COUNT] = {
    [VIV_CAP_PROC_SPAWN... VIV_CAP_CAP_AUDIT] = RUNTIME,
    [VIV_CAP_NET_BIND] = AT_SPAWN,
    [VIV_CAP_NET_CONNECT] = AT_SPAWN, // and inside: its network is its own
    [VIV_CAP_NET_RESOLVE... VIV_CAP_NET_TLS] = INSIDE,
    [VIV_CAP_FS] = INSIDE,
    [VIV_CAP_DB_OPEN] = RUNTIME,
    [VIV_CAP_TIME_READ... VIV_CAP_ENTROPY] = NOT_WITHHELD,
    [VIV_CAP_ENV_READ] = RUNTIME, // which makes its environment
    [VIV_CAP_SYS_INFO] = NOT_WITHHELD,
    [VIV_CAP_MOD_LOAD... VIV_CAP_NIF_LOAD] = RUNTIME,
    [VIV_CAP_NATIVE_SPAWN] = AT_SPAWN,
    [VIV_CAP_NATIVE_SIGNAL] = INSIDE,
    [VIV_CAP_NATIVE_TTY] = AT_SPAWN,
    [VIV_CAP_DURABLE_START... VIV_CAP_CTL_HALT] = RUNTIME,
    [VIV_CAP_NATIVE_MODE] = AT_SPAWN,
};

static void ask_tty(void)
{
    static const uint32_t size[2] = {25, 80};
    assert_int_equal(viv_block_put(&rig.block, VIV_NATIVE_KEY_PTY, size, sizeof size), VIV_OK);
}
static void ask_net(void)
{
    rig_put_u64(&rig, VIV_NATIVE_KEY_NET, VIV_NATIVE_NET_HOST);
}
static void ask_unsandboxed(void)
{
    rig_put_u64(&rig, VIV_NATIVE_KEY_SANDBOX, VIV_NATIVE_SANDBOX_NONE);
}
static void ask_nothing(void)
{
}

// Refused before anything runs, by the class alone: the environment has all others.
static void try_at_spawn(enum viv_cap cap)
{
    static const struct {
        enum viv_cap cap;
        void (*ask)(void);
        const char *detail;
    } rows[] = {{VIV_CAP_NET_BIND, ask_net, "net"},
                {VIV_CAP_NET_CONNECT, ask_net, "net"},
                {VIV_CAP_NATIVE_SPAWN, ask_nothing, "native.spawn"},
                {VIV_CAP_NATIVE_TTY, ask_tty, "native.tty"},
                {VIV_CAP_NATIVE_MODE, ask_unsandboxed, "unsandboxed"}};
    char policy[TEXT] = "use none\n";
    size_t len = strlen(policy), row = 0;
    for (int i = 0; i < VIV_CAP_COUNT; i++)
        if (i != (int)cap)
            len += (size_t)snprintf(policy + len, sizeof policy - len, "allow %s\n",
                                    viv_cap_rows[i].name);
    assert_true(len < sizeof policy);
    while (rows[row].cap != cap)
        row++;
    open_policy(policy);
    rig.level = VIV_NATIVE_SANDBOX_DEFAULT;
    rig_request(&rig, "/bin/true", NULL);
    rows[row].ask();
    expect_spawn(VIV_E_DENIED, rows[row].detail);
    rig_close(&rig);
}

#define INSIDE_TRIES                                                                               \
    "import errno, os, signal, socket, sys\n"                                                      \
    "def refused(what, errors, act):\n"                                                            \
    "    try:\n"                                                                                   \
    "        act(); print(what, 'was admitted')\n"                                                 \
    "    except OSError as error:\n"                                                               \
    "        name = errno.errorcode.get(error.errno, error.errno)\n"                               \
    "        print(what, 'ok' if name in errors or error.errno < 0 else name)\n"                   \
    "files = ('ENOENT', 'EACCES', 'EPERM', 'EROFS')\n"                                             \
    "refused('fs', files, lambda: open(sys.argv[1]))\n"                                            \
    "refused('fs', files, lambda: open(sys.argv[1], 'w'))\n"                                       \
    "refused('fs', files, lambda: open('/etc/shadow'))\n"                                          \
    "refused('native.signal', ('ESRCH', 'EPERM'), lambda: os.kill(int(sys.argv[2]), 0))\n"         \
    "refused('net.resolve', (), lambda: socket.getaddrinfo('example.com', 80))\n"                  \
    "refused('net.connect', ('ENETUNREACH', 'EPERM', 'EACCES'),\n"                                 \
    "        lambda: socket.socket().connect(('192.0.2.1', 443)))\n"                               \
    "print('fds', *[n for n in range(3, 64) if os.path.exists('/proc/self/fd/%d' % n)])\n"         \
    "print('env', *[n for n in os.environ if n.startswith('VIV')])\n"

// Case 47 of the contract on resources, for programs: every class of the table.
static void case_047_every_class_is_withheld_from_programs(void **state)
{
    (void)state;
    char own_pid[16], secret[PATH_MAX], out[TEXT];
    struct viv_native_exit exit;
    for (int i = 0; i < VIV_CAP_COUNT; i++) {
        if (meetings[i] == UNTOLD) fail_msg("nobody said how %s is met", viv_cap_rows[i].name);
        if (meetings[i] == AT_SPAWN) try_at_spawn((enum viv_cap)i);
    }
    open_policy("use none\nallow native.spawn\nallow native.mode=user\n");
    rig.level = VIV_NATIVE_SANDBOX_STRICT; // at default it may read what its user may
    // Readable for everybody, and not below the root of the environment: this program.
    const ssize_t len = readlink("/proc/self/exe", secret, sizeof secret - 1);
    assert_true(len > 0);
    secret[len] = '\0';
    assert_true(snprintf(own_pid, sizeof own_pid, "%d", (int)getpid()) > 0);
    rig_request(&rig, "/usr/bin/python3", "-c", INSIDE_TRIES, secret, own_pid, NULL);
    rig_run(&rig, &exit, out, sizeof out);
    assert_string_equal(out, "fs ok\nfs ok\nfs ok\nnative.signal ok\nnet.resolve ok\n"
                             "net.connect ok\nfds\nenv VIV_PROGRAM VIV_PID\n");
    rig_close(&rig);
}

// ---- who sees what ----

// Every operation on a reference that the context may not see.
static void expect_unseen(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref)
{
    struct viv_native_call call;
    struct viv_native_status status;
    struct viv_native_logs logs;
    struct viv_log_chunk chunk;
    struct viv_log_cursor cursor;
    char buf[16];
    size_t taken;
    const struct viv_native_bytes bytes = {.data = "x", .len = 1, .all = true};
    const struct viv_native_read read = {.stream = 1, .buf = buf, .max = sizeof buf};
    viv_native_call_init(&call, ctx);
    const enum viv_err errs[] = {
        viv_native_status(ctx, ref, &status),
        viv_native_signal(ctx, ref, SIGKILL, false),
        viv_native_signal(ctx, ref, 9999, false), // no difference for nonsense
        viv_native_release(ctx, ref),
        viv_native_close_stdin(ctx, ref, true),
        viv_native_close_output(ctx, ref, 1),
        viv_native_resize(ctx, ref, 1, 1),
        viv_native_set(ctx, ref, VIV_NATIVE_KEY_IDLE_MS, 1),
        viv_native_order_stop(ctx, ref, 0, 0),
        viv_native_read_logs(ctx, ref, 1, buf, sizeof buf, &logs),
        viv_native_tail(ctx, ref, 1, 1, &cursor),
        viv_native_since(ctx, ref, 1, 0, &cursor),
        viv_native_read_since(&call, ref, &read, &chunk),
        viv_native_wait(&call, ref, 0),
        viv_native_wait_output(&call, ref, 1),
        viv_native_start(&call, ref),
        viv_native_stop_program(&call, ref, 0, true),
        viv_native_kill(&call, ref),
        viv_native_write(&call, ref, &bytes, &taken),
    };
    for (size_t i = 0; i < VIV_COUNT_OF(errs); i++)
        if (errs[i] != VIV_E_NOTFOUND) fail_msg("operation %zu: %s", i, viv_err_text(errs[i]));
    assert_string_equal(call.diag.text, "");
}

static void case_005_who_may_not_see_it_sees_nothing(void **state)
{
    (void)state;
    open_policy(
        "use none\nallow native.spawn\nallow native.mode=unsandboxed\nallow native.signal\n");
    rig_request(&rig, "/bin/cat", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    rig_put_text(&rig, VIV_NATIVE_KEY_KEY, "k");
    struct viv_native_spawned spawned;
    assert_int_equal(rig_spawn(&rig, &spawned), VIV_OK);
    const struct viv_native_ref by_pid = {.kind = VIV_NATIVE_PID, .u.pid = spawned.pid};
    struct viv_native_ref by_id = {.kind = VIV_NATIVE_ID};
    memcpy(by_id.u.id, spawned.id, sizeof by_id.u.id);
    struct viv_native_ctx foreign = rig.ctx;
    foreign.unit = "another unit";
    struct viv_native_status before, after;
    rig_status(&rig, &by_pid, &before);
    rig_sleep(&rig, 30 * MS);
    expect_unseen(&foreign, &by_pid);
    expect_unseen(&foreign, &by_id);
    struct viv_native_ref wrong = by_id; // random, and malformed in each of the ways
    wrong.u.id[0] = wrong.u.id[0] == 'a' ? 'b' : 'a';
    expect_unseen(&rig.ctx, &wrong);
    wrong.u.id[0] = 'A';
    expect_unseen(&rig.ctx, &wrong);
    const struct viv_native_ref number = {.kind = VIV_NATIVE_NUMBER, .u.number = spawned.number};
    expect_unseen(&rig.ctx, &number); // for operators
    viv_pid holder;
    assert_int_equal(viv_native_find_key(&foreign, "k", &holder), VIV_E_NOTFOUND);
    assert_int_equal(viv_native_find_key(&rig.ctx, "k", &holder), VIV_OK);
    struct viv_native_item items[4];
    const struct viv_native_page page = {.max = 4, .out_items = items};
    assert_int_equal(viv_native_list(&foreign, &page), 0);
    // Untouched: it runs, and its idle clock went on.
    rig_status(&rig, &by_id, &after);
    assert_int_equal(after.phase, VIV_NATIVE_RUNNING);
    assert_true(after.idle_ns >= before.idle_ns + 30 * MS);
    assert_int_equal(rig_kill(&rig, &by_pid, NULL), VIV_OK);
    assert_int_equal(viv_native_release(&rig.ctx, &by_pid), VIV_OK);
    expect_unseen(&rig.ctx, &by_pid); // released
    expect_unseen(&rig.ctx, &by_id);
    rig_close(&rig);
}

static void case_007_a_list_is_of_ones_own(void **state)
{
    (void)state;
    open_policy("use none\nallow native.spawn\nallow native.mode=unsandboxed\n");
    struct viv_native_ctx units[2] = {rig.ctx, rig.ctx};
    units[0].unit = "one";
    units[1].unit = "two";
    for (int i = 0; i < 6; i++) { // in turns, all with one label
        rig.ctx = units[i % 2];
        rig_request(&rig, "/bin/true", NULL);
        rig_put_text(&rig, VIV_NATIVE_KEY_LABEL, "equal label");
        (void)rig_start(&rig);
    }
    for (int unit = 0; unit < 2; unit++) {
        struct viv_native_item items[2];
        uint64_t last = 0;
        size_t seen = 0, n;
        do { // pages of two
            const struct viv_native_page page = {
                .filter = "al la", .after = last, .max = 2, .out_items = items};
            n = viv_native_list(&units[unit], &page);
            for (size_t i = 0; i < n; i++) {
                assert_true(items[i].number > last);
                assert_int_equal((items[i].number - 1) % 2, unit);
                last = items[i].number;
            }
            seen += n;
        } while (n == 2);
        assert_int_equal(seen, 3);
        const struct viv_native_page none = {.filter = "other", .max = 2, .out_items = items};
        assert_int_equal(viv_native_list(&units[unit], &none), 0);
    }
    rig_close(&rig);
}

static void case_009_a_key_is_free_when_its_program_has_exited(void **state)
{
    (void)state;
    rig_open(&rig);
    for (int i = 0; i < 50; i++) {
        rig_request(&rig, "/bin/sleep", "1000", NULL);
        rig_put_text(&rig, VIV_NATIVE_KEY_KEY, "k");
        const struct viv_native_ref ref = rig_start(&rig);
        rig_request(&rig, "/bin/true", NULL);
        rig_put_text(&rig, VIV_NATIVE_KEY_KEY, "k");
        assert_int_equal(rig_spawn(&rig, NULL), VIV_E_EXISTS);
        assert_true(viv_pid_eq(rig.named, ref.u.pid));
        assert_int_equal(viv_native_signal(&rig.ctx, &ref, SIGKILL, true), VIV_OK);
        struct viv_native_status status;
        do { // without waiting: as soon as it can be seen
            rig_status(&rig, &ref, &status);
        } while (status.phase != VIV_NATIVE_EXITED);
        assert_int_equal(viv_native_release(&rig.ctx, &ref), VIV_OK);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_019_only_the_resolved_path_runs),
        cmocka_unit_test(case_060_arguments_are_matched_one_by_one),
        cmocka_unit_test(case_057_hosts_cannot_be_enforced),
        cmocka_unit_test(case_057_tcp_ports_are_enforced),
        cmocka_unit_test(case_047_every_class_is_withheld_from_programs),
        cmocka_unit_test(case_057_unenforced_runs_and_is_shown),
        cmocka_unit_test(case_017_absolute_directories_need_a_right),
        cmocka_unit_test(words_of_native_mode_one_by_one),
        cmocka_unit_test(ceilings_of_guests_and_word_unbounded),
        cmocka_unit_test(signals_need_their_class),
        cmocka_unit_test(limit_native_of_a_session),
        cmocka_unit_test(case_005_who_may_not_see_it_sees_nothing),
        cmocka_unit_test(case_007_a_list_is_of_ones_own),
        cmocka_unit_test(case_009_a_key_is_free_when_its_program_has_exited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
