#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns kinds.tab into C.

Usage: kinds.py --tables DIR --out DIR

Writes kinds.h (numbers, rights) and kinds.c (the rows). A row that breaks the rules of the table stops the
build with file and line.
"""

import argparse
import pathlib
import re
import sys

sys.dont_write_bytecode = True  # the source tree stays as it is
from generate import HEAD, TableError, c_string, header, rows

WORD = re.compile(r"[a-z][a-z0-9_]*\Z")
CLOSES = re.compile(r"(remove|keep)(?::([1-9][0-9]{0,3}))?\Z")
COMMON_RIGHTS = ("read", "write", "wait", "stat", "control", "destroy", "share", "transfer", "derive", "grant", "revoke",
                 "own")
BUILTIN_MAX = 64
OWN_RIGHTS_FROM = 16


def read_row(cells, where):
    """One row as a dictionary; parents stay names."""
    number, name, closes, send, rank, sync, parents, rights = cells
    close = CLOSES.match(closes)
    if not close or (close[2] and close[1] == "remove"):
        raise TableError(f"{where}: remove, keep or keep:SECONDS: {closes}")
    if send not in ("no", "copy", "move") or sync not in ("lock", "self", "owner"):
        raise TableError(f"{where}: send is no, copy or move, sync lock, self or owner: {send}, {sync}")
    if not rank.isdigit() or int(rank) > 15:
        raise TableError(f"{where}: end ranks are 0 to 15: {rank}")
    own = rights.split() if rights != "-" else []
    if len(set(own)) != len(own) or len(own) > 16 or not all(map(WORD.match, own)):
        raise TableError(f"{where}: at most 16 names of rights, each once: {rights}")
    return {"number": int(number), "name": name, "close": close[1], "keep_s": int(close[2] or 0), "send": send,
            "rank": int(rank), "sync": sync, "parents": parents.split() if parents != "-" else [], "rights": own}


def resolve_parents(kinds, wheres):
    by_name = {kind["name"]: kind for kind in kinds}
    for kind, where in zip(kinds, wheres):
        kind["any"] = kind["parents"] == ["any"]
        kind["mask"], kind["held"] = 0, 0
        for parent in [] if kind["any"] else kind["parents"]:
            other = by_name.get(parent.rstrip("+"))
            if other is None:
                raise TableError(f"{where}: no such kind: {parent}")
            if other["rank"] < kind["rank"]:
                raise TableError(f"{where}: the parent {parent} would end before its child")
            kind["mask"] |= 1 << other["number"]
            kind["held"] |= parent.endswith("+")


def read_kinds(path):
    kinds, wheres, last = [], [], 0
    for line, cells in rows(path, 8):
        where = f"{path}:{line}"
        if not cells[0].isdigit() or not last < int(cells[0]) < BUILTIN_MAX:
            raise TableError(f"{where}: numbers ascend from 1 to {BUILTIN_MAX - 1}: {cells[0]}")
        if not WORD.match(cells[1]) or any(kind["name"] == cells[1] for kind in kinds):
            raise TableError(f"{where}: not a new name: {cells[1]}")
        last = int(cells[0])
        kinds.append(read_row(cells, where))
        wheres.append(where)
    if not kinds:
        raise TableError(f"{path}: no rows")
    resolve_parents(kinds, wheres)
    return kinds


def make_header(kinds):
    body = ["// Rights of every kind; those of one kind alone start at bit 16. Bits 12 to 15 are 0.", "enum {"]
    body += [f"    VIV_RIGHT_{name.upper()} = 1 << {bit}," for bit, name in enumerate(COMMON_RIGHTS)]
    body += [f"    VIV_RIGHTS_COMMON = (1 << {len(COMMON_RIGHTS)}) - 1,"]
    for kind in kinds:
        body += [f"    VIV_RIGHT_{kind['name'].upper()}_{name.upper()} = 1 << {OWN_RIGHTS_FROM + bit},"
                 for bit, name in enumerate(kind["rights"])]
    body += ["};", "", "enum viv_builtin_kind {"]
    body += [f"    VIV_KIND_{kind['name'].upper()} = {kind['number']}," for kind in kinds]
    body += [f"    VIV_KIND_BUILTIN_END = {kinds[-1]['number'] + 1},", "};", ""]
    return header("kinds.tab", "VIV_GEN_KINDS_H", "\n".join(body))


def make_source(kinds):
    lines = [HEAD.format(table="kinds.tab").replace("generate.py", "kinds.py") + '#include "cap/kind.h"\n',
             "const struct viv_res_kind viv_res_builtin_kinds[VIV_KIND_BUILTIN_END] = {"]
    for kind in kinds:
        own = ((1 << len(kind["rights"])) - 1) << OWN_RIGHTS_FROM
        mask = "VIV_PARENTS_ANY" if kind["any"] else f"UINT64_C({kind['mask']:#x})"
        lines += [f"    [VIV_KIND_{kind['name'].upper()}] =",
                  f"        {{.name = {c_string(kind['name'])},",
                  f"         .sync = VIV_SYNC_{kind['sync'].upper()},",
                  f"         .end_rank = {kind['rank']},",
                  f"         .send = VIV_SEND_{kind['send'].upper()},",
                  f"         .last_close = VIV_LAST_CLOSE_{kind['close'].upper()},",
                  f"         .holds_parent = {int(kind['held'])},",
                  f"         .keep_s = {kind['keep_s']},",
                  f"         .rights_all = VIV_RIGHTS_COMMON | {own:#x}u,",
                  f"         .parents = {mask}}},"]
    return "\n".join(lines + ["};", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    try:
        kinds = read_kinds(options.tables / "kinds.tab")
    except (TableError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in {"kinds.h": make_header(kinds).replace("generate.py", "kinds.py"),
                       "kinds.c": make_source(kinds)}.items():
        path = options.out / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
