// SPDX-License-Identifier: Apache-2.0
// Cases 1 to 20: mailbox and order. Guest: guest/conform_mailbox.c.
#include "world.h"

#define GUEST "conform_mailbox"

static void case_016(struct world *world)
{
    world_run(world, GUEST, "case_016");
    const struct ended *ended = world_run_to_end(world, GUEST, "case_016_trap");
    check_reason(ended, VIV_REASON_TRAP, -1);
    check_text(ended, "lunatic::message::write_data: ");
}

// Each traps as a host function does, and the text names it.
static void case_018(struct world *world)
{
    static const char *const rows[][2] = {
        {"case_018_send", "lunatic::message::send: "},
        {"case_018_get_tag", "lunatic::message::get_tag: "},
        {"case_018_write_data", "lunatic::message::write_data: "},
        {"case_018_read_data", "lunatic::message::read_data: "},
        {"case_018_seek_data", "lunatic::message::seek_data: "},
        {"case_018_data_size", "lunatic::message::data_size: "},
        {"case_018_get_process_id", "lunatic::message::get_process_id: "},
        {"case_018_push_module", "lunatic::message::push_module: "},
        {"case_018_take_module", "lunatic::message::take_module: "},
        {"case_018_skip_search", "lunatic::message::send_receive_skip_search: "},
        {"case_018_send_after", "lunatic::timer::send_after: "},
        {"case_018_process_died", "lunatic::message::data_size: "},
        {"case_018_after_send", "lunatic::message::data_size: "},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        const struct ended *ended = world_run_to_end(world, GUEST, rows[i][0]);
        fprintf(stderr, "%s\n", rows[i][0]);
        check_reason(ended, VIV_REASON_TRAP, -1);
        check_text(ended, rows[i][1]);
    }
}

static const struct conform_case cases[] = {
    {"case_001_timeout_keeps_scratch", NULL, GUEST, "case_001", true, 0},
    {"case_002_order", NULL, GUEST, "case_002", false, 0},
    {"case_003_selective", NULL, GUEST, "case_003", true, 0},
    {"case_004_mailbox_order", NULL, GUEST, "case_004", false, 0},
    {"case_005_tag_zero", NULL, GUEST, "case_005", false, 0},
    {"case_006_after_timeout", NULL, GUEST, "case_006", true, 0},
    {"case_007_after_tagged_timeout", NULL, GUEST, "case_007", false, 0},
    {"case_008_skip_search_full_mailbox", NULL, GUEST, "case_008", true, 0},
    {"case_009_skip_search_old_message", NULL, GUEST, "case_009", false, 0},
    {"case_009_skip_search_inbox", NULL, GUEST, "case_009_inbox", false, 0},
    {"case_010_skip_search_dead", NULL, GUEST, "case_010", false, 0},
    {"case_011_self_timeout_zero", NULL, GUEST, "case_011", false, 0},
    {"case_012_kill_order", NULL, GUEST, "case_012", false, 0},
    {"case_013_many_senders", NULL, GUEST, "case_013", true, 0},
    {"case_014_flood", NULL, GUEST, "case_014", false, 0},
    {"case_015_forward", NULL, GUEST, "case_015", false, 0},
    {"case_016_largest_message", case_016, GUEST, NULL, false, 120},
    {"case_017_capacity_hint", NULL, GUEST, "case_017", false, 0},
    {"case_018_empty_scratch", case_018, GUEST, NULL, true, 0},
    {"case_019_bounds", NULL, GUEST, "case_019", true, 0},
    {"case_020_cursor", NULL, GUEST, "case_020", false, 0},
};

const struct conform_area conform_mailbox = {"mailbox", cases, VIV_COUNT_OF(cases)};
