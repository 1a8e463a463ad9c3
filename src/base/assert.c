// SPDX-License-Identifier: Apache-2.0
// The end of the road for a programmer's error: one line, a backtrace, abort. Allocates nothing of
// ours and takes no lock of ours, because either may be what broke.
#include "base/assert.h"
#include <execinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_BYTES = 1024, FRAMES_MAX = 48 };

static void write_all(const char *text, size_t len_bytes)
{
    while (len_bytes > 0) {
        ssize_t n = write(STDERR_FILENO, text, len_bytes);
        if (n <= 0) return;
        text += n;
        len_bytes -= (size_t)n;
    }
}

void viv_panic(const char *file, int line, const char *fmt, ...)
{
    // Thread-local: an assertion that fails while this one is being printed must not come back
    // here.
    static _Thread_local bool is_panicking;
    if (is_panicking) abort();
    is_panicking = true;

    char text[TEXT_BYTES];
    int head = snprintf(text, sizeof text, "viv: panic at %s:%d: ", file, line);
    size_t len = head > 0 ? (size_t)head : 0;
    if (len >= sizeof text) len = sizeof text - 1;
    va_list args;
    va_start(args, fmt);
    int body = vsnprintf(text + len, sizeof text - len, fmt, args);
    va_end(args);
    if (body > 0) len += (size_t)body;
    if (len > sizeof text - 2) len = sizeof text - 2; // room for the newline; a longer text is cut
    text[len++] = '\n';
    write_all(text, len);

    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX);
    backtrace_symbols_fd(frames, count, STDERR_FILENO);
    abort();
}
