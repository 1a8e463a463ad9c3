#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns errors.tab, alloc_tags.tab, locks.tab and caps.tab into C.

Usage: generate.py --tables DIR --out DIR

Writes errors.h errors.c alloc_tags.h alloc_tags.c locks.h locks.c caps.h caps.c. A table that breaks its own
rules (columns, duplicate names, order of numbers) stops the build with file and line.
"""

import argparse
import pathlib
import re
import sys

NAME = re.compile(r"[A-Z][A-Z0-9_]*\Z")
WORD = re.compile(r"[a-z][a-z0-9_]*\Z")
HEAD = "// SPDX-License-Identifier: Apache-2.0\n// Generated from gen/{table} by gen/generate.py; edit the table.\n"


class TableError(Exception):
    """A row that breaks the rules of its table."""


def rows(path, columns, optional=0):
    """Yields (line number, cells) of every row that is not a comment; as many optional columns may follow."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("|")]
        if not columns <= len(cells) <= columns + optional:
            raise TableError(f"{path}:{number}: {len(cells)} columns where {columns} are due")
        if not all(cells):
            raise TableError(f"{path}:{number}: an empty column")
        yield number, cells


def c_string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def header(table, guard, body):
    return f"{HEAD.format(table=table)}#ifndef {guard}\n#define {guard}\n\n{body}\n#endif\n"


def switch_function(signature, cases, default):
    lines = [signature, "{", "    switch (value) {"]
    lines += [f"    case {name}:\n        return {text};" for name, text in cases]
    lines += ["    }", f"    return {default};", "}", ""]
    return "\n".join(lines)


def read_errors(path):
    """Rows of errors.tab as (number, name, beam, wasi, text), checked."""
    errors, names, last = [], set(), 0
    for line, (number, name, beam, wasi, text) in rows(path, 5):
        where = f"{path}:{line}"
        if not number.isdigit() or not last < int(number) < 32768:
            raise TableError(f"{where}: numbers ascend from 1: {number}")
        if not NAME.match(name) or name in names:
            raise TableError(f"{where}: not a new name in capitals: {name}")
        if not WORD.match(beam):
            raise TableError(f"{where}: not an atom: {beam}")
        if not wasi.isdigit() or not 0 < int(wasi) <= 76:
            raise TableError(f"{where}: not an errno of WASI preview 1: {wasi}")
        last = int(number)
        names.add(name)
        errors.append((last, name, beam, int(wasi), text))
    return errors


def error_id(name):
    """The enumerator: VIV_STORE_... for durable work (its contract names them so), else VIV_E_..."""
    return "VIV_" + name if name.startswith("STORE_") else "VIV_E_" + name


def make_errors(tables):
    errors = read_errors(tables / "errors.tab")
    width = max(len(error_id(name)) for _, name, _, _, _ in errors)
    enum = ["// Numbers never change: guests and stores keep them.", "enum viv_err {", "    VIV_OK = 0,"]
    enum += [f"    {error_id(name)} = {number}, {'':{width - len(error_id(name))}}// {text}"
             for number, name, _, _, text in errors]
    enum += ["};", ""]
    ok = ("VIV_OK", '"OK"'), ("VIV_OK", '"ok"'), ("VIV_OK", '"success"'), ("VIV_OK", "0")
    ids = [error_id(row[1]) for row in errors]
    source = [HEAD.format(table="errors.tab"), '#include "base/err.h"\n\n']
    source += [
        switch_function("const char *viv_err_name(enum viv_err value)",
                        [ok[0]] + [(i, c_string(r[1])) for i, r in zip(ids, errors)], '"UNKNOWN"'),
        "\n",
        switch_function("const char *viv_err_beam_reason(enum viv_err value)",
                        [ok[1]] + [(i, c_string(r[2])) for i, r in zip(ids, errors)], '"unknown"'),
        "\n",
        switch_function("const char *viv_err_text(enum viv_err value)",
                        [ok[2]] + [(i, c_string(r[4])) for i, r in zip(ids, errors)],
                        '"unknown error"'),
        "\n// A number outside the table is EIO (29) to a guest.\n",
        switch_function("uint16_t viv_err_wasi(enum viv_err value)",
                        [ok[3]] + [(i, str(r[3])) for i, r in zip(ids, errors)], "29"),
    ]
    return {"errors.h": header("errors.tab", "VIV_GEN_ERRORS_H", "\n".join(enum)),
            "errors.c": "".join(source)}


