// SPDX-License-Identifier: Apache-2.0
// The seccomp programs against the table they come from: an interpreter of classic BPF runs every
// program, a reader of gen/seccomp.tab of its own says what must come out.
#include "cm.h"
#include "gen/seccomp.h"
#include "harness/check.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>

enum { ROWS_MAX = 512, NUMBERS = 1024, X32 = 0x40000000, AF_NETLINK_VALUE = 16 };

struct row {
    char name[32];
    long number[VIV_SECCOMP_ARCHES]; // -1: none
    char cell[VIV_SECCOMP_LEVELS][128];
};
static struct row rows[ROWS_MAX];
static size_t row_count;

static const uint32_t arch_ids[VIV_SECCOMP_ARCHES] = {AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64};

// ---------------------------------------------------------------------------------------- the
// table

static char *trimmed(char *text)
{
    while (*text == ' ')
        text++;
    for (size_t len = strlen(text); len > 0 && strchr(" \n", text[len - 1]) != NULL; len--)
        text[len - 1] = '\0';
    return text;
}

static void read_row(char *line)
{
    char *cells[6], *rest = line;
    for (int i = 0; i < 6; i++) {
        cells[i] = strsep(&rest, "|");
        CHECK(cells[i] != NULL || i == 5);
        cells[i] = cells[i] != NULL ? trimmed(cells[i]) : cells[3]; // tcp is as default
    }
    CHECK(rest == NULL && row_count < ROWS_MAX);
    struct row *row = &rows[row_count++];
    snprintf(row->name, sizeof row->name, "%s", cells[0]);
    for (int arch = 0; arch < VIV_SECCOMP_ARCHES; arch++)
        row->number[arch] =
            strcmp(cells[1 + arch], "-") == 0 ? -1 : strtol(cells[1 + arch], NULL, 10);
    for (int level = 0; level < VIV_SECCOMP_LEVELS; level++) {
        CHECK(strlen(cells[3 + level]) < sizeof row->cell[level]);
        snprintf(row->cell[level], sizeof row->cell[level], "%s", cells[3 + level]);
    }
}

static int read_table(void **state)
{
    char path[512], line[512];
    const char *root = getenv("VIV_SOURCE_DIR");
    (void)state;
    snprintf(path, sizeof path, "%s/gen/seccomp.tab", root != NULL ? root : ".");
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (line[0] != '#' && line[0] != '\n') read_row(line);
    fclose(file);
    CHECK(row_count > 300);
    return 0;
}

// ---------------------------------------------------------------------------------------- the
// model

static uint32_t action_value(const char *text)
{
    if (strncmp(text, "allow", 5) == 0) return SECCOMP_RET_ALLOW;
    if (strncmp(text, "eperm", 5) == 0) return SECCOMP_RET_ERRNO | EPERM;
    CHECK(strncmp(text, "enosys", 6) == 0);
    return SECCOMP_RET_ERRNO | ENOSYS;
}

// argN, then /MASK or =A,B or both.
static bool condition_holds(const char *text, const uint64_t *args)
{
    char *end;
    CHECK(strncmp(text, "arg", 3) == 0);
    uint32_t value = (uint32_t)args[text[3] - '0'];
    text += 4;
    if (*text == '/') {
        value &= (uint32_t)strtoul(text + 1, &end, 0);
        text = end;
        if (*text == '\0') return value != 0;
    }
    CHECK(*text == '=');
    while (*text != '\0') {
        if (value == (uint32_t)strtoul(text + 1, &end, 0)) return true;
        text = end;
    }
    return false;
}

static uint32_t rule_verdict(const char *cell, const uint64_t *args)
{
    char copy[128], *rules = copy;
    snprintf(copy, sizeof copy, "%s", cell);
    for (char *rule; (rule = strsep(&rules, ";")) != NULL;) {
        bool holds = true;
        char *words = trimmed(rule);
        const char *action = strsep(&words, " ");
        while (words != NULL)
            holds = condition_holds(strsep(&words, " "), args) && holds;
        if (holds) return action_value(action);
    }
    CHECK(false);
    return 0;
}

