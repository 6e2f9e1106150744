/* What compiled Hyb code asks of the program around it: a context for each thread, printing, faults, counted blocks.
   The generated part follows this one; offsets and names of faults come from the generator. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define ALONE_NOW __libc_single_threaded
#else
#define ALONE_NOW 0
#endif

typedef struct { _Atomic int64_t count; int64_t length; char data[]; } block;
typedef struct { block *data; int64_t size; } core_list;
typedef struct { block *data; int64_t size, points; } core_str;

#define FIELD(ctx, offset, type) (*(type *)((char *)(ctx) + (offset)))

static int64_t pool[2 * POOL_CLASSES];
static int32_t no_flag;
static _Thread_local _Alignas(16) char context[CONTEXT_SIZE];
static _Thread_local int ready;
static _Thread_local char error_text[1024];

static int fail(int code, const char *text) {
    snprintf(error_text, sizeof error_text, "%s: %s", faults[code - 1], text);
    return code;
}

static int no_memory(void) { return fail(MEMORY_ERROR, "not enough memory"); }

/* Has a text no control characters? What else is not printable, only Python knows: it is shown as it is. */
static int printable(const core_str *text) {
    const unsigned char *c = text->size ? (const unsigned char *)text->data->data : NULL;
    for (int64_t i = 0; i < text->size; i++) {
        int latin = i + 1 < text->size && c[i] == 0xc2;  /* U+0080 to U+00BF */
        if (c[i] < 32 || c[i] == 127 || (latin && (c[i + 1] <= 0xa0 || c[i + 1] == 0xad))) return 0;
    }
    return 1;
}

/* ---- services */
static int32_t host(void *ctx, int64_t id, void *args, void *results) {
    if (services[id] == PRINT) {
        core_str *text = args;
        if (text->size) fwrite(text->data->data, 1, (size_t)text->size, stdout);
        putchar('\n');
        return 0;
    }
    if (services[id] == IS_PRINTABLE) {
        *(unsigned char *)results = printable(args);
        return 0;
    }
    FIELD(ctx, FAULT, int64_t) = HOST_ERROR;
    FIELD(ctx, TRACE_LENGTH, int64_t) = 0;
    return 1;
}

static int32_t poll_nothing(void *ctx) { (void)ctx; return 0; }

static int32_t one_by_one(void *ctx, void *worker, void *env, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (((int32_t (*)(void *, void *, int64_t))worker)(ctx, env, i)) return 1;
    return 0;
}

static void release_nothing(int64_t handle) { (void)handle; }

static int64_t stack_limit(void) {
    pthread_attr_t attributes;
    void *low;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attributes)) return 0;
    pthread_attr_getstack(&attributes, &low, &size);
    pthread_attr_destroy(&attributes);
    size_t usable = size < STACK ? size : STACK, margin = usable / 4 < MARGIN ? usable / 4 : MARGIN;
    return (int64_t)((char *)low + size - usable + margin);
}

static void *begin(void) {
    if (!ready) {
        FIELD(context, DEPTH_LIMIT, int64_t) = 10000;
        FIELD(context, STACK_LIMIT, int64_t) = stack_limit();
        FIELD(context, HOST, void *) = (void *)host;
        FIELD(context, POLL, void *) = (void *)poll_nothing;
        FIELD(context, FLAG, void *) = &no_flag;
        FIELD(context, PARALLEL, void *) = (void *)one_by_one;
        FIELD(context, RELEASE_FOREIGN, void *) = (void *)release_nothing;
        FIELD(context, POOL, void *) = pool;
        FIELD(context, SEED, int64_t) = (int64_t)(size_t)context ^ (int64_t)0x9e3779b97f4a7c15;
        ready = 1;
    }
    FIELD(context, ALONE, int64_t) = ALONE_NOW;
    return context;
}

/* ---- counted blocks */
static block *new_block(int64_t length, size_t bytes) {
    block *b = malloc(sizeof(block) + bytes);
    if (b) { b->count = 1; b->length = length; }
    return b;
}

