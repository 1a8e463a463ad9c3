// SPDX-License-Identifier: Apache-2.0
// A proxy between a store and its server that cuts the connection after a number of bytes.
#ifndef VIV_TEST_STORE_PG_PROXY_H
#define VIV_TEST_STORE_PG_PROXY_H

#include "store_rig.h"

enum pg_direction { PG_TO_SERVER, PG_TO_CLIENT, PG_DIRECTIONS };

struct pg_proxy;
// out_url: as url, through the proxy.
struct pg_proxy *pg_proxy_start(const char *url, char out_url[RIG_URL_BYTES]);
void pg_proxy_stop(struct pg_proxy *proxy);
// Once so many more bytes have gone in that direction, both ends are closed; later connections are
// whole again. A negative number: no more. Returns whether the one asked for before was made.
// Bytes of that direction since the last call are in *out_passed, which may be NULL.
bool pg_proxy_cut(struct pg_proxy *proxy, enum pg_direction direction, int64_t after_bytes,
                  int64_t *out_passed);
bool pg_proxy_was_cut(struct pg_proxy *proxy);
// Kills the OS process when the nth piece of data from now passes, in either direction; 0: nobody.
void pg_proxy_kill(struct pg_proxy *proxy, int os_pid, uint64_t nth);
// While it is on, a cut lets nobody connect again.
void pg_proxy_hold(struct pg_proxy *proxy, bool is_on);

#endif
