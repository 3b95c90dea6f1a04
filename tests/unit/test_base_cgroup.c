#include "base/cgroup.h"

#include "base/file.h"
#include "temporary.h"

// A file of a machine that is called `machine`, whose root this gives.
static void lay(const char *machine, const char *name, const char *text)
{
    CR_FREE char *path = NULL;
    CR_FREE char *folder = NULL;
    assert_ok(cr_path_join(in_directory(machine), name, &path));
    assert_ok(cr_path_directory(path, &folder));
    assert_ok(cr_directory_make(folder, false));
    write_text(path, text);
}

static size_t processors(const char *machine)
{
    return cr_cgroup_processors(in_directory(machine));
}

static uint64_t memory(const char *machine)
{
    return cr_cgroup_memory(in_directory(machine));
}

static void machine_without_groups_limits_nothing(void **state)
{
    (void)state;
    assert_int_equal(processors("none"), SIZE_MAX);
    assert_true(memory("none") == UINT64_MAX);
    lay("root", "proc/self/cgroup", "0::/\n"); // the root of version 2 has no such files
    lay("root", "sys/fs/cgroup/cgroup.procs", "1\n");
    assert_int_equal(processors("root"), SIZE_MAX);
    assert_true(memory("root") == UINT64_MAX);
}

static void container_has_its_group_at_the_mount(void **state)
{
    (void)state;
    lay("own", "proc/self/cgroup", "0::/\n");
    lay("own", "sys/fs/cgroup/cpu.max", "150000 100000\n");
    lay("own", "sys/fs/cgroup/memory.max", "1000000\n");
    lay("own", "sys/fs/cgroup/memory.current", "600000\n");
    assert_int_equal(processors("own"), 2);
    assert_int_equal(memory("own"), 400000);
    lay("own", "sys/fs/cgroup/memory.stat",
        "anon 300000\nfile 250000\nactive_anon 7\ninactive_anon 299993\ninactive_file 200000\nactive_file "
        "30000\nslab_reclaimable 4000\nslab_unreclaimable 5\nworkingset_refault_file 9\n");
    assert_int_equal(memory("own"), 634000);
    lay("own", "sys/fs/cgroup/memory.current", "1000001\n");
    lay("own", "sys/fs/cgroup/memory.stat", "inactive_file 0\n");
    assert_int_equal(memory("own"), 0);
    lay("own", "sys/fs/cgroup/cpu.max", "200000 100000\n");
    assert_int_equal(processors("own"), 2);
    lay("own", "sys/fs/cgroup/cpu.max", "1000 100000\n");
    assert_int_equal(processors("own"), 1);
    lay("own", "sys/fs/cgroup/cpu.max", "max 100000\n");
    lay("own", "sys/fs/cgroup/memory.max", "max\n");
    assert_int_equal(processors("own"), SIZE_MAX);
    assert_true(memory("own") == UINT64_MAX);
}

static void tightest_of_the_groups_above_counts(void **state)
{
    (void)state;
    lay("nested", "proc/self/cgroup", "0::/system.slice/train.service/inner\n");
    lay("nested", "sys/fs/cgroup/system.slice/cpu.max", "800000 100000\n");
    lay("nested", "sys/fs/cgroup/system.slice/memory.max", "5000\n");
    lay("nested", "sys/fs/cgroup/system.slice/memory.current", "4000\n");
    lay("nested", "sys/fs/cgroup/system.slice/train.service/cpu.max", "150000 50000\n");
    lay("nested", "sys/fs/cgroup/system.slice/train.service/memory.max", "3000\n");
    lay("nested", "sys/fs/cgroup/system.slice/train.service/memory.current", "500\n");
    lay("nested", "sys/fs/cgroup/system.slice/train.service/inner/cpu.max", "max 100000\n");
    lay("nested", "sys/fs/cgroup/other.slice/cpu.max", "100000 100000\n");
    lay("nested", "sys/fs/cgroup/system.slice/other.service/memory.max", "1\n");
    assert_int_equal(processors("nested"), 3);
    assert_int_equal(memory("nested"), 1000);
    lay("nested", "proc/self/cgroup", "0::/../other.slice\n");      // of a namespace that ends below it
    lay("nested", "sys/fs/other.slice/cpu.max", "100000 100000\n"); // no group, but a file of the machine
    assert_int_equal(processors("nested"), SIZE_MAX);
}

