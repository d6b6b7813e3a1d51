/* The calls of a mailbox that is made anew: in the order of each caller, whatever the numbers. */
#include "sched/call_order.h"

#include "session.h"

enum { CALLS = 300 };

static session x;
static wr_id ids[CALLS];
static wr_idx calls[CALLS];

static void open_calls(void) {
  session_open(&x, 8u << 20);
  wr_client *d = session_client(&x, WR_ROLE_DRIVER);
  for (uint32_t k = 0; k < CALLS; k++) {
    task_plan p = {.o = {ORDER_ECHO, k, 8, 0}};
    plan_build(d, &p, &ids[k]);
    calls[k] = ids[k].idx;
  }
}

static void close_calls(void) {
  session_close(&x);
}

static void number(uint32_t k, uint16_t submitter, uint32_t n) {
  wr_task *t = wr_task_at(&x.seg, ids[k].idx);
  t->submitter = submitter;
  wr_store(&t->wait, WR_WAIT(n, ids[k].gen));
}

static void shuffle(void) {
  uint32_t state = 1;
  for (uint32_t k = CALLS - 1; k; k--) {
    state = state * 1664525u + 1013904223u;
    uint32_t other = (state >> 8) % (k + 1);
    wr_idx c = calls[k];
    calls[k] = calls[other];
    calls[other] = c;
  }
}

TEST(each_callers_calls_keep_their_order_when_numbers_wrap) {
  open_calls();
  for (uint32_t k = 0; k < CALLS; k++)
    number(k, (uint16_t)(k * 3 / CALLS + 2), k * 3 / CALLS == 1 ? 0xFFFFFFC0u + k % 100 : k);
  shuffle();
  wr_calls_sort(&x.seg, calls, CALLS);
  for (uint32_t k = 0; k < CALLS; k++) CHECK_EQ(calls[k], ids[k].idx);
  close_calls();
}

/* Numbers that no caller counts: differences alone would put each before the next, in a circle. */
TEST(hostile_numbers_lose_no_call) {
  open_calls();
  for (uint32_t k = 0; k < CALLS; k++) number(k, 7, k % 3 * 0x60000000u);
  shuffle();
  wr_calls_sort(&x.seg, calls, CALLS);
  uint32_t seen = 0, swaps = 0;
  for (uint32_t k = 0; k < CALLS; k++)
    for (uint32_t i = 0; i < CALLS; i++) seen += calls[i] == ids[k].idx;
  CHECK_EQ(seen, CALLS);
  for (uint32_t k = 1; k < CALLS; k++)
    swaps += (uint32_t)wr_load(&wr_task_at(&x.seg, calls[k])->wait) !=
             (uint32_t)wr_load(&wr_task_at(&x.seg, calls[k - 1])->wait);
  CHECK_EQ(swaps, 2);
  close_calls();
}
