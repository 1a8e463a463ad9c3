# SPDX-License-Identifier: Apache-2.0
"""Random operations on a store: all of section 2 of the contract, few ids and keys, good and bad arguments, moves of
the clock. A generator knows nothing of answers. What an answer gave is named: {"$": "lease", "id": I, "back": N} is
the lease of process I that was given Nth last, and is filled in by who runs the operation.
"""

import random

IDS = ["a", "b", "c", "d/e", "ü x"]
KEYS = ["k1", "k2", "k3"]
TYPES = ["plain", "narrow", "alert", "once", "good", "bad", "signal.go", "process.cancel_requested", "undeclared"]
USUAL = ["plain", "narrow", "alert", "alert", "once", "once", "signal.go"]
SCOPES = [{"session": "root"}, {"session": "s"}, {"session": "s", "frame": "f"}, {"session": "t/frame:f"}]
OWNERS = [{"owner_id": "n1", "incarnation": "1"}, {"owner_id": "n1"}, {"owner_id": "n2", "incarnation": "1"},
          {"owner_id": "n3", "incarnation": "2", "liveness": "dead"}]
BLOBS = ["one", "two", {"hex": "00ff80"}]
HASHES = ["7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed", "f" * 64]
BAD_JSON = ["", "{", '{"a":1,"a":2}', "[1e999]", '"\\ud800"', "nul", "[" * 65 + "]" * 65, {"hex": "22ff22"}, "1 2",
            '{"\\u0000":1}']
BAD_IDS = ["", " ", "a\tb", "\x7f", "x" * 256, {"hex": "ff"}]
SUCCESS, FAILURE = '{"type":"success","value":%s}', '{"type":"failure","class":"execution","code":"c","message":"m"}'
EVENT_TYPES = """[{"name":"plain"},
 {"name":"narrow","schema":{"type":"object","properties":{"n":{"type":"integer","minimum":0},"s":{"type":"string",
   "maxLength":3},"l":{"type":"array","items":{"enum":[1,"x",null]},"maxItems":2}},"required":["n"]}},
 {"name":"alert","wake":{"when":{"present":"/alert"},"input":{"pointer":"/alert"}}},
 {"name":"once","wake":{"input":{"template":"{n} {{x}} {m}","fields":{"n":{"pointer":"/n"},"m":"payload"}},
   "dedupe":{"selector":{"pointer":"/n"}},"no_target":"refuse"}},
 {"name":"good","terminal":{"state":"completed","output":"payload"},"wake":{"input":"payload","dedupe":{"const":"end"}}},
 {"name":"bad","terminal":{"state":"failed","output":{"pointer":"/why"}}}%s]"""
NARROWED = """,{"name":"process.failed","wake":{"input":{"pointer":"/await_output/message"}}}"""
PAYLOADS = ["1", "1.0", '{"n":1}', '{"n":-1}', '{"n":1,"x":2}', '{"n":7,"s":"äöü","l":[1,"x"]}', '{"n":2,"l":[2]}',
            '{"alert":0}', '{"alert":"","n":"k"}', '{"alert":null}', '"text"', "null", '{"why":"because"}',
            '{"why":{"type":"failure","class":"internal","code":"c","message":"m"}}', SUCCESS % 3, '{"type":"success"}',
            "[1.5,1e300,9007199254740993,-0.0]", '"\\u0000𝄞\\/"', '{"reason":"r"}', '{"reason":7}', "{}"]
FITTING = {"narrow": ['{"n":1}', '{"n":7,"s":"äöü","l":[1,"x"]}'], "alert": ['{"alert":0}', '{"alert":"","n":"k"}', '{}'],
           "once": ['{"n":1}', '{"n":1,"x":2}', '{"alert":"","n":"k"}'], "good": [SUCCESS % 3, '"text"'],
           "bad": ['{"why":"because"}', PAYLOADS[13]], "process.cancel_requested": ['{"reason":"r"}', "{}"]}
