// bcryptprimitives.dll for versions of Wine that have none (8 and older): the one function of it that Rust's library calls.
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(BYTE *data, SIZE_T length) { return RtlGenRandom(data, length); }
