// SPDX-License-Identifier: Apache-2.0
// Cases of the import module `viv_res`: shared handles, grants, singletons, channels through
// futures, the wake ring. The numbers in names are those of the contract on resources.
#include "abi_cases.h"

#include "viv/viv_res.h"

static uint8_t buffer[4096];

// ---- operations ----

struct ends {
    int64_t channel, reader, writer;
};

static int64_t value_of(int64_t word)
{
    return viv_word_status(word) == VIV_READY ? (int64_t)viv_word_value(word) : -1;
}

static int64_t failure_of(int64_t word)
{
    return viv_word_status(word) == VIV_FAILED ? -(int64_t)viv_word_value(word) : 0;
}

// An operation that is done at once: the handle it answers with.
static int64_t made(int32_t operation, const void *args, size_t len)
{
    uint32_t handle = 0;
    int64_t future = value_of(viv_fut_create(operation, args, len));
    CHECK(future > 0);
    EXPECT(value_of(viv_fut_poll(future, 1, &handle, sizeof(handle))), sizeof(handle));
    return handle;
}

struct chan_args {
    uint32_t capacity, frame_max;
    uint8_t mode, flags;
    uint16_t zero;
};
struct end_args {
    uint32_t channel;
    uint8_t weak, start;
    uint16_t zero;
};

static struct ends make_channel(uint32_t capacity)
{
    struct chan_args args = {.capacity = capacity};
    struct ends ends = {.channel = made(VIV_OP_CHAN_CREATE, &args, sizeof(args))};
    struct end_args end = {.channel = (uint32_t)ends.channel};
    ends.reader = made(VIV_OP_CHAN_READER, &end, sizeof(end));
    ends.writer = made(VIV_OP_CHAN_WRITER, &end, sizeof(end));
    return ends;
}

static int64_t start_write(int64_t writer, const char *text)
{
    uint8_t args[64];
    uint32_t head[2] = {(uint32_t)writer, (uint32_t)strlen(text)};
    memcpy(args, head, sizeof(head));
    memcpy(args + sizeof(head), text, head[1]);
    return value_of(viv_fut_create(VIV_OP_CHAN_WRITE, args, sizeof(head) + head[1]));
}

static int64_t start_read(int64_t reader)
{
    uint32_t args = (uint32_t)reader;
    return value_of(viv_fut_create(VIV_OP_CHAN_READ, &args, sizeof(args)));
}

enum { FRAME_HEAD = 16 };

// ---- channels, futures, the ring ----

CASE(case_82_a_frame_goes_through)
{
    struct ends ends = make_channel(1024);
    uint32_t dropped = 9;
    EXPECT(value_of(viv_fut_poll(start_write(ends.writer, "hello"), 1, &dropped, 4)), 4);
    EXPECT(dropped, 0);
    int64_t read = start_read(ends.reader);
    EXPECT(value_of(viv_fut_poll(read, 1, buffer, sizeof(buffer))), FRAME_HEAD + 5);
    EXPECT(memcmp(buffer + FRAME_HEAD, "hello", 5), 0);
    EXPECT(failure_of(viv_fut_poll(read, 1, buffer, sizeof(buffer))), -VIV_E_BADHANDLE);
}

CASE(case_83_a_small_buffer_loses_nothing)
{
    struct ends ends = make_channel(1024);
    uint32_t dropped;
    EXPECT(value_of(viv_fut_poll(start_write(ends.writer, "hello"), 1, &dropped, 4)), 4);
    int64_t read = start_read(ends.reader);
    int64_t word = viv_fut_poll(read, 1, buffer, FRAME_HEAD + 4);
    EXPECT(viv_word_status(word), VIV_TOO_SMALL);
    EXPECT(viv_word_value(word), FRAME_HEAD + 5);
    EXPECT(value_of(viv_fut_poll(read, 1, buffer, sizeof(buffer))), FRAME_HEAD + 5);
}

static _Alignas(8) uint8_t ring_memory[32 + 8 * 4];

