// The real tool's flags: which family knows which, how they are parsed, and how they are logged.
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benchmark.h"

enum Type { INT32, FLOAT, BOOLEAN, STRING };
#define SINCE(first) (0x3Fu << (first) & 0x3F)
#define TFLITE (0xFu)
#define LITERT (0x30u)
static struct Flag {
    const char *name, *label;
    enum Type type;
    unsigned families;
    const char *value, *usage;
    const char *given;  // on the command line, or NULL
} flags[] = {
    {"num_runs", "Min num runs", INT32, SINCE(V0), "50", "expected number of runs", NULL},
    {"min_secs", "Min runs duration (seconds)", FLOAT, SINCE(V0), "1",
     "minimum number of seconds to rerun for", NULL},
    {"max_secs", "Max runs duration (seconds)", FLOAT, SINCE(V1), "150",
     "maximum number of seconds to rerun for", NULL},
    {"run_delay", "Inter-run delay (seconds)", FLOAT, SINCE(V0), "-1",
     "delay between runs in seconds", NULL},
    {"num_threads", "Num threads", INT32, SINCE(V0), "-1", "number of threads", NULL},
    {"use_caching", "Use caching", BOOLEAN, SINCE(V2), "false", "cache prepacked weights", NULL},
    {"benchmark_name", "Benchmark name", STRING, SINCE(V0), "", "benchmark name", NULL},
    {"output_prefix", "Output prefix", STRING, SINCE(V0), "", "benchmark output prefix", NULL},
    {"warmup_runs", "Min warmup runs", INT32, SINCE(V0), "1",
     "minimum number of runs performed on initialization", NULL},
    {"warmup_min_secs", "Min warmup runs duration (seconds)", FLOAT, SINCE(V0), "0.5",
     "minimum number of seconds to warm up for", NULL},
    {"verbose", NULL, BOOLEAN, SINCE(V2), "false", "log parameters that are not set as well",
     NULL},
    {"dry_run", "Run w/o invoking kernels", BOOLEAN, SINCE(V3), "false", "only load the model",
     NULL},
    {"graph", "Graph", STRING, SINCE(V0), "", "graph file name", NULL},
    {"signature_to_run_for", "Signature to run", STRING, SINCE(V3), "", "signature to benchmark",
     NULL},
    {"input_layer", "Input layers", STRING, TFLITE, "", "input layer names", NULL},
    {"input_layer_shape", "Input shapes", STRING, TFLITE, "", "input layer shape", NULL},
    {"input_layer_value_range", "Input value ranges", STRING, TFLITE & SINCE(V1), "",
     "ranges of integer input layers", NULL},
    {"allow_fp16", "Allow fp16", BOOLEAN, SINCE(V1), "false", "allow fp16", NULL},
    {"require_full_delegation", "Require full delegation", BOOLEAN, SINCE(V1), "false",
     "require delegate to run the entire graph", NULL},
    {"enable_op_profiling", "Enable op profiling", BOOLEAN, TFLITE, "false", "enable op profiling",
     NULL},
    {"op_profiling_output_mode", "Op profiling output mode.", STRING, TFLITE & SINCE(V3), "stdout",
     "'stdout', 'csv' or 'proto'", NULL},
    {"op_profiling_output_file", "Op profiling output file.", STRING, TFLITE & SINCE(V3), "",
     "output file for op profiling results", NULL},
    {"max_profiling_buffer_entries", "Max initial profiling buffer entries", INT32, TFLITE, "1024",
     "max profiling buffer entries", NULL},
    {"profiling_output_csv_file", "CSV File to export profiling data to", STRING,
     TFLITE & SINCE(V1), "", "file to export profile data as CSV", NULL},
    {"use_profiler", "Use profiler", BOOLEAN, LITERT, "false", "whether to use profiler", NULL},
    {"use_cpu", "Use CPU", BOOLEAN, LITERT, "true", "whether to use CPU accelerator", NULL},
    {"use_gpu", "Use gpu", BOOLEAN, SINCE(V1), "false", "use gpu", NULL},
    {"use_xnnpack", "Use xnnpack", BOOLEAN, TFLITE & SINCE(V1), "false",
     "explicitly apply the XNNPACK delegate", NULL},
    {"xnnpack_force_fp16", "xnnpack_force_fp16", BOOLEAN, TFLITE & SINCE(V3), "false",
     "enforce float16 inference", NULL},
    {"help", NULL, BOOLEAN, SINCE(V1), "false", "print out all supported flags", NULL},
};
#define FLAG_COUNT (sizeof flags / sizeof *flags)

