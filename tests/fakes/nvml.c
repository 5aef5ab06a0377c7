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

#include "nvml_calls.h"

#ifndef SCENARIO_VARIABLE
#define SCENARIO_VARIABLE "WBCBENCH_FAKE_NVML"
#endif

Scenario nvml_scenario_now;
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

/* Faults that replace a value rather than the call: zero, spike, scale. */
Return nvml_faulty(Gpu *g, const char *call, double t, double *value) {
    for (int i = 0; i < g->fault_count; i++) {
        Fault *f = &g->faults[i];
        if (!concerns(f, call) || !is_due(f, t)) continue;
        if (!strcmp(f->kind, "hang")) hang(f, t);
        else if (!strcmp(f->kind, "zero")) { if (value) *value = 0; }
        else if (!strcmp(f->kind, "spike")) { if (value) *value = f->value; }
        else if (!strcmp(f->kind, "scale")) { if (value) *value *= f->value; }
        else if (!strcmp(f->kind, "stuck")) continue; /* see nvml_shown_at */
        else return code_of(f);
    }
    return OK;
}

/* The moment of which a reading shows the value: earlier than `t` while it is stuck. */
double nvml_shown_at(const Gpu *g, const char *reading, double t) {
    double shown = t;
    for (int i = 0; i < g->fault_count; i++) {
        const Fault *f = &g->faults[i];
        if (strcmp(f->kind, "stuck") || !concerns(f, reading) || t < f->at || t >= f->until) continue;
        if (f->at < shown) shown = f->at;
    }
    return shown;
}

Return nvml_enter(Gpu *g, const char *call, double *t) {
    if (users == 0) return UNINITIALIZED;
    if (g < scenario.gpus || g >= scenario.gpus + scenario.gpu_count) return INVALID_ARGUMENT;
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    scenario_sleep(&scenario, scenario.latency * scenario.scale);
    *t = scenario_now(&scenario);
    Return code = nvml_faulty(g, call, *t, NULL);
    *t = scenario_now(&scenario);
    return code;
}

static Return text_out(const char *text, char *out, unsigned size) {
    if (strlen(text) + 1 > size) return INSUFFICIENT_SIZE;
    strcpy(out, text);
    return OK;
}

/* ---- library ---- */

static Return read_scenario(void) {
    const char *path = getenv(SCENARIO_VARIABLE);
    if (!path || !*path) return DRIVER_NOT_LOADED;
    int line = scenario_read(&scenario, path);
    if (line == 0) return scenario.init_error;
    fprintf(stderr, "scripted GPUs: %s, line %d is not understood\n", path, line);
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
    case 1234: return "\xff";
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

/* Strikes only where a fault names `handle`: a handle once given is asked by no call again. */
static Return handle_of(Gpu *g, Gpu **out) {
    double t = scenario_now(&scenario);
    for (int i = 0; i < g->fault_count; i++) {
        Fault *f = &g->faults[i];
        if (strcmp(f->on, "handle") == 0 && is_due(f, t)) return code_of(f);
    }
    *out = g;
    const double *v;
    return nvml_replay(g, "nvmlDeviceGetHandleByIndex_v2", -1, t, &v);
}

Return nvmlDeviceGetHandleByIndex_v2(unsigned index, Gpu **out) {
    if (users == 0) return UNINITIALIZED;
    if (index >= (unsigned)scenario.gpu_count) return INVALID_ARGUMENT;
    return handle_of(&scenario.gpus[index], out);
}

static Return find(const char *text, size_t offset, Gpu **out) {
    if (users == 0) return UNINITIALIZED;
    for (int i = 0; i < scenario.gpu_count; i++) {
        if (strcmp((char *)&scenario.gpus[i] + offset, text) != 0) continue;
        return handle_of(&scenario.gpus[i], out);
    }
    return NOT_FOUND;
}

Return nvmlDeviceGetHandleByUUID(const char *uuid, Gpu **out) { return find(uuid, offsetof(Gpu, uuid), out); }
Return nvmlDeviceGetHandleByPciBusId_v2(const char *bus, Gpu **out) { return find(bus, offsetof(Gpu, bus), out); }
Return nvmlDeviceGetHandleBySerial(const char *serial, Gpu **out) { return find(serial, offsetof(Gpu, serial), out); }
Return nvmlDeviceGetName(Gpu *g, char *out, unsigned size) { ANSWER("identity", -1); return text_out(g->name, out, size); }
Return nvmlDeviceGetUUID(Gpu *g, char *out, unsigned size) { ANSWER("identity", -1); return text_out(g->uuid, out, size); }
Return nvmlDeviceGetSerial(Gpu *g, char *out, unsigned size) {
    ANSWER("identity", -1);
    return g->serial[0] ? text_out(g->serial, out, size) : NOT_SUPPORTED;
}

Return nvmlDeviceGetIndex(Gpu *g, unsigned *out) {
    ENTER("identity");
    *out = (unsigned)(g - scenario.gpus);
    return OK;
}

Return nvmlDeviceGetMinorNumber(Gpu *g, unsigned *out) {
    ENTER("identity");
    *out = g->minor < 0 ? (unsigned)(g - scenario.gpus) : (unsigned)g->minor;
    return OK;
}

Return nvmlDeviceGetPciInfo_v3(Gpu *g, PciInfo *out) {
    ANSWER("identity", -1);
    memset(out, 0, sizeof *out);
    if (sscanf(g->bus, "%x:%x:%x", &out->domain, &out->bus, &out->device) != 3) return UNKNOWN;
    out->deviceId = 0x20B010DE;
    out->subSystemId = 0x145F10DE;
    snprintf(out->legacy, sizeof out->legacy, "%04X:%02X:%02X.0", out->domain & 0xFFFF, out->bus & 0xFF, out->device & 0xFF);
    return text_out(g->bus, out->busId, sizeof out->busId);
}

Return nvmlDeviceGetArchitecture(Gpu *g, unsigned *out) { ANSWER("identity", -1); *out = v ? v[0] : g->arch; return OK; }
Return nvmlDeviceGetPersistenceMode(Gpu *g, unsigned *out) { ANSWER("modes", -1); *out = v ? v[0] : g->persistence; return OK; }
Return nvmlDeviceGetComputeMode(Gpu *g, unsigned *out) { ANSWER("modes", -1); *out = v ? v[0] : 0; return OK; }
Return nvmlDeviceGetEccMode(Gpu *g, unsigned *current, unsigned *pending) {
    ANSWER("modes", -1);
    *current = v ? v[0] : g->ecc;
    *pending = v ? v[1] : g->ecc;
    return OK;
}
Return nvmlDeviceGetMigMode(Gpu *g, unsigned *current, unsigned *pending) {
    ANSWER("modes", -1);
    if (g->mig < 0) return NOT_SUPPORTED;
    *current = v ? v[0] : (unsigned)g->mig;
    *pending = v ? v[1] : (unsigned)g->mig;
    return OK;
}
