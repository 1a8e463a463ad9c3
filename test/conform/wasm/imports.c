// SPDX-License-Identifier: Apache-2.0
// Case 120: all functions of the three guest ABIs with their types, written down from the contract
// (not from the kernel's own table). i, I, F: i32, i64, f64.
#include "world.h"

#include <stdio.h>

static const struct import {
    const char *module, *name, *params, *result;
} imports[] = {
    {"lunatic::distributed", "copy_lookup_nodes_results", "Iiii", "i"},
    {"lunatic::distributed", "default_server_certificates", "iiiii", "i"},
    {"lunatic::distributed", "exec_lookup_nodes", "iiiii", "i"},
    {"lunatic::distributed", "get_nodes", "ii", "i"},
    {"lunatic::distributed", "module_id", "", "I"},
    {"lunatic::distributed", "node_id", "", "I"},
    {"lunatic::distributed", "nodes_count", "", "i"},
    {"lunatic::distributed", "send", "II", "i"},
    {"lunatic::distributed", "send_receive_skip_search", "IIII", "i"},
    {"lunatic::distributed", "sign_node", "iiiiiii", "i"},
    {"lunatic::distributed", "spawn", "IIIiiiii", "i"},
    {"lunatic::distributed", "test_root_cert", "i", "i"},
    {"lunatic::error", "drop", "I", ""},
    {"lunatic::error", "string_size", "I", "i"},
    {"lunatic::error", "to_string", "Ii", ""},
    {"lunatic::message", "create_data", "II", ""},
    {"lunatic::message", "data_size", "", "I"},
    {"lunatic::message", "get_process_id", "", "I"},
    {"lunatic::message", "get_tag", "", "I"},
    {"lunatic::message", "push_module", "I", "I"},
    {"lunatic::message", "push_tcp_stream", "I", "I"},
    {"lunatic::message", "push_tls_stream", "I", "I"},
    {"lunatic::message", "push_udp_socket", "I", "I"},
    {"lunatic::message", "read_data", "ii", "i"},
    {"lunatic::message", "receive", "iiI", "i"},
    {"lunatic::message", "seek_data", "I", ""},
    {"lunatic::message", "send", "I", "i"},
    {"lunatic::message", "send_receive_skip_search", "III", "i"},
    {"lunatic::message", "take_module", "I", "I"},
    {"lunatic::message", "take_tcp_stream", "I", "I"},
    {"lunatic::message", "take_tls_stream", "I", "I"},
    {"lunatic::message", "take_udp_socket", "I", "I"},
    {"lunatic::message", "write_data", "ii", "i"},
    {"lunatic::metrics", "counter", "iiI", ""},
    {"lunatic::metrics", "decrement_gauge", "iiF", ""},
    {"lunatic::metrics", "gauge", "iiF", ""},
    {"lunatic::metrics", "histogram", "iiF", ""},
    {"lunatic::metrics", "increment_counter", "ii", ""},
    {"lunatic::metrics", "increment_gauge", "iiF", ""},
    {"lunatic::networking", "clone_tcp_stream", "I", "I"},
    {"lunatic::networking", "clone_tls_stream", "I", "I"},
    {"lunatic::networking", "clone_udp_socket", "I", "I"},
    {"lunatic::networking", "drop_dns_iterator", "I", ""},
    {"lunatic::networking", "drop_tcp_listener", "I", ""},
    {"lunatic::networking", "drop_tcp_stream", "I", ""},
    {"lunatic::networking", "drop_tls_listener", "I", ""},
    {"lunatic::networking", "drop_tls_stream", "I", ""},
    {"lunatic::networking", "drop_udp_socket", "I", ""},
    {"lunatic::networking", "get_peek_timeout", "I", "I"},
    {"lunatic::networking", "get_read_timeout", "I", "I"},
    {"lunatic::networking", "get_tls_read_timeout", "I", "I"},
    {"lunatic::networking", "get_tls_write_timeout", "I", "I"},
    {"lunatic::networking", "get_udp_socket_broadcast", "I", "i"},
    {"lunatic::networking", "get_udp_socket_ttl", "I", "i"},
    {"lunatic::networking", "get_write_timeout", "I", "I"},
    {"lunatic::networking", "resolve", "iiIi", "i"},
    {"lunatic::networking", "resolve_next", "Iiiiii", "i"},
    {"lunatic::networking", "set_peek_timeout", "II", ""},
    {"lunatic::networking", "set_read_timeout", "II", ""},
    {"lunatic::networking", "set_tls_read_timeout", "II", ""},
    {"lunatic::networking", "set_tls_write_timeout", "II", ""},
    {"lunatic::networking", "set_udp_socket_broadcast", "Ii", ""},
    {"lunatic::networking", "set_udp_socket_ttl", "Ii", ""},
    {"lunatic::networking", "set_write_timeout", "II", ""},
    {"lunatic::networking", "tcp_accept", "Iii", "i"},
    {"lunatic::networking", "tcp_bind", "iiiiii", "i"},
    {"lunatic::networking", "tcp_connect", "iiiiiIi", "i"},
    {"lunatic::networking", "tcp_flush", "Ii", "i"},
    {"lunatic::networking", "tcp_local_addr", "Ii", "i"},
    {"lunatic::networking", "tcp_peek", "Iiii", "i"},
    {"lunatic::networking", "tcp_peer_addr", "Ii", "i"},
    {"lunatic::networking", "tcp_read", "Iiii", "i"},
    {"lunatic::networking", "tcp_write_vectored", "Iiii", "i"},
    {"lunatic::networking", "tls_accept", "Iii", "i"},
    {"lunatic::networking", "tls_bind", "iiiiiiiiii", "i"},
    {"lunatic::networking", "tls_connect", "iiiIiii", "i"},
    {"lunatic::networking", "tls_flush", "Ii", "i"},
    {"lunatic::networking", "tls_local_addr", "Ii", "i"},
    {"lunatic::networking", "tls_read", "Iiii", "i"},
    {"lunatic::networking", "tls_write_vectored", "Iiii", "i"},
    {"lunatic::networking", "udp_bind", "iiiiii", "i"},
    {"lunatic::networking", "udp_connect", "IiiiiiIi", "i"},
    {"lunatic::networking", "udp_local_addr", "Ii", "i"},
    {"lunatic::networking", "udp_peer_addr", "Ii", "i"},
    {"lunatic::networking", "udp_receive", "Iiii", "i"},
    {"lunatic::networking", "udp_receive_from", "Iiiii", "i"},
    {"lunatic::networking", "udp_send", "Iiii", "i"},
    {"lunatic::networking", "udp_send_to", "Iiiiiiiii", "i"},
    {"lunatic::process", "compile_module", "iii", "i"},
    {"lunatic::process", "config_can_compile_modules", "I", "i"},
    {"lunatic::process", "config_can_create_configs", "I", "i"},
    {"lunatic::process", "config_can_spawn_processes", "I", "i"},
    {"lunatic::process", "config_get_max_fuel", "I", "I"},
    {"lunatic::process", "config_get_max_memory", "I", "I"},
    {"lunatic::process", "config_set_can_compile_modules", "Ii", ""},
    {"lunatic::process", "config_set_can_create_configs", "Ii", ""},
    {"lunatic::process", "config_set_can_spawn_processes", "Ii", ""},
    {"lunatic::process", "config_set_max_fuel", "II", ""},
    {"lunatic::process", "config_set_max_memory", "II", ""},
    {"lunatic::process", "create_config", "", "I"},
    {"lunatic::process", "die_when_link_dies", "i", ""},
    {"lunatic::process", "drop_config", "I", ""},
    {"lunatic::process", "drop_module", "I", ""},
    {"lunatic::process", "environment_id", "", "I"},
    {"lunatic::process", "exists", "I", "i"},
    {"lunatic::process", "get_or_spawn", "iiIIIiiiiii", "i"},
    {"lunatic::process", "kill", "I", ""},
    {"lunatic::process", "link", "II", ""},
    {"lunatic::process", "monitor", "I", ""},
    {"lunatic::process", "process_id", "", "I"},
    {"lunatic::process", "sleep_ms", "I", ""},
    {"lunatic::process", "spawn", "IIIiiiii", "i"},
    {"lunatic::process", "stop_monitoring", "I", ""},
    {"lunatic::process", "unlink", "I", ""},
    {"lunatic::registry", "get", "iiii", "i"},
    {"lunatic::registry", "put", "iiII", ""},
    {"lunatic::registry", "remove", "ii", ""},
    {"lunatic::sqlite", "bind_value", "Iii", ""},
    {"lunatic::sqlite", "column_count", "I", "i"},
    {"lunatic::sqlite", "column_name", "Iii", "i"},
    {"lunatic::sqlite", "column_names", "Ii", "i"},
    {"lunatic::sqlite", "execute", "Iii", "i"},
    {"lunatic::sqlite", "last_error", "Ii", "i"},
    {"lunatic::sqlite", "open", "iii", "I"},
    {"lunatic::sqlite", "query_prepare", "Iii", "I"},
    {"lunatic::sqlite", "read_column", "Iii", "i"},
    {"lunatic::sqlite", "read_row", "Ii", "i"},
    {"lunatic::sqlite", "sqlite3_changes", "I", "i"},
    {"lunatic::sqlite", "sqlite3_finalize", "I", ""},
    {"lunatic::sqlite", "sqlite3_step", "I", "i"},
    {"lunatic::sqlite", "statement_reset", "I", ""},
    {"lunatic::timer", "cancel_timer", "I", "i"},
    {"lunatic::timer", "send_after", "II", "I"},
    {"lunatic::trap", "catch", "ii", "i"},
    {"lunatic::version", "major", "", "i"},
    {"lunatic::version", "minor", "", "i"},
    {"lunatic::version", "patch", "", "i"},
    {"lunatic::wasi", "config_add_command_line_argument", "Iii", ""},
    {"lunatic::wasi", "config_add_environment_variable", "Iiiii", ""},
    {"lunatic::wasi", "config_preopen_dir", "Iii", ""},
    {"viv", "close", "I", "i"},
    {"viv", "demonitor", "I", "i"},
    {"viv", "dup", "Ii", "I"},
    {"viv", "exit", "Iiiii", "i"},
    {"viv", "info", "iii", "i"},
    {"viv", "link", "II", "i"},
    {"viv", "log", "iii", "i"},
    {"viv", "module", "iii", "I"},
    {"viv", "monitor", "II", "I"},
    {"viv", "read", "Iii", "i"},
    {"viv", "receive", "iiIiii", "i"},
    {"viv", "register", "iiI", "i"},
    {"viv", "self", "", "I"},
    {"viv", "send", "IIiiiii", "i"},
    {"viv", "spawn", "ii", "i"},
    {"viv", "take", "i", "I"},
    {"viv", "timer", "II", "I"},
    {"viv", "trap_exits", "i", "i"},
    {"viv", "unlink", "I", "i"},
    {"viv", "unregister", "ii", "i"},
    {"viv", "version", "", "i"},
    {"viv", "whereis", "ii", "I"},
    {"wasi_snapshot_preview1", "args_get", "ii", "i"},
    {"wasi_snapshot_preview1", "args_sizes_get", "ii", "i"},
    {"wasi_snapshot_preview1", "clock_res_get", "ii", "i"},
    {"wasi_snapshot_preview1", "clock_time_get", "iIi", "i"},
    {"wasi_snapshot_preview1", "environ_get", "ii", "i"},
    {"wasi_snapshot_preview1", "environ_sizes_get", "ii", "i"},
    {"wasi_snapshot_preview1", "fd_advise", "iIIi", "i"},
    {"wasi_snapshot_preview1", "fd_allocate", "iII", "i"},
    {"wasi_snapshot_preview1", "fd_close", "i", "i"},
    {"wasi_snapshot_preview1", "fd_datasync", "i", "i"},
    {"wasi_snapshot_preview1", "fd_fdstat_get", "ii", "i"},
    {"wasi_snapshot_preview1", "fd_fdstat_set_flags", "ii", "i"},
    {"wasi_snapshot_preview1", "fd_fdstat_set_rights", "iII", "i"},
    {"wasi_snapshot_preview1", "fd_filestat_get", "ii", "i"},
    {"wasi_snapshot_preview1", "fd_filestat_set_size", "iI", "i"},
    {"wasi_snapshot_preview1", "fd_filestat_set_times", "iIIi", "i"},
    {"wasi_snapshot_preview1", "fd_pread", "iiiIi", "i"},
    {"wasi_snapshot_preview1", "fd_prestat_dir_name", "iii", "i"},
    {"wasi_snapshot_preview1", "fd_prestat_get", "ii", "i"},
    {"wasi_snapshot_preview1", "fd_pwrite", "iiiIi", "i"},
    {"wasi_snapshot_preview1", "fd_read", "iiii", "i"},
    {"wasi_snapshot_preview1", "fd_readdir", "iiiIi", "i"},
    {"wasi_snapshot_preview1", "fd_renumber", "ii", "i"},
    {"wasi_snapshot_preview1", "fd_seek", "iIii", "i"},
    {"wasi_snapshot_preview1", "fd_sync", "i", "i"},
    {"wasi_snapshot_preview1", "fd_tell", "ii", "i"},
    {"wasi_snapshot_preview1", "fd_write", "iiii", "i"},
    {"wasi_snapshot_preview1", "path_create_directory", "iii", "i"},
    {"wasi_snapshot_preview1", "path_filestat_get", "iiiii", "i"},
    {"wasi_snapshot_preview1", "path_filestat_set_times", "iiiiIIi", "i"},
    {"wasi_snapshot_preview1", "path_link", "iiiiiii", "i"},
    {"wasi_snapshot_preview1", "path_open", "iiiiiIIii", "i"},
    {"wasi_snapshot_preview1", "path_readlink", "iiiiii", "i"},
    {"wasi_snapshot_preview1", "path_remove_directory", "iii", "i"},
    {"wasi_snapshot_preview1", "path_rename", "iiiiii", "i"},
    {"wasi_snapshot_preview1", "path_symlink", "iiiii", "i"},
    {"wasi_snapshot_preview1", "path_unlink_file", "iii", "i"},
    {"wasi_snapshot_preview1", "poll_oneoff", "iiii", "i"},
    {"wasi_snapshot_preview1", "proc_exit", "i", ""},
    {"wasi_snapshot_preview1", "proc_raise", "i", "i"},
    {"wasi_snapshot_preview1", "random_get", "ii", "i"},
    {"wasi_snapshot_preview1", "sched_yield", "", "i"},
    {"wasi_snapshot_preview1", "sock_accept", "iii", "i"},
    {"wasi_snapshot_preview1", "sock_recv", "iiiiii", "i"},
    {"wasi_snapshot_preview1", "sock_send", "iiiii", "i"},
    {"wasi_snapshot_preview1", "sock_shutdown", "ii", "i"},
};

