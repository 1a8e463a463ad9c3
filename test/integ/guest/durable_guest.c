// SPDX-License-Identifier: Apache-2.0
// A guest that is a durable process; its argument names the case. It ends with 0, or with the line
// of the check that failed. Its registration declares the event type `beat`.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <viv/viv_durable.h>

#define CHECK(holds)                                                                               \
    do {                                                                                           \
        if (!(holds)) exit(__LINE__);                                                              \
    } while (0)
#define OK(call) CHECK((call) == 0)
#define ERR(call, code) CHECK((call) == -(int32_t)(code))
#define TEXT(literal) literal, sizeof(literal) - 1

static char buf[4096];
static uint32_t len;

static int is(const char *text)
{
    return len == strlen(text) && memcmp(buf, text, len) == 0;
}

// ---- itself ----

static void case_self(void)
{
    OK(viv_durable_self(buf, sizeof buf, &len));
    CHECK(is("self"));
    len = 0;
    ERR(viv_durable_self(buf, 3, &len), VIV_E_DURABLE_TOOSMALL);
    CHECK(len == 4);
    OK(viv_durable_self(buf, 4, &len));
    CHECK(viv_durable_attempt() == 1);
    OK(viv_durable_input(buf, sizeof buf, &len));
    CHECK(is("[\"self\",{\"n\":[1,2.5]},null]"));
    ERR(viv_durable_cancelled(buf, sizeof buf, &len), VIV_E_NOTFOUND);
    CHECK(viv_durable_draining() == 0);
    const int64_t now = viv_durable_now(), wall = (int64_t)time(NULL) * 1000;
    CHECK(now > wall - 5000 && now < wall + 5000);
    ERR(viv_durable_finish(TEXT("{\"type\":\"success\"}")), VIV_E_INVAL);
    ERR(viv_durable_finish(TEXT("{\"type\":\"suc")), VIV_E_JSON);
    ERR(viv_durable_finish(TEXT("{\"type\":\"abandoned\"}")), VIV_E_AUTHORITY);
    OK(viv_durable_finish(TEXT("{\"type\":\"success\",\"value\":1}")));
    OK(viv_durable_finish(TEXT("{\"type\":\"success\",\"value\":{\"b\":2,\"a\":1.0}}")));
}

static void case_fails(void)
{
    OK(viv_durable_finish(TEXT("{\"type\":\"failure\",\"class\":\"external\",\"code\":\"c\","
                               "\"message\":\"m\"}")));
}

// What finish said does not count when it does not end normally.
static void case_traps(void)
{
    OK(viv_durable_finish(TEXT("{\"type\":\"success\",\"value\":1}")));
    __builtin_trap();
}

// ---- the log ----

