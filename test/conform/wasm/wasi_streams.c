// SPDX-License-Identifier: Apache-2.0
// Cases 95 and 102: standard output, slow, captured and shared. Guest: guest/conform_wasi.c.
#include "wasi_cases.h"

#include <sys/socket.h>
#include <unistd.h>

static viv_pid start(struct world *world, const char *entry, const uint64_t *args, uint32_t count)
{
    return world_start(world, world_module(world, GUEST), entry, args, count);
}

// Reads exactly `len` bytes.
static void read_whole(int fd, void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        const ssize_t n = read(fd, (char *)data + at, len - at);
        CHECK(n > 0);
        at += (size_t)n;
    }
}

// ---- 95 ----

// Full: something is in it, and nothing more came for a while.
static bool is_pipe_full(int fd)
{
    const size_t before = bytes_in_pipe(fd);
    viv_os_sleep_ns(20 * VIV_NS_PER_MS);
    return before > 0 && bytes_in_pipe(fd) == before;
}

void case_095(struct world *world)
{
    enum { BULK_BYTES = 1 << 20, PIECE_BYTES = 8192, NAP_NS = 2000000 };
    static uint32_t bulk[BULK_BYTES / 4];
    const int output = plug_pipe(1);
    world_open(world);
    (void)start(world, "case_095_pair", NULL, 0);
    (void)world_note(world, 3, 0); // the pair runs
    const viv_pid writer = start(world, "case_095_writer", NULL, 0);
    (void)world_note(world, 1, 0);
    CHECK_WAIT(is_pipe_full(output), 20,
               fprintf(stderr, "%zu bytes in the pipe\n", bytes_in_pipe(output)));
    // Nobody reads: the pair goes on, the writer does not.
    const size_t in_pipe = bytes_in_pipe(output), rounds = world_note_count(world, 3);
    (void)world_note(world, 3, rounds + 20);
    CHECK(!world_has_ended(world, writer) && bytes_in_pipe(output) == in_pipe);
    // Somebody reads slowly: the same.
    const size_t rounds_before = world_note_count(world, 3);
    for (size_t at = 0; at < BULK_BYTES; at += PIECE_BYTES) {
        read_whole(output, (char *)bulk + at, PIECE_BYTES);
        viv_os_sleep_ns(NAP_NS);
    }
    const size_t rounds_after = world_note_count(world, 3);
    check_reason(world_await(world, writer), VIV_REASON_NORMAL, 0);
    fprintf(stderr, "%" PRIu64 " calls; rounds of the pair meanwhile: %zu\n",
            world_note_u64(world, 2, 0), (rounds_after - rounds_before) * 100);
    CHECK(rounds_after >= rounds_before + 10);
    for (uint32_t i = 0; i < BULK_BYTES / 4; i++)
        CHECK(bulk[i] == i);
    CHECK(bytes_in_pipe(output) == 0);
    world_check_no_failures(world);
    world_close(world);
}

// ---- 102 ----

static void check_part(struct viv_capture *capture, uint32_t part, const char *want)
{
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_TEST);
    TRY(viv_capture_read(capture, part, &buf));
    const bool is_same = buf.len_bytes == strlen(want) && memcmp(buf.data, want, strlen(want)) == 0;
    if (!is_same)
        fprintf(stderr, "part %" PRIu32 " is '%.*s', not '%s'\n", part, (int)buf.len_bytes,
                (const char *)buf.data, want);
    CHECK(is_same);
    viv_buf_deinit(&buf);
}

// Two programs at once with a buffer each, and children of theirs.
void case_102_captured(struct world *world)
{
    enum { COUNT = 2 };
    struct viv_capture *captures[COUNT];
    viv_pid pids[COUNT];
    const int output = plug_pipe(1);
    world_open(world);
    for (int i = 0; i < COUNT; i++) {
        struct viv_config *config = viv_config_new();
        captures[i] = viv_capture_new(1 << 20, false);
        CHECK(config != NULL && captures[i] != NULL);
        config->rights = VIV_RIGHT_ALL;
        config->stdio = VIV_STDIO_CAPTURED;
        config->capture = viv_capture_take(captures[i]);
        TRY(world_spawn(world, world->env, world_module(world, GUEST), config, "case_102_prints",
                        NULL, 0, &pids[i], NULL));
        viv_config_drop(config);
    }
    for (int i = 0; i < COUNT; i++) {
        check_reason(world_await(world, pids[i]), VIV_REASON_NORMAL, 0);
        CHECK(viv_capture_part_count(captures[i]) == 3);
        check_part(captures[i], 0, "parent begins\nparent on stderr\nparent ends\n");
        check_part(captures[i], 1, "child one\n");
        check_part(captures[i], 2, "child two\n");
        viv_capture_drop(captures[i]);
    }
    CHECK(bytes_in_pipe(output) == 0);
    world_check_no_failures(world);
    world_close(world);
}

enum { WRITERS = 16, LINES = 100, LINE_MOST = 4096, LINE_HEAD = 9 }; // as in the guest

static uint32_t digits(const char *text)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        CHECK(text[i] >= '0' && text[i] <= '9');
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    return value;
}

// Reads one line: one writer's next, whole, and nothing between its bytes.
static void check_line(int output, uint32_t next[WRITERS])
{
    char line[LINE_MOST];
    read_whole(output, line, LINE_HEAD);
    const char letter = line[0];
    CHECK(letter >= 'A' && letter < 'A' + WRITERS);
    const uint32_t len = digits(line + 5);
    CHECK(len > LINE_HEAD && len <= LINE_MOST);
    CHECK(digits(line + 1) == next[letter - 'A']++);
    read_whole(output, line + LINE_HEAD, len - LINE_HEAD);
    for (uint32_t i = LINE_HEAD; i < len - 1; i++)
        CHECK(line[i] == letter);
    CHECK(line[len - 1] == '\n');
}

// Many processes write lines to where `output` is the other end of.
static void check_unmixed(struct world *world, int output)
{
    viv_pid pids[WRITERS];
    uint32_t next[WRITERS] = {0};
    world_open(world);
    for (uint32_t i = 0; i < WRITERS; i++) {
        const uint64_t letter = 'A' + i;
        pids[i] = start(world, "case_102_lines", &letter, 1);
    }
    CHECK_WAIT(is_pipe_full(output), 20,
               fprintf(stderr, "%zu bytes in it\n", bytes_in_pipe(output)));
    for (uint32_t i = 0; i < WRITERS * LINES; i++) {
        check_line(output, next);
        if (i % 64 == 0) viv_os_sleep_ns(2 * VIV_NS_PER_MS); // now and then they are faster
    }
    for (uint32_t i = 0; i < WRITERS; i++) {
        check_reason(world_await(world, pids[i]), VIV_REASON_NORMAL, 0);
        CHECK(next[i] == LINES);
    }
    CHECK(bytes_in_pipe(output) == 0);
    world_check_no_failures(world);
    world_close(world);
}

void case_102_unmixed_pipe(struct world *world)
{
    check_unmixed(world, plug_pipe(1));
}

// A pipe takes 4096 bytes whole or not at all. A socket with the smallest buffer there is takes
// parts of them, and whoever writes the rest must still be next.
void case_102_unmixed_socket(struct world *world)
{
    const int smallest = 1;
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    CHECK(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(smallest)) == 0);
    CHECK(dup2(fds[1], 1) == 1 && close(fds[1]) == 0);
    check_unmixed(world, fds[0]);
}
