// A stand-in for TensorFlow Lite's benchmark_model on a stand-in phone.
//
// It takes the real tool's flags, runs the real model through LiteRT, and prints what the real
// tool prints. The file /vendor/fake/benchmark_model.conf, read at each start, says how:
//
//   family=v0|v1|v2|v3|v4|v5   whose format; v3 unless told otherwise
//   slow=1.3                   multiplies every time, as a throttled phone does
//   fail=...                   one of FAILURES below
//
// Times are true, with one liberty. A phone that measures is undisturbed, while this machine does
// other things as well; so a run of one thread takes that thread's CPU time, which on an
// undisturbed phone is the wall time, and a run in which the thread was preempted is repeated.
// Stand-ins on several phones take turns on this machine's CPUs (turns.c).
//
// As TFLite's builds do, families before v4 notice when somebody sets the phone's clock: by as
// many seconds as the file /vendor/fake/clock says, each change in the middle of a run.
#define _GNU_SOURCE
#include <glob.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "benchmark.h"

#define CONFIG "/vendor/fake/benchmark_model.conf"
#define CLOCK "/vendor/fake/clock"
#define PARTITIONS_IN_PARTIAL 3

enum Family family = V3;
double slow = 1;

// oom, segv, abort, hang: dies or sleeps in the timed runs. load, prepare, delegate, invoke: the
// tool's own errors. link: the system's linker. truncate: ends in the middle. garbage: its numbers
// are none. no_output: ends well without a word. flood: writes without end.
// silent_fallback: the delegate takes nothing; partial: only a part.
#define FAILURES(F)                                                                              \
    F(oom)                                                                                       \
    F(segv)                                                                                      \
    F(abort)                                                                                     \
    F(hang) F(load) F(prepare) F(delegate) F(invoke) F(link) F(truncate) F(garbage) F(no_output) \
        F(flood) F(silent_fallback) F(partial)
#define AS_ENUM(name) FAIL_##name,
#define AS_TEXT(name) #name,
static const char *const FAILURE_NAMES[] = {"", FAILURES(AS_TEXT)};
static enum { FAIL_NOT, FAILURES(AS_ENUM) FAILURE_COUNT } failure;

void say(enum Level level, const char *format, ...) {
    static const char *const prefixes[] = {"VERBOSE: ", "INFO: ", "WARNING: ", "ERROR: "};
    bool has_prefix = family >= V3;  // since then all goes through TFLite's own logger
    FILE *out = (family == V1 || family == V2) && level < ERROR ? stdout : stderr;
    va_list arguments;
    va_start(arguments, format);
    if (has_prefix) fputs(prefixes[level], out);
    vfprintf(out, format, arguments);
    fputc('\n', out);
    va_end(arguments);
}

// ---- failures

static bool understands(const char *line) {
    const char *value = strchr(line, '=');
    if (value == NULL) return line[0] == '\0';
    if (strncmp(line, "slow=", 5) == 0) return (slow = atof(++value)) > 0;
    if (strncmp(line, "family=v", 8) == 0)
        return (family = (enum Family)(line[8] - '0')) <= V5 && line[9] == '\0';
    for (int i = 1; i < FAILURE_COUNT && strncmp(line, "fail=", 5) == 0; i++)
        if (strcmp(line + 5, FAILURE_NAMES[i]) == 0) failure = i;
    return failure != FAIL_NOT;
}

static void read_config(void) {
    FILE *file = fopen(CONFIG, "r");
    char line[256];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        if (understands(line)) continue;
        fprintf(stderr, CONFIG ": what is '%s'?\n", line);  // a slip in a test
        exit(99);
    }
    if (file != NULL) fclose(file);
}

static bool fails(const char *message, const char *detail) {
    say(ERROR, message, detail);
    return false;
}

static void fail_at_once(const char *program) {
    if (failure == FAIL_no_output) exit(0);
    if (failure == FAIL_link) {
        fprintf(stderr,
                "CANNOT LINK EXECUTABLE \"%s\": library \"libc++_shared.so\" not found: needed by "
                "main executable\n",
                program);
        exit(1);
    }
    while (failure == FAIL_flood)
        if (puts("VERBOSE: flood flood flood flood flood flood flood flood flood flood flood") < 0)
            exit(1);
}

