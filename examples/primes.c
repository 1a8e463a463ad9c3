// SPDX-License-Identifier: Apache-2.0
//
// A long computation as a durable process: how many primes there are below a number, and their sum.
// It may be killed at any moment; the next attempt goes on where the last one was.
//
//     clang-19 --target=wasm32-wasi -O2 -I include -o primes.wasm examples/primes.c
//     viv store init
//     viv job start --id primes --wasm primes.wasm --entry primes -- 1000000 20
//     viv worker --once
//     viv job await primes
//
// The range is cut into steps. What a step found is recorded once, by its key; within a step a
// checkpoint says how far it got. examples/primes.py kills the worker again and again, and checks
// what comes of it.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <viv/viv_durable.h>

enum { PARTS = 4 }; // checkpoints of a step

struct found {
    uint64_t count, sum;
};
struct checkpoint { // of a step that is not done
    uint64_t step, next;
    struct found found;
};

// Ends it with a failure of a class that is tried again.
static _Noreturn void give_up(const char *what, int32_t err)
{
    char text[200];
    const int len = snprintf(text, sizeof text,
                             "{\"type\":\"failure\",\"class\":\"unavailable\",\"code\":\"store\","
                             "\"message\":\"%s: error %d\"}",
                             what, -err);
    (void)viv_durable_finish(text, (size_t)len);
    exit(0);
}

static int is_prime(uint64_t n)
{
    if (n < 4) return n > 1;
    if (n % 2 == 0) return 0;
    for (uint64_t d = 3; d * d <= n; d += 2)
        if (n % d == 0) return 0;
    return 1;
}

// Where a step goes on: at its begin, or at the newest checkpoint if that is of this step.
static struct checkpoint begin_of(uint64_t step, uint64_t first)
{
    struct checkpoint at = {step, first, {0, 0}}, kept;
    uint64_t ordinal;
    uint32_t len;
    const int32_t err = viv_durable_checkpoint_get(&ordinal, &kept, sizeof kept, &len);
    if (err != 0 && err != -VIV_E_NOTFOUND) give_up("checkpoint_get", err);
    return err == 0 && len == sizeof kept && kept.step == step ? kept : at;
}

static struct found run_step(uint64_t step, uint64_t first, uint64_t end)
{
    struct checkpoint at = begin_of(step, first);
    for (int part = 1; part <= PARTS; part++) {
        const uint64_t stop = first + (end - first) * (uint64_t)part / PARTS;
        if (at.next >= stop) continue; // done before
        for (; at.next < stop; at.next++) {
            if (!is_prime(at.next)) continue;
            at.found.count++;
            at.found.sum += at.next;
        }
        if (part == PARTS) break;
        const uint64_t ordinal = step * PARTS + (uint64_t)part;
        const int32_t err = viv_durable_checkpoint_put(ordinal, &at, sizeof at);
        if (err != 0) give_up("checkpoint_put", err);
    }
    return at.found;
}

// What the step found, computed now or by an attempt before.
static struct found step(uint64_t number, uint64_t first, uint64_t end)
{
    char key[32], value[80];
    uint32_t len;
    struct found found;
    const size_t key_len = (size_t)snprintf(key, sizeof key, "step %" PRIu64, number);
    int32_t err = viv_durable_step_get(key, key_len, value, sizeof value - 1, &len);
    if (err == 0) {
        value[len] = '\0';
        if (sscanf(value, "[%" SCNu64 ",%" SCNu64 "]", &found.count, &found.sum) == 2) return found;
        give_up("step_get", -VIV_E_INVAL);
    }
    if (err != -VIV_E_NOTFOUND) give_up("step_get", err);
    found = run_step(number, first, end);
    const int size =
        snprintf(value, sizeof value, "[%" PRIu64 ",%" PRIu64 "]", found.count, found.sum);
    err = viv_durable_step_end(key, key_len, value, (size_t)size);
    if (err != 0) give_up("step_end", err);
    return found;
}

VIV_EXPORT("primes") void primes(uint64_t below, uint32_t steps)
{
    char text[160];
    uint32_t len;
    struct found all = {0, 0};
    for (uint64_t i = 0; i < steps; i++) {
        if (viv_durable_cancelled(text, sizeof text, &len) != -VIV_E_NOTFOUND) {
            static const char stopped[] =
                "{\"type\":\"cancelled\",\"message\":\"as it was asked\"}";
            (void)viv_durable_finish(stopped, sizeof stopped - 1);
            return;
        }
        const struct found found = step(i, below * i / steps, below * (i + 1) / steps);
        all.count += found.count;
        all.sum += found.sum;
    }
    const int size =
        snprintf(text, sizeof text,
                 "{\"type\":\"success\",\"value\":{\"count\":%" PRIu64 ",\"sum\":%" PRIu64 "}}",
                 all.count, all.sum);
    const int32_t err = viv_durable_finish(text, (size_t)size);
    if (err != 0) give_up("finish", err);
}

int main(void)
{
    return 0; // the entry is primes
}
