/* A wall clock that is set while programs run: preloaded, CLOCK_REALTIME jumps by
 * WBCBENCH_FAKE_STEP_S seconds once CLOCK_MONOTONIC has reached WBCBENCH_FAKE_STEP_AT_S. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static double number(const char *name) {
    const char *text = getenv(name);
    return text ? atof(text) : 0;
}

static time_t step(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    double at = number("WBCBENCH_FAKE_STEP_AT_S");
    return now.tv_sec + now.tv_nsec * 1e-9 < at ? 0 : (time_t)number("WBCBENCH_FAKE_STEP_S");
}

int clock_gettime(clockid_t which, struct timespec *out) {
    int code = (int)syscall(SYS_clock_gettime, which, out);
    if (code == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) out->tv_sec += step();
    return code;
}

int gettimeofday(struct timeval *out, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
