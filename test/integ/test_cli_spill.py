#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files that `viv run --spill` and `viv daemon --audit` leave, and streams at their bounds (native.md 8, 13)."""

import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from daemon import DaemonTest, alive  # noqa: E402
from viv_cli import SECONDS, VIV, chain_break  # noqa: E402

HEAD = struct.Struct("<IBBHIIQQQQ")  # magic, stream, flags, 0, length, check, offset, missing, monotonic, wall
MAGIC = 0x52505356
GAP = 1


def records(data):
    """(stream, offset, bytes or how many are missing) of each whole record; and the bytes behind the last."""
    found, at = [], 0
    while at + HEAD.size <= len(data):
        magic, stream, flags, _, length, _, offset, missing, _, _ = HEAD.unpack_from(data, at)
        if magic != MAGIC or at + HEAD.size + length > len(data):
            break
        found.append((stream, offset, missing if flags & GAP else data[at + HEAD.size:at + HEAD.size + length]))
        at += HEAD.size + length
    return found, data[at:]


class Spill(DaemonTest):
    """Both streams in files below the state directory."""

    def files(self, folder):
        return sorted((self.state_dir / "viv" / folder).iterdir())

    def content(self, folder):
        """{stream: bytes} of all files; nothing is missing, nothing is torn."""
        streams = {1: b"", 2: b""}
        for path in self.files(folder):
            found, rest = records(path.read_bytes())
            self.assertEqual(rest, b"", path)
            for stream, offset, data in found:
                self.assertEqual((offset, type(data)), (len(streams[stream]), bytes))
                streams[stream] += data
        return streams

    def test_case_089_foreground(self):
        ended = self.viv("run", "--spill", "out", "--", "sh", "-c", "echo one; echo two >&2; echo three")
        self.assertEqual((ended.status, ended.out, ended.err), (0, "one\nthree\n", "two\n"))
        self.assertEqual(self.content("out"), {1: b"one\nthree\n", 2: b"two\n"})
        self.assertEqual([path.stat().st_mode & 0o777 for path in self.files("out")], [0o600])
        self.assertEqual((self.state_dir / "viv" / "out").stat().st_mode & 0o777, 0o700)

    def test_case_089_more_than_the_ring(self):
        """The ring forgets, the files do not."""
        pid = self.shell("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; exec sleep 900",
                         ("--ring", "4K", "--overflow", "backpressure", "--spill", "out"))
        reader = self.start("logs", "-f", pid)
        wanted = "".join(f"line {i}\n" for i in range(2000)).encode()
        self.until(lambda: sum(len(path.read_bytes()) for path in self.files("out")) > 0)
        self.assertEqual(self.viv("kill", pid).status, 0)
        self.assertEqual(self.ended(reader).status, 0)
        content = self.content("out")[1]
        self.assertEqual(content, wanted[:len(content)])
        self.assertEqual(self.viv("release", pid).status, 0)
        self.until(lambda: not self.files("out"), "its files go with it")

    def test_case_089_killed_daemon(self):
        """What is there is complete up to a torn tail at most; the next daemon has the same folder."""
        pid = self.detach("yes", options=("--spill", "out", "--ring", "64K"))
        self.until(lambda: self.files("out") and self.files("out")[0].stat().st_size > 200_000)
        for daemon in self.daemons():
            os.kill(daemon, signal.SIGKILL)
        self.until(lambda: not self.daemons() and not alive("yes"))
        for path in self.files("out"):
            found, rest = records(path.read_bytes())
            self.assertGreater(len(found), 0)
            at = found[0][1]
            for stream, offset, data in found:  # each byte once, or told to be missing
                self.assertEqual((stream, offset), (1, at))
                at += data if isinstance(data, int) else len(data)
            self.assertLess(len(rest), 300 << 10)
        before = self.files("out")
        pid = self.detach("echo", "again", options=("--spill", "out"))
        self.assertEqual(self.viv("wait", pid).status, 0)
        self.until(lambda: len(self.files("out")) == len(before) + 1)

    def test_case_090_disk_that_is_full(self):
        """The program goes on; what was not written is a gap, and what comes later is there."""
        if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
            self.skipTest("no mount of its own")
        script = (f'mkdir -p {self.state_dir}/viv && mount -t tmpfs -o size=256k none {self.state_dir}/viv || exit 99; '
                  f'{VIV} run --spill out --ring 64K -- sh -c \'head -c 1000000 /dev/zero; echo; echo last\' | tail -1; '
                  f'ls -l {self.state_dir}/viv/out | wc -l')
        result = subprocess.run(["unshare", "-m", "sh", "-c", script], env=self.env, cwd=self.dir, timeout=SECONDS,
                                capture_output=True, text=True, check=False)
        if result.returncode == 99:
            self.skipTest("no tmpfs")
        self.assertEqual((result.stdout.splitlines()[0], result.stderr), ("last", ""))

    def test_folders_that_cannot_be(self):
        self.refused(self.viv("run", "--spill", "../out", "--", "true"), 1, "spill")
        self.refused(self.viv("run", "--spill", "/tmp/out", "--", "true"), 1, "spill")
        self.refused(self.viv("run", "-d", "--spill", "a/b", "--", "true"), 1, "spill")

    def test_no_folder_for_state(self):
        self.env["XDG_STATE_HOME"] = "/proc/none"
        self.refused(self.viv("run", "--spill", "out", "--", "true"), 1, "--spill", "/proc/none")


