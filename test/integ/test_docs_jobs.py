#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs docs/jobs.md as support/docs_page.py says."""

import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from docs_page import PageTest  # noqa: E402
from viv_cli import SOURCE  # noqa: E402

PAGE = SOURCE / "docs" / "jobs.md"


class Page(PageTest):
    """The page, and this program."""

    def test_page(self):
        self.follow(PAGE, sh=self.write)

    def test_links(self):
        self.check_links(PAGE)
        self.assertIn("(docs/jobs.md)", (SOURCE / "README.md").read_text(encoding="utf-8"))

    def test_help(self):
        for name in ("job", "store", "worker"):
            ended = self.viv(name, "--help")
            self.assertEqual((ended.status, ended.err), (0, ""), name)
            self.assertTrue(ended.out.startswith(f"viv {name} "), name)
            self.assertIn(f"viv {name} ", self.viv("help").out)


if __name__ == "__main__":
    unittest.main(verbosity=2)
