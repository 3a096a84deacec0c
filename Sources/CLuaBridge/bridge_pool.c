// The memory of Lua states: small blocks lie side by side, without what malloc keeps beside each of its own. Lua tells the size of what it
// frees, so that none is written down.
//
// Each state has lists of free blocks that only its thread touches. What they lack comes from chunks that all states share, a few blocks at a
// time, and what a state at rest doesn't use goes back there: loading a script takes as much again as the script keeps, in between
// it, and so the next state can have that. Where blocks are free side by side they are joined, and chunks that are free as a whole given
// back, when much of the chunks is free and when all states rest (`lnt_pool_tidy`).
//
//   Lua ── resize, free ──► lists and tail of the state ── refill ──► lists and tail of all ── malloc ──► chunks
//                                                       ◄─ share ──                        ◄── tidy ──

#include <stdlib.h>
#include <string.h>

#include "bridge_internal.h"

// A sanitizer or Valgrind has to see each block by itself.
#if __has_feature(address_sanitizer) || defined(LNT_PLAIN_MEMORY)
#define LNT_IS_PLAIN true
#else
#define LNT_IS_PLAIN false
#endif

// Nothing in Lua asks for more than a word's alignment.
#define WORD ((size_t)8)
#define SMALL (LNT_POOL_CLASSES * WORD)
// With malloc's own word before it, whole pages.
#define CHUNK (((size_t)16 << 10) - WORD)
// What a state is given at once, and what it keeps that it doesn't use.
#define SPAN ((size_t)1 << 10)
#define SPAN_BLOCKS 8
// The smallest piece that a block is cut for, in words: less would lie about.
#define SMALLEST_REST 4
#define LARGEST_STOCK ((size_t)256 << 10)
// How much more may be free in the chunks than was when they were last tidied.
#define LARGEST_UNTIDY ((size_t)4 << 20)

typedef struct chunk {
    struct chunk *next;
    size_t size;             // bytes after this
} chunk;

// What all states share.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static chunk *chunks;
static lnt_stock shared;
static size_t tidied;        // bytes free when it was last done

static unsigned class_of(size_t size) { return (unsigned)((size - 1) / WORD); }
static size_t size_of(unsigned class) { return (class + 1) * WORD; }

// ---- lists ----

static void put(lnt_stock *stock, void *block, unsigned class) {
    *(void **)block = stock->lists[class];
    stock->lists[class] = block;
    stock->filled |= (uint64_t)1 << class;
    stock->size += size_of(class);
}

static void *take(lnt_stock *stock, unsigned class) {
    void *block = stock->lists[class];
    stock->lists[class] = *(void **)block;
    if (!stock->lists[class]) stock->filled &= ~((uint64_t)1 << class);
    stock->size -= size_of(class);
    return block;
}

// Puts any number of words into the lists.
static void put_words(lnt_stock *stock, char *begin, size_t size) {
    for (; size > SMALL; begin += SMALL, size -= SMALL) put(stock, begin, LNT_POOL_CLASSES - 1);
    if (size) put(stock, begin, class_of(size));
}

static void set_tail(lnt_stock *stock, char *begin, size_t size) {
    put_words(stock, stock->tail, stock->tail_size);
    stock->size += size - stock->tail_size;
    stock->tail = begin;
    stock->tail_size = size;
}

static char *cut_tail(lnt_stock *stock, size_t size) {
    char *block = stock->tail;
    stock->tail += size;
    stock->tail_size -= size;
    stock->size -= size;
    return block;
}

// The class of the block to take for one of `class`; LNT_POOL_CLASSES when there is none. What is left of a larger one has to be of use.
static unsigned find_class(const lnt_stock *stock, unsigned class) {
    uint64_t fitting = stock->filled >> class;
    if (fitting & 1) return class;
    fitting = class + SMALLEST_REST < LNT_POOL_CLASSES ? fitting >> SMALLEST_REST : 0;
    return fitting ? class + SMALLEST_REST + (unsigned)__builtin_ctzll(fitting) : LNT_POOL_CLASSES;
}

// ---- from all to one ----

// Under the lock.
static void add_chunk(chunk *added, size_t size) {
    added->next = chunks;
    added->size = size;
    chunks = added;
}

