// SPDX-License-Identifier: Apache-2.0
// What guests hold: the functions of its kinds, and the process's handle table.
#include "wasm/held.h"

#include "wasm/error_text.h"
#include "wasm/inst.h"
#include "wasm/runtime.h"
#include "wasm/send_timer.h"
#include "wasm/wasi_int.h"

// ---- kinds ----

static void destroy_module(void *object)
{
    viv_module_drop(object);
}

static void destroy_config(void *object)
{
    viv_config_drop(object);
}

static void destroy_error(void *object)
{
    viv_error_text_free(object);
}

static void close_timer(void *object, enum viv_close_why why)
{
    (void)why;
    viv_send_timer_close(object);
}

static void destroy_timer(void *object)
{
    viv_send_timer_drop(object);
}

static void close_fd(void *object, enum viv_close_why why)
{
    (void)why;
    viv_wasi__fd_close(object);
}

static void destroy_fd(void *object)
{
    viv_wasi__fd_close(object); // one that never came to be
    viv_free(object, sizeof(struct viv_wasi_fd), VIV_TAG_WASI);
}

enum viv_err viv_held_bind(struct viv_reg *reg)
{
    static const struct {
        viv_kind kind;
        struct viv_res_kind functions;
    } kinds[] = {
        {VIV_KIND_MODULE, {.destroy = destroy_module}},
        {VIV_KIND_CONFIG, {.destroy = destroy_config}},
        {VIV_KIND_ERROR, {.destroy = destroy_error}},
        {VIV_KIND_TIMER, {.close = close_timer, .destroy = destroy_timer}},
        {VIV_KIND_FILE, {.close = close_fd, .destroy = destroy_fd}},
        {VIV_KIND_DIR, {.close = close_fd, .destroy = destroy_fd}},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(kinds); i++)
        VIV_TRY(viv_res_kind_bind(reg, kinds[i].kind, &kinds[i].functions));
    return VIV_OK;
}