static struct viv_ring *ring_of(void)
{
    struct viv_ring *ring = (struct viv_ring *)ring_memory;
    EXPECT(viv_ring_register(ring, 8, 0), 0);
    return ring;
}

static uint32_t next_task(struct viv_ring *ring)
{
    CHECK(__atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) != ring->head);
    uint32_t task = ring->slots[ring->head % 8];
    __atomic_store_n(&ring->head, ring->head + 1, __ATOMIC_RELEASE);
    return task;
}

CASE(case_82_who_waits_is_named_in_the_ring)
{
    struct viv_ring *ring = ring_of();
    struct ends ends = make_channel(1024);
    uint32_t dropped;
    int64_t read = start_read(ends.reader);
    EXPECT(viv_word_status(viv_fut_poll(read, 77, buffer, sizeof(buffer))), VIV_PENDING);
    EXPECT(viv_fut_wait(0), 1);
    EXPECT(value_of(viv_fut_poll(start_write(ends.writer, "later"), 1, &dropped, 4)), 4);
    EXPECT(viv_fut_wait(20 * VIV_SEC), 0);
    EXPECT(next_task(ring), 77);
    EXPECT(value_of(viv_fut_poll(read, 77, buffer, sizeof(buffer))), FRAME_HEAD + 5);
    EXPECT(viv_fut_wait(0), 1);
}

CASE(case_fut_wait_sleeps)
{
    struct viv_ring *ring = ring_of();
    uint64_t ns = 30 * VIV_MS;
    int64_t sleep = value_of(viv_fut_create(VIV_OP_SLEEP, &ns, sizeof(ns)));
    EXPECT(viv_word_status(viv_fut_poll(sleep, 5, NULL, 0)), VIV_PENDING);
    EXPECT(viv_fut_wait(VIV_MS), 1);
    EXPECT(viv_fut_wait(VIV_FOREVER), 0);
    EXPECT(next_task(ring), 5);
    EXPECT(viv_word_status(viv_fut_poll(sleep, 5, NULL, 0)), VIV_READY);
}

CASE(case_84_a_dropped_read_consumes_nothing)
{
    struct ends ends = make_channel(1024);
    uint32_t dropped;
    int64_t read = start_read(ends.reader);
    EXPECT(viv_word_status(viv_fut_poll(read, 1, buffer, sizeof(buffer))), VIV_PENDING);
    EXPECT(viv_word_status(viv_fut_drop(read, NULL, 0)), VIV_CANCELLED);
    EXPECT(value_of(viv_fut_poll(start_write(ends.writer, "kept"), 1, &dropped, 4)), 4);
    EXPECT(value_of(viv_fut_poll(start_read(ends.reader), 1, buffer, sizeof(buffer))),
           FRAME_HEAD + 4);
}

// ---- between processes ----

// Attaches what its first message names, reads a frame, and says how that went.
VIV_EXPORT("reads_shared") void reads_shared(void);
void reads_shared(void)
{
    HEAR(0);
    int64_t shared, parent = msg.from;
    memcpy(&shared, payload, sizeof(shared));
    int64_t reader = value_of(viv_res_attach(shared));
    CHECK(reader > 0);
    struct viv_ring *ring = ring_of();
    int64_t read = start_read(reader);
    int64_t word = viv_fut_poll(read, 3, buffer, sizeof(buffer));
    EXPECT(viv_send(parent, 1, NULL, 0, NULL, 0, 0), 0); // waits from here on
    while (viv_word_status(word) == VIV_PENDING) {
        EXPECT(viv_fut_wait(20 * VIV_SEC), 0);
        EXPECT(next_task(ring), 3);
        word = viv_fut_poll(read, 3, buffer, sizeof(buffer));
    }
    EXPECT(viv_send(parent, 2, &word, sizeof(word), NULL, 0, 0), 0);
}

