#!/usr/bin/env bash
# Finds a CUDA compiler, or fetches one, and prints the folder of its toolkit (the one that holds bin/nvcc).
#
#   eng/cuda-toolkit.sh           the machine's own toolkit ($CUDA_HOME, nvcc on the PATH, /usr/local/cuda); else the cached one;
#                                 else CUDA 12.4 from Debian 13's packages (1.0 GB to download, 200 MB kept) into the cache
#   eng/cuda-toolkit.sh --found   the same without fetching: prints nothing and exits 1 where there is none
#   eng/cuda-toolkit.sh --fetch   fetches even where the machine has a toolkit of its own
#
# Nothing is installed: packages are unpacked into $ORTQUANT_CACHE/cuda-12.4 (default ~/.cache/ortquant); delete that folder to start
# over. The mirror is the one that this machine's apt uses for Debian; packages are checked against Debian's signatures.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PREFIX=$ORTQUANT_CACHE/cuda-12.4
SUITE=trixie
PACKAGES=(nvidia-cuda-toolkit nvidia-cuda-dev libnvvm4 libcudart12 libcu++-dev libcub-dev libthrust-dev nvidia-profiler)

MEMBERS=('./usr/include/*' './usr/bin/*' './usr/lib/nvidia-cuda-toolkit/*' '*/libcudart_static.a' '*/libcudadevrt.a' '*/stubs/*')

# own: the machine's own toolkit.
own() {
  local nvcc
  for nvcc in "${CUDA_HOME:+$CUDA_HOME/bin/nvcc}" "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc; do
    [ -n "$nvcc" ] && [ -x "$nvcc" ] || continue
    dirname "$(dirname "$(readlink -f "$nvcc")")"
    return 0
  done
  return 1
}

# mirror: the address from which this machine's apt gets Debian.
mirror() {
  local address
  address=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 2>/dev/null | grep -E '/debian/?$' | head -1 || true)
  [ -n "$address" ] || address=$(grep -hoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -1 | tr -d ' ' || true)
  [ -n "$address" ] || fail "no Debian mirror in this machine's apt configuration; install a CUDA toolkit (12.4 or newer) and set CUDA_HOME"
  echo "${address%/}"
}

# apt_private ARGUMENT...: apt-get with sources, lists and archives of its own.
apt_private() {
  apt-get -qq -o Dir::Etc::sourcelist="$WORK/sources.list" -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts=- -o Dir::Etc::preferences=- \
    -o Dir::State::Lists="$WORK/lists" -o Dir::Cache="$WORK/cache" -o Dir::State::status="$WORK/status" \
    -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Sandbox::User=root "$@"
}

fetch() {
  local package available=() keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    fail "a CUDA toolkit is fetched from Debian's packages, and this machine has no apt; install CUDA 12.4 or newer and set CUDA_HOME"
  [ "$(uname -m)" = x86_64 ] || fail "a CUDA toolkit is fetched for x86_64 only; this is $(uname -m)"
  need g++-12:g++-12 # the newest compiler that CUDA 12.4 takes
  WORK=$PREFIX.download
  rm -rf "$WORK" && mkdir -p "$WORK/lists/partial" "$WORK/cache/archives/partial" "$WORK/root"
  touch "$WORK/status"
  echo "deb [signed-by=$keyring] $(mirror) $SUITE main contrib non-free" >"$WORK/sources.list"
  step "reading Debian's package list"
  apt_private update || fail "could not read Debian's package list"
  for package in "${PACKAGES[@]}"; do
    [ -z "$(apt_private --print-uris download "$package" 2>/dev/null)" ] || available+=("$package")
  done
  step "downloading CUDA 12.4 (1.0 GB)"
  (cd "$WORK" && apt_private download "${available[@]}") || fail "could not download CUDA"
  step "unpacking"
  for package in "$WORK"/*.deb; do
    # The libraries that OrtQuant does not link (FFT, solvers, profilers) stay packed; no package has every member.
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$WORK/root" --no-same-owner --wildcards "${MEMBERS[@]}" 2>/dev/null || true
  done
  arrange "$WORK/root/usr" "$WORK/toolkit"
  "$WORK/toolkit/bin/nvcc" --version >/dev/null || fail "the unpacked nvcc does not run"
  touch "$WORK/toolkit/.complete"
  rm -rf "$PREFIX" && mv "$WORK/toolkit" "$PREFIX" && rm -rf "$WORK"
}

# arrange USR TOOLKIT: the folders of NVIDIA's own toolkits, which nvcc and CMake know, out of Debian's.
arrange() {
  local usr=$1 toolkit=$2 tool
  mkdir -p "$toolkit/bin" "$toolkit/nvvm/bin" "$toolkit/nvvm/libdevice" "$toolkit/lib64"
  for tool in bin2c cu++filt cudafe++ cuobjdump fatbinary nvdisasm nvlink nvprune ptxas __nvcc_device_query; do
    mv "$usr/bin/$tool" "$toolkit/bin/"
  done
  mv "$usr/lib/nvidia-cuda-toolkit/bin/nvcc" "$usr/lib/nvidia-cuda-toolkit/bin/crt" "$toolkit/bin/"
  mv "$usr/lib/nvidia-cuda-toolkit/bin/cicc" "$toolkit/nvvm/bin/"
  mv "$usr/lib/nvidia-cuda-toolkit/libdevice/libdevice.10.bc" "$toolkit/nvvm/libdevice/"
  mv "$usr/lib/x86_64-linux-gnu/libcudart_static.a" "$usr/lib/x86_64-linux-gnu/libcudadevrt.a" "$toolkit/lib64/"
  mv "$usr/lib/x86_64-linux-gnu/stubs" "$toolkit/lib64/"
  mv "$usr/include" "$toolkit/include"
  ln -s lib64 "$toolkit/lib"
  cat >"$toolkit/bin/nvcc.profile" <<'PROFILE'
TOP              = $(_HERE_)/..
CICC_PATH        = $(TOP)/nvvm/bin
NVVMIR_LIBRARY_DIR = $(TOP)/nvvm/libdevice
PATH            += $(CICC_PATH):$(_HERE_):
INCLUDES        +=  "-I$(TOP)/include" $(_SPACE_)
LIBRARIES        =+ $(_SPACE_) "-L$(TOP)/lib64/stubs" "-L$(TOP)/lib64"
CUDAFE_FLAGS    +=
PTXAS_FLAGS     +=
PROFILE
  echo '{"cuda": {"name": "CUDA SDK", "version": "12.4.131"}}' >"$toolkit/version.json"
}

case ${1:-} in
  --found) own || { [ -e "$PREFIX/.complete" ] && echo "$PREFIX"; } || exit 1 ;;
  --fetch | "")
    if [ "${1:-}" = "" ] && own; then exit 0; fi
    [ -e "$PREFIX/.complete" ] || fetch
    echo "$PREFIX"
    ;;
  -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" ;;
  *) echo "unknown option: $1 (see eng/cuda-toolkit.sh --help)" >&2; exit 2 ;;
esac
