#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""viv job and viv store: each command, its exit status and its JSON (durable.md 5.3, case 131)."""

import hashlib
import json
import pathlib
import sqlite3
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from viv_cli import CliTest  # noqa: E402

SUCCESS = '{"type":"success","value":{"x":[1,2]}}'
FAILURE = '{"type":"failure","class":"execution","code":"c","message":"m"}'
CANCELLED = '{"type":"cancelled","message":"m"}'
NOWHERE = "c1." + "00" * 24


class JobTest(CliTest):
    """A store in the test's folder."""

    def setUp(self):
        super().setUp()
        self.url = f"sqlite:{self.dir}/s.db"
        self.env["VIV_STORE"] = self.url

    def job(self, *args, status=0, **more):
        ended = self.viv("job", *args, **more)
        self.assertEqual((ended.status, ended.err), (status, ""), ended)
        return ended.out

    def lines(self, *args, status=0):
        return [json.loads(line) for line in self.job(args[0], "--json", *args[1:], status=status).splitlines()]

    def external(self, name, *options):
        self.assertEqual(self.job("start", "--id", name, "--external", *options), name + "\n")

    def errs(self, status, error, *args):
        """With --json one object on stderr; else one line."""
        ended = self.viv(*args[:2], "--json", *args[2:])
        self.assertEqual((ended.status, ended.out), (status, ""), ended)
        told = json.loads(ended.err)
        self.assertEqual(told["error"], error, ended)
        self.assertGreater(len(told["text"]), 0)
        self.refused(self.viv(*args), status)
        return told["text"]


