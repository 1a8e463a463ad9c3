#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs each mode of the must_fail program under ctest and checks that it fails for the right reason.

Usage: must_fail.py PROGRAM SANITIZER     (SANITIZER: none, address, thread, fuzz)
"""

import pathlib
import re
import subprocess
import sys
import tempfile

# mode: what the output of ctest must contain
ALWAYS = {
    "false": r"0x2 != 0x3.*\*\*\*Failed",
    "check": r"check failed: 1 \+ 1 == 3",
    "crash": r"(Segmentation fault|SEGV|null pointer|inside of a signal)",
    "wait": r"never is 0.*timed out waiting for: never",
    "hang": r"\*\*\*Timeout",
    "exit": r"ended without running its tests.*\*\*\*Failed",
    "nothing": r"ended without running its tests.*\*\*\*Failed",
}
ADDRESS = {
    "leak": r"LeakSanitizer: detected memory leaks",
    "overflow": r"AddressSanitizer: heap-buffer-overflow",
    "undefined": r"runtime error: signed integer overflow",
}
BY_SANITIZER = {"none": {}, "address": ADDRESS, "fuzz": ADDRESS,
                "thread": {"race": r"ThreadSanitizer: data race"}}


def run_mode(program, mode):
    """(passed, output) of one mode as a test of its own."""
    with tempfile.TemporaryDirectory() as folder:
        timeout = 2 if mode == "hang" else 60
        (pathlib.Path(folder) / "CTestTestfile.cmake").write_text(
            f'add_test("{mode}" "{program}" "{mode}")\n'
            f'set_tests_properties("{mode}" PROPERTIES TIMEOUT {timeout})\n', encoding="utf-8")
        done = subprocess.run(["ctest", "--test-dir", folder, "-V"], text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    return done.returncode == 0, done.stdout


def main():
    program, sanitizer = sys.argv[1:]
    wrong = 0
    passed, output = run_mode(program, "pass")
    if not passed:
        print(f"mode pass fails:\n{output}")
        wrong += 1
    for mode, pattern in {**ALWAYS, **BY_SANITIZER[sanitizer]}.items():
        passed, output = run_mode(program, mode)
        if passed or not re.search(pattern, output, re.DOTALL):
            print(f"mode {mode} {'passes' if passed else 'fails for another reason'}, "
                  f"expected /{pattern}/:\n{output}")
            wrong += 1
        else:
            print(f"mode {mode} fails as it must")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
