# SPDX-License-Identifier: Apache-2.0
"""JSON as the contract of the store wants it (durable.md 0, 1.4): strict parsing, the canonical form, the schema
subset and selectors. Written from the contract; shares nothing with the program.

A value is None, bool, int, float, str, list or dict. A whole float up to 2^53 is an int from the start, so that
equal values are equal in Python, but for True == 1: compare texts.
"""

import decimal
import hashlib
import json
import re

DEPTH_MAX = 64
INT_MIN, INT_MAX = -(2**63), 2**63 - 1


class Refused(Exception):
    """An operation that answers a code and changes nothing."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


def read_float(text):
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Refused("STORE_JSON")
    return int(value) if value == int(value) and abs(value) <= 2**53 else value


def read_int(text):
    value = int(text)
    return value if INT_MIN <= value <= INT_MAX else read_float(text)


def read_pairs(pairs):
    if len({name for name, _ in pairs}) != len(pairs) or any("\0" in name for name, _ in pairs):
        raise Refused("STORE_JSON")
    return dict(pairs)


def refuse_constant(_):
    raise Refused("STORE_JSON")


def depth_of(value):
    """Without recursion: the depth is the caller's."""
    depth, level = 0, [value]
    while level:
        depth += any(isinstance(each, (list, dict)) for each in level)
        level = [inner for each in level if isinstance(each, (list, dict))
                 for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def texts_of(value):
    level = [value]
    while level:
        each = level.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, list):
            level += each
        elif isinstance(each, dict):
            level += list(each) + list(each.values())


def parse(data):
    """bytes -> value"""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Refused("STORE_UTF8") from None
    try:
        value = json.loads(text, parse_float=read_float, parse_int=read_int, parse_constant=refuse_constant,
                           object_pairs_hook=read_pairs)
    except (ValueError, RecursionError):
        raise Refused("STORE_JSON") from None
    if depth_of(value) > DEPTH_MAX or any("\ud800" <= c <= "\udfff" for text in texts_of(value) for c in text):
        raise Refused("STORE_JSON")
    return value


def write_float(value):
    """The fewest digits, in the form of ECMA-262; whole ones with an exponent."""
    sign, digits, exponent = decimal.Decimal(repr(value)).normalize().as_tuple()
    text, point = "".join(map(str, digits)), len(digits) + exponent  # 0.text * 10^point
    if value != int(value) and -6 < point <= 21:
        if point <= 0:
            text = "0." + "0" * -point + text
        else:
            text = text[:point] + "." + text[point:]
    else:
        text = text[0] + ("." + text[1:] if len(text) > 1 else "") + f"e{point - 1:+d}"
    return "-" * sign + text


def write(value):
    """The canonical text."""
    if isinstance(value, float):
        return write_float(value)
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(write(name) + ":" + write(value[name]) for name in sorted(value)) + "}"
    return json.dumps(value, ensure_ascii=False)


def sha256(data):
    return hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()


def hash_of(value):
    return sha256(write(value))


def same(a, b):
    return write(a) == write(b)


# ---- the schema subset ----

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
IGNORED = ("title", "description", "default", "examples", "format", "$comment")
COUNTS = ("minLength", "maxLength", "minItems", "maxItems")


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_schema(schema, depth=1):
    """Refuses what is no schema."""
    def need(condition):
        if not condition:
            raise Refused("INVAL")
    if isinstance(schema, bool):
        return
    need(isinstance(schema, dict) and depth <= 16)
    for name, value in schema.items():
        if name in IGNORED or name == "const":
            continue
        if name == "type":
            names = value if isinstance(value, list) else [value]
            need(names and all(each in TYPES for each in names if isinstance(each, str)))
            need(all(isinstance(each, str) for each in names))
        elif name == "enum":
            need(isinstance(value, list) and value)
        elif name in ("anyOf", "oneOf"):
            need(isinstance(value, list) and value)
            for each in value:
                check_schema(each, depth + 1)
        elif name in ("minimum", "maximum"):
            need(is_number(value))
        elif name in COUNTS:
            need(isinstance(value, int) and not isinstance(value, bool) and value >= 0)
        elif name in ("items", "additionalProperties"):
            check_schema(value, depth + 1)
        elif name == "required":
            need(isinstance(value, list) and all(isinstance(each, str) for each in value))
        elif name == "properties":
            need(isinstance(value, dict))
            for each in value.values():
                check_schema(each, depth + 1)
        else:
            need(False)
    if "properties" in schema and "additionalProperties" not in schema:
        need(all(name in schema["properties"] for name in schema.get("required", [])))


