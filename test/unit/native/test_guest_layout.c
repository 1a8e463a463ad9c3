// SPDX-License-Identifier: Apache-2.0
// The header for guests in C says what the tables say (native.md, 11.2): places and sizes of all
// fields of answers, numbers of the keys of a request, of phases, kinds, causes and levels.
#include "cm.h"

#include "gen/native.h"
#include "gen/native_layouts.h"
#include "native/exit.h"
#include <stddef.h>
#include <viv/viv_native_layout.h>

#define SAME(struct_, field_)                                                                      \
    assert_int_equal(offsetof(struct viv_native_layout_##struct_, field_),                         \
                     offsetof(struct viv_prog_##struct_, field_));                                 \
    assert_int_equal(sizeof(((struct viv_native_layout_##struct_ *)NULL)->field_),                 \
                     sizeof(((struct viv_prog_##struct_ *)NULL)->field_));
#define KEY(name_) assert_int_equal(VIV_PROG_##name_, VIV_NATIVE_KEY_##name_);

static void case_109_fields_of_answers(void **state)
{
    (void)state;
    VIV_NATIVE_LAYOUT_SPAWNED(SAME)
    VIV_NATIVE_LAYOUT_EXIT(SAME)
    VIV_NATIVE_LAYOUT_STATUS(SAME)
    VIV_NATIVE_LAYOUT_INFO(SAME)
    VIV_NATIVE_LAYOUT_LOGS(SAME)
    VIV_NATIVE_LAYOUT_CHUNK(SAME)
    VIV_NATIVE_LAYOUT_LINE(SAME)
    VIV_NATIVE_LAYOUT_LINES(SAME)
    VIV_NATIVE_LAYOUT_PIECE(SAME)
    VIV_NATIVE_LAYOUT_MERGED(SAME)
    VIV_NATIVE_LAYOUT_EVENT(SAME)
    VIV_NATIVE_LAYOUT_REF(SAME)
    assert_int_equal(sizeof(struct viv_native_layout_spawned), sizeof(struct viv_prog_spawned));
    assert_int_equal(sizeof(struct viv_native_layout_exit), sizeof(struct viv_prog_exit));
    assert_int_equal(sizeof(struct viv_native_layout_status), sizeof(struct viv_prog_status));
    assert_int_equal(sizeof(struct viv_native_layout_info), sizeof(struct viv_prog_info));
    assert_int_equal(sizeof(struct viv_native_layout_logs), sizeof(struct viv_prog_logs));
    assert_int_equal(sizeof(struct viv_native_layout_chunk), sizeof(struct viv_prog_chunk));
    assert_int_equal(sizeof(struct viv_native_layout_line), sizeof(struct viv_prog_line));
    assert_int_equal(sizeof(struct viv_native_layout_lines), sizeof(struct viv_prog_lines));
    assert_int_equal(sizeof(struct viv_native_layout_piece), sizeof(struct viv_prog_piece));
    assert_int_equal(sizeof(struct viv_native_layout_merged), sizeof(struct viv_prog_merged));
    assert_int_equal(sizeof(struct viv_native_layout_event), sizeof(struct viv_prog_event));
    assert_int_equal(sizeof(struct viv_native_layout_ref), sizeof(struct viv_prog_ref));
}

static void case_109_keys_of_requests(void **state)
{
    (void)state;
    KEY(CMD)
    KEY(ARG)
    KEY(ARG0)
    KEY(ENV)
    KEY(ENV_PASS)
    KEY(CWD)
    KEY(UMASK)
    KEY(NICE)
    KEY(USER)
    KEY(KEY)
    KEY(SCOPE)
    KEY(LABEL)
    KEY(SURVIVE)
    KEY(RING_BYTES)
    KEY(OVERFLOW)
    KEY(STDOUT)
    KEY(STDERR)
    KEY(PTY)
    KEY(PTY_RAW)
    KEY(STDIN)
    KEY(KEEP_STDIN)
    KEY(STDIN_QUEUE_BYTES)
    KEY(MAX_LIFETIME_MS)
    KEY(IDLE_MS)
    KEY(IDLE_ON)
    KEY(RETENTION_MS)
    KEY(ORPHAN_MS)
    KEY(STOP_SIGNAL)
    KEY(STOP_TARGET)
    KEY(STOP_GRACE_MS)
    KEY(EOF_LINGER_MS)
    KEY(LINGER)
    KEY(CONTAIN)
    KEY(SANDBOX)
    KEY(NET)
    KEY(PATH)
    KEY(HIDE)
    KEY(ACCEPT)
    KEY(CWD_RO)
    KEY(RUNTIME)
    KEY(ALLOW_SETUID)
    KEY(FRAMING)
    KEY(DELIVER)
    KEY(DELIVER_CREDIT)
    KEY(LINE_MAX)
    KEY(INDEX)
    KEY(SPILL_DIR)
    KEY(SPILL_FILE_BYTES)
    KEY(SPILL_FILES)
    KEY(SPILL_AGE_MS)
    KEY(SPILL_ZSTD)
    KEY(SPILL_REQUIRED)
    KEY(SPILL_KEEP)
    KEY(MAX_MEMORY_BYTES)
    KEY(MAX_CPU_MS)
    KEY(CPU_PERCENT)
    KEY(MAX_PIDS)
    KEY(MAX_OPEN_FILES)
    KEY(MAX_FILE_BYTES)
    KEY(MAX_CORE_BYTES)
    KEY(MAX_OUTPUT_BYTES)
    KEY(STRONG_LIMITS)
    KEY(RESTART)
    KEY(RESTART_MAX)
    KEY(RESTART_WITHIN_MS)
    KEY(RESTART_DELAY_MS)
    KEY(RESTART_DELAY_MAX_MS)
    KEY(RESTART_JITTER)
    KEY(HEALTH)
    KEY(HEALTH_EXEC)
    KEY(HEALTH_ADDR)
    KEY(HEALTH_PATH)
    KEY(HEALTH_EVERY_MS)
    KEY(HEALTH_TIMEOUT_MS)
    KEY(HEALTH_FAILURES)
    KEY(HEALTH_ACTION)
    KEY(READY)
    KEY(READY_LINE)
    KEY(START_MS)
    KEY(START)
    KEY(DEADMAN)
    KEY(IO_FDS)
    assert_int_equal(VIV_NATIVE_KEYS_END, 83);
}

static void case_109_words_of_answers(void **state)
{
    (void)state;
    assert_int_equal(VIV_PROG_SANDBOX_STRICT, VIV_NATIVE_SANDBOX_STRICT);
    assert_int_equal(VIV_PROG_EXITED, VIV_NATIVE_EXITED);
    assert_int_equal(VIV_PROG_RUNNING, VIV_NATIVE_RUNNING);
    assert_int_equal(VIV_PROG_LOST, VIV_NATIVE_LOST);
    assert_int_equal(VIV_PROG_CAUSE_SELF, VIV_CAUSE_SELF);
    assert_int_equal(VIV_PROG_CAUSE_OUTPUT, VIV_CAUSE_OUTPUT);
    assert_int_equal(VIV_PROG_CAUSE_LOST, VIV_CAUSE_LOST);
    assert_int_equal(VIV_CAUSES, VIV_CAUSE_LOST + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_109_fields_of_answers),
        cmocka_unit_test(case_109_keys_of_requests),
        cmocka_unit_test(case_109_words_of_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
