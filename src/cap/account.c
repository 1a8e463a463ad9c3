// SPDX-License-Identifier: Apache-2.0
// Accounts as plain atomic counters. A charge climbs from the account to the runtime's and undoes
// itself where it is refused: what lies below shows it for that moment, never beyond its limit.
//
// An account that all workers charge would be a line of memory they all write. So a counter of it
// that has no limit is a sum: of `used` and of a cell a worker, which only that worker writes.
// While there is a limit, charges go to `used`, compared with it less what the cells hold; the
// cells stand still then (but for a charge that began before the limit was set).
//
// All orders are relaxed: the counters say how much, and order nothing else.
#include "cap/account.h"
#include "base/alloc.h"
#include "base/assert.h"
#include <string.h>

void viv_account_limits_none(struct viv_account_limits *out)
{
    for (int i = 0; i < VIV_COUNTERS; i++)
        out->max[i] = VIV_UNLIMITED;
}

void viv_account_init(struct viv_account *account, struct viv_account *above,
                      const struct viv_account_limits *limits)
{
    account->above = above;
    account->cells = NULL;
    account->cell_count = 0;
    account->sched = NULL;
    for (int i = 0; i < VIV_COUNTERS; i++) {
        atomic_init(&account->used[i], 0);
        atomic_init(&account->peak[i], 0);
        atomic_init(&account->max[i], limits != NULL ? limits->max[i] : VIV_UNLIMITED);
        account->checked[i] = 0;
    }
}

enum viv_err viv_account_spread(struct viv_account *account, const struct viv_sched *sched)
{
    const uint32_t count = viv_sched_worker_count(sched) + 1;
    account->cells =
        viv_try_alloc_aligned(sizeof(*account->cells) * count, VIV_CACHE_LINE_BYTES, VIV_TAG_CAP);
    if (account->cells == NULL) return VIV_E_EXHAUSTED;
    memset(account->cells, 0, sizeof(*account->cells) * count);
    account->cell_count = count;
    account->sched = sched;
    return VIV_OK;
}

void viv_account_deinit(struct viv_account *account)
{
    if (account->cells != NULL)
        viv_free(account->cells, sizeof(*account->cells) * account->cell_count, VIV_TAG_CAP);
}

// Which cell is this thread's; found once for all that is charged together.
enum { NOT_ASKED = UINT32_MAX };

static uint32_t own_cell(const struct viv_account *account)
{
    const uint32_t index = viv_sched_worker_here(account->sched);
    return index < account->cell_count ? index : account->cell_count - 1;
}

// Adds to this thread's cell, modulo 2^64.
static void add_to_cell(struct viv_account *account, enum viv_counter counter, uint64_t amount,
                        uint32_t *cell)
{
    if (*cell == NOT_ASKED) *cell = own_cell(account);
    _Atomic uint64_t *used = &account->cells[*cell].used[counter];
    if (*cell == account->cell_count - 1) { // relaxed: see the head of the file
        atomic_fetch_add_explicit(used, amount, memory_order_relaxed);
        return;
    }
    // Relaxed: as above; and no other thread writes it.
    const uint64_t sum = atomic_load_explicit(used, memory_order_relaxed) + amount;
    atomic_store_explicit(used, sum, memory_order_relaxed);
}

static uint64_t in_cells(const struct viv_account *account, enum viv_counter counter)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < account->cell_count; i++) // relaxed: see the head of the file
        sum += atomic_load_explicit(&account->cells[i].used[counter], memory_order_relaxed);
    return sum;
}

static bool charge_one(struct viv_account *account, enum viv_counter counter, uint64_t amount,
                       uint32_t *cell)
{
    // Relaxed, here and below: see the head of the file.
    const uint64_t max = atomic_load_explicit(&account->max[counter], memory_order_relaxed);
    if (account->cells != NULL && max == VIV_UNLIMITED) {
        add_to_cell(account, counter, amount, cell);
        return true;
    }
    const uint64_t apart = in_cells(account, counter);
    uint64_t used = atomic_load_explicit(&account->used[counter], memory_order_relaxed);
    uint64_t sum;
    do {
        if (__builtin_add_overflow(used + apart, amount, &sum) || sum > max) return false;
        // Relaxed: a count.
    } while (!atomic_compare_exchange_weak_explicit(&account->used[counter], &used, used + amount,
                                                    memory_order_relaxed, memory_order_relaxed));
    // Relaxed: a mark for people; it may miss a peak that another thread is just passing.
    if (sum > atomic_load_explicit(&account->peak[counter], memory_order_relaxed))
        atomic_store_explicit(&account->peak[counter], sum, memory_order_relaxed);
    return true;
}

