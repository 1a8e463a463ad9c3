// SPDX-License-Identifier: Apache-2.0
// Where the daemon is found: variables set, unset, relative, too long; folders that others may
// write to.
#include "cm.h"

#include "ctl/place.h"
#include "os/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct viv_ctl_place place;
static struct viv_diag diag;

static void of_the_variables(void **state)
{
    (void)state;
    setenv("XDG_RUNTIME_DIR", "/a/run", 1);
    setenv("XDG_STATE_HOME", "/a/state", 1);
    OK(viv_ctl_place_find(&place, &diag));
    assert_string_equal(place.socket, "/a/run/viv/control.sock");
    assert_string_equal(place.lock, "/a/run/viv/control.lock");
    assert_string_equal(place.log, "/a/state/viv/daemon.log");
}

// A relative path counts as none, as the XDG specification says.
static void without_them(void **state)
{
    static const char *const values[] = {NULL, "", "relative/run"};
    char run[64], tmp[64];
    (void)state;
    (void)snprintf(run, sizeof run, "/run/user/%u/viv/control.sock", (unsigned)geteuid());
    (void)snprintf(tmp, sizeof tmp, "/tmp/viv-%u/viv/control.sock", (unsigned)geteuid());
    for (size_t i = 0; i < VIV_COUNT_OF(values); i++) {
        if (values[i] == NULL) {
            unsetenv("XDG_RUNTIME_DIR");
            unsetenv("XDG_STATE_HOME");
        } else {
            setenv("XDG_RUNTIME_DIR", values[i], 1);
            setenv("XDG_STATE_HOME", values[i], 1);
        }
        setenv("HOME", "/home/x", 1);
        OK(viv_ctl_place_find(&place, &diag));
        assert_true(strcmp(place.socket, run) == 0 || strcmp(place.socket, tmp) == 0);
        assert_string_equal(place.log, "/home/x/.local/state/viv/daemon.log");
        unsetenv("HOME"); // then the one that the system knows, if it does
        OK(viv_ctl_place_find(&place, &diag));
        assert_true(place.state_dir[0] == '\0' || strstr(place.log, "/.local/state/viv/") != NULL);
    }
}

static void a_long_path(void **state)
{
    char text[VIV_LOCAL_PATH_MAX + 1];
    (void)state;
    memset(text, 'x', sizeof text);
    text[0] = '/';
    text[VIV_LOCAL_PATH_MAX - strlen("/viv/control.sock")] = '\0';
    setenv("XDG_RUNTIME_DIR", text, 1);
    OK(viv_ctl_place_find(&place, &diag));
    assert_int_equal(strlen(place.socket), VIV_LOCAL_PATH_MAX);
    text[strlen(text)] = 'x';
    text[VIV_LOCAL_PATH_MAX - strlen("/viv/control.sock") + 1] = '\0';
    setenv("XDG_RUNTIME_DIR", text, 1);
    ERR(viv_ctl_place_find(&place, &diag), TOOBIG);
    assert_non_null(strstr(diag.text, "XDG_RUNTIME_DIR"));
}

static void folders(void **state)
{
    char here[512], run[600];
    struct stat stat;
    (void)state;
    assert_true(viv_os_getcwd(here, sizeof here) >= 0);
    (void)snprintf(run, sizeof run, "%s/r", here);
    (void)system("rm -rf r");
    setenv("XDG_RUNTIME_DIR", run, 1);
    setenv("XDG_STATE_HOME", run, 1);
    if (viv_ctl_place_find(&place, &diag) == VIV_E_TOOBIG) skip(); // of a deep build folder
    OK(viv_ctl_place_make(&place, &diag));
    OK(viv_ctl_place_make(&place, &diag)); // it is there
    assert_int_equal(viv_os_fstatat(AT_FDCWD, place.dir, &stat, 0), 0);
    assert_int_equal(stat.st_mode & 0777, 0700);
    const int log = viv_ctl_place_open_log(&place);
    assert_true(log >= 0);
    assert_int_equal(ftruncate(log, (1 << 20) + 1), 0);
    viv_os_close(log);
    viv_os_close(viv_ctl_place_open_log(&place)); // the large one is put aside
    assert_int_equal(access("r/viv/daemon.log.1", F_OK), 0);
    assert_int_equal(chmod(place.dir, 0777), 0);
    ERR(viv_ctl_place_make(&place, &diag), PERM);
    (void)system("rm -rf r/viv && ln -s /tmp r/viv");
    ERR(viv_ctl_place_make(&place, &diag), NOTDIR);
    (void)system("rm -rf r");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_the_variables),
        cmocka_unit_test(without_them),
        cmocka_unit_test(a_long_path),
        cmocka_unit_test(folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
