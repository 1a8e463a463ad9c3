#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that outlive the command that started them, and the commands about them (native.md 11.4)."""

import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from daemon import DaemonTest, alive  # noqa: E402
from viv_cli import SECONDS, VIV  # noqa: E402

TITLES = "PID NUM PHASE READY AGE CPU MEM DROP SANDBOX LABEL COMMAND".split()


class Detached(DaemonTest):
    """viv run -d, ps, info, wait, release."""

    def test_run_d_outlives_its_command(self):
        pid = self.shell("echo hello; exec sleep 900")
        self.said(pid, "hello")
        programs = self.ps()
        self.assertEqual([(row["pid"], row["number"], row["phase"], row["label"]) for row in programs],
                         [(pid, 1, "running", "sh")])
        self.assertEqual(len(self.daemons()), 1)
        self.assertEqual(self.viv("stop", pid).status, 0)
        self.assertEqual(self.ps(), [])
        self.assertEqual([row["phase"] for row in self.ps("-a")], ["exited"])

    def test_ps_table(self):
        self.assertEqual(self.viv("ps").out.split(), TITLES)  # no daemon is no program
        self.assertEqual(self.daemons(), [])
        pid = self.detach("sleep", "900", options=("--label", "a b"))
        lines = self.viv("ps").out.splitlines()
        self.assertEqual((len(lines), lines[0].split()), (2, TITLES))
        for cell in (pid, "#1", "running", "yes", "none", "a b", "/sleep"):
            self.assertIn(cell, lines[1])
        self.assertEqual(json.loads(self.viv("run", "-d", "--json", "--", "true").out)["number"], 2)

    def test_it_has_the_folder_and_the_variables_of_the_caller(self):
        (self.dir / "sub").mkdir()
        pid = self.shell('pwd; echo "$GREETING"', env={"GREETING": "hi there"}, cwd=self.dir / "sub")
        self.assertEqual(self.viv("wait", pid).status, 0)
        self.assertEqual(self.viv("logs", pid).out, f"{self.dir}/sub\nhi there\n")
        pid = self.shell("pwd; echo -$HOME-", options=("--no-env", "--cwd", "sub"))
        self.assertEqual(self.viv("wait", pid).status, 0)
        self.assertEqual(self.viv("logs", pid).out, f"{self.dir}/sub\n--\n")

    def test_a_sandboxed_one_does_not_see_the_daemon(self):
        """Whoever reaches the daemon's socket may start programs without a sandbox; wherever that lies."""
        base = pathlib.Path(tempfile.mkdtemp(prefix="r", dir=os.getcwd()))  # /tmp is hidden anyway
        self.addCleanup(shutil.rmtree, base, ignore_errors=True)
        self.addCleanup(self.end_daemon)
        self.env.update(XDG_RUNTIME_DIR=str(base), XDG_STATE_HOME=str(base / "state"), MARK=str(self.dir))
        user = ("--user", "nobody") if os.geteuid() == 0 else ()
        if user:
            base.chmod(0o755)
            (base / "viv").mkdir(mode=0o755)  # so that only the sandbox keeps it out
        script = f"ls {base}/viv {base}/state/viv 2>/dev/null; test -S {base}/viv/control.sock && echo reached; echo done"
        pid = self.detach("sh", "-c", script, options=("--sandbox", "default", "--cwd", "/usr", *user))
        self.assertTrue((base / "viv" / "control.sock").exists())
        self.assertEqual(self.viv("wait", pid).status, 0)
        lines = self.viv("logs", pid).out.splitlines()
        self.assertEqual([line for line in lines if line and not line.endswith(":")], ["done"])

    def test_case_110_statuses_of_wait(self):
        rows = [("exit 0", (), 0), ("exit 3", (), 3), ("kill -TERM $$", (), 143), ("kill -KILL $$", (), 137),
                ("sleep 900", ("--max-time", "200ms"), 137)]
        for script, options, status in rows:
            with self.subTest(script=script):
                ended = self.viv("wait", self.shell(script, options))
                self.assertEqual(ended.status, status, ended)
                self.assertEqual("limit(time" in ended.err, options != (), ended)
        pid = self.shell("sleep 900")
        self.refused(self.viv("wait", "--timeout", "200ms", pid), 124, "timed out")
        self.assertEqual(self.viv("kill", pid).status, 0)
        self.assertEqual(self.viv("wait", pid).status, 137)
        first, last = self.shell("exit 4"), self.shell("exit 5")
        self.assertEqual(self.viv("wait", first, last).status, 5)  # of the last one

    def test_case_110_failures_of_run_d(self):
        self.refused(self.viv("run", "-d", "--", "no-such-program"), 127, "no-such-program")
        self.refused(self.viv("run", "-d", "--", "/etc/passwd"), 126, "/etc/passwd")
        self.refused(self.viv("run", "-d", "--ring", "0", "--", "true"), 1, "ring_bytes")
        self.refused(self.viv("run", "-d", "--survive", "owner", "--", "true"), 2, "--survive")
        self.refused(self.viv("run", "-d", "--use", "none", "--", "true"), 2, "policy")
        self.detach("sleep", "900", options=("--key", "one"))
        self.refused(self.viv("run", "-d", "--key", "one", "--", "true"), 1, "exists", "<0.")
        self.assertEqual(self.ps("-a")[-1]["number"], 1)

    def test_refs(self):
        pid = self.detach("sleep", "900", options=("--key", "k1", "--label", "one"))
        self.detach("sleep", "900", options=("--label", "two"))
        self.detach("sleep", "900", options=("--label", "two"))
        for ref in (pid, pid[1:-1], "#1", "1", "key:k1", "label:one"):
            self.assertEqual(self.info(ref)["pid"], pid, ref)
        self.refused(self.viv("info", "label:two"), 1, "several")
        for ref in ("label:on", "key:k2", "#9", "<0.9.9>", "a" * 52):
            self.refused(self.viv("info", ref), 1, "no such program")
        for ref in ("x", "", "<0.1>", "#", "<0.1.2>x"):
            self.refused(self.viv("info", ref), 2, "want a pid")

    def test_usage(self):
        """Where there are control groups; what is not known says so."""
        pid = self.shell("while :; do :; done")
        known = "cpu_ms" in self.info(pid)
        self.assertEqual(known, self.info(pid)["contained_by"] == "cgroup")
        if known:
            self.until(lambda: self.info(pid)["cpu_ms"] >= 50, "it uses the CPU")
            self.assertRegex(self.viv("ps").out, r"running  yes +\d+s +\d+\.\d\ds ")
        self.viv("kill", pid)
        self.assertNotIn("cpu_ms", self.info(pid))  # its record has it

    def test_info_native(self):
        told = json.loads(self.viv("info", "--native", "--json").out)
        self.assertEqual((told["known"], told["seccomp"]), (False, "not tried yet"))
        self.refused(self.viv("info"), 2, "--native")

    def test_signal(self):
        pid = self.shell('trap "echo got usr1" USR1; echo ready; while :; do sleep 0.05; done')
        self.said(pid, "ready")
        self.assertEqual(self.viv("signal", "USR1", pid).status, 0)
        self.said(pid, "got usr1")
        self.refused(self.viv("signal", "NOPE", pid), 2, "NOPE")
        self.refused(self.viv("signal", "USR1"), 2, "SIG REF")

    def test_stop_keeps_last_words_and_release_does_not(self):
        script = 'trap "echo bye; exit 7" TERM; echo ready; while :; do sleep 0.05; done'
        one, two = self.shell(script), self.shell(script)
        self.said(one, "ready")
        self.said(two, "ready")
        self.refused(self.viv("release", one), 1, "it runs")
        ended = self.viv("stop", "--json", one)
        self.assertEqual((json.loads(ended.out)["code"], json.loads(ended.out)["reason"]), (7, "shutdown"))
        self.assertIn("bye", self.viv("logs", one).out)
        self.assertEqual(self.viv("stop", "--release", "--grace", "5s", two).status, 0)
        self.refused(self.viv("logs", two), 1, "no such program")
        self.assertEqual(self.viv("release", "--all").status, 0)
        self.assertEqual(self.ps("-a"), [])
        self.refused(self.viv("release"), 2, "--all")

    def test_stop_without_grace_kills(self):
        pid = self.shell('trap "" TERM; echo ready; while :; do sleep 0.05; done')
        self.said(pid, "ready")
        begun = time.monotonic()
        self.assertEqual(self.viv("stop", "--grace", "100ms", pid).status, 0)
        self.assertLess(time.monotonic() - begun, SECONDS)
        self.assertEqual(self.viv("wait", pid).status, 137)