// Gets blocks of a class, or larger; false when there is no memory.
static bool refill(lnt_stock *stock, unsigned class) {
    bool is_filled = true;
    pthread_mutex_lock(&lock);
    unsigned found = find_class(&shared, class);
    if (found == class) {
        for (int i = 0; i < SPAN_BLOCKS && shared.lists[class]; i++) put(stock, take(&shared, class), class);
    } else if (found < LNT_POOL_CLASSES) {
        put(stock, take(&shared, found), found);
    } else {
        if (shared.tail_size < size_of(class)) {
            chunk *added = malloc(CHUNK);
            if (added) {
                add_chunk(added, CHUNK - sizeof *added);
                set_tail(&shared, (char *)(added + 1), added->size);
            }
            is_filled = added;
        }
        if (is_filled) {
            size_t size = shared.tail_size < SPAN ? shared.tail_size : SPAN;
            set_tail(stock, cut_tail(&shared, size), size);
        }
    }
    pthread_mutex_unlock(&lock);
    return is_filled;
}

static void *new_block(lnt_stock *stock, unsigned class) {
    for (;;) {
        unsigned found = find_class(stock, class);
        if (found < LNT_POOL_CLASSES) {
            char *block = take(stock, found);
            if (found > class) put(stock, block + size_of(class), found - class - 1);
            return block;
        }
        if (stock->tail_size >= size_of(class)) return cut_tail(stock, size_of(class));
        if (!refill(stock, class)) return NULL;
    }
}

// ---- what Lua asks for ----

// A large block has room for a chunk's head beside the largest small one: see `shrink_large`.
static size_t large_size(size_t size) { return size < SMALL + sizeof(chunk) ? SMALL + sizeof(chunk) : size; }

static void free_small(lnt_stock *stock, void *block, unsigned class) {
    put(stock, block, class);
    if (stock->size > LARGEST_STOCK) lnt_pool_share(stock);
}

// Shrinking never fails: where there is no memory for a chunk the large block becomes one.
static void *shrink_large(lnt_stock *stock, void *block, size_t held, unsigned class, size_t size) {
    void *moved = new_block(stock, class);
    if (moved) {
        memcpy(moved, block, size);
        free(block);
        return moved;
    }
    chunk *added = block;
    memmove(added + 1, block, size);
    pthread_mutex_lock(&lock);
    add_chunk(added, (large_size(held) - sizeof *added) & ~(WORD - 1));
    pthread_mutex_unlock(&lock);
    set_tail(stock, (char *)(added + 1), added->size);
    return cut_tail(stock, size_of(class));
}

void *lnt_pool_resize(lnt_stock *stock, void *block, size_t held, size_t size) {
    if (LNT_IS_PLAIN) return realloc(block, size);
    if (!block) return size <= SMALL ? new_block(stock, class_of(size)) : malloc(large_size(size));
    if (held > SMALL) return size > SMALL ? realloc(block, large_size(size)) : shrink_large(stock, block, held, class_of(size), size);
    unsigned before = class_of(held), after = size <= SMALL ? class_of(size) : LNT_POOL_CLASSES;
    if (after == before) return block;
    if (after < before) {
        free_small(stock, (char *)block + size_of(after), before - after - 1);
        return block;
    }
    void *moved = size <= SMALL ? new_block(stock, after) : malloc(large_size(size));
    if (!moved) return NULL;
    memcpy(moved, block, held);
    free_small(stock, block, before);
    return moved;
}

void lnt_pool_free(lnt_stock *stock, void *block, size_t size) {
    if (LNT_IS_PLAIN || size > SMALL) free(block);
    else if (block) free_small(stock, block, class_of(size));
}

// ---- from one to all ----

static void tidy(void);

