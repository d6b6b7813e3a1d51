#include "sched/ledger.h"

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/status.h"

static uint32_t full_mask(const wr_shape *sh) { return (1u << sh->n) - 1; }

static void set_claim(wr_proc *p, uint32_t shape, uint32_t mask) {
  wr_store(&p->claim, mask ? WR_CLAIM(shape, mask) : 0);
}

static void give(wr_self *me, uint32_t shape, uint32_t bits) {
  const wr_shape *sh = &me->s->shapes[shape];
  wr_tagger t = wr_tagger_of(me);
  for (uint32_t i = 0; i < sh->n; i++) {
    if (!(bits & 1u << i)) continue;
    wr_tag_begin(t, WR_OP_GIVE, sh->need[i].res, i);
    wr_tag_add(t, &me->s->resources[sh->need[i].res].avail, sh->need[i].amount);
    set_claim(me->p, shape, WR_CLAIM_MASK(wr_load(&me->p->claim)) & ~(1u << i));
    wr_tag_done(t);
  }
}

/* The intent of a take says which need of which shape it is for: the claim word, which would tell,
 * is still empty before the first one. */
#define TAKE_ARG(shape, i) ((uint64_t)(i) | (uint64_t)(shape) << 8)
#define TAKE_ARG_NEED(arg) ((uint32_t)(arg) & 31)
#define TAKE_ARG_SHAPE(arg) ((uint32_t)((arg) >> 8))

static int take(wr_self *me, uint32_t shape, uint32_t i, int force) {
  const wr_need *need = &me->s->shapes[shape].need[i];
  wr_a64 *avail = &me->s->resources[need->res].avail;
  wr_tagger t = wr_tagger_of(me);
  wr_tag_begin(t, WR_OP_TAKE, need->res, TAKE_ARG(shape, i));
  uint64_t old = wr_load(avail);
  int rc = WR_OK;
  do {
    if (!force && (int32_t)wr_tag_value(old) < (int32_t)need->amount) rc = WR_AGAIN;
  } while (rc == WR_OK && !wr_tag_swap(t, avail, &old, wr_tag_value(old) - need->amount));
  if (rc == WR_OK)
    wr_store(&me->p->claim, WR_CLAIM(shape, WR_CLAIM_MASK(wr_load(&me->p->claim)) | 1u << i));
  wr_tag_done(t);
  return rc;
}

int wr_ledger_claim(wr_self *me, uint32_t shape) {
  const wr_shape *sh = &me->s->shapes[shape];
  WR_ASSERT(wr_load(&me->p->claim) == 0);
  for (uint32_t i = 0; i < sh->n; i++) {
    if (take(me, shape, i, 0) == WR_OK) continue;
    wr_ledger_release(me);
    return WR_AGAIN;
  }
  return WR_OK;
}

void wr_ledger_release(wr_self *me) {
  uint64_t c = wr_load(&me->p->claim);
  if (!c) return;
  give(me, WR_CLAIM_SHAPE(c), WR_CLAIM_MASK(c));
  wr_store(&me->p->claim, 0);
}

static uint32_t cpu_bits(const wr_shape *sh) {
  for (uint32_t i = 0; i < sh->n; i++)
    if (sh->need[i].res == WR_RES_CPU) return 1u << i;
  return 0;
}

/* The claim word keeps naming the shape while only the CPU part is away: a claim of nothing else
 * would vanish, so the blocked process remembers its shape itself (see client/wait.c). */
void wr_ledger_release_cpu(wr_self *me) {
  uint64_t c = wr_load(&me->p->claim);
  if (!c) return;
  uint32_t shape = WR_CLAIM_SHAPE(c);
  give(me, shape, WR_CLAIM_MASK(c) & cpu_bits(&me->s->shapes[shape]));
  WR_FAILPOINT("ledger.cpu_given");
  if (wr_load(&me->p->claim) == 0) wr_store(&me->p->claim, WR_CLAIM(shape, 0));
}

void wr_ledger_retake_cpu(wr_self *me) {
  uint64_t c = wr_load(&me->p->claim);
  if (!c) return;
  const wr_shape *sh = &me->s->shapes[WR_CLAIM_SHAPE(c)];
  uint32_t bits = cpu_bits(sh);
  for (uint32_t i = 0; i < sh->n; i++)
    if ((bits & 1u << i) && !(WR_CLAIM_MASK(c) & 1u << i)) (void)take(me, WR_CLAIM_SHAPE(c), i, 1);
}

int wr_ledger_holds(const wr_self *me, uint32_t shape) {
  return wr_load(&me->p->claim) == WR_CLAIM(shape, full_mask(&me->s->shapes[shape]));
}

int wr_ledger_overdrawn(wr_seg *s, uint32_t shape) {
  uint64_t w = wr_load(&s->resources[WR_RES_CPU].avail);
  return WR_UNLIKELY((int32_t)wr_tag_value(w) < 0) && cpu_bits(&s->shapes[shape]) != 0;
}

int wr_ledger_fits(wr_seg *s, uint32_t shape) {
  const wr_shape *sh = &s->shapes[shape];
  for (uint32_t i = 0; i < sh->n; i++) {
    uint64_t w = wr_load(&s->resources[sh->need[i].res].avail);
    if ((int32_t)wr_tag_value(w) < (int32_t)sh->need[i].amount) return 0;
  }
  return 1;
}

void wr_ledger_return_dead(wr_self *me, uint32_t slot) {
  wr_proc *p = &me->s->procs[slot];
  uint64_t c = wr_load(&p->claim), op = wr_load(&p->op);
  uint32_t kind = WR_OP_KIND(op), mask = c ? WR_CLAIM_MASK(c) : 0;
  uint32_t shape = c ? WR_CLAIM_SHAPE(c) : 0;
  if (kind == WR_OP_TAKE || kind == WR_OP_GIVE) {
    uint64_t arg = wr_load(&p->op_arg);
    uint32_t res = WR_OP_IDX(op), bit = 1u << TAKE_ARG_NEED(arg);
    if (!c) shape = TAKE_ARG_SHAPE(arg);
    if (res < WR_MAX_RESOURCES && wr_tag_applied(p, slot, &me->s->resources[res].avail))
      mask = kind == WR_OP_TAKE ? mask | bit : mask & ~bit;
    else if (kind == WR_OP_TAKE)
      mask &= ~bit;
    wr_store(&p->op, WR_OP(WR_OP_NONE, WR_OP_SEQ(op), 0));
  }
  wr_store(&p->claim, 0);
  if (!mask || shape >= WR_MAX_SHAPES) return;
  const wr_shape *sh = &me->s->shapes[shape];
  wr_tagger t = wr_tagger_of(me);
  for (uint32_t i = 0; i < sh->n && i < WR_SHAPE_RESOURCES; i++)
    if (mask & 1u << i)
      wr_tag_add(t, &me->s->resources[sh->need[i].res].avail, sh->need[i].amount);
}
