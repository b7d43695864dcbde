#!/usr/bin/env bash
# From one person's recordings to a model tuned to that voice, exported for other runtimes; says how to serve it.
#
#   bash scripts/my_voice.sh DIR --tag NAME [options] [++section.key=value …]
#
#   DIR           recordings of one person: what asr.serve --record DIR has written, or a corpus in CDSD's layout
#   --tag NAME    name of the run, exp/NAME; after more recordings, give another
#   --base BASE   model to begin with: exp/TAG/model of another run, a folder, a ModelScope id, or mini/base to try it out
#                 (default: that of the YAML, Paraformer-large)
#   --conf FILE   YAML to train by (default: conf/my_voice.yaml)
#   --ngpu N      GPUs; 0 is the processor (default: 1 where there is one, else 0)
#   --help        this text
#
# A tenth of the sentences is kept out of training and a tenth validates, by text. Begun again, it goes on where it stopped.
set -Eeuo pipefail
shopt -s inherit_errexit

least=20 # clips: of fewer, one or two would be tested on
called_from=$PWD

die() { # die STATUS MESSAGE
  printf 'error: %s\n' "$2" >&2
  exit "$1"
}

dir='' tag='' conf=conf/my_voice.yaml ngpu='' words=()
while (($#)); do
  case $1 in
    -h | --help)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --*=*)
      set -- "${1%%=*}" "${1#*=}" "${@:2}"
      continue
      ;;
    --tag | --base | --conf | --ngpu)
      [[ -n ${2:-} ]] || die 2 "$1 needs a value"
      case $1 in
        --tag) tag=$2 ;;
        --conf) conf=$2 ;;
        --ngpu) ngpu=$2 ;;
        --base) words+=(--base "$2") ;;
      esac
      shift
      ;;
    ++*) words+=("$1") ;;
    -*) die 2 "unknown option $1; bash scripts/my_voice.sh --help lists them" ;;
    *)
      [[ -z $dir ]] || die 2 "$1: one folder of recordings at a time; $dir is given already"
      dir=$1
      ;;
  esac
  shift
done
[[ -n $dir ]] || die 2 "the folder of recordings is missing; bash scripts/my_voice.sh --help"
[[ -n $tag ]] || die 2 "--tag NAME is missing, the name of the run (exp/NAME)"
[[ $dir == /* ]] || dir=$called_from/$dir
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ./path.sh || exit 1

serve="bash $(printf %q "$PWD")/scripts/serve.sh"
record="$serve --record $(printf %q "$dir")"
[[ -d $dir ]] || die 1 "$dir: no such folder; record into it: $record"
clips=$({ find -L "$dir" -iname '*label.txt' -exec cat {} + || true; } | grep -c '[^[:space:]]' || true)
((clips >= least)) || die 1 "$dir: has $clips clips, too few to tune and to test with ($least at least, 100 are better); record more: $record"
[[ ! -f exp/$tag/command ]] || grep -q -e '--split speaker-dependent' "exp/$tag/command" ||
  die 1 "exp/$tag: is a run of something else, which would be damaged; give another --tag"
python -c 'import onnxruntime, onnx' 2>/dev/null || die 1 "what exports a model is not installed: bash scripts/install.sh --deploy"
if [[ -z $ngpu ]]; then
  ngpu=0
  ! nvidia-smi -L >/dev/null 2>&1 || ngpu=1
fi

began=$SECONDS
(cd "$called_from" && exec bash "$ASR_ROOT/run.sh" --corpus "$dir" --data "$ASR_ROOT/data/${tag}_dataset" --tag "$tag" \
  --split speaker-dependent --conf "$conf" --ngpu "$ngpu" "${words[@]}")
python -m asr.export --exp "exp/$tag"

printf '\n%s clips, %s min in all. CER on sentences kept out of training, with the 95 %% interval over them:\n' \
  "$clips" $(((SECONDS - began + 59) / 60))
python - "exp/$tag/score/score.json" <<'END'
import json, sys

score = json.load(open(sys.argv[1], encoding="utf-8"))
for name, row in score["systems"].items():
    interval = "{:.1%} to {:.1%}".format(*row["ci95_utterance"]) if row["ci95_utterance"] else "no interval"
    print(f"  {'before' if name == 'baseline' else 'after '}  {row['cer']:.1%} ({interval}), {row['n_utt']} sentences")
print((score["comparison"] or {}).get("verdict_note", {}).get("en", ""))
END
printf 'serve it: %s --model %q\n' "$serve" "$PWD/exp/$tag/model"
