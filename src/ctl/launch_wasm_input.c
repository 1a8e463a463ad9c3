// SPDX-License-Identifier: Apache-2.0
// A registration's input, {module, function, args?, env?}, as a program.
//
// Integers among the arguments are the function's parameters, in their order, each i32 or i64 as
// the function has it; all of the arguments are the run's input, and texts among them its command
// line.
#include "ctl/launch_wasm_int.h"

#include "base/hash.h"
#include "store/objects.h"
#include "wasm/compile.h"
#include <stdio.h>
#include <string.h>

enum { HASH_PREFIX = 7, SHOWN = 200 }; // "sha256:"

// ---- modules ----

static struct viv_module *find_module(struct viv_launch__modules *modules, const char *hash)
{
    for (size_t i = 0; i < VIV_LAUNCH_MODULES; i++) {
        if (modules->items[i].module == NULL || strcmp(modules->items[i].hash, hash) != 0) continue;
        modules->items[i].used = ++modules->clock;
        return viv_module_take(modules->items[i].module);
    }
    return NULL;
}

static void keep_module(struct viv_launch__modules *modules, const char *hash,
                        struct viv_module *module)
{
    size_t at = 0;
    for (size_t i = 1; i < VIV_LAUNCH_MODULES; i++)
        if (modules->items[i].used < modules->items[at].used) at = i;
    viv_module_drop(modules->items[at].module);
    modules->items[at].module = viv_module_take(module);
    modules->items[at].used = ++modules->clock;
    (void)snprintf(modules->items[at].hash, sizeof modules->items[at].hash, "%s", hash);
}

void viv_launch__modules_free(struct viv_launch__modules *modules)
{
    for (size_t i = 0; i < VIV_LAUNCH_MODULES; i++)
        viv_module_drop(modules->items[i].module);
    *modules = (struct viv_launch__modules){.clock = 0};
}

static enum viv_err make_module(const struct viv_launch__from *from, const char *hash,
                                struct viv_str blob, struct viv_module **out_module,
                                struct viv_diag *diag)
{
    char name[24];
    (void)snprintf(name, sizeof name, "sha256:%.12s", hash);
    struct viv_module_source source = {.name = name, .len_bytes = blob.n, .mode = VIV_WASM_MANY};
    source.bytes = viv_try_alloc(blob.n > 0 ? blob.n : 1, VIV_TAG_MODULE);
    if (source.bytes == NULL) return VIV_E_EXHAUSTED;
    if (blob.n > 0) memcpy(source.bytes, blob.p, blob.n);
    return viv_module_new(viv_runtime_wasm(from->runtime), &source, out_module, diag);
}

// The store has checked what it gives against the hash.
static bool load_module(const struct viv_launch__from *from, const char *hash,
                        struct viv_module **out_module, struct viv_launch_refusal *refusal)
{
    struct viv_mem mem;
    struct viv_str blob;
    struct viv_diag diag = {""};
    *out_module = find_module(from->modules, hash);
    if (*out_module != NULL) return true;
    viv_mem_init(&mem, VIV_TAG_CTL);
    enum viv_err err =
        viv_store_blob_get(from->store, (struct viv_str){hash, strlen(hash)}, &mem, &blob, NULL);
    if (err == VIV_E_NOTFOUND)
        viv_launch__refuse(refusal, "invalid_request", "no_module", "the store has no such module");
    else if (err == VIV_STORE_CORRUPT)
        viv_launch__refuse(refusal, "invalid_request", "bad_module", "%s", viv_err_text(err));
    else if (err != VIV_OK)
        viv_launch__refuse(refusal, "unavailable", "no_store", "%s", viv_err_text(err));
    if (err == VIV_OK) {
        err = make_module(from, hash, blob, out_module, &diag);
        if (err == VIV_OK)
            keep_module(from->modules, hash, *out_module);
        else
            viv_launch__refuse_birth(refusal, err, diag.text);
    }
    viv_mem_deinit(&mem);
    return err == VIV_OK;
}

// ---- entry and arguments ----

static bool refuse_argument(struct viv_launch_refusal *refusal, const char *entry, const char *what)
{
    viv_launch__refuse(refusal, "invalid_request", "bad_argument", "function `%.*s` %s", SHOWN,
                       entry, what);
    return false;
}

static bool find_type(const struct viv_launch__program *program, struct viv_wasm_type *out_type,
                      struct viv_launch_refusal *refusal)
{
    const struct viv_wasm_export *export =
        viv_module_find_export(program->module, program->entry, strlen(program->entry));
    if (export != NULL && viv_module_export_type(program->module, export, out_type) == VIV_OK)
        return true;
    viv_launch__refuse(refusal, "invalid_request", "no_function", "no function `%.*s` is exported",
                       SHOWN, program->entry);
    return false;
}

