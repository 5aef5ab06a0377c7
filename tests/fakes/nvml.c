/* A scripted libnvidia-ml.so.1: the calls that pynvml makes, answered from a scenario file.
 *
 * Named by the environment variable WBCBENCH_FAKE_NVML; read at every first nvmlInit. Without the
 * variable it says "driver not loaded". Structures follow NVML's public header, not pynvml, so a
 * layout that pynvml gets wrong shows up as wrong numbers.
 */
#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nvml_scenario.h"

typedef int Return;
enum {
    OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4,
    NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15,
    VERSION_MISMATCH = 25, UNKNOWN = 999
};

typedef struct { char legacy[16]; unsigned domain, bus, device, deviceId, subSystemId; char busId[32]; } PciInfo;
typedef struct { u64 total, free, used; } MemoryV1;
typedef struct { unsigned version; u64 total, reserved, free, used; } MemoryV2;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned version, sensor; int degrees; } TemperatureV;
typedef struct { unsigned pid; u64 bytes; unsigned gpuInstance, computeInstance; } ProcessInfo;
typedef struct { unsigned version, scope, milliwatts; } PowerValueV2;
typedef union { double d; unsigned ui; unsigned long ul; u64 ull; long long sll; int si; unsigned short us; } Value;
typedef struct { unsigned id, scope; long long stamp, latency; int type; Return code; Value value; } FieldValue;

enum { FIELD_ENERGY = 83, FIELD_AVERAGE = 185, FIELD_INSTANT = 186, FIELD_LIMIT_MIN = 187,
       FIELD_LIMIT_MAX = 188, FIELD_LIMIT_DEFAULT = 189, FIELD_LIMIT = 190 };
enum { TYPE_UNSIGNED = 1, TYPE_UNSIGNED_LONG_LONG = 3 };

static Scenario scenario;
static int users;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long calls;

/* Calls that reached a device since the library was loaded; for tests that count them. */
long fakeNvmlCalls(void) { return __atomic_load_n(&calls, __ATOMIC_RELAXED); }

/* ---- faults ---- */

static int concerns(const Fault *f, const char *call) {
    if (!strcmp(f->on, "all") || !strcmp(f->on, call)) return 1;
    return !strcmp(f->on, "power") &&
           (!strcmp(call, "instant") || !strcmp(call, "average") || !strcmp(call, "usage"));
}

static int is_due(Fault *f, double t) {
    if (f->nth == 0) return f->at <= t && t < f->until;
    long seen = __atomic_add_fetch(&f->seen, 1, __ATOMIC_RELAXED);
    return f->nth <= seen && seen < f->nth + f->count;
}

static Return code_of(const Fault *f) {
    if (!strcmp(f->kind, "lost")) return GPU_IS_LOST;
    if (!strcmp(f->kind, "unknown")) return UNKNOWN;
    if (!strcmp(f->kind, "unsupported")) return NOT_SUPPORTED;
    return f->code;
}

/* A hang lasts until the fault's end, or `value` seconds where it has none or counts calls. */
static void hang(const Fault *f, double t) {
    scenario_sleep(&scenario, f->nth || f->until >= 1e300 ? f->value : f->until - t);
}

/* Faults that replace a value rather than the call: zero, spike. */
static Return faulty(Gpu *g, const char *call, double t, double *value) {
    for (int i = 0; i < g->fault_count; i++) {
        Fault *f = &g->faults[i];
        if (!concerns(f, call) || !is_due(f, t)) continue;
        if (!strcmp(f->kind, "hang")) hang(f, t);
        else if (!strcmp(f->kind, "zero")) { if (value) *value = 0; }
        else if (!strcmp(f->kind, "spike")) { if (value) *value = f->value; }
        else return code_of(f);
    }
    return OK;
}

static Return enter(Gpu *g, const char *call, double *t) {
    if (users == 0) return UNINITIALIZED;
    if (g < scenario.gpus || g >= scenario.gpus + scenario.gpu_count) return INVALID_ARGUMENT;
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    scenario_sleep(&scenario, scenario.latency * scenario.scale);
    *t = scenario_now(&scenario);
    Return code = faulty(g, call, *t, NULL);
    *t = scenario_now(&scenario);
    return code;
}

#define ENTER(call)                              \
    double t;                                    \
    Return entered = enter(g, call, &t);         \
    if (entered != OK) return entered;           \
    (void)t

static Return text_out(const char *text, char *out, unsigned size) {
    if (strlen(text) + 1 > size) return INSUFFICIENT_SIZE;
    strcpy(out, text);
    return OK;
}

/* ---- library ---- */

