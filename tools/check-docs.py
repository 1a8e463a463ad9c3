#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles every block of C in the pages of docs/, so that no example rots.

Usage: check-docs.py CC BUILD

A block that begins ```c is compiled as a file of its own, with the project's warnings as errors; blocks
marked ```c guest are compiled for WebAssembly. Status 1 when one does not compile.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Werror"]


def blocks(path):
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"^```c( guest)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start()) + 2, bool(match[1]), match[2]


def main():
    compiler, build = sys.argv[1:]
    failed = count = 0
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for line, is_guest, code in blocks(page) if page.is_file() else ():
            count += 1
            command = [compiler, "-std=gnu17", "-fsyntax-only", *WARNINGS, f"-I{ROOT / 'include'}"]
            if is_guest:
                command += ["--target=wasm32-wasi"]
            else:
                command += ["-D_GNU_SOURCE=", "-DVIV_DEBUG=1", "-DVIV_SIM=0", "-DVIV_STRESS=0", "-DVIV_SANITIZE=0",
                            f"-I{ROOT / 'src'}", f"-I{build}"]
            with tempfile.NamedTemporaryFile("w", suffix=".c", encoding="utf-8") as file:
                file.write(f'#line {line} "{page}"\n{code}')
                file.flush()
                failed += subprocess.run([*command, file.name], check=False).returncode != 0
    print(f"check-docs: {count - failed} of {count} blocks of C compile")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
