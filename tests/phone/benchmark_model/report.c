// Tables of per-operator times, in the layout of each family; CSV and protobuf of the newer ones.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benchmark.h"

#define TOP 10
struct Row {
    char type[256], name[256];
    struct Stat us;  // one value a call
    int64_t start_us, memory_kb;
};
struct Profile {
    struct Row *rows;  // in order of the first run
    size_t count, runs;
    struct Stat totals;  // of all operators, one a run
};

struct Profile *profile_new(void) { return calloc(1, sizeof(struct Profile)); }

static struct Row *row_of(struct Profile *profile, const struct Event *event, size_t hint) {
    if (hint < profile->count && strcmp(profile->rows[hint].name, event->name) == 0)
        return &profile->rows[hint];
    for (size_t i = 0; i < profile->count; i++)
        if (strcmp(profile->rows[i].name, event->name) == 0) return &profile->rows[i];
    profile->rows = realloc(profile->rows, (profile->count + 1) * sizeof *profile->rows);
    struct Row *row = memset(&profile->rows[profile->count++], 0, sizeof *row);
    snprintf(row->type, sizeof row->type, "%s", event->type);
    snprintf(row->name, sizeof row->name, "%s", event->name);
    row->memory_kb = event->memory_kb;
    return row;
}

bool profile_is_new(const struct Profile *profile) { return profile->runs == 0; }

// Rows of one name are one, as in the real tool: partitions of a delegate fall together.
void profile_add_run(struct Profile *profile, const struct Events *events) {
    int64_t total = 0;
    for (size_t i = 0; i < events->count; i++) {
        struct Row *row = row_of(profile, &events->items[i], i);
        if (row->us.count == 0) row->start_us = total;
        stat_add(&row->us, events->items[i].us);
        total += events->items[i].us;
    }
    stat_add(&profile->totals, total);
    profile->runs++;
}

// ---- text and CSV

static size_t lines_left;  // of a cut report

static void print(FILE *out, const char *format, ...) {
    if (lines_left == 0) return;
    lines_left--;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(out, format, arguments);
    va_end(arguments);
    fputc('\n', out);
}

static double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

static int64_t times_called(const struct Profile *profile, const struct Row *row) {
    if (family == V0) return 0;
    return (int64_t)(family == V5 ? row->us.count : row->us.count / profile->runs);
}

static void title(FILE *out, const char *text, int width) {
    int bars = family == V5 ? width - 2 - (int)strlen(text) : 60;
    char bar[128];
    memset(bar, '=', sizeof bar);
    print(out, "%.*s %s %.*s", bars / 2, bar, text, bars - bars / 2, bar);
}

static void row_header(FILE *out, const char *text, bool is_csv) {
    title(out, text, 150);
    if (is_csv)
        print(out, "node type, %sfirst, avg_ms, %%, cdf%%, mem KB, times called, name",
              family < V3 ? "start, " : "");
    else if (family == V5)
        print(out, "%60s%11s%11s%11s%11s%11s%11s%15s   [Name]", "[node type]", "[start]",
              "[first]", "[avg ms]", "[%]", "[cdf%]", "[mem KB]", "[times called]");
    else if (family >= V3)
        print(out, "\t%40s\t%9s\t%9s\t%8s\t%8s\t%10s\t%9s\t[Name]", "[node type]", "[first]",
              "[avg ms]", "[%]", "[cdf%]", "[mem KB]", "[times called]");
    else
        print(out, "\t%24s\t%*s\t%9s\t%9s\t%8s\t%8s\t%10s\t%9s\t[Name]", "[node type]",
              family == V0 ? 9 : 17, "[start]", "[first]", "[avg ms]", "[%]", "[cdf%]", "[mem KB]",
              "[times called]");
}

