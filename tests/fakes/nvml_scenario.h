/* What a scripted GPU does over time, as read from a scenario file. Times are scenario seconds. */
#ifndef NVML_SCENARIO_H
#define NVML_SCENARIO_H

#define MAX_GPUS 16
#define MAX_ITEMS 64
#define MAX_EVENTS 512
#define TEXT 128

typedef unsigned long long u64;

typedef enum { SHAPE_CONSTANT, SHAPE_SQUARE, SHAPE_RAMP, SHAPE_SINE, SHAPE_LINES, SHAPE_STEPS, SHAPE_LIVE } Shape;

#define MAX_LIVE 65536

/* A file that another program, or a test, goes on writing: how many knots, then time and power of each. */
typedef struct { volatile double count; volatile double knots[2 * MAX_LIVE]; } Live;

/* Lines join their knots; steps hold each knot's power until the next; live ones are steps that are
   still being written. Outside of the span from
   `from` to `until` the power is `idle`. */
typedef struct {
    Shape shape;
    double from, until, idle;
    double low, high, period, duty, phase, start, end;
    double *t, *w, *sum;
    int n;
    const Live *live;
} Power;

/* A reading renewed every `update`, each the mean of the `window` seconds that ended `lag` ago.
   `jitter` is the share of `update` by which a renewal may come early or late. */
typedef struct {
    int supported;
    double update, window, phase, gain, offset, noise, lag, resolution, jitter;
    u64 seed;
} Sensor;

/* Joules that a counter gains or loses at a moment. */
typedef struct { double at, joules; } Event;

/* A time in which a counter counts `factor` times what is drawn: nothing with 0. */
typedef struct { double from, until, factor; } Rate;

typedef struct {
    int supported, from_sensor;
    double step, phase, gain, start, frozen, reset, jump, jump_j, jitter, resolution;
    u64 seed;
    Event events[MAX_EVENTS];
    Rate rates[MAX_EVENTS];
    int event_count, rate_count;
} Counter;

typedef struct {
    char kind[TEXT], on[TEXT];
    double at, until, value;
    long nth, count, seen;
    int code;
} Fault;

typedef struct {
    unsigned pid;
    char kind[TEXT];
    u64 bytes;
    double at, until;
} Process;

typedef struct {
    u64 mask;
    double at, until;
} Throttle;

/* What a call answered, row by row in time, for one of its inputs (-1: it has none). */
typedef struct {
    char call[TEXT];
    long input;
    int rows, width, *codes;
    double *t, *values;
} Answers;

typedef struct {
    char name[TEXT], uuid[TEXT], bus[TEXT], serial[TEXT];
    unsigned arch, persistence, ecc, clock_sm, clock_mem, util_gpu, util_mem;
    int mig;
    Power power;
    Sensor instant, average, usage;
    Counter counter;
    u64 mem_total, mem_used, mem_reserved;
    unsigned limit_default, limit_min, limit_max;
    int limit_settable;
    int minor; /* of its device file; below 0 its place in the scenario */
    double temp_t[MAX_ITEMS], temp_c[MAX_ITEMS];
    int temps;
    Process processes[MAX_ITEMS];
    int process_count;
    Throttle throttles[MAX_ITEMS];
    int throttle_count;
    Fault faults[MAX_ITEMS];
    int fault_count;
    double *sums; /* of the instant sensor, up to each of its renewals */
    long sum_count, sum_room;
    Answers *answers; /* of a recorded board; NULL for a scripted one */
    int answer_count;
} Gpu;

typedef struct {
    double epoch, scale, latency;
    volatile double *clock;
    char driver[TEXT], nvml[TEXT], state[1024];
    int cuda, init_error, gpu_count;
    Gpu gpus[MAX_GPUS];
} Scenario;

/* Reads the file; returns 0, or the number of the line that it does not understand. */
int scenario_read(Scenario *scenario, const char *path);

double scenario_now(const Scenario *scenario);
void scenario_sleep(const Scenario *scenario, double seconds);

double power_at(const Power *power, double t);
double power_energy(const Power *power, double t);
double sensor_read(const Sensor *sensor, const Power *power, double t);
double counter_read(Gpu *gpu, double t);
double temperature_at(const Gpu *gpu, double t);

/* Adds the recorded answers in a file; returns whether it could be read. */
int replay_read(Gpu *gpu, const char *path);
void replay_forget(Gpu *gpu);

#endif
