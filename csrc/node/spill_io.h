/* node/spill_io.h - how values lie in a file, and the reading and writing of it.
 *
 * Runs on threads (node/errand.h) and touches nothing but what it is given: memory of sealed
 * values, which may turn into something else under a write (then nobody wants what was written),
 * and files of this daemon.
 *
 * A file holds one or more values, each behind a head that names it and has a checksum. */
#ifndef WR_NODE_SPILL_IO_H
#define WR_NODE_SPILL_IO_H

#include <stddef.h>

#include "shm/layout.h"

typedef struct {
  wr_idx idx;
  uint32_t gen;
  const uint8_t *data;
  uint64_t len;
  uint64_t at; /* of its head, in the file; set by the write */
} node_spilled;

typedef struct {
  const uint8_t *session; /* 16 bytes, so that no other session's file is taken for one of ours */
  wr_a32 *steps;          /* moved as the work gets on; may be NULL */
  wr_a32 *stop;           /* not 0: give up */
} node_spill_ctx;

/* Makes the file and writes the n values.  On failure there is no file, and *error is the errno. */
int node_spill_write(const node_spill_ctx *cx, const char *path, node_spilled *v, size_t n,
                     int *error);
/* Reads v->len bytes to dst.  WR_LOST: what stands there is not this value; WR_IO: there was no
 * descriptor or no memory to look. */
int node_spill_read(const node_spill_ctx *cx, const char *path, const node_spilled *v,
                    uint8_t *dst);

#endif