static void fail_while_running(void) {
    static const unsigned char noise[] =
        "count=\x1b[2J\xff\xfe first=nan curr=1e999 \x80\x81 min=-- max= avg=<> std";
    fflush(NULL);
    switch (failure) {
        case FAIL_oom:
            kill(getpid(), SIGKILL);
            break;
        case FAIL_segv:
            signal(SIGSEGV, SIG_DFL), raise(SIGSEGV);
            break;
        case FAIL_abort:
            abort();
        case FAIL_hang:
            for (;;) pause();
        case FAIL_garbage:
            for (int i = 0; i < 64; i++)
                fwrite(noise, 1, sizeof noise, family == V1 || family == V2 ? stdout : stderr);
            exit(0);
        default:
            break;
    }
}

// ---- loading

static const char *loading;  // the model, while LiteRT reads it

// LiteRT follows a damaged file's offsets unchecked, where the real tool verifies the file first.
static void on_damage(int signal_number) {
    (void)signal_number;
    say(ERROR, "The model is not a valid Flatbuffer buffer");
    say(ERROR, "Failed to load model %s", loading);
    say(ERROR, "Benchmarking failed.");
    _exit(1);
}

static bool load_model(const char *path) {
    unsigned char head[8] = {0};
    FILE *file = fopen(path, "rb");
    if (file == NULL || failure == FAIL_load) {
        say(ERROR, "Could not open '%s'.", path);
        return fails("Failed to load model %s", path);
    }
    size_t size = fread(head, 1, sizeof head, file);
    fclose(file);
    if (size < sizeof head || memcmp(head + 4, "TFL3", 4) != 0 || !runtime_load_model(path)) {
        say(ERROR, size == 0 ? "The model allocation is null/empty"
                             : "The model is not a valid Flatbuffer buffer");
        return fails("Failed to load model %s", path);
    }
    say(INFO, "Loaded model %s", path);
    if (family == V0) say(INFO, "resolved reporter");
    if (family >= V1) fprintf(stderr, "INFO: Initialized TensorFlow Lite runtime.\n");
    return true;
}

static int threads(void) { return (int)number("num_threads"); }

// Before XNNPACK became the default, and where it is switched off, TFLite's own kernels run.
static enum Kernels kernels(void) {
    bool is_default = family >= V3;
    if (failure == FAIL_silent_fallback) return KERNELS_BUILTIN;
    return (is_given("use_xnnpack") ? is_on("use_xnnpack") : is_default) ? KERNELS_XNNPACK
                                                                         : KERNELS_BUILTIN;
}

static bool is_profiled(void) {
    return is_on(family >= V4 ? "use_profiler" : "enable_op_profiling");
}

// How the graph was split; only a profile tells when it is not one piece.
static bool find_split(struct Split *split) {
    *split = (struct Split){1, 1, 0};
    if (kernels() == KERNELS_BUILTIN) *split = (struct Split){1, 0, runtime_operators()};
    if (failure == FAIL_partial)
        *split = (struct Split){2 * PARTITIONS_IN_PARTIAL - 1, PARTITIONS_IN_PARTIAL,
                                PARTITIONS_IN_PARTIAL - 1};
    if (kernels() == KERNELS_BUILTIN || failure == FAIL_partial || runtime_is_fully_delegated())
        return true;
    if (!is_profiled() &&
        !runtime_compile(threads(), kernels(), true, is_on("xnnpack_force_fp16")))
        return false;
    runtime_start_profiler();
    bool is_good = runtime_run();
    *split = runtime_split();
    return is_good && (is_profiled() ||
                       runtime_compile(threads(), kernels(), false, is_on("xnnpack_force_fp16")));
}

