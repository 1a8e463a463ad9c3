// SPDX-License-Identifier: Apache-2.0
// The server with real sockets: garbage, cuts at each byte, slow readers, foreign users, many
// connections, cancels, and the end. Nothing is left: descriptors, memory.
#include "cm.h"

#include "base/log.h"
#include "cap/room.h"
#include "ctl/client.h"
#include "ctl/server.h"
#include "harness/check.h"
#include "os/file.h"
#include "os/local.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_NS (30 * VIV_NS_PER_SEC)
static char path[] = "t.sock";

// ---- verbs ----

static _Atomic uint32_t begun, ended;

// Sends back what comes.
static bool step_echo(struct viv_ctl_req *req, void *state)
{
    const struct viv_buf *input = viv_ctl_input(req);
    (void)state;
    if (!viv_ctl_has_room(req)) return false;
    if (input->len_bytes > 0) {
        viv_ctl_send_data(req, 1, input->data, input->len_bytes);
        viv_ctl_take(req, input->len_bytes);
        return true; // its end may be there already
    } else if (viv_ctl_input_has_ended(req)) {
        viv_ctl_finish(req, json_object());
    }
    return false;
}

// Sends for ever.
static bool step_flood(struct viv_ctl_req *req, void *state)
{
    static const char data[16384];
    uint64_t *sent = state;
    if (!viv_ctl_has_room(req)) return false;
    viv_ctl_send_data(req, 1, data, sizeof data);
    *sent += sizeof data;
    return true;
}

// Waits; has something to let go of.
static bool step_wait(struct viv_ctl_req *req, void *state)
{
    bool *has_begun = state;
    const uint64_t ms = viv_json_get_u64(viv_ctl_args(req), "ms", 0);
    if (!*has_begun) {
        *has_begun = true;
        atomic_fetch_add(&begun, 1);
        if (ms != 0) viv_ctl_wake_at(req, viv_ctl_now_ns(req) + ms * VIV_NS_PER_MS);
    } else if (ms != 0) {
        viv_ctl_fail(req, VIV_E_TIMEOUT, "ms");
    }
    return false;
}

static void end_wait(struct viv_ctl_req *req, void *state)
{
    (void)req;
    if (*(bool *)state) atomic_fetch_add(&ended, 1);
}

static const struct viv_ctl_verb verbs[] = {{"echo", 0, step_echo, NULL},
                                            {"flood", sizeof(uint64_t), step_flood, NULL},
                                            {"wait", sizeof(bool), step_wait, end_wait}};

// ---- the rig ----

struct rig {
    struct viv_kernel *kernel;
    struct viv_room *cap;
    struct viv_env *env;
    struct viv_ctl_server *server;
    int64_t bytes;
};

static void leave(struct rig *rig, void (*fn)(struct rig *rig))
{
    struct viv_qsbr_member *member;
    OK(viv_sched_enter(viv_kernel_sched(rig->kernel), &member));
    fn(rig);
    viv_sched_leave(member);
}

static void open_server(struct rig *rig)
{
    (void)unlink(path);
    const int fd = viv_os_local_listen(path);
    assert_true(fd >= 0);
    const struct viv_ctl_server_config config = {.kernel = rig->kernel,
                                                 .env = rig->env,
                                                 .fd = fd,
                                                 .verbs = verbs,
                                                 .verb_count = VIV_COUNT_OF(verbs),
                                                 .uid = geteuid()};
    OK(viv_ctl_server_open(&config, &rig->server));
}

static void stop_server(struct rig *rig)
{
    viv_ctl_server_stop(rig->server, TIMEOUT_NS);
    assert_int_equal(viv_ctl_server_conns(rig->server), 0);
}

