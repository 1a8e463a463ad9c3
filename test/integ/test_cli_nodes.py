#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""viv worker: nodes that share a PostgreSQL server (durable.md 4.4, 4.5; the numbers are its cases). What runs writes its beats to
a file, with the time that does not stop; two attempts of one process must never overlap there."""

import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent / "support"), str(pathlib.Path(__file__).resolve().parent)]
from pg_cut import PgCut, split_url  # noqa: E402
from test_cli_worker import WorkerTest  # noqa: E402
from viv_cli import SECONDS, VIV  # noqa: E402

# ATTEMPT TIME, each 10 ms; for so many seconds in the first attempt, once in the others.
BEATS = """
import os, sys, time
attempt, end = os.environ["VIV_ATTEMPT"], time.monotonic() + float(sys.argv[1])
with open("beats", "a", buffering=1) as beats:
    while True:
        beats.write("%s %d\\n" % (attempt, time.clock_gettime_ns(time.CLOCK_BOOTTIME)))
        if attempt != "1" or time.monotonic() > end:
            break
        time.sleep(0.01)
"""
# As CREATE FUNCTION of the schema has it, but ahead by so many ms.
CLOCK = ("CREATE OR REPLACE FUNCTION {schema}.viv_now() RETURNS bigint LANGUAGE sql VOLATILE AS "
         "$$SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + {ahead}$$")


def children_of(pid):
    """Of a process, by its threads' lists."""
    found = []
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, path.read_text(encoding="ascii").split())
    return found


class Nodes(WorkerTest):
    """Two nodes and a server."""

    def setUp(self):
        super().setUp()
        path = os.environ.get("VIV_TEST_PG_FILE")
        self.server = os.environ.get("VIV_TEST_PG_URL") or pathlib.Path(path).read_text(encoding="utf-8").strip()
        self.schema = f"nodes_{os.getpid()}_{self._testMethodName[5:8]}"
        self.use(self.server)
        self.assertEqual(self.viv("store", "init").status, 0)
        self.addCleanup(self.sql, f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")

    def use(self, server):
        self.url = f"{server}{'&' if '?' in server else '?'}viv_schema={self.schema}"
        self.env["VIV_STORE"] = self.url

    def sql(self, text):
        subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.server, "-c", text], check=True,
                       capture_output=True, env={**os.environ, "PGOPTIONS": "-c client_min_messages=warning"}, timeout=SECONDS)

    def beating(self, name, seconds):
        self.start_job(name, "--", sys.executable, "-c", BEATS, str(seconds))
        self.lines_of("beats")

    def beats(self):
        """{attempt: [times]}"""
        times = {}
        for line in self.lines_of("beats"):
            attempt, at = line.split()
            times.setdefault(int(attempt), []).append(int(at))
        return times

    def expect_no_overlap(self, attempts):
        times = self.beats()
        self.assertEqual(sorted(times), list(range(1, attempts + 1)))
        for attempt in range(1, attempts):
            self.assertLess(max(times[attempt]), min(times[attempt + 1]), "two owners at a time")

    def test_121_a_node_that_is_cut_off(self):
        way = PgCut(self.server, self.dir / "way")
        self.use(way.url())
        first = self.worker()
        self.use(self.server)
        self.beating("a", 1000)
        way.cut()
        second = self.worker(node="two")
        self.assertEqual(self.output("a", 0), {"exit_status": 0})
        self.expect_no_overlap(2)
        self.assertEqual(self.record("a")["attempt"], 2)
        self.drained(second)
        first.send_signal(signal.SIGTERM)  # it has no lease to give back
        self.assertEqual(self.ended(first).status, 0)

    def test_120_a_node_that_is_stopped(self):
        first = self.worker()
        self.beating("a", 1000)
        first.send_signal(signal.SIGSTOP)
        second = self.worker(node="two")
        self.assertEqual(self.output("a", 0), {"exit_status": 0})
        first.send_signal(signal.SIGCONT)
        self.drained(first)
        self.drained(second)
        self.expect_no_overlap(2)
        self.assertEqual((self.record("a")["attempt"], self.record("a")["status"]), (2, "completed"))

    def test_129_the_server_is_an_hour_ahead(self):
        first = self.worker("--queue", "default")
        self.beating("a", 1000)
        second = self.worker("--queue", "default", "--queue", "other", node="two")
        self.start_job("b", "--queue", "other", script="exit 0")
        self.assertEqual(self.output("b", 0), {"exit_status": 0})  # it has seen both clocks by now
        jumped_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.sql(CLOCK.format(schema=self.schema, ahead=3600 * 1000))
        self.assertEqual(self.output("a", 0), {"exit_status": 0})
        self.drained(second)
        self.drained(first)
        self.expect_no_overlap(2)  # the first is fenced at its next renewal, and the second takes nothing expired for one lease
        times = self.beats()
        self.assertGreater(times[2][0] - jumped_ns, 2_900_000_000)

    def on_another_host(self):
        """A worker that the others cannot look at: in a pid namespace of its own. The process that holds that open, and the worker's pid."""
        user = () if os.geteuid() == 0 else ("--user", "--map-current-user")
        script = f'"$0" worker --json --ttl 3s --node far & exec sleep {SECONDS * 2}'
        process = subprocess.Popen(["unshare", *user, "--pid", "--fork", "--mount-proc", "sh", "-c", script, VIV], cwd=self.dir,
                                   env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def end():
            for pid in children_of(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.wait()
        self.addCleanup(end)

        def worker():
            inside = [pid for shell in children_of(process.pid) for pid in children_of(shell)]
            return inside[0] if inside else None
        return self.until(worker, "a worker on another host")

    def test_119_a_node_of_another_host_is_killed(self):
        pid = self.on_another_host()
        self.beating("a", 1000)
        killed_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        os.kill(pid, signal.SIGKILL)
        second = self.worker(node="two")
        self.assertEqual(self.output("a", 0), {"exit_status": 0})
        self.expect_no_overlap(2)
        times = self.beats()
        # Nobody sees from here that it is dead: its lease had to pass, of which two thirds at least were left.
        self.assertGreater(times[2][0] - killed_ns, 1_900_000_000)
        self.drained(second)

    def test_119_a_node_of_this_host_is_killed(self):
        self.use(self.server)
        first = self.start("worker", "--json", "--ttl", "600s", "--node", "one")
        self.beating("a", 1000)
        first.kill()
        first.wait()
        second = self.worker(node="two")  # long before that lease is over
        self.assertEqual(self.output("a", 0), {"exit_status": 0})
        self.expect_no_overlap(2)
        self.drained(second)


if __name__ == "__main__":
    unittest.main()
