// SPDX-License-Identifier: Apache-2.0
// The showcase: a hundred thousand processes in a tree, drawn while they run.
//
//   main ── 100 supervisors ── 1 000 workers each, every worker a process of its own module and
//   memory
//
// A supervisor sends a token along its workers (a chain, each passes it to the next) and measures
// the way; every now and then it makes one of them crash, learns of it through the link, and starts
// another in its place. main draws what the supervisors report and ends by itself. Status 0 when
// every crash was mended.
//
//   viv run --module worker=showcase_worker.wasm showcase.wasm [processes] [seconds]
//
// guest-flags: -Wl,--initial-memory=196608 -Wl,-z,stack-size=32768
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <viv/viv_guest.h>

enum { SUPERVISORS = 100, WORKERS_MAX = 1000 };
enum { TOKEN = 1, NEXT = 2, CRASH = 3, READY = 10, GO = 11, STOP = 12, REPORT = 13, FINAL = 14 };

struct report {
    int64_t index, hops, laps, crashes, restarts, lap_ns_sum, lap_ns_max;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * VIV_SEC + t.tv_nsec;
}

static void fail(const char *what, int64_t code)
{
    fprintf(stderr, "showcase: %s: error %lld\n", what, (long long)-code);
    exit(1);
}

// ---- a supervisor ----

static int64_t workers[WORKERS_MAX];
static int64_t worker_count, worker_module, self_pid;
static struct report mine;

static void start_worker(int64_t i)
{
    struct viv_spawn spec = VIV_SPAWN_INIT;
    int64_t next = i == 0 ? self_pid : workers[i - 1];
    spec.flags = VIV_SPAWN_LINK;
    spec.module = worker_module;
    spec.tag = i + 1; // what an EXIT will carry: who it was
    spec.entry = "worker";
    spec.entry_len = 6;
    spec.args = &next;
    spec.arg_count = 1;
    int32_t err = viv_spawn(&spec, &workers[i]);
    if (err < 0) fail("cannot start a worker", err);
}

static void send_token(void)
{
    int64_t sent_ns = now_ns();
    viv_send(workers[worker_count - 1], TOKEN, &sent_ns, sizeof(sent_ns), NULL, 0, 0);
}

static void restart_worker(int64_t i)
{
    start_worker(i);
    mine.restarts++;
    if (i + 1 < worker_count)
        viv_send(workers[i + 1], NEXT, &workers[i], sizeof(workers[i]), NULL, 0, 0);
}

static void on_token(int64_t sent_ns)
{
    int64_t lap_ns = now_ns() - sent_ns;
    mine.laps++;
    mine.hops += worker_count;
    mine.lap_ns_sum += lap_ns;
    if (lap_ns > mine.lap_ns_max) mine.lap_ns_max = lap_ns;
    send_token();
}