static void open_rig(struct rig *rig)
{
    const struct viv_kernel_config config = {.worker_count = 2};
    memset(rig, 0, sizeof *rig);
    atomic_store(&begun, 0);
    atomic_store(&ended, 0);
    rig->bytes = viv_alloc_live_bytes_all();
    OK(viv_kernel_new(&config, &rig->kernel));
    OK(viv_room_open(rig->kernel, &rig->cap));
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    OK(viv_env_new(rig->kernel, 1, &limits, &rig->env));
    OK(viv_room_add_env(rig->cap, rig->env, NULL));
    OK(viv_kernel_start(rig->kernel));
    leave(rig, open_server);
}

static void close_rig(struct rig *rig)
{
    leave(rig, stop_server);
    OK(viv_kernel_stop(rig->kernel, TIMEOUT_NS));
    viv_ctl_server_close(rig->server);
    viv_room_close(rig->cap);
    viv_kernel_free(rig->kernel);
    assert_int_equal(viv_alloc_live_bytes_all(), rig->bytes);
    assert_int_equal(atomic_load(&begun), atomic_load(&ended));
}

// ---- a client of bytes ----

static int dial(void)
{
    const int fd = viv_os_local_connect(path);
    assert_true(fd >= 0);
    return fd;
}

static void add(struct viv_buf *buf, enum viv_frame_type type, uint32_t request, const char *text)
{
    OK(viv_frame_put(buf, &(struct viv_frame){.type = type,
                                              .request = request,
                                              .payload = (const uint8_t *)text,
                                              .len = (uint32_t)strlen(text)}));
}