static bool apply_delegates(void) {
    struct Split split;
    bool is_explicit = is_given("use_xnnpack") && is_on("use_xnnpack");
    if (is_on("use_gpu")) say(WARNING, "GPU acceleration is unsupported on this platform.");
    if (is_on("require_full_delegation") && !is_explicit)
        return fails("Disallowed CPU fallback detected.%s", "");
    if (is_explicit) say(INFO, "XNNPACK delegate created.");
    if (failure == FAIL_delegate) return fails("Failed to apply %s delegate.", "XNNPACK");
    if (!runtime_compile(threads(), kernels(), is_profiled(), is_on("xnnpack_force_fp16")) ||
        failure == FAIL_prepare) {
        if (failure == FAIL_prepare) {
            say(ERROR,
                "tensorflow/lite/kernels/concatenation.cc:%d t->type != output_type (INT8 != "
                "FLOAT32)",
                178);
            say(ERROR, "Node number %zu (CONCATENATION) failed to prepare.",
                runtime_operators() / 2);
        }
        return fails("Failed to allocate tensors!%s", "");
    }
    if (!find_split(&split)) return fails("Failed to allocate tensors!%s", "");
    if (split.delegated > 0 && family >= V3)
        say(VERBOSE,
            "Replacing %zu out of %zu node(s) with delegate (TfLiteXNNPackDelegate) node, "
            "yielding %zu partitions for subgraph 0.",
            runtime_operators() - split.left_out, runtime_operators(), split.all);
    if (!is_explicit) return true;
    if (is_on("require_full_delegation") && split.all != 1)
        return fails("Disallowed CPU fallback detected.%s", "");
    if (split.delegated == 0)
        say(INFO,
            "Though XNNPACK delegate is explicitly applied, the model graph will not be executed "
            "by the delegate.");
    else if (split.all == 1)
        say(INFO,
            "Explicitly applied XNNPACK delegate, and the model graph will be completely executed "
            "by the delegate.");
    else
        say(INFO,
            "Explicitly applied XNNPACK delegate, and the model graph will be partially executed "
            "by the delegate w/ %zu delegate kernels.",
            split.delegated);
    return !(is_on("require_full_delegation") && split.delegated == 0) ||
           fails("Disallowed CPU fallback detected.%s", "");
}

// ---- runs

static int64_t now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

int64_t now_us(void) { return now_ns(CLOCK_MONOTONIC) / 1000; }

static int64_t clock_set_ns(void) {
    double set_s = 0;
    FILE *file = family < V4 ? fopen(CLOCK, "r") : NULL;
    if (file != NULL && fscanf(file, "%lf", &set_s) != 1) set_s = 0;
    if (file != NULL) fclose(file);
    return (int64_t)(set_s * 1e9);
}

// By which the real tool knows when to end.
static int64_t wall_us(void) { return now_us() + clock_set_ns() / 1000; }

