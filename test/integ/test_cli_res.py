#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""viv res, viv res audit and viv info: what the processes of a daemon hold (resources.md 13)."""

import json
import os
import pathlib
import re
import select
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from daemon import DaemonTest  # noqa: E402
from viv_cli import SECONDS, VIV  # noqa: E402

TITLES = "RID KIND PHASE PID OWNER PARENT HOLDS PINS BYTES AGE REMARK LABEL".split()
RID = re.compile(r"#\d+\.\d+\.\d+")


class Resources(DaemonTest):
    """Section 13."""

    def res(self, *args):
        ended = self.viv("res", "--json", *args)
        self.assertEqual((ended.status, ended.err), (0, ""), ended)
        return json.loads(ended.out)

    def test_without_a_daemon(self):
        self.refused(self.viv("res"), 1, "no daemon runs")
        self.refused(self.viv("res", "audit"), 1, "no daemon runs")
        self.assertEqual(self.daemons(), [])

    def test_table(self):
        self.detach("sleep", "900", options=("--label", "a b"))
        lines = self.viv("res").out.splitlines()
        self.assertEqual(lines[0].split(), TITLES)
        kinds = sorted(line.split()[1] for line in lines[1:])
        self.assertEqual(kinds, ["child", "environment", "session"])
        child = next(line for line in lines if " child " in line)
        self.assertRegex(child, RID)
        self.assertIn("2048K", child)  # its rings
        self.assertTrue(child.endswith("a b"), child)

    def test_rows_as_json(self):
        self.detach("sleep", "900")
        rows = {row["kind"]: row for row in self.res()}
        env, child, session = rows["environment"], rows["child"], rows["session"]
        self.assertEqual((env["owner"], env["parent"], env["phase"]), (None, None, "live"))
        self.assertEqual((child["owner"], child["parent"]), (env["rid"], None))
        self.assertEqual(session["owner"], env["rid"])
        self.assertEqual((child["bytes"], child["label"], child["orphan"]), (2 << 20, "sleep", False))

    def test_filters(self):
        self.detach("sleep", "900")
        pid = self.detach("sleep", "901")
        self.assertEqual([row["kind"] for row in self.res("--kind", "child")], ["child", "child"])
        self.assertEqual(self.res("--kind", "channel"), [])
        self.assertEqual(self.res("--orphans"), [])
        self.assertEqual(len(self.res("--env", "1")), 4)  # as many as there are
        mine = self.res(pid)
        self.assertEqual([(row["kind"], row["pid"]) for row in mine], [("process", pid)])
        self.assertEqual(self.res("#2"), mine)
        self.assertEqual(len(self.res("--kind", "process")), 1)  # nobody asked for the other

    def test_tree(self):
        self.detach("sleep", "900")
        lines = self.viv("res", "--tree").out.splitlines()
        self.assertRegex(lines[0], r"^#\S+ environment$")
        self.assertEqual(sorted(re.sub(RID, "R", line) for line in lines[1:]), ["  R child sleep", "  R session"])

    def test_bad_words(self):
        self.detach("sleep", "900")
        self.refused(self.viv("res", "--kind", "nothing"), 2, "no kind nothing")
        self.refused(self.viv("res", "--env", "9"), 1, "no environment 9")
        self.refused(self.viv("res", "--env", "x"), 2, "--env wants a number")
        self.refused(self.viv("res", "0.99.1"), 1, "no such process")
        self.refused(self.viv("res", "what?"), 2, "want a pid")
        self.refused(self.viv("res", "-f"), 2, "viv res audit")
        self.refused(self.viv("res", "audit", "--tree"), 2, "takes -f")
        self.refused(self.viv("res", "a", "b"), 2, "one REF, or audit")

    def test_info_has_what_it_holds(self):
        pid = self.detach("sleep", "900")
        held = self.info(pid)["holds"]
        self.assertEqual(held["rid"], self.res(pid)[0]["rid"])
        self.assertEqual(held["session"]["environment"], 1)
        self.assertRegex(held["session"]["id"], "^[0-9a-f]{32}$")
        self.assertIn("allow fs", held["session"]["policy"])
        self.assertEqual(held["session"]["unenforced"], [])
        self.assertEqual((held["handles"], held["owned"], held["shares"]), ([], {}, 0))
        self.assertEqual((held["denials"], held["log_channel"]), ({"count": 0}, None))
        self.assertEqual(held["ring"], {"capacity": 0, "waiting": 0})
        text = self.viv("info", pid).out
        self.assertIn("policy", text)
        self.assertIn("denials", text)

    def test_info_of_a_process_that_is_no_program(self):
        self.detach("sleep", "900")
        # The first process is the one that accepts connections.
        value = self.info("0.0.0") if self.viv("info", "0.0.0").status == 0 else self.info("0.1.0")
        self.assertEqual(sorted(value), ["holds", "pid"])

    def test_info_of_one_that_has_ended(self):
        pid = self.shell("exit 3")
        self.assertEqual(self.viv("wait", pid).status, 3)
        value = self.info(pid)
        self.assertEqual(value["exit"]["code"], 3)
        self.assertIn("holds", value)

    def test_audit(self):
        self.detach("sleep", "900")
        lines = self.viv("res", "audit").out.splitlines()
        self.assertIn("session-create", lines[0])
        self.assertTrue(any("native.spawn" in line and "/sleep" in line for line in lines), lines)
        events = [json.loads(line) for line in self.viv("res", "audit", "--json").out.splitlines()]
        self.assertEqual([event["seq"] for event in events], sorted(event["seq"] for event in events))
        self.assertEqual(events[0]["event"], "session-create")

    def test_audit_follows(self):
        self.detach("sleep", "900")
        follower = subprocess.Popen([VIV, "res", "audit", "-f", "--json"], env=self.env, stdout=subprocess.PIPE)
        self.addCleanup(follower.stdout.close)
        self.addCleanup(follower.wait)
        self.addCleanup(follower.kill)
        text = b""
        for count in (1, 2):
            end = time.monotonic() + SECONDS
            while text.count(b'"operation":"native.spawn"') < count:
                self.assertTrue(select.select([follower.stdout], [], [], end - time.monotonic())[0], text)
                text += os.read(follower.stdout.fileno(), 65536)
            if count == 1:
                self.detach("sleep", "901")  # while it waits


if __name__ == "__main__":
    unittest.main()
