#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns guestops.tab into C.

Usage: guestops.py --tables DIR --out DIR

Writes guestops.h (numbers and names, sizes of arguments and results, offsets of their fields). A row that breaks the rules of the
table stops the build with file and line.
"""

import argparse
import pathlib
import re
import sys

sys.dont_write_bytecode = True  # the source tree stays as it is
from generate import TableError, header, rows

WORD = re.compile(r"[a-z][a-z0-9_]*\Z")
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}


def read_fields(text, where):
    """([(type, name, offset)], size without the bytes, whether bytes follow)"""
    fields, size, has_bytes = [], 0, False
    for field in [] if text == "-" else [part.strip() for part in text.split(",")]:
        if has_bytes:
            raise TableError(f"{where}: nothing follows the bytes: {text}")
        if field == "bytes":
            has_bytes = True
            continue
        kind, _, name = field.partition(" ")
        if kind not in SIZES or not WORD.match(name) or any(name == other for _, other, _ in fields):
            raise TableError(f"{where}: not a field with a name of its own: {field}")
        if size % SIZES[kind]:
            raise TableError(f"{where}: {name} is not aligned")
        fields.append((kind, name, size))
        size += SIZES[kind]
    return fields, size, has_bytes


def read_ops(path):
    ops, last = [], 0
    for line, (number, name, args, result, text) in rows(path, 5):
        where = f"{path}:{line}"
        if not number.isdigit() or not last < int(number) < 60:
            raise TableError(f"{where}: numbers ascend from 1 to 59: {number}")
        if not WORD.match(name) or any(op["name"] == name for op in ops):
            raise TableError(f"{where}: not a new name: {name}")
        last = int(number)
        ops.append({"number": last, "name": name, "args": read_fields(args, where), "result": read_fields(result, where),
                    "text": text})
    if not ops:
        raise TableError(f"{path}: no rows")
    return ops


def make_header(ops):
    body = ['#include "base/defs.h"', "", "enum viv_guestop {"]
    body += [f"    VIV_GUESTOP_{op['name'].upper()} = {op['number']}, // {op['text']}" for op in ops]
    body += ["};", "", "// _BYTES: of all fields, without what follows; _AT: where a field begins.", "enum {"]
    for op in ops:
        for part in ("args", "result"):
            fields, size, _ = op[part]
            stem = f"VIV_GUESTOP_{op['name'].upper()}_{part.upper()}"
            body += [f"    {stem}_BYTES = {size},"]
            body += [f"    {stem}_{name.upper()}_AT = {offset}," for _, name, offset in fields]
    body += ["};", "", "// \"host\": none of the table's.", "static inline const char *viv_guestop_name(uint32_t op)", "{",
             "    switch (op) {"]
    body += [f"    case VIV_GUESTOP_{op['name'].upper()}:\n        return \"{op['name']}\";" for op in ops]
    body += ["    default:", "        return \"host\";", "    }", "}", ""]
    return header("guestops.tab", "VIV_GEN_GUESTOPS_H", "\n".join(body)).replace("generate.py", "guestops.py")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    try:
        text = make_header(read_ops(options.tables / "guestops.tab"))
    except (TableError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "guestops.h"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
