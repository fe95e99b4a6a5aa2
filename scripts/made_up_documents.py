"""Made-up recordings as documents for `chapterize eval`, sentence by sentence, with chapters.

    python scripts/made_up_documents.py models/adapters/recordings > everyday.jsonl
    python scripts/made_up_documents.py models/recordings --named standup > standups.jsonl
    python scripts/made_up_documents.py models/recordings --named explainer > explainers.jsonl

chapters.json beside them says where chapters begin, by sentences counted from 0 as this script splits them, with titles, as two readers (`a` and `b`)
found them that did not know of each other; --reader takes the other one. The readers were large language models.
"""

import argparse
import json
import re
from pathlib import Path

SPEAKER = re.compile(r"([A-Z][\w .’'-]{0,40}): +(.*)", re.S)
END = re.compile(r"(?:(?<=[.?!…])|(?<=[.?!…][\"”’)]))\s+")


def sentences(text):
    """Of paragraphs, some of which say who speaks from there on."""
    speaker, found = None, []
    for paragraph in filter(str.strip, text.splitlines()):
        if named := SPEAKER.fullmatch(paragraph):
            speaker, paragraph = named.groups()
        for sentence in filter(str.strip, END.split(paragraph)):
            found.append({"speaker": speaker, "text": sentence.strip()} if speaker else {"text": sentence.strip()})
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--reader", choices="ab", default="a")
    parser.add_argument("--named", default="", help="only those whose name begins so")
    args = parser.parse_args()
    chapters = json.loads((args.recordings / "chapters.json").read_text(encoding="utf-8"))
    for name, readers in chapters.items():
        if not name.startswith(args.named):
            continue
        document = {"id": name, "source": "made up for this project", "license": "MIT OR Apache-2.0", "title": name}
        document["utterances"] = sentences((args.recordings / f"{name}.txt").read_text(encoding="utf-8"))
        document["chapters"] = [{"start_utterance": begin, "title": title} for begin, title in readers[args.reader]]
        print(json.dumps(document, ensure_ascii=False))


if __name__ == "__main__":
    main()
