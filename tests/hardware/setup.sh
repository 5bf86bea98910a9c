#!/usr/bin/env bash
# Unpacks Mesa's newest Vulkan drivers, and stand-ins for the GPUs that they drive, for the test `hardware`:
#     bash tests/hardware/setup.sh
#
# The packages are those of Debian's unstable distribution, from the mirror that this machine's apt uses. They go into
# target/hardware, about 340 MB; nothing is installed on the system. What is there already stays: `--again` takes the
# newest packages. Ends with status 3 where the packages cannot be had, and says why.
set -euo pipefail

say() { printf 'tests/hardware/setup.sh: %s\n' "$*" >&2; }
leave_out() {
    say "$*; the test \`hardware\` leaves out what needs them"
    exit 3
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=${CARGO_TARGET_DIR:-$root/target}/hardware
packages=(mesa-vulkan-drivers mesa-drm-shim libvulkan1)
keys=/usr/share/keyrings/debian-archive-keyring.gpg

if [ -f "$folder/version" ] && [ "${1:-}" != --again ]; then
    say "Mesa $(cat "$folder/version") is there"
    exit 0
fi
for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || leave_out "no $tool: drivers for stand-ins are taken from Debian's packages"
done
[ "$(dpkg --print-architecture)" = amd64 ] || leave_out "drivers for stand-ins are for x86-64 alone"
[ -f "$keys" ] || leave_out "no key of Debian's archive: drivers for stand-ins are taken on Debian alone"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/*$/ && !n++')
[ -n "$mirror" ] ||
    leave_out "apt has no mirror of Debian: drivers for stand-ins are taken on Debian alone"

# apt with lists, state and packages of its own, for which nothing is installed: it takes every library along.
new=$folder.new
apt=$new/apt
rm -rf "$new"
mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/etc/preferences.d" "$new/root"
: >"$apt/status"
printf 'deb [signed-by=%s] %s unstable main\n' "$keys" "$mirror" >"$apt/etc/sources.list"
apt_get() {
    apt-get -qq -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" \
        -o Dir::Cache="$apt" -o Dir::Cache::archives="$apt/archives" -o Dir::Etc::sourcelist="$apt/etc/sources.list" \
        -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts="$apt/etc/preferences.d" \
        -o APT::Architectures=amd64 -o APT::Sandbox::User=root -o Acquire::Retries=3 "$@"
}

# A mirror that changes under our hands gives lists that name packages which are gone: both are tried again.
download() {
    apt_get update && apt_get install -y --download-only --no-install-recommends "${packages[@]}"
}

say "unpacking Mesa's drivers and stand-ins into $folder"
download >&2 || { sleep 5 && download >&2; } || leave_out "no ${packages[*]} of Debian's unstable distribution"
for package in "$apt"/archives/*.deb; do
    dpkg-deb -x "$package" "$new/root"
done
version=$(dpkg-deb -f "$apt"/archives/mesa-vulkan-drivers_*.deb Version)
# From "1:26.2.6-1" to what drivers say of themselves.
version=${version#*:}
printf '%s\n' "${version%%-*}" >"$new/version"
rm -rf "$apt" "$folder"
mv "$new" "$folder"
say "Mesa $(cat "$folder/version") is there"