static void say(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        const ssize_t n = viv_os_local_send(fd, at, len);
        assert_true(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

// Reads until the other end closes, or the first `max` bytes.
static size_t hear(int fd, uint8_t *out, size_t max)
{
    size_t len = 0;
    while (len < max) {
        assert_true(viv_os_poll_fd(fd, POLLIN, 30000) > 0);
        const ssize_t n = viv_os_read(fd, out + len, max - len);
        if (n <= 0) break;
        len += (size_t)n;
    }
    return len;
}

static const char hello[] = "{\"min\":1,\"max\":9}";

// ---- tests ----

static void echo_in_one_connection(void **state)
{
    struct rig rig;
    struct viv_ctl_client *client;
    struct viv_frame frame;
    uint32_t wait, echo;
    (void)state;
    open_rig(&rig);
    OK(viv_ctl_client_open(path, &client, NULL));
    assert_int_equal(viv_ctl_client_peer(client), getpid());
    OK(viv_ctl_client_call(client, "wait", NULL, &wait));
    OK(viv_ctl_client_call(client, "echo", NULL, &echo));
    OK(viv_ctl_client_send(client, echo, "hello", 5));
    OK(viv_ctl_client_next(client, &frame));
    assert_true(frame.type == VIV_FRAME_DATA && frame.request == echo && frame.stream == 1);
    assert_memory_equal(frame.payload, "hello", 5);
    OK(viv_ctl_client_next(client, &frame));
    assert_int_equal(frame.type, VIV_FRAME_TAKEN);
    assert_int_equal(viv_ctl_client_window(client), VIV_CTL_WINDOW_BYTES);
    ERR(viv_ctl_client_try_next(client, &frame), AGAIN);
    // A cancel ends one, and the other goes on.
    OK(viv_ctl_client_cancel(client, wait));
    json_t *value;
    struct viv_diag diag;
    ERR(viv_ctl_client_answer(client, wait, &value, &diag), CANCELLED);
    OK(viv_ctl_client_end(client, echo));
    OK(viv_ctl_client_answer(client, echo, &value, &diag));
    json_decref(value);
    ERR(viv_ctl_client_ask(client, "nothing", NULL, &value, &diag), UNSUPPORTED);
    assert_string_equal(diag.text, "verb");
    viv_ctl_client_close(client);
    close_rig(&rig);
}

static void a_request_is_woken_at_its_time(void **state)
{
    struct rig rig;
    struct viv_ctl_client *client;
    struct viv_diag diag;
    json_t *value;
    (void)state;
    open_rig(&rig);
    json_t *args = json_object();
    OK(viv_ctl_client_open(path, &client, NULL));
    viv_json_put(&args, "ms", json_integer(30));
    ERR(viv_ctl_client_ask(client, "wait", args, &value, &diag), TIMEOUT);
    assert_string_equal(diag.text, "ms");
    viv_ctl_client_close(client);
    close_rig(&rig);
}

// One byte at a time it is the same; cut anywhere and closed, nothing happens.
static void cut_at_each_byte(void **state)
{
    struct rig rig;
    struct viv_buf buf;
    uint8_t back[256];
    (void)state;
    open_rig(&rig);
    viv_buf_init(&buf, VIV_TAG_TEST);
    add(&buf, VIV_FRAME_HELLO, 0, hello);
    add(&buf, VIV_FRAME_CALL, 1, "{\"verb\":\"echo\"}");
    add(&buf, VIV_FRAME_DATA, 1, "xyz");
    for (size_t len = 0; len <= buf.len_bytes; len++) {
        const int fd = dial();
        say(fd, buf.data, len);
        viv_os_close(fd);
    }
    const int fd = dial();
    for (size_t i = 0; i < buf.len_bytes; i++)
        say(fd, buf.data + i, 1);
    const size_t expected = VIV_FRAME_HEADER_BYTES * 2 + strlen("{\"protocol\":1}") + 3;
    assert_int_equal(hear(fd, back, expected), expected);
    assert_memory_equal(back + expected - 3, "xyz", 3);
    viv_os_close(fd);
    viv_buf_deinit(&buf);
    close_rig(&rig);
}

// What breaks a rule ends the connection, with a word.
static void garbage(void **state)
{
    static const struct {
        enum viv_frame_type type;
        uint32_t request;
        const char *text;
    } rows[] = {
        {VIV_FRAME_CALL, 0, "{\"verb\":\"echo\"}"}, // number 0
        {VIV_FRAME_CALL, 1, "{\"verb\":"},
        {VIV_FRAME_CALL, 1, ""},
        {VIV_FRAME_CALL, 1, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["},
        {VIV_FRAME_RESULT, 1, "{}"},
        {VIV_FRAME_HELLO, 0, hello},
        {VIV_FRAME_EVENT, 1, "{}"},
    };
    struct rig rig;
    uint8_t back[512];
    (void)state;
    open_rig(&rig);
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        struct viv_buf buf;
        viv_buf_init(&buf, VIV_TAG_TEST);
        add(&buf, VIV_FRAME_HELLO, 0, hello);
        add(&buf, rows[i].type, rows[i].request, rows[i].text);
        const int fd = dial();
        say(fd, buf.data, buf.len_bytes);
        const size_t len = hear(fd, back, sizeof back); // to its end
        struct viv_frame frame;
        size_t used, at;
        OK(viv_frame_take(back, len, &frame, &at));
        assert_int_equal(frame.type, VIV_FRAME_HELLO);
        OK(viv_frame_take(back + at, len - at, &frame, &used));
        if (frame.type != VIV_FRAME_ERROR || frame.request != 0) fail_msg("row %zu", i);
        assert_int_equal(at + used, len);
        viv_os_close(fd);
        viv_buf_deinit(&buf);
    }
    const int fd = dial(); // no frame at all
    say(fd, "GET / HTTP/1.1\r\n\r\n", 18);
    assert_true(hear(fd, back, sizeof back) > 0);
    viv_os_close(fd);
    close_rig(&rig);
}

static void another_protocol(void **state)
{
    struct rig rig;
    struct viv_buf buf;
    uint8_t back[256];
    struct viv_frame frame;
    size_t used;
    (void)state;
    open_rig(&rig);
    viv_buf_init(&buf, VIV_TAG_TEST);
    add(&buf, VIV_FRAME_HELLO, 0, "{\"min\":2,\"max\":3}");
    const int fd = dial();
    say(fd, buf.data, buf.len_bytes);
    const size_t len = hear(fd, back, sizeof back);
    OK(viv_frame_take(back, len, &frame, &used));
    assert_int_equal(viv_ctl_client_error(&frame, NULL), VIV_E_UNSUPPORTED);
    viv_os_close(fd);
    viv_buf_deinit(&buf);
    close_rig(&rig);
}

// One that does not read holds up itself only, and what is kept for it is bounded.
static void slow_reader(void **state)
{
    struct rig rig;
    struct viv_ctl_client *slow, *quick;
    struct viv_frame frame;
    json_t *value;
    uint32_t flood, echo;
    (void)state;
    open_rig(&rig);
    OK(viv_ctl_client_open(path, &slow, NULL));
    OK(viv_ctl_client_call(slow, "flood", NULL, &flood));
    OK(viv_ctl_client_open(path, &quick, NULL));
    for (int i = 0; i < 100; i++) {
        OK(viv_ctl_client_call(quick, "echo", NULL, &echo));
        OK(viv_ctl_client_end(quick, echo));
        OK(viv_ctl_client_answer(quick, echo, &value, NULL));
        json_decref(value);
    }
    assert_true(viv_alloc_live_bytes(VIV_TAG_CTL) < 4 << 20);
    for (int i = 0; i < 1000; i++) { // once it reads, it goes on
        OK(viv_ctl_client_next(slow, &frame));
        assert_int_equal(frame.type, VIV_FRAME_DATA);
    }
    viv_ctl_client_close(slow);
    viv_ctl_client_close(quick);
    close_rig(&rig);
}

// More input than the window is no accident.
static void window(void **state)
{
    struct rig rig;
    struct viv_buf buf;
    static uint8_t back[4096];
    static char text[VIV_CTL_DATA_BYTES_MAX + 1];
    (void)state;
    open_rig(&rig);
    memset(text, 'x', sizeof text - 1);
    viv_buf_init(&buf, VIV_TAG_TEST);
    add(&buf, VIV_FRAME_HELLO, 0, hello);
    add(&buf, VIV_FRAME_CALL, 1, "{\"verb\":\"wait\"}"); // takes none
    const int fd = dial();
    for (int i = 0; i < 5; i++)
        add(&buf, VIV_FRAME_DATA, 1, text);
    say(fd, buf.data, buf.len_bytes);
    const size_t len = hear(fd, back, sizeof back);
    struct viv_frame frame;
    size_t used, at;
    OK(viv_frame_take(back, len, &frame, &at));
    OK(viv_frame_take(back + at, len - at, &frame, &used));
    assert_int_equal(viv_ctl_client_error(&frame, NULL), VIV_E_TOOBIG);
    viv_os_close(fd);
    viv_buf_deinit(&buf);
    close_rig(&rig);
}

static void too_many_requests(void **state)
{
    struct rig rig;
    struct viv_ctl_client *client;
    json_t *value;
    struct viv_diag diag;
    uint32_t request = 0;
    (void)state;
    open_rig(&rig);
    OK(viv_ctl_client_open(path, &client, NULL));
    for (int i = 0; i < 33; i++)
        OK(viv_ctl_client_call(client, "wait", NULL, &request));
    ERR(viv_ctl_client_answer(client, request, &value, &diag), FULL);
    viv_ctl_client_close(client); // which cancels the others
    CHECK_WAIT(atomic_load(&ended) == 32, 10, {});
    close_rig(&rig);
}

static void a_thousand_connections(void **state)
{
    enum { COUNT = 1000 };
    struct rig rig;
    struct viv_ctl_client **clients;
    struct rlimit files;
    json_t *value;
    uint32_t request;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_cur < 2 * COUNT + 100) skip();
    open_rig(&rig);
    clients = viv_calloc(COUNT, sizeof *clients, VIV_TAG_TEST);
    const int64_t before = viv_alloc_live_bytes(VIV_TAG_CTL);
    for (int i = 0; i < COUNT; i++)
        OK(viv_ctl_client_open(path, &clients[i], NULL));
    assert_int_equal(viv_ctl_server_conns(rig.server), COUNT);
    for (int i = 0; i < COUNT; i += 2) {
        OK(viv_ctl_client_call(clients[i], "echo", NULL, &request));
        OK(viv_ctl_client_end(clients[i], request));
        OK(viv_ctl_client_answer(clients[i], request, &value, NULL));
        json_decref(value);
    }
    for (int i = 0; i < COUNT; i++)
        viv_ctl_client_close(clients[i]);
    CHECK_WAIT(viv_ctl_server_conns(rig.server) == 0, 20, {});
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CTL), before);
    viv_free(clients, COUNT * sizeof *clients, VIV_TAG_TEST);
    close_rig(&rig);
}

