// SPDX-License-Identifier: Apache-2.0
// Patterns of hosts and addresses: PROTO:HOST:PORTS and unix:PATH.
//
// An address is 16 bytes; IPv4 is judged in its place inside IPv6 (::ffff:0:0/96), and nothing else
// of IPv6 reaches that place: ::/0 is all of IPv6 and no IPv4.
//
// A host pattern admits connecting by name. What the name resolves to is asked again with the
// address, and passes when the address is public; a pattern of addresses may admit others.
#include "base/assert.h"
#include "cap/scope_int.h"
#include <arpa/inet.h>
#include <string.h>

enum {
    FORM_NET = VIV_NAME_ALL + 1, // forms up to VIV_NAME_ALL are those of a host pattern
    FORM_ANY,
    FORM_PUBLIC,
    FORM_PRIVATE,
    FORM_LOOPBACK,
    FORM_LINKLOCAL,
    FORM_OTHER, // multicast and unspecified, which have no word
    FORM_SOCKET,
    FORM_SOCKETS_BELOW,
};

enum { V4_BITS = 96 }; // in front of an IPv4 address

struct net {
    uint8_t addr[16];
    uint8_t bits, form;
};
#define NET4(a, b, bits, form)                                                                     \
    {{[10] = 0xFF, [11] = 0xFF, [12] = (a), [13] = (b)}, V4_BITS + (bits), (form)}
#define NET6(a, b, bits, form) {{[0] = (a), [1] = (b)}, (bits), (form)}

// What is not public. RFC 1918, 6598, 4193, 3879; 1122, 4291; 3927; 5771.
static const struct net special[] = {
    NET4(10, 0, 8, FORM_PRIVATE),
    NET4(172, 16, 12, FORM_PRIVATE),
    NET4(192, 168, 16, FORM_PRIVATE),
    NET4(100, 64, 10, FORM_PRIVATE),
    NET6(0xFC, 0, 7, FORM_PRIVATE),
    NET6(0xFE, 0xC0, 10, FORM_PRIVATE),
    NET4(127, 0, 8, FORM_LOOPBACK),
    {{[15] = 1}, 128, FORM_LOOPBACK},
    NET4(169, 254, 16, FORM_LINKLOCAL),
    NET6(0xFE, 0x80, 10, FORM_LINKLOCAL),
    NET4(224, 0, 4, FORM_OTHER),
    {{[10] = 0xFF, [11] = 0xFF, [12] = 0xFF, [13] = 0xFF, [14] = 0xFF, [15] = 0xFF},
     128,
     FORM_OTHER},
    NET6(0xFF, 0, 8, FORM_OTHER),
    NET4(0, 0, 8, FORM_OTHER),
    {{0}, 128, FORM_OTHER},
};

static bool is_v4(const uint8_t addr[16])
{
    static const uint8_t prefix[12] = {[10] = 0xFF, [11] = 0xFF};
    return memcmp(addr, prefix, sizeof prefix) == 0;
}

// Half of an address as a number, first byte highest.
static uint64_t half_of(const uint8_t *bytes)
{
    uint64_t half;
    memcpy(&half, bytes, sizeof half);
    return __builtin_bswap64(half);
}

static bool has_prefix(const uint8_t addr[16], const uint8_t net[16], unsigned bits)
{
    uint64_t high = half_of(addr) ^ half_of(net);
    if (bits <= 64) return bits == 0 || high >> (64 - bits) == 0;
    uint64_t low = half_of(addr + 8) ^ half_of(net + 8);
    return high == 0 && low >> (128 - bits) == 0;
}

// Whether the network is all of IPv4 or a part of it.
static bool is_v4_net(const uint8_t addr[16], unsigned bits)
{
    return bits >= V4_BITS && is_v4(addr);
}

static bool net_contains(const uint8_t parent[16], unsigned parent_bits, const uint8_t child[16],
                         unsigned child_bits)
{
    return is_v4_net(parent, parent_bits) == is_v4_net(child, child_bits) &&
           child_bits >= parent_bits && has_prefix(child, parent, parent_bits);
}

// Whether everything in the network is of this form (private, public ...).
static bool net_is_of_form(const uint8_t addr[16], unsigned bits, uint8_t form)
{
    for (size_t i = 0; i < VIV_COUNT_OF(special); i++) {
        bool is_inside = net_contains(special[i].addr, special[i].bits, addr, bits);
        if (is_inside && form != FORM_PUBLIC) {
            if (special[i].form == form) return true;
        } else if (is_inside || net_contains(addr, bits, special[i].addr, special[i].bits)) {
            return false; // a part at least is of another form
        }
    }
    return form == FORM_PUBLIC;
}

