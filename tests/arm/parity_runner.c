/* Runs a TFLite model on inputs from a file, on whatever processor this was compiled for:
 *
 *     parity_runner libLiteRt.so model.tflite inputs outputs
 *
 * `inputs` holds one or more inputs of the model one after the other, as bytes; `outputs` receives
 * as many outputs. The model has one input and one output. The exit status is 0 when all were
 * written; else one line on standard error says what failed.
 *
 * LiteRT's library is opened at run time and its few functions are declared here (C API of LiteRT
 * 2.2 and 2.3), so that neither its headers nor an NDK are needed to compile this. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef void *Handle;

/* LiteRtRankedTensorType */
typedef struct {
    int element;
    uint32_t rank_bits;
    int32_t dimensions[8];
    uint32_t strides[8];
} TensorType;

/* LiteRtEnvOption */
typedef struct {
    int tag;
    struct {
        int kind;
        int64_t integer;
    } value;
} EnvironmentOption;

enum { CPU = 1, READ = 0, WRITE = 1, SIGNATURE = 0 };
enum { AUTO_REGISTER_ACCELERATORS = 24, MIN_LOGGER_SEVERITY = 25, SEVERITY_ERROR = 3, INTEGER = 2 };

#define FUNCTIONS(X)                                                                     \
    X(CreateEnvironment, int, const EnvironmentOption *, Handle *)                       \
    X(CreateModelFromFile, Handle, const char *, Handle *)                               \
    X(CreateOptions, Handle *)                                                           \
    X(SetOptionsHardwareAccelerators, Handle, int)                                       \
    X(CreateCompiledModel, Handle, Handle, Handle, Handle *)                             \
    X(GetModelSignature, Handle, size_t, Handle *)                                       \
    X(GetSignatureInputTensorByIndex, Handle, size_t, Handle *)                          \
    X(GetSignatureOutputTensorByIndex, Handle, size_t, Handle *)                         \
    X(GetRankedTensorType, Handle, TensorType *)                                         \
    X(GetCompiledModelInputBufferRequirements, Handle, size_t, size_t, Handle *)         \
    X(GetCompiledModelOutputBufferRequirements, Handle, size_t, size_t, Handle *)        \
    X(CreateManagedTensorBufferFromRequirements, Handle, const TensorType *, Handle, Handle *) \
    X(GetTensorBufferPackedSize, Handle, size_t *)                                       \
    X(LockTensorBuffer, Handle, void **, int)                                            \
    X(UnlockTensorBuffer, Handle)                                                        \
    X(RunCompiledModel, Handle, size_t, size_t, Handle *, size_t, Handle *)

#define DECLARE(name, ...) static int (*name)(__VA_ARGS__);
FUNCTIONS(DECLARE)

static void fail(const char *what, const char *why) {
    fprintf(stderr, "parity_runner: %s: %s\n", what, why);
    exit(1);
}

static void check(int status, const char *call) {
    if (status != 0) {
        fprintf(stderr, "parity_runner: %s: status %d\n", call, status);
        exit(1);
    }
}
#define CALL(function, ...) check(function(__VA_ARGS__), #function)

static void open_library(const char *path) {
    void *library = dlopen(path, RTLD_NOW);
    if (library == NULL) fail(path, dlerror());
#define LOAD(name, ...)                                              \
    *(void **)&name = dlsym(library, "LiteRt" #name);                \
    if (name == NULL) fail(path, "has no LiteRt" #name);
    FUNCTIONS(LOAD)
}

typedef int (*Requirements)(Handle, size_t, size_t, Handle *);

static Handle make_buffer(Handle environment, Handle compiled, Handle tensor, Requirements of) {
    TensorType type;
    Handle requirements, buffer;
    CALL(GetRankedTensorType, tensor, &type);
    check(of(compiled, SIGNATURE, 0, &requirements), "GetCompiledModelBufferRequirements");
    CALL(CreateManagedTensorBufferFromRequirements, environment, &type, requirements, &buffer);
    return buffer;
}

static size_t packed_size(Handle buffer) {
    size_t bytes;
    CALL(GetTensorBufferPackedSize, buffer, &bytes);
    return bytes;
}

/* Returns 0 at the end of the inputs. */
static int read_input(FILE *file, Handle buffer, size_t bytes) {
    void *memory;
    CALL(LockTensorBuffer, buffer, &memory, WRITE);
    size_t got = fread(memory, 1, bytes, file);
    CALL(UnlockTensorBuffer, buffer);
    if (got != 0 && got != bytes) fail("inputs", "the last one is cut off");
    return got != 0;
}

static void write_output(FILE *file, Handle buffer, size_t bytes) {
    void *memory;
    CALL(LockTensorBuffer, buffer, &memory, READ);
    if (fwrite(memory, 1, bytes, file) != bytes) fail("outputs", "cannot be written");
    CALL(UnlockTensorBuffer, buffer);
}

int main(int count, char **arguments) {
    if (count != 5) fail("usage", "parity_runner libLiteRt.so model.tflite inputs outputs");
    open_library(arguments[1]);
    EnvironmentOption quiet[] = {
        {AUTO_REGISTER_ACCELERATORS, {INTEGER, CPU}},
        {MIN_LOGGER_SEVERITY, {INTEGER, SEVERITY_ERROR}},
    };
    Handle environment, model, options, compiled, signature, input, output;
    CALL(CreateEnvironment, 2, quiet, &environment);
    CALL(CreateModelFromFile, environment, arguments[2], &model);
    CALL(CreateOptions, &options);
    CALL(SetOptionsHardwareAccelerators, options, CPU);
    CALL(CreateCompiledModel, environment, model, options, &compiled);
    CALL(GetModelSignature, model, SIGNATURE, &signature);
    CALL(GetSignatureInputTensorByIndex, signature, 0, &input);
    CALL(GetSignatureOutputTensorByIndex, signature, 0, &output);
    input = make_buffer(environment, compiled, input, GetCompiledModelInputBufferRequirements);
    output = make_buffer(environment, compiled, output, GetCompiledModelOutputBufferRequirements);

    FILE *inputs = fopen(arguments[3], "rb"), *outputs = fopen(arguments[4], "wb");
    if (inputs == NULL || outputs == NULL) fail("inputs, outputs", "cannot be opened");
    size_t input_bytes = packed_size(input), output_bytes = packed_size(output);
    while (read_input(inputs, input, input_bytes)) {
        CALL(RunCompiledModel, compiled, SIGNATURE, 1, &input, 1, &output);
        write_output(outputs, output, output_bytes);
    }
    if (fclose(outputs) != 0) fail("outputs", "cannot be written");
    return 0;
}