def read_names(path):
    """Rows of a table `name | text`, names checked."""
    found, names = [], set()
    for line, (name, text) in rows(path, 2):
        if not NAME.match(name) or name in names:
            raise TableError(f"{path}:{line}: not a new name in capitals: {name}")
        names.add(name)
        found.append((name, text))
    if not found:
        raise TableError(f"{path}: no rows")
    return found


def make_tags(tables):
    tags = read_names(tables / "alloc_tags.tab")
    width = max(len(name) for name, _ in tags)
    enum = ["enum viv_tag {"]
    enum += [f"    VIV_TAG_{name}, {'':{width - len(name)}}// {text}" for name, text in tags]
    enum += ["    VIV_TAG_COUNT", "};", ""]
    cases = [(f"VIV_TAG_{name}", c_string(name.lower())) for name, _ in tags]
    cases.append(("VIV_TAG_COUNT", '"?"'))
    source = [HEAD.format(table="alloc_tags.tab"), '#include "base/alloc.h"\n\n',
              switch_function("const char *viv_alloc_tag_name(enum viv_tag value)", cases, '"?"')]
    return {"alloc_tags.h": header("alloc_tags.tab", "VIV_GEN_ALLOC_TAGS_H", "\n".join(enum)),
            "alloc_tags.c": "".join(source)}


def make_locks(tables):
    locks = read_names(tables / "locks.tab")
    width = max(len(name) for name, _ in locks) + len(str(len(locks)))
    enum = ["// A thread that holds a lock takes only locks of a higher rank.", "enum viv_lock_rank {"]
    for rank, (name, text) in enumerate(locks, 1):
        pad = width - len(name) - len(str(rank))
        enum.append(f"    VIV_LOCK_{name} = {rank}, {'':{pad}}// {text}")
    enum += ["};", "", "// Never NULL; \"?\" for a number that is no rank.",
             "const char *viv_lock_rank_name(enum viv_lock_rank value);", ""]
    cases = [(f"VIV_LOCK_{name}", c_string(name)) for name, _ in locks]
    source = [HEAD.format(table="locks.tab"), '#include "gen/locks.h"\n\n',
              switch_function("const char *viv_lock_rank_name(enum viv_lock_rank value)", cases, '"?"')]
    return {"locks.h": header("locks.tab", "VIV_GEN_LOCKS_H", "\n".join(enum)),
            "locks.c": "".join(source)}


CLASS = re.compile(r"[a-z]+(?:\.[a-z]+)?\Z")
SCOPE_TYPES = ("relation", "names", "nodes", "hosts", "rids", "kinds", "classes", "signals", "bodies", "verbs", "words",
               "max", "address", "directory", "command")


def read_scopes(text, where):
    """Types of patterns of a class as (names of types, names of signals, words), checked."""
    types, signals, words = [], "NONE", []
    for name, _, inside in re.findall(r"([a-z]+)(\(([^)]*)\))?", text if text != "-" else ""):
        if name not in SCOPE_TYPES or name in types:
            raise TableError(f"{where}: not a new type of pattern: {name}")
        if name == "signals":
            if inside not in ("proc", "os"):
                raise TableError(f"{where}: signals of proc or os: {inside}")
            signals = inside.upper()
        elif name == "words":
            words = inside.split()
            if not words or not all(map(WORD.match, words)):
                raise TableError(f"{where}: words(W ...): {inside}")
        elif inside:
            raise TableError(f"{where}: {name} takes no brackets")
        types.append(name)
    if len({"kinds", "classes", "signals", "bodies", "words"} & set(types)) > 1:
        raise TableError(f"{where}: a class takes one type of set at most: {text}")
    if not types and text != "-":
        raise TableError(f"{where}: no types of patterns and no `-`: {text}")
    return types, signals, words


