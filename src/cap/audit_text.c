// SPDX-License-Identifier: Apache-2.0
// Audit events as text: objects of questions, lines of JSON. Nothing allocates.
#include "base/alloc.h"
#include "base/hash.h"
#include "base/text.h"
#include "cap/audit.h"
#include "cap/kind.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { OPERATION_MAX = 64 }; // bytes shown

// Text that is cut where its room ends.
struct out {
    char *text;
    size_t len, cap;
    bool is_cut;
};

static void put(struct out *out, const void *text, size_t len)
{
    const size_t room = out->cap - out->len;
    if (len > room) out->is_cut = true;
    if (len > room) len = room;
    if (len > 0) memcpy(out->text + out->len, text, len);
    out->len += len;
}

static void put_word(struct out *out, const char *word)
{
    put(out, word, strlen(word));
}

VIV_PRINTF(2, 3) static void put_format(struct out *out, const char *fmt, ...)
{
    char text[64]; // numbers and short names only
    va_list args;
    va_start(args, fmt);
    const int len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    put(out, text, len < (int)sizeof text ? (size_t)len : sizeof text - 1);
}

// ---- objects ----

static const char *proto_name(uint16_t proto)
{
    switch (proto) {
    case VIV_NET_TCP:
        return "tcp";
    case VIV_NET_UDP:
        return "udp";
    case VIV_NET_UNIX:
        return "unix";
    case VIV_NET_HTTP:
        return "http";
    case VIV_NET_QUIC:
        return "quic";
    default:
        return "any";
    }
}

static void put_ip(struct out *out, const uint8_t addr[16])
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    if (memcmp(addr, mapped, sizeof mapped) == 0) {
        put_format(out, "%u.%u.%u.%u", addr[12], addr[13], addr[14], addr[15]);
        return;
    }
    put_word(out, "[");
    for (int i = 0; i < 16; i += 2)
        put_format(out, "%s%x", i > 0 ? ":" : "", (unsigned)addr[i] << 8 | addr[i + 1]);
    put_word(out, "]");
}

static void put_address(struct out *out, const struct viv_cap_query *query)
{
    put_format(out, "%s:", proto_name(query->proto));
    if (query->proto == VIV_NET_UNIX) {
        put(out, query->path, query->path_len);
        return;
    }
    if (query->name != NULL)
        put(out, query->name, query->name_len);
    else if (query->has_addr)
        put_ip(out, query->addr);
    put_format(out, ":%u", (unsigned)query->port);
}

static void put_command(struct out *out, const struct viv_cap_query *query)
{
    put(out, query->path, query->path_len);
    for (size_t i = 0; i < query->argc && !out->is_cut; i++) {
        put_word(out, " ");
        put_word(out, query->argv[i]);
    }
}

static const char *signal_name(uint64_t number)
{
    static const char *const names[] = {[VIV_PROC_EXIT] = "exit",
                                        [VIV_PROC_KILL] = "kill",
                                        [VIV_PROC_SUSPEND] = "suspend",
                                        [VIV_PROC_RESUME] = "resume"};
    return number >= 1 && number < VIV_COUNT_OF(names) ? names[number] : NULL;
}

static const char *number_name(enum viv_cap cap, uint32_t facets, uint64_t number)
{
    static const char *const bodies[] = {"wasm", "beam", "native", "host"};
    const struct viv_cap_row *row = &viv_cap_rows[cap];
    if ((facets >> VIV_SCOPE_KINDS & 1) != 0)
        return number < VIV_KIND_BUILTIN_END ? viv_res_builtin_kinds[number].name : NULL;
    if ((facets >> VIV_SCOPE_CLASSES & 1) != 0)
        return number < VIV_CAP_COUNT ? viv_cap_rows[number].name : NULL;
    if ((facets >> VIV_SCOPE_BODIES & 1) != 0)
        return number < VIV_COUNT_OF(bodies) ? bodies[number] : NULL;
    if ((facets >> VIV_SCOPE_SIGNALS & 1) != 0 && row->signals == VIV_SIGNALS_PROC)
        return signal_name(number);
    if ((facets >> VIV_SCOPE_WORDS & 1) != 0 && row->words != NULL)
        for (uint64_t i = 0; row->words[i] != NULL; i++)
            if (i == number) return row->words[i];
    return NULL;
}

static void put_number(struct out *out, enum viv_cap cap, const struct viv_cap_query *query)
{
    const uint32_t numbers = 1u << VIV_SCOPE_KINDS | 1u << VIV_SCOPE_CLASSES |
                             1u << VIV_SCOPE_BODIES | 1u << VIV_SCOPE_SIGNALS |
                             1u << VIV_SCOPE_WORDS | 1u << VIV_SCOPE_MAX;
    const uint64_t number = query->number;
    if ((query->facets >> VIV_SCOPE_RIDS & 1) != 0) {
        put_format(out, "#%u.%u.%u", (unsigned)(number >> 24 & 0xFF), (unsigned)(number & 0xFFFFFF),
                   (unsigned)(number >> 32));
        return;
    }
    if ((query->facets & numbers) == 0) return;
    const char *name = number_name(cap, query->facets, number);
    if (name != NULL)
        put_word(out, name);
    else
        put_format(out, "%" PRIu64, number);
}

