/* What the parts of the scripted library share; structures follow NVML's public header. */
#ifndef NVML_CALLS_H
#define NVML_CALLS_H

#include "nvml_scenario.h"

typedef int Return;
enum {
    OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4,
    NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, FUNCTION_NOT_FOUND = 13, GPU_IS_LOST = 15,
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

/* One scenario a process; read when the library is opened. */
extern Scenario nvml_scenario_now;
#define scenario nvml_scenario_now

/* Count a call, wait, and let faults strike; `t` becomes the scenario's time. */
Return nvml_enter(Gpu *g, const char *call, double *t);
Return nvml_faulty(Gpu *g, const char *call, double t, double *value);
double nvml_shown_at(const Gpu *g, const char *reading, double t);
unsigned nvml_limit_of(const Gpu *g);

#define ENTER(call)                              \
    double t;                                    \
    Return entered = nvml_enter(g, call, &t);   \
    if (entered != OK) return entered;           \
    (void)t

/* What a recording of the board says of a call; NULL on a scripted board. */
Return nvml_replay(const Gpu *g, const char *call, long input, double t, const double **values);

/* ENTER; where the board is recorded, `v` is what this function answered, for one of its inputs. */
#define ANSWER(group, input)                                         \
    ENTER(group);                                                    \
    const double *v;                                                 \
    Return recorded = nvml_replay(g, __func__, input, t, &v);        \
    if (recorded != OK) return recorded;                             \
    (void)v

#endif
