// SPDX-License-Identifier: Apache-2.0
// `.rec` of a holder: what it looks like, and that nothing else is taken for one. Its cases belong
// to N99 and to section 9: a corrupt record is found to be one.
#include "base/alloc.h"
#include "base/hash.h"
#include "cm.h"
#include "native/holder/hold_rec.h"
#include <stdlib.h>
#include <string.h>

// Places of the format, counted by hand: head 16, numbers 200, lengths 40, texts, state 336, sum 8.
enum {
    AT_VERSION = 8,
    AT_HAS_END = 12,
    AT_NUMBERS = 16,
    AT_LENGTHS = AT_NUMBERS + 200,
    AT_TEXTS = AT_LENGTHS + 40,
    STATE_BYTES = 336,
    SUM_BYTES = 8,
    TEXT_BYTES = 3 + 0 + 5 + 0 + 12 + 0 + 0 + 6 + 4 + VIV_HOLD_TEXTS, // each with its NUL
    BIRTH_BYTES = AT_TEXTS + TEXT_BYTES + SUM_BYTES,
    END_BYTES = BIRTH_BYTES + STATE_BYTES,
};

static const char *const words[VIV_HOLD_TEXTS] = {"env", "", "label",   "",        "/bin/program",
                                                  "",    "", "first\n", "\1\2\3\4"};

static void fill(struct viv_hold_rec *rec)
{
    memset(rec, 0, sizeof *rec);
    rec->numbers = (struct viv_hold_numbers){
        .number = 0x1122334455667788,
        .generation = 9,
        .max_output_bytes = UINT64_MAX,
        .max_cpu_ms = 5,
        .eof_linger_ms = 6,
        .ring_bytes = 4096,
        .stdin_queue_bytes = 4096,
        .orphan_ns = 7,
        .knobs_ns = {1, 2, 3, UINT64_MAX},
        .idle_on = 15,
        .stop_signal = 15,
        .flags = VIV_HOLD_HAS_INDEX | VIV_HOLD_HAS_TERMINAL,
        .stream_count = 2,
        .rung = VIV_RUNG_TREE,
        .digest = "0123456789abcdef",
    };
    for (size_t i = 0; i < VIV_HOLD_TEXTS; i++)
        rec->texts[i] = (struct viv_hold_text){words[i], (uint32_t)strlen(words[i])};
}

static void fill_end(struct viv_hold_rec *rec)
{
    fill(rec);
    rec->has_end = true;
    rec->end = (struct viv_hold_state){.sequence = 5,
                                       .phase = VIV_NATIVE_EXITED,
                                       .flags = VIV_HOLD_STATE_EXIT,
                                       .eof = 3,
                                       .exit = {.kind = VIV_NATIVE_SIGNALED,
                                                .cause = VIV_CAUSE_ORPHAN,
                                                .code = 9,
                                                .flags = VIV_HOLD_EXIT_SIGNALED,
                                                .received = {1, 2}}};
}

static void encode(const struct viv_hold_rec *rec, struct viv_buf *out)
{
    viv_buf_init(out, VIV_TAG_TEST);
    OK(viv_hold_rec_encode(rec, out));
}

// With another sum, so that only what it says can be wrong.
static void set_sum(uint8_t *data, size_t len)
{
    static const uint8_t key[VIV_SIPHASH_KEY_BYTES] = {0};
    const uint64_t sum = viv_siphash_64(key, data, len - SUM_BYTES);
    memcpy(data + len - SUM_BYTES, &sum, sizeof sum);
}

// Decoded from a block of exactly this size, so that a sanitizer sees a byte read beyond it.
static enum viv_err decode(const uint8_t *data, size_t len, struct viv_hold_rec *out)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, data, len);
    const enum viv_err err = viv_hold_rec_decode(copy, len, out);
    free(copy);
    return err;
}

