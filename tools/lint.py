#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""All static checks; each part says what it found, and how long it took.

Usage: tools/lint.py [-jN] [--only PART]... [--format]

Parts: tidy (tools/tidy.py), python (the scripts compile), format (clang-format), headers (each compiles
alone), clang-tidy (on src/, with .clang-tidy). --format formats in place instead of checking.
Status 1 when any part found something.
"""

import argparse
import ast
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "dev"
FORMATTED = ("src", "include", "test", "examples")


def find(tool):
    for name in (f"{tool}-19", tool):
        path = shutil.which(name)
        if path:
            return path
    sys.exit(f"lint: {tool}-19 is missing; run tools/setup")


def c_files():
    return sorted(path for folder in FORMATTED for path in (ROOT / folder).rglob("*.[ch]"))


def run(command):
    """(whether it succeeded, what it printed)"""
    done = subprocess.run(command, cwd=ROOT, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode == 0, done.stdout


def part_tidy(_):
    return run([sys.executable, ROOT / "tools" / "tidy.py"])


def part_python(_):
    wrong = []
    for path in sorted(ROOT.glob("tools/*")) + sorted(ROOT.glob("gen/*.py")) + sorted(ROOT.glob("test/**/*.py")):
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".py" or text.startswith("#!/usr/bin/env python3"):
            try:
                ast.parse(text, str(path))
            except SyntaxError as error:
                wrong.append(f"{path.relative_to(ROOT)}:{error.lineno}: {error.msg}")
        elif text.startswith("#!/bin/sh"):
            clean, output = run(["sh", "-n", path])
            wrong += [] if clean else [output]
    return not wrong, "\n".join(wrong)


def part_format(_):
    files = c_files()
    return run([find("clang-format"), "--dry-run", "-Werror", *files]) if files else (True, "")


def configure():
    if not (BUILD / "build.ninja").is_file():
        return run([ROOT / "tools" / "build", "dev", "viv_gen"])
    # Runs CMake again when files have come or gone, and the generators.
    return run(["ninja", "-C", BUILD, "viv_gen"])


def part_headers(jobs):
    clean, output = configure()
    return run(["ninja", f"-j{jobs}", "-k0", "-C", BUILD, "lone-headers"]) if clean else (clean, output)


def part_clang_tidy(jobs):
    clean, output = configure()
    if not clean:
        return clean, output
    database = json.loads((BUILD / "compile_commands.json").read_text(encoding="utf-8"))
    # A file may be compiled twice (viv_kernel_sim): once is enough here.
    files = sorted({entry["file"] for entry in database if entry["file"].startswith(str(ROOT / "src") + os.sep)})
    tool = find("clang-tidy")

    def one(file):
        clean, output = run([tool, "--quiet", "-p", BUILD, file])
        lines = [line for line in output.splitlines() if not line.endswith(("warnings generated.", "warning generated."))]
        return clean, "\n".join(line for line in lines if not line.startswith("Suppressed "))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(one, files))
    return all(clean for clean, _ in results), "\n".join(output for clean, output in results if not clean)


PARTS = {"tidy": part_tidy, "python": part_python, "format": part_format, "headers": part_headers,
         "clang-tidy": part_clang_tidy}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-j", type=int, default=os.cpu_count() or 1, dest="jobs")
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--format", action="store_true")
    options = parser.parse_args()
    if options.format:
        files = c_files()
        return subprocess.call([find("clang-format"), "-i", *files]) if files else 0
    failed = []
    for name in options.only or PARTS:
        started = time.monotonic()
        clean, output = PARTS[name](options.jobs)
        if not clean:
            print(output.rstrip())
            failed.append(name)
        print(f"lint: {name}: {'ok' if clean else 'FAILED'} ({time.monotonic() - started:.1f} s)", flush=True)
    if failed:
        print(f"lint: failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
