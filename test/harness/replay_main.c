// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target on every file of the folders and files named, in builds without libFuzzer.
// Ends with the number of inputs, always one empty input among them, so that a target without a
// corpus is still called.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

// The input lies at the end of its block, so that a sanitizer sees the first byte read beyond.
static void run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat info;
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        perror(path);
        exit(1);
    }
    const size_t size = (size_t)info.st_size;
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (data == NULL || fread(data, 1, size, file) != size) {
        fprintf(stderr, "%s: cannot be read whole\n", path);
        exit(1);
    }
    fclose(file);
    fprintf(stderr, "replay: %s\n", path);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
}

static size_t run_folder(const char *path)
{
    struct dirent **entries = NULL;
    size_t run_count = 0;
    const int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char name[4096];
        if (entries[i]->d_name[0] != '.') {
            const int len = snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
            if (len > 0 && (size_t)len < sizeof name) {
                run_file(name);
                run_count++;
            }
        }
        free(entries[i]);
    }
    free(entries);
    return run_count;
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize != NULL) LLVMFuzzerInitialize(&argc, &argv);
    const uint8_t nothing = 0;
    LLVMFuzzerTestOneInput(&nothing, 0);
    size_t run_count = 1;
    for (int i = 1; i < argc; i++) {
        struct stat info;
        if (stat(argv[i], &info) != 0) continue; // a target without a corpus
        if (S_ISDIR(info.st_mode)) {
            run_count += run_folder(argv[i]);
        } else {
            run_file(argv[i]);
            run_count++;
        }
    }
    printf("replayed %zu inputs\n", run_count);
    return 0;
}