static Return read_scenario(void) {
    const char *path = getenv("WBCBENCH_FAKE_NVML");
    if (!path || !*path) return DRIVER_NOT_LOADED;
    int line = scenario_read(&scenario, path);
    if (line == 0) return scenario.init_error;
    fprintf(stderr, "scripted NVML: %s, line %d is not understood\n", path, line);
    return UNKNOWN;
}

Return nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    pthread_mutex_lock(&lock);
    Return code = users == 0 ? read_scenario() : OK;
    if (code == OK) users++;
    pthread_mutex_unlock(&lock);
    return code;
}

Return nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

Return nvmlShutdown(void) {
    pthread_mutex_lock(&lock);
    Return code = users > 0 ? OK : UNINITIALIZED;
    if (users > 0) users--;
    pthread_mutex_unlock(&lock);
    return code;
}

const char *nvmlErrorString(Return code) {
    switch (code) {
    case OK: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case GPU_IS_LOST: return "GPU is lost";
    case VERSION_MISMATCH: return "Argument version mismatch";
    default: return "Unknown Error";
    }
}

Return nvmlSystemGetDriverVersion(char *out, unsigned size) { return text_out(scenario.driver, out, size); }
Return nvmlSystemGetNVMLVersion(char *out, unsigned size) { return text_out(scenario.nvml, out, size); }
Return nvmlSystemGetCudaDriverVersion_v2(int *out) { *out = scenario.cuda; return OK; }
Return nvmlSystemGetCudaDriverVersion(int *out) { return nvmlSystemGetCudaDriverVersion_v2(out); }
Return nvmlSystemGetProcessName(unsigned pid, char *out, unsigned size) {
    char name[32];
    snprintf(name, sizeof name, "process-%u", pid);
    return text_out(name, out, size);
}

/* ---- handles and identity ---- */

Return nvmlDeviceGetCount_v2(unsigned *count) {
    if (users == 0) return UNINITIALIZED;
    *count = (unsigned)scenario.gpu_count;
    return OK;
}

Return nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **out) {
    if (users == 0) return UNINITIALIZED;
    if (index >= (unsigned)scenario.gpu_count) return INVALID_ARGUMENT;
    *out = &scenario.gpus[index];
    return OK;
}

static Return find(const char *text, size_t offset, Gpu **out) {
    if (users == 0) return UNINITIALIZED;
    for (int i = 0; i < scenario.gpu_count; i++) {
        if (strcmp((char *)&scenario.gpus[i] + offset, text) != 0) continue;
        *out = &scenario.gpus[i];
        return OK;
    }
    return NOT_FOUND;
}

Return nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **out) { return find(uuid, offsetof(Gpu, uuid), out); }
Return nvmlDeviceGetHandleByPciBusId_v2(const char *bus, Gpu **out) { return find(bus, offsetof(Gpu, bus), out); }
Return nvmlDeviceGetHandleBySerial(const char *serial, Gpu **out) { return find(serial, offsetof(Gpu, serial), out); }
Return nvmlDeviceGetName(Gpu *g, char *out, unsigned size) { ENTER("identity"); return text_out(g->name, out, size); }
Return nvmlDeviceGetUUID(Gpu *g, char *out, unsigned size) { ENTER("identity"); return text_out(g->uuid, out, size); }
Return nvmlDeviceGetSerial(Gpu *g, char *out, unsigned size) {
    ENTER("identity");
    return g->serial[0] ? text_out(g->serial, out, size) : NOT_SUPPORTED;
}

Return nvmlDeviceGetIndex(Gpu *g, unsigned *out) {
    ENTER("identity");
    *out = (unsigned)(g - scenario.gpus);
    return OK;
}

Return nvmlDeviceGetPciInfo_v3(Gpu *g, PciInfo *out) {
    ENTER("identity");
    memset(out, 0, sizeof *out);
    if (sscanf(g->bus, "%x:%x:%x", &out->domain, &out->bus, &out->device) != 3) return UNKNOWN;
    out->deviceId = 0x20B010DE;
    out->subSystemId = 0x145F10DE;
    snprintf(out->legacy, sizeof out->legacy, "%04X:%02X:%02X.0", out->domain & 0xFFFF, out->bus & 0xFF, out->device & 0xFF);
    return text_out(g->bus, out->busId, sizeof out->busId);
}

Return nvmlDeviceGetArchitecture(Gpu *g, unsigned *out) { ENTER("identity"); *out = g->arch; return OK; }
Return nvmlDeviceGetPersistenceMode(Gpu *g, unsigned *out) { ENTER("modes"); *out = g->persistence; return OK; }
Return nvmlDeviceGetEccMode(Gpu *g, unsigned *current, unsigned *pending) {
    ENTER("modes");
    *current = *pending = g->ecc;
    return OK;
}
Return nvmlDeviceGetMigMode(Gpu *g, unsigned *current, unsigned *pending) {
    ENTER("modes");
    if (g->mig < 0) return NOT_SUPPORTED;
    *current = *pending = (unsigned)g->mig;
    return OK;
}