static void n99_a_record_is_what_it_was(void **state)
{
    (void)state;
    struct viv_hold_rec rec, back;
    struct viv_buf bytes;
    for (int has_end = 0; has_end < 2; has_end++) {
        if (has_end)
            fill_end(&rec);
        else
            fill(&rec);
        encode(&rec, &bytes);
        OK(viv_hold_rec_decode(bytes.data, bytes.len_bytes, &back));
        assert_memory_equal(&back.numbers, &rec.numbers, sizeof rec.numbers);
        assert_int_equal(back.has_end, has_end);
        if (has_end) assert_memory_equal(&back.end, &rec.end, sizeof rec.end);
        for (size_t i = 0; i < VIV_HOLD_TEXTS; i++) {
            assert_int_equal(back.texts[i].len, strlen(words[i]));
            assert_memory_equal(back.texts[i].data, words[i], strlen(words[i]) + 1); // and the NUL
        }
        viv_buf_deinit(&bytes);
    }
}

static void n99_every_byte_has_its_place(void **state)
{
    (void)state;
    static const uint8_t number[8] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};
    static const uint8_t three[4] = {3, 0, 0, 0};
    struct viv_hold_rec rec;
    struct viv_buf bytes;
    fill(&rec);
    encode(&rec, &bytes);
    assert_int_equal(bytes.len_bytes, BIRTH_BYTES);
    assert_memory_equal(bytes.data, "VIVHREC\0\2\0\0\0\0\0\0\0", 16);
    assert_memory_equal(bytes.data + AT_NUMBERS, number, sizeof number);
    assert_memory_equal(bytes.data + AT_LENGTHS, three, sizeof three);
    assert_memory_equal(bytes.data + AT_TEXTS,
                        "env\0\0label\0\0/bin/program\0\0\0first\n\0\1\2\3\4", TEXT_BYTES);
    uint8_t copy[BIRTH_BYTES];
    memcpy(copy, bytes.data, sizeof copy);
    set_sum(copy, sizeof copy);
    assert_memory_equal(copy, bytes.data, sizeof copy);
    viv_buf_deinit(&bytes);
    fill_end(&rec);
    encode(&rec, &bytes);
    assert_int_equal(bytes.len_bytes, END_BYTES);
    viv_buf_deinit(&bytes);
}

static void n99_it_is_appended(void **state)
{
    (void)state;
    struct viv_hold_rec rec, back;
    struct viv_buf bytes;
    fill(&rec);
    viv_buf_init(&bytes, VIV_TAG_TEST);
    OK(viv_buf_append(&bytes, "before", 6));
    OK(viv_hold_rec_encode(&rec, &bytes));
    assert_int_equal(bytes.len_bytes, 6 + BIRTH_BYTES);
    assert_memory_equal(bytes.data, "before", 6);
    OK(decode(bytes.data + 6, BIRTH_BYTES, &back));
    viv_buf_deinit(&bytes);
}

static void n99_cut_at_every_byte(void **state)
{
    (void)state;
    struct viv_hold_rec rec, out;
    struct viv_buf bytes;
    uint8_t copy[END_BYTES + 1];
    fill_end(&rec);
    encode(&rec, &bytes);
    memset(&out, 0x55, sizeof out);
    for (size_t len = 0; len < END_BYTES; len++) {
        ERR(decode(bytes.data, len, &out), INVAL);
        memcpy(copy, bytes.data, len);
        if (len >= SUM_BYTES) set_sum(copy, len);
        ERR(decode(copy, len, &out), INVAL); // also where the sum is right
    }
    memcpy(copy, bytes.data, END_BYTES);
    copy[END_BYTES] = 0;
    ERR(decode(copy, END_BYTES + 1, &out), INVAL);
    set_sum(copy, END_BYTES + 1);
    ERR(decode(copy, END_BYTES + 1, &out), INVAL);
    assert_int_equal(((uint8_t *)&out)[0], 0x55); // written on success only
    viv_buf_deinit(&bytes);
}

