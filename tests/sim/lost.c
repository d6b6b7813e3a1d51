/* Values that are lost, and computed again by copies of their tasks: what node/remake.c does, with
 * the files of daemon.c and without a loop. */
#include "sched/lineage.h"
#include "sched/remake.h"
#include "sched/task.h"
#include "sim.h"
#include "store/away.h"
#include "store/refs.h"

enum { COPIES = 32, RETURNS = 4 };

/* The task is held; its copy has the daemon's references. */
typedef struct {
  wr_idx task, out[RETURNS];
  uint32_t gens[RETURNS]; /* of the task's own returns */
  uint32_t n;
  int submitted;
} copy;
static copy copies[COPIES];
static uint32_t ncopies;

void sim_lost_begin(void) { ncopies = 0; }

static int runs(wr_idx task) {
  for (uint32_t k = 0; k < ncopies; k++)
    if (copies[k].task == task) return 1;
  return 0;
}

static int begin(session *x, wr_idx task) {
  wr_self *me = &x->sweeper.self;
  wr_task *t = wr_task_at(&x->seg, task);
  copy m = {.task = task, .n = wr_remake_returns(&x->seg, task)};
  if (ncopies == COPIES || m.n > RETURNS || t->retries == 0) return WR_LIMIT;
  for (uint32_t k = 0; k < m.n; k++) {
    wr_idx own = wr_lineage_return(&x->seg, task, k);
    m.gens[k] = own ? wr_gen_of(&x->seg, own) : 0;
  }
  int rc = wr_hold_take(me, task, wr_gen_of(&x->seg, task), NULL);
  if (rc != WR_OK) return rc;
  if (t->retries > 0) t->retries--;
  rc = wr_remake_build(me, task, m.out);
  if (rc == WR_OK)
    copies[ncopies++] = m;
  else
    wr_hold_drop(me, task);
  return rc;
}

/* 0: there is no room to begin with it now. */
int sim_lose(session *x, wr_idx idx, uint32_t gen) {
  if (wr_gen_of(&x->seg, idx) != gen) return 1;
  wr_idx task = wr_lineage_task_of(&x->seg, idx);
  if (task && !wr_ref_unwanted(wr_load(&wr_obj(&x->seg, idx)->refs))) {
    int rc = runs(task) ? WR_OK : begin(x, task);
    if (rc == WR_FULL) return 0;
    if (rc == WR_OK && wr_remake_mark(&x->seg, idx, gen)) return 1;
  }
  wr_away_lose(&x->sweeper.self, idx, gen);
  return 1;
}

static void submit(session *x, uint32_t at) {
  const wr_pins *pins = wr_tasks_pins(&x->seg, wr_task_at(&x->seg, copies[at].out[0]));
  wr_fence();
  for (int begins = 0; begins < 2; begins++)
    for (uint32_t k = 0; k < pins->n; k++) {
      wr_idx i = pins->idx[k];
      uint32_t place = i & WR_ACTOR_BIT ? WR_IN_MEMORY
                                        : WR_OBJ_PLACE(wr_load(&wr_obj(&x->seg, i)->state));
      if (!begins && place == WR_IN_SHEDDING) return;
      if (begins && place == WR_IN_LOST && !sim_lose(x, i, wr_gen_of(&x->seg, i))) return;
    }
  copies[at].submitted = 1;
  CHECK_EQ(wr_tasks_submit(&x->sweeper.self, copies[at].out[0]), WR_OK);
}

static int is_done(const session *x, const copy *m) {
  const wr_task *t = wr_task_at(&x->seg, m->out[0]);
  return m->submitted && WR_TASK_PHASE(wr_load(&t->tstate)) == WR_TASK_FINISHED &&
         !(wr_tag_value(wr_load(&t->ret.refs)) & WR_REF_TASK);
}

static int hand_over(session *x, const copy *m) {
  wr_self *me = &x->sweeper.self;
  for (uint32_t k = 0; k < m->n; k++) {
    wr_idx to = wr_lineage_return(&x->seg, m->task, k);
    if (!to || wr_gen_of(&x->seg, to) != m->gens[k]) continue;
    uint32_t users = wr_tag_value(wr_load(&wr_obj(&x->seg, to)->refs)) & ~WR_REF_LINEAGE;
    if (users > (to == m->task)) (void)wr_remake_mark(&x->seg, to, m->gens[k]);
    if (wr_remake_put(me, m->out[k], to) != WR_OK) return 0;
  }
  wr_task_at(&x->seg, m->task)->retries = wr_task_at(&x->seg, m->out[0])->retries;
  for (uint32_t k = m->n; k-- > 0;)
    wr_refs_clear(me, m->out[k], wr_gen_of(&x->seg, m->out[k]), WR_REF_CREATOR);
  wr_hold_drop(me, m->task);
  return 1;
}

void sim_remake(session *x) {
  for (uint32_t k = ncopies; k-- > 0;)
    if (is_done(x, &copies[k]) && hand_over(x, &copies[k])) copies[k] = copies[--ncopies];
  for (uint32_t k = 0; k < ncopies; k++)
    if (!copies[k].submitted) submit(x, k);
}

void sim_look_at_lineage(session *x, int evict) {
  uint64_t bytes;
  CHECK_EQ(wr_lineage_collect(&x->sweeper.self, &bytes), WR_OK);
  if (evict) wr_lineage_evict(&x->sweeper.self);
}

/* Nobody is left who could run a copy. */
static void refuse_all(session *x) {
  wr_self *me = &x->sweeper.self;
  for (uint32_t k = 0; k < ncopies; k++) {
    wr_idx i = copies[k].out[0];
    if (copies[k].submitted && wr_tasks_claim(me, i, wr_gen_of(&x->seg, i)))
      wr_tasks_fail(me, i, "JOB_ENDED", "the simulation ends");
  }
}

void sim_lost_end(session *x) {
  for (uint32_t k = 0; k < COPIES && ncopies; k++) {
    refuse_all(x);
    sim_remake(x);
  }
  if (ncopies) sim_fail("%u copies of lost values' tasks have not ended", ncopies);
  sim_look_at_lineage(x, 0);
}
