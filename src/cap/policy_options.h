// SPDX-License-Identifier: Apache-2.0
// A policy from the options of a command line: --policy --use --allow --limit --dir --no-dir --env
// --no-env --no-net --max-memory --max-time.
//
//   profile of the command, or --use and --policy  ──minus --no-…──┐
//   --allow --dir --env  ──────────────────────────────────────────┴──> policy
//
// So `--no-net --allow net.connect=P` is P and nothing else, whatever the order. Limits count in
// their order, the last one of a name wins.
#ifndef VIV_CAP_POLICY_OPTIONS_H
#define VIV_CAP_POLICY_OPTIONS_H

#include "cap/policy.h"

struct viv_policy_option {
    const char *name;  // without the dashes: "allow"
    const char *value; // NULL for options without one; of --policy: the text of the file
    size_t value_len;
    const char *label; // of --policy: the file's name, for errors; else NULL
};

struct viv_policy_options;
// `standard` is the profile of the command, in force until --use or --policy is given; `host` also
// gives way to --allow and --dir. Errors: EXHAUSTED.
enum viv_err viv_policy_options_new(enum viv_profile standard,
                                    struct viv_policy_options **out_options) VIV_MUST_CHECK;
void viv_policy_options_free(VIV_OWN struct viv_policy_options *options); // NULL is allowed
bool viv_policy_options_know(const char *name);
// Only `hooks` and `enforceable` of the source count. out_error (may be NULL) names the option, the
// line and the column. Errors: NOTFOUND (no such option), those of viv_policy_parse; nothing has
// changed then.
enum viv_err viv_policy_options_add(struct viv_policy_options *options,
                                    const struct viv_policy_option *option,
                                    const struct viv_policy_source *source,
                                    struct viv_policy_error *out_error) VIV_MUST_CHECK;
// The policy of all of them; the options can be added to further. Errors: those of viv_policy_use.
enum viv_err viv_policy_options_finish(const struct viv_policy_options *options,
                                       const struct viv_policy_source *source,
                                       struct viv_policy **out_policy,
                                       struct viv_policy_error *out_error) VIV_MUST_CHECK;

#endif
