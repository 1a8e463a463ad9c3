// SPDX-License-Identifier: Apache-2.0
// policy.limits and policy.caps of a registration as a policy text (resources.md 6.6, 6.8):
//
//   limits: {"memory": 67108864, "cpu_time": "30s", …}   numbers: bytes, counts, percent, ns
//   caps:   {"use": "guest", "allow": {"net.connect": ["tcp:*.example.com:443"], "fs": true, …}}
//
// Without caps: profile guest, and the durable classes. Programs of the operating system are not
// given away: they would outlive the lease of whoever started them.
#include "base/limits.h"
#include "ctl/launch_wasm_int.h"

#include <inttypes.h>
#include <string.h>

static const char plain_caps[] = "use guest\nallow durable.start\nallow durable.read\n"
                                 "allow durable.control\n";

// A word of a line.
static bool is_plain(const char *text)
{
    return text != NULL && text[0] != '\0' && strpbrk(text, " \t\r\n\"=,#") == NULL;
}

static enum viv_err put_limit(struct viv_buf *out, const char *name, const json_t *value)
{
    if (!is_plain(name)) return VIV_E_INVAL;
    if (json_is_string(value))
        return is_plain(json_string_value(value))
                   ? viv_buf_printf(out, "limit %s=%s\n", name, json_string_value(value))
                   : VIV_E_INVAL;
    const json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0) return VIV_E_INVAL;
    if (strcmp(name, "cpu_time") == 0 || strcmp(name, "wall") == 0)
        return viv_buf_printf(out, "limit %s=%" PRIu64 "ms\n", name,
                              (uint64_t)number / VIV_NS_PER_MS +
                                  ((uint64_t)number % VIV_NS_PER_MS != 0));
    return viv_buf_printf(out, "limit %s=%" PRIu64 "%s\n", name, (uint64_t)number,
                          strcmp(name, "cpu") == 0 ? "%" : "");
}

// One pattern in quotes, which are doubled inside.
static enum viv_err put_pattern(struct viv_buf *out, const json_t *pattern)
{
    const char *text = json_string_value(pattern);
    if (text == NULL || strpbrk(text, "\r\n") != NULL) return VIV_E_INVAL;
    VIV_TRY(viv_buf_append(out, "\"", 1));
    for (; *text != '\0'; text++)
        VIV_TRY(viv_buf_append(out, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1));
    return viv_buf_append(out, "\"", 1);
}

static enum viv_err put_class(struct viv_buf *out, const char *name, const json_t *scope)
{
    size_t i;
    json_t *pattern;
    static const char *const refused[] = {"native.", "nif.", "ctl.", "dist."};
    for (size_t k = 0; k < VIV_COUNT_OF(refused); k++)
        if (strncmp(name, refused[k], strlen(refused[k])) == 0) return VIV_E_UNENFORCEABLE;
    if (!is_plain(name) || !(json_is_true(scope) || json_is_array(scope))) return VIV_E_INVAL;
    VIV_TRY(viv_buf_printf(out, "allow %s%s", name, json_is_true(scope) ? "" : "="));
    json_array_foreach(scope, i, pattern)
    {
        if (i > 0) VIV_TRY(viv_buf_append(out, ",", 1));
        VIV_TRY(put_pattern(out, pattern));
    }
    return viv_buf_append(out, "\n", 1);
}

static enum viv_err put_caps(struct viv_buf *out, json_t *caps)
{
    const char *name;
    json_t *value;
    if (json_object_size(caps) == 0) return viv_buf_append(out, plain_caps, sizeof plain_caps - 1);
    json_object_foreach(caps, name, value)
    {
        const char *text = json_string_value(value);
        if (strcmp(name, "use") == 0 && text != NULL &&
            (strcmp(text, "none") == 0 || strcmp(text, "guest") == 0 || strcmp(text, "open") == 0))
            VIV_TRY(viv_buf_printf(out, "use %s\n", text));
        else if (strcmp(name, "allow") != 0 || !json_is_object(value))
            return VIV_E_INVAL;
    }
    json_object_foreach(json_object_get(caps, "allow"), name, value)
        VIV_TRY(put_class(out, name, value));
    return VIV_OK;
}

static enum viv_err put_policy(struct viv_buf *out, const json_t *policy)
{
    const char *name;
    json_t *value;
    VIV_TRY(put_caps(out, json_object_get(policy, "caps")));
    json_object_foreach(json_object_get(policy, "limits"), name, value)
        VIV_TRY(put_limit(out, name, value));
    return VIV_OK;
}

static enum viv_err parse(const struct viv_buf *text, struct viv_policy **out_policy,
                          struct viv_policy_error *error)
{
    struct viv_policy *policy;
    const struct viv_policy_source source = {.text = (const char *)text->data,
                                             .len_bytes = text->len_bytes};
    VIV_TRY(viv_policy_new(&policy));
    const enum viv_err err = viv_policy_parse(policy, &source, error);
    if (err == VIV_OK)
        *out_policy = policy;
    else
        viv_policy_free(policy);
    return err;
}

enum viv_err viv_launch__policy_read(const json_t *policy, struct viv_policy **out_policy,
                                     struct viv_launch_refusal *refusal)
{
    struct viv_buf text;
    struct viv_policy_error error = {0};
    viv_buf_init(&text, VIV_TAG_CTL);
    enum viv_err err = put_policy(&text, policy);
    if (err == VIV_OK) err = parse(&text, out_policy, &error);
    viv_buf_deinit(&text);
    if (err == VIV_E_EXHAUSTED)
        viv_launch__refuse(refusal, "unavailable", "no_memory", "%s", viv_err_text(err));
    else if (err != VIV_OK)
        viv_launch__refuse(refusal, "invalid_request", "bad_policy", "limits or caps: %s",
                           error.diag.text[0] != '\0' ? error.diag.text : viv_err_text(err));
    return err;
}
