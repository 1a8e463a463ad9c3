#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs docs/wasm.md: writes its programs, types its commands, compares what it shows.

Blocks `c guest` and `wat` are files; their first line names them. In a block `console` a line `$ …` is a command
and the lines after it are all that it prints, on stdout and stderr together. `…` stands for any text, `<0.N.S>` for
any pid. The commands of a block run in one shell, all in one folder, from the top of the page to its end."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from viv_cli import SECONDS, SOURCE, VIV, CliTest  # noqa: E402

PAGE = SOURCE / "docs" / "wasm.md"
MARK = "---- end of a command ----"


def blocks(text):
    """(line, language, content) of every block of the page."""
    for match in re.finditer(r"^```([^\n]+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start()) + 2, match[1], match[2]


def commands(content):
    """(command, lines shown) of a block."""
    found = []
    for line in content.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def fits(shown, line):
    pattern = re.escape(shown).replace("…", ".*").replace(re.escape("<0.N.S>"), r"<0\.\d+\.\d+>")
    return re.fullmatch(pattern, line) is not None


def is_merge(shown, out, err):
    """Are the lines shown those of both streams, each in its order?"""
    at = {0: 0}  # lines of stdout taken so far; the rest came from stderr
    for i, line in enumerate(shown):
        nexts = {}
        for taken in at:
            other = i - taken
            if taken < len(out) and fits(line, out[taken]):
                nexts[taken + 1] = 0
            if other < len(err) and fits(line, err[other]):
                nexts[taken] = 0
        at = nexts
    return len(out) in at and len(shown) == len(out) + len(err)


class Page(CliTest):
    """The page, and this program."""

    def test_page(self):
        if shutil.which("clang-19") is None:
            self.skipTest("no clang-19")
        self.prepare()
        known = {"c guest": self.write, "wat": self.write, "console": self.type_in, "toml": self.check_toml}
        count = 0
        for line, language, content in blocks(PAGE.read_text(encoding="utf-8")):
            self.assertIn(language, known, f"{PAGE.name}:{line}")
            known[language](f"{PAGE.name}:{line}", content)
            count += 1
        self.assertGreater(count, 10)

    def prepare(self):
        os.symlink(SOURCE / "include", self.dir / "include")
        os.mkdir(self.dir / "bin")
        os.symlink(VIV, self.dir / "bin" / "viv")
        self.env["PATH"] = f"{self.dir / 'bin'}:{self.env['PATH']}"
        self.env.pop("GREETING", None)

    def write(self, place, content):
        name = re.match(r"(?://|;;) ([a-z]+\.(?:c|wat)):", content)
        self.assertIsNotNone(name, f"{place}: the first line names no file")
        self.assertFalse((self.dir / name[1]).exists(), f"{place}: a second {name[1]}")
        self.file(name[1], content)

    def type_in(self, place, content):
        typed = commands(content)
        script = "".join(f"{command}\nkept=$?; echo '{MARK}' | tee /dev/stderr; (exit $kept)\n"
                         for command, _ in typed)
        result = subprocess.run(["bash"], input=script, cwd=self.dir, env=self.env, capture_output=True, text=True,
                                timeout=SECONDS, check=False)
        outs, errs = ([part.splitlines() for part in text.split(MARK + "\n")] for text in (result.stdout, result.stderr))
        self.assertEqual((len(outs), len(errs)), (len(typed) + 1,) * 2, f"{place}: {result.stderr}")
        for (command, shown), out, err in zip(typed, outs, errs):
            self.assertTrue(is_merge(shown, out, err), f"{place}: {command}\nshown: {shown}\nout: {out}\nerr: {err}")

    def check_toml(self, place, content):
        self.assertIn('runner = "viv run"', content, place)
        try:
            import tomllib
        except ImportError:
            return
        self.assertEqual(tomllib.loads(content), {"target": {"wasm32-wasip1": {"runner": "viv run"}}})

    def test_cargo(self):
        """The runner, with cargo itself, where it can compile for the target."""
        if any(shutil.which(tool) is None for tool in ("cargo", "rustc")):
            self.skipTest("no cargo")
        home = {**self.env, "HOME": os.environ.get("HOME", "")}
        folder = subprocess.run(["rustc", "--print", "target-libdir", "--target", "wasm32-wasip1"], env=home, check=False,
                                capture_output=True, text=True, timeout=SECONDS).stdout.strip()
        if not folder or not os.path.isdir(folder):
            self.skipTest("no standard library for wasm32-wasip1")
        self.prepare()
        content = next(content for _, language, content in blocks(PAGE.read_text(encoding="utf-8"))
                       if language == "toml")
        self.file(".cargo/config.toml", content)
        self.file("Cargo.toml", '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n')
        self.file("src/main.rs", 'fn main() { println!("{:?}", std::env::args().skip(1).collect::<Vec<_>>()); }\n')
        result = subprocess.run(["cargo", "run", "--offline", "-q", "--target", "wasm32-wasip1", "--", "a", "b"],
                                cwd=self.dir, env={**home, "PATH": self.env["PATH"]}, capture_output=True, text=True,
                                timeout=4 * SECONDS, check=False)
        self.assertEqual((result.stdout, result.returncode), ('["a", "b"]\n', 0), result.stderr)

    def test_every_option_is_on_the_page(self):
        page = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE.read_text(encoding="utf-8")))
        told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", self.viv("help", "run").out))
        self.assertEqual(told - page, set())

    def test_links(self):
        for page in (PAGE, SOURCE / "README.md"):
            text = page.read_text(encoding="utf-8")
            if page == PAGE:
                for target in re.findall(r"\]\(([^)#:]+)\)", text):
                    self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")
            else:
                self.assertIn("(docs/wasm.md)", text)

    def test_the_comparison(self):
        self.assertTrue(is_merge(["a", "x", "b"], ["a", "b"], ["x"]))
        self.assertTrue(is_merge(["p <0.N.S> 0x…"], [], ["p <0.12.3> 0x1f"]))
        self.assertFalse(is_merge(["a"], ["a"], ["x"]))
        self.assertFalse(is_merge(["b", "a"], ["a", "b"], []))
        self.assertFalse(is_merge(["a", "b"], ["a"], []))


if __name__ == "__main__":
    unittest.main(verbosity=2)
