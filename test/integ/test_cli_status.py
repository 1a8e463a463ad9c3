#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How programs end, as a user sees it: exit status, the line that tells of a failure, its backtrace, log
levels (contract 2.5; cases 100 and 119)."""

import os
import pathlib
import pty
import select
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from viv_cli import GUEST, RETURNS, SECONDS, VIV, CliTest, start_module  # noqa: E402

PID = r"<0\.\d+\.\d+>"
DIVIDES = b"\x41\1\x41\0\x6d\x1a"  # i32.const 1, i32.const 0, i32.div_s, drop; the division at offset 39


class Status(CliTest):
    """Case 100, and the table of reasons of 2.5."""

    def test_exit(self):
        for code, status in ((0, 0), (3, 3), (255, 255), (256, 255), (300, 255), (100000, 255)):
            for workers in ("1", "4"):
                with self.subTest(code=code, workers=workers):
                    self.assertEqual(self.guest("exit", code, options=["--workers", workers]).status, status)

    def test_a_good_end_says_nothing(self):
        self.assertEqual(self.viv("run", self.file("a.wat", RETURNS)), (0, "", ""))
        self.assertEqual(self.guest("exit", 0), (0, "", ""))
        self.assertEqual(self.guest("exit", 0, env={"VIV_LOG": "info"}), (0, "", ""))

    def test_trap(self):
        for engine in ("many", "fast"):
            self.assertEqual(self.guest("trap", options=["--engine", engine]).status, 134)

    def test_each_kind_of_end(self):
        """viv_exit of itself with a kind; code 1."""
        for kind, status, text in ((0, 0, None), (1, 0, None), (2, 137, "killed"), (3, 1, "noproc"),
                                   (4, 1, "noconnection"), (5, 1, "error: why"), (7, 1, r"exited\(1\)"),
                                   (8, 129, "signaled"), (9, 137, r"limit\(memory\)")):
            with self.subTest(kind=kind):
                ended = self.guest("end", kind, "error: why")
                self.assertEqual(ended.status, status, ended)
                if text is None:
                    self.assertEqual(ended.err, "")
                else:
                    self.assertRegex(ended.err, rf"\Aviv: process {PID} '_start' of cli_guest\.wasm failed: "
                                                rf"[^\n]*{text}[^\n]*\n\Z")

    def test_the_others_end_with_main(self):
        for entry in ("spinner", "waiter"):
            ended = self.guest("children", entry, 20, options=["--max-time", "300ms"])
            self.assertEqual(ended.status, 137)
            self.assertEqual(ended.err.count("failed: limit(time)"), ended.err.count("\n"))


class Failures(CliTest):
    """Case 119: what stderr says."""

    def told(self, path, text, status, *more, **env):
        ended = self.viv("run", path, env=env)
        self.assertEqual((ended.status, ended.out), (status, ""))
        lines = ended.err.splitlines()
        self.assertRegex(lines[0], rf"\Aviv: process {PID} '_start' of {text}, 0 links told\Z")
        self.assertEqual(lines[1:], list(more))

    def test_main_traps(self):
        path = self.file("div.wasm", start_module(DIVIDES))
        self.told(path, r"div\.wasm failed: integer_division_by_zero in func\[0\] \(div\.wasm\+0x27\)", 134,
                  "   0: func[0] (div.wasm+0x27)")

    def test_backtrace_of_main(self):
        """Names, innermost first, at most 20 frames."""
        text = """(module
            (func $down (param i32)
              (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1))))
                (else (drop (i32.div_u (i32.const 1) (i32.const 0))))))
            (func (export "_start") (call $down (i32.const DEPTH))))"""
        lines = self.viv("run", self.file("deep.wat", text.replace("DEPTH", "1"))).err.splitlines()
        self.assertEqual([line.split(" (")[0].strip() for line in lines[1:]],
                         ["0: down", "1: down", "2: func[1]"])
        lines = self.viv("run", self.file("deep.wat", text.replace("DEPTH", "100"))).err.splitlines()
        self.assertEqual(sum(" (deep.wat+0x" in line for line in lines[1:]), 20)

    def test_traps_have_their_names(self):
        for name, body in (
            ("unreachable", "unreachable"),
            ("integer_division_by_zero", "(drop (i32.div_u (i32.const 1) (i32.const 0)))"),
            ("integer_overflow", "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))"),
            ("bad_conversion_to_integer", "(drop (i32.trunc_f32_s (f32.const nan)))"),
            ("memory_out_of_bounds", "(drop (i32.load (i32.const 65536)))"),
            ("indirect_call_to_null", "(call_indirect (i32.const 0))"),
            ("table_out_of_bounds", "(call_indirect (i32.const 9))"),
            ("bad_signature", "(drop (call_indirect (result i32) (i32.const 1)))"),
            ("stack_overflow", "(call $main)"),
        ):
            for engine in ("many", "fast"):
                with self.subTest(name=name, engine=engine):
                    path = self.file("t.wat", f'(module (memory 1) (table 2 funcref) (elem (i32.const 1) $main)'
                                              f' (func $main (export "_start") {body}))')
                    ended = self.viv("run", "--engine", engine, path)
                    self.assertEqual(ended.status, 134)
                    self.assertRegex(ended.err, rf"\Aviv: process {PID} '_start' of t\.wat failed: {name} in main ")

    def test_host_function_traps(self):
        path = self.file("h.wat", """(module (import "lunatic::process" "drop_module" (func $drop (param i64)))
            (memory (export "memory") 1) (func $main (export "_start") (call $drop (i64.const 77))))""")
        ended = self.viv("run", path)
        self.assertEqual(ended.status, 134)
        self.assertRegex(ended.err.splitlines()[0],
                         rf"\Aviv: process {PID} '_start' of h\.wat failed: "
                         r"lunatic::process::drop_module: .* in main \(h\.wat\+0x[0-9a-f]+\), 0 links told\Z")

    def test_main_is_killed(self):
        path = self.file("k.wat", """(module (import "lunatic::process" "kill" (func $kill (param i64)))
            (import "lunatic::process" "process_id" (func $self (result i64)))
            (import "lunatic::process" "sleep_ms" (func $sleep (param i64)))
            (func (export "_start") (call $kill (call $self)) (call $sleep (i64.const 100000))))""")
        self.told(path, r"k\.wat failed: killed", 137)

    def test_main_has_no_start(self):
        ended = self.viv("run", self.file("n.wat", '(module (func (export "one")) (func (export "two"))'
                                                   ' (memory (export "memory") 1))'))
        self.assertEqual(ended, (1, "", f"viv: {self.dir}/n.wat: exports no _start "
                                        "(--entry NAME; it exports: one, two)\n"))

    def test_start_that_is_no_function(self):
        ended = self.viv("run", self.file("n.wat", '(module (memory (export "_start") 1))'))
        self.refused(ended, 1, "n.wat: exports no _start (--entry NAME; it exports: ")

    def test_many_exports(self):
        """What is exported is shown as far as it fits, and that there is more."""
        functions = "".join(f'(func (export "f{i}"))' for i in range(5000))
        ended = self.viv("run", self.file("n.wat", f"(module {functions})"))
        self.refused(ended, 1, "exports no _start (--entry NAME; it exports: f0, f1, ", ", …)")
        self.assertLess(len(ended.err), 2000)

    def test_import_of_nobody(self):
        path = self.file("i.wat", '(module (import "env" "foo" (func)) (func (export "_start")))')
        self.assertEqual(self.viv("run", path), (1, "", f"viv: {path}: unknown import env.foo\n"))

    def test_one_failed_process_is_one_line(self):
        ended = self.guest("crashes", 5)
        self.assertEqual((ended.status, ended.out), (0, ""))
        lines = ended.err.splitlines()
        self.assertEqual(len(lines), 5)
        for line in lines:
            self.assertRegex(line, rf"\Aviv: process {PID} 'trapper' of cli_guest\.wasm failed: unreachable in "
                                   r"[^ ]+ \(cli_guest\.wasm\+0x[0-9a-f]+\), 0 links told "
                                   r"\(VIV_LOG=debug shows the backtrace\)\Z")
        self.assertEqual(len({line.split()[2] for line in lines}), 5)

    def test_what_a_guest_says_cannot_steer_the_terminal(self):
        ended = self.guest("end", 5, "error: \33[31mred\nviv: forged")
        self.assertEqual(ended.err.count("\n"), 1)
        self.assertNotIn("\33", ended.err)

    def test_names_cannot_steer_the_terminal(self):
        path = self.file("a\33[31m\nviv: b.wat", r'(module (func (export "x\1b[31m\0aviv: y") unreachable))')
        self.refused(self.viv("run", path), 1, "exports no _start")
        ended = self.viv("run", "--entry", "x\33[31m\nviv: y", path)
        self.assertEqual((ended.status, ended.err.count("\n")), (134, 2))
        self.assertNotIn("\33", ended.err)

    def test_exception_that_nobody_catches(self):
        """error(exception, …): status 1."""
        ended = self.viv("run", self.file("e.wat", '(module (tag $t) (func (export "_start") (throw $t)))'))
        self.assertEqual(ended.status, 1)
        self.assertRegex(ended.err, rf"\Aviv: process {PID} '_start' of e\.wat failed: .*exception")


class Log(CliTest):
    """VIV_LOG."""

    def logged(self, level, said):
        return self.guest("log", said, "a line", env={"VIV_LOG": level} if level is not None else {}).err

    def test_levels(self):
        names = ("error", "warn", "info", "debug", "trace")
        for shown, level in enumerate(names):
            for said in range(5):
                with self.subTest(level=level, said=said):
                    lines = [line for line in self.logged(level, said).splitlines() if "a line" in line]
                    self.assertEqual(len(lines), said <= shown)
                    if lines:
                        self.assertRegex(lines[0], rf"{PID} .*a line")
                        self.assertTrue(lines[0].startswith("viv"))

    def test_warn_is_the_default(self):
        for level in (None, "", "loud", "WARN"):
            self.assertEqual(self.logged(level, 1).count("\n"), 1, level)
            self.assertEqual(self.logged(level, 2), "", level)

    def test_errors_only(self):
        self.assertEqual(self.guest("crashes", 3, env={"VIV_LOG": "error"}).err, "")

    def test_debug_shows_the_backtrace(self):
        lines = self.guest("crashes", 1, env={"VIV_LOG": "debug"}).err.splitlines()
        at = next(i for i, line in enumerate(lines) if "'trapper'" in line and "failed" in line)
        self.assertNotIn("VIV_LOG=debug", lines[at])
        self.assertRegex(lines[at + 1], r"\A +0: [^ ]+ \(cli_guest\.wasm\+0x[0-9a-f]+\)\Z")

    def test_stderr_that_is_gone(self):
        """A log that nobody takes changes nothing."""
        with open("/dev/full", "wb") as full:
            self.assertEqual(self.guest("crashes", 3, stderr=full).status, 0)
        self.assertEqual(self.shell(f"{VIV} run {GUEST} crashes 3 2>&-"), 0)

    def shell(self, line):
        return subprocess.run(["sh", "-c", line], cwd=self.dir, env=self.env, timeout=SECONDS, check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


class Terminal(CliTest):
    """Colours only on a terminal; on one, lines end where they should."""

    def on_terminal(self, *args):
        main, other = pty.openpty()
        process = subprocess.Popen([VIV, *args], stdin=other, stdout=other, stderr=other, cwd=self.dir,
                                   env={**self.env, "TERM": "xterm-256color"})
        os.close(other)
        seen, end = b"", time.monotonic() + SECONDS
        while select.select([main], [], [], max(0, end - time.monotonic()))[0]:
            try:
                piece = os.read(main, 65536)
            except OSError:  # the other side was closed
                break
            if not piece:
                break
            seen += piece
        os.close(main)
        return process.wait(timeout=SECONDS), seen

    def test_output_and_status_on_a_terminal(self):
        self.assertEqual(self.on_terminal("run", GUEST, "say", "out", "err "), (0, b"err out\r\n"))
        status, seen = self.on_terminal("run", GUEST, "trap")
        self.assertEqual(status, 134)
        self.assertIn(b" failed: unreachable", seen)

    def test_no_colours_elsewhere(self):
        for env in ({}, {"TERM": "xterm-256color", "VIV_LOG": "trace"}):
            for args in (["run", GUEST, "trap"], ["run", GUEST, "crashes", "1"], ["help"], ["frobnicate"]):
                ended = self.viv(*args, env=env)
                self.assertNotIn("\33", ended.out + ended.err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