static void row_line(FILE *out, const struct Profile *profile, const struct Row *row, double cdf,
                     bool is_csv) {
    double start = (double)row->start_us / 1e3, first = (double)row->us.values[0] / 1e3,
           mean = stat_mean(&row->us) / 1e3;
    double share = percent((double)stat_sum(&row->us), (double)stat_sum(&profile->totals));
    double memory = (double)row->memory_kb;
    long calls = times_called(profile, row);
    if (family == V0)
        share /= (double)profile->runs, cdf /= (double)profile->runs;  // a fault of that tool
    if (is_csv) {
        char name[sizeof row->name], start_field[32] = "";
        strcpy(name, row->name);
        for (char *comma; (comma = strchr(name, ',')) != NULL;) *comma = '\t';
        if (family < V3) snprintf(start_field, sizeof start_field, "%g, ", start);
        print(out, "%s, %s%g, %g, %g%%, %g%%, %g, %ld, %s", row->type, start_field, first, mean,
              share, cdf, memory, calls, name);
    } else if (family == V5) {
        const char *node = strrchr(row->name, ':');
        bool is_delegated = strncmp(row->name, "Delegate/", 9) == 0;
        char type[300], name[300];
        snprintf(type, sizeof type, "%s%s", is_delegated ? "Delegate/" : "", row->type);
        snprintf(name, sizeof name, is_delegated ? "[Delegate]%s" : "%s",
                 is_delegated ? node : row->name);
        print(out, "%60s%11.3f%11.3f%11.3f%10.3f%%%10.3f%%%11.3f%15ld   %s", type, 0.0, first,
              mean, share, cdf, memory, calls, name);
    } else if (family >= V3) {
        print(out, "\t%40s\t%9.3f\t%9.3f\t%7.3f%%\t%7.3f%%\t%10.3f\t%9ld\t%s", row->type, first,
              mean, share, cdf, memory, calls, row->name);
    } else {
        char name[sizeof row->name];
        strcpy(name, row->name);
        if (family == V0) *strrchr(name, ':') = '\0';
        print(out, "\t%24s\t%*.3f\t%9.3f\t%9.3f\t%7.3f%%\t%7.3f%%\t%10.3f\t%9ld\t%s", row->type,
              family == V0 ? 9 : 17, start, first, mean, share, cdf, memory, calls, name);
    }
}

static int slowest_first(const void *left, const void *right) {
    double a = stat_mean(&(*(struct Row *const *)left)->us),
           b = stat_mean(&(*(struct Row *const *)right)->us);
    return (a < b) - (a > b);
}

static void rows(FILE *out, const struct Profile *profile, const char *text, bool is_top,
                 bool is_csv) {
    struct Row **order = malloc(profile->count * sizeof *order);
    for (size_t i = 0; i < profile->count; i++) order[i] = &profile->rows[i];
    if (is_top) qsort(order, profile->count, sizeof *order, slowest_first);
    row_header(out, text, is_csv);
    double sum = 0;
    for (size_t i = 0; i < profile->count && !(is_top && i == TOP); i++) {
        sum += (double)stat_sum(&order[i]->us);
        row_line(out, profile, order[i], percent(sum, (double)stat_sum(&profile->totals)), is_csv);
    }
    print(out, "");
    free(order);
}

struct Kind {
    char type[300];
    int64_t nodes, us, calls, memory_kb;
    int64_t least_us, most_us;
};

static int largest_first(const void *left, const void *right) {
    int64_t a = ((const struct Kind *)left)->us, b = ((const struct Kind *)right)->us;
    return (a < b) - (a > b);
}

static size_t kinds_of(const struct Profile *profile, struct Kind *kinds) {
    size_t count = 0;
    for (size_t i = 0; i < profile->count; i++) {
        const struct Row *row = &profile->rows[i];
        char type[300];
        bool has_prefix = family == V5 && strncmp(row->name, "Delegate/", 9) == 0;
        snprintf(type, sizeof type, "%s%s", has_prefix ? "Delegate/" : "", row->type);
        size_t k = 0;
        while (k < count && strcmp(kinds[k].type, type) != 0) k++;
        if (k == count) {
            kinds[count++] = (struct Kind){.least_us = INT64_MAX};
            strcpy(kinds[k].type, type);
        }
        kinds[k].nodes++;
        kinds[k].us += stat_sum(&row->us);
        kinds[k].calls += (int64_t)row->us.count;
        kinds[k].memory_kb += row->memory_kb;
        if (stat_min(&row->us) < kinds[k].least_us) kinds[k].least_us = stat_min(&row->us);
        if (stat_max(&row->us) > kinds[k].most_us) kinds[k].most_us = stat_max(&row->us);
    }
    qsort(kinds, count, sizeof *kinds, largest_first);
    return count;
}

