#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns wasm_imports.tab into the table of host functions.

Usage: wasm_imports.py --tables DIR --out DIR

Writes wasm_imports.h (the rows as a macro, prototypes of the handlers) and wasm_imports.c (the
table, sorted by module and name). A table that breaks its own rules, or holds another number of
functions than the guest ABI has, stops the build with file and line.
"""

import argparse
import pathlib
import re
import sys

HEAD = "// SPDX-License-Identifier: Apache-2.0\n// Generated from gen/wasm_imports.tab by gen/wasm_imports.py; edit the table.\n"
COUNTS = {"lunatic": 140, "wasi_snapshot_preview1": 46, "viv": 22, "viv_res": 15}
MODULE = re.compile(r"(lunatic::[a-z]+|wasi_snapshot_preview1|viv|viv_res)\Z")
NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
HANDLER = re.compile(r"viv_wasm__[a-z][a-z0-9_]*\Z")
LETTERS = re.compile(r"[iIfF]{0,16}\Z")
STAND_IN = re.compile(r"viv_wasm__(later_\w+|\w+_none)\Z")


class TableError(Exception):
    """A row that breaks the rules of the table."""


class Row:
    """One importable function."""

    def __init__(self, where, cells):
        self.module, self.name, params, result, self.waits, self.handler, err = cells
        self.params = "" if params == "-" else params
        self.result = "" if result == "-" else result
        self.err = -1 if err == "-" else int(err) if err.isdigit() else -2
        rules = [
            (MODULE.match(self.module), f"not a module of the ABI: {self.module}"),
            (NAME.match(self.name), f"not a name: {self.name}"),
            (LETTERS.match(self.params), f"not parameter letters: {params}"),
            (LETTERS.match(self.result) and len(self.result) < 2, f"not a result: {result}"),
            (self.waits in ("S", "A"), f"neither S nor A: {self.waits}"),
            (HANDLER.match(self.handler), f"not a handler: {self.handler}"),
            (self.err >= -1, f"neither - nor an index: {err}"),
            (self.err < len(self.params), f"no such parameter: {err}"),
            (self.err < 0 or self.params[self.err] == "i", f"not a pointer: parameter {err}"),
        ]
        for holds, complaint in rules:
            if not holds:
                raise TableError(f"{where}: {complaint}")
        self.stand_in = bool(STAND_IN.match(self.handler))
        self.is_async = self.waits == "A" and not self.stand_in


def read_rows(path):
    rows, seen, handlers = [], set(), set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{path}:{number}"
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != 7 or not all(cells):
            raise TableError(f"{where}: not 7 columns with something in each")
        row = Row(where, cells)
        if (row.module, row.name) in seen:
            raise TableError(f"{where}: twice: {row.module}.{row.name}")
        if row.handler in handlers and not row.stand_in:
            raise TableError(f"{where}: handler twice: {row.handler}")
        seen.add((row.module, row.name))
        handlers.add(row.handler)
        rows.append(row)
    for family, due in COUNTS.items():
        count = sum(row.module.split("::")[0] == family for row in rows)
        if count != due:
            raise TableError(f"{path}: {count} functions of {family} where the ABI has {due}")
    return sorted(rows, key=lambda row: (row.module.encode(), row.name.encode()))


def make_header(rows):
    lines = [HEAD, "#ifndef VIV_GEN_WASM_IMPORTS_H\n#define VIV_GEN_WASM_IMPORTS_H\n\n",
             '#include "wasm/import.h"\n\n', f"#define VIV_IMPORT_COUNT {len(rows)}\n\n",
             "// Every row, sorted by module and name, as X(module, name, params, result, kind, handler, err):\n"
             "// result \"\" for none, kind sync or async, err the parameter for an error id or -1.\n",
             "#define VIV_IMPORTS(X) \\\n"]
    for row in rows:
        kind = "async" if row.is_async else "sync"
        lines.append(f'    X("{row.module}", "{row.name}", "{row.params}", "{row.result}", {kind}, {row.handler}, {row.err}) \\\n')
    lines.append("    // end of the rows\n\n")
    lines.append("extern const struct viv_import viv_wasm__imports[VIV_IMPORT_COUNT];\n\n")
    done = set()
    for row in rows:
        if row.handler in done:
            continue
        done.add(row.handler)
        if row.is_async:
            arguments = "struct viv_inst *inst, const wasmtime_val_t *args, wasmtime_val_t *result"
        else:
            arguments = "struct viv_inst *inst, wasmtime_val_raw_t *args_and_results"
        lines.append(f"enum viv_host {row.handler}({arguments});\n")
    lines.append("\n#endif\n")
    return "".join(lines)


def make_source():
    return (HEAD + '#include "gen/wasm_imports.h"\n\n'
            "#define ROW(module_, name_, params_, result_, kind_, handler_, err_) \\\n"
            "    {.module = module_, .name = name_, .params = params_, .result = result_, \\\n"
            "     .module_len = sizeof(module_) - 1, .name_len = sizeof(name_) - 1, \\\n"
            "     .param_count = sizeof(params_) - 1, .result_count = sizeof(result_) - 1, \\\n"
            "     .err_arg = err_, .kind_ = handler_},\n\n"
            "const struct viv_import viv_wasm__imports[VIV_IMPORT_COUNT] = {VIV_IMPORTS(ROW)};\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    try:
        rows = read_rows(options.tables / "wasm_imports.tab")
    except (TableError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in {"wasm_imports.h": make_header(rows), "wasm_imports.c": make_source()}.items():
        path = options.out / name
        # An unchanged file keeps its time, so that nothing that includes it is compiled again.
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
