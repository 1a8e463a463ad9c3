#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An interactive program, which knows nothing of viv: it reads keys one by one, follows the size of its
terminal, and goes on after ctrl-C. q ends it.

    viv run -t -- python3 examples/keys.py

Or in the background, and looked at when you like (ctrl-] leaves it running):

    viv run -d -t --label keys -- python3 examples/keys.py
    viv attach --stdin label:keys
"""

import os
import signal
import sys
import termios
import tty


def say(text):
    os.write(1, text.encode() + b"\r\n")


def show_size(*_):
    size = os.get_terminal_size()
    say(f"{size.lines} rows, {size.columns} columns")


def main():
    if not os.isatty(0):
        sys.exit("keys: standard input is no terminal (viv run -t)")
    signal.signal(signal.SIGWINCH, show_size)
    signal.signal(signal.SIGINT, lambda *_: say("interrupted"))
    before = termios.tcgetattr(0)
    tty.setcbreak(0)
    try:
        show_size()
        while (key := os.read(0, 1)) not in (b"q", b""):
            say(f"key {key.decode('latin-1')!r}")
        say("bye")
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


if __name__ == "__main__":
    main()
