// SPDX-License-Identifier: Apache-2.0
// Output as messages. A follower is a cursor with credit: each message costs one, and the end of
// the stream, an empty message, nothing; that is why it comes only when all was told before it.
// What was evicted before it was told is told by a `dropped` event, with a tag of its own, before
// the next bytes. Of packets the event is the last before the end: nobody knows where the next
// begins.
//
//   step ──pump──> message ──> mailbox ──taken──> credit comes back (auto) ──wake──> step …
//
// One thread pumps a follower at a time (`is_busy`): the step while the program is not over, so
// that all comes before its down signal; then whoever grants credit. Followers are on a list under
// the program's lock, counted by it and by messages whose credit comes back.
#include "native/follow.h"

enum {
    FOLLOWS_MAX = 64,
    CHUNK_BYTES = 64 << 10,
    CREDIT_MAX = 1 << 20,
    TAG_DROPPED = 3,
    SKIP_BYTES = 4096
};

struct viv_follow {
    struct viv_program *program; // counted, unless the program is not born yet
    viv_pid to;
    uint32_t stream, form;
    bool is_auto;
    _Atomic uint32_t refs;
    // Under the program's lock:
    struct viv_list link;
    uint32_t credit;
    bool is_busy, again, is_dead;
    // Of who is busy:
    struct viv_log_cursor cursor;
    bool has_cursor, has_told_end;
    bool has_lost_packets; // their beginnings are not known any more
    uint64_t looked_end;   // of the stream, when nothing was found last
};

struct output_msg {
    struct viv_msg msg;
    struct viv_follow *follow; // counted; NULL: its credit does not come back, or has
    size_t len, cap;
    uint8_t data[];
};

static void drop_follow(struct viv_follow *follow)
{
    // Acq_rel: whoever frees sees what all others did.
    if (atomic_fetch_sub_explicit(&follow->refs, 1, memory_order_acq_rel) != 1) return;
    viv_program__drop(follow->program);
    viv_free(follow, sizeof *follow, VIV_TAG_NATIVE);
}

static void pump(struct viv_follow *follow);

// Credit was granted, or came back.
static void go_on(struct viv_follow *follow, uint32_t credit)
{
    struct viv_program *program = follow->program;
    viv_spin_lock(&program->care.lock);
    follow->credit += (uint32_t)viv_min_u64(credit, CREDIT_MAX - follow->credit);
    const bool is_over = program->is_over, is_dead = follow->is_dead;
    viv_spin_unlock(&program->care.lock);
    if (is_dead) return;
    if (is_over)
        pump(follow);
    else
        viv_program__wake(program);
}

// ---- messages ----

static const struct output_msg *output_of(const struct viv_msg *msg)
{
    return (const struct output_msg *)(const void *)msg;
}

static uint64_t size_of_output(const struct viv_msg *msg)
{
    return output_of(msg)->len;
}

static void copy_output(const struct viv_msg *msg, uint64_t offset, void *out, uint64_t len)
{
    memcpy(out, output_of(msg)->data + offset, len);
}

static void free_output(struct output_msg *msg)
{
    viv_free(msg, sizeof *msg + msg->cap, VIV_TAG_NATIVE);
}

// Its receiver's.
static void give_credit_back(struct viv_msg *base)
{
    struct output_msg *msg = (struct output_msg *)(void *)base;
    struct viv_follow *follow = msg->follow;
    msg->follow = NULL;
    if (follow == NULL) return;
    go_on(follow, 1);
    drop_follow(follow);
}

static void drop_output(struct viv_msg *msg)
{
    give_credit_back(msg);
    free_output((struct output_msg *)(void *)msg);
}

static const struct viv_msg_ops output_ops = {.size_bytes = size_of_output,
                                              .copy = copy_output,
                                              .drop = drop_output,
                                              .taken = give_credit_back};

static struct output_msg *new_output(int64_t tag, size_t cap)
{
    struct output_msg *msg = viv_try_alloc(sizeof *msg + cap, VIV_TAG_NATIVE);
    if (msg == NULL) return NULL;
    *msg = (struct output_msg){
        .msg = {.sig = {.kind = VIV_SIG_MESSAGE, .tag = tag}, .ops = &output_ops}, .cap = cap};
    return msg;
}

