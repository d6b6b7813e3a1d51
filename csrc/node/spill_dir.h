/* node/spill_dir.h - the directory for values on disk: one in the session's own, or one that was
 * asked for.  Made when the first value needs it, removed with whiprayd. */
#ifndef WR_NODE_SPILL_DIR_H
#define WR_NODE_SPILL_DIR_H

#include "node/config.h"
#include "node/pieces.h"

typedef struct {
  char base[160]; /* where it is, if that is apart from the session's directory; "" */
  int made;
  int lock_fd;     /* of a file there that is locked while we live; -1 */
  double capacity; /* the disk counts as full beyond this share */
} node_spill_dir;

/* Writes its path to pieces->dir, and removes there what the daemons of dead sessions have left. */
void node_spill_dir_open(node_spill_dir *d, node_pieces *pieces, const node_config *cfg,
                         const char *session_dir);
/* Makes it if need be.  WR_IO with errno: nothing can be written there now. */
int node_spill_dir_check(node_spill_dir *d, const node_pieces *pieces);
void node_spill_dir_close(node_spill_dir *d, const node_pieces *pieces);

#endif
