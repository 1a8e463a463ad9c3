// SPDX-License-Identifier: Apache-2.0
// Life of channels, readers and writers: making, weakening, draining, ending.
//
// A reader or writer is a child resource. It is inserted first and joins the channel then, under
// the channel's lock, so that nothing has to be taken back when inserting fails. It keeps the
// channel's memory (ref_count), not the channel: that ends before its children's memory goes.
#include "base/alloc.h"
#include "base/assert.h"
#include "cap/chan_int.h"
#include "cap/gate.h"

#define RIGHTS_CHANNEL                                                                             \
    (VIV_RIGHTS_COMMON | VIV_RIGHT_CHANNEL_STRONG_READER | VIV_RIGHT_CHANNEL_WEAK_READER |         \
     VIV_RIGHT_CHANNEL_STRONG_WRITER | VIV_RIGHT_CHANNEL_WEAK_WRITER | VIV_RIGHT_CHANNEL_DRAIN)

// ---- channels ----

static enum viv_err check_opts(const struct viv_chan_opts *opts)
{
    const uint32_t capacity = opts->capacity_bytes;
    const bool is_good = capacity >= 1 && capacity <= VIV_CHAN_BYTES_MAX &&
                         opts->frame_bytes_max <= capacity &&
                         opts->frame_count_max <= VIV_CHAN_BYTES_MAX &&
                         opts->mode <= VIV_CHAN_REFUSE && (opts->flags & ~VIV_CHAN_FLAGS) == 0;
    return is_good ? VIV_OK : VIV_E_INVAL;
}

// Without its ring. NULL: no memory.
static struct viv_chan *new_chan(struct viv_reg *reg, const struct viv_chan_opts *opts)
{
    struct viv_chan *chan = viv_try_calloc(1, sizeof(*chan), VIV_TAG_CAP);
    if (chan == NULL) return NULL;
    atomic_init(&chan->ref_count, 1);
    viv_spin_init(&chan->lock, VIV_LOCK_CHAN);
    viv_list_init(&chan->readers);
    viv_list_init(&chan->parked);
    viv_list_init(&chan->writes);
    viv_list_init(&chan->drains);
    chan->reg = reg;
    chan->mode = opts->mode;
    chan->flags = opts->flags;
    viv_chan__ring_init(chan, opts);
    return chan;
}

enum viv_err viv_chan_create(struct viv_htab *tab, const struct viv_chan_opts *opts,
                             viv_handle *out_hdl)
{
    const struct viv_cap_query query = {
        .facets = 1u << VIV_SCOPE_MAX, .number = opts->capacity_bytes, .operation = "chan_create"};
    VIV_TRY(viv_htab_gate(tab, VIV_CAP_CHAN_CREATE, &query));
    VIV_TRY(check_opts(opts));
    struct viv_chan *chan = new_chan(tab->reg, opts);
    if (chan == NULL) return VIV_E_EXHAUSTED;
    const bool survives = (opts->flags & VIV_CHAN_SURVIVE) != 0;
    const struct viv_res_spec spec = {.kind = VIV_KIND_CHANNEL,
                                      .flags = survives ? VIV_RES_SURVIVE : 0,
                                      .charge_bytes = viv_chan__memory_bytes(chan)};
    viv_handle hdl;
    VIV_TRY(viv_res_insert(tab, &spec, chan, RIGHTS_CHANNEL, &hdl));
    // Nobody else uses it before it has a reader or writer.
    VIV_IGNORE(viv_res_entry(tab, hdl, &chan->rid), "the handle is new");
    const enum viv_err err = viv_chan__ring_alloc(chan);
    if (err == VIV_OK)
        *out_hdl = hdl;
    else
        VIV_IGNORE(viv_res_close(tab, hdl), "nobody has seen it");
    return err;
}

static void settle(struct viv_chan *chan)
{
    struct viv_chan_turn turn = viv_chan__turn();
    turn.is_more = true;
    viv_chan__finish_turn(chan, &turn);
}

