#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/private-postgres: a server that answers, comes back after a crash, and ends with what it watches."""

import os
import pathlib
import subprocess
import sys
import time

TOOL = pathlib.Path(os.environ["VIV_SOURCE_DIR"]) / "tools" / "private-postgres"
LIMIT_S = 30 * int(os.environ.get("VIV_TIME_FACTOR", "1"))


def run(*words, url=None):
    environment = {key: value for key, value in os.environ.items() if key != "VIV_TEST_PG_URL"}
    if url is not None:
        environment["VIV_TEST_PG_URL"] = url
    return subprocess.run([TOOL, *words], env=environment, capture_output=True, text=True, check=False)


def expect(condition, what):
    if not condition:
        sys.exit(f"private_postgres: {what}")


def is_up(place):
    """Whether a server listens there: its socket exists and the process that it names lives."""
    try:
        pid = int((place / "data" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        os.kill(pid, 0)
    except (OSError, IndexError):
        return False
    return (place / ".s.PGSQL.5432").exists()


def main():
    folder = pathlib.Path("server")
    watched = subprocess.Popen(["sleep", "1000"])  # pylint: disable=consider-using-with
    try:
        started = run("start", "--watch", str(watched.pid), str(folder))
        expect(started.returncode == 0, f"start: {started.stderr}")
        place = pathlib.Path((folder / "place").read_text(encoding="utf-8"))
        expect(started.stdout.strip() == (folder / "url").read_text(encoding="utf-8"), "DIR/url is not what was printed")
        expect(str(place) in started.stdout and is_up(place), "no server")
        expect(run("halt", str(folder)).returncode == 0 and not is_up(place), "halt")
        expect(run("resume", str(folder)).returncode == 0 and is_up(place), "resume")
    finally:
        watched.kill()
        watched.wait()
    end = time.monotonic() + LIMIT_S
    while place.exists():
        expect(time.monotonic() < end, f"{place} outlives what was watched")
        time.sleep(0.05)
    expect(not is_up(place), "the server outlives what was watched")
    expect(run("stop", str(folder)).returncode == 0, "stop of what has ended")
    expect(run("resume", str(folder)).returncode == 1, "resume of what was stopped")

    given = run("start", "other", url="postgres://somewhere/else")
    expect(given.stdout == "postgres://somewhere/else\n" and not pathlib.Path("other/place").exists(),
           "VIV_TEST_PG_URL does not win")
    expect(run("stop", "other").returncode == 0 and not pathlib.Path("other/url").exists(), "stop of nothing")
    for words in ([], ["start"], ["begin", "x"], ["start", "--watch", "x", "y"], ["stop", "a", "b"]):
        expect(run(*words).returncode == 1, f"{words} was accepted")


main()