// ------------------------------------------------------------------------------------------- hosts

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

enum viv_err viv_host__parse(struct viv_draft *draft, size_t at, size_t len)
{
    enum { HOST_BYTES_MAX = 253, LABEL_BYTES_MAX = 63 }; // RFC 1035
    const char *text = draft->source->text + at;
    char host[HOST_BYTES_MAX + 1];
    size_t label = 0, skip = 0;
    bool is_number = true; // the last label so far
    draft->head.form = VIV_NAME_EXACT;
    if (len == 1 && text[0] == '*') {
        draft->head.form = VIV_NAME_ALL;
        viv_draft__text(draft, "", 0);
        return VIV_OK;
    }
    if (len > 2 && text[0] == '*' && text[1] == '.') {
        draft->head.form = VIV_NAME_SUFFIX;
        skip = 1; // the dot stays with the text
    }
    if (len - skip > HOST_BYTES_MAX)
        return viv_draft__fail(draft, at, "a host name of more than 253 bytes");
    for (size_t i = skip; i < len; i++) {
        char c = lower(text[i]);
        host[i - skip] = c;
        bool is_front_dot = i == skip && skip == 1;
        if (c == '.' && (label > 0 || is_front_dot)) {
            label = 0;
            is_number = true;
            continue;
        }
        if (!is_host_char(c)) return viv_draft__fail(draft, at + i, "not a host name");
        is_number &= c >= '0' && c <= '9';
        if (++label > LABEL_BYTES_MAX)
            return viv_draft__fail(draft, at + i, "a label of more than 63 bytes");
    }
    // A number at the end is an address or a mistake in one.
    if (label == 0 || is_number) return viv_draft__fail(draft, at, "not a host name");
    viv_draft__text(draft, host, len - skip);
    return VIV_OK;
}

static bool equals_lower(const char *name, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (lower(name[i]) != text[i]) return false;
    return true;
}

bool viv_host__matches(const struct viv_pattern *pattern, const char *name, size_t len)
{
    if (len > 0 && name[len - 1] == '.') len--;
    const char *text = viv_pattern__text(pattern);
    size_t text_len = pattern->text_len;
    if (pattern->form == VIV_NAME_ALL) return len > 0;
    if (pattern->form == VIV_NAME_EXACT) return len == text_len && equals_lower(name, text, len);
    return len > text_len && equals_lower(name + (len - text_len), text, text_len);
}

// ----------------------------------------------------------------------------------------- reading

struct proto_word {
    const char *name;
    uint16_t mask;
};
static const struct proto_word protos[] = {
    {"tcp", VIV_NET_TCP},
    {"udp", VIV_NET_UDP},
    {"http", VIV_NET_HTTP},
    {"quic", VIV_NET_QUIC},
    {"any", VIV_NET_TCP | VIV_NET_UDP | VIV_NET_HTTP | VIV_NET_QUIC},
};
static const char *const form_words[] = {"any", "public", "private", "loopback", "linklocal"};

static enum viv_err parse_port(struct viv_draft *draft, size_t *at, uint16_t *out_port)
{
    const char *text = draft->source->text;
    size_t len = draft->source->len_bytes, from = *at;
    uint32_t port = 0;
    while (*at < len && text[*at] >= '0' && text[*at] <= '9' && port <= UINT16_MAX)
        port = port * 10 + (uint32_t)(text[(*at)++] - '0');
    if (*at == from || port > UINT16_MAX)
        return viv_draft__fail(draft, from, "a port is a number up to 65535");
    *out_port = (uint16_t)port;
    return VIV_OK;
}

// Sorts and joins what overlaps or touches; so a range is in a set when one range contains it.
static size_t normalise_ports(struct viv_port_range *ranges, size_t count)
{
    for (size_t i = 1; i < count; i++) { // insertion: there are few
        struct viv_port_range range = ranges[i];
        size_t j = i;
        for (; j > 0 && ranges[j - 1].low > range.low; j--)
            ranges[j] = ranges[j - 1];
        ranges[j] = range;
    }
    size_t last = 0;
    for (size_t i = 1; i < count; i++) {
        if (ranges[i].low <= (uint32_t)ranges[last].high + 1) {
            if (ranges[i].high > ranges[last].high) ranges[last].high = ranges[i].high;
        } else {
            ranges[++last] = ranges[i];
        }
    }
    return last + 1;
}

