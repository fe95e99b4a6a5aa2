"""Times this program and llama.cpp on one GGUF file, in turn, and prints a table of the ratios.

Each round starts fresh processes: `chapterize bench`, then llama.cpp at the same sizes and threads (both warm up and
repeat), then both again for the cold start: loading, a short prompt and its first token. llama.cpp runs with its own
defaults, but for threads and the size of its context; as in its llama-bench, the time to choose a token is not counted,
which it is for this program.

Needs llama-cpp-python, compiled for this machine (`pip install --no-binary llama-cpp-python llama-cpp-python`), and a
built chapterize. Nothing else should run meanwhile.

    python scripts/compare_llama_cpp.py MODEL.gguf -p 512 -n 32 -b 1,12 -t 2 --rounds 3
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

FIRST = 16  # tokens of the prompt of a cold start
OURS, THEIRS = "this program", "llama.cpp"


def main():
    args = arguments()
    if args.child:
        return child(args)
    with open(args.model, "rb") as file:  # into the page cache, so that no round is the first to read it
        while file.read(1 << 24):
            pass
    rounds = []
    for i in range(args.rounds):
        print(f"round {i + 1} of {args.rounds}", file=sys.stderr)
        rounds.append({OURS: ours(args), THEIRS: theirs(args)})
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            sizes = {name: getattr(args, name) for name in ("p", "n", "batches", "t", "r", "isa")}
            json.dump({"model": os.path.basename(args.model), **sizes, "rounds": rounds}, file, indent=1)
    print(table(args, rounds))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("-p", type=int, default=512, help="tokens of a prompt")
    parser.add_argument("-n", type=int, default=32, help="tokens written after each")
    parser.add_argument("-b", default="1,12", help="sequences at once, several with commas")
    parser.add_argument("-t", type=int, default=os.cpu_count(), help="threads of both")
    parser.add_argument("-r", type=int, default=2, help="repetitions in a process, after one to warm up")
    parser.add_argument("--rounds", type=int, default=3, help="how often both have their turn")
    parser.add_argument("--chapterize", default="target/release/chapterize", help="the program")
    parser.add_argument("--isa", choices=["avx2"], help="hide wider instructions from this program (llama.cpp has what it was built with)")
    parser.add_argument("--json", help="write every single figure to this file")
    parser.add_argument("--child", choices=["speed", "start"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.batches = sorted({int(batch) for batch in args.b.split(",")})
    return args


def ours(args):
    """Figures by name; those that belong to a batch size are keyed (name, batch)."""
    speed = run_ours(args, args.p, args.n, args.b, args.r)
    start = run_ours(args, FIRST, 1, "1", 1)[0]
    figures = {"start_s": start["cold_start_s"], "start_rss": start["peak_rss_bytes"], "load_s": start["load_s"]}
    for row in speed:
        for name in ("prefill_tps", "decode_tps", "total_s"):
            figures[f"{name}/{row['batch']}"] = row[name]
        figures[f"rss/{row['batch']}"] = row["peak_rss_bytes"]
    return figures


def run_ours(args, prompt, write, batches, repetitions):
    command = [args.chapterize, "bench", "-m", args.model, "--device", "cpu", "--offline", "-q", "--format", "json"]
    command += ["-p", str(prompt), "-n", str(write), "-b", batches, "-r", str(repetitions), "-t", str(args.t)]
    environment = os.environ | ({"CHAPTERIZE_ISA": args.isa} if args.isa else {})
    return json.loads(output(command, environment))["results"]


def theirs(args):
    command = [sys.executable, __file__, args.model, "-p", str(args.p), "-n", str(args.n), "-b", args.b]
    command += ["-t", str(args.t), "-r", str(args.r), "--child"]
    return json.loads(output([*command, "speed"])) | json.loads(output([*command, "start"]))


def output(command, environment=None):
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr or done.stdout}")
    return done.stdout


def table(args, rounds):
    """What, ours, theirs, and how many times better ours is, round by round."""
    rows = []
    for batch in args.batches:
        what = f"{batch} x ({args.p} + {args.n})"
        rows += [
            (f"{what}: prefill, tokens/s", f"prefill_tps/{batch}", 1, True),
            (f"{what}: decode, tokens/s", f"decode_tps/{batch}", 1, True),
            (f"{what}: in all, s", f"total_s/{batch}", 1, False),
            (f"{what}: peak memory, MB", f"rss/{batch}", 1e6, False),
        ]
    rows += [
        ("load, s", "load_s", 1, False),
        (f"load and first token of {FIRST}, s", "start_s", 1, False),
        (f"load and first token of {FIRST}: peak memory, MB", "start_rss", 1e6, False),
    ]
    lines = [
        f"{os.path.basename(args.model)}, threads: {args.t}, rounds: {args.rounds}"
        + (f", CHAPTERIZE_ISA={args.isa}" if args.isa else ""),
        "",
        f"llama-cpp-python {rounds[0][THEIRS]['version']}: {rounds[0][THEIRS]['features']}",
        "",
        f"| what | {OURS} | {THEIRS} | ratio |",
        "|---|---:|---:|---:|",
    ]
    for what, name, unit, more_is_better in rows:
        ours, theirs = ([r[who][name] / unit for r in rounds] for who in (OURS, THEIRS))
        ratios = [a / b if more_is_better else b / a for a, b in zip(ours, theirs)]
        lines.append(f"| {what} | {spread(ours)} | {spread(theirs)} | {spread(ratios, 2)} |")
    note = "Means ± standard deviations of the rounds. A ratio above 1 is in favour of this program. Python's own memory is taken off."
    return "\n".join([*lines, "", note])


def spread(values, decimals=None):
    mean = statistics.mean(values)
    if decimals is None:
        decimals = next((d for d, limit in ((0, 100), (1, 10), (2, 1)) if mean >= limit), 3)
    deviation = f" ± {statistics.stdev(values):.{decimals}f}" if len(values) > 1 else ""
    return f"{mean:.{decimals}f}{deviation}"


def child(args):
    """llama.cpp in a process of its own: figures as JSON on standard output."""
    import llama_cpp as llama

    silent = llama.llama_log_callback(lambda *_: None)  # kept in a name, because the C side calls it later
    llama.llama_log_set(silent, None)
    llama.llama_backend_init()
    python = status("VmRSS")
    clock = time.perf_counter()
    model = llama.llama_model_load_from_file(args.model.encode(), llama.llama_model_default_params())
    if not model:
        sys.exit(f"{args.model}: llama.cpp cannot load it")
    load = time.perf_counter() - clock
    if args.child == "start":
        run = Sequences(llama, model, 1, FIRST + 1, args.t)
        run.prefill(FIRST)
        figures = {"version": llama.__version__, "features": features(llama)}
        figures |= {"load_s": load, "start_s": time.perf_counter() - clock}
        figures["start_rss"] = status("VmHWM") - python
        print(json.dumps(figures))
        return
    figures = {}
    for batch in args.batches:
        run = Sequences(llama, model, batch, args.p + args.n, args.t)
        times = [run.round(args.p, args.n) for _ in range(args.r + 1)][1:]
        prefill, decode = zip(*times)
        figures[f"prefill_tps/{batch}"] = statistics.mean(batch * args.p / s for s in prefill)
        figures[f"decode_tps/{batch}"] = statistics.mean(batch * args.n / s for s in decode)
        figures[f"total_s/{batch}"] = statistics.mean(map(sum, times))
        figures[f"rss/{batch}"] = status("VmHWM") - python
        run.close()
    print(json.dumps(figures))


def features(llama):
    """The instructions llama.cpp was built for, which say more of its speed than its version."""
    parts = llama.llama_print_system_info().decode().replace(":", "|").split("|")
    return " ".join(part.split(" = ")[0].strip() for part in parts if part.strip().endswith("= 1"))


class Sequences:
    """A context of llama.cpp that holds so many sequences of so many tokens."""

    def __init__(self, llama, model, count, length, threads):
        self.llama, self.count = llama, count
        wanted = llama.llama_context_default_params()
        # llama.cpp gives each sequence an equal part, in steps of 256.
        wanted.n_ctx = count * -(-length // 256) * 256
        wanted.n_seq_max = count
        wanted.n_threads = wanted.n_threads_batch = threads
        self.context = llama.llama_init_from_model(model, wanted)
        if not self.context:
            sys.exit("llama.cpp cannot make a context of this size")
        self.room = llama.llama_n_batch(self.context)
        self.tokens = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))

    def close(self):
        self.llama.llama_free(self.context)

    def round(self, prompt, write):
        """Seconds of the prompts, and of what is written after them."""
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), True)
        start = time.perf_counter()
        self.prefill(prompt)
        middle = time.perf_counter()
        for step in range(write):
            self.compute([(sequence, prompt + step, True) for sequence in range(self.count)])
        return middle - start, time.perf_counter() - middle

    def prefill(self, length):
        places = [(s, i, i == length - 1) for s in range(self.count) for i in range(length)]
        for at in range(0, len(places), self.room):
            self.compute(places[at : at + self.room])

    def compute(self, places):
        """One call for places (sequence, position, whether its logits are wanted) with tokens from all over."""
        batch = self.llama.llama_batch_init(len(places), 0, 1)
        batch.n_tokens = len(places)
        for i, (sequence, position, wanted) in enumerate(places):
            batch.token[i] = (position * 7919 + sequence * 104729) % self.tokens
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = wanted
        failed = self.llama.llama_decode(self.context, batch)
        self.llama.llama_synchronize(self.context)
        self.llama.llama_batch_free(batch)
        if failed:
            sys.exit(f"llama_decode: {failed}")


def status(name):
    """Bytes, by a field of /proc/self/status: `VmRSS` is held now, `VmHWM` at most so far."""
    with open("/proc/self/status", encoding="ascii") as lines:
        line = next(line for line in lines if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
