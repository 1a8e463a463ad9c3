#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the program reads and writes: directories, standard streams of every kind, and nothing at all while it
waits."""

import fcntl
import os
import pathlib
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from viv_cli import GUEST, SECONDS, VIV, CliTest  # noqa: E402


class Directories(CliTest):
    """--dir, --no-dir."""

    def setUp(self):
        super().setUp()
        self.file("outside.txt", "outside")
        self.file("work/inside.txt", "inside")
        self.file("work/below/deep.txt", "deep")
        self.file("other/other.txt", "other")
        os.symlink("../outside.txt", self.dir / "work/link.txt")
        os.symlink(self.dir / "outside.txt", self.dir / "work/absolute.txt")
        os.symlink("..", self.dir / "work/up")

    def cat(self, path, *options, **more):
        more.setdefault("cwd", self.dir / "work")
        return self.guest("cat", path, options=options, **more)

    def refused_to(self, path, *options):
        with self.subTest(path=path, options=options):
            ended = self.cat(path, *options)
            self.assertEqual(ended.status, 5)
            self.assertTrue(ended.out.startswith(f"{path}: "), ended.out)

    def test_the_current_directory_is_given(self):
        self.assertEqual(self.cat("inside.txt"), (0, "inside", ""))
        self.assertEqual(self.cat("below/../below/deep.txt"), (0, "deep", ""))
        self.assertEqual(self.cat("other.txt", "--dir", "../other").status, 5)
        self.assertEqual(self.cat("inside.txt", "--dir", "../other"), (0, "inside", ""))

    def test_what_is_outside_is_refused(self):
        for path in ("../outside.txt", "below/../../outside.txt", f"{self.dir}/outside.txt", "/etc/passwd", "link.txt",
                     "absolute.txt", "up/outside.txt", "none.txt"):
            self.refused_to(path)

    def test_no_directory(self):
        for path in ("inside.txt", "./inside.txt", "/etc/passwd"):
            self.refused_to(path, "--no-dir")

    def test_a_directory_under_another_name(self):
        options = ("--no-dir", "--dir", "../other::/data")
        self.assertEqual(self.cat("/data/other.txt", *options), (0, "other", ""))
        self.refused_to("/data/../outside.txt", *options)
        self.refused_to("inside.txt", *options)
        self.assertEqual(self.cat("/a/inside.txt", *options, f"--dir={self.dir}/work::/a"), (0, "inside", ""))

    def test_a_directory_under_its_own_name(self):
        self.assertEqual(self.cat(f"{self.dir}/other/other.txt", "--dir", self.dir / "other"), (0, "other", ""))

    def test_writing(self):
        self.assertEqual(self.guest("make", "new.txt", "text", cwd=self.dir / "work"), (0, "", ""))
        self.assertEqual((self.dir / "work/new.txt").read_text(encoding="utf-8"), "text")
        ended = self.guest("make", "../new.txt", "text", cwd=self.dir / "work")
        self.assertEqual((ended.status, (self.dir / "new.txt").exists()), (5, False))

    def test_directories_that_are_none(self):
        self.refused(self.cat("inside.txt", "--dir", "nowhere"), 1, "nowhere", "No such file or directory")
        self.refused(self.cat("inside.txt", "--dir", "inside.txt"), 1, "inside.txt", "Not a directory")
        self.refused(self.cat("inside.txt", "--dir", "nowhere::/data"), 1, "nowhere")

    def test_too_many(self):
        self.refused(self.cat("inside.txt", *["--dir=."] * 100), 1, "directories")

    def test_a_current_directory_that_is_gone(self):
        os.mkdir(self.dir / "gone")
        line = f"rmdir {self.dir}/gone; {VIV} run {GUEST} args"
        result = subprocess.run(["sh", "-c", line], cwd=self.dir / "gone", env=self.env, capture_output=True,
                                timeout=SECONDS, check=False)
        self.assertIn(result.returncode, (0, 1), result)


class Input(CliTest):
    """Standard input."""

    DATA = os.urandom(300000)

    def copied(self, stdin, feed=None):
        process = self.start("run", GUEST, "copy", stdin=stdin)
        if feed is not None:
            feed()
        out, err = process.communicate(timeout=SECONDS)
        self.assertEqual((process.returncode, err), (0, b""))
        return out

    def test_a_pipe(self):
        process = self.start("run", GUEST, "copy", stdin=subprocess.PIPE)
        out, _ = process.communicate(self.DATA, timeout=SECONDS)
        self.assertEqual((process.returncode, out == self.DATA), (0, True))

    def test_a_file(self):
        with open(self.file("data", self.DATA), "rb") as file:
            self.assertTrue(self.copied(file) == self.DATA)

    def test_a_socket(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            def feed():
                theirs.close()
                ours.sendall(b"hello")
                ours.shutdown(socket.SHUT_WR)

            self.assertEqual(self.copied(theirs, feed), b"hello")

    def test_nothing(self):
        with open("/dev/null", "rb") as null:
            self.assertEqual(self.copied(null), b"")

    def test_closed(self):
        result = subprocess.run(["sh", "-c", f"{VIV} run {GUEST} copy <&-"], cwd=self.dir, env=self.env,
                                capture_output=True, timeout=SECONDS, check=False)
        self.assertIn(result.returncode, (0, 9))
        self.assertEqual(result.stdout, b"")

    def test_it_comes_slowly(self):
        process = self.start("run", GUEST, "copy", stdin=subprocess.PIPE)
        for piece in (b"one\n", b"two\n", b"three\n"):
            process.stdin.write(piece)
            process.stdin.flush()
            self.wait_for(process.stdout, piece.decode())
        process.stdin.close()
        self.assertEqual(process.wait(timeout=SECONDS), 0)

    def test_flags_of_a_shared_description_stay(self):
        """Whoever started us shares the pipe or terminal; a flag that we set would be theirs, too."""
        reader, writer = os.pipe()
        main, other = pty.openpty()
        try:
            for stdin, stdout in ((reader, writer), (other, other)):
                before = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (stdin, stdout)]
                process = self.start("run", GUEST, "wait", "read", stdin=stdin, stdout=stdout)
                if stdout == other:
                    with os.fdopen(os.dup(main), "rb", buffering=0) as seen:
                        self.wait_for(seen, "ready")
                else:
                    time.sleep(0.3)
                during = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (stdin, stdout)]
                process.terminate()
                process.wait(timeout=SECONDS)
                after = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (stdin, stdout)]
                self.assertEqual((before, before), (during, after))
        finally:
            for fd in (reader, writer, main, other):
                os.close(fd)


class Output(CliTest):
    """Standard output and standard error."""

    LINES = b"".join(b"%d\n" % i for i in range(100000))

    def shell(self, line):
        return subprocess.run(["bash", "-c", line], cwd=self.dir, env=self.env, capture_output=True, timeout=SECONDS,
                              check=False)

    def test_both_streams(self):
        self.assertEqual(self.guest("say", "out", "err"), (0, "out\n", "err"))

    def test_a_slow_reader_gets_everything(self):
        process = self.start("run", GUEST, "flood", "100000")
        time.sleep(0.5)
        out, err = process.communicate(timeout=SECONDS)
        self.assertEqual((process.returncode, err, out == self.LINES), (0, b"", True))

    def test_a_file(self):
        with open(self.dir / "out", "wb") as file:
            self.assertEqual(self.guest("flood", 100000, stdout=file).status, 0)
        self.assertTrue((self.dir / "out").read_bytes() == self.LINES)

    def test_a_file_is_appended_to(self):
        self.shell(f"echo first > out; {VIV} run {GUEST} say second x >> out")
        self.assertEqual((self.dir / "out").read_text(encoding="utf-8"), "first\nsecond\n")

    def test_a_socket(self):
        ours, theirs = socket.socketpair()
        with ours:
            self.start("run", GUEST, "flood", "100000", stdout=theirs)
            theirs.close()
            ours.settimeout(SECONDS)
            with ours.makefile("rb") as file:
                self.assertTrue(file.read() == self.LINES)

    def test_full(self):
        with open("/dev/full", "wb") as full:
            ended = self.guest("flood", 1, stdout=full)
        self.assertEqual(ended.status, 7)
        self.assertTrue(ended.err.startswith("write: No space left on device\n"), ended.err)

    def test_the_reader_is_gone(self):
        reader, writer = os.pipe()
        os.close(reader)
        ended = self.guest("flood", 1, stdout=writer)
        os.close(writer)
        self.assertEqual(ended.status, 7)
        self.assertTrue(ended.err.startswith("write: Broken pipe\n"), ended.err)

    def test_the_reader_goes_away(self):
        result = self.shell(f"{VIV} run {GUEST} flood 100000000 | head -n 2; echo ${{PIPESTATUS[0]}}")
        self.assertEqual(result.stdout, b"0\n1\n7\n")

    def test_closed_streams(self):
        """The guest sees an error; its bytes go nowhere, least of all into a file of ours."""
        for closed, command, status in ((">&-", "flood 3", 7), ("2>&-", "say out err", 1), ("<&- >&- 2>&-", "flood 3", 7)):
            with self.subTest(closed=closed):
                shutil.rmtree(self.cache, ignore_errors=True)
                result = self.shell(f"{VIV} run {GUEST} {command} {closed}")
                self.assertEqual((result.returncode, result.stdout), (status, b""))
                self.assertEqual([name.rsplit(".")[-1] for name in self.entries()], ["cwasm"])
                again = self.guest("args", env={"VIV_LOG": "info"})
                self.assertEqual(again, (0, "cli_guest.wasm\nargs\n", ""))  # the entry is whole

    def test_lines_of_many_processes_are_whole(self):
        lines = self.guest("crashes", 300).err.splitlines()
        self.assertEqual(len(lines), 300)
        for line in lines:
            self.assertTrue(line.startswith("viv: process <0.") and line.endswith("backtrace)"), line)


class Idle(CliTest):
    """A program that waits costs nothing: no system call (case 113)."""

    QUIET = 3

    def check(self, how, **more):
        if os.environ.get("VIV_SANITIZER") == "thread":
            self.skipTest("the thread sanitizer has a thread of its own, which wakes by the clock")
        strace = shutil.which("strace")
        if strace is None:
            self.skipTest("no strace")
        log = self.dir / "strace.log"
        process = subprocess.Popen([strace, "-f", "-qq", "-o", log, VIV, "run", GUEST, "wait", how], cwd=self.dir,
                                   env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   start_new_session=True, **more)
        self.addCleanup(self.stop_all, process)
        if self.cannot_trace(process):
            self.skipTest("tracing is not permitted")
        self.wait_for(process.stdout, "ready")
        time.sleep(1)  # until every worker sleeps
        before = log.read_text(encoding="utf-8", errors="replace")
        time.sleep(self.QUIET)
        after = log.read_text(encoding="utf-8", errors="replace")
        os.kill(int(before.split(None, 1)[0]), signal.SIGTERM)  # the first line is the main thread's
        process.communicate(timeout=SECONDS)
        self.assertEqual(after[len(before):], "")

    def stop_all(self, process):
        """What strace traces does not end with it."""
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.stop(process)

    def cannot_trace(self, process):
        try:
            process.wait(timeout=0.3)
        except subprocess.TimeoutExpired:
            return False
        return b"ptrace" in process.stderr.read()

    def test_receive(self):
        self.check("receive", stdin=subprocess.DEVNULL)

    def test_sleep(self):
        self.check("sleep", stdin=subprocess.DEVNULL)

    def test_read(self):
        self.check("read", stdin=subprocess.PIPE)


if __name__ == "__main__":
    unittest.main(verbosity=2)