static void case_log(void)
{
    uint64_t first, again;
    OK(viv_durable_append(TEXT("beat"), TEXT("{\"n\":1}"), TEXT("k"), &first));
    OK(viv_durable_append(TEXT("beat"), TEXT("{\"n\":1}"), TEXT("k"), &again));
    CHECK(first == again && first > 0);
    ERR(viv_durable_append(TEXT("beat"), TEXT("{\"n\":2}"), TEXT("k"), &again), VIV_E_KEY_CONFLICT);
    CHECK(first == again);
    ERR(viv_durable_append(TEXT("heat"), TEXT("1"), TEXT(""), &again), VIV_E_UNDECLARED);
    ERR(viv_durable_append(TEXT("beat"), TEXT("{"), TEXT(""), &again), VIV_E_JSON);
    ERR(viv_durable_append(TEXT("beat"), TEXT("1"), TEXT("viv:x"), &again), VIV_E_INVAL);
    ERR(viv_durable_append(TEXT("process.completed"), TEXT("1"), TEXT("y"), &again), VIV_E_SCHEMA);
    OK(viv_durable_append(TEXT("beat"), TEXT("null"), TEXT(""), &again));
    CHECK(again == first + 1);
    ERR(viv_durable_step_get(TEXT("s"), buf, sizeof buf, &len), VIV_E_NOTFOUND);
    OK(viv_durable_step_end(TEXT("s"), TEXT("{\"x\": 1.0}")));
    OK(viv_durable_step_end(TEXT("s"), TEXT("{\"x\":1}")));
    ERR(viv_durable_step_end(TEXT("s"), TEXT("2")), VIV_E_KEY_CONFLICT);
    ERR(viv_durable_step_get(TEXT("s"), buf, 2, &len), VIV_E_DURABLE_TOOSMALL);
    CHECK(len == 7);
    OK(viv_durable_step_get(TEXT("s"), buf, sizeof buf, &len));
    CHECK(is("{\"x\":1}"));
    ERR(viv_durable_checkpoint_get(&again, buf, sizeof buf, &len), VIV_E_NOTFOUND);
    OK(viv_durable_checkpoint_put(3, TEXT("a\0b")));
    OK(viv_durable_checkpoint_put(3, TEXT("a\0b")));
    ERR(viv_durable_checkpoint_put(3, TEXT("c")), VIV_E_KEY_CONFLICT);
    OK(viv_durable_checkpoint_put(5, TEXT("d")));
    ERR(viv_durable_checkpoint_put(4, TEXT("e")), VIV_E_INVAL);
    OK(viv_durable_checkpoint_get(&again, buf, sizeof buf, &len));
    CHECK(again == 5 && is("d"));
}

// Ten steps; the first attempt dies after six.
static void case_steps(void)
{
    uint64_t sequence;
    char key[8], value[32];
    int sum = 0;
    for (int i = 1; i <= 10; i++) {
        const size_t key_len = (size_t)snprintf(key, sizeof key, "s%d", i);
        const int32_t got = viv_durable_step_get(key, key_len, buf, sizeof buf, &len);
        if (got == 0) {
            buf[len] = '\0';
            sum += atoi(buf);
            continue;
        }
        CHECK(got == -VIV_E_NOTFOUND);
        const size_t value_len = (size_t)snprintf(value, sizeof value, "%d", i * i);
        OK(viv_durable_append(TEXT("beat"), value, value_len, TEXT(""), &sequence));
        OK(viv_durable_step_end(key, key_len, value, value_len));
        sum += i * i;
        if (i == 6 && viv_durable_attempt() == 1) __builtin_trap();
    }
    const int out = snprintf(buf, sizeof buf, "{\"type\":\"success\",\"value\":%d}", sum);
    OK(viv_durable_finish(buf, (size_t)out));
}

// ---- waits ----

