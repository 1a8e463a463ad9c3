// SPDX-License-Identifier: Apache-2.0
// The queue before standard input: bounds, order, framing, what was accepted and delivered.
#include "base/alloc.h"
#include "base/rng.h"
#include "cm.h"
#include "harness/check.h"
#include "native/stdin.h"
#include <string.h>

static struct viv_stdin_queue queue;

static void open_queue(uint64_t bound, const char *prelude, bool is_kept_open)
{
    viv_stdin_init(&queue,
                   &(struct viv_stdin_config){.bound_bytes = bound,
                                              .prelude = prelude,
                                              .prelude_len = prelude != NULL ? strlen(prelude) : 0,
                                              .is_kept_open = is_kept_open});
}

static void close_queue(void)
{
    viv_stdin_deinit(&queue);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0);
}

static enum viv_err push(const char *text, enum viv_stdin_mode mode, size_t *taken)
{
    return viv_stdin_push(&queue, text, strlen(text), mode, taken);
}

// Takes `max` bytes as a pipe would.
static size_t take(uint8_t *out, size_t max)
{
    struct iovec pieces[3];
    const int count = viv_stdin_peek(&queue, pieces, 3);
    size_t len = 0;
    for (int i = 0; i < count && len < max; i++) {
        const size_t here = pieces[i].iov_len < max - len ? pieces[i].iov_len : max - len;
        memcpy(out + len, pieces[i].iov_base, here);
        len += here;
    }
    viv_stdin_pop(&queue, len);
    return len;
}

static void assert_delivers(const char *expected, size_t len)
{
    uint8_t out[256];
    size_t got = 0, more;
    while ((more = take(out + got, sizeof out - got)) > 0)
        got += more;
    assert_int_equal(got, len);
    assert_memory_equal(out, expected, len);
}

static void n82_the_prelude_comes_first_and_may_exceed(void **state)
{
    (void)state;
    static char prelude[(4 << 20) + 1];
    static uint8_t out[4 << 20];
    size_t taken = 0, got = 0;
    memset(prelude, 'p', sizeof prelude - 1);
    open_queue(4096, prelude, true);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0); // borrowed
    assert_int_equal(queue.accepted, 4 << 20);
    ERR(push("x", VIV_STDIN_ALL, &taken), FULL);
    ERR(push("x", VIV_STDIN_SOME, &taken), FULL);
    while (got < (4 << 20) - 100) {
        const size_t more = take(out + got, 65536);
        got += more < (4 << 20) - 100 - got ? more : (4 << 20) - 100 - got;
        assert_true(more > 0);
    }
    OK(push("tail", VIV_STDIN_ALL, &taken));
    viv_stdin_drain(&queue);
    while (take(out, 65536) > 0)
        ;
    assert_int_equal(queue.delivered, (4 << 20) + 4);
    assert_true(viv_stdin_is_drained(&queue));
    close_queue();
}

static void states_are_as_opened(void **state)
{
    (void)state;
    size_t taken;
    open_queue(100, NULL, false);
    assert_int_equal(queue.state, VIV_STDIN_NONE);
    ERR(push("x", VIV_STDIN_ALL, &taken), CLOSED);
    viv_stdin_drain(&queue);
    assert_int_equal(viv_stdin_end(&queue), 0);
    assert_int_equal(queue.state, VIV_STDIN_NONE);
    assert_false(viv_stdin_is_drained(&queue));
    close_queue();
    open_queue(100, "p", false); // end of file follows the prelude
    assert_int_equal(queue.state, VIV_STDIN_DRAINING);
    ERR(push("x", VIV_STDIN_ALL, &taken), CLOSED);
    assert_false(viv_stdin_is_drained(&queue));
    assert_delivers("p", 1);
    assert_true(viv_stdin_is_drained(&queue));
    close_queue();
    open_queue(100, "", false); // an empty prelude is one
    assert_true(viv_stdin_is_drained(&queue));
    close_queue();
    open_queue(100, NULL, true); // keep_stdin alone suffices (N81)
    assert_int_equal(queue.state, VIV_STDIN_OPEN);
    assert_int_equal(viv_stdin_room(&queue), 100);
    close_queue();
}

