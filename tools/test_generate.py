#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of gen/generate.py and gen/seccomp.py: what a table says arrives in the C, and a broken table is refused with its line."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOOD = {
    "errors.tab": "# comment\n1 | ONE | badarg | 28 | first \"quoted\"\n7 | SEVEN | eio | 29 | last\n",
    "alloc_tags.tab": "BASE | a\nOS | b\n",
    "locks.tab": "FIRST | a\nSECOND | b\n",
    "caps.tab": "0 | a.b | names words(x y) | yes | first\n1 | c | - | † | second\n",
}


class GenerateTest(unittest.TestCase):
    def generate(self, **changed):
        with tempfile.TemporaryDirectory() as folder:
            tables, out = pathlib.Path(folder) / "tables", pathlib.Path(folder) / "out"
            tables.mkdir()
            for name, text in {**GOOD, **{f"{key}.tab": text for key, text in changed.items()}}.items():
                (tables / name).write_text(text, encoding="utf-8")
            done = subprocess.run([sys.executable, ROOT / "gen" / "generate.py", "--tables", tables, "--out", out],
                                  capture_output=True, text=True, check=False)
            files = {path.name: path.read_text(encoding="utf-8") for path in out.glob("*")}
            return done.returncode, done.stderr, files

    def test_good(self):
        status, _, files = self.generate()
        self.assertEqual(status, 0)
        self.assertEqual(set(files), {"errors.h", "errors.c", "alloc_tags.h", "alloc_tags.c", "locks.h", "locks.c", "caps.h", "caps.c"})
        self.assertRegex(files["errors.h"], r"VIV_OK = 0,\n    VIV_E_ONE = 1, .*\n    VIV_E_SEVEN = 7,")
        self.assertIn('"first \\"quoted\\""', files["errors.c"])
        self.assertRegex(files["alloc_tags.h"], r"VIV_TAG_BASE, .*\n    VIV_TAG_OS, .*\n    VIV_TAG_COUNT\n")
        self.assertRegex(files["caps.h"], r"VIV_CAP_A_B = 0, .*\n    VIV_CAP_C = 1, ")
        self.assertIn('words_0[] = {"x", "y", NULL}', files["caps.c"])
        self.assertRegex(files["locks.h"], r"VIV_LOCK_FIRST = 1, .*\n    VIV_LOCK_SECOND = 2,")

    def test_refused(self):
        for key, text, where in (
                ("errors", "1 | ONE | badarg | 28\n", "errors.tab:1"),
                ("errors", "2 | ONE | badarg | 28 | a\n1 | TWO | badarg | 28 | b\n", "errors.tab:2"),
                ("errors", "1 | ONE | badarg | 28 | a\n2 | ONE | badarg | 28 | b\n", "errors.tab:2"),
                ("errors", "1 | one | badarg | 28 | a\n", "errors.tab:1"),
                ("errors", "1 | ONE | Badarg | 28 | a\n", "errors.tab:1"),
                ("errors", "1 | ONE | badarg | 99 | a\n", "errors.tab:1"),
                ("errors", "1 | ONE | badarg | 28 | \n", "errors.tab:1"),
                ("alloc_tags", "BASE | a\nBASE | b\n", "alloc_tags.tab:2"),
                ("caps", "1 | a | - | yes | t\n", "caps.tab:1"),
                ("caps", "0 | a | hens | yes | t\n", "caps.tab:1"),
                ("caps", "0 | a | names(x) | yes | t\n", "caps.tab:1"),
                ("caps", "0 | a | - | yes | t\n1 | a | - | yes | t\n", "caps.tab:2"),
                ("caps", "0 | a | - | maybe | t\n", "caps.tab:1"),
                ("locks", "# nothing\n", "locks.tab")):
            with self.subTest(text=text):
                status, errors, files = self.generate(**{key: text})
                self.assertEqual(status, 1)
                self.assertIn(where, errors)
                self.assertEqual(files, {})