static void terminate(struct viv_chan *chan, enum viv_err end_err)
{
    viv_spin_lock(&chan->lock);
    if (chan->phase != VIV_CHAN_TERMINATED) chan->end_err = (uint8_t)end_err;
    chan->phase = VIV_CHAN_TERMINATED;
    chan->tail = chan->head = chan->next;
    viv_spin_unlock(&chan->lock);
    settle(chan);
}

static enum viv_err drain(struct viv_chan *chan)
{
    viv_spin_lock(&chan->lock);
    const bool is_terminated = chan->phase == VIV_CHAN_TERMINATED;
    if (!is_terminated) chan->phase = VIV_CHAN_DRAINING;
    viv_spin_unlock(&chan->lock);
    if (is_terminated) return VIV_E_ABORTED;
    settle(chan);
    return VIV_OK;
}

enum viv_err viv_chan_drain(struct viv_htab *tab, viv_handle hdl)
{
    void *obj;
    VIV_TRY(viv_res_use(tab, hdl, VIV_KIND_CHANNEL, VIV_RIGHT_CHANNEL_DRAIN, &obj));
    return drain(obj);
}

enum viv_err viv_chan_terminate(struct viv_htab *tab, viv_handle hdl)
{
    void *obj;
    VIV_TRY(viv_res_use(tab, hdl, VIV_KIND_CHANNEL, VIV_RIGHT_DESTROY, &obj));
    terminate(obj, VIV_E_ABORTED);
    return VIV_OK;
}

// Its owner has ended, and others hold it: it drains, and ends with that; unless it survives.
static void orphan(void *obj)
{
    struct viv_chan *chan = obj;
    if ((chan->flags & VIV_CHAN_SURVIVE) != 0) return;
    viv_spin_lock(&chan->lock);
    chan->is_orphan = true;
    viv_spin_unlock(&chan->lock);
    VIV_IGNORE(drain(chan), "terminated is as good");
}

// ---- readers and writers ----

static viv_rights right_for(viv_kind kind, enum viv_chan_strength strength)
{
    const bool is_strong = strength == VIV_CHAN_STRONG;
    if (kind == VIV_KIND_READER)
        return is_strong ? VIV_RIGHT_CHANNEL_STRONG_READER : VIV_RIGHT_CHANNEL_WEAK_READER;
    return is_strong ? VIV_RIGHT_CHANNEL_STRONG_WRITER : VIV_RIGHT_CHANNEL_WEAK_WRITER;
}

// Inserts a reader or writer that has not joined yet.
static enum viv_err insert_end(struct viv_htab *tab, viv_handle chan, viv_kind kind,
                               enum viv_chan_strength strength, viv_handle *out_hdl,
                               struct viv_chan_end **out_end)
{
    void *obj;
    const struct viv_res_via via = {chan, VIV_KIND_CHANNEL,
                                    VIV_RIGHT_DERIVE | right_for(kind, strength)};
    VIV_TRY(viv_res_use(tab, chan, via.kind, via.need, &obj));
    const struct viv_res_spec spec = {.kind = kind, .charge_bytes = sizeof(struct viv_chan_end)};
    viv_rid rid;
    VIV_TRY(viv_res_entry(tab, chan, &rid));
    const bool reads = kind == VIV_KIND_READER;
    const struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_RIDS,
                                        .number = rid.w,
                                        .operation = reads ? "chan_reader" : "chan_writer"};
    VIV_TRY(viv_htab_gate(tab, reads ? VIV_CAP_CHAN_READ : VIV_CAP_CHAN_WRITE, &query));
    if (strength != VIV_CHAN_STRONG && strength != VIV_CHAN_WEAK) return VIV_E_INVAL;
    struct viv_chan_end *end = viv_try_calloc(1, sizeof(*end), VIV_TAG_CAP);
    if (end == NULL) return VIV_E_EXHAUSTED;
    end->chan = viv_chan__take(obj);
    end->is_strong = strength == VIV_CHAN_STRONG;
    viv_list_init(&end->node);
    viv_list_init(&end->parked);
    viv_list_init(&end->ops);
    const enum viv_err err =
        viv_res_insert_below(tab, &via, &spec, end, VIV_RIGHTS_COMMON, out_hdl);
    VIV_SIM_POINT();
    if (err == VIV_OK) *out_end = end;
    return err == VIV_E_NOTFOUND ? VIV_E_GONE : err; // the channel ended meanwhile
}

