// SPDX-License-Identifier: Apache-2.0
// The proxy's thread: it polls a listener and up to PAIRS connections. The number of bytes until
// the cut is the only thing that it shares with the test, under a mutex.
#include "pg_proxy.h"

#include "harness/check.h"
#include "os/thread.h"
#include <libpq-fe.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PAIRS = 16, CHUNK = 4096, HOST = 128 };

struct pg_proxy {
    char host[HOST], port[16]; // the server's
    char folder[32];           // the proxy's
    int listener, stop[2];
    struct {
        int fds[PG_DIRECTIONS]; // where bytes of that direction go; -1: free
    } pairs[PAIRS];
    struct viv_thread *thread;
    struct viv_mutex mutex; // of all below
    int64_t left[PG_DIRECTIONS], passed[PG_DIRECTIONS];
    bool was_cut, is_held;
    uint64_t kill_nth; // 0: nobody
    int victim;
};

static struct sockaddr_un address_of(const char *folder, const char *port)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int len =
        snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.%s", folder, port);
    CHECK(len > 0 && (size_t)len < sizeof address.sun_path);
    return address;
}

static int connect_server(const struct pg_proxy *proxy)
{
    if (proxy->host[0] == '/') {
        const struct sockaddr_un address = address_of(proxy->host, proxy->port);
        const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0);
        CHECK(connect(fd, (const struct sockaddr *)&address, sizeof address) == 0);
        return fd;
    }
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    CHECK(getaddrinfo(proxy->host, proxy->port, &hints, &found) == 0);
    const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0);
    freeaddrinfo(found);
    return fd;
}

static void accept_one(struct pg_proxy *proxy)
{
    const int fd = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
    CHECK(fd >= 0);
    viv_mutex_lock(&proxy->mutex);
    const bool is_refused = proxy->is_held && proxy->was_cut;
    viv_mutex_unlock(&proxy->mutex);
    if (is_refused) {
        (void)close(fd);
        return;
    }
    for (size_t i = 0; i < PAIRS; i++) {
        if (proxy->pairs[i].fds[PG_TO_CLIENT] >= 0) continue;
        proxy->pairs[i].fds[PG_TO_CLIENT] = fd;
        proxy->pairs[i].fds[PG_TO_SERVER] = connect_server(proxy);
        return;
    }
    check_fail(__FILE__, __LINE__, "more connections than the proxy has room for");
}

static void close_pair(struct pg_proxy *proxy, size_t pair)
{
    for (int i = 0; i < PG_DIRECTIONS; i++) {
        if (proxy->pairs[pair].fds[i] >= 0) (void)close(proxy->pairs[pair].fds[i]);
        proxy->pairs[pair].fds[i] = -1;
    }
}

// How many of the bytes may go; *out_is_cut: and no more.
static size_t allow(struct pg_proxy *proxy, enum pg_direction direction, size_t len,
                    bool *out_is_cut)
{
    viv_mutex_lock(&proxy->mutex);
    if (proxy->kill_nth > 0 && --proxy->kill_nth == 0) CHECK(kill(proxy->victim, SIGKILL) == 0);
    int64_t *left = &proxy->left[direction];
    *out_is_cut = *left >= 0 && (size_t)*left <= len;
    if (*out_is_cut) {
        len = (size_t)*left;
        *left = -1;
        proxy->was_cut = true;
    } else if (*left >= 0) {
        *left -= (int64_t)len;
    }
    proxy->passed[direction] += (int64_t)len;
    viv_mutex_unlock(&proxy->mutex);
    return len;
}

static void forward(struct pg_proxy *proxy, size_t pair, enum pg_direction direction)
{
    char chunk[CHUNK];
    bool is_cut = true;
    const int *fds = proxy->pairs[pair].fds;
    const ssize_t got = recv(fds[1 - (int)direction], chunk, sizeof chunk, 0);
    if (got > 0) {
        const size_t len = allow(proxy, direction, (size_t)got, &is_cut);
        if (send(fds[direction], chunk, len, MSG_NOSIGNAL) != (ssize_t)len) is_cut = true;
    }
    if (is_cut) close_pair(proxy, pair);
}

