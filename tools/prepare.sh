#!/bin/sh
# Checks that this machine can build Whipray, and says which packages to install where it cannot.
#
#   tools/prepare.sh [--install] [--valgrind] [--fuzz] [--spin] [python]
#
# --install: ask for Python's venv too, and install what is missing with apt-get, where that exists
# and we are root or sudo needs no password.
# --valgrind: ask for valgrind too, which counts instructions.
# --fuzz: ask for clang and libFuzzer too.
# --spin: ask for spin too, which checks models.
# python: the interpreter to build for (default: python3).  Exit code 0: everything is there.

set -u
install=no
valgrind=no
fuzz=no
spin=no
while :; do
  case "${1-}" in
    --install) install=yes ;;
    --valgrind) valgrind=yes ;;
    --fuzz) fuzz=yes ;;
    --spin) spin=yes ;;
    *) break ;;
  esac
  shift
done
python=${1:-python3}
cc=${CC:-gcc}
missing=
problems=

need() { # package, what is missing
  case " $missing " in *" $1 "*) ;; *) missing="$missing $1" ;; esac
  problems="$problems
  - $2"
}

have_header() {
  echo "#include <$1>" | "$cc" -E -x c - >/dev/null 2>&1
}

have_library() {
  for dir in /usr/lib/"$("$cc" -print-multiarch 2>/dev/null)" /usr/lib64 /usr/lib; do
    [ -f "$dir/$1" ] && return 0
  done
  return 1
}

check_compiler() {
  command -v make >/dev/null || need make "make"
  if ! command -v "$cc" >/dev/null; then
    need gcc "the C compiler ($cc)"
    # Without a compiler the headers cannot be looked up; ask for all of them at once.
    have_file /usr/include/uv.h || need libuv1-dev "uv.h of libuv"
    have_file /usr/include/msgpack.h || need libmsgpack-dev "msgpack.h of msgpack-c"
    need libc6-dev "the headers of libc"
    return
  fi
  have_header stdio.h || need libc6-dev "the headers of libc (stdio.h)"
  have_header linux/futex.h || need linux-libc-dev "the headers of the kernel (linux/futex.h)"
  { have_header uv.h && have_library libuv_a.a; } || [ -n "${UV_A-}" ] ||
    need libuv1-dev "libuv: uv.h and the static library libuv_a.a"
  { have_header msgpack.h && have_library libmsgpackc.a; } || [ -n "${MSGPACK_A-}" ] ||
    need libmsgpack-dev "msgpack-c: msgpack.h and the static library libmsgpackc.a"
}

have_file() {
  [ -f "$1" ]
}

check_python() {
  if ! command -v "$python" >/dev/null; then
    need python3 "Python ($python)"
    need python3-dev "Python.h"
    need python3-venv "the Python module venv"
    return
  fi
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "whipray: needs Python 3.11 or newer; $python is $("$python" -V 2>&1)." >&2
    echo "Name another one with make BASE_PYTHON=python3.11" >&2
    exit 1
  }
  header=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h
  have_file "$header" || need python3-dev "$header"
  [ "$install" = no ] || "$python" -c 'import venv, ensurepip' 2>/dev/null ||
    need python3-venv "the Python module venv"
}

check_valgrind() {
  [ "$valgrind" = no ] && return
  { command -v valgrind >/dev/null && have_file /usr/include/valgrind/callgrind.h; } ||
    need valgrind "valgrind"
}

check_fuzz() {
  [ "$fuzz" = no ] && return
  command -v clang >/dev/null || need clang "clang"
  # Its version is not known before clang is there; Debian names the package by it.
  ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a >/dev/null 2>&1 ||
    need "$(apt-cache depends clang 2>/dev/null |
      sed -n 's/.*Depends: clang-\([0-9]*\)$/libclang-rt-\1-dev/p')" "libFuzzer"
}

check_spin() {
  [ "$spin" = no ] || command -v spin >/dev/null || need spin "spin"
}

check_kernel() {
  if [ "$(uname -s)" != Linux ]; then
    echo "whipray: runs on Linux only (futex, memfd and pidfd); this is $(uname -s)" >&2
    exit 1
  fi
  release=$(uname -r)
  major=${release%%.*}
  minor=${release#*.}
  minor=${minor%%[!0-9]*}
  if [ "$major" -lt 5 ] || { [ "$major" -eq 5 ] && [ "$minor" -lt 4 ]; }; then
    echo "whipray: needs Linux 5.4 or newer (memfd, futex, pidfd); this is $release" >&2
    exit 1
  fi
}

check_all() {
  missing=
  problems=
  check_kernel
  check_python
  check_compiler
  check_valgrind
  check_fuzz
  check_spin
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    sudo -n "$@"
  fi
}

can_install() {
  [ "$install" = yes ] && command -v apt-get >/dev/null && as_root true 2>/dev/null
}

check_all
if [ -n "$missing" ] && can_install; then
  echo "whipray: installing$missing"
  # Another apt at work, such as the upgrades of a machine that has just started, is waited for; it
  # may be renewing the lists too, and then those are used.
  as_root apt-get -qq update </dev/null || echo "whipray: going on with the lists as they are" >&2
  # shellcheck disable=SC2086 # a list of packages
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y \
    --no-install-recommends $missing libc6-dev </dev/null >/dev/null
  hash -r
  check_all
fi
[ -z "$missing" ] && exit 0
cat >&2 <<EOF
whipray: cannot build here; missing:$problems

On Debian or Ubuntu:

  apt-get install$missing
EOF
exit 1
