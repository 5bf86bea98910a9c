// fxc.exe DLL [FILE ENTRY PROFILE] : compiles a file of HLSL as wgpu 30 does in a release build (wgpu-hal's
// dx12/shader_compilation.rs), and prints the processor's seconds, the bytes of the result, and what the compiler says.
// The exit status is 0 where it compiles. With the DLL alone it prints its version.
#define COBJMACROS
#include <windows.h>
#include <d3dcompiler.h>
#include <stdio.h>
#include <stdlib.h>

typedef HRESULT(WINAPI *Compile)(const void *, SIZE_T, const char *, const void *, void *, const char *, const char *,
                                 UINT, UINT, ID3DBlob **, ID3DBlob **);

// Of the processor's time, so that what else runs on the machine does not count.
static double seconds(void) {
    FILETIME created, ended, kernel, user;
    GetProcessTimes(GetCurrentProcess(), &created, &ended, &kernel, &user);
    ULARGE_INTEGER k = {.LowPart = kernel.dwLowDateTime, .HighPart = kernel.dwHighDateTime};
    ULARGE_INTEGER u = {.LowPart = user.dwLowDateTime, .HighPart = user.dwHighDateTime};
    return (k.QuadPart + u.QuadPart) * 1e-7;
}

static int print_version(const char *dll) {
    DWORD handle, size = GetFileVersionInfoSizeA(dll, &handle);
    void *info = malloc(size);
    VS_FIXEDFILEINFO *fixed;
    UINT length;
    if (!size || !GetFileVersionInfoA(dll, 0, size, info) || !VerQueryValueA(info, "\\", (void **)&fixed, &length)) {
        fprintf(stderr, "%s has no version: error %lu\n", dll, GetLastError());
        return 2;
    }
    printf("%lu.%lu.%lu.%lu\n", fixed->dwFileVersionMS >> 16, fixed->dwFileVersionMS & 0xffff,
           fixed->dwFileVersionLS >> 16, fixed->dwFileVersionLS & 0xffff);
    return 0;
}

static char *read_file(const char *path, long *length) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *length = ftell(file);
    rewind(file);
    char *text = malloc(*length);
    if (fread(text, 1, *length, file) != (size_t)*length) text = NULL;
    fclose(file);
    return text;
}

int main(int count, char **words) {
    if (count == 2) return print_version(words[1]);
    if (count != 5) {
        fprintf(stderr, "usage: fxc.exe DLL [FILE ENTRY PROFILE]\n");
        return 2;
    }
    HMODULE library = LoadLibraryA(words[1]);
    Compile compile = library ? (Compile)GetProcAddress(library, "D3DCompile") : NULL;
    if (!compile) {
        fprintf(stderr, "no D3DCompile in %s: error %lu\n", words[1], GetLastError());
        return 2;
    }
    long length;
    char *text = read_file(words[2], &length);
    if (!text) {
        fprintf(stderr, "cannot read %s\n", words[2]);
        return 2;
    }
    ID3DBlob *code = NULL, *messages = NULL;
    double start = seconds();
    HRESULT result = compile(text, length, NULL, NULL, NULL, words[3], words[4], D3DCOMPILE_ENABLE_STRICTNESS, 0,
                             &code, &messages);
    printf("%.2f\t%lu\n", seconds() - start, code ? (unsigned long)ID3D10Blob_GetBufferSize(code) : 0);
    if (messages) printf("%s\n", (const char *)ID3D10Blob_GetBufferPointer(messages));
    return result != S_OK;
}
