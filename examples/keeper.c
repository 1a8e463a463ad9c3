// SPDX-License-Identifier: Apache-2.0
// A keeper: a WebAssembly program that keeps a server of the operating system alive. It starts the
// server as its child, is told how that ends, starts it again after a pause that grows, and gives
// up when it died too often.
//
//   clang --target=wasm32-wasi -O2 -I include -o keeper.wasm examples/keeper.c
//   viv run --policy examples/keeper.policy keeper.wasm 8080
//
//   keeper ──spawn, monitor──> python3 -m http.server
//      ▲                            │
//      └──DOWN: signaled(9) ────────┘ ── pause ──> start again
//
// The policy allows exactly that command and nothing else. The server belongs to the keeper: when
// the keeper ends, however that happens, the server is stopped and nothing of it is left.
#include "viv/viv_native.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEATHS_MAX = 3, TAG_DOWN = 1 };

static const char *port;

// The request: what a shell would be given as `python3 -m http.server PORT --bind 127.0.0.1`.
static int32_t start(struct viv_prog_spawned *out)
{
    static const char *const words[] = {"-m", "http.server", NULL, "--bind", "127.0.0.1"};
    uint8_t block[1024];
    struct viv_prog_req req;
    viv_prog_req_init(&req, block, sizeof(block));
    viv_prog_req_text(&req, VIV_PROG_CMD, "/usr/bin/python3");
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        viv_prog_req_text(&req, VIV_PROG_ARG, words[i] != NULL ? words[i] : port);
    viv_prog_req_text(&req, VIV_PROG_LABEL, "web");
    // It serves the network of this machine, so it runs in no sandbox; its log is not wanted.
    viv_prog_req_u32(&req, VIV_PROG_SANDBOX, VIV_PROG_SANDBOX_NONE);
    viv_prog_req_u32(&req, VIV_PROG_STDOUT, 1);
    viv_prog_req_u32(&req, VIV_PROG_STDERR, 2);
    return viv_prog_spawn(&req, out);
}

// Waits for the end of the child and says why it ended.
static void wait_for_end(void)
{
    struct {
        struct viv_end end;
        char text[200];
    } why;
    struct viv_msg msg;
    do {
        memset(&why, 0, sizeof(why));
        viv_receive(NULL, 0, VIV_FOREVER, &why, sizeof(why) - 1, &msg);
    } while (msg.kind != VIV_DOWN || msg.tag != TAG_DOWN);
    if (why.end.kind == VIV_END_SIGNALED)
        printf("the server was ended by signal %d\n", (int)why.end.code & 255);
    else if (why.end.kind == VIV_END_EXITED)
        printf("the server exited with status %d\n", (int)why.end.code);
    else
        printf("the server ended\n");
}

static void pause_ms(int64_t ms)
{
    static const int64_t none[] = {-1}; // a tag that nobody uses
    struct viv_msg msg;
    viv_receive(none, 1, ms * VIV_MS, NULL, 0, &msg);
}

// One life of the server.
static void keep_once(void)
{
    struct viv_prog_spawned child;
    struct viv_prog_status status;
    int32_t err = start(&child);
    if (err != 0) {
        char detail[200] = "";
        viv_info(VIV_INFO_ERROR, detail, sizeof(detail) - 1);
        printf("cannot start the server: error %d, %s\n", (int)-err, detail);
        exit(2);
    }
    const struct viv_prog_ref ref = viv_prog_by_handle(child.handle);
    viv_monitor((int64_t)child.pid, TAG_DOWN);
    if (viv_native_status(&ref, &status, sizeof(status)) == 0)
        printf("the server runs: process %d\n", (int)status.os_pid);
    fflush(stdout);
    wait_for_end();
    viv_native_release(&ref); // its record was kept for us
    viv_close((int64_t)child.handle);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: keeper PORT\n");
        return 2;
    }
    port = argv[1];
    for (int deaths = 0; deaths <= DEATHS_MAX; deaths++) {
        if (deaths > 0) pause_ms(50 << deaths);
        keep_once();
    }
    printf("it died too often\n");
    return 1;
}
