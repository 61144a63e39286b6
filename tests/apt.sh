# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A private apt root: other suites than this machine's own, read by the ordinary apt client, while the system's apt state
# stays as it is. Sourced by tests/kernels and tests/programs, which have a function die.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# first REGEX: the first line that matches, having read all of them (no broken pipe), or a failure.
first() { awk -v regex="$1" '$0 ~ regex && !found++ { print } END { exit !found }'; }

# mirror NAME: address of the archive called NAME (debian, debian-security) in the system's own apt configuration.
mirror() {
    local files=()
    shopt -s nullglob
    files=(/etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources)
    { grep -hsE '^(deb|URIs:)[[:space:]]' "${files[@]}" || true; } | tr '[:space:]' '\n' |
        first "^[a-z+]+:/.*/$1/?\$"
}

# Sets apt_options for a private apt root that knows the given suites ("archive suite" lines on standard input) only.
apt_root() {
    local root=$1 archive suite uri sources=''
    mkdir -p "$root/lists/partial" "$root/archives/partial" "$root/none"
    while read -r archive suite; do
        uri=$(mirror "$archive") || die "no mirror of $archive in /etc/apt/sources.list or sources.list.d: add one"
        sources+="deb [arch=amd64 signed-by=$keyring] $uri $suite main"$'\n'
    done
    if [[ ! -f $root/sources.list || $(<"$root/sources.list") != "${sources%$'\n'}" ]]; then
        rm -rf "$root/lists"
        mkdir -p "$root/lists/partial"
        printf '%s' "$sources" >"$root/sources.list"
    fi
    : >"$root/status"
    apt_options=(-q -o Dir::State="$root" -o Dir::State::status="$root/status" -o Dir::Cache="$root"
        -o Dir::Etc::SourceList="$root/sources.list" -o Dir::Etc::SourceParts="$root/none"
        -o Dir::Etc::Preferences="$root/none/preferences" -o Dir::Etc::PreferencesParts="$root/none"
        -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=3)
}

apt_update() { apt-get "${apt_options[@]}" -o APT::Update::Error-Mode=any update >&2; }
