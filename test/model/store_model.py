# SPDX-License-Identifier: Apache-2.0
"""A model of the store, written from the contract (durable.md) alone: what each operation answers and leaves behind.

It keeps everything in dictionaries and copies them before an operation, so that one that is refused leaves no trace;
it has no transactions, statements, pages of memory or threads. Operations are methods op_NAME of an argument object;
they return a result object or raise Refused. Tokens, births and cursors are the model's own: whoever compares renames
them. `mends`: sweeps mend what a clock that stepped back left (3.4); not where leases are of a host.

An event is never changed once it is written; rows and wakes are copied before they are.
"""

import copy
import json

import store_json as js
import store_rules as rules
from store_json import INT_MAX, Refused
from store_rules import check_id, need, read_json, scope_id

PAYLOAD_MAX, EVENTS_MAX, KEPT_EVENTS, OUTPUT_MAX = 4096, 60, 1000, 1024 * 1024
DAY_MS = 24 * 3600 * 1000
CORE_FREE = ("process.cancel_requested",)  # and signals: who may append needs no fence


def add(a, b):
    return min(a + b, INT_MAX)


class Row:
    """A durable process."""

    def __init__(self, birth, registration, now):
        self.birth, self.registration, self.id = birth, registration, registration["id"]
        policy = registration.get("policy", {})
        self.policy, self.disposition = policy, registration["disposition"]
        self.text = js.write(registration)
        self.hash = "1:" + js.sha256(self.text)
        self.state, self.events, self.by_key, self.acked = "running", [], {}, set()
        self.created = self.updated = now
        self.due = policy.get("start_at_ms", now)
        self.deadline = policy.get("deadline_ms",
                                   add(now, policy["timeout_ms"]) if "timeout_ms" in policy else None)
        self.attempt = self.charged = self.streak = self.fence = 0
        self.open_attempt, self.lease, self.guard = None, None, None
        self.external_ref = self.first_started = self.abandon = self.cancel = self.wait = None
        self.wake_target = registration.get("wake_target")
        self.output, self.position = None, 0
        self.promises, self.checkpoints, self.grants = {}, {}, {}
        self.types = {**rules.CORE}
        for each in registration.get("event_types", []):
            self.types[each["name"]] = {**rules.CORE.get(each["name"], {}), **each}

    def copy(self):
        other = copy.copy(self)
        other.events, other.by_key, other.acked = list(self.events), dict(self.by_key), set(self.acked)
        other.promises = {key: dict(promise) for key, promise in self.promises.items()}
        other.checkpoints, other.grants = dict(self.checkpoints), dict(self.grants)
        other.lease = dict(self.lease) if self.lease else None
        return other

    def ended(self):
        return self.state != "running"

    def type_of(self, name):
        if name.startswith("signal.") and len(name) > 7:
            return self.types.get(name, {})
        return self.types.get(name)