static void case_waits(void)
{
    uint64_t sequence = 0;
    char token[32];
    const int64_t begin = viv_durable_now();
    OK(viv_durable_sleep(TEXT("nap"), begin + 100));
    CHECK(viv_durable_now() >= begin + 100);
    OK(viv_durable_sleep(TEXT("nap"), begin + 1000000)); // it is over
    OK(viv_durable_promise_create(TEXT("soon"), begin + 200, token, 32, &len));
    OK(viv_durable_sleep(TEXT("soon"), begin + 1000000)); // the first time counts
    ERR(viv_durable_promise_create(TEXT("late"), begin + 1000000, token, 31, &len),
        VIV_E_DURABLE_TOOSMALL);
    ERR(viv_durable_promise_create(TEXT("late"), begin + 2000000, token, 32, &len),
        VIV_E_KEY_CONFLICT);
    ERR(viv_durable_promise_create(TEXT("p"), -1, token, 31, &len), VIV_E_DURABLE_TOOSMALL);
    OK(viv_durable_promise_create(TEXT("p"), -1, token, 32, &len));
    CHECK(len == 32);
    ERR(viv_durable_promise_await(TEXT("p"), 0, buf, sizeof buf, &len), VIV_E_TIMEOUT);
    ERR(viv_durable_promise_await(TEXT("p"), 50, buf, sizeof buf, &len), VIV_E_TIMEOUT);
    ERR(viv_durable_promise_await(TEXT("q"), 50, buf, sizeof buf, &len), VIV_E_NOTFOUND);
    ERR(viv_durable_promise_settle(TEXT("00000000000000000000000000000000"),
                                   TEXT("{\"type\":\"value\",\"value\":1}")),
        VIV_E_NOTFOUND);
    ERR(viv_durable_promise_settle(token, 32, TEXT("1")), VIV_E_INVAL);
    OK(viv_durable_promise_settle(token, 32, TEXT("{\"type\":\"value\",\"value\":[1]}")));
    OK(viv_durable_promise_settle(token, 32, TEXT("{\"type\":\"value\",\"value\":[2]}")));
    OK(viv_durable_promise_await(TEXT("p"), VIV_FOREVER, buf, sizeof buf, &len));
    CHECK(is("{\"type\":\"value\",\"value\":[1]}"));
    OK(viv_durable_promise_create(TEXT("due"), begin, buf, sizeof buf, &len));
    OK(viv_durable_promise_await(TEXT("due"), VIV_FOREVER, buf, sizeof buf, &len));
    CHECK(is("{\"type\":\"timeout\"}"));
    ERR(viv_durable_wait_signal(TEXT("go"), 0, 50, &sequence, buf, sizeof buf, &len),
        VIV_E_TIMEOUT);
    OK(viv_durable_append(TEXT("beat"), TEXT("\"ready\""), TEXT("ready"), &sequence));
    ERR(viv_durable_wait_signal(TEXT("go"), 0, VIV_FOREVER, &sequence, buf, 1, &len),
        VIV_E_DURABLE_TOOSMALL);
    OK(viv_durable_wait_signal(TEXT("go"), 0, VIV_FOREVER, &sequence, buf, sizeof buf, &len));
    CHECK(is("{\"n\":7}"));
    ERR(viv_durable_wait_signal(TEXT("go"), sequence, 50, &sequence, buf, sizeof buf, &len),
        VIV_E_TIMEOUT);
}

static void case_cancelled(void)
{
    uint64_t sequence;
    OK(viv_durable_append(TEXT("beat"), TEXT("\"ready\""), TEXT("ready"), &sequence));
    ERR(viv_durable_wait_signal(TEXT("go"), 0, VIV_FOREVER, &sequence, buf, sizeof buf, &len),
        VIV_E_DURABLE_CANCELLED);
    OK(viv_durable_cancelled(buf, sizeof buf, &len));
    CHECK(is("enough"));
    ERR(viv_durable_sleep(TEXT("x"), viv_durable_now() + 1000000), VIV_E_DURABLE_CANCELLED);
    ERR(viv_durable_wait_signal(TEXT("go"), 0, 0, &sequence, buf, sizeof buf, &len), VIV_E_TIMEOUT);
    OK(viv_durable_append(TEXT("beat"), TEXT("\"bye\""), TEXT("bye"), &sequence));
    OK(viv_durable_finish(TEXT("{\"type\":\"success\",\"value\":\"cleaned up\"}")));
}

static void case_drains(void)
{
    while (viv_durable_draining() == 0)
        (void)viv_durable_wait_signal(TEXT("no"), 0, 10, NULL, buf, sizeof buf, &len);
}

static void case_waits_for_ever(void)
{
    uint64_t sequence;
    OK(viv_durable_append(TEXT("beat"), TEXT("\"ready\""), TEXT(""), &sequence));
    (void)viv_durable_wait_signal(TEXT("no"), 0, VIV_FOREVER, &sequence, buf, sizeof buf, &len);
    exit(__LINE__);
}

// Beats until it is ended.
static void case_beats(void)
{
    uint64_t sequence;
    if (viv_durable_attempt() > 1) return;
    for (;;) {
        const int32_t got = viv_durable_append(TEXT("beat"), TEXT("1"), TEXT(""), &sequence);
        if (got != 0) exit(-got);
        CHECK(usleep(1000) == 0);
    }
}

// ---- others ----

