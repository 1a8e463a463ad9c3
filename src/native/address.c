// SPDX-License-Identifier: Apache-2.0
// The port is behind the last colon; an IPv6 address has brackets around it.
#include "native/address.h"
#include "base/text.h"
#include <arpa/inet.h>
#include <string.h>

enum viv_err viv_native_address_parse(const char *text, struct viv_native_address *out_address)
{
    struct viv_native_address address = {.is_v6 = text[0] == '['};
    char host[INET6_ADDRSTRLEN];
    uint64_t port;
    const char *colon = strrchr(text, ':');
    if (colon == NULL) return VIV_E_INVAL;
    const char *from = text + address.is_v6;
    size_t len = (size_t)(colon - text);
    if (address.is_v6) {
        if (len < 2 || colon[-1] != ']') return VIV_E_INVAL;
        len -= 2;
    }
    if (len >= sizeof host) return VIV_E_INVAL;
    memcpy(host, from, len);
    host[len] = '\0';
    if (inet_pton(address.is_v6 ? AF_INET6 : AF_INET, host, address.bytes) != 1) return VIV_E_INVAL;
    VIV_TRY(viv_parse_u64(colon + 1, &port));
    if (port == 0 || port > UINT16_MAX) return VIV_E_INVAL;
    address.port = (uint16_t)port;
    *out_address = address;
    return VIV_OK;
}
