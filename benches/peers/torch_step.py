"""A train step of one standard model in PyTorch, as one line of JSON.

The models, parameters and data are those of `cargo bench --bench train_step` (benches/common): the losses must agree.

    python3 torch_step.py --arch mmoe --input tables --optimizer sparse --batch 4096 --compile
"""

import argparse
import json
import statistics
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

WIDTH, DIM, UNITS = 320, 16, (128, 64)
FIELDS = WIDTH // DIM


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--arch", choices=["mmoe", "shared-bottom", "ple"], default="mmoe")
    p.add_argument("--input", choices=["dense", "tables"], default="dense")
    p.add_argument("--table-rows", type=int, default=10_000)
    p.add_argument("--optimizer", choices=["adam", "fused-adam", "sparse"], default="adam",
                   help="Adam for all; its fused form; or Adam, and SparseAdam for tables with sparse gradients")
    p.add_argument("--batch", type=int, default=1024)
    p.add_argument("--experts", type=int, default=4)
    p.add_argument("--tasks", type=int, default=3)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--compile-mode", default="default", help="reduce-overhead records CUDA graphs")
    p.add_argument("--tf32", action="store_true")
    p.add_argument("--device", default="cpu")
    p.add_argument("--threads", type=int, default=torch.get_num_threads())
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--warm-up", type=int, default=5)
    p.add_argument("--max-seconds", type=float, default=60)
    return p.parse_args()


