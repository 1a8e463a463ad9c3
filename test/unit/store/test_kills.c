// SPDX-License-Identifier: Apache-2.0
// Workers that are killed with SIGKILL at random moments, one after the other, and replaced:
// nothing that was acknowledged is lost, and no process is run by two owners (durable.md 7, "two
// owners").
//
// A worker is an OS process that claims what waits, also from those that have died; does the steps
// of a process that are not recorded yet; and completes it; when nothing waits it registers a
// process. What it does it notes in a file, one write each: the order of the notes is the order of
// effects. VIV_TEST_KILLS kills in all on a file, a tenth on a server; VIV_TEST_SEED.
#include "store_rig.h"

#include "base/rng.h"
#include "harness/check.h"
#include "os/clock.h"
#include "store/admin.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WORKERS = 4,
    STEPS = 6,
    LIFE_US = 12000,
    SERVER_LIFE_US = 60000,
    ROUND = 250,
    PROCESSES_MAX = 1 << 20
};
#define TTL_MS INT64_C(600000) // nothing expires: who takes over has seen that the holder is dead
#define SUCCESS "{\"type\":\"success\",\"value\":1}"

enum kind { REGISTERED, BEGUN, BEAT, STEPPED, COMPLETED };
struct note {
    uint64_t boot_ns, fence;
    uint32_t process, step;
    enum kind kind;
    pid_t owner;
};

struct soak {
    struct rig *rig;
    struct viv_store_opts opts; // with the host's clocks
    int fd;                     // of the notes
    _Atomic uint32_t *next;     // process; shared by all
    pid_t workers[WORKERS];
    struct viv_rng *rng;
    off_t read_bytes; // of the notes
    // What the notes have said so far, by process:
    struct {
        uint64_t fence; // of the last one that began
        uint64_t boot_ns;
    } *seen;
    size_t acks[COMPLETED + 1], takeovers;
};

// ---- a worker ----

static void note(const struct soak *soak, enum kind kind, uint32_t process, uint64_t fence,
                 uint32_t step)
{
    const struct note note = {.boot_ns = viv_os_boot_ns(),
                              .fence = fence,
                              .process = process,
                              .step = step,
                              .kind = kind,
                              .owner = getpid()};
    CHECK(write(soak->fd, &note, sizeof note) == sizeof note);
}

static void add_process(struct soak *soak)
{
    char id[24];
    struct rig *rig = soak->rig;
    const uint32_t number = atomic_fetch_add(soak->next, 1);
    CHECK(number < PROCESSES_MAX);
    (void)snprintf(id, sizeof id, "p%u", number);
    const struct viv_str text = rig_registration(
        rig, id, "rerunnable", "\"policy\":{\"max_attempts\":1000,\"backoff\":{\"initial_ms\":0}}");
    CHECK(viv_store_register(rig->store, text, &rig->mem, NULL, NULL, NULL) == VIV_OK);
    note(soak, REGISTERED, number, 0, 0);
}

static void run_process(struct soak *soak, const struct viv_claimed *claimed)
{
    struct rig *rig = soak->rig;
    const struct viv_lease *lease = &claimed->lease;
    const uint32_t number = (uint32_t)strtoul(lease->id.p + 1, NULL, 10);
    CHECK(claimed->verdict == VIV_VERDICT_RUN);
    note(soak, BEGUN, number, lease->f.fence, 0);
    for (uint32_t step = 0; step < STEPS; step++) {
        char key[16];
        struct viv_str value;
        (void)snprintf(key, sizeof key, "s%u", step);
        note(soak, BEAT, number, lease->f.fence, step);
        const enum viv_err err =
            viv_store_step_get(rig->store, lease->id, str(key), &rig->mem, &value, NULL);
        if (err == VIV_OK) continue;
        CHECK(err == VIV_E_NOTFOUND);
        CHECK(viv_store_step_end(rig->store, lease->id, str(key), str(key + 1), &lease->f, NULL) ==
              VIV_OK);
        note(soak, STEPPED, number, lease->f.fence, step);
    }
    const struct viv_complete complete = {
        .output = str(SUCCESS), .authority = str("{\"type\":\"lease\"}"), .fence = &lease->f};
    CHECK(viv_store_complete(rig->store, lease->id, &complete, &rig->mem, NULL, NULL) == VIV_OK);
    note(soak, COMPLETED, number, lease->f.fence, 0);
}

