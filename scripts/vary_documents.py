"""Documents as other transcripts would have them, for training the boundary model (scripts/train_boundaries.py).

    python scripts/vary_documents.py sentences talks.jsonl > talks-sentences.jsonl
    python scripts/vary_documents.py captions talks.jsonl > talks-captions.jsonl
    python scripts/vary_documents.py thinned standups.jsonl > standups-thinned.jsonl

`sentences`: a cue for each sentence, without times, where the document has paragraphs. `captions`: lower case, without punctuation, in cues of 6
to 12 words that end anywhere but where somebody else begins to speak, with times where the document has them: as automatic captions are.
People's chapters begin in the cue that has their first word. Speakers of captions are kept with --speakers only. `thinned`: every document ten
times, each time without a tenth of its utterances, drawn at random (those with which chapters begin stay): whether what is found hangs on a few.
"""

import argparse
import json
import random
import re
import sys

END = re.compile(r"(?<=[.?!…])[\"'”’)]*\s+")
# What is left of a word in captions.
DROPPED = re.compile(r"[^\w'’%$]+")
THINNED = 0.1  # part of the utterances that is left out
COPIES = 10


def timed_words(utterance, kept):
    """(word, seconds) each; times are spread evenly over an utterance."""
    words = [word for word in map(kept, utterance["text"].split()) if word]
    begin, end = utterance.get("start"), utterance.get("end")
    if begin is None:
        return [(word, None) for word in words]
    end = max(begin, end if end is not None else begin + len(words) / 2.5)
    return [(word, begin + (end - begin) * i / len(words)) for i, word in enumerate(words)]


def captions(document, speakers, draw):
    begins = {chapter["start_utterance"] for chapter in document["chapters"]}
    words, begins_chapter = [], False  # (word, seconds, speaker, whether a chapter begins)
    for i, utterance in enumerate(document["utterances"]):
        begins_chapter |= i in begins
        speaker = utterance.get("speaker") if speakers else None
        for word, seconds in timed_words(utterance, lambda word: DROPPED.sub("", word).lower()):
            words.append((word, seconds, speaker, begins_chapter))
            begins_chapter = False
    cues, starts, at = [], [], 0
    while at < len(words):
        most = at + draw.randint(6, 12)
        end = at + 1
        while end < min(most, len(words)) and words[end][2] == words[at][2]:
            end += 1
        if any(word[3] for word in words[at:end]):
            starts.append(len(cues))
        cue = {"text": " ".join(word[0] for word in words[at:end])}
        if words[at][2]:
            cue["speaker"] = words[at][2]
        if words[at][1] is not None:
            after = words[end][1] if end < len(words) else None
            cue |= {"start": round(words[at][1], 2), "end": round(max(words[at][1], after or words[end - 1][1] or 0), 2)}
        cues.append(cue)
        at = end
    return cues, starts


def sentences(document):
    begins = {chapter["start_utterance"] for chapter in document["chapters"]}
    cues, starts = [], []
    for i, utterance in enumerate(document["utterances"]):
        if i in begins:
            starts.append(len(cues))
        speaker = {"speaker": utterance["speaker"]} if utterance.get("speaker") else {}
        cues += [{"text": text} | speaker for text in END.split(utterance["text"]) if text]
    return cues, sorted({min(start, len(cues) - 1) for start in starts})


def thinned(document, draw):
    begins = {chapter["start_utterance"] for chapter in document["chapters"]}
    cues, starts = [], []
    for i, utterance in enumerate(document["utterances"]):
        if i in begins or draw.random() >= THINNED:
            if i in begins:
                starts.append(len(cues))
            cues.append(utterance)
    return cues, starts


def variants(document, kind, speakers, number):
    """Of a document, the `number`th of its file: (what its id ends with, cues, where chapters begin) each."""
    if kind == "captions":
        yield kind, *captions(document, speakers, random.Random(number))
    elif kind == "sentences":
        yield kind, *sentences(document)
    else:
        for copy in range(COPIES):
            yield f"{kind}-{copy}", *thinned(document, random.Random(number * COPIES + copy))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("sentences", "captions", "thinned"))
    parser.add_argument("data")
    parser.add_argument("--speakers", action="store_true", help="captions have speakers, too")
    args = parser.parse_args()
    with open(args.data, encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            document = json.loads(line)
            for name, cues, starts in variants(document, args.kind, args.speakers, number):
                chapters = [{"start_utterance": start} for start in starts]
                varied = {"id": f"{document['id']}~{name}", "utterances": cues, "chapters": chapters}
                json.dump(varied, sys.stdout)
                print()


if __name__ == "__main__":
    main()
