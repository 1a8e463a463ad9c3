# SPDX-License-Identifier: Apache-2.0
"""Runs a page of docs/: writes its programs, types its commands, compares what it shows.

Blocks `c guest`, `wat` and `policy` are files; their first line names them. In a block `console` a line `$ …` is a
command and the lines after it are all that it prints, on stdout and stderr together. `…` stands for any text,
`<0.N.S>` for any pid. The commands of a block run in one shell, all in one folder, from the top of the page to its
end."""

import os
import re
import shutil
import subprocess

from viv_cli import SECONDS, SOURCE, VIV, CliTest

MARK = "---- end of a command ----"


def blocks(text):
    """(line, language, content) of every block of the page."""
    for match in re.finditer(r"^```([^\n]+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start()) + 2, match[1], match[2]


def commands(content):
    """(command, lines shown) of a block."""
    found = []
    for line in content.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def fits(shown, line):
    pattern = re.escape(shown).replace("…", ".*").replace(re.escape("<0.N.S>"), r"<0\.\d+\.\d+>")
    return re.fullmatch(pattern, line) is not None


def is_merge(shown, out, err):
    """Are the lines shown those of both streams, each in its order?"""
    at = {0: 0}  # lines of stdout taken so far; the rest came from stderr
    for i, line in enumerate(shown):
        nexts = {}
        for taken in at:
            other = i - taken
            if taken < len(out) and fits(line, out[taken]):
                nexts[taken + 1] = 0
            if other < len(err) and fits(line, err[other]):
                nexts[taken] = 0
        at = nexts
    return len(out) in at and len(shown) == len(out) + len(err)


class PageTest(CliTest):
    """A folder where a page is followed."""

    def follow(self, page, **more):
        """The page from top to end; `more`: what to do with blocks of other languages, by name."""
        if shutil.which("clang-19") is None:
            self.skipTest("no clang-19")
        self.prepare()
        known = {"c guest": self.write, "wat": self.write, "policy": self.write, "console": self.type_in, **more}
        count = 0
        for line, language, content in blocks(page.read_text(encoding="utf-8")):
            self.assertIn(language, known, f"{page.name}:{line}")
            known[language](f"{page.name}:{line}", content)
            count += 1
        self.assertGreater(count, 10)

    def prepare(self):
        os.symlink(SOURCE / "include", self.dir / "include")
        os.symlink(SOURCE / "examples", self.dir / "examples")
        os.mkdir(self.dir / "bin")
        os.symlink(VIV, self.dir / "bin" / "viv")
        self.env["PATH"] = f"{self.dir / 'bin'}:{self.env['PATH']}"
        self.env.pop("GREETING", None)

    def write(self, place, content):
        name = re.match(r"(?://|;;|#) ([a-z]+\.(?:c|wat|policy|sh)):", content)
        self.assertIsNotNone(name, f"{place}: the first line names no file")
        self.assertFalse((self.dir / name[1]).exists(), f"{place}: a second {name[1]}")
        self.file(name[1], content)

    def type_in(self, place, content):
        typed = commands(content)
        script = "".join(f"{command}\nkept=$?; echo '{MARK}' | tee /dev/stderr; (exit $kept)\n"
                         for command, _ in typed)
        # Not from its input, which a command could read.
        result = subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, cwd=self.dir, env=self.env, capture_output=True, text=True,
                                timeout=SECONDS, check=False)
        outs, errs = ([part.splitlines() for part in text.split(MARK + "\n")] for text in (result.stdout, result.stderr))
        self.assertEqual((len(outs), len(errs)), (len(typed) + 1,) * 2, f"{place}: {result.stderr}")
        for (command, shown), out, err in zip(typed, outs, errs):
            self.assertTrue(is_merge(shown, out, err), f"{place}: {command}\nshown: {shown}\nout: {out}\nerr: {err}")

    def check_links(self, page):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")
