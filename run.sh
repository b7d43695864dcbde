#!/usr/bin/env bash
# Fine-tune a FunASR model on impaired speech and say what it bought. Stages 0-5; see README.md.
#
#   bash run.sh                              the bundled mini corpus, or CDSD where CDSD_ROOT is set
#   bash run.sh --stage 3 --stop-stage 3     one stage alone

# options
stage=0           # first stage to run
stop_stage=5      # last stage to run
corpus=           # folder of the corpus (or .jsonl file); CDSD_ROOT where it is set, else the bundled mini corpus
part=1h           # parts of the corpus: 1h, 10h or 1h,10h
split=            # YAML of speakers, or default, own, seeded, loso:ID, folds:3/8[@COLUMN], speaker-dependent; +text-disjoint behind
data=             # folder for the manifests; data/1h_dataset, data/mini_dataset, data/<corpus>_<part>_<split>_dataset
check_audio=false # stage 1 decodes every clip: clipping, silence, damage that headers do not show
speakers=         # table with a column "speaker"; what report_conf.publish_columns names of it become groups; <corpus>/speakers.tsv
strict=false      # stage 1 fails where it has anything to warn of
conf=             # YAML to train by; conf/finetune_3090.yaml, or conf/mini.yaml for the mini corpus
base=             # base model, a ModelScope id or a folder, in place of the YAML's
tag=              # name of the run, exp/<tag>; must be given for a corpus of your own
ngpu=             # GPUs to use, 0 for the CPU, in place of the YAML's
restart=false     # stage 3 throws this tag's checkpoints away and trains from the start
# end of options

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # sh run.sh
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
. scripts/lib.sh
parse_options run.sh "$@"
check_number stage "$stage" 0 5
check_number stop-stage "$stop_stage" "$stage" 5
. ./path.sh || exit 1

