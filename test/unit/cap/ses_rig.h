// SPDX-License-Identifier: Apache-2.0
// A kernel whose turns the test decides, a registry, one environment, its sessions, and processes
// that do nothing but exist.
#ifndef VIV_TEST_UNIT_CAP_SES_RIG_H
#define VIV_TEST_UNIT_CAP_SES_RIG_H

#include "cap/delegate.h"
#include "cap/gate.h"
#include "cap/holder.h"
#include "policy_kit.h"
#include "res_rig.h"

struct ses_rig {
    _Atomic uint64_t now_ns;
    struct viv_kernel *kernel;
    struct viv_env *env;
    struct viv_cap_kernel *cap;
    struct viv_reg *reg;
    struct viv_audit *audit;
    struct viv_sessions *all;
    viv_rid env_rid;
    struct viv_session *root;
    _Atomic uint64_t random;              // the last "random" number
    _Atomic uint32_t shrinks;             // calls of the hook
    _Atomic(struct viv_session *) shrunk; // of the last one
    viv_ses_verify_fn verify;             // set before the rig is opened
};

// A process and its table.
struct actor {
    struct viv_proc *proc;
    viv_pid pid;
    viv_rid rid;
    struct viv_htab *tab;
};

void ses_rig_prepare(struct ses_rig *rig);
// The root holds what the policy says ("use all" in full), or `mask` when it is NULL.
void ses_rig_open(struct ses_rig *rig, const char *policy);
void ses_rig_close(struct ses_rig *rig); // everything must be free then
void ses_rig_check(struct ses_rig *rig); // the walkers agree
void ses_rig_quiet(struct ses_rig *rig); // lets grace periods pass
void ses_rig_advance(struct ses_rig *rig, uint64_t ns);
void ses_rig_run(struct ses_rig *rig); // until nothing is to be done

struct viv_policy *ses_rig_policy(const char *text);
// A child session of this text, open for the caller.
struct viv_session *ses_rig_child(struct ses_rig *rig, struct viv_session *parent,
                                  const char *policy);
// A process under the session (NULL: the root).
struct actor ses_rig_spawn(struct ses_rig *rig, struct viv_session *session);
struct actor ses_rig_spawn_child(struct ses_rig *rig, struct viv_session *session, viv_pid parent);
// A process that does not run under any yet; for bind and abandon.
struct viv_proc *ses_rig_unborn(struct ses_rig *rig);
// The session behind a handle of the actor.
struct viv_session *ses_rig_session(const struct actor *actor, viv_handle hdl);
// A handle of the actor to the session, with every right.
viv_handle ses_rig_handle(const struct actor *actor, const struct viv_session *session);

// One entitlement from text: "any", "none" or patterns with "|" between them; its memory lasts
// until the next but seven calls.
struct viv_ent ses_ent(const char *cap, const char *patterns);
void ses_ent_free(void);
// Whether a session holds exactly this of the class: "absent", "none", "any" or patterns.
bool ses_holds(const struct viv_session *session, const char *cap, const char *patterns);

#endif
