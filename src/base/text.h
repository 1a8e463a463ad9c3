// SPDX-License-Identifier: Apache-2.0
// Text checks and parsing: UTF-8, sizes and durations as users type them.
#ifndef VIV_BASE_TEXT_H
#define VIV_BASE_TEXT_H

#include "base/err.h"

// Strict UTF-8 (no surrogates, no overlong forms, at most U+10FFFF).
bool viv_utf8_is_valid(const void *data, size_t len_bytes);
// Bytes of the sequence at the start of what is left (at least one byte), and its code; 0: none
// starts there.
size_t viv_utf8_decode(const uint8_t *at, size_t left_bytes, uint32_t *out_code);
// Copies for display: control characters and bytes that are not UTF-8 become '?' or U+FFFD. Always
// terminated; returns the length.
size_t viv_text_clean(char *out, size_t cap_bytes, const void *data, size_t len_bytes);
// RFC 4648 base32, lower case, without padding: ceil(8 len / 5) characters and the terminator.
void viv_base32_encode(const uint8_t *data, size_t len_bytes, char *out_text);
// Exactly that many characters of [a-z2-7], unused bits zero. Takes as long for others of that
// number, and stores something for them, too. Errors: INVAL.
enum viv_err viv_base32_decode(const char *text, size_t text_len, uint8_t *out_data,
                               size_t len_bytes) VIV_MUST_CHECK;
// "64", "64K", "10M", "1G" (powers of 1024). Errors: INVAL.
enum viv_err viv_parse_size(const char *text, uint64_t *out_bytes) VIV_MUST_CHECK;
// "0 bytes", "100 bytes", "64 KiB", "16 MiB": exact below 1 MiB, from there on whole MiB, rounded
// up or down. Returns out.
#define VIV_SIZE_TEXT_BYTES 32
const char *viv_size_format(uint64_t bytes, bool is_up, char out[VIV_SIZE_TEXT_BYTES]);
// "5" (seconds), "250ms", "3s", "2m", "1h", "1d". Errors: INVAL.
enum viv_err viv_parse_duration(const char *text, uint64_t *out_ns) VIV_MUST_CHECK;
// Decimal, whole string. Errors: INVAL.
enum viv_err viv_parse_u64(const char *text, uint64_t *out_value) VIV_MUST_CHECK;

#endif
