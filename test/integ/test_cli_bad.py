#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files that are no programs, or hostile ones: one clear line, status 1, never a crash (contract, section 6)."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from viv_cli import GUEST, GUESTS, RETURNS, SECONDS, VIV, CliTest, module, start_module  # noqa: E402

MODULE = r"not a WebAssembly module: [^\n]+ \(offset 0x[0-9a-f]+\)"


class NoModule(CliTest):
    """What cannot be read, or is something else."""

    def test_missing(self):
        self.refused(self.viv("run", "none.wasm"), 1, "none.wasm", "No such file or directory")
        self.refused(self.viv("none.wasm"), 1, "none.wasm", "No such file or directory")
        self.refused(self.viv("run", "-"), 1, "No such file or directory")

    def test_no_file(self):
        os.mkdir(self.dir / "dir.wasm")
        os.mkfifo(self.dir / "fifo.wasm")
        os.symlink("loop.wasm", self.dir / "loop.wasm")
        os.symlink("nowhere", self.dir / "dangling.wasm")
        self.file("a")
        for name in ("dir.wasm", "fifo.wasm", "loop.wasm", "dangling.wasm", "a/b.wasm", "/dev/zero", "/dev/null",
                     "x" * 300 + ".wasm", "/".join(["y" * 200] * 10)):
            with self.subTest(name=name[:60]):
                self.refused(self.viv("run", name), 1, name[:60])

    def test_unreadable(self):
        path = self.file("secret.wasm", start_module(b""))
        os.chmod(path, 0)
        if os.geteuid() != 0:
            self.refused(self.viv("run", path), 1, "secret.wasm", "Permission denied")
            return
        # Root reads everything; so another user tries.
        for folder in (self.class_dir, self.dir):
            os.chmod(folder, 0o755)
        build = pathlib.Path(VIV).parent
        if any(not os.stat(folder).st_mode & 1 for folder in (build, *build.parents)):
            self.skipTest("another user cannot reach the program")
        self.refused(self.viv("run", "--no-cache", path, user=65534), 1, "secret.wasm", "Permission denied")

    def test_huge(self):
        """64 MiB at most; nothing of it is read."""
        with open(self.dir / "huge.wasm", "wb") as file:
            file.write(b"\0asm\1\0\0\0")
            file.truncate(1 << 40)
        self.refused(self.viv("run", "huge.wasm"), 1, "huge.wasm")
        with open(self.dir / "over.wasm", "wb") as file:
            file.write(b"\0asm\1\0\0\0")
            file.truncate((64 << 20) + 1)
        self.refused(self.viv("run", "over.wasm"), 1, "over.wasm")
        with open(self.dir / "over.wat", "wb") as file:
            file.write(RETURNS.encode() + b" " * (16 << 20))
        self.refused(self.viv("run", "over.wat"), 1, "over.wat")

    def test_other_formats(self):
        for name, content in {
            "empty.wasm": b"",
            "text.wasm": b"hello\n",
            "script.wasm": b"#!/bin/sh\nexit 0\n",
            "zeros.wasm": bytes(1000),
            "random.wasm": bytes(range(7, 256)),
            "magic.wasm": b"\0asm",
            "version.wasm": b"\0asm\2\0\0\0",
            "elf.wasm": b"\x7fELF\2\1\1" + bytes(100),
        }.items():
            with self.subTest(name=name):
                ended = self.viv("run", self.file(name, content))
                self.refused(ended, 1, f"{self.dir}/{name}: ")
                self.assertRegex(ended.err, rf": {MODULE}\n\Z")

    def test_the_commands_own_program(self):
        self.assertRegex(self.viv("run", VIV).err, MODULE)

    def test_component(self):
        ended = self.viv("run", self.file("c.wasm", b"\0asm\x0d\0\1\0"))
        self.refused(ended, 1, "component", "rebuild", "wasm32-wasip1")

    def test_entries_of_the_cache_are_no_input(self):
        """Compiled code is refused, also our own."""
        self.assertEqual(self.guest("exit", 0).status, 0)
        entry = self.cache / self.entries()[0]
        self.assertRegex(self.viv("run", entry).err, MODULE)
        self.assertRegex(self.viv("run", self.file("inner.wasm", entry.read_bytes()[88:])).err, MODULE)


