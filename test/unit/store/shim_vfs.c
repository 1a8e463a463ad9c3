// SPDX-License-Identifier: Apache-2.0
// The watched files: see shim_vfs.h. Global state, as the library has; the mutex covers all of it.
#include "shim_vfs.h"

#include "harness/check.h"
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES_MAX = 8, NAME_BYTES = 64, SECTOR = 512 };

struct image { // a file's bytes
    uint8_t *data;
    size_t len;
    bool is_there;
};

struct event {
    enum shim_call call;
    int file;
    size_t at, len; // TRUNCATE: at is the length
    uint8_t *data;  // WRITE
};

static struct {
    pthread_mutex_t mutex;
    sqlite3_vfs *real;
    unsigned calls;
    uint64_t nth;
    enum shim_how how;
    bool lasts, was_hit, is_recording, lies;
    uint64_t counts[SHIM_CALLS];
    char suffix[NAME_BYTES];
    char names[FILES_MAX][NAME_BYTES];
    struct image first[FILES_MAX];
    int file_count;
    struct event *events;
    size_t event_count, event_room;
    size_t folder_synced; // the files that there are, up to this call
} shim = {.mutex = PTHREAD_MUTEX_INITIALIZER};

struct file {
    sqlite3_file base;
    char name[NAME_BYTES]; // the last part of its path; "": of nobody's concern
    sqlite3_file *real;    // behind this
};

static struct file *file_of(sqlite3_file *base)
{
    return (struct file *)(void *)base;
}

static const char *last_part(const char *path)
{
    const char *slash = path == NULL ? NULL : strrchr(path, '/');
    return path == NULL ? "" : slash == NULL ? path : slash + 1;
}

// ---- faults ----

// Whether this call goes wrong.
static bool is_hit(enum shim_call call, const char *name)
{
    bool is_now = false;
    pthread_mutex_lock(&shim.mutex);
    shim.counts[call]++;
    if ((shim.calls & SHIM_BIT(call)) != 0 && shim.nth > 0) {
        is_now = shim.nth == 1;
        if (shim.nth > 1) shim.nth--;
        if (is_now && !shim.lasts) shim.calls = 0;
    }
    if (is_now) {
        const char *dash = strrchr(name, '-');
        shim.was_hit = true;
        (void)snprintf(shim.suffix, sizeof shim.suffix, "%s", dash == NULL ? "" : dash);
    }
    pthread_mutex_unlock(&shim.mutex);
    if (is_now && shim.how == SHIM_KILL && call != SHIM_WRITE) (void)raise(SIGKILL);
    return is_now;
}

static int code_of(int code)
{
    return shim.how == SHIM_FULL ? SQLITE_FULL : code;
}

// ---- records ----

static int find_file(const char *name)
{
    for (int i = 0; i < shim.file_count; i++)
        if (strcmp(shim.names[i], name) == 0) return i;
    CHECK(shim.file_count < FILES_MAX);
    (void)snprintf(shim.names[shim.file_count], NAME_BYTES, "%s", name);
    shim.first[shim.file_count] = (struct image){0};
    return shim.file_count++;
}

static void record(const char *name, const struct event *event)
{
    pthread_mutex_lock(&shim.mutex);
    if (shim.is_recording && *name != '\0') {
        if (shim.event_count == shim.event_room) {
            shim.event_room = shim.event_room == 0 ? 1024 : 2 * shim.event_room;
            shim.events = realloc(shim.events, shim.event_room * sizeof *shim.events);
            CHECK(shim.events != NULL);
        }
        struct event *own = &shim.events[shim.event_count++];
        *own = *event;
        own->file = find_file(name);
        if (event->data != NULL) {
            own->data = malloc(event->len);
            CHECK(own->data != NULL);
            memcpy(own->data, event->data, event->len);
        }
    }
    pthread_mutex_unlock(&shim.mutex);
}

// ---- a file ----

static int do_close(sqlite3_file *base)
{
    struct file *file = file_of(base);
    return file->real->pMethods->xClose(file->real);
}