static enum viv_err parse_ports(struct viv_draft *draft, size_t at)
{
    struct viv_port_range ranges[VIV_PORT_RANGES_MAX] = {{0, UINT16_MAX}};
    const char *text = draft->source->text;
    size_t len = draft->source->len_bytes, count = 1;
    if (!(len - at == 1 && text[at] == '*')) {
        for (count = 0;; at++) { // at the separator, but for the first time
            if (count == VIV_PORT_RANGES_MAX)
                return viv_draft__fail(draft, at, "more than 128 ranges of ports");
            struct viv_port_range *range = &ranges[count++];
            size_t from = at;
            VIV_TRY(parse_port(draft, &at, &range->low));
            range->high = range->low;
            if (at < len && text[at] == '-') {
                at++;
                VIV_TRY(parse_port(draft, &at, &range->high));
            }
            if (range->high < range->low)
                return viv_draft__fail(draft, from, "a range of ports that ends before it begins");
            if (at == len) break;
            if (text[at] != '+')
                return viv_draft__fail(draft, at, "ports are 80, 80-89, 80+443 or *");
        }
        count = normalise_ports(ranges, count);
    }
    draft->head.count = (uint16_t)count;
    viv_draft__more(draft, ranges, count * sizeof ranges[0]);
    return VIV_OK;
}

// The number behind `/`, at most `most`.
static bool parse_bits(const char *text, size_t len, unsigned most, unsigned *out_bits)
{
    unsigned bits = 0;
    if (len == 0 || len > 3) return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        bits = bits * 10 + (unsigned)(text[i] - '0');
    }
    *out_bits = bits;
    return bits <= most;
}

// text[at, at + len) as v4, v4/CIDR, [v6], [v6]/CIDR into the head.
static enum viv_err parse_net(struct viv_draft *draft, size_t at, size_t len)
{
    const char *text = draft->source->text + at;
    bool is_v6 = text[0] == '[';
    const char *slash = memchr(text, '/', len);
    size_t addr_len = slash != NULL ? (size_t)(slash - text) : len;
    char addr[INET6_ADDRSTRLEN];
    unsigned bits = is_v6 ? 128 : 32;
    uint8_t *to = draft->head.addr;
    if (slash != NULL && !parse_bits(slash + 1, len - addr_len - 1, bits, &bits))
        return viv_draft__fail(draft, at + addr_len + 1, "not a prefix length");
    if (is_v6 && (addr_len < 2 || text[addr_len - 1] != ']'))
        return viv_draft__fail(draft, at, "an IPv6 address stands in brackets");
    size_t inner_len = is_v6 ? addr_len - 2 : addr_len;
    if (inner_len >= sizeof addr) return viv_draft__fail(draft, at, "not an address");
    memcpy(addr, text + is_v6, inner_len);
    addr[inner_len] = '\0';
    if (!is_v6) {
        to[10] = to[11] = 0xFF;
        bits += V4_BITS;
    }
    if (inet_pton(is_v6 ? AF_INET6 : AF_INET, addr, is_v6 ? to : to + 12) != 1)
        return viv_draft__fail(draft, at, "not an address");
    for (unsigned i = bits; i < 128; i++)
        if ((to[i / 8] >> (7 - i % 8) & 1) != 0)
            return viv_draft__fail(draft, at, "the address has bits behind its prefix");
    draft->head.bits = (uint8_t)bits;
    draft->head.form = FORM_NET;
    return VIV_OK;
}

static enum viv_err parse_host(struct viv_draft *draft, size_t at, size_t len)
{
    const char *text = draft->source->text + at;
    if (len == 0) return viv_draft__fail(draft, at, "no host");
    for (size_t i = 0; i < VIV_COUNT_OF(form_words); i++) {
        if (strlen(form_words[i]) != len || memcmp(form_words[i], text, len) != 0) continue;
        draft->head.form = (uint8_t)(FORM_ANY + i);
        return VIV_OK;
    }
    bool is_net = text[0] == '[' || memchr(text, '/', len) != NULL;
    if (!is_net) { // four numbers, or something wrong with them: never a name
        is_net = true;
        for (size_t i = 0; i < len; i++)
            is_net &= text[i] == '.' || (text[i] >= '0' && text[i] <= '9');
    }
    return is_net ? parse_net(draft, at, len) : viv_host__parse(draft, at, len);
}

