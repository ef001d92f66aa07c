#!/usr/bin/env bash
# Provisions a Debian 12 machine, as root; the Vagrantfile runs both steps. Each may be run again.
#
#   provision.sh base   Docker, and what a clone of weft needs to be set up
#   provision.sh kind   a cluster of kind, with weft installed, from the clone that this file is in
#
# What it fetches is verified: packages by the signatures of Debian's archive, Go modules (kind, kubectl, the conformance
# suite) by the go.sum files below tests/cluster/go, wheels by requirements.lock, kind's node image by the digest in kind's
# source.
set -euo pipefail

# Without recommended packages Docker comes without apparmor_parser, and starts no container where the kernel has AppArmor.
packages=(apparmor ca-certificates cloud-guest-utils docker.io git make python3-venv)

base() {
    install_packages
    grow_root
    allow_inotify
    systemctl enable --quiet --now docker
    docker version --format 'provision: Docker {{.Server.Version}}'
}

install_packages() {
    local package missing=()
    for package in "${packages[@]}"; do
        [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "provision: installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# Boxes have a disk of 20 GB, and the Vagrantfile asks for more: the root's partition, which is the last, gets what is new.
grow_root() {
    local root
    root=$(findmnt --noheadings --output SOURCE /)
    [[ $root =~ ^(/dev/[sv]d[a-z])([0-9]+)$ ]] || return 0
    # Exit code 1: nothing to grow into.
    growpart "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" >/dev/null || [ $? = 1 ]
    local said
    said=$(resize2fs "$root" 2>&1) || { echo "$said" >&2; return 1; }
}

# Every node's kubelet and every container's systemd watches files; Debian's limits are too low for three nodes.
allow_inotify() {
    printf 'fs.inotify.max_user_watches = 524288\nfs.inotify.max_user_instances = 512\n' >/etc/sysctl.d/90-weft-kind.conf
    sysctl --quiet --load=/etc/sysctl.d/90-weft-kind.conf
}

kind() {
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    make kind-up
}

case "${1:-}" in
base | kind) ;;
*)
    echo "usage: provision.sh base | kind" >&2
    exit 2
    ;;
esac
[ "$(id -u)" = 0 ] || { echo "provision: must run as root" >&2; exit 1; }
"$1"
