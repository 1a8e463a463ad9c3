# SPDX-License-Identifier: Apache-2.0
"""Ways to run the guest policy_guest, which does one thing a run and prints what came of it, under a policy."""

import json

from viv_cli import GUESTS, CliTest

ACTS = str(GUESTS / "policy_guest.wasm")
NOTCAPABLE, DENIED, NOTFOUND = 76, -4, -6


class PolicyTest(CliTest):
    """Ways to run the guest under a policy."""

    def act(self, *args, options=(), **more):
        return self.viv("run", "--workers", "2", *options, ACTS, *args, **more)

    def number(self, *args, **more):
        """What the guest printed."""
        ended = self.act(*args, **more)
        self.assertEqual(ended.status, 0, ended)
        return int(ended.out)

    def events(self, name="audit.jsonl"):
        return [json.loads(line) for line in (self.dir / name).read_text(encoding="utf-8").splitlines()]

    def denials(self):
        return [event for event in self.events() if event["event"] == "denied"]