static void start_reader(int64_t handle)
{
    int64_t shared, pid;
    struct viv_spawn spec = spawn_of(own_module(), "reads_shared");
    EXPECT(viv_res_share(handle, VIV_MAY_READ | VIV_MAY_WAIT, 1, 0, &shared), 0);
    spec.init = &shared;
    spec.init_len = sizeof(shared);
    EXPECT(viv_spawn(&spec, &pid), 0);
    HEAR(1);
}

static int64_t hear_word(void)
{
    int64_t word;
    HEAR(2);
    memcpy(&word, payload, sizeof(word));
    return word;
}

CASE(case_shared_reader_in_another_process)
{
    struct ends ends = make_channel(1024);
    uint32_t dropped;
    start_reader(ends.reader);
    EXPECT(value_of(viv_fut_poll(start_write(ends.writer, "across"), 1, &dropped, 4)), 4);
    EXPECT(value_of(hear_word()), FRAME_HEAD + 6);
}

CASE(case_29_a_parked_read_is_revoked)
{
    struct ends ends = make_channel(1024);
    uint32_t dropped;
    start_reader(ends.reader);
    EXPECT(viv_res_revoke(ends.reader), 0);
    EXPECT(failure_of(hear_word()), -VIV_E_REVOKED);
    // Nothing was consumed, and the owner's own handle works.
    EXPECT(value_of(viv_fut_poll(start_write(ends.writer, "mine"), 1, &dropped, 4)), 4);
    EXPECT(value_of(viv_fut_poll(start_read(ends.reader), 1, buffer, sizeof(buffer))),
           FRAME_HEAD + 4);
}

CASE(case_25_a_share_is_spent)
{
    struct ends ends = make_channel(64);
    int64_t shared;
    EXPECT(viv_res_share(ends.channel, VIV_MAY_STAT, 1, 0, &shared), 0);
    int64_t first = value_of(viv_res_attach(shared));
    CHECK(first > 0);
    EXPECT(failure_of(viv_res_attach(shared)), -VIV_E_NOTFOUND);
    struct viv_res_stat stat;
    EXPECT(value_of(viv_res_stat(first, &stat, sizeof(stat))), sizeof(stat));
    EXPECT(stat.kind, 6);
    EXPECT(stat.rights, VIV_MAY_STAT);
    EXPECT(stat.grants, 1); // the share is gone, and with it its node
    EXPECT(stat.is_own, 1);
    EXPECT(viv_res_share(ends.channel, VIV_MAY_STAT, 0, 0, &shared), 0);
    int64_t second = value_of(viv_res_attach(shared));
    EXPECT(value_of(viv_res_stat(second, &stat, sizeof(stat))), sizeof(stat));
    EXPECT(stat.grants, 2);
    EXPECT(viv_res_unshare(ends.channel, shared), 0);
    EXPECT(failure_of(viv_res_dup(second, VIV_MAY_STAT)), -VIV_E_REVOKED);
    EXPECT(viv_res_close(first), 0);
    EXPECT(viv_res_close(first), -VIV_E_BADHANDLE);
}

CASE(case_26_guesses_are_counted)
{
    for (int i = 0; i < 16; i++)
        EXPECT(failure_of(viv_res_attach(INT64_C(0x1234567800000000) + i)), -VIV_E_NOTFOUND);
    EXPECT(failure_of(viv_res_attach(INT64_C(0x1234567899999999))), -VIV_E_QUOTA);
}

CASE(case_28_rights_only_shrink)
{
    struct ends ends = make_channel(64);
    int64_t less = value_of(viv_res_dup(ends.channel, VIV_MAY_STAT | VIV_MAY_SHARE)), shared;
    CHECK(less > 0);
    EXPECT(failure_of(viv_res_dup(less, VIV_MAY_STAT | VIV_MAY_DESTROY)), -VIV_E_RIGHTS);
    EXPECT(viv_res_share(less, VIV_MAY_DESTROY, 0, 0, &shared), -VIV_E_RIGHTS);
    struct end_args end = {.channel = (uint32_t)less};
    int64_t word = viv_fut_create(VIV_OP_CHAN_READER, &end, sizeof(end));
    if (viv_word_status(word) == VIV_READY)
        word = viv_fut_poll((int64_t)viv_word_value(word), 1, buffer, sizeof(buffer));
    EXPECT(failure_of(word), -VIV_E_RIGHTS);
}