class GuestopsTest(unittest.TestCase):
    def generate(self, text):
        with tempfile.TemporaryDirectory() as folder:
            tables, out = pathlib.Path(folder), pathlib.Path(folder) / "out"
            (tables / "guestops.tab").write_text(text, encoding="utf-8")
            done = subprocess.run([sys.executable, ROOT / "gen" / "guestops.py", "--tables", tables, "--out", out],
                                  capture_output=True, text=True, check=False)
            path = out / "guestops.h"
            return done.returncode, done.stderr, path.read_text(encoding="utf-8") if path.exists() else None

    def test_good(self):
        status, _, text = self.generate("1 | a | u32 x, u8 y, u8 z, u16 zero | - | first\n5 | b | u64 x, bytes | u32 v | last\n")
        self.assertEqual(status, 0)
        for line in ("VIV_GUESTOP_A = 1, // first", "VIV_GUESTOP_A_ARGS_BYTES = 8,", "VIV_GUESTOP_A_ARGS_Z_AT = 5,",
                     "VIV_GUESTOP_A_RESULT_BYTES = 0,", "VIV_GUESTOP_B = 5, // last", "VIV_GUESTOP_B_ARGS_BYTES = 8,",
                     "VIV_GUESTOP_B_RESULT_V_AT = 0,", 'return "a";', 'return "b";', 'return "host";'):
            self.assertIn(line, text)

    def test_broken(self):
        for text, what in (("1 | a | u8 x, u32 y | - | t\n", "not aligned"),
                           ("1 | a | u8 x, u8 x | - | t\n", "name of its own"),
                           ("1 | a | u7 x | - | t\n", "not a field"),
                           ("1 | a | bytes, u8 x | - | t\n", "nothing follows the bytes"),
                           ("1 | a | - | - | t\n1 | b | - | - | t\n", "numbers ascend"),
                           ("60 | a | - | - | t\n", "numbers ascend"),
                           ("1 | a | - | - | t\n2 | a | - | - | t\n", "not a new name"),
                           ("# nothing\n", "no rows")):
            status, error, header = self.generate(text)
            self.assertEqual((status, header), (1, None), text)
            self.assertIn(what, error)


NATIVE_GOOD = ("1 | cmd | text | rp | - | 1 | - | - | 9\n2 | stdin | bytes | b | - | 0 | - | - | 4M\n"
               "3 | wait_ms | u64 | - | - | 1 | 5s | 2m | none\n4 | how | word(a b) | - | - | - | b | - | -\n"
               "5 | on | set(x y z) | - | - | - | x z | - | -\n6 | list | text | * | 7 | 1 | - | - | 9\n")


class NativeTest(unittest.TestCase):
    def generate(self, text):
        with tempfile.TemporaryDirectory() as folder:
            tables, out = pathlib.Path(folder) / "tables", pathlib.Path(folder) / "out"
            tables.mkdir()
            (tables / "native.tab").write_text(text, encoding="utf-8")
            done = subprocess.run([sys.executable, ROOT / "gen" / "native.py", "--tables", tables, "--out", out],
                                  capture_output=True, text=True, check=False)
            return done.returncode, done.stderr, {path.name: path.read_text(encoding="utf-8") for path in out.glob("*")}

    def test_good(self):
        status, _, files = self.generate(NATIVE_GOOD)
        self.assertEqual(status, 0)
        for line in ("VIV_NATIVE_KEY_WAIT_MS = 3,", "VIV_NATIVE_KEYS_END = 7", "VIV_NATIVE_HOW_B = 1,", "VIV_NATIVE_ON_Z = 4,",
                     "struct viv_native_text std_in;", "uint64_t wait_ms;", "enum viv_native_how how;",
                     "struct viv_native_list list;"):
            self.assertIn(line, files["native.h"])
        for line in ("VIV_NATIVE_ROW_REQUIRED | VIV_NATIVE_ROW_PROBE", ".max = UINT64_C(4194304)", ".ceiling = UINT64_C(120000)",
                     ".by_default = UINT64_C(5)", ".max = UINT64_C(18446744073709551615)", ".count_max = 7",
                     'words_how[] = {"a", "b", NULL}'):
            self.assertIn(line, files["native.c"])

    def test_refused(self):
        for text, what in (("2 | a | u32 | - | - | 0 | 0 | - | 1\n", "count up"),
                           ("1 | a | u32 | - | - | 0 | 0 | - | 1\n2 | a | u32 | - | - | 0 | 0 | - | 1\n", "not a new name"),
                           ("1 | a | u16 | - | - | 0 | 0 | - | 1\n", "not a type"),
                           ("1 | a | u32 | x | - | 0 | 0 | - | 1\n", "flags are"),
                           ("1 | a | text | * | - | 0 | - | - | 1\n", "a count belongs"),
                           ("1 | a | u32 | * | 2 | 0 | 0 | - | 1\n", "only text repeats"),
                           ("1 | a | u32 | - | - | 0 | 0 | - | 1w\n", "not a number"),
                           ("1 | a | u32 | - | - | 1 | 0 | - | 2\n", "default is not between"),
                           ("1 | a | u32 | - | - | 0 | 0 | 3 | 2\n", "ceiling is not between"),
                           ("1 | a | u32 | - | - | 0 | 0 | - | none\n", "does not fit"),
                           ("1 | a | text | - | - | 0 | 5 | - | 9\n", "no default"),
                           ("1 | a | word(x x) | - | - | - | x | - | -\n", "each once"),
                           ("1 | a | word(x y) | - | - | - | z | - | -\n", "none of the words"),
                           ("# nothing\n", "no rows")):
            with self.subTest(text=text):
                status, error, files = self.generate(text)
                self.assertEqual((status, files), (1, {}))
                self.assertIn(what, error)


