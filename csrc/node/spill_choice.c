#include "node/spill_choice.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/status.h"
#include "node/node.h"

static void note_view(void *ctx, wr_idx idx) {
  node_views *views = ctx;
  if (wr_map32_put(&views->seen, idx + 1, 1) != WR_OK) views->unknown = 1;
}

void node_views_look(node_views *views, wr_seg *s) { wr_away_each_view(s, note_view, views); }

int node_views_has(const node_views *views, wr_idx idx) {
  return views->unknown || wr_map32_get(&views->seen, idx + 1) != NULL;
}

void node_views_free(node_views *views) { wr_map32_free(&views->seen); }

/* What has been made again for whiprayd will soon be the value of another object. */
static void note_candidate(void *ctx, const wr_spillable *s) {
  node_choice *c = ctx;
  if (node_views_has(&c->views, s->idx) || wr_obj(c->seg, s->idx)->creator == NODE_SLOT) return;
  wr_spillable *v = wr_vec_room(c->v, c->n, &c->cap, sizeof *v);
  if (!v) return;
  c->v = v;
  v[c->n] = *s;
  v[c->n++].touched = c->now - s->touched; /* its age */
}

static int oldest_first(const void *a, const void *b) {
  uint32_t x = ((const wr_spillable *)a)->touched, y = ((const wr_spillable *)b)->touched;
  return x < y ? 1 : x > y ? -1 : 0;
}

void node_choice_open(node_choice *c, wr_seg *s) {
  *c = (node_choice){.seg = s, .now = wr_load32(&s->h->births)};
  node_views_look(&c->views, s);
  wr_away_each(s, note_candidate, c);
  if (c->n) qsort(c->v, c->n, sizeof *c->v, oldest_first);
}

void node_choice_free(node_choice *c) {
  wr_free(c->v);
  node_views_free(&c->views);
}

static node_spilled spilled_of(const wr_seg *s, const wr_spillable *c) {
  return (node_spilled){.idx = c->idx, .gen = c->gen, .data = wr_at(s, c->off), .len = c->len};
}

void node_choice_take(const node_choice *c, const node_pieces *pieces, uint64_t bytes,
                      node_spilled *clean, size_t *nclean, node_spilled *dirty, size_t *ndirty) {
  uint64_t got = 0, batch = 0;
  *nclean = *ndirty = 0;
  for (uint32_t i = 0; i < c->n && got < bytes; i++) {
    const wr_spillable *s = &c->v[i];
    if (node_pieces_find(pieces, s->idx, s->gen)) {
      clean[(*nclean)++] = spilled_of(c->seg, s);
    } else if (batch == 0 || batch + s->len <= NODE_SPILL_BATCH) {
      dirty[(*ndirty)++] = spilled_of(c->seg, s);
      batch += s->len;
    } else {
      continue;
    }
    got += s->room;
  }
}

uint64_t node_choice_room(const node_choice *c) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < c->n; i++) sum += c->v[i].room;
  return sum;
}
