/* Exports: found by their bytes, whoever made them and whoever is dead. */
#include "session.h"

#include "store/exports.h"

static session x;

static wr_id export_pattern(wr_client *c, size_t len, uint32_t seed) {
  uint8_t bytes[9000], *dst;
  wr_id id;
  CHECK_LE(len, sizeof bytes);
  pattern_fill(bytes, len, seed);
  if (wr_export_find(c, bytes, len, &id)) return id;
  CHECK_EQ(wr_object_create(c, &id), WR_OK);
  CHECK_EQ(wr_value_reserve(c, id.idx, len, NULL, 0, &dst), WR_OK);
  memcpy(dst, bytes, len);
  CHECK_EQ(wr_export_seal(c, id, bytes, len), WR_OK);
  return id;
}

TEST(equal_bytes_are_one_export) {
  session_open(&x, 8u << 20);
  wr_client *a = session_client(&x, WR_ROLE_WORKER), *b = session_client(&x, WR_ROLE_WORKER);
  static const size_t lens[] = {0, 1, 20, 32, 33, 1150, 9000};
  wr_id ids[7];
  wr_audit out;
  for (uint32_t k = 0; k < 7; k++) ids[k] = export_pattern(a, lens[k], 5);
  for (uint32_t k = 0; k < 7; k++) CHECK_EQ(export_pattern(b, lens[k], 5).idx, ids[k].idx);
  for (uint32_t k = 1; k < 7; k++) CHECK_NE(export_pattern(b, lens[k], 6).idx, ids[k].idx);
  session_audit(&x, &out);
  CHECK_EQ(out.functions, 13);
  session_close(&x);
}

TEST(an_export_outlives_its_makers) {
  session_open(&x, 8u << 20);
  wr_id first = {0, 0};
  wr_audit out;
  for (int k = 0; k < 50; k++) {
    wr_client *c = session_client(&x, WR_ROLE_WORKER);
    wr_id id = export_pattern(c, 1150, 3);
    CHECK(!first.idx || (id.idx == first.idx && id.gen == first.gen));
    first = id;
    uint32_t slot = c->slot;
    session_drop(&x, slot);
    session_sweep(&x, slot);
  }
  session_audit(&x, &out);
  CHECK_EQ(out.functions, 1);
  session_close(&x);
}

TEST(a_crowded_table_refuses_nothing) {
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_WORKER);
  wr_audit out;
  uint32_t more = WR_MAX_EXPORTS + 100;
  for (uint32_t k = 0; k < more; k++) {
    uint8_t *dst;
    wr_id id;
    CHECK_EQ(wr_object_create(c, &id), WR_OK);
    CHECK_EQ(wr_value_reserve(c, id.idx, sizeof k, NULL, 0, &dst), WR_OK);
    memcpy(dst, &k, sizeof k);
    CHECK_EQ(wr_export_seal(c, id, dst, sizeof k), WR_OK);
  }
  session_audit(&x, &out);
  CHECK_EQ(out.functions, more);
  session_close(&x);
}
