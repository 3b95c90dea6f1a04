"""carrel-enclave in Gramine, whose kernel is imitated as far as it lacks what Linux has."""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, "tests")
import kernel_support  # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1))
PROGRAM = os.path.join(BIN, "carrel-enclave")

# The system calls that Gramine implements since 1.5 (its documentation, "Gramine features"), flock where the manifest
# switches it on. To all others its kernel answers ENOSYS.
IMPLEMENTED = """
    read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn ioctl
    pread64 pwrite64 readv writev access pipe select sched_yield msync mincore madvise dup dup2 pause nanosleep getitimer alarm
    setitimer getpid sendfile socket connect accept sendto recvfrom sendmsg recvmsg shutdown bind listen getsockname getpeername
    socketpair setsockopt getsockopt clone fork vfork execve exit wait4 kill uname fcntl flock fsync fdatasync truncate ftruncate
    getdents getcwd chdir fchdir rename mkdir rmdir creat unlink readlink chmod fchmod chown fchown umask gettimeofday getrlimit
    sysinfo getuid getgid setuid setgid geteuid getegid setpgid getppid getpgrp setsid getgroups setgroups getpgid getsid
    rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack mknod statfs fstatfs getpriority setpriority sched_setparam
    sched_getparam sched_setscheduler sched_getscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval
    mlock munlock mlockall munlockall arch_prctl setrlimit chroot sethostname setdomainname gettid tkill time futex
    sched_setaffinity sched_getaffinity epoll_create getdents64 set_tid_address fadvise64 clock_gettime clock_getres
    clock_nanosleep exit_group epoll_wait epoll_ctl tgkill mbind waitid openat mkdirat mknodat fchownat newfstatat unlinkat
    renameat readlinkat fchmodat faccessat pselect6 ppoll set_robust_list get_robust_list epoll_pwait eventfd fallocate accept4
    eventfd2 epoll_create1 dup3 pipe2 recvmmsg prlimit64 sendmmsg getcpu getrandom mlock2
""".split()


class Kernel(unittest.TestCase):
    """A kernel that has as little as Gramine's."""

    def test_says_what_the_kernel_lacks(self):
        with tempfile.TemporaryDirectory() as folder:
            events, _ = kernel_support.tune(self, PROGRAM, folder, IMPLEMENTED)
        hardened = events[0]
        self.assertEqual((hardened["event"], hardened["landlock"], hardened["seccomp"]), ("enclave.hardened", 0, 0))
        self.assertNotEqual(hardened["secrets"], "memfd_secret")
        self.assertNotIn("no tracing", hardened["message"])
        self.assertTrue(any("no prctl" in event.get("message", "") for event in events))

    def test_slicing_over_tcp(self):
        """Memory outside comes from /dev/shm, nothing stays there, and the result is that of a kernel with all calls."""
        accelerator = subprocess.Popen([os.path.join(BIN, "carrel-accelerator"), "--model", "examples/demo/model", "--listen",
                                        "127.0.0.1:0", "--threads", "1"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(accelerator.communicate)
        self.addCleanup(accelerator.kill)
        address = re.search(r"127\.0\.0\.1:\d+", accelerator.stdout.readline())[0]
        slicing = {"pads": "enclave", "spill": "sealed", "accelerators": [address]}
        before = set(os.listdir("/dev/shm"))
        with tempfile.TemporaryDirectory() as folder:
            events, here = kernel_support.tune(self, PROGRAM, folder, IMPLEMENTED, slicing=slicing)
        self.assertTrue(any(event["event"] == "train.step" for event in events))
        self.assertEqual({name for name in set(os.listdir("/dev/shm")) - before if name.startswith("carrel-")}, set())
        with tempfile.TemporaryDirectory() as folder:
            _, there = kernel_support.tune(self, PROGRAM, folder, slicing=slicing)
        self.assertEqual(here, there)

    def wait_for(self, process, name):
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == name:
                return event
        self.fail(process.stderr.read())

    def test_a_federation(self):
        model = os.path.abspath("examples/demo/model")
        with tempfile.TemporaryDirectory() as folder:
            with open(folder + "/rows.jsonl", "w") as rows:
                rows.write('{"text": "After lunch the doctor wrote"}\n' * 8)
            with open(folder + "/federation.yaml", "w") as config:
                json.dump({"model_name_or_path": model, "output_dir": folder + "/out", "threads": 1, "data": {"max_length": 32},
                           "federation": {"rounds": 2, "local_steps": 1, "min_clients": 1, "address": "127.0.0.1:0",
                                          "state_dir": folder + "/server"}}, config)
            for name in "server", "silo":  # in the place of the key that Gramine has: making one takes more than it can
                os.mkdir(os.path.join(folder, name), 0o700)
                with open(os.path.join(folder, name, "sealing.key"), "wb") as key:
                    key.write(os.urandom(32))
            server = kernel_support.start(self, [PROGRAM, "serve", config.name], IMPLEMENTED)
            self.wait_for(server, "server.listening")
            token = subprocess.run([os.path.join(BIN, "carrel"), "invite", "anne", "--config", config.name], check=True,
                                   capture_output=True, text=True).stdout.strip()
            silo = kernel_support.start(self, [PROGRAM, "join", token, "--state", folder + "/silo", "--model", model, "--data",
                                               rows.name], IMPLEMENTED)
            for process in silo, server:
                _, error = process.communicate(timeout=120)
                self.assertEqual(process.returncode, 0, error)
            self.assertTrue(os.path.exists(folder + "/out/adapter_model.safetensors"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
