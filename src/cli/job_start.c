// SPDX-License-Identifier: Apache-2.0
// `viv job start`: makes a registration of its options, uploads the module, registers.
#include "cli/job.h"

#include "base/hash.h"
#include "base/text.h"
#include "os/file.h"
#include "os/rand.h"
#include "store/objects.h"
#include <string.h>

enum {
    ID_CHARS = 256,
    ID_BYTES = 8,
    MODULE_BYTES = 64 << 20,
    TYPE_BYTES = 262144,
    HASH_CHARS = 64
};

struct start {
    struct viv_job job;
    const char *id, *wasm, *entry, *beam, *queue, *at, *deadline, *policy, *label, *kind, *cwd,
        *result;
    uint64_t timeout_ns, retry; // UINT64_MAX: not given
    struct viv_cli_list types, grants, env;
    bool external, once, wait;
    int count; // words behind the options
    char **args;
};

static int usage(const struct start *self, const char *what)
{
    return viv_job_refuse(&self->job, VIV_STATUS_USAGE, VIV_E_INVAL, "%s (viv help job)", what);
}

// ---- input ----

// Whole numbers are numbers, anything else is a text.
static json_t *args_of(const struct start *self)
{
    json_t *list = json_array();
    for (int i = 0; i < self->count; i++) {
        uint64_t number;
        const char *word = self->args[i];
        const bool is_minus = word[0] == '-';
        const bool is_number =
            viv_parse_u64(word + is_minus, &number) == VIV_OK && number <= INT64_MAX;
        viv_json_add(&list, is_number
                                ? json_integer(is_minus ? -(json_int_t)number : (json_int_t)number)
                                : json_string(word));
    }
    return list;
}

static bool is_hash(const char *text)
{
    return strlen(text) == HASH_CHARS && strspn(text, "0123456789abcdef") == HASH_CHARS;
}

// Of a hash, or of a file that is uploaded; NULL after a line.
static json_t *module_of(struct start *self, int *out_status)
{
    static const char prefix[] = "sha256:";
    struct viv_job *job = &self->job;
    uint8_t *data;
    size_t len;
    struct viv_str hash;
    struct viv_diag diag = {""};
    const char *text = self->wasm;
    if (strncmp(text, prefix, sizeof prefix - 1) == 0) text += sizeof prefix - 1;
    if (is_hash(text)) return json_pack("s+", prefix, text);
    enum viv_err err = viv_os_read_file(self->wasm, MODULE_BYTES, VIV_TAG_CLI, &data, &len, &diag);
    if (err != VIV_OK) {
        *out_status = viv_job_refuse(job, VIV_STATUS_FAILED, err, VIV_SHOWN ": %s", self->wasm,
                                     viv_err_text(err));
        return NULL;
    }
    err = viv_store_blob_put(job->store, (struct viv_str){(const char *)data, len}, &job->mem,
                             &hash, &job->diag);
    viv_free(data, len, VIV_TAG_CLI);
    if (err == VIV_OK) return json_pack("s+%", prefix, hash.p, hash.n);
    *out_status = viv_job_failed(job, err);
    return NULL;
}

static json_t *env_of(const struct start *self)
{
    json_t *env = json_object();
    for (size_t i = 0; i < self->env.count; i++) {
        char name[256];
        const char *equals = strchr(self->env.items[i], '='); // check() has seen it
        (void)snprintf(name, sizeof name, "%.*s", (int)(equals - self->env.items[i]),
                       self->env.items[i]);
        viv_json_put(&env, name, json_string(equals + 1));
    }
    return env;
}

static json_t *native_input(const struct start *self)
{
    json_t *input = json_object(), *argv = json_array();
    for (int i = 0; i < self->count; i++)
        viv_json_add(&argv, json_string(self->args[i]));
    viv_json_put(&input, "type", json_string("native"));
    viv_json_put(&input, "argv", argv);
    if (self->cwd != NULL) viv_json_put(&input, "cwd", json_string(self->cwd));
    if (self->env.count > 0) viv_json_put(&input, "env", env_of(self));
    if (self->result != NULL) viv_json_put(&input, "result", json_string(self->result));
    return input;
}

static json_t *beam_input(const struct start *self)
{
    json_t *input = json_object();
    const char *colon = strchr(self->beam, ':');
    viv_json_put(&input, "type", json_string("beam"));
    viv_json_put(&input, "m", json_stringn(self->beam, (size_t)(colon - self->beam)));
    viv_json_put(&input, "f", json_string(colon + 1));
    if (self->count > 0) viv_json_put(&input, "a", args_of(self));
    return input;
}