// False: it was not taken; the receiver may be gone.
static bool send_message(struct viv_follow *follow, VIV_OWN struct output_msg *msg)
{
    const struct viv_program *program = follow->program;
    const enum viv_send sent =
        viv_env_offer(program->scope->tenant->env, program->pid, follow->to, &msg->msg);
    if (sent == VIV_SEND_OK) return true;
    if (msg->follow != NULL) drop_follow(msg->follow); // not the last: its list or caller has one
    free_output(msg);
    if (sent == VIV_SEND_ABSENT) {
        viv_spin_lock(&follow->program->care.lock);
        follow->is_dead = true;
        viv_spin_unlock(&follow->program->care.lock);
    }
    return false;
}

// ---- what comes next ----

struct found {
    struct output_msg *msg; // NULL: nothing
    struct viv_log_cursor next;
    uint64_t gap_bytes;
    bool is_eof;
    bool is_skipped; // packets without bytes; `next` is behind them
    bool is_lost;    // packets cannot be told apart any more
};

static enum viv_err find_bytes(const struct viv_follow *follow, const struct viv_log_source *source,
                               struct found *out)
{
    struct viv_log_chunk chunk;
    struct viv_diag diag;
    struct viv_log_view view;
    viv_log_ring_look(source->ring, &view);
    const size_t max = (size_t)viv_min_u64(CHUNK_BYTES, view.end - view.front);
    struct output_msg *msg = new_output(follow->stream, max);
    if (msg == NULL) return VIV_E_EXHAUSTED;
    const struct viv_log_cursor *cursor = follow->has_cursor ? &follow->cursor : NULL;
    const enum viv_err err = viv_log_read_since(source, cursor, msg->data, max, &chunk, &diag);
    *out = (struct found){0};
    if (err != VIV_OK || chunk.len == 0) {
        free_output(msg);
        out->is_eof = err == VIV_OK && chunk.is_eof;
        return err;
    }
    msg->len = chunk.len;
    *out = (struct found){.msg = msg, .next = chunk.next, .gap_bytes = chunk.gap.evicted};
    return VIV_OK;
}

// One line, without its newline; an unfinished one when nothing follows it any more.
static enum viv_err find_line(const struct viv_follow *follow, const struct viv_log_source *source,
                              struct found *out)
{
    struct viv_log_chunk chunk;
    struct viv_diag diag;
    struct viv_log_line line;
    const size_t line_max = (size_t)follow->program->req.fields.line_max;
    struct output_msg *msg = new_output(follow->stream, line_max + 1);
    if (msg == NULL) return VIV_E_EXHAUSTED;
    struct viv_log_lines lines = {.out = msg->data,
                                  .max_bytes = line_max + 1,
                                  .line_max = line_max,
                                  .lines = &line,
                                  .max = 1};
    const struct viv_log_cursor *cursor = follow->has_cursor ? &follow->cursor : NULL;
    const enum viv_err err = viv_log_read_lines(source, cursor, &lines, &chunk, &diag);
    *out = (struct found){0};
    if (err != VIV_OK || lines.count == 0 || line.is_partial) {
        free_output(msg);
        out->is_eof = err == VIV_OK && chunk.is_eof;
        return err;
    }
    memmove(msg->data, msg->data + line.at, line.len);
    msg->len = line.len;
    *out = (struct found){.msg = msg, .next = chunk.next, .gap_bytes = chunk.gap.evicted};
    return VIV_OK;
}

static uint64_t read_length(const uint8_t *at, size_t len)
{
    uint64_t length = 0;
    for (size_t i = 0; i < len; i++)
        length = length << 8 | at[i];
    return length;
}

static enum viv_err copy_packet(const struct viv_follow *follow,
                                const struct viv_log_source *source,
                                const struct viv_log_cursor *from, size_t length, struct found *out)
{
    struct viv_log_chunk chunk;
    struct viv_diag diag;
    struct output_msg *msg = new_output(follow->stream, length);
    if (msg == NULL) return VIV_E_EXHAUSTED;
    const enum viv_err err = viv_log_read_since(source, from, msg->data, length, &chunk, &diag);
    const bool is_whole = err == VIV_OK && chunk.len == length && chunk.gap.evicted == 0;
    if (!is_whole) {
        free_output(msg);
        out->is_lost = err == VIV_OK;
        return err;
    }
    msg->len = length;
    out->msg = msg;
    out->next = chunk.next;
    return VIV_OK;
}