class Damaged(CliTest):
    """Cut and damaged modules."""

    def check(self, content, name="d.wasm"):
        ended = self.viv("run", "--no-cache", "--max-time", "2s", self.file(name, content))
        if ended.status == 1 and "failed:" not in ended.err:
            self.refused(ended, 1, f"{name}: ")
        else:
            self.assertIn(ended.status, (0, 134, 137), ended)
        return ended

    def test_every_prefix(self):
        whole = start_module(b"\x41\1\x1a")
        for size in range(len(whole)):
            with self.subTest(size=size):
                ended = self.check(whole[:size])
                # Between two sections a prefix is a module, with less in it.
                if size in (8, 14, 30):
                    self.assertEqual(ended.status, 1)
                else:
                    self.assertRegex(ended.err, MODULE)

    def test_a_large_one_cut(self):
        whole = (GUESTS / "cli_guest.wasm").read_bytes()
        for part in range(1, 20):
            with self.subTest(part=part):
                self.assertRegex(self.check(whole[:len(whole) * part // 20]).err, MODULE)

    def test_every_bit_of_a_small_one(self):
        whole = start_module(b"\x41\1\x1a")
        for at in range(8, len(whole)):
            for bit in (0, 3, 6, 7):
                with self.subTest(at=at, bit=bit):
                    self.check(whole[:at] + bytes((whole[at] ^ 1 << bit,)) + whole[at + 1:])

    def test_it_does_not_validate(self):
        ended = self.check(start_module(b"\x1a"))  # drop of nothing
        self.assertRegex(ended.err, rf": {MODULE}\n\Z")
        self.assertIn("(offset 0x23)", ended.err)

    def test_lengths_that_lie(self):
        for content in (
            b"\0asm\1\0\0\0\1\xff\xff\xff\xff\x0f",
            b"\0asm\1\0\0\0\1\x80\x80\x80\x80\x80\x80\1",
            module((1, b"\xff\xff\xff\xff\x0f")),
            module((7, b"\1\xff\xff\xff\xff\x0f")),
            module((2, b"\1\3env\xff\xff\xff\xff\x0f")),
        ):
            with self.subTest(content=content):
                self.assertRegex(self.check(content).err, MODULE)


class Text(CliTest):
    """The text format: line and column of what is wrong."""

    def place(self, text, line, column):
        ended = self.viv("run", self.file("t.wat", text))
        self.refused(ended, 1, f"{self.dir}/t.wat: not a WebAssembly module: ")
        self.assertRegex(ended.err, rf"line {line} column {column}\b")

    def test_syntax_errors(self):
        self.place('(module (func (export "_start") unknown.op))', 1, 33)
        self.place('(module\n  (func (export "_start")\n    i32.const))\n', 3, 14)
        self.place('(module\n\n  (fun))\n', 3, 4)
        self.place('(module (func (call $nobody)))', 1, 21)

    def test_cut_off(self):
        for text in ("(", "(module", '(module (func (export "_start'):
            with self.subTest(text=text):
                self.refused(self.viv("run", self.file("t.wat", text)), 1, "t.wat: not a WebAssembly module: ")

    def test_what_it_says_is_one_line(self):
        self.refused(self.viv("run", self.file("t.wat", '(module (\33[31mred))')), 1, "t.wat")
        self.refused(self.viv("run", self.file("t.wat", "(" * 100000)), 1, "t.wat")
        self.refused(self.viv("run", self.file("t.wat", b"(module \xff\xfe)")), 1, "t.wat")

    def test_it_does_not_validate(self):
        ended = self.viv("run", self.file("t.wat", '(module (func (export "_start") drop))'))
        self.refused(ended, 1, "t.wat: ")
        self.assertRegex(ended.err, MODULE)

    def test_good_ones(self):
        for text in (RETURNS, "\n \t" + RETURNS, ";; a comment\n" + RETURNS, '(func (export "_start"))'):
            with self.subTest(text=text):
                self.assertEqual(self.viv("run", self.file("t.wat", text)), (0, "", ""))
        self.assertEqual(self.viv("run", self.file("no-suffix", RETURNS)), (0, "", ""))


class Imports(CliTest):
    """Imports that the host does not have, or has with another type."""

    def importing(self, text, *parts):
        ended = self.viv("run", self.file("i.wat", f'(module {text} (func (export "_start")))'))
        self.refused(ended, 1, f"{self.dir}/i.wat: ", *parts)

    def test_unknown(self):
        for space, name in (("env", "foo"), ("lunatic::process", "fork"), ("viv", "fork"), ("", ""),
                            ("wasi_snapshot_preview1", "fd_frob")):
            self.importing(f'(import "{space}" "{name}" (func))', f"unknown import {space}.{name}")

    def test_wrong_type(self):
        self.importing('(import "viv" "self" (func))', "viv.self", "()", "() -> i64")
        self.importing('(import "lunatic::process" "sleep_ms" (func (param i32)))', "lunatic::process.sleep_ms",
                       "(i32)", "(i64)")

    def test_what_cannot_be_imported(self):
        for text in ('(import "env" "memory" (memory 1))', '(import "viv" "table" (table 1 funcref))',
                     '(import "viv" "self" (global i64))', '(import "viv" "tag" (tag))'):
            with self.subTest(text=text):
                self.importing(text, *re.findall('"([a-z]+)"', text))

    def test_other_revisions_of_wasi(self):
        self.importing('(import "wasi_unstable" "fd_write" (func))', "wasi_unstable")
        self.importing('(import "wasi:cli/run" "x" (func))', "wasi:cli/run")

    def test_names_cannot_steer_the_terminal(self):
        self.importing(r'(import "e\1b[31m" "\0aviv: forged" (func))', "unknown import")
        long = "n" * 50000
        self.importing(f'(import "{long}" "{long}" (func))', "unknown import nnn")


class TooMuch(CliTest):
    """More than the limits allow."""

    def needing(self, text, *parts, options=()):
        for engine in ("many", "fast"):
            with self.subTest(text=text, engine=engine):
                path = self.file("m.wat", f'(module {text} (func (export "_start")))')
                self.refused(self.viv("run", "--engine", engine, *options, path), 1, f"{path}: ", *parts)

    def test_memory(self):
        self.needing("(memory 65536)", "needs 4096 MiB, the limit is ")
        self.needing("(memory 33)", "needs ", " MiB, the limit is 2 MiB", options=["--max-memory", "2M"])
        self.needing("(memory 64)", "needs 4 MiB, the limit is 2 MiB", options=["--max-memory", "2M"])

    def test_memory_that_just_fits(self):
        path = self.file("m.wat", '(module (memory 32) (func (export "_start")))')
        self.assertEqual(self.viv("run", "--max-memory", "2M", path), (0, "", ""))

    def test_table(self):
        self.needing("(table 4294967295 funcref)", "needs a table of 4294967295 elements, the limit is 1000000")

    def test_memories(self):
        self.needing("(memory 1)" * 17, "memories")

    def test_many_segments(self):
        """Out of bounds, so the instantiation fails."""
        text = '(module (memory 1) (func (export "_start"))' + '(data (i32.const 70000) "x")' * 2000 + ")"
        ended = self.viv("run", self.file("s.wat", text))
        self.refused(ended, 1, "s.wat: ")

    def test_segment_out_of_bounds(self):
        for text in ('(memory 1) (data (i32.const 65536) "x")', '(table 1 funcref) (func $f) (elem (i32.const 1) $f)'):
            self.needing(text)

    def test_start_function_that_traps(self):
        self.needing("(func $boom unreachable) (start $boom)", "unreachable")

    def test_start_function_that_never_ends(self):
        path = self.file("l.wat", '(module (func $l (loop (br 0))) (start $l) (func (export "_start")))')
        ended = self.viv("run", "--max-fuel", "10", path)
        self.assertEqual((ended.status, ended.out), (1, ""))
        self.refused(ended, 1, "l.wat: ", "fuel")

    def test_start_function_that_never_ends_and_max_time(self):
        path = self.file("l.wat", '(module (func $l (loop (br 0))) (start $l) (func (export "_start")))')
        ended = self.viv("run", "--max-time", "100ms", path)
        self.refused(ended, 1, "l.wat: ", "limit(time)")

    def test_recursion_without_end(self):
        path = self.file("r.wat", '(module (func $r (export "_start") (call $r)))')
        ended = self.viv("run", path)
        self.assertEqual(ended.status, 134)
        self.assertIn("failed: stack_overflow in r ", ended.err)

    def test_no_memory_and_a_call_that_needs_it(self):
        for memory in ("", '(memory (export "memory") i64 1)', '(func (export "memory"))'):
            with self.subTest(memory=memory):
                path = self.file("w.wat", f"""(module (import "lunatic::message" "write_data"
                    (func $write (param i32 i32) (result i32))) {memory}
                    (func (export "_start") (drop (call $write (i32.const 0) (i32.const 0)))))""")
                ended = self.viv("run", path)
                self.assertEqual(ended.status, 134, ended)
                self.assertIn("failed: lunatic::message::write_data: ", ended.err)

    def test_few_descriptors(self):
        """With less than it needs `viv` says so."""
        for count in (4, 6, 8, 10, 12, 16, 20):
            if count < 16 and os.environ.get("VIV_SANITIZER") == "thread":
                continue  # it opens some of its own to match suppressions
            with self.subTest(count=count):
                result = subprocess.run(["sh", "-c", f'ulimit -n {count}; exec "$0" "$@"', VIV, "run", GUEST, "args"],
                                        cwd=self.dir, env=self.env, capture_output=True, timeout=SECONDS, check=False)
                self.assertIn(result.returncode, (0, 1), result)
                if result.returncode == 1:
                    self.assertRegex(result.stderr, rb"\Aviv: [^\n]+\n\Z")


if __name__ == "__main__":
    unittest.main(verbosity=2)
