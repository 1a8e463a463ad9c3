// SPDX-License-Identifier: Apache-2.0
// Programs in sandboxes: what is refused, what works, what they see. As root and as nobody.
#include "box_rig.h"
#include "cm.h"
#include "harness/check.h"
#include <string.h>

static void go(struct box *box, struct box_run *run, enum viv_native_sandbox level,
               const char *const *words)
{
    box_prepare(box, run, level, words);
    box_go(run);
}

static struct box_run run;

static void default_refuses(struct box *box)
{
    static const char *const words[] = {
        "mount",  "umount",        "open_tree",     "fsopen",      "pivot",
        "chroot", "unshare_user",  "unshare_mount", "clone_user",  "clone3",
        "setns",  "ptrace_parent", "ptrace_child",  "vm_read",     "io_uring",
        "keyctl", "bpf",           "userfaultfd",   "personality", "mknod",
        "packet", "vsock",         "set_host_name", "swapoff",     "handle",
        NULL};
    go(box, &run, VIV_NATIVE_SANDBOX_DEFAULT, words);
    CHECK(run.err == VIV_OK);
    for (int i = 0; words[i] != NULL; i++) {
        char line[64];
        const bool is_hidden = strcmp(words[i], "clone3") == 0 || strcmp(words[i], "io_uring") == 0;
        snprintf(line, sizeof line, "%s: %s", words[i], is_hidden ? "ENOSYS" : "EPERM");
        box_expect(&run, line);
    }
    CHECK(run.has_exit && !run.exit.is_signaled && run.exit.code == 0);
}

static void n91_default_refuses_system_calls(void **state)
{
    (void)state;
    box_for_each_user(default_refuses);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n91_default_refuses_system_calls),
    };
    return cmocka_run_group_tests_name("native.sandbox", tests, NULL, NULL);
}