// ---- singletons ----

static const char singleton_id[16] = "a test's channel";

VIV_EXPORT("finds_singleton") void finds_singleton(void);
void finds_singleton(void)
{
    HEAR(0);
    int64_t parent = msg.from, found = viv_singleton_lookup(singleton_id);
    EXPECT(viv_send(parent, 2, &found, sizeof(found), NULL, 0, 0), 0);
}

static int64_t look_up(void)
{
    int64_t pid;
    struct viv_spawn spec = spawn_of(own_module(), "finds_singleton");
    spec.init = "?";
    spec.init_len = 1;
    EXPECT(viv_spawn(&spec, &pid), 0);
    return hear_word();
}

CASE(case_singletons_are_found_until_they_end)
{
    struct ends ends = make_channel(64), other = make_channel(64);
    EXPECT(failure_of(look_up()), -VIV_E_NOTFOUND);
    EXPECT(viv_singleton_register(singleton_id, ends.channel, 0), 0);
    EXPECT(viv_singleton_register(singleton_id, other.channel, 0), -VIV_E_EXISTS);
    CHECK(value_of(look_up()) > 0);
    EXPECT(viv_res_revoke(ends.channel), 0);
    uint32_t channel = (uint32_t)ends.channel;
    (void)viv_fut_create(VIV_OP_CHAN_TERMINATE, &channel, sizeof(channel));
    EXPECT(viv_res_close(ends.channel), 0);
    EXPECT(failure_of(look_up()), -VIV_E_NOTFOUND);
}

// ---- bad input ----

CASE(case_bad_pointers_and_handles_change_nothing)
{
    struct ends ends = make_channel(64);
    uint8_t *end = (uint8_t *)memory_end();
    int64_t shared;
    EXPECT(viv_res_share(ends.channel, VIV_MAY_STAT, 0, 0, (int64_t *)(end - 4)), -VIV_E_FAULT);
    EXPECT(failure_of(viv_fut_create(VIV_OP_SLEEP, end - 4, 8)), -VIV_E_FAULT);
    EXPECT(failure_of(viv_fut_create(VIV_OP_SLEEP, buffer, 7)), -VIV_E_INVAL);
    EXPECT(failure_of(viv_fut_create(99, buffer, 8)), -VIV_E_UNSUPPORTED);
    EXPECT(failure_of(viv_singleton_lookup(end - 8)), -VIV_E_FAULT);
    EXPECT(viv_ring_register((struct viv_ring *)(end - 8), 8, 0), -VIV_E_FAULT);
    EXPECT(viv_ring_register((struct viv_ring *)(ring_memory + 4), 8, 0), -VIV_E_INVAL);
    EXPECT(viv_ring_register((struct viv_ring *)ring_memory, 7, 0), -VIV_E_INVAL);
    const int64_t bad[] = {0, -1, 999, INT64_C(0x100000001), INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        EXPECT(viv_res_close(bad[i]), -VIV_E_BADHANDLE);
        EXPECT(viv_res_revoke(bad[i]), -VIV_E_BADHANDLE);
        EXPECT(failure_of(viv_res_dup(bad[i], 1)), -VIV_E_BADHANDLE);
        EXPECT(viv_res_share(bad[i], 1, 0, 0, &shared), -VIV_E_BADHANDLE);
        EXPECT(failure_of(viv_fut_poll(bad[i], 1, buffer, 8)), -VIV_E_BADHANDLE);
        EXPECT(viv_singleton_register(singleton_id, bad[i], 0), -VIV_E_BADHANDLE);
    }
    EXPECT(viv_res_close(ends.writer), 0);
    EXPECT(viv_cap_check(25, NULL, 0), 0);
    EXPECT(viv_cap_check(99, NULL, 0), -VIV_E_UNSUPPORTED);
}

int main(void)
{
    return 0;
}
