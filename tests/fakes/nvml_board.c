/* Power limits, heat, clocks, load, memory, throttling and processes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nvml_calls.h"

/* ---- limits; what was set is kept in a file, so that other processes see it ---- */

static void limit_path(const Gpu *g, char *out, size_t size) {
    snprintf(out, size, "%s.limit%d", scenario.state, (int)(g - scenario.gpus));
}

unsigned nvml_limit_of(const Gpu *g) {
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

Return nvmlDeviceGetPowerManagementLimit(Gpu *g, unsigned *out) { ENTER("limits"); *out = nvml_limit_of(g); return OK; }
Return nvmlDeviceGetEnforcedPowerLimit(Gpu *g, unsigned *out) { ENTER("limits"); *out = nvml_limit_of(g); return OK; }
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
