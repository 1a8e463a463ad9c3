// SPDX-License-Identifier: Apache-2.0
// The end of a process as an await output (durable.md 1.3, 4.2).
#include "base/text.h"
#include "ctl/launch_wasm_int.h"

#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 1200, CODE_BYTES = 200, RAW_BYTES = 16 << 10 };

void viv_launch__refuse_birth(struct viv_launch_refusal *refusal, enum viv_err err,
                              const char *text)
{
    static const struct {
        enum viv_err err;
        const char *class, *code;
    } rows[] = {{VIV_E_MODULE, "invalid_request", "bad_module"},
                {VIV_E_TOOBIG, "invalid_request", "bad_module"},
                {VIV_E_NOTFOUND, "invalid_request", "no_function"},
                {VIV_E_KIND, "invalid_request", "no_function"},
                {VIV_E_INVAL, "invalid_request", "bad_argument"},
                {VIV_E_QUOTA, "resource_limit", "limit:memory"}};
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        if (rows[i].err != err) continue;
        viv_launch__refuse(refusal, rows[i].class, rows[i].code, "%s", text);
        return;
    }
    viv_launch__refuse(refusal, "unavailable", "no_start", "%s",
                       text[0] != '\0' ? text : viv_err_text(err));
}

// "limit(memory): …" is limit:memory; "unreachable in f" of a trap is trap:unreachable; "entry: …"
// of an error is error:entry.
static void write_code(const struct viv_reason *reason, char code[CODE_BYTES])
{
    static const char *const limits[] = {"", "memory", "cpu", "time", "mailbox", "output"};
    const enum viv_reason_kind kind = viv_reason_kind(reason);
    const char *name = viv_reason_kind_name(kind), *text = viv_reason_text(reason, NULL);
    const int number = viv_reason_code(reason);
    const char *end = strstr(text, kind == VIV_REASON_TRAP ? " in " : ":");
    const size_t len = end != NULL ? (size_t)(end - text) : 0;
    const bool has_class = kind == VIV_REASON_TRAP || kind == VIV_REASON_ERROR;
    if (kind == VIV_REASON_LIMIT)
        (void)snprintf(code, CODE_BYTES, "limit:%s",
                       number > 0 && number < (int)VIV_COUNT_OF(limits) ? limits[number] : "other");
    else if (has_class && len > 0 && len < 64 && memchr(text, ' ', len) == NULL)
        (void)snprintf(code, CODE_BYTES, "%s:%.*s", name, (int)len, text);
    else if (kind == VIV_REASON_TRAP)
        (void)snprintf(code, CODE_BYTES, "trap:%s", number < 0 ? "host" : "other");
    else
        (void)snprintf(code, CODE_BYTES, "%s%s", name, kind == VIV_REASON_ERROR ? ":other" : "");
}

// With the lines of the backtrace.
static json_t *raw_of(const struct viv_reason *reason, const char *line)
{
    size_t len;
    const char *detail = viv_reason_detail(reason, &len);
    if (viv_reason_kind(reason) == VIV_REASON_TERM || len == 0) return json_string(line);
    json_t *raw = json_sprintf("%s\n%.*s", line, (int)viv_min_u64(len, RAW_BYTES), detail);
    return raw != NULL ? raw : json_string(line); // a backtrace that is no UTF-8
}

static json_t *failure_of(const struct viv_reason *reason)
{
    char text[LINE_BYTES], line[LINE_BYTES], raw_code[CODE_BYTES], code[CODE_BYTES];
    const bool is_limit = viv_reason_kind(reason) == VIV_REASON_LIMIT;
    (void)viv_reason_format(reason, text, sizeof text);
    (void)viv_text_clean(line, sizeof line, text, strlen(text));
    write_code(reason, raw_code);
    (void)viv_text_clean(code, sizeof code, raw_code, strlen(raw_code));
    return json_pack("{ssssssssso}", "type", "failure", "class",
                     is_limit ? "resource_limit" : "execution", "code", code, "message", line,
                     "raw", raw_of(reason, line));
}

enum viv_err viv_launch__reason_output(const struct viv_reason *reason, struct viv_str finish,
                                       struct viv_buf *out)
{
    static const char nothing[] = "{\"type\":\"success\",\"value\":null}";
    if (viv_reason_is_normal(reason))
        return finish.n > 0 ? viv_buf_append(out, finish.p, finish.n)
                            : viv_buf_append(out, nothing, sizeof nothing - 1);
    json_t *output = failure_of(reason);
    const enum viv_err err = output != NULL ? viv_cjson_write(output, out) : VIV_E_EXHAUSTED;
    json_decref(output);
    return err;
}
