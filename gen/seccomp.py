#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns seccomp.tab into seccomp programs (classic BPF), one for each architecture and level.

Usage: seccomp.py --tables DIR --out DIR

Writes seccomp.h (the type) and seccomp.c (the programs). A program checks the architecture, then finds the
number by binary search among ranges of equal verdict. A row that breaks the rules of the table stops the build
with file and line.
"""

import argparse
import pathlib
import re
import sys

sys.dont_write_bytecode = True  # the source tree stays as it is
from generate import HEAD, TableError, header, rows

NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")
NUMBER = re.compile(r"(0x[0-9a-f]+|[0-9]+)\Z")
CONDITION = re.compile(r"arg([0-5])(?:/(0x[0-9a-f]+))?(?:=([0-9a-fx,]+))?\Z")
LEVELS = ("default", "strict", "tcp")
ARCHES = (("x86_64", 0xC000003E, 0x40000000), ("arm64", 0xC00000B7, None))  # AUDIT_ARCH_*; from where x32 starts
NUMBER_END = 1024  # numbers of rows are below
RETURNS = {"allow": 0x7FFF0000, "eperm": 0x00050000 | 1, "enosys": 0x00050000 | 38, "kill": 0x80000000}
UNKNOWN = {"default": "allow", "strict": "enosys", "tcp": "allow"}
# Instructions of classic BPF; offsets into struct seccomp_data.
LOAD, AND, JUMP, JEQ, JGE, JSET, RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x45, 0x06
NR_AT, ARCH_AT, ARGS_AT = 0, 4, 16


def number(text, where):
    if not NUMBER.match(text) or int(text, 0) > 0xFFFFFFFF:
        raise TableError(f"{where}: not a number of 32 bits: {text}")
    return int(text, 0)


def read_condition(text, where):
    """(argument, mask or None, numbers or None)"""
    match = CONDITION.match(text)
    if not match or (match[2] is None and match[3] is None):
        raise TableError(f"{where}: not a condition: {text}")
    mask = number(match[2], where) if match[2] else None
    values = tuple(number(one, where) for one in match[3].split(",")) if match[3] else None
    return int(match[1]), mask, values


def read_verdict(cell, where):
    """A cell as a tuple of (action, conditions); the last has none."""
    verdict = []
    for rule in cell.split(";"):
        action, *conditions = rule.split() or [""]
        if action not in ("allow", "eperm", "enosys"):
            raise TableError(f"{where}: actions are allow, eperm, enosys: {rule}")
        verdict.append((action, tuple(read_condition(one, where) for one in conditions)))
    if verdict[-1][1] or not all(conditions for _, conditions in verdict[:-1]):
        raise TableError(f"{where}: the last action alone has no condition: {cell}")
    return tuple(verdict)


def read_calls(path):
    """{(arch, level): {number: verdict}}"""
    calls = {(arch, level): {} for arch, _, _ in ARCHES for level in LEVELS}
    names = set()
    for line, (name, *numbers_and_cells) in rows(path, 5, 1):
        where = f"{path}:{line}"
        if not NAME.match(name) or name in names:
            raise TableError(f"{where}: not a new name of a call: {name}")
        names.add(name)
        cells = numbers_and_cells[2:]
        verdicts = [read_verdict(cell, where) for cell in (*cells, cells[0])[:len(LEVELS)]]
        for (arch, _, _), text in zip(ARCHES, numbers_and_cells[:2]):
            if text == "-":
                continue
            nr = number(text, where)
            if nr >= NUMBER_END or nr in calls[arch, LEVELS[0]]:
                raise TableError(f"{where}: not a new number below {NUMBER_END}: {text}")
            for level, verdict in zip(LEVELS, verdicts):
                calls[arch, level][nr] = verdict
    if not names:
        raise TableError(f"{path}: no rows")
    return calls


class Program:
    """Instructions whose jumps name labels, until `finish` turns them into distances."""

    def __init__(self):
        self.code = []  # (opcode, k, label if true, label if false); None: the next instruction
        self.labels = {}

    def emit(self, opcode, k=0, on_true=None, on_false=None):
        self.code.append((opcode, k, on_true, on_false))

    def new_label(self):
        label = len(self.labels)
        self.labels[label] = None
        return label

    def place(self, label):
        self.labels[label] = len(self.code)

    def leave(self, action):
        self.emit(RETURN, RETURNS[action])

    def finish(self):
        def distance(at, label):
            return 0 if label is None else self.labels[label] - at - 1
        done = []
        for at, (opcode, k, on_true, on_false) in enumerate(self.code):
            if opcode == JUMP:
                done.append((opcode, 0, 0, distance(at, on_true)))
                continue
            jumps = distance(at, on_true), distance(at, on_false)
            if max(jumps) > 255 or min(jumps) < 0:
                raise TableError("a jump of the program is too far")
            done.append((opcode, *jumps, k))
        return done


def emit_condition(program, condition, miss):
    arg, mask, values = condition
    program.emit(LOAD, ARGS_AT + 8 * arg)  # the low half: both architectures are little-endian
    if values is None:
        program.emit(JSET, mask, None, miss)
        return
    if mask is not None:
        program.emit(AND, mask)
    hit = program.new_label()
    for value in values[:-1]:
        program.emit(JEQ, value, hit)
    program.emit(JEQ, values[-1], hit, miss)
    program.place(hit)


def emit_verdict(program, verdict):
    for action, conditions in verdict:
        miss = program.new_label()
        for condition in conditions:
            emit_condition(program, condition, miss)
        program.leave(action)
        program.place(miss)


def emit_search(program, ranges):
    """ranges: (first number, verdict), ascending; the number is loaded."""
    if len(ranges) == 1:
        emit_verdict(program, ranges[0][1])
        return
    middle = len(ranges) // 2
    upper, lower = program.new_label(), program.new_label()
    # The lower half may be longer than a conditional jump reaches.
    program.emit(JGE, ranges[middle][0], None, lower)
    program.emit(JUMP, 0, upper)
    program.place(lower)
    emit_search(program, ranges[:middle])
    program.place(upper)
    emit_search(program, ranges[middle:])


def compile_program(arch_id, x32_from, unknown, calls):
    program = Program()
    known = program.new_label()
    program.emit(LOAD, ARCH_AT)
    program.emit(JEQ, arch_id, known)
    program.leave("kill")
    program.place(known)
    program.emit(LOAD, NR_AT)
    if x32_from is not None:
        ours = program.new_label()
        program.emit(JGE, x32_from, None, ours)
        program.leave("kill")
        program.place(ours)
    ranges = []
    for nr in range(NUMBER_END + 1):
        verdict = calls.get(nr, ((unknown, ()),))
        if not ranges or ranges[-1][1] != verdict:
            ranges.append((nr, verdict))
    emit_search(program, ranges)
    return program.finish()


SEARCH_NOTE = "// Each row: operation, distance if true, distance if false, operand (struct sock_filter)."
HEADER = """#include "base/defs.h"
#include <linux/filter.h>

