// SPDX-License-Identifier: Apache-2.0
// guest-flags: -nostdlib -Wl,--no-entry -mbulk-memory -fno-builtin -Wl,--initial-memory=4194304
// Cases 97 and 98: no path leads out of a directory; a thousand files. What is laid out for 97 is
// told in ../wasi_files.c.
#include "guest_wasi.h"

// ---- 97: ways out ----

enum { INSIDE_BYTES = 600 }; // of every file inside, all 'i'; those outside have another size

static const char *outside; // absolute path of the directory outside: argument 1

static void read_arguments(void)
{
    static u32 argv[8];
    static char text[4096];
    u32 count, size;
    NEED_IS(args_sizes_get(P(&count), P(&size)), E_OK);
    NEED(count == 2 && size <= sizeof(text));
    NEED_IS(args_get(P(argv), P(text)), E_OK);
    outside = (const char *)(uintptr_t)argv[1];
}

// a and b one after the other; good until the third call after it.
static const char *joined(const char *a, const char *b)
{
    static char texts[3][1024];
    static u32 next;
    char *text = texts[next++ % 3];
    const u32 a_len = text_len(a), b_len = text_len(b);
    NEED(a_len + b_len < sizeof(texts[0]));
    copy_bytes(text, a, a_len);
    copy_bytes(text + a_len, b, b_len + 1);
    return text;
}

// Reads a whole open file, which must be one of those inside, and closes it.
static void need_inside(u32 fd)
{
    static u8 data[2 * INSIDE_BYTES];
    u32 n = 0;
    NEED_IS(read_some(fd, data, sizeof(data), &n), E_OK);
    NEED_IS(n, INSIDE_BYTES);
    for (u32 i = 0; i < n; i++)
        NEED_IS(data[i], 'i');
    NEED_IS(fd_close(fd), E_OK);
}

// No function that goes where the path leads gets there.
static void refuse(const char *path)
{
    struct filestat st;
    u32 fd;
    note_text(TAG_LOG, path);
    NEED_IS(open_at(DIR, path, 0, R_READ, &fd), E_PERM);
    NEED_IS(open_at(DIR, path, CREAT, R_READ | R_WRITE, &fd), E_PERM);
    NEED_IS(open_at(DIR, path, CREAT | TRUNC, R_WRITE, &fd), E_PERM);
    NEED_IS(open_dir(DIR, path, &fd), E_PERM);
    NEED_IS(path_filestat_get(DIR, FOLLOW, S(path), P(&st)), E_PERM);
    NEED_IS(path_filestat_set_times(DIR, FOLLOW, S(path), 1, 1, 5), E_PERM);
    NEED_IS(path_link(DIR, FOLLOW, S(path), DIR, S("stolen")), E_PERM);
    NEED(!exists_at(DIR, "stolen"));
}

// The directory named is outside, so a last component in it is as well, for functions that act on
// that component itself too.
static void refuse_beneath(const char *dir)
{
    const char *secret = joined(dir, "/secret"), *fresh = joined(dir, "/new");
    struct filestat st;
    char buf[64];
    u32 fd, n;
    refuse(secret);
    NEED_IS(path_open(DIR, 0, S(secret), 0, R_READ, 0, 0, P(&fd)), E_PERM);
    NEED_IS(path_open(DIR, 0, S(fresh), CREAT | EXCL, R_WRITE, 0, 0, P(&fd)), E_PERM);
    NEED_IS(path_filestat_get(DIR, 0, S(secret), P(&st)), E_PERM);
    NEED_IS(path_filestat_set_times(DIR, 0, S(secret), 1, 1, 5), E_PERM);
    NEED_IS(path_unlink_file(DIR, S(secret)), E_PERM);
    NEED_IS(path_link(DIR, 0, S(secret), DIR, S("stolen")), E_PERM);
    NEED_IS(path_link(DIR, 0, S("file"), DIR, S(fresh)), E_PERM);
    NEED_IS(path_rename(DIR, S(secret), DIR, S("stolen")), E_PERM);
    NEED_IS(path_rename(DIR, S("file"), DIR, S(fresh)), E_PERM);
    NEED_IS(path_create_directory(DIR, S(fresh)), E_PERM);
    NEED_IS(path_symlink(S("file"), DIR, S(fresh)), E_PERM);
    const char *link = joined(dir, "/link"), *empty = joined(dir, "/empty");
    NEED_IS(path_readlink(DIR, S(link), P(buf), sizeof(buf), P(&n)), E_PERM);
    NEED_IS(path_remove_directory(DIR, S(empty)), E_PERM);
    NEED(!exists_at(DIR, "stolen"));
}