// One packet, without its length. Those without bytes are passed over, since an empty message is
// the end of the stream; an unfinished one is not told.
static enum viv_err find_packet(const struct viv_follow *follow,
                                const struct viv_log_source *source, struct found *out)
{
    uint8_t heads[SKIP_BYTES];
    struct viv_log_chunk chunk;
    struct viv_diag diag;
    const size_t head = (size_t)1 << (follow->form - VIV_NATIVE_DELIVER_PACKET1);
    const struct viv_log_cursor *cursor = follow->has_cursor ? &follow->cursor : NULL;
    *out = (struct found){0};
    VIV_TRY(viv_log_read_since(source, cursor, heads, sizeof heads, &chunk, &diag));
    out->is_lost =
        chunk.gap.evicted + chunk.gap.drained > 0 || (cursor == NULL && chunk.offset > 0);
    if (out->is_lost) return VIV_OK;
    size_t empty = 0;
    while (chunk.len - empty >= head && read_length(heads + empty, head) == 0)
        empty += head;
    const bool is_short = chunk.len < head;
    const uint64_t length = is_short ? 0 : read_length(heads, head);
    if (is_short || empty > 0) {
        out->is_eof = is_short && source->is_at_end;
        out->is_skipped = empty > 0;
        VIV_TRY(viv_log_read_since(source, cursor, heads, empty, &chunk, &diag));
        out->next = chunk.next;
        return VIV_OK;
    }
    struct viv_log_view view;
    viv_log_ring_look(source->ring, &view);
    out->is_lost = length + head > follow->program->req.fields.ring_bytes; // never all of it
    out->is_eof = source->is_at_end && view.end - chunk.offset < length + head;
    if (out->is_lost || view.end - chunk.offset < length + head) return VIV_OK;
    VIV_TRY(viv_log_read_since(source, cursor, heads, head, &chunk, &diag));
    return copy_packet(follow, source, &chunk.next, (size_t)length, out);
}

static bool tell_dropped(struct viv_follow *follow)
{
    const struct viv_program *program = follow->program;
    struct viv_log_view view;
    viv_log_ring_look(&follow->program->care.streams[follow->stream - 1].ring, &view);
    const struct viv_native_layout_event event = {.size = sizeof event,
                                                  .kind = VIV_NATIVE_EVENT_DROPPED,
                                                  .pid = program->pid.w,
                                                  .number = program->number,
                                                  .stream = follow->stream,
                                                  .amount = view.evicted};
    struct output_msg *msg = new_output(TAG_DROPPED, sizeof event);
    if (msg == NULL) return false;
    memcpy(msg->data, &event, sizeof event);
    msg->len = sizeof event;
    return send_message(follow, msg);
}

static bool tell_end(struct viv_follow *follow)
{
    if (follow->has_told_end) return false;
    struct output_msg *msg = new_output(follow->stream, 0);
    follow->has_told_end = msg != NULL && send_message(follow, msg);
    return false;
}

static bool may_tell(struct viv_follow *follow, bool *out_has_credit)
{
    viv_spin_lock(&follow->program->care.lock);
    *out_has_credit = follow->credit > 0;
    const bool is_dead = follow->is_dead;
    viv_spin_unlock(&follow->program->care.lock);
    return !is_dead;
}

static bool tell_found(struct viv_follow *follow, const struct found *found)
{
    if (found->gap_bytes > 0 && !tell_dropped(follow)) {
        free_output(found->msg);
        return false;
    }
    viv_spin_lock(&follow->program->care.lock);
    follow->credit--;
    viv_spin_unlock(&follow->program->care.lock);
    if (follow->is_auto) {
        found->msg->follow = follow;
        // Relaxed: this thread knows it through a count.
        atomic_fetch_add_explicit(&follow->refs, 1, memory_order_relaxed);
    }
    if (send_message(follow, found->msg)) {
        follow->cursor = found->next;
        follow->has_cursor = true;
        return true;
    }
    viv_spin_lock(&follow->program->care.lock);
    follow->credit++;
    viv_spin_unlock(&follow->program->care.lock);
    return false;
}

