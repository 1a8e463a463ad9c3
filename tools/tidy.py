#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the rules of docs/conventions.md that a compiler does not know.

Usage: tools/tidy.py [--root DIR] [--rules] [--sizes]

Prints `path:line: [rule] what (what to do)` for each finding; status 1 when there is one. --rules lists the
rules, --sizes the functions and files that are worth a second look. A finding is allowed by a row of
tools/tidy-exceptions.txt, `rule | path | name | reason` (name: the function, call or `*`); a row that
allows nothing is a finding itself, so the list only shrinks.

The C is not parsed but scanned: comments and strings are blanked, then the text is cut into top-level
declarations. That is enough for code in the project's format.
"""

import argparse
import bisect
import dataclasses
import pathlib
import re
import sys

LINE_MAX = 100
FUNCTION_LOOK, FUNCTION_MAX = 70, 120
PARAMS_MAX = 6
FILE_LOOK, FILE_MAX = 1000, 1500
HEADER_MAX = 300

RULES = {
    "layer": "includes between rooms follow gen/layers.tab; X_int.h stays in its folder",
    "header-owner": "third-party headers belong to the rooms that gen/layers.tab names",
    "include-form": "project headers are included as \"room/file.h\"",
    "banned": "calls that base/ or os/ replace",
    "atomic-order": "atomic operations name their memory order, and a comment tells why",
    "name": "extern functions, types and macros of headers begin viv_ or VIV_; no typedef ends in _t",
    "function-length": f"a function has at most {FUNCTION_MAX} lines",
    "params": f"a function has at most {PARAMS_MAX} parameters",
    "file-length": f"a .c file has at most {FILE_MAX} lines, a header {HEADER_MAX}",
    "line-length": f"a line has at most {LINE_MAX} columns",
    "leftover": "no FIXME, no `#if 0`, no commented-out code",
    "global": "mutable state at file scope has a comment (there, or `global` in the opening one) with its reason",
    "text": "UTF-8, no control characters, tabs, trailing blanks; a newline at the end",
    "spdx": "the first line (behind #!) names the licence",
    "guard": "a header has a guard named after its path",
    "unused-header": "every header is included by another file",
    "exception": "a row of tools/tidy-exceptions.txt is well formed and needed",
}


def words(text):
    return text.split()


# Banned calls: name -> (rooms that may, what to use instead).
BANNED = {}
for _names, _rooms, _instead in (
        ("malloc calloc realloc free aligned_alloc posix_memalign reallocarray strdup strndup asprintf "
         "vasprintf mi_malloc mi_free", "", "viv_alloc, viv_free … of base/alloc.h"),
        ("sprintf vsprintf strcpy strcat strncpy strncat stpcpy gets", "", "snprintf or base/buf.h"),
        ("strtok strtok_r", "", "base/text.h"),
        ("atoi atol atoll atof", "", "a parser that reports errors (base/text.h)"),
        ("rand srand random srandom drand48 rand_r", "", "base/rng.h, os/rand.h"),
        ("longjmp setjmp siglongjmp sigsetjmp _longjmp _setjmp", "", "errors as enum viv_err"),
        ("alloca __builtin_alloca", "", "viv_try_alloc or a bounded array"),
        ("assert", "", "VIV_ASSERT of base/assert.h"),
        ("abort", "", "VIV_PANIC of base/assert.h"),
        ("exit _exit _Exit quick_exit atexit", "cli", "return an error; only cli/ ends the program"),
        ("system popen", "", "os processes through room native"),
        ("open openat openat2 creat read write close pread pwrite readv writev preadv pwritev preadv2 lseek dup dup2 "
         "dup3 pipe pipe2 fsync fdatasync ftruncate stat fstat lstat fstatat statx unlink unlinkat rename renameat "
         "mkdir mkdirat rmdir link linkat symlink symlinkat readlink readlinkat opendir readdir getdents64 fcntl ioctl "
         "isatty fopen fdopen freopen fread fclose utimensat futimens fallocate flock", "os", "os/file.h"),
        ("mmap munmap mprotect madvise mremap mlock", "os", "os/vm.h"),
        ("epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd poll ppoll select "
         "timerfd_create timerfd_settime signalfd pidfd_open", "os", "os/poll.h"),
        ("clock_gettime clock_getres gettimeofday time nanosleep clock_nanosleep usleep sleep", "os", "os/clock.h, or the "
         "scheduler's clock where time may be simulated"),
        ("getrandom getentropy arc4random", "os", "os/rand.h"),
        ("futex sched_yield sched_getaffinity sysconf get_nprocs", "os", "os/thread.h"),
        ("socket socketpair bind listen accept accept4 connect send recv sendto recvfrom sendmsg recvmsg shutdown "
         "setsockopt getsockopt getaddrinfo", "os", "room net"),
        ("fork vfork execve execvp execv posix_spawn waitpid wait4 kill raise signal sigaction sigprocmask "
         "syscall prctl", "os", "a wrapper in os/")):
    for _name in words(_names):
        BANNED[_name] = (words(_rooms), _instead)
BANNED_PREFIXES = {"pthread_": (["os"], "os/thread.h"), "thrd_": ([], "os/thread.h"),
                   "mtx_": ([], "os/thread.h"), "cnd_": ([], "os/thread.h")}
IMPLICIT_ORDER = re.compile(
    r"\batomic_(?:load|store|exchange|compare_exchange_\w+?|fetch_(?:add|sub|or|and|xor)|flag_\w+?)(?<!_explicit)\s*\(")

KEYWORDS = set(words("if for while switch return sizeof _Alignof _Alignas __attribute__ _Static_assert static_assert "
                     "__typeof__ typeof _Generic void char short int long float double unsigned signed bool "
                     "defined VIV_PRINTF VIV_MUST_CHECK asm __asm__"))
C_SUFFIXES = {".c", ".h"}
SPDX_SUFFIXES = {".c", ".h", ".py", ".sh", ".cmake", ".rs"}
TEXT_SUFFIXES = SPDX_SUFFIXES | {".md", ".tab", ".txt", ".json", ".toml", ".wat", ".erl", ".yaml", ".bash", ".1"}
CODE_COMMENT = re.compile(
    r"^(?:(?:return|goto|break|continue)\b[^.]*;"
    r"|(?:if|for|while|switch) \(.*\)\s*(?:\{|.*;)"
    r"|[\w\->.\[\]*&]+ (?:=|\+=|-=|\|=) [^.]*;"
    r"|[a-z_]\w*\([^.]*\);"
    r"|#\s*(?:include|define|if|endif)\b.*"
    r"|\}|\{)\s*$")


@dataclasses.dataclass(frozen=True)
class Finding:
    path: str
    line: int
    rule: str
    name: str
    text: str


@dataclasses.dataclass
class Function:
    name: str
    line: int
    length: int  # 0: a declaration
    params: int
    static: bool
    start: int
    end: int


def blank(text):
    return re.sub(r"[^\n]", " ", text)


TOKEN = re.compile(r'//[^\n]*(?:\\\n[^\n]*)*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


class Source:
    """One C file: its text, the same without comments and strings, and what stands at its top level."""

    def __init__(self, root, path):
        self.path = path.relative_to(root).as_posix()
        self.text = path.read_text(encoding="utf-8", errors="replace")
        self.lines = self.text.splitlines()
        self.starts = [0]
        for match in re.finditer(r"\n", self.text):
            self.starts.append(match.end())
        self.comments = []  # (first line, last line, text)
        self.code = TOKEN.sub(self._blank_token, self.text)
        self.comment_lines = set()
        for first, last, _ in self.comments:
            self.comment_lines.update(range(first, last + 1))
        opening = 1  # the comment that opens the file explains no single declaration
        while opening in self.comment_lines:
            self.comment_lines.discard(opening)
            opening += 1
        self.opening = "\n".join(self.lines[:opening - 1])
        self.includes = [(self.line_of(match.start()), match[1], match[2]) for match in re.finditer(
            r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', self.text, re.MULTILINE)]
        # Preprocessor lines, continued ones too, are no part of the declarations.
        self.plain = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: blank(m[0]), self.code, flags=re.MULTILINE)
        self.functions, self.variables, self.types = [], [], []
        self._scan()

    def _blank_token(self, match):
        token = match[0]
        if token.startswith("/"):
            first = self.line_of(match.start())
            self.comments.append((first, first + token.count("\n"), token))
            return blank(token)
        return token[0] + blank(token[1:-1]) + token[-1]

    def line_of(self, offset):
        return bisect.bisect_right(self.starts, offset)

    @property
    def room(self):
        parts = self.path.split("/")
        return parts[1] if parts[0] == "src" and len(parts) > 2 else None

    def _scan(self):
        """Cuts the text into top-level chunks: `head {body}` and `head;`."""
        text, start, i = self.plain, 0, 0
        parens = 0
        while i < len(text):
            char = text[i]
            if char in "([":
                parens += 1
            elif char in ")]":
                parens -= 1
            elif char == ";" and parens == 0:
                self._chunk(start, i, None)
                start = i + 1
            elif char == "{" and parens == 0:
                end = self._match(i, "{", "}")
                head = text[start:i]
                if re.search(r"\)\s*(?:__attribute__\s*\(\(.*?\)\)\s*)?$", head) and "=" not in head:
                    self._chunk(start, i, end)
                    start = end + 1
                i = end
            i += 1

    def _match(self, at, left, right):
        """Offset of what closes the bracket at `at`."""
        depth = 0
        for i in range(at, len(self.plain)):
            if self.plain[i] == left:
                depth += 1
            elif self.plain[i] == right:
                depth -= 1
                if depth == 0:
                    return i
        return len(self.plain) - 1

    def _chunk(self, start, end, body_end):
        head = self.plain[start:end]
        stripped = head.strip()
        if not stripped:
            return
        first = start + len(head) - len(head.lstrip())
        macro = re.match(r"[A-Z][A-Z0-9_]+\s*\(", stripped)
        if macro:  # a macro that makes a declaration of its own stands in front
            close = self._match(first + macro.end() - 1, "(", ")")
            if close + 1 < end and self.plain[close + 1:end].strip():
                self._chunk(close + 1, end, body_end)
            return
        line = self.line_of(first)
        flat = re.sub(r"\{.*\}", "{}", stripped, flags=re.DOTALL)
        if flat.startswith("typedef"):
            match = re.search(r"\(\s*\*\s*(\w+)\s*\)|(\w+)\s*(?:\[[^\]]*\]\s*)*$", re.sub(r"__attribute__\s*\(\(.*?\)\)", "", flat))
            if match:
                self.types.append(("typedef", match[1] or match[2], line))
            return
        kind = re.match(r"(?:static\s+|extern\s+|const\s+)*(struct|enum|union)\s+(?:__attribute__\s*\(\(.*?\)\)\s*|VIV_\w+\s+)*(\w+)\s*\{\}", flat)
        if kind:
            self.types.append((kind[1], kind[2], line))
        if "=" not in flat and not kind:
            found = self._function(flat)
            if found:
                name, params = found
                last = self.line_of(body_end) if body_end else line
                self.functions.append(Function(name, line, last - line + 1 if body_end else 0, params,
                                               bool(re.match(r"(?:\w+\s+)*?static\b", flat)), first, body_end or end))
                return
        self._variable(flat, line, self.line_of(end))

    @staticmethod
    def _function(flat):
        """(name, number of parameters) when the text declares a function."""
        for match in re.finditer(r"\b([A-Za-z_]\w*)\s*\(", flat):
            before = flat[:match.start()]
            if match[1] in KEYWORDS or before.count("(") != before.count(")"):
                continue
            if re.fullmatch(r"[A-Z][A-Z0-9_]*", match[1]):
                continue  # a macro
            if not before.strip():
                return None  # a macro call without a type in front
            depth, commas, i = 0, 0, match.end() - 1
            while i < len(flat):
                depth += flat[i] in "([" and 1 or flat[i] in ")]" and -1 or 0
                if depth == 0:
                    break
                commas += flat[i] == "," and depth == 1
                i += 1
            inside = flat[match.end():i].strip()
            return match[1], 0 if inside in ("", "void") else commas + 1
        return None

    def _variable(self, flat, line, last):
        if re.match(r"extern\b|_Static_assert\b|static_assert\b", flat):
            return
        declarator = flat.split("=")[0].strip()
        if re.fullmatch(r"(?:struct|enum|union)\s+\w+(?:\s*\{\})?", declarator) or not re.search(r"\w\s+[\w*(]", declarator):
            return
        constant = re.search(r"\*\s*const\b", declarator) if "*" in declarator else re.search(r"\bconst\b", declarator)
        if constant or "(" in declarator.replace("(*", ""):
            return
        if re.match(r"enum\s*\{", declarator):
            return
        name = re.search(r"(\w+)\s*(?:\)\s*\(.*|\[.*)?$", re.sub(r"\[[^\]]*\]", "", declarator))
        if name:
            self.variables.append((name[1], line, last))


class Tidy:
    def __init__(self, root):
        self.root = root
        self.findings = []
        self.used = set()
        self.exceptions = self.read_exceptions()
        self.layers, self.owners = self.read_layers()
        self.files = sorted(path for folder in ("src", "include", "test", "examples", "tools", "gen", "cmake", "docs",
                                                ".ci", "third_party")
                            for path in (root / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        self.sources = [Source(root, path) for path in self.files if path.suffix in C_SUFFIXES]

    def report(self, path, line, rule, text, name="*"):
        for key in ((rule, path, name), (rule, path, "*")):
            if key in self.exceptions:
                self.used.add(key)
                return
        self.findings.append(Finding(path, line, rule, name, text))

    def read_exceptions(self):
        path, found = self.root / "tools" / "tidy-exceptions.txt", {}
        if not path.is_file():
            return found
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            cells = [cell.strip() for cell in line.split("|", 3)]
            if len(cells) != 4 or not all(cells) or cells[0] not in RULES:
                self.findings.append(Finding("tools/tidy-exceptions.txt", number, "exception", "*",
                                             "not `rule | path | name | reason`"))
                continue
            found[tuple(cells[:3])] = number
        return found

    def read_layers(self):
        path, layers, owners = self.root / "gen" / "layers.tab", {}, []
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                if not line.strip() or line.startswith("#"):
                    continue
                left, _, right = line.partition(":")
                if left.startswith("header "):
                    owners.append((words(left)[1:], words(right)))
                else:
                    layers[left.strip()] = set(words(right))
        return layers, owners

    # Rules on C files.

    def check_includes(self, source):
        room = source.room
        if room is not None and room not in self.layers:
            self.report(source.path, 1, "layer", f"room {room} has no row in gen/layers.tab")
            return
        for line, mark, name in source.includes:
            if mark == '"' and room is not None:
                self.check_project_include(source, line, name)
            if mark == '"' and ".." in name.split("/"):
                self.report(source.path, line, "include-form", f'"{name}" climbs up; write "room/file.h"')
            for heads, rooms in self.owners:
                hit = any(name.startswith(head) if head.endswith("/") else name == head for head in heads)
                if hit and room is not None and room not in rooms:
                    self.report(source.path, line, "header-owner", f"{name} belongs to {' '.join(rooms)}", name)

    def check_project_include(self, source, line, name):
        other, _, rest = name.partition("/")
        if not rest:
            self.report(source.path, line, "include-form", f'"{name}": write "{source.room}/{name}"')
        elif other not in ("gen", "viv") and other != source.room and other not in self.layers[source.room]:
            self.report(source.path, line, "layer", f"{source.room} may not include {name}; it may include "
                        f"{' '.join(sorted(self.layers[source.room])) or 'nothing'}", name)
        elif name.endswith("_int.h") and other != source.room:
            self.report(source.path, line, "layer", f"{name} is only for {other}", name)

    def check_banned(self, source):
        room = source.room
        if room is None:
            return
        for match in re.finditer(r"\b([a-z_]\w*)\s*\(", source.code):
            name = match[1]
            rule = BANNED.get(name)
            if rule is None:
                rule = next((BANNED_PREFIXES[p] for p in BANNED_PREFIXES if name.startswith(p)), None)
            if rule is None or room in rule[0]:
                continue
            before = source.code[:match.start()].rstrip()
            if before.endswith(("->", ".")):
                continue  # a member that has the name
            line = source.line_of(match.start())
            self.report(source.path, line, "banned", f"{name}(): use {rule[1]}", name)

    def check_atomics(self, source):
        if source.room is None:
            return
        for match in IMPLICIT_ORDER.finditer(source.code):
            self.report(source.path, source.line_of(match.start()), "atomic-order",
                        f"{match[0].rstrip('( ')} without an order: use the _explicit form and say what it pairs with")
        for function in source.functions:
            if not function.length or "memory_order_" not in source.code[function.start:function.end]:
                continue
            near = range(function.line - 1, function.line + function.length)
            if not any(line in source.comment_lines for line in near):
                self.report(source.path, function.line, "atomic-order",
                            f"{function.name} names a memory order and has no comment that gives the reason", function.name)

    def check_names(self, source):
        if source.room is None:
            return
        for function in source.functions:
            is_header = source.path.endswith(".h")
            if function.static and not is_header or function.name == "main":
                continue
            if not function.name.startswith("viv_"):
                self.report(source.path, function.line, "name",
                            f"{function.name}: extern functions and those of headers are called viv_<module>_<verb>; "
                            "else make it static", function.name)
        for kind, name, line in source.types:
            if kind == "typedef" and name.endswith("_t"):
                self.report(source.path, line, "name", f"typedef {name}: _t belongs to the C library", name)
            if source.path.endswith(".h") and not name.startswith("viv_"):
                self.report(source.path, line, "name", f"{kind} {name}: types of headers begin viv_", name)
        if source.path.endswith(".h"):
            for match in re.finditer(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", source.code, re.MULTILINE):
                if not re.match(r"VIV_|viv_", match[1]):
                    self.report(source.path, source.line_of(match.start()), "name",
                                f"macro {match[1]}: macros of headers begin VIV_", match[1])

    def check_sizes(self, source):
        for function in source.functions:
            if function.length > FUNCTION_MAX:
                self.report(source.path, function.line, "function-length", f"{function.name} has {function.length} lines, "
                            f"at most {FUNCTION_MAX}", function.name)
            if function.params > PARAMS_MAX and not source.path.startswith("test/"):
                self.report(source.path, function.line, "params", f"{function.name} has {function.params} parameters, at "
                            f"most {PARAMS_MAX}; pass a struct", function.name)
        most = HEADER_MAX if source.path.endswith(".h") else FILE_MAX
        if len(source.lines) > most:
            self.report(source.path, most, "file-length", f"{len(source.lines)} lines, at most {most}")
        for number, line in enumerate(source.lines, 1):
            if len(line) > LINE_MAX:
                self.report(source.path, number, "line-length", f"{len(line)} columns, at most {LINE_MAX}")

    def check_leftovers(self, source):
        for match in re.finditer(r"^[ \t]*#[ \t]*if[ \t]+0\b", source.code, re.MULTILINE):
            self.report(source.path, source.line_of(match.start()), "leftover", "`#if 0`: delete it; the history keeps it")
        for first, _, text in source.comments:
            body = re.sub(r"^(?://+|/\*+)|\*/$", "", text)
            for offset, line in enumerate(body.split("\n")):
                line = line.strip().removeprefix("* ").strip()
                if re.search(r"\bFIXME\b|\bXXX\b", line):
                    self.report(source.path, first + offset, "leftover", "FIXME: do it or write it down elsewhere")
                elif CODE_COMMENT.match(line):
                    self.report(source.path, first + offset, "leftover", f"commented-out code? `{line}`")

    def check_globals(self, source):
        if source.room is None or not source.path.endswith(".c") or re.search(r"\bglobal\b", source.opening, re.IGNORECASE):
            return
        for name, line, last in source.variables:
            first = line
            while first > 1 and source.lines[first - 2].strip():
                first -= 1  # a comment above a group counts for the whole group
            if not any(at in source.comment_lines for at in range(first, last + 1)):
                self.report(source.path, line, "global", f"{name}: mutable state at file scope needs a comment that says "
                            "why it is not in struct viv_kernel", name)

    def check_guard(self, source):
        if not source.path.endswith(".h"):
            return
        parts = source.path.split("/")
        stem = parts[1:] if parts[0] in ("src", "include") else parts
        if stem[0] == "viv":
            stem = stem[1:]
        guard = "VIV_" + re.sub(r"\W", "_", "_".join(stem)).upper()
        if parts[0] == "test":  # any folder name between may be left out
            guard_form = r"VIV_TEST_(?:\w+_)?" + re.sub(r"\W", "_", parts[-1]).upper()
        else:
            guard_form = guard
        directives = re.findall(r"^[ \t]*#[ \t]*(\w+)[ \t]*(.*?)[ \t]*$", source.code, re.MULTILINE)
        if len(directives) < 3 or directives[0][0] != "ifndef" or directives[1] != ("define", directives[0][1]) \
                or not re.fullmatch(guard_form, directives[0][1]) or directives[-1][0] != "endif":
            self.report(source.path, 1, "guard", f"the guard must be {guard} and span the file")

    def check_unused_headers(self):
        included = set()
        for source in self.sources:
            own = source.path.split("/")
            for _, _, name in source.includes:
                included.add(name)
                included.add("/".join(own[:-1] + [name]))
        for source in self.sources:
            parts = source.path.split("/")
            if not source.path.endswith(".h") or parts[0] not in ("src", "test"):
                continue
            if "/".join(parts[1:]) not in included and source.path not in included:
                self.report(source.path, 1, "unused-header", "no file includes it")

    # Rules on every text file.

    def check_text(self, path):
        name = path.relative_to(self.root).as_posix()
        if "/corpus/" in name or (path.suffix not in TEXT_SUFFIXES and not self.is_script(path)):
            return
        data = path.read_bytes()
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            self.report(name, data.count(b"\n", 0, error.start) + 1, "text", "not UTF-8")
            return
        bad = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]" + ("|\t" if path.suffix in C_SUFFIXES else ""))
        for number, line in enumerate(text.split("\n"), 1):
            match = bad.search(line)
            if match:
                self.report(name, number, "text", f"control character U+{ord(match[0]):04X}")
            if line != line.rstrip():
                self.report(name, number, "text", "blanks at the end of the line")
        if text and not text.endswith("\n"):
            self.report(name, text.count("\n") + 1, "text", "no newline at the end")
        if path.suffix in SPDX_SUFFIXES or path.name == "CMakeLists.txt" or self.is_script(path):
            lines = text.split("\n", 2)
            at = 1 if lines[0].startswith("#!") else 0
            if len(lines) <= at or "SPDX-License-Identifier: Apache-2.0" not in lines[at]:
                if not (path.suffix == ".rs" and "third_party" in name):
                    self.report(name, at + 1, "spdx", "SPDX-License-Identifier: Apache-2.0 is missing")

    @staticmethod
    def is_script(path):
        if path.suffix:
            return False
        with open(path, "rb") as file:
            return file.read(2) == b"#!"

    def run(self):
        for source in self.sources:
            for check in (self.check_includes, self.check_banned, self.check_atomics, self.check_names, self.check_sizes,
                          self.check_leftovers, self.check_globals, self.check_guard):
                check(source)
        self.check_unused_headers()
        for path in self.files:
            self.check_text(path)
        for key, number in self.exceptions.items():
            if key not in self.used:
                self.findings.append(Finding("tools/tidy-exceptions.txt", number, "exception", "*",
                                             f"allows nothing any more: {' | '.join(key)}; delete the row"))
        return sorted(self.findings, key=lambda f: (f.path, f.line, f.rule))

    def sizes(self):
        for source in self.sources:
            if len(source.lines) > FILE_LOOK:
                yield f"{source.path}: {len(source.lines)} lines"
            for function in source.functions:
                if function.length > FUNCTION_LOOK or function.params == PARAMS_MAX:
                    yield (f"{source.path}:{function.line}: {function.name}: {function.length} lines, "
                           f"{function.params} parameters")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--rules", action="store_true")
    parser.add_argument("--sizes", action="store_true")
    options = parser.parse_args()
    if options.rules:
        for rule, text in RULES.items():
            print(f"{rule:<16} {text}")
        return 0
    tidy = Tidy(options.root.resolve())
    if options.sizes:
        print("\n".join(tidy.sizes()))
        return 0
    findings = tidy.run()
    for finding in findings:
        print(f"{finding.path}:{finding.line}: [{finding.rule}] {finding.text}")
    print(f"tidy: {len(findings)} findings in {len(tidy.sources)} C files and {len(tidy.files)} files in all")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
