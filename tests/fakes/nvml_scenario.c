/* The scenario file: one statement a line, `word key=value …`; a `gpu` line opens a GPU. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nvml_scenario.h"

#define NEVER 1e300

static int word_of(const char *line, const char *key, char *out, size_t size) {
    char pattern[TEXT];
    snprintf(pattern, sizeof pattern, " %s=", key);
    const char *found = strstr(line, pattern);
    if (!found) return 0;
    found += strlen(pattern);
    size_t length = strcspn(found, " \n");
    if (length >= size) length = size - 1;
    memcpy(out, found, length);
    out[length] = 0;
    return 1;
}

static double number_of(const char *line, const char *key, double otherwise) {
    char text[TEXT];
    return word_of(line, key, text, sizeof text) ? strtod(text, NULL) : otherwise;
}

static u64 whole_of(const char *line, const char *key, u64 otherwise) {
    char text[TEXT];
    return word_of(line, key, text, sizeof text) ? strtoull(text, NULL, 0) : otherwise;
}

/* The rest of the line after its first word. */
static void rest_of(const char *line, char *out, size_t size) {
    const char *rest = strchr(line, ' ');
    snprintf(out, size, "%s", rest ? rest + 1 : "");
    out[strcspn(out, "\n")] = 0;
}

static int read_knots(Power *p, const char *path) {
    FILE *file = fopen(path, "r");
    int room = 1024;
    if (!file) return 0;
    p->t = malloc(room * sizeof(double));
    p->w = malloc(room * sizeof(double));
    p->n = 0;
    while (fscanf(file, "%lf %lf", &p->t[p->n], &p->w[p->n]) == 2) {
        if (++p->n < room) continue;
        room *= 2;
        p->t = realloc(p->t, room * sizeof(double));
        p->w = realloc(p->w, room * sizeof(double));
    }
    fclose(file);
    p->sum = calloc(p->n + 1, sizeof(double));
    for (int i = 1; i < p->n; i++) {
        double mean = p->shape == SHAPE_STEPS ? p->w[i - 1] : 0.5 * (p->w[i - 1] + p->w[i]);
        p->sum[i] = p->sum[i - 1] + mean * (p->t[i] - p->t[i - 1]);
    }
    return p->n > 0;
}

static int open_live(Power *p, const char *path) {
    int file = open(path, O_RDONLY);
    if (file < 0) return 0;
    void *page = mmap(NULL, sizeof(Live), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page == MAP_FAILED) return 0;
    p->live = page;
    p->n = 0;
    p->t = malloc(MAX_LIVE * sizeof(double));
    p->w = malloc(MAX_LIVE * sizeof(double));
    p->sum = malloc(MAX_LIVE * sizeof(double));
    return p->live->count > 0;
}

static int read_power(Power *p, const char *line) {
    static const char *names[] = {"constant", "square", "ramp", "sine", "lines", "steps", "live"};
    char shape[TEXT] = "", path[1024];
    word_of(line, "shape", shape, sizeof shape);
    int kind = 0;
    while (kind < 7 && strcmp(shape, names[kind]) != 0) kind++;
    if (kind == 7) return 0;
    p->shape = (Shape)kind;
    p->low = number_of(line, "low", 0);
    p->high = number_of(line, "high", 0);
    p->period = number_of(line, "period", 1);
    p->duty = number_of(line, "duty", 0.5);
    p->phase = number_of(line, "phase", 0);
    p->start = number_of(line, "start", 0);
    p->end = number_of(line, "end", 1);
    if (kind < SHAPE_LINES) return 1;
    if (!word_of(line, "path", path, sizeof path)) return 0;
    return kind == SHAPE_LIVE ? open_live(p, path) : read_knots(p, path);
}

static int read_span(Power *p, const char *line) {
    p->from = number_of(line, "from", -NEVER);
    p->until = number_of(line, "until", NEVER);
    p->idle = number_of(line, "idle", 0);
    return p->from < p->until;
}

