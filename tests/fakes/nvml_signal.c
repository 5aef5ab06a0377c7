/* True power, and what imperfect sensors make of it. */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "nvml_scenario.h"

static double whole_periods(double x, double period) { return floor(x / period); }

static pthread_mutex_t live_lock = PTHREAD_MUTEX_INITIALIZER;

/* Takes over the knots that were written since. */
static void follow_live(Power *p) {
    pthread_mutex_lock(&live_lock);
    int count = (int)p->live->count;
    __sync_synchronize(); /* the knots were written before their number */
    for (int i = p->n; i < count; i++) {
        p->t[i] = p->live->knots[2 * i];
        p->w[i] = p->live->knots[2 * i + 1];
        p->sum[i] = i ? p->sum[i - 1] + p->w[i - 1] * (p->t[i] - p->t[i - 1]) : 0;
        p->n = i + 1;
    }
    pthread_mutex_unlock(&live_lock);
}

static int knot_before(const Power *p, double t) {
    int low = 0, high = p->n - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (p->t[middle] <= t) low = middle; else high = middle - 1;
    }
    return low;
}

static double shape_at(const Power *p, double t) {
    switch (p->shape) {
    case SHAPE_SQUARE: {
        double x = t + p->phase;
        double into = x - whole_periods(x, p->period) * p->period;
        return into < p->duty * p->period ? p->high : p->low;
    }
    case SHAPE_RAMP:
        if (t <= p->start) return p->low;
        if (t >= p->end) return p->high;
        return p->low + (p->high - p->low) * (t - p->start) / (p->end - p->start);
    case SHAPE_SINE:
        return p->low + p->high * sin(2 * M_PI * (t + p->phase) / p->period);
    case SHAPE_LINES:
    case SHAPE_STEPS:
    case SHAPE_LIVE: {
        int i = knot_before(p, t);
        if (p->shape != SHAPE_LINES || t < p->t[0] || i == p->n - 1) return p->w[i];
        return p->w[i] + (p->w[i + 1] - p->w[i]) * (t - p->t[i]) / (p->t[i + 1] - p->t[i]);
    }
    default:
        return p->low;
    }
}

static double square_energy(const Power *p, double t) {
    double x = t + p->phase, high_s = p->duty * p->period;
    double periods = whole_periods(x, p->period), into = x - periods * p->period;
    double one = high_s * p->high + (p->period - high_s) * p->low;
    double rest = into < high_s ? into * p->high : high_s * p->high + (into - high_s) * p->low;
    return periods * one + rest;
}

static double knots_energy(const Power *p, double t) {
    int i = knot_before(p, t);
    double into = t - p->t[i];
    if (p->shape != SHAPE_LINES || t < p->t[0] || i == p->n - 1) return p->sum[i] + into * p->w[i];
    return p->sum[i] + into * 0.5 * (p->w[i] + shape_at(p, t));
}

static double shape_energy(const Power *p, double t) {
    switch (p->shape) {
    case SHAPE_SQUARE:
        return square_energy(p, t);
    case SHAPE_RAMP: {
        if (t <= p->start) return p->low * (t - p->start);
        double end = t < p->end ? t : p->end;
        double ramp = (end - p->start) * 0.5 * (p->low + shape_at(p, end));
        return t < p->end ? ramp : ramp + (t - p->end) * p->high;
    }
    case SHAPE_SINE:
        return p->low * t -
               p->high * p->period / (2 * M_PI) * cos(2 * M_PI * (t + p->phase) / p->period);
    case SHAPE_LINES:
    case SHAPE_STEPS:
    case SHAPE_LIVE:
        return knots_energy(p, t);
    default:
        return p->low * t;
    }
}

double power_at(const Power *p, double t) {
    if (p->live) follow_live((Power *)p);
    return p->from <= t && t < p->until ? shape_at(p, t) : p->idle;
}

/* An antiderivative of power_at: only differences mean anything. */
double power_energy(const Power *p, double t) {
    if (p->live) follow_live((Power *)p);
    if (p->from <= -1e300 && p->until >= 1e300) return shape_energy(p, t);
    double from = p->from < t ? p->from : t, until = p->until < t ? p->until : t;
    double loaded = from < until ? shape_energy(p, until) - shape_energy(p, from) : 0;
    return loaded + p->idle * (t - (from < until ? until - from : 0));
}

