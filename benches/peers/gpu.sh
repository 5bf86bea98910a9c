#!/usr/bin/env bash
# Times polygate's train step beside PyTorch's (eager, compiled, CUDA graphs; float32 with TF32 off and on) on the GPU of
# the machine it runs on. It builds nothing: the program comes along.
#
#     bash benches/peers/gpu.sh PROGRAM [DEVICE] > gpu.jsonl
#
# PROGRAM is the one that `cargo bench --bench train_step --no-run` names. DEVICE is auto, or a part of an adapter's name.
# PYTHON names a Python whose torch has CUDA; without one polygate is timed alone. One line of JSON per run, rounds in turn;
# the first line names the GPU and its driver. ROUNDS and BATCHES change what is run.
set -euo pipefail
program=$1
device=${2:-auto}
python=${PYTHON:-python3}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

has_cuda=no
if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then has_cuda=yes; fi
gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -1 || true)
printf '{"gpu": "%s", "torch": "%s", "date": "%s"}\n' "${gpu:-unknown}" "$has_cuda" "$(date -u +%Y-%m-%dT%H:%MZ)"

torch_step() { "$python" "$here/torch_step.py" --device cuda "$@"; }

for round in $(seq "${ROUNDS:-3}"); do
    for batch in ${BATCHES:-512 4096 32768}; do
        for input in dense tables; do
            printf 'round %s, batch %s, %s\n' "$round" "$batch" "$input" >&2
            step=(--batch "$batch" --input "$input" --steps 50 --max-seconds 20)
            "$program" --device "$device" "${step[@]}"
            [ "$has_cuda" = yes ] || continue
            for tf32 in "" --tf32; do
                torch_step "${step[@]}" $tf32
                torch_step "${step[@]}" $tf32 --compile
                torch_step "${step[@]}" $tf32 --compile --compile-mode reduce-overhead
            done
        done
    done
done