static bool read_args(struct viv_launch__program *program, const json_t *args,
                      struct viv_launch_refusal *refusal)
{
    size_t i;
    json_t *arg;
    struct viv_wasm_type type;
    if (!find_type(program, &type, refusal)) return false;
    json_array_foreach(args, i, arg)
    {
        if (!json_is_integer(arg)) continue;
        const json_int_t value = json_integer_value(arg);
        const uint32_t at = program->value_count;
        if (at >= type.param_count || at >= VIV_PROGRAM_ARGS_MAX)
            return refuse_argument(refusal, program->entry, "has fewer parameters than integers");
        const bool is_long = type.params[at] == 'I';
        if (!is_long && (value < INT32_MIN || value > UINT32_MAX))
            return refuse_argument(refusal, program->entry, "takes 32 bits: an integer has more");
        program->values[program->value_count++] = (struct viv_program_arg){is_long, value};
    }
    if (program->value_count == type.param_count) return true;
    return refuse_argument(refusal, program->entry, "has more parameters than integers");
}

// ---- config ----

static enum viv_err fill_config(struct viv_launch__program *program, const json_t *input,
                                bool is_quiet)
{
    size_t i;
    json_t *value;
    const char *name;
    struct viv_config *config = program->config;
    config->rights = VIV_RIGHT_ALL; // what counts is the session
    config->max_memory_bytes = UINT64_MAX;
    if (is_quiet) config->stdio = VIV_STDIO_NULL;
    VIV_TRY(viv_config_apply_policy(program->policy, config));
    name = viv_module_name(program->module);
    VIV_TRY(viv_config_add_arg(config, name, strlen(name)));
    json_array_foreach(json_object_get(input, "args"), i, value) if (json_is_string(value))
        VIV_TRY(viv_config_add_arg(config, json_string_value(value), json_string_length(value)));
    json_object_foreach(json_object_get(input, "env"), name, value) VIV_TRY(viv_config_add_env(
        config, name, strlen(name), json_string_value(value), json_string_length(value)));
    return VIV_OK;
}

static bool make_config(struct viv_launch__program *program, const json_t *input, bool is_quiet,
                        struct viv_launch_refusal *refusal)
{
    program->config = viv_config_new();
    const enum viv_err err =
        program->config == NULL ? VIV_E_EXHAUSTED : fill_config(program, input, is_quiet);
    if (err == VIV_E_EXHAUSTED)
        viv_launch__refuse(refusal, "unavailable", "no_memory", "%s", viv_err_text(err));
    else if (err != VIV_OK)
        viv_launch__refuse(refusal, "invalid_request", "bad_input", "arguments or variables: %s",
                           viv_err_text(err));
    return err == VIV_OK;
}

// ---- the whole ----

static enum viv_err copy_texts(struct viv_launch__program *program, const json_t *input)
{
    struct viv_buf args;
    json_t *list = json_object_get(input, "args");
    const char *entry = viv_json_get_text(input, "function");
    viv_buf_init(&args, VIV_TAG_CTL);
    enum viv_err err = list != NULL ? viv_cjson_write(list, &args) : viv_buf_append(&args, "[]", 2);
    program->entry = viv_mem_try_copy(&program->mem, entry, strlen(entry));
    if (err == VIV_OK)
        program->args = (struct viv_str){viv_mem_try_copy(&program->mem, args.data, args.len_bytes),
                                         args.len_bytes};
    viv_buf_deinit(&args);
    return err == VIV_OK && program->entry != NULL && program->args.p != NULL ? VIV_OK
                                                                              : VIV_E_EXHAUSTED;
}

static bool read_program(const struct viv_launch__from *from, const json_t *registration,
                         struct viv_launch__program *out, struct viv_launch_refusal *refusal)
{
    const json_t *input = json_object_get(registration, "input");
    const char *hash = viv_json_get_text(input, "module") + HASH_PREFIX;
    if (copy_texts(out, input) != VIV_OK) {
        viv_launch__refuse(refusal, "unavailable", "no_memory", "%s",
                           viv_err_text(VIV_E_EXHAUSTED));
        return false;
    }
    if (viv_launch__policy_read(json_object_get(registration, "policy"), &out->policy, refusal) !=
        VIV_OK)
        return false;
    return load_module(from, hash, &out->module, refusal) &&
           read_args(out, json_object_get(input, "args"), refusal) &&
           make_config(out, input, from->is_quiet, refusal);
}

bool viv_launch__program_read(const struct viv_launch__from *from, const struct viv_run *run,
                              struct viv_launch__program *out, struct viv_launch_refusal *refusal)
{
    json_t *registration = NULL;
    const struct viv_str text = viv_run_registration(run);
    *out = (struct viv_launch__program){.value_count = 0};
    viv_mem_init(&out->mem, VIV_TAG_CTL);
    if (viv_cjson_parse(text.p, text.n, &registration, NULL) != VIV_OK) {
        viv_launch__refuse(refusal, "unavailable", "no_memory", "the registration is not read");
        return false;
    }
    const bool is_read = read_program(from, registration, out, refusal);
    json_decref(registration);
    return is_read;
}

void viv_launch__program_free(struct viv_launch__program *program)
{
    viv_module_drop(program->module);
    viv_config_drop(program->config);
    viv_policy_free(program->policy);
    viv_mem_deinit(&program->mem);
}
