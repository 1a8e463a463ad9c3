// SPDX-License-Identifier: Apache-2.0
// Literal addresses with a port, as health checks have them. Thread: any.
#ifndef VIV_NATIVE_ADDRESS_H
#define VIV_NATIVE_ADDRESS_H

#include "base/err.h"

struct viv_native_address {
    uint8_t bytes[16]; // network order; IPv4: the first four
    uint16_t port;
    bool is_v6;
};

// "127.0.0.1:80", "[::1]:80"; no names. Errors: INVAL.
enum viv_err viv_native_address_parse(const char *text,
                                      struct viv_native_address *out_address) VIV_MUST_CHECK;

#endif
