#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`viv run -- COMMAND`: a program of the operating system in the foreground (native.md 11.4)."""

import hashlib
import json
import os
import pathlib
import pty
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from viv_cli import FACTOR, SECONDS, VIV, CliTest, alive, chain_break  # noqa: E402


def parent_of(pid):
    """None: it has ended meanwhile."""
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


class Exec(CliTest):
    """Statuses, streams, signals."""

    def run_program(self, *args, options=(), **more):
        return self.viv("run", *options, "--", *args, **more)

    def start(self, *args, options=(), **more):
        process = subprocess.Popen([VIV, "run", *options, "--", *args], cwd=self.dir, env=self.env,
                                   stdin=more.pop("stdin", subprocess.DEVNULL),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process

    def until(self, holds, seconds=SECONDS):
        end = time.monotonic() + seconds
        while not holds():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def test_case_110_statuses(self):
        rows = [(["true"], 0), (["sh", "-c", "exit 3"], 3), (["sh", "-c", "exit 255"], 255),
                (["sh", "-c", "kill -TERM $$"], 143), (["sh", "-c", "kill -KILL $$"], 137),
                (["/no/such/program"], 127), (["no-such-program"], 127), (["/etc/passwd"], 126), (["/usr"], 126)]
        for args, status in rows:
            with self.subTest(args=args):
                self.assertEqual(self.run_program(*args).status, status)

    def test_failures_are_one_line(self):
        ended = self.run_program("no-such-program")
        self.assertEqual(ended.err, "viv: no-such-program: no such program or interpreter\n")
        self.refused(self.viv("run", "--"), 2, "no command given")
        self.refused(self.viv("run", "--max-time", "soon", "--", "true"), 2, "max-time", "duration")
        self.refused(self.viv("run", "--frobnicate", "--", "true"), 2, "frobnicate")
        self.refused(self.viv("run", "--overflow", "some", "--", "true"), 2, "drop_oldest", "backpressure")

    def test_streams_are_passed_byte_for_byte(self):
        data = bytes(range(256)) * 20000
        result = subprocess.run([VIV, "run", "--", "cat"], input=data, capture_output=True, env=self.env,
                                timeout=SECONDS, check=False)
        self.assertEqual((result.returncode, result.stdout == data, result.stderr), (0, True, b""))
        ended = self.run_program("sh", "-c", "echo out; echo err >&2")
        self.assertEqual((ended.out, ended.err), ("out\n", "err\n"))

    def test_input_that_ends(self):
        self.assertEqual(self.run_program("sh", "-c", "cat; echo end", stdin="x\n").out, "x\nend\n")

    def test_environment_and_directory(self):
        self.assertEqual(self.run_program("sh", "-c", "echo $SOME", env={"SOME": "thing"}).out, "thing\n")
        self.assertEqual(self.run_program("sh", "-c", "echo $SOME", options=["--no-env"],
                                          env={"SOME": "thing"}).out, "\n")
        self.assertEqual(self.run_program("sh", "-c", "echo $SOME", options=["--env", "SOME=other"],
                                          env={"SOME": "thing"}).out, "other\n")
        (self.dir / "sub").mkdir()
        self.assertEqual(self.run_program("pwd", options=["--cwd", "sub"]).out, f"{self.dir}/sub\n")

    def test_user(self):
        self.refused(self.run_program("true", options=("--user", "no-such-user")), 2, "--user no-such-user")
        self.refused(self.run_program("true", options=("--user", "4294967295")), 2, "--user")
        if os.geteuid() != 0:
            self.skipTest("only root may be somebody else")
        there = subprocess.run(["su", "-s", "/bin/sh", "-c", "id", "nobody"], check=True, capture_output=True, text=True).stdout
        number = subprocess.run(["id", "-u", "nobody"], check=True, capture_output=True, text=True).stdout.strip()
        for user in ("nobody", number):
            ended = self.run_program("id", options=("--user", user, "--cwd", "/"))
            self.assertEqual(ended, (0, there, ""))
        ended = self.run_program("id", options=("--sandbox", "default"))
        self.assertEqual((ended.status, ended.out), (1, ""))  # root cannot be confined

    def test_case_091_an_ordinary_user_has_a_sandbox(self):
        """Not only root, who asks as nobody, and nobody."""
        if os.geteuid() != 0:
            self.skipTest("only root may be somebody else")
        user = {"user": 54321, "group": 54321, "extra_groups": []}
        try:
            allowed = subprocess.run(["unshare", "-U", VIV, "version"], capture_output=True, check=False, cwd="/", **user)
        except PermissionError:
            self.skipTest("others cannot reach the command")
        if allowed.returncode != 0 or self.run_program("true", options=("--sandbox", "default", "--user", "nobody",
                                                                      "--cwd", "/tmp")).status != 0:
            self.skipTest("this host has no sandbox")
        with tempfile.TemporaryDirectory() as folder:
            os.chown(folder, 54321, 54321)
            for level in ("default", "strict"):
                result = subprocess.run(
                    [VIV, "run", "--sandbox", level, "--", "sh", "-c", "id -u; echo >here && ls; (echo >/usr/x) 2>&1"],
                    cwd=folder, env={**self.env, "HOME": folder}, capture_output=True, text=True, timeout=SECONDS,
                    check=False, **user)
                self.assertRegex(result.stdout, r"\A54321\nhere\n.*/usr/x: Read-only file system\n\Z", result)

    def test_case_111_a_closed_pipe(self):
        began = time.monotonic()
        result = subprocess.run(f"{VIV} run -- yes | head -1", shell=True, capture_output=True, env=self.env,
                                timeout=SECONDS, check=False)
        self.assertEqual(result.stdout, b"y\n")
        self.assertLess(time.monotonic() - began, 5 * FACTOR)

    def test_case_112_signals(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number=number):
                process = self.start("sh", "-c", f"trap 'echo got; exit 9' {int(number)}; echo up; "
                                                 "while :; do sleep 0.05; done")
                self.wait_for(process.stdout, "up")
                process.send_signal(number)
                out, _ = process.communicate(timeout=SECONDS)
                self.assertEqual((process.returncode, out), (9, b"got\n"))

    def test_case_112_a_second_signal_kills(self):
        process = self.start("sh", "-c", "trap '' INT; echo up; while :; do sleep 0.05; done")
        self.wait_for(process.stdout, "up")
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=SECONDS), 137)

    def test_limits(self):
        ended = self.run_program("sleep", "100", options=["--max-time", "200ms"])
        self.assertEqual(ended.status, 137)
        self.assertIn("limit(time): lifetime", ended.err)
        ended = self.run_program("yes", options=["--output", "1M"], stdout=subprocess.DEVNULL)
        self.assertEqual(ended.status, 137)
        self.assertIn("limit(output)", ended.err)
        ended = self.run_program("sh", "-c", "ulimit -n", options=["--files", "50"])
        self.assertEqual(ended.out, "50\n")
        ended = self.run_program("sh", "-c", "while :; do :; done", options=["--cpu-time", "200ms"])
        self.assertEqual(ended.status, 137)
        self.assertIn("limit(cpu)", ended.err)

    def test_case_054_nothing_survives_the_kernel(self):
        mark = f"1000.{os.getpid()}"
        process = self.start("sh", "-c", f"sleep {mark} & setsid sleep {mark} & (setsid sh -c 'sleep {mark} & wait' &)"
                                         f"; echo up; sleep {mark}")
        self.wait_for(process.stdout, "up")
        self.until(lambda: len(alive(mark)) >= 4)
        process.kill()
        process.wait()
        self.until(lambda: not alive(mark), 5 * FACTOR)

    def test_case_055_a_dead_warden_is_no_end(self):
        process = self.start("sh", "-c", "echo up; sleep 1000")
        self.wait_for(process.stdout, "up")
        wardens = [pid for pid in alive("warden") if parent_of(pid) == process.pid]
        if not wardens:  # where there are no groups an init contains the program, and ends with the kernel
            self.assertEqual(len([pid for pid in alive("init") if parent_of(pid) == process.pid]), 1)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=SECONDS), 143)
            return
        self.assertEqual(len(wardens), 1)
        os.kill(wardens[0], signal.SIGKILL)
        time.sleep(0.1)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=SECONDS), 143)

    def test_case_087_a_terminal(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        process = subprocess.Popen([VIV, "run", "-t33x44", "--", "sh", "-c", "tty >/dev/null && stty size"],
                                   stdin=slave, stdout=slave, stderr=slave, env=self.env)
        os.close(slave)
        text = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:
                break
            if not part:
                break
            text += part
        self.assertEqual(process.wait(timeout=SECONDS), 0)
        self.assertIn(b"33 44", text)


class Audit(CliTest):
    """`viv run --audit FILE -- COMMAND` (native.md 13, N23, N115) and `--policy FILE` (N19)."""

    def lines(self, name="audit.jsonl"):
        return (self.dir / name).read_text(encoding="utf-8").splitlines()

    def programs(self, name="audit.jsonl"):
        return [event for event in map(json.loads, self.lines(name)) if event["event"] == "program"]

    def test_case_115_the_chain_holds_and_a_change_breaks_it(self):
        ended = self.viv("run", "--audit", "audit.jsonl", "--env", "SECRET=hidden", "--", "sh", "-c", "exit 3")
        self.assertEqual(ended.status, 3)
        lines = self.lines()
        self.assertGreaterEqual(len(lines), 3)
        self.assertIsNone(chain_break(lines))
        self.assertEqual(chain_break([lines[0].replace("session-create", "session-remove")] + lines[1:]), 1)
        self.assertEqual(chain_break(lines[1:]), 0)
        self.assertNotIn("hidden", "".join(lines))
        spawn, end = self.programs()
        self.assertEqual((spawn["operation"], spawn["outcome"]), ("native.spawn", "OK"))
        detail = spawn["detail"]
        wanted = hashlib.sha256(b"sh\0-c\0exit 3\0").hexdigest()
        self.assertEqual(detail["argv_sha256"], wanted)
        self.assertIn("SECRET", detail["env"])
        self.assertEqual((end["operation"], end["detail"]["code"]), ("native.exit", 3))
        self.assertEqual(end["detail"]["digest"], detail["digest"])

    def test_case_023_a_refusal_has_one_record(self):
        self.assertEqual(self.viv("run", "--audit", "audit.jsonl", "--", "no-such-program").status, 127)
        self.assertEqual([(event["operation"], event["outcome"]) for event in self.programs()],
                         [("native.spawn", "NOPROGRAM")])

    def test_case_115_no_record_no_program(self):
        ended = self.viv("run", "--audit", "/dev/full", "--require-audit", "--", "touch", "was-run")
        self.assertNotEqual(ended.status, 0)
        self.assertIn("viv: touch: permission denied (audit)\n", ended.err)
        self.assertFalse((self.dir / "was-run").exists())
        ended = self.viv("run", "--audit", "audit.jsonl", "--require-audit", "--", "touch", "was-run")
        self.assertEqual((ended.status, ended.err), (0, ""))
        self.assertTrue((self.dir / "was-run").exists())
        self.assertIsNone(chain_break(self.lines()))

    def test_case_019_a_policy_says_which_commands(self):
        policy = self.file("policy", "use none\nallow native.mode=unsandboxed,env,persist,user,unbounded\n"
                                     'allow native.spawn="/usr/bin/printf one **"\n')
        options = ("--sandbox", "none", "--no-env", "--policy", policy, "--audit", "audit.jsonl")
        ended = self.viv("run", *options, "--", "printf", "one", "two")
        self.assertEqual((ended.status, ended.out), (0, "one"), ended)
        for command in (["printf", "two"], ["sh", "-c", "true"], ["no-such-program"], ["/usr/bin/printf"]):
            with self.subTest(command=command):
                ended = self.viv("run", *options, "--", *command)
                self.assertEqual((ended.status, ended.err),
                                 (1, f"viv: {command[0]}: permission denied (native.spawn)\n"))
                (event,) = self.programs()
                self.assertEqual((event["outcome"], event["class"]), ("DENIED", "native.spawn"))
        bare = self.file("bare", 'use none\nallow native.spawn="/usr/bin/printf one **"\n')
        ended = self.viv("run", "--sandbox", "none", "--no-env", "--policy", bare, "--", "printf", "one")
        self.assertEqual((ended.status, ended.err), (1, "viv: printf: permission denied (unsandboxed)\n"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