static void case_others(void)
{
    static const char child[] = "{\"id\":\"kid\",\"disposition\":\"external\",\"input\":{\"type\":"
                                "\"external\"},\"event_types\":[{\"name\":\"note\"}]}";
    uint64_t kid = 0, again = 0, opened = 0;
    OK(viv_durable_start(TEXT(child), &kid));
    OK(viv_durable_start(TEXT(child), &again));
    CHECK(kid != 0 && again != 0 && kid != again);
    ERR(viv_durable_start(TEXT("{\"id\":\"kid\",\"disposition\":\"external\",\"input\":{\"type\":"
                               "\"external\"}}"),
                          &again),
        VIV_E_REGISTRATION);
    ERR(viv_durable_start(TEXT("{\"id\":7}"), &again), VIV_E_INVAL);
    ERR(viv_durable_start(TEXT("{"), &again), VIV_E_JSON);
    OK(viv_close((int64_t)again));
    ERR(viv_durable_await(again, 0, buf, sizeof buf, &len), VIV_E_BADHANDLE);
    ERR(viv_durable_await(0, 0, buf, sizeof buf, &len), VIV_E_BADHANDLE);
    OK(viv_durable_open(TEXT("kid"), &opened));
    ERR(viv_durable_open(TEXT("foreign"), &again), VIV_E_NOTFOUND);
    ERR(viv_durable_open(TEXT("no such"), &again), VIV_E_NOTFOUND);
    ERR(viv_durable_await(kid, 0, buf, sizeof buf, &len), VIV_E_TIMEOUT);
    OK(viv_durable_signal(kid, TEXT("hello"), TEXT("{\"a\":1}"), TEXT("k")));
    OK(viv_durable_signal(opened, TEXT("hello"), TEXT("{\"a\":1}"), TEXT("k")));
    ERR(viv_durable_signal(kid, TEXT("hello"), TEXT("2"), TEXT("k")), VIV_E_KEY_CONFLICT);
    OK(viv_durable_events(kid, 0, 10, buf, sizeof buf, &len));
    buf[len] = '\0';
    CHECK(strstr(buf, "\"key\":\"k\"") != NULL && strstr(buf, "\"payload\":{\"a\":1}") != NULL);
    CHECK(strstr(buf, "\"type\":\"signal.hello\"") != NULL);
    OK(viv_durable_events(kid, 1, 10, buf, sizeof buf, &len));
    CHECK(is("[]"));
    OK(viv_durable_grant(kid, TEXT("us%2Fer/fr%25ame"), VIV_DURABLE_MAY_READ));
    ERR(viv_durable_grant(kid, TEXT("user%20"), VIV_DURABLE_MAY_READ), VIV_E_INVAL);
    ERR(viv_durable_grant(kid, TEXT("user"), 32), VIV_E_INVAL);
    OK(viv_durable_cancel(kid, TEXT("no more")));
    OK(viv_durable_await(kid, VIV_FOREVER, buf, sizeof buf, &len)); // somebody completes it
    CHECK(is("{\"type\":\"success\",\"value\":3}"));
    ERR(viv_durable_signal(kid, TEXT("late"), TEXT("1"), TEXT("")), VIV_E_TERMINAL);
}

// A chain of processes, each of which starts the next and awaits it; its value is its depth.
static void case_deep(int depth, const char *module)
{
    char text[400];
    uint64_t kid;
    OK(viv_durable_self(buf, sizeof buf, &len));
    if (depth > 0) {
        const int size = snprintf(
            text, sizeof text,
            "{\"id\":\"%.*s-%d\",\"disposition\":\"rerunnable\",\"input\":{\"type\":\"wasm\","
            "\"module\":\"%s\",\"function\":\"_start\",\"args\":[\"deep\",\"%d\",\"%s\"]}}",
            (int)len, buf, depth - 1, module, depth - 1, module);
        OK(viv_durable_start(text, (size_t)size, &kid));
        OK(viv_durable_await(kid, VIV_FOREVER, buf, sizeof buf, &len));
        const int out =
            snprintf(text, sizeof text, "{\"type\":\"success\",\"value\":%d}", depth - 1);
        CHECK(len == (uint32_t)out && memcmp(buf, text, len) == 0);
    }
    const int out = snprintf(buf, sizeof buf, "{\"type\":\"success\",\"value\":%d}", depth);
    OK(viv_durable_finish(buf, (size_t)out));
}