class Streams(DaemonTest):
    """Input at its bounds."""

    def test_case_085_086_input(self):
        pid = self.shell("cat; echo end")  # without -i there is none
        self.assertEqual((self.viv("wait", pid).status, self.viv("logs", pid).out), (0, "end\n"))
        pid = self.detach("sleep", "0.5", options=("-i",))  # which reads nothing
        process = subprocess.Popen([VIV, "attach", "--stdin", "--json", pid], env=self.env, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.stop, process)
        out, _ = process.communicate(b"x" * 4_000_000, timeout=SECONDS)
        exit_record = json.loads(out)
        self.assertEqual(process.returncode, 0)
        info = self.info(pid)
        self.assertEqual(info["stdin"], "closed")
        undelivered = exit_record["stdin_undelivered"]  # the pipe took its 64 KiB, the queue holds up to 1 MiB
        self.assertTrue((1 << 20) - (64 << 10) <= undelivered <= 1 << 20, undelivered)


class Audit(DaemonTest):
    """`viv daemon --audit FILE`."""

    def lines(self):
        return (self.dir / "audit.jsonl").read_text(encoding="utf-8").splitlines()

    def programs(self):
        return [(event["operation"], event["outcome"]) for event in map(json.loads, self.lines())
                if event["event"] == "program"]

    def test_case_115_one_chain_over_two_daemons(self):
        for turn in range(2):
            self.assertEqual(self.viv("daemon", "--audit", "audit.jsonl").status, 0)
            pid = self.shell("exit 3")
            self.assertEqual(self.viv("wait", pid).status, 3)
            self.refused(self.viv("run", "-d", "--", "no-such-program"), 127)
            self.until(lambda: len(self.programs()) >= 3 * (turn + 1), "it is written while the daemon runs")
            self.assertEqual(self.viv("daemon", "--stop").status, 0)
        found = self.programs()
        for event in (("native.spawn", "OK"), ("native.exit", "OK"), ("native.spawn", "NOPROGRAM")):
            self.assertEqual(found.count(event), 2, found)
        self.assertIsNone(chain_break(self.lines()))

    def test_case_115_required(self):
        if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0:
            self.skipTest("no mount of its own")
        self.file("full/x")
        script = ('mount -t tmpfs -o size=4k none full || exit 99; '
                  f'{VIV} daemon --audit full/audit.jsonl --require-audit || exit 98; '
                  f'{VIV} run -d -- touch must-not-exist; s=$?; {VIV} daemon --stop; exit $s')
        result = subprocess.run(["unshare", "-m", "sh", "-c", script], env=self.env, cwd=self.dir, timeout=SECONDS,
                                capture_output=True, text=True, check=False)
        if result.returncode == 99:
            self.skipTest("no tmpfs")
        self.assertEqual((result.returncode, result.stdout), (1, ""), result)
        self.assertIn("audit", result.stderr)
        self.assertFalse((self.dir / "must-not-exist").exists())

    def test_mistakes(self):
        self.refused(self.viv("daemon", "--require-audit"), 2, "--audit FILE")
        self.refused(self.viv("daemon", "--audit", "none/audit.jsonl"), 1, "daemon")
        self.refused(self.viv("daemon", "--foreground", "--audit", "none/audit.jsonl"), 1, "none/audit.jsonl")
        self.detach("sleep", "900")
        self.refused(self.viv("daemon", "--audit", "audit.jsonl"), 1, "runs already")


class Together(DaemonTest):
    """Several programs in one command, and what was asked for."""

    def test_stop_asks_all_at_once(self):
        count, grace = 40, 0.5  # more than a connection takes at a time
        pids = [self.shell('trap "" TERM; echo ready; while :; do sleep 0.05; done') for _ in range(count)]
        for pid in pids:
            self.said(pid, "ready")
        begun = time.monotonic()
        ended = self.viv("stop", "--json", "--grace", f"{int(grace * 1000)}ms", *pids[:30], "#9999", *pids[30:])
        self.assertLess(time.monotonic() - begun, count * grace / 2)  # one after another takes twice as long
        self.assertEqual(ended.status, 1)
        self.assertRegex(ended.err, r"\Aviv: stop #9999: no such program[^\n]*\n\Z")
        self.assertEqual([json.loads(line)["status"] for line in ended.out.splitlines()], [137] * count)

    def test_answers_are_in_the_order_of_the_programs(self):
        slow, fast = self.shell("sleep 0.5; exit 4"), self.shell("exit 5")
        ended = self.viv("wait", "--json", slow, fast)
        self.assertEqual([json.loads(line)["code"] for line in ended.out.splitlines()], [4, 5])
        self.assertEqual(ended.status, 5)

    def test_info_has_what_was_asked_for(self):
        (self.dir / "sub").mkdir()
        pid = self.detach("sh", "-c", "exec sleep 900", "a b",
                          options=("--cwd", "sub", "--max-memory", "64M", "--grace", "3s", "--files", "77"))
        info = self.info(pid)
        self.assertEqual(info["arguments"], ["sh", "-c", "exec sleep 900", "a b"])
        self.assertEqual(info["cwd"], f"{self.dir}/sub")
        force = info["in_force"]
        self.assertEqual((force["overflow"], force["survive"], force["keep_stdin"], force["max_lifetime_ms"]),
                         ("drop_oldest", "env", False, None))
        self.assertEqual(force["idle_on"], ["io", "wait", "output", "held"])
        self.assertEqual((force["max_memory_bytes"], force["stop_grace_ms"], force["max_open_files"]),
                         (64 << 20, 3000, 77))
        self.assertIn("stop_grace_ms", self.viv("info", pid).out)


if __name__ == "__main__":
    unittest.main(verbosity=2)
