// SPDX-License-Identifier: Apache-2.0
// Hello from two processes: the smallest program that starts a process and talks to it.
//
//   clang --target=wasm32-wasi -O2 -I include -o hello.wasm examples/hello.c
//   viv run hello.wasm
//
// What a process may call is described in include/viv/viv_guest.h.
#include "viv/viv_guest.h"
#include <stdio.h>

// Runs in a process of its own, with its own memory. Returning ends it.
static void greeter(int64_t parent)
{
    static const char text[] = "hello from another process";
    viv_send(parent, 0, text, sizeof(text) - 1, NULL, 0, 0);
}

static void run(void)
{
    int64_t pid = viv_spawn_fn(greeter, viv_self());
    if (pid < 0) {
        printf("cannot spawn: error %d\n", (int)-pid);
        return;
    }
    char text[64];
    struct viv_msg msg;
    int32_t err = viv_receive(NULL, 0, VIV_SEC, text, sizeof(text), &msg);
    if (err < 0)
        printf("no message: error %d\n", (int)-err);
    else
        printf("%.*s\n", (int)msg.size, text); // it is known to fit
}

VIV_MAIN(run);