class Model:
    def __init__(self, mends=False, event_feed=True):
        self.rows, self.wakes, self.blobs, self.tombs = {}, {}, {}, []
        self.births = self.tokens = self.position = self.wake_count = 0
        self.mends, self.has_feed = mends, event_feed
        self.wall = self.lease_now = 0
        self.tomb_low = (0, 0)

    # ---- one call ----

    def call(self, op):
        """{"op":NAME, …} -> (code, result)"""
        kept = ({name: row.copy() for name, row in self.rows.items()},
                {name: dict(wake) for name, wake in self.wakes.items()}, dict(self.blobs), list(self.tombs),
                self.births, self.wake_count, self.tomb_low)
        self.position += 1
        try:
            return "OK", getattr(self, "op_" + op["op"])(op) or {}
        except Refused as refused:
            mended = {name: row.lease for name, row in self.rows.items()} if refused.code == "STORE_LEASED" else {}
            (self.rows, self.wakes, self.blobs, self.tombs, self.births, self.wake_count, self.tomb_low) = kept
            for name, lease in mended.items():  # LEASED may mend an expiry (3.4), which stays
                if name in self.rows and self.rows[name].lease:
                    self.rows[name].lease = lease
            return refused.code, {}

    def op_clock(self, op):
        self.wall, self.lease_now = op["wall"], op["lease"]

    def row(self, name):
        need(name in self.rows, "NOTFOUND")
        return self.rows[name]

    def token(self):
        self.tokens += 1
        return f"a{self.tokens:031x}"

    def touch(self, row):
        row.updated = max(row.updated, self.wall)
        row.position = self.position

    # ---- leases ----

    def is_live(self, lease):
        return lease is not None and lease["expires"] > self.lease_now

    def is_held(self, lease):
        """For who would take it: a clock that stepped back stalls them for a TTL at most (3.4)."""
        if lease is not None and lease["expires"] - self.lease_now > lease["ttl"]:
            lease["expires"] = add(self.lease_now, lease["ttl"])
            return True
        return self.is_live(lease)

    def is_fence(self, row, fence):
        return self.is_live(row.lease) and fence["token"] == row.lease["token"] and fence["fence"] == row.fence

    def check_fence(self, row, fence, is_free=False):
        if fence is not None:
            need(self.is_fence(row, fence), "STORE_FENCED")
        elif not is_free and row.policy.get("strict") and self.is_live(row.lease):
            raise Refused("STORE_FENCE_REQUIRED")

    # ---- what is shown ----

    def phase(self, row):
        if row.ended():
            return row.state
        if row.cancel:
            return "cancelling"
        if row.wait is not None:
            return "waiting"
        if row.lease and row.lease["expires"] > self.lease_now:
            return "running"
        if row.due > self.wall:
            return "backoff" if row.attempt else "scheduled"
        return "queued"

    def show(self, row):
        def text(value):
            return "" if value is None else js.write(value)
        target = row.wake_target or {}
        return {"id": row.id, "registration": row.text, "hash": row.hash, "birth": row.birth,
                "kind": row.registration.get("kind", ""), "label": row.registration.get("label", ""),
                "last_seq": len(row.events), "disposition": row.disposition, "state": row.state,
                "phase": self.phase(row), "created_ms": row.created, "updated_ms": row.updated, "due_ms": row.due,
                "attempt": row.attempt, "charged": row.charged,
                "wake_target": [target.get("session", ""), target.get("frame", "")],
                "await_output": text(row.output), "external_ref": text(row.external_ref),
                "first_started": text(row.first_started), "abandon_request": text(row.abandon),
                "cancel_request": text(row.cancel), "wait": text(row.wait)}

    def show_lease(self, row, with_token=True):
        lease = row.lease
        return {"id": row.id, "birth": row.birth, "owner_id": lease["owner"], "incarnation": lease["incarnation"],
                "token": lease["token"] if with_token else "", "fence": row.fence, "attempt": row.attempt,
                "claimed_ms": lease["claimed"], "expires_ms": lease["expires"], "ttl_ms": lease["ttl"],
                "guard": row.guard or ""}

    def show_event(self, event):
        return {name: event[name] for name in ("id", "seq", "type", "payload", "key", "at_ms", "semantics", "wake_id")}

    @staticmethod
    def wake_of(event):
        """The wake of an event, as it is told to who appends; the outbox has that of the first with its key."""
        wake = json.loads(event["semantics"], parse_float=js.read_float).get("wake") if event["semantics"] else None
        if wake is None:
            return None
        return {"wake_id": event["wake_id"], "scope_id": wake["scope_id"], "id": event["id"], "type": event["type"],
                "dedupe_key": wake["dedupe_key"], "input": js.write(wake["input"]), "seq": event["seq"],
                "created_ms": event["at_ms"], "deliveries": 0, "take_token": ""}

    def show_wake(self, wake, token=""):
        return {**{name: wake[name] for name in ("wake_id", "scope_id", "id", "type", "dedupe_key", "input", "seq",
                                                 "created_ms", "deliveries")}, "take_token": token}

    # ---- registration and reading (2.1) ----

    def register(self, registration):
        row = self.rows.get(registration["id"])
        if row is not None:
            need(row.hash == "1:" + js.hash_of(registration), "STORE_REGISTRATION")
            return row, False
        self.births += 1
        row = Row(self.births, registration, self.wall)
        row.position = self.position
        self.rows[row.id] = row
        return row, True

    def op_register(self, op):
        row, created = self.register(rules.read_registration(op["registration"]))
        return {"record": self.show(row), "created": created}

    def op_get(self, op):
        return {"record": self.show(self.row(check_id(op["id"])))}

    def op_start(self, op):
        registration = rules.read_registration(op["registration"])
        grants = [(rules.read_scope(each), self.read_grant(each["descriptor"])) for each in op["grants"]]
        lease = op.get("lease")
        if lease:
            self.check_owner(lease)
        events = [self.read_append(each) for each in op["events"]]
        row, created = self.register(registration)
        for (session, frame), descriptor in grants:
            row.grants[scope_id(session, frame)] = (session, frame, descriptor)
        for each in events:
            need(created or each["key"] or each["type"].startswith("process."), "STORE_KEY_REQUIRED")
            self.append(row, each)
        held = False
        if lease:
            try:
                self.claim(row, lease)
                held = True
            except Refused:
                if created:
                    raise
        return {"record": self.show(row), "created": created,
                "lease": self.show_lease(row) if held and row.lease else None}

    FILTERS = ("status", "phase", "waiting", "disposition", "kind", "label", "owner_session", "scope_id", "module",
               "queue", "caused_by", "created_from_ms", "created_to_ms", "cancel_requested")

    def read_filter(self, text):
        if not text:
            return {}
        value = read_json(text, 65536)
        rules.check_keys(value, (), self.FILTERS)
        for name in ("kind", "label", "owner_session", "scope_id", "module", "queue", "disposition", "phase"):
            need(isinstance(value.get(name, ""), str))
        for name in ("waiting", "cancel_requested"):
            need(isinstance(value.get(name, True), bool))
        need(isinstance(value.get("status", []), list) and all(each in rules.STATES for each in value.get("status", [])))
        return value

    def matches(self, row, wanted):
        scope = row.registration.get("provenance", {}).get("owner_scope", {"session": "root"})
        cause = row.registration.get("provenance", {}).get("caused_by", {})
        found = {"disposition": row.disposition, "phase": self.phase(row), "waiting": row.wait is not None,
                 "kind": row.registration.get("kind"), "label": row.registration.get("label"),
                 "owner_session": scope["session"], "scope_id": scope_id(scope["session"], scope.get("frame", "")),
                 "module": row.registration["input"].get("module"), "queue": row.policy.get("queue", "default"),
                 "cancel_requested": row.cancel is not None}
        for name, value in wanted.items():
            if name == "status":
                good = row.state in value
            elif name == "created_from_ms":
                good = row.created >= value
            elif name == "created_to_ms":
                good = row.created < value
            elif name == "caused_by":
                good = (cause.get("type"), cause.get("process_id", cause.get("id"))) == (value["type"], value["id"])
            else:
                good = found[name] == value
            if not good:
                return False
        return True

    @staticmethod
    def check_limit(limit, most=10000):
        need(limit <= most, "TOOBIG")
        return limit

    def page(self, op, rows, show, key):
        """(items, key to go on after)"""
        limit = self.check_limit(op["limit"])
        if limit == 0:
            return [], ""
        return [show(each) for each in rows[:limit]], key(rows[limit - 1]) if len(rows) > limit else ""

    def list_rows(self, op, wanted, nonterminal=False):
        after = (op.get("after") or "").encode()
        rows = sorted((row for row in self.rows.values() if row.id.encode() > after and self.matches(row, wanted)
                       and not (nonterminal and row.ended())), key=lambda row: row.id.encode())
        items, following = self.page(op, rows, self.show, lambda row: row.id)
        # A phase is looked for among a page of processes, which may end before there is one, and says so.
        return {"records": items, "next": None if "phase" in wanted else following}

    def op_list(self, op):
        return self.list_rows(op, self.read_filter(op.get("filter")))

    def op_list_nonterminal(self, op):
        return self.list_rows(op, {}, True)

    def op_unregistered(self, op):
        ids = [check_id(each) for each in op["ids"]]
        return {"ids": list(dict.fromkeys(each for each in ids if each not in self.rows))}

    def op_refs_summary(self, op):
        counts = {}
        for row in self.rows.values():
            module = row.registration["input"].get("module", "").removeprefix("sha256:")
            if module and not row.ended() and module > (op.get("after") or ""):
                counts[module] = counts.get(module, 0) + 1
        items, following = self.page(op, sorted(counts.items()), list, lambda each: each[0])
        return {"refs": items, "next": following}

    def op_stats(self, _):
        states = [sum(row.state == each for row in self.rows.values()) for each in rules.STATES]
        waiting = [row.due for row in self.rows.values()
                   if not row.ended() and row.lease is None and self.is_queued(row)]
        return {"by_state": states, "outbox": sum(wake["state"] != "acked" for wake in self.wakes.values()),
                "oldest_due_ms": min(waiting, default=-1), "blobs": len(self.blobs),
                "blob_bytes": sum(len(each[0]) for each in self.blobs.values()), "tombstones": len(self.tombs),
                "log_bytes": sum(len(event["payload"].encode()) for row in self.rows.values() for event in row.events)}

    # ---- facts on the row (2.2) ----

    def op_set_external_ref(self, op):
        name = check_id(op["id"])
        ref = read_json(op["ref"], 16 * 1024)
        rules.check_keys(ref, ("backend", "id"), ("metadata",))
        need(all(isinstance(ref[name], str) and ref[name] for name in ("backend", "id")))
        row = self.row(name)
        self.check_fence(row, op.get("fence"))
        if row.external_ref is not None:
            need(js.same(row.external_ref, ref), "STORE_EXTERNAL_REF")
            return {"record": self.show(row)}
        row.external_ref = ref
        self.touch(row)
        return {"record": self.show(row)}

    def op_record_first_started(self, op):
        name = check_id(op["id"])
        started = read_json(op["started"], 65536)
        rules.check_keys(started, ("owner", "at_ms"))
        rules.check_keys(started["owner"], ("owner_id",), ("incarnation",))
        row = self.row(name)
        need(not row.ended(), "STORE_TERMINAL")
        self.check_fence(row, op.get("fence"))
        if row.first_started is None:
            row.first_started = started
            self.touch(row)
        return {"record": self.show(row)}

    def op_request_abandon(self, op):
        name = check_id(op["id"])
        request = read_json(op["request"], 65536)
        rules.check_keys(request, ("by", "at_ms"), ("reason",))
        row = self.row(name)
        need(not row.ended(), "STORE_TERMINAL")
        if row.abandon is None:
            row.abandon = request
            self.touch(row)
        return {"record": self.show(row)}

    def op_request_cancel(self, op):
        name = check_id(op["id"])
        payload = {each: rules.raw(op[each]).decode() for each in ("reason", "by") if op.get(each) is not None}
        row = self.row(name)
        key = "viv:cancel:" + js.hash_of(payload)
        event = row.by_key.get(key)
        if event is None:
            need(not row.ended(), "STORE_TERMINAL")
            event = self.append(row, self.own("process.cancel_requested", payload, key))[0]
        if op.get("now") and not row.ended() and row.disposition != "external" and not self.is_live(row.lease):
            output = {"type": "cancelled", "message": payload.get("reason", "cancelled")}
            self.end(row, output, {"type": "host", "reason": "cancel"})
        return {"record": self.show(row), "sequence": event["seq"]}

    def op_set_wait(self, op):
        name = check_id(op["id"])
        wait = read_json(op["wait"], 65536) if op["wait"] else None
        if wait is not None:
            rules.check_keys(wait, ("kind",), ("name", "key", "ordinal", "since_ms"))
            need(all(isinstance(wait.get(name, ""), str) for name in ("kind", "name", "key")))
        row = self.row(name)
        need(wait is None or not row.ended(), "STORE_TERMINAL")
        self.check_fence(row, op.get("fence"))
        if not js.same(row.wait, wait):
            row.wait = wait
            self.touch(row)
        return {"record": self.show(row)}

    # ---- append (2.3) ----

    @staticmethod
    def own(kind, payload, key="", fence=None, is_free=True):
        """An event of the store's own. is_free: without a fence; None: never without one."""
        return {"type": kind, "payload": payload, "key": key, "fence": fence, "authority": None, "target": None,
                "is_own": True, "is_free": is_free, "force": False}

    def read_authority(self, text):
        if not text:
            return None
        value = read_json(text, 65536)
        fields = {"lease": (), "engine_key": ("key",), "external_owner": ("granted_to",), "reconciled_abandon": (),
                  "host": ("reason",)}
        need(isinstance(value, dict) and isinstance(value.get("type"), str) and value["type"] in fields)
        rules.check_keys(value, ("type", *fields[value["type"]]))
        need(all(isinstance(each, str) for each in value.values()))
        return value

    def read_append(self, op):
        """The checks before the transaction."""
        kind = check_id(op["type"], 128)
        key = rules.raw(op.get("key")).decode()
        need(not key.startswith("viv:"))
        need(len(key.encode()) <= 512, "TOOBIG")
        payload = read_json(op["payload"], PAYLOAD_MAX)
        target = rules.read_scope(op["wake_target"]) if op.get("wake_target") else None
        return {"type": kind, "payload": payload, "key": key, "fence": op.get("fence"),
                "authority": self.read_authority(op.get("authority")), "target": target, "is_own": False,
                "is_free": kind in CORE_FREE or kind.startswith("signal."), "force": False}

    def check_authority(self, row, call, output):
        authority = call["authority"]
        need(authority is not None, "STORE_AUTHORITY")
        kind, is_external = authority["type"], row.disposition == "external"
        may = {"lease": call["fence"] is not None, "engine_key": not is_external, "external_owner": is_external,
               "reconciled_abandon": is_external and output["type"] == "abandoned", "host": True}[kind]
        need(may, "STORE_AUTHORITY")
        if output["type"] == "abandoned":
            writer = output["evidence"]["writer"]
            if writer == "reconciled_request":
                need(kind in ("lease", "reconciled_abandon"), "STORE_AUTHORITY")
                need(is_external or row.abandon is not None, "STORE_AUTHORITY")
            else:
                need(kind in ("lease", "engine_key"), "STORE_AUTHORITY")
        if kind == "host":
            need(call["force"] or not self.is_live(row.lease), "STORE_LEASED")

    @staticmethod
    def payload_hash(kind, payload, is_terminal):
        if is_terminal and isinstance(payload, dict):
            payload = {name: value for name, value in payload.items() if name != "completion_authority"}
        return js.hash_of([kind, payload])

    def find_wake(self, row, spec, payload, sequence):
        """(input, dedupe key), as selected; None: no wake."""
        wake = spec.get("wake")
        if wake is None or ("when" in wake and not js.is_true(js.select(wake["when"], payload))):
            return None
        dedupe = wake.get("dedupe", "event")
        if dedupe == "event":
            key = f"{row.id}:{sequence}"
        elif "const" in dedupe:
            key = dedupe["const"]
        else:
            key = js.string_form(js.select(dedupe["selector"], payload))
        return js.select(wake["input"], payload), key

    def append(self, row, call):
        """(event, replayed): the numbered checks of 2.3."""
        kind, payload, key = call["type"], call["payload"], call["key"]
        spec = row.type_of(kind)
        terminal = spec.get("terminal") if spec else None
        if kind in rules.CORE and terminal and not key:
            key = "viv:terminal:" + kind
        content = self.payload_hash(kind, payload, terminal is not None)
        if key and key in row.by_key:  # 2
            event = row.by_key[key]
            need(event["hash"] == content, "STORE_KEY_CONFLICT")
            self.owe(row, event)
            return event, True
        need(spec is not None, "STORE_UNDECLARED")  # 3
        need(key or not (terminal or kind == "process.cancel_requested"), "STORE_KEY_REQUIRED")  # 4
        need(js.fits(payload, spec.get("schema", True)), "STORE_SCHEMA")  # 5
        output = rules.terminal_output(terminal["state"], terminal.get("output"), payload) if terminal else None  # 6
        wake = self.find_wake(row, spec, payload, len(row.events) + 1)
        need(not row.ended(), "STORE_TERMINAL")  # 7
        if terminal:
            self.check_authority(row, call, output)  # 8
        need(call["fence"] is not None or call["is_free"] is not None, "STORE_FENCED")  # 9
        self.check_fence(row, call["fence"], call["is_free"])
        target = call["target"]
        if target is None and row.wake_target:
            target = (row.wake_target["session"], row.wake_target.get("frame", ""))
        if wake is not None and target is None:  # 10
            need(spec["wake"].get("no_target", "record") != "refuse", "STORE_NO_TARGET")
            wake = None
        is_core = kind in rules.CORE
        need(len(row.events) < EVENTS_MAX + (KEPT_EVENTS if is_core else 0), "QUOTA")  # 11
        return self.write_event(row, {"type": kind, "payload": payload, "key": key, "hash": content, "output": output,
                                      "state": terminal["state"] if terminal else None, "wake": wake,
                                      "target": target})

    def write_event(self, row, what):
        self.touch(row)
        semantics, wake_id = {}, ""
        if what["output"] is not None:
            semantics["terminal"] = {"state": what["state"], "await_output": what["output"]}
        if what["wake"] is not None:
            scope, (value, dedupe) = scope_id(*what["target"]), what["wake"]
            semantics["wake"] = {"input": value, "dedupe_key": dedupe, "scope_id": scope, "process_id": row.id,
                                 "session": what["target"][0], "type": what["type"], "sequence": len(row.events) + 1,
                                 **({"frame": what["target"][1]} if what["target"][1] else {})}
            wake_id = "wake:" + js.hash_of([scope, dedupe])
        event = {"id": row.id, "birth": row.birth, "seq": len(row.events) + 1, "type": what["type"],
                 "payload": js.write(what["payload"]), "key": what["key"], "at_ms": row.updated,
                 "semantics": js.write(semantics) if semantics else "", "wake_id": wake_id, "hash": what["hash"],
                 "position": self.position}
        row.events.append(event)
        if what["key"]:
            row.by_key[what["key"]] = event
        self.owe(row, event)
        if what["type"] == "process.cancel_requested" and row.cancel is None:
            row.cancel = {**what["payload"], "sequence": event["seq"], "at_ms": event["at_ms"]}
        if what["output"] is not None:
            self.finish(row, what["state"], what["output"])
        return event, False

    def owe(self, row, event):
        """Puts the wake of an event into the outbox, if it is not there."""
        wake = self.wake_of(event)
        if wake is not None and wake["wake_id"] not in self.wakes:
            self.wake_count += 1
            session = json.loads(event["semantics"])["wake"]["session"]
            self.wakes[wake["wake_id"]] = {**wake, "session": session, "state": "pending", "visible": 0, "token": None,
                                           "order": self.wake_count, "birth": row.birth}

    @staticmethod
    def finish(row, state, output):
        row.state, row.output = state, output
        row.wait = row.lease = row.guard = row.open_attempt = None
        for promise in row.promises.values():
            if promise["outcome"] is None:
                promise["outcome"] = {"type": "process_ended"}

    def op_append(self, op):
        name = check_id(op["id"])
        call = self.read_append(op)
        event, replayed = self.append(self.row(name), call)
        return {"event": self.show_event(event), "wake": self.wake_of(event), "replayed": replayed}

    def op_append_many(self, op):
        calls = [(check_id(each["id"]), self.read_append(each)) for each in op["appends"]]
        items, _ = [], [self.row(name) for name, _ in calls]
        for name, call in calls:
            event, replayed = self.append(self.row(name), call)
            items.append({"event": self.show_event(event), "wake": self.wake_of(event), "replayed": replayed})
        return {"items": items}

    # ---- reading the log (2.4) ----

    def op_events_after(self, op):
        name, limit, kind = check_id(op["id"]), self.check_limit(op["limit"]), op.get("type")
        row = self.row(name)
        events = [each for each in row.events if each["seq"] > op["after"] and (not kind or each["type"] == kind)]
        page = self.take_bytes(events[:limit], op.get("bytes") or 4 << 20)
        is_all = len(page) == len(events)
        return {"events": [self.show_event(each) for each in page], "ended": row.ended() and is_all,
                "next": page[-1]["seq"] if page else min(op["after"], INT_MAX)}

    @staticmethod
    def take_bytes(events, budget):
        """Only whether a budget of one byte leaves one event: how bytes are counted is not the contract's."""
        return events[:1] if budget == 1 else events

    def op_events_recent(self, op):
        name = check_id(op["id"])
        self.check_limit(op["count"])
        row = self.row(name)
        return {"events": [self.show_event(each) for each in (row.events[-op["count"]:] if op["count"] else [])]}

    def op_count_through(self, op):
        row = self.row(check_id(op["id"]))
        return {"count": sum(each["type"] == op["type"] and each["seq"] <= op["through"] for each in row.events)}

    def op_event_by_key(self, op):
        row = self.row(check_id(op["id"]))
        need(op["key"] in row.by_key, "NOTFOUND")
        return {"event": self.show_event(row.by_key[op["key"]])}

    def op_wake_events_after(self, op):
        name, limit = check_id(op["id"]), self.check_limit(op["limit"])
        row = self.row(name)
        page = [each for each in row.events
                if each["seq"] > op["after"] and each["wake_id"] and each["seq"] not in row.acked][:limit]
        return {"events": [self.show_event(each) for each in page]}

    def op_ack_wake(self, op):
        row = self.row(check_id(op["id"]))
        need(1 <= op["sequence"] <= len(row.events))
        event = row.events[op["sequence"] - 1]
        if event["wake_id"]:
            row.acked.add(event["seq"])
            if event["wake_id"] in self.wakes:
                self.wakes[event["wake_id"]]["state"] = "acked"

    def op_events_feed(self, op):
        need(self.has_feed, "UNSUPPORTED")
        limit = self.check_limit(op["limit"])
        after = self.read_cursor(op["after"], 3)
        events = sorted(((each["position"], each["birth"], each["seq"]), each)
                        for row in self.rows.values() for each in row.events)
        page = [each for each in events if each[0] > after][:limit]
        return {"events": [self.show_event(each) for _, each in page],
                "next": self.write_cursor(page[-1][0] if page else after)}

    # ---- ending (2.5) ----

    def end(self, row, output, authority, fence=None, force=False):
        recorded = {"type": "lease", "fence": fence["fence"]} if authority["type"] == "lease" and fence else authority
        call = self.own("process." + rules.state_of(output), {"await_output": output, "completion_authority": recorded},
                        "viv:terminal:process." + rules.state_of(output), fence,
                        force and authority["type"] == "host")
        return self.append(row, {**call, "authority": authority, "force": force})

    def op_complete(self, op):
        name = check_id(op["id"])
        output = read_json(op["output"], OUTPUT_MAX)
        rules.check_output(output)
        need(op["authority"], "STORE_JSON")
        authority = self.read_authority(op["authority"])
        row = self.row(name)
        self.end(row, output, authority, op.get("fence"), bool(op.get("force")))
        return {"record": self.show(row)}

    # ---- grants (2.6) ----

    @staticmethod
    def read_grant(text):
        value = read_json(text, 65536) if text else {}
        rules.check_keys(value, (), ("kind", "label", "rights"))
        need(all(isinstance(value.get(name, ""), str) for name in ("kind", "label")))
        wanted = value.get("rights", [])
        need(isinstance(wanted, list) and all(each in rules.RIGHTS for each in wanted))
        return rules.without_defaults(value, {"rights": list(rules.RIGHTS[:4])})

    def op_grant(self, op):
        session, frame = rules.read_scope(op["scope"])
        name, descriptor = check_id(op["id"]), self.read_grant(op["descriptor"])
        self.row(name).grants[scope_id(session, frame)] = (session, frame, descriptor)

    def op_revoke(self, op):
        scope, name = scope_id(*rules.read_scope(op["scope"])), check_id(op["id"])
        if name in self.rows:
            self.rows[name].grants.pop(scope, None)

    def op_transfer(self, op):
        source, target = rules.read_scope(op["from"]), rules.read_scope(op["to"])
        ids = list(dict.fromkeys(check_id(each) for each in op["ids"]))
        for name in ids:
            need(name in self.rows and scope_id(*source) in self.rows[name].grants, "STORE_NOT_GRANTED")
        for name in ids:
            grant = self.rows[name].grants.pop(scope_id(*source))
            self.rows[name].grants[scope_id(*target)] = (*target, grant[2])

    def op_has_grant(self, op):
        scope, name = scope_id(*rules.read_scope(op["scope"])), check_id(op["id"])
        grant = self.rows[name].grants.get(scope) if name in self.rows else None
        return {"has": grant is not None,
                "rights": js.write(grant[2].get("rights", list(rules.RIGHTS[:4]))) if grant else ""}

    @staticmethod
    def show_grant(session, frame, descriptor):
        return {"session": session, "frame": frame, "scope_id": scope_id(session, frame),
                "descriptor": js.write(descriptor)}

    def op_grants_of_scope(self, op):
        scope, after = scope_id(*rules.read_scope(op["scope"])), (op.get("after") or "").encode()
        rows = sorted((row for row in self.rows.values() if scope in row.grants and row.id.encode() > after
                       and not (op.get("live_only") and row.ended())), key=lambda row: row.id.encode())
        items, following = self.page(op, rows, lambda row: {**self.show_grant(*row.grants[scope]),
                                                            "record": self.show(row)}, lambda row: row.id)
        return {"grants": items, "next": following}

    def op_grants_of_process(self, op):
        row = self.row(check_id(op["id"]))
        order = sorted(row.grants.values(), key=lambda grant: (grant[0].encode(), scope_id(*grant[:2]).encode()))
        return {"grants": [self.show_grant(*grant) for grant in order]}

    def op_scope_delete(self, op):
        session, revoked, orphaned, preserved, dropped = check_id(op["session"]), 0, [], [], 0
        for row in sorted(self.rows.values(), key=lambda row: row.id.encode()):
            mine = [scope for scope, grant in row.grants.items() if grant[0] == session]
            for scope in mine:
                del row.grants[scope]
            revoked += len(mine)
            if mine and not row.ended():
                (preserved if row.grants else orphaned).append(row.id)
            if row.wake_target and row.wake_target["session"] == session:
                row.wake_target = None
                self.touch(row)
        for name in orphaned if op.get("cancel") else ():
            payload = {"reason": "scope deleted"}
            self.append(self.rows[name], self.own("process.cancel_requested", payload,
                                                  "viv:cancel:" + js.hash_of(payload)))
        for wake_id in [each["wake_id"] for each in self.wakes.values()
                        if op.get("drop") and each["session"] == session and each["state"] != "acked"]:
            del self.wakes[wake_id]
            dropped += 1
        return {"revoked": revoked, "dropped": dropped, "orphaned": orphaned, "preserved": preserved}

    # ---- leases (2.7) ----

    @staticmethod
    def check_owner(op):
        check_id(op["owner"]["owner_id"])
        if op["owner"].get("incarnation"):
            check_id(op["owner"]["incarnation"])
        need(op["ttl_ms"] >= 0)

    def give(self, row, op):
        """A new lease."""
        owner = op["owner"]
        row.fence += 1
        row.lease = {"token": self.token(), "owner": owner["owner_id"], "incarnation": owner.get("incarnation") or "",
                     "claimed": self.lease_now, "ttl": op["ttl_ms"], "expires": add(self.lease_now, op["ttl_ms"]),
                     "dead": owner.get("liveness") == "dead"}

    def begin(self, row):
        lease = row.lease
        self.close_attempt(row, {"outcome": "lost"})
        row.attempt += 1
        row.charged += 1
        row.open_attempt = row.attempt
        payload = {"attempt": row.attempt, "owner": lease["owner"], "fence": row.fence}
        owner = {"owner_id": lease["owner"]}
        if lease["incarnation"]:
            payload["incarnation"] = owner["incarnation"] = lease["incarnation"]
        event = self.append(row, self.own("process.attempt_started", payload))[0]
        if row.first_started is None:
            row.first_started = {"owner": owner, "at_ms": event["at_ms"]}

    def close_attempt(self, row, outcome):
        if row.open_attempt is not None:
            row.streak += outcome["outcome"] != "handed_back"
            self.append(row, self.own("process.attempt_ended", {"attempt": row.open_attempt, **outcome}))
            row.open_attempt = None

    def claim(self, row, op):
        need(not row.ended(), "STORE_TERMINAL")
        owner, lease = op["owner"], row.lease
        if self.is_held(lease):
            need((lease["owner"], lease["incarnation"]) == (owner["owner_id"], owner.get("incarnation") or ""),
                 "STORE_LEASED")
            if lease["incarnation"]:  # re-entry
                lease["expires"] = max(lease["expires"], add(self.lease_now, op["ttl_ms"]))
                lease["ttl"] = max(lease["ttl"], op["ttl_ms"])
                if op.get("begin") and row.open_attempt is None:
                    self.begin(row)
                return
        self.give(row, op)
        if op.get("begin"):
            self.begin(row)

    def op_claim(self, op):
        name = check_id(op["id"])
        self.check_owner(op)
        row = self.row(name)
        self.claim(row, op)
        return {"lease": self.show_lease(row)}

    def op_reclaim(self, op):
        name = check_id(op["id"])
        self.check_owner(op)
        row, seen = self.row(name), op["observed"]
        need(not row.ended(), "STORE_TERMINAL")
        lease = row.lease
        is_held = self.is_held(lease)
        need(lease is not None and (row.fence, lease["owner"], lease["incarnation"])
             == (seen["fence"], seen["owner_id"], seen["incarnation"]), "STORE_LEASED")
        need(not is_held or lease["dead"], "STORE_LEASED")
        self.give(row, {**op, "owner": {**op["owner"], "liveness": "self"}})
        if op.get("begin"):
            self.begin(row)
        return {"lease": self.show_lease(row)}

    def renew(self, row, fence, ttl_ms):
        need(row is not None and self.is_fence(row, fence), "STORE_FENCED")
        if ttl_ms >= 0:
            row.lease["expires"] = max(row.lease["expires"], add(self.lease_now, ttl_ms))
            row.lease["ttl"] = max(row.lease["ttl"], ttl_ms)
        return row.lease["expires"]

    def op_renew(self, op):
        """One that mends what a clock that stepped back left; renewals of many leave that to who would claim."""
        guard = js.write(read_json(op["guard"], 65536)) if op.get("guard") else None
        need(op["ttl_ms"] >= 0)
        row = self.rows.get(op["lease"]["id"])
        need(row is not None and self.is_fence(row, op["lease"]), "STORE_FENCED")
        self.is_held(row.lease)
        row.lease["expires"] = max(row.lease["expires"], add(self.lease_now, op["ttl_ms"]))
        row.lease["ttl"] = max(row.lease["ttl"], op["ttl_ms"])
        expires = row.lease["expires"]
        if guard is not None:
            row.guard = guard
        return {"expires_ms": expires}

    def op_renew_many(self, op):
        items = []
        for lease in op["leases"]:
            row = self.rows.get(lease["id"])
            try:
                items.append(["OK", self.renew(row, lease, op["ttl_ms"]), row.cancel is not None])
            except Refused as refused:
                items.append([refused.code, 0, False])
        return {"renewed": items, "now_ms": self.lease_now}

    def op_release(self, op):
        row, outcome = self.rows.get(op["lease"]["id"]), op.get("outcome")
        if row is None or row.lease is None or row.lease["token"] != op["lease"]["token"]:
            return {"released": False}
        row.lease = row.guard = None
        if outcome is not None:
            ended = {"outcome": outcome["outcome"]}
            if outcome.get("reason"):
                ended["reason"] = outcome["reason"]
            if outcome["delay_ms"] >= 0:
                ended["next_due_ms"] = row.due = add(self.wall, outcome["delay_ms"])
            if row.open_attempt is not None and outcome["outcome"] == "handed_back":
                row.charged -= 1
            self.close_attempt(row, ended)
        return {"released": True}

    def op_get_lease(self, op):
        row = self.row(check_id(op["id"]))
        need(row.lease is not None, "NOTFOUND")
        return {"lease": self.show_lease(row, False)}

    # ---- the queue (4.3) ----

    @staticmethod
    def is_launched(row):
        return row.disposition != "external" and row.registration["input"]["type"] != "external"

    @staticmethod
    def may_run(row):
        return row.disposition == "rerunnable" or row.first_started is None

    def is_queued(self, row):
        """Whether there is, or will be, a verdict."""
        if not self.is_launched(row):
            return row.abandon is not None
        return self.may_run(row) or row.cancel is not None or row.abandon is not None

    def delay_ms(self, row):
        backoff = {**rules.BACKOFF, **row.policy.get("backoff", {})}
        return int(min(backoff["max_ms"], backoff["initial_ms"] * backoff["factor"] ** (row.streak - 1)))

    def evidence(self, row, writer):
        started = row.first_started
        return {"type": "abandoned", "evidence": {"writer": writer, "at_ms": self.wall,
                                                  **({"owner": started["owner"]} if started else {})}}

    def verdict(self, row, is_dead):
        """(verdict, output); None: nothing is to be done; "later": it is to wait for its time, without a lease. One that
        is free is looked at when it is due, if not for its deadline or a request to cancel it."""
        is_early = row.lease is None and row.due > self.wall and row.cancel is None
        if not self.is_launched(row):
            is_asked = row.abandon is not None and not is_early
            return ("abandoned", self.evidence(row, "reconciled_request")) if is_asked else (None, None)
        if row.deadline is not None and row.deadline <= self.wall:
            return "failed", {"type": "failure", "class": "timeout", "code": "deadline",
                              "message": "the deadline has passed"}
        if row.cancel:
            return "cancelled", {"type": "cancelled", "message": row.cancel.get("reason") or "cancelled"}
        if is_early:
            return None, None
        if row.disposition == "rerunnable":
            return self.verdict_of_rerunnable(row)
        if row.first_started is None:
            return ("run" if row.due <= self.wall else "later"), None
        if row.abandon:
            return "abandoned", self.evidence(row, "reconciled_request")
        lapsed = row.lease and add(row.lease["expires"], row.lease["ttl"]) <= self.lease_now
        if is_dead or (lapsed and row.policy.get("on_lapse") == "abandon"):
            return "abandoned", self.evidence(row, "sweep")
        return None, None

    def verdict_of_rerunnable(self, row):
        attempts = row.policy.get("max_attempts", 5)
        if row.charged >= attempts:
            self.close_attempt(row, {"outcome": "lost"})
            outcomes = [json.loads(each["payload"]) for each in row.events if each["type"] == "process.attempt_ended"]
            return "failed", {"type": "failure", "class": "execution", "code": "max_attempts", "raw": outcomes[-5:],
                              "message": f"{row.charged} attempts, and none ended it"}
        if row.open_attempt is not None:  # it was lost
            if not {"lost", "*"} & set(row.policy.get("retry_on", ["lost"])):
                return "failed", {"type": "failure", "class": "execution", "code": "lost",
                                  "message": "the attempt was lost"}
            if row.streak > 0:
                row.streak += 1
                row.due = add(self.wall, self.delay_ms(row))
                row.streak -= 1
                self.close_attempt(row, {"outcome": "lost", "next_due_ms": row.due})
                row.lease = None
                return None, None
        return ("run" if row.due <= self.wall else "later"), None

    def op_claim_next(self, op):
        self.check_owner(op)
        need(op["limit"] <= 10000, "TOOBIG")
        need(len(op["queues"]) <= 64 and len(op["kinds"]) <= 64, "TOOBIG")
        for name in op["queues"] + op["kinds"]:
            check_id(name)
        items = []
        for row in self.rows.values() if op.get("reclaims") and self.mends else ():
            self.is_held(row.lease)  # who looks for the dead looks at all leases
        for row in sorted(self.rows.values(), key=lambda row: (row.due, row.birth)):
            if len(items) == op["limit"]:
                break
            if row.ended() or (op["queues"] and row.policy.get("queue", "default") not in op["queues"]) \
                    or (op["kinds"] and row.registration.get("kind") not in op["kinds"]):
                continue
            is_dead = bool(row.lease and row.lease["dead"] and (op.get("reclaims")
                                                                or row.policy.get("on_lapse") == "abandon"))
            if self.is_live(row.lease) and not (is_dead and op.get("reclaims")):
                continue
            if row.lease and op.get("spares"):
                continue
            verdict, output = self.verdict(row, is_dead)
            if verdict == "later":
                self.close_attempt(row, {"outcome": "lost"})
            if verdict in (None, "later"):
                is_found = op.get("reclaims") and is_dead and not self.is_live(row.lease)
                if verdict == "later" or (is_found and not self.is_launched(row)):
                    row.lease = None
                continue
            self.give(row, op)
            if verdict == "run":
                self.begin(row)
            items.append({"lease": self.show_lease(row), "record": self.show(row), "verdict": verdict,
                          "output": js.write(output) if output else ""})
        return {"items": items, "wall_ms": self.wall}

    # ---- wakes (2.8) ----

    def op_wakes_take(self, op):
        scope = scope_id(*rules.read_scope(op["scope"])) if op.get("scope") else None
        items = []
        need(op["visible_for_ms"] >= 0)
        for wake in sorted(self.wakes.values(), key=lambda wake: (wake["created_ms"], wake["order"])):
            if len(items) == self.check_limit(op["limit"]):
                break
            if wake["state"] == "acked" or wake["visible"] > self.wall or scope not in (None, wake["scope_id"]):
                continue
            wake["state"], wake["token"], wake["visible"] = "taken", self.token(), add(self.wall, op["visible_for_ms"])
            wake["deliveries"] += 1
            items.append(self.show_wake(wake, wake["token"]))
        return {"wakes": items}

    def op_wakes_ack(self, op):
        need(op["wake_id"] in self.wakes, "NOTFOUND")
        self.wakes[op["wake_id"]]["state"] = "acked"
        for row in self.rows.values():
            row.acked |= {each["seq"] for each in row.events if each["wake_id"] == op["wake_id"]}

    def op_wakes_return(self, op):
        need(op["wake_id"] in self.wakes, "NOTFOUND")
        need(op["delay_ms"] >= 0)
        wake = self.wakes[op["wake_id"]]
        if wake["state"] == "taken" and wake["token"] == op["take_token"]:
            wake["state"], wake["token"], wake["visible"] = "pending", None, add(self.wall, op["delay_ms"])

    # ---- promises (2.8) ----

    def show_promise(self, row, key):
        promise = row.promises[key]
        return {"id": row.id, "key": key, "token": promise["token"], "due_ms": promise["due"],
                "outcome": "" if promise["outcome"] is None else js.write(promise["outcome"])}

    def settle(self, row, key, outcome):
        row.promises[key]["outcome"] = outcome
        self.append(row, self.own("process.promise_settled", {"key": key, "outcome": outcome}, "viv:promise:" + key))

    def look_at(self, row, key):
        promise = row.promises[key]
        if promise["outcome"] is None and 0 <= promise["due"] <= self.wall:
            self.settle(row, key, {"type": "timeout"})

    def op_promise_create(self, op):
        name, key = check_id(op["id"]), check_id(op["key"], 512)
        row = self.row(name)
        if key in row.promises:
            promise = row.promises[key]
            need(promise["outcome"] is not None or promise["due"] == op["due_ms"], "STORE_KEY_CONFLICT")
            return {"promise": self.show_promise(row, key)}
        need(not row.ended(), "STORE_TERMINAL")
        self.check_fence(row, op.get("fence"))
        row.promises[key] = {"token": self.token(), "due": op["due_ms"], "outcome": None}
        self.touch_nothing()
        return {"promise": self.show_promise(row, key)}

    def touch_nothing(self):
        """A promise is no event and no fact: neither updated_ms nor the position moves (1.2)."""

    def op_promise_settle(self, op):
        outcome = read_json(op["outcome"], OUTPUT_MAX)
        rules.check_keys(outcome, ("type",), ("value",))
        need(outcome["type"] in ("value", "error", "timeout", "cancelled", "process_ended"))
        found = [(row, key) for row in self.rows.values() for key, promise in row.promises.items()
                 if (promise["token"] == op["token"] if "token" in op else (row.id, key) == (op["id"], op["key"]))]
        need(found, "NOTFOUND")
        row, key = found[0]
        self.look_at(row, key)
        won = row.promises[key]["outcome"] is None
        if won:
            self.settle(row, key, outcome)
        return {"promise": self.show_promise(row, key), "won": won}

    def op_promise_get(self, op):
        row = self.row(check_id(op["id"]))
        need(op["key"] in row.promises, "NOTFOUND")
        self.look_at(row, op["key"])
        return {"promise": self.show_promise(row, op["key"])}

    # ---- checkpoints, steps, blobs (2.8) ----

    def op_checkpoint_put(self, op):
        name = check_id(op["id"])
        data, row = rules.raw(op["bytes"]), self.row(name)
        if op["ordinal"] in row.checkpoints:
            need(row.checkpoints[op["ordinal"]] == data, "STORE_KEY_CONFLICT")
            return
        need(not row.ended(), "STORE_TERMINAL")
        need(op.get("fence") is not None, "STORE_FENCED")
        self.check_fence(row, op["fence"])
        need(op["ordinal"] >= max(row.checkpoints, default=0))
        payload = {"ordinal": op["ordinal"], "bytes": len(data), "sha256": js.sha256(data)}
        self.append(row, self.own("process.checkpoint", payload, f"viv:ckpt:{op['ordinal']}", op["fence"]))
        row.checkpoints[op["ordinal"]] = data
        for ordinal in sorted(row.checkpoints)[:-2]:
            del row.checkpoints[ordinal]

    def op_checkpoint_get(self, op):
        row = self.row(check_id(op["id"]))
        ordinal = max(row.checkpoints, default=-1) if op["ordinal"] is None else op["ordinal"]
        need(ordinal in row.checkpoints, "NOTFOUND")
        return {"ordinal": ordinal, "bytes": row.checkpoints[ordinal].hex()}

    def op_step_end(self, op):
        name, key, value = check_id(op["id"]), check_id(op["key"], 512), read_json(op["value"], PAYLOAD_MAX)
        row = self.row(name)
        self.append(row, self.own("process.step", {"key": key, "value": value}, "viv:step:" + key, op.get("fence"), None))

    def op_step_get(self, op):
        row = self.row(check_id(op["id"]))
        event = row.by_key.get("viv:step:" + op["key"])
        need(event is not None, "NOTFOUND")
        return {"value": js.write(json.loads(event["payload"], parse_float=js.read_float)["value"])}

    def op_blob_put(self, op):
        data = rules.raw(op["bytes"])
        self.blobs[js.sha256(data)] = (data, self.wall)
        return {"hash": js.sha256(data)}

    def op_blob_get(self, op):
        need(op["hash"] in self.blobs, "NOTFOUND")
        return {"bytes": self.blobs[op["hash"]][0].hex()}

    def op_blob_gc(self, op):
        grace = DAY_MS if op["grace_ms"] < 0 else op["grace_ms"]
        used = {row.registration["input"].get("module", "").removeprefix("sha256:") for row in self.rows.values()}
        gone = [name for name, (_, at) in self.blobs.items() if name not in used and at < self.wall - grace]
        size = sum(len(self.blobs.pop(name)[0]) for name in gone)
        return {"count": len(gone), "bytes": size}

    # ---- feed, retention (2.9) ----

    @staticmethod
    def write_cursor(place):
        return "" if not any(place) else "c1." + ".".join(map(str, place))

    @staticmethod
    def read_cursor(text, size):
        return tuple(map(int, text[3:].split("."))) if text else (0,) * size

    def op_changes(self, op):
        limit, after = self.check_limit(op["limit"]), self.read_cursor(op["after"], 2)
        need(not op["after"] or after >= self.tomb_low, "STORE_CURSOR")
        entries = [((row.position, row.birth), {"record": self.show(row)}) for row in self.rows.values()]
        entries += [((position, birth), {"pruned": name, "birth": birth}) for position, birth, name, _ in self.tombs]
        page = [each for each in sorted(entries, key=lambda each: each[0]) if each[0] > after][:limit]
        return {"changes": [entry for _, entry in page], "next": self.write_cursor(page[-1][0] if page else after)}

    def op_prune(self, op):
        wanted, limit = self.read_filter(op.get("filter")), op["limit"]
        need(limit <= 1000, "TOOBIG")
        upto = self.read_cursor(op["up_to"], 2) if "up_to" in op else None
        need(not op.get("up_to") or upto >= self.tomb_low, "STORE_CURSOR")
        rows = sorted((row for row in self.rows.values() if row.ended() and row.updated < op["cutoff_ms"]
                       and self.matches(row, wanted) and (upto is None or (row.position, row.birth) <= upto)),
                      key=lambda row: (row.updated, row.birth))
        gone = rows if op.get("dry") else rows[:limit]
        counts = {"processes": len(gone), "events": sum(len(row.events) for row in gone),
                  "grants": sum(len(row.grants) for row in gone), "acks": sum(len(row.acked) for row in gone),
                  "promises": sum(len(row.promises) for row in gone),
                  "checkpoints": sum(len(row.checkpoints) for row in gone),
                  "more": not op.get("dry") and len(rows) > limit}
        if not op.get("dry"):
            old = [tomb for tomb in self.tombs if tomb[3] < self.wall - 7 * DAY_MS]
            self.tomb_low = max([self.tomb_low, *(tomb[:2] for tomb in old)])
            self.tombs = [tomb for tomb in self.tombs if tomb not in old]
            births = {tomb[1] for tomb in old}  # with what was acknowledged after they had gone
            self.wakes = {name: wake for name, wake in self.wakes.items()
                          if wake["birth"] not in births or wake["state"] != "acked"}
            for row in gone:
                del self.rows[row.id]
                self.tombs.append((self.position, row.birth, row.id, self.wall))
                self.wakes = {name: wake for name, wake in self.wakes.items()
                              if wake["birth"] != row.birth or wake["state"] != "acked"}
        return counts

    # ---- waits (2.10), which only look here ----

    def op_wait(self, op):
        row = self.row(check_id(op["id"]))
        if op["kind"] == "promise":
            need(op["name"] in row.promises, "NOTFOUND")
            self.look_at(row, op["name"])
            need(row.promises[op["name"]]["outcome"] is not None, "TIMEOUT")
            return {"output": js.write(row.promises[op["name"]]["outcome"])}
        if op["kind"] == "end":
            need(row.ended(), "TIMEOUT")
            return {"output": js.write(row.output)}
        for event in row.events[op["after"]:]:
            if op["name"] in ("", event["type"]):
                return {"event": self.show_event(event)}
        need(not row.ended(), "STORE_ENDED")
        raise Refused("TIMEOUT")

    def op_check(self, _):
        return {"findings": []}
