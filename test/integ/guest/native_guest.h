// SPDX-License-Identifier: Apache-2.0
// What guests that use programs share: requests, and checks that end the guest with their line.
#ifndef VIV_TEST_INTEG_NATIVE_GUEST_H
#define VIV_TEST_INTEG_NATIVE_GUEST_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <viv/viv_native.h>
#include <viv/viv_res.h>

#define CHECK(holds)                                                                               \
    do {                                                                                           \
        if (!(holds)) exit(__LINE__);                                                              \
    } while (0)
#define OK(call) CHECK((call) == 0)
#define ERR(call, code) CHECK((call) == -(int32_t)(code))

static uint8_t block[4096];
static struct viv_prog_req request;

// A request for a command, outside of any sandbox; arguments follow.
static inline void command(const char *path)
{
    viv_prog_req_init(&request, block, sizeof(block));
    viv_prog_req_text(&request, VIV_PROG_CMD, path);
    viv_prog_req_u32(&request, VIV_PROG_SANDBOX, VIV_PROG_SANDBOX_NONE);
}

static inline void shell(const char *script)
{
    command("/bin/sh");
    viv_prog_req_text(&request, VIV_PROG_ARG, "-c");
    viv_prog_req_text(&request, VIV_PROG_ARG, script);
}

static inline struct viv_prog_ref start(void)
{
    struct viv_prog_spawned child;
    int32_t err = viv_prog_spawn(&request, &child);
    if (err != 0) exit(10000 - err); // which one
    return viv_prog_by_handle(child.handle);
}

static inline struct viv_prog_ref start_shell(const char *script)
{
    shell(script);
    return start();
}

// Until its standard output has said so much in all.
static inline void await_output(const struct viv_prog_ref *ref, uint64_t bytes)
{
    static char text[4096];
    struct viv_prog_chunk chunk;
    uint64_t sum = 0;
    const void *cursor = NULL;
    while (sum < bytes) {
        OK(viv_native_read_since(ref, 1, cursor, text, sizeof(text), 30000, &chunk));
        CHECK(chunk.n > 0);
        sum = chunk.offset + chunk.n;
        cursor = chunk.next;
    }
}

static inline void expect_detail(const char *text)
{
    char detail[256];
    int32_t len = viv_info(VIV_INFO_ERROR, detail, sizeof(detail));
    CHECK(len == (int32_t)strlen(text) && memcmp(detail, text, (size_t)len) == 0);
}

struct guest_case {
    const char *name;
    void (*run)(void);
};
static inline int run_case(int argc, char **argv, const struct guest_case *cases, size_t count)
{
    for (size_t i = 0; i < count && argc == 2; i++) {
        if (strcmp(cases[i].name, argv[1]) != 0) continue;
        cases[i].run();
        return 0;
    }
    return 9999; // no such case
}

#endif
