# SPDX-License-Identifier: Apache-2.0
"""A daemon of a test's own: its folders lie below the test's, and it is gone when the test is."""

import json
import os
import pathlib
import re
import signal
import time

from viv_cli import SECONDS, VIV, CliTest, alive  # noqa: F401

PID = re.compile(r"<0\.\d+\.\d+>\n")


class DaemonTest(CliTest):
    """A place for a daemon, and ways to run programs under it."""

    def setUp(self):
        super().setUp()
        self.run_dir, self.state_dir = self.dir / "run", self.dir / "state"
        self.run_dir.mkdir(mode=0o700)
        self.env.update(XDG_RUNTIME_DIR=str(self.run_dir), XDG_STATE_HOME=str(self.state_dir), VIV_DAEMON_IDLE="60s")
        self.addCleanup(self.end_daemon)

    def daemons(self):
        """OS pids of daemons whose socket is this test's."""
        found = []
        for pid in alive("daemon"):
            try:
                environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue
            if str(self.dir).encode() in environ:
                found.append(pid)
        return found

    def end_daemon(self):
        for pid in self.daemons():
            os.kill(pid, signal.SIGTERM)
        self.until(lambda: not self.daemons(), "the daemon ends")

    def until(self, holds, what="it holds"):
        end = time.monotonic() + SECONDS
        while not holds():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.01)

    def detach(self, *args, options=(), **more):
        """`viv run -d`; the pid."""
        ended = self.viv("run", "-d", *options, "--", *args, **more)
        self.assertEqual((ended.status, ended.err), (0, ""), ended)
        self.assertRegex(ended.out, PID)
        return ended.out.strip()

    def shell(self, script, options=(), **more):
        return self.detach("sh", "-c", script, options=options, **more)

    def ps(self, *args):
        ended = self.viv("ps", "--json", *args)
        self.assertEqual((ended.status, ended.err), (0, ""), ended)
        return json.loads(ended.out)

    def info(self, ref):
        ended = self.viv("info", "--json", ref)
        self.assertEqual((ended.status, ended.err), (0, ""), ended)
        return json.loads(ended.out)

    def said(self, pid, text):
        """Waits until the program has printed the text."""
        self.until(lambda: text in self.viv("logs", pid).out, text)