class Start(JobTest):
    """viv job start."""

    def test_a_command(self):
        self.assertEqual(self.job("start", "--id", "a", "--", "echo", "--json"), "a\n")
        record = self.lines("show", "a")[0]
        self.assertEqual(record["input"], {"type": "native", "argv": ["echo", "--json"]})
        self.assertEqual((record["status"], record["phase"]), ("running", "queued"))
        self.assertEqual((record["disposition"], record["attempt"], record["birth"]), ("rerunnable", 0, 1))

    def test_an_id_of_its_own(self):
        one, other = (self.job("start", "--external").strip() for _ in range(2))
        self.assertRegex(one, r"\Ajob-[0-9a-f]{16}\Z")
        self.assertNotEqual(one, other)

    def test_again(self):
        self.assertEqual(self.lines("start", "--id", "a", "--", "true"), [{"id": "a", "created": True}])
        self.assertEqual(self.lines("start", "--id", "a", "--", "true"), [{"id": "a", "created": False}])
        text = self.errs(7, "registration", "job", "start", "--id", "a", "--external")
        self.assertIn("other content", text)

    def test_options(self):
        self.job("start", "--id", "a", "--once", "--queue", "q", "--label", "l", "--kind", "k", "--cwd", "/tmp",
                 "--timeout", "2m", "--retry", "2", "--at", "2030-01-31T12:00:00Z", "--", "true")
        record = self.lines("show", "a")[0]
        self.assertEqual(record["disposition"], "owner_bound")
        self.assertEqual((record["label"], record["kind"]), ("l", "k"))
        self.assertEqual(record["input"]["cwd"], "/tmp")
        self.assertEqual(record["policy"], {"queue": "q", "timeout_ms": 120000, "max_attempts": 3,
                                            "retry_on": ["*"], "start_at_ms": 1896091200000, "on_lapse": "abandon"})
        self.assertEqual((record["phase"], record["due_ms"]), ("scheduled", 1896091200000))

    def test_policy(self):
        policy = {"limits": {"memory": "1M"}, "caps": {"use": "none"}, "backoff": {"initial_ms": 5, "factor": 3}}
        path = self.file("p.json", json.dumps(policy).encode())
        self.job("start", "--id", "a", "--policy", path, "--queue", "q", "--", "true")
        self.assertEqual(self.lines("show", "a")[0]["policy"], dict(policy, queue="q"))
        for bad, status, error in ((b"[]", 2, "invalid"), (b"{", 2, "json"), (b'{"wishes": 1}', 2, "invalid")):
            self.errs(status, error, "job", "start", "--policy", self.file("b.json", bad), "--", "true")
        self.errs(2, "not_found", "job", "start", "--policy", "no-such-file", "--", "true")

    def test_times(self):
        before = time.time() * 1000
        self.external("a", "--deadline", "+10m")
        deadline = self.lines("show", "a")[0]["policy"]["deadline_ms"]
        self.assertTrue(before + 599000 < deadline < time.time() * 1000 + 600001, deadline)
        self.external("b", "--at", "12345")
        self.assertEqual(self.lines("show", "b")[0]["policy"], {"start_at_ms": 12345})
        for bad in ("soon", "2030-13-01T00:00:00Z", "+x", "2030-01-31", "-"):
            self.errs(2, "invalid", "job", "start", "--external", "--at", bad)

    def test_a_module(self):
        module = b"\0asm\1\0\0\0"
        digest = hashlib.sha256(module).hexdigest()
        self.job("start", "--id", "a", "--wasm", self.file("m.wasm", module), "--entry", "f", "--", "7", "-3", "x")
        wanted = {"type": "wasm", "module": "sha256:" + digest, "function": "f", "args": [7, -3, "x"]}
        self.assertEqual(self.lines("show", "a")[0]["input"], wanted)
        with sqlite3.connect(self.dir / "s.db") as store:
            self.assertEqual(store.execute("SELECT data FROM blob WHERE hash=?", [digest]).fetchall(), [(module,)])
        self.job("start", "--id", "b", "--wasm", digest)
        self.assertEqual(self.lines("show", "b")[0]["input"],
                         {"type": "wasm", "module": "sha256:" + digest, "function": "_start"})
        self.errs(1, "not_found", "job", "start", "--wasm", "nothing.wasm")

    def test_beam(self):
        self.job("start", "--id", "a", "--beam", "m:f", "--", "1")
        self.assertEqual(self.lines("show", "a")[0]["input"], {"type": "beam", "m": "m", "f": "f", "a": [1]})

    def test_types_and_grants(self):
        one = self.file("one.json", '{"name":"t","schema":{"type":"integer"}}')
        two = self.file("two.json", '[{"name":"u"},{"name":"v"}]')
        self.external("a", "--type", one, "--type", two, "--grant", "s%2F1/f%25", "--grant", "t")
        record = self.lines("show", "a")[0]
        self.assertEqual([kind["name"] for kind in record["event_types"]], ["t", "u", "v"])
        with sqlite3.connect(self.dir / "s.db") as store:
            found = store.execute("SELECT scope_id,session,frame FROM grants ORDER BY 1").fetchall()
        self.assertEqual(found, [("session:s%2F1/frame:f%25", "s/1", "f%"), ("session:t", "t", None)])
        self.errs(2, "invalid", "job", "start", "--external", "--grant", "a/b/c")
        self.errs(2, "invalid", "job", "start", "--external", "--grant", "a%20")
        self.errs(2, "json", "job", "start", "--external", "--type", self.file("bad.json", "{"))

    def test_usage(self):
        for args in (["start"], ["start", "--external", "--", "x"], ["start", "--external", "--wasm", "a"],
                     ["start", "--entry", "f", "--", "x"], ["start", "--beam", "m", "--", "x"],
                     ["start", "--deadline", "+1m", "--timeout", "1m", "--", "x"]):
            with self.subTest(args=args):
                self.errs(2, "invalid", "job", *args)
        for args in ([], ["fly"], ["show"], ["show", "a", "b"], ["list", "x"], ["start", "--fly"]):
            with self.subTest(args=args):
                self.refused(self.viv("job", *args), 2, "(viv help job")

    def test_wait(self):
        self.external("a")
        self.job("complete", "a", FAILURE)
        ended = self.viv("job", "start", "--id", "a", "--external", "--wait")
        self.assertEqual((ended.status, json.loads(ended.out)["code"], ended.err), (3, "c", ""))

    def test_the_store_of_the_user(self):
        del self.env["VIV_STORE"]
        self.refused(self.viv("job", "list"), 8, "no store is there", "viv store init")
        self.external("a")
        self.assertTrue((self.dir / ".local/state/viv/store.db").is_file())
        self.assertEqual([row["id"] for row in self.lines("list")], ["a"])
        other = self.viv("job", "list", "--store", self.url)
        self.refused(other, 8, "no store is there")