// unix:/dir/name or unix:/dir/*
static enum viv_err parse_socket(struct viv_draft *draft, size_t at)
{
    const char *text = draft->source->text + at;
    size_t len = draft->source->len_bytes - at;
    draft->head.form = FORM_SOCKET;
    if (len >= 2 && text[len - 1] == '*' && text[len - 2] == '/') {
        draft->head.form = FORM_SOCKETS_BELOW;
        len -= len == 2 ? 1 : 2; // the folder
    }
    if (len == 0 || text[0] != '/' || !viv_path__is_normal(text, len) ||
        memchr(text, '*', len) != NULL)
        return viv_draft__fail(draft, at, "a socket is an absolute path, or /dir/*");
    draft->head.value = VIV_NET_UNIX;
    viv_draft__text(draft, text, len);
    return VIV_OK;
}

enum viv_err viv_address__parse(struct viv_draft *draft)
{
    const char *text = draft->source->text;
    size_t len = draft->source->len_bytes;
    const char *colon = memchr(text, ':', len);
    size_t proto_len = colon != NULL ? (size_t)(colon - text) : len;
    if (colon == NULL) return viv_draft__fail(draft, 0, "an address is PROTO:HOST:PORTS");
    if (proto_len == 4 && memcmp(text, "unix", 4) == 0) return parse_socket(draft, 5);
    for (size_t i = 0; i < VIV_COUNT_OF(protos); i++)
        if (strlen(protos[i].name) == proto_len && memcmp(protos[i].name, text, proto_len) == 0)
            draft->head.value = protos[i].mask;
    if (draft->head.value == 0)
        return viv_draft__fail(draft, 0, "a protocol is tcp, udp, unix, http, quic or any");
    const char *ports = memrchr(text, ':', len);
    if (ports == colon || (text[proto_len + 1] == '[' && ports[-1] != ']' &&
                           memchr(colon, ']', (size_t)(ports - colon)) == NULL))
        return viv_draft__fail(draft, len, "the ports are missing: PROTO:HOST:PORTS");
    VIV_TRY(parse_ports(draft, (size_t)(ports - text) + 1));
    return parse_host(draft, proto_len + 1, (size_t)(ports - colon) - 1);
}

// ---------------------------------------------------------------------------------------- printing

static enum viv_err print_net(const struct viv_pattern *pattern, struct viv_buf *out)
{
    char text[INET6_ADDRSTRLEN];
    bool v4 = is_v4_net(pattern->addr, pattern->bits);
    const uint8_t *from = v4 ? pattern->addr + 12 : pattern->addr;
    VIV_ASSERT(inet_ntop(v4 ? AF_INET : AF_INET6, from, text, sizeof text) != NULL);
    VIV_TRY(viv_buf_printf(out, v4 ? "%s" : "[%s]", text));
    if (pattern->bits == 128) return VIV_OK;
    return viv_buf_printf(out, "/%d", v4 ? pattern->bits - V4_BITS : pattern->bits);
}

static struct viv_port_range range_at(const struct viv_pattern *pattern, size_t i)
{
    struct viv_port_range range;
    memcpy(&range, viv_pattern__more(pattern) + i * sizeof range, sizeof range);
    return range;
}

static enum viv_err print_ports(const struct viv_pattern *pattern, struct viv_buf *out)
{
    for (size_t i = 0; i < pattern->count; i++) {
        struct viv_port_range range = range_at(pattern, i);
        if (range.low == 0 && range.high == UINT16_MAX) return viv_buf_printf(out, ":*");
        VIV_TRY(viv_buf_printf(out, "%c%u", i == 0 ? ':' : '+', range.low));
        if (range.high != range.low) VIV_TRY(viv_buf_printf(out, "-%u", range.high));
    }
    return VIV_OK;
}

enum viv_err viv_address__print(const struct viv_pattern *pattern, struct viv_buf *out)
{
    if (pattern->form >= FORM_SOCKET) {
        VIV_TRY(
            viv_buf_printf(out, "unix:%.*s", (int)pattern->text_len, viv_pattern__text(pattern)));
        if (pattern->form == FORM_SOCKET) return VIV_OK;
        return viv_buf_printf(out, pattern->text_len == 1 ? "*" : "/*");
    }
    size_t i = 0;
    while (protos[i].mask != pattern->value)
        i++;
    VIV_TRY(viv_buf_printf(out, "%s:", protos[i].name));
    if (pattern->form <= VIV_NAME_ALL) {
        VIV_TRY(viv_name__print(pattern, out));
    } else if (pattern->form == FORM_NET) {
        VIV_TRY(print_net(pattern, out));
    } else {
        VIV_TRY(viv_buf_printf(out, "%s", form_words[pattern->form - FORM_ANY]));
    }
    return print_ports(pattern, out);
}

