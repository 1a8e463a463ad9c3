#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a program may do, by the options of `viv run`: policy text and its errors, profiles, the gates of every
class (contract on resources, section 6 and cases 47, 61, 63)."""

import collections
import os
import pathlib
import re
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from policy_cli import DENIED, NOTCAPABLE, NOTFOUND, PolicyTest  # noqa: E402
from viv_cli import FACTOR, SOURCE  # noqa: E402

TOLD = '(module (import "wasi_snapshot_preview1" "proc_exit" (func $e (param i32))) ' \
       '(func (export "_start") (call $e (i32.const 42))))'
TRAP = "trap"


# ---- the text ----

# A line, the column of what is wrong with it, and a part of what is said of it.
WRONG_LINES = (
    ("alow entropy", 1, "no such statement: alow"),
    ("  alow entropy", 3, "no such statement"),
    ("\tallow", 7, "no such class"),
    ("allow nope", 7, "no such class: nope"),
    ("allow net", 7, "no such class: net"),
    ("allow Entropy", 7, "no such class"),
    ('allow "entropy"', 7, "no such class"),
    ("allow =a", 7, "no such class"),
    ("allow entropy foo", 15, "only `grantable` and `unenforced` may follow"),
    ("allow entropy grantable grantable", 25, "said twice"),
    ("allow entropy=x", 15, "the class takes no patterns"),
    ("allow name.register=a,,b", 23, "an empty pattern"),
    ("allow name.register=a,", 23, "an empty pattern"),
    ("allow name.register=,a", 21, "an empty pattern"),
    ('allow name.register="a', 21, "a quote that does not end"),
    ('allow name.register=a"b"', 22, "quotes are around a whole pattern"),
    ("allow name.register=a.*.b", 23, "`*` stands for whole segments"),
    ("allow time.read=sun", 17, "unknown word"),
    ("allow net.tls=server,none", 22, "unknown word"),
    ("allow res.share=channel,nothing", 25, "unknown word"),
    ("allow chan.create=big", 19, "a size is an integer with K, M or G"),
    ("allow chan.read=5", 17, "#shard.index.generation"),
    ("allow native.spawn=git", 20, "absolute path"),
    ("allow net.connect=tcp:any:99999", 27, "a port is a number up to 65535"),
    ("allow net.connect=tcp:any", 26, "the ports are missing"),
    ("allow net.connect=ftp:any:80", 19, "net.connect"),
    ("allow fs=.:q", 12, "rights are letters of r w c d x"),
    ("allow fs=../..", 10, "a directory with `..`"),
    ("allow fs=nowhere", 10, "cannot open directory"),
    ("allow fs=.,nowhere:r", 12, "cannot open directory"),
    ("allow fs=.::", 13, "not a directory of the guest"),
    ("limit", 6, "no such limit"),
    ("limit speed=1", 7, "no such limit: speed"),
    ("limit memory", 13, "`=` is due"),
    ("limit memory =1", 13, "`=` is due"),
    ("limit memory=", 14, "a size such as 64M is due"),
    ("limit memory=much", 14, "a size such as 64M is due: much"),
    ("limit memory=-1", 14, "a size such as 64M is due"),
    ("limit cpu=50", 11, "a percentage such as 50% is due"),
    ("limit cpu=0%", 11, "a percentage"),
    ("limit wall=0", 12, "a duration such as 30s is due"),
    ("limit wall=soon", 12, "a duration"),
    ("limit processes=many", 17, "a number is due"),
    ("limit processes=" + "9" * 30, 17, "a number is due"),
    ("limit processes=" + "9" * 300, 17, "a number is due"),
    ("limit memory=1M kill", 17, "the limit does not have this action"),
    ("limit mailbox=5 drop", 17, "the limit does not have this action"),
    ("limit output=5 refuse", 16, "the limit does not have this action"),
    ("limit mailbox=5 burn", 17, "an action is refuse, suspend, drop or kill"),
    ("limit mailbox=5 kill kill", 22, "unexpected text"),
    ("use", 4, "no such profile"),
    ("use everything", 5, "no such profile: everything"),
    ("use none guest", 10, "unexpected text"),
    ("ceiling", 8, "a ceiling is held or parent"),
    ("ceiling above", 9, "a ceiling is held or parent"),
    ("close-on-revoke now", 17, "unexpected text"),
    ("allow \33[31mred", 7, "no such class: ?[31mred"),
    ("\0", 1, "no such statement"),
    ("allow name.register=a\0b", 22, "a control character"),
)


class Text(PolicyTest):
    """Policy text: every error with line and column, and then nothing is run."""

    def setUp(self):
        super().setUp()
        self.told = self.file("told.wat", TOLD)

    def policy(self, content, *options):
        return self.viv("run", "--policy", self.file("p.policy", content), *options, self.told)

    def test_every_error(self):
        for text, column, why in WRONG_LINES:
            for before, after in (("", ""), ("use guest\n\n# a comment\n", "\nallow entropy\n")):
                with self.subTest(text=text, before=before):
                    line = 1 + before.count("\n")
                    self.refused(self.policy(before + text + after), 2,
                                 "viv: run: --policy ", f"line {line}, column {column}: ", why)

    def test_the_same_as_options(self):
        """--allow, --limit and --use take a line without its first word; columns are those of the value."""
        for text, column, why in WRONG_LINES:
            option, blank, value = text.partition(" ")
            if option not in ("allow", "limit", "use") or not blank or "\0" in text:
                continue
            with self.subTest(text=text):
                ended = self.viv("run", f"--{option}", value, self.told)
                self.refused(ended, 2, f"viv: run: --{option}: line 1, column {column - len(option) - 1}: ", why)

    def test_one_line_in_an_option(self):
        for option, value in (("--allow", "entropy\nuse all"), ("--limit", "memory=1M\nuse all"),
                              ("--use", "none\nuse all"), ("--use", "none\n")):
            with self.subTest(value=value):
                self.refused(self.viv("run", option, value, self.told), 2, "unexpected text")

    def test_all_or_nothing_of_several(self):
        """The first option that is wrong is told; good ones before it do not help."""
        self.refused(self.viv("run", "--use", "all", "--limit", "memory=1G", "--allow", "fs=nowhere", self.told), 2,
                     "--allow: line 1, column 4")

    def test_what_is_well_formed(self):
        for text in ("", "\n\n", "# nothing\n", "use none", "use none\r\nallow entropy\r\n", "\tuse\tnone\t# so\n",
                     "allow entropy grantable unenforced\n", "allow entropy=\n", 'allow name.register="a b","c"\n',
                     "allow name.register=a, b,  c\n", 'allow name.register="a""b"\n',
                     "limit memory=none\nlimit cpu=50%\nlimit mailbox=10 refuse # so\n",
                     "ceiling parent\nceiling held\nclose-on-revoke\n", "use none\nuse guest\nuse open\nuse all\n",
                     "allow fs=.::/here:r, .:rwcdx\n", "allow net.connect=tcp:*.example.com:443,udp:[::1]:1-9\n"):
            with self.subTest(text=text):
                self.assertEqual(self.policy(text)[0], 42)

    def test_what_is_no_file(self):
        os.mkdir(self.dir / "folder")
        os.mkfifo(self.dir / "fifo")
        os.symlink("loop", self.dir / "loop")
        for name, why in (("nowhere", "No such file or directory"), ("folder", "Is a directory"),
                          ("", "No such file or directory"), ("loop", "Too many levels of symbolic links"),
                          ("/dev/zero", "not a regular file"), ("/dev/null", "not a regular file")):
            with self.subTest(name=name):
                self.refused(self.viv("run", "--policy", name, self.told), 2, "viv: run: --policy: ", why)
        # Nobody writes to the fifo, and nobody waits for that.
        began = time.monotonic()
        self.refused(self.viv("run", "--policy", "fifo", self.told), 2, "--policy: cannot read fifo: not a regular file")
        self.assertLess(time.monotonic() - began, 5 * FACTOR)

    def test_large_ones(self):
        """Ten megabytes are read or refused, and soon."""
        size = 10 << 20
        names = "allow name.register="
        for what, text, status, why in (
            ("comments", "# a comment of some length\n" * (size // 27), 42, ""),
            ("one comment", "#" * size, 42, ""),
            ("empty lines", "\n" * size, 42, ""),
            ("blanks", " " * size, 42, ""),
            ("profiles", "use open\n" * (size // 9), 42, ""),
            ("one word", "a" * size, 2, "line 1, column 1: no such statement"),
            ("zeros", "\0" * size, 2, "line 1, column 1: no such statement"),
            ("one pattern", names + "a" * size, 2, "line 1, column 21: a pattern of more than 4096 bytes"),
            ("quotes", names + '"' * size, 2, "line 1, column 21"),
            ("patterns", names + ",".join(f"n{i}" for i in range(size // 8)), 2, "more than 4096 patterns"),
            ("lines", "".join(f"{names}n{i}\n" for i in range(size // 27)), 2, "line 4097, column 21: more than 4096"),
            ("a limit", "limit memory=" + "1" * size, 2, "line 1, column 14: a size"),
            ("an error at the end", "# so\n" * (size // 5) + "alow", 2, f"line {size // 5 + 1}, column 1"),
            ("too much", "#" * (17 << 20), 2, "more than 16777216 bytes"),
        ):
            with self.subTest(what=what):
                began = time.monotonic()
                ended = self.policy(text)
                self.assertLess(time.monotonic() - began, 10 * FACTOR)
                if status == 42:
                    self.assertEqual(ended.status, 42)
                else:
                    self.refused(ended, status, why)

    def test_options_of_other_kinds(self):
        for options, why in (
            (("--audit", ""), "want a FILE"), (("--audit", "none/x"), "cannot write none/x: No such file"),
            (("--audit", "."), "cannot write .: Is a directory"),
            (("--dir", ""), "want HOST or HOST::GUEST"), (("--dir", ".::"), "want HOST or HOST::GUEST"),
            (("--env", "=x"), "want KEY=VALUE"), (("--policy",), "no FILE given"), (("--max-memory", "0"), "want a size"),
        ):
            with self.subTest(options=options):
                self.refused(self.viv("run", *options, self.told), 2, why)


class Profiles(PolicyTest):
    """What a profile gives, and how options add up."""

    def test_open_is_the_default(self):
        for options in ((), ("--use", "open")):
            with self.subTest(options=options):
                self.assertEqual(self.number("random", options=options), 0)
                self.assertEqual(self.number("environ", env={"A": "b"}, options=options), len(self.env) + 1)
                self.assertEqual(self.number("create", f"n{len(options)}", options=options), 0)

    def test_guest(self):
        """Processes and names, clock and random bytes; no files, no variables."""
        guest = ("--use", "guest")
        for action, result in (("random", 0), ("clock 0", 0), ("environ", 0), ("prestat 3", 8), ("spawn", 1),
                               ("register a.b", 0), ("kill", 0), ("channel 64", 0), ("module", 0)):
            with self.subTest(action=action):
                self.assertEqual(self.number(*action.split(), options=guest), result)

    def test_none(self):
        none = ("--use", "none")
        for action, result in (("random", NOTCAPABLE), ("clock 0", NOTCAPABLE), ("environ", 0), ("prestat 3", 8),
                               ("spawn", DENIED), ("kill", DENIED), ("channel 64", DENIED), ("module", DENIED)):
            with self.subTest(action=action):
                self.assertEqual(self.number(*action.split(), options=none), result)

    def test_all(self):
        for action, result in (("random", 0), ("kill", 0), ("spawn_named", 1)):
            self.assertEqual(self.number(*action.split(), options=("--use", "all")), result)

    def test_they_add_up(self):
        path = self.file("p", "use none\nallow entropy\n")
        self.assertEqual(self.number("random", options=("--policy", path)), 0)
        self.assertEqual(self.number("clock", "0", options=("--policy", path)), NOTCAPABLE)
        self.assertEqual(self.number("clock", "0", options=("--policy", path, "--allow", "time.read")), 0)
        self.assertEqual(self.number("clock", "0", options=("--policy", path, "--use", "guest")), 0)
        self.assertEqual(self.number("clock", "0", options=("--use", "guest", "--use", "none")), 0)
        # An option that only adds leaves the default profile; a policy replaces it.
        self.assertEqual(self.number("clock", "0", options=("--allow", "entropy")), 0)
        self.assertEqual(self.number("clock", "0", options=("--policy", self.file("e", ""))), NOTCAPABLE)

    def test_what_is_taken_away(self):
        self.assertEqual(self.number("prestat", "3", options=("--no-dir",)), 8)
        self.assertEqual(self.number("prestat", "3", options=("--no-dir", "--allow", "fs=.:r")), 0)
        self.assertEqual(self.number("environ", options=("--no-env",)), 0)
        self.assertEqual(self.number("environ", options=("--no-env", "--env", "A=b")), 1)

    def test_variables_by_name(self):
        env = {"APP_A": "1", "APP_B": "2", "SECRET": "3"}
        for allow, count in (("env.read=APP_A", 1), ("env.read=APP_A,SECRET", 2), ("env.read=", 0), ("env.read=NONE", 0),
                             ("env.read", len(self.env) + 3)):
            with self.subTest(allow=allow):
                self.assertEqual(self.number("environ", env=env, options=("--use", "none", "--allow", allow)), count)

    def test_63_a_module_that_imports_everything(self):
        """Under profile none it instantiates and ends."""
        letters = {"i": "i32", "I": "i64", "f": "f32", "F": "f64"}
        imports = []
        for line in (SOURCE / "gen" / "wasm_imports.tab").read_text(encoding="utf-8").splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            space, name, params, result = (part.strip() for part in line.split("|")[:4])
            params = "" if params == "-" else f"(param {' '.join(letters[letter] for letter in params)})"
            result = "" if result == "-" else f"(result {letters[result]})"
            imports.append(f'(import "{space}" "{name}" (func {params} {result}))')
        self.assertGreater(len(imports), 200)
        text = "(module\n" + "\n".join(imports) + '\n(memory (export "memory") 1)\n' + TOLD[len("(module "):]
        text = text.replace('(import "wasi_snapshot_preview1" "proc_exit" (func (param i32) ))\n', "")
        # Imports come before all else.
        text = text.replace('(memory (export "memory") 1)\n', "")
        path = self.file("all.wat", text)
        for profile in ("none", "guest", "all"):
            with self.subTest(profile=profile):
                self.assertEqual(self.viv("run", "--use", profile, path), (42, "", self.failed_line("all.wat", 42)))

    def failed_line(self, name, status):
        return f"viv: process <0.1.0> '_start' of {name} failed: exited({status}), 0 links told\n"


# ---- case 47: every class that an import asks for ----

Gate = collections.namedtuple("Gate", "action cap operation denied admitted good bad base object", defaults=("", ""))
SELF, ENV = ("self", "children", "env"), ("env",)
GATES = (
    Gate("clock 0", "time.read", "clock_time_get", NOTCAPABLE, 0, ("wall",), ("mono", "cpu")),
    Gate("clock 1", "time.read", "clock_time_get", NOTCAPABLE, 0, ("mono", "wall,mono"), ("wall", "cpu")),
    Gate("clock 2", "time.read", "clock_time_get", NOTCAPABLE, 0, ("cpu",), ("wall,mono",)),
    Gate("clock_res 0", "time.read", "clock_res_get", NOTCAPABLE, 0, ("wall",), ("cpu",)),
    Gate("poll 0", "time.timer", "poll_oneoff", NOTCAPABLE, 0, ("wall",), ("mono",)),
    Gate("poll 1", "time.timer", "poll_oneoff", NOTCAPABLE, 0, ("mono",), ("wall",)),
    Gate("random", "entropy", "random_get", NOTCAPABLE, 0, (), ()),
    Gate("spawn", "proc.spawn", "spawn", DENIED, 1, ("wasm", "policy_guest.wasm"), ("beam", "native", "other.*")),
    Gate("spawn_named", "name.register", "spawn", DENIED, 1, ("some.name", "some.*"), ("other", "some"), "proc.spawn"),
    Gate("viv_link", "proc.link", "link", DENIED, 0, ENV, ("self", "children", "descendants")),
    Gate("monitor", "proc.link", "monitor", DENIED, 0, ENV, ("self", "children", "descendants")),
    Gate("send", "msg.send", "send", DENIED, 0, ENV, ("self", "children", "some.name")),
    Gate("send_self", "msg.send", "send", DENIED, 0, SELF, ("some.name",)),
    Gate("send_handle", "res.send", "send", DENIED, 0, ("module",), ("channel",), "msg.send"),
    Gate("take", "res.receive", "take", DENIED, 0, ("module",), ("channel",), "msg.send res.send time.timer"),
    Gate("exit", "proc.signal", "exit", DENIED, 0, ("env", "exit"), ("kill", "self", "children")),
    Gate("kill", "proc.signal", "exit", DENIED, 0, ("env", "kill"), ("exit", "self", "children")),
    Gate("register some.name", "name.register", "register", DENIED, 0, ("some.name", "some.*"), ("some", "other.*")),
    Gate("unregister some.name", "name.register", "unregister", DENIED, NOTFOUND, ("some.*",), ("other.*",)),
    Gate("whereis some.name", "name.lookup", "whereis", DENIED, 0, ("some.*",), ("other.*",)),
    Gate("module", "mod.load", "module", DENIED, 0, ("bytes",), ("some.name",)),
    Gate("module_name some.name", "mod.load", "module", DENIED, NOTFOUND, ("some.name",), ("bytes", "other")),
    Gate("timer", "time.timer", "timer", DENIED, 0, ("mono",), ("wall", "cpu")),
    Gate("log", "log.write", "log", DENIED, 0, (), ()),
    Gate("channel 64", "chan.create", "chan_create", DENIED, 0, ("64", "1K"), ("63",)),
    Gate("reader", "chan.read", "chan_reader", DENIED, 0, (), ("#1.1.1",), "chan.create"),
    Gate("writer", "chan.write", "chan_writer", DENIED, 0, (), ("#1.1.1",), "chan.create"),
    Gate("share", "res.share", "res_share", DENIED, 0, ("channel",), ("module",), "chan.create"),
    Gate("attach", "res.attach", "res_attach", DENIED, 0, ("channel",), ("module",), "chan.create res.share"),
    Gate("publish", "singleton.register", "singleton_register", DENIED, 0, (b"0123456789abcdef".hex(),), ("a.b",),
         "chan.create res.share"),
    Gate("lookup", "singleton.lookup", "singleton_lookup", DENIED, NOTFOUND, (b"0123456789abcdef".hex(),), ("a.b",)),
    Gate("future_sleep", "time.timer", "sleep", DENIED, 0, ("mono",), ("wall",)),
    Gate("receive 1000", "time.timer", "receive", DENIED, -22, ("mono",), ("wall", "cpu")),
    Gate("fut_wait 1000", "time.timer", "fut_wait", DENIED, 1, ("mono",), ("wall", "cpu")),
    Gate("l_receive 1", "time.timer", "receive", TRAP, 9027, ("mono",), ("wall",)),
    Gate("l_send", "msg.send", "send", 9027, 0, SELF, ("some.name",), "time.timer"),
    Gate("l_put", "name.register", "put", TRAP, 0, ("some.*",), ("other.*",), "", "some.name"),
    Gate("l_remove", "name.register", "remove", TRAP, 0, ("some.*",), ("other.*",), "", "some.name"),
    Gate("l_get", "name.lookup", "get", 1, 0, ("some.*",), ("other.*",), "name.register"),
    Gate("l_send_after", "time.timer", "send_after", TRAP, 0, ("mono",), ("wall",), "msg.send"),
    Gate("l_send_after", "msg.send", "send_after", TRAP, 0, ENV, ("self",), "time.timer", "<0."),
    Gate("l_compile", "mod.load", "compile_module", -1, 0, ("bytes",), ("some.name",)),
    Gate("l_create_config", "proc.config", "create_config", -1, 0, (), ()),
    Gate("l_spawn", "proc.spawn", "spawn", TRAP, 0, ("wasm",), ("native",)),
    Gate("l_get_or_spawn", "proc.spawn", "get_or_spawn", TRAP, 0, ("wasm",), ("native",), "name.lookup name.register"),
    Gate("l_get_or_spawn", "name.lookup", "get_or_spawn", TRAP, 0, ("some.*",), ("other.*",),
         "proc.spawn name.register", "some.name"),
    Gate("l_get_or_spawn", "name.register", "get_or_spawn", TRAP, 0, ("some.*",), ("other.*",),
         "proc.spawn name.lookup", "some.name"),
    Gate("l_sleep", "time.timer", "sleep_ms", TRAP, 0, ("mono",), ("wall",)),
    Gate("l_link", "proc.link", "link", TRAP, 0, SELF, (), "", "<0."),
    Gate("l_monitor", "proc.link", "monitor", TRAP, 0, ENV, ("self", "children"), "", "<0."),
    Gate("l_kill", "proc.signal", "kill", 0, 0, ("env", "kill"), ("exit", "children")),
    Gate("l_exists", "proc.inspect", "exists", 0, 1, SELF, ()),
    Gate("l_counter", "metrics.write", "counter", 0, 0, ("some.*",), ("other.*",)),
)


class Gates(PolicyTest):
    """Without its class each call is denied, in the form of its interface, and the audit names the class; with it, it
    does what it should."""

    def policy_of(self, gate, line):
        lines = ["use none", *(f"allow {cap}" for cap in gate.base.split())]
        return self.file("p.policy", "\n".join([*lines, line, ""]))

    def run_gate(self, gate, line):
        return self.act(*gate.action.split(), options=("--policy", self.policy_of(gate, line), "--audit", "audit.jsonl"))

    def check_denied(self, gate, line):
        ended = self.run_gate(gate, line)
        if gate.denied == TRAP:
            self.assertEqual((ended.status, ended.out), (134, ""), ended)
            self.assertIn(f": permission denied: {gate.cap}{' ' * bool(gate.object)}{gate.object}", ended.err)
        else:
            self.assertEqual((ended.status, ended.out, ended.err), (0, f"{gate.denied}\n", ""))
        found = self.denials()
        self.assertEqual([(event["class"], event["operation"], event["outcome"], event["count"]) for event in found],
                         [(gate.cap, gate.operation, "DENIED", 1)], found)

    def check_admitted(self, gate, line):
        self.assertEqual(self.run_gate(gate, line), (0, f"{gate.admitted}\n", ""))
        self.assertEqual(self.denials(), [])

    def test_denied(self):
        for gate in GATES:
            lines = ["", f"allow {gate.cap}=", *(f"allow {gate.cap}={pattern}" for pattern in gate.bad)]
            if not gate.good and not gate.bad:
                lines = lines[:1]  # a class without patterns
            for line in lines:
                with self.subTest(action=gate.action, line=line):
                    self.check_denied(gate, line)

    def test_admitted(self):
        for gate in GATES:
            for line in (f"allow {gate.cap}", *(f"allow {gate.cap}={pattern}" for pattern in gate.good)):
                with self.subTest(action=gate.action, line=line):
                    self.check_admitted(gate, line)

    def test_environment_and_files(self):
        """What is not denied call by call: variables are not shown, directories not there."""
        options = ("--use", "none", "--audit", "audit.jsonl")
        self.assertEqual(self.number("environ", env={"A": "b"}, options=options), 0)
        found = self.denials()
        self.assertEqual({(event["class"], event["operation"]) for event in found}, {("env.read", "environ_sizes_get")})
        self.assertIn("A", {event["object"] for event in found})
        self.assertEqual(self.number("prestat", "3", options=options), 8)
        self.assertEqual(self.number("open_at", "3", "x", options=options), 8)

    def test_times_of_a_process_are_clocks(self):
        for allow, result in (((), 0), (("cpu",), 1), (("mono",), 2), (("cpu", "mono"), 3), (("wall",), 0)):
            options = ["--use", "none"]
            for one in allow:
                options += ["--allow", f"time.read={one}"]
            with self.subTest(allow=allow):
                self.assertEqual(self.number("times", options=options), result)

    def test_waits_without_a_clock(self):
        """What looks once, or waits for as long as it takes, is no sleep."""
        options = ("--use", "none", "--allow", "msg.send", "--audit", "audit.jsonl")
        for action, result in (("receive 0", -22), ("receive -1", 0), ("fut_wait 0", 1), ("l_receive 0", 9027)):
            with self.subTest(action=action):
                self.assertEqual(self.number(*action.split(), options=options), result)
                self.assertEqual(self.denials(), [])

    def test_ages_of_things_are_clocks(self):
        self.file("file", "content")
        for allow, result in (((), 0), (("mono",), 1), (("wall",), 2), (("wall", "mono"), 3), (("cpu",), 0)):
            options = ["--use", "none", "--dir", "."] + [f"--allow={name}" for name in ("chan.create", "time.timer")]
            options += [f"--allow=time.read={one}" for one in allow]
            with self.subTest(allow=allow):
                self.assertEqual(self.number("ages", "file", options=options), result)

    def test_no_class_is_forgotten(self):
        """Every class that the sources of the imports name has a row here."""
        asked = set()
        for path in (SOURCE / "src" / "wasm").glob("*.c"):
            if path.name != "may.c":
                asked |= set(re.findall(r"viv_may\w*\(\s*inst,\s*VIV_CAP_(\w+)", path.read_text(encoding="utf-8")))
        asked |= {"PROC_SPAWN", "PROC_SIGNAL"}  # asked by functions of their own
        known = {gate.cap.upper().replace(".", "_") for gate in GATES} | {"ENV_READ", "FS"}
        self.assertGreater(len(asked), 10)
        self.assertEqual(asked - known, set())

    def test_cap_check(self):
        for allow, pattern, result in ((None, "", DENIED), ("entropy", "", 0), (None, "wall", -14)):
            options = ["--use", "none"] + (["--allow", allow] if allow else [])
            self.assertEqual(self.number("check", "29", pattern, options=options), result, (allow, pattern))
        options = ("--use", "none", "--allow", "name.register=some.*")
        for pattern, result in (("some.name", 0), ("some.*", 0), ("other", DENIED), ("", DENIED)):
            self.assertEqual(self.number("check", "7", pattern, options=options), result, pattern)
        self.assertEqual(self.number("check", "54", "", options=options), -24)

if __name__ == "__main__":
    unittest.main(verbosity=2)
