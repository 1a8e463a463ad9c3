#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs examples/queue, which checks itself: on a file, and on a server."""

import os
import pathlib
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from viv_cli import SECONDS, SOURCE, VIV, CliTest  # noqa: E402

QUEUE = SOURCE / "examples" / "queue" / "queue.sh"
ROWS = {*(f"mail-{n}" for n in range(1, 9)), "flaky", "broken", "long", "once", "mails sent", "mails sent twice",
        "steps of long done twice", "the worker's status"}


class Queue(CliTest):
    """The example, and what it prints."""

    def follow(self, *options):
        ended = subprocess.run([QUEUE, *options], cwd=self.dir, env={**self.env, "VIV": str(VIV)}, capture_output=True,
                               text=True, timeout=3 * SECONDS, check=False)
        self.assertEqual(ended.returncode, 0, ended)
        self.assertEqual({line[:34].strip() for line in ended.stdout.splitlines()}, ROWS)

    def test_on_a_file(self):
        self.follow()

    def test_on_a_server(self):
        base = os.environ.get("VIV_TEST_PG_URL") or pathlib.Path(os.environ["VIV_TEST_PG_FILE"]).read_text().strip()
        schema = f"queue_{os.getpid()}"
        self.addCleanup(subprocess.run, ["psql", "-q", base, "-c", f"DROP SCHEMA {schema} CASCADE"], check=True,
                        stderr=subprocess.DEVNULL)
        self.follow("--postgres", f"{base}{'&' if '?' in base else '?'}viv_schema={schema}")

    def test_it_notices(self):
        """A mail that is sent twice."""
        script = QUEUE.read_text(encoding="utf-8").replace("# ---- what came of it ----", 'echo mail-1 >> "$folder/ledger"')
        self.assertIn("echo mail-1", script)
        (self.dir / "task.sh").write_bytes(QUEUE.with_name("task.sh").read_bytes())
        ended = subprocess.run(["sh", self.file("queue.sh", script)], cwd=self.dir, env={**self.env, "VIV": str(VIV)},
                               capture_output=True, text=True, timeout=3 * SECONDS, check=False)
        self.assertEqual(ended.returncode, 1, ended)
        self.assertIn("mails sent twice                   1, not 0", ended.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
