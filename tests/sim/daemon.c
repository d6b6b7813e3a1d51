/* The daemon of a simulation: deaths, kills, values that leave memory and come back, or do not. */
#include <stdlib.h>

#include "sched/actor_end.h"
#include "sched/group_end.h"
#include "sim.h"
#include "store/away.h"

enum { FILES = 64 };

static uint32_t doomed[WR_MAX_PROCS], ndoomed; /* slots that a sweep asks to be killed */

/* ---- values on disk -------------------------------------------------------------------------- */

static struct {
  wr_id id;
  uint64_t len;
  uint8_t *bytes;
  wr_away_refs *refs;
} files[FILES];
static uint32_t nfiles;

static struct {
  wr_spillable v[FILES];
  uint32_t n;
} leaving;

static void drop_file(session *x, uint32_t k) {
  wr_away_refs *refs = files[k].refs;
  free(files[k].bytes);
  files[k] = files[--nfiles];
  if (refs) wr_away_forget(&x->sweeper.self, &refs);
}

/* Of objects that have been freed meanwhile. */
static void drop_files(session *x) {
  for (uint32_t k = nfiles; k-- > 0;)
    if (!wr_away_wanted(&x->seg, files[k].id.idx, files[k].id.gen)) drop_file(x, k);
}

static void begin_leaving(void *ctx, const wr_spillable *v) {
  session *x = ctx;
  if (leaving.n + nfiles < FILES && sim_pick(2) && wr_away_begin(&x->seg, v->idx, v->gen))
    leaving.v[leaving.n++] = *v;
}

static void note_view(void *ctx, wr_idx idx) {
  session *x = ctx;
  for (uint32_t k = 0; k < leaving.n; k++) {
    if (leaving.v[k].idx != idx) continue;
    wr_away_stay(&x->sweeper.self, idx, leaving.v[k].gen);
    leaving.v[k--] = leaving.v[--leaving.n];
  }
}

static void spill(session *x) {
  leaving.n = 0;
  wr_away_each(&x->seg, begin_leaving, x);
  wr_away_settle();
  wr_away_each_view(&x->seg, note_view, x);
  for (uint32_t k = 0; k < leaving.n; k++) {
    wr_spillable *v = &leaving.v[k];
    uint8_t *bytes = malloc(v->len);
    CHECK(bytes != NULL);
    memcpy(bytes, wr_at(&x->seg, v->off), v->len);
    files[nfiles].id = (wr_id){v->idx, v->gen};
    files[nfiles].len = v->len;
    files[nfiles].bytes = bytes;
    CHECK_EQ(wr_away_leave(&x->sweeper.self, v->idx, v->gen, &files[nfiles++].refs), WR_OK);
  }
}

static void bring_back(session *x) {
  uint8_t *dst;
  if (!nfiles) return;
  uint32_t k = sim_pick(nfiles);
  wr_id id = files[k].id;
  int rc = wr_away_return(&x->sweeper.self, id.idx, id.gen, files[k].len, files[k].refs,
                          &dst);
  if (rc == WR_OK) {
    memcpy(dst, files[k].bytes, files[k].len);
    wr_away_arrive(&x->sweeper.self, id.idx, id.gen, WR_IN_MEMORY, &files[k].refs);
  }
  if (rc == WR_OK || rc == WR_STALE) drop_file(x, k);
}

static void lose(session *x) {
  if (!nfiles) return;
  uint32_t k = sim_pick(nfiles);
  if (sim_lose(x, files[k].id.idx, files[k].id.gen)) drop_file(x, k);
}

/* ---- deaths ---------------------------------------------------------------------------------- */

static void on_kill(void *ctx, uint32_t slot, const char *reason) {
  (void)ctx;
  CHECK(reason && reason[0]);
  if (ndoomed < WR_MAX_PROCS) doomed[ndoomed++] = slot;
}

/* One that is in somebody's hands stays doomed until the end. */
static void end_group(session *x, uint32_t idx, uint32_t gen) {
  (void)wr_group_doom(&x->seg, idx, gen);
  if (wr_group_clear(&x->sweeper, idx, gen) == WR_OK) wr_groups_finish(&x->sweeper.self, idx);
}

static void bury(session *x, sim_proc *p) {
  wr_death why = {.wait_status = 9, .pid = 4711};
  uint32_t slot = p->slot;
  session_drop(x, slot);
  p->c = NULL;
  session_mark_dead(x, slot);
  if (!p->worker && sim_pick(2)) CHECK_EQ(wr_sweep_job(&x->sweeper, slot), WR_OK);
  CHECK_EQ(wr_sweep_slot(&x->sweeper, slot, &why), WR_OK);
  for (uint32_t k = 0; k < p->ngroups; k++) end_group(x, p->groups[k].idx, p->groups[k].gen);
  session_free_slot(x, slot);
}

static void bury_doomed(session *x) {
  while (ndoomed) {
    uint32_t slot = doomed[--ndoomed];
    for (uint32_t i = 0; i < SIM_PROCS; i++)
      if (sim_procs[i].c && sim_procs[i].slot == slot) bury(x, &sim_procs[i]);
  }
}

void sim_die(sim_proc *p) {
  bury(&sim_session, p);
  bury_doomed(&sim_session);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void kill_actor(session *x, uint32_t idx, int no_restart) {
  uint32_t gen = WR_ACTOR_GEN(wr_load(&x->seg.actors[idx].state));
  uint32_t slot = wr_actor_kill(&x->sweeper, idx, gen, no_restart);
  if (slot) on_kill(x, slot, "killed");
  bury_doomed(x);
}

/* The pool says that it has asked. */
static void on_want(void *ctx, uint32_t pool) { (void)ctx, (void)pool; }

void sim_daemon_begin(void) {
  sim_session.sweeper.kill_process = on_kill;
  sim_session.sweeper.self.want = on_want;
  ndoomed = 0;
  sim_lost_begin();
  while (nfiles) drop_file(&sim_session, 0);
}

void sim_daemon_act(void) {
  session *x = &sim_session;
  uint32_t nactors = wr_load32(&x->seg.h->nactors);
  drop_files(x);
  switch (sim_pick(8)) {
    case 0:
      if (nactors) kill_actor(x, sim_pick(nactors), (int)sim_pick(2));
      break;
    case 1:
    case 2: spill(x); break;
    case 3: bring_back(x); break;
    case 4: sim_look_at_lineage(x, !sim_pick(4)); break;
    default: lose(x); break;
  }
  sim_remake(x);
}

void sim_daemon_end(void) {
  session *x = &sim_session;
  for (uint32_t i = 0; i < wr_load32(&x->seg.h->nactors); i++) kill_actor(x, i, 1);
  for (uint32_t i = 0; i < wr_load32(&x->seg.h->ngroups); i++)
    end_group(x, i, WR_GROUP_GEN(wr_load(&x->seg.groups[i].state)));
  sim_lost_end(x);
  for (uint32_t before = nfiles + 1; nfiles < before;) { /* what lay in one may be in another */
    before = nfiles;
    drop_files(x);
    sim_look_at_lineage(x, 0);
  }
}