enum { IMPORTS = 140 + 46 + 22, TEXT_BYTES = 256 << 10 };
_Static_assert(VIV_COUNT_OF(imports) == IMPORTS, "the numbers of the contract");

static const char *type_name(char letter)
{
    return letter == 'i' ? "i32" : letter == 'I' ? "i64" : "f64";
}

// Appends one import; `changed`: with another type.
static size_t add_import(char *out, size_t at, const struct import *import, bool changed)
{
    at += (size_t)sprintf(out + at, "(import \"%s\" \"%s\" (func", import->module, import->name);
    const bool by_param = changed && import->params[0] != '\0';
    for (const char *p = import->params; *p != '\0'; p++) {
        const bool last = p[1] == '\0';
        const char letter = by_param && last ? (*p == 'i' ? 'I' : 'i') : *p;
        at += (size_t)sprintf(out + at, " (param %s)", type_name(letter));
    }
    if (import->result[0] != '\0')
        at += (size_t)sprintf(out + at, " (result %s)",
                              type_name(changed && !by_param ? 'F' : import->result[0]));
    else if (changed && !by_param)
        at += (size_t)sprintf(out + at, " (result i32)");
    return at + (size_t)sprintf(out + at, "))\n");
}

void case_120_all(struct world *world);
void case_120_all(struct world *world)
{
    static char text[TEXT_BYTES];
    size_t at = (size_t)sprintf(text, "(module\n");
    for (size_t i = 0; i < IMPORTS; i++)
        at = add_import(text, at, &imports[i], false);
    (void)sprintf(text + at, "(memory (export \"memory\") 1) (func (export \"run\")))");
    const viv_pid pid = world_start(world, world_text(world, "all", text), "run", NULL, 0);
    check_reason(world_await(world, pid), VIV_REASON_NORMAL, 0);
}