CASE(case_097_dots)
{
    u32 fd, sub;
    read_arguments();
    refuse("..");
    refuse("../inside");
    refuse("../inside/file"); // back again is not better
    refuse("sub/../..");
    refuse("sub/deep/../../../outside/secret");
    refuse("./../outside/secret");
    refuse_beneath("../outside");
    refuse_beneath("sub/../../outside");
    // the same from a directory that the guest has opened itself
    NEED_IS(open_dir(DIR, "sub", &sub), E_OK);
    NEED_IS(open_at(sub, "../file", 0, R_READ, &fd), E_PERM);
    NEED_IS(open_at(sub, "../../outside/secret", 0, R_READ, &fd), E_PERM);
    NEED_IS(open_at(sub, "link_up", 0, R_READ, &fd), E_PERM);
    NEED_IS(path_rename(DIR, S("file"), sub, S("../../outside/new")), E_PERM);
    // `..` that stays inside is fine
    NEED_IS(open_at(DIR, "sub/../file", 0, R_READ, &fd), E_OK);
    need_inside(fd);
    NEED_IS(open_at(DIR, "sub/deep/../../link_in", 0, R_READ, &fd), E_OK);
    need_inside(fd);
}

CASE(case_097_absolute)
{
    u32 fd;
    read_arguments();
    refuse("/");
    refuse("//");
    refuse("/etc/passwd");
    refuse("/proc/self/root/etc/passwd");
    refuse(outside);
    refuse_beneath(outside);
    refuse(joined(outside, "/../inside/file"));
    NEED_IS(path_symlink(S(outside), DIR, S("own")), E_PERM);
    NEED_IS(path_symlink(S("/"), DIR, S("own")), E_PERM);
    NEED(!exists_at(DIR, "own"));
    NEED_IS(open_at(DIR, "file", 0, R_READ, &fd), E_OK);
    need_inside(fd);
}

CASE(case_097_symlink)
{
    static const char *const links[] = {"link_rel",     "link_abs",    "link_chain", "link_dir",
                                        "link_dir_abs", "link_abs_in", "sub/link_up"};
    struct filestat st;
    char buf[64];
    u32 fd, n;
    read_arguments();
    for (u32 i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        refuse(links[i]);
        // the link itself is inside
        NEED_IS(path_open(DIR, 0, S(links[i]), 0, R_READ, 0, 0, P(&fd)), E_LOOP);
        NEED_IS(path_filestat_get(DIR, 0, S(links[i]), P(&st)), E_OK);
        NEED_IS(st.type, TYPE_SYMLINK);
    }
    refuse("link_new"); // to a name outside that is not there yet
    refuse("link_dir/../inside/file");
    NEED_IS(open_dir(DIR, "link_dir/", &fd), E_PERM);
    NEED_IS(path_filestat_get(DIR, 0, S("link_dir/"), P(&st)), E_PERM);
    refuse_beneath("link_dir");
    refuse_beneath("link_dir_abs");
    refuse_beneath("sub/../link_dir");
    // what the guest makes itself is no better
    NEED_IS(path_symlink(S("../outside"), DIR, S("own")), E_OK);
    refuse("own");
    refuse_beneath("own");
    NEED_IS(path_rename(DIR, S("own"), DIR, S("sub/own")), E_OK);
    NEED_IS(path_readlink(DIR, S("sub/own"), P(buf), sizeof(buf), P(&n)), E_OK);
    NEED(n == 10 && same_bytes(buf, "../outside", 10));
    NEED_IS(path_unlink_file(DIR, S("sub/own")), E_OK);
    // links that stay inside are fine
    NEED_IS(open_at(DIR, "link_in", 0, R_READ, &fd), E_OK);
    need_inside(fd);
    NEED_IS(open_at(DIR, "sub/link_home/link_in", 0, R_READ, &fd), E_OK);
    need_inside(fd);
}