static int read_sensor(Gpu *g, const char *line) {
    char reading[TEXT] = "";
    word_of(line, "reading", reading, sizeof reading);
    Sensor *s = !strcmp(reading, "instant") ? &g->instant
              : !strcmp(reading, "average") ? &g->average
              : !strcmp(reading, "usage")   ? &g->usage : NULL;
    if (!s) return 0;
    s->supported = (int)number_of(line, "supported", 1);
    s->update = number_of(line, "update", 0.1);
    s->window = number_of(line, "window", 0);
    s->phase = number_of(line, "phase", 0);
    s->gain = number_of(line, "gain", 1);
    s->offset = number_of(line, "offset", 0);
    s->noise = number_of(line, "noise", 0);
    s->lag = number_of(line, "lag", 0);
    s->resolution = number_of(line, "resolution", 0);
    s->jitter = number_of(line, "jitter", 0);
    s->seed = whole_of(line, "seed", 1);
    return s->jitter < 0.5;
}

static int read_counter(Counter *c, const char *line) {
    c->supported = (int)number_of(line, "supported", 1);
    c->from_sensor = (int)number_of(line, "from_sensor", 0);
    c->step = number_of(line, "step", 0.1);
    c->phase = number_of(line, "phase", 0);
    c->gain = number_of(line, "gain", 1);
    c->start = number_of(line, "start", 0);
    c->frozen = number_of(line, "frozen", NEVER);
    c->reset = number_of(line, "reset", NEVER);
    c->jump = number_of(line, "jump", NEVER);
    c->jump_j = number_of(line, "jump_j", 0);
    c->jitter = number_of(line, "jitter", 0);
    c->resolution = number_of(line, "resolution", 0);
    c->seed = whole_of(line, "seed", 1);
    return c->jitter < 0.5;
}

static int read_event(Counter *c, const char *line) {
    if (c->event_count == MAX_EVENTS) return 0;
    c->events[c->event_count++] = (Event){number_of(line, "at", 0), number_of(line, "joules", 0)};
    return 1;
}

static int read_rate(Counter *c, const char *line) {
    if (c->rate_count == MAX_EVENTS) return 0;
    c->rates[c->rate_count++] = (Rate){number_of(line, "from", -NEVER), number_of(line, "until", NEVER),
                                       number_of(line, "factor", 0)};
    return 1;
}

static int read_process(Gpu *g, const char *line) {
    if (g->process_count == MAX_ITEMS) return 0;
    Process *p = &g->processes[g->process_count++];
    strcpy(p->kind, "compute");
    word_of(line, "kind", p->kind, sizeof p->kind);
    p->pid = (unsigned)whole_of(line, "pid", 1);
    p->bytes = whole_of(line, "bytes", 0);
    p->at = number_of(line, "at", 0);
    p->until = number_of(line, "until", NEVER);
    return 1;
}

static int read_fault(Gpu *g, const char *line) {
    if (g->fault_count == MAX_ITEMS) return 0;
    Fault *f = &g->faults[g->fault_count++];
    strcpy(f->on, "all");
    word_of(line, "on", f->on, sizeof f->on);
    word_of(line, "kind", f->kind, sizeof f->kind);
    f->at = number_of(line, "at", -NEVER);
    f->until = number_of(line, "until", NEVER);
    f->value = number_of(line, "value", 0);
    f->nth = (long)number_of(line, "nth", 0);
    f->count = (long)number_of(line, "count", 1);
    f->code = (int)number_of(line, "code", 999);
    return 1;
}

static int read_throttle(Gpu *g, const char *line) {
    if (g->throttle_count == MAX_ITEMS) return 0;
    Throttle *r = &g->throttles[g->throttle_count++];
    r->mask = whole_of(line, "mask", 0);
    r->at = number_of(line, "at", 0);
    r->until = number_of(line, "until", NEVER);
    return 1;
}

static int read_temperature(Gpu *g, const char *line) {
    if (g->temps == MAX_ITEMS) return 0;
    g->temp_t[g->temps] = number_of(line, "at", 0);
    g->temp_c[g->temps++] = number_of(line, "c", 40);
    return 1;
}

static int read_board(Gpu *g, const char *line) {
    g->arch = (unsigned)whole_of(line, "arch", 7);
    g->persistence = (unsigned)whole_of(line, "persistence", 1);
    g->ecc = (unsigned)whole_of(line, "ecc", 0);
    g->mig = (int)number_of(line, "mig", 0);
    g->clock_sm = (unsigned)whole_of(line, "clock_sm", 1410);
    g->clock_mem = (unsigned)whole_of(line, "clock_mem", 1215);
    g->util_gpu = (unsigned)whole_of(line, "util_gpu", 0);
    g->util_mem = (unsigned)whole_of(line, "util_mem", 0);
    g->mem_total = whole_of(line, "mem_total", 42949672960ULL);
    g->mem_used = whole_of(line, "mem_used", 0);
    g->mem_reserved = whole_of(line, "mem_reserved", 0);
    g->limit_default = (unsigned)whole_of(line, "limit_default", 300000);
    g->limit_min = (unsigned)whole_of(line, "limit_min", 100000);
    g->limit_max = (unsigned)whole_of(line, "limit_max", 300000);
    g->limit_settable = (int)number_of(line, "limit_settable", 0);
    g->minor = (int)number_of(line, "minor", -1);
    return 1;
}