VIV_EXPORT("supervisor") void supervisor(int64_t main_pid, int64_t index, int64_t count)
{
    mine.index = index;
    worker_count = count;
    self_pid = viv_self();
    viv_trap_exits(1);
    worker_module = viv_module("worker", 6, VIV_MODULE_NAME);
    if (worker_module < 0) fail("no module `worker` (--module worker=FILE)", worker_module);
    for (int64_t i = 0; i < count; i++)
        start_worker(i);
    viv_send(main_pid, READY, &mine, sizeof(mine), NULL, 0, 0);

    int64_t token_seen_ns = 0, crash_at_ns = 0, report_at_ns = 0;
    bool running = false;
    srand((unsigned)index + 1);
    for (;;) {
        int64_t payload = 0;
        struct viv_msg msg;
        int32_t err = viv_receive(NULL, 0, running ? 20 * VIV_MS : VIV_FOREVER, &payload,
                                  sizeof(payload), &msg);
        int64_t t = now_ns();
        if (err == 0 && msg.kind == VIV_EXIT) {
            restart_worker(msg.tag - 1);
        } else if (err == 0 && msg.tag == TOKEN && running) {
            token_seen_ns = t;
            on_token(payload);
        } else if (err == 0 && msg.tag == GO) {
            running = true;
            crash_at_ns = t + rand() % 100 * VIV_MS;
            send_token();
            token_seen_ns = t;
        } else if (err == 0 && msg.tag == STOP) {
            if (mine.restarts < mine.crashes) { // the last crash is still on its way
                running = true;
                crash_at_ns = INT64_MAX;
                viv_send(self_pid, STOP, NULL, 0, NULL, 0, 0);
            } else {
                viv_send(main_pid, FINAL, &mine, sizeof(mine), NULL, 0, 0);
                return;
            }
        }
        if (!running) continue;
        if (t >= crash_at_ns) {
            viv_send(workers[rand() % count], CRASH, NULL, 0, NULL, 0, 0);
            mine.crashes++;
            crash_at_ns = t + (50 + rand() % 100) * VIV_MS;
        }
        if (t - token_seen_ns > 500 * VIV_MS) { // it died with a worker
            token_seen_ns = t;
            send_token();
        }
        if (t >= report_at_ns) {
            viv_send(main_pid, REPORT, &mine, sizeof(mine), NULL, 0, 0);
            report_at_ns = t + 200 * VIV_MS;
        }
    }
}

// ---- the picture ----

static struct report reports[SUPERVISORS];
static bool terminal;
static int drawn_lines;

static struct report sum_reports(void)
{
    struct report sum = {0};
    for (int i = 0; i < SUPERVISORS; i++) {
        sum.hops += reports[i].hops;
        sum.laps += reports[i].laps;
        sum.crashes += reports[i].crashes;
        sum.restarts += reports[i].restarts;
        sum.lap_ns_sum += reports[i].lap_ns_sum;
        if (reports[i].lap_ns_max > sum.lap_ns_max) sum.lap_ns_max = reports[i].lap_ns_max;
    }
    return sum;
}

