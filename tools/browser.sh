#!/bin/sh
# Installs Chromium, which drives the pages of the examples in tests, where apt can and no browser is there.
# The tests look for the same names.
set -u
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    for attempt in 1 2 3; do
        apt-get update -qq
        if DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; then exit 0; fi
    done
fi
echo "no Chromium: the tests in a browser will skip (install one, on Debian with: sudo apt-get install chromium)"
