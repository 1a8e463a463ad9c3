// SPDX-License-Identifier: Apache-2.0
// UTF-8 checks, text made safe for a terminal, and the numbers users type.
#include "base/text.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Bytes of the well-formed UTF-8 sequence that starts at `at`, 0 when there is none. The tightened
// range of the second byte is what excludes overlong forms (E0, F0), surrogates (ED) and what is
// above U+10FFFF (F4).
size_t viv_utf8_decode(const uint8_t *at, size_t left_bytes, uint32_t *out_code)
{
    uint8_t lead = at[0];
    uint8_t low = 0x80, high = 0xBF;
    size_t len;
    uint32_t code;
    if (lead < 0x80) {
        *out_code = lead;
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        len = 2;
        code = lead & 0x1Fu;
    } else if ((lead & 0xF0) == 0xE0) {
        len = 3;
        code = lead & 0x0Fu;
        if (lead == 0xE0) low = 0xA0;
        if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        len = 4;
        code = lead & 0x07u;
        if (lead == 0xF0) low = 0x90;
        if (lead == 0xF4) high = 0x8F;
    } else {
        return 0;
    }
    if (left_bytes < len || at[1] < low || at[1] > high) return 0;
    code = code << 6 | (at[1] & 0x3Fu);
    for (size_t i = 2; i < len; i++) {
        if ((at[i] & 0xC0) != 0x80) return 0;
        code = code << 6 | (at[i] & 0x3Fu);
    }
    *out_code = code;
    return len;
}

bool viv_utf8_is_valid(const void *data, size_t len_bytes)
{
    if (len_bytes == 0) return true; // data may be NULL
    const uint8_t *at = data;
    const uint8_t *end = at + len_bytes;
    while (at < end) {
        uint64_t word;
        if (end - at >= 8) {
            memcpy(&word, at, 8); // eight ASCII bytes at once
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                at += 8;
                continue;
            }
        }
        uint32_t code;
        size_t len = viv_utf8_decode(at, (size_t)(end - at), &code);
        if (len == 0) return false;
        at += len;
    }
    return true;
}

// Controls of ASCII and Latin-1, line and paragraph separators, and the marks that reorder text on
// a screen.
static bool is_unprintable(uint32_t code)
{
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x2028 || code == 0x2029 ||
           (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

size_t viv_text_clean(char *out, size_t cap_bytes, const void *data, size_t len_bytes)
{
    static const char replacement[3] = {'\xEF', '\xBF', '\xBD'}; // U+FFFD
    const uint8_t *at = data;
    size_t len = 0;
    if (cap_bytes == 0) return 0;
    while (len_bytes > 0) {
        uint32_t code = 0;
        size_t taken = viv_utf8_decode(at, len_bytes, &code);
        const void *piece = at;
        size_t piece_len = taken;
        if (taken == 0) {
            piece = replacement;
            piece_len = sizeof replacement;
            taken = 1;
        } else if (is_unprintable(code)) {
            piece = "?";
            piece_len = 1;
        }
        if (piece_len > cap_bytes - 1 - len) break; // never half a character
        memcpy(out + len, piece, piece_len);
        len += piece_len;
        at += taken;
        len_bytes -= taken;
    }
    out[len] = '\0';
    return len;
}

// Reads decimal digits, at least one; leaves *text behind them.
static enum viv_err take_digits(const char **text, uint64_t *out_value)
{
    const char *at = *text;
    uint64_t value = 0;
    if (*at < '0' || *at > '9') return VIV_E_INVAL;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(value, UINT64_C(10), &value)) return VIV_E_INVAL;
        if (__builtin_add_overflow(value, (uint64_t)(*at - '0'), &value)) return VIV_E_INVAL;
    }
    *text = at;
    *out_value = value;
    return VIV_OK;
}

struct unit {
    const char *suffix;
    uint64_t factor;
};

static enum viv_err parse_with_unit(const char *text, const struct unit *units, size_t count,
                                    uint64_t *out_value)
{
    uint64_t value;
    VIV_TRY(take_digits(&text, &value));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, units[i].suffix) != 0) continue;
        if (__builtin_mul_overflow(value, units[i].factor, &value)) return VIV_E_INVAL;
        *out_value = value;
        return VIV_OK;
    }
    return VIV_E_INVAL;
}

