#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Directories with rights, limits, and the audit file of `viv run` (contract on resources, section 6, cases 46,
59, 64)."""

import json
import os
import pathlib
import re
import resource
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from policy_cli import ACTS, NOTCAPABLE, PolicyTest  # noqa: E402
from viv_cli import FACTOR, RETURNS, SPINS, chain_break  # noqa: E402

# ---- case 59: directories ----

# What is done to a directory D, and the rights that it takes: all of them.
FILE_ACTIONS = {
    "read D/file": "r", "list D": "r", "readlink D/link": "r",
    "write D/file": "w", "truncate D/file": "w", "truncate_by_open D/file": "w", "touch D/file": "w",
    "create D/new": "c", "create_read_only D/new": "c", "mkdir D/new": "c", "symlink file D/new": "c",
    "unlink D/file": "d", "rmdir D/empty": "d",
    "rename D/file D/new": "rwcd", "link D/file D/new": "rwcd",
}


class Directories(PolicyTest):
    """r, w, c and d, alone and together, by --dir and by policy."""

    def folder(self, name="D"):
        path = self.dir / name
        if path.exists():
            for inner in path.iterdir():
                if inner.is_dir() and not inner.is_symlink():
                    inner.rmdir()
                else:
                    inner.unlink()
        else:
            path.mkdir()
        (path / "empty").mkdir()
        (path / "file").write_text("content\n", encoding="utf-8")
        (path / "link").symlink_to("file")
        return path

    def look(self, path):
        return sorted((inner.name, inner.is_file() and inner.read_bytes()) for inner in path.iterdir())

    def test_59_each_right_alone(self):
        for rights in ("r", "w", "c", "d", "rw", "rc", "wcd", "rwc", "rwd", "rwcd"):
            for action, need in FILE_ACTIONS.items():
                with self.subTest(rights=rights, action=action):
                    path = self.folder()
                    before = self.look(path)
                    options = ("--use", "none", *(("--dir", f"D:{rights}") if need != "r" else
                                                  ("--allow", f"fs=D:{rights}")))
                    got = self.number(*action.split(), options=options)
                    if set(need) <= set(rights):
                        self.assertEqual(got, 0)
                    else:
                        self.assertEqual((got, self.look(path)), (NOTCAPABLE, before))

    def test_59_without_letters_all(self):
        for options in (("--dir", "D"), ("--allow", "fs=D"), ("--dir", "D::D"), ("--allow", "fs=D::D:rwcd")):
            for action in FILE_ACTIONS:
                with self.subTest(options=options, action=action):
                    self.folder()
                    self.assertEqual(self.number(*action.split(), options=("--use", "none", *options)), 0)

    def test_59_nothing_is_widened_between_directories(self):
        """A hard link or a rename puts a file under the rights of another directory, so it takes all but `create`."""
        for action in ("rename A/file B/new", "link A/file B/new"):
            for left in ("r", "rwc", "rwd", "rcd", "wcd"):
                for right in ("rwd", "rc", "cd", "rwcd"):
                    with self.subTest(action=action, left=left, right=right):
                        paths = self.folder("A"), self.folder("B")
                        before = [self.look(path) for path in paths]
                        got = self.number(*action.split(), options=("--use", "none", "--allow", f"fs=A:{left},B:{right}"))
                        need = "cd" if action.startswith("rename") else "c"
                        if set("rwd") <= set(left) and set(need) <= set(right):
                            self.assertEqual(got, 0)
                        else:
                            self.assertEqual((got, [self.look(path) for path in paths]), (NOTCAPABLE, before))

    def test_59_ways_out(self):
        self.folder()
        self.file("secret", "hidden")
        os.symlink("../secret", self.dir / "D" / "up")
        os.symlink(self.dir / "secret", self.dir / "D" / "absolute")
        os.symlink("/proc/self/root", self.dir / "D" / "magic")
        options = ("--use", "none", "--dir", "D")
        for path in ("D/../secret", "D/empty/../../secret", "D/up", "D/absolute", "D/magic/etc/passwd", "D/up/x"):
            with self.subTest(path=path):
                self.assertIn(self.number("read", path, options=options), (63, NOTCAPABLE))
        for path in ("../secret", "/etc/passwd", "up", "absolute", "magic/etc/passwd", "/", ".."):
            with self.subTest(path=path):
                self.assertIn(self.number("open_at", "3", path, options=options), (63, NOTCAPABLE))
        for action in ("rename D/file D/../out", "link D/file D/../out", "symlink x D/../out", "create D/../out",
                       "mkdir D/../out", "unlink D/../secret", "truncate_by_open D/../secret"):
            with self.subTest(action=action):
                self.assertIn(self.number(*action.split(), options=options), (63, NOTCAPABLE))
        self.assertFalse((self.dir / "out").exists())
        self.assertEqual((self.dir / "secret").read_text(encoding="utf-8"), "hidden")

    def test_names_of_the_guest(self):
        self.folder()
        for options, action in ((("--dir", "D::/in:r"), "read /in/file"), (("--allow", "fs=D::/in:r"), "read /in/file"),
                                (("--allow", f"fs={self.dir}/D:r"), f"read {self.dir}/D/file")):
            with self.subTest(options=options):
                self.assertEqual(self.number(*action.split(), options=("--use", "none", *options)), 0)
                self.assertEqual(self.number("create", action.split()[1] + "2", options=("--use", "none", *options)),
                                 NOTCAPABLE)

    def test_missing(self):
        """--dir names it when the program would start; a policy is refused with the place in it."""
        self.refused(self.act("random", options=("--dir", "nowhere")), 1, "cannot open directory nowhere: No such file")
        self.file("plain")
        for name, why in (("nowhere", "No such file or directory"), ("plain", "Not a directory")):
            self.refused(self.act("random", options=("--allow", f"fs={name}:r")), 2, "line 1, column 4", why)


# ---- limits ----

class Limits(PolicyTest):
    """One more than the limit is refused, or ends the process."""

    def limited(self, limit, *args, **more):
        return self.act(*args, options=("--use", "guest", "--allow", "fs=.:r", "--limit", limit), **more)

    def count(self, limit, *args):
        ended = self.limited(limit, *args)
        self.assertEqual((ended.status, ended.err), (0, ""))
        return int(ended.out)

    def ends(self, ended, text):
        self.assertEqual(ended.status, 137, ended)
        self.assertRegex(ended.err, rf"'_start' of policy_guest\.wasm failed: {re.escape(text)}")

    def test_memory(self):
        self.assertEqual(self.count("memory=8M", "grow", "64"), 0)
        self.assertEqual(self.count("memory=8M", "grow", "128"), -1)
        self.assertEqual(self.count("memory=none", "grow", "1024"), 0)
        for limit, shown in (("64K", "64 KiB"), ("0", "0 bytes"), ("100000", "100000 bytes")):
            ended = self.limited(f"memory={limit}", "grow", "0")
            self.refused(ended, 1, f", the limit is {shown}")
            self.assertRegex(ended.err, r"needs \d+ [KM]iB, ")

    def test_cpu_time(self):
        self.ends(self.limited("cpu_time=200ms", "spin"), "limit(cpu)")
        self.assertEqual(self.count("cpu_time=60s", "clock", "0"), 0)

    def test_wall(self):
        self.ends(self.limited("wall=200ms", "stay"), "limit(time)")
        self.ends(self.limited("wall=200ms", "spin"), "limit(time)")
        self.ends(self.act("stay", options=("--max-time", "200ms")), "limit(time)")

    def test_cpu_share(self):
        """A tenth of a core over two seconds: far less than a core, and more than nothing."""
        path = self.file("spin.wat", SPINS)
        used = {}
        for cpu in ("10%", "none"):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            ended = self.viv("run", "--workers", "1", "--limit", f"cpu={cpu}", "--limit", "wall=2s", path)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.assertEqual(ended.status, 137)
            used[cpu] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.assertLess(used["10%"], 0.6 * FACTOR, used)
        if FACTOR == 1:
            self.assertLess(used["10%"], used["none"] + 0.1, used)

    def test_counts(self):
        self.file("file")
        for limit, more, action in (("processes", 1, "spawn_many 50"), ("timers", 0, "timers 50"),
                                    ("timers", 0, "futures 50"), ("shares", 0, "shares 50"), ("futures", 0, "futures 50")):
            for number in (1, 7):
                with self.subTest(limit=limit, action=action, number=number):
                    self.assertEqual(self.count(f"{limit}={number + more}", *action.split()), number)
            with self.subTest(limit=limit, action=action):
                self.assertEqual(self.count(f"{limit}=50000", *action.split()), 50)
        # By the contract's letter: mfile for descriptors (wasm 14), dquot for what an account counts (resources 1.4).
        self.assertEqual(self.count("fds=10", "open_errno", "50", "file"), 33)
        for limit in ("handles=10", "resources=20", "resource_bytes=4K"):
            self.assertEqual(self.count(limit, "open_errno", "50", "file"), 19, limit)
        # Descriptors and handles: the three standard streams and the directory are some already.
        self.assertEqual(self.count("fds=10", "files", "50", "file"), 6)
        self.assertEqual(self.count("fds=4", "files", "50", "file"), 0)
        self.assertEqual(self.count("handles=24", "handles", "50"), 20)
        self.assertEqual(self.count("handles=none", "handles", "50"), 50)

    def test_timers_that_have_fired_do_not_count(self):
        """Of lunatic, whose guests need not cancel them."""
        self.assertEqual(self.count("timers=3", "l_timers", "50"), 50)
        ended = self.limited("timers=0", "l_timers", "1")
        self.assertEqual(ended.status, 134)
        self.assertIn("lunatic::timer::send_after: too many timers", ended.err)

    def test_no_process_at_all(self):
        self.refused(self.limited("processes=0", "random"), 1, "over a limit")

    def test_channels(self):
        self.assertLess(self.count("channel_bytes=4K", "channels", "1000"), 64)
        self.assertGreater(self.count("channel_bytes=4K", "channels", "1000"), 0)
        self.assertEqual(self.count("channel_bytes=none", "channels", "500"), 500)
        self.assertLess(self.count("resource_bytes=8K", "channels", "1000"), 1000)
        self.assertLess(self.count("resources=50", "channels", "1000"), 50)

    def test_mailbox(self):
        self.assertEqual(self.count("mailbox=10 refuse", "fill", "100", "0"), 10)
        self.assertEqual(self.count("mailbox_bytes=1K refuse", "fill", "100", "100"), 10)
        self.ends(self.limited("mailbox=10", "fill", "100", "0"), "limit(mailbox): 11 messages")
        self.ends(self.limited("mailbox_bytes=1K", "fill", "100", "100"), "limit(mailbox)")
        self.assertEqual(self.count("mailbox=100", "fill", "100", "0"), 100)

    def test_a_full_mailbox_suspends_who_sends(self):
        """Nobody dies, nothing is lost, and the mailbox has few at a time: the sender waits, also for one that sleeps."""
        def flood(limit, action="flood"):
            ended = self.viv("run", "--workers", "1", "--use", "guest", "--limit", limit, ACTS, action, "900")
            self.assertEqual(ended.status, 0, ended)
            answer = int(ended.out)
            return answer // 1000000, answer // 1000 % 1000, answer % 1000  # refused, counted, the most at a time
        for limit in ("mailbox=10 suspend", "mailbox_bytes=64 suspend"):
            for action in ("flood", "flood_asleep"):
                refused, counted, most = flood(limit, action)
                self.assertEqual((refused, counted), (0, 900))
                self.assertLessEqual(most, 12, (limit, action))
        self.assertEqual(flood("mailbox=none")[:2], (0, 900))
        refused, counted, most = flood("mailbox=10 refuse")
        self.assertEqual(refused + counted, 900)
        self.assertTrue(refused > 0 and most <= 10)
        self.assertEqual(flood("mailbox=10 kill")[1:], (999, 998))  # -2: its end

    def test_output(self):
        """kill ends the process at the write that goes over; drop goes on without it."""
        line = "123456789\n"
        ended = self.limited("output=100", "output", "50")
        self.ends(ended, "limit(output): more than 100 bytes of output")
        self.assertEqual(ended.err[:101], line * 10 + "v")  # not one byte too many (I12)
        ended = self.limited("output=105", "output", "50")
        self.ends(ended, "limit(output): more than 105 bytes of output")
        self.assertEqual(ended.err[:101], line * 10 + "v")
        ended = self.limited("output=100 drop", "output", "50")
        self.assertEqual((ended.status, ended.out, ended.err), (0, "", line * 10))
        ended = self.limited("output=105 drop", "output", "10")
        self.assertEqual(ended, (0, "0\n", line * 10))
        self.assertEqual(self.limited("output=0 drop", "output", "5"), (0, "", ""))
        self.ends(self.limited("output=0", "output", "5"), "limit(output)")
        self.assertEqual(self.limited("output=none", "output", "3"), (0, "0\n", line * 3))

    def test_log_lines_are_output(self):
        """Lines of the log count by their text (10 bytes each), with what is written."""
        lines = lambda ended: ended.err.count(": 1234567890\n")
        ended = self.limited("output=100", "log_lines", "50")
        self.ends(ended, "limit(output): more than 100 bytes of output")
        self.assertEqual(lines(ended), 10)
        ended = self.limited("output=57 drop", "log_lines", "50")
        self.assertEqual((ended.status, lines(ended)), (0, 5))
        self.assertEqual(lines(self.limited("output=none", "log_lines", "50")), 50)

    def test_timers_of_both_kinds_are_one_count(self):
        for number in (1, 6, 7):
            self.assertEqual(self.count(f"timers={number}", "timers_and_sleeps", "50"), number)
        self.assertEqual(self.count("timers=none", "timers_and_sleeps", "50"), 50)

    def test_the_last_one_counts(self):
        options = ("--limit", "shares=3", "--limit", "shares=5", "--use", "guest")
        self.assertEqual(self.number("shares", "50", options=options), 5)
        path = self.file("p", "use guest\nlimit shares=3\nlimit shares=4\n")
        self.assertEqual(self.number("shares", "50", options=("--policy", path)), 4)
        self.assertEqual(self.number("shares", "50", options=("--policy", path, "--limit", "shares=6")), 6)


class Members(PolicyTest):
    """What a policy limits, all processes of the program have together."""

    def count(self, limits, *args, engine="many"):
        text = "use guest\nallow fs=.:r\n" + "".join(f"limit {limit}\n" for limit in limits)
        ended = self.act(*args, options=("--engine", engine, "--policy", self.file("members.policy", text)))
        self.assertEqual(ended.status, 0, ended)
        return int(ended.out or 0), ended.err.count("123456789\n")

    def test_memory(self):
        """A member begins with some memory and grows by 4 MiB; together they do not pass the limit."""
        self.assertEqual(self.count(["memory=none"], "members_grow", 6, 4)[0], 24)
        few, many = (self.count([f"memory={limit}"], "members_grow", 6, 4)[0] for limit in ("8M", "16M"))
        self.assertTrue(1 <= few < 8, few)
        self.assertTrue(8 <= many < 16, many)
        self.assertEqual(many, few + 8 if few >= 4 else many)

    def test_what_has_ended_does_not_count(self):
        self.assertEqual(self.count(["memory=8M"], "members_take_turns", 40)[0], 40)

    def test_memory_of_heavy_processes(self):
        """The engine `fast` keeps memories itself: what one may become counts from its birth."""
        self.assertEqual(self.count(["memory=none"], "members_grow", 3, 2, engine="fast")[0], 6)
        self.assertEqual(self.count(["memory=64M"], "members_grow", 3, 2, engine="fast")[0], 0)

    def test_cpu_share(self):
        """Three that spin have a fifth of a core together."""
        used = {}
        for limit in ("cpu=20%", "cpu=none"):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            ended = self.act("members_spin", "3", options=("--limit", limit, "--limit", "wall=2s"))
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.assertEqual(ended.status, 137)
            used[limit] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.assertLess(used["cpu=20%"], 0.8 * FACTOR, used)
        if FACTOR == 1:
            self.assertLess(used["cpu=20%"], used["cpu=none"] + 0.1, used)

    def test_output(self):
        self.assertEqual(self.count(["output=none"], "members_write", 3, 4), (12, 12))
        self.assertEqual(self.count(["output=100 drop"], "members_write", 3, 4)[1], 10)

    def test_descriptors_handles_channels(self):
        self.file("file")
        self.assertEqual(self.count(["fds=none"], "members_open", 3, 5)[0], 15)
        self.assertLess(self.count(["fds=16"], "members_open", 3, 5)[0], 12)
        self.assertEqual(self.count(["channel_bytes=none"], "members_channel", 3, 5)[0], 15)
        alone = self.count(["channel_bytes=2K"], "members_channel", 1, 50)[0]
        self.assertTrue(1 < alone < 50, alone)
        self.assertEqual(self.count(["channel_bytes=2K"], "members_channel", 2, 50)[0], alone)

    def test_defaults_are_of_each(self):
        """Limits that no line names hold for each process alone: 1,024 descriptors and 64 MiB of channels."""
        self.assertEqual(self.count([], "members_channel", 3, 50)[0], 150)


# ---- case 64: the audit ----

KEYS = {"seq", "time_ns", "event", "pid", "session", "environment", "class", "operation", "object", "outcome", "count",
        "prev"}


class Audit(PolicyTest):
    """Lines of JSON: the session, and what was denied."""

    def test_nothing_is_denied(self):
        ended = self.viv("run", "--audit", "audit.jsonl", self.file("r.wat", RETURNS))
        self.assertEqual(ended, (0, "", ""))
        found = self.events()
        self.assertEqual([event["event"] for event in found], ["session-create", "policy-load"])
        for event in found:
            self.assertEqual(set(event), KEYS)
            self.assertEqual(event["count"], 1)
            self.assertRegex(event["session"], r"\A[0-9a-f]{32}\Z")
        self.assertIsNone(chain_break((self.dir / "audit.jsonl").read_text(encoding="utf-8").splitlines()))

    def test_counts_are_exact(self):
        """Equal denials of a second are one event; the sum of the counts is that of the calls."""
        for count in (1, 2, 1000, 12345):
            with self.subTest(count=count):
                self.assertEqual(self.number("denied", count, options=("--use", "none", "--audit", "audit.jsonl")),
                                 NOTCAPABLE)
                found = self.denials()
                self.assertEqual(sum(event["count"] for event in found), count)
                self.assertLessEqual(len(found), 2 + (count * FACTOR) // 10000)
                for event in found:
                    self.assertEqual(set(event), KEYS)
                    self.assertEqual((event["class"], event["operation"], event["object"], event["outcome"]),
                                     ("entropy", "random_get", "", "DENIED"))
                    self.assertRegex(event["pid"], r"\A<0\.\d+\.\d+>\Z")

    def test_26_guesses_name_process_and_session(self):
        self.assertEqual(self.number("guesses", 17, options=("--use", "guest", "--audit", "audit.jsonl")), -10)  # QUOTA
        session = [event for event in self.events() if event["event"] == "session-create"][0]["session"]
        found = [event for event in self.events() if event["event"] == "attach-guess"]
        self.assertEqual([(event["session"], event["operation"], event["outcome"], event["environment"])
                          for event in found], [(session, "res_attach", "QUOTA", 1)])
        self.assertRegex(found[0]["pid"], r"\A<0\.\d+\.\d+>\Z")

    def test_order_and_numbers(self):
        self.number("denied", 100, options=("--use", "none", "--audit", "audit.jsonl"))
        found = self.events()
        self.assertEqual([event["seq"] for event in found], list(range(1, len(found) + 1)))

    def test_objects_are_shown_as_given(self):
        name = 'a"b\\c\n\t\x7f\u00e4'
        self.number("register", name, options=("--use", "none", "--audit", "audit.jsonl"))
        self.assertEqual([event["object"] for event in self.denials()], [name])
        self.number("register", "x" * 1000, options=("--use", "none", "--audit", "audit.jsonl"))
        self.assertEqual([event["object"] for event in self.denials()], ["x" * 256])

    def test_objects_are_processes(self):
        """Whom it was about, and how."""
        for action, shown in (("send_self", r"<0\.1\.0>"), ("send", r"<0\.\d+\.0>"), ("monitor", r"<0\.\d+\.0>"),
                              ("exit", r"exit <0\.\d+\.0>"), ("kill", r"kill <0\.\d+\.0>"), ("l_kill", r"kill <0\.\d+\.0>"),
                              ("l_exists", r"<0\.1\.0>")):
            with self.subTest(action=action):
                self.number(action, options=("--use", "none", "--audit", "audit.jsonl"))
                self.assertRegex(self.denials()[0]["object"], rf"\A{shown}\Z")

    def test_an_older_file_is_replaced(self):
        path = pathlib.Path(self.file("audit.jsonl", "old\n" * 1000))
        self.viv("run", "--audit", path, self.file("r.wat", RETURNS))
        self.assertEqual(len(self.events()), 2)
        path.unlink()
        self.viv("run", "--audit", path, self.file("r.wat", RETURNS))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_it_cannot_be_written(self):
        """A full disk is told once; the program goes on."""
        ended = self.act("random", options=("--audit", "/dev/full"))
        self.assertEqual((ended.status, ended.out), (0, "0\n"))
        self.assertEqual(ended.err, "viv: --audit: cannot write /dev/full: No space left on device\n")

    def test_while_it_runs(self):
        """The file has a denial while the program goes on."""
        wat = self.file("d.wat", '(module (import "wasi_snapshot_preview1" "random_get" (func $r (param i32 i32) '
                                 '(result i32))) (memory (export "memory") 1) (func (export "_start") '
                                 '(drop (call $r (i32.const 0) (i32.const 8))) (loop $a (br $a))))')
        process = self.start("run", "--use", "none", "--audit", "audit.jsonl", wat)
        end = time.monotonic() + 20 * FACTOR
        found = []
        while not found and time.monotonic() < end:
            time.sleep(0.05)
            if (self.dir / "audit.jsonl").exists():
                text = (self.dir / "audit.jsonl").read_text(encoding="utf-8")
                found = [line for line in text.splitlines(True) if '"denied"' in line and line.endswith("\n")]
        self.assertEqual(json.loads(found[0])["class"], "entropy")
        self.interrupted(process)

if __name__ == "__main__":
    unittest.main(verbosity=2)
