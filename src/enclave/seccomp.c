#include "enclave/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))

// The four possible answers to a call.
#define ALLOW SECCOMP_RET_ALLOW
#define REFUSE (SECCOMP_RET_ERRNO | EPERM)
#define ABSENT (SECCOMP_RET_ERRNO | ENOSYS)
#define KILL SECCOMP_RET_KILL_PROCESS

static const int allowed[] = {
    // Reading and writing.
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_lseek,
    SYS_close,
    SYS_dup,
    SYS_pipe2,
    SYS_eventfd2,
    SYS_poll,
    SYS_ppoll,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_wait,
    SYS_epoll_pwait,
    // Files, as far as Landlock allows.
    SYS_open,
    SYS_openat,
    SYS_access,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_stat,
    SYS_lstat,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_getdents64,
    SYS_readlink,
    SYS_readlinkat,
    SYS_getcwd,
    SYS_mkdir,
    SYS_mkdirat,
    SYS_rmdir,
    SYS_unlink,
    SYS_unlinkat,
    SYS_rename,
    SYS_renameat,
    SYS_renameat2,
    SYS_ftruncate,
    SYS_fsync,
    SYS_fdatasync,
    SYS_flock,
    SYS_fadvise64,
    // Memory. mmap and mprotect are judged by their arguments.
    SYS_brk,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_mlock,
    SYS_mlock2,
    SYS_munlock,
    SYS_memfd_create,
    SYS_fallocate,
    SYS_memfd_secret,
    // Threads, time and signals to itself.
    SYS_futex,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_setaffinity, // of any thread of this user: this process's threads are not known in advance
    SYS_set_robust_list,
    SYS_rseq,
    SYS_arch_prctl,
    SYS_set_tid_address,
    SYS_exit,
    SYS_exit_group,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    SYS_time,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_restart_syscall,
    SYS_membarrier,
    // Process, user and system information.
    SYS_getpid,
    SYS_getppid,
    SYS_gettid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getrandom,
    SYS_uname,
    SYS_sysinfo,
    SYS_getrusage,
    SYS_times,
    SYS_getcpu,
};

// socket is judged by the address family.
static const int allowed_with_network[] = {
    SYS_connect,     SYS_bind,       SYS_listen,     SYS_accept,   SYS_accept4,  SYS_getsockname,
    SYS_getpeername, SYS_getsockopt, SYS_setsockopt, SYS_sendto,   SYS_recvfrom, SYS_sendmsg,
    SYS_recvmsg,     SYS_sendmmsg,   SYS_recvmmsg,   SYS_shutdown,
};

static const int deadly[] = {
    // Starting programs; other processes.
    SYS_execve,
    SYS_execveat,
    SYS_fork,
    SYS_vfork,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_process_madvise,
    SYS_pidfd_open,
    SYS_pidfd_getfd,
    SYS_pidfd_send_signal,
    SYS_kcmp,
    // Ways to evade the checks of files and memory.
    SYS_open_by_handle_at,
    SYS_name_to_handle_at,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_pkey_mprotect,
    SYS_remap_file_pages,
    SYS_modify_ldt,
    SYS_personality,
    // Namespaces and mounts.
    SYS_unshare,
    SYS_setns,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_move_mount,
    SYS_open_tree,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    // The kernel and the machine.
    SYS_bpf,
    SYS_perf_event_open,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_iopl,
    SYS_ioperm,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_syslog,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    // Other users.
    SYS_setuid,
    SYS_setgid,
    SYS_setreuid,
    SYS_setregid,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setgroups,
    SYS_setfsuid,
    SYS_setfsgid,
    SYS_capset,
};

static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}; // the last one for name resolution
// The commands that libraries and base/outside.c need. Others would send signals to any process of this user
// (F_SETOWN with F_SETSIG), or keep others from opening files (F_SETLEASE).
static const int file_commands[] = {F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD_CLOEXEC, F_ADD_SEALS};
static const int device_calls[] = {TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO};

enum { SIZE = 2 * (COUNT(allowed) + COUNT(allowed_with_network) + COUNT(deadly)) + 128 };

struct program {
    struct sock_filter code[SIZE];
    unsigned short count;
};

