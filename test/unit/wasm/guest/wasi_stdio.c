// SPDX-License-Identifier: Apache-2.0
// Guests that use the standard streams; what they do is argv[1].
#include "wasi_raw.h"

#include <unistd.h>

// 1 MiB of numbered lines of 64 bytes, or as much as argv says.
static void flood(int lines, const char *tag)
{
    char line[80];
    u32 n;
    for (int i = 0; i < lines; i++) {
        int len = snprintf(line, sizeof(line), "%s%07d", tag, i);
        memset(line + len, '.', (size_t)(63 - len));
        line[63] = '\n';
        EXPECT(write_fd(1, line, 64, &n), E_OK);
        EXPECT(n, 64);
    }
}

// Blocks of `len` equal bytes and a newline.
static void blocks(int count, u32 len, char byte)
{
    static char block[4096];
    u32 n;
    memset(block, byte, len - 1);
    block[len - 1] = '\n';
    for (int i = 0; i < count; i++) {
        EXPECT(write_fd(1, block, len, &n), E_OK);
        EXPECT(n, len);
    }
}

// One write of 1 MiB, in as many calls as it takes.
static void bulk(void)
{
    static char data[1 << 20];
    u32 n;
    for (u32 i = 0; i < sizeof(data); i++)
        data[i] = (char)('a' + i / 1000 % 26);
    for (u32 at = 0; at < sizeof(data); at += n) {
        EXPECT(write_fd(1, data + at, sizeof(data) - at, &n), E_OK);
        EXPECT_TRUE(n > 0);
    }
}

// Copies lines of standard input to output with a mark before each, one read a line.
static void echo(const char *mark)
{
    char buf[64], out[80];
    u32 n, done;
    for (;;) {
        EXPECT(read_fd(0, buf, sizeof(buf), &n), E_OK);
        if (n == 0) break;
        int len = snprintf(out, sizeof(out), "%s%.*s", mark, (int)n, buf);
        EXPECT(write_fd(1, out, (u32)len, &done), E_OK);
    }
    EXPECT(read_fd(0, buf, sizeof(buf), &n), E_OK); // the end stays the end
    EXPECT(n, 0);
    EXPECT(write_fd(1, "end\n", 4, &done), E_OK);
}

static void broken(void)
{
    u32 n, error = E_OK;
    for (int i = 0; error == E_OK && i < 100; i++)
        error = write_fd(1, "x\n", 2, &n);
    EXPECT(error, E_PIPE);
}

// Waits for input with poll_oneoff, 10 s at most.
static void wait_input(void)
{
    static u64 sub[2][6], event[2][4];
    u32 count, n;
    char buf[16];
    sub[0][0] = 21;
    sub[0][1] = 1; // fd_read of 0
    sub[0][2] = 0;
    sub[1][0] = 22;
    sub[1][2] = 1;
    sub[1][3] = 10000000000;
    EXPECT(write_fd(1, "waits\n", 6, &n), E_OK);
    EXPECT(raw_poll_oneoff(P(sub), P(event), 2, P(&count)), E_OK);
    EXPECT(count, 1);
    EXPECT(event[0][0], 21);
    EXPECT(event[0][1], 1 << 16); // type fd_read, no error
    EXPECT(event[0][2], 3);
    EXPECT(read_fd(0, buf, 16, &n), E_OK);
    EXPECT(n, 3);
    EXPECT(write_fd(1, buf, n, &n), E_OK);
    EXPECT(raw_poll_oneoff(P(sub), P(event), 2, P(&count)), E_OK); // the end
    EXPECT(event[0][3] & 1, 1);
    EXPECT(read_fd(0, buf, 16, &n), E_OK);
    EXPECT(n, 0);
}

static void nonblocking(void)
{
    u32 n;
    char c;
    EXPECT(raw_fd_fdstat_set_flags(0, NONBLOCK), E_OK);
    EXPECT(read_fd(0, &c, 1, &n), E_AGAIN);
    EXPECT(raw_fd_fdstat_set_flags(0, 0), E_OK);
}

static void types(void)
{
    struct fdstat st;
    for (u32 fd = 0; fd < 3; fd++) {
        EXPECT(raw_fd_fdstat_get(fd, P(&st)), E_OK);
        fprintf(stderr, "%u:%u%s%s ", fd, st.type, st.base & R_READ ? "r" : "",
                st.base & R_WRITE ? "w" : "");
    }
}

static void silent(void)
{
    u32 n;
    char c;
    EXPECT(read_fd(0, &c, 1, &n), E_OK);
    EXPECT(n, 0);
    EXPECT(write_fd(1, "x", 1, &n), E_OK);
    EXPECT(n, 1);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const char *more = argc > 2 ? argv[2] : "";
    if (strcmp(what, "flood") == 0) flood(1 << 14, more);
    if (strcmp(what, "blocks") == 0) blocks(100, 4096, more[0]);
    if (strcmp(what, "short") == 0) blocks(1000, 100, more[0]);
    if (strcmp(what, "bulk") == 0) bulk();
    if (strcmp(what, "echo") == 0) echo(more);
    if (strcmp(what, "broken") == 0) broken();
    if (strcmp(what, "wait") == 0) wait_input();
    if (strcmp(what, "nonblocking") == 0) nonblocking();
    if (strcmp(what, "types") == 0) types();
    if (strcmp(what, "silent") == 0) silent();
    if (strcmp(what, "compute") == 0) {
        volatile u32 sum = 0;
        for (u32 i = 0; i < 200000000; i++)
            sum += i;
    }
    return 0;
}
