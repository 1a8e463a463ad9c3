#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs docs/programs.md as support/docs_page.py says, with a daemon of the test's own."""

import pathlib
import re
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from daemon import DaemonTest  # noqa: E402
from docs_page import PageTest  # noqa: E402
from viv_cli import SOURCE  # noqa: E402

PAGE = SOURCE / "docs" / "programs.md"


class Page(DaemonTest, PageTest):
    """The page, and this program."""

    def test_page(self):
        self.follow(PAGE)

    def test_every_option_is_on_the_page(self):
        page = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE.read_text(encoding="utf-8")))
        program = self.viv("help", "run").out.split("\nviv run [options] -- COMMAND")[1]
        self.assertEqual(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", program)) - page, set())

    def test_links(self):
        self.check_links(PAGE)
        self.assertIn("(docs/programs.md)", (SOURCE / "README.md").read_text(encoding="utf-8"))

    def test_help(self):
        for name in "ps logs info attach wait signal stop kill release daemon".split():
            ended = self.viv(name, "--help")
            self.assertEqual((ended.status, ended.err), (0, ""), name)
            self.assertTrue(ended.out.startswith(f"viv {name} "), name)
            self.assertIn(f"viv {name} ", self.viv("help").out)


if __name__ == "__main__":
    unittest.main(verbosity=2)