static void retain(block *b) {
    if (b && atomic_load_explicit(&b->count, memory_order_relaxed) >= 0)
        atomic_fetch_add_explicit(&b->count, 1, memory_order_relaxed);
}

static void free_block(block *b) {
    if (!((size_t)b & 8)) {
        free(b);
        return;
    }
    /* One of compiled code's pool: the first of the free ones of its size. */
    void **list = &FIELD(context, TEXTS + 24 * ((b->length > 1 ? b->length - 1 : 0) / 16), void *);
    *(void **)b = *list;
    b->length = (int64_t)(size_t)b;
    *list = b;
}

static void drop(block *b) {
    if (b && atomic_load_explicit(&b->count, memory_order_relaxed) >= 0 &&
        atomic_fetch_sub_explicit(&b->count, 1, memory_order_acq_rel) == 1) free_block(b);
}

static void retain_all(void *value, const int *offsets) {
    for (; *offsets >= 0; offsets++) retain(*(block **)((char *)value + *offsets));
}

/* ---- faults */
static int take_fault(void *ctx) {
    int64_t code = FIELD(ctx, FAULT, int64_t), length = FIELD(ctx, TRACE_LENGTH, int64_t);
    const int64_t *trace = &FIELD(ctx, TRACE, int64_t);
    block *message = FIELD(ctx, MESSAGE, block *);
    char text[640], where[320] = "";
    if (code < 1 || code > FAULT_KINDS) code = HOST_ERROR;
    if (message)
        snprintf(text, sizeof text, "%.*s", (int)FIELD(ctx, MESSAGE_SIZE, int64_t), message->data);
    else if (code == INDEX_ERROR)
        snprintf(text, sizeof text, "index %lld is out of range for length %lld",
                 (long long)FIELD(ctx, INDEX, int64_t), (long long)FIELD(ctx, LENGTH, int64_t));
    else
        snprintf(text, sizeof text, "%s", code == HOST_ERROR ? "this needs Python" : messages[code - 1]);
    for (int64_t i = 0; i < length && i < TRACE_SLOTS; i++)
        if (trace[i] >= 0 && trace[i] < SITES && sites[trace[i]].path) {
            snprintf(where, sizeof where, "%s:%d", sites[trace[i]].path, sites[trace[i]].line);
            break;
        }
    drop(message);
    FIELD(ctx, MESSAGE, block *) = NULL;
    FIELD(ctx, FAULT, int64_t) = FIELD(ctx, TRACE_LENGTH, int64_t) = FIELD(ctx, DEPTH, int64_t) = 0;
    snprintf(error_text, sizeof error_text, "%s: %s%s%s%s", faults[code - 1], text, *where ? " (" : "", where,
             *where ? ")" : "");
    return (int)code;
}

/* ---- text */
static int64_t code_points(const unsigned char *s, size_t size) {
    int64_t points = 0;
    for (size_t i = 0; i < size; points++) {
        unsigned c = s[i];
        size_t more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 9;
        if (more > 3 || i + more >= size + (more == 0)) return -1;
        for (size_t k = 1; k <= more; k++) if ((s[i + k] & 0xc0) != 0x80) return -1;
        unsigned second = more ? s[i + 1] : 0;
        if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
            (c == 0xf4 && second > 0x8f)) return -1;
        i += more + 1;
    }
    return points;
}

static int in_str(const char *s, core_str *out) {
    size_t size = s ? strlen(s) : 0;
    int64_t points = code_points((const unsigned char *)s, size);
    if (points < 0) return fail(VALUE_ERROR, "text that is not UTF-8");
    if (!size) return 0;
    block *b = new_block((int64_t)size, size);
    if (!b) return no_memory();
    memcpy(b->data, s, size);
    *out = (core_str){b, (int64_t)size, points};
    return 0;
}

