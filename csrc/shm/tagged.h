/* shm/tagged.h - counters whose every change a sweep can tell to have happened or not.
 *
 * Invariant: before an operation the process writes its intent (kind, sequence, target) into its
 * own process record; the change itself is one swap that leaves (slot, sequence) in the word;
 * whoever overwrites another's tag first raises `acked` of that slot.  So after a death the one
 * operation in flight took effect exactly if its tag stands in the word or was acknowledged. */
#ifndef WR_SHM_TAGGED_H
#define WR_SHM_TAGGED_H

#include "shm/segment.h"

typedef struct {
  wr_seg *s;
  wr_proc *p;
  uint32_t slot;
  uint32_t *seq; /* sequence of this process's last operation */
} wr_tagger;

/* Announces an operation; wr_tag_done ends it once its second step is noted. */
void wr_tag_begin(wr_tagger t, uint32_t kind, uint32_t idx, uint64_t arg);
void wr_tag_done(wr_tagger t);
/* Adds to the value; returns the new word. */
uint64_t wr_tag_add(wr_tagger t, wr_a64 *word, uint32_t delta);
/* Replaces the value if the word is still `old`; 0 when it changed (old is reloaded). */
int wr_tag_swap(wr_tagger t, wr_a64 *word, uint64_t *old, uint32_t value);
/* Clears idempotent flag bits and leaves the tag; returns the new value. */
uint32_t wr_tag_clear(wr_a64 *word, uint32_t bits);
/* The word will be used for something else: acknowledges the operation whose tag goes with it. */
void wr_tag_forget(wr_tagger t, const wr_a64 *word);
/* Did the last operation announced by process record p (slot `slot`) on `word` take effect? */
int wr_tag_applied(const wr_proc *p, uint32_t slot, const wr_a64 *word);

#endif
