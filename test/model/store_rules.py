# SPDX-License-Identifier: Apache-2.0
"""What the model knows of arguments (durable.md 0, 1.1, 1.3, 1.4, 1.7): ids, registrations in normal form, event
types, outputs. Written from the contract; shares nothing with the program.
"""

import re

import store_json as js
from store_json import INT_MAX, Refused

SPACES = {chr(c) for c in (*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
                           0x205F, 0x3000)}
STATES = ("running", "completed", "failed", "cancelled", "abandoned")
RIGHTS = ("read", "await", "signal", "cancel", "grant")
CLASSES = ("invalid_request", "unavailable", "permission_denied", "timeout", "execution", "external",
           "resource_limit", "internal")
HASH = re.compile("sha256:[0-9a-f]{64}")


def need(condition, code="INVAL"):
    if not condition:
        raise Refused(code)


def raw(text):
    """An argument: a text, or {"hex": …} for what is no text."""
    return bytes.fromhex(text["hex"]) if isinstance(text, dict) else (text or "").encode()


def check_id(text, limit=255):
    data = raw(text)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Refused("STORE_UTF8") from None
    need(len(data) <= limit, "TOOBIG")
    need(text and not all(c in SPACES for c in text) and not any(c < " " or c == "\x7f" for c in text))
    return text


def read_json(text, limit):
    data = raw(text)
    need(len(data) <= limit, "TOOBIG")
    return js.parse(data)


def is_int(value, low=0, high=INT_MAX):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def check_keys(value, required, optional=()):
    need(isinstance(value, dict) and set(required) <= set(value) <= set(required) | set(optional))


def scope_id(session, frame):
    escaped = [part.replace("%", "%25").replace("/", "%2F") for part in (session, frame)]
    return f"session:{escaped[0]}" + (f"/frame:{escaped[1]}" if frame else "")


def read_scope(scope):
    session = check_id(scope["session"])
    return session, check_id(scope["frame"]) if scope.get("frame") else ""


# ---- outputs (1.3) ----

def state_of(output):
    return {"success": "completed", "failure": "failed"}.get(output["type"], output["type"])


def check_output(output):
    """Refuses what is no await output."""
    need(isinstance(output, dict))
    kind, texts = output.get("type"), []
    if kind == "success":
        check_keys(output, ("type", "value"), ("control",))
    elif kind == "failure":
        check_keys(output, ("type", "class", "code", "message"), ("raw", "control"))
        need(output["class"] in CLASSES)
        texts = [output["code"], output["message"]]
    elif kind == "cancelled":
        check_keys(output, ("type", "message"), ("raw", "control"))
        texts = [output["message"]]
    else:
        need(kind == "abandoned")
        check_keys(output, ("type", "evidence"), ("control",))
        check_keys(output["evidence"], ("writer", "at_ms"), ("owner",))
        need(output["evidence"]["writer"] in ("owner_drain", "sweep", "reconciled_request"))
        need(is_int(output["evidence"]["at_ms"]))
    need(all(isinstance(text, str) for text in texts))


def terminal_output(state, selector, payload):
    """The await output of a terminal event (1.4)."""
    if selector is None:
        return {"type": "success", "value": payload}
    value = js.select(selector, payload)
    if isinstance(value, dict) and value.get("type") in ("success", "failure", "cancelled", "abandoned"):
        try:
            check_output(value)
        except Refused:
            raise Refused("STORE_OUTPUT") from None
        need(state_of(value) == state, "STORE_OUTPUT")
        return value
    if state == "completed":
        return {"type": "success", "value": value}
    if state == "failed":
        return {"type": "failure", "class": "execution", "code": "process_failed", "message": js.string_form(value),
                "raw": value}
    return {"type": "cancelled", "message": js.string_form(value), "raw": value}


# ---- event types (1.4, 1.5) ----

OPEN = {"type": "object", "additionalProperties": True}
CORE = {
    "process.cancel_requested": {"schema": {"type": "object", "properties": {
        "reason": {"type": "string"}, "by": {"type": "string"}}}},
    "process.attempt_started": {"schema": OPEN},
    "process.attempt_ended": {"schema": OPEN},
    "process.step": {"schema": OPEN},
    "process.checkpoint": {"schema": OPEN},
    "process.promise_settled": {"schema": OPEN},
}
for _state in STATES[1:]:
    CORE["process." + _state] = {"schema": OPEN, "terminal": {"state": _state, "output": {"pointer": "/await_output"}}}


def read_wake(wake):
    check_keys(wake, ("input",), ("when", "dedupe", "no_target"))
    js.check_selector(wake["input"])
    if "when" in wake:
        js.check_selector(wake["when"])
    dedupe = wake.get("dedupe", "event")
    if dedupe != "event":
        need(isinstance(dedupe, dict) and set(dedupe) in ({"selector"}, {"const"}))
        if "selector" in dedupe:
            js.check_selector(dedupe["selector"])
        else:
            need(isinstance(dedupe["const"], str))
    need(wake.get("no_target", "record") in ("record", "refuse"))
    return {name: value for name, value in wake.items() if (name, value) not in (("dedupe", "event"),
                                                                                ("no_target", "record"))}


def read_type(spec):
    check_keys(spec, ("name",), ("schema", "terminal", "wake"))
    need(isinstance(spec["name"], str))
    check_id(spec["name"], 128)
    normal = {"name": spec["name"]}
    if "schema" in spec:
        js.check_schema(spec["schema"])
        if spec["schema"] != {}:
            normal["schema"] = spec["schema"]
    if "wake" in spec:
        normal["wake"] = read_wake(spec["wake"])
    core = CORE.get(spec["name"])
    if "terminal" in spec:
        terminal = spec["terminal"]
        check_keys(terminal, ("state",), ("output",))
        if core is not None:
            need(terminal == core.get("terminal"))
            return normal
        need(terminal["state"] in STATES[1:4])
        need("output" in terminal or terminal["state"] == "completed")
        if "output" in terminal:
            js.check_selector(terminal["output"])
        normal["terminal"] = terminal
    return normal


