/* A scripted libamd_smi.so: the calls that the package amdsmi makes, on the boards of a scenario.
 *
 * The boards are those of the scripted NVML library, compiled in and played from another variable;
 * this file turns calls, structures, units and codes into AMD's. HIP counts boards along the bus.
 * As AMD's, the library does not count its users: the first shut-down closes it for all.
 */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "nvml_calls.h"

enum { SUCCESS = 0, INVAL = 1, UNSUPPORTED = 2, API_FAILED = 7, NO_PERM = 10, GONE = 31, NOT_INIT = 32, NO_DRIVER = 34 };
#define STEP_UJ 15.259f /* what one step of the counter is worth */
#define UNKNOWN_16 0xFFFF

typedef union { struct { uint64_t function : 3, device : 5, bus : 8, domain : 48; } part; uint64_t whole; } Bdf;
typedef struct { uint64_t socket; uint32_t current, average; uint64_t voltages[3]; uint32_t limit; uint64_t reserved[18]; } PowerInfo;
typedef struct { uint64_t cap, usual, dpm, least, most, reserved[3]; } PowerCap;
typedef struct { uint32_t clock, least, most; uint8_t locked, sleeps; uint32_t reserved[4]; } ClockInfo;
typedef struct { uint32_t graphics, memory, media, reserved[13]; } Activity;
typedef struct { uint32_t total, used, reserved[2]; } VramUsage;
typedef struct {
    uint64_t stamps[3], totals[6], shares[6];
    uint8_t prochot, power, socket, regulator, memory, below_limit;
    uint64_t totals_by_part[4][64], shares_by_part[4][64];
    uint8_t active_by_part[4][64];
    uint64_t reserved[192];
} Violations;
typedef struct { char name[256]; uint32_t pid; uint64_t bytes; struct { uint64_t graphics, media; uint32_t reserved[12]; } engine;
    struct { uint64_t gtt, cpu, vram; uint32_t reserved[10]; } memory; char container[256]; uint32_t occupancy, reserved[11]; } ProcInfo;
typedef struct { char market[256]; uint32_t vendor; char vendor_name[256]; uint32_t subvendor; uint64_t device; uint32_t revision;
    char serial[256]; uint32_t oam, units; uint64_t graphics; uint32_t subsystem, reserved[21]; } AsicInfo;
typedef struct { char version[256], date[256], name[256]; } DriverInfo;
typedef struct { uint32_t render, card, hsa, hip; char uuid[256]; } Enumeration;

Return nvmlInitWithFlags(unsigned);
Return nvmlShutdown(void);
Return nvmlDeviceGetUUID(Gpu *, char *, unsigned);
Return nvmlDeviceGetTemperature(Gpu *, unsigned, unsigned *);
Return nvmlDeviceGetClockInfo(Gpu *, unsigned, unsigned *);
Return nvmlDeviceGetUtilizationRates(Gpu *, Utilization *);
Return nvmlDeviceGetMemoryInfo_v2(Gpu *, MemoryV2 *);
Return nvmlDeviceGetCurrentClocksEventReasons(Gpu *, u64 *);
Return nvmlDeviceGetComputeRunningProcesses_v3(Gpu *, unsigned *, ProcessInfo *);
Return nvmlDeviceGetTotalEnergyConsumption(Gpu *, u64 *);
Return nvmlDeviceGetFieldValues(Gpu *, int, FieldValue *);
Return nvmlDeviceGetEnforcedPowerLimit(Gpu *, unsigned *);
Return nvmlDeviceSetPowerManagementLimit(Gpu *, unsigned);

static int is_open;

static Return translated(Return code) {
    switch (code) {
    case OK: return SUCCESS;
    case UNINITIALIZED: return NOT_INIT;
    case INVALID_ARGUMENT: return INVAL;
    case NOT_SUPPORTED: return UNSUPPORTED;
    case NO_PERMISSION: return NO_PERM;
    case DRIVER_NOT_LOADED: return NO_DRIVER;
    case GPU_IS_LOST: return GONE;
    default: return API_FAILED;
    }
}