static void by_kind(FILE *out, const struct Profile *profile, bool is_csv) {
    struct Kind *kinds = calloc(profile->count, sizeof *kinds);
    size_t count = kinds_of(profile, kinds);
    double cdf = 0, total = (double)stat_sum(&profile->totals);
    title(out, "Summary by node type", 130);
    if (is_csv)
        print(out, "node type, count, avg_ms, avg %%, cdf %%, mem KB, times called");
    else if (family == V5)
        print(out, "%60s%11s%11s%11s%11s%11s%15s", "[Node type]", "[count]", "[avg ms]", "[avg %]",
              "[cdf %]", "[mem KB]", "[times called]");
    else
        print(out, "\t%*s\t%9s\t%10s\t%11s\t%11s\t%10s\t%10s", family >= V3 ? 40 : 24,
              "[Node type]", "[count]", "[avg ms]", "[avg %]", "[cdf %]", "[mem KB]",
              "[times called]");
    for (size_t k = 0; k < count; k++) {
        struct Kind *kind = &kinds[k];
        double share = percent((double)kind->us, total), runs = (double)profile->runs;
        double mean = (double)kind->us / 1e3 / (family == V5 ? (double)kind->calls : runs);
        long calls = family == V5   ? kind->calls
                     : family == V0 ? 0
                                    : kind->calls / (long)profile->runs;
        cdf += share;
        if (is_csv)
            print(out, "%s, %ld, %g, %g%%, %g%%, %ld, %ld", kind->type, kind->nodes, mean, share,
                  cdf, kind->memory_kb, calls);
        else if (family == V5)
            print(out, "%60s%11ld%11.3f%10.3f%%%10.3f%%%11.3f%15ld", kind->type, kind->nodes, mean,
                  share, cdf, (double)kind->memory_kb, calls);
        else
            print(out, "\t%*s\t%9ld\t%10.3f\t%10.3f%%\t%10.3f%%\t%10.3f\t%9ld",
                  family >= V3 ? 40 : 24, kind->type, kind->nodes, mean, share, cdf,
                  (double)kind->memory_kb, calls);
    }
    print(out, "");
    for (size_t k = 0; family == V5 && k < count; k++) {
        if (k == 0) {
            title(out, "Delegate Statistics", 135);
            print(out, "%-82s%9s%11s%11s%11s%11s", "Op Name", "Count", "Avg(us)", "Min(us)",
                  "Max(us)", "Total(us)");
        }
        print(out, "%-82s%9ld%11.2f%11ld%11ld%11ld", kinds[k].type, kinds[k].calls,
              (double)kinds[k].us / (double)kinds[k].calls, kinds[k].least_us, kinds[k].most_us,
              kinds[k].us);
    }
    if (family == V5) print(out, "");
    free(kinds);
}

static void tables(FILE *out, const struct Profile *profile, const char *heading, bool is_csv) {
    char text[256];
    if (heading[0]) print(out, "%s", heading);
    rows(out, profile, "Run Order", false, is_csv);
    rows(out, profile, "Top by Computation Time", true, is_csv);
    print(out, "Number of nodes executed: %zu", profile->count);
    if (family == V5) print(out, "");
    by_kind(out, profile, is_csv);
    if (family == V5)  // that summary counts the operators, and adds all runs
        snprintf(text, sizeof text, "count=%zu curr=%ld", profile->count,
                 stat_sum(&profile->totals));
    else
        stat_print(&profile->totals, false, text, sizeof text);
    print(out, "Timings (microseconds): %s", text);
    print(out, "Memory (bytes): count=0");
    print(out, "%zu nodes observed", profile->count);
    print(out, "\n\n");
}

// ---- protobuf: tflite.profiling.BenchmarkProfilingData, written by hand

struct Buffer {
    unsigned char *bytes;
    size_t size;
};

