#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""viv worker: commands are run, ended, and run again (durable.md 4, 5.3; the numbers are its cases)."""

import json
import os
import pathlib
import signal
import socket
import sqlite3
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from viv_cli import SECONDS, CliTest  # noqa: E402


def lives(pid):
    """Not as a zombie, which its parent may be slow to wait for."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class WorkerTest(CliTest):
    """A store in the test's folder, and workers of it."""

    def setUp(self):
        super().setUp()
        self.url = f"sqlite:{self.dir}/s.db"
        self.env["VIV_STORE"] = self.url
        self.assertEqual(self.viv("store", "init").status, 0)

    def start_job(self, name, *args, script=None):
        command = ("sh", "-c", script) if script is not None else ()
        options, given = (args, command) if script is not None else (args[:args.index("--")], args[args.index("--") + 1:])
        ended = self.viv("job", "start", "--id", name, *options, "--", *given)
        self.assertEqual((ended.status, ended.out, ended.err), (0, name + "\n", ""))

    def worker(self, *options, node="one", **more):
        return self.start("worker", "--json", "--ttl", "3s", "--node", node, *options, **more)

    def once(self, *options):
        ended = self.viv("worker", "--json", "--once", *options)
        self.assertEqual((ended.status, ended.err), (0, ""))
        return [json.loads(line) for line in ended.out.splitlines()]

    def awaited(self, name, status):
        ended = self.viv("job", "await", "--json", "--timeout", f"{SECONDS - 5}s", name)
        self.assertEqual((ended.status, ended.err), (status, ""), ended)
        return json.loads(ended.out)

    def output(self, name, status):
        ended = self.viv("job", "await", "--timeout", f"{SECONDS - 5}s", name)
        self.assertEqual((ended.status, ended.err), (status, ""), ended)
        return json.loads(ended.out)

    def record(self, name):
        return json.loads(self.viv("job", "show", "--json", name).out)

    def events(self, name, kind):
        ended = self.viv("job", "events", "--json", "--type", kind, name)
        self.assertEqual(ended.status, 0, ended)
        return [json.loads(line) for line in ended.out.splitlines()]

    def until(self, condition, what):
        end = time.monotonic() + SECONDS
        while True:
            found = condition()
            if found:
                return found
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)

    def lines_of(self, name, count=1):
        """The lines of a file of the test's folder, once there are so many of them."""
        path = self.dir / name

        def read():
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            return lines if len(lines) >= count else None
        return self.until(read, f"{name}: {count} lines")

    def drained(self, worker, number=signal.SIGTERM):
        ended = self.interrupted(worker, number)
        self.assertEqual((ended.status, ended.err), (0, ""), ended)
        return [json.loads(line) for line in ended.out.splitlines()]


