// SPDX-License-Identifier: Apache-2.0
// The walker of a session tree: says in a sentence what does not agree.
#include "cap/session_int.h"

// Parents before children; NULL when through.
static struct viv_session *next_of(struct viv_session *top, struct viv_session *session)
{
    if (!viv_list_is_empty(&session->children))
        return VIV_CONTAINER_OF(session->children.next, struct viv_session, link);
    while (session != top && session->link.next == &session->parent->children)
        session = session->parent;
    return session == top ? NULL : VIV_CONTAINER_OF(session->link.next, struct viv_session, link);
}

static const char *check_delegation(const struct viv_session *session,
                                    const struct viv_delegation *delegation,
                                    const struct viv_capset *bound)
{
    const struct viv_delegation *source = delegation->source;
    if (delegation->receiver != session || delegation->is_over || delegation->is_ending)
        return "a delegation is on the wrong list";
    if (!viv_capset_contains(bound, delegation->set, NULL))
        return "a delegation is beyond the ceiling of its receiver";
    if (source == NULL) return NULL;
    if (source->receiver != delegation->giver) return "a delegation was made from another's";
    if (source->is_over || !viv_capset_contains(source->set, delegation->set, NULL))
        return "a delegation is beyond what it was made from";
    return NULL;
}

static const char *check_received(struct viv_session *session, const struct viv_capset *bound)
{
    for (struct viv_list *at = session->received.next; at != &session->received; at = at->next) {
        const struct viv_delegation *delegation =
            VIV_CONTAINER_OF(at, struct viv_delegation, received_link);
        const char *why = check_delegation(session, delegation, bound);
        if (why != NULL) return why;
        if (!viv_capset_contains(viv_ses_held(session), delegation->set, NULL))
            return "a session does not hold what was delegated to it";
    }
    return NULL;
}

static const char *check_sets(struct viv_session *session)
{
    const struct viv_capset *held = viv_ses_held(session);
    if (!viv_capset_contains(held, session->own, NULL))
        return "a session does not hold what is its own";
    if (viv_list_is_empty(&session->received) && !viv_capset_contains(session->own, held, NULL))
        return "a session holds more than its own";
    if (session->parent == NULL) return NULL;
    const struct viv_capset *bound = viv_ses_held(session->parent);
    if (session->ceiling != NULL) {
        if (!viv_capset_contains(bound, session->ceiling, NULL))
            return "a ceiling is above what the parent holds";
        bound = session->ceiling;
    }
    if (!viv_capset_contains(bound, held, NULL)) return "a session holds more than its ceiling";
    if (session->depth != session->parent->depth + 1) return "a depth is wrong";
    return check_received(session, bound);
}

static const char *check_session(struct viv_session *session)
{
    const char *why = check_sets(session);
    if (why != NULL) return why;
    if (session->is_closed) return "a session that has ended is in the tree";
    if (session->plan.is_in || session->plan.own != NULL || session->plan.held != NULL)
        return "a plan was left behind";
    for (struct viv_list *at = session->given.next; at != &session->given; at = at->next) {
        const struct viv_delegation *given =
            VIV_CONTAINER_OF(at, struct viv_delegation, source_link);
        if (given->giver != session || given->source != NULL || given->is_over)
            return "a delegation is on the wrong list of its giver";
        if (!viv_capset_contains(viv_ses_held(session), given->set, NULL))
            return "a session does not hold what it gave";
    }
    return NULL;
}

enum viv_err viv_ses_check_tree(struct viv_session *session, struct viv_diag *diag)
{
    const struct viv_ses_tree *tree = session->tree;
    uint32_t count = 0;
    if (tree->is_changing || tree->closed != NULL)
        return viv_diag_set(diag, VIV_E_INVAL, "a change of the tree is under way");
    for (struct viv_session *at = session; at != NULL; at = next_of(session, at)) {
        const char *why = check_session(at);
        if (why != NULL) return viv_diag_set(diag, VIV_E_INVAL, "%s", why);
        count++;
    }
    if (session->parent == NULL && count != tree->count)
        return viv_diag_set(diag, VIV_E_INVAL, "the tree counts %u sessions and has %u",
                            (unsigned)tree->count, (unsigned)count);
    return VIV_OK;
}