/* ---- energy and power ---- */

static Return energy_now(Gpu *g, double t, double *joules) {
    if (!g->counter.supported) return NOT_SUPPORTED;
    pthread_mutex_lock(&lock);
    *joules = counter_read(g, t);
    pthread_mutex_unlock(&lock);
    return faulty(g, "energy", t, joules);
}

static Return power_now(Gpu *g, const Sensor *s, const char *reading, double t, double *watts) {
    if (!s->supported) return NOT_SUPPORTED;
    *watts = sensor_read(s, &g->power, t);
    return faulty(g, reading, t, watts);
}

Return nvmlDeviceGetTotalEnergyConsumption(Gpu *g, u64 *out) {
    ENTER("energy_call");
    double joules = 0;
    Return code = energy_now(g, t, &joules);
    if (code == OK) *out = (u64)llround(joules * 1e3);
    return code;
}

Return nvmlDeviceGetPowerUsage(Gpu *g, unsigned *out) {
    ENTER("usage_call");
    double watts = 0;
    Return code = power_now(g, &g->usage, "usage", t, &watts);
    if (code == OK) *out = (unsigned)lround(watts * 1e3);
    return code;
}

static unsigned limit_of(const Gpu *g);

static Return field_power(Gpu *g, const Sensor *s, const char *reading, double t, FieldValue *v) {
    double watts = 0;
    Return code = power_now(g, s, reading, t, &watts);
    v->type = TYPE_UNSIGNED;
    v->value.ui = (unsigned)lround(watts * 1e3);
    return code;
}

static Return field_limit(unsigned milliwatts, FieldValue *v) {
    v->type = TYPE_UNSIGNED;
    v->value.ui = milliwatts;
    return OK;
}

static Return field_value(Gpu *g, double t, FieldValue *v) {
    double joules = 0;
    memset(&v->value, 0xAA, sizeof v->value); /* reading too wide or too early shows */
    switch (v->id) {
    case FIELD_ENERGY: {
        Return code = energy_now(g, t, &joules);
        v->type = TYPE_UNSIGNED_LONG_LONG;
        v->value.ull = (u64)llround(joules * 1e3);
        return code;
    }
    case FIELD_INSTANT: return field_power(g, &g->instant, "instant", t, v);
    case FIELD_AVERAGE: return field_power(g, &g->average, "average", t, v);
    case FIELD_LIMIT_MIN: return field_limit(g->limit_min, v);
    case FIELD_LIMIT_MAX: return field_limit(g->limit_max, v);
    case FIELD_LIMIT_DEFAULT: return field_limit(g->limit_default, v);
    case FIELD_LIMIT: return field_limit(limit_of(g), v);
    default: return NOT_SUPPORTED;
    }
}

Return nvmlDeviceGetFieldValues(Gpu *g, int count, FieldValue *values) {
    ENTER("fields");
    for (int i = 0; i < count; i++) {
        values[i].stamp = (long long)(t * 1e6);
        values[i].latency = 1;
        values[i].code = values[i].scope == 0 ? field_value(g, t, &values[i]) : NOT_SUPPORTED;
    }
    return OK;
}

/* ---- limits; what was set is kept in a file, so that other processes see it ---- */

static void limit_path(const Gpu *g, char *out, size_t size) {
    snprintf(out, size, "%s.limit%d", scenario.state, (int)(g - scenario.gpus));
}

static unsigned limit_of(const Gpu *g) {
    char path[1100];
    unsigned limit = g->limit_default;
    limit_path(g, path, sizeof path);
    FILE *file = scenario.state[0] ? fopen(path, "r") : NULL;
    if (!file) return limit;
    if (fscanf(file, "%u", &limit) != 1) limit = g->limit_default;
    fclose(file);
    return limit;
}

Return nvmlDeviceSetPowerManagementLimit(Gpu *g, unsigned milliwatts) {
    ENTER("limits");
    char path[1100];
    if (!g->limit_settable) return NO_PERMISSION;
    if (milliwatts < g->limit_min || milliwatts > g->limit_max) return INVALID_ARGUMENT;
    limit_path(g, path, sizeof path);
    FILE *file = fopen(path, "w");
    if (!file) return UNKNOWN;
    fprintf(file, "%u\n", milliwatts);
    fclose(file);
    return OK;
}

