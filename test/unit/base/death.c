// SPDX-License-Identifier: Apache-2.0
#include "death.h"
#include "harness/check.h"
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int death_run(void (*fn)(void *), void *arg, char *out_text, size_t cap_bytes)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        fn(arg);
        _exit(0);
    }
    close(fds[1]);
    size_t len = 0;
    char chunk[512];
    ssize_t n;
    while ((n = read(fds[0], chunk, sizeof chunk)) > 0)
        for (ssize_t i = 0; i < n; i++)
            if (len < cap_bytes - 1) out_text[len++] = chunk[i];
    out_text[len] = '\0';
    close(fds[0]);
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}
