// SPDX-License-Identifier: Apache-2.0
// See world.h.
#include "world.h"

#include "os/file.h"
#include "os/vm.h"
#include "proc/proc.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { WAIT_SECONDS = 60 };

// ---- what cases are handed ----

struct kept {
    struct kept *next;
    max_align_t data[];
};

// Zeroed; freed with the world.
static void *keep(struct world *world, size_t len)
{
    struct kept *kept = calloc(1, sizeof(*kept) + len);
    CHECK(kept != NULL);
    kept->next = world->kept;
    world->kept = kept;
    return kept->data;
}

// ---- notes and ends ----

static void *grow(void *items, size_t count, size_t *cap, size_t item_bytes)
{
    if (count < *cap) return items;
    *cap = *cap == 0 ? 64 : *cap * 2;
    void *more = realloc(items, *cap * item_bytes);
    CHECK(more != NULL);
    return more;
}

static void write_note(struct world *world, const struct viv_msg *msg)
{
    struct note note = {.from = msg->sig.from.w, .time_ns = viv_os_now_ns(), .tag = msg->sig.tag};
    const uint64_t size = msg->ops->size_bytes(msg);
    note.len = (size_t)(size < NOTE_BYTES_MAX ? size : NOTE_BYTES_MAX);
    if (note.len > 0) msg->ops->copy(msg, 0, note.data, note.len);
    if (note.tag == TAG_FAILED) {
        uint32_t line;
        uint64_t value;
        memcpy(&line, note.data, 4);
        memcpy(&value, note.data + 4, 8);
        fprintf(stderr, "guest check failed: line %u: %s (value %" PRIu64 ", 0x%" PRIx64 ")\n",
                line, (const char *)note.data + 12, value, value);
    }
    if (note.tag == TAG_LOG) fprintf(stderr, "guest: %s\n", (const char *)note.data);
    pthread_mutex_lock(&world->lock);
    world->notes = grow(world->notes, world->note_count, &world->note_cap, sizeof(note));
    world->notes[world->note_count++] = note;
    pthread_mutex_unlock(&world->lock);
}

struct host_state {
    struct world *world;
    bool named;
};

static enum viv_step step_host(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct host_state *state = arg;
    (void)slice;
    if (!state->named) {
        const struct viv_name_value value = {0, viv_proc_pid(self)};
        TRY(viv_name_put(viv_proc_env(self), "host", 4, value, true));
        state->named = true;
        atomic_fetch_add(&state->world->hosts_ready, 1);
    }
    struct viv_signal *sig;
    while ((sig = viv_mbox_take(viv_proc_mbox(self), NULL, 0)) != NULL) {
        if (sig->kind == VIV_SIG_MESSAGE)
            write_note(state->world, (const struct viv_msg *)(const void *)sig);
        viv_signal_drop(sig);
    }
    return VIV_STEP_WAIT;
}

