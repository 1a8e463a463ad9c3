// SPDX-License-Identifier: Apache-2.0
// How the engine takes memories and stacks from slots (see slots.h): its callbacks.
#include "wasm/slots.h"

#include "base/assert.h"
#include "base/limits.h"

static uint8_t *get_memory(void *env, size_t *byte_size, size_t *byte_capacity)
{
    const struct viv_slot *slot = env;
    *byte_size = viv_slot_size_bytes(slot);
    *byte_capacity = viv_slot_capacity_bytes(slot);
    return viv_slot_base(slot);
}

static wasmtime_error_t *grow_memory(void *env, size_t new_size)
{
    struct viv_diag diag = {.text = ""};
    enum viv_err err = viv_slots_grow_memory(env, new_size, &diag);
    return err == VIV_OK ? NULL : wasmtime_error_new(diag.text);
}

static void drop_env(void *env)
{
    viv_slots_drop(env);
}

static wasmtime_error_t *new_memory(void *env, const wasm_memorytype_t *type, size_t minimum,
                                    size_t maximum, size_t reserved_size_in_bytes,
                                    size_t guard_size_in_bytes,
                                    wasmtime_linear_memory_t *memory_ret)
{
    (void)type;
    (void)maximum;
    VIV_ASSERT(reserved_size_in_bytes == 0 &&
               guard_size_in_bytes == 0); // as engine.c configures it
    struct viv_diag diag = {.text = ""};
    struct viv_slot *slot = NULL;
    if (viv_slots_take_memory(env, minimum, &slot, &diag) != VIV_OK)
        return wasmtime_error_new(diag.text);
    *memory_ret = (wasmtime_linear_memory_t){
        .env = slot, .get_memory = get_memory, .grow_memory = grow_memory, .finalizer = drop_env};
    return NULL;
}

static uint8_t *get_stack(void *env, size_t *out_len)
{
    const struct viv_slot *slot = env;
    *out_len = VIV_WASM_FIBER_BYTES;
    return viv_slot_base(slot) + VIV_WASM_FIBER_BYTES;
}

static wasmtime_error_t *new_stack(void *env, size_t size, bool zeroed,
                                   wasmtime_stack_memory_t *stack_ret)
{
    VIV_ASSERT(size <= VIV_WASM_FIBER_BYTES); // as engine.c configures it
    struct viv_slot *slot = NULL;
    if (viv_slots_take_stack(env, zeroed, &slot) != VIV_OK)
        return wasmtime_error_new("no address space for a stack");
    *stack_ret = (wasmtime_stack_memory_t){
        .env = slot, .get_stack_memory = get_stack, .finalizer = drop_env};
    return NULL;
}

void viv_slots_configure(struct viv_slots *slots, wasm_config_t *config)
{
    wasmtime_memory_creator_t memories = {.env = slots, .new_memory = new_memory};
    wasmtime_stack_creator_t stacks = {.env = slots, .new_stack = new_stack};
    wasmtime_config_host_memory_creator_set(config, &memories);
    wasmtime_config_host_stack_creator_set(config, &stacks);
}
