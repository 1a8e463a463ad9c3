// SPDX-License-Identifier: Apache-2.0
// Of a store in a file of SQLite: its own check, and a copy. Both read a snapshot over a connection
// of their own, and take no lock that anybody waits for.
#include "store/admin.h"

#include "base/hash.h"
#include "os/file.h"
#include "os/rand.h"
#include "store/sqlite/seal.h"
#include "store/sqlite/sqlite_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { FINDINGS_MAX = 100, EPOCH_BYTES = 8, BUSY_MS = 15000 };

static enum viv_err fail(struct viv_store_diag *err, sqlite3 *handle, int code)
{
    return viv_diag_set(err == NULL ? NULL : &err->d, viv_sqlite__translate(code), "%s",
                        handle == NULL ? sqlite3_errstr(code) : sqlite3_errmsg(handle));
}

static enum viv_err path_of(struct viv_str url, char out[VIV_SQLITE_PATH_BYTES],
                            struct viv_store_diag *err)
{
    static const char scheme[] = "sqlite:";
    const size_t len = sizeof scheme - 1;
    if (url.n <= len || memcmp(url.p, scheme, len) != 0)
        return viv_diag_set(err == NULL ? NULL : &err->d, VIV_E_UNSUPPORTED,
                            "only of a store in a file of SQLite");
    if (url.n - len >= VIV_SQLITE_PATH_BYTES || memchr(url.p, '\0', url.n) != NULL)
        return viv_diag_set(err == NULL ? NULL : &err->d, VIV_E_INVAL, "sqlite: not a path");
    (void)snprintf(out, VIV_SQLITE_PATH_BYTES, "%.*s", (int)(url.n - len), url.p + len);
    return VIV_OK;
}

static enum viv_err open_at(const char *path, int flags, sqlite3 **out_handle,
                            struct viv_store_diag *err)
{
    VIV_TRY(viv_seal_register());
    const int code = sqlite3_open_v2(path, out_handle, flags, VIV_SEAL_VFS);
    if (code == SQLITE_OK) {
        (void)sqlite3_busy_timeout(*out_handle, BUSY_MS);
        // The log stays: who closes last would move it, without the writer's lock.
        (void)sqlite3_db_config(*out_handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        return VIV_OK;
    }
    const enum viv_err result = (code & 0xff) == SQLITE_CANTOPEN
                                    ? viv_diag_set(err == NULL ? NULL : &err->d, VIV_E_NOTFOUND,
                                                   "%s: cannot be opened", path)
                                    : fail(err, *out_handle, code);
    (void)sqlite3_close(*out_handle);
    return result;
}

// ---- integrity_check ----

static enum viv_err read_findings(sqlite3_stmt *stmt, struct viv_mem *mem,
                                  struct viv_findings *findings, int *out_code)
{
    while ((*out_code = sqlite3_step(stmt)) == SQLITE_ROW && findings->count < FINDINGS_MAX) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        if (text == NULL) return VIV_E_EXHAUSTED;
        if (strcmp(text, "ok") == 0) continue;
        struct viv_finding *finding = &findings->items[findings->count];
        finding->rule = (struct viv_str){"integrity", strlen("integrity")};
        finding->text.n = strlen(text);
        finding->text.p = viv_mem_try_copy(mem, text, finding->text.n);
        if (finding->text.p == NULL) return VIV_E_EXHAUSTED;
        findings->count++;
    }
    return VIV_OK;
}

