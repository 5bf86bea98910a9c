#!/usr/bin/env bash
# Makes a Rust toolchain that builds for Windows, with what Debian's packages have alone, and prints its folder:
#     bash tests/windows/toolchain.sh FOLDER
#
# rustup's target x86_64-pc-windows-gnu is compiled Rust libraries; where only package mirrors can be reached they are
# built with the program (`-Zbuild-std`). Their source is Debian's package rust-src of the very version of rustc, the
# linker is mingw-w64. FOLDER holds a copy of the toolchain that is active here; nothing of the system's is changed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"

target=x86_64-pc-windows-gnu
sysroot=$(rustc --print sysroot)
version=$(rustc -vV | sed -n 's/^release: //p')
mkdir -p "$1"
folder=$(cd "$1" && pwd)
copy=$folder/rust-$version

unpack_source() {
    say "fetching the source of Rust $version's libraries"
    private_apt "$folder/apt" trixie trixie-backports unstable
    (cd "$folder" && apt-get -qq "${private_apt[@]}" download "rust-src=$version*") ||
        die "no package rust-src $version: the toolchain's version must be one that Debian has"
    dpkg-deb --fsys-tarfile "$folder"/rust-src_*.deb |
        tar -x -C "$folder" --strip-components=4 --wildcards './usr/src/*/library'
    rm "$folder"/rust-src_*.deb
    mkdir -p "$copy.new/lib/rustlib/src/rust"
    mv "$folder/library" "$copy.new/lib/rustlib/src/rust/library"
}

# What brackets a program that has Rust's own unwinding tables; rustup's target has them compiled.
compile_objects() {
    local library=$copy.new/lib/rustlib/src/rust/library lib=$copy.new/lib/rustlib/$target/lib name
    mkdir -p "$lib/self-contained"
    for name in rsbegin rsend; do
        RUSTC_BOOTSTRAP=1 "$copy.new/bin/rustc" --target "$target" --edition 2024 --cap-lints allow --crate-type lib --emit obj \
            -C panic=abort -o "$lib/$name.o" "$library/rtstartup/$name.rs"
    done
}

if [ ! -d "$copy" ]; then
    rm -rf "$copy.new"
    # Hard links cost nothing; where the folder lies on another disk, it is a copy of 1.4 GB.
    cp -al "$sysroot" "$copy.new" 2>/dev/null || { rm -rf "$copy.new"; cp -a "$sysroot" "$copy.new"; }
    unpack_source
    compile_objects
    mv "$copy.new" "$copy"
fi
printf '%s\n' "$copy"
