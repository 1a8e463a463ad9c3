#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns native.tab into C.

Usage: native.py --tables DIR --out DIR

Writes native.h (keys, words, the typed fields of a request) and native.c (the rows). A row that breaks the rules
of the table stops the build with file and line.
"""

import argparse
import pathlib
import re
import sys

sys.dont_write_bytecode = True  # the source tree stays as it is
from generate import HEAD, TableError, c_string, header, rows

WORD = re.compile(r"[a-z][a-z0-9_]*\Z")
NUMBER = re.compile(r"([0-9]+)(K|M|G|ms|s|m|h|d)?\Z")
UNITS = {None: 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000,
         "d": 86_400_000}
NONE = (1 << 64) - 1
CHOICE = re.compile(r"(word|set)\(([a-z0-9_ ]+)\)\Z")
NUMBERS, TEXTS = ("u32", "u64"), ("text", "string", "bytes", "env", "grant", "ids", "size")
FLAGS = {"r": "REQUIRED", "*": "REPEATS", "p": "PROBE", "e": "EXACT", "b": "TOOBIG", "2": "POWER"}
C_NAMES = {"stdin": "std_in", "stdout": "std_out", "stderr": "std_err"}  # names that <stdio.h> may take
KNOWN_FROM, KEYS_END = 1, 0x8000


def number(text, where):
    if text == "none":
        return NONE
    match = NUMBER.match(text)
    if not match:
        raise TableError(f"{where}: not a number: {text}")
    return int(match[1]) * UNITS[match[2]]


def read_choice(row, default, where):
    """Words of a field of words or of a set, and the number of its default."""
    row["words"] = row["type"][2].split()
    if len(set(row["words"])) != len(row["words"]) or not all(map(WORD.match, row["words"])):
        raise TableError(f"{where}: words, each once: {row['type'][2]}")
    row["type"] = row["type"][1]
    wanted = default.split()
    if not set(wanted) <= set(row["words"]) or (row["type"] == "word" and len(wanted) != 1):
        raise TableError(f"{where}: the default is none of the words: {default}")
    places = [row["words"].index(word) for word in wanted]
    row["default"] = places[0] if row["type"] == "word" else sum(1 << place for place in places)
    row["min"], row["max"] = 0, len(row["words"]) - 1 if row["type"] == "word" else (1 << len(row["words"])) - 1
    row["ceiling"] = row["max"]


def read_bounds(row, cells, where):
    """min, default, ceiling, max of a field that is no choice."""
    low, default, ceiling, high = cells
    if row["type"] == "bool":
        low, high = "0", "1"
    row["min"], row["max"] = number(low, where), number(high, where)
    row["ceiling"] = row["max"] if ceiling == "-" else number(ceiling, where)
    row["default"] = 0 if default == "-" else number(default, where)
    if row["type"] in TEXTS:
        if default != "-" or ceiling != "-":
            raise TableError(f"{where}: text has no default and no ceiling")
        row["default"] = 0
    elif not row["min"] <= row["default"] <= row["max"]:
        raise TableError(f"{where}: the default is not between min and max")
    if not row["min"] <= row["ceiling"] <= row["max"]:
        raise TableError(f"{where}: the ceiling is not between min and max")
    if row["type"] == "u32" and row["max"] >= 1 << 32:
        raise TableError(f"{where}: max does not fit u32")


def read_row(cells, where):
    key, name, kind, flags, count = cells[:5]
    choice = CHOICE.match(kind)
    if not choice and kind not in NUMBERS + TEXTS + ("bool",):
        raise TableError(f"{where}: not a type: {kind}")
    flags = "" if flags == "-" else flags
    if len(set(flags)) != len(flags) or not set(flags) <= set(FLAGS):
        raise TableError(f"{where}: flags are {' '.join(FLAGS)}, each once: {flags}")
    if ("*" in flags) != (count != "-"):
        raise TableError(f"{where}: a count belongs to what repeats")
    if "*" in flags and kind not in ("text", "string", "env", "grant"):
        raise TableError(f"{where}: only text repeats")
    row = {"key": int(key), "name": name, "type": choice or kind, "flags": flags, "words": [],
           "count": number(count, where) if count != "-" else 1}
    if choice:
        read_choice(row, cells[6], where)
    else:
        read_bounds(row, cells[5:], where)
    return row


def read_fields(path):
    fields, names = [], set()
    for line, cells in rows(path, 9):
        where = f"{path}:{line}"
        if cells[0] != str(len(fields) + KNOWN_FROM):
            raise TableError(f"{where}: numbers count up from {KNOWN_FROM}: {cells[0]}")
        if not WORD.match(cells[1]) or cells[1] in names:
            raise TableError(f"{where}: not a new name: {cells[1]}")
        names.add(cells[1])
        fields.append(read_row(cells, where))
    if not fields or len(fields) >= KEYS_END:
        raise TableError(f"{path}: no rows, or too many")
    return fields


def c_name(row):
    return C_NAMES.get(row["name"], row["name"])


def c_member(row):
    """Type and name of the field in C."""
    name = c_name(row)
    if "*" in row["flags"]:
        return f"struct viv_native_list {name};"
    return {"u32": f"uint32_t {name};", "u64": f"uint64_t {name};", "bool": f"bool {name};",
            "set": f"uint32_t {name}; // bits", "word": f"enum viv_native_{name} {name};",
            "ids": f"struct viv_native_ids {name};", "size": f"struct viv_native_size {name};",
            }.get(row["type"], f"struct viv_native_text {name};")


def make_header(fields):
    body = ["// Numbers of records.", "enum viv_native_key {", "    VIV_NATIVE_KEY_NONE = 0,"]
    body += [f"    VIV_NATIVE_KEY_{row['name'].upper()} = {row['key']}," for row in fields]
    body += [f"    VIV_NATIVE_KEYS_END = {fields[-1]['key'] + 1}", "};", ""]
    for row in fields:
        if not row["words"]:
            continue
        upper = row["name"].upper()
        body += [f"enum viv_native_{c_name(row)} {{"]
        body += [f"    VIV_NATIVE_{upper}_{word.upper()} = {place if row['type'] == 'word' else 1 << place},"
                 for place, word in enumerate(row["words"])]
        body += ["};", ""]
    body += ["// What a request asks for, in the order of the records.", "struct viv_native_fields {"]
    body += [f"    {c_member(row)}" for row in fields]
    body += ["};", "", "extern const struct viv_native_row viv_native_rows[VIV_NATIVE_KEYS_END];", ""]
    text = header("native.tab", "VIV_GEN_NATIVE_H", "\n".join(['#include "native/field.h"', ""] + body))
    return text.replace("generate.py", "native.py")


def make_source(fields):
    lines = [HEAD.format(table="native.tab").replace("generate.py", "native.py") + '#include "gen/native.h"\n']
    for row in fields:
        if row["words"]:
            words = ", ".join(c_string(word) for word in row["words"])
            lines += [f"static const char *const words_{row['name']}[] = {{{words}, NULL}};"]
    lines += ["", "const struct viv_native_row viv_native_rows[VIV_NATIVE_KEYS_END] = {"]
    for row in fields:
        flags = " | ".join(f"VIV_NATIVE_ROW_{FLAGS[flag]}" for flag in row["flags"]) or "0"
        words = f"words_{row['name']}" if row["words"] else "NULL"
        lines += [f"    [VIV_NATIVE_KEY_{row['name'].upper()}] =",
                  f"        {{.name = {c_string(row['name'])},",
                  f"         .words = {words},",
                  f"         .type = VIV_NATIVE_TYPE_{row['type'].upper()},",
                  f"         .flags = {flags},",
                  f"         .at = offsetof(struct viv_native_fields, {c_name(row)}),",
                  f"         .count_max = {row['count']},",
                  f"         .min = UINT64_C({row['min']}),",
                  f"         .by_default = UINT64_C({row['default']}),",
                  f"         .ceiling = UINT64_C({row['ceiling']}),",
                  f"         .max = UINT64_C({row['max']})}},"]
    return "\n".join(lines + ["};", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    try:
        fields = read_fields(options.tables / "native.tab")
    except (TableError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in {"native.h": make_header(fields), "native.c": make_source(fields)}.items():
        path = options.out / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
