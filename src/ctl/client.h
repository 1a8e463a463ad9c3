// SPDX-License-Identifier: Apache-2.0
// The other end of the control socket, for commands: it blocks. Requests have the numbers 1, 2, 3 …
// in the order of their calls. Thread: one at a time.
#ifndef VIV_CTL_CLIENT_H
#define VIV_CTL_CLIENT_H

#include "ctl/frame.h"

struct viv_ctl_client;

// Connects, sees who is there (SO_PEERCRED: this user or root) and agrees on a protocol. Errors:
// NOTFOUND (nobody listens), PERM, UNSUPPORTED (another protocol), CLOSED, EXHAUSTED, IO.
enum viv_err viv_ctl_client_open(const char *path, struct viv_ctl_client **out_client,
                                 struct viv_diag *diag) VIV_MUST_CHECK;
void viv_ctl_client_close(VIV_OWN struct viv_ctl_client *client);
int viv_ctl_client_fd(const struct viv_ctl_client *client);
int viv_ctl_client_peer(const struct viv_ctl_client *client); // its pid

// args NULL: none. Errors: CLOSED (the daemon has ended), EXHAUSTED, IO.
enum viv_err viv_ctl_client_call(struct viv_ctl_client *client, const char *verb,
                                 VIV_OWN json_t *args, uint32_t *out_request) VIV_MUST_CHECK;
// Bytes that may be sent for a request now: of one request of a client at a time.
size_t viv_ctl_client_window(const struct viv_ctl_client *client);
// At most as many. Errors: as call.
enum viv_err viv_ctl_client_send(struct viv_ctl_client *client, uint32_t request, const void *data,
                                 size_t len) VIV_MUST_CHECK;
enum viv_err viv_ctl_client_end(struct viv_ctl_client *client, uint32_t request) VIV_MUST_CHECK;
enum viv_err viv_ctl_client_cancel(struct viv_ctl_client *client, uint32_t request) VIV_MUST_CHECK;

// The next frame; valid until the next call of this function. TAKEN has been counted. try: AGAIN
// when none is there without waiting. Errors: CLOSED, INVAL, TOOBIG (no frames), EXHAUSTED, IO.
enum viv_err viv_ctl_client_next(struct viv_ctl_client *client,
                                 struct viv_frame *out_frame) VIV_MUST_CHECK;
enum viv_err viv_ctl_client_try_next(struct viv_ctl_client *client,
                                     struct viv_frame *out_frame) VIV_MUST_CHECK;
// The error of a frame ERROR; diag: its detail, or "".
enum viv_err viv_ctl_client_error(const struct viv_frame *frame, struct viv_diag *diag);
// Waits for the end of a request, passing over its events. The answer is the caller's. Errors:
// those of the request, with their detail; of the connection.
enum viv_err viv_ctl_client_answer(struct viv_ctl_client *client, uint32_t request,
                                   json_t **out_value, struct viv_diag *diag) VIV_MUST_CHECK;
// call and answer.
enum viv_err viv_ctl_client_ask(struct viv_ctl_client *client, const char *verb,
                                VIV_OWN json_t *args, json_t **out_value,
                                struct viv_diag *diag) VIV_MUST_CHECK;
// Sends all, and its end, however much; the request may end meanwhile, which answer tells.
enum viv_err viv_ctl_client_upload(struct viv_ctl_client *client, uint32_t request,
                                   const void *data, size_t len) VIV_MUST_CHECK;

#endif