class Runs(WorkerTest):
    """What is run, and what comes of it."""

    def test_117_results(self):
        self.start_job("exit", script='echo "$VIV_JOB_ID $VIV_ATTEMPT" > told')
        self.start_job("text", "--result", "stdout", script="printf 'a\\nb'")
        self.start_job("json", "--result", "json", "--env", "X=7", script='echo "{\\"x\\": [$X]}"')
        self.once()
        self.assertEqual(self.output("exit", 0), {"exit_status": 0})
        self.assertEqual(self.output("text", 0), "a\nb")
        self.assertEqual(self.output("json", 0), {"x": [7]})
        self.assertEqual(self.lines_of("told"), ["exit 1"])

    def test_117_failures(self):
        self.start_job("exited", script="echo first >&2; echo last >&2; exit 3")
        self.start_job("signaled", script="kill -9 $$")
        self.start_job("no-json", "--result", "json", script="echo no")
        self.start_job("too-long", "--result", "stdout", script="head -c 2000000 /dev/zero | tr '\\0' x")
        self.once()
        output = self.output("exited", 3)
        self.assertEqual((output["class"], output["code"], output["raw"]), ("execution", "exited", "exited(3)"))
        self.assertIn("last", output["message"])
        self.assertEqual(self.output("signaled", 3)["code"], "signaled")
        output = self.output("no-json", 3)
        self.assertEqual((output["class"], output["code"]), ("execution", "bad_output"))
        output = self.output("too-long", 3)
        self.assertEqual((output["class"], output["code"]), ("resource_limit", "limit:output"))

    def test_117_deadline(self):
        self.start_job("late", "--timeout", "1s", "--retry", "3", script="echo $$ > pid; exec sleep 1000")
        worker = self.worker()
        output = self.output("late", 3)
        self.assertEqual((output["class"], output["code"]), ("timeout", "deadline"))
        self.assertFalse(lives(int(self.lines_of("pid")[0])))
        self.assertEqual(self.record("late")["attempt"], 1)
        self.drained(worker)

    def test_what_it_sees(self):
        self.env.update(SECRET="s", LANG="C.UTF-8")
        self.start_job("a", "--cwd", "/tmp", "--result", "stdout", "--env", "OWN=1", script="pwd; env; cat")
        self.once()
        lines = self.output("a", 0).splitlines()
        self.assertEqual(lines[0], "/tmp")
        names = {line.partition("=")[0] for line in lines[1:]}
        self.assertTrue({"OWN", "LANG", "PATH", "HOME", "VIV_JOB_ID", "VIV_ATTEMPT", "VIV_JOB_SOCKET"} <= names, names)
        self.assertFalse({"SECRET", "VIV_STORE"} & names)

    def test_130_no_program(self):
        self.start_job("a", "--", "no-such-program")
        self.start_job("b", "--", "/etc/passwd")
        self.start_job("c", "--cwd", "/no/such/directory", "--", "true")
        events = self.once()
        for name in "ab":
            output = self.output(name, 3)
            self.assertEqual((output["class"], output["code"]), ("invalid_request", "no_program"), name)
        self.assertEqual(self.output("c", 3)["class"], "invalid_request")
        self.assertEqual(self.record("b")["attempt"], 1)
        self.assertIn("no_program", [event["reason"] for event in events if event["id"] == "a"][0])

    def test_lines(self):
        self.start_job("a", script="exit 0")
        started, ended = self.once()
        self.assertGreater(started.pop("os_pid"), 1)
        self.assertEqual(started, {"event": "started", "id": "a", "attempt": 1})
        self.assertEqual((ended["event"], ended["id"], ended["reason"]), ("ended", "a", "normal"))


class Again(WorkerTest):
    """Retries, and what a worker leaves."""

    def test_123_retries(self):
        self.start_job("a", "--retry", "2", script='echo "$VIV_ATTEMPT $(date +%s%N)" >> tries; [ $VIV_ATTEMPT = 3 ]')
        worker = self.worker()
        self.assertEqual(self.output("a", 0), {"exit_status": 0})
        tries = [line.split() for line in self.lines_of("tries", 3)]
        self.assertEqual([number for number, _ in tries], ["1", "2", "3"])
        times = [int(at) / 1e9 for _, at in tries]
        self.assertGreaterEqual(times[1] - times[0], 0.8)  # 1 s and 2 s, less a fifth
        self.assertGreaterEqual(times[2] - times[1], 1.6)
        self.assertEqual(len(self.events("a", "process.attempt_started")), 3)
        ended = [event["payload"] for event in self.events("a", "process.attempt_ended")]
        self.assertEqual([payload["outcome"] for payload in ended], ["failed", "failed"])
        self.drained(worker)

    def test_119_killed_node(self):
        self.start_job("a", script='echo $$ >> pids; [ $VIV_ATTEMPT = 2 ] || exec sleep 1000')
        first = self.worker()
        pid = int(self.lines_of("pids")[0])
        first.kill()
        first.wait()
        self.until(lambda: not lives(pid), "the program outlives its node")
        second = self.worker(node="two")
        self.assertEqual(self.output("a", 0), {"exit_status": 0})
        self.assertEqual(len(self.lines_of("pids")), 2)
        self.drained(second)

    def test_119_120_stopped_node(self):
        """Its program is killed at the deadline of its lease, while the node itself does nothing."""
        self.start_job("a", script='echo $$ >> pids; [ $VIV_ATTEMPT = 2 ] || exec sleep 1000')
        first = self.worker()
        pid = int(self.lines_of("pids")[0])
        first.send_signal(signal.SIGSTOP)
        self.until(lambda: not lives(pid), "the program outlives its lease")
        second = self.worker(node="two")
        self.assertEqual(self.output("a", 0), {"exit_status": 0})
        first.send_signal(signal.SIGCONT)
        self.drained(second)
        self.drained(first)
        self.assertEqual(self.record("a")["attempt"], 2)
        self.assertEqual(self.record("a")["status"], "completed")

    def test_a_store_that_fails_is_opened_again(self):
        """4.5: its file is moved away: programs are killed, and run again once it is back."""
        self.start_job("a", script='echo $$ >> pids; [ $VIV_ATTEMPT = 2 ] || exec sleep 1000')
        worker = self.worker()
        pid = int(self.lines_of("pids")[0])
        (self.dir / "s.db").rename(self.dir / "away")
        self.until(lambda: not lives(pid), "the program outlives the store")
        (self.dir / "away").rename(self.dir / "s.db")
        self.assertEqual(self.output("a", 0), {"exit_status": 0})
        ended = self.interrupted(worker, signal.SIGTERM)
        self.assertEqual((ended.status, ended.err), (0, "viv: the store failed; it is opened again\n"), ended)

    def test_longer_than_a_lease(self):
        """Its dead man's switch is moved on with the lease."""
        self.start_job("a", script="sleep 6")
        worker = self.worker()
        self.assertEqual(self.output("a", 0), {"exit_status": 0})
        self.assertEqual(self.record("a")["attempt"], 1)
        self.drained(worker)

    def test_122_poison(self):
        """Each attempt kills the node that runs it."""
        self.start_job("a", "--retry", "1", script='kill -9 $(cat node); exec sleep 1000')
        for _ in range(2):
            worker = self.start("worker", "--ttl", "3s", "--queue", "default", preexec_fn=lambda: (
                self.dir / "node").write_text(str(os.getpid()), encoding="ascii"))
            self.assertEqual(worker.wait(timeout=SECONDS), -signal.SIGKILL)
        worker = self.worker(node="last")
        output = self.output("a", 3)
        self.assertEqual((output["class"], output["code"]), ("execution", "max_attempts"))
        self.drained(worker)