// ----------------------------------------------------------------------------------------- judging

static bool has_port(const struct viv_pattern *pattern, uint16_t port)
{
    for (size_t i = 0; i < pattern->count; i++) {
        struct viv_port_range range = range_at(pattern, i);
        if (port >= range.low && port <= range.high) return true;
    }
    return false;
}

static bool admits_socket(const struct viv_pattern *pattern, const struct viv_cap_query *query)
{
    const char *text = viv_pattern__text(pattern);
    if (query->path == NULL || query->path_len == 0 || query->path[0] != '/' ||
        !viv_path__is_normal(query->path, query->path_len))
        return false;
    bool is_same =
        query->path_len == pattern->text_len && memcmp(query->path, text, pattern->text_len) == 0;
    if (pattern->form == FORM_SOCKET) return is_same;
    return !is_same && viv_path__is_below(query->path, query->path_len, text, pattern->text_len);
}

bool viv_address__admits(const struct viv_pattern *pattern, const struct viv_cap_query *query)
{
    if ((pattern->value & query->proto) == 0) return false;
    if (pattern->form >= FORM_SOCKET) return admits_socket(pattern, query);
    if (pattern->form == FORM_NET) { // most patterns, so without detours
        if (!query->has_addr || !has_prefix(query->addr, pattern->addr, pattern->bits))
            return false;
        if (pattern->bits < V4_BITS && is_v4(query->addr)) return false;
        return has_port(pattern, query->port);
    }
    if (!has_port(pattern, query->port)) return false;
    if (pattern->form == FORM_ANY) return true;
    if (pattern->form <= VIV_NAME_ALL) {
        if (query->name == NULL || !viv_host__matches(pattern, query->name, query->name_len))
            return false;
        return !query->has_addr || net_is_of_form(query->addr, 128, FORM_PUBLIC);
    }
    return query->has_addr && net_is_of_form(query->addr, 128, pattern->form);
}

static bool contains_ports(const struct viv_pattern *parent, const struct viv_pattern *child)
{
    for (size_t i = 0; i < child->count; i++) {
        struct viv_port_range inner = range_at(child, i);
        bool is_inside = false;
        for (size_t j = 0; j < parent->count && !is_inside; j++) {
            struct viv_port_range outer = range_at(parent, j);
            is_inside = inner.low >= outer.low && inner.high <= outer.high;
        }
        if (!is_inside) return false;
    }
    return true;
}

static bool contains_socket(const struct viv_pattern *parent, const struct viv_pattern *child)
{
    const char *outer = viv_pattern__text(parent), *inner = viv_pattern__text(child);
    bool is_same =
        parent->text_len == child->text_len && memcmp(outer, inner, parent->text_len) == 0;
    if (parent->form == FORM_SOCKET) return child->form == FORM_SOCKET && is_same;
    if (child->form == FORM_SOCKET && is_same) return false; // the folder itself
    return viv_path__is_below(inner, child->text_len, outer, parent->text_len);
}

bool viv_address__contains(const struct viv_pattern *parent, const struct viv_pattern *child)
{
    if ((child->value & ~parent->value) != 0) return false;
    if (parent->form >= FORM_SOCKET || child->form >= FORM_SOCKET)
        return parent->form >= FORM_SOCKET && child->form >= FORM_SOCKET &&
               contains_socket(parent, child);
    if (!contains_ports(parent, child)) return false;
    if (parent->form == FORM_ANY) return true;
    if (parent->form <= VIV_NAME_ALL)
        return child->form <= VIV_NAME_ALL && viv_name__contains(parent, child);
    if (child->form != FORM_NET) return child->form == parent->form;
    if (parent->form == FORM_NET)
        return net_contains(parent->addr, parent->bits, child->addr, child->bits);
    return net_is_of_form(child->addr, child->bits, parent->form);
}

bool viv_address_is_tcp_ports(const struct viv_pattern *pattern)
{
    return pattern->type == VIV_SCOPE_ADDRESS && pattern->value == VIV_NET_TCP &&
           pattern->form == FORM_ANY;
}

bool viv_address_port_range(const struct viv_pattern *pattern, size_t i, struct viv_port_range *out)
{
    if (i >= pattern->count) return false;
    *out = range_at(pattern, i);
    return true;
}
