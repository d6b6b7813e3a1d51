/* node/spill_choice.h - which values may go to disk, and which of them go first.
 *
 * A choice is a look at the segment at one moment: nobody is kept from viewing a value that is in
 * it, so who lets values leave asks for the views again (store/away.h). */
#ifndef WR_NODE_SPILL_CHOICE_H
#define WR_NODE_SPILL_CHOICE_H

#include "base/vec.h"
#include "node/pieces.h"
#include "node/spill_io.h"
#include "store/away.h"

#define NODE_SPILL_BATCH (UINT64_C(64) << 20) /* bytes for one file, unless one value has more */

typedef struct {
  wr_map32 seen;
  int unknown; /* there was no memory to note them all: each may be one */
} node_views;

void node_views_look(node_views *views, wr_seg *s); /* notes all values that are viewed */
int node_views_has(const node_views *views, wr_idx idx);
void node_views_free(node_views *views);

/* The candidates, those first that were made or looked at least recently. */
typedef struct {
  wr_seg *seg;
  wr_spillable *v;
  uint32_t n, cap;
  uint32_t now;
  node_views views;
} node_choice;

void node_choice_open(node_choice *c, wr_seg *s);
/* The first that make up `bytes`: those whose bytes are on disk already to clean[], the others, no
 * more than a batch, to dirty[].  Both have room for all candidates. */
void node_choice_take(const node_choice *c, const node_pieces *pieces, uint64_t bytes,
                      node_spilled *clean, size_t *nclean, node_spilled *dirty, size_t *ndirty);
uint64_t node_choice_room(const node_choice *c); /* bytes that all of them would leave */
void node_choice_free(node_choice *c);

#endif
