#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that outlive the daemon: `viv run -d --survive kernel` (native.md 9)."""

import os
import pathlib
import signal
import socket
import struct
import sys
import threading
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from daemon import SECONDS, DaemonTest, alive  # noqa: E402
from viv_cli import FACTOR  # noqa: E402

COUNTER = 'i=0; while :; do echo "$i"; i=$((i+1)); sleep 0.01; done'
KILLS = 20


class HeldTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.mark = f"held-{self.id()}-{os.getpid()}"
        self.addCleanup(self.end_holders)

    def end_holders(self):
        for pid in alive(self.mark):
            os.kill(pid, signal.SIGKILL)
        for pid in self.holders():
            os.kill(pid, signal.SIGKILL)

    def hold_dir(self):
        return self.run_dir / "viv" / "hold"

    def files(self):
        return sorted(path.suffix for path in self.hold_dir().iterdir())

    def no_files(self):
        """Waits until the folder is empty; a failure says what is in it."""
        end = time.monotonic() + SECONDS
        while self.files() != [] and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(self.files(), [])

    def holders(self):
        """Who listens at the sockets of this test's folder."""
        found = []
        for path in self.hold_dir().glob("*.sock"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
                try:
                    stranger.connect(str(path))
                except ConnectionRefusedError:
                    continue
                found.append(struct.unpack("3i", stranger.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
        return found

    def held(self, script, options=(), **more):
        """A held shell whose name is the test's mark; the reference that outlives its pid."""
        self.detach("sh", "-c", script, self.mark, options=("--survive", "kernel", "--key", "it", *options), **more)
        return "key:it"

    def kill_daemon(self):
        for pid in self.daemons():
            os.kill(pid, signal.SIGKILL)
        self.until(lambda: not self.daemons(), "the daemon is dead")

    def gone(self):
        self.until(lambda: not alive(self.mark), "the program is dead")


class Held(HeldTest):
    def test_case_098_twenty_kernels(self):
        ref = self.held(COUNTER, ("--label", "counter"))
        self.until(lambda: self.viv("logs", ref).out.count("\n") > 3)
        before = self.info(ref)
        for _ in range(KILLS):
            self.kill_daemon()
            time.sleep(0.03)
            self.assertEqual([(row["number"], row["label"], row["phase"]) for row in self.ps()],
                             [(before["number"], "counter", "running")])
        after = self.info(ref)
        for name in ("number", "digest", "label", "command", "os_pid", "contained_by"):
            self.assertEqual(after[name], before[name], name)
        self.assertGreater(after["age_ms"], before["age_ms"])
        self.until(lambda: len(alive(self.mark)) == 1, "one shell")
        numbers = [int(line) for line in self.viv("logs", ref).out.splitlines()]
        self.assertGreater(len(numbers), KILLS)
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertEqual(self.viv("stop", ref).status, 0)
        self.gone()
        self.assertEqual(self.viv("release", "#1").status, 0)
        self.no_files()

    def test_case_054_only_what_asked_for_it_survives(self):
        ref = self.held("sleep 900; :")
        other = f"other-{self.mark}"
        self.detach("sh", "-c", "sleep 900; :", other)
        self.until(lambda: alive(other), "it runs")
        self.kill_daemon()
        self.until(lambda: not alive(other), "it ends with the kernel")
        self.assertEqual([row["number"] for row in self.ps()], [1])
        self.assertEqual(self.viv("kill", ref).status, 0)

    def test_an_end_in_order_leaves_it_too(self):
        ref = self.held("echo first; sleep 0.5; echo second; sleep 900; :")
        self.said(ref, "first")
        self.assertEqual(self.viv("daemon", "--stop").status, 0)
        self.assertEqual(self.daemons(), [])
        time.sleep(0.7)
        self.assertEqual(self.viv("logs", ref).out, "first\nsecond\n")
        self.assertEqual(self.viv("kill", ref).status, 0)
        self.assertEqual(self.info("#1")["exit"]["cause"], "kill")

    def test_case_099_it_ends_with_no_kernel(self):
        ref = self.held("sleep 0.3; echo out; sleep 0.1; echo err >&2; exit 7")
        self.kill_daemon()
        self.gone()
        self.assertEqual(self.viv("wait", "#1").status, 7)
        info = self.info("#1")
        self.assertEqual((info["phase"], info["exit"]["kind"], info["exit"]["cause"], info["exit"]["status"]),
                         ("exited", "exited", "self", 7))
        self.assertGreaterEqual(info["exit"]["duration_ms"], 300)
        self.assertEqual(self.viv("logs", "#1").out, "out\nerr\n")
        self.kill_daemon()  # seen, and kept for a while
        self.assertEqual(self.viv("wait", "#1").status, 7)
        self.assertEqual(self.viv("release", "#1").status, 0)
        self.no_files()
        self.refused(self.viv("info", ref), 1, "no such program")

    def test_case_099_the_record_is_read_after_its_holder(self):
        self.held("sleep 0.3; exit 9", ("--retain", "100ms"))
        self.kill_daemon()
        self.gone()
        self.until(lambda: self.files() == [".rec"], "the holder has gone, its record not")
        self.assertEqual(self.viv("wait", "#1").status, 9)

    def test_a_foreign_holder_is_shown_and_left_alone(self):
        """Of a protocol that this version does not know, with a record that it cannot read."""
        digest = "00112233445566ff"
        self.hold_dir().mkdir(mode=0o700, parents=True)
        (self.hold_dir() / f"{digest}.rec").write_bytes(b"another form")
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(holder.close)
        holder.bind(f"/proc/self/fd/{self.open_dir()}/{digest}.sock")
        holder.listen(64)
        hello = struct.pack("<HHIQ", 96, 0, 64, 0) + struct.pack("<IIQQ16s17s7x", 90, 91, 0, 1, bytes(16), digest.encode())

        def greet():
            while True:
                try:
                    holder.accept()[0].send(hello)
                except OSError:
                    return

        threading.Thread(target=greet, daemon=True).start()
        self.assertEqual([(row["pid"], row["number"], row["digest"], row["phase"]) for row in self.ps()],
                         [(None, 1, digest, "foreign holder")])
        table = self.viv("ps").out.splitlines()
        self.assertIn("foreign holder", table[1])
        self.assertEqual(self.info("#1")["why"], "it is of another version")
        for command in ("stop", "kill", "release", "logs", "wait"):
            self.refused(self.viv(command, "#1"), 1, "holder")
        self.assertEqual(self.viv("release", "--all").status, 0)
        self.assertEqual(self.files(), [".rec", ".sock"])
        holder.shutdown(socket.SHUT_RDWR)
        holder.close()
        self.assertEqual(self.ps(), [])
        self.refused(self.viv("stop", "#1"), 1, "no such program")

    def open_dir(self):
        """A descriptor of the folder: its path may be longer than an address."""
        fd = os.open(self.hold_dir(), os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, fd)
        return fd

    def test_case_103_a_holder_is_killed(self):
        for attached in (True, False):
            with self.subTest(attached=attached):
                ref = self.held("sleep 900 & sleep 901; :")
                digest = self.info(ref)["digest"]
                holders = self.holders()
                self.assertEqual(len(holders), 1)
                if not attached:
                    self.kill_daemon()
                for pid in holders:
                    os.kill(pid, signal.SIGKILL)
                (self.hold_dir() / f"{digest}.new").write_bytes(b"it was writing its record again")
                number = self.ps("-a")[-1]["number"]
                self.until(lambda number=number: self.info(f"#{number}")["phase"] == "exited", "it is reported")
                self.assertEqual((self.info(f"#{number}")["exit"]["kind"], self.info(f"#{number}")["exit"]["cause"]),
                                 ("lost", "lost"))
                self.gone()
                self.refused(self.viv("stop", ref), 1, "no such program")
                self.assertEqual(self.viv("release", f"#{number}").status, 0)
                self.no_files()

    def test_limits_hold_without_a_kernel(self):
        self.held("sleep 900; :", ("--max-time", "1s", "--grace", "100ms"))
        self.kill_daemon()
        self.gone()
        self.assertEqual(self.info("#1")["exit"]["cause"], "lifetime")

    def test_a_terminal_and_input(self):
        ref = self.held('while read -r line; do echo "got $line"; done; echo end', ("-i",))
        attach = self.start("attach", "--stdin", ref, stdin=-1)
        attach.stdin.write(b"one\n")
        attach.stdin.flush()
        self.said(ref, "got one")
        attach.kill()
        self.kill_daemon()
        attach = self.start("attach", "--stdin", ref, stdin=-1)
        attach.stdin.write(b"two\n")
        attach.stdin.close()
        self.said("#1", "got one\ngot two\n")
        self.assertEqual(self.viv("kill", "#1").status, 0)

    def test_a_sandbox_survives_as_well(self):
        user = ("--user", "nobody") if os.geteuid() == 0 else ()
        ref = self.held(COUNTER, ("--sandbox", "default", "--cwd", "/usr", *user))
        self.until(lambda: self.viv("logs", ref).out.count("\n") > 3)
        for _ in range(3):
            self.kill_daemon()
            time.sleep(0.1)
            self.assertEqual(self.info(ref)["phase"], "running")
        numbers = [int(line) for line in self.viv("logs", ref).out.splitlines()]
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertEqual(self.viv("stop", ref).status, 0)


class Bad(HeldTest):
    def test_a_record_that_is_none(self):
        self.held("sleep 900; :")
        self.kill_daemon()
        bad = self.hold_dir() / ("0" * 16 + ".rec")
        bad.write_bytes(b"nonsense")
        (self.hold_dir() / ("1" * 16 + ".rec")).write_bytes(b"")
        self.assertEqual([row["number"] for row in self.ps()], [1])
        self.assertEqual(self.files().count(".bad"), 2)
        self.assertFalse(bad.exists())
        self.assertIn("renamed", (self.state_dir / "viv" / "daemon.log").read_text(encoding="utf-8"))
        self.assertEqual(self.viv("kill", "#1").status, 0)

    def test_half_a_record(self):
        """Of a holder that was killed before it had one; not of one that lives."""
        ref = self.held("sleep 900; :")
        new = self.hold_dir() / f"{self.info(ref)['digest']}.new"
        self.kill_daemon()
        new.write_bytes(b"half")
        (self.hold_dir() / ("1" * 16 + ".new")).write_bytes(b"half")
        self.assertEqual([row["number"] for row in self.ps()], [1])
        self.assertTrue(new.exists())
        new.unlink()
        self.assertEqual(self.viv("kill", "#1").status, 0)
        self.assertEqual(self.viv("release", "#1").status, 0)
        self.no_files()

    def test_a_holder_that_does_not_answer_is_left_alone(self):
        self.held("sleep 900; :")
        holders = self.holders()
        for pid in holders:
            os.kill(pid, signal.SIGSTOP)
        self.kill_daemon()
        began = time.monotonic()
        self.assertEqual([row["phase"] for row in self.ps()], ["foreign holder"])
        self.assertLess(time.monotonic() - began, 8 * FACTOR)
        self.assertTrue(alive(self.mark))
        for pid in holders:
            os.kill(pid, signal.SIGCONT)
        self.kill_daemon()
        self.assertEqual([row["number"] for row in self.ps()], [1])
        self.assertEqual(self.viv("kill", "#1").status, 0)

    def spilled(self):
        """What all files of the spill have, heads of records and all."""
        return b"".join(path.read_bytes() for path in sorted((self.state_dir / "viv" / "d").glob("*")))

    def test_case_089_files_go_on_with_the_next_daemon(self):
        ref = self.held("echo first; sleep 1; echo second; sleep 900; :", ("--spill", "d"))
        self.until(lambda: b"first" in self.spilled(), "it is written")
        self.kill_daemon()
        time.sleep(1.5)
        self.assertNotIn(b"second", self.spilled())
        self.assertEqual([row["number"] for row in self.ps()], [1])
        self.until(lambda: b"second" in self.spilled(), "it is written on")
        self.assertEqual(self.spilled().count(b"first"), 1)
        self.assertEqual(self.viv("kill", ref).status, 0)
        self.assertEqual(self.viv("release", "#1").status, 0)
        self.until(lambda: self.spilled() == b"", "its files are gone")


if __name__ == "__main__":
    unittest.main(verbosity=2)
