#!/usr/bin/env bash
# Pin the requirements: base.in, phone.in, deploy.in, dev.in, deepspeed.in -> base.txt, phone.txt, …
# What is pinned stays at its version where it can; --upgrade pins everything anew.
# One set of pins serves Python 3.10, 3.11 and 3.12 on Linux; the others hold only what base.txt lacks.
# Needs uv (pip install uv) and a network. After it: bash scripts/install.sh --dev && bash tests/run.sh
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

upgrade=${1:-}
[[ -z $upgrade || $upgrade == --upgrade ]] || { echo "usage: bash compile.sh [--upgrade]" >&2 && exit 2; }

for name in base phone deploy dev deepspeed; do
  constraint=()
  [[ $name == base ]] || constraint=(-c base.txt)
  [[ $name != deploy ]] || constraint+=(--override numpy.tmp) # funasr-onnx asks for an older one than torch's
  grep '^numpy==' base.txt >numpy.tmp
  [[ -n $upgrade || ! -f $name.txt ]] || cp "$name.txt" "$name.tmp" # uv prefers the versions that its output file has
  DS_BUILD_OPS=0 uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.10 \
    --no-header --no-annotate --no-emit-index-url "${constraint[@]}" "$name.in" -o "$name.tmp"
  {
    echo "# Exact pins for Python 3.10-3.12 on Linux, made by compile.sh from $name.in. Not edited by hand."
    sed -E -e "/sys_platform == '(win32|emscripten)'|python_full_version >= '3.13'/d" \
      -e "s/ and (sys_platform [!=]= '[a-z]+'|implementation_name [!=]= '[A-Za-z]+')//" \
      -e "s/ ; (sys_platform|implementation_name|platform_machine|python_full_version >= '3\.10') .*//" "$name.tmp" |
      if [[ $name == base ]]; then cat; else grep -vxFf base.txt; fi
  } >"$name.txt"
  rm "$name.tmp" numpy.tmp
  echo "$name.txt: $(grep -c == "$name.txt") packages"
done
