#include "sched/ledger.h"

#include <math.h>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/status.h"
#include "sched/gpu.h"
#include "sched/group.h"

/* The intent of a take or give says which need of which shape it is for, in which bundle: the claim
 * word, which would tell, is empty before the first one. */
#define NEED_ARG(shape, bundle, i) \
  ((uint64_t)(i) | (uint64_t)(shape) << 8 | (uint64_t)(bundle) << 32)
#define NEED_ARG_NEED(arg) ((uint32_t)(arg) & 31)
#define NEED_ARG_SHAPE(arg) ((uint32_t)((arg) >> 8) & 0xFFFFFF)
#define NEED_ARG_BUNDLE(arg) ((uint32_t)((arg) >> 32))

static uint32_t full_mask(const wr_shape *sh) { return (1u << wr_shape_needs(sh)) - 1; }

/* The word that need i of the shape is taken from: the resource's, or, in a group, the bundle's.
 * NULL: the bundle has nothing of it. */
static wr_a64 *word_of(const wr_seg *s, const wr_shape *sh, uint32_t bundle, uint32_t i) {
  uint32_t res = sh->need[i].res;
  if (WR_LIKELY(!sh->group)) return &wr_resource_at(s, res)->avail;
  wr_bundle *b = wr_bundle_at(s, bundle);
  for (uint32_t k = 0; k < b->n && k < WR_SHAPE_RESOURCES; k++)
    if (b->need[k].res == res) return &b->avail[k];
  return NULL;
}

static void set_claim(wr_proc *p, uint32_t shape, uint32_t bundle, uint32_t mask) {
  wr_store(&p->claim, mask ? WR_CLAIM_IN(shape, bundle, mask) : 0);
}

static void give(wr_self *me, uint64_t claim, uint32_t bits) {
  uint32_t shape = WR_CLAIM_SHAPE(claim), bundle = WR_CLAIM_BUNDLE(claim);
  uint32_t mask = WR_CLAIM_MASK(claim);
  const wr_shape *sh = wr_shape_at(me->s, shape);
  wr_tagger t = wr_tagger_of(me);
  for (uint32_t i = 0; i < wr_shape_needs(sh); i++) {
    if (!(bits & 1u << i)) continue;
    wr_tag_begin(t, WR_OP_GIVE, sh->need[i].res, NEED_ARG(shape, bundle, i));
    wr_tag_add(t, word_of(me->s, sh, bundle, i), sh->need[i].amount);
    set_claim(me->p, shape, bundle, mask &= ~(1u << i));
    wr_tag_done(t);
  }
}

/* Nobody may begin a claim in a group that is being removed, or for a shape that is being closed:
 * the daemon looks at the intents after it has said so, we look at the group or the shape after the
 * intent.  (The barrier between these is the daemon's for a shape: see wr_os_barrier.) */
static int shut(const wr_seg *s, const wr_shape *sh) {
  atomic_signal_fence(memory_order_seq_cst);
  if (WR_UNLIKELY(wr_load32(&sh->state) != WR_SHAPE_OPEN)) return 1;
  if (WR_LIKELY(!sh->group)) return 0;
  wr_fence();
  return !wr_group_open(s, sh->group - 1, sh->group_gen);
}

static int take(wr_self *me, uint32_t shape, uint32_t bundle, uint32_t i, int force) {
  const wr_shape *sh = wr_shape_at(me->s, shape);
  const wr_need *need = &sh->need[i];
  wr_tagger t = wr_tagger_of(me);
  wr_tag_begin(t, WR_OP_TAKE, need->res, NEED_ARG(shape, bundle, i));
  int rc = !force && shut(me->s, sh) ? WR_AGAIN : WR_OK; /* from here the needs do not change */
  wr_a64 *avail = word_of(me->s, sh, bundle, i);
  if (WR_UNLIKELY(!avail)) rc = WR_AGAIN;
  uint64_t old = rc == WR_OK ? wr_load(avail) : 0;
  do {
    if (!force && (int32_t)wr_tag_value(old) < (int32_t)need->amount) rc = WR_AGAIN;
  } while (rc == WR_OK && !wr_tag_swap(t, avail, &old, wr_tag_value(old) - need->amount));
  if (rc == WR_OK)
    set_claim(me->p, shape, bundle, WR_CLAIM_MASK(wr_load(&me->p->claim)) | 1u << i);
  wr_tag_done(t);
  return rc;
}

static int claim_from(wr_self *me, uint32_t shape, uint32_t bundle) {
  const wr_shape *sh = wr_shape_at(me->s, shape);
  for (uint32_t i = 0; i < wr_shape_needs(sh); i++) {
    if (take(me, shape, bundle, i, 0) == WR_OK) continue;
    wr_ledger_release(me);
    return WR_AGAIN;
  }
  if (WR_LIKELY(!sh->gpu) || wr_gpus_take(me, sh->gpu) == WR_OK) return WR_OK;
  wr_ledger_release(me);
  return WR_AGAIN;
}