static void run_proxy(void *arg)
{
    struct pg_proxy *proxy = arg;
    for (;;) {
        struct pollfd fds[2 + 2 * PAIRS] = {{.fd = proxy->stop[0], .events = POLLIN},
                                            {.fd = proxy->listener, .events = POLLIN}};
        for (size_t i = 0; i < PAIRS; i++)
            for (size_t j = 0; j < PG_DIRECTIONS; j++) // what goes one way comes from the other
                fds[2 + 2 * i + j] =
                    (struct pollfd){.fd = proxy->pairs[i].fds[1 - j], .events = POLLIN};
        if (poll(fds, VIV_COUNT_OF(fds), -1) < 0) continue;
        if (fds[0].revents != 0) return;
        for (size_t i = 0; i < PAIRS; i++)
            for (size_t j = 0; j < PG_DIRECTIONS; j++)
                if (fds[2 + 2 * i + j].revents != 0 && proxy->pairs[i].fds[0] >= 0)
                    forward(proxy, i, (enum pg_direction)j);
        if (fds[1].revents != 0) accept_one(proxy);
    }
}

// Where the library would go.
static void find_server(struct pg_proxy *proxy, const char *url)
{
    char plain[RIG_URL_BYTES];
    rig_plain_url(url, plain);
    PGconn *handle = PQconnectdb(plain);
    CHECK(PQstatus(handle) == CONNECTION_OK);
    CHECK((size_t)snprintf(proxy->host, HOST, "%s", PQhost(handle)) < HOST);
    (void)snprintf(proxy->port, sizeof proxy->port, "%s", PQport(handle));
    PQfinish(handle);
}

struct pg_proxy *pg_proxy_start(const char *url, char out_url[RIG_URL_BYTES])
{
    struct pg_proxy *proxy = calloc(1, sizeof *proxy);
    CHECK(proxy != NULL);
    find_server(proxy, url);
    viv_mutex_init(&proxy->mutex);
    for (size_t i = 0; i < PAIRS; i++)
        proxy->pairs[i].fds[0] = proxy->pairs[i].fds[1] = -1;
    proxy->left[0] = proxy->left[1] = -1;
    (void)snprintf(proxy->folder, sizeof proxy->folder, "/tmp/viv-cut-XXXXXX");
    CHECK(mkdtemp(proxy->folder) != NULL);
    const struct sockaddr_un address = address_of(proxy->folder, "5432");
    proxy->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(proxy->listener, (const struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(proxy->listener, PAIRS) == 0 && pipe(proxy->stop) == 0);
    CHECK(viv_thread_start("proxy", 0, run_proxy, proxy, &proxy->thread) == VIV_OK);
    // The last value of a name holds.
    (void)snprintf(out_url, RIG_URL_BYTES, "%s&host=%s&port=5432&sslmode=disable", url,
                   proxy->folder);
    return proxy;
}

bool pg_proxy_was_cut(struct pg_proxy *proxy)
{
    viv_mutex_lock(&proxy->mutex);
    const bool was_cut = proxy->was_cut;
    viv_mutex_unlock(&proxy->mutex);
    return was_cut;
}

void pg_proxy_kill(struct pg_proxy *proxy, int os_pid, uint64_t nth)
{
    viv_mutex_lock(&proxy->mutex);
    proxy->victim = os_pid;
    proxy->kill_nth = nth;
    viv_mutex_unlock(&proxy->mutex);
}

void pg_proxy_hold(struct pg_proxy *proxy, bool is_on)
{
    viv_mutex_lock(&proxy->mutex);
    proxy->is_held = is_on;
    viv_mutex_unlock(&proxy->mutex);
}

bool pg_proxy_cut(struct pg_proxy *proxy, enum pg_direction direction, int64_t after_bytes,
                  int64_t *out_passed)
{
    viv_mutex_lock(&proxy->mutex);
    const bool was_cut = proxy->was_cut;
    if (out_passed != NULL) *out_passed = proxy->passed[direction];
    proxy->passed[PG_TO_SERVER] = proxy->passed[PG_TO_CLIENT] = 0;
    proxy->was_cut = false;
    proxy->left[PG_TO_SERVER] = proxy->left[PG_TO_CLIENT] = -1;
    proxy->left[direction] = after_bytes;
    viv_mutex_unlock(&proxy->mutex);
    return was_cut;
}

void pg_proxy_stop(struct pg_proxy *proxy)
{
    const struct sockaddr_un address = address_of(proxy->folder, "5432");
    CHECK(write(proxy->stop[1], "", 1) == 1);
    viv_thread_join(proxy->thread);
    for (size_t i = 0; i < PAIRS; i++)
        close_pair(proxy, i);
    (void)close(proxy->listener);
    (void)close(proxy->stop[0]);
    (void)close(proxy->stop[1]);
    CHECK(unlink(address.sun_path) == 0 && rmdir(proxy->folder) == 0);
    free(proxy);
}
