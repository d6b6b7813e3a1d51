/* node/pieces.h - which value lies where on disk.  A file goes with the last of its values. */
#ifndef WR_NODE_PIECES_H
#define WR_NODE_PIECES_H

#include <stddef.h>

#include "base/vec.h"
#include "shm/layout.h"
#include "store/away.h"

typedef struct {
  uint64_t number;
  uint32_t users; /* values that are wanted, and reads under way */
} node_file;

typedef struct {
  wr_idx idx;
  uint32_t gen;
  uint64_t at, len;
  node_file *file;
  wr_away_refs *refs; /* while the value is away; NULL: it refers to nothing, or is not away */
} node_piece;

typedef struct {
  char dir[320]; /* of the files */
  node_piece *v;
  uint32_t n, cap, nfiles;
  wr_map32 where; /* idx + 1 -> position in v */
  uint64_t numbers; /* of files made so far */
  uint64_t bytes;   /* of all values that are wanted */
  wr_self *me;      /* whiprayd's, which holds what the values refer to */
} node_pieces;

#define NODE_FILE_PATH 352
node_file *node_file_new(node_pieces *p); /* one user; NULL: no memory */
void node_file_path(const node_pieces *p, const node_file *f, char out[NODE_FILE_PATH]);
void node_file_release(node_pieces *p, node_file *f); /* the last user removes it */

int node_pieces_add(node_pieces *p, const node_piece *piece); /* one user more of its file */
node_piece *node_pieces_find(const node_pieces *p, wr_idx idx, uint32_t gen); /* or NULL */
void node_pieces_forget(node_pieces *p, wr_idx idx, uint32_t gen); /* if it is there */
/* Drops those for which keep() is 0. */
void node_pieces_review(node_pieces *p, int (*keep)(void *ctx, const node_piece *piece), void *ctx);
void node_pieces_free(node_pieces *p); /* the files stay: their directory goes as a whole */

#endif
