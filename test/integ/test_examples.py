#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every program of examples/ and checks what a user sees: output, order where it is promised,
status. The environment names the command (VIV), the compiled guests and the source tree."""

import fcntl
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest
import urllib.request

VIV = os.environ["VIV"]
GUESTS = pathlib.Path(os.environ["VIV_GUESTS"])
EXAMPLES = pathlib.Path(os.environ["VIV_SOURCE_DIR"]) / "examples"
SECONDS = 60 * int(os.environ.get("VIV_TIME_FACTOR", "1"))
WORKERS = ("1", "4")


# What the guest of examples/sandbox.c tries, and what must come of it: under its policy, and without
# one. Rows that are the same in both are refused by handles, and by what the supervisor gives.
SANDBOX = {
    "read a file outside its directories": ("notcapable", None),
    "read it through `..`": ("perm", None),
    "read it through a symbolic link": ("perm", None),
    "read an absolute path": ("perm", "perm"),
    "write to a file of a read-only directory": ("badf", None),
    "create a file in a read-only directory": ("notcapable", None),
    "move a file out of a read-only directory": ("notcapable", None),
    "read a file without the right to files": ("notcapable", "notcapable"),
    "take 32 MiB of memory": ("memory.grow: -1", "memory.grow: -1"),
    "spin for ever": ("limit(cpu)", "limit(cpu)"),
    "stay for ever": ("limit(time)", "limit(time)"),
    "start process after process": ("QUOTA", None),
    "start a process without the right": ("DENIED", "DENIED"),
    "fill a mailbox": ("FULL", None),
    "flood the output": ("limit(output)", "limit(output)"),
    "forge handles": ("BADHANDLE", "BADHANDLE"),
    "use a closed handle": ("BADHANDLE", "BADHANDLE"),
    "use the number of another's handle": ("BADHANDLE", "BADHANDLE"),
    "guess shared handles": ("NOTFOUND, then QUOTA", "NOTFOUND, then QUOTA"),
    "get more rights than were shared": ("RIGHTS", "RIGHTS"),
    "use what was taken back": ("REVOKED", "REVOKED"),
    "kill its parent": ("DENIED", "DENIED"),
    "end a neighbour": ("DENIED", "DENIED"),
    "take a name": ("DENIED", "DENIED"),
    "compile a module": ("DENIED", "DENIED"),
    "get random bytes": ("notcapable", None),
    "read the clock": ("notcapable", None),
    "read the environment": ("it is empty", None),
}


def set_size(master, rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def run(program, workers="2", options=(), cwd=None):
    """Runs a program with `viv run`; what it printed and how it ended."""
    return subprocess.run([VIV, "run", "--no-cache", "--workers", workers, *options, str(program)], text=True,
                          cwd=cwd, capture_output=True, timeout=SECONDS, check=False)


class Examples(unittest.TestCase):
    """One test an example, each with one worker and with four."""

    def check(self, name, out, program=None):
        for workers in WORKERS:
            with self.subTest(workers=workers):
                result = run(program or GUESTS / f"{name}.wasm", workers)
                self.assertEqual((result.stdout, result.stderr, result.returncode), (out, "", 0))

    def test_hello(self):
        self.check("hello", "hello from another process\n")

    def test_hello_text(self):
        self.check("hello_text", "hello\n")

    def test_actor(self):
        self.check("actor", "the counter is at 60\n")

    def test_text_format_runs_as_it_is(self):
        self.check("hello_text", "hello\n", EXAMPLES / "hello_text.wat")
        self.check("actor", "the counter is at 60\n", EXAMPLES / "actor.wat")

    def test_supervisor(self):
        for workers in WORKERS:
            with self.subTest(workers=workers):
                self.check_supervisor(run(GUESTS / "supervisor.wasm", workers))

    def check_supervisor(self, result):
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = result.stdout.splitlines()
        self.assertEqual(lines[0], "supervisor: starting 4 workers")
        self.assertEqual(lines[-1], "supervisor: 3 finished, 1 given up, 5 restarts")
        waited = "worker 3: failed: exited(3): the input was not there yet; starting it again"
        stuck = "worker 4: failed: limit(time): time used up; "
        # Between workers any order is right; of one worker its own is.
        story = {number: [line for line in lines if line.startswith(f"worker {number}:")]
                 for number in (1, 2, 3, 4)}
        self.assertEqual(sum(map(len, story.values())), len(lines) - 2)
        self.assertEqual(story[1], ["worker 1: finished at attempt 1"])
        self.assertEqual(len(story[2]), 2)
        self.assertRegex(story[2][0], r"^worker 2: failed: trap: unreachable in .*; starting it again$")
        self.assertEqual(story[2][1], "worker 2: finished at attempt 2")
        self.assertEqual(story[3], [waited, waited, "worker 3: finished at attempt 3"])
        self.assertEqual(story[4], [stuck + "starting it again"] * 2 + [stuck + "given up"])
        # The operator's view: one line a crash, none for an end that was as it should be.
        told = result.stderr.splitlines()
        self.assertEqual(len(told), 6, result.stderr)
        for line in told:
            self.assertRegex(line, r"^viv: process <0\.\d+\.\d+> 'viv_call' of supervisor\.wasm failed: ")
        self.assertEqual(sum(bool(re.search(r"unreachable in ", line)) for line in told), 1)

    def sandbox(self, workers, *options):
        """Runs it in a folder as its first lines say; the rows (how, verdict) by what was tried, the rest."""
        with tempfile.TemporaryDirectory(prefix="viv-sandbox-") as name:
            folder = pathlib.Path(name)
            for part in ("box", "shelf"):
                (folder / part).mkdir()
            (folder / "shelf" / "book.txt").write_text("a book\n", encoding="utf-8")
            (folder / "secret.txt").write_text("hidden\n", encoding="utf-8")
            result = run(GUESTS / "sandbox.wasm", workers, options, folder)
            book = folder / "shelf" / "book.txt"
            intact = book.is_file() and book.read_text(encoding="utf-8") == "a book\n" and \
                [path.name for path in (folder / "shelf").iterdir()] == ["book.txt"]
        head, *lines, last = result.stdout.splitlines()
        self.assertEqual(head.split("  ")[0], "what the guest tried")
        rows = {line[:42].rstrip(): (line[43:71].rstrip(), line[72:]) for line in lines}
        self.assertEqual(len(rows), len(lines))
        return rows, last, result, intact

    def test_sandbox(self):
        for workers in WORKERS:
            with self.subTest(workers=workers):
                rows, last, result, intact = self.sandbox(workers, "--policy", EXAMPLES / "sandbox.policy")
                self.assertEqual(rows, {what: (how, "refused") for what, (how, _) in SANDBOX.items()})
                self.assertEqual(last, f"{len(SANDBOX)} refused, 0 not; supervisor and neighbour: alive and working")
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertTrue(intact)
                ends = re.findall(r"^viv: process \S+ 'viv_call' of sandbox\.wasm failed: (limit\(\w+\)):",
                                  result.stderr, re.MULTILINE)
                self.assertEqual(ends, ["limit(cpu)", "limit(time)", "limit(output)"])

    def test_sandbox_without_its_policy(self):
        """The table does not lie: what only the policy refuses is not refused without it."""
        rows, last, result, intact = self.sandbox("2", "--use", "open")
        open_rows = {what for what, (_, how) in SANDBOX.items() if how is None}
        self.assertEqual({what for what, (_, verdict) in rows.items() if verdict == "NOT REFUSED"}, open_rows)
        self.assertEqual({what: how for what, (how, verdict) in rows.items() if verdict == "refused"},
                         {what: how for what, (_, how) in SANDBOX.items() if how is not None})
        self.assertEqual(last, f"{len(SANDBOX) - len(open_rows)} refused, {len(open_rows)} not; "
                               "supervisor and neighbour: alive and working")
        self.assertEqual(result.returncode, 1)
        self.assertFalse(intact)

    def test_sandbox_with_one_thing_too_much(self):
        """Each line that is added to the policy is seen in its rows, and in no others."""
        for allow, what in (("entropy", "get random bytes"), ("time.read=wall", "read the clock"),
                            ("env.read=PATH", "read the environment"),
                            ("fs=.:r", "read a file outside its directories")):
            with self.subTest(allow=allow):
                rows, _, result, _ = self.sandbox("2", "--policy", EXAMPLES / "sandbox.policy", "--allow", allow)
                self.assertEqual([name for name, (_, verdict) in rows.items() if verdict != "refused"], [what])
                self.assertEqual(result.returncode, 1)

    # ---- the keeper of a server ----

    @staticmethod
    def free_port():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    def served(self, port):
        """What the server answers, as soon as it does."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/page", timeout=5) as answer:
                    return answer.read()
            except OSError:
                time.sleep(0.02)
        return None

    def start_keeper(self, folder, port, *options):
        (pathlib.Path(folder) / "page").write_text("it serves\n", encoding="utf-8")
        return subprocess.Popen([VIV, "run", "--no-cache", *options, GUESTS / "keeper.wasm", str(port)],
                                cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def test_keeper_restarts_a_killed_server(self):
        """N40 with a parent in WebAssembly: killed thrice, restarted thrice with the true reason; then it gives up."""
        with tempfile.TemporaryDirectory() as folder:
            port = self.free_port()
            with self.start_keeper(folder, port, "--policy", EXAMPLES / "keeper.policy") as keeper:
                for _ in range(4):
                    line = keeper.stdout.readline()
                    self.assertRegex(line, r"^the server runs: process [0-9]+$")
                    self.assertEqual(self.served(port), b"it serves\n")
                    os.kill(int(line.split()[-1]), signal.SIGKILL)
                    self.assertEqual(keeper.stdout.readline(), "the server was ended by signal 9\n")
                self.assertEqual(keeper.stdout.read(), "it died too often\n")
                self.assertEqual(keeper.wait(SECONDS), 1)

    def test_keeper_takes_its_server_along(self):
        with tempfile.TemporaryDirectory() as folder:
            port = self.free_port()
            with self.start_keeper(folder, port, "--policy", EXAMPLES / "keeper.policy") as keeper:
                pid = int(keeper.stdout.readline().split()[-1])
                self.assertEqual(self.served(port), b"it serves\n")
                keeper.send_signal(signal.SIGTERM)
                self.assertEqual(keeper.wait(SECONDS), 128 + signal.SIGTERM)
                self.assertRaises(ProcessLookupError, os.kill, pid, 0)

    def test_keeper_without_its_policy(self):
        """Nothing is started by profile guest, nor by one that allows another command."""
        other = ("--use", "guest", "--allow", "native.mode=unsandboxed",
                 "--allow", 'native.spawn="/usr/bin/python3 -m http.server {int}"')
        for options in (("--use", "guest"), other):
            with self.subTest(options=options), tempfile.TemporaryDirectory() as folder:
                with self.start_keeper(folder, self.free_port(), *options) as keeper:
                    self.assertRegex(keeper.stdout.read(), r"^cannot start the server: error 4, viv_native.spawn: .+\n$")
                    self.assertEqual(keeper.wait(SECONDS), 2)

    def test_keys_in_a_terminal(self):
        """As someone who sits at one: the terminal is the program's while it runs, and as before when it has ended."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        set_size(master, 24, 80)
        before = termios.tcgetattr(slave)
        process = subprocess.Popen([VIV, "run", "-t", "--", "python3", EXAMPLES / "keys.py"], stdin=slave, stdout=slave,
                                   stderr=slave, start_new_session=True,
                                   preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.expect(master, "24 rows, 80 columns")
        os.write(master, b"a")
        self.expect(master, "key 'a'")
        set_size(master, 40, 100)
        self.expect(master, "40 rows, 100 columns")
        os.write(master, b"\x03")  # to the program, not to viv
        self.expect(master, "interrupted")
        os.write(master, b"\x04\r")  # no end of input while keys are read
        self.expect(master, "key '\\x04'")
        self.expect(master, "key '\\n'")
        os.write(master, b"q")
        self.expect(master, "bye")
        self.assertEqual(process.wait(timeout=SECONDS), 0)
        self.assertEqual(termios.tcgetattr(slave), before)
        os.close(slave)

    def test_keys_without_a_terminal(self):
        result = subprocess.run([VIV, "run", "--", "python3", EXAMPLES / "keys.py"], stdin=subprocess.DEVNULL, text=True,
                                capture_output=True, timeout=SECONDS, check=False)
        self.assertEqual((result.returncode, result.stdout, result.stderr),
                         (1, "", "keys: standard input is no terminal (viv run -t)\n"))

    def expect(self, master, line):
        """Reads up to this line, and no further."""
        seen, end = b"", time.monotonic() + SECONDS
        while not seen.endswith(b"\n") or line.encode() not in seen:
            self.assertTrue(select.select([master], [], [], max(0, end - time.monotonic()))[0], f"{line!r}: {seen!r}")
            seen += os.read(master, 1)

    def test_the_guest_header_is_also_for_cxx_and_strict_c(self):
        compiler = shutil.which("clang-19") or shutil.which("clang")
        if compiler is None:
            self.skipTest("no clang")
        program = ("#include <viv/viv_guest.h>\nstatic void run(void) { viv_self(); }\n"
                   "VIV_MAIN(run);\n")
        for language in (["-x", "c", "-std=c11"], ["-x", "c++", "-std=c++17"]):
            for libc in ([], ["-ffreestanding"]):
                with self.subTest(language=language, libc=libc):
                    result = subprocess.run(
                        [compiler, "--target=wasm32-wasi", *language, *libc, "-Wall", "-Wextra",
                         "-Wpedantic", "-Werror", "-fsyntax-only", f"-I{EXAMPLES.parent / 'include'}", "-"],
                        input=program, text=True, capture_output=True, timeout=SECONDS, check=False)
                    self.assertEqual(result.stderr, "")
                    self.assertEqual(result.returncode, 0)

    def test_every_example_is_run_here(self):
        known = {"hello.c", "hello_text.wat", "actor.wat", "supervisor.c", "sandbox.c", "keeper.c", "keys.py"}
        known |= {"primes.c", "primes.py"}  # by test_example_primes.py
        found = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".c", ".wat", ".py")}
        self.assertEqual(found, known)


if __name__ == "__main__":
    print(f"examples of {EXAMPLES} with {VIV}")
    sys.stdout.flush()
    unittest.main(verbosity=2)
