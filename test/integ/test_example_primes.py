#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""examples/primes.py, as it stands there, but short: a durable computation whose worker is killed (durable.md 4.4)."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

VIV = os.environ["VIV"]
GUESTS = pathlib.Path(os.environ["VIV_GUESTS"])
EXAMPLES = pathlib.Path(os.environ["VIV_SOURCE_DIR"]) / "examples"
SECONDS = 60 * int(os.environ.get("VIV_TIME_FACTOR", "1"))
SLOW = os.environ.get("VIV_SANITIZER", "") not in ("", "OFF")


class Primes(unittest.TestCase):
    """On a file, and on a server by one flag."""

    def follow(self, *options):
        below = "200000" if SLOW else "3000000"
        with tempfile.TemporaryDirectory(prefix="viv-primes-") as folder:
            ended = subprocess.run(
                [sys.executable, EXAMPLES / "primes.py", "--viv", VIV, "--kills", "3", "--below", below, "--steps", "12",
                 *options, GUESTS / "primes.wasm"],
                env=dict(os.environ, XDG_CACHE_HOME=folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                timeout=SECONDS, check=False)
        self.assertEqual(ended.returncode, 0, ended.stdout)
        self.assertIn(("17984" if SLOW else "216816") + " primes below " + below, ended.stdout)  # π(n), from tables
        self.assertIn("12 steps\nright, and each step was done once\n", ended.stdout)

    def test_file(self):
        self.follow()

    def test_server(self):
        path = os.environ.get("VIV_TEST_PG_FILE")
        url = os.environ.get("VIV_TEST_PG_URL") or pathlib.Path(path).read_text(encoding="utf-8").strip()
        self.follow("--store", f"{url}&viv_schema=primes_{os.getpid()}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
