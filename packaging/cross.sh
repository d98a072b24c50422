#!/usr/bin/env bash
# Cross-compile toolchain from Debian packages only; leaves rustup alone.
#
#   packaging/cross.sh                      install for Windows (build, run under wine)
#   packaging/cross.sh TARGET...            the same for other targets, see below
#   packaging/cross.sh --no-wine [TARGET..] without wine
#
# `make windows` and `make macos` call it and say what is done with it. Afterwards by hand:
#   /opt/lanyard-cross/bin/xcargo build --release --target x86_64-pc-windows-gnu -p lanyard-agent
#   /opt/lanyard-cross/bin/wine-run FILE.exe ARG...
#
# How: Debian's security archive carries a current rustc (packages rustc-web, cargo-web) with the
# matching library sources (rust-web-src). The standard library for each target is compiled from
# them once, into $LANYARD_CROSS_DIR/sysroot, and handed to rustc with --sysroot. So the project's
# own build needs no nightly flag. Idempotent: a second run does nothing but check.
set -euo pipefail

DIR=${LANYARD_CROSS_DIR:-/opt/lanyard-cross}
RUSTC=/usr/bin/rustc
CARGO=/usr/bin/cargo
JOBS=${CARGO_BUILD_JOBS:-2}
WINE=1
TARGETS=()
for a in "$@"; do
  case $a in
    --no-wine) WINE=0 ;;
    -*) echo "unknown option $a" >&2; exit 2 ;;
    *) TARGETS+=("$a") ;;
  esac
done
[ ${#TARGETS[@]} -gt 0 ] || TARGETS=(x86_64-pc-windows-gnu)

say() { printf 'cross: %s\n' "$*" >&2; }

# --- Debian packages -------------------------------------------------------------------------
need=(rustc-web cargo-web rust-web-src rust-web-clippy gcc libc6-dev ca-certificates)
for t in "${TARGETS[@]}"; do
  case $t in
    x86_64-pc-windows-gnu)
      need+=(gcc-mingw-w64-x86-64 g++-mingw-w64-x86-64)
      [ $WINE = 0 ] || need+=(wine64 wine msitools wixl) ;;
    x86_64-unknown-linux-musl) need+=(musl-tools libunwind-14-dev binutils) ;;
    aarch64-unknown-linux-gnu)
      need+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static) ;;
    # C parts and linking through zig from PyPI: compiles and links, cannot be run here
    aarch64-apple-darwin|x86_64-apple-darwin) ;;
    *) echo "cross.sh knows no target $t" >&2; exit 2 ;;
  esac
done
missing=()
for p in "${need[@]}"; do
  dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q >/dev/null
  apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
fi

ver=$($RUSTC -V | awk '{print $2}')
src=/usr/lib/rustlib/src/rust/library
[ -e $src/std/Cargo.toml ] || { echo "no library sources at $src" >&2; exit 1; }
mkdir -p "$DIR/bin" "$DIR/sysroot/lib/rustlib" "$DIR/stamp"

# --- the standard library for one target -------------------------------------------------------
build_std() {
  local t=$1 stamp="$DIR/stamp/$1-$ver" tmp out start=$SECONDS
  [ ! -e "$stamp" ] || { say "std $ver for $t is there"; return; }
  tmp=$(mktemp -d)
  mkdir -p "$tmp/src"
  printf '[package]\nname = "stdbuild"\nversion = "0.0.0"\nedition = "2021"\n[lib]\npath = "src/lib.rs"\n[workspace]\n' > "$tmp/Cargo.toml"
  : > "$tmp/src/lib.rs"
  say "compiling std $ver for $t"
  # None of the caller's compiler settings gets in; the network settings stay.
  env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_RUSTFLAGS -u RUSTC_WRAPPER \
    -u RUSTC_WORKSPACE_WRAPPER -u RUSTUP_TOOLCHAIN -u CARGO_BUILD_TARGET \
    PATH=/usr/bin:/bin RUSTC=$RUSTC RUSTC_BOOTSTRAP=1 CARGO_BUILD_JOBS="$JOBS" \
    CARGO_PROFILE_RELEASE_DEBUG=0 \
    nice -n 10 $CARGO build -q --release -Zbuild-std=std,panic_abort,test,proc_macro \
    --target "$t" --manifest-path "$tmp/Cargo.toml" --target-dir "$tmp/target"
  out=$DIR/sysroot/lib/rustlib/$t/lib
  rm -rf "$out"; mkdir -p "$out"
  cp "$tmp/target/$t/release/deps/"lib*.rlib "$out/"
  rm -f "$out"/libstdbuild-*.rlib
  rm -rf "$tmp"
  : > "$stamp"
  say "std for $t took $((SECONDS - start)) s"
}
for t in "${TARGETS[@]}"; do build_std "$t"; done

# --- static musl: an unwinder without glibc ----------------------------------------------------
for t in "${TARGETS[@]}"; do
  if [ "$t" = x86_64-unknown-linux-musl ] && [ ! -e "$DIR/musl/libunwind.a" ]; then
    mkdir -p "$DIR/musl"
    cat > "$DIR/musl/chk.c" <<'E'
#include <stdarg.h>
#include <stdio.h>
/* the one symbol Debian's LLVM libunwind takes from glibc's fortified headers */
int __fprintf_chk(FILE *f, int flag, const char *fmt, ...) {
    va_list ap;
    int r;
    (void)flag;
    va_start(ap, fmt);
    r = vfprintf(f, fmt, ap);
    va_end(ap);
    return r;
}
E
    musl-gcc -O2 -fPIC -c "$DIR/musl/chk.c" -o "$DIR/musl/chk.o"
    cp /usr/lib/llvm-14/lib/libunwind.a "$DIR/musl/libunwind.a.new"
    ar rs "$DIR/musl/libunwind.a.new" "$DIR/musl/chk.o" 2>/dev/null
    mv "$DIR/musl/libunwind.a.new" "$DIR/musl/libunwind.a"
  fi
