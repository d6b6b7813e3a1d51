#include "base/status.h"

static const struct {
  int code;
  const char *name, *text;
} table[] = {
    {WR_OK, "OK", "success"},
    {WR_NOMEM, "NOMEM", "out of private memory"},
    {WR_FULL, "FULL", "the object store is full"},
    {WR_TIMEOUT, "TIMEOUT", "timed out"},
    {WR_INTR, "INTR", "interrupted by a signal"},
    {WR_CLOSED, "CLOSED", "not attached to a session, or the session has ended"},
    {WR_INVAL, "INVAL", "invalid argument"},
    {WR_STALE, "STALE", "the id names a record that no longer exists"},
    {WR_LIMIT, "LIMIT", "a table of the session is full"},
    {WR_IO, "IO", "a system call failed"},
    {WR_PROTO, "PROTO", "malformed message"},
    {WR_VERSION, "VERSION", "incompatible version"},
    {WR_DENIED, "DENIED", "permission denied"},
    {WR_AGAIN, "AGAIN", "nothing to do now"},
    {WR_EXISTS, "EXISTS", "the name is already taken"},
    {WR_NOTFOUND, "NOTFOUND", "not found"},
    {WR_DEAD, "DEAD", "the process or actor has died"},
    {WR_STATE, "STATE", "not allowed in this state"},
    {WR_AWAY, "AWAY", "the value is on disk"},
    {WR_LOST, "LOST", "what was spilled to disk is damaged or gone"},
};

static int find(int code) {
  for (int i = 0; i < (int)(sizeof table / sizeof table[0]); i++)
    if (table[i].code == code) return i;
  return -1;
}

const char *wr_status_name(int code) {
  int i = find(code);
  return i < 0 ? "UNKNOWN" : table[i].name;
}

const char *wr_status_text(int code) {
  int i = find(code);
  return i < 0 ? "unknown status code" : table[i].text;
}