static void bar(char *out, size_t cap, double share)
{
    static const char *const cells[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    enum { WIDTH = 40 };
    out[0] = '\0';
    for (int i = 0; i < WIDTH; i++) {
        double fill = share * WIDTH - i;
        int cell = fill >= 1 ? 8 : fill <= 0 ? 0 : (int)(fill * 8);
        strncat(out, cells[cell], cap - strlen(out) - 1);
    }
}

static void draw(int64_t alive, int64_t total, double rate, double best, const struct report *sum)
{
    double hop_us = sum->hops > 0 ? (double)sum->lap_ns_sum / (double)sum->hops / 1000 : 0;
    if (!terminal) {
        printf("processes %lld  messages/s %.0f  crashed %lld  restarted %lld  way per message "
               "%.2f us\n",
               (long long)alive, rate, (long long)sum->crashes, (long long)sum->restarts, hop_us);
        fflush(stdout);
        return;
    }
    char alive_bar[200], rate_bar[200];
    bar(alive_bar, sizeof(alive_bar), (double)alive / (double)total);
    bar(rate_bar, sizeof(rate_bar), best > 0 ? rate / best : 0);
    if (drawn_lines > 0) printf("\033[%dA", drawn_lines);
    printf("\033[K\n\033[K  \033[1mVivarium\033[0m  one program, %lld processes\n\033[K\n",
           (long long)total);
    printf("\033[K  alive      \033[32m%s\033[0m %lld\n", alive_bar, (long long)alive);
    printf("\033[K  messages/s \033[36m%s\033[0m %.2f million\n", rate_bar, rate / 1e6);
    printf("\033[K  crashed    %lld, restarted %lld\n", (long long)sum->crashes,
           (long long)sum->restarts);
    printf("\033[K  way        %.2f us a message, longest lap %.0f ms\n\033[K\n", hop_us,
           (double)sum->lap_ns_max / 1e6);
    drawn_lines = 8;
    fflush(stdout);
}

// Takes reports until the time; returns how many supervisors said `tag`.
static int collect(int64_t until_ns, int64_t tag, int wanted)
{
    int seen = 0;
    while (seen < wanted) {
        struct report report;
        struct viv_msg msg;
        int64_t left_ns = until_ns - now_ns();
        if (left_ns <= 0) break;
        if (viv_receive(NULL, 0, left_ns, &report, sizeof(report), &msg) != 0) break;
        if (msg.kind == VIV_EXIT) {
            if (tag != FINAL) fail("a supervisor ended", 0);
            continue;
        }
        reports[report.index] = report;
        if (msg.tag == tag) seen++;
    }
    return seen;
}

static int64_t start_supervisors(int64_t *pids, int64_t workers_each)
{
    int64_t own = viv_module(NULL, 0, VIV_MODULE_OWN);
    for (int64_t i = 0; i < SUPERVISORS; i++) {
        int64_t args[] = {viv_self(), i, workers_each};
        struct viv_spawn spec = VIV_SPAWN_INIT;
        spec.flags = VIV_SPAWN_LINK;
        spec.module = own;
        spec.entry = "supervisor";
        spec.entry_len = 10;
        spec.args = args;
        spec.arg_count = 3;
        int32_t err = viv_spawn(&spec, &pids[i]);
        if (err < 0) fail("cannot start a supervisor", err);
    }
    return SUPERVISORS * (workers_each + 1) + 1;
}

int main(int argc, char **argv)
{
    int64_t processes = argc > 1 ? atoll(argv[1]) : 100000;
    int64_t seconds = argc > 2 ? atoll(argv[2]) : 15;
    int64_t workers_each = processes / SUPERVISORS;
    if (workers_each < 1 || workers_each > WORKERS_MAX || seconds < 1) {
        fprintf(stderr, "usage: showcase [processes: 100 to 100000] [seconds]\n");
        return 2;
    }
    static int64_t pids[SUPERVISORS];
    terminal = isatty(1);
    viv_trap_exits(1);
    int64_t began_ns = now_ns();
    int64_t total = start_supervisors(pids, workers_each);
    int ready = 0;
    while (ready < SUPERVISORS) {
        ready += collect(now_ns() + 200 * VIV_MS, READY, SUPERVISORS - ready);
        struct report none = {0};
        draw(1 + SUPERVISORS + ready * workers_each, total, 0, 0, &none);
        if (now_ns() - began_ns > 60 * VIV_SEC) fail("the workers did not start", 0);
    }
    double spawn_s = (double)(now_ns() - began_ns) / 1e9;
    for (int i = 0; i < SUPERVISORS; i++)
        viv_send(pids[i], GO, NULL, 0, NULL, 0, 0);

    int64_t go_ns = now_ns(), last_ns = go_ns;
    double best = 0;
    struct report before = {0}, sum = {0};
    while (last_ns - go_ns < seconds * VIV_SEC) {
        int64_t step = terminal ? 200 * VIV_MS : VIV_SEC;
        (void)collect(last_ns + step, -1, SUPERVISORS);
        sum = sum_reports();
        int64_t t = now_ns();
        double rate = (double)(sum.hops - before.hops) * 1e9 / (double)(t - last_ns);
        if (rate > best) best = rate;
        draw(total, total, rate, best, &sum);
        before = sum;
        last_ns = t;
    }
    double run_s = (double)(now_ns() - go_ns) / 1e9;
    for (int i = 0; i < SUPERVISORS; i++)
        viv_send(pids[i], STOP, NULL, 0, NULL, 0, 0);
    int ended = collect(now_ns() + 20 * VIV_SEC, FINAL, SUPERVISORS);
    sum = sum_reports();
    printf("%lld processes in %.2f s; %.2f million messages a second for %.0f s; %lld crashes, "
           "%lld restarts\n",
           (long long)total, spawn_s, (double)sum.hops / run_s / 1e6, run_s, (long long)sum.crashes,
           (long long)sum.restarts);
    return ended == SUPERVISORS && sum.restarts == sum.crashes ? 0 : 1;
}