static void put(struct program *program, struct sock_filter instruction)
{
    program->code[program->count++] = instruction;
}

static void load(struct program *program, size_t offset)
{
    put(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void answer(struct program *program, uint32_t action)
{
    put(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

// If the comparison of the loaded word with `value` is true, the answer is `action`.
static void answer_if(struct program *program, uint16_t comparison, uint32_t value, uint32_t action)
{
    put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | comparison | BPF_K, value, 0, 1));
    answer(program, action);
}

static void answer_all(struct program *program, const int *calls, size_t count, uint32_t action)
{
    for (size_t i = 0; i < count; i++) answer_if(program, BPF_JEQ, (uint32_t)calls[i], action);
}

// Judges one call by the lower half of one argument; all arguments judged here have 32 bits. `judgement` has
// `size` instructions and ends with an answer. For other calls the system call number stays loaded.
static void judge(struct program *program, int call, unsigned argument, const struct sock_filter *judgement,
                  size_t size)
{
    put(program,
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, (uint8_t)(size + 1)));
    load(program, offsetof(struct seccomp_data, args) + argument * sizeof(uint64_t));
    for (size_t i = 0; i < size; i++) put(program, judgement[i]);
}

// The call is allowed if the argument is one of the values, and refused otherwise.
static void judge_values(struct program *program, int call, unsigned argument, const int *values,
                         size_t count)
{
    struct program judgement = {0};
    for (size_t i = 0; i < count; i++) answer_if(&judgement, BPF_JEQ, (uint32_t)values[i], ALLOW);
    answer(&judgement, REFUSE);
    judge(program, call, argument, judgement.code, judgement.count);
}

// The call is refused if the argument has any of these bits, and allowed otherwise.
static void judge_bits(struct program *program, int call, unsigned argument, uint32_t bits)
{
    struct program judgement = {0};
    answer_if(&judgement, BPF_JSET, bits, REFUSE);
    answer(&judgement, ALLOW);
    judge(program, call, argument, judgement.code, judgement.count);
}

// A new thread is allowed; a new process kills. clone3 has its flags in memory, which a filter cannot read,
// so it is answered as absent, and the C library uses clone instead.
static void judge_clone(struct program *program)
{
    struct program judgement = {0};
    answer_if(&judgement, BPF_JSET,
              CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                  CLONE_NEWCGROUP | CLONE_PTRACE,
              KILL);
    answer_if(&judgement, BPF_JSET, CLONE_THREAD, ALLOW);
    answer(&judgement, KILL);
    judge(program, SYS_clone, 0, judgement.code, judgement.count);
}

static void write_program(struct program *program, bool network)
{
    const int self = getpid(), nobody_else = 0;
    load(program, offsetof(struct seccomp_data, arch));
    put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
    answer(program, KILL);
    load(program, offsetof(struct seccomp_data, nr));
    answer_if(program, BPF_JGE, __X32_SYSCALL_BIT, KILL);
    answer_all(program, allowed, COUNT(allowed), ALLOW);
    if (network) {
        answer_all(program, allowed_with_network, COUNT(allowed_with_network), ALLOW);
        judge_values(program, SYS_socket, 0, families, COUNT(families));
    }
    // No page may become executable, so no new code can be brought in.
    judge_bits(program, SYS_mmap, 2, PROT_EXEC);
    judge_bits(program, SYS_mprotect, 2, PROT_EXEC);
    judge_values(program, SYS_fcntl, 1, file_commands, COUNT(file_commands));
    judge_values(program, SYS_ioctl, 1, device_calls, COUNT(device_calls));
    judge_values(program, SYS_tgkill, 0, &self, 1); // for abort and raise
    judge_values(program, SYS_prlimit64, 0, &nobody_else, 1);
    judge_clone(program);
    answer_all(program, deadly, COUNT(deadly), KILL);
    answer(program, ABSENT);
}

enum cr_status cr_seccomp_restrict(bool network, bool *in_force)
{
    struct program program = {0};
    write_program(&program, network);
    const struct sock_fprog filter = {program.count, program.code};
    *in_force = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0;
    if (*in_force || errno == ENOSYS || errno == EINVAL) return CR_OK;
    return cr_fail_errno(CR_INTERNAL, "system calls cannot be filtered");
}
