#!/usr/bin/env bash
# Builds the image `kontor` from this checkout, with Docker and the Rust toolchain alone: no registry is asked for an image.
#
#   deploy/build.sh                      # kontor:latest
#   deploy/build.sh -t kontor:1.2        # another name
#   deploy/build.sh --profile release    # another profile of Cargo.toml: larger, but built in a fraction of the time
set -euo pipefail
cd "$(dirname "$0")/.."

tag=kontor:latest
profile=image
while [ $# -gt 0 ]; do
    case "$1" in
    -t | --tag) tag=$2 && shift 2 ;;
    --profile) profile=$2 && shift 2 ;;
    *) echo "usage: deploy/build.sh [-t NAME] [--profile PROFILE]" >&2 && exit 2 ;;
    esac
done

# The target is named so that these flags reach the program alone and not what is run while building.
target=$(rustc -vV | sed -n 's/^host: //p')
# Static glibc cannot look functions up by name, so the system call for random bytes is linked, and no
# /dev/urandom is needed.
export RUSTFLAGS='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"'
# Packed relocations take 0.7 MB less. The start of a static program understands them since glibc 2.36.
if printf '%s\n' 2.36 "$(getconf GNU_LIBC_VERSION | cut -d ' ' -f 2)" | sort -VC; then
    RUSTFLAGS+=' -C link-arg=-Wl,-z,pack-relative-relocs'
fi
folder=${CARGO_TARGET_DIR:-target}/static
cargo build --locked --bin kontor --profile "$profile" --target "$target" --target-dir "$folder"
[ "$profile" = dev ] && built=debug || built=$profile

# What goes into the image, and nothing else, is sent to the engine.
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir -p "$context/bin" "$context/kontor/data" "$context/kontor/tls" "$context/kontor/ca"
chmod 700 "$context/kontor/data" "$context/kontor/ca"
strip -o "$context/bin/kontor" "$folder/$target/$built/kontor" 2>/dev/null || cp "$folder/$target/$built/kontor" "$context/bin/kontor"
ln -s kontor "$context/bin/consul"
docker build --quiet --tag "$tag" --file deploy/Dockerfile "$context" >"$context/said" 2>&1 || { cat "$context/said" >&2 && exit 1; }
docker image inspect --format '{{index .RepoTags 0}}: {{.Size}} bytes' "$tag"
