// SPDX-License-Identifier: Apache-2.0
// Files of a spill with any content, raw or packed: read to their end, and nothing beyond it.
#include "fuzz.h"

#include "base/buf.h"
#include "harness/check.h"
#include "native/spill.h"
#include "native/spill_pack.h"
#include "os/file.h"
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX = 256 };

// What is whole stays, and is written on.
static void take_up(const struct viv_spill_config *config, bool packed, const uint8_t *data,
                    size_t size)
{
    struct viv_spill spill;
    struct stat stat;
    uint64_t offsets[2];
    viv_spill_init(&spill, config);
    if (viv_spill_resume(&spill, offsets) < 0) return;
    CHECK(spill.oldest == 1 && spill.newest == 1);
    if (!packed) {
        CHECK(spill.size_bytes == viv_spill_whole(data, size));
        CHECK(viv_os_fstat(spill.fd, &stat) >= 0 && (size_t)stat.st_size == spill.size_bytes);
    }
    CHECK(viv_spill_close(&spill) >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 65536) return 0;
    const bool packed = (data[0] & 1) != 0;
    const char *name = packed ? "0123456789abcdef.000001.zst" : "0123456789abcdef.000001";
    CHECK(viv_spill_whole(data + 1, size - 1) <= size - 1);
    const int fd = viv_os_openat(AT_FDCWD, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    CHECK(viv_os_write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
    viv_os_close(fd);
    const struct viv_spill_config config = {.dir_fd = AT_FDCWD, .digest = "0123456789abcdef"};
    for (uint32_t stream = 1; stream <= 2; stream++) {
        uint64_t offset = 0;
        for (int i = 0; i < 64; i++) {
            uint8_t out[MAX];
            struct viv_spill_piece piece;
            const struct viv_spill_place place = {1, 1, stream, offset};
            if (viv_spill_read(&config, &place, out, sizeof out, &piece) < 0) break;
            CHECK(piece.len <= sizeof out && piece.offset >= offset);
            if (piece.len == 0) break;
            offset = piece.offset + piece.len;
        }
    }
    take_up(&config, packed, data + 1, size - 1);
    (void)unlink(name);
    return 0;
}
