// SPDX-License-Identifier: Apache-2.0
// What the files of the area "wasi" share: cases 95 to 102.
//
//   wasi.c           96 sleeping, 99 nothing to read, 100 ends, 101 pointers; the table
//   wasi_streams.c   95, 102 standard output
//   wasi_files.c     97, 98 directories
#ifndef VIV_TEST_CONFORM_WASI_CASES_H
#define VIV_TEST_CONFORM_WASI_CASES_H

#include "world.h"

#include <limits.h>

#define GUEST "conform_wasi"
#define FILES_GUEST "conform_wasi_files"

void case_095(struct world *world);
void case_097_dots(struct world *world);
void case_097_absolute(struct world *world);
void case_097_symlink(struct world *world);
void case_097_swapped(struct world *world);
void case_098(struct world *world);
void case_098_changed(struct world *world);
void case_098_cut(struct world *world);
void case_102_captured(struct world *world);
void case_102_unmixed_pipe(struct world *world);
void case_102_unmixed_socket(struct world *world);

// An empty folder and its absolute path.
struct folder {
    char path[PATH_MAX];
};
void folder_open(struct folder *folder);
void folder_close(struct folder *folder); // removes it with all that is in it
// <folder>/<name> into out.
void folder_path(const struct folder *folder, const char *name, char out[PATH_MAX]);
void folder_write(const struct folder *folder, const char *name, char byte, size_t len);

// The folder, by its path in a host, as the guest's only directory.
void give_dir(struct world *world, const char *path);
// Puts a pipe in the place of descriptor 0 or 1 of this program, for good; before world_open.
// Returns our end: that which writes to 0, or reads from 1.
int plug_pipe(int number);
size_t bytes_in_pipe(int fd); // or socket
// Kills it and checks that it ends so, within a second.
void kill_at_once(struct world *world, viv_pid pid);
// Nothing runs for a while: little CPU time is used.
void check_idle(void);

#endif
