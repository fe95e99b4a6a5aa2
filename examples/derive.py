#!/usr/bin/env python3
"""Write the other transcript formats of the example interview.

Reads interview.vtt, which lies beside this script, and writes next to it:

    interview.srt           SubRip; the speaker is named where the speaker changes
    interview.txt           plain text, one paragraph for each speaker's turn
    interview.rolling.vtt   rolling captions, as YouTube's automatic ones look
    interview.whisper.json  segments, as openai-whisper writes them

The same input always gives the same bytes.  Run it as

    python3 examples/derive.py
"""

import json
import re
import zlib
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent
TIMING = re.compile(r"(\d+):(\d\d):(\d\d)\.(\d{3}) --> (\d+):(\d\d):(\d\d)\.(\d{3})")
FLASH = 10  # milliseconds that a finished rolling line stands by itself


def read_cues(path):
    """The cues as a list of (start ms, end ms, speaker, text)."""
    cues = []
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        timing, _, payload = block.strip().partition("\n")
        match = TIMING.match(timing)
        if not match:
            continue  # the header or a note
        h1, m1, s1, f1, h2, m2, s2, f2 = map(int, match.groups())
        start = ((h1 * 60 + m1) * 60 + s1) * 1000 + f1
        end = ((h2 * 60 + m2) * 60 + s2) * 1000 + f2
        speaker, text = re.fullmatch(r"<v ([^>]+)>(.*)", payload, re.S).groups()
        cues.append((start, end, speaker, " ".join(text.split())))
    return cues


def clock(ms, point="."):
    seconds, ms = divmod(ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{ms:03}"


def turns(cues):
    """The runs of neighbouring cues that one speaker holds."""
    return [list(run) for _, run in groupby(cues, key=lambda cue: cue[2])]


def srt(cues):
    blocks, previous = [], None
    for number, (start, end, speaker, text) in enumerate(cues, 1):
        if speaker != previous:
            text, previous = f"{speaker}: {text}", speaker
        blocks.append(f"{number}\n{clock(start, ',')} --> {clock(end, ',')}\n{text}\n")
    return "\n".join(blocks)


def plain(cues):
    paragraphs = []
    for turn in turns(cues):
        start, _, speaker, _ = turn[0]
        text = " ".join(cue[3] for cue in turn)
        paragraphs.append(f"[{clock(start)[:8]}] {speaker}: {text}\n")
    return "\n".join(paragraphs)


def timed_words(cues):
    """Every word in lower case without punctuation, as (start ms, word).

    A cue's time is shared out among its words by their length.
    """
    for start, end, _, text in cues:
        words = re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*", text.lower())
        weights = [len(word) + 2 for word in words]
        done = 0
        for word, weight in zip(words, weights):
            yield start + (end - start) * done // sum(weights), word
            done += weight


def rolling_lines(cues):
    """The words in lines of five to eight, as YouTube breaks them: by width."""
    lines, line = [], []
    for timed in timed_words(cues):
        width = sum(len(word) + 1 for _, word in line) + len(timed[1])
        if len(line) == 8 or (len(line) >= 5 and width > 34):
            lines.append(line)
            line = []
        line.append(timed)
    return lines + [line]


def rolling(cues):
    lines = rolling_lines(cues)
    ends = [line[0][0] for line in lines[1:]] + [cues[-1][1]]
    blocks = ["WEBVTT\nKind: captions\nLanguage: en\n"]

    def cue(start, end, first, second):
        blocks.append(
            f"{clock(start)} --> {clock(end)} align:start position:0%\n{first}\n{second}\n"
        )

    above = " "
    for line, end in zip(lines, ends):
        (start, first), *rest = line
        tagged = first + "".join(f"<{clock(at)}><c> {word}</c>" for at, word in rest)
        text = " ".join(word for _, word in line)
        cue(start, end - FLASH, above, tagged)
        cue(end - FLASH, end, text, " ")
        above = text
    return "\n".join(blocks)


def whisper(cues):
    """One segment for each cue; `seek` counts the windows' hundredths of a second."""
    segments, seek, last_end = [], 0, 0
    for number, (start, end, _, text) in enumerate(cues):
        if end - seek * 10 > 30_000:  # the window of 30 s is full: the next one
            seek = last_end // 10
        last_end = end
        # Stands in for what the model measures, once for each window.
        noise = zlib.crc32(str(seek).encode()) / 2**32
        segments.append(
            {
                "id": number,
                "seek": seek,
                "start": round(start / 1000, 2),
                "end": round(end / 1000, 2),
                "text": " " + text,
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": round(-0.12 - 0.15 * noise, 6),
                "compression_ratio": round(1.55 + 0.25 * noise, 6),
                "no_speech_prob": round(0.002 + 0.03 * noise, 6),
            }
        )
    text = "".join(segment["text"] for segment in segments)
    result = {"text": text, "segments": segments, "language": "en"}
    return json.dumps(result, ensure_ascii=False, indent=1) + "\n"


def main():
    cues = read_cues(HERE / "interview.vtt")
    for suffix, write in (
        ("srt", srt),
        ("txt", plain),
        ("rolling.vtt", rolling),
        ("whisper.json", whisper),
    ):
        path = HERE / f"interview.{suffix}"
        path.write_text(write(cues), encoding="utf-8", newline="\n")
        print(f"wrote {path.name}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
