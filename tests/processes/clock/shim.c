/* Shifts the wall clock of one process and leaves everything else true: preloaded, it adds the number of seconds found
 * in the file $CLOCKSHIFT_FILE (eight bytes, a native int64) to every reading of the wall clock. The file is mapped,
 * so each call sees what was written last. Monotonic clocks, sleeps and time-outs are not touched: this is what the
 * step of a time server looks like. Without the file the clock is right.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int (*true_clock_gettime)(clockid_t, struct timespec *);
static volatile const int64_t *shift;

__attribute__((constructor)) static void prepare(void) {
    true_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("CLOCKSHIFT_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        shift = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *moment) {
    if (!true_clock_gettime) /* called by the constructor of another library */
        prepare();
    int result = true_clock_gettime(clock, moment);
    if (result == 0 && clock == CLOCK_REALTIME && shift)
        moment->tv_sec += *shift;
    return result;
}

int gettimeofday(struct timeval *restrict moment, void *restrict zone) {
    struct timespec now;
    (void)zone; /* obsolete, always zero on Linux */
    int result = clock_gettime(CLOCK_REALTIME, &now);
    moment->tv_sec = now.tv_sec;
    moment->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *moment) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (moment)
        *moment = now.tv_sec;
    return now.tv_sec;
}
