"""What reading and writing cost by length, batch, threads and hours of speech: measures, then plots.

Runs `chapterize bench` for prompts of growing length and for growing batches, and `chapterize summarize` on transcripts
of so many hours, joined from JSON lines (one document a line: "utterances" with "speaker" and "text") in a temporary
folder. Writes cost_curves.json and three SVG plots into a folder; `--plot-only` draws them again from the JSON.

Needs matplotlib, Linux, a built chapterize and its models on disk. Nothing else should run meanwhile; --quick only tries
the script.

    python scripts/cost_curves.py meetings.jsonl -m smollm2-135m --out docs/img
"""

import argparse
import html
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS_PER_HOUR = 9000  # 150 a minute
WORDS_PER_CUE = 14


def main():
    args = arguments()
    data = args.out / "cost_curves.json"
    if args.plot_only:
        return plot(json.loads(data.read_text(encoding="utf-8")), args.out)
    args.out.mkdir(parents=True, exist_ok=True)
    found = {
        # Prompt and answer share the window, which is 8192 for the starter.
        "lengths": bench(args, ["-p", "64,256" if args.quick else "512,2048,8160", "-b", "1"]),
        "batches": bench(args, ["-p", "64" if args.quick else "512", "-b", "1,2,4" if args.quick else "1,2,4,8,16,32"]),
        "transcripts": transcripts(args),
    }
    data.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    plot(found, args.out)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", type=Path, help="JSON lines with utterances")
    parser.add_argument("-m", default="smollm2-135m", help="models, several with commas")
    parser.add_argument("-t", default=f"1,{os.cpu_count()}", help="threads of the benchmarks, several with commas")
    parser.add_argument("-r", type=int, default=3, help="repetitions of the benchmarks")
    parser.add_argument("--hours", default="1,2,5,10", help="lengths of transcripts")
    parser.add_argument("--chapterize", default="target/release/chapterize", help="the program")
    parser.add_argument("--out", type=Path, default=Path("docs/img"), help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try this script")
    parser.add_argument("--plot-only", action="store_true", help="measure nothing")
    args = parser.parse_args()
    if args.quick:
        args.hours, args.r = "0.2,0.5", 1
    if not args.plot_only and not args.data:
        parser.error("name a file with utterances, or --plot-only")
    return args


def bench(args, sizes):
    command = [args.chapterize, "bench", "-m", args.m, "--device", "cpu", "-t", args.t, "-r", str(args.r), *sizes]
    done = subprocess.run([*command, "-n", "32", "--offline", "--format", "json"], stdout=subprocess.PIPE, text=True)
    # A combination that fails has been told on stderr and stands in the report; the others are plotted.
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}")
    return json.loads(done.stdout)


def transcripts(args):
    """Seconds and peak memory of `summarize`, by model and hours, with as many threads as it takes by itself."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for hours in map(float, args.hours.split(",")):
            file = Path(folder, f"{hours:g}-hours.vtt")
            file.write_text(vtt(args.data, hours), encoding="utf-8")
            for model in args.m.split(","):
                command = [args.chapterize, "summarize", str(file), "-m", model, "--device", "cpu"]
                seconds, peak = run([*command, "--offline", "-q", "-o", str(Path(folder, "out.md"))])
                found.append({"model": model, "hours": hours, "seconds": seconds, "peak_rss_bytes": peak})
                print(f"{model}, {hours:g} h: {seconds:.1f} s, {peak / 1e6:.0f} MB", file=sys.stderr)
    return found


def run(command):
    """Seconds, and the most memory held, in bytes."""
    clock = time.perf_counter()
    child = subprocess.Popen(command)
    # Not `wait`: only this tells what this one child used.
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)}: exit code {child.returncode}")
    return time.perf_counter() - clock, usage.ru_maxrss * 1024


def vtt(paths, hours):
    """A transcript of so many hours, its cues as short as captions are and timed by their words."""
    wanted, words, cues = hours * WORDS_PER_HOUR, 0, ["WEBVTT\n"]
    for speaker, text in utterances(paths):
        if words >= wanted:
            break
        text = text.split()
        for at in range(0, len(text), WORDS_PER_CUE):
            part = text[at : at + WORDS_PER_CUE]
            start, words = words, words + len(part)
            said = html.escape(" ".join(part), quote=False)
            cues.append(f"{stamp(start)} --> {stamp(words)}\n<v {html.escape(speaker, quote=False)}>{said}\n")
    if words < wanted:
        sys.exit(f"{words / WORDS_PER_HOUR:.1f} hours in all files; name more for {hours:g}")
    return "\n".join(cues)


def utterances(paths):
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                for utterance in json.loads(line)["utterances"]:
                    yield utterance.get("speaker") or "Speaker", utterance["text"]


def stamp(words):
    milliseconds = round(words / WORDS_PER_HOUR * 3_600_000)
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{milliseconds:03}"


def plot(found, folder):
    import matplotlib

    matplotlib.use("svg")
    # Fixed, so that the same figures give the same file.
    matplotlib.rcParams.update({"svg.hashsalt": "cost curves", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    lengths = series(found["lengths"]["results"], "n_prompt", lambda row: 1000 / row["prefill_tps"])
    speeds = series(found["batches"]["results"], "batch", lambda row: row["decode_tps"])
    draw(folder / "prefill.svg", [(lengths, "tokens of the prompt", "milliseconds to read a token", "log")])
    draw(folder / "batch.svg", [(speeds, "sequences at once", "tokens written per second", "log")])
    seconds, memory = {}, {}
    for row in found["transcripts"]:
        seconds.setdefault(row["model"], []).append((row["hours"], row["seconds"]))
        memory.setdefault(row["model"], []).append((row["hours"], row["peak_rss_bytes"] / 1e6))
    hours = "hours of speech"
    draw(folder / "transcript.svg", [(seconds, hours, "seconds to summarize", "linear"), (memory, hours, "peak memory, MB", "linear")])


def series(rows, x, y):
    """Points by the name of a curve."""
    curves = {}
    for row in rows:
        threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
        curves.setdefault(f"{row['model']}, {threads}", []).append((row[x], y(row)))
    return curves


def draw(path, plots):
    from matplotlib import pyplot

    figure, all_axes = pyplot.subplots(1, len(plots), figsize=(5.6 * len(plots), 3.6), squeeze=False)
    for axes, (curves, x, y, scale) in zip(all_axes[0], plots):
        for name, points in curves.items():
            axes.plot(*zip(*points), marker="o", label=name)
        ticks = sorted({point[0] for points in curves.values() for point in points})
        axes.set_xscale(scale, **({"base": 2} if scale == "log" else {}))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        highest = max((point[1] for points in curves.values() for point in points), default=1)
        axes.set_ylim(0, highest * 1.15)
        axes.grid(axis="y", alpha=0.3)
        axes.set(xlabel=x, ylabel=y)
        axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main()
