#include "cli/bench_secure.h"

#include "base/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum cr_status cr_bench_hire(const char *directory, const char *name, size_t threads,
                             char address[CR_BENCH_ADDRESS_SIZE], struct cr_child *accelerator)
{
    char count[24];
    snprintf(address, CR_BENCH_ADDRESS_SIZE, "unix:%s/%s", directory, name);
    snprintf(count, sizeof count, "%zu", threads);
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0) return cr_fail_errno(CR_IO, "/dev/null");
    const char *const arguments[] = {"--model", directory, "--listen", address, "--threads", count, NULL};
    // There is no run directory whose lock it could hold.
    enum cr_status status = cr_child_start("carrel-accelerator", arguments,
                                           (const int[]){-1, nowhere, nowhere}, nowhere, accelerator);
    close(nowhere);
    return status;
}

static enum cr_status measure(struct cr_trainer *trainer, double processors, bool ahead, double *rate,
                              double *share)
{
    struct cr_slicing *slicing = cr_trainer_slicing(trainer);
    struct cr_slicing_tally before = {0}, after = {0};
    struct cr_tally tally = {0};
    if (ahead) CR_TRY(cr_slicing_hold_pads(slicing, true));
    if (slicing) before = cr_slicing_tally(slicing);
    double begin = cr_clock_monotonic();
    CR_TRY(cr_trainer_run(trainer, 1, &tally, NULL, NULL));
    double seconds = cr_clock_monotonic() - begin;
    if (slicing) after = cr_slicing_tally(slicing);
    if (ahead && after.offline > before.offline)
        return cr_fail(CR_INTERNAL, "pads were made during a step that should have found them ready");
    if (ahead) CR_TRY(cr_slicing_hold_pads(slicing, false));
    *rate = (double)tally.tokens / seconds;
    *share = (after.processors - before.processors) / (processors * seconds);
    return CR_OK;
}

// The first step touches every page, and fills the queues of pads; it does not count.
enum cr_status cr_bench_steps(const struct cr_tuning_config *config, struct cr_compute *compute, bool ahead,
                              size_t repeats, double *rates, double *shares)
{
    double processors = (double)cr_pool_threads(cr_compute_pool(compute));
    struct cr_trainer *trainer;
    CR_TRY(cr_trainer_new(config, compute, NULL, &trainer));
    struct cr_tally tally = {0};
    enum cr_status status = cr_trainer_run(trainer, 1, &tally, NULL, NULL);
    for (size_t i = 0; i < repeats && status == CR_OK; i++)
        status = measure(trainer, processors, ahead, &rates[i], &shares[i]);
    cr_trainer_free(trainer);
    return status;
}
