/* Any bytes on a socket of the daemon, in any pieces; and any output of a worker.  Messages come
 * whole or not at all, and a peer that breaks the rules is cut off. */
#include "fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/status.h"
#include "node/conn.h"
#include "node/lines.h"

static struct {
  int messages, hangups;
  uint64_t sum;
} seen;

static void on_message(node_conn *c, const wr_head *h, const uint8_t *body) {
  (void)c;
  seen.messages++;
  if (h->len) seen.sum += body[0] + (uint64_t)body[h->len - 1];
  if (h->type & 1) node_conn_error(c, h->id, WR_PROTO, "no");
  if (h->type == 77) node_conn_close(c); /* as a handler may */
}

static void on_hangup(node_conn *c) {
  seen.hangups++;
  node_conn_close(c);
}

static void run(uv_loop_t *loop) {
  for (int i = 0; i < 3; i++) uv_run(loop, UV_RUN_NOWAIT);
}

static void stream(uv_loop_t *loop, fuzz_input *in) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) __builtin_trap();
  node_conn *c = node_conn_open(loop, fds[0], NULL, on_message, on_hangup);
  if (!c) __builtin_trap();
  seen.hangups = 0;
  for (int pieces = 0; fuzz_more(in) && pieces < 30; pieces++) {
    size_t n = fuzz_u8(in), left = (size_t)(in->end - in->p);
    if (n > left) n = left;
    if (send(fds[1], in->p, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) break;
    in->p += n;
    run(loop);
  }
  close(fds[1]);
  for (int i = 0; i < 1000 && uv_loop_alive(loop); i++) uv_run(loop, UV_RUN_NOWAIT);
  if (uv_loop_alive(loop) || seen.hangups > 1) __builtin_trap();
}

static void take_lines(void *arg, const char *name, const char *text, size_t len) {
  (void)arg;
  if (len == 0 || text[len - 1] != '\n') __builtin_trap();
  seen.sum += strlen(name) + (uint8_t)text[0];
}

static void output(fuzz_input *in) {
  node_lines l = {0};
  while (fuzz_more(in)) {
    size_t n = fuzz_u8(in), left = (size_t)(in->end - in->p);
    if (n > left) n = left;
    node_lines_feed(&l, (const char *)in->p, n, take_lines, NULL);
    in->p += n;
  }
  node_lines_flush(&l, take_lines, NULL);
  node_lines_free(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static uv_loop_t loop;
  static int made;
  if (!made++) uv_loop_init(&loop);
  fuzz_input in = {data, data + size};
  if (fuzz_u8(&in) & 1)
    output(&in);
  else
    stream(&loop, &in);
  return 0;
}