/* Call a function of the board; leave with AMD's code where it fails. */
#define TRY(call)                                    \
    do {                                             \
        Return tried = (call);                       \
        if (tried != OK) return translated(tried);   \
    } while (0)

/* ---- library and handles ---- */

int fakeAmdsmiIsOpen(void) { return is_open; }

Return amdsmi_init(uint64_t flags) {
    (void)flags;
    if (is_open) return SUCCESS;
    TRY(nvmlInitWithFlags(0));
    is_open = 1;
    return SUCCESS;
}

Return amdsmi_shut_down(void) {
    if (is_open) nvmlShutdown();
    is_open = 0;
    return SUCCESS;
}

/* Every board is a socket with one processor. */
Return amdsmi_get_socket_handles(uint32_t *count, void **handles) {
    if (!is_open) return NOT_INIT;
    *count = (uint32_t)scenario.gpu_count;
    for (uint32_t i = 0; handles && i < *count; i++) handles[i] = &scenario.gpus[i];
    return SUCCESS;
}

Return amdsmi_get_processor_handles(void *socket, uint32_t *count, void **handles) {
    if (!is_open) return NOT_INIT;
    *count = 1;
    if (handles) handles[0] = socket;
    return SUCCESS;
}

/* ---- identity ---- */

Return amdsmi_get_gpu_device_uuid(Gpu *g, unsigned *size, char *out) {
    TRY(nvmlDeviceGetUUID(g, out, *size));
    return SUCCESS;
}

Return amdsmi_get_gpu_device_bdf(Gpu *g, Bdf *out) {
    unsigned domain, bus, device;
    ENTER("identity");
    if (sscanf(g->bus, "%x:%x:%x", &domain, &bus, &device) != 3) return API_FAILED;
    out->whole = 0;
    out->part.domain = domain;
    out->part.bus = bus & 0xFF;
    out->part.device = device & 0x1F;
    return SUCCESS;
}

Return amdsmi_get_gpu_enumeration_info(Gpu *g, Enumeration *out) {
    ENTER("modes");
    memset(out, 0xFF, sizeof *out);
    out->hip = 0;
    for (int i = 0; i < scenario.gpu_count; i++) out->hip += strcmp(scenario.gpus[i].bus, g->bus) < 0;
    snprintf(out->uuid, sizeof out->uuid, "GPU-%.8s", g->uuid);
    return SUCCESS;
}

Return amdsmi_get_gpu_asic_info(Gpu *g, AsicInfo *out) {
    ENTER("identity");
    memset(out, 0, sizeof *out);
    strcpy(out->market, g->name);
    strcpy(out->vendor_name, "Advanced Micro Devices, Inc.");
    strcpy(out->serial, g->serial);
    out->vendor = 0x1002;
    out->graphics = 0x942;
    return SUCCESS;
}

Return amdsmi_get_gpu_driver_info(Gpu *g, DriverInfo *out) {
    ENTER("identity");
    memset(out, 0, sizeof *out);
    strcpy(out->version, scenario.driver);
    strcpy(out->name, "amdgpu");
    return SUCCESS;
}

/* ---- energy and power ---- */

Return amdsmi_get_energy_count(Gpu *g, uint64_t *steps, float *step_uj, uint64_t *stamp_ns) {
    u64 millijoules;
    TRY(nvmlDeviceGetTotalEnergyConsumption(g, &millijoules));
    *steps = (uint64_t)((double)millijoules * 1e3 / STEP_UJ);
    *step_uj = STEP_UJ;
    *stamp_ns = (uint64_t)(scenario_now(&scenario) * 1e9);
    return SUCCESS;
}