def read_caps(path):
    """Rows of caps.tab as (number, name, types, signals, words, delegable, text), checked."""
    caps, names = [], set()
    for line, (number, name, scopes, delegable, text) in rows(path, 5):
        where = f"{path}:{line}"
        if number != str(len(caps)) or len(caps) >= 64:
            raise TableError(f"{where}: numbers are 0, 1, 2 ... up to 63: {number}")
        if not CLASS.match(name) or name in names:
            raise TableError(f"{where}: not a new name of a class: {name}")
        if delegable not in ("yes", "†"):
            raise TableError(f"{where}: delegable is yes or †: {delegable}")
        names.add(name)
        caps.append((len(caps), name, *read_scopes(scopes, where), delegable == "yes", text))
    if not caps:
        raise TableError(f"{path}: no rows")
    return caps


CAPS_HEAD = """#include "base/defs.h"

enum viv_scope_type {{
{types}
    VIV_SCOPE_TYPES
}};

// Which vocabulary patterns of the type signals use.
enum viv_signal_set {{ VIV_SIGNALS_NONE, VIV_SIGNALS_PROC, VIV_SIGNALS_OS }};

// The number is the bit in every mask and never changes.
enum viv_cap {{
{classes}
    VIV_CAP_COUNT
}};

#define VIV_CAP_BIT(cap) (UINT64_C(1) << (cap))
#define VIV_CAP_ALL (VIV_CAP_BIT(VIV_CAP_COUNT) - 1)

struct viv_cap_row {{
    const char *name;         // "net.connect"
    uint32_t types;           // bits 1 << enum viv_scope_type
    enum viv_signal_set signals;
    bool is_delegable;
    const char *const *words; // in the order of their bits; ends with NULL
    const char *text;
}};
extern const struct viv_cap_row viv_cap_rows[VIV_CAP_COUNT];
"""


def make_caps(tables):
    caps = read_caps(tables / "caps.tab")
    ids = ["VIV_CAP_" + name.replace(".", "_").upper() for _, name, *_ in caps]
    width = max(map(len, ids)) + 2
    classes = [f"    {one} = {row[0]}, {'':{width - len(one) - len(str(row[0]))}}// {row[6]}" for one, row in zip(ids, caps)]
    types = [f"    VIV_SCOPE_{name.upper()}," for name in SCOPE_TYPES]
    body = CAPS_HEAD.format(types="\n".join(types), classes="\n".join(classes))
    source = [HEAD.format(table="caps.tab"), '#include "gen/caps.h"\n\n']
    for number, _, _, _, words, _, _ in caps:
        if words:
            source.append(f"static const char *const words_{number}[] = {{{', '.join(map(c_string, words))}, NULL}};\n")
    source.append("static const char *const no_words[] = {NULL};\n\n")
    source.append("const struct viv_cap_row viv_cap_rows[VIV_CAP_COUNT] = {\n")
    for number, name, types, signals, words, delegable, text in caps:
        mask = " | ".join(f"1u << VIV_SCOPE_{one.upper()}" for one in types) or "0"
        source.append(f"    {{{c_string(name)}, {mask}, VIV_SIGNALS_{signals}, {str(delegable).lower()}, "
                      f"{f'words_{number}' if words else 'no_words'}, {c_string(text)}}},\n")
    source.append("};\n")
    return {"caps.h": header("caps.tab", "VIV_GEN_CAPS_H", body), "caps.c": "".join(source)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    try:
        files = {}
        for make in (make_errors, make_tags, make_locks, make_caps):
            files.update(make(options.tables))
    except (TableError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = options.out / name
        # An unchanged file keeps its time, so that nothing that includes it is compiled again.
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
