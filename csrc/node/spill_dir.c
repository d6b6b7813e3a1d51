#include "node/spill_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "node/node.h"
#include "os/files.h"
#include "os/os.h"

static double capacity(void) {
  const char *text = getenv("RAY_local_fs_capacity_threshold");
  double share = text ? atof(text) : 0;
  return share > 0 && share <= 1 ? share : 0.95;
}

/* Spilling to the directory for unix sockets would be no relief where that is in memory. */
static const char *elsewhere(const node_config *cfg, const char *session_dir) {
  if (cfg->spill_dir.len > 1) return node_text(&cfg->spill_dir);
  return getenv("XDG_RUNTIME_DIR") && strncmp(session_dir, "/run/", 5) == 0 ? "/tmp" : NULL;
}

void node_spill_dir_open(node_spill_dir *d, node_pieces *pieces, const node_config *cfg,
                         const char *session_dir) {
  const char *name = strrchr(session_dir, '/'), *top = elsewhere(cfg, session_dir);
  *d = (node_spill_dir){.lock_fd = -1, .capacity = capacity()};
  if (!top) {
    snprintf(pieces->dir, sizeof pieces->dir, "%s/spill", session_dir);
    return;
  }
  snprintf(d->base, sizeof d->base, "%s/whipray-%u", top, wr_os_uid());
  snprintf(pieces->dir, sizeof pieces->dir, "%s%s", d->base, name ? name : "/session");
  node_clean_stale_in(d->base, pieces->dir);
}

static int make(node_spill_dir *d, const char *path) {
  char lock[360];
  if (d->made) return WR_OK;
  if (d->base[0] && wr_os_private_dir(d->base) != WR_OK) return WR_IO;
  if (wr_os_private_dir(path) != WR_OK) return WR_IO;
  if (d->base[0]) {
    snprintf(lock, sizeof lock, "%s/pid", path);
    d->lock_fd = wr_os_lock_file(lock, 1);
  }
  d->made = 1;
  return WR_OK;
}

int node_spill_dir_check(node_spill_dir *d, const node_pieces *pieces) {
  uint64_t room, all;
  int rc = make(d, pieces->dir);
  if (rc == WR_OK) rc = wr_os_disk_room(pieces->dir, &room, &all);
  if (rc == WR_OK && all && 1.0 - (double)room / (double)all > d->capacity) rc = wr_os_disk_full();
  return rc;
}

void node_spill_dir_close(node_spill_dir *d, const node_pieces *pieces) {
  if (d->made && d->base[0]) wr_os_remove_tree(pieces->dir);
  wr_os_close(d->lock_fd);
}
