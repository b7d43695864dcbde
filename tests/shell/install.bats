#!/usr/bin/env bats
# scripts/install.sh against machines that this one is not. A copy of it runs with a Python that only plays one
# (fake_python), so nothing is downloaded and every case takes a moment.

setup() {
  repository=$BATS_TEST_TMPDIR/repository
  bin=$BATS_TEST_TMPDIR/bin
  calls=$BATS_TEST_TMPDIR/calls
  mkdir -p "$repository/scripts" "$bin"
  cp "$BATS_TEST_DIRNAME/../../scripts/install.sh" "$repository/scripts/"
  cp -r "$BATS_TEST_DIRNAME/../../scripts/requirements" "$repository/scripts/"
  cp "$BATS_TEST_DIRNAME/../../pyproject.toml" "$repository/"
  # nothing is on PATH but what the script is known to need
  local tool
  for tool in awk basename bash cat cp cut df dirname env flock grep mkdir mv rm sed sha256sum sleep tail; do
    ln -s "$(type -P $tool)" "$bin/$tool"
  done
  unset VIRTUAL_ENV CONDA_PREFIX ASR_CUDA12_INDEX
}

install() {
  PATH=$bin CALLS=$calls bash "$repository/scripts/install.sh" "$@"
}

# fake_python NAME VERSION: FAKE_PIP fails|hangs, FAKE_DRIVER's text, NO_VENV, CHANGED tell it how to behave.
fake_python() {
  cat >"$bin/$1" <<END
#!$(type -P bash)
case "\$*" in
  *sys.version_info*) echo "$2" ;;
  *"import ensurepip, venv"*) [[ -z \${NO_VENV:-} ]] ;;
  *"-m venv"*) d=\${*: -1}; rm -rf "\$d"; mkdir -p "\$d/bin" "\$d/lib"; cp "\$0" "\$d/bin/python" ;;
  *sys.prefix*) echo "$BATS_TEST_TMPDIR/active" ;;
  *sysconfig*) echo "\$(dirname "\$0")/../lib" ;;
  *find_spec*) exit 1 ;;
  *--driver-for*) echo "\${FAKE_DRIVER:-}" ;;
  *"asr.machine --packages"*) [[ -z \${CHANGED:-} ]] ;;
  *"-m pip --version"*) ;;
  *"-m pip"*)
    echo "\$*" >>"\$CALLS"
    case \${FAKE_PIP:-} in
      fails) echo "Temporary failure in name resolution"; exit 1 ;;
      full) echo "OSError: [Errno 28] No space left on device"; exit 1 ;;
      hangs) echo "\$\$" >"\$CALLS.pid"; exec sleep 60 ;;
    esac ;;
esac
END
  chmod +x "$bin/$1"
}

one_line_error() {
  [ "$(grep -c '^error: ' <<<"$output")" -eq 1 ]
  [[ "${lines[-1]}" == "error: "* ]]
}

@test "--help lists the options" {
  run install --help
  [ "$status" -eq 0 ]
  for option in --python --active --dev --deepspeed --phone --deploy --cuda12; do [[ "$output" == *"$option"* ]]; done
  [[ "$output" != *pipefail* ]]
}

@test "wrong usage is one line and status 2" {
  for words in "--frobnicate" "surplus" "--python" "--active --python python3"; do
    # shellcheck disable=SC2086
    run install $words
    [ "$status" -eq 2 ]
    one_line_error
    [ "${#lines[@]}" -eq 1 ]
  done
}

@test "without a Python: one line" {
  run install
  [ "$status" -eq 1 ]
  [ "${#lines[@]}" -eq 1 ]
  [[ "$output" == "error: no usable Python: needs 3.10, 3.11 or 3.12 (found: none)"* ]]
}

@test "Pythons that do not run or are out of range are named" {
  printf '#!/bin/sh\necho pyenv: command not found >&2\nexit 127\n' >"$bin/python3.12"
  chmod +x "$bin/python3.12"
  fake_python python3 3.9.2
  fake_python python 3.13.0
  run install
  [ "$status" -eq 1 ]
  [ "${#lines[@]}" -eq 1 ]
  [[ "$output" == *"python3.12 does not run"*"python3 3.9.2"*"python 3.13.0"* ]]
}

@test "--python that is not there is named" {
  run install --python /no/such/python
  [ "$status" -eq 1 ]
  [ "${#lines[@]}" -eq 1 ]
  [[ "$output" == *"/no/such/python"* ]]
}

@test "a Python without venv: says what to install" {
  fake_python python3.11 3.11.2
  NO_VENV=1 run install
  [ "$status" -eq 1 ]
  [ "${#lines[@]}" -eq 1 ]
  [[ "$output" == *"apt-get install python3-venv"*"--active"* ]]
}

