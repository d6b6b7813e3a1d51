#include "node/lines.h"

#include <string.h>

#include "base/mem.h"

static const char marker[] = "\x01wr:name=";
#define MARKER_LEN (sizeof marker - 1)

static int is_marker(const char *line, size_t len) {
  return len >= MARKER_LEN && memcmp(line, marker, MARKER_LEN) == 0;
}

/* `len` counts the newline. */
static void take_name(node_lines *l, const char *line, size_t len) {
  size_t n = len - MARKER_LEN - 1;
  if (n >= sizeof l->name) n = sizeof l->name - 1;
  memcpy(l->name, line + MARKER_LEN, n);
  l->name[n] = 0;
}

/* Emits whole lines, `len` bytes that end with a newline. */
static void emit(node_lines *l, const char *text, size_t len, node_lines_fn *out, void *arg) {
  const char *run = text, *end = text + len;
  for (const char *line = text; line < end;) {
    const char *next = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
    if (is_marker(line, (size_t)(next - line))) {
      if (line > run) out(arg, l->name, run, (size_t)(line - run));
      take_name(l, line, (size_t)(next - line));
      run = next;
    }
    line = next;
  }
  if (end > run) out(arg, l->name, run, (size_t)(end - run));
}

static int hold(node_lines *l, const char *text, size_t len) {
  if (len == 0) return 1;
  if (l->held_len + len > l->held_cap) {
    size_t cap = l->held_len + len < 512 ? 512 : l->held_len + len;
    char *held = wr_realloc(l->held, cap);
    if (!held) return 0;
    l->held = held;
    l->held_cap = cap;
  }
  memcpy(l->held + l->held_len, text, len);
  l->held_len += len;
  return 1;
}

void node_lines_flush(node_lines *l, node_lines_fn *out, void *arg) {
  if (l->held_len == 0 || !hold(l, "\n", 1)) return;
  emit(l, l->held, l->held_len, out, arg);
  l->held_len = 0;
}

void node_lines_feed(node_lines *l, const char *text, size_t len, node_lines_fn *out, void *arg) {
  if (len == 0) return;
  if (l->held_len) {
    const char *newline = memchr(text, '\n', len);
    size_t n = newline ? (size_t)(newline - text) + 1 : len;
    if (!hold(l, text, n)) return;
    text += n;
    len -= n;
    if (newline) {
      emit(l, l->held, l->held_len, out, arg);
      l->held_len = 0;
    }
  }
  const char *last = len ? memrchr(text, '\n', len) : NULL;
  size_t whole = last ? (size_t)(last - text) + 1 : 0;
  if (whole) emit(l, text, whole, out, arg);
  hold(l, text + whole, len - whole);
  if (l->held_len > NODE_LINE_MAX) node_lines_flush(l, out, arg);
}

void node_lines_free(node_lines *l) {
  wr_free(l->held);
  memset(l, 0, sizeof *l);
}
