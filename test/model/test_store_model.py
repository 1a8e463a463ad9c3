#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The store on each back end against its model (durable.md 3.8, case 111).

VIV_TEST_SEEDS seeds (default 2) of VIV_TEST_OPS operations (2,000), from VIV_TEST_SEED on if it is set. Every code and
result is compared, and every 100 operations a dump; tokens, births and cursors are renamed by first appearance. What
differs is shrunk to the operations that it takes, printed, and the test fails. Then models that were made wrong on
purpose must be found different. VIV_BUILD_DIR, and VIV_TEST_PG_URL or VIV_TEST_PG_FILE, say where things are.
"""

import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

import store_model
import store_ops

DRIVER = pathlib.Path(os.environ.get("VIV_BUILD_DIR", "build/dev")).resolve() / "tests" / "store_driver"
DUMP_EVERY, SHRINK_SECONDS, CONTROL_SEED = 100, 30, 1


def server_url():
    url, file = os.environ.get("VIV_TEST_PG_URL"), os.environ.get("VIV_TEST_PG_FILE")
    if not url and file:
        url = pathlib.Path(file).read_text().strip()
    return url or sys.exit("no server: see tools/private-postgres")


# ---- what runs operations ----

class System:
    """Runs operations by name and remembers what they gave; answers are renamed, so that two systems compare."""

    def __init__(self):
        self.leases, self.outputs, self.promises = {}, {}, {}
        self.wakes, self.cursors, self.feeds = [], [], []
        self.names = {"t": {}, "b": {}, "c": {}}

    def run(self, op):
        op = self.fill(op)
        code, result = self.call(op)
        self.put_in_order(result)
        self.remember(op, result)
        return code, self.rename(result)

    # references

    def fill(self, value):
        if isinstance(value, list):
            return [self.fill(each) for each in value]
        if not isinstance(value, dict):
            return value
        return self.find(value) if "$" in value else {name: self.fill(each) for name, each in value.items()}

    @staticmethod
    def nth_last(items, back, otherwise):
        return items[-1 - back] if len(items) > back else otherwise

    def find(self, ref):
        kind = ref["$"]
        if kind == "lease":
            none = {"id": ref["id"], "token": "0" * 32, "fence": 1, "owner_id": "none", "incarnation": ""}
            lease = dict(self.nth_last(self.leases.get(str(ref["id"]), []), ref["back"], none))
            if ref.get("alter") == "token":
                lease["token"] = lease["token"][:-1] + ("0" if lease["token"][-1:] != "0" else "1")
            if ref.get("alter") == "fence":
                lease["fence"] += 1
            return lease
        if kind == "output":
            return self.outputs.get(ref["id"]) or '{"type":"success","value":"held"}'
        if kind == "promise":
            return self.promises.get((ref["id"], ref["key"]), "0" * 32)
        if kind == "wake":
            return self.nth_last(self.wakes, ref["back"], {"wake_id": "wake:none", "take_token": "0"})[ref["field"]]
        return self.nth_last(self.cursors if kind == "cursor" else self.feeds, ref["back"], "")

    @staticmethod
    def put_in_order(result):
        """Where the contract leaves an order open."""
        if "wakes" in result:
            result["wakes"].sort(key=lambda wake: (wake["created_ms"], wake["wake_id"]))

    def remember(self, op, result):
        for item in [result, *result.get("items", [])]:
            if item.get("lease"):
                self.leases.setdefault(item["lease"]["id"], []).append(item["lease"])
                self.outputs[item["lease"]["id"]] = item.get("output", "")
        if op["op"] == "get_lease" and result:
            self.leases[result["lease"]["id"]].pop()  # it has no token
        for wake in result.get("wakes", []):
            self.wakes.append(wake)
        if "promise" in result:
            promise = result["promise"]
            self.promises[promise["id"], promise["key"]] = promise["token"]
        if op["op"] in ("changes", "events_feed") and result:
            (self.cursors if op["op"] == "changes" else self.feeds).append(result["next"])

    # renaming

    def name(self, kind, value):
        names = self.names[kind]
        return names.setdefault(value, f"{kind}{len(names) + 1}")

    def rename(self, value, member=""):
        if isinstance(value, list):
            return [self.rename(each, member) for each in value]
        if isinstance(value, dict):
            return {name: self.rename(each, name) for name, each in sorted(value.items())
                    if not self.is_free(value, name)}
        if member in ("token", "take_token") and value:
            return self.name("t", value)
        if member == "birth":
            return self.name("b", value)
        if member == "next" and isinstance(value, str) and value.startswith("c1."):
            return self.name("c", value)
        return value

    @staticmethod
    def is_free(value, name):
        """What the contract does not say: how the keys of attempts are made."""
        return name == "key" and str(value.get("type", "")).startswith("process.attempt_")


class ModelSystem(System):
    def __init__(self, mends, model=store_model.Model):
        super().__init__()
        self.call = model(mends=mends).call


class DriverSystem(System):
    def __init__(self, url):
        super().__init__()
        self.process = subprocess.Popen([DRIVER, url, "feed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(self, op):
        op = self.fill(op)
        self.pending = op
        wide = json.dumps(self.narrow(op), separators=(",", ":"))
        self.process.stdin.write(wide.encode() + b"\n")
        self.process.stdin.flush()

    def receive(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the driver has ended: {self.process.wait()} at {self.pending}")
        answer = json.loads(line)
        self.text = answer.get("text", "")
        self.put_in_order(answer["result"])
        self.remember(self.pending, answer["result"])
        return answer["code"], self.rename(answer["result"])

    def narrow(self, value):
        """Numbers beyond int64 are texts."""
        if isinstance(value, dict):
            return {name: self.narrow(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.narrow(each) for each in value]
        return str(value) if isinstance(value, int) and value >= 2**63 else value

    def close(self):
        self.process.stdin.close()
        if self.process.wait(30) != 0:
            sys.exit(f"the driver's status: {self.process.returncode}")


class Stage:
    """A fresh store on each back end that is asked for, and a model for each kind of clock."""

    made = 0

    def __init__(self, backends, model=store_model.Model):
        Stage.made += 1
        self.folder = tempfile.mkdtemp(prefix="store-", dir=".")
        base = server_url() if "postgres" in backends else ""
        self.schema = f"m{os.getpid()}_{Stage.made}"
        urls = {"memory": "memory:", "sqlite": f"sqlite:{self.folder}/s.db",
                "postgres": f"{base}{'&' if '?' in base else '?'}viv_schema={self.schema}"}
        self.systems = {name: DriverSystem(urls[name]) for name in backends}
        self.models = {mends: ModelSystem(mends, model) for mends in {name != "sqlite" for name in backends}}
        self.base = base

    def run(self, op):
        """None, or how the answers differ."""
        for system in self.systems.values():
            system.send(op)
        wanted = {mends: model.run(op) for mends, model in self.models.items()}
        for name, system in self.systems.items():
            found, want = system.receive(), wanted[name != "sqlite"]
            if want[1].get("next", "") is None:  # not said
                found[1]["next"] = None
            if (found[0], without_bodies(found[1])) != (want[0], want[1]):
                return f"{name}: {explain(found, want)} {system.text}"
        return None

    def close(self):
        for system in self.systems.values():
            system.close()
        shutil.rmtree(self.folder)
        if self.base:
            subprocess.run(["psql", "-q", self.base, "-c", f"DROP SCHEMA {self.schema} CASCADE"], check=True,
                           stderr=subprocess.DEVNULL)


def without_bodies(value):
    """The body of a wake says again what its other members say."""
    if isinstance(value, dict):
        return {name: without_bodies(each) for name, each in value.items() if name != "body"}
    return [without_bodies(each) for each in value] if isinstance(value, list) else value


def explain(found, wanted):
    if found[0] != wanted[0]:
        return f"{found[0]}, the model {wanted[0]}"
    found, wanted, path = without_bodies(found[1]), wanted[1], ""
    while True:
        if isinstance(found, dict) and isinstance(wanted, dict) and set(found) == set(wanted):
            name = next(name for name in found if found[name] != wanted[name])
        elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
            name = next(i for i, each in enumerate(found) if each != wanted[i])
        else:
            return f"{path}: {json.dumps(found)[:600]}, the model {json.dumps(wanted)[:600]}"
        found, wanted, path = found[name], wanted[name], f"{path}.{name}"


# ---- comparing ----

def compare(ops, backends, model=store_model.Model):
    """None, or (index, what differs)."""
    stage = Stage(backends, model)
    try:
        for i, op in enumerate(ops):
            wrong = stage.run(op)
            if wrong:
                return i, wrong
            if i % DUMP_EVERY == DUMP_EVERY - 1 or i == len(ops) - 1:
                for look in store_ops.dump():
                    wrong = stage.run(look)
                    if wrong:
                        return i, f"dump, {json.dumps(look)}: {wrong}"
        return None
    finally:
        stage.close()


def kind_of(wrong):
    """What stays the same while a case shrinks."""
    return re.sub(r"[0-9]+|: [\"{\[].*|(the model [A-Z_]+).*", r"\1", wrong[1])


def shrink(ops, backends, wrong, model=store_model.Model):
    """Fewer operations that still differ: pieces are left out, half of them first."""
    ops = ops[:wrong[0] + 1]
    size, until = len(ops) // 2, time.monotonic() + SHRINK_SECONDS
    while size > 0:
        i = 0
        while i < len(ops) and time.monotonic() < until:
            fewer = ops[:i] + ops[i + size:]
            found = compare(fewer, backends, model) if fewer else None
            if found and kind_of(found) == kind_of(wrong):
                ops, wrong = fewer[:found[0] + 1], found
            else:
                i += size
        size = min(size // 2, len(ops) // 2)
    return ops, wrong


def generate(seed, count):
    ops = []
    for op in store_ops.Generator(seed).operations(count):
        ops.append({**op, "op": {"append_one": "append", "settle_claimed": "complete"}.get(op["op"], op["op"])})
    return ops


def report(seed, ops, backends, wrong):
    name = wrong[1].split(":")[0]
    narrowed = [name] if name in backends else backends
    small, last = shrink(ops, narrowed, wrong)
    print(f"VIV_TEST_SEED={seed}: {wrong[1]}\nshrunk to {len(small)} operations:")
    for op in small:
        print("  " + json.dumps(op, ensure_ascii=False))
    print("  " + last[1], flush=True)


# ---- the control: models that are wrong ----

class Mutants:
    """Each changes one rule; a comparison that does not see it is worth nothing."""

    class ExpiryIsLater(store_model.Model):
        def is_live(self, lease):
            return super().is_live(lease) or (lease is not None and lease["expires"] == self.lease_now)

    class KeysMayHoldOtherContent(store_model.Model):
        @staticmethod
        def payload_hash(kind, payload, is_terminal):
            return kind

    class AuthorityIsNotAsked(store_model.Model):
        def check_authority(self, row, call, output):
            pass

    class AttemptsAreNotCharged(store_model.Model):
        def begin(self, row):
            super().begin(row)
            row.charged -= 1

    class DeliveriesAreNotCounted(store_model.Model):
        def op_wakes_take(self, op):
            result = super().op_wakes_take(op)
            for wake in result["wakes"]:
                self.wakes[wake["wake_id"]]["deliveries"] -= 1
            return result

    class TransferKeepsTheGrant(store_model.Model):
        def op_transfer(self, op):
            kept = {name: dict(row.grants) for name, row in self.rows.items()}
            super().op_transfer(op)
            for name, grants in kept.items():
                self.rows[name].grants = {**grants, **self.rows[name].grants}

    class PruneForgetsTombstones(store_model.Model):
        def op_prune(self, op):
            counts = super().op_prune(op)
            self.tombs = []
            return counts

    class PromisesOutliveTheProcess(store_model.Model):
        @staticmethod
        def finish(row, state, output):
            before = {key: dict(promise) for key, promise in row.promises.items()}
            store_model.Model.finish(row, state, output)
            row.promises = before

    ALL = [ExpiryIsLater, KeysMayHoldOtherContent, AuthorityIsNotAsked, AttemptsAreNotCharged,
           DeliveriesAreNotCounted, TransferKeepsTheGrant, PruneForgetsTombstones, PromisesOutliveTheProcess]


def find_mutants(count):
    """Names of those that were not found different."""
    ops = generate(CONTROL_SEED, count)
    return [mutant.__name__ for mutant in Mutants.ALL if compare(ops, ["memory"], mutant) is None]


def main():
    seeds, count = int(os.environ.get("VIV_TEST_SEEDS", 2)), int(os.environ.get("VIV_TEST_OPS", 2000))
    backends = os.environ.get("VIV_TEST_BACKENDS", "memory sqlite postgres").split()
    first = int(os.environ.get("VIV_TEST_SEED") or str(random.SystemRandom().getrandbits(40)), 0)
    print(f"seed: VIV_TEST_SEED={first}, {seeds} seeds of {count} operations", flush=True)
    began, failed = time.monotonic(), 0
    for seed in range(first, first + seeds):
        ops = generate(seed, count)
        wrong = compare(ops, backends)
        if wrong:
            failed += 1
            report(seed, ops, backends, wrong)
    print(f"{seeds - failed} of {seeds} seeds agree, {time.monotonic() - began:.1f} s", flush=True)
    if failed == 0:
        missed = find_mutants(max(count, 2000))
        for name in missed:
            print(f"the model made wrong was not found different: {name}")
        failed += len(missed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