static void case_go(void)
{
    uint64_t sequence;
    OK(viv_durable_wait_signal(TEXT("go"), 0, VIV_FOREVER, &sequence, buf, sizeof buf, &len));
}

// What it sees was granted to it with fewer rights.
static void case_rights(void)
{
    uint64_t kid = 0;
    OK(viv_durable_open(TEXT("seen"), &kid));
    OK(viv_durable_events(kid, 0, 10, buf, sizeof buf, &len));
    ERR(viv_durable_await(kid, 0, buf, sizeof buf, &len), VIV_E_RIGHTS);
    ERR(viv_durable_signal(kid, TEXT("x"), TEXT("1"), TEXT("")), VIV_E_RIGHTS);
    ERR(viv_durable_cancel(kid, TEXT("")), VIV_E_RIGHTS);
    ERR(viv_durable_grant(kid, TEXT("x"), 1), VIV_E_RIGHTS);
}

static void case_denied(void)
{
    uint64_t sequence;
    ERR(viv_durable_start(TEXT("{\"id\":\"kid\",\"disposition\":\"external\",\"input\":{\"type\":"
                               "\"external\"}}"),
                          &sequence),
        VIV_E_DENIED);
    ERR(viv_durable_open(TEXT("kid"), &sequence), VIV_E_DENIED);
    ERR(viv_durable_promise_settle(TEXT("x"), TEXT("1")), VIV_E_DENIED);
    ERR(viv_durable_wake_ack(TEXT("x")), VIV_E_DENIED);
    OK(viv_durable_append(TEXT("beat"), TEXT("1"), TEXT(""), &sequence)); // its own it may
}

// A class with names: only those.
static void case_named(void)
{
    uint64_t kid;
    ERR(viv_durable_start(TEXT("{\"id\":\"other\",\"disposition\":\"external\",\"input\":{"
                               "\"type\":\"external\"}}"),
                          &kid),
        VIV_E_DENIED);
    OK(viv_durable_start(TEXT("{\"id\":\"kids.one\",\"disposition\":\"external\",\"input\":{"
                              "\"type\":\"external\"}}"),
                         &kid));
    ERR(viv_durable_await(kid, 0, buf, sizeof buf, &len), VIV_E_DENIED);
}

// ---- hostile ----