class Read(JobTest):
    """list, show, events, await, changes."""

    def test_list(self):
        self.external("b", "--label", "x")
        self.external("a", "--kind", "k")
        self.job("start", "--id", "c", "--queue", "q", "--", "true")
        self.job("complete", "a", SUCCESS)
        table = [line.split() for line in self.job("list").splitlines()]
        self.assertEqual(table[0], "ID PHASE DISPOSITION ATTEMPT AGE KIND LABEL".split())
        self.assertEqual([line[:3] for line in table[1:]],
                         [["a", "completed", "external"], ["b", "queued", "external"],
                          ["c", "queued", "rerunnable"]])
        for options, ids in ((["--status", "running"], "bc"), (["--phase", "completed"], "a"), (["--label", "x"], "b"),
                             (["--kind", "k"], "a"), (["--queue", "q"], "c"), (["--since", "-1h"], "abc"),
                             (["--since", "+1h"], ""), (["-n", "2"], "ab"), (["--after", "a"], "bc"),
                             (["--after", "a", "-n", "1"], "b"), (["-n", "0"], "")):
            with self.subTest(options=options):
                self.assertEqual("".join(row["id"] for row in self.lines("list", *options)), ids)
        self.errs(2, "invalid", "job", "list", "--status", "asleep")

    def test_show(self):
        self.external("a")
        self.job("cancel", "a", "--reason", "r")
        record = self.lines("show", "a")[0]
        self.assertEqual((record["phase"], record["cancel_request"]["reason"]), ("cancelling", "r"))
        self.assertEqual((record["status"], record["last_sequence"]), ("running", 1))
        self.assertNotIn("holder", record)
        self.assertRegex(self.job("show", "a"), r"(?m)^phase +cancelling$")
        self.assertIn("b: no such process", self.errs(6, "not_found", "job", "show", "b"))

    def test_events(self):
        self.external("a")
        for number in range(5):
            self.job("signal", "a", "n", str(number))
        self.assertEqual([event["payload"] for event in self.lines("events", "a")], [0, 1, 2, 3, 4])
        self.assertEqual([event["sequence"] for event in self.lines("events", "a", "-n", "2")], [4, 5])
        self.assertEqual([event["sequence"] for event in self.lines("events", "a", "--after", "1", "-n", "2")], [2, 3])
        self.assertEqual(self.lines("events", "a", "--type", "signal.m"), [])
        event = self.lines("events", "a", "-n", "1")[0]
        self.assertEqual((event["process_id"], event["type"]), ("a", "signal.n"))
        self.assertRegex(self.job("events", "a", "-n", "1"), r"\A +5  \d+\.\d{3}  signal\.n  4\n\Z")
        self.errs(6, "not_found", "job", "events", "b")

    def test_events_from_now_on(self):
        self.external("a")
        process = self.start("job", "events", "a", "-f", "--json")
        self.job("signal", "a", "n", '"first"')
        self.wait_for(process.stdout, '"first"')
        self.job("complete", "a", CANCELLED)
        ended = self.ended(process)
        self.assertEqual((ended.status, ended.err), (4, ""))
        self.assertEqual(json.loads(ended.out.splitlines()[-1])["type"], "process.cancelled")

    def test_await(self):
        for name in "abc":
            self.external(name)
        process = self.start("job", "await", "a", "b")
        self.job("complete", "b", FAILURE)
        self.wait_for(process.stdout, '"code":"c"')
        self.job("complete", "a", SUCCESS)
        ended = self.ended(process)
        self.assertEqual((ended.status, ended.out, ended.err), (3, '{"x":[1,2]}\n', ""))
        self.assertEqual(self.lines("await", "a"),
                         [{"id": "a", "status": "completed", "await_output": json.loads(SUCCESS)}])
        self.assertEqual(self.lines("await", "c", "a", "--any")[0]["id"], "a")
        self.job("await", "b", status=3)
        self.errs(124, "timeout", "job", "await", "c", "--timeout", "50ms")
        self.assertIn("d: no such", self.errs(6, "not_found", "job", "await", "d"))

    def test_changes(self):
        self.assertEqual(self.viv("store", "init").status, 0)
        self.assertEqual(self.lines("changes"), [{"cursor": NOWHERE}])
        self.external("a")
        self.external("b")
        self.job("complete", "a", SUCCESS)
        first = self.lines("changes")
        self.assertEqual([row.get("id") for row in first], ["b", "a", None])
        cursor = first[-1]["cursor"]
        self.assertEqual(self.lines("changes", "--cursor", cursor), [{"cursor": cursor}])
        self.job("prune", "--before", "+1h")
        rows = self.lines("changes", "--cursor", cursor)
        self.assertEqual(rows[0], {"id": "a", "birth": 1, "pruned": True})
        self.assertNotEqual(rows[1]["cursor"], cursor)
        self.assertEqual(self.job("changes").splitlines()[:2], ["b  queued", "a  pruned"])
        self.errs(2, "invalid", "job", "changes", "--cursor", "c1.xyz")
        self.errs(1, "cursor", "job", "changes", "--cursor", "c1." + "11" * 24)
        process = self.start("job", "changes", "-f", "--cursor", cursor)
        self.wait_for(process.stdout, "a  pruned")
        self.external("c")
        self.wait_for(process.stdout, "c  queued")