static void put(struct Buffer *buffer, const void *bytes, size_t size) {
    buffer->bytes = realloc(buffer->bytes, buffer->size + size);
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
}

static void put_varint(struct Buffer *buffer, uint64_t value) {
    do {
        unsigned char byte = (unsigned char)((value & 0x7F) | (value > 0x7F ? 0x80 : 0));
        put(buffer, &byte, 1);
    } while ((value >>= 7) != 0);
}

static void put_integer(struct Buffer *buffer, unsigned field, int64_t value) {
    put_varint(buffer, field << 3);
    put_varint(buffer, (uint64_t)value);
}

static void put_float(struct Buffer *buffer, unsigned field, double value) {
    float single = (float)value;
    put_varint(buffer, field << 3 | 5);
    put(buffer, &single, sizeof single);
}

static void put_bytes(struct Buffer *buffer, unsigned field, const void *bytes, size_t size) {
    put_varint(buffer, field << 3 | 2);
    put_varint(buffer, size);
    put(buffer, bytes, size);
}

static void put_message(struct Buffer *buffer, unsigned field, struct Buffer *message) {
    put_bytes(buffer, field, message->bytes, message->size);
    free(message->bytes);
}

static void put_stat(struct Buffer *buffer, unsigned field, const struct Stat *stat) {
    struct Buffer message = {0};
    double variance = stat_variance(stat);
    put_integer(&message, 1, stat->values[0]);
    put_integer(&message, 2, stat->values[stat->count - 1]);
    put_integer(&message, 3, (int64_t)stat_mean(stat));
    put_float(&message, 4, sqrt(variance));
    put_float(&message, 5, variance);
    put_integer(&message, 6, stat_min(stat));
    put_integer(&message, 7, stat_max(stat));
    put_integer(&message, 8, stat_sum(stat));
    put_integer(&message, 9, (int64_t)stat->count);
    put_message(buffer, field, &message);
}

static void put_profile(struct Buffer *buffer, unsigned field, const struct Profile *profile) {
    struct Buffer subgraph = {0}, profiles = {0};
    for (size_t i = 0; i < profile->count; i++) {
        const struct Row *row = &profile->rows[i];
        struct Buffer message = {0};
        put_bytes(&message, 1, row->type, strlen(row->type));
        put_stat(&message, 2, &row->us);
        put_integer(&message, 4, times_called(profile, row));
        put_bytes(&message, 5, row->name, strlen(row->name));
        put_integer(&message, 6, (int64_t)i);
        put_message(&subgraph, 3, &message);
    }
    put_message(&profiles, 1, &subgraph);
    put_message(buffer, field, &profiles);
}

void report(const struct Profile *init, const struct Profile *runs, enum Mode mode,
            const char *file, bool is_cut) {
    FILE *out = file[0] ? fopen(file, "wb") : NULL;
    FILE *log = family == V1 || family == V2 ? stdout : stderr;
    const char *prefix = out == NULL && family >= V3 ? "INFO: " : "";
    if (mode == MODE_PROTO) {
        struct Buffer message = {0};
        put_profile(&message, 2, init);
        put_profile(&message, 3, runs);
        fwrite(message.bytes, 1, is_cut ? message.size / 2 : message.size, out ? out : log);
    } else {
        char heading[128];
        lines_left = SIZE_MAX;
        if (family == V1 || family == V2 || family == V3) {
            snprintf(heading, sizeof heading,
                     "%sProfiling Info for Benchmark Initialization:", prefix);
            tables(out ? out : log, init, heading, mode == MODE_CSV);
            snprintf(heading, sizeof heading,
                     "%sOperator-wise Profiling Info for Regular Benchmark Runs:", prefix);
        } else if (family >= V4) {
            snprintf(heading, sizeof heading,
                     "INFO: [./litert/tools/benchmark_litert_model.h:179] ");
        } else {
            heading[0] = '\0';
        }
        if (is_cut) lines_left = 3 + runs->count / 2;
        tables(out ? out : log, runs, heading, mode == MODE_CSV);
    }
    if (out != NULL) fclose(out);
}
