// SPDX-License-Identifier: Apache-2.0
// The table of 4.3, its rows from the top.
#include "store/verdict.h"

#include <stdio.h>

enum { OUTCOMES_SHOWN = 5, PAYLOAD = 5 }; // of VIV_EVENT_LIST

static bool is_due(const struct viv_store__txn *txn, const struct viv_store__row *row)
{
    return viv_row_int(row, VIV_PROC_due_ms) <= txn->wall_ms;
}

// An attempt that nobody closed is lost. The first one in a row is followed by the next at once.
static enum viv_store__judgement judge_rerunnable(const struct viv_store__txn *txn,
                                                  const struct viv_store__row *row)
{
    const struct viv_store__retry *retry = &row->reg->retry;
    const uint64_t charged = (uint64_t)viv_row_int(row, VIV_PROC_charged);
    if (charged >= retry->max_attempts) return VIV_JUDGED_POISON;
    if (viv_row_int(row, VIV_PROC_open_attempt) != 0) {
        if (!viv_store__retry_wants(retry, "lost", charged)) return VIV_JUDGED_LOST;
        if (viv_row_int(row, VIV_PROC_streak) > 0) return VIV_JUDGED_LATER;
    }
    return is_due(txn, row) ? VIV_JUDGED_RUN : VIV_JUDGED_NOT_DUE;
}

static enum viv_store__judgement judge_started(const struct viv_store__txn *txn,
                                               const struct viv_store__row *row, bool is_dead)
{
    if (viv_row_has(row, VIV_PROC_abandon)) return VIV_JUDGED_REQUESTED;
    if (is_dead) return VIV_JUDGED_SWEPT;
    if (!row->reg->abandons_lapsed || !viv_row_has(row, VIV_PROC_lease_token))
        return VIV_JUDGED_NOTHING;
    const int64_t lapsed_ms =
        viv_add_sat_i64(viv_row_int(row, VIV_PROC_lease_exp), viv_row_int(row, VIV_PROC_lease_ttl));
    return lapsed_ms <= txn->lease_ms ? VIV_JUDGED_SWEPT : VIV_JUDGED_NOTHING;
}

enum viv_store__judgement viv_store__judge(const struct viv_store__txn *txn,
                                           const struct viv_store__row *row, bool is_dead)
{
    if (viv_row_state(row) != VIV_RUNNING) return VIV_JUDGED_NOTHING;
    if (!row->reg->is_ours)
        return viv_row_has(row, VIV_PROC_abandon) ? VIV_JUDGED_REQUESTED : VIV_JUDGED_NOTHING;
    if (viv_row_has(row, VIV_PROC_deadline_ms) &&
        viv_row_int(row, VIV_PROC_deadline_ms) <= txn->wall_ms)
        return VIV_JUDGED_DEADLINE;
    if (viv_row_has(row, VIV_PROC_cancel_seq)) return VIV_JUDGED_CANCELLED;
    if (row->reg->disposition == VIV_RERUNNABLE) return judge_rerunnable(txn, row);
    if (viv_row_has(row, VIV_PROC_first_started)) return judge_started(txn, row, is_dead);
    return is_due(txn, row) ? VIV_JUDGED_RUN : VIV_JUDGED_NOT_DUE;
}

enum viv_verdict viv_store__verdict_of(enum viv_store__judgement judgement)
{
    switch (judgement) {
    case VIV_JUDGED_DEADLINE:
    case VIV_JUDGED_POISON:
    case VIV_JUDGED_LOST:
        return VIV_VERDICT_FAILED;
    case VIV_JUDGED_CANCELLED:
        return VIV_VERDICT_CANCELLED;
    case VIV_JUDGED_REQUESTED:
    case VIV_JUDGED_SWEPT:
        return VIV_VERDICT_ABANDONED;
    case VIV_JUDGED_NOTHING:
    case VIV_JUDGED_LATER:
    case VIV_JUDGED_NOT_DUE:
    case VIV_JUDGED_RUN:
        break;
    }
    return VIV_VERDICT_RUN;
}

// ---- outputs ----

static json_t *pack_failure(const char *class, const char *code, const char *message)
{
    return json_pack("{ssssssss}", "type", "failure", "class", class, "code", code, "message",
                     message);
}