static uint32_t model(int arch, int level, const struct seccomp_data *data)
{
    if (data->arch != arch_ids[arch]) return SECCOMP_RET_KILL_PROCESS;
    if (arch == VIV_SECCOMP_X86_64 && (uint32_t)data->nr >= X32) return SECCOMP_RET_KILL_PROCESS;
    for (size_t i = 0; i < row_count; i++)
        if (rows[i].number[arch] >= 0 && rows[i].number[arch] == data->nr)
            return rule_verdict(rows[i].cell[level], (const uint64_t *)data->args);
    return level == VIV_SECCOMP_STRICT ? SECCOMP_RET_ERRNO | ENOSYS : SECCOMP_RET_ALLOW;
}

// ---------------------------------------------------------------------------------- the
// interpreter

// The instructions that Linux accepts in seccomp programs, as far as ours have them.
static uint32_t interpret(const struct viv_seccomp_program *program,
                          const struct seccomp_data *data)
{
    uint32_t a = 0;
    for (size_t at = 0;; at++) {
        CHECK(at < program->length);
        const struct sock_filter *code = &program->code[at];
        switch (code->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            CHECK(code->k % 4 == 0 && code->k < sizeof *data);
            memcpy(&a, (const uint8_t *)data + code->k, sizeof a);
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= code->k;
            break;
        case BPF_JMP | BPF_JA:
            at += code->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            at += a == code->k ? code->jt : code->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            at += a >= code->k ? code->jt : code->jf;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            at += (a & code->k) != 0 ? code->jt : code->jf;
            break;
        case BPF_RET | BPF_K:
            return code->k;
        default:
            CHECK(false);
        }
    }
}

// ------------------------------------------------------------------------------------------- tests

#define FOR_EACH_PROGRAM(arch, level)                                                              \
    for (int arch = 0; arch < VIV_SECCOMP_ARCHES; arch++)                                          \
        for (int level = 0; level < VIV_SECCOMP_LEVELS; level++)

static void compare(int arch, int level, const struct seccomp_data *data)
{
    const uint32_t got = interpret(&viv_seccomp_programs[arch][level], data);
    const uint32_t want = model(arch, level, data);
    if (got == want) return;
    print_message("arch %d level %d number %d args %llx %llx %llx: %x, not %x\n", arch, level,
                  data->nr, (unsigned long long)data->args[0], (unsigned long long)data->args[1],
                  (unsigned long long)data->args[2], got, want);
    fail();
}

// Values at which a condition of the table may turn, and some beside them.
static const uint64_t values[] = {
    0,          1,          2,          3,          4,          9,          10,
    15,         16,         17,         21,         22,         23,         24,
    36,         38,         39,         40,         0x1000,     0x2000,     0x2180,
    0x4000,     0x6000,     0x61b0,     0x8000,     0xc000,     0x5412,     0x541c,
    0x5423,     0x5413,     0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000,
    0x20000000, 0x40000000, 0x00000080, 0x7e020000, 0x01000000, 0x80000000, 0xffffffff};

static void n91_every_number_with_arguments(void **state)
{
    (void)state;
    FOR_EACH_PROGRAM(arch, level)
    {
        for (int nr = -2; nr < NUMBERS + 8; nr++) {
            for (int arg = 0; arg < 6; arg++) {
                for (size_t i = 0; i < VIV_COUNT_OF(values); i++) {
                    struct seccomp_data data = {.nr = nr, .arch = arch_ids[arch]};
                    data.args[arg] = values[i];
                    compare(arch, level, &data);
                    data.args[arg] |= UINT64_C(0xdeadbeef) << 32; // Linux looks at half
                    compare(arch, level, &data);
                }
            }
        }
    }
}