def is_type(value, name):
    return {"null": value is None, "boolean": isinstance(value, bool),
            "integer": isinstance(value, int) and not isinstance(value, bool), "number": is_number(value),
            "string": isinstance(value, str), "array": isinstance(value, list),
            "object": isinstance(value, dict)}[name]


def fits(value, schema):
    if isinstance(schema, bool):
        return schema
    for name, wanted in schema.items():
        if name == "type":
            good = any(is_type(value, each) for each in (wanted if isinstance(wanted, list) else [wanted]))
        elif name == "enum":
            good = any(same(value, each) for each in wanted)
        elif name == "const":
            good = same(value, wanted)
        elif name == "anyOf":
            good = any(fits(value, each) for each in wanted)
        elif name == "oneOf":
            good = sum(fits(value, each) for each in wanted) == 1
        elif name == "minimum":
            good = not is_number(value) or value >= wanted
        elif name == "maximum":
            good = not is_number(value) or value <= wanted
        elif name == "minLength":
            good = not isinstance(value, str) or len(value) >= wanted
        elif name == "maxLength":
            good = not isinstance(value, str) or len(value) <= wanted
        elif name == "minItems":
            good = not isinstance(value, list) or len(value) >= wanted
        elif name == "maxItems":
            good = not isinstance(value, list) or len(value) <= wanted
        elif name == "items":
            good = not isinstance(value, list) or all(fits(each, wanted) for each in value)
        elif name == "required":
            good = not isinstance(value, dict) or all(each in value for each in wanted)
        else:
            good = True
        if not good:
            return False
    if isinstance(value, dict) and ("properties" in schema or "additionalProperties" in schema):
        known = schema.get("properties", {})
        other = schema.get("additionalProperties", "properties" not in schema)
        return all(fits(each, known.get(name, other)) for name, each in value.items())
    return True


# ---- selectors ----

PLACE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")


def check_selector(selector):
    """Refuses what is no selector."""
    good = selector == "payload"
    if isinstance(selector, dict):
        names = set(selector)
        if names in ({"pointer"}, {"present"}):
            path = list(selector.values())[0]
            good = isinstance(path, str) and (path == "" or path[0] == "/") and not re.search("~(?![01])", path)
        elif names == {"const"}:
            good = True
        elif names == {"template", "fields"} and isinstance(selector["template"], str):
            good = isinstance(selector["fields"], dict)
            for place in PLACE.finditer(selector["template"]) if good else ():
                good = good and (place.group() in ("{{", "}}") or place.group(1) in selector["fields"])
            for each in selector["fields"].values() if good else ():
                check_selector(each)
    if not good:
        raise Refused("INVAL")


MISSING = object()


def look(value, path):
    for step in path.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and re.fullmatch("0|[1-9][0-9]*", step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return MISSING
    return value


def string_form(value):
    return value if isinstance(value, str) else write(value)


def select(selector, payload):
    if selector == "payload":
        return payload
    if "const" in selector:
        return selector["const"]
    if "present" in selector:
        return look(payload, selector["present"]) is not MISSING
    if "pointer" in selector:
        found = look(payload, selector["pointer"])
        if found is MISSING:
            raise Refused("STORE_SELECTOR")
        return found
    fields = {name: string_form(select(each, payload)) for name, each in selector["fields"].items()}
    return PLACE.sub(lambda place: fields[place.group(1)] if place.group(1) else place.group()[0],
                     selector["template"])


def is_true(value):
    return not (value is None or value is False or value in ("", [], {}))
