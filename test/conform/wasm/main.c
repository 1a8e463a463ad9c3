// SPDX-License-Identifier: Apache-2.0
// The runner of the conformance suite: see world.h. One cmocka test for each case, number of
// workers and mode; each starts this program again and waits for it, at most the case's seconds.
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

static const struct conform_area *const areas[] = {
    &conform_mailbox, &conform_resources, &conform_links, &conform_monitors, &conform_spawn,
    &conform_timers,  &conform_catch,     &conform_wasi,  &conform_engine,   &conform_hostile,
};

// Numbered cases of the contract whose ground does not exist yet: sockets and the resources that
// are sockets, TLS, SQLite, `viv test`. Nothing here runs, passes or is skipped; --later prints it.
static const struct {
    const char *cases, *wants;
} later[] = {
    {"21, 24 (tcp), 25, 73-83, 106 (tcp)", "sockets"},
    {"84-88", "TLS"},
    {"89-94", "SQLite"},
    {"116-118", "viv test"},
};

static int print_later(void)
{
    for (size_t i = 0; i < VIV_COUNT_OF(later); i++)
        printf("not yet: cases %s: %s\n", later[i].cases, later[i].wants);
    return 0;
}

static const struct conform_area *find_area(const char *name)
{
    for (size_t i = 0; i < VIV_COUNT_OF(areas); i++)
        if (strcmp(areas[i]->name, name) == 0) return areas[i];
    fprintf(stderr, "conform-wasm: no area %s\n", name);
    return NULL;
}

// ---- one case, in a program of its own ----

static int run_one(const char *area_name, const char *case_name, const char *workers,
                   const char *mode)
{
    static struct world world;
    const struct conform_area *area = find_area(area_name);
    if (area == NULL) return 2;
    for (size_t i = 0; i < area->case_count; i++) {
        const struct conform_case *one = &area->cases[i];
        if (strcmp(one->name, case_name) != 0) continue;
        world.workers = (uint32_t)strtoul(workers, NULL, 10);
        world.mode = strcmp(mode, "fast") == 0 ? VIV_WASM_FAST : VIV_WASM_MANY;
        viv_env_limits_default(&world.limits);
        if (one->guest != NULL) world_open(&world);
        if (one->run != NULL)
            one->run(&world);
        else
            world_run(&world, one->guest, one->entry);
        if (one->guest != NULL) {
            world_check_no_failures(&world);
            world_close(&world);
        }
        return 0;
    }
    fprintf(stderr, "conform-wasm: no case %s\n", case_name);
    return 2;
}

// ---- cmocka tests ----

struct variant {
    const struct conform_area *area;
    const struct conform_case *one;
    const char *workers, *mode;
    char name[128];
};

static void show_log(const char *path)
{
    enum { TAIL = 6000 };
    static char text[TAIL + 1];
    FILE *log = fopen(path, "re");
    if (log == NULL) return;
    if (fseek(log, -TAIL, SEEK_END) != 0) rewind(log);
    const size_t len = fread(text, 1, TAIL, log);
    text[len] = '\0';
    fprintf(stderr, "---- %s ----\n%s----\n", path, text);
    fclose(log);
}

static pid_t start_variant(const struct variant *variant, const char *log)
{
    // posix_spawn does not change its arguments; its type is older than const.
    const char *const words[] = {
        "conform-wasm", "--one", variant->area->name, variant->one->name, variant->workers,
        variant->mode,  NULL};
    char *argv[VIV_COUNT_OF(words)];
    memcpy(argv, words, sizeof(argv));
    posix_spawn_file_actions_t actions;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    (void)posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t pid;
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void run_variant(void **state)
{
    const struct variant *variant = *state;
    char log[160];
    (void)snprintf(log, sizeof(log), "%s.log", variant->name);
    const uint32_t seconds = variant->one->seconds != 0 ? variant->one->seconds : 90;
    const uint64_t end_ns = check_now_ns() + check_limit_ns(seconds);
    const pid_t pid = start_variant(variant, log);
    int status = -1;
    pid_t got;
    while ((got = waitpid(pid, &status, WNOHANG)) == 0 && check_now_ns() < end_ns)
        check_nap();
    if (got == 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, &status, 0);
        fprintf(stderr, "%s: still running after %u s\n", variant->name, seconds);
    }
    if (status == 0) return;
    show_log(log);
    fail_msg("%s ended with status 0x%x", variant->name, (unsigned)status);
}

static size_t add_variants(const struct conform_area *area, const char *only,
                           struct variant *variants)
{
    static const char *const kinds[][3] = {
        {"1", "many", "_w1"}, {"4", "many", "_w4"}, {"4", "fast", "_fast"}};
    size_t count = 0;
    for (size_t i = 0; i < area->case_count; i++) {
        const struct conform_case *one = &area->cases[i];
        if (only != NULL && strstr(one->name, only) == NULL) continue;
        for (size_t k = 0; k < (one->fast ? 3u : 2u); k++) {
            struct variant *variant = &variants[count++];
            *variant = (struct variant){
                .area = area, .one = one, .workers = kinds[k][0], .mode = kinds[k][1]};
            (void)snprintf(variant->name, sizeof(variant->name), "%s%s", one->name, kinds[k][2]);
        }
    }
    return count;
}

static int run_area(const char *name, const char *only)
{
    enum { VARIANTS_MAX = 200 };
    static struct variant variants[VARIANTS_MAX];
    static struct CMUnitTest tests[VARIANTS_MAX];
    const struct conform_area *area = find_area(name);
    if (area == NULL) return 2;
    if (area->case_count * 3 > VARIANTS_MAX) return 2;
    const size_t count = add_variants(area, only, variants);
    for (size_t i = 0; i < count; i++)
        tests[i] = (struct CMUnitTest){variants[i].name, run_variant, NULL, NULL, &variants[i]};
    return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "--one") == 0) {
        const int status = run_one(argv[2], argv[3], argv[4], argv[5]);
        fflush(NULL);
        exit(status);
    }
    if (argc == 2 && strcmp(argv[1], "--later") == 0) return print_later();
    if (argc == 2 || argc == 3) return run_area(argv[1], argc == 3 ? argv[2] : NULL);
    fprintf(stderr, "usage: conform-wasm AREA [PART OF A CASE'S NAME] | --later\n");
    return 2;
}
