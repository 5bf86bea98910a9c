# What the scripts of this folder share; they source it.

say() { printf '%s: %s\n' "tests/windows/$(basename "$0")" "$*" >&2; }
die() {
    say "$@"
    exit 1
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

apt_install() {
    local missing=() package apt=(env DEBIAN_FRONTEND=noninteractive apt-get)
    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || die "only for Debian: it takes $*"
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    [ "$(id -u)" -eq 0 ] || apt=(sudo "${apt[@]}")
    "${apt[@]}" update >&2 || say "apt-get update failed; trying with the package lists that are there"
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2 || die "apt-get could not install ${missing[*]}"
}

# private_apt FOLDER SUITE... : package lists of other suites, from the mirror that this machine uses already. Leaves in
# the array `private_apt` the options with which apt-get and apt-cache read these alone.
private_apt() {
    local apt=$1 suite mirror
    shift
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/etc/preferences.d"
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/*$') ||
        die "no Debian mirror among apt's sources"
    : >"$apt/status"
    for suite in "$@"; do
        printf 'deb [signed-by=%s] %s %s main\n' /usr/share/keyrings/debian-archive-keyring.gpg "$mirror" "$suite"
    done >"$apt/etc/sources.list"
    private_apt=(-o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status"
        -o Dir::Cache="$apt" -o Dir::Cache::archives="$apt/archives" -o Dir::Etc::sourcelist="$apt/etc/sources.list"
        -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts="$apt/etc/preferences.d"
        -o APT::Architectures=amd64 -o APT::Sandbox::User=root)
    apt-get -qq "${private_apt[@]}" update >&2
}

# wine_up FOLDER : Wine on files of its own in that folder. Its server runs until `wine_down`, which an exit calls.
wine_up() {
    export WINEPREFIX=$1 WINEDEBUG=${WINEDEBUG:--all} WINEARCH=win64
    # Neither .NET nor a browser is asked for.
    export WINEDLLOVERRIDES="mscoree,mshtml=;${WINEDLLOVERRIDES:-}"
    trap wine_down EXIT
    mkdir -p "$WINEPREFIX"
    wineserver_command -p
    [ -f "$WINEPREFIX/system.reg" ] || wineboot -i >/dev/null 2>&1 || die "Wine does not start"
}

wine_down() { wineserver_command -k || true; }

# Debian keeps it where PATH does not look.
wineserver_command() { "$(command -v wineserver || echo /usr/lib/wine/wineserver)" "$@"; }

# The npm package of tests/tint, which holds FXC's and DXC's DLLs; sets `dlls`.
npm_dlls() {
    local tint=$root/tests/tint
    command -v npm >/dev/null || apt_install nodejs npm
    if [ ! -d "$tint/node_modules/webgpu" ]; then
        say "installing the npm package webgpu"
        npm install --prefix "$tint" --no-audit --no-fund --loglevel=error >&2
    fi
    dlls=$tint/node_modules/webgpu/dist/win32-x64
    [ -f "$dlls/d3dcompiler_47.dll" ] || die "no d3dcompiler_47.dll in the npm package webgpu"
}
