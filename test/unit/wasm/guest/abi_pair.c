// SPDX-License-Identifier: Apache-2.0
// guest-flags: -ffreestanding -nostdlib -mbulk-memory
// Case 106, a `viv` guest and a lunatic guest, as a program without libc; and a function of the
// program as a process. It is run as a whole: _start.
#include "viv/viv_guest.h"

#define CHECK(expr)                                                                                \
    do {                                                                                           \
        if (!(expr)) viv_exit(viv_self(), VIV_END_ERROR, __LINE__, #expr, sizeof(#expr) - 1);      \
    } while (0)

static const char sent[] = "hello", turned[] = "olleh";

static void function(int64_t parent)
{
    CHECK(viv_send(parent, 44, "f", 1, NULL, 0, 0) == 0);
}

static void talk_to_peer(int64_t module)
{
    struct viv_spawn spec = VIV_SPAWN_INIT;
    const int64_t args[] = {viv_self()}, tag = 43;
    int64_t peer, own = viv_module(NULL, 0, VIV_MODULE_OWN);
    spec.module = module;
    spec.entry = "peer";
    spec.entry_len = 4;
    spec.args = args;
    spec.arg_count = 1;
    CHECK(viv_spawn(&spec, &peer) == 0);
    CHECK(viv_send(peer, 42, sent, 5, &own, 1, 0) == 0);
    char bytes[5];
    struct viv_msg msg;
    CHECK(viv_receive(&tag, 1, 20 * VIV_SEC, bytes, 5, &msg) == 0);
    CHECK(msg.kind == VIV_DATA && msg.from == peer && msg.size == 5 && msg.handle_count == 1);
    for (int i = 0; i < 5; i++)
        CHECK(bytes[i] == turned[i]);
    // The handle that came back is this program: it can be spawned.
    int64_t back = viv_take(0), child;
    CHECK(back > 0);
    const int64_t call[] = {(int64_t)(uintptr_t)function, viv_self()};
    spec.module = back;
    spec.entry = VIV_TRAMPOLINE;
    spec.entry_len = sizeof(VIV_TRAMPOLINE) - 1;
    spec.args = call;
    spec.arg_count = 2;
    CHECK(viv_spawn(&spec, &child) == 0);
    const int64_t answer = 44;
    CHECK(viv_receive(&answer, 1, 20 * VIV_SEC, bytes, 5, &msg) == 0);
    CHECK(msg.from == child);
    CHECK(viv_close(back) == 0);
}

static void run(void)
{
    CHECK(viv_version() == 1);
    int64_t module = viv_module("peer", 4, VIV_MODULE_NAME);
    CHECK(module > 0);
    for (int i = 0; i < 10; i++)
        talk_to_peer(module);
    int64_t pid = viv_spawn_fn(function, viv_self());
    struct viv_msg msg;
    char byte;
    CHECK(viv_receive(NULL, 0, 20 * VIV_SEC, &byte, 1, &msg) == 0);
    CHECK(msg.from == pid && byte == 'f');
}

VIV_MAIN(run);