class Within(WorkerTest):
    """What a program asks its worker for, through VIV_JOB_SOCKET."""

    def setUp(self):
        super().setUp()
        (self.dir / "bin").mkdir()
        (self.dir / "bin" / "viv").symlink_to(os.environ["VIV"])
        self.env["PATH"] = f"{self.dir}/bin:{self.env.get('PATH', os.environ['PATH'])}"

    def test_127_steps_are_done_once_over_a_killed_node(self):
        self.start_job("a", script="""
            for i in 1 2 3 4 5 6; do viv job step s$i -- sh -c "echo $i >> done; echo out$i" >> said.$VIV_ATTEMPT; done
            [ $VIV_ATTEMPT = 2 ] || { touch waits; exec sleep 1000; }
            for i in 7 8 9 10; do viv job step s$i -- sh -c "echo $i >> done; echo out$i" >> said.$VIV_ATTEMPT; done""")
        first = self.worker()
        self.until(lambda: (self.dir / "waits").exists(), "six steps")
        first.kill()
        first.wait()
        second = self.worker(node="two")
        self.assertEqual(self.output("a", 0), {"exit_status": 0})
        self.assertEqual(self.lines_of("done"), [str(i) for i in range(1, 11)])
        self.assertEqual(self.lines_of("said.2"), [f"out{i}" for i in range(1, 11)])
        self.assertEqual(len(self.events("a", "process.step")), 10)
        self.drained(second)

    def test_070_a_stale_attempt_is_refused(self):
        """Somebody else has its lease, and the worker has not learned it yet."""
        self.start_job("a", script="""touch waits; while ! [ -e go ]; do sleep 0.02; done
            viv job step s -- touch ran 2> said; echo $? > status; exec sleep 1000""")
        worker = self.start("worker", "--json", "--ttl", "60s")
        self.until(lambda: (self.dir / "waits").exists(), "its start")
        with sqlite3.connect(self.dir / "s.db") as store:
            store.execute("UPDATE proc SET lease_token=?, fence=fence+1", ("f" * 32,))
        store.close()
        (self.dir / "go").touch()
        self.assertEqual(self.lines_of("status"), ["7"])
        self.assertIn("fence", self.lines_of("said")[0])
        self.assertTrue((self.dir / "ran").exists())  # at least once: it is not known before
        self.assertEqual(self.events("a", "process.step"), [])
        worker.kill()
        worker.wait()

    def test_132_what_is_seen(self):
        self.viv("job", "start", "--id", "stranger", "--external")
        self.start_job("a", "--result", "stdout", script="""
            viv job start --id child --external; viv job signal child go 1; viv job signal a own
            viv job show --json child; viv job await child --timeout 10ms; echo $?
            viv job signal stranger go; echo $?; viv job list; echo $?
            VIV_JOB_SOCKET=${VIV_JOB_SOCKET%#*}#0123 viv job signal a again; echo $?
            viv job step s -- sh -c 'exit 9'; echo $?; viv job step s -- no-such-program; echo $?""")
        self.once()
        lines = self.output("a", 0).splitlines()
        shown = json.loads(lines.pop(1))
        self.assertEqual((shown["id"], shown["last_sequence"]), ("child", 1))
        self.assertEqual(lines, ["child", "124", "6", "1", "7", "9", "127"])
        self.assertEqual([event["payload"] for event in self.events("child", "signal.go")], [1])
        self.assertEqual(len(self.events("a", "signal.own")), 1)
        self.assertEqual(self.record("stranger")["last_sequence"], 0)
        self.assertEqual(self.events("a", "process.step"), [])

    def test_a_child_is_awaited(self):
        self.start_job("a", "--result", "stdout", script="""
            viv job start --id child --result stdout -- echo hello; viv job await child
            viv job start --id other --wait -- sh -c 'exit 5'; echo $?""")
        self.once("--slots", "2")
        lines = self.output("a", 0).splitlines()
        self.assertEqual((lines[0], lines[1], lines[-1]), ("child", '"hello\\n"', "3"))

    def test_a_killed_worker_leaves_no_socket_for_long(self):
        folder = self.dir / "run"
        folder.mkdir(mode=0o700)
        self.env["XDG_RUNTIME_DIR"] = str(folder)
        self.start_job("a", script="echo > up; exec sleep 1000")
        first = self.worker()
        self.lines_of("up")
        first.kill()
        first.wait()
        self.assertEqual([path.name for path in (folder / "viv").iterdir()], [f"job-{first.pid}.sock"])
        self.assertEqual(self.viv("job", "cancel", "a").status, 0)
        second = self.worker(node="two")
        self.until(lambda: [path.name for path in (folder / "viv").iterdir()] == [f"job-{second.pid}.sock"], "its own only")
        self.drained(second)
        self.assertEqual(list((folder / "viv").iterdir()), [])

    def test_131_step_outside(self):
        ended = self.viv("job", "step", "k", "--", "true")
        self.assertEqual((ended.status, ended.out), (2, ""))
        self.assertIn("VIV_JOB_SOCKET", ended.err)
        self.env["VIV_JOB_SOCKET"] = f"{self.dir}/none.sock#0"
        self.assertEqual(self.viv("job", "step", "k", "--", "true").status, 8)