// ---- 97: while names are swapped ----

static u32 reached, refused;

// Counts; a refusal is one of those that a rename may bring about.
static bool came_through(u32 error)
{
    if (error == E_OK)
        reached++;
    else if (error == E_PERM || error == E_AGAIN)
        refused++;
    else if (error != E_NOENT)
        need_failed(__LINE__, "success, perm, again or noent", error);
    return error == E_OK;
}

// Reads through every name that is sometimes a way out.
static void read_swapped(void)
{
    static const char *const paths[] = {"swap", "swap_abs", "dir/secret", "walk/sub/../secret",
                                        "walk/sub/deep/../../secret"};
    struct filestat st;
    u32 fd;
    for (u32 i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (came_through(open_at(DIR, paths[i], 0, R_READ, &fd))) need_inside(fd);
        if (came_through(path_filestat_get(DIR, FOLLOW, S(paths[i]), P(&st))))
            NEED_IS(st.size, INSIDE_BYTES);
    }
    if (!came_through(open_dir(DIR, "dir", &fd))) return;
    NEED(!exists_at(fd, "victim")); // which is in the one outside
    NEED_IS(fd_close(fd), E_OK);
}

// Effects through such names; the test looks whether any came out.
static void change_swapped(const char *linked)
{
    u32 fd, n;
    if (came_through(open_at(DIR, "swap_write", CREAT | TRUNC, R_WRITE, &fd))) {
        NEED_IS(write_some(fd, "w", 1, &n), E_OK);
        NEED_IS(fd_close(fd), E_OK);
    }
    (void)came_through(path_filestat_set_times(DIR, FOLLOW, S("swap_write"), 1, 1, 5));
    if (came_through(path_link(DIR, FOLLOW, S("swap"), DIR, S(linked)))) {
        NEED_IS(open_at(DIR, linked, 0, R_READ, &fd), E_OK);
        need_inside(fd);
        NEED_IS(path_unlink_file(DIR, S(linked)), E_OK);
    }
    (void)path_create_directory(DIR, S("dir/made"));
    (void)path_remove_directory(DIR, S("dir/made"));
    (void)path_symlink(S("secret"), DIR, S("dir/made"));
    (void)path_unlink_file(DIR, S("dir/made"));
    (void)path_unlink_file(DIR, S("dir/victim"));
    (void)path_rename(DIR, S("dir/victim"), DIR, S("stolen"));
    NEED(!exists_at(DIR, "stolen"));
}

EXPORT(case_097_swapped) void case_097_swapped(u64 ms, u64 number)
{
    const u64 end_ns = now_ns() + ms * 1000000;
    while (now_ns() < end_ns) {
        read_swapped();
        change_swapped(number == 0 ? "linked0" : "linked1");
    }
    note(1, reached);
    note(2, refused);
}

// ---- 98: a thousand files ----

enum { FILES = 1000, HEAD_BYTES = 24 };

static u8 seen[FILES];
static u32 dots, others; // `.` and `..`; names of none of the files

static void forget(void)
{
    for (u32 i = 0; i < FILES; i++)
        seen[i] = 0;
    dots = others = 0;
}

static u32 rename_to(u32 dir, const char *path, u32 new_dir, const char *new_path)
{
    return path_rename(dir, S(path), new_dir, S(new_path));
}