static char *copy_text(const void *text, size_t len)
{
    char *copy = malloc(len + 1);
    CHECK(copy != NULL);
    if (len > 0) memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

static void on_ended(void *arg, viv_pid pid, const struct viv_reason *reason)
{
    struct world *world = arg;
    size_t text_len, detail_len;
    const char *text = viv_reason_text(reason, &text_len);
    const void *detail = viv_reason_detail(reason, &detail_len);
    const struct ended ended = {.pid = pid,
                                .time_ns = viv_os_now_ns(),
                                .kind = viv_reason_kind(reason),
                                .code = viv_reason_code(reason),
                                .text = copy_text(text, text_len),
                                .detail = copy_text(detail, detail_len)};
    pthread_mutex_lock(&world->lock);
    world->ends = grow(world->ends, world->end_count, &world->end_cap, sizeof(ended));
    world->ends[world->end_count++] = ended;
    pthread_mutex_unlock(&world->lock);
}

static bool find_note(struct world *world, int64_t tag, size_t index, struct note *out)
{
    bool found = false;
    pthread_mutex_lock(&world->lock);
    for (size_t i = 0; i < world->note_count && !found; i++) {
        if (world->notes[i].tag != tag || index-- > 0) continue;
        *out = world->notes[i];
        found = true;
    }
    pthread_mutex_unlock(&world->lock);
    return found;
}

static void print_state(struct world *world)
{
    pthread_mutex_lock(&world->lock);
    fprintf(stderr, "%" PRIu64 " processes, %zu notes, %zu ends\n",
            viv_kernel_proc_count(world->kernel), world->note_count, world->end_count);
    for (size_t i = 0; i < world->note_count && i < 20; i++)
        fprintf(stderr, "  note tag %" PRId64 " of 0x%" PRIx64 ", %zu bytes\n", world->notes[i].tag,
                world->notes[i].from, world->notes[i].len);
    for (size_t i = 0; i < world->end_count && i < 20; i++)
        fprintf(stderr, "  end of 0x%" PRIx64 ": %s %d %s\n", world->ends[i].pid.w,
                viv_reason_kind_name(world->ends[i].kind), world->ends[i].code,
                world->ends[i].text);
    pthread_mutex_unlock(&world->lock);
}

const struct note *world_note(struct world *world, int64_t tag, size_t index)
{
    struct note *note = keep(world, sizeof(*note));
    CHECK_WAIT(find_note(world, tag, index, note), WAIT_SECONDS, print_state(world));
    return note;
}

uint64_t world_note_u64(struct world *world, int64_t tag, size_t index)
{
    const struct note *note = world_note(world, tag, index);
    uint64_t value;
    CHECK(note->len == sizeof(value));
    memcpy(&value, note->data, sizeof(value));
    return value;
}

size_t world_note_count(struct world *world, int64_t tag)
{
    size_t count = 0;
    pthread_mutex_lock(&world->lock);
    for (size_t i = 0; i < world->note_count; i++)
        count += world->notes[i].tag == tag;
    pthread_mutex_unlock(&world->lock);
    return count;
}

static bool find_end(struct world *world, viv_pid pid, struct ended *out)
{
    bool found = false;
    pthread_mutex_lock(&world->lock);
    for (size_t i = 0; i < world->end_count && !found; i++) {
        if (world->ends[i].pid.w != pid.w) continue;
        *out = world->ends[i];
        found = true;
    }
    pthread_mutex_unlock(&world->lock);
    return found;
}

bool world_has_ended(struct world *world, viv_pid pid)
{
    struct ended ended;
    return find_end(world, pid, &ended);
}

const struct ended *world_await(struct world *world, viv_pid pid)
{
    struct ended *ended = keep(world, sizeof(*ended));
    CHECK_WAIT(find_end(world, pid, ended), WAIT_SECONDS, print_state(world));
    return ended;
}

enum { TAG_FLUSH = 0x7fff0003 };

static enum viv_step send_flush(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    const struct world *world = arg;
    (void)slice;
    struct viv_msg *msg = viv_bytes_msg_new(TAG_FLUSH, NULL, 0);
    CHECK(msg != NULL);
    (void)viv_proc_send(self, world->host_pid, msg);
    return VIV_STEP_DONE;
}

// What was sent before this has been written down when it returns.
static void flush_notes(struct world *world)
{
    const size_t flushed = world_note_count(world, TAG_FLUSH);
    viv_pid pid;
    TRY(viv_host_spawn(&(struct viv_host_spec){.env = world->env, .fn = send_flush, .arg = world},
                       &pid));
    (void)world_note(world, TAG_FLUSH, flushed);
}

void world_check_no_failures(struct world *world)
{
    flush_notes(world);
    CHECK(world_note_count(world, TAG_FAILED) == 0);
}

void check_reason(const struct ended *ended, enum viv_reason_kind kind, int32_t code)
{
    if (ended->kind == kind && ended->code == code) return;
    fprintf(stderr, "ended with %s, code %d, text '%s'; expected %s, code %d\n",
            viv_reason_kind_name(ended->kind), ended->code, ended->text, viv_reason_kind_name(kind),
            code);
    CHECK(ended->kind == kind && ended->code == code);
}

void check_text(const struct ended *ended, const char *part)
{
    if (strstr(ended->text, part) != NULL) return;
    fprintf(stderr, "the reason's text is '%s'; expected to find '%s'\n", ended->text, part);
    check_fail(__FILE__, __LINE__, "the reason's text");
}

// ---- modules ----

struct viv_module *world_load(struct world *world, const char *name, const void *bytes, size_t len,
                              struct viv_diag *diag)
{
    CHECK(world->module_count < MODULES_MAX);
    uint8_t *copy = viv_try_alloc(len, VIV_TAG_MODULE);
    CHECK(copy != NULL);
    if (len > 0) memcpy(copy, bytes, len);
    struct viv_module *module;
    if (viv_compile_source(viv_runtime_wasm(world->runtime),
                           &(struct viv_module_source){
                               .name = name, .bytes = copy, .len_bytes = len, .mode = world->mode},
                           false, &module, diag) != VIV_OK)
        return NULL;
    world->modules[world->module_count++] = module;
    return module;
}

struct viv_module *world_text(struct world *world, const char *name, const char *text)
{
    struct viv_diag diag = {0};
    struct viv_module *module = world_load(world, name, text, strlen(text), &diag);
    if (module == NULL) fprintf(stderr, "%s: %s\n", name, diag.text);
    CHECK(module != NULL);
    return module;
}

struct viv_module *world_module(struct world *world, const char *guest)
{
    for (size_t i = 0; i < world->module_count; i++)
        if (strcmp(viv_module_name(world->modules[i]), guest) == 0) return world->modules[i];
    char path[1024];
    uint8_t *bytes;
    size_t len;
    struct viv_diag diag = {0};
    check_guest_path(guest, path, sizeof(path));
    TRY(viv_os_read_file(path, VIV_WASM_MODULE_BYTES_MAX, VIV_TAG_TEST, &bytes, &len, &diag));
    struct viv_module *module = world_load(world, guest, bytes, len, &diag);
    if (module == NULL) fprintf(stderr, "%s: %s\n", guest, diag.text);
    CHECK(module != NULL);
    viv_free(bytes, len, VIV_TAG_TEST);
    return module;
}

// ---- processes ----

struct birth {
    _Atomic uint32_t done;
    enum viv_err err;
    viv_pid pid;
    char text[TEXT_MAX];
};

static void on_settled(void *arg, enum viv_err err, viv_pid pid, const char *text)
{
    struct birth *birth = arg;
    birth->err = err;
    birth->pid = pid;
    (void)snprintf(birth->text, sizeof(birth->text), "%s", text != NULL ? text : "");
    atomic_store(&birth->done, 1);
}

enum viv_err world_spawn(struct world *world, struct viv_env *env, struct viv_module *module,
                         struct viv_config *config, const char *entry, const uint64_t *args,
                         uint32_t count, viv_pid *out_pid, char out_text[TEXT_MAX])
{
    wasmtime_val_t values[8] = {0};
    CHECK(count <= VIV_COUNT_OF(values));
    for (uint32_t i = 0; i < count; i++)
        values[i] = (wasmtime_val_t){.kind = WASMTIME_I64, .of.i64 = (int64_t)args[i]};
    struct birth *birth = keep(world, sizeof(*birth));
    const struct viv_spawn_spec spec = {.runtime = world->runtime,
                                        .env = env,
                                        .module = module,
                                        .config = config,
                                        .entry = entry,
                                        .entry_len = strlen(entry),
                                        .args = values,
                                        .arg_count = count,
                                        .settled = on_settled,
                                        .settled_arg = birth};
    TRY(viv_spawn(&spec, NULL));
    CHECK_WAIT(atomic_load(&birth->done) != 0, WAIT_SECONDS, print_state(world));
    *out_pid = birth->pid;
    if (out_text != NULL) memcpy(out_text, birth->text, TEXT_MAX);
    return birth->err;
}

viv_pid world_start(struct world *world, struct viv_module *module, const char *entry,
                    const uint64_t *args, uint32_t count)
{
    viv_pid pid;
    char text[TEXT_MAX];
    enum viv_err err =
        world_spawn(world, world->env, module, world->config, entry, args, count, &pid, text);
    if (err != VIV_OK) fprintf(stderr, "'%s' was not born: %s\n", entry, text);
    CHECK(err == VIV_OK);
    return pid;
}

const struct ended *world_run_to_end(struct world *world, const char *guest, const char *entry)
{
    viv_pid pid = world_start(world, world_module(world, guest), entry, NULL, 0);
    const struct ended *ended = world_await(world, pid);
    flush_notes(world);
    return ended;
}

void world_run(struct world *world, const char *guest, const char *entry)
{
    const struct ended *ended = world_run_to_end(world, guest, entry);
    world_check_no_failures(world);
    check_reason(ended, VIV_REASON_NORMAL, 0);
}

// ---- the world ----

void world_add_host(struct world *world, struct viv_env *env)
{
    static struct host_state states[8]; // of one program, which runs one case
    static size_t count;
    CHECK(count < VIV_COUNT_OF(states));
    states[count].world = world;
    const uint32_t ready = atomic_load(&world->hosts_ready);
    viv_pid pid;
    TRY(viv_host_spawn(
        &(struct viv_host_spec){.env = env, .fn = step_host, .arg = &states[count++]}, &pid));
    if (env == world->env) world->host_pid = pid;
    CHECK_WAIT(atomic_load(&world->hosts_ready) > ready, WAIT_SECONDS, print_state(world));
}

void world_open(struct world *world)
{
    struct viv_kernel_config config = {.worker_count = world->workers};
    CHECK(pthread_mutex_init(&world->lock, NULL) == 0);
    TRY(viv_kernel_new(&config, &world->kernel));
    TRY(viv_env_new(world->kernel, 1, &world->limits, &world->env));
    TRY(viv_room_open(world->kernel, &world->room));
    TRY(viv_room_add_env(world->room, world->env, NULL));
    const struct viv_runtime_config runtime_config = {.kernel = world->kernel,
                                                      .room = world->room,
                                                      .cache_dir = world->no_cache ? NULL : "cache",
                                                      .network = true};
    TRY(viv_runtime_new(&runtime_config, &world->runtime));
    viv_kernel_on_ended(world->kernel, on_ended, world);
    world->config = viv_config_new();
    CHECK(world->config != NULL);
    world->config->rights = VIV_RIGHT_ALL;
    TRY(viv_kernel_start(world->kernel));
    world_add_host(world, world->env);
}

void world_close(struct world *world)
{
    if (viv_kernel_stop(world->kernel, 20 * VIV_NS_PER_SEC * check_env_u64("VIV_TIME_FACTOR", 1)) !=
        VIV_OK) {
        print_state(world);
        check_fail(__FILE__, __LINE__, "some processes did not end when the kernel stopped");
    }
    CHECK(viv_kernel_proc_count(world->kernel) == 0);
    viv_config_drop(world->config);
    for (size_t i = 0; i < world->module_count; i++)
        viv_module_drop(world->modules[i]);
    viv_room_close(world->room);
    viv_runtime_free(world->runtime);
    viv_kernel_free(world->kernel);
    free(world->notes);
    for (size_t i = 0; i < world->end_count; i++) {
        free(world->ends[i].text);
        free(world->ends[i].detail);
    }
    free(world->ends);
    for (struct kept *kept = world->kept, *next; kept != NULL; kept = next) {
        next = kept->next;
        free(kept);
    }
}

uint64_t conform_rss_bytes(void)
{
    return viv_vm_rss_bytes();
}

uint64_t conform_cpu_ns(void)
{
    struct rusage use;
    CHECK(getrusage(RUSAGE_SELF, &use) == 0);
    const uint64_t s = (uint64_t)(use.ru_utime.tv_sec + use.ru_stime.tv_sec);
    return s * VIV_NS_PER_SEC + (uint64_t)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1000;
}
