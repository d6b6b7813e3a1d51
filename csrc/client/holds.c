#include "client/internal.h"
#include "store/refs.h"

void wr_creator_drop(wr_client *c, wr_id id) {
  wr_lock(c);
  wr_refs_clear(&c->self, id.idx, id.gen, WR_REF_CREATOR);
  wr_unlock(c);
}

int wr_hold(wr_client *c, wr_idx idx, uint32_t gen, uint32_t *gen_out) {
  wr_lock(c);
  int rc = wr_hold_take(&c->self, idx, gen, gen_out);
  wr_unlock(c);
  return rc;
}

void wr_unhold(wr_client *c, wr_id id) {
  wr_lock(c);
  wr_hold_drop(&c->self, id.idx);
  wr_unlock(c);
}
