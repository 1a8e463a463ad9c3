// SPDX-License-Identifier: Apache-2.0
// One-line log on stderr, level from VIV_LOG (error, warn, info, debug, trace; default warn).
// A line is written with one write(2), so lines of several threads do not mix. Thread: any. Blocks
// on a slow stderr.
#ifndef VIV_BASE_LOG_H
#define VIV_BASE_LOG_H

#include "base/defs.h"

enum viv_log_level { VIV_LOG_ERROR, VIV_LOG_WARN, VIV_LOG_INFO, VIV_LOG_DEBUG, VIV_LOG_TRACE };

bool viv_log_is_on(enum viv_log_level level);
void viv_log_set_level(enum viv_log_level level);
// Where lines, each with its newline, go instead of stderr (tests, the showcase); NULL restores
// stderr. Set before threads start.
void viv_log_set_sink(void (*sink)(void *arg, const char *line, size_t len), void *arg);
void viv_log_write(enum viv_log_level level, const char *fmt, ...) VIV_PRINTF(2, 3);

// The line, and below it the lines of detail (a backtrace), each indented; all in one write. About
// 16 KiB, then cut.
void viv_log_write_detail(enum viv_log_level level, const char *detail, size_t detail_len,
                          const char *fmt, ...) VIV_PRINTF(4, 5);

#define VIV_LOG(level, ...)                                                                        \
    do {                                                                                           \
        if (VIV_UNLIKELY(viv_log_is_on(level))) viv_log_write(level, __VA_ARGS__);                 \
    } while (0)

#endif