void lnt_pool_share(lnt_stock *stock) {
    if (!stock->size) return;
    put_words(stock, stock->tail, stock->tail_size);
    stock->size -= stock->tail_size;
    stock->tail_size = 0;
    void *last[LNT_POOL_CLASSES];
    for (uint64_t left = stock->filled; left; left &= left - 1) {
        unsigned class = (unsigned)__builtin_ctzll(left);
        last[class] = stock->lists[class];
        while (*(void **)last[class]) last[class] = *(void **)last[class];
    }
    pthread_mutex_lock(&lock);
    for (uint64_t left = stock->filled; left; left &= left - 1) {
        unsigned class = (unsigned)__builtin_ctzll(left);
        *(void **)last[class] = shared.lists[class];
        shared.lists[class] = stock->lists[class];
        stock->lists[class] = NULL;
    }
    shared.filled |= stock->filled;
    shared.size += stock->size;
    stock->filled = 0;
    stock->size = 0;
    if (shared.size > 2 * tidied + LARGEST_UNTIDY) tidy();
    pthread_mutex_unlock(&lock);
}

static int compare_chunks(const void *one, const void *other) {
    uintptr_t a = (uintptr_t)*(chunk *const *)one, b = (uintptr_t)*(chunk *const *)other;
    return (a > b) - (a < b);
}

// What is free, a bit for each word of each chunk.
typedef struct map {
    chunk **chunks;          // by address
    size_t *first;           // the number of each one's first word
    size_t count;
    uint64_t *bits;
} map;

static bool is_free(const map *map, size_t word) { return map->bits[word / 64] >> word % 64 & 1; }

static void mark_free(const map *map, const char *begin, size_t size) {
    // The last chunk that begins before it.
    size_t low = 0, high = map->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if ((uintptr_t)map->chunks[middle] < (uintptr_t)begin) low = middle; else high = middle;
    }
    size_t word = map->first[low] + (size_t)(begin - (const char *)(map->chunks[low] + 1)) / WORD;
    for (size_t end = word + size / WORD; word < end; word++) map->bits[word / 64] |= (uint64_t)1 << word % 64;
}

// Makes the map of the chunks with nothing free yet; false when there is no memory.
static bool open_map(map *map) {
    size_t words = 0;
    for (chunk *each = chunks; each; each = each->next) {
        map->count++;
        words += each->size / WORD;
    }
    if (!map->count) return false;
    map->chunks = malloc(map->count * sizeof *map->chunks);
    map->first = malloc(map->count * sizeof *map->first);
    map->bits = calloc(words / 64 + 1, sizeof *map->bits);
    if (!map->chunks || !map->first || !map->bits) return false;
    size_t number = 0, word = 0;
    for (chunk *each = chunks; each; each = each->next) map->chunks[number++] = each;
    qsort(map->chunks, map->count, sizeof *map->chunks, compare_chunks);
    for (size_t i = 0; i < map->count; word += map->chunks[i++]->size / WORD) map->first[i] = word;
    return true;
}

static void close_map(map *map) {
    free(map->chunks);
    free(map->first);
    free(map->bits);
}

// Puts what is free of a chunk into the lists, neighbours as one; returns false, and puts nothing, when all of it is.
static bool put_free(const map *map, size_t index) {
    chunk *of = map->chunks[index];
    size_t first = map->first[index], words = of->size / WORD;
    for (size_t begin = 0, end; begin < words; begin = end) {
        bool was_free = is_free(map, first + begin);
        for (end = begin + 1; end < words && is_free(map, first + end) == was_free;) end++;
        if (was_free && end - begin == words) return false;
        if (was_free) put_words(&shared, (char *)(of + 1) + begin * WORD, (end - begin) * WORD);
    }
    return true;
}

// Under the lock. Without memory for it the chunks stay as they are.
static void tidy(void) {
    map map = {0};
    if (open_map(&map)) {
        mark_free(&map, shared.tail, shared.tail_size);
        for (unsigned class = 0; class < LNT_POOL_CLASSES; class++) {
            for (char *block = shared.lists[class]; block; block = *(void **)block) mark_free(&map, block, size_of(class));
        }
        shared = (lnt_stock){0};
        chunks = NULL;
        for (size_t i = 0; i < map.count; i++) {
            if (put_free(&map, i)) add_chunk(map.chunks[i], map.chunks[i]->size); else free(map.chunks[i]);
        }
    }
    close_map(&map);
    tidied = shared.size;
}

void lnt_pool_tidy(void) {
    pthread_mutex_lock(&lock);
    tidy();
    pthread_mutex_unlock(&lock);
}