mini=false split_name=${split/.yaml/}
[[ $split == folds:* ]] || split_name=$(basename "$split_name")
split_name=${split:+_${split_name//[:,+\/@]/_}}
if [[ -z $corpus && -z $CDSD_ROOT ]]; then
  what="the bundled mini corpus of simulated speech (set CDSD_ROOT or --corpus for your own)" mini=true
  corpus=data/mini data=${data:-data/mini${split_name}_dataset} conf=${conf:-conf/mini.yaml} tag=${tag:-mini}
elif [[ -z $corpus || $corpus == "$CDSD_ROOT" || $corpus -ef $CDSD_ROOT ]]; then
  what="CDSD in $CDSD_ROOT, part $part" corpus=$CDSD_ROOT
  data=${data:-data/${part//,/_}${split_name}_dataset} tag=${tag:-paraformer_finetune_${part//,/_}}
else
  what="corpus $corpus, part $part"
  [[ -n $tag ]] || die 2 "--corpus needs --tag NAME, the name of the run (exp/NAME)"
  data=${data:-data/$(basename "$corpus" .jsonl)_${part//,/_}${split_name}_dataset}
fi
conf=${conf:-conf/finetune_3090.yaml}
[[ $tag != */* && $tag != -* && $tag != . && $tag != .. && $tag != *[[:cntrl:]]* ]] ||
  die 2 "--tag '$tag': it is the name of a folder in exp/: no slash, no - in front, not . or .."
[[ -z $speakers || -f $speakers ]] || die 1 "$speakers: no such table of speakers; --speakers takes a file with a column 'speaker'"
[[ -n $speakers || $mini == false ]] || speakers=mini/corpus/speakers.tsv
[[ -n $speakers || ! -f $corpus/speakers.tsv ]] || speakers=$corpus/speakers.tsv
exp=exp/$tag
own_run "$exp"
lock "$exp/.lock"
resolved=$(python -m asr.config --conf "$conf" --out "$exp/conf" ${base:+--base "$base"} ${ngpu:+--ngpu "$ngpu"} "${overrides[@]}")
{ IFS= read -r ngpu && IFS= read -r max_unknown && IFS= read -r columns && IFS= read -r base; } <<<"$resolved"
log "recipe: $what; data $data, conf $conf, base $base, tag $tag, GPUs $ngpu, Python of $ASR_ENVIRONMENT"
ASR_COMMAND=$(this_command)
export ASR_COMMAND
printf '%s\n' "$ASR_COMMAND" >"$exp/command" # for scripts/status.sh

set_up() { # set_up NGPU BASE PYTHON; which Python is only in the stamp
  local -a anew=()
  [[ $restart == false ]] || anew=(--restart)
  run python -m asr.machine --ngpu "$1" --need-disk-gb 1 --dir "$exp"
  run python -m asr.base_model --base "$2" --exp "$exp" "${anew[@]}"
  [[ $mini == false ]] || run python mini/unpack.py --out "$corpus"
}

fine_tune() { # fine_tune NGPU; --restart is not among the words, or the stamp would change when it is taken away
  local -a anew=()
  [[ $restart == false ]] || anew=(--restart)
  run python -m asr.train --exp "$exp" --data "$data" --ngpu "$1" "${anew[@]}"
}

evaluate() { # evaluate NGPU
  local -a against=() about=() embed=() second=()
  [[ -z $speakers ]] || about=(--speaker-table "$speakers" ${columns:+--group-by "$columns"})
  [[ $mini == false ]] || embed=(--embed-audio)
  [[ ! -f $exp/baseline/hyp.txt ]] || against=(--baseline "$exp/baseline/hyp.txt")
  run python -m asr.decode --model "$exp/model" --manifest "$data/test.jsonl" --out "$exp/tuned" --ngpu "$1" --exp "$exp"
  run python -m asr.rescore --exp "$exp" --data "$data" --ngpu "$1"
  [[ ! -f $exp/tuned/hyp.lm.txt ]] || second=(--second "$exp/tuned/hyp.lm.txt")
  [[ ! -f $exp/tuned/text_groups.tsv ]] || second+=(--text-groups "$exp/tuned/text_groups.tsv")
  [[ ! -f $exp/baseline/hyp.lm.txt ]] || second+=(--second-baseline "$exp/baseline/hyp.lm.txt")
  run python local/score.py --ref "$data/test.jsonl" --hyp "$exp/tuned/hyp.txt" "${against[@]}" --train "$exp/manifest/train.jsonl" \
    "${about[@]}" "${second[@]}" ${listeners[0]:+--listeners "${listeners[@]}"} --out "$exp/score"
  run python -m asr.provenance --exp "$exp" --data "$data" --conf "$conf" --ngpu "$1" --stage5 $((SECONDS - stage_began))
  run python -m asr.report --exp "$exp" "${embed[@]}"
}

((stage > 1)) || same_data "$corpus" "$part" "$split"
# A column that the table lacks is refused now, not when stage 5 scores.
[[ -z $columns || -z $speakers ]] || python local/score.py --check-table --speaker-table "$speakers" --group-by "$columns"

grep -qs '^text_files: \[\]' "$exp/conf/decode.yaml" || python -m asr.rescore --exp "$exp" --check-texts

if at_stage 0 "set up: environment, base model, mini corpus"; then
  # said now, not after the base model has been fetched
  [[ $mini == true || -e $corpus ]] || die 1 "$corpus: no such corpus folder; $(meant_folder "$corpus")"
  unpacked=()
  [[ $mini == false ]] || unpacked=("$corpus"/{split.yaml,after_catting})
  once "$exp/conf/base.yaml" "$base" mini/corpus makes "$exp/base.json" "$exp/base/config.yaml" "${unpacked[@]}" \
    by set_up "$ngpu" "$base" "$(command -v python)"
fi

if at_stage 1 "prepare: splits, validation, statistics"; then
  words=(--corpus "$corpus" --part "$part" --out "$data") grouped=()
  [[ -z $split ]] || words+=(--split "$split")
  [[ $split != folds:*@* || -z $speakers ]] || grouped=("$speakers") words+=(--speaker-table "$speakers")
  [[ $corpus != "$CDSD_ROOT" ]] || words+=(--cdsd)
  [[ -z $max_unknown ]] || words+=(--max-unknown-characters "$max_unknown")
  [[ $check_audio == false ]] || words+=(--check-audio)
  [[ $strict == false ]] || words+=(--strict)
  [[ ! -d $exp/base ]] || words+=(--tokens "$(realpath "$exp/base")") # the same words for every tag with this base
  once "$corpus" ${split:+"${split%+text-disjoint}"} conf/split_cdsd_{1h,10h}.yaml "$exp"/base/{config.yaml,tokens.json} \
    "${grouped[@]}" makes "$data"/{train,val,test}.jsonl "$data"/data_statistics.{txt,html} "@$data/audio_elsewhere.txt" \
    by python local/prepare_1h_dataset.py "${words[@]}"
fi

if at_stage 2 "baseline: decode the test set with the untouched base model"; then
  if grep -qs '^from_scratch: true' "$exp/conf/base.yaml"; then
    log "stage 2: skipped: a model trained from scratch has no baseline"
  else
    once "$data/test.jsonl" "$exp/base.json" "$exp/conf/decode.yaml" makes "$exp"/baseline/{hyp.txt,nbest.jsonl,decode.json} \
      by python -m asr.decode --model "$exp/base" --manifest "$data/test.jsonl" --out "$exp/baseline" --ngpu "$ngpu" --exp "$exp"
  fi
fi

if at_stage 3 "fine-tune: torchrun on FunASR's train_ds"; then
  [[ $restart == false ]] || rm -f "$exp/stamps/stage3"
  once "$data"/{train,val}.jsonl "$exp/base.json" "$exp/conf/train.yaml" makes "$exp/checkpoints.json" "$exp/model.pt" \
    by fine_tune "$ngpu"
fi

if at_stage 4 "average: the best checkpoints into one model"; then
  adapter=() && ! grep -qs '^lora_conf:' "$exp/conf/train.yaml" || adapter=("$exp"/adapter/adapter.{json,pt})
  once "$exp/checkpoints.json" "$exp"/model.pt.ep* "$exp/conf/average.yaml" makes "$exp/avg.json" "$exp"/model/{model.pt,config.yaml} \
    "${adapter[@]}" by python -m asr.average --exp "$exp"
fi

if at_stage 5 "evaluate: decode, score, report"; then
  mapfile -t listeners < <(find "$exp/listeners" -name 'listening-*.json' 2>/dev/null | sort) # of asr.listening_test
  once "$data"/{test,train}.jsonl "$exp/avg.json" "$exp"/conf/{decode,report}.yaml "$exp/baseline/hyp.txt" ${speakers:+"$speakers"} \
    "${listeners[@]}" makes "$exp"/tuned/{hyp.txt,nbest.jsonl,decode.json} "$exp/score/score.json" "$exp"/{language.json,RESULTS.md,report.html} "$exp/model/confidence.json" "$exp/tuned/confidence.jsonl" by evaluate "$ngpu"
  log "results: $exp/RESULTS.md and $exp/report.html"
  [[ -f $exp/baseline/hyp.txt ]] || grep -qs '^from_scratch: true' "$exp/conf/base.yaml" ||
    log "without a baseline beside it; for one: $(this_command) --stage 2 --stop-stage 2 && $(this_command) --stage 5"
fi
