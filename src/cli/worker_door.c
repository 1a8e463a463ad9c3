// SPDX-License-Identifier: Apache-2.0
// The socket of a worker's runs (worker_door.h). Threads: one accepts, one serves each connection;
// the launcher's tell which runs there are. The mutex guards runs and connections; it is not held
// while the store is called.
#include "cli/worker_door.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/list.h"
#include "ctl/frame.h"
#include "ctl/place.h"
#include "os/file.h"
#include "os/local.h"
#include "os/rand.h"
#include "os/thread.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CONNS = 64, TOKEN_BYTES = 16, READ_BYTES = 16 << 10, IDLE_MS = 60000, SEND_MS = 10000 };
enum { ENTRIES_BYTES = 4096 };

struct entry { // a run
    struct viv_list node;
    struct viv_run *run;
    char token[2 * TOKEN_BYTES + 1];
};

struct conn {
    struct viv_worker_door *door;
    struct viv_thread *thread; // NULL: the place is free
    int fd;
    bool is_over; // its thread can be joined
    struct viv_buf in;
};

struct viv_worker_door {
    struct viv_store *store;
    char path[VIV_LOCAL_PATH_MAX + 1];
    int fd, stop_fds[2]; // closing the second ends all that wait
    struct viv_thread *thread;
    struct viv_mutex mutex;
    struct viv_list entries;
    struct conn conns[CONNS];
};

// ---- runs ----

static enum viv_err add_run(void *arg, struct viv_run *run,
                            char out_address[VIV_LAUNCH_ADDRESS_BYTES])
{
    struct viv_worker_door *door = arg;
    uint8_t bytes[TOKEN_BYTES];
    struct entry *entry = viv_try_calloc(1, sizeof *entry, VIV_TAG_CLI);
    if (entry == NULL) return VIV_E_EXHAUSTED;
    const enum viv_err err = viv_os_random(bytes, sizeof bytes);
    if (err != VIV_OK) {
        viv_free(entry, sizeof *entry, VIV_TAG_CLI);
        return err;
    }
    viv_hex_encode(bytes, sizeof bytes, entry->token);
    entry->run = run;
    viv_mutex_lock(&door->mutex);
    viv_list_append(&door->entries, &entry->node);
    viv_mutex_unlock(&door->mutex);
    (void)snprintf(out_address, VIV_LAUNCH_ADDRESS_BYTES, "%s#%s", door->path, entry->token);
    return VIV_OK;
}

static void remove_run(void *arg, struct viv_run *run)
{
    struct viv_worker_door *door = arg;
    struct entry *found = NULL;
    viv_mutex_lock(&door->mutex);
    for (struct viv_list *at = door->entries.next; at != &door->entries; at = at->next)
        if (VIV_CONTAINER_OF(at, struct entry, node)->run == run)
            found = VIV_CONTAINER_OF(at, struct entry, node);
    if (found != NULL) viv_list_remove(&found->node);
    viv_mutex_unlock(&door->mutex);
    if (found != NULL) viv_free(found, sizeof *found, VIV_TAG_CLI);
}

// Its id (in mem) and fence, if it may still have effects.
static enum viv_err find_run(struct viv_worker_door *door, const char *token,
                             struct viv_door_call *call)
{
    enum viv_err err = VIV_STORE_FENCED;
    viv_mutex_lock(&door->mutex);
    for (struct viv_list *at = door->entries.next; at != &door->entries; at = at->next) {
        const struct entry *entry = VIV_CONTAINER_OF(at, struct entry, node);
        if (token == NULL || strcmp(entry->token, token) != 0 || !viv_run_is_live(entry->run))
            continue;
        const struct viv_lease *lease = viv_run_lease(entry->run);
        call->fence = lease->f;
        call->id =
            (struct viv_str){viv_mem_try_copy(call->mem, lease->id.p, lease->id.n), lease->id.n};
        err = call->id.p == NULL ? VIV_E_EXHAUSTED : VIV_OK;
    }
    viv_mutex_unlock(&door->mutex);
    return err;
}

// ---- one connection ----

// False: the door closes, or the time is over.
static bool wait_for(const struct conn *conn, short events, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = conn->fd, .events = events},
                            {.fd = conn->door->stop_fds[0], .events = POLLIN}};
    return viv_os_poll_fds(fds, 2, timeout_ms) > 0 && fds[1].revents == 0;
}

// The client asked and waits; anything that comes meanwhile is its end.
static bool goes_on(void *arg)
{
    struct pollfd fds[2] = {{.fd = ((struct conn *)arg)->fd, .events = POLLIN},
                            {.fd = ((struct conn *)arg)->door->stop_fds[0], .events = POLLIN}};
    return viv_os_poll_fds(fds, 2, 0) == 0;
}

