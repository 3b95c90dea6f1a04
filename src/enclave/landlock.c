#include "enclave/landlock.h"

#include "base/file.h"
#include "base/memory.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// The kernel's constants, repeated here: linux/landlock.h of the build machine may be older than the kernel
// that runs the program.
enum {
    EXECUTE = 1 << 0,
    WRITE_FILE = 1 << 1,
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    REMOVE_DIR = 1 << 4,
    REMOVE_FILE = 1 << 5,
    MAKE_DIR = 1 << 7,
    MAKE_REG = 1 << 8,
    TRUNCATE = 1 << 14,

    FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE, // the rights that a rule for a file may have
    READ = READ_FILE | READ_DIR,
    WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | TRUNCATE,

    BIND_AND_CONNECT = 3,
    UNIX_AND_SIGNALS = 3, // scope: no connection to others' abstract sockets, no signals to others
};

struct ruleset {
    uint64_t files, network, scope;
};

struct path_rule {
    uint64_t rights;
    int32_t directory; // descriptor, of a directory or a file
} __attribute__((packed));

enum { GET_VERSION = 1, RULE_PATH = 1 };

// Fills in all that this version of Landlock can take away. Returns the size of the structure, which grew
// with the versions.
static size_t everything(int abi, bool network, struct ruleset *out)
{
    // Version 1 has bits 0 to 12. Bit 13: renaming across directories; 14: truncation; 15: ioctl on devices.
    unsigned rights = abi >= 5 ? 16 : abi >= 3 ? 15 : abi == 2 ? 14 : 13;
    *out = (struct ruleset){.files = (UINT64_C(1) << rights) - 1};
    if (abi >= 4 && !network) out->network = BIND_AND_CONNECT;
    if (abi >= 6) out->scope = UNIX_AND_SIGNALS;
    return sizeof(uint64_t) * (abi >= 6 ? 3 : abi >= 4 ? 2 : 1);
}

// A ruleset in the making, and the rights that it takes away unless a rule grants them.
struct making {
    int ruleset;
    uint64_t handled;
};

static enum cr_status add_rule(const struct making *making, int fd, uint64_t rights, const char *path)
{
    struct path_rule rule = {.rights = rights & making->handled, .directory = fd};
    if (syscall(SYS_landlock_add_rule, making->ruleset, RULE_PATH, &rule, 0) != 0)
        return cr_fail_errno(CR_INTERNAL, "%s: Landlock", path);
    return CR_OK;
}

// A downloaded model is often a directory of links to files elsewhere.
static enum cr_status allow_targets(const struct making *making, const char *path)
{
    DIR *directory = opendir(path);
    enum cr_status status = CR_OK;
    if (!directory) return CR_OK; // the role will report why when it reads it
    for (struct dirent *entry; status == CR_OK && (entry = readdir(directory));) {
        struct stat stat;
        if (entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN) continue;
        CR_CLEANUP(cr_file_close) int fd = openat(dirfd(directory), entry->d_name, O_PATH | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode))
            status = add_rule(making, fd, READ_FILE, path);
    }
    closedir(directory);
    return status;
}

static enum cr_status allow(const struct making *making, const char *path, bool write)
{
    CR_CLEANUP(cr_file_close) int fd = open(path, O_PATH | O_CLOEXEC);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) != 0) return CR_OK; // the role will report why when it opens it
    if (!S_ISDIR(stat.st_mode)) return add_rule(making, fd, (write ? WRITE : READ) & FILE_RIGHTS, path);
    CR_TRY(add_rule(making, fd, write ? WRITE : READ, path));
    return write ? CR_OK : allow_targets(making, path);
}

// Files that libraries read at run time: jansson and OpenSSL read a seed, the C library reads the time zone
// and, for name resolution, the rest.
static const char *const for_libraries[] = {"/dev/urandom", "/etc/localtime"};
static const char *const for_names[] = {"/etc/hosts",           "/etc/host.conf",  "/etc/resolv.conf",
                                        "/etc/nsswitch.conf",   "/etc/gai.conf",   "/etc/services",
                                        "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"};

static enum cr_status allow_policy(const struct making *making, const struct cr_policy *policy)
{
    for (size_t i = 0; i < sizeof for_libraries / sizeof *for_libraries; i++)
        CR_TRY(allow(making, for_libraries[i], false));
    for (size_t i = 0; policy->network && i < sizeof for_names / sizeof *for_names; i++)
        CR_TRY(allow(making, for_names[i], false));
    for (size_t i = 0; i < policy->count; i++)
        CR_TRY(allow(making, policy->paths[i].path, policy->paths[i].write));
    return CR_OK;
}

enum cr_status cr_landlock_restrict(const struct cr_policy *policy, int *abi)
{
    int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, GET_VERSION);
    *abi = 0;
    if (version < 1) return CR_OK;
    struct ruleset ruleset;
    size_t size = everything(version, policy->network, &ruleset);
    CR_CLEANUP(cr_file_close) int fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, size, 0);
    if (fd < 0) return cr_fail_errno(CR_INTERNAL, "Landlock");
    CR_TRY(allow_policy(&(struct making){fd, ruleset.files}, policy));
    if (syscall(SYS_landlock_restrict_self, fd, 0) != 0) return cr_fail_errno(CR_INTERNAL, "Landlock");
    *abi = version;
    return CR_OK;
}