// A child of another user may reach the socket here, and is closed upon.
static void foreign_user(void **state)
{
    struct rig rig;
    (void)state;
    if (geteuid() != 0) skip();
    viv_log_set_level(VIV_LOG_ERROR);
    open_rig(&rig);
    assert_int_equal(chmod(path, 0666), 0);
    const pid_t child = fork();
    if (child == 0) {
        char byte;
        const int fd = setuid(65534) == 0 ? viv_os_local_connect(path) : -1;
        if (fd < 0) _exit(fd == -EACCES ? 3 : 2); // 3: it does not even reach the folder
        _exit(viv_os_read(fd, &byte, 1) == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3));
    close_rig(&rig);
}

// Who waits is told; the queue is sent before the end.
static void the_end_is_told(void **state)
{
    struct rig rig;
    struct viv_ctl_client *client;
    json_t *value;
    struct viv_diag diag;
    uint32_t request;
    (void)state;
    open_rig(&rig);
    OK(viv_ctl_client_open(path, &client, NULL));
    OK(viv_ctl_client_call(client, "wait", NULL, &request));
    CHECK_WAIT(atomic_load(&begun) == 1, 10, {});
    leave(&rig, stop_server);
    ERR(viv_ctl_client_answer(client, request, &value, &diag), CANCELLED);
    assert_string_equal(diag.text, "the daemon ends");
    ERR(viv_ctl_client_answer(client, request, &value, &diag), CLOSED);
    viv_ctl_client_close(client);
    close_rig(&rig);
}

