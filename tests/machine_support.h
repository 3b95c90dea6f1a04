// Machines whose interfaces for attestation are imitated: the kernel's configfs-tsm and Gramine's,
// directories whose files do as theirs. What plain files do not do by themselves, the system calls below do
// for them, which take the place of libc's in the program that includes this.
#ifndef CARREL_TESTS_MACHINE_SUPPORT_H
#define CARREL_TESTS_MACHINE_SUPPORT_H

#include "intel_support.h"
#include "temporary.h"

#include "attestation/attester.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { REPORT_SIZE_SNP = 0x4a0, REPORT_DATA_AT_SNP = 0x50, QUOTE_DATA_TD = 520, QUOTE_DATA_SGX = 320 };

// The machine that is imitated.
static struct {
    int mkdir_error, read_error; // errno that making an entry, and reading outblob or quote, fail with, or 0
    int write_error;             // the same of writing to `refused`
    const char *refused;         // a file's name
    const char *provider, *floor;
    bool deaf;              // what is written to inblob is not taken, without a word
    size_t disturbances;    // so many reads of outblob at which somebody else has just written
    bool stubborn;          // report data are always those of the last machine
    struct platform *intel; // who quotes; or
    struct cr_slice report; // the report, into which the report data are put
    struct cr_slice *table; // auxblob
    size_t entries, writes; // made; to their files
    unsigned long generation;
    char level[8]; // what was written to privlevel
} machine;

static char tsm[64], gramine[64];
static const struct cr_attester_places places = {.gramine = gramine, .tsm = tsm};

static void put_file(const char *folder, const char *name, const void *bytes, size_t size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    write_bytes(path, (struct cr_slice){bytes, size});
}

static void put_text(const char *folder, const char *name, const char *text)
{
    put_file(folder, name, text, strlen(text));
}

static void put_generation(const char *entry)
{
    char text[32];
    snprintf(text, sizeof text, "%lu\n", machine.generation);
    put_text(entry, "generation", text);
}

// The path behind a descriptor, cut into folder and name; false where it is not below `root`.
static bool find_path(int fd, const char *root, char folder[256], const char **name)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, folder, 255);
    if (size < 0 || root[0] == 0 || strncmp(folder, root, strlen(root)) != 0) return false;
    folder[size] = 0;
    char *slash = strrchr(folder, '/');
    *slash = 0;
    *name = slash + 1;
    return true;
}

static void put_quote(const char *folder, const char *name, const unsigned char *report_data)
{
    struct cr_buffer quote = {0};
    struct platform *p = machine.intel;
    if (!machine.stubborn)
        memcpy(p->report + (p->is_td ? QUOTE_DATA_TD : QUOTE_DATA_SGX), report_data, CR_REPORT_DATA_SIZE);
    platform_quote(p, &quote);
    put_file(folder, name, quote.data, quote.size);
    cr_buffer_release(&quote);
}

static void take_inblob(const char *entry, const unsigned char *report_data)
{
    struct cr_buffer report = {0};
    if (machine.deaf) {
        put_file(entry, "outblob", machine.report.data, machine.report.size); // an old answer
        return;
    }
    machine.generation++;
    put_generation(entry);
    if (machine.intel) {
        put_quote(entry, "outblob", report_data);
        return;
    }
    assert_ok(cr_append(&report, machine.report.data, machine.report.size));
    if (!machine.stubborn && report.size >= REPORT_DATA_AT_SNP + CR_REPORT_DATA_SIZE)
        memcpy(report.data + REPORT_DATA_AT_SNP, report_data, CR_REPORT_DATA_SIZE);
    put_file(entry, "outblob", report.data, report.size);
    cr_buffer_release(&report);
}

int mkdir(const char *path, mode_t mode)
{
    bool imitated = tsm[0] && strncmp(path, tsm, strlen(tsm)) == 0 && strlen(path) > strlen(tsm);
    if (imitated && machine.mkdir_error) {
        errno = machine.mkdir_error;
        return -1;
    }
    if (syscall(SYS_mkdirat, AT_FDCWD, path, mode) != 0) return -1;
    if (!imitated) return 0;
    machine.entries++;
    put_text(path, "provider", machine.provider);
    put_text(path, "inblob", "");
    put_generation(path);
    if (machine.table) put_file(path, "auxblob", machine.table->data, machine.table->size);
    if (!machine.floor) return 0;
    put_text(path, "privlevel", "");
    put_text(path, "privlevel_floor", machine.floor);
    return 0;
}

int rmdir(const char *path)
{
    static const char *const names[] = {"provider", "inblob",    "outblob",        "generation",
                                        "auxblob",  "privlevel", "privlevel_floor"};
    char file[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        unlink(file);
    }
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    char folder[256];
    const char *name;
    if (machine.write_error && (find_path(fd, tsm, folder, &name) || find_path(fd, gramine, folder, &name)) &&
        strcmp(name, machine.refused) == 0) {
        errno = machine.write_error;
        return -1;
    }
    ssize_t put = syscall(SYS_write, fd, bytes, size);
    if (put != (ssize_t)size) return put;
    if (find_path(fd, tsm, folder, &name)) {
        machine.writes++;
        if (strcmp(name, "inblob") == 0 && size == CR_REPORT_DATA_SIZE) take_inblob(folder, bytes);
        if (strcmp(name, "privlevel") == 0) {
            snprintf(machine.level, sizeof machine.level, "%.*s", (int)size, (const char *)bytes);
            machine.generation++;
            put_generation(folder);
        }
    } else if (find_path(fd, gramine, folder, &name) && strcmp(name, "user_report_data") == 0 &&
               size == CR_REPORT_DATA_SIZE) {
        put_quote(folder, "quote", bytes);
    }
    return put;
}

ssize_t read(int fd, void *bytes, size_t size)
{
    char folder[256];
    const char *name;
    bool outblob = find_path(fd, tsm, folder, &name) && strcmp(name, "outblob") == 0;
    bool quote = !outblob && find_path(fd, gramine, folder, &name) && strcmp(name, "quote") == 0;
    if (machine.read_error && (outblob || quote)) {
        errno = machine.read_error;
        return -1;
    }
    if (outblob) {
        if (machine.disturbances > 0) {
            machine.disturbances--;
            machine.generation++;
            put_generation(folder);
        }
    }
    return syscall(SYS_read, fd, bytes, size);
}

static size_t entries_left(void)
{
    size_t count = 0;
    DIR *folder = opendir(tsm);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static unsigned char snp_report[REPORT_SIZE_SNP];

// A guest of SNP whose report nobody has signed.
static void become_snp(void)
{
    memset(snp_report, 0, sizeof snp_report);
    snp_report[0] = 2;
    snp_report[10] = 0x03;
    snp_report[0x34] = 1;
    memset(&machine, 0, sizeof machine);
    machine.provider = "sev_guest\n";
    machine.floor = "0\n";
    machine.report = (struct cr_slice){snp_report, sizeof snp_report};
}

static void become_tdx(struct platform *platform)
{
    memset(&machine, 0, sizeof machine);
    machine.provider = "tdx_guest\n";
    machine.intel = platform;
}

static int make_places(void **state)
{
    if (make_directory(state) != 0) return -1;
    snprintf(gramine, sizeof gramine, "%.63s", in_directory("gramine"));
    snprintf(tsm, sizeof tsm, "%.63s", in_directory("tsm"));
    return mkdir(gramine, 0700) == 0 && mkdir(tsm, 0700) == 0 ? 0 : -1;
}

#endif