static void n99_every_bit_flipped(void **state)
{
    (void)state;
    struct viv_hold_rec rec, out;
    struct viv_buf bytes;
    fill_end(&rec);
    encode(&rec, &bytes);
    for (size_t bit = 0; bit < END_BYTES * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ERR(viv_hold_rec_decode(bytes.data, END_BYTES, &out), INVAL);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    OK(viv_hold_rec_decode(bytes.data, END_BYTES, &out));
    viv_buf_deinit(&bytes);
}

// With the right sum it is refused, or is the record of exactly these bytes.
static void n99_every_bit_flipped_and_summed(void **state)
{
    (void)state;
    struct viv_hold_rec rec, out;
    struct viv_buf bytes, again;
    uint32_t taken = 0;
    fill_end(&rec);
    encode(&rec, &bytes);
    for (size_t bit = 0; bit < (END_BYTES - SUM_BYTES) * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        set_sum(bytes.data, END_BYTES);
        if (viv_hold_rec_decode(bytes.data, END_BYTES, &out) == VIV_OK) {
            taken++;
            encode(&out, &again);
            assert_int_equal(again.len_bytes, END_BYTES);
            assert_memory_equal(again.data, bytes.data, END_BYTES);
            viv_buf_deinit(&again);
        }
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(taken > 1000); // numbers that may be anything
    viv_buf_deinit(&bytes);
}

static void n99_another_version(void **state)
{
    (void)state;
    static const uint32_t versions[] = {0, 1, 3, 256, UINT32_MAX};
    struct viv_hold_rec rec, out;
    struct viv_buf bytes;
    fill(&rec);
    encode(&rec, &bytes);
    for (size_t i = 0; i < VIV_COUNT_OF(versions); i++) {
        memcpy(bytes.data + AT_VERSION, &versions[i], sizeof versions[i]);
        set_sum(bytes.data, BIRTH_BYTES);
        ERR(decode(bytes.data, BIRTH_BYTES, &out), INVAL);
    }
    const uint32_t two = 2;
    memcpy(bytes.data + AT_VERSION, &two, sizeof two);
    set_sum(bytes.data, BIRTH_BYTES);
    OK(viv_hold_rec_decode(bytes.data, BIRTH_BYTES, &out));
    bytes.data[AT_HAS_END] = 1; // which is not there
    set_sum(bytes.data, BIRTH_BYTES);
    ERR(decode(bytes.data, BIRTH_BYTES, &out), INVAL);
    viv_buf_deinit(&bytes);
}

static void expect_refused(const struct viv_hold_rec *rec)
{
    struct viv_hold_rec out;
    struct viv_buf bytes;
    encode(rec, &bytes);
    ERR(decode(bytes.data, bytes.len_bytes, &out), INVAL);
    viv_buf_deinit(&bytes);
}

#define REFUSE(statement)                                                                          \
    do {                                                                                           \
        fill_end(&rec);                                                                            \
        statement;                                                                                 \
        expect_refused(&rec);                                                                      \
    } while (0)

static void n99_numbers_out_of_range(void **state)
{
    (void)state;
    struct viv_hold_rec rec;
    REFUSE(rec.numbers.ring_bytes = 2048);
    REFUSE(rec.numbers.ring_bytes = 0);
    REFUSE(rec.numbers.ring_bytes = 4097);
    REFUSE(rec.numbers.ring_bytes = UINT64_C(512) << 20);
    REFUSE(rec.numbers.stdin_queue_bytes = 4095);
    REFUSE(rec.numbers.stdin_queue_bytes = (UINT64_C(16) << 20) + 1);
    REFUSE(rec.numbers.stop_signal = 0);
    REFUSE(rec.numbers.stop_signal = 65);
    REFUSE(rec.numbers.stop_signal = -1);
    REFUSE(rec.numbers.flags = 128);
    REFUSE(rec.numbers.stream_count = 0);
    REFUSE(rec.numbers.stream_count = 3);
    REFUSE(rec.numbers.rung = VIV_RUNGS);
    REFUSE(rec.numbers.digest[3] = 'g');
    REFUSE(rec.numbers.digest[3] = '/');
    REFUSE(rec.numbers.digest[15] = '\0');
    REFUSE(rec.numbers.digest[16] = 'a');
    REFUSE(rec.numbers.zero[6] = 1);
    REFUSE(rec.end.phase = VIV_NATIVE_RUNNING);
    REFUSE(rec.end.phase = VIV_NATIVE_EXITED + 1);
    REFUSE(rec.end.flags = 32);
    REFUSE(rec.end.eof = 4);
    REFUSE(rec.end.leader = -1);
    REFUSE(rec.end.stdin_state = VIV_COUNT_OF(words));
    REFUSE(rec.end.fd_mask = 1u << VIV_HOLD_FDS);
    REFUSE(rec.end.exit.kind = VIV_NATIVE_LOST + 1);
    REFUSE(rec.end.exit.cause = VIV_CAUSES);
    REFUSE(rec.end.exit.flags = 32);
    REFUSE(rec.end.exit.group_known = 16);
}

// A length that would lead out of the data, and one that would wrap.
static void n99_lengths_that_lie(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {4, 100, 1 << 20, UINT32_MAX - 1, UINT32_MAX};
    struct viv_hold_rec rec, out;
    struct viv_buf bytes;
    fill(&rec);
    for (size_t text = 0; text < VIV_HOLD_TEXTS; text++) {
        for (size_t i = 0; i < VIV_COUNT_OF(lengths); i++) {
            if (lengths[i] == rec.texts[text].len) continue;
            encode(&rec, &bytes);
            memcpy(bytes.data + AT_LENGTHS + 4 * text, &lengths[i], 4);
            set_sum(bytes.data, bytes.len_bytes);
            ERR(decode(bytes.data, bytes.len_bytes, &out), INVAL);
            viv_buf_deinit(&bytes);
        }
    }
}

static void n99_too_large(void **state)
{
    (void)state;
    struct viv_hold_rec rec, out;
    struct viv_buf bytes;
    const size_t len = VIV_HOLD_REC_BYTES_MAX - BIRTH_BYTES + strlen(words[VIV_HOLD_TEXT_BLOCK]) -
                       STATE_BYTES; // the room of an end is kept
    char *block = calloc(1, len + 1);
    assert_non_null(block);
    fill(&rec);
    rec.texts[VIV_HOLD_TEXT_BLOCK] = (struct viv_hold_text){block, (uint32_t)len};
    encode(&rec, &bytes);
    assert_int_equal(bytes.len_bytes, VIV_HOLD_REC_BYTES_MAX - STATE_BYTES);
    OK(viv_hold_rec_decode(bytes.data, bytes.len_bytes, &out));
    viv_buf_deinit(&bytes);
    rec.texts[VIV_HOLD_TEXT_BLOCK].len++;
    viv_buf_init(&bytes, VIV_TAG_TEST);
    ERR(viv_hold_rec_encode(&rec, &bytes), TOOBIG);
    assert_int_equal(bytes.len_bytes, 0);
    viv_buf_deinit(&bytes);
    free(block);
}

static void n99_allocations_fail(void **state)
{
    (void)state;
    struct viv_hold_rec rec;
    struct viv_buf bytes;
    const int64_t before = viv_alloc_live_bytes_all();
    fill_end(&rec);
    uint64_t nth = 1;
    for (bool hit = true; hit; nth++) {
        assert_true(nth < 100);
        viv_buf_init(&bytes, VIV_TAG_TEST);
        viv_alloc_fail_nth(nth);
        const enum viv_err err = viv_hold_rec_encode(&rec, &bytes);
        hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
        assert_int_equal(bytes.len_bytes, hit ? 0 : END_BYTES);
        viv_buf_deinit(&bytes);
        assert_int_equal(viv_alloc_live_bytes_all(), before);
    }
    assert_true(nth > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n99_a_record_is_what_it_was),
        cmocka_unit_test(n99_every_byte_has_its_place),
        cmocka_unit_test(n99_it_is_appended),
        cmocka_unit_test(n99_cut_at_every_byte),
        cmocka_unit_test(n99_every_bit_flipped),
        cmocka_unit_test(n99_every_bit_flipped_and_summed),
        cmocka_unit_test(n99_another_version),
        cmocka_unit_test(n99_numbers_out_of_range),
        cmocka_unit_test(n99_lengths_that_lie),
        cmocka_unit_test(n99_too_large),
        cmocka_unit_test(n99_allocations_fail),
    };
    return cmocka_run_group_tests_name("native.hold_rec", tests, NULL, NULL);
}