@test "a broken python3.12 gives way to a python3.10 that works" {
  printf '#!/bin/sh\nexit 127\n' >"$bin/python3.12"
  chmod +x "$bin/python3.12"
  fake_python python3.10 3.10.13
  run install
  [ "$status" -eq 0 ]
  [[ "$output" == *"Python 3.10.13"*"Next: bash run.sh"* ]]
}

@test "installs once; the second time there is nothing to do" {
  fake_python python3.11 3.11.7
  run install
  [ "$status" -eq 0 ]
  grep -q -- "-r .*requirements.torch" "$calls"
  grep -q -- "-e $repository" "$calls"
  : >"$calls"
  run install
  [ "$status" -eq 0 ]
  [[ "${lines[-1]}" == "already installed"*"Next: bash run.sh" ]]
  [ ! -s "$calls" ]
}

@test "what was chosen once stays chosen, and is added without installing the rest anew" {
  fake_python python3.11 3.11.7
  install
  : >"$calls"
  run install --dev
  [ "$status" -eq 0 ]
  [ "$(grep -c . "$calls")" -eq 1 ]
  grep -q "dev.txt" "$calls"
  echo "# changed" >>"$repository/scripts/requirements/dev.txt"
  : >"$calls"
  run install
  [ "$status" -eq 0 ]
  grep -q "dev.txt" "$calls"
}

@test "changed pins and changed packages are installed anew" {
  fake_python python3.11 3.11.7
  install
  : >"$calls"
  echo "# changed" >>"$repository/scripts/requirements/base.txt"
  run install
  [ "$status" -eq 0 ]
  grep -q "requirements.torch" "$calls"
  : >"$calls"
  CHANGED=1 run install
  grep -q "requirements.torch" "$calls"
}

@test "a repository that was moved gets a new .venv" {
  fake_python python3.11 3.11.7
  install
  mv "$repository" "$repository-2"
  repository=$repository-2
  run install
  [ "$status" -eq 0 ]
  [[ "$output" == *"virtual environment .venv"* ]]
}

@test "an interrupted installation stops pip, is not taken for whole, and is gone on with" {
  fake_python python3.11 3.11.7
  FAKE_PIP=hangs PATH=$bin CALLS=$calls bash "$repository/scripts/install.sh" >"$BATS_TEST_TMPDIR/out" 2>&1 &
  local pid=$! status=0 try
  for try in {1..3000}; do
    [[ ! -s $calls.pid ]] || break
    sleep 0.2
  done
  kill -TERM "$pid"
  wait "$pid" || status=$?
  [ "$status" -eq 130 ]
  tail -n 1 "$BATS_TEST_TMPDIR/out" | grep -q "error: interrupted; the same command goes on from here"
  run kill -0 "$(cat "$calls.pid")"
  [ "$status" -ne 0 ]
  run install
  [ "$status" -eq 0 ]
  [[ "${lines[-1]}" == "installed in"* ]]
}

@test "what an interrupted pip left half installed is removed" {
  fake_python python3.11 3.11.7
  FAKE_PIP=fails run install
  mkdir -p "$repository/.venv/lib/"{half-1.dist-info,whole-1.dist-info,~umpy}
  touch "$repository/.venv/lib/whole-1.dist-info/RECORD"
  run install
  [ "$status" -eq 0 ]
  [ ! -e "$repository/.venv/lib/half-1.dist-info" ]
  [ ! -e "$repository/.venv/lib/~umpy" ]
  [ -e "$repository/.venv/lib/whole-1.dist-info" ]
}

@test "no network: pip's last words, then one line with the log and what to do" {
  fake_python python3.11 3.11.7
  FAKE_PIP=fails run install
  [ "$status" -eq 1 ]
  one_line_error
  [[ "$output" == *"| Temporary failure in name resolution"* ]]
  [[ "${lines[-1]}" == *"install.log"*"check the network"*"run the same command again" ]]
}

@test "a disk that fills up is told from a network that fails" {
  fake_python python3.11 3.11.7
  FAKE_PIP=full run install
  [ "$status" -eq 1 ]
  [[ "${lines[-1]}" == *"make room on the disk"* ]]
}

@test "too little disk is said before anything is downloaded" {
  fake_python python3.11 3.11.7
  rm "$bin/df"
  printf '#!/bin/sh\necho Filesystem\necho x 9999999 1 2100000 1%% /\n' >"$bin/df"
  chmod +x "$bin/df"
  run install
  [ "$status" -eq 1 ]
  one_line_error
  [[ "${lines[-1]}" == *"2 GB free, about 7 GB are needed"* ]]
  [ ! -e "$calls" ]
}