#define BAD ((void *)0xFFFFFFF0u)
static void case_pointers(void)
{
    uint64_t word;
    ERR(viv_durable_self(BAD, 100, &len), VIV_E_FAULT);
    ERR(viv_durable_self(buf, sizeof buf, BAD), VIV_E_FAULT);
    ERR(viv_durable_self(buf, 0xFFFFFFFFu, &len), VIV_E_FAULT);
    ERR(viv_durable_input(BAD, 100, &len), VIV_E_FAULT);
    ERR(viv_durable_cancelled(BAD, 100, &len), VIV_E_FAULT);
    ERR(viv_durable_finish(BAD, 100), VIV_E_FAULT);
    ERR(viv_durable_append(BAD, 100, TEXT("1"), TEXT(""), &word), VIV_E_FAULT);
    ERR(viv_durable_append(TEXT("beat"), BAD, 100, TEXT(""), &word), VIV_E_FAULT);
    ERR(viv_durable_append(TEXT("beat"), TEXT("1"), BAD, 100, &word), VIV_E_FAULT);
    ERR(viv_durable_append(TEXT("beat"), TEXT("1"), TEXT(""), BAD), VIV_E_FAULT);
    ERR(viv_durable_step_get(BAD, 100, buf, sizeof buf, &len), VIV_E_FAULT);
    ERR(viv_durable_step_get(TEXT("k"), BAD, 100, &len), VIV_E_FAULT);
    ERR(viv_durable_step_end(TEXT("k"), BAD, 100), VIV_E_FAULT);
    ERR(viv_durable_checkpoint_put(1, BAD, 100), VIV_E_FAULT);
    ERR(viv_durable_checkpoint_get(BAD, buf, sizeof buf, &len), VIV_E_FAULT);
    ERR(viv_durable_sleep(BAD, 100, 0), VIV_E_FAULT);
    ERR(viv_durable_promise_create(TEXT("k"), -1, BAD, 100, &len), VIV_E_FAULT);
    ERR(viv_durable_promise_await(TEXT("k"), -1, buf, sizeof buf, BAD), VIV_E_FAULT);
    ERR(viv_durable_promise_settle(BAD, 32, TEXT("1")), VIV_E_FAULT);
    ERR(viv_durable_wait_signal(TEXT("k"), 0, -1, BAD, buf, sizeof buf, &len), VIV_E_FAULT);
    ERR(viv_durable_start(BAD, 100, &word), VIV_E_FAULT);
    ERR(viv_durable_start(TEXT("{}"), BAD), VIV_E_FAULT);
    ERR(viv_durable_open(BAD, 100, &word), VIV_E_FAULT);
    ERR(viv_durable_await(1, 0, BAD, 100, &len), VIV_E_FAULT);
    ERR(viv_durable_events(1, 0, 1, BAD, 100, &len), VIV_E_FAULT);
    ERR(viv_durable_signal(1, BAD, 100, TEXT("1"), TEXT("")), VIV_E_FAULT);
    ERR(viv_durable_cancel(1, BAD, 100), VIV_E_FAULT);
    ERR(viv_durable_grant(1, BAD, 100, 0), VIV_E_FAULT);
    ERR(viv_durable_wake_ack(BAD, 100), VIV_E_FAULT);
    CHECK(viv_durable_attempt() == 1);
    OK(viv_durable_append(TEXT("beat"), TEXT("1"), TEXT(""), &word));
}

// ---- a family ----

VIV_EXPORT("kid") void kid(int64_t parent)
{
    uint64_t sequence;
    OK(viv_durable_self(buf, sizeof buf, &len));
    OK(viv_durable_append(TEXT("beat"), TEXT("\"kid\""), TEXT(""), &sequence));
    OK(viv_send(parent, 1, NULL, 0, NULL, 0, 0));
    (void)viv_durable_wait_signal(TEXT("no"), 0, VIV_FOREVER, &sequence, buf, sizeof buf, &len);
    exit(__LINE__);
}

static void case_family(void)
{
    int64_t pid, self = viv_self();
    struct viv_msg msg;
    struct viv_spawn spec = VIV_SPAWN_INIT;
    spec.module = viv_module(NULL, 0, VIV_MODULE_OWN);
    spec.entry = "kid";
    spec.entry_len = 3;
    spec.args = &self;
    spec.arg_count = 1;
    for (int i = 0; i < 3; i++)
        OK(viv_spawn(&spec, &pid));
    for (int i = 0; i < 3; i++)
        OK(viv_receive(NULL, 0, VIV_FOREVER, NULL, 0, &msg));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } cases[] = {
        {"self", case_self},
        {"fails", case_fails},
        {"traps", case_traps},
        {"log", case_log},
        {"steps", case_steps},
        {"waits", case_waits},
        {"cancelled", case_cancelled},
        {"drains", case_drains},
        {"for-ever", case_waits_for_ever},
        {"beats", case_beats},
        {"others", case_others},
        {"rights", case_rights},
        {"denied", case_denied},
        {"named", case_named},
        {"go", case_go},
        {"pointers", case_pointers},
        {"family", case_family},
    };
    if (argc == 4 && strcmp(argv[1], "deep") == 0) {
        case_deep(atoi(argv[2]), argv[3]);
        return 0;
    }
    for (size_t i = 0; argc > 1 && i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(cases[i].name, argv[1]) != 0) continue;
        cases[i].run();
        return 0;
    }
    return 1;
}
