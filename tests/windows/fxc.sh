#!/usr/bin/env bash
# Compiles every kernel and variant with FXC, which Windows has of its own and wgpu takes where no DXC is:
#     bash tests/windows/fxc.sh [REPORT]
#
# FXC is a Windows DLL that comes with the npm package of tests/tint; it runs in Wine, on Debian. The shaders are those that
# tests/translation.rs writes for shader model 5.1. Each is given 60 s of a processor; of two that run at a time neither
# slows the other's figure. The report is tests/reports/fxc.md; the exit status is 1 where a shader fails or takes longer.
#
# Not part of tests/run.sh: run it after a change of a shader, of naga, or of what polygate offers on DX12.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
root=$(cd "$here/../.." && pwd)
report=$(realpath "${1:-$root/tests/reports/fxc.md}")
work=$root/target/windows
texts=$root/target/tmp/hlsl/5_1
limit=60

# compile FILE ENTRY PROFILE NAME : one line of the table, without its bars
compile() {
    local file=$1 entry=$2 profile=$3 name=$4 out status=0 seconds bytes
    out=$(ulimit -t "$limit"; wine "$work/fxc.exe" fxc47.dll "$file" "$entry" "$profile" 2>/dev/null) || status=$?
    IFS=$'\t' read -r seconds bytes < <(head -n 1 <<<"$out") || true
    case $status in
    0) out=passes ;;
    1) out="fails: $(sed -n 's/^[^:]*: error/error/p; s/^error/error/p' <<<"$out" | head -n 1)" ;;
    *) seconds="over $limit" bytes='' out="stopped (status $status)" ;;
    esac
    printf '%s\t%s\t%s\t%s\n' "$name" "$seconds" "$bytes" "$out"
}

# The report's head: what the figures depend on. `table` is the file of its lines.
head_of_report() {
    local table=$1 passed slowest
    passed=$(awk -F'\t' '$4 == "passes"' "$table" | wc -l)
    slowest=$(awk -F'\t' '$4 == "passes"' "$table" | sort -t $'\t' -k 2 -n -r | head -n 1 | cut -f 1,2)
    printf '# FXC, shader model 5.1\n\n'
    printf 'Made by `bash tests/windows/fxc.sh` on %s: FXC %s in %s, naga %s, %s cores of %s.\n' "$(date -u +%F)" \
        "$fxc_version" "$(wine --version 2>/dev/null)" "$naga_version" "$(nproc)" \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
    printf 'Seconds are the processor'"'"'s; the limit is %s.\n\n' "$limit"
    printf '%s of %s pass; the slowest that passes takes %s s (%s).\n\n' "$passed" "$(wc -l <"$table")" \
        "${slowest#*$'\t'}" "${slowest%$'\t'*}"
    printf '| kernel and variant | checks | seconds | bytes | result |\n| --- | --- | ---: | ---: | --- |\n'
}

apt_install wine wine64 gcc-mingw-w64-x86-64-win32
npm_dlls
mkdir -p "$work" "$(dirname "$report")"
# Under its own name Wine would take its own.
cp "$dlls/d3dcompiler_47.dll" "$work/fxc47.dll"
x86_64-w64-mingw32-gcc -O1 -o "$work/fxc.exe" "$here/fxc.c" -lversion
rm -rf "$texts"
(cd "$root" && cargo test -q --test translation every_kernel_has_a_text_in_hlsl) >&2
[ -s "$texts/manifest.tsv" ] || die "tests/translation.rs left no texts in $texts"
naga_version=$(sed -n '/^name = "naga"$/{n;s/version = "\(.*\)"/\1/p}' "$root/Cargo.lock")

wine_up "$work/prefix"
cd "$work"
fxc_version=$(wine fxc.exe fxc47.dll 2>/dev/null | tr -d '\r')
say "FXC $fxc_version: $(wc -l <"$texts/manifest.tsv") shaders, two at a time"
export -f compile
export work limit
table=$work/fxc.tsv
(cd "$texts" && tr '\t' '\n' <manifest.tsv | xargs -d '\n' -n 4 -P 2 bash -c 'cd "$work"; compile "'"$texts"'/$@' _)