static int do_read(sqlite3_file *base, void *out, int len, sqlite3_int64 at)
{
    struct file *file = file_of(base);
    if (is_hit(SHIM_READ, file->name)) return SQLITE_IOERR_READ;
    return file->real->pMethods->xRead(file->real, out, len, at);
}

static int do_write(sqlite3_file *base, const void *data, int len, sqlite3_int64 at)
{
    struct file *file = file_of(base);
    const bool fails = is_hit(SHIM_WRITE, file->name);
    const bool is_half = fails && (shim.how == SHIM_SHORT || shim.how == SHIM_KILL);
    const int part = is_half ? len / 2 : fails ? 0 : len;
    union { // the library does not write to it
        const void *given;
        uint8_t *bytes;
    } from = {data};
    int code = SQLITE_OK;
    if (part > 0) code = file->real->pMethods->xWrite(file->real, data, part, at);
    if (code == SQLITE_OK && part > 0)
        record(file->name,
               &(struct event){
                   .call = SHIM_WRITE, .at = (size_t)at, .len = (size_t)part, .data = from.bytes});
    if (fails && shim.how == SHIM_KILL) (void)raise(SIGKILL);
    return fails ? code_of(SQLITE_IOERR_WRITE) : code;
}

static int do_truncate(sqlite3_file *base, sqlite3_int64 len)
{
    struct file *file = file_of(base);
    if (is_hit(SHIM_TRUNCATE, file->name)) return code_of(SQLITE_IOERR_TRUNCATE);
    const int code = file->real->pMethods->xTruncate(file->real, len);
    if (code == SQLITE_OK)
        record(file->name, &(struct event){.call = SHIM_TRUNCATE, .at = (size_t)len});
    return code;
}

static int do_sync(sqlite3_file *base, int flags)
{
    struct file *file = file_of(base);
    if (is_hit(SHIM_SYNC, file->name)) return SQLITE_IOERR_FSYNC;
    const int code = file->real->pMethods->xSync(file->real, flags);
    if (code == SQLITE_OK && !shim.lies) record(file->name, &(struct event){.call = SHIM_SYNC});
    return code;
}

static int do_size(sqlite3_file *base, sqlite3_int64 *out)
{
    return file_of(base)->real->pMethods->xFileSize(file_of(base)->real, out);
}

static int do_lock(sqlite3_file *base, int level)
{
    return file_of(base)->real->pMethods->xLock(file_of(base)->real, level);
}

static int do_unlock(sqlite3_file *base, int level)
{
    return file_of(base)->real->pMethods->xUnlock(file_of(base)->real, level);
}

static int do_check_lock(sqlite3_file *base, int *out)
{
    return file_of(base)->real->pMethods->xCheckReservedLock(file_of(base)->real, out);
}

static int do_control(sqlite3_file *base, int op, void *arg)
{
    return file_of(base)->real->pMethods->xFileControl(file_of(base)->real, op, arg);
}

static int get_sector(sqlite3_file *base)
{
    return file_of(base)->real->pMethods->xSectorSize(file_of(base)->real);
}

static int get_traits(sqlite3_file *base)
{
    return file_of(base)->real->pMethods->xDeviceCharacteristics(file_of(base)->real);
}

static int do_shm_map(sqlite3_file *base, int page, int bytes, int extends, void volatile **out)
{
    struct file *file = file_of(base);
    if (extends && is_hit(SHIM_GROW, file->name)) return SQLITE_IOERR_SHMSIZE;
    return file->real->pMethods->xShmMap(file->real, page, bytes, extends, out);
}

static int do_shm_lock(sqlite3_file *base, int offset, int count, int flags)
{
    return file_of(base)->real->pMethods->xShmLock(file_of(base)->real, offset, count, flags);
}

static void do_shm_barrier(sqlite3_file *base)
{
    file_of(base)->real->pMethods->xShmBarrier(file_of(base)->real);
}