static enum viv_err find(const struct viv_follow *follow, const struct viv_log_source *source,
                         struct found *out)
{
    if (follow->form == VIV_NATIVE_DELIVER_BYTES) return find_bytes(follow, source, out);
    if (follow->form == VIV_NATIVE_DELIVER_LINES) return find_line(follow, source, out);
    return find_packet(follow, source, out);
}

// One message; false: there is nothing to tell now.
static bool tell_one(struct viv_follow *follow)
{
    struct found found;
    bool has_credit;
    if (!may_tell(follow, &has_credit)) return false;
    if (follow->has_lost_packets) return tell_end(follow);
    const struct viv_log_source source = viv_native__source(follow->program, follow->stream);
    struct viv_log_view view;
    viv_log_ring_look(source.ring, &view);
    const bool is_quiet = !has_credit || view.end == follow->looked_end;
    if (is_quiet && (!source.is_at_end || follow->has_told_end)) return false;
    const enum viv_err err = find(follow, &source, &found);
    if (err != VIV_OK) return false;
    if (found.is_lost) {
        follow->has_lost_packets = tell_dropped(follow);
        return follow->has_lost_packets && tell_end(follow);
    }
    if (found.is_skipped) {
        follow->cursor = found.next;
        follow->has_cursor = true;
        return true;
    }
    if (found.msg == NULL) {
        follow->looked_end = view.end;
        return found.is_eof && tell_end(follow);
    }
    if (has_credit) return tell_found(follow, &found);
    free_output(found.msg);
    return false;
}

static void pump(struct viv_follow *follow)
{
    struct viv_program *program = follow->program;
    viv_spin_lock(&program->care.lock);
    follow->again = true;
    if (follow->is_busy) { // who is looks again
        viv_spin_unlock(&program->care.lock);
        return;
    }
    follow->is_busy = true;
    while (follow->again) {
        follow->again = false;
        viv_spin_unlock(&program->care.lock);
        while (tell_one(follow))
            continue; // as long as there is credit, which is bounded
        viv_spin_lock(&program->care.lock);
    }
    follow->is_busy = false;
    const bool leaves = follow->is_dead && !viv_list_is_empty(&follow->link);
    if (leaves) viv_list_remove(&follow->link);
    viv_spin_unlock(&program->care.lock);
    if (leaves) drop_follow(follow);
}

// The one after `before` on the list, counted; NULL: none. before is counted, and given back.
static struct viv_follow *next_follow(struct viv_program *program, struct viv_follow *before)
{
    struct viv_follow *found = NULL;
    viv_spin_lock(&program->care.lock);
    const bool is_lost = before != NULL && viv_list_is_empty(&before->link);
    struct viv_list *at = before == NULL ? program->follows.next : before->link.next;
    if (!is_lost && at != &program->follows) {
        found = VIV_CONTAINER_OF(at, struct viv_follow, link);
        atomic_fetch_add_explicit(&found->refs, 1, memory_order_relaxed); // on the list
    }
    viv_spin_unlock(&program->care.lock);
    if (before != NULL) drop_follow(before);
    return is_lost ? next_follow(program, NULL) : found;
}

void viv_program__tell_follows(struct viv_program *program)
{
    if (!atomic_load_explicit(&program->has_listeners, memory_order_relaxed)) return; // a hint
    for (struct viv_follow *follow = next_follow(program, NULL); follow != NULL;
         follow = next_follow(program, follow))
        pump(follow);
}

void viv_program__end_follows(struct viv_program *program)
{
    for (bool more = true; more;) {
        struct viv_follow *follow = NULL;
        viv_spin_lock(&program->care.lock);
        more = !viv_list_is_empty(&program->follows);
        if (more) {
            follow = VIV_CONTAINER_OF(program->follows.next, struct viv_follow, link);
            follow->is_dead = true;
            viv_list_remove(&follow->link);
        }
        viv_spin_unlock(&program->care.lock);
        if (more) drop_follow(follow);
    }
}

// ---- operations ----

