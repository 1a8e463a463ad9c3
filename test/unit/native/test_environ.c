// SPDX-License-Identifier: Apache-2.0
// The environment that a program gets (N16), and where its command is searched.
#include "native/environ.h"
#include "req_kit.h"
#include <stdio.h>
#include <string.h>

static const char *const own[] = {"HOME=/root",     "LANG=C.UTF-8", "TZ=UTC", "SECRET=1",
                                  "LANGUAGE=wrong", "PATH=/own",    NULL};
static const char *const allowed[] = {"LANG", "LC_ALL", "LC_CTYPE", "TZ", "PATH", NULL};

static struct viv_native_env_source source(void)
{
    return (struct viv_native_env_source){.environ = own,
                                          .allowed = allowed,
                                          .digest = "0123456789abcdef",
                                          .pid = viv_pid_make(7, 3)};
}

static void assert_env(struct req_kit *kit, const char *const *expected)
{
    const struct viv_native_env_source from = source();
    struct viv_native_env env;
    OK(viv_native_env_build(&kit->req, &from, &env, &kit->diag));
    for (uint32_t i = 0; i < env.count; i++) {
        assert_non_null(expected[i]);
        assert_string_equal(env.envp[i], expected[i]);
    }
    assert_null(expected[env.count]);
    assert_null(env.envp[env.count]);
    viv_native_env_free(&env);
    req_end(kit);
}

static void n16_exactly_that_environment(void **state)
{
    (void)state;
    struct req_kit kit;
    req_begin_true(&kit);
    req_take(&kit);
    assert_string_equal(viv_native_search_path(&kit.req), "/usr/local/bin:/usr/bin:/bin");
    assert_env(&kit, (const char *[]){"PATH=/usr/local/bin:/usr/bin:/bin",
                                      "VIV_PROGRAM=0123456789abcdef", "VIV_PID=<0.7.3>", NULL});

    req_begin_true(&kit);
    req_text(&kit, KEY(ENV), "B=2");
    req_text(&kit, KEY(ENV_PASS), "TZ");
    req_text(&kit, KEY(ENV_PASS), "LC_ALL"); // not set
    req_text(&kit, KEY(ENV_PASS), "TZ");
    req_text(&kit, KEY(ENV_PASS), "LANG");
    req_text(&kit, KEY(ENV), "LANG=mine");
    req_u32(&kit, KEY(READY), VIV_NATIVE_READY_FD);
    req_take(&kit);
    assert_env(&kit, (const char *[]){"PATH=/usr/local/bin:/usr/bin:/bin", "TZ=UTC", "B=2",
                                      "LANG=mine", "VIV_PROGRAM=0123456789abcdef",
                                      "VIV_PID=<0.7.3>", "VIV_READY_FD=3", NULL});

    req_begin_true(&kit); // with word env
    req_text(&kit, KEY(ENV), "PATH=/mine");
    req_text(&kit, KEY(ENV), "VIV_PID=forged");
    req_text(&kit, KEY(ENV), "VIV_READY_FD=9");
    req_take(&kit);
    assert_string_equal(viv_native_search_path(&kit.req), "/mine");
    assert_env(&kit, (const char *[]){"PATH=/mine", "VIV_READY_FD=9",
                                      "VIV_PROGRAM=0123456789abcdef", "VIV_PID=<0.7.3>", NULL});
}

static void only_allowed_names_are_passed_on(void **state)
{
    (void)state;
    static const char *const names[] = {"SECRET", "LANGUAGE", "LAN", "PATH"};
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++) {
        struct req_kit kit;
        const struct viv_native_env_source from = source();
        struct viv_native_env env;
        req_begin_true(&kit);
        req_text(&kit, KEY(ENV_PASS), "TZ");
        req_text(&kit, KEY(ENV_PASS), names[i]);
        req_take(&kit);
        ERR(viv_native_env_build(&kit.req, &from, &env, &kit.diag), DENIED);
        assert_string_equal(kit.diag.text, "env_pass");
        req_end(&kit);
    }
}

// 15 variables of 65,000 bytes, and an argument that leaves as much room as what is added needs.
static void n15_vectors_with_the_whole_environment(void **state)
{
    (void)state;
    const size_t built_in = 8 + (34 + 8) + (29 + 8) + (16 + 8); // NULL, PATH, PROGRAM, PID
    static char line[80000];
    const size_t fixed = (1u << 20) - 5 - 16 - built_in - (size_t)15 * (4 + 65000 + 1 + 8);
    for (size_t more = 0; more < 2; more++) {
        struct req_kit kit;
        const struct viv_native_env_source from = source();
        struct viv_native_env env;
        req_begin(&kit);
        req_text(&kit, KEY(CMD), "true");
        memset(line, 'v', sizeof line);
        for (uint32_t i = 0; i < 15; i++) {
            (void)snprintf(line, sizeof line, "V%02u", i);
            line[3] = '=';
            req_put(&kit, KEY(ENV), line, 4 + 65000);
        }
        memset(line, 'v', 8);
        req_put(&kit, KEY(ARG), line, fixed - 9 + more);
        req_take(&kit);
        const enum viv_err err = viv_native_env_build(&kit.req, &from, &env, &kit.diag);
        assert_int_equal(err, more == 0 ? VIV_OK : VIV_E_TOOBIG);
        if (err == VIV_OK) viv_native_env_free(&env);
        req_end(&kit);
    }
}

static void allocation_fails(void **state)
{
    (void)state;
    struct req_kit kit;
    const struct viv_native_env_source from = source();
    struct viv_native_env env;
    req_begin_true(&kit);
    req_take(&kit);
    viv_alloc_fail_nth(1);
    ERR(viv_native_env_build(&kit.req, &from, &env, &kit.diag), EXHAUSTED);
    assert_true(viv_alloc_fail_hit());
    viv_alloc_fail_nth(0);
    assert_string_equal(kit.diag.text, "memory");
    req_end(&kit);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n16_exactly_that_environment),
        cmocka_unit_test(only_allowed_names_are_passed_on),
        cmocka_unit_test(n15_vectors_with_the_whole_environment),
        cmocka_unit_test(allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