Return nvmlDeviceSetPowerManagementLimit_v2(Gpu *g, PowerValueV2 *value) {
    if (value->version != (sizeof(PowerValueV2) | 2u << 24)) return VERSION_MISMATCH;
    return value->scope == 0 ? nvmlDeviceSetPowerManagementLimit(g, value->milliwatts) : NOT_SUPPORTED;
}

Return nvmlDeviceGetPowerManagementLimit(Gpu *g, unsigned *out) { ENTER("limits"); *out = limit_of(g); return OK; }
Return nvmlDeviceGetEnforcedPowerLimit(Gpu *g, unsigned *out) { ENTER("limits"); *out = limit_of(g); return OK; }
Return nvmlDeviceGetPowerManagementDefaultLimit(Gpu *g, unsigned *out) { ENTER("limits"); *out = g->limit_default; return OK; }
Return nvmlDeviceGetPowerManagementLimitConstraints(Gpu *g, unsigned *low, unsigned *high) {
    ENTER("limits");
    *low = g->limit_min;
    *high = g->limit_max;
    return OK;
}

/* ---- telemetry ---- */

Return nvmlDeviceGetTemperature(Gpu *g, unsigned sensor, unsigned *out) {
    ENTER("temperature");
    if (sensor != 0) return INVALID_ARGUMENT;
    *out = (unsigned)lround(temperature_at(g, t));
    return OK;
}

Return nvmlDeviceGetTemperatureV(Gpu *g, TemperatureV *out) {
    ENTER("temperature");
    if (out->version != (sizeof(TemperatureV) | 1u << 24)) return VERSION_MISMATCH;
    out->degrees = (int)lround(temperature_at(g, t));
    return OK;
}

Return nvmlDeviceGetClockInfo(Gpu *g, unsigned type, unsigned *out) {
    ENTER("clocks");
    if (type > 2) return NOT_SUPPORTED;
    *out = type == 2 ? g->clock_mem : g->clock_sm;
    return OK;
}

Return nvmlDeviceGetUtilizationRates(Gpu *g, Utilization *out) {
    ENTER("utilization");
    out->gpu = g->util_gpu;
    out->memory = g->util_mem;
    return OK;
}

Return nvmlDeviceGetMemoryInfo(Gpu *g, MemoryV1 *out) {
    ENTER("memory");
    out->total = g->mem_total;
    out->used = g->mem_used + g->mem_reserved;
    out->free = g->mem_total - out->used;
    return OK;
}

Return nvmlDeviceGetMemoryInfo_v2(Gpu *g, MemoryV2 *out) {
    ENTER("memory");
    if (out->version != (sizeof(MemoryV2) | 2u << 24)) return VERSION_MISMATCH;
    out->total = g->mem_total;
    out->reserved = g->mem_reserved;
    out->used = g->mem_used;
    out->free = g->mem_total - g->mem_used - g->mem_reserved;
    return OK;
}

Return nvmlDeviceGetCurrentClocksEventReasons(Gpu *g, u64 *out) {
    ENTER("throttle");
    *out = 0;
    for (int i = 0; i < g->throttle_count; i++)
        if (g->throttles[i].at <= t && t < g->throttles[i].until) *out |= g->throttles[i].mask;
    return OK;
}

Return nvmlDeviceGetCurrentClocksThrottleReasons(Gpu *g, u64 *out) { return nvmlDeviceGetCurrentClocksEventReasons(g, out); }

static Return processes(Gpu *g, const char *kind, unsigned *count, ProcessInfo *out) {
    ENTER("processes");
    unsigned room = *count, found = 0;
    for (int i = 0; i < g->process_count; i++) {
        Process *p = &g->processes[i];
        if (strcmp(p->kind, kind) != 0 || t < p->at || t >= p->until) continue;
        if (out && found < room) out[found] = (ProcessInfo){p->pid, p->bytes, 0xFFFFFFFF, 0xFFFFFFFF};
        found++;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : OK;
}

Return nvmlDeviceGetComputeRunningProcesses_v3(Gpu *g, unsigned *n, ProcessInfo *out) { return processes(g, "compute", n, out); }
Return nvmlDeviceGetGraphicsRunningProcesses_v3(Gpu *g, unsigned *n, ProcessInfo *out) { return processes(g, "graphics", n, out); }
Return nvmlDeviceGetMPSComputeRunningProcesses_v3(Gpu *g, unsigned *n, ProcessInfo *out) { return processes(g, "mps", n, out); }
Return nvmlDeviceGetComputeRunningProcesses_v2(Gpu *g, unsigned *n, ProcessInfo *out) { return processes(g, "compute", n, out); }
Return nvmlDeviceGetGraphicsRunningProcesses_v2(Gpu *g, unsigned *n, ProcessInfo *out) { return processes(g, "graphics", n, out); }
