/* store/refs.h - who keeps a record alive, and what happens when nobody does any more.
 *
 * A record lives while its refs word has a value: three flags (its creator, its producing task, the
 * lineage of others) and a count of pins and holds.  Zero is final: references are only ever taken
 * from one that exists.
 * Flags are cleared idempotently; counts change by tagged operations that a sweep can resolve. */
#ifndef WR_STORE_REFS_H
#define WR_STORE_REFS_H

#include "shm/tagged.h"
#include "store/self.h"

/* Argument of a pin's intent: the list's offset and the low bits of the position in it. */
#define WR_PIN_ARG(off, i) ((off) | (uint64_t)((i) & 0xFFFF) << 48)
#define WR_PIN_ARG_OFF(arg) ((arg) & 0xFFFFFFFFFFFFull)
#define WR_PIN_ARG_POS(arg) ((uint32_t)((arg) >> 48))

wr_tagger wr_tagger_of(wr_self *me);

/* Pins idx[from..n) of a list whose pins [0, from) are taken already. */
int wr_pins_take(wr_self *me, wr_pins *pins);
/* Unpins all that are pinned, last first. */
void wr_pins_drop(wr_self *me, wr_pins *pins);

/* Holds of this process.  gen 0 accepts any living record and reports its generation. */
int wr_hold_take(wr_self *me, wr_idx idx, uint32_t gen, uint32_t *gen_out);
void wr_hold_drop(wr_self *me, wr_idx idx);
/* A hold under which the bytes of the value stay where they are, from the moment on at which they
 * are found in memory after this call. */
int wr_view_take(wr_self *me, wr_idx idx, uint32_t gen);
void wr_view_drop(wr_self *me, wr_idx idx);

/* Clears flag bits (WR_REF_CREATOR, WR_REF_TASK, WR_REF_LINEAGE) of the record (idx, gen). */
void wr_refs_clear(wr_self *me, wr_idx idx, uint32_t gen, uint32_t bits);

/* Frees record (idx, gen), whose refs have gone to zero, and all that it alone kept alive; of one
 * that lineage names, the value.  Safe to repeat, and from several processes at once: one of
 * them does it. */
void wr_reap(wr_self *me, wr_idx idx, uint32_t gen);
/* Finishes what a dead process began: the record is DYING under its slot. */
void wr_reap_resume(wr_self *me, wr_idx idx);

/* Sets the flag of lineage of a record that somebody has pinned for as long as this takes. */
void wr_refs_name(wr_self *me, wr_idx idx);
/* Lets go of the memory of an object's value, and of what the value refers to. */
void wr_value_free(wr_self *me, wr_object *o, wr_idx idx, uint32_t gen);

uint32_t wr_gen_of(const wr_seg *s, wr_idx idx);

#endif
