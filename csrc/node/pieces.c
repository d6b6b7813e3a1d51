#include "node/pieces.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "os/files.h"

node_file *node_file_new(node_pieces *p) {
  node_file *f = wr_alloc(sizeof *f);
  if (!f) return NULL;
  *f = (node_file){.number = ++p->numbers, .users = 1};
  p->nfiles++;
  return f;
}

void node_file_path(const node_pieces *p, const node_file *f, char out[NODE_FILE_PATH]) {
  snprintf(out, NODE_FILE_PATH, "%s/%llu", p->dir, (unsigned long long)f->number);
}

void node_file_release(node_pieces *p, node_file *f) {
  if (--f->users) return;
  char path[NODE_FILE_PATH];
  node_file_path(p, f, path);
  wr_os_remove_file(path);
  p->nfiles--;
  wr_free(f);
}

static int grow(node_pieces *p) {
  node_piece *v = wr_vec_room(p->v, p->n, &p->cap, sizeof *v);
  if (v) p->v = v;
  return v ? WR_OK : WR_NOMEM;
}

static void drop(node_pieces *p, uint32_t at) {
  node_piece gone = p->v[at];
  uint32_t *where = wr_map32_get(&p->where, gone.idx + 1);
  if (where && *where == at) wr_map32_del(&p->where, gone.idx + 1);
  p->bytes -= gone.len;
  p->v[at] = p->v[--p->n];
  if (at < p->n) *wr_map32_get(&p->where, p->v[at].idx + 1) = at;
  node_file_release(p, gone.file);
  if (gone.refs) wr_away_forget(p->me, &gone.refs);
}

int node_pieces_add(node_pieces *p, const node_piece *piece) {
  uint32_t *old = wr_map32_get(&p->where, piece->idx + 1); /* of the record's last object */
  if (old) drop(p, *old);
  int rc = grow(p);
  if (rc == WR_OK) rc = wr_map32_put(&p->where, piece->idx + 1, p->n);
  if (rc != WR_OK) return rc;
  p->v[p->n++] = *piece;
  piece->file->users++;
  p->bytes += piece->len;
  return WR_OK;
}

node_piece *node_pieces_find(const node_pieces *p, wr_idx idx, uint32_t gen) {
  const uint32_t *at = wr_map32_get(&p->where, idx + 1);
  return at && p->v[*at].gen == gen ? &p->v[*at] : NULL;
}

void node_pieces_forget(node_pieces *p, wr_idx idx, uint32_t gen) {
  node_piece *piece = node_pieces_find(p, idx, gen);
  if (piece) drop(p, (uint32_t)(piece - p->v));
}

void node_pieces_review(node_pieces *p, int (*keep)(void *ctx, const node_piece *piece),
                        void *ctx) {
  for (uint32_t i = p->n; i-- > 0;)
    if (!keep(ctx, &p->v[i])) drop(p, i);
}

void node_pieces_free(node_pieces *p) {
  for (uint32_t i = 0; i < p->n; i++) {
    wr_free(p->v[i].refs);
    if (--p->v[i].file->users == 0) wr_free(p->v[i].file);
  }
  wr_free(p->v);
  wr_map32_free(&p->where);
}