def uniform(stream, n):
    """`n` numbers in [0, 1) of 24 bits: benches/common/numbers.rs, benches/peers/burn."""
    with np.errstate(over="ignore"):
        z = (np.uint64(stream << 40) + np.arange(n, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)


def draw(stream, shape, scale):
    return torch.from_numpy(((2 * uniform(stream, int(np.prod(shape))) - 1) * np.float32(scale)).reshape(shape))


class Init:
    """Hands each parameter its own stream of numbers, in the order they are made."""

    def __init__(self):
        self.stream = 0

    def linear(self, inputs, out, bias=True):
        scale = 1 / np.sqrt(np.float32(inputs))
        layer = nn.Linear(inputs, out, bias=bias)
        self.stream += 1
        layer.weight.data = draw(self.stream, (inputs, out), scale).T.contiguous()
        if bias:
            self.stream += 1
            layer.bias.data = draw(self.stream, (out,), scale)
        return layer

    def mlp(self, inputs):
        layers = []
        for out in UNITS:
            layers += [self.linear(inputs, out), nn.ReLU()]
            inputs = out
        return nn.Sequential(*layers)

    def towers(self, tasks):
        bodies = [self.mlp(UNITS[-1]) for _ in range(tasks)]
        heads = [self.linear(UNITS[-1], 1) for _ in range(tasks)]
        return nn.ModuleList(nn.Sequential(b, h) for b, h in zip(bodies, heads))


class SharedBottom(nn.Module):
    def __init__(self, a):
        super().__init__()
        init = Init()
        self.bottom = init.mlp(WIDTH)
        self.towers = init.towers(a.tasks)

    def forward(self, x):
        shared = self.bottom(x)
        return torch.cat([tower(shared) for tower in self.towers], 1)


class Mmoe(nn.Module):
    """Experts [128, 64]; a gate per task with an MLP [128, 64] and a score without bias."""

    def __init__(self, a):
        super().__init__()
        init = Init()
        self.experts = nn.ModuleList(init.mlp(WIDTH) for _ in range(a.experts))
        self.gates = nn.ModuleList(init.mlp(WIDTH) for _ in range(a.tasks))
        self.scores = nn.ModuleList(init.linear(UNITS[-1], a.experts, bias=False) for _ in range(a.tasks))
        self.towers = init.towers(a.tasks)

    def forward(self, x):
        experts = torch.stack([expert(x) for expert in self.experts], 1)
        logits = []
        for gate, score, tower in zip(self.gates, self.scores, self.towers):
            weights = F.softmax(score(gate(x)), -1)
            logits.append(tower(torch.einsum("be,bed->bd", weights, experts)))
        return torch.cat(logits, 1)


class PleLevel(nn.Module):
    """One expert per task, two shared ones, linear gates; all but the last level have a shared gate over all experts."""

    SHARED = 2

    def __init__(self, init, inputs, tasks, last):
        super().__init__()
        self.own = nn.ModuleList(init.mlp(inputs) for _ in range(tasks))
        self.shared = nn.ModuleList(init.mlp(inputs) for _ in range(self.SHARED))
        self.gates = nn.ModuleList(init.linear(inputs, 1 + self.SHARED, bias=False) for _ in range(tasks))
        self.shared_gate = None if last else init.linear(inputs, tasks + self.SHARED, bias=False)

    def forward(self, slots, shared_slot):
        own = [expert(slot) for expert, slot in zip(self.own, slots)]
        shared = [expert(shared_slot) for expert in self.shared]

        def mix(gate, slot, experts):
            return torch.einsum("be,bed->bd", F.softmax(gate(slot), -1), torch.stack(experts, 1))

        mixed = [mix(gate, slot, [mine, *shared]) for gate, slot, mine in zip(self.gates, slots, own)]
        return mixed, None if self.shared_gate is None else mix(self.shared_gate, shared_slot, own + shared)


class Ple(nn.Module):
    def __init__(self, a):
        super().__init__()
        init = Init()
        first, second = PleLevel(init, WIDTH, a.tasks, False), PleLevel(init, UNITS[-1], a.tasks, True)
        self.levels, self.towers = nn.ModuleList([first, second]), init.towers(a.tasks)

    def forward(self, x):
        slots, shared = [x] * len(self.towers), x
        for level in self.levels:
            slots, shared = level(slots, shared)
        return torch.cat([tower(slot) for tower, slot in zip(self.towers, slots)], 1)


class Trainer:
    def __init__(self, a):
        self.a, self.at = a, 0
        net = {"mmoe": Mmoe, "shared-bottom": SharedBottom, "ple": Ple}[a.arch](a)
        linears = [m for m in net.modules() if isinstance(m, nn.Linear)]
        self.flops = 6 * a.batch * sum(m.in_features * m.out_features for m in linears)
        self.net, self.embedding = net.to(a.device), None
        dense, tables = list(net.parameters()), []
        if a.input == "tables":
            self.embedding = nn.Embedding(FIELDS * a.table_rows, DIM, sparse=a.optimizer == "sparse")
            rows = [draw(2000 + t, (a.table_rows, DIM), 0.05) for t in range(FIELDS)]
            self.embedding.weight.data = torch.cat(rows)
            tables = list(self.embedding.to(a.device).parameters())
        self.count = sum(p.numel() for p in dense + tables)
        if a.optimizer == "sparse":
            self.optimizers = [torch.optim.Adam(dense, lr=1e-3)]
            self.optimizers += [torch.optim.SparseAdam(tables, lr=1e-3)] if tables else []
        else:
            self.optimizers = [torch.optim.Adam(dense + tables, lr=1e-3, fused=a.optimizer == "fused-adam")]
        self.data = [self.batch(i) for i in range(4)]
        # A sparse gradient cannot be traced: there the network is compiled, and the lookup and the optimizer are not.
        how = {} if a.compile_mode == "default" else {"mode": a.compile_mode}
        if a.compile and a.optimizer == "sparse":
            self.loss_of = torch.compile(self.loss_of, **how)
        elif a.compile and a.compile_mode == "default":
            self.whole_step = torch.compile(self.whole_step)
        elif a.compile:
            # CUDA graphs hold forward and backward; the optimizer is compiled apart.
            self.loss_of = torch.compile(self.loss_of, **how)

    def batch(self, i):
        a = self.a
        labels = torch.from_numpy((uniform(1001 + 2 * i, a.batch * a.tasks) < 0.3).reshape(a.batch, a.tasks)).float()
        if self.embedding is None:
            inputs = draw(1000 + 2 * i, (a.batch, WIDTH), np.sqrt(np.float32(3)))
        else:
            ids = (uniform(3000 + i, a.batch * FIELDS) * np.float32(a.table_rows)).astype(np.int64)
            inputs = torch.from_numpy(ids.reshape(a.batch, FIELDS) + np.arange(FIELDS) * a.table_rows)
        return inputs.to(a.device), labels.to(a.device)

    def loss_of(self, x, labels):
        return F.binary_cross_entropy_with_logits(self.net(x), labels)

    def whole_step(self, x, labels):
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss = self.loss_of(x if self.embedding is None else self.embedding(x).flatten(1), labels)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def step(self):
        self.at += 1
        return self.whole_step(*self.data[(self.at - 1) % 4])

    def wait(self):
        if self.a.device != "cpu":
            torch.cuda.synchronize()


def timed(trainer, a):
    """Warm-up times and step times, each step waited for, in ms; and losses."""
    warm, steps, losses, begin = [], [], [], time.perf_counter()
    while len(steps) < a.steps:
        start = time.perf_counter()
        loss = trainer.step()
        trainer.wait()
        ms = (time.perf_counter() - start) * 1e3
        losses.append(loss.detach().clone())
        (warm if len(warm) < a.warm_up else steps).append(ms)
        if len(warm) == a.warm_up and len(steps) == 0:
            begin = time.perf_counter()  # compilation does not count
        if len(steps) >= 3 and time.perf_counter() - begin > a.max_seconds / 2:
            break
    return warm, steps, losses


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = a.tf32
    trainer = Trainer(a)
    warm, steps, losses = timed(trainer, a)
    start = time.perf_counter()
    for _ in steps:
        trainer.step()
    trainer.wait()
    queued = (time.perf_counter() - start) / len(steps)
    median = statistics.median(steps)
    print(json.dumps({
        "system": f"torch {torch.__version__}",
        "device": a.device if a.device == "cpu" else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "family": a.arch,
        "input": a.input,
        "optimizer": a.optimizer,
        "compile": a.compile,
        "batch": a.batch,
        "samples_per_s": a.batch / median * 1e3,
        "samples_per_s_queued": a.batch / queued,
        "step_ms_median": median,
        "step_ms": steps,
        "warm_up_ms": warm,
        "parameters": trainer.count,
        "flops_per_step": trainer.flops,
        "loss_first": losses[0].item(),
        "loss_last": losses[-1].item(),
    }))


if __name__ == "__main__":
    main()
