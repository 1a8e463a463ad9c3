// SPDX-License-Identifier: Apache-2.0
// Encoding and decoding of `.rec`:
//
//   head │ numbers │ lengths of the texts │ each text, NUL │ [state at the end] │ sum
//
// The sum is SipHash-2-4 under a key that everybody knows: it finds what is torn, not who lies.
#include "native/holder/hold_rec.h"

#include "base/hash.h"
#include "base/limits.h"
#include <string.h>

struct head {
    char magic[8];
    uint32_t version, has_end;
};
struct lengths {
    uint32_t of[VIV_HOLD_TEXTS];
    uint32_t zero;
};

static const char magic[8] = "VIVHREC";
enum { VERSION = 2, SIGNO_MAX = 64, RING_BYTES_MIN = 4 << 10, QUEUE_BYTES_MIN = 4 << 10 };
#define RING_BYTES_MAX (UINT64_C(256) << 20)
#define QUEUE_BYTES_MAX (UINT64_C(16) << 20)

_Static_assert(sizeof(struct head) == 16, "on disk");
_Static_assert(sizeof(struct viv_hold_numbers) == 200, "on disk");
_Static_assert(sizeof(struct lengths) == 40, "on disk");

static uint64_t sum_of(const void *data, size_t len)
{
    static const uint8_t key[VIV_SIPHASH_KEY_BYTES] = {0};
    return viv_siphash_64(key, data, len);
}

static enum viv_err append_texts(const struct viv_hold_rec *rec, struct viv_buf *out)
{
    static const char nul = '\0';
    struct lengths lengths = {.zero = 0};
    for (uint32_t i = 0; i < VIV_HOLD_TEXTS; i++)
        lengths.of[i] = rec->texts[i].len;
    VIV_TRY(viv_buf_append(out, &lengths, sizeof lengths));
    for (uint32_t i = 0; i < VIV_HOLD_TEXTS; i++) {
        VIV_TRY(viv_buf_append(out, rec->texts[i].data, rec->texts[i].len));
        VIV_TRY(viv_buf_append(out, &nul, 1));
    }
    return VIV_OK;
}

static enum viv_err append_all(const struct viv_hold_rec *rec, struct viv_buf *out, size_t from)
{
    struct head head = {.version = VERSION, .has_end = rec->has_end};
    memcpy(head.magic, magic, sizeof magic);
    VIV_TRY(viv_buf_append(out, &head, sizeof head));
    VIV_TRY(viv_buf_append(out, &rec->numbers, sizeof rec->numbers));
    VIV_TRY(append_texts(rec, out));
    if (rec->has_end) VIV_TRY(viv_buf_append(out, &rec->end, sizeof rec->end));
    const uint64_t sum = sum_of(out->data + from, out->len_bytes - from);
    return viv_buf_append(out, &sum, sizeof sum);
}

enum viv_err viv_hold_rec_encode(const struct viv_hold_rec *rec, struct viv_buf *out)
{
    uint64_t total = sizeof(struct head) + sizeof rec->numbers + sizeof(struct lengths) +
                     sizeof rec->end + sizeof(uint64_t);
    for (uint32_t i = 0; i < VIV_HOLD_TEXTS; i++)
        total += (uint64_t)rec->texts[i].len + 1;
    if (total > VIV_HOLD_REC_BYTES_MAX) return VIV_E_TOOBIG;
    const size_t from = out->len_bytes;
    const enum viv_err err = append_all(rec, out, from);
    if (err != VIV_OK) out->len_bytes = from;
    return err;
}

// --------------------------------------------------------------------------------------- decoding

struct rest {
    const uint8_t *at;
    size_t left;
};

static bool take(struct rest *rest, void *out, size_t len)
{
    if (len > rest->left) return false;
    memcpy(out, rest->at, len);
    rest->at += len;
    rest->left -= len;
    return true;
}

static bool take_text(struct rest *rest, uint32_t len, struct viv_hold_text *out)
{
    if (len >= rest->left || rest->at[len] != '\0') return false;
    *out = (struct viv_hold_text){rest->at, len};
    rest->at += (size_t)len + 1;
    rest->left -= (size_t)len + 1;
    return true;
}

static bool is_size(uint64_t size, uint64_t least, uint64_t most)
{
    return size >= least && size <= most;
}

static bool is_digest(const char digest[17])
{
    static const char digits[] = "0123456789abcdef";
    return digest[16] == '\0' && strspn(digest, digits) == 16;
}

static bool is_in_range(const struct viv_hold_numbers *numbers)
{
    static const char zero[sizeof numbers->zero];
    return is_size(numbers->ring_bytes, RING_BYTES_MIN, RING_BYTES_MAX) &&
           (numbers->ring_bytes & (numbers->ring_bytes - 1)) == 0 &&
           is_size(numbers->stdin_queue_bytes, QUEUE_BYTES_MIN, QUEUE_BYTES_MAX) &&
           numbers->stop_signal >= 1 && numbers->stop_signal <= SIGNO_MAX &&
           numbers->flags < 2 * VIV_HOLD_KEEPS_UNSAVED && numbers->stream_count >= 1 &&
           numbers->stream_count <= 2 && numbers->rung < VIV_RUNGS && is_digest(numbers->digest) &&
           memcmp(numbers->zero, zero, sizeof zero) == 0;
}

static bool take_end(struct rest *rest, struct viv_hold_rec *rec)
{
    if (!rec->has_end) return true;
    return take(rest, &rec->end, sizeof rec->end) && viv_hold_state_is_sound(&rec->end) &&
           rec->end.phase == VIV_NATIVE_EXITED;
}

// All but the sum. False: not a record.
static bool take_all(struct rest *rest, struct viv_hold_rec *rec)
{
    struct head head;
    struct lengths lengths;
    if (!take(rest, &head, sizeof head) || memcmp(head.magic, magic, sizeof magic) != 0 ||
        head.version != VERSION || head.has_end > 1)
        return false;
    rec->has_end = head.has_end != 0;
    if (!take(rest, &rec->numbers, sizeof rec->numbers) || !is_in_range(&rec->numbers))
        return false;
    if (!take(rest, &lengths, sizeof lengths) || lengths.zero != 0) return false;
    for (uint32_t i = 0; i < VIV_HOLD_TEXTS; i++)
        if (!take_text(rest, lengths.of[i], &rec->texts[i])) return false;
    return take_end(rest, rec) && rest->left == 0;
}

enum viv_err viv_hold_rec_decode(const void *data, size_t len_bytes, struct viv_hold_rec *out_rec)
{
    struct viv_hold_rec rec;
    uint64_t sum;
    if (len_bytes < sizeof sum || len_bytes > VIV_HOLD_REC_BYTES_MAX) return VIV_E_INVAL;
    const size_t len = len_bytes - sizeof sum;
    memcpy(&sum, (const uint8_t *)data + len, sizeof sum);
    if (sum != sum_of(data, len)) return VIV_E_INVAL;
    memset(&rec, 0, sizeof rec);
    struct rest rest = {data, len};
    if (!take_all(&rest, &rec)) return VIV_E_INVAL;
    *out_rec = rec;
    return VIV_OK;
}
