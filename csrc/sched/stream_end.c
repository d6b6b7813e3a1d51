#include "sched/stream_end.h"

#include "sched/cancel.h"
#include "sched/stream.h"
#include "sched/sweep_memory.h"

typedef struct {
  wr_sweeper *sw;
  uint32_t slot;
  int in_order;
} ending;

static int is_heard_of(const wr_seg *s, const wr_task *t) {
  uint32_t refs = wr_tag_value(wr_load(&t->ret.refs));
  return (refs & ~WR_REF_LINEAGE) != WR_REF_TASK || wr_stream_has_reader(s, t);
}

static void end_unread(void *ctx, wr_idx i) {
  const ending *e = ctx;
  wr_self *me = &e->sw->self;
  const wr_task *t = wr_task_at(me->s, i);
  uint64_t st = wr_load(&t->tstate);
  uint32_t slot = 0, gen = WR_TASK_GEN(st);
  int began;
  if (!wr_stream_was_for(t, st, e->slot) || !wr_stream_living(me->s, i, gen)) return;
  if (e->in_order && wr_load32(&wr_stream_of(me->s, t)->closed)) return;
  if ((wr_load32(&t->cancel) & WR_CANCEL_WANTED) || is_heard_of(me->s, t)) return;
  (void)wr_tasks_cancel(me, i, gen, WR_CANCEL_FAMILY, &slot, &began);
  if (began) wr_sweep_cancel_children(e->sw, i, gen, WR_CANCEL_FAMILY);
  if (slot) wr_sweep_tell(e->sw, slot, i, gen);
}

void wr_streams_end(wr_sweeper *sw, uint32_t slot, int in_order) {
  ending e = {sw, slot, in_order};
  wr_sweep_each(sw->self.s, WR_REC_TASKS, end_unread, &e);
}
