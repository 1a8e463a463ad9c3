// SPDX-License-Identifier: Apache-2.0
// What is written of a run's end (durable.md 4.2, 4.4): an output that ends the process, or the
// attempt's end, after which the process is run again; or nothing, once the lease is lost.
#include "store/worker_int.h"

#include "base/text.h"
#include "os/clock.h"
#include <stdio.h>
#include <string.h>

enum { STORE_RETRY_MS = 500, LAST_DELAY_MS = 60000, REASON_BYTES = 200 };

// What is to be written; the output is owned.
struct ending {
    json_t *output; // NULL: the attempt only
    bool is_handed_back;
    char reason[REASON_BYTES];
    int64_t delay_ms;
};

static json_t *pack_failure(const char *class, const char *code, const char *message)
{
    return json_pack("{ssssssss}", "type", "failure", "class", class, "code", code, "message",
                     message);
}

static bool is_type(const json_t *output, const char *type)
{
    const char *found = viv_json_get_text(output, "type");
    return found != NULL && strcmp(found, type) == 0;
}

static json_t *pack_drained(const struct viv_run *run)
{
    const struct viv_owner *owner = &run->worker->owner;
    return json_pack("{sss{sssIs{ss%ss%}}}", "type", "abandoned", "evidence", "writer",
                     "owner_drain", "at_ms", (json_int_t)(viv_os_wall_ns() / VIV_NS_PER_MS),
                     "owner", "owner_id", owner->owner_id.p, owner->owner_id.n, "incarnation",
                     owner->incarnation.p, owner->incarnation.n);
}

// Failures: whether another attempt follows.
static void find_retry(const struct viv_run *run, struct ending *ending)
{
    const struct viv_store__retry *retry = &run->reg->retry;
    const char *class = viv_json_get_text(ending->output, "class");
    if (run->reg->disposition != VIV_RERUNNABLE || class == NULL) return;
    if (!viv_store__retry_wants(retry, class, run->charged)) return;
    const char *code = viv_json_get_text(ending->output, "code");
    const char *message = viv_json_get_text(ending->output, "message");
    char text[REASON_BYTES];
    (void)snprintf(text, sizeof text, "%s, %s: %s", class, code == NULL ? "" : code,
                   message == NULL ? "" : message);
    viv_text_clean(ending->reason, sizeof ending->reason, text, strlen(text));
    ending->delay_ms = viv_store__retry_delay_ms(retry, run->charged, viv_store__retry_noise());
    json_decref(ending->output);
    ending->output = NULL;
}

static enum viv_err find_ending(const struct viv_run *run, struct ending *ending)
{
    struct viv_str text = {(const char *)run->output.data, run->output.len_bytes};
    json_t *output = NULL;
    if (text.n > 0 && viv_cjson_parse(text.p, text.n, &output, NULL) == VIV_E_EXHAUSTED)
        return VIV_E_EXHAUSTED;
    const bool is_success = is_type(output, "success");
    if (output == NULL) output = pack_failure("internal", "no_output", "its end is not known");
    ending->output = output;
    if (is_success || run->is_verdict || run->is_substituted) return VIV_OK;
    if (run->why == VIV_WHY_DRAIN) {
        json_decref(output);
        ending->is_handed_back = run->reg->disposition == VIV_RERUNNABLE;
        ending->output = ending->is_handed_back ? NULL : pack_drained(run);
        return ending->is_handed_back || ending->output != NULL ? VIV_OK : VIV_E_EXHAUSTED;
    }
    if (run->why == VIV_WHY_DEADLINE || run->why == VIV_WHY_ATTEMPT_TIMEOUT) {
        const bool is_deadline = run->why == VIV_WHY_DEADLINE;
        json_decref(output);
        ending->output = pack_failure("timeout", is_deadline ? "deadline" : "attempt_timeout",
                                      "it ran for too long, and was killed");
        if (is_deadline) return ending->output == NULL ? VIV_E_EXHAUSTED : VIV_OK;
    } else if (run->is_cancelling) {
        const struct viv_str reason =
            run->cancel_reason.n == 0 ? viv_str_of("cancelled") : run->cancel_reason;
        json_decref(output);
        ending->output = json_pack("{ssss%}", "type", "cancelled", "message", reason.p, reason.n);
    }
    if (ending->output == NULL) return VIV_E_EXHAUSTED;
    if (is_type(ending->output, "failure")) find_retry(run, ending);
    return VIV_OK;
}

