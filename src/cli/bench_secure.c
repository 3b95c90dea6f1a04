#include "cli/bench_secure.h"

#include "base/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum cr_status cr_bench_hire(const char *directory, size_t threads, char address[CR_BENCH_ADDRESS_SIZE],
                             struct cr_child *accelerator)
{
    char count[24];
    snprintf(address, CR_BENCH_ADDRESS_SIZE, "unix:%s/accelerator.sock", directory);
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

// The first step touches every page, and fills the queues of pads; it does not count.
static enum cr_status measure(const struct cr_tuning_config *config, struct cr_compute *compute,
                              size_t repeats, double *rates)
{
    struct cr_trainer *trainer;
    CR_TRY(cr_trainer_new(config, compute, NULL, &trainer));
    struct cr_tally tally = {0};
    enum cr_status status = cr_trainer_run(trainer, 1, &tally, NULL, NULL);
    for (size_t i = 0; i < repeats && status == CR_OK; i++) {
        size_t tokens = tally.tokens;
        double begin = cr_clock_monotonic();
        status = cr_trainer_run(trainer, 1, &tally, NULL, NULL);
        rates[i] = (double)(tally.tokens - tokens) / (cr_clock_monotonic() - begin);
    }
    cr_trainer_free(trainer);
    return status;
}

enum cr_status cr_bench_secure(const struct cr_tuning_config *plain, char *address, size_t digits,
                               struct cr_compute *compute, size_t repeats, double *secure_rates,
                               double *plain_rates)
{
    struct cr_tuning_config sliced = *plain;
    sliced.slicing = (struct cr_slicing_config){
        .pads = CR_PADS_MODE_ENCLAVE, .accelerators = {&address, 1}, .digits = digits};
    // Not in turn: after a step with slicing its pads are still being made.
    CR_TRY(measure(plain, compute, repeats, plain_rates));
    return measure(&sliced, compute, repeats, secure_rates);
}
