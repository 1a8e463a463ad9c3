// SPDX-License-Identifier: Apache-2.0
// Case 115: the hostile table of the contract's section 6, one case a row, each beside an echo pair
// that must lose no message. Guest: guest/conform_hostile.c. Rows whose answer is the command's are
// in command_line.py.
#include "world.h"

#include "os/file.h"
#include <dirent.h>
#include <stdio.h>

#define GUEST "conform_hostile"

static void open_with_pair(struct world *world)
{
    world_open(world);
    (void)world_start(world, world_module(world, GUEST), "pings", NULL, 0);
    (void)world_note(world, 49, 0); // both are there
}

static void close_with_pair(struct world *world)
{
    world_run(world, GUEST, "stops_pair");
    const uint64_t rounds = world_note_u64(world, 50, 0);
    fprintf(stderr, "the pair: %" PRIu64 " rounds\n", rounds);
    CHECK(rounds > 0);
    world_check_no_failures(world);
    world_close(world);
}

static void run_row(struct world *world, const char *entry)
{
    open_with_pair(world);
    world_run(world, GUEST, entry);
    close_with_pair(world);
}

#define ROW(name)                                                                                  \
    static void row_##name(struct world *world)                                                    \
    {                                                                                              \
        run_row(world, #name);                                                                     \
    }
ROW(random_bytes)
ROW(bad_imports)
ROW(million_segments)
ROW(bad_pointers)
ROW(bad_texts)
ROW(guessed_ids)
ROW(overflows)
ROW(endless_loops)

static const struct ended *noted_end(struct world *world, int64_t tag)
{
    return world_await(world, (viv_pid){world_note_u64(world, tag, 0)});
}

static void row_huge_minimums(struct world *world)
{
    open_with_pair(world);
    world_run(world, GUEST, "huge_minimums");
    check_reason(noted_end(world, 1), VIV_REASON_NORMAL, 0);
    close_with_pair(world);
}

static void row_no_memory(struct world *world)
{
    open_with_pair(world);
    world_run(world, GUEST, "no_memory");
    check_reason(noted_end(world, 10), VIV_REASON_NORMAL, 0);
    check_reason(noted_end(world, 11), VIV_REASON_TRAP, -1);
    check_text(noted_end(world, 11), "lunatic::message::write_data: ");
    check_reason(noted_end(world, 12), VIV_REASON_TRAP, -1);
    check_text(noted_end(world, 12), "lunatic::registry::remove: ");
    check_reason(noted_end(world, 13), VIV_REASON_TRAP, -1);
    close_with_pair(world);
}

static void row_endless_recursion(struct world *world)
{
    open_with_pair(world);
    world_run(world, GUEST, "endless_recursion");
    check_reason(noted_end(world, 1), VIV_REASON_TRAP, 0);
    check_text(noted_end(world, 1), "stack_overflow");
    close_with_pair(world);
}

// The engine's own compiled code, as the cache keeps it, is not a module.
static void row_compiled_code(struct world *world)
{
    open_with_pair(world);
    DIR *dir = opendir("cache");
    CHECK(dir != NULL);
    uint32_t tried = 0;
    for (struct dirent *entry; tried < 5 && (entry = readdir(dir)) != NULL;) {
        char path[600];
        uint8_t *bytes;
        size_t len, at = 0;
        struct viv_diag diag = {0};
        (void)snprintf(path, sizeof(path), "cache/%s", entry->d_name);
        if (viv_os_read_file(path, 64 << 20, VIV_TAG_TEST, &bytes, &len, NULL) != VIV_OK) continue;
        while (at + 4 < len && memcmp(bytes + at, "\177ELF", 4) != 0)
            at++;
        if (at + 4 < len) {
            tried++;
            CHECK(world_load(world, "code", bytes + at, len - at, &diag) == NULL);
            CHECK(diag.text[0] != '\0');
            CHECK(world_load(world, "entry", bytes, len, &diag) == NULL);
        }
        viv_free(bytes, len, VIV_TAG_TEST);
    }
    closedir(dir);
    CHECK(tried > 0);
    close_with_pair(world);
}

static void row_many_names(struct world *world)
{
    open_with_pair(world);
    world_run(world, GUEST, "many_names");
    CHECK(world_note_u64(world, 1, 0) == 100000 - 2); // beside "host" and "pair"
    close_with_pair(world);
}

static void row_many_timers(struct world *world)
{
    world->limits.timer_max = 5000;
    open_with_pair(world);
    world_run(world, GUEST, "many_timers");
    CHECK(world_note_u64(world, 1, 0) == 5000);
    close_with_pair(world);
}

static void row_many_ids(struct world *world)
{
    open_with_pair(world);
    world_run(world, GUEST, "many_ids");
    CHECK(world_note_u64(world, 1, 0) == 65536);
    const uint64_t errors = world_note_u64(world, 2, 0);
    fprintf(stderr, "%" PRIu64 " errors\n", errors);
    CHECK(errors == 65536 || errors == 65535); // error 0 may count
    close_with_pair(world);
}

static void row_many_children(struct world *world)
{
    world->limits.proc_max = 200;
    open_with_pair(world);
    enum { BEFORE = 3 }; // the host, the pair
    world_run(world, GUEST, "many_children");
    CHECK(world_note_u64(world, 1, 0) + BEFORE + 1 == 200);
    close_with_pair(world);
}

static void row_many_others(struct world *world)
{
    open_with_pair(world);
    world_run(world, GUEST, "many_others");
    CHECK(world_note_u64(world, 1, 0) == 1024);
    const uint64_t args = world_note_u64(world, 2, 0); // of 64 KiB, in 1 MiB in all
    CHECK(args == 16 || args == 15);
    CHECK(world_note_u64(world, 3, 0) == 64);
    close_with_pair(world);
}

static void row_flood_kill(struct world *world)
{
    world->limits.mailbox_count = 1000;
    world->limits.mailbox_policy = VIV_MAILBOX_KILL;
    open_with_pair(world);
    world_run(world, GUEST, "floods_mailbox");
    check_reason(noted_end(world, 1), VIV_REASON_LIMIT, VIV_LIMIT_MAILBOX);
    CHECK(world_note_count(world, 5) == 0);
    close_with_pair(world);
}

static void row_flood_refuse(struct world *world)
{
    world->limits.mailbox_count = 1000;
    world->limits.mailbox_policy = VIV_MAILBOX_REFUSE;
    open_with_pair(world);
    world_run(world, GUEST, "floods_mailbox");
    check_reason(noted_end(world, 1), VIV_REASON_NORMAL, 0);
    const uint64_t got = world_note_u64(world, 5, 0);
    fprintf(stderr, "%" PRIu64 " of 5000 taken\n", got);
    CHECK(got >= 1000 && got < 5000);
    close_with_pair(world);
}

static void row_flood_suspend(struct world *world)
{
    world->limits.mailbox_count = 1000;
    world->limits.mailbox_policy = VIV_MAILBOX_SUSPEND;
    open_with_pair(world);
    world_run(world, GUEST, "floods_and_waits");
    CHECK(world_note_u64(world, 5, 0) == 20000);
    close_with_pair(world);
}

static void row_flood_bytes(struct world *world)
{
    world->limits.mailbox_bytes = 8000;
    open_with_pair(world);
    world_run(world, GUEST, "floods_mailbox"); // 40 000 bytes
    check_reason(noted_end(world, 1), VIV_REASON_LIMIT, VIV_LIMIT_MAILBOX);
    close_with_pair(world);
}

static const struct conform_case cases[] = {
    {"case_115_random_bytes", row_random_bytes, NULL, NULL, false, 0},
    {"case_115_compiled_code", row_compiled_code, NULL, NULL, false, 0},
    {"case_115_bad_imports", row_bad_imports, NULL, NULL, false, 0},
    {"case_115_huge_minimums", row_huge_minimums, NULL, NULL, false, 0},
    {"case_115_million_segments", row_million_segments, NULL, NULL, false, 0},
    {"case_115_no_memory", row_no_memory, NULL, NULL, true, 0},
    {"case_115_bad_pointers", row_bad_pointers, NULL, NULL, true, 0},
    {"case_115_bad_texts", row_bad_texts, NULL, NULL, false, 0},
    {"case_115_guessed_ids", row_guessed_ids, NULL, NULL, false, 0},
    {"case_115_overflows", row_overflows, NULL, NULL, false, 0},
    {"case_115_endless_loops", row_endless_loops, NULL, NULL, true, 0},
    {"case_115_endless_recursion", row_endless_recursion, NULL, NULL, true, 0},
    {"case_115_many_names", row_many_names, NULL, NULL, false, 0},
    {"case_115_many_timers", row_many_timers, NULL, NULL, false, 0},
    {"case_115_many_ids", row_many_ids, NULL, NULL, false, 0},
    {"case_115_many_children", row_many_children, NULL, NULL, false, 0},
    {"case_115_many_others", row_many_others, NULL, NULL, false, 0},
    {"case_115_flood_kill", row_flood_kill, NULL, NULL, false, 0},
    {"case_115_flood_refuse", row_flood_refuse, NULL, NULL, false, 0},
    {"case_115_flood_suspend", row_flood_suspend, NULL, NULL, false, 0},
    {"case_115_flood_bytes", row_flood_bytes, NULL, NULL, false, 0},
};

const struct conform_area conform_hostile = {"hostile", cases, VIV_COUNT_OF(cases)};