static int do_shm_unmap(sqlite3_file *base, int deletes)
{
    return file_of(base)->real->pMethods->xShmUnmap(file_of(base)->real, deletes);
}

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = do_close,
                                           .xRead = do_read,
                                           .xWrite = do_write,
                                           .xTruncate = do_truncate,
                                           .xSync = do_sync,
                                           .xFileSize = do_size,
                                           .xLock = do_lock,
                                           .xUnlock = do_unlock,
                                           .xCheckReservedLock = do_check_lock,
                                           .xFileControl = do_control,
                                           .xSectorSize = get_sector,
                                           .xDeviceCharacteristics = get_traits,
                                           .xShmMap = do_shm_map,
                                           .xShmLock = do_shm_lock,
                                           .xShmBarrier = do_shm_barrier,
                                           .xShmUnmap = do_shm_unmap};

// ---- the system of files ----

static int do_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out)
{
    struct file *file = file_of(base);
    (void)vfs;
    file->base.pMethods = NULL;
    file->real = (sqlite3_file *)(void *)(file + 1);
    file->real->pMethods = NULL;
    (void)snprintf(file->name, sizeof file->name, "%s", last_part(name));
    if (is_hit(SHIM_OPEN, file->name)) return code_of(SQLITE_CANTOPEN);
    const int code = shim.real->xOpen(shim.real, name, file->real, flags, out);
    if (file->real->pMethods != NULL) file->base.pMethods = &methods;
    if (code == SQLITE_OK && (flags & SQLITE_OPEN_CREATE) != 0)
        record(file->name, &(struct event){.call = SHIM_OPEN});
    return code;
}

static int do_delete(sqlite3_vfs *vfs, const char *name, int syncs)
{
    (void)vfs;
    if (is_hit(SHIM_DELETE, last_part(name))) return SQLITE_IOERR_DELETE;
    const int code = shim.real->xDelete(shim.real, name, syncs);
    if (code == SQLITE_OK) record(last_part(name), &(struct event){.call = SHIM_DELETE});
    return code;
}

void shim_install(void)
{
    static sqlite3_vfs own;
    shim.real = sqlite3_vfs_find(NULL);
    own = *shim.real;
    own.zName = "shim";
    own.szOsFile = (int)sizeof(struct file) + shim.real->szOsFile;
    own.xOpen = do_open;
    own.xDelete = do_delete;
    CHECK(sqlite3_vfs_register(&own, 1) == SQLITE_OK);
}

void shim_fail(unsigned calls, uint64_t nth, enum shim_how how, bool lasts)
{
    pthread_mutex_lock(&shim.mutex);
    shim.calls = calls;
    shim.nth = nth;
    shim.how = how;
    shim.lasts = lasts;
    shim.was_hit = false;
    pthread_mutex_unlock(&shim.mutex);
}

bool shim_was_hit(void)
{
    pthread_mutex_lock(&shim.mutex);
    const bool was_hit = shim.was_hit;
    pthread_mutex_unlock(&shim.mutex);
    return was_hit;
}

const char *shim_hit_suffix(void)
{
    return shim.suffix;
}

uint64_t shim_count(enum shim_call call)
{
    pthread_mutex_lock(&shim.mutex);
    const uint64_t count = shim.counts[call];
    pthread_mutex_unlock(&shim.mutex);
    return count;
}

// ---- loss of power ----

static void read_image(const char *folder, const char *name, struct image *out)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) return;
    CHECK(fseek(file, 0, SEEK_END) == 0);
    out->len = (size_t)ftell(file);
    rewind(file);
    out->data = malloc(out->len + 1);
    CHECK(out->data != NULL && fread(out->data, 1, out->len, file) == out->len);
    CHECK(fclose(file) == 0);
    out->is_there = true;
}

void shim_record(const char *folder)
{
    static const char *const names[] = {"s.db", "s.db-wal"};
    pthread_mutex_lock(&shim.mutex);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const int file = find_file(names[i]);
        read_image(folder, names[i], &shim.first[file]);
    }
    shim.is_recording = true;
    pthread_mutex_unlock(&shim.mutex);
}

size_t shim_recorded(void)
{
    pthread_mutex_lock(&shim.mutex);
    const size_t count = shim.event_count;
    pthread_mutex_unlock(&shim.mutex);
    return count;
}

