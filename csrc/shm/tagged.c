#include "shm/tagged.h"

#include "base/failpoint.h"

/* Is a later than b, on the 20-bit circle? */
static int later(uint32_t a, uint32_t b) { return (int32_t)((a - b) << 12) > 0; }

static void raise_acked(wr_a32 *acked, uint32_t seq) {
  uint32_t a = wr_load32(acked);
  while (later(seq, a))
    if (wr_cas32(acked, &a, seq)) return;
}

void wr_tag_acknowledge(wr_tagger t, uint64_t word) {
  uint32_t slot = wr_tag_slot(word);
  if (slot && slot != t.slot) raise_acked(&t.s->procs[slot].acked, wr_tag_seq(word));
}

void wr_tag_begin(wr_tagger t, uint32_t kind, uint32_t idx, uint64_t arg) {
  uint32_t seq = (*t.seq + 1) & WR_TAG_SEQ_MASK;
  uint32_t a = wr_load32(&t.p->acked);
  while (!later(seq, a)) /* too old to compare, or raised by a tag from an earlier lap */
    if (wr_cas32(&t.p->acked, &a, (seq - 1) & WR_TAG_SEQ_MASK)) break;
  *t.seq = seq;
  wr_store(&t.p->op_arg, arg);
  wr_store(&t.p->op, WR_OP(kind, seq, idx));
  WR_FAILPOINT("tag.begin");
}

void wr_tag_done(wr_tagger t) {
  WR_FAILPOINT("tag.done");
  wr_store(&t.p->op, WR_OP(WR_OP_NONE, *t.seq, 0));
}

uint64_t wr_tag_add(wr_tagger t, wr_a64 *word, uint32_t delta) {
  uint64_t old = wr_load(word);
  for (;;) {
    wr_tag_acknowledge(t, old);
    uint64_t now = wr_tag_make(wr_tag_value(old) + delta, t.slot, *t.seq);
    if (wr_cas(word, &old, now)) {
      WR_FAILPOINT("tag.applied");
      return now;
    }
  }
}

int wr_tag_swap(wr_tagger t, wr_a64 *word, uint64_t *old, uint32_t value) {
  wr_tag_acknowledge(t, *old);
  int ok = wr_cas(word, old, wr_tag_make(value, t.slot, *t.seq));
  if (ok) WR_FAILPOINT("tag.applied");
  return ok;
}

uint32_t wr_tag_clear(wr_a64 *word, uint32_t bits) {
  uint64_t old = wr_load(word);
  while (!wr_cas(word, &old, old & ~(uint64_t)bits)) {
  }
  return wr_tag_value(old) & ~bits;
}

uint32_t wr_tag_pending(const wr_proc *p, uint32_t slot, uint32_t kind, const wr_a64 *word) {
  uint64_t op = wr_load(&p->op);
  if (WR_OP_KIND(op) != kind || wr_tag_applied(p, slot, word)) return 0;
  return wr_load(&p->op) == op ? WR_OP_IDX(op) : 0; /* it has gone on: that one is done */
}

int wr_tag_applied(const wr_proc *p, uint32_t slot, const wr_a64 *word) {
  uint32_t seq = WR_OP_SEQ(wr_load(&p->op));
  uint64_t w = wr_load(word);
  if (wr_tag_slot(w) == slot && wr_tag_seq(w) == seq) return 1;
  return wr_load32(&p->acked) == seq;
}
