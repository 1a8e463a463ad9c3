// SPDX-License-Identifier: Apache-2.0
// Arena: a list of chunks, taken from front to back.
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK_BYTES = 8192, ALIGN = 16 };

struct viv_mem_chunk {
    struct viv_mem_chunk *older;
    size_t cap_bytes; // of data
    _Alignas(ALIGN) char data[];
};

void viv_mem_init(struct viv_mem *mem, enum viv_tag tag)
{
    *mem = (struct viv_mem){.tag = tag};
}

static void free_chunks(struct viv_mem_chunk *chunk, enum viv_tag tag)
{
    while (chunk != NULL) {
        struct viv_mem_chunk *older = chunk->older;
        viv_free(chunk, sizeof *chunk + chunk->cap_bytes, tag);
        chunk = older;
    }
}

void viv_mem_deinit(struct viv_mem *mem)
{
    free_chunks(mem->newest, mem->tag);
    viv_mem_init(mem, mem->tag);
}

void viv_mem_reset(struct viv_mem *mem)
{
    mem->used_bytes = 0;
    if (mem->newest == NULL) return;
    free_chunks(mem->newest->older, mem->tag);
    mem->newest->older = NULL;
    if (mem->newest->cap_bytes > CHUNK_BYTES) viv_mem_deinit(mem); // an ordinary one is kept
}

void *viv_mem_try_take(struct viv_mem *mem, size_t size_bytes)
{
    if (size_bytes > SIZE_MAX / 2) return NULL;
    const size_t room = (size_bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    struct viv_mem_chunk *chunk = mem->newest;
    if (chunk == NULL || chunk->cap_bytes - mem->used_bytes < room) {
        const size_t cap = viv_max_u64(room, CHUNK_BYTES);
        chunk = viv_try_alloc(sizeof *chunk + cap, mem->tag);
        if (chunk == NULL) return NULL;
        *chunk = (struct viv_mem_chunk){.older = mem->newest, .cap_bytes = cap};
        mem->newest = chunk;
        mem->used_bytes = 0;
    }
    void *block = chunk->data + mem->used_bytes;
    mem->used_bytes += room;
    return block;
}

char *viv_mem_try_copy(struct viv_mem *mem, const void *data, size_t len_bytes)
{
    if (len_bytes == SIZE_MAX) return NULL;
    char *copy = viv_mem_try_take(mem, len_bytes + 1);
    if (copy == NULL) return NULL;
    if (len_bytes > 0) memcpy(copy, data, len_bytes);
    copy[len_bytes] = '\0';
    return copy;
}

char *viv_mem_try_printf(struct viv_mem *mem, size_t *out_len_bytes, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0) return NULL;
    char *text = viv_mem_try_take(mem, (size_t)len + 1);
    if (text == NULL) return NULL;
    va_start(args, fmt);
    (void)vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    if (out_len_bytes != NULL) *out_len_bytes = (size_t)len;
    return text;
}