static struct Flag *flag(const char *name) {
    for (size_t i = 0; i < FLAG_COUNT; i++)
        if (strcmp(flags[i].name, name) == 0) return &flags[i];
    abort();
}
bool is_given(const char *name) { return flag(name)->given != NULL; }
const char *text(const char *name) {
    return is_given(name) ? flag(name)->given : flag(name)->value;
}
double number(const char *name) { return atof(text(name)); }
bool is_on(const char *name) {
    return strcmp(text(name), "true") == 0 || strcmp(text(name), "1") == 0;
}
static bool is_known(const struct Flag *each) { return each->families >> family & 1; }

static void print_usage(const char *program) {
    static const char *const types[] = {"int32", "float", "bool", "string"};
    char *usage;
    size_t size;
    FILE *out = open_memstream(&usage, &size);
    fprintf(out, "usage: %s <flags>\nFlags:\n", program);
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        char column[128];
        snprintf(column, sizeof column, "--%s=%s", flags[i].name, flags[i].value);
        if (is_known(&flags[i]))
            fprintf(out, "\t%-42s\t%s\toptional\t%s\n", column, types[flags[i].type],
                    flags[i].usage);
    }
    fclose(out);
    say(ERROR, "%s", usage);
}

static bool is_valid(const struct Flag *each, const char *value) {
    char *end;
    if (each->type == STRING || value[0] == '\0') return each->type != BOOLEAN;
    if (each->type == BOOLEAN)
        return strcmp(value, "true") == 0 || strcmp(value, "false") == 0 ||
               strcmp(value, "0") == 0 || strcmp(value, "1") == 0;
    (void)(each->type == INT32 ? (double)strtol(value, &end, 10) : strtod(value, &end));
    return end != value;
}

// As the real parser: the first of several equal flags counts, and what nobody knows is a warning.
bool parse_flags(int count, char **arguments) {
    char *unknown;
    size_t size;
    FILE *rest = open_memstream(&unknown, &size);
    bool is_good = true;
    for (int i = 1; i < count; i++) {
        const char *value = strchr(arguments[i], '=');
        struct Flag *found = NULL;
        for (size_t k = 0; k < FLAG_COUNT && value != NULL; k++) {
            size_t length = strlen(flags[k].name);
            if (is_known(&flags[k]) && strncmp(arguments[i], "--", 2) == 0 &&
                strncmp(arguments[i] + 2, flags[k].name, length) == 0 &&
                arguments[i] + 2 + length == value)
                found = &flags[k];
        }
        if (found == NULL || found->given != NULL) {
            fprintf(rest, " %s", arguments[i]);
        } else if (is_valid(found, value + 1)) {
            found->given = value + 1;
        } else {
            say(ERROR, "Failed to parse flag '%s' against argv '%s'", found->name, arguments[i]);
            is_good = false;
        }
    }
    fclose(rest);
    if (!is_good || is_on("help") || strncmp(unknown, " --help", 7) == 0)
        return print_usage(arguments[0]), false;
    if (size > 0) say(WARNING, "Unconsumed cmdline flags:%s", unknown);
    return true;
}

void log_parameters(void) {
    bool is_verbose = is_on("verbose");
    say(INFO, "Log parameter values verbosely: [%d]", is_verbose);
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        const struct Flag *each = &flags[i];
        bool is_always =
            strcmp(each->name, "graph") == 0 || strcmp(each->name, "signature_to_run_for") == 0;
        if (!is_known(each) || each->label == NULL ||
            !(is_always || each->given != NULL || is_verbose))
            continue;
        say(INFO, "%s: [%s]", each->label,
            each->type == BOOLEAN ? (is_on(each->name) ? "1" : "0") : text(each->name));
    }
    if (is_given("num_threads"))
        say(INFO, "#threads used for CPU inference: [%s]", text("num_threads"));
}
