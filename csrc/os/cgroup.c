#include "os/cgroup.h"

#include <stdio.h>
#include <string.h>

enum { PATH_CAP = 512 };

static int is_listed(const char *list, size_t len, const char *name) {
  for (size_t n; len; list += n, len -= n) {
    const char *comma = memchr(list, ',', len);
    n = comma ? (size_t)(comma - list) : len;
    if (n == strlen(name) && memcmp(list, name, n) == 0) return 1;
    n += comma != NULL;
  }
  return 0;
}

/* The group that a line "number:controllers:group" names, or NULL if it is about others. */
static const char *group_in(const char *line, const char *controller) {
  const char *list = strchr(line, ':'), *end = list ? strchr(list + 1, ':') : NULL;
  if (!end) return NULL;
  size_t len = (size_t)(end - list) - 1;
  if (controller ? !is_listed(list + 1, len, controller) : len != 0) return NULL;
  return end + 1;
}

/* Such as "/user.slice"; "" for the root, and where nothing is known. */
static void find_group(const char *top, const char *controller, char *out, size_t cap) {
  char path[PATH_CAP], line[PATH_CAP];
  const char *group = NULL;
  out[0] = 0;
  snprintf(path, sizeof path, "%s/proc/self/cgroup", top);
  FILE *f = fopen(path, "re");
  if (!f) return;
  while (!group && fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    group = group_in(line, controller);
  }
  fclose(f);
  if (group && strcmp(group, "/") != 0) snprintf(out, cap, "%s", group);
}

void wr_os_cgroup_walk(const char *top, const char *controller,
                       void (*visit)(const char *dir, void *arg), void *arg) {
  char group[PATH_CAP], dir[3 * PATH_CAP];
  find_group(top, controller, group, sizeof group);
  for (;;) {
    snprintf(dir, sizeof dir, "%s/sys/fs/cgroup%s%s%s", top, controller ? "/" : "",
             controller ? controller : "", group);
    visit(dir, arg);
    char *slash = strrchr(group, '/');
    if (!slash) return;
    *slash = 0;
  }
}
