#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM, whatever the program does: the status is 128 + n, and nothing is left (contract 2.5)."""

import os
import pathlib
import pty
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from viv_cli import FACTOR, GUEST, CliTest  # noqa: E402


class Signals(CliTest):
    """Each signal in each situation."""

    SOON = 2 * FACTOR  # seconds within which it is over

    def check(self, process, number=signal.SIGINT, ready="ready"):
        if ready:
            self.wait_for(process.stdout, ready)
        began = time.monotonic()
        ended = self.interrupted(process, number)
        self.assertLess(time.monotonic() - began, self.SOON)
        self.assertEqual(ended.status, 128 + number, ended)
        self.assertEqual(ended.err, "")
        self.assertEqual([name for name in self.entries() if not name.endswith(".cwasm")], [])
        return ended

    def test_every_way_of_waiting(self):
        for how in ("spin", "sleep", "receive", "read"):
            for number in (signal.SIGINT, signal.SIGTERM):
                for workers in ("1", "4"):
                    with self.subTest(how=how, number=number, workers=workers):
                        self.check(self.start("run", "--workers", workers, GUEST, "wait", how, stdin=subprocess.PIPE),
                                   number)

    def test_engines(self):
        for engine in ("many", "fast"):
            self.check(self.start("run", "--engine", engine, GUEST, "wait", "spin"))

    def test_many_processes(self):
        for entry in ("spinner", "waiter"):
            with self.subTest(entry=entry):
                self.check(self.start("run", "--workers", "2", GUEST, "children", entry, "50"))

    def test_reading_a_socket(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.check(self.start("run", GUEST, "wait", "read", stdin=theirs))

    def test_reading_a_terminal(self):
        main, other = pty.openpty()
        try:
            self.check(self.start("run", GUEST, "wait", "read", stdin=other))
        finally:
            os.close(main)
            os.close(other)

    def test_writing_to_nobody(self):
        """A pipe that is full and not read."""
        process = self.start("run", GUEST, "flood", "100000000")
        time.sleep(0.5 * FACTOR)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=self.SOON), 130)

    def test_writing_to_a_socket_that_nobody_reads(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = self.start("run", GUEST, "flood", "100000000", stdout=theirs)
            time.sleep(0.5 * FACTOR)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(timeout=self.SOON), 130)

    def test_a_start_function_that_never_ends(self):
        path = self.file("l.wat", '(module (func $l (loop (br 0))) (start $l) (func (export "_start")))')
        process = self.start("run", path)
        time.sleep(0.5 * FACTOR)
        self.check(process, ready=None)

    def test_a_start_function_of_a_child(self):
        path = self.file("l.wat", '(module (func $l (loop (br 0))) (start $l) (func (export "go")))')
        process = self.start("run", "--module", f"l={path}", GUEST, "module", "l", "go")
        time.sleep(0.5 * FACTOR)
        self.check(process, ready=None)

    def test_a_second_signal(self):
        for first, second in ((signal.SIGINT, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)):
            process = self.start("run", GUEST, "children", "spinner", "50")
            self.wait_for(process.stdout, "ready")
            process.send_signal(first)
            process.send_signal(second)
            self.assertIn(self.ended(process).status, (128 + first, 128 + second))

    def test_signals_that_change_nothing(self):
        process = self.start("run", GUEST, "wait", "read", stdin=subprocess.PIPE)
        self.wait_for(process.stdout, "ready")
        for number in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH, signal.SIGCONT):
            process.send_signal(number)
        process.stdin.close()
        self.assertEqual(process.wait(timeout=self.SOON * 5), 0)

    def test_while_a_guest_compiles(self):
        """Nobody waits for a compile that nobody wants any more."""
        process = self.start("run", GUEST, "wait", "compile")
        self.wait_for(process.stdout, "ready")
        time.sleep(0.3)  # it takes seconds
        ended = self.check(process, ready=None)
        self.assertNotIn("compiled", ended.out)

    def test_an_ignored_signal_stays_ignored(self):
        process = self.start("run", GUEST, "wait", "read", stdin=subprocess.PIPE,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        self.wait_for(process.stdout, "ready")
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        self.assertIsNone(process.poll())
        self.check(process, signal.SIGTERM, ready=None)

    def test_stopped_and_continued(self):
        process = self.start("run", GUEST, "wait", "spin")
        self.wait_for(process.stdout, "ready")
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        process.send_signal(signal.SIGCONT)
        self.check(process, ready=None)

    def test_while_it_loads(self):
        """At any moment of a start with an empty cache: ended by the signal, no temporary file stays."""
        for delay in (0, 2, 5, 10, 20, 40, 80, 160):
            with self.subTest(delay_ms=delay):
                cache = self.dir / f"cache-{delay}"
                process = self.start("run", GUEST, "wait", "receive", env={"VIV_CACHE_DIR": str(cache)})
                time.sleep(delay / 1000)
                ended = self.interrupted(process)
                self.assertIn(ended.status, (130, -signal.SIGINT))
                left = [path.name for path in cache.iterdir()] if cache.is_dir() else []
                self.assertEqual([name for name in left if not name.endswith(".cwasm")], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