@test "a driver too old for the CUDA 13 build is said, and installing goes on" {
  fake_python python3.11 3.11.7
  FAKE_DRIVER="needs NVIDIA driver 580 or newer: install by bash scripts/install.sh --cuda12" run install
  [ "$status" -eq 0 ]
  [[ "$output" == *"WARNING: the GPU here cannot be used: needs NVIDIA driver 580"*"--cuda12"* ]]
}

@test "--cuda12 fetches that build from PyTorch's index before the other goes, and stays chosen" {
  fake_python python3.11 3.11.7
  install
  : >"$calls"
  run install --cuda12
  [ "$status" -eq 0 ]
  grep -n "" "$calls" | grep -q ":-m pip download .*--index-url https://download.pytorch.org/whl/cu126 torch==2.11.0+cu126 torchaudio==2.11.0+cu126"
  [ "$(grep -n "pip download" "$calls" | cut -d: -f1)" -lt "$(grep -n "pip uninstall" "$calls" | cut -d: -f1)" ]
  run grep "pip install.*requirements.torch" "$calls"
  [ "$status" -eq 1 ]
  : >"$calls"
  run install --dev
  [ "$status" -eq 0 ]
  [ "$(grep -c . "$calls")" -eq 1 ]
}

@test "--active wants an environment, a fit Python in it, and a place that can be written" {
  run install --active
  [ "$status" -eq 1 ]
  [[ "$output" == "error: --active: no environment is active"* ]]
  fake_python python 3.9.2
  CONDA_PREFIX=$BATS_TEST_TMPDIR/active run install --active
  [ "$status" -eq 1 ]
  [[ "$output" == *"3.9.2, needs 3.10 to 3.12"* ]]
  fake_python python 3.11.7
  CONDA_PREFIX=$BATS_TEST_TMPDIR/active run install --active
  [ "$status" -eq 1 ]
  [[ "$output" == *"cannot be written to"* ]]
}

@test "--active installs there and makes no .venv" {
  fake_python python 3.11.7
  mkdir "$BATS_TEST_TMPDIR/active"
  CONDA_PREFIX=$BATS_TEST_TMPDIR/active run install --active
  [ "$status" -eq 0 ]
  [[ "${lines[-1]}" == "installed in $BATS_TEST_TMPDIR/active"* ]]
  [ ! -e "$repository/.venv" ]
}

@test "two installations at once: the second says so" {
  fake_python python3.11 3.11.7
  mkdir -p "$repository/.cache"
  exec 8>"$repository/.cache/install.lock"
  flock -n 8
  run install
  exec 8>&-
  [ "$status" -eq 1 ]
  [[ "$output" == "error: another scripts/install.sh is at work"* ]]
}

@test "a file system without locks: one note, and on it goes" {
  fake_python python3.11 3.11.7
  rm "$bin/flock"
  printf '#!%s\necho "flock: 9: Function not implemented" >&2\nexit 71\n' "$(type -P bash)" >"$bin/flock"
  chmod +x "$bin/flock"
  run install
  [ "$status" -eq 0 ]
  [ "${lines[0]}" = "note: $repository cannot be locked here: start no second scripts/install.sh in it meanwhile" ]
  [[ "${lines[-1]}" == "installed in "* ]]
}

@test "a .venv that is a link to another folder's environment does not empty that one" {
  fake_python python3.11 3.11.7
  run install
  [ "$status" -eq 0 ]
  mv "$repository/.venv" "$BATS_TEST_TMPDIR/theirs"
  put=$BATS_TEST_TMPDIR/theirs/asr-install.stamp
  sed -i "s|^root .*|root /another|" "$put"
  ln -s "$BATS_TEST_TMPDIR/theirs" "$repository/.venv"
  before=$(ls -R "$BATS_TEST_TMPDIR/theirs")
  run install
  [ "$status" -eq 1 ]
  one_line_error
  [[ "${lines[-1]}" == "error: $repository/.venv: is a link, "* ]]
  [ "$(ls -R "$BATS_TEST_TMPDIR/theirs")" = "$before" ]
}

@test "somebody's own .venv is left as it is; one that was begun and not finished is made anew" {
  fake_python python3.11 3.11.7
  mkdir -p "$repository/.venv/bin"
  echo mine >"$repository/.venv/bin/tool"
  run install
  [ "$status" -eq 1 ]
  one_line_error
  [[ "${lines[-1]}" == "error: $repository/.venv: this script has not made it, and would empty it: "* ]]
  [ "$(cat "$repository/.venv/bin/tool")" = mine ]
  rm -r "$repository/.venv"
  run install
  [ "$status" -eq 0 ]
  rm "$repository/.venv/asr-install.stamp" # as when the first installation is killed at once
  run install
  [ "$status" -eq 0 ]
}
