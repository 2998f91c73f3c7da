// Shared by the parts of the stand-in benchmark_model; see main.c.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Formats of the real tool, oldest first. TensorFlow Lite's tool up to V3, LiteRT's own from V4.
enum Family { V0, V1, V2, V3, V4, V5 };
enum Level { VERBOSE, INFO, WARNING, ERROR };

extern enum Family family;
extern double slow;  // every time is multiplied by this

// Print a line as the tool's logger does: prefix and stream depend on the family.
void say(enum Level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
int64_t now_us(void);

// ---- flags: by name, as text, number or truth; defaults where they are not given
bool parse_flags(int count, char **arguments);
bool is_given(const char *name);
const char *text(const char *name);
double number(const char *name);
bool is_on(const char *name);
void log_parameters(void);

// ---- stats: integers in microseconds, as the real tool keeps them
struct Stat {
    int64_t *values;
    size_t count, capacity;
};
void stat_add(struct Stat *stat, int64_t value);
double stat_mean(const struct Stat *stat);
int64_t stat_sum(const struct Stat *stat);
int64_t stat_min(const struct Stat *stat);
int64_t stat_max(const struct Stat *stat);
double stat_variance(const struct Stat *stat);
void stat_print(const struct Stat *stat, bool with_percentiles, char *text, size_t size);

// ---- runtime: LiteRT through its C API
struct Event {
    const char *type;
    char name[256];  // unique within a run of one partition
    int64_t us, memory_kb;
};
struct Events {
    struct Event *items;
    size_t count;
};
enum Kernels { KERNELS_XNNPACK = 0, KERNELS_BUILTIN = 2 };
// Each returns whether it succeeded; LiteRT writes its reasons to standard error.
bool runtime_load_library(void);
bool runtime_load_model(const char *path);
bool runtime_compile(int threads, enum Kernels kernels, bool profile, bool fp16);
bool runtime_run(void);
void runtime_fill_inputs(void);
bool runtime_is_fully_delegated(void);
size_t runtime_operators(void);
void runtime_start_profiler(void);
// The events of the run since then, their times multiplied by `factor`, renumbered as if XNNPACK
// had split them into partitions.
struct Events runtime_events(size_t limit, int partitions, double factor);
// How XNNPACK split the graph: partitions in all, its own, and operators that it left out.
struct Split {
    size_t all, delegated, left_out;
} runtime_split(void);

// ---- turns: a CPU to itself for a while; before each run
bool turn_take(int threads);  // whether the turn is new, and caches belong to others
void turn_give_up(void);

// ---- report: what per-operator profiles look like
struct Profile;
struct Profile *profile_new(void);
bool profile_is_new(const struct Profile *profile);
void profile_add_run(struct Profile *profile, const struct Events *events);
enum Mode { MODE_TEXT, MODE_CSV, MODE_PROTO };
// Both profiles to the file, or where `say` writes if it is empty. Cut in the middle if asked to.
void report(const struct Profile *init, const struct Profile *runs, enum Mode mode,
            const char *file, bool is_cut);