enum viv_err viv_parse_size(const char *text, uint64_t *out_bytes)
{
    static const struct unit units[] = {
        {"", 1},
        {"K", UINT64_C(1) << 10},
        {"M", UINT64_C(1) << 20},
        {"G", UINT64_C(1) << 30},
        {"T", UINT64_C(1) << 40},
    };
    return parse_with_unit(text, units, VIV_COUNT_OF(units), out_bytes);
}

const char *viv_size_format(uint64_t bytes, bool is_up, char out[VIV_SIZE_TEXT_BYTES])
{
    const uint64_t kib = UINT64_C(1) << 10, mib = UINT64_C(1) << 20;
    if (bytes >= mib)
        (void)snprintf(out, VIV_SIZE_TEXT_BYTES, "%" PRIu64 " MiB",
                       bytes / mib + (is_up && bytes % mib != 0));
    else if (bytes % kib == 0 && bytes != 0)
        (void)snprintf(out, VIV_SIZE_TEXT_BYTES, "%" PRIu64 " KiB", bytes / kib);
    else
        (void)snprintf(out, VIV_SIZE_TEXT_BYTES, "%" PRIu64 " byte%s", bytes,
                       bytes == 1 ? "" : "s");
    return out;
}

enum viv_err viv_parse_duration(const char *text, uint64_t *out_ns)
{
    static const struct unit units[] = {
        {"", VIV_NS_PER_SEC},       {"ms", VIV_NS_PER_MS},        {"s", VIV_NS_PER_SEC},
        {"m", 60 * VIV_NS_PER_SEC}, {"h", 3600 * VIV_NS_PER_SEC}, {"d", 86400 * VIV_NS_PER_SEC},
    };
    return parse_with_unit(text, units, VIV_COUNT_OF(units), out_ns);
}

enum viv_err viv_parse_u64(const char *text, uint64_t *out_value)
{
    static const struct unit units[] = {{"", 1}};
    return parse_with_unit(text, units, VIV_COUNT_OF(units), out_value);
}

// ---- base32 ----

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t base32_chars(size_t len_bytes)
{
    return (8 * len_bytes + 4) / 5;
}

void viv_base32_encode(const uint8_t *data, size_t len_bytes, char *out_text)
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint32_t bits = 0, count = 0; // not yet written: the low `count` bits
    for (size_t i = 0; i < len_bytes; i++) {
        bits = bits << 8 | data[i];
        for (count += 8; count >= 5; count -= 5)
            *out_text++ = digits[bits >> (count - 5) & 31];
    }
    if (count > 0) *out_text++ = digits[bits << (5 - count) & 31];
    *out_text = '\0';
}

// The values of digits, 32 or more for anything else; without a branch on the characters, which may
// be a secret, and so that the compiler can take many at once.
static void base32_values(const char *text, size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t digit = (uint8_t)text[i];
        const uint8_t letter = (uint8_t)(digit - 'a'), number = (uint8_t)(digit - '2');
        uint8_t value = 32;
        value = number < 6 ? (uint8_t)(number + 26) : value;
        out[i] = letter < 26 ? letter : value;
    }
}

// Eight characters are five bytes; the last ones have bits to spare.
enum viv_err viv_base32_decode(const char *text, size_t text_len, uint8_t *out_data,
                               size_t len_bytes)
{
    uint8_t values[64]; // of the next characters
    uint8_t seen = 0;   // bit 5: something that is no digit
    uint64_t filler = 0;
    if (text_len != base32_chars(len_bytes)) return VIV_E_INVAL;
    for (size_t at = 0; at < text_len; at += 8) {
        if (at % sizeof values == 0)
            base32_values(text + at, min_size(text_len - at, sizeof values), values);
        const size_t count = min_size(text_len - at, 8);
        const size_t bytes = 5 * count / 8, spare = 5 * count % 8;
        uint64_t bits = 0;
        for (size_t i = 0; i < count; i++) {
            const uint8_t value = values[at % sizeof values + i];
            seen |= value;
            bits = bits << 5 | (value & 31);
        }
        filler |= bits & ((UINT64_C(1) << spare) - 1);
        for (size_t i = 0; i < bytes; i++)
            *out_data++ = (uint8_t)(bits >> (spare + 8 * (bytes - 1 - i)));
    }
    return (seen & 32) == 0 && filler == 0 ? VIV_OK : VIV_E_INVAL;
}