class Logs(DaemonTest):
    """viv logs."""

    def test_streams_by_order(self):
        pid = self.shell("echo 1; sleep 0.1; echo 2 >&2; sleep 0.1; echo 3")
        self.viv("wait", pid)
        self.assertEqual(self.viv("logs", pid).out, "1\n2\n3\n")
        self.assertEqual(self.viv("logs", pid).out, "1\n2\n3\n")  # nothing was taken away
        self.assertEqual(self.viv("logs", "--stream", "out", pid).out, "1\n3\n")
        self.assertEqual(self.viv("logs", "--stream=err", pid).out, "2\n")
        self.assertEqual(self.viv("logs", "-n", "2", pid).out, "2\n3\n")
        self.assertEqual(self.viv("logs", "-n2", "--stream", "out", pid).out, "1\n3\n")
        self.assertEqual(self.viv("logs", "-n", "0", pid).out, "")
        self.assertEqual(self.viv("logs", "--since", "1h", pid).out, "1\n2\n3\n")
        self.refused(self.viv("logs", "--stream", "in", pid), 2, "out, err or both")
        self.refused(self.viv("logs"), 2, "one REF")

    def test_times_and_json(self):
        pid = self.shell("echo 1; sleep 0.1; printf '\\377\\n'")
        self.viv("wait", pid)
        lines = self.viv("logs", "--times", "--raw", "-n", "9", pid).out.splitlines()
        self.assertEqual(len(lines), 2)
        self.assertRegex(lines[0], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z 1$")
        self.assertLess(lines[0][:24], lines[1][:24])
        rows = [json.loads(line) for line in self.viv("logs", "--json", pid).out.splitlines()]
        self.assertEqual([(row["stream"], row["line"]) for row in rows], [("out", "1"), ("out", "\\xff")])

    def test_bytes_pass_as_they_are(self):
        data = bytes(range(256)) * 2000
        (self.dir / "data").write_bytes(data)
        pid = self.detach("cat", "data")
        self.viv("wait", pid)
        result = subprocess.run([VIV, "logs", pid], env=self.env, capture_output=True, timeout=SECONDS, check=False)
        self.assertEqual((result.returncode, result.stdout == data, result.stderr), (0, True, b""))

    def test_follow_ends_at_eof(self):
        pid = self.shell("echo 1; sleep 0.4; echo 2; sleep 0.4; echo 3")
        follower = self.start("logs", "-f", pid)
        self.wait_for(follower.stdout, "1\n2\n3\n")
        self.assertEqual(self.ended(follower).status, 0)

    def test_follow_through_a_small_ring(self):
        pid = self.shell("sleep 0.3; i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done",
                         ("--ring", "4K"))
        follower = self.start("logs", "-f", pid)
        ended = self.ended(follower)
        self.assertEqual(ended.status, 0)
        numbers = [int(line.split()[1]) for line in ended.out.splitlines() if line.startswith("line ")]
        self.assertEqual((numbers[-1], numbers), (2999, sorted(set(numbers))))
        # What is missing was told.
        gone = sum(int(line.split()[2]) for line in ended.err.splitlines() if "are gone" in line)
        self.assertEqual(gone + len(ended.out.encode()), sum(len(f"line {i}\n") for i in range(3000)))

    def test_case_111_a_closed_pipe_ends_logs(self):
        pid = self.detach("yes", options=("--ring", "64K"))
        result = subprocess.run(f"{VIV} logs -f '{pid}' 2>/dev/null | head -1", shell=True, env=self.env,
                                capture_output=True, timeout=SECONDS, check=False)
        self.assertEqual(result.stdout, b"y\n")
        self.assertEqual(self.info(pid)["phase"], "running")


class Attach(DaemonTest):
    """viv attach: two terminals, input, detaching."""

    def on_terminal(self, *args):
        """`viv args` on a terminal of its own; process and controlling side."""
        master, slave = pty.openpty()
        process = self.start(*args, stdin=slave, stdout=slave, start_new_session=True)
        os.close(slave)
        self.addCleanup(os.close, master)
        return process, master

    def read_until(self, fd, text):
        seen, end = b"", time.monotonic() + SECONDS
        while text not in seen:
            self.assertTrue(select.select([fd], [], [], max(0, end - time.monotonic()))[0], (text, seen))
            try:
                seen += os.read(fd, 65536)
            except OSError as error:  # the other side has ended
                self.fail(f"{text!r} did not come before the end: {error}; what came: {seen!r}")
        return seen

    def test_case_113_input_and_status(self):
        pid = self.detach("sh", "-c", "cat; exit 9", options=("-i", "--ring", "4M"))  # all of it fits
        process = subprocess.Popen([VIV, "attach", "--stdin", pid], env=self.env, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.stop, process)
        time.sleep(0.3)
        data = b"x" * 2_000_000 + b"\n"  # more than the window, the pipe and the queue
        out, err = process.communicate(data, timeout=SECONDS)
        self.assertEqual((process.returncode, len(out), err), (9, len(data), b""))

    def test_what_attach_missed_is_told(self):
        pid = self.shell("read -r line; yes | head -c 3000000; exit 0", ("-i", "--ring", "4K"))
        process = subprocess.Popen([VIV, "attach", "--stdin", pid], env=self.env, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.stop, process)
        process.stdin.write(b"go\n")
        process.stdin.flush()
        self.until(lambda: self.info(pid)["phase"] == "exited", "it has said all")  # and nobody has read
        out, err = process.communicate(timeout=SECONDS)
        lost = sum(map(int, re.findall(rb"^viv: attach: (\d+) bytes of stdout are gone", err, re.MULTILINE)))
        self.assertGreater(lost, 0)
        self.assertEqual(len(out) + lost, 3_000_000)

    def test_case_113_two_terminals(self):
        pid = self.detach("sh", "-c", "stty -echo; echo ready; while read line; do echo \"got $line\"; done",
                          options=("-t24x80",))
        self.said(pid, "ready")
        one, first = self.on_terminal("attach", "--stdin", pid)
        two, second = self.on_terminal("attach", "--stdin", pid)
        time.sleep(0.5)
        os.write(first, b"abc\n")
        for process, fd in ((one, first), (two, second)):
            self.assertIsNone(process.poll(), process.poll() is not None and process.stderr.read())
            self.read_until(fd, b"got abc")
        os.write(second, b"\x1d")  # ctrl-]
        self.assertEqual(two.wait(timeout=SECONDS), 0)
        self.assertEqual(self.info(pid)["phase"], "running")
        os.write(first, b"def\n")
        self.read_until(first, b"got def")
        os.write(first, b"\x04")  # its end of input
        self.assertEqual(one.wait(timeout=SECONDS), 0)

    def test_case_113_size(self):
        pid = self.detach("sh", "-c", 'trap "stty size" WINCH; echo ready; while :; do sleep 0.05; done',
                          options=("-t24x80",))
        self.said(pid, "ready")
        process, fd = self.on_terminal("attach", "--stdin", pid)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 99, 0, 0))
        process.send_signal(signal.SIGWINCH)
        self.read_until(fd, b"31 99")
        os.write(fd, b"\x1d")
        self.assertEqual(process.wait(timeout=SECONDS), 0)

    def test_leaving_ends_nothing(self):
        pid = self.detach("sleep", "900")
        process = self.start("attach", pid)
        time.sleep(0.3)
        self.assertEqual(self.interrupted(process).status, 130)
        self.assertEqual(self.info(pid)["phase"], "running")
        self.refused(self.viv("attach", "--detach-keys", "ctrl", pid), 2, "--detach-keys")
        self.refused(self.viv("attach", "#99"), 1, "no such program")

    def test_a_terminal_is_not_steered_by_logs(self):
        pid = self.shell("printf 'a\\033[31mb\\tc\\n'")
        self.viv("wait", pid)
        process, fd = self.on_terminal("logs", pid)
        self.assertIn(b"a\\x1b[31mb", self.read_until(fd, b"c"))
        process.wait(timeout=SECONDS)
        process, fd = self.on_terminal("logs", "--raw", pid)
        self.assertIn(b"a\x1b[31mb", self.read_until(fd, b"c"))
        process.wait(timeout=SECONDS)


