#include "sched/gpu.h"

#include "base/status.h"

static uint32_t ngpus(const wr_seg *s) {
  return s->h->ngpus < WR_MAX_GPUS ? s->h->ngpus : WR_MAX_GPUS;
}

static uint32_t free_of(const wr_seg *s, uint32_t i) {
  int32_t v = (int32_t)wr_tag_value(wr_load(&s->h->gpu[i]));
  return v > 0 ? (uint32_t)v : 0;
}

void wr_gpus_init(wr_seg *s, uint32_t amount) {
  uint32_t n = 0;
  for (; amount && n < WR_MAX_GPUS; n++) {
    wr_store(&s->h->gpu[n], wr_tag_make(wr_gpu_share(amount), 0, 0));
    amount -= wr_gpu_share(amount);
  }
  s->h->ngpus = n;
}

/* 1: taken, and noted. */
static int take(wr_self *me, uint32_t i, uint32_t share) {
  wr_a64 *word = &me->s->h->gpu[i];
  wr_tagger t = wr_tagger_of(me);
  wr_tag_begin(t, WR_OP_TAKE_GPU, i, share);
  uint64_t old = wr_load(word);
  int ok;
  do ok = (int32_t)wr_tag_value(old) >= (int32_t)share;
  while (ok && !wr_tag_swap(t, word, &old, wr_tag_value(old) - share));
  if (ok) wr_store(&me->p->gpus, wr_load(&me->p->gpus) | UINT64_C(1) << i);
  wr_tag_done(t);
  return ok;
}

/* The GPU with the least that is enough; ngpus: there is none. */
static uint32_t best(const wr_seg *s, uint32_t share, uint64_t but) {
  uint32_t found = ngpus(s), least = UINT32_MAX;
  for (uint32_t i = 0; i < ngpus(s); i++) {
    uint32_t v = free_of(s, i);
    if ((but >> i & 1) || v < share || v >= least) continue;
    found = i;
    least = v;
  }
  return found;
}

int wr_gpus_take(wr_self *me, uint32_t amount) {
  uint32_t share = wr_gpu_share(amount), left = amount / share;
  while (left) {
    uint32_t i = best(me->s, share, wr_load(&me->p->gpus));
    if (i == ngpus(me->s)) {
      wr_gpus_give(me, amount);
      return WR_AGAIN;
    }
    if (take(me, i, share)) left--;
  }
  return WR_OK;
}

void wr_gpus_give(wr_self *me, uint32_t amount) {
  wr_tagger t = wr_tagger_of(me);
  for (uint64_t bits = wr_load(&me->p->gpus); bits; bits &= bits - 1) {
    uint32_t i = (uint32_t)__builtin_ctzll(bits);
    wr_tag_begin(t, WR_OP_GIVE_GPU, i, wr_gpu_share(amount));
    wr_tag_add(t, &me->s->h->gpu[i], wr_gpu_share(amount));
    wr_store(&me->p->gpus, bits & (bits - 1));
    wr_tag_done(t);
  }
}

uint32_t wr_gpus_times(const wr_seg *s, uint32_t amount, uint32_t most) {
  if (!amount) return most;
  uint32_t share = wr_gpu_share(amount), each = amount / share, times = 0;
  for (uint32_t i = 0; i < ngpus(s) && times / each < most; i++) times += free_of(s, i) / share;
  return times / each < most ? times / each : most;
}

void wr_gpus_return_dead(wr_self *me, uint32_t slot, uint32_t amount) {
  wr_proc *p = &me->s->procs[slot];
  uint64_t op = wr_load(&p->op), mask = wr_load(&p->gpus);
  uint32_t kind = WR_OP_KIND(op), i = WR_OP_IDX(op);
  if ((kind == WR_OP_TAKE_GPU || kind == WR_OP_GIVE_GPU) && i < WR_MAX_GPUS) {
    int has = wr_tag_applied(p, slot, &me->s->h->gpu[i]) == (kind == WR_OP_TAKE_GPU);
    uint64_t bit = UINT64_C(1) << i;
    mask = has ? mask | bit : mask & ~bit;
    wr_store(&p->op, WR_OP(WR_OP_NONE, WR_OP_SEQ(op), 0));
  }
  wr_store(&p->gpus, 0);
  for (; mask && amount; mask &= mask - 1)
    wr_tag_add(wr_tagger_of(me), &me->s->h->gpu[__builtin_ctzll(mask)], wr_gpu_share(amount));
}
