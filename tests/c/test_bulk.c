/* Large values are written through the memfd where the store has never been used, and by stores
 * where it has. */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "os/os.h"
#include "session.h"

#define LEN (3u << 20)

/* A value of LEN bytes that is not there yet; where it is to stand. */
static wr_id reserve(wr_client *c, uint8_t **dst) {
  wr_id id;
  CHECK_EQ(wr_object_create(c, &id), WR_OK);
  CHECK_EQ(wr_value_reserve(c, id.idx, LEN, NULL, 0, dst), WR_OK);
  return id;
}

static void write_through(wr_client *c, uint8_t *dst, uint32_t seed) {
  uint8_t *value = malloc(LEN);
  CHECK(value != NULL);
  pattern_fill(value, LEN, seed);
  wr_value_write(c, dst, value, LEN);
  free(value);
}

static void put_through(wr_client *c, wr_client *reader, uint32_t seed, wr_id *out) {
  uint8_t *dst;
  *out = reserve(c, &dst);
  CHECK_EQ(wr_value_is_fresh(c, dst, LEN), 1);
  write_through(c, dst, seed);
  CHECK_EQ(wr_object_seal(c, out->idx, 0, 0), WR_OK);
  CHECK(pattern_is(reader, *out, LEN, seed));
  CHECK(pattern_is(c, *out, LEN, seed));
}

TEST(what_is_written_through_the_file_is_there_for_all) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_DRIVER), *other = session_client(&x, WR_ROLE_WORKER);
  wr_id a, b;
  put_through(c, other, 5, &a);
  put_through(c, other, 6, &b);
  CHECK(pattern_is(other, a, LEN, 5));
  wr_creator_drop(c, a);
  wr_creator_drop(c, b);
  session_check_empty(&x);
  session_close(&x);
}

TEST(memory_that_was_used_is_not_fresh) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_DRIVER), *other = session_client(&x, WR_ROLE_WORKER);
  wr_id id;
  uint8_t *dst, *again;
  put_through(c, other, 5, &id);
  wr_creator_drop(c, id);
  id = reserve(c, &dst);
  CHECK_EQ(wr_value_is_fresh(c, dst, LEN), 0); /* there, and mapped by the question */
  CHECK_EQ(wr_value_is_fresh(c, dst, LEN), 0);
  pattern_fill(dst, LEN, 7);
  CHECK_EQ(wr_object_seal(c, id.idx, 0, 0), WR_OK);
  CHECK(pattern_is(other, id, LEN, 7));
  wr_creator_drop(c, id);
  id = reserve(other, &again); /* the same memory, which this one has not mapped */
  CHECK_EQ(again - (uint8_t *)other->seg.base, dst - (uint8_t *)c->seg.base);
  CHECK_EQ(wr_value_is_fresh(other, again, LEN), 0);
  session_close(&x);
}

TEST(memory_given_back_to_the_system_is_fresh) {
  session x;
  session_open(&x, 48u << 20);
  wr_client *c = session_client(&x, WR_ROLE_DRIVER);
  const size_t large = 9u << 20;
  wr_id id;
  uint8_t *dst;
  CHECK_EQ(wr_object_create(c, &id), WR_OK);
  CHECK_EQ(wr_value_reserve(c, id.idx, large, NULL, 0, &dst), WR_OK);
  CHECK_EQ(wr_value_is_fresh(c, dst, large), 1);
  memset(dst, 1, large);
  CHECK_EQ(wr_value_is_fresh(c, dst, large), 0);
  CHECK_EQ(wr_os_punch(x.seg.fd, (uint64_t)(dst - (uint8_t *)c->seg.base), large), WR_OK);
  CHECK_EQ(wr_value_is_fresh(c, dst, large), 1); /* though it is noted as mapped */
  wr_value_discard(c, id.idx);
  session_close(&x);
}

TEST(a_limit_on_files_does_not_cut_values) {
  session x;
  session_open(&x, 24u << 20);
  wr_client *c = session_client(&x, WR_ROLE_DRIVER), *other = session_client(&x, WR_ROLE_WORKER);
  uint8_t *dst;
  wr_id id = reserve(c, &dst);
  uint64_t end = (uint64_t)(dst - (uint8_t *)c->seg.base) + LEN / 2;
  const struct rlimit limit = {end, end};
  CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR); /* as CPython does */
  CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  CHECK_EQ(wr_value_is_fresh(c, dst, LEN), 1);
  write_through(c, dst, 8);
  CHECK_EQ(wr_object_seal(c, id.idx, 0, 0), WR_OK);
  CHECK(pattern_is(other, id, LEN, 8));
  session_close(&x);
}