void viv_audit_set_query(struct viv_audit_event *event, enum viv_cap cap,
                         const struct viv_cap_query *query)
{
    struct out out = {.text = event->object, .cap = sizeof event->object};
    event->cap = (unsigned)cap < VIV_CAP_COUNT ? (uint8_t)cap : VIV_AUDIT_NO_CLASS;
    event->object_len = 0;
    if (query == NULL || event->cap == VIV_AUDIT_NO_CLASS) return;
    event->operation = query->operation;
    if ((query->facets >> VIV_SCOPE_ADDRESS & 1) != 0) {
        put_address(&out, query);
    } else if ((query->facets >> VIV_SCOPE_COMMAND & 1) != 0) {
        put_command(&out, query);
    } else if ((query->facets >> VIV_SCOPE_DIRECTORY & 1) != 0) {
        put(&out, query->path, query->path_len);
    } else {
        put_number(&out, cap, query);
        if (out.len > 0 && query->name_len > 0) put_word(&out, " ");
        put(&out, query->name, query->name_len);
    }
    event->object_len = (uint16_t)out.len;
}

// ---- JSON ----

// How many bytes of well-formed UTF-8 stand at the text; 0: none.
static size_t utf8_len(const uint8_t *text, size_t len)
{
    for (size_t n = 1; n <= 4 && n <= len; n++)
        if (viv_utf8_is_valid(text, n)) return n;
    return 0;
}

static void put_string(struct out *out, const char *bytes, size_t len)
{
    const uint8_t *text = (const uint8_t *)bytes;
    put_word(out, "\"");
    for (size_t at = 0; at < len;) {
        const size_t n = utf8_len(text + at, len - at);
        const uint8_t c = text[at];
        if (n == 0)
            put_word(out, "\xEF\xBF\xBD");
        else if (c == '"' || c == '\\')
            put_format(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            put_format(out, "\\u%04x", c);
        else
            put(out, text + at, n);
        at += n > 0 ? n : 1;
    }
    put_word(out, "\"");
}

size_t viv_audit_escape(char *out_text, size_t cap_bytes, const char *bytes, size_t len_bytes)
{
    struct out out = {.text = out_text, .cap = cap_bytes};
    put_string(&out, bytes, len_bytes);
    return out.is_cut ? 0 : out.len;
}

static void put_key(struct out *out, const char *key)
{
    put_word(out, ",\"");
    put_word(out, key);
    put_word(out, "\":");
}

const char *viv_audit_kind_name(enum viv_audit_kind kind)
{
    static const char *const names[VIV_AUDIT_KINDS] = {
        "lost",       "denied",         "attach-guess",   "grant",          "delegate",
        "revoke",     "session-create", "session-change", "session-remove", "policy-load",
        "unenforced", "account-leak",   "orphan",         "control-kill",   "program"};
    return names[kind];
}

static void put_subject(struct out *out, const struct viv_audit_event *event)
{
    char pid[VIV_PID_TEXT_BYTES], id[2 * sizeof event->session + 1];
    static const struct viv_ses_id none;
    put_key(out, "pid");
    if (viv_pid_eq(event->pid, VIV_PID_NONE))
        put_word(out, "null");
    else
        put_format(out, "\"%s\"", viv_pid_format(event->pid, pid));
    put_key(out, "session");
    viv_hex_encode(event->session.b, sizeof event->session.b, id);
    if (memcmp(&event->session, &none, sizeof none) == 0)
        put_word(out, "null");
    else
        put_format(out, "\"%s\"", id);
    put_key(out, "environment");
    put_format(out, "%" PRIu32, event->environment);
}

static void put_detail(struct out *out, const struct viv_audit_detail *detail)
{
    if (detail == NULL) return;
    size_t len;
    const char *text = viv_audit_detail_text(detail, &len);
    put_word(out, ",\"detail\":{");
    put(out, text, len);
    put_word(out, "}");
}

enum viv_err viv_audit_json(const struct viv_audit_event *event, char *buf, size_t cap_bytes,
                            size_t *out_len)
{
    struct out out = {.text = buf, .cap = cap_bytes > 0 ? cap_bytes - 1 : 0};
    put_format(&out, "{\"seq\":%" PRIu64 ",\"time_ns\":%" PRIu64, event->seq, event->time_ns);
    put_key(&out, "event");
    put_format(&out, "\"%s\"", viv_audit_kind_name((enum viv_audit_kind)event->kind));
    put_subject(&out, event);
    put_key(&out, "class");
    if (event->cap < VIV_CAP_COUNT)
        put_format(&out, "\"%s\"", viv_cap_rows[event->cap].name);
    else
        put_word(&out, "null");
    put_key(&out, "operation");
    if (event->operation != NULL)
        put_string(&out, event->operation, strnlen(event->operation, OPERATION_MAX));
    else
        put_word(&out, "null");
    put_key(&out, "object");
    put_string(&out, event->object, event->object_len);
    put_key(&out, "outcome");
    put_format(&out, "\"%s\"", event->outcome == VIV_OK ? "OK" : viv_err_name(event->outcome));
    put_key(&out, "count");
    put_format(&out, "%" PRIu64, event->count);
    put_detail(&out, event->detail);
    put_word(&out, "}\n");
    if (out.is_cut || cap_bytes == 0) return VIV_E_TOOSMALL;
    buf[out.len] = '\0';
    *out_len = out.len;
    return VIV_OK;
}