static uint64_t start_at(const struct viv_chan *chan, enum viv_chan_start start)
{
    if (start == VIV_CHAN_NEWEST) return chan->head;
    const bool has_slowest = chan->readers_by[VIV_CHAN_STRONG] != 0;
    return start == VIV_CHAN_DEFAULT && has_slowest ? chan->floor : chan->tail;
}

static enum viv_err join_reader_locked(struct viv_chan *chan, struct viv_chan_end *reader,
                                       enum viv_chan_start start)
{
    if (chan->phase == VIV_CHAN_TERMINATED) return VIV_E_ABORTED;
    if (reader->was_open) return VIV_E_GONE;
    reader->is_open = reader->was_open = true;
    reader->next = start_at(chan, start);
    reader->pos = viv_chan__pos_locked(chan, reader->next);
    if (reader->is_strong) viv_chan__floor_join_locked(chan, reader);
    chan->readers_by[reader->is_strong ? VIV_CHAN_STRONG : VIV_CHAN_WEAK]++;
    return VIV_OK;
}

enum viv_err viv_chan_reader(struct viv_htab *tab, viv_handle via, enum viv_chan_strength strength,
                             enum viv_chan_start start, viv_handle *out_hdl)
{
    struct viv_chan_end *reader;
    viv_handle hdl;
    if (start > VIV_CHAN_NEWEST) return VIV_E_INVAL;
    VIV_TRY(insert_end(tab, via, VIV_KIND_READER, strength, &hdl, &reader));
    struct viv_chan *chan = reader->chan;
    viv_spin_lock(&chan->lock);
    const enum viv_err err = join_reader_locked(chan, reader, start);
    viv_spin_unlock(&chan->lock);
    settle(chan); // with HOLD, the first strong reader may leave frames behind that were owed
    if (err == VIV_OK)
        *out_hdl = hdl;
    else
        VIV_IGNORE(viv_res_close(tab, hdl), "nobody has seen it");
    return err;
}

// AGAIN: ids must grow.
static enum viv_err join_writer_locked(struct viv_chan *chan, struct viv_chan_end *writer)
{
    if (chan->phase == VIV_CHAN_TERMINATED) return VIV_E_ABORTED;
    if (chan->phase == VIV_CHAN_DRAINING) return VIV_E_CLOSED;
    if (writer->was_open) return VIV_E_GONE;
    const uint16_t id = viv_chan__take_id_locked(chan);
    if (id == 0) return VIV_E_AGAIN;
    writer->writer_id = id;
    writer->is_open = writer->was_open = true;
    if (writer->is_strong) chan->had_strong_writer = true;
    chan->writers_by[writer->is_strong ? VIV_CHAN_STRONG : VIV_CHAN_WEAK]++;
    return VIV_OK;
}

enum viv_err viv_chan_writer(struct viv_htab *tab, viv_handle via, enum viv_chan_strength strength,
                             viv_handle *out_hdl)
{
    struct viv_chan_end *writer;
    viv_handle hdl;
    VIV_TRY(insert_end(tab, via, VIV_KIND_WRITER, strength, &hdl, &writer));
    struct viv_chan *chan = writer->chan;
    enum viv_err err;
    do {
        viv_spin_lock(&chan->lock);
        err = join_writer_locked(chan, writer);
        viv_spin_unlock(&chan->lock);
        if (err != VIV_E_AGAIN) break;
        err = viv_chan__grow_ids(chan);
    } while (err == VIV_OK);
    if (err == VIV_OK)
        *out_hdl = hdl;
    else
        VIV_IGNORE(viv_res_close(tab, hdl), "nobody has seen it");
    return err;
}

static void weaken_locked(struct viv_chan *chan, struct viv_chan_end *end)
{
    uint32_t *by = end->writer_id == 0 ? chan->readers_by : chan->writers_by;
    end->is_strong = false;
    by[VIV_CHAN_STRONG]--;
    by[VIV_CHAN_WEAK]++;
    if (end->writer_id == 0) viv_chan__floor_leave_locked(chan, end);
}

