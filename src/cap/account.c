// SPDX-License-Identifier: Apache-2.0
// Accounts as plain atomic counters. A charge climbs from the account to the runtime's and undoes
// itself where it is refused: what lies below shows it for that moment, never beyond its limit.
// All orders are relaxed: the counters say how much, and order nothing else.
#include "cap/account.h"
#include "base/assert.h"

void viv_account_limits_none(struct viv_account_limits *out)
{
    for (int i = 0; i < VIV_COUNTERS; i++)
        out->max[i] = VIV_UNLIMITED;
}

void viv_account_init(struct viv_account *account, struct viv_account *above,
                      const struct viv_account_limits *limits)
{
    account->above = above;
    for (int i = 0; i < VIV_COUNTERS; i++) {
        atomic_init(&account->used[i], 0);
        atomic_init(&account->peak[i], 0);
        atomic_init(&account->max[i], limits != NULL ? limits->max[i] : VIV_UNLIMITED);
        account->checked[i] = 0;
    }
}

static bool charge_one(struct viv_account *account, enum viv_counter counter, uint64_t amount)
{
    // Relaxed, here and below: see the head of the file.
    const uint64_t max = atomic_load_explicit(&account->max[counter], memory_order_relaxed);
    uint64_t used = atomic_load_explicit(&account->used[counter], memory_order_relaxed);
    uint64_t sum;
    do {
        if (__builtin_add_overflow(used, amount, &sum) || sum > max) return false;
        // Relaxed: a count.
    } while (!atomic_compare_exchange_weak_explicit(&account->used[counter], &used, sum,
                                                    memory_order_relaxed, memory_order_relaxed));
    // Relaxed: a mark for people; it may miss a peak that another thread is just passing.
    if (sum > atomic_load_explicit(&account->peak[counter], memory_order_relaxed))
        atomic_store_explicit(&account->peak[counter], sum, memory_order_relaxed);
    return true;
}

static void credit_one(struct viv_account *account, enum viv_counter counter, uint64_t amount)
{
    // Relaxed: a count.
    const uint64_t used =
        atomic_fetch_sub_explicit(&account->used[counter], amount, memory_order_relaxed);
    VIV_ASSERT(used >= amount);
}

// Up to, and without, `end`.
static void credit_until(struct viv_account *account, const struct viv_account *end,
                         enum viv_counter counter, uint64_t amount)
{
    for (; account != end; account = account->above)
        credit_one(account, counter, amount);
}

static enum viv_err charge_until(struct viv_account *account, const struct viv_account *end,
                                 enum viv_counter counter, uint64_t amount)
{
    for (struct viv_account *at = account; at != end; at = at->above) {
        if (charge_one(at, counter, amount)) continue;
        credit_until(account, at, counter, amount);
        return VIV_E_QUOTA;
    }
    return VIV_OK;
}

enum viv_err viv_account_charge(struct viv_account *account, enum viv_counter counter,
                                uint64_t amount)
{
    return amount == 0 ? VIV_OK : charge_until(account, NULL, counter, amount);
}

void viv_account_credit(struct viv_account *account, enum viv_counter counter, uint64_t amount)
{
    if (amount != 0) credit_until(account, NULL, counter, amount);
}

void viv_account_lift(struct viv_account *account, enum viv_counter counter, uint64_t amount)
{
    credit_one(account, counter, amount); // those above have been charged as well
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
    for (size_t i = 0; i < count; i++) {
        if (charge_until(to, end, amounts[i].counter, amounts[i].amount) == VIV_OK) continue;
        while (i-- > 0)
            credit_until(to, end, amounts[i].counter, amounts[i].amount);
        return VIV_E_QUOTA;
    }
    for (size_t i = 0; i < count; i++)
        credit_until(from, end, amounts[i].counter, amounts[i].amount);
    return VIV_OK;
}

void viv_account_set_max(struct viv_account *account, enum viv_counter counter, uint64_t max)
{
    atomic_store_explicit(&account->max[counter], max, memory_order_relaxed); // relaxed: a count
}

uint64_t viv_account_used(const struct viv_account *account, enum viv_counter counter)
{
    return atomic_load_explicit(&account->used[counter], memory_order_relaxed); // relaxed: a count
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