static void n91_two_arguments_at_once(void **state)
{
    (void)state;
    FOR_EACH_PROGRAM(arch, level)
    {
        for (int nr = 0; nr < NUMBERS; nr++) {
            for (size_t i = 0; i < VIV_COUNT_OF(values); i++) {
                struct seccomp_data data = {.nr = nr, .arch = arch_ids[arch]};
                for (int arg = 0; arg < 6; arg++)
                    data.args[arg] = values[(i * 7 + (size_t)arg * 5) % VIV_COUNT_OF(values)];
                compare(arch, level, &data);
                data.args[0] = AF_NETLINK_VALUE;
                data.args[2] = i % 3;
                compare(arch, level, &data);
            }
        }
    }
}

static void n91_x32_and_other_architectures_are_killed(void **state)
{
    (void)state;
    static const uint32_t others[] = {AUDIT_ARCH_I386, AUDIT_ARCH_ARM, AUDIT_ARCH_RISCV64, 0,
                                      0xffffffff};
    FOR_EACH_PROGRAM(arch, level)
    {
        for (int nr = 0; nr < NUMBERS; nr++) {
            struct seccomp_data data = {.nr = nr, .arch = arch_ids[1 - arch]};
            assert_int_equal(interpret(&viv_seccomp_programs[arch][level], &data),
                             SECCOMP_RET_KILL_PROCESS);
            for (size_t i = 0; i < VIV_COUNT_OF(others); i++) {
                data.arch = others[i];
                assert_int_equal(interpret(&viv_seccomp_programs[arch][level], &data),
                                 SECCOMP_RET_KILL_PROCESS);
            }
            if (arch != VIV_SECCOMP_X86_64) continue;
            data = (struct seccomp_data){.nr = nr | X32, .arch = arch_ids[arch]};
            assert_int_equal(interpret(&viv_seccomp_programs[arch][level], &data),
                             SECCOMP_RET_KILL_PROCESS);
        }
    }
}

// The contract's own words, so that the table is not its only witness.
static uint32_t verdict_of(int level, long nr, uint64_t a, uint64_t b, uint64_t c)
{
    const struct seccomp_data data = {
        .nr = (int)nr, .arch = AUDIT_ARCH_X86_64, .args = {a, b, c, 0, 0, 0}};
    return interpret(&viv_seccomp_programs[VIV_SECCOMP_X86_64][level], &data);
}