/* How often the shape's needs are free now, at most `most` times. */
static uint32_t times_in(const wr_seg *s, const wr_shape *sh, uint32_t bundle, uint32_t most) {
  for (uint32_t i = 0; i < wr_shape_needs(sh) && most; i++) {
    if (sh->need[i].res >= WR_MAX_RESOURCES || !sh->need[i].amount) continue;
    const wr_a64 *word = word_of(s, sh, bundle, i);
    int32_t avail = word ? (int32_t)wr_tag_value(wr_load(word)) : 0;
    uint32_t n = avail > 0 ? (uint32_t)avail / sh->need[i].amount : 0;
    if (n < most) most = n;
  }
  return WR_UNLIKELY(sh->gpu) && most ? wr_gpus_times(s, sh->gpu, most) : most;
}

/* The bundles that may serve the shape: [*first, *end); none while the group does not stand. */
static void bundles_of(const wr_seg *s, const wr_shape *sh, uint32_t *first, uint32_t *end) {
  *first = *end = 0;
  if (!sh->group || !wr_group_open(s, sh->group - 1, sh->group_gen)) return;
  const wr_group *g = wr_group_at(s, sh->group - 1);
  *first = sh->bundle ? sh->bundle - 1 : g->first;
  *end = sh->bundle ? sh->bundle : g->first + g->n;
  *end = (uint32_t)wr_guard_count(*end, WR_MAX_BUNDLES);
  if (*end > WR_MAX_BUNDLES) *first = *end = 0;
}

static int claim_in_group(wr_self *me, uint32_t shape) {
  const wr_shape *sh = wr_shape_at(me->s, shape);
  uint32_t b, end;
  for (bundles_of(me->s, sh, &b, &end); b < end; b++)
    if (times_in(me->s, sh, b, 1) && claim_from(me, shape, b) == WR_OK) return WR_OK;
  return WR_AGAIN;
}

int wr_ledger_claim(wr_self *me, uint32_t shape) {
  WR_ASSERT(wr_load(&me->p->claim) == 0);
  if (WR_UNLIKELY(wr_shape_at(me->s, shape)->group)) return claim_in_group(me, shape);
  return claim_from(me, shape, 0);
}

void wr_ledger_release(wr_self *me) {
  uint64_t c = wr_load(&me->p->claim);
  if (!c) return;
  if (WR_UNLIKELY(wr_load(&me->p->gpus)))
    wr_gpus_give(me, wr_shape_at(me->s, WR_CLAIM_SHAPE(c))->gpu);
  give(me, c, WR_CLAIM_MASK(c));
  wr_store(&me->p->claim, 0);
}

static uint32_t cpu_bits(const wr_shape *sh) {
  for (uint32_t i = 0; i < wr_shape_needs(sh); i++)
    if (sh->need[i].res == WR_RES_CPU) return 1u << i;
  return 0;
}

/* The claim word keeps naming the shape while only the CPU part is away: a claim of nothing else
 * would vanish, so the blocked process remembers its shape itself (see client/wait.c). */
void wr_ledger_release_cpu(wr_self *me) {
  uint64_t c = wr_load(&me->p->claim);
  if (!c) return;
  give(me, c, WR_CLAIM_MASK(c) & cpu_bits(wr_shape_at(me->s, WR_CLAIM_SHAPE(c))));
  WR_FAILPOINT("ledger.cpu_given");
  if (wr_load(&me->p->claim) == 0)
    wr_store(&me->p->claim, WR_CLAIM_IN(WR_CLAIM_SHAPE(c), WR_CLAIM_BUNDLE(c), 0));
}

void wr_ledger_retake_cpu(wr_self *me) {
  uint64_t c = wr_load(&me->p->claim);
  if (!c) return;
  const wr_shape *sh = wr_shape_at(me->s, WR_CLAIM_SHAPE(c));
  uint32_t bits = cpu_bits(sh) & ~WR_CLAIM_MASK(c);
  for (uint32_t i = 0; i < wr_shape_needs(sh); i++)
    if (bits & 1u << i) (void)take(me, WR_CLAIM_SHAPE(c), WR_CLAIM_BUNDLE(c), i, 1);
}

int wr_ledger_holds(const wr_self *me, uint32_t shape) {
  const wr_shape *sh = wr_shape_at(me->s, shape);
  uint64_t c = wr_load(&me->p->claim);
  if ((uint32_t)c != (uint32_t)WR_CLAIM(shape, full_mask(sh))) return 0;
  return WR_LIKELY(!sh->group) || wr_group_open(me->s, sh->group - 1, sh->group_gen);
}

int wr_ledger_overdrawn(const wr_self *me, uint32_t shape) {
  const wr_shape *sh = wr_shape_at(me->s, shape);
  wr_a64 *cpus = &wr_resource_at(me->s, WR_RES_CPU)->avail;
  if (WR_UNLIKELY(sh->group) && sh->need[0].res == WR_RES_CPU)
    cpus = word_of(me->s, sh, WR_CLAIM_BUNDLE(wr_load(&me->p->claim)), 0);
  return WR_UNLIKELY((int32_t)wr_tag_value(wr_load(cpus)) < 0) && cpu_bits(sh) != 0;
}

