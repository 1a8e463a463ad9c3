#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps the JSON lines of viv-bench in a file and shows them as a table.

Usage: viv-bench all | tools/bench-table.py FILE

A line is an object with "name", "value" and "unit"; other members are kept and shown behind. What is
not JSON (progress, warnings) is passed through. Status 1 when there was no result or one has "ok": false.
"""

import json
import pathlib
import sys


def cell(value):
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def main():
    target = pathlib.Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    results = []
    with open(target, "w", encoding="utf-8") as out:
        for line in sys.stdin:
            try:
                result = json.loads(line)
            except ValueError:
                result = None
            if not isinstance(result, dict):
                print(line.rstrip(), flush=True)
                continue
            out.write(json.dumps(result) + "\n")
            results.append(result)
    table = []
    for result in results:
        rest = " ".join(f"{key}={cell(value)}" for key, value in result.items()
                        if key not in ("name", "value", "unit"))
        table.append((str(result.get("name", "?")), cell(result.get("value", "")),
                      str(result.get("unit", "")), rest))
    widths = [max((len(row[i]) for row in table), default=0) for i in range(3)]
    for name, value, unit, rest in table:
        print(f"{name:<{widths[0]}}  {value:>{widths[1]}} {unit:<{widths[2]}}  {rest}".rstrip())
    print(f"{len(results)} results in {target}")
    return 0 if results and all(result.get("ok", True) for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