static void version_1_counts_where_it_has_the_controller(void **state)
{
    (void)state;
    static const char groups[] =
        "12:cpuset:/\n7:memory:/docker/4f\n4:cpu,cpuacct:/docker/4f\n1:name=systemd:/\n0::/\n";
    lay("one", "proc/self/cgroup", groups);
    lay("one", "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    lay("one", "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    lay("one", "sys/fs/cgroup/cpu/docker/4f/cpu.cfs_quota_us", "250000\n");
    lay("one", "sys/fs/cgroup/cpu/docker/4f/cpu.cfs_period_us", "100000\n");
    lay("one", "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    lay("one", "sys/fs/cgroup/memory/memory.usage_in_bytes", "123456\n");
    lay("one", "sys/fs/cgroup/memory/docker/4f/memory.limit_in_bytes", "1000000\n");
    lay("one", "sys/fs/cgroup/memory/docker/4f/memory.usage_in_bytes", "900000\n");
    lay("one", "sys/fs/cgroup/memory/docker/4f/memory.stat",
        "cache 5\nactive_file 1\ninactive_file 2\ntotal_inactive_file 50000\ntotal_active_file 10000\n");
    assert_int_equal(processors("one"), 3);
    assert_int_equal(memory("one"), 160000);
    // A container that sees its group by the name it has outside.
    lay("inside", "proc/self/cgroup", groups);
    lay("inside", "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    lay("inside", "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    lay("inside", "sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n");
    lay("inside", "sys/fs/cgroup/memory/memory.usage_in_bytes", "96\n");
    assert_int_equal(processors("inside"), 1);
    assert_int_equal(memory("inside"), 4000);
}

static void what_is_strange_limits_nothing(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "", "\n", "0", "0:", "0::", "0::sys", ":\n::\n", "0:/\n", "4:cpuset:/\n", "cpu:cpu\n0", ":::::"};
    static const char *const limits[] = {
        "",          "\n",   "max",        "100000", "100000\n",  "0 100000",  "100000 0",
        "-5 100000", "1 -1", "100000 max", "junk",   "100000\t1", " 1 100000", "99999999999999999999999 1"};
    lay("odd", "sys/fs/cgroup/cpu.max", "100000 100000\n");
    lay("odd", "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
    lay("odd", "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        lay("odd", "proc/self/cgroup", lines[i]);
        assert_int_equal(processors("odd"), SIZE_MAX);
    }
    lay("odd", "proc/self/cgroup", "0::/");
    assert_int_equal(processors("odd"), 1);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        lay("odd", "sys/fs/cgroup/cpu.max", limits[i]);
        assert_int_equal(processors("odd"), SIZE_MAX);
    }
    lay("odd", "sys/fs/cgroup/memory.max", "1000");
    assert_true(memory("odd") == UINT64_MAX); // how much is taken is not known
    lay("odd", "sys/fs/cgroup/memory.current", "900");
    lay("odd", "sys/fs/cgroup/memory.stat",
        "\n\nactive_file\ninactive_file \nactive_file x\ninactive_file 5000");
    assert_int_equal(memory("odd"), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machine_without_groups_limits_nothing),
        cmocka_unit_test(container_has_its_group_at_the_mount),
        cmocka_unit_test(tightest_of_the_groups_above_counts),
        cmocka_unit_test(version_1_counts_where_it_has_the_controller),
        cmocka_unit_test(what_is_strange_limits_nothing),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