static void n84_all_some_and_close_now(void **state)
{
    (void)state;
    size_t taken = 77;
    open_queue(8, NULL, true);
    ERR(push("123456789", VIV_STDIN_ALL, &taken), TOOBIG);
    ERR(push("123456789", VIV_STDIN_SOME, &taken), TOOBIG);
    OK(push("12345", VIV_STDIN_ALL, &taken));
    assert_int_equal(taken, 5);
    ERR(push("6789", VIV_STDIN_ALL, &taken), FULL); // nothing was taken
    assert_int_equal(queue.accepted, 5);
    OK(push("6789", VIV_STDIN_SOME, &taken));
    assert_int_equal(taken, 3);
    ERR(push("9", VIV_STDIN_SOME, &taken), FULL);
    OK(push("", VIV_STDIN_ALL, &taken));
    assert_int_equal(taken, 0);
    viv_stdin_pop(&queue, 3);
    assert_int_equal(viv_stdin_end(&queue), 5); // undelivered, exactly
    assert_int_equal(queue.state, VIV_STDIN_CLOSED);
    assert_int_equal(viv_stdin_end(&queue), 0); // idempotent
    assert_int_equal(viv_stdin_queued(&queue), 0);
    close_queue();
}

static void n85_exit_with_a_full_queue(void **state)
{
    (void)state;
    size_t taken;
    open_queue(8, "ab", true);
    OK(push("123456", VIV_STDIN_ALL, &taken));
    viv_stdin_pop(&queue, 5);
    (void)viv_stdin_end(&queue); // EPIPE
    ERR(push("x", VIV_STDIN_ALL, &taken), CLOSED);
    assert_int_equal(queue.accepted, 8);
    assert_int_equal(queue.delivered, 5);
    struct iovec piece;
    assert_int_equal(viv_stdin_peek(&queue, &piece, 1), 0);
    close_queue();
}

static void close_waits_for_what_was_accepted(void **state)
{
    (void)state;
    size_t taken;
    open_queue(8, NULL, true);
    OK(push("123", VIV_STDIN_ALL, &taken));
    viv_stdin_drain(&queue);
    viv_stdin_drain(&queue);
    assert_int_equal(queue.state, VIV_STDIN_DRAINING);
    ERR(push("4", VIV_STDIN_ALL, &taken), CLOSED);
    assert_false(viv_stdin_is_drained(&queue));
    assert_delivers("123", 3);
    assert_true(viv_stdin_is_drained(&queue));
    assert_int_equal(viv_stdin_end(&queue), 0);
    close_queue();
}

static void assert_frame(enum viv_native_framing framing, const char *text, const char *frame,
                         size_t len)
{
    open_queue(100, NULL, true);
    OK(viv_stdin_push_message(&queue, framing, text, strlen(text)));
    assert_delivers(frame, len);
    close_queue();
}

static void n88_frames(void **state)
{
    (void)state;
    static char big[70000];
    assert_frame(VIV_NATIVE_FRAMING_RAW, "a\nb", "a\nb", 3);
    assert_frame(VIV_NATIVE_FRAMING_LINE, "ab", "ab\n", 3);
    assert_frame(VIV_NATIVE_FRAMING_LINE, "", "\n", 1);
    assert_frame(VIV_NATIVE_FRAMING_PACKET1, "abc", "\3abc", 4);
    assert_frame(VIV_NATIVE_FRAMING_PACKET2, "abc", "\0\3abc", 5);
    assert_frame(VIV_NATIVE_FRAMING_PACKET4, "", "\0\0\0\0", 4);
    open_queue(100000, NULL, true);
    ERR(viv_stdin_push_message(&queue, VIV_NATIVE_FRAMING_LINE, "a\n", 2), INVAL);
    ERR(viv_stdin_push_message(&queue, VIV_NATIVE_FRAMING_PACKET1, big, 256), TOOBIG);
    ERR(viv_stdin_push_message(&queue, VIV_NATIVE_FRAMING_PACKET2, big, 65536), TOOBIG);
    assert_int_equal(queue.accepted, 0);
    OK(viv_stdin_push_message(&queue, VIV_NATIVE_FRAMING_PACKET2, big, 65535));
    uint8_t head[4];
    assert_int_equal(take(head, 4), 4);
    assert_memory_equal(head, "\xFF\xFF\0\0", 4);
    close_queue();
    open_queue(4, NULL, true); // whole or not at all
    ERR(viv_stdin_push_message(&queue, VIV_NATIVE_FRAMING_PACKET4, "a", 1), TOOBIG);
    OK(viv_stdin_push_message(&queue, VIV_NATIVE_FRAMING_PACKET1, "a", 1));
    ERR(viv_stdin_push_message(&queue, VIV_NATIVE_FRAMING_LINE, "ab", 2), FULL);
    OK(viv_stdin_push_message(&queue, VIV_NATIVE_FRAMING_LINE, "b", 1));
    assert_delivers("\1ab\n", 4);
    viv_stdin_drain(&queue);
    ERR(viv_stdin_push_message(&queue, VIV_NATIVE_FRAMING_RAW, "b", 1), CLOSED);
    close_queue();
}

