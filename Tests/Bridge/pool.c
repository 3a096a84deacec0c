// Takes, resizes and frees blocks of the states' memory (bridge_pool.c) by chance, several threads at once, and looks whether each block
// holds what was written into it; then whether all of it can be given back.
// usage: pool STEPS    says nothing when all is well
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge_internal.h"

enum { THREADS = 4, BLOCKS = 4000 };

typedef struct block {
	unsigned char *begin;
	size_t size;
	unsigned char mark;
} block;

typedef struct job {
	unsigned seed;
	long steps;
} job;

static void check(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "pool: %s\n", what);
	abort();
}

// Mostly of Lua's sizes, now and then large.
static size_t some_size(unsigned *seed)
{
	switch (rand_r(seed) % 16) {
	case 0: return 1 + (size_t)rand_r(seed) % 20000;
	case 1: case 2: return 1 + (size_t)rand_r(seed) % 700;
	default: return 1 + (size_t)rand_r(seed) % 96;
	}
}

static void check_mark(const block *of, size_t size)
{
	for (size_t i = 0; i < size; i++)
		check(of->begin[i] == of->mark, "a block was written over");
}

static void resize(lnt_stock *stock, block *of, size_t size, unsigned char mark)
{
	unsigned char *moved = lnt_pool_resize(stock, of->begin, of->size, size);
	check(moved != NULL, "no memory");
	check((size_t)moved % 8 == 0, "a block isn't aligned");
	of->begin = moved;
	if (of->size)
		check_mark(of, of->size < size ? of->size : size);
	of->size = size;
	of->mark = mark;
	memset(moved, mark, size);
}

static void drop(lnt_stock *stock, block *of)
{
	if (!of->begin)
		return;
	check_mark(of, of->size);
	lnt_pool_free(stock, of->begin, of->size);
	*of = (block){0};
}

static void *run(void *context)
{
	job what = *(job *)context;
	lnt_stock stock = {0};
	block *blocks = calloc(BLOCKS, sizeof *blocks);
	check(blocks != NULL, "no memory");
	for (long step = 0; step < what.steps; step++) {
		block *of = &blocks[rand_r(&what.seed) % BLOCKS];
		if (rand_r(&what.seed) % 3 == 0)
			drop(&stock, of);
		else
			resize(&stock, of, some_size(&what.seed), (unsigned char)rand_r(&what.seed));
		if (step % 50000 == 49999)
			lnt_pool_share(&stock);
		if (step % 400000 == 399999)
			lnt_pool_tidy();
	}
	for (int i = 0; i < BLOCKS; i++)
		drop(&stock, &blocks[i]);
	lnt_pool_share(&stock);
	check(stock.size == 0 && stock.filled == 0, "something is left of a stock that was shared");
	free(blocks);
	return NULL;
}

int main(int argc, char **argv)
{
	long steps = argc > 1 ? atol(argv[1]) : 1000000;
	pthread_t threads[THREADS];
	job jobs[THREADS];
	// What threads cost is there before it is counted.
	size_t before = 0;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < THREADS; i++) {
			jobs[i] = (job){.seed = (unsigned)(round * THREADS + i + 1), .steps = round ? steps : 1000};
			check(pthread_create(&threads[i], NULL, run, &jobs[i]) == 0, "no thread");
		}
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		lnt_pool_tidy();
		if (!round)
			before = mallinfo2().uordblks;
	}
	// malloc keeps a little for each thread; a chunk is more.
	check(mallinfo2().uordblks < before + 15000, "memory is kept that nobody has");
	return 0;
}