class Act(JobTest):
    """signal, cancel, complete, abandon, grant, scope-delete, prune."""

    def test_signal(self):
        self.external("a")
        self.assertEqual(self.lines("signal", "a", "n", "1", "--key", "k"), [{"sequence": 1, "replayed": False}])
        self.assertEqual(self.lines("signal", "a", "n", "1", "--key", "k"), [{"sequence": 1, "replayed": True}])
        self.errs(7, "key_conflict", "job", "signal", "a", "n", "2", "--key", "k")
        self.errs(2, "json", "job", "signal", "a", "n", "{")
        self.errs(6, "not_found", "job", "signal", "b", "n")
        self.assertEqual(self.job("signal", "a", "n"), "")

    def test_cancel(self):
        self.job("start", "--id", "a", "--", "true")
        self.assertEqual(self.lines("cancel", "a")[0]["phase"], "cancelling")
        self.assertEqual(self.lines("cancel", "a", "--now", "--reason", "r")[0]["status"], "cancelled")
        self.errs(7, "terminal", "job", "cancel", "a", "--reason", "other")
        self.errs(6, "not_found", "job", "cancel", "b")
        self.job("await", "a", status=4)

    def test_complete(self):
        self.external("a")
        self.assertEqual(self.lines("complete", "a", SUCCESS)[0]["await_output"], json.loads(SUCCESS))
        self.job("complete", "a", SUCCESS)
        self.errs(7, "terminal", "job", "complete", "a", FAILURE)
        self.errs(2, "invalid", "job", "complete", "a", '{"type":"wrong"}')
        self.errs(6, "not_found", "job", "complete", "b", SUCCESS)

    def test_complete_what_is_leased(self):
        self.job("start", "--id", "a", "--", "true")
        with sqlite3.connect(self.dir / "s.db") as store:
            boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            store.execute("UPDATE proc SET lease_token='t',lease_owner='o',fence=1,lease_claimed=1,lease_ttl=1,"
                          "lease_exp=9223372036854775807,lease_dom=?", [boot])
        self.assertEqual(self.lines("show", "a")[0]["holder"]["owner_id"], "o")
        self.assertEqual([row["phase"] for row in self.lines("list")], ["running"])
        self.errs(7, "leased", "job", "complete", "a", SUCCESS)
        told = json.loads(self.viv("job", "complete", "--json", "a", SUCCESS).err)
        self.assertEqual(told["holder"], {"owner_id": "o", "fence": 1, "expires_ms": 9223372036854775807})
        self.job("complete", "a", SUCCESS, "--force")

    def test_abandon(self):
        self.external("a")
        request = self.lines("abandon", "a", "--reason", "r")[0]["abandon_request"]
        self.assertEqual((request["reason"], request["by"]), ("r", "viv job abandon"))
        self.assertEqual(self.lines("show", "a")[0]["status"], "running")
        self.errs(6, "not_found", "job", "abandon", "b")

    def grants(self):
        with sqlite3.connect(self.dir / "s.db") as store:
            return store.execute("SELECT scope_id,descriptor FROM grants ORDER BY 1").fetchall()

    def test_grant(self):
        self.external("a")
        self.job("grant", "a", "s/f", "--rights", "read,await")
        self.assertEqual(self.grants(), [("session:s/frame:f", '{"rights":["read","await"]}')])
        self.job("grant", "a", "t", "--transfer", "s/f")
        self.assertEqual(self.grants(), [("session:t", '{"rights":["read","await"]}')])
        self.errs(7, "not_granted", "job", "grant", "a", "t", "--transfer", "s/f")
        self.job("grant", "a", "t", "--revoke")
        self.job("grant", "a", "t", "--revoke")
        self.assertEqual(self.grants(), [])
        self.errs(2, "invalid", "job", "grant", "a", "s", "--rights", "fly")
        self.errs(6, "not_found", "job", "grant", "b", "s")
        self.refused(self.viv("job", "grant", "a", "s", "--revoke", "--rights", "read"), 2, "exclude")

    def test_scope_delete(self):
        self.external("a", "--grant", "s", "--grant", "s/f")
        self.external("b", "--grant", "s", "--grant", "t")
        self.assertEqual(self.lines("scope-delete", "s", "--cancel", "--drop-wakes"),
                         [{"session": "s", "revoked_grant_count": 3, "deleted_wake_count": 0,
                           "orphaned_process_ids": ["a"], "preserved_process_ids": ["b"]}])
        self.assertEqual(self.lines("show", "a")[0]["cancel_request"]["reason"], "scope deleted")
        self.assertEqual(self.job("scope-delete", "t"), "grants 1, wakes 0\norphaned b\n")

    def test_prune(self):
        for name, label in (("a", "x"), ("b", "y"), ("c", "x")):
            self.external(name, "--label", label)
        self.job("complete", "a", SUCCESS)
        self.job("complete", "b", FAILURE)
        self.assertEqual(self.lines("prune", "--before", "-1h")[0]["processes"], 0)
        counted = self.lines("prune", "--before", "+1h", "--dry-run")[0]
        self.assertEqual((counted["processes"], counted["events"]), (2, 2))
        self.assertEqual(self.lines("prune", "--before", "+1h", "--label", "x")[0]["processes"], 1)
        self.assertEqual(self.lines("prune", "--before", "+1h", "--status", "completed")[0]["processes"], 0)
        cursor = self.lines("changes")[-1]["cursor"]
        self.assertIn("processes    1\n", self.job("prune", "--before", "+1h", "--cursor", cursor))
        self.assertEqual([row["id"] for row in self.lines("list")], ["c"])
        self.refused(self.viv("job", "prune"), 2, "--before")


