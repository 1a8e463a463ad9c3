#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""viv worker: modules are run, ended, and run again (durable.md 4, 5.1, 5.3; the numbers are its cases)."""

import fcntl
import json
import os
import pathlib
import signal
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from test_cli_worker import WorkerTest  # noqa: E402
from viv_cli import GUESTS, RETURNS, SPINS  # noqa: E402

GUEST = str(GUESTS / "durable_guest.wasm")


class ModuleTest(WorkerTest):
    """Jobs that are modules."""

    def setUp(self):
        super().setUp()
        (self.dir / "beat.json").write_text('{"name":"beat"}', encoding="utf-8")

    def start_module(self, name, text, *options):
        path = self.dir / f"{name}.wat"
        path.write_text(text, encoding="utf-8")
        ended = self.viv("job", "start", "--id", name, "--wasm", str(path), *options)
        self.assertEqual((ended.status, ended.out, ended.err), (0, name + "\n", ""))

    def start_case(self, name, *options):
        """A case of durable_guest.c, under its own name."""
        ended = self.viv("job", "start", "--id", name, "--type", "beat.json", "--wasm", GUEST, *options, "--", name)
        self.assertEqual((ended.status, ended.out, ended.err), (0, name + "\n", ""))

    def on_server(self):
        path = os.environ.get("VIV_TEST_PG_FILE")
        self.url = os.environ.get("VIV_TEST_PG_URL") or pathlib.Path(path).read_text(encoding="utf-8").strip()
        self.url += f"&viv_schema=wasm_{os.getpid()}_{self._testMethodName}"
        self.env["VIV_STORE"] = self.url

    def beats(self, name):
        return [event["payload"] for event in self.events(name, "beat")]


class Runs(ModuleTest):
    """What is run, and what comes of it."""

    def test_117_results(self):
        self.start_module("nothing", RETURNS)
        self.start_module("two", '(module (func (export "f") (param i32 i64) (if (i64.ne (i64.extend_i32_s '
                          '(local.get 0)) (local.get 1)) (then unreachable))))', "--entry", "f", "--", "-7", "-7")
        self.start_case("fails")
        self.start_case("traps")
        started, *_, ended = sorted(self.once(), key=lambda event: event["event"], reverse=True)
        self.assertEqual(started["event"], "started")
        self.assertEqual(ended["event"], "ended")
        self.assertIsNone(self.output("nothing", 0))
        self.assertIsNone(self.output("two", 0))
        self.assertEqual(self.output("fails", 3)["class"], "external")
        output = self.output("traps", 3)
        self.assertEqual((output["class"], output["code"]), ("execution", "trap:unreachable"))
        self.assertIn("case_traps", output["raw"])

    def test_130_nothing_to_run(self):
        self.start_module("no-function", RETURNS, "--entry", "f")
        self.start_module("bad-module", '(module (func (export "_start") (i32.add)))')
        self.start_module("arguments", RETURNS, "--", "1")
        ended = self.viv("job", "start", "--id", "no-module", "--wasm", "0" * 64)
        self.assertEqual((ended.status, ended.err), (0, ""))
        self.once()
        for name, code in (("no-function", "no_function"), ("bad-module", "bad_module"),
                           ("arguments", "bad_argument"), ("no-module", "no_module")):
            output = self.output(name, 3)
            self.assertEqual((output["class"], output["code"]), ("invalid_request", code), name)
            self.assertEqual(self.record(name)["attempt"], 1)

    def test_117_deadline(self):
        self.start_module("late", SPINS, "--timeout", "500ms")
        self.once()
        self.assertEqual(self.output("late", 3)["code"], "deadline")

    def test_what_it_prints(self):
        """Without --json it is the worker's output; lines of JSON are not mixed with it."""
        for name, options, shown in (("a", (), True), ("b", ("--json",), False)):
            ended = self.viv("job", "start", "--id", name, "--wasm", str(GUESTS / "hello.wasm"))
            self.assertEqual(ended.status, 0, ended)
            ended = self.viv("worker", "--once", *options)
            self.assertEqual(ended.status, 0)
            self.assertEqual("hello" in ended.out.lower(), shown, ended.out)