static json_t *input_of(struct start *self, int *out_status)
{
    if (self->external) return json_pack("{ss}", "type", "external");
    if (self->beam != NULL) return beam_input(self);
    if (self->wasm == NULL) return native_input(self);
    json_t *input = json_object(), *module = module_of(self, out_status);
    viv_json_put(&input, "type", json_string("wasm"));
    viv_json_put(&input, "module", module);
    viv_json_put(&input, "function", json_string(self->entry != NULL ? self->entry : "_start"));
    if (self->count > 0) viv_json_put(&input, "args", args_of(self));
    return input;
}

// ---- policy ----

static bool put_time(struct start *self, json_t **policy, const char *option, const char *text,
                     const char *name)
{
    int64_t ms;
    if (text == NULL) return true;
    if (!viv_job_time(&self->job, option, text, &ms)) return false;
    viv_json_put(policy, name, json_integer((json_int_t)ms));
    return true;
}

// What --policy says, or nothing; false after a line.
static bool read_policy(struct start *self, json_t **out_policy)
{
    uint8_t *data = NULL;
    size_t len = 0;
    struct viv_diag diag = {""};
    *out_policy = NULL;
    if (self->policy == NULL) {
        *out_policy = json_object();
        return true;
    }
    enum viv_err err = viv_os_read_file(self->policy, TYPE_BYTES, VIV_TAG_CLI, &data, &len, &diag);
    if (err == VIV_OK) err = viv_cjson_parse(data, len, out_policy, NULL);
    if (data != NULL) viv_free(data, len, VIV_TAG_CLI);
    if (err == VIV_OK && !json_is_object(*out_policy)) err = VIV_E_INVAL;
    if (err == VIV_OK) return true;
    json_decref(*out_policy);
    *out_policy = NULL;
    (void)viv_job_refuse(&self->job, VIV_STATUS_USAGE, err, "--policy " VIV_SHOWN ": %s",
                         self->policy, viv_err_text(err));
    return false;
}

// NULL with the status OK: out of memory.
static json_t *policy_of(struct start *self, int *out_status)
{
    json_t *policy = NULL;
    if (!read_policy(self, &policy) || !put_time(self, &policy, "--at", self->at, "start_at_ms") ||
        !put_time(self, &policy, "--deadline", self->deadline, "deadline_ms")) {
        json_decref(policy);
        *out_status = VIV_STATUS_USAGE;
        return NULL;
    }
    if (self->queue != NULL) viv_json_put(&policy, "queue", json_string(self->queue));
    if (self->timeout_ns != UINT64_MAX)
        viv_json_put(&policy, "timeout_ms", viv_json_u64(self->timeout_ns / VIV_NS_PER_MS));
    if (self->retry != UINT64_MAX) {
        viv_json_put(&policy, "max_attempts", viv_json_u64(viv_add_sat_u64(self->retry, 1)));
        viv_json_put(&policy, "retry_on", json_pack("[s]", "*"));
    }
    if (self->once) viv_json_put(&policy, "on_lapse", json_string("abandon"));
    return policy;
}

// ---- event types ----

static bool add_types(struct start *self, const char *path, json_t **types)
{
    uint8_t *data = NULL;
    struct viv_diag diag = {""};
    json_t *value = NULL, *item;
    size_t i, len = 0;
    enum viv_err err = viv_os_read_file(path, TYPE_BYTES, VIV_TAG_CLI, &data, &len, &diag);
    if (err == VIV_OK) err = viv_cjson_parse(data, len, &value, NULL);
    if (data != NULL) viv_free(data, len, VIV_TAG_CLI);
    if (err != VIV_OK) {
        (void)viv_job_refuse(&self->job, VIV_STATUS_USAGE, err, "--type " VIV_SHOWN ": %s", path,
                             viv_err_text(err));
        return false;
    }
    if (json_is_array(value)) {
        json_array_foreach(value, i, item) viv_json_add(types, json_incref(item));
    } else {
        viv_json_add(types, json_incref(value));
    }
    json_decref(value);
    return true;
}

// ---- the registration ----

