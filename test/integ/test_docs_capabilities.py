#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs docs/capabilities.md as support/docs_page.py says; its tables have every class and every limit."""

import pathlib
import re
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from docs_page import PageTest  # noqa: E402
from viv_cli import SOURCE  # noqa: E402

PAGE = SOURCE / "docs" / "capabilities.md"


def rows_between(first, last):
    """First cells of the tables between two headings of the page."""
    text = PAGE.read_text(encoding="utf-8")
    part = text[text.index(f"\n## {first}\n"):text.index(f"\n## {last}\n")]
    return re.findall(r"^\| `([a-z._]+)`", part, re.MULTILINE)


class Page(PageTest):
    """The page, and this program."""

    def test_page(self):
        self.follow(PAGE)

    def test_every_class(self):
        table = (SOURCE / "gen" / "caps.tab").read_text(encoding="utf-8")
        classes = re.findall(r"^\d+ +\| ([a-z.]+)", table, re.MULTILINE)
        self.assertEqual(len(classes), 54)
        self.assertEqual(sorted(rows_between("Classes", "Limits")), sorted(classes))

    def test_classes_that_are_asked_for(self):
        """The first table has those that the sources of the imports name, and no others."""
        asked = set()
        for room in ("wasm", "cap"):
            for path in (SOURCE / "src" / room).glob("*.c"):
                text = path.read_text(encoding="utf-8")
                asked |= set(re.findall(r"(?:viv_may\w*|gate\w*)\([^;]*?VIV_CAP_(\w+)", text))
        text = PAGE.read_text(encoding="utf-8")
        part = text[text.index("ask for today"):text.index("In policies these are known too")]
        shown = {name.upper().replace(".", "_") for name in re.findall(r"^\| `([a-z.]+)`", part, re.MULTILINE)}
        asked -= {"CAP_DELEGATE", "CAP_SESSION", "COUNT"}  # of functions that guests cannot import; no class
        self.assertGreater(len(asked), 20)
        self.assertEqual(asked - shown, set())

    def test_every_limit(self):
        text = (SOURCE / "src" / "cap" / "policy.c").read_text(encoding="utf-8")
        limits = re.findall(r"\[VIV_POLICY_\w+\] = \{\"(\w+)\"", text)
        self.assertEqual(len(limits), 17)
        self.assertEqual(rows_between("Limits", "The audit"), limits)

    def test_links(self):
        self.check_links(PAGE)
        self.assertIn("(capabilities.md)", (SOURCE / "docs" / "wasm.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