static struct viv_follow *find_locked(struct viv_program *program, viv_pid to, uint32_t stream,
                                      uint32_t *out_count)
{
    struct viv_follow *found = NULL;
    *out_count = 0;
    for (struct viv_list *at = program->follows.next; at != &program->follows; at = at->next) {
        struct viv_follow *follow = VIV_CONTAINER_OF(at, struct viv_follow, link);
        ++*out_count;
        if (follow->to.w == to.w && follow->stream == stream && !follow->is_dead) found = follow;
    }
    return found;
}

// credit: below 0 it comes back. Consumes the count of the program.
static enum viv_err add(VIV_OWN struct viv_program *program, viv_pid to,
                        const struct viv_native_follow *how)
{
    uint32_t count;
    struct viv_follow *follow = viv_try_calloc(1, sizeof *follow, VIV_TAG_NATIVE);
    if (follow == NULL) {
        viv_program__drop(program);
        return VIV_E_EXHAUSTED;
    }
    follow->program = program;
    follow->to = to;
    follow->stream = how->stream;
    follow->form = how->form;
    follow->is_auto = how->is_auto;
    follow->credit = (uint32_t)viv_min_u64(how->credit, CREDIT_MAX);
    follow->has_cursor = how->cursor != NULL;
    if (how->cursor != NULL) follow->cursor = *how->cursor;
    atomic_init(&follow->refs, 2); // the list's, this one's
    viv_spin_lock(&program->care.lock);
    enum viv_err err =
        find_locked(program, to, how->stream, &count) != NULL ? VIV_E_EXISTS : VIV_OK;
    if (err == VIV_OK && count >= FOLLOWS_MAX) err = VIV_E_QUOTA;
    if (err == VIV_OK) viv_list_append(&program->follows, &follow->link);
    // Relaxed: a hint for the step, which is woken after it.
    atomic_store_explicit(&program->has_listeners, true, memory_order_relaxed);
    viv_spin_unlock(&program->care.lock);
    viv_program__listen(program);
    if (err == VIV_OK)
        go_on(follow, 0);
    else
        drop_follow(follow);
    drop_follow(follow);
    return err;
}

enum viv_err viv_native_follow(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                               const struct viv_native_follow *how)
{
    struct viv_program *program;
    struct viv_log_mark mark;
    if (ctx->proc == NULL || (how->stream != VIV_LOG_STDOUT && how->stream != VIV_LOG_STDERR))
        return VIV_E_INVAL;
    if (how->form == VIV_NATIVE_DELIVER_NONE || how->form > VIV_NATIVE_DELIVER_PACKET4)
        return VIV_E_INVAL;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_READ, &program));
    if (how->cursor != NULL &&
        viv_log_cursor_open(program->cursor_key, how->cursor, (enum viv_log_stream)how->stream, 1,
                            &mark) != VIV_OK) {
        viv_program__drop(program);
        return VIV_E_INVAL;
    }
    return add(program, viv_proc_pid(ctx->proc), how);
}

enum viv_err viv_native_credit(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                               uint32_t stream, uint32_t n)
{
    struct viv_program *program;
    uint32_t count;
    if (ctx->proc == NULL) return VIV_E_INVAL;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_READ, &program));
    viv_spin_lock(&program->care.lock);
    struct viv_follow *follow = find_locked(program, viv_proc_pid(ctx->proc), stream, &count);
    // Relaxed: it is on the list, which counts.
    if (follow != NULL) atomic_fetch_add_explicit(&follow->refs, 1, memory_order_relaxed);
    viv_spin_unlock(&program->care.lock);
    if (follow != NULL) {
        go_on(follow, n);
        drop_follow(follow);
    }
    viv_program__drop(program);
    return follow != NULL ? VIV_OK : VIV_E_INVAL;
}

enum viv_err viv_program__deliver(struct viv_program *program, viv_pid to)
{
    const struct viv_native_fields *fields = &program->req.fields;
    if (fields->deliver == VIV_NATIVE_DELIVER_NONE) return VIV_OK;
    for (uint32_t stream = 1; stream <= 2; stream++) {
        const struct viv_native_follow how = {.stream = stream,
                                              .form = (uint32_t)fields->deliver,
                                              .credit = fields->deliver_credit,
                                              .is_auto = true};
        VIV_TRY(add(viv_program__take(program), to, &how));
    }
    return VIV_OK;
}