class Again(ModuleTest):
    """Runs that are interrupted."""

    def steps(self):
        self.start_case("steps", "--retry", "3")
        worker = self.worker()
        self.assertEqual(self.output("steps", 0), 385)
        self.assertEqual(self.beats("steps"), [number * number for number in range(1, 11)])
        self.assertEqual(self.record("steps")["attempt"], 2)
        self.assertEqual(len(self.events("steps", "process.step")), 10)
        self.drained(worker)

    def test_127_steps(self):
        self.steps()

    def test_127_steps_on_a_server(self):
        self.on_server()
        self.steps()

    def test_119_killed_node(self):
        self.start_case("beats")
        first = self.worker()
        self.until(lambda: len(self.beats("beats")) > 5, "it beats")
        first.kill()
        first.wait()
        second = self.worker(node="two")
        self.assertIsNone(self.output("beats", 0))
        self.assertEqual(self.record("beats")["attempt"], 2)
        self.drained(second)

    def stop_between_writes(self, worker):
        """Not while it has the lock of a file, which nobody else could write then."""
        while True:
            worker.send_signal(signal.SIGSTOP)
            lock = self.dir / "s.db.lock"
            if not lock.exists():
                return
            with open(lock, "r+b") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    worker.send_signal(signal.SIGCONT)
            time.sleep(0.003)

    def stopped_node(self):
        """A node stops for longer than its lease; where it goes on, another has run its process."""
        self.start_case("beats")
        first = self.worker()
        self.until(lambda: len(self.beats("beats")) > 5, "it beats")
        self.stop_between_writes(first)
        stopped = time.monotonic()
        second = self.worker(node="two")
        self.assertIsNone(self.output("beats", 0))
        count = len(self.beats("beats"))
        time.sleep(max(0, stopped + 6 - time.monotonic()))  # two leases
        first.send_signal(signal.SIGCONT)
        time.sleep(1)
        record = self.record("beats")
        self.assertEqual((record["attempt"], record["status"]), (2, "completed"))
        self.assertEqual(len(self.beats("beats")), count)
        self.drained(first)
        self.drained(second)

    def test_120_stopped_node(self):
        self.stopped_node()

    def test_120_stopped_node_on_a_server(self):
        self.on_server()
        self.stopped_node()

    def test_120_files(self):
        """The same of what no fence guards: a file. Its lines come from a guest that was started by another."""
        started = {"id": "writer", "disposition": "rerunnable",
                   "input": {"type": "wasm", "module": None, "function": "_start"},
                   "policy": {"caps": {"use": "none", "allow": {"fs": [f"{self.dir}::/out:rwc"]}}, "max_attempts": 1}}
        ended = self.viv("job", "start", "--id", "unused", "--external")
        self.assertEqual(ended.status, 0)
        path = self.dir / "writer.wat"
        path.write_text(WRITES, encoding="utf-8")
        self.assertEqual(self.viv("job", "start", "--id", "upload", "--queue", "never", "--wasm", str(path)).status, 0)
        started["input"]["module"] = self.record("upload")["input"]["module"]
        starter = self.dir / "starter.wat"
        starter.write_text(starter_of(json.dumps(started)), encoding="utf-8")
        self.assertEqual(self.viv("job", "start", "--id", "starter", "--wasm", str(starter)).status, 0)
        worker = self.worker()
        beats = self.dir / "beats"
        self.until(lambda: beats.exists() and beats.stat().st_size > 20, "it writes")
        worker.send_signal(signal.SIGSTOP)
        self.until(lambda: is_stopped(worker.pid), "all of its threads stand still")
        size = beats.stat().st_size
        time.sleep(6)
        worker.send_signal(signal.SIGCONT)
        time.sleep(1)
        self.assertLessEqual(beats.stat().st_size - size, 2)  # one that was under way
        self.drained(worker)


def is_stopped(pid):
    """Every thread has noticed that it is to stop."""
    states = [path.read_text(encoding="ascii").rpartition(")")[2].split()[0] for path in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) == {"T"}


class Ends(ModuleTest):
    """Cancelling and draining."""

    def test_124_cancel(self):
        self.start_case("cancelled")
        self.start_case("for-ever")
        self.start_module("deaf", SPINS)
        worker = self.worker()
        self.until(lambda: self.beats("cancelled") and self.beats("for-ever"), "both wait")
        for name in ("cancelled", "for-ever", "deaf"):
            self.assertEqual(self.viv("job", "cancel", "--reason", "enough", name).status, 0)
        self.assertEqual(self.output("cancelled", 0), "cleaned up")
        self.assertEqual(self.output("for-ever", 4)["message"], "enough")  # its wait ended, and it exited
        self.assertEqual(self.output("deaf", 4)["message"], "enough")
        self.drained(worker)

    def test_125_drain(self):
        self.start_case("drains")
        self.start_case("for-ever")
        worker = self.worker("--drain", "2s")
        self.until(lambda: self.beats("for-ever"), "it waits")
        self.drained(worker)
        self.assertIsNone(self.output("drains", 0))
        record = self.record("for-ever")
        self.assertEqual((record["status"], record["charged"]), ("running", 0))


class Two(ModuleTest):
    """Workers that share a store."""

    def each_once(self, count):
        for number in range(count):
            self.start_module(f"j{number}", RETURNS)
        workers = [self.worker("--slots", "4", node=name) for name in ("one", "two")]
        for number in range(count):
            self.assertIsNone(self.output(f"j{number}", 0))
        starts = [sum(event["event"] == "started" for event in self.drained(worker)) for worker in workers]
        self.assertEqual(sum(starts), count, starts)

    def test_118_each_once(self):
        self.each_once(30)

    def test_118_each_once_on_a_server(self):
        self.on_server()
        self.each_once(12)


WRITES = """(module
 (import "wasi_snapshot_preview1" "path_open" (func $open
  (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 1) (data (i32.const 16) "beats") (data (i32.const 32) "x\\n")
 (func (export "_start")
  (if (call $open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 5) (i32.const 1)
   (i64.const 64) (i64.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
  (i32.store (i32.const 0) (i32.const 32)) (i32.store (i32.const 4) (i32.const 2))
  (loop (if (call $write (i32.load (i32.const 8)) (i32.const 0) (i32.const 1) (i32.const 12)) (then unreachable))
   (br 0))))"""


def starter_of(registration):
    """A module that starts a process of this registration."""
    text = registration.replace("\\", "\\\\").replace('"', '\\"')
    return f"""(module (import "viv_durable" "start" (func $start (param i32 i32 i32) (result i32)))
 (memory (export "memory") 1) (data (i32.const 64) "{text}")
 (func (export "_start") (if (call $start (i32.const 64) (i32.const {len(registration)}) (i32.const 8))
  (then unreachable))))"""


if __name__ == "__main__":
    unittest.main(verbosity=2)