static long preemptions(void) {
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

static void add_events(struct Profile *profile, double factor) {
    size_t limit = (size_t)number("max_profiling_buffer_entries");
    int partitions = failure == FAIL_partial ? PARTITIONS_IN_PARTIAL : 1;
    struct Events events = runtime_events(limit, partitions, factor);
    if (events.count == limit && profile_is_new(profile))
        say(INFO, "Warning: Dropping ProfileBuffer event.");
    profile_add_run(profile, &events);
    free(events.items);
}

// At least so many runs and seconds, as the real tool; whether all went well.
static bool run_many(int least, double least_s, double most_s, struct Profile *profile,
                     struct Stat *stat) {
    if (family == V0)
        say(INFO, "Running benchmark for at least %d iterations and at least %g seconds", least,
            least_s);
    else
        say(INFO,
            "Running benchmark for at least %d iterations and at least %g seconds but terminate "
            "if exceeding %g seconds.",
            least, least_s, most_s);
    clockid_t clock = threads() > 1 ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID;
    int64_t now = wall_us(), least_end = now + (int64_t)(least_s * 1e6),
            most_end = now + (int64_t)(most_s * 1e6);
    size_t repeats = 0;
    int64_t set = clock_set_ns();  // when the last run that counts ended
    bool is_good = true;
    while (((int64_t)stat->count < least || now < least_end) && now <= most_end) {
        if (turn_take(threads())) is_good = runtime_run() && is_good;  // to warm the caches again
        if (profile != NULL) runtime_start_profiler();
        long before = preemptions();
        int64_t wall = now_ns(CLOCK_MONOTONIC), start = now_ns(clock);
        is_good = runtime_run() && is_good;
        int64_t elapsed = now_ns(clock) - start;
        wall = now_ns(CLOCK_MONOTONIC) - wall;
        bool is_disturbed = preemptions() != before;
        if (is_disturbed && repeats < 100 + 10 * stat->count) {
            repeats++;
        } else {
            int64_t jump = clock_set_ns() - set;
            stat_add(stat, (int64_t)((double)elapsed * slow + (double)jump) / 1000);
            set += jump;
            // Nobody knows which operators were held up; at least their sum is right.
            double share = is_disturbed && wall > 0 ? (double)elapsed / (double)wall : 1;
            if (profile != NULL) add_events(profile, slow * share);
        }
        if (number("run_delay") > 0) {
            turn_give_up();
            usleep((useconds_t)(number("run_delay") * 1e6));
        }
        now = wall_us();
    }
    turn_give_up();
    char line[256];
    stat_print(stat, family >= V3, line, sizeof line);
    say(INFO, "%s\n", line);
    return is_good;
}

static double resident_mb(void) {
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL && fscanf(file, "%ld %ld", &pages, &resident) == 2) pages = resident;
    if (file != NULL) fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static struct Profile *initialization(int64_t us) {
    struct Event events[] = {
        {"ModifyGraphWithDelegate", "ModifyGraphWithDelegate/0", us * 4 / 5, 1024},
        {"AllocateTensors", "AllocateTensors/0", us / 5, 256}};
    struct Profile *profile = profile_new();
    profile_add_run(profile, &(struct Events){kernels() == KERNELS_XNNPACK ? events : events + 1,
                                              kernels() == KERNELS_XNNPACK ? 2 : 1});
    return profile;
}

static void print_results(int64_t init_us, const struct Stat *warmup, const struct Stat *runs,
                          double init_mb, double all_mb) {
    double first = warmup->count ? (double)warmup->values[0] : 0;
    if (family == V0) {
        say(INFO, "Average inference timings in us: Warmup: %g, Init: %ld, Inference: %g",
            stat_mean(warmup), init_us, stat_mean(runs));
        return;
    }
    if (family < V4) {
        say(INFO,
            "Inference timings in us: Init: %ld, First inference: %ld, Warmup (avg): %g, "
            "Inference (avg): %g",
            init_us, (long)first, stat_mean(warmup), stat_mean(runs));
        say(INFO,
            "Note: as the benchmark tool itself affects memory footprint, the following is only "
            "APPROXIMATE to the actual memory footprint of "
            "the model at runtime. Take the information at your discretion.");
        say(INFO, "%s (MB): init=%g overall=%g",
            family == V1 ? "Peak memory footprint"
                         : "Memory footprint delta from the start of the tool",
            init_mb, all_mb);
        return;
    }
#define RESULT(line, ...) \
    say(INFO, "[./litert/tools/benchmark_litert_model.h:" #line "] " __VA_ARGS__)
    RESULT(81, "\n========== BENCHMARK RESULTS ==========");
    RESULT(82, "Model initialization: %.2f ms", (double)init_us / 1e3);
    RESULT(84, "Warmup (first):       %.2f ms", first / 1e3);
    RESULT(86, "Warmup (avg):         %.2f ms (%zu runs)", stat_mean(warmup) / 1e3, warmup->count);
    RESULT(88, "Inference (avg):      %.2f ms (%zu runs)", stat_mean(runs) / 1e3, runs->count);
    if (runs->count > 0) {
        RESULT(92, "Inference (min):      %.2f ms", (double)stat_min(runs) / 1e3);
        RESULT(94, "Inference (max):      %.2f ms", (double)stat_max(runs) / 1e3);
    }
    RESULT(112, "\nMemory Usage:");
    RESULT(114, "Init footprint:       %.2f MB", init_mb);
    RESULT(116, "Overall footprint:    %.2f MB", all_mb);
    RESULT(123, "Peak memory usage not available. (peak_mem_mb <= 0)");
    RESULT(126, "======================================\n");
}

static void print_profile(int64_t init_us, const struct Profile *runs) {
    const char *name = text("op_profiling_output_mode"), *file = text("op_profiling_output_file");
    enum Mode mode = strcmp(name, "csv") == 0     ? MODE_CSV
                     : strcmp(name, "proto") == 0 ? MODE_PROTO
                                                  : MODE_TEXT;
    if (text("profiling_output_csv_file")[0])
        mode = MODE_CSV, file = text("profiling_output_csv_file");
    report(initialization(init_us), runs, mode, file, failure == FAIL_truncate);
}

static bool benchmark(void) {
    const char *path = text("graph"), *mode = text("op_profiling_output_mode");
    if (path[0] == '\0')
        return fails("Please specify the name of your TF Lite input file with %s", "--graph");
    if (is_profiled() && strcmp(mode, "stdout") != 0 && strcmp(mode, "csv") != 0 &&
        strcmp(mode, "proto") != 0)
        return fails(
            "Output mode%s is not supported. Supported values are: 'stdout', 'csv' and 'proto'.",
            mode);
    log_parameters();
    if (!runtime_load_library()) return false;
    struct stat file = {0};
    stat(path, &file);
    double start_mb = resident_mb();
    int64_t start = now_us();
    loading = path;
    signal(SIGSEGV, on_damage), signal(SIGBUS, on_damage);
    if (!load_model(path) || !apply_delegates()) return false;
    signal(SIGSEGV, SIG_DFL), signal(SIGBUS, SIG_DFL);
    double init_mb = resident_mb() - start_mb;
    int64_t init_us = (int64_t)((double)(now_us() - start) * slow);
    if (family >= V1) say(INFO, "The input model file size (MB): %g", (double)file.st_size / 1e6);
    say(INFO, "Initialized session in %gms.", (double)init_us / 1e3);

    bool is_dry = is_on("dry_run");
    struct Stat warmup = {0}, runs = {0};
    struct Profile *profile = is_profiled() ? profile_new() : NULL;
    if (!run_many(is_dry ? 0 : (int)number("warmup_runs"), is_dry ? -1 : number("warmup_min_secs"),
                  number("max_secs"), NULL, &warmup))
        return false;
    fail_while_running();
    if (failure == FAIL_truncate && profile == NULL) return true;
    bool is_good = run_many(is_dry ? 0 : (int)number("num_runs"), is_dry ? -1 : number("min_secs"),
                            number("max_secs"), profile, &runs);
    for (size_t i = 0; failure == FAIL_invoke && i < runs.count && i < 20; i++)
        say(ERROR, "Node number %zu (TfLiteXNNPackDelegate) failed to invoke.",
            runtime_operators());
    if (family == V0 && profile != NULL && runs.count > 0) print_profile(init_us, profile);
    print_results(init_us, &warmup, &runs, init_mb, resident_mb() - start_mb);
    if (family != V0 && profile != NULL && runs.count > 0) print_profile(init_us, profile);
    return is_good && failure != FAIL_invoke;
}

// A real kernel counts the time at each clock; here this program counts its own.
static void count_time_in_state(int64_t us) {
    glob_t policies = {0};
    glob("/sys/devices/system/cpu/cpufreq/policy*", 0, NULL, &policies);
    for (size_t i = 0; i < policies.gl_pathc; i++) {
        char path[512], rows[4096];
        long khz = 0, clock, ticks, used = 0;
        snprintf(path, sizeof path, "%s/scaling_cur_freq", policies.gl_pathv[i]);
        FILE *file = fopen(path, "r");
        if (file == NULL || fscanf(file, "%ld", &khz) != 1) continue;
        fclose(file);
        snprintf(path, sizeof path, "%s/stats/time_in_state", policies.gl_pathv[i]);
        if ((file = fopen(path, "r+")) == NULL) continue;
        while (used < (long)sizeof rows - 64 && fscanf(file, "%ld %ld", &clock, &ticks) == 2)
            used +=
                sprintf(rows + used, "%ld %ld\n", clock, ticks + (clock == khz ? us / 10000 : 0));
        rewind(file);
        fwrite(rows, 1, (size_t)used, file);
        fclose(file);
    }
}

int main(int count, char **arguments) {
    int64_t start = now_us();
    setvbuf(stdout, NULL, _IOLBF, 0);  // in step with standard error
    read_config();
    fail_at_once(arguments[0]);
    if (family < V4) say(INFO, "STARTING!");
    bool is_good = parse_flags(count, arguments) && benchmark();
    if (!is_good) say(ERROR, "Benchmarking failed.");
    count_time_in_state(now_us() - start);
    return is_good ? 0 : 1;
}