void shim_record_folder(void)
{
    pthread_mutex_lock(&shim.mutex);
    shim.folder_synced = shim.event_count;
    pthread_mutex_unlock(&shim.mutex);
}

void shim_record_stop(void)
{
    pthread_mutex_lock(&shim.mutex);
    shim.is_recording = false;
    pthread_mutex_unlock(&shim.mutex);
}

void shim_lie(bool lies)
{
    shim.lies = lies;
}

void shim_record_forget(void)
{
    for (size_t i = 0; i < shim.event_count; i++)
        free(shim.events[i].data);
    free(shim.events);
    for (int i = 0; i < shim.file_count; i++)
        free(shim.first[i].data);
    shim.events = NULL;
    shim.folder_synced = 0;
    shim.event_count = shim.event_room = 0;
    shim.file_count = 0;
}

static void put_bytes(struct image *image, size_t at, const uint8_t *data, size_t len)
{
    if (at + len > image->len) {
        image->data = realloc(image->data, at + len);
        CHECK(image->data != NULL);
        memset(image->data + image->len, 0, at + len - image->len);
        image->len = at + len;
    }
    memcpy(image->data + at, data, len);
}

static void apply(struct image *image, const struct event *event)
{
    switch (event->call) {
    case SHIM_OPEN:
        image->is_there = true;
        break;
    case SHIM_DELETE:
        *image = (struct image){.data = image->data};
        break;
    case SHIM_WRITE:
        put_bytes(image, event->at, event->data, event->len);
        break;
    case SHIM_TRUNCATE:
        if (event->at < image->len) image->len = event->at;
        break;
    case SHIM_READ:
    case SHIM_SYNC:
    case SHIM_GROW:
    case SHIM_CALLS:
        break;
    }
}

static uint32_t draw(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

// Nothing of it, all of it, or each sector by itself.
static void apply_by_chance(struct image *image, const struct event *event, uint64_t *seed)
{
    const uint32_t what = draw(seed) % 3;
    if (what == 0) return;
    if (what == 1 || event->call != SHIM_WRITE) {
        apply(image, event);
        return;
    }
    for (size_t done = 0; done < event->len;) {
        const size_t left = SECTOR - (event->at + done) % SECTOR;
        const size_t len = left < event->len - done ? left : event->len - done;
        if (draw(seed) % 2 == 0) put_bytes(image, event->at + done, event->data + done, len);
        done += len;
    }
}

static void play_file(int file, size_t moment, uint64_t *seed, struct image *image)
{
    const struct image *first = &shim.first[file];
    size_t synced = 0; // the calls up to here are on the disk
    *image = (struct image){.is_there = first->is_there};
    if (first->len > 0) put_bytes(image, 0, first->data, first->len);
    for (size_t i = 0; i < moment; i++)
        if (shim.events[i].file == file && shim.events[i].call == SHIM_SYNC) synced = i + 1;
    const uint32_t mood = draw(seed) % 4; // all is lost, all is there, or by chance
    for (size_t i = 0; i < moment; i++) {
        if (shim.events[i].file != file) continue;
        const bool is_name = shim.events[i].call == SHIM_OPEN || shim.events[i].call == SHIM_DELETE;
        const bool is_kept =
            i < synced || (is_name && i < shim.folder_synced && shim.folder_synced <= moment);
        if (is_kept || mood == 0)
            apply(image, &shim.events[i]);
        else if (mood != 1)
            apply_by_chance(image, &shim.events[i], seed);
    }
}

void shim_play_loss(size_t moment, uint64_t seed, const char *to)
{
    (void)draw(&seed);
    for (int file = 0; file < shim.file_count; file++) {
        char path[512];
        struct image image;
        play_file(file, moment, &seed, &image);
        (void)snprintf(path, sizeof path, "%s/%s", to, shim.names[file]);
        if (image.is_there) {
            FILE *out = fopen(path, "wb");
            CHECK(out != NULL && fwrite(image.data, 1, image.len, out) == image.len);
            CHECK(fclose(out) == 0);
        }
        free(image.data);
    }
}