AUTHORITIES = ['{"type":"lease"}', '{"type":"host","reason":"h"}', '{"type":"engine_key","key":"e"}',
               '{"type":"external_owner","granted_to":"g"}', '{"type":"reconciled_abandon"}']
BAD_AUTHORITIES = ['{"type":"other"}', "{", '{"type":"lease","fence":1}', '{"type":"host"}']
OUTPUTS = [SUCCESS % 1, SUCCESS % '{"a":1.0}', FAILURE, '{"type":"cancelled","message":"m"}',
           *('{"type":"abandoned","evidence":{"writer":"%s","at_ms":5}}' % writer
             for writer in ("owner_drain", "sweep", "reconciled_request"))]
BAD_OUTPUTS = ['{"type":"success"}', "7", FAILURE[:-1] + ',"more":1}', '{"type":"cancelled","message":7}', "{"]
FILTERS = ["", "{}", '{"status":["running"]}', '{"status":["completed","failed"]}', '{"phase":"queued"}',
           '{"phase":"running"}', '{"waiting":true}', '{"disposition":"rerunnable"}', '{"kind":"k"}', '{"label":"l"}',
           '{"owner_session":"s"}', '{"scope_id":"session:s/frame:f"}', '{"queue":"q"}', '{"cancel_requested":true}',
           '{"module":"sha256:%s"}' % HASHES[0], '{"caused_by":{"type":"process","id":"a"}}',
           '{"created_from_ms":1700000001000}', '{"created_to_ms":1700000003000}']
BAD_FILTERS = ['{"nothing":1}', '{"status":"running"}', "{", "[]"]
INPUTS = ['{"type":"native","argv":["x"]}', '{"type":"external"}', '{"type":"external","metadata":{"m":1}}',
          '{"type":"wasm","module":"sha256:%s","function":"f","args":[1.0]}' % HASHES[0]]
STEADY = '"backoff":{"jitter":0}'  # what is random is not compared
POLICIES = ['{%s}' % STEADY, '{"strict":true,%s}' % STEADY, '{"queue":"q","max_attempts":2,%s}' % STEADY,
            '{"start_at_ms":1700000004000,"backoff":{"jitter":0,"initial_ms":300}}', '{"timeout_ms":20000,%s}' % STEADY,
            '{"on_lapse":"abandon",%s}' % STEADY, '{"retry_on":["timeout"],%s}' % STEADY,
            '{"deadline_ms":1700000030000,%s}' % STEADY, '{"strict":false,"max_attempts":5,"backoff":{"jitter":0.0}}']