static bool make_id(struct start *self, char out[2 * ID_BYTES + 8])
{
    uint8_t bytes[ID_BYTES];
    char hex[2 * ID_BYTES + 1];
    if (self->id != NULL) return true;
    if (viv_os_random(bytes, sizeof bytes) != VIV_OK) return false;
    viv_hex_encode(bytes, sizeof bytes, hex);
    (void)snprintf(out, 2 * ID_BYTES + 8, "job-%s", hex);
    self->id = out;
    return true;
}

static int put_rest(struct start *self, json_t **registration)
{
    int status = VIV_STATUS_OK;
    json_t *types = json_array();
    for (size_t i = 0; i < self->types.count; i++)
        if (!add_types(self, self->types.items[i], &types)) status = VIV_STATUS_USAGE;
    viv_json_put(registration, "event_types", types);
    if (status != VIV_STATUS_OK) return status;
    json_t *policy = policy_of(self, &status);
    if (status != VIV_STATUS_OK) return status;
    viv_json_put(registration, "policy", policy);
    json_t *input = input_of(self, &status);
    viv_json_put(registration, "input", input);
    return status;
}

// In job->mem.
static int make_registration(struct start *self, struct viv_str *out_text)
{
    struct viv_buf text;
    json_t *registration = json_object();
    *out_text = (struct viv_str){NULL, 0};
    viv_json_put(&registration, "id", json_string(self->id));
    viv_json_put(&registration, "disposition",
                 json_string(self->external ? "external"
                             : self->once   ? "owner_bound"
                                            : "rerunnable"));
    if (self->kind != NULL) viv_json_put(&registration, "kind", json_string(self->kind));
    if (self->label != NULL) viv_json_put(&registration, "label", json_string(self->label));
    int status = put_rest(self, &registration);
    viv_buf_init(&text, VIV_TAG_CLI);
    if (status == VIV_STATUS_OK) {
        if (registration == NULL || viv_cjson_write(registration, &text) != VIV_OK)
            status = usage(self, "a word is no text, or memory is out");
        else
            out_text->p = viv_mem_try_copy(&self->job.mem, text.data, text.len_bytes);
        out_text->n = text.len_bytes;
        if (status == VIV_STATUS_OK && out_text->p == NULL)
            status = viv_job_failed(&self->job, VIV_E_EXHAUSTED);
    }
    viv_buf_deinit(&text);
    json_decref(registration);
    return status;
}

static enum viv_err ask_for_start(struct viv_job *job, const struct viv_start *what,
                                  bool *out_created)
{
    json_t *value, *args = json_object(), *scopes = json_array();
    for (size_t i = 0; i < what->grant_count; i++) {
        json_t *scope = json_object();
        viv_job_put(&scope, "session", what->grants[i].scope.session);
        viv_job_put(&scope, "frame", what->grants[i].scope.frame);
        viv_json_add(&scopes, scope);
    }
    viv_json_put(&args, "grants", scopes);
    viv_job_put(&args, "registration", what->registration);
    VIV_TRY(viv_job_ask(job, "start", args, &value));
    *out_created = viv_json_get_bool(value, "created");
    json_decref(value);
    return VIV_OK;
}

static int start(struct start *self)
{
    struct viv_str text;
    struct viv_started started;
    struct viv_job *job = &self->job;
    struct viv_start_grant grants[VIV_CLI_LIST_MAX];
    int status = make_registration(self, &text);
    if (status != VIV_STATUS_OK) return status;
    for (size_t i = 0; i < self->grants.count; i++) {
        grants[i] = (struct viv_start_grant){.descriptor = viv_job_str("{}")};
        if (!viv_job_scope(job, self->grants.items[i], &grants[i].scope)) return VIV_STATUS_USAGE;
    }
    const struct viv_start what = {
        .registration = text, .grants = grants, .grant_count = self->grants.count};
    const enum viv_err err =
        job->door != NULL ? ask_for_start(job, &what, &started.is_created)
                          : viv_store_start(job->store, &what, &job->mem, &started, &job->diag);
    if (err != VIV_OK) return viv_job_failed(job, err);
    if (job->json)
        status = viv_job_print(
            job, json_pack("{sssb}", "id", self->id, "created", (int)started.is_created));
    else if (!self->wait)
        (void)printf("%s\n", self->id);
    if (status != VIV_STATUS_OK || !self->wait) return status;
    (void)fflush(stdout);
    char id[ID_CHARS], *ids[] = {id}; // not in job->mem, which a look empties
    (void)snprintf(id, sizeof id, "%s", self->id);
    return viv_job_wait(job, 1, ids, false, VIV_FOREVER_NS);
}

