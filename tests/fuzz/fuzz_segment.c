/* A client of the session writes over the shared memory; the daemon sweeps, ends jobs and actors,
 * manages pools and looks at it.  Nothing it finds there may make it crash or go on for ever. */
#include "base/status.h"
#include "sched/actor.h"
#include "sched/actor_end.h"
#include "sched/audit.h"
#include "sched/group.h"
#include "sched/group_end.h"
#include "sched/lineage.h"
#include "sched/queue.h"
#include "sched/remake.h"
#include "sched/sweep.h"
#include "sched/task.h"
#include "scribble.h"
#include "shm/ring.h"
#include "store/away.h"
#include "store/heap.h"
#include "store/shed.h"

static void on_actor(void *ctx, uint32_t actor, uint32_t gen, int restarting) {
  (void)ctx, (void)actor, (void)gen, (void)restarting;
}
static void on_kill(void *ctx, uint32_t slot, const char *reason) {
  (void)ctx, (void)slot, (void)reason;
}

static void sweep(wr_sweeper *sw, uint32_t slot, uint32_t how) {
  wr_death why = {.wait_status = (int)how, .pid = 4711, .job_over = how & 1,
                  .reason = how & 2 ? "a reason" : NULL};
  (void)wr_sweep_slot(sw, slot, how & 4 ? NULL : &why);
}

static void drain(wr_seg *s, uint32_t shape) {
  wr_a32 hand;
  uint32_t task;
  wr_shape *sh = &s->shapes[shape % WR_MAX_SHAPES];
  for (int i = 0; i < 100 && wr_ring_take(s, &sh->ready, &task, &hand) == WR_OK; i++) {
  }
  (void)wr_ring_empty(s, &sh->overflow);
}

static void audit(wr_seg *s) {
  wr_audit out;
  char text[300];
  (void)wr_audit_session(s, &out, text, sizeof text);
}

static uint64_t sum;

static void spill_one(void *ctx, const wr_spillable *v) {
  wr_self *me = ctx;
  wr_away_refs *refs;
  sum += ((const uint8_t *)wr_at(me->s, v->off))[v->len - 1];
  if (!wr_away_begin(me->s, v->idx, v->gen)) return;
  if ((v->idx & 1) || wr_away_leave(me, v->idx, v->gen, &refs) < 0)
    wr_away_stay(me, v->idx, v->gen);
  else
    wr_away_forget(me, &refs);
}

static void view_one(void *ctx, wr_idx idx) { (void)ctx, sum += idx; }

/* Values leave, and what is said to be on disk comes back. */
static void spill(wr_self *me, wr_idx idx) {
  uint8_t *dst;
  wr_away_refs *none = NULL;
  uint32_t gen = wr_gen_of(me->s, idx);
  wr_away_each_view(me->s, view_one, NULL);
  wr_away_each(me->s, spill_one, me);
  if (wr_away_return(me, idx, gen, 70000, none, &dst) != WR_OK) return;
  memset(dst, 1, 70000);
  wr_away_arrive(me, idx, gen, idx & 2 ? WR_IN_MEMORY : WR_IN_LOST, &none);
}

/* Lineage is looked at and given up, and values are made again. */
static void remake(wr_self *me, wr_idx idx, uint8_t how) {
  static wr_idx out[65536 + 1];
  uint64_t bytes;
  wr_idx task = wr_lineage_task_of(me->s, idx);
  (void)wr_lineage_collect(me, &bytes);
  if (how & 1) wr_lineage_evict(me);
  if (how & 2) wr_shed(me, idx, wr_gen_of(me->s, idx));
  if (!wr_remake_mark(me->s, idx, wr_gen_of(me->s, idx))) return;
  if (task && wr_remake_build(me, task, out) == WR_OK && wr_remake_put(me, out[0], idx) == WR_OK)
    wr_tasks_submit(me, out[0]);
  wr_remake_fail(me, idx, wr_gen_of(me->s, idx), "LOST", "");
}

static void act(wr_sweeper *sw, fuzz_input *in) {
  wr_seg *s = sw->self.s;
  uint8_t what = fuzz_u8(in), which = fuzz_u8(in), how = fuzz_u8(in);
  uint32_t actor = which % (SCRIBBLE_ACTORS + 1);
  uint32_t group = which % 4;
  switch (what % 14) {
    case 0: (void)wr_sweep_job(sw, which % SCRIBBLE_SLOTS); break;
    case 1: (void)wr_actor_kill(sw, actor, WR_ACTOR_GEN(wr_load(&s->actors[actor].state)), how & 1);
      break;
    case 2: wr_actor_fail(sw, actor, how % 6, how); break;
    case 3: audit(s); break;
    case 4: wr_heap_make_room(&sw->self); break;
    case 5: wr_pool_kick_all(&sw->self); break;
    case 6: drain(s, which); break;
    case 7: (void)wr_heap_chunks_used(s); break;
    case 11: spill(&sw->self, 1024u + ((uint32_t)how << 8 | which)); break;
    case 12: remake(&sw->self, 1024u + ((uint32_t)how << 8 | which), how); break;
    case 8: wr_groups_retry(&sw->self); break;
    case 9:
      (void)wr_group_clear(sw, group, WR_GROUP_GEN(wr_load(&wr_group_at(s, group)->state)));
      break;
    case 10: wr_groups_finish(&sw->self, group); break;
    default: sweep(sw, 2 + which % SCRIBBLE_SLOTS, how); break;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input in = {data, data + size};
  wr_seg *s = scribble_session();
  wr_sweeper sw;
  if (wr_sweeper_init(&sw, s, 1, on_actor, NULL) != WR_OK) return 0;
  sw.kill_process = on_kill;
  uint8_t mode = fuzz_u8(&in);
  if (mode & 1) scribble_race(s, &in);
  for (int steps = 0; steps < 60 && fuzz_more(&in); steps++) {
    if (fuzz_u8(&in) % 4)
      scribble(s, &in);
    else
      act(&sw, &in);
  }
  sweep(&sw, 2 + mode / 2 % SCRIBBLE_SLOTS, mode);
  scribble_race(s, NULL);
  wr_sweeper_close(&sw);
  scribble_restore();
  return 0;
}