static int out_str(const core_str *s, char **out) {
    char *text = malloc((size_t)s->size + 1);
    if (!text) return no_memory();
    if (s->size) memcpy(text, s->data->data, (size_t)s->size);
    text[s->size] = 0;
    *out = text;
    return 0;
}

static void free_str(char **v) { free(*v); }

/* ---- arrays: how many elements, or -1 where the lengths are no lengths */
static int64_t elements(const int64_t *shape, int rank) {
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(n, shape[i], &n)) return -1;
    return n;
}

static int in_block(const void *data, const int64_t *shape, int rank, size_t size, block **out) {
    int64_t n = elements(shape, rank), bytes;
    if (n < 0 || __builtin_mul_overflow(n, (int64_t)size, &bytes) || (n && !data))
        return fail(VALUE_ERROR, "an array whose lengths do not fit its data");
    block *b = new_block(n, (size_t)bytes);
    if (!b) return no_memory();
    if (bytes) memcpy(b->data, data, (size_t)bytes);
    *out = b;
    return 0;
}

static int out_data(const void *data, const int64_t *shape, int rank, size_t size, void **out) {
    size_t bytes = size;
    for (int i = 0; i < rank; i++) bytes *= (size_t)shape[i];
    void *copy = malloc(bytes ? bytes : 1);
    if (!copy) return no_memory();
    if (bytes) memcpy(copy, data, bytes);
    *out = copy;
    return 0;
}

/* ---- weights: a .safetensors file is the length of a JSON object, the object, and the bytes */
static char *file_bytes(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    char *data = NULL;
    if (f && !fseek(f, 0, SEEK_END)) {
        long end = ftell(f);
        if (end >= 0 && !fseek(f, 0, SEEK_SET) && (data = malloc((size_t)end + 1))) {
            *size = fread(data, 1, (size_t)end, f);
            data[*size] = 0;
        }
    }
    if (f) fclose(f);
    return data;
}

/* Fills a vector from the tensors that a table names; each must be there with its type and size. */
static int load_tensors(const char *path, const struct tensor_place *places, int count, const char *dtype, size_t item,
                        char *vector) {
    size_t size = 0;
    char *data = file_bytes(path, &size), text[512];
    uint64_t head = 0;
    int code = 0;
    if (!data) {
        snprintf(text, sizeof text, "%s cannot be read", path);
        return fail(OS_ERROR, text);
    }
    if (size >= 8) memcpy(&head, data, 8);
    if (size < 8 || head > size - 8) {
        snprintf(text, sizeof text, "%s is not a .safetensors file", path);
        code = fail(VALUE_ERROR, text);
    }
    char end = 0;
    if (!code) { end = data[8 + head]; data[8 + head] = 0; }
    for (int i = 0; !code && i < count; i++) {
        char key[400], type[40];
        snprintf(key, sizeof key, "\"%s\":{", places[i].name);
        snprintf(type, sizeof type, "\"dtype\":\"%s\"", dtype);
        char *row = strstr(data + 8, key), *close = row ? strchr(row, '}') : NULL;
        char *offsets = row ? strstr(row, "\"data_offsets\":[") : NULL, *kind = row ? strstr(row, type) : NULL;
        unsigned long long from = 0, to = 0;
        if (!close || !offsets || offsets > close || !kind || kind > close ||
            sscanf(offsets + 16, "%llu,%llu", &from, &to) != 2 || to < from || to > size - 8 - head ||
            to - from != (unsigned long long)places[i].size * item) {
            snprintf(text, sizeof text, "%s has no %s of %lld elements of type %s", path, places[i].name,
                     (long long)places[i].size, dtype);
            code = fail(VALUE_ERROR, text);
        } else {
            char *start = data + 8 + head;
            char saved = *start;
            *start = end;
            memcpy(vector + (size_t)places[i].offset * item, start + from, (size_t)(to - from));
            *start = saved;
        }
    }
    free(data);
    return code;
}
