#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs examples/primes.c as a durable process, and kills its worker with kill -9 at random moments. In the end the answer
is right, and each step was done once.

    clang-19 --target=wasm32-wasi -O2 -I include -o primes.wasm examples/primes.c
    python3 examples/primes.py primes.wasm

The store is a file in a temporary folder; or with one flag a server:

    python3 examples/primes.py --store 'postgres://user@host/database?viv_schema=primes' primes.wasm
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time


def arguments():
    parser = argparse.ArgumentParser(description="kill a worker again and again")
    parser.add_argument("module", help="examples/primes.c, compiled")
    parser.add_argument("--viv", default=shutil.which("viv") or "build/release/viv", help="the command")
    parser.add_argument("--store", help="URL of a store (default: a file that is removed)")
    parser.add_argument("--kills", type=int, default=10, help="how often (default: 10)")
    parser.add_argument("--below", type=int, default=12_000_000, help="where the primes end")
    parser.add_argument("--steps", type=int, default=60, help="how many steps")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    return parser.parse_args()


def expected(below):
    """By a sieve, which has nothing to do with the program."""
    sieve = bytearray([1]) * below
    sieve[:2] = bytes(min(2, below))
    for number in range(2, int(below ** 0.5) + 1):
        if sieve[number]:
            sieve[number * number::number] = bytes(len(range(number * number, below, number)))
    found = [number for number in range(below) if sieve[number]]
    return {"count": len(found), "sum": sum(found)}


class Job:
    """The durable process, by the command."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.env = dict(os.environ, VIV_STORE=options.store or f"sqlite:{folder}/store.db")

    def viv(self, *args):
        ended = subprocess.run([self.options.viv, *args], env=self.env, stdout=subprocess.PIPE, text=True, check=True)
        return ended.stdout

    def start(self):
        policy = os.path.join(self.folder, "policy.json")
        with open(policy, "w", encoding="utf-8") as file:
            json.dump({"max_attempts": 1000, "backoff": {"initial_ms": 100, "factor": 1}}, file)
        self.viv("store", "init")
        self.viv("job", "start", "--id", "primes", "--policy", policy, "--wasm", self.options.module, "--entry", "primes",
                 "--", str(self.options.below), str(self.options.steps))

    def worker(self):
        return subprocess.Popen([self.options.viv, "worker", "--ttl", "3s", "--once"], env=self.env)

    def events(self, kind):
        lines = self.viv("job", "events", "primes", "--type", kind, "--json", "-n", "10000").splitlines()
        return [json.loads(line)["payload"] for line in lines]

    def steps(self):
        return [payload["key"] for payload in self.events("process.step")]

    def run(self):
        """Until it has ended: a worker that is killed after a while, the next one."""
        kills = 0
        while True:
            worker = self.worker()
            try:
                worker.wait(random.uniform(0.05, 0.7) if kills < self.options.kills else None)
                if worker.returncode != 0:
                    sys.exit(f"primes: the worker ended with {worker.returncode}")
                if json.loads(self.viv("job", "show", "primes", "--json"))["status"] != "running":
                    return kills
                time.sleep(0.1)  # not due yet
            except subprocess.TimeoutExpired:
                worker.send_signal(signal.SIGKILL)
                worker.wait()
                kills += 1
                print(f"killed {kills}: {len(self.steps())} of {self.options.steps} steps done", flush=True)


def main():
    options = arguments()
    random.seed(options.seed)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="viv-primes-") as folder:
        job = Job(options, folder)
        job.start()
        kills = job.run()
        output = json.loads(job.viv("job", "await", "primes"))
        steps = job.steps()
        attempts = len(job.events("process.attempt_started"))
    right = expected(options.below)
    print(f"{output['count']} primes below {options.below}, their sum is {output['sum']}")
    print(f"{kills} kills, {attempts} attempts, {len(steps)} steps")
    if output != right:
        sys.exit(f"primes: wrong, it is {right}")
    if sorted(steps) != sorted(f"step {number}" for number in range(options.steps)):
        sys.exit(f"primes: not each step once: {steps}")
    print("right, and each step was done once")


if __name__ == "__main__":
    main()
