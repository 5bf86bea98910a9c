#!/usr/bin/env bash
# Sets up what the tests need, then runs them all; arguments go to `cargo test`.
#
# GPU tests run on every Vulkan adapter of the machine, conformance on OpenGL's too. Two drivers come in software: Mesa's
# llvmpipe, and SwiftShader, which Chromium ships. Tests that translate shaders need spirv-val, glslangValidator, g++ and
# pip, with which tests/translation/dxc.sh fetches DXC. On Debian and Ubuntu all are installed with apt; elsewhere this
# says what is missing. Tests on Dawn need Node.js; its npm package is installed under tests/tint.
set -euo pipefail

say() { printf 'tests/run.sh: %s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}

# The manifests of Vulkan drivers in the loader's own folders, 32-bit ones left out.
system_drivers() {
    local file
    for file in {/etc,/usr/local/etc,/usr/local/share,/usr/share}/vulkan/icd.d/*.json; do
        case $file in
        *i[36]86*) ;;
        *) if [ -f "$file" ]; then printf '%s\n' "$file"; fi ;;
        esac
    done
}

has_llvmpipe() { system_drivers | grep '/lvp_icd[^/]*$' >/dev/null; }

# SwiftShader's manifest, which browsers keep to themselves.
swiftshader() {
    local file
    for file in {/usr/lib/chromium,/usr/lib64/chromium-browser,/opt/google/chrome}/vk_swiftshader_icd.json; do
        if [ -f "$file" ]; then
            printf '%s\n' "$file"
            return
        fi
    done
    return 1
}

# A line of /etc/os-release, without quotes.
os_release() { sed -n "s/^$1=//p" /etc/os-release | tr -d '"'; }

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

apt_install() {
    local missing=() package apt=(env DEBIAN_FRONTEND=noninteractive apt-get)
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "cannot install without root or sudo; as root, run" \
            "\`apt-get install --no-install-recommends ${missing[*]}\`, or name drivers of your own in VK_DRIVER_FILES"
        apt=(sudo "${apt[@]}")
    fi
    "${apt[@]}" update || say "apt-get update failed; trying with the package lists that are there"
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}" || die "apt-get could not install ${missing[*]}"
}

set_up_apt() {
    local packages=(libvulkan1 mesa-vulkan-drivers libegl1 libgl1-mesa-dri) distribution
    packages+=(spirv-tools glslang-tools g++ python3-pip)
    distribution=" $(os_release ID) $(os_release ID_LIKE) "
    if ! swiftshader >/dev/null; then
        case $distribution in
        # Ubuntu's chromium is a snap, without SwiftShader's manifest.
        *" ubuntu "*) ;;
        *) packages+=(chromium) ;;
        esac
    fi
    apt_install "${packages[@]}"
}

set_up_drivers() {
    # Metal and DX12 come with the system.
    [ "$(uname -s)" = Linux ] || return 0
    if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
        set_up_apt
    fi
    if ! has_llvmpipe; then
        say "no llvmpipe: install the Vulkan loader and Mesa's software driver (Fedora: vulkan-loader" \
            "mesa-vulkan-drivers; Arch: vulkan-icd-loader vulkan-swrast; Alpine: vulkan-loader mesa-vulkan-swrast)"
    fi
    if ! swiftshader >/dev/null; then
        say "no SwiftShader: its tests are left out (Debian's chromium package and Google Chrome have it; a snap of" \
            "Chromium does not)"
    fi
}

# Names all drivers to the loader, SwiftShader's too.
export_drivers() {
    local drivers
    drivers=$({ system_drivers; swiftshader || true; } | paste -s -d : -)
    if [ -n "$drivers" ]; then
        # Loaders before 1.3.207 know only the second name.
        export VK_DRIVER_FILES=$drivers VK_ICD_FILENAMES=$drivers
        say "Vulkan drivers: $drivers"
    fi
}

# Dawn, in an npm package; its tests fail without it.
set_up_dawn() {
    if ! command -v npm >/dev/null && command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
        apt_install nodejs npm
    fi
    command -v npm >/dev/null || die "no npm: install Node.js 20 or newer with npm, for the tests on Dawn"
    if [ ! -d "$root/tests/tint/node_modules/webgpu" ]; then
        say "installing Dawn (npm package webgpu)"
        npm install --prefix "$root/tests/tint" --no-audit --no-fund --loglevel=error
    fi
}

# Mesa's drivers with stand-ins for GPUs, under target; tests of machine code are left out without them.
set_up_stand_ins() {
    [ "$(uname -s)" = Linux ] || return 0
    bash "$root/tests/hardware/setup.sh" || [ $? -eq 3 ] || die "tests/hardware/setup.sh failed"
}

# The folder of real data: POLYGATE_DATA, else shared/data beside the repository.
export_data() {
    local data=${POLYGATE_DATA:-$root/../shared/data}
    if [ -d "$data" ]; then
        POLYGATE_DATA=$(cd "$data" && pwd)
        export POLYGATE_DATA
        say "data: $POLYGATE_DATA"
    elif [ -n "${POLYGATE_DATA:-}" ]; then
        die "POLYGATE_DATA=$POLYGATE_DATA is no folder"
    else
        say "no real data; set POLYGATE_DATA to a folder that has it"
    fi
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# rustup puts cargo on the PATH of new shells only.
command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin
command -v cargo >/dev/null || die "no cargo; install Rust from https://rustup.rs, or with the system's packages"

# Whoever names drivers wants these alone.
if [ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ]; then
    set_up_drivers
    export_drivers
fi
set_up_dawn
set_up_stand_ins
export_data
if [ -z "${XDG_RUNTIME_DIR:-}" ]; then
    # Mesa complains without one.
    XDG_RUNTIME_DIR=$(mktemp -d)
    export XDG_RUNTIME_DIR
    trap 'rm -rf "$XDG_RUNTIME_DIR"' EXIT
fi

cd "$root"
cargo test "$@"