// ---- writing ----

static enum viv_err complete(struct viv_run *run, json_t *output, struct viv_store_diag *diag)
{
    struct viv_mem mem;
    struct viv_complete complete = {.authority = viv_str_of("{\"type\":\"lease\"}"),
                                    .fence = &run->lease.f};
    viv_mem_init(&mem, VIV_TAG_STORE);
    enum viv_err err = viv_store__text(&mem, output, &complete.output);
    if (err == VIV_OK)
        err = viv_store_complete(run->worker->store, run->lease.id, &complete, &mem, NULL, diag);
    viv_mem_deinit(&mem);
    return err;
}

static enum viv_err release(struct viv_run *run, const struct ending *ending,
                            struct viv_store_diag *diag)
{
    const struct viv_release how = {.outcome = ending->is_handed_back ? VIV_ATTEMPT_HANDED_BACK
                                                                      : VIV_ATTEMPT_FAILED,
                                    .reason = viv_str_of(ending->reason),
                                    .delay_ms = ending->delay_ms};
    struct viv_worker *worker = run->worker;
    const int64_t due_ms = viv_add_sat_i64(viv_worker__now_ms(worker), how.delay_ms);
    VIV_TRY(viv_store_release(worker->store, &run->lease, &how, NULL, diag));
    if (due_ms < worker->sweep_at_ms) worker->sweep_at_ms = due_ms;
    return VIV_OK;
}

// Whether the same call may succeed later. A commit of unknown outcome may be repeated: the same
// end again is no other.
static bool is_passing(enum viv_err err)
{
    static const enum viv_err passing[] = {VIV_E_BUSY,         VIV_E_IO,
                                           VIV_E_EXHAUSTED,    VIV_STORE_UNAVAILABLE,
                                           VIV_STORE_NO_SPACE, VIV_STORE_OUTCOME_UNKNOWN};
    for (size_t i = 0; i < VIV_COUNT_OF(passing); i++)
        if (passing[i] == err) return true;
    return false;
}

static bool is_gone(enum viv_err err)
{
    return err == VIV_OK || err == VIV_STORE_FENCED || err == VIV_STORE_TERMINAL ||
           err == VIV_E_NOTFOUND || err == VIV_STORE_KEY_CONFLICT;
}

// The output is one that the store does not take: a failure that says so takes its place; if that
// one is refused too (a registration may have narrowed it) the process is left for later.
static enum viv_err substitute(struct viv_run *run, const struct viv_store_diag *diag,
                               enum viv_err why)
{
    struct viv_mem mem;
    struct viv_str text;
    if (run->is_substituted) {
        const struct ending later = {.delay_ms = LAST_DELAY_MS, .reason = "no output is taken"};
        return release(run, &later, NULL);
    }
    char message[REASON_BYTES];
    viv_text_clean(message, sizeof message, diag->d.text, strlen(diag->d.text));
    json_t *output =
        pack_failure(why == VIV_E_TOOBIG ? "resource_limit" : "execution", "bad_output", message);
    if (output == NULL) return VIV_E_EXHAUSTED;
    viv_mem_init(&mem, VIV_TAG_STORE);
    enum viv_err err = viv_store__text(&mem, output, &text);
    json_decref(output);
    if (err == VIV_OK) err = viv_buf_reserve(&run->output, text.n);
    if (err == VIV_OK) {
        viv_buf_clear(&run->output);
        err = viv_buf_append(&run->output, text.p, text.n);
        run->is_substituted = err == VIV_OK;
    }
    viv_mem_deinit(&mem);
    return err == VIV_OK ? VIV_E_BUSY : err; // at once again
}

bool viv_run__settle(struct viv_run *run)
{
    struct viv_store_diag diag = {.retryable = false};
    struct ending ending = {.output = NULL};
    if (run->why == VIV_WHY_LOST || !viv_run_is_live(run)) return true;
    enum viv_err err = find_ending(run, &ending);
    if (err == VIV_OK)
        err = ending.output != NULL ? complete(run, ending.output, &diag)
                                    : release(run, &ending, &diag);
    json_decref(ending.output);
    if (!is_gone(err) && !is_passing(err)) err = substitute(run, &diag, err);
    run->retry_at_ms = viv_worker__now_ms(run->worker) + STORE_RETRY_MS;
    if (run->is_substituted && err == VIV_E_BUSY) run->retry_at_ms -= STORE_RETRY_MS;
    return is_gone(err);
}