static int read_replay(Gpu *g, const char *line) {
    char path[1024];
    return word_of(line, "path", path, sizeof path) && replay_read(g, path);
}

static int open_clock(Scenario *s, const char *path) {
    int file = open(path, O_RDONLY);
    if (file < 0) return 0;
    void *page = mmap(NULL, sizeof(double), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page == MAP_FAILED) return 0;
    s->clock = page;
    return 1;
}

static int read_host(Scenario *s, const char *line) {
    char path[1024];
    s->epoch = number_of(line, "epoch", 0);
    s->scale = number_of(line, "scale", 1);
    s->latency = number_of(line, "latency", 0);
    s->cuda = (int)number_of(line, "cuda", 13000);
    s->init_error = (int)number_of(line, "init_error", 0);
    word_of(line, "driver", s->driver, sizeof s->driver);
    word_of(line, "nvml", s->nvml, sizeof s->nvml);
    word_of(line, "state", s->state, sizeof s->state);
    return !word_of(line, "clock", path, sizeof path) || open_clock(s, path);
}

static int starts(const char *line, const char *word) {
    size_t length = strlen(word);
    return strncmp(line, word, length) == 0 && (line[length] == ' ' || line[length] == '\n');
}

static int open_gpu(Scenario *s) {
    if (s->gpu_count == MAX_GPUS) return 0;
    Gpu *g = &s->gpus[s->gpu_count++];
    memset(g, 0, sizeof *g);
    read_board(g, "");
    read_span(&g->power, "");
    read_counter(&g->counter, "");
    return 1;
}

static int read_line(Scenario *s, const char *line) {
    if (line[0] == '#' || line[0] == '\n') return 1;
    if (starts(line, "host")) return read_host(s, line);
    if (starts(line, "gpu")) return open_gpu(s);
    if (s->gpu_count == 0) return 0;
    Gpu *g = &s->gpus[s->gpu_count - 1];
    if (starts(line, "name")) return rest_of(line, g->name, TEXT), 1;
    if (starts(line, "uuid")) return rest_of(line, g->uuid, TEXT), 1;
    if (starts(line, "bus")) return rest_of(line, g->bus, TEXT), 1;
    if (starts(line, "serial")) return rest_of(line, g->serial, TEXT), 1;
    if (starts(line, "board")) return read_board(g, line);
    if (starts(line, "power")) return read_power(&g->power, line);
    if (starts(line, "span")) return read_span(&g->power, line);
    if (starts(line, "sensor")) return read_sensor(g, line);
    if (starts(line, "counter")) return read_counter(&g->counter, line);
    if (starts(line, "event")) return read_event(&g->counter, line);
    if (starts(line, "rate")) return read_rate(&g->counter, line);
    if (starts(line, "process")) return read_process(g, line);
    if (starts(line, "throttle")) return read_throttle(g, line);
    if (starts(line, "temperature")) return read_temperature(g, line);
    if (starts(line, "fault")) return read_fault(g, line);
    if (starts(line, "replay")) return read_replay(g, line);
    return 0;
}

static void forget(Scenario *s) {
    for (int i = 0; i < s->gpu_count; i++) {
        Gpu *g = &s->gpus[i];
        replay_forget(g);
        free(g->sums), free(g->power.t), free(g->power.w), free(g->power.sum);
    }
    if (s->clock) munmap((void *)s->clock, sizeof(double));
}

int scenario_read(Scenario *s, const char *path) {
    FILE *file = fopen(path, "r");
    char line[2048];
    if (!file) return -1;
    forget(s);
    memset(s, 0, sizeof *s);
    s->scale = 1;
    for (int number = 1; fgets(line, sizeof line, file); number++) {
        if (read_line(s, line)) continue;
        fclose(file);
        return number;
    }
    fclose(file);
    return 0;
}
