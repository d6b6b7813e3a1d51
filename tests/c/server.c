#include "server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "client/conn.h"
#include "os/os.h"
#include "wire/frame.h"
#include "wire/messages.h"
#include "wire/unpack.h"

/* ---- worker and fork server ------------------------------------------------------------------ */

static _Noreturn void be_worker(server_obey *obey, int sock, uint32_t slot, uint32_t gen) {
  wr_client *c = NULL;
  if (wr_client_adopt(&c, 4, sock, slot, gen) != WR_OK) _exit(3);
  for (;;) {
    wr_job job;
    int rc = wr_work_next(c, &job, -1);
    if (rc == WR_OK)
      obey(c, &job);
    else if (rc != WR_INTR && rc != WR_TIMEOUT)
      _exit(0);
  }
}

static int receive_spawn(uint8_t *head, int *fds) {
  union {
    char bytes[CMSG_SPACE(3 * sizeof(int))];
    struct cmsghdr align;
  } control;
  struct iovec iov = {head, WR_FRAME_HEADER};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                     .msg_controllen = sizeof control};
  ssize_t n = recvmsg(3, &m, MSG_WAITALL | MSG_CMSG_CLOEXEC);
  if (n != (ssize_t)WR_FRAME_HEADER) return 0;
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  if (c) memcpy(fds, CMSG_DATA(c), 3 * sizeof(int));
  return 1;
}

static void answer(uint32_t type, const uint32_t *words, uint32_t n) {
  uint8_t out[WR_FRAME_HEADER + 12];
  wr_head h = {4 * n, type, 0};
  wr_head_encode(&h, out);
  for (uint32_t i = 0; i < n; i++) wr_put_u32(out + WR_FRAME_HEADER + 4 * i, words[i]);
  wr_os_send_all(3, out, WR_FRAME_HEADER + 4 * n);
}

static void spawn(server_obey *obey, const uint8_t *body, const int *fds) {
  uint32_t slot = wr_get_u32(body), gen = wr_get_u32(body + 4);
  if (getenv("TEST_NO_FORK")) {
    answer(WR_MSG_SPAWN_FAILED, (uint32_t[]){slot, gen, EAGAIN}, 3);
  } else {
    int pid = (int)fork();
    if (pid == 0) {
      dup2(fds[1], 1);
      dup2(fds[2], 2);
      close(3);
      if (getenv("TEST_DIE_EARLY")) {
        fprintf(stderr, "no such module\n");
        _exit(7);
      }
      be_worker(obey, fds[0], slot, gen);
    }
    answer(WR_MSG_SPAWNED, (uint32_t[]){slot, gen, (uint32_t)pid}, 3);
  }
  for (int i = 0; i < 3; i++) close(fds[i]);
}

static void reap(uint32_t pid) {
  struct rusage used = {0};
  wait4((int)pid, NULL, 0, &used);
  if (getenv("TEST_NO_ANSWER")) return;
  answer(WR_MSG_REAPED, (uint32_t[]){pid, (uint32_t)used.ru_maxrss}, 2);
}

void server_run(server_obey *obey) {
  uint8_t raw[WR_FRAME_HEADER], body[65536];
  int fds[3] = {-1, -1, -1};
  wr_head h;
  if (wr_client_premap(4) != WR_OK) _exit(4);
  answer(WR_MSG_READY, NULL, 0);
  while (receive_spawn(raw, fds) && wr_head_decode(raw, &h) == WR_OK && h.len < sizeof body &&
         wr_os_recv_all(3, body, h.len) == WR_OK) {
    if (h.type == WR_MSG_SPAWN) spawn(obey, body, fds);
    if (h.type == WR_MSG_REAP) reap(wr_get_u32(body));
  }
  _exit(0);
}

/* ---- the driver ------------------------------------------------------------------------------ */

void server_config(wr_buf *b, double cpus, uint64_t store_bytes, const char *temp_dir) {
  char self[256] = "";
  CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
  wr_out_map(b, 4);
  wr_out_text(b, "num_cpus");
  wr_out_double(b, cpus);
  wr_out_text(b, "object_store_memory");
  wr_out_uint(b, store_bytes);
  wr_out_text(b, "python");
  wr_out_text(b, self);
  wr_out_text(b, "temp_dir");
  wr_out_text(b, temp_dir);
}

uint32_t server_ask(wr_client *c, uint32_t type, wr_buf *body) {
  uint8_t *reply;
  size_t len;
  uint32_t n, v;
  CHECK_EQ(wr_rpc_call(c, type, body->data, body->len, &reply, &len), WR_OK);
  wr_buf_free(body);
  wr_cursor cur = wr_cursor_of(reply, len);
  CHECK_EQ(wr_in_array(&cur, &n), WR_OK);
  CHECK_EQ(n, 1);
  CHECK_EQ(wr_in_u32(&cur, &v), WR_OK);
  free(reply);
  return v;
}

uint16_t server_shape(wr_client *c) {
  wr_buf b = {0};
  wr_out_array(&b, 1);
  wr_out_map(&b, 0);
  uint32_t pool = server_ask(c, WR_MSG_POOL_REG, &b);
  wr_out_array(&b, 2);
  wr_out_uint(&b, pool);
  wr_out_map(&b, 1);
  wr_out_text(&b, "CPU");
  wr_out_double(&b, 1);
  return (uint16_t)server_ask(c, WR_MSG_SHAPE_REG, &b);
}
