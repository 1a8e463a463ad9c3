// SPDX-License-Identifier: Apache-2.0
// SQLite's memory is ours (tag SQLITE), so that it is counted and tests can make it fail.
#include "store/sqlite/memory.h"

#include "base/alloc.h"
#include <string.h>

enum { SIZE_ROOM = 16 }; // the size stands before a block, which the library asks for

static void *take(int size_bytes)
{
    const size_t whole = (size_t)size_bytes + SIZE_ROOM;
    size_t *block = viv_try_alloc(whole, VIV_TAG_SQLITE);
    if (block == NULL) return NULL;
    *block = whole;
    return (char *)block + SIZE_ROOM;
}

static size_t *block_of(void *data)
{
    return (size_t *)(void *)((char *)data - SIZE_ROOM);
}

static void give(void *data)
{
    if (data != NULL) viv_free(block_of(data), *block_of(data), VIV_TAG_SQLITE);
}

static void *change(void *data, int size_bytes)
{
    const size_t whole = (size_t)size_bytes + SIZE_ROOM;
    size_t *block = viv_try_realloc(block_of(data), *block_of(data), whole, VIV_TAG_SQLITE);
    if (block == NULL) return NULL;
    *block = whole;
    return (char *)block + SIZE_ROOM;
}

static int size_of(void *data)
{
    return data == NULL ? 0 : (int)(*block_of(data) - SIZE_ROOM);
}

static int round_up(int size_bytes)
{
    return (size_bytes + 7) & ~7;
}

static int start(void *arg)
{
    (void)arg;
    return SQLITE_OK;
}

static void stop(void *arg)
{
    (void)arg;
}

const sqlite3_mem_methods viv_sqlite_memory = {.xMalloc = take,
                                               .xFree = give,
                                               .xRealloc = change,
                                               .xSize = size_of,
                                               .xRoundup = round_up,
                                               .xInit = start,
                                               .xShutdown = stop};