static u32 unlink_at(u32 dir, const char *path)
{
    return path_unlink_file(dir, S(path));
}

// "file-0017"
static const char *name_of(const char *stem, u32 number)
{
    char digits[5] = {0};
    for (u32 i = 4; i-- > 0; number /= 10)
        digits[i] = (char)('0' + number % 10);
    return joined(stem, digits);
}

static void see(const char *stem, const char *name, u32 len, u8 type)
{
    const u32 stem_len = text_len(stem);
    if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'))) {
        NEED_IS(type, TYPE_DIRECTORY);
        dots++;
        return;
    }
    if (len != stem_len + 4 || !same_bytes(name, stem, stem_len)) {
        others++;
        return;
    }
    u32 number = 0;
    for (u32 i = stem_len; i < len; i++)
        number = number * 10 + (u32)(name[i] - '0');
    NEED(number < FILES);
    NEED_IS(type, TYPE_REGULAR);
    seen[number]++;
}

// One call: tells see() each whole entry, moves the cookie behind the last; false at the end.
static bool list_some(u32 dir, const char *stem, u32 buf_len, u64 *cookie)
{
    static u8 buf[1 << 16];
    u32 used = 0, at = 0, count = 0;
    NEED(buf_len <= sizeof(buf));
    NEED_IS(fd_readdir(dir, P(buf), buf_len, *cookie, P(&used)), E_OK);
    NEED(used <= buf_len);
    while (used - at >= HEAD_BYTES) {
        u64 next;
        u32 len;
        copy_bytes(&next, buf + at, 8);
        copy_bytes(&len, buf + at + 16, 4);
        if (len > used - at - HEAD_BYTES) break; // cut: comes again
        see(stem, (const char *)buf + at + HEAD_BYTES, len, buf[at + 20]);
        *cookie = next;
        at += HEAD_BYTES + len;
        count++;
    }
    NEED(at == used || used == buf_len); // cut only where the buffer ends
    if (used == buf_len) NEED(count > 0);
    return used == buf_len;
}

static void list(u32 dir, const char *stem, u32 buf_len)
{
    u64 cookie = 0;
    forget();
    while (list_some(dir, stem, buf_len, &cookie)) {
    }
}

// The last listing had `.`, `..`, and of the files those from `first` on in steps, each once.
static void need_seen(u32 first, u32 step, u32 other_count)
{
    NEED_IS(dots, 2);
    NEED_IS(others, other_count);
    for (u32 i = 0; i < FILES; i++)
        NEED_IS(seen[i], i >= first && (i - first) % step == 0 ? 1 : 0);
}

static void make_files(u32 dir, const char *stem)
{
    u32 fd;
    for (u32 i = 0; i < FILES; i++) {
        NEED_IS(open_at(dir, name_of(stem, i), CREAT | EXCL, R_WRITE, &fd), E_OK);
        write_text(fd, name_of("", i));
        NEED_IS(fd_close(fd), E_OK);
    }
    NEED_IS(open_at(dir, name_of(stem, FILES / 2), CREAT | EXCL, R_WRITE, &fd), E_EXIST);
}