static enum viv_err weaken(struct viv_chan_end *end)
{
    struct viv_chan *chan = end->chan;
    viv_spin_lock(&chan->lock);
    const bool is_strong = end->is_open && end->is_strong;
    if (is_strong) weaken_locked(chan, end);
    viv_spin_unlock(&chan->lock);
    if (!is_strong) return VIV_E_STATE;
    settle(chan);
    return VIV_OK;
}

enum viv_err viv_chan_downgrade(struct viv_htab *tab, viv_handle hdl, viv_handle *out_hdl)
{
    void *obj;
    enum viv_err err = viv_res_use(tab, hdl, VIV_KIND_READER, VIV_RIGHT_CONTROL, &obj);
    if (err == VIV_E_KIND) err = viv_res_use(tab, hdl, VIV_KIND_WRITER, VIV_RIGHT_CONTROL, &obj);
    VIV_TRY(err);
    viv_handle weak;
    viv_kind kind;
    viv_rights rights;
    VIV_TRY(viv_res_look(tab, hdl, &kind, &rights));
    VIV_TRY(viv_res_dup(tab, hdl, rights, &weak));
    err = weaken(obj);
    VIV_IGNORE(viv_res_close(tab, err == VIV_OK ? hdl : weak), "both are live");
    if (err == VIV_OK) *out_hdl = weak;
    return err;
}

// ---- ends ----

static enum viv_err code_of(enum viv_close_why why)
{
    if (why == VIV_WHY_REVOKED) return VIV_E_REVOKED;
    return why == VIV_WHY_PARENT_END ? VIV_E_ABORTED : VIV_E_GONE;
}

static void leave_locked(struct viv_chan *chan, struct viv_chan_end *end)
{
    const bool is_writer = end->writer_id != 0;
    uint32_t *by = is_writer ? chan->writers_by : chan->readers_by;
    by[end->is_strong ? VIV_CHAN_STRONG : VIV_CHAN_WEAK]--;
    if (is_writer)
        viv_chan__close_id_locked(chan, end->writer_id);
    else if (end->is_strong)
        viv_chan__floor_leave_locked(chan, end);
}

static void close_end(void *obj, enum viv_close_why why)
{
    struct viv_chan_end *end = obj;
    struct viv_chan *chan = end->chan;
    // The channel itself ends, its children first: nobody shall take that for a last reader's end.
    if (why == VIV_WHY_PARENT_END) terminate(chan, VIV_E_ABORTED);
    viv_spin_lock(&chan->lock);
    const bool is_open = end->is_open;
    end->is_open = false;
    end->was_open = true;
    end->end_err = (uint8_t)code_of(why);
    if (is_open) leave_locked(chan, end);
    viv_spin_unlock(&chan->lock);
    VIV_SIM_POINT();
    if (is_open) viv_chan__fail_ops(chan, end);
}

static void destroy_end(void *obj)
{
    struct viv_chan_end *end = obj;
    viv_chan__drop(end->chan);
    viv_free(end, sizeof(*end), VIV_TAG_CAP);
}

static void close_chan(void *obj, enum viv_close_why why)
{
    terminate(obj, why == VIV_WHY_DISCARD ? VIV_E_ABORTED : code_of(why));
}

static void destroy_chan(void *obj)
{
    viv_chan__drop(obj);
}

static enum viv_err cancel_op(void *obj, struct viv_op *op)
{
    (void)obj;
    VIV_IGNORE(viv_op_cancel(op, VIV_E_CANCELLED), "kept in the operation for nobody");
    return VIV_OK;
}

// ---- statistics ----

