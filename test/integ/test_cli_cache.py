#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The cache of compiled modules (contract 5.5; cases 110 and 111): where it is, who may use it, and that no state
of it keeps a program from running."""

import os
import pathlib
import stat
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from viv_cli import RETURNS, SECONDS, VIV, CliTest  # noqa: E402


class Cache(CliTest):
    """Each test has a cache of its own."""

    shared_cache = False

    def setUp(self):
        super().setUp()
        self.program = self.file("p.wat", RETURNS)

    def run_it(self, *options, **env):
        """Runs the program; the lines of level info."""
        ended = self.viv("run", *options, self.program, env={"VIV_LOG": "info", **env})
        self.assertEqual((ended.status, ended.out), (0, ""), ended)
        return ended.err

    def filled(self):
        """A cache with the program's entry; its path and content."""
        self.assertEqual(self.run_it(), "")
        names = self.entries()
        self.assertEqual(len(names), 1)
        path = self.cache / names[0]
        return path, path.read_bytes()

    def recompiled(self, path, whole):
        """Runs, says so in one line, and the entry is whole again."""
        self.assertRegex(self.run_it(), r"\Aviv\[info\]: cache: [^\n]+\n\Z")
        self.assertEqual(self.entries(), [path.name])
        self.assertFalse(path.is_symlink())
        self.assertEqual(path.read_bytes()[:16], whole[:16])
        self.assertEqual(len(path.read_bytes()), len(whole))
        self.assertEqual(self.run_it(), "")

    def test_written_once_and_read(self):
        path, whole = self.filled()
        self.assertRegex(path.name, r"\A[0-9a-f]{64}\.cwasm\Z")
        inode = path.stat().st_ino
        self.assertEqual(self.run_it(), "")
        self.assertEqual((path.stat().st_ino, path.read_bytes()), (inode, whole))

    def test_modes(self):
        path, _ = self.filled()
        self.assertEqual(stat.S_IMODE(self.cache.stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0)

    def test_place(self):
        del self.env["VIV_CACHE_DIR"]
        self.run_it()
        self.assertEqual(len(list((self.dir / ".cache/viv/wasm").iterdir())), 1)
        self.run_it(XDG_CACHE_HOME=str(self.dir / "xdg"))
        self.assertEqual(len(list((self.dir / "xdg/viv/wasm").iterdir())), 1)
        self.run_it(XDG_CACHE_HOME=str(self.dir / "xdg2"), VIV_CACHE_DIR=str(self.dir / "own"))
        self.assertEqual(len(list((self.dir / "own").iterdir())), 1)
        self.assertFalse((self.dir / "xdg2").exists())

    def test_no_home(self):
        for name in ("VIV_CACHE_DIR", "HOME"):
            del self.env[name]
        self.run_it()

    def test_no_cache(self):
        self.run_it("--no-cache")
        self.assertFalse(self.cache.exists())
        path, whole = self.filled()
        path.write_bytes(b"damaged")
        self.assertEqual(self.run_it("--no-cache"), "")
        self.assertEqual(path.read_bytes(), b"damaged")
        self.assertNotEqual(whole, b"damaged")

    def test_an_entry_for_each_way_of_compiling(self):
        for count, options in enumerate(([], ["--engine", "fast"], ["--max-fuel", "9"],
                                         ["--engine", "fast", "--max-fuel", "9"]), 1):
            for _ in range(2):
                self.run_it(*options)
                self.assertEqual(len(self.entries()), count)
        self.program = self.file("q.wat", "\n" + RETURNS + ";; the same binary")
        self.run_it()
        self.assertEqual(len(self.entries()), 4)

    def test_eight_at_once(self):
        """Case 110."""
        self.program = self.file("c.wasm", (pathlib.Path(os.environ["VIV_GUESTS"]) / "cli_guest.wasm").read_bytes())
        for round_number in range(3):
            with self.subTest(round=round_number):
                env = {"XDG_CACHE_HOME": str(self.dir / f"xdg{round_number}"), "VIV_CACHE_DIR": ""}
                started = [self.start("run", self.program, "args", str(i), env=env) for i in range(8)]
                for i, process in enumerate(started):
                    self.assertEqual(self.ended(process), (0, f"c.wasm\nargs\n{i}\n", ""))
                names = [path.name for path in (self.dir / f"xdg{round_number}/viv/wasm").iterdir()]
                self.assertEqual(len(names), 1)
                self.assertTrue(names[0].endswith(".cwasm"))

    # Case 111.

    def test_cut(self):
        path, whole = self.filled()
        for size in (0, 1, 8, 16, 48, 87, 88, 89, len(whole) // 2, len(whole) - 1):
            with self.subTest(size=size):
                path.write_bytes(whole[:size])
                self.recompiled(path, whole)

    def test_a_byte_changed(self):
        path, whole = self.filled()
        for at in (0, 8, 12, 16, 40, 48, 56, 80, 88, 100, len(whole) // 2, len(whole) - 1):
            with self.subTest(at=at):
                path.write_bytes(whole[:at] + bytes((whole[at] ^ 0x40,)) + whole[at + 1:])
                self.recompiled(path, whole)

    def test_longer(self):
        path, whole = self.filled()
        path.write_bytes(whole + b"\0")
        self.recompiled(path, whole)

    def test_of_another_module(self):
        path, whole = self.filled()
        other = self.viv("run", self.file("o.wat", '(module (memory 1) (func (export "_start")))'))
        self.assertEqual(other.status, 0)
        (strange,) = set(self.entries()) - {path.name}
        os.replace(self.cache / strange, path)
        self.recompiled(path, whole)

    def test_a_symbolic_link(self):
        path, whole = self.filled()
        for target in (self.file("elsewhere", whole), "/etc/passwd", "nowhere"):
            with self.subTest(target=target):
                path.unlink()
                path.symlink_to(target)
                self.recompiled(path, whole)
        self.assertEqual((self.dir / "elsewhere").read_bytes(), whole)  # not written through

    def test_a_second_name(self):
        """A hard link: another may have the file under a name of theirs."""
        path, whole = self.filled()
        os.link(path, self.dir / "second")
        self.recompiled(path, whole)

    def test_no_regular_file(self):
        path, whole = self.filled()
        path.unlink()
        os.mkfifo(path)
        self.recompiled(path, whole)

    def test_a_directory_in_its_place(self):
        path, _ = self.filled()
        path.unlink()
        path.mkdir()
        (path / "file").write_bytes(b"")
        self.run_it()
        self.assertEqual(self.entries(), [path.name])  # no temporary file stays

    def test_others_may_write_it(self):
        path, whole = self.filled()
        for mode in (0o620, 0o602, 0o666):
            with self.subTest(mode=mode):
                path.chmod(mode)
                self.recompiled(path, whole)

    def test_of_another_owner(self):
        if os.geteuid() != 0:
            self.skipTest("only root gives files away")
        path, whole = self.filled()
        os.chown(path, 65534, 65534)
        self.recompiled(path, whole)
        self.assertEqual(path.stat().st_uid, 0)

    # The folder.

    def test_a_folder_that_others_may_write(self):
        self.filled()
        self.cache.chmod(0o777)
        lines = self.run_it().splitlines()
        self.assertGreater(len(lines), 0)
        for line in lines:
            self.assertRegex(line, r"\Aviv\[info\]: cache: .* is not used")

    def test_a_folder_of_another_owner(self):
        if os.geteuid() != 0:
            self.skipTest("only root gives files away")
        path, _ = self.filled()
        path.unlink()
        os.chown(self.cache, 65534, 65534)
        self.run_it()
        self.assertEqual(self.entries(), [])

    def test_no_place_for_it(self):
        self.file("file")
        os.symlink("nowhere", self.dir / "dangling")
        for place in ("/proc/viv", "/dev/null", str(self.dir / "file"), str(self.dir / "file/below"),
                      str(self.dir / "dangling"), "/dev/full/x", "x" * 5000, str(self.dir / ("y" * 300))):
            with self.subTest(place=place[:60]):
                ended = self.viv("run", self.program, env={"VIV_CACHE_DIR": place})
                self.assertEqual(ended, (0, "", ""))
        self.assertEqual((self.dir / "file").read_bytes(), b"")

    def test_a_folder_that_cannot_be_written(self):
        self.cache.mkdir(mode=0o700)
        self.cache.chmod(0o500)
        user = None
        if os.geteuid() == 0:  # root writes everywhere; so another user tries
            user = 65534
            os.chown(self.cache, user, user)
            for folder in (self.class_dir, self.dir):
                folder.chmod(0o755)
            build = pathlib.Path(VIV).parent
            if any(not os.stat(folder).st_mode & 1 for folder in (build, *build.parents)):
                self.skipTest("another user cannot reach the program")
        result = subprocess.run([VIV, "run", "--no-dir", self.program], cwd="/", env=self.env, capture_output=True,
                                timeout=SECONDS, check=False, user=user)
        self.cache.chmod(0o700)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""))
        self.assertEqual(self.entries(), [])

    def test_a_file_system_that_is_full(self):
        """A limit on the size of files stands for it."""
        result = subprocess.run(["bash", "-c", f"trap '' XFSZ; ulimit -f 1; exec {VIV} run {self.program}"],
                                env=self.env, cwd=self.dir, capture_output=True, timeout=SECONDS, check=False)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(self.entries(), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
