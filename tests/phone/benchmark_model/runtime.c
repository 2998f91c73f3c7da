// LiteRT 2.3's C API, opened at run time: neither headers nor libraries are needed to build.
//
// The types below are those parts of LiteRT's headers that this program uses; profilers/
// litert_library.py describes the same API for Python. Nothing is freed: the process ends soon.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "benchmark.h"

#define MAX_TENSORS 64
typedef int Status;
typedef void *Handle;
struct EnvironmentOption {
    int tag;
    struct {
        int kind;
        int64_t integer;
    } value;
};
struct TensorType {
    int element;
    uint32_t rank_bits;
    int32_t dimensions[8];
    uint32_t strides[8];
};
struct ProfilerEvent {
    const char *tag;
    int kind;
    uint64_t start_us, elapsed_us;
    size_t memory_before[3], memory_after[3];
    uint64_t node, subgraph;
    int source;
};
enum { EVENT_BUILTIN = 2, EVENT_DELEGATED = 8 };
enum {
    FLOAT32 = 1,
    INT32 = 2,
    UINT8 = 3,
    INT64 = 4,
    BOOL = 6,
    INT16 = 7,
    INT8 = 9,
    FLOAT16 = 10,
    FLOAT64 = 11
};

#define FUNCTIONS(F)                                                                        \
    F(CreateEnvironment, int, const struct EnvironmentOption *, Handle *)                   \
    F(CreateModelFromFile, Handle, const char *, Handle *)                                  \
    F(GetModelSubgraph, Handle, size_t, Handle *)                                           \
    F(GetNumSubgraphOps, Handle, size_t *)                                                  \
    F(GetSubgraphOp, Handle, size_t, Handle *)                                              \
    F(GetOpOutput, Handle, size_t, Handle *)                                                \
    F(GetTensorName, Handle, const char **)                                                 \
    F(GetModelSignature, Handle, size_t, Handle *)                                          \
    F(GetNumSignatureInputs, Handle, size_t *)                                              \
    F(GetNumSignatureOutputs, Handle, size_t *)                                             \
    F(GetSignatureInputTensorByIndex, Handle, size_t, Handle *)                             \
    F(GetSignatureOutputTensorByIndex, Handle, size_t, Handle *)                            \
    F(GetRankedTensorType, Handle, struct TensorType *)                                     \
    F(CreateOptions, Handle *)                                                              \
    F(SetOptionsHardwareAccelerators, Handle, int)                                          \
    F(CreateOpaqueOptions, const char *, void *, void (*)(void *), Handle *)                \
    F(AddOpaqueOptions, Handle, Handle)                                                     \
    F(CreateCompiledModel, Handle, Handle, Handle, Handle *)                                \
    F(CompiledModelIsFullyAccelerated, Handle, bool *)                                      \
    F(GetCompiledModelInputBufferRequirements, Handle, size_t, size_t, Handle *)            \
    F(GetCompiledModelOutputBufferRequirements, Handle, size_t, size_t, Handle *)           \
    F(CreateManagedTensorBufferFromRequirements, Handle, const struct TensorType *, Handle, \
      Handle *)                                                                             \
    F(GetTensorBufferPackedSize, Handle, size_t *)                                          \
    F(LockTensorBuffer, Handle, void **, int)                                               \
    F(UnlockTensorBuffer, Handle)                                                           \
    F(RunCompiledModel, Handle, size_t, size_t, Handle *, size_t, Handle *)                 \
    F(CompiledModelGetProfiler, Handle, Handle *)                                           \
    F(StartProfiler, Handle)                                                                \
    F(StopProfiler, Handle)                                                                 \
    F(ResetProfiler, Handle)                                                                \
    F(GetNumProfilerEvents, Handle, int *)                                                  \
    F(GetProfilerEvents, Handle, int, struct ProfilerEvent *)
#define DECLARE(name, ...) static Status (*name)(__VA_ARGS__);
FUNCTIONS(DECLARE)

static Handle environment, model, compiled, profiler;
static Handle inputs[MAX_TENSORS], outputs[MAX_TENSORS];
static size_t input_count, output_count, operator_count;
static struct TensorType input_types[MAX_TENSORS];
static struct ProfilerEvent *raw;
static int raw_count;