HOUR, DAY = 3600 * 1000, 24 * 3600 * 1000


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.wall, self.lease, self.is_spoiled = 1700000000000, 5000000, False
        self.registrations = {name: [self.registration(name) for _ in range(2)] for name in IDS}

    # ---- arguments ----

    def pick(self, values):
        return self.random.choice(values)

    def chance(self, percent):
        return self.random.random() * 100 < percent

    def one_of(self, good, bad, percent):
        """A good argument or, at most once an operation, since nobody says which is looked at first, a bad one."""
        if self.is_spoiled or not self.chance(percent):
            return self.pick(good)
        self.is_spoiled = True
        return self.pick(bad)

    def id(self):
        return self.one_of([*IDS * 6, "unknown"], BAD_IDS, 2)

    def registration(self, name):
        disposition = self.pick(["rerunnable"] * 4 + ["owner_bound", "external"])
        kind = self.pick(INPUTS[1:3] if disposition == "external" else INPUTS)
        members = [f'"id":"{name}"', f'"input":{kind}', f'"disposition":"{disposition}"',
                   f'"event_types":{EVENT_TYPES % self.pick(["", NARROWED])}', f'"policy":{self.pick(POLICIES)}']
        if self.chance(50):
            members.append('"wake_target":' + self.pick(['{"session":"s"}', '{"session":"s","frame":"f"}']))
        if self.chance(30):
            members.append('"kind":"k"')
        if self.chance(30):
            members.append('"label":"l"')
        if self.chance(40):
            members.append('"provenance":' + self.pick([
                '{"owner_scope":{"session":"s","frame":"f"}}', '{"owner_scope":{"session":"root"}}',
                '{"caused_by":{"type":"process","process_id":"a"},"profile":"default"}']))
        self.random.shuffle(members)
        return "{" + ",".join(members) + "}"

    def any_registration(self):
        text = self.pick(self.registrations[self.pick(IDS)])
        return self.one_of([text], [*BAD_JSON, text[:-1] + ',"more":1}', text.replace('"input"', '"inputs"'),
                                    text.replace('"plain"', '" "'), text.replace('"maxLength"', '"$ref"'),
                                    text.replace('"state":"failed"', '"state":"abandoned"'), "{}", "[]"], 10)

    def fence(self, name, percent=50):
        if not self.chance(percent):
            return {}
        ref = {"$": "lease", "id": name, "back": 0 if self.chance(85) else 1}
        if self.chance(5):
            ref["alter"] = self.pick(["token", "fence"])
        return {"fence": ref}

    def append(self, name):
        op = {"id": name, "type": self.pick(USUAL if self.chance(80) else TYPES), **self.fence(name, 15)}
        fitting = FITTING.get(op["type"], PAYLOADS) if self.chance(85) else PAYLOADS
        if self.chance(30) or op["type"] in ("good", "bad", "process.cancel_requested") and self.chance(90):
            key = self.one_of(KEYS, ["viv:x", "y" * 513], 3)
            op["key"] = key if key not in KEYS else key + op["type"] if self.chance(80) else key
            fitting = fitting[:1] if self.chance(60) else fitting
        op["payload"] = self.one_of(fitting, [*BAD_JSON, '"' + "x" * 4096 + '"'], 3)
        if self.chance(15):
            op["wake_target"] = self.pick(SCOPES)
        if op["type"] in ("good", "bad") and self.chance(80):
            op["authority"] = self.one_of(["", *AUTHORITIES], BAD_AUTHORITIES, 5)
        elif self.chance(1):
            op["authority"] = self.one_of(AUTHORITIES, BAD_AUTHORITIES, 50)
        return op

    def owner(self):
        return {"owner": self.pick(OWNERS), "ttl_ms": self.pick([0, 1000, 1000, 1000, 30000, 2**63 - 1]),
                "begin": self.chance(60)}

    def limit(self):
        return self.one_of([0, 1, 2, 100, 100, 10000], [10001], 5)

    def page(self):
        return {"after": self.pick(["", "", *IDS]), "limit": self.limit()}

    def number(self):
        return self.pick([0, 0, 1, 2, 5, 2**63 - 1, 2**64 - 1])

    # ---- operations; the weight of each is in its place in OPS ----

    def register(self):
        return {"registration": self.any_registration()}

    def start(self):
        name = self.pick(IDS)
        text = self.pick(self.registrations[name]) if self.chance(90) else self.any_registration()
        op = {"registration": text, "events": [self.append(name) for _ in range(self.pick([0, 0, 1, 2]))],
              "grants": [{**self.pick(SCOPES), "descriptor": self.descriptor()} for _ in range(self.pick([0, 1, 2]))]}
        for each in op["events"]:
            del each["id"]
        if self.chance(50):
            op["lease"] = self.owner()
        return op

    def get(self):
        return {"id": self.id()}

    def set_external_ref(self):
        return {"id": self.id(), **self.fence("a", 10),
                "ref": self.one_of(['{"backend":"b","id":"1"}', '{"id":"1","backend":"b","metadata":1.0}'],
                                   ['{"backend":"b"}', "{"], 20)}

    def record_first_started(self):
        name = self.id()
        return {"id": name, "started": self.one_of(['{"owner":{"owner_id":"o"},"at_ms":5}',
                                                    '{"at_ms":6,"owner":{"owner_id":"p","incarnation":"1"}}'], ["[]"], 20),
                **self.fence(name, 30)}

    def request_abandon(self):
        return {"id": self.id(), "request": self.one_of(['{"by":"x","at_ms":7}', '{"by":"y","at_ms":8,"reason":"r"}'],
                                                         ['{"by":"x"}'], 20)}

    def request_cancel(self):
        return {"id": self.id(), "reason": self.pick([None, "r", "other"]), "by": self.pick([None, None, "me"]),
                "now": self.chance(30)}

    def set_wait(self):
        name = self.id()
        return {"id": name, "wait": self.one_of(["", "", '{"kind":"signal","name":"go"}',
                                                 '{"kind":"timer","since_ms":5}'], ['{"name":"x"}'], 10), **self.fence(name, 40)}

    def append_one(self):
        return {"op": "append", **self.append(self.id())}

    def append_many(self):
        return {"appends": [self.append(self.id()) for _ in range(self.pick([0, 1, 2, 3]))]}

    def events_after(self):
        return {"id": self.id(), "after": self.number(), "type": self.pick(["", "", *TYPES]), "limit": self.limit(),
                "bytes": self.pick([0, 0, 1])}

    def events_recent(self):
        return {"id": self.id(), "count": self.limit()}

    def count_through(self):
        return {"id": self.id(), "type": self.pick(TYPES), "through": self.number()}

    def event_by_key(self):
        return {"id": self.id(), "key": self.pick([*KEYS, "viv:step:k1", "viv:promise:k1", "none",
                                                   "viv:terminal:process.completed"])}

    def wake_events_after(self):
        return {"id": self.id(), "after": self.number(), "limit": self.limit()}

    def ack_wake(self):
        return {"id": self.id(), "sequence": self.pick([0, 1, 2, 3, 4, 5, 6, 8, 10, 2**64 - 1])}

    def cursor(self, kind):
        return {"$": kind, "back": self.pick([0, 0, 1, 2])} if self.chance(70) else ""

    def events_feed(self):
        return {"after": self.cursor("feed"), "limit": self.limit()}

    def changes(self):
        return {"after": self.cursor("cursor"), "limit": self.limit()}

    def complete(self):
        name = self.id()
        return {"id": name, "output": self.one_of(OUTPUTS, BAD_OUTPUTS, 5), **self.fence(name, 60),
                "authority": self.one_of(AUTHORITIES, [*BAD_AUTHORITIES, ""], 5), "force": self.chance(20)}

    def descriptor(self):
        return self.one_of(["{}", '{"rights":["read"],"label":"l"}', '{"rights":["grant","read"],"kind":"k"}'],
                           ['{"rights":["own"]}', "{"], 5)

    def grant(self):
        return {"scope": self.pick(SCOPES), "id": self.id(), "descriptor": self.descriptor()}

    def revoke(self):
        return {"scope": self.pick(SCOPES), "id": self.id()}

    def transfer(self):
        return {"from": self.pick(SCOPES), "to": self.pick(SCOPES),
                "ids": [self.pick(IDS) for _ in range(self.pick([0, 1, 1, 2]))]}

    def grants_of_scope(self):
        return {"scope": self.pick(SCOPES), "live_only": self.chance(50), **self.page()}

    def scope_delete(self):
        return {"session": self.pick(["s", "root", "t/frame:f"]), "cancel": self.chance(50), "drop": self.chance(50)}

    def claim(self):
        return {"id": self.id(), **self.owner()}

    def lease_ref(self):
        name = self.pick(IDS)
        ref = self.fence(name, 100)["fence"]
        return name, ref

    def reclaim(self):
        name, ref = self.lease_ref()
        return {"id": name, "observed": ref, **self.owner()}

    def renew(self):
        return {"lease": self.lease_ref()[1], "ttl_ms": self.pick([0, 500, 3000]),
                "guard": self.one_of([None, None, '{"pid":7}'], ["{"], 5)}

    def renew_many(self):
        return {"leases": [self.lease_ref()[1] for _ in range(self.pick([0, 1, 3]))], "ttl_ms": self.pick([-1, 0, 2000])}

    def release(self):
        op = {"lease": self.lease_ref()[1]}
        if self.chance(70):
            op["outcome"] = {"outcome": self.pick(["failed", "failed", "handed_back"]),
                             "reason": self.pick(["", "broke"]), "delay_ms": self.pick([-1, 0, 700])}
        return op

    def claim_next(self):
        """With a limit that leaves none out: which come first of those that wait in different ways is left open."""
        return {**self.owner(), "queues": self.pick([[], [], ["q"], ["default", "q"]]), "kinds": self.pick([[], [], ["k"]]),
                "limit": self.pick([0, 10, 10]), "reclaims": self.chance(30), "spares": self.chance(15)}

    def settle_claimed(self):
        """Ends what a sweep said is to be ended, or what is held."""
        name = self.pick(IDS)
        return {"op": "complete", "id": name, "output": {"$": "output", "id": name}, "authority": '{"type":"lease"}',
                "fence": {"$": "lease", "id": name, "back": 0}}

    def wakes_take(self):
        """All or none, since nobody says in which order those of one millisecond come."""
        return {"scope": self.pick([None, *SCOPES]), "limit": self.pick([0, 100, 100]),
                "visible_for_ms": self.pick([0, 400, 30000])}

    def wake_ref(self, field):
        return {"$": "wake", "back": self.pick([0, 0, 1, 2]), "field": field}

    def wakes_ack(self):
        return {"wake_id": self.wake_ref("wake_id") if self.chance(95) else "wake:x",
                "take_token": self.wake_ref("take_token")}

    def wakes_return(self):
        back = self.pick([0, 0, 1])
        return {"wake_id": {"$": "wake", "back": back, "field": "wake_id"},
                "take_token": {"$": "wake", "back": back if self.chance(80) else 3, "field": "take_token"},
                "delay_ms": self.pick([0, 0, 500])}

    def promise_create(self):
        name = self.id()
        return {"id": name, "key": self.one_of(KEYS, ["", "y" * 513], 3),
                "due_ms": self.pick([-1, -1, self.wall + 300, 1700000002000]), **self.fence(name, 30)}

    def promise_settle(self):
        name, key = self.pick(IDS), self.pick(KEYS)
        who = {"id": name, "key": key} if self.chance(50) else {"token": {"$": "promise", "id": name, "key": key}}
        return {**who, "outcome": self.one_of(
            ['{"type":"value","value":1.0}', '{"type":"error"}', '{"type":"cancelled"}'], ['{"type":"other"}', "[]"], 10)}

    def promise_get(self):
        return {"id": self.id(), "key": self.pick([*KEYS, "none"])}

    def checkpoint_put(self):
        name = self.id()
        return {"id": name, "ordinal": self.pick([0, 1, 2, 3, 4, 5]), "bytes": self.pick(BLOBS), **self.fence(name, 95)}

    def checkpoint_get(self):
        return {"id": self.id(), "ordinal": self.pick([None, None, 0, 1, 2, 3])}

    def step_end(self):
        name = self.id()
        return {"id": name, "key": self.one_of(KEYS, ["", "y" * 513], 3), "value": self.one_of(["1", "1.0", '{"v":[]}'], ["{"], 5),
                **self.fence(name, 95)}

    def step_get(self):
        return {"id": self.id(), "key": self.pick([*KEYS, "none"])}

    def blob_put(self):
        return {"bytes": self.pick(BLOBS)}

    def blob_get(self):
        return {"hash": self.pick(HASHES)}

    def blob_gc(self):
        return {"grace_ms": self.pick([-1, 0, 1000])}

    def list(self):
        return {"filter": self.one_of(FILTERS, BAD_FILTERS, 10), **self.page()}

    def unregistered(self):
        return {"ids": [self.pick([*IDS, "none"]) for _ in range(self.pick([0, 1, 4]))]}

    def refs_summary(self):
        return {"after": self.pick(["", "7", "8"]), "limit": self.limit()}

    def prune(self):
        op = {"cutoff_ms": self.pick([self.wall, self.wall + 1, self.wall + 10**9, 0]), "dry": self.chance(20),
              "filter": self.one_of([""] * 20 + FILTERS, BAD_FILTERS, 5),
              "limit": self.one_of([0, 1, 1, 100, 1000], [1001], 5)}
        if self.chance(25):
            op["up_to"] = self.cursor("cursor")
        return op

    def wait(self):
        kind = self.pick(["event", "end", "promise"])
        name = self.pick(KEYS) if kind == "promise" else self.pick(["", *TYPES, "process.completed"])
        return {"id": self.id(), "kind": kind, "name": name, "after": self.pick([0, 1, 5])}

    def clock(self):
        step = self.pick([1, 10, 100, 300, 1000, 1000, 10000])
        wall = lease = step
        if self.chance(4):
            wall = self.pick([HOUR, -HOUR])
        if self.chance(2):
            lease = -HOUR
        if self.chance(1):
            wall = lease = 8 * DAY
        self.wall, self.lease = self.wall + wall, max(0, self.lease + lease)
        return {"wall": self.wall, "lease": self.lease}

    OPS = {"register": 60, "start": 40, "get": 10, "set_external_ref": 12, "record_first_started": 12,
           "request_abandon": 12, "request_cancel": 12, "set_wait": 15, "append_one": 150, "append_many": 40,
           "events_after": 20, "events_recent": 8, "count_through": 8, "event_by_key": 12, "wake_events_after": 12,
           "ack_wake": 20, "events_feed": 12, "changes": 20, "complete": 22, "grant": 25, "revoke": 10, "transfer": 15,
           "has_grant": 10, "grants_of_scope": 12, "grants_of_process": 6, "scope_delete": 10, "claim": 60, "reclaim": 15,
           "renew": 20, "renew_many": 12, "release": 30, "get_lease": 12, "claim_next": 45, "settle_claimed": 15,
           "wakes_take": 40, "wakes_ack": 15, "wakes_return": 20, "promise_create": 30, "promise_settle": 20,
           "promise_get": 12, "checkpoint_put": 25, "checkpoint_get": 10, "step_end": 20, "step_get": 10, "blob_put": 6,
           "blob_get": 6, "blob_gc": 5, "list": 15, "list_nonterminal": 6, "unregistered": 6, "refs_summary": 5,
           "prune": 30, "wait": 20, "clock": 90}

    has_grant, grants_of_process, get_lease, list_nonterminal = revoke, get, get, page

    def operations(self, count):
        yield {"op": "clock", "wall": self.wall, "lease": self.lease}
        names = self.random.choices(list(self.OPS), weights=list(self.OPS.values()), k=count)
        for name in names:
            self.is_spoiled = False
            yield {"op": name, **getattr(self, name)()}


def dump():
    """What is there, by operations that only read."""
    ops = [{"op": "events_feed", "after": "", "limit": 10000}, {"op": "list", "limit": 10000},
           {"op": "changes", "after": "", "limit": 10000}, {"op": "stats"}, {"op": "check"}]
    for name in IDS:
        ops += [{"op": "wake_events_after", "id": name, "after": 0, "limit": 10000},
                {"op": "grants_of_process", "id": name}, {"op": "get_lease", "id": name},
                {"op": "checkpoint_get", "id": name, "ordinal": None}]
    return ops
