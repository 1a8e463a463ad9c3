// SPDX-License-Identifier: Apache-2.0
// Intrusive doubly linked circular list. A node that is on no list points to itself.
#ifndef VIV_BASE_LIST_H
#define VIV_BASE_LIST_H

#include "base/defs.h"

struct viv_list {
    struct viv_list *prev, *next;
};

static inline void viv_list_init(struct viv_list *node)
{
    node->prev = node->next = node;
}

static inline bool viv_list_is_empty(const struct viv_list *head)
{
    return head->next == head;
}

static inline void viv_list_append(struct viv_list *head, struct viv_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

// Leaves node on no list; harmless when it is on none.
static inline void viv_list_remove(struct viv_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    viv_list_init(node);
}

// Moves all of `from` to the end of `to`; `from` is empty afterwards.
static inline void viv_list_splice(struct viv_list *to, struct viv_list *from)
{
    if (viv_list_is_empty(from)) return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    viv_list_init(from);
}

#endif
