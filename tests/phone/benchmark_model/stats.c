// The statistics that the tool prints of its samples.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benchmark.h"

void stat_add(struct Stat *stat, int64_t value) {
    if (stat->count == stat->capacity) {
        stat->capacity = 2 * stat->capacity + 16;
        stat->values = realloc(stat->values, stat->capacity * sizeof *stat->values);
    }
    stat->values[stat->count++] = value;
}

int64_t stat_sum(const struct Stat *stat) {
    int64_t sum = 0;
    for (size_t i = 0; i < stat->count; i++) sum += stat->values[i];
    return sum;
}

int64_t stat_min(const struct Stat *stat) {
    int64_t least = stat->values[0];
    for (size_t i = 1; i < stat->count; i++)
        least = stat->values[i] < least ? stat->values[i] : least;
    return least;
}

int64_t stat_max(const struct Stat *stat) {
    int64_t most = stat->values[0];
    for (size_t i = 1; i < stat->count; i++)
        most = stat->values[i] > most ? stat->values[i] : most;
    return most;
}

double stat_mean(const struct Stat *stat) {
    return stat->count ? (double)stat_sum(stat) / (double)stat->count : NAN;
}

double stat_variance(const struct Stat *stat) {
    double mean = stat_mean(stat), squares = 0;
    for (size_t i = 0; i < stat->count; i++) {
        double distance = (double)stat->values[i] - mean;
        squares += distance * distance;
    }
    return squares / (double)stat->count;
}

static int ascending(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

void stat_print(const struct Stat *stat, bool with_percentiles, char *text, size_t size) {
    size_t count = stat->count;
    if (count == 0) {
        snprintf(text, size, "count=0");
        return;
    }
    int64_t least = stat_min(stat), most = stat_max(stat), last = stat->values[count - 1];
    int used;
    if (least == most)
        used = snprintf(text, size, "count=%zu curr=%ld%s", count, last,
                        count > 1 ? "(all same)" : "");
    else
        used = snprintf(text, size, "count=%zu first=%ld curr=%ld min=%ld max=%ld avg=%g std=%ld",
                        count, stat->values[0], last, least, most, stat_mean(stat),
                        (long)sqrt(stat_variance(stat)));
    if (!with_percentiles) return;
    int64_t *sorted = malloc(count * sizeof *sorted);
    memcpy(sorted, stat->values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    snprintf(text + used, size - (size_t)used, " p5=%ld median=%ld p95=%ld",
             sorted[count * 5 / 100], sorted[count * 50 / 100], sorted[count * 95 / 100]);
    free(sorted);
}
