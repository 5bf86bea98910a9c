#!/usr/bin/env bash
# Compiles every kernel and variant that polygate has FXC compile, the compiler that Windows has of its own:
#     bash tests/windows/fxc.sh [REPORT]
#
# FXC is a Windows DLL that comes with the npm package of tests/tint; it runs in Wine, which apt installs. The shaders are
# those that tests/translation writes for shader model 5.1. Each is given 60 s of a processor. The report is
# tests/reports/fxc.md; the exit status is 1 if a shader fails or takes longer.
#
# Not part of tests/run.sh: run it after a change of a shader, of naga, or of the variants that are offered on DX12.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/lib.sh"

report=$(realpath -m "${1:-$root/tests/reports/fxc.md}")
work=$root/target/windows
texts=$root/target/tmp/hlsl/5_1
table=$work/fxc.tsv
limit=60

# compile FILE ENTRY PROFILE NAME : a line of the table
compile() {
    local file=$1 entry=$2 profile=$3 name=$4 out status=0 seconds bytes result
    out=$(ulimit -t "$limit" && wine fxc.exe fxc47.dll "$file" "$entry" "$profile" 2>/dev/null) || status=$?
    out=${out//$'\r'/}
    IFS=$'\t' read -r seconds bytes <<<"${out%%$'\n'*}" || true
    case $status in
    0) result=passes ;;
    1) result="fails: $(grep -m1 -o 'error X.*' <<<"$out" || echo 'it does not say why')" ;;
    *) seconds="over $limit" bytes='' result="stopped, status $status" ;;
    esac
    printf '%s\t%s\t%s\t%s\n' "$name" "$seconds" "$bytes" "$result"
}

# The table as Markdown, below what its figures depend on.
write_report() {
    local passed slowest
    passed=$(grep -c $'\tpasses$' "$table" || true)
    slowest=$(sort -t $'\t' -k 2,2 -n -r "$table" | head -n 1)
    printf '# What FXC makes of the kernels\n\n'
    printf 'Written by `bash tests/windows/fxc.sh` on %s: shader model 5.1, FXC %s in %s, naga %s, %s cores (%s).\n' \
        "$(date -u +%F)" "$fxc_version" "$(wine --version 2>/dev/null)" "$naga_version" "$(nproc)" \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
    printf 'Seconds are those of a processor. %s of %s pass; the slowest, %s, takes %s s.\n\n' \
        "$passed" "$(wc -l <"$table")" "$(cut -f 1 <<<"$slowest")" "$(cut -f 2 <<<"$slowest")"
    printf '| kernel and variant | shader checks | seconds | bytes | result |\n| --- | --- | ---: | ---: | --- |\n'
    sed -E 's/ (un)?checked\t/\t\1checked\t/; s/\tchecked\t/\ton\t/; s/\tunchecked\t/\toff\t/; s/\t/ | /g; s/^/| /; s/$/ |/' "$table"
}

apt_install wine wine64 gcc-mingw-w64-x86-64-win32
npm_dlls
mkdir -p "$work" "$(dirname "$report")"
# Under its own name Wine would load its own.
cp "$dlls/d3dcompiler_47.dll" "$work/fxc47.dll"
x86_64-w64-mingw32-gcc -O1 -o "$work/fxc.exe" "$here/fxc.c" -lversion
naga_version=$(grep -A1 '^name = "naga"$' "$root/Cargo.lock" | sed -n 's/^version = "\(.*\)"/\1/p')
(cd "$root" && cargo test -q --test translation every_kernel_has_a_text_in_hlsl) >&2
[ -s "$texts/manifest.tsv" ] || die "tests/translation left no texts in $texts"

wine_up "$work/prefix"
cd "$work"
fxc_version=$(wine fxc.exe fxc47.dll 2>/dev/null | tr -d '\r')
say "FXC $fxc_version compiles $(wc -l <"$texts/manifest.tsv") shaders, two at a time"
export -f compile
export limit texts
tr '\t' '\n' <"$texts/manifest.tsv" |
    xargs -d '\n' -n 4 -P 2 bash -c 'compile "$texts/$1" "$2" "$3" "$4"' _ | tee /dev/stderr | sort >"$table"
write_report >"$report"
say "$report"
! grep -qv $'\tpasses$' "$table"