class Ends(WorkerTest):
    """Cancelling and draining."""

    def test_124_cancel(self):
        self.start_job("kind", script='trap "echo bye; exit 0" TERM; echo > kind-is-up; while :; do sleep 0.05; done')
        self.start_job("plain", script="echo > plain-is-up; exec sleep 1000")
        worker = self.worker()
        self.lines_of("kind-is-up")
        self.lines_of("plain-is-up")
        for name in ("kind", "plain"):
            self.assertEqual(self.viv("job", "cancel", "--reason", "enough", name).status, 0)
        self.assertEqual(self.output("kind", 0), {"exit_status": 0})
        self.assertEqual(self.output("plain", 4)["message"], "enough")
        self.drained(worker)

    def test_124_cancel_of_queued_and_deaf(self):
        self.start_job("queued", "--queue", "other", script="echo > never")
        self.start_job("deaf", script='trap "" TERM; echo $$ > deaf-is-up; while :; do sleep 0.05; done')
        worker = self.worker("--queue", "default")
        pid = int(self.lines_of("deaf-is-up")[0])
        self.assertEqual(self.viv("job", "cancel", "--now", "queued").status, 0)
        self.assertEqual(self.viv("job", "cancel", "--reason", "listen", "deaf").status, 0)
        self.assertEqual(self.output("deaf", 4)["message"], "listen")  # after a grace of ten seconds
        self.assertFalse(lives(pid))
        self.output("queued", 4)
        self.assertFalse((self.dir / "never").exists())
        self.drained(worker)

    def test_125_handed_back(self):
        self.start_job("a", script='echo $$ >> pids; [ $VIV_ATTEMPT = 2 ] || exec sleep 1000')
        self.start_job("b", "--once", script="echo $$ >> once; exec sleep 1000")
        first = self.worker("--drain", "200ms")
        pids = [int(self.lines_of(name)[0]) for name in ("pids", "once")]
        self.drained(first)
        self.assertEqual([lives(pid) for pid in pids], [False, False])
        record = self.record("a")
        self.assertEqual((record["status"], record["charged"], record["last_error"]["outcome"]),
                         ("running", 0, "handed_back"))
        self.assertEqual(self.output("b", 5)["evidence"]["writer"], "owner_drain")
        second = self.worker(node="two")
        self.assertEqual(self.output("a", 0), {"exit_status": 0})
        self.drained(second)

    def test_125_waits_for_who_is_done_soon(self):
        self.start_job("a", script="echo > up; sleep 1; echo > done")
        worker = self.worker()
        self.lines_of("up")
        self.drained(worker)
        self.assertEqual(self.lines_of("done"), [""])
        self.assertEqual(self.output("a", 0), {"exit_status": 0})

    def test_125_second_signal(self):
        self.start_job("a", script="echo $$ > pid; exec sleep 1000")
        worker = self.worker("--drain", "10m")
        pid = int(self.lines_of("pid")[0])
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.3)  # two of one kind that come together are one
        self.assertIsNone(worker.poll())
        self.drained(worker, signal.SIGINT)
        self.assertFalse(lives(pid))
        self.assertEqual(self.record("a")["charged"], 0)