class Store(JobTest):
    """viv store."""

    def test_a_file_of_others_is_left_alone(self):
        path = pathlib.Path(self.file("notes", "not a database"))
        for command in (("job", "list"), ("store", "init"), ("store", "check"), ("worker", "--once")):
            ended = self.viv(*command, "--store", f"sqlite:{path}")
            self.assertEqual((ended.status, ended.out), (8, ""), command)
            self.assertIn("not a database", ended.err)
        self.assertEqual(path.read_text(encoding="utf-8"), "not a database")
        self.assertEqual([entry.name for entry in self.dir.iterdir() if entry.name.startswith("notes")], ["notes"])
        self.assertEqual(self.viv("job", "list", "--store", f"sqlite:{self.dir}").status, 2)

    def test_a_list_that_cannot_be_written(self):
        self.assertEqual(self.viv("job", "start", "--external").status, 0)
        with open("/dev/full", "wb") as full:
            self.refused(self.viv("job", "list", stdout=full), 1, "cannot write to standard output")

    def test_nobody_else_reads_it(self):
        url = f"sqlite:{self.dir}/own.db"
        self.assertEqual(self.viv("store", "init", "--store", url).status, 0)
        modes = {entry.name: entry.stat().st_mode & 0o777 for entry in self.dir.iterdir() if entry.name.startswith("own.db")}
        self.assertIn("own.db", modes)
        self.assertEqual(set(modes.values()), {0o600}, modes)

    def test_what_is_mistyped_is_not_made(self):
        ended = self.viv("worker", "--once", "--store", f"sqlite:{self.dir}/typo.db")
        self.assertEqual(ended.status, 8)
        self.assertIn("no store is there", ended.err)
        self.assertFalse((self.dir / "typo.db").exists())
        ended = self.viv("store", "init", "--store", f"sqlite:{self.dir}/none/x.db")
        self.assertEqual(ended.status, 8)
        self.assertIn("No such file or directory", ended.err)

    def test_init(self):
        self.refused(self.viv("store", "stats"), 8, "no store is there")
        made = self.viv("store", "init", "--json")
        self.assertEqual((made.status, json.loads(made.out)["url"]), (0, self.url))
        self.assertEqual(self.viv("store", "init").out, "")
        self.assertEqual(self.viv("store", "init", f"sqlite:{self.dir}/other.db").status, 0)
        self.assertTrue((self.dir / "other.db").is_file())
        self.refused(self.viv("store", "init", "ftp:x"), 2, "--store")
        self.refused(self.viv("store", "init", "sqlite:/nowhere/x.db"), 8)
        self.refused(self.viv("store", "stats", "sqlite:" + self.file("text", "no database\n" * 400)), 8)

    def test_stats(self):
        self.external("a")
        stats = json.loads(self.viv("store", "stats", "--json").out)
        self.assertEqual((stats["running"], stats["completed"], stats["outbox"], stats["schema"]), (1, 0, 0, 1))
        self.assertRegex(self.viv("store", "stats").out, r"(?m)^running +1$")

    def test_check(self):
        self.external("a")
        self.assertEqual(self.viv("store", "check"), (0, "", ""))
        with sqlite3.connect(self.dir / "s.db") as store:
            store.execute("UPDATE proc SET last_seq=7")
        ended = self.viv("store", "check", "--json")
        self.assertEqual((ended.status, ended.err), (1, ""))
        self.assertEqual(json.loads(ended.out), {"rule": "I1", "text": "a: its log has a gap"})

    def test_versions(self):
        self.external("a")
        self.assertEqual(json.loads(self.viv("store", "migrate", "--json").out), {"schema": 1})
        with sqlite3.connect(self.dir / "s.db") as store:
            store.execute("UPDATE meta SET value=2 WHERE key='schema'")
        self.assertEqual([row["id"] for row in self.lines("list")], ["a"])  # it can be read, and not written
        self.errs(8, "newer", "job", "cancel", "a")
        self.refused(self.viv("worker", "--once"), 8, "newer")
        with sqlite3.connect(self.dir / "s.db") as store:
            store.execute("UPDATE meta SET value=2 WHERE key='min_reader'")
        self.errs(8, "newer", "job", "list")
        self.refused(self.viv("store", "migrate"), 8, "version 2")

    def test_gc(self):
        module = b"\0asm\1\0\0\0"
        self.job("start", "--id", "a", "--wasm", self.file("m.wasm", module))
        self.job("cancel", "a", "--now")
        gone = json.loads(self.viv("store", "gc", "--grace", "0s", "--json").out)
        self.assertEqual(gone, {"blobs": 0, "bytes": 0})
        self.job("prune", "--before", "+1h")
        self.assertEqual(json.loads(self.viv("store", "gc", "--json").out)["blobs"], 0)
        time.sleep(0.01)  # a blob has to be older than the grace
        self.assertEqual(json.loads(self.viv("store", "gc", "--grace", "0s", "--json").out),
                         {"blobs": 1, "bytes": len(module)})

    def test_backup(self):
        self.external("a")
        copy = f"{self.dir}/copy.db"
        self.assertEqual(self.viv("store", "backup", "--to", copy), (0, "", ""))
        self.assertEqual(self.viv("store", "check", f"sqlite:{copy}"), (0, "", ""))
        self.assertEqual([row["id"] for row in self.lines("list", "--store", f"sqlite:{copy}")], ["a"])
        cursor = self.lines("changes")[-1]["cursor"]
        self.errs(1, "cursor", "job", "changes", "--cursor", cursor, "--store", f"sqlite:{copy}")
        self.refused(self.viv("store", "backup", "--to", copy), 1, "is there already")
        self.refused(self.viv("store", "backup"), 2, "--to FILE")

    def test_usage(self):
        for args in ([], ["fly"], ["init", "a", "b"], ["init", "--to", "x"], ["check", "--grace", "1s"]):
            with self.subTest(args=args):
                self.refused(self.viv("store", *args), 2, "(viv help store)")


if __name__ == "__main__":
    unittest.main()
