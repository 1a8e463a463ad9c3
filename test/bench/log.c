// SPDX-License-Identifier: Apache-2.0
// Benchmarks of what room native keeps: a pipe read into an output ring against a bare loop, a read
// of 1 MiB against memcpy, look-ups of ids. Without programs, so that their start is not measured.
#include "log.h"
#include "base/alloc.h"
#include "cap/retire.h"
#include "native/idtable.h"
#include "native/read.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/rand.h"
#include "os/thread.h"
#include <string.h>

enum { BLOCK = 131072, BARE = 65536, WANT = 1 << 20, LINE = 80, READS = 64 };
enum { STRIDE = 7919 }; // a prime

struct source {
    int fds[2];
    uint64_t bytes;
    struct viv_thread *thread;
};

static void write_lines(void *arg)
{
    const struct source *source = arg;
    uint8_t *block = viv_alloc(BLOCK, VIV_TAG_TEST);
    for (size_t i = 0; i < BLOCK; i++)
        block[i] = i % LINE == LINE - 1 ? '\n' : 'x';
    for (uint64_t left = source->bytes; left > 0;) {
        const ssize_t n = viv_os_write(source->fds[1], block, viv_min_u64(left, BLOCK));
        if (n <= 0) bench_die("write", VIV_E_IO);
        left -= (uint64_t)n;
    }
    viv_free(block, BLOCK, VIV_TAG_TEST);
    viv_os_close(source->fds[1]);
}

static void open_source(struct source *source, uint64_t bytes)
{
    source->bytes = bytes;
    if (viv_os_pipe(source->fds) != 0) bench_die("pipe", VIV_E_IO);
    (void)viv_os_pipe_resize(source->fds[0], WANT); // both sides of the ratio get the same
    BENCH_TRY(viv_thread_start("lines", 0, write_lines, source, &source->thread));
}

static double close_source(struct source *source, uint64_t began_ns)
{
    const uint64_t took_ns = viv_os_now_ns() - began_ns;
    viv_thread_join(source->thread);
    viv_os_close(source->fds[0]);
    return (double)source->bytes * 1e9 / (double)took_ns / (double)(1 << 30);
}

// GiB/s, with count MiB.
static double bare_once(const struct bench_options *options)
{
    struct source source;
    uint8_t *buf = viv_alloc(BARE, VIV_TAG_TEST);
    open_source(&source, options->count << 20);
    const uint64_t began_ns = viv_os_now_ns();
    while (viv_os_read(source.fds[0], buf, BARE) > 0)
        ;
    viv_free(buf, BARE, VIV_TAG_TEST);
    return close_source(&source, began_ns);
}

static double ring_once(const struct bench_options *options)
{
    struct source source;
    struct viv_log_ring ring;
    struct iovec space[2];
    uint64_t sequence = 0;
    viv_log_ring_init(&ring, &(struct viv_log_ring_config){.cap_bytes = 1 << 20,
                                                           .has_index = true,
                                                           .retire = viv_cap_retire});
    open_source(&source, options->count << 20);
    const uint64_t began_ns = viv_os_now_ns();
    for (;;) {
        if (viv_log_ring_room(&ring, WANT, space) == 0) bench_die("room", VIV_E_EXHAUSTED);
        const ssize_t n = viv_os_readv(source.fds[0], space, space[1].iov_len > 0 ? 2 : 1);
        if (n <= 0) break;
        viv_log_ring_commit(&ring, (size_t)n, viv_os_now_ns(), ++sequence);
    }
    const double rate = close_source(&source, began_ns);
    viv_log_ring_deinit(&ring);
    return rate;
}

void bench_log_ring(const struct bench_options *options)
{
    const struct bench_result rate = {
        "host.log_ring", "GiB/s", bench_median(ring_once, options), 0, 0, true};
    bench_emit(options, &rate);
    // 0.8 of a bare loop, or as much as 2.5 GiB/s are of it.
    const double share = bench_median_ratio(ring_once, bare_once, options);
    const double enough = 2.5 * share / rate.value;
    const struct bench_result ratio = {"host.log_ring_of_bare",     "",  share, 0,
                                       enough < 0.8 ? enough : 0.8, true};
    bench_emit(options, &ratio);
}