uint32_t wr_ledger_times(const wr_seg *s, uint32_t shape, uint32_t most) {
  const wr_shape *sh = wr_shape_at(s, shape);
  if (WR_LIKELY(!sh->group)) return times_in(s, sh, 0, most);
  uint32_t b, end, sum = 0;
  for (bundles_of(s, sh, &b, &end); b < end && sum < most; b++)
    sum += times_in(s, sh, b, most - sum);
  return sum;
}

uint32_t wr_ledger_intent(const wr_seg *s, uint32_t slot) {
  uint32_t kind = WR_OP_KIND(wr_load(&s->procs[slot].op));
  if (kind != WR_OP_TAKE && kind != WR_OP_GIVE) return UINT32_MAX;
  return NEED_ARG_SHAPE(wr_load(&s->procs[slot].op_arg));
}

uint32_t wr_ledger_fixed(double amount, uint32_t shift) {
  double v = ldexp(amount, -(int)shift) * WR_RES_SCALE + 0.5;
  return v >= (double)INT32_MAX ? INT32_MAX : (uint32_t)v;
}

double wr_ledger_amount(int64_t fixed, uint32_t shift) {
  return (double)fixed / WR_RES_SCALE * (double)(UINT64_C(1) << (shift & 63));
}

int wr_ledger_fits(const wr_seg *s, uint32_t shape) {
  const wr_shape *sh = wr_shape_at(s, shape);
  if (WR_UNLIKELY(sh->group || sh->gpu)) return wr_ledger_times(s, shape, 1) != 0;
  for (uint32_t i = 0; i < wr_shape_needs(sh); i++) {
    uint64_t w = wr_load(&wr_resource_at(s, sh->need[i].res)->avail);
    if ((int32_t)wr_tag_value(w) < (int32_t)sh->need[i].amount) return 0;
  }
  return 1;
}

void wr_ledger_return_dead(wr_self *me, uint32_t slot) {
  wr_seg *s = me->s;
  wr_proc *p = &s->procs[slot];
  uint64_t c = wr_load(&p->claim), op = wr_load(&p->op), arg = wr_load(&p->op_arg);
  uint32_t kind = WR_OP_KIND(op), mask = c ? WR_CLAIM_MASK(c) : 0;
  uint32_t shape = c ? WR_CLAIM_SHAPE(c) : 0, bundle = WR_CLAIM_BUNDLE(c);
  int midway = kind == WR_OP_TAKE || kind == WR_OP_GIVE;
  if (midway && !c) {
    shape = NEED_ARG_SHAPE(arg);
    bundle = NEED_ARG_BUNDLE(arg);
  }
  int known = shape < WR_MAX_SHAPES && bundle < WR_MAX_BUNDLES;
  const wr_shape *sh = wr_shape_at(s, known ? shape : 0);
  wr_gpus_return_dead(me, slot, known ? sh->gpu : 0);
  if (midway) {
    uint32_t i = NEED_ARG_NEED(arg), bit = 1u << i;
    const wr_a64 *word = known && i < sh->n ? word_of(s, sh, bundle, i) : NULL;
    if (word && wr_tag_applied(p, slot, word))
      mask = kind == WR_OP_TAKE ? mask | bit : mask & ~bit;
    else if (kind == WR_OP_TAKE)
      mask &= ~bit;
    wr_store(&p->op, WR_OP(WR_OP_NONE, WR_OP_SEQ(op), 0));
  }
  wr_store(&p->claim, 0);
  for (uint32_t i = 0; known && i < wr_shape_needs(sh); i++) {
    wr_a64 *word = mask & 1u << i ? word_of(s, sh, bundle, i) : NULL;
    if (word) wr_tag_add(wr_tagger_of(me), word, sh->need[i].amount);
  }
}

int64_t wr_ledger_claimed(const wr_seg *s, const wr_a64 *word) {
  int64_t sum = 0;
  uint32_t high = wr_load32(&s->h->proc_high);
  for (uint32_t k = 1; k <= high && k < WR_MAX_PROCS; k++) {
    uint64_t c = wr_load(&s->procs[k].claim);
    if (!c || WR_CLAIM_SHAPE(c) >= WR_MAX_SHAPES || WR_CLAIM_BUNDLE(c) >= WR_MAX_BUNDLES) continue;
    const wr_shape *sh = wr_shape_at(s, WR_CLAIM_SHAPE(c));
    for (uint32_t i = 0; i < wr_shape_needs(sh); i++)
      if ((WR_CLAIM_MASK(c) & 1u << i) && word_of(s, sh, WR_CLAIM_BUNDLE(c), i) == word)
        sum += sh->need[i].amount;
  }
  return sum;
}
