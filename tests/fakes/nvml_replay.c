/* Recorded answers of a board, as nvml_replay.py writes them: each is in force until the next. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nvml_calls.h"

/* `call input rows width`, then as many lines `time code value…`; again and again. */
int replay_read(Gpu *g, const char *path) {
    FILE *file = fopen(path, "r");
    Answers a;
    if (!file) return 0;
    while (fscanf(file, "%127s %ld %d %d", a.call, &a.input, &a.rows, &a.width) == 4) {
        a.t = malloc(a.rows * sizeof *a.t);
        a.codes = malloc(a.rows * sizeof *a.codes);
        a.values = malloc((size_t)a.rows * a.width * sizeof *a.values + 1);
        for (int row = 0; row < a.rows; row++) {
            if (fscanf(file, "%lf %d", &a.t[row], &a.codes[row]) != 2) return fclose(file), 0;
            for (int i = 0; i < a.width; i++)
                if (fscanf(file, "%lf", &a.values[row * a.width + i]) != 1) return fclose(file), 0;
        }
        g->answers = realloc(g->answers, (g->answer_count + 1) * sizeof a);
        g->answers[g->answer_count++] = a;
    }
    fclose(file);
    return g->answer_count > 0;
}

void replay_forget(Gpu *g) {
    for (int i = 0; i < g->answer_count; i++)
        free(g->answers[i].t), free(g->answers[i].codes), free(g->answers[i].values);
    free(g->answers);
}

/* The code of the answer in force, the first before it, and what it holds; a call that was never
   recorded does not exist. A scripted board has none: `values` stays NULL. */
Return nvml_replay(const Gpu *g, const char *call, long input, double t, const double **values) {
    *values = NULL;
    if (!g->answers) return OK;
    for (int i = 0; i < g->answer_count; i++) {
        const Answers *a = &g->answers[i];
        if (a->input != input || strcmp(a->call, call) != 0) continue;
        int low = 0, high = a->rows - 1;
        while (low < high) {
            int middle = (low + high + 1) / 2;
            if (a->t[middle] <= t) low = middle; else high = middle - 1;
        }
        *values = &a->values[(size_t)low * a->width];
        return a->codes[low];
    }
    return FUNCTION_NOT_FOUND;
}