CASE(case_098)
{
    u32 sub, fd, n;
    char text[8];
    make_files(DIR, "file-");
    for (u32 buf_len = 64; buf_len <= 1 << 16; buf_len *= 4) {
        list(DIR, "file-", buf_len);
        need_seen(0, 1, 0);
    }
    NEED_IS(path_create_directory(DIR, S("sub")), E_OK);
    NEED_IS(open_dir(DIR, "sub", &sub), E_OK);
    for (u32 i = 0; i < FILES; i++) // odd ones into the other directory
        NEED_IS(rename_to(DIR, name_of("file-", i), i % 2 == 0 ? DIR : sub, name_of("renamed-", i)),
                E_OK);
    NEED_IS(rename_to(DIR, "file-0000", DIR, "again"), E_NOENT);
    list(DIR, "renamed-", 100);
    need_seen(0, 2, 1); // "sub"
    list(sub, "renamed-", 5000);
    need_seen(1, 2, 0);
    // onto one that is there
    NEED_IS(rename_to(sub, "renamed-0007", DIR, "renamed-0008"), E_OK);
    NEED_IS(open_at(DIR, "renamed-0008", 0, R_READ, &fd), E_OK);
    NEED_IS(read_some(fd, text, sizeof(text), &n), E_OK);
    NEED(n == 4 && same_bytes(text, "0007", 4));
    NEED_IS(fd_close(fd), E_OK);
    NEED_IS(path_remove_directory(DIR, S("sub")), E_NOTEMPTY);
    for (u32 i = 0; i < FILES; i++)
        NEED_IS(unlink_at(i % 2 == 0 ? DIR : sub, name_of("renamed-", i)), i == 7 ? E_NOENT : E_OK);
    list(DIR, "renamed-", 4096);
    need_seen(FILES, 1, 1);
    list(sub, "renamed-", 4096);
    need_seen(FILES, 1, 0);
    NEED_IS(path_remove_directory(DIR, S("sub")), E_OK);
}

// Changed while it is listed: what was there the whole time comes exactly once, what had come and
// was unlinked does not come again.
CASE(case_098_changed)
{
    static u8 before[FILES];
    u64 cookie = 0;
    u32 fd;
    make_files(DIR, "file-");
    forget();
    while (list_some(DIR, "file-", 300, &cookie)) {
        for (u32 i = 0; i < FILES; i++) {
            NEED(seen[i] <= 1);
            if (seen[i] == 0 || before[i] != 0) continue;
            before[i] = 1;
            if (i % 3 == 0) NEED_IS(unlink_at(DIR, name_of("file-", i)), E_OK);
            if (i % 3 != 1) continue;
            NEED_IS(open_at(DIR, name_of("more-", i), CREAT | EXCL, R_WRITE, &fd), E_OK);
            NEED_IS(fd_close(fd), E_OK);
        }
    }
    for (u32 i = 0; i < FILES; i++)
        NEED_IS(seen[i], 1);
    NEED_IS(dots, 2);
    // Cookie 0 rewinds, and what is there now comes: all but those unlinked, and the new ones.
    list(DIR, "more-", 1000);
    for (u32 i = 0; i < FILES; i++)
        NEED_IS(seen[i], before[i] != 0 && i % 3 == 1 ? 1 : 0);
    list(DIR, "file-", 1000);
    for (u32 i = 0; i < FILES; i++)
        NEED_IS(seen[i], before[i] != 0 && i % 3 == 0 ? 0 : 1);
}

// Entries cut anywhere, with a name as long as they get: again from the cookie of the last whole
// one, with a buffer one byte larger, until all have come.
CASE(case_098_cut)
{
    static char name[256];
    u32 fd;
    for (u32 i = 0; i < 255; i++)
        name[i] = 'n';
    NEED_IS(open_at(DIR, name, CREAT | EXCL, R_WRITE, &fd), E_OK);
    for (u32 i = 0; i < 4; i++)
        NEED_IS(open_at(DIR, name_of("file-", i), CREAT | EXCL, R_WRITE, &fd), E_OK);
    for (u32 buf_len = HEAD_BYTES + 255; buf_len <= 600; buf_len++) {
        list(DIR, "file-", buf_len);
        NEED_IS(others, 1);
        NEED_IS(dots, 2);
        for (u32 i = 0; i < FILES; i++)
            NEED_IS(seen[i], i < 4 ? 1 : 0);
    }
    for (u32 buf_len = 0; buf_len < HEAD_BYTES + 1; buf_len++) { // too small for any
        static u8 buf[64];
        u32 used = 99;
        NEED_IS(fd_readdir(DIR, P(buf), buf_len, 0, P(&used)), E_OK);
        NEED_IS(used, buf_len);
    }
}