static void credit_one(struct viv_account *account, enum viv_counter counter, uint64_t amount,
                       uint32_t *cell)
{
    // Relaxed: a count.
    if (account->cells != NULL &&
        atomic_load_explicit(&account->max[counter], memory_order_relaxed) == VIV_UNLIMITED) {
        add_to_cell(account, counter, 0 - amount, cell);
        return;
    }
    const uint64_t used =
        atomic_fetch_sub_explicit(&account->used[counter], amount, memory_order_relaxed);
    VIV_ASSERT(account->cells != NULL || used >= amount);
}

// Up to, and without, `end`.
static void credit_until(struct viv_account *account, const struct viv_account *end,
                         const struct viv_amount *amounts, size_t count)
{
    uint32_t cell = NOT_ASKED;
    for (; account != end; account = account->above)
        for (size_t i = 0; i < count; i++)
            credit_one(account, amounts[i].counter, amounts[i].amount, &cell);
}

static enum viv_err charge_until(struct viv_account *account, const struct viv_account *end,
                                 const struct viv_amount *amounts, size_t count)
{
    uint32_t cell = NOT_ASKED;
    for (struct viv_account *at = account; at != end; at = at->above)
        for (size_t i = 0; i < count; i++) {
            if (charge_one(at, amounts[i].counter, amounts[i].amount, &cell)) continue;
            credit_until(at, at->above, amounts, i);
            credit_until(account, at, amounts, count);
            return VIV_E_QUOTA;
        }
    return VIV_OK;
}

enum viv_err viv_account_charge_all(struct viv_account *account, const struct viv_amount *amounts,
                                    size_t count)
{
    return charge_until(account, NULL, amounts, count);
}

void viv_account_credit_all(struct viv_account *account, const struct viv_amount *amounts,
                            size_t count)
{
    credit_until(account, NULL, amounts, count);
}

enum viv_err viv_account_charge(struct viv_account *account, enum viv_counter counter,
                                uint64_t amount)
{
    const struct viv_amount one = {counter, amount};
    return amount == 0 ? VIV_OK : charge_until(account, NULL, &one, 1);
}

void viv_account_credit(struct viv_account *account, enum viv_counter counter, uint64_t amount)
{
    const struct viv_amount one = {counter, amount};
    if (amount != 0) credit_until(account, NULL, &one, 1);
}

void viv_account_lift(struct viv_account *account, enum viv_counter counter, uint64_t amount)
{
    uint32_t cell = NOT_ASKED;
    credit_one(account, counter, amount, &cell); // those above have been charged as well
}

// The lowest account above or equal to both.
static const struct viv_account *meet(const struct viv_account *a, const struct viv_account *b)
{
    for (; a != NULL; a = a->above)
        for (const struct viv_account *at = b; at != NULL; at = at->above)
            if (at == a) return a;
    return NULL;
}

enum viv_err viv_account_move(struct viv_account *from, struct viv_account *to,
                              const struct viv_amount *amounts, size_t count)
{
    if (from == to) return VIV_OK;
    const struct viv_account *end = meet(from, to);
    VIV_TRY(charge_until(to, end, amounts, count));
    credit_until(from, end, amounts, count);
    return VIV_OK;
}

void viv_account_set_max(struct viv_account *account, enum viv_counter counter, uint64_t max)
{
    atomic_store_explicit(&account->max[counter], max, memory_order_relaxed); // relaxed: a count
}

uint64_t viv_account_used(const struct viv_account *account, enum viv_counter counter)
{
    // Relaxed: a count. While others charge, the sum is one that was there piece by piece.
    return atomic_load_explicit(&account->used[counter], memory_order_relaxed) +
           in_cells(account, counter);
}

bool viv_account_has_room(const struct viv_account *account, enum viv_counter counter,
                          uint64_t amount)
{
    for (; account != NULL; account = account->above) {
        const uint64_t max = viv_account_max(account, counter);
        if (max != VIV_UNLIMITED &&
            viv_add_sat_u64(viv_account_used(account, counter), amount) > max)
            return false;
    }
    return true;
}

uint64_t viv_account_peak(const struct viv_account *account, enum viv_counter counter)
{
    return atomic_load_explicit(&account->peak[counter], memory_order_relaxed); // relaxed: a count
}

uint64_t viv_account_max(const struct viv_account *account, enum viv_counter counter)
{
    return atomic_load_explicit(&account->max[counter], memory_order_relaxed); // relaxed: a count
}

bool viv_account_is_zero(const struct viv_account *account)
{
    for (int i = 0; i < VIV_COUNTERS; i++)
        if (viv_account_used(account, (enum viv_counter)i) != 0) return false;
    return true;
}