class Two(WorkerTest):
    """Workers that share a store."""

    def each_once(self, count=40):
        for number in range(count):
            self.start_job(f"j{number}", script=f"echo {number} >> runs")
        workers = [self.worker("--slots", "4", node=name) for name in ("one", "two")]
        self.lines_of("runs", count)
        for number in range(count):
            self.assertEqual(self.output(f"j{number}", 0), {"exit_status": 0})
        starts = [sum(event["event"] == "started" for event in self.drained(worker)) for worker in workers]
        self.assertEqual(sum(starts), count, starts)
        self.assertEqual(sorted(map(int, self.lines_of("runs"))), list(range(count)))

    def test_each_once(self):
        self.each_once()

    def test_each_once_on_a_server(self):
        path = os.environ.get("VIV_TEST_PG_FILE")
        self.url = os.environ.get("VIV_TEST_PG_URL") or pathlib.Path(path).read_text(encoding="utf-8").strip()
        self.url += f"&viv_schema=worker_{os.getpid()}"
        self.env["VIV_STORE"] = self.url
        self.each_once(12)

    def test_queues_and_kinds(self):
        self.start_job("a", "--queue", "q", "--kind", "k", script="exit 0")
        self.start_job("b", "--queue", "q", script="exit 0")
        self.start_job("c", "--kind", "k", script="exit 0")
        self.once("--queue", "q", "--kind", "k")
        self.assertEqual([self.record(name)["status"] for name in "abc"], ["completed", "running", "running"])
        self.once("--queue", "q", "--queue", "default")
        self.assertEqual([self.record(name)["status"] for name in "abc"], ["completed"] * 3)


class Command(WorkerTest):
    """131: options, exit statuses, and who is told."""

    def test_131_bad_options(self):
        for options in (("--ttl", "2s"), ("--slots", "10001"), ("--tier", "best"), ("--slots", "x"), ("word",),
                        ("--no-such-option",)):
            self.refused(self.viv("worker", "--once", *options), 2)
        self.refused(self.viv("worker", "--once", "--store", "nonsense:x"), 2)
        self.refused(self.viv("worker", "--once", "--store", "sqlite:/no/such/directory/s.db"), 8)

    def test_131_tier(self):
        self.refused(self.viv("worker", "--once", "--store", "memory:"), 1, "--tier")
        self.assertEqual(self.viv("worker", "--once", "--store", "memory:", "--tier", "inline").status, 0)
        told = json.loads(self.viv("worker", "--once", "--json", "--store", "memory:").err)
        self.assertEqual(told["error"], "tier")

    def test_ready(self):
        place = str(self.dir / "notify")
        for name in (place, "@viv-test-" + str(os.getpid())):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
                told.bind(name if name[0] == "/" else "\0" + name[1:])
                told.settimeout(SECONDS)
                worker = self.worker(env={"NOTIFY_SOCKET": name})
                self.assertEqual(told.recv(100), b"READY=1")
                self.drained(worker)
                self.assertEqual(told.recv(100), b"STOPPING=1")


if __name__ == "__main__":
    unittest.main(verbosity=2)