static double uniform(u64 seed) {
    seed += 0x9E3779B97F4A7C15ULL;
    seed = (seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9ULL;
    seed = (seed ^ (seed >> 27)) * 0x94D049BB133111EBULL;
    seed ^= seed >> 31;
    return ((double)(seed >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(u64 seed, u64 index) {
    u64 key = seed * 1000003ULL + index * 2ULL;
    return sqrt(-2 * log(uniform(key))) * cos(2 * M_PI * uniform(key + 1));
}

/* Renewals come every `period`, each up to `jitter` periods early or late (less than half). */
typedef struct { double period, phase, jitter; u64 seed; } Renewals;

static double renewal_time(const Renewals *r, double tick) {
    double early = r->jitter > 0 ? r->jitter * (2 * uniform(r->seed * 7919ULL + (u64)(int64_t)tick) - 1) : 0;
    return (tick + early) * r->period + r->phase;
}

/* The number of the last renewal up to `t`. */
static double renewal_before(const Renewals *r, double t) {
    double tick = floor((t - r->phase) / r->period);
    if (r->jitter <= 0) return tick;
    tick += 1;
    while (renewal_time(r, tick) > t) tick -= 1;
    return tick;
}

/* The same tick gives the same value however often it is read. */
double sensor_read(const Sensor *s, const Power *power, double t) {
    Renewals renewals = {s->update, s->phase, s->jitter, s->seed};
    double tick = s->update > 0 ? renewal_before(&renewals, t) : 0;
    double at = (s->update > 0 ? renewal_time(&renewals, tick) : t) - s->lag;
    double mean = power_at(power, at);
    if (s->window > 0) mean = (power_energy(power, at) - power_energy(power, at - s->window)) / s->window;
    double noise = s->noise > 0 ? s->noise * normal(s->seed, (u64)(int64_t)tick) : 0;
    double value = s->gain * mean + s->offset + noise;
    if (s->resolution > 0) value = s->resolution * round(value / s->resolution);
    return value > 0 ? value : 0;
}

/* A counter that adds up what the instant sensor shows, blind spots included. */
static double summed_sensor(Gpu *g, double t) {
    const Sensor *s = &g->instant;
    long tick = (long)floor((t - s->phase) / s->update);
    if (tick <= 0) return 0;
    while (g->sum_count <= tick) {
        long i = g->sum_count++;
        if (i >= g->sum_room) g->sum_room = 2 * i + 1024, g->sums = realloc(g->sums, g->sum_room * sizeof(double));
        g->sums[i] = i == 0 ? 0 : g->sums[i - 1] + s->update * sensor_read(s, &g->power, (i + 0.5) * s->update + s->phase);
    }
    return g->sums[tick];
}

static double drawn(Gpu *g, double from, double until) {
    if (!g->counter.from_sensor) return power_energy(&g->power, until) - power_energy(&g->power, from);
    return summed_sensor(g, until) - summed_sensor(g, from);
}

/* What a counter gains, or loses, of what is drawn between two moments. */
static double miscounted(Gpu *g, double from, double until) {
    const Counter *c = &g->counter;
    double joules = 0;
    for (int i = 0; i < c->rate_count; i++) {
        const Rate *r = &c->rates[i];
        double start = r->from > from ? r->from : from, end = r->until < until ? r->until : until;
        if (start < end) joules += (r->factor - 1) * c->gain * drawn(g, start, end);
    }
    for (int i = 0; i < c->event_count; i++)
        if (from < c->events[i].at && c->events[i].at <= until) joules += c->events[i].joules;
    return joules;
}

double counter_read(Gpu *g, double t) {
    const Counter *c = &g->counter;
    Renewals renewals = {c->step, c->phase, c->jitter, c->seed};
    if (t > c->frozen) t = c->frozen;
    double tick = c->step > 0 ? renewal_time(&renewals, renewal_before(&renewals, t)) : t;
    double from = t >= c->reset ? c->reset : 0, start = t >= c->reset ? 0 : c->start;
    if (tick < from) tick = from;
    double value = start + c->gain * drawn(g, from, tick) + miscounted(g, from, tick);
    value += t >= c->jump ? c->jump_j : 0;
    if (c->resolution > 0) value = c->resolution * floor(value / c->resolution);
    return value > 0 ? value : 0;
}

double temperature_at(const Gpu *g, double t) {
    int i = 0;
    while (i + 1 < g->temps && g->temp_t[i + 1] <= t) i++;
    if (i + 1 >= g->temps || t < g->temp_t[0]) return g->temp_c[i];
    double share = (t - g->temp_t[i]) / (g->temp_t[i + 1] - g->temp_t[i]);
    return g->temp_c[i] + share * (g->temp_c[i + 1] - g->temp_c[i]);
}

double scenario_now(const Scenario *s) {
    if (s->clock) return *s->clock;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((double)now.tv_sec + now.tv_nsec * 1e-9 - s->epoch) * s->scale;
}

/* On a clock file there is nothing to wait for: the test moves time. */
void scenario_sleep(const Scenario *s, double seconds) {
    if (s->clock || seconds <= 0) return;
    double real = seconds / s->scale;
    struct timespec left = {(time_t)real, (long)((real - floor(real)) * 1e9)};
    while (nanosleep(&left, &left) != 0) {}
}