done

# --- macOS: zig as C compiler, archiver and linker (it carries libSystem, no frameworks) -------
for t in "${TARGETS[@]}"; do
  case $t in
    *-apple-darwin)
      [ -d "$DIR/zig/ziglang" ] || python3 -m pip install -q --root-user-action=ignore --target "$DIR/zig" "ziglang==0.17.0"
      cat > "$DIR/bin/zigcc-$t" <<E
#!/usr/bin/env bash
args=(); skip=0
for x in "\$@"; do
  if [ \$skip = 1 ]; then skip=0; continue; fi
  case "\$x" in
    -arch|-isysroot) skip=1 ;;
    -liconv|--target=*|-mmacosx-version-min=*|-mmacos-version-min=*) ;;
    *) args+=("\$x") ;;
  esac
done
exec $DIR/zig/ziglang/zig cc -target ${t%%-*}-macos "\${args[@]}"
E
      printf '#!/usr/bin/env bash\nexec %s/zig/ziglang/zig ar "$@"\n' "$DIR" > "$DIR/bin/zigar"
      chmod +x "$DIR/bin/zigcc-$t" "$DIR/bin/zigar" ;;
  esac
done

# --- wine: one DLL that wine 8 lacks and every Rust program imports ----------------------------
if [ $WINE = 1 ] && [ -x /usr/lib/wine/wine64 ] && command -v x86_64-w64-mingw32-gcc >/dev/null; then
  if [ ! -e "$DIR/wine-shim/bcryptprimitives.dll" ]; then
    mkdir -p "$DIR/wine-shim"
    cat > "$DIR/wine-shim/bcryptprimitives.c" <<'E'
/* Test aid for wine 8 only, never shipped: ProcessPrng on top of RtlGenRandom. */
#include <windows.h>
#include <ntsecapi.h>
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n) {
    while (n) {
        ULONG c = n > 0x10000000 ? 0x10000000 : (ULONG)n;
        if (!RtlGenRandom(p, c)) return FALSE;
        p += c;
        n -= c;
    }
    return TRUE;
}
E
    x86_64-w64-mingw32-gcc -shared -O2 -s -o "$DIR/wine-shim/bcryptprimitives.dll" \
      "$DIR/wine-shim/bcryptprimitives.c" -ladvapi32
  fi
fi

cat > "$DIR/bin/wine-run" <<E
#!/usr/bin/env bash
# Runs a Windows program under wine with a prefix that presents itself as Windows 10.
set -euo pipefail
export WINEPREFIX="\${WINEPREFIX:-$DIR/wine}" WINEARCH=win64 WINEDEBUG="\${WINEDEBUG:--all}"
export WINEDLLOVERRIDES="\${WINEDLLOVERRIDES:-mscoree,mshtml=}"
W=/usr/lib/wine/wine64
prepare() {
  [ ! -e "\$WINEPREFIX/.lanyard-ready" ] || return 0
  mkdir -p "\$WINEPREFIX"
  timeout 120 \$W wineboot -i >/dev/null 2>&1 || true
  timeout 60 /usr/lib/wine/wineserver64 -w >/dev/null 2>&1 || true
  cp $DIR/wine-shim/bcryptprimitives.dll "\$WINEPREFIX/drive_c/windows/system32/"
  timeout 60 \$W reg add 'HKCU\\Software\\Wine' /v Version /d win10 /f >/dev/null 2>&1
  : > "\$WINEPREFIX/.lanyard-ready"
}
mkdir -p "\$(dirname "\$WINEPREFIX")"
exec 9>"\$WINEPREFIX.lock"; flock 9; prepare; flock -u 9; exec 9>&-
exec \$W "\$@"
E

cat > "$DIR/bin/xcargo" <<E
#!/usr/bin/env bash
# cargo of the Debian toolchain with the cross sysroot. Own target folder: it shares no host
# artifacts with the rustup toolchain, which is another version.
set -euo pipefail
export PATH=/usr/bin:\$PATH RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
unset RUSTUP_TOOLCHAIN RUSTC_WRAPPER CARGO_ENCODED_RUSTFLAGS RUSTFLAGS || true
export CARGO_TARGET_DIR="\${XCARGO_TARGET_DIR:-\$PWD/target/cross}"
S="--sysroot=$DIR/sysroot"
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUSTFLAGS="\$S"
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=$DIR/bin/wine-run
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="\$S -Clink-self-contained=no -Crelocation-model=static -Lnative=$DIR/musl"
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=musl-gcc
export CC_x86_64_unknown_linux_musl=musl-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="\$S"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu"
export SDKROOT="\${SDKROOT:-/}"   # stops rustc from asking for xcrun
for a in aarch64 x86_64; do
  export "CARGO_TARGET_\${a^^}_APPLE_DARWIN_RUSTFLAGS=\$S" \\
    "CARGO_TARGET_\${a^^}_APPLE_DARWIN_LINKER=$DIR/bin/zigcc-\$a-apple-darwin" \\
    "CC_\${a}_apple_darwin=$DIR/bin/zigcc-\$a-apple-darwin" "AR_\${a}_apple_darwin=$DIR/bin/zigar"
done
exec $CARGO "\$@"
E
chmod +x "$DIR/bin/wine-run" "$DIR/bin/xcargo"
say "ready: $DIR/bin/xcargo (rustc $ver)"