static bool next_frame(struct conn *conn, size_t *used, struct viv_frame *out_frame)
{
    memmove(conn->in.data, conn->in.data + *used, conn->in.len_bytes - *used);
    conn->in.len_bytes -= *used;
    for (;;) {
        const enum viv_err err =
            conn->in.len_bytes == 0
                ? VIV_E_AGAIN
                : viv_frame_take(conn->in.data, conn->in.len_bytes, out_frame, used);
        if (err != VIV_E_AGAIN) return err == VIV_OK;
        if (viv_buf_reserve(&conn->in, READ_BYTES) != VIV_OK) return false;
        if (!wait_for(conn, POLLIN, IDLE_MS)) return false;
        const ssize_t n = viv_os_read(conn->fd, conn->in.data + conn->in.len_bytes, READ_BYTES);
        if (n <= 0 && n != -EAGAIN) return false;
        if (n > 0) conn->in.len_bytes += (size_t)n;
    }
}

static bool send_value(struct conn *conn, enum viv_frame_type type, uint32_t request,
                       VIV_OWN json_t *value)
{
    struct viv_buf out;
    size_t at = 0;
    viv_buf_init(&out, VIV_TAG_CLI);
    bool is_good = value != NULL && viv_frame_put_json(&out, type, request, value) == VIV_OK;
    while (is_good && at < out.len_bytes) {
        const ssize_t n = viv_os_local_send(conn->fd, out.data + at, out.len_bytes - at);
        is_good = n > 0 || (n == -EAGAIN && wait_for(conn, POLLOUT, SEND_MS));
        if (n > 0) at += (size_t)n;
    }
    viv_buf_deinit(&out);
    json_decref(value);
    return is_good;
}

static json_t *show_error(enum viv_err err, const char *detail)
{
    json_t *value = json_object();
    viv_json_put(&value, "error", json_string(viv_err_name(err)));
    viv_json_put(&value, "code", json_integer((json_int_t)err));
    if (detail[0] != '\0') viv_json_put(&value, "detail", json_string(detail));
    return value;
}

static bool answer(struct conn *conn, const struct viv_frame *frame)
{
    struct viv_mem mem;
    struct viv_store_diag diag = {.d = {""}};
    json_t *call = NULL, *value = NULL;
    viv_mem_init(&mem, VIV_TAG_CLI);
    enum viv_err err = viv_json_parse(frame->payload, frame->len, &call);
    struct viv_door_call what = {.store = conn->door->store,
                                 .args = json_object_get(call, "args"),
                                 .mem = &mem,
                                 .diag = &diag,
                                 .goes_on = goes_on,
                                 .arg = conn};
    if (err == VIV_OK) err = find_run(conn->door, viv_json_get_text(what.args, "token"), &what);
    if (err == VIV_STORE_FENCED)
        (void)viv_diag_set(&diag.d, err, "the run is not, or no more, the process's");
    if (err == VIV_OK) err = viv_door__run(viv_json_get_text(call, "verb"), &what, &value);
    json_decref(call);
    viv_mem_deinit(&mem);
    return err == VIV_OK
               ? send_value(conn, VIV_FRAME_RESULT, frame->request, value)
               : send_value(conn, VIV_FRAME_ERROR, frame->request, show_error(err, diag.d.text));
}

static bool greet(struct conn *conn)
{
    json_t *hello = json_object();
    viv_json_put(&hello, "protocol", json_integer(VIV_CTL_PROTOCOL));
    return send_value(conn, VIV_FRAME_HELLO, 0, hello);
}

static bool is_ours(int fd)
{
    struct viv_peer peer;
    return viv_os_local_peer(fd, &peer) == 0 && (peer.uid == geteuid() || peer.uid == 0);
}

static void serve(void *arg)
{
    struct conn *conn = arg;
    struct viv_frame frame;
    size_t used = 0;
    viv_buf_init(&conn->in, VIV_TAG_CLI);
    bool is_good = is_ours(conn->fd) && viv_buf_reserve(&conn->in, READ_BYTES) == VIV_OK &&
                   next_frame(conn, &used, &frame) && frame.type == VIV_FRAME_HELLO && greet(conn);
    while (is_good && next_frame(conn, &used, &frame) && frame.type == VIV_FRAME_CALL)
        is_good = answer(conn, &frame);
    viv_buf_deinit(&conn->in);
    VIV_IGNORE(viv_os_close(conn->fd), "nothing is left to be told");
    viv_mutex_lock(&conn->door->mutex);
    conn->is_over = true;
    viv_mutex_unlock(&conn->door->mutex);
}

// ---- the one that accepts ----

static struct conn *find_place(struct viv_worker_door *door)
{
    struct conn *found = NULL;
    viv_mutex_lock(&door->mutex);
    for (size_t i = 0; i < CONNS && found == NULL; i++)
        if (door->conns[i].thread == NULL || door->conns[i].is_over) found = &door->conns[i];
    viv_mutex_unlock(&door->mutex);
    if (found != NULL && found->thread != NULL) viv_thread_join(found->thread);
    return found;
}

static void admit(struct viv_worker_door *door, int fd)
{
    struct conn *conn = find_place(door);
    if (conn != NULL) {
        *conn = (struct conn){.door = door, .fd = fd};
        if (viv_thread_start("viv-job", 0, serve, conn, &conn->thread) == VIV_OK) return;
        conn->thread = NULL;
    }
    VIV_IGNORE(viv_os_close(fd), "the client sees that it is closed");
}