class Daemon(DaemonTest):
    """The daemon itself."""

    def test_two_starters_start_one(self):
        runs = [self.start("run", "-d", "--", "sleep", "900") for _ in range(8)]
        self.assertEqual([self.ended(run).status for run in runs], [0] * 8)
        self.assertEqual((len(self.daemons()), len(self.ps())), (1, 8))

    def test_stop_ends_its_programs(self):
        self.detach("sleep", "913.25")
        self.assertEqual(len(alive("913.25")), 1)
        self.assertEqual(self.viv("daemon", "--stop").status, 0)
        self.assertEqual((alive("913.25"), self.daemons()), ([], []))
        self.assertEqual(self.viv("daemon", "--stop").status, 0)  # as it was asked
        self.refused(self.viv("logs", "#1"), 1, "no daemon runs")

    def test_case_54_killed_daemon_takes_its_programs(self):
        self.shell("sleep 914.25 & exec sleep 914.5")
        waiter = self.start("wait", "#1")
        self.until(lambda: alive("914.25") and alive("914.5"))
        time.sleep(0.2)
        subprocess.run(["kill", "-9", *map(str, self.daemons())], check=True)
        self.until(lambda: not alive("914.25") and not alive("914.5"), "its programs end")
        ended = self.ended(waiter)
        self.assertEqual((ended.status, "the daemon has ended" in ended.err), (1, True), ended)
        self.detach("sleep", "900")  # the stale socket is replaced
        self.assertEqual(len(self.ps()), 1)

    def test_clients_of_an_ending_daemon_are_told(self):
        pid = self.shell("echo ready; exec sleep 900")
        self.said(pid, "ready")
        waiter, follower = self.start("wait", pid), self.start("logs", "-f", pid)
        self.wait_for(follower.stdout, "ready")
        time.sleep(0.2)
        self.assertEqual(self.viv("daemon", "--stop").status, 0)
        self.assertEqual(self.ended(waiter).status, 143)
        self.assertEqual(self.ended(follower).status, 0)

    def test_sigterm_ends_it(self):
        self.detach("sleep", "915.25")
        (pid,) = self.daemons()
        subprocess.run(["kill", str(pid)], check=True)
        self.until(lambda: not self.daemons())
        self.assertEqual(alive("915.25"), [])
        self.assertFalse((self.run_dir / "viv" / "control.sock").exists())

    def test_idle_ends_it(self):
        self.env["VIV_DAEMON_IDLE"] = "300ms"
        pid = self.shell("sleep 1.5", ("--retain", "0"))
        time.sleep(1)
        self.assertEqual(len(self.daemons()), 1)
        self.assertTrue(pid)
        self.until(lambda: not self.daemons(), "it ends by itself")

    def test_a_live_one_is_respected(self):
        self.detach("sleep", "900")
        self.refused(self.viv("daemon", "--foreground"), 1, "another daemon runs")
        self.assertEqual(len(self.ps()), 1)

    def test_foreground(self):
        process = self.start("daemon", "--foreground")
        self.wait_for(process.stdout, "ready at ")
        self.detach("sleep", "900")
        self.assertEqual(self.interrupted(process, signal.SIGTERM).status, 0)

    def test_places(self):
        mode = lambda path: path.stat().st_mode & 0o777  # noqa: E731
        self.detach("sleep", "900")
        self.assertEqual((mode(self.run_dir / "viv"), mode(self.run_dir / "viv" / "control.sock")), (0o700, 0o600))
        self.refused(self.viv("ps", env={"XDG_RUNTIME_DIR": "/tmp/" + "x" * 100}), 1, "XDG_RUNTIME_DIR")
        (self.dir / "open").mkdir()
        (self.dir / "open" / "viv").mkdir()
        (self.dir / "open" / "viv").chmod(0o777)
        self.refused(self.viv("run", "-d", "--", "true", env={"XDG_RUNTIME_DIR": str(self.dir / "open")}), 1,
                     "others may write")

    def test_log_that_cannot_be_written(self):
        self.env["XDG_STATE_HOME"] = "/proc/none"
        self.env.pop("HOME")
        self.detach("sleep", "900")
        self.assertEqual(len(self.ps()), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
