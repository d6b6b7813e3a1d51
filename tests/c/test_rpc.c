/* Frames of which a part is on its way when the daemon stops: whoever waits is asked whether to
 * wait on, and what comes later is whole.  The test is the daemon, while the client asks. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/status.h"
#include "check.h"
#include "client/conn.h"
#include "os/io.h"
#include "os/os.h"
#include "wire/messages.h"
#include "wire/pack.h"

enum { LARGE = 3000000, SMALL = 5 };

static wr_conn *conn;
static int daemon_end;
static wr_buf seen;                 /* what has come from the client */
static int (*while_it_waits)(void); /* 1: the client gives up */

static int interrupted(void *ctx) {
  (void)ctx;
  return while_it_waits();
}

static int give_up(void) { return 1; }

static void open_connection(void) {
  int fds[2];
  CHECK_EQ(wr_os_socketpair(fds), WR_OK);
  CHECK_EQ(wr_conn_create(&conn, fds[0]), WR_OK);
  conn->waiting = (wr_waiting){.interrupted = interrupted};
  daemon_end = fds[1];
  CHECK_EQ(wr_os_set_nonblocking(daemon_end), WR_OK);
}

static void close_connection(void) {
  wr_conn_close(conn);
  wr_conn_destroy(conn);
  wr_os_close(daemon_end);
  wr_buf_free(&seen);
}

static uint8_t byte_of(size_t i, uint32_t seed) { return (uint8_t)(i * 7 + i / 251 + seed); }

static uint8_t *bytes(size_t n, uint32_t seed) {
  uint8_t *p = malloc(n);
  CHECK(p != NULL);
  for (size_t i = 0; i < n; i++) p[i] = byte_of(i, seed);
  return p;
}

static int are_bytes(const uint8_t *p, size_t n, uint32_t seed) {
  for (size_t i = 0; i < n; i++)
    if (p[i] != byte_of(i, seed)) return 0;
  return 1;
}

/* Sends a part of the answer to the request. */
static void answer(uint32_t id, size_t len, size_t from, size_t to) {
  uint8_t *frame = malloc(WR_FRAME_HEADER + len), *body = bytes(len, id);
  CHECK(frame != NULL);
  wr_head h = {(uint32_t)len, WR_MSG_REPLY, id};
  wr_head_encode(&h, frame);
  memcpy(frame + WR_FRAME_HEADER, body, len);
  if (to > WR_FRAME_HEADER + len) to = WR_FRAME_HEADER + len;
  CHECK_EQ(wr_os_send_all(daemon_end, frame + from, to - from), WR_OK);
  free(frame);
  free(body);
}

static void read_on(void) {
  for (;;) {
    size_t before = seen.len;
    uint8_t *room = wr_buf_extend(&seen, 65536);
    CHECK(room != NULL);
    int n = wr_os_read_some(daemon_end, room, 65536);
    seen.len = before + (n > 0 ? (size_t)n : 0);
    if (n <= 0) return;
  }
}

static uint32_t ask(size_t len, size_t expected) {
  uint8_t *body = bytes(len, 1), *reply;
  size_t n;
  int rc = wr_conn_call(conn, WR_MSG_KV_PUT, body, len, &reply, &n);
  free(body);
  CHECK(rc == WR_OK || rc == WR_INTR);
  if (rc != WR_OK) return 0;
  CHECK_EQ(n, expected);
  CHECK(are_bytes(reply, n, conn->next_id));
  free(reply);
  return 1;
}

static int answer_second(void) {
  static int done;
  if (!done++) answer(2, SMALL, 0, SIZE_MAX);
  return 0;
}

TEST(an_answer_of_which_a_part_has_come_is_given_up_and_the_next_one_is_right) {
  for (size_t part = 1; part < 40; part += 5) {
    open_connection();
    answer(1, 30, 0, part);
    while_it_waits = give_up;
    CHECK_EQ(ask(SMALL, 30), 0);
    answer(1, 30, part, SIZE_MAX);
    answer(2, SMALL, 0, SIZE_MAX);
    while_it_waits = give_up; /* it need not wait */
    CHECK_EQ(ask(SMALL, SMALL), 1);
    close_connection();
  }
}

static int read_and_answer(void) {
  read_on();
  return answer_second();
}

TEST(a_request_of_which_a_part_is_sent_is_given_up_and_its_rest_goes_first) {
  open_connection();
  while_it_waits = give_up;
  CHECK_EQ(ask(LARGE, 0), 0);
  CHECK_EQ(ask(SMALL, 0), 0); /* nothing of it is sent */
  conn->next_id = 1;          /* so that the next one is the second */
  while_it_waits = read_and_answer;
  CHECK_EQ(ask(SMALL, SMALL), 1);
  read_on();
  wr_head h;
  CHECK_EQ(seen.len, 2 * WR_FRAME_HEADER + LARGE + SMALL);
  CHECK_EQ(wr_head_decode(seen.data, &h), WR_OK);
  CHECK(h.id == 1 && h.len == LARGE);
  CHECK(are_bytes(seen.data + WR_FRAME_HEADER, LARGE, 1));
  CHECK_EQ(wr_head_decode(seen.data + WR_FRAME_HEADER + LARGE, &h), WR_OK);
  CHECK(h.id == 2 && h.len == SMALL);
  CHECK(are_bytes(seen.data + 2 * WR_FRAME_HEADER + LARGE, SMALL, 1));
  close_connection();
}