enum viv_err viv_store_check_file(struct viv_str url, struct viv_mem *mem,
                                  struct viv_findings *out_findings, struct viv_store_diag *err)
{
    char path[VIV_SQLITE_PATH_BYTES];
    sqlite3 *handle = NULL;
    sqlite3_stmt *stmt = NULL;
    struct viv_findings findings = {.count = 0};
    VIV_TRY(path_of(url, path, err));
    findings.items = viv_mem_try_take(mem, FINDINGS_MAX * sizeof *findings.items);
    if (findings.items == NULL) return VIV_E_EXHAUSTED;
    VIV_TRY(open_at(path, SQLITE_OPEN_READWRITE, &handle, err));
    enum viv_err result = VIV_OK;
    int code = sqlite3_prepare_v2(handle, "PRAGMA integrity_check(100)", -1, &stmt, NULL);
    if (code == SQLITE_OK) result = read_findings(stmt, mem, &findings, &code);
    if (result == VIV_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        result = fail(err, handle, code);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(handle);
    if (result == VIV_OK) *out_findings = findings;
    return result;
}

// ---- backup ----

static enum viv_err copy_to(sqlite3 *handle, const char *path, struct viv_store_diag *err)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(handle, "VACUUM INTO ?1", -1, &stmt, NULL);
    if (code == SQLITE_OK) code = sqlite3_bind_text(stmt, 1, path, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) code = sqlite3_step(stmt);
    const enum viv_err result = code == SQLITE_DONE ? VIV_OK : fail(err, handle, code);
    (void)sqlite3_finalize(stmt);
    return result;
}

// A copy is another store, as far as cursors go; writing that also brings it to the disk.
static enum viv_err renew_epoch(const char *path, struct viv_store_diag *err)
{
    uint8_t bytes[EPOCH_BYTES];
    char hex[2 * EPOCH_BYTES + 1], sql[128];
    sqlite3 *handle = NULL;
    VIV_TRY(viv_os_random(bytes, sizeof bytes));
    viv_hex_encode(bytes, sizeof bytes, hex);
    (void)snprintf(sql, sizeof sql,
                   "PRAGMA synchronous=FULL; UPDATE meta SET value='%s' WHERE key='epoch'", hex);
    VIV_TRY(open_at(path, SQLITE_OPEN_READWRITE, &handle, err));
    const int code = sqlite3_exec(handle, sql, NULL, NULL, NULL);
    const enum viv_err result = code == SQLITE_OK ? VIV_OK : fail(err, handle, code);
    (void)sqlite3_close(handle);
    return result;
}

static enum viv_err sync_file(const char *path)
{
    const int fd = viv_os_open(path, O_RDONLY, 0);
    if (fd < 0) return VIV_E_IO;
    const int r = viv_os_fsync(fd);
    VIV_IGNORE(viv_os_close(fd), "nothing was written to it");
    return r < 0 ? VIV_E_IO : VIV_OK;
}

enum viv_err viv_store_backup(struct viv_str url, struct viv_str path, struct viv_store_diag *err)
{
    char from[VIV_SQLITE_PATH_BYTES], to[VIV_SQLITE_PATH_BYTES], part[VIV_SQLITE_PATH_BYTES + 8];
    struct stat found;
    sqlite3 *handle = NULL;
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    VIV_TRY(path_of(url, from, err));
    if (path.n == 0 || path.n >= sizeof to || memchr(path.p, '\0', path.n) != NULL)
        return viv_diag_set(diag, VIV_E_INVAL, "the copy: not a path");
    (void)snprintf(to, sizeof to, "%.*s", (int)path.n, path.p);
    (void)snprintf(part, sizeof part, "%s.part", to);
    const int r = viv_os_fstatat(AT_FDCWD, to, &found, 0);
    if (r == 0) return viv_diag_set(diag, VIV_E_EXISTS, "%s: is there already", to);
    if (r != -ENOENT) return viv_diag_set(diag, VIV_E_IO, "%s: %s", to, strerror(-r));
    VIV_TRY(open_at(from, SQLITE_OPEN_READWRITE, &handle, err));
    (void)viv_os_unlinkat(AT_FDCWD, part, 0); // of a copy that was broken off
    enum viv_err result = copy_to(handle, part, err);
    (void)sqlite3_close(handle);
    if (result == VIV_OK) result = renew_epoch(part, err);
    if (result == VIV_OK) result = sync_file(part);
    if (result == VIV_OK && viv_os_renameat(AT_FDCWD, part, AT_FDCWD, to) < 0) result = VIV_E_IO;
    if (result != VIV_OK) {
        (void)viv_os_unlinkat(AT_FDCWD, part, 0);
        return result;
    }
    result = viv_sqlite__sync_folder(to);
    if (result != VIV_OK) (void)viv_os_unlinkat(AT_FDCWD, to, 0); // nobody was told of it
    return result;
}
