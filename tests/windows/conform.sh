#!/usr/bin/env bash
# Builds polygate for Windows, on Linux, and runs it on Wine's DX12: `adapters`, `train configs/quickstart.toml` and
# `conform`, whose report goes to tests/reports/wine_dx12.json. Arguments go to `polygate conform`:
#     bash tests/windows/conform.sh [--seed 7 --cases 1 --filter "level forward/*" ...]
#
# Wine translates DX12 to Vulkan (vkd3d), and Mesa's llvmpipe computes. There the shader model is 5.1, so all shaders go
# through FXC, Microsoft's own DLL, which comes with the npm package of tests/tint. For Debian: apt installs mingw-w64 and
# Xvfb; Wine and Mesa are Debian 13's, unpacked into target/windows.
#
# Not part of tests/run.sh, as the build and FXC take tens of minutes: run it before a release, after a new wgpu, and after a
# change of what is done on DX12.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/lib.sh"

work=$root/target/windows
target=x86_64-pc-windows-gnu
[ $# -gt 0 ] || set -- --unchecked --seed 7 --cases 1

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

# Debian 13's Wine and Mesa, as a file system of their own: Wine 8 loses DX12's descriptors ("Invalid heap for base
# descriptor"), and its results are NaN.
unpack_wine() {
    local package
    [ ! -f "$system/complete" ] || return 0
    say "fetching Wine and Mesa of Debian 13"
    private_apt "$work/wine-apt" trixie
    apt-get -qq "${private_apt[@]}" install -y --download-only --no-install-recommends wine wine64 \
        mesa-vulkan-drivers libvulkan1 >&2 || die "Debian 13's packages cannot be fetched"
    mkdir -p "$system"/{proc,dev,tmp,root,usr/lib,usr/lib64,usr/bin}
    for package in "$work"/wine-apt/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$system" --keep-directory-symlink
    done
    ln -sfn usr/lib "$system/lib"
    ln -sfn usr/lib64 "$system/lib64"
    ln -sfn usr/bin "$system/bin"
    cp /etc/passwd "$system/etc/passwd"
    touch "$system/complete"
}

# Runs a Windows program in there.
wine() {
    local namespace=(-m)
    [ "$(id -u)" -eq 0 ] || namespace=(-r -m)
    unshare "${namespace[@]}" bash -c '
        system=$1 root=$2
        mount --rbind /proc "$system/proc" && mount --rbind /dev "$system/dev" && mount --bind /tmp "$system/tmp" &&
            mkdir -p "$system$root" && mount --bind "$root" "$system$root" || exit 2
        shift 2
        exec "$(PATH=$PATH:/usr/sbin:/sbin command -v chroot)" "$system" /usr/lib/wine/wine64 "$@"
    ' _ "$system" "$root" "$@"
}

# A display that nobody sees. Wine finds adapters only where there was one when it started.
display_up() {
    rm -f "$work/display"
    Xvfb -displayfd 3 -screen 0 640x480x24 3>"$work/display" >/dev/null 2>&1 &
    xvfb=$!
    trap 'wine wineboot -k >/dev/null 2>&1 || true; kill "$xvfb"' EXIT
    local waits=0
    until [ -s "$work/display" ]; do
        kill -0 "$xvfb" 2>/dev/null && [ $((waits++)) -lt 600 ] || die "Xvfb does not start"
        sleep 0.1
    done
    DISPLAY=:$(cat "$work/display")
    export DISPLAY
}

# Files of Wine's own, with zlib1.dll, which Debian keeps elsewhere; DX12 over Vulkan.
wine_settings() {
    mkdir -p "$WINEPREFIX/drive_c/windows/system32"
    cp /usr/x86_64-w64-mingw32/lib/zlib1.dll "$WINEPREFIX/drive_c/windows/system32"
    wine wineboot -u >/dev/null 2>&1 || die "Wine does not start"
    wine reg add 'HKCU\Software\Wine\Direct3D' /v renderer /d vulkan /f >/dev/null 2>&1 ||
        die "Wine's registry cannot be set"
}

polygate() { wine "$run/polygate.exe" "$@"; }

apt_install gcc-mingw-w64-x86-64-win32 libz-mingw-w64 xvfb
npm_dlls
build
run=$work/run
gather

system=$work/debian13
unpack_wine
export WINEPREFIX=$work/prefix10 WINESERVER=/usr/lib/wine/wineserver64 WINEDEBUG=-all HOME=/root LD_LIBRARY_PATH=
export WINEDLLOVERRIDES="d3dcompiler_47=n;mscoree,mshtml="
export VK_DRIVER_FILES=/usr/share/vulkan/icd.d/lvp_icd.json POLYGATE_CACHE=$run/cache
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$work}
display_up
wine_settings

cd "$root"
polygate adapters
rm -rf "$run/quickstart"
polygate train "$root/configs/quickstart.toml" --device dx12 --no-tune --set train.epochs=1 --out "$run/quickstart"
polygate conform --device dx12 --json "$run/report.json" "$@"
cp "$run/report.json" "$root/tests/reports/wine_dx12.json"
say "tests/reports/wine_dx12.json"
