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

Return nvmlDeviceGetPowerManagementLimit(Gpu *g, unsigned *out) { ANSWER("limits", -1); *out = v ? v[0] : nvml_limit_of(g); return OK; }
Return nvmlDeviceGetEnforcedPowerLimit(Gpu *g, unsigned *out) { ANSWER("limits", -1); *out = v ? v[0] : nvml_limit_of(g); return OK; }
Return nvmlDeviceGetPowerManagementDefaultLimit(Gpu *g, unsigned *out) { ANSWER("limits", -1); *out = v ? v[0] : g->limit_default; return OK; }
Return nvmlDeviceGetPowerManagementLimitConstraints(Gpu *g, unsigned *low, unsigned *high) {
    ANSWER("limits", -1);
    *low = v ? v[0] : g->limit_min;
    *high = v ? v[1] : g->limit_max;
    return OK;
}

/* ---- telemetry ---- */

Return nvmlDeviceGetTemperature(Gpu *g, unsigned sensor, unsigned *out) {
    ANSWER("temperature", sensor);
    if (sensor != 0) return INVALID_ARGUMENT;
    *out = v ? v[0] : lround(temperature_at(g, t));
    return OK;
}

Return nvmlDeviceGetTemperatureV(Gpu *g, TemperatureV *out) {
    ANSWER("temperature", -1);
    if (out->version != (sizeof(TemperatureV) | 1u << 24)) return VERSION_MISMATCH;
    out->degrees = v ? v[2] : lround(temperature_at(g, t));
    return OK;
}

Return nvmlDeviceGetClockInfo(Gpu *g, unsigned type, unsigned *out) {
    ANSWER("clocks", type);
    if (type > 2) return NOT_SUPPORTED;
    *out = v ? v[0] : type == 2 ? g->clock_mem : g->clock_sm;
    return OK;
}

Return nvmlDeviceGetUtilizationRates(Gpu *g, Utilization *out) {
    ANSWER("utilization", -1);
    out->gpu = v ? v[0] : g->util_gpu;
    out->memory = v ? v[1] : g->util_mem;
    return OK;
}

Return nvmlDeviceGetMemoryInfo(Gpu *g, MemoryV1 *out) {
    ANSWER("memory", -1);
    u64 used = g->mem_used + g->mem_reserved;
    *out = v ? (MemoryV1){v[0], v[1], v[2]} : (MemoryV1){g->mem_total, g->mem_total - used, used};
    return OK;
}

Return nvmlDeviceGetMemoryInfo_v2(Gpu *g, MemoryV2 *out) {
    ANSWER("memory", -1);
    if (out->version != (sizeof(MemoryV2) | 2u << 24)) return VERSION_MISMATCH;
    if (v) return *out = (MemoryV2){v[0], v[1], v[2], v[3], v[4]}, OK;
    out->total = g->mem_total;
    out->reserved = g->mem_reserved;
    out->used = g->mem_used;
    out->free = g->mem_total - g->mem_used - g->mem_reserved;
    return OK;
}

static u64 reasons_at(const Gpu *g, double t) {
    u64 mask = 0;
    for (int i = 0; i < g->throttle_count; i++)
        if (g->throttles[i].at <= t && t < g->throttles[i].until) mask |= g->throttles[i].mask;
    return mask;
}

Return nvmlDeviceGetCurrentClocksEventReasons(Gpu *g, u64 *out) { ANSWER("throttle", -1); *out = v ? v[0] : reasons_at(g, t); return OK; }
Return nvmlDeviceGetCurrentClocksThrottleReasons(Gpu *g, u64 *out) { ANSWER("throttle", -1); *out = v ? v[0] : reasons_at(g, t); return OK; }

static Return processes(Gpu *g, const char *call, const char *kind, unsigned *count, ProcessInfo *out) {
    ENTER("processes");
    const double *v;
    Return recorded = nvml_replay(g, call, -1, t, &v);
    if (recorded != OK) return recorded;
    unsigned room = *count, found = 0;
    for (int i = 0; v && i < (int)v[0]; i++, found++)
        if (out && found < room) out[found] = (ProcessInfo){v[1 + 2 * i], v[2 + 2 * i], 0xFFFFFFFF, 0xFFFFFFFF};
    for (int i = 0; i < g->process_count; i++) {
        Process *p = &g->processes[i];
        if (strcmp(p->kind, kind) != 0 || t < p->at || t >= p->until) continue;
        if (out && found < room) out[found] = (ProcessInfo){p->pid, p->bytes, 0xFFFFFFFF, 0xFFFFFFFF};
        found++;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : OK;
}

Return nvmlDeviceGetComputeRunningProcesses_v3(Gpu *g, unsigned *n, ProcessInfo *out) { return processes(g, __func__, "compute", n, out); }
Return nvmlDeviceGetGraphicsRunningProcesses_v3(Gpu *g, unsigned *n, ProcessInfo *out) { return processes(g, __func__, "graphics", n, out); }
Return nvmlDeviceGetMPSComputeRunningProcesses_v3(Gpu *g, unsigned *n, ProcessInfo *out) { return processes(g, __func__, "mps", n, out); }
Return nvmlDeviceGetComputeRunningProcesses_v2(Gpu *g, unsigned *n, ProcessInfo *out) { return processes(g, __func__, "compute", n, out); }
Return nvmlDeviceGetGraphicsRunningProcesses_v2(Gpu *g, unsigned *n, ProcessInfo *out) { return processes(g, __func__, "graphics", n, out); }
