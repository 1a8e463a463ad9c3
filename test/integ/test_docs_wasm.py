#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs docs/wasm.md as support/docs_page.py says."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from docs_page import PageTest, blocks, is_merge  # noqa: E402
from viv_cli import SECONDS, SOURCE  # noqa: E402

PAGE = SOURCE / "docs" / "wasm.md"
class Page(PageTest):
    """The page, and this program."""

    def test_page(self):
        self.follow(PAGE, toml=self.check_toml)

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
        module = self.viv("help", "run").out.split("\nviv run [options] -- COMMAND")[0]
        told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", module))
        self.assertEqual(told - page, set())

    def test_links(self):
        self.check_links(PAGE)
        self.assertIn("(docs/wasm.md)", (SOURCE / "README.md").read_text(encoding="utf-8"))

    def test_the_comparison(self):
        self.assertTrue(is_merge(["a", "x", "b"], ["a", "b"], ["x"]))
        self.assertTrue(is_merge(["p <0.N.S> 0x…"], [], ["p <0.12.3> 0x1f"]))
        self.assertFalse(is_merge(["a"], ["a"], ["x"]))
        self.assertFalse(is_merge(["b", "a"], ["a", "b"], []))
        self.assertFalse(is_merge(["a", "b"], ["a"], []))


if __name__ == "__main__":
    unittest.main(verbosity=2)