static void accept_all(void *arg)
{
    struct viv_worker_door *door = arg;
    const struct conn listener = {.door = door, .fd = door->fd};
    while (wait_for(&listener, POLLIN, -1)) {
        const int fd = viv_os_local_accept(door->fd);
        if (fd >= 0) admit(door, fd);
        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
            (void)viv_os_poll_fd(door->stop_fds[0], POLLIN, 100); // others may end meanwhile
    }
}

// ---- opening, closing ----

// A socket of our kind at which nobody listens any more: its worker was killed.
static void remove_if_dead(const char *folder, const char *name)
{
    char path[VIV_CTL_DIR_MAX + NAME_MAX + 2];
    const size_t len = strlen(name);
    if (strncmp(name, "job-", 4) != 0 || len < 5 || strcmp(name + len - 5, ".sock") != 0) return;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    const int fd = viv_os_local_connect(path);
    if (fd >= 0) VIV_IGNORE(viv_os_close(fd), "it lives; nothing was asked");
    if (fd == -ECONNREFUSED) VIV_IGNORE(viv_os_unlinkat(AT_FDCWD, path, 0), "somebody else did");
}

static void remove_dead(const char *folder)
{
    _Alignas(struct dirent64) uint8_t entries[ENTRIES_BYTES];
    const int fd = viv_os_open(folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return;
    for (ssize_t n; (n = viv_os_getdents64(fd, entries, sizeof entries)) > 0;)
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            remove_if_dead(folder, entry->d_name);
            at += entry->d_reclen;
        }
    VIV_IGNORE(viv_os_close(fd), "a directory");
}

static enum viv_err listen_at(struct viv_worker_door *door, struct viv_diag *diag)
{
    struct viv_ctl_place place;
    VIV_TRY(viv_ctl_place_find(&place, diag));
    VIV_TRY(viv_ctl_place_make(&place, diag));
    const int len =
        snprintf(door->path, sizeof door->path, "%s/job-%d.sock", place.dir, (int)getpid());
    if ((size_t)len >= sizeof door->path)
        return viv_diag_set(diag, VIV_E_TOOBIG, "%.200s: too long for a socket", place.dir);
    remove_dead(place.dir);
    // Of one that had this number in another namespace.
    VIV_IGNORE(viv_os_unlinkat(AT_FDCWD, door->path, 0), "mostly there is none");
    door->fd = viv_os_local_listen(door->path);
    if (door->fd >= 0) return VIV_OK;
    return viv_diag_set(diag, VIV_E_IO, "%s: %s", door->path, strerror(-door->fd));
}

enum viv_err viv_worker_door_open(struct viv_store *store, struct viv_worker_door **out_door,
                                  struct viv_diag *diag)
{
    struct viv_worker_door *door = viv_try_calloc(1, sizeof *door, VIV_TAG_CLI);
    if (door == NULL) return VIV_E_EXHAUSTED;
    door->store = store;
    viv_mutex_init(&door->mutex);
    viv_list_init(&door->entries);
    enum viv_err err = viv_os_pipe(door->stop_fds) < 0 ? VIV_E_EXHAUSTED : listen_at(door, diag);
    if (err != VIV_OK) goto fail_listen;
    err = viv_thread_start("viv-door", 0, accept_all, door, &door->thread);
    if (err != VIV_OK) goto fail_thread;
    *out_door = door;
    return VIV_OK;
fail_thread:
    VIV_IGNORE(viv_os_close(door->fd), "nobody has come");
    VIV_IGNORE(viv_os_unlinkat(AT_FDCWD, door->path, 0), "the next one removes it");
fail_listen:
    for (int i = 0; i < 2 && door->stop_fds[1] > 0; i++)
        VIV_IGNORE(viv_os_close(door->stop_fds[i]), "nobody waits");
    viv_free(door, sizeof *door, VIV_TAG_CLI);
    return err;
}

void viv_worker_door_describe(struct viv_worker_door *door, struct viv_launch_door *out_launch)
{
    *out_launch = (struct viv_launch_door){.arg = door, .open = add_run, .close = remove_run};
}

void viv_worker_door_close(VIV_OWN struct viv_worker_door *door)
{
    if (door == NULL) return;
    VIV_ASSERT(viv_list_is_empty(&door->entries));
    VIV_IGNORE(viv_os_close(door->stop_fds[1]), "who waits sees the end of the pipe");
    viv_thread_join(door->thread);
    for (size_t i = 0; i < CONNS; i++)
        if (door->conns[i].thread != NULL) viv_thread_join(door->conns[i].thread);
    VIV_IGNORE(viv_os_close(door->fd), "nobody comes any more");
    VIV_IGNORE(viv_os_close(door->stop_fds[0]), "nobody waits");
    VIV_IGNORE(viv_os_unlinkat(AT_FDCWD, door->path, 0), "the next one removes it");
    viv_free(door, sizeof *door, VIV_TAG_CLI);
}
