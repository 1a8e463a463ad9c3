// SPDX-License-Identifier: Apache-2.0
// A supervisor: starts workers, is told how each of them ends, starts those again that failed, and
// gives one up that failed too often.
//
//   clang --target=wasm32-wasi -O2 -I include -o supervisor.wasm examples/supervisor.c
//   viv run supervisor.wasm
//
//   supervisor ──spawn, linked──> worker 1: does its work
//      ▲                          worker 2: traps at its first attempt
//      │                          worker 3: gives up with code 3, twice
//      └──EXIT message: why────── worker 4: never comes to an end, so its time limit ends it
//
// A worker's crash is its own: its memory is gone, everybody else runs on. The lines of the kernel
// on stderr (`viv: process … failed`) are what an operator sees of it.
#include "viv/viv_guest.h"
#include <stdio.h>

enum { WORKERS = 4, ATTEMPTS_MAX = 3 };

// ---- the workers: each runs in a process of its own ----

// The argument is all that a new process gets from its parent, so it holds two numbers.
static int64_t pack(int id, int attempt)
{
    return (int64_t)attempt << 32 | id;
}

static void worker(int64_t arg)
{
    int id = (int)(arg & 0xFFFFFFFF), attempt = (int)(arg >> 32);
    static const char why[] = "the input was not there yet";
    volatile uint64_t sum = 0;
    switch (id) {
    case 2:
        if (attempt == 1) __builtin_trap();
        break;
    case 3:
        if (attempt <= 2) viv_exit(viv_self(), VIV_END_EXITED, 3, why, sizeof(why) - 1);
        break;
    case 4:
        for (;;)
            sum += 1;
    default:
        break;
    }
    for (int i = 0; i < 100000; i++)
        sum += (uint64_t)i; // the work itself
} // returning is a normal end

// ---- the supervisor ----

struct child {
    int64_t pid; // 0: not running
    int attempt;
};

static struct child children[WORKERS + 1]; // by id
static int finished, given_up, restarts;

static void start(int id)
{
    // The limit holds for every worker: an attempt may take half a second. The tag of the link is
    // the worker's id, so that its EXIT message tells which one ended.
    struct viv_limits limits = {.life_ns = 500 * VIV_MS};
    struct viv_spawn spec = VIV_SPAWN_INIT;
    spec.flags = VIV_SPAWN_LINK;
    spec.tag = id;
    spec.limits = &limits;
    int64_t pid = viv_spawn_fn_with(&spec, worker, pack(id, ++children[id].attempt));
    if (pid < 0) {
        printf("worker %d: cannot spawn: error %d\n", id, (int)-pid);
        given_up++;
        return;
    }
    children[id].pid = pid;
}

// A worker has ended; the payload is a viv_end, then one line of text.
static void ended(int id, const char *payload, uint64_t size)
{
    const struct viv_end *end = (const struct viv_end *)payload;
    int room = (int)(size - sizeof(*end)); // a long line may have been cut
    int len = (int)end->text_len < room ? (int)end->text_len : room;
    const char *text = payload + sizeof(*end);
    children[id].pid = 0;
    if (end->kind == VIV_END_NORMAL) {
        printf("worker %d: finished at attempt %d\n", id, children[id].attempt);
        finished++;
    } else if (children[id].attempt < ATTEMPTS_MAX) {
        printf("worker %d: failed: %.*s; starting it again\n", id, len, text);
        restarts++;
        start(id);
    } else {
        printf("worker %d: failed: %.*s; given up\n", id, len, text);
        given_up++;
    }
}

static void run(void)
{
    // From now on the end of a linked process is a message instead of our own end.
    viv_trap_exits(1);
    printf("supervisor: starting %d workers\n", WORKERS);
    for (int id = 1; id <= WORKERS; id++)
        start(id);
    while (finished + given_up < WORKERS) {
        _Alignas(8) char payload[256];
        struct viv_msg msg;
        int32_t err = viv_receive(NULL, 0, 10 * VIV_SEC, payload, sizeof(payload), &msg);
        if (err < 0) {
            printf("supervisor: nothing heard for ten seconds: error %d\n", (int)-err);
            return;
        }
        if (msg.kind != VIV_EXIT) continue; // nobody sends us anything else
        ended((int)msg.tag, payload, msg.size < sizeof(payload) ? msg.size : sizeof(payload));
    }
    printf("supervisor: %d finished, %d given up, %d restarts\n", finished, given_up, restarts);
}

VIV_MAIN(run);