static _Noreturn void work(struct soak *soak)
{
    struct rig *rig = soak->rig;
    char incarnation[24];
    (void)snprintf(incarnation, sizeof incarnation, "%d", (int)getpid());
    struct viv_owner owner = {.owner_id = str("node"), .incarnation = str(incarnation)};
    const struct viv_queue_query query = {
        .owner = &owner, .ttl_ms = TTL_MS, .limit = 1, .reclaims = true};
    viv_mem_init(&rig->mem, VIV_TAG_TEST);
    CHECK(viv_liveness_self(&owner.liveness) == VIV_OK);
    CHECK(viv_store_open(str(rig->url), &soak->opts, &rig->store, NULL) == VIV_OK);
    for (;;) {
        struct viv_claims claims;
        CHECK(viv_store_claim_next(rig->store, &query, &rig->mem, &claims, NULL) == VIV_OK);
        if (claims.count == 0)
            add_process(soak);
        else
            run_process(soak, &claims.items[0]);
        viv_mem_reset(&rig->mem);
    }
}

// ---- who kills ----

static void start_worker(struct soak *soak, int index)
{
    soak->workers[index] = fork();
    CHECK(soak->workers[index] >= 0);
    if (soak->workers[index] == 0) work(soak);
}

static void kill_worker(struct soak *soak, int index)
{
    int status;
    const pid_t pid = soak->workers[index];
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("a worker ended by itself: status %#x", (unsigned)status);
}

// ---- what it comes to ----

// Whether the one that a note is of is the only owner.
static bool is_sole_owner(struct soak *soak, const struct note *note)
{
    const uint64_t fence = soak->seen[note->process].fence;
    const uint64_t boot_ns = soak->seen[note->process].boot_ns;
    if (note->kind == REGISTERED) return true;
    soak->seen[note->process].boot_ns = note->boot_ns;
    if (note->kind != BEGUN) return note->fence == fence;
    soak->takeovers += fence > 0;
    soak->seen[note->process].fence = note->fence;
    return note->fence > fence && note->boot_ns >= boot_ns;
}

static void check_kept(struct soak *soak, const struct note *note)
{
    char id[24], key[16];
    struct rig *rig = soak->rig;
    (void)snprintf(id, sizeof id, "p%u", note->process);
    (void)snprintf(key, sizeof key, "s%u", note->step);
    if (note->kind == REGISTERED) (void)rig_get(rig, id);
    if (note->kind == COMPLETED) assert_int_equal(rig_get(rig, id).state, VIV_COMPLETED);
    if (note->kind == STEPPED) {
        struct viv_str value;
        RIG_OK(viv_store_step_get(rig->store, str(id), str(key), &rig->mem, &value, &rig->diag));
        rig_expect_text(value, key + 1);
    }
    viv_mem_reset(&rig->mem);
}

// The notes since the last call.
static void check_notes(struct soak *soak)
{
    struct note note;
    while (pread(soak->fd, &note, sizeof note, soak->read_bytes) == sizeof note) {
        const uint64_t fence = soak->seen[note.process].fence;
        if (!is_sole_owner(soak, &note))
            fail_msg("p%u has two owners: note %d of fence %llu behind fence %llu", note.process,
                     (int)note.kind, (unsigned long long)note.fence, (unsigned long long)fence);
        soak->read_bytes += (off_t)sizeof note;
        check_kept(soak, &note);
        soak->acks[note.kind]++;
    }
}

static void check_store(struct soak *soak)
{
    struct viv_findings findings;
    struct rig *rig = soak->rig;
    RIG_OK(viv_store_open(str(rig->url), &soak->opts, &rig->store, &rig->diag));
    check_notes(soak);
    RIG_OK(viv_store_check(rig->store, &rig->mem, &findings, &rig->diag));
    if (findings.count > 0) fail_msg("%s", findings.items[0].text.p);
    viv_mem_reset(&rig->mem);
    viv_store_close(rig->store);
}