// GiB/s of 1 MiB at a time, READS times a count.
static double copied(const struct bench_options *options, bool by_ring)
{
    struct viv_log_ring ring;
    struct iovec space[2];
    const uint8_t key[VIV_SIPHASH_KEY_BYTES] = {0};
    uint8_t *from = viv_calloc(1, WANT, VIV_TAG_TEST), *to = viv_calloc(1, WANT, VIV_TAG_TEST);
    viv_log_ring_init(&ring,
                      &(struct viv_log_ring_config){.cap_bytes = WANT, .retire = viv_cap_retire});
    for (size_t room, len = 0; len < WANT; len += room) {
        room = viv_log_ring_room(&ring, WANT - len, space);
        memset(space[0].iov_base, 1, space[0].iov_len);
        viv_log_ring_commit(&ring, room, 0, 1);
    }
    const struct viv_log_source source = {.ring = &ring, .key = key, .stream = VIV_LOG_STDOUT};
    const uint64_t count = options->count * READS;
    const uint64_t began_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        struct viv_log_chunk chunk;
        if (by_ring)
            BENCH_TRY(viv_log_read_since(&source, NULL, to, WANT, &chunk, NULL));
        else
            memcpy(to, from, WANT);
        __asm__ volatile("" ::"r"(to) : "memory"); // the copies are wanted
    }
    const double took_ns = (double)(viv_os_now_ns() - began_ns);
    viv_log_ring_deinit(&ring);
    viv_free(from, WANT, VIV_TAG_TEST);
    viv_free(to, WANT, VIV_TAG_TEST);
    return (double)(count * WANT) * 1e9 / took_ns / (double)(1 << 30);
}

static double read_once(const struct bench_options *options)
{
    return copied(options, true);
}

static double memcpy_once(const struct bench_options *options)
{
    return copied(options, false);
}

void bench_log_read(const struct bench_options *options)
{
    const struct bench_result ratio = {"host.log_read_of_memcpy",
                                       "",
                                       bench_median_ratio(read_once, memcpy_once, options),
                                       0,
                                       0.8,
                                       true};
    bench_emit(options, &ratio);
}

// ---- ids ----

static enum viv_err fill(void *arg, void *out, size_t len)
{
    (void)arg;
    return viv_os_random(out, len);
}

typedef char id_text[VIV_PROG_ID_CHARS + 1];
enum kind { KNOWN, UNKNOWN, MALFORMED, KINDS };

// ns a look-up by text, of `distinct` ids in an order that no cache foresees.
static double look_up(struct viv_prog_ids *ids, id_text *texts, uint64_t distinct)
{
    double runs[BENCH_RUNS];
    uint64_t found = 0;
    for (size_t run = 0; run < BENCH_RUNS; run++) {
        const uint64_t count = distinct < 1000000 ? 1000000 : distinct;
        const uint64_t began_ns = viv_os_now_ns();
        for (uint64_t i = 0; i < count; i++)
            found += viv_prog_ids_find_text(ids, texts[i * STRIDE % distinct], VIV_PROG_ID_CHARS) !=
                     NULL;
        runs[run] = (double)(viv_os_now_ns() - began_ns) / (double)count;
    }
    __asm__ volatile("" ::"r"(found));
    return bench_sort_median(runs, BENCH_RUNS);
}

static void make_texts(struct viv_prog_ids *ids, struct viv_prog_entry **entries,
                       id_text *texts[KINDS], uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        struct viv_prog_id id;
        BENCH_TRY(viv_prog_ids_add(ids, ids, &entries[i], NULL));
        viv_prog_id_format(viv_prog_entry_id(entries[i]), texts[KNOWN][i]);
        for (int kind = UNKNOWN; kind < KINDS; kind++) {
            BENCH_TRY(viv_os_random(id.b, sizeof id.b));
            viv_prog_id_format(&id, texts[kind][i]);
        }
        texts[MALFORMED][i][i % VIV_PROG_ID_CHARS] = '1';
    }
}

void bench_log_ids(const struct bench_options *options)
{
    static const char *const names[KINDS] = {"host.id_known", "host.id_unknown",
                                             "host.id_malformed"};
    const uint64_t count = options->count;
    const struct viv_prog_random random = {.fill = fill};
    struct viv_prog_ids *ids;
    id_text *texts[KINDS];
    struct viv_prog_entry **entries = viv_calloc(count, sizeof *entries, VIV_TAG_TEST);
    for (int kind = 0; kind < KINDS; kind++)
        texts[kind] = viv_calloc(count, sizeof(id_text), VIV_TAG_TEST);
    BENCH_TRY(viv_prog_ids_new(&random, &ids, NULL));
    make_texts(ids, entries, texts, count);
    const struct bench_result few = {
        "host.id_few", "ns", look_up(ids, texts[KNOWN], viv_min_u64(count, 1000)), 0, 200, false};
    bench_emit(options, &few);
    for (int kind = 0; kind < KINDS; kind++) {
        const struct bench_result all = {names[kind], "ns", look_up(ids, texts[kind], count),
                                         0,           0,    false};
        bench_emit(options, &all);
    }
    for (uint64_t i = 0; i < count; i++)
        viv_prog_ids_remove(ids, entries[i]);
    viv_prog_ids_free(ids);
    for (int kind = 0; kind < KINDS; kind++)
        viv_free(texts[kind], count * sizeof(id_text), VIV_TAG_TEST);
    viv_free(entries, count * sizeof *entries, VIV_TAG_TEST);
}
