#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns native_layouts.tab into C.

Usage: native_layouts.py --tables DIR --out DIR

Writes native_layouts.h: each structure, its size asserted, and its fields as a macro for other bindings. A field
that would leave a gap stops the build with file and line.
"""

import argparse
import pathlib
import re
import sys

sys.dont_write_bytecode = True  # the source tree stays as it is
from generate import TableError, header, rows

WORD = re.compile(r"[a-z][a-z0-9_]*\Z")
SCALARS = {"u32": ("uint32_t", 4), "i32": ("int32_t", 4), "u64": ("uint64_t", 8)}
ARRAY = re.compile(r"(?:(bytes|text)\(([0-9]+)\)|([a-z0-9]+)\[([0-9]+)\])\Z")


def measure(kind, known, where):
    """C type, count (0: no array), size and alignment of a field."""
    if kind in SCALARS:
        name, size = SCALARS[kind]
        return name, 0, size, size
    match = ARRAY.match(kind)
    if match and match[1]:
        return ("char" if match[1] == "text" else "uint8_t"), int(match[2]), int(match[2]), 1
    if match and match[3] in SCALARS:
        name, size = SCALARS[match[3]]
        return name, int(match[4]), size * int(match[4]), size
    if match and match[3] in known:
        size = known[match[3]]
        return f"struct viv_native_layout_{match[3]}", int(match[4]), size * int(match[4]), 8
    raise TableError(f"{where}: not a type: {kind}")


def read(path):
    layouts, sizes = {}, {}
    for line, (struct, field, kind, _) in rows(path, 4):
        where = f"{path}:{line}"
        if not WORD.match(struct) or not WORD.match(field):
            raise TableError(f"{where}: not a name: {struct} {field}")
        if struct not in layouts:
            if any(size % 8 for size in sizes.values()):
                raise TableError(f"{where}: what is above has a gap at its end")
            layouts[struct], sizes[struct] = [], 0
        if struct != list(layouts)[-1] or any(field == known[0] for known in layouts[struct]):
            raise TableError(f"{where}: not in one run, or twice: {struct} {field}")
        name, count, size, align = measure(kind, sizes, where)
        if sizes[struct] % align:
            raise TableError(f"{where}: a gap before {field}")
        layouts[struct].append((field, name, count))
        sizes[struct] += size
    if not sizes or any(size % 8 for size in sizes.values()):
        raise TableError(f"{path}: no rows, or a gap at an end")
    return layouts, sizes


def make(layouts, sizes):
    body = ["#include <stdint.h>", ""]
    for struct, fields in layouts.items():
        body += [f"struct viv_native_layout_{struct} {{"]
        body += [f"    {kind} {field}{f'[{count}]' if count else ''};" for field, kind, count in fields]
        body += ["};", f"_Static_assert(sizeof(struct viv_native_layout_{struct}) == {sizes[struct]}, \"no gaps\");",
                 f"// X(structure, field)", f"#define VIV_NATIVE_LAYOUT_{struct.upper()}(X) \\"]
        body += [f"    X({struct}, {field}) \\" for field, _, _ in fields]
        body += ["    // end of the fields", ""]
    text = header("native_layouts.tab", "VIV_GEN_NATIVE_LAYOUTS_H", "\n".join(body))
    return text.replace("generate.py", "native_layouts.py")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    try:
        text = make(*read(options.tables / "native_layouts.tab"))
    except (TableError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "native_layouts.h"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