static int check_command(const struct start *self)
{
    if (self->cwd != NULL) return usage(self, "--cwd is of -- COMMAND");
    if (self->result != NULL) return usage(self, "--result is of -- COMMAND");
    return self->env.count > 0 ? usage(self, "--env is of -- COMMAND") : VIV_STATUS_OK;
}

static int check_env(const struct start *self)
{
    for (size_t i = 0; i < self->env.count; i++) {
        const char *equals = strchr(self->env.items[i], '=');
        if (equals == NULL || equals == self->env.items[i] || equals - self->env.items[i] > 255)
            return usage(self, "--env wants NAME=VALUE");
    }
    return VIV_STATUS_OK;
}

static int check(const struct start *self)
{
    const int inputs = (self->wasm != NULL) + (self->beam != NULL) + self->external;
    if (inputs > 1) return usage(self, "--wasm, --beam and --external exclude each other");
    if (inputs == 0 && self->count == 0)
        return usage(self, "want --wasm, --beam, --external or -- COMMAND");
    if (self->external && self->count > 0) return usage(self, "--external runs no command");
    if (self->external && self->once) return usage(self, "--external is not run, so not --once");
    if (self->entry != NULL && self->wasm == NULL) return usage(self, "--entry is of --wasm");
    if (inputs > 0 && check_command(self) != VIV_STATUS_OK) return VIV_STATUS_USAGE;
    if (check_env(self) != VIV_STATUS_OK) return VIV_STATUS_USAGE;
    if (self->beam != NULL && (strchr(self->beam, ':') == NULL || self->beam[0] == ':'))
        return usage(self, "--beam wants MODULE:FUNCTION");
    if (self->deadline != NULL && self->timeout_ns != UINT64_MAX)
        return usage(self, "--deadline and --timeout exclude each other");
    return VIV_STATUS_OK;
}

int viv_job_start(int count, char **args)
{
    char id[2 * ID_BYTES + 8];
    struct start self = {.job = {.command = "job start", .may_ask = true},
                         .timeout_ns = UINT64_MAX,
                         .retry = UINT64_MAX};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(self.job),
                                           {"id", 0, VIV_CLI_TEXT, &self.id},
                                           {"wasm", 0, VIV_CLI_TEXT, &self.wasm},
                                           {"entry", 0, VIV_CLI_TEXT, &self.entry},
                                           {"beam", 0, VIV_CLI_TEXT, &self.beam},
                                           {"external", 0, VIV_CLI_FLAG, &self.external},
                                           {"once", 0, VIV_CLI_FLAG, &self.once},
                                           {"queue", 0, VIV_CLI_TEXT, &self.queue},
                                           {"at", 0, VIV_CLI_TEXT, &self.at},
                                           {"deadline", 0, VIV_CLI_TEXT, &self.deadline},
                                           {"timeout", 0, VIV_CLI_DURATION, &self.timeout_ns},
                                           {"retry", 0, VIV_CLI_COUNT, &self.retry},
                                           {"policy", 0, VIV_CLI_TEXT, &self.policy},
                                           {"label", 0, VIV_CLI_TEXT, &self.label},
                                           {"kind", 0, VIV_CLI_TEXT, &self.kind},
                                           {"cwd", 0, VIV_CLI_TEXT, &self.cwd},
                                           {"env", 0, VIV_CLI_LIST, &self.env},
                                           {"result", 0, VIV_CLI_TEXT, &self.result},
                                           {"type", 0, VIV_CLI_LIST, &self.types},
                                           {"grant", 0, VIV_CLI_LIST, &self.grants},
                                           {"wait", 0, VIV_CLI_FLAG, &self.wait}};
    const struct viv_cli_command command = {"job start", table, VIV_COUNT_OF(table),
                                            0,           -1,    "a command"};
    self.count = viv_cli_parse_args(&command, count, args);
    if (self.count < 0) return VIV_STATUS_USAGE;
    self.args = args;
    int status = check(&self);
    if (status != VIV_STATUS_OK) return status;
    if (!make_id(&self, id)) return viv_job_failed(&self.job, VIV_E_IO);
    status = viv_job_open(&self.job, true);
    if (status == VIV_STATUS_OK) status = start(&self);
    viv_job_close(&self.job);
    return status;
}
