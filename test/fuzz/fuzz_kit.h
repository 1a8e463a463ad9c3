// SPDX-License-Identifier: Apache-2.0
// What fuzz targets of room wasm share: one kernel for the life of the program, small limits, an
// empty folder for guests.
#ifndef VIV_TEST_FUZZ_FUZZ_KIT_H
#define VIV_TEST_FUZZ_FUZZ_KIT_H

#include "fuzz.h"

#include "base/alloc.h"
#include "base/log.h"
#include "cap/room.h"
#include "os/clock.h"
#include "os/thread.h"
#include "proc/host.h"
#include "wasm/compile.h"
#include "wasm/message.h"
#include "wasm/runtime.h"
#include "wasm/spawn.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kit {
    struct viv_kernel *kernel;
    struct viv_env *env;
    struct viv_runtime *runtime;
    struct viv_config *config;
    _Atomic uint32_t settled; // births told
};

static struct kit kit; // one a program

static void kit_open(void)
{
    if (kit.kernel != NULL) return;
    viv_log_set_level(VIV_LOG_ERROR); // guests fail all the time here
    struct viv_kernel_config config = {.worker_count = 1};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    limits.proc_max = 200;
    limits.name_max = 200;
    limits.timer_max = 200;
    limits.mailbox_bytes = 1 << 20;
    FUZZ_CHECK(viv_kernel_new(&config, &kit.kernel) == VIV_OK);
    FUZZ_CHECK(viv_env_new(kit.kernel, 1, &limits, &kit.env) == VIV_OK);
    struct viv_room *room;
    FUZZ_CHECK(viv_room_open(kit.kernel, &room) == VIV_OK);
    FUZZ_CHECK(viv_room_add_env(room, kit.env, NULL) == VIV_OK);
    struct viv_runtime_config runtime_config = {.kernel = kit.kernel, .room = room};
    FUZZ_CHECK(viv_runtime_new(&runtime_config, &kit.runtime) == VIV_OK);
    kit.config = viv_config_new();
    FUZZ_CHECK(kit.config != NULL);
    kit.config->rights = VIV_RIGHT_ALL;
    kit.config->max_memory_bytes = 4 << 20;
    kit.config->max_fuel_units = 20; // two million instructions
    kit.config->stdio = VIV_STDIO_NULL;
    static char folder[] = "/tmp/viv-fuzz-XXXXXX";
    FUZZ_CHECK(mkdtemp(folder) != NULL);
    FUZZ_CHECK(viv_config_add_dir(kit.config, folder, strlen(folder), "/d", 2) == VIV_OK);
    FUZZ_CHECK(viv_config_add_arg(kit.config, "fuzz", 4) == VIV_OK);
    FUZZ_CHECK(viv_kernel_start(kit.kernel) == VIV_OK);
}

static void kit_on_settled(void *arg, enum viv_err err, viv_pid pid, const char *text)
{
    (void)arg;
    (void)err;
    (void)pid;
    (void)text;
    atomic_fetch_add(&kit.settled, 1);
}

// Starts main of the module, gives it `ms` milliseconds, then kills everything. The kernel must end
// up empty.
__attribute__((unused)) static void kit_run(struct viv_module *module, const char *entry,
                                            struct viv_signal *first_msg, uint32_t ms)
{
    uint32_t before = atomic_load(&kit.settled);
    struct viv_spawn_spec spec = {.runtime = kit.runtime,
                                  .env = kit.env,
                                  .module = module,
                                  .config = kit.config,
                                  .entry = entry,
                                  .entry_len = strlen(entry),
                                  .first_msg = first_msg,
                                  .settled = kit_on_settled};
    if (viv_spawn(&spec, NULL) != VIV_OK) return;
    uint64_t end_ns = viv_os_now_ns() + ms * VIV_NS_PER_MS;
    uint64_t give_up_ns = end_ns + 60 * VIV_NS_PER_SEC;
    while (viv_kernel_proc_count(kit.kernel) > 0) {
        uint64_t now_ns = viv_os_now_ns();
        FUZZ_CHECK(now_ns < give_up_ns); // a guest that cannot be killed
        if (now_ns >= end_ns && atomic_load(&kit.settled) != before) {
            struct viv_qsbr_member *member;
            FUZZ_CHECK(viv_sched_enter(viv_kernel_sched(kit.kernel), &member) == VIV_OK);
            viv_env_kill(kit.env);
            viv_sched_leave(member);
        }
        viv_os_sleep_ns(20000);
    }
}

#endif
