// SPDX-License-Identifier: Apache-2.0
// References of operators.
#include "ctl/ref.h"

#include "base/text.h"
#include "native/id.h"
#include <stdio.h>
#include <string.h>

enum { PAGE = 64 };

bool viv_ctl_ref_parse_pid(const char *text, viv_pid *out_pid)
{
    unsigned slot, serial;
    int end = 0;
    const bool is_bracketed = text[0] == '<';
    const int count = is_bracketed ? sscanf(text, "<0.%9u.%10u>%n", &slot, &serial, &end)
                                   : sscanf(text, "0.%9u.%10u%n", &slot, &serial, &end);
    if (count != 2 || end == 0 || text[end] != '\0') return false;
    if (slot >= UINT32_C(1) << VIV_PID_SLOT_BITS) return false;
    *out_pid = viv_pid_make(slot, serial);
    return true;
}

// The only program of exactly this label.
static enum viv_err find_label(const struct viv_native_ctx *ctx, const char *label,
                               struct viv_native_ref *out_ref)
{
    struct viv_native_item items[PAGE];
    struct viv_native_page page = {.filter = label, .max = PAGE, .out_items = items};
    bool is_found = false;
    size_t count;
    do {
        count = viv_native_list(ctx, &page);
        for (size_t i = 0; i < count; i++) {
            struct viv_native_status status;
            const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = items[i].pid};
            page.after = items[i].number;
            if (viv_native_status(ctx, &ref, &status) != VIV_OK) continue; // gone meanwhile
            if (strcmp(status.label, label) != 0) continue;
            if (is_found) return VIV_E_EXISTS;
            is_found = true;
            *out_ref = ref;
        }
    } while (count == PAGE);
    return is_found ? VIV_OK : VIV_E_NOTFOUND;
}

enum viv_err viv_ctl_ref_find(const struct viv_native_ctx *ctx, const char *text,
                              struct viv_native_ref *out_ref)
{
    uint64_t number;
    viv_pid pid;
    if (strncmp(text, "label:", 6) == 0) return find_label(ctx, text + 6, out_ref);
    if (strncmp(text, "key:", 4) == 0) {
        VIV_TRY(viv_native_find_key(ctx, text + 4, &pid));
        *out_ref = (struct viv_native_ref){.kind = VIV_NATIVE_PID, .u.pid = pid};
    } else if (viv_ctl_ref_parse_pid(text, &pid)) {
        *out_ref = (struct viv_native_ref){.kind = VIV_NATIVE_PID, .u.pid = pid};
    } else if (viv_parse_u64(text + (text[0] == '#'), &number) == VIV_OK) {
        *out_ref = (struct viv_native_ref){.kind = VIV_NATIVE_NUMBER, .u.number = number};
    } else if (strlen(text) == VIV_PROG_ID_CHARS) {
        *out_ref = (struct viv_native_ref){.kind = VIV_NATIVE_ID};
        memcpy(out_ref->u.id, text, VIV_PROG_ID_CHARS);
    } else {
        return VIV_E_INVAL;
    }
    struct viv_native_status status;
    VIV_TRY(viv_native_status(ctx, out_ref, &status));
    // From now on by what is never reused.
    *out_ref = (struct viv_native_ref){.kind = VIV_NATIVE_PID, .u.pid = status.pid};
    return VIV_OK;
}
