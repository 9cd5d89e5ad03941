#!/bin/sh
# Lays out what the image holds: the program, the certificates it trusts, the names of its user, and the two folders it
# writes to. Used by the Dockerfile and by deploy/check.sh, so that what is checked is what is built.
#   image-root.sh BINARY FOLDER
set -eu
binary=$1 fixed=$2/fixed writable=$2/writable
uid=65532

# Nothing in the image could load a library: a program that asks for one would not start.
if LC_ALL=C readelf --program-headers "$binary" | grep -q INTERP; then
  echo "$binary is linked dynamically; build it with -C target-feature=+crt-static" >&2
  exit 1
fi

mkdir -p "$fixed/usr/bin" "$fixed/etc/ssl/certs" "$writable/shop" "$writable/tmp"
install -m 0555 "$binary" "$fixed/usr/bin/tradewind"
install -m 0444 /etc/ssl/certs/ca-certificates.crt "$fixed/etc/ssl/certs/ca-certificates.crt"
echo "tradewind:x:$uid:$uid::/shop:/sbin/nologin" >"$fixed/etc/passwd"
echo "tradewind:x:$uid:" >"$fixed/etc/group"
# Names in /etc/hosts first, then DNS; without this file the C library would look for plug-ins.
echo "hosts: files dns" >"$fixed/etc/nsswitch.conf"
chmod 0444 "$fixed/etc/passwd" "$fixed/etc/group" "$fixed/etc/nsswitch.conf"
