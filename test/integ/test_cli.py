#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command line itself: usage errors, help, options and their values, cargo's runner, what the man page
and the completion say."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from viv_cli import GUEST, RETURNS, SECONDS, SOURCE, VIV, CliTest  # noqa: E402


def options_of(text):
    """The options that a text names."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


class Usage(CliTest):
    """Every mistake is one line that says what to do, and status 2."""

    def wrong(self, args, *parts):
        with self.subTest(args=[arg[:60] for arg in args]):
            self.refused(self.viv(*args), 2, *parts)

    def test_no_command(self):
        self.wrong([], "viv help")

    def test_unknown_command(self):
        self.wrong(["frobnicate"], "frobnicate", "viv help")
        self.wrong(["-x"], "-x", "viv help")
        self.wrong([""], "viv help")
        self.wrong(["app.wasmx"], "app.wasmx", "viv help")
        self.wrong(["\33[31mred\n"], "viv help")
        self.wrong(["x" * 100000], "viv help")

    def test_commands_of_a_later_step(self):
        self.wrong(["test", "app.wasm"], "test")
        self.wrong(["run", "--listen", "127.0.0.1:80", "app.wasm"], "--listen", "not supported yet")

    def test_arguments_too_many(self):
        self.wrong(["version", "x"], "version")
        self.wrong(["--version", "x"], "version")
        self.wrong(["help", "run", "x"], "help")
        self.wrong(["help", "frobnicate"], "frobnicate", "viv help")

    def test_no_file(self):
        self.wrong(["run"], "FILE")
        self.wrong(["run", "--no-net"], "FILE")
        self.wrong(["run", "--"], "no command given")
        self.wrong(["run", ""], "FILE")

    def test_unknown_option(self):
        self.wrong(["run", "--frobnicate", "app.wasm"], "--frobnicate", "--help")
        self.wrong(["run", "-z", "app.wasm"], "-z", "--help")
        self.wrong(["run", "--dirs", "app.wasm"], "--dirs")
        self.wrong(["run", "--=x", "app.wasm"], "--help")
        self.wrong(["run", "--" + "x" * 100000, "app.wasm"], "--help")
        self.wrong(["run", "--\n\33[0m", "app.wasm"], "--help")

    def test_missing_value(self):
        for option in ("dir", "env", "entry", "max-memory", "max-fuel", "max-time", "mailbox", "module",
                       "engine", "workers", "listen"):
            self.wrong(["run", f"--{option}"], f"--{option}", "needs a value")

    def test_value_where_none_is_taken(self):
        for option in ("no-dir", "no-env", "no-net", "no-cache", "bench", "help"):
            self.wrong(["run", f"--{option}=1", "app.wasm"], f"--{option}", "takes no value")

    def test_bad_values(self):
        numbers = ("", "x", "-1", "1.5", " 1", "1 ", "0x10", "99999999999999999999", "1KK")
        for option, values in {
            "max-memory": (*numbers, "0", "10MiB", "10m", "99999999999T"),
            "max-fuel": (*numbers, "0", "1K"),
            "max-time": (*numbers, "0", "1w", "1M", "9999999999999d"),
            "workers": (*numbers, "0", "257", "1K"),
            "engine": ("", "slow", "MANY", "many,fast"),
            "mailbox": ("", "1", "1,2", "1,2,", "1,2,drop", "x,2,kill", "1,x,kill", "1,2,kill,", "-1,2,kill",
                        "1" * 300),
            "env": ("", "K", "=V"),
            "module": ("", "x", "x=", "=x.wasm", "n" * 5000 + "=x.wasm"),
            "dir": ("", "::", "::guest", "host::"),
        }.items():
            for value in values:
                for args in ([f"--{option}", value], [f"--{option}={value}"]):
                    self.wrong(["run", *args, "app.wasm"], f"--{option}")

    def test_given_too_often(self):
        self.wrong(["run", *["--env", "A=1"] * 300, "app.wasm"], "--env")
        self.wrong(["run", *["--module", "a=b.wasm"] * 300, "app.wasm"], "--module")
        self.wrong(["run", *["--dir", "."] * 300, "app.wasm"], "--dir")


class Help(CliTest):
    """What the command says about itself."""

    def test_version(self):
        for args in (["version"], ["--version"]):
            ended = self.viv(*args)
            self.assertRegex(ended.out, r"\Aviv \d+\.\d+\.\d+\n\Z")
            self.assertEqual((ended.status, ended.err), (0, ""))

    def test_help_of_every_command(self):
        first = self.viv("help")
        self.assertEqual((first.status, first.err), (0, ""))
        for args in (["--help"], ["-h"]):
            self.assertEqual(self.viv(*args), first)
        for command in ("run", "version", "help"):
            self.assertRegex(first.out, rf"\bviv {command}\b")
            text = self.viv("help", command)
            self.assertEqual((text.status, text.err), (0, ""))
            self.assertTrue(text.out.startswith(f"viv {command}"))
            for option in ("--help", "-h"):
                with self.subTest(command=command, option=option):
                    self.assertEqual(self.viv(command, option), text)

    def test_help_wins_over_what_follows(self):
        self.assertEqual(self.viv("run", "--no-net", "--help", "--frobnicate").status, 0)

    def test_lines_fit_a_terminal(self):
        for args in (["help"], ["help", "run"]):
            for line in self.viv(*args).out.splitlines():
                self.assertLessEqual(len(line), 100, line)

    def test_help_that_cannot_be_written(self):
        for args in (["help"], ["help", "run"], ["version"], ["run", "--help"]):
            with self.subTest(args=args), open("/dev/full", "wb") as full:
                ended = self.viv(*args, stdout=full)
                self.assertEqual(ended.status, 1)
                self.assertRegex(ended.err, r"\Aviv: [^\n]+\n\Z")

    def test_options_are_those_of_the_contract(self):
        module, program = self.viv("help", "run").out.split("\nviv run [options] -- COMMAND")
        self.assertEqual(options_of(module) - {"--help"}, {
            "--dir", "--no-dir", "--env", "--no-env", "--no-net", "--entry", "--max-memory", "--max-fuel",
            "--max-time", "--mailbox", "--module", "--engine", "--workers", "--no-cache", "--bench",
            "--use", "--policy", "--allow", "--limit", "--audit", "--store"})
        self.assertEqual(options_of(program), {
            "--detach", "--env", "--no-env", "--cwd", "--label", "--key", "--json", "--max-memory", "--max-time",
            "--cpu-time", "--cpu", "--pids", "--files", "--file-size", "--output", "--idle", "--grace",
            "--stop-signal", "--retain", "--ring", "--merge", "--overflow", "--spill", "--audit", "--require-audit",
            "--sandbox", "--net", "--ro", "--rw", "--hide", "--accept", "--user", "--survive"})

    def test_man_page_and_completion_agree_with_the_help(self):
        man = (SOURCE / "tools" / "viv.1").read_text(encoding="utf-8").replace("\\-", "-")
        completion = (SOURCE / "tools" / "viv.bash").read_text(encoding="utf-8")
        commands = set(re.findall(r"^  viv ([a-z]+)\b", self.viv("help").out, re.MULTILINE)) - {"test"}
        self.assertEqual(set(self.complete("viv", "")) & {*commands, "test"}, commands)
        self.assertEqual(set(self.complete("viv", "help", "")), commands)
        every = set()
        for command in sorted(commands):
            with self.subTest(command=command):
                text = self.viv("help", command).out
                told = options_of(re.sub(r"viv run --[a-z-]+|--[a-z-]+ of viv run", "", text))  # but those of run
                self.assertEqual(set(self.complete("viv", command, "--")), told)
                self.assertIn(f"\n.SS viv {command}" if command not in ("run", "help", "version")
                              else f"\n.B viv {command}", man)
                every |= told
        self.assertEqual(options_of(man), every)
        self.assertEqual(options_of(completion), every)

    def complete(self, *words):
        """What the completion offers for the last of these words."""
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _viv; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        result = subprocess.run(["bash", "-c", script, "-", str(SOURCE / "tools" / "viv.bash"), *words],
                                cwd=self.dir, capture_output=True, text=True, timeout=SECONDS, check=True)
        return result.stdout.split()

    def test_completion_offers_files_and_values(self):
        self.file("app.wasm")
        self.file("app.wat")
        self.file("other.txt")
        offered = self.complete("viv", "")
        self.assertIn("app.wasm", offered)
        self.assertIn("app.wat", offered)
        self.assertNotIn("other.txt", offered)
        self.assertEqual(self.complete("viv", "run", "--engine", ""), ["many", "fast"])


class Arguments(CliTest):
    """What main gets: arguments, variables, exports by name."""

    def test_everything_after_the_file_is_the_guests(self):
        for given, seen in (
            (["a", "b c", ""], ["a", "b c", ""]),
            (["--help", "--no-net", "-h"], ["--help", "--no-net", "-h"]),
            (["-x", "--", "y"], ["-x", "--", "y"]),
        ):
            ended = self.viv("run", "--no-net", GUEST, "args", *given)
            self.assertEqual(ended, (0, "\n".join(["cli_guest.wasm", "args", *seen]) + "\n", ""))

    def test_one_leading_dashes_is_dropped(self):
        self.assertEqual(self.viv("run", GUEST, "--", "args", "--").out, "cli_guest.wasm\nargs\n--\n")
        self.assertEqual(self.viv("run", GUEST, "--", "--", "args").status, 3)  # `--` is its command

    def test_the_file_alone_is_run(self):
        self.assertEqual(self.viv(GUEST, "args").out, "cli_guest.wasm\nargs\n")
        self.assertEqual(self.viv(self.file("a.wat", RETURNS)), (0, "", ""))
        self.assertEqual(self.viv("a.wat"), (0, "", ""))

    def test_bench_is_appended(self):
        self.assertEqual(self.viv("run", "--bench", GUEST, "args", "x").out,
                         "cli_guest.wasm\nargs\nx\n--bench\n")

    def test_variables(self):
        for name in ("A", "B"):
            self.env.pop(name, None)

        def seen(*options, **env):
            return self.viv("run", *options, GUEST, "env", "A", "B", env=env).out

        self.assertEqual(seen(A="host"), "A=host\nB=(none)\n")
        self.assertEqual(seen("--no-env", A="host"), "A=(none)\nB=(none)\n")
        self.assertEqual(seen("--env", "B=x=y", A="host"), "A=host\nB=x=y\n")
        self.assertEqual(seen("--env", "A=", A="host"), "A=\nB=(none)\n")
        self.assertEqual(seen("--no-env", "--env=A=1", "--env=B=2"), "A=1\nB=2\n")
        self.assertEqual(seen("--env", "A=1", "--env", "A=2", A="host"), "A=2\nB=(none)\n")
        all_of_them = self.viv("run", "--env", "A=1", "--env", "A=2", GUEST, "env", env={"A": "host"}).out
        self.assertEqual(all_of_them.splitlines().count("A=2"), 1)
        self.assertEqual(all_of_them.count("\nA="), 1)

    def test_bytes_that_are_no_text(self):
        """Arguments and variables are bytes; they arrive as they were given."""
        result = subprocess.run([VIV, "run", "--env", b"A=\xff", GUEST, "args", b"\xff\xfe", "ü"], cwd=self.dir,
                                env=self.env, capture_output=True, timeout=SECONDS, check=False)
        self.assertEqual((result.returncode, result.stdout), (0, b"cli_guest.wasm\nargs\n\xff\xfe\n\xc3\xbc\n"))

    def test_more_than_fits(self):
        """1 MiB of strings in all (contract, section 6)."""
        big = {f"BIG{i}": "x" * 100000 for i in range(12)}
        self.refused(self.guest("args", env=big), 1, "arguments, environment and directories", "--no-env")
        self.assertEqual(self.guest("args", options=["--no-env"], env=big).status, 0)

    def test_entry(self):
        path = self.file("e.wat", '(module (func (export "one") unreachable) (func (export "#two:ü")))')
        self.assertEqual(self.viv("run", "--entry", "#two:ü", path), (0, "", ""))
        self.assertEqual(self.viv("run", "--entry", "one", path).status, 134)

    def test_entry_of_the_wrong_type(self):
        """error(entry, …): status 1 (contract 2.5)."""
        for entry in ("takes", "gives"):
            path = self.file("e.wat", '(module (func (export "takes") (param i32))'
                                      ' (func (export "gives") (result i32) i32.const 0))')
            ended = self.viv("run", "--entry", entry, path)
            self.assertEqual((ended.status, ended.out), (1, ""))
            self.assertRegex(ended.err, r"\Aviv: [^\n]+\n\Z")
            self.assertIn(entry, ended.err)

    def test_engines_and_workers(self):
        for engine in ("many", "fast"):
            for workers in ("1", "3", "256"):
                with self.subTest(engine=engine, workers=workers):
                    ended = self.viv("run", "--engine", engine, "--workers", workers, GUEST, "args")
                    self.assertEqual(ended, (0, "cli_guest.wasm\nargs\n", ""))

    def test_named_modules(self):
        other = self.file("other.wat", '(module (func (export "go")))')

        def told(*args, options=()):
            return self.guest("module", *args, options=["--module", f"other={other}", *options])[:2]

        self.assertEqual(told("other", "go"), (0, ""))
        self.assertEqual(told("other", "missing"), (4, "spawn: error 6\n"))
        self.assertEqual(told("nobody", "go"), (4, "module: error 6\n"))
        self.assertEqual(told("second", "go", options=[f"--module=second={other}"]), (0, ""))
        self.assertEqual(told("n" * 255, "go", options=["--module", f"{'n' * 255}={other}"]), (0, ""))

    def test_named_modules_that_are_none(self):
        missing = str(self.dir / "none.wasm")
        self.refused(self.guest("args", options=["--module", f"a={missing}"]), 1, missing)
        broken = self.file("broken.wasm", "nothing")
        self.refused(self.guest("args", options=["--module", f"a={broken}"]), 1, broken,
                     "not a WebAssembly module")
        good = self.file("good.wat", RETURNS)
        self.refused(self.guest("args", options=["--module", f"a={good}", "--module", f"a={good}"]), 1,
                     "--module")


class Limits(CliTest):
    """Options that limit the guest do."""

    def failed(self, ended, status, text):
        self.assertEqual(ended.status, status, ended)
        self.assertRegex(ended.err, rf"\Aviv: process <0\.\d+\.\d+> '_start' of cli_guest\.wasm failed: .*{text}")

    def test_memory(self):
        self.assertEqual(self.guest("grow", 4).out, "grew all\n")
        self.assertRegex(self.guest("grow", 4, options=["--max-memory", "3M"]).out, r"\Agrew [0-2] MiB\n\Z")
        ended = self.guest("grow", 4, options=["--max-memory", "1"])
        self.refused(ended, 1, "cli_guest.wasm", "needs", "KiB, the limit is 1 byte")

    def test_time(self):
        self.failed(self.guest("wait", "spin", options=["--max-time", "100ms"]), 137, "time")
        self.failed(self.guest("wait", "receive", options=["--max-time", "100ms"]), 137, "time")
        self.assertEqual(self.guest("args", options=["--max-time", "1h"]).status, 0)

    def test_fuel(self):
        self.failed(self.guest("wait", "spin", options=["--max-fuel", "5"]), 137, "fuel")
        self.assertEqual(self.guest("args", options=["--max-fuel", "1000"]).status, 0)

    def test_mailbox(self):
        self.assertEqual(self.guest("mailbox", options=["--mailbox", "3,,refuse"]), (0, "3\n", ""))
        self.assertEqual(self.guest("mailbox", options=["--mailbox", "0,1G,refuse"]), (0, "1000\n", ""))
        self.assertEqual(self.guest("mailbox", options=["--mailbox", ",,kill"]), (0, "1000\n", ""))
        self.failed(self.guest("mailbox", options=["--mailbox", "3,,kill"]), 137, "mailbox")


class Cargo(CliTest):
    """`viv run` as cargo's runner for wasm32-wasip1 (contract 4.1 and case 118)."""

    TESTS = ('(module (func (export "_start")) (func (export "#lunatic_test_a::b") unreachable))')

    def cargo(self, path, *args, **more):
        """As cargo calls a runner: the words of the variable, the file, the arguments."""
        env = {"CARGO": "cargo", "CARGO_MANIFEST_DIR": str(self.dir), "CARGO_PKG_NAME": "app",
               "CARGO_TARGET_WASM32_WASIP1_RUNNER": f"{VIV} run"}
        return self.viv(*env["CARGO_TARGET_WASM32_WASIP1_RUNNER"].split()[1:], path, *args, env=env, **more)

    def test_cargo_run(self):
        os.makedirs(self.dir / "target/wasm32-wasip1/debug")
        program = self.dir / "target/wasm32-wasip1/debug/app.wasm"
        program.write_bytes(pathlib.Path(GUEST).read_bytes())
        self.assertEqual(self.cargo(program, "args", "--x").out, "app.wasm\nargs\n--x\n")
        self.assertEqual(self.cargo(program, "exit", "3").status, 3)
        self.assertEqual(self.cargo(program, "env", "CARGO_PKG_NAME").out, "CARGO_PKG_NAME=app\n")

    def test_start_runs_unless_everything_says_test(self):
        plain = self.file("target/wasm32-wasip1/debug/app.wasm", self.binary(self.TESTS))
        deps = self.file("target/wasm32-wasip1/debug/deps/app-0123.wasm", self.binary(self.TESTS))
        no_tests = self.file("target/wasm32-wasip1/debug/deps/b-0123.wasm", self.binary(RETURNS))
        self.assertEqual(self.cargo(plain), (0, "", ""))
        self.assertEqual(self.cargo(no_tests), (0, "", ""))
        self.assertEqual(self.viv("run", deps), (0, "", ""))

    def test_bench_runs_start(self):
        deps = self.file("target/wasm32-wasip1/release/deps/app-0123.wasm", self.binary(self.TESTS))
        self.assertEqual(self.cargo(deps, "--bench"), (0, "", ""))
        self.assertEqual(self.cargo(deps, "name", "--bench"), (0, "", ""))

    def test_test_mode_is_of_a_later_step(self):
        deps = self.file("target/wasm32-wasip1/debug/deps/app-0123.wasm", self.binary(self.TESTS))
        self.refused(self.cargo(deps), 1, "not supported yet")

    def binary(self, text):
        """The binary format, which files of cargo have."""
        source = self.file("source.wat", text)
        subprocess.run(["wat2wasm", source, "-o", self.dir / "source.wasm"], timeout=SECONDS, check=True)
        return (self.dir / "source.wasm").read_bytes()


if __name__ == "__main__":
    unittest.main(verbosity=2)
