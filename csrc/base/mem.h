/* base/mem.h - the one door to private memory, so that tests can let it fail. */
#ifndef WR_BASE_MEM_H
#define WR_BASE_MEM_H

#include <stddef.h>

void *wr_alloc(size_t n);            /* zeroed; NULL when there is none */
void *wr_realloc(void *p, size_t n); /* new bytes are not zeroed; NULL leaves p as it was */
void wr_free(void *p);

/* Fails the n-th allocation from now (1 is the next), and with `persistent` all that follow.
 * 0 turns it off.  wr_mem_failures counts what was refused since. */
void wr_mem_fail_at(long n, int persistent);
long wr_mem_failures(void);

#endif