bool runtime_load_library(void) {
    void *library = dlopen("/vendor/lib64/libLiteRt.so", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return fprintf(stderr, "%s\n", dlerror()), false;
#define LOAD(name, ...)                                             \
    if ((*(void **)&name = dlsym(library, "LiteRt" #name)) == NULL) \
        return fprintf(stderr, "libLiteRt.so has no LiteRt" #name "\n"), false;
    FUNCTIONS(LOAD)
    // Only the CPU: looking for GPUs would load another library and write warnings.
    struct EnvironmentOption options[] = {{24, {2, 1}}, {25, {2, 3}}};
    return CreateEnvironment(2, options, &environment) == 0;
}

bool runtime_load_model(const char *path) {
    Handle subgraph;
    return CreateModelFromFile(environment, path, &model) == 0 &&
           GetModelSubgraph(model, 0, &subgraph) == 0 &&
           GetNumSubgraphOps(subgraph, &operator_count) == 0;
}

size_t runtime_operators(void) { return operator_count; }

static bool add_options(Handle options, const char *name, const char *toml) {
    Handle entry;
    return CreateOpaqueOptions(name, strdup(toml), free, &entry) == 0 &&
           AddOpaqueOptions(options, entry) == 0;
}

static bool create_buffers(Handle signature) {
    for (size_t i = 0; i < input_count + output_count; i++) {
        bool is_input = i < input_count;
        size_t index = is_input ? i : i - input_count;
        struct TensorType output_type, *type = is_input ? &input_types[index] : &output_type;
        Handle tensor, wanted;
        if ((is_input ? GetSignatureInputTensorByIndex : GetSignatureOutputTensorByIndex)(
                signature, index, &tensor) ||
            GetRankedTensorType(tensor, type) ||
            (is_input ? GetCompiledModelInputBufferRequirements
                      : GetCompiledModelOutputBufferRequirements)(compiled, 0, index, &wanted) ||
            CreateManagedTensorBufferFromRequirements(environment, type, wanted,
                                                      &(is_input ? inputs : outputs)[index]))
            return false;
    }
    return true;
}

bool runtime_compile(int threads, enum Kernels kernels, bool profile, bool fp16) {
    Handle options, signature;
    char toml[128];
    // TFLITE_XNNPACK_DELEGATE_FLAG_FORCE_FP16 is 4
    snprintf(toml, sizeof toml, "num_threads = %d\nkernel_mode = %d\n%s",
             threads > 0 ? threads : 1, kernels, fp16 ? "flags = 4\n" : "");
    bool is_compiled =
        CreateOptions(&options) == 0 && SetOptionsHardwareAccelerators(options, 1) == 0 &&
        add_options(options, "xnnpack", toml) &&
        add_options(options, "runtime_options_string",
                    profile ? "enable_profiling = true\n" : "enable_profiling = false\n") &&
        CreateCompiledModel(environment, model, options, &compiled) == 0 &&
        GetModelSignature(model, 0, &signature) == 0 &&
        GetNumSignatureInputs(signature, &input_count) == 0 && input_count <= MAX_TENSORS &&
        GetNumSignatureOutputs(signature, &output_count) == 0 && output_count <= MAX_TENSORS &&
        create_buffers(signature) &&
        (!profile || CompiledModelGetProfiler(compiled, &profiler) == 0);
    if (!is_compiled) return false;
    runtime_fill_inputs();
    return runtime_run();  // only here does LiteRT allocate tensors and hand operators to XNNPACK
}

static uint64_t next_random(void) {
    static uint64_t state = 0x9E3779B97F4A7C15;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

static void fill(unsigned char *bytes, size_t size, int element) {
    for (size_t i = 0; element == FLOAT32 && i < size / 4; i++)
        ((float *)bytes)[i] = (float)(next_random() >> 40) / (float)(1 << 24) - 0.5f;
    for (size_t i = 0; element == FLOAT64 && i < size / 8; i++)
        ((double *)bytes)[i] = (double)(next_random() >> 40) / (1 << 24) - 0.5;
    for (size_t i = 0; element == FLOAT16 && i < size / 2; i++)
        ((uint16_t *)bytes)[i] = (uint16_t)(0x3800 | (next_random() >> 54));  // 0.5 to 1
    for (size_t i = 0; element == INT32 && i < size / 4; i++)
        ((int32_t *)bytes)[i] =
            (int32_t)(next_random() & 1);  // as an index, in any table of two rows
    for (size_t i = 0; element == INT64 && i < size / 8; i++)
        ((int64_t *)bytes)[i] = (int64_t)(next_random() & 1);
    for (size_t i = 0; (element == UINT8 || element == INT8 || element == INT16) && i < size; i++)
        bytes[i] = (unsigned char)(next_random() >> 56);
    for (size_t i = 0; element == BOOL && i < size; i++) bytes[i] = next_random() & 1;
}

void runtime_fill_inputs(void) {
    for (size_t i = 0; i < input_count; i++) {
        void *address;
        size_t size;
        if (GetTensorBufferPackedSize(inputs[i], &size) ||
            LockTensorBuffer(inputs[i], &address, 1))
            continue;
        fill(address, size, input_types[i].element);
        UnlockTensorBuffer(inputs[i]);
    }
}

bool runtime_run(void) {
    return RunCompiledModel(compiled, 0, input_count, inputs, output_count, outputs) == 0;
}

bool runtime_is_fully_delegated(void) {
    bool is_full = false;
    return CompiledModelIsFullyAccelerated(compiled, &is_full) == 0 && is_full;
}

void runtime_start_profiler(void) {
    ResetProfiler(profiler);
    StartProfiler(profiler);
}

static int read_raw(void) {
    StopProfiler(profiler);
    int count = 0;
    GetNumProfilerEvents(profiler, &count);
    if (count > raw_count) raw = realloc(raw, (size_t)(raw_count = count) * sizeof *raw);
    GetProfilerEvents(profiler, count, raw);
    return count;
}

static const char *tensor_name(size_t node) {
    Handle subgraph, operator, tensor;
    const char *name;
    bool is_known = GetModelSubgraph(model, 0, &subgraph) == 0 &&
                    GetSubgraphOp(subgraph, node, &operator) == 0 &&
                    GetOpOutput(operator, 0, &tensor) == 0 && GetTensorName(tensor, &name) == 0;
    return is_known ? name : "Unknown";
}

struct Events runtime_events(size_t limit, int partitions, double factor) {
    int count = read_raw();
    struct Events events = {calloc((size_t)count + 1, sizeof *events.items), 0};
    size_t delegated = 0;
    for (int i = 0; i < count; i++) delegated += raw[i].kind == EVENT_DELEGATED;
    size_t share =
        partitions > 1 ? (delegated + (size_t)partitions - 1) / (size_t)partitions : SIZE_MAX;
    for (int i = 0; i < count && events.count < limit; i++) {
        struct Event *event = &events.items[events.count];
        event->type = raw[i].tag;
        event->us = (int64_t)((double)raw[i].elapsed_us * factor + 0.5);
        if (raw[i].kind == EVENT_BUILTIN)
            snprintf(event->name, sizeof event->name, "[%.200s]:%zu", tensor_name(raw[i].node),
                     (size_t)raw[i].node);
        else if (raw[i].kind == EVENT_DELEGATED)
            snprintf(event->name, sizeof event->name, "Delegate/%.200s:%zu", raw[i].tag,
                     (size_t)raw[i].node % share);
        else
            continue;
        events.count++;
    }
    return events;
}

struct Split runtime_split(void) {
    struct Split split = {0, 0, 0};
    int count = read_raw(), last_kind = 0;
    uint64_t last_node = 0;
    for (int i = 0; i < count; i++) {
        if (raw[i].kind != EVENT_BUILTIN && raw[i].kind != EVENT_DELEGATED) continue;
        bool is_delegated = raw[i].kind == EVENT_DELEGATED;
        bool is_new = raw[i].kind != last_kind || (is_delegated && raw[i].node <= last_node);
        split.all += is_new;
        split.delegated += is_new && is_delegated;
        split.left_out += !is_delegated;
        last_kind = raw[i].kind, last_node = raw[i].node;
    }
    return split;
}