Return amdsmi_get_power_info(Gpu *g, PowerInfo *out) {
    FieldValue values[2] = {{.id = FIELD_INSTANT}, {.id = FIELD_AVERAGE}};
    uint32_t watts[2];
    TRY(nvmlDeviceGetFieldValues(g, 2, values));
    for (int i = 0; i < 2; i++) {
        if (values[i].code != OK && values[i].code != NOT_SUPPORTED) return translated(values[i].code);
        watts[i] = values[i].code == OK ? (uint32_t)lround(values[i].value.ui / 1e3) : UNKNOWN_16;
    }
    memset(out, 0, sizeof *out);
    out->current = watts[0];
    out->average = watts[1];
    out->limit = nvml_limit_of(g) / 1000;
    return SUCCESS;
}

Return amdsmi_get_power_cap_info(Gpu *g, uint32_t sensor, PowerCap *out) {
    unsigned milliwatts;
    if (sensor != 0) return INVAL;
    TRY(nvmlDeviceGetEnforcedPowerLimit(g, &milliwatts));
    memset(out, 0, sizeof *out);
    out->cap = milliwatts * 1000ull;
    out->usual = g->limit_default * 1000ull;
    out->least = g->limit_min * 1000ull;
    out->most = g->limit_max * 1000ull;
    return SUCCESS;
}

Return amdsmi_set_power_cap(Gpu *g, uint32_t sensor, uint64_t microwatts) {
    if (sensor != 0) return INVAL;
    TRY(nvmlDeviceSetPowerManagementLimit(g, (unsigned)(microwatts / 1000)));
    return SUCCESS;
}

/* ---- state ---- */

Return amdsmi_get_temp_metric(Gpu *g, uint32_t sensor, uint32_t metric, int64_t *out) {
    unsigned degrees;
    if (sensor != 1 || metric != 0) return UNSUPPORTED; /* the hotspot, now */
    TRY(nvmlDeviceGetTemperature(g, 0, &degrees));
    *out = degrees;
    return SUCCESS;
}

Return amdsmi_get_clock_info(Gpu *g, uint32_t type, ClockInfo *out) {
    unsigned megahertz;
    if (type != 0 && type != 4) return UNSUPPORTED; /* graphics and memory */
    TRY(nvmlDeviceGetClockInfo(g, type == 4 ? 2 : 1, &megahertz));
    memset(out, 0xFF, sizeof *out);
    out->clock = megahertz;
    return SUCCESS;
}

Return amdsmi_get_gpu_activity(Gpu *g, Activity *out) {
    Utilization load;
    TRY(nvmlDeviceGetUtilizationRates(g, &load));
    memset(out, 0, sizeof *out);
    out->graphics = load.gpu;
    out->memory = load.memory;
    out->media = UNKNOWN_16;
    return SUCCESS;
}

Return amdsmi_get_gpu_vram_usage(Gpu *g, VramUsage *out) {
    MemoryV2 memory = {.version = sizeof(MemoryV2) | 2u << 24};
    TRY(nvmlDeviceGetMemoryInfo_v2(g, &memory));
    memset(out, 0, sizeof *out);
    out->total = (uint32_t)(memory.total >> 20);
    out->used = (uint32_t)(memory.used >> 20);
    return SUCCESS;
}

Return amdsmi_get_violation_status(Gpu *g, Violations *out) {
    u64 mask;
    TRY(nvmlDeviceGetCurrentClocksEventReasons(g, &mask));
    memset(out, 0xFF, sizeof *out);
    out->power = (mask & 0x004) != 0;
    out->socket = (mask & 0x020) != 0;
    out->prochot = (mask & 0x040) != 0;
    return SUCCESS;
}

Return amdsmi_get_gpu_process_list(Gpu *g, uint32_t *count, ProcInfo *out) {
    ProcessInfo found[MAX_ITEMS];
    unsigned number = MAX_ITEMS;
    TRY(nvmlDeviceGetComputeRunningProcesses_v3(g, &number, found));
    for (unsigned i = 0; i < number && i < *count; i++) {
        memset(&out[i], 0, sizeof out[i]);
        out[i].pid = found[i].pid;
        out[i].memory.vram = found[i].bytes;
    }
    *count = number;
    return SUCCESS;
}