static void check_refused(struct world *world, const struct import *import, const char *text,
                          bool names_types)
{
    struct viv_diag diag = {0};
    struct viv_module *module = world_load(world, "changed", text, strlen(text), &diag);
    const bool good =
        module == NULL && strstr(diag.text, import->module) != NULL &&
        strstr(diag.text, import->name) != NULL &&
        (!names_types || strstr(diag.text, "i32") != NULL || strstr(diag.text, "i64") != NULL);
    if (!good) fprintf(stderr, "%s\n-> %s\n", text, module != NULL ? "loaded" : diag.text);
    CHECK(good);
}

void case_120_changed(struct world *world);
void case_120_changed(struct world *world)
{
    static char text[4096];
    for (size_t i = 0; i < IMPORTS; i++) {
        size_t at = (size_t)sprintf(text, "(module\n");
        at = add_import(text, at, &imports[i], true);
        (void)sprintf(text + at, "(func (export \"run\")))");
        check_refused(world, &imports[i], text, true);
    }
}

// Beside the functions: other names, other kinds, other modules.
void case_120_others(struct world *world);
void case_120_others(struct world *world)
{
    static const struct {
        struct import import;
        const char *text;
    } rows[] = {
        {{"env", "foo", "", ""}, "(module (import \"env\" \"foo\" (func)))"},
        {{"lunatic::process", "spawn2", "", ""},
         "(module (import \"lunatic::process\" \"spawn2\" (func)))"},
        {{"lunatic::nothing", "x", "", ""}, "(module (import \"lunatic::nothing\" \"x\" (func)))"},
        {{"lunatic", "process", "", ""}, "(module (import \"lunatic\" \"process\" (func)))"},
        {{"wasi_unstable", "fd_write", "", ""},
         "(module (import \"wasi_unstable\" \"fd_write\""
         " (func (param i32 i32 i32 i32) (result i32))))"},
        {{"env", "memory", "", ""}, "(module (import \"env\" \"memory\" (memory 1)))"},
        {{"viv", "memory", "", ""}, "(module (import \"viv\" \"memory\" (memory 1)))"},
        {{"viv", "table", "", ""}, "(module (import \"viv\" \"table\" (table 1 funcref)))"},
        {{"viv", "version", "", ""}, "(module (import \"viv\" \"version\" (global i32)))"},
        {{"viv", "tag", "", ""}, "(module (import \"viv\" \"tag\" (tag (param i32))))"},
        {{"lunatic::registry", "get_or_put_later", "", ""},
         "(module (import \"lunatic::registry\" \"get_or_put_later\""
         " (func (param i32 i32 i32 i32) (result i32))))"},
        {{"lunatic::message", "send_receive_skip_search", "", ""},
         "(module (import \"lunatic::message\" \"send_receive_skip_search\""
         " (func (param i64 i64) (result i32))))"},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++)
        check_refused(world, &rows[i].import, rows[i].text, false);
    // the two of older guest libraries name the version
    struct viv_diag diag = {0};
    CHECK(world_load(world, "old", rows[10].text, strlen(rows[10].text), &diag) == NULL);
    fprintf(stderr, "%s\n", diag.text);
    CHECK(strstr(diag.text, "built for lunatic-rs 0.13.0, needs 0.13.1 or newer") != NULL);
    CHECK(world_load(world, "old", rows[11].text, strlen(rows[11].text), &diag) == NULL);
    fprintf(stderr, "%s\n", diag.text);
    CHECK(strstr(diag.text, "0.13") != NULL);
}
