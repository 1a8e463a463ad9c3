// SPDX-License-Identifier: Apache-2.0
// The program that the tests of the command line run: its first argument says what to do.
#include "viv/viv_guest.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static void say(const char *text)
{
    (void)printf("%s\n", text);
    (void)fflush(stdout);
}

static int show_args(int count, char **args)
{
    for (int i = 0; i < count; i++)
        (void)printf("%s\n", args[i]);
    return 0;
}

static int show_env(int count, char **args)
{
    for (int i = 2; i < count; i++)
        (void)printf("%s=%s\n", args[i], getenv(args[i]) != NULL ? getenv(args[i]) : "(none)");
    for (char **pair = environ; count == 2 && *pair != NULL; pair++)
        (void)printf("%s\n", *pair);
    return 0;
}

static int copy(int from)
{
    char buf[4096];
    for (;;) {
        ssize_t len = read(from, buf, sizeof(buf));
        if (len <= 0) return len == 0 ? 0 : 9;
        for (ssize_t at = 0; at < len;) {
            ssize_t written = write(1, buf + at, (size_t)(len - at));
            if (written < 0) return 9;
            at += written;
        }
    }
}

static int show_file(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd >= 0) return copy(fd);
    (void)printf("%s: %s\n", path, strerror(errno));
    return 5;
}

static int make_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) return 5;
    return close(fd) == 0 ? 0 : 5;
}

// Writes lines `0`, `1`, … until count of them are written or writing fails.
static int flood(unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        char line[32];
        int len = snprintf(line, sizeof(line), "%lu\n", i);
        for (int at = 0; at < len;) {
            ssize_t written = write(1, line + at, (size_t)(len - at));
            if (written < 0) {
                (void)fprintf(stderr, "write: %s\n", strerror(errno));
                return 7;
            }
            at += (int)written;
        }
    }
    return 0;
}

static int grow(unsigned long mebibytes)
{
    for (unsigned long i = 0; i < mebibytes; i++)
        if (__builtin_wasm_memory_grow(0, 16) == (size_t)-1) {
            (void)printf("grew %lu MiB\n", i);
            return 0;
        }
    (void)printf("grew all\n");
    return 0;
}

static void spin(void)
{
    for (volatile unsigned n = 0;; n++)
        ;
}

VIV_EXPORT("spinner") void spinner(void)
{
    spin();
}

VIV_EXPORT("trapper") void trapper(void)
{
    __builtin_trap();
}

VIV_EXPORT("waiter") void waiter(void)
{
    struct viv_msg msg;
    (void)viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg);
}

// Starts an export of a module; 0 or an error.
static int32_t start(int64_t module, const char *entry, uint32_t flags)
{
    struct viv_spawn spec = VIV_SPAWN_INIT;
    int64_t pid;
    spec.module = module;
    spec.flags = flags;
    spec.entry = entry;
    spec.entry_len = (uint32_t)strlen(entry);
    return viv_spawn(&spec, &pid);
}

// Starts an export of our own so many times, and waits for as many ends of them.
static int children(const char *entry, int count, int ends)
{
    int64_t module = viv_module(NULL, 0, VIV_MODULE_OWN);
    for (int i = 0; i < count; i++)
        if (start(module, entry, VIV_SPAWN_MONITOR) < 0) return 6;
    for (int i = 0; i < ends; i++) {
        struct viv_msg msg;
        if (viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg) < 0) return 6;
    }
    return 0;
}

static int named_module(const char *name, const char *entry)
{
    int64_t module = viv_module(name, strlen(name), VIV_MODULE_NAME);
    if (module < 0) {
        (void)printf("module: error %d\n", (int)-module);
        return 4;
    }
    int32_t err = start(module, entry, VIV_SPAWN_MONITOR);
    if (err < 0) {
        (void)printf("spawn: error %d\n", (int)-err);
        return 4;
    }
    struct viv_msg msg;
    return viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg) < 0 ? 4 : 0;
}

static int end_as(int kind, const char *text)
{
    return viv_exit(viv_self(), kind, 1, text, strlen(text));
}

