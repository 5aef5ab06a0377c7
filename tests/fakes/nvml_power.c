/* Energy and power: field values and the older calls. */
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "nvml_calls.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the summed sensor keeps state */

static Return energy_now(Gpu *g, double t, double *joules) {
    if (!g->counter.supported) return NOT_SUPPORTED;
    pthread_mutex_lock(&lock);
    *joules = counter_read(g, nvml_shown_at(g, "energy", t));
    pthread_mutex_unlock(&lock);
    return nvml_faulty(g, "energy", t, joules);
}

static Return power_now(Gpu *g, const Sensor *s, const char *reading, double t, double *watts) {
    if (!s->supported) return NOT_SUPPORTED;
    *watts = sensor_read(s, &g->power, nvml_shown_at(g, reading, t));
    return nvml_faulty(g, reading, t, watts);
}

Return nvmlDeviceGetTotalEnergyConsumption(Gpu *g, u64 *out) {
    ANSWER("energy_call", -1);
    double joules = 0;
    if (v) return *out = (u64)v[0], OK;
    Return code = energy_now(g, t, &joules);
    if (code == OK) *out = (u64)llround(joules * 1e3);
    return code;
}

Return nvmlDeviceGetPowerUsage(Gpu *g, unsigned *out) {
    ANSWER("usage_call", -1);
    double watts = 0;
    if (v) return *out = (unsigned)v[0], OK;
    Return code = power_now(g, &g->usage, "usage", t, &watts);
    if (code == OK) *out = (unsigned)lround(watts * 1e3);
    return code;
}

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
    case FIELD_LIMIT: return field_limit(nvml_limit_of(g), v);
    default: return NOT_SUPPORTED;
    }
}

/* A field that was never recorded is one that the board does not have. */
static Return recorded_field(const Gpu *g, double t, FieldValue *field) {
    const double *v;
    Return code = nvml_replay(g, "field", field->id, t, &v);
    if (code == FUNCTION_NOT_FOUND) return NOT_SUPPORTED;
    field->type = (int)v[0];
    switch (field->type) {
    case 0: field->value.d = v[1]; break;
    case TYPE_UNSIGNED: field->value.ui = (unsigned)v[1]; break;
    case 4: field->value.sll = (long long)v[1]; break;
    case 5: field->value.si = (int)v[1]; break;
    case 6: field->value.us = (unsigned short)v[1]; break;
    default: field->value.ull = (u64)v[1]; /* unsigned long is as long here */
    }
    return code;
}

Return nvmlDeviceGetFieldValues(Gpu *g, int count, FieldValue *values) {
    ANSWER("fields", -1);
    for (int i = 0; i < count; i++) {
        values[i].stamp = (long long)(t * 1e6);
        values[i].latency = 1;
        values[i].code = values[i].scope != 0 ? NOT_SUPPORTED
                       : v ? recorded_field(g, t, &values[i]) : field_value(g, t, &values[i]);
    }
    return OK;
}