// Each allocation of a connection's life fails once, on whatever thread: the client gets its
// answer, an error, or the end of the connection, and nothing is lost.
static void every_allocation_fails_once(void **state)
{
    (void)state;
    viv_log_set_level(VIV_LOG_ERROR);
    for (uint64_t nth = 1; nth < 60; nth++) {
        struct rig rig;
        struct viv_ctl_client *client;
        json_t *value;
        uint32_t request;
        open_rig(&rig);
        viv_alloc_fail_nth_global(nth);
        enum viv_err err = viv_ctl_client_open(path, &client, NULL);
        if (err == VIV_OK) {
            err = viv_ctl_client_call(client, "echo", NULL, &request);
            if (err == VIV_OK) err = viv_ctl_client_upload(client, request, "hello", 5);
            if (err == VIV_OK) err = viv_ctl_client_answer(client, request, &value, NULL);
            if (err == VIV_OK) json_decref(value);
            viv_ctl_client_close(client);
        }
        viv_alloc_fail_nth_global(0);
        const bool is_known =
            err == VIV_OK || err == VIV_E_EXHAUSTED || err == VIV_E_CLOSED || err == VIV_E_INTERNAL;
        if (!is_known) fail_msg("allocation %u: %s", (unsigned)nth, viv_err_name(err));
        close_rig(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo_in_one_connection),
        cmocka_unit_test(a_request_is_woken_at_its_time),
        cmocka_unit_test(cut_at_each_byte),
        cmocka_unit_test(garbage),
        cmocka_unit_test(another_protocol),
        cmocka_unit_test(slow_reader),
        cmocka_unit_test(window),
        cmocka_unit_test(too_many_requests),
        cmocka_unit_test(a_thousand_connections),
        cmocka_unit_test(foreign_user),
        cmocka_unit_test(the_end_is_told),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
