#!/usr/bin/env bash
# Fetches Microsoft's shader compiler DXC as a library for Linux and prints its path: `dxc.sh FOLDER`.
#
# It comes in a wheel of PyPI, of one version, whose hash is checked. Ends with 75 where it cannot be had: on another
# system, or when the download fails.
set -euo pipefail

say() { printf 'tests/translation/dxc.sh: %s\n' "$*" >&2; }

package=compushady-lrtu
version=0.18.0
sha256=b76371972f2543a1e83034a86c83cfad678dabf66be0b50b7d78edbcb1c98243
member=compushady/backends/libdxcompiler_x86_64.so
unavailable=75

folder=$1
library=$folder/$package-$version/$member
if [ -f "$library" ]; then
    printf '%s\n' "$library"
    exit
fi
if [ "$(uname -sm)" != "Linux x86_64" ]; then
    say "there is no DXC for $(uname -sm) in the wheel"
    exit $unavailable
fi
if ! python3 -m pip --version >/dev/null 2>&1; then
    say "no pip: install Debian's package python3-pip"
    exit 1
fi

mkdir -p "$folder"
new=$(mktemp -d "$folder/new.XXXXXX")
trap 'rm -rf "$new"' EXIT

# The wheel is built for one Python, whose library is loaded here without it.
download() {
    python3 -m pip --disable-pip-version-check download --quiet --retries 1 --no-deps --only-binary=:all: \
        --python-version 3.11 --implementation cp --abi cp311 --platform manylinux_2_28_x86_64 \
        --dest "$new" "$package==$version" >&2
}

for attempt in 1 2 3; do
    if download; then
        break
    elif [ $attempt -eq 3 ]; then
        say "could not download $package $version"
        exit $unavailable
    fi
    sleep $((5 * attempt))
done

wheel=$(echo "$new"/*.whl)
echo "$sha256  $wheel" | sha256sum --check --quiet >&2 || {
    say "the wheel of $package $version has another hash than $sha256"
    exit 1
}
python3 -m zipfile -e "$wheel" "$new/wheel"
# Whoever was first has put the same files there.
mv -T "$new/wheel" "$folder/$package-$version" 2>/dev/null || [ -f "$library" ]
printf '%s\n' "$library"
