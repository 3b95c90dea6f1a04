#include "tensor/compute.h"

#include "base/memory.h"
#include "tensor/kernels.h"

#include <cpuid.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct cr_compute {
    struct cr_pool *pool;
    enum cr_isa isa;
    struct cr_kernels kernels;
    unsigned char *workspace; // [threads][CR_WORKSPACE]
};

struct cpuid {
    unsigned eax, ebx, ecx, edx;
};

// All zeros where the processor does not have the leaf.
static struct cpuid cpuid(unsigned leaf, unsigned subleaf)
{
    struct cpuid r = {0};
    (void)__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
    return r;
}

// The register states that the operating system saves when it switches threads.
static unsigned saved_states(void)
{
    enum { OSXSAVE = 1 << 27 };
    if (!(cpuid(1, 0).ecx & OSXSAVE)) return 0;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

// A process must ask Linux for permission to use the 8 KB of tiles in each of its threads; asking again does
// no harm.
static bool may_use_tiles(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; // ARCH_REQ_XCOMP_PERM, asm/prctl.h
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static enum cr_isa best_isa(void)
{
    // In XCR0: SSE and AVX; and the masks and both parts of the zmm registers; tiles and their shapes.
    enum { YMM = 0x06, ZMM = 0xe6, TILES = 0x60000 };
    enum { FMA = 1 << 12, F16C = 1 << 29 };                          // leaf 1, ecx
    enum { AVX2 = 1 << 5, F = 1 << 16, DQ = 1 << 17, BW = 1 << 30 }; // leaf 7, ebx
    enum { BF16 = 1 << 5 };                                          // leaf 7.1, eax
    const unsigned amx = 1u << 22 | 1u << 24 | 1u << 25;             // BF16, TILE, INT8; leaf 7, edx
    const unsigned vl = 1u << 31, avx512 = (unsigned)F | (unsigned)DQ | (unsigned)BW | vl; // leaf 7, ebx
    unsigned states = saved_states(), basic = cpuid(1, 0).ecx, extended = cpuid(7, 0).ebx;
    if ((states & YMM) != YMM || !(basic & FMA) || !(basic & F16C) || !(extended & AVX2))
        return CR_ISA_SCALAR;
    if ((states & ZMM) != ZMM || (extended & avx512) != avx512) return CR_ISA_AVX2;
    if (!(cpuid(7, 1).eax & BF16)) return CR_ISA_AVX512;
    if ((states & TILES) != TILES || (cpuid(7, 0).edx & amx) != amx || !may_use_tiles())
        return CR_ISA_AVX512_BF16;
    return CR_ISA_AMX;
}

// Memory is used only once it is touched: by each thread that packs operands, and not at all if only pads are
// made.
static enum cr_status reserve(size_t size, unsigned char **out)
{
    enum { LARGE_PAGE = 1 << 21 };
    void *block;
    if (posix_memalign(&block, LARGE_PAGE, size) != 0)
        return cr_fail(CR_NO_MEMORY, "out of memory: %zu bytes to compute in", size);
    (void)madvise(block, size, MADV_HUGEPAGE);
    *out = block;
    return CR_OK;
}

enum cr_status cr_compute_new_with(size_t threads, enum cr_isa isa, struct cr_compute **out)
{
    static const struct cr_kernels *const kernels[] = {
        [CR_ISA_SCALAR] = &cr_kernels__scalar,   [CR_ISA_AVX2] = &cr_kernels__avx2,
        [CR_ISA_AVX512] = &cr_kernels__avx512,   [CR_ISA_AVX512_BF16] = &cr_kernels__avx512_bf16,
        [CR_ISA_AMX] = &cr_kernels__avx512_bf16,
    };
    static const char *const names[] = {
        [CR_ISA_SCALAR] = "scalar",
        [CR_ISA_AVX2] = "AVX2, FMA and F16C",
        [CR_ISA_AVX512] = "AVX-512 F, BW, DQ and VL",
        [CR_ISA_AVX512_BF16] = "AVX-512 BF16",
        [CR_ISA_AMX] = "AMX with BF16 and INT8",
    };
    if (isa > best_isa())
        return cr_fail(CR_UNSUPPORTED, "this processor or its operating system lacks %s", names[isa]);
    struct cr_compute *compute;
    CR_TRY(cr_allocate(1, sizeof *compute, &compute));
    enum cr_status status = cr_pool_new(threads, &compute->pool);
    if (status == CR_OK) status = reserve(cr_pool_threads(compute->pool) * CR_WORKSPACE, &compute->workspace);
    if (status != CR_OK) {
        cr_compute_free(compute);
        return status;
    }
    compute->isa = isa;
    compute->kernels = *kernels[isa];
    if (isa == CR_ISA_AMX) compute->kernels.bf16 = cr_product__amx;
    *out = compute;
    return CR_OK;
}

enum cr_status cr_compute_new(size_t threads, struct cr_compute **out)
{
    return cr_compute_new_with(threads, best_isa(), out);
}

void cr_compute_free(struct cr_compute *compute)
{
    if (!compute) return;
    if (compute->workspace) cr_wipe(compute->workspace, cr_pool_threads(compute->pool) * CR_WORKSPACE);
    cr_pool_free(compute->pool);
    free(compute->workspace);
    free(compute);
}

void cr_compute_release(struct cr_compute **compute)
{
    cr_compute_free(*compute);
}

struct cr_pool *cr_compute_pool(const struct cr_compute *compute)
{
    return compute->pool;
}

enum cr_isa cr_compute_isa(const struct cr_compute *compute)
{
    return compute->isa;
}

bool cr_compute_has_bf16(const struct cr_compute *compute)
{
    return compute->kernels.bf16.per_word == 2;
}

const struct cr_kernels *cr_compute_kernels(const struct cr_compute *compute)
{
    return &compute->kernels;
}

void *cr_compute_workspace(const struct cr_compute *compute, size_t thread)
{
    return compute->workspace + thread * CR_WORKSPACE;
}

struct cr_matrix cr_matrix_of(void *data, enum cr_dtype dtype, size_t rows, size_t columns)
{
    return (struct cr_matrix){
        .data = data, .dtype = dtype, .rows = rows, .columns = columns, .stride = columns};
}

struct cr_matrix cr_matrix_columns(struct cr_matrix m, size_t first, size_t count)
{
    m.data = (unsigned char *)m.data + first * cr_dtype_size(m.dtype);
    m.columns = count;
    return m;
}

struct cr_matrix cr_matrix_rows(struct cr_matrix m, size_t first, size_t count)
{
    m.data = (unsigned char *)m.data + first * m.stride * cr_dtype_size(m.dtype);
    m.rows = count;
    if (m.scale) m.scale += first;
    return m;
}

size_t cr_spaced_stride(enum cr_dtype dtype, size_t columns)
{
    size_t per_line = CR_ALIGNMENT / cr_dtype_size(dtype);
    return ((columns + per_line - 1) / per_line | 1) * per_line;
}
