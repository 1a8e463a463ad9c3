// SPDX-License-Identifier: Apache-2.0
// The end of a program as an await output (durable.md 1.3, 4.2).
#include "ctl/launch_int.h"

#include "base/text.h"
#include <stdio.h>
#include <string.h>

enum { REASON_BYTES = 200, MESSAGE_BYTES = 1200 };

static json_t *failure(const char *class, const char *code, const char *message)
{
    return json_pack("{ssssssss}", "type", "failure", "class", class, "code", code, "message",
                     message);
}

static json_t *success(VIV_OWN json_t *value)
{
    return value == NULL ? NULL : json_pack("{ssso}", "type", "success", "value", value);
}

// ---- success ----

// More than the ring was for is more than the store takes.
static json_t *of_success(const struct viv_launch_ending *ending)
{
    json_t *value = NULL;
    struct viv_cjson_error error = {0, ""};
    const char *text = ending->len > 0 ? (const char *)ending->text : "";
    if (ending->result == VIV_RESULT_EXIT) return success(json_pack("{si}", "exit_status", 0));
    if (ending->exit->streams[0].evicted > 0)
        return failure("resource_limit", "limit:output", "stdout is longer than a result may be");
    if (ending->result == VIV_RESULT_STDOUT) {
        if (!viv_utf8_is_valid(text, ending->len))
            return failure("execution", "bad_output", "stdout is no UTF-8 text");
        return success(json_stringn(text, ending->len));
    }
    const enum viv_err err = viv_cjson_parse(text, ending->len, &value, &error);
    if (err == VIV_OK) return success(value);
    char message[REASON_BYTES];
    (void)snprintf(message, sizeof message, "stdout is no JSON: %s at byte %zu", error.what,
                   error.offset_bytes);
    return err == VIV_E_EXHAUSTED ? NULL : failure("execution", "bad_output", message);
}

// ---- failure ----

// The last line of what it wrote to stderr, which often says why.
static void add_last_line(char message[MESSAGE_BYTES], const struct viv_launch_ending *ending)
{
    size_t end = ending->len;
    while (end > 0 && ending->text[end - 1] == '\n')
        end--;
    size_t begin = end;
    while (begin > 0 && ending->text[begin - 1] != '\n')
        begin--;
    const size_t used = strlen(message);
    if (begin == end || used + 3 >= MESSAGE_BYTES) return;
    (void)snprintf(message + used, MESSAGE_BYTES - used, ": ");
    (void)viv_text_clean(message + used + 2, MESSAGE_BYTES - used - 2,
                         (const char *)ending->text + begin, end - begin);
}

static json_t *of_reason(const struct viv_launch_ending *ending, const struct viv_reason *reason)
{
    char text[REASON_BYTES], message[MESSAGE_BYTES], code[REASON_BYTES];
    const enum viv_reason_kind kind = viv_reason_kind(reason);
    (void)viv_reason_format(reason, text, sizeof text);
    (void)snprintf(message, sizeof message, "%s", text);
    if (ending->exit->cause == VIV_CAUSE_DEADMAN) // its lease was not renewed in time
        return failure("unavailable", "deadman", message);
    if (kind == VIV_REASON_LIMIT) { // "limit(memory)" is limit:memory
        const char *open = strchr(text, '(');
        const size_t len = open != NULL ? strcspn(open + 1, ")") : 0;
        (void)snprintf(code, sizeof code, "limit:%.*s", (int)len, open != NULL ? open + 1 : "");
        return failure("resource_limit", code, message);
    }
    if (kind == VIV_REASON_ERROR) // "native: lost"
        (void)snprintf(code, sizeof code, "error:native");
    else
        (void)snprintf(code, sizeof code, "%s", viv_reason_kind_name(kind));
    add_last_line(message, ending);
    json_t *output = failure("execution", code, message);
    viv_json_put(&output, "raw", json_string(text));
    return output;
}

enum viv_err viv_launch__output(const struct viv_launch_ending *ending, struct viv_buf *out)
{
    const struct viv_reason *reason = viv_native_reason(ending->exit, NULL);
    json_t *output = viv_reason_is_normal(reason) ? of_success(ending) : of_reason(ending, reason);
    viv_reason_drop(reason);
    const enum viv_err err = output != NULL ? viv_cjson_write(output, out) : VIV_E_EXHAUSTED;
    json_decref(output);
    return err;
}