# ---- registrations (1.1) ----

INPUTS = {  # fields required; optional ones with their defaults
    "wasm": (("module", "function"), {"args": [], "env": {}}),
    "beam": (("m", "f"), {"a": [], "code": []}),
    "native": (("argv",), {"env": {}, "cwd": None, "stdin": "", "result": "exit"}),
    "host": (("name",), {"args": None}),
    "external": ((), {"metadata": None}),
}
POLICY = {"queue": "default", "start_at_ms": None, "deadline_ms": None, "timeout_ms": None,
          "attempt_timeout_ms": None, "max_attempts": 5, "on_lapse": "wait", "retry_on": ["lost", "unavailable"],
          "backoff": {}, "cancel_grace_ms": 10000, "limits": {}, "caps": {}, "strict": False}
BACKOFF = {"initial_ms": 1000, "factor": 2, "max_ms": 300000, "jitter": 0.2}


def without_defaults(value, defaults):
    return {name: each for name, each in value.items() if name not in defaults or defaults[name] is None
            or not js.same(each, defaults[name])}


def read_input(value):
    need(isinstance(value, dict) and value.get("type") in INPUTS)
    required, optional = INPUTS[value["type"]]
    check_keys(value, ("type", *required), optional)
    if value["type"] == "native":
        need(isinstance(value["argv"], list) and value["argv"] and all(isinstance(a, str) for a in value["argv"]))
        need(value.get("result", "exit") in ("exit", "stdout", "json"))
    if value["type"] == "wasm":
        need(isinstance(value["module"], str) and HASH.fullmatch(value["module"]))
        need(isinstance(value["function"], str) and value["function"])
    return without_defaults(value, optional)


def read_policy(policy):
    check_keys(policy, (), POLICY)
    need(not ("deadline_ms" in policy and "timeout_ms" in policy))
    if "queue" in policy:
        need(isinstance(policy["queue"], str))
        check_id(policy["queue"])
    for name in ("start_at_ms", "deadline_ms", "timeout_ms", "attempt_timeout_ms", "cancel_grace_ms"):
        need(name not in policy or is_int(policy[name]))
    need(is_int(policy.get("max_attempts", 5), 1, 1000))
    need(policy.get("on_lapse", "wait") in ("wait", "abandon"))
    need(isinstance(policy.get("strict", False), bool))
    reasons = policy.get("retry_on", [])
    need(isinstance(reasons, list) and all(each in (*CLASSES, "lost", "*") for each in reasons))
    backoff = policy.get("backoff", {})
    check_keys(backoff, (), BACKOFF)
    need(all(is_int(backoff.get(name, 1)) for name in ("initial_ms", "max_ms")))
    need(all(js.is_number(each) for each in backoff.values()) and 0 <= backoff.get("jitter", 0) <= 1)
    normal = dict(policy)
    if "backoff" in policy:
        normal["backoff"] = without_defaults(backoff, BACKOFF)
    return without_defaults(normal, POLICY)


def read_provenance(value):
    check_keys(value, (), ("owner_scope", "profile", "caused_by"))
    normal = {}
    if "owner_scope" in value:
        scope = value["owner_scope"]
        check_keys(scope, ("session",), ("frame",))
        session, frame = read_scope(scope)
        if (session, frame) != ("root", ""):
            normal["owner_scope"] = {"session": session, **({"frame": frame} if frame else {})}
    if "profile" in value:
        need(isinstance(value["profile"], str))
        check_id(value["profile"])
        if value["profile"] != "default":
            normal["profile"] = value["profile"]
    if "caused_by" in value:
        cause = value["caused_by"]
        fields = {"process": ("process_id",), "process_event": ("process_id", "sequence"),
                  "scope_node": ("session", "node"), "external": ("system", "id")}
        need(isinstance(cause, dict) and cause.get("type") in fields)
        check_keys(cause, ("type", *fields[cause["type"]]))
        normal["caused_by"] = cause
    return normal


def read_registration(text):
    """The normal form."""
    value = read_json(text, 256 * 1024)
    check_keys(value, ("id", "input", "disposition"),
               ("event_types", "provenance", "wake_target", "kind", "label", "policy"))
    need(all(isinstance(value.get(name, ""), str) for name in ("id", "kind", "label")))
    check_id(value["id"])
    for name in ("kind", "label"):
        if name in value:
            check_id(value[name])
    need(value["disposition"] in ("rerunnable", "owner_bound", "external"))
    normal = {**value, "input": read_input(value["input"])}
    need(value["disposition"] != "external" or value["input"]["type"] == "external")
    types = value.get("event_types", [])
    need(isinstance(types, list))
    need(len(types) <= 64, "TOOBIG")
    types = sorted((read_type(each) for each in types), key=lambda each: each["name"])
    need(len({each["name"] for each in types}) == len(types))
    normal["event_types"] = types
    normal["provenance"] = read_provenance(value.get("provenance", {}))
    normal["policy"] = read_policy(value.get("policy", {}))
    if "wake_target" in value:
        check_keys(value["wake_target"], ("session",), ("frame",))
        session, frame = read_scope(value["wake_target"])
        normal["wake_target"] = {"session": session, **({"frame": frame} if frame else {})}
    return {name: each for name, each in normal.items()
            if not (name in ("event_types", "provenance", "policy") and not each)}
