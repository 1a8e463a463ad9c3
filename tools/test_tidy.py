#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of tidy.py: each bad snippet must be reported under its rule and line, each good one not at all."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import tidy  # noqa: E402

SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
LAYERS = "base :\nos : base\nsched : base os\ncli : base os sched\nheader jansson.h : base\nheader openssl/ : base\n"


def header(guard, body):
    return f"{SPDX}#ifndef {guard}\n#define {guard}\n\n{body}\n#endif\n"


class TidyTest(unittest.TestCase):
    def run_on(self, files, exceptions=None):
        """{(rule, path, line)} for a tree with these files."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            tree = {"gen/layers.tab": LAYERS, **files}
            if exceptions is not None:
                tree["tools/tidy-exceptions.txt"] = exceptions
            for name, text in tree.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text if isinstance(text, bytes) else text.encode())
            return {(f.rule, f.path, f.line) for f in tidy.Tidy(root).run()}

    def bad(self, rule, code, path="src/sched/a.c", line=2, **more):
        found = self.run_on({path: SPDX + code, **more.get("files", {})})
        self.assertIn((rule, path, line), found, code)

    def good(self, code, path="src/sched/a.c", **more):
        self.assertEqual(self.run_on({path: SPDX + code, **more.get("files", {})}), set(), code)

    def test_layers(self):
        up = {"src/sched/s.h": header("VIV_SCHED_S_H", "")}
        self.bad("layer", '#include "sched/s.h"\n', path="src/os/a.c", files=up)
        self.good('#include "sched/s.h"\n', files=up)
        inner = {"src/os/os_int.h": header("VIV_OS_OS_INT_H", "")}
        self.bad("layer", '#include "os/os_int.h"\n', files=inner)
        self.good('#include "os/os_int.h"\n', path="src/os/a.c", files=inner)
        self.bad("layer", "\n", path="src/unknown/a.c", line=1)

    def test_include_form(self):
        self.bad("include-form", '#include "s.h"\n')
        self.bad("include-form", '#include "sched/../os/s.h"\n')

    def test_header_owner(self):
        self.bad("header-owner", "#include <jansson.h>\n")
        self.bad("header-owner", "#include <openssl/evp.h>\n")
        self.good("#include <jansson.h>\n", path="src/base/a.c")

    def test_banned(self):
        for call in ("malloc(1)", "free(p)", "strdup(p)", "sprintf(p, q)", "strcpy(p, q)", "strtok(p, q)", "rand()",
                     "longjmp(p, 1)", "setjmp(p)", "alloca(1)", "assert(p)", "abort()", "exit(1)", "read(1, p, 2)",
                     "mmap(p)", "epoll_wait(p)", "eventfd(0, 0)", "clock_gettime(1, p)", "nanosleep(p, q)", "gets(p)",
                     "pthread_create(p)", "pthread_mutex_lock(p)", "getrandom(p)", "syscall(SYS_futex)", "socket(1, 2, 3)"):
            with self.subTest(call=call):
                self.bad("banned", f"static void f(char *p, char *q)\n{{\n    {call};\n}}\n", line=4)
        self.good("static void f(struct s *p)\n{\n    p->read(1);\n    p->ops.close(2);\n}\n")
        self.good('static void f(void)\n{\n    g("malloc(1)"); // not malloc(1) at all\n}\n')
        self.good("static void f(void)\n{\n    mmap(0);\n    pthread_self();\n}\n", path="src/os/a.c")
        self.good("static void f(void)\n{\n    exit(1);\n}\n", path="src/cli/a.c")
        self.good("static void f(void)\n{\n    malloc(1);\n}\n", path="test/unit/a.c")

    def test_atomic_order(self):
        self.bad("atomic-order", "static void f(void)\n{\n    atomic_load(&x); // why\n}\n", line=4)
        self.bad("atomic-order", "static void f(void)\n{\n    atomic_fetch_add(&x, 1); // why\n}\n", line=4)
        code = "static void f(void)\n{{\n    atomic_load_explicit(&x, memory_order_relaxed);{}\n}}\n"
        self.bad("atomic-order", code.format(""))
        self.good(code.format(" // a statistic"))

    def test_names(self):
        self.bad("name", "void f(void)\n{\n}\n")
        self.good("DEFINE(one, )\nDEFINE(two, __attribute__((x(1, 2))))\n\nstatic int f(void)\n{\n}\n")
        self.bad("name", "DEFINE(one)\n\nint f(void)\n{\n}\n", line=4)
        self.good("void viv_a_f(void)\n{\n}\n\nstatic void f(void)\n{\n}\n\nint main(void)\n{\n}\n")
        use = {"src/sched/b.c": SPDX + '#include "sched/a.h"\n'}

        def in_header(body):
            return self.run_on({"src/sched/a.h": header("VIV_SCHED_A_H", body), **use})
        for body in ("void f(int x);", "static inline int f(void)\n{\n    return 1;\n}", "struct thing {\n    int x;\n};",
                     "enum thing {\n    VIV_A,\n};", "typedef int word;", "#define MAX 1", "typedef int viv_word_t;",
                     "const char *f(int x) VIV_PRINTF(1, 2);"):
            with self.subTest(body=body):
                self.assertIn(("name", "src/sched/a.h", 5), in_header(body))
        for body in ("void viv_f(int x) __attribute__((returns_nonnull));", "struct viv_thing;", "#define VIV_MAX 1",
                     "struct viv_ops {\n    void (*read)(int x);\n    int (*close)(void);\n};",
                     "typedef struct {\n    int x;\n} viv_thing;", "extern void (*viv_hook)(void);",
                     "enum viv_err viv_f(struct viv_diag *d, const char *fmt, ...)\n    VIV_PRINTF(2, 3);",
                     "_Static_assert(sizeof(int) == 4, \"int\");"):
            with self.subTest(body=body):
                self.assertEqual(in_header(body), set())

    def test_function_length(self):
        self.bad("function-length", "static void f(void)\n{\n" + "    g();\n" * 118 + "}\n")
        self.good("static void f(void)\n{\n" + "    g();\n" * 117 + "}\n")

    def test_params(self):
        self.bad("params", "static void f(int a, int b, int c, int d, int e, int g, int h)\n{\n}\n")
        self.bad("params", "void viv_f(int a, int b, int c, int d, int e, int g, int h);\n")
        self.good("static void f(int a, int b, int c, int d, int e, void (*g)(int, int))\n{\n}\n")

    def test_file_length(self):
        self.assertIn(("file-length", "src/sched/a.c", 1500), self.run_on({"src/sched/a.c": SPDX + "\n" * 1500}))
        long = header("VIV_SCHED_A_H", "\n" * 300)
        self.assertIn(("file-length", "src/sched/a.h", 300), self.run_on({"src/sched/a.h": long}))

    def test_line_length(self):
        self.bad("line-length", "// " + "a" * 98 + "\n")
        self.good("// " + "é" * 97 + "\n")

    def test_leftover(self):
        self.bad("leftover", "#if 0\n#endif\n")
        for comment in ("// FIXME later", "// count = 1;", "// return 0;", "// if (x > 1) {", "// free_it(x);",
                        "/* count += 2; */", "// #define A 1"):
            with self.subTest(comment=comment):
                self.bad("leftover", comment + "\n")
        for comment in ("// Returns 0; never blocks.", "// x = y holds here", "// see viv_free(); it may be NULL",
                        "// if it is open: closes it", '/* "FIX ME" */'):
            with self.subTest(comment=comment):
                self.good(comment + "\n")

    def test_global(self):
        for code in ("static int count;\n", "static _Thread_local struct s *now;\n", "int viv_x = 1;\n",
                     "static const char *name;\n", "static struct s {\n    int x;\n} table[4];\n"):
            with self.subTest(code=code):
                self.bad("global", code)
        for code in ("static const int count = 1;\n", "// Why it is here.\nstatic int count;\n",
                     "static const char *const names[] = {\"a\"};\n", "static int count; // why\n", "struct s;\n",
                     "static void f(void);\n", "static const struct s table[] = {{1}, {2}};\n", "enum {\n    A,\n};\n"):
            with self.subTest(code=code):
                self.good("\n" + code)
        self.good("// Global state: the reason is told here.\n\nstatic int count;\n")

    def test_text(self):
        for code, line in ((b"int x;\t// tab\n", 2), (b"// bell \x07\n", 2), ("// bidi \u202e\n".encode(), 2),
                           (b"// blank \n", 2), (b"// return\r\n", 2), (b"// no newline", 2), (b"// \xff\n", 2)):
            with self.subTest(code=code):
                self.assertIn(("text", "src/sched/a.c", line), self.run_on({"src/sched/a.c": SPDX.encode() + code}))
        self.assertIn(("text", "docs/a.md", 1), self.run_on({"docs/a.md": "blank \n"}))

    def test_spdx(self):
        self.assertIn(("spdx", "src/sched/a.c", 1), self.run_on({"src/sched/a.c": "// A file.\n"}))
        self.assertIn(("spdx", "tools/a.py", 2), self.run_on({"tools/a.py": "#!/usr/bin/env python3\n"}))
        self.assertIn(("spdx", "tools/a", 2), self.run_on({"tools/a": "#!/bin/sh\ntrue\n"}))

    def test_guard(self):
        use = {"src/sched/b.c": SPDX + '#include "sched/a.h"\n'}
        for text in (header("A_H", ""), SPDX, SPDX + "#pragma once\n", header("VIV_OS_A_H", ""),
                     header("VIV_SCHED_A_H", "") + "#define VIV_X 1\n"):
            with self.subTest(text=text):
                self.assertIn(("guard", "src/sched/a.h", 1), self.run_on({"src/sched/a.h": text, **use}))

    def test_unused_header(self):
        self.assertIn(("unused-header", "src/sched/a.h", 1), self.run_on({"src/sched/a.h": header("VIV_SCHED_A_H", "")}))

    def test_exceptions(self):
        file = {"src/sched/a.c": SPDX + "static void f(void)\n{\n    malloc(1);\n}\n"}
        self.assertEqual(self.run_on(file, "banned | src/sched/a.c | malloc | a reason\n"), set())
        self.assertEqual(self.run_on(file, "banned | src/sched/a.c | * | a reason\n"), set())
        for row in ("banned | src/sched/a.c | malloc |\n", "banned | src/sched/a.c | malloc\n",
                    "no-such-rule | src/sched/a.c | * | a reason\n", "banned | src/sched/a.c | calloc | not needed\n"):
            with self.subTest(row=row):
                self.assertIn(("exception", "tools/tidy-exceptions.txt", 1), self.run_on(file, row))

    def test_every_rule_is_tested(self):
        text = pathlib.Path(__file__).read_text(encoding="utf-8")
        for rule in tidy.RULES:
            self.assertIn(f'"{rule}"', text)


if __name__ == "__main__":
    unittest.main()
