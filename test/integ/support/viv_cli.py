# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line share: an empty folder, a clean environment and a cache for each
test, and ways to run `viv` that always come to an end. The environment names the command (VIV), the
compiled guests and the source tree."""

import collections
import hashlib
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

VIV = os.environ["VIV"]
GUESTS = pathlib.Path(os.environ["VIV_GUESTS"])
SOURCE = pathlib.Path(os.environ["VIV_SOURCE_DIR"])
FACTOR = int(os.environ.get("VIV_TIME_FACTOR", "1"))
SECONDS = 30 * FACTOR
GUEST = str(GUESTS / "cli_guest.wasm")

Ended = collections.namedtuple("Ended", "status out err")

# Modules in the text format.
RETURNS = '(module (func (export "_start")))'
SPINS = '(module (func (export "_start") (loop $again (br $again))))'


def chain_break(lines):
    """The number of the first line of an audit that does not name the digest of the one before; None: it holds."""
    before = "0" * 64
    for number, line in enumerate(lines):
        if json.loads(line)["prev"] != before:
            return number
        before = hashlib.sha256(line.encode("utf-8")).hexdigest()
    return None


def module(*sections):
    """A binary module of (id, content) sections, all shorter than 128 bytes."""
    return b"\0asm\1\0\0\0" + b"".join(bytes((number, len(data))) + data for number, data in sections)


def start_module(body):
    """A module whose _start is these instructions; its body begins at offset 35."""
    code = b"\0" + body + b"\x0b"
    return module((1, b"\1\x60\0\0"), (3, b"\1\0"), (7, b"\1\6_start\0\0"),
                  (10, b"\1" + bytes((len(code),)) + code))


def alive(mark):
    """Processes whose command line has the mark, zombies not."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if mark in line.split("\0") and state not in "ZX":
            found.append(int(entry.name))
    return found


class CliTest(unittest.TestCase):
    """A folder self.dir, an environment self.env with a cache of compiled modules in it."""

    shared_cache = True  # one cache for all tests of a class, so that guests are compiled once

    @classmethod
    def setUpClass(cls):
        cls.class_dir = pathlib.Path(tempfile.mkdtemp(prefix="viv-cli-"))
        cls.addClassCleanup(shutil.rmtree, cls.class_dir, ignore_errors=True)

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="t-", dir=self.class_dir))
        self.cache = (self.class_dir if self.shared_cache else self.dir) / "cache"
        self.env = {key: value for key, value in os.environ.items()
                    if not key.startswith(("VIV", "XDG_", "CARGO"))}
        self.env.update(HOME=str(self.dir), VIV_CACHE_DIR=str(self.cache))

    def file(self, name, content=""):
        """Writes a file below the test's folder and returns its path."""
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def viv(self, *args, stdin="", env=None, command=VIV, **more):
        """Runs `viv args` to its end, in the test's folder."""
        result = subprocess.run([command, *map(str, args)], input=stdin.encode(), cwd=more.pop("cwd", self.dir),
                                stdout=more.pop("stdout", subprocess.PIPE),
                                stderr=more.pop("stderr", subprocess.PIPE),
                                env={**self.env, **(env or {})}, timeout=SECONDS, check=False, **more)
        self.assertGreaterEqual(result.returncode, 0, f"viv died of a signal: {result.stderr!r}")
        return Ended(result.returncode, *((text or b"").decode("utf-8", "replace")
                                          for text in (result.stdout, result.stderr)))

    def guest(self, *args, options=(), **more):
        """Runs the guest cli_guest with these arguments."""
        return self.viv("run", *options, GUEST, *args, **more)

    def start(self, *args, env=None, **more):
        """Starts `viv args`; it is killed when the test ends."""
        more.setdefault("stdout", subprocess.PIPE)
        more.setdefault("stdin", subprocess.DEVNULL)
        # In a shell's background job SIGINT is ignored, which children inherit.
        more.setdefault("preexec_fn", lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        process = subprocess.Popen([VIV, *map(str, args)], cwd=self.dir, stderr=subprocess.PIPE,
                                   env={**self.env, **(env or {})}, **more)
        self.addCleanup(self.stop, process)
        return process

    @staticmethod
    def stop(process):
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def wait_for(self, stream, text):
        """Reads until this text has come; fails when it does not come in time."""
        seen, end = b"", time.monotonic() + SECONDS
        while text.encode() not in seen:
            self.assertTrue(select.select([stream], [], [], max(0, end - time.monotonic()))[0],
                            f"{text!r} did not come; what came: {seen!r}")
            piece = os.read(stream.fileno(), 65536)
            self.assertTrue(piece, f"the program ended before {text!r}; what came: {seen!r}")
            seen += piece
        return seen

    def ended(self, process):
        """Waits for a started program; its status and the rest of what it wrote."""
        out, err = process.communicate(timeout=SECONDS)
        return Ended(process.returncode, (out or b"").decode(), (err or b"").decode())

    def interrupted(self, process, number=signal.SIGINT):
        process.send_signal(number)
        process.wait(timeout=SECONDS)  # with its standard input still open
        return self.ended(process)

    def refused(self, ended, status, *parts):
        """One line on stderr that begins `viv: ` and has these parts; nothing on stdout."""
        self.assertEqual((ended.status, ended.out), (status, ""), ended)
        self.assertRegex(ended.err, r"\Aviv: [^\n]+\n\Z")
        for part in parts:
            self.assertIn(part, ended.err)
        for control in ended.err[:-1]:
            self.assertTrue(control.isprintable(), ended)

    def entries(self):
        """Names of what is in the cache."""
        return sorted(path.name for path in self.cache.iterdir()) if self.cache.is_dir() else []
