#include "base/cgroup.h"

#include "base/file.h"

#include <string.h>

enum { LONGEST_FILE = 1 << 16 };

// The text of a file, valid until the buffer's next use; "" if it cannot be read.
static const char *read_text(const char *directory, const char *name, struct cr_buffer *buffer)
{
    CR_FREE char *path = NULL;
    buffer->size = 0;
    if (cr_path_join(directory, name, &path) != CR_OK || cr_file_read(path, LONGEST_FILE, buffer) != CR_OK)
        return "";
    return cr_buffer_text(buffer);
}

// The number at the start of the text; UINT64_MAX if it does not start with one (as "max" and -1 do not) or
// if the number is too large. *rest (if not NULL) is set to the text after it.
static uint64_t take_number(const char *text, const char **rest)
{
    uint64_t number = 0;
    bool any = false, fits = true;
    for (; *text >= '0' && *text <= '9'; text++, any = true)
        fits = fits && !__builtin_mul_overflow(number, 10, &number) &&
               !__builtin_add_overflow(number, (uint64_t)(*text - '0'), &number);
    if (rest) *rest = text;
    return any && fits ? number : UINT64_MAX;
}

static uint64_t read_number(const char *directory, const char *name)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer buffer = {0};
    return take_number(read_text(directory, name, &buffer), NULL);
}

static uint64_t processors_of(uint64_t quota, uint64_t period)
{
    if (quota == 0 || quota == UINT64_MAX || period == 0 || period == UINT64_MAX) return UINT64_MAX;
    return (quota - 1) / period + 1;
}

static uint64_t processors_1(const char *group)
{
    return processors_of(read_number(group, "cpu.cfs_quota_us"), read_number(group, "cpu.cfs_period_us"));
}

static uint64_t processors_2(const char *group)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer buffer = {0};
    const char *rest;
    uint64_t quota = take_number(read_text(group, "cpu.max", &buffer), &rest);
    return processors_of(quota, *rest == ' ' ? take_number(rest + 1, NULL) : 0);
}

// Bytes that the kernel could reclaim, counted as in MemAvailable: the sum of the entries `names` of
// memory.stat.
static uint64_t reclaimable(const char *group, const char *const *names, size_t count)
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer buffer = {0};
    uint64_t sum = 0;
    for (const char *line = read_text(group, "memory.stat", &buffer); line; line = strchr(line, '\n')) {
        line += *line == '\n';
        for (size_t i = 0; i < count; i++) {
            size_t length = strlen(names[i]);
            if (strncmp(line, names[i], length) != 0) continue;
            uint64_t number = take_number(line + length, NULL);
            if (number < UINT64_MAX - sum) sum += number;
        }
    }
    return sum;
}

static uint64_t memory_of(uint64_t limit, uint64_t used, uint64_t spare)
{
    if (limit == UINT64_MAX || used == UINT64_MAX) return UINT64_MAX;
    used -= cr_least(used, spare);
    return limit > used ? limit - used : 0;
}

static uint64_t memory_1(const char *group)
{
    static const char *const names[] = {"total_active_file ", "total_inactive_file "};
    return memory_of(read_number(group, "memory.limit_in_bytes"), read_number(group, "memory.usage_in_bytes"),
                     reclaimable(group, names, 2));
}

static uint64_t memory_2(const char *group)
{
    static const char *const names[] = {"active_file ", "inactive_file ", "slab_reclaimable "};
    return memory_of(read_number(group, "memory.max"), read_number(group, "memory.current"),
                     reclaimable(group, names, 3));
}

// Whether a line of /proc/self/cgroup, NUMBER:CONTROLLER,...:GROUP, is for this controller ("": cgroup
// version 2); if so, *group is set to the start of GROUP.
static bool line_is_of(const char *line, const char *controller, const char **group)
{
    size_t length = strlen(controller);
    const char *name = line + strcspn(line, ":\n");
    if (*name != ':') return false;
    do {
        name++;
        size_t size = strcspn(name, ",:\n");
        bool same = size == length && memcmp(name, controller, length) == 0;
        name += size;
        if (same) {
            *group = name + strcspn(name, ":\n");
            return **group == ':' && *++*group == '/';
        }
    } while (*name == ',');
    return false;
}

// The smallest value that `of` returns for the process's group and all groups above it. In a container,
// /proc/self/cgroup may show the group's path on the host; that path does not exist here, and the mount point
// itself is the group.
static uint64_t tightest(const char *root, const char *controller, uint64_t (*of)(const char *group))
{
    CR_CLEANUP(cr_buffer_release) struct cr_buffer groups = {0};
    CR_CLEANUP(cr_buffer_release) struct cr_buffer path = {0};
    const char *line, *group;
    uint64_t least = UINT64_MAX;
    if (cr_append_format(&path, "%s/proc/self/cgroup", root) != CR_OK) return least;
    line = read_text("", cr_buffer_text(&path), &groups);
    while (line && !line_is_of(line, controller, &group)) {
        line = strchr(line, '\n');
        line += line != NULL;
    }
    if (!line) return least;
    int length = (int)strcspn(group, "\n");
    if (memmem(group, (size_t)length, "/..", 3)) length = 0; // ".." leads above the visible part
    path.size = 0;
    if (cr_append_format(&path, "%s/sys/fs/cgroup%s%s", root, *controller ? "/" : "", controller) != CR_OK)
        return least;
    char *slash;
    size_t mount = path.size;
    if (cr_append_format(&path, "%.*s", length, group) != CR_OK) return least;
    do {
        least = cr_least(least, of((char *)path.data));
        slash = strrchr((char *)path.data + mount, '/');
        if (slash) *slash = 0;
    } while (slash);
    return least;
}

size_t cr_cgroup_processors(const char *root)
{
    return cr_least(tightest(root, "", processors_2), tightest(root, "cpu", processors_1));
}

uint64_t cr_cgroup_memory(const char *root)
{
    return cr_least(tightest(root, "", memory_2), tightest(root, "memory", memory_1));
}
