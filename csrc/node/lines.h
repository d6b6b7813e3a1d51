/* node/lines.h - cuts the output of a worker into whole lines.
 * A line "\x01wr:name=<text>" is not output: it names the lines that follow.  What follows the last
 * newline waits for more, up to a limit. */
#ifndef WR_NODE_LINES_H
#define WR_NODE_LINES_H

#include <stddef.h>

#define NODE_LINE_MAX 65536u

typedef void node_lines_fn(void *arg, const char *name, const char *text, size_t len);

typedef struct {
  char name[128];
  char *held; /* a line without its end */
  size_t held_len, held_cap;
} node_lines;

/* Calls `out` with runs of whole lines of one name; text ends with a newline. */
void node_lines_feed(node_lines *l, const char *text, size_t len, node_lines_fn *out, void *arg);
void node_lines_flush(node_lines *l, node_lines_fn *out, void *arg); /* a newline is added */
void node_lines_free(node_lines *l);

#endif