static void n87_end_of_a_terminal(void **state)
{
    (void)state;
    size_t taken;
    open_queue(2, NULL, true);
    OK(viv_stdin_push_veof(&queue, 4));
    assert_delivers("\4", 1);
    ERR(viv_stdin_push_veof(&queue, 4), CLOSED);
    close_queue();
    open_queue(2, NULL, true);
    OK(push("ab", VIV_STDIN_ALL, &taken));
    OK(viv_stdin_push_veof(&queue, 4));
    assert_delivers("ab\4\4", 4);
    assert_true(viv_stdin_is_drained(&queue));
    close_queue();
    open_queue(2, "x\n", true);
    OK(viv_stdin_push_veof(&queue, 4));
    assert_delivers("x\n\4", 3);
    close_queue();
}

static void n83_contiguous_and_in_order(void **state)
{
    (void)state;
    static uint8_t sent[1 << 20], got[1 << 20];
    struct viv_rng rng = {check_seed()};
    size_t sent_len = 0, got_len = 0;
    open_queue(20000, NULL, true);
    while (got_len < sizeof sent) {
        size_t len = (size_t)viv_rng_below(&rng, viv_rng_below(&rng, 4) == 0 ? 9000 : 50), taken;
        if (len > sizeof sent - sent_len) len = sizeof sent - sent_len;
        for (size_t i = 0; i < len; i++)
            sent[sent_len + i] = (uint8_t)viv_rng_next(&rng);
        const enum viv_stdin_mode mode =
            viv_rng_below(&rng, 2) == 0 ? VIV_STDIN_ALL : VIV_STDIN_SOME;
        const uint64_t room = viv_stdin_room(&queue);
        const enum viv_err err = viv_stdin_push(&queue, sent + sent_len, len, mode, &taken);
        if (err == VIV_OK) {
            assert_int_equal(taken, mode == VIV_STDIN_ALL ? len : viv_min_u64(len, room));
            sent_len += taken;
        } else {
            ERR(err, FULL);
            assert_true(len > room);
        }
        const size_t max = (size_t)viv_rng_below(&rng, 3000);
        got_len += take(got + got_len, max < sizeof got - got_len ? max : sizeof got - got_len);
        assert_int_equal(viv_stdin_queued(&queue), sent_len - got_len);
    }
    assert_memory_equal(sent, got, sizeof sent);
    close_queue();
}

static void every_allocation_fails(void **state)
{
    (void)state;
    static char big[10000];
    bool is_done = false;
    for (uint64_t nth = 1; !is_done; nth++) {
        size_t taken = 0;
        open_queue(20000, "pre", true);
        viv_alloc_fail_nth(nth);
        enum viv_err err = push("abc", VIV_STDIN_ALL, &taken);
        uint64_t before = queue.accepted;
        if (err == VIV_OK) err = viv_stdin_push(&queue, big, sizeof big, VIV_STDIN_ALL, &taken);
        if (err == VIV_OK) {
            before = queue.accepted;
            err = viv_stdin_push_message(&queue, VIV_NATIVE_FRAMING_PACKET2, big, 5000);
        }
        is_done = !viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(err, is_done ? VIV_OK : VIV_E_EXHAUSTED);
        if (!is_done) assert_int_equal(queue.accepted, before);
        assert_true(!is_done || nth > 3);
        close_queue();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n82_the_prelude_comes_first_and_may_exceed),
        cmocka_unit_test(states_are_as_opened),
        cmocka_unit_test(n84_all_some_and_close_now),
        cmocka_unit_test(n85_exit_with_a_full_queue),
        cmocka_unit_test(close_waits_for_what_was_accepted),
        cmocka_unit_test(n88_frames),
        cmocka_unit_test(n87_end_of_a_terminal),
        cmocka_unit_test(n83_contiguous_and_in_order),
        cmocka_unit_test(every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