static void fill_stat_locked(const struct viv_chan *chan, struct viv_chan_stat *out)
{
    *out = (struct viv_chan_stat){
        .capacity_bytes = chan->capacity_bytes,
        .frame_bytes_max = chan->frame_bytes_max,
        .frame_count_max = chan->frame_count_max,
        .mode = chan->mode,
        .flags = chan->flags,
        .is_draining = chan->phase == VIV_CHAN_DRAINING,
        .is_terminated = chan->phase == VIV_CHAN_TERMINATED,
        .retained_frames = chan->head - chan->tail,
        .retained_bytes =
            viv_chan__pos_locked(chan, chan->head) - viv_chan__pos_locked(chan, chan->tail),
        .oldest_seq = chan->tail,
        .next_seq = chan->next,
        .frames_in = chan->frames_in,
        .bytes_in = chan->bytes_in,
        .frames_out = chan->frames_out,
        .bytes_out = chan->bytes_out,
        .peak_bytes = chan->peak_bytes,
        .dropped = chan->dropped,
        .refused = chan->refused,
        .lagged = chan->lagged,
        .waits = chan->waits,
        .aborted = chan->aborted,
        .strong_readers = chan->readers_by[VIV_CHAN_STRONG],
        .weak_readers = chan->readers_by[VIV_CHAN_WEAK],
        .strong_writers = chan->writers_by[VIV_CHAN_STRONG],
        .weak_writers = chan->writers_by[VIV_CHAN_WEAK],
        .parked_reads = chan->parked_reads,
        .parked_writes = chan->parked_writes,
    };
    if (!out->is_terminated) viv_chan__owed_locked(chan, &out->owed_frames, &out->owed_bytes);
}

static enum viv_err stat_chan(void *obj, struct viv_res_stat *out)
{
    struct viv_chan *chan = obj;
    struct viv_chan_stat stat;
    viv_spin_lock(&chan->lock);
    fill_stat_locked(chan, &stat);
    viv_spin_unlock(&chan->lock);
    *out = (struct viv_res_stat){
        .count = 22,
        .rows = {{"capacity", stat.capacity_bytes},
                 {"retained_frames", stat.retained_frames},
                 {"retained_bytes", stat.retained_bytes},
                 {"owed_frames", stat.owed_frames},
                 {"owed_bytes", stat.owed_bytes},
                 {"oldest_seq", stat.oldest_seq},
                 {"next_seq", stat.next_seq},
                 {"frames_in", stat.frames_in},
                 {"bytes_in", stat.bytes_in},
                 {"frames_out", stat.frames_out},
                 {"bytes_out", stat.bytes_out},
                 {"peak_bytes", stat.peak_bytes},
                 {"dropped", stat.dropped},
                 {"refused", stat.refused},
                 {"lagged", stat.lagged},
                 {"waits", stat.waits},
                 {"parked_reads", stat.parked_reads},
                 {"parked_writes", stat.parked_writes},
                 {"strong_readers", stat.strong_readers},
                 {"weak_readers", stat.weak_readers},
                 {"strong_writers", stat.strong_writers},
                 {"weak_writers", stat.weak_writers}},
    };
    return VIV_OK;
}

// ---- binding ----

enum viv_err viv_chan_bind(struct viv_reg *reg)
{
    const struct viv_res_kind chan = {.close = close_chan,
                                      .destroy = destroy_chan,
                                      .orphan = orphan,
                                      .cancel = cancel_op,
                                      .stat = stat_chan};
    const struct viv_res_kind end = {
        .close = close_end, .destroy = destroy_end, .cancel = cancel_op};
    VIV_TRY(viv_res_kind_bind(reg, VIV_KIND_CHANNEL, &chan));
    VIV_TRY(viv_res_kind_bind(reg, VIV_KIND_READER, &end));
    return viv_res_kind_bind(reg, VIV_KIND_WRITER, &end);
}

enum viv_err viv_chan_stat(struct viv_htab *tab, viv_handle hdl, struct viv_chan_stat *out_stat)
{
    void *obj;
    struct viv_chan *chan;
    enum viv_err err = viv_res_use(tab, hdl, VIV_KIND_CHANNEL, VIV_RIGHT_STAT, &obj);
    if (err == VIV_OK) {
        chan = obj;
    } else {
        if (err == VIV_E_KIND) err = viv_res_use(tab, hdl, VIV_KIND_READER, VIV_RIGHT_STAT, &obj);
        if (err == VIV_E_KIND) err = viv_res_use(tab, hdl, VIV_KIND_WRITER, VIV_RIGHT_STAT, &obj);
        VIV_TRY(err);
        chan = ((struct viv_chan_end *)obj)->chan;
    }
    viv_spin_lock(&chan->lock);
    fill_stat_locked(chan, out_stat);
    viv_spin_unlock(&chan->lock);
    return VIV_OK;
}
