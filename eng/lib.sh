# Shared by the scripts of eng/ and by ./ortquant. Source it; it defines functions and paths and does nothing else.
# Everything here writes its progress to standard error, so that a script's standard output stays its result.

ORTQUANT_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ORTQUANT_CACHE=${ORTQUANT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ortquant}
export ORTQUANT_CACHE
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_GENERATE_ASPNET_CERTIFICATE=false

# step TEXT...: one line that says what happens next.
step() { printf '\033[1m==>\033[0m %s\n' "$*" | { [ -t 2 ] && cat || sed 's/\x1b\[[0-9]*m//g'; } >&2; }

# fail TEXT...: the reason, then exit 1.
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# version NAME: a property of eng/versions.props.
version() { sed -n "s:.*<$1>\(.*\)</$1>.*:\1:p" "$ORTQUANT_ROOT/eng/versions.props"; }

# as_root COMMAND...: runs it as root, or fails where that needs a password.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n "$@"; else return 1; fi
}

# need COMMAND:PACKAGE...: installs with apt what is not there; where that is not possible, names it and fails.
# An entry that starts with a slash is looked for as a file.
need() {
  local entry probe packages=()
  for entry in "$@"; do
    probe=${entry%%:*}
    case $probe in
      /*) [ -e "$probe" ] || packages+=("${entry#*:}") ;;
      *) command -v "$probe" >/dev/null || packages+=("${entry#*:}") ;;
    esac
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  if command -v apt-get >/dev/null && as_root true; then
    step "installing ${packages[*]}"
    { as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null 2>&1 ||
      { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; }; } >&2 ||
      fail "could not install ${packages[*]}"
  else
    fail "missing build tools; install them with:  sudo apt-get install ${packages[*]}"
  fi
}

# need_dotnet: the SDK cannot be had from Debian, so it is only checked for.
need_dotnet() {
  command -v dotnet >/dev/null || fail "the .NET SDK 10 or newer is needed: command 'dotnet' not found (https://dot.net/download)"
  dotnet --list-sdks | awk -F. '$1 >= 10 { found = 1 } END { exit !found }' ||
    fail "the .NET SDK 10 or newer is needed; found: $(dotnet --list-sdks | cut -d' ' -f1 | paste -sd' ')"
}

# quietly COMMAND...: shows the command's last line on a terminal, nothing elsewhere, and all of its output when it fails.
quietly() {
  local log status=0 width
  log=$(mktemp)
  if [ -t 2 ]; then
    width=$(($(tput cols 2>/dev/null || echo 80) - 6))
    "$@" </dev/null 2>&1 | tee "$log" | while IFS= read -r line; do printf '\r\033[K    %.*s' "$width" "$line" >&2; done || status=1
    printf '\r\033[K' >&2
  else
    "$@" </dev/null >"$log" 2>&1 || status=1
  fi
  [ $status = 0 ] || cat "$log" >&2
  rm -f "$log"
  return $status
}