// TCP: default, and of the Internet's sockets those of TCP only, whose ports Landlock can see.
enum viv_seccomp_level {{
    VIV_SECCOMP_DEFAULT,
    VIV_SECCOMP_STRICT,
    VIV_SECCOMP_TCP,
    VIV_SECCOMP_LEVELS
}};
enum viv_seccomp_arch {{ VIV_SECCOMP_X86_64, VIV_SECCOMP_ARM64, VIV_SECCOMP_ARCHES }};

enum {{ VIV_SECCOMP_LENGTH_MAX = {longest} }};

struct viv_seccomp_program {{
    const struct sock_filter *code;
    uint16_t length; // instructions
}};
extern const struct viv_seccomp_program
    viv_seccomp_programs[VIV_SECCOMP_ARCHES][VIV_SECCOMP_LEVELS];
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    try:
        calls = read_calls(options.tables / "seccomp.tab")
        programs = {(arch, level): compile_program(arch_id, x32_from, UNKNOWN[level], calls[arch, level])
                    for arch, arch_id, x32_from in ARCHES for level in LEVELS}
    except (TableError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    head = HEAD.format(table="seccomp.tab").replace("generate.py", "seccomp.py")
    source = [head, '#include "gen/seccomp.h"\n\n', SEARCH_NOTE, "\n"]
    for (arch, level), code in programs.items():
        source.append(f"static const struct sock_filter {arch}_{level}[] = {{\n")
        source += [f"    {{{opcode:#04x}, {on_true}, {on_false}, {k:#x}}},\n" for opcode, on_true, on_false, k in code]
        source.append("};\n")
    source.append("\nconst struct viv_seccomp_program\n"
                  "    viv_seccomp_programs[VIV_SECCOMP_ARCHES][VIV_SECCOMP_LEVELS] = {\n")
    for arch, _, _ in ARCHES:
        cells = ", ".join(f"{{{arch}_{level}, VIV_COUNT_OF({arch}_{level})}}" for level in LEVELS)
        source.append(f"        {{{cells}}},\n")
    source.append("};\n")
    body = HEADER.format(longest=max(map(len, programs.values())))
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in {"seccomp.h": header("seccomp.tab", "VIV_GEN_SECCOMP_H", body).replace("generate.py", "seccomp.py"),
                       "seccomp.c": "".join(source)}.items():
        path = options.out / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
