#!/usr/bin/env bash
# Builds polygate for Windows, on Linux, and runs it on Wine's DX12: `adapters`, `train configs/quickstart.toml` and
# `conform`, whose report goes to tests/reports/wine_dx12.json. Arguments go to `polygate conform`:
#     bash tests/windows/conform.sh [--seed 7 --cases 1 --filter "level forward/*" ...]
#
# Wine translates DX12 to Vulkan (vkd3d), and Mesa's llvmpipe computes. There the shader model is 5.1, so all shaders go
# through FXC, Microsoft's own DLL, which comes with the npm package of tests/tint. For Debian: apt installs Wine, mingw-w64,
# Xvfb and Mesa's driver.
#
# Not part of tests/run.sh, as the build and FXC take tens of minutes: run it before a release, after a new wgpu, and after a
# change of what is done on DX12.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/lib.sh"

work=$root/target/windows
target=x86_64-pc-windows-gnu
[ $# -gt 0 ] || set -- --seed 7 --cases 1

build() {
    local toolchain
    toolchain=$(bash "$here/toolchain.sh" "$work")
    # Debug assertions would have wgpu ask FXC for shaders that are not optimised.
    (
        cd "$root"
        export RUSTC=$toolchain/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_INCREMENTAL=0
        export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc
        export CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_OPT_LEVEL=2
        "$toolchain/bin/cargo" build --release --target "$target" -Zbuild-std=std,panic_unwind \
            --target-dir "$work/build"
    )
}

# The program with the DLLs that it takes: FXC, and mingw-w64's.
gather() {
    mkdir -p "$run"
    cp "$work/build/$target/release/polygate.exe" "$dlls/d3dcompiler_47.dll" "$run"
    cp "$(x86_64-w64-mingw32-gcc -print-file-name=libgcc_s_seh-1.dll)" "$run"
    cp /usr/x86_64-w64-mingw32/lib/zlib1.dll "$run"
}

# A display that nobody sees. Wine finds adapters only where there was one when it started.
display_up() {
    rm -f "$work/display"
    Xvfb -displayfd 3 -screen 0 640x480x24 3>"$work/display" >/dev/null 2>&1 &
    xvfb=$!
    local waits=0
    until [ -s "$work/display" ]; do
        kill -0 "$xvfb" 2>/dev/null && [ $((waits++)) -lt 600 ] || die "Xvfb does not start"
        sleep 0.1
    done
    DISPLAY=:$(cat "$work/display")
    export DISPLAY
}

polygate() { wine "$run/polygate.exe" "$@" 2> >(grep -v '^it looks like wine32\|^multiarch needs\|^execute "dpkg' >&2); }

apt_install wine wine64 gcc-mingw-w64-x86-64-win32 libz-mingw-w64 xvfb libvulkan1 mesa-vulkan-drivers
npm_dlls
build
run=$work/run
gather

display_up
wine_up "$work/prefix"
trap 'wine_down; kill "$xvfb"' EXIT
wine reg add 'HKCU\Software\Wine\Direct3D' /v renderer /d vulkan /f >/dev/null 2>&1 || die "Wine's registry cannot be set"
export WINEDLLOVERRIDES="d3dcompiler_47=n;$WINEDLLOVERRIDES"
VK_DRIVER_FILES=$(ls /usr/share/vulkan/icd.d/lvp_icd*.json | grep -m1 x86_64)
export VK_DRIVER_FILES VK_ICD_FILENAMES=$VK_DRIVER_FILES POLYGATE_CACHE=$run/cache
XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$work}
export XDG_RUNTIME_DIR

cd "$root"
polygate adapters
rm -rf "$run/quickstart"
polygate train configs/quickstart.toml --device dx12 --no-tune --set train.epochs=1 --out "$run/quickstart"
polygate conform --device dx12 --json "$run/report.json" "$@"
cp "$run/report.json" "$root/tests/reports/wine_dx12.json"
say "tests/reports/wine_dx12.json"