static void n91_refusals_of_the_contract(void **state)
{
    (void)state;
#ifdef __x86_64__
    static const long refused[] = {SYS_mount,
                                   SYS_umount2,
                                   SYS_pivot_root,
                                   SYS_chroot,
                                   SYS_move_mount,
                                   SYS_open_tree,
                                   SYS_fsopen,
                                   SYS_fsconfig,
                                   SYS_fsmount,
                                   SYS_fspick,
                                   SYS_mount_setattr,
                                   SYS_unshare,
                                   SYS_setns,
                                   SYS_bpf,
                                   SYS_perf_event_open,
                                   SYS_userfaultfd,
                                   SYS_kexec_load,
                                   SYS_kexec_file_load,
                                   SYS_init_module,
                                   SYS_finit_module,
                                   SYS_delete_module,
                                   SYS_reboot,
                                   SYS_swapon,
                                   SYS_swapoff,
                                   SYS_acct,
                                   SYS_quotactl,
                                   SYS_quotactl_fd,
                                   SYS_syslog,
                                   SYS_sethostname,
                                   SYS_setdomainname,
                                   SYS_settimeofday,
                                   SYS_clock_settime,
                                   SYS_clock_adjtime,
                                   SYS_adjtimex,
                                   SYS_add_key,
                                   SYS_request_key,
                                   SYS_keyctl,
                                   SYS_open_by_handle_at,
                                   SYS_name_to_handle_at,
                                   SYS_lookup_dcookie,
                                   SYS_iopl,
                                   SYS_ioperm,
                                   SYS_modify_ldt,
                                   SYS_ptrace,
                                   SYS_process_vm_readv,
                                   SYS_process_vm_writev,
                                   SYS_process_madvise,
                                   SYS_kcmp,
                                   SYS_pidfd_getfd,
                                   SYS_move_pages,
                                   SYS_migrate_pages,
                                   SYS_mbind,
                                   SYS_set_mempolicy,
                                   SYS_vhangup,
                                   SYS_fanotify_init};
    const uint32_t eperm = SECCOMP_RET_ERRNO | EPERM, enosys = SECCOMP_RET_ERRNO | ENOSYS;
    for (int level = 0; level < VIV_SECCOMP_LEVELS; level++) {
        for (size_t i = 0; i < VIV_COUNT_OF(refused); i++)
            assert_int_equal(verdict_of(level, refused[i], 0, 0, 0), eperm);
        assert_int_equal(verdict_of(level, SYS_clone3, 0, 0, 0), enosys);
        assert_int_equal(verdict_of(level, SYS_io_uring_setup, 0, 0, 0), enosys);
        assert_int_equal(verdict_of(level, SYS_io_uring_enter, 0, 0, 0), enosys);
        assert_int_equal(verdict_of(level, SYS_io_uring_register, 0, 0, 0), enosys);
        static const uint64_t namespaces[] = {0x00020000, 0x02000000, 0x04000000, 0x08000000,
                                              0x10000000, 0x20000000, 0x40000000};
        for (size_t i = 0; i < VIV_COUNT_OF(namespaces); i++)
            assert_int_equal(verdict_of(level, SYS_clone, namespaces[i] | 17, 0, 0), eperm);
        assert_int_equal(verdict_of(level, SYS_clone, 0x3d0f00, 0, 0), SECCOMP_RET_ALLOW);
        static const uint64_t ioctls[] = {0x5412, 0x541c, 0x5423};
        for (size_t i = 0; i < VIV_COUNT_OF(ioctls); i++)
            assert_int_equal(verdict_of(level, SYS_ioctl, 0, ioctls[i], 0), eperm);
        assert_int_equal(verdict_of(level, SYS_ioctl, 0, 0x5401, 0), SECCOMP_RET_ALLOW);
        for (uint64_t family = 0; family < 64; family++) {
            const bool is_internet = family == 2 || family == 10;
            const bool is_usual = family == 1 || (is_internet && level != VIV_SECCOMP_TCP);
            const bool is_route = family == 16 && level != VIV_SECCOMP_STRICT;
            assert_int_equal(verdict_of(level, SYS_socket, family, 3, 0), // raw
                             is_usual || is_route ? SECCOMP_RET_ALLOW : eperm);
        }
        assert_int_equal(verdict_of(level, SYS_socket, 16, 3, 9), eperm); // audit, not route
    }
    assert_int_equal(verdict_of(VIV_SECCOMP_DEFAULT, SYS_personality, 0, 0, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict_of(VIV_SECCOMP_DEFAULT, SYS_personality, 1, 0, 0), eperm);
    assert_int_equal(verdict_of(VIV_SECCOMP_DEFAULT, SYS_mknod, 0, 0x21ff, 0), eperm);
    assert_int_equal(verdict_of(VIV_SECCOMP_DEFAULT, SYS_mknodat, 0, 0, 0x61ff), eperm);
    assert_int_equal(verdict_of(VIV_SECCOMP_DEFAULT, SYS_mknod, 0, 0x11ff, 0), SECCOMP_RET_ALLOW);
    assert_int_equal(verdict_of(VIV_SECCOMP_STRICT, 900, 0, 0, 0), enosys);
    assert_int_equal(verdict_of(VIV_SECCOMP_DEFAULT, 900, 0, 0, 0), SECCOMP_RET_ALLOW);
#endif
}

// A network of TCP ports: whatever else reaches another host is refused.
static void case_057_level_tcp_leaves_tcp(void **state)
{
    (void)state;
#if defined(__x86_64__) || defined(__aarch64__)
    enum { STREAM = 1, DGRAM = 2, SEQPACKET = 5, FLAGS = 0x80800, FAST_OPEN = 0x20000000 };
    const uint32_t eperm = SECCOMP_RET_ERRNO | EPERM, allow = SECCOMP_RET_ALLOW;
    const int level = VIV_SECCOMP_TCP;
    static const uint64_t families[] = {2, 10};
    for (size_t i = 0; i < VIV_COUNT_OF(families); i++) {
        const uint64_t family = families[i];
        assert_int_equal(verdict_of(level, SYS_socket, family, STREAM, 0), allow);
        assert_int_equal(verdict_of(level, SYS_socket, family, STREAM | FLAGS, 6), allow);
        assert_int_equal(verdict_of(level, SYS_socket, family, STREAM, 262), eperm); // MPTCP
        assert_int_equal(verdict_of(level, SYS_socket, family, STREAM, 132), eperm); // SCTP
        assert_int_equal(verdict_of(level, SYS_socket, family, DGRAM, 0), eperm);
        assert_int_equal(verdict_of(level, SYS_socket, family, DGRAM | FLAGS, 17), eperm);
        assert_int_equal(verdict_of(level, SYS_socket, family, SEQPACKET, 132), eperm);
    }
    assert_int_equal(verdict_of(level, SYS_socket, 1, DGRAM, 0), allow);
    assert_int_equal(verdict_of(level, SYS_socketpair, 1, DGRAM, 0), allow);
    assert_int_equal(verdict_of(level, SYS_sendmsg, 3, 0, FAST_OPEN | 0x4000), eperm);
    assert_int_equal(verdict_of(level, SYS_sendmsg, 3, 0, 0x4000), allow);
    assert_int_equal(verdict_of(VIV_SECCOMP_DEFAULT, SYS_sendmsg, 3, 0, FAST_OPEN), allow);
    assert_int_equal(verdict_of(level, SYS_personality, 1, 0, 0), eperm); // as default
#endif
}

// The numbers of this machine's headers.
static void n91_numbers_of_the_table_are_those_of_linux(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        long number;
    } some[] = {{"read", SYS_read},
                {"openat2", SYS_openat2},
                {"clone", SYS_clone},
                {"clone3", SYS_clone3},
                {"socket", SYS_socket},
                {"ioctl", SYS_ioctl},
                {"prctl", SYS_prctl},
                {"keyctl", SYS_keyctl},
                {"mount_setattr", SYS_mount_setattr},
                {"newfstatat", SYS_newfstatat},
                {"futex_waitv", SYS_futex_waitv},
                {"execveat", SYS_execveat}};
#if defined(__x86_64__)
    const int arch = VIV_SECCOMP_X86_64;
#else
    const int arch = VIV_SECCOMP_ARM64;
#endif
    for (size_t i = 0; i < VIV_COUNT_OF(some); i++) {
        size_t found = 0;
        for (size_t j = 0; j < row_count; j++)
            found +=
                strcmp(rows[j].name, some[i].name) == 0 && rows[j].number[arch] == some[i].number;
        assert_int_equal(found, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n91_every_number_with_arguments),
        cmocka_unit_test(n91_two_arguments_at_once),
        cmocka_unit_test(n91_x32_and_other_architectures_are_killed),
        cmocka_unit_test(n91_refusals_of_the_contract),
        cmocka_unit_test(case_057_level_tcp_leaves_tcp),
        cmocka_unit_test(n91_numbers_of_the_table_are_those_of_linux),
    };
    return cmocka_run_group_tests_name("native.seccomp", tests, read_table, NULL);
}
