#include "base/clock.h"

#include <time.h>

double cr_clock_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double cr_clock_process(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

double cr_clock_wall(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int64_t cr_clock_unix(void)
{
    return (int64_t)time(NULL);
}

void cr_clock_format(int64_t unix_seconds, char out[CR_CLOCK_TEXT_SIZE])
{
    time_t seconds = (time_t)unix_seconds;
    struct tm parts;
    if (!gmtime_r(&seconds, &parts) || strftime(out, CR_CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        out[0] = 0;
}
