// SPDX-License-Identifier: Apache-2.0
// The log. Level and sink are global, because stderr and VIV_LOG are the process's and a line may
// come from code that knows no kernel. The level is read from the environment at the first
// question.
#include "base/log.h"
#include "base/text.h"
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 2048, DETAIL_BYTES = 16384, LEVEL_UNREAD = -1 };

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};
static _Atomic int level_now = LEVEL_UNREAD;
static void (*sink_fn)(void *arg, const char *line, size_t len); // set before threads start
static void *sink_arg;

static VIV_COLD int read_level(void)
{
    int level = VIV_LOG_WARN;
    const char *text = getenv("VIV_LOG");
    for (size_t i = 0; text != NULL && i < VIV_COUNT_OF(level_names); i++)
        if (strcmp(text, level_names[i]) == 0) level = (int)i;
    // Relaxed: the number stands for itself. If another thread has set a level meanwhile, that one
    // stays.
    int expected = LEVEL_UNREAD;
    if (!atomic_compare_exchange_strong_explicit(&level_now, &expected, level, memory_order_relaxed,
                                                 memory_order_relaxed))
        return expected;
    return level;
}

bool viv_log_is_on(enum viv_log_level level)
{
    int now = atomic_load_explicit(&level_now, memory_order_relaxed); // relaxed: as above
    if (VIV_UNLIKELY(now == LEVEL_UNREAD)) now = read_level();
    return (int)level <= now;
}

void viv_log_set_level(enum viv_log_level level)
{
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed); // relaxed: as above
}

void viv_log_set_sink(void (*sink)(void *arg, const char *line, size_t len), void *arg)
{
    sink_fn = sink;
    sink_arg = arg;
}

// A rest after a partial write follows at once; stderr that cannot take it loses it.
static void write_stderr(const char *line, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, line, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        line += n;
        len -= (size_t)n;
    }
}

// One line into out, without its end; returns its length.
VIV_PRINTF(3, 0)
static size_t format_line(char out[LINE_BYTES], enum viv_log_level level, const char *fmt,
                          va_list args)
{
    char text[LINE_BYTES];
    int want = vsnprintf(text, sizeof text, fmt, args);
    if (want < 0) text[0] = '\0';
    int head = level <= VIV_LOG_WARN ? snprintf(out, LINE_BYTES, "viv: ")
                                     : snprintf(out, LINE_BYTES, "viv[%s]: ", level_names[level]);
    size_t len = head > 0 ? (size_t)head : 0;
    // What is printed may come from a guest: it must stay one line and must not steer the terminal.
    return len + viv_text_clean(out + len, LINE_BYTES - 1 - len, text, strlen(text));
}

static void put(const char *line, size_t len)
{
    if (sink_fn != NULL)
        sink_fn(sink_arg, line, len);
    else
        write_stderr(line, len);
}

void viv_log_write(enum viv_log_level level, const char *fmt, ...)
{
    int saved_errno = errno;
    char line[LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    size_t len = format_line(line, level, fmt, args);
    va_end(args);
    line[len++] = '\n';
    put(line, len);
    errno = saved_errno;
}

void viv_log_write_detail(enum viv_log_level level, const char *detail, size_t detail_len,
                          const char *fmt, ...)
{
    int saved_errno = errno;
    char text[DETAIL_BYTES];
    va_list args;
    va_start(args, fmt);
    size_t len = format_line(text, level, fmt, args);
    va_end(args);
    text[len++] = '\n';
    for (const char *at = detail, *end = detail + detail_len;
         at < end && len + LINE_BYTES < sizeof text;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        text[len++] = ' '; // so that it cannot look like a line of its own
        len += viv_text_clean(text + len, LINE_BYTES - 2, at, (size_t)(stop - at));
        text[len++] = '\n';
        at = stop + 1;
    }
    put(text, len);
    errno = saved_errno;
}