static void run_round(struct soak *soak, int kills)
{
    for (int i = 0; i < WORKERS; i++)
        start_worker(soak, i);
    const uint64_t life_us = soak->rig->backend == RIG_SQLITE ? LIFE_US : SERVER_LIFE_US;
    for (int n = 0; n < kills - WORKERS; n++) {
        const int index = (int)(viv_rng_below(soak->rng, WORKERS));
        viv_os_sleep_ns(viv_rng_below(soak->rng, life_us) * 1000);
        kill_worker(soak, index);
        start_worker(soak, index);
    }
    for (int i = 0; i < WORKERS; i++)
        kill_worker(soak, i);
}

// A worker that nobody kills goes on from there.
static void complete_one(struct soak *soak)
{
    struct rig *rig = soak->rig;
    const size_t before = soak->acks[COMPLETED];
    start_worker(soak, 0);
    RIG_OK(viv_store_open(str(rig->url), &soak->opts, &rig->store, &rig->diag));
    CHECK_WAIT((check_notes(soak), soak->acks[COMPLETED] > before), 30,
               fprintf(stderr, "%zu begun\n", soak->acks[BEGUN]));
    kill_worker(soak, 0);
    viv_store_close(rig->store);
}

static void open_notes(struct soak *soak)
{
    char path[] = "notes-XXXXXX";
    const int fd = mkstemp(path);
    CHECK(fd >= 0 && close(fd) == 0);
    soak->fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    CHECK(soak->fd >= 0 && unlink(path) == 0);
    soak->next =
        mmap(NULL, sizeof *soak->next, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(soak->next != MAP_FAILED);
    soak->seen = calloc(PROCESSES_MAX, sizeof *soak->seen);
    CHECK(soak->seen != NULL);
}

static void kills_at_random(struct rig *rig)
{
    struct viv_rng rng = {check_seed()};
    struct soak soak = {.rig = rig, .opts = rig->opts, .rng = &rng};
    const int all = (int)check_env_u64("VIV_TEST_KILLS", 50);
    const int kills = rig->backend == RIG_SQLITE ? all : all / 10 + 10;
    soak.opts.clock = NULL;
    viv_store_close(rig->store);
    open_notes(&soak);
    const uint64_t begin_ns = viv_os_now_ns();
    for (int done = 0; done < kills; done += ROUND) {
        run_round(&soak, kills - done < ROUND ? kills - done : ROUND);
        check_store(&soak);
    }
    const double minutes = (double)(viv_os_now_ns() - begin_ns) / 6e10;
    complete_one(&soak);
    print_message("%d kills, %.0f a minute: %zu registered, %zu begun (%zu taken over), %zu steps, "
                  "%zu completed\n",
                  kills, kills / minutes, soak.acks[REGISTERED], soak.acks[BEGUN], soak.takeovers,
                  soak.acks[STEPPED], soak.acks[COMPLETED]);
    CHECK(munmap(soak.next, sizeof *soak.next) == 0 && close(soak.fd) == 0);
    free(soak.seen);
    RIG_OK(viv_store_open(str(rig->url), &rig->opts, &rig->store, &rig->diag));
}

// What it is for must be seen.
static void two_owners_would_be_seen(struct rig *rig)
{
    struct soak soak = {.rig = rig};
    soak.seen = calloc(1, sizeof *soak.seen);
    CHECK(soak.seen != NULL);
    assert_true(is_sole_owner(&soak, &(struct note){.kind = BEGUN, .fence = 1, .boot_ns = 1}));
    assert_true(is_sole_owner(&soak, &(struct note){.kind = BEGUN, .fence = 2, .boot_ns = 2}));
    assert_false(is_sole_owner(&soak, &(struct note){.kind = BEAT, .fence = 1, .boot_ns = 3}));
    assert_false(is_sole_owner(&soak, &(struct note){.kind = BEGUN, .fence = 2, .boot_ns = 4}));
    free(soak.seen);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_KEPT_CASE(kills_at_random),
        RIG_ONLY_CASE(two_owners_would_be_seen, RIG_MEMORY),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
