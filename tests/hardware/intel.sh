#!/usr/bin/env bash
# Builds the stand-in for Intel's GPUs, which is in no package, from Mesa's source package, and puts it beside those
# that setup.sh unpacked:
#     bash tests/hardware/intel.sh
#
# Takes about two minutes and 400 MB, once. On Debian, with a C compiler, pkg-config, bison, flex, Python's venv, and
# the headers of libdrm, libelf, expat and zlib; meson and what else Mesa's build takes come from PyPI, into a folder
# of their own. The source of unstable is taken, or that of stable where the mirror has it no longer: the stand-in
# answers for the kernel alone, and fits newer drivers.
set -euo pipefail

say() { printf 'tests/hardware/intel.sh: %s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
drivers=$target/hardware/root/usr/lib/x86_64-linux-gnu
library=libintel_noop_drm_shim.so
keys=/usr/share/keyrings/debian-archive-keyring.gpg

[ -d "$drivers" ] || die "no drivers: tests/hardware/setup.sh unpacks them first"
if [ -f "$drivers/$library" ]; then
    say "the stand-in is there"
    exit 0
fi
for tool in cc pkg-config bison flex python3 apt-get dpkg-source; do
    command -v "$tool" >/dev/null || die "no $tool"
done
for headers in libdrm libelf expat zlib; do
    pkg-config --exists "$headers" ||
        die "no headers of $headers: Debian has libdrm-dev, libelf-dev, libexpat1-dev, zlib1g-dev"
done
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/*$/ && !n++')
[ -n "$mirror" ] || die "apt has no mirror of Debian"

work=$target/hardware.intel
rm -rf "$work"
mkdir -p "$work"
cd "$work"

# The source package of a distribution, in an apt of its own.
fetch() {
    local apt=$work/apt-$1
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    : >"$apt/status"
    printf 'deb-src [signed-by=%s] %s %s main\n' "$keys" "$mirror" "$1" >"$apt/sources.list"
    local options=(-o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status"
        -o Dir::Cache="$apt" -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=-
        -o APT::Sandbox::User=root -o Acquire::Retries=3)
    apt-get -qq "${options[@]}" update && apt-get -qq "${options[@]}" source --download-only mesa
}

fetch unstable >&2 || fetch stable >&2 || die "the mirror has no source of Mesa"
mkdir source
tar -xf mesa_*.orig.tar.xz -C source --strip-components=1
python3 -m venv tools
tools/bin/pip -q install meson mako ninja pyyaml packaging setuptools
export PATH=$work/tools/bin:$PATH
say "building the stand-in"
meson setup build source --buildtype=release -Dtools=drm-shim,intel -Dvulkan-drivers= -Dgallium-drivers= -Dplatforms= \
    -Dglx=disabled -Degl=disabled -Dgbm=disabled -Dopengl=false -Dgles1=disabled -Dgles2=disabled -Dllvm=disabled \
    -Dvalgrind=disabled -Dzstd=disabled -Dxmlconfig=disabled >meson.log || die "meson failed: $work/meson.log"
ninja -C build "src/intel/tools/$library" >ninja.log || die "the build failed: $work/ninja.log"
cp "build/src/intel/tools/$library" "$drivers/"
cd "$root"
rm -rf "$work"
say "the stand-in is there"