SECCOMP_GOOD = "read | 0 | 63 | allow | allow\nsome | 1 | - | eperm arg0/0xf0=0x10,0x20; allow | enosys\n"


class SeccompTest(unittest.TestCase):
    def generate(self, text):
        with tempfile.TemporaryDirectory() as folder:
            tables, out = pathlib.Path(folder) / "tables", pathlib.Path(folder) / "out"
            tables.mkdir()
            (tables / "seccomp.tab").write_text(text, encoding="utf-8")
            done = subprocess.run([sys.executable, ROOT / "gen" / "seccomp.py", "--tables", tables, "--out", out],
                                  capture_output=True, text=True, check=False)
            files = {path.name: path.read_text(encoding="utf-8") for path in out.glob("*")}
            return done.returncode, done.stderr, files

    def test_good(self):
        status, _, files = self.generate(SECCOMP_GOOD)
        self.assertEqual(status, 0)
        self.assertEqual(set(files), {"seccomp.h", "seccomp.c"})
        for program in ("x86_64_default", "x86_64_strict", "arm64_default", "arm64_strict"):
            self.assertIn(f"struct sock_filter {program}[]", files["seccomp.c"])

    def test_refused(self):
        for text, where in (
                ("read | 0 | 63 | allow\n", "seccomp.tab:1"),
                ("Read | 0 | 63 | allow | allow\n", "seccomp.tab:1"),
                ("read | 0 | 63 | allow | allow\nread | 1 | 64 | allow | allow\n", "seccomp.tab:2"),
                ("read | 0 | 63 | allow | allow\nwrite | 0 | 64 | allow | allow\n", "seccomp.tab:2"),
                ("read | 1024 | 63 | allow | allow\n", "seccomp.tab:1"),
                ("read | x | 63 | allow | allow\n", "seccomp.tab:1"),
                ("read | 0 | 63 | maybe | allow\n", "seccomp.tab:1"),
                ("read | 0 | 63 | allow arg0=1 | allow\n", "seccomp.tab:1"),
                ("read | 0 | 63 | allow; eperm | allow\n", "seccomp.tab:1"),
                ("read | 0 | 63 | eperm arg6=1; allow | allow\n", "seccomp.tab:1"),
                ("read | 0 | 63 | eperm arg0; allow | allow\n", "seccomp.tab:1"),
                ("read | 0 | 63 | eperm arg0=0x100000000; allow | allow\n", "seccomp.tab:1"),
                ("# nothing\n", "seccomp.tab")):
            with self.subTest(text=text):
                status, errors, files = self.generate(text)
                self.assertEqual(status, 1)
                self.assertIn(where, errors)
                self.assertEqual(files, {})


if __name__ == "__main__":
    unittest.main()
