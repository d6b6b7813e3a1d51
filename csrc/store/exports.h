/* store/exports.h - exported functions and classes, found by their bytes.
 *
 * A worker that submits tasks exports the functions it needs.  What has been exported is kept until
 * the session ends, whoever lives or dies, so the same bytes are kept once, whoever brings them: a
 * table in the segment names exports by the hash of their bytes.
 *
 * Invariant: an entry is 0, or names a sealed export, and does not change then.  An export may be
 * missing there, when its maker died too early or the table is crowded: it is exported once more.
 * So no sweep has to look at it. */
#ifndef WR_STORE_EXPORTS_H
#define WR_STORE_EXPORTS_H

#include "store/self.h"

/* The export with these bytes; 0: there is none. */
wr_idx wr_exports_find(const wr_seg *s, const uint8_t *bytes, size_t len);
/* Lets others find this one, which is sealed and whose value has these bytes. */
void wr_exports_note(wr_seg *s, wr_idx idx, const uint8_t *bytes, size_t len);

#endif