// Messages to ourselves until the mailbox refuses; how many went in.
static int fill_mailbox(void)
{
    int sent = 0;
    while (sent < 1000 && viv_send(viv_self(), 1, "x", 1, NULL, 0, 0) == 0)
        sent++;
    struct viv_msg msg;
    (void)viv_receive(NULL, 0, 0, NULL, 0, &msg);
    (void)printf("%d\n", sent);
    return 0;
}

static uint8_t *put_size(uint8_t *at, uint32_t value) // five bytes of LEB128
{
    for (int i = 0; i < 5; i++, value >>= 7)
        *at++ = (uint8_t)((value & 0x7f) | (i < 4 ? 0x80 : 0));
    return at;
}

// A module of 64 functions with 20 000 operations each, one depending on the other, which takes
// seconds to compile. Returns its end.
static uint8_t *put_large_module(uint8_t *at)
{
    enum { FUNCTIONS = 64, OPERATIONS = 20000 };
    static const uint8_t head[] = {0,    'a',  's', 'm',  1, 0,    0, 0,
                                   0x01, 0x06, 1,   0x60, 1, 0x7f, 1, 0x7f}; // (i32) -> i32
    static const uint8_t step[] = {0x20, 0, 0x6c, 0x20, 0, 0x6a}; // times and plus the parameter
    memcpy(at, head, sizeof(head));
    at += sizeof(head);
    *at++ = 0x03; // types of functions
    *at++ = 1 + FUNCTIONS;
    *at++ = FUNCTIONS;
    memset(at, 0, FUNCTIONS);
    at += FUNCTIONS;
    const uint32_t body = 1 + 2 + OPERATIONS * sizeof(step) + 1;
    *at++ = 0x0a; // code
    at = put_size(at, 1 + FUNCTIONS * (5 + body));
    *at++ = FUNCTIONS;
    for (int i = 0; i < FUNCTIONS; i++) {
        at = put_size(at, body);
        *at++ = 0; // no locals
        *at++ = 0x20;
        *at++ = 0;
        for (int k = 0; k < OPERATIONS; k++, at += sizeof(step))
            memcpy(at, step, sizeof(step));
        *at++ = 0x0b;
    }
    return at;
}

VIV_EXPORT("compiler") void compiler(void)
{
    uint8_t *bytes = malloc(16 << 20);
    if (bytes != NULL) (void)viv_module(bytes, (size_t)(put_large_module(bytes) - bytes), 0);
    say("compiled");
}

static int wait_for_ever(const char *how)
{
    if (strcmp(how, "compile") == 0) (void)children("compiler", 1, 0);
    say("ready");
    if (strcmp(how, "compile") == 0) waiter();
    if (strcmp(how, "spin") == 0) spin();
    if (strcmp(how, "sleep") == 0) (void)sleep(1000);
    if (strcmp(how, "receive") == 0) waiter();
    if (strcmp(how, "read") == 0) return copy(0);
    return 3;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const char *first = argc > 2 ? argv[2] : "", *second = argc > 3 ? argv[3] : "";
    int number = atoi(first);
    if (strcmp(what, "args") == 0) return show_args(argc, argv);
    if (strcmp(what, "env") == 0) return show_env(argc, argv);
    if (strcmp(what, "copy") == 0) return copy(0);
    if (strcmp(what, "cat") == 0) return show_file(first);
    if (strcmp(what, "make") == 0) return make_file(first, second);
    if (strcmp(what, "flood") == 0) return flood(strtoul(first, NULL, 10));
    if (strcmp(what, "grow") == 0) return grow(strtoul(first, NULL, 10));
    if (strcmp(what, "exit") == 0) exit(number);
    if (strcmp(what, "trap") == 0) __builtin_trap();
    if (strcmp(what, "wait") == 0) return wait_for_ever(first);
    if (strcmp(what, "say") == 0) return fputs(second, stderr) < 0 || puts(first) < 0;
    if (strcmp(what, "children") == 0) {
        (void)children(first, atoi(second), 0);
        return wait_for_ever("receive");
    }
    if (strcmp(what, "crashes") == 0) return children("trapper", number, number);
    if (strcmp(what, "module") == 0) return named_module(first, second);
    if (strcmp(what, "end") == 0) return end_as(number, second);
    if (strcmp(what, "mailbox") == 0) return fill_mailbox();
    if (strcmp(what, "log") == 0) return viv_log(number, second, strlen(second));
    return 3;
}