static json_t *pack_cancelled(const struct viv_record *record)
{
    json_t *request = NULL;
    const struct viv_str text = record->cancel_request;
    if (viv_cjson_parse(text.p, text.n, &request, NULL) != VIV_OK) return NULL;
    const char *reason = json_string_value(json_object_get(request, "reason"));
    json_t *output = json_pack("{ssss}", "type", "cancelled", "message",
                               reason == NULL || *reason == '\0' ? "cancelled" : reason);
    json_decref(request);
    return output;
}

// Of who started it; an external process may have nobody.
static json_t *pack_abandoned(const struct viv_store__txn *txn, const struct viv_record *record,
                              enum viv_store__judgement judgement)
{
    json_t *first = NULL;
    const struct viv_str text = record->first_started;
    const char *writer = judgement == VIV_JUDGED_SWEPT ? "sweep" : "reconciled_request";
    json_t *evidence = json_pack("{sssI}", "writer", writer, "at_ms", (json_int_t)txn->wall_ms);
    if (text.n > 0) {
        if (viv_cjson_parse(text.p, text.n, &first, NULL) != VIV_OK) first = NULL;
        viv_json_put(&evidence, "owner", json_incref(json_object_get(first, "owner")));
        json_decref(first);
    }
    return json_pack("{ssso}", "type", "abandoned", "evidence", evidence);
}

// The last outcomes, by the keys of their events: the log may be long.
static enum viv_err add_outcomes(struct viv_store__txn *txn, const struct viv_store__row *row,
                                 json_t **list)
{
    const int64_t last = viv_row_int(row, VIV_PROC_attempt);
    for (int64_t n = last > OUTCOMES_SHOWN ? last - OUTCOMES_SHOWN + 1 : 1; n <= last; n++) {
        char key[64];
        struct viv_db_rows rows;
        json_t *payload;
        (void)snprintf(key, sizeof key, "viv:attempt:%lld:ended", (long long)n);
        VIV_TRY(viv_store__send(txn, VIV_STMT_EVENT_BY_KEY, "iz", viv_row_int(row, VIV_PROC_birth),
                                key));
        VIV_TRY(viv_store__recv(txn, &rows));
        if (rows.count == 0) continue;
        const struct viv_str text = rows.values[PAYLOAD].text;
        VIV_TRY(viv_cjson_parse(text.p, text.n, &payload, NULL));
        viv_json_add(list, payload);
    }
    return VIV_OK;
}

static enum viv_err pack_poison(struct viv_store__txn *txn, const struct viv_store__row *row,
                                json_t **out_output)
{
    char message[64];
    json_t *outcomes = json_array();
    (void)snprintf(message, sizeof message, "%lld attempts, and none ended it",
                   (long long)viv_row_int(row, VIV_PROC_charged));
    const enum viv_err err = add_outcomes(txn, row, &outcomes);
    json_t *output = pack_failure("execution", "max_attempts", message);
    viv_json_put(&output, "raw", outcomes);
    *out_output = output;
    return err;
}

enum viv_err viv_store__verdict_output(struct viv_store__txn *txn, const struct viv_store__row *row,
                                       const struct viv_record *record,
                                       enum viv_store__judgement judgement, struct viv_mem *mem,
                                       struct viv_str *out_output)
{
    json_t *output = NULL;
    enum viv_err err = VIV_OK;
    if (judgement == VIV_JUDGED_DEADLINE)
        output = pack_failure("timeout", "deadline", "the deadline has passed");
    else if (judgement == VIV_JUDGED_LOST)
        output = pack_failure("execution", "lost", "the attempt was lost");
    else if (judgement == VIV_JUDGED_POISON)
        err = pack_poison(txn, row, &output);
    else if (judgement == VIV_JUDGED_CANCELLED)
        output = pack_cancelled(record);
    else
        output = pack_abandoned(txn, record, judgement);
    if (err == VIV_OK && output == NULL) err = VIV_E_EXHAUSTED;
    if (err == VIV_OK) err = viv_store__text(mem, output, out_output);
    json_decref(output);
    return err;
}
